//! System calls: sockets.

use super::poll::deadline_of;
use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::socket::{self, Incoming, MessageFlags, Outgoing, Shutdown, SocketOps};
use crate::fs::{OpenFile, OpenFlags, internal};
use crate::mm::user::{read_bytes, write_bytes};
use crate::mm::{IoBuffer, UserPointer};
use crate::task::current;
use crate::time::clock;
use alloc::{sync::Arc, vec, vec::Vec};
use linux_raw_sys::general as sys;
use linux_raw_sys::net;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_socket, "socket", socket),
    Entry(sys::__NR_socketpair, "socketpair", socketpair),
    Entry(sys::__NR_bind, "bind", bind),
    Entry(sys::__NR_connect, "connect", connect),
    Entry(sys::__NR_listen, "listen", listen),
    Entry(sys::__NR_accept, "accept", accept),
    Entry(sys::__NR_accept4, "accept4", accept4),
    Entry(sys::__NR_getsockname, "getsockname", getsockname),
    Entry(sys::__NR_getpeername, "getpeername", getpeername),
    Entry(sys::__NR_shutdown, "shutdown", shutdown),
    Entry(sys::__NR_sendto, "sendto", sendto),
    Entry(sys::__NR_recvfrom, "recvfrom", recvfrom),
    Entry(sys::__NR_sendmsg, "sendmsg", sendmsg),
    Entry(sys::__NR_recvmsg, "recvmsg", recvmsg),
    Entry(sys::__NR_sendmmsg, "sendmmsg", sendmmsg),
    Entry(sys::__NR_recvmmsg, "recvmmsg", recvmmsg),
    Entry(sys::__NR_getsockopt, "getsockopt", getsockopt),
    Entry(sys::__NR_setsockopt, "setsockopt", setsockopt),
];

/// Bytes of `struct sockaddr_storage`.
const ADDRESS_MAX_BYTES: usize = 128;
/// Bytes that one call moves at most (`read(2)`).
const TRANSFER_MAX_BYTES: usize = 0x7fff_f000;
/// `/proc/sys/net/core/optmem_max`: control data that one message may have.
const CONTROL_MAX_BYTES: usize = 20480;
/// Messages that one `sendmmsg` or `recvmmsg` moves at most.
const MESSAGES_MAX: usize = 1024;
/// `recvmmsg(2)`: wait for the first message only. Not in linux-raw-sys.
const MSG_WAITFORONE: u32 = 0x10000;

/// Splits the type argument of `socket(2)`: `SOCK_CLOEXEC` and `SOCK_NONBLOCK` are the `O_*` bits.
fn split_type(argument: u64) -> Result<(u32, OpenFlags)> {
    const TYPE_MASK: u32 = 0xf;
    let allowed = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK;
    let flags = OpenFlags::from_bits_retain(argument as u32 & !TYPE_MASK);
    if !allowed.contains(flags) {
        return Err(Errno::INVAL);
    }
    Ok((argument as u32 & TYPE_MASK, flags))
}

fn install(socket: Arc<dyn SocketOps>, flags: OpenFlags) -> Result<u64> {
    internal::install(socket::open(socket, flags & OpenFlags::NONBLOCK)?, flags.contains(OpenFlags::CLOEXEC))
}

fn socket(arguments: &Arguments) -> Result<u64> {
    let [domain, socket_type, protocol, ..] = *arguments;
    let (socket_type, flags) = split_type(socket_type)?;
    install(socket::create(domain as u32, socket_type, protocol as u32)?, flags)
}

fn socketpair(arguments: &Arguments) -> Result<u64> {
    let [domain, socket_type, protocol, numbers, ..] = *arguments;
    let (socket_type, flags) = split_type(socket_type)?;
    let (first, second) = socket::create_pair(domain as u32, socket_type, protocol as u32)?;
    let status = flags & OpenFlags::NONBLOCK;
    let (first, second) = (socket::open(first, status)?, socket::open(second, status)?);
    let (first_fd, second_fd) = internal::install_pair(first, second, flags.contains(OpenFlags::CLOEXEC))?;
    if let Err(error) = UserPointer::<[i32; 2]>::new(numbers).write([first_fd, second_fd]) {
        let files = current().files();
        drop((files.remove(first_fd), files.remove(second_fd)));
        return Err(error);
    }
    Ok(0)
}

/// The open file of a socket's descriptor, seen to be one.
fn socket_file(fd: u64) -> Result<Arc<OpenFile>> {
    let file = internal::file_of(fd as i32)?;
    socket::of(&file)?;
    Ok(file)
}

