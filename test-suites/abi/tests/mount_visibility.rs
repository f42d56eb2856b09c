//! A new proc or sysfs in a user namespace may show no more than what can be seen there already (rule N12).

use std::fs::File;
use std::io::Write;

use abi::mount_api::{CREATE, command, fsmount, fsopen};
use abi::world::{bind, exists, mkdir, mount, tmpfs, umount};
use abi::{Outcome, assert_errno, in_mount_namespace, spawn, syscall};
use libc::{MNT_DETACH, MS_BIND, MS_NOATIME, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REMOUNT};

/// Where the new instances go.
const PLACE: &str = "/tmp/new";

/// A private mount namespace in which `/proc` and `/sys` are one plain instance each, with nothing mounted in them; `prepare` runs there.
/// Then `body` runs as root of user, pid, network and mount namespaces of its own.
fn after(prepare: impl FnOnce(), body: impl FnOnce()) {
    in_mount_namespace(|| {
        mkdir(PLACE);
        // By this the maps can be written, whatever becomes of /proc.
        let own_proc = File::open("/proc").expect("open");
        for (place, kind) in [("/proc", "proc"), ("/sys", "sysfs")] {
            take_away(place);
            mount(kind, place, kind, 0, "").unwrap_or_else(|error| panic!("{kind}: {error:?}"));
        }
        prepare();
        spawn(|| {
            let kinds = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET;
            syscall!(SYS_unshare, kinds).expect("unshare");
            let map = rustix::fs::openat(&own_proc, "self/uid_map", rustix::fs::OFlags::WRONLY, rustix::fs::Mode::empty());
            File::from(map.expect("open the map")).write_all(b"0 0 1").expect("write the map");
            // The first process of the new pid namespace.
            spawn(body).join();
        })
        .join();
    });
}

/// Unmounts whatever is stacked on `place`.
fn take_away(place: &str) {
    while umount(place, MNT_DETACH).is_ok() {}
}

fn mount_new(kind: &str, flags: u64) -> Outcome {
    mount("new", PLACE, kind, flags, "")
}

#[test]
fn what_is_in_full_sight_may_be_mounted_again() {
    after(
        || {},
        || {
            for kind in ["proc", "sysfs"] {
                mount_new(kind, 0).unwrap_or_else(|error| panic!("{kind}: {error:?}"));
                umount(PLACE, 0).expect("umount");
                let context = fsopen(kind).expect("fsopen");
                command(&context, CREATE).expect("create");
                fsmount(&context, 0).unwrap_or_else(|error| panic!("{kind}: {error:?}"));
            }
        },
    );
}

#[test]
fn what_is_not_there_may_not_be_mounted() {
    after(
        || take_away("/proc"),
        || {
            assert!(!exists("/proc/self"));
            assert_errno!(mount_new("proc", 0), EPERM);
            let context = fsopen("proc").expect("fsopen");
            command(&context, CREATE).expect("create");
            assert_errno!(fsmount(&context, 0), EPERM);
            mount_new("sysfs", 0).expect("that is another filesystem");
        },
    );
}

#[test]
fn a_part_alone_does_not_count() {
    let show_a_part = || {
        mkdir("part");
        bind("/proc/sys", "/tmp/part").expect("bind");
        take_away("/proc");
    };
    after(show_a_part, || assert_errno!(mount_new("proc", 0), EPERM));
}

#[test]
fn what_is_covered_in_part_may_not_be_mounted() {
    after(
        || {
            tmpfs("cover", "/proc/sys");
            tmpfs("cover", "/sys/kernel");
        },
        || {
            assert_errno!(mount_new("proc", 0), EPERM);
            assert_errno!(mount_new("sysfs", 0), EPERM);
        },
    );
}

#[test]
fn a_cover_of_ones_own_hides_nothing() {
    after(
        || {},
        || {
            tmpfs("cover", "/proc/sys");
            mount_new("proc", 0).expect("the cover can be taken away");
        },
    );
}

#[test]
fn directories_that_are_always_empty_may_be_covered() {
    after(|| tmpfs("cover", "/sys/fs/cgroup"), || mount_new("sysfs", 0).map(drop).expect("nothing is hidden"));
}

#[test]
fn a_read_only_instance_is_followed_by_read_only_ones() {
    let all = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    after(
        || {
            mount("", "/proc", "", MS_REMOUNT | MS_BIND | MS_RDONLY | all, "").expect("remount");
        },
        || {
            assert_errno!(mount_new("proc", 0), EPERM);
            mount_new("proc", MS_RDONLY).expect("as weak as the first");
            // The lock came along.
            assert_errno!(mount("", PLACE, "", MS_REMOUNT | MS_BIND, ""), EPERM);
            mount("", PLACE, "", MS_REMOUNT | MS_BIND | MS_RDONLY, "").expect("still read-only");
            mount("", PLACE, "", MS_REMOUNT | MS_BIND | MS_RDONLY | all, "").expect("no other flag was locked");
        },
    );
}

#[test]
fn access_times_are_kept_alike() {
    after(
        || {
            mount("", "/proc", "", MS_REMOUNT | MS_BIND | MS_NOATIME, "").expect("remount");
        },
        || {
            assert_errno!(mount_new("proc", 0), EPERM);
            mount_new("proc", MS_NOATIME).expect("alike");
            assert_errno!(mount("", PLACE, "", MS_REMOUNT | MS_BIND | libc::MS_RELATIME, ""), EPERM);
        },
    );
}

#[test]
fn other_filesystems_are_not_asked() {
    after(
        || take_away("/proc"),
        || {
            for kind in ["tmpfs", "ramfs"] {
                mount_new(kind, 0).unwrap_or_else(|error| panic!("{kind}: {error:?}"));
            }
        },
    );
}
