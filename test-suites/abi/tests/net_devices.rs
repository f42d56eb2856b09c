//! Requests about devices (`netdevice(7)`): `ioctl` of sockets.

use std::os::fd::OwnedFd;

use abi::network::{InterfaceRequest, flags_of, in_network_namespace, interface_request, set_up, socket, text_of, with_loopback};
use abi::{Outcome, assert_errno, syscall};
use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, IFF_LOOPBACK, IFF_RUNNING, IFF_UP, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};

const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFTXQLEN: u32 = 0x8942;

fn inet() -> OwnedFd {
    socket(AF_INET, SOCK_DGRAM, 0).expect("a socket")
}

fn ask(socket: &OwnedFd, request: u64, name: &str) -> Outcome<[u8; 24]> {
    let mut interface = interface_request(name);
    syscall!(SYS_ioctl, socket, request, &raw mut interface)?;
    Ok(interface.value)
}

fn tell(socket: &OwnedFd, request: u64, name: &str, value: &[u8]) -> Outcome {
    let mut interface = interface_request(name);
    interface.value[..value.len()].copy_from_slice(value);
    syscall!(SYS_ioctl, socket, request, &raw mut interface)
}

fn word(value: [u8; 24]) -> u32 {
    u32::from_ne_bytes(value[..4].try_into().expect("four bytes"))
}

/// `struct sockaddr_in` without a port.
fn v4(address: [u8; 4]) -> Vec<u8> {
    [&(AF_INET as u16).to_ne_bytes()[..], &[0; 2], &address, &[0; 8]].concat()
}

#[test]
fn device_requests_work_on_sockets_of_every_family() {
    in_network_namespace(|| {
        for (family, kind) in [(AF_UNIX, SOCK_DGRAM), (AF_INET, SOCK_STREAM), (AF_INET6, SOCK_DGRAM), (AF_NETLINK, SOCK_RAW)] {
            let one = socket(family, kind, 0).expect("a socket");
            assert_eq!(ask(&one, libc::SIOCGIFINDEX, "lo").map(word), Ok(1), "{family}");
            assert_errno!(ask(&one, libc::SIOCGIFINDEX, "eth0"), ENODEV);
            assert_errno!(ask(&one, libc::SIOCGIFINDEX, ""), ENODEV);
        }
    });
}

