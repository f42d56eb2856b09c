//! Datagrams over the loopback: UDP (`udp(7)`), ping sockets (`icmp(7)`) and raw ones (`raw(7)`).

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use abi::network::{in_network_namespace, option, set_option, socket, text_of, with_loopback};
use abi::world::write;
use abi::{Outcome, assert_errno, syscall};
use libc::{
    AF_INET, AF_INET6, AF_PACKET, IPPROTO_ICMP, IPPROTO_ICMPV6, MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET,
};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn bound() -> UdpSocket {
    UdpSocket::bind((LOCALHOST, 0)).expect("bind")
}

fn address_of(socket: &UdpSocket) -> std::net::SocketAddr {
    socket.local_addr().expect("a name")
}

/// `struct sockaddr_in`.
fn v4(address: Ipv4Addr, port: u16) -> Vec<u8> {
    [&(AF_INET as u16).to_ne_bytes()[..], &port.to_be_bytes(), &address.octets(), &[0; 8]].concat()
}

fn send_to(socket: &OwnedFd, bytes: &[u8], address: &[u8]) -> Outcome {
    syscall!(SYS_sendto, socket, bytes.as_ptr(), bytes.len(), 0, address.as_ptr(), address.len())
}

fn receive(socket: &OwnedFd, flags: i32) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; 2048];
    let got = syscall!(SYS_recvfrom, socket, bytes.as_mut_ptr(), 2048, flags, 0usize, 0usize)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// The checksum of the Internet over a message whose own is in it comes to 0 (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let total: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum();
    !(((total & 0xffff) + (total >> 16)) as u16)
}

fn echo_request(kind: u8, identifier: u16, text: &[u8]) -> Vec<u8> {
    let mut bytes = [&[kind, 0, 0, 0][..], &identifier.to_be_bytes(), &[0, 1], text].concat();
    let checksum = sum(&bytes);
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

#[test]
fn udp_messages_stay_apart_and_tell_their_sender() {
    with_loopback(|| {
        let (one, two) = (bound(), bound());
        for text in ["first", "", "third"] {
            assert_eq!(one.send_to(text.as_bytes(), address_of(&two)).expect("send"), text.len());
        }
        let mut bytes = [0; 16];
        for text in ["first", "", "third"] {
            let (len, from) = two.recv_from(&mut bytes).expect("receive");
            assert_eq!((&bytes[..len], from), (text.as_bytes(), address_of(&one)));
        }
    });
}

#[test]
fn udp_over_ipv6_and_from_ipv4_to_both() {
    with_loopback(|| {
        let both = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("bind");
        let port = address_of(&both).port();
        let mut bytes = [0; 16];
        let six = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind");
        six.send_to(b"six", (Ipv6Addr::LOCALHOST, port)).expect("send");
        assert_eq!(both.recv_from(&mut bytes).expect("receive"), (3, address_of(&six)));
        let four = bound();
        four.send_to(b"four", (LOCALHOST, port)).expect("send");
        let (len, from) = both.recv_from(&mut bytes).expect("receive");
        assert_eq!((len, from.ip()), (4, LOCALHOST.to_ipv6_mapped().into()));
        both.send_to(b"back", from).expect("send");
        assert_eq!(four.recv_from(&mut bytes).expect("receive").1, (LOCALHOST, port).into());
    });
}

#[test]
fn udp_without_a_loopback_nothing_is_reachable() {
    in_network_namespace(|| {
        let one = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind");
        assert_errno!(one.send_to(b"x", (LOCALHOST, 9)), ENETUNREACH);
        assert_errno!(one.connect((LOCALHOST, 9)), ENETUNREACH);
        let six = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("bind");
        assert_errno!(six.connect((Ipv6Addr::LOCALHOST, 9)), EADDRNOTAVAIL);
        assert_errno!(UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)), EADDRNOTAVAIL);
    });
}

#[test]
fn udp_destinations_are_checked() {
    with_loopback(|| {
        let one = socket(AF_INET, SOCK_DGRAM, 0).expect("a socket");
        assert_errno!(syscall!(SYS_sendto, &one, b"x".as_ptr(), 1, 0, 0usize, 0), EDESTADDRREQ);
        assert_errno!(send_to(&one, b"x", &v4(LOCALHOST, 0)), EINVAL);
        assert_errno!(send_to(&one, b"x", &v4(LOCALHOST, 9)[..8]), EINVAL);
        assert_errno!(send_to(&one, b"x", &v4(Ipv4Addr::new(10, 0, 0, 1), 9)), ENETUNREACH);
        assert_errno!(send_to(&one, &[0; 65508], &v4(LOCALHOST, 9)), EMSGSIZE);
        assert_errno!(send_to(&one, b"x", &v4(Ipv4Addr::new(127, 255, 255, 255), 9)), EACCES);
        set_option(&one, SOL_SOCKET, libc::SO_BROADCAST, 1).expect("SO_BROADCAST");
        send_to(&one, b"x", &v4(Ipv4Addr::new(127, 255, 255, 255), 9)).expect("with SO_BROADCAST");
        assert_errno!(syscall!(SYS_listen, &one, 1), EOPNOTSUPP);
    });
}

