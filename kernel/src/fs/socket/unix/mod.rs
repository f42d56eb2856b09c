//! Unix sockets (`unix(7)`): stream, datagram and seqpacket.
//!
//! A socket owns its receive queue; senders put packets into their peer's queue, charged to their own send buffer until they are
//! received. Peers know each other weakly: a socket lives as long as its open file, or as it waits in a listener's queue.
//! `address` has the names, `connect` how two sockets find each other, `transfer` how bytes go, `packet` what lies in a queue,
//! `in_flight` the descriptors that are under way.

mod address;
mod connect;
mod in_flight;
mod list;
mod packet;
mod transfer;

use super::message::UserCredentials;
use super::{Incoming, Options, Outgoing, Shutdown, SocketOps};
use crate::errno::{Errno, Result};
use crate::fs::{OpenFile, PollEvents, PollTable};
use crate::net::NetworkNamespace;
use crate::sync::SpinLock;
use crate::task::{SleepMutex, WaitQueue};
use address::{Address, Name};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use linux_raw_sys::net;
pub use list::list;
use packet::Packet;

/// The three types.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Stream,
    Datagram,
    SequencedPacket,
}

impl Kind {
    fn has_connections(self) -> bool {
        self != Self::Datagram
    }
}

/// What a socket has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// New; or a datagram socket, connected or not.
    Closed,
    Listening {
        /// How many connections may wait.
        backlog: usize,
    },
    /// A stream or seqpacket socket with a peer, or one whose peer has gone.
    Connected,
}

/// A socket.
pub struct UnixSocket {
    this: Weak<UnixSocket>,
    kind: Kind,
    /// Whose abstract names it knows.
    network: Arc<NetworkNamespace>,
    /// How many datagrams more than one may wait at a socket that is not connected back: `max_dgram_qlen` when it was made.
    waiting_datagrams: usize,
    options: Options,
    state: SpinLock<State>,
    /// One reader of a stream at a time, so that two do not share a packet.
    reading: SleepMutex<()>,
    /// What packets of this socket's sending take up of its send buffer.
    charged_bytes: AtomicUsize,
    /// Of its open file; 0 while it has none.
    inode_number: AtomicU64,
    /// Told when there is something to receive or accept, and of shutdowns and errors.
    readable: Arc<WaitQueue>,
    /// Told when there is room to send, and of shutdowns and errors.
    writable: Arc<WaitQueue>,
    /// Told, on the receiving or listening side, when its queue gets shorter: those who wait to put something there.
    room: Arc<WaitQueue>,
}

struct State {
    phase: Phase,
    address: Option<Arc<Address>>,
    /// An accepted socket has its listener's address, but the name is the listener's.
    owns_name: bool,
    peer: Option<Weak<UnixSocket>>,
    /// The peer's name, for when the peer has gone.
    peer_address: Option<Arc<Address>>,
    peer_credentials: Option<UserCredentials>,
    /// Received packets.
    packets: VecDeque<Arc<Packet>>,
    /// Connections that wait to be accepted.
    waiting: VecDeque<Arc<UnixSocket>>,
    shutdown: Shutdown,
    error: Option<Errno>,
    /// The last descriptor is gone.
    dead: bool,
}

impl UnixSocket {
    /// `EPROTONOSUPPORT` and `ESOCKTNOSUPPORT` for what there is not. `SOCK_RAW` means datagrams.
    pub fn create(socket_type: u32, protocol: u32) -> Result<Arc<Self>> {
        if protocol != 0 && protocol != net::AF_UNIX {
            return Err(Errno::PROTONOSUPPORT);
        }
        let kind = match socket_type {
            net::SOCK_STREAM => Kind::Stream,
            net::SOCK_DGRAM | net::SOCK_RAW => Kind::Datagram,
            net::SOCK_SEQPACKET => Kind::SequencedPacket,
            _ => return Err(Errno::SOCKTNOSUPPORT),
        };
        Ok(Self::new(kind, crate::net::current()))
    }

    /// Two sockets connected to each other.
    pub fn create_pair(socket_type: u32, protocol: u32) -> Result<(Arc<Self>, Arc<Self>)> {
        let first = Self::create(socket_type, protocol)?;
        let second = Self::create(socket_type, protocol)?;
        let credentials = UserCredentials::effective_of_current();
        for (socket, peer) in [(&first, &second), (&second, &first)] {
            let mut state = socket.state.lock();
            state.peer = Some(Arc::downgrade(peer));
            state.peer_credentials = Some(credentials.clone());
            if socket.kind.has_connections() {
                state.phase = Phase::Connected;
            }
        }
        Ok((first, second))
    }

