//! Slaves: whom they follow, whom they follow when their master goes, and what reaches them.

use abi::guard::{Mounted, bind_of_types, bind_on, tmpfs_of_type, tmpfs_on};
use abi::mountinfo::{MountInfo, all_at, at, is_mounted, table, top_at};
use abi::world::{bind, make, mkdir, mkdirs, mount, umount};
use libc::{MNT_DETACH, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE};
use mount::case;

/// The group that the mount shares; there must be one.
#[track_caller]
fn shared(mount: &MountInfo) -> Option<u32> {
    assert!(mount.shared.is_some_and(|number| number != 0), "{mount:?}");
    mount.shared
}

/// A shared bind of a new directory on itself.
fn shared_directory(path: &str) -> Mounted {
    mkdir(path);
    bind_of_types(path, path, &[MS_SHARED])
}

#[test]
fn make_slave() {
    case(|| {
        let _d1 = shared_directory("/tmp/d1");
        let _d2 = bind_of_types("/tmp/d1", "/tmp/d2", &[MS_SLAVE]);
        assert_eq!(at("/tmp/d2").master, shared(&at("/tmp/d1")));
        assert_eq!(at("/tmp/d2").shared, None);
    });
}

#[test]
fn make_shared_slave() {
    case(|| {
        let _d1 = shared_directory("/tmp/d1");
        let _d2 = bind_of_types("/tmp/d1", "/tmp/d2", &[MS_SLAVE, MS_SHARED]);
        let d2 = at("/tmp/d2");
        assert_eq!(d2.master, shared(&at("/tmp/d1")));
        assert_ne!(shared(&d2), d2.master);
    });
}

#[test]
fn private_master_unslaves() {
    case(|| {
        let _base = tmpfs_of_type("/tmp/base", MS_PRIVATE);
        let _d1 = shared_directory("/tmp/base/d1");
        let _d2 = bind_of_types("/tmp/base/d1", "/tmp/base/d2", &[MS_SLAVE, MS_SHARED]);
        make("/tmp/base/d1", MS_PRIVATE).expect("private");
        assert_eq!(at("/tmp/base/d1").shared, None);
        assert_eq!(at("/tmp/base/d2").master, None);
        shared(&at("/tmp/base/d2"));
    });
}

#[test]
fn slave_master() {
    case(|| {
        let _d1 = shared_directory("/tmp/d1");
        let _d2 = bind_of_types("/tmp/d1", "/tmp/d2", &[MS_SLAVE, MS_SHARED]);
        let _d3 = bind_of_types("/tmp/d2", "/tmp/d3", &[MS_SLAVE]);
        assert_eq!(at("/tmp/d3").master, shared(&at("/tmp/d2")));
        make("/tmp/d2", MS_PRIVATE).expect("private");
        let d2 = at("/tmp/d2");
        assert_eq!((d2.shared, d2.master), (None, None));
        assert_eq!(at("/tmp/d3").master, shared(&at("/tmp/d1")));
    });
}

#[test]
fn bind_shared_to_slave() {
    case(|| {
        let _source = shared_directory("/tmp/source");
        let _master = shared_directory("/tmp/master");
        let _slave = bind_of_types("/tmp/master", "/tmp/slave", &[MS_SLAVE]);
        bind("/tmp/source", "/tmp/slave").expect("bind");
        let _top = Mounted::at("/tmp/slave", MNT_DETACH);
        let [bottom, top] = all_at("/tmp/slave").try_into().expect("two mounts");
        assert_eq!(top.shared, shared(&at("/tmp/source")));
        assert_eq!(bottom.master, shared(&at("/tmp/master")));
    });
}

#[test]
fn bind_slave_to_shared() {
    case(|| {
        let _source_master = shared_directory("/tmp/source-master");
        let _source = bind_of_types("/tmp/source-master", "/tmp/source", &[MS_SLAVE]);
        let _target = shared_directory("/tmp/target");
        let _peer = bind_on("/tmp/target", "/tmp/peer");
        bind("/tmp/source", "/tmp/target").expect("bind");
        let _top = Mounted::at("/tmp/target", MNT_DETACH);
        let [_, on_target] = all_at("/tmp/target").try_into().expect("two mounts");
        let [_, on_peer] = all_at("/tmp/peer").try_into().expect("two mounts");
        assert_eq!(shared(&on_target), shared(&on_peer));
        assert_eq!(on_target.master, shared(&at("/tmp/source-master")));
        assert_eq!(on_peer.master, on_target.master);
    });
}

