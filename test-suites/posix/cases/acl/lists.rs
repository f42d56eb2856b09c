//! What can be set, what is shown of it, and what becomes of it.

use super::{kind, on};
use abi::acl::{self, ACCESS, DEFAULT};
use abi::syscall;
use abi::user_namespace::in_user_namespace;
use abi::world::{mkdir, mount, touch, write};
use posix::{GIVEN, Kind, as_user, chmod, chown, fails, file_of, mkdir_of, mode};
use rustix::fs::XattrFlags;
use std::fs;
use std::os::unix::fs::symlink;

const LIST: &str = "u::rw- u:1000:rw- g::r-- g:1001:--- m::rw- o::---";

#[test]
fn a_list_is_given_back_as_it_was_set() {
    on(|| {
        mkdir("dir");
        for name in [GIVEN, "dir", "given-dir"] {
            acl::is(name, ACCESS, None);
            acl::set(name, ACCESS, LIST).expect("setxattr");
            acl::is(name, ACCESS, Some(LIST));
        }
        for name in ["dir", "given-dir"] {
            acl::is(name, DEFAULT, None);
            acl::set(name, DEFAULT, "u::rwx g::r-x o::r-x").expect("setxattr");
            acl::is(name, DEFAULT, Some("u::rwx g::r-x o::r-x"));
            acl::is(name, ACCESS, Some(LIST));
        }
    });
}

#[test]
fn a_list_of_three_entries_is_the_mode() {
    on(|| {
        acl::set(GIVEN, ACCESS, LIST).expect("setxattr");
        acl::set(GIVEN, ACCESS, "u::rwx g::r-x o::--x").expect("setxattr");
        acl::is(GIVEN, ACCESS, None);
        assert_eq!(mode(GIVEN), 0o751);
    });
}

#[test]
fn the_mode_shows_owner_mask_and_others() {
    on(|| {
        chmod(GIVEN, 0o600).expect("chmod");
        acl::set(GIVEN, ACCESS, "u::rwx u:1000:r-- g::--- m::-wx o::r--").expect("setxattr");
        assert_eq!(mode(GIVEN), 0o734);
        // A mask alone is enough to be more than a mode.
        acl::set(GIVEN, ACCESS, "u::rw- g::rwx m::r-- o::---").expect("setxattr");
        acl::is(GIVEN, ACCESS, Some("u::rw- g::rwx m::r-- o::---"));
        assert_eq!(mode(GIVEN), 0o640);
    });
}

#[test]
fn set_id_and_sticky_bits_are_none_of_a_lists_business() {
    on(|| {
        mkdir("dir");
        chmod("dir", 0o7755).expect("chmod");
        acl::set("dir", ACCESS, "u::rwx u:1000:rwx g::--- m::rwx o::---").expect("setxattr");
        assert_eq!(mode("dir"), 0o7770);
    });
}

#[test]
fn chmod_changes_owner_mask_and_others() {
    on(|| {
        mkdir("dir");
        for name in [GIVEN, "dir"] {
            acl::set(name, ACCESS, "u::rwx u:1000:rwx g::rwx m::rwx o::---").expect("setxattr");
            chmod(name, 0o1624).expect("chmod");
            acl::is(name, ACCESS, Some("u::rw- u:1000:rwx g::rwx m::-w- o::r--"));
            assert_eq!(mode(name), 0o1624);
        }
    });
}

#[test]
fn removing_a_list_leaves_the_mode() {
    on(|| {
        acl::set(GIVEN, ACCESS, "u::rw- u:1000:rw- g::--- m::rw- o::---").expect("setxattr");
        acl::remove(GIVEN, ACCESS).expect("removexattr");
        acl::is(GIVEN, ACCESS, None);
        assert_eq!(mode(GIVEN), 0o660);
        mkdir("dir");
        acl::set("dir", DEFAULT, LIST).expect("setxattr");
        acl::remove("dir", DEFAULT).expect("removexattr");
        acl::is("dir", DEFAULT, None);
    });
}

