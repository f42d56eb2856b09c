//! Scheduling policies, priorities and nice values (`sched(7)`, `setpriority(2)`), affinity.

use crate::errno::{Errno, Result};
use crate::task::pid::{self, PidNamespace};
use crate::task::scheduler::SchedulingPolicy;
use crate::task::{Capabilities, Thread, current};
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as sys;

/// Nice values run from here to 19.
const NICE_MIN: i32 = -20;
const NICE_MAX: i32 = 19;
/// The processors that there are, as a mask.
const PROCESSORS: u64 = 1;

/// What `sched_setscheduler` and `sched_setattr` ask for.
#[allow(missing_docs)]
pub struct Parameters {
    pub policy: u32,
    pub priority: i32,
    /// `None` leaves it.
    pub nice: Option<i32>,
    pub reset_on_fork: bool,
}

/// Lowest and highest priority of a policy.
pub fn range(policy: u32) -> Result<(u64, u64)> {
    match policy {
        sys::SCHED_FIFO | sys::SCHED_RR => Ok((1, 99)),
        sys::SCHED_NORMAL | sys::SCHED_BATCH | sys::SCHED_IDLE | sys::SCHED_DEADLINE => Ok((0, 0)),
        _ => Err(Errno::INVAL),
    }
}

fn is_real_time(policy: u32) -> bool {
    matches!(policy, sys::SCHED_FIFO | sys::SCHED_RR)
}

/// `sched_setscheduler(2)`, `sched_setattr(2)`.
pub fn set(thread: &Thread, new: Parameters) -> Result<()> {
    let (lowest, highest) = range(new.policy)?;
    let in_range = u64::try_from(new.priority).is_ok_and(|priority| (lowest..=highest).contains(&priority));
    if !in_range || new.policy == sys::SCHED_DEADLINE {
        return Err(Errno::INVAL);
    }
    let old = *thread.policy.lock();
    let nice = new.nice.map_or(old.nice, |nice| nice.clamp(NICE_MIN, NICE_MAX));
    check_right(thread, &old, &new, nice)?;
    let mut policy = thread.policy.lock();
    *policy = SchedulingPolicy { policy: new.policy, priority: new.priority, nice, reset_on_fork: new.reset_on_fork, ..*policy };
    Ok(())
}

/// Without `CAP_SYS_NICE`: only one's own, real-time priorities within `RLIMIT_RTPRIO`, nice within `RLIMIT_NICE`.
fn check_right(thread: &Thread, old: &SchedulingPolicy, new: &Parameters, nice: i32) -> Result<()> {
    let theirs = thread.credentials();
    if current().credentials().capable_in(Capabilities::SYS_NICE, &theirs.user_namespace) {
        return Ok(());
    }
    if is_real_time(new.policy) {
        let limit = thread.process.limit(sys::RLIMIT_RTPRIO);
        let raises = !is_real_time(old.policy) || new.priority > old.priority;
        if (raises && new.priority as u64 > limit) || (new.policy != old.policy && limit == 0) {
            return Err(Errno::PERM);
        }
    }
    if nice < old.nice && !may_lower_nice(thread, nice) {
        return Err(Errno::PERM);
    }
    if !same_owner(thread) || (old.reset_on_fork && !new.reset_on_fork) {
        return Err(Errno::PERM);
    }
    Ok(())
}

/// `RLIMIT_NICE` is 20 − nice.
fn may_lower_nice(thread: &Thread, nice: i32) -> bool {
    (20 - nice) as u64 <= thread.process.limit(sys::RLIMIT_NICE)
}

fn same_owner(thread: &Thread) -> bool {
    let mine = current().credentials();
    let theirs = thread.credentials();
    mine.effective_uid == theirs.effective_uid || mine.effective_uid == theirs.uid
}

/// Whose nice value; 0 stands for the caller's own.
#[allow(missing_docs)]
pub enum Whose {
    Thread(u32),
    Group(u32),
    User(u32),
}

fn threads_of(whose: Whose) -> Result<Vec<Arc<Thread>>> {
    let me = current();
    let threads = match whose {
        Whose::Thread(0) => Vec::from([me]),
        Whose::Thread(number) => Vec::from([pid::find_thread(number)?]),
        Whose::Group(number) => {
            let group = if number == 0 { me.process.group() } else { pid::find(number).ok_or(Errno::SRCH)? };
            group.group_members().iter().flat_map(|process| process.threads()).collect()
        }
        Whose::User(number) => {
            let credentials = me.credentials();
            let uid = if number == 0 { Some(credentials.uid) } else { credentials.user_namespace.uid_to_global(number) };
            let namespace: Arc<PidNamespace> = me.pid().namespace().clone();
            let all = namespace.processes();
            all.iter().flat_map(|process| process.threads()).filter(|thread| Some(thread.credentials().uid) == uid).collect()
        }
    };
    if threads.is_empty() { Err(Errno::SRCH) } else { Ok(threads) }
}

