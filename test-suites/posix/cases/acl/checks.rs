//! Whom a list lets in.

use super::kind;
use abi::acl::{self, ACCESS};
use abi::user::in_groups;
use abi::world::{mkdir, read, touch, write};
use posix::{Kind, as_user, chmod, fails, file_of, mkdir_of, open};
use rustix::fs::{Access, OFlags};
use std::fs;
use std::os::unix::fs::symlink;

/// Runs a case in a fresh file system, if it goes by lists.
fn on(case: impl FnOnce()) {
    if kind() == Kind::Passthrough {
        return abi::child::tell("left out: the server does not take POSIX_ACL, and the kernel looks at modes only");
    }
    super::on(case);
}

/// Tries to read and to write `file`: what is allowed, as letters.
fn allowed() -> String {
    let can = |flags| match open("file", flags) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error, rustix::io::Errno::ACCESS);
            false
        }
    };
    [("r", OFlags::RDONLY), ("w", OFlags::WRONLY)].into_iter().filter(|(_, flags)| can(*flags)).map(|(letter, _)| letter).collect()
}

/// A file of user and group 1000 with a list.
fn file_with(list: &str) {
    file_of(1000, "file", 0o600);
    acl::set("file", ACCESS, list).expect("setxattr");
}

#[test]
fn a_named_user_gets_what_entry_and_mask_say() {
    on(|| {
        for (entry, mask, expected) in
            [("rw-", "rw-", "rw"), ("rw-", "r--", "r"), ("r--", "rwx", "r"), ("---", "rwx", ""), ("rw-", "--x", "")]
        {
            file_with(&format!("u::rw- u:1001:{entry} g::rw- m::{mask} o::rw-"));
            as_user(1001, || assert_eq!(allowed(), expected, "{entry} under {mask}"));
        }
    });
}

#[test]
fn the_entry_of_a_user_decides_whatever_groups_say() {
    on(|| {
        file_with("u::rw- u:1001:--- g::rw- g:1001:rw- m::rw- o::rw-");
        as_user(1001, || assert_eq!(allowed(), ""));
        in_groups(1001, &[1000, 1001], || assert_eq!(allowed(), ""));
    });
}

#[test]
fn the_owner_is_not_under_the_mask() {
    on(|| {
        file_with("u::rw- u:1000:--- g::rw- m::r-- o::---");
        as_user(1000, || assert_eq!(allowed(), "rw"));
        acl::set("file", ACCESS, "u::r-- u:1000:rwx g::rw- m::rwx o::rwx").expect("setxattr");
        as_user(1000, || assert_eq!(allowed(), "r"));
    });
}

#[test]
fn a_named_group_gets_what_entry_and_mask_say() {
    on(|| {
        for (entry, mask, expected) in [("rw-", "rw-", "rw"), ("rw-", "r--", "r"), ("r--", "rwx", "r"), ("---", "rwx", "")] {
            file_with(&format!("u::rw- g::--- g:1001:{entry} m::{mask} o::rw-"));
            as_user(1001, || assert_eq!(allowed(), expected, "{entry} under {mask}"));
            in_groups(1002, &[5, 1001], || assert_eq!(allowed(), expected, "{entry} under {mask}"));
        }
    });
}

#[test]
fn the_owning_group_is_under_the_mask_too() {
    on(|| {
        file_with("u::rw- g::rw- m::r-- o::rw-");
        in_groups(1001, &[1000], || assert_eq!(allowed(), "r"));
        as_user(1001, || assert_eq!(allowed(), "rw"));
    });
}

#[test]
fn of_several_groups_one_must_allow_all_that_is_asked() {
    on(|| {
        file_with("u::rw- g::--- g:1001:r-- g:1002:-w- m::rw- o::---");
        in_groups(1003, &[1001, 1002], || {
            assert_eq!(allowed(), "rw");
            fails(open("file", OFlags::RDWR), libc::EACCES);
        });
        acl::set("file", ACCESS, "u::rw- g::--- g:1001:r-- g:1002:rw- m::rw- o::---").expect("setxattr");
        in_groups(1003, &[1001, 1002], || drop(open("file", OFlags::RDWR).expect("by the second group")));
    });
}

#[test]
fn who_is_in_a_group_is_not_among_the_others() {
    on(|| {
        file_with("u::rw- g::--- g:1001:--- m::rw- o::rw-");
        as_user(1001, || assert_eq!(allowed(), ""));
        in_groups(1002, &[1000], || assert_eq!(allowed(), ""));
        as_user(1002, || assert_eq!(allowed(), "rw"));
    });
}

