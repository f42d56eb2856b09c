//! Network namespaces (`network_namespaces(7)`): each has a loopback, settings, tables, names and a sysfs of its own.

use std::fs::{File, read_link};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

use abi::network::{flags_of, in_network_namespace, set_up, text_of, with_loopback};
use abi::world::{mkdir, mount, write};
use abi::{assert_errno, in_child, in_mount_namespace, spawn, syscall};
use libc::{CLONE_NEWNET, CLONE_NEWUSER, IFF_LOOPBACK, IFF_RUNNING, IFF_UP};

#[test]
fn netns_a_new_loopback_is_down_and_alone() {
    in_network_namespace(|| {
        assert_eq!(flags_of("lo"), Ok(IFF_LOOPBACK));
        let devices = text_of("/proc/net/dev");
        let names: Vec<_> = devices.lines().skip(2).map(|line| line.split(':').next().expect("a name").trim()).collect();
        assert_eq!(names, ["lo"]);
        for table in ["if_inet6", "unix"] {
            assert_eq!(text_of(&format!("/proc/net/{table}")).lines().filter(|line| !line.starts_with("Num")).count(), 0, "{table}");
        }
        assert_eq!(text_of("/proc/net/route"), "", "there is no table of routes yet");
        for table in ["tcp", "tcp6", "udp", "udp6", "raw"] {
            assert_eq!(text_of(&format!("/proc/net/{table}")).lines().count(), 1, "{table}");
        }
    });
}

