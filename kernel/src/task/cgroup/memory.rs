//! The controller "memory": how many pages a group and those below it may have (Linux's `Documentation/admin-guide/cgroup-v2.rst`,
//! "Memory"). Charged are the pages of programs, of tmpfs, of pipes, and page tables, each to the group of the thread that made it; a page
//! stays charged there until it is free, wherever that thread goes.
//!
//! Each frame carries its owner (`mm::frame`), so nothing is ever given back to the wrong group. There is no swap and nothing to reclaim:
//! `memory.min` and `memory.low` hold by themselves, and beyond `memory.max` somebody in the group has to go.

use super::control::Controllers;
use super::notice::{EventFile, tell};
use super::{Cgroup, Limit, TREE, Tree};
use crate::errno::{Errno, Result};
use crate::mm::PAGE_SIZE_BYTES;
use crate::mm::frame::Purpose;
use crate::sync::SpinLock;
use crate::task::wait_queue::{Deadline, WaitMode, wait_on};
use crate::task::{Process, Thread, oom, return_work, scheduler};
use crate::time::clock;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// A limit in pages that means "max".
const NO_LIMIT: u64 = u64::MAX;
/// The longest that a thread is held back at once for `memory.high`.
const MAX_PENALTY_NS: u64 = 2_000_000_000;
/// How long somebody who dies is waited for, and how often.
const PATIENCE_NS: u64 = 1_000_000;
const MAX_TRIES: usize = 2000;

/// The limits that a group has in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Bound {
    Min,
    Low,
    High,
    Max,
    SwapHigh,
    SwapMax,
}

/// The lines of `memory.events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Event {
    Low,
    High,
    Max,
    OutOfMemory,
    Killed,
    GroupKilled,
}

impl Event {
    /// All of them with their names.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Low, "low"),
        (Self::High, "high"),
        (Self::Max, "max"),
        (Self::OutOfMemory, "oom"),
        (Self::Killed, "oom_kill"),
        (Self::GroupKilled, "oom_group_kill"),
    ];
}

/// What the controller knows of a group: pages in it and below.
pub struct Memory {
    pages: AtomicU64,
    peak_pages: AtomicU64,
    by_purpose: [AtomicU64; Purpose::COUNT],
    bounds: [AtomicU64; 6],
    /// `memory.oom.group`.
    kills_together: AtomicBool,
    events: [AtomicU64; Event::ALL.len()],
    local_events: [AtomicU64; Event::ALL.len()],
    /// Frames that name this very group as their owner.
    own_frames: AtomicU64,
    /// Its place in [`OWNERS`] and one more; 0 while it has none.
    owner_number: AtomicUsize,
}

impl Default for Memory {
    fn default() -> Self {
        let zeros = || core::array::from_fn(|_| AtomicU64::new(0));
        Self {
            pages: AtomicU64::new(0),
            peak_pages: AtomicU64::new(0),
            by_purpose: core::array::from_fn(|_| AtomicU64::new(0)),
            bounds: [0, 0, NO_LIMIT, NO_LIMIT, NO_LIMIT, NO_LIMIT].map(AtomicU64::new),
            kills_together: AtomicBool::new(false),
            events: zeros(),
            local_events: zeros(),
            own_frames: AtomicU64::new(0),
            owner_number: AtomicUsize::new(0),
        }
    }
}

const PAGE: u64 = PAGE_SIZE_BYTES as u64;

impl Memory {
    /// `memory.current`.
    pub fn current_bytes(&self) -> u64 {
        self.pages.load(Ordering::Relaxed) * PAGE
    }

