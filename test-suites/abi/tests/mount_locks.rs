//! Mounts handed to a less privileged user namespace are locked: each known way around the locks, tried.
//! Rule numbers are those of the specification of mount semantics.

use std::fs::File;
use std::sync::atomic::Ordering::SeqCst;

use abi::child::wait_until;
use abi::mount_api::{Attributes, BENEATH, CLONE, RECURSIVE, SET_GROUP, attach, move_mount, open_tree, set_attributes};
use abi::mountinfo::{at, is_mounted, table, top_at};
use abi::world::{bind, exists, make, mkdir, mkdirs, mount, new_tmpfs, pivot_root, rbind, tmpfs, touch, umount};
use abi::{assert_errno, in_mount_namespace, shared_words, spawn, syscall};
use libc::{MNT_DETACH, MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SHARED, MS_UNBINDABLE};

/// `MOVE_MOUNT_F_SYMLINKS`.
const FOLLOW_FROM: u32 = 1;

/// Runs `body` as root of a new user namespace with a mount namespace of its own.
fn as_root_of_a_user_namespace(body: impl FnOnce()) {
    spawn(|| {
        syscall!(SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWNS).expect("unshare");
        abi::world::write("/proc/self/uid_map", "0 0 1");
        body();
    })
    .join();
}

fn remount(target: &str, flags: u64) -> abi::Outcome {
    mount("", target, "", MS_REMOUNT | MS_BIND | flags, "")
}

#[test]
fn locked_flags_are_not_cleared_by_any_way() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdirs(&["b", "c"]);
        let all = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
        remount("/tmp/d", all).expect("remount");
        as_root_of_a_user_namespace(|| {
            let before = table();
            // Rule K6.
            for cleared in [MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, all] {
                assert_errno!(remount("/tmp/d", all & !cleared), EPERM);
            }
            for clear in [1, 2, 4, 8, 0x70] {
                let set = if clear == 0x70 { 0x10 } else { 0 };
                assert_errno!(set_attributes("/tmp/d", 0, Attributes { set, clear, ..Attributes::default() }), EPERM);
            }
            assert_errno!(remount("/tmp/d", all | libc::MS_NOATIME), EPERM);
            assert_errno!(mount("", "/tmp/d", "", MS_REMOUNT, ""), EPERM);
            assert_eq!(table(), before);
            // A copy is locked as its original is.
            rbind("/tmp/d", "/tmp/b").expect("rbind"); // Rule K2
            assert_errno!(remount("/tmp/b", all & !MS_RDONLY), EPERM);
            let tree = open_tree("/tmp/d", CLONE | RECURSIVE).expect("open_tree");
            attach(&tree, "/tmp/c").expect("attach");
            assert_errno!(remount("/tmp/c", all & !MS_RDONLY), EPERM);
            assert_errno!(std::fs::write("/tmp/c/file", "x"), EROFS);
            umount("/tmp/b", 0).expect("the root of a clone is not locked");
            // A further namespace has the same locks. Rule K3.
            syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
            assert_errno!(remount("/tmp/d", all & !MS_RDONLY), EPERM);
            assert_errno!(umount("/tmp/d", MNT_DETACH), EINVAL);
        });
        remount("/tmp/d", 0).expect("no lock here"); // Rule K9
    });
}

#[test]
fn what_a_locked_mount_covers_stays_covered() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        mkdirs(&["a/m", "b", "n"]);
        touch("a/m/secret");
        tmpfs("cover", "/tmp/a/m");
        mkdir("a/m/inner");
        as_root_of_a_user_namespace(|| {
            let before = table();
            // Rule K5.
            for flags in [0, MNT_DETACH] {
                assert_errno!(umount("/tmp/a/m", flags), EINVAL);
                assert_errno!(umount("/tmp/a", flags), EINVAL);
            }
            assert_errno!(abi::world::move_mount("/tmp/a/m", "/tmp/b"), EINVAL);
            assert_errno!(move_mount("/tmp/a/m", "/tmp/b", 0), EINVAL);
            assert_errno!(bind("/tmp/a", "/tmp/b"), EINVAL);
            assert_errno!(open_tree("/tmp/a", CLONE), EINVAL);
            assert_errno!(pivot_root("/tmp/a/m", "/tmp/a/m/inner"), EINVAL);
            assert_eq!(table(), before);
            tmpfs("own", "/tmp/n");
            assert_errno!(move_mount("/tmp/n", "/tmp/a/m", BENEATH), EINVAL); // Rule A9
            umount("/tmp/n", 0).expect("umount");
            // The whole tree as a copy shows no more than the original, nor do its parts come off.
            rbind("/tmp/a", "/tmp/b").expect("rbind");
            assert!(!exists("/tmp/b/m/secret"));
            assert_errno!(umount("/tmp/b/m", MNT_DETACH), EINVAL); // Rule B4
            assert_errno!(abi::world::move_mount("/tmp/b/m", "/tmp/n"), EINVAL);
            let held = File::open("/tmp/b").expect("open");
            umount("/tmp/b", MNT_DETACH).expect("the whole");
            assert_errno!(syscall!(SYS_newfstatat, &held, c"m/secret", [0u8; 256].as_mut_ptr(), 0), ENOENT); // Rule U15
        });
        umount("a/m", 0).expect("no lock here");
        assert!(exists("a/m/secret"));
    });
}

