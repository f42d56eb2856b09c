//! Renames.

use super::{kind, on};
use abi::world::{exists, identity, mkdir, mkdirs, names, read, touch, write};
use posix::{GIVEN, Kind, fails, open, stat};
use rustix::fs::{CWD, OFlags, RenameFlags};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, symlink};

fn rename_with(old: &str, new: &str, flags: RenameFlags) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(CWD, old, CWD, new, flags)
}

#[test]
fn a_file_moves_with_all_it_is() {
    on(|| {
        write("file", "text");
        posix::chmod("file", 0o604).expect("chmod");
        let before = (identity("file"), stat("file").mtime_nsec());
        mkdir("dir");
        fs::rename("file", "dir/moved").expect("rename");
        assert!(!exists("file"));
        assert_eq!((read("dir/moved").as_str(), posix::mode("dir/moved")), ("text", 0o604));
        assert_eq!((identity("dir/moved"), stat("dir/moved").mtime_nsec()), before);
    });
}

#[test]
fn given_files_and_links_move() {
    on(|| {
        fs::rename(GIVEN, "given-dir/moved").expect("rename");
        assert_eq!(read("given-dir/moved"), "given\n");
        assert!(!exists(GIVEN));
        fs::rename("given-dir/moved", GIVEN).expect("rename");
        fs::rename("given-link", "link").expect("rename");
        assert_eq!(read("link"), "given\n");
        assert_eq!(names("."), [GIVEN, "given-dir", "link"]);
    });
}

#[test]
fn a_file_is_replaced_and_stays_for_who_has_it_open() {
    on(|| {
        write("old", "old");
        write("new", "new");
        let mut open_file = open("new", OFlags::RDONLY).expect("open");
        fs::rename("old", "new").expect("rename");
        assert_eq!(read("new"), "old");
        let mut text = String::new();
        open_file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "new");
        fs::rename("new", GIVEN).expect("rename");
        assert_eq!(read("given-link"), "old");
    });
}

#[test]
fn an_empty_directory_is_replaced_and_no_other() {
    on(|| {
        mkdirs(&["one", "one/inside", "two", "full", "full/inside"]);
        fs::rename("one", "two").expect("rename");
        assert_eq!(names("two"), ["inside"]);
        assert!(!exists("one"));
        fails(fs::rename("two", "full"), libc::ENOTEMPTY);
        touch("file");
        fails(fs::rename("file", "two"), libc::EISDIR);
        fails(fs::rename("two", "file"), libc::ENOTDIR);
        symlink("two", "link").expect("symlink");
        fails(fs::rename("two", "link"), libc::ENOTDIR);
    });
}

#[test]
fn a_directory_cannot_move_into_itself() {
    on(|| {
        mkdirs(&["dir", "dir/sub"]);
        fails(fs::rename("dir", "dir/sub/moved"), libc::EINVAL);
        fails(fs::rename("dir", "dir/moved"), libc::EINVAL);
        fails(fs::rename("dir/sub", "dir"), libc::ENOTEMPTY);
        fails(fs::rename("dir/.", "moved"), libc::EBUSY);
        fails(fs::rename("dir", "dir/.."), libc::EBUSY);
        assert_eq!(names("dir"), ["sub"]);
    });
}

#[test]
fn rename_has_the_errors_of_its_manual() {
    on(|| {
        fails(fs::rename("missing", "new"), libc::ENOENT);
        fails(fs::rename(GIVEN, "missing/new"), libc::ENOENT);
        fails(fs::rename(GIVEN, "given-link/new"), libc::ENOTDIR);
        fails(fs::rename(GIVEN, "/tmp/new"), libc::EXDEV);
        fails(fs::rename(GIVEN, "n".repeat(256)), libc::ENAMETOOLONG);
        fails(fs::rename(GIVEN, "new/"), libc::ENOTDIR);
        fails(fs::rename("given/", "new"), libc::ENOTDIR);
    });
}

#[test]
fn one_name_of_a_file_onto_another_changes_nothing() {
    on(|| {
        touch("file");
        fs::hard_link("file", "second").expect("link");
        fs::rename("file", "second").expect("rename");
        assert!(exists("file") && exists("second"));
        fs::rename("file", "file").expect("rename");
        assert!(exists("file"));
    });
}

#[test]
fn noreplace_never_replaces() {
    on(|| {
        touch("file");
        fails(rename_with("file", GIVEN, RenameFlags::NOREPLACE), libc::EEXIST);
        fails(rename_with("file", "given-link", RenameFlags::NOREPLACE), libc::EEXIST);
        fails(rename_with("file", "file", RenameFlags::NOREPLACE), libc::EEXIST);
        rename_with("file", "new", RenameFlags::NOREPLACE).expect("nothing is there");
        assert_eq!(read(GIVEN), "given\n");
    });
}

#[test]
fn exchange_swaps_any_two() {
    on(|| {
        write("file", "text");
        mkdirs(&["dir", "dir/sub"]);
        rename_with("file", "dir", RenameFlags::EXCHANGE).expect("exchange");
        assert_eq!((read("dir").as_str(), names("file")), ("text", vec!["sub".to_owned()]));
        rename_with("dir", GIVEN, RenameFlags::EXCHANGE).expect("exchange");
        assert_eq!((read("dir").as_str(), read(GIVEN).as_str()), ("given\n", "text"));
        fails(rename_with("dir", "missing", RenameFlags::EXCHANGE), libc::ENOENT);
    });
}

#[test]
fn dot_dot_follows_a_moved_directory() {
    on(|| {
        mkdirs(&["one", "two", "one/dir"]);
        touch("two/here");
        std::env::set_current_dir("one/dir").expect("chdir");
        fs::rename("/tmp/fs/one/dir", "/tmp/fs/two/dir").expect("rename");
        assert!(exists("../here"));
        assert_eq!(std::env::current_dir().expect("getcwd").to_str(), Some("/tmp/fs/two/dir"));
    });
}

#[test]
fn a_full_directory_moves_with_what_is_in_it() {
    on(|| {
        mkdirs(&["dir", "dir/sub", "dir/sub/deep", "away"]);
        write("dir/sub/deep/file", "text");
        fs::rename("dir", "away/dir").expect("rename");
        assert_eq!(read("away/dir/sub/deep/file"), "text");
        // A directory that a lower layer has cannot be moved by its name alone: both leave it to the caller to copy.
        let moved = fs::rename("given-dir", "away/given");
        if matches!(kind(), Kind::Overlayfs | Kind::FuseOverlayfs) {
            fails(moved, libc::EXDEV);
        } else {
            moved.expect("rename");
            assert_eq!(read("away/given/given"), "inside\n");
        }
    });
}
