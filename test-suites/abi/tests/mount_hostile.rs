//! Hostile arguments to the mount calls: Linux's error number, and a mount table as before.
//! Rule numbers are those of the specification of mount semantics.

use abi::memory::{PAGE, Pages};
use abi::mount_api::{CLONE, HERE, created_tmpfs, fsmount, open_tree};
use abi::mountinfo::{is_mounted, table};
use abi::world::{bind, make, mkdir, mkdirs, mount, new_tmpfs, tmpfs, touch, umount};
use abi::{assert_errno, in_mount_namespace, syscall};
use libc::{MNT_DETACH, MS_BIND, MS_MOVE, MS_REMOUNT, MS_SHARED};

/// Addresses that no program may read: unmapped, of the kernel, not canonical.
const BAD_ADDRESSES: [usize; 5] = [8, 0x7fff_ffff_f000, 0xffff_8000_0000_0000, 0x8000_0000_0000_0000, usize::MAX];

/// In a fresh namespace: `body` must leave the mount table as it finds it.
fn without_a_trace(body: impl FnOnce()) {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdirs(&["e", "d/in"]);
        touch("file");
        let before = table();
        body();
        assert_eq!(table(), before);
    });
}

#[test]
fn bad_pointers_are_efault_in_every_argument() {
    without_a_trace(|| {
        for bad in BAD_ADDRESSES {
            // Rule F1: type, source and data are copied before anything else, even for a bind.
            assert_errno!(syscall!(SYS_mount, bad, c"/tmp/e", c"tmpfs", 0, 0usize), EFAULT);
            assert_errno!(syscall!(SYS_mount, c"x", c"/tmp/e", bad, 0, 0usize), EFAULT);
            assert_errno!(syscall!(SYS_mount, c"x", c"missing", c"tmpfs", MS_BIND, bad), EFAULT);
            // Rule F3.
            assert_errno!(syscall!(SYS_mount, c"x", bad, c"tmpfs", 0, 0usize), EFAULT);
            assert_errno!(syscall!(SYS_umount2, bad, 0), EFAULT);
            assert_errno!(syscall!(SYS_pivot_root, bad, c"d"), EFAULT);
            assert_errno!(syscall!(SYS_pivot_root, c"d", bad), EFAULT);
            assert_errno!(syscall!(SYS_open_tree, HERE, bad, CLONE), EFAULT);
            assert_errno!(syscall!(SYS_move_mount, HERE, bad, HERE, c"e", 0), EFAULT);
            assert_errno!(syscall!(SYS_move_mount, HERE, c"d", HERE, bad, 0), EFAULT);
            assert_errno!(syscall!(SYS_fsopen, bad, 0), EFAULT);
            assert_errno!(syscall!(SYS_fspick, HERE, bad, 0), EFAULT);
            assert_errno!(syscall!(SYS_mount_setattr, HERE, c"d", 0, bad, 32), EFAULT);
        }
        assert_errno!(syscall!(SYS_mount, c"x", 0usize, c"tmpfs", 0, 0usize), EFAULT);
    });
}

#[test]
fn strings_without_an_end_are_refused() {
    without_a_trace(|| {
        let pages = Pages::private(2);
        for offset in 0..PAGE {
            pages.set(offset, b'x');
        }
        syscall!(SYS_munmap, pages.page(1), PAGE).expect("munmap");
        let unterminated = pages.page(1) - 100;
        assert_errno!(syscall!(SYS_mount, unterminated, c"/tmp/e", c"tmpfs", 0, 0usize), EFAULT);
        assert_errno!(syscall!(SYS_mount, c"x", c"/tmp/e", unterminated, 0, 0usize), EFAULT);
        assert_errno!(syscall!(SYS_mount, c"x", unterminated, c"tmpfs", 0, 0usize), EFAULT);
        assert_errno!(syscall!(SYS_umount2, unterminated, 0), EFAULT);
        assert_errno!(syscall!(SYS_fsopen, unterminated, 0), EFAULT);
        // Rule F2: data ends silently where memory does, and is then an unknown option.
        assert_errno!(syscall!(SYS_mount, c"x", c"/tmp/e", c"tmpfs", 0, unterminated), EINVAL);
    });
}

