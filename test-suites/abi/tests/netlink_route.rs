//! `rtnetlink(7)`: links, addresses, routes, and notifications of their changes.

use abi::network::{
    LO, Netlink, address_header, attribute, in_network_namespace, link_header, netlink_address, route_header, with_loopback,
};
use abi::{in_child, syscall};
use libc::{AF_INET, AF_INET6, AF_UNSPEC, IFF_LOOPBACK, IFF_LOWER_UP, IFF_RUNNING, IFF_UP, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use libc::{RTM_DELADDR, RTM_DELLINK, RTM_DELROUTE, RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE};

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_QDISC: u16 = 6;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_IFALIAS: u16 = 20;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_FLAGS: u16 = 8;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const LINK: usize = 16;
const ADDRESS: usize = 8;
const ROUTE: usize = 12;

fn up(netlink: &mut Netlink, up: bool) -> i32 {
    netlink.request(RTM_NEWLINK, 0, &link_header(LO, if up { IFF_UP } else { 0 }, IFF_UP))
}

/// Family, address and length of the prefix of all addresses.
fn addresses(netlink: &mut Netlink, family: i32) -> Vec<(i32, Vec<u8>, u8)> {
    let all = netlink.dump(RTM_GETADDR, &[family as u8]);
    all.iter().map(|one| (i32::from(one.byte(0)), one.attribute(ADDRESS, IFA_ADDRESS).expect("an address"), one.byte(1))).collect()
}

fn localhosts() -> Vec<(i32, Vec<u8>, u8)> {
    let mut v6 = vec![0; 16];
    v6[15] = 1;
    vec![(AF_INET, vec![127, 0, 0, 1], 8), (AF_INET6, v6, 128)]
}

fn new_address(netlink: &mut Netlink, flags: i32, address: [u8; 4], prefix: u8) -> i32 {
    let payload = [address_header(AF_INET, prefix, 0), attribute(IFA_LOCAL, &address), attribute(IFA_ADDRESS, &address)].concat();
    netlink.request(RTM_NEWADDR, flags, &payload)
}

fn delete_address(netlink: &mut Netlink, address: [u8; 4], prefix: u8) -> i32 {
    netlink.request(RTM_DELADDR, 0, &[address_header(AF_INET, prefix, 0), attribute(IFA_LOCAL, &address)].concat())
}

/// Destination, length of its prefix, kind and table of all routes of a family.
fn routes(netlink: &mut Netlink, family: i32) -> Vec<(Vec<u8>, u8, u8, u32)> {
    let all = netlink.dump(RTM_GETROUTE, &[family as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut routes: Vec<_> = all
        .iter()
        .map(|one| {
            (one.attribute(ROUTE, RTA_DST).unwrap_or_default(), one.byte(1), one.byte(7), one.number(ROUTE, RTA_TABLE).expect("a table"))
        })
        .collect();
    routes.sort();
    routes
}

fn new_route(netlink: &mut Netlink, flags: i32, destination: [u8; 4], prefix: u8) -> i32 {
    let header = route_header(AF_INET, prefix, libc::RTN_UNICAST, libc::RT_SCOPE_LINK);
    netlink.request(RTM_NEWROUTE, flags, &[header, attribute(RTA_DST, &destination), attribute(RTA_OIF, &LO.to_ne_bytes())].concat())
}

#[test]
fn route_the_only_link_of_a_new_namespace_is_lo_and_down() {
    in_network_namespace(|| {
        let links = Netlink::route().dump(RTM_GETLINK, &link_header(0, 0, 0));
        assert_eq!(links.len(), 1);
        let lo = &links[0];
        assert_eq!((lo.kind, lo.word(4), lo.word(8) as i32), (RTM_NEWLINK, LO, IFF_LOOPBACK));
        assert_eq!(lo.word(0) >> 16, u32::from(libc::ARPHRD_LOOPBACK));
        assert_eq!(lo.attribute(LINK, IFLA_IFNAME).as_deref(), Some(&b"lo\0"[..]));
        assert_eq!(lo.attribute(LINK, IFLA_QDISC).as_deref(), Some(&b"noop\0"[..]));
        assert_eq!(lo.attribute(LINK, IFLA_ADDRESS).as_deref(), Some(&[0; 6][..]));
        assert_eq!(lo.attribute(LINK, IFLA_OPERSTATE).as_deref(), Some(&[2][..]));
        assert_eq!((lo.number(LINK, IFLA_MTU), lo.number(LINK, IFLA_TXQLEN)), (Some(65536), Some(1000)));
    });
}

#[test]
fn route_a_link_is_found_by_index_and_by_name() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        let by_index = netlink.ask(RTM_GETLINK, 0, &link_header(LO, 0, 0));
        let by_name = netlink.ask(RTM_GETLINK, 0, &[link_header(0, 0, 0), attribute(IFLA_IFNAME, b"lo\0")].concat());
        assert_eq!((by_index.len(), by_index[0].kind, by_index[0].flags), (1, RTM_NEWLINK, 0));
        assert_eq!(by_index[0].payload, by_name[0].payload);
        assert_eq!(netlink.request(RTM_GETLINK, 0, &link_header(7, 0, 0)), libc::ENODEV);
        assert_eq!(netlink.request(RTM_GETLINK, 0, &[link_header(0, 0, 0), attribute(IFLA_IFNAME, b"eth0\0")].concat()), libc::ENODEV);
        assert_eq!(netlink.request(RTM_GETLINK, 0, &link_header(0, 0, 0)), libc::EINVAL);
        assert_eq!(netlink.request(RTM_GETLINK, 0, &link_header(0, 0, 0)[..8]), libc::EINVAL);
    });
}

