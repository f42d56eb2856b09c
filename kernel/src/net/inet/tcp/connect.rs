//! How two TCP sockets find each other: `bind`, `listen`, `connect`, `accept`.

use super::super::address::{self, Endpoint};
use super::super::common::Way;
use super::{Phase, TcpSocket};
use crate::errno::{Errno, Result};
use crate::fs::socket::{Shutdown, wait_for};
use crate::task::Deadline;
use crate::time::clock;
use alloc::sync::{Arc, Weak};
use core::net::IpAddr;
use linux_raw_sys::net;

/// How long a connection is tried: what `tcp_syn_retries` of 6 comes to.
const TRY_NS: u64 = 127 * clock::NS_PER_SECOND;

impl TcpSocket {
    pub(super) fn bind_to(&self, bytes: &[u8]) -> Result<()> {
        let wanted = self.common.decode_local(bytes)?;
        if wanted.address.is_multicast() && self.common.is_v6() {
            return Err(Errno::INVAL);
        }
        self.common.check_local(wanted)?;
        if self.state.lock().local.port != 0 || self.state.lock().phase != Phase::Closed {
            return Err(Errno::INVAL);
        }
        self.take_port(wanted, false)?;
        let mut state = self.state.lock();
        state.chose_address = !wanted.address.is_unspecified();
        Ok(())
    }

    /// Enters the socket at a port, any if none is named, and takes the name.
    fn take_port(&self, wanted: Endpoint, for_connection: bool) -> Result<()> {
        let this = self.strong()?;
        let table = &self.common.network.inet.tcp;
        let claim = self.common.claim(wanted.address, false);
        let port = if wanted.port == 0 {
            table.bind_anywhere(&this, self.common.port_range(), &claim, for_connection)?
        } else {
            table.bind(&this, wanted.port, &claim)?;
            wanted.port
        };
        self.state.lock().local = Endpoint { address: wanted.address, port };
        Ok(())
    }

    /// `EINVAL` for a socket with a connection, `EADDRINUSE` if another listens there.
    pub(super) fn start_listening(&self, backlog: u32) -> Result<()> {
        let most = self.common.network.settings.number("core/somaxconn") as u32;
        let backlog = backlog.min(most) as usize;
        let (phase, local, is_done) = {
            let state = self.state.lock();
            (state.phase, state.local, state.had_connection || state.connect_untold)
        };
        match phase {
            Phase::Listening { .. } => {}
            Phase::Closed if is_done => return Err(Errno::INVAL),
            Phase::Closed if local.port == 0 => self.take_port(local, false)?,
            Phase::Closed => self.common.network.inet.tcp.check(self, local.port, &self.common.claim(local.address, true))?,
            Phase::Connecting | Phase::Connected => return Err(Errno::INVAL),
        }
        let mut state = self.state.lock();
        state.phase = Phase::Listening { backlog };
        state.shutdown = Shutdown { receive: false, send: false };
        drop(state);
        self.admit_knocking();
        Ok(())
    }

    pub(super) fn connect_to(&self, bytes: &[u8], nonblocking: bool) -> Result<()> {
        if address::family_in(bytes)? == net::AF_UNSPEC {
            return self.disconnect();
        }
        let (phase, untold, had_connection) = {
            let state = self.state.lock();
            (state.phase, state.connect_untold, state.had_connection)
        };
        match (phase, untold) {
            (Phase::Connecting, _) if nonblocking => return Err(Errno::ALREADY),
            (Phase::Connecting, _) => {}
            (_, true) => return self.tell_outcome(),
            (Phase::Connected | Phase::Listening { .. }, _) => return Err(Errno::ISCONN),
            (Phase::Closed, _) if had_connection => return Err(Errno::ISCONN),
            (Phase::Closed, _) => self.begin_connection(bytes)?,
        }
        if nonblocking {
            return Err(Errno::INPROGRESS);
        }
        self.wait_for_connection()
    }

    /// Tells how a connection went that was begun without waiting, once.
    fn tell_outcome(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.connect_untold = false;
        match state.phase {
            Phase::Connected => Ok(()),
            _ => {
                state.had_connection = false;
                Err(state.error.take().unwrap_or(Errno::CONNABORTED))
            }
        }
    }

    fn wait_for_connection(&self) -> Result<()> {
        let limit = Deadline(clock::monotonic_ns().saturating_add(TRY_NS));
        let own_limit = self.common.options.send_deadline();
        let deadline = own_limit.map_or(limit, |own| own.min(limit));
        let waited = wait_for(&self.writable, false, Some(deadline), || (self.state.lock().phase != Phase::Connecting).then_some(()));
        match waited {
            Ok(()) => self.tell_outcome(),
            Err(Errno::AGAIN) if own_limit == Some(deadline) => Err(Errno::INPROGRESS),
            Err(Errno::AGAIN) => {
                let mut state = self.state.lock();
                state.phase = Phase::Closed;
                state.connect_untold = false;
                Err(Errno::TIMEDOUT)
            }
            // A connection without a limit of its own is begun anew after a signal.
            Err(Errno::INTR) if own_limit.is_none() => Err(Errno::RESTARTSYS),
            Err(error) => Err(error),
        }
    }

