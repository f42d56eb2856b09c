//! What a mount's flags forbid: writing, executing, updating access times; and how bind remounts change them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::time::Duration;

use abi::guard::{bind_on, tmpfs_on, tmpfs_with};
use abi::world::{access, bind, mkdir, mknod, mount, mount_with_nulls, open, touch, write};
use abi::{Outcome, Pages, assert_errno, syscall};
use libc::{
    MAP_PRIVATE, MS_BIND, MS_NOATIME, MS_NODEV, MS_NOEXEC, MS_RDONLY, MS_REMOUNT, MS_STRICTATIME, O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR,
    O_TRUNC, O_WRONLY, PROT_EXEC, PROT_READ, PROT_WRITE, W_OK,
};
use mount::case;
use std::os::fd::AsRawFd;

/// A new file of 7 bytes that anybody may execute, open for reading and writing.
fn executable(path: &str) -> File {
    let mut file = open(path, O_RDWR | O_CREAT).expect("open");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("chmod");
    file.write_all(b"content").expect("write");
    file
}

fn map(file: &File, protection: i32) -> Outcome<Pages> {
    Pages::map(1, protection, MAP_PRIVATE, file.as_raw_fd(), 0)
}

/// Makes a FIFO.
fn mkfifo(path: &str) {
    mknod(path, libc::S_IFIFO | 0o666, 0).expect("mkfifo");
}

/// `ST_*` flags of `statfs`.
fn mount_flags(path: &str) -> u64 {
    rustix::fs::statfs(path).expect("statfs").f_flags as u64
}

#[test]
fn m_map_with_exec_prot_fails_on_no_exec_file() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", MS_NOEXEC, "");
        assert_errno!(map(&executable("/tmp/d/file"), PROT_EXEC), EPERM);
    });
}

#[test]
fn m_map_with_exec_prot_succeeds_on_executable_volume_file() {
    case(|| {
        let _d = tmpfs_on("/tmp/d");
        let mapped = map(&executable("/tmp/d/file"), PROT_EXEC).expect("mmap");
        assert_ne!(mapped.address(), 0);
    });
}

#[test]
fn m_map_without_no_exec_prot_succeeds_on_no_exec_file() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", MS_NOEXEC, "");
        let file = executable("/tmp/d/file");
        for protection in [PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE] {
            map(&file, protection).expect("mmap");
        }
    });
}

#[test]
fn m_protect_with_no_exec_prot_fails_on_no_exec_file() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", MS_NOEXEC, "");
        let mapped = map(&executable("/tmp/d/file"), PROT_READ | PROT_WRITE).expect("mmap");
        assert_errno!(syscall!(SYS_mprotect, mapped.address(), mapped.len_bytes(), PROT_EXEC), EACCES);
    });
}

#[test]
fn mount_no_exec() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", MS_NOEXEC, "mode=0777");
        drop(executable("/tmp/d/file"));
        let (arguments, environment) = (0usize, 0usize);
        abi::spawn(|| assert_errno!(syscall!(SYS_execve, c"/tmp/d/file", arguments, environment), EACCES)).join();
    });
}

#[test]
fn mount_readonly() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", MS_RDONLY, "mode=0777");
        assert_eq!(std::fs::metadata("d").expect("stat").mode(), libc::S_IFDIR | 0o777);
        assert_errno!(access("/tmp/d", W_OK), EROFS);
        assert_errno!(open("/tmp/d/file", O_RDWR | O_CREAT), EROFS);
    });
}

#[test]
fn bind_mount_readonly() {
    case(|| {
        mkdir("d1");
        let _d2 = bind_on("/tmp/d1", "/tmp/d2");
        let file = open("/tmp/d2/file", O_RDWR | O_CREAT).expect("open");
        assert_eq!(file.write_at(b"some text..", 0).expect("pwrite64"), 11);
        drop(file);
        mount_with_nulls(Some("/tmp/d1"), "/tmp/d2", None, MS_BIND | MS_RDONLY | MS_REMOUNT, None).expect("remount");
        assert_errno!(access("/tmp/d2", W_OK), EROFS);
        for flags in [O_RDWR, O_RDWR | O_TRUNC, O_RDONLY | O_TRUNC] {
            assert_errno!(open("/tmp/d2/file", flags), EROFS);
        }
        assert_eq!(std::fs::metadata("d2/file").expect("stat").len(), 11);
        open("/tmp/d1/file", O_RDWR).expect("the other mount is still writable");
    });
}

#[test]
fn fifo_writable_on_readonly_mount() {
    case(|| {
        let _d = tmpfs_on("/tmp/d");
        mkfifo("/tmp/d/fifo");
        touch("d/regular");
        mount_with_nulls(Some(""), "/tmp/d", None, MS_REMOUNT | MS_RDONLY, None).expect("remount");
        assert_errno!(access("/tmp/d", W_OK), EROFS);
        let mut fifo = open("/tmp/d/fifo", O_RDWR).expect("a FIFO is not on the disk");
        assert_eq!(fifo.write(b"x").expect("write"), 1);
        assert_errno!(open("/tmp/d/regular", O_WRONLY), EROFS);
        open("/tmp/d/regular", O_RDONLY).expect("open");
    });
}

#[test]
fn device_file_writable_on_readonly_mount() {
    case(|| {
        let _d = tmpfs_on("/tmp/d");
        mknod("/tmp/d/null", libc::S_IFCHR | 0o666, libc::makedev(1, 3)).expect("mknod");
        mount_with_nulls(Some(""), "/tmp/d", None, MS_REMOUNT | MS_RDONLY, None).expect("remount");
        let mut device = open("/tmp/d/null", O_WRONLY).expect("a device is not on the disk");
        assert_eq!(device.write(b"x").expect("write"), 1);
    });
}

