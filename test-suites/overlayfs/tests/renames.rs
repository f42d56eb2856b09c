//! Renaming entries of all kinds: what stays in the way of lower names, redirects, and the flags of `renameat2(2)`.

use abi::assert_errno;
use abi::world::{exists, mkdir, mkdirs, names, read, touch, write};
use overlayfs::{EXCHANGE, NO_REPLACE, WHITEOUT, again, has_xattr, in_world, is_whiteout, left_in, mounted, rename, stat, xattr};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

#[test]
fn a_renamed_lower_file_leaves_a_whiteout() {
    in_world(|| {
        write("lower/a", "content");
        mounted("");
        rename("m/a", "m/b", 0).expect("rename");
        assert!(is_whiteout("upper/a"));
        assert_eq!((names("m"), read("m/b")), (vec!["b".to_owned()], "content".to_owned()));
        rename("m/b", "m/a", 0).expect("and back");
        assert_eq!(names("m"), ["a"]);
        assert_eq!(names("upper"), ["a"], "what was new leaves nothing");
        assert_eq!(left_in("work/work"), [""; 0]);
    });
}

#[test]
fn a_file_replaces_what_lies_below() {
    in_world(|| {
        write("lower/a", "a");
        write("lower/b", "b");
        mounted("");
        write("m/new", "new");
        rename("m/new", "m/a", 0).expect("rename");
        rename("m/b", "m/a", 0).expect("rename");
        assert_eq!(names("m"), ["a"]);
        assert_eq!(read("m/a"), "b");
        assert!(is_whiteout("upper/b") && !exists("upper/new"));
        again("");
        assert_eq!((names("m"), read("m/a")), (vec!["a".to_owned()], "b".to_owned()));
    });
}

#[test]
fn links_and_special_files_are_renamed() {
    in_world(|| {
        symlink("target", "lower/link").expect("symlink");
        abi::world::mknod("lower/fifo", libc::S_IFIFO | 0o600, 0).expect("mkfifo");
        mkdir("lower/d");
        mounted("");
        rename("m/link", "m/d/link2", 0).expect("rename");
        rename("m/fifo", "m/d/fifo2", 0).expect("rename");
        assert_eq!(names("m"), ["d"]);
        assert_eq!(names("m/d"), ["fifo2", "link2"]);
        assert_eq!(fs::read_link("m/d/link2").expect("readlink").to_str(), Some("target"));
    });
}

#[test]
fn a_directory_with_lower_parts_is_exdev() {
    in_world(|| {
        mkdirs(&["lower/low", "lower/both", "upper/both", "upper/up"]);
        touch("lower/low/file");
        mounted("");
        assert_errno!(rename("m/low", "m/x", 0), EXDEV);
        assert_errno!(rename("m/both", "m/x", 0), EXDEV);
        assert_errno!(rename("m/up", "m/low", EXCHANGE), EXDEV);
        rename("m/up", "m/x", 0).expect("of the upper layer alone");
        assert_eq!(names("m"), ["both", "low", "x"]);
    });
}

#[test]
fn with_redirects_directories_with_lower_parts_move() {
    in_world(|| {
        mkdirs(&["lower/d", "lower/d/in", "lower/other"]);
        write("lower/d/file", "x");
        touch("lower/d/in/deep");
        mounted(",redirect_dir=on");
        rename("m/d", "m/e", 0).expect("in one directory");
        assert_eq!(xattr("upper/e", "trusted.overlay.redirect"), Ok(b"d".to_vec()));
        assert!(is_whiteout("upper/d"));
        assert_eq!(names("m/e"), ["file", "in"]);
        rename("m/e/in", "m/other/in2", 0).expect("to another directory");
        assert_eq!(xattr("upper/other/in2", "trusted.overlay.redirect"), Ok(b"/d/in".to_vec()));
        assert_eq!(names("m/other/in2"), ["deep"]);
        rename("m/e", "m/other/f", 0).expect("a second time");
        assert_eq!(xattr("upper/other/f", "trusted.overlay.redirect"), Ok(b"/d".to_vec()));
        again(",redirect_dir=on");
        assert_eq!(names("m"), ["other"]);
        assert_eq!(names("m/other"), ["f", "in2"]);
        assert_eq!(names("m/other/f"), ["file"]);
        assert_eq!(names("m/other/in2"), ["deep"]);
        assert_eq!(read("m/other/f/file"), "x");
    });
}

#[test]
fn a_new_directory_in_the_place_of_one_that_moved_is_empty() {
    in_world(|| {
        mkdir("lower/d");
        touch("lower/d/file");
        mounted(",redirect_dir=on");
        rename("m/d", "m/e", 0).expect("rename");
        mkdir("m/d");
        touch("m/d/new");
        assert_eq!((names("m/d"), names("m/e")), (vec!["new".to_owned()], vec!["file".to_owned()]));
        again(",redirect_dir=on");
        assert_eq!((names("m/d"), names("m/e")), (vec!["new".to_owned()], vec!["file".to_owned()]));
    });
}

#[test]
fn a_directory_moved_over_a_lower_name_is_opaque() {
    in_world(|| {
        mkdir("lower/d");
        touch("lower/d/low");
        mounted("");
        mkdir("m/up");
        touch("m/up/file");
        assert_errno!(rename("m/up", "m/d", 0), ENOTEMPTY);
        fs::remove_file("m/d/low").expect("unlink");
        rename("m/up", "m/d", 0).expect("rename");
        assert_eq!(names("m/d"), ["file"]);
        assert_eq!(xattr("upper/d", "trusted.overlay.opaque"), Ok(b"y".to_vec()));
        again("");
        assert_eq!(names("m/d"), ["file"]);
        assert_eq!(left_in("work/work"), [""; 0]);
    });
}

