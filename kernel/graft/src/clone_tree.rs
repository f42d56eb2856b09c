//! Copying mounts: for a bind (B3), a detached tree (A2), a new namespace (N2).

use alloc::vec::Vec;

use crate::flags::Locks;
use crate::forest::Forest;
use crate::ids::MountSlot;
use crate::mount::State;
use crate::refusal::{Refusal, Rule};
use crate::seam::{NamespaceFile, OutOfMemory, Vfs};

/// A mount of a tree that is about to be copied or attached, listed in pre-order.
pub(crate) struct Node<V: Vfs> {
    /// The mount to be copied; once it is, the copy.
    pub(crate) mount: MountSlot<V>,
    /// The position of its parent in the list; its own for the first.
    pub(crate) parent: usize,
    /// Its position among those that propagated copies contain: all but mount namespace files and what is on them (P6).
    pub(crate) position_in_copies: Option<usize>,
}

/// The tree that an operation attaches.
pub(crate) struct Tree<V: Vfs> {
    pub(crate) nodes: Vec<Node<V>>,
    /// The dentry that its first mount has, or will have, as root.
    pub(crate) root: V::Dentry,
    /// How many mounts each propagated copy contains.
    pub(crate) copied: usize,
}

/// What is taken along from below the first mount.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// Nothing (B3).
    OnlyRoot,
    /// What a recursive bind takes: no unbindable mounts and what is on them (B3).
    Bindable,
    /// What a new namespace takes: no mount namespace files and what is on them (N2, N3).
    ForNamespace,
    /// Everything: the tree itself is attached.
    Everything,
}

/// How a copy relates to its original.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// A peer of a shared mount, a slave of a slave's master (B5, N4).
    Alike,
    /// A slave of a shared mount, a slave of a slave's master; and locked (N5).
    LessPrivileged,
}

impl<V: Vfs> Tree<V> {
    pub(crate) fn new(root: V::Dentry) -> Self {
        Self { nodes: Vec::new(), root, copied: 0 }
    }
}

impl<V: Vfs> Forest<V> {
    /// Lists what would be copied of the tree of `top`, seen from `root`, a dentry at or below its root.
    pub(crate) fn list_tree(&self, top: MountSlot<V>, root: &V::Dentry, taking: Taking) -> Result<Tree<V>, Refusal> {
        let mut tree = Tree::new(root.clone());
        self.push_node(&mut tree, top, 0)?;
        if taking == Taking::OnlyRoot {
            return Ok(tree);
        }
        let mut parent = 0;
        let mut next = self.mounts[top].first_child;
        while let Some(mount) = next {
            if !self.is_taken(mount, top, root, taking)? {
                next = self.next_skipping(mount, top);
                continue;
            }
            while Some(tree.nodes[parent].mount) != self.mounts[mount].parent {
                parent = tree.nodes[parent].parent;
            }
            self.push_node(&mut tree, mount, parent)?;
            parent = tree.nodes.len() - 1;
            next = self.next_in_tree(mount, top);
        }
        Ok(tree)
    }

    /// Whether a mount below `top` is taken along; if not, nothing below it is.
    fn is_taken(&self, mount: MountSlot<V>, top: MountSlot<V>, root: &V::Dentry, taking: Taking) -> Result<bool, Refusal> {
        let entry = &self.mounts[mount];
        if entry.parent == Some(top)
            && let Some(mountpoint) = &entry.mountpoint
            && !self.vfs.is_below(mountpoint, root)
        {
            return Ok(false);
        }
        match taking {
            Taking::Bindable if entry.is_unbindable() && entry.is_mount_locked() => Err(Refusal::new(Rule::BindUnbindableLocked)),
            Taking::Bindable => Ok(!entry.is_unbindable()),
            Taking::ForNamespace => Ok(!self.is_mount_namespace_file(&entry.root)),
            Taking::Everything => Ok(true),
            Taking::OnlyRoot => Ok(false),
        }
    }

    fn push_node(&self, tree: &mut Tree<V>, mount: MountSlot<V>, parent: usize) -> Result<(), OutOfMemory> {
        let is_first = tree.nodes.is_empty();
        let root = if is_first { &tree.root } else { &self.mounts[mount].root };
        let in_copies = (is_first || tree.nodes[parent].position_in_copies.is_some()) && !self.is_mount_namespace_file(root);
        let position_in_copies = in_copies.then_some(tree.copied);
        tree.nodes.try_reserve(1)?;
        tree.nodes.push(Node { mount, parent, position_in_copies });
        tree.copied += usize::from(in_copies);
        Ok(())
    }

    pub(crate) fn is_mount_namespace_file(&self, dentry: &V::Dentry) -> bool {
        matches!(self.vfs.namespace_file(dentry), NamespaceFile::Mount { .. })
    }

    /// Copies every mount of the list and puts the copies into it, attached to each other. Room was reserved.
    pub(crate) fn clone_listed(&mut self, tree: &mut Tree<V>, relation: Relation, kept: State) {
        for position in 0..tree.nodes.len() {
            let original = tree.nodes[position].mount;
            let is_first = position == 0;
            let entry = &self.mounts[original];
            let root = if is_first { tree.root.clone() } else { entry.root.clone() };
            let mut blank = entry.blank(root);
            blank.state |= entry.state & kept;
            let mountpoint = if is_first { None } else { entry.mountpoint.clone() };
            let copy = self.insert_mount(blank);
            self.relate(copy, original, relation);
            if let Some(mountpoint) = mountpoint {
                let parent = tree.nodes[tree.nodes[position].parent].mount;
                self.attach(copy, parent, mountpoint);
            }
            tree.nodes[position].mount = copy;
        }
    }

    fn relate(&mut self, copy: MountSlot<V>, original: MountSlot<V>, relation: Relation) {
        let entry = &self.mounts[original];
        let (is_shared, is_slave) = (entry.is_shared(), entry.master.is_some());
        if is_shared && relation == Relation::LessPrivileged {
            self.enslave_first(copy, original);
            return;
        }
        if is_shared {
            self.join_group(copy, original);
        }
        if is_slave {
            self.enslave_after(copy, original);
        }
    }

    /// Locks the flags that a mount has, and where asked the mount to its place, unless it expires by itself (K2, K4).
    pub(crate) fn lock_mount(&mut self, mount: MountSlot<V>, to_its_place: bool) {
        let entry = &mut self.mounts[mount];
        entry.locks |= locks_of_flags(entry.flags);
        if to_its_place && !entry.state.contains(State::EXPIRABLE) {
            entry.locks |= Locks::MOUNT;
            if let Some(parent) = entry.parent {
                self.mounts[parent].state |= State::HAD_LOCKED_CHILDREN;
            }
        }
    }
}

/// The locks that a handover puts on a mount with these flags (K2).
fn locks_of_flags(flags: crate::flags::MountFlags) -> Locks {
    use crate::flags::MountFlags;
    let pairs = [
        (MountFlags::RDONLY, Locks::RDONLY),
        (MountFlags::NOSUID, Locks::NOSUID),
        (MountFlags::NODEV, Locks::NODEV),
        (MountFlags::NOEXEC, Locks::NOEXEC),
    ];
    let set = pairs.into_iter().filter(|&(flag, _)| flags.contains(flag));
    set.fold(Locks::ATIME, |locks, (_, lock)| locks | lock)
}
