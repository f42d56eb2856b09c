//! Which thread is in which group: forking into one, moving to another, leaving at the end.
//!
//! A thread is a member from its start until it ends. A zombie still shows the group that it was last in, and counts in its `pids.current`
//! until it is reaped, but keeps nobody from removing the group.

use super::notice::{EventFile, Notices};
use super::{Cgroup, TREE, Tree};
use super::{cpu, freezer, memory};
use crate::errno::{Errno, Result};
use crate::fs::permission::Access;
use crate::task::signal::{Signal, SignalInfo, send_to_process};
use crate::task::{Credentials, Process, Thread, current};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;

impl Cgroup {
    /// Its members, not those of groups below.
    pub(super) fn member_threads(&self) -> Vec<Arc<Thread>> {
        self.state.lock().members.values().filter_map(alloc::sync::Weak::upgrade).collect()
    }

    /// Whether there is a member in it or below (`populated` of `cgroup.events`).
    pub fn is_populated(&self) -> bool {
        self.state.lock().is_populated()
    }

    /// `cgroup.threads`.
    pub fn threads(&self) -> Vec<Arc<Thread>> {
        let _tree = TREE.lock();
        self.member_threads()
    }

    /// `cgroup.procs`: the processes that belong to the domain. `EOPNOTSUPP` in a threaded group.
    pub fn processes(self: &Arc<Self>) -> Result<Vec<Arc<Process>>> {
        let tree = TREE.lock();
        if self.is_threaded() {
            return Err(Errno::OPNOTSUPP);
        }
        let groups = self.with_threaded_subtree(&tree);
        let mut processes: Vec<Arc<Process>> = Vec::new();
        for thread in groups.iter().flat_map(|group| group.member_threads()) {
            if !processes.iter().any(|known| Arc::ptr_eq(known, &thread.process)) {
                processes.push(thread.process.clone());
            }
        }
        processes.sort_by_key(|process| process.pid);
        Ok(processes)
    }

    /// `cgroup.kill`: SIGKILL to every process in it and below. `EOPNOTSUPP` in a threaded group.
    pub fn kill(self: &Arc<Self>) -> Result<()> {
        let processes: Vec<Arc<Process>> = {
            let tree = TREE.lock();
            self.require_live()?;
            if self.is_threaded() {
                return Err(Errno::OPNOTSUPP);
            }
            let groups = self.subtree(&tree);
            groups.iter().flat_map(|group| group.member_threads()).map(|thread| thread.process.clone()).collect()
        };
        for process in processes {
            let _ = send_to_process(&process, SignalInfo::from_kernel(Signal::KILL));
        }
        Ok(())
    }

    /// Whether threads may be put into it: `EOPNOTSUPP` for an invalid domain, `EBUSY` where it hands on controllers of domains
    /// ("no internal processes").
    fn check_accepts(&self) -> Result<()> {
        if !self.domain().is_valid_domain() {
            return Err(Errno::OPNOTSUPP);
        }
        let competes = !self.can_be_thread_root() && !self.is_threaded() && !self.subtree_control().is_empty();
        if competes { Err(Errno::BUSY) } else { Ok(()) }
    }

    /// Enters a thread among the members.
    fn add(self: &Arc<Self>, tree: &mut Tree, thread: &Arc<Thread>, notices: &mut Notices) {
        let was_populated = {
            let mut state = self.state.lock();
            let was = state.is_populated();
            state.members.insert(Arc::as_ptr(thread).addr(), Arc::downgrade(thread));
            was
        };
        if !was_populated {
            self.population_changed(true, notices);
        }
        freezer::update(tree, self, notices);
    }

    /// Takes a thread out of the members. Whether it was one.
    fn take_out(self: &Arc<Self>, tree: &mut Tree, thread: &Arc<Thread>, notices: &mut Notices) -> bool {
        let populated = {
            let mut state = self.state.lock();
            if state.members.remove(&Arc::as_ptr(thread).addr()).is_none() {
                return false;
            }
            state.is_populated()
        };
        if !populated {
            self.population_changed(false, notices);
        }
        freezer::update(tree, self, notices);
        true
    }

    /// The first member has come, or the last has gone: those above count it, and everybody hears of it.
    fn population_changed(self: &Arc<Self>, populated: bool, notices: &mut Notices) {
        let mut at = self.clone();
        loop {
            at.changed(EventFile::Cgroup, notices);
            let Some(parent) = at.parent.clone() else { return };
            let threaded = at.is_threaded();
            let flips = {
                let mut state = parent.state.lock();
                let before = state.is_populated();
                let count = if threaded { &mut state.populated_threaded_children } else { &mut state.populated_domain_children };
                *count = if populated { *count + 1 } else { count.saturating_sub(1) };
                before != state.is_populated()
            };
            if !flips {
                return;
            }
            at = parent;
        }
    }
}

/// Who moves threads: the credentials and the cgroup namespace that the file was opened with.
pub struct Mover<'a> {
    /// Whose permission counts.
    pub credentials: &'a Credentials,
    /// What it may see.
    pub namespace: &'a super::CgroupNamespace,
}

