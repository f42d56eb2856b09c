//! TCP over the loopback (`tcp(7)`): connections, backlogs, the ends of connections, names and ports, options.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use abi::child::{wait_until, wait_until_asleep};
use abi::network::{in_network_namespace, option, set_option, socket, text_of, with_loopback};
use abi::{Outcome, assert_errno, spawn, syscall};
use libc::{AF_INET, AF_INET6, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP};
use libc::{SO_ERROR, SO_REUSEADDR, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// `struct sockaddr_in` or `sockaddr_in6`.
fn encode(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => [&(AF_INET as u16).to_ne_bytes()[..], &port, &v4.ip().octets(), &[0; 8]].concat(),
        SocketAddr::V6(v6) => [&(AF_INET6 as u16).to_ne_bytes()[..], &port, &[0; 4], &v6.ip().octets(), &[0; 4]].concat(),
    }
}

fn at(address: impl Into<std::net::IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

fn bind(socket: &OwnedFd, address: SocketAddr) -> Outcome {
    let bytes = encode(address);
    syscall!(SYS_bind, socket, bytes.as_ptr(), bytes.len())
}

fn connect(socket: &OwnedFd, address: SocketAddr) -> Outcome {
    let bytes = encode(address);
    syscall!(SYS_connect, socket, bytes.as_ptr(), bytes.len())
}

fn listen(socket: &OwnedFd, backlog: i32) -> Outcome {
    syscall!(SYS_listen, socket, backlog)
}

fn stream() -> OwnedFd {
    socket(AF_INET, SOCK_STREAM, 0).expect("a socket")
}

fn port_of(socket: &OwnedFd) -> u16 {
    let (mut bytes, mut len) = ([0u8; 28], 28u32);
    syscall!(SYS_getsockname, socket, bytes.as_mut_ptr(), &raw mut len).expect("getsockname");
    u16::from_be_bytes([bytes[2], bytes[3]])
}

fn poll(socket: &impl AsRawFd) -> i16 {
    let mut one = libc::pollfd { fd: socket.as_raw_fd(), events: POLLIN | POLLOUT | POLLRDHUP, revents: 0 };
    syscall!(SYS_poll, &raw mut one, 1, 0).expect("poll");
    one.revents
}

/// A listener at a port that the kernel chose, and a connection to it.
fn connection() -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind((LOCALHOST, 0)).expect("bind");
    let client = TcpStream::connect(listener.local_addr().expect("a name")).expect("connect");
    let (server, from) = listener.accept().expect("accept");
    assert_eq!(from, client.local_addr().expect("a name"));
    (listener, client, server)
}

fn send(stream: &TcpStream, bytes: &[u8], flags: i32) -> Outcome {
    syscall!(SYS_sendto, stream, bytes.as_ptr(), bytes.len(), flags, 0usize, 0)
}

fn receive(stream: &TcpStream, len: usize, flags: i32) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; len];
    let got = syscall!(SYS_recvfrom, stream, bytes.as_mut_ptr(), len, flags, 0usize, 0usize)?;
    bytes.truncate(got);
    Ok(bytes)
}

#[test]
fn tcp_connections_carry_bytes_both_ways_and_end() {
    with_loopback(|| {
        let (listener, mut client, mut server) = connection();
        client.write_all(b"hello ").expect("write");
        client.write_all(b"server").expect("write");
        let mut bytes = [0; 12];
        server.read_exact(&mut bytes).expect("read");
        assert_eq!(&bytes, b"hello server");
        server.write_all(b"hello client").expect("write");
        server.shutdown(Shutdown::Write).expect("shutdown");
        let mut text = String::new();
        client.read_to_string(&mut text).expect("read to the end");
        assert_eq!(text, "hello client");
        client.write_all(b"one direction is open").expect("write");
        assert_eq!(receive(&server, 64, 0).expect("read"), b"one direction is open");
        assert_eq!(client.peer_addr().expect("a peer"), listener.local_addr().expect("a name"));
    });
}

