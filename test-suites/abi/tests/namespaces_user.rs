//! User namespaces: id maps, rights inside and outside, limits; and the namespaces that they own.

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, chown};
use std::sync::atomic::Ordering::SeqCst;

use abi::child::wait_until;
use abi::namespace::{link, pid, setns, status_line, unshare};
use abi::user_namespace::in_user_namespace;
use abi::world::{c, mkdir, mount, read, touch, write};
use abi::{Errno, Outcome, acl, assert_errno, in_child, in_mount_namespace, shared_words, spawn, syscall};
use libc::{CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS};

const NS_GET_USERNS: i32 = 0xb701;
const NS_GET_PARENT: i32 = 0xb702;
const NS_GET_NSTYPE: i32 = 0xb703;
const NS_GET_OWNER_UID: i32 = 0xb704;

fn try_write(path: &str, text: &str) -> Outcome<()> {
    Ok(std::fs::write(path, text)?)
}

/// Forks a process that unshares its user namespace and, when `prepare` has run here with its number, runs `body` there.
fn with_new_user_namespace(prepare: impl FnOnce(i32), body: impl FnOnce()) {
    let words = shared_words();
    let child = spawn(|| {
        unshare(CLONE_NEWUSER).expect("a user namespace");
        words[0].store(1, SeqCst);
        wait_until("it was prepared", || words[0].load(SeqCst) == 2);
        body();
    });
    wait_until("it is there", || words[0].load(SeqCst) == 1);
    prepare(child.pid());
    words[0].store(2, SeqCst);
    child.join();
}

fn ids() -> (u32, u32) {
    let user = syscall!(SYS_getuid).expect("getuid") as u32;
    (user, syscall!(SYS_getgid).expect("getgid") as u32)
}

#[test]
fn without_a_map_ids_show_as_the_overflow_ids() {
    in_mount_namespace(|| {
        touch("file");
        with_new_user_namespace(
            |_| (),
            || {
                assert_eq!(ids(), (65534, 65534));
                let data = std::fs::metadata("file").expect("stat");
                assert_eq!((data.uid(), data.gid()), (65534, 65534));
                assert_eq!(read("/proc/self/uid_map"), "");
                assert_errno!(syscall!(SYS_setuid, 0), EINVAL);
                assert_errno!(syscall!(SYS_setgroups, 0, 0usize), EPERM);
            },
        );
    });
}

#[test]
fn a_map_of_several_extents_translates_both_ways() {
    in_mount_namespace(|| {
        for (name, id) in [("root", 0), ("low", 1005), ("high", 2003), ("none", 5000)] {
            touch(name);
            chown(name, Some(id), Some(id)).expect("chown");
        }
        with_new_user_namespace(
            |pid| {
                write(&format!("/proc/{pid}/uid_map"), "0 0 1\n10 1000 10\n100 2000 50\n");
                write(&format!("/proc/{pid}/gid_map"), "0 0 1\n10 1000 10\n100 2000 50\n");
                assert_eq!(
                    read(&format!("/proc/{pid}/uid_map")).split_whitespace().collect::<Vec<_>>(),
                    ["0", "0", "1", "10", "1000", "10", "100", "2000", "50"]
                );
            },
            || {
                let owner = |name: &str| std::fs::metadata(name).expect("stat").uid();
                assert_eq!([owner("root"), owner("low"), owner("high"), owner("none")], [0, 15, 103, 65534]);
                chown("root", Some(149), Some(12)).expect("a mapped id");
                assert_eq!((owner("root"), std::fs::metadata("root").expect("stat").gid()), (149, 12));
                assert_errno!(chown("low", Some(150), None), EINVAL);
                assert_errno!(chown("none", Some(0), None), EPERM);
                syscall!(SYS_setresuid, 19, 19, 19).expect("the last of the second extent");
                assert_eq!(status_line("self", "Uid"), "1019 1019 1019 1019".replace("1019", "19"));
            },
        );
        assert_eq!(std::fs::metadata("root").expect("stat").uid(), 2049);
    });
}

