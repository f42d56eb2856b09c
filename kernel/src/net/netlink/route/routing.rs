//! `RTM_*ROUTE` and `RTM_GETRULE`: where packets go (`rtnetlink(7)`).

use super::super::request::{Answer, Handled, Request, refuse};
use super::super::wire::{Attributes, Message};
use super::super::zeros;
use super::{ROUTE_NEW, RULE_NEW, address_of, family_of, is_wanted, octets};
use crate::errno::{Errno, Result};
use crate::net::loopback::{INDEX, Loopback};
use crate::net::routes::{DEFAULT_TABLE, LOCAL_TABLE, MAIN_TABLE, Route, RouteKind, find, network_of, sorted};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use linux_raw_sys::net;
use linux_raw_sys::netlink;

/// Bytes of `struct rtmsg`.
const FIXED_BYTES: usize = 12;
/// Metric of an IPv6 route of which a program did not say it (`IP6_RT_PRIO_USER`).
const V6_PRIORITY: u32 = 1024;
/// `RTM_F_CLONED`: the answer to a question for one destination.
const CLONED: u32 = 0x200;
/// `RTCF_LOCAL` (`linux/in_route.h`).
const LOCAL_FLAG: u32 = 0x8000_0000;
/// `RT_SCOPE_NOWHERE`.
const NOWHERE: u8 = netlink::rt_scope_t::RT_SCOPE_NOWHERE as u8;

fn fixed(route: &Route, flags: u32) -> Vec<u8> {
    let table = u8::try_from(route.table).unwrap_or(netlink::rt_class_t::RT_TABLE_COMPAT as u8);
    let family = family_of(route.destination);
    let head = [family, route.prefix_length, 0, 0, table, route.protocol, route.scope, route.kind as u8];
    [&head[..], &flags.to_ne_bytes()].concat()
}

/// The message that describes a route.
pub(super) fn describe(route: &Route, message: Message) -> Message {
    let mut message = message.fixed(&fixed(route, 0));
    message.number(netlink::rtattr_type_t::RTA_TABLE as u32, route.table);
    if route.prefix_length > 0 {
        message.attribute(netlink::rtattr_type_t::RTA_DST as u32, &octets(route.destination));
    }
    let is_v6 = route.destination.is_ipv6();
    if route.priority != 0 || is_v6 {
        message.number(netlink::rtattr_type_t::RTA_PRIORITY as u32, route.priority);
    }
    if let Some(source) = route.preferred_source {
        message.attribute(netlink::rtattr_type_t::RTA_PREFSRC as u32, &octets(source));
    }
    if let Some(gateway) = route.gateway {
        message.attribute(netlink::rtattr_type_t::RTA_GATEWAY as u32, &octets(gateway));
    }
    // Those of IPv6 that refuse stand on the loopback, too.
    if route.kind.has_device() || is_v6 {
        message.number(netlink::rtattr_type_t::RTA_OIF as u32, INDEX);
    }
    if is_v6 {
        message.attribute(netlink::rtattr_type_t::RTA_CACHEINFO as u32, &zeros(size_of::<netlink::rta_cacheinfo>()));
        message.attribute(netlink::rtattr_type_t::RTA_PREF as u32, &[0]);
    }
    message
}

/// The table that a request means, 0 for none in particular.
fn table_of(request: &Request<'_>, attributes: Attributes<'_>) -> Result<u32> {
    Ok(attributes.number(netlink::rtattr_type_t::RTA_TABLE as u32)?.unwrap_or(u32::from(request.byte(4))))
}

/// All routes; a strict request may name table, protocol, kind and device.
pub(super) fn dump(request: &Request<'_>) -> Handled {
    let family = request.byte(0);
    let mut is_shown: (u32, u8, u8, u32) = (0, 0, 0, 0);
    if request.socket.is_strict() {
        let attributes = request.attributes(FIXED_BYTES)?;
        if request.byte(1) != 0 || request.byte(2) != 0 || request.byte(3) != 0 || request.byte(6) != 0 {
            return refuse(Errno::INVAL, "the header has values that filter nothing");
        }
        let device = attributes.number(netlink::rtattr_type_t::RTA_OIF as u32)?.unwrap_or(0);
        if device > INDEX {
            return Err(Errno::NODEV.into());
        }
        is_shown = (table_of(request, attributes)?, request.byte(5), request.byte(7), device);
        let is_v4 = u32::from(family) == net::AF_INET;
        let has_one_family = is_v4 || u32::from(family) == net::AF_INET6;
        if is_shown.0 != 0 && has_one_family && !request.network().loopback.lock().has_table(is_v4, is_shown.0) {
            return request.dump_until(Vec::new(), Some(Errno::NOENT));
        }
    }
    // `RTM_F_CLONED` asks for cached routes, of which there are none.
    let wants_cache = request.payload.len() >= FIXED_BYTES && request.word(8) & CLONED != 0;
    let (table, protocol, kind, device) = is_shown;
    let routes = sorted(request.network().loopback.lock().routes());
    let shown = routes.iter().filter(|route| {
        !wants_cache
            && is_wanted(family, route.destination)
            && (table == 0 || table == route.table)
            && (protocol == 0 || protocol == route.protocol)
            && (kind == 0 || kind == route.kind as u8)
            && (device == 0 || route.kind.has_device())
    });
    let messages = shown.map(|route| describe(route, request.answer(ROUTE_NEW, netlink::NLM_F_MULTI)).finish()).collect();
    request.dump(messages)
}