#[test]
fn a_locked_mount_may_be_covered_and_changed_in_type() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        touch("d/file");
        as_root_of_a_user_namespace(|| {
            make("/tmp/d", MS_SHARED).expect("shared"); // Rule K7
            make("/", MS_PRIVATE | MS_REC).expect("private");
            make("/tmp/d", MS_UNBINDABLE).expect("unbindable");
            assert_errno!(bind("/tmp/d", "/tmp"), EINVAL);
            assert_errno!(rbind("/tmp", "/tmp"), EPERM); // Rule B3: unbindable and locked
            tmpfs("over", "/tmp/d");
            assert!(!exists("/tmp/d/file"));
            umount("/tmp/d", 0).expect("its own");
            assert!(exists("/tmp/d/file"));
            assert_errno!(umount("/tmp/d", MNT_DETACH), EINVAL);
        });
    });
}

#[test]
fn copies_that_came_over_are_locked_inside() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        make("a", MS_SHARED).expect("shared");
        mkdir("a/m");
        new_tmpfs("/tmp/source");
        new_tmpfs("/tmp/source/part");
        remount("source", MS_NODEV).expect("remount");
        let words = shared_words();
        let child = spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWNS).expect("unshare");
            assert!(at("/tmp/a").master.is_some() && at("/tmp/a").shared.is_none()); // Rule N5
            words[0].store(1, SeqCst);
            wait_until("the copy is there", || words[1].load(SeqCst) == 1);
            // Rules K4 and P13: no part of it, but the whole.
            assert_errno!(umount("/tmp/a/m/part", MNT_DETACH), EINVAL);
            assert_errno!(remount("/tmp/a/m", 0), EPERM);
            assert_errno!(umount("/tmp/a/m", 0), EBUSY);
            umount("/tmp/a/m", MNT_DETACH).expect("the whole tree");
            assert!(!is_mounted("/tmp/a/m"));
        });
        wait_until("the namespace is there", || words[0].load(SeqCst) == 1 || abi::child::state_of(child.pid()) == Some('Z'));
        rbind("/tmp/source", "/tmp/a/m").expect("rbind");
        words[1].store(1, SeqCst);
        child.join();
        assert!(is_mounted("/tmp/a/m/part"), "what a slave unmounts stays here");
    });
}

#[test]
fn a_namespace_that_is_not_ones_own_is_not_changed() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdirs(&["d/in", "e"]);
        let theirs = format!("/proc/{}/root/tmp/d", std::process::id());
        let before = table();
        spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
            // The other namespace's mount, found through its process.
            let target = theirs;
            assert_errno!(abi::world::move_mount(&target, "/tmp/e"), EINVAL);
            assert_errno!(move_mount(&target, "/tmp/e", 0), EINVAL);
            assert_errno!(move_mount("/tmp/d", &format!("{target}/in"), 0), EINVAL);
            assert_errno!(open_tree(&target, CLONE), EINVAL);
            assert_errno!(set_attributes(&target, 0, Attributes { set: 1, ..Attributes::default() }), EINVAL);
            assert_errno!(mount("x", &format!("{target}/in"), "tmpfs", 0, ""), EINVAL);
            assert_errno!(umount(&target, MNT_DETACH), EINVAL);
        })
        .join();
        spawn(|| {
            let directory = File::open("/tmp/d").expect("open");
            syscall!(SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWNS).expect("unshare");
            let directory = directory.into();
            let target = abi::mount_api::path_of(&directory);
            // Privilege over one's own namespace is none over theirs. Rules C2 and X6, A8.
            assert_errno!(make(&target, MS_SHARED), EPERM);
            assert_errno!(make(&target, MS_PRIVATE), EPERM);
            assert_errno!(move_mount(&target, "/tmp/d", SET_GROUP | FOLLOW_FROM), EPERM);
        })
        .join();
        assert_eq!(table(), before);
    });
}

