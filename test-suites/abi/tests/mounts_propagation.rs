//! Propagation types and what they carry: peer groups, slaves, unbindable mounts, mounts and unmounts that travel.
//! Rule numbers are those of the specification of mount semantics.

use abi::mountinfo::{MountInfo, all_at, at, is_mounted, points_below, table, top_at};
use abi::world::{bind, make, mkdir, mkdirs, mount, move_mount, names, new_tmpfs, rbind, tmpfs, touch, umount};
use abi::{assert_errno, in_mount_namespace};
use libc::{MNT_DETACH, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE};

/// A shared tmpfs on a new directory.
fn new_shared(path: &str) {
    new_tmpfs(path);
    make(path, MS_SHARED).expect("shared");
}

/// A peer of `path` on a new directory.
fn new_peer(path: &str, peer: &str) {
    mkdir(peer);
    bind(path, peer).expect("bind");
}

/// A slave of `path` on a new directory.
fn new_slave(path: &str, slave: &str) {
    new_peer(path, slave);
    make(slave, MS_SLAVE).expect("slave");
}

/// The peer group of the mount at `path`, which must be shared.
#[track_caller]
fn group(path: &str) -> u32 {
    at(path).shared.unwrap_or_else(|| panic!("{path} is not shared"))
}

fn is_private(mount: &MountInfo) -> bool {
    mount.shared.is_none() && mount.master.is_none() && !mount.unbindable
}

#[test]
fn new_mounts_are_private_on_private_and_shared_on_shared() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/p");
        assert!(is_private(&at("/tmp/p")));
        new_shared("/tmp/s");
        new_tmpfs("/tmp/s/inner");
        assert_ne!(group("/tmp/s/inner"), group("/tmp/s")); // Rule F11, P5
    });
}

#[test]
fn types_change_as_the_table_says() {
    in_mount_namespace(|| {
        new_shared("/tmp/d");
        let id = group("/tmp/d");
        make("/tmp/d", MS_SHARED).expect("again");
        assert_eq!(group("/tmp/d"), id); // Rule C3: unchanged
        make("/tmp/d", MS_SLAVE).expect("slave");
        assert!(is_private(&at("/tmp/d")), "the sole member of a group becomes private");
        make("/tmp/d", MS_UNBINDABLE).expect("unbindable");
        assert!(at("/tmp/d").unbindable);
        make("/tmp/d", MS_SLAVE).expect("slave");
        assert!(at("/tmp/d").unbindable, "still unbindable");
        make("/tmp/d", MS_SHARED).expect("shared");
        assert!(at("/tmp/d").shared.is_some() && !at("/tmp/d").unbindable);
        make("/tmp/d", MS_PRIVATE).expect("private");
        assert!(is_private(&at("/tmp/d")));
    });
}

#[test]
fn type_changes_take_one_type_and_nothing_else() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdir("d/inner");
        assert_errno!(make("/tmp/d", MS_SHARED | MS_PRIVATE), EINVAL); // Rule C1
        assert_errno!(make("/tmp/d", MS_SHARED | libc::MS_RDONLY), EINVAL);
        assert_errno!(make("/tmp/d", MS_SLAVE | libc::MS_MOVE), EINVAL);
        assert_errno!(make("/tmp/d/inner", MS_SHARED), EINVAL);
        assert_errno!(make("/tmp/missing", MS_SHARED), ENOENT);
        assert_eq!(mount("ignored", "/tmp/d", "ignored", MS_SHARED | libc::MS_SILENT, "ignored"), Ok(0));
        assert!(at("/tmp/d").shared.is_some());
    });
}

#[test]
fn a_bind_of_a_shared_mount_joins_its_group() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        new_peer("/tmp/a", "/tmp/b");
        assert_eq!(group("/tmp/a"), group("/tmp/b")); // Rule B5
        make("/tmp/b", MS_SLAVE).expect("slave");
        assert_eq!((at("/tmp/b").shared, at("/tmp/b").master), (None, Some(group("/tmp/a"))));
        make("/tmp/b", MS_SHARED).expect("shared");
        let b = at("/tmp/b");
        assert_eq!(b.master, Some(group("/tmp/a")));
        assert!(b.shared.is_some() && b.shared != b.master); // Rule O10
    });
}

