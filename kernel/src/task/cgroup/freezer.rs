//! `cgroup.freeze`: threads stop on their way back to user mode, and say so in `cgroup.events` when the last one has.
//!
//! A thread that waits in the kernel is woken as by a signal, and its call is started again when the group thaws. Threads that are
//! stopped, or wait for their `vfork` child, count as frozen where they are. SIGKILL ends a frozen thread at once.

use super::notice::{EventFile, Notices};
use super::{Cgroup, TREE, Tree};
use crate::errno::Result;
use crate::task::wait_queue::{WaitMode, wait_on};
use crate::task::{Thread, Wake, return_work, scheduler};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Where a group stands.
#[derive(Default)]
pub(super) struct State {
    /// `cgroup.freeze` of the group itself.
    wanted: bool,
    /// A group above is to be frozen.
    inherited: bool,
    /// All that is in it and below stands still.
    complete: bool,
    frozen_members: usize,
    complete_children: usize,
}

impl State {
    /// That of a new group.
    pub(super) fn below(parent_frozen: bool) -> Self {
        Self { inherited: parent_frozen, ..Self::default() }
    }

    /// Whether its members are to stop.
    pub(super) fn is_effective(&self) -> bool {
        self.wanted || self.inherited
    }
}

impl Cgroup {
    /// `cgroup.freeze`.
    pub fn freeze_wanted(&self) -> bool {
        self.state.lock().freezer.wanted
    }

    /// The line `frozen` of `cgroup.events`.
    pub fn is_frozen(&self) -> bool {
        self.state.lock().freezer.complete
    }

    /// Whether members are to stop.
    pub(super) fn freezes(&self) -> bool {
        self.state.lock().freezer.is_effective()
    }

    /// A write to `cgroup.freeze`. Does not wait until all have stopped.
    pub fn set_freeze(self: &Arc<Self>, wanted: bool) -> Result<()> {
        let mut notices = Notices::default();
        let mut tree = TREE.lock();
        self.require_live()?;
        self.state.lock().freezer.wanted = wanted;
        let mut concerned = alloc::vec::Vec::new();
        for group in self.subtree(&tree) {
            let inherited = group.parent.as_ref().is_some_and(|parent| parent.freezes());
            group.state.lock().freezer.inherited = inherited;
            concerned.extend(group.member_threads());
        }
        // From the leaves up: a group is frozen once those below are.
        for group in self.subtree(&tree).iter().rev() {
            update(&mut tree, group, &mut notices);
        }
        drop(tree);
        for thread in &concerned {
            apply(thread);
        }
        notices.send();
        Ok(())
    }
}

/// Tells a thread what its group wants of it.
pub(super) fn apply(thread: &Arc<Thread>) {
    if thread.cgroup().freezes() {
        thread.return_work.fetch_or(return_work::FREEZE, Ordering::Relaxed);
        scheduler::wake_for_signal(thread, false);
    } else if thread.return_work.fetch_and(!return_work::FREEZE, Ordering::Relaxed) & return_work::FREEZE != 0 {
        thread.wake();
    }
}

/// Stands still until the group thaws or the thread must end. On the way back to user mode.
pub(in crate::task) fn stop_here(thread: &Arc<Thread>) {
    while_frozen(thread, || {
        let thawed = || thread.return_work.load(Ordering::Relaxed) & return_work::FREEZE == 0;
        // Only its end ends the wait early.
        let _ = wait_on(&[], WaitMode::KILLABLE, || thawed().then_some(()));
    });
}

/// Counts the current thread as frozen while `wait` runs: it waits where no program runs.
pub(in crate::task) fn while_frozen<T>(thread: &Arc<Thread>, wait: impl FnOnce() -> T) -> T {
    set_frozen(thread, true);
    let outcome = wait();
    set_frozen(thread, false);
    outcome
}

fn set_frozen(thread: &Arc<Thread>, frozen: bool) {
    let mut notices = Notices::default();
    let mut tree = TREE.lock();
    if thread.frozen.swap(frozen, Ordering::Relaxed) != frozen {
        let group = thread.cgroup();
        count(&group, frozen);
        update(&mut tree, &group, &mut notices);
    }
    drop(tree);
    notices.send();
}

/// Counts a member as frozen, or no longer.
pub(super) fn count(group: &Cgroup, frozen: bool) {
    adjust(&mut group.state.lock().freezer.frozen_members, frozen);
}

fn adjust(number: &mut usize, up: bool) {
    *number = if up { *number + 1 } else { number.saturating_sub(1) };
}

/// Works out anew whether a group is frozen, and with it those above.
pub(super) fn update(_tree: &mut Tree, group: &Arc<Cgroup>, notices: &mut Notices) {
    let mut at = group.clone();
    loop {
        let complete = {
            let mut state = at.state.lock();
            let complete = state.freezer.is_effective()
                && state.freezer.frozen_members == state.members.len()
                && state.freezer.complete_children == state.children.len();
            if state.freezer.complete == complete {
                return;
            }
            state.freezer.complete = complete;
            complete
        };
        at.changed(EventFile::Cgroup, notices);
        let Some(parent) = at.parent.clone() else { return };
        adjust(&mut parent.state.lock().freezer.complete_children, complete);
        at = parent;
    }
}

/// A group is about to leave its parent's children.
pub(super) fn forget_child(_tree: &mut Tree, group: &Arc<Cgroup>, _notices: &mut Notices) {
    let complete = core::mem::take(&mut group.state.lock().freezer.complete);
    if let Some(parent) = group.parent.as_ref().filter(|_| complete) {
        parent.state.lock().freezer.complete_children -= 1;
    }
}
