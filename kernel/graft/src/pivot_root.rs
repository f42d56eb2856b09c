//! pivot_root(2) (chapter R).

use crate::caller::{Caller, Place};
use crate::flags::Locks;
use crate::forest::{Forest, Needs};
use crate::ids::MountSlot;
use crate::refusal::{Refusal, Rule, require};
use crate::released::{Released, Remains};
use crate::seam::Vfs;

/// What pivot_root leaves to the kernel: every task, of whatever namespace, whose root or working directory is exactly
/// `old_root` gets `new_root` in its place (R4).
pub struct Pivot<V: Vfs> {
    /// The root of the old root mount.
    pub old_root: Place<V>,
    /// The root of the new root mount.
    pub new_root: Place<V>,
    /// To be dropped after the lock is released.
    pub released: Released<V>,
}

impl<V: Vfs> Forest<V> {
    /// Makes the mount at `new_root` the root mount, and moves the old one to `put_old`.
    ///
    /// A slave may be the root, and a shared mount the new root where `put_old` is on another mount (R2). `put_old` may be the
    /// new root itself (R5) or a mountpoint (R6).
    ///
    /// Errors: F4, R1 in its order. Cost: the depths of the two places.
    pub fn pivot_root(&mut self, caller: &Caller<'_, V>, new_root: &Place<V>, put_old: &Place<V>) -> Result<Pivot<V>, Refusal> {
        self.require_admin(caller)?;
        let namespace = self.resolve_namespace(caller.namespace)?;
        let put_old = self.top_of_stack(put_old);
        require(!self.vfs.is_unlinked(&put_old.dentry), Rule::PivotPutOldUnlinked)?;
        let new = self.resolve(new_root.mount)?;
        let old = self.resolve(put_old.mount)?;
        let root = self.resolve(caller.root.mount)?;
        let is_ours = |mount: MountSlot<V>| self.mounts[mount].namespace == Some(namespace);

        require(!self.mounts[old].is_shared(), Rule::PivotPutOldShared)?;
        require(!self.mounts[self.parent_or_self(new)].is_shared(), Rule::PivotNewParentShared)?;
        require(!self.mounts[self.parent_or_self(root)].is_shared(), Rule::PivotRootParentShared)?;
        require(is_ours(root) && is_ours(new), Rule::PivotElsewhere)?;
        require(!self.mounts[new].is_mount_locked(), Rule::PivotLocked)?;
        require(!self.vfs.is_unlinked(&new_root.dentry), Rule::PivotNewUnlinked)?;
        require(new != root && old != root, Rule::PivotOnRootMount)?;
        require(self.is_mount_root(caller.root, root), Rule::PivotRootNotMountRoot)?;
        require(self.mounts[root].parent.is_some(), Rule::PivotRootNoParent)?;
        let is_mounted_root = self.is_mount_root(new_root, new) && self.mounts[new].parent.is_some();
        require(is_mounted_root, Rule::PivotNewNotMountRoot)?;
        require(self.is_reachable(&put_old, new_root), Rule::PivotPutOldOutside)?;
        require(self.is_reachable(new_root, caller.root), Rule::PivotNewOutside)?;

        self.reserve(Needs { attachments: 2, ..Needs::default() })?;
        let mut released = Released::with_room(1)?;
        if let Some(left) = self.exchange_roots(root, new, old, put_old.dentry) {
            released.put(Remains::Mountpoint(left));
        }
        self.touch(namespace);
        Ok(Pivot { old_root: self.root_place(root), new_root: self.root_place(new), released })
    }

    /// R3. Returns the dentry that the new root was on.
    fn exchange_roots(
        &mut self,
        root: MountSlot<V>,
        new: MountSlot<V>,
        put_old: MountSlot<V>,
        put_old_dentry: V::Dentry,
    ) -> Option<V::Dentry> {
        if self.mounts[root].is_mount_locked() {
            self.mounts[new].locks |= Locks::MOUNT;
            self.mounts[root].locks -= Locks::MOUNT;
        }
        let left = self.detach(new);
        self.replace(root, new);
        self.attach(root, put_old, put_old_dentry);
        // R7
        self.mounts[new].state -= crate::mount::State::EXPIRABLE;
        left
    }

    fn parent_or_self(&self, mount: MountSlot<V>) -> MountSlot<V> {
        self.mounts[mount].parent.unwrap_or(mount)
    }
}
