//! Overlays over overlays, in user namespaces, and the life of the directory for work.

use abi::assert_errno;
use abi::user_namespace::in_user_namespace;
use abi::world::{bind, exists, mkdir, mkdirs, mount, names, new_tmpfs, read, tmpfs, touch, umount, write};
use overlayfs::{again, has_xattr, in_world, is_whiteout, mounted, overlay, set_xattr, shown_options, unmounted, whiteout, xattr, xattrs};
use std::fs;

#[test]
fn an_overlay_can_be_a_lower_layer() {
    in_world(|| {
        mkdirs(&["o", "upper2", "work2"]);
        write("lower/a", "a");
        write("lower/b", "b");
        touch("lower/c");
        mounted("");
        write("m/b", "changed");
        fs::remove_file("m/c").expect("unlink");
        mount("overlay", "o", "overlay", 0, "lowerdir=m,upperdir=upper2,workdir=work2").expect("the second");
        assert_eq!(names("o"), ["a", "b"]);
        write("o/a", "above");
        fs::remove_file("o/b").expect("unlink");
        touch("o/c");
        assert_eq!((read("m/a"), read("m/b"), names("o")), ("a".into(), "changed".into(), vec!["a".to_owned(), "c".to_owned()]));
        assert!(is_whiteout("upper2/b"));
        assert!(!exists("m/c"));
    });
}

#[test]
fn three_on_top_of_each_other_are_too_many() {
    in_world(|| {
        mkdirs(&["o", "p", "upper2", "work2", "upper3", "work3"]);
        mounted("");
        mount("overlay", "o", "overlay", 0, "lowerdir=m,upperdir=upper2,workdir=work2").expect("the second");
        assert_errno!(mount("overlay", "p", "overlay", 0, "lowerdir=o,upperdir=upper3,workdir=work3"), EINVAL);
        assert_errno!(mount("overlay", "p", "overlay", 0, "lowerdir=o:lower2"), EINVAL);
    });
}

#[test]
fn an_overlay_is_no_upper_layer() {
    in_world(|| {
        mkdir("o");
        mounted("");
        mkdirs(&["m/upper", "m/work"]);
        assert_errno!(mount("overlay", "o", "overlay", 0, "lowerdir=lower2,upperdir=m/upper,workdir=m/work"), EINVAL);
    });
}

#[test]
fn marks_of_an_inner_overlay_do_not_touch_the_outer_one() {
    in_world(|| {
        mkdirs(&["o", "lower/in", "lower/in/l", "lower/in/l/d", "lower/in/u", "lower/in/u/d", "lower/in/w"]);
        touch("lower/in/l/d/low");
        mounted("");
        set_xattr("m/in/u/d", "trusted.overlay.opaque", b"y").expect("opaque");
        mount("overlay", "o", "overlay", 0, "lowerdir=m/in/u:m/in/l").expect("an overlay of directories in one");
        assert_eq!(names("o/d"), [""; 0]);
        assert_eq!(names("m/in/l/d"), ["low"]);
    });
}

#[test]
fn a_layers_mount_may_go_and_its_file_system_stays() {
    in_world(|| {
        new_tmpfs("other");
        mkdirs(&["other/l", "other/u", "other/w"]);
        write("other/l/file", "x");
        overlay("lowerdir=other/l,upperdir=other/u,workdir=other/w").expect("mount");
        umount("other", 0).expect("the overlay holds the file system, not the mount");
        write("m/file", "changed");
        assert_eq!(read("m/file"), "changed");
        unmounted();
    });
}

#[test]
fn what_is_mounted_in_a_layer_is_not_seen() {
    in_world(|| {
        mkdir("lower/d");
        touch("lower/d/below");
        tmpfs("cover", "lower/d");
        touch("lower/d/covering");
        mounted("");
        assert_eq!(names("m/d"), ["below"]);
        mkdir("b");
        bind("m", "b").expect("bind");
        assert_eq!(names("b/d"), ["below"]);
    });
}

#[test]
fn a_read_only_lower_mount_is_no_hindrance() {
    in_world(|| {
        write("lower/file", "x");
        bind("lower", "lower").expect("bind");
        mount("", "lower", "", libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY, "").expect("read-only");
        mounted("");
        write("m/file", "changed");
        assert_eq!((read("m/file"), read("lower/file")), ("changed".into(), "x".into()));
    });
}

#[test]
fn the_directory_for_work_is_made_and_cleaned() {
    in_world(|| {
        use std::os::unix::fs::MetadataExt;
        mkdirs(&["work/work", "work/work/#1", "work/other"]);
        touch("work/work/#1/left");
        touch("work/work/#2");
        whiteout("work/work/#3");
        mounted("");
        assert_eq!(names("work"), ["other", "work"]);
        assert_eq!(names("work/work"), [""; 0]);
        assert_eq!(fs::metadata("work/work").expect("stat").mode() & 0o7777, 0);
        unmounted();
        assert_eq!(names("work"), ["other", "work"]);
    });
}

