//! Sockets: what is common to all families, and the seam ([`SocketOps`]) behind which each family stands.
//!
//! `message` is what goes through a socket besides bytes, `options` are the `SOL_SOCKET` options, `unix` is one family; the others are in `net`.

mod body;
pub mod message;
pub mod options;
pub mod unix;

use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable, internal};
use crate::mm::{IoBuffer, UserPointer};
use crate::net::netlink::NetlinkSocket;
use crate::net::{NetworkNamespace, inet, ioctl as net_ioctl};
use crate::task::WaitQueue;
use crate::task::wait_queue::{Deadline, WaitMode};
use alloc::{sync::Arc, vec::Vec};
use core::any::Any;
use linux_raw_sys::ioctl::{FIONREAD, TIOCOUTQ};
use linux_raw_sys::net;

pub use body::Body;
pub use message::{Incoming, MessageFlags, Outgoing};
pub use options::Options;

/// Which directions `shutdown(2)` closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shutdown {
    /// No more receiving.
    pub receive: bool,
    /// No more sending.
    pub send: bool,
}

/// A socket of some family. Addresses are `struct sockaddr` without the family field, which the generic code checks against
/// [`SocketOps::domain`] only where the family asks for it: an address is passed on whole, family included, as bytes.
///
/// Defaults are what Linux answers for a family without the operation.
#[allow(unused_variables)]
pub trait SocketOps: Any + Send + Sync {
    /// `AF_*`.
    fn domain(&self) -> u32;

    /// `SOCK_*`.
    fn socket_type(&self) -> u32;

    /// The protocol, as `SO_PROTOCOL` shows it.
    fn protocol(&self) -> u32 {
        0
    }

    /// The network namespace that it was made in.
    fn network(&self) -> &Arc<NetworkNamespace>;

    /// The generic options.
    fn options(&self) -> &Options;

    /// `bind(2)`.
    fn bind(&self, address: &[u8]) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// `connect(2)`.
    fn connect(&self, address: &[u8], nonblocking: bool) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// `listen(2)`.
    fn listen(&self, backlog: u32) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// `accept(2)`: the connection's own socket.
    fn accept(&self, nonblocking: bool) -> Result<Arc<dyn SocketOps>> {
        Err(Errno::OPNOTSUPP)
    }

    /// `getsockname(2)`.
    fn name(&self) -> Result<Vec<u8>>;

    /// `getpeername(2)`.
    fn peer_name(&self) -> Result<Vec<u8>> {
        Err(Errno::NOTCONN)
    }

    /// The name of the other end of a connection that was just accepted, even if it has gone already.
    fn accepted_name(&self) -> Result<Vec<u8>> {
        self.peer_name()
    }

    /// `shutdown(2)`.
    fn shutdown(&self, how: Shutdown) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// `sendmsg(2)`: bytes sent.
    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        Err(Errno::OPNOTSUPP)
    }

    /// `recvmsg(2)`: bytes received (with `MSG_TRUNC`, the message's whole length).
    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        Err(Errno::OPNOTSUPP)
    }

    /// Readiness.
    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents;

    /// `SO_ERROR`: the pending error, which is cleared.
    fn take_error(&self) -> Option<Errno> {
        None
    }

    /// `SO_ACCEPTCONN`.
    fn is_listening(&self) -> bool {
        false
    }

    /// `SO_PEERCRED`.
    fn peer_credentials(&self) -> Option<message::UserCredentials> {
        None
    }

    /// `SIOCINQ`: bytes to receive.
    fn unread_bytes(&self) -> Result<usize> {
        Err(Errno::NOTTY)
    }

    /// `SIOCOUTQ`: bytes sent but not received yet.
    fn unsent_bytes(&self) -> Result<usize> {
        Err(Errno::NOTTY)
    }

    /// Other ioctls of the family.
    fn ioctl(&self, request: u32, argument: u64) -> Result<usize> {
        Err(Errno::NOTTY)
    }

    /// `getsockopt(2)` at the family's own levels.
    fn get_option(&self, level: u32, name: u32) -> Result<Vec<u8>> {
        Err(Errno::OPNOTSUPP)
    }

    /// `setsockopt(2)` at the family's own levels.
    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// The socket has got its open file, whose inode has this number.
    fn opened(&self, inode_number: u64) {}

    /// The last descriptor is gone.
    fn release(&self) {}
}

/// What the descriptor of a socket refers to.
pub struct SocketFile(Arc<dyn SocketOps>);

