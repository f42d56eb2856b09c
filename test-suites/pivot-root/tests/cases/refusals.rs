//! What `pivot_root` refuses, and with which error.

use abi::capability::{CAP_SYS_ADMIN, set_effective};
use abi::guard::tmpfs_on;
use abi::mountinfo::table;
use abi::user_namespace::in_user_namespace;
use abi::world::{make, mkdir, mkdirs, pivot_root, touch};
use abi::{assert_errno, in_mount_namespace};
use libc::MS_SHARED;
use pivot_root::{ROOT, chroot, in_root, make_roots};

#[test]
fn not_dir() {
    in_mount_namespace(|| {
        touch("file1");
        touch("file2");
        mkdir("dir");
        assert_errno!(pivot_root("/tmp/file1", "/tmp/file2"), ENOTDIR);
        assert_errno!(pivot_root("/tmp/file1", "/tmp/dir"), ENOTDIR);
        assert_errno!(pivot_root("/tmp/dir", "/tmp/file1"), ENOTDIR);
    });
}

#[test]
fn not_exist() {
    in_mount_namespace(|| {
        mkdir("dir");
        assert_errno!(pivot_root("/tmp/missing1", "/tmp/missing2"), ENOENT);
        assert_errno!(pivot_root("/tmp/missing1", "/tmp/dir"), ENOENT);
        assert_errno!(pivot_root("/tmp/dir", "/tmp/missing1"), ENOENT);
    });
}

#[test]
fn without_capability() {
    in_mount_namespace(|| {
        make_roots();
        in_root(|| {
            set_effective(CAP_SYS_ADMIN, false).expect("capset");
            assert_errno!(pivot_root("/n", "/n/o"), EPERM);
        });
    });
}

#[test]
fn new_root_on_root_mount() {
    in_mount_namespace(|| {
        tmpfs_on(ROOT).forget();
        mkdirs(&["/tmp/r/n", "/tmp/r/n/o"]);
        in_root(|| assert_errno!(pivot_root("/n", "/n/o"), EBUSY));
    });
}

#[test]
fn new_root_not_a_mountpoint() {
    in_mount_namespace(|| {
        tmpfs_on(ROOT).forget();
        tmpfs_on("/tmp/r/m").forget();
        mkdirs(&["/tmp/r/m/n", "/tmp/r/m/n/o"]);
        in_root(|| assert_errno!(pivot_root("/m/n", "/m/n/o"), EINVAL));
    });
}

#[test]
fn put_old_not_under_new_root() {
    in_mount_namespace(|| {
        tmpfs_on(ROOT).forget();
        tmpfs_on("/tmp/r/n").forget();
        tmpfs_on("/tmp/r/o").forget();
        in_root(|| assert_errno!(pivot_root("/n", "/o"), EINVAL));
    });
}

#[test]
fn current_root_not_a_mount_point() {
    in_mount_namespace(|| {
        mkdir(ROOT);
        tmpfs_on("/tmp/r/n").forget();
        mkdir("/tmp/r/n/o");
        in_root(|| assert_errno!(pivot_root("/n", "/n/o"), EINVAL));
    });
}

#[test]
fn on_root_fs() {
    in_mount_namespace(|| {
        // Only the first mount of all is its own parent; behind a switch_root it is out of sight.
        if !table().iter().any(|mount| mount.mount_point == "/" && mount.id == mount.parent) {
            return abi::child::tell("not run: / is not the first root filesystem");
        }
        tmpfs_on("/tmp/n").forget();
        mkdir("/tmp/n/o");
        assert_errno!(pivot_root("/tmp/n", "/tmp/n/o"), EINVAL);
    });
}

#[test]
fn on_shared_new_root_parent() {
    in_mount_namespace(|| {
        make_roots();
        make(ROOT, MS_SHARED).expect("shared");
        in_root(|| assert_errno!(pivot_root("/n", "/n/o"), EINVAL));
    });
}

#[test]
fn on_shared_new_root() {
    in_mount_namespace(|| {
        make_roots();
        make("/tmp/r/n", MS_SHARED).expect("shared");
        in_root(|| assert_errno!(pivot_root("/n", "/n/o"), EINVAL));
    });
}

#[test]
fn on_shared_put_old_mountpoint() {
    in_mount_namespace(|| {
        make_roots();
        tmpfs_on("/tmp/r/n/o").forget();
        make("/tmp/r/n/o", MS_SHARED).expect("shared");
        in_root(|| assert_errno!(pivot_root("/n", "/n/o"), EINVAL));
    });
}

#[test]
fn unreachable_new_root_fails() {
    in_mount_namespace(|| {
        tmpfs_on("/tmp/x").forget();
        tmpfs_on("/tmp/x/r").forget();
        tmpfs_on("/tmp/x/r/n").forget();
        mkdir("/tmp/x/r/n/o");
        std::env::set_current_dir("/tmp/x").expect("chdir");
        abi::spawn(|| {
            chroot("/tmp/x/r");
            assert_errno!(pivot_root(".", "/n/o"), EINVAL);
        })
        .join();
    });
}

#[test]
fn locked_new_root_fails() {
    in_mount_namespace(|| {
        make_roots();
        tmpfs_on("/tmp/r/n/o").forget();
        let child = || {
            chroot(ROOT);
            assert_errno!(pivot_root("/n", "/n/o"), EINVAL);
        };
        in_user_namespace(|| {}, child);
    });
}