#[test]
fn route_a_link_that_goes_up_gets_its_addresses() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        assert_eq!(addresses(&mut netlink, AF_UNSPEC), []);
        assert_eq!(up(&mut netlink, true), 0);
        assert_eq!(addresses(&mut netlink, AF_UNSPEC), localhosts());
        assert_eq!(addresses(&mut netlink, AF_INET), localhosts()[..1]);
        assert_eq!(addresses(&mut netlink, AF_INET6), localhosts()[1..]);
        let lo = netlink.ask(RTM_GETLINK, 0, &link_header(LO, 0, 0)).remove(0);
        assert_eq!(lo.word(8) as i32, IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP);
        assert_eq!(lo.attribute(LINK, IFLA_OPERSTATE).as_deref(), Some(&[0][..]));
        assert_eq!(lo.attribute(LINK, IFLA_QDISC).as_deref(), Some(&b"noqueue\0"[..]));
        let v4 = netlink.dump(RTM_GETADDR, &[AF_INET as u8]).remove(0);
        assert_eq!((v4.byte(3), v4.word(4)), (libc::RT_SCOPE_HOST, LO));
        assert_eq!(v4.attribute(ADDRESS, IFA_LABEL).as_deref(), Some(&b"lo\0"[..]));
        assert_eq!(v4.number(ADDRESS, IFA_FLAGS), Some(libc::IFA_F_PERMANENT));
    });
}

#[test]
fn route_a_link_that_goes_down_loses_its_ipv6_address_only() {
    with_loopback(|| {
        let mut netlink = Netlink::route();
        assert_eq!(up(&mut netlink, false), 0);
        assert_eq!(addresses(&mut netlink, AF_UNSPEC), localhosts()[..1]);
        assert_eq!(routes(&mut netlink, AF_INET6), []);
        let lo = netlink.ask(RTM_GETLINK, 0, &link_header(LO, 0, 0)).remove(0);
        assert_eq!(lo.word(8) as i32, IFF_LOOPBACK);
        assert_eq!(up(&mut netlink, true), 0);
        assert_eq!(addresses(&mut netlink, AF_UNSPEC), localhosts());
    });
}

