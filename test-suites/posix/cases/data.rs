//! What is in files: reading, writing, truncating, mapping, copying.

use super::{kind, on};
use abi::world::{mkdir, read, write};
use posix::{GIVEN, fails, open, stat};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, XattrFlags};
use std::fs;
use std::io::{IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// Bytes in which no two pages are alike.
fn pattern(len_bytes: usize) -> Vec<u8> {
    (0..len_bytes).map(|index| (index ^ (index >> 8) ^ (index >> 15)) as u8).collect()
}

#[test]
fn what_is_written_is_read() {
    on(|| {
        let bytes = pattern(300_000);
        for size in [1, 100, 4096, 5000, 131_072, 300_000] {
            let mut file = open("file", OFlags::CREATE | OFlags::TRUNC | OFlags::RDWR).expect("open");
            for piece in bytes.chunks(size).take(2000) {
                file.write_all(piece).expect("write");
            }
            let len = bytes.len().min(size * 2000);
            file.seek(SeekFrom::Start(0)).expect("seek");
            let mut found = Vec::new();
            file.read_to_end(&mut found).expect("read");
            assert!(found == bytes[..len], "in pieces of {size}");
            drop(file);
            assert!(fs::read("file").expect("read") == bytes[..len], "in pieces of {size}, opened again");
        }
    });
}

#[test]
fn appending_goes_to_the_end_wherever_one_is() {
    on(|| {
        let mut one = open(GIVEN, OFlags::APPEND | OFlags::RDWR).expect("open");
        let mut two = open(GIVEN, OFlags::APPEND | OFlags::WRONLY).expect("open");
        one.write_all(b"one\n").expect("write");
        two.write_all(b"two\n").expect("write");
        one.seek(SeekFrom::Start(0)).expect("seek");
        one.write_all(b"three\n").expect("write");
        assert_eq!(one.stream_position().expect("position"), 20);
        drop((one, two));
        assert_eq!(read(GIVEN), "given\none\ntwo\nthree\n");
    });
}

#[test]
fn truncating_cuts_off_and_fills_with_zeros() {
    on(|| {
        let bytes = pattern(10_000);
        fs::write("file", &bytes).expect("write");
        let file = open("file", OFlags::RDWR).expect("open");
        rustix::fs::ftruncate(&file, 5000).expect("ftruncate");
        assert!(fs::read("file").expect("read") == bytes[..5000]);
        rustix::fs::ftruncate(&file, 9000).expect("ftruncate");
        let found = fs::read("file").expect("read");
        assert!(found[..5000] == bytes[..5000] && found[5000..].iter().all(|&byte| byte == 0) && found.len() == 9000);
        abi::syscall!(SYS_truncate, c"given", 3).expect("truncate");
        assert_eq!(read(GIVEN), "giv");
    });
}

#[test]
fn truncate_has_the_errors_of_its_manual() {
    on(|| {
        fails(abi::syscall!(SYS_truncate, c"given-dir", 0), libc::EISDIR);
        fails(abi::syscall!(SYS_truncate, c"missing", 0), libc::ENOENT);
        fails(abi::syscall!(SYS_truncate, c"given", -1), libc::EINVAL);
        let reader = open(GIVEN, OFlags::RDONLY).expect("open");
        fails(rustix::fs::ftruncate(&reader, 0), libc::EINVAL);
        assert_eq!(read(GIVEN), "given\n");
    });
}

#[test]
fn holes_are_zeros() {
    on(|| {
        let file = open("file", OFlags::CREATE | OFlags::RDWR).expect("open");
        file.write_all_at(b"end", 1_000_000).expect("write");
        assert_eq!(stat("file").len(), 1_000_003);
        let mut found = vec![1; 1_000_003];
        file.read_exact_at(&mut found, 0).expect("read");
        assert!(found[..1_000_000].iter().all(|&byte| byte == 0) && found[1_000_000..] == *b"end");
        assert_eq!(file.read_at(&mut found, 2_000_000).expect("read"), 0, "beyond the end");
    });
}

#[test]
fn positioned_calls_leave_the_position_alone() {
    on(|| {
        let mut file = open("file", OFlags::CREATE | OFlags::RDWR).expect("open");
        file.write_all(b"0123456789").expect("write");
        file.write_all_at(b"ab", 2).expect("pwrite");
        let mut two = [0; 2];
        file.read_exact_at(&mut two, 1).expect("pread");
        assert_eq!((&two, file.stream_position().expect("position")), (b"1a", 10));
        assert_eq!(file.seek(SeekFrom::End(-3)).expect("seek"), 7);
        assert_eq!(file.seek(SeekFrom::Current(5)).expect("seek"), 12);
        fails(file.seek(SeekFrom::Current(-13)), libc::EINVAL);
        assert_eq!(file.read(&mut two).expect("read"), 0);
    });
}

#[test]
fn vectors_are_gathered_and_spread() {
    on(|| {
        let mut file = open("file", OFlags::CREATE | OFlags::RDWR).expect("open");
        let written = file.write_vectored(&[IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")]).expect("writev");
        assert_eq!((written, read("file").as_str()), (7, "one two"));
        file.seek(SeekFrom::Start(0)).expect("seek");
        let (mut head, mut tail) = ([0; 2], [0; 10]);
        assert_eq!(file.read_vectored(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)]).expect("readv"), 7);
        assert_eq!((&head, &tail[..5]), (b"on", &b"e two"[..]));
    });
}

#[test]
fn a_descriptor_does_only_what_it_was_opened_for() {
    on(|| {
        let mut reader = open(GIVEN, OFlags::RDONLY).expect("open");
        fails(reader.write(b"x"), libc::EBADF);
        let mut writer = open(GIVEN, OFlags::WRONLY).expect("open");
        fails(writer.read(&mut [0; 1]), libc::EBADF);
        fails(open("given-dir", OFlags::WRONLY), libc::EISDIR);
        fails(open("given-dir", OFlags::CREATE | OFlags::RDONLY), libc::EISDIR);
        fails(open(GIVEN, OFlags::DIRECTORY), libc::ENOTDIR);
        let mut directory = open("given-dir", OFlags::RDONLY).expect("open");
        fails(directory.read(&mut [0; 1]), libc::EISDIR);
    });
}

#[test]
fn opening_with_trunc_empties() {
    on(|| {
        drop(open(GIVEN, OFlags::WRONLY | OFlags::TRUNC).expect("open"));
        assert_eq!((read(GIVEN).as_str(), stat(GIVEN).len()), ("", 0));
        write(GIVEN, "again");
        assert_eq!(read("given-link"), "again");
    });
}

#[test]
fn two_descriptors_see_each_others_writes() {
    on(|| {
        let mut one = open("file", OFlags::CREATE | OFlags::RDWR).expect("open");
        let mut two = open("file", OFlags::RDWR).expect("open");
        one.write_all(b"first").expect("write");
        let mut text = String::new();
        two.read_to_string(&mut text).expect("read");
        assert_eq!((text.as_str(), two.metadata().expect("fstat").len()), ("first", 5));
        two.write_all(b" second").expect("write");
        one.seek(SeekFrom::Start(0)).expect("seek");
        text.clear();
        one.read_to_string(&mut text).expect("read");
        assert_eq!(text, "first second");
    });
}

#[test]
fn a_shared_mapping_is_the_file() {
    on(|| {
        fs::write("file", pattern(8192)).expect("write");
        let file = open("file", OFlags::RDWR).expect("open");
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let address = abi::syscall!(SYS_mmap, 0, 8192, protection, libc::MAP_SHARED, file.as_raw_fd(), 0).expect("mmap");
        // SAFETY: the mapping is there until munmap below, and nobody else of this process knows it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, 8192) };
        assert!(*bytes == *pattern(8192));
        bytes[5000] = 0xee;
        abi::syscall!(SYS_msync, address, 8192, libc::MS_SYNC).expect("msync");
        let mut one = [0];
        file.read_exact_at(&mut one, 5000).expect("read");
        assert_eq!(one, [0xee]);
        file.write_all_at(&[0xdd], 100).expect("write");
        // SAFETY: as above; volatile, for the store came from elsewhere.
        assert_eq!(unsafe { std::ptr::read_volatile(&raw const bytes[100]) }, 0xdd);
        abi::syscall!(SYS_munmap, address, 8192).expect("munmap");
        drop(file);
        assert_eq!(fs::read("file").expect("read")[5000], 0xee);
    });
}

#[test]
fn what_is_synced_may_be_synced_again() {
    on(|| {
        let file = open(GIVEN, OFlags::RDWR).expect("open");
        file.write_all_at(b"G", 0).expect("write");
        rustix::fs::fdatasync(&file).expect("fdatasync");
        rustix::fs::fsync(&file).expect("fsync");
        rustix::fs::fsync(open("given-dir", OFlags::RDONLY).expect("open")).expect("fsync of a directory");
        assert_eq!(read(GIVEN), "Given\n");
    });
}

#[test]
fn space_can_be_reserved() {
    on(|| {
        let file = open("file", OFlags::CREATE | OFlags::RDWR).expect("open");
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 10_000).expect("fallocate");
        assert_eq!(stat("file").len(), 10_000);
        rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 20_000).expect("fallocate");
        assert_eq!(stat("file").len(), 10_000);
        assert!(fs::read("file").expect("read").iter().all(|&byte| byte == 0));
        fails(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 0), libc::EINVAL);
    });
}

