//! `RTM_*ADDR`: the addresses of the loopback device (`rtnetlink(7)`).

use super::super::request::{Answer, Handled, Request, refuse};
use super::super::wire::{Attributes, Message};
use super::{ADDRESS_NEW, address_of, family_of, is_wanted, octets};
use crate::errno::{Errno, Result};
use crate::net::Address;
use crate::net::loopback::INDEX;
use crate::net::routes::network_of;
use crate::time::clock;
use alloc::vec::Vec;
use core::net::IpAddr;
use linux_raw_sys::net;
use linux_raw_sys::netlink;

/// Bytes of `struct ifaddrmsg`.
const FIXED_BYTES: usize = 8;

/// The message that describes an address.
pub(super) fn describe(address: &Address, message: Message) -> Message {
    let family = family_of(address.local);
    let fixed = [&[family, address.prefix_length, address.flags as u8, address.scope][..], &INDEX.to_ne_bytes()].concat();
    let mut message = message.fixed(&fixed);
    let local = octets(address.local);
    if address.local.is_ipv4() {
        message.attribute(netlink::IFA_ADDRESS as u32, &octets(address.peer));
        message.attribute(netlink::IFA_LOCAL as u32, &local);
        if let Some(broadcast) = address.broadcast {
            message.attribute(netlink::IFA_BROADCAST as u32, &broadcast.octets());
        }
        message.text(netlink::IFA_LABEL as u32, &address.label);
    } else if address.peer == address.local {
        message.attribute(netlink::IFA_ADDRESS as u32, &local);
    } else {
        message.attribute(netlink::IFA_LOCAL as u32, &local);
        message.attribute(netlink::IFA_ADDRESS as u32, &octets(address.peer));
    }
    if address.protocol != 0 {
        message.attribute(netlink::IFA_PROTO as u32, &[address.protocol]);
    }
    message.number(netlink::IFA_FLAGS as u32, address.flags);
    // struct ifa_cacheinfo: lifetimes in seconds, times in hundredths of a second.
    let stamp = |time_ns: u64| (time_ns / (clock::NS_PER_SECOND / 100)) as u32;
    let [preferred, valid] = address.lifetimes_s;
    let cache = [preferred, valid, stamp(address.times_ns[0]), stamp(address.times_ns[1])];
    message.attribute(netlink::IFA_CACHEINFO as u32, &cache.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>());
    message
}

/// All addresses of a family, or of both. A strict request may name a device.
pub(super) fn dump(request: &Request<'_>) -> Handled {
    let family = request.byte(0);
    let mut wanted = true;
    if request.socket.is_strict() {
        let attributes = request.attributes(FIXED_BYTES)?;
        if request.byte(1) != 0 || request.byte(2) != 0 || request.byte(3) != 0 {
            return refuse(Errno::INVAL, "the header has values that filter nothing");
        }
        match request.word(4) {
            0 => {}
            INDEX => {}
            _ if u32::from(family) == net::AF_INET || u32::from(family) == net::AF_INET6 => return Err(Errno::NODEV.into()),
            _ => wanted = false,
        }
        if attributes.iter().any(|(kind, _)| kind != netlink::IFA_TARGET_NETNSID as u32) {
            return refuse(Errno::INVAL, "the request has attributes that filter nothing");
        }
    }
    let addresses = request.network().loopback.lock().addresses().to_vec();
    let shown = addresses.iter().filter(|address| wanted && is_wanted(family, address.local));
    let messages = shown.map(|address| describe(address, request.answer(ADDRESS_NEW, netlink::NLM_F_MULTI)).finish()).collect();
    request.dump(messages)
}

/// One address, of IPv6 only.
pub(super) fn get(request: &Request<'_>) -> Handled {
    if u32::from(request.byte(0)) != net::AF_INET6 {
        return Err(Errno::OPNOTSUPP.into());
    }
    let attributes = request.attributes(FIXED_BYTES)?;
    let given = attributes.get(netlink::IFA_LOCAL as u32).or_else(|| attributes.get(netlink::IFA_ADDRESS as u32)).ok_or(Errno::INVAL)?;
    let local = address_of(request.byte(0), given)?;
    let found = request.network().loopback.lock().addresses().iter().find(|address| address.local == local).cloned();
    let address = found.ok_or(Errno::ADDRNOTAVAIL)?;
    request.reply(describe(&address, request.answer(ADDRESS_NEW, 0)))
}

