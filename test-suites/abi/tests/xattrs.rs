//! Extended attributes on tmpfs: the namespaces user, trusted and security, their permissions, and the calls' errors.

use std::ffi::CStr;
use std::os::unix::fs::{PermissionsExt, symlink};

use abi::world::{mkdir, touch};
use abi::{Outcome, assert_errno, in_mount_namespace, spawn, syscall};

fn set(path: &CStr, name: &CStr, value: &[u8], flags: i32) -> Outcome {
    syscall!(SYS_setxattr, path, name, value.as_ptr(), value.len(), flags)
}

fn get(path: &CStr, name: &CStr) -> Outcome<Vec<u8>> {
    let mut value = vec![0u8; 256];
    let len = syscall!(SYS_getxattr, path, name, value.as_mut_ptr(), value.len())?;
    value.truncate(len);
    Ok(value)
}

fn list(path: &CStr) -> Vec<String> {
    let mut names = vec![0u8; 1024];
    let len = syscall!(SYS_listxattr, path, names.as_mut_ptr(), names.len()).expect("listxattr");
    let text = String::from_utf8(names[..len].to_vec()).expect("text");
    let mut names: Vec<String> = text.split_terminator('\0').map(str::to_string).collect();
    names.sort();
    names
}

#[test]
fn values_are_set_replaced_listed_and_removed() {
    in_mount_namespace(|| {
        touch("file");
        set(c"file", c"user.one", b"1", 0).expect("setxattr");
        set(c"file", c"trusted.two", b"", 0).expect("an empty value");
        set(c"file", c"security.three", b"\0binary\xff", 0).expect("setxattr");
        assert_eq!(get(c"file", c"user.one"), Ok(b"1".to_vec()));
        assert_eq!(get(c"file", c"trusted.two"), Ok(Vec::new()));
        assert_eq!(get(c"file", c"security.three"), Ok(b"\0binary\xff".to_vec()));
        assert_eq!(list(c"file"), ["security.three", "trusted.two", "user.one"]);
        set(c"file", c"user.one", b"longer than before", 0).expect("replaced");
        assert_eq!(get(c"file", c"user.one"), Ok(b"longer than before".to_vec()));
        syscall!(SYS_removexattr, c"file", c"user.one").expect("removexattr");
        assert_errno!(get(c"file", c"user.one"), ENODATA);
        assert_errno!(syscall!(SYS_removexattr, c"file", c"user.one"), ENODATA);
        assert_eq!(list(c"file"), ["security.three", "trusted.two"]);
    });
}

#[test]
fn create_and_replace_flags_are_kept() {
    in_mount_namespace(|| {
        touch("file");
        assert_errno!(set(c"file", c"user.x", b"1", libc::XATTR_REPLACE), ENODATA);
        set(c"file", c"user.x", b"1", libc::XATTR_CREATE).expect("created");
        assert_errno!(set(c"file", c"user.x", b"2", libc::XATTR_CREATE), EEXIST);
        set(c"file", c"user.x", b"3", libc::XATTR_REPLACE).expect("replaced");
        assert_errno!(set(c"file", c"user.x", b"4", 4), EINVAL);
        assert_eq!(get(c"file", c"user.x"), Ok(b"3".to_vec()));
    });
}

#[test]
fn sizes_can_be_asked_for_and_short_buffers_are_erange() {
    in_mount_namespace(|| {
        touch("file");
        set(c"file", c"user.x", b"12345", 0).expect("setxattr");
        let mut value = [0u8; 4];
        assert_eq!(syscall!(SYS_getxattr, c"file", c"user.x", 0usize, 0), Ok(5));
        assert_errno!(syscall!(SYS_getxattr, c"file", c"user.x", value.as_mut_ptr(), 4), ERANGE);
        assert_eq!(syscall!(SYS_listxattr, c"file", 0usize, 0), Ok(7));
        assert_errno!(syscall!(SYS_listxattr, c"file", value.as_mut_ptr(), 4), ERANGE);
    });
}