impl SocketFile {
    /// The socket.
    pub fn ops(&self) -> &Arc<dyn SocketOps> {
        &self.0
    }
}

/// `socket(2)`. `EAFNOSUPPORT` for families that are not there.
pub fn create(domain: u32, socket_type: u32, protocol: u32) -> Result<Arc<dyn SocketOps>> {
    check_type(domain, socket_type)?;
    match domain {
        net::AF_UNIX => Ok(unix::UnixSocket::create(socket_type, protocol)?),
        net::AF_NETLINK => Ok(NetlinkSocket::create(socket_type, protocol)?),
        net::AF_INET | net::AF_INET6 => inet::create(domain, socket_type, protocol),
        net::AF_PACKET => inet::create_packet(),
        _ => Err(Errno::AFNOSUPPORT),
    }
}

/// `socketpair(2)`.
pub fn create_pair(domain: u32, socket_type: u32, protocol: u32) -> Result<(Arc<dyn SocketOps>, Arc<dyn SocketOps>)> {
    check_type(domain, socket_type)?;
    match domain {
        net::AF_UNIX => {
            let (first, second) = unix::UnixSocket::create_pair(socket_type, protocol)?;
            Ok((first, second))
        }
        // The families that are there but have no pairs.
        net::AF_NETLINK | net::AF_INET | net::AF_INET6 => create(domain, socket_type, protocol).and(Err(Errno::OPNOTSUPP)),
        _ => Err(Errno::AFNOSUPPORT),
    }
}

fn check_type(domain: u32, socket_type: u32) -> Result<()> {
    /// `SOCK_PACKET` is the last (`socket(2)`).
    const LAST_TYPE: u32 = 10;
    if domain >= net::AF_MAX {
        return Err(Errno::AFNOSUPPORT);
    }
    if socket_type > LAST_TYPE { Err(Errno::INVAL) } else { Ok(()) }
}

/// An open file for a socket; `flags` may have `O_NONBLOCK`.
pub fn open(socket: Arc<dyn SocketOps>, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    let file = internal::socket_file(Arc::new(SocketFile(socket.clone())), flags | OpenFlags::RDWR)?;
    socket.opened(file.inode.number);
    Ok(file)
}

/// The socket behind an open file; `ENOTSOCK` if it is none.
pub fn of(file: &OpenFile) -> Result<&Arc<dyn SocketOps>> {
    file.downcast::<SocketFile>().map(SocketFile::ops).ok_or(Errno::NOTSOCK)
}

/// Waits on a socket: `EAGAIN` when it may not block or `timeout_ns` (`SO_RCVTIMEO`, `SO_SNDTIMEO`) passes. With a timeout an interrupted
/// wait is not restarted (`signal(7)`).
pub fn wait_for<T>(queue: &WaitQueue, nonblocking: bool, timeout: Option<Deadline>, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
    if let Some(value) = ready() {
        return Ok(value);
    }
    if nonblocking {
        return Err(Errno::AGAIN);
    }
    queue.wait_until(WaitMode::INTERRUPTIBLE.until(timeout), ready).map_err(|error| match error {
        Errno::TIMEDOUT => Errno::AGAIN,
        error if timeout.is_some() => crate::task::wait_queue::interrupted(error),
        error => error,
    })
}

impl FileOps for SocketFile {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        if buffer.remaining() == 0 {
            return Ok(0);
        }
        let flags = if file.is_nonblocking() { MessageFlags::DONTWAIT } else { MessageFlags::empty() };
        self.0.receive(&mut Incoming::new(buffer, flags))
    }

    fn write(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        let flags = if file.is_nonblocking() { MessageFlags::DONTWAIT } else { MessageFlags::empty() };
        self.0.send(&mut Outgoing::new(buffer, flags))
    }

    fn seekable(&self) -> bool {
        false
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        self.0.poll(table)
    }

    fn ioctl(&self, _file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        // SIOCINQ and SIOCOUTQ are these two by other names (unix(7)).
        let bytes = match request {
            FIONREAD => self.0.unread_bytes()?,
            TIOCOUTQ => self.0.unsent_bytes()?,
            _ => {
                return match self.0.ioctl(request, argument) {
                    Err(Errno::NOTTY) => net_ioctl::device_request(self.0.network(), self.0.domain() == net::AF_INET, request, argument),
                    result => result,
                };
            }
        };
        UserPointer::<i32>::new(argument).write(i32::try_from(bytes).unwrap_or(i32::MAX)).map(|()| 0)
    }

    fn release(&self, _file: &OpenFile) {
        self.0.release();
    }
}
