//! The content of files: reading, writing, the page cache and what empties it, mappings, locks, and the rarer calls.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;

use abi::world::{self, c, read};
use abi::{Errno, assert_errno, spawn, syscall};
use fuse::server::{MOUNT, in_world};
use fuse::wire::{Body, feature, notify, opened};
use fuse::{Answer, Fs, Setup, op};

const PAGE: usize = 4096;

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.expect_err("an error").raw_os_error().expect("an errno")
}

/// Long lifetimes, these OPEN flags and features, one file `a`.
fn cached(open_flags: u32, features: u32, content: &[u8]) -> Fs {
    let fs = Setup::default()
        .tree(|tree| {
            (tree.entry_valid, tree.attr_valid, tree.open_flags) = (1000, 1000, open_flags);
            tree.features |= features;
            tree.file("a", content);
        })
        .serve();
    fs.ready();
    fs
}

fn edit(path: &str) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("open")
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + index / 251) as u8).collect()
}

struct Mapping(*mut u8, usize);

impl Mapping {
    fn of(file: &File, len: usize, protection: i32, flags: i32) -> Result<Self, Errno> {
        syscall!(SYS_mmap, 0, len, protection, flags, file.as_raw_fd(), 0).map(|address| Self(address as *mut u8, len))
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is there until the value is dropped, and its pages are in the file.
        unsafe { std::slice::from_raw_parts_mut(self.0, self.1) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let _ = syscall!(SYS_munmap, self.0, self.1);
    }
}

#[test]
fn open_read_release() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        assert_eq!(read("/tmp/m/a"), "hello");
        fs.wait_for(op::RELEASE, 1);
        assert_eq!((fs.count(op::OPEN), fs.count(op::READ), fs.count(op::FLUSH)), (1, 1, 1));
        let handle = fs.last(op::READ).u64_at(0);
        assert_eq!((fs.last(op::RELEASE).u64_at(0), fs.last(op::FLUSH).u64_at(0)), (handle, handle));
        assert_eq!((fs.last(op::RELEASE).uid, fs.last(op::RELEASE).pid), (0, 0));
        fs.unmount();
    });
}

#[test]
fn reads_are_whole_pages() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        read("/tmp/m/a");
        let request = fs.last(op::READ);
        assert_eq!((request.u64_at(8), request.u32_at(16) as usize), (0, PAGE));
        fs.unmount();
    });
}

#[test]
fn a_long_file_is_read_ahead() {
    in_world(|| {
        let content = pattern(300_000);
        let fs = cached(0, 0, &content);
        assert_eq!(fs::read("/tmp/m/a").expect("read"), content);
        assert!(fs.count(op::READ) < 20, "{} reads", fs.count(op::READ));
        assert!(fs.requests(op::READ).iter().all(|request| request.u32_at(16) <= 131_072));
        fs.unmount();
    });
}

#[test]
fn max_read_bounds_reads() {
    in_world(|| {
        let content = pattern(100_000);
        let fs = Setup::default().options(",max_read=8192").tree(|tree| _ = tree.file("a", &content)).serve();
        assert_eq!(fs::read("/tmp/m/a").expect("read"), content);
        assert!(fs.requests(op::READ).iter().all(|request| request.u32_at(16) <= 8192));
        fs.unmount();
    });
}

#[test]
fn opening_drops_cached_pages_unless_told_to_keep_them() {
    in_world(|| {
        for (flags, reads) in [(0, 3), (opened::KEEP_CACHE, 1)] {
            let fs = cached(flags, 0, b"hello");
            for _ in 0..3 {
                read("/tmp/m/a");
            }
            assert_eq!(fs.count(op::READ), reads);
            fs.unmount();
        }
    });
}

