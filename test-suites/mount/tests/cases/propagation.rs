//! Peer groups: how they come about, how their numbers are given, and how mounts and unmounts travel inside them.

use abi::assert_errno;
use abi::guard::{Mounted, bind_of_types, bind_on, tmpfs_of_type, tmpfs_on};
use abi::mountinfo::{all_at, at, is_mounted};
use abi::world::{bind, make, mkdir, mkdirs, mount, mount_with_nulls, umount};
use libc::{MNT_DETACH, MS_PRIVATE, MS_SHARED};
use mount::{case, case_alone};

/// The peer group of the only mount at `path`, which must be shared.
#[track_caller]
fn group(path: &str) -> u32 {
    let group = at(path).shared.unwrap_or_else(|| panic!("{path} is not shared"));
    assert_ne!(group, 0);
    group
}

/// Asserts that the only mounts at these paths are in one peer group.
#[track_caller]
fn assert_peers(paths: &[&str]) {
    let groups: Vec<_> = paths.iter().map(|path| group(path)).collect();
    assert!(groups.iter().all(|other| *other == groups[0]), "{paths:?}: {groups:?}");
}

#[test]
fn propagate_to_same_mountpoint_stacks_mounts() {
    case(|| {
        mkdirs(&["d", "d/c"]);
        let _d = bind_on("/tmp/d", "/tmp/d");
        // Left to the detach of /tmp/d: on Linux 6.18 the unmount at the peer takes this one along too.
        bind_on("/tmp/d/c", "/tmp/d/c").forget();
        make("/tmp/d", MS_SHARED).expect("shared");
        let present = at("/tmp/d/c").id;
        let _d2 = bind_on("/tmp/d", "/tmp/d2");
        let _d2_c = bind_on("/tmp/d2/c", "/tmp/d2/c");
        let found = all_at("/tmp/d/c");
        assert_eq!(found.len(), 2, "{found:?}");
        assert_ne!(found[0].parent, found[1].parent);
        // The propagated mount is tucked under the one that was there. Rule P9.
        let [tucked, covering] = if found[0].parent == at("/tmp/d").id { [0, 1] } else { [1, 0] };
        assert_eq!((found[covering].id, found[covering].parent), (present, found[tucked].id));
    });
}

#[test]
fn umount_reparents_covered_mounts() {
    case(|| {
        let _d = tmpfs_of_type("/tmp/d", MS_SHARED);
        tmpfs_on("/tmp/d/c").forget();
        let _c = Mounted::at("/tmp/d/c", MNT_DETACH);
        let covering = at("/tmp/d/c").id;
        let _d2 = bind_on("/tmp/d", "/tmp/d2");
        mount("", "/tmp/d2/c", "tmpfs", 0, "").expect("mount");
        assert_eq!(all_at("/tmp/d/c").len(), 2);
        umount("/tmp/d2/c", MNT_DETACH).expect("detach");
        assert_ne!(group("/tmp/d/c"), 0);
        assert_eq!((at("/tmp/d/c").id, at("/tmp/d/c").parent), (covering, at("/tmp/d").id));
        assert!(!is_mounted("/tmp/d2/c"));
    });
}

#[test]
fn make_shared() {
    case(|| {
        let _d = tmpfs_of_type("/tmp/d", MS_SHARED);
        assert_ne!(group("/tmp/d"), 0);
    });
}

#[test]
fn make_multiple_shared() {
    case(|| {
        let _d1 = tmpfs_of_type("/tmp/d1", MS_SHARED);
        let _d2 = tmpfs_of_type("/tmp/d2", MS_SHARED);
        assert_ne!(group("/tmp/d1"), group("/tmp/d2"));
    });
}

#[test]
fn reuse_group_ids() {
    case_alone(|| {
        let _d1 = tmpfs_of_type("/tmp/d1", MS_SHARED);
        mkdir("d2");
        let number = || {
            mount("", "/tmp/d2", "tmpfs", 0, "").expect("mount");
            make("/tmp/d2", MS_SHARED).expect("shared");
            let number = group("/tmp/d2");
            umount("/tmp/d2", 0).expect("umount");
            number
        };
        let first = number();
        assert_ne!(first, group("/tmp/d1"));
        assert_eq!(number(), first, "the lowest free number, free at once after umount");
    });
}

