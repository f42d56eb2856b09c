//! timerfd_create(2): timers that are read from a descriptor.
//!
//! An expiry only wakes; how often the timer has expired is worked out when somebody looks. So a short interval costs nothing while
//! nobody reads.

use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable, internal};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::task::time_namespace::{self, OffsetClock};
use crate::task::wait_queue::WaitMode;
use crate::time::{clock, timer};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// Which clock a timer goes by. The boot clock and the monotonic clock are one: nothing suspends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// `CLOCK_REALTIME`, `CLOCK_REALTIME_ALARM`.
    Real,
    /// `CLOCK_MONOTONIC`, `CLOCK_BOOTTIME`, `CLOCK_BOOTTIME_ALARM`.
    Monotonic,
}

/// A setting: `struct itimerspec` in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    /// Between expiries; 0: once.
    pub interval_ns: u64,
    /// To the first expiry, or its time with `TFD_TIMER_ABSTIME`; 0: off.
    pub value_ns: u64,
}

/// How `timerfd_settime(2)` means a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meaning {
    /// `TFD_TIMER_ABSTIME`.
    pub absolute: bool,
    /// `TFD_TIMER_CANCEL_ON_SET`.
    pub cancel_on_set: bool,
}

/// A timer.
pub struct TimerFd {
    this: Weak<TimerFd>,
    clock: Clock,
    clock_id: u32,
    state: SpinLock<State>,
    queue: Arc<WaitQueue>,
}

#[derive(Default)]
struct State {
    /// Monotonic time of the next expiry that was not counted.
    next_ns: Option<u64>,
    /// For absolute times of the real-time clock: the same on that clock, which may be set.
    next_real_ns: Option<i128>,
    interval_ns: u64,
    /// Expiries counted and not read.
    ticks: u64,
    cancel_on_set: bool,
    /// The clock was set under a timer that is to be cancelled by that.
    cancelled: bool,
    /// What `F_GETFL`-like displays need: the flags of the last settime.
    settime_flags: u32,
    queued: Option<timer::TimerId>,
}

impl State {
    /// Counts what has expired.
    fn count(&mut self, now_ns: u64) {
        let Some(next_ns) = self.next_ns.filter(|next_ns| *next_ns <= now_ns) else { return };
        match (now_ns - next_ns).checked_div(self.interval_ns) {
            None => {
                self.ticks += 1;
                self.next_ns = None;
                self.next_real_ns = None;
            }
            Some(missed) => {
                let passed = missed + 1;
                self.ticks += passed;
                let on_ns = passed.saturating_mul(self.interval_ns);
                self.next_ns = Some(next_ns.saturating_add(on_ns));
                self.next_real_ns = self.next_real_ns.map(|next| next + i128::from(on_ns));
            }
        }
    }

    fn remaining(&self, now_ns: u64) -> Setting {
        let value_ns = self.next_ns.map_or(0, |next_ns| next_ns.saturating_sub(now_ns).max(1));
        Setting { interval_ns: self.interval_ns, value_ns }
    }
}

/// Wakes a timer's readers. It does not keep the timer: the queue of timers must not keep files open.
struct Expiry(Weak<TimerFd>);

impl timer::Timer for Expiry {
    fn expired(&self) {
        if let Some(timer) = self.0.upgrade() {
            timer.state.lock().queued = None;
            timer.queue.wake_all();
        }
    }
}

/// Timers that the setting of the real-time clock concerns.
static REAL_TIMERS: SpinLock<Vec<Weak<TimerFd>>> = SpinLock::new(Vec::new());

/// `timerfd_create(2)`.
pub fn create(clock: Clock, clock_id: u32, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    let timer = Arc::new_cyclic(|this| TimerFd {
        this: this.clone(),
        clock,
        clock_id,
        state: SpinLock::new(State::default()),
        queue: Arc::new(WaitQueue::new()),
    });
    if clock == Clock::Real {
        let mut timers = REAL_TIMERS.lock();
        timers.retain(|timer| timer.strong_count() > 0);
        timers.push(Arc::downgrade(&timer));
    }
    internal::anonymous_file("[timerfd]", timer, flags | OpenFlags::RDWR)
}

/// The timer behind an open file; `EINVAL` if it is none.
pub fn of(file: &OpenFile) -> Result<&TimerFd> {
    file.downcast::<TimerFd>().ok_or(Errno::INVAL)
}

/// The real-time clock was set (`clock_settime(2)` calls this): absolute times on it are somewhere else now, and timers that asked for it
/// are cancelled.
pub fn real_time_was_set() {
    let timers: Vec<Arc<TimerFd>> = REAL_TIMERS.lock().iter().filter_map(Weak::upgrade).collect();
    for timer in timers {
        {
            let mut state = timer.state.lock();
            if let Some(real_ns) = state.next_real_ns {
                state.next_ns = Some(clock::realtime_to_monotonic_ns(real_ns));
            }
            state.cancelled |= state.cancel_on_set;
        }
        timer.requeue();
        timer.queue.wake_all();
    }
}