#[test]
fn setns_takes_rights_over_both_namespaces() {
    in_mount_namespace(|| {
        let home = File::open("/proc/self/ns/mnt").expect("open");
        // Rule N10: root of a user namespace below has no right over this one.
        as_root_of_a_user_namespace(|| {
            assert_errno!(syscall!(SYS_setns, &home, 0), EPERM);
            assert_errno!(syscall!(SYS_setns, &home, libc::CLONE_NEWNS), EPERM);
        });
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(syscall!(SYS_setns, &home, 0), EPERM);
            assert_errno!(syscall!(SYS_setns, &home, libc::CLONE_NEWPID), EINVAL);
        })
        .join();
        // A user namespace of its own does not help: the target's owner counts.
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            syscall!(SYS_unshare, libc::CLONE_NEWUSER).expect("unshare");
            assert_errno!(syscall!(SYS_setns, &home, 0), EPERM);
        })
        .join();
    });
}

#[test]
fn a_pidfd_gives_several_namespaces_at_once() {
    in_mount_namespace(|| {
        let words = shared_words();
        let child = spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWNS | libc::CLONE_NEWUTS).expect("unshare");
            tmpfs("theirs", "/tmp");
            syscall!(SYS_sethostname, c"there", 5).expect("sethostname");
            words[0].store(1, SeqCst);
            wait_until("it may end", || words[1].load(SeqCst) == 1);
        });
        wait_until("it is there", || words[0].load(SeqCst) == 1 || abi::child::state_of(child.pid()) == Some('Z'));
        let pidfd = syscall!(SYS_pidfd_open, child.pid(), 0).expect("pidfd_open");
        // Rule N11: all are checked before any is entered.
        spawn(|| {
            assert_errno!(syscall!(SYS_setns, pidfd, 0), EINVAL);
            assert_errno!(syscall!(SYS_setns, pidfd, libc::CLONE_NEWNS | libc::CLONE_VM), EINVAL);
            let here = std::fs::read_link("/proc/self/ns/uts").expect("readlink");
            // The own user namespace cannot be entered again, so nothing is.
            assert_errno!(syscall!(SYS_setns, pidfd, libc::CLONE_NEWUTS | libc::CLONE_NEWUSER), EINVAL);
            assert_eq!(std::fs::read_link("/proc/self/ns/uts").expect("readlink"), here);
            syscall!(SYS_setns, pidfd, libc::CLONE_NEWNS | libc::CLONE_NEWUTS).expect("both");
            assert_eq!(top_at("/tmp").source, "theirs");
            assert_ne!(std::fs::read_link("/proc/self/ns/uts").expect("readlink"), here);
        })
        .join();
        words[1].store(1, SeqCst);
        child.join();
    });
}

#[test]
fn namespaces_hold_no_loops() {
    in_mount_namespace(|| {
        // Newer kernels draw namespace numbers per processor; on one processor the later namespace is the younger one.
        syscall!(SYS_sched_setaffinity, 0, 8, [1u64].as_ptr()).expect("sched_setaffinity");
        syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
        touch("handle");
        let older = File::open("/proc/self/ns/mnt").expect("open");
        // Rule N14: neither one's own nor an older namespace.
        assert_errno!(bind("/proc/self/ns/mnt", "/tmp/handle"), EINVAL);
        // A detached copy can be made of it (rule A2), but is attached nowhere (rule V1).
        let tree = open_tree("/proc/self/ns/mnt", CLONE).expect("open_tree");
        assert_errno!(attach(&tree, "/tmp/handle"), ELOOP);
        spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
            assert_errno!(bind(&abi::mount_api::path_of(&older.into()), "/tmp/handle"), EINVAL);
            assert!(!is_mounted("/tmp/handle"));
        })
        .join();
    });
}