/// Reads a `struct sockaddr`.
fn read_address(address: u64, len_bytes: u64) -> Result<Vec<u8>> {
    let len_bytes = usize::try_from(len_bytes as i32).ok().filter(|len| *len <= ADDRESS_MAX_BYTES).ok_or(Errno::INVAL)?;
    let mut bytes = vec![0; len_bytes];
    read_bytes(address, &mut bytes)?;
    Ok(bytes)
}

/// Writes a `struct sockaddr` as far as there is room, and its whole length to `len_pointer`.
fn write_address(bytes: &[u8], address: u64, len_pointer: UserPointer<i32>) -> Result<()> {
    let room = usize::try_from(len_pointer.read()?).map_err(|_| Errno::INVAL)?;
    write_bytes(address, &bytes[..room.min(bytes.len())])?;
    len_pointer.write(bytes.len() as i32)
}

fn bind(arguments: &Arguments) -> Result<u64> {
    let file = socket_file(arguments[0])?;
    let address = read_address(arguments[1], arguments[2])?;
    socket::of(&file)?.bind(&address).map(|()| 0)
}

fn connect(arguments: &Arguments) -> Result<u64> {
    let file = socket_file(arguments[0])?;
    let address = read_address(arguments[1], arguments[2])?;
    socket::of(&file)?.connect(&address, file.is_nonblocking()).map(|()| 0)
}

fn listen(arguments: &Arguments) -> Result<u64> {
    let file = socket_file(arguments[0])?;
    socket::of(&file)?.listen(arguments[1] as u32).map(|()| 0)
}

fn accept(arguments: &Arguments) -> Result<u64> {
    let [fd, address, len_pointer, ..] = *arguments;
    accept_with(fd, address, len_pointer, OpenFlags::empty())
}

fn accept4(arguments: &Arguments) -> Result<u64> {
    let [fd, address, len_pointer, flags, ..] = *arguments;
    let allowed = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK;
    let flags = OpenFlags::from_bits(flags as u32).filter(|flags| allowed.contains(*flags)).ok_or(Errno::INVAL)?;
    accept_with(fd, address, len_pointer, flags)
}

fn accept_with(fd: u64, address: u64, len_pointer: u64, flags: OpenFlags) -> Result<u64> {
    let file = socket_file(fd)?;
    internal::check_room()?;
    let connection = socket::of(&file)?.accept(file.is_nonblocking())?;
    // Made at once, so that a failure closes the connection.
    let opened = socket::open(connection.clone(), flags & OpenFlags::NONBLOCK)?;
    if address != 0 {
        write_address(&connection.accepted_name().map_err(|_| Errno::CONNABORTED)?, address, UserPointer::new(len_pointer))?;
    }
    internal::install(opened, flags.contains(OpenFlags::CLOEXEC))
}

fn getsockname(arguments: &Arguments) -> Result<u64> {
    let file = socket_file(arguments[0])?;
    write_address(&socket::of(&file)?.name()?, arguments[1], UserPointer::new(arguments[2])).map(|()| 0)
}

fn getpeername(arguments: &Arguments) -> Result<u64> {
    let file = socket_file(arguments[0])?;
    write_address(&socket::of(&file)?.peer_name()?, arguments[1], UserPointer::new(arguments[2])).map(|()| 0)
}

fn shutdown(arguments: &Arguments) -> Result<u64> {
    let file = socket_file(arguments[0])?;
    let how = match arguments[1] as u32 {
        net::SHUT_RD => Shutdown { receive: true, send: false },
        net::SHUT_WR => Shutdown { receive: false, send: true },
        net::SHUT_RDWR => Shutdown { receive: true, send: true },
        _ => return Err(Errno::INVAL),
    };
    socket::of(&file)?.shutdown(how).map(|()| 0)
}

/// The flags of a call, with the file's `O_NONBLOCK`.
fn message_flags(file: &OpenFile, flags: u32) -> MessageFlags {
    let flags = MessageFlags::from_bits_retain(flags);
    if file.is_nonblocking() { flags | MessageFlags::DONTWAIT } else { flags }
}

/// One segment, checked: `EFAULT` outside of user memory.
fn segment(address: u64, len_bytes: usize) -> Result<(u64, usize)> {
    let end = address.checked_add(len_bytes as u64).ok_or(Errno::FAULT)?;
    // `access_ok` of Linux 6.6 looks at the sign bit only; what else cannot be reached, the copy finds.
    if end > i64::MAX as u64 { Err(Errno::FAULT) } else { Ok((address, len_bytes)) }
}

