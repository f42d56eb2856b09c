//! System calls: scheduling, priorities, affinity, resource limits and usage.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::mm::user::{self, UserPointer};
use crate::task::accounting::{TICK_NS, Usage};
use crate::task::priority::{self, Parameters, Whose};
use crate::task::rlimit::{self, Limit};
use crate::task::{Thread, current, pid, scheduler};
use crate::time::clock;
use alloc::{sync::Arc, vec};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_sched_yield, "sched_yield", sys_sched_yield),
    Entry(sys::__NR_sched_setscheduler, "sched_setscheduler", sys_sched_setscheduler),
    Entry(sys::__NR_sched_getscheduler, "sched_getscheduler", sys_sched_getscheduler),
    Entry(sys::__NR_sched_setparam, "sched_setparam", sys_sched_setparam),
    Entry(sys::__NR_sched_getparam, "sched_getparam", sys_sched_getparam),
    Entry(sys::__NR_sched_setattr, "sched_setattr", sys_sched_setattr),
    Entry(sys::__NR_sched_getattr, "sched_getattr", sys_sched_getattr),
    Entry(sys::__NR_sched_get_priority_max, "sched_get_priority_max", |a| priority::range(a[0] as u32).map(|r| r.1)),
    Entry(sys::__NR_sched_get_priority_min, "sched_get_priority_min", |a| priority::range(a[0] as u32).map(|r| r.0)),
    Entry(sys::__NR_sched_rr_get_interval, "sched_rr_get_interval", sys_sched_rr_get_interval),
    Entry(sys::__NR_sched_setaffinity, "sched_setaffinity", sys_sched_setaffinity),
    Entry(sys::__NR_sched_getaffinity, "sched_getaffinity", sys_sched_getaffinity),
    Entry(sys::__NR_getcpu, "getcpu", sys_getcpu),
    Entry(sys::__NR_getpriority, "getpriority", sys_getpriority),
    Entry(sys::__NR_setpriority, "setpriority", sys_setpriority),
    Entry(sys::__NR_ioprio_get, "ioprio_get", sys_ioprio_get),
    Entry(sys::__NR_ioprio_set, "ioprio_set", sys_ioprio_set),
    Entry(sys::__NR_getrlimit, "getrlimit", sys_getrlimit),
    Entry(sys::__NR_setrlimit, "setrlimit", sys_setrlimit),
    Entry(sys::__NR_prlimit64, "prlimit64", sys_prlimit64),
    Entry(sys::__NR_getrusage, "getrusage", sys_getrusage),
    Entry(sys::__NR_times, "times", sys_times),
];

/// The thread that a call names; 0 is the caller. `EINVAL` for a negative number, `ESRCH` for nobody's.
fn thread_of(number: u64) -> Result<Arc<Thread>> {
    match number as i32 {
        0 => Ok(current()),
        number @ 1.. => pid::find_thread(number as u32),
        _ => Err(Errno::INVAL),
    }
}

/// As [`thread_of`], for the calls that take a negative number for nobody's.
fn any_thread_of(number: u64) -> Result<Arc<Thread>> {
    thread_of(number).map_err(|_| Errno::SRCH)
}

fn sys_sched_yield(_: &Arguments) -> Result<u64> {
    scheduler::yield_now();
    Ok(0)
}

fn sys_sched_setscheduler(&[target, policy, parameters, ..]: &Arguments) -> Result<u64> {
    if (policy as i32) < 0 || (target as i32) < 0 || parameters == 0 {
        return Err(Errno::INVAL);
    }
    let priority = UserPointer::<i32>::new(parameters).read()?;
    let policy = policy as u32;
    let reset_on_fork = policy & sys::SCHED_RESET_ON_FORK != 0;
    let parameters = Parameters { policy: policy & !sys::SCHED_RESET_ON_FORK, priority, nice: None, reset_on_fork };
    priority::set(&*thread_of(target)?, parameters).map(|()| 0)
}

fn sys_sched_getscheduler(&[target, ..]: &Arguments) -> Result<u64> {
    let policy = thread_of(target)?.scheduling_policy();
    let reset = if policy.reset_on_fork { sys::SCHED_RESET_ON_FORK } else { 0 };
    Ok(u64::from(policy.policy | reset))
}

fn sys_sched_setparam(&[target, parameters, ..]: &Arguments) -> Result<u64> {
    if parameters == 0 || (target as i32) < 0 {
        return Err(Errno::INVAL);
    }
    let priority = UserPointer::<i32>::new(parameters).read()?;
    let thread = thread_of(target)?;
    let old = thread.scheduling_policy();
    let parameters = Parameters { policy: old.policy, priority, nice: None, reset_on_fork: old.reset_on_fork };
    priority::set(&thread, parameters).map(|()| 0)
}