    fn new(kind: Kind, network: Arc<NetworkNamespace>) -> Arc<Self> {
        let waiting_datagrams = network.settings.number("unix/max_dgram_qlen").max(0) as usize;
        let socket = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            kind,
            network,
            waiting_datagrams,
            options: Options::default(),
            state: SpinLock::new(State {
                phase: Phase::Closed,
                address: None,
                owns_name: true,
                peer: None,
                peer_address: None,
                peer_credentials: None,
                packets: VecDeque::new(),
                waiting: VecDeque::new(),
                shutdown: Shutdown { receive: false, send: false },
                error: None,
                dead: false,
            }),
            reading: SleepMutex::new(()),
            charged_bytes: AtomicUsize::new(0),
            inode_number: AtomicU64::new(0),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
            room: Arc::new(WaitQueue::new()),
        });
        list::note(&socket);
        socket
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
        self.room.wake_all();
    }

    /// There is room in the send buffer for another packet, however long.
    fn has_send_room(&self) -> bool {
        self.charged_bytes.load(Ordering::Acquire) < self.options.send_buffer_bytes()
    }

    /// A poller is told to write only when a good part of the buffer is free, so that it is worth it.
    fn is_writable(&self) -> bool {
        self.charged_bytes.load(Ordering::Acquire) * 4 <= self.options.send_buffer_bytes()
    }

    /// Files in messages that wait in this socket's queue, or in those of connections that wait to be accepted.
    fn queued_files(&self) -> Vec<Arc<OpenFile>> {
        let (mut packets, waiting) = {
            let state = self.state.lock();
            (state.packets.iter().cloned().collect::<Vec<_>>(), state.waiting.iter().cloned().collect::<Vec<_>>())
        };
        for connection in waiting {
            packets.extend(connection.state.lock().packets.iter().cloned());
        }
        packets.iter().flat_map(|packet| packet.files()).collect()
    }

    /// Empties the queue, that of waiting connections included; to be dropped without locks.
    fn take_queue(&self) -> Vec<Arc<Packet>> {
        let (mut packets, waiting) = {
            let mut state = self.state.lock();
            let packets: Vec<_> = core::mem::take(&mut state.packets).into();
            (packets, state.waiting.iter().cloned().collect::<Vec<_>>())
        };
        for connection in waiting {
            packets.extend(core::mem::take(&mut connection.state.lock().packets));
        }
        packets
    }

    /// The connection ends from this side: the peer sees an end of file, or `ECONNRESET` if what it sent was never read.
    fn close(&self) {
        let (address, owns_name, peer, packets, waiting) = {
            let mut state = self.state.lock();
            state.dead = true;
            state.shutdown = Shutdown { receive: true, send: true };
            (
                state.address.take(),
                state.owns_name,
                state.peer.take(),
                core::mem::take(&mut state.packets),
                core::mem::take(&mut state.waiting),
            )
        };
        if let Some(address) = &address
            && owns_name
        {
            address::unbind(self, address);
        }
        if let Some(peer) = peer.as_ref().and_then(Weak::upgrade)
            && self.kind.has_connections()
        {
            let mut state = peer.state.lock();
            state.shutdown = Shutdown { receive: true, send: true };
            state.peer_address = address.clone();
            if !packets.is_empty() {
                state.error = Some(Errno::CONNRESET);
            }
            drop(state);
            peer.wake_everybody();
        }
        for connection in &waiting {
            connection.reset();
        }
        self.wake_everybody();
        drop((packets, waiting, address));
        in_flight::collect_garbage();
    }

    /// The listener went before it accepted this connection.
    fn reset(&self) {
        let (peer, packets) = {
            let mut state = self.state.lock();
            state.dead = true;
            (state.peer.take(), core::mem::take(&mut state.packets))
        };
        if let Some(peer) = peer.as_ref().and_then(Weak::upgrade) {
            let mut state = peer.state.lock();
            state.shutdown = Shutdown { receive: true, send: true };
            state.error = Some(Errno::CONNRESET);
            drop(state);
            peer.wake_everybody();
        }
        drop(packets);
    }
}

impl Drop for UnixSocket {
    /// One that never got a descriptor, as when memory ran out in accept: its peer must not wait for it.
    fn drop(&mut self) {
        if !self.state.get_mut().dead {
            self.close();
        }
    }
}

impl SocketOps for UnixSocket {
    fn domain(&self) -> u32 {
        net::AF_UNIX
    }

    fn socket_type(&self) -> u32 {
        match self.kind {
            Kind::Stream => net::SOCK_STREAM,
            Kind::Datagram => net::SOCK_DGRAM,
            Kind::SequencedPacket => net::SOCK_SEQPACKET,
        }
    }

    fn network(&self) -> &Arc<NetworkNamespace> {
        &self.network
    }

