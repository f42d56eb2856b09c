//! Resource limits (`getrlimit(2)`).

use crate::errno::{Errno, Result};
use crate::task::signal::{Signal, SignalInfo, send_to_process};
use crate::task::{Capabilities, Process};
use alloc::sync::Arc;
use linux_raw_sys::general as sys;

/// No limit.
pub const INFINITY: u64 = u64::MAX;
/// The highest `RLIMIT_NOFILE` (`/proc/sys/fs/nr_open`).
pub const NR_OPEN: u64 = 1 << 20;
/// How many kinds there are.
const COUNT: usize = sys::RLIM_NLIMITS as usize;

/// A soft and a hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Limit {
    pub soft: u64,
    pub hard: u64,
}

/// All limits of a process, by `RLIMIT_…`.
#[derive(Clone, Copy)]
pub struct Limits([Limit; COUNT]);

impl Limits {
    /// What Linux gives the first process: half of all threads are for one user.
    pub fn initial() -> Self {
        let both = |value| Limit { soft: value, hard: value };
        let mut limits = [both(INFINITY); COUNT];
        let threads = super::clone::max_threads();
        for (kind, limit) in [
            (sys::RLIMIT_STACK, Limit { soft: 8 << 20, hard: INFINITY }),
            (sys::RLIMIT_CORE, Limit { soft: 0, hard: INFINITY }),
            (sys::RLIMIT_NPROC, both(threads / 2)),
            (sys::RLIMIT_NOFILE, Limit { soft: 1024, hard: 4096 }),
            (sys::RLIMIT_MEMLOCK, both(8 << 20)),
            (sys::RLIMIT_SIGPENDING, both(threads / 2)),
            (sys::RLIMIT_MSGQUEUE, both(819_200)),
            (sys::RLIMIT_NICE, both(0)),
            (sys::RLIMIT_RTPRIO, both(0)),
        ] {
            limits[kind as usize] = limit;
        }
        Self(limits)
    }

    /// The limits of `RLIMIT_…` `kind`.
    pub fn get(&self, kind: u32) -> Limit {
        self.0[kind as usize]
    }
}

impl Process {
    /// The soft limit of `RLIMIT_…` `kind`, a constant of `linux_raw_sys`.
    pub fn limit(&self, kind: u32) -> u64 {
        self.limits.lock().get(kind).soft
    }

    /// Most descriptors (`RLIMIT_NOFILE`).
    pub fn descriptor_limit(&self) -> u64 {
        self.limit(sys::RLIMIT_NOFILE)
    }

    /// How large the stack may grow in bytes (`RLIMIT_STACK`).
    pub fn stack_limit_bytes(&self) -> u64 {
        self.limit(sys::RLIMIT_STACK)
    }
}

/// `prlimit64(2)`: gives the limits of `kind`, and sets them to `new` if that is given.
pub fn change(target: &Arc<Process>, kind: u32, new: Option<Limit>) -> Result<Limit> {
    if kind as usize >= COUNT {
        return Err(Errno::INVAL);
    }
    let Some(new) = new else { return Ok(target.limits.lock().get(kind)) };
    if new.soft > new.hard {
        return Err(Errno::INVAL);
    }
    if kind == sys::RLIMIT_NOFILE && new.hard > NR_OPEN {
        return Err(Errno::PERM);
    }
    let privileged = super::current().credentials().capable(Capabilities::SYS_RESOURCE);
    let mut limits = target.limits.lock();
    let old = limits.get(kind);
    if new.hard > old.hard && !privileged {
        return Err(Errno::PERM);
    }
    limits.0[kind as usize] = new;
    Ok(old)
}

/// Whether the current thread may see and change `target`'s limits: its own process, the same ids, or `CAP_SYS_RESOURCE`.
pub fn may_access(target: &Arc<Process>) -> Result<()> {
    let current = super::current();
    if Arc::ptr_eq(&current.process, target) {
        return Ok(());
    }
    let mine = current.credentials();
    let theirs = target.credentials().ok_or(Errno::SRCH)?;
    let same_ids = [theirs.uid, theirs.effective_uid, theirs.saved_uid].iter().all(|id| *id == mine.uid)
        && [theirs.gid, theirs.effective_gid, theirs.saved_gid].iter().all(|id| *id == mine.gid);
    if same_ids || mine.capable_in(Capabilities::SYS_RESOURCE, &theirs.user_namespace) { Ok(()) } else { Err(Errno::PERM) }
}

/// `RLIMIT_CPU`: SIGXCPU each second from the soft limit on, SIGKILL at the hard one.
pub(in crate::task) fn check_processor_time(process: &Arc<Process>) {
    let limit = process.limits.lock().get(sys::RLIMIT_CPU);
    let used_seconds = process.usage_without_memory().total_ns() / 1_000_000_000;
    if limit.hard != INFINITY && used_seconds >= limit.hard {
        let _ = send_to_process(process, SignalInfo::from_kernel(Signal::KILL));
    } else if used_seconds >= limit.soft {
        let _ = send_to_process(process, SignalInfo::from_kernel(Signal::XCPU));
        process.limits.lock().0[sys::RLIMIT_CPU as usize].soft = used_seconds + 1;
    }
}
