//! TCP over the loopback (`tcp(7)`).
//!
//! A socket owns its receive queue; its peer puts segments into it, as far as both buffers have room. Peers know each other weakly: a
//! socket lives as long as its open file, or as it waits in a listener's queue. `connect` is how two sockets find each other, `transfer` how
//! bytes go, `close` how a connection ends, in order or by a reset.

mod close;
mod connect;
mod transfer;

use super::address::Endpoint;
use super::common::Common;
use super::ports::{Claim, PortUser};
use super::{options, protocol};
use crate::errno::{Errno, Result};
use crate::fs::socket::{Body, Incoming, Options, Outgoing, Shutdown, SocketOps};
use crate::fs::{PollEvents, PollTable};
use crate::net::NetworkNamespace;
use crate::sync::SpinLock;
use crate::task::{SleepMutex, WaitQueue};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use linux_raw_sys::net;

/// Buffers of a new socket (the middle values of `tcp_wmem` and `tcp_rmem`).
const SEND_BUFFER_BYTES: u32 = 16384;
const RECEIVE_BUFFER_BYTES: u32 = 131_072;

/// What a socket has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// New, or with its connection behind it.
    Closed,
    /// Waits for connections; so many more than one may wait to be accepted.
    Listening { backlog: usize },
    /// Knocks at a listener that has no room, or at nobody.
    Connecting,
    /// Has a connection, of which either direction may have ended.
    Connected,
}

/// The states of RFC 9293 by the numbers that Linux shows (`linux/tcp_states.h`).
pub(super) mod shown_state {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const FIN_WAIT_2: u8 = 5;
    pub const TIME_WAIT: u8 = 6;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LISTEN: u8 = 10;
}

/// A socket.
pub struct TcpSocket {
    this: Weak<TcpSocket>,
    pub(super) common: Common,
    state: SpinLock<State>,
    /// One reader at a time, so that two do not share a segment.
    reading: SleepMutex<()>,
    /// Told when there is something to receive or accept, and of the ends of connections.
    readable: Arc<WaitQueue>,
    /// Told when there is room to send, or a connection, and of its end.
    writable: Arc<WaitQueue>,
}

struct State {
    phase: Phase,
    local: Endpoint,
    /// The address was chosen by `bind`: it stays when the socket is disconnected.
    chose_address: bool,
    remote: Option<Endpoint>,
    peer: Option<Weak<TcpSocket>>,
    segments: VecDeque<Arc<Segment>>,
    queued_bytes: usize,
    /// Connections that wait to be accepted.
    waiting: VecDeque<Arc<TcpSocket>>,
    /// Sockets whose connections found no room there.
    knocking: VecDeque<Weak<TcpSocket>>,
    /// A `connect` that did not wait has not been told its outcome.
    connect_untold: bool,
    /// There was a connection.
    had_connection: bool,
    /// The peer has said that it sends no more.
    peer_finished: bool,
    /// This side said so before the peer did.
    finished_first: bool,
    shutdown: Shutdown,
    error: Option<Errno>,
    /// The last descriptor is gone.
    dead: bool,
}

/// What one call sent.
struct Segment {
    body: Body,
    read: AtomicUsize,
}

impl Segment {
    fn unread_bytes(&self) -> usize {
        self.body.len_bytes() - self.read.load(Ordering::Relaxed)
    }
}

impl TcpSocket {
    /// A socket without a name.
    pub fn create(network: Arc<NetworkNamespace>, family: u32) -> Arc<Self> {
        let options = Options::with_buffers(SEND_BUFFER_BYTES, RECEIVE_BUFFER_BYTES);
        Self::new(Common::new(network, family, options))
    }