#[test]
fn long_strings_and_paths_have_their_errors() {
    without_a_trace(|| {
        let text = |len: usize| "x".repeat(len);
        // Rule F2: not ENAMETOOLONG.
        assert_errno!(mount(&text(4096), "/tmp/e", "tmpfs", 0, ""), EINVAL);
        assert_errno!(mount("x", "/tmp/e", &text(4096), 0, ""), EINVAL);
        assert_errno!(mount("x", "/tmp/e", &text(4095), 0, ""), ENODEV);
        assert_errno!(mount(&text(4095), "/tmp/e", "", MS_BIND, ""), ENAMETOOLONG);
        // Rule F3.
        let dots = |len: usize| format!("{}d", "./".repeat(len / 2));
        for long in [text(256), text(4096), dots(4096), dots(100_000)] {
            assert_errno!(mount("x", &long, "tmpfs", 0, ""), ENAMETOOLONG);
            assert_errno!(umount(&long, 0), ENAMETOOLONG);
            assert_errno!(open_tree(&long, CLONE), ENAMETOOLONG);
            assert_errno!(abi::mount_api::move_mount(&long, "e", 0), ENAMETOOLONG);
            assert_errno!(abi::world::pivot_root(&long, "e"), ENAMETOOLONG);
        }
        open_tree(&dots(4094), CLONE).expect("4095 characters are a path");
        assert_errno!(mount("x", "", "tmpfs", 0, ""), ENOENT);
        assert_errno!(mount("x", "file/x", "tmpfs", 0, ""), ENOTDIR);
    });
}

#[test]
fn forty_symlinks_are_followed_and_one_more_is_not() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        std::os::unix::fs::symlink("d", "link1").expect("symlink");
        for number in 2..=41 {
            std::os::unix::fs::symlink(format!("link{}", number - 1), format!("link{number}")).expect("symlink");
        }
        let before = table();
        // Rule F3.
        assert_errno!(mount("x", "link41", "tmpfs", 0, ""), ELOOP);
        assert_errno!(umount("link41", 0), ELOOP);
        assert_errno!(open_tree("link41", CLONE), ELOOP);
        assert_eq!(table(), before);
        umount("link40", 0).expect("forty");
        assert!(!is_mounted("/tmp/d"));
    });
}

#[test]
fn unknown_flag_bits_are_refused_or_mean_nothing() {
    without_a_trace(|| {
        for bit in 4..32 {
            assert_errno!(syscall!(SYS_umount2, c"/tmp/d", 1u32 << bit), EINVAL); // Rule U1
        }
        assert_errno!(mount("x", "/tmp/e", "tmpfs", 1 << 31, ""), EINVAL); // Rule F4
        for bit in 0..31 {
            // Rule C1: a type change takes no other flag but MS_REC and MS_SILENT.
            let flag = 1u64 << bit;
            let takes_it = flag & (libc::MS_REC | libc::MS_SILENT | MS_SHARED) != 0;
            let is_another_call = flag & (MS_REMOUNT | MS_BIND) != 0;
            if !takes_it && !is_another_call {
                assert_errno!(make("/tmp/d", MS_SHARED | flag), EINVAL);
            }
        }
        for bit in 0..31 {
            let flag = 1u64 << bit;
            // A new mount ignores what it does not know. Rule F6.
            if flag & (MS_REMOUNT | MS_BIND | MS_MOVE | MS_SHARED | libc::MS_PRIVATE | libc::MS_SLAVE | libc::MS_UNBINDABLE) == 0 {
                mount("x", "/tmp/e", "tmpfs", flag, "").unwrap_or_else(|error| panic!("bit {bit}: {error:?}"));
                umount("/tmp/e", 0).expect("umount");
            }
        }
    });
}

