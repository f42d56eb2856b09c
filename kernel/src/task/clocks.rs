//! The clocks that programs name by number (`clock_gettime(2)`), and sleeping by them.

use crate::errno::{Errno, Result};
use crate::mm::user::UserPointer;
use crate::task::time_namespace::{self, OffsetClock};
use crate::task::wait_queue::{Deadline, WaitMode, WaitQueue};
use crate::task::{Capabilities, Process, Thread, current, pid, run};
use crate::time::clock::{self, NS_PER_SECOND};
use alloc::sync::Arc;
use linux_raw_sys::general as sys;

/// Steps of the coarse clocks: a tick of a Linux with HZ=250.
const COARSE_NS: u64 = 4_000_000;

/// A clock.
#[derive(Clone)]
pub enum Clock {
    /// Time since 1970; `coarse` moves in ticks.
    Real {
        #[allow(missing_docs)]
        coarse: bool,
    },
    /// Time since boot.
    Monotonic {
        #[allow(missing_docs)]
        coarse: bool,
        /// `CLOCK_MONOTONIC_RAW`: nobody can sleep by it.
        raw: bool,
    },
    /// The same with the time that the machine was suspended, which it never is: only a time namespace makes a difference.
    BootTime,
    /// Processor time of a process.
    Process(Arc<Process>),
    /// Processor time of a thread.
    Thread(Arc<Thread>),
    /// A clock that wakes a machine from its sleep: this one does not sleep.
    Alarm {
        #[allow(missing_docs)]
        real: bool,
    },
}

impl Clock {
    /// From `clockid_t`. `EINVAL` for one that is not there.
    pub fn from_number(number: i32) -> Result<Self> {
        if number < 0 {
            return Self::of_other(number);
        }
        Ok(match number as u32 {
            sys::CLOCK_REALTIME | sys::CLOCK_TAI => Self::Real { coarse: false },
            sys::CLOCK_REALTIME_COARSE => Self::Real { coarse: true },
            sys::CLOCK_MONOTONIC => Self::Monotonic { coarse: false, raw: false },
            sys::CLOCK_BOOTTIME => Self::BootTime,
            sys::CLOCK_MONOTONIC_RAW => Self::Monotonic { coarse: false, raw: true },
            sys::CLOCK_MONOTONIC_COARSE => Self::Monotonic { coarse: true, raw: false },
            sys::CLOCK_PROCESS_CPUTIME_ID => Self::Process(current().process.clone()),
            sys::CLOCK_THREAD_CPUTIME_ID => Self::Thread(current()),
            sys::CLOCK_REALTIME_ALARM => Self::Alarm { real: true },
            sys::CLOCK_BOOTTIME_ALARM => Self::Alarm { real: false },
            _ => return Err(Errno::INVAL),
        })
    }

    /// The encoding of `clock_getcpuclockid(3)`: the inverted number, then a bit for threads, then what is counted. Another process's clock
    /// may be read by all, another's thread's by none.
    fn of_other(number: i32) -> Result<Self> {
        const PER_THREAD: i32 = 4;
        const DESCRIPTOR: i32 = 3;
        let target = !(number >> 3) as u32;
        if number & 3 == DESCRIPTOR {
            return Err(Errno::INVAL);
        }
        if number & PER_THREAD != 0 {
            let thread = if target == 0 { current() } else { pid::find_thread(target).map_err(|_| Errno::INVAL)? };
            let own = Arc::ptr_eq(&thread.process, &current().process);
            return if own { Ok(Self::Thread(thread)) } else { Err(Errno::INVAL) };
        }
        let process = if target == 0 { current().process.clone() } else { pid::find_process(target).map_err(|_| Errno::INVAL)? };
        Ok(Self::Process(process))
    }

    /// The time that it shows, in nanoseconds.
    pub fn now_ns(&self) -> i128 {
        let coarse_steps = |time: i128, coarse: bool| if coarse { time - time.rem_euclid(i128::from(COARSE_NS)) } else { time };
        let shown = |clock| i128::from(time_namespace::shown_ns(clock, clock::monotonic_ns()));
        match self {
            Self::Real { coarse } => coarse_steps(clock::realtime_ns(), *coarse),
            Self::Monotonic { coarse, .. } => coarse_steps(shown(OffsetClock::Monotonic), *coarse),
            Self::BootTime => shown(OffsetClock::BootTime),
            Self::Process(process) => i128::from(process.usage_without_memory().total_ns()),
            Self::Thread(thread) => i128::from(thread.usage().total_ns()),
            Self::Alarm { real: true } => clock::realtime_ns(),
            Self::Alarm { real: false } => shown(OffsetClock::BootTime),
        }
    }

