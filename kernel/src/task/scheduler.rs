//! Which thread runs: run queue, blocking, waking, preemption of user mode.
//!
//! One queue, first come first served; a thread that uses up its time slice goes to the end. Kernel code is never preempted: it gives the
//! processor up in [`block`] and [`yield_now`] only, so between two such points nothing else runs on this processor.
//!
//! No wake-up is lost because a thread says that it is about to block ([`prepare_to_block`]) *before* it looks at its condition a last
//! time: a wake-up in between takes the note back, and [`block`] returns at once.

use crate::arch::{self, KernelContext, KernelStack};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::Thread;
use crate::task::cgroup::{cpu, share};
use crate::task::wait_queue::{WaitMode, Wake};
use crate::time::{clock, timer};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general as sys;

/// How long a thread of nice 0 may run while others wait.
const SLICE_NS: u64 = 4_000_000;

/// How much longer a thread runs undisturbed that is alone.
const TICK_NS: u64 = 6_000_000;

/// Per-processor state: what runs here and what waits to run.
struct Processor {
    current: SpinLock<Option<Arc<Thread>>>,
    ready: SpinLock<VecDeque<Arc<Thread>>>,
    /// A thread that has ended, kept until another's stack is in use.
    ended: SpinLock<Option<Arc<Thread>>>,
    /// When the running thread's slice is over, if others wait.
    slice_end_ns: AtomicU64,
    /// When time was last charged to a thread.
    charged_until_ns: AtomicU64,
    /// Time spent with nothing to run.
    idle_ns: AtomicU64,
    switches: AtomicU64,
}

static PROCESSOR: Processor = Processor {
    current: SpinLock::new(None),
    ready: SpinLock::new(VecDeque::new()),
    ended: SpinLock::new(None),
    slice_end_ns: AtomicU64::new(0),
    charged_until_ns: AtomicU64::new(0),
    idle_ns: AtomicU64::new(0),
    switches: AtomicU64::new(0),
};

/// A thread's kernel stack and where it left off on it.
pub(in crate::task) struct KernelSide {
    stack: KernelStack,
    context: UnsafeCell<KernelContext>,
}

// SAFETY: the context is only touched by a switch away from or to its thread, which happens on one processor at a time.
unsafe impl Sync for KernelSide {}

impl KernelSide {
    /// A stack for a thread that has not run. `ENOMEM` without memory.
    pub(in crate::task) fn new() -> Result<Self> {
        Ok(Self { stack: KernelStack::new()?, context: UnsafeCell::new(KernelContext::default()) })
    }
}

/// What the scheduler notes about a thread.
#[derive(Default)]
pub(in crate::task) struct RunState {
    /// How it is about to block or has blocked; `None` while it runs or is ready.
    sleeping: Option<WaitMode>,
    /// Another thread runs or will run.
    off_processor: bool,
    timed_out: bool,
    /// What a new thread does before its first return to user mode.
    start: Option<fn()>,
}

/// `sched_setscheduler(2)` and `nice(2)`: kept and told; the queue is fair to all.
#[derive(Clone, Copy)]
pub struct SchedulingPolicy {
    /// `SCHED_OTHER`, `SCHED_FIFO`, ….
    pub policy: u32,
    /// For real-time policies, 1 to 99.
    pub priority: i32,
    /// -20 to 19.
    pub nice: i32,
    /// `SCHED_RESET_ON_FORK`.
    pub reset_on_fork: bool,
    /// The processors it may run on, as a mask.
    pub affinity: u64,
    /// Class and level for block devices (`ioprio_set(2)`); 0 was never set. Kept and told: no device here has a queue.
    pub io_priority: u16,
}

impl SchedulingPolicy {
    /// That of the first process.
    pub const DEFAULT: Self = Self { policy: sys::SCHED_NORMAL, priority: 0, nice: 0, reset_on_fork: false, affinity: 1, io_priority: 0 };