#[test]
fn udp_sockets_with_a_peer_hear_no_others() {
    with_loopback(|| {
        let (one, two, three) = (UdpSocket::bind((LOCALHOST, 7000)).expect("bind"), bound(), bound());
        one.connect(address_of(&two)).expect("connect");
        assert_eq!(one.peer_addr().expect("a peer"), address_of(&two));
        three.send_to(b"three", address_of(&one)).expect("send");
        two.send_to(b"two", address_of(&one)).expect("send");
        let mut bytes = [0; 16];
        assert_eq!(one.recv(&mut bytes).expect("receive"), 3);
        one.set_nonblocking(true).expect("nonblocking");
        assert_errno!(one.recv(&mut bytes), EAGAIN);
        one.send(b"to two").expect("send");
        assert_eq!(two.recv_from(&mut bytes).expect("receive"), (6, address_of(&one)));
        syscall!(SYS_connect, &one, [0u8; 16].as_ptr(), 16).expect("connect to AF_UNSPEC");
        assert_errno!(one.peer_addr(), ENOTCONN);
        three.send_to(b"three", address_of(&one)).expect("send");
        assert_eq!(one.recv(&mut bytes).expect("receive"), 5);
        // A port that was not chosen goes with the peer.
        two.connect(address_of(&one)).expect("connect");
        syscall!(SYS_connect, &two, [0u8; 16].as_ptr(), 16).expect("connect to AF_UNSPEC");
        assert_eq!(address_of(&two), (LOCALHOST, 0).into());
    });
}

#[test]
fn udp_a_refusal_is_told_to_those_with_a_peer() {
    with_loopback(|| {
        let one = bound();
        one.connect((LOCALHOST, 9)).expect("connect");
        one.send(b"x").expect("the first is sent");
        assert_errno!(one.send(b"x"), ECONNREFUSED);
        one.send(b"x").expect("the error was told");
        assert_errno!(one.recv(&mut [0; 4]), ECONNREFUSED);
        one.send(b"x").expect("send");
        let mut poll = libc::pollfd { fd: one.as_raw_fd(), events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        syscall!(SYS_poll, &raw mut poll, 1, 0).expect("poll");
        assert_eq!(poll.revents & libc::POLLERR, libc::POLLERR);
        let plain = bound();
        plain.send_to(b"x", (LOCALHOST, 9)).expect("send");
        plain.send_to(b"x", (LOCALHOST, 9)).expect("nobody tells");
    });
}

#[test]
fn udp_ports_are_taken_once_unless_all_reuse() {
    with_loopback(|| {
        let one = UdpSocket::bind((LOCALHOST, 7000)).expect("bind");
        assert_errno!(UdpSocket::bind((LOCALHOST, 7000)), EADDRINUSE);
        assert_errno!(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 7000)), EADDRINUSE);
        std::net::TcpListener::bind((LOCALHOST, 7000)).expect("TCP has its own");
        drop(one);
        let reusing = || {
            let one = socket(AF_INET, SOCK_DGRAM, 0).expect("a socket");
            set_option(&one, SOL_SOCKET, libc::SO_REUSEADDR, 1).expect("SO_REUSEADDR");
            syscall!(SYS_bind, &one, v4(LOCALHOST, 7000).as_ptr(), 16).map(|_| one)
        };
        let (_one, _two) = (reusing().expect("bind"), reusing().expect("bind"));
        assert_errno!(UdpSocket::bind((LOCALHOST, 7000)), EADDRINUSE);
    });
}

#[test]
fn udp_the_nearest_socket_gets_it() {
    with_loopback(|| {
        let all = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind");
        let port = address_of(&all).port();
        all.set_nonblocking(true).expect("nonblocking");
        let reusing = socket(AF_INET, SOCK_DGRAM, 0).expect("a socket");
        bound().send_to(b"x", (Ipv4Addr::new(127, 0, 0, 7), port)).expect("send");
        assert_eq!(all.recv(&mut [0; 4]).expect("all of 127/8"), 1);
        drop(reusing);
    });
}

