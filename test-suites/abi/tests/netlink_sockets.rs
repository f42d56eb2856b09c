//! Netlink sockets themselves (`netlink(7)`): port ids, groups, acknowledgements, dumps, options, and who may do what.

use std::os::fd::OwnedFd;

use abi::network::{LO, Netlink, in_network_namespace, link_header, message, messages, netlink_address, option, set_option, socket};
use abi::{Outcome, assert_errno, in_child, spawn, syscall};
use libc::{AF_NETLINK, MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, NETLINK_ROUTE, NETLINK_USERSOCK, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use libc::{RTM_GETLINK, RTM_NEWLINK, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM, SOL_SOCKET};

const SOL_NETLINK: i32 = 270;
const NETLINK_SOCK_DIAG: i32 = 4;

fn bind(socket: &OwnedFd, port: u32, groups: u32) -> Outcome {
    syscall!(SYS_bind, socket, netlink_address(port, groups).as_ptr(), 12)
}

fn name(socket: &OwnedFd) -> (u32, u32) {
    let (mut address, mut len) = ([0u8; 12], 12u32);
    syscall!(SYS_getsockname, socket, address.as_mut_ptr(), &raw mut len).expect("getsockname");
    assert_eq!(len, 12);
    let word = |at: usize| u32::from_ne_bytes(address[at..at + 4].try_into().expect("four bytes"));
    (word(4), word(8))
}

fn receive(socket: &OwnedFd, room: usize, flags: i32) -> Outcome<(usize, Vec<u8>, [u8; 12])> {
    let (mut bytes, mut address, mut len) = (vec![0; room], [0u8; 12], 12u32);
    let got = syscall!(SYS_recvfrom, socket, bytes.as_mut_ptr(), room, flags, address.as_mut_ptr(), &raw mut len)?;
    bytes.truncate(got.min(room));
    Ok((got, bytes, address))
}

#[test]
fn netlink_sockets_are_raw_or_datagram_and_of_known_protocols() {
    in_child(|| {
        for kind in [SOCK_RAW, SOCK_DGRAM] {
            let one = socket(AF_NETLINK, kind, NETLINK_ROUTE).expect("a socket");
            assert_eq!(option(&one, SOL_SOCKET, libc::SO_TYPE), Ok(kind));
            assert_eq!(option(&one, SOL_SOCKET, libc::SO_DOMAIN), Ok(AF_NETLINK));
            assert_eq!(option(&one, SOL_SOCKET, libc::SO_PROTOCOL), Ok(NETLINK_ROUTE));
        }
        assert_errno!(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE), ESOCKTNOSUPPORT);
        assert_errno!(socket(AF_NETLINK, SOCK_RAW, 31), EPROTONOSUPPORT);
        assert_errno!(socket(AF_NETLINK, SOCK_RAW, 32), EPROTONOSUPPORT);
        assert_errno!(socket(AF_NETLINK, SOCK_RAW, -1), EPROTONOSUPPORT);
        let mut ends = [0i32; 2];
        assert_errno!(syscall!(SYS_socketpair, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, ends.as_mut_ptr()), EOPNOTSUPP);
    });
}

#[test]
fn netlink_the_first_socket_of_a_process_gets_its_number() {
    in_network_namespace(|| {
        let first = Netlink::route();
        let second = Netlink::route();
        assert_eq!(first.port(), std::process::id());
        assert!(second.port() > i32::MAX as u32, "{}", second.port());
        let unbound = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE).expect("a socket");
        assert_eq!(name(&unbound), (0, 0));
        // Sending binds.
        let ask = message(RTM_GETLINK, NLM_F_REQUEST, 1, &link_header(LO, 0, 0));
        syscall!(SYS_write, &unbound, ask.as_ptr(), ask.len()).expect("write");
        assert!(name(&unbound).0 > i32::MAX as u32);
    });
}

#[test]
fn netlink_port_ids_are_taken_once() {
    in_network_namespace(|| {
        let one = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE).expect("a socket");
        let two = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE).expect("a socket");
        bind(&one, 4711, 0).expect("bind");
        assert_errno!(bind(&two, 4711, 0), EADDRINUSE);
        assert_errno!(bind(&one, 4712, 0), EINVAL);
        bind(&one, 4711, 1).expect("the same once more, with a group");
        assert_eq!(name(&one), (4711, 1));
        let other = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK).expect("a socket");
        bind(&other, 4711, 0).expect("another protocol has its own");
        drop(one);
        bind(&two, 4711, 0).expect("it is free again");
    });
}