#[test]
fn removing_what_is_not_there_is_no_error() {
    on(|| {
        touch("file");
        mkdir("dir");
        acl::remove("file", ACCESS).expect("removexattr");
        acl::remove("file", DEFAULT).expect("removexattr");
        acl::remove("dir", ACCESS).expect("removexattr");
        acl::remove("dir", DEFAULT).expect("removexattr");
        // To know that, overlayfs would have to bring a lower file up.
        let expected = if kind() == Kind::Overlayfs { Err(abi::Errno(libc::ENODATA)) } else { Ok(()) };
        assert_eq!(acl::remove(GIVEN, ACCESS), expected);
        assert_eq!(acl::remove("given-dir", DEFAULT), expected);
    });
}

#[test]
fn a_value_without_entries_removes_a_list() {
    on(|| {
        for nothing in [&[][..], &acl::value("")] {
            acl::set(GIVEN, ACCESS, LIST).expect("setxattr");
            acl::set_value(GIVEN, ACCESS, nothing).expect("setxattr");
            acl::is(GIVEN, ACCESS, None);
        }
    });
}

#[test]
fn flags_do_not_count_for_lists() {
    on(|| {
        let set = |flags| rustix::fs::setxattr(GIVEN, ACCESS, &acl::value(LIST), flags);
        set(XattrFlags::REPLACE).expect("there is none");
        set(XattrFlags::CREATE).expect("there is one");
        acl::is(GIVEN, ACCESS, Some(LIST));
    });
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    on(|| {
        let refused = [
            "u::rw-",
            "u::rw- g::r--",
            "g::r-- o::r--",
            "u::rw- o::r--",
            // Named entries need a mask.
            "u::rw- u:1000:r-- g::r-- o::r--",
            "u::rw- g::r-- g:1000:r-- o::r--",
            // There is an order.
            "g::r-- u::rw- o::r--",
            "u::rw- g::r-- u:1000:r-- m::r-- o::r--",
            "u::rw- g:1000:r-- g::r-- m::r-- o::r--",
            "u::rw- g::r-- o::r-- m::r--",
            "u::rw- m::r-- g::r-- o::r--",
            // Of the others one each.
            "u::rw- u::rw- g::r-- o::r--",
            "u::rw- g::r-- g::r-- o::r--",
            "u::rw- g::r-- m::r-- m::r-- o::r--",
            "u::rw- g::r-- o::r-- o::r--",
            "u::rw- g::r-- o::r-- u:1000:r--",
        ];
        for list in refused {
            fails(acl::set(GIVEN, ACCESS, list), libc::EINVAL);
            fails(acl::set("given-dir", DEFAULT, list), libc::EINVAL);
        }
        let three = acl::value("u::rw- g::r-- o::r--");
        fails(acl::set_value(GIVEN, ACCESS, &three[..3]), libc::EINVAL);
        fails(acl::set_value(GIVEN, ACCESS, &three[..three.len() - 1]), libc::EINVAL);
        fails(acl::set_value(GIVEN, ACCESS, &[&acl::value("u::rw- g::r--")[..], &acl::line(0x20, 8, u32::MAX)].concat()), libc::EINVAL);
        fails(acl::set_value(GIVEN, ACCESS, &[&three[..], &acl::line(0x40, 4, u32::MAX)].concat()), libc::EINVAL);
        let nobody = [&acl::value("u::rw-")[..], &acl::line(2, 4, u32::MAX), &acl::value("g::r-- m::r-- o::r--")[4..]].concat();
        fails(acl::set_value(GIVEN, ACCESS, &nobody), libc::EINVAL);
        fails(acl::set_value(GIVEN, ACCESS, &[&[1, 0, 0, 0], &three[4..]].concat()), libc::EOPNOTSUPP);
        acl::is(GIVEN, ACCESS, None);
        assert_eq!(mode(GIVEN), 0o644);
    });
}