impl Mover<'_> {
    /// Whether it may move something from one group to another: it must be able to write `cgroup.procs` of the lowest group above both
    /// (`EACCES`), and with `nsdelegate` see both (`ENOENT`). `whole_process` tells that all threads go together.
    fn check(&self, from: &Cgroup, to: &Arc<Cgroup>, whole_process: bool) -> Result<()> {
        let common = from.common_ancestor(to);
        crate::fs::cgroupfs::check_procs_access(common, self.credentials, Access::WRITE)?;
        let visible = from.is_within(&self.namespace.root) && to.is_within(&self.namespace.root);
        if crate::fs::cgroupfs::delegates_to_namespaces() && !visible {
            return Err(Errno::NOENT);
        }
        to.check_accepts()?;
        if !whole_process && !core::ptr::eq(from.domain(), to.domain()) {
            return Err(Errno::OPNOTSUPP);
        }
        Ok(())
    }
}

/// Moves a thread, or with `whole_process` all threads of its process.
pub fn attach(target: &Arc<Cgroup>, thread: &Arc<Thread>, whole_process: bool, mover: &Mover<'_>) -> Result<()> {
    target.require_live()?;
    mover.check(&thread.cgroup(), target, whole_process)?;
    let threads = if whole_process { thread.process.threads() } else { Vec::from([thread.clone()]) };
    let mut notices = Notices::default();
    {
        let mut tree = TREE.lock();
        target.require_live()?;
        target.check_accepts()?;
        for thread in &threads {
            change_group(&mut tree, thread, target, &mut notices);
        }
    }
    threads.iter().for_each(apply_all);
    notices.send();
    Ok(())
}

/// Moves one thread, unless it has ended.
fn change_group(tree: &mut Tree, thread: &Arc<Thread>, target: &Arc<Cgroup>, notices: &mut Notices) {
    let source = thread.cgroup();
    if Arc::ptr_eq(&source, target) || !source.take_out(tree, thread, notices) {
        return;
    }
    if thread.frozen.load(Ordering::Relaxed) {
        freezer::count(&source, false);
        freezer::count(target, true);
        freezer::update(tree, &source, notices);
    }
    // A move is never refused for the limits (`cgroup-v2.rst`, "PID").
    target.pids.charge(target);
    source.pids.uncharge(&source);
    cpu::settle(&source, thread);
    let old = thread.set_cgroup(target.clone());
    target.add(tree, thread, notices);
    drop(old);
}

/// A place for a child that is being made: its group is kept from being removed, and the child is counted there already.
/// Dropped without [`Self::enter`] it gives both back.
pub struct Arrival {
    group: Arc<Cgroup>,
    entered: bool,
}

impl Arrival {
    /// The group.
    pub fn group(&self) -> &Arc<Cgroup> {
        &self.group
    }

    /// The child of the current thread begins in `into` (`CLONE_INTO_CGROUP`), or in its parent's group. `EAGAIN` at a limit of "pids".
    pub fn prepare(into: Option<&Arc<Cgroup>>, new_thread: bool) -> Result<Self> {
        let thread = current();
        let own = thread.cgroup();
        if let Some(target) = into {
            target.require_live()?;
            let credentials = thread.credentials();
            crate::fs::cgroupfs::check_procs_access(target, &credentials, Access::WRITE)?;
            let namespaces = thread.namespaces();
            Mover { credentials: &credentials, namespace: &namespaces.cgroup }.check(&own, target, !new_thread)?;
        }
        let group = into.unwrap_or(&own).clone();
        group.pids.try_charge(&group)?;
        group.state.lock().arriving += 1;
        Ok(Self { group, entered: false })
    }

    /// The child is a member from now on.
    pub fn enter(mut self, child: &Arc<Thread>) {
        let mut notices = Notices::default();
        {
            let mut tree = TREE.lock();
            self.group.state.lock().arriving -= 1;
            self.entered = true;
            self.group.add(&mut tree, child, &mut notices);
            // The process was moved meanwhile: its threads stay together.
            let own = current().cgroup();
            if Arc::ptr_eq(&current().process, &child.process) && !Arc::ptr_eq(&own, &self.group) {
                change_group(&mut tree, child, &own, &mut notices);
            }
        }
        apply_all(child);
        notices.send();
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if !self.entered {
            self.group.state.lock().arriving -= 1;
            self.group.pids.uncharge(&self.group);
        }
    }
}

/// Tells a thread what its group means for it.
fn apply_all(thread: &Arc<Thread>) {
    cpu::apply(thread);
    memory::apply(thread);
    freezer::apply(thread);
}

/// The first thread of all becomes a member of the root.
pub fn enter_root(thread: &Arc<Thread>) {
    let mut notices = Notices::default();
    let root = Cgroup::root();
    root.pids.charge(root);
    root.add(&mut TREE.lock(), thread, &mut notices);
    notices.send();
}

/// A thread ends: it is no member any more.
pub(in crate::task) fn leave(thread: &Arc<Thread>) {
    let mut notices = Notices::default();
    {
        let mut tree = TREE.lock();
        let group = thread.cgroup();
        if group.take_out(&mut tree, thread, &mut notices) {
            cpu::settle(&group, thread);
        }
    }
    notices.send();
}

/// The last trace of a thread goes.
pub(in crate::task) fn release(thread: &Thread) {
    let group = thread.cgroup();
    group.pids.uncharge(&group);
}