#[test]
fn direct_io_reads_every_time_and_only_what_is_asked() {
    in_world(|| {
        let fs = cached(opened::DIRECT_IO, 0, b"hello world");
        let file = File::open("/tmp/m/a").expect("open");
        let mut bytes = [0; 5];
        for _ in 0..3 {
            file.read_exact_at(&mut bytes, 6).expect("pread");
        }
        assert_eq!((&bytes, fs.count(op::READ)), (b"world", 3));
        assert_eq!((fs.last(op::READ).u64_at(8), fs.last(op::READ).u32_at(16)), (6, 5));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn writes_go_through_at_once() {
    in_world(|| {
        let fs = cached(0, 0, b"");
        let content = pattern(10_000);
        fs::write("/tmp/m/a", &content).expect("write");
        assert_eq!(fs.tree(|tree| tree.content(2)), content);
        assert_eq!(fs::read("/tmp/m/a").expect("read"), content);
        fs.unmount();
    });
}

#[test]
fn without_big_writes_a_write_is_a_page() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                tree.features = feature::ASYNC_READ;
                tree.file("a", b"");
            })
            .serve();
        fs::write("/tmp/m/a", pattern(5 * PAGE)).expect("write");
        assert_eq!(fs.count(op::WRITE), 5);
        assert!(fs.requests(op::WRITE).iter().all(|request| request.u32_at(16) as usize <= PAGE));
        fs.unmount();
    });
}

#[test]
fn max_write_bounds_writes() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                tree.max_write = 8192;
                tree.file("a", b"");
            })
            .serve();
        fs::write("/tmp/m/a", pattern(40_000)).expect("write");
        assert!(fs.count(op::WRITE) >= 5);
        assert!(fs.requests(op::WRITE).iter().all(|request| request.u32_at(16) <= 8192));
        assert_eq!(fs.tree(|tree| tree.content(2)), pattern(40_000));
        fs.unmount();
    });
}

#[test]
fn appending_writes_at_the_end() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"one"));
        OpenOptions::new().append(true).open("/tmp/m/a").expect("open").write_all(b"two").expect("write");
        assert_eq!((fs.last(op::WRITE).u64_at(8), read("/tmp/m/a")), (3, "onetwo".into()));
        fs.unmount();
    });
}

#[test]
fn errors_of_read_write_and_flush_reach_the_caller() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        fs.fails(op::READ, libc::EBADMSG);
        assert_eq!(errno(fs::read("/tmp/m/a")), libc::EBADMSG);
        fs.fails(op::WRITE, libc::ENOSPC);
        assert_eq!(errno(edit("/tmp/m/a").write(b"x")), libc::ENOSPC);
        fs.fails(op::FLUSH, libc::EDQUOT);
        let file = edit("/tmp/m/a");
        assert_errno!(syscall!(SYS_close, std::os::fd::IntoRawFd::into_raw_fd(file)), EDQUOT);
        fs.unmount();
    });
}

#[test]
fn flush_is_asked_once_if_it_is_missing_and_open_too() {
    in_world(|| {
        let fs = cached(0, feature::NO_OPEN_SUPPORT, b"hello");
        fs.fails(op::FLUSH, libc::ENOSYS);
        fs.fails(op::OPEN, libc::ENOSYS);
        for _ in 0..3 {
            assert_eq!(read("/tmp/m/a"), "hello");
        }
        assert_eq!((fs.count(op::FLUSH), fs.count(op::OPEN), fs.count(op::RELEASE)), (1, 1, 0));
        fs.unmount();
    });
}

#[test]
fn o_trunc_is_a_setattr_or_a_flag_of_open() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        File::create("/tmp/m/a").expect("open");
        assert_eq!((fs.count(op::SETATTR), fs.last(op::OPEN).u32_at(0) & libc::O_TRUNC as u32), (1, 0));
        fs.unmount();
        let fs = cached(0, feature::ATOMIC_O_TRUNC, b"hello");
        File::create("/tmp/m/a").expect("open");
        assert_eq!((fs.count(op::SETATTR), fs.last(op::OPEN).u32_at(0) & libc::O_TRUNC as u32), (0, libc::O_TRUNC as u32));
        assert_eq!(read("/tmp/m/a"), "");
        fs.unmount();
    });
}

#[test]
fn invalidating_an_inode_drops_its_pages_and_attributes() {
    in_world(|| {
        let fs = cached(opened::KEEP_CACHE, 0, b"hello");
        assert_eq!(read("/tmp/m/a"), "hello");
        fs.tree(|tree| tree.set_content(2, b"HELLO"));
        assert_eq!(read("/tmp/m/a"), "hello");
        fs.notify(notify::INVAL_INODE, &Body::default().u64(2).u64(0).u64(0).0).expect("notify");
        assert_eq!(read("/tmp/m/a"), "HELLO");
        fs.unmount();
    });
}