#[test]
fn tcp_large_transfers_arrive_whole() {
    with_loopback(|| {
        const LEN: usize = 3_000_000;
        let (_listener, mut client, mut server) = connection();
        let sender = spawn(|| {
            let bytes: Vec<u8> = (0..LEN).map(|index| (index % 251) as u8).collect();
            client.write_all(&bytes).expect("write");
            client.shutdown(Shutdown::Write).expect("shutdown");
        });
        let mut bytes = Vec::new();
        drop(client);
        server.read_to_end(&mut bytes).expect("read");
        assert_eq!(bytes.len(), LEN);
        assert!(bytes.iter().enumerate().all(|(index, &byte)| byte == (index % 251) as u8));
        sender.join();
    });
}

#[test]
fn tcp_ipv6_connects_and_takes_ipv4_in() {
    with_loopback(|| {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("bind");
        let port = listener.local_addr().expect("a name").port();
        let six = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("connect");
        let (_one, from) = listener.accept().expect("accept");
        assert_eq!((from, from.ip()), (six.local_addr().expect("a name"), Ipv6Addr::LOCALHOST.into()));
        let _four = TcpStream::connect((LOCALHOST, port)).expect("connect");
        let (_two, from) = listener.accept().expect("accept");
        assert_eq!(from.ip(), LOCALHOST.to_ipv6_mapped());
    });
}

#[test]
fn tcp_ipv6_only_leaves_ipv4_alone() {
    with_loopback(|| {
        let six = socket(AF_INET6, SOCK_STREAM, 0).expect("a socket");
        set_option(&six, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).expect("IPV6_V6ONLY");
        bind(&six, at(Ipv6Addr::UNSPECIFIED, 7000)).expect("bind");
        listen(&six, 1).expect("listen");
        assert_errno!(set_option(&six, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0), EINVAL);
        assert_errno!(TcpStream::connect((LOCALHOST, 7000)), ECONNREFUSED);
        bind(&stream(), at(Ipv4Addr::UNSPECIFIED, 7000)).expect("the other family is free");
        let both = socket(AF_INET6, SOCK_STREAM, 0).expect("a socket");
        bind(&both, at(Ipv6Addr::UNSPECIFIED, 7001)).expect("bind");
        assert_errno!(bind(&stream(), at(Ipv4Addr::UNSPECIFIED, 7001)), EADDRINUSE);
        assert_errno!(bind(&stream(), at(LOCALHOST, 7001)), EADDRINUSE);
    });
}

#[test]
fn tcp_nobody_listening_is_a_refusal() {
    with_loopback(|| {
        assert_errno!(TcpStream::connect((LOCALHOST, 9)), ECONNREFUSED);
        assert_errno!(TcpStream::connect((Ipv6Addr::LOCALHOST, 9)), ECONNREFUSED);
        let bound = stream();
        bind(&bound, at(LOCALHOST, 7000)).expect("bind");
        assert_errno!(TcpStream::connect((LOCALHOST, 7000)), ECONNREFUSED);
        listen(&bound, 1).expect("listen");
        assert_errno!(TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), 7000)), ECONNREFUSED);
        let client = stream();
        assert_errno!(connect(&client, at(LOCALHOST, 9)), ECONNREFUSED);
        connect(&client, at(LOCALHOST, 7000)).expect("the same socket, at the right port");
    });
}

#[test]
fn tcp_without_a_loopback_nothing_is_reachable() {
    in_network_namespace(|| {
        assert_errno!(TcpStream::connect((LOCALHOST, 9)), ENETUNREACH);
        assert_errno!(TcpStream::connect((Ipv6Addr::LOCALHOST, 9)), EADDRNOTAVAIL);
        bind(&stream(), at(LOCALHOST, 7000)).expect("there is no table of local addresses yet");
        assert_errno!(TcpListener::bind((Ipv6Addr::LOCALHOST, 7000)), EADDRNOTAVAIL);
        bind(&stream(), at(Ipv4Addr::UNSPECIFIED, 7001)).expect("no address in particular");
    });
}

#[test]
fn tcp_only_own_addresses_can_be_had() {
    with_loopback(|| {
        bind(&stream(), at(Ipv4Addr::new(127, 9, 8, 7), 7000)).expect("all of 127/8 is local");
        assert_errno!(bind(&stream(), at(Ipv4Addr::new(10, 0, 0, 1), 7000)), EADDRNOTAVAIL);
        assert_errno!(TcpStream::connect((Ipv4Addr::new(10, 0, 0, 1), 7000)), ENETUNREACH);
        let free = stream();
        set_option(&free, libc::IPPROTO_IP, libc::IP_FREEBIND, 1).expect("IP_FREEBIND");
        bind(&free, at(Ipv4Addr::new(10, 0, 0, 1), 7000)).expect("with IP_FREEBIND");
    });
}