    /// What `sched_rr_get_interval(2)` tells: 0 for a policy that has no slices.
    pub fn shown_slice_ns(self) -> u64 {
        if self.policy == sys::SCHED_FIFO { 0 } else { self.slice_ns() }
    }

    /// What a child begins with.
    pub(in crate::task) fn for_child(self) -> Self {
        if !self.reset_on_fork {
            return self;
        }
        let policy = if matches!(self.policy, sys::SCHED_FIFO | sys::SCHED_RR) { sys::SCHED_NORMAL } else { self.policy };
        Self { policy, priority: 0, nice: self.nice.max(0), reset_on_fork: false, ..self }
    }

    /// Longer for lower nice values, as Linux's weights go: a factor of about 1.25 a step, here in halves and doubles.
    fn slice_ns(self) -> u64 {
        match self.nice {
            ..=-10 => SLICE_NS * 4,
            -9..=-4 => SLICE_NS * 2,
            -3..=3 => SLICE_NS,
            4..=9 => SLICE_NS / 2,
            10.. => SLICE_NS / 4,
        }
    }
}

impl Wake for Thread {
    fn wake(&self) {
        if let Some(thread) = self.this.upgrade() {
            wake_if(&thread, |_| true);
        }
    }

    fn exclusive(&self) -> bool {
        true
    }
}

/// The running thread.
pub fn current() -> Arc<Thread> {
    try_current().expect("code that asks for the current thread runs in one")
}

/// The running thread; `None` while the kernel boots.
pub fn try_current() -> Option<Arc<Thread>> {
    PROCESSOR.current.lock().clone()
}

/// The running thread as something to be woken.
pub fn current_waiter() -> Arc<dyn Wake> {
    current()
}

/// From here on a wake-up of the current thread is remembered until [`block`].
pub fn prepare_to_block(mode: WaitMode) {
    let thread = current();
    let mut state = thread.run_state.lock();
    state.sleeping = Some(mode);
    state.timed_out = false;
}

/// Gives the processor away until woken. `RESTARTSYS` on a signal (as `mode` allows), `TIMEDOUT` at the deadline.
pub fn block(mode: WaitMode) -> Result<()> {
    let thread = current();
    if ends_wait(&thread, mode) {
        finish_blocking();
        return Err(Errno::RESTARTSYS);
    }
    if mode.deadline.is_some_and(|deadline| clock::monotonic_ns() >= deadline.0) {
        finish_blocking();
        return Err(Errno::TIMEDOUT);
    }
    let timer = mode.deadline.map(|deadline| timer::add(deadline.0, Arc::new(Timeout(thread.clone()))));
    if thread.run_state.lock().sleeping.is_some() {
        switch_away(&thread);
    }
    if let Some(timer) = timer {
        timer::cancel(timer);
    }
    if thread.run_state.lock().timed_out { Err(Errno::TIMEDOUT) } else { Ok(()) }
}

/// Back to running, whatever [`prepare_to_block`] had noted.
pub fn finish_blocking() {
    current().run_state.lock().sleeping = None;
}

/// Lets others run (`sched_yield`, the end of a time slice).
pub fn yield_now() {
    let thread = current();
    if PROCESSOR.ready.lock().is_empty() {
        start_slice(&thread);
        return;
    }
    PROCESSOR.ready.lock().push_back(thread.clone());
    switch_away(&thread);
}

/// Called on the way back to user mode at the end of a slice: gives the processor away.
pub(in crate::task) fn preempt() {
    super::load::sample();
    yield_now();
}

fn ends_wait(thread: &Thread, mode: WaitMode) -> bool {
    (mode.interruptible && thread.has_signal()) || (mode.killable && thread.must_end())
}

struct Timeout(Arc<Thread>);

impl timer::Timer for Timeout {
    fn expired(&self) {
        let mut state = self.0.run_state.lock();
        if state.sleeping.is_some() {
            state.timed_out = true;
            drop(state);
            wake_if(&self.0, |_| true);
        }
    }
}