#[test]
fn udp_receives_can_peek_and_cut() {
    with_loopback(|| {
        let (one, two) = (bound(), bound());
        one.send_to(b"0123456789", address_of(&two)).expect("send");
        let mut bytes = [0u8; 4];
        let mut receive = |flags: i32| syscall!(SYS_recvfrom, &two, bytes.as_mut_ptr(), 4, flags, 0usize, 0usize);
        assert_eq!(receive(MSG_PEEK), Ok(4));
        assert_eq!(receive(MSG_PEEK | MSG_TRUNC), Ok(10));
        let mut next = 0i32;
        syscall!(SYS_ioctl, &two, libc::FIONREAD, &raw mut next).expect("FIONREAD");
        assert_eq!(next, 10);
        assert_errno!(receive(libc::MSG_ERRQUEUE), EAGAIN);
        assert_eq!(receive(0), Ok(4));
        assert_errno!(receive(MSG_DONTWAIT), EAGAIN);
    });
}

#[test]
fn udp_a_full_queue_loses_messages() {
    with_loopback(|| {
        let (one, two) = (bound(), bound());
        let small = 4096i32;
        syscall!(SYS_setsockopt, &two, SOL_SOCKET, libc::SO_RCVBUF, &raw const small, 4).expect("SO_RCVBUF");
        for _ in 0..50 {
            assert_eq!(one.send_to(&[7; 1000], address_of(&two)).expect("send"), 1000);
        }
        two.set_nonblocking(true).expect("nonblocking");
        let mut got = 0;
        while two.recv(&mut [0; 1000]).is_ok() {
            got += 1;
        }
        assert!((1..50).contains(&got), "{got}");
    });
}

#[test]
fn udp_control_data_tell_how_a_message_came() {
    with_loopback(|| {
        let (one, two) = (bound(), bound());
        for (level, name) in [(libc::IPPROTO_IP, libc::IP_PKTINFO), (libc::IPPROTO_IP, libc::IP_RECVTTL)] {
            syscall!(SYS_setsockopt, &two, level, name, &raw const ON, 4).expect("setsockopt");
        }
        one.set_ttl(9).expect("IP_TTL");
        one.send_to(b"x", address_of(&two)).expect("send");
        let (mut bytes, mut control) = ([0u8; 4], [0u8; 128]);
        let vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 4 };
        // SAFETY: msghdr is plain data.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = (&raw const vector).cast_mut();
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = control.len();
        syscall!(SYS_recvmsg, &two, &raw mut header, 0).expect("recvmsg");
        let mut found = Vec::new();
        let mut rest = &control[..header.msg_controllen];
        while rest.len() >= 16 {
            let len = u64::from_ne_bytes(rest[..8].try_into().expect("eight bytes")) as usize;
            found.push((i32::from_ne_bytes(rest[12..16].try_into().expect("four bytes")), rest[16..len].to_vec()));
            rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
        }
        found.sort();
        let information = [&1i32.to_ne_bytes()[..], &[127, 0, 0, 1], &[127, 0, 0, 1]].concat();
        assert_eq!(found, [(libc::IP_TTL, 9i32.to_ne_bytes().to_vec()), (libc::IP_PKTINFO, information)]);
    });
}

static ON: i32 = 1;

#[test]
fn udp_shutting_down_needs_a_peer() {
    with_loopback(|| {
        let one = bound();
        assert_errno!(syscall!(SYS_shutdown, &one, libc::SHUT_RD), ENOTCONN);
        let two = bound();
        two.connect(address_of(&one)).expect("connect");
        syscall!(SYS_shutdown, &two, libc::SHUT_RDWR).expect("shutdown");
        assert_eq!(two.recv(&mut [0; 4]).expect("the end"), 0);
        assert_errno!(syscall!(SYS_sendto, &two, b"x".as_ptr(), 1, libc::MSG_NOSIGNAL, 0usize, 0), EPIPE);
    });
}

#[test]
fn udp_the_tables_tell_who_is_bound() {
    with_loopback(|| {
        let _one = UdpSocket::bind((LOCALHOST, 7000)).expect("bind");
        let _six = UdpSocket::bind((Ipv6Addr::LOCALHOST, 7001)).expect("bind");
        let line = text_of("/proc/net/udp").lines().nth(1).expect("a line").to_owned();
        let fields: Vec<_> = line.split_whitespace().collect();
        assert_eq!(fields[1..4], ["0100007F:1B58", "00000000:0000", "07"]);
        let six = text_of("/proc/net/udp6");
        assert!(six.contains(" 00000000000000000000000001000000:1B59 00000000000000000000000000000000:0000 07 "), "{six}");
    });
}

#[test]
fn ping_sockets_are_for_the_groups_in_the_range() {
    with_loopback(|| {
        assert_errno!(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), EACCES);
        write("/proc/sys/net/ipv4/ping_group_range", "0 0");
        socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP).expect("for group 0");
        socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6).expect("for group 0");
        assert_errno!(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMPV6), EPROTONOSUPPORT);
        syscall!(SYS_setgroups, 0, 0usize).expect("setgroups");
        syscall!(SYS_setresgid, 1000, 1000, 1000).expect("setresgid");
        assert_errno!(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), EACCES);
    });
}

