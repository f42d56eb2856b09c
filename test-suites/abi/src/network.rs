//! Network namespaces of a test's own, sockets by number, and conversations with the kernel over netlink.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::{Outcome, in_child, syscall};
use libc::{AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW};

/// The index of `lo` in every namespace.
pub const LO: u32 = 1;

/// Runs `body` in a forked process with a network namespace of its own, whose loopback is down.
pub fn in_network_namespace(body: impl FnOnce()) {
    in_child(|| {
        syscall!(SYS_unshare, libc::CLONE_NEWNET).expect("unshare");
        body();
    });
}

/// The same with the loopback up.
pub fn with_loopback(body: impl FnOnce()) {
    in_network_namespace(|| {
        set_up("lo", true).expect("lo goes up");
        body();
    });
}

/// `socket(2)`.
pub fn socket(domain: i32, kind: i32, protocol: i32) -> Outcome<OwnedFd> {
    let fd = syscall!(SYS_socket, domain, kind, protocol)?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// An option that is a number.
pub fn option(socket: &OwnedFd, level: i32, name: i32) -> Outcome<i32> {
    let (mut value, mut len) = (0i32, 4u32);
    syscall!(SYS_getsockopt, socket, level, name, &raw mut value, &raw mut len)?;
    Ok(value)
}

/// Sets an option that is a number.
pub fn set_option(socket: &OwnedFd, level: i32, name: i32, value: i32) -> Outcome {
    syscall!(SYS_setsockopt, socket, level, name, &raw const value, 4)
}

/// `struct ifreq`: a name and 24 bytes.
#[repr(C)]
pub struct InterfaceRequest {
    /// With NULs behind.
    pub name: [u8; 16],
    /// What it is about.
    pub value: [u8; 24],
}

/// A request about a device.
pub fn interface_request(name: &str) -> InterfaceRequest {
    let mut request = InterfaceRequest { name: [0; 16], value: [0; 24] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    request
}

/// `SIOCGIFFLAGS`.
pub fn flags_of(name: &str) -> Outcome<i32> {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM | SOCK_CLOEXEC, 0)?;
    let mut request = interface_request(name);
    syscall!(SYS_ioctl, &socket, libc::SIOCGIFFLAGS, &raw mut request)?;
    Ok(i32::from(i16::from_ne_bytes([request.value[0], request.value[1]])))
}

/// Brings a device up or down by `SIOCSIFFLAGS`.
pub fn set_up(name: &str, up: bool) -> Outcome {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM | SOCK_CLOEXEC, 0)?;
    let mut request = interface_request(name);
    let flags = (if up { libc::IFF_UP } else { 0 }) as i16;
    request.value[..2].copy_from_slice(&flags.to_ne_bytes());
    syscall!(SYS_ioctl, &socket, libc::SIOCSIFFLAGS, &raw mut request)
}

/// One message of netlink, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// `nlmsg_pid`.
    pub port: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
}

impl Message {
    /// The errno of an acknowledgement, 0 for success. Panics for other messages.
    pub fn error(&self) -> i32 {
        assert_eq!(i32::from(self.kind), libc::NLMSG_ERROR, "{self:?}");
        -i32::from_ne_bytes(self.payload[..4].try_into().expect("an error"))
    }

    /// A byte of the payload.
    pub fn byte(&self, at: usize) -> u8 {
        self.payload[at]
    }

    /// A 32-bit number of the payload.
    pub fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    /// The attribute of a type behind a fixed part of so many bytes.
    pub fn attribute(&self, fixed: usize, kind: u16) -> Option<Vec<u8>> {
        attributes(&self.payload[fixed..]).into_iter().find(|(found, _)| found & 0x3fff == kind).map(|(_, value)| value)
    }

    /// An attribute that is a number.
    pub fn number(&self, fixed: usize, kind: u16) -> Option<u32> {
        self.attribute(fixed, kind).map(|value| u32::from_ne_bytes(value[..4].try_into().expect("four bytes")))
    }
}

