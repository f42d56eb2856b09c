//! Sockets whose messages stay apart: UDP (`udp(7)`), ping (`icmp(7)`) and raw ones (`raw(7)`).
//!
//! A socket owns its receive queue; what finds no room there is lost. `send` is how a message finds its receivers, `receive` how they get
//! it.

mod receive;
mod send;

use super::address::{self, Endpoint};
use super::common::Common;
use super::ports::{Claim, PortTable, PortUser};
use super::{options, protocol};
use crate::errno::{Errno, Result};
use crate::fs::socket::{Body, Incoming, Options, Outgoing, Shutdown, SocketOps};
use crate::fs::{PollEvents, PollTable};
use crate::net::NetworkNamespace;
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::IpAddr;
use linux_raw_sys::net;
pub(super) use send::Packet;

/// What a socket sends and receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// UDP.
    Udp,
    /// Echo requests and their replies, told apart by an identifier.
    Ping,
    /// All packets of a protocol, IPv4's with their header.
    Raw,
}

/// A socket.
pub struct DatagramSocket {
    this: Weak<DatagramSocket>,
    pub(super) common: Common,
    pub(super) kind: Kind,
    pub(super) protocol: u32,
    state: SpinLock<State>,
    readable: Arc<WaitQueue>,
}

struct State {
    local: Endpoint,
    /// Address and port were chosen by `bind`: they stay when the socket is disconnected.
    chose_address: bool,
    chose_port: bool,
    /// In the table of ports.
    is_entered: bool,
    remote: Option<Endpoint>,
    queue: VecDeque<Arc<Datagram>>,
    queued_bytes: usize,
    drops: u64,
    error: Option<Errno>,
    shutdown: Shutdown,
    dead: bool,
}

/// A message under way, or in a queue.
pub(super) struct Datagram {
    pub(super) body: Body,
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) ttl: u8,
    pub(super) tos: u8,
    /// When it was sent, of the real-time clock.
    pub(super) sent_ns: i128,
}