#[test]
fn tcp_addresses_are_checked() {
    with_loopback(|| {
        let (one, address) = (stream(), encode(at(LOCALHOST, 7000)));
        assert_errno!(syscall!(SYS_bind, &one, address.as_ptr(), 15), EINVAL);
        let six = encode(at(Ipv6Addr::LOCALHOST, 7000));
        assert_errno!(syscall!(SYS_bind, &one, six.as_ptr(), 28), EAFNOSUPPORT);
        assert_errno!(syscall!(SYS_connect, &one, six.as_ptr(), 28), EAFNOSUPPORT);
        assert_errno!(syscall!(SYS_connect, &one, address.as_ptr(), 8), EINVAL);
        let seven = socket(AF_INET6, SOCK_STREAM, 0).expect("a socket");
        assert_errno!(syscall!(SYS_bind, &seven, six.as_ptr(), 23), EINVAL);
        assert_errno!(syscall!(SYS_bind, &seven, address.as_ptr(), 16), EINVAL);
        bind(&one, at(LOCALHOST, 7000)).expect("bind");
        assert_errno!(bind(&one, at(LOCALHOST, 7001)), EINVAL);
    });
}

#[test]
fn tcp_types_and_protocols_are_checked() {
    with_loopback(|| {
        assert_errno!(socket(AF_INET, SOCK_STREAM, libc::IPPROTO_UDP), EPROTONOSUPPORT);
        assert_errno!(socket(AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_TCP), EPROTONOSUPPORT);
        assert_errno!(socket(AF_INET, libc::SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
        assert_errno!(socket(AF_INET, libc::SOCK_RAW, 0), EPROTONOSUPPORT);
        assert_errno!(socket(AF_INET, SOCK_STREAM, 999), EINVAL);
        let one = socket(AF_INET, SOCK_STREAM, libc::IPPROTO_TCP).expect("a socket");
        assert_eq!(option(&one, SOL_SOCKET, libc::SO_PROTOCOL), Ok(libc::IPPROTO_TCP));
        let mut ends = [0i32; 2];
        assert_errno!(syscall!(SYS_socketpair, AF_INET, SOCK_STREAM, 0, ends.as_mut_ptr()), EOPNOTSUPP);
    });
}

#[test]
fn tcp_low_ports_are_for_the_privileged() {
    with_loopback(|| {
        bind(&stream(), at(LOCALHOST, 80)).expect("as root");
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(bind(&stream(), at(LOCALHOST, 81)), EACCES);
        bind(&stream(), at(LOCALHOST, 1024)).expect("a high one");
    });
}

#[test]
fn tcp_ports_are_taken_once() {
    with_loopback(|| {
        let (one, two) = (stream(), stream());
        bind(&one, at(LOCALHOST, 7000)).expect("bind");
        assert_errno!(bind(&two, at(LOCALHOST, 7000)), EADDRINUSE);
        assert_errno!(bind(&two, at(Ipv4Addr::UNSPECIFIED, 7000)), EADDRINUSE);
        bind(&two, at(Ipv4Addr::new(127, 0, 0, 2), 7000)).expect("another address");
        listen(&one, 1).expect("listen");
        drop(one);
        bind(&stream(), at(LOCALHOST, 7000)).expect("it is free again");
    });
}

#[test]
fn tcp_reuse_of_addresses_ends_where_somebody_listens() {
    with_loopback(|| {
        let reusing = || {
            let one = stream();
            set_option(&one, SOL_SOCKET, SO_REUSEADDR, 1).expect("SO_REUSEADDR");
            one
        };
        let (one, two) = (reusing(), reusing());
        bind(&one, at(LOCALHOST, 7000)).expect("bind");
        bind(&two, at(LOCALHOST, 7000)).expect("both reuse");
        assert_errno!(bind(&stream(), at(LOCALHOST, 7000)), EADDRINUSE);
        listen(&one, 1).expect("listen");
        assert_errno!(listen(&two, 1), EADDRINUSE);
        assert_errno!(bind(&reusing(), at(LOCALHOST, 7000)), EADDRINUSE);
    });
}

#[test]
fn tcp_reuse_of_ports_lets_several_listen() {
    with_loopback(|| {
        let sharing = || {
            let one = stream();
            set_option(&one, SOL_SOCKET, libc::SO_REUSEPORT, 1).expect("SO_REUSEPORT");
            one
        };
        let (one, two) = (sharing(), sharing());
        for listener in [&one, &two] {
            bind(listener, at(LOCALHOST, 7000)).expect("bind");
            listen(listener, 1).expect("listen");
        }
        assert_errno!(bind(&stream(), at(LOCALHOST, 7000)), EADDRINUSE);
        TcpStream::connect((LOCALHOST, 7000)).expect("connect");
    });
}

#[test]
fn tcp_the_side_that_ends_first_keeps_its_port_for_a_while() {
    with_loopback(|| {
        let (listener, client, server) = connection();
        let address = listener.local_addr().expect("a name");
        drop(listener);
        drop(server);
        drop(client);
        assert_errno!(bind(&stream(), address), EADDRINUSE);
        assert!(text_of("/proc/net/tcp").contains(" 06 "), "{}", text_of("/proc/net/tcp"));
        let reusing = stream();
        set_option(&reusing, SOL_SOCKET, SO_REUSEADDR, 1).expect("SO_REUSEADDR");
        bind(&reusing, address).expect("with SO_REUSEADDR, as std's listeners have");
    });
}

#[test]
fn tcp_the_side_that_ends_last_leaves_its_port() {
    with_loopback(|| {
        let plain = stream();
        bind(&plain, at(LOCALHOST, 7000)).expect("bind");
        listen(&plain, 1).expect("listen");
        let client = TcpStream::connect((LOCALHOST, 7000)).expect("connect");
        let server = syscall!(SYS_accept, &plain, 0usize, 0usize).expect("accept");
        drop(client);
        syscall!(SYS_close, server).expect("close");
        drop(plain);
        bind(&stream(), at(LOCALHOST, 7000)).expect("the client ended first");
    });
}

#[test]
fn tcp_ports_come_from_the_range() {
    with_loopback(|| {
        abi::world::write("/proc/sys/net/ipv4/ip_local_port_range", "5000 5003");
        let mut sockets = Vec::new();
        for _ in 0..4 {
            let one = stream();
            bind(&one, at(LOCALHOST, 0)).expect("bind");
            assert!((5000..=5003).contains(&port_of(&one)));
            sockets.push(one);
        }
        assert_errno!(bind(&stream(), at(LOCALHOST, 0)), EADDRINUSE);
        drop(sockets.pop());
        bind(&stream(), at(LOCALHOST, 0)).expect("one is free again");
    });
}

#[test]
fn tcp_listening_needs_no_name() {
    with_loopback(|| {
        let listener = stream();
        listen(&listener, 1).expect("listen");
        assert_eq!(option(&listener, SOL_SOCKET, libc::SO_ACCEPTCONN), Ok(1));
        let port = port_of(&listener);
        assert_ne!(port, 0);
        TcpStream::connect((LOCALHOST, port)).expect("connect");
        assert_errno!(connect(&listener, at(LOCALHOST, port)), EISCONN);
        listen(&listener, 5).expect("once more");
    });
}

#[test]
fn tcp_accepting_needs_a_listener() {
    with_loopback(|| {
        let (_listener, client, _server) = connection();
        assert_errno!(syscall!(SYS_accept, &client, 0usize, 0usize), EINVAL);
        assert_errno!(syscall!(SYS_listen, &client, 1), EINVAL);
        let quiet = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0).expect("a socket");
        listen(&quiet, 1).expect("listen");
        assert_errno!(syscall!(SYS_accept, &quiet, 0usize, 0usize), EAGAIN);
        assert_eq!(poll(&quiet), 0);
    });
}

#[test]
fn tcp_a_full_backlog_keeps_clients_waiting() {
    with_loopback(|| {
        let listener = stream();
        bind(&listener, at(LOCALHOST, 7000)).expect("bind");
        listen(&listener, 1).expect("listen");
        let client = || {
            let one = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0).expect("a socket");
            assert_errno!(connect(&one, at(LOCALHOST, 7000)), EINPROGRESS);
            one
        };
        let (one, two, three) = (client(), client(), client());
        // One more than the backlog is let in.
        assert_eq!((poll(&one), poll(&two), poll(&three)), (POLLOUT, POLLOUT, 0));
        assert_errno!(connect(&three, at(LOCALHOST, 7000)), EALREADY);
        connect(&one, at(LOCALHOST, 7000)).expect("the outcome");
        assert_errno!(connect(&one, at(LOCALHOST, 7000)), EISCONN);
        syscall!(SYS_accept, &listener, 0usize, 0usize).expect("accept");
        wait_until("there is room for the third", || poll(&three) == POLLOUT);
    });
}

