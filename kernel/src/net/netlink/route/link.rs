//! `RTM_*LINK`: the loopback device (`rtnetlink(7)`).

use super::super::request::{Answer, Handled, Refusal, Request, refuse};
use super::super::wire::{Attributes, Message};
use super::super::zeros;
use super::{LINK_NEW, NAMESPACE_ID_NEW};
use crate::errno::{Errno, Result};
use crate::net::loopback::{HARDWARE_TYPE, INDEX, NAME_MAX_BYTES};
use crate::net::{Event, Loopback};
use alloc::vec::Vec;
use linux_raw_sys::net;
use linux_raw_sys::netlink::{self, rtnl_link_stats, rtnl_link_stats64};

/// Bytes of `struct ifinfomsg`.
const FIXED_BYTES: usize = 16;
/// `RTEXT_FILTER_SKIP_STATS` of `IFLA_EXT_MASK`.
const SKIP_STATISTICS: u32 = 1 << 3;
/// `IF_OPER_*` (`linux/if.h`).
const OPERATION_UNKNOWN: u8 = 0;
const OPERATION_DOWN: u8 = 2;

/// The message that describes the device: `changed` are the flags that did.
pub(super) fn describe(loopback: &Loopback, message: Message, changed: u32, skip_statistics: bool) -> Message {
    let mut fixed = Vec::with_capacity(FIXED_BYTES);
    fixed.extend_from_slice(&[net::AF_UNSPEC as u8, 0]);
    fixed.extend_from_slice(&HARDWARE_TYPE.to_ne_bytes());
    for word in [INDEX, loopback.flags(), changed] {
        fixed.extend_from_slice(&word.to_ne_bytes());
    }
    let mut message = message.fixed(&fixed);
    message.text(netlink::IFLA_IFNAME as u32, &loopback.name);
    message.number(netlink::IFLA_TXQLEN as u32, loopback.queue_length);
    message.attribute(netlink::IFLA_OPERSTATE as u32, &[if loopback.is_up() { OPERATION_UNKNOWN } else { OPERATION_DOWN }]);
    message.attribute(netlink::IFLA_LINKMODE as u32, &[0]);
    let numbers = [
        (netlink::IFLA_MTU, loopback.mtu),
        (netlink::IFLA_MIN_MTU, 0),
        (netlink::IFLA_MAX_MTU, 0),
        (netlink::IFLA_GROUP, loopback.group),
        (netlink::IFLA_PROMISCUITY, 0),
        (netlink::IFLA_ALLMULTI, 0),
        (netlink::IFLA_NUM_TX_QUEUES, 1),
        (netlink::IFLA_GSO_MAX_SEGS, 65535),
        (netlink::IFLA_GSO_MAX_SIZE, 65536),
        (netlink::IFLA_NUM_RX_QUEUES, 1),
    ];
    for (kind, value) in numbers {
        message.number(kind as u32, value);
    }
    message.attribute(netlink::IFLA_CARRIER as u32, &[1]);
    message.text(netlink::IFLA_QDISC as u32, if loopback.was_up { b"noqueue" } else { b"noop" });
    if !loopback.alias.is_empty() {
        message.text(netlink::IFLA_IFALIAS as u32, &loopback.alias);
    }
    for kind in [netlink::IFLA_CARRIER_CHANGES, netlink::IFLA_CARRIER_UP_COUNT, netlink::IFLA_CARRIER_DOWN_COUNT] {
        message.number(kind as u32, 0);
    }
    message.attribute(netlink::IFLA_PROTO_DOWN as u32, &[0]);
    message.attribute(netlink::IFLA_MAP as u32, &zeros(size_of::<netlink::rtnl_link_ifmap>()));
    message.attribute(netlink::IFLA_ADDRESS as u32, &loopback.hardware_address);
    message.attribute(netlink::IFLA_BROADCAST as u32, &[0; 6]);
    if !skip_statistics {
        put_statistics(loopback, &mut message);
    }
    message.nested(netlink::IFLA_AF_SPEC as u32, false, |families| {
        families.nested(net::AF_INET6, false, |v6| {
            /// `IF_READY` of an interface that is up.
            const READY: u32 = 0x8000_0000;
            v6.number(netlink::IFLA_INET6_FLAGS as u32, if loopback.is_up() { READY } else { 0 });
            v6.attribute(netlink::IFLA_INET6_ADDR_GEN_MODE as u32, &[0]);
        });
    });
    message
}

