//! Requests about devices that every socket answers (`netdevice(7)`), and those about addresses that only IPv4's do.

use super::loopback::{HARDWARE_TYPE, HOST_SCOPE, INDEX, NAME_MAX_BYTES};
use super::netlink::{set_hardware_address, set_mtu};
use super::routes::netmask;
use super::{Address, Event, Loopback, NetworkNamespace};
use crate::errno::{Errno, Result};
use crate::mm::UserPointer;
use crate::mm::user::{read_bytes, write_bytes};
use crate::task::Capabilities;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use linux_raw_sys::{ioctl, net};

/// Bytes of `struct ifreq`: the name, then what the request is about.
const REQUEST_BYTES: usize = 40;
const NAME_BYTES: usize = 16;

/// `struct ifreq`.
struct InterfaceRequest {
    bytes: [u8; REQUEST_BYTES],
}

impl InterfaceRequest {
    fn read(address: u64) -> Result<Self> {
        let mut bytes = [0; REQUEST_BYTES];
        read_bytes(address, &mut bytes)?;
        Ok(Self { bytes })
    }

    /// The name as given, perhaps with the label's part behind a colon.
    fn label(&self) -> &[u8] {
        self.bytes[..NAME_MAX_BYTES].split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn device_name(&self) -> &[u8] {
        self.label().split(|byte| *byte == b':').next().unwrap_or_default()
    }

    fn put(&mut self, value: &[u8]) {
        self.bytes[NAME_BYTES..NAME_BYTES + value.len()].copy_from_slice(value);
    }

    fn word(&self) -> u32 {
        u32::from_ne_bytes([self.bytes[16], self.bytes[17], self.bytes[18], self.bytes[19]])
    }

    fn half(&self) -> u16 {
        u16::from_ne_bytes([self.bytes[16], self.bytes[17]])
    }

    /// The IPv4 address in a `struct sockaddr_in`. `EINVAL` for other families.
    fn address(&self) -> Result<Ipv4Addr> {
        if u32::from(self.half()) != net::AF_INET {
            return Err(Errno::INVAL);
        }
        Ok(Ipv4Addr::new(self.bytes[20], self.bytes[21], self.bytes[22], self.bytes[23]))
    }

    fn put_address(&mut self, address: Ipv4Addr) {
        self.put(&encode(address));
    }
}

/// `struct sockaddr_in` without a port.
fn encode(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(net::AF_INET as u16).to_ne_bytes());
    bytes[4..8].copy_from_slice(&address.octets());
    bytes
}

/// Answers a request of a socket of any family; `is_v4` for one of IPv4. `ENOTTY` for what is no request about devices, `ENODEV` for a
/// device that is not there.
pub fn device_request(namespace: &NetworkNamespace, is_v4: bool, request: u32, argument: u64) -> Result<usize> {
    match request {
        ioctl::SIOCGIFCONF => return list(namespace, argument),
        ioctl::SIOCGIFNAME => return name_by_index(namespace, argument),
        _ => {}
    }
    let changes = match request {
        ioctl::SIOCGIFADDR | ioctl::SIOCGIFBRDADDR | ioctl::SIOCGIFDSTADDR | ioctl::SIOCGIFNETMASK if is_v4 => false,
        ioctl::SIOCSIFADDR | ioctl::SIOCSIFBRDADDR | ioctl::SIOCSIFDSTADDR | ioctl::SIOCSIFNETMASK if is_v4 => true,
        ioctl::SIOCGIFFLAGS
        | ioctl::SIOCGIFMETRIC
        | ioctl::SIOCGIFMTU
        | ioctl::SIOCGIFHWADDR
        | ioctl::SIOCGIFMAP
        | ioctl::SIOCGIFINDEX
        | ioctl::SIOCGIFTXQLEN => false,
        ioctl::SIOCSIFFLAGS | ioctl::SIOCSIFMTU | ioctl::SIOCSIFHWADDR | ioctl::SIOCSIFTXQLEN | ioctl::SIOCSIFNAME => true,
        _ => return Err(Errno::NOTTY),
    };
    let mut interface = InterfaceRequest::read(argument)?;
    if changes {
        namespace.require(Capabilities::NET_ADMIN)?;
    }
    if interface.device_name() != namespace.loopback.lock().name {
        return Err(Errno::NODEV);
    }
    if changes {
        return change(namespace, request, &interface).map(|()| 0);
    }
    read(&namespace.loopback.lock(), request, &mut interface)?;
    write_bytes(argument, &interface.bytes).map(|()| 0)
}

