//! System calls: poll, select, and their forms with a signal mask.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::PollEvents;
use crate::fs::select::{self, FdSet, FdSets, PollRequest};
use crate::mm::UserPointer;
use crate::task::signal::{self, SignalSet};
use crate::task::wait_queue::Deadline;
use crate::task::{current, run};
use crate::time::clock;
use alloc::vec::Vec;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_poll, "poll", poll),
    Entry(sys::__NR_ppoll, "ppoll", ppoll),
    Entry(sys::__NR_select, "select", select),
    Entry(sys::__NR_pselect6, "pselect6", pselect6),
];

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_US: u64 = 1_000;
/// Bytes of the kernel's `sigset_t`.
const SIGNAL_SET_BYTES: u64 = 8;

/// The deadline for a time to wait from now on.
fn after(timeout_ns: u64) -> Deadline {
    Deadline(clock::monotonic_ns().saturating_add(timeout_ns))
}

/// The deadline for a timeout in milliseconds; negative ones are none.
pub(super) fn deadline_after_ms(timeout_ms: i32) -> Option<Deadline> {
    u64::try_from(timeout_ms).ok().map(|timeout_ms| after(timeout_ms * NS_PER_MS))
}

/// Reads a `struct timespec`. `EINVAL` if it is not a duration.
pub(super) fn read_timespec(pointer: UserPointer<[i64; 2]>) -> Result<u64> {
    let [seconds, nanoseconds] = pointer.read()?;
    let seconds = u64::try_from(seconds).map_err(|_| Errno::INVAL)?;
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|ns| *ns < NS_PER_S).ok_or(Errno::INVAL)?;
    Ok(seconds.saturating_mul(NS_PER_S).saturating_add(nanoseconds))
}

/// The deadline that an optional `struct timespec` gives.
pub(super) fn deadline_of(pointer: UserPointer<[i64; 2]>) -> Result<Option<Deadline>> {
    pointer.non_null().map(|pointer| read_timespec(pointer).map(after)).transpose()
}

/// Puts an optional signal mask in place for the rest of the call. `EINVAL` if its size is not the kernel's.
pub(super) fn apply_signal_mask(mask: UserPointer<u64>, size_bytes: u64) -> Result<()> {
    let Some(mask) = mask.non_null() else { return Ok(()) };
    if size_bytes != SIGNAL_SET_BYTES {
        return Err(Errno::INVAL);
    }
    signal::set_temporary_mask(SignalSet(mask.read()?));
    Ok(())
}

/// Tells the program how much of its timeout is left, and settles how an interrupted call ends: it may only be restarted if the
/// timeout could be brought up to date. `unit_ns` is the second field's unit.
fn finish(result: Result<u64>, timeout: UserPointer<[i64; 2]>, deadline: Option<Deadline>, unit_ns: u64) -> Result<u64> {
    let interrupted = result == Err(Errno::RESTARTSYS);
    let updated = match (timeout.non_null(), deadline) {
        (Some(timeout), Some(Deadline(end))) => {
            let left_ns = end.saturating_sub(clock::monotonic_ns());
            timeout.write([(left_ns / NS_PER_S) as i64, (left_ns % NS_PER_S / unit_ns) as i64]).is_ok()
        }
        _ => true,
    };
    match (interrupted, updated) {
        (false, _) => result,
        (true, true) => Err(Errno::RESTARTNOHAND),
        (true, false) => Err(Errno::INTR),
    }
}

