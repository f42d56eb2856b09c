//! Pages that are written later: when they go to the server, what becomes of an error, and the times that only the kernel knows.

use abi::memory::Pages;
use abi::syscall;
use abi::world::c;
use fuse::cases::{PAGE, cached, edit, errno, pattern};
use fuse::server::in_world;
use fuse::wire::{Answer, feature, op, set};
use fuse::{Fs, Setup};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CTIME: u32 = 1 << 10;

/// Runs `body` with pages that go out a fifth of a second after they were written. (Linux lets those of FUSE get no older than the
/// interval in which it looks for them.)
fn soon(body: impl FnOnce()) {
    const INTERVAL: &str = "/proc/sys/vm/dirty_writeback_centisecs";
    in_world(|| {
        let before = fs::read_to_string(INTERVAL).expect("the interval");
        fs::write(INTERVAL, "20").expect("the interval");
        body();
        fs::write(INTERVAL, before).expect("the interval");
    });
}

/// A file `a` of this content with the writeback cache.
fn written_later(content: &[u8]) -> Fs {
    cached(0, feature::WRITEBACK_CACHE, content)
}

#[test]
fn what_was_written_goes_out_after_a_while_though_nobody_asks() {
    soon(|| {
        let fs = written_later(b"");
        let mut file = edit("/tmp/m/a");
        let started = Instant::now();
        file.write_all(&pattern(2 * PAGE + 10)).expect("write");
        assert_eq!(fs.count(op::WRITE), 0);
        fs.wait_for(op::WRITE, 1);
        assert!(started.elapsed() > Duration::from_millis(100), "{:?}", started.elapsed());
        assert_eq!(fs.tree(|tree| tree.content(2)), pattern(2 * PAGE + 10));
        assert_eq!(fs.count(op::FLUSH), 0);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn times_go_out_with_what_was_written() {
    soon(|| {
        let fs = written_later(b"");
        let mut file = edit("/tmp/m/a");
        file.write_all(b"hello").expect("write");
        fs.wait_for(op::SETATTR, 1);
        let asked = fs.last(op::SETATTR);
        assert_eq!(asked.u32_at(0) & (set::MTIME | CTIME), set::MTIME | CTIME);
        assert_eq!(asked.u64_at(40), file.metadata().expect("fstat").mtime() as u64);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn stores_through_a_mapping_go_out_after_a_while() {
    soon(|| {
        let fs = cached(0, 0, &pattern(PAGE));
        let file = edit("/tmp/m/a");
        let mapping = Pages::of_file(&file, 1);
        let store = |text: &[u8]| text.iter().enumerate().for_each(|(index, &byte)| mapping.set(100 + index, byte));
        store(b"stored");
        fs.wait_for(op::WRITE, 1);
        assert_eq!(fs.tree(|tree| tree.content(2))[100..106], *b"stored");
        // Again: the page is watched anew.
        store(b"change");
        fs.wait_for(op::WRITE, 2);
        assert_eq!(fs.tree(|tree| tree.content(2))[100..106], *b"change");
        drop((mapping, file));
        fs.unmount();
    });
}

#[test]
fn what_changes_while_it_is_on_its_way_is_written_again_afterwards() {
    soon(|| {
        let fs = written_later(b"");
        let done = Arc::new(Mutex::new(Vec::new()));
        let noted = done.clone();
        fs.on(op::WRITE, move |request| {
            std::thread::sleep(Duration::from_millis(700));
            noted.lock().expect("done").push(request.body[40..].to_vec());
            Answer::AsTree
        });
        let file = edit("/tmp/m/a");
        file.write_all_at(b"first", 0).expect("write");
        // The server is at it.
        std::thread::sleep(Duration::from_millis(400));
        file.write_all_at(b"other", 0).expect("write");
        file.sync_all().expect("fsync");
        assert_eq!(*done.lock().expect("done"), [b"first".to_vec(), b"other".to_vec()]);
        assert_eq!(fs.tree(|tree| tree.content(2)), b"other");
        drop(file);
        fs.unmount();
    });
}

#[test]
fn an_error_of_what_goes_out_by_itself_is_told_by_fsync() {
    soon(|| {
        let fs = written_later(b"");
        fs.fails(op::WRITE, libc::EDQUOT);
        let mut file = edit("/tmp/m/a");
        file.write_all(b"hello").expect("write");
        fs.wait_for(op::WRITE, 1);
        assert_eq!(errno(file.sync_all()), libc::EDQUOT);
        file.sync_all().expect("told once");
        drop(file);
        fs.unmount();
    });
}

#[test]
fn an_error_of_what_goes_out_by_itself_is_told_by_close() {
    soon(|| {
        for (told, seen) in [(libc::EDQUOT, libc::EIO), (libc::ENOSPC, libc::ENOSPC)] {
            let fs = written_later(b"");
            fs.fails(op::WRITE, told);
            let mut file = edit("/tmp/m/a");
            file.write_all(b"hello").expect("write");
            fs.wait_for(op::WRITE, 1);
            use std::os::fd::IntoRawFd;
            assert_eq!(syscall!(SYS_close, file.into_raw_fd()), Err(abi::Errno(seen)));
            fs.unmount();
        }
    });
}

#[test]
fn sync_hands_on_what_was_written_and_waits_for_no_server() {
    in_world(|| {
        let fs = written_later(b"");
        fs.on(op::WRITE, |_| Answer::Never);
        let file = edit("/tmp/m/a");
        file.write_all_at(b"hello", 0).expect("write");
        syscall!(SYS_sync).expect("sync");
        fs.wait_for(op::WRITE, 1);
        drop(fs);
    });
}

#[test]
fn a_truncation_waits_for_what_is_on_its_way() {
    soon(|| {
        let fs = written_later(b"");
        let order: Arc<Mutex<Vec<&str>>> = Arc::default();
        let (writes, sizes) = (order.clone(), order.clone());
        fs.on(op::WRITE, move |_| {
            std::thread::sleep(Duration::from_millis(300));
            writes.lock().expect("order").push("written");
            Answer::AsTree
        });
        fs.on(op::SETATTR, move |request| {
            if request.u32_at(0) & set::SIZE != 0 {
                sizes.lock().expect("order").push("cut");
            }
            Answer::AsTree
        });
        let file = edit("/tmp/m/a");
        file.write_all_at(&pattern(PAGE), 0).expect("write");
        fs.wait_for(op::WRITE, 1);
        file.set_len(10).expect("ftruncate");
        assert_eq!(*order.lock().expect("order"), ["written", "cut"]);
        drop(file);
        assert_eq!(fs.tree(|tree| tree.content(2)), pattern(10));
        fs.unmount();
    });
}

#[test]
fn pages_on_their_way_are_not_asked_for_again() {
    soon(|| {
        let fs = written_later(&[b'o'; 5]);
        fs.on(op::WRITE, |_| {
            std::thread::sleep(Duration::from_millis(500));
            Answer::AsTree
        });
        let file = edit("/tmp/m/a");
        file.write_all_at(b"fresh", 0).expect("write");
        fs.wait_for(op::WRITE, 1);
        fs::write("/proc/sys/vm/drop_caches", "1").expect("drop_caches");
        let mut bytes = [0; 5];
        file.read_exact_at(&mut bytes, 0).expect("read");
        assert_eq!(bytes, *b"fresh");
        drop(file);
        fs.unmount();
    });
}

#[test]
fn an_extended_attribute_changes_the_time_of_the_kernel() {
    in_world(|| {
        let fs = written_later(b"hello");
        let before = fs::metadata("/tmp/m/a").expect("stat");
        std::thread::sleep(Duration::from_millis(30));
        let changed = |metadata: &fs::Metadata| (metadata.ctime(), metadata.ctime_nsec());
        syscall!(SYS_setxattr, c("/tmp/m/a").as_c_str(), c"user.a".as_ptr(), b"x".as_ptr(), 1, 0).expect("setxattr");
        let after = fs::metadata("/tmp/m/a").expect("stat");
        assert!(changed(&after) > changed(&before));
        assert_eq!(after.mtime(), before.mtime());
        fs.unmount();
    });
}

#[test]
fn a_writer_of_much_does_not_fill_the_memory() {
    in_world(|| {
        fn kib(key: &str) -> u64 {
            let text = fs::read_to_string("/proc/meminfo").expect("meminfo");
            let line = text.lines().find(|line| line.starts_with(key)).expect("the line");
            line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
        }
        let fs = Setup::default()
            .tree(|tree| {
                tree.features |= feature::WRITEBACK_CACHE | feature::MAX_PAGES;
                (tree.entry_valid, tree.attr_valid) = (1000, 1000);
                tree.file("a", b"");
            })
            // The tree would keep it all.
            .on(op::WRITE, |request| Answer::Data([&request.u32_at(16).to_le_bytes()[..], &[0; 4]].concat()))
            .serve();
        fs.ready();
        let mut file = edit("/tmp/m/a");
        let (piece, total) = (vec![7; 1 << 20], kib("MemTotal:"));
        let mut most = 0;
        for _ in 0..(total >> 10) / 12 {
            file.write_all(&piece).expect("write");
            most = most.max(kib("Dirty:"));
        }
        assert!((1..total / 25).contains(&most), "{most} KiB of {total}");
        drop(file);
        fs.unmount();
    });
}

#[test]
fn a_server_that_has_enough_to_do_is_spared() {
    soon(|| {
        let fs = Setup::default()
            .tree(|tree| {
                tree.features |= feature::WRITEBACK_CACHE;
                (tree.entry_valid, tree.attr_valid) = (1000, 1000);
                (tree.max_background, tree.congestion_threshold) = (10, 1);
                tree.file("a", b"");
                tree.file("other", b"");
            })
            .on(op::RELEASE, |_| Answer::Never)
            .serve();
        fs.ready();
        drop(fs::File::open("/tmp/m/other").expect("open"));
        fs.wait_for(op::RELEASE, 1);
        let mut file = edit("/tmp/m/a");
        file.write_all(b"hello").expect("write");
        std::thread::sleep(Duration::from_millis(800));
        assert_eq!(fs.count(op::WRITE), 0);
        fs.answer(fs.last(op::RELEASE).unique, 0, &[]).expect("the answer");
        fs.wait_for(op::WRITE, 1);
        file.sync_all().expect("fsync");
        drop((file, fs));
    });
}
