//! Listing directories with getdents64, and describing files with stat, statx, statfs.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, symlink};

use abi::world::{bind, c, mkdir, new_tmpfs, touch, write};
use abi::{Outcome, assert_errno, in_mount_namespace, syscall};

/// One entry as getdents64 gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    inode: u64,
    next: i64,
    kind: u8,
    name: String,
}

/// The entries that fit into `room_bytes`, none at the end.
fn list(directory: &File, room_bytes: usize) -> Outcome<Vec<Entry>> {
    let mut bytes = vec![0u8; room_bytes];
    let len = syscall!(SYS_getdents64, directory, bytes.as_mut_ptr(), room_bytes)?;
    let mut entries = Vec::new();
    let mut at = 0;
    while at < len {
        let word = |offset: usize| u64::from_ne_bytes(bytes[at + offset..][..8].try_into().expect("8 bytes"));
        let record_len = u16::from_ne_bytes(bytes[at + 16..][..2].try_into().expect("2 bytes")) as usize;
        let name: Vec<u8> = bytes[at + 19..at + record_len].iter().copied().take_while(|&byte| byte != 0).collect();
        assert!(record_len.is_multiple_of(8) && record_len > 19 + name.len());
        let name = String::from_utf8(name).expect("text");
        entries.push(Entry { inode: word(0), next: word(8) as i64, kind: bytes[at + 18], name });
        at += record_len;
    }
    Ok(entries)
}

fn list_all(directory: &File, room_bytes: usize) -> Vec<Entry> {
    let mut all = Vec::new();
    loop {
        let part = list(directory, room_bytes).expect("getdents64");
        if part.is_empty() {
            return all;
        }
        all.extend(part);
    }
}

fn names(entries: &[Entry]) -> Vec<&str> {
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort();
    names
}

/// `struct statx` by its 64-bit words.
fn statx(path: &str, flags: i32, mask: u32) -> Outcome<[u64; 32]> {
    let mut words = [0u64; 32];
    syscall!(SYS_statx, libc::AT_FDCWD, c(path).as_c_str(), flags, mask, words.as_mut_ptr())?;
    Ok(words)
}

#[test]
fn entries_tell_inode_type_and_name() {
    in_mount_namespace(|| {
        mkdir("d");
        touch("d/file");
        mkdir("d/inner");
        symlink("x", "d/link").expect("symlink");
        syscall!(SYS_mknod, c"d/fifo", libc::S_IFIFO | 0o600, 0).expect("mknod");
        let entries = list_all(&File::open("d").expect("open"), 4096);
        assert_eq!(names(&entries), [".", "..", "fifo", "file", "inner", "link"]);
        let kinds = [(".", libc::DT_DIR), ("file", libc::DT_REG), ("inner", libc::DT_DIR), ("link", libc::DT_LNK), ("fifo", libc::DT_FIFO)];
        for (name, kind) in kinds {
            let entry = entries.iter().find(|entry| entry.name == name).expect("an entry");
            let inode = std::fs::symlink_metadata(format!("d/{name}")).expect("lstat").ino();
            assert_eq!((entry.kind, entry.inode), (kind, inode), "{name}");
        }
    });
}

#[test]
fn a_listing_goes_on_where_it_stopped_and_seeks() {
    in_mount_namespace(|| {
        mkdir("d");
        (0..20).for_each(|number| touch(&format!("d/file{number:02}")));
        let directory = File::open("d").expect("open");
        let whole = list_all(&directory, 32_768);
        assert_eq!(whole.len(), 22);
        syscall!(SYS_lseek, &directory, 0, libc::SEEK_SET).expect("lseek");
        let parts = list_all(&directory, 80);
        assert_eq!(names(&parts), names(&whole));
        let place = whole[9].next;
        assert_eq!(syscall!(SYS_lseek, &directory, place, libc::SEEK_SET), Ok(place as usize));
        let rest = list_all(&directory, 4096);
        assert_eq!(
            rest.iter().map(|entry| &entry.name).collect::<Vec<_>>(),
            whole[10..].iter().map(|entry| &entry.name).collect::<Vec<_>>()
        );
        assert_errno!(list(&File::open("d").expect("open"), 10), EINVAL);
        assert_errno!(list(&File::open("d/file00").expect("open"), 100), ENOTDIR);
    });
}

#[test]
fn removing_while_listing_loses_and_repeats_nothing() {
    in_mount_namespace(|| {
        mkdir("d");
        (0..100).for_each(|number| touch(&format!("d/file{number:03}")));
        let directory = File::open("d").expect("open");
        let mut seen = Vec::new();
        loop {
            let part = list(&directory, 200).expect("getdents64");
            if part.is_empty() {
                break;
            }
            for entry in part.into_iter().filter(|entry| !entry.name.starts_with('.')) {
                std::fs::remove_file(format!("d/{}", entry.name)).expect("unlink");
                seen.push(entry.name);
            }
        }
        seen.sort();
        let expected: Vec<String> = (0..100).map(|number| format!("file{number:03}")).collect();
        assert_eq!(seen, expected);
        std::fs::remove_dir("d").expect("it is empty");
    });
}

