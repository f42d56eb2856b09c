//! Mount namespaces: copies, ways back, what travels between them, and what stays locked in one of less privilege.

use std::fs::File;

use abi::guard::{Mounted, bind_of_types, tmpfs_of_type, tmpfs_on, tmpfs_with};
use abi::mountinfo::{at, table};
use abi::user_namespace::in_user_namespace;
use abi::world::{bind, exists, make, mkdir, mknod, mount, open, rbind, touch, umount};
use abi::{assert_errno, spawn, syscall};
use libc::{MNT_DETACH, MS_PRIVATE, MS_SHARED, O_RDONLY, S_IFREG};
use mount::case;
use rustix::fs::{Mode, OFlags, openat};

fn unshare() {
    syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
}

#[test]
fn mount_namespace() {
    case(|| {
        let mounted = tmpfs_with("/tmp/d", 0, "mode=0700");
        touch("d/file");
        spawn(|| {
            unshare();
            assert!(exists("/tmp/d/file"));
            umount("/tmp/d", MNT_DETACH).expect("detach");
            assert!(!exists("/tmp/d/file"));
        })
        .join();
        assert!(exists("/tmp/d/file"));
        mounted.umount();
    });
}

#[test]
fn mount_namespace_setns() {
    case(|| {
        let mounted = tmpfs_with("/tmp/d", 0, "mode=0700");
        touch("d/file");
        let home = File::open("/proc/thread-self/ns/mnt").expect("open");
        spawn(|| {
            unshare();
            umount("/tmp/d", MNT_DETACH).expect("detach");
            assert!(!exists("/tmp/d/file"));
            syscall!(SYS_setns, &home, libc::CLONE_NEWNS).expect("setns");
            assert!(exists("/tmp/d/file"));
        })
        .join();
        mounted.umount();
    });
}

#[test]
fn mount_namespace_propagation() {
    case(|| {
        let _d = tmpfs_of_type("/tmp/d", MS_SHARED);
        tmpfs_on("/tmp/d/test").forget();
        spawn(|| {
            unshare();
            umount("/tmp/d/test", MNT_DETACH).expect("detach");
            mount("", "/tmp/d/test", "tmpfs", 0, "").expect("mount");
            mknod("/tmp/d/test/file", S_IFREG | 0o777, 0).expect("mknod");
        })
        .join();
        open("/tmp/d/test/file", O_RDONLY).expect("umount and mount travelled");
        umount("/tmp/d/test", MNT_DETACH).expect("detach");
        assert_errno!(umount("/tmp/d/test", MNT_DETACH), EINVAL);
    });
}

#[test]
fn mount_namespace_slaves_new_user_namespace() {
    case(|| {
        let _d = tmpfs_of_type("/tmp/d", MS_SHARED);
        mkdir("d/c");
        let parent = || {
            mount("", "/tmp/d/c", "tmpfs", 0, "").expect("mount");
            touch("/tmp/d/c/of-the-parent");
        };
        in_user_namespace(parent, || {
            assert!(exists("/tmp/d/c/of-the-parent"));
            umount("/tmp/d/c", MNT_DETACH).expect("the root of what came may go");
            mount("", "/tmp/d/c", "tmpfs", 0, "").expect("mount");
            mknod("/tmp/d/c/of-the-child", S_IFREG | 0o777, 0).expect("mknod");
            umount("/tmp/d/c", MNT_DETACH).expect("detach");
            assert_errno!(umount("/tmp/d/c", MNT_DETACH), EINVAL);
            assert!(table().iter().any(|mount| mount.master.is_some()));
            assert!(at("/tmp/d").master.is_some() && at("/tmp/d").shared.is_none());
            // Left in place: had it travelled, it would still be in the parent's namespace when this process has ended.
            mount("", "/tmp/d/c", "tmpfs", 0, "").expect("mount");
            mknod("/tmp/d/c/of-the-child", S_IFREG | 0o777, 0).expect("mknod");
        });
        assert_errno!(open("/tmp/d/c/of-the-child", O_RDONLY), ENOENT);
        assert!(exists("/tmp/d/c/of-the-parent"));
        umount("/tmp/d/c", MNT_DETACH).expect("detach");
    });
}

#[test]
fn locked_mount_stops_non_rec_bind() {
    case(|| {
        let _d = tmpfs_on("/tmp/d");
        let _c = tmpfs_on("/tmp/d/c");
        let child = || {
            mkdir("/tmp/d/foo");
            assert_errno!(bind("/tmp/d", "/tmp/d/foo"), EINVAL);
            rbind("/tmp/d", "/tmp/d/foo").expect("with what covers the directory");
        };
        in_user_namespace(|| {}, child);
    });
}

#[test]
fn umount_propagated_subtree_from_privileged_ns() {
    case(|| {
        mkdir("d");
        let _d = bind_of_types("/tmp/d", "/tmp/d", &[MS_SHARED]);
        let _c = private_tmpfs("/tmp/d/c");
        mkdir("d/c/g");
        touch("d/c/g/foo");
        let _g = private_tmpfs("/tmp/d/c/g");
        mkdir("d/s");
        let _s = std::cell::OnceCell::new();
        let parent = || {
            rbind("/tmp/d/c", "/tmp/d/s").expect("rbind");
            _s.set(Mounted::at("/tmp/d/s", MNT_DETACH)).expect("only once");
        };
        in_user_namespace(parent, || {
            let root = File::open("/tmp/d/s").expect("open");
            assert_errno!(umount("/tmp/d/s/g", MNT_DETACH), EINVAL);
            umount("/tmp/d/s", MNT_DETACH).expect("what came as a whole may go as a whole");
            let hidden = openat(&root, "g/foo", OFlags::RDONLY, Mode::empty());
            assert_errno!(hidden, ENOENT);
        });
    });
}

fn private_tmpfs(path: &str) -> Mounted {
    let mounted = tmpfs_on(path);
    make(path, MS_PRIVATE).expect("private");
    mounted
}