/// `getpriority(2)`: the lowest (most favourable) nice value among them.
pub fn nice_of(whose: Whose) -> Result<i32> {
    let threads = threads_of(whose)?;
    threads.iter().map(|thread| thread.policy.lock().nice).min().ok_or(Errno::SRCH)
}

/// `setpriority(2)`: for all of them; `EPERM` for somebody else's, `EACCES` for too low a value.
pub fn set_nice(whose: Whose, nice: i32) -> Result<()> {
    let nice = nice.clamp(NICE_MIN, NICE_MAX);
    let mut outcome = Ok(());
    for thread in threads_of(whose)? {
        if let Err(error) = set_nice_of(&thread, nice) {
            outcome = Err(error);
        }
    }
    outcome
}

fn set_nice_of(thread: &Thread, nice: i32) -> Result<()> {
    let privileged = current().credentials().capable_in(Capabilities::SYS_NICE, &thread.credentials().user_namespace);
    let mine = current().credentials();
    let theirs = thread.credentials();
    let same_owner = theirs.uid == mine.effective_uid || theirs.effective_uid == mine.effective_uid;
    if !same_owner && !privileged {
        return Err(Errno::PERM);
    }
    let mut policy = thread.policy.lock();
    if nice < policy.nice && !privileged && !may_lower_nice(thread, nice) {
        return Err(Errno::ACCES);
    }
    policy.nice = nice;
    Ok(())
}

/// Where the class begins in an I/O priority (`ioprio_set(2)`).
const IO_CLASS_SHIFT: u32 = 13;
/// The class of who never set one (`IOPRIO_CLASS_BE`).
const IO_CLASS_BEST_EFFORT: u32 = 2;
/// Levels of the classes RT and BE.
const IO_LEVELS: u32 = 8;

/// `ioprio_get(2)`: of several, the most urgent; a thread that never set one says 0 for itself, and the default class's middle level in
/// company.
pub fn io_priority_of(whose: Whose) -> Result<u32> {
    let alone = matches!(whose, Whose::Thread(_));
    let threads = threads_of(whose)?;
    let of = |thread: &Arc<Thread>| match u32::from(thread.policy.lock().io_priority) {
        0 if !alone => (IO_CLASS_BEST_EFFORT << IO_CLASS_SHIFT) | (IO_LEVELS / 2),
        priority => priority,
    };
    threads.iter().map(of).min().ok_or(Errno::SRCH)
}

/// `ioprio_set(2)`. `EINVAL` for an unknown class or level, `EPERM` for the class RT without a capability or for somebody else's thread.
pub fn set_io_priority(whose: Whose, priority: u32) -> Result<()> {
    let (class, level) = (priority >> IO_CLASS_SHIFT, priority & ((1 << IO_CLASS_SHIFT) - 1));
    let mine = current().credentials();
    match class {
        1 if !mine.capable(Capabilities::SYS_ADMIN) && !mine.capable(Capabilities::SYS_NICE) => return Err(Errno::PERM),
        1 | 2 if level < IO_LEVELS => {}
        3 => {}
        0 if level == 0 => {}
        _ => return Err(Errno::INVAL),
    }
    for thread in threads_of(whose)? {
        let theirs = thread.credentials().uid;
        if theirs != mine.effective_uid && theirs != mine.uid && !mine.capable(Capabilities::SYS_NICE) {
            return Err(Errno::PERM);
        }
        thread.policy.lock().io_priority = priority as u16;
    }
    Ok(())
}

/// `sched_setaffinity(2)`: processors that are not there are left out; `EINVAL` if none remains.
pub fn set_affinity(thread: &Thread, mask: u64) -> Result<()> {
    let theirs = thread.credentials();
    if !same_owner(thread) && !current().credentials().capable_in(Capabilities::SYS_NICE, &theirs.user_namespace) {
        return Err(Errno::PERM);
    }
    if mask & PROCESSORS == 0 {
        return Err(Errno::INVAL);
    }
    thread.policy.lock().affinity = mask & PROCESSORS;
    Ok(())
}

impl Thread {
    /// How it is scheduled.
    pub fn scheduling_policy(&self) -> SchedulingPolicy {
        *self.policy.lock()
    }
}
