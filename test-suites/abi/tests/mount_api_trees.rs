//! open_tree, move_mount and mount_setattr: detached trees, what may be moved where, attributes of whole trees.
//! Rule numbers are those of the specification of mount semantics.

use abi::mount_api::{
    Attributes, BENEATH, CLONE, EMPTY_PATH, HERE, NO_FOLLOW, RECURSIVE, SET_GROUP, attach, created_tmpfs, fsmount, move_mount, open_tree,
    path_of, set_attributes,
};
use abi::mountinfo::{all_at, at, is_mounted, table};
use abi::world::{bind, exists, kernel_release, make, mkdir, mkdirs, mount, names, new_tmpfs, tmpfs, touch, umount};
use abi::{assert_errno, in_mount_namespace, syscall};
use libc::{MNT_DETACH, MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE};

/// `MOUNT_ATTR_RDONLY`, `MOUNT_ATTR_NOSUID`.
const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const ATIME: u64 = 0x70;

#[test]
fn open_tree_checks_flags_then_privilege_then_the_name() {
    in_mount_namespace(|| {
        // Rule A1.
        let known = [0, 8, 11, 12, 15, 19];
        for bit in (0..32).filter(|bit| !known.contains(bit)) {
            assert_errno!(open_tree("missing", 1 << bit), EINVAL);
        }
        assert_errno!(open_tree("/tmp", RECURSIVE), EINVAL);
        assert_errno!(open_tree("missing", CLONE), ENOENT);
        assert_errno!(open_tree("", CLONE), ENOENT);
        assert_errno!(syscall!(SYS_open_tree, HERE, 8usize, CLONE), EFAULT);
        assert_errno!(syscall!(SYS_open_tree, 900, c"x", CLONE), EBADF);
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(open_tree("missing", CLONE), EPERM);
        open_tree("/tmp", 0).expect("a plain open takes no privilege");
        open_tree("", EMPTY_PATH).expect("the working directory");
    });
}

#[test]
fn a_clone_is_detached_until_it_is_attached() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        mkdirs(&["a/m", "b"]);
        tmpfs("m", "/tmp/a/m");
        touch("a/m/file");
        let before = table();
        let tree = open_tree("a", CLONE | RECURSIVE).expect("open_tree");
        assert_eq!(table(), before); // Rule A3
        let inside = path_of(&tree);
        assert_eq!(names(&format!("{inside}/m")), ["file"]);
        // Rule A4.
        assert_errno!(mount("x", &format!("{inside}/m"), "tmpfs", 0, ""), EINVAL);
        assert_errno!(umount(&format!("{inside}/m"), MNT_DETACH), EINVAL);
        assert_errno!(move_mount(&format!("{inside}/m"), "b", 0), EINVAL);
        assert_errno!(mount("", &inside, "", libc::MS_REMOUNT | libc::MS_BIND, ""), EINVAL);
        if kernel_release() < (6, 15) {
            assert_errno!(open_tree(&inside, CLONE | RECURSIVE), EINVAL); // Rule X8
        }
        attach(&tree, "b").expect("attach");
        assert!(is_mounted("/tmp/b") && is_mounted("/tmp/b/m"));
        mkdir("c");
        attach(&tree, "c").expect("now an ordinary mount that moves"); // Rule A5
        assert!(!is_mounted("/tmp/b") && is_mounted("/tmp/c/m"));
        drop(tree);
        assert!(exists("c/m/file"));
    });
}

#[test]
fn what_cannot_be_bound_cannot_be_cloned() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        make("a", MS_UNBINDABLE).expect("unbindable");
        assert_errno!(open_tree("a", CLONE), EINVAL); // Rule A2
        touch("target");
        std::os::unix::fs::symlink("target", "link").expect("symlink");
        let link = open_tree("link", CLONE | NO_FOLLOW).expect("the link itself"); // Rule A5
        assert_errno!(attach(&link, "/tmp/a"), EINVAL);
        touch("other");
        attach(&link, "other").expect("onto a file");
        assert_eq!(std::fs::read_link("other").expect("readlink").to_str(), Some("target"));
    });
}

