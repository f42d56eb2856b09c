//! `NETLINK_ROUTE` (`rtnetlink(7)`): links, addresses, routes, and notifications of their changes.

mod address;
mod link;
mod routing;

pub use link::{set_hardware_address, set_mtu};

use super::request::{Answer, Handled, Request};
use super::wire::Message;
use crate::errno::Errno;
use crate::net::{Event, NetworkNamespace};
use crate::task::Capabilities;
use alloc::vec::Vec;
use core::net::IpAddr;
use linux_raw_sys::net;
use linux_raw_sys::netlink::{self, rtnetlink_groups as groups};

/// Answers one request.
pub(super) fn handle(request: &Request<'_>) -> Handled {
    /// What the lowest two bits of a message's type say: whether it asks.
    const GET: u32 = 2;
    const LAST: u32 = netlink::RTM_GETTUNNEL as u32 + 1;
    let kind = u32::from(request.header.kind);
    if kind > LAST {
        return Err(Errno::OPNOTSUPP.into());
    }
    if request.payload.is_empty() {
        return Ok(Answer::Done);
    }
    let asks = kind & 3 == GET;
    if !asks {
        request.require(Capabilities::NET_ADMIN)?;
    }
    let dumps = asks && request.header.has(netlink::NLM_F_DUMP);
    match (kind, dumps) {
        (LINK_GET, true) => link::dump(request),
        (LINK_GET, false) => link::get(request),
        (LINK_NEW, _) => link::create_or_change(request),
        (LINK_SET, _) => link::change(request),
        (LINK_DELETE, _) => link::delete(request),
        (ADDRESS_GET, true) => address::dump(request),
        (ADDRESS_GET, false) => address::get(request),
        (ADDRESS_NEW, _) => address::create(request),
        (ADDRESS_DELETE, _) => address::delete(request),
        (ROUTE_GET, true) => routing::dump(request),
        (ROUTE_GET, false) => routing::get(request),
        (ROUTE_NEW, _) => routing::create(request),
        (ROUTE_DELETE, _) => routing::delete(request),
        (RULE_GET, true) => routing::dump_rules(request),
        // There are no neighbours on a loopback.
        (NEIGHBOUR_GET, true) => request.dump(Vec::new()),
        (NAMESPACE_ID_GET, false) => link::namespace_id(request),
        _ => Err(Errno::OPNOTSUPP.into()),
    }
}

const LINK_NEW: u32 = netlink::RTM_NEWLINK as u32;
const LINK_DELETE: u32 = netlink::RTM_DELLINK as u32;
const LINK_GET: u32 = netlink::RTM_GETLINK as u32;
const LINK_SET: u32 = netlink::RTM_SETLINK as u32;
const ADDRESS_NEW: u32 = netlink::RTM_NEWADDR as u32;
const ADDRESS_DELETE: u32 = netlink::RTM_DELADDR as u32;
const ADDRESS_GET: u32 = netlink::RTM_GETADDR as u32;
const ROUTE_NEW: u32 = netlink::RTM_NEWROUTE as u32;
const ROUTE_DELETE: u32 = netlink::RTM_DELROUTE as u32;
const ROUTE_GET: u32 = netlink::RTM_GETROUTE as u32;
const RULE_NEW: u32 = netlink::RTM_NEWRULE as u32;
const RULE_GET: u32 = netlink::RTM_GETRULE as u32;
const NEIGHBOUR_GET: u32 = netlink::RTM_GETNEIGH as u32;
const NAMESPACE_ID_NEW: u32 = netlink::RTM_NEWNSID as u32;
const NAMESPACE_ID_GET: u32 = netlink::RTM_GETNSID as u32;

/// Tells those who listen of a change.
pub fn tell(network: &NetworkNamespace, event: &Event) {
    let notice = |kind: u32| Message::new(kind as u16, 0, 0, 0);
    let by_family = |address: IpAddr, v4: groups, v6: groups| (if address.is_ipv4() { v4 } else { v6 }) as u32;
    let (group, message) = match event {
        Event::Link(changed) => (groups::RTNLGRP_LINK as u32, link::describe(&network.loopback.lock(), notice(LINK_NEW), *changed, false)),
        Event::AddressAdded(address) | Event::AddressRemoved(address) => {
            let kind = if matches!(event, Event::AddressAdded(_)) { ADDRESS_NEW } else { ADDRESS_DELETE };
            let group = by_family(address.local, groups::RTNLGRP_IPV4_IFADDR, groups::RTNLGRP_IPV6_IFADDR);
            (group, address::describe(address, notice(kind)))
        }
        Event::RouteAdded(route) | Event::RouteRemoved(route) => {
            let kind = if matches!(event, Event::RouteAdded(_)) { ROUTE_NEW } else { ROUTE_DELETE };
            let group = by_family(route.destination, groups::RTNLGRP_IPV4_ROUTE, groups::RTNLGRP_IPV6_ROUTE);
            (group, routing::describe(route, notice(kind)))
        }
    };
    super::multicast(network, netlink::NETLINK_ROUTE, group, message.finish());
}

/// The address family of an address.
fn family_of(address: IpAddr) -> u8 {
    (if address.is_ipv4() { net::AF_INET } else { net::AF_INET6 }) as u8
}

/// The bytes of an address.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// An address of a family, from its bytes. `EINVAL` if there are too few.
fn address_of(family: u8, bytes: &[u8]) -> Result<IpAddr, Errno> {
    match u32::from(family) {
        net::AF_INET => bytes.first_chunk::<4>().map(|octets| IpAddr::from(*octets)).ok_or(Errno::INVAL),
        net::AF_INET6 => bytes.first_chunk::<16>().map(|octets| IpAddr::from(*octets)).ok_or(Errno::INVAL),
        _ => Err(Errno::AFNOSUPPORT),
    }
}

/// Whether a dump for a family shows an address: 0 is all.
fn is_wanted(family: u8, address: IpAddr) -> bool {
    family == 0 || family == family_of(address)
}
