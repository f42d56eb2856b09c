//! System calls: futexes, robust lists.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::mm::user::UserPointer;
use crate::task::futex::{self, MATCH_ANY, priority, robust};
use crate::task::time_namespace::{self, OffsetClock};
use crate::task::{Deadline, current};
use crate::time::clock;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_futex, "futex", sys_futex),
    Entry(sys::__NR_set_robust_list, "set_robust_list", sys_set_robust_list),
    Entry(sys::__NR_get_robust_list, "get_robust_list", sys_get_robust_list),
];

fn sys_futex(&[address, operation, value, timeout, other, last]: &Arguments) -> Result<u64> {
    let operation = operation as u32;
    let private = operation & sys::FUTEX_PRIVATE_FLAG != 0;
    let realtime = operation & sys::FUTEX_CLOCK_REALTIME != 0;
    let command = operation & !(sys::FUTEX_PRIVATE_FLAG | sys::FUTEX_CLOCK_REALTIME);
    let takes_clock = matches!(command, sys::FUTEX_WAIT | sys::FUTEX_WAIT_BITSET | sys::FUTEX_LOCK_PI2);
    if realtime && !takes_clock {
        return Err(Errno::NOSYS);
    }
    let (value, count) = (value as u32, timeout as u32);
    match command {
        sys::FUTEX_WAIT => futex::wait(address, private, value, MATCH_ANY, super::time::read_timeout(timeout)?),
        sys::FUTEX_WAIT_BITSET => futex::wait(address, private, value, last as u32, deadline(timeout, realtime)?),
        sys::FUTEX_WAKE => futex::wake(address, private, value, MATCH_ANY),
        sys::FUTEX_WAKE_BITSET => futex::wake(address, private, value, last as u32),
        sys::FUTEX_REQUEUE => futex::requeue(address, other, private, value, count, None),
        sys::FUTEX_CMP_REQUEUE => futex::requeue(address, other, private, value, count, Some(last as u32)),
        sys::FUTEX_WAKE_OP => futex::wake_op(address, other, private, value, count, last as u32),
        sys::FUTEX_LOCK_PI => priority::lock(address, private, deadline(timeout, true)?, false),
        sys::FUTEX_LOCK_PI2 => priority::lock(address, private, deadline(timeout, realtime)?, false),
        sys::FUTEX_TRYLOCK_PI => priority::lock(address, private, None, true),
        sys::FUTEX_UNLOCK_PI => priority::unlock(address, private),
        _ => Err(Errno::NOSYS),
    }
}

/// An absolute time as a deadline of the monotonic clock.
fn deadline(address: u64, realtime: bool) -> Result<Option<Deadline>> {
    if address == 0 {
        return Ok(None);
    }
    let time_ns = super::time::read_timespec(address)?;
    Ok(Some(match realtime {
        true => Deadline(clock::realtime_to_monotonic_ns(i128::from(time_ns))),
        false => time_namespace::deadline(OffsetClock::Monotonic, time_ns),
    }))
}

fn sys_set_robust_list(&[head, len_bytes, ..]: &Arguments) -> Result<u64> {
    robust::set_list(&current(), head, len_bytes).map(|()| 0)
}

fn sys_get_robust_list(&[number, head, len, ..]: &Arguments) -> Result<u64> {
    let list = robust::list_of(number as u32)?;
    UserPointer::<u64>::new(len).write(robust::HEAD_LEN_BYTES)?;
    UserPointer::<u64>::new(head).write(list)?;
    Ok(0)
}