#[test]
fn ranges_are_copied_by_the_kernel() {
    on(|| {
        let bytes = pattern(50_000);
        fs::write("from", &bytes).expect("write");
        let from = open("from", OFlags::RDONLY).expect("open");
        let to = open("to", OFlags::CREATE | OFlags::RDWR).expect("open");
        let (mut from_offset, mut to_offset) = (1000, 10);
        while from_offset < 41_000 {
            let left = 41_000 - from_offset as usize;
            let copied = rustix::fs::copy_file_range(&from, Some(&mut from_offset), &to, Some(&mut to_offset), left);
            assert_ne!(copied.expect("copy_file_range"), 0);
        }
        let found = fs::read("to").expect("read");
        assert!(found[10..] == bytes[1000..41_000] && found[..10] == [0; 10]);
    });
}

#[test]
fn a_whole_file_lock_keeps_others_out() {
    on(|| {
        let one = open(GIVEN, OFlags::RDWR).expect("open");
        let two = open(GIVEN, OFlags::RDWR).expect("open");
        rustix::fs::flock(&one, FlockOperation::LockExclusive).expect("flock");
        fails(rustix::fs::flock(&two, FlockOperation::NonBlockingLockShared), libc::EWOULDBLOCK);
        rustix::fs::flock(&one, FlockOperation::LockShared).expect("flock");
        rustix::fs::flock(&two, FlockOperation::NonBlockingLockShared).expect("two may read");
        drop(one);
        rustix::fs::flock(&two, FlockOperation::NonBlockingLockExclusive).expect("the other is closed");
    });
}

