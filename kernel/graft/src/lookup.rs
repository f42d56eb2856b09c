//! What a path walk asks of the forest (chapter L), and other plain questions. Nothing here allocates.

use crate::caller::Place;
use crate::flags::{Locks, MountFlags};
use crate::forest::Forest;
use crate::ids::{GroupId, MountId, MountSlot, NamespaceId};
use crate::mount::State;
use crate::seam::Vfs;

/// Where a mount is (O14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// In a mount namespace.
    Mounted(NamespaceId),
    /// In a detached tree, which has an anonymous namespace of its own (O13).
    Detached(NamespaceId),
    /// Kernel-internal.
    Internal,
    /// Taken out of its namespace, and still in use.
    Unmounted,
}

impl<V: Vfs> Forest<V> {
    /// Crosses onto whatever is mounted at a place, up to the top of the stack (L1).
    ///
    /// Returns `None` where nothing is mounted there. Not for the start of a walk (L2). Cost: one table lookup, and one step for each mount of the stack.
    pub fn cross(&self, place: &Place<V>) -> Option<Place<V>> {
        let (mount, root) = self.cross_onto(place.mount, self.vfs.dentry_key(&place.dentry))?;
        Some(Place::new(mount, root.clone()))
    }

    /// As [`cross`](Self::cross), without taking hold of anything: the mount at the top and its root.
    pub fn cross_onto(&self, mount: MountId, dentry_key: u64) -> Option<(MountId, &V::Dentry)> {
        let bottom = self.attached_at(self.find(mount)?, dentry_key)?;
        let top = self.top_of(bottom);
        Some((self.mount_id(top), &self.mounts[top].root))
    }

    /// The place itself, or the top of the stack that stands on it (F9, L4).
    pub fn top_of_stack(&self, place: &Place<V>) -> Place<V> {
        self.cross(place).unwrap_or_else(|| place.clone())
    }

    /// The mount attached at (mount, dentry), without going further up. Cost: one table lookup.
    pub fn mounted_on(&self, mount: MountId, dentry_key: u64) -> Option<MountId> {
        self.attached_at(self.find(mount)?, dentry_key).map(|slot| self.mount_id(slot))
    }

    /// The place that a mount is attached on: where `..` continues at its root (L5), unless it is the process's own (L6). `None` for a mount without parent.
    pub fn follow_up(&self, mount: MountId) -> Option<Place<V>> {
        let entry = self.find_mount(mount)?;
        Some(Place::new(self.mount_id(entry.parent?), entry.mountpoint.clone()?))
    }

    /// The parent of a mount.
    pub fn parent(&self, mount: MountId) -> Option<MountId> {
        self.find_mount(mount)?.parent.map(|slot| self.mount_id(slot))
    }

    /// The dentry that a mount is attached on.
    pub fn mountpoint(&self, mount: MountId) -> Option<&V::Dentry> {
        self.find_mount(mount)?.mountpoint.as_ref()
    }

    /// The dentry that a mount shows as its root.
    pub fn root(&self, mount: MountId) -> Option<&V::Dentry> {
        Some(&self.find_mount(mount)?.root)
    }

    /// The superblock of a mount.
    pub fn superblock(&self, mount: MountId) -> Option<&V::Superblock> {
        Some(&self.find_mount(mount)?.superblock)
    }

    /// The source string of a mount (F10).
    pub fn source(&self, mount: MountId) -> Option<&V::Source> {
        self.find_mount(mount)?.source.as_ref()
    }

    /// The id mapping of a mount (A22).
    pub fn idmap(&self, mount: MountId) -> Option<&V::IdMap> {
        self.find_mount(mount)?.idmap.as_ref()
    }

    /// The flags of a mount (F6).
    pub fn flags(&self, mount: MountId) -> Option<MountFlags> {
        Some(self.find_mount(mount)?.flags)
    }

    /// What is locked on a mount (K1).
    pub fn locks(&self, mount: MountId) -> Option<Locks> {
        Some(self.find_mount(mount)?.locks)
    }

