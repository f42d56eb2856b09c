//! mount(2), umount2(2) and their relatives in one namespace: new mounts, binds, moves, remounts, flags and errors.
//! Rule numbers are those of the specification of mount semantics.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;

use abi::mountinfo::{all_at, at, is_mounted, points_below, table, top_at};
use abi::world::{
    bind, c, exists, identity, make, mkdir, mkdirs, mount, move_mount, names, new_tmpfs, rbind, read, tmpfs, touch, umount, write,
};
use abi::{assert_errno, in_mount_namespace, spawn, syscall};
use libc::{MNT_DETACH, MNT_EXPIRE, MNT_FORCE, MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SHARED};

/// `f_flags` of statfs, its eleventh word.
fn mount_flags(path: &str) -> u64 {
    let mut space = [0u64; 15];
    syscall!(SYS_statfs, c(path).as_c_str(), space.as_mut_ptr()).expect("statfs");
    space[10]
}

#[test]
fn a_mount_covers_its_directory_and_umount_uncovers_it() {
    in_mount_namespace(|| {
        mkdir("d");
        touch("d/below");
        let before = identity("d");
        tmpfs("name", "/tmp/d");
        assert_ne!(identity("d").0, before.0);
        assert_eq!(names("d"), [] as [&str; 0]);
        touch("d/above");
        assert_eq!((at("/tmp/d").kind.as_str(), at("/tmp/d").source.as_str()), ("tmpfs", "name"));
        assert_eq!(umount("d", 0), Ok(0));
        assert_eq!((names("d"), identity("d")), (vec!["below".to_string()], before));
        assert_errno!(umount("d", 0), EINVAL);
    });
}

#[test]
fn mounts_stack_and_come_off_from_the_top() {
    in_mount_namespace(|| {
        mkdir("d");
        for name in ["one", "two", "three"] {
            tmpfs(name, "/tmp/d");
            touch(&format!("d/{name}"));
        }
        let stack = all_at("/tmp/d");
        assert_eq!(stack.iter().map(|mount| mount.source.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]); // Rule O5, F9
        assert_eq!((stack[1].parent, stack[2].parent), (stack[0].id, stack[1].id));
        for name in ["three", "two", "one"] {
            assert_eq!(names("d"), [name]);
            umount("d", 0).expect("umount");
        }
        assert!(!is_mounted("/tmp/d"));
    });
}

#[test]
fn mount_checks_strings_then_target_then_flags_then_type() {
    in_mount_namespace(|| {
        mkdir("d");
        touch("file");
        assert_errno!(mount("x", "/tmp/d", "nosuchtype", 0, ""), ENODEV); // Rule F7
        assert_errno!(mount("x", "/tmp/d", "", 0, ""), ENODEV);
        assert_errno!(mount("x", "/tmp/missing", "nosuchtype", 0, ""), ENOENT); // Rule F4: the target is looked up first
        assert_errno!(mount("x", "", "tmpfs", 0, ""), ENOENT);
        assert_errno!(mount("x", "/tmp/file/x", "tmpfs", 0, ""), ENOTDIR);
        assert_errno!(mount("x", "/tmp/file", "tmpfs", 0, ""), ENOTDIR); // Rule F9
        assert_errno!(mount("x", "/tmp/file", "tmpfs", 0, "bad=option"), EINVAL);
        assert_errno!(mount("x", "/tmp/d", "tmpfs", 1 << 31, ""), EINVAL);
        assert_errno!(syscall!(SYS_mount, c"x", c"/tmp/d", 0usize, 0, 0usize), EINVAL);
        assert_errno!(syscall!(SYS_mount, 0x10usize, c"/tmp/d", c"tmpfs", 0, 0usize), EFAULT);
        assert_errno!(syscall!(SYS_mount, c"x", 0x10usize, c"tmpfs", 0, 0usize), EFAULT);
        assert_errno!(syscall!(SYS_mount, c"x", c"/tmp/d", 0x10usize, 0, 0usize), EFAULT);
        assert_errno!(syscall!(SYS_mount, c"x", c"/tmp/missing", c"tmpfs", 0, 0x10usize), EFAULT); // Rule F1
        let long = "x".repeat(4096);
        assert_errno!(mount(&long, "/tmp/d", "tmpfs", 0, ""), EINVAL); // Rule F2
        assert_errno!(mount("x", "/tmp/d", &long, 0, ""), EINVAL);
        assert!(!is_mounted("/tmp/d"));
    });
}

