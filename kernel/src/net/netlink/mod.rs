//! Netlink sockets (`netlink(7)`).
//!
//! A socket owns its receive queue. The kernel answers a request while it is being sent; what comes of it lies in the queue when `send`
//! returns. `wire` is how messages look, `request` how requests are taken apart and acknowledged, `ports` who is bound to what and who
//! listens, `options` the `SOL_NETLINK` options; `route` answers `NETLINK_ROUTE` (`rtnetlink(7)`), `generic` `NETLINK_GENERIC`.

mod generic;
mod options;
mod ports;
mod request;
mod route;
mod wire;

use super::NetworkNamespace;
use crate::errno::{Errno, Result};
use crate::fs::socket::message::UserCredentials;
use crate::fs::socket::{Incoming, MessageFlags, Options, Outgoing, SocketOps, wait_for};
use crate::fs::{PollEvents, PollTable, internal};
use crate::sync::SpinLock;
use crate::task::{Capabilities, Credentials, WaitQueue, current};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::{vec, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::{net, netlink};
pub use ports::{Ports, list};
pub use route::{set_hardware_address, set_mtu, tell};

/// Bytes of `struct sockaddr_nl`.
const ADDRESS_BYTES: usize = size_of::<netlink::sockaddr_nl>();
/// What a queued datagram counts for beside its bytes.
const OVERHEAD_BYTES: usize = 512;
/// What a datagram must leave free of the send buffer.
const RESERVE_BYTES: usize = 32;

/// What is particular about a protocol.
struct Protocol {
    number: u32,
    /// How many multicast groups there are.
    groups: u32,
    /// Everybody may join groups.
    open_to_listeners: bool,
    /// Everybody may send to other sockets.
    open_to_senders: bool,
}

/// Those that there are; the others are `EPROTONOSUPPORT`.
static PROTOCOLS: [Protocol; 5] = [
    Protocol { number: netlink::NETLINK_ROUTE, groups: 40, open_to_listeners: true, open_to_senders: false },
    Protocol { number: netlink::NETLINK_USERSOCK, groups: 32, open_to_listeners: false, open_to_senders: true },
    Protocol { number: netlink::NETLINK_SOCK_DIAG, groups: 32, open_to_listeners: true, open_to_senders: false },
    Protocol { number: netlink::NETLINK_KOBJECT_UEVENT, groups: 32, open_to_listeners: true, open_to_senders: false },
    Protocol { number: netlink::NETLINK_GENERIC, groups: 32, open_to_listeners: true, open_to_senders: false },
];

/// A socket.
pub struct NetlinkSocket {
    network: Arc<NetworkNamespace>,
    protocol: &'static Protocol,
    socket_type: u32,
    options: Options,
    /// Who opened it: privileges are asked of this one, too.
    opener: Arc<Credentials>,
    state: SpinLock<State>,
    readable: Arc<WaitQueue>,
    /// Of its open file; 0 while it has none.
    inode_number: AtomicU64,
}

#[derive(Default)]
struct State {
    port: Option<u32>,
    /// Bit n - 1 is group n.
    groups: u64,
    destination_port: u32,
    destination_groups: u32,
    queue: VecDeque<Arc<Datagram>>,
    queued_bytes: usize,
    /// What is left of a dump: it goes on as the queue is read.
    dump: VecDeque<Vec<u8>>,
    error: Option<Errno>,
    /// Datagrams that found no room.
    drops: u32,
    switches: options::Switches,
    dead: bool,
}

/// What lies in a queue.
struct Datagram {
    bytes: Vec<u8>,
    sender_port: u32,
    /// The group that it was sent to; 0 for none.
    group: u32,
    /// `None`: the kernel.
    credentials: Option<UserCredentials>,
}

impl Datagram {
    fn cost_bytes(&self) -> usize {
        self.bytes.len() + OVERHEAD_BYTES
    }
}

impl NetlinkSocket {
    /// `ESOCKTNOSUPPORT` and `EPROTONOSUPPORT` for what there is not.
    pub fn create(socket_type: u32, protocol: u32) -> Result<Arc<Self>> {
        if !matches!(socket_type, net::SOCK_RAW | net::SOCK_DGRAM) {
            return Err(Errno::SOCKTNOSUPPORT);
        }
        let protocol = PROTOCOLS.iter().find(|known| known.number == protocol).ok_or(Errno::PROTONOSUPPORT)?;
        let socket = Arc::new(Self {
            network: super::current(),
            protocol,
            socket_type,
            options: Options::default(),
            opener: current().credentials(),
            state: SpinLock::new(State::default()),
            readable: Arc::new(WaitQueue::new()),
            inode_number: AtomicU64::new(0),
        });
        socket.network.netlink.note(&socket);
        Ok(socket)
    }

    /// The port id, 0 while it has none.
    fn port(&self) -> u32 {
        self.state.lock().port.unwrap_or(0)
    }

    /// Whether it may do what is open to everybody for some protocols, and to whoever administers the network for all.
    fn require(&self, is_open: bool) -> Result<()> {
        if is_open { Ok(()) } else { self.network.require(Capabilities::NET_ADMIN) }
    }

    /// Takes a port id if it has none: the process' number, or else one of the upper half.
    fn bind_automatically(&self) -> Result<()> {
        if self.state.lock().port.is_some() {
            return Ok(());
        }
        self.network.netlink.bind_automatically(self, current().process.id.number())
    }

    /// `CAP_ACK` and `EXT_ACK`.
    fn acknowledgement_options(&self) -> (bool, bool) {
        let state = self.state.lock();
        (state.switches.contains(options::Switches::CAP_ACK), state.switches.contains(options::Switches::EXT_ACK))
    }

    /// Puts a datagram into the queue, unless it is full: then it is lost, and the next receive tells.
    fn enqueue(&self, datagram: Arc<Datagram>) -> Result<()> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(Errno::CONNREFUSED);
        }
        if state.queued_bytes + datagram.cost_bytes() > self.options.receive_buffer_bytes() && !state.queue.is_empty() {
            state.drops += 1;
            if !state.switches.contains(options::Switches::NO_ENOBUFS) {
                state.error = Some(Errno::NOBUFS);
            }
            drop(state);
            self.readable.wake_all();
            return Err(Errno::AGAIN);
        }
        state.queued_bytes += datagram.cost_bytes();
        state.queue.push_back(datagram);
        drop(state);
        self.readable.wake_all();
        Ok(())
    }

    /// Puts a datagram of the kernel into the queue.
    pub fn receive_from_kernel(&self, bytes: Vec<u8>, group: u32) {
        // One that is lost is told by ENOBUFS at the next receive.
        let _ = self.enqueue(Arc::new(Datagram { bytes, sender_port: 0, group, credentials: None }));
    }

    /// `EBUSY` while another dump is not read to its end.
    fn begin_dump(&self, datagrams: Vec<Vec<u8>>) -> Result<()> {
        let mut state = self.state.lock();
        if !state.dump.is_empty() {
            return Err(Errno::BUSY);
        }
        state.dump = datagrams.into();
        drop(state);
        self.continue_dump();
        Ok(())
    }

    /// Moves the next part of a dump into the queue, if that has been read empty.
    fn continue_dump(&self) {
        let next = {
            let mut state = self.state.lock();
            if state.queue.is_empty() { state.dump.pop_front() } else { None }
        };
        if let Some(bytes) = next {
            self.receive_from_kernel(bytes, 0);
        }
    }

    /// The destination of a send: port and group.
    fn destination(&self, address: Option<&[u8]>) -> Result<(u32, u32)> {
        let (port, groups) = match address {
            Some(address) => {
                let (port, groups) = decode(address)?;
                if port != 0 || groups != 0 {
                    self.require(self.protocol.open_to_senders)?;
                }
                (port, groups)
            }
            None => {
                let state = self.state.lock();
                (state.destination_port, state.destination_groups)
            }
        };
        // The lowest group alone counts.
        Ok((port, if groups == 0 { 0 } else { groups.trailing_zeros() + 1 }))
    }

    fn take_message(&self, message: &mut Outgoing<'_, '_>) -> Result<Vec<u8>> {
        let len_bytes = message.data.remaining();
        if len_bytes > self.options.send_buffer_bytes().saturating_sub(RESERVE_BYTES) {
            return Err(Errno::MSGSIZE);
        }
        internal::check_memory().map_err(|_| Errno::NOBUFS)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len_bytes).map_err(|_| Errno::NOBUFS)?;
        bytes.resize(len_bytes, 0);
        if message.data.take(&mut bytes)? == len_bytes { Ok(bytes) } else { Err(Errno::FAULT) }
    }

    fn send_to_kernel(&self, bytes: &[u8]) -> Result<()> {
        match self.protocol.number {
            netlink::NETLINK_ROUTE => request::process(self, bytes, route::handle),
            netlink::NETLINK_GENERIC => request::process(self, bytes, generic::handle),
            netlink::NETLINK_SOCK_DIAG => request::process(self, bytes, diagnose),
            // Events of programs: there is nobody in the kernel who would pass them on.
            netlink::NETLINK_KOBJECT_UEVENT => {}
            _ => return Err(Errno::CONNREFUSED),
        }
        Ok(())
    }

    /// The datagram that is to be received, waiting for it.
    fn next_datagram(&self, flags: MessageFlags) -> Result<Arc<Datagram>> {
        let nonblocking = flags.contains(MessageFlags::DONTWAIT);
        let peek = flags.contains(MessageFlags::PEEK);
        wait_for(&self.readable, nonblocking, self.options.receive_deadline(), || {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Some(Err(error));
            }
            if peek {
                return state.queue.front().cloned().map(Ok);
            }
            let datagram = state.queue.pop_front()?;
            state.queued_bytes -= datagram.cost_bytes();
            Some(Ok(datagram))
        })?
    }
}

