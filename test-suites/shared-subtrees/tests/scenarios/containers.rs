//! Containers: roots that listen to the host, volumes of each propagation, and containers inside containers.

use abi::mountinfo::is_mounted;
use abi::world::{bind, exists, make, mkdir, mkdirs, mount, new_tmpfs, pivot_root, rbind, tmpfs, touch, umount};
use abi::{assert_errno, spawn, syscall};
use libc::{MNT_DETACH, MS_BIND, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SHARED, MS_SLAVE};
use shared_subtrees::{container, on_host, unshare, view};

/// Makes the container's root at `/tmp/root` from a tmpfs, in its own namespace, with a place for a volume.
fn make_root() {
    new_tmpfs("/tmp/root");
    mkdirs(&["/tmp/root/volume", "/tmp/root/old", "/tmp/root/proc"]);
    rbind("/proc", "/tmp/root/proc").expect("proc");
}

/// Goes into the root that [`make_root`] made, and takes the host's away.
fn enter_root() {
    make("/tmp/root", MS_PRIVATE).expect("private");
    std::env::set_current_dir("/tmp/root").expect("chdir");
    pivot_root_in_initramfs();
}

/// The first root filesystem cannot be pivoted away, so the container chroots into a bind of it first where it has to.
fn pivot_root_in_initramfs() {
    if pivot_root(".", "old").is_ok() {
        std::env::set_current_dir("/").expect("chdir");
        umount("/old", MNT_DETACH).expect("detach");
    } else {
        // As runc --no-pivot does.
        syscall!(SYS_mount, c".", c"/", 0usize, libc::MS_MOVE, 0usize).expect("move over the root");
        syscall!(SYS_chroot, c".").expect("chroot");
        std::env::set_current_dir("/").expect("chdir");
    }
}

/// A host directory `/tmp/volume` on a mount of its own, with a place `disk` in it.
fn make_volume() {
    new_tmpfs("/tmp/volume");
    mkdir("/tmp/volume/disk");
}

#[test]
fn a_container_root_replaces_the_hosts() {
    on_host(|| {
        let first = || {
            make_root();
            touch("/tmp/root/here");
            enter_root();
            assert!(exists("/here"));
            assert!(!exists("/tmp/root"));
        };
        container(MS_SLAVE, first, || {}, || {});
        assert!(!is_mounted("/tmp/root"));
    });
}

#[test]
fn a_container_in_its_root_cannot_see_the_hosts_later_mounts() {
    on_host(|| {
        mkdir("disk");
        let first = || {
            make_root();
            enter_root();
        };
        container(MS_SLAVE, first, || tmpfs("disk", "/tmp/disk"), || assert!(!is_mounted("/tmp/disk") && !exists("/tmp/disk")));
    });
}

/// What a container sees at its volume when the host mounts a disk there, for each way to bind the volume.
fn volume_of_type(kind: u64, is_seen: bool) {
    on_host(|| {
        make_volume();
        let first = || {
            make_root();
            bind("/tmp/volume", "/tmp/root/volume").expect("bind");
            make("/tmp/root/volume", kind).expect("the volume's type");
        };
        let last = || {
            assert_eq!(is_mounted("/tmp/root/volume/disk"), is_seen);
            enter_root();
            assert_eq!(is_mounted("/volume/disk"), is_seen);
        };
        container(MS_SLAVE, first, || tmpfs("disk", "/tmp/volume/disk"), last);
    });
}

#[test]
fn a_slave_volume_receives_the_hosts_disk() {
    volume_of_type(MS_SLAVE, true);
}

#[test]
fn a_shared_volume_below_a_slave_root_receives_the_hosts_disk() {
    volume_of_type(MS_SHARED, true);
}

#[test]
fn a_private_volume_does_not_receive_the_hosts_disk() {
    volume_of_type(MS_PRIVATE, false);
}

