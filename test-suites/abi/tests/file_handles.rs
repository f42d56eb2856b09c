//! File handles: name_to_handle_at and open_by_handle_at, which find a file again without its name.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;

use abi::file_handle::{AT_HANDLE_FID, Handle, handle_with, open_handle, room};
use abi::world::{identity, mkdir, new_tmpfs, touch, write};
use abi::{Errno, assert_errno, in_child, in_mount_namespace, spawn, syscall};

const AT: i32 = libc::AT_FDCWD;
/// Linux 6.12: the mount's number that is never used again.
const AT_HANDLE_MNT_ID_UNIQUE: i32 = 1;

#[track_caller]
fn handle_of(path: &str) -> Handle {
    let (outcome, handle, _) = handle_with(AT, path, 0, 128);
    outcome.unwrap_or_else(|error| panic!("a handle of {path}: {error:?}"));
    handle
}

fn path_of(file: &File) -> String {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("readlink");
    link.into_os_string().into_string().expect("text")
}

#[test]
fn a_handle_leads_back_to_the_file_and_its_place() {
    in_mount_namespace(|| {
        mkdir("a");
        mkdir("a/b");
        write("a/b/file", "content");
        let handle = handle_of("a/b/file");
        assert_eq!(handle.kind, 1, "tmpfs gives the type of generation and number");
        assert_eq!(handle.bytes, 12);
        let mut file = open_handle(AT, &handle, libc::O_RDONLY).expect("open_by_handle_at");
        let mut content = String::new();
        file.read_to_string(&mut content).expect("read");
        assert_eq!(content, "content");
        assert_eq!(path_of(&file), "/tmp/a/b/file");
        let directory = open_handle(AT, &handle_of("a"), libc::O_RDONLY | libc::O_DIRECTORY).expect("a directory");
        assert_eq!(path_of(&directory), "/tmp/a");
        assert!(syscall!(SYS_openat, &directory, c"b/file", libc::O_RDONLY).is_ok());
    });
}

#[test]
fn a_handle_follows_renames_and_survives_other_names() {
    in_mount_namespace(|| {
        mkdir("new");
        write("old", "x");
        let handle = handle_of("old");
        std::fs::rename("old", "new/name").expect("rename");
        let file = open_handle(AT, &handle, libc::O_RDONLY).expect("after a rename");
        assert_eq!(path_of(&file), "/tmp/new/name");
        drop(file);
        std::fs::hard_link("new/name", "second").expect("link");
        std::fs::remove_file("new/name").expect("unlink");
        let file = open_handle(AT, &handle, libc::O_RDONLY).expect("by its other name");
        assert_eq!(path_of(&file), "/tmp/second");
        assert_eq!(handle_of("second"), handle, "one file, one handle");
    });
}

#[test]
fn a_handle_of_a_removed_file_is_stale() {
    in_mount_namespace(|| {
        touch("file");
        let handle = handle_of("file");
        let kept = File::open("file").expect("open");
        std::fs::remove_file("file").expect("unlink");
        open_handle(AT, &handle, libc::O_RDONLY).expect("while somebody has it open");
        drop(kept);
        assert_errno!(open_handle(AT, &handle, libc::O_RDONLY), ESTALE);
        touch("file");
        assert_ne!(handle_of("file"), handle, "a new file of the same name has another handle");
        assert_errno!(open_handle(AT, &handle, libc::O_RDONLY), ESTALE);
    });
}

#[test]
fn too_little_room_is_eoverflow_and_tells_the_size() {
    in_mount_namespace(|| {
        touch("file");
        for room in [0, 4, 8, 11] {
            let (outcome, handle, mount) = handle_with(AT, "file", 0, room);
            assert_errno!(outcome, EOVERFLOW);
            assert_eq!((handle.bytes, handle.data), (12, [0; 128]), "with room for {room}");
            assert_ne!(mount, 0, "the mount is told all the same");
        }
        assert!(handle_with(AT, "file", 0, 12).0.is_ok());
        assert!(handle_with(AT, "file", 0, 128).0.is_ok());
        assert_errno!(handle_with(AT, "file", 0, 129).0, EINVAL);
    });
}

#[test]
fn the_mount_is_told_by_its_number() {
    in_mount_namespace(|| {
        new_tmpfs("inner");
        touch("inner/file");
        let (outcome, _, mount) = handle_with(AT, "inner/file", 0, 128);
        outcome.expect("a handle");
        let line = abi::mountinfo::at("/tmp/inner");
        assert_eq!(mount as u32, line.id);
        let (outcome, _, unique) = handle_with(AT, "inner/file", AT_HANDLE_MNT_ID_UNIQUE, 128);
        outcome.expect("a handle");
        // statx, STATX_MNT_ID_UNIQUE: the same number.
        let mut data = [0u64; 32];
        syscall!(SYS_statx, AT, c"inner/file", 0, 0x4000, data.as_mut_ptr()).expect("statx");
        assert_eq!(unique, data[18]);
    });
}

#[test]
fn links_are_followed_only_when_asked() {
    in_mount_namespace(|| {
        touch("file");
        std::os::unix::fs::symlink("file", "link").expect("symlink");
        let (outcome, followed, _) = handle_with(AT, "link", libc::AT_SYMLINK_FOLLOW, 128);
        outcome.expect("a handle");
        assert_eq!(followed, handle_of("file"));
        let link = handle_of("link");
        assert_ne!(link, followed);
        assert_errno!(open_handle(AT, &link, libc::O_RDONLY), ELOOP);
        let path = open_handle(AT, &link, libc::O_PATH).expect("O_PATH of a link");
        let mut text = [0u8; 16];
        assert_eq!(syscall!(SYS_readlinkat, &path, c"", text.as_mut_ptr(), 16), Ok(4));
        assert_eq!(&text[..4], b"file");
    });
}

