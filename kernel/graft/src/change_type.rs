//! Changing propagation types (chapter C).

use crate::caller::{Caller, Place};
use crate::flags::PropagationType;
use crate::forest::{Forest, Needs};
use crate::group::Leaving;
use crate::ids::MountSlot;
use crate::mount::State;
use crate::refusal::{Refusal, Rule, require};
use crate::seam::Vfs;

impl<V: Vfs> Forest<V> {
    /// Gives a mount, or where `recursive` each mount of its tree, a propagation type (C3, C4). Raises no event (C7).
    ///
    /// Errors: F4, C1, X6, in that order; ENOMEM only for shared. Cost: the mounts of the tree and their slaves.
    pub fn change_type(&mut self, caller: &Caller<'_, V>, target: &Place<V>, to: PropagationType, recursive: bool) -> Result<(), Refusal> {
        self.require_admin(caller)?;
        let mount = self.resolve(target.mount)?;
        require(self.is_mount_root(target, mount), Rule::ChangeNotMountRoot)?;
        // C2, as X6 narrows it: in whichever namespace, but mounted, and with rights over its owner.
        let Some(namespace) = self.mounts[mount].namespace else {
            return Err(Refusal::new(Rule::ChangeNotMounted));
        };
        let owner = &self.namespaces[namespace].owner;
        require(self.vfs.is_admin(caller.credentials, owner), Rule::ChangeNotAdmin)?;
        self.reserve_for_type(mount, to, recursive)?;
        self.set_type(mount, to, recursive);
        Ok(())
    }

    /// Reserves the groups that [`set_type`](Self::set_type) will found.
    pub(crate) fn reserve_for_type(&mut self, top: MountSlot<V>, to: PropagationType, recursive: bool) -> Result<(), Refusal> {
        if to != PropagationType::Shared {
            return Ok(());
        }
        let extent = if recursive { usize::MAX } else { 1 };
        let ungrouped = |&mount: &MountSlot<V>| !self.mounts[mount].is_shared();
        let groups = self.tree(top).take(extent).filter(ungrouped).count();
        Ok(self.reserve(Needs { groups, ..Needs::default() })?)
    }

    /// Gives the type. Cannot fail.
    pub(crate) fn set_type(&mut self, top: MountSlot<V>, to: PropagationType, recursive: bool) {
        let leaving = match to {
            PropagationType::Shared => return self.make_shared(top, recursive),
            PropagationType::Slave => Leaving::ToSlave,
            PropagationType::Private | PropagationType::Unbindable => Leaving::Alone,
        };
        let mut last = top;
        let mut next = Some(top);
        while let Some(mount) = next {
            self.mounts[last].chain = Some(mount);
            last = mount;
            next = if recursive { self.next_in_tree(mount, top) } else { None };
            let state = &mut self.mounts[mount].state;
            match to {
                PropagationType::Private => *state -= State::UNBINDABLE,
                PropagationType::Unbindable => *state |= State::UNBINDABLE,
                // C3: making an unbindable mount a slave leaves it unbindable.
                PropagationType::Slave | PropagationType::Shared => {}
            }
        }
        self.mounts[last].chain = None;
        self.leave_groups(Some(top), leaving);
    }

    /// Groups are numbered in pre-order (C4).
    fn make_shared(&mut self, top: MountSlot<V>, recursive: bool) {
        let mut next = Some(top);
        while let Some(mount) = next {
            if !self.mounts[mount].is_shared() {
                self.found_group(mount);
            }
            next = if recursive { self.next_in_tree(mount, top) } else { None };
        }
    }
}