#[test]
fn files_change_places() {
    in_world(|| {
        write("lower/a", "a");
        write("lower/b", "b");
        mounted("");
        write("m/c", "c");
        rename("m/a", "m/b", EXCHANGE).expect("two lower files");
        assert_eq!((read("m/a"), read("m/b")), ("b".to_owned(), "a".to_owned()));
        rename("m/b", "m/c", EXCHANGE).expect("one new");
        assert_eq!((read("m/b"), read("m/c")), ("c".to_owned(), "a".to_owned()));
        mkdir("m/d");
        rename("m/d", "m/a", EXCHANGE).expect("a directory and a file");
        assert_eq!(read("m/d"), "b");
        assert_eq!(names("m/a"), [""; 0]);
        again("");
        assert_eq!((read("m/b"), read("m/c"), read("m/d")), ("c".to_owned(), "a".to_owned(), "b".to_owned()));
        assert_errno!(rename("m/b", "m/none", EXCHANGE), ENOENT);
    });
}

#[test]
fn merged_directories_change_places_with_redirects() {
    in_world(|| {
        mkdirs(&["lower/a", "lower/b"]);
        touch("lower/a/in-a");
        touch("lower/b/in-b");
        mounted(",redirect_dir=on");
        rename("m/a", "m/b", EXCHANGE).expect("exchange");
        for _ in 0..2 {
            assert_eq!((names("m/a"), names("m/b")), (vec!["in-b".to_owned()], vec!["in-a".to_owned()]));
            again(",redirect_dir=on");
        }
    });
}

#[test]
fn flags_are_honoured_or_refused() {
    in_world(|| {
        write("lower/a", "a");
        write("lower/b", "b");
        mounted("");
        assert_errno!(rename("m/a", "m/b", NO_REPLACE), EEXIST);
        assert_errno!(rename("m/a", "m/c", WHITEOUT), EINVAL);
        assert_errno!(rename("m/a", "m/c", NO_REPLACE | EXCHANGE), EINVAL);
        assert_errno!(rename("m/a", "m/c", 8), EINVAL);
        fs::remove_file("m/b").expect("unlink");
        rename("m/a", "m/b", NO_REPLACE).expect("a whiteout is nothing");
        assert_eq!(names("m"), ["b"]);
        assert_errno!(rename("m/b", "lower/c", 0), EXDEV);
    });
}

#[test]
fn types_and_places_that_do_not_fit_are_refused() {
    in_world(|| {
        mkdirs(&["upper/d", "upper/d/in", "upper/e"]);
        touch("lower/file");
        touch("upper/e/full");
        mounted("");
        assert_errno!(rename("m/d", "m/file", 0), ENOTDIR);
        assert_errno!(rename("m/file", "m/d", 0), EISDIR);
        assert_errno!(rename("m/d", "m/d/in/x", 0), EINVAL);
        assert_errno!(rename("m/d", "m/e", 0), ENOTEMPTY);
        assert_errno!(rename("m/d/in", "m/d", 0), ENOTEMPTY);
        assert_errno!(rename("m/none", "m/x", 0), ENOENT);
        assert_eq!(names("m"), ["d", "e", "file"]);
    });
}

#[test]
fn names_of_one_file_stay_both_when_renamed_onto_each_other() {
    in_world(|| {
        mounted("");
        write("m/a", "x");
        fs::hard_link("m/a", "m/b").expect("link");
        rename("m/a", "m/b", 0).expect("nothing happens");
        assert_eq!(names("m"), ["a", "b"]);
        assert_eq!(stat("m/a").nlink(), 2);
    });
}

#[test]
fn of_several_names_the_one_that_was_meant_moves() {
    in_world(|| {
        mkdir("lower/d");
        mounted("");
        write("m/a", "x");
        ["m/b", "m/c"].iter().for_each(|path| fs::hard_link("m/a", path).expect("link"));
        assert_eq!(read("m/a"), "x");
        rename("m/b", "m/d/b", 0).expect("rename");
        rename("m/c", "m/e", 0).expect("rename");
        assert_eq!(names("m"), ["a", "d", "e"]);
        assert_eq!((names("upper"), names("upper/d")), (names("m"), vec!["b".to_owned()]));
        write("m/d/b", "changed");
        assert_eq!((read("m/a"), read("m/e")), ("changed".to_owned(), "changed".to_owned()));
    });
}

#[test]
fn open_files_follow_their_rename() {
    in_world(|| {
        mkdir("lower/d");
        write("lower/a", "a");
        mounted("");
        let file = fs::File::open("m/a").expect("open");
        rename("m/a", "m/d/b", 0).expect("rename");
        write("m/d/b", "changed");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut &file, &mut text).expect("read");
        assert_eq!(text, "changed");
        use std::os::fd::AsRawFd;
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("readlink");
        assert_eq!(path.to_str(), Some("/tmp/m/d/b"));
    });
}

#[test]
fn a_directory_of_the_upper_layer_keeps_its_whiteouts_apart() {
    in_world(|| {
        mkdir("lower/x");
        touch("lower/x/low");
        mounted("");
        mkdir("m/up");
        touch("m/up/file");
        rename("m/up", "m/y", 0).expect("rename");
        assert!(!exists("upper/up"), "nothing lies below that name");
        assert!(!has_xattr("upper/y", "trusted.overlay.redirect"));
        rename("m/y/file", "m/x/file", 0).expect("rename");
        assert_eq!(names("m/x"), ["file", "low"]);
        assert_eq!(names("upper/y"), [""; 0]);
    });
}