    fn new(common: Common) -> Arc<Self> {
        let state = State {
            phase: Phase::Closed,
            local: common.nowhere(),
            chose_address: false,
            remote: None,
            peer: None,
            segments: VecDeque::new(),
            queued_bytes: 0,
            waiting: VecDeque::new(),
            knocking: VecDeque::new(),
            connect_untold: false,
            had_connection: false,
            peer_finished: false,
            finished_first: false,
            shutdown: Shutdown { receive: false, send: false },
            error: None,
            dead: false,
        };
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            common,
            state: SpinLock::new(state),
            reading: SleepMutex::new(()),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
        })
    }

    fn strong(&self) -> Result<Arc<Self>> {
        // A socket whose last handle is going away has no caller left that could see this.
        self.this.upgrade().ok_or(Errno::BADF)
    }

    fn peer(&self) -> Option<Arc<Self>> {
        self.state.lock().peer.as_ref().and_then(Weak::upgrade)
    }

    /// Tells everybody who waits on the socket.
    fn wake_everybody(&self) {
        self.readable.wake_all();
        self.writable.wake_all();
    }

    /// How many bytes may lie in this socket's queue that `sender` put there: both buffers together.
    fn room_for(&self, sender: &Self) -> usize {
        let capacity = self.common.options.receive_buffer_bytes() + sender.common.options.send_buffer_bytes();
        capacity.saturating_sub(self.state.lock().queued_bytes)
    }

    /// A poller is told to write only when a third of the room is free, so that it is worth it.
    fn is_writable(&self) -> bool {
        let Some(peer) = self.peer() else { return true };
        peer.room_for(self) * 3 >= self.common.options.send_buffer_bytes() + peer.common.options.receive_buffer_bytes()
    }

    /// The state as Linux numbers it.
    pub(super) fn shown_state(&self) -> u8 {
        let state = self.state.lock();
        match state.phase {
            Phase::Closed => shown_state::CLOSE,
            Phase::Listening { .. } => shown_state::LISTEN,
            Phase::Connecting => shown_state::SYN_SENT,
            Phase::Connected if state.shutdown.send => shown_state::FIN_WAIT_2,
            Phase::Connected if state.peer_finished => shown_state::CLOSE_WAIT,
            Phase::Connected => shown_state::ESTABLISHED,
        }
    }

    /// Local and remote name, and the bytes that are not received and not sent yet; of a listener the connections that wait.
    pub(super) fn shown(&self) -> (Endpoint, Option<Endpoint>, usize, usize) {
        let unsent = self.unsent_bytes().unwrap_or(0);
        let state = self.state.lock();
        match state.phase {
            Phase::Listening { .. } => (state.local, None, state.waiting.len(), 0),
            _ => (state.local, state.remote, state.queued_bytes, unsent),
        }
    }
}

impl PortUser for TcpSocket {
    fn claim(&self) -> Claim {
        let (address, is_listening) = {
            let state = self.state.lock();
            (state.local.address, matches!(state.phase, Phase::Listening { .. }))
        };
        self.common.claim(address, is_listening)
    }
}

impl Drop for TcpSocket {
    /// One that never got a descriptor, as when memory ran out in accept: its peer must not wait for it.
    fn drop(&mut self) {
        if !self.state.get_mut().dead {
            self.close();
        }
    }
}

impl SocketOps for TcpSocket {
    fn domain(&self) -> u32 {
        self.common.family
    }

    fn socket_type(&self) -> u32 {
        net::SOCK_STREAM
    }

    fn protocol(&self) -> u32 {
        protocol::TCP
    }

    fn network(&self) -> &Arc<NetworkNamespace> {
        &self.common.network
    }

    fn options(&self) -> &Options {
        &self.common.options
    }

    fn bind(&self, address: &[u8]) -> Result<()> {
        self.bind_to(address)
    }

    fn connect(&self, address: &[u8], nonblocking: bool) -> Result<()> {
        self.connect_to(address, nonblocking)
    }

    fn listen(&self, backlog: u32) -> Result<()> {
        self.start_listening(backlog)
    }

    fn accept(&self, nonblocking: bool) -> Result<Arc<dyn SocketOps>> {
        Ok(self.accept_connection(nonblocking)?)
    }

