//! umount2(2): checks, and what is removed elsewhere (chapter U).
//!
//! The removal set is decided for the whole tree at once, by marks on the mounts: no memory is asked for, but where a survivor
//! changes place (U13).

use core::sync::atomic::Ordering;

use crate::caller::{Caller, Place};
use crate::flags::{Locks, UmountFlags};
use crate::forest::{Forest, Needs};
use crate::group::Leaving;
use crate::ids::{MountId, MountSlot};
use crate::mount::State;
use crate::receivers::Receivers;
use crate::refusal::{Refusal, Rule, require};
use crate::released::Released;
use crate::seam::Vfs;

/// What umount2 came to.
pub enum UmountOutcome<V: Vfs> {
    /// Done (U6).
    Unmounted(Released<V>),
    /// The target is the caller's root mount: nothing was unmounted. The kernel makes this superblock read-only instead: EBUSY if
    /// there are writers, success if it is read-only already (U4).
    RemountRootReadOnly(V::Superblock),
}

/// How removed mounts come apart (U15).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// Each from its parent.
    Disconnected,
    /// All but those locked to a parent that is removed too.
    LockedStayConnected,
    /// None from a parent that is removed too (U17).
    Connected,
}

/// Lists of mounts that an unmount makes, linked by `chain`.
struct Chain<V: Vfs> {
    first: Option<MountSlot<V>>,
    last: Option<MountSlot<V>>,
}

impl<V: Vfs> Chain<V> {
    const fn new() -> Self {
        Self { first: None, last: None }
    }

    fn push(&mut self, forest: &mut Forest<V>, mount: MountSlot<V>) {
        forest.mounts[mount].chain = None;
        match self.last {
            Some(last) => forest.mounts[last].chain = Some(mount),
            None => self.first = Some(mount),
        }
        self.last = Some(mount);
    }
}

impl<V: Vfs> Forest<V> {
    /// Unmounts the mount that `target` is the root of; `target` is as looked up, crossed once at the end (L3).
    ///
    /// `held_pins` tells how many of the target's pins are the call's own. With MNT_FORCE the kernel calls
    /// [`check_umount`](Self::check_umount) first, then the filesystem's abort hook, then this (U3).
    ///
    /// Errors: F4, U1 to U8. Cost: the mounts of the tree, times one plus the receivers of their parents.
    pub fn umount(
        &mut self,
        caller: &Caller<'_, V>,
        target: &Place<V>,
        flags: UmountFlags,
        held_pins: u32,
    ) -> Result<UmountOutcome<V>, Refusal> {
        self.check_umount(caller, target, flags)?;
        let mount = self.resolve(target.mount)?;
        let is_process_root = caller.root.mount == target.mount;
        if flags.contains(UmountFlags::EXPIRE) {
            self.require_expired(mount, held_pins)?;
        }
        if is_process_root && !flags.contains(UmountFlags::DETACH) {
            let superblock = &self.mounts[mount].superblock;
            let is_admin = self.vfs.is_superblock_admin(caller.credentials, superblock);
            require(is_admin, Rule::UmountRootNotAdmin)?;
            return Ok(UmountOutcome::RemountRootReadOnly(superblock.clone()));
        }
        let parting = if flags.contains(UmountFlags::DETACH) {
            Parting::LockedStayConnected
        } else {
            let entry = &self.mounts[mount];
            let in_use = entry.first_child.is_some() || entry.pin_count() > held_pins;
            require(!in_use, Rule::UmountBusy)?;
            Parting::Disconnected
        };
        Ok(UmountOutcome::Unmounted(self.umount_propagated(mount, parting)?))
    }

