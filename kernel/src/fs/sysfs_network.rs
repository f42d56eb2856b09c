//! `/sys/class/net`: the devices of the network namespace that sysfs was mounted in (Linux's `ABI/testing/sysfs-class-net`).

use crate::errno::{Errno, Result};
use crate::fs::OpenFile;
use crate::fs::generated::{Entry, Text};
use crate::fs::procfs::status::parse_number;
use crate::fs::sysfs::SysFsSuper;
use crate::net::loopback::{HARDWARE_TYPE, INDEX};
use crate::net::{Event, Loopback, NetworkNamespace};
use crate::put_line;
use crate::task::Capabilities;
use alloc::string::String;
use alloc::sync::Arc;

/// `devices/virtual/net`.
pub(super) static DEVICES: &[Entry] = &[Entry::directory("lo", LOOPBACK)];

/// `class/net`.
pub(super) static CLASS: &[Entry] = &[Entry::link("lo", "../../devices/virtual/net/lo")];

static LOOPBACK: &[Entry] = &[
    Entry::file("addr_assign_type", |_, text| line(text, "0")),
    Entry::file("addr_len", |_, text| line(text, "6")),
    Entry::file("address", |file, text| show(file, text, |lo| hardware(&lo.hardware_address))),
    Entry::file("broadcast", |_, text| line(text, "00:00:00:00:00:00")),
    Entry::file("carrier", carrier),
    Entry::file("carrier_changes", |_, text| line(text, "0")),
    Entry::file("dev_id", |_, text| line(text, "0x0")),
    Entry::file("dev_port", |_, text| line(text, "0")),
    Entry::file("dormant", dormant),
    Entry::writable("flags", |file, text| show(file, text, |lo| alloc::format!("{:#x}", lo.configured_flags())), set_flags),
    Entry::file("ifalias", show_alias),
    Entry::file("ifindex", |_, text| number(text, INDEX)),
    Entry::file("iflink", |_, text| number(text, INDEX)),
    Entry::file("link_mode", |_, text| line(text, "0")),
    Entry::writable("mtu", |file, text| show(file, text, |lo| alloc::format!("{}", lo.mtu)), set_mtu),
    Entry::file("name_assign_type", |_, text| line(text, "2")),
    Entry::file("netdev_group", |file, text| show(file, text, |lo| alloc::format!("{}", lo.group))),
    Entry::file("operstate", |file, text| show(file, text, |lo| String::from(if lo.is_up() { "unknown" } else { "down" }))),
    Entry::file("proto_down", |_, text| line(text, "0")),
    // Neither is known of a loopback.
    Entry::file("duplex", |_, _| Err(Errno::INVAL)),
    Entry::file("speed", |_, _| Err(Errno::INVAL)),
    Entry::directory("statistics", STATISTICS),
    Entry::link("subsystem", "../../../../class/net"),
    Entry::writable("tx_queue_len", |file, text| show(file, text, |lo| alloc::format!("{}", lo.queue_length)), set_queue_length),
    Entry::file("type", |_, text| number(text, u32::from(HARDWARE_TYPE))),
    Entry::file("uevent", |file, text| {
        show(file, text, |lo| alloc::format!("INTERFACE={}\nIFINDEX={INDEX}", String::from_utf8_lossy(&lo.name)))
    }),
];

static STATISTICS: &[Entry] = &[
    Entry::file("collisions", |_, text| line(text, "0")),
    Entry::file("multicast", |_, text| line(text, "0")),
    Entry::file("rx_bytes", |file, text| show(file, text, |lo| alloc::format!("{}", lo.bytes))),
    Entry::file("rx_dropped", |_, text| line(text, "0")),
    Entry::file("rx_errors", |_, text| line(text, "0")),
    Entry::file("rx_packets", |file, text| show(file, text, |lo| alloc::format!("{}", lo.packets))),
    Entry::file("tx_bytes", |file, text| show(file, text, |lo| alloc::format!("{}", lo.bytes))),
    Entry::file("tx_dropped", |_, text| line(text, "0")),
    Entry::file("tx_errors", |_, text| line(text, "0")),
    Entry::file("tx_packets", |file, text| show(file, text, |lo| alloc::format!("{}", lo.packets))),
];

fn network(file: &OpenFile) -> Result<Arc<NetworkNamespace>> {
    file.inode.superblock.downcast::<SysFsSuper>().map(|of| of.network.clone()).ok_or(Errno::STALE)
}

fn line(text: &mut Text, value: &str) -> Result<()> {
    put_line!(text, "{value}");
    Ok(())
}

fn number(text: &mut Text, value: u32) -> Result<()> {
    put_line!(text, "{value}");
    Ok(())
}

fn show(file: &OpenFile, text: &mut Text, value: fn(&Loopback) -> String) -> Result<()> {
    let value = value(&network(file)?.loopback.lock());
    line(text, &value)
}

fn show_alias(file: &OpenFile, text: &mut Text) -> Result<()> {
    let alias = network(file)?.loopback.lock().alias.clone();
    if !alias.is_empty() {
        text.bytes(&alias);
        text.bytes(b"\n");
    }
    Ok(())
}

fn hardware(address: &[u8; 6]) -> String {
    let [a, b, c, d, e, f] = address;
    alloc::format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// Known only of a device that is up.
fn while_up(file: &OpenFile, text: &mut Text, value: &str) -> Result<()> {
    if network(file)?.loopback.lock().is_up() { line(text, value) } else { Err(Errno::INVAL) }
}

fn carrier(file: &OpenFile, text: &mut Text) -> Result<()> {
    while_up(file, text, "1")
}

fn dormant(file: &OpenFile, text: &mut Text) -> Result<()> {
    while_up(file, text, "0")
}

/// The namespace, if the writer may change its device, and the number written.
fn change(file: &OpenFile, bytes: &[u8]) -> Result<(Arc<NetworkNamespace>, u32)> {
    let network = network(file)?;
    network.require(Capabilities::NET_ADMIN)?;
    let value = u32::try_from(parse_number(bytes)?).map_err(|_| Errno::INVAL)?;
    Ok((network, value))
}

fn set_flags(file: &OpenFile, bytes: &[u8]) -> Result<()> {
    let (network, flags) = change(file, bytes)?;
    let v6_disabled = network.settings.is_v6_disabled();
    network.change(|lo, events| {
        lo.set_flags(flags, v6_disabled, events);
        Ok(())
    })
}

fn set_mtu(file: &OpenFile, bytes: &[u8]) -> Result<()> {
    let (network, mtu) = change(file, bytes)?;
    network.change(|lo, events| {
        events.push(Event::Link(0));
        crate::net::netlink::set_mtu(lo, mtu)
    })
}

fn set_queue_length(file: &OpenFile, bytes: &[u8]) -> Result<()> {
    let (network, length) = change(file, bytes)?;
    network.change(|lo, events| {
        events.push(Event::Link(0));
        lo.queue_length = length;
        Ok(())
    })
}
