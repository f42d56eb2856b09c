//! Mount namespaces: copies made by clone and unshare, what still propagates between them, setns, their end.
//! Rule numbers are those of the specification of mount semantics.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;

use abi::child::{Child, wait_until};
use abi::mountinfo::{at, is_mounted, table, top_at};
use abi::world::{bind, exists, identity, make, mkdir, mkdirs, mount, names, new_tmpfs, tmpfs, touch, umount, write};
use abi::{assert_errno, in_mount_namespace, shared_words, spawn, syscall};
use libc::{MNT_DETACH, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE};

fn unshare() {
    syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
}

/// A process in a namespace of its own that runs `first`, then waits until the returned word is set, then runs `second`.
fn in_other_namespace(first: impl FnOnce(), second: impl FnOnce()) -> (Child, impl Fn()) {
    let words = shared_words();
    let child = spawn(|| {
        unshare();
        first();
        words[0].store(1, SeqCst);
        wait_until("it may go on", || words[1].load(SeqCst) == 1);
        second();
    });
    wait_until("the other namespace is ready", || words[0].load(SeqCst) == 1 || abi::child::state_of(child.pid()) == Some('Z'));
    (child, move || words[1].store(1, SeqCst))
}

#[test]
fn a_new_namespace_is_a_copy_with_ids_of_its_own() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        touch("d/file");
        let here = table();
        spawn(|| {
            unshare();
            let there = table();
            let points = |table: &[abi::mountinfo::MountInfo]| table.iter().map(|mount| mount.mount_point.clone()).collect::<Vec<_>>();
            let mut expected = points(&here);
            let mut found = points(&there);
            expected.sort();
            found.sort();
            assert_eq!(found, expected); // Rule N2
            assert!(there.iter().all(|mount| here.iter().all(|other| other.id != mount.id))); // Rule N7
            assert_eq!(names("/tmp/d"), ["file"], "the same files");
        })
        .join();
    });
}

#[test]
fn private_mounts_do_not_propagate_between_namespaces() {
    in_mount_namespace(|| {
        mkdirs(&["d", "e"]);
        let (child, go_on) = in_other_namespace(|| tmpfs("theirs", "/tmp/d"), || assert!(!is_mounted("/tmp/e") && is_mounted("/tmp/d")));
        assert!(!is_mounted("/tmp/d"));
        tmpfs("ours", "/tmp/e");
        go_on();
        child.join();
    });
}

#[test]
fn shared_mounts_are_peers_across_namespaces() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/run");
        make("/tmp/run", MS_SHARED).expect("shared");
        mkdirs(&["run/d", "run/e"]);
        let group = at("/tmp/run").shared;
        let (child, go_on) = in_other_namespace(
            || {
                assert_eq!(at("/tmp/run").shared, group); // Rule N4
                tmpfs("theirs", "/tmp/run/d");
                touch("/tmp/run/d/file");
            },
            || {
                assert_eq!(at("/tmp/run/e").source, "ours");
                assert!(!is_mounted("/tmp/run/d"), "the umount came over too");
            },
        );
        assert_eq!(names("/tmp/run/d"), ["file"]);
        tmpfs("ours", "/tmp/run/e");
        umount("/tmp/run/d", 0).expect("umount");
        go_on();
        child.join();
    });
}

#[test]
fn a_slave_namespace_receives_but_does_not_send() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/run");
        make("/tmp/run", MS_SHARED).expect("shared");
        mkdirs(&["run/d", "run/e"]);
        let group = at("/tmp/run").shared;
        let (child, go_on) = in_other_namespace(
            || {
                make("/", MS_SLAVE | MS_REC).expect("rslave");
                assert_eq!((at("/tmp/run").shared, at("/tmp/run").master), (None, group));
                tmpfs("theirs", "/tmp/run/d");
            },
            || assert_eq!(at("/tmp/run/e").source, "ours"),
        );
        assert!(!is_mounted("/tmp/run/d"));
        tmpfs("ours", "/tmp/run/e");
        go_on();
        child.join();
    });
}

#[test]
fn unbindable_mounts_are_copied_into_a_new_namespace() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        make("/tmp/d", MS_UNBINDABLE).expect("unbindable");
        spawn(|| {
            unshare();
            assert!(is_mounted("/tmp/d")); // Rule N2
        })
        .join();
    });
}

#[test]
fn the_working_directory_and_root_move_to_the_copies() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/root");
        mkdirs(&["root/inner", "root/inner/d", "root/proc"]);
        bind("/proc", "/tmp/root/proc").expect("bind");
        spawn(|| {
            syscall!(SYS_chroot, c"/tmp/root").expect("chroot");
            std::env::set_current_dir("/inner").expect("chdir");
            unshare();
            tmpfs("x", "/inner/d"); // Rule N6: the place is in the new namespace
            assert!(is_mounted("/inner/d"));
            assert_eq!(std::env::current_dir().expect("cwd").to_str(), Some("/inner"));
        })
        .join();
        assert!(!is_mounted("/tmp/root/inner/d"));
    });
}

