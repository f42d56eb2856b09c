//! POSIX timers (`timer_create(2)`).
//!
//! A timer that comes again is armed anew only when its signal is taken: periods that pass until then are counted as overruns, so at most
//! one signal of a timer is ever queued.

use crate::errno::{Errno, Result};
use crate::task::clocks::Clock;
use crate::task::itimer::Setting;
use crate::task::signal::{Detail, Signal, SignalInfo, send_to_process, send_to_thread};
use crate::task::{Process, Thread, current};
use crate::time::{clock, timer};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use linux_raw_sys::general as sys;

/// Most overruns that are told (`DELAYTIMER_MAX`).
const MAX_OVERRUNS: u64 = i32::MAX as u64;

/// The timers of a process.
#[derive(Default)]
pub(in crate::task) struct PosixTimers {
    timers: BTreeMap<i32, PosixTimer>,
    last_id: i32,
}

/// How a timer tells that its time has come: nothing for `SIGEV_NONE`.
#[derive(Clone)]
pub struct Notification {
    /// The signal.
    pub signal: Signal,
    /// `SIGEV_THREAD_ID`: only for this thread.
    pub thread: Option<Weak<Thread>>,
    /// `sigev_value`; `None` for the timer's id.
    pub value: Option<u64>,
}

struct PosixTimer {
    clock: Clock,
    notification: Option<Notification>,
    interval_ns: u64,
    /// In the time of its clock, monotonic for clocks that can be waited for; 0 when it is off.
    expires_ns: u64,
    queued: Option<timer::TimerId>,
    /// It has expired, and goes on when its signal is taken.
    awaits_taking: bool,
    overruns: u64,
    told_overruns: u64,
}

impl PosixTimer {
    fn counts_processor_time(&self) -> bool {
        matches!(self.clock, Clock::Process(_) | Clock::Thread(_))
    }

    /// Now, in the time that `expires_ns` is in.
    fn now_ns(&self) -> u64 {
        if self.counts_processor_time() { self.clock.now_ns() as u64 } else { clock::monotonic_ns() }
    }

    /// Goes to the first expiry that is still to come; gives how many periods were passed over.
    fn forward(&mut self) -> u64 {
        let late_ns = self.now_ns().saturating_sub(self.expires_ns);
        let passed = late_ns / self.interval_ns + 1;
        self.expires_ns = self.expires_ns.saturating_add(passed.saturating_mul(self.interval_ns));
        passed
    }

    fn setting(&self) -> Setting {
        let now = self.now_ns();
        let mut expires_ns = self.expires_ns;
        if expires_ns != 0 && expires_ns <= now && self.interval_ns != 0 {
            let passed = (now - expires_ns) / self.interval_ns + 1;
            expires_ns = expires_ns.saturating_add(passed.saturating_mul(self.interval_ns));
        }
        // One that has expired for good is off, one that is about to shows 1.
        let expired = expires_ns <= now && (self.awaits_taking || self.notification.is_none());
        let off = expires_ns == 0 || (self.interval_ns == 0 && expired);
        Setting { value_ns: if off { 0 } else { expires_ns.saturating_sub(now).max(1) }, interval_ns: self.interval_ns }
    }
}

/// What the timer queue holds.
struct Expiry {
    process: Weak<Process>,
    id: i32,
}

impl timer::Timer for Expiry {
    fn expired(&self) {
        if let Some(process) = self.process.upgrade() {
            expire(&process, self.id);
        }
    }
}

fn expire(process: &Arc<Process>, id: i32) {
    let told = {
        let mut all = process.posix_timers.lock();
        let Some(timer) = all.timers.get_mut(&id) else { return };
        timer.queued = None;
        timer.awaits_taking = true;
        timer.overruns = 0;
        timer.notification.clone()
    };
    let Some(notification) = told else { return };
    let detail = Detail::Timer { id, overruns: 0, value: notification.value.unwrap_or(id as u64) };
    let info = SignalInfo { signal: notification.signal, errno: 0, code: sys::SI_TIMER, detail };
    let _ = match &notification.thread {
        None => send_to_process(process, info),
        Some(thread) => thread.upgrade().map_or(Ok(()), |thread| send_to_thread(&thread, info)),
    };
    if !is_pending(process, &notification, id) {
        // An ignored signal is never taken: the timer goes on by itself.
        let mut all = process.posix_timers.lock();
        rearm(process, &mut all, id);
    }
}

fn is_pending(process: &Process, notification: &Notification, id: i32) -> bool {
    if let Some(thread) = notification.thread.as_ref().and_then(Weak::upgrade) {
        return thread.signals.lock().pending.has_timer(notification.signal, id);
    }
    process.signals.lock().pending.has_timer(notification.signal, id)
}

/// Puts a timer that comes again back into the queue; gives how many periods were missed.
fn rearm(process: &Arc<Process>, all: &mut PosixTimers, id: i32) -> u64 {
    let Some(timer) = all.timers.get_mut(&id) else { return 0 };
    if !core::mem::replace(&mut timer.awaits_taking, false) {
        return 0;
    }
    if timer.interval_ns == 0 {
        timer.expires_ns = 0;
        return 0;
    }
    let passed = timer.forward();
    arm(process, timer, id);
    passed - 1
}