#[test]
fn a_mount_reaches_all_peers_and_so_does_its_umount() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdir("a/d");
        new_peer("/tmp/a", "/tmp/b");
        new_peer("/tmp/b", "/tmp/c");
        tmpfs("new", "/tmp/a/d");
        touch("a/d/file");
        for path in ["/tmp/b/d", "/tmp/c/d"] {
            assert_eq!(names(path), ["file"]); // Rule P1
            assert_eq!(group(path), group("/tmp/a/d")); // Rule P4
        }
        umount("/tmp/c/d", 0).expect("umount");
        assert!(!is_mounted("/tmp/a/d") && !is_mounted("/tmp/b/d")); // Rule U10
    });
}

#[test]
fn slaves_receive_and_do_not_send() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdirs(&["a/d", "a/e"]);
        new_slave("/tmp/a", "/tmp/s");
        tmpfs("down", "/tmp/a/d");
        assert_eq!(at("/tmp/s/d").master, Some(group("/tmp/a/d"))); // Rule P4
        assert_eq!(at("/tmp/s/d").shared, None);
        tmpfs("up", "/tmp/s/e");
        assert!(!is_mounted("/tmp/a/e"));
        assert!(is_private(&at("/tmp/s/e")));
        umount("/tmp/s/d", 0).expect("umount");
        assert!(is_mounted("/tmp/a/d"));
        umount("/tmp/a/d", 0).expect("umount");
    });
}

#[test]
fn shared_slaves_hand_events_on_to_their_own_peers() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdir("a/d");
        new_slave("/tmp/a", "/tmp/s");
        make("/tmp/s", MS_SHARED).expect("shared");
        new_peer("/tmp/s", "/tmp/t");
        new_slave("/tmp/t", "/tmp/u");
        tmpfs("x", "/tmp/a/d");
        let (s, t, u) = (at("/tmp/s/d"), at("/tmp/t/d"), at("/tmp/u/d"));
        assert_eq!((s.master, t.master), (Some(group("/tmp/a/d")), Some(group("/tmp/a/d")))); // Rule P4
        assert!(s.shared.is_some() && s.shared == t.shared);
        assert_eq!((u.shared, u.master), (None, s.shared));
        umount("/tmp/s/d", 0).expect("umount");
        assert!(is_mounted("/tmp/a/d") && !is_mounted("/tmp/t/d") && !is_mounted("/tmp/u/d"));
    });
}

#[test]
fn private_mounts_neither_send_nor_receive() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdirs(&["a/d", "a/e"]);
        new_peer("/tmp/a", "/tmp/p");
        make("/tmp/p", MS_PRIVATE).expect("private");
        tmpfs("x", "/tmp/a/d");
        tmpfs("y", "/tmp/p/e");
        assert!(!is_mounted("/tmp/p/d") && !is_mounted("/tmp/a/e"));
    });
}

#[test]
fn a_receiver_without_the_directory_in_its_tree_is_skipped() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdirs(&["a/in", "a/in/d", "a/out"]);
        mkdir("part");
        bind("/tmp/a/in", "/tmp/part").expect("bind");
        assert_eq!(group("/tmp/part"), group("/tmp/a"));
        tmpfs("x", "/tmp/a/out");
        tmpfs("y", "/tmp/a/in/d");
        assert_eq!(points_below("/tmp/part"), ["/tmp/part/d"]); // Rule P2
    });
}

#[test]
fn a_shared_tree_receives_a_recursive_bind_whole() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdir("a/d");
        new_peer("/tmp/a", "/tmp/b");
        new_tmpfs("/tmp/tree");
        new_tmpfs("/tmp/tree/one");
        new_tmpfs("/tmp/tree/one/two");
        rbind("/tmp/tree", "/tmp/a/d").expect("rbind");
        assert_eq!(points_below("/tmp/b"), ["/tmp/b/d", "/tmp/b/d/one", "/tmp/b/d/one/two"]);
        for inner in ["d", "d/one", "d/one/two"] {
            assert_eq!(group(&format!("/tmp/a/{inner}")), group(&format!("/tmp/b/{inner}"))); // Rule P4, P5
        }
        assert!(is_private(&at("/tmp/tree/one")), "the source is not changed"); // Rule B5
    });
}