/// Wakes `thread` for a signal if its wait may be ended by one. `fatal` tells that the thread must end.
pub(in crate::task) fn wake_for_signal(thread: &Arc<Thread>, fatal: bool) {
    wake_if(thread, |mode| mode.interruptible || (fatal && mode.killable));
}

fn wake_if(thread: &Arc<Thread>, may: impl FnOnce(WaitMode) -> bool) {
    let mut state = thread.run_state.lock();
    let Some(mode) = state.sleeping else { return };
    if !may(mode) {
        return;
    }
    state.sleeping = None;
    if state.off_processor {
        state.off_processor = false;
        drop(state);
        enqueue(thread.clone());
    }
}

/// Puts a thread on the run queue, and sees to it that the running one gives way in time.
fn enqueue(thread: Arc<Thread>) {
    let mut ready = PROCESSOR.ready.lock();
    let was_empty = ready.is_empty();
    ready.push_back(thread);
    drop(ready);
    if was_empty {
        timer::set_slice_end(PROCESSOR.slice_end_ns.load(Ordering::Relaxed));
    }
}

/// Makes a new thread ready: it begins with `start`, then goes to user mode.
pub(in crate::task) fn launch(thread: &Arc<Thread>, start: fn()) {
    thread.run_state.lock().start = Some(start);
    // SAFETY: the thread has not run, so nobody else touches its context; the pointer stays good because the thread is kept alive by
    // the scheduler until it has ended.
    unsafe { *thread.kernel_side.context.get() = KernelContext::new(thread.kernel_side.stack.top(), begin, 0) };
    enqueue(thread.clone());
}

/// Leaves the boot's stack for the first thread.
pub(in crate::task) fn start() -> ! {
    PROCESSOR.charged_until_ns.store(clock::monotonic_ns(), Ordering::Relaxed);
    let first = PROCESSOR.ready.lock().pop_front().expect("the first thread was launched");
    let to = first.kernel_side.context.get();
    make_current(first);
    let mut abandoned = KernelContext::default();
    // SAFETY: the boot's stack is left for good, so `abandoned` is never read; the thread's context was made by `launch`.
    unsafe { arch::switch(&raw mut abandoned, to) };
    unreachable!("nothing switches back to the boot's stack")
}

/// First on a new thread's stack.
extern "C" fn begin(_: usize) -> ! {
    after_switch();
    let start = current().run_state.lock().start.take();
    if let Some(start) = start {
        start();
    }
    super::run::run()
}

/// Ends the current thread's life on the processor. Everything else of it is done.
pub(in crate::task) fn end_current() -> ! {
    let thread = current();
    charge_system(&thread);
    // Reference handed on to whoever runs next; this function never returns to drop its own.
    let raw = Arc::as_ptr(&thread);
    let previous = PROCESSOR.ended.lock().replace(thread);
    drop(previous);
    // SAFETY: `ended` keeps the thread alive until another stack is in use.
    switch_from(unsafe { &*raw });
    unreachable!("an ended thread is not taken up again")
}

/// Runs another thread until the current one is taken up again.
fn switch_away(thread: &Arc<Thread>) {
    charge_system(thread);
    switch_from(thread);
    after_switch();
}

fn switch_from(thread: &Thread) {
    if share::is_on() {
        share::charge(thread, thread.policy.lock().slice_ns(), SLICE_NS);
    }
    {
        let mut state = thread.run_state.lock();
        state.off_processor = state.sleeping.is_some();
        thread.times.count_switch(state.sleeping.is_some());
    }
    let next = pick_next();
    let from = thread.kernel_side.context.get();
    let to = next.kernel_side.context.get();
    let stays = core::ptr::eq(&*next, thread);
    make_current(next);
    if !stays {
        PROCESSOR.switches.fetch_add(1, Ordering::Relaxed);
        // SAFETY: `next` was switched away from (or launched) on this processor and is kept by `current`; the thread left behind is kept
        // by the run queue, by who will wake it, or by `ended`.
        unsafe { arch::switch(from, to) };
    }
}