#[test]
fn unmounts_reach_a_detached_copy_and_mounts_do_not() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        make("a", MS_SHARED).expect("shared");
        mkdirs(&["a/s", "a/k"]);
        tmpfs("s", "/tmp/a/s");
        touch("a/s/file");
        let tree = open_tree("a", CLONE | RECURSIVE).expect("open_tree");
        tmpfs("k", "/tmp/a/k");
        touch("a/k/file");
        umount("a/s", 0).expect("umount");
        assert!(names(&format!("{}/s", path_of(&tree))).is_empty()); // Rule A3
        assert!(names(&format!("{}/k", path_of(&tree))).is_empty());
    });
}

#[test]
fn move_mount_checks_privilege_flags_and_names() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        mkdir("b");
        // Rule A6.
        for bit in [3, 7, 10, 11].into_iter().chain(12..32) {
            assert_errno!(move_mount("missing", "b", 1 << bit), EINVAL);
        }
        assert_errno!(move_mount("missing", "b", SET_GROUP | BENEATH), EINVAL);
        assert_errno!(move_mount("missing", "b", 0), ENOENT);
        assert_errno!(move_mount("a", "missing", 0), ENOENT);
        assert_errno!(move_mount("", "b", 0), ENOENT);
        assert_errno!(syscall!(SYS_move_mount, HERE, 8usize, HERE, c"b", 0), EFAULT);
        assert_errno!(syscall!(SYS_move_mount, 900, c"a", HERE, c"b", 0), EBADF);
        assert_errno!(move_mount("a", "a", 0), ELOOP); // Rule V1
        assert_errno!(move_mount("b", "a", 0), EINVAL);
        std::os::unix::fs::symlink("a", "link").expect("symlink");
        assert_errno!(move_mount("link", "b", 0), EINVAL);
        move_mount("link", "b", 1).expect("followed");
        assert!(is_mounted("/tmp/b"));
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(move_mount("missing", "b", 8), EPERM);
    });
}

#[test]
fn a_mount_joins_the_group_of_another() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        mkdirs(&["a/d", "b", "c"]);
        bind("a/d", "b").expect("bind");
        tmpfs("c", "/tmp/c");
        assert_errno!(move_mount("a", "b", SET_GROUP), EINVAL); // from is in no group
        make("a", MS_SHARED).expect("shared");
        // Rule A8.
        assert_errno!(move_mount("a", "c", SET_GROUP), EINVAL);
        assert_errno!(move_mount("a/d", "b", SET_GROUP), EINVAL);
        assert_errno!(move_mount("a", "/tmp", SET_GROUP), EINVAL);
        move_mount("a", "b", SET_GROUP).expect("set group");
        assert!(at("/tmp/a").shared.is_some());
        assert_eq!(at("/tmp/a").shared, at("/tmp/b").shared);
        assert_errno!(move_mount("a", "b", SET_GROUP), EINVAL);
        make("b", MS_PRIVATE).expect("private");
        make("b", MS_SHARED).expect("shared");
        assert_errno!(move_mount("b", "a", SET_GROUP), EINVAL);
        make("b", MS_PRIVATE).expect("private");
        bind("a", "c").expect("bind");
        make("c", MS_SLAVE).expect("slave");
        move_mount("c", "b", SET_GROUP).expect("from a slave");
        assert_eq!((at("/tmp/b").shared, at("/tmp/b").master), (None, at("/tmp/a").shared));
    });
}

#[test]
fn a_mount_slips_beneath_another() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        new_tmpfs("/tmp/n");
        touch("a/top");
        touch("n/below");
        mkdir("plain");
        // Rule A9.
        assert_errno!(move_mount("n", "plain", BENEATH), EINVAL);
        assert_errno!(move_mount("a", "a", BENEATH), EINVAL);
        assert_errno!(move_mount("n", "/", BENEATH), EINVAL);
        move_mount("n", "a", BENEATH).expect("beneath"); // Rule A10
        assert_eq!(all_at("/tmp/a").len(), 2);
        assert_eq!(names("a"), ["top"]);
        umount("a", 0).expect("umount");
        assert_eq!(names("a"), ["below"]);
    });
}

