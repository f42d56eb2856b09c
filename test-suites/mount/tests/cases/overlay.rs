//! overlayfs: what a copy-up keeps, renames in a user namespace, and layers on 9p.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use abi::guard::Mounted;
use abi::user_namespace::in_user_namespace;
use abi::world::{c, exists, make, mkdir, mkdirs, mount, read, touch, umount, write};
use abi::{assert_errno, syscall};
use libc::S_ISGID;
use mount::case;

/// `f_type` of 9p.
const V9FS_MAGIC: i64 = 0x0102_1997;

/// Makes the four directories of an overlay in the working directory.
fn make_layers() {
    mkdirs(&["lower", "upper", "work", "merged"]);
}

/// Mounts the overlay of the four directories; `more` are further options.
fn overlay(more: &str) -> abi::Outcome {
    mount("overlay", "merged", "overlay", 0, &format!("lowerdir=lower,upperdir=upper,workdir=work{more}"))
}

#[test]
fn overlayfs_sgid_bit_is_copied_up() {
    case(|| {
        make_layers();
        mkdir("lower/dir");
        touch("lower/empty");
        write("lower/full", "four");
        let names = ["dir", "empty", "full"];
        for name in names {
            let path = format!("lower/{name}");
            let mode = if name == "dir" { 0o755 } else { 0o644 };
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode | S_ISGID)).expect("chmod");
        }
        overlay("").expect("overlay");
        let _merged = Mounted::at("merged", 0);
        let has_bit = |path: &str| std::fs::metadata(path).expect("stat").mode() & S_ISGID != 0;
        for name in names {
            let [merged, upper] = ["merged", "upper"].map(|layer| format!("{layer}/{name}"));
            assert!(has_bit(&merged), "{name} before the copy-up");
            assert!(!exists(&upper), "{name} is not copied up yet");
            let times: *const libc::timespec = std::ptr::null();
            syscall!(SYS_utimensat, libc::AT_FDCWD, c(&merged).as_c_str(), times, 0).expect("utimensat copies up");
            assert!(has_bit(&upper), "{name} in the upper layer");
            assert!(has_bit(&merged), "{name} after the copy-up");
        }
        assert_eq!(read("upper/full"), "four");
    });
}

#[test]
fn overlayfs_directory_rename_in_user_namespace() {
    case(|| {
        let child = || {
            mount("", "/tmp", "tmpfs", 0, "").expect("a tmpfs of its own");
            std::env::set_current_dir("/tmp").expect("chdir");
            make_layers();
            mkdir("lower/renamed");
            overlay(",userxattr").expect("overlay");
            mkdir("merged/mydir");
            write("merged/mydir/file", "content");
            std::fs::rename("merged/mydir", "merged/renamed").expect("rename over an empty lower directory");
            assert!(std::fs::metadata("merged/renamed").expect("stat").is_dir());
            assert_errno!(std::fs::metadata("merged/mydir"), ENOENT);
            assert_errno!(std::fs::metadata("merged/mydir/file"), ENOENT);
            assert_eq!(read("merged/renamed/file"), "content");
            umount("merged", 0).expect("umount");
        };
        in_user_namespace(|| {}, child);
    });
}

/// `f_type` of `statfs`.
fn filesystem_type(path: &Path) -> i64 {
    rustix::fs::statfs(path).expect("statfs").f_type
}

fn set_attribute(path: &str, name: &std::ffi::CStr, value: &[u8]) {
    syscall!(SYS_setxattr, c(path).as_c_str(), name, value.as_ptr(), value.len(), 0).expect("setxattr");
}

fn attribute(path: &str, name: &std::ffi::CStr) -> Vec<u8> {
    let mut value = vec![0u8; 64];
    let len_bytes = syscall!(SYS_getxattr, c(path).as_c_str(), name, value.as_mut_ptr(), value.len()).expect("getxattr");
    value.truncate(len_bytes);
    value
}

#[test]
fn overlayfs_on_gofer_behavior() {
    let folder = std::env::temp_dir();
    if filesystem_type(&folder) != V9FS_MAGIC {
        return abi::child::tell(&format!("not run: {} is not on 9p", folder.display()));
    }
    let place = folder.join(format!("overlay-on-9p-{}", std::process::id()));
    std::fs::create_dir(&place).expect("mkdir");
    abi::in_child(|| {
        syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("a mount namespace");
        make("/", libc::MS_PRIVATE | libc::MS_REC).expect("a private tree");
        std::env::set_current_dir(&place).expect("chdir");
        check_layers();
    });
    std::fs::remove_dir_all(&place).expect("removal");
}

/// What an overlay of layers in the working directory must do when its upper layer stores whiteouts and attributes.
fn check_layers() {
    make_layers();
    for (name, content) in [("read", "lower"), ("removed", ""), ("copied", "lower")] {
        write(&format!("lower/{name}"), content);
    }
    mkdir("lower/replaced");
    touch("lower/replaced/old");
    set_attribute("lower/copied", c"user.test", b"value");
    overlay(",userxattr").expect("overlay");
    let _merged = Mounted::at("merged", 0);
    assert_eq!(read("merged/read"), "lower");
    write("merged/created", "upper");
    assert_eq!(read("upper/created"), "upper");
    std::fs::remove_file("merged/removed").expect("unlink");
    let whiteout = std::fs::symlink_metadata("upper/removed").expect("a whiteout");
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    std::fs::remove_dir_all("merged/replaced").expect("rmdir");
    mkdir("merged/replaced");
    assert_eq!(attribute("upper/replaced", c"user.overlay.opaque"), b"y");
    write("merged/copied", "changed");
    assert_eq!(attribute("upper/copied", c"user.test"), b"value");
}
