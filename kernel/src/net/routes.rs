//! Routes (`rtnetlink(7)`): tables in the order of the default rules, longest prefix first, then the lowest metric.

use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use linux_raw_sys::netlink;

/// Tables by number (`rtnetlink(7)`).
pub const LOCAL_TABLE: u32 = 255;
/// See [`LOCAL_TABLE`].
pub const MAIN_TABLE: u32 = 254;
/// See [`LOCAL_TABLE`].
pub const DEFAULT_TABLE: u32 = 253;
/// `RTPROT_KERNEL`: a route that the kernel made itself.
pub const BY_KERNEL: u8 = netlink::RTPROT_KERNEL as u8;

/// What a route does with a packet (`RTN_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum RouteKind {
    Unicast = netlink::RTN_UNICAST as u8,
    Local = netlink::RTN_LOCAL as u8,
    Broadcast = netlink::RTN_BROADCAST as u8,
    Blackhole = netlink::RTN_BLACKHOLE as u8,
    Unreachable = netlink::RTN_UNREACHABLE as u8,
    Prohibit = netlink::RTN_PROHIBIT as u8,
    Throw = netlink::RTN_THROW as u8,
}

impl RouteKind {
    /// The kind with the number; `EINVAL` for those that make no sense without other devices.
    pub fn from_number(number: u8) -> Result<Self> {
        let all = [Self::Unicast, Self::Local, Self::Broadcast, Self::Blackhole, Self::Unreachable, Self::Prohibit, Self::Throw];
        all.into_iter().find(|kind| *kind as u8 == number).ok_or(Errno::INVAL)
    }

    /// Whether packets leave through a device.
    pub fn has_device(self) -> bool {
        matches!(self, Self::Unicast | Self::Local | Self::Broadcast)
    }
}

/// One route. Those with a device lead to `lo`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Which table it is in.
    pub table: u32,
    /// Network address, host bits zero.
    pub destination: IpAddr,
    /// How many bits of it count.
    pub prefix_length: u8,
    /// What it does.
    pub kind: RouteKind,
    /// `RT_SCOPE_*`.
    pub scope: u8,
    /// `RTPROT_*`: who made it.
    pub protocol: u8,
    /// The metric: lower wins.
    pub priority: u32,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// The source address for those who have not chosen one.
    pub preferred_source: Option<IpAddr>,
}

impl Route {
    /// Whether packets for `address` may go this way.
    fn covers(&self, address: IpAddr) -> bool {
        self.destination.is_ipv4() == address.is_ipv4() && network_of(address, self.prefix_length) == self.destination
    }

    /// Whether both stand for the same slot of a table, of which there can be one.
    pub fn same_slot(&self, other: &Self) -> bool {
        let slot = |route: &Self| (route.table, route.destination, route.prefix_length, route.priority);
        slot(self) == slot(other)
    }
}

/// The address with all bits behind the first `prefix_length` zero.
pub fn network_of(address: IpAddr, prefix_length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & netmask(prefix_length))),
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_length.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// The mask of an IPv4 prefix.
pub fn netmask(prefix_length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_length.min(32))).unwrap_or(0)
}

/// The route that a packet for `destination` takes. `ENETUNREACH` if there is none; routes that refuse have errnos of their own.
pub fn find(routes: &[Route], destination: IpAddr) -> Result<&Route> {
    for table in [LOCAL_TABLE, MAIN_TABLE, DEFAULT_TABLE] {
        let candidates = routes.iter().filter(|route| route.table == table && route.covers(destination));
        let Some(best) = candidates.min_by_key(|route| (core::cmp::Reverse(route.prefix_length), route.priority)) else { continue };
        return match best.kind {
            RouteKind::Throw => continue,
            RouteKind::Blackhole => Err(Errno::INVAL),
            RouteKind::Unreachable => Err(Errno::HOSTUNREACH),
            RouteKind::Prohibit => Err(Errno::ACCES),
            // IPv6 has no true routes through a loopback.
            RouteKind::Unicast if destination.is_ipv6() => Err(Errno::NETUNREACH),
            RouteKind::Unicast | RouteKind::Local | RouteKind::Broadcast => Ok(best),
        };
    }
    Err(Errno::NETUNREACH)
}

/// The routes in the order in which dumps show them: by family, table, network and length of the prefix.
pub fn sorted(routes: &[Route]) -> Vec<Route> {
    let mut sorted = routes.to_vec();
    sorted.sort_by_key(|route| (route.destination.is_ipv6(), route.table, route.destination, route.prefix_length, route.priority));
    sorted
}
