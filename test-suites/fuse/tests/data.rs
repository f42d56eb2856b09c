//! The content of files: reading, writing, the page cache and what empties it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};

use abi::world::{self, read};
use abi::{assert_errno, syscall};
use fuse::cases::{PAGE, cached, edit, errno, pattern};
use fuse::server::in_world;
use fuse::wire::{Body, feature, notify, opened};
use fuse::{Fs, Setup, op};

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
        // Whose child it was must be right.
        let wrong = fs.notify(notify::DELETE, &Body::default().u64(1).u64(99).u32(1).u32(0).bytes(b"a\0").0);
        assert_eq!(errno(wrong), libc::ENOENT);
        // What was known of the name is forgotten all the same.
        fs.clear();
        assert_eq!(fs::metadata("/tmp/m/a").expect("stat").nlink(), 1);
        assert_eq!(fs.count(op::LOOKUP), 1);
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
