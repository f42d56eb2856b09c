//! Binding and moving mounts, and that mount points stay where they are.

use abi::assert_errno;
use abi::guard::{Mounted, bind_on, tmpfs_of_type, tmpfs_on, tmpfs_with};
use abi::mountinfo::{at, is_mounted};
use abi::world::{bind, exists, make, mkdir, mkdirs, mount, move_mount, names, rbind, read, touch, write};
use libc::{MNT_DETACH, MS_PRIVATE, MS_SHARED};
use mount::case;

#[test]
fn rename_remove_mount_point() {
    case(|| {
        mkdir("p");
        let _dir = tmpfs_on("/tmp/p/dir");
        assert_errno!(std::fs::rename("/tmp/p/dir", "/tmp/p/new"), EBUSY);
        assert_errno!(std::fs::remove_dir("/tmp/p/dir"), EBUSY);
    });
}

#[test]
fn mount_move_success() {
    case(|| {
        mkdir("p");
        mount("source", "/tmp/p", "tmpfs", 0, "").expect("mount");
        let _p = Mounted::at("/tmp/p", 0);
        make("/tmp/p", MS_PRIVATE).expect("private");
        tmpfs_on("/tmp/p/d1").forget();
        mkdir("p/d2");
        touch("p/d1/foo");
        move_mount("/tmp/p/d1", "/tmp/p/d2").expect("move");
        let _d2 = Mounted::at("/tmp/p/d2", 0);
        assert!(!exists("/tmp/p/d1/foo"));
        assert!(exists("/tmp/p/d2/foo"));
    });
}

#[test]
fn mount_move_shared_parent() {
    case(|| {
        mkdir("target");
        let _p = tmpfs_of_type("/tmp/p", MS_SHARED);
        let _sub = tmpfs_on("/tmp/p/sub");
        assert_errno!(move_mount("/tmp/p/sub", "/tmp/target"), EINVAL);
    });
}

#[test]
fn mount_move_source_not_mounted() {
    case(|| {
        mkdirs(&["from", "to"]);
        assert_errno!(move_mount("/tmp/from", "/tmp/to"), EINVAL);
    });
}

#[test]
fn simple_bind() {
    case(|| {
        let _d1 = tmpfs_with("/tmp/d1", 0, "mode=0123");
        mkdirs(&["d1/child1", "d1/child2"]);
        let _d2 = bind_on("/tmp/d1", "/tmp/d2");
        write("d1/child1/file", "content");
        for side in ["d1", "d2"] {
            assert_eq!(names(side), ["child1", "child2"]);
            assert_eq!(names(&format!("{side}/child1")), ["file"]);
            assert_eq!(read(&format!("{side}/child1/file")), "content");
        }
    });
}

#[test]
fn bind_to_self() {
    case(|| {
        mkdir("d");
        let listed = || read("/proc/self/mounts").lines().filter(|line| line.split(' ').nth(1) == Some("/tmp/d")).count();
        assert_eq!(listed(), 0);
        bind("/tmp/d", "/tmp/d").expect("bind");
        let _d = Mounted::at("/tmp/d", MNT_DETACH);
        assert_eq!(listed(), 1);
    });
}

#[test]
fn mount_info_has_root() {
    case(|| {
        let _p = tmpfs_with("/tmp/p", 0, "mode=0123");
        mkdir("p/c");
        let _c = bind_on("/tmp/p/c", "/tmp/p/c");
        assert_eq!(at("/tmp/p").root, "/");
        assert_eq!(at("/tmp/p/c").root, "/c");
    });
}

#[test]
fn recursive_bind() {
    case(|| {
        mkdirs(&["a", "a/b", "d"]);
        let _a = bind_on("/tmp/a", "/tmp/a");
        let _b = bind_on("/tmp/a/b", "/tmp/a/b");
        rbind("/tmp/a", "/tmp/d").expect("rbind");
        let _d = Mounted::at("/tmp/d", MNT_DETACH);
        mkdir("a/b/c");
        write("a/b/c/file", "content");
        assert_eq!(read("d/b/c/file"), "content");
        assert!(is_mounted("/tmp/d/b"));
    });
}

#[test]
fn recursive_bind_propagation() {
    case(|| {
        let _p = tmpfs_on("/tmp/p");
        let _a = tmpfs_of_type("/tmp/p/a", MS_SHARED);
        let _b = bind_on("/tmp/p/a", "/tmp/p/b");
        let _c = bind_on("/tmp/p/a", "/tmp/p/c");
        let _d = tmpfs_on("/tmp/p/d");
        let _e = tmpfs_on("/tmp/p/d/e");
        mkdir("p/a/f");
        rbind("/tmp/p/d", "/tmp/p/a/f").expect("rbind");
        let _f = Mounted::at("/tmp/p/a/f", MNT_DETACH);
        for place in ["/tmp/p/a/f", "/tmp/p/a/f/e", "/tmp/p/b/f", "/tmp/p/b/f/e", "/tmp/p/c/f", "/tmp/p/c/f/e"] {
            assert!(is_mounted(place), "{place}");
        }
    });
}
