//! Hard links, symbolic links, and rename in all its forms.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use abi::world::{c, exists, identity, mkdir, mkdirs, names, read, touch, write};
use abi::{Outcome, assert_errno, in_mount_namespace, spawn, syscall};
use libc::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};

fn rename(from: &str, to: &str) -> std::io::Result<()> {
    std::fs::rename(from, to)
}

fn rename_with(from: &str, to: &str, flags: u32) -> Outcome {
    let at = libc::AT_FDCWD;
    syscall!(SYS_renameat2, at, c(from).as_c_str(), at, c(to).as_c_str(), flags)
}

fn link(from: &str, to: &str) -> std::io::Result<()> {
    std::fs::hard_link(from, to)
}

#[test]
fn hard_links_are_one_file() {
    in_mount_namespace(|| {
        write("a", "one");
        link("a", "b").expect("link");
        assert_eq!(identity("a"), identity("b"));
        assert_eq!(std::fs::metadata("a").expect("stat").nlink(), 2);
        write("b", "two");
        assert_eq!(read("a"), "two");
        std::fs::remove_file("a").expect("unlink");
        assert_eq!(std::fs::metadata("b").expect("stat").nlink(), 1);
        assert_eq!(read("b"), "two");
    });
}

#[test]
fn link_has_the_errors_of_its_manual() {
    in_mount_namespace(|| {
        touch("a");
        mkdir("d");
        assert_errno!(link("a", "d"), EEXIST);
        assert_errno!(link("d", "e"), EPERM);
        assert_errno!(link("missing", "e"), ENOENT);
        assert_errno!(link("a", "missing/e"), ENOENT);
        assert_errno!(link("a", "a/e"), ENOTDIR);
        abi::world::tmpfs("d", "/tmp/d");
        assert_errno!(link("a", "d/b"), EXDEV);
        assert_errno!(syscall!(SYS_linkat, libc::AT_FDCWD, c"a", libc::AT_FDCWD, c"e", 1), EINVAL);
    });
}

#[test]
fn link_names_the_symlink_itself_unless_told_to_follow() {
    in_mount_namespace(|| {
        touch("a");
        symlink("a", "s").expect("symlink");
        let at = libc::AT_FDCWD;
        assert_eq!(syscall!(SYS_linkat, at, c"s", at, c"copy", 0), Ok(0));
        assert!(std::fs::symlink_metadata("copy").expect("stat").is_symlink());
        assert_eq!(syscall!(SYS_linkat, at, c"s", at, c"followed", libc::AT_SYMLINK_FOLLOW), Ok(0));
        assert_eq!(identity("followed"), identity("a"));
    });
}

#[test]
fn symlinks_keep_any_text_and_readlink_cuts_silently() {
    in_mount_namespace(|| {
        let target = "no such place/".repeat(20);
        symlink(&target, "s").expect("symlink");
        assert_eq!(std::fs::read_link("s").expect("readlink").to_str(), Some(target.as_str()));
        let data = std::fs::symlink_metadata("s").expect("lstat");
        assert_eq!((data.len(), data.mode() & 0o777), (target.len() as u64, 0o777));
        let mut cut = [0u8; 5];
        assert_eq!(syscall!(SYS_readlink, c"s", cut.as_mut_ptr(), 5), Ok(5));
        assert_eq!(&cut, b"no su");
        assert_errno!(syscall!(SYS_readlink, c"s", cut.as_mut_ptr(), 0), EINVAL);
        touch("file");
        assert_errno!(std::fs::read_link("file"), EINVAL);
        assert_errno!(symlink("", "empty"), ENOENT);
        assert_errno!(symlink("x", "s"), EEXIST);
        assert_errno!(symlink("x".repeat(4096), "long"), ENAMETOOLONG);
        symlink("x".repeat(4095), "long").expect("PATH_MAX with its NUL");
    });
}

#[test]
fn rename_replaces_files_and_empty_directories() {
    in_mount_namespace(|| {
        write("a", "a");
        write("b", "b");
        let (_, inode) = identity("a");
        rename("a", "b").expect("over a file");
        assert_eq!((read("b").as_str(), identity("b").1, exists("a")), ("a", inode, false));
        mkdirs(&["d", "d/inner", "e"]);
        rename("d", "e").expect("over an empty directory");
        assert_eq!(names("e"), ["inner"]);
        mkdir("d");
        assert_errno!(rename("d", "e"), ENOTEMPTY);
        assert_errno!(rename("b", "e"), EISDIR);
        assert_errno!(rename("e", "b"), ENOTDIR);
    });
}

#[test]
fn rename_has_the_errors_of_its_manual() {
    in_mount_namespace(|| {
        mkdirs(&["d", "d/inner"]);
        touch("file");
        assert_errno!(rename("missing", "x"), ENOENT);
        assert_errno!(rename("file", "missing/x"), ENOENT);
        assert_errno!(rename("d", "d/inner/x"), EINVAL);
        assert_errno!(rename("d", "d/x"), EINVAL);
        assert_errno!(rename("d/inner", "d"), ENOTEMPTY);
        assert_errno!(rename("file/", "x"), ENOTDIR);
        assert_errno!(rename("file", "x/"), ENOTDIR);
        assert_errno!(rename(".", "x"), EBUSY);
        assert_errno!(rename("d/..", "x"), EBUSY);
        assert_errno!(rename("d", "."), EBUSY);
        abi::world::tmpfs("inner", "/tmp/d/inner");
        assert_errno!(rename("file", "d/inner/file"), EXDEV);
        assert_errno!(rename("missing", "d/inner/file"), EXDEV); // Rule L15
        assert_errno!(rename("d/inner", "x"), EBUSY); // Rule L16
        rename("d", "moved").expect("a directory above a mount point moves"); // Rule L16
        assert!(abi::mountinfo::is_mounted("/tmp/moved/inner"));
        rename("moved/", "d/").expect("slashes behind directories");
    });
}

