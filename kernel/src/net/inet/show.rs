//! The tables of Internet sockets in `/proc/PID/net` (`proc(5)`).

use super::address::Endpoint;
use super::datagram::DatagramSocket;
use super::ports::PortTable;
use super::tcp::{TcpSocket, shown_state};
use crate::fs::generated::Text;
use crate::net::NetworkNamespace;
use crate::task::current;
use crate::{put, put_line};
use alloc::format;
use alloc::string::String;
use core::net::{IpAddr, Ipv6Addr};

/// Which family a table is of.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Family {
    V4,
    V6,
}

/// An address in words of the processor's order, as Linux shows it.
fn shown(family: Family, endpoint: Endpoint) -> String {
    let port = endpoint.port;
    match (family, endpoint.address) {
        (Family::V4, IpAddr::V4(address)) => format!("{:08X}:{port:04X}", u32::from_ne_bytes(address.octets())),
        (_, address) => {
            let address: Ipv6Addr = match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            let [a, b, c, d] = core::array::from_fn(|word| {
                let octets = address.octets();
                u32::from_ne_bytes([octets[word * 4], octets[word * 4 + 1], octets[word * 4 + 2], octets[word * 4 + 3]])
            });
            format!("{a:08X}{b:08X}{c:08X}{d:08X}:{port:04X}")
        }
    }
}

fn nowhere(family: Family) -> Endpoint {
    let family = if family == Family::V4 { linux_raw_sys::net::AF_INET } else { linux_raw_sys::net::AF_INET6 };
    Endpoint { address: super::address::unspecified(family), port: 0 }
}

fn is_of(family: Family, is_v6: bool) -> bool {
    is_v6 == (family == Family::V6)
}

/// `tcp` and `tcp6`: the listeners first, then connections, then those that ended not long ago.
pub fn tcp(network: &NetworkNamespace, family: Family, text: &mut Text) {
    let mut sockets = network.inet.tcp.all();
    sockets.retain(|socket| is_of(family, socket.common.is_v6()));
    sockets.sort_by_key(|socket| socket.shown_state() != shown_state::LISTEN);
    let mut slot = 0;
    for socket in sockets.iter().filter(|socket| socket.shown_state() != shown_state::CLOSE) {
        let (local, remote, received, unsent) = socket.shown();
        let start = text.len();
        let (local, remote) = (shown(family, local), shown(family, remote.unwrap_or(nowhere(family))));
        let (state, uid, inode) = (socket.shown_state(), uid_of(&socket.common), socket.common.inode_number());
        put!(
            text,
            "{slot:4}: {local} {remote} {state:02X} {unsent:08X}:{received:08X} 00:00000000 00000000 {uid:5} {:8} {inode} 1 {:016x} 100 0 0 10 0",
            0,
            0
        );
        text.pad_to(start + if family == Family::V4 { 149 } else { 0 });
        text.bytes(b"\n");
        slot += 1;
    }
    for departed in network.inet.tcp.departed().iter().filter(|departed| is_of(family, departed.is_v6)) {
        let start = text.len();
        let (local, remote, state) = (shown(family, departed.local), shown(family, departed.remote), shown_state::TIME_WAIT);
        put!(text, "{slot:4}: {local} {remote} {state:02X} 00000000:00000000 03:00000000 00000000 {:5} {:8} {} 3 {:016x}", 0, 0, 0, 0);
        text.pad_to(start + if family == Family::V4 { 149 } else { 0 });
        text.bytes(b"\n");
        slot += 1;
    }
}

/// The owner of a socket as the reader's user namespace knows it.
fn uid_of(common: &super::common::Common) -> u32 {
    current().credentials().user_namespace.shown_uid(common.uid)
}

/// `udp` and `udp6`.
pub fn udp(network: &NetworkNamespace, family: Family, text: &mut Text) {
    datagrams(&network.inet.udp, family, text);
}

/// `raw` and `raw6`.
pub fn raw(network: &NetworkNamespace, family: Family, text: &mut Text) {
    datagrams(&network.inet.raw, family, text);
}

/// `icmp` and `icmp6`.
pub fn ping(network: &NetworkNamespace, family: Family, text: &mut Text) {
    datagrams(&network.inet.ping, family, text);
}

fn datagrams(table: &PortTable<DatagramSocket>, family: Family, text: &mut Text) {
    let sockets = table.all();
    for (slot, socket) in sockets.iter().filter(|socket| is_of(family, socket.common.is_v6())).enumerate() {
        let (local, remote, received, drops) = socket.shown();
        let state = if remote.is_some() { shown_state::ESTABLISHED } else { shown_state::CLOSE };
        let start = text.len();
        let (local, remote) = (shown(family, local), shown(family, remote.unwrap_or(nowhere(family))));
        let (uid, inode) = (uid_of(&socket.common), socket.common.inode_number());
        put!(
            text,
            "{slot:5}: {local} {remote} {state:02X} 00000000:{received:08X} 00:00000000 00000000 {uid:5} {:8} {inode} 2 {:016x} {drops}",
            0,
            0
        );
        text.pad_to(start + if family == Family::V4 { 127 } else { 0 });
        text.bytes(b"\n");
    }
}

/// `sockstat` and `sockstat6`.
pub fn statistics(network: &NetworkNamespace, family: Family, text: &mut Text) {
    let of_family = |socket: &alloc::sync::Arc<TcpSocket>| is_of(family, socket.common.is_v6());
    let tcp = network.inet.tcp.all().iter().filter(|socket| of_family(socket)).count();
    let count = |table: &PortTable<DatagramSocket>| table.all().iter().filter(|socket| is_of(family, socket.common.is_v6())).count();
    let (udp, raw) = (count(&network.inet.udp), count(&network.inet.raw));
    if family == Family::V6 {
        put_line!(text, "TCP6: inuse {tcp}\nUDP6: inuse {udp}\nUDPLITE6: inuse 0\nRAW6: inuse {raw}\nFRAG6: inuse 0 memory 0");
        return;
    }
    let waiting = network.inet.tcp.departed().len();
    let all_tcp = network.inet.tcp.all().len();
    put_line!(text, "sockets: used {}", all_tcp + network.inet.udp.all().len() + network.inet.raw.all().len());
    put_line!(text, "TCP: inuse {tcp} orphan 0 tw {waiting} alloc {all_tcp} mem 0");
    put_line!(text, "UDP: inuse {udp} mem 0\nUDPLITE: inuse 0\nRAW: inuse {raw}\nFRAG: inuse 0 memory 0");
}
