//! Unix sockets: streams, datagrams, sequenced packets, names, descriptors and credentials in messages, the end of a connection.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::atomic::Ordering::SeqCst;

use abi::child::{wait_until, wait_until_asleep};
use abi::world::{exists, write};
use abi::{Outcome, assert_errno, in_child, in_mount_namespace, shared_words, spawn, syscall};
use libc::{AF_UNIX, MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET};

fn pair(kind: i32) -> (OwnedFd, OwnedFd) {
    let mut ends = [0i32; 2];
    syscall!(SYS_socketpair, AF_UNIX, kind, 0, ends.as_mut_ptr()).expect("socketpair");
    // SAFETY: both descriptors are new and owned by nobody else.
    unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) }
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> Outcome {
    syscall!(SYS_sendto, socket, bytes.as_ptr(), bytes.len(), libc::MSG_NOSIGNAL, 0usize, 0)
}

fn receive(socket: &OwnedFd, len: usize, flags: i32) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; len];
    let got = syscall!(SYS_recvfrom, socket, bytes.as_mut_ptr(), len, flags, 0usize, 0usize)?;
    bytes.truncate(got.min(len));
    Ok(bytes)
}

fn option(socket: &OwnedFd, name: i32) -> i32 {
    let (mut value, mut len) = (0i32, 4u32);
    syscall!(SYS_getsockopt, socket, SOL_SOCKET, name, &raw mut value, &raw mut len).expect("getsockopt");
    value
}

/// Sends one byte with these control data.
fn send_control(socket: &OwnedFd, kind: i32, data: &[u8]) -> Outcome {
    let mut control = vec![0u64; (16 + data.len()).div_ceil(8)];
    control[0] = 16 + data.len() as u64;
    control[1] = SOL_SOCKET as u64 | (kind as u64) << 32;
    for (index, &byte) in data.iter().enumerate() {
        control[2 + index / 8] |= u64::from(byte) << (8 * (index % 8));
    }
    let vector = libc::iovec { iov_base: c"x".as_ptr() as *mut _, iov_len: 1 };
    // SAFETY: msghdr is plain data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = (&raw const vector).cast_mut();
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() * 8;
    syscall!(SYS_sendmsg, socket, &raw const message, 0)
}

/// A control message: its type and its data by words.
type Control = (i32, Vec<u32>);

/// Receives one message: its byte count, type and data of its first control message, and the flags.
fn receive_control(socket: &OwnedFd, room_bytes: usize, flags: i32) -> Outcome<(usize, Option<Control>, i32)> {
    let mut bytes = [0u8; 16];
    let mut control = [0u64; 16];
    let vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 16 };
    // SAFETY: msghdr is plain data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = (&raw const vector).cast_mut();
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = room_bytes;
    let got = syscall!(SYS_recvmsg, socket, &raw mut message, flags)?;
    let found = (message.msg_controllen >= 16).then(|| {
        let words = (control[0] as usize - 16) / 4;
        let data = (0..words).map(|index| (control[2 + index / 2] >> (32 * (index % 2))) as u32).collect();
        ((control[1] >> 32) as i32, data)
    });
    Ok((got, found, message.msg_flags))
}

#[test]
fn streams_carry_bytes_both_ways_and_end() {
    in_child(|| {
        let (mut one, mut two) = UnixStream::pair().expect("socketpair");
        one.write_all(b"hello ").expect("write");
        one.write_all(b"world").expect("write");
        let mut bytes = [0; 11];
        two.read_exact(&mut bytes).expect("read");
        assert_eq!(&bytes, b"hello world");
        two.write_all(b"back").expect("write");
        drop(two);
        let mut rest = Vec::new();
        one.read_to_end(&mut rest).expect("what was sent before the end");
        assert_eq!(rest, b"back");
        abi::signal::catch(libc::SIGPIPE, 0);
        assert_errno!(syscall!(SYS_sendto, &one, c"x".as_ptr(), 1, libc::MSG_NOSIGNAL, 0usize, 0), EPIPE);
        assert_eq!(abi::signal::count(libc::SIGPIPE), 0);
        assert_errno!(syscall!(SYS_write, &one, c"x".as_ptr(), 1), EPIPE);
        assert_eq!(abi::signal::count(libc::SIGPIPE), 1);
    });
}

