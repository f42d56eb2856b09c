//! Path walk: symbolic links and their limits, `..` at roots and across mounts, openat2 and its RESOLVE_ flags, magic links.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use abi::world::{bind, c, exists, identity, mkdir, mkdirs, mount, names, new_tmpfs, read, touch, write};
use abi::{Outcome, assert_errno, in_mount_namespace, spawn, syscall};

const RESOLVE_NO_XDEV: u64 = 1;
const RESOLVE_NO_MAGICLINKS: u64 = 2;
const RESOLVE_NO_SYMLINKS: u64 = 4;
const RESOLVE_BENEATH: u64 = 8;
const RESOLVE_IN_ROOT: u64 = 16;
const RESOLVE_CACHED: u64 = 32;

/// `openat2` relative to `directory`; the descriptor is closed again.
fn openat2(directory: &File, path: &CStr, flags: i32, resolve: u64) -> Outcome<(u64, u64)> {
    let how = [flags as u64, 0, resolve];
    let fd = syscall!(SYS_openat2, directory, path, how.as_ptr(), 24)?;
    let identity = identity(&format!("/proc/self/fd/{fd}"));
    syscall!(SYS_close, fd)?;
    Ok(identity)
}

fn resolve(directory: &File, path: &CStr, resolve: u64) -> Outcome<(u64, u64)> {
    openat2(directory, path, libc::O_PATH, resolve)
}

#[test]
fn forty_symlinks_are_followed_and_one_more_is_eloop() {
    in_mount_namespace(|| {
        touch("link0");
        for number in 1..=41 {
            symlink(format!("link{}", number - 1), format!("link{number}")).expect("symlink");
        }
        assert!(std::fs::metadata("link40").is_ok());
        assert_errno!(std::fs::metadata("link41"), ELOOP);
        assert!(std::fs::symlink_metadata("link41").is_ok());
        symlink("me", "me").expect("symlink");
        assert_errno!(File::open("me"), ELOOP);
        assert_errno!(File::open("me/x"), ELOOP);
    });
}

#[test]
fn slashes_and_dots_are_walked_as_directories() {
    in_mount_namespace(|| {
        mkdirs(&["d", "d/e"]);
        touch("d/file");
        symlink("d", "link").expect("symlink");
        assert_eq!(identity("d//e///.././/file"), identity("d/file"));
        assert_errno!(std::fs::metadata("d/file/"), ENOTDIR);
        assert_errno!(std::fs::metadata("d/file/."), ENOTDIR);
        assert_errno!(std::fs::metadata("missing/.."), ENOENT);
        assert!(std::fs::symlink_metadata("link").expect("lstat").is_symlink());
        assert!(std::fs::symlink_metadata("link/").expect("lstat").is_dir(), "a slash follows the link");
        assert_errno!(std::fs::metadata(""), ENOENT);
        assert_eq!(identity("/.."), identity("/"));
    });
}

#[test]
fn long_names_and_paths_have_their_limits() {
    in_mount_namespace(|| {
        touch(&"x".repeat(255));
        assert_errno!(File::create("x".repeat(256)), ENAMETOOLONG);
        let longest = format!("{}{}", "./".repeat(2045), "xxxxx");
        assert_eq!(longest.len(), 4095);
        assert_errno!(std::fs::metadata(&longest), ENOENT);
        assert_errno!(std::fs::metadata(format!("{longest}x")), ENAMETOOLONG);
    });
}

#[test]
fn search_permission_is_needed_on_every_component() {
    in_mount_namespace(|| {
        mkdirs(&["a", "a/b", "a/b/c"]);
        std::fs::set_permissions("a/b", std::fs::Permissions::from_mode(0o600)).expect("chmod");
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert!(exists("a/b"));
            assert_errno!(std::fs::metadata("a/b/c"), EACCES);
            assert_errno!(std::fs::metadata("a/b/missing"), EACCES);
            assert_errno!(std::fs::metadata("a/b/.."), EACCES);
        })
        .join();
    });
}

