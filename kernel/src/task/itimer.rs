//! `setitimer(2)` and `alarm(2)`.

use crate::task::signal::{Signal, SignalInfo, send_to_process};
use crate::task::{Process, Thread};
use crate::time::{clock, timer};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general as sys;

/// The three timers of a process.
#[derive(Default)]
pub(in crate::task) struct IntervalTimers {
    real: Option<RealTimer>,
    /// By user time.
    virtual_time: ProcessorTimer,
    /// By user and system time.
    profiling: ProcessorTimer,
}

struct RealTimer {
    shared: Arc<Alarm>,
    deadline_ns: u64,
    id: timer::TimerId,
}

/// What the timer queue holds of a real timer.
struct Alarm {
    process: Weak<Process>,
    interval_ns: u64,
    cancelled: AtomicBool,
}

/// Counts down processor time; looked at on the way back to user mode.
#[derive(Clone, Copy, Default)]
struct ProcessorTimer {
    /// At which amount of used time it expires; 0 when it is off.
    expires_ns: u64,
    interval_ns: u64,
}

/// A timer's setting: what is left until it expires (0: off), and how often it comes again (0: once).
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Setting {
    pub value_ns: u64,
    pub interval_ns: u64,
}

impl timer::Timer for Alarm {
    fn expired(&self) {
        let Some(process) = self.process.upgrade() else { return };
        if self.cancelled.load(Ordering::Relaxed) {
            return;
        }
        let mut timers = process.interval_timers.lock();
        if self.interval_ns == 0 {
            timers.real = None;
        } else if let Some(real) = &mut timers.real {
            // Periods that passed unseen are one signal.
            let now = clock::monotonic_ns();
            let missed = now.saturating_sub(real.deadline_ns) / self.interval_ns;
            real.deadline_ns = real.deadline_ns.saturating_add((missed + 1).saturating_mul(self.interval_ns));
            real.id = timer::add(real.deadline_ns, real.shared.clone());
        }
        drop(timers);
        let _ = send_to_process(&process, SignalInfo::from_kernel(Signal::ALRM));
    }
}

/// Sets `ITIMER_…` `which`; gives the setting before.
pub fn set(process: &Arc<Process>, which: u32, new: Setting) -> Setting {
    let old = get(process, which);
    match which {
        sys::ITIMER_REAL => set_real(process, new),
        _ => {
            let used = used_ns(process, which);
            let mut timers = process.interval_timers.lock();
            let expires_ns = if new.value_ns == 0 { 0 } else { used.saturating_add(new.value_ns) };
            *timers.processor(which) = ProcessorTimer { expires_ns, interval_ns: new.interval_ns };
        }
    }
    old
}

impl IntervalTimers {
    fn processor(&mut self, which: u32) -> &mut ProcessorTimer {
        if which == sys::ITIMER_VIRTUAL { &mut self.virtual_time } else { &mut self.profiling }
    }
}

fn set_real(process: &Arc<Process>, new: Setting) {
    let old = process.interval_timers.lock().real.take();
    if let Some(old) = old {
        old.shared.cancelled.store(true, Ordering::Relaxed);
        timer::cancel(old.id);
    }
    if new.value_ns == 0 {
        return;
    }
    let deadline_ns = clock::monotonic_ns().saturating_add(new.value_ns);
    let shared = Arc::new(Alarm { process: Arc::downgrade(process), interval_ns: new.interval_ns, cancelled: AtomicBool::new(false) });
    let id = timer::add(deadline_ns, shared.clone());
    process.interval_timers.lock().real = Some(RealTimer { shared, deadline_ns, id });
}

/// The setting of `ITIMER_…` `which` now.
pub fn get(process: &Arc<Process>, which: u32) -> Setting {
    if which == sys::ITIMER_REAL {
        let timers = process.interval_timers.lock();
        return timers.real.as_ref().map_or_else(Setting::default, |real| Setting {
            // A timer that is set never shows 0, which would mean off.
            value_ns: real.deadline_ns.saturating_sub(clock::monotonic_ns()).max(1000),
            interval_ns: real.shared.interval_ns,
        });
    }
    let used = used_ns(process, which);
    let timer = *process.interval_timers.lock().processor(which);
    let value_ns = if timer.expires_ns == 0 { 0 } else { timer.expires_ns.saturating_sub(used).max(1000) };
    Setting { value_ns, interval_ns: timer.interval_ns }
}

fn used_ns(process: &Process, which: u32) -> u64 {
    let usage = process.usage_without_memory();
    if which == sys::ITIMER_VIRTUAL { usage.user_ns } else { usage.total_ns() }
}

/// On the way back to user mode: timers that count processor time, and `RLIMIT_CPU`.
pub(in crate::task) fn check_processor_time(thread: &Thread) {
    let process = &thread.process;
    let limit_seconds = process.limit(sys::RLIMIT_CPU);
    let armed = {
        let timers = process.interval_timers.lock();
        timers.virtual_time.expires_ns != 0 || timers.profiling.expires_ns != 0
    };
    if armed {
        check_timer(process, sys::ITIMER_VIRTUAL, Signal::VTALRM);
        check_timer(process, sys::ITIMER_PROF, Signal::PROF);
    }
    super::posix_timer::check_processor_time(process);
    if limit_seconds != super::rlimit::INFINITY {
        super::rlimit::check_processor_time(process);
    }
}

fn check_timer(process: &Arc<Process>, which: u32, signal: Signal) {
    let used = used_ns(process, which);
    let expired = {
        let mut timers = process.interval_timers.lock();
        let timer = timers.processor(which);
        let expired = timer.expires_ns != 0 && used >= timer.expires_ns;
        if expired {
            timer.expires_ns = if timer.interval_ns == 0 { 0 } else { used.saturating_add(timer.interval_ns) };
        }
        expired
    };
    if expired {
        let _ = send_to_process(process, SignalInfo::from_kernel(signal));
    }
}

/// The process ends.
pub(in crate::task) fn cancel_all(process: &Arc<Process>) {
    set_real(process, Setting::default());
}