#[test]
fn route_what_a_link_is_can_be_changed() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        let mut set = |attributes: Vec<u8>| netlink.request(RTM_NEWLINK, 0, &[link_header(LO, 0, 0), attributes].concat());
        assert_eq!(set(attribute(IFLA_MTU, &1400u32.to_ne_bytes())), 0);
        assert_eq!(set(attribute(IFLA_TXQLEN, &77u32.to_ne_bytes())), 0);
        assert_eq!(set(attribute(IFLA_IFALIAS, b"the loop\0")), 0);
        assert_eq!(set(attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9])), 0);
        assert_eq!(set(attribute(IFLA_ADDRESS, &[1, 0, 0, 0, 0, 9])), libc::EADDRNOTAVAIL);
        assert_eq!(set(attribute(IFLA_IFNAME, b"loop\0")), 0);
        let lo = netlink.ask(RTM_GETLINK, 0, &link_header(LO, 0, 0)).remove(0);
        assert_eq!((lo.number(LINK, IFLA_MTU), lo.number(LINK, IFLA_TXQLEN)), (Some(1400), Some(77)));
        assert_eq!(lo.attribute(LINK, IFLA_IFALIAS).as_deref(), Some(&b"the loop\0"[..]));
        assert_eq!(lo.attribute(LINK, IFLA_ADDRESS).as_deref(), Some(&[2, 0, 0, 0, 0, 9][..]));
        assert_eq!(lo.attribute(LINK, IFLA_IFNAME).as_deref(), Some(&b"loop\0"[..]));
    });
}

#[test]
fn route_lo_cannot_be_removed_and_others_not_be_made_without_their_modules() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        assert_eq!(netlink.request(RTM_DELLINK, 0, &link_header(LO, 0, 0)), libc::EOPNOTSUPP);
        assert_eq!(netlink.request(RTM_DELLINK, 0, &link_header(9, 0, 0)), libc::ENODEV);
        let kind = attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"no-such-kind\0"));
        let made = [link_header(0, 0, 0), attribute(IFLA_IFNAME, b"d0\0"), kind].concat();
        assert_eq!(netlink.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &made), libc::EOPNOTSUPP);
        assert_eq!(netlink.request(RTM_NEWLINK, 0, &made), libc::ENODEV);
        let lo = [link_header(0, 0, 0), attribute(IFLA_IFNAME, b"lo\0")].concat();
        assert_eq!(netlink.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &lo), libc::EEXIST);
    });
}

#[test]
fn route_addresses_come_and_go() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        let ten = [10, 0, 0, 1];
        assert_eq!(new_address(&mut netlink, NLM_F_CREATE | NLM_F_EXCL, ten, 24), 0);
        assert_eq!(new_address(&mut netlink, NLM_F_CREATE | NLM_F_EXCL, ten, 24), libc::EEXIST);
        assert_eq!(new_address(&mut netlink, NLM_F_CREATE | NLM_F_REPLACE, ten, 24), 0);
        assert_eq!(new_address(&mut netlink, NLM_F_CREATE, [10, 0, 0, 2], 33), libc::EINVAL);
        assert_eq!(addresses(&mut netlink, AF_INET), [(AF_INET, ten.to_vec(), 24)]);
        assert_eq!(delete_address(&mut netlink, [10, 0, 0, 9], 24), libc::EADDRNOTAVAIL);
        assert_eq!(delete_address(&mut netlink, ten, 24), 0);
        assert_eq!(addresses(&mut netlink, AF_INET), []);
    });
}

#[test]
fn route_an_address_given_before_goes_instead_of_the_links_own() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        // What bubblewrap does (RTM_NEWADDR, then RTM_NEWLINK).
        assert_eq!(new_address(&mut netlink, NLM_F_CREATE | NLM_F_EXCL, [127, 0, 0, 1], 8), 0);
        assert_eq!(up(&mut netlink, true), 0);
        assert_eq!(addresses(&mut netlink, AF_INET), localhosts()[..1]);
    });
}

#[test]
fn route_secondary_addresses_go_with_the_first_of_their_network() {
    with_loopback(|| {
        let mut netlink = Netlink::route();
        for last in 1..=3 {
            assert_eq!(new_address(&mut netlink, NLM_F_CREATE | NLM_F_EXCL, [10, 0, 0, last], 24), 0);
        }
        let flags: Vec<_> = netlink.dump(RTM_GETADDR, &[AF_INET as u8]).iter().map(|one| one.number(ADDRESS, IFA_FLAGS)).collect();
        let (permanent, secondary) = (Some(libc::IFA_F_PERMANENT), Some(libc::IFA_F_PERMANENT | libc::IFA_F_SECONDARY));
        assert_eq!(flags, [permanent, permanent, secondary, secondary]);
        assert_eq!(delete_address(&mut netlink, [10, 0, 0, 1], 24), 0);
        assert_eq!(addresses(&mut netlink, AF_INET), localhosts()[..1]);
    });
}