#[test]
fn a_disk_of_a_slave_volume_stays_in_the_container() {
    on_host(|| {
        make_volume();
        container(MS_SLAVE, || tmpfs("disk", "/tmp/volume/disk"), || assert_eq!(view("/tmp"), ["volume volume shared:A"]), || {});
    });
}

#[test]
fn a_disk_of_an_rshared_volume_reaches_the_host() {
    on_host(|| {
        make_volume();
        let first = || {
            // All but the volume is cut off from the host.
            make("/", MS_SLAVE).expect("slave");
            tmpfs("disk", "/tmp/volume/disk");
            touch("/tmp/volume/disk/file");
        };
        let meanwhile = || {
            assert_eq!(view("/tmp"), ["volume volume shared:A", "volume/disk disk shared:B"]);
            assert!(exists("/tmp/volume/disk/file"));
        };
        container(0, first, meanwhile, || {});
    });
}

#[test]
fn a_bind_of_a_volume_is_not_recursive_by_itself() {
    on_host(|| {
        make_volume();
        tmpfs("disk", "/tmp/volume/disk");
        mkdirs(&["flat", "deep"]);
        bind("/tmp/volume", "/tmp/flat").expect("bind");
        rbind("/tmp/volume", "/tmp/deep").expect("rbind");
        assert!(!is_mounted("/tmp/flat/disk"));
        assert!(is_mounted("/tmp/deep/disk"));
    });
}

#[test]
fn a_read_only_volume_is_writable_on_the_host() {
    on_host(|| {
        make_volume();
        let first = || {
            make_root();
            bind("/tmp/volume", "/tmp/root/volume").expect("bind");
            mount("", "/tmp/root/volume", "", MS_BIND | MS_REMOUNT | MS_RDONLY, "").expect("remount");
            assert_errno!(std::fs::write("/tmp/root/volume/file", ""), EROFS);
        };
        container(MS_SLAVE, first, || touch("/tmp/volume/file"), || assert!(exists("/tmp/root/volume/file")));
    });
}

#[test]
fn the_flags_of_a_volume_do_not_pass_to_what_is_mounted_in_it() {
    on_host(|| {
        make_volume();
        let first = || mount("", "/tmp/volume", "", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID, "").expect("remount");
        let last = || touch("/tmp/volume/disk/file");
        container(MS_SLAVE, || assert_eq!(first(), 0), || tmpfs("disk", "/tmp/volume/disk"), last);
        assert!(exists("/tmp/volume/disk/file"));
    });
}

#[test]
fn a_volume_that_is_a_subdirectory_receives_only_what_lies_in_it() {
    on_host(|| {
        make_volume();
        mkdirs(&["volume/part", "volume/part/disk"]);
        let first = || {
            new_tmpfs("/tmp/root");
            mkdir("/tmp/root/volume");
            bind("/tmp/volume/part", "/tmp/root/volume").expect("bind");
            make("/tmp/root/volume", MS_SLAVE).expect("slave");
        };
        let meanwhile = || {
            tmpfs("outside", "/tmp/volume/disk");
            tmpfs("inside", "/tmp/volume/part/disk");
        };
        let last = || {
            assert!(is_mounted("/tmp/root/volume/disk"));
            assert_eq!(view("/tmp/root"), ["root/volume volume master:A", "root/volume/disk inside master:B"]);
            umount("/tmp/root/volume/disk", 0).expect("its own copy");
            umount("/tmp/root/volume", 0).expect("nothing else came, not even out of sight");
        };
        container(MS_SLAVE, first, meanwhile, last);
    });
}

#[test]
fn two_containers_share_a_volume_through_the_host() {
    on_host(|| {
        make_volume();
        let second = || {
            spawn(|| {
                unshare(0);
                tmpfs("disk", "/tmp/volume/disk");
                touch("/tmp/volume/disk/of-the-second");
            })
            .join();
        };
        container(MS_SLAVE, || {}, second, || assert!(exists("/tmp/volume/disk/of-the-second")));
        assert!(exists("/tmp/volume/disk/of-the-second"));
    });
}