#[test]
fn netlink_addresses_are_checked() {
    in_network_namespace(|| {
        let one = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE).expect("a socket");
        let address = netlink_address(0, 0);
        assert_errno!(syscall!(SYS_bind, &one, address.as_ptr(), 11), EINVAL);
        assert_errno!(syscall!(SYS_bind, &one, [0u8; 12].as_ptr(), 12), EINVAL);
        assert_errno!(syscall!(SYS_listen, &one, 1), EOPNOTSUPP);
        assert_errno!(syscall!(SYS_accept, &one, 0usize, 0usize), EOPNOTSUPP);
        assert_errno!(syscall!(SYS_shutdown, &one, libc::SHUT_RDWR), EOPNOTSUPP);
        assert_errno!(syscall!(SYS_sendto, &one, b"x".as_ptr(), 1, 0, [0u8; 12].as_ptr(), 12), EINVAL);
        assert_errno!(syscall!(SYS_sendto, &one, b"x".as_ptr(), 1, libc::MSG_OOB, 0usize, 0), EOPNOTSUPP);
        assert_errno!(syscall!(SYS_sendto, &one, b"x".as_ptr(), 0, 0, 0usize, 0), ENODATA);
    });
}

#[test]
fn netlink_acknowledgements_carry_the_request_when_it_failed() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        let good = netlink.ask(RTM_GETLINK, NLM_F_ACK, &link_header(LO, 0, 0));
        assert_eq!(good[0].kind, RTM_NEWLINK);
        let acknowledgement = &netlink.receive().expect("an acknowledgement")[0];
        assert_eq!((acknowledgement.error(), acknowledgement.flags, acknowledgement.payload.len()), (0, 0x100, 20));
        assert_eq!(acknowledgement.port, netlink.port());
        let bad = &netlink.ask(RTM_GETLINK, 0, &link_header(9, 0, 0))[0];
        assert_eq!((bad.error(), bad.flags, bad.payload.len()), (libc::ENODEV, 0, 4 + 32));
        assert_eq!(messages(&bad.payload[4..])[0].payload, link_header(9, 0, 0));
        set_option(&netlink.socket, SOL_NETLINK, libc::NETLINK_CAP_ACK, 1).expect("NETLINK_CAP_ACK");
        let capped = &netlink.ask(RTM_GETLINK, 0, &link_header(9, 0, 0))[0];
        assert_eq!((capped.error(), capped.flags, capped.payload.len()), (libc::ENODEV, 0x100, 20));
        assert_errno!(netlink.receive(), EAGAIN);
    });
}

#[test]
fn netlink_words_follow_a_refusal_for_those_who_ask() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        set_option(&netlink.socket, SOL_NETLINK, libc::NETLINK_EXT_ACK, 1).expect("NETLINK_EXT_ACK");
        set_option(&netlink.socket, SOL_NETLINK, libc::NETLINK_CAP_ACK, 1).expect("NETLINK_CAP_ACK");
        const IFLA_NET_NS_PID: u16 = 19;
        let move_away = [link_header(LO, 0, 0), abi::network::attribute(IFLA_NET_NS_PID, &1u32.to_ne_bytes())].concat();
        let refusal = &netlink.ask(RTM_NEWLINK, NLM_F_ACK, &move_away)[0];
        assert_eq!((refusal.error(), refusal.flags), (libc::EINVAL, 0x300));
        let words = refusal.attribute(20, 1).expect("words");
        assert!(words.len() > 1 && words.last() == Some(&0), "{words:?}");
    });
}

#[test]
fn netlink_one_datagram_may_hold_several_requests() {
    in_network_namespace(|| {
        let netlink = Netlink::route();
        let first = message(RTM_GETLINK, NLM_F_REQUEST, 1, &link_header(LO, 0, 0));
        let second = message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK, 2, &link_header(9, 0, 0));
        let ignored = message(RTM_GETLINK, 0, 3, &link_header(9, 0, 0));
        let control = message(libc::NLMSG_NOOP as u16, NLM_F_REQUEST | NLM_F_ACK, 4, &[]);
        let all = [first, second, ignored, control].concat();
        assert_eq!(netlink.send(&all), Ok(all.len()));
        let answers: Vec<_> = (0..3).map(|_| netlink.receive().expect("an answer").remove(0)).collect();
        assert_eq!(answers.iter().map(|answer| answer.sequence).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!((answers[1].error(), answers[2].error()), (libc::ENODEV, 0));
        assert_errno!(netlink.receive(), EAGAIN);
    });
}