#[test]
fn read_only_bind_mount_allows_write_open_of_char_device() {
    case(|| {
        mkdir("d");
        touch("d/null");
        let _null = bind_on("/dev/null", "/tmp/d/null");
        mount_with_nulls(None, "/tmp/d/null", None, MS_BIND | MS_REMOUNT | MS_RDONLY, None).expect("remount");
        for flags in [O_WRONLY, O_RDWR] {
            let mut device = open("/tmp/d/null", flags).expect("open");
            assert_eq!(device.write(b"123456").expect("write"), 6);
        }
    });
}

#[test]
fn read_only_bind_mount_allows_write_open_of_fifo() {
    case(|| {
        mkdir("d1");
        mkfifo("/tmp/d1/fifo");
        let _d2 = bind_on("/tmp/d1", "/tmp/d2");
        mount_with_nulls(None, "/tmp/d2", None, MS_BIND | MS_REMOUNT | MS_RDONLY, None).expect("remount");
        let _reader = open("/tmp/d2/fifo", O_RDONLY | O_NONBLOCK).expect("open to read");
        let mut writer = open("/tmp/d2/fifo", O_WRONLY | O_NONBLOCK).expect("open to write");
        assert_eq!(writer.write(b"123456").expect("write"), 6);
    });
}

/// Seconds and nanoseconds of the last access.
fn access_time(file: &File) -> (i64, i64) {
    let data = file.metadata().expect("fstat");
    (data.atime(), data.atime_nsec())
}

/// A file of 40 bytes, open for reading and writing.
fn forty_bytes(path: &str) -> File {
    write(path, [b'a'; 40]);
    open(path, O_RDWR).expect("open")
}

#[test]
fn mount_no_atime() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", MS_NOATIME, "mode=0777");
        let mut file = forty_bytes("/tmp/d/file");
        let before = access_time(&file);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(file.read(&mut [0; 100]).expect("read"), 40);
        assert_eq!(access_time(&file), before);
    });
}

#[test]
fn mount_with_strict_atime() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", MS_NOATIME | MS_STRICTATIME, "mode=0777");
        let mut file = forty_bytes("/tmp/d/file");
        let before = access_time(&file);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(file.read(&mut [0; 100]).expect("read"), 40);
        assert!(access_time(&file) > before, "MS_STRICTATIME beats MS_NOATIME");
    });
}

#[test]
fn change_mount_flags() {
    case(|| {
        mkdir("d1");
        mkdir("d2");
        mount("/tmp/d1", "/tmp/d2", "tmpfs", MS_BIND, "").expect("the type is ignored");
        let _d2 = abi::guard::Mounted::at("/tmp/d2", 0);
        mount("", "/tmp/d2", "", MS_REMOUNT | MS_BIND | MS_NODEV, "").expect("remount");
        assert_eq!(mount_flags("/tmp/d2") & libc::ST_NODEV, libc::ST_NODEV);
        mount("", "/tmp/d2", "", MS_REMOUNT | MS_BIND, "").expect("remount");
        assert_eq!(mount_flags("/tmp/d2") & libc::ST_NODEV, 0);
    });
}

/// A mount with all four flags in a namespace whose user namespace did not set them.
const FOUR_FLAGS: u64 = MS_RDONLY | MS_NOEXEC | MS_NODEV | libc::MS_NOSUID;

/// Changes the flags of a mount, as `mount -o remount,bind` does.
fn set_flags(path: &str, flags: u64) -> Outcome {
    mount("", path, "", MS_REMOUNT | MS_BIND | flags, "")
}

/// Asserts that none of the four flags may be cleared, and that keeping them all is no offence.
fn assert_flags_are_locked(path: &str) {
    for cleared in [MS_RDONLY, MS_NOEXEC, MS_NODEV, libc::MS_NOSUID, FOUR_FLAGS] {
        assert_errno!(set_flags(path, FOUR_FLAGS & !cleared), EPERM);
    }
    set_flags(path, FOUR_FLAGS).expect("nothing is cleared");
}

#[test]
fn change_mount_flags_of_locked_mount() {
    case(|| {
        let _d = tmpfs_on("/tmp/d");
        set_flags("/tmp/d", FOUR_FLAGS).expect("remount");
        let child = || {
            assert_flags_are_locked("/tmp/d");
            assert_errno!(open("/tmp/d/file", O_CREAT | O_WRONLY), EROFS);
        };
        abi::user_namespace::in_user_namespace(|| {}, child);
        set_flags("/tmp/d", 0).expect("not locked here");
        assert_eq!(mount_flags("/tmp/d") & (libc::ST_RDONLY | libc::ST_NOSUID | libc::ST_NODEV | libc::ST_NOEXEC), 0);
    });
}

#[test]
fn locked_mount_flags_are_inherited_by_bind() {
    case(|| {
        let _d = tmpfs_on("/tmp/d");
        mkdir("t2");
        set_flags("/tmp/d", FOUR_FLAGS).expect("remount");
        let child = || {
            bind("/tmp/d", "/tmp/t2").expect("bind");
            assert_flags_are_locked("/tmp/t2");
            abi::world::umount("/tmp/t2", libc::MNT_DETACH).expect("its own mount");
        };
        abi::user_namespace::in_user_namespace(|| {}, child);
    });
}