    fn options(&self) -> &Options {
        &self.options
    }

    fn bind(&self, address: &[u8]) -> Result<()> {
        let name = Name::parse(address)?;
        let bound = self.state.lock().address.is_some();
        match (bound, &name) {
            (true, Name::Automatic) => return Ok(()),
            (true, _) => return Err(Errno::INVAL),
            _ => {}
        }
        let address = address::bind(&self.strong()?, &name)?;
        let mut state = self.state.lock();
        if state.address.is_some() {
            // Another thread was quicker.
            drop(state);
            address::unbind(self, &address);
            return Err(Errno::INVAL);
        }
        state.address = Some(address);
        Ok(())
    }

    fn connect(&self, address: &[u8], nonblocking: bool) -> Result<()> {
        match self.kind {
            Kind::Datagram => self.connect_datagram(address),
            _ => self.connect_stream(address, nonblocking),
        }
    }

    fn listen(&self, backlog: u32) -> Result<()> {
        self.start_listening(backlog)
    }

    fn accept(&self, nonblocking: bool) -> Result<Arc<dyn SocketOps>> {
        Ok(self.accept_connection(nonblocking)?)
    }

    fn name(&self) -> Result<Vec<u8>> {
        let address = self.state.lock().address.clone();
        Ok(address.map_or_else(address::unnamed, |address| address.encode()))
    }

    fn peer_name(&self) -> Result<Vec<u8>> {
        if let Some(peer) = self.peer() {
            return peer.name();
        }
        let state = self.state.lock();
        match (state.phase, &state.peer_address) {
            (Phase::Connected, Some(address)) => Ok(address.encode()),
            (Phase::Connected, None) => Ok(address::unnamed()),
            _ => Err(Errno::NOTCONN),
        }
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        let peer = {
            let mut state = self.state.lock();
            state.shutdown.receive |= how.receive;
            state.shutdown.send |= how.send;
            state.peer.as_ref().and_then(Weak::upgrade)
        };
        if let Some(peer) = peer
            && self.kind.has_connections()
        {
            let mut state = peer.state.lock();
            state.shutdown.receive |= how.send;
            state.shutdown.send |= how.receive;
            drop(state);
            peer.wake_everybody();
        }
        self.wake_everybody();
        Ok(())
    }

    fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        match self.kind {
            Kind::Stream => self.send_stream(message),
            _ => self.send_packet(message),
        }
    }

    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        match self.kind {
            Kind::Stream => self.receive_stream(message),
            _ => self.receive_packet(message),
        }
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        let connectionless_peer = if self.kind == Kind::Datagram { self.peer() } else { None };
        table.watch(&self.readable);
        table.watch_for(&self.writable, PollEvents::WRITABLE | PollEvents::WRBAND);
        if let Some(peer) = &connectionless_peer {
            table.watch_for(&peer.room, PollEvents::WRITABLE | PollEvents::WRBAND);
        }
        let peer_has_room = connectionless_peer.as_ref().is_none_or(|peer| self.may_queue(peer));
        let state = self.state.lock();
        let mut events = PollEvents::empty();
        events.set(PollEvents::ERR, state.error.is_some());
        events.set(PollEvents::HUP, state.shutdown.receive && state.shutdown.send);
        events.set(PollEvents::RDHUP, state.shutdown.receive);
        if state.shutdown.receive || !state.packets.is_empty() || !state.waiting.is_empty() {
            events |= PollEvents::READABLE;
        }
        let listening = matches!(state.phase, Phase::Listening { .. });
        if self.kind.has_connections() && state.phase == Phase::Closed {
            events |= PollEvents::HUP;
        }
        if !listening && self.is_writable() && peer_has_room {
            events |= PollEvents::WRITABLE | PollEvents::WRBAND;
        }
        events
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn is_listening(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Listening { .. })
    }

    fn peer_credentials(&self) -> Option<UserCredentials> {
        self.state.lock().peer_credentials.clone()
    }

    fn unread_bytes(&self) -> Result<usize> {
        let state = self.state.lock();
        if matches!(state.phase, Phase::Listening { .. }) {
            return Err(Errno::INVAL);
        }
        Ok(match self.kind {
            Kind::Datagram => state.packets.front().map_or(0, |packet| packet.unread_bytes()),
            _ => state.packets.iter().map(|packet| packet.unread_bytes()).sum(),
        })
    }

    fn unsent_bytes(&self) -> Result<usize> {
        Ok(self.charged_bytes.load(Ordering::Acquire))
    }

    fn opened(&self, inode_number: u64) {
        self.inode_number.store(inode_number, Ordering::Relaxed);
    }

    fn release(&self) {
        self.close();
    }
}