#[test]
fn netlink_broken_lengths_are_passed_over() {
    in_network_namespace(|| {
        let netlink = Netlink::route();
        for len in [0u32, 15, 17 + 64, u32::MAX] {
            let mut bytes = message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, &link_header(LO, 0, 0));
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(netlink.send(&bytes), Ok(bytes.len()), "{len}");
            assert_errno!(netlink.receive(), EAGAIN);
        }
        assert_eq!(netlink.send(b"short"), Ok(5));
        assert_errno!(netlink.receive(), EAGAIN);
    });
}

#[test]
fn netlink_broken_attributes_do_no_harm() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        for len in [0u16, 3, 5, 200, u16::MAX] {
            let mut payload = link_header(LO, 0, 0);
            payload.extend_from_slice(&len.to_ne_bytes());
            payload.extend_from_slice(&3u16.to_ne_bytes());
            payload.extend_from_slice(&[0xff; 8]);
            let answers = netlink.ask(RTM_GETLINK, NLM_F_ACK, &payload);
            assert!(!answers.is_empty());
            while netlink.receive().is_ok() {}
        }
    });
}

#[test]
fn netlink_dumps_end_with_done() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        let mut all = netlink.ask(RTM_GETLINK, NLM_F_DUMP | NLM_F_ACK, &link_header(0, 0, 0));
        while let Ok(more) = netlink.receive() {
            all.extend(more);
        }
        let kinds: Vec<_> = all.iter().map(|message| (i32::from(message.kind), i32::from(message.flags))).collect();
        assert_eq!(kinds, [(i32::from(RTM_NEWLINK), libc::NLM_F_MULTI), (libc::NLMSG_DONE, libc::NLM_F_MULTI)]);
        assert_eq!(all[1].payload[..4], 0i32.to_ne_bytes());
    });
}

#[test]
fn netlink_receives_can_peek_and_learn_the_whole_length() {
    in_network_namespace(|| {
        let netlink = Netlink::route();
        netlink.send(&message(RTM_GETLINK, NLM_F_REQUEST, 1, &link_header(LO, 0, 0))).expect("send");
        let (whole, none, _) = receive(&netlink.socket, 0, MSG_PEEK | MSG_TRUNC).expect("peek");
        assert!(whole > 100 && none.is_empty(), "{whole}");
        let (got, head, from) = receive(&netlink.socket, 16, MSG_PEEK).expect("peek");
        assert_eq!((got, from), (16, netlink_address(0, 0)));
        assert_eq!(u32::from_ne_bytes(head[..4].try_into().expect("four bytes")) as usize, whole);
        let (got, ..) = receive(&netlink.socket, 16, MSG_TRUNC).expect("the rest is lost");
        assert_eq!(got, whole);
        assert_errno!(receive(&netlink.socket, 16, MSG_DONTWAIT), EAGAIN);
    });
}

#[test]
fn netlink_a_receive_waits_and_times_out() {
    in_network_namespace(|| {
        let netlink = Netlink::route();
        let time = libc::timeval { tv_sec: 0, tv_usec: 50_000 };
        for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
            syscall!(SYS_setsockopt, &netlink.socket, SOL_SOCKET, name, &raw const time, size_of::<libc::timeval>()).expect("a timeout");
        }
        assert_errno!(receive(&netlink.socket, 16, 0), EAGAIN);
    });
}

#[test]
fn netlink_polls_as_readable_once_answered() {
    in_network_namespace(|| {
        let netlink = Netlink::route();
        let poll = || {
            let mut one =
                libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&netlink.socket), events: libc::POLLIN | libc::POLLOUT, revents: 0 };
            syscall!(SYS_poll, &raw mut one, 1, 0).expect("poll");
            one.revents
        };
        assert_eq!(poll(), libc::POLLOUT);
        netlink.send(&message(RTM_GETLINK, NLM_F_REQUEST, 1, &link_header(LO, 0, 0))).expect("send");
        assert_eq!(poll(), libc::POLLIN | libc::POLLOUT);
        netlink.receive().expect("an answer");
        assert_eq!(poll(), libc::POLLOUT);
    });
}