    /// The checks of umount2 that precede the abort hook of MNT_FORCE (U1, the flags of U2).
    pub fn check_umount(&self, caller: &Caller<'_, V>, target: &Place<V>, flags: UmountFlags) -> Result<(), Refusal> {
        self.require_admin(caller)?;
        let namespace = self.resolve_namespace(caller.namespace)?;
        let mount = self.resolve(target.mount)?;
        let entry = &self.mounts[mount];
        require(self.is_mount_root(target, mount), Rule::UmountNotMountRoot)?;
        require(entry.namespace == Some(namespace), Rule::UmountElsewhere)?;
        require(entry.parent.is_some(), Rule::UmountNamespaceRoot)?;
        require(!entry.is_mount_locked(), Rule::UmountLocked)?;
        if flags.contains(UmountFlags::FORCE) {
            // X10: as in 6.6, not over the superblock's owner.
            require(self.vfs.is_initial_admin(caller.credentials), Rule::UmountForceNotAdmin)?;
        }
        if flags.contains(UmountFlags::EXPIRE) {
            let others = flags.intersects(UmountFlags::FORCE | UmountFlags::DETACH);
            require(caller.root.mount != target.mount && !others, Rule::ExpireFlags)?;
        }
        Ok(())
    }

    /// MNT_EXPIRE: an unused mount is marked at the first call and goes at the second (U2).
    fn require_expired(&self, mount: MountSlot<V>, held_pins: u32) -> Result<(), Refusal> {
        let entry = &self.mounts[mount];
        let in_use = entry.first_child.is_some() || entry.pin_count() > held_pins;
        require(!in_use, Rule::ExpireBusy)?;
        require(entry.expiry_mark.swap(true, Ordering::AcqRel), Rule::ExpireMarked)
    }

    /// Removes a tree, and elsewhere what U10 and U11 take along with it.
    fn umount_propagated(&mut self, top: MountSlot<V>, parting: Parting) -> Result<Released<V>, Refusal> {
        let mut removed = self.mark_tree(top);
        let tree_last = removed.last;
        let candidates = self.mark_candidates(removed.first);
        if let Err(refusal) = self.decide_candidates(candidates.first, parting) {
            self.clear_marks(removed.first);
            self.clear_marks(candidates.first);
            return Err(refusal);
        }
        self.unlock_counterparts(removed.first);
        let mut next = candidates.first;
        while let Some(candidate) = next {
            next = self.mounts[candidate].chain;
            self.unlock_counterpart(candidate);
            let state = &mut self.mounts[candidate].state;
            if state.contains(State::CANDIDATE) {
                state.toggle(State::CANDIDATE | State::REMOVED);
                removed.push(self, candidate);
            }
        }
        let first_candidate = tree_last.and_then(|last| self.mounts[last].chain);
        self.reattach_survivors(first_candidate);
        Ok(self.remove_marked(removed.first, parting))
    }

    /// U9: the target and its whole subtree.
    fn mark_tree(&mut self, top: MountSlot<V>) -> Chain<V> {
        let mut chain = Chain::new();
        let mut next = Some(top);
        while let Some(mount) = next {
            self.mounts[mount].state |= State::REMOVED;
            chain.push(self, mount);
            next = self.next_in_tree(mount, top);
        }
        chain
    }

    fn clear_marks(&mut self, first: Option<MountSlot<V>>) {
        let mut next = first;
        while let Some(mount) = next {
            let entry = &mut self.mounts[mount];
            entry.state -= State::REMOVED | State::CANDIDATE | State::COUNTERPART;
            next = entry.chain;
        }
    }

    /// U10: whatever is attached where a receiver would have the counterpart of a mount of the tree.
    ///
    /// A mount of the tree that turns up as a counterpart of another one needs no visit of its own: its parent is a receiver of the
    /// other's parent, so their receivers are the same or fewer. Without that a stack of n peers would cost n * n.
    fn mark_candidates(&mut self, tree: Option<MountSlot<V>>) -> Chain<V> {
        let mut candidates = Chain::new();
        let mut role = State::COUNTERPART;
        let mut next = tree;
        while let Some(mount) = next {
            next = self.mounts[mount].chain;
            if !self.mounts[mount].state.contains(State::VISITED) {
                self.mark_counterparts(mount, role, &mut candidates);
            }
            // Only the first is the mount that was asked for.
            role = State::empty();
        }
        let mut next = tree;
        while let Some(mount) = next {
            next = self.mounts[mount].chain;
            self.mounts[mount].state -= State::VISITED;
        }
        candidates
    }