#[test]
fn dot_dot_leaves_a_mount_through_its_mount_point() {
    in_mount_namespace(|| {
        mkdirs(&["a", "a/b"]);
        new_tmpfs("/tmp/m");
        mkdir("m/inner");
        bind("/tmp/m/inner", "/tmp/a/b").expect("bind");
        assert_eq!(identity("a/b/.."), identity("a")); // Rule L5
        assert_eq!(identity("m/inner/.."), identity("m"));
        std::env::set_current_dir("a/b").expect("chdir");
        assert_eq!(std::env::current_dir().expect("cwd").to_str(), Some("/tmp/a/b"));
    });
}

#[test]
fn dot_dot_climbs_out_of_a_stack_of_mounts() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/m");
        abi::world::tmpfs("second", "/tmp/m");
        abi::world::tmpfs("third", "/tmp/m");
        assert_eq!(identity("m/.."), identity("/tmp")); // Rule L5
        write("m/file", "on top");
        assert_eq!(names("m"), ["file"]);
    });
}

#[test]
fn the_working_directory_is_not_covered_by_a_later_mount() {
    in_mount_namespace(|| {
        mkdir("d");
        touch("d/below");
        std::env::set_current_dir("d").expect("chdir");
        abi::world::tmpfs("top", "/tmp/d");
        assert_eq!(names("."), ["below"]); // Rule L2
        assert_eq!(names("/tmp/d"), [] as [&str; 0]);
        assert_eq!(names("../d"), [] as [&str; 0], "`..` and the name lead to the top");
    });
}

#[test]
fn chroot_stops_dot_dot_and_absolute_links() {
    in_mount_namespace(|| {
        mkdirs(&["root", "root/inner"]);
        write("root/file", "inside");
        symlink("/file", "root/link").expect("symlink");
        symlink("/../../tmp", "root/up").expect("symlink");
        let outside = File::open("/tmp").expect("open");
        spawn(|| {
            syscall!(SYS_chroot, c"/tmp/root").expect("chroot");
            assert!(exists("root"), "the working directory stays outside");
            std::env::set_current_dir("/").expect("chdir");
            assert_eq!(identity("/.."), identity("/"));
            assert_eq!(read("/link"), "inside");
            assert_errno!(std::fs::metadata("/up"), ENOENT);
            assert_eq!(names("/inner/.."), ["file", "inner", "link", "up"]);
            syscall!(SYS_fchdir, &outside).expect("fchdir");
            assert!(exists("root"), "a descriptor leads out"); // Rule L6
            let mut path = [0u8; 64];
            let len = syscall!(SYS_getcwd, path.as_mut_ptr(), 64).expect("getcwd");
            assert_eq!(&path[..len], b"(unreachable)/tmp\0"); // Rule L8
        })
        .join();
        assert_errno!(syscall!(SYS_chroot, c"/tmp/root/file"), ENOTDIR);
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(syscall!(SYS_chroot, c"/tmp"), EPERM);
        })
        .join();
    });
}

#[test]
fn resolve_beneath_refuses_to_leave_the_directory() {
    in_mount_namespace(|| {
        mkdirs(&["d", "d/e"]);
        touch("d/e/file");
        touch("outside");
        symlink("/tmp/d/e/file", "d/absolute").expect("symlink");
        symlink("../outside", "d/out").expect("symlink");
        symlink("e/../e/file", "d/inside").expect("symlink");
        let d = File::open("d").expect("open");
        let file = Ok(identity("d/e/file"));
        assert_eq!(resolve(&d, c"e/file", RESOLVE_BENEATH), file);
        assert_eq!(resolve(&d, c"e/../e/file", RESOLVE_BENEATH), file);
        assert_eq!(resolve(&d, c"inside", RESOLVE_BENEATH), file);
        for path in [c"..", c"../d", c"/tmp/d", c"out", c"absolute", c"e/../../outside"] {
            assert_errno!(resolve(&d, path, RESOLVE_BENEATH), EXDEV); // Rule L11
        }
    });
}

#[test]
fn resolve_in_root_treats_the_directory_as_the_root() {
    in_mount_namespace(|| {
        mkdirs(&["d", "d/e"]);
        touch("d/e/file");
        symlink("/e/file", "d/absolute").expect("symlink");
        symlink("../../../e/file", "d/e/up").expect("symlink");
        let d = File::open("d").expect("open");
        let file = Ok(identity("d/e/file"));
        for path in [c"absolute", c"/e/file", c"../../e/file", c"e/up", c"/../e/file"] {
            assert_eq!(resolve(&d, path, RESOLVE_IN_ROOT), file);
        }
        assert_eq!(resolve(&d, c"..", RESOLVE_IN_ROOT), Ok(identity("d")));
        assert_errno!(resolve(&d, c"/tmp", RESOLVE_IN_ROOT), ENOENT);
    });
}

