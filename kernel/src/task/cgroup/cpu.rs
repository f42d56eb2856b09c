//! The controller "cpu": how the processor is shared among groups (`cpu.weight`), how much a group may have of it (`cpu.max`), and what it
//! has used (`cpu.stat`). Linux's `Documentation/admin-guide/cgroup-v2.rst`, "CPU".
//!
//! What was used is not written down as time goes by: it is summed up from the members' own times when somebody asks. Limits cost only
//! threads of groups that have some (`return_work`), weights only while a group is governed at all (`share`).

use super::control::Controllers;
use super::{Cgroup, Limit, TREE, Tree};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::wait_queue::{Deadline, WaitMode, wait_on};
use crate::task::{Thread, return_work};
use crate::time::clock;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// `cpu.weight` of a new group, and the lowest and highest.
pub const DEFAULT_WEIGHT: u64 = 100;
/// See [`DEFAULT_WEIGHT`].
pub const WEIGHTS: core::ops::RangeInclusive<u64> = 1..=10_000;
const DEFAULT_PERIOD_NS: u64 = 100_000_000;
/// Bounds of a period, and the shortest quota.
const MIN_PERIOD_NS: u64 = 1_000_000;
const MAX_PERIOD_NS: u64 = 1_000_000_000;
/// More than this is no quota of anything.
const MAX_QUOTA_NS: u64 = 1 << 50;

/// Processor time, in user mode and in the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
}

impl Times {
    fn add(&mut self, other: Self) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
    }
}

/// `cpu.max` and what is left of it.
struct Bandwidth {
    quota_ns: Limit,
    period_ns: u64,
    burst_ns: u64,
    /// When the current period began.
    period_start_ns: u64,
    /// What may still be used; what was used beyond is missing in the next period.
    left_ns: i64,
    counts: BandwidthCounts,
    /// A thread is already held back in this period.
    throttled: bool,
}

/// The rest of `cpu.stat`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct BandwidthCounts {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
    pub bursts: u64,
    pub burst_ns: u64,
}

impl Default for Bandwidth {
    fn default() -> Self {
        Self {
            quota_ns: None,
            period_ns: DEFAULT_PERIOD_NS,
            burst_ns: 0,
            period_start_ns: 0,
            left_ns: 0,
            counts: BandwidthCounts::default(),
            throttled: false,
        }
    }
}

impl Bandwidth {
    /// Begins a new period if the last is over. Unused time is kept as far as `cpu.max.burst` allows.
    fn refresh(&mut self, now_ns: u64) {
        let Some(quota_ns) = self.quota_ns else { return };
        let over = now_ns.saturating_sub(self.period_start_ns) / self.period_ns;
        if over == 0 {
            return;
        }
        self.period_start_ns += over * self.period_ns;
        let earned = quota_ns.saturating_mul(over).min(MAX_QUOTA_NS) as i64;
        let most = quota_ns.saturating_add(self.burst_ns).min(MAX_QUOTA_NS) as i64;
        self.left_ns = self.left_ns.saturating_add(earned).min(most);
        self.counts.periods += 1;
        self.throttled = false;
    }

    /// Takes what was used. Gives when there is more, if there is nothing left.
    fn pay(&mut self, used_ns: u64, now_ns: u64) -> Option<u64> {
        self.refresh(now_ns);
        let quota_ns = self.quota_ns?;
        let before = self.left_ns;
        self.left_ns = self.left_ns.saturating_sub(used_ns.min(MAX_QUOTA_NS) as i64);
        let saved = (before - quota_ns as i64).max(0);
        let of_saved = saved.min(used_ns as i64);
        if of_saved > 0 {
            self.counts.bursts += 1;
            self.counts.burst_ns += of_saved as u64;
        }
        if self.left_ns > 0 {
            return None;
        }
        if !self.throttled {
            self.throttled = true;
            self.counts.throttled_periods += 1;
        }
        Some(self.period_start_ns + self.period_ns)
    }
}