fn sys_sched_getparam(&[target, parameters, ..]: &Arguments) -> Result<u64> {
    if parameters == 0 {
        return Err(Errno::INVAL);
    }
    UserPointer::new(parameters).write(thread_of(target)?.scheduling_policy().priority)?;
    Ok(0)
}

/// Bytes of the first version of `struct sched_attr`: size, policy, flags, nice, priority, three times.
const SCHED_ATTR_LEN_BYTES: u32 = 48;

fn sys_sched_setattr(&[target, attributes, flags, ..]: &Arguments) -> Result<u64> {
    if attributes == 0 || flags as u32 != 0 {
        return Err(Errno::INVAL);
    }
    let size = UserPointer::<u32>::new(attributes).read()?;
    let size = if size == 0 { SCHED_ATTR_LEN_BYTES } else { size };
    if size < SCHED_ATTR_LEN_BYTES || size > crate::mm::PAGE_SIZE_BYTES as u32 {
        UserPointer::new(attributes).write(SCHED_ATTR_LEN_BYTES)?;
        return Err(Errno::TOOBIG);
    }
    let policy = UserPointer::<u32>::new(attributes + 4).read()?;
    let attribute_flags = UserPointer::<u64>::new(attributes + 8).read()?;
    let [nice, priority] = UserPointer::<[i32; 2]>::new(attributes + 16).read()?;
    let reset_on_fork = attribute_flags & u64::from(sys::SCHED_FLAG_RESET_ON_FORK) != 0;
    if attribute_flags & !u64::from(sys::SCHED_FLAG_ALL) != 0 {
        return Err(Errno::INVAL);
    }
    priority::set(&*thread_of(target)?, Parameters { policy, priority, nice: Some(nice), reset_on_fork }).map(|()| 0)
}

fn sys_sched_getattr(&[target, attributes, size, flags, ..]: &Arguments) -> Result<u64> {
    let size = size as u32;
    if attributes == 0 || flags as u32 != 0 || !(SCHED_ATTR_LEN_BYTES..=4096).contains(&size) {
        return Err(Errno::INVAL);
    }
    let policy = thread_of(target)?.scheduling_policy();
    let mut bytes = [0u8; SCHED_ATTR_LEN_BYTES as usize];
    bytes[..4].copy_from_slice(&SCHED_ATTR_LEN_BYTES.to_ne_bytes());
    bytes[4..8].copy_from_slice(&policy.policy.to_ne_bytes());
    bytes[8..16].copy_from_slice(&u64::from(policy.reset_on_fork).to_ne_bytes());
    bytes[16..20].copy_from_slice(&policy.nice.to_ne_bytes());
    bytes[20..24].copy_from_slice(&policy.priority.to_ne_bytes());
    user::write_bytes(attributes, &bytes)?;
    Ok(0)
}

fn sys_sched_rr_get_interval(&[target, to, ..]: &Arguments) -> Result<u64> {
    let slice_ns = thread_of(target)?.scheduling_policy().shown_slice_ns();
    UserPointer::<[i64; 2]>::new(to).write([0, slice_ns as i64])?;
    Ok(0)
}

/// Bytes of the mask that the kernel keeps.
const AFFINITY_LEN_BYTES: u64 = 8;

fn sys_sched_setaffinity(&[target, len_bytes, mask, ..]: &Arguments) -> Result<u64> {
    let mut bytes = [0; AFFINITY_LEN_BYTES as usize];
    let len = u64::from(len_bytes as u32).min(AFFINITY_LEN_BYTES) as usize;
    user::read_bytes(mask, &mut bytes[..len])?;
    priority::set_affinity(&*any_thread_of(target)?, u64::from_ne_bytes(bytes)).map(|()| 0)
}

fn sys_sched_getaffinity(&[target, len_bytes, mask, ..]: &Arguments) -> Result<u64> {
    // As in Linux the length in bits is a 32-bit number.
    let has_bits = (len_bytes as u32).wrapping_mul(u8::BITS) > 0;
    let len_bytes = u64::from(len_bytes as u32);
    if !has_bits || len_bytes < AFFINITY_LEN_BYTES || len_bytes % AFFINITY_LEN_BYTES != 0 {
        return Err(Errno::INVAL);
    }
    UserPointer::new(mask).write(any_thread_of(target)?.scheduling_policy().affinity)?;
    Ok(AFFINITY_LEN_BYTES)
}

fn sys_getcpu(&[processor, node, ..]: &Arguments) -> Result<u64> {
    let write = |address: u64| if address == 0 { Ok(()) } else { UserPointer::<u32>::new(address).write(0) };
    // Both are tried before either's failure is told.
    let (processor, node) = (write(processor), write(node));
    processor.and(node).map(|()| 0)
}