#[test]
fn an_empty_mask_makes_named_users_others() {
    on(|| {
        // Linux looks at no list whose group class has nothing to give.
        file_with("u::rw- u:1001:rw- g::rw- m::--- o::r--");
        as_user(1001, || assert_eq!(allowed(), "r"));
        in_groups(1002, &[1000], || assert_eq!(allowed(), ""));
    });
}

#[test]
fn root_is_not_stopped_by_a_list() {
    on(|| {
        file_with("u::--- u:0:--- g::--- m::rwx o::---");
        assert_eq!(allowed(), "rw");
        rustix::fs::access("file", Access::EXEC_OK).expect("the mask has an x");
        chmod("file", 0o060).expect("chmod");
        fails(rustix::fs::access("file", Access::EXEC_OK), libc::EACCES);
    });
}

#[test]
fn access_and_running_go_by_the_list() {
    on(|| {
        file_with("u::rw- u:1001:r-x u:1002:rw- g::--- m::rwx o::---");
        as_user(1001, || {
            rustix::fs::access("file", Access::READ_OK | Access::EXEC_OK).expect("both are in the entry");
            fails(rustix::fs::access("file", Access::WRITE_OK), libc::EACCES);
            // The file is no program, which is noticed after the permission.
            fails(std::process::Command::new("./file").status(), libc::ENOEXEC);
        });
        as_user(1002, || {
            fails(rustix::fs::access("file", Access::EXEC_OK), libc::EACCES);
            fails(std::process::Command::new("./file").status(), libc::EACCES);
        });
    });
}

#[test]
fn a_directory_is_searched_listed_and_changed_by_the_list() {
    on(|| {
        mkdir_of(1000, "d", 0o700);
        file_of(1000, "d/file", 0o644);
        acl::set("d", ACCESS, "u::rwx u:1001:--x u:1002:r-- u:1003:-wx g::--- m::rwx o::---").expect("setxattr");
        as_user(1001, || {
            assert_eq!(read("d/file"), "content");
            fails(fs::read_dir("d"), libc::EACCES);
            fails(open("d/new", OFlags::CREATE | OFlags::WRONLY), libc::EACCES);
            fails(fs::remove_file("d/file"), libc::EACCES);
        });
        as_user(1002, || {
            assert_eq!(abi::world::names("d"), ["file"]);
            fails(fs::metadata("d/file"), libc::EACCES);
        });
        as_user(1003, || {
            touch("d/new");
            mkdir("d/dir");
            fs::rename("d/new", "d/moved").expect("rename");
            fs::remove_file("d/file").expect("unlink");
        });
        as_user(1004, || fails(fs::metadata("d/moved"), libc::EACCES));
    });
}

#[test]
fn every_directory_of_a_path_is_asked() {
    on(|| {
        abi::world::mkdirs(&["a", "a/b", "a/b/c"]);
        write("a/b/c/file", "content");
        symlink("a/b", "link").expect("symlink");
        chmod("a/b", 0o700).expect("chmod");
        as_user(1001, || fails(fs::metadata("link/c/file"), libc::EACCES));
        acl::set("a/b", ACCESS, "u::rwx u:1001:--x g::--- m::--x o::---").expect("setxattr");
        as_user(1001, || {
            assert_eq!(read("a/b/c/file"), "content");
            assert_eq!(read("link/c/../c/file"), "content");
            std::env::set_current_dir("a/b").expect("chdir");
        });
        as_user(1002, || {
            fails(fs::metadata("a/b/c/file"), libc::EACCES);
            fails(std::env::set_current_dir("a/b"), libc::EACCES);
        });
        // Somebody may be kept out whom the mode alone would let in.
        acl::set("a/b", ACCESS, "u::rwx u:1001:--- g::r-x m::r-x o::r-x").expect("setxattr");
        as_user(1002, || assert_eq!(read("a/b/c/file"), "content"));
        as_user(1001, || fails(fs::metadata("a/b/c/file"), libc::EACCES));
        acl::remove("a/b", ACCESS).expect("removexattr");
        as_user(1001, || assert_eq!(read("a/b/c/file"), "content"));
    });
}

#[test]
fn chmod_shuts_named_users_out() {
    on(|| {
        file_with("u::rw- u:1001:rw- g::--- m::rw- o::---");
        as_user(1001, || assert_eq!(allowed(), "rw"));
        chmod("file", 0o640).expect("chmod");
        as_user(1001, || assert_eq!(allowed(), "r"));
        chmod("file", 0o660).expect("chmod");
        as_user(1001, || assert_eq!(allowed(), "rw"));
    });
}
