//! Unmounting: what keeps a mount busy, how far a link or "." is followed, and what stays reachable after a detach.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::symlink;

use abi::guard::{tmpfs_on, tmpfs_with};
use abi::world::{identity, mkdir, mkdirs, mount, touch, umount, write};
use abi::{assert_errno, syscall};
use libc::{MNT_DETACH, O_DIRECTORY, O_RDONLY, UMOUNT_NOFOLLOW};
use mount::case;
use rustix::fs::{Mode, OFlags, openat};

/// Opens `name` below an open directory.
fn open_below(directory: &File, name: &str, flags: i32) -> File {
    openat(directory, name, OFlags::from_bits_retain(flags as u32), Mode::empty()).expect("openat").into()
}

#[test]
fn mount_over_busy() {
    case(|| {
        mkdir("d");
        let _busy = File::options().read(true).write(true).create_new(true).open("d/file").expect("a file");
        tmpfs_on("/tmp/d").umount();
    });
}

#[test]
fn open_file_busy() {
    case(|| {
        let mounted = tmpfs_with("/tmp/d", 0, "mode=0700");
        let open = File::options().read(true).write(true).create_new(true).open("d/foo").expect("a file");
        assert_errno!(umount("/tmp/d", 0), EBUSY);
        drop(open);
        mounted.umount();
    });
}

#[test]
fn umount_no_follow() {
    case(|| {
        mkdirs(&["d", "d/mp"]);
        symlink("/tmp/d/mp", "d/s").expect("symlink");
        symlink("/tmp/d", "s2").expect("symlink");
        tmpfs_on("/tmp/d/mp").forget();
        assert_errno!(umount("/tmp/d/s", UMOUNT_NOFOLLOW), EINVAL);
        std::fs::remove_file("d/s").expect("unlink");
        umount("/tmp/s2/mp", UMOUNT_NOFOLLOW).expect("only the last component is not followed");
    });
}

#[test]
fn umount_detach() {
    case(|| {
        mkdir("d");
        let before = identity("d");
        tmpfs_with("/tmp/d", 0, "mode=0700").forget();
        assert_ne!(identity("d"), before);
        mkdir("d/sub");
        write("d/file", "content");
        let sub = File::open("d/sub").expect("open");
        let mut file = File::open("d/file").expect("open");
        umount("/tmp/d", MNT_DETACH).expect("detach");
        assert_eq!(identity("d"), before);

        let mut content = String::new();
        file.read_to_string(&mut content).expect("a file of the detached mount");
        assert_eq!(content, "content");
        let root = open_below(&sub, "..", O_RDONLY | O_DIRECTORY);
        content.clear();
        open_below(&root, "file", O_RDONLY).read_to_string(&mut content).expect("read");
        assert_eq!(content, "content");
        open_below(&root, "..", O_RDONLY | O_DIRECTORY);
    });
}

#[test]
fn umount_mounts_stacked_on_dot() {
    case(|| {
        mkdir("d");
        std::env::set_current_dir("/tmp/d").expect("chdir");
        let before = identity(".");
        for _ in 0..2 {
            mount("", "/tmp/d", "tmpfs", 0, "").expect("mount");
        }
        for _ in 0..2 {
            umount(".", MNT_DETACH).expect("the top of the stack over the working directory");
        }
        assert_eq!(identity("."), before);
        assert_errno!(umount(".", MNT_DETACH), EINVAL);
    });
}

#[test]
fn active_submount_busy() {
    case(|| {
        let _d = tmpfs_on("/tmp/d");
        let _sub = tmpfs_on("/tmp/d/sub");
        assert_errno!(umount("/tmp/d", 0), EBUSY);
    });
}

#[test]
fn mount_tmpfs() {
    case(|| {
        use std::os::unix::fs::MetadataExt;
        mkdir("d");
        let before = identity("d");
        let _below = File::open("d").expect("open");
        let mounted = tmpfs_with("/tmp/d", 0, "mode=0700");
        let root = File::open("d").expect("open");
        assert_eq!(root.metadata().expect("fstat").mode(), libc::S_IFDIR | 0o700);
        assert_eq!(std::fs::metadata("d").expect("stat").mode(), libc::S_IFDIR | 0o700);
        assert_ne!(identity("d"), before);
        drop(root);
        touch("d/file");
        mounted.umount();
        assert_eq!(identity("d"), before);
    });
}

#[test]
fn dead_mounts_are_dec_refd() {
    case(|| {
        mkdir("d");
        std::env::set_current_dir("/tmp/d").expect("chdir");
        for _ in 0..10 {
            // Whether each step works depends on the one before it; all that counts here is that none of them hangs or crashes.
            abi::spawn(|| {
                let _ = std::fs::create_dir("./file");
                let _ = abi::world::bind("./file", ".");
                let _ = std::fs::remove_dir("./file");
                let _ = std::fs::create_dir("./file");
                let _ = abi::world::bind("./file", ".");
            })
            .join();
        }
        // Only the first bind found a place: what it covers "." with is removed then, and nothing can be mounted on that.
        let roots: Vec<String> = abi::mountinfo::all_at("/tmp/d").into_iter().map(|mount| mount.root).collect();
        assert_eq!(roots, ["/d/file//deleted"]);
        umount("/tmp/d", 0).expect("nothing refers to it any more");
        assert_errno!(umount("/tmp/d", 0), EINVAL);
    });
}

#[test]
fn umount_shared_bind() {
    case(|| {
        std::env::set_current_dir("/tmp").expect("chdir");
        syscall!(SYS_mkdir, c"./file", 0).expect("mkdir");
        for _ in 0..2 {
            abi::world::bind("./file", "./file").expect("bind");
            abi::world::make("./file", libc::MS_SHARED).expect("shared");
        }
        for _ in 0..2 {
            umount("./file", MNT_DETACH).expect("detach");
        }
    });
}