    fn mark_counterparts(&mut self, mount: MountSlot<V>, role: State, candidates: &mut Chain<V>) {
        let (Some(parent), Some(key)) = (self.mounts[mount].parent, self.mountpoint_key(mount)) else {
            return;
        };
        // What shadows this mount (O5) is a counterpart for the others, though not for this one: they are visited then.
        let stands_for_others = !self.mounts[mount].state.contains(State::SHADOW_PAIR);
        let mut receivers = Receivers::of(self, parent);
        while let Some(receiver) = receivers.next(self) {
            let Some(copy) = self.attached_at(receiver.mount, key) else {
                continue;
            };
            let state = &mut self.mounts[copy].state;
            *state |= role;
            if state.contains(State::REMOVED) {
                state.set(State::VISITED, stands_for_others || state.contains(State::VISITED));
            } else if !state.contains(State::CANDIDATE) {
                *state |= State::CANDIDATE;
                candidates.push(self, copy);
            }
        }
    }

    /// The busy checks of a plain umount (U8); then takes the mark from candidates that must stay, until none is left that must
    /// (U11, X3, X5): one that stays is no error (U12). Reserves for the toppers that survive what they stand on (U13).
    ///
    /// Each candidate is judged once for itself, and loses its mark at most once; then its neighbours are judged again.
    fn decide_candidates(&mut self, candidates: Option<MountSlot<V>>, parting: Parting) -> Result<(), Refusal> {
        if parting == Parting::Disconnected {
            self.require_unused_copies(candidates)?;
        }
        let mut doomed_to_stay = None;
        let mut next = candidates;
        while let Some(candidate) = next {
            next = self.mounts[candidate].chain;
            if self.must_stay(candidate) {
                self.keep(candidate, &mut doomed_to_stay);
            }
        }
        while let Some(kept) = doomed_to_stay {
            doomed_to_stay = self.mounts[kept].scratch;
            if let Some(parent) = self.mounts[kept].parent
                && self.mounts[parent].state.contains(State::CANDIDATE)
                && !self.is_topper(kept)
            {
                self.keep(parent, &mut doomed_to_stay);
            }
            let mut child = self.mounts[kept].first_child;
            while let Some(mount) = child {
                child = self.mounts[mount].next_sibling;
                if self.mounts[mount].state.contains(State::CANDIDATE) && self.is_held_by_lock(mount) {
                    self.keep(mount, &mut doomed_to_stay);
                }
            }
        }
        let mut survivors = 0;
        let mut next = candidates;
        while let Some(candidate) = next {
            next = self.mounts[candidate].chain;
            if self.mounts[candidate].state.contains(State::CANDIDATE) {
                survivors += self.children(candidate).filter(|&child| !self.is_going(child)).count();
            }
        }
        if survivors > 0 {
            self.reserve(Needs { attachments: survivors, ..Needs::default() })?;
        }
        Ok(())
    }

    /// U8: a plain umount is of one mount, so that the candidates are its counterparts.
    fn require_unused_copies(&self, candidates: Option<MountSlot<V>>) -> Result<(), Refusal> {
        let mut next = candidates;
        while let Some(copy) = next {
            let entry = &self.mounts[copy];
            next = entry.chain;
            let only_child = entry.first_child.filter(|_| entry.first_child == entry.last_child);
            let is_judged = entry.first_child.is_none() || only_child.is_some_and(|child| self.is_topper(child));
            require(!(is_judged && entry.pin_count() > 0), Rule::UmountCopyBusy)?;
        }
        Ok(())
    }