#[test]
fn clone_newns_gives_the_child_a_namespace() {
    in_mount_namespace(|| {
        mkdir("d");
        let child = syscall!(SYS_clone, libc::CLONE_NEWNS | libc::SIGCHLD, 0, 0, 0, 0).expect("clone");
        if child == 0 {
            let outcome = mount("x", "/tmp/d", "tmpfs", 0, "");
            abi::child::exit_now(if outcome.is_ok() && is_mounted("/tmp/d") { 0 } else { 1 });
        }
        assert_eq!(abi::child::wait_end(child as i32), abi::Status::Exited(0));
        assert!(!is_mounted("/tmp/d"));
        assert_errno!(syscall!(SYS_clone, libc::CLONE_NEWNS | libc::CLONE_FS | libc::SIGCHLD, 0, 0, 0, 0), EINVAL); // Rule N1
    });
}

#[test]
fn setns_enters_a_namespace_at_its_root() {
    in_mount_namespace(|| {
        mkdir("d");
        let (child, go_on) = in_other_namespace(
            || {
                tmpfs("theirs", "/tmp/d");
                touch("/tmp/d/file");
            },
            || {},
        );
        let namespace = File::open(format!("/proc/{}/ns/mnt", child.pid())).expect("open");
        spawn(|| {
            std::env::set_current_dir("/tmp").expect("chdir");
            syscall!(SYS_setns, &namespace, libc::CLONE_NEWNS).expect("setns");
            assert_eq!(std::env::current_dir().expect("cwd").to_str(), Some("/")); // Rule N10
            assert_eq!(names("/tmp/d"), ["file"]);
            assert_eq!(identity("/proc/self/ns/mnt").1, identity(&format!("/proc/self/fd/{}", namespace.as_raw_fd())).1);
        })
        .join();
        go_on();
        child.join();
    });
}

#[test]
fn setns_returns_home_and_refuses_wrong_descriptors() {
    in_mount_namespace(|| {
        let home = File::open("/proc/self/ns/mnt").expect("open");
        new_tmpfs("/tmp/d");
        touch("d/file");
        spawn(|| {
            unshare();
            umount("/tmp/d", MNT_DETACH).expect("umount");
            assert!(!exists("/tmp/d/file"));
            syscall!(SYS_setns, &home, 0).expect("any type");
            assert!(exists("/tmp/d/file"));
            let plain = File::open("/tmp").expect("open");
            assert_errno!(syscall!(SYS_setns, &plain, libc::CLONE_NEWNS), EINVAL);
            assert_errno!(syscall!(SYS_setns, 999, libc::CLONE_NEWNS), EBADF);
            assert_errno!(syscall!(SYS_setns, &home, libc::CLONE_NEWUTS), EINVAL);
            let outcome =
                std::thread::scope(|scope| scope.spawn(|| syscall!(SYS_setns, &home, libc::CLONE_NEWNS)).join().expect("a thread"));
            assert_errno!(outcome, EINVAL); // Rule N10: a thread shares its working directory
        })
        .join();
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(syscall!(SYS_setns, &home, libc::CLONE_NEWNS), EPERM);
        })
        .join();
    });
}

#[test]
fn a_namespace_dies_without_propagating_its_unmounts() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/run");
        make("/tmp/run", MS_SHARED).expect("shared");
        mkdir("run/d");
        spawn(|| {
            unshare();
            tmpfs("theirs", "/tmp/run/d");
        })
        .join();
        assert!(is_mounted("/tmp/run/d")); // Rule N9
    });
}

#[test]
fn the_end_of_a_master_namespace_frees_its_slaves() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        let words = shared_words();
        let master = spawn(|| {
            unshare();
            make("/tmp/d", MS_SHARED).expect("shared");
            let slave = spawn(|| {
                unshare();
                make("/tmp/d", MS_SLAVE).expect("slave");
                words[0].store(u32::from(at("/tmp/d").master.is_some()) + 1, SeqCst);
                wait_until("the master is gone", || at("/tmp/d").master.is_none()); // Rule N9, C5
                words[1].store(1, SeqCst);
            });
            wait_until("the slave is there", || words[0].load(SeqCst) == 2);
            make("/tmp/d", MS_PRIVATE).expect("private");
            slave.join();
        });
        master.join();
        assert_eq!(words[1].load(SeqCst), 1);
    });
}

#[test]
fn a_bound_namespace_file_keeps_the_namespace() {
    in_mount_namespace(|| {
        // Newer kernels draw namespace numbers per processor; on one processor the later namespace is the younger one.
        syscall!(SYS_sched_setaffinity, 0, 8, [1u64].as_ptr()).expect("sched_setaffinity");
        unshare();
        touch("handle");
        mkdir("d");
        // Only a younger namespace may be bound. Rule N14.
        let (child, go_on) = in_other_namespace(|| tmpfs("theirs", "/tmp/d"), || {});
        bind(&format!("/proc/{}/ns/mnt", child.pid()), "/tmp/handle").expect("bind");
        let shown = at("/tmp/handle");
        assert_eq!((shown.kind.as_str(), shown.root.starts_with("mnt:[")), ("nsfs", true)); // Rule W7
        assert_errno!(bind("/proc/self/ns/mnt", "/tmp/handle"), EINVAL);
        go_on();
        child.join();
        let handle = File::open("handle").expect("open");
        spawn(|| {
            syscall!(SYS_setns, &handle, libc::CLONE_NEWNS).expect("setns");
            assert_eq!(top_at("/tmp/d").source, "theirs");
        })
        .join();
        drop(handle);
        umount("handle", 0).expect("umount");
    });
}

