//! Internet sockets over the loopback: IPv4 and IPv6 (`ip(7)`, `ipv6(7)`).
//!
//! `address` is how addresses look to programs, `common` what all sockets of the two families share, `ports` who is bound to what,
//! `options` the options of the IP levels. `tcp` are streams, `datagram` UDP, ping and raw sockets, `icmp` the answers to echo requests.

mod address;
mod common;
mod datagram;
mod icmp;
mod options;
mod ports;
pub mod show;
mod tcp;

use crate::errno::{Errno, Result};
use crate::fs::socket::SocketOps;
use crate::task::{Capabilities, current};
use alloc::sync::Arc;
pub use datagram::DatagramSocket;
use linux_raw_sys::net;
pub use ports::PortTable;
pub use tcp::TcpSocket;

/// What a namespace knows of Internet sockets.
#[derive(Default)]
pub struct Tables {
    /// TCP.
    tcp: PortTable<TcpSocket>,
    /// UDP.
    udp: PortTable<DatagramSocket>,
    /// Ping sockets: the identifier of ICMP stands for the port.
    ping: PortTable<DatagramSocket>,
    /// Raw sockets, all at port 0.
    raw: PortTable<DatagramSocket>,
}

/// Names of protocols that linux-raw-sys has as an enum.
mod protocol {
    use linux_raw_sys::net;
    pub const ICMP: u32 = net::IPPROTO_ICMP as u32;
    pub const ICMP_V6: u32 = net::IPPROTO_ICMPV6;
    pub const TCP: u32 = net::IPPROTO_TCP as u32;
    pub const UDP: u32 = net::IPPROTO_UDP as u32;
    pub const RAW: u32 = net::IPPROTO_RAW as u32;
    pub const IPV6: u32 = net::IPPROTO_IPV6 as u32;
    /// One more than the last (`IPPROTO_MPTCP`).
    pub const END: u32 = 263;
}

/// `socket(2)`. `ESOCKTNOSUPPORT` and `EPROTONOSUPPORT` for what there is not, `EPERM` for raw sockets without `CAP_NET_RAW`, `EACCES` for
/// ping sockets of groups outside of `ping_group_range` (`icmp(7)`).
pub fn create(family: u32, socket_type: u32, protocol: u32) -> Result<Arc<dyn SocketOps>> {
    if protocol >= protocol::END {
        return Err(Errno::INVAL);
    }
    let network = super::current();
    let ping = if family == net::AF_INET { protocol::ICMP } else { protocol::ICMP_V6 };
    match (socket_type, protocol) {
        (net::SOCK_STREAM, 0 | protocol::TCP) => Ok(TcpSocket::create(network, family)),
        (net::SOCK_DGRAM, 0 | protocol::UDP) => Ok(DatagramSocket::create(network, family, datagram::Kind::Udp, protocol::UDP)),
        (net::SOCK_DGRAM, protocol) if protocol == ping => {
            require_ping_group(&network.settings.numbers("ipv4/ping_group_range"))?;
            Ok(DatagramSocket::create(network, family, datagram::Kind::Ping, protocol))
        }
        (net::SOCK_RAW, 0) | (net::SOCK_STREAM | net::SOCK_DGRAM, _) => Err(Errno::PROTONOSUPPORT),
        (net::SOCK_RAW, protocol) => {
            network.require(Capabilities::NET_RAW)?;
            Ok(DatagramSocket::create(network, family, datagram::Kind::Raw, protocol))
        }
        _ => Err(Errno::SOCKTNOSUPPORT),
    }
}

/// `AF_PACKET`: `EPERM` for those who may not, and for the others none, because no device hands out packets.
pub fn create_packet() -> Result<Arc<dyn SocketOps>> {
    super::current().require(Capabilities::NET_RAW)?;
    Err(Errno::SOCKTNOSUPPORT)
}

fn require_ping_group(range: &[i64]) -> Result<()> {
    let credentials = current().credentials();
    let [low, high] = *range else { return Err(Errno::ACCES) };
    let is_in = |gid: &u32| (low..=high).contains(&i64::from(*gid));
    if is_in(&credentials.effective_gid) || credentials.groups.iter().any(is_in) { Ok(()) } else { Err(Errno::ACCES) }
}