#[test]
fn binds_combine_the_types_of_source_and_destination() {
    in_mount_namespace(|| {
        new_shared("/tmp/dest");
        mkdirs(&["dest/one", "dest/two", "dest/three"]);
        new_tmpfs("/tmp/private");
        bind("/tmp/private", "/tmp/dest/one").expect("bind");
        assert!(at("/tmp/dest/one").shared.is_some() && is_private(&at("/tmp/private"))); // Rule B5
        new_shared("/tmp/shared");
        bind("/tmp/shared", "/tmp/dest/two").expect("bind");
        assert_eq!(group("/tmp/dest/two"), group("/tmp/shared"));
        new_slave("/tmp/shared", "/tmp/slave");
        bind("/tmp/slave", "/tmp/dest/three").expect("bind");
        let three = at("/tmp/dest/three");
        assert_eq!(three.master, Some(group("/tmp/shared")));
        assert!(three.shared.is_some());
        assert_eq!(at("/tmp/slave").shared, None);
    });
}

#[test]
fn a_moved_mount_keeps_its_type_and_is_shared_on_shared() {
    in_mount_namespace(|| {
        new_shared("/tmp/dest");
        mkdirs(&["dest/d", "plain"]);
        new_peer("/tmp/dest", "/tmp/peer");
        new_tmpfs("/tmp/moved");
        touch("moved/file");
        move_mount("/tmp/moved", "/tmp/dest/d").expect("move");
        assert_eq!(names("/tmp/peer/d"), ["file"]); // Rule V2
        assert_eq!(group("/tmp/peer/d"), group("/tmp/dest/d"));
        new_shared("/tmp/other");
        let id = group("/tmp/other");
        move_mount("/tmp/other", "/tmp/plain").expect("move");
        assert_eq!(group("/tmp/plain"), id);
    });
}

#[test]
fn a_propagated_mount_is_tucked_beneath_what_the_receiver_has() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdir("a/d");
        new_slave("/tmp/a", "/tmp/s");
        tmpfs("own", "/tmp/s/d");
        touch("s/d/own");
        tmpfs("received", "/tmp/a/d");
        assert_eq!(names("s/d"), ["own"]); // Rule P8
        let stack = all_at("/tmp/s/d");
        let (own, received) = match stack[0].source.as_str() {
            "own" => (&stack[0], &stack[1]),
            _ => (&stack[1], &stack[0]),
        };
        assert_eq!((own.parent, received.parent), (received.id, at("/tmp/s").id));
        umount("/tmp/a/d", 0).expect("umount");
        assert_eq!(at("/tmp/s/d").source, "own"); // Rule U11, U13
        assert_eq!(at("/tmp/s/d").parent, at("/tmp/s").id);
    });
}

#[test]
fn umount_spares_receivers_with_children_of_their_own() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdir("a/d");
        new_peer("/tmp/a", "/tmp/b");
        tmpfs("d", "/tmp/a/d");
        mkdir("a/d/inner");
        make("/tmp/b/d", MS_PRIVATE).expect("private");
        tmpfs("child", "/tmp/b/d/inner");
        umount("/tmp/a/d", 0).expect("umount"); // Rule U8, U11
        assert!(!is_mounted("/tmp/a/d"));
        assert!(is_mounted("/tmp/b/d") && is_mounted("/tmp/b/d/inner"));
    });
}

#[test]
fn a_busy_receiver_holds_a_plain_umount_off_but_not_a_lazy_one() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdir("a/d");
        new_peer("/tmp/a", "/tmp/b");
        tmpfs("d", "/tmp/a/d");
        let held = std::fs::File::open("/tmp/b/d").expect("open");
        assert_errno!(umount("/tmp/a/d", 0), EBUSY); // Rule U8
        assert!(is_mounted("/tmp/a/d") && is_mounted("/tmp/b/d"));
        umount("/tmp/a/d", MNT_DETACH).expect("umount");
        assert!(!is_mounted("/tmp/a/d") && !is_mounted("/tmp/b/d"));
        drop(held);
    });
}

