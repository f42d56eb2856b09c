//! pivot_root(2): what it does to roots and working directories, and the order in which it refuses.
//! Rule numbers are those of the specification of mount semantics.

use std::sync::atomic::Ordering::SeqCst;

use abi::child::wait_until;
use abi::mountinfo::{is_mounted, table};
use abi::world::{bind, exists, identity, make, mkdir, mkdirs, names, new_tmpfs, pivot_root, read, tmpfs, touch, umount, write};
use abi::{assert_errno, in_mount_namespace, shared_words, spawn, syscall};
use libc::{MNT_DETACH, MS_SHARED};

/// A root `/tmp/root`, a tmpfs, with the tmpfs `new` in it, which holds the directory `old`; runs `body` chrooted there.
fn in_chroot(prepare: impl FnOnce(), body: impl FnOnce()) {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/root");
        new_tmpfs("/tmp/root/new");
        mkdirs(&["root/new/old", "root/new/proc", "root/proc"]);
        write("root/new/file", "in the new root");
        bind("/proc", "/tmp/root/new/proc").expect("bind");
        bind("/proc", "/tmp/root/proc").expect("bind");
        prepare();
        spawn(|| {
            syscall!(SYS_chroot, c"/tmp/root").expect("chroot");
            std::env::set_current_dir("/").expect("chdir");
            body();
        })
        .join();
    });
}

#[test]
fn the_new_root_takes_the_place_and_the_old_one_is_put_below() {
    in_chroot(
        || touch("root/in_the_old_root"),
        || {
            let old = identity("/");
            let new = identity("/new");
            assert_eq!(pivot_root("/new", "/new/old"), Ok(0)); // Rule R3
            std::env::set_current_dir("/").expect("chdir");
            for path in [".", "..", "/", "/..", "/old/.."] {
                assert_eq!(identity(path), new, "{path}");
            }
            assert_eq!(read("/file"), "in the new root");
            assert_eq!(identity("/old"), old);
            assert!(exists("/old/in_the_old_root"));
            let mut path = [0u8; 16];
            assert_eq!(syscall!(SYS_getcwd, path.as_mut_ptr(), 16), Ok(2));
        },
    );
}

#[test]
fn the_old_root_can_be_taken_away() {
    in_chroot(
        || {},
        || {
            pivot_root("/new", "/new/old").expect("pivot_root");
            std::env::set_current_dir("/").expect("chdir");
            assert!(is_mounted("/old") && is_mounted("/old/proc"));
            umount("/old", MNT_DETACH).expect("umount");
            assert_eq!(names("/old"), [] as [&str; 0]);
            assert!(table().iter().all(|mount| mount.mount_point == "/" || mount.mount_point == "/proc"));
            let root = table().into_iter().find(|mount| mount.mount_point == "/").expect("a root");
            assert_eq!(root.source, "new");
        },
    );
}

#[test]
fn pivot_root_on_dot_stacks_the_old_root_on_the_new_one() {
    in_chroot(
        || {},
        || {
            std::env::set_current_dir("/new").expect("chdir");
            pivot_root(".", ".").expect("pivot_root"); // Rule R5
            assert!(exists("/file"));
            umount(".", MNT_DETACH).expect("the old root"); // Rule L3
            assert_eq!(read("file"), "in the new root");
            assert_eq!(table().iter().filter(|mount| mount.mount_point == "/").count(), 1);
        },
    );
}

#[test]
fn every_process_at_the_old_root_is_moved_along() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/root");
        new_tmpfs("/tmp/root/new");
        mkdirs(&["root/new/old", "root/elsewhere"]);
        let new = identity("root/new");
        let elsewhere = identity("root/elsewhere");
        let words = shared_words();
        let at_root = spawn(|| {
            std::env::set_current_dir("/tmp/root").expect("chdir");
            words[0].store(1, SeqCst);
            wait_until("the root was changed", || words[2].load(SeqCst) == 1);
            assert_eq!(identity("."), new); // Rule R4
        });
        let below = spawn(|| {
            std::env::set_current_dir("/tmp/root/elsewhere").expect("chdir");
            words[1].store(1, SeqCst);
            wait_until("the root was changed", || words[2].load(SeqCst) == 1);
            assert_eq!(identity("."), elsewhere, "exactly the old root counts");
        });
        wait_until("they are there", || words[0].load(SeqCst) + words[1].load(SeqCst) == 2);
        spawn(|| {
            syscall!(SYS_chroot, c"/tmp/root").expect("chroot");
            std::env::set_current_dir("/").expect("chdir");
            pivot_root("/new", "/new/old").expect("pivot_root");
        })
        .join();
        words[2].store(1, SeqCst);
        at_root.join();
        below.join();
    });
}

#[test]
fn arguments_must_be_directories_that_exist() {
    in_chroot(
        || touch("root/file"),
        || {
            assert_errno!(pivot_root("/file", "/new/old"), ENOTDIR);
            assert_errno!(pivot_root("/new", "/file"), ENOTDIR);
            assert_errno!(pivot_root("/missing", "/new/old"), ENOENT);
            assert_errno!(pivot_root("/new", "/missing"), ENOENT);
            assert_errno!(syscall!(SYS_pivot_root, 0x10usize, c"/new/old"), EFAULT);
            assert_errno!(syscall!(SYS_pivot_root, c"/new", 0x10usize), EFAULT);
        },
    );
}

#[test]
fn the_root_mount_itself_is_ebusy() {
    in_chroot(
        || mkdir("root/plain"),
        || {
            assert_errno!(pivot_root("/plain", "/plain"), EBUSY); // Rule R1.5
            assert_errno!(pivot_root("/new", "/plain"), EBUSY);
            assert_errno!(pivot_root("/", "/"), EBUSY);
        },
    );
}