#[test]
fn extended_attributes_are_kept() {
    on(|| {
        for name in [GIVEN, "given-dir"] {
            let get = |attribute: &str| {
                let mut value = [0; 100];
                rustix::fs::getxattr(name, attribute, &mut value[..]).map(|len| value[..len].to_vec())
            };
            rustix::fs::setxattr(name, "user.one", b"1", XattrFlags::CREATE).expect("setxattr");
            rustix::fs::setxattr(name, "user.two", b"", XattrFlags::empty()).expect("setxattr");
            fails(rustix::fs::setxattr(name, "user.one", b"2", XattrFlags::CREATE), libc::EEXIST);
            fails(rustix::fs::setxattr(name, "user.three", b"3", XattrFlags::REPLACE), libc::ENODATA);
            rustix::fs::setxattr(name, "user.one", b"changed", XattrFlags::REPLACE).expect("setxattr");
            assert_eq!((get("user.one").expect("getxattr"), get("user.two").expect("getxattr")), (b"changed".to_vec(), Vec::new()));
            fails(get("user.three"), libc::ENODATA);
            fails(rustix::fs::getxattr(name, "user.one", &mut [0_u8; 3][..]), libc::ERANGE);
            let mut list = vec![0; 1000];
            let len = rustix::fs::listxattr(name, &mut list[..]).expect("listxattr");
            let listed: Vec<&[u8]> = list[..len].split(|&byte| byte == 0).collect();
            assert!(listed.contains(&&b"user.one"[..]) && listed.contains(&&b"user.two"[..]));
            rustix::fs::removexattr(name, "user.one").expect("removexattr");
            fails(rustix::fs::removexattr(name, "user.one"), libc::ENODATA);
        }
    });
}

#[test]
fn a_file_can_be_made_without_a_name() {
    on(|| {
        mkdir("d");
        let made = open("d", OFlags::TMPFILE | OFlags::RDWR);
        // Neither server knows the request.
        if kind().is_fuse() {
            return fails(made, libc::EOPNOTSUPP);
        }
        let mut file = made.expect("O_TMPFILE");
        file.write_all(b"text").expect("write");
        assert!(abi::world::names("d").is_empty());
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(rustix::fs::CWD, path.as_str(), rustix::fs::CWD, "d/named", follow).expect("linkat");
        assert_eq!(read("d/named"), "text");
    });
}

#[test]
fn a_program_runs_and_cannot_be_written_meanwhile() {
    on(|| {
        fs::copy("/bin/sleep", "sleep").expect("copy");
        posix::chmod("sleep", 0o755).expect("chmod");
        let mut child = std::process::Command::new("./sleep").arg("100").spawn().expect("it runs");
        fails(open("sleep", OFlags::WRONLY), libc::ETXTBSY);
        fails(abi::syscall!(SYS_truncate, c"sleep", 0), libc::ETXTBSY);
        child.kill().expect("kill");
        child.wait().expect("its end");
        drop(open("sleep", OFlags::WRONLY).expect("it ended"));
    });
}
