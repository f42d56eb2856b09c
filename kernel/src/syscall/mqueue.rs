//! System calls: mq_open, mq_unlink, mq_timedsend, mq_timedreceive, mq_notify, mq_getsetattr.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::mqueue::{self, COOKIE_BYTES, Message, Notice, PRIORITIES};
use crate::fs::{OpenFile, OpenFlags, internal, socket};
use crate::mm::UserPointer;
use crate::mm::user::{read_path, write_bytes};
use crate::net::netlink::NetlinkSocket;
use crate::task::Deadline;
use crate::task::signal::Signal;
use crate::time::clock;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use linux_raw_sys::{general as sys, net};

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_mq_open, "mq_open", mq_open),
    Entry(sys::__NR_mq_unlink, "mq_unlink", mq_unlink),
    Entry(sys::__NR_mq_timedsend, "mq_timedsend", mq_timedsend),
    Entry(sys::__NR_mq_timedreceive, "mq_timedreceive", mq_timedreceive),
    Entry(sys::__NR_mq_notify, "mq_notify", mq_notify),
    Entry(sys::__NR_mq_getsetattr, "mq_getsetattr", mq_getsetattr),
];

/// `struct mq_attr`: flags, messages, bytes of a message, messages there are; four reserved.
type RawAttributes = [i64; 8];

fn mq_open(&[name, flags, mode, attributes, ..]: &Arguments) -> Result<u64> {
    let size = match UserPointer::<RawAttributes>::new(attributes).non_null() {
        Some(attributes) => attributes.read().map(|[_, messages, bytes, ..]| Some([messages, bytes]))?,
        None => None,
    };
    let name = read_path(name)?;
    let file = mqueue::open(&name, OpenFlags::from_bits_truncate(flags as u32), mode as u32, size)?;
    internal::install(file, true)
}

fn mq_unlink(&[name, ..]: &Arguments) -> Result<u64> {
    mqueue::unlink(&read_path(name)?).map(|()| 0)
}

/// An optional point of the wall clock.
fn read_deadline(address: u64) -> Result<Option<Deadline>> {
    if address == 0 {
        return Ok(None);
    }
    let time_ns = super::time::read_timespec(address)?;
    Ok(Some(Deadline(clock::realtime_to_monotonic_ns(i128::from(time_ns)))))
}

/// The file of a queue that is open for what is asked of it.
fn file_for(fd: u64, may: fn(OpenFlags) -> bool) -> Result<Arc<OpenFile>> {
    let file = internal::file_of(fd as i32)?;
    mqueue::queue_of(&file)?;
    if may(file.flags()) { Ok(file) } else { Err(Errno::BADF) }
}

fn mq_timedsend(&[fd, bytes, len_bytes, priority, deadline, ..]: &Arguments) -> Result<u64> {
    let priority = priority as u32;
    let deadline = read_deadline(deadline)?;
    if priority >= PRIORITIES {
        return Err(Errno::INVAL);
    }
    let file = file_for(fd, OpenFlags::writable)?;
    let queue = mqueue::queue_of(&file)?;
    let len_bytes = usize::try_from(len_bytes).ok().filter(|len| *len <= queue.size.max_message_bytes).ok_or(Errno::MSGSIZE)?;
    internal::check_memory()?;
    let bytes = UserPointer::<u8>::new(bytes).read_vec(len_bytes)?;
    queue.send(Message { priority, bytes }, file.is_nonblocking(), deadline).map(|()| 0)
}

fn mq_timedreceive(&[fd, buffer, len_bytes, priority, deadline, ..]: &Arguments) -> Result<u64> {
    let deadline = read_deadline(deadline)?;
    let file = file_for(fd, OpenFlags::readable)?;
    let queue = mqueue::queue_of(&file)?;
    if len_bytes < queue.size.max_message_bytes as u64 {
        return Err(Errno::MSGSIZE);
    }
    let message = queue.receive(file.is_nonblocking(), deadline)?;
    if let Some(priority) = UserPointer::<u32>::new(priority).non_null() {
        priority.write(message.priority)?;
    }
    write_bytes(buffer, &message.bytes)?;
    Ok(message.bytes.len() as u64)
}

/// `struct sigevent`: value, signal, how.
fn read_notice(event: u64) -> Result<Notice> {
    let value = UserPointer::<u64>::new(event).read()?;
    let [number, how] = UserPointer::<[u32; 2]>::new(event.wrapping_add(8)).read()?;
    match how {
        sys::SIGEV_NONE => Ok(Notice::Nothing),
        sys::SIGEV_SIGNAL => Ok(Notice::Signal(Signal::new(number)?, value)),
        // The signal's place has a netlink socket, the value's the address of a cookie that is sent to it (mq_notify(3), NOTES).
        sys::SIGEV_THREAD => {
            let cookie: Vec<u8> = UserPointer::new(value).read_vec(COOKIE_BYTES)?;
            let cookie = cookie.try_into().map_err(|_| Errno::FAULT)?;
            let file = internal::file_of(number as i32)?;
            let socket = socket::of(&file)?.clone();
            if socket.domain() != net::AF_NETLINK {
                return Err(Errno::INVAL);
            }
            let socket: Arc<dyn Any + Send + Sync> = socket;
            socket.downcast::<NetlinkSocket>().map(|socket| Notice::Socket(socket, cookie)).map_err(|_| Errno::INVAL)
        }
        _ => Err(Errno::INVAL),
    }
}

fn mq_notify(&[fd, event, ..]: &Arguments) -> Result<u64> {
    let notice = if event == 0 { None } else { Some(read_notice(event)?) };
    let file = internal::file_of(fd as i32)?;
    let queue = mqueue::queue_of(&file)?;
    match notice {
        None => queue.forget_notification(),
        Some(notice) => queue.notify(notice)?,
    }
    Ok(0)
}

fn mq_getsetattr(&[fd, new, old, ..]: &Arguments) -> Result<u64> {
    let nonblocking = i64::from(OpenFlags::NONBLOCK.bits());
    let new = match UserPointer::<RawAttributes>::new(new).non_null() {
        Some(new) => Some(new.read()?[0]),
        None => None,
    };
    if new.is_some_and(|flags| flags & !nonblocking != 0) {
        return Err(Errno::INVAL);
    }
    let file = internal::file_of(fd as i32)?;
    let queue = mqueue::queue_of(&file)?;
    let flags = if file.is_nonblocking() { nonblocking } else { 0 };
    let [messages, bytes] = [queue.size.max_messages, queue.size.max_message_bytes].map(|number| number as i64);
    let before = [flags, messages, bytes, queue.messages() as i64, 0, 0, 0, 0];
    if let Some(flags) = new {
        file.change_flags(OpenFlags::NONBLOCK, if flags == 0 { OpenFlags::empty() } else { OpenFlags::NONBLOCK });
    }
    if let Some(old) = UserPointer::<RawAttributes>::new(old).non_null() {
        old.write(before)?;
    }
    Ok(0)
}