    fn keep(&mut self, candidate: MountSlot<V>, list: &mut Option<MountSlot<V>>) {
        let entry = &mut self.mounts[candidate];
        entry.state -= State::CANDIDATE;
        entry.scratch = *list;
        *list = Some(candidate);
    }

    /// The two conditions of U11, as far as marks tell now.
    fn must_stay(&self, candidate: MountSlot<V>) -> bool {
        let held_by_child = self.children(candidate).any(|child| !self.is_going(child) && !self.is_topper(child));
        let parent = self.mounts[candidate].parent;
        let parent_has = |mark| parent.is_some_and(|parent| self.mounts[parent].state.intersects(mark));
        let held_by_lock =
            self.is_held_by_lock(candidate) && !parent_has(State::REMOVED) && (!parent_has(State::CANDIDATE) || self.is_topper(candidate));
        held_by_child || held_by_lock
    }

    /// Whether a mount is locked to its place. Counterparts of the target itself lose their lock before U11 is asked; in fact they
    /// do at the commit.
    fn is_held_by_lock(&self, mount: MountSlot<V>) -> bool {
        let entry = &self.mounts[mount];
        entry.is_mount_locked() && !entry.state.contains(State::COUNTERPART)
    }

    fn is_going(&self, mount: MountSlot<V>) -> bool {
        self.mounts[mount].state.intersects(State::REMOVED | State::CANDIDATE)
    }

    /// Unlocks the counterparts of the target that are in the removed tree itself.
    fn unlock_counterparts(&mut self, tree: Option<MountSlot<V>>) {
        let mut next = tree;
        while let Some(mount) = next {
            next = self.mounts[mount].chain;
            self.unlock_counterpart(mount);
        }
    }

    fn unlock_counterpart(&mut self, mount: MountSlot<V>) {
        let entry = &mut self.mounts[mount];
        if entry.state.contains(State::COUNTERPART) {
            entry.state -= State::COUNTERPART;
            entry.locks -= Locks::MOUNT;
        }
    }

    /// U13: attaches surviving toppers where the removed mounts under them were attached.
    fn reattach_survivors(&mut self, first: Option<MountSlot<V>>) {
        let mut next = first;
        while let Some(removed) = next {
            next = self.mounts[removed].chain;
            let mut child = self.mounts[removed].first_child;
            while let Some(topper) = child {
                child = self.mounts[topper].next_sibling;
                if !self.mounts[topper].state.contains(State::REMOVED) {
                    self.slide_down(topper, removed);
                }
            }
        }
    }

    fn slide_down(&mut self, topper: MountSlot<V>, removed: MountSlot<V>) {
        let mut lowest = removed;
        while let Some(parent) = self.mounts[lowest].parent
            && self.mounts[parent].state.contains(State::REMOVED)
        {
            lowest = parent;
        }
        let entry = &self.mounts[lowest];
        let (Some(parent), Some(mountpoint)) = (entry.parent, entry.mountpoint.clone()) else {
            return;
        };
        // The topper's own mountpoint is the root of a mount that its slot still holds: this handle is not the last.
        drop(self.detach(topper));
        self.attach(topper, parent, mountpoint);
    }

    /// Takes a chain of mounts marked as removed out of everything: namespaces, groups, masters, and each other (U14, U15). Each
    /// namespace that lost one hears of it (U18).
    pub(crate) fn remove_marked(&mut self, first: Option<MountSlot<V>>, parting: Parting) -> Released<V> {
        let mut bag = Released::new();
        self.sweep(&mut bag);
        let mut next = first;
        while let Some(mount) = next {
            next = self.mounts[mount].chain;
            if let Some(namespace) = self.mounts[mount].namespace {
                self.touch(namespace);
                self.leave_namespace(mount);
            }
            self.mounts[mount].state |= State::UNMOUNTED;
        }
        self.leave_groups(first, Leaving::Alone);
        let mut next = first;
        while let Some(mount) = next {
            next = self.mounts[mount].chain;
            if !self.stays_connected(mount, parting)
                && let Some(mountpoint) = self.detach(mount)
            {
                self.give_up_mountpoint(mountpoint, &mut bag);
            }
        }
        self.bury_unpinned(first, &mut bag);
        bag
    }