    /// `memory.peak`.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_pages.load(Ordering::Relaxed) * PAGE
    }

    /// What of it serves one purpose.
    pub fn bytes_for(&self, purpose: Purpose) -> u64 {
        self.by_purpose[purpose as usize].load(Ordering::Relaxed) * PAGE
    }

    fn bound_pages(&self, bound: Bound) -> u64 {
        self.bounds[bound as usize].load(Ordering::Relaxed)
    }

    /// A limit in bytes; `None` for "max".
    pub fn bound(&self, bound: Bound) -> Limit {
        Some(self.bound_pages(bound)).filter(|pages| *pages != NO_LIMIT).map(|pages| pages * PAGE)
    }

    /// Sets a limit, rounded down to pages. `memory.max` is enforced by [`Cgroup::set_memory_max`].
    pub fn set_bound(&self, bound: Bound, limit: Limit) {
        self.bounds[bound as usize].store(limit.map_or(NO_LIMIT, |bytes| bytes / PAGE), Ordering::Relaxed);
    }

    /// `memory.oom.group`.
    pub fn kills_together(&self) -> bool {
        self.kills_together.load(Ordering::Relaxed)
    }

    /// Sets `memory.oom.group`.
    pub fn set_kills_together(&self, together: bool) {
        self.kills_together.store(together, Ordering::Relaxed);
    }

    /// How often something has happened in the group and below, or with `local` in the group itself.
    pub fn count(&self, event: Event, local: bool) -> u64 {
        let counts = if local { &self.local_events } else { &self.events };
        counts[event as usize].load(Ordering::Relaxed)
    }

    /// The controller begins to govern the group, or ceases to.
    pub(super) fn reset(&self) {
        let fresh = Self::default();
        for (own, fresh) in self.bounds.iter().zip(fresh.bounds) {
            own.store(fresh.into_inner(), Ordering::Relaxed);
        }
        self.set_kills_together(false);
    }

    fn is_over(&self, bound: Bound) -> bool {
        self.pages.load(Ordering::Relaxed) > self.bound_pages(bound)
    }
}

/// The groups that frames name as their owner, by number less one. A group that was removed stays until its last frame is free.
static OWNERS: SpinLock<Vec<Option<Arc<Cgroup>>>> = SpinLock::new(Vec::new());
/// How many frames have an owner: while it is 0 nothing is looked up.
static OWNED_FRAMES: AtomicUsize = AtomicUsize::new(0);

/// Whether any frame has an owner.
pub fn any_owned() -> bool {
    OWNED_FRAMES.load(Ordering::Relaxed) != 0
}

fn owner_number(group: &Arc<Cgroup>) -> usize {
    let known = group.memory.owner_number.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let mut owners = OWNERS.lock();
    let index = owners.iter().position(Option::is_none).unwrap_or_else(|| {
        owners.push(None);
        owners.len() - 1
    });
    owners[index] = Some(group.clone());
    group.memory.owner_number.store(index + 1, Ordering::Relaxed);
    index + 1
}

/// Gives a removed group's number back once no frame names it.
pub(super) fn forget_if_unused(group: &Cgroup) {
    if !group.is_dead() || group.memory.own_frames.load(Ordering::Relaxed) != 0 {
        return;
    }
    let number = group.memory.owner_number.swap(0, Ordering::Relaxed);
    if let Some(index) = number.checked_sub(1) {
        let gone = OWNERS.lock().get_mut(index).and_then(Option::take);
        drop(gone);
    }
}

