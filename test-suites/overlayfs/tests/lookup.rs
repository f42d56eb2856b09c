//! What a name of the overlay stands for: upper before lower, whiteouts, opaque directories, redirects, marks that stay hidden.

use abi::assert_errno;
use abi::world::{exists, mkdir, mkdirs, names, read, touch, write};
use overlayfs::{
    again, has_xattr, in_world, mounted, mounted_on_two, mounted_read_only, set_xattr, stat, unmounted, whiteout, xattr, xattrs,
};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn upper_files_cover_lower_ones_and_directories_merge() {
    in_world(|| {
        for (layer, text) in [("upper", "upper"), ("lower", "first"), ("lower2", "second")] {
            mkdir(&format!("{layer}/d"));
            write(&format!("{layer}/d/same"), text);
            write(&format!("{layer}/d/only-{text}"), text);
        }
        write("lower/both", "first");
        write("lower2/both", "second");
        mounted_on_two("");
        assert_eq!(read("m/d/same"), "upper");
        assert_eq!(read("m/both"), "first");
        assert_eq!(names("m/d"), ["only-first", "only-second", "only-upper", "same"]);
    });
}

#[test]
fn a_file_between_directories_hides_those_below() {
    in_world(|| {
        mkdirs(&["upper/a", "lower/b", "lower2/a", "lower2/b", "lower2/c"]);
        ["lower2/a/deep", "lower2/b/deep", "lower2/c/deep"].iter().for_each(|path| touch(path));
        write("lower/a", "file");
        write("upper/c", "file");
        mounted_on_two("");
        assert_eq!(names("m/a"), [""; 0], "the file in the middle ends the directory");
        assert_eq!(names("m/b"), ["deep"]);
        assert_eq!(read("m/c"), "file");
    });
}

#[test]
fn whiteouts_hide_what_is_below_them_only() {
    in_world(|| {
        for name in ["a", "b", "c"] {
            touch(&format!("lower2/{name}"));
        }
        mkdir("lower2/d");
        touch("lower2/d/deep");
        whiteout("lower/a");
        whiteout("upper/b");
        whiteout("lower/c");
        touch("upper/c");
        whiteout("lower/d");
        whiteout("upper/nothing");
        mounted_on_two("");
        assert_eq!(names("m"), ["c"]);
        for name in ["a", "b", "d", "d/deep", "nothing"] {
            assert_errno!(fs::metadata(format!("m/{name}")), ENOENT);
        }
    });
}

#[test]
fn a_device_that_is_no_whiteout_stays() {
    in_world(|| {
        abi::world::mknod("lower/null", libc::S_IFCHR | 0o666, rustix::fs::makedev(1, 3)).expect("mknod");
        abi::world::mknod("lower/block", libc::S_IFBLK, 0).expect("mknod");
        mounted("");
        write("m/null", "swallowed");
        assert_eq!(names("m"), ["block", "null"]);
        assert!(!exists("upper/null"), "writing to a device copies nothing");
    });
}

#[test]
fn an_opaque_directory_hides_those_below() {
    in_world(|| {
        mkdirs(&["upper/d", "upper/e", "lower/d", "lower/e", "lower/f", "lower2/f"]);
        ["upper/d/up", "lower/d/low", "lower/e/low", "lower/f/one", "lower2/f/two"].iter().for_each(|path| touch(path));
        set_xattr("upper/d", "trusted.overlay.opaque", b"y").expect("opaque");
        set_xattr("upper/e", "trusted.overlay.opaque", b"n").expect("not opaque");
        set_xattr("lower/f", "trusted.overlay.opaque", b"y").expect("opaque");
        mounted_on_two("");
        assert_eq!(names("m/d"), ["up"]);
        assert_errno!(fs::metadata("m/d/low"), ENOENT);
        assert_eq!(names("m/e"), ["low"]);
        assert_eq!(names("m/f"), ["one"]);
        assert_errno!(fs::metadata("m/f/two"), ENOENT);
    });
}

