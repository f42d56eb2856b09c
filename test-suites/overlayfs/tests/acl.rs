//! Access control lists in layers: those of the topmost file count, come up with it, and what is new inherits them.

use abi::acl::{self, ACCESS, DEFAULT};
use abi::user::as_user;
use abi::world::{exists, mkdir, mkdirs, mount, open, read, touch, write};
use abi::{assert_errno, syscall};
use overlayfs::{in_world, mounted, mounted_read_only, unmounted};
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

const LIST: &str = "u::rw- u:1000:rw- g::--- m::rw- o::---";
const FOR_NEW: &str = "u::rwx u:1000:rwx g::r-x m::rwx o::--x";

#[track_caller]
fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("stat {path}: {error}")).mode() & 0o7777
}

fn chmod(path: &str, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn the_list_of_a_lower_file_counts() {
    in_world(|| {
        write("lower/file", "content");
        acl::set("lower/file", ACCESS, LIST).expect("setxattr");
        mounted("");
        acl::is("m/file", ACCESS, Some(LIST));
        as_user(1000, || assert_eq!(read("m/file"), "content"));
        as_user(1001, || assert_errno!(open("m/file", libc::O_RDONLY), EACCES));
        assert!(!exists("upper/file"));
    });
}

#[test]
fn a_list_comes_up_with_its_file() {
    in_world(|| {
        for name in ["file", "changed"] {
            write(&format!("lower/{name}"), "content");
            chown(format!("lower/{name}"), Some(5), Some(6)).expect("chown");
            chmod(&format!("lower/{name}"), 0o2750);
            acl::set(&format!("lower/{name}"), ACCESS, "u::rwx u:1000:rw- g::--- m::rwx o::---").expect("setxattr");
        }
        mounted("");
        // Neither owner nor of its group.
        as_user(1000, || drop(OpenOptions::new().append(true).open("m/file").expect("open")));
        acl::is("upper/file", ACCESS, Some("u::rwx u:1000:rw- g::--- m::rwx o::---"));
        assert_eq!(mode("upper/file"), 0o2770);
        chmod("m/changed", 0o640);
        acl::is("m/changed", ACCESS, Some("u::rw- u:1000:rw- g::--- m::r-- o::---"));
        acl::is("lower/changed", ACCESS, Some("u::rwx u:1000:rw- g::--- m::rwx o::---"));
    });
}

#[test]
fn a_list_comes_up_with_the_attributes_alone_too() {
    in_world(|| {
        write("lower/file", "content");
        acl::set("lower/file", ACCESS, LIST).expect("setxattr");
        mounted(",metacopy=on");
        chown("m/file", Some(7), None).expect("chown");
        acl::is("upper/file", ACCESS, Some(LIST));
        as_user(1000, || assert_eq!(read("m/file"), "content"));
    });
}

#[test]
fn setting_a_list_brings_a_file_up() {
    in_world(|| {
        write("lower/file", "content");
        mkdir("lower/dir");
        mounted("");
        acl::set("m/file", ACCESS, LIST).expect("setxattr");
        acl::set("m/dir", DEFAULT, FOR_NEW).expect("setxattr");
        acl::is("upper/file", ACCESS, Some(LIST));
        acl::is("upper/dir", DEFAULT, Some(FOR_NEW));
        acl::is("lower/file", ACCESS, None);
        assert_eq!((mode("m/file"), mode("lower/file")), (0o660, 0o644));
        assert_eq!(read("m/file"), "content");
        acl::remove("m/file", ACCESS).expect("removexattr");
        acl::is("m/file", ACCESS, None);
        acl::remove("m/file", ACCESS).expect("of an upper file that is no error");
    });
}

#[test]
fn what_fails_brings_nothing_up() {
    in_world(|| {
        write("lower/file", "content");
        chown("lower/file", Some(1001), None).expect("chown");
        mounted("");
        as_user(1000, || {
            assert_errno!(acl::set("m/file", ACCESS, LIST), EPERM);
            assert_errno!(acl::remove("m/file", ACCESS), EPERM);
        });
        assert_errno!(acl::remove("m/file", ACCESS), ENODATA);
        assert_errno!(acl::set("m/file", ACCESS, "u::rw-"), EINVAL);
        assert_errno!(acl::set("m/file", DEFAULT, LIST), EACCES);
        assert!(!exists("upper/file"));
    });
}

#[test]
fn what_is_made_in_a_lower_directory_inherits_its_list() {
    in_world(|| {
        mkdir("lower/dir");
        acl::set("lower/dir", DEFAULT, FOR_NEW).expect("setxattr");
        mounted("");
        drop(open("m/dir/file", libc::O_CREAT | libc::O_WRONLY).expect("open"));
        mkdir("m/dir/dir");
        acl::is("m/dir/dir", DEFAULT, Some(FOR_NEW));
        acl::is("upper/dir/dir", ACCESS, Some(FOR_NEW));
        acl::is("upper/dir", DEFAULT, Some(FOR_NEW));
        assert!(acl::get("m/dir/file", ACCESS).is_ok());
        acl::is("m/dir", ACCESS, None);
    });
}

#[test]
fn what_takes_a_hidden_names_place_inherits_like_others() {
    in_world(|| {
        mkdirs(&["lower/dir", "lower/dir/a", "lower/plain"]);
        touch("lower/dir/b");
        touch("lower/plain/c");
        acl::set("lower/dir", DEFAULT, FOR_NEW).expect("setxattr");
        chown("lower/dir", Some(1000), Some(1001)).expect("chown");
        chmod("lower/dir", 0o2777);
        mounted("");
        syscall!(SYS_umask, 0o077).expect("umask");
        fs::remove_dir("m/dir/a").expect("rmdir");
        fs::remove_file("m/dir/b").expect("unlink");
        fs::remove_file("m/plain/c").expect("unlink");
        as_user(1000, || {
            mkdir("m/dir/a");
            write("m/dir/b", "");
        });
        mkdir("m/plain/c");
        acl::is("m/dir/a", ACCESS, Some(FOR_NEW));
        acl::is("m/dir/a", DEFAULT, Some(FOR_NEW));
        acl::is("m/dir/b", ACCESS, Some("u::rw- u:1000:rwx g::r-x m::rw- o::---"));
        // Somebody outside the group makes a directory that has the group and its bit.
        let made = fs::metadata("m/dir/a").expect("stat");
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (1000, 1001, 0o2771));
        assert_eq!(mode("m/plain/c"), 0o700);
    });
}