#[test]
fn an_empty_path_takes_the_descriptor() {
    in_mount_namespace(|| {
        touch("file");
        let file = File::open("file").expect("open");
        let (outcome, handle, _) = handle_with(file.as_raw_fd(), "", libc::AT_EMPTY_PATH, 128);
        outcome.expect("a handle");
        assert_eq!(handle, handle_of("file"));
        assert_errno!(handle_with(file.as_raw_fd(), "", 0, 128).0, ENOENT);
        assert_errno!(handle_with(AT, "file", 0x4000_0000, 128).0, EINVAL);
        assert_errno!(handle_with(999, "file", 0, 128).0, EBADF);
        assert_errno!(handle_with(AT, "missing", 0, 128).0, ENOENT);
    });
}

#[test]
fn the_descriptor_says_which_mount_the_file_is_seen_through() {
    in_mount_namespace(|| {
        mkdir("source");
        touch("source/file");
        mkdir("bound");
        abi::world::bind("source", "bound").expect("bind");
        let handle = handle_of("source/file");
        let bound = File::open("bound").expect("open");
        let file = open_handle(bound.as_raw_fd(), &handle, libc::O_RDONLY).expect("open_by_handle_at");
        assert_eq!(path_of(&file), "/tmp/bound/file");
        abi::world::mount("", "bound", "", libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY, "").expect("read-only");
        assert_errno!(open_handle(bound.as_raw_fd(), &handle, libc::O_RDWR), EROFS);
        assert!(open_handle(AT, &handle, libc::O_RDWR).is_ok());
        let path_only = abi::world::open("bound", libc::O_PATH).expect("O_PATH");
        assert_errno!(open_handle(path_only.as_raw_fd(), &handle, libc::O_RDONLY), EBADF);
        assert_errno!(open_handle(999, &handle, libc::O_RDONLY), EBADF);
    });
}

#[test]
fn a_handle_of_another_instance_is_stale() {
    in_mount_namespace(|| {
        new_tmpfs("one");
        new_tmpfs("two");
        touch("one/file");
        touch("two/file");
        let two = File::open("two").expect("open");
        assert_errno!(open_handle(two.as_raw_fd(), &handle_of("one/file"), libc::O_RDONLY), ESTALE);
        let mut made_up = handle_of("one/file");
        made_up.bytes = 4;
        assert_errno!(open_handle(AT, &made_up, libc::O_RDONLY), ESTALE);
        made_up.bytes = 0;
        assert_errno!(open_handle(AT, &made_up, libc::O_RDONLY), EINVAL);
        made_up.bytes = 129;
        assert_errno!(open_handle(AT, &made_up, libc::O_RDONLY), EINVAL);
    });
}

#[test]
fn only_who_may_search_everything_opens_by_handle() {
    in_mount_namespace(|| {
        touch("file");
        let handle = handle_of("file");
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_eq!(handle_of("file"), handle, "anybody may have a handle");
            assert_errno!(open_handle(AT, &handle, libc::O_RDONLY), EPERM);
        })
        .join();
    });
}

#[test]
fn proc_has_no_handles_but_identifying_ones() {
    in_mount_namespace(|| {
        assert_errno!(handle_with(AT, "/proc/version", 0, 128).0, EOPNOTSUPP);
        let (outcome, handle, _) = handle_with(AT, "/proc/version", AT_HANDLE_FID, 128);
        outcome.expect("a handle that only identifies");
        assert_eq!((handle.kind, handle.bytes), (0x81, 12));
        let number = u64::from_ne_bytes(handle.data[..8].try_into().expect("eight bytes"));
        assert_eq!(number, identity("/proc/version").1);
        let root = File::open("/proc").expect("open");
        assert_errno!(open_handle(root.as_raw_fd(), &handle, libc::O_RDONLY), ESTALE);
        assert_errno!(handle_with(AT, "/proc/version", AT_HANDLE_FID, 8).0, EOVERFLOW);
    });
}

#[test]
fn bad_pointers_are_efault() {
    in_mount_namespace(|| {
        touch("file");
        let mut handle = room(128);
        let mut mount = 0u64;
        assert_eq!(syscall!(SYS_name_to_handle_at, AT, c"file", 16usize, &raw mut mount, 0), Err(Errno(libc::EFAULT)));
        assert_eq!(syscall!(SYS_name_to_handle_at, AT, c"file", &raw mut handle, 16usize, 0), Err(Errno(libc::EFAULT)));
        assert_eq!(syscall!(SYS_name_to_handle_at, AT, 16usize, &raw mut handle, &raw mut mount, 0), Err(Errno(libc::EFAULT)));
        assert_eq!(syscall!(SYS_open_by_handle_at, AT, 16usize, 0), Err(Errno(libc::EFAULT)));
    });
}

#[test]
fn a_memfd_can_be_opened_again_by_its_handle() {
    in_child(|| {
        let fd = syscall!(SYS_memfd_create, c"name", 0).expect("memfd_create") as i32;
        let (outcome, handle, _) = handle_with(fd, "", libc::AT_EMPTY_PATH, 128);
        outcome.expect("a handle");
        let again = open_handle(fd, &handle, libc::O_RDWR).expect("open_by_handle_at");
        syscall!(SYS_write, fd, c"abc", 3).expect("write");
        assert_eq!(again.metadata().expect("fstat").len(), 3);
    });
}