#[test]
fn invalidating_an_entry_makes_the_kernel_look_again() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        read("/tmp/m/a");
        fs.clear();
        fs.notify(notify::INVAL_ENTRY, &Body::default().u64(1).u32(1).u32(0).bytes(b"a\0").0).expect("notify");
        read("/tmp/m/a");
        assert_eq!(fs.count(op::LOOKUP), 1);
        fs.unmount();
    });
}

#[test]
fn a_deleted_entry_is_gone() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        read("/tmp/m/a");
        fs.tree(|tree| tree.files.get_mut(&1).expect("root").entries.clear());
        fs.notify(notify::DELETE, &Body::default().u64(1).u64(2).u32(1).u32(0).bytes(b"a\0").0).expect("notify");
        assert!(!world::exists("/tmp/m/a"));
        fs.unmount();
    });
}

#[test]
fn stored_bytes_are_read_without_asking() {
    in_world(|| {
        let fs = cached(opened::KEEP_CACHE, 0, b"hello");
        fs::metadata("/tmp/m/a").expect("stat");
        fs.notify(notify::STORE, &Body::default().u64(2).u64(0).u32(5).u32(0).bytes(b"HELLO").0).expect("notify");
        assert_eq!((read("/tmp/m/a").as_str(), fs.count(op::READ)), ("HELLO", 0));
        fs.unmount();
    });
}

#[test]
fn retrieve_hands_cached_pages_out() {
    in_world(|| {
        let fs = cached(opened::KEEP_CACHE, 0, b"hello");
        read("/tmp/m/a");
        fs.notify(notify::RETRIEVE, &Body::default().u64(99).u64(2).u64(0).u32(5).u32(0).0).expect("notify");
        fs.wait_for(op::NOTIFY_REPLY, 1);
        let reply = fs.last(op::NOTIFY_REPLY);
        assert_eq!((reply.unique, reply.node, reply.u32_at(16), &reply.body[40..]), (99, 2, 5, &b"hello"[..]));
        fs.unmount();
    });
}

#[test]
fn notifications_about_nothing_are_refused() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        assert_eq!(errno(fs.notify(0, &[])), libc::EINVAL);
        assert_eq!(errno(fs.notify(77, &[])), libc::EINVAL);
        assert_eq!(errno(fs.notify(notify::INVAL_INODE, &Body::default().u64(77).u64(0).u64(0).0)), libc::ENOENT);
        assert_eq!(errno(fs.notify(notify::INVAL_INODE, &[0; 23])), libc::EINVAL);
        let entry = Body::default().u64(1).u32(1).u32(0).bytes(b"x\0").0;
        assert_eq!(errno(fs.notify(notify::INVAL_ENTRY, &entry)), libc::ENOENT);
        assert_eq!(errno(fs.notify(notify::STORE, &Body::default().u64(77).u64(0).u32(0).u32(0).0)), libc::ENOENT);
        fs.unmount();
    });
}

#[test]
fn auto_inval_drops_pages_when_the_file_changed() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                (tree.entry_valid, tree.open_flags) = (1000, opened::KEEP_CACHE);
                tree.features |= feature::AUTO_INVAL_DATA;
                tree.file("a", b"hello");
            })
            .serve();
        for _ in 0..3 {
            assert_eq!(read("/tmp/m/a"), "hello");
        }
        assert_eq!(fs.count(op::READ), 1);
        fs.tree(|tree| {
            tree.set_content(2, b"HELLO");
            tree.attr(2).times[1] = 99;
        });
        assert_eq!(read("/tmp/m/a"), "HELLO");
        fs.unmount();
    });
}

#[test]
fn a_private_mapping_shows_the_file_and_changes_nothing() {
    in_world(|| {
        let content = pattern(3 * PAGE);
        let fs = cached(0, 0, &content);
        let file = File::open("/tmp/m/a").expect("open");
        let mut mapping = Mapping::of(&file, 3 * PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE).expect("mmap");
        assert_eq!(mapping.bytes(), content);
        mapping.bytes()[PAGE] ^= 0xff;
        drop(mapping);
        drop(file);
        assert_eq!(fs.tree(|tree| tree.content(2)), content);
        fs.unmount();
    });
}