#[test]
fn access_lists_name_the_ids_of_the_namespace() {
    in_mount_namespace(|| {
        touch("file");
        acl::set("file", acl::ACCESS, "u::rw- u:2003:rw- u:7:r-- g::--- g:3004:r-- m::rw- o::---").expect("setxattr");
        chown("file", Some(2000), Some(3000)).expect("chown");
        with_new_user_namespace(
            |pid| {
                write(&format!("/proc/{pid}/uid_map"), "0 2000 10");
                write(&format!("/proc/{pid}/gid_map"), "0 3000 10");
            },
            || {
                let shown = format!("u::rw- u:3:rw- u:{}:r-- g::--- g:4:r-- m::rw- o::---", u32::MAX);
                acl::is("file", acl::ACCESS, Some(&shown));
                assert_errno!(acl::set("file", acl::ACCESS, &shown), EINVAL);
                assert_errno!(acl::set("file", acl::ACCESS, "u::rw- g::--- g:10:r-- m::r-- o::---"), EINVAL);
                acl::set("file", acl::ACCESS, "u::rw- u:9:r-- g::--- g:8:r-x m::r-x o::---").expect("ids of the map");
            },
        );
        acl::is("file", acl::ACCESS, Some("u::rw- u:2009:r-- g::--- g:3008:r-x m::r-x o::---"));
    });
}

#[test]
fn a_map_is_written_once_and_must_be_sound() {
    in_child(|| {
        with_new_user_namespace(
            |pid| {
                let file = format!("/proc/{pid}/uid_map");
                for wrong in [
                    "0 0",
                    "0 0 0",
                    "0 0 1 1",
                    "a 0 1",
                    "0 0 1\n0 5 1",
                    "0 0 2\n1 9 1",
                    "0 0 1\n5 0 1",
                    "4294967295 0 1",
                    "0 0 4294967295\n1 1 1",
                ] {
                    assert_errno!(try_write(&file, wrong), EINVAL);
                }
                let lines = |count: u32| (0..count).map(|line| format!("{0} {0} 1\n", line * 2)).collect::<String>();
                assert_errno!(try_write(&file, &lines(341)), EINVAL);
                write(&file, lines(340));
                assert_errno!(try_write(&file, "0 0 1"), EPERM);
            },
            || assert_eq!(read("/proc/self/uid_map").lines().count(), 340),
        );
    });
}

#[test]
fn who_may_write_which_map() {
    in_child(|| {
        syscall!(SYS_setresgid, 1000, 1000, 1000).expect("setresgid");
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        syscall!(SYS_prctl, libc::PR_SET_DUMPABLE, 1).expect("prctl");
        with_new_user_namespace(
            |_| (),
            || {
                assert_errno!(try_write("/proc/self/uid_map", "0 1001 1"), EPERM);
                assert_errno!(try_write("/proc/self/uid_map", "0 1000 2"), EPERM);
                assert_errno!(try_write("/proc/self/gid_map", "0 1000 1"), EPERM);
                write("/proc/self/uid_map", "0 1000 1");
                assert_errno!(try_write("/proc/self/setgroups", "nonsense"), EINVAL);
                write("/proc/self/setgroups", "deny");
                assert_errno!(try_write("/proc/self/setgroups", "allow"), EPERM);
                write("/proc/self/gid_map", "0 1000 1");
                assert_errno!(try_write("/proc/self/setgroups", "deny"), EPERM);
                assert_eq!(read("/proc/self/setgroups"), "deny\n");
                assert_eq!(ids(), (0, 0));
                assert_errno!(syscall!(SYS_setgroups, 0, 0usize), EPERM);
                unshare(CLONE_NEWUSER).expect("one below");
                assert_eq!(read("/proc/self/setgroups"), "deny\n", "those below inherit it");
            },
        );
    });
}

