//! The texts of `/proc/PID/net` (`proc(5)`).

use super::inet::show::{self, Family};
use super::loopback::INDEX;
use super::routes::{MAIN_TABLE, Route, RouteKind, netmask, sorted};
use super::{Loopback, NetworkNamespace};
use crate::fs::generated::Text;
use crate::{put, put_line};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// A file.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Makes its text.
    pub show: fn(&NetworkNamespace, &mut Text),
}

const fn table(name: &'static str, show: fn(&NetworkNamespace, &mut Text)) -> Table {
    Table { name, mode: 0o444, show }
}

/// All there are.
pub static FILES: &[Table] = &[
    table("arp", arp),
    table("dev", devices),
    table("icmp", ping),
    table("icmp6", ping6),
    table("if_inet6", v6_addresses),
    table("ipv6_route", v6_routes),
    table("netlink", netlink),
    table("packet", packet),
    table("protocols", protocols),
    table("raw", raw),
    table("raw6", raw6),
    table("route", v4_routes),
    table("sockstat", socket_statistics),
    table("sockstat6", socket_statistics6),
    table("tcp", tcp),
    table("tcp6", tcp6),
    table("udp", udp),
    table("udp6", udp6),
    table("unix", unix),
];

fn name_of(loopback: &Loopback) -> String {
    String::from_utf8_lossy(&loopback.name).into_owned()
}

/// No other machine is known.
fn arp(_namespace: &NetworkNamespace, text: &mut Text) {
    put_line!(text, "IP address       HW type     Flags       HW address            Mask     Device");
}

fn devices(namespace: &NetworkNamespace, text: &mut Text) {
    put_line!(text, "Inter-|   Receive                                                |  Transmit");
    put_line!(
        text,
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed"
    );
    let loopback = namespace.loopback.lock();
    let (bytes, packets) = (loopback.bytes, loopback.packets);
    let name = name_of(&loopback);
    put!(text, "{name:>6}: {bytes:7} {packets:7} {:4} {:4} {:4} {:5} {:10} {:9} ", 0, 0, 0, 0, 0, 0);
    put_line!(text, "{bytes:8} {packets:7} {:4} {:4} {:4} {:5} {:7} {:10}", 0, 0, 0, 0, 0, 0);
}

/// 32 hexadecimal digits for an IPv6 address, as they stand in it.
fn digits(address: IpAddr) -> String {
    use core::fmt::Write;
    let mut digits = String::new();
    if let IpAddr::V6(address) = address {
        for byte in address.octets() {
            // A string takes everything.
            let _ = write!(digits, "{byte:02x}");
        }
    }
    digits
}

fn v6_addresses(namespace: &NetworkNamespace, text: &mut Text) {
    /// `IPV6_ADDR_LOOPBACK` of the scope column.
    const SCOPE_LOOPBACK: u8 = 0x10;
    let loopback = namespace.loopback.lock();
    for address in loopback.addresses().iter().filter(|address| address.local.is_ipv6()) {
        let scope = if address.local.is_loopback() { SCOPE_LOOPBACK } else { 0 };
        let (length, flags) = (address.prefix_length, address.flags as u8);
        put_line!(text, "{} {INDEX:02x} {length:02x} {scope:02x} {flags:02x} {:>8}", digits(address.local), name_of(&loopback));
    }
}

/// `RTF_UP`, `RTF_GATEWAY`, `RTF_HOST`, `RTF_REJECT`, `RTF_NONEXTHOP`, `RTF_LOCAL` (`linux/route.h`, `linux/ipv6_route.h`).
mod route_flags {
    pub const UP: u32 = 1;
    pub const GATEWAY: u32 = 2;
    pub const HOST: u32 = 4;
    pub const REJECT: u32 = 0x200;
    pub const NO_NEXT_HOP: u32 = 0x20_0000;
    pub const LOCAL: u32 = 0x8000_0000;
}