    /// Its resolution in nanoseconds (`clock_getres(2)`).
    pub fn resolution_ns(&self) -> Result<u64> {
        match self {
            Self::Real { coarse: true } | Self::Monotonic { coarse: true, .. } => Ok(COARSE_NS),
            _ => Ok(1),
        }
    }

    /// Whether threads can sleep by it: `EOPNOTSUPP`; `EPERM` for the alarm clocks without `CAP_WAKE_ALARM`.
    pub fn check_sleepable(&self) -> Result<()> {
        match self {
            Self::Real { coarse: true } | Self::Monotonic { coarse: true, .. } | Self::Monotonic { raw: true, .. } => Err(Errno::OPNOTSUPP),
            Self::Thread(thread) if Arc::ptr_eq(thread, &current()) => Err(Errno::OPNOTSUPP),
            Self::Alarm { .. } if !current().credentials().capable(Capabilities::WAKE_ALARM) => Err(Errno::PERM),
            _ => Ok(()),
        }
    }

    /// The monotonic time at which it will show `time_ns`, as things stand. `None` for clocks of processor time.
    pub fn monotonic_deadline(&self, time_ns: u64) -> Option<Deadline> {
        match self {
            Self::Real { .. } | Self::Alarm { real: true } => Some(Deadline(clock::realtime_to_monotonic_ns(i128::from(time_ns)))),
            Self::Monotonic { .. } => Some(time_namespace::deadline(OffsetClock::Monotonic, time_ns)),
            Self::BootTime | Self::Alarm { real: false } => Some(time_namespace::deadline(OffsetClock::BootTime, time_ns)),
            Self::Process(_) | Self::Thread(_) => None,
        }
    }
}

/// Sets `CLOCK_REALTIME`: with `CAP_SYS_TIME`, and not so that the boot would be before 1970.
pub fn set(time_ns: u64) -> Result<()> {
    if !current().credentials().capable(Capabilities::SYS_TIME) {
        return Err(Errno::PERM);
    }
    if time_ns < clock::monotonic_ns() {
        return Err(Errno::INVAL);
    }
    clock::set_realtime_ns(i128::from(time_ns));
    crate::fs::timerfd::real_time_was_set();
    Ok(())
}

/// `clock_nanosleep(2)`, relative: what remains goes to `remaining` (0 for nowhere) when a signal ends it.
pub fn sleep_for(clock: &Clock, duration_ns: u64, remaining: u64) -> Result<u64> {
    if let Clock::Process(_) | Clock::Thread(_) = clock {
        let target = clock.now_ns() + i128::from(duration_ns);
        return sleep_processor_time(clock, target);
    }
    sleep_until_then_tell(Deadline(clock::monotonic_ns().saturating_add(duration_ns)), remaining)
}

fn sleep_until_then_tell(deadline: Deadline, remaining: u64) -> Result<u64> {
    match wait_until(deadline) {
        Errno::TIMEDOUT => Ok(0),
        _ => {
            let left_ns = deadline.0.saturating_sub(clock::monotonic_ns());
            if left_ns == 0 {
                return Ok(0);
            }
            if remaining != 0 {
                let words = [(left_ns / NS_PER_SECOND) as i64, (left_ns % NS_PER_SECOND) as i64];
                UserPointer::<[i64; 2]>::new(remaining).write(words)?;
            }
            Err(run::restart_with(move || sleep_until_then_tell(deadline, remaining)))
        }
    }
}

/// `clock_nanosleep(2)` with `TIMER_ABSTIME`.
pub fn sleep_until(clock: &Clock, time_ns: u64) -> Result<u64> {
    let Some(deadline) = clock.monotonic_deadline(time_ns) else { return sleep_processor_time(clock, i128::from(time_ns)) };
    if wait_until(deadline) == Errno::TIMEDOUT { Ok(0) } else { Err(Errno::RESTARTNOHAND) }
}

fn wait_until(deadline: Deadline) -> Errno {
    let nothing = WaitQueue::new();
    let waited = nothing.wait_until(WaitMode::INTERRUPTIBLE.until(Some(deadline)), || None::<()>);
    waited.err().unwrap_or(Errno::TIMEDOUT)
}

/// Processor time passes no faster than time: sleep at least what is missing, and look again.
fn sleep_processor_time(clock: &Clock, target_ns: i128) -> Result<u64> {
    loop {
        let missing = target_ns - clock.now_ns();
        let Ok(missing) = u64::try_from(missing) else { return Ok(0) };
        if missing == 0 {
            return Ok(0);
        }
        let deadline = Deadline(clock::monotonic_ns().saturating_add(missing.max(COARSE_NS)));
        if wait_until(deadline) != Errno::TIMEDOUT {
            return Err(Errno::RESTARTNOHAND);
        }
    }
}