impl TimerFd {
    /// Puts the timer into the kernel's queue for its next expiry, and takes it out from where it was.
    fn requeue(&self) {
        let (before, next_ns) = {
            let mut state = self.state.lock();
            (state.queued.take(), state.next_ns)
        };
        if let Some(before) = before {
            timer::cancel(before);
        }
        if let Some(next_ns) = next_ns {
            let queued = timer::add(next_ns, Arc::new(Expiry(self.this.clone())));
            self.state.lock().queued = Some(queued);
        }
    }

    fn offset_clock(&self) -> OffsetClock {
        if self.clock_id == linux_raw_sys::general::CLOCK_MONOTONIC { OffsetClock::Monotonic } else { OffsetClock::BootTime }
    }

    /// `timerfd_gettime(2)`.
    pub fn setting(&self) -> Setting {
        let now_ns = clock::monotonic_ns();
        let mut state = self.state.lock();
        state.count(now_ns);
        state.remaining(now_ns)
    }

    /// `timerfd_settime(2)`: the setting before. `ECANCELED` if the clock was set since a cancellable timer was armed: the new setting
    /// holds nevertheless.
    pub fn set(&self, setting: Setting, meaning: Meaning, flags: u32) -> Result<Setting> {
        let before = self.setting();
        let now_ns = clock::monotonic_ns();
        let cancelled = {
            let mut state = self.state.lock();
            state.interval_ns = setting.interval_ns;
            state.ticks = 0;
            state.settime_flags = flags;
            state.cancel_on_set = meaning.cancel_on_set && meaning.absolute && self.clock == Clock::Real;
            (state.next_ns, state.next_real_ns) = match (setting.value_ns, meaning.absolute, self.clock) {
                (0, ..) => (None, None),
                (value_ns, false, _) => (Some(now_ns.saturating_add(value_ns)), None),
                (value_ns, true, Clock::Monotonic) => (Some(time_namespace::deadline(self.offset_clock(), value_ns).0), None),
                (value_ns, true, Clock::Real) => {
                    let real_ns = i128::from(value_ns);
                    (Some(clock::realtime_to_monotonic_ns(real_ns)), Some(real_ns))
                }
            };
            core::mem::take(&mut state.cancelled)
        };
        self.requeue();
        if cancelled { Err(Errno::CANCELED) } else { Ok(before) }
    }

    /// Expiries to be read, which are read thereby.
    fn take(&self) -> Option<Result<u64>> {
        let (ticks, again) = {
            let mut state = self.state.lock();
            if core::mem::take(&mut state.cancelled) {
                state.ticks = 0;
                return Some(Err(Errno::CANCELED));
            }
            state.count(clock::monotonic_ns());
            let ticks = core::mem::take(&mut state.ticks);
            // What is queued is the expiry that was counted just now, if any was.
            (ticks, ticks > 0 && state.next_ns.is_some())
        };
        if again {
            self.requeue();
        }
        (ticks > 0).then_some(Ok(ticks))
    }
}

impl FileOps for TimerFd {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        if buffer.remaining() < size_of::<u64>() {
            return Err(Errno::INVAL);
        }
        let ticks = match self.take() {
            Some(ticks) => ticks?,
            None if file.is_nonblocking() => return Err(Errno::AGAIN),
            None => self.queue.wait_until(WaitMode::INTERRUPTIBLE, || self.take())??,
        };
        buffer.put_all(&ticks.to_ne_bytes())
    }

    fn seekable(&self) -> bool {
        false
    }

    // Not an error as with pipes, but nothing happens.
    fn seek(&self, _file: &OpenFile, position: u64, _offset: i64, _whence: u32) -> Option<Result<u64>> {
        Some(Ok(position))
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.queue);
        let mut state = self.state.lock();
        state.count(clock::monotonic_ns());
        let mut events = PollEvents::empty();
        events.set(PollEvents::IN, state.ticks > 0 || state.cancelled);
        events
    }

    fn release(&self, _file: &OpenFile) {
        let queued = self.state.lock().queued.take();
        if let Some(queued) = queued {
            timer::cancel(queued);
        }
    }

    fn describe(&self, _file: &OpenFile, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        let setting = self.setting();
        let (ticks, flags) = {
            let state = self.state.lock();
            (state.ticks, state.settime_flags)
        };
        let parts = |ns: u64| (ns / clock::NS_PER_SECOND, ns % clock::NS_PER_SECOND);
        let (value, interval) = (parts(setting.value_ns), parts(setting.interval_ns));
        writeln!(out, "clockid: {}\nticks: {ticks}\nsettime flags: 0{flags:o}", self.clock_id)?;
        writeln!(out, "it_value: ({}, {})\nit_interval: ({}, {})", value.0, value.1, interval.0, interval.1)
    }
}