/// Only the main table, as in Linux; nothing at all until there is one.
fn v4_routes(namespace: &NetworkNamespace, text: &mut Text) {
    if !namespace.loopback.lock().has_table(true, MAIN_TABLE) {
        return;
    }
    put_line!(text, "{:<127}", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
    let loopback = namespace.loopback.lock();
    for route in sorted(loopback.routes()).iter().filter(|route| route.table == MAIN_TABLE) {
        let IpAddr::V4(destination) = route.destination else { continue };
        let gateway = match route.gateway {
            Some(IpAddr::V4(gateway)) => u32::from_ne_bytes(gateway.octets()),
            _ => 0,
        };
        let device = if route.kind.has_device() { name_of(&loopback) } else { String::from("*") };
        let mut flags = route_flags::UP;
        flags |= if gateway != 0 { route_flags::GATEWAY } else { 0 };
        flags |= if route.prefix_length == 32 { route_flags::HOST } else { 0 };
        flags |= if matches!(route.kind, RouteKind::Unreachable | RouteKind::Prohibit) { route_flags::REJECT } else { 0 };
        let mask = netmask(route.prefix_length).to_be();
        let destination = u32::from_ne_bytes(destination.octets());
        let start = text.len();
        put!(text, "{device}\t{destination:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t{}\t{mask:08X}\t0\t0\t0", route.priority);
        text.pad_to(start + 127);
        text.bytes(b"\n");
    }
}

fn v6_routes(namespace: &NetworkNamespace, text: &mut Text) {
    let zeros = "0".repeat(32);
    let loopback = namespace.loopback.lock();
    let v6: Vec<Route> = sorted(loopback.routes()).into_iter().filter(|route| route.destination.is_ipv6()).collect();
    for route in v6 {
        let gateway = route.gateway.map_or(zeros.clone(), digits);
        let mut flags = route_flags::UP;
        // True routes cannot lead through a loopback: those of IPv6 that are not local refuse.
        flags = if route.kind == RouteKind::Local { flags | route_flags::LOCAL } else { route_flags::REJECT };
        flags |= route_flags::NO_NEXT_HOP;
        let (destination, length) = (digits(route.destination), route.prefix_length);
        put!(text, "{destination} {length:02x} {zeros} 00 {gateway} ");
        put_line!(text, "{:08x} {:08x} {:08x} {flags:08x} {:>8}", route.priority, 1, 0, name_of(&loopback));
    }
}

fn netlink(namespace: &NetworkNamespace, text: &mut Text) {
    put_line!(text, "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode");
    super::netlink::list(namespace, text);
}

fn packet(_namespace: &NetworkNamespace, text: &mut Text) {
    put_line!(text, "sk               RefCnt Type Proto  Iface R Rmem   User   Inode");
}

fn protocols(_namespace: &NetworkNamespace, text: &mut Text) {
    put_line!(text, "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em");
}

fn heading4(text: &mut Text, more: &str, width: usize) {
    let start = text.len();
    put!(text, "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode{more}");
    text.pad_to(start + width);
    text.bytes(b"\n");
}

fn heading6(text: &mut Text, more: &str) {
    put!(text, "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when ");
    put_line!(text, "retrnsmt   uid  timeout inode{more}");
}

fn tcp(namespace: &NetworkNamespace, text: &mut Text) {
    heading4(text, "", 149);
    show::tcp(namespace, Family::V4, text);
}

fn tcp6(namespace: &NetworkNamespace, text: &mut Text) {
    heading6(text, "");
    show::tcp(namespace, Family::V6, text);
}

/// What the tables of datagram sockets have behind the others' columns.
const MORE_COLUMNS: &str = " ref pointer drops";

fn udp(namespace: &NetworkNamespace, text: &mut Text) {
    text.bytes(b" ");
    heading4(text, MORE_COLUMNS, 126);
    show::udp(namespace, Family::V4, text);
}

fn udp6(namespace: &NetworkNamespace, text: &mut Text) {
    heading6(text, MORE_COLUMNS);
    show::udp(namespace, Family::V6, text);
}

fn raw(namespace: &NetworkNamespace, text: &mut Text) {
    heading4(text, MORE_COLUMNS, 0);
    show::raw(namespace, Family::V4, text);
}

fn raw6(namespace: &NetworkNamespace, text: &mut Text) {
    heading6(text, MORE_COLUMNS);
    show::raw(namespace, Family::V6, text);
}

fn ping(namespace: &NetworkNamespace, text: &mut Text) {
    text.bytes(b" ");
    heading4(text, MORE_COLUMNS, 126);
    show::ping(namespace, Family::V4, text);
}

fn ping6(namespace: &NetworkNamespace, text: &mut Text) {
    heading6(text, MORE_COLUMNS);
    show::ping(namespace, Family::V6, text);
}

fn socket_statistics(namespace: &NetworkNamespace, text: &mut Text) {
    show::statistics(namespace, Family::V4, text);
}

fn socket_statistics6(namespace: &NetworkNamespace, text: &mut Text) {
    show::statistics(namespace, Family::V6, text);
}

fn unix(namespace: &NetworkNamespace, text: &mut Text) {
    put_line!(text, "Num       RefCount Protocol Flags    Type St Inode Path");
    // `Text` takes everything.
    let _ = crate::fs::socket::unix::list(namespace, text);
}