/// The route to one destination.
pub(super) fn get(request: &Request<'_>) -> Handled {
    let attributes = request.attributes(FIXED_BYTES)?;
    let family = request.byte(0);
    let unspecified: IpAddr = if u32::from(family) == net::AF_INET6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let given = attributes.get(netlink::rtattr_type_t::RTA_DST as u32).map(|bytes| address_of(family, bytes)).transpose()?;
    if !matches!(u32::from(family), net::AF_INET | net::AF_INET6) {
        return Err(Errno::OPNOTSUPP.into());
    }
    let mut destination = given.unwrap_or(unspecified);
    if destination == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        destination = Ipv4Addr::LOCALHOST.into();
    }
    let route = find(request.network().loopback.lock().routes(), destination)?.clone();
    let is_v4 = destination.is_ipv4();
    let mut flags = if is_v4 { CLONED } else { 0 };
    // All that goes through a loopback is local in this sense.
    flags |= if is_v4 { LOCAL_FLAG } else { 0 };
    // IPv4's local table is a part of the main one until there are rules.
    let table = if is_v4 { MAIN_TABLE } else { route.table };
    let prefix_length = if is_v4 { 32 } else { 128 };
    let shown = Route { destination, prefix_length, table, protocol: if is_v4 { 0 } else { route.protocol }, scope: 0, ..route.clone() };
    let mut fixed = fixed(&shown, flags);
    if !is_v4 {
        // No source was asked for: that one, whole.
        fixed[2] = 128;
    }
    let mut message = request.answer(ROUTE_NEW, 0).fixed(&fixed);
    message.number(netlink::rtattr_type_t::RTA_TABLE as u32, table);
    message.attribute(netlink::rtattr_type_t::RTA_DST as u32, &octets(destination));
    if !is_v4 {
        message.attribute(netlink::rtattr_type_t::RTA_SRC as u32, &octets(unspecified));
    }
    message.number(netlink::rtattr_type_t::RTA_OIF as u32, INDEX);
    let source = route.preferred_source.or((route.kind == RouteKind::Local).then_some(destination));
    if let Some(source) = source {
        message.attribute(netlink::rtattr_type_t::RTA_PREFSRC as u32, &octets(source));
    }
    if let Some(gateway) = route.gateway {
        message.attribute(netlink::rtattr_type_t::RTA_GATEWAY as u32, &octets(gateway));
    }
    if is_v4 {
        message.number(netlink::rtattr_type_t::RTA_UID as u32, 0);
    } else {
        message.number(netlink::rtattr_type_t::RTA_PRIORITY as u32, route.priority);
        message.attribute(netlink::rtattr_type_t::RTA_PREF as u32, &[0]);
    }
    message.attribute(netlink::rtattr_type_t::RTA_CACHEINFO as u32, &zeros(size_of::<netlink::rta_cacheinfo>()));
    request.reply(message)
}

/// What a request says of a route.
struct Wanted {
    route: Route,
    device: Option<u32>,
}

fn parse(request: &Request<'_>, attributes: Attributes<'_>) -> Result<Wanted> {
    let (family, prefix_length) = (request.byte(0), request.byte(1));
    let unspecified: IpAddr = match u32::from(family) {
        net::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        net::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Err(Errno::OPNOTSUPP),
    };
    let is_v4 = unspecified.is_ipv4();
    let given = |kind: netlink::rtattr_type_t| attributes.get(kind as u32).map(|bytes| address_of(family, bytes)).transpose();
    let destination = given(netlink::rtattr_type_t::RTA_DST)?.unwrap_or(unspecified);
    if prefix_length > if is_v4 { 32 } else { 128 } || is_v4 && network_of(destination, prefix_length) != destination {
        return Err(Errno::INVAL);
    }
    let destination = network_of(destination, prefix_length);
    if [netlink::rtattr_type_t::RTA_MULTIPATH, netlink::rtattr_type_t::RTA_ENCAP].iter().any(|kind| attributes.get(*kind as u32).is_some())
    {
        return Err(Errno::OPNOTSUPP);
    }
    let table = match table_of(request, attributes)? {
        0 => MAIN_TABLE,
        table => table,
    };
    let kind = if request.byte(7) == 0 { RouteKind::Unicast } else { RouteKind::from_number(request.byte(7))? };
    let priority = attributes.number(netlink::rtattr_type_t::RTA_PRIORITY as u32)?.unwrap_or(0);
    let gateway = given(netlink::rtattr_type_t::RTA_GATEWAY)?.filter(|gateway| !gateway.is_unspecified());
    let route = Route {
        table,
        destination,
        prefix_length,
        kind,
        scope: request.byte(6),
        protocol: request.byte(5),
        priority,
        gateway,
        preferred_source: given(netlink::rtattr_type_t::RTA_PREFSRC)?,
    };
    Ok(Wanted { route, device: attributes.number(netlink::rtattr_type_t::RTA_OIF as u32)?.filter(|device| *device != 0) })
}

