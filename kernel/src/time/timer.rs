//! Timers: what is to happen at a time. One ordered queue; the processor's timer is armed for its head, or for the end of the running
//! thread's slice if that comes first.

use crate::arch::interrupts::{self, TIMER_VECTOR};
use crate::sync::SpinLock;
use crate::time::clock;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Something that wants to be told when a time has come.
pub trait Timer: Send + Sync {
    /// Its time has come. Runs with interrupts off: must not block, and must not take a lock that callers of [`add`] or [`cancel`] hold.
    /// It may add timers.
    fn expired(&self);
}

impl<F: Fn() + Send + Sync> Timer for F {
    fn expired(&self) {
        self();
    }
}

/// Names a timer in the queue, for [`cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    deadline_ns: u64,
    serial: u64,
}

static QUEUE: SpinLock<BTreeMap<TimerId, Arc<dyn Timer>>> = SpinLock::new(BTreeMap::new());
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(0);
/// Monotonic time at which the running thread's slice ends; `u64::MAX` while nothing is to be preempted.
static SLICE_END_NS: AtomicU64 = AtomicU64::new(u64::MAX);
/// For when the processor's timer is armed; `u64::MAX` if it is not.
static ARMED_NS: AtomicU64 = AtomicU64::new(u64::MAX);
static SLICE_ENDED: AtomicBool = AtomicBool::new(false);

/// The longest time the timer is armed for: about what its counter holds. A longer wait arms it again.
const MAX_ARM_NS: u64 = 2_000_000_000;

/// Queues `timer` for the monotonic time `deadline_ns`. A time that has passed expires at the next occasion. O(log timers).
pub fn add(deadline_ns: u64, timer: Arc<dyn Timer>) -> TimerId {
    let id = TimerId { deadline_ns, serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed) };
    QUEUE.lock().insert(id, timer);
    if deadline_ns < ARMED_NS.load(Ordering::Relaxed) {
        arm();
    }
    id
}

/// Takes a timer out. Whether it was still there (else it has expired, or is expiring).
pub fn cancel(id: TimerId) -> bool {
    let timer = QUEUE.lock().remove(&id);
    timer.is_some()
}

/// The running thread may keep the processor until then (monotonic; `u64::MAX` for as long as it likes).
pub fn set_slice_end(deadline_ns: u64) {
    SLICE_ENDED.store(false, Ordering::Relaxed);
    SLICE_END_NS.store(deadline_ns, Ordering::Relaxed);
    if deadline_ns < ARMED_NS.load(Ordering::Relaxed) {
        arm();
    }
}

/// Whether the slice is over now (asked after `Trap::Interrupt`, and at the end of system calls); true until the next [`set_slice_end`].
pub fn slice_ended(now_ns: u64) -> bool {
    SLICE_ENDED.load(Ordering::Relaxed) || now_ns >= SLICE_END_NS.load(Ordering::Relaxed)
}

/// Lets everything expire whose time has come. The interrupt does it; a long stretch in the kernel may do it too.
pub fn run_expired() {
    loop {
        let now = clock::monotonic_ns();
        let mut queue = QUEUE.lock();
        let Some(entry) = queue.first_entry().filter(|entry| entry.key().deadline_ns <= now) else { break };
        let timer = entry.remove();
        drop(queue);
        timer.expired();
    }
    if clock::monotonic_ns() >= SLICE_END_NS.load(Ordering::Relaxed) {
        SLICE_ENDED.store(true, Ordering::Relaxed);
        SLICE_END_NS.store(u64::MAX, Ordering::Relaxed);
    }
    arm();
}

fn arm() {
    let first = QUEUE.lock().first_key_value().map_or(u64::MAX, |(id, _)| id.deadline_ns);
    let next = first.min(SLICE_END_NS.load(Ordering::Relaxed));
    if next == u64::MAX {
        ARMED_NS.store(u64::MAX, Ordering::Relaxed);
        interrupts::set_timer_ticks(0);
        return;
    }
    let now = clock::monotonic_ns();
    let duration = next.saturating_sub(now).min(MAX_ARM_NS);
    ARMED_NS.store(now + duration, Ordering::Relaxed);
    interrupts::set_timer_ticks(clock::timer_ticks(duration));
}

/// Takes over the processor's timer. The clock is calibrated.
pub fn init() {
    interrupts::set_handler(TIMER_VECTOR, || {
        ARMED_NS.store(u64::MAX, Ordering::Relaxed);
        run_expired();
    });
    interrupts::enable_timer();
}
