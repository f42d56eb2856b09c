//! listmount and the lookup of statmount (X16): mounts by their unique ids.

use crate::caller::{Caller, Place};
use crate::forest::{FIRST_UNIQUE_ID, Forest};
use crate::ids::{MountId, MountSlot, NamespaceId, NamespaceSlot};
use crate::refusal::{Refusal, Rule, require};
use crate::seam::Vfs;

/// What listmount lists the mounts below of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListStart {
    /// The reader's root directory (`LSMT_ROOT`).
    Root,
    /// The mount with this unique id.
    Mount(u64),
}

impl<V: Vfs> Forest<V> {
    /// The mount of a namespace with a unique id, if the caller may know of it: what statmount looks up.
    ///
    /// `root` is the directory that the namespace is seen from: the caller's own root in its own namespace, else
    /// [`namespace_entry`](Self::namespace_entry). Errors: ENOENT, EPERM (X16).
    pub fn visible_mount(
        &self,
        credentials: &V::Credentials,
        namespace: NamespaceId,
        root: &Place<V>,
        unique_id: u64,
    ) -> Result<MountId, Refusal> {
        let space = self.resolve_namespace(namespace)?;
        let mount = self.find_listed(space, unique_id).ok_or_else(|| Refusal::new(Rule::NoSuchMount))?;
        let is_reachable = self.is_reachable(&self.root_place(mount), root);
        let owner = &self.namespaces[space].owner;
        require(is_reachable || self.vfs.is_admin(credentials, owner), Rule::MountOutOfSight)?;
        Ok(self.mount_id(mount))
    }

    /// Fills `ids` with the unique ids of the mounts below `start`, ascending, from behind `after` on (0: from the first).
    /// Returns how many there are.
    ///
    /// Errors: X16. Cost: the mounts of the namespace from `after` on, with their depth; where the mount `after` is gone, all.
    pub fn list_mounts(
        &self,
        caller: &Caller<'_, V>,
        namespace: NamespaceId,
        root: &Place<V>,
        start: ListStart,
        after: u64,
        ids: &mut [u64],
    ) -> Result<usize, Refusal> {
        let space = self.resolve_namespace(namespace)?;
        let (place, left_out) = match start {
            ListStart::Root => (root.clone(), None),
            ListStart::Mount(unique_id) => {
                require(unique_id >= FIRST_UNIQUE_ID, Rule::ListedIdInvalid)?;
                let mount = self.visible_mount(caller.credentials, namespace, root, unique_id)?;
                let mount = self.resolve(mount)?;
                (self.root_place(mount), Some(mount))
            }
        };
        let below = self.resolve(place.mount)?;
        // Nothing leaves a whole superblock; and below a mount that was found reachable all is: mostly the last one's parent.
        let shows_all = self.vfs.is_superblock_root(&place.dentry);
        let mut known = below;
        let mut is_reachable = |mount: MountSlot<V>| {
            let entry = &self.mounts[mount];
            if shows_all && entry.parent == Some(known) {
                return true;
            }
            let reachable = self.is_reachable_from(mount, &entry.root, below, &place.dentry);
            if reachable && mount != below {
                known = entry.parent.unwrap_or(below);
            }
            reachable
        };
        let listed = core::iter::successors(self.first_listed_after(space, after), |&mount| self.mounts[mount].next_by_id)
            .filter(|&mount| Some(mount) != left_out)
            .filter(|&mount| is_reachable(mount));
        let count = ids.iter_mut().zip(listed).map(|(id, mount)| *id = self.mounts[mount].unique_id).count();
        Ok(count)
    }

    fn find_listed(&self, namespace: NamespaceSlot<V>, unique_id: u64) -> Option<MountSlot<V>> {
        self.find_unique(unique_id).filter(|&mount| self.mounts[mount].namespace == Some(namespace))
    }

    fn first_listed_after(&self, namespace: NamespaceSlot<V>, after: u64) -> Option<MountSlot<V>> {
        if let Some(mount) = self.find_listed(namespace, after) {
            return self.mounts[mount].next_by_id;
        }
        let first = self.namespaces[namespace].first_by_id;
        core::iter::successors(first, |&mount| self.mounts[mount].next_by_id).find(|&mount| self.mounts[mount].unique_id > after)
    }
}