fn read(loopback: &Loopback, request: u32, interface: &mut InterfaceRequest) -> Result<()> {
    let labelled = |interface: &InterfaceRequest| {
        let is_meant = |address: &&Address| address.local.is_ipv4() && address.label == interface.label();
        loopback.addresses().iter().find(is_meant).cloned().ok_or(Errno::ADDRNOTAVAIL)
    };
    let v4 = |address: IpAddr| match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    match request {
        ioctl::SIOCGIFFLAGS => interface.put(&(loopback.flags() as u16).to_ne_bytes()),
        ioctl::SIOCGIFMETRIC => interface.put(&0_u32.to_ne_bytes()),
        ioctl::SIOCGIFMTU => interface.put(&loopback.mtu.to_ne_bytes()),
        ioctl::SIOCGIFINDEX => interface.put(&INDEX.to_ne_bytes()),
        ioctl::SIOCGIFTXQLEN => interface.put(&loopback.queue_length.to_ne_bytes()),
        ioctl::SIOCGIFMAP => interface.put(&[0; 24]),
        ioctl::SIOCGIFHWADDR => {
            interface.put(&HARDWARE_TYPE.to_ne_bytes());
            interface.bytes[18..24].copy_from_slice(&loopback.hardware_address);
        }
        ioctl::SIOCGIFADDR => interface.put_address(v4(labelled(interface)?.local)),
        ioctl::SIOCGIFDSTADDR => interface.put_address(v4(labelled(interface)?.peer)),
        ioctl::SIOCGIFBRDADDR => interface.put_address(labelled(interface)?.broadcast.unwrap_or(Ipv4Addr::UNSPECIFIED)),
        ioctl::SIOCGIFNETMASK => interface.put_address(Ipv4Addr::from_bits(netmask(labelled(interface)?.prefix_length))),
        _ => return Err(Errno::NOTTY),
    }
    Ok(())
}

fn change(namespace: &NetworkNamespace, request: u32, interface: &InterfaceRequest) -> Result<()> {
    let v6_disabled = namespace.settings.is_v6_disabled();
    namespace.change(|loopback, events| {
        match request {
            ioctl::SIOCSIFFLAGS => loopback.set_flags(u32::from(interface.half()), v6_disabled, events),
            ioctl::SIOCSIFNAME => {
                let name = &interface.bytes[NAME_BYTES..NAME_BYTES + NAME_MAX_BYTES];
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
                loopback.rename(&name, events)?;
            }
            ioctl::SIOCSIFMTU => {
                set_mtu(loopback, interface.word())?;
                events.push(Event::Link(0));
            }
            ioctl::SIOCSIFTXQLEN => {
                i32::try_from(interface.word()).map_err(|_| Errno::INVAL)?;
                loopback.queue_length = interface.word();
                events.push(Event::Link(0));
            }
            ioctl::SIOCSIFHWADDR => {
                if interface.half() != HARDWARE_TYPE {
                    return Err(Errno::INVAL);
                }
                let [a, b, c, d, e, f] = [18, 19, 20, 21, 22, 23].map(|at| interface.bytes[at]);
                set_hardware_address(loopback, [a, b, c, d, e, f])?;
                events.push(Event::Link(0));
            }
            _ => return change_address(loopback, request, interface, events),
        }
        Ok(())
    })
}