#[test]
fn nothing_slips_beneath_what_its_own_parent_would_copy() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        make("a", MS_SHARED).expect("shared");
        bind("a", "a").expect("a peer on top of itself");
        new_tmpfs("/tmp/n");
        assert_errno!(move_mount("n", "a", BENEATH), EINVAL); // Rule A9
        mkdir("n/in");
        tmpfs("in", "/tmp/n/in");
        assert_errno!(move_mount("n", "n/in", BENEATH), ELOOP); // Rule V1
        tmpfs("cover", "/tmp/n");
        mkdir("b");
        tmpfs("b", "/tmp/b");
        let covered = all_at("/tmp/n");
        assert_eq!(covered.len(), 2);
        move_mount("n", "b", BENEATH).expect("the top of the stack is not covered");
    });
}

/// Rule A9: the mount above receives on its own root from what it is mounted on, in each way that it can.
#[test]
fn nothing_slips_beneath_a_receiver_of_the_mount_below() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        new_tmpfs("/tmp/n");
        make("a", MS_SHARED).expect("shared");
        bind("a", "a").expect("a peer on top of itself");
        make("a", MS_SLAVE).expect("a slave of what it is on");
        assert_errno!(move_mount("n", "a", BENEATH), EINVAL);
        make("a", MS_SHARED).expect("with a group of its own");
        assert_errno!(move_mount("n", "a", BENEATH), EINVAL);
        make("a", MS_PRIVATE).expect("private");
        move_mount("n", "a", BENEATH).expect("it does not receive any more");
        assert_eq!(all_at("/tmp/a").len(), 3);
    });
}

#[test]
fn nothing_slips_beneath_a_slave_of_a_slave_of_the_mount_below() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        new_tmpfs("/tmp/n");
        mkdirs(&["b", "c"]);
        make("a", MS_SHARED).expect("shared");
        bind("a", "b").expect("bind");
        make("b", MS_SLAVE).expect("slave");
        make("b", MS_SHARED).expect("shared");
        bind("b", "c").expect("bind");
        make("c", MS_SLAVE).expect("slave");
        bind("c", "a").expect("the slave's slave on top of the first");
        assert_errno!(move_mount("n", "a", BENEATH), EINVAL); // Rule A9
        // A slave of others is no receiver.
        make("a", MS_PRIVATE).expect("private");
        move_mount("n", "a", BENEATH).expect("beneath");
    });
}

#[test]
fn nothing_slips_beneath_that_receives_from_where_it_would_be() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/s");
        std::env::set_current_dir("/tmp/s").expect("chdir");
        tmpfs("cover", "/tmp/s");
        // The working directory is the root of the mount below.
        make(".", MS_SHARED).expect("shared");
        mkdir("/tmp/t");
        bind(".", "/tmp/t").expect("a peer");
        assert_errno!(move_mount("/tmp/t", "/tmp/s", BENEATH), EINVAL); // Rule A9
        make("/tmp/t", MS_SLAVE).expect("slave");
        assert_errno!(move_mount("/tmp/t", "/tmp/s", BENEATH), EINVAL);
        make("/tmp/t", MS_PRIVATE).expect("private");
        move_mount("/tmp/t", "/tmp/s", BENEATH).expect("it does not receive any more");
    });
}

#[test]
fn mount_setattr_checks_its_arguments_in_order() {
    in_mount_namespace(|| {
        let attributes = Attributes { set: RDONLY, ..Attributes::default() };
        let call = |flags: u32, size: usize| syscall!(SYS_mount_setattr, HERE, c"missing", flags, &raw const attributes, size);
        // Rule A19.
        for bit in (0..32).filter(|bit| ![8, 11, 12, 15].contains(bit)) {
            assert_errno!(call(1 << bit, 32), EINVAL);
        }
        for size in [4097, 1 << 20, usize::MAX] {
            assert_errno!(call(0, size), E2BIG);
        }
        for size in [0, 1, 31] {
            assert_errno!(call(0, size), EINVAL);
        }
        assert_errno!(call(0, 32), ENOENT);
        assert_errno!(syscall!(SYS_mount_setattr, HERE, c"missing", 0, 8usize, 32), EFAULT);
        let mut longer = [0u64; 512];
        syscall!(SYS_mount_setattr, HERE, c"missing", 0, longer.as_ptr(), 4096).expect("nothing to do");
        longer[4] = 1;
        assert_errno!(syscall!(SYS_mount_setattr, HERE, c"missing", 0, longer.as_ptr(), 40), E2BIG);
        syscall!(SYS_mount_setattr, HERE, 8usize, 0, longer.as_ptr(), 32).expect("the path is not looked at");
        for propagation in [MS_SHARED | MS_SLAVE, 1, libc::MS_REC, 1 << 40] {
            assert_errno!(set_attributes("missing", 0, Attributes { propagation, ..Attributes::default() }), EINVAL);
        }
        for bit in (8..20).chain(22..64) {
            assert_errno!(set_attributes("missing", 0, Attributes { set: 1 << bit, ..Attributes::default() }), EINVAL);
            assert_errno!(set_attributes("missing", 0, Attributes { clear: 1 << bit, ..Attributes::default() }), EINVAL);
        }
        mkdir("plain");
        assert_errno!(set_attributes("plain", 0, attributes), EINVAL);
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(call(0, 32), EPERM);
    });
}

