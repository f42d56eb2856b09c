//! How two Unix sockets find each other: `listen`, `connect`, `accept`.

use super::address::{self, Name};
use super::{Kind, Phase, UnixSocket};
use crate::errno::{Errno, Result};
use crate::fs::socket::message::UserCredentials;
use crate::fs::socket::wait_for;
use alloc::sync::{Arc, Weak};
use linux_raw_sys::net::AF_UNSPEC;

impl UnixSocket {
    /// `EOPNOTSUPP` for datagrams, `EINVAL` for sockets without a name or with a peer.
    pub(super) fn start_listening(&self, backlog: u32) -> Result<()> {
        if self.kind == Kind::Datagram {
            return Err(Errno::OPNOTSUPP);
        }
        let most = self.network.settings.number("core/somaxconn") as u32;
        let mut state = self.state.lock();
        if state.address.is_none() || state.phase == Phase::Connected {
            return Err(Errno::INVAL);
        }
        state.phase = Phase::Listening { backlog: backlog.min(most) as usize };
        // What a client sees as its peer's credentials: those at the time of listen (unix(7), SO_PEERCRED).
        state.peer_credentials = Some(UserCredentials::effective_of_current());
        drop(state);
        self.room.wake_all();
        Ok(())
    }

    /// Puts a new socket into the listener's queue; both ends are connected from then on.
    pub(super) fn connect_stream(&self, address: &[u8], nonblocking: bool) -> Result<()> {
        let name = Name::parse(address)?;
        self.bind_for_credentials()?;
        let deadline = self.options.send_deadline();
        loop {
            let listener = address::find(self, &name)?;
            let full = {
                let state = listener.state.lock();
                match state.phase {
                    Phase::Listening { backlog } if !state.dead && !state.shutdown.receive => state.waiting.len() > backlog,
                    _ => return Err(Errno::CONNREFUSED),
                }
            };
            // A full queue is told before a wrong state of the caller's own socket.
            let phase = self.state.lock().phase;
            match phase {
                _ if full => {}
                Phase::Closed => return self.enter_queue(&listener),
                Phase::Connected => return Err(Errno::ISCONN),
                Phase::Listening { .. } => return Err(Errno::INVAL),
            }
            wait_for(&listener.room, nonblocking, deadline, || {
                let state = listener.state.lock();
                let full = matches!(state.phase, Phase::Listening { backlog } if state.waiting.len() > backlog);
                (!full || state.dead || state.shutdown.receive).then_some(())
            })?;
        }
    }

    fn enter_queue(&self, listener: &Arc<UnixSocket>) -> Result<()> {
        let this = self.strong()?;
        let connection = UnixSocket::new(self.kind, self.network.clone());
        let (address, listener_credentials) = {
            let state = listener.state.lock();
            (state.address.clone(), state.peer_credentials.clone())
        };
        let own_address = self.state.lock().address.clone();
        {
            let mut state = connection.state.lock();
            state.phase = Phase::Connected;
            state.owns_name = false;
            state.peer_address = own_address;
            state.peer = Some(Arc::downgrade(&this));
            state.peer_credentials = Some(UserCredentials::effective_of_current());
            state.address = address.clone();
        }
        {
            let mut state = self.state.lock();
            state.phase = Phase::Connected;
            state.peer = Some(Arc::downgrade(&connection));
            state.peer_credentials = listener_credentials;
            state.peer_address = address;
        }
        listener.state.lock().waiting.push_back(connection);
        listener.readable.wake_all();
        self.writable.wake_all();
        Ok(())
    }

    /// `EOPNOTSUPP` for datagrams, `EINVAL` if it does not listen.
    pub(super) fn accept_connection(&self, nonblocking: bool) -> Result<Arc<UnixSocket>> {
        if self.kind == Kind::Datagram {
            return Err(Errno::OPNOTSUPP);
        }
        let deadline = self.options.receive_deadline();
        let connection = wait_for(&self.readable, nonblocking, deadline, || {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Listening { .. }) {
                return Some(Err(Errno::INVAL));
            }
            match state.waiting.pop_front() {
                Some(connection) => Some(Ok(connection)),
                None if state.shutdown.receive => Some(Err(Errno::INVAL)),
                None => None,
            }
        })??;
        self.room.wake_all();
        Ok(connection)
    }

    /// Sets where datagrams go by default, and from whom alone they are taken; `AF_UNSPEC` undoes it. `EPERM` if the other is connected
    /// to a third.
    pub(super) fn connect_datagram(&self, address: &[u8]) -> Result<()> {
        let family = address.first_chunk::<2>().map(|family| u32::from(u16::from_ne_bytes(*family)));
        let peer = if family == Some(AF_UNSPEC) {
            None
        } else {
            let name = Name::parse(address)?;
            self.bind_for_credentials()?;
            let other = address::find(self, &name)?;
            if !self.may_send_to(&other) {
                return Err(Errno::PERM);
            }
            Some(other)
        };
        let credentials = peer.as_ref().and_then(|other| other.state.lock().peer_credentials.clone());
        let before = {
            let mut state = self.state.lock();
            state.peer_credentials = credentials;
            core::mem::replace(&mut state.peer, peer.as_ref().map(Arc::downgrade))
        };
        if let Some(before) = before.as_ref().and_then(Weak::upgrade) {
            self.disconnected_from(&before);
        }
        self.writable.wake_all();
        Ok(())
    }

    /// The former peer of a datagram socket was sending to it, too: its next receive tells.
    fn disconnected_from(&self, before: &Arc<UnixSocket>) {
        let packets = core::mem::take(&mut self.state.lock().packets);
        if packets.is_empty() {
            return;
        }
        drop(packets);
        self.room.wake_all();
        let mut state = before.state.lock();
        let was_mutual = state.peer.as_ref().is_some_and(|peer| core::ptr::eq(peer.as_ptr(), self));
        if was_mutual {
            state.error = Some(Errno::CONNRESET);
        }
        drop(state);
        if was_mutual {
            before.wake_everybody();
        }
    }

    /// A connected datagram socket takes datagrams from its peer only.
    pub(super) fn may_send_to(&self, other: &UnixSocket) -> bool {
        let state = other.state.lock();
        state.peer.as_ref().is_none_or(|peer| core::ptr::eq(peer.as_ptr(), self))
    }

    /// A socket that passes credentials needs a name (`unix(7)`, "Autobind feature").
    pub(super) fn bind_for_credentials(&self) -> Result<()> {
        if self.options.passes_credentials() && self.state.lock().address.is_none() {
            use crate::fs::socket::SocketOps;
            return self.bind(&address::unnamed());
        }
        Ok(())
    }
}