#[test]
fn mounting_needs_cap_sys_admin_after_the_target_was_found() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(mount("x", "/tmp/d", "nosuchtype", 0, ""), EPERM); // Rule F4
            assert_errno!(mount("x", "/tmp/missing", "tmpfs", 0, ""), ENOENT);
            assert_errno!(bind("/tmp/missing", "/tmp/d"), EPERM);
            assert_errno!(make("/tmp/d", MS_SHARED), EPERM);
            assert_errno!(umount("d", 0), EPERM); // Rule U1
            assert_errno!(umount("missing", 0), ENOENT);
            assert_errno!(abi::world::pivot_root("/tmp/d", "/tmp/d"), EPERM); // Rule R1
            assert_errno!(syscall!(SYS_unshare, libc::CLONE_NEWNS), EPERM); // Rule N1
        })
        .join();
    });
}

#[test]
fn the_magic_number_and_silent_are_masked_off() {
    in_mount_namespace(|| {
        mkdir("d");
        mount("x", "/tmp/d", "tmpfs", 0xC0ED_0000 | MS_NODEV, "").expect("mount"); // Rule F4
        assert!(at("/tmp/d").options.contains("nodev"));
        umount("d", 0).expect("umount");
        mount("x", "/tmp/d", "tmpfs", libc::MS_SILENT | MS_REC, "").expect("mount"); // Rule F6
        assert_eq!(at("/tmp/d").options, "rw,relatime");
    });
}

#[test]
fn flags_of_a_new_mount_show_in_mountinfo_and_statfs() {
    in_mount_namespace(|| {
        mkdir("d");
        let all = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | libc::MS_NOATIME | libc::MS_NODIRATIME;
        mount("x", "/tmp/d", "tmpfs", all, "").expect("mount");
        assert_eq!(at("/tmp/d").options, "ro,nosuid,nodev,noexec,noatime,nodiratime"); // Rule W4
        assert_eq!(mount_flags("d") & 0x1c0f, 1 | 2 | 4 | 8 | 0x400 | 0x800); // Rule W13
        umount("d", 0).expect("umount");
        mount("x", "/tmp/d", "tmpfs", libc::MS_STRICTATIME | libc::MS_NOATIME, "").expect("mount");
        assert_eq!(at("/tmp/d").options, "rw"); // Rule F6: strictatime wins and shows nothing
        assert_eq!(mount_flags("d") & 0x1c0f, 0);
        umount("d", 0).expect("umount");
        mount("x", "/tmp/d", "tmpfs", 0, "ro").expect("mount");
        let shown = at("/tmp/d");
        assert!(shown.options.starts_with("rw") && shown.super_options.starts_with("ro"), "{shown:?}"); // Rule F8
        assert_errno!(std::fs::write("d/x", ""), EROFS);
    });
}

#[test]
fn a_bind_shows_the_same_files_at_another_place() {
    in_mount_namespace(|| {
        mkdirs(&["source", "target"]);
        write("source/file", "one");
        bind("/tmp/source", "/tmp/target").expect("bind");
        assert_eq!(identity("source/file"), identity("target/file"));
        write("target/file", "two");
        assert_eq!(read("source/file"), "two");
        let shown = at("/tmp/target");
        assert_eq!((shown.root.as_str(), shown.source.as_str()), ("/source", "world")); // Rule B2, W7
        touch("target/new");
        umount("target", 0).expect("umount");
        assert_eq!((names("source"), names("target")), (vec!["file".to_string(), "new".to_string()], vec![]));
    });
}