#[test]
fn unread_data_at_close_resets_the_other_end() {
    in_child(|| {
        let (one, two) = pair(SOCK_STREAM);
        assert_eq!(send(&one, b"never read"), Ok(10));
        drop(two);
        assert_errno!(receive(&one, 10, 0), ECONNRESET);
        assert_eq!(receive(&one, 10, 0), Ok(Vec::new()));
    });
}

#[test]
fn datagrams_and_packets_keep_their_borders() {
    in_child(|| {
        for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
            let (one, two) = pair(kind);
            for message in [b"first".as_slice(), b"", b"third"] {
                assert_eq!(send(&one, message), Ok(message.len()));
            }
            assert_eq!(receive(&two, 3, MSG_PEEK), Ok(b"fir".to_vec()));
            let mut bytes = [0u8; 3];
            let len = syscall!(SYS_recvfrom, &two, bytes.as_mut_ptr(), 3, MSG_TRUNC, 0usize, 0usize);
            assert_eq!((len, &bytes), (Ok(5), b"fir"), "the true length; the rest is gone");
            assert_eq!(receive(&two, 10, 0), Ok(Vec::new()));
            assert_eq!(receive(&two, 10, 0), Ok(b"third".to_vec()));
            assert_errno!(receive(&two, 10, MSG_DONTWAIT), EAGAIN);
        }
    });
}

#[test]
fn sequenced_packets_end_like_streams() {
    in_child(|| {
        let (one, two) = pair(SOCK_SEQPACKET);
        assert_eq!(send(&one, b"last"), Ok(4));
        drop(one);
        assert_eq!(receive(&two, 10, 0), Ok(b"last".to_vec()));
        assert_eq!(receive(&two, 10, 0), Ok(Vec::new()));
        assert_errno!(send(&two, b"x"), EPIPE);
        let (one, two) = pair(SOCK_DGRAM);
        drop(one);
        assert_errno!(send(&two, b"x"), ECONNREFUSED);
    });
}

#[test]
fn a_name_in_the_filesystem_is_listened_on_and_connected_to() {
    in_mount_namespace(|| {
        let listener = UnixListener::bind("socket").expect("bind");
        let words = shared_words();
        let client = spawn(|| {
            let mut stream = UnixStream::connect("socket").expect("connect");
            stream.write_all(b"request").expect("write");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("read");
            words[0].store(u32::from(answer == "answer"), SeqCst);
        });
        let (mut stream, _) = listener.accept().expect("accept");
        let mut request = [0; 7];
        stream.read_exact(&mut request).expect("read");
        assert_eq!(&request, b"request");
        stream.write_all(b"answer").expect("write");
        drop(stream);
        client.join();
        assert_eq!(words[0].load(SeqCst), 1);
        assert_errno!(UnixListener::bind("socket"), EADDRINUSE);
        drop(listener);
        assert!(exists("socket"), "the name stays");
        assert_errno!(UnixStream::connect("socket"), ECONNREFUSED);
        write("file", "");
        assert_errno!(UnixStream::connect("file"), ECONNREFUSED);
        assert_errno!(UnixStream::connect("missing"), ENOENT);
        assert_errno!(UnixListener::bind("missing/x"), ENOENT);
    });
}

#[test]
fn connecting_needs_write_permission_on_the_name() {
    in_mount_namespace(|| {
        let _listener = UnixListener::bind("socket").expect("bind");
        std::fs::set_permissions("socket", std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("chmod");
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(UnixStream::connect("socket"), EACCES);
        })
        .join();
    });
}

