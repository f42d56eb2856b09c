//! MOVE_MOUNT_SET_GROUP: putting a private mount into the group of another (A8).

use crate::caller::{Caller, Place};
use crate::forest::Forest;
use crate::ids::MountSlot;
use crate::refusal::{Refusal, Rule, require};
use crate::seam::Vfs;

impl<V: Vfs> Forest<V> {
    /// Makes the mount at `to` a peer of the one at `from`, or a slave of its master. Raises no event.
    ///
    /// Errors: F4, A8 in its order.
    pub fn set_group(&mut self, caller: &Caller<'_, V>, from: &Place<V>, to: &Place<V>) -> Result<(), Refusal> {
        self.require_admin(caller)?;
        let (model, joining) = (self.resolve(from.mount)?, self.resolve(to.mount)?);
        self.require_group_settable(caller, from, to, model, joining)?;
        if self.mounts[model].master.is_some() {
            self.enslave_after(joining, model);
        }
        if self.mounts[model].is_shared() {
            self.join_group(joining, model);
        }
        Ok(())
    }

    fn require_group_settable(
        &self,
        caller: &Caller<'_, V>,
        from: &Place<V>,
        to: &Place<V>,
        model: MountSlot<V>,
        joining: MountSlot<V>,
    ) -> Result<(), Refusal> {
        let (model_entry, joining_entry) = (&self.mounts[model], &self.mounts[joining]);
        let (Some(model_namespace), Some(joining_namespace)) = (model_entry.namespace, joining_entry.namespace) else {
            return Err(Refusal::new(Rule::SetGroupNotMounted));
        };
        for namespace in [model_namespace, joining_namespace] {
            let owner = &self.namespaces[namespace].owner;
            require(self.vfs.is_admin(caller.credentials, owner), Rule::SetGroupNotAdmin)?;
        }
        require(self.is_mount_root(from, model), Rule::SetGroupNotMountRoot)?;
        require(self.is_mount_root(to, joining), Rule::SetGroupNotMountRoot)?;
        let same_superblock = self.vfs.superblock_key(&model_entry.superblock) == self.vfs.superblock_key(&joining_entry.superblock);
        require(same_superblock, Rule::SetGroupOtherSuperblock)?;
        require(self.vfs.is_below(&joining_entry.root, &model_entry.root), Rule::SetGroupWider)?;
        require(!self.has_locked_children(model, &joining_entry.root), Rule::SetGroupLockedChildren)?;
        let joining_is_private = !joining_entry.is_shared() && joining_entry.master.is_none();
        require(joining_is_private, Rule::SetGroupNotPrivate)?;
        let model_is_private = !model_entry.is_shared() && model_entry.master.is_none();
        require(!model_is_private, Rule::SetGroupPrivate)
    }
}
