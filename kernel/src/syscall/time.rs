//! System calls: clocks, sleeps, timers.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::mm::user::{self, UserPointer};
use crate::task::clocks::{self, Clock};
use crate::task::itimer::{self, Setting};
use crate::task::posix_timer::{self, Notification};
use crate::task::signal::Signal;
use crate::task::{Deadline, current, pid};
use crate::time::clock::{self, NS_PER_SECOND};
use alloc::sync::Arc;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_clock_gettime, "clock_gettime", sys_clock_gettime),
    Entry(sys::__NR_clock_getres, "clock_getres", sys_clock_getres),
    Entry(sys::__NR_clock_settime, "clock_settime", sys_clock_settime),
    Entry(sys::__NR_nanosleep, "nanosleep", sys_nanosleep),
    Entry(sys::__NR_clock_nanosleep, "clock_nanosleep", sys_clock_nanosleep),
    Entry(sys::__NR_gettimeofday, "gettimeofday", sys_gettimeofday),
    Entry(sys::__NR_settimeofday, "settimeofday", sys_settimeofday),
    Entry(sys::__NR_time, "time", sys_time),
    Entry(sys::__NR_alarm, "alarm", sys_alarm),
    Entry(sys::__NR_getitimer, "getitimer", sys_getitimer),
    Entry(sys::__NR_setitimer, "setitimer", sys_setitimer),
    Entry(sys::__NR_timer_create, "timer_create", sys_timer_create),
    Entry(sys::__NR_timer_settime, "timer_settime", sys_timer_settime),
    Entry(sys::__NR_timer_gettime, "timer_gettime", sys_timer_gettime),
    Entry(sys::__NR_timer_getoverrun, "timer_getoverrun", sys_timer_getoverrun),
    Entry(sys::__NR_timer_delete, "timer_delete", sys_timer_delete),
    Entry(sys::__NR_adjtimex, "adjtimex", |a| adjust(sys::CLOCK_REALTIME as i32, a[0])),
    Entry(sys::__NR_clock_adjtime, "clock_adjtime", |a| adjust(a[0] as i32, a[1])),
];

const NS_PER_MICROSECOND: u64 = 1000;
const MICROSECONDS_PER_SECOND: i64 = 1_000_000;

fn timespec_ns([seconds, nanoseconds]: [i64; 2]) -> Result<u64> {
    if seconds < 0 || !(0..NS_PER_SECOND as i64).contains(&nanoseconds) {
        return Err(Errno::INVAL);
    }
    Ok((seconds as u64).saturating_mul(NS_PER_SECOND).saturating_add(nanoseconds as u64))
}

/// A `struct timespec` as nanoseconds. `EINVAL` for a negative or unnormalised one. Beyond what 64 bits hold it is for ever.
pub(super) fn read_timespec(address: u64) -> Result<u64> {
    timespec_ns(UserPointer::<[i64; 2]>::new(address).read()?)
}

/// An optional relative timeout as a deadline: NULL waits for ever.
pub(super) fn read_timeout(address: u64) -> Result<Option<Deadline>> {
    if address == 0 {
        return Ok(None);
    }
    let duration_ns = read_timespec(address)?;
    Ok(Some(Deadline(clock::monotonic_ns().saturating_add(duration_ns))))
}

fn timespec(ns: i128) -> [i64; 2] {
    let second = i128::from(NS_PER_SECOND);
    [ns.div_euclid(second) as i64, ns.rem_euclid(second) as i64]
}

fn timeval(ns: u64) -> [i64; 2] {
    [(ns / NS_PER_SECOND) as i64, (ns % NS_PER_SECOND / NS_PER_MICROSECOND) as i64]
}

fn timeval_ns([seconds, microseconds]: [i64; 2]) -> Result<u64> {
    if seconds < 0 || !(0..MICROSECONDS_PER_SECOND).contains(&microseconds) {
        return Err(Errno::INVAL);
    }
    Ok((seconds as u64).saturating_mul(NS_PER_SECOND).saturating_add(microseconds as u64 * NS_PER_MICROSECOND))
}

fn sys_clock_gettime(&[number, to, ..]: &Arguments) -> Result<u64> {
    let now = Clock::from_number(number as i32)?.now_ns();
    UserPointer::new(to).write(timespec(now))?;
    Ok(0)
}

fn sys_clock_getres(&[number, to, ..]: &Arguments) -> Result<u64> {
    let resolution = Clock::from_number(number as i32)?.resolution_ns()?;
    if let Some(to) = UserPointer::new(to).non_null() {
        to.write(timespec(i128::from(resolution)))?;
    }
    Ok(0)
}