#[test]
fn tcp_a_connect_that_does_not_wait_tells_its_outcome_later() {
    with_loopback(|| {
        let one = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0).expect("a socket");
        assert_errno!(connect(&one, at(LOCALHOST, 9)), EINPROGRESS);
        assert_eq!(poll(&one), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
        assert_eq!(option(&one, SOL_SOCKET, SO_ERROR), Ok(libc::ECONNREFUSED));
        assert_eq!(option(&one, SOL_SOCKET, SO_ERROR), Ok(0));
        let two = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0).expect("a socket");
        assert_errno!(connect(&two, at(LOCALHOST, 9)), EINPROGRESS);
        assert_errno!(connect(&two, at(LOCALHOST, 9)), ECONNREFUSED);
    });
}

#[test]
fn tcp_a_new_socket_is_hung_up() {
    with_loopback(|| {
        let one = stream();
        assert_eq!(poll(&one), POLLOUT | POLLHUP);
        let mut byte = 0u8;
        assert_errno!(syscall!(SYS_recvfrom, &one, &raw mut byte, 1, 0, 0usize, 0usize), ENOTCONN);
        assert_errno!(syscall!(SYS_sendto, &one, &raw const byte, 1, MSG_NOSIGNAL, 0usize, 0), EPIPE);
        assert_errno!(syscall!(SYS_shutdown, &one, libc::SHUT_RDWR), ENOTCONN);
        let (mut bytes, mut len) = ([0u8; 16], 16u32);
        assert_errno!(syscall!(SYS_getpeername, &one, bytes.as_mut_ptr(), &raw mut len), ENOTCONN);
    });
}