/// Charges a page to the current thread's group: the owner's number, 0 for a thread that is not governed. `ENOMEM` beyond `memory.max` of
/// the group or of one above; [`make_room`] then knows which.
///
/// Cost: one load for threads that are not governed, else O(depth).
pub fn charge(purpose: Purpose) -> Result<usize> {
    let Some(thread) = scheduler::try_current() else { return Ok(0) };
    if thread.return_work.load(Ordering::Relaxed) & return_work::PAY_FOR_MEMORY == 0 {
        return Ok(0);
    }
    let Some(group) = thread.memory_group.lock().clone() else { return Ok(0) };
    for above in group.ancestors() {
        above.memory.pages.fetch_add(1, Ordering::Relaxed);
        above.memory.by_purpose[purpose as usize].fetch_add(1, Ordering::Relaxed);
    }
    // Who is about to end may have what it needs for that.
    if !thread.must_end()
        && let Some(full) = with_parents(&group).find(|above| above.memory.is_over(Bound::Max))
    {
        take_back(&group, purpose);
        note(full, Event::Max);
        *thread.memory_shortage.lock() = Some(full.clone());
        return Err(Errno::NOMEM);
    }
    for above in with_parents(&group) {
        above.memory.peak_pages.fetch_max(above.memory.pages.load(Ordering::Relaxed), Ordering::Relaxed);
        if above.memory.is_over(Bound::High) {
            thread.return_work.fetch_or(return_work::OVER_MEMORY_HIGH, Ordering::Relaxed);
        }
    }
    group.memory.own_frames.fetch_add(1, Ordering::Relaxed);
    OWNED_FRAMES.fetch_add(1, Ordering::Relaxed);
    Ok(owner_number(&group))
}

fn with_parents(group: &Arc<Cgroup>) -> impl Iterator<Item = &Arc<Cgroup>> {
    core::iter::successors(Some(group), |group| group.parent.as_ref())
}