fn sys_clock_settime(&[number, from, ..]: &Arguments) -> Result<u64> {
    let number = number as i32;
    if number > sys::CLOCK_REALTIME as i32 {
        return Err(Errno::INVAL);
    }
    let time_ns = read_timespec(from)?;
    if number < 0 {
        // Processor time cannot be set.
        Clock::from_number(number)?;
        return Err(Errno::PERM);
    }
    clocks::set(time_ns).map(|()| 0)
}

fn sys_nanosleep(&[request, remaining, ..]: &Arguments) -> Result<u64> {
    clocks::sleep_for(&Clock::Monotonic { coarse: false, raw: false }, read_timespec(request)?, remaining)
}

fn sys_clock_nanosleep(&[number, flags, request, remaining, ..]: &Arguments) -> Result<u64> {
    let number = number as i32;
    if number >= 0 {
        Clock::from_number(number)?.check_sleepable()?;
    }
    let time_ns = read_timespec(request)?;
    let clock = Clock::from_number(number)?;
    if matches!(&clock, Clock::Thread(thread) if Arc::ptr_eq(thread, &current())) {
        // Its own clock stands still while a thread sleeps. The number for it is refused in other words than its encoding.
        return Err(if number < 0 { Errno::INVAL } else { Errno::OPNOTSUPP });
    }
    if flags as u32 & sys::TIMER_ABSTIME != 0 {
        clocks::sleep_until(&clock, time_ns)
    } else {
        clocks::sleep_for(&clock, time_ns, remaining)
    }
}

fn sys_gettimeofday(&[time, zone, ..]: &Arguments) -> Result<u64> {
    if let Some(time) = UserPointer::new(time).non_null() {
        time.write(timeval(clock::realtime_ns().max(0) as u64))?;
    }
    if let Some(zone) = UserPointer::<[i32; 2]>::new(zone).non_null() {
        zone.write([0, 0])?;
    }
    Ok(0)
}

fn sys_settimeofday(&[time, zone, ..]: &Arguments) -> Result<u64> {
    let time_ns = UserPointer::new(time).non_null().map(|time| time.read().and_then(timeval_ns)).transpose()?;
    let zone = UserPointer::<[i32; 2]>::new(zone).non_null().map(UserPointer::read).transpose()?;
    if zone.is_some_and(|[west_minutes, _]| west_minutes.abs() > 15 * 60) {
        return Err(Errno::INVAL);
    }
    time_ns.map_or(Ok(0), |time_ns| clocks::set(time_ns).map(|()| 0))
}

fn sys_time(&[to, ..]: &Arguments) -> Result<u64> {
    let seconds = (clock::realtime_ns() / i128::from(NS_PER_SECOND)) as i64;
    if let Some(to) = UserPointer::new(to).non_null() {
        to.write(seconds)?;
    }
    Ok(seconds as u64)
}

fn sys_alarm(&[seconds, ..]: &Arguments) -> Result<u64> {
    let value_ns = u64::from(seconds as u32) * NS_PER_SECOND;
    let old = itimer::set(&current().process, sys::ITIMER_REAL, Setting { value_ns, interval_ns: 0 });
    // To the nearest second, but 0 only for none.
    let rounded = (old.value_ns + NS_PER_SECOND / 2) / NS_PER_SECOND;
    Ok(if old.value_ns == 0 { 0 } else { rounded.max(1) })
}

fn check_itimer(which: u64) -> Result<u32> {
    let which = which as u32;
    if matches!(which, sys::ITIMER_REAL | sys::ITIMER_VIRTUAL | sys::ITIMER_PROF) { Ok(which) } else { Err(Errno::INVAL) }
}

/// `struct itimerval`: the interval comes first.
fn write_itimer(address: u64, setting: Setting) -> Result<()> {
    UserPointer::<[[i64; 2]; 2]>::new(address).write([timeval(setting.interval_ns), timeval(setting.value_ns)])
}

fn sys_getitimer(&[which, to, ..]: &Arguments) -> Result<u64> {
    let setting = itimer::get(&current().process, check_itimer(which)?);
    write_itimer(to, setting).map(|()| 0)
}

fn sys_setitimer(&[which, new, old, ..]: &Arguments) -> Result<u64> {
    let new = match UserPointer::<[[i64; 2]; 2]>::new(new).non_null() {
        Some(new) => {
            let [interval, value] = new.read()?;
            Setting { value_ns: timeval_ns(value)?, interval_ns: timeval_ns(interval)? }
        }
        // A Linux particularity: NULL stops the timer.
        None => Setting::default(),
    };
    let before = itimer::set(&current().process, check_itimer(which)?, new);
    if old != 0 {
        write_itimer(old, before)?;
    }
    Ok(0)
}

