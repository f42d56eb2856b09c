//! What `mount` and `umount2` refuse, with which error, and what they ignore.

use std::fs::File;
use std::os::fd::AsRawFd;

use abi::assert_errno;
use abi::capability::{CAP_SYS_ADMIN, is_effective, set_effective};
use abi::guard::{Mounted, tmpfs_on, tmpfs_with};
use abi::syscall;
use abi::world::{bind, mkdir, mount, mount_with_nulls, touch, umount};
use libc::{MNT_DETACH, MS_BIND, MS_REMOUNT};
use mount::case;

/// `MS_MGC_VAL`, which programs of the last century set.
const MAGIC_FLAGS: u64 = 0xC0ED_0000;

#[test]
fn mount_bad_filesystem() {
    case(|| {
        mkdir("d");
        assert_errno!(mount("", "/tmp/d", "foobar", 0, ""), ENODEV);
    });
}

#[test]
fn mount_invalid_target() {
    case(|| assert_errno!(mount("", "/tmp/missing", "tmpfs", 0, ""), ENOENT));
}

#[test]
fn mount_perm_denied() {
    case(|| {
        mkdir("d");
        set_effective(CAP_SYS_ADMIN, false).expect("capset");
        assert!(!is_effective(CAP_SYS_ADMIN));
        // The capability is judged after the target and before the type.
        assert_errno!(mount("", "/tmp/d", "", 0, ""), EPERM);
        assert_errno!(mount("", "/tmp/missing", "", 0, ""), ENOENT);
        set_effective(CAP_SYS_ADMIN, true).expect("capset from the permitted set");
        assert!(is_effective(CAP_SYS_ADMIN));
    });
}

#[test]
fn umount_perm_denied() {
    case(|| {
        let _d = tmpfs_on("/tmp/d");
        let in_thread = std::thread::spawn(|| {
            set_effective(CAP_SYS_ADMIN, false).expect("capset");
            umount("/tmp/d", 0)
        });
        assert_errno!(in_thread.join().expect("a thread"), EPERM);
        assert!(is_effective(CAP_SYS_ADMIN), "capabilities belong to threads");
    });
}

#[test]
fn mount_tmpfs_magic_val_ignored() {
    case(|| tmpfs_with("/tmp/d", MAGIC_FLAGS, "").umount());
}

#[test]
fn null_data() {
    case(|| {
        mkdir("d");
        mount_with_nulls(Some(""), "/tmp/d", Some("tmpfs"), 0, None).expect("mount");
        umount("/tmp/d", 0).expect("umount");
    });
}

#[test]
fn bind_mount_directory_onto_file_fails() {
    case(|| {
        mkdir("dir");
        touch("file");
        assert_errno!(bind("/tmp/dir", "/tmp/file"), ENOTDIR);
    });
}

#[test]
fn bind_mount_file_onto_directory_fails() {
    case(|| {
        mkdir("dir");
        touch("file");
        assert_errno!(bind("/tmp/file", "/tmp/dir"), ENOTDIR);
    });
}

#[test]
fn mount_fails_on_pseudo_filesystem_mountpoint() {
    case(|| {
        let descriptor = syscall!(SYS_eventfd2, 0, 0).expect("eventfd");
        let errno = mount("", &format!("/proc/self/fd/{descriptor}"), "tmpfs", 0, "").expect_err("no mount point");
        assert!([libc::EINVAL, libc::ENOENT].contains(&errno.0), "{errno:?}");
    });
}

#[test]
fn remount_unmounted() {
    case(|| {
        mkdir("d");
        assert_errno!(mount("", "/tmp/d", "", MS_REMOUNT, ""), EINVAL);
    });
}

#[test]
fn detached_mount_bind_fails() {
    case(|| {
        mkdir("target");
        tmpfs_on("/tmp/d").forget();
        let root = File::open("d").expect("open");
        Mounted::at("/tmp/d", MNT_DETACH).umount();
        let detached = format!("/proc/self/fd/{}", root.as_raw_fd());
        assert_errno!(mount(&detached, "/tmp/target", "", MS_BIND, ""), EINVAL);
    });
}