#[test]
fn route_the_routes_of_a_loopback_are_local() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        assert_eq!(routes(&mut netlink, AF_INET), []);
        assert_eq!(up(&mut netlink, true), 0);
        let local = u32::from(libc::RT_TABLE_LOCAL);
        let expected = vec![
            (vec![127, 0, 0, 0], 8, libc::RTN_LOCAL, local),
            (vec![127, 0, 0, 1], 32, libc::RTN_LOCAL, local),
            (vec![127, 255, 255, 255], 32, libc::RTN_BROADCAST, local),
        ];
        assert_eq!(routes(&mut netlink, AF_INET), expected);
        assert_eq!(routes(&mut netlink, AF_INET6), [(localhosts()[1].1.clone(), 128, libc::RTN_LOCAL, local)]);
    });
}

#[test]
fn route_the_route_to_one_destination_is_told() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        let to = |address: [u8; 4]| [vec![AF_INET as u8, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], attribute(RTA_DST, &address)].concat();
        assert_eq!(netlink.request(RTM_GETROUTE, 0, &to([127, 0, 0, 1])), libc::ENETUNREACH);
        assert_eq!(up(&mut netlink, true), 0);
        let route = netlink.ask(RTM_GETROUTE, 0, &to([127, 9, 9, 9])).remove(0);
        assert_eq!((route.kind, route.byte(1), route.byte(7)), (RTM_NEWROUTE, 32, libc::RTN_LOCAL));
        assert_eq!(route.attribute(ROUTE, RTA_DST), Some(vec![127, 9, 9, 9]));
        assert_eq!(route.attribute(ROUTE, RTA_PREFSRC), Some(vec![127, 0, 0, 1]));
        assert_eq!(route.number(ROUTE, RTA_OIF), Some(LO));
        assert_eq!(netlink.request(RTM_GETROUTE, 0, &to([8, 8, 8, 8])), libc::ENETUNREACH);
    });
}

#[test]
fn route_routes_can_be_made_and_removed() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        assert_eq!(new_route(&mut netlink, NLM_F_CREATE | NLM_F_EXCL, [20, 0, 0, 0], 8), libc::ENETDOWN);
        assert_eq!(up(&mut netlink, true), 0);
        assert_eq!(new_route(&mut netlink, NLM_F_CREATE | NLM_F_EXCL, [20, 0, 0, 0], 8), 0);
        assert_eq!(new_route(&mut netlink, NLM_F_CREATE | NLM_F_EXCL, [20, 0, 0, 0], 8), libc::EEXIST);
        assert_eq!(new_route(&mut netlink, NLM_F_CREATE | NLM_F_REPLACE, [20, 0, 0, 0], 8), 0);
        assert_eq!(new_route(&mut netlink, NLM_F_CREATE | NLM_F_EXCL, [20, 0, 0, 1], 8), libc::EINVAL);
        assert_eq!(new_route(&mut netlink, 0, [21, 0, 0, 0], 8), libc::ENOENT);
        let main = u32::from(libc::RT_TABLE_MAIN);
        let made = (vec![20, 0, 0, 0], 8, libc::RTN_UNICAST, main);
        assert!(routes(&mut netlink, AF_INET).contains(&made));
        let mut delete = |destination: [u8; 4]| {
            let header = vec![AF_INET as u8, 8, 0, 0, libc::RT_TABLE_MAIN, 0, libc::RT_SCOPE_NOWHERE, 0, 0, 0, 0, 0];
            netlink.request(RTM_DELROUTE, 0, &[header, attribute(RTA_DST, &destination)].concat())
        };
        assert_eq!(delete([21, 0, 0, 0]), libc::ESRCH);
        assert_eq!(delete([20, 0, 0, 0]), 0);
        assert!(!routes(&mut netlink, AF_INET).contains(&made));
    });
}