#[test]
fn project_ids_have_a_map_of_their_own() {
    in_child(|| {
        assert_eq!(read("/proc/self/projid_map").split_whitespace().collect::<Vec<_>>(), ["0", "0", "4294967295"]);
        with_new_user_namespace(
            |pid| {
                let file = format!("/proc/{pid}/projid_map");
                assert_eq!(read(&file), "");
                write(&file, "7 9 3");
                assert_errno!(try_write(&file, "7 9 3"), EPERM);
                assert_eq!(read(&file).split_whitespace().collect::<Vec<_>>(), ["7", "9", "3"]);
            },
            || (),
        );
    });
}

#[test]
fn capabilities_are_full_inside_and_none_outside() {
    in_mount_namespace(|| {
        in_user_namespace(
            || (),
            || {
                assert_eq!(status_line("self", "CapEff"), "000001ffffffffff");
                assert_eq!(status_line("self", "CapBnd"), "000001ffffffffff");
                assert_eq!(status_line("self", "CapInh"), "0000000000000000");
                assert_errno!(syscall!(SYS_sethostname, c"x", 1), EPERM);
                unshare(CLONE_NEWUTS).expect("an own one");
                syscall!(SYS_sethostname, c"mine", 4).expect("sethostname of the own one");
                assert_errno!(syscall!(SYS_clock_settime, 0, [0i64, 0].as_ptr()), EPERM);
                assert_errno!(syscall!(SYS_chroot, c"/missing"), ENOENT);
                assert_errno!(abi::world::mknod("null", libc::S_IFCHR | 0o600, 0x103), EPERM);
                mkdir("tmp");
                mount("tmpfs", "tmp", "tmpfs", 0, "").expect("the own mount namespace");
            },
        );
    });
}

#[test]
fn a_chroot_is_no_way_to_a_user_namespace() {
    in_mount_namespace(|| {
        mkdir("root");
        syscall!(SYS_chroot, c"root").expect("chroot");
        assert_errno!(unshare(CLONE_NEWUSER), EPERM);
    });
}

#[test]
fn user_namespaces_nest_33_deep() {
    in_child(|| {
        let mut depth = 0;
        let error = loop {
            match unshare(CLONE_NEWUSER) {
                Ok(_) => {
                    depth += 1;
                    write("/proc/self/uid_map", "0 0 1");
                    write("/proc/self/setgroups", "deny");
                    write("/proc/self/gid_map", "0 0 1");
                }
                Err(error) => break error,
            }
        };
        assert_eq!((depth, error), (33, Errno(libc::ENOSPC)));
    });
}

#[test]
fn an_unmapped_user_makes_none() {
    in_child(|| {
        unshare(CLONE_NEWUSER).expect("unshare");
        assert_errno!(unshare(CLONE_NEWUSER), EPERM);
    });
}

#[test]
fn setns_into_a_user_namespace_gives_its_rights() {
    in_child(|| {
        let own = File::open("/proc/self/ns/user").expect("open");
        assert_errno!(setns(&own, CLONE_NEWUSER), EINVAL);
        let words = shared_words();
        let child = spawn(|| {
            unshare(CLONE_NEWUSER).expect("unshare");
            words[0].store(1, SeqCst);
            wait_until("it was entered", || words[0].load(SeqCst) == 2);
            assert_errno!(setns(&own, CLONE_NEWUSER), EPERM);
        });
        wait_until("it is there", || words[0].load(SeqCst) == 1);
        write(&format!("/proc/{}/uid_map", child.pid()), "0 0 10");
        let theirs = File::open(format!("/proc/{}/ns/user", child.pid())).expect("open");
        spawn(|| {
            syscall!(SYS_setresuid, 5, 5, 5).expect("setresuid");
            assert_errno!(setns(&theirs, CLONE_NEWUSER), EPERM);
        })
        .join();
        spawn(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| assert_errno!(setns(&theirs, CLONE_NEWUSER), EINVAL));
            });
            setns(&theirs, CLONE_NEWUSER).expect("setns");
            assert_eq!(status_line("self", "CapEff"), "000001ffffffffff");
            assert_eq!(ids().0, 0);
            assert_errno!(syscall!(SYS_sethostname, c"x", 1), EPERM);
        })
        .join();
        words[0].store(2, SeqCst);
        child.join();
    });
}