#[test]
fn a_shared_mapping_is_written_back_at_msync() {
    in_world(|| {
        let fs = cached(0, 0, &pattern(2 * PAGE));
        let file = edit("/tmp/m/a");
        let mut mapping = Mapping::of(&file, 2 * PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED).expect("mmap");
        mapping.bytes()[..5].copy_from_slice(b"HELLO");
        syscall!(SYS_msync, mapping.0, 2 * PAGE, libc::MS_SYNC).expect("msync");
        assert_eq!(&fs.tree(|tree| tree.content(2))[..5], b"HELLO");
        assert_eq!(fs.last(op::WRITE).u32_at(20) & 1, 1);
        mapping.bytes()[..5].copy_from_slice(b"again");
        syscall!(SYS_msync, mapping.0, 2 * PAGE, libc::MS_SYNC).expect("msync");
        assert_eq!(&fs.tree(|tree| tree.content(2))[..5], b"again");
        drop(mapping);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn a_shared_mapping_is_written_back_when_it_goes() {
    in_world(|| {
        let fs = cached(0, 0, &pattern(PAGE));
        let file = edit("/tmp/m/a");
        let mut mapping = Mapping::of(&file, PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED).expect("mmap");
        mapping.bytes()[..5].copy_from_slice(b"HELLO");
        drop(mapping);
        drop(file);
        fs.wait_for(op::RELEASE, 1);
        assert_eq!(&fs.tree(|tree| tree.content(2))[..5], b"HELLO");
        fs.unmount();
    });
}

#[test]
fn a_mapping_and_read_and_write_see_the_same_pages() {
    in_world(|| {
        let fs = cached(0, 0, &pattern(PAGE));
        let file = edit("/tmp/m/a");
        let mut mapping = Mapping::of(&file, PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED).expect("mmap");
        mapping.bytes()[..3].copy_from_slice(b"one");
        let mut bytes = [0; 3];
        file.read_exact_at(&mut bytes, 0).expect("pread");
        assert_eq!(&bytes, b"one");
        file.write_all_at(b"two", 0).expect("pwrite");
        assert_eq!(&mapping.bytes()[..3], b"two");
        drop(mapping);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn direct_io_files_cannot_be_mapped_shared() {
    in_world(|| {
        let fs = cached(opened::DIRECT_IO, 0, &pattern(PAGE));
        let file = edit("/tmp/m/a");
        let shared = Mapping::of(&file, PAGE, libc::PROT_READ, libc::MAP_SHARED);
        assert_eq!(shared.err(), Some(Errno(libc::ENODEV)));
        let mut private = Mapping::of(&file, PAGE, libc::PROT_READ, libc::MAP_PRIVATE).expect("mmap");
        assert_eq!(private.bytes(), pattern(PAGE));
        drop(private);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn touching_a_page_behind_the_end_is_sigbus() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        let child = spawn(|| {
            let file = File::open("/tmp/m/a").expect("open");
            let mut mapping = Mapping::of(&file, 2 * PAGE, libc::PROT_READ, libc::MAP_SHARED).expect("mmap");
            assert_eq!(mapping.bytes()[0], b'h');
            std::hint::black_box(mapping.bytes()[PAGE]);
        });
        assert_eq!(child.status(), abi::Status::Killed(libc::SIGBUS));
        fs.unmount();
    });
}

#[test]
fn a_page_that_cannot_be_read_is_sigbus() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        fs.fails(op::READ, libc::EIO);
        let child = spawn(|| {
            let file = File::open("/tmp/m/a").expect("open");
            let mut mapping = Mapping::of(&file, PAGE, libc::PROT_READ, libc::MAP_SHARED).expect("mmap");
            std::hint::black_box(mapping.bytes()[0]);
        });
        assert_eq!(child.status(), abi::Status::Killed(libc::SIGBUS));
        fs.unmount();
    });
}

#[test]
fn programs_run_from_it() {
    in_world(|| {
        let program = fs::read("/bin/busybox").expect("busybox");
        let fs = Setup::default()
            .tree(|tree| {
                let node = tree.file("true", &program);
                tree.attr(node).mode |= 0o111;
                (tree.entry_valid, tree.attr_valid) = (1000, 1000);
            })
            .serve();
        let status = std::process::Command::new("/tmp/m/true").status().expect("exec");
        assert!(status.success());
        fs.tree(|tree| tree.attr(2).mode &= !0o111);
        fs.notify(notify::INVAL_INODE, &Body::default().u64(2).u64(u64::MAX).u64(0).0).expect("notify");
        assert_eq!(errno(std::process::Command::new("/tmp/m/true").status()), libc::EACCES);
        fs.unmount();
    });
}

#[test]
fn the_writeback_cache_gathers_writes_until_close() {
    in_world(|| {
        let fs = cached(0, feature::WRITEBACK_CACHE, b"");
        let mut file = edit("/tmp/m/a");
        for _ in 0..100 {
            file.write_all(b"0123456789").expect("write");
        }
        assert_eq!((fs.count(op::WRITE), fs::metadata("/tmp/m/a").expect("stat").len()), (0, 1000));
        drop(file);
        assert_eq!(fs.count(op::WRITE), 1);
        assert_eq!(fs.tree(|tree| tree.content(2)).len(), 1000);
        fs.unmount();
    });
}

#[test]
fn the_writeback_cache_is_written_by_fsync() {
    in_world(|| {
        let fs = cached(0, feature::WRITEBACK_CACHE, &pattern(3 * PAGE));
        let file = edit("/tmp/m/a");
        file.write_all_at(b"xyz", PAGE as u64 + 5).expect("write");
        assert_eq!(fs.count(op::WRITE), 0);
        file.sync_all().expect("fsync");
        assert_eq!((fs.count(op::WRITE), fs.count(op::FSYNC)), (1, 1));
        let mut expected = pattern(3 * PAGE);
        expected[PAGE + 5..PAGE + 8].copy_from_slice(b"xyz");
        assert_eq!(fs.tree(|tree| tree.content(2)), expected);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn fsync_and_fdatasync_say_which() {
    in_world(|| {
        let fs = cached(0, 0, b"");
        let file = edit("/tmp/m/a");
        file.sync_all().expect("fsync");
        assert_eq!(fs.last(op::FSYNC).u32_at(8), 0);
        file.sync_data().expect("fdatasync");
        assert_eq!(fs.last(op::FSYNC).u32_at(8), 1);
        File::open(MOUNT).expect("open").sync_all().expect("fsync of a directory");
        assert_eq!(fs.count(op::FSYNCDIR), 1);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn seeking_to_the_end_asks_and_holes_are_generic_without_lseek() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let mut file = edit("/tmp/m/a");
        fs.tree(|tree| tree.set_content(2, b"hello world"));
        assert_eq!(file.seek(SeekFrom::End(0)).expect("seek"), 11);
        let seek = |offset: i64, whence: i32| syscall!(SYS_lseek, file.as_raw_fd(), offset, whence);
        assert_eq!((seek(3, libc::SEEK_DATA), seek(3, libc::SEEK_HOLE)), (Ok(3), Ok(11)));
        assert_errno!(seek(11, libc::SEEK_DATA), ENXIO);
        assert_eq!(fs.count(op::LSEEK), 1);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn lseek_is_the_servers_if_it_has_it() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        fs.on(op::LSEEK, |_| Answer::Data(Body::default().u64(4).0));
        let file = edit("/tmp/m/a");
        assert_eq!(syscall!(SYS_lseek, file.as_raw_fd(), 1, libc::SEEK_DATA), Ok(4));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn fallocate_goes_through_or_is_eopnotsupp() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let file = edit("/tmp/m/a");
        let allocate = || syscall!(SYS_fallocate, file.as_raw_fd(), 0, 0, 100);
        assert_errno!(allocate(), EOPNOTSUPP);
        assert_errno!(allocate(), EOPNOTSUPP);
        assert_eq!(fs.count(op::FALLOCATE), 1);
        drop(file);
        fs.unmount();
        let fs = Setup::default().tree(|tree| _ = tree.file("a", b"")).on(op::FALLOCATE, |_| Answer::Data(Vec::new())).serve();
        let file = edit("/tmp/m/a");
        syscall!(SYS_fallocate, file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 5, 100).expect("fallocate");
        let request = fs.last(op::FALLOCATE);
        assert_eq!((request.u64_at(8), request.u64_at(16), request.u32_at(24)), (5, 100, libc::FALLOC_FL_KEEP_SIZE as u32));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn copy_file_range_is_asked_and_done_here_without_it() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            tree.file("a", b"hello world");
            tree.file("b", b"");
        });
        let (from, to) = (edit("/tmp/m/a"), edit("/tmp/m/b"));
        let copy = |len: usize| syscall!(SYS_copy_file_range, from.as_raw_fd(), 0, to.as_raw_fd(), 0, len, 0);
        assert_eq!(copy(5), Ok(5));
        assert_eq!((fs.count(op::COPY_FILE_RANGE), read("/tmp/m/b")), (1, "hello".into()));
        drop((from, to));
        fs.unmount();
    });
}

#[test]
fn an_ioctl_carries_what_its_number_says() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b""));
        let file = edit("/tmp/m/a");
        // _IOWR('x', 1, u32)
        let number = 0xc004_7801u32;
        let mut value = 41u32;
        fs.on(op::IOCTL, |request| {
            let given = request.u32_at(32);
            Answer::Data(Body::default().u32(7).u32(0).u32(0).u32(0).u32(given + 1).0)
        });
        assert_eq!(syscall!(SYS_ioctl, file.as_raw_fd(), number, &raw mut value), Ok(7));
        assert_eq!(value, 42);
        fs.fails(op::IOCTL, libc::ENOSYS);
        assert_errno!(syscall!(SYS_ioctl, file.as_raw_fd(), number, &raw mut value), ENOTTY);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn poll_is_the_servers_and_ready_without_it() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b""));
        let file = edit("/tmp/m/a");
        let poll = |timeout: i32| {
            let mut request = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            (syscall!(SYS_poll, &raw mut request, 1, timeout).expect("poll"), request.revents)
        };
        fs.on(op::POLL, |_| Answer::Data(Body::default().u32(0).u32(0).0));
        assert_eq!(poll(0), (0, 0));
        fs.fails(op::POLL, libc::ENOSYS);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(poll(0), (1, libc::POLLIN));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn a_poll_notification_wakes_who_waits() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b""));
        let ready = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let state = ready.clone();
        fs.on(op::POLL, move |_| Answer::Data(Body::default().u32(state.load(std::sync::atomic::Ordering::Relaxed)).u32(0).0));
        let file = edit("/tmp/m/a");
        let fd = file.as_raw_fd();
        let waiter = thread::spawn(move || {
            let mut request = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            syscall!(SYS_poll, &raw mut request, 1, 5000)
        });
        fs.wait_for(op::POLL, 1);
        thread::sleep(std::time::Duration::from_millis(50));
        ready.store(libc::POLLIN as u32, std::sync::atomic::Ordering::Relaxed);
        let handle = fs.last(op::POLL).u64_at(8);
        fs.notify(notify::POLL, &Body::default().u64(handle).0).expect("notify");
        assert_eq!(waiter.join().expect("the waiter"), Ok(1));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn a_file_may_have_no_position() {
    in_world(|| {
        let fs = cached(opened::NONSEEKABLE | opened::DIRECT_IO, 0, b"hello");
        let mut file = File::open("/tmp/m/a").expect("open");
        assert_errno!(syscall!(SYS_lseek, file.as_raw_fd(), 0, libc::SEEK_SET), ESPIPE);
        assert_eq!(errno(file.read_at(&mut [0; 2], 0)), libc::ESPIPE);
        let (mut one, mut two) = ([0; 2], [0; 3]);
        file.read_exact(&mut one).expect("read");
        file.read_exact(&mut two).expect("read");
        assert_eq!((&one, &two), (b"he", b"llo"));
        drop(file);
        fs.unmount();
    });
}