    /// The number of a mount that mountinfo shows (O6).
    pub fn mount_number(&self, mount: MountId) -> Option<u32> {
        Some(self.find_mount(mount)?.number)
    }

    /// The number of a mount that is never used again (X16).
    pub fn unique_id(&self, mount: MountId) -> Option<u64> {
        Some(self.find_mount(mount)?.unique_id)
    }

    /// The mount with a unique id, wherever it is (X16).
    pub fn mount_of_unique_id(&self, unique_id: u64) -> Option<MountId> {
        self.find_unique(unique_id).map(|slot| self.mount_id(slot))
    }

    pub(crate) fn find_unique(&self, unique_id: u64) -> Option<MountSlot<V>> {
        let is_it = |&slot: &MountSlot<V>| self.mounts[slot].unique_id == unique_id;
        self.unique_ids.find(crate::forest::hash_of(unique_id, 0), is_it).copied()
    }

    /// Whether a mount is unbindable (O10).
    pub fn is_unbindable(&self, mount: MountId) -> bool {
        self.find(mount).is_some_and(|slot| self.mounts[slot].is_unbindable())
    }

    /// The peer group of a mount, if it is shared (O8).
    pub fn group(&self, mount: MountId) -> Option<GroupId> {
        self.find_mount(mount)?.group.map(|group| self.group_id(group))
    }

    /// The group that a mount receives from, if it is a slave (O9).
    pub fn master(&self, mount: MountId) -> Option<GroupId> {
        self.master_group(self.find(mount)?).map(|group| self.group_id(group))
    }

    /// The mount that is recorded as a slave's master (O9).
    pub fn master_mount(&self, mount: MountId) -> Option<MountId> {
        self.find_mount(mount)?.master.map(|master| self.mount_id(master))
    }

    /// The number of a group that mountinfo shows (O7).
    pub fn group_number(&self, group: GroupId) -> Option<u32> {
        Some(self.groups[group.find(&self.groups)?].number)
    }

    /// The members of a group in ring order (O8).
    pub fn group_members(&self, group: GroupId) -> impl Iterator<Item = MountId> {
        let slot = group.find(&self.groups);
        slot.into_iter().flat_map(|slot| self.members(slot)).map(|member| self.mount_id(member))
    }

    /// The slaves recorded under a mount, in list order (O9).
    pub fn slaves_of(&self, mount: MountId) -> impl Iterator<Item = MountId> {
        self.find(mount).into_iter().flat_map(|slot| self.slaves(slot)).map(|slave| self.mount_id(slave))
    }

    /// The mounts attached on a mount, in order of attachment (O4).
    pub fn children_of(&self, mount: MountId) -> impl Iterator<Item = MountId> {
        self.find(mount).into_iter().flat_map(|slot| self.children(slot)).map(|child| self.mount_id(child))
    }

    /// A mount and all below it, in pre-order (O4).
    pub fn tree_of(&self, mount: MountId) -> impl Iterator<Item = MountId> {
        self.find(mount).into_iter().flat_map(|slot| self.tree(slot)).map(|slot| self.mount_id(slot))
    }

    /// Every mount that lives, in no order that means anything.
    pub fn mounts(&self) -> impl Iterator<Item = MountId> {
        let living = self.mounts.iter().filter(|(_, mount)| !mount.state.contains(State::DEAD));
        living.map(|(slot, _)| self.mount_id(slot))
    }

    /// Every namespace that lives, anonymous ones too.
    pub fn namespaces(&self) -> impl Iterator<Item = NamespaceId> {
        self.namespaces.iter().map(|(slot, _)| self.namespace_id(slot))
    }

    /// The mounts of a namespace, in order of joining (W6).
    pub fn mounts_of(&self, namespace: NamespaceId) -> impl Iterator<Item = MountId> {
        let first = namespace.find(&self.namespaces).and_then(|slot| self.namespaces[slot].first_joined);
        core::iter::successors(first, |&mount| self.mounts[mount].next_joined).map(|slot| self.mount_id(slot))
    }