#[test]
fn the_directory_for_work_hands_nothing_on() {
    in_world(|| {
        write("lower/file", "content");
        touch("lower/gone");
        acl::set("work", DEFAULT, FOR_NEW).expect("setxattr");
        mounted("");
        acl::is("work/work", DEFAULT, None);
        acl::is("work/work", ACCESS, None);
        chmod("m/file", 0o640);
        fs::remove_file("m/gone").expect("unlink");
        touch("m/gone");
        for path in ["upper/file", "upper/gone"] {
            acl::is(path, ACCESS, None);
        }
        assert_eq!((mode("m/file"), mode("m/gone")), (0o640, 0o644));
    });
}

#[test]
fn a_file_without_a_name_inherits() {
    in_world(|| {
        mkdir("lower/dir");
        acl::set("lower/dir", DEFAULT, FOR_NEW).expect("setxattr");
        mounted("");
        let path = abi::world::c("m/dir");
        let fd = syscall!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_TMPFILE | libc::O_RDWR, 0o666).expect("O_TMPFILE");
        acl::is(&format!("/proc/self/fd/{fd}"), ACCESS, Some("u::rw- u:1000:rwx g::r-x m::rw- o::---"));
        syscall!(SYS_close, fd).expect("close");
    });
}

#[test]
fn a_layer_without_lists_has_none() {
    in_world(|| {
        mount("", "lower", "ramfs", 0, "").expect("a ramfs");
        write("lower/file", "content");
        assert_errno!(acl::get("lower/file", ACCESS), EOPNOTSUPP);
        mounted("");
        acl::is("m/file", ACCESS, None);
        assert_errno!(acl::set("m/file", ACCESS, LIST), EOPNOTSUPP);
        chmod("m/file", 0o600);
        acl::set("m/file", ACCESS, LIST).expect("it is in the upper layer now, which has lists");
        acl::is("m/file", ACCESS, Some(LIST));
        unmounted();
    });
}

#[test]
fn an_overlay_that_cannot_be_written_to_refuses_lists() {
    in_world(|| {
        touch("lower/file");
        acl::set("lower/file", ACCESS, LIST).expect("setxattr");
        mounted_read_only("");
        assert_errno!(acl::set("m/file", ACCESS, LIST), EROFS);
        assert_errno!(acl::remove("m/file", ACCESS), EROFS);
        acl::is("m/file", ACCESS, Some(LIST));
    });
}
