//! The host's own tree, shared throughout as systemd makes it, and `unshare --propagation` in its forms.

use abi::mountinfo::{at, is_mounted};
use abi::world::{bind, make, mkdir, mkdirs, move_mount, new_tmpfs, rbind, tmpfs, umount};
use abi::{assert_errno, spawn};
use libc::{MNT_DETACH, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE};
use shared_subtrees::{container, on_host, unshare, view};

#[test]
fn every_new_mount_of_a_shared_host_is_shared() {
    on_host(|| {
        new_tmpfs("/tmp/run");
        new_tmpfs("/tmp/run/user");
        assert_eq!(view("/tmp"), ["run run shared:A", "run/user user shared:B"]);
    });
}

#[test]
fn a_bind_of_a_shared_host_is_a_peer() {
    on_host(|| {
        new_tmpfs("/tmp/data");
        mkdirs(&["srv", "data/disk"]);
        bind("/tmp/data", "/tmp/srv").expect("bind");
        tmpfs("disk", "/tmp/srv/disk");
        assert_eq!(view("/tmp"), ["data data shared:A", "data/disk disk shared:B", "srv data shared:A", "srv/disk disk shared:B"]);
    });
}

#[test]
fn a_private_island_keeps_its_mounts() {
    on_host(|| {
        new_tmpfs("/tmp/island");
        make("/tmp/island", MS_PRIVATE).expect("private");
        mkdirs(&["island/d", "view"]);
        bind("/tmp/island", "/tmp/view").expect("bind");
        tmpfs("inner", "/tmp/island/d");
        assert_eq!(view("/tmp"), ["island island", "island/d inner", "view island shared:A"]);
    });
}

#[test]
fn an_automounter_moves_its_mount_from_a_private_place() {
    on_host(|| {
        new_tmpfs("/tmp/staging");
        make("/tmp/staging", MS_PRIVATE).expect("private");
        new_tmpfs("/tmp/staging/disk");
        mkdir("media");
        move_mount("/tmp/staging/disk", "/tmp/media").expect("move");
        assert_eq!(view("/tmp"), ["media disk shared:A", "staging staging"]);
    });
}

#[test]
fn a_mount_cannot_move_out_of_a_shared_tree() {
    on_host(|| {
        new_tmpfs("/tmp/run");
        mkdir("elsewhere");
        assert_errno!(move_mount("/tmp/run", "/tmp/elsewhere"), EINVAL);
        assert_eq!(view("/tmp"), ["run run shared:A"]);
    });
}

#[test]
fn unshare_unchanged_stays_a_peer() {
    on_host(|| {
        mkdirs(&["theirs", "ours"]);
        container(0, || tmpfs("theirs", "/tmp/theirs"), || tmpfs("ours", "/tmp/ours"), || assert!(is_mounted("/tmp/ours")));
        assert_eq!(view("/tmp"), ["ours ours shared:A", "theirs theirs shared:B"]);
    });
}

#[test]
fn unshare_private_is_cut_off() {
    on_host(|| {
        mkdirs(&["theirs", "ours"]);
        let last = || assert_eq!(view("/tmp"), ["theirs theirs"]);
        container(MS_PRIVATE, || tmpfs("theirs", "/tmp/theirs"), || tmpfs("ours", "/tmp/ours"), last);
        assert_eq!(view("/tmp"), ["ours ours shared:A"]);
    });
}

#[test]
fn unshare_slave_listens_only() {
    on_host(|| {
        mkdirs(&["theirs", "ours"]);
        let last = || assert_eq!(view("/tmp"), ["ours ours master:A", "theirs theirs"]);
        container(MS_SLAVE, || tmpfs("theirs", "/tmp/theirs"), || tmpfs("ours", "/tmp/ours"), last);
        assert_eq!(view("/tmp"), ["ours ours shared:A"]);
    });
}

#[test]
fn unshare_shared_from_a_private_host_founds_groups_of_its_own() {
    abi::in_mount_namespace(|| {
        mkdirs(&["theirs", "ours"]);
        let first = || {
            tmpfs("theirs", "/tmp/theirs");
            assert_eq!(view("/tmp"), ["theirs theirs shared:A"]);
        };
        container(MS_SHARED, first, || tmpfs("ours", "/tmp/ours"), || assert!(!is_mounted("/tmp/ours")));
        assert_eq!(view("/tmp"), ["ours ours"]);
    });
}

