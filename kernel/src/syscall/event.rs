//! System calls: eventfd, signalfd, timerfd, epoll, inotify, memfd.

use super::poll::{apply_signal_mask, deadline_after_ms, deadline_of};
use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::epoll::{self, Change, Event};
use crate::fs::{OpenFlags, eventfd, internal};
use crate::mm::{USER_END, UserPointer};
use crate::task::Deadline;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_eventfd, "eventfd", eventfd),
    Entry(sys::__NR_eventfd2, "eventfd2", eventfd2),
    Entry(sys::__NR_epoll_create, "epoll_create", epoll_create),
    Entry(sys::__NR_epoll_create1, "epoll_create1", epoll_create1),
    Entry(sys::__NR_epoll_ctl, "epoll_ctl", epoll_ctl),
    Entry(sys::__NR_epoll_wait, "epoll_wait", epoll_wait),
    Entry(sys::__NR_epoll_pwait, "epoll_pwait", epoll_pwait),
    Entry(sys::__NR_epoll_pwait2, "epoll_pwait2", epoll_pwait2),
];

/// Splits the flags of a call that makes a descriptor: what `F_GETFL` will show, and `O_CLOEXEC`. `EINVAL` for bits outside `allowed`.
fn descriptor_flags(flags: u64, allowed: OpenFlags) -> Result<(OpenFlags, bool)> {
    let flags = OpenFlags::from_bits(flags as u32).filter(|flags| allowed.contains(*flags)).ok_or(Errno::INVAL)?;
    Ok((flags.difference(OpenFlags::CLOEXEC), flags.contains(OpenFlags::CLOEXEC)))
}

const USUAL_FLAGS: OpenFlags = OpenFlags::CLOEXEC.union(OpenFlags::NONBLOCK);

fn eventfd(arguments: &Arguments) -> Result<u64> {
    internal::install(eventfd::create(arguments[0] as u32, false, OpenFlags::empty())?, false)
}

fn eventfd2(arguments: &Arguments) -> Result<u64> {
    let [initial, flags, ..] = *arguments;
    let semaphore = flags & u64::from(sys::EFD_SEMAPHORE) != 0;
    let (flags, close_on_exec) = descriptor_flags(flags & !u64::from(sys::EFD_SEMAPHORE), USUAL_FLAGS)?;
    internal::install(eventfd::create(initial as u32, semaphore, flags)?, close_on_exec)
}

fn epoll_create(arguments: &Arguments) -> Result<u64> {
    // The size is not used since Linux 2.6.8, but must be greater than zero.
    if arguments[0] as i32 <= 0 {
        return Err(Errno::INVAL);
    }
    internal::install(epoll::create()?, false)
}

fn epoll_create1(arguments: &Arguments) -> Result<u64> {
    let (_, close_on_exec) = descriptor_flags(arguments[0], OpenFlags::CLOEXEC)?;
    internal::install(epoll::create()?, close_on_exec)
}

/// `struct epoll_event` is packed on x86-64: 4 bytes of events, 8 of data.
type RawEvent = [u32; 3];

fn read_event(address: u64) -> Result<Event> {
    let [events, low, high] = UserPointer::<RawEvent>::new(address).read()?;
    Ok(Event { events, data: u64::from(low) | u64::from(high) << 32 })
}

fn epoll_ctl(arguments: &Arguments) -> Result<u64> {
    let [epoll_fd, operation, fd, event, ..] = *arguments;
    let change = match operation as u32 {
        sys::EPOLL_CTL_DEL => Some(Change::Delete),
        sys::EPOLL_CTL_ADD => Some(Change::Add(read_event(event)?)),
        sys::EPOLL_CTL_MOD => Some(Change::Modify(read_event(event)?)),
        _ => None,
    };
    let epoll_file = internal::file_of(epoll_fd as i32)?;
    let target = internal::file_of(fd as i32)?;
    match change {
        Some(change) => epoll::control(&epoll_file, fd as i32, &target, change).map(|()| 0),
        None if !target.ops.pollable() => Err(Errno::PERM),
        None => Err(Errno::INVAL),
    }
}

fn wait_for_events(epoll_fd: u64, events: u64, most: u64, deadline: Option<Deadline>) -> Result<u64> {
    let most = usize::try_from(most as i32).ok().filter(|most| (1..=i32::MAX as usize / size_of::<RawEvent>()).contains(most));
    let most = most.ok_or(Errno::INVAL)?;
    let len_bytes = (most * size_of::<RawEvent>()) as u64;
    if events.checked_add(len_bytes).is_none_or(|end| end > USER_END) {
        return Err(Errno::FAULT);
    }
    let file = internal::file_of(epoll_fd as i32)?;
    let epoll = epoll::of(&file).ok_or(Errno::INVAL)?;
    let array = UserPointer::<RawEvent>::new(events);
    let delivered = epoll
        .wait(most, deadline, &mut |index, event| array.at(index).write([event.events, event.data as u32, (event.data >> 32) as u32]))?;
    Ok(delivered as u64)
}

fn epoll_wait(arguments: &Arguments) -> Result<u64> {
    let [epoll_fd, events, most, timeout_ms, ..] = *arguments;
    wait_for_events(epoll_fd, events, most, deadline_after_ms(timeout_ms as i32))
}

fn epoll_pwait(arguments: &Arguments) -> Result<u64> {
    let [epoll_fd, events, most, timeout_ms, mask, mask_size_bytes] = *arguments;
    apply_signal_mask(UserPointer::new(mask), mask_size_bytes)?;
    wait_for_events(epoll_fd, events, most, deadline_after_ms(timeout_ms as i32))
}

fn epoll_pwait2(arguments: &Arguments) -> Result<u64> {
    let [epoll_fd, events, most, timeout, mask, mask_size_bytes] = *arguments;
    let deadline = deadline_of(UserPointer::new(timeout))?;
    apply_signal_mask(UserPointer::new(mask), mask_size_bytes)?;
    wait_for_events(epoll_fd, events, most, deadline)
}