fn whose(kind: u64, number: u64) -> Result<Whose> {
    match kind as u32 {
        sys::PRIO_PROCESS => Ok(Whose::Thread(number as u32)),
        sys::PRIO_PGRP => Ok(Whose::Group(number as u32)),
        sys::PRIO_USER => Ok(Whose::User(number as u32)),
        _ => Err(Errno::INVAL),
    }
}

fn sys_getpriority(&[kind, number, ..]: &Arguments) -> Result<u64> {
    // 20 − nice, so that it is never negative.
    priority::nice_of(whose(kind, number)?).map(|nice| (20 - nice) as u64)
}

fn sys_setpriority(&[kind, number, nice, ..]: &Arguments) -> Result<u64> {
    priority::set_nice(whose(kind, number)?, nice as i32).map(|()| 0)
}

/// `IOPRIO_WHO_PROCESS`, `PGRP` and `USER` are one more than `getpriority`'s.
fn io_whose(kind: u64, number: u64) -> Result<priority::Whose> {
    whose(u64::from((kind as u32).checked_sub(1).ok_or(Errno::INVAL)?), number)
}

fn sys_ioprio_get(&[kind, number, ..]: &Arguments) -> Result<u64> {
    priority::io_priority_of(io_whose(kind, number)?).map(u64::from)
}

fn sys_ioprio_set(&[kind, number, io_priority, ..]: &Arguments) -> Result<u64> {
    priority::set_io_priority(io_whose(kind, number)?, io_priority as u32).map(|()| 0)
}

fn write_limit(address: u64, limit: Limit) -> Result<()> {
    UserPointer::<[u64; 2]>::new(address).write([limit.soft, limit.hard])
}

fn read_limit(address: u64) -> Result<Limit> {
    let [soft, hard] = UserPointer::<[u64; 2]>::new(address).read()?;
    Ok(Limit { soft, hard })
}

fn sys_getrlimit(&[kind, to, ..]: &Arguments) -> Result<u64> {
    let limit = rlimit::change(&current().process, kind as u32, None)?;
    write_limit(to, limit).map(|()| 0)
}

fn sys_setrlimit(&[kind, from, ..]: &Arguments) -> Result<u64> {
    let new = read_limit(from)?;
    rlimit::change(&current().process, kind as u32, Some(new)).map(|_| 0)
}

fn sys_prlimit64(&[target, kind, new, old, ..]: &Arguments) -> Result<u64> {
    let new = if new == 0 { None } else { Some(read_limit(new)?) };
    let process = if target as i32 == 0 { current().process.clone() } else { pid::find_thread(target as u32)?.process.clone() };
    rlimit::may_access(&process)?;
    let before = rlimit::change(&process, kind as u32, new)?;
    if old != 0 {
        write_limit(old, before)?;
    }
    Ok(0)
}

fn sys_getrusage(&[who, to, ..]: &Arguments) -> Result<u64> {
    let thread = current();
    let usage = match who as i32 {
        0 => thread.process.usage(),
        sys::RUSAGE_CHILDREN => thread.process.children_usage(),
        1 => Usage { peak_resident_pages: thread.process.usage().peak_resident_pages, ..thread.usage() },
        _ => return Err(Errno::INVAL),
    };
    write_usage(to, &usage).map(|()| 0)
}

fn sys_times(&[to, ..]: &Arguments) -> Result<u64> {
    let process = current().process.clone();
    let (own, children) = (process.usage_without_memory(), process.children_usage());
    if to != 0 {
        let ticks = [own.user_ns, own.system_ns, children.user_ns, children.system_ns].map(|ns| ns / TICK_NS);
        UserPointer::<[u64; 4]>::new(to).write(ticks)?;
    }
    Ok(clock::monotonic_ns() / TICK_NS)
}

/// Words of `struct rusage`: two times, then fourteen counts.
const USAGE_WORDS: usize = 18;

/// Writes a `struct rusage`.
pub(super) fn write_usage(address: u64, usage: &Usage) -> Result<()> {
    let time = |ns: u64| [ns / 1_000_000_000, ns / 1000 % 1_000_000];
    let mut words = vec![0u64; USAGE_WORDS];
    words[..2].copy_from_slice(&time(usage.user_ns));
    words[2..4].copy_from_slice(&time(usage.system_ns));
    // ru_maxrss is in KiB.
    words[4] = usage.peak_resident_pages * 4;
    words[8] = usage.minor_faults;
    words[16] = usage.voluntary_switches;
    words[17] = usage.involuntary_switches;
    UserPointer::new(address).write_slice(&words)
}