    /// Finds source and listener. Whatever comes of it, refusal too, is told by [`Self::tell_outcome`].
    fn begin_connection(&self, bytes: &[u8]) -> Result<()> {
        let remote = self.common.destination(address::decode(self.common.family, bytes)?);
        let local = self.state.lock().local;
        let way = self.common.way(local.address, remote.address)?;
        if remote.address.is_multicast() || matches!(way, Way::Everybody(_)) {
            return Err(Errno::NETUNREACH);
        }
        if local.port == 0 {
            self.take_port(local, true)?;
        }
        {
            let mut state = self.state.lock();
            state.local.address = way.source();
            state.remote = Some(remote);
            state.phase = Phase::Connecting;
            state.connect_untold = true;
            state.error = None;
            state.shutdown = Shutdown { receive: false, send: false };
        }
        self.common.count(0);
        if !matches!(way, Way::Here(_)) {
            // Nobody answers.
            return Ok(());
        }
        match self.find_listener(remote) {
            Some(listener) => self.knock(&listener),
            None => self.refuse(),
        }
        Ok(())
    }

    /// Whoever listens at the address: one bound to it before one bound to all.
    fn find_listener(&self, remote: Endpoint) -> Option<Arc<TcpSocket>> {
        let listeners = self.common.network.inet.tcp.at(remote.port).into_iter().filter(|socket| {
            let claim = super::PortUser::claim(&**socket);
            claim.is_listening && claim.covers(remote.address)
        });
        listeners.min_by_key(|socket| {
            let address: IpAddr = socket.state.lock().local.address;
            (address != remote.address, address.is_ipv4() != remote.address.is_ipv4())
        })
    }

    /// Nobody listens: the answer is a reset.
    pub(super) fn refuse(&self) {
        let mut state = self.state.lock();
        if state.phase != Phase::Connecting {
            return;
        }
        state.phase = Phase::Closed;
        state.error = Some(Errno::CONNREFUSED);
        state.shutdown = Shutdown { receive: true, send: true };
        drop(state);
        self.wake_everybody();
    }

    /// Becomes a connection if the listener has room, and else waits for that.
    fn knock(&self, listener: &Arc<TcpSocket>) {
        let is_full = {
            let mut state = listener.state.lock();
            let is_full = matches!(state.phase, Phase::Listening { backlog } if state.waiting.len() > backlog);
            if is_full {
                state.knocking.push_back(self.this.clone());
            }
            is_full
        };
        if !is_full {
            self.establish(listener);
        }
    }

    fn establish(&self, listener: &Arc<TcpSocket>) {
        let (own, remote) = {
            let state = self.state.lock();
            (state.local, state.remote)
        };
        let Some(remote) = remote else { return };
        let connection = TcpSocket::new(listener.common.inherit());
        {
            let mut state = connection.state.lock();
            state.phase = Phase::Connected;
            state.had_connection = true;
            state.local = remote;
            state.remote = Some(own);
            state.peer = Some(self.this.clone());
        }
        listener.common.network.inet.tcp.enter(&connection, remote.port);
        {
            let mut state = self.state.lock();
            state.phase = Phase::Connected;
            state.had_connection = true;
            state.peer = Some(Arc::downgrade(&connection));
        }
        self.common.count(0);
        listener.state.lock().waiting.push_back(connection);
        listener.readable.wake_all();
        self.wake_everybody();
    }

    /// Lets those in who found no room before.
    fn admit_knocking(&self) {
        let Ok(this) = self.strong() else { return };
        loop {
            let next = {
                let mut state = self.state.lock();
                let has_room = matches!(state.phase, Phase::Listening { backlog } if state.waiting.len() <= backlog);
                if has_room { state.knocking.pop_front() } else { None }
            };
            let Some(next) = next else { return };
            if let Some(client) = next.upgrade().filter(|client| client.state.lock().phase == Phase::Connecting) {
                client.establish(&this);
            }
        }
    }

    /// `EINVAL` if it does not listen.
    pub(super) fn accept_connection(&self, nonblocking: bool) -> Result<Arc<TcpSocket>> {
        let deadline = self.common.options.receive_deadline();
        let connection = wait_for(&self.readable, nonblocking, deadline, || {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Listening { .. }) {
                return Some(Err(Errno::INVAL));
            }
            state.waiting.pop_front().map(Ok)
        })??;
        self.admit_knocking();
        Ok(connection)
    }

    /// `connect` to `AF_UNSPEC`: ends whatever there is, at once, and makes the socket as new. An address that was chosen stays, and any port.
    fn disconnect(&self) -> Result<()> {
        self.abandon();
        {
            let mut state = self.state.lock();
            let nowhere = self.common.nowhere();
            if !state.chose_address {
                state.local.address = nowhere.address;
            }
            state.remote = None;
            state.had_connection = false;
            state.connect_untold = false;
            state.peer_finished = false;
            state.finished_first = false;
            state.error = None;
            state.shutdown = Shutdown { receive: false, send: false };
        }
        Ok(())
    }

    /// The listener's queue is given up: those in it learn of it.
    pub(super) fn dismiss_all(&self) {
        let (waiting, knocking) = {
            let mut state = self.state.lock();
            (core::mem::take(&mut state.waiting), core::mem::take(&mut state.knocking))
        };
        for connection in waiting {
            connection.abandon();
        }
        for client in knocking.iter().filter_map(Weak::upgrade) {
            client.refuse();
        }
    }
}