/// Takes the thread that is next off the queue.
fn take_next() -> Option<Arc<Thread>> {
    let mut ready = PROCESSOR.ready.lock();
    let index = if share::is_on() { share::next(&ready) } else { 0 };
    ready.remove(index)
}

/// The next thread to run, idling until there is one.
fn pick_next() -> Arc<Thread> {
    let idle_since = clock::monotonic_ns();
    loop {
        let next = take_next();
        if let Some(next) = next {
            let now = clock::monotonic_ns();
            PROCESSOR.charged_until_ns.store(now, Ordering::Relaxed);
            PROCESSOR.idle_ns.fetch_add(now.saturating_sub(idle_since), Ordering::Relaxed);
            return next;
        }
        arch::idle();
    }
}

fn make_current(next: Arc<Thread>) {
    if let Some(space) = next.process.address_space() {
        space.activate();
    }
    start_slice(&next);
    let previous = PROCESSOR.current.lock().replace(next);
    // Not the last reference: the run queue, a wait queue's waiter or `ended` has another.
    drop(previous);
}

fn start_slice(thread: &Thread) {
    let left = cpu::left_ns(thread);
    let end = clock::monotonic_ns() + thread.policy.lock().slice_ns().min(left.unwrap_or(u64::MAX));
    PROCESSOR.slice_end_ns.store(end, Ordering::Relaxed);
    // A thread that is alone is still looked at now and then, for the timers that count its time.
    let alone = PROCESSOR.ready.lock().is_empty();
    timer::set_slice_end(if alone && left.is_none() { end + TICK_NS } else { end });
}

/// On the stack of the thread that was taken up.
fn after_switch() {
    let ended = PROCESSOR.ended.lock().take();
    drop(ended);
}

/// Charges the time since the last charge to the running thread's system time. Gives the time.
pub(in crate::task) fn charge_system(thread: &Thread) -> u64 {
    let (now_ns, uncharged_ns) = uncharged();
    thread.times.add_system(uncharged_ns);
    now_ns
}

/// Charges the time since the last charge to the running thread's user time.
pub(in crate::task) fn charge_user(thread: &Thread) {
    thread.times.add_user(uncharged().1);
}

/// The time, and how much of it nobody was charged for yet.
fn uncharged() -> (u64, u64) {
    let now = clock::monotonic_ns();
    let since = PROCESSOR.charged_until_ns.load(Ordering::Relaxed);
    PROCESSOR.charged_until_ns.store(now, Ordering::Relaxed);
    (now, now.saturating_sub(since))
}

/// How many switches there have been (`ctxt` of `/proc/stat`).
pub fn switches() -> u64 {
    PROCESSOR.switches.load(Ordering::Relaxed)
}

/// Nanoseconds without anything to run (`/proc/stat`, `/proc/uptime`).
pub fn idle_ns() -> u64 {
    PROCESSOR.idle_ns.load(Ordering::Relaxed)
}

/// How many threads run or wait to run (`/proc/loadavg`).
pub fn runnable_threads() -> usize {
    PROCESSOR.ready.lock().len() + 1
}

/// The letter of `/proc/PID/stat`: R, S, D, T or Z.
pub fn state_letter(thread: &Thread) -> char {
    use core::sync::atomic::Ordering::Relaxed;
    if thread.dead.load(Relaxed) {
        return 'Z';
    }
    if thread.process.signals.lock().stop.is_stopped() && thread.signals_stopped() {
        return 'T';
    }
    if thread.frozen.load(Relaxed) && thread.return_work.load(Relaxed) & super::return_work::FREEZE != 0 {
        return 'S';
    }
    match thread.run_state.lock().sleeping {
        None => 'R',
        Some(mode) if mode.interruptible => 'S',
        Some(_) => 'D',
    }
}
