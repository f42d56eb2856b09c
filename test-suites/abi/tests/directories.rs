//! Directories: making, removing, listing, link counts, sticky and set-group-ID bits, the working directory.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use abi::world::{mkdir, mkdirs, names, touch, write};
use abi::{assert_errno, in_mount_namespace, spawn, syscall};

fn set_mode(path: &str, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

fn as_user(id: u32, body: impl FnOnce()) {
    spawn(|| {
        syscall!(SYS_setgroups, 0, 0usize).expect("setgroups");
        syscall!(SYS_setresgid, id, id, id).expect("setresgid");
        syscall!(SYS_setresuid, id, id, id).expect("setresuid");
        body();
    })
    .join();
}

fn links(path: &str) -> u64 {
    std::fs::metadata(path).expect("stat").nlink()
}

#[test]
fn mkdir_and_rmdir_have_the_errors_of_their_manuals() {
    in_mount_namespace(|| {
        mkdir("d");
        touch("file");
        assert_errno!(std::fs::create_dir("d"), EEXIST);
        assert_errno!(std::fs::create_dir("file"), EEXIST);
        assert_errno!(std::fs::create_dir("missing/d"), ENOENT);
        assert_errno!(std::fs::create_dir("file/d"), ENOTDIR);
        assert_errno!(std::fs::create_dir("."), EEXIST);
        assert_errno!(std::fs::create_dir("/"), EEXIST);
        assert_errno!(std::fs::create_dir("x".repeat(256)), ENAMETOOLONG);
        std::fs::create_dir("e/").expect("a slash at the end is allowed");
        assert_errno!(std::fs::remove_dir("file"), ENOTDIR);
        assert_errno!(std::fs::remove_dir("missing"), ENOENT);
        assert_errno!(std::fs::remove_dir("d/."), EINVAL);
        mkdir("d/inner");
        assert_errno!(std::fs::remove_dir("d"), ENOTEMPTY);
        assert_errno!(std::fs::remove_dir("d/inner/.."), ENOTEMPTY);
        assert_errno!(std::fs::remove_dir("/"), EBUSY);
        std::fs::remove_dir("d/inner").expect("rmdir");
        std::fs::remove_dir("d/").expect("rmdir");
    });
}

#[test]
fn unlink_and_unlinkat_tell_files_from_directories() {
    in_mount_namespace(|| {
        mkdir("d");
        touch("file");
        assert_errno!(syscall!(SYS_unlink, c"d"), EISDIR);
        assert_errno!(syscall!(SYS_unlink, c"missing"), ENOENT);
        assert_errno!(syscall!(SYS_unlink, c"file/"), ENOTDIR);
        assert_errno!(syscall!(SYS_unlinkat, libc::AT_FDCWD, c"file", libc::AT_REMOVEDIR), ENOTDIR);
        assert_errno!(syscall!(SYS_unlinkat, libc::AT_FDCWD, c"file", 1), EINVAL);
        assert_eq!(syscall!(SYS_unlinkat, libc::AT_FDCWD, c"d", libc::AT_REMOVEDIR), Ok(0));
        assert_eq!(syscall!(SYS_unlinkat, libc::AT_FDCWD, c"file", 0), Ok(0));
        assert_eq!(names("."), [] as [&str; 0]);
    });
}

#[test]
fn link_counts_follow_subdirectories() {
    in_mount_namespace(|| {
        mkdirs(&["d", "d/one", "d/two"]);
        touch("d/file");
        assert_eq!((links("d"), links("d/one"), links("d/file")), (4, 2, 1));
        std::fs::remove_dir("d/one").expect("rmdir");
        assert_eq!(links("d"), 3);
        std::fs::rename("d/two", "two").expect("rename");
        assert_eq!(links("d"), 2);
        let held = std::fs::File::open("two").expect("open");
        std::fs::remove_dir("two").expect("rmdir");
        assert_eq!(held.metadata().expect("fstat").nlink(), 0);
    });
}

#[test]
fn a_removed_directory_stays_usable_but_takes_no_entries() {
    in_mount_namespace(|| {
        mkdir("d");
        std::env::set_current_dir("d").expect("chdir");
        std::fs::remove_dir("/tmp/d").expect("rmdir");
        assert_errno!(std::fs::write("file", ""), ENOENT);
        assert_errno!(std::fs::create_dir("inner"), ENOENT);
        assert_errno!(std::env::current_dir(), ENOENT); // Rule L8
        assert_eq!(names("."), [] as [&str; 0]);
        assert_eq!(std::fs::read_link("/proc/self/cwd").expect("cwd").to_str(), Some("/tmp/d (deleted)"));
        std::env::set_current_dir("..").expect("its parent is still known");
        assert_eq!(std::env::current_dir().expect("cwd").to_str(), Some("/tmp"));
    });
}

#[test]
fn sticky_directories_protect_entries_of_others() {
    in_mount_namespace(|| {
        mkdir("d");
        set_mode("d", 0o1777);
        for (name, owner) in [("d/mine", 1000), ("d/theirs", 1001)] {
            touch(name);
            chown(name, Some(owner), None).expect("chown");
        }
        as_user(1000, || {
            assert_errno!(std::fs::remove_file("d/theirs"), EPERM);
            assert_errno!(std::fs::rename("d/theirs", "d/x"), EPERM);
            assert_errno!(std::fs::rename("d/mine", "d/theirs"), EPERM);
            std::fs::rename("d/mine", "d/x").expect("one's own");
            std::fs::remove_file("d/x").expect("one's own");
        });
        chown("d", Some(1002), None).expect("chown");
        as_user(1002, || std::fs::remove_file("d/theirs").expect("the directory's owner may"));
    });
}

#[test]
fn set_group_id_directories_hand_their_group_down() {
    in_mount_namespace(|| {
        mkdir("d");
        chown("d", None, Some(500)).expect("chown");
        set_mode("d", 0o2777);
        touch("d/file");
        mkdir("d/inner");
        assert_eq!(std::fs::metadata("d/file").expect("stat").gid(), 500);
        let inner = std::fs::metadata("d/inner").expect("stat");
        assert_eq!((inner.gid(), inner.mode() & 0o7777), (500, 0o2755), "directories hand the bit down too");
        as_user(1000, || {
            syscall!(SYS_open, c"d/executable", libc::O_CREAT | libc::O_WRONLY, 0o2775).expect("open");
        });
        let file = std::fs::metadata("d/executable").expect("stat");
        assert_eq!((file.gid(), file.mode() & 0o7777), (500, 0o755), "not a member: the bit is dropped");
    });
}

#[test]
fn getcwd_tells_length_and_erange() {
    in_mount_namespace(|| {
        mkdirs(&["d", "d/e"]);
        std::env::set_current_dir("d/e").expect("chdir");
        let mut path = [0u8; 32];
        assert_eq!(syscall!(SYS_getcwd, path.as_mut_ptr(), 32), Ok(9), "the NUL is counted");
        assert_eq!(&path[..9], b"/tmp/d/e\0");
        assert_eq!(syscall!(SYS_getcwd, path.as_mut_ptr(), 9), Ok(9));
        assert_errno!(syscall!(SYS_getcwd, path.as_mut_ptr(), 8), ERANGE);
        assert_errno!(syscall!(SYS_getcwd, 0x10usize, 32), EFAULT);
        std::fs::rename("/tmp/d", "/tmp/renamed").expect("rename");
        assert_eq!(std::env::current_dir().expect("cwd").to_str(), Some("/tmp/renamed/e"));
    });
}

#[test]
fn chdir_and_fchdir_need_a_directory_that_may_be_searched() {
    in_mount_namespace(|| {
        mkdir("closed");
        set_mode("closed", 0o700);
        touch("file");
        assert_errno!(std::env::set_current_dir("file"), ENOTDIR);
        assert_errno!(std::env::set_current_dir("missing"), ENOENT);
        let file = std::fs::File::open("file").expect("open");
        assert_errno!(syscall!(SYS_fchdir, &file), ENOTDIR);
        assert_errno!(syscall!(SYS_fchdir, 999), EBADF);
        let closed = std::fs::File::open("closed").expect("open");
        as_user(1000, || {
            assert_errno!(std::env::set_current_dir("closed"), EACCES);
            assert_errno!(syscall!(SYS_fchdir, &closed), EACCES);
        });
        assert_eq!(syscall!(SYS_fchdir, &closed), Ok(0));
        assert_eq!(std::env::current_dir().expect("cwd").to_str(), Some("/tmp/closed"));
    });
}

#[test]
fn at_calls_work_relative_to_a_descriptor() {
    in_mount_namespace(|| {
        mkdir("d");
        let d = std::fs::File::open("d").expect("open");
        std::env::set_current_dir("/").expect("chdir");
        assert_eq!(syscall!(SYS_mkdirat, &d, c"inner", 0o755), Ok(0));
        assert_eq!(syscall!(SYS_symlinkat, c"inner", &d, c"link"), Ok(0));
        assert_eq!(syscall!(SYS_mknodat, &d, c"node", libc::S_IFREG | 0o600, 0), Ok(0));
        assert_eq!(names("/tmp/d"), ["inner", "link", "node"]);
        assert_eq!(syscall!(SYS_fchmodat, &d, c"node", 0o640), Ok(0));
        assert_eq!(syscall!(SYS_fchownat, &d, c"node", 5, 6, 0), Ok(0));
        assert_eq!(syscall!(SYS_fchownat, &d, c"link", 7, 8, libc::AT_SYMLINK_NOFOLLOW), Ok(0));
        let node = std::fs::metadata("/tmp/d/node").expect("stat");
        assert_eq!((node.mode() & 0o777, node.uid(), node.gid()), (0o640, 5, 6));
        assert_eq!(std::fs::symlink_metadata("/tmp/d/link").expect("stat").uid(), 7);
        assert_eq!(std::fs::metadata("/tmp/d/inner").expect("stat").uid(), 0);
        let file = std::fs::File::open("/tmp/d/node").expect("open");
        assert_errno!(syscall!(SYS_mkdirat, &file, c"x", 0o755), ENOTDIR);
        assert_errno!(syscall!(SYS_mkdirat, 999, c"x", 0o755), EBADF);
        assert_eq!(syscall!(SYS_mkdirat, 999, c"/tmp/absolute", 0o755), Ok(0), "an absolute path needs no descriptor");
    });
}

#[test]
fn a_deep_tree_is_built_and_removed() {
    in_mount_namespace(|| {
        let depth = 300;
        for _ in 0..depth {
            mkdir("d");
            std::env::set_current_dir("d").expect("chdir");
        }
        write("file", "at the bottom");
        let path = std::env::current_dir().expect("cwd");
        assert_eq!(path.to_str().map(str::len), Some("/tmp".len() + 2 * depth));
        std::env::set_current_dir("/tmp").expect("chdir");
        std::fs::remove_dir_all("d").expect("the whole tree");
        assert_eq!(names("."), [] as [&str; 0]);
    });
}

#[test]
fn directories_notice_changes_in_their_times() {
    in_mount_namespace(|| {
        mkdir("d");
        let past = [libc::timespec { tv_sec: 1000, tv_nsec: 0 }; 2];
        let changed = |action: &dyn Fn()| {
            syscall!(SYS_utimensat, libc::AT_FDCWD, c"d", past.as_ptr(), 0).expect("utimensat");
            action();
            std::fs::metadata("d").expect("stat").mtime() != 1000
        };
        assert!(changed(&|| touch("d/file")));
        assert!(changed(&|| std::fs::rename("d/file", "d/other").expect("rename")));
        assert!(!changed(&|| write("d/other", "content")));
        assert!(changed(&|| std::fs::remove_file("d/other").expect("unlink")));
    });
}
