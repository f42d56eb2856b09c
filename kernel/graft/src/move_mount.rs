//! MS_MOVE and move_mount(2): moving a mount, attaching a detached tree, slipping one beneath another (V, A7, A9).

use crate::attach::{Destination, Survey};
use crate::caller::{Caller, Place};
use crate::clone_tree::Taking;
use crate::forest::Forest;
use crate::ids::{MountSlot, NamespaceSlot};
use crate::mount::State;
use crate::refusal::{Refusal, Rule, require};
use crate::released::{Released, Remains};
use crate::seam::Vfs;

impl<V: Vfs> Forest<V> {
    /// Moves the mount at `source`, with all on it, to `target`, or beneath the top mount there (A10).
    ///
    /// What is moved keeps its groups, masters and marks (V2), and copies made earlier elsewhere stay (V3).
    ///
    /// The source may be the root of a detached tree, which then becomes part of the caller's namespace (A7).
    ///
    /// Errors: F4, V1 with A9, F14, O15, P6, in that order; a mount in a detached tree is refused (A4). Cost: the mounts moved, times one plus the receivers.
    pub fn move_mount(
        &mut self,
        caller: &Caller<'_, V>,
        source: &Place<V>,
        target: &Place<V>,
        beneath: bool,
    ) -> Result<Released<V>, Refusal> {
        self.require_admin(caller)?;
        let namespace = self.resolve_namespace(caller.namespace)?;
        let moved = self.resolve(source.mount)?;
        let place = self.top_of_stack(target);
        let upper = self.resolve(place.mount)?;
        let mountpoint = if beneath {
            // A mount without a parent counts as mounted on its own root, here and in Linux.
            let entry = &self.mounts[upper];
            entry.mountpoint.as_ref().unwrap_or(&entry.root).clone()
        } else {
            place.dentry.clone()
        };
        require(!self.vfs.is_unlinked(&mountpoint), Rule::MountpointUnlinked)?;
        self.require_movable(moved, source, upper, &place, namespace)?;
        let parent = if beneath {
            let root = self.find(caller.root.mount);
            self.require_room_beneath(moved, &place, &mountpoint, root, namespace)?
        } else {
            upper
        };
        self.require_acceptable(moved, parent, namespace)?;

        let tree = self.list_tree(moved, &source.dentry, Taking::Everything)?;
        let detached = self.mounts[moved].namespace.filter(|&slot| slot != namespace);
        let destination = Destination { parent, mountpoint, beneath: beneath.then_some(upper) };
        let survey = Survey::of(self, &tree, detached.is_some(), 0);
        let plan = self.plan_attach(&survey, &destination)?;
        let mut bag = Released::with_room(1)?;

        let left = self.commit_attach(&tree, destination, plan, namespace);
        // V4: what was moved by hand no longer expires by itself.
        self.mounts[moved].state -= State::EXPIRABLE;
        if let Some(left) = left {
            bag.put(Remains::Mountpoint(left));
        }
        if let Some(detached) = detached {
            self.end_namespace(detached, &mut bag);
        }
        Ok(bag)
    }

    /// V1 up to the shared parent: whether the mount may be taken from where it is.
    fn require_movable(
        &self,
        moved: MountSlot<V>,
        source: &Place<V>,
        upper: MountSlot<V>,
        place: &Place<V>,
        namespace: NamespaceSlot<V>,
    ) -> Result<(), Refusal> {
        let entry = &self.mounts[moved];
        require(self.mounts[upper].namespace == Some(namespace), Rule::TargetElsewhere)?;
        let Some(own) = entry.namespace else {
            return Err(Refusal::new(Rule::MoveNotMounted));
        };
        match entry.parent {
            Some(_) => require(own == namespace, Rule::MoveElsewhere)?,
            None => require(self.namespaces[own].is_anonymous(), Rule::MoveNamespaceRoot)?,
        }
        require(!entry.is_mount_locked(), Rule::MoveLocked)?;
        require(self.is_mount_root(source, moved), Rule::MoveNotMountRoot)?;
        let kinds_agree = self.is_directory(&source.dentry) == self.is_directory(&place.dentry);
        require(kinds_agree, Rule::MoveKindMismatch)?;
        let parent_shared = entry.parent.is_some_and(|parent| self.mounts[parent].is_shared());
        require(!parent_shared, Rule::MoveParentShared)
    }

    /// V1 from the unbindable mounts on: whether the destination may have the tree.
    fn require_acceptable(&self, moved: MountSlot<V>, parent: MountSlot<V>, namespace: NamespaceSlot<V>) -> Result<(), Refusal> {
        let holds_unbindable = |mount| self.mounts[mount].is_unbindable();
        let onto_shared = self.mounts[parent].is_shared();
        require(!(onto_shared && self.tree(moved).any(holds_unbindable)), Rule::MoveUnbindable)?;
        let makes_loop = |mount| self.is_own_or_older_namespace(&self.mounts[mount].root, namespace);
        require(!self.tree(moved).any(makes_loop), Rule::MoveNamespaceLoop)?;
        require(!self.is_in_tree(parent, moved), Rule::MoveIntoItself)
    }

    /// A9: whether there is room beneath the mount at `place`. Returns the mount that the tree would be on.
    fn require_room_beneath(
        &self,
        moved: MountSlot<V>,
        place: &Place<V>,
        mountpoint: &V::Dentry,
        process_root: Option<MountSlot<V>>,
        namespace: NamespaceSlot<V>,
    ) -> Result<MountSlot<V>, Refusal> {
        let upper = self.resolve(place.mount)?;
        let Some(parent) = self.mounts[upper].parent else {
            return Err(Refusal::new(Rule::BeneathNoParent));
        };
        require(self.is_mount_root(place, upper), Rule::BeneathNotMountRoot)?;
        require(!self.mounts[upper].is_mount_locked(), Rule::BeneathLocked)?;
        require(self.attached_at(moved, self.root_key(moved)).is_none(), Rule::BeneathSourceCovered)?;
        require(process_root != Some(upper), Rule::BeneathProcessRoot)?;
        require(self.namespaces[namespace].root != Some(parent), Rule::BeneathNamespaceRoot)?;
        require(!self.is_in_tree(moved, upper), Rule::BeneathDescendant)?;
        require(!self.would_cover(parent, upper, mountpoint), Rule::BeneathTargetReceives)?;
        let source_receives = self.mounts[moved].namespace == Some(namespace) && self.would_cover(parent, moved, mountpoint);
        require(!source_receives, Rule::BeneathSourceReceives)?;
        Ok(parent)
    }

    /// Whether what is mounted on `from` at the mountpoint would be propagated onto the very root of `to` (A9).
    fn would_cover(&self, from: MountSlot<V>, to: MountSlot<V>, mountpoint: &V::Dentry) -> bool {
        let Some(group) = self.mounts[from].group else {
            return false;
        };
        let in_real_namespace = self.mounts[to].namespace.is_some_and(|slot| !self.namespaces[slot].is_anonymous());
        if !in_real_namespace || self.root_key(to) != self.vfs.dentry_key(mountpoint) {
            return false;
        }
        core::iter::successors(Some(to), |&mount| self.mounts[mount].master).any(|mount| self.mounts[mount].group == Some(group))
    }
}