/// `NETLINK_SOCK_DIAG` (`sock_diag(7)`): `ENOENT`, because no family has a handler. Programs then read `/proc/net`.
fn diagnose(request: &request::Request<'_>) -> request::Handled {
    const BY_FAMILY: u16 = 20;
    let errno = match request.header.kind {
        BY_FAMILY if request.payload.len() < 2 || u32::from(request.byte(0)) >= net::AF_MAX => Errno::INVAL,
        BY_FAMILY => Errno::NOENT,
        // The older requests, TCPDIAG_GETSOCK and DCCPDIAG_GETSOCK.
        18 | 19 => Errno::OPNOTSUPP,
        _ => Errno::INVAL,
    };
    Err(errno.into())
}

/// `struct sockaddr_nl`: port and groups. `EINVAL` for anything else.
fn decode(address: &[u8]) -> Result<(u32, u32)> {
    let address: &[u8; ADDRESS_BYTES] = address.first_chunk().ok_or(Errno::INVAL)?;
    let [family_low, family_high, _, _, port @ .., _, _, _, _] = *address;
    let [_, _, _, _, _, _, _, _, groups @ ..] = *address;
    if u32::from(u16::from_ne_bytes([family_low, family_high])) != net::AF_NETLINK {
        return Err(Errno::INVAL);
    }
    Ok((u32::from_ne_bytes(port), u32::from_ne_bytes(groups)))
}