#[test]
fn device_names_are_found_by_index() {
    in_network_namespace(|| {
        let mut request = InterfaceRequest { name: [0; 16], value: [0; 24] };
        request.value[0] = 1;
        syscall!(SYS_ioctl, &inet(), SIOCGIFNAME, &raw mut request).expect("SIOCGIFNAME");
        assert_eq!(&request.name, b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        request.value[0] = 9;
        assert_errno!(syscall!(SYS_ioctl, &inet(), SIOCGIFNAME, &raw mut request), ENODEV);
    });
}

#[test]
fn device_flags_go_up_and_down() {
    in_network_namespace(|| {
        assert_eq!(flags_of("lo"), Ok(IFF_LOOPBACK));
        set_up("lo", true).expect("up");
        assert_eq!(flags_of("lo"), Ok(IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
        set_up("lo", false).expect("down");
        assert_eq!(flags_of("lo"), Ok(IFF_LOOPBACK));
        assert_errno!(set_up("eth0", true), ENODEV);
    });
}

#[test]
fn device_changes_are_for_the_privileged() {
    in_network_namespace(|| {
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(set_up("lo", true), EPERM);
        assert_errno!(tell(&inet(), libc::SIOCSIFMTU, "lo", &1400u32.to_ne_bytes()), EPERM);
        assert_errno!(tell(&inet(), libc::SIOCSIFADDR, "lo", &v4([127, 0, 0, 1])), EPERM);
        assert_eq!(flags_of("lo"), Ok(IFF_LOOPBACK));
    });
}

#[test]
fn device_values_are_told_and_changed() {
    in_network_namespace(|| {
        let one = inet();
        assert_eq!(ask(&one, libc::SIOCGIFMTU, "lo").map(word), Ok(65536));
        tell(&one, libc::SIOCSIFMTU, "lo", &1400u32.to_ne_bytes()).expect("SIOCSIFMTU");
        assert_eq!(ask(&one, libc::SIOCGIFMTU, "lo").map(word), Ok(1400));
        assert_eq!(ask(&one, u64::from(SIOCGIFTXQLEN), "lo").map(word), Ok(1000));
        assert_eq!(ask(&one, libc::SIOCGIFMETRIC, "lo").map(word), Ok(0));
        let hardware = ask(&one, libc::SIOCGIFHWADDR, "lo").expect("SIOCGIFHWADDR");
        assert_eq!((u16::from_ne_bytes([hardware[0], hardware[1]]), &hardware[2..8]), (libc::ARPHRD_LOOPBACK, &[0; 6][..]));
    });
}

#[test]
fn device_addresses_are_told_to_ipv4_sockets() {
    with_loopback(|| {
        let one = inet();
        let address = |request| ask(&one, request, "lo").map(|value| value[4..8].to_vec());
        assert_eq!(address(libc::SIOCGIFADDR), Ok(vec![127, 0, 0, 1]));
        assert_eq!(address(libc::SIOCGIFNETMASK), Ok(vec![255, 0, 0, 0]));
        assert_eq!(address(libc::SIOCGIFBRDADDR), Ok(vec![0, 0, 0, 0]));
        assert_errno!(ask(&socket(AF_UNIX, SOCK_DGRAM, 0).expect("a socket"), libc::SIOCGIFADDR, "lo"), ENOTTY);
    });
    in_network_namespace(|| assert_errno!(ask(&inet(), libc::SIOCGIFADDR, "lo"), EADDRNOTAVAIL));
}

#[test]
fn device_addresses_can_be_set() {
    in_network_namespace(|| {
        let one = inet();
        let address = |request, name: &str| ask(&one, request, name).map(|value| value[4..8].to_vec());
        tell(&one, libc::SIOCSIFADDR, "lo", &v4([10, 0, 0, 1])).expect("SIOCSIFADDR");
        assert_eq!(address(libc::SIOCGIFADDR, "lo"), Ok(vec![10, 0, 0, 1]));
        assert_eq!(address(libc::SIOCGIFNETMASK, "lo"), Ok(vec![255, 0, 0, 0]));
        tell(&one, libc::SIOCSIFNETMASK, "lo", &v4([255, 255, 255, 0])).expect("SIOCSIFNETMASK");
        assert_eq!(address(libc::SIOCGIFNETMASK, "lo"), Ok(vec![255, 255, 255, 0]));
        assert_errno!(tell(&one, libc::SIOCSIFNETMASK, "lo", &v4([255, 0, 255, 0])), EINVAL);
        tell(&one, libc::SIOCSIFADDR, "lo:1", &v4([192, 168, 0, 1])).expect("another, by its label");
        assert_eq!(address(libc::SIOCGIFADDR, "lo:1"), Ok(vec![192, 168, 0, 1]));
        assert_eq!(address(libc::SIOCGIFADDR, "lo"), Ok(vec![10, 0, 0, 1]));
        assert_errno!(tell(&one, libc::SIOCSIFADDR, "lo", &[0; 16]), EINVAL);
    });
}

#[test]
fn device_lists_hold_the_ipv4_addresses() {
    let list = |len: i32, buffer: &mut [u8]| {
        let pointer = if buffer.is_empty() { 0 } else { buffer.as_mut_ptr() as u64 };
        let mut request = [len as u64, pointer];
        syscall!(SYS_ioctl, &inet(), libc::SIOCGIFCONF, request.as_mut_ptr()).expect("SIOCGIFCONF");
        request[0] as i32
    };
    in_network_namespace(|| assert_eq!(list(400, &mut [0; 400]), 0));
    with_loopback(|| {
        let mut buffer = [0u8; 400];
        assert_eq!(list(0, &mut []), 40);
        assert_eq!(list(400, &mut buffer), 40);
        assert_eq!(&buffer[..3], b"lo\0");
        assert_eq!(buffer[16..24], v4([127, 0, 0, 1])[..8]);
        assert_eq!(list(39, &mut buffer), 0);
    });
}

#[test]
fn device_traffic_is_counted() {
    with_loopback(|| {
        let counted = || -> (u64, u64) {
            let text = text_of("/proc/net/dev");
            let line = text.lines().find(|line| line.trim_start().starts_with("lo:")).expect("lo");
            let numbers: Vec<u64> =
                line.split(':').nth(1).expect("numbers").split_whitespace().map(|word| word.parse().expect("a number")).collect();
            assert_eq!((numbers[0], numbers[1]), (numbers[8], numbers[9]), "what is sent is received");
            (numbers[0], numbers[1])
        };
        let before = counted();
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
        receiver.send_to(&[0; 1000], receiver.local_addr().expect("a name")).expect("send");
        let after = counted();
        assert_eq!(after.1, before.1 + 1);
        assert!((1000..1100).contains(&(after.0 - before.0)), "{before:?} {after:?}");
    });
}

#[test]
fn device_unknown_requests_are_enotty() {
    in_network_namespace(|| {
        for family in [AF_UNIX, AF_INET, AF_INET6] {
            let one = socket(family, SOCK_DGRAM, 0).expect("a socket");
            assert_errno!(ask(&one, u64::from(libc::TCGETS as u32), "lo"), ENOTTY);
        }
        assert_errno!(syscall!(SYS_ioctl, &inet(), libc::SIOCGIFINDEX, 8usize), EFAULT);
    });
}