/// What was received is what was sent; nothing else ever happens to a packet.
fn put_statistics(loopback: &Loopback, message: &mut Message) {
    let counts = [loopback.packets, loopback.packets, loopback.bytes, loopback.bytes];
    let mut wide: Vec<u8> = counts.iter().flat_map(|count| count.to_ne_bytes()).collect();
    wide.resize(size_of::<rtnl_link_stats64>(), 0);
    message.attribute(netlink::IFLA_STATS64 as u32, &wide);
    let mut narrow: Vec<u8> = counts.iter().flat_map(|count| (*count as u32).to_ne_bytes()).collect();
    narrow.resize(size_of::<rtnl_link_stats>(), 0);
    message.attribute(netlink::IFLA_STATS as u32, &narrow);
}

fn skips_statistics(attributes: Attributes<'_>) -> Result<bool> {
    Ok(attributes.number(netlink::IFLA_EXT_MASK as u32)?.unwrap_or(0) & SKIP_STATISTICS != 0)
}

/// All devices: the one. Nothing for those who ask for a master or a kind, which it has not.
pub(super) fn dump(request: &Request<'_>) -> Handled {
    // The header may be a struct rtgenmsg of one byte.
    let attributes = Attributes::behind(request.payload, FIXED_BYTES).or_else(|_| Attributes::behind(&[], 0))?;
    let is_bridge = u32::from(request.byte(0)) == net::AF_BRIDGE;
    let has_filter = attributes.get(netlink::IFLA_MASTER as u32).is_some() || attributes.get(netlink::IFLA_LINKINFO as u32).is_some();
    if is_bridge || has_filter {
        return request.dump(Vec::new());
    }
    let skip = skips_statistics(attributes)?;
    let message = describe(&request.network().loopback.lock(), request.answer(LINK_NEW, netlink::NLM_F_MULTI), 0, skip);
    request.dump(alloc::vec![message.finish()])
}

/// The name that a request gives. `EINVAL` for one that is too long.
fn name_of(attributes: Attributes<'_>) -> Result<Option<&[u8]>> {
    let name = attributes.text(netlink::IFLA_IFNAME as u32);
    if name.is_some_and(|name| name.len() > NAME_MAX_BYTES) { Err(Errno::INVAL) } else { Ok(name) }
}

/// Whether a request means the device, by index or else by name. `None`: it names none at all.
fn is_meant(loopback: &Loopback, request: &Request<'_>, attributes: Attributes<'_>) -> Result<Option<bool>> {
    let index = request.word(4) as i32;
    let name = name_of(attributes)?.or_else(|| attributes.text(netlink::IFLA_ALT_IFNAME as u32));
    Ok(match (index, name) {
        (1.., _) => Some(index as u32 == INDEX),
        (_, Some(name)) => Some(name == loopback.name),
        _ => None,
    })
}

pub(super) fn get(request: &Request<'_>) -> Handled {
    let attributes = request.attributes(FIXED_BYTES)?;
    let loopback = request.network().loopback.lock();
    match is_meant(&loopback, request, attributes)? {
        None => return Err(Errno::INVAL.into()),
        Some(false) => return Err(Errno::NODEV.into()),
        Some(true) => {}
    }
    let message = describe(&loopback, request.answer(LINK_NEW, 0), 0, skips_statistics(attributes)?);
    drop(loopback);
    request.reply(message)
}

/// `RTM_NEWLINK`: changes the device that is there. Others cannot be made.
pub(super) fn create_or_change(request: &Request<'_>) -> Handled {
    let attributes = request.attributes(FIXED_BYTES)?;
    if (request.word(4) as i32) < 0 {
        return refuse(Errno::INVAL, "the index is negative");
    }
    let meant = is_meant(&request.network().loopback.lock(), request, attributes)?;
    let has_kind = attributes.inside(netlink::IFLA_LINKINFO as u32).and_then(|link| link.text(netlink::IFLA_INFO_KIND as u32)).is_some();
    if meant == Some(true) {
        if request.header.has(netlink::NLM_F_EXCL) {
            return Err(Errno::EXIST.into());
        }
        if request.header.has(netlink::NLM_F_REPLACE) || has_kind {
            return Err(Errno::OPNOTSUPP.into());
        }
        return apply(request, attributes);
    }
    if !request.header.has(netlink::NLM_F_CREATE) {
        return Err(Errno::NODEV.into());
    }
    refuse(Errno::OPNOTSUPP, "this kernel has no devices but the loopback")
}

