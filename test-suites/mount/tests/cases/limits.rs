//! The limit of mounts in a namespace, `/proc/sys/fs/mount-max`: reached exactly, refused whole, at the size that it has.

use abi::assert_errno;
use abi::guard::{Mounted, bind_of_types, bind_on, tmpfs_of_type, tmpfs_on};
use abi::mountinfo::is_mounted;
use abi::world::{bind, make, mkdir, mkdirs, rbind, read, umount};
use libc::{MNT_DETACH, MS_SHARED, MS_SLAVE};
use mount::{case, case_alone};

/// The kernel's own limit where it says none.
const UNSAID_LIMIT: usize = 10_000;

/// How many mounts there are.
fn count() -> usize {
    read("/proc/self/mountinfo").lines().count()
}

/// How many more mounts there may be.
fn room() -> usize {
    let limit = std::fs::read_to_string("/proc/sys/fs/mount-max").map_or(UNSAID_LIMIT, |text| text.trim().parse().expect("a number"));
    limit - count()
}

#[test]
fn max_mounts() {
    case_alone(|| {
        let _p = Mounted::at("/tmp/p", MNT_DETACH);
        tmpfs_on("/tmp/p").forget();
        mkdir("p/d");
        bind("/tmp/p/d", "/tmp/p/d").expect("bind");
        make("/tmp/p/d", MS_SHARED).expect("shared");
        // Each bind doubles the peer group, and lands on every member of it.
        let doublings = room().ilog2();
        let before = count();
        for _ in 0..doublings {
            bind("/tmp/p/d", "/tmp/p/d").expect("bind");
        }
        assert_eq!(count(), before - 1 + (1 << doublings));
        assert_errno!(bind("/tmp/p/d", "/tmp/p/d"), ENOSPC);
        assert_eq!(count(), before - 1 + (1 << doublings), "nothing of the refused one stays");
        umount("/tmp/p/d", MNT_DETACH).expect("detach");
        while is_mounted("/tmp/p/d") {
            umount("/tmp/p/d", MNT_DETACH).expect("detach");
        }
        assert_eq!(count(), before - 1);
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
        let again = || bind("/tmp/p/a/d", "/tmp/p/a/d").and_then(|_| make("/tmp/p/a/d", MS_SHARED));
        let doublings = (room() / 3).ilog2();
        let before = count();
        for _ in 0..doublings {
            again().expect("bind");
        }
        let reached = count();
        assert_eq!(reached, before + 3 * ((1 << doublings) - 1));
        for _ in 0..2 {
            assert_errno!(bind("/tmp/p/a/d", "/tmp/p/a/d"), ENOSPC);
        }
        assert_eq!(count(), reached, "nothing of the refused ones stays");
    });
}

#[test]
fn max_recursive_bind() {
    case(|| {
        mkdirs(&["a", "a/b"]);
        let _a = bind_on("/tmp/a", "/tmp/a");
        let before = count();
        // Each copies the whole tree into itself.
        let doublings = room().ilog2();
        for _ in 0..doublings {
            rbind("/tmp/a", "/tmp/a/b").expect("rbind");
        }
        let reached = count();
        assert_eq!(reached, before - 1 + (1 << doublings));
        assert_errno!(rbind("/tmp/a", "/tmp/a/b"), ENOSPC);
        assert_eq!(count(), reached, "nothing of the refused one stays");
    });
}
