//! What new files get of their directory's default list.

use super::kind;
use abi::acl::{self, ACCESS, DEFAULT};
use abi::world::{mkdir, touch};
use posix::{GIVEN, as_user, chmod, chown, mkdir_of, mode, open};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

const LIST: &str = "u::rwx u:1000:rwx g::r-x m::rwx o::--x";

/// Runs a case in a fresh file system, if new files inherit as `acl(5)` says.
fn on(case: impl FnOnce()) {
    if kind().is_fuse() {
        return abi::child::tell(
            "left out: the kernel takes the umask off before the servers see a mode, and they make files in other places",
        );
    }
    super::on(case);
}

/// A directory `d` with a default list.
fn directory_with(list: &str) {
    mkdir("d");
    acl::set("d", DEFAULT, list).expect("setxattr");
}

#[track_caller]
fn create(path: &str, mode: u32) {
    drop(rustix::fs::open(path, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(mode)).expect("open"));
}

#[test]
fn a_file_gets_the_default_list_as_far_as_its_mode_allows() {
    on(|| {
        directory_with(LIST);
        create("d/file", 0o666);
        acl::is("d/file", ACCESS, Some("u::rw- u:1000:rwx g::r-x m::rw- o::---"));
        assert_eq!(mode("d/file"), 0o660);
        acl::is("d/file", DEFAULT, None);
        create("d/private", 0o600);
        acl::is("d/private", ACCESS, Some("u::rw- u:1000:rwx g::r-x m::--- o::---"));
        create("d/all", 0o777);
        acl::is("d/all", ACCESS, Some(LIST));
        acl::is("d", ACCESS, None);
    });
}

#[test]
fn a_directory_hands_the_default_list_on() {
    on(|| {
        directory_with(LIST);
        rustix::fs::mkdir("d/dir", Mode::from_raw_mode(0o750)).expect("mkdir");
        acl::is("d/dir", ACCESS, Some("u::rwx u:1000:rwx g::r-x m::r-x o::---"));
        acl::is("d/dir", DEFAULT, Some(LIST));
        assert_eq!(mode("d/dir"), 0o750);
        create("d/dir/file", 0o640);
        acl::is("d/dir/file", ACCESS, Some("u::rw- u:1000:rwx g::r-x m::r-- o::---"));
    });
}

#[test]
fn a_default_list_counts_in_the_umasks_place() {
    on(|| {
        directory_with(LIST);
        rustix::process::umask(Mode::from_raw_mode(0o077));
        create("d/file", 0o666);
        rustix::fs::mkdir("d/dir", Mode::from_raw_mode(0o777)).expect("mkdir");
        create("beside", 0o666);
        assert_eq!((mode("d/file"), mode("d/dir"), mode("beside")), (0o660, 0o771, 0o600));
        // It does again when the list is gone.
        acl::remove("d", DEFAULT).expect("removexattr");
        create("d/later", 0o666);
        assert_eq!(mode("d/later"), 0o600);
    });
}

#[test]
fn of_a_default_list_of_three_entries_only_the_mode_is_inherited() {
    on(|| {
        directory_with("u::rwx g::rwx o::---");
        create("d/file", 0o666);
        rustix::fs::mkdir("d/dir", Mode::from_raw_mode(0o777)).expect("mkdir");
        assert_eq!((mode("d/file"), mode("d/dir")), (0o660, 0o770));
        acl::is("d/file", ACCESS, None);
        acl::is("d/dir", ACCESS, None);
        acl::is("d/dir", DEFAULT, Some("u::rwx g::rwx o::---"));
    });
}

#[test]
fn special_files_inherit_too() {
    on(|| {
        directory_with(LIST);
        rustix::fs::mknodat(CWD, "d/fifo", FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("mknod");
        acl::is("d/fifo", ACCESS, Some("u::rw- u:1000:rwx g::r-x m::rw- o::---"));
        rustix::fs::mknodat(CWD, "d/file", FileType::RegularFile, Mode::from_raw_mode(0o640), 0).expect("mknod");
        acl::is("d/file", ACCESS, Some("u::rw- u:1000:rwx g::r-x m::r-- o::---"));
    });
}

#[test]
fn a_sockets_mode_is_under_the_umask_all_the_same() {
    on(|| {
        directory_with(LIST);
        drop(UnixListener::bind("d/socket").expect("bind"));
        acl::is("d/socket", ACCESS, Some("u::rwx u:1000:rwx g::r-x m::r-x o::--x"));
    });
}

#[test]
fn a_symlink_inherits_nothing() {
    on(|| {
        directory_with("u::--- g::--- o::---");
        symlink("../given", "d/link").expect("symlink");
        assert_eq!(mode("d/link"), 0o777);
        assert_eq!(abi::world::read("d/link"), "given\n");
    });
}

#[test]
fn a_hard_link_inherits_nothing() {
    on(|| {
        directory_with(LIST);
        fs::hard_link(GIVEN, "d/second").expect("link");
        fs::rename(GIVEN, "d/moved").expect("rename");
        acl::is("d/second", ACCESS, None);
        assert_eq!(mode("d/moved"), 0o644);
    });
}

#[test]
fn a_file_without_a_name_inherits() {
    on(|| {
        directory_with(LIST);
        let file = open("d", OFlags::TMPFILE | OFlags::RDWR).expect("O_TMPFILE");
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, path.as_str(), CWD, "named", AtFlags::SYMLINK_FOLLOW).expect("linkat");
        acl::is("named", ACCESS, Some("u::rw- u:1000:rwx g::r-x m::rw- o::---"));
    });
}

#[test]
fn what_was_inherited_lets_in() {
    on(|| {
        mkdir_of(1001, "d", 0o755);
        acl::set("d", DEFAULT, "u::rwx u:1000:rwx g::--- m::rwx o::---").expect("setxattr");
        as_user(1001, || {
            touch("d/file");
            mkdir("d/dir");
        });
        as_user(1000, || {
            drop(open("d/file", OFlags::RDWR).expect("named"));
            touch("d/dir/file");
        });
        as_user(1002, || posix::fails(open("d/file", OFlags::RDONLY), libc::EACCES));
    });
}

#[test]
fn what_takes_a_removed_names_place_inherits() {
    on(|| {
        // In a layered file system the names below are hidden by marks, and what is new takes their place.
        acl::set("given-dir", DEFAULT, LIST).expect("setxattr");
        fs::remove_file("given-dir/given").expect("unlink");
        create("given-dir/given", 0o666);
        acl::is("given-dir/given", ACCESS, Some("u::rw- u:1000:rwx g::r-x m::rw- o::---"));
        assert_eq!(mode("given-dir/given"), 0o660);
        fs::remove_file("given-dir/given").expect("unlink");
        rustix::fs::mkdir("given-dir/given", Mode::from_raw_mode(0o777)).expect("mkdir");
        acl::is("given-dir/given", ACCESS, Some(LIST));
        acl::is("given-dir/given", DEFAULT, Some(LIST));
    });
}

#[test]
fn a_set_group_id_directory_hands_bit_and_list_on() {
    on(|| {
        directory_with(LIST);
        chown("d", 0, 1001);
        chmod("d", 0o2777).expect("chmod");
        fs::create_dir_all("d/dir").expect("mkdir");
        acl::is("d/dir", DEFAULT, Some(LIST));
        acl::is("d/dir", ACCESS, Some(LIST));
        assert_eq!(mode("d/dir") & 0o777, 0o771);
    });
}