fn encode(port: u32, groups: u32) -> Vec<u8> {
    let family = (net::AF_NETLINK as u16).to_ne_bytes();
    [&family[..], &[0; 2], &port.to_ne_bytes(), &groups.to_ne_bytes()].concat()
}

impl SocketOps for NetlinkSocket {
    fn domain(&self) -> u32 {
        net::AF_NETLINK
    }

    fn socket_type(&self) -> u32 {
        self.socket_type
    }

    fn protocol(&self) -> u32 {
        self.protocol.number
    }

    fn options(&self) -> &Options {
        &self.options
    }

    fn network(&self) -> &Arc<NetworkNamespace> {
        &self.network
    }

    fn bind(&self, address: &[u8]) -> Result<()> {
        let (port, groups) = decode(address)?;
        if groups != 0 {
            self.require(self.protocol.open_to_listeners)?;
        }
        let bound = self.state.lock().port;
        match bound {
            Some(bound) if bound != port => return Err(Errno::INVAL),
            Some(_) => {}
            None if port == 0 => self.bind_automatically()?,
            None => self.network.netlink.bind(self, port)?,
        }
        let mut state = self.state.lock();
        state.groups = (state.groups & !u64::from(u32::MAX)) | u64::from(groups);
        Ok(())
    }

    fn connect(&self, address: &[u8], _nonblocking: bool) -> Result<()> {
        let family = address.first_chunk().map(|family| u32::from(u16::from_ne_bytes(*family))).ok_or(Errno::INVAL)?;
        let (port, groups) = if family == net::AF_UNSPEC { (0, 0) } else { decode(address)? };
        if port != 0 || groups != 0 {
            self.require(self.protocol.open_to_senders)?;
        }
        if family != net::AF_UNSPEC {
            self.bind_automatically()?;
        }
        let mut state = self.state.lock();
        (state.destination_port, state.destination_groups) = (port, groups);
        Ok(())
    }