/// Reads an array of `struct iovec`: `EMSGSIZE` for too many, `EINVAL` for negative lengths. What passes the most that one call moves is cut.
pub(super) fn read_segments(array: u64, count: u64) -> Result<Vec<(u64, usize)>> {
    let count = usize::try_from(count).ok().filter(|count| *count <= sys::UIO_MAXIOV as usize).ok_or(Errno::MSGSIZE)?;
    let mut left = TRANSFER_MAX_BYTES;
    let raw = UserPointer::<[u64; 2]>::new(array).read_vec(count)?;
    raw.into_iter()
        .map(|[address, len_bytes]| {
            let len_bytes = isize::try_from(len_bytes).map_err(|_| Errno::INVAL)?;
            let len_bytes = usize::try_from(len_bytes).map_err(|_| Errno::INVAL)?.min(left);
            left -= len_bytes;
            segment(address, len_bytes)
        })
        .collect()
}

fn sendto(arguments: &Arguments) -> Result<u64> {
    let [fd, buffer, len_bytes, flags, address, address_len_bytes] = *arguments;
    let segments = [segment(buffer, (len_bytes as usize).min(TRANSFER_MAX_BYTES))?];
    let file = socket_file(fd)?;
    let to = if address == 0 { None } else { Some(read_address(address, address_len_bytes)?) };
    let mut data = IoBuffer::user(&segments);
    let mut message = Outgoing::new(&mut data, message_flags(&file, flags as u32));
    message.address = to.as_deref();
    socket::of(&file)?.send(&mut message).map(|sent| sent as u64)
}

fn recvfrom(arguments: &Arguments) -> Result<u64> {
    let [fd, buffer, len_bytes, flags, address, address_len_pointer] = *arguments;
    let segments = [segment(buffer, (len_bytes as usize).min(TRANSFER_MAX_BYTES))?];
    let file = socket_file(fd)?;
    let mut data = IoBuffer::user(&segments);
    let mut message = Incoming::new(&mut data, message_flags(&file, flags as u32));
    let received = socket::of(&file)?.receive(&mut message)?;
    if address != 0 {
        write_address(&message.address, address, UserPointer::new(address_len_pointer))?;
    }
    Ok(received as u64)
}

/// `struct msghdr` as it lies in memory, in words.
struct Header {
    name: u64,
    name_len_bytes: i32,
    segments: u64,
    segment_count: u64,
    control: u64,
    control_len_bytes: u64,
}

/// Words of `struct msghdr` and of `struct mmsghdr`, and where the fields are that a receive writes.
const HEADER_BYTES: u64 = 56;
const MULTIPLE_HEADER_BYTES: u64 = 64;
const NAME_LEN_OFFSET: u64 = 8;
const CONTROL_LEN_OFFSET: u64 = 40;
const FLAGS_OFFSET: u64 = 48;

impl Header {
    fn read(address: u64) -> Result<Self> {
        let [name, name_len_bytes, segments, segment_count, control, control_len_bytes, _] =
            UserPointer::<[u64; 7]>::new(address).read()?;
        let name_len_bytes = if name == 0 { 0 } else { name_len_bytes as i32 };
        if name_len_bytes < 0 {
            return Err(Errno::INVAL);
        }
        Ok(Self { name, name_len_bytes, segments, segment_count, control, control_len_bytes })
    }
}

fn send_message(file: &OpenFile, address: u64, flags: u32) -> Result<u64> {
    let header = Header::read(address)?;
    let name_len_bytes = (header.name_len_bytes as usize).min(ADDRESS_MAX_BYTES);
    let to = if name_len_bytes == 0 { None } else { Some(read_address(header.name, name_len_bytes as u64)?) };
    let segments = read_segments(header.segments, header.segment_count)?;
    let control_len_bytes = usize::try_from(header.control_len_bytes).ok().filter(|len| *len <= CONTROL_MAX_BYTES).ok_or(Errno::NOBUFS)?;
    let mut control = vec![0; control_len_bytes];
    read_bytes(header.control, &mut control)?;
    let mut data = IoBuffer::user(&segments);
    let mut message = Outgoing::new(&mut data, message_flags(file, flags));
    message.address = to.as_deref();
    message.take_control(&control)?;
    socket::of(file)?.send(&mut message).map(|sent| sent as u64)
}

