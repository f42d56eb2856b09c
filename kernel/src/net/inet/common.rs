//! What all Internet sockets share: family, options, where their packets can go.

use super::address::{self, Endpoint};
use super::options::IpOptions;
use super::ports::Claim;
use crate::errno::{Errno, Result};
use crate::fs::socket::Options;
use crate::net::NetworkNamespace;
use crate::net::routes::{LOCAL_TABLE, RouteKind};
use crate::task::{Capabilities, current};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::net;

/// See the file's first line.
pub(super) struct Common {
    pub(super) network: Arc<NetworkNamespace>,
    /// `AF_INET` or `AF_INET6`.
    pub(super) family: u32,
    pub(super) options: Options,
    pub(super) ip: IpOptions,
    /// Of its open file; 0 while it has none.
    inode_number: AtomicU64,
    /// Who made it.
    pub(super) uid: u32,
}

/// Where a packet for a destination goes, and which source address it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// To the sockets of this namespace.
    Here(IpAddr),
    /// To all of them that listen to the port.
    Everybody(IpAddr),
    /// Into the loopback, and nowhere from there.
    Lost(IpAddr),
    /// The device is down.
    Down(IpAddr),
}

impl Way {
    pub(super) fn source(self) -> IpAddr {
        match self {
            Self::Here(source) | Self::Everybody(source) | Self::Lost(source) | Self::Down(source) => source,
        }
    }
}

impl Common {
    pub(super) fn new(network: Arc<NetworkNamespace>, family: u32, options: Options) -> Self {
        let ip = IpOptions::new(&network);
        Self { network, family, options, ip, inode_number: AtomicU64::new(0), uid: current().credentials().effective_uid }
    }

    /// That of a connection made by a listener with these.
    pub(super) fn inherit(&self) -> Self {
        let (network, options, ip) = (self.network.clone(), self.options.inherit(), self.ip.inherit());
        Self { network, family: self.family, options, ip, inode_number: AtomicU64::new(0), uid: self.uid }
    }

    pub(super) fn is_v6(&self) -> bool {
        self.family == net::AF_INET6
    }

    pub(super) fn set_inode_number(&self, number: u64) {
        self.inode_number.store(number, Ordering::Relaxed);
    }

    pub(super) fn inode_number(&self) -> u64 {
        self.inode_number.load(Ordering::Relaxed)
    }

    /// The name of a socket without any.
    pub(super) fn nowhere(&self) -> Endpoint {
        Endpoint { address: address::unspecified(self.family), port: 0 }
    }

    pub(super) fn encode(&self, endpoint: Endpoint) -> Vec<u8> {
        address::encode(self.family, endpoint)
    }

    /// An address to bind to. An IPv4 socket takes `0.0.0.0` without a family, too.
    pub(super) fn decode_local(&self, bytes: &[u8]) -> Result<Endpoint> {
        let endpoint = match address::decode(self.family, bytes) {
            Err(Errno::AFNOSUPPORT) if !self.is_v6() && address::family_in(bytes)? == net::AF_UNSPEC => {
                let mut named = bytes.to_vec();
                named[..2].copy_from_slice(&(net::AF_INET as u16).to_ne_bytes());
                address::decode(self.family, &named).ok().filter(|endpoint| endpoint.address.is_unspecified()).ok_or(Errno::AFNOSUPPORT)?
            }
            result => result?,
        };
        if self.is_v6() && endpoint.address.is_ipv4() && self.ip.is_v6_only() {
            return Err(Errno::INVAL);
        }
        Ok(endpoint)
    }

    /// `EADDRNOTAVAIL` for an address that is not this machine's, `EACCES` for a port that is for the privileged.
    pub(super) fn check_local(&self, endpoint: Endpoint) -> Result<()> {
        let Endpoint { address, port } = endpoint;
        let settings = &self.network.settings;
        let may_be_any = self.ip.is_free_bind()
            || settings.number(if address.is_ipv4() { "ipv4/ip_nonlocal_bind" } else { "ipv6/ip_nonlocal_bind" }) != 0;
        let is_own = || {
            let loopback = self.network.loopback.lock();
            // Until there is a table of local addresses, IPv4 takes any for an own one.
            address.is_ipv4() && !loopback.has_table(true, LOCAL_TABLE)
                || matches!(loopback.route_to(address).map(|route| route.kind), Ok(RouteKind::Local | RouteKind::Broadcast))
        };
        let is_group = address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
        if !(address.is_unspecified() || may_be_any || is_group || is_own()) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        let first_free = settings.number("ipv4/ip_unprivileged_port_start");
        if port != 0 && i64::from(port) < first_free && self.network.require(Capabilities::NET_BIND_SERVICE).is_err() {
            return Err(Errno::ACCES);
        }
        Ok(())
    }

    /// How the socket would hold a port at the address.
    pub(super) fn claim(&self, address: IpAddr, is_listening: bool) -> Claim {
        Claim {
            address,
            is_dual: self.is_v6() && address.is_ipv6() && !self.ip.is_v6_only(),
            reuse_address: self.options.is_on(net::SO_REUSEADDR),
            reuse_port: self.options.is_on(net::SO_REUSEPORT),
            is_listening,
            uid: self.uid,
        }
    }

    /// The ports that are handed out to those who do not choose one.
    pub(super) fn port_range(&self) -> [u16; 2] {
        match self.network.settings.numbers("ipv4/ip_local_port_range")[..] {
            [low, high] => [low as u16, high as u16],
            _ => [32768, 60999],
        }
    }

    /// The destination that an address names: an unspecified one is this machine.
    pub(super) fn destination(&self, endpoint: Endpoint) -> Endpoint {
        let address = match endpoint.address {
            IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        Endpoint { address, ..endpoint }
    }

    /// Where a packet goes that a socket bound to `local` sends. `ENETUNREACH` and its like if it goes nowhere.
    pub(super) fn way(&self, local: IpAddr, destination: IpAddr) -> Result<Way> {
        if self.is_v6() && destination.is_ipv4() && (self.ip.is_v6_only() || !local.is_unspecified() && local.is_ipv6()) {
            return Err(Errno::NETUNREACH);
        }
        if destination.is_ipv6() && local.is_ipv4() && !local.is_unspecified() {
            return Err(Errno::NETUNREACH);
        }
        let loopback = self.network.loopback.lock();
        let has_source = loopback.addresses().iter().any(|address| address.local.is_ipv6()) || !local.is_unspecified();
        let route = loopback.route_to(destination).map_err(|error| match error {
            // IPv6 looks for a source address before it looks where to go.
            Errno::NETUNREACH if destination.is_ipv6() && !has_source => Errno::ADDRNOTAVAIL,
            error => error,
        })?;
        let localhost = if destination.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
        let proposed = route.preferred_source.unwrap_or(if route.kind == RouteKind::Local { destination } else { localhost });
        let source = if local.is_unspecified() { proposed } else { local };
        Ok(match route.kind {
            _ if !loopback.is_up() => Way::Down(source),
            RouteKind::Local => Way::Here(source),
            RouteKind::Broadcast => Way::Everybody(source),
            _ => Way::Lost(source),
        })
    }

    /// A packet of so many bytes goes through the device.
    pub(super) fn count(&self, len_bytes: usize) {
        /// About what the headers of IP and a transport protocol take.
        const HEADER_BYTES: usize = 40;
        self.network.loopback.lock().count(len_bytes + HEADER_BYTES);
    }
}