#[test]
fn netlink_memberships_can_be_taken_up_and_dropped() {
    in_network_namespace(|| {
        let listener = Netlink::route();
        let mut netlink = Netlink::route();
        let member = |name, group| set_option(&listener.socket, SOL_NETLINK, name, group);
        assert_errno!(member(libc::NETLINK_ADD_MEMBERSHIP, 0), EINVAL);
        assert_errno!(member(libc::NETLINK_ADD_MEMBERSHIP, 10_000), EINVAL);
        let mut up = |on: i32| assert_eq!(netlink.request(RTM_NEWLINK, 0, &link_header(LO, on, libc::IFF_UP)), 0);
        member(libc::NETLINK_ADD_MEMBERSHIP, libc::RTNLGRP_LINK as i32).expect("join");
        assert_eq!(name(&listener.socket).1, 1);
        up(1);
        let (_, bytes, from) = receive(&listener.socket, 8192, MSG_DONTWAIT).expect("news");
        assert_eq!((messages(&bytes)[0].kind, from), (RTM_NEWLINK, netlink_address(0, 1)));
        while listener.receive().is_ok() {}
        member(libc::NETLINK_DROP_MEMBERSHIP, libc::RTNLGRP_LINK as i32).expect("leave");
        up(0);
        assert_errno!(listener.receive(), EAGAIN);
    });
}

#[test]
fn netlink_listeners_may_learn_the_group() {
    in_network_namespace(|| {
        let listener = Netlink::route();
        let mut netlink = Netlink::route();
        set_option(&listener.socket, SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, libc::RTNLGRP_LINK as i32).expect("join");
        set_option(&listener.socket, SOL_NETLINK, libc::NETLINK_PKTINFO, 1).expect("NETLINK_PKTINFO");
        assert_eq!(option(&listener.socket, SOL_NETLINK, libc::NETLINK_PKTINFO), Ok(1));
        assert_eq!(netlink.request(RTM_NEWLINK, 0, &link_header(LO, libc::IFF_UP, libc::IFF_UP)), 0);
        let (mut bytes, mut control) = ([0u8; 4096], [0u64; 8]);
        let vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: msghdr is plain data.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = (&raw const vector).cast_mut();
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = 64;
        syscall!(SYS_recvmsg, &listener.socket, &raw mut header, MSG_DONTWAIT).expect("recvmsg");
        assert_eq!(control[0], 20);
        assert_eq!(control[1], SOL_NETLINK as u64 | (libc::NETLINK_PKTINFO as u64) << 32);
        assert_eq!(control[2] as u32, libc::RTNLGRP_LINK);
    });
}

#[test]
fn netlink_programs_talk_to_each_other() {
    in_network_namespace(|| {
        let one = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK).expect("a socket");
        let two = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK).expect("a socket");
        bind(&one, 11, 0).expect("bind");
        bind(&two, 22, 1 << 4).expect("bind");
        let send = |port, groups| syscall!(SYS_sendto, &one, b"hello".as_ptr(), 5, 0, netlink_address(port, groups).as_ptr(), 12);
        assert_eq!(send(22, 0), Ok(5));
        let (_, bytes, from) = receive(&two, 64, MSG_DONTWAIT).expect("a message");
        assert_eq!((&bytes[..], from), (&b"hello"[..], netlink_address(11, 0)));
        assert_errno!(send(33, 0), ECONNREFUSED);
        assert_errno!(send(0, 0), ECONNREFUSED);
        assert_errno!(send(0, 1 << 4), ECONNREFUSED);
        let (_, bytes, from) = receive(&two, 64, MSG_DONTWAIT).expect("the group got it all the same");
        assert_eq!((&bytes[..], from), (&b"hello"[..], netlink_address(11, 1 << 4)));
        syscall!(SYS_connect, &one, netlink_address(22, 0).as_ptr(), 12).expect("connect");
        syscall!(SYS_write, &one, b"again".as_ptr(), 5).expect("write");
        assert_eq!(receive(&two, 64, MSG_DONTWAIT).expect("a message").1, b"again");
    });
}

#[test]
fn netlink_a_full_queue_loses_messages_and_tells() {
    in_network_namespace(|| {
        let one = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK).expect("a socket");
        let two = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK).expect("a socket");
        bind(&two, 22, 1).expect("bind");
        set_option(&two, SOL_SOCKET, libc::SO_RCVBUF, 4096).expect("SO_RCVBUF");
        for _ in 0..64 {
            let _ = syscall!(SYS_sendto, &one, [7u8; 1024].as_ptr(), 1024, 0, netlink_address(0, 1).as_ptr(), 12);
        }
        assert_errno!(receive(&two, 64, MSG_DONTWAIT), ENOBUFS);
        assert_eq!(receive(&two, 64, MSG_DONTWAIT).expect("what had room").1, [7; 64]);
    });
}