fn arm(process: &Arc<Process>, timer: &mut PosixTimer, id: i32) {
    if !timer.counts_processor_time() {
        timer.queued = Some(timer::add(timer.expires_ns, Arc::new(Expiry { process: Arc::downgrade(process), id })));
    }
}

/// A signal is being taken out of a queue: if it is a timer's, the timer goes on, and the signal tells the overruns.
pub(in crate::task) fn taken(process: &Arc<Process>, mut info: SignalInfo) -> SignalInfo {
    let Detail::Timer { id, value, .. } = info.detail else { return info };
    if info.code != sys::SI_TIMER {
        return info;
    }
    let mut all = process.posix_timers.lock();
    let missed = rearm(process, &mut all, id);
    let told = missed.min(MAX_OVERRUNS);
    if let Some(timer) = all.timers.get_mut(&id) {
        timer.told_overruns = told;
    }
    info.detail = Detail::Timer { id, overruns: told as i32, value };
    info
}

/// `timer_create(2)`: the new timer's id.
pub fn create(clock: Clock, notification: Option<Notification>) -> Result<i32> {
    if !matches!(clock, Clock::Thread(_)) {
        clock.check_sleepable()?;
    }
    let process = current().process.clone();
    let limit = process.limit(sys::RLIMIT_SIGPENDING);
    let mut all = process.posix_timers.lock();
    if all.timers.len() as u64 >= limit {
        return Err(Errno::AGAIN);
    }
    let mut id = all.last_id;
    while all.timers.contains_key(&id) {
        id = if id == i32::MAX { 0 } else { id + 1 };
    }
    all.last_id = if id == i32::MAX { 0 } else { id + 1 };
    let timer = PosixTimer {
        clock,
        notification,
        interval_ns: 0,
        expires_ns: 0,
        queued: None,
        awaits_taking: false,
        overruns: 0,
        told_overruns: 0,
    };
    all.timers.insert(id, timer);
    Ok(id)
}

/// `timer_settime(2)`: the setting before. `EINVAL` for an id that is not there.
pub fn set(id: i32, new: Setting, absolute: bool) -> Result<Setting> {
    let process = current().process.clone();
    let mut all = process.posix_timers.lock();
    let timer = all.timers.get_mut(&id).ok_or(Errno::INVAL)?;
    let old = timer.setting();
    if let Some(queued) = timer.queued.take() {
        timer::cancel(queued);
    }
    timer.awaits_taking = false;
    timer.told_overruns = 0;
    timer.interval_ns = new.interval_ns;
    timer.expires_ns = match (new.value_ns, absolute) {
        (0, _) => 0,
        (value, false) => timer.now_ns().saturating_add(value),
        // A time that has passed is not 0, which would be off.
        (value, true) => timer.clock.monotonic_deadline(value).map_or(value, |deadline| deadline.0).max(1),
    };
    if timer.expires_ns != 0 {
        arm(&process, timer, id);
    }
    Ok(old)
}

/// `timer_gettime(2)`.
pub fn get(id: i32) -> Result<Setting> {
    let process = current().process.clone();
    let all = process.posix_timers.lock();
    all.timers.get(&id).map(PosixTimer::setting).ok_or(Errno::INVAL)
}

/// `timer_getoverrun(2)`.
pub fn overruns(id: i32) -> Result<i32> {
    let process = current().process.clone();
    let all = process.posix_timers.lock();
    all.timers.get(&id).map(|timer| timer.told_overruns as i32).ok_or(Errno::INVAL)
}

/// `timer_delete(2)`.
pub fn delete(id: i32) -> Result<()> {
    let process = current().process.clone();
    let timer = process.posix_timers.lock().timers.remove(&id).ok_or(Errno::INVAL)?;
    if let Some(queued) = timer.queued {
        timer::cancel(queued);
    }
    Ok(())
}

/// Exec and exit take all timers away.
pub(in crate::task) fn delete_all(process: &Arc<Process>) {
    let timers = core::mem::take(&mut process.posix_timers.lock().timers);
    for queued in timers.values().filter_map(|timer| timer.queued) {
        timer::cancel(queued);
    }
}

/// On the way back to user mode: timers that count processor time.
pub(in crate::task) fn check_processor_time(process: &Arc<Process>) {
    let due = |timer: &PosixTimer| {
        timer.counts_processor_time() && timer.expires_ns != 0 && !timer.awaits_taking && timer.now_ns() >= timer.expires_ns
    };
    let expired: alloc::vec::Vec<i32> = {
        let all = process.posix_timers.lock();
        if all.timers.is_empty() {
            return;
        }
        all.timers.iter().filter(|(_, timer)| due(timer)).map(|(id, _)| *id).collect()
    };
    for id in expired {
        expire(process, id);
    }
}