#[test]
fn closed_and_foreign_descriptors_are_refused() {
    without_a_trace(|| {
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let file = std::fs::File::open("file").expect("open");
        for closed in [-1, 900, i32::MAX, i32::MIN] {
            assert_errno!(syscall!(SYS_open_tree, closed, c"d", CLONE), EBADF);
            assert_errno!(syscall!(SYS_move_mount, closed, c"d", HERE, c"e", 0), EBADF);
            assert_errno!(syscall!(SYS_move_mount, HERE, c"d", closed, c"e", 0), EBADF);
            assert_errno!(syscall!(SYS_fspick, closed, c"d", 0), EBADF);
            assert_errno!(syscall!(SYS_fsmount, closed, 0, 0), EBADF);
            let attributes = [1u64, 0, 0, 0];
            assert_errno!(syscall!(SYS_mount_setattr, closed, c"d", 0, attributes.as_ptr(), 32), EBADF);
        }
        assert_errno!(syscall!(SYS_open_tree, &file, c"d", CLONE), ENOTDIR);
        assert_errno!(syscall!(SYS_fsmount, &reader, 0, 0), EINVAL);
        assert_errno!(syscall!(SYS_fsconfig, &reader, 6, 0usize, 0usize, 0), EINVAL);
        assert_errno!(syscall!(SYS_open_tree, &reader, c"", CLONE | 0x1000), EINVAL);
        assert_errno!(syscall!(SYS_move_mount, &reader, c"", HERE, c"e", 4), EINVAL);
        let context = created_tmpfs("x");
        assert_errno!(syscall!(SYS_move_mount, &context, c"", HERE, c"e", 4), EINVAL);
    });
}

#[test]
fn deleted_directories_are_no_places() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdirs(&["gone", "e"]);
        let tree = fsmount(&created_tmpfs("x"), 0).expect("fsmount");
        std::env::set_current_dir("/tmp/gone").expect("chdir");
        std::fs::remove_dir("/tmp/gone").expect("rmdir");
        let before = table();
        // Rules L19 and F14.
        assert_errno!(mount("x", ".", "tmpfs", 0, ""), ENOENT);
        assert_errno!(bind("/tmp/d", "."), ENOENT);
        assert_errno!(bind(".", "/tmp/e"), ENOENT);
        assert_errno!(abi::world::move_mount("/tmp/d", "."), ENOENT);
        assert_errno!(abi::mount_api::attach(&tree, "."), ENOENT);
        assert_errno!(abi::world::pivot_root("/tmp/d", "."), ENOENT);
        assert_errno!(umount(".", MNT_DETACH), EINVAL);
        assert_eq!(table(), before);
    });
}

#[test]
fn the_names_of_mount_roots_are_not_removed() {
    without_a_trace(|| {
        // Rule L18.
        assert_errno!(syscall!(SYS_rmdir, c"/tmp/d"), EBUSY);
        assert_errno!(syscall!(SYS_rmdir, c"/tmp/d/."), EINVAL);
        assert_errno!(syscall!(SYS_rmdir, c"/tmp/d/in/.."), ENOTEMPTY);
        assert_errno!(syscall!(SYS_rmdir, c"/"), EBUSY);
    });
}

#[test]
fn calls_that_trigger_no_automount_take_the_flag_and_find_the_same() {
    without_a_trace(|| {
        // Rule L9: nothing here is an automount point, and so the flags change nothing.
        open_tree("d", CLONE | 0x800).expect("open_tree");
        abi::mount_api::fspick("d", 4).expect("fspick");
        assert_errno!(abi::mount_api::move_mount("d", "d", 2 | 0x20), ELOOP);
    });
}

/// Sets the limit of mounts in a namespace for as long as `body` runs.
fn with_mount_limit(limit: usize, body: impl FnOnce()) {
    let file = "/proc/sys/fs/mount-max";
    let usual = abi::world::read(file);
    abi::world::write(file, limit.to_string());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    abi::world::write(file, usual.trim());
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn propagation_does_not_go_beyond_the_limit_of_mounts() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/a");
        make("a", MS_SHARED).expect("shared");
        mkdir("a/m");
        for number in 0..8 {
            let peer = format!("p{number}");
            mkdir(&peer);
            bind("a", &peer).expect("bind");
        }
        let before = table();
        with_mount_limit(before.len() + 8, || {
            // Rule O15: nine mounts are one too many, and none is made.
            assert_errno!(mount("x", "/tmp/a/m", "tmpfs", 0, ""), ENOSPC);
            assert_errno!(bind("/tmp", "/tmp/a/m"), ENOSPC);
            assert_eq!(table(), before);
        });
        with_mount_limit(before.len() + 20, || tmpfs("x", "/tmp/a/m"));
        assert_eq!(table().len(), before.len() + 9);
        assert!(is_mounted("/tmp/p7/m"));
    });
}