#[test]
fn files_bind_onto_files_and_kinds_must_match() {
    in_mount_namespace(|| {
        mkdir("d");
        write("one", "1");
        write("two", "2");
        bind("/tmp/one", "/tmp/two").expect("bind");
        assert_eq!(read("two"), "1");
        assert_errno!(std::fs::remove_file("two"), EBUSY); // Rule L16
        assert_errno!(std::fs::rename("one", "two"), EBUSY);
        assert_eq!(at("/tmp/two").root, "/one");
        assert_errno!(bind("/tmp/one", "/tmp/d"), ENOTDIR); // Rule F9
        assert_errno!(bind("/tmp/d", "/tmp/one"), ENOTDIR);
        assert_errno!(bind("/tmp/missing", "/tmp/d"), ENOENT);
        assert_errno!(bind("", "/tmp/d"), EINVAL); // Rule B1
        assert_errno!(syscall!(SYS_mount, 0usize, c"/tmp/d", 0usize, MS_BIND, 0usize), EINVAL);
        umount("two", 0).expect("umount");
        assert_eq!(read("two"), "2");
    });
}

#[test]
fn a_plain_bind_leaves_submounts_behind_and_rbind_takes_them() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/tree");
        new_tmpfs("/tmp/tree/a");
        new_tmpfs("/tmp/tree/a/b");
        touch("tree/a/b/file");
        mkdirs(&["plain", "whole", "part"]);
        bind("/tmp/tree", "/tmp/plain").expect("bind");
        assert_eq!(names("plain/a"), [] as [&str; 0]); // Rule B3
        assert_eq!(points_below("/tmp/plain"), [] as [&str; 0]);
        rbind("/tmp/tree", "/tmp/whole").expect("rbind");
        assert_eq!(points_below("/tmp/whole"), ["/tmp/whole/a", "/tmp/whole/a/b"]);
        assert_eq!(names("whole/a/b"), ["file"]);
        rbind("/tmp/tree/a", "/tmp/part").expect("rbind");
        assert_eq!(points_below("/tmp/part"), ["/tmp/part/b"]);
        assert_errno!(umount("whole", 0), EBUSY); // Rule U7
        umount("whole", MNT_DETACH).expect("umount");
        assert!(points_below("/tmp/whole").is_empty() && !is_mounted("/tmp/whole"));
        assert_eq!(names("tree/a/b"), ["file"]);
    });
}

#[test]
fn a_bind_into_itself_is_finite() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdir("d/inner");
        rbind("/tmp/d", "/tmp/d/inner").expect("rbind"); // Rule B6
        assert_eq!(points_below("/tmp/d"), ["/tmp/d/inner"]);
        assert_eq!(names("d/inner"), ["inner"]);
        assert_eq!(names("d/inner/inner"), [] as [&str; 0]);
        bind("/tmp/d", "/tmp/d").expect("onto itself"); // Rule B7
        assert_eq!(all_at("/tmp/d").len(), 2);
        assert_eq!(names("d/inner"), [] as [&str; 0], "the bind shows the directory below the first mount's child");
    });
}

#[test]
fn read_only_comes_to_a_bind_with_a_second_call() {
    in_mount_namespace(|| {
        mkdirs(&["source", "target"]);
        touch("source/file");
        mount("/tmp/source", "/tmp/target", "", MS_BIND | MS_RDONLY, "").expect("bind");
        write("target/file", "not read-only yet"); // Rule B2
        mount("", "/tmp/target", "", MS_REMOUNT | MS_BIND | MS_RDONLY, "").expect("remount");
        assert_errno!(std::fs::write("target/file", ""), EROFS); // Rule L14
        assert_errno!(std::fs::write("target/new", ""), EROFS);
        assert_errno!(std::fs::create_dir("target/new"), EROFS);
        assert_errno!(std::fs::create_dir("target/file"), EEXIST);
        assert_errno!(std::fs::remove_file("target/missing"), EROFS);
        assert_errno!(syscall!(SYS_open, c"target/file", libc::O_RDONLY | libc::O_TRUNC), EROFS);
        assert_errno!(syscall!(SYS_chmod, c"target/file", 0o600), EROFS);
        write("source/file", "the other mount is not");
        assert_eq!(read("target/file"), "the other mount is not");
        let shown = at("/tmp/target");
        assert!(shown.options.starts_with("ro") && shown.super_options.starts_with("rw"));
    });
}