#[test]
fn netlink_groups_and_sending_to_others_are_for_the_privileged() {
    in_child(|| {
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        let route = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE).expect("a socket");
        bind(&route, 0, 1).expect("everybody may listen to NETLINK_ROUTE");
        let send = |port| syscall!(SYS_sendto, &route, b"hello".as_ptr(), 5, 0, netlink_address(port, 0).as_ptr(), 12);
        assert_errno!(send(4711), EPERM);
        assert_errno!(syscall!(SYS_connect, &route, netlink_address(4711, 0).as_ptr(), 12), EPERM);
        let user = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK).expect("a socket");
        assert_errno!(bind(&user, 0, 1), EPERM);
        let name = libc::NETLINK_ADD_MEMBERSHIP;
        assert_errno!(set_option(&user, SOL_NETLINK, name, 1), EPERM);
    });
}

#[test]
fn netlink_options_are_remembered() {
    in_child(|| {
        let one = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE).expect("a socket");
        for name in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_NO_ENOBUFS, libc::NETLINK_BROADCAST_ERROR, 12] {
            assert_eq!(option(&one, SOL_NETLINK, name), Ok(0), "{name}");
            set_option(&one, SOL_NETLINK, name, 1).expect("set");
            assert_eq!(option(&one, SOL_NETLINK, name), Ok(1), "{name}");
        }
        assert_errno!(set_option(&one, SOL_NETLINK, 99, 1), ENOPROTOOPT);
        assert_errno!(set_option(&one, libc::IPPROTO_TCP, 1, 1), ENOPROTOOPT);
        assert_errno!(option(&one, libc::IPPROTO_TCP, 1), ENOPROTOOPT);
    });
}

#[test]
fn netlink_sockets_belong_to_one_network_namespace() {
    in_network_namespace(|| {
        let mut outside = Netlink::route();
        let there = Netlink::route();
        spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWNET).expect("unshare");
            let mut inside = Netlink::route();
            assert_eq!(inside.request(RTM_NEWLINK, 0, &link_header(LO, libc::IFF_UP, libc::IFF_UP)), 0);
            let own = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE).expect("a socket");
            bind(&own, there.port(), 0).expect("the number is free in here");
        })
        .join();
        let flags = outside.ask(RTM_GETLINK, 0, &link_header(LO, 0, 0))[0].word(8);
        assert_eq!(flags as i32, libc::IFF_LOOPBACK);
    });
}

#[test]
fn netlink_the_events_of_devices_can_be_listened_to() {
    in_network_namespace(|| {
        let one = socket(AF_NETLINK, SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT).expect("a socket");
        bind(&one, 0, 1).expect("bind");
        assert_errno!(receive(&one, 64, MSG_DONTWAIT), EAGAIN);
    });
}

#[test]
fn netlink_the_generic_controller_names_itself() {
    const CONTROLLER: u16 = 16;
    const FAMILY_NAME: u16 = 2;
    in_network_namespace(|| {
        let mut netlink = Netlink::new(libc::NETLINK_GENERIC);
        let by_name = |name: &[u8]| [vec![3, 1, 0, 0], abi::network::attribute(FAMILY_NAME, name)].concat();
        let answer = netlink.ask(CONTROLLER, 0, &by_name(b"nlctrl\0")).remove(0);
        assert_eq!((answer.kind, answer.byte(0)), (CONTROLLER, 1));
        assert_eq!(answer.attribute(4, 1), Some(CONTROLLER.to_ne_bytes().to_vec()));
        assert_eq!(netlink.request(CONTROLLER, 0, &by_name(b"no-such-thing\0")), libc::ENOENT);
        assert_eq!(netlink.request(4000, 0, &[0; 4]), libc::ENOENT);
        let all = netlink.dump(CONTROLLER, &[3, 1, 0, 0]);
        assert!(all.iter().any(|one| one.attribute(4, FAMILY_NAME).as_deref() == Some(b"nlctrl\0")));
    });
}

#[test]
fn netlink_socket_diagnosis_without_handlers_is_enoent() {
    in_network_namespace(|| {
        let mut netlink = Netlink::new(NETLINK_SOCK_DIAG);
        assert_eq!(netlink.request(20, 0, &[libc::AF_APPLETALK as u8, 0, 0, 0]), libc::ENOENT);
        assert_eq!(netlink.request(20, 0, &[200, 0, 0, 0]), libc::EINVAL);
    });
}

#[test]
fn netlink_sockets_are_listed() {
    in_network_namespace(|| {
        let one = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE).expect("a socket");
        bind(&one, 987_654, 0x11).expect("bind");
        let text = abi::network::text_of("/proc/net/netlink");
        let line = text.lines().find(|line| line.contains(" 987654 ")).expect("a line for the socket");
        let fields: Vec<_> = line.split_whitespace().collect();
        assert_eq!((fields[1], fields[3], fields.len()), ("0", "00000011", 10));
    });
}