fn attributes(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let len = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        assert!(len >= 4 && len <= bytes.len(), "an attribute of {len} bytes in {}", bytes.len());
        found.push((u16::from_ne_bytes([bytes[2], bytes[3]]), bytes[4..len].to_vec()));
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// An attribute as it lies in memory.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A message as it lies in memory.
pub fn message(kind: u16, flags: i32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((16 + payload.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&(flags as u16).to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The messages of a datagram.
pub fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while bytes.len() >= 16 {
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let len = word(0) as usize;
        assert!(len >= 16 && len <= bytes.len(), "a message of {len} bytes in {}", bytes.len());
        found.push(Message {
            kind: word(4) as u16,
            flags: (word(4) >> 16) as u16,
            sequence: word(8),
            port: word(12),
            payload: bytes[16..len].to_vec(),
        });
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// `struct sockaddr_nl`.
pub fn netlink_address(port: u32, groups: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..2].copy_from_slice(&(AF_NETLINK as u16).to_ne_bytes());
    bytes[4..8].copy_from_slice(&port.to_ne_bytes());
    bytes[8..].copy_from_slice(&groups.to_ne_bytes());
    bytes
}

/// A netlink socket that talks to the kernel.
pub struct Netlink {
    /// Its descriptor.
    pub socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// A socket of a protocol, bound by the kernel.
    pub fn new(protocol: i32) -> Self {
        let socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol).expect("a netlink socket");
        let address = netlink_address(0, 0);
        syscall!(SYS_bind, &socket, address.as_ptr(), 12).expect("bind");
        Self { socket, sequence: 100 }
    }

    /// Of `NETLINK_ROUTE`.
    pub fn route() -> Self {
        Self::new(libc::NETLINK_ROUTE)
    }

    /// Sends bytes to the kernel.
    pub fn send(&self, bytes: &[u8]) -> Outcome {
        let address = netlink_address(0, 0);
        syscall!(SYS_sendto, &self.socket, bytes.as_ptr(), bytes.len(), 0, address.as_ptr(), 12)
    }

    /// Receives one datagram, without waiting: the kernel has answered when a send returns.
    pub fn receive(&self) -> Outcome<Vec<Message>> {
        let mut bytes = vec![0; 32768];
        let got = syscall!(SYS_recvfrom, &self.socket, bytes.as_mut_ptr(), bytes.len(), libc::MSG_DONTWAIT, 0usize, 0usize)?;
        Ok(messages(&bytes[..got]))
    }

    /// Sends a request and gives the first datagram that answers it.
    pub fn ask(&mut self, kind: u16, flags: i32, payload: &[u8]) -> Vec<Message> {
        self.sequence += 1;
        self.send(&message(kind, libc::NLM_F_REQUEST | flags, self.sequence, payload)).expect("send");
        let answers = self.receive().expect("an answer");
        assert!(answers.iter().all(|answer| answer.sequence == self.sequence), "{answers:?}");
        answers
    }

    /// Sends a request that is to be acknowledged, and gives the errno, 0 for success.
    pub fn request(&mut self, kind: u16, flags: i32, payload: &[u8]) -> i32 {
        let answers = self.ask(kind, libc::NLM_F_ACK | flags, payload);
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers[0].error()
    }

    /// Asks for all, and gives the messages before the closing one.
    pub fn dump(&mut self, kind: u16, payload: &[u8]) -> Vec<Message> {
        let mut all = self.ask(kind, libc::NLM_F_DUMP, payload);
        while all.last().is_none_or(|last| i32::from(last.kind) != libc::NLMSG_DONE) {
            all.extend(self.receive().expect("the rest of a dump"));
        }
        all.pop();
        assert!(all.iter().all(|message| i32::from(message.flags) & libc::NLM_F_MULTI != 0), "{all:?}");
        all
    }

    /// The port id that the kernel chose.
    pub fn port(&self) -> u32 {
        let (mut address, mut len) = ([0u8; 12], 12u32);
        syscall!(SYS_getsockname, &self.socket, address.as_mut_ptr(), &raw mut len).expect("getsockname");
        u32::from_ne_bytes(address[4..8].try_into().expect("four bytes"))
    }
}

/// `struct ifinfomsg`.
pub fn link_header(index: u32, flags: i32, change: i32) -> Vec<u8> {
    let words = [0, index, flags as u32, change as u32];
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `struct ifaddrmsg`.
pub fn address_header(family: i32, prefix: u8, scope: u8) -> Vec<u8> {
    [&[family as u8, prefix, 0, scope][..], &LO.to_ne_bytes()].concat()
}

/// `struct rtmsg` of the main table.
pub fn route_header(family: i32, prefix: u8, kind: u8, scope: u8) -> Vec<u8> {
    vec![family as u8, prefix, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, scope, kind, 0, 0, 0, 0]
}

/// The file's text; panics without it.
#[track_caller]
pub fn text_of(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