#[test]
fn names_and_values_have_bounds() {
    in_mount_namespace(|| {
        touch("file");
        assert_errno!(set(c"file", c"nonamespace", b"1", 0), EOPNOTSUPP);
        assert_errno!(set(c"file", c"unknown.x", b"1", 0), EOPNOTSUPP);
        assert_errno!(set(c"file", c"", b"1", 0), ERANGE);
        assert_errno!(set(c"file", c"user.", b"1", 0), EINVAL);
        let longest = abi::world::c(&format!("user.{}", "x".repeat(250)));
        set(c"file", &longest, b"1", 0).expect("255 bytes");
        let longer = abi::world::c(&format!("user.{}", "x".repeat(251)));
        assert_errno!(set(c"file", &longer, b"1", 0), ERANGE);
        assert_errno!(set(c"file", c"user.big", &vec![0; 65_537], 0), E2BIG);
        assert_errno!(get(c"missing", c"user.x"), ENOENT);
        assert_errno!(syscall!(SYS_getxattr, c"file", 0x10usize, 0usize, 0), EFAULT);
    });
}

#[test]
fn user_attributes_follow_the_files_permissions() {
    in_mount_namespace(|| {
        touch("file");
        set(c"file", c"user.x", b"1", 0).expect("setxattr");
        set(c"file", c"trusted.x", b"1", 0).expect("setxattr");
        std::fs::set_permissions("file", std::fs::Permissions::from_mode(0o644)).expect("chmod");
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_eq!(get(c"file", c"user.x"), Ok(b"1".to_vec()));
            assert_errno!(set(c"file", c"user.x", b"2", 0), EACCES);
            assert_errno!(get(c"file", c"trusted.x"), ENODATA);
            assert_errno!(set(c"file", c"trusted.x", b"2", 0), EPERM);
            assert_errno!(set(c"file", c"security.x", b"2", 0), EPERM);
            assert_eq!(list(c"file"), ["user.x"], "trusted names are for the privileged");
        })
        .join();
    });
}

#[test]
fn only_files_and_directories_have_user_attributes() {
    in_mount_namespace(|| {
        mkdir("d");
        symlink("d", "link").expect("symlink");
        syscall!(SYS_mknod, c"fifo", libc::S_IFIFO | 0o600, 0).expect("mknod");
        set(c"d", c"user.x", b"1", 0).expect("a directory");
        assert_errno!(set(c"fifo", c"user.x", b"1", 0), EPERM);
        assert_errno!(syscall!(SYS_lsetxattr, c"link", c"user.x", c"1".as_ptr(), 1, 0), EPERM);
        syscall!(SYS_lsetxattr, c"link", c"trusted.x", c"1".as_ptr(), 1, 0).expect("trusted ones on anything");
        assert_eq!(syscall!(SYS_lgetxattr, c"link", c"trusted.x", 0usize, 0), Ok(1));
        assert_errno!(get(c"link", c"trusted.x"), ENODATA);
        assert_eq!(get(c"link", c"user.x"), Ok(b"1".to_vec()), "through the link");
    });
}

#[test]
fn attributes_belong_to_the_inode() {
    in_mount_namespace(|| {
        touch("file");
        std::fs::hard_link("file", "other").expect("link");
        let file = std::fs::File::open("file").expect("open");
        syscall!(SYS_fsetxattr, &file, c"user.x", c"ab".as_ptr(), 2, 0).expect("fsetxattr");
        assert_eq!(get(c"other", c"user.x"), Ok(b"ab".to_vec()));
        std::fs::rename("other", "renamed").expect("rename");
        assert_eq!(get(c"renamed", c"user.x"), Ok(b"ab".to_vec()));
        abi::world::mount("", "/tmp", "", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY, "").expect("remount");
        assert_errno!(set(c"file", c"user.x", b"1", 0), EROFS); // Rule L14
        assert_errno!(syscall!(SYS_fremovexattr, &file, c"user.x"), EROFS);
    });
}
