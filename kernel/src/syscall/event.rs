//! System calls: eventfd, signalfd, timerfd, epoll, inotify, memfd.

use super::poll::{apply_signal_mask, deadline_after_ms, deadline_of};
use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::epoll::{self, Change, Event};
use crate::fs::inotify::{self, Mask};
use crate::fs::permission::{self, Access};
use crate::fs::timerfd::{self, Clock, Meaning, Setting};
use crate::fs::walk::{self, LookupFlags};
use crate::fs::{OpenFlags, eventfd, internal, memfd, signalfd};
use crate::mm::UserPointer;
use crate::mm::user::{read_c_string, read_path};
use crate::task::signal::SignalSet;
use crate::task::{Capabilities, Deadline, current};
use crate::time::clock::NS_PER_SECOND;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_eventfd, "eventfd", eventfd),
    Entry(sys::__NR_eventfd2, "eventfd2", eventfd2),
    Entry(sys::__NR_signalfd, "signalfd", signalfd),
    Entry(sys::__NR_signalfd4, "signalfd4", signalfd4),
    Entry(sys::__NR_timerfd_create, "timerfd_create", timerfd_create),
    Entry(sys::__NR_timerfd_settime, "timerfd_settime", timerfd_settime),
    Entry(sys::__NR_timerfd_gettime, "timerfd_gettime", timerfd_gettime),
    Entry(sys::__NR_inotify_init, "inotify_init", inotify_init),
    Entry(sys::__NR_inotify_init1, "inotify_init1", inotify_init1),
    Entry(sys::__NR_inotify_add_watch, "inotify_add_watch", inotify_add_watch),
    Entry(sys::__NR_inotify_rm_watch, "inotify_rm_watch", inotify_rm_watch),
    Entry(sys::__NR_memfd_create, "memfd_create", memfd_create),
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
    if events.checked_add(len_bytes).is_none_or(|end| end >> 63 != 0) {
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

fn signalfd(arguments: &Arguments) -> Result<u64> {
    let [fd, mask, mask_size_bytes, ..] = *arguments;
    make_signalfd(fd as i32, mask, mask_size_bytes, 0)
}

fn signalfd4(arguments: &Arguments) -> Result<u64> {
    let [fd, mask, mask_size_bytes, flags, ..] = *arguments;
    make_signalfd(fd as i32, mask, mask_size_bytes, flags)
}

fn make_signalfd(fd: i32, mask: u64, mask_size_bytes: u64, flags: u64) -> Result<u64> {
    if mask_size_bytes != size_of::<u64>() as u64 {
        return Err(Errno::INVAL);
    }
    let wanted = SignalSet(UserPointer::<u64>::new(mask).read()?);
    let (flags, close_on_exec) = descriptor_flags(flags, USUAL_FLAGS)?;
    if fd == -1 {
        return internal::install(signalfd::create(wanted, flags)?, close_on_exec);
    }
    signalfd::change(&*internal::file_of(fd)?, wanted)?;
    Ok(fd as u64)
}

fn timerfd_create(arguments: &Arguments) -> Result<u64> {
    let [clock_id, flags, ..] = *arguments;
    let (flags, close_on_exec) = descriptor_flags(flags, USUAL_FLAGS)?;
    let clock_id = clock_id as u32;
    let clock = match clock_id {
        sys::CLOCK_REALTIME | sys::CLOCK_REALTIME_ALARM => Clock::Real,
        sys::CLOCK_MONOTONIC | sys::CLOCK_BOOTTIME | sys::CLOCK_BOOTTIME_ALARM => Clock::Monotonic,
        _ => return Err(Errno::INVAL),
    };
    let wakes = matches!(clock_id, sys::CLOCK_REALTIME_ALARM | sys::CLOCK_BOOTTIME_ALARM);
    if wakes && !current().credentials().capable(Capabilities::WAKE_ALARM) {
        return Err(Errno::PERM);
    }
    internal::install(timerfd::create(clock, clock_id, flags)?, close_on_exec)
}

/// `struct itimerspec`: interval, then value.
type RawSetting = [i64; 4];

fn decode_setting([interval_s, interval_ns, value_s, value_ns]: RawSetting) -> Result<Setting> {
    let duration = |seconds: i64, nanoseconds: i64| -> Result<u64> {
        let seconds = u64::try_from(seconds).map_err(|_| Errno::INVAL)?;
        let nanoseconds = u64::try_from(nanoseconds).ok().filter(|ns| *ns < NS_PER_SECOND).ok_or(Errno::INVAL)?;
        Ok(seconds.saturating_mul(NS_PER_SECOND).saturating_add(nanoseconds))
    };
    Ok(Setting { interval_ns: duration(interval_s, interval_ns)?, value_ns: duration(value_s, value_ns)? })
}

fn encode_setting(setting: Setting) -> RawSetting {
    let seconds = |ns: u64| (ns / NS_PER_SECOND) as i64;
    let rest = |ns: u64| (ns % NS_PER_SECOND) as i64;
    [seconds(setting.interval_ns), rest(setting.interval_ns), seconds(setting.value_ns), rest(setting.value_ns)]
}

fn timerfd_settime(arguments: &Arguments) -> Result<u64> {
    let [fd, flags, new, old, ..] = *arguments;
    let known = sys::TFD_TIMER_ABSTIME | sys::TFD_TIMER_CANCEL_ON_SET;
    let raw = UserPointer::<RawSetting>::new(new).read()?;
    let flags = u32::try_from(flags).ok().filter(|flags| flags & !known == 0).ok_or(Errno::INVAL)?;
    let setting = decode_setting(raw)?;
    let file = internal::file_of(fd as i32)?;
    let meaning = Meaning { absolute: flags & sys::TFD_TIMER_ABSTIME != 0, cancel_on_set: flags & sys::TFD_TIMER_CANCEL_ON_SET != 0 };
    let before = timerfd::of(&file)?.set(setting, meaning, flags)?;
    if let Some(old) = UserPointer::<RawSetting>::new(old).non_null() {
        old.write(encode_setting(before))?;
    }
    Ok(0)
}

fn timerfd_gettime(arguments: &Arguments) -> Result<u64> {
    let file = internal::file_of(arguments[0] as i32)?;
    let setting = timerfd::of(&file)?.setting();
    UserPointer::<RawSetting>::new(arguments[1]).write(encode_setting(setting)).map(|()| 0)
}

fn inotify_init(_arguments: &Arguments) -> Result<u64> {
    internal::install(inotify::create(OpenFlags::empty())?, false)
}

fn inotify_init1(arguments: &Arguments) -> Result<u64> {
    let (flags, close_on_exec) = descriptor_flags(arguments[0], USUAL_FLAGS)?;
    internal::install(inotify::create(flags)?, close_on_exec)
}

fn inotify_add_watch(arguments: &Arguments) -> Result<u64> {
    let [fd, name, mask, ..] = *arguments;
    // Unknown bits beside known ones are passed over, as Linux does.
    let mask = Mask::from_bits_truncate(mask as u32);
    if mask.is_empty() || mask.contains(Mask::MASK_ADD | Mask::MASK_CREATE) {
        return Err(Errno::INVAL);
    }
    let file = internal::file_of(fd as i32)?;
    let instance = inotify::of(&file)?;
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, !mask.contains(Mask::DONT_FOLLOW));
    lookup.set(LookupFlags::DIRECTORY, mask.contains(Mask::ONLYDIR));
    let path = walk::lookup(sys::AT_FDCWD, &read_path(name)?, lookup)?;
    let inode = path.inode().ok_or(Errno::NOENT)?;
    permission::check(&inode, &current().credentials(), Access::READ)?;
    instance.add(&inode, mask).map(|descriptor| descriptor as u64)
}