#[test]
fn an_umount_takes_whatever_sits_at_the_place() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdir("a/d");
        new_slave("/tmp/a", "/tmp/s");
        tmpfs("sent", "/tmp/a/d");
        umount("/tmp/s/d", 0).expect("umount");
        tmpfs("unrelated", "/tmp/s/d");
        umount("/tmp/a/d", 0).expect("umount");
        assert!(!is_mounted("/tmp/s/d")); // Rule U10: positional
    });
}

#[test]
fn slaves_of_a_leaving_mount_move_to_a_peer_or_up() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        new_peer("/tmp/a", "/tmp/b");
        new_slave("/tmp/b", "/tmp/s");
        let id = group("/tmp/a");
        make("/tmp/b", MS_PRIVATE).expect("private");
        assert_eq!(at("/tmp/s").master, Some(id)); // Rule C5
        make("/tmp/s", MS_SHARED).expect("shared");
        new_slave("/tmp/s", "/tmp/t");
        make("/tmp/s", MS_PRIVATE).expect("private");
        assert_eq!(at("/tmp/t").master, Some(id), "to the group's own master"); // Rule C6
        make("/tmp/a", MS_PRIVATE).expect("private");
        assert!(is_private(&at("/tmp/t")));
    });
}

#[test]
fn making_the_last_peer_a_slave_follows_its_old_master() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        new_slave("/tmp/a", "/tmp/s");
        make("/tmp/s", MS_SHARED).expect("shared");
        make("/tmp/s", MS_SLAVE).expect("slave");
        assert_eq!((at("/tmp/s").shared, at("/tmp/s").master), (None, Some(group("/tmp/a")))); // Rule C3
        make("/tmp/s", MS_SHARED).expect("shared");
        new_peer("/tmp/s", "/tmp/t");
        let former = group("/tmp/s");
        make("/tmp/s", MS_SLAVE).expect("slave");
        assert_eq!(at("/tmp/s").master, Some(former), "with peers: of its former group");
    });
}

#[test]
fn recursive_changes_reach_every_mount_of_the_tree() {
    in_mount_namespace(|| {
        let tree = ["/tmp/d", "/tmp/d/one", "/tmp/d/one/two", "/tmp/d/three"];
        tree.iter().for_each(|path| new_tmpfs(path));
        make("/tmp/d", MS_SHARED | MS_REC).expect("rshared");
        let mut groups: Vec<u32> = tree.iter().map(|path| group(path)).collect();
        groups.sort();
        groups.dedup();
        assert_eq!(groups.len(), 4); // Rule C4
        make("/tmp/d", MS_SLAVE | MS_REC).expect("rslave");
        assert!(tree.iter().all(|path| is_private(&at(path))), "sole members become private");
        make("/tmp/d", MS_UNBINDABLE | MS_REC).expect("runbindable");
        assert!(tree.iter().all(|path| at(path).unbindable));
        make("/tmp/d/one", MS_PRIVATE).expect("private");
        assert!(is_private(&at("/tmp/d/one")) && at("/tmp/d/one/two").unbindable);
    });
}

#[test]
fn a_self_bind_on_shared_tucks_the_second_time() {
    in_mount_namespace(|| {
        new_shared("/tmp/d");
        let before = table().len();
        bind("/tmp/d", "/tmp/d").expect("bind");
        assert_eq!(table().len(), before + 1); // Rule B7
        bind("/tmp/d", "/tmp/d").expect("bind");
        assert_eq!(table().len(), before + 3, "the copy for the lower peer is tucked");
        let ids = all_at("/tmp/d");
        assert!(ids.iter().all(|mount| mount.shared == ids[0].shared));
        umount("/tmp/d", MNT_DETACH).expect("umount");
        assert!(is_mounted("/tmp/d"));
    });
}

#[test]
fn a_lazy_umount_of_a_tree_removes_counterparts_of_its_submounts() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/top");
        new_shared("/tmp/top/a");
        mkdir("top/a/d");
        new_peer("/tmp/top/a", "/tmp/b");
        tmpfs("sub", "/tmp/top/a/d");
        assert!(is_mounted("/tmp/b/d"));
        umount("/tmp/top", MNT_DETACH).expect("umount");
        assert!(!is_mounted("/tmp/b/d")); // Rule U10: /tmp/top/a is shared though its parent is private
        assert!(is_mounted("/tmp/b"));
    });
}