#[test]
fn a_user_may_be_named_twice_and_the_first_time_counts() {
    on(|| {
        let list = "u::rw- u:1000:r-- u:1000:rw- g::--- m::rw- o::---";
        file_of(1001, "file", 0o600);
        acl::set("file", ACCESS, list).expect("setxattr");
        acl::is("file", ACCESS, Some(list));
        if kind() == Kind::Passthrough {
            // It does not take POSIX_ACL, and the kernel looks at modes only.
            return;
        }
        as_user(1000, || {
            assert_eq!(abi::world::read("file"), "content");
            fails(fs::OpenOptions::new().write(true).open("file"), libc::EACCES);
        });
    });
}

#[test]
fn only_directories_have_a_default_list() {
    on(|| {
        fails(acl::set(GIVEN, DEFAULT, LIST), libc::EACCES);
        acl::is(GIVEN, DEFAULT, None);
        acl::remove(GIVEN, DEFAULT).expect("none is what it has");
        file_of(1000, "file", 0o666);
        as_user(1001, || fails(acl::set("file", DEFAULT, LIST), libc::EACCES));
    });
}

#[test]
fn only_the_owner_sets_a_list_and_everybody_sees_it() {
    on(|| {
        file_of(1000, "file", 0o666);
        mkdir_of(1000, "dir", 0o777);
        as_user(1001, || {
            fails(acl::set("file", ACCESS, LIST), libc::EPERM);
            fails(acl::remove("file", ACCESS), libc::EPERM);
            fails(acl::set("dir", DEFAULT, LIST), libc::EPERM);
        });
        as_user(1000, || {
            acl::set("file", ACCESS, LIST).expect("the owner");
            acl::set("dir", DEFAULT, LIST).expect("the owner");
        });
        as_user(1001, || {
            acl::is("file", ACCESS, Some(LIST));
            acl::is("dir", DEFAULT, Some(LIST));
        });
        acl::remove("file", ACCESS).expect("root");
    });
}

#[test]
fn a_symlink_has_no_list() {
    on(|| {
        symlink(GIVEN, "link").expect("symlink");
        for attribute in [ACCESS, DEFAULT] {
            let mut value = [0; 100];
            fails(rustix::fs::lgetxattr("link", attribute, &mut value[..]), libc::EOPNOTSUPP);
            fails(rustix::fs::lsetxattr("link", attribute, &acl::value(LIST), XattrFlags::empty()), libc::EOPNOTSUPP);
            fails(rustix::fs::lremovexattr("link", attribute), libc::EOPNOTSUPP);
        }
        acl::set("link", ACCESS, LIST).expect("what it leads to");
        acl::is(GIVEN, ACCESS, Some(LIST));
    });
}

#[test]
fn a_buffer_that_is_too_short_is_erange() {
    on(|| {
        acl::set(GIVEN, ACCESS, LIST).expect("setxattr");
        let len = acl::value(LIST).len();
        let mut value = vec![0; len];
        assert_eq!(syscall!(SYS_getxattr, c"given", c"system.posix_acl_access", 0usize, 0), Ok(len));
        fails(rustix::fs::getxattr(GIVEN, ACCESS, &mut value[..len - 1]), libc::ERANGE);
        assert_eq!(rustix::fs::getxattr(GIVEN, ACCESS, &mut value[..]), Ok(len));
    });
}