/// `struct sigevent`: the value; signal, kind, thread.
type Event = (u64, [u32; 3]);

fn read_event(address: u64) -> Result<Option<Event>> {
    if address == 0 {
        return Ok(None);
    }
    let value = UserPointer::<u64>::new(address).read()?;
    Ok(Some((value, UserPointer::new(address.wrapping_add(8)).read()?)))
}

fn notification(event: Option<Event>) -> Result<Option<Notification>> {
    let Some((value, [number, kind, thread])) = event else {
        return Ok(Some(Notification { signal: Signal::ALRM, thread: None, value: None }));
    };
    let thread = match kind {
        sys::SIGEV_NONE => return Ok(None),
        sys::SIGEV_SIGNAL | sys::SIGEV_THREAD => None,
        sys::SIGEV_THREAD_ID => {
            let thread = pid::find_thread(thread).map_err(|_| Errno::INVAL)?;
            if !Arc::ptr_eq(&thread.process, &current().process) {
                return Err(Errno::INVAL);
            }
            Some(Arc::downgrade(&thread))
        }
        _ => return Err(Errno::INVAL),
    };
    Ok(Some(Notification { signal: Signal::new(number)?, thread, value: Some(value) }))
}

fn sys_timer_create(&[number, event, to, ..]: &Arguments) -> Result<u64> {
    let event = read_event(event)?;
    let clock = Clock::from_number(number as i32)?;
    let id = posix_timer::create(clock, notification(event)?)?;
    UserPointer::new(to).write(id).inspect_err(|_| {
        let _ = posix_timer::delete(id);
    })?;
    Ok(0)
}

/// `struct itimerspec`: the interval comes first.
fn write_timer(address: u64, setting: Setting) -> Result<()> {
    let words = [timespec(i128::from(setting.interval_ns)), timespec(i128::from(setting.value_ns))];
    UserPointer::<[[i64; 2]; 2]>::new(address).write(words)
}

fn sys_timer_settime(&[id, flags, new, old, ..]: &Arguments) -> Result<u64> {
    if new == 0 {
        return Err(Errno::INVAL);
    }
    let [interval, value] = UserPointer::<[[i64; 2]; 2]>::new(new).read()?;
    let new = Setting { value_ns: timespec_ns(value)?, interval_ns: timespec_ns(interval)? };
    let before = posix_timer::set(id as i32, new, flags as u32 & sys::TIMER_ABSTIME != 0)?;
    if old != 0 {
        write_timer(old, before)?;
    }
    Ok(0)
}

fn sys_timer_gettime(&[id, to, ..]: &Arguments) -> Result<u64> {
    write_timer(to, posix_timer::get(id as i32)?).map(|()| 0)
}

fn sys_timer_getoverrun(&[id, ..]: &Arguments) -> Result<u64> {
    posix_timer::overruns(id as i32).map(|count| count as u64)
}

fn sys_timer_delete(&[id, ..]: &Arguments) -> Result<u64> {
    posix_timer::delete(id as i32).map(|()| 0)
}

/// Words of `struct timex`, and what `adjtimex(2)` answers while nobody disciplines the clock.
const TIMEX_WORDS: usize = 26;
const TIME_ERROR: u64 = 5;
const STATUS_UNSYNCHRONISED: u64 = 0x40;

fn adjust(number: i32, address: u64) -> Result<u64> {
    if number != sys::CLOCK_REALTIME as i32 {
        Clock::from_number(number)?;
        return Err(Errno::OPNOTSUPP);
    }
    let modes = UserPointer::<u32>::new(address).read()?;
    if modes != 0 {
        // The clock cannot be steered.
        return Err(Errno::PERM);
    }
    let now = timeval(clock::realtime_ns().max(0) as u64);
    let mut words = [0u64; TIMEX_WORDS];
    // Errors and tolerance in microseconds and parts of 2^-16 ppm: Linux's values at boot.
    for (index, value) in [
        (3, 16_000_000),
        (4, 16_000_000),
        (5, STATUS_UNSYNCHRONISED),
        (6, 2),
        (7, 1),
        (8, 32_768_000),
        (9, now[0] as u64),
        (10, now[1] as u64),
        (11, 10_000),
    ] {
        words[index] = value;
    }
    user::write_bytes(address, words.map(u64::to_ne_bytes).as_flattened())?;
    Ok(TIME_ERROR)
}
