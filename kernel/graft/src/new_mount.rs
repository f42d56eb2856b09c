//! mount(2) of a filesystem (chapter F), from the point where the filesystem is there.

use alloc::vec::Vec;

use crate::attach::{Destination, Survey};
use crate::caller::{Caller, NewMount, Place};
use crate::clone_tree::{Node, Tree};
use crate::flags::{Locks, MountFlags, SuperFlags, SuperblockTraits};
use crate::forest::{Forest, new_mount_blank};
use crate::ids::{MountId, NamespaceSlot};
use crate::refusal::{Refusal, Rule, require};
use crate::seam::{DentryKind, OutOfMemory, Vfs};

impl<V: Vfs> Forest<V> {
    /// Mounts a filesystem: mount(2) without MS_REMOUNT, MS_BIND, MS_MOVE or a propagation type.
    ///
    /// The target is the place as looked up; it is raised to the top of its stack here (L4).
    ///
    /// The mount is private unless its place is shared (F11), has exactly the flags given (F12), and needs no write access (F13).
    ///
    /// Errors: F4, N12, F9, F14, O15, P6, in that order (F16). Cost: the receivers of the mount that is mounted on.
    pub fn new_mount(&mut self, caller: &Caller<'_, V>, new: &NewMount<V>, target: &Place<V>) -> Result<MountId, Refusal> {
        self.require_admin(caller)?;
        let namespace = self.resolve_namespace(caller.namespace)?;
        let locks = self.require_visible(namespace, new)?;
        let destination = self.mountable_place(namespace, target)?;
        let covered = &self.mounts[destination.parent];
        let is_on_root = self.vfs.dentry_key(&destination.mountpoint) == self.vfs.dentry_key(&covered.root);
        let same_filesystem = self.vfs.superblock_key(&covered.superblock) == self.vfs.superblock_key(&new.superblock);
        require(!(is_on_root && same_filesystem), Rule::SameFilesystem)?;
        require(self.vfs.dentry_kind(&new.root) != DentryKind::Symlink, Rule::RootIsSymlink)?;
        self.require_graftable(&new.superblock, &new.root, &destination.mountpoint)?;

        let survey = Survey {
            root: &new.root,
            mounts: 1,
            ungrouped: 1,
            copied: usize::from(!self.is_mount_namespace_file(&new.root)),
            is_counted: true,
            to_be_made: 1,
        };
        let mut nodes = Vec::new();
        nodes.try_reserve_exact(1).map_err(OutOfMemory::from)?;
        let plan = self.plan_attach(&survey, &destination)?;

        let mut blank = new_mount_blank(new);
        blank.locks = locks;
        let mount = self.insert_mount(blank);
        let position_in_copies = (survey.copied == 1).then_some(0);
        nodes.push(Node { mount, parent: 0, position_in_copies });
        let tree = Tree { nodes, root: new.root.clone(), copied: survey.copied };
        self.commit_attach(&tree, destination, plan, namespace);
        Ok(self.mount_id(mount))
    }

    /// The place where a mount goes: the top of the stack at the target, if the caller may mount on it (F9).
    pub(crate) fn mountable_place(&self, namespace: NamespaceSlot<V>, target: &Place<V>) -> Result<Destination<V>, Refusal> {
        let place = self.top_of_stack(target);
        // L19: what was removed is no mountpoint. X7: a mount that was unmounted is refused with EINVAL, as any other that is not
        // in the namespace (U16). X8: so is one in a detached tree.
        let parent = self.resolve(place.mount)?;
        require(!self.vfs.is_unlinked(&place.dentry), Rule::MountpointUnlinked)?;
        require(self.mounts[parent].namespace == Some(namespace), Rule::TargetElsewhere)?;
        Ok(Destination { parent, mountpoint: place.dentry, beneath: None })
    }

    /// Whether a root can be attached on a mountpoint at all (F9).
    pub(crate) fn require_graftable(&self, superblock: &V::Superblock, root: &V::Dentry, mountpoint: &V::Dentry) -> Result<(), Refusal> {
        let traits = self.vfs.superblock_traits(superblock);
        require(!traits.contains(SuperblockTraits::NO_USER), Rule::NotUserMountable)?;
        require(self.is_directory(root) == self.is_directory(mountpoint), Rule::KindMismatch)
    }

    pub(crate) fn is_directory(&self, dentry: &V::Dentry) -> bool {
        self.vfs.dentry_kind(dentry) == DentryKind::Directory
    }

    /// Refuses a mount that would show what the namespace hides (N12). Returns the locks that the new mount inherits.
    ///
    /// Only for proc and sysfs in namespaces of less privileged users. Cost there: the mounts of the namespace.
    pub(crate) fn require_visible(&self, namespace: NamespaceSlot<V>, new: &NewMount<V>) -> Result<Locks, Refusal> {
        let space = &self.namespaces[namespace];
        let traits = self.vfs.superblock_traits(&new.superblock);
        if self.vfs.is_initial_user_namespace(&space.owner) || !traits.contains(SuperblockTraits::MUST_BE_VISIBLE) {
            return Ok(Locks::empty());
        }
        let filesystem = self.vfs.filesystem_key(&new.superblock);
        core::iter::successors(space.first_joined, |&mount| self.mounts[mount].next_joined)
            .filter(|&mount| self.vfs.filesystem_key(&self.mounts[mount].superblock) == filesystem)
            .find_map(|mount| self.locks_if_as_visible(mount, new.flags))
            .ok_or_else(|| Refusal::new(Rule::TooRevealing))
    }

    /// The locks to inherit from a mount that shows all that a new one with these flags would (N12).
    fn locks_if_as_visible(&self, mount: crate::ids::MountSlot<V>, flags: MountFlags) -> Option<Locks> {
        let entry = &self.mounts[mount];
        if !self.vfs.is_superblock_root(&entry.root) {
            return None;
        }
        let mut locks = entry.locks & (Locks::RDONLY | Locks::ATIME);
        if self.vfs.super_flags(&entry.superblock).contains(SuperFlags::RDONLY) {
            locks |= Locks::RDONLY;
        }
        let weaker = locks.contains(Locks::RDONLY) && !flags.contains(MountFlags::RDONLY);
        let other_atime = locks.contains(Locks::ATIME) && entry.flags & MountFlags::ATIME != flags & MountFlags::ATIME;
        let hides = |child| {
            let child = &self.mounts[child];
            let on_something = child.mountpoint.as_ref().is_some_and(|dentry| !self.vfs.is_permanently_empty(dentry));
            child.is_mount_locked() && on_something
        };
        let visible = !weaker && !other_atime && !self.children(mount).any(hides);
        visible.then_some(locks)
    }
}
