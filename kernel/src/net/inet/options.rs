//! The options of the levels IP, IPv6, TCP, UDP and raw (`ip(7)`, `ipv6(7)`, `tcp(7)`, `udp(7)`, `raw(7)`).
//!
//! Most say how packets are to be made or how a sender is to wait for a network. On a loopback they change nothing, but they are checked,
//! kept and shown.

use super::protocol;
use crate::errno::{Errno, Result};
use crate::net::NetworkNamespace;
use crate::sync::SpinLock;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use linux_raw_sys::net;

/// `SOL_IP`.
pub(super) const IP: u32 = net::IPPROTO_IP as u32;
/// `SOL_RAW`, and its one option (`raw(7)`); linux-raw-sys lacks them.
pub(super) const RAW: u32 = 255;
pub(super) const ICMP_FILTER: u32 = 1;
/// An option that linux-raw-sys lacks (`linux/udp.h`).
const UDP_CORK: u32 = 1;

/// An option that is a number.
struct Known {
    level: u32,
    name: u32,
    default: i32,
    minimum: i32,
    maximum: i32,
}

const fn known(level: u32, name: u32, default: i32, minimum: i32, maximum: i32) -> Known {
    Known { level, name, default, minimum, maximum }
}

const fn switch(level: u32, name: u32, default: i32) -> Known {
    known(level, name, default, i32::MIN, i32::MAX)
}

const TCP: u32 = protocol::TCP;
const V6: u32 = protocol::IPV6;

static KNOWN: &[Known] = &[
    known(IP, net::IP_TOS, 0, 0, 255),
    known(IP, net::IP_TTL, -1, -1, 255),
    switch(IP, net::IP_HDRINCL, 0),
    switch(IP, net::IP_RECVOPTS, 0),
    switch(IP, net::IP_RETOPTS, 0),
    switch(IP, net::IP_PKTINFO, 0),
    known(IP, net::IP_MTU_DISCOVER, 1, 0, 5),
    switch(IP, net::IP_RECVERR, 0),
    switch(IP, net::IP_RECVTTL, 0),
    switch(IP, net::IP_RECVTOS, 0),
    switch(IP, net::IP_FREEBIND, 0),
    switch(IP, net::IP_BIND_ADDRESS_NO_PORT, 0),
    known(IP, net::IP_MULTICAST_TTL, 1, -1, 255),
    known(IP, net::IP_MULTICAST_LOOP, 1, 0, 1),
    switch(IP, net::IP_MULTICAST_ALL, 1),
    known(V6, net::IPV6_UNICAST_HOPS, -1, -1, 255),
    known(V6, net::IPV6_MULTICAST_HOPS, -1, -1, 255),
    known(V6, net::IPV6_MULTICAST_LOOP, 1, 0, 1),
    known(V6, net::IPV6_MULTICAST_IF, 0, 0, 1),
    known(V6, net::IPV6_MTU_DISCOVER, 1, 0, 5),
    switch(V6, net::IPV6_V6ONLY, 0),
    switch(V6, net::IPV6_RECVERR, 0),
    switch(V6, net::IPV6_RECVPKTINFO, 0),
    switch(V6, net::IPV6_RECVHOPLIMIT, 0),
    switch(V6, net::IPV6_RECVTCLASS, 0),
    switch(V6, net::IPV6_2292PKTINFO, 0),
    switch(V6, net::IPV6_2292HOPLIMIT, 0),
    known(V6, net::IPV6_TCLASS, 0, -1, 255),
    switch(V6, net::IPV6_DONTFRAG, 0),
    switch(V6, net::IPV6_AUTOFLOWLABEL, 1),
    switch(TCP, net::TCP_NODELAY, 0),
    known(TCP, net::TCP_MAXSEG, 536, 88, 32767),
    switch(TCP, net::TCP_CORK, 0),
    known(TCP, net::TCP_KEEPIDLE, 7200, 1, 32767),
    known(TCP, net::TCP_KEEPINTVL, 75, 1, 32767),
    known(TCP, net::TCP_KEEPCNT, 9, 1, 127),
    known(TCP, net::TCP_SYNCNT, 6, 1, 127),
    switch(TCP, net::TCP_LINGER2, 60),
    switch(TCP, net::TCP_DEFER_ACCEPT, 0),
    switch(TCP, net::TCP_WINDOW_CLAMP, 0),
    switch(TCP, net::TCP_QUICKACK, 1),
    known(TCP, net::TCP_USER_TIMEOUT, 0, 0, i32::MAX),
    switch(TCP, net::TCP_NOTSENT_LOWAT, 0),
    switch(protocol::UDP, UDP_CORK, 0),
    switch(RAW, ICMP_FILTER, 0),
];

/// `ICMPV6_FILTER` at the level of ICMPv6 (`linux/icmpv6.h`): 256 bits, one for each type that is not wanted.
pub(super) const ICMP_V6_FILTER: u32 = 1;
/// Bytes of its value.
const ICMP_V6_FILTER_BYTES: usize = 32;
/// `IPV6_CHECKSUM`, which linux-raw-sys lacks (`linux/in6.h`): where the checksum of a raw packet is.
pub(super) const V6_CHECKSUM: u32 = 7;