/// `RTM_SETLINK`.
pub(super) fn change(request: &Request<'_>) -> Handled {
    let attributes = request.attributes(FIXED_BYTES)?;
    let meant = is_meant(&request.network().loopback.lock(), request, attributes)?;
    match meant {
        None => Err(Errno::INVAL.into()),
        Some(false) => Err(Errno::NODEV.into()),
        Some(true) => apply(request, attributes),
    }
}

/// `RTM_DELLINK`: the loopback goes with its namespace only.
pub(super) fn delete(request: &Request<'_>) -> Handled {
    let attributes = request.attributes(FIXED_BYTES)?;
    let meant = is_meant(&request.network().loopback.lock(), request, attributes)?;
    Err(match meant {
        None => Errno::INVAL.into(),
        Some(false) => Errno::NODEV.into(),
        Some(true) => Refusal { errno: Errno::OPNOTSUPP, words: "the loopback cannot be removed" },
    })
}

/// Does what the attributes and flags of a request ask for, in Linux's order.
fn apply(request: &Request<'_>, attributes: Attributes<'_>) -> Handled {
    if [netlink::IFLA_NET_NS_PID, netlink::IFLA_NET_NS_FD].iter().any(|kind| attributes.get(*kind as u32).is_some()) {
        return refuse(Errno::INVAL, "the loopback cannot leave its namespace");
    }
    if attributes.number(netlink::IFLA_MASTER as u32)?.unwrap_or(0) != 0 {
        return Err(Errno::INVAL.into());
    }
    let (flags, mask) = (request.word(8), request.word(12));
    let v6_disabled = request.network().settings.is_v6_disabled();
    request.network().change(|loopback, events| {
        set_values(loopback, attributes, events)?;
        if let Some(name) = name_of(attributes)?.filter(|name| !name.is_empty()) {
            loopback.rename(name, events)?;
        }
        if flags != 0 || mask != 0 {
            let new = if mask == 0 { flags } else { (loopback.flags() & !mask) | (flags & mask) };
            loopback.set_flags(new, v6_disabled, events);
        }
        Ok(())
    })?;
    Ok(Answer::Done)
}

fn set_values(loopback: &mut Loopback, attributes: Attributes<'_>, events: &mut Vec<Event>) -> Result<()> {
    /// `IFALIASZ`.
    const ALIAS_MAX_BYTES: usize = 255;
    let mut changed = false;
    if let Some(address) = attributes.get(netlink::IFLA_ADDRESS as u32) {
        let address: [u8; 6] = *address.first_chunk().ok_or(Errno::INVAL)?;
        set_hardware_address(loopback, address)?;
        changed = true;
    }
    if let Some(mtu) = attributes.number(netlink::IFLA_MTU as u32)? {
        set_mtu(loopback, mtu)?;
        changed = true;
    }
    if let Some(group) = attributes.number(netlink::IFLA_GROUP as u32)? {
        loopback.group = group;
    }
    if let Some(alias) = attributes.text(netlink::IFLA_IFALIAS as u32) {
        if alias.len() > ALIAS_MAX_BYTES {
            return Err(Errno::INVAL);
        }
        loopback.alias = alias.to_vec();
        changed = true;
    }
    if let Some(length) = attributes.number(netlink::IFLA_TXQLEN as u32)? {
        loopback.queue_length = length;
        changed = true;
    }
    if changed {
        events.push(Event::Link(0));
    }
    Ok(())
}

/// `EADDRNOTAVAIL` for what can be no station's address: zero, and those of groups.
pub fn set_hardware_address(loopback: &mut Loopback, address: [u8; 6]) -> Result<()> {
    const GROUP_BIT: u8 = 1;
    if address == [0; 6] || address[0] & GROUP_BIT != 0 {
        return Err(Errno::ADDRNOTAVAIL);
    }
    loopback.hardware_address = address;
    Ok(())
}

/// `EINVAL` for lengths that are negative as `int`.
pub fn set_mtu(loopback: &mut Loopback, mtu: u32) -> Result<()> {
    i32::try_from(mtu).map_err(|_| Errno::INVAL)?;
    loopback.mtu = mtu;
    Ok(())
}

/// `RTM_GETNSID`: no namespace has been given an id, which is told as -1.
pub(super) fn namespace_id(request: &Request<'_>) -> Handled {
    /// Which linux-raw-sys lacks (`linux/net_namespace.h`).
    const NETNSA_NSID: u32 = 1;
    let mut message = request.answer(NAMESPACE_ID_NEW, 0).fixed(&[0]);
    message.number(NETNSA_NSID, u32::MAX);
    request.reply(message)
}