    /// The root mount of a namespace (O12).
    pub fn namespace_root(&self, namespace: NamespaceId) -> Option<MountId> {
        self.namespaces[namespace.find(&self.namespaces)?].root.map(|slot| self.mount_id(slot))
    }

    /// The user namespace that owns a namespace.
    pub fn namespace_owner(&self, namespace: NamespaceId) -> Option<&V::UserNamespace> {
        Some(&self.namespaces[namespace.find(&self.namespaces)?].owner)
    }

    /// The order of a namespace's creation; 0 for an anonymous one (O12, O13, N14).
    pub fn sequence(&self, namespace: NamespaceId) -> Option<u64> {
        Some(self.namespaces[namespace.find(&self.namespaces)?].sequence)
    }

    /// How many mounts a namespace holds (O15).
    pub fn mount_count(&self, namespace: NamespaceId) -> Option<u32> {
        Some(self.namespaces[namespace.find(&self.namespaces)?].mount_count)
    }

    /// A number that changes with every event of W12.
    pub fn events(&self, namespace: NamespaceId) -> Option<u64> {
        Some(self.namespaces[namespace.find(&self.namespaces)?].events)
    }

    /// Where a mount is (O14).
    pub fn situation(&self, mount: MountId) -> Option<Situation> {
        let entry = self.find_mount(mount)?;
        Some(match entry.namespace {
            Some(slot) if self.namespaces[slot].is_anonymous() => Situation::Detached(self.namespace_id(slot)),
            Some(slot) => Situation::Mounted(self.namespace_id(slot)),
            None if entry.state.contains(State::INTERNAL) => Situation::Internal,
            None => Situation::Unmounted,
        })
    }

    /// Whether a mount is in this namespace.
    pub fn is_in_namespace(&self, mount: MountId, namespace: NamespaceId) -> bool {
        match (self.find(mount), namespace.find(&self.namespaces)) {
            (Some(mount), Some(namespace)) => self.mounts[mount].namespace == Some(namespace),
            _ => false,
        }
    }

    /// Whether a dentry is the mountpoint of any mount of a namespace, through whichever parent (L16).
    ///
    /// Cost: the mounts on that dentry, in all namespaces.
    pub fn is_mountpoint_in(&self, dentry: &V::Dentry, namespace: NamespaceId) -> bool {
        let Some(namespace) = namespace.find(&self.namespaces) else {
            return false;
        };
        let first = self.first_on_mountpoint(self.vfs.dentry_key(dentry));
        core::iter::successors(first, |&mount| self.mounts[mount].next_on_mountpoint)
            .any(|mount| self.mounts[mount].namespace == Some(namespace))
    }

    /// Whether `place` can be reached from `root` by going down (W2, R1). Cost: the depth of the mount.
    pub fn is_reachable(&self, place: &Place<V>, root: &Place<V>) -> bool {
        match (self.find(place.mount), self.find(root.mount)) {
            (Some(mount), Some(root_mount)) => self.is_reachable_from(mount, &place.dentry, root_mount, &root.dentry),
            _ => false,
        }
    }

    pub(crate) fn is_reachable_from<'a>(
        &'a self,
        mount: MountSlot<V>,
        dentry: &'a V::Dentry,
        root_mount: MountSlot<V>,
        root: &V::Dentry,
    ) -> bool {
        let (mut mount, mut dentry) = (mount, dentry);
        while mount != root_mount {
            let entry = &self.mounts[mount];
            let (Some(parent), Some(mountpoint)) = (entry.parent, &entry.mountpoint) else {
                return false;
            };
            (mount, dentry) = (parent, mountpoint);
        }
        self.vfs.is_below(dentry, root)
    }

    /// The root of a mount, as a place.
    pub(crate) fn root_place(&self, mount: MountSlot<V>) -> Place<V> {
        Place::new(self.mount_id(mount), self.mounts[mount].root.clone())
    }
}