#[test]
fn route_routes_that_refuse_have_errnos_of_their_own() {
    with_loopback(|| {
        let mut netlink = Netlink::route();
        let mut errno_by = |kind: u8, network: u8| {
            let header = route_header(AF_INET, 8, kind, libc::RT_SCOPE_UNIVERSE);
            let made = [header, attribute(RTA_DST, &[network, 0, 0, 0])].concat();
            assert_eq!(netlink.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &made), 0);
            let to = [vec![AF_INET as u8, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], attribute(RTA_DST, &[network, 0, 0, 1])].concat();
            netlink.request(RTM_GETROUTE, 0, &to)
        };
        assert_eq!(errno_by(libc::RTN_BLACKHOLE, 40), libc::EINVAL);
        assert_eq!(errno_by(libc::RTN_UNREACHABLE, 41), libc::EHOSTUNREACH);
        assert_eq!(errno_by(libc::RTN_PROHIBIT, 42), libc::EACCES);
        assert_eq!(errno_by(libc::RTN_THROW, 43), libc::ENETUNREACH);
    });
}

#[test]
fn route_listeners_hear_of_links_addresses_and_routes() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        let listener = Netlink::new(libc::NETLINK_ROUTE);
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_IFADDR;
        let address = netlink_address(listener.port(), groups as u32);
        syscall!(SYS_bind, &listener.socket, address.as_ptr(), 12).expect("bind with groups");
        assert_eq!(up(&mut netlink, true), 0);
        let mut heard = Vec::new();
        while let Ok(messages) = listener.receive() {
            heard.extend(messages.iter().map(|message| message.kind));
        }
        let count = |kind| heard.iter().filter(|heard| **heard == kind).count();
        assert_eq!((count(RTM_NEWLINK), count(RTM_NEWADDR), count(RTM_NEWROUTE)), (1, 2, 3));
        assert_eq!(heard[0], RTM_NEWLINK);
        assert_eq!(delete_address(&mut netlink, [127, 0, 0, 1], 8), 0);
        let mut heard = Vec::new();
        while let Ok(messages) = listener.receive() {
            heard.extend(messages.iter().map(|message| message.kind));
        }
        let count = |kind| heard.iter().filter(|heard| **heard == kind).count();
        assert_eq!((count(RTM_DELADDR), count(RTM_DELROUTE)), (1, 3));
    });
}

#[test]
fn route_changes_need_power_over_the_namespace() {
    in_child(|| {
        // A namespace of the initial user namespace, and a user without capabilities there.
        syscall!(SYS_unshare, libc::CLONE_NEWNET).expect("unshare");
        let mut netlink = Netlink::route();
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_eq!(up(&mut netlink, true), libc::EPERM);
        assert_eq!(new_address(&mut netlink, NLM_F_CREATE, [10, 0, 0, 1], 8), libc::EPERM);
        assert_eq!(netlink.dump(RTM_GETLINK, &link_header(0, 0, 0)).len(), 1, "asking is free");
        let mut own = Netlink::route();
        assert_eq!(up(&mut own, true), libc::EPERM);
    });
}

#[test]
fn route_the_root_of_a_user_namespace_governs_its_network_namespace() {
    in_child(|| {
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        let mut outside = Netlink::route();
        syscall!(SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWNET).expect("unshare");
        let mut inside = Netlink::route();
        assert_eq!(up(&mut inside, true), 0);
        assert_eq!(addresses(&mut inside, AF_UNSPEC), localhosts());
        assert_eq!(up(&mut outside, true), libc::EPERM);
    });
}

#[test]
fn route_unknown_requests_are_refused() {
    in_network_namespace(|| {
        let mut netlink = Netlink::route();
        assert_eq!(netlink.request(1000, 0, &[0; 16]), libc::EOPNOTSUPP);
        assert_eq!(netlink.request(RTM_GETLINK, 0, &[]), 0, "without a byte of payload nothing is done");
        assert_eq!(netlink.request(RTM_GETADDR, 0, &address_header(AF_INET, 0, 0)), libc::EOPNOTSUPP);
    });
}
