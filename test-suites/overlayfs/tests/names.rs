//! Making and removing names: whiteouts where something lies below, nothing where not, opaque directories, hard links.

use abi::assert_errno;
use abi::world::{exists, mkdir, mkdirs, mknod, names, open, read, touch, write};
use overlayfs::{again, has_xattr, in_world, is_whiteout, left_in, mounted, mounted_on_two, stat, whiteout};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};

#[test]
fn a_removed_lower_file_leaves_a_whiteout() {
    in_world(|| {
        touch("lower/low");
        touch("lower/both");
        touch("upper/both");
        touch("upper/up");
        mounted("");
        ["low", "both", "up"].iter().for_each(|name| fs::remove_file(format!("m/{name}")).expect("unlink"));
        assert_eq!(names("m"), [""; 0]);
        assert!(is_whiteout("upper/low") && is_whiteout("upper/both"));
        assert!(!exists("upper/up"));
        assert_eq!(stat("upper/low").mode() & 0o7777, 0);
        again("");
        assert_eq!(names("m"), [""; 0]);
    });
}

#[test]
fn removing_what_a_middle_layer_hides_leaves_nothing() {
    in_world(|| {
        touch("lower2/file");
        whiteout("lower/file");
        touch("upper/file");
        mounted_on_two("");
        fs::remove_file("m/file").expect("unlink");
        assert!(!exists("upper/file"));
        assert!(!exists("m/file"));
    });
}

#[test]
fn making_a_file_over_a_whiteout_takes_its_place() {
    in_world(|| {
        write("lower/file", "old");
        touch("lower/node");
        touch("lower/link");
        mounted("");
        ["file", "node", "link"].iter().for_each(|name| fs::remove_file(format!("m/{name}")).expect("unlink"));
        write("m/file", "new");
        mknod("m/node", libc::S_IFIFO | 0o600, 0).expect("mkfifo");
        symlink("file", "m/link").expect("symlink");
        assert_eq!(read("m/file"), "new");
        assert_eq!(read("m/link"), "new");
        assert_eq!(names("m"), ["file", "link", "node"]);
        assert_eq!(left_in("work/work"), [""; 0]);
        again("");
        assert_eq!(read("m/file"), "new");
    });
}

#[test]
fn a_directory_made_over_a_removed_one_is_opaque() {
    in_world(|| {
        mkdirs(&["lower/d", "lower/d/in"]);
        touch("lower/d/file");
        mounted("");
        fs::remove_dir_all("m/d").expect("remove");
        assert!(is_whiteout("upper/d"));
        mkdir("m/d");
        assert_eq!(names("m/d"), [""; 0]);
        assert_eq!(overlayfs::xattr("upper/d", "trusted.overlay.opaque"), Ok(b"y".to_vec()));
        again("");
        assert_eq!(names("m/d"), [""; 0]);
    });
}

#[test]
fn a_directory_made_over_a_removed_file_is_a_directory() {
    in_world(|| {
        write("lower/name", "file");
        mounted("");
        fs::remove_file("m/name").expect("unlink");
        mkdir("m/name");
        touch("m/name/in");
        fs::remove_file("m/name/in").expect("unlink");
        fs::remove_dir("m/name").expect("rmdir");
        assert!(is_whiteout("upper/name"));
        write("m/name", "again");
        assert_eq!(read("m/name"), "again");
    });
}

#[test]
fn a_directory_with_something_below_is_not_empty() {
    in_world(|| {
        mkdirs(&["lower/d", "upper/d", "lower/e"]);
        touch("lower/d/low");
        touch("upper/d/up");
        touch("lower/e/low");
        mounted("");
        assert_errno!(fs::remove_dir("m/d"), ENOTEMPTY);
        assert_errno!(fs::remove_dir("m/e"), ENOTEMPTY);
        fs::remove_file("m/d/up").expect("unlink");
        assert_errno!(fs::remove_dir("m/d"), ENOTEMPTY);
        fs::remove_file("m/d/low").expect("unlink");
        fs::remove_dir("m/d").expect("nothing but a whiteout is in it");
        assert!(is_whiteout("upper/d"));
        assert!(exists("m/e/low"));
    });
}

#[test]
fn a_directory_of_the_upper_layer_goes_without_a_trace() {
    in_world(|| {
        mounted("");
        mkdirs(&["m/d", "m/d/in"]);
        touch("m/d/in/file");
        fs::remove_dir_all("m/d").expect("remove");
        assert_eq!(names("upper"), [""; 0]);
        assert_eq!(left_in("work/work"), [""; 0]);
    });
}