#[test]
fn remount_bind_replaces_all_flags_but_keeps_atime() {
    in_mount_namespace(|| {
        mkdir("d");
        mount("x", "/tmp/d", "tmpfs", MS_NOSUID | MS_NODEV | libc::MS_NOATIME, "").expect("mount");
        let remount = |flags: u64| mount("", "/tmp/d", "", MS_REMOUNT | MS_BIND | flags, "ignored,data=1").map(|_| at("/tmp/d").options);
        assert_eq!(remount(MS_NOEXEC), Ok("rw,noexec,noatime".to_string())); // Rule M2, M3
        assert_eq!(remount(MS_RDONLY | MS_NODEV), Ok("ro,nodev,noatime".to_string()));
        assert_eq!(remount(libc::MS_RELATIME), Ok("rw,relatime".to_string()));
        assert_eq!(remount(libc::MS_NODIRATIME), Ok("rw,nodiratime,relatime".to_string()));
        assert_eq!(mount_flags("d") & 4, 0);
        mkdir("plain");
        assert_errno!(mount("", "/tmp/plain", "", MS_REMOUNT | MS_BIND, ""), EINVAL); // Rule M1
        assert_errno!(mount("", "/tmp/plain", "", MS_REMOUNT, ""), EINVAL); // Rule M4
    });
}

#[test]
fn remount_changes_the_superblock_for_all_its_mounts() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdir("e");
        bind("/tmp/d", "/tmp/e").expect("bind");
        mount("", "/tmp/d", "", MS_REMOUNT | MS_RDONLY, "").expect("remount");
        assert_errno!(std::fs::write("e/x", ""), EROFS); // Rule M4
        assert!(at("/tmp/e").options.starts_with("rw") && at("/tmp/e").super_options.starts_with("ro"));
        mount("", "/tmp/e", "", MS_REMOUNT | MS_BIND, "").expect("the mount may be writable");
        assert_errno!(std::fs::write("e/x", ""), EROFS); // Rule M5
        mount("", "/tmp/e", "", MS_REMOUNT, "").expect("remount");
        write("e/x", "");
        assert_errno!(std::fs::write("d/x", ""), EROFS);
        assert!(at("/tmp/d").options.starts_with("ro"), "the other mount keeps its own flag");
    });
}

#[test]
fn open_writers_hold_read_only_off() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdir("e");
        bind("/tmp/d", "/tmp/e").expect("bind");
        let writer = File::create("d/file").expect("create");
        assert_errno!(mount("", "/tmp/d", "", MS_REMOUNT | MS_RDONLY, ""), EBUSY); // Rule M4, M6
        assert_errno!(mount("", "/tmp/d", "", MS_REMOUNT | MS_BIND | MS_RDONLY, ""), EBUSY); // Rule M1
        mount("", "/tmp/e", "", MS_REMOUNT | MS_BIND | MS_RDONLY, "").expect("no writer through this mount");
        drop(writer);
        let unlinked = File::open("d/file").expect("open");
        std::fs::remove_file("d/file").expect("unlink");
        assert_errno!(mount("", "/tmp/d", "", MS_REMOUNT | MS_RDONLY, ""), EBUSY);
        drop(unlinked);
        mount("", "/tmp/d", "", MS_REMOUNT | MS_RDONLY, "").expect("remount");
    });
}

#[test]
fn move_takes_the_whole_tree_to_another_place() {
    in_mount_namespace(|| {
        mkdirs(&["from", "to"]);
        tmpfs("moved", "/tmp/from");
        touch("from/file");
        new_tmpfs("/tmp/from/sub");
        let before = at("/tmp/from");
        move_mount("/tmp/from", "/tmp/to").expect("move");
        assert_eq!((names("from"), names("to")), (vec![], vec!["file".to_string(), "sub".to_string()]));
        assert_eq!(at("/tmp/to").id, before.id);
        assert!(is_mounted("/tmp/to/sub") && !is_mounted("/tmp/from/sub"));
    });
}