fn ioctl(file: &File, request: i32) -> Outcome<File> {
    let fd = syscall!(SYS_ioctl, file, request, 0usize)?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }.into())
}

fn number(file: &File) -> u64 {
    file.metadata().expect("fstat").ino()
}

#[test]
fn nsfs_tells_kind_owner_and_parent() {
    in_child(|| {
        let open = |process: &str, name: &str| File::open(format!("/proc/{process}/ns/{name}")).expect("open");
        for (name, kind) in
            [("uts", CLONE_NEWUTS), ("pid", CLONE_NEWPID), ("user", CLONE_NEWUSER), ("mnt", CLONE_NEWNS), ("ipc", CLONE_NEWIPC)]
        {
            assert_eq!(syscall!(SYS_ioctl, &open("self", name), NS_GET_NSTYPE, 0usize), Ok(kind as usize));
        }
        let home = open("self", "user");
        assert_eq!(number(&ioctl(&open("self", "uts"), NS_GET_USERNS).expect("the owner")), number(&home));
        assert_errno!(ioctl(&open("self", "uts"), NS_GET_PARENT), EINVAL);
        assert_errno!(ioctl(&home, NS_GET_PARENT), EPERM);
        assert_errno!(ioctl(&home, 0xb7ff), ENOTTY);
        let mut owner = 99u32;
        assert_errno!(syscall!(SYS_ioctl, &open("self", "uts"), NS_GET_OWNER_UID, &raw mut owner), EINVAL);
        syscall!(SYS_ioctl, &home, NS_GET_OWNER_UID, &raw mut owner).expect("the first namespace's owner");
        assert_eq!(owner, 0);
        let words = shared_words();
        let child = spawn(|| {
            syscall!(SYS_setresuid, 42, 42, 42).expect("setresuid");
            syscall!(SYS_prctl, libc::PR_SET_DUMPABLE, 1).expect("prctl");
            unshare(CLONE_NEWUSER | CLONE_NEWUTS).expect("unshare");
            let own = File::open("/proc/self/ns/user").expect("open");
            assert_errno!(ioctl(&own, NS_GET_PARENT), EPERM);
            assert_errno!(ioctl(&own, NS_GET_USERNS), EPERM);
            words[0].store(1, SeqCst);
            wait_until("it was looked at", || words[0].load(SeqCst) == 2);
        });
        wait_until("it is there", || words[0].load(SeqCst) == 1);
        let theirs = open(&child.pid().to_string(), "user");
        assert_eq!(number(&ioctl(&theirs, NS_GET_PARENT).expect("the parent")), number(&home));
        assert_eq!(number(&ioctl(&theirs, NS_GET_USERNS).expect("the parent")), number(&home));
        let uts = open(&child.pid().to_string(), "uts");
        assert_eq!(number(&ioctl(&uts, NS_GET_USERNS).expect("the owner")), number(&theirs));
        syscall!(SYS_ioctl, &theirs, NS_GET_OWNER_UID, &raw mut owner).expect("its owner");
        assert_eq!(owner, 42);
        words[0].store(2, SeqCst);
        child.join();
    });
}

#[test]
fn limits_of_a_user_namespace_bind_it_and_those_below() {
    in_child(|| {
        let before = read("/proc/sys/user/max_uts_namespaces");
        with_new_user_namespace(
            |pid| {
                write(&format!("/proc/{pid}/uid_map"), "0 0 1");
                write(&format!("/proc/{pid}/gid_map"), "0 0 1");
            },
            || {
                assert_eq!(read("/proc/sys/user/max_uts_namespaces"), "2147483647\n");
                write("/proc/sys/user/max_uts_namespaces", "1");
                unshare(CLONE_NEWUTS).expect("the first");
                assert_errno!(unshare(CLONE_NEWUTS | CLONE_NEWIPC), ENOSPC);
                unshare(CLONE_NEWIPC).expect("another kind");
                spawn(|| {
                    unshare(CLONE_NEWUSER).expect("below");
                    assert_errno!(unshare(CLONE_NEWUTS), ENOSPC);
                })
                .join();
                for (name, flag) in
                    [("user", CLONE_NEWUSER), ("pid", CLONE_NEWPID), ("mnt", CLONE_NEWNS), ("net", CLONE_NEWNET), ("ipc", CLONE_NEWIPC)]
                {
                    write(&format!("/proc/sys/user/max_{name}_namespaces"), "0");
                    assert_errno!(unshare(flag), ENOSPC);
                }
                assert_errno!(try_write("/proc/sys/user/max_uts_namespaces", "-1"), EINVAL);
            },
        );
        assert_eq!(read("/proc/sys/user/max_uts_namespaces"), before, "the first namespace has limits of its own");
    });
}