#[test]
fn errors_of_names_are_as_anywhere() {
    in_world(|| {
        mkdir("lower/d");
        touch("lower/file");
        mounted("");
        assert_errno!(fs::create_dir("m/d"), EEXIST);
        assert_errno!(fs::create_dir("m/file"), EEXIST);
        assert_errno!(symlink("x", "m/file"), EEXIST);
        assert_errno!(open("m/file", libc::O_CREAT | libc::O_EXCL | libc::O_RDWR), EEXIST);
        assert_errno!(fs::remove_dir("m/file"), ENOTDIR);
        assert_errno!(fs::remove_file("m/d"), EISDIR);
        assert_errno!(fs::remove_file("m/none"), ENOENT);
        assert_errno!(fs::write("m/d", ""), EISDIR);
        assert_errno!(mknod("m/white", libc::S_IFCHR, 0), EPERM);
        assert_eq!(names("upper"), [""; 0]);
    });
}

#[test]
fn links_of_upper_files_are_links() {
    in_world(|| {
        write("lower/file", "x");
        touch("lower/gone");
        mounted("");
        fs::hard_link("m/file", "m/second").expect("link");
        fs::remove_file("m/gone").expect("unlink");
        fs::hard_link("m/file", "m/gone").expect("link over a whiteout");
        assert_eq!(stat("m/file").nlink(), 3);
        assert_eq!(stat("upper/file").ino(), stat("upper/second").ino());
        assert_eq!(stat("m/file").ino(), stat("m/gone").ino());
        write("m/second", "changed");
        assert_eq!((read("m/file"), read("m/gone")), ("changed".into(), "changed".into()));
        fs::remove_file("m/file").expect("unlink");
        assert_eq!(stat("m/second").nlink(), 2);
        assert!(is_whiteout("upper/file"));
    });
}

#[test]
fn a_removed_file_lives_while_it_is_open() {
    in_world(|| {
        write("lower/low", "low");
        mounted("");
        write("m/up", "up");
        let mut files = ["m/low", "m/up"].map(|path| fs::File::open(path).expect("open"));
        ["m/low", "m/up"].iter().for_each(|path| fs::remove_file(path).expect("unlink"));
        write("m/low", "new");
        // The links of a lower file are the lower layer's.
        for (file, (expected, links)) in files.iter_mut().zip([("low", 1), ("up", 0)]) {
            let mut text = String::new();
            file.read_to_string(&mut text).expect("read");
            assert_eq!(text, expected);
            assert_eq!(file.metadata().expect("fstat").nlink(), links, "{expected}");
        }
    });
}

#[test]
fn files_without_a_name_can_be_given_one() {
    in_world(|| {
        touch("lower/gone");
        mounted("");
        let mut file = open("m", libc::O_TMPFILE | libc::O_RDWR).expect("O_TMPFILE");
        file.write_all(b"content").expect("write");
        assert_eq!(names("m"), ["gone"]);
        assert_eq!(file.metadata().expect("fstat").nlink(), 0);
        fs::remove_file("m/gone").expect("unlink");
        rustix::fs::linkat(&file, "", rustix::fs::CWD, "m/gone", rustix::fs::AtFlags::EMPTY_PATH).expect("linkat");
        assert_eq!(read("m/gone"), "content");
        assert_eq!(file.metadata().expect("fstat").ino(), stat("m/gone").ino());
        file.write_all(b" and more").expect("write");
        assert_eq!(read("m/gone"), "content and more");
    });
}

#[test]
fn set_group_directories_and_umask_hold() {
    in_world(|| {
        mkdir("lower/d");
        std::os::unix::fs::chown("lower/d", None, Some(77)).expect("chown");
        fs::set_permissions("lower/d", std::os::unix::fs::PermissionsExt::from_mode(0o2777)).expect("chmod");
        touch("lower/d/gone");
        mounted("");
        fs::remove_file("m/d/gone").expect("unlink");
        abi::syscall!(SYS_umask, 0o027).expect("umask");
        touch("m/d/file");
        touch("m/d/gone");
        mkdir("m/d/sub");
        for name in ["file", "gone", "sub"] {
            assert_eq!(stat(&format!("m/d/{name}")).gid(), 77, "{name}");
        }
        assert_eq!(stat("m/d/sub").mode() & 0o7777, 0o2750);
        assert_eq!(stat("m/d/gone").mode() & 0o7777, 0o640);
    });
}

#[test]
fn what_is_made_belongs_to_its_maker() {
    in_world(|| {
        fs::set_permissions("upper", std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("chmod");
        touch("lower/gone");
        mounted("");
        fs::remove_file("m/gone").expect("unlink");
        abi::spawn(|| {
            abi::syscall!(SYS_setresgid, 2000, 2000, 2000).expect("setresgid");
            abi::syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            touch("m/file");
            mkdir("m/dir");
            touch("m/gone");
        })
        .join();
        for name in ["file", "dir", "gone"] {
            assert_eq!((stat(&format!("upper/{name}")).uid(), stat(&format!("upper/{name}")).gid()), (1000, 2000), "{name}");
        }
        assert!(!has_xattr("upper/dir", "trusted.overlay.origin"));
    });
}