#[test]
fn move_has_the_errors_of_its_rules() {
    in_mount_namespace(|| {
        mkdirs(&["plain", "to"]);
        touch("file");
        new_tmpfs("/tmp/d");
        mkdir("d/inner");
        new_tmpfs("/tmp/d/sub");
        assert_errno!(move_mount("/tmp/plain", "/tmp/to"), EINVAL); // Rule V1: not the root of a mount
        assert_errno!(move_mount("/tmp/d", "/tmp/file"), EINVAL); // kinds differ: EINVAL here
        assert_errno!(move_mount("/tmp/d", "/tmp/d/inner"), ELOOP);
        assert_errno!(move_mount("/tmp/d", "/tmp/d/sub"), ELOOP);
        assert_errno!(move_mount("/tmp/d", "/tmp/d"), ELOOP);
        assert_errno!(move_mount("/tmp/missing", "/tmp/to"), ENOENT);
        assert_errno!(move_mount("", "/tmp/to"), EINVAL);
        make("/tmp/d", MS_SHARED).expect("shared");
        assert_errno!(move_mount("/tmp/d/sub", "/tmp/to"), EINVAL); // the parent is shared
        make("/tmp/d/sub", libc::MS_UNBINDABLE).expect("unbindable");
        make("/tmp/d", libc::MS_PRIVATE).expect("private");
        new_tmpfs("/tmp/shared");
        make("/tmp/shared", MS_SHARED).expect("shared");
        mkdir("shared/place");
        assert_errno!(move_mount("/tmp/d", "/tmp/shared/place"), EINVAL); // unbindable to shared
        assert_eq!(move_mount("/tmp/d", "/tmp/to"), Ok(0));
        assert!(at("/tmp/to/sub").unbindable); // Rule V2
    });
}

#[test]
fn umount_of_a_busy_mount_is_ebusy() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        write("d/file", "x");
        let file = File::open("d/file").expect("open");
        assert_errno!(umount("d", 0), EBUSY); // Rule U7
        assert_errno!(umount("d", MNT_FORCE), EBUSY); // Rule U3
        let path = syscall!(SYS_open, c"d", libc::O_PATH).expect("open");
        drop(file);
        assert_errno!(umount("d", 0), EBUSY);
        syscall!(SYS_close, path).expect("close");
        std::env::set_current_dir("d").expect("chdir");
        assert_errno!(umount("/tmp/d", 0), EBUSY);
        std::env::set_current_dir("/tmp").expect("chdir");
        let file = File::open("d/file").expect("open");
        let mapped = abi::Pages::map(1, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0).expect("mmap");
        drop(file);
        assert_errno!(umount("d", 0), EBUSY);
        drop(mapped);
        new_tmpfs("/tmp/d/sub");
        assert_errno!(umount("d", 0), EBUSY);
        umount("d/sub", 0).expect("umount");
        assert_eq!(umount("d", 0), Ok(0));
    });
}

#[test]
fn a_child_holds_a_mount_only_while_it_lives() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        spawn(|| std::env::set_current_dir("/tmp/d").expect("chdir")).join();
        assert_eq!(umount("d", 0), Ok(0));
    });
}

#[test]
fn umount_has_the_errors_of_its_rules() {
    in_mount_namespace(|| {
        mkdir("plain");
        new_tmpfs("/tmp/d");
        symlink("d", "link").expect("symlink");
        assert_errno!(umount("plain", 0), EINVAL); // Rule U1
        assert_errno!(umount("missing", 0), ENOENT);
        assert_errno!(umount("d", 0x10), EINVAL);
        assert_errno!(umount("link", libc::UMOUNT_NOFOLLOW), EINVAL);
        assert_errno!(syscall!(SYS_umount2, 0x10usize, 0), EFAULT);
        assert_eq!(umount("link", 0), Ok(0));
        assert!(!is_mounted("/tmp/d"));
    });
}