#[test]
fn bind_slave_to_slave() {
    case(|| {
        let _source_master = shared_directory("/tmp/source-master");
        let _source = bind_of_types("/tmp/source-master", "/tmp/source", &[MS_SLAVE]);
        let _target_master = shared_directory("/tmp/target-master");
        let _target = bind_of_types("/tmp/target-master", "/tmp/target", &[MS_SLAVE]);
        bind("/tmp/source", "/tmp/target").expect("bind");
        let _top = Mounted::at("/tmp/target", MNT_DETACH);
        let [bottom, top] = all_at("/tmp/target").try_into().expect("two mounts");
        assert_eq!(top.master, at("/tmp/source").master);
        assert_eq!(top.master, shared(&at("/tmp/source-master")));
        assert_eq!(bottom.master, shared(&at("/tmp/target-master")));
    });
}

#[test]
fn slave_propagation_event() {
    case(|| {
        let _master = shared_directory("/tmp/master");
        let _slave = bind_of_types("/tmp/master", "/tmp/slave", &[MS_SLAVE]);
        let _c = tmpfs_on("/tmp/slave/c");
        assert!(is_mounted("/tmp/slave/c"));
        assert!(!is_mounted("/tmp/master/c"));
    });
}

/// The 15 mounts of the large tree: what each is a bind of, and whether it then becomes a slave, and shared.
const LARGE_TREE: [(&str, &str, &[u64]); 14] = [
    ("b", "a", &[]),
    ("c", "a", &[]),
    ("d", "a", &[]),
    ("f", "a", &[MS_SLAVE]),
    ("g", "a", &[MS_SLAVE]),
    ("j", "c", &[MS_SLAVE]),
    ("k", "c", &[MS_SLAVE]),
    ("h", "d", &[MS_SLAVE]),
    ("i", "d", &[MS_SLAVE]),
    ("e", "d", &[MS_SLAVE, MS_SHARED]),
    ("o", "e", &[]),
    ("m", "o", &[MS_SLAVE]),
    ("l", "o", &[MS_SLAVE]),
    ("n", "o", &[MS_SLAVE]),
];

#[test]
fn large_tree_propagation_event() {
    case(|| {
        let place = |name: &str| format!("/tmp/{name}");
        let _a = shared_directory("/tmp/a");
        let _others: Vec<_> = LARGE_TREE.iter().map(|(name, source, kinds)| bind_of_types(&place(source), &place(name), kinds)).collect();
        let before = table().len();
        mount("", "/tmp/a", "tmpfs", 0, "").expect("mount");
        assert_eq!(table().len(), before + 15);
        let top = |name: &str| top_at(&place(name));
        for peer in ["b", "c", "d"] {
            assert_eq!(top(peer).shared, shared(&top("a")), "{peer}");
        }
        for slave in ["e", "f", "g", "h", "i", "j", "k"] {
            assert_eq!(top(slave).master, shared(&top("a")), "{slave}");
        }
        assert_eq!(shared(&top("e")), top("o").shared);
        for slave in ["l", "m", "n"] {
            assert_eq!(top(slave).master, shared(&top("e")), "{slave}");
        }
        umount("/tmp/a", MNT_DETACH).expect("detach");
        assert_eq!(table().len(), before);
    });
}

#[test]
fn set_slave_recursive() {
    case(|| {
        let _a = shared_directory("/tmp/a");
        mkdirs(&["a/b"]);
        let _b = bind_of_types("/tmp/a/b", "/tmp/a/b", &[MS_SHARED]);
        let _a_master = bind_on("/tmp/a", "/tmp/a-master");
        let _b_master = bind_on("/tmp/a/b", "/tmp/b-master");
        make("/tmp/a", MS_SLAVE | MS_REC).expect("rslave");
        assert_eq!(at("/tmp/a").master, shared(&at("/tmp/a-master")));
        assert_eq!(at("/tmp/a/b").master, shared(&at("/tmp/b-master")));
    });
}