/// `SIOCSIFADDR` and its like: the address with the label is replaced by a changed one.
fn change_address(loopback: &mut Loopback, request: u32, interface: &InterfaceRequest, events: &mut Vec<Event>) -> Result<()> {
    let given = interface.address()?;
    let label = interface.label().to_vec();
    let is_meant = |address: &Address| address.local.is_ipv4() && address.label == label;
    let old = loopback.addresses().iter().find(|address| is_meant(address)).cloned();
    let mut new = match (&old, request) {
        (_, ioctl::SIOCSIFADDR) => {
            let scope = if given.is_loopback() { HOST_SCOPE } else { 0 };
            Address { label: label.clone(), ..Address::new(given.into(), class_prefix(given), scope) }
        }
        (Some(old), _) => old.clone(),
        (None, _) => return Err(Errno::ADDRNOTAVAIL),
    };
    match request {
        ioctl::SIOCSIFBRDADDR => new.broadcast = Some(given),
        ioctl::SIOCSIFDSTADDR => new.peer = given.into(),
        ioctl::SIOCSIFNETMASK => {
            let mask = given.to_bits();
            if mask.leading_ones() + mask.trailing_zeros() < 32 {
                return Err(Errno::INVAL);
            }
            new.prefix_length = mask.leading_ones() as u8;
        }
        _ => {}
    }
    let same =
        |old: &Address| (old.local, old.peer, old.prefix_length, old.broadcast) == (new.local, new.peer, new.prefix_length, new.broadcast);
    match old {
        Some(old) if same(&old) || request == ioctl::SIOCSIFADDR && old.local == new.local => return Ok(()),
        Some(_) => loopback.remove_address(is_meant, events)?,
        None => {}
    }
    loopback.add_address(new, events)
}

/// The length of the prefix that an address has by its class (RFC 791).
fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0 => 0,
        1..=127 => 8,
        128..=191 => 16,
        192..=223 => 24,
        _ => 32,
    }
}

/// `SIOCGIFNAME`.
fn name_by_index(namespace: &NetworkNamespace, argument: u64) -> Result<usize> {
    let mut interface = InterfaceRequest::read(argument)?;
    if interface.word() != INDEX {
        return Err(Errno::NODEV);
    }
    let name = namespace.loopback.lock().name.clone();
    interface.bytes[..name.len()].copy_from_slice(&name);
    interface.bytes[name.len()] = 0;
    interface.bytes[NAME_MAX_BYTES] = 0;
    write_bytes(argument, &interface.bytes).map(|()| 0)
}

/// `SIOCGIFCONF`: a `struct ifreq` for each IPv4 address, or without a buffer how many bytes that takes.
fn list(namespace: &NetworkNamespace, argument: u64) -> Result<usize> {
    let [len_bytes, buffer] = UserPointer::<[u64; 2]>::new(argument).read()?;
    let addresses = namespace.loopback.lock().addresses().to_vec();
    let mut bytes = Vec::new();
    for address in &addresses {
        let IpAddr::V4(local) = address.local else { continue };
        let mut entry = [0; REQUEST_BYTES];
        entry[..address.label.len().min(NAME_MAX_BYTES)].copy_from_slice(&address.label[..address.label.len().min(NAME_MAX_BYTES)]);
        entry[NAME_BYTES..NAME_BYTES + 16].copy_from_slice(&encode(local));
        bytes.extend_from_slice(&entry);
    }
    if buffer != 0 {
        let room = usize::try_from(len_bytes as i32).map_err(|_| Errno::INVAL)?;
        bytes.truncate(room / REQUEST_BYTES * REQUEST_BYTES);
        write_bytes(buffer, &bytes)?;
    }
    UserPointer::<i32>::new(argument).write(bytes.len() as i32).map(|()| 0)
}