#[test]
fn renaming_one_link_onto_another_does_nothing() {
    in_mount_namespace(|| {
        write("a", "x");
        link("a", "b").expect("link");
        rename("a", "b").expect("rename");
        assert_eq!(names("."), ["a", "b"]);
        rename("a", "a").expect("onto itself");
    });
}

#[test]
fn rename_noreplace_never_replaces() {
    in_mount_namespace(|| {
        write("a", "a");
        write("b", "b");
        assert_errno!(rename_with("a", "b", RENAME_NOREPLACE), EEXIST);
        assert_eq!(read("b"), "b");
        assert_eq!(rename_with("a", "c", RENAME_NOREPLACE), Ok(0));
        assert_eq!(read("c"), "a");
        assert_errno!(rename_with("c", "c", RENAME_NOREPLACE), EEXIST);
    });
}

#[test]
fn rename_exchange_swaps_anything_with_anything() {
    in_mount_namespace(|| {
        write("file", "x");
        mkdirs(&["d", "d/inner"]);
        assert_eq!(rename_with("file", "d", RENAME_EXCHANGE), Ok(0));
        assert_eq!(read("d"), "x");
        assert_eq!(names("file"), ["inner"]);
        assert_errno!(rename_with("file", "missing", RENAME_EXCHANGE), ENOENT);
        assert_errno!(rename_with("file", "file/inner", RENAME_EXCHANGE), EINVAL);
        assert_errno!(rename_with("file/inner", "file", RENAME_EXCHANGE), EINVAL);
        mkdirs(&["p", "q", "p/x"]);
        touch("q/y");
        assert_eq!(rename_with("p/x", "q/y", RENAME_EXCHANGE), Ok(0));
        let links = |path: &str| std::fs::metadata(path).expect("stat").nlink();
        assert_eq!((links("p"), links("q")), (2, 3), "the subdirectory counts for its new parent");
    });
}

#[test]
fn rename_flags_that_exclude_each_other_are_einval() {
    in_mount_namespace(|| {
        touch("a");
        touch("b");
        assert_errno!(rename_with("a", "b", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
        assert_errno!(rename_with("a", "b", RENAME_EXCHANGE | RENAME_WHITEOUT), EINVAL);
        assert_errno!(rename_with("a", "b", 0x100), EINVAL);
    });
}

#[test]
fn rename_whiteout_leaves_a_device_node_behind() {
    in_mount_namespace(|| {
        write("a", "x");
        assert_eq!(rename_with("a", "b", RENAME_WHITEOUT), Ok(0));
        let data = std::fs::symlink_metadata("a").expect("a whiteout");
        assert_eq!((data.mode() & libc::S_IFMT, data.rdev()), (libc::S_IFCHR, 0));
        assert_eq!(read("b"), "x");
    });
}

#[test]
fn a_replaced_file_stays_readable_through_its_descriptor() {
    in_mount_namespace(|| {
        write("old", "old content");
        write("new", "new content");
        let mut held = std::fs::File::open("old").expect("open");
        rename("new", "old").expect("rename");
        let mut content = String::new();
        std::io::Read::read_to_string(&mut held, &mut content).expect("read");
        assert_eq!((content.as_str(), read("old").as_str()), ("old content", "new content"));
        assert_eq!(held.metadata().expect("fstat").nlink(), 0);
    });
}

#[test]
fn moving_a_directory_needs_write_permission_on_it() {
    in_mount_namespace(|| {
        mkdirs(&["p", "q", "p/d"]);
        for path in ["p", "q"] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("chmod");
        }
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(rename("p/d", "q/d"), EACCES);
            rename("p/d", "p/e").expect("not within one directory: its `..` stays");
        })
        .join();
    });
}

#[test]
fn dot_dot_follows_a_moved_directory() {
    in_mount_namespace(|| {
        mkdirs(&["p", "q", "p/d"]);
        std::env::set_current_dir("p/d").expect("chdir");
        rename("/tmp/p/d", "/tmp/q/d").expect("rename");
        assert_eq!(identity(".."), identity("/tmp/q"));
        assert_eq!(std::env::current_dir().expect("cwd").to_str(), Some("/tmp/q/d"));
    });
}

#[test]
fn many_names_in_one_directory_are_all_found() {
    in_mount_namespace(|| {
        for number in 0..500 {
            touch(&format!("file{number:03}"));
        }
        for number in (0..500).step_by(3) {
            std::fs::remove_file(format!("file{number:03}")).expect("unlink");
        }
        let expected: Vec<String> = (0..500).filter(|number| number % 3 != 0).map(|number| format!("file{number:03}")).collect();
        assert_eq!(names("."), expected);
        assert!(!exists("file000") && exists("file001"));
    });
}