#[test]
fn a_namespace_that_ends_counts_no_more() {
    in_child(|| {
        with_new_user_namespace(
            |pid| {
                write(&format!("/proc/{pid}/uid_map"), "0 0 1");
                write(&format!("/proc/{pid}/gid_map"), "0 0 1");
            },
            || {
                write("/proc/sys/user/max_uts_namespaces", "1");
                for _ in 0..3 {
                    spawn(|| assert!(unshare(CLONE_NEWUTS).is_ok())).join();
                    // Linux frees some of it a moment later.
                    wait_until("it is counted back", || {
                        let mut room = false;
                        let words = shared_words();
                        spawn(|| words[0].store(u32::from(unshare(CLONE_NEWUTS).is_ok()), SeqCst)).join();
                        room |= words[0].load(SeqCst) == 1;
                        room
                    });
                }
            },
        );
    });
}

#[test]
fn proc_may_be_mounted_only_where_it_hides_nothing_new() {
    in_mount_namespace(|| {
        mkdir("proc");
        in_user_namespace(
            || (),
            || {
                unshare(CLONE_NEWPID).expect("unshare");
                spawn(|| mount("proc", "proc", "proc", 0, "").map(drop).expect("nothing is hidden")).join();
            },
        );
        mount("tmpfs", "/proc/sys", "tmpfs", 0, "").expect("something hides a part");
        in_user_namespace(
            || (),
            || {
                unshare(CLONE_NEWPID).expect("unshare");
                spawn(|| assert_errno!(mount("proc", "proc", "proc", 0, ""), EPERM)).join();
            },
        );
    });
}

#[test]
fn sysfs_needs_the_network_namespace_too() {
    in_mount_namespace(|| {
        mkdir("sys");
        in_user_namespace(
            || (),
            || {
                assert_errno!(mount("sysfs", "sys", "sysfs", 0, ""), EPERM);
                unshare(CLONE_NEWNET).expect("unshare");
                mount("sysfs", "sys", "sysfs", 0, "").expect("with an own network");
            },
        );
    });
}

#[test]
fn host_names_belong_to_the_uts_namespace() {
    in_child(|| {
        let host = || rustix::system::uname().nodename().to_str().map(str::to_string).expect("text");
        let before = host();
        spawn(|| {
            unshare(CLONE_NEWUTS).expect("unshare");
            assert_eq!(host(), before, "a copy");
            syscall!(SYS_sethostname, c"other", 5).expect("sethostname");
            syscall!(SYS_setdomainname, c"domain", 6).expect("setdomainname");
            assert_eq!((host().as_str(), read("/proc/sys/kernel/hostname").as_str()), ("other", "other\n"));
            assert_eq!(read("/proc/sys/kernel/domainname"), "domain\n");
            write("/proc/sys/kernel/hostname", "third");
            assert_eq!(host(), "third");
            let long = "x".repeat(65);
            assert_errno!(syscall!(SYS_sethostname, c(&long).as_c_str(), 65), EINVAL);
            syscall!(SYS_sethostname, c(&long).as_c_str(), 64).expect("as long as it may be");
            assert_eq!(host().len(), 64);
        })
        .join();
        assert_eq!(host(), before);
        assert_eq!(link("self", "uts"), link(&pid().to_string(), "uts"));
    });
}