#[test]
fn two_slaves_of_one_volume_do_not_hear_each_other() {
    on_host(|| {
        make_volume();
        let second = || {
            spawn(|| {
                unshare(MS_SLAVE);
                tmpfs("disk", "/tmp/volume/disk");
            })
            .join();
        };
        container(MS_SLAVE, || {}, second, || assert_eq!(view("/tmp"), ["volume volume master:A"]));
    });
}

#[test]
fn the_host_takes_a_disk_out_of_a_container() {
    on_host(|| {
        make_volume();
        tmpfs("disk", "/tmp/volume/disk");
        let first = || assert_eq!(view("/tmp"), ["volume volume master:A", "volume/disk disk master:B"]);
        let last = || assert_eq!(view("/tmp"), ["volume volume master:A"]);
        container(MS_SLAVE, first, || assert_eq!(umount("/tmp/volume/disk", 0), Ok(0)), last);
    });
}

#[test]
fn a_nested_container_receives_through_a_shared_slave() {
    on_host(|| {
        make_volume();
        let last = || {
            make("/", MS_SHARED | MS_REC).expect("shared for the inner container");
            container(
                MS_SLAVE,
                || {},
                || tmpfs("disk", "/tmp/volume/disk"),
                || {
                    assert_eq!(view("/tmp"), ["volume volume master:A", "volume/disk disk master:B"]);
                },
            );
        };
        container(MS_SLAVE, || {}, || {}, last);
        assert_eq!(view("/tmp"), ["volume volume shared:A"], "the middle one is a slave of the host");
    });
}

#[test]
fn a_disk_of_the_host_reaches_the_third_level() {
    on_host(|| {
        make_volume();
        let words = abi::shared_words();
        use std::sync::atomic::Ordering::SeqCst;
        let inner = || {
            spawn(|| {
                unshare(MS_SLAVE);
                words[0].store(1, SeqCst);
                abi::child::wait_until("the disk arrives", || is_mounted("/tmp/volume/disk"));
            })
        };
        let middle = spawn(|| {
            unshare(MS_SLAVE);
            make("/", MS_SHARED | MS_REC).expect("rshared");
            inner().join();
            assert_eq!(view("/tmp"), ["volume volume shared:A master:B", "volume/disk disk shared:C master:D"]);
        });
        abi::child::wait_until("the inner one is up", || words[0].load(SeqCst) == 1);
        tmpfs("disk", "/tmp/volume/disk");
        middle.join();
    });
}

#[test]
fn a_container_without_privileges_receives_but_cannot_reveal() {
    on_host(|| {
        make_volume();
        tmpfs("disk", "/tmp/volume/disk");
        mkdir("other");
        let child = || {
            assert_eq!(view("/tmp"), ["other other master:A", "volume volume master:B", "volume/disk disk master:C"]);
            assert_errno!(umount("/tmp/volume/disk", MNT_DETACH), EINVAL);
            assert_errno!(bind_over_other(), EINVAL);
        };
        abi::user_namespace::in_user_namespace(|| tmpfs("other", "/tmp/other"), child);
        assert_eq!(view("/tmp"), ["other other shared:A", "volume volume shared:B", "volume/disk disk shared:C"]);
    });
}

/// A plain bind would show what the disk covers.
fn bind_over_other() -> abi::Outcome {
    bind("/tmp/volume", "/tmp/other")
}

#[test]
fn a_container_without_privileges_keeps_its_own_mounts_to_itself() {
    on_host(|| {
        make_volume();
        abi::user_namespace::in_user_namespace(
            || {},
            || {
                make("/tmp/volume", MS_SHARED).expect("shared");
                tmpfs("disk", "/tmp/volume/disk");
                assert_eq!(view("/tmp"), ["volume volume shared:A master:B", "volume/disk disk shared:C"]);
            },
        );
        assert_eq!(view("/tmp"), ["volume volume shared:A"]);
    });
}