/// `poll(2)`'s array: `struct pollfd` as one number, fd in the lower half, then events and revents.
fn poll_array(address: u64, count: u64, deadline: Option<Deadline>) -> Result<u64> {
    let count = usize::try_from(count).ok().filter(|count| *count as u64 <= current().process.descriptor_limit()).ok_or(Errno::INVAL)?;
    let entries = UserPointer::<u64>::new(address).read_vec(count)?;
    let mut requests = Vec::new();
    requests.try_reserve_exact(count).map_err(|_| Errno::NOMEM)?;
    requests.extend(entries.iter().map(|entry| {
        let interest = PollEvents::from_bits_truncate((*entry >> 32) as u32 & 0xffff);
        PollRequest::new(*entry as u32 as i32, interest)
    }));
    let ready = select::poll(&mut requests, deadline)?;
    for (index, request) in requests.iter().enumerate() {
        let revents = UserPointer::<u16>::new(UserPointer::<u64>::new(address).at(index).address().wrapping_add(6));
        revents.write(request.events.bits() as u16)?;
    }
    Ok(ready as u64)
}

fn poll(arguments: &Arguments) -> Result<u64> {
    let [address, count, timeout_ms, ..] = *arguments;
    poll_until(address, u64::from(count as u32), deadline_after_ms(timeout_ms as i32))
}

/// An interrupted `poll` goes on until its first deadline.
fn poll_until(address: u64, count: u64, deadline: Option<Deadline>) -> Result<u64> {
    let result = poll_array(address, count, deadline);
    if result == Err(Errno::RESTARTSYS) {
        return Err(run::restart_with(move || poll_until(address, count, deadline)));
    }
    result
}

fn ppoll(arguments: &Arguments) -> Result<u64> {
    let [address, count, timeout, mask, mask_size_bytes, _] = *arguments;
    let timeout = UserPointer::new(timeout);
    let deadline = deadline_of(timeout)?;
    apply_signal_mask(UserPointer::new(mask), mask_size_bytes)?;
    finish(poll_array(address, u64::from(count as u32), deadline), timeout, deadline, 1)
}

/// The three sets, read, waited for and written back.
fn select_sets(count: u64, addresses: [u64; 3], deadline: Option<Deadline>) -> Result<u64> {
    let count = usize::try_from(count as i32).map_err(|_| Errno::INVAL)?;
    let count = select::looked_at(count);
    let words = count.div_ceil(64);
    let read =
        |address: u64| -> Result<Option<FdSet>> { UserPointer::<u64>::new(address).non_null().map(|set| set.read_vec(words)).transpose() };
    let mut sets: FdSets = [read(addresses[0])?, read(addresses[1])?, read(addresses[2])?];
    let ready = select::select(&mut sets, count, deadline)?;
    for (set, address) in sets.iter().zip(addresses) {
        if let Some(set) = set {
            UserPointer::<u64>::new(address).write_slice(set)?;
        }
    }
    Ok(ready as u64)
}

fn select(arguments: &Arguments) -> Result<u64> {
    let [count, read, write, except, timeout, _] = *arguments;
    let timeout = UserPointer::<[i64; 2]>::new(timeout);
    let deadline = match timeout.non_null() {
        None => None,
        Some(pointer) => {
            let [seconds, microseconds] = pointer.read()?;
            let seconds = u64::try_from(seconds).map_err(|_| Errno::INVAL)?;
            let microseconds = u64::try_from(microseconds).map_err(|_| Errno::INVAL)?;
            Some(after(seconds.saturating_mul(NS_PER_S).saturating_add(microseconds.saturating_mul(NS_PER_US))))
        }
    };
    finish(select_sets(count, [read, write, except], deadline), timeout, deadline, NS_PER_US)
}

fn pselect6(arguments: &Arguments) -> Result<u64> {
    let [count, read, write, except, timeout, mask_argument] = *arguments;
    // The sixth argument points to the mask's address and size, as there is no seventh register.
    let [mask, mask_size_bytes] = match UserPointer::<[u64; 2]>::new(mask_argument).non_null() {
        Some(pointer) => pointer.read()?,
        None => [0, 0],
    };
    let timeout = UserPointer::new(timeout);
    let deadline = deadline_of(timeout)?;
    apply_signal_mask(UserPointer::new(mask), mask_size_bytes)?;
    finish(select_sets(count, [read, write, except], deadline), timeout, deadline, 1)
}