#[test]
fn ping_requests_are_answered() {
    with_loopback(|| {
        write("/proc/sys/net/ipv4/ping_group_range", "0 0");
        let ping = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP).expect("a ping socket");
        let to = v4(LOCALHOST, 0);
        send_to(&ping, &echo_request(8, 0, b"hello"), &to).expect("send");
        let reply = receive(&ping, MSG_DONTWAIT).expect("an answer");
        assert_eq!((reply[0], &reply[8..], sum(&reply)), (0, &b"hello"[..], 0));
        assert_errno!(receive(&ping, MSG_DONTWAIT), EAGAIN);
        assert_errno!(send_to(&ping, &echo_request(0, 0, b"no request"), &to), EINVAL);
        assert_errno!(send_to(&ping, &[8, 0, 0], &to), EINVAL);
        let six = socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6).expect("a ping socket");
        let to = [&(AF_INET6 as u16).to_ne_bytes()[..], &[0; 6], &Ipv6Addr::LOCALHOST.octets(), &[0; 4]].concat();
        send_to(&six, &echo_request(128, 0, b"hello"), &to).expect("send");
        let reply = receive(&six, MSG_DONTWAIT).expect("an answer");
        assert_eq!((reply[0], &reply[8..]), (129, &b"hello"[..]));
        write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1");
        send_to(&ping, &echo_request(8, 0, b"hello"), &v4(LOCALHOST, 0)).expect("send");
        assert_errno!(receive(&ping, MSG_DONTWAIT), EAGAIN);
    });
}

#[test]
fn raw_sockets_see_requests_and_answers() {
    with_loopback(|| {
        let raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP).expect("a raw socket");
        assert_eq!(option(&raw, SOL_SOCKET, libc::SO_TYPE), Ok(SOCK_RAW));
        send_to(&raw, &echo_request(8, 99, b"hello"), &v4(LOCALHOST, 0)).expect("send");
        for kind in [8, 0] {
            let packet = receive(&raw, MSG_DONTWAIT).expect("a packet");
            assert_eq!((packet[0], packet[9], sum(&packet[..20])), (0x45, IPPROTO_ICMP as u8, 0));
            assert_eq!(packet[12..20], [127, 0, 0, 1, 127, 0, 0, 1]);
            assert_eq!(u16::from_be_bytes([packet[2], packet[3]]) as usize, packet.len());
            assert_eq!((packet[20], &packet[28..]), (kind, &b"hello"[..]));
        }
        const SOL_RAW: i32 = 255;
        set_option(&raw, SOL_RAW, 1, !(1 << 0)).expect("ICMP_FILTER: replies only");
        send_to(&raw, &echo_request(8, 99, b"again"), &v4(LOCALHOST, 0)).expect("send");
        assert_eq!(receive(&raw, MSG_DONTWAIT).expect("a packet")[20], 0);
        assert_errno!(receive(&raw, MSG_DONTWAIT), EAGAIN);
    });
}

#[test]
fn raw_sockets_of_ipv6_have_no_header() {
    with_loopback(|| {
        let raw = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6).expect("a raw socket");
        // ICMP6_FILTER: all types blocked but replies (RFC 3542).
        let mut filter = [u32::MAX; 8];
        filter[129 / 32] &= !(1 << (129 % 32));
        syscall!(SYS_setsockopt, &raw, IPPROTO_ICMPV6, 1, filter.as_ptr(), 32).expect("ICMP6_FILTER");
        let to = [&(AF_INET6 as u16).to_ne_bytes()[..], &[0; 6], &Ipv6Addr::LOCALHOST.octets(), &[0; 4]].concat();
        const SOL_RAW: i32 = 255;
        const IPV6_CHECKSUM: i32 = 7;
        const IPV6_2292HOPLIMIT: i32 = 8;
        set_option(&raw, SOL_RAW, IPV6_CHECKSUM, 2).expect("the kernel sums it up anyway");
        set_option(&raw, libc::IPPROTO_IPV6, IPV6_2292HOPLIMIT, 1).expect("what busybox asks for");
        send_to(&raw, &echo_request(128, 99, b"hello"), &to).expect("send");
        let packet = receive(&raw, MSG_DONTWAIT).expect("a packet");
        assert_eq!((packet[0], &packet[8..]), (129, &b"hello"[..]));
        assert_errno!(receive(&raw, MSG_DONTWAIT), EAGAIN);
    });
}

#[test]
fn raw_and_packet_sockets_are_for_the_privileged() {
    with_loopback(|| {
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
        assert_errno!(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), EPERM);
        assert_errno!(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
        assert_errno!(socket(AF_PACKET, SOCK_DGRAM, 0), EPERM);
    });
}
