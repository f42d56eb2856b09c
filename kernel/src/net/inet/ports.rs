//! Who is bound to which port of a protocol, and whether another may be bound to it, too (`socket(7)`, `SO_REUSEADDR`, `SO_REUSEPORT`).
//!
//! Lock order: the table, then the state of a socket.

use super::address::Endpoint;
use crate::dev::random;
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::time::clock;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::IpAddr;

/// How a socket holds its port.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The address that it is bound to.
    pub address: IpAddr,
    /// An unspecified IPv6 address that stands for IPv4's, too.
    pub is_dual: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// It waits for connections: nobody else may at the same address.
    pub is_listening: bool,
    /// Who made the socket: ports are shared by sockets of one user only.
    pub uid: u32,
}

impl Claim {
    /// Whether a packet for `destination` may be meant.
    pub fn covers(&self, destination: IpAddr) -> bool {
        match (self.address.is_ipv4(), destination.is_ipv4()) {
            (true, true) | (false, false) => self.address.is_unspecified() || self.address == destination,
            (false, true) => self.address.is_unspecified() && self.is_dual,
            (true, false) => false,
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.covers(other.address)
            || other.covers(self.address)
            || self.address.is_unspecified() && other.is_dual && other.address.is_unspecified()
    }

    fn conflicts(&self, other: &Self) -> bool {
        let shared_port = self.reuse_port && other.reuse_port && self.uid == other.uid;
        let shared_address = self.reuse_address && other.reuse_address && !other.is_listening;
        self.overlaps(other) && !shared_port && !shared_address
    }
}

/// A socket that can be bound.
pub trait PortUser: Send + Sync {
    /// How it holds its port.
    fn claim(&self) -> Claim;
}

/// A connection that has ended on this side first: its port is not free at once (RFC 9293, TIME-WAIT).
#[derive(Clone, Debug)]
pub(super) struct Departed {
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    /// Whether a socket of `AF_INET6` had it.
    pub(super) is_v6: bool,
    claim: Claim,
    until_ns: u64,
}

/// All sockets of a protocol that are bound.
pub struct PortTable<S> {
    slots: SpinLock<BTreeMap<u16, Vec<Weak<S>>>>,
    departed: SpinLock<Vec<Departed>>,
}

impl<S> Default for PortTable<S> {
    fn default() -> Self {
        Self { slots: SpinLock::new(BTreeMap::new()), departed: SpinLock::new(Vec::new()) }
    }
}

/// How long a connection is in TIME-WAIT.
const DEPARTED_NS: u64 = 60 * clock::NS_PER_SECOND;
/// How many of them are kept (`tcp_max_tw_buckets`).
const MAX_DEPARTED: usize = 2048;

impl<S: PortUser> PortTable<S> {
    /// The sockets at a port.
    pub(super) fn at(&self, port: u16) -> Vec<Arc<S>> {
        self.slots.lock().get(&port).into_iter().flatten().filter_map(Weak::upgrade).collect()
    }

    /// All sockets, by port.
    pub(super) fn all(&self) -> Vec<Arc<S>> {
        self.slots.lock().values().flatten().filter_map(Weak::upgrade).collect()
    }

    /// The connections that have ended not long ago.
    pub(super) fn departed(&self) -> Vec<Departed> {
        let now = clock::monotonic_ns();
        let mut departed = self.departed.lock();
        departed.retain(|departed| departed.until_ns > now);
        departed.clone()
    }

    /// Keeps the port of a connection for a while.
    pub(super) fn depart(&self, local: Endpoint, remote: Endpoint, is_v6: bool, claim: Claim) {
        let until_ns = clock::monotonic_ns().saturating_add(DEPARTED_NS);
        let known = self.departed().len();
        if known < MAX_DEPARTED {
            self.departed.lock().push(Departed { local, remote, is_v6, claim, until_ns });
        }
    }

    /// Whether a socket may hold the port that way beside those that do already.
    fn is_free(&self, this: *const S, port: u16, claim: &Claim) -> bool {
        let others = self.at(port);
        !others.iter().any(|other| !core::ptr::eq(Arc::as_ptr(other), this) && claim.conflicts(&other.claim()))
            && !self.departed().iter().any(|departed| departed.local.port == port && claim.conflicts(&departed.claim))
    }

    /// `EADDRINUSE` if somebody holds the port in a way that excludes this one.
    pub(super) fn check(&self, socket: &S, port: u16, claim: &Claim) -> Result<()> {
        if self.is_free(socket, port, claim) { Ok(()) } else { Err(Errno::ADDRINUSE) }
    }

    /// Enters a socket without looking who else is there.
    pub(super) fn enter(&self, socket: &Arc<S>, port: u16) {
        self.slots.lock().entry(port).or_default().push(Arc::downgrade(socket));
    }

    /// Enters a socket at a port: `EADDRINUSE` as [`Self::check`].
    pub(super) fn bind(&self, socket: &Arc<S>, port: u16, claim: &Claim) -> Result<()> {
        self.check(socket, port, claim)?;
        self.enter(socket, port);
        Ok(())
    }

    /// Enters a socket at a free port of the range. `for_connection`: one that ended not long ago may be used, because the other end's
    /// address tells them apart.
    pub(super) fn bind_anywhere(&self, socket: &Arc<S>, range: [u16; 2], claim: &Claim, for_connection: bool) -> Result<u16> {
        let [low, high] = range.map(u32::from);
        let count = high.saturating_sub(low) + 1;
        let start = (random::next_u64() % u64::from(count)) as u32;
        for offset in 0..count {
            let port = (low + (start + offset) % count) as u16;
            let free = if for_connection { self.at(port).is_empty() } else { self.is_free(Arc::as_ptr(socket), port, claim) };
            if free {
                self.enter(socket, port);
                return Ok(port);
            }
        }
        Err(if for_connection { Errno::ADDRNOTAVAIL } else { Errno::ADDRINUSE })
    }

    /// Takes a socket out.
    pub(super) fn unbind(&self, socket: &S, port: u16) {
        let mut slots = self.slots.lock();
        if let Some(users) = slots.get_mut(&port) {
            users.retain(|user| !core::ptr::eq(user.as_ptr(), socket) && user.strong_count() > 0);
            if users.is_empty() {
                slots.remove(&port);
            }
        }
    }
}