fn take_back(group: &Cgroup, purpose: Purpose) {
    for above in group.ancestors() {
        above.memory.pages.fetch_sub(1, Ordering::Relaxed);
        above.memory.by_purpose[purpose as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// A frame with an owner is free again.
pub fn uncharge(owner: usize, purpose: Purpose) {
    let group = owner.checked_sub(1).and_then(|index| OWNERS.lock().get(index).cloned().flatten());
    let Some(group) = group else { return };
    OWNED_FRAMES.fetch_sub(1, Ordering::Relaxed);
    take_back(&group, purpose);
    if group.memory.own_frames.fetch_sub(1, Ordering::Relaxed) == 1 {
        forget_if_unused(&group);
    }
}

/// Counts an event in the group, and in those above what happens below them.
fn note(group: &Arc<Cgroup>, event: Event) {
    group.memory.local_events[event as usize].fetch_add(1, Ordering::Relaxed);
    for above in group.ancestors() {
        above.memory.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Who watches the events of the group hears of them, and who watches those above.
fn tell_events(group: &Arc<Cgroup>) {
    tell(group, EventFile::MemoryLocal);
    with_parents(group).for_each(|above| tell(above, EventFile::Memory));
}

/// Tells a thread which group its pages are charged to: the nearest that is governed.
pub(super) fn apply(thread: &Thread) {
    let group = thread.cgroup();
    let governed = with_parents(&group).find(|above| !above.is_root() && above.controllers().contains(Controllers::MEMORY)).cloned();
    let bits = &thread.return_work;
    if governed.is_some() {
        bits.fetch_or(return_work::PAY_FOR_MEMORY, Ordering::Relaxed);
    } else {
        bits.fetch_and(!return_work::PAY_FOR_MEMORY, Ordering::Relaxed);
    }
    let old = core::mem::replace(&mut *thread.memory_group.lock(), governed);
    drop(old);
}

/// The shortage that the current thread's last charge met, if it met one.
pub fn take_shortage(thread: &Thread) -> Option<Arc<Cgroup>> {
    thread.memory_shortage.lock().take()
}

/// A group is full: sees to it that somebody in it dies, and waits a moment. Whether it is worth to try again: not for who is dying
/// itself, nor if nobody is left to be killed. Called without a lock that a dying process needs.
pub fn make_room(group: &Arc<Cgroup>, thread: &Thread) -> bool {
    if thread.must_end() {
        return false;
    }
    if !group.memory.is_over(Bound::Max) && group.memory.pages.load(Ordering::Relaxed) < group.memory.bound_pages(Bound::Max) {
        return true;
    }
    let tries = thread.memory_tries.fetch_add(1, Ordering::Relaxed) as usize;
    if tries > MAX_TRIES || !kill_somebody(group) {
        thread.memory_tries.store(0, Ordering::Relaxed);
        return false;
    }
    wait_a_moment(PATIENCE_NS);
    !thread.must_end()
}

fn wait_a_moment(ns: u64) {
    let moment = Deadline(clock::monotonic_ns() + ns);
    let _ = wait_on(&[], WaitMode::KILLABLE.until(Some(moment)), || None::<()>);
}

/// The processes of a group and of all below.
fn processes(group: &Arc<Cgroup>) -> Vec<Arc<Process>> {
    let tree = TREE.lock();
    let mut processes: Vec<Arc<Process>> = Vec::new();
    for thread in group.subtree(&tree).iter().flat_map(|group| group.member_threads()) {
        if !processes.iter().any(|known| Arc::ptr_eq(known, &thread.process)) {
            processes.push(thread.process.clone());
        }
    }
    processes
}

/// Kills the process of the group whose end gives back most, or with `memory.oom.group` all that belong together with it. While one that was
/// chosen before is still ending nobody else is. Whether there is anybody.
fn kill_somebody(group: &Arc<Cgroup>) -> bool {
    let processes = processes(group);
    if processes.iter().any(|process| process.signals.lock().group_exit.is_some()) {
        return true;
    }
    note(group, Event::OutOfMemory);
    let total_pages = (group.memory.bound_pages(Bound::Max)).min(crate::mm::frame::statistics().total_pages) as i64;
    let candidates = processes.iter().filter(|process| process.address_space().is_some());
    let worst = candidates.filter_map(|process| Some((oom::badness(process, total_pages)?, process))).max_by_key(|(points, _)| *points);
    let Some((_, victim)) = worst else {
        tell_events(group);
        return false;
    };
    let home = victim.leader().map_or_else(|| group.clone(), |leader| leader.cgroup());
    let together = with_parents(&home).take_while(|above| above.is_within(group)).filter(|above| above.memory.kills_together()).last();
    match together {
        Some(whole) => {
            note(whole, Event::GroupKilled);
            for process in self::processes(whole) {
                kill(&process, whole);
            }
        }
        None => kill(victim, &home),
    }
    tell_events(&home);
    true
}

fn kill(victim: &Arc<Process>, home: &Arc<Cgroup>) {
    oom::kill(victim, "Memory cgroup out of memory");
    note(home, Event::Killed);
}

/// The thread has gone beyond `memory.high` of a group: it is held back, the longer the further.
pub(in crate::task) fn throttle(thread: &Arc<Thread>) {
    thread.return_work.fetch_and(!return_work::OVER_MEMORY_HIGH, Ordering::Relaxed);
    let group = thread.cgroup();
    let mut penalty_ns = 0;
    for above in with_parents(&group).filter(|above| above.memory.is_over(Bound::High)) {
        note(above, Event::High);
        tell_events(above);
        let high = above.memory.bound_pages(Bound::High).max(1);
        let beyond = above.memory.pages.load(Ordering::Relaxed).saturating_sub(high);
        penalty_ns = penalty_ns.max((beyond.saturating_mul(MAX_PENALTY_NS) / high).min(MAX_PENALTY_NS));
    }
    if penalty_ns > 0 {
        wait_a_moment(penalty_ns);
    }
}

impl Cgroup {
    /// Sets `memory.max`. If more is in use, somebody in the group has to go until it is not.
    pub fn set_memory_max(self: &Arc<Self>, limit: Limit) {
        self.memory.set_bound(Bound::Max, limit);
        for _ in 0..MAX_TRIES {
            if !self.memory.is_over(Bound::Max) || scheduler::current().has_signal() || !kill_somebody(self) {
                return;
            }
            wait_a_moment(PATIENCE_NS);
        }
    }

    /// Tells all members here and below which group their pages are charged to.
    pub(super) fn memory_governor_changed(self: &Arc<Self>, tree: &Tree) {
        for thread in self.subtree(tree).iter().flat_map(|group| group.member_threads()) {
            apply(&thread);
        }
    }
}