#[test]
fn abstract_names_live_as_long_as_their_socket() {
    use std::os::linux::net::SocketAddrExt;
    in_child(|| {
        let name = format!("abi-suite-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixListener::bind_addr(&address).expect("bind");
        assert_errno!(UnixListener::bind_addr(&address), EADDRINUSE);
        let stream = UnixStream::connect_addr(&address).expect("connect");
        let (accepted, _) = listener.accept().expect("accept");
        assert_eq!(stream.peer_addr().expect("getpeername").as_abstract_name(), Some(name.as_bytes()));
        assert!(accepted.peer_addr().expect("getpeername").is_unnamed());
        drop(listener);
        assert_errno!(UnixStream::connect_addr(&address), ECONNREFUSED);
        UnixListener::bind_addr(&address).expect("free again");
    });
}

#[test]
fn an_empty_name_binds_to_a_name_of_the_kernels_choice() {
    in_child(|| {
        let socket = syscall!(SYS_socket, AF_UNIX, SOCK_STREAM, 0).expect("socket");
        let family = AF_UNIX as u16;
        syscall!(SYS_bind, socket, &raw const family, 2).expect("autobind");
        let (mut address, mut len) = ([0u8; 32], 32u32);
        syscall!(SYS_getsockname, socket, address.as_mut_ptr(), &raw mut len).expect("getsockname");
        assert_eq!((len, address[2]), (8, 0));
        assert!(address[3..8].iter().all(u8::is_ascii_hexdigit));
        assert_eq!(syscall!(SYS_bind, socket, &raw const family, 2), Ok(0), "it has a name already");
        assert_errno!(syscall!(SYS_bind, socket, b"\x01\0\0other".as_ptr(), 8), EINVAL);
    });
}

#[test]
fn accept_waits_for_a_connection_and_a_backlog_fills() {
    in_mount_namespace(|| {
        let listener = UnixListener::bind("socket").expect("bind");
        let acceptor = spawn(|| drop(listener.accept().expect("accept")));
        wait_until_asleep(acceptor.pid());
        let _stream = UnixStream::connect("socket").expect("connect");
        acceptor.join();
        syscall!(SYS_listen, &listener, 1).expect("listen");
        let nonblocking = || {
            let socket = syscall!(SYS_socket, AF_UNIX, SOCK_STREAM | libc::SOCK_NONBLOCK, 0).expect("socket");
            let address = *b"\x01\0socket\0";
            syscall!(SYS_connect, socket, address.as_ptr(), address.len())
        };
        assert_eq!((nonblocking(), nonblocking()), (Ok(0), Ok(0)));
        assert_errno!(nonblocking(), EAGAIN);
        listener.set_nonblocking(true).expect("fcntl");
        assert!(listener.accept().is_ok() && listener.accept().is_ok());
        assert_errno!(listener.accept(), EAGAIN);
    });
}

#[test]
fn shutdown_ends_one_direction() {
    in_child(|| {
        let (one, two) = pair(SOCK_STREAM);
        assert_eq!(send(&one, b"before"), Ok(6));
        syscall!(SYS_shutdown, &one, libc::SHUT_WR).expect("shutdown");
        assert_errno!(send(&one, b"x"), EPIPE);
        assert_eq!(receive(&two, 10, 0), Ok(b"before".to_vec()));
        assert_eq!(receive(&two, 10, 0), Ok(Vec::new()));
        assert_eq!(send(&two, b"other way"), Ok(9));
        assert_eq!(receive(&one, 10, 0), Ok(b"other way".to_vec()));
        syscall!(SYS_shutdown, &one, libc::SHUT_RD).expect("shutdown");
        assert_errno!(send(&two, b"x"), EPIPE);
        assert_errno!(syscall!(SYS_shutdown, &one, 9), EINVAL);
        let lonely = syscall!(SYS_socket, AF_UNIX, SOCK_STREAM, 0).expect("socket");
        assert_eq!(syscall!(SYS_shutdown, lonely, libc::SHUT_WR), Ok(0), "no error on Unix sockets");
    });
}

#[test]
fn descriptors_travel_in_messages() {
    in_mount_namespace(|| {
        write("file", "passed on");
        let (one, two) = pair(SOCK_STREAM);
        let child = spawn(|| {
            let file = std::fs::File::open("file").expect("open");
            send_control(&one, libc::SCM_RIGHTS, &file.as_raw_fd().to_le_bytes()).expect("sendmsg");
        });
        child.join();
        let (len, control, flags) = receive_control(&two, 64, libc::MSG_CMSG_CLOEXEC).expect("recvmsg");
        let (kind, data) = control.expect("a control message");
        assert_eq!((len, kind, data.len(), flags & libc::MSG_CTRUNC), (1, libc::SCM_RIGHTS, 1, 0));
        assert_eq!(abi::world::read(&format!("/proc/self/fd/{}", data[0])), "passed on");
        assert_eq!(syscall!(SYS_fcntl, data[0], libc::F_GETFD), Ok(libc::FD_CLOEXEC as usize));
        assert_errno!(send_control(&one, libc::SCM_RIGHTS, &999i32.to_le_bytes()), EBADF);
    });
}

#[test]
fn a_passed_descriptor_shares_its_open_file_and_dies_unread() {
    in_mount_namespace(|| {
        let (one, two) = pair(SOCK_DGRAM);
        let (reader, writer) = std::io::pipe().expect("pipe");
        send_control(&one, libc::SCM_RIGHTS, &writer.as_raw_fd().to_le_bytes()).expect("sendmsg");
        drop(writer);
        let mut poll = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        assert_eq!(syscall!(SYS_poll, &raw mut poll, 1, 0), Ok(0), "the message holds the writer");
        drop((one, two));
        assert_eq!(syscall!(SYS_poll, &raw mut poll, 1, 1000), Ok(1));
        assert_eq!(poll.revents, libc::POLLHUP);
    });
}

#[test]
fn sockets_that_hold_only_each_other_go() {
    in_child(|| {
        let (reader, writer) = std::io::pipe().expect("pipe");
        let (one, two) = pair(SOCK_STREAM);
        let (three, four) = pair(SOCK_DGRAM);
        // Each pair lies in the other's queue, and the writer with them: nobody can ever receive it.
        let numbers = |files: &[i32]| -> Vec<u8> { files.iter().flat_map(|fd| fd.to_le_bytes()).collect() };
        let (first, second) = (numbers(&[three.as_raw_fd(), four.as_raw_fd()]), numbers(&[one.as_raw_fd(), two.as_raw_fd()]));
        send_control(&one, libc::SCM_RIGHTS, &first).expect("sendmsg");
        send_control(&three, libc::SCM_RIGHTS, &second).expect("sendmsg");
        send_control(&two, libc::SCM_RIGHTS, &numbers(&[writer.as_raw_fd()])).expect("sendmsg");
        drop(writer);
        let mut poll = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        drop((one, two, three));
        assert_eq!(syscall!(SYS_poll, &raw mut poll, 1, 0), Ok(0), "the last of the four can be received from");
        drop(four);
        // They are looked for when some socket really goes.
        drop(pair(SOCK_STREAM));
        assert_eq!(syscall!(SYS_poll, &raw mut poll, 1, 5000), Ok(1));
        assert_eq!(poll.revents, libc::POLLHUP);
    });
}

#[test]
fn too_little_room_for_control_data_cuts_and_says_so() {
    in_child(|| {
        let (one, two) = pair(SOCK_STREAM);
        send_control(&one, libc::SCM_RIGHTS, &0i32.to_le_bytes()).expect("sendmsg");
        let (_, control, flags) = receive_control(&two, 0, 0).expect("recvmsg");
        assert_eq!((control, flags & libc::MSG_CTRUNC), (None, libc::MSG_CTRUNC));
    });
}

#[test]
fn credentials_come_with_messages_when_asked_for() {
    in_child(|| {
        let (one, two) = pair(SOCK_DGRAM);
        let on = 1i32;
        syscall!(SYS_setsockopt, &two, SOL_SOCKET, libc::SO_PASSCRED, &raw const on, 4).expect("SO_PASSCRED");
        let child = spawn(|| {
            syscall!(SYS_setresgid, 7, 7, 7).expect("setresgid");
            syscall!(SYS_setresuid, 5, 5, 5).expect("setresuid");
            send(&one, b"x").expect("send");
            let forged: Vec<u8> = [1u32, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_errno!(send_control(&one, libc::SCM_CREDENTIALS, &forged), EPERM);
        });
        let sender = child.pid() as u32;
        child.join();
        let (_, control, _) = receive_control(&two, 64, 0).expect("recvmsg");
        assert_eq!(control, Some((libc::SCM_CREDENTIALS, vec![sender, 5, 7])));
        let mut peer = [0u32; 3];
        let mut len = 12u32;
        syscall!(SYS_getsockopt, &two, SOL_SOCKET, libc::SO_PEERCRED, peer.as_mut_ptr(), &raw mut len).expect("SO_PEERCRED");
        assert_eq!(peer, [std::process::id(), 0, 0], "those of the pair's maker");
    });
}

#[test]
fn socket_options_tell_type_domain_and_buffers() {
    in_child(|| {
        let (one, _two) = pair(SOCK_SEQPACKET);
        assert_eq!(option(&one, libc::SO_TYPE), SOCK_SEQPACKET);
        assert_eq!(option(&one, libc::SO_DOMAIN), AF_UNIX);
        assert_eq!(option(&one, libc::SO_ERROR), 0);
        assert_eq!(option(&one, libc::SO_ACCEPTCONN), 0);
        assert!(option(&one, libc::SO_SNDBUF) > 1000);
        let (mut value, mut len) = (0i32, 4u32);
        let unknown = syscall!(SYS_getsockopt, &one, SOL_SOCKET, 9999, &raw mut value, &raw mut len);
        assert_errno!(unknown, ENOPROTOOPT);
        let plain = std::fs::File::open("/proc/version").expect("open");
        assert_errno!(syscall!(SYS_getsockopt, &plain, SOL_SOCKET, libc::SO_TYPE, &raw mut value, &raw mut len), ENOTSOCK);
    });
}

#[test]
fn sockets_of_unknown_kind_are_refused() {
    in_child(|| {
        assert_errno!(syscall!(SYS_socket, 99, SOCK_STREAM, 0), EAFNOSUPPORT);
        assert_errno!(syscall!(SYS_socket, AF_UNIX, 77, 0), EINVAL);
        assert_errno!(syscall!(SYS_socket, AF_UNIX, SOCK_STREAM, 77), EPROTONOSUPPORT);
        let mut ends = [0i32; 2];
        assert_errno!(syscall!(SYS_socketpair, AF_UNIX, SOCK_STREAM | 0x40_0000, 0, ends.as_mut_ptr()), EINVAL);
        let socket = syscall!(SYS_socket, AF_UNIX, SOCK_STREAM, 0).expect("socket");
        assert_errno!(syscall!(SYS_sendto, socket, c"x".as_ptr(), 1, libc::MSG_NOSIGNAL, 0usize, 0), ENOTCONN);
        assert_errno!(syscall!(SYS_recvfrom, socket, ends.as_mut_ptr(), 1, 0, 0usize, 0usize), EINVAL);
        assert_errno!(syscall!(SYS_accept, socket, 0usize, 0usize), EINVAL);
        assert_errno!(syscall!(SYS_listen, socket, 5), EINVAL);
    });
}

#[test]
fn a_full_stream_holds_its_writer() {
    in_child(|| {
        let (one, two) = UnixStream::pair().expect("socketpair");
        one.set_nonblocking(true).expect("fcntl");
        let block = [1u8; 4096];
        let mut sent = 0;
        while let Ok(count) = (&one).write(&block) {
            sent += count;
        }
        assert!(sent > 50_000, "{sent}");
        one.set_nonblocking(false).expect("fcntl");
        let words = shared_words();
        let writer = spawn(|| {
            words[0].store(1, SeqCst);
            (&one).write_all(&block).expect("write");
            syscall!(SYS_shutdown, &one, libc::SHUT_WR).expect("shutdown");
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(writer.pid());
        let mut received = Vec::new();
        (&two).read_to_end(&mut received).expect("read");
        assert_eq!(received.len(), sent + 4096);
        writer.join();
    });
}

#[test]
fn datagrams_find_their_receiver_by_name() {
    in_mount_namespace(|| {
        let receiver = UnixDatagram::bind("receiver").expect("bind");
        let sender = UnixDatagram::bind("sender").expect("bind");
        sender.send_to(b"letter", "receiver").expect("sendto");
        let mut bytes = [0; 16];
        let (len, from) = receiver.recv_from(&mut bytes).expect("recvfrom");
        assert_eq!((&bytes[..len], from.as_pathname()), (b"letter".as_slice(), Some(std::path::Path::new("sender"))));
        sender.connect("receiver").expect("connect");
        sender.send(b"more").expect("send");
        assert_eq!(receiver.recv(&mut bytes).expect("recv"), 4);
        assert_errno!(UnixDatagram::unbound().expect("socket").send(b"x"), ENOTCONN);
        assert_errno!(UnixStream::connect("receiver"), EPROTOTYPE);
    });
}

#[test]
fn receive_timeouts_end_with_eagain() {
    in_child(|| {
        let (one, _two) = UnixStream::pair().expect("socketpair");
        one.set_read_timeout(Some(std::time::Duration::from_millis(15))).expect("SO_RCVTIMEO");
        let start = std::time::Instant::now();
        assert_errno!((&one).read(&mut [0; 1]), EAGAIN);
        assert!(start.elapsed() >= std::time::Duration::from_millis(10));
    });
}