#[test]
fn netns_loopbacks_go_up_one_by_one() {
    in_network_namespace(|| {
        spawn(|| {
            syscall!(SYS_unshare, CLONE_NEWNET).expect("unshare");
            set_up("lo", true).expect("up");
            assert_eq!(flags_of("lo"), Ok(IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
            assert_eq!(text_of("/proc/net/if_inet6"), "00000000000000000000000000000001 01 80 10 80       lo\n");
        })
        .join();
        assert_eq!(flags_of("lo"), Ok(IFF_LOOPBACK));
    });
}

#[test]
fn netns_files_tell_namespaces_apart_and_setns_goes_back() {
    in_network_namespace(|| {
        set_up("lo", true).expect("up");
        let first = File::open("/proc/self/ns/net").expect("open");
        let name = read_link("/proc/self/ns/net").expect("readlink");
        syscall!(SYS_unshare, CLONE_NEWNET).expect("unshare");
        let second = File::open("/proc/self/ns/net").expect("open");
        assert_ne!(first.metadata().expect("stat").ino(), second.metadata().expect("stat").ino());
        assert_eq!(flags_of("lo"), Ok(IFF_LOOPBACK));
        assert_errno!(syscall!(SYS_setns, &first, libc::CLONE_NEWUTS), EINVAL);
        syscall!(SYS_setns, &first, CLONE_NEWNET).expect("setns");
        assert_eq!(read_link("/proc/self/ns/net").expect("readlink"), name);
        assert_eq!(flags_of("lo"), Ok(IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
        const NS_GET_NSTYPE: u32 = 0xb703;
        assert_eq!(syscall!(SYS_ioctl, &first, NS_GET_NSTYPE, 0), Ok(CLONE_NEWNET as usize));
    });
}

#[test]
fn netns_clone_makes_one_too() {
    in_network_namespace(|| {
        let outside = read_link("/proc/self/ns/net").expect("readlink");
        let pid = syscall!(SYS_clone, CLONE_NEWNET | libc::SIGCHLD, 0usize, 0usize, 0usize, 0usize).expect("clone");
        if pid == 0 {
            let inside = read_link("/proc/self/ns/net").expect("readlink");
            abi::child::exit_now(i32::from(inside == outside || flags_of("lo") != Ok(IFF_LOOPBACK)));
        }
        assert_eq!(abi::child::wait_end(pid as i32), abi::Status::Exited(0));
    });
}

#[test]
fn netns_the_tables_of_a_process_are_of_its_namespace() {
    in_network_namespace(|| {
        let words = abi::shared_words();
        let other = spawn(|| {
            syscall!(SYS_unshare, CLONE_NEWNET).expect("unshare");
            set_up("lo", true).expect("up");
            words[0].store(1, std::sync::atomic::Ordering::SeqCst);
            abi::child::wait_until("the parent has looked", || words[1].load(std::sync::atomic::Ordering::SeqCst) == 1);
        });
        abi::child::wait_until("the namespace is there", || words[0].load(std::sync::atomic::Ordering::SeqCst) == 1);
        let theirs = text_of(&format!("/proc/{}/net/if_inet6", other.pid()));
        words[1].store(1, std::sync::atomic::Ordering::SeqCst);
        other.join();
        assert_eq!(theirs.lines().count(), 1);
        assert_eq!(text_of("/proc/self/net/if_inet6"), "");
    });
}

#[test]
fn netns_an_open_table_stays_with_its_namespace() {
    with_loopback(|| {
        use std::io::Read;
        let mut before = File::open("/proc/net/if_inet6").expect("open");
        syscall!(SYS_unshare, CLONE_NEWNET).expect("unshare");
        let mut text = String::new();
        before.read_to_string(&mut text).expect("read");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(text_of("/proc/net/if_inet6"), "");
    });
}

#[test]
fn netns_abstract_names_are_of_a_namespace() {
    in_network_namespace(|| {
        let name = SocketAddr::from_abstract_name(b"the name").expect("a name");
        let _listener = UnixListener::bind_addr(&name).expect("bind");
        assert!(text_of("/proc/net/unix").contains("@the name"));
        UnixStream::connect_addr(&name).expect("connect");
        spawn(|| {
            syscall!(SYS_unshare, CLONE_NEWNET).expect("unshare");
            assert!(!text_of("/proc/net/unix").contains("@the name"));
            assert_errno!(UnixStream::connect_addr(&name), ECONNREFUSED);
            UnixListener::bind_addr(&name).expect("the name is free in here");
        })
        .join();
    });
}

#[test]
fn netns_path_names_reach_across() {
    in_mount_namespace(|| {
        let listener = UnixListener::bind("socket").expect("bind");
        syscall!(SYS_unshare, CLONE_NEWNET).expect("unshare");
        UnixStream::connect("socket").expect("connect");
        listener.accept().expect("accept");
    });
}

#[test]
fn netns_settings_are_of_a_namespace() {
    in_network_namespace(|| {
        let values =
            [("ipv4/ip_unprivileged_port_start", "1024", "80"), ("ipv4/conf/lo/rp_filter", "0", "2"), ("core/somaxconn", "4096", "17")];
        for (name, default, other) in values {
            let path = format!("/proc/sys/net/{name}");
            assert_eq!(text_of(&path).trim(), default, "{name}");
            write(&path, other);
            assert_eq!(text_of(&path).trim(), other, "{name}");
        }
        syscall!(SYS_unshare, CLONE_NEWNET).expect("unshare");
        for (name, default, _) in values.iter().filter(|(name, ..)| !name.contains("rp_filter")) {
            assert_eq!(text_of(&format!("/proc/sys/net/{name}")).trim(), *default, "{name}");
        }
    });
}

#[test]
fn netns_settings_refuse_what_they_cannot_hold() {
    in_network_namespace(|| {
        let set = |name: &str, text: &str| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), text);
        assert_errno!(set("ip_unprivileged_port_start", "65536"), EINVAL);
        assert_errno!(set("ip_unprivileged_port_start", "-1"), EINVAL);
        assert_errno!(set("ip_local_port_range", "5000 4000"), EINVAL);
        assert_errno!(set("ip_default_ttl", "0"), EINVAL);
        set("ip_local_port_range", "4000 5000").expect("a range");
        assert_eq!(text_of("/proc/sys/net/ipv4/ip_local_port_range"), "4000\t5000\n");
        set("ping_group_range", "0 100").expect("a range");
        assert_eq!(text_of("/proc/sys/net/ipv4/ping_group_range"), "0\t100\n");
        set("ping_group_range", "200 100").expect("an empty range");
        assert_eq!(text_of("/proc/sys/net/ipv4/ping_group_range"), "1\t0\n");
    });
}

#[test]
fn netns_unix_queues_are_as_long_as_the_namespace_says() {
    in_network_namespace(|| {
        write("/proc/sys/net/unix/max_dgram_qlen", "1");
        let name = SocketAddr::from_abstract_name(b"queue").expect("a name");
        let _receiver = UnixDatagram::bind_addr(&name).expect("bind");
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.set_nonblocking(true).expect("nonblocking");
        for _ in 0..2 {
            sender.send_to_addr(b"x", &name).expect("one more than the setting");
        }
        assert_errno!(sender.send_to_addr(b"x", &name), EAGAIN);
        write("/proc/sys/net/core/somaxconn", "0");
        let name = SocketAddr::from_abstract_name(b"listener").expect("a name");
        let _listener = UnixListener::bind_addr(&name).expect("bind");
        let connect = || {
            let one = abi::network::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0).expect("a socket");
            let bytes = [&(libc::AF_UNIX as u16).to_ne_bytes()[..], b"\0listener"].concat();
            syscall!(SYS_connect, &one, bytes.as_ptr(), bytes.len()).map(|_| one)
        };
        let _first = connect().expect("one more than the backlog");
        assert_errno!(connect(), EAGAIN);
    });
}

#[test]
fn netns_forwarding_is_one_setting_by_several_names() {
    in_network_namespace(|| {
        let all = ["ip_forward", "conf/all/forwarding", "conf/lo/forwarding"].map(|name| format!("/proc/sys/net/ipv4/{name}"));
        write(&all[0], "1");
        assert_eq!(all.each_ref().map(|path| text_of(path)), ["1\n"; 3]);
        write(&all[1], "0");
        assert_eq!(all.each_ref().map(|path| text_of(path)), ["0\n"; 3]);
    });
}

#[test]
fn netns_ipv6_can_be_disabled() {
    with_loopback(|| {
        write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1");
        assert_eq!(text_of("/proc/net/if_inet6"), "");
        write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0");
        assert_eq!(text_of("/proc/net/if_inet6").lines().count(), 1);
    });
}

#[test]
fn netns_settings_belong_to_the_root_of_the_owner() {
    in_child(|| {
        syscall!(SYS_setresgid, 1000, 1000, 1000).expect("setresgid");
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"), EACCES);
        syscall!(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNET).expect("unshare");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("with CAP_NET_ADMIN over the namespace");
        set_up("lo", true).expect("up");
    });
}

#[test]
fn netns_sysfs_shows_the_namespace_that_mounted_it() {
    in_mount_namespace(|| {
        syscall!(SYS_unshare, CLONE_NEWNET).expect("unshare");
        mkdir("first");
        mount("sysfs", "first", "sysfs", 0, "").expect("mount");
        set_up("lo", true).expect("up");
        // A mount does not keep the namespace, a descriptor does.
        let _first = File::open("/proc/self/ns/net").expect("open");
        syscall!(SYS_unshare, CLONE_NEWNET).expect("unshare");
        mkdir("second");
        mount("sysfs", "second", "sysfs", 0, "").expect("mount");
        let read = |mount: &str, name: &str| text_of(&format!("{mount}/class/net/lo/{name}"));
        assert_eq!((read("first", "operstate"), read("second", "operstate")), ("unknown\n".into(), "down\n".into()));
        assert_eq!((read("first", "flags"), read("second", "flags")), ("0x9\n".into(), "0x8\n".into()));
        assert_eq!(
            (read("second", "ifindex"), read("second", "mtu"), read("second", "type")),
            ("1\n".into(), "65536\n".into(), "772\n".into())
        );
        assert_eq!(read("second", "address"), "00:00:00:00:00:00\n");
        write("second/class/net/lo/mtu", "1400");
        assert_eq!((read("first", "mtu"), read("second", "mtu")), ("65536\n".into(), "1400\n".into()));
    });
}