/// What the controller knows of a group.
pub struct Cpu {
    weight: AtomicU64,
    bandwidth: SpinLock<Bandwidth>,
    /// Used by members that have left, and by groups below that were removed.
    ended: SpinLock<Times>,
    /// Time that the group has had, the more the lower its weight: among its siblings the one with the least is next.
    pub(super) virtual_ns: AtomicU64,
    /// Where the ones that run below it stand: who has slept is not owed all that it missed.
    pub(super) floor_ns: AtomicU64,
}

impl Default for Cpu {
    fn default() -> Self {
        Self {
            weight: AtomicU64::new(DEFAULT_WEIGHT),
            bandwidth: SpinLock::default(),
            ended: SpinLock::default(),
            virtual_ns: AtomicU64::new(0),
            floor_ns: AtomicU64::new(0),
        }
    }
}

impl Cpu {
    /// `cpu.weight`.
    pub fn weight(&self) -> u64 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Sets `cpu.weight`: `ERANGE` outside of [`WEIGHTS`].
    pub fn set_weight(&self, weight: u64) -> Result<()> {
        if !WEIGHTS.contains(&weight) {
            return Err(Errno::RANGE);
        }
        self.weight.store(weight, Ordering::Relaxed);
        Ok(())
    }

    /// `cpu.max`: the quota and the period; `cpu.max.burst`.
    pub fn limits(&self) -> (Limit, u64, u64) {
        let bandwidth = self.bandwidth.lock();
        (bandwidth.quota_ns, bandwidth.period_ns, bandwidth.burst_ns)
    }

    /// How often `cpu.max` has held threads back.
    pub fn counts(&self) -> BandwidthCounts {
        self.bandwidth.lock().counts
    }

    fn is_limited(&self) -> bool {
        self.bandwidth.lock().quota_ns.is_some()
    }

    /// The controller begins to govern the group, or ceases to.
    pub(super) fn reset(&self) {
        self.weight.store(DEFAULT_WEIGHT, Ordering::Relaxed);
        *self.bandwidth.lock() = Bandwidth::default();
    }

    pub(super) fn add_ended(&self, times: Times) {
        self.ended.lock().add(times);
    }

    /// What was noted of those that have gone.
    pub(super) fn ended(&self) -> Times {
        *self.ended.lock()
    }
}

impl Cgroup {
    /// Sets `cpu.max` and `cpu.max.burst`; `EINVAL` for a period or quota out of bounds, or a burst longer than the quota.
    pub fn set_cpu_limits(self: &Arc<Self>, quota_ns: Limit, period_ns: u64, burst_ns: u64) -> Result<()> {
        let quota_fits = quota_ns.is_none_or(|quota_ns| (MIN_PERIOD_NS..=MAX_QUOTA_NS).contains(&quota_ns) && burst_ns <= quota_ns);
        if !quota_fits || !(MIN_PERIOD_NS..=MAX_PERIOD_NS).contains(&period_ns) || burst_ns > MAX_QUOTA_NS {
            return Err(Errno::INVAL);
        }
        {
            let mut bandwidth = self.cpu.bandwidth.lock();
            bandwidth.quota_ns = quota_ns;
            bandwidth.period_ns = period_ns;
            bandwidth.burst_ns = burst_ns;
            bandwidth.period_start_ns = clock::monotonic_ns();
            bandwidth.left_ns = quota_ns.unwrap_or(0) as i64;
        }
        self.limits_changed(&TREE.lock());
        Ok(())
    }

    /// Tells all members here and below whether they have to pay for their time.
    pub(super) fn limits_changed(self: &Arc<Self>, tree: &Tree) {
        for thread in self.subtree(tree).iter().flat_map(|group| group.member_threads()) {
            apply(&thread);
        }
    }