#[test]
fn inerherit_propagation() {
    case(|| {
        let _d = tmpfs_of_type("/tmp/d", MS_SHARED);
        let _sub = tmpfs_on("/tmp/d/sub");
        assert_ne!(group("/tmp/d/sub"), group("/tmp/d"));
    });
}

#[test]
fn make_private() {
    case(|| {
        let _d = tmpfs_of_type("/tmp/d", MS_SHARED);
        make("/tmp/d", MS_PRIVATE).expect("private");
        assert_eq!(at("/tmp/d").shared, None);
    });
}

#[test]
fn arguments_are_ignored() {
    case(|| {
        mkdir("d");
        let _d = bind_on("/tmp/d", "/tmp/d");
        mount_with_nulls(None, "/tmp/d", None, MS_SHARED, None).expect("shared");
        assert_ne!(group("/tmp/d"), 0);
    });
}

#[test]
fn multiple_propagation_flags_fails() {
    case(|| {
        let _d = tmpfs_on("/tmp/d");
        assert_errno!(make("/tmp/d", MS_SHARED | MS_PRIVATE), EINVAL);
    });
}

#[test]
fn set_mount_propagation_of_stacked_mounts() {
    case(|| {
        let _below = tmpfs_on("/tmp/d");
        let _top = tmpfs_of_type("/tmp/d", MS_SHARED);
        let [bottom, top] = all_at("/tmp/d").try_into().expect("two mounts");
        assert_eq!(bottom.shared, None);
        assert!(top.shared.is_some_and(|number| number != 0));
        assert_eq!(top.parent, bottom.id);
    });
}

#[test]
fn make_peer() {
    case(|| {
        let _d1 = tmpfs_of_type("/tmp/d1", MS_SHARED);
        let _d2 = bind_on("/tmp/d1", "/tmp/d2");
        assert_peers(&["/tmp/d1", "/tmp/d2"]);
    });
}

#[test]
fn propagate_mount_event() {
    case(|| {
        let _d1 = tmpfs_of_type("/tmp/d1", MS_SHARED);
        let _d2 = bind_on("/tmp/d1", "/tmp/d2");
        tmpfs_on("/tmp/d1/c").forget();
        let _c = Mounted::at("/tmp/d1/c", MNT_DETACH);
        assert_peers(&["/tmp/d1", "/tmp/d2"]);
        assert_peers(&["/tmp/d1/c", "/tmp/d2/c"]);
    });
}

#[test]
fn propagate_umount_event() {
    case(|| {
        let _d1 = tmpfs_of_type("/tmp/d1", MS_SHARED);
        let _d2 = bind_on("/tmp/d1", "/tmp/d2");
        tmpfs_on("/tmp/d1/c").forget();
        assert!(is_mounted("/tmp/d2/c"));
        umount("/tmp/d1/c", MNT_DETACH).expect("detach");
        assert!(!is_mounted("/tmp/d1/c"));
        assert!(!is_mounted("/tmp/d2/c"));
    });
}

#[test]
fn propagate_child_umount_event() {
    case(|| {
        tmpfs_on("/tmp/d1").forget();
        tmpfs_of_type("/tmp/d1/c", MS_SHARED).forget();
        bind_on("/tmp/d1/c", "/tmp/d2").forget();
        mount("", "/tmp/d1/c", "tmpfs", 0, "").expect("on top, and on the peer's too");
        assert_eq!(all_at("/tmp/d2").len(), 2);
        umount("/tmp/d1", MNT_DETACH).expect("detach");
        assert_eq!(all_at("/tmp/d2").len(), 1);
        umount("/tmp/d2", MNT_DETACH).expect("detach");
        assert!(!is_mounted("/tmp/d2"));
    });
}

