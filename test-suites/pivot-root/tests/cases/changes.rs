//! What `pivot_root` changes: the root, the place of the old one, the roots and working directories of other processes, and
//! which mount is locked.

use abi::guard::tmpfs_on;
use abi::user_namespace::in_user_namespace;
use abi::world::{exists, identity, mkdir, pivot_root, read, touch, umount, write};
use abi::{in_mount_namespace, syscall};
use libc::MNT_DETACH;
use pivot_root::{ROOT, chroot, in_root, make_roots};

/// The working directory, as the kernel tells it.
fn getcwd() -> String {
    let mut buffer = [0u8; 4096];
    let len_bytes = syscall!(SYS_getcwd, &raw mut buffer, buffer.len()).expect("getcwd");
    String::from_utf8_lossy(&buffer[..len_bytes - 1]).into_owned()
}

#[test]
fn success() {
    in_mount_namespace(|| {
        make_roots();
        in_root(|| {
            assert_eq!(pivot_root("/n", "/n/o"), Ok(0));
        });
    });
}

#[test]
fn creates_new_root() {
    in_mount_namespace(|| {
        make_roots();
        touch("/tmp/r/n/file");
        in_root(|| {
            assert!(exists("/n/file"));
            pivot_root("/n", "/n/o").expect("pivot_root");
            std::env::set_current_dir("/").expect("chdir");
            assert_eq!(std::fs::metadata("/n/file").expect_err("the old path").raw_os_error(), Some(libc::ENOENT));
            assert!(exists("/file"));
            assert_eq!(getcwd(), "/");
            let root = identity("/");
            for path in [".", "..", "/.."] {
                assert_eq!(identity(path), root, "{path}");
            }
        });
    });
}

#[test]
fn moves_old_root() {
    in_mount_namespace(|| {
        make_roots();
        in_root(|| {
            let old_root = identity("/");
            pivot_root("/n", "/n/o").expect("pivot_root");
            assert_eq!(std::fs::metadata("/n/o").expect_err("the old path").raw_os_error(), Some(libc::ENOENT));
            std::env::set_current_dir("/o").expect("chdir");
            assert_eq!(identity("."), old_root);
        });
    });
}

#[test]
fn changes_cwd_for_all_processes() {
    in_mount_namespace(|| {
        make_roots();
        let new_root = identity("/tmp/r/n");
        std::env::set_current_dir(ROOT).expect("chdir");
        assert_ne!(identity("."), new_root);
        in_root(|| {
            pivot_root("/n", "/n/o").expect("pivot_root");
        });
        assert_eq!(identity("."), new_root);
    });
}

#[test]
fn dot_dot() {
    in_mount_namespace(|| {
        make_roots();
        write("/tmp/r/n/file", "in the new root");
        in_root(|| {
            std::env::set_current_dir("/n").expect("chdir");
            pivot_root(".", ".").expect("pivot_root");
            umount(".", MNT_DETACH).expect("the old root lies over the new one");
            assert!(exists("file"));
            assert_eq!(read("/file"), "in the new root");
        });
    });
}

#[test]
fn old_root_unlocked() {
    in_mount_namespace(|| {
        tmpfs_on(ROOT).forget();
        mkdir("/tmp/r/n");
        let child = || {
            chroot(ROOT);
            tmpfs_on("/n").forget();
            mkdir("/n/put_old");
            tmpfs_on("/n/put_old").forget();
            pivot_root("/n", "/n/put_old").expect("pivot_root");
            umount("/put_old", MNT_DETACH).expect("the lock went over to the new root");
        };
        in_user_namespace(|| {}, child);
    });
}