#[test]
fn a_lazy_umount_leaves_open_files_usable() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdir("d/inner");
        write("d/inner/file", "still here");
        let inner = File::open("d/inner").expect("open");
        let before = table().len();
        umount("d", MNT_DETACH).expect("umount");
        assert_eq!(table().len(), before - 1);
        assert_eq!(names("d"), [] as [&str; 0]);
        let magic = format!("/proc/self/fd/{}", inner.as_raw_fd());
        assert_eq!(read(&format!("{magic}/file")), "still here"); // Rule U16
        write(&format!("{magic}/new"), "x");
        assert_eq!(names(&format!("{magic}/..")), ["inner"]);
        assert_eq!(identity(&format!("{magic}/../..")), identity(&format!("{magic}/..")), "`..` stays at its root"); // Rule U15
        assert_errno!(bind(&magic, "/tmp/d"), EINVAL); // Rule U16
        assert_errno!(umount(&format!("{magic}/.."), 0), EINVAL);
    });
}

#[test]
fn a_lazy_umount_takes_submounts_apart() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdir("d/sub");
        touch("d/sub/below");
        tmpfs("sub", "/tmp/d/sub");
        touch("d/sub/above");
        let d = File::open("d").expect("open");
        umount("d", MNT_DETACH).expect("umount");
        assert_eq!(names(&format!("/proc/self/fd/{}/sub", d.as_raw_fd())), ["below"]); // Rule U15
    });
}

#[test]
fn expire_marks_first_and_unmounts_the_second_time() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        touch("d/file");
        assert_errno!(umount("d", MNT_EXPIRE), EAGAIN); // Rule U2
        assert!(exists("d/file"), "a walk through it clears the mark");
        assert_errno!(umount("d", MNT_EXPIRE), EAGAIN);
        let held = File::open("d").expect("open");
        assert_errno!(umount("d", MNT_EXPIRE), EBUSY);
        drop(held);
        assert_errno!(umount("d", MNT_EXPIRE), EAGAIN);
        assert_eq!(umount("d", MNT_EXPIRE), Ok(0));
        new_tmpfs("/tmp/e");
        assert_errno!(umount("e", MNT_EXPIRE | MNT_DETACH), EINVAL);
        assert_errno!(umount("e", MNT_EXPIRE | MNT_FORCE), EINVAL);
    });
}

#[test]
fn umount_of_dot_addresses_the_top_of_the_stack() {
    in_mount_namespace(|| {
        mkdir("d");
        touch("d/below");
        std::env::set_current_dir("d").expect("chdir");
        let before = identity(".");
        tmpfs("one", "/tmp/d");
        tmpfs("two", "/tmp/d");
        assert_eq!(umount(".", MNT_DETACH), Ok(0)); // Rule L3
        assert_eq!(top_at("/tmp/d").source, "one");
        assert_eq!(umount(".", MNT_DETACH), Ok(0));
        assert_errno!(umount(".", MNT_DETACH), EINVAL);
        assert_eq!(identity("."), before);
    });
}

#[test]
fn mount_points_resist_removal_until_unmounted() {
    in_mount_namespace(|| {
        mkdir("parent");
        new_tmpfs("/tmp/parent/d");
        assert_errno!(std::fs::remove_dir("parent/d"), EBUSY); // Rule L16
        assert_errno!(std::fs::rename("parent/d", "parent/e"), EBUSY);
        mkdir("other");
        assert_errno!(std::fs::rename("other", "parent/d"), EBUSY);
        assert_errno!(std::fs::create_dir("parent/d"), EEXIST);
        std::fs::rename("parent", "renamed").expect("rename");
        assert!(is_mounted("/tmp/renamed/d"));
        umount("renamed/d", 0).expect("umount");
        std::fs::remove_dir("renamed/d").expect("rmdir");
    });
}

#[test]
fn an_unlinked_directory_is_no_mount_point() {
    in_mount_namespace(|| {
        mkdirs(&["d", "e"]);
        std::env::set_current_dir("d").expect("chdir");
        std::fs::remove_dir("/tmp/d").expect("rmdir");
        assert_errno!(mount("x", ".", "tmpfs", 0, ""), ENOENT); // Rule L19
        assert_errno!(bind(".", "/tmp/e"), ENOENT); // Rule F14
        std::env::set_current_dir("/tmp").expect("chdir");
        mkdirs(&["source", "target"]);
        bind("/tmp/source", "/tmp/target").expect("bind");
        std::fs::remove_dir("/tmp/source").expect("rmdir");
        assert_eq!(at("/tmp/target").root, "/source//deleted"); // Rule B8, W7
        assert_errno!(bind("/tmp/target", "/tmp/e"), ENOENT);
    });
}