#[test]
fn umount_ignores_peers_with_children() {
    case(|| {
        let _d1 = tmpfs_of_type("/tmp/d1", MS_SHARED);
        let _d2 = bind_on("/tmp/d1", "/tmp/d2");
        tmpfs_on("/tmp/d1/c").forget();
        let _g = {
            tmpfs_on("/tmp/d1/c/g").forget();
            Mounted::at("/tmp/d1/c/g", MNT_DETACH)
        };
        make("/tmp/d2/c", MS_PRIVATE).expect("private");
        umount("/tmp/d2/c/g", MNT_DETACH).expect("detach");
        assert!(is_mounted("/tmp/d1/c/g"));
        umount("/tmp/d2/c", MNT_DETACH).expect("detach");
        assert_eq!(all_at("/tmp/d2/c").len(), 0);
        assert_eq!(all_at("/tmp/d1/c").len(), 1);
    });
}

#[test]
fn bind_shared_on_shared() {
    case(|| {
        let _d1 = tmpfs_of_type("/tmp/d1", MS_SHARED);
        let _d2 = bind_on("/tmp/d1", "/tmp/d2");
        let _d3 = tmpfs_of_type("/tmp/d3", MS_SHARED);
        let _d4 = bind_on("/tmp/d3", "/tmp/d4");
        let _d5 = bind_on("/tmp/d4", "/tmp/d1/d5");
        assert_peers(&["/tmp/d1", "/tmp/d2"]);
        assert_peers(&["/tmp/d3", "/tmp/d4", "/tmp/d1/d5", "/tmp/d2/d5"]);
        assert_ne!(group("/tmp/d1"), group("/tmp/d3"));
    });
}

#[test]
fn bind_shared_on_private() {
    case(|| {
        let _d1 = tmpfs_on("/tmp/d1");
        let _d3 = tmpfs_of_type("/tmp/d3", MS_SHARED);
        let _d4 = bind_on("/tmp/d3", "/tmp/d4");
        let _d2 = bind_on("/tmp/d3", "/tmp/d1/d2");
        assert_eq!(at("/tmp/d1").shared, None);
        assert_peers(&["/tmp/d1/d2", "/tmp/d3", "/tmp/d4"]);
    });
}

#[test]
fn bind_peer_groups_with_children() {
    case(|| {
        let _d1 = tmpfs_of_type("/tmp/d1", MS_SHARED);
        let _d2 = tmpfs_of_type("/tmp/d2", MS_SHARED);
        let _d3 = tmpfs_on("/tmp/d1/d3");
        let _d4 = tmpfs_on("/tmp/d1/d4");
        bind("/tmp/d1", "/tmp/d2").expect("bind");
        let _over_d2 = Mounted::at("/tmp/d2", MNT_DETACH);
        let groups = [group("/tmp/d1"), group("/tmp/d1/d3"), group("/tmp/d1/d4")];
        assert!(groups[0] != groups[1] && groups[1] != groups[2] && groups[0] != groups[2], "{groups:?}");
        assert!(!is_mounted("/tmp/d2/d3") && !is_mounted("/tmp/d2/d4"));
    });
}

#[test]
fn bind_parent_to_child() {
    case(|| {
        mkdirs(&["d1", "d1/c"]);
        let _d1 = bind_of_types("/tmp/d1", "/tmp/d1", &[MS_SHARED]);
        let _d2 = bind_on("/tmp/d1", "/tmp/d2");
        let _c = bind_on("/tmp/d1", "/tmp/d1/c");
        assert_peers(&["/tmp/d1", "/tmp/d2", "/tmp/d1/c"]);
    });
}

#[test]
fn set_propagation_recursive() {
    case(|| {
        let places = ["/tmp/a", "/tmp/a/b", "/tmp/a/b/c", "/tmp/a/b/c/d"];
        let _mounts = Mounted::at("/tmp/a", MNT_DETACH);
        places.iter().for_each(|place| tmpfs_on(place).forget());
        make("/tmp/a", MS_SHARED | libc::MS_REC).expect("rshared");
        places.iter().for_each(|place| assert_ne!(group(place), 0));
    });
}