    /// What its members and those of all groups below have used (`cpu.stat`).
    pub fn cpu_times(self: &Arc<Self>) -> Times {
        let tree = TREE.lock();
        let mut times = Times::default();
        for group in self.subtree(&tree) {
            times.add(group.cpu.ended());
            for thread in group.member_threads() {
                times.add(since_joining(&thread));
            }
        }
        times
    }
}

/// What a thread has used since it came into its group.
fn since_joining(thread: &Thread) -> Times {
    let usage = thread.usage();
    let base = *thread.cgroup_base.lock();
    Times { user_ns: usage.user_ns.saturating_sub(base.user_ns), system_ns: usage.system_ns.saturating_sub(base.system_ns) }
}

/// A member leaves `group`: what it has used stays there.
pub(super) fn settle(group: &Cgroup, thread: &Thread) {
    group.cpu.add_ended(since_joining(thread));
    let usage = thread.usage();
    *thread.cgroup_base.lock() = Times { user_ns: usage.user_ns, system_ns: usage.system_ns };
}

/// Tells a thread whether a group above it has a limit.
pub(super) fn apply(thread: &Thread) {
    let limited = thread.cgroup().ancestors().any(|group| group.cpu.is_limited());
    let bits = &thread.return_work;
    let before = if limited {
        bits.fetch_or(return_work::PAY_FOR_TIME, Ordering::Relaxed)
    } else {
        bits.fetch_and(!return_work::PAY_FOR_TIME, Ordering::Relaxed)
    };
    if limited && before & return_work::PAY_FOR_TIME == 0 {
        // What was before is free.
        thread.paid_ns.store(thread.usage().total_ns(), Ordering::Relaxed);
    }
}

/// Charges the groups above for what the thread has used since the last time, and holds it back while one of them has nothing left. On the
/// way back to user mode, where it holds nothing that others wait for.
pub(in crate::task) fn pay(thread: &Arc<Thread>) {
    let total_ns = thread.usage().total_ns();
    let used_ns = total_ns.saturating_sub(thread.paid_ns.swap(total_ns, Ordering::Relaxed));
    let group = thread.cgroup();
    charge(&group, used_ns);
    while let Some((limited, until_ns)) = exhausted(&group) {
        let before_ns = clock::monotonic_ns();
        let outcome = wait_on(&[], WaitMode::KILLABLE.until(Some(Deadline(until_ns))), || (!must_pay(thread)).then_some(()));
        limited.cpu.bandwidth.lock().counts.throttled_ns += clock::monotonic_ns().saturating_sub(before_ns);
        if outcome.is_ok() || thread.must_end() {
            return;
        }
    }
}

fn must_pay(thread: &Thread) -> bool {
    thread.return_work.load(Ordering::Relaxed) & return_work::PAY_FOR_TIME != 0
}

fn charge(group: &Cgroup, used_ns: u64) {
    let now_ns = clock::monotonic_ns();
    for above in group.ancestors() {
        let _ = above.cpu.bandwidth.lock().pay(used_ns, now_ns);
    }
}

/// A group above that has nothing left, and when it has again.
fn exhausted(group: &Cgroup) -> Option<(&Cgroup, u64)> {
    let now_ns = clock::monotonic_ns();
    group.ancestors().find_map(|above| above.cpu.bandwidth.lock().pay(0, now_ns).map(|until_ns| (above, until_ns)))
}

/// How long a thread may run before it has used up what a group above has left. `None` without a limit.
pub(in crate::task) fn left_ns(thread: &Thread) -> Option<u64> {
    if !must_pay(thread) {
        return None;
    }
    let now_ns = clock::monotonic_ns();
    let group = thread.cgroup();
    let left = group.ancestors().filter_map(|above| {
        let mut bandwidth = above.cpu.bandwidth.lock();
        bandwidth.refresh(now_ns);
        bandwidth.quota_ns.map(|_| bandwidth.left_ns.max(0) as u64)
    });
    left.min()
}

/// Whether the controller governs a group.
pub(super) fn governs(group: &Cgroup) -> bool {
    group.controllers().contains(Controllers::CPU)
}