#[test]
fn entries_that_stay_are_listed_once_while_others_come() {
    in_mount_namespace(|| {
        mkdir("d");
        (0..50).for_each(|number| touch(&format!("d/stays{number:02}")));
        let directory = File::open("d").expect("open");
        let mut seen = Vec::new();
        for round in 0.. {
            let part = list(&directory, 300).expect("getdents64");
            if part.is_empty() || round > 300 {
                break;
            }
            if round < 5 {
                touch(&format!("d/new{round}"));
            }
            seen.extend(part.into_iter().map(|entry| entry.name).filter(|name| name.starts_with("stays")));
        }
        seen.sort();
        let expected: Vec<String> = (0..50).map(|number| format!("stays{number:02}")).collect();
        assert_eq!(seen, expected);
    });
}

#[test]
fn stat_describes_a_file() {
    in_mount_namespace(|| {
        write("file", "12345");
        std::fs::hard_link("file", "other").expect("link");
        let data = std::fs::metadata("file").expect("stat");
        assert_eq!((data.len(), data.nlink(), data.mode(), data.blksize()), (5, 2, libc::S_IFREG | 0o644, 4096));
        assert_eq!((data.blocks(), data.uid(), data.gid(), data.rdev()), (8, 0, 0, 0));
        assert_eq!(data.dev(), std::fs::metadata(".").expect("stat").dev());
        let device = abi::mountinfo::top_at("/tmp").device;
        assert_eq!(device, format!("{}:{}", libc::major(data.dev()), libc::minor(data.dev()))); // Rule W13
    });
}

#[test]
fn statx_answers_its_mask_and_marks_mount_roots() {
    in_mount_namespace(|| {
        write("file", "12345");
        new_tmpfs("/tmp/d");
        const BASIC: u32 = 0x7ff;
        const BIRTH: u32 = 0x800;
        const MOUNT_ID: u32 = 0x1000;
        const MOUNT_ROOT: u64 = 0x2000;
        let file = statx("file", 0, BASIC | BIRTH | MOUNT_ID).expect("statx");
        assert_eq!(file[0] as u32 & (BASIC | MOUNT_ID), BASIC | MOUNT_ID);
        let data = std::fs::metadata("file").expect("stat");
        assert_eq!((file[4], file[5], file[6]), (data.ino(), 5, 8));
        // stx_mask and stx_blksize, stx_attributes, then link count and ids; stx_mnt_id is the 19th word.
        assert_eq!((file[0] >> 32, file[2] as u32), (4096, 1));
        assert_eq!(file[18], abi::mountinfo::top_at("/tmp").id.into()); // Rule L10
        let root = statx("d", 0, BASIC | MOUNT_ID).expect("statx");
        assert_eq!(root[18], abi::mountinfo::at("/tmp/d").id.into());
        assert_eq!((file[1] & MOUNT_ROOT, root[1] & MOUNT_ROOT), (0, MOUNT_ROOT));
        bind("/tmp/file", "/tmp/file").expect("bind");
        assert_eq!(statx("file", 0, BASIC).expect("statx")[1] & MOUNT_ROOT, MOUNT_ROOT);
        assert_errno!(statx("missing", 0, BASIC), ENOENT);
        let both = libc::AT_STATX_FORCE_SYNC | libc::AT_STATX_DONT_SYNC;
        assert_errno!(statx("file", both, BASIC), EINVAL);
    });
}

#[test]
fn stat_follows_links_and_lstat_and_nofollow_do_not() {
    in_mount_namespace(|| {
        write("file", "12345");
        symlink("file", "link").expect("symlink");
        assert_eq!(statx("link", 0, 0x7ff).expect("statx")[5], 5);
        assert_eq!(statx("link", libc::AT_SYMLINK_NOFOLLOW, 0x7ff).expect("statx")[5], 4);
        assert_eq!(std::fs::symlink_metadata("link").expect("lstat").mode(), libc::S_IFLNK | 0o777);
    });
}

#[test]
fn statfs_tells_each_filesystem_by_its_magic() {
    in_mount_namespace(|| {
        let magic = |path: &str| {
            let mut space = [0u64; 15];
            syscall!(SYS_statfs, c(path).as_c_str(), space.as_mut_ptr()).expect("statfs");
            space[0] as i64
        };
        assert_eq!(magic("."), libc::TMPFS_MAGIC);
        assert_eq!(magic("/proc/self"), libc::PROC_SUPER_MAGIC);
        assert_eq!(magic("/dev/pts"), 0x1cd1);
        assert_eq!(magic("/sys"), 0x6265_6572);
        assert_eq!(magic("/proc/self/ns/mnt"), 0x6e73_6673);
        let (reader, _writer) = std::io::pipe().expect("pipe");
        let mut space = [0u64; 15];
        syscall!(SYS_fstatfs, &reader, space.as_mut_ptr()).expect("fstatfs");
        assert_eq!(space[0], 0x5049_5045, "PIPEFS");
        assert_errno!(syscall!(SYS_statfs, c"missing", space.as_mut_ptr()), ENOENT);
    });
}