#[test]
fn a_busy_overlay_is_not_unmounted() {
    in_world(|| {
        write("lower/file", "x");
        mounted("");
        let file = fs::File::open("m/file").expect("open");
        assert_errno!(umount("m", 0), EBUSY);
        umount("m", libc::MNT_DETACH).expect("lazily");
        assert_eq!(file.metadata().expect("fstat").len(), 1);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut &file, &mut text).expect("read");
        assert_eq!(text, "x");
        drop(file);
        mounted("");
        unmounted();
    });
}

#[test]
fn several_overlays_share_lower_layers() {
    in_world(|| {
        mkdirs(&["o", "upper2", "work2"]);
        write("lower/file", "x");
        mounted("");
        mount("overlay", "o", "overlay", 0, "lowerdir=lower,upperdir=upper2,workdir=work2").expect("the second");
        write("m/file", "first");
        write("o/file", "second");
        assert_eq!((read("m/file"), read("o/file"), read("lower/file")), ("first".into(), "second".into(), "x".into()));
    });
}

/// Runs `body` in a user namespace with the layers on a tmpfs of that namespace.
fn in_namespace(body: impl FnOnce()) {
    in_world(|| {
        in_user_namespace(
            || {},
            || {
                mkdir("inside");
                tmpfs("inside", "inside");
                std::env::set_current_dir("inside").expect("chdir");
                mkdirs(&["lower", "lower2", "upper", "work", "m"]);
                body();
            },
        );
    });
}

#[test]
fn a_user_namespace_mounts_with_user_attributes() {
    in_namespace(|| {
        mkdir("lower/d");
        touch("lower/d/low");
        write("lower/file", "x");
        mounted(",userxattr");
        let options = abi::mountinfo::top_at("/tmp/inside/m").super_options;
        assert!(options.contains(",redirect_dir=nofollow,") && options.ends_with(",userxattr"), "{options}");
        fs::remove_dir_all("m/d").expect("remove");
        assert!(is_whiteout("upper/d"));
        mkdir("m/d");
        assert_eq!(names("m/d"), [""; 0]);
        assert_eq!(xattr("upper/d", "user.overlay.opaque"), Ok(b"y".to_vec()));
        assert_eq!(xattrs("m/d"), [""; 0]);
        write("m/file", "changed");
        assert!(has_xattr("upper/file", "user.overlay.origin") || xattrs("upper/file").is_empty());
        fs::rename("m/file", "m/moved").expect("rename");
        assert!(is_whiteout("upper/file"));
        assert_eq!(names("m"), ["d", "moved"]);
    });
}

#[test]
fn a_user_namespace_without_user_attributes_cannot_mark() {
    in_namespace(|| {
        mkdir("lower/d");
        touch("lower/d/low");
        touch("lower/file");
        mounted("");
        write("m/d/low", "changed");
        assert_eq!(read("upper/d/low"), "changed");
        fs::remove_file("m/d/low").expect("unlink");
        assert_errno!(fs::remove_dir("m/d"), EIO);
        fs::remove_file("m/file").expect("unlink");
        assert_errno!(fs::create_dir("m/file"), EIO);
        write("m/file", "a file needs no mark");
        mkdir("m/fresh");
    });
}

#[test]
fn user_attributes_do_not_go_with_redirects() {
    in_namespace(|| {
        mkdir("lower/d");
        for word in ["redirect_dir=on", "metacopy=on", "redirect_dir=follow"] {
            assert_errno!(overlay(&format!("lowerdir=lower,upperdir=upper,workdir=work,userxattr,{word}")), EINVAL);
        }
        mounted(",userxattr");
        assert_errno!(fs::rename("m/d", "m/e"), EXDEV);
    });
}

#[test]
fn with_user_attributes_trusted_ones_mean_nothing() {
    in_world(|| {
        mkdirs(&["lower/d", "upper/d"]);
        touch("lower/d/low");
        set_xattr("upper/d", "trusted.overlay.opaque", b"y").expect("opaque");
        mounted(",userxattr");
        assert_eq!(names("m/d"), ["low"]);
        assert_eq!(xattrs("m/d"), ["trusted.overlay.opaque"]);
        unmounted();
        set_xattr("upper/d", "user.overlay.opaque", b"y").expect("opaque");
        mounted(",userxattr");
        assert_eq!(names("m/d"), [""; 0]);
        again("");
        assert!(xattrs("m/d").contains(&"user.overlay.opaque".to_owned()));
        assert!(!shown_options().contains("userxattr"));
    });
}

#[test]
fn a_file_system_of_a_program_can_be_a_lower_layer() {
    in_world(|| {
        mkdir("o");
        let server = fuse::Fs::with(|tree| {
            tree.file("a", b"hello");
            tree.file("b", b"other");
        });
        server.ready();
        mount("overlay", "o", "overlay", 0, "lowerdir=/tmp/m,upperdir=upper,workdir=work").expect("mount");
        assert_eq!(names("o"), ["a", "b"]);
        assert_eq!(read("o/a"), "hello");
        write("o/a", "changed");
        fs::remove_file("o/b").expect("unlink");
        assert_eq!((names("o"), read("o/a"), read("upper/a")), (vec!["a".to_owned()], "changed".into(), "changed".into()));
        assert!(is_whiteout("upper/b"));
        assert_eq!(read("/tmp/m/a"), "hello");
        umount("o", 0).expect("umount");
        server.unmount();
    });
}