#[test]
fn tcp_polls_as_the_connection_goes() {
    with_loopback(|| {
        let (listener, client, server) = connection();
        assert_eq!((poll(&listener), poll(&client)), (0, POLLOUT));
        let _waiting = TcpStream::connect(listener.local_addr().expect("a name")).expect("connect");
        assert_eq!(poll(&listener), POLLIN);
        send(&server, b"x", 0).expect("send");
        assert_eq!(poll(&client), POLLIN | POLLOUT);
        receive(&client, 1, 0).expect("receive");
        server.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(poll(&client), POLLIN | POLLOUT | POLLRDHUP);
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(poll(&client), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    });
}

#[test]
fn tcp_receives_can_peek_wait_for_all_and_throw_away() {
    with_loopback(|| {
        let (_listener, client, server) = connection();
        send(&client, b"abc", 0).expect("send");
        send(&client, b"def", 0).expect("send");
        assert_eq!(receive(&server, 8, MSG_PEEK).expect("peek"), b"abcdef");
        let (mut waiting, address) = (0i32, server.as_raw_fd());
        syscall!(SYS_ioctl, address, libc::FIONREAD, &raw mut waiting).expect("FIONREAD");
        assert_eq!(waiting, 6);
        assert_eq!(receive(&server, 2, 0).expect("receive"), b"ab");
        let sender = spawn(|| {
            wait_until_asleep(syscall!(SYS_getppid).expect("getppid") as i32);
            send(&client, b"ghij", 0).expect("send");
        });
        assert_eq!(receive(&server, 8, libc::MSG_WAITALL).expect("receive"), b"cdefghij");
        sender.join();
        send(&client, b"thrown away", 0).expect("send");
        assert_eq!(syscall!(SYS_recvfrom, &server, 0usize, 6, libc::MSG_TRUNC, 0usize, 0usize), Ok(6));
        assert_eq!(receive(&server, 64, 0).expect("receive"), b" away");
        assert_errno!(receive(&server, 64, MSG_DONTWAIT), EAGAIN);
    });
}

#[test]
fn tcp_a_sender_waits_for_room() {
    with_loopback(|| {
        let (_listener, client, server) = connection();
        let mut sent = 0;
        while let Ok(count) = send(&client, &[1; 65536], MSG_DONTWAIT) {
            sent += count;
        }
        assert!(sent >= 65536, "{sent}");
        assert_errno!(send(&client, &[1], MSG_DONTWAIT), EAGAIN);
        assert_eq!(poll(&client) & POLLOUT, 0);
        let mut received = 0;
        while received < sent {
            received += receive(&server, 65536, 0).expect("receive").len();
        }
        wait_until("there is room", || poll(&client) & POLLOUT != 0);
    });
}

#[test]
fn tcp_sending_to_one_who_has_closed_fails_the_second_time() {
    with_loopback(|| {
        let (_listener, client, server) = connection();
        drop(server);
        assert_eq!(receive(&client, 1, 0).expect("the end"), b"");
        assert_eq!(send(&client, b"x", MSG_NOSIGNAL), Ok(1));
        assert_errno!(send(&client, b"x", MSG_NOSIGNAL), EPIPE);
        assert_eq!(receive(&client, 1, 0).expect("the end"), b"");
    });
}

#[test]
fn tcp_a_broken_pipe_kills_those_who_do_not_look() {
    with_loopback(|| {
        let (_listener, client, server) = connection();
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert_errno!(send(&client, b"x", MSG_NOSIGNAL), EPIPE);
        let child = spawn(|| {
            // SAFETY: no handler is run.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            let _ = send(&client, b"x", 0);
        });
        assert_eq!(child.status(), abi::Status::Killed(libc::SIGPIPE));
        drop(server);
    });
}

#[test]
fn tcp_closing_with_something_unread_is_a_reset() {
    with_loopback(|| {
        let (_listener, client, server) = connection();
        send(&server, b"for you", 0).expect("send");
        send(&client, b"unread", 0).expect("send");
        drop(server);
        assert_eq!(poll(&client), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
        assert_errno!(client.peer_addr(), ENOTCONN);
        let outcome = receive(&client, 64, 0);
        assert!(outcome == Ok(b"for you".to_vec()) || outcome == Err(abi::Errno(libc::ECONNRESET)), "{outcome:?}");
    });
}

#[test]
fn tcp_closing_without_lingering_is_a_reset() {
    with_loopback(|| {
        let (_listener, client, server) = connection();
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        syscall!(SYS_setsockopt, &server, SOL_SOCKET, libc::SO_LINGER, &raw const linger, 8).expect("SO_LINGER");
        drop(server);
        assert_errno!(receive(&client, 1, 0), ECONNRESET);
        assert_eq!(receive(&client, 1, 0).expect("the end"), b"");
    });
}

#[test]
fn tcp_closing_a_listener_resets_those_who_wait() {
    with_loopback(|| {
        let listener = TcpListener::bind((LOCALHOST, 0)).expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("a name")).expect("connect");
        drop(listener);
        assert_errno!(receive(&client, 1, 0), ECONNRESET);
    });
}

#[test]
fn tcp_shutting_a_listener_down_wakes_who_accepts() {
    with_loopback(|| {
        let listener = TcpListener::bind((LOCALHOST, 0)).expect("bind");
        let child = spawn(|| assert_errno!(listener.accept(), EINVAL));
        wait_until_asleep(child.pid());
        syscall!(SYS_shutdown, &listener, libc::SHUT_RD).expect("shutdown");
        child.join();
        assert_errno!(TcpStream::connect(listener.local_addr().expect("a name")), ECONNREFUSED);
    });
}

#[test]
fn tcp_shutting_down_receiving_is_an_end_of_file_here_only() {
    with_loopback(|| {
        let (_listener, client, server) = connection();
        client.shutdown(Shutdown::Read).expect("shutdown");
        assert_eq!(receive(&client, 1, 0).expect("the end"), b"");
        send(&server, b"x", 0).expect("the other side has not heard of it");
        assert_eq!(receive(&client, 1, 0).expect("what comes all the same"), b"x");
    });
}

#[test]
fn tcp_disconnecting_makes_a_socket_new() {
    with_loopback(|| {
        let listener = TcpListener::bind((LOCALHOST, 0)).expect("bind");
        let one = stream();
        connect(&one, listener.local_addr().expect("a name")).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        syscall!(SYS_connect, &one, [0u8; 16].as_ptr(), 16).expect("connect to AF_UNSPEC");
        assert_errno!(receive(&server, 1, 0), ECONNRESET);
        assert_ne!(port_of(&one), 0, "the port stays");
        connect(&one, listener.local_addr().expect("a name")).expect("connect again");
    });
}

#[test]
fn tcp_options_are_remembered() {
    with_loopback(|| {
        let one = stream();
        let options = [(libc::TCP_NODELAY, 0, 1), (libc::TCP_KEEPIDLE, 7200, 60), (libc::TCP_KEEPINTVL, 75, 5), (libc::TCP_KEEPCNT, 9, 3)];
        for (name, default, other) in options {
            assert_eq!(option(&one, libc::IPPROTO_TCP, name), Ok(default), "{name}");
            set_option(&one, libc::IPPROTO_TCP, name, other).expect("set");
            assert_eq!(option(&one, libc::IPPROTO_TCP, name), Ok(other), "{name}");
        }
        assert_errno!(set_option(&one, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 0), EINVAL);
        assert_errno!(set_option(&one, libc::IPPROTO_TCP, 9999, 1), ENOPROTOOPT);
        assert_eq!(option(&one, libc::IPPROTO_IP, libc::IP_TTL), Ok(64));
        set_option(&one, libc::IPPROTO_IP, libc::IP_TTL, 7).expect("IP_TTL");
        assert_eq!(option(&one, libc::IPPROTO_IP, libc::IP_TTL), Ok(7));
        assert_errno!(set_option(&one, libc::IPPROTO_IP, libc::IP_TTL, 256), EINVAL);
        assert_errno!(set_option(&one, SOL_SOCKET, libc::SO_PASSCRED + 9000, 1), ENOPROTOOPT);
    });
}

#[test]
fn tcp_the_tables_tell_who_listens_and_who_talks() {
    with_loopback(|| {
        let listener = TcpListener::bind((LOCALHOST, 7000)).expect("bind");
        let client = TcpStream::connect((LOCALHOST, 7000)).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        server.shutdown(Shutdown::Write).expect("shutdown");
        send(&client, b"12345", 0).expect("send");
        let text = text_of("/proc/net/tcp");
        let fields = |needle: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.contains(needle)).unwrap_or_else(|| panic!("{needle} in {text}"));
            line.split_whitespace().map(str::to_owned).collect()
        };
        let client_port = format!("{:04X}", client.local_addr().expect("a name").port());
        let listening = fields("0100007F:1B58 00000000:0000");
        let serving = fields(&format!("0100007F:1B58 0100007F:{client_port}"));
        let using = fields(&format!("0100007F:{client_port} 0100007F:1B58"));
        assert_eq!((listening[3].as_str(), serving[3].as_str(), using[3].as_str()), ("0A", "05", "08"));
        assert_eq!(serving[4], "00000000:00000005");
        use std::os::linux::fs::MetadataExt;
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", listener.as_raw_fd())).expect("stat").st_ino();
        assert_eq!(listening[9], inode.to_string());
        assert!(text_of("/proc/net/sockstat").contains("TCP: inuse 3"));
    });
}

#[test]
fn tcp_epoll_hears_each_edge() {
    with_loopback(|| {
        let (_listener, client, server) = connection();
        let epoll = syscall!(SYS_epoll_create1, libc::EPOLL_CLOEXEC).expect("epoll_create1");
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32, u64: 7 };
        syscall!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, &server, &raw mut event).expect("epoll_ctl");
        let wait = || {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            let count = syscall!(SYS_epoll_wait, epoll, &raw mut event, 1, 0).expect("epoll_wait");
            (count, if count == 0 { 0 } else { event.events as i32 })
        };
        assert_eq!(wait(), (0, 0));
        send(&client, b"x", 0).expect("send");
        assert_eq!(wait(), (1, libc::EPOLLIN));
        assert_eq!(wait(), (0, 0));
        drop(client);
        assert_eq!(wait(), (1, libc::EPOLLIN | libc::EPOLLRDHUP));
    });
}