    /// Lets go of the removed mounts that nothing keeps. A mount that stays connected goes with its parent.
    fn bury_unpinned(&mut self, first: Option<MountSlot<V>>, bag: &mut Released<V>) {
        // `reap_slot` uses `chain` itself, so that the list goes over to `scratch` first.
        let mut next = first;
        while let Some(mount) = next {
            let entry = &mut self.mounts[mount];
            entry.state -= State::REMOVED;
            next = entry.chain;
            entry.scratch = next;
        }
        let mut alone = self.only_alone(first);
        while let Some(mount) = alone {
            alone = self.mounts[mount].scratch;
            self.reap_slot(mount, bag);
        }
    }

    /// Shortens a list to the mounts that are connected to nothing above: those whose end does not come with another's.
    fn only_alone(&mut self, first: Option<MountSlot<V>>) -> Option<MountSlot<V>> {
        let mut list = None;
        let mut next = first;
        while let Some(mount) = next {
            next = self.mounts[mount].scratch;
            if self.mounts[mount].parent.is_none() {
                self.mounts[mount].scratch = list;
                list = Some(mount);
            }
        }
        list
    }

    /// U15, U17: whether a removed mount stays on its removed parent.
    fn stays_connected(&self, mount: MountSlot<V>, parting: Parting) -> bool {
        let entry = &self.mounts[mount];
        let parent_unmounted = entry.parent.is_some_and(|parent| self.mounts[parent].state.contains(State::UNMOUNTED));
        parent_unmounted
            && match parting {
                Parting::Disconnected => false,
                Parting::LockedStayConnected => entry.is_mount_locked(),
                Parting::Connected => true,
            }
    }

    /// Removes a tree without propagation (U17, N9).
    pub(crate) fn umount_alone(&mut self, top: MountSlot<V>, parting: Parting) -> Released<V> {
        let chain = self.mark_tree(top);
        self.remove_marked(chain.first, parting)
    }

    /// Unmounts everything on a dentry that was removed, or replaced by a rename, in all namespaces, each with what is on it
    /// and without propagation (L17).
    ///
    /// Cost: the mounts removed.
    pub fn detach_mounts(&mut self, dentry: &V::Dentry) -> Released<V> {
        let key = self.vfs.dentry_key(dentry);
        let mut bag = Released::new();
        self.sweep(&mut bag);
        while let Some(mount) = self.first_on_mountpoint(key) {
            if self.mounts[mount].state.contains(State::UNMOUNTED) {
                // One that was still connected to its removed parent.
                if let Some(mountpoint) = self.detach(mount) {
                    self.give_up_mountpoint(mountpoint, &mut bag);
                }
                self.reap_slot(mount, &mut bag);
                continue;
            }
            let chain = self.mark_tree(mount);
            bag.absorb(self.remove_marked(chain.first, Parting::Connected));
        }
        bag
    }

    /// The last close of a detached tree's file: takes the tree apart unless it was attached meanwhile (A5, U17).
    pub fn dissolve(&mut self, root: MountId) -> Released<V> {
        let Some(top) = self.find(root) else {
            return Released::new();
        };
        let anonymous = self.mounts[top].namespace.filter(|&slot| self.namespaces[slot].is_anonymous());
        let Some(namespace) = anonymous.filter(|&slot| self.namespaces[slot].root == Some(top)) else {
            return Released::new();
        };
        let mut bag = self.umount_alone(top, Parting::Connected);
        self.end_namespace(namespace, &mut bag);
        bag
    }
}