    fn name(&self) -> Result<Vec<u8>> {
        let state = self.state.lock();
        Ok(encode(state.port.unwrap_or(0), state.groups as u32))
    }

    fn peer_name(&self) -> Result<Vec<u8>> {
        let state = self.state.lock();
        Ok(encode(state.destination_port, state.destination_groups))
    }

    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        if message.data.remaining() == 0 {
            return Err(Errno::NODATA);
        }
        let (port, group) = self.destination(message.address)?;
        self.bind_automatically()?;
        let bytes = self.take_message(message)?;
        let len_bytes = bytes.len();
        if port == 0 && group == 0 {
            self.send_to_kernel(&bytes)?;
            return Ok(len_bytes);
        }
        let credentials = Some(message.credentials.clone().unwrap_or_else(UserCredentials::of_current));
        let datagram =
            |group| Arc::new(Datagram { bytes: bytes.clone(), sender_port: self.port(), group, credentials: credentials.clone() });
        if group != 0 {
            let datagram = datagram(group);
            for listener in self.network.netlink.listeners(self.protocol.number, group) {
                if !core::ptr::eq(&*listener, self) {
                    // One whose queue is full is told so itself.
                    let _ = listener.enqueue(datagram.clone());
                }
            }
        }
        match self.network.netlink.find(self.protocol.number, port) {
            _ if port == 0 => self.send_to_kernel(&bytes)?,
            Some(other) => other.enqueue(datagram(0))?,
            None => return Err(Errno::CONNREFUSED),
        }
        Ok(len_bytes)
    }

    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        let datagram = self.next_datagram(message.flags)?;
        let len_bytes = datagram.bytes.len();
        let copied = if message.data.remaining() == 0 { 0 } else { message.data.put(&datagram.bytes)? };
        if copied < len_bytes {
            message.out_flags |= MessageFlags::TRUNC;
        }
        let group_mask = if datagram.group == 0 { 0 } else { 1_u32.checked_shl(datagram.group - 1).unwrap_or(0) };
        message.address = encode(datagram.sender_port, group_mask);
        if self.options.passes_credentials() {
            message.credentials = Some(datagram.credentials.clone().unwrap_or(UserCredentials { process: None, uid: 0, gid: 0 }));
        }
        if self.state.lock().switches.contains(options::Switches::PKTINFO) {
            message.add_control(options::LEVEL, netlink::NETLINK_PKTINFO, datagram.group.to_ne_bytes().to_vec());
        }
        if !message.flags.contains(MessageFlags::PEEK) {
            self.continue_dump();
        }
        Ok(if message.flags.contains(MessageFlags::TRUNC) { len_bytes } else { copied })
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.readable);
        let state = self.state.lock();
        let mut events = PollEvents::WRITABLE | PollEvents::WRBAND;
        events.set(PollEvents::READABLE, !state.queue.is_empty());
        events.set(PollEvents::ERR, state.error.is_some());
        events
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn get_option(&self, level: u32, name: u32) -> Result<Vec<u8>> {
        if level != options::LEVEL { Err(Errno::NOPROTOOPT) } else { self.get_netlink_option(name) }
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<()> {
        if level != options::LEVEL { Err(Errno::NOPROTOOPT) } else { self.set_netlink_option(name, value) }
    }

    fn opened(&self, inode_number: u64) {
        self.inode_number.store(inode_number, Ordering::Relaxed);
    }

    fn release(&self) {
        let queue = {
            let mut state = self.state.lock();
            state.dead = true;
            core::mem::take(&mut state.queue)
        };
        drop(queue);
        self.network.netlink.forget(self);
    }
}

/// A message to all who listen to a group.
fn multicast(network: &NetworkNamespace, protocol: u32, group: u32, bytes: Vec<u8>) {
    let listeners = network.netlink.listeners(protocol, group);
    if listeners.is_empty() {
        return;
    }
    let datagram = Arc::new(Datagram { bytes, sender_port: 0, group, credentials: None });
    for listener in listeners {
        // One whose queue is full is told so itself.
        let _ = listener.enqueue(datagram.clone());
    }
}

/// Zeroes, for padding and unused fields.
fn zeros(len_bytes: usize) -> Vec<u8> {
    vec![0; len_bytes]
}
