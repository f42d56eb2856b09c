//! Names and paths: what may be one, how long, and what is said when there is none.

use super::{kind, on};
use abi::world::{exists, mkdir, read, touch, write};
use posix::{GIVEN, Kind, fails, open};
use rustix::fs::OFlags;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

#[test]
fn a_name_has_255_bytes_at_most() {
    on(|| {
        // fuse-overlayfs leaves room for the name of a whiteout.
        let most = if kind() == Kind::FuseOverlayfs { 255 - ".wh.".len() } else { 255 };
        let longest = "n".repeat(most);
        write(&longest, "text");
        assert_eq!(read(&longest), "text");
        assert!(abi::world::names(".").contains(&longest));
        mkdir("dir");
        fs::rename(&longest, format!("dir/{longest}")).expect("rename");
        for longer in ["n".repeat(most + 1), "n".repeat(256)] {
            fails(fs::File::create(&longer), libc::ENAMETOOLONG);
            fails(fs::create_dir(&longer), libc::ENAMETOOLONG);
            fails(std::os::unix::fs::symlink("x", &longer), libc::ENAMETOOLONG);
            fails(fs::hard_link(GIVEN, &longer), libc::ENAMETOOLONG);
        }
        if kind() != Kind::FuseOverlayfs {
            fails(fs::metadata("n".repeat(256)), libc::ENAMETOOLONG);
        }
        assert_eq!(rustix::fs::statvfs(".").expect("statvfs").f_namemax, most as u64);
    });
}

#[test]
fn a_path_has_4095_bytes_at_most() {
    on(|| {
        let longest = format!("{}{GIVEN}", "./".repeat((4095 - GIVEN.len()) / 2));
        assert_eq!(read(&longest), "given\n");
        fails(fs::read(format!("{}{GIVEN}", "./".repeat(2048))), libc::ENAMETOOLONG);
    });
}

#[test]
fn a_name_has_any_bytes_but_the_slash() {
    on(|| {
        for name in [&b"with space"[..], b"line\nbreak", b"\xff\xfe", "ümläut".as_bytes(), b"...", b"-", b"*", b"\x01", b"a\\b"] {
            let name = OsStr::from_bytes(name);
            fs::write(name, name.as_bytes()).expect("write");
            assert_eq!(fs::read(name).expect("read"), name.as_bytes());
            let listed = fs::read_dir(".").expect("readdir").any(|entry| entry.expect("an entry").file_name() == name);
            assert!(listed, "{name:?}");
            fs::remove_file(name).expect("unlink");
        }
    });
}

#[test]
fn upper_and_lower_case_are_two_names() {
    on(|| {
        write("NAME", "upper");
        write("name", "lower");
        assert_eq!((read("NAME").as_str(), read("name").as_str(), exists("Name")), ("upper", "lower", false));
    });
}

#[test]
fn a_missing_part_is_enoent_and_a_file_on_the_way_enotdir() {
    on(|| {
        for path in ["missing", "missing/x", "given-dir/missing", ""] {
            fails(fs::metadata(path), libc::ENOENT);
            fails(open(path, OFlags::RDONLY), libc::ENOENT);
        }
        for path in ["given/x", "given/", "given/.", "given/..", "given-link/x"] {
            fails(fs::metadata(path), libc::ENOTDIR);
            fails(open(path, OFlags::RDONLY), libc::ENOTDIR);
        }
        fails(fs::create_dir("missing/dir"), libc::ENOENT);
        fails(fs::create_dir("given/dir"), libc::ENOTDIR);
    });
}

#[test]
fn what_is_there_is_not_made_again() {
    on(|| {
        for name in [GIVEN, "given-dir", "given-link", ".", ".."] {
            fails(fs::create_dir(name), libc::EEXIST);
            fails(abi::world::mknod(name, libc::S_IFIFO | 0o644, 0), libc::EEXIST);
        }
        fails(open(GIVEN, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY), libc::EEXIST);
        drop(open(GIVEN, OFlags::CREATE | OFlags::WRONLY).expect("without O_EXCL it is opened"));
        assert_eq!(read(GIVEN), "given\n");
    });
}

#[test]
fn a_slash_at_the_end_means_a_directory() {
    on(|| {
        mkdir("dir/");
        fails(open("file/", OFlags::CREATE | OFlags::WRONLY), libc::EISDIR);
        fails(fs::hard_link(GIVEN, "second/"), libc::ENOENT);
        fails(abi::syscall!(SYS_mknod, c"node/", libc::S_IFREG | 0o644, 0), libc::ENOENT);
        fs::rename("dir/", "moved/").expect("rename of a directory");
        assert!(exists("moved"));
    });
}

#[test]
fn a_removed_name_is_gone_at_once_and_can_be_made_anew_as_something_else() {
    on(|| {
        for _ in 0..3 {
            touch("name");
            fs::remove_file("name").expect("unlink");
            fails(fs::metadata("name"), libc::ENOENT);
            mkdir("name");
            fs::remove_dir("name").expect("rmdir");
            std::os::unix::fs::symlink(GIVEN, "name").expect("symlink");
            assert_eq!(read("name"), "given\n");
            fs::remove_file("name").expect("unlink");
        }
        fs::remove_file(GIVEN).expect("unlink");
        mkdir(GIVEN);
        assert!(posix::stat(GIVEN).is_dir());
        fs::remove_file("given-dir/given").expect("unlink");
        fs::remove_dir("given-dir").expect("rmdir");
        write("given-dir", "now a file");
        assert_eq!(read("given-dir"), "now a file");
    });
}