fn record_lock(file: &File, command: i32, kind: i32) -> abi::Outcome {
    let lock = libc::flock { l_type: kind as i16, l_whence: 0, l_start: 0, l_len: 10, l_pid: 0 };
    syscall!(SYS_fcntl, file.as_raw_fd(), command, &raw const lock)
}

#[test]
fn locks_are_kept_here_unless_the_server_takes_them() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        let file = edit("/tmp/m/a");
        record_lock(&file, libc::F_SETLK, libc::F_WRLCK).expect("a lock");
        let child = spawn(|| assert_errno!(record_lock(&edit("/tmp/m/a"), libc::F_SETLK, libc::F_WRLCK), EAGAIN));
        child.join();
        assert_eq!((fs.count(op::SETLK), fs.count(op::GETLK)), (0, 0));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn posix_locks_go_to_a_server_that_takes_them() {
    in_world(|| {
        let fs = cached(0, feature::POSIX_LOCKS, b"hello");
        fs.on(
            op::SETLK,
            |request| if request.u32_at(32) == libc::F_WRLCK as u32 { Answer::Error(libc::EAGAIN) } else { Answer::Data(Vec::new()) },
        );
        let file = edit("/tmp/m/a");
        record_lock(&file, libc::F_SETLK, libc::F_RDLCK).expect("a read lock");
        assert_errno!(record_lock(&file, libc::F_SETLK, libc::F_WRLCK), EAGAIN);
        let request = fs.last(op::SETLK);
        assert_eq!((request.u64_at(16), request.u64_at(24), request.u32_at(36)), (0, 9, std::process::id()));
        fs.on(op::GETLK, |_| Answer::Data(Body::default().u64(2).u64(5).u32(libc::F_WRLCK as u32).u32(77).0));
        let mut lock = libc::flock { l_type: libc::F_RDLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        syscall!(SYS_fcntl, file.as_raw_fd(), libc::F_GETLK, &raw mut lock).expect("F_GETLK");
        assert_eq!((lock.l_type, lock.l_start, lock.l_len), (libc::F_WRLCK as i16, 2, 4));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn flock_goes_to_a_server_that_takes_it() {
    in_world(|| {
        let fs = cached(0, feature::FLOCK_LOCKS, b"hello");
        fs.on(op::SETLK, |_| Answer::Data(Vec::new()));
        let file = edit("/tmp/m/a");
        syscall!(SYS_flock, file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB).expect("flock");
        let request = fs.last(op::SETLK);
        assert_eq!((request.u32_at(32), request.u32_at(40)), (libc::F_WRLCK as u32, 1));
        drop(file);
        fs.wait_for(op::RELEASE, 1);
        assert_eq!(fs.last(op::RELEASE).u32_at(12) & 2, 2);
        fs.unmount();
    });
}

#[test]
fn setuid_bits_go_with_a_write_of_somebody_else() {
    in_world(|| {
        let fs = Setup::default()
            .options(",allow_other")
            .tree(|tree| {
                let node = tree.file("a", b"hello");
                tree.attr(node).mode = libc::S_IFREG | 0o6777;
            })
            .serve();
        fs.ready();
        spawn(|| {
            syscall!(SYS_setgid, 1000).expect("setgid");
            syscall!(SYS_setuid, 1000).expect("setuid");
            edit("/tmp/m/a").write_all(b"x").expect("write");
        })
        .join();
        assert_eq!(fs.tree(|tree| tree.attr(2).mode) & 0o6000, 0);
        fs.unmount();
    });
}

#[test]
fn sixteen_clients_and_four_server_threads_agree_on_every_byte() {
    in_world(|| {
        let sum = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        let fs = Setup::default()
            .threads(4)
            .tree(|tree| {
                for index in 0..16 {
                    tree.file(&format!("in{index}"), &pattern(20_000 + index * 997));
                }
            })
            .serve();
        let clients: Vec<_> = (0..16usize)
            .map(|index| {
                spawn(move || {
                    for round in 0..6 {
                        let content = fs::read(format!("/tmp/m/in{}", (index + round) % 16)).expect("read");
                        let expected = pattern(20_000 + (index + round) % 16 * 997);
                        assert_eq!(sum(&content), sum(&expected));
                        let own = format!("/tmp/m/out{index}");
                        fs::write(&own, &content).expect("write");
                        assert_eq!(sum(&fs::read(&own).expect("read")), sum(&expected));
                        fs::rename(&own, format!("/tmp/m/kept{index}-{round}")).expect("rename");
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(abi::Child::join);
        assert_eq!(world::names(MOUNT).len(), 16 + 16 * 6);
        fs.unmount();
    });
}

#[test]
fn statx_and_c_strings_agree() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let mut words = [0u64; 32];
        syscall!(SYS_statx, libc::AT_FDCWD, c("/tmp/m/a").as_c_str(), 0, 0x7ff, words.as_mut_ptr()).expect("statx");
        assert_eq!(words[5], 5);
        fs.unmount();
    });
}