impl DatagramSocket {
    /// A socket without a name; raw ones receive from the beginning.
    pub(super) fn create(network: Arc<NetworkNamespace>, family: u32, kind: Kind, protocol: u32) -> Arc<Self> {
        let common = Common::new(network, family, Options::default());
        let state = State {
            local: common.nowhere(),
            chose_address: false,
            chose_port: false,
            is_entered: false,
            remote: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            drops: 0,
            error: None,
            shutdown: Shutdown { receive: false, send: false },
            dead: false,
        };
        let socket = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            common,
            kind,
            protocol,
            state: SpinLock::new(state),
            readable: Arc::new(WaitQueue::new()),
        });
        if kind == Kind::Raw {
            socket.table().enter(&socket, 0);
            let mut state = socket.state.lock();
            state.is_entered = true;
            drop(state);
        }
        socket
    }

    fn is_raw_icmp_v6(&self) -> bool {
        self.kind == Kind::Raw && self.protocol == protocol::ICMP_V6
    }

    fn table(&self) -> &PortTable<Self> {
        let tables = &self.common.network.inet;
        match self.kind {
            Kind::Udp => &tables.udp,
            Kind::Ping => &tables.ping,
            Kind::Raw => &tables.raw,
        }
    }

    fn strong(&self) -> Result<Arc<Self>> {
        // A socket whose last handle is going away has no caller left that could see this.
        self.this.upgrade().ok_or(Errno::BADF)
    }

    /// Enters the socket at a port, any if none is named, and takes the name. Raw sockets have no ports.
    fn take_port(&self, wanted: Endpoint) -> Result<()> {
        if self.kind == Kind::Raw {
            self.state.lock().local.address = wanted.address;
            return Ok(());
        }
        let this = self.strong()?;
        let claim = self.common.claim(wanted.address, false);
        let port = if wanted.port == 0 {
            self.table().bind_anywhere(&this, self.common.port_range(), &claim, false)?
        } else {
            self.table().bind(&this, wanted.port, &claim)?;
            wanted.port
        };
        let mut state = self.state.lock();
        state.local = Endpoint { address: wanted.address, port };
        state.is_entered = true;
        Ok(())
    }

    /// Takes a port if it has none.
    fn bind_automatically(&self) -> Result<()> {
        let (is_entered, local) = {
            let state = self.state.lock();
            (state.is_entered, state.local)
        };
        if is_entered { Ok(()) } else { self.take_port(local) }
    }

    fn leave_port(&self) {
        let port = {
            let mut state = self.state.lock();
            core::mem::replace(&mut state.is_entered, false).then_some(state.local.port)
        };
        if let Some(port) = port {
            self.table().unbind(self, port);
        }
    }

    /// Whether a message between two ends is for this socket, and how well it fits: a higher number is better.
    fn score(&self, source: Endpoint, destination: Endpoint) -> Option<u32> {
        let (local, remote) = {
            let state = self.state.lock();
            (state.local, state.remote)
        };
        if !self.common.claim(local.address, false).covers(destination.address) {
            return None;
        }
        let mut score = u32::from(!local.address.is_unspecified()) + u32::from(local.address.is_ipv4() == destination.address.is_ipv4());
        if let Some(remote) = remote {
            let has_ports = self.kind == Kind::Udp;
            if remote.address != source.address || has_ports && remote.port != source.port {
                return None;
            }
            score += 4;
        }
        Some(score)
    }

    /// Remembers where messages go, and from whom alone they are taken; `AF_UNSPEC` undoes it.
    fn connect_to(&self, bytes: &[u8]) -> Result<()> {
        if address::family_in(bytes)? == net::AF_UNSPEC {
            self.disconnect();
            return Ok(());
        }
        let remote = self.common.destination(self.decode_remote(bytes)?);
        let local = self.state.lock().local;
        let way = self.common.way(local.address, remote.address)?;
        if matches!(way, super::common::Way::Everybody(_)) && !self.common.options.is_on(net::SO_BROADCAST) {
            return Err(Errno::ACCES);
        }
        self.bind_automatically()?;
        let mut state = self.state.lock();
        if state.local.address.is_unspecified() {
            state.local.address = way.source();
        }
        state.remote = Some(remote);
        Ok(())
    }

    fn disconnect(&self) {
        let forgets_port = {
            let mut state = self.state.lock();
            state.remote = None;
            if !state.chose_address {
                state.local.address = self.common.nowhere().address;
            }
            !state.chose_port && self.kind != Kind::Raw
        };
        if forgets_port {
            self.leave_port();
            self.state.lock().local.port = 0;
        }
    }

    /// The address of another. An IPv6 socket takes one of IPv4, too.
    fn decode_remote(&self, bytes: &[u8]) -> Result<Endpoint> {
        let family = address::family_in(bytes)?;
        if self.common.is_v6() && family == net::AF_INET && !self.common.ip.is_v6_only() {
            return address::decode(net::AF_INET, bytes);
        }
        // An IPv4 socket is content with no family (udp(7)).
        if !self.common.is_v6() && family == net::AF_UNSPEC {
            let mut named = bytes.to_vec();
            named[..2].copy_from_slice(&(net::AF_INET as u16).to_ne_bytes());
            return address::decode(net::AF_INET, &named);
        }
        address::decode(self.common.family, bytes)
    }

    /// Local and remote name, queued bytes, messages that were lost.
    pub(super) fn shown(&self) -> (Endpoint, Option<Endpoint>, usize, u64) {
        let state = self.state.lock();
        let local = if self.kind == Kind::Raw { Endpoint { port: self.protocol as u16, ..state.local } } else { state.local };
        (local, state.remote, state.queued_bytes, state.drops)
    }
}

impl PortUser for DatagramSocket {
    fn claim(&self) -> Claim {
        let address: IpAddr = self.state.lock().local.address;
        self.common.claim(address, false)
    }
}

impl SocketOps for DatagramSocket {
    fn domain(&self) -> u32 {
        self.common.family
    }

    fn socket_type(&self) -> u32 {
        if self.kind == Kind::Raw { net::SOCK_RAW } else { net::SOCK_DGRAM }
    }

    fn protocol(&self) -> u32 {
        self.protocol
    }

    fn network(&self) -> &Arc<NetworkNamespace> {
        &self.common.network
    }

    fn options(&self) -> &Options {
        &self.common.options
    }