    fn name(&self) -> Result<Vec<u8>> {
        Ok(self.common.encode(self.state.lock().local))
    }

    fn peer_name(&self) -> Result<Vec<u8>> {
        let state = self.state.lock();
        let remote = state.remote.filter(|_| state.phase == Phase::Connected).ok_or(Errno::NOTCONN)?;
        Ok(self.common.encode(remote))
    }

    fn accepted_name(&self) -> Result<Vec<u8>> {
        let remote = self.state.lock().remote.ok_or(Errno::NOTCONN)?;
        Ok(self.common.encode(remote))
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.shut_down(how)
    }

    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        self.send_bytes(message)
    }

    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        self.receive_bytes(message)
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.readable);
        table.watch_for(&self.writable, PollEvents::WRITABLE | PollEvents::WRBAND);
        let is_writable = self.is_writable();
        let state = self.state.lock();
        let mut events = PollEvents::empty();
        if matches!(state.phase, Phase::Listening { .. }) {
            events.set(PollEvents::READABLE, !state.waiting.is_empty());
            return events;
        }
        events.set(PollEvents::ERR, state.error.is_some());
        events.set(PollEvents::HUP, state.phase == Phase::Closed || state.shutdown.receive && state.shutdown.send);
        events.set(PollEvents::RDHUP, state.shutdown.receive);
        if state.phase == Phase::Connecting {
            return events;
        }
        events.set(PollEvents::READABLE, !state.segments.is_empty() || state.shutdown.receive);
        events.set(PollEvents::WRITABLE, is_writable || state.shutdown.send);
        events
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn is_listening(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Listening { .. })
    }

    fn unread_bytes(&self) -> Result<usize> {
        let state = self.state.lock();
        if matches!(state.phase, Phase::Listening { .. }) { Err(Errno::INVAL) } else { Ok(state.queued_bytes) }
    }

    /// What was sent has arrived at once: nothing waits on this side.
    fn unsent_bytes(&self) -> Result<usize> {
        if self.is_listening() { Err(Errno::INVAL) } else { Ok(0) }
    }

    fn get_option(&self, level: u32, name: u32) -> Result<Vec<u8>> {
        /// Bytes of `struct tcp_info` of Linux 6.6.
        const INFORMATION_BYTES: usize = 240;
        match (level, name) {
            (protocol::TCP, net::TCP_INFO) => {
                let mut information = alloc::vec![0; INFORMATION_BYTES];
                information[0] = self.shown_state();
                Ok(information)
            }
            (protocol::TCP, net::TCP_CONGESTION) => Ok(b"cubic\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
            (options::IP, net::IP_MTU) => self.mtu(),
            _ => self.common.ip.get(level, name),
        }
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<()> {
        match (level, name) {
            (protocol::TCP, net::TCP_CONGESTION) => {
                let algorithm = value.split(|byte| *byte == 0).next().unwrap_or_default();
                if matches!(algorithm, b"cubic" | b"reno") { Ok(()) } else { Err(Errno::NOENT) }
            }
            // What a socket is bound to decides what it takes: too late to change.
            (protocol::IPV6, net::IPV6_V6ONLY) if self.state.lock().local.port != 0 => Err(Errno::INVAL),
            (protocol::IPV6, _) if !self.common.is_v6() => Err(Errno::NOPROTOOPT),
            _ => self.common.ip.set(level, name, value),
        }
    }

    fn opened(&self, inode_number: u64) {
        self.common.set_inode_number(inode_number);
    }

    fn release(&self) {
        self.close();
    }
}

impl TcpSocket {
    /// `IP_MTU`: that of the device, for those who have a connection.
    fn mtu(&self) -> Result<Vec<u8>> {
        if self.state.lock().remote.is_none() {
            return Err(Errno::NOTCONN);
        }
        Ok(self.common.network.loopback.lock().mtu.to_ne_bytes().to_vec())
    }
}