#[test]
fn a_slave_that_is_shared_passes_on() {
    on_host(|| {
        new_tmpfs("/tmp/run");
        mkdirs(&["run/disk", "copy"]);
        let first = || {
            make("/tmp/run", MS_SHARED).expect("shared");
            bind("/tmp/run", "/tmp/copy").expect("bind");
        };
        let last = || {
            let expected = [
                "copy run shared:A master:B",
                "copy/disk disk shared:C master:D",
                "run run shared:A master:B",
                "run/disk disk shared:C master:D",
            ];
            assert_eq!(view("/tmp"), expected);
        };
        container(MS_SLAVE, first, || tmpfs("disk", "/tmp/run/disk"), last);
        assert_eq!(view("/tmp"), ["run run shared:A", "run/disk disk shared:B"]);
    });
}

#[test]
fn an_unmount_reaches_slaves_but_does_not_come_back() {
    on_host(|| {
        mkdirs(&["a", "b"]);
        tmpfs("a", "/tmp/a");
        tmpfs("b", "/tmp/b");
        container(
            MS_SLAVE,
            || assert_eq!(umount("/tmp/a", 0), Ok(0)),
            || assert_eq!(umount("/tmp/b", 0), Ok(0)),
            || assert!(view("/tmp").is_empty()),
        );
        assert_eq!(view("/tmp"), ["a a shared:A"]);
    });
}

#[test]
fn a_namespace_of_a_namespace_listens_to_the_first() {
    on_host(|| {
        mkdir("disk");
        container(
            MS_SLAVE,
            || {},
            || tmpfs("disk", "/tmp/disk"),
            || {
                spawn(|| {
                    unshare(MS_SLAVE);
                    assert_eq!(view("/tmp"), ["disk disk master:A"]);
                })
                .join();
            },
        );
    });
}

#[test]
fn a_recursive_private_change_leaves_the_host_alone() {
    on_host(|| {
        new_tmpfs("/tmp/run");
        new_tmpfs("/tmp/run/inner");
        spawn(|| {
            unshare(0);
            make("/tmp/run", MS_PRIVATE | MS_REC).expect("rprivate");
            assert_eq!(view("/tmp"), ["run run", "run/inner inner"]);
            umount("/tmp/run", MNT_DETACH).expect("its own");
        })
        .join();
        // /tmp is still a peer of the host's, so the unmount travels; but it spares a mount on which something stays mounted.
        assert_eq!(view("/tmp"), ["run run shared:A", "run/inner inner shared:B"]);
    });
}

#[test]
fn an_unbindable_stage_is_left_out_of_recursive_binds() {
    on_host(|| {
        new_tmpfs("/tmp/base");
        new_tmpfs("/tmp/base/stage");
        new_tmpfs("/tmp/base/disk");
        make("/tmp/base/stage", MS_UNBINDABLE).expect("unbindable");
        mkdir("copy");
        rbind("/tmp/base", "/tmp/copy").expect("rbind");
        assert_errno!(bind("/tmp/base/stage", "/tmp/copy/disk"), EINVAL);
        let expected = [
            "base base shared:A",
            "base/disk disk shared:B",
            "base/stage stage unbindable",
            "copy base shared:A",
            "copy/disk disk shared:B",
        ];
        assert_eq!(view("/tmp"), expected);
    });
}

#[test]
fn a_second_mount_on_a_shared_place_covers_it_everywhere() {
    on_host(|| {
        new_tmpfs("/tmp/run");
        mkdirs(&["run/d", "copy"]);
        bind("/tmp/run", "/tmp/copy").expect("bind");
        tmpfs("one", "/tmp/run/d");
        tmpfs("two", "/tmp/copy/d");
        let expected = [
            "copy run shared:A",
            "copy/d one shared:B",
            "copy/d two shared:C",
            "run run shared:A",
            "run/d one shared:B",
            "run/d two shared:C",
        ];
        assert_eq!(view("/tmp"), expected);
        umount("/tmp/run/d", 0).expect("umount");
        assert_eq!(at("/tmp/copy/d").source, "one");
    });
}