#[test]
fn a_mount_point_of_another_namespace_only_can_be_removed() {
    in_mount_namespace(|| {
        mkdirs(&["d", "e"]);
        let (child, go_on) = in_other_namespace(
            || {
                tmpfs("theirs", "/tmp/d");
                tmpfs("theirs", "/tmp/e");
            },
            || {
                assert!(!is_mounted("/tmp/d")); // Rule L17
                assert!(is_mounted("/tmp/renamed"));
            },
        );
        std::fs::remove_dir("/tmp/d").expect("rmdir");
        std::fs::rename("/tmp/e", "/tmp/renamed").expect("rename");
        go_on();
        child.join();
    });
}

#[test]
fn files_in_other_namespaces_are_the_same_files() {
    in_mount_namespace(|| {
        let (child, go_on) =
            in_other_namespace(|| write("/tmp/file", "from there"), || assert_eq!(abi::world::read("/tmp/answer"), "from here"));
        assert_eq!(abi::world::read("file"), "from there");
        write("answer", "from here");
        assert_eq!(abi::world::read(&format!("/proc/{}/root/tmp/file", child.pid())), "from there");
        go_on();
        child.join();
    });
}

#[test]
fn a_mount_of_another_namespace_is_neither_source_nor_target() {
    in_mount_namespace(|| {
        mkdirs(&["d", "here"]);
        let (child, go_on) = in_other_namespace(
            || {
                tmpfs("theirs", "/tmp/d");
                mkdir("/tmp/d/inner");
            },
            || {},
        );
        let theirs = format!("/proc/{}/root/tmp/d", child.pid());
        assert_eq!(names(&theirs), ["inner"]);
        assert_errno!(bind(&theirs, "/tmp/here"), EINVAL); // Rule B1
        assert_errno!(tmpfs_on(&format!("{theirs}/inner")), EINVAL); // Rule F9
        assert_errno!(umount(&theirs, MNT_DETACH), EINVAL); // Rule U1
        assert_errno!(mount("", &theirs, "", libc::MS_REMOUNT | libc::MS_BIND, ""), EINVAL); // Rule M1
        go_on();
        child.join();
    });
}

fn tmpfs_on(target: &str) -> abi::Outcome {
    mount("x", target, "tmpfs", 0, "")
}

#[test]
fn user_namespaces_receive_as_slaves_and_cannot_take_locked_mounts_away() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        make("/tmp/d", MS_SHARED).expect("shared");
        touch("d/file");
        new_tmpfs("/tmp/ro");
        mount("", "/tmp/ro", "", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NODEV, "").expect("remount");
        let group = at("/tmp/d").shared;
        spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWNS).expect("unshare");
            write("/proc/self/uid_map", "0 0 1");
            assert_eq!((at("/tmp/d").shared, at("/tmp/d").master), (None, group)); // Rule N5
            assert_errno!(umount("/tmp/d", MNT_DETACH), EINVAL); // Rule K5
            let remount = |flags: u64| mount("", "/tmp/ro", "", libc::MS_REMOUNT | libc::MS_BIND | flags, "");
            assert_errno!(remount(libc::MS_NODEV), EPERM); // Rule K6
            assert_errno!(remount(libc::MS_RDONLY), EPERM);
            remount(libc::MS_RDONLY | libc::MS_NODEV | libc::MS_NOSUID).expect("adding is allowed");
            tmpfs("over", "/tmp/d");
            umount("/tmp/d", 0).expect("what it mounted itself");
            assert!(exists("/tmp/d/file"));
        })
        .join();
        mount("", "/tmp/ro", "", libc::MS_REMOUNT | libc::MS_BIND, "").expect("no lock here");
    });
}

#[test]
fn a_locked_mount_stays_on_its_parent_when_its_namespace_ends() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        new_tmpfs("/tmp/a/locked");
        touch("/tmp/a/locked/inside");
        let words = shared_words();
        let other = spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWNS).expect("unshare");
            words[0].store(1, SeqCst);
            wait_until("it may end", || words[1].load(SeqCst) == 1);
        });
        wait_until("the other namespace is ready", || words[0].load(SeqCst) == 1);
        let kept = File::open(format!("/proc/{}/root/tmp/a", other.pid())).expect("open");
        words[1].store(1, SeqCst);
        other.join();
        // Rules U15 and N9: what it covers stays covered for whoever still holds the parent.
        let inside = format!("/proc/self/fd/{}/locked", kept.as_raw_fd());
        assert_eq!(names(&inside), ["inside"]);
    });
}