    fn bind(&self, bytes: &[u8]) -> Result<()> {
        let wanted = self.common.decode_local(bytes)?;
        // What stands for the port is no port of a protocol.
        let checked = if self.kind == Kind::Udp { wanted } else { Endpoint { port: 0, ..wanted } };
        self.common.check_local(checked)?;
        {
            let state = self.state.lock();
            if self.kind != Kind::Raw && state.is_entered || state.remote.is_some() {
                return Err(Errno::INVAL);
            }
        }
        self.take_port(wanted)?;
        let mut state = self.state.lock();
        state.chose_address = !wanted.address.is_unspecified();
        state.chose_port = wanted.port != 0;
        Ok(())
    }

    fn connect(&self, address: &[u8], _nonblocking: bool) -> Result<()> {
        self.connect_to(address)
    }

    fn name(&self) -> Result<Vec<u8>> {
        Ok(self.common.encode(self.shown().0))
    }

    fn peer_name(&self) -> Result<Vec<u8>> {
        let remote = self.state.lock().remote.ok_or(Errno::NOTCONN)?;
        Ok(self.common.encode(remote))
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        let mut state = self.state.lock();
        state.shutdown.receive |= how.receive;
        state.shutdown.send |= how.send;
        let is_connected = state.remote.is_some();
        drop(state);
        self.readable.wake_all();
        if is_connected { Ok(()) } else { Err(Errno::NOTCONN) }
    }

    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        self.send_message(message)
    }

    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        self.receive_message(message)
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.readable);
        let state = self.state.lock();
        let mut events = PollEvents::WRITABLE | PollEvents::WRBAND;
        events.set(PollEvents::READABLE, !state.queue.is_empty() || state.shutdown.receive);
        events.set(PollEvents::RDHUP, state.shutdown.receive);
        events.set(PollEvents::HUP, state.shutdown.receive && state.shutdown.send);
        events.set(PollEvents::ERR, state.error.is_some());
        events
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn unread_bytes(&self) -> Result<usize> {
        Ok(self.state.lock().queue.front().map_or(0, |datagram| datagram.body.len_bytes()))
    }

    /// What was sent has arrived at once.
    fn unsent_bytes(&self) -> Result<usize> {
        Ok(0)
    }

    fn get_option(&self, level: u32, name: u32) -> Result<Vec<u8>> {
        match (level, name) {
            (options::IP, net::IP_MTU) if self.state.lock().remote.is_none() => Err(Errno::NOTCONN),
            (options::IP, net::IP_MTU) => Ok(self.common.network.loopback.lock().mtu.to_ne_bytes().to_vec()),
            (protocol::TCP, _) => Err(Errno::OPNOTSUPP),
            (protocol::ICMP_V6, options::ICMP_V6_FILTER) if self.is_raw_icmp_v6() => Ok(self.common.ip.icmp_v6_filter()),
            _ => self.common.ip.get(level, name),
        }
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<()> {
        match (level, name) {
            (protocol::TCP, _) => Err(Errno::NOPROTOOPT),
            (protocol::ICMP_V6, options::ICMP_V6_FILTER) if self.is_raw_icmp_v6() => {
                self.common.ip.set_icmp_v6_filter(value);
                Ok(())
            }
            // The checksum of ICMPv6 is where it is.
            (options::RAW, options::V6_CHECKSUM) if self.is_raw_icmp_v6() => Ok(()),
            (options::RAW, _) if self.kind != Kind::Raw || self.protocol != protocol::ICMP => Err(Errno::OPNOTSUPP),
            (protocol::IPV6, net::IPV6_V6ONLY) if self.kind != Kind::Raw && self.state.lock().is_entered => Err(Errno::INVAL),
            (protocol::IPV6, _) if !self.common.is_v6() => Err(Errno::NOPROTOOPT),
            _ => self.common.ip.set(level, name, value),
        }
    }

    fn opened(&self, inode_number: u64) {
        self.common.set_inode_number(inode_number);
    }

    fn release(&self) {
        let queue = {
            let mut state = self.state.lock();
            state.dead = true;
            core::mem::take(&mut state.queue)
        };
        drop(queue);
        self.leave_port();
    }
}