#[test]
fn attributes_make_whiteouts_too() {
    in_world(|| {
        mkdirs(&["lower/d", "lower2/d"]);
        ["lower/d/gone", "lower2/d/gone", "lower2/d/here", "lower/d/full", "lower2/d/full"].iter().for_each(|path| touch(path));
        write("lower/d/full", "x");
        set_xattr("lower/d", "trusted.overlay.opaque", b"x").expect("a directory with whiteouts");
        for name in ["gone", "full"] {
            set_xattr(&format!("lower/d/{name}"), "trusted.overlay.whiteout", b"y").expect("mark");
        }
        set_xattr("lower", "trusted.overlay.opaque", b"x").expect("a layer with whiteouts");
        mounted_on_two("");
        assert_errno!(fs::metadata("m/d/gone"), ENOENT);
        assert_eq!(read("m/d/full"), "x", "only empty files are whiteouts");
        assert_eq!(names("m/d"), ["full", "here"]);
    });
}

#[test]
fn redirects_are_followed_by_default() {
    in_world(|| {
        mkdirs(&["lower/a", "lower/a/b", "lower/p", "lower/p/old", "upper/new", "upper/p", "upper/p/moved"]);
        ["lower/a/b/deep", "lower/p/old/file"].iter().for_each(|path| touch(path));
        set_xattr("upper/new", "trusted.overlay.redirect", b"/a/b").expect("from the top");
        set_xattr("upper/p/moved", "trusted.overlay.redirect", b"old").expect("in the same directory");
        mounted("");
        assert_eq!(names("m/new"), ["deep"]);
        assert_eq!(names("m/p/moved"), ["file"]);
        assert_eq!(names("m/p"), ["moved", "old"]);
        again(",redirect_dir=nofollow");
        assert_errno!(fs::read_dir("m/new"), EPERM);
    });
}

#[test]
fn a_redirect_in_a_middle_layer_counts_for_those_below() {
    in_world(|| {
        mkdirs(&["lower/new", "lower2/old", "upper/new"]);
        touch("lower2/old/deep");
        set_xattr("lower/new", "trusted.overlay.redirect", b"/old").expect("redirect");
        mounted_on_two("");
        assert_eq!(names("m/new"), ["deep"]);
        assert_eq!(names("m"), ["new", "old"]);
    });
}

#[test]
fn links_are_the_layers_own() {
    in_world(|| {
        symlink("target", "lower/link").expect("symlink");
        write("lower/target", "text");
        mounted("");
        assert_eq!(fs::read_link("m/link").expect("readlink").to_str(), Some("target"));
        assert_eq!(read("m/link"), "text");
        write("m/link", "changed");
        assert_eq!(read("upper/target"), "changed");
        assert!(!exists("upper/link"), "the link itself is as it was");
    });
}

#[test]
fn marks_of_the_overlay_are_not_shown() {
    in_world(|| {
        mkdir("lower/d");
        touch("lower/d/file");
        set_xattr("lower/d", "user.mine", b"1").expect("xattr");
        mounted("");
        fs::rename("m/d/file", "m/d/other").expect("rename");
        fs::create_dir("m/new").expect("mkdir");
        assert_eq!(xattrs("upper/d"), ["trusted.overlay.impure", "trusted.overlay.origin", "user.mine"]);
        assert_eq!(xattrs("upper/new"), [""; 0], "nothing below has that name");
        assert_eq!(xattrs("m/d"), ["user.mine"]);
        assert_eq!(xattrs("m/new"), [""; 0]);
        assert_errno!(xattr("m/d", "trusted.overlay.origin"), ENODATA);
        again(",redirect_dir=on");
        fs::create_dir("m/other").expect("mkdir");
        assert_eq!(xattr("upper/other", "trusted.overlay.opaque"), Ok(b"y".to_vec()), "with redirects a name could come");
    });
}