/// What a request says of an address. `EINVAL` without an address or with too long a prefix, `ENODEV` for other devices.
fn parse(request: &Request<'_>, attributes: Attributes<'_>) -> Result<Address> {
    let (family, prefix_length, scope) = (request.byte(0), request.byte(1), request.byte(3));
    let is_v4 = u32::from(family) == net::AF_INET;
    let given = |kind: netlink::_bindgen_ty_56| attributes.get(kind as u32).map(|bytes| address_of(family, bytes)).transpose();
    let (local, peer) = (given(netlink::IFA_LOCAL)?, given(netlink::IFA_ADDRESS)?);
    let local = if is_v4 { local } else { local.or(peer) }.ok_or(Errno::INVAL)?;
    if prefix_length > if is_v4 { 32 } else { 128 } {
        return Err(Errno::INVAL);
    }
    if request.word(4) != INDEX {
        return Err(Errno::NODEV);
    }
    let mut address = Address::new(local, prefix_length, scope);
    address.peer = peer.unwrap_or(local);
    let flags = attributes.number(netlink::IFA_FLAGS as u32)?.unwrap_or(u32::from(request.byte(2)));
    address.flags = (flags & !netlink::IFA_F_SECONDARY) | netlink::IFA_F_PERMANENT;
    if let Some(IpAddr::V4(broadcast)) = given(netlink::IFA_BROADCAST)? {
        address.broadcast = Some(broadcast);
    }
    if is_v4 {
        address.label =
            attributes.text(netlink::IFA_LABEL as u32).map_or_else(|| request.network().loopback.lock().name.clone(), <[u8]>::to_vec);
    } else {
        address.scope = v6_scope(local);
    }
    address.protocol = attributes.get(netlink::IFA_PROTO as u32).and_then(|value| value.first().copied()).unwrap_or(0);
    if let Some(cache) = attributes.get(netlink::IFA_CACHEINFO as u32) {
        address.lifetimes_s = lifetimes(cache)?;
        if address.lifetimes_s[1] != u32::MAX {
            address.flags &= !netlink::IFA_F_PERMANENT;
        }
    }
    Ok(address)
}

/// Preferred and valid lifetime. `EINVAL` if it is not valid at all, or preferred for longer.
fn lifetimes(cache: &[u8]) -> Result<[u32; 2]> {
    let bytes: [u8; 8] = *cache.first_chunk().ok_or(Errno::INVAL)?;
    let [a, b, c, d, e, f, g, h] = bytes;
    let (preferred, valid) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
    if valid == 0 || preferred > valid { Err(Errno::INVAL) } else { Ok([preferred, valid]) }
}

/// The scope that an IPv6 address has by itself.
fn v6_scope(address: IpAddr) -> u8 {
    match address {
        IpAddr::V6(address) if address.is_loopback() => crate::net::loopback::HOST_SCOPE,
        IpAddr::V6(address) if address.is_unicast_link_local() => crate::net::loopback::LINK_SCOPE,
        _ => 0,
    }
}

/// `RTM_NEWADDR`. `EEXIST` for one that is there, unless it may be replaced.
pub(super) fn create(request: &Request<'_>) -> Handled {
    let attributes = request.attributes(FIXED_BYTES)?;
    let address = parse(request, attributes)?;
    let (is_v6, local) = (address.local.is_ipv6(), address.local);
    if is_v6 && request.network().settings.is_v6_disabled() {
        return refuse(Errno::ACCES, "IPv6 is disabled on this device");
    }
    if is_v6 && local.is_multicast() {
        return Err(Errno::ADDRNOTAVAIL.into());
    }
    let may_replace = request.header.has(netlink::NLM_F_REPLACE) && !request.header.has(netlink::NLM_F_EXCL);
    request.network().change(|loopback, events| match loopback.add_address(address.clone(), events) {
        Err(Errno::EXIST) if may_replace => {
            loopback.touch_address(&address, events);
            Ok(())
        }
        result => result,
    })?;
    Ok(Answer::Done)
}

/// `RTM_DELADDR`. `EADDRNOTAVAIL` if it is not there.
pub(super) fn delete(request: &Request<'_>) -> Handled {
    let attributes = request.attributes(FIXED_BYTES)?;
    let (family, prefix_length) = (request.byte(0), request.byte(1));
    let is_v4 = u32::from(family) == net::AF_INET;
    let given = |kind: netlink::_bindgen_ty_56| attributes.get(kind as u32).map(|bytes| address_of(family, bytes)).transpose();
    let (local, peer) = (given(netlink::IFA_LOCAL)?, given(netlink::IFA_ADDRESS)?);
    let local = if is_v4 { local } else { local.or(peer) };
    if !is_v4 && local.is_none() {
        return Err(Errno::INVAL.into());
    }
    let label = attributes.text(netlink::IFA_LABEL as u32);
    if request.word(4) != INDEX {
        return Err(Errno::NODEV.into());
    }
    let is_meant = |address: &Address| {
        let same_network = peer.is_none_or(|peer| {
            address.prefix_length == prefix_length && network_of(address.peer, prefix_length) == network_of(peer, prefix_length)
        });
        address.local.is_ipv4() == is_v4
            && local.is_none_or(|local| address.local == local)
            && label.is_none_or(|label| !is_v4 || address.label == label)
            && if is_v4 { same_network } else { address.prefix_length == prefix_length }
    };
    request.network().change(|loopback, events| loopback.remove_address(is_meant, events))?;
    Ok(Answer::Done)
}