/// The names of a file's extended attributes.
fn listed(path: &str) -> Vec<String> {
    let mut list = vec![0; 1000];
    let len = rustix::fs::listxattr(path, &mut list[..]).expect("listxattr");
    let text = String::from_utf8(list[..len].to_vec()).expect("text");
    let mut names: Vec<String> = text.split_terminator('\0').filter(|name| name.contains("posix_acl")).map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn lists_are_listed_among_extended_attributes() {
    on(|| {
        mkdir("dir");
        assert!(listed("dir").is_empty());
        acl::set("dir", DEFAULT, LIST).expect("setxattr");
        assert_eq!(listed("dir"), [DEFAULT]);
        acl::set("dir", ACCESS, LIST).expect("setxattr");
        assert_eq!(listed("dir"), [ACCESS, DEFAULT]);
        acl::set("dir", ACCESS, "u::rwx g::r-x o::r-x").expect("setxattr");
        acl::remove("dir", DEFAULT).expect("removexattr");
        assert!(listed("dir").is_empty());
    });
}

#[test]
fn somebody_outside_the_group_cannot_keep_the_set_group_id_bit() {
    on(|| {
        // Both servers act as root, and neither asks to be told of the bit.
        let kept = if kind().is_fuse() { 0o2000 } else { 0 };
        for (list, expected) in [(LIST, 0o660), ("u::rw- g::r-- o::r--", 0o644)] {
            file_of(1000, "file", 0o644);
            chown("file", 1000, 1001);
            chmod("file", 0o2755).expect("chmod");
            as_user(1000, || acl::set("file", ACCESS, list).expect("the owner"));
            assert_eq!(mode("file"), kept | expected);
            chmod("file", 0o2755).expect("chmod");
            acl::set("file", ACCESS, list).expect("root");
            assert_eq!(mode("file"), 0o2000 | expected);
            fs::remove_file("file").expect("unlink");
        }
    });
}

#[test]
fn a_read_only_mount_refuses_lists() {
    on(|| {
        acl::set(GIVEN, ACCESS, LIST).expect("setxattr");
        mount("", "/tmp/fs", "", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY, "").expect("remount");
        fails(acl::set(GIVEN, ACCESS, LIST), libc::EROFS);
        fails(acl::set_value(GIVEN, ACCESS, b"nonsense"), libc::EROFS);
        fails(acl::remove(GIVEN, ACCESS), libc::EROFS);
        acl::is(GIVEN, ACCESS, Some(LIST));
    });
}

#[test]
fn a_list_stays_with_the_file() {
    on(|| {
        acl::set(GIVEN, ACCESS, LIST).expect("setxattr");
        acl::set("given-dir", DEFAULT, LIST).expect("setxattr");
        fs::rename(GIVEN, "moved").expect("rename");
        fs::hard_link("moved", "second").expect("link");
        write("second", "other content");
        chown("second", 1002, 1003);
        acl::is("moved", ACCESS, Some(LIST));
        acl::is("second", ACCESS, Some(LIST));
        acl::is("given-dir", DEFAULT, Some(LIST));
    });
}

#[test]
fn setting_a_list_changes_the_change_time() {
    use std::os::unix::fs::MetadataExt;
    on(|| {
        touch("file");
        let change = || (posix::stat("file").ctime(), posix::stat("file").ctime_nsec());
        for list in [LIST, "u::rw- g::r-- o::r--"] {
            let before = change();
            std::thread::sleep(std::time::Duration::from_millis(20));
            acl::set("file", ACCESS, list).expect("setxattr");
            assert!(change() > before, "{list}");
        }
    });
}

#[test]
fn ids_are_those_of_the_callers_user_namespace() {
    on(|| {
        file_of(1000, "file", 0o644);
        acl::set("file", ACCESS, "u::rw- u:1000:r-- u:1001:rw- g::r-- m::rw- o::r--").expect("setxattr");
        in_user_namespace(
            || {},
            || {
                // The caller is 0 here, and others are nobody.
                let shown = format!("u::rw- u:{}:r-- u:{}:rw- g::r-- m::rw- o::r--", u32::MAX, u32::MAX);
                acl::is("file", ACCESS, Some(&shown));
                touch("/tmp/own");
                fails(acl::set("/tmp/own", ACCESS, "u::rw- u:1:r-- g::r-- m::rw- o::r--"), libc::EINVAL);
                acl::set("/tmp/own", ACCESS, "u::rw- u:0:r-- g::r-- m::rw- o::r--").expect("root is known");
            },
        );
    });
}