#[test]
fn resolve_no_symlinks_and_no_magiclinks_refuse_links() {
    in_mount_namespace(|| {
        mkdir("d");
        touch("d/file");
        symlink("file", "d/link").expect("symlink");
        let d = File::open("d").expect("open");
        let file = File::open("d/file").expect("open");
        assert_errno!(resolve(&d, c"link", RESOLVE_NO_SYMLINKS), ELOOP);
        let nofollow = libc::O_PATH | libc::O_NOFOLLOW;
        assert!(openat2(&d, c"link", nofollow, RESOLVE_NO_SYMLINKS).is_ok(), "the link itself may be opened");
        assert_eq!(resolve(&d, c"link", RESOLVE_NO_MAGICLINKS), Ok(identity("d/file")));
        let magic = c(&format!("/proc/self/fd/{}", file.as_raw_fd()));
        assert_eq!(resolve(&d, &magic, 0), Ok(identity("d/file")));
        assert_errno!(resolve(&d, &magic, RESOLVE_NO_MAGICLINKS), ELOOP);
        assert_errno!(resolve(&d, &magic, RESOLVE_NO_SYMLINKS), ELOOP);
    });
}

#[test]
fn resolve_no_xdev_refuses_to_cross_mounts() {
    in_mount_namespace(|| {
        mkdirs(&["d", "d/e"]);
        new_tmpfs("/tmp/d/m");
        mkdir("d/m/inner");
        let d = File::open("d").expect("open");
        assert_eq!(resolve(&d, c"e", RESOLVE_NO_XDEV), Ok(identity("d/e")));
        assert_errno!(resolve(&d, c"m", RESOLVE_NO_XDEV), EXDEV); // Rule L11
        assert_errno!(resolve(&d, c"m/inner", RESOLVE_NO_XDEV), EXDEV);
        let m = File::open("d/m").expect("open");
        assert_errno!(resolve(&m, c"..", RESOLVE_NO_XDEV), EXDEV);
        assert_errno!(resolve(&m, c"inner/../..", RESOLVE_NO_XDEV), EXDEV);
        assert_eq!(resolve(&m, c"inner", RESOLVE_NO_XDEV), Ok(identity("d/m/inner")));
    });
}

#[test]
fn openat2_refuses_what_it_does_not_know() {
    in_mount_namespace(|| {
        touch("file");
        let here = File::open(".").expect("open");
        let call = |how: &[u64], size: usize| syscall!(SYS_openat2, &here, c"file", how.as_ptr(), size);
        assert_errno!(call(&[0, 0, 64], 24), EINVAL);
        assert_errno!(call(&[1 << 40, 0, 0], 24), EINVAL);
        assert_errno!(call(&[0, 0o600, 0], 24), EINVAL);
        assert_errno!(call(&[libc::O_CREAT as u64, 0o17777, 0], 24), EINVAL);
        assert_errno!(call(&[0, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT], 24), EINVAL);
        assert_errno!(call(&[0, 0, 0], 16), EINVAL);
        assert_errno!(call(&[0, 0, 0, 1], 32), E2BIG);
        assert!(call(&[0, 0, 0, 0], 32).is_ok(), "zeroes behind what is known are fine");
        assert_errno!(call(&[(libc::O_PATH | libc::O_RDWR | libc::O_APPEND) as u64, 0, 0], 24), EINVAL);
        assert_errno!(syscall!(SYS_openat2, &here, c"file", 0x10usize, 24), EFAULT);
        assert_errno!(call(&[libc::O_TRUNC as u64 | 1, 0, RESOLVE_CACHED], 24), EAGAIN);
    });
}