#[test]
fn chains_of_slaves_pass_mounts_down_every_level() {
    in_mount_namespace(|| {
        new_shared("/tmp/level0");
        mkdir("level0/d");
        for level in 1..6 {
            new_slave(&format!("/tmp/level{}", level - 1), &format!("/tmp/level{level}"));
            make(&format!("/tmp/level{level}"), MS_SHARED).expect("shared");
        }
        tmpfs("x", "/tmp/level2/d");
        let mounted: Vec<bool> = (0..6).map(|level| is_mounted(&format!("/tmp/level{level}/d"))).collect();
        assert_eq!(mounted, [false, false, true, true, true, true]);
        for level in 3..6 {
            assert_eq!(at(&format!("/tmp/level{level}/d")).master, Some(group(&format!("/tmp/level{}/d", level - 1))));
        }
    });
}

#[test]
fn a_failed_bind_leaves_no_trace_anywhere() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        mkdir("a/d");
        touch("file");
        new_peer("/tmp/a", "/tmp/b");
        let before = table();
        assert_errno!(bind("/tmp/file", "/tmp/a/d"), ENOTDIR); // Rule F15
        assert_errno!(mount("x", "/tmp/a/d", "tmpfs", 0, "bad"), EINVAL);
        assert_eq!(table(), before);
    });
}

#[test]
fn propagate_from_names_the_nearest_group_in_sight() {
    in_mount_namespace(|| {
        new_shared("/tmp/a");
        new_slave("/tmp/a", "/tmp/b");
        make("/tmp/b", MS_SHARED).expect("shared");
        new_slave("/tmp/b", "/tmp/c");
        mkdir("root");
        make("/tmp/c", MS_SHARED).expect("shared");
        let (a, b) = (group("/tmp/a"), group("/tmp/b"));
        assert_eq!(top_at("/tmp/c").propagate_from, None, "the master itself is in sight");
        // Under a root that holds /tmp/a and /tmp/c but not /tmp/b, the master is out of sight.
        tmpfs("root", "/tmp/root");
        mkdirs(&["root/a", "root/c", "root/proc"]);
        bind("/tmp/a", "/tmp/root/a").expect("bind");
        bind("/tmp/c", "/tmp/root/c").expect("bind");
        rbind("/proc", "/tmp/root/proc").expect("bind");
        abi::spawn(|| {
            syscall_chroot();
            let c = at("/c");
            assert_eq!((c.master, c.propagate_from), (Some(b), Some(a))); // Rule W5
        })
        .join();
    });
}

fn syscall_chroot() {
    abi::syscall!(SYS_chroot, c"/tmp/root").expect("chroot");
    std::env::set_current_dir("/").expect("chdir");
}

#[test]
fn a_copy_of_an_existing_mount_onto_many_peers_counts_exactly() {
    in_mount_namespace(|| {
        new_shared("/tmp/p0");
        mkdir("p0/d");
        for peer in 1..10 {
            new_peer("/tmp/p0", &format!("/tmp/p{peer}"));
        }
        let before = table().len();
        tmpfs("x", "/tmp/p4/d");
        assert_eq!(table().len(), before + 10);
        umount("/tmp/p7/d", 0).expect("umount");
        assert_eq!(table().len(), before);
    });
}

#[test]
fn mount_max_bounds_what_propagation_makes() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/p");
        mkdir("p/d");
        bind("/tmp/p/d", "/tmp/p/d").expect("bind");
        make("/tmp/p/d", MS_SHARED).expect("shared");
        let limit: usize = abi::world::read("/proc/sys/fs/mount-max").trim().parse().expect("a number");
        // Each self-bind doubles the peer group, so the room that is left lasts for its logarithm.
        let doublings = (limit - table().len()).ilog2();
        for _ in 0..doublings {
            bind("/tmp/p/d", "/tmp/p/d").expect("below the limit");
        }
        for _ in 0..2 {
            assert_errno!(bind("/tmp/p/d", "/tmp/p/d"), ENOSPC); // Rule O15, P12
        }
        umount("/tmp/p", MNT_DETACH).expect("umount");
        assert!(!is_mounted("/tmp/p/d"));
    });
}