fn inotify_rm_watch(arguments: &Arguments) -> Result<u64> {
    let file = internal::file_of(arguments[0] as i32)?;
    inotify::of(&file)?.remove(arguments[1] as i32).map(|()| 0)
}

fn memfd_create(arguments: &Arguments) -> Result<u64> {
    /// The name's longest length with its NUL: a file name less `memfd:`.
    const NAME_MAX_BYTES: usize = 250;
    let [name, flags, ..] = *arguments;
    let known = sys::MFD_CLOEXEC | sys::MFD_ALLOW_SEALING | sys::MFD_NOEXEC_SEAL | sys::MFD_EXEC;
    // Huge pages are not there: MFD_HUGETLB is a flag that the kernel does not know.
    let flags = u32::try_from(flags).ok().filter(|flags| flags & !known == 0).ok_or(Errno::INVAL)?;
    let no_exec = flags & sys::MFD_NOEXEC_SEAL != 0;
    if no_exec && flags & sys::MFD_EXEC != 0 {
        return Err(Errno::INVAL);
    }
    let name = read_c_string(name, NAME_MAX_BYTES, Errno::INVAL)?;
    let file = memfd::create(&name, flags & sys::MFD_ALLOW_SEALING != 0, no_exec)?;
    internal::install(file, flags & sys::MFD_CLOEXEC != 0)
}