#[test]
fn marks_of_programs_are_kept_apart() {
    in_world(|| {
        mkdir("lower/d");
        touch("lower/d/file");
        mounted("");
        set_xattr("m/d", "trusted.overlay.opaque", b"y").expect("a mark for another overlay");
        assert_eq!(xattr("m/d", "trusted.overlay.opaque"), Ok(b"y".to_vec()));
        assert!(has_xattr("upper/d", "trusted.overlay.overlay.opaque"));
        assert!(!has_xattr("upper/d", "trusted.overlay.opaque"));
        assert_eq!(xattrs("m/d"), ["trusted.overlay.opaque"]);
        again("");
        assert_eq!(names("m/d"), ["file"]);
        rustix::fs::lremovexattr("m/d", "trusted.overlay.opaque").expect("removexattr");
        assert!(!has_xattr("upper/d", "trusted.overlay.overlay.opaque"));
    });
}

#[test]
fn origins_are_marked_when_files_come_up() {
    in_world(|| {
        mkdir("lower/d");
        touch("lower/d/file");
        write("lower/d/other", "x");
        mounted("");
        write("m/d/file", "x");
        for path in ["upper/d", "upper/d/file"] {
            assert!(has_xattr(path, "trusted.overlay.origin"), "{path}");
        }
        for path in ["upper", "upper/d"] {
            assert_eq!(xattr(path, "trusted.overlay.impure"), Ok(b"y".to_vec()), "{path}");
        }
        touch("m/pure");
        assert_eq!(xattrs("upper/pure"), [""; 0]);
        // A directory that is only new is not impure.
        mkdir("m/fresh");
        touch("m/fresh/file");
        assert!(!has_xattr("upper/fresh", "trusted.overlay.impure"));
        fs::rename("m/d/file", "m/fresh/moved").expect("rename");
        assert!(has_xattr("upper/fresh", "trusted.overlay.impure"), "something that came up lies in it now");
    });
}

#[test]
fn names_that_are_not_there_can_be_made() {
    in_world(|| {
        mounted("");
        assert_errno!(fs::metadata("m/file"), ENOENT);
        write("m/file", "new");
        assert_eq!(read("m/file"), "new");
        assert_errno!(fs::metadata(format!("m/{}", "n".repeat(256))), ENAMETOOLONG);
        fs::remove_file("m/file").expect("unlink");
        assert_errno!(fs::metadata("m/file"), ENOENT);
        assert!(!exists("upper/file"), "nothing is left of what was never below");
    });
}

#[test]
fn a_read_only_overlay_merges_its_lower_layers() {
    in_world(|| {
        mkdirs(&["lower/d", "lower2/d"]);
        write("lower/d/a", "1");
        write("lower2/d/b", "2");
        write("lower2/d/a", "2");
        mounted_read_only("");
        assert_eq!(names("m/d"), ["a", "b"]);
        assert_eq!(read("m/d/a"), "1");
        let outcomes = [
            fs::create_dir("m/new").map_err(abi::Errno::from),
            fs::remove_file("m/d/a").map_err(abi::Errno::from),
            fs::remove_dir("m/d").map_err(abi::Errno::from),
            fs::rename("m/d/a", "m/d/c").map_err(abi::Errno::from),
            fs::hard_link("m/d/a", "m/d/c").map_err(abi::Errno::from),
            symlink("x", "m/link").map_err(abi::Errno::from),
            set_xattr("m/d/a", "user.x", b"1"),
            fs::set_permissions("m/d/a", std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(abi::Errno::from),
        ];
        for outcome in outcomes {
            assert_errno!(outcome, EROFS);
        }
    });
}

#[test]
fn the_top_is_merged_with_the_upper_layers_attributes() {
    in_world(|| {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        fs::set_permissions("upper", fs::Permissions::from_mode(0o1711)).expect("chmod");
        fs::set_permissions("lower", fs::Permissions::from_mode(0o700)).expect("chmod");
        mounted("");
        assert_eq!(stat("m").mode() & 0o7777, 0o1711);
        unmounted();
        mounted_read_only("");
        assert_eq!(stat("m").mode() & 0o7777, 0o700);
    });
}