/// The values of a socket's options: those that were set.
pub(super) struct IpOptions {
    values: SpinLock<BTreeMap<(u32, u32), i32>>,
    icmp_v6_filter: SpinLock<[u8; ICMP_V6_FILTER_BYTES]>,
    default_ttl: i32,
}

impl IpOptions {
    /// Those of a new socket of a namespace.
    pub(super) fn new(network: &NetworkNamespace) -> Self {
        let default_ttl = network.settings.number("ipv4/ip_default_ttl") as i32;
        let options =
            Self { values: SpinLock::new(BTreeMap::new()), icmp_v6_filter: SpinLock::new([0; ICMP_V6_FILTER_BYTES]), default_ttl };
        let v6_only = network.settings.number("ipv6/bindv6only") as i32;
        options.values.lock().insert((V6, net::IPV6_V6ONLY), v6_only);
        options
    }

    pub(super) fn inherit(&self) -> Self {
        let (values, filter) = (self.values.lock().clone(), *self.icmp_v6_filter.lock());
        Self { values: SpinLock::new(values), icmp_v6_filter: SpinLock::new(filter), default_ttl: self.default_ttl }
    }

    fn value(&self, level: u32, name: u32) -> i32 {
        let default = || KNOWN.iter().find(|known| (known.level, known.name) == (level, name)).map_or(0, |known| known.default);
        self.values.lock().get(&(level, name)).copied().unwrap_or_else(default)
    }

    /// Whether an option is on.
    pub(super) fn is_on(&self, level: u32, name: u32) -> bool {
        self.value(level, name) != 0
    }

    pub(super) fn is_v6_only(&self) -> bool {
        self.is_on(V6, net::IPV6_V6ONLY)
    }

    pub(super) fn is_free_bind(&self) -> bool {
        self.is_on(IP, net::IP_FREEBIND)
    }

    /// The time to live of what is sent.
    pub(super) fn ttl(&self, is_v4: bool) -> u8 {
        let value = if is_v4 { self.value(IP, net::IP_TTL) } else { self.value(V6, net::IPV6_UNICAST_HOPS) };
        (if value < 0 { self.default_ttl } else { value }) as u8
    }

    /// The type of service of what is sent.
    pub(super) fn tos(&self, is_v4: bool) -> u8 {
        (if is_v4 { self.value(IP, net::IP_TOS) } else { self.value(V6, net::IPV6_TCLASS).max(0) }) as u8
    }

    /// The types of ICMP that a raw socket does not want, as bits.
    pub(super) fn icmp_filter(&self) -> u32 {
        self.value(RAW, ICMP_FILTER) as u32
    }

    /// Whether a raw socket does not want a type of ICMPv6. The bits lie in words of the processor's order.
    pub(super) fn is_filtered_v6(&self, kind: u8) -> bool {
        self.icmp_v6_filter.lock()[usize::from(kind) / 8] >> (kind % 8) & 1 != 0
    }

    /// `ICMPV6_FILTER`: as much as is given replaces the front.
    pub(super) fn set_icmp_v6_filter(&self, value: &[u8]) {
        let len_bytes = value.len().min(ICMP_V6_FILTER_BYTES);
        self.icmp_v6_filter.lock()[..len_bytes].copy_from_slice(&value[..len_bytes]);
    }

    /// See [`Self::set_icmp_v6_filter`].
    pub(super) fn icmp_v6_filter(&self) -> Vec<u8> {
        self.icmp_v6_filter.lock().to_vec()
    }

    /// `getsockopt`. `ENOPROTOOPT` for what there is not.
    pub(super) fn get(&self, level: u32, name: u32) -> Result<Vec<u8>> {
        find(level, name)?;
        let value = match (level, name) {
            (IP, net::IP_TTL) => i32::from(self.ttl(true)),
            (V6, net::IPV6_UNICAST_HOPS | net::IPV6_MULTICAST_HOPS) if self.value(level, name) < 0 => self.default_ttl,
            _ => self.value(level, name),
        };
        Ok(value.to_ne_bytes().to_vec())
    }

    /// `setsockopt`. `EINVAL` for values out of bounds, `ENOPROTOOPT` for what there is not.
    pub(super) fn set(&self, level: u32, name: u32, value: &[u8]) -> Result<()> {
        let known = find(level, name)?;
        // IPv4's options take a single byte, too (ip(7)).
        let number = match (value.first_chunk(), value) {
            (Some(bytes), _) => i32::from_ne_bytes(*bytes),
            (None, [byte, ..]) if level == IP => i32::from(*byte),
            _ => return Err(Errno::INVAL),
        };
        // 0 is no time to live, and no window is too small for a clamp of 0.
        let is_zero_ttl = (level, name) == (IP, net::IP_TTL) && number == 0;
        if !(known.minimum..=known.maximum).contains(&number) || is_zero_ttl {
            return Err(Errno::INVAL);
        }
        let is_switch = (known.minimum, known.maximum) == (i32::MIN, i32::MAX) && known.default <= 1 && level != RAW;
        self.values.lock().insert((level, name), if is_switch { i32::from(number != 0) } else { number });
        Ok(())
    }
}

fn find(level: u32, name: u32) -> Result<&'static Known> {
    KNOWN.iter().find(|known| (known.level, known.name) == (level, name)).ok_or(Errno::NOPROTOOPT)
}