#[test]
fn the_atime_bits_are_one_field() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        let change = |set, clear| set_attributes("d", 0, Attributes { set, clear, ..Attributes::default() });
        // Rule A20.
        for (set, clear) in [(0x10, 0), (0, 0x10), (0, 0x20), (0x10, 0x10), (0x30, ATIME), (0x40, ATIME), (ATIME, ATIME)] {
            assert_errno!(change(set, clear), EINVAL);
        }
        change(0x10, ATIME).expect("noatime");
        assert_eq!(at("/tmp/d").options, "rw,noatime");
        change(0x20 | 0x80, ATIME).expect("strictatime, nodiratime");
        assert_eq!(at("/tmp/d").options, "rw,nodiratime");
        change(0, ATIME).expect("relatime");
        assert_eq!(at("/tmp/d").options, "rw,nodiratime,relatime");
        change(NOSUID, NOSUID | 0x80).expect("cleared, then set"); // Rule A21
        assert_eq!(at("/tmp/d").options, "rw,nosuid,relatime");
    });
}

#[test]
fn a_whole_tree_changes_or_nothing_does() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        new_tmpfs("/tmp/a/b");
        new_tmpfs("/tmp/a/b/c");
        let writer = std::fs::File::create("a/b/c/file").expect("a writer");
        let before = table();
        let wanted = Attributes { set: RDONLY, propagation: MS_SHARED, ..Attributes::default() };
        assert_errno!(set_attributes("a", RECURSIVE, wanted), EBUSY); // Rule A21
        assert_eq!(table(), before);
        drop(writer);
        set_attributes("a", RECURSIVE, wanted).expect("mount_setattr");
        for point in ["/tmp/a", "/tmp/a/b", "/tmp/a/b/c"] {
            assert!(at(point).options.starts_with("ro,") && at(point).shared.is_some(), "{point}");
        }
        assert_errno!(std::fs::File::create("a/b/c/other"), EROFS);
        set_attributes("a", 0, Attributes { clear: RDONLY, ..Attributes::default() }).expect("one alone");
        touch("a/file");
        assert!(at("/tmp/a/b").options.starts_with("ro,"));
    });
}

#[test]
fn id_mappings_are_refused_where_they_cannot_be() {
    in_mount_namespace(|| {
        let idmap = |user_namespace: u64| Attributes { set: 0x10_0000, user_namespace, ..Attributes::default() };
        // Rule A22.
        assert_errno!(set_attributes("/tmp", 0, Attributes { clear: 0x10_0000, ..Attributes::default() }), EINVAL);
        assert_errno!(set_attributes("/tmp", 0, idmap(1 << 31)), EINVAL);
        assert_errno!(set_attributes("/tmp", 0, idmap(900)), EBADF);
        let plain = std::fs::File::open("/tmp").expect("open");
        use std::os::fd::AsRawFd;
        assert_errno!(set_attributes("/tmp", 0, idmap(plain.as_raw_fd() as u64)), EINVAL);
        let initial = std::fs::File::open("/proc/self/ns/user").expect("open");
        let tree = fsmount(&created_tmpfs("x"), 0).expect("fsmount");
        assert_errno!(set_attributes(&path_of(&tree), 0, idmap(initial.as_raw_fd() as u64)), EPERM);
    });
}
