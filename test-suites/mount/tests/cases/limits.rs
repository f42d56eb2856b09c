//! The limit of mounts in a namespace, `/proc/sys/fs/mount-max`: reached exactly, refused whole, at the size that it has.
//!
//! The full table is never read: its lines are paths through stacks of tens of thousands of mounts, so Linux takes minutes.

use abi::guard::{Mounted, bind_of_types, bind_on, tmpfs_of_type, tmpfs_on};
use abi::world::{bind, make, mkdir, mkdirs, mount, rbind, read, umount};
use abi::{Errno, assert_errno};
use libc::{MNT_DETACH, MS_SHARED, MS_SLAVE};
use mount::{case, case_alone};

/// The limit that is assumed where the kernel tells none.
const UNTOLD_LIMIT: usize = 10_000;

/// How many mounts there are.
fn count() -> usize {
    read("/proc/self/mountinfo").lines().count()
}

/// How many more mounts there may be.
fn room() -> usize {
    let limit = std::fs::read_to_string("/proc/sys/fs/mount-max").map_or(UNTOLD_LIMIT, |text| text.trim().parse().expect("a number"));
    limit - count()
}

/// Asserts that there is room for one more mount: a refused operation has given back what it had counted.
fn assert_some_room_is_left() {
    mkdir("/tmp/one-more");
    mount("", "/tmp/one-more", "tmpfs", 0, "").expect("room for one mount");
    umount("/tmp/one-more", 0).expect("umount");
}

/// Detaches what is stacked on `path`, however much one detach takes along.
fn detach_all(path: &str) {
    umount(path, MNT_DETACH).expect("detach");
    loop {
        match umount(path, MNT_DETACH) {
            Ok(_) => {}
            Err(error) => return assert_eq!(error, Errno(libc::EINVAL)),
        }
    }
}

#[test]
fn max_mounts() {
    case_alone(|| {
        let _p = tmpfs_on("/tmp/p");
        let without = count();
        mkdir("p/d");
        bind("/tmp/p/d", "/tmp/p/d").expect("bind");
        make("/tmp/p/d", MS_SHARED).expect("shared");
        // Each bind doubles the peer group, and lands on every member of it.
        for _ in 0..room().ilog2() {
            bind("/tmp/p/d", "/tmp/p/d").expect("bind");
        }
        assert_errno!(bind("/tmp/p/d", "/tmp/p/d"), ENOSPC);
        assert_some_room_is_left();
        detach_all("/tmp/p/d");
        assert_eq!(count(), without);
    });
}

#[test]
fn max_mounts_with_slave() {
    case_alone(|| {
        let _p = tmpfs_on("/tmp/p");
        let _a = tmpfs_of_type("/tmp/p/a", MS_SHARED);
        mkdir("p/a/d");
        let _b = bind_of_types("/tmp/p/a", "/tmp/p/b", &[MS_SLAVE, MS_SHARED]);
        let _c = bind_of_types("/tmp/p/b", "/tmp/p/c", &[MS_SLAVE]);
        let without = count();
        // Each bind lands on every mount at the place in a, b and c.
        for _ in 0..(room() / 3).ilog2() {
            bind("/tmp/p/a/d", "/tmp/p/a/d").expect("bind");
            make("/tmp/p/a/d", MS_SHARED).expect("shared");
        }
        for _ in 0..2 {
            assert_errno!(bind("/tmp/p/a/d", "/tmp/p/a/d"), ENOSPC);
        }
        assert_some_room_is_left();
        detach_all("/tmp/p/a/d");
        assert_eq!(count(), without);
    });
}

#[test]
fn max_recursive_bind() {
    case(|| {
        mkdirs(&["a", "a/b"]);
        let without = count();
        let a = bind_on("/tmp/a", "/tmp/a");
        // Each copies the whole tree into itself.
        for _ in 0..room().ilog2() {
            rbind("/tmp/a", "/tmp/a/b").expect("rbind");
        }
        assert_errno!(rbind("/tmp/a", "/tmp/a/b"), ENOSPC);
        assert_some_room_is_left();
        Mounted::umount(a);
        assert_eq!(count(), without);
    });
}