fn receive_message(file: &OpenFile, address: u64, flags: u32) -> Result<u64> {
    let header = Header::read(address)?;
    let segments = read_segments(header.segments, header.segment_count)?;
    let mut data = IoBuffer::user(&segments);
    let mut message = Incoming::new(&mut data, message_flags(file, flags));
    let received = socket::of(file)?.receive(&mut message)?;
    let room = usize::try_from(header.control_len_bytes).unwrap_or(usize::MAX);
    let control = message.put_control(if header.control == 0 { 0 } else { room });
    if header.name != 0 {
        let name_len = UserPointer::<i32>::new(address.wrapping_add(NAME_LEN_OFFSET));
        write_address(&message.address, header.name, name_len)?;
    }
    let mut out_flags = message.out_flags;
    out_flags |= MessageFlags::from_bits_retain(flags) & MessageFlags::CMSG_CLOEXEC;
    UserPointer::<u32>::new(address.wrapping_add(FLAGS_OFFSET)).write(out_flags.bits())?;
    write_bytes(header.control, &control)?;
    UserPointer::<u64>::new(address.wrapping_add(CONTROL_LEN_OFFSET)).write(control.len() as u64)?;
    Ok(received as u64)
}

fn sendmsg(arguments: &Arguments) -> Result<u64> {
    let file = socket_file(arguments[0])?;
    send_message(&file, arguments[1], arguments[2] as u32)
}

fn recvmsg(arguments: &Arguments) -> Result<u64> {
    let file = socket_file(arguments[0])?;
    receive_message(&file, arguments[1], arguments[2] as u32)
}

/// Moves messages one by one until one fails; the failure is told only if it is the first's.
fn each_message(array: u64, count: u64, mut one: impl FnMut(u64, usize) -> Result<u64>) -> Result<u64> {
    let count = usize::try_from(count as u32).map_or(MESSAGES_MAX, |count| count.min(MESSAGES_MAX));
    for index in 0..count {
        let header = array.wrapping_add(index as u64 * MULTIPLE_HEADER_BYTES);
        let moved = one(header, index).and_then(|moved| UserPointer::<u32>::new(header.wrapping_add(HEADER_BYTES)).write(moved as u32));
        match moved {
            Ok(()) => {}
            Err(Errno::TIME) => return Ok(index as u64),
            Err(error) if index == 0 => return Err(error),
            Err(_) => return Ok(index as u64),
        }
    }
    Ok(count as u64)
}

fn sendmmsg(arguments: &Arguments) -> Result<u64> {
    let [fd, array, count, flags, ..] = *arguments;
    let file = socket_file(fd)?;
    each_message(array, count, |header, _| send_message(&file, header, flags as u32))
}

fn recvmmsg(arguments: &Arguments) -> Result<u64> {
    let [fd, array, count, flags, timeout, _] = *arguments;
    let deadline = deadline_of(UserPointer::new(timeout))?;
    let file = socket_file(fd)?;
    let mut flags = flags as u32;
    let wait_for_one = flags & MSG_WAITFORONE != 0;
    flags &= !MSG_WAITFORONE;
    each_message(array, count, |header, index| {
        // The timeout is looked at only between messages (recvmmsg(2), BUGS).
        if index > 0 && deadline.is_some_and(|deadline| deadline.0 <= clock::monotonic_ns()) {
            return Err(Errno::TIME);
        }
        let received = receive_message(&file, header, flags)?;
        if wait_for_one {
            flags |= net::MSG_DONTWAIT;
        }
        Ok(received)
    })
}

fn getsockopt(arguments: &Arguments) -> Result<u64> {
    let [fd, level, name, value, len_pointer, _] = *arguments;
    let file = socket_file(fd)?;
    let ops = socket::of(&file)?;
    let len_pointer = UserPointer::<i32>::new(len_pointer);
    let room = usize::try_from(len_pointer.read()?).map_err(|_| Errno::INVAL)?;
    let bytes = match level as u32 {
        net::SOL_SOCKET => socket::options::get(&**ops, name as u32)?,
        level => ops.get_option(level, name as u32)?,
    };
    let shown = &bytes[..room.min(bytes.len())];
    write_bytes(value, shown)?;
    len_pointer.write(shown.len() as i32).map(|()| 0)
}

fn setsockopt(arguments: &Arguments) -> Result<u64> {
    /// No option that there is takes more.
    const VALUE_MAX_BYTES: usize = 4096;
    let [fd, level, name, value, len_bytes, _] = *arguments;
    let len_bytes = usize::try_from(len_bytes as i32).map_err(|_| Errno::INVAL)?;
    let file = socket_file(fd)?;
    let ops = socket::of(&file)?;
    let mut bytes = vec![0; len_bytes.min(VALUE_MAX_BYTES)];
    read_bytes(value, &mut bytes)?;
    match level as u32 {
        net::SOL_SOCKET => socket::options::set(&**ops, name as u32, &bytes)?,
        level => ops.set_option(level, name as u32, &bytes)?,
    }
    Ok(0)
}
