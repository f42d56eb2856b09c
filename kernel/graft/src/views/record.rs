//! All that the views tell of one mount.

use crate::caller::Place;
use crate::flags::MountFlags;
use crate::forest::Forest;
use crate::ids::{MountId, MountSlot, NamespaceSlot};
use crate::seam::Vfs;

/// The facts of one mount, as seen from a root directory.
pub struct MountRecord<'a, V: Vfs> {
    /// The mount.
    pub mount: MountId,
    /// Its number (O6).
    pub number: u32,
    /// Its parent's number; its own where it has no parent (W3).
    pub parent_number: u32,
    /// Its unique id (X16).
    pub unique_id: u64,
    /// Its parent's unique id; its own where it has no parent.
    pub parent_unique_id: u64,
    /// Its superblock.
    pub superblock: &'a V::Superblock,
    /// The dentry that it shows as its root.
    pub root: &'a V::Dentry,
    /// Its source string (F10).
    pub source: Option<&'a V::Source>,
    /// Its flags.
    pub flags: MountFlags,
    /// The number of its peer group.
    pub shared: Option<u32>,
    /// The number of the group that it receives from.
    pub master: Option<u32>,
    /// The nearest group up the chain of masters that can be seen from the root, where that is not `master` itself (W5).
    pub propagate_from: Option<u32>,
    /// Whether it is unbindable.
    pub is_unbindable: bool,
    /// Whether it has an id mapping.
    pub is_idmapped: bool,
}

impl<V: Vfs> Forest<V> {
    /// The facts of a mount.
    ///
    /// Cost: for a slave, the members of the groups up to the first that is seen, each with its depth.
    pub fn record(&self, mount: MountId, root: &Place<V>) -> Option<MountRecord<'_, V>> {
        Some(self.record_of(self.find(mount)?, self.find(root.mount), &root.dentry))
    }

    pub(crate) fn record_of(&self, mount: MountSlot<V>, root_mount: Option<MountSlot<V>>, root: &V::Dentry) -> MountRecord<'_, V> {
        let entry = &self.mounts[mount];
        let parent = &self.mounts[entry.parent.unwrap_or(mount)];
        let number_of = |group: crate::ids::GroupSlot<V>| self.groups[group].number;
        let master = self.master_group(mount).map(number_of);
        let dominating = match (master, entry.namespace, root_mount) {
            (Some(_), Some(namespace), Some(root_mount)) => self.dominating_group(mount, namespace, root_mount, root),
            _ => None,
        };
        MountRecord {
            mount: self.mount_id(mount),
            number: entry.number,
            parent_number: parent.number,
            unique_id: entry.unique_id,
            parent_unique_id: parent.unique_id,
            superblock: &entry.superblock,
            root: &entry.root,
            source: entry.source.as_ref(),
            flags: entry.flags,
            shared: entry.group.map(number_of),
            master,
            propagate_from: dominating.filter(|_| dominating != master),
            is_unbindable: entry.is_unbindable(),
            is_idmapped: entry.idmap.is_some(),
        }
    }

    /// W5: the number of the nearest group up the chain of masters with a member in the namespace and below the root.
    fn dominating_group(
        &self,
        mount: MountSlot<V>,
        namespace: NamespaceSlot<V>,
        root_mount: MountSlot<V>,
        root: &V::Dentry,
    ) -> Option<u32> {
        let is_seen = |&member: &MountSlot<V>| {
            let entry = &self.mounts[member];
            entry.namespace == Some(namespace) && self.is_reachable_from(member, &entry.root, root_mount, root)
        };
        core::iter::successors(self.mounts[mount].master, |&master| self.mounts[master].master)
            .filter_map(|master| self.mounts[master].group)
            .find(|&group| self.members(group).any(|member| is_seen(&member)))
            .map(|group| self.groups[group].number)
    }
}