#[test]
fn magic_links_lead_to_the_object_itself() {
    in_mount_namespace(|| {
        mkdirs(&["d", "d/e"]);
        write("d/file", "below");
        let covered = File::open("d").expect("open");
        let file = File::open("d/file").expect("open");
        abi::world::tmpfs("top", "/tmp/d");
        let magic = format!("/proc/self/fd/{}", covered.as_raw_fd());
        assert_eq!(names(&magic), ["e", "file"], "not what covers it now");
        assert_eq!(read(&format!("{magic}/file")), "below");
        std::fs::remove_file(format!("{magic}/file")).expect("unlink");
        assert_eq!(read(&format!("/proc/self/fd/{}", file.as_raw_fd())), "below", "unlinked and covered");
        assert_eq!(identity("/proc/self/cwd"), identity("."));
        assert_eq!(identity("/proc/self/root"), identity("/"));
        assert!(std::fs::metadata("/proc/self/exe").expect("stat").len() > 10_000);
    });
}

#[test]
fn nosymfollow_mounts_follow_no_links_on_them() {
    in_mount_namespace(|| {
        mkdir("d");
        mount("d", "/tmp/d", "tmpfs", 0x100, "").expect("MS_NOSYMFOLLOW");
        touch("d/file");
        symlink("file", "d/link").expect("symlink");
        assert_errno!(File::open("d/link"), ELOOP); // Rule L12
        assert_errno!(File::open("d/link/x"), ELOOP);
        assert_eq!(std::fs::read_link("d/link").expect("readlink").to_str(), Some("file"));
        assert!(std::fs::symlink_metadata("d/link").is_ok());
        symlink("d/file", "outside").expect("symlink");
        assert!(File::open("outside").is_ok(), "only links that lie on the mount");
    });
}

#[test]
fn readlinkat_reads_links_and_refuses_other_files() {
    in_mount_namespace(|| {
        mkdir("d");
        write("d/target", "x");
        symlink("target", "d/link").expect("symlink");
        let mut path = vec![0u8; 64];
        let len = syscall!(SYS_readlinkat, libc::AT_FDCWD, c"d/link", path.as_mut_ptr(), 64).expect("readlinkat");
        assert_eq!(&path[..len], b"target");
        assert_errno!(syscall!(SYS_readlinkat, libc::AT_FDCWD, c"d/target", path.as_mut_ptr(), 64), EINVAL);
        assert_errno!(syscall!(SYS_readlinkat, libc::AT_FDCWD, c"d/link", path.as_mut_ptr(), -1), EINVAL);
    });
}

#[test]
fn empty_paths_name_the_descriptor_with_at_empty_path() {
    in_mount_namespace(|| {
        write("file", "abc");
        let file = File::open("file").expect("open");
        // SAFETY: stat is plain data.
        let mut data: libc::stat = unsafe { std::mem::zeroed() };
        assert_eq!(syscall!(SYS_newfstatat, &file, c"", &raw mut data, libc::AT_EMPTY_PATH), Ok(0));
        assert_eq!((data.st_size, data.st_ino), (3, std::fs::metadata("file").expect("stat").ino()));
        assert_errno!(syscall!(SYS_newfstatat, &file, c"", &raw mut data, 0), ENOENT);
        assert_errno!(syscall!(SYS_newfstatat, &file, c"x", &raw mut data, 0), ENOTDIR);
        assert_errno!(syscall!(SYS_newfstatat, &file, c"", &raw mut data, 1), EINVAL);
        assert_eq!(syscall!(SYS_newfstatat, libc::AT_FDCWD, c"", &raw mut data, libc::AT_EMPTY_PATH), Ok(0));
        assert_eq!(data.st_ino, std::fs::metadata(".").expect("stat").ino());
        assert_eq!(syscall!(SYS_fchownat, &file, c"", 9, 9, libc::AT_EMPTY_PATH), Ok(0));
        assert_eq!(std::fs::metadata("file").expect("stat").uid(), 9);
    });
}

#[test]
fn a_file_renamed_out_of_a_bind_mount_has_no_way_up() {
    in_mount_namespace(|| {
        mkdirs(&["source", "source/d", "target", "elsewhere"]);
        bind("/tmp/source", "/tmp/target").expect("bind");
        std::env::set_current_dir("target/d").expect("chdir");
        std::fs::rename("/tmp/source/d", "/tmp/elsewhere/d").expect("rename");
        assert_errno!(std::fs::metadata(".."), ENOENT); // Rule L7
        let mut path = [0u8; 64];
        syscall!(SYS_getcwd, path.as_mut_ptr(), 64).expect("getcwd");
        assert!(path.starts_with(b"(unreachable)"), "glibc's getcwd makes ENOENT of this"); // Rule L8
    });
}