/// `RTM_NEWROUTE`.
pub(super) fn create(request: &Request<'_>) -> Handled {
    let attributes = request.attributes(FIXED_BYTES)?;
    let Wanted { mut route, device } = parse(request, attributes)?;
    if route.destination.is_ipv6() {
        // IPv6 keeps no scopes.
        route.scope = 0;
        if route.priority == 0 {
            route.priority = V6_PRIORITY;
        }
    }
    let has = |flag| request.header.has(flag);
    let (create, exclusive, replace) = (has(netlink::NLM_F_CREATE), has(netlink::NLM_F_EXCL), has(netlink::NLM_F_REPLACE));
    request.network().change(|loopback, events| {
        check(loopback, &route, device)?;
        loopback.insert_route(route.clone(), create, exclusive, replace, events)
    })?;
    Ok(Answer::Done)
}

/// Whether the route can be: its device is there and up, its gateway can be reached, its source is an own address.
fn check(loopback: &Loopback, route: &Route, device: Option<u32>) -> Result<()> {
    if !route.kind.has_device() {
        return if route.destination.is_ipv4() && (device.is_some() || route.gateway.is_some()) { Err(Errno::INVAL) } else { Ok(()) };
    }
    match (device, route.gateway) {
        (Some(INDEX), _) if !loopback.is_up() => return Err(Errno::NETDOWN),
        (Some(INDEX), None) => {}
        (Some(INDEX) | None, Some(gateway)) => {
            if !matches!(loopback.route_to(gateway).map_err(|_| Errno::NETUNREACH)?.kind, RouteKind::Unicast | RouteKind::Local) {
                return Err(Errno::INVAL);
            }
        }
        _ => return Err(Errno::NODEV),
    }
    match route.preferred_source {
        Some(source) if !loopback.is_local(source) => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

/// `RTM_DELROUTE`: the first route that is all that the request says.
pub(super) fn delete(request: &Request<'_>) -> Handled {
    let attributes = request.attributes(FIXED_BYTES)?;
    let Wanted { route: wanted, device } = parse(request, attributes)?;
    let has_kind = request.byte(7) != 0;
    let is_meant = |route: &Route| {
        (route.table, route.destination, route.prefix_length) == (wanted.table, wanted.destination, wanted.prefix_length)
            && (!has_kind || route.kind == wanted.kind)
            && (wanted.scope == NOWHERE || route.destination.is_ipv6() || route.scope == wanted.scope)
            && (wanted.protocol == 0 || route.protocol == wanted.protocol)
            && (wanted.priority == 0 || route.priority == wanted.priority)
            && (wanted.gateway.is_none() || route.gateway == wanted.gateway)
            && (device.is_none() || route.kind.has_device() && device == Some(INDEX))
    };
    request.network().change(|loopback, events| loopback.delete_route(is_meant, events))?;
    Ok(Answer::Done)
}

/// `RTM_GETRULE`: the rules that every namespace begins with, which nothing changes here.
pub(super) fn dump_rules(request: &Request<'_>) -> Handled {
    /// `FR_ACT_TO_TBL` (`linux/fib_rules.h`).
    const TO_TABLE: u8 = 1;
    const RULES: [(u32, u32, u32); 5] = [
        (net::AF_INET, 0, LOCAL_TABLE),
        (net::AF_INET, 32766, MAIN_TABLE),
        (net::AF_INET, 32767, DEFAULT_TABLE),
        (net::AF_INET6, 0, LOCAL_TABLE),
        (net::AF_INET6, 32766, MAIN_TABLE),
    ];
    let family = u32::from(request.byte(0));
    let mut messages = Vec::new();
    for (of, priority, table) in RULES.into_iter().filter(|(of, ..)| family == 0 || family == *of) {
        let fixed = [of as u8, 0, 0, 0, table as u8, 0, 0, TO_TABLE, 0, 0, 0, 0];
        let mut message = request.answer(RULE_NEW, netlink::NLM_F_MULTI).fixed(&fixed);
        message.number(netlink::FRA_TABLE as u32, table);
        message.number(netlink::FRA_SUPPRESS_PREFIXLEN as u32, u32::MAX);
        message.attribute(netlink::FRA_PROTOCOL as u32, &[netlink::RTPROT_KERNEL as u8]);
        if priority != 0 {
            message.number(netlink::FRA_PRIORITY as u32, priority);
        }
        messages.push(message.finish());
    }
    request.dump(messages)
}