#[test]
fn links_and_renames_do_not_cross_mounts_of_one_filesystem() {
    in_mount_namespace(|| {
        mkdirs(&["a", "b"]);
        touch("a/file");
        bind("/tmp/a", "/tmp/b").expect("bind");
        assert_errno!(std::fs::rename("a/file", "b/other"), EXDEV); // Rule L15
        assert_errno!(std::fs::hard_link("a/file", "b/other"), EXDEV);
        std::fs::hard_link("b/file", "b/other").expect("within one mount");
        assert_eq!(names("a"), ["file", "other"]);
    });
}

#[test]
fn targets_through_descriptor_links_are_exact() {
    in_mount_namespace(|| {
        mkdirs(&["d", "s"]);
        touch("s/file");
        let target = syscall!(SYS_open, c"/tmp/d", libc::O_PATH).expect("open");
        mount("x", &format!("/proc/self/fd/{target}"), "tmpfs", 0, "").expect("mount");
        assert!(is_mounted("/tmp/d"));
        bind("/tmp/s", &format!("/proc/self/fd/{target}")).expect("bind");
        assert_eq!(names("d"), ["file"], "raised to the top of the stack"); // Rule L4
        assert_eq!(all_at("/tmp/d").len(), 2);
        assert_eq!(umount(&format!("/proc/self/fd/{target}"), 0), Ok(0));
        assert_eq!(umount(&format!("/proc/self/fd/{target}"), MNT_DETACH), Ok(0));
        assert!(!is_mounted("/tmp/d"));
        let event = syscall!(SYS_eventfd2, 0, 0).expect("eventfd");
        let error = mount("x", &format!("/proc/self/fd/{event}"), "tmpfs", 0, "").expect_err("no mount point");
        assert!([libc::EINVAL, libc::ENOENT].contains(&error.0), "{error:?}");
    });
}

#[test]
fn the_root_of_the_process_is_remounted_not_unmounted() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/root");
        touch("root/file");
        spawn(|| {
            syscall!(SYS_chroot, c"/tmp/root").expect("chroot");
            std::env::set_current_dir("/").expect("chdir");
            assert_eq!(umount("/", 0), Ok(0)); // Rule U4
            assert_errno!(std::fs::write("/file", ""), EROFS);
            assert!(exists("/file"));
        })
        .join();
        assert!(is_mounted("/tmp/root"));
    });
}

#[test]
fn unbindable_mounts_are_not_bound_and_pruned_from_rbinds() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/tree");
        new_tmpfs("/tmp/tree/a");
        new_tmpfs("/tmp/tree/a/below");
        new_tmpfs("/tmp/tree/b");
        make("/tmp/tree/a", libc::MS_UNBINDABLE).expect("unbindable");
        assert!(at("/tmp/tree/a").unbindable);
        mkdir("to");
        assert_errno!(bind("/tmp/tree/a", "/tmp/to"), EINVAL); // Rule B1
        rbind("/tmp/tree", "/tmp/to").expect("rbind");
        assert_eq!(points_below("/tmp/to"), ["/tmp/to/b"]); // Rule B3
    });
}

#[test]
fn devpts_and_sysfs_can_be_mounted() {
    in_mount_namespace(|| {
        mkdirs(&["pts", "sys"]);
        mount("devpts", "/tmp/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620").expect("devpts");
        assert_eq!(names("pts"), ["ptmx"]);
        mount("sysfs", "/tmp/sys", "sysfs", 0, "").expect("sysfs");
        assert!(names("sys").len() > 2);
        assert_errno!(mount("sysfs", "/tmp/sys", "sysfs", 0, ""), EBUSY); // Rule F9
        mount("x", "/tmp/pts", "tmpfs", 0, "size=1m").expect("on top");
        let options = mount("", "/tmp/pts", "", MS_REMOUNT | MS_NODEV, &top_at("/tmp/pts").super_options);
        assert_eq!(options, Ok(0), "a remount takes back the options that are shown");
    });
}