#[test]
fn a_directory_inside_another_mount_is_einval() {
    in_chroot(
        || mkdir("root/new/inner"),
        || assert_errno!(pivot_root("/new/inner", "/new/inner"), EINVAL), // Rule R1.7
    );
}

#[test]
fn put_old_must_lie_below_new_root() {
    in_chroot(
        || new_tmpfs("/tmp/root/other"),
        || {
            assert_errno!(pivot_root("/new", "/other"), EINVAL); // Rule R1.8
            assert_eq!(pivot_root("/new", "/new/old/../old"), Ok(0));
        },
    );
}

#[test]
fn shared_mounts_on_the_way_are_einval() {
    in_chroot(
        || make("/tmp/root", MS_SHARED).map(drop).expect("shared"),
        || {
            assert_errno!(pivot_root("/new", "/new/old"), EINVAL); // Rule R1.1: the parent of new_root
        },
    );
    in_chroot(
        || make("/tmp/root/new", MS_SHARED).map(drop).expect("shared"),
        || {
            assert_errno!(pivot_root("/new", "/new/old"), EINVAL); // Rule R1.1: the mount put_old is on
        },
    );
    in_chroot(
        || make("/tmp", MS_SHARED).map(drop).expect("shared"),
        || {
            assert_errno!(pivot_root("/new", "/new/old"), EINVAL); // Rule R1.1: the parent of the root
        },
    );
    in_chroot(
        || {
            tmpfs("old", "/tmp/root/new/old");
            make("/tmp/root/new/old", MS_SHARED).expect("shared");
        },
        || {
            assert_errno!(pivot_root("/new", "/new/old"), EINVAL);
        },
    );
}

#[test]
fn a_shared_new_root_is_fine_when_put_old_is_on_a_private_mount_in_it() {
    in_chroot(
        || {
            tmpfs("old", "/tmp/root/new/old");
            make("/tmp/root/new", MS_SHARED).expect("shared");
        },
        || assert_eq!(pivot_root("/new", "/new/old"), Ok(0)), // Rule R2
    );
}

#[test]
fn a_root_that_is_no_mount_is_einval() {
    in_mount_namespace(|| {
        mkdir("root");
        new_tmpfs("/tmp/root/new");
        mkdir("root/new/old");
        spawn(|| {
            syscall!(SYS_chroot, c"/tmp/root").expect("chroot");
            std::env::set_current_dir("/").expect("chdir");
            assert_errno!(pivot_root("/new", "/new/old"), EINVAL); // Rule R1.6
        })
        .join();
    });
}

#[test]
fn a_new_root_outside_the_root_is_einval() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/outer");
        new_tmpfs("/tmp/outer/root");
        new_tmpfs("/tmp/outer/root/new");
        mkdir("outer/root/new/old");
        std::env::set_current_dir("/tmp/outer").expect("chdir");
        spawn(|| {
            syscall!(SYS_chroot, c"/tmp/outer/root").expect("chroot");
            assert_errno!(pivot_root(".", "/new/old"), EINVAL); // Rule R1.9
        })
        .join();
    });
}

#[test]
fn the_old_root_lands_on_top_of_what_is_mounted_at_put_old() {
    in_chroot(
        || tmpfs("covered", "/tmp/root/new/old"),
        || {
            assert_eq!(pivot_root("/new", "/new/old"), Ok(0)); // Rule R6
            std::env::set_current_dir("/").expect("chdir");
            assert!(exists("/old/new"), "the old root is on top");
            umount("/old", MNT_DETACH).expect("umount");
            assert_eq!(names("/old"), [] as [&str; 0]);
        },
    );
}

#[test]
fn a_slave_root_can_be_pivoted() {
    in_chroot(
        || {
            mkdir("master");
            make("/tmp/root", MS_SHARED).expect("shared");
            bind("/tmp/root", "/tmp/master").expect("bind");
            make("/tmp/root", libc::MS_SLAVE).expect("slave");
        },
        || {
            assert_eq!(pivot_root("/new", "/new/old"), Ok(0)); // Rule R2
            std::env::set_current_dir("/").expect("chdir");
            assert!(table().iter().any(|mount| mount.mount_point == "/old" && mount.master.is_some()));
        },
    );
}

#[test]
fn the_usual_way_into_a_container_works() {
    in_mount_namespace(|| {
        mkdirs(&["image", "image/proc", "image/dev"]);
        touch("image/dev/null");
        write("image/release", "container");
        spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
            make("/", libc::MS_PRIVATE | libc::MS_REC).expect("rprivate");
            abi::world::rbind("/tmp/image", "/tmp/image").expect("rbind");
            abi::world::mount("proc", "/tmp/image/proc", "proc", 0, "").expect("proc");
            bind("/dev/null", "/tmp/image/dev/null").expect("bind");
            std::env::set_current_dir("/tmp/image").expect("chdir");
            // The boot rootfs has no parent and cannot be pivoted; below a chroot into a mount it can be everywhere.
            abi::world::move_mount(".", "/").expect("move");
            syscall!(SYS_chroot, c".").expect("chroot");
            std::env::set_current_dir("/").expect("chdir");
            assert_eq!(read("/release"), "container");
            let points: Vec<String> = table().into_iter().map(|mount| mount.mount_point).collect();
            assert_eq!(points, ["/", "/proc", "/dev/null"]);
            write("/dev/null", "gone");
        })
        .join();
    });
}
