//! How attributes are asked for: STATX for birth times, what `statx(2)` says about synchronising, open files, block sizes; file handles.

use abi::file_handle::{handle_with, open_handle};
use abi::syscall;
use abi::world::{self, c};
use fuse::cases::{edit, errno};
use fuse::server::{MOUNT, in_world};
use fuse::wire::{Answer, Attr, STATX_BASIC, STATX_BIRTH, feature, op, statx_out};
use fuse::{Fs, Setup};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// Words of `struct statx`.
type Words = [u64; 32];

#[track_caller]
fn statx(path: &str, flags: i32, mask: u32) -> Words {
    try_statx(path, flags, mask).expect("statx")
}

fn try_statx(path: &str, flags: i32, mask: u32) -> abi::Outcome<Words> {
    let mut words = [0; 32];
    syscall!(SYS_statx, libc::AT_FDCWD, c(path).as_c_str(), flags, mask, words.as_mut_ptr())?;
    Ok(words)
}

/// `stx_mask` of an answer.
fn known(words: &Words) -> u32 {
    words[0] as u32
}

/// A file `a` whose attributes hold for long, born in second 77.
fn born() -> Fs {
    let fs = Setup::default()
        .tree(|tree| {
            (tree.entry_valid, tree.attr_valid, tree.has_statx) = (1000, 1000, true);
            let node = tree.file("a", b"hello");
            tree.files.get_mut(&node).expect("a").birth = 77;
        })
        .serve();
    fs.ready();
    fs
}

#[test]
fn a_birth_time_is_asked_for_by_statx() {
    in_world(|| {
        let fs = born();
        let words = statx("/tmp/m/a", 0, STATX_BASIC | STATX_BIRTH);
        assert_eq!((fs.count(op::STATX), fs.count(op::GETATTR)), (1, 0));
        assert_eq!(known(&words) & (STATX_BASIC | STATX_BIRTH), STATX_BASIC | STATX_BIRTH);
        assert_eq!((words[10], words[11] as u32, words[5]), (77, 7, 5));
        let asked = fs.last(op::STATX);
        assert_eq!((asked.len, asked.u32_at(0), asked.u32_at(16), asked.u32_at(20)), (64, 0, 0, STATX_BASIC | STATX_BIRTH));
        fs.unmount();
    });
}

#[test]
fn a_birth_time_is_remembered_as_long_as_the_attributes_hold() {
    in_world(|| {
        let fs = born();
        statx("/tmp/m/a", 0, STATX_BASIC | STATX_BIRTH);
        statx("/tmp/m/a", 0, STATX_BASIC | STATX_BIRTH);
        assert_eq!(fs.count(op::STATX), 1);
        let words = statx("/tmp/m/a", 0, STATX_BASIC);
        assert_eq!((fs.count(op::STATX), fs.count(op::GETATTR)), (1, 0));
        assert_eq!((known(&words) & STATX_BIRTH, words[10]), (STATX_BIRTH, 77));
        fs.unmount();
    });
}

#[test]
fn without_a_birth_time_attributes_are_asked_for_by_getattr() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let words = statx("/tmp/m/a", 0, STATX_BASIC);
        assert_eq!(known(&words) & STATX_BIRTH, 0);
        fs::metadata("/tmp/m/a").expect("metadata");
        assert!(syscall!(SYS_stat, c("/tmp/m/a").as_c_str(), [0u64; 18].as_mut_ptr()).is_ok());
        assert!(fs.count(op::GETATTR) > 0);
        fs.unmount();
    });
}

#[test]
fn a_server_without_statx_is_asked_once() {
    in_world(|| {
        let fs = born();
        fs.fails(op::STATX, libc::ENOSYS);
        for _ in 0..2 {
            let words = statx("/tmp/m/a", 0, STATX_BASIC | STATX_BIRTH);
            assert_eq!((known(&words) & STATX_BIRTH, words[10], words[5]), (0, 0, 5));
        }
        assert_eq!((fs.count(op::STATX), fs.count(op::GETATTR)), (1, 0));
        fs.unmount();
    });
}

#[test]
fn a_server_may_know_some_parts_only() {
    in_world(|| {
        let fs = born();
        fs.on(op::STATX, |_| {
            let attr = Attr { mode: libc::S_IFREG | 0o600, size: 4, nlink: 3, ..Attr::default() };
            Answer::Data(statx_out(&attr, 0x204, 5, 1000))
        });
        // Size and link count, and no birth time.
        let words = statx("/tmp/m/a", 0, STATX_BASIC | STATX_BIRTH);
        assert_eq!((known(&words) & (STATX_BASIC | STATX_BIRTH), words[5]), (0x205, 4));
        // It is not remembered.
        assert_eq!(statx("/tmp/m/a", 0, STATX_BASIC)[5], 5);
        fs.unmount();
    });
}

#[test]
fn statx_of_another_kind_of_file_is_an_error_for_ever() {
    in_world(|| {
        let fs = born();
        fs.on(op::STATX, |_| {
            let attr = Attr { mode: libc::S_IFDIR | 0o755, ..Attr::default() };
            Answer::Data(statx_out(&attr, STATX_BASIC | STATX_BIRTH, 5, 1000))
        });
        let file = edit("/tmp/m/a");
        assert_eq!(try_statx("/tmp/m/a", 0, STATX_BASIC | STATX_BIRTH), Err(abi::Errno(libc::EIO)));
        fs.clear();
        assert_eq!(errno((&file).read(&mut [0])), libc::EIO);
        assert_eq!(fs.count(op::READ), 0);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn a_caller_may_force_or_spare_the_question() {
    in_world(|| {
        let fs = born();
        statx("/tmp/m/a", libc::AT_STATX_FORCE_SYNC, STATX_BASIC);
        assert_eq!(fs.count(op::GETATTR), 1);
        statx("/tmp/m/a", 0, STATX_BASIC);
        assert_eq!(fs.count(op::GETATTR), 1);
        statx("/tmp/m/a", libc::AT_STATX_DONT_SYNC, STATX_BASIC | STATX_BIRTH);
        assert_eq!(fs.count(op::STATX), 0);
        fs.unmount();
    });
}

#[test]
fn who_spares_the_question_gets_what_was_known_last() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                tree.file("a", b"hello");
                (tree.entry_valid, tree.attr_valid) = (1000, 0);
            })
            .serve();
        fs.ready();
        statx("/tmp/m/a", 0, STATX_BASIC);
        fs.tree(|tree| tree.attr(2).mode = libc::S_IFREG | 0o600);
        fs.clear();
        let mode = |words: Words| words[3] >> 32 & 0o7777;
        assert_eq!(mode(statx("/tmp/m/a", libc::AT_STATX_DONT_SYNC, STATX_BASIC)), 0o644);
        assert_eq!(fs.count(op::GETATTR), 0);
        assert_eq!(mode(statx("/tmp/m/a", 0, STATX_BASIC)), 0o600);
        fs.unmount();
    });
}

#[test]
fn a_server_tells_its_block_size() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            tree.file("small", b"hello");
            let large = tree.file("large", b"hello");
            tree.attr(large).block_size = 65536;
            let odd = tree.file("odd", b"hello");
            tree.attr(odd).block_size = 3000;
        });
        let size = |name: &str| fs::metadata(format!("/tmp/m/{name}")).expect("metadata").blksize();
        assert_eq!((size("small"), size("large"), size("odd")), (4096, 65536, 2048));
        fs.unmount();
    });
}

#[test]
fn the_end_of_an_open_file_is_asked_for_with_its_handle() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let mut file = edit("/tmp/m/a");
        fs.clear();
        assert_eq!(file.seek(SeekFrom::End(0)).expect("lseek"), 5);
        let asked = fs.last(op::GETATTR);
        assert_eq!((asked.u32_at(0), asked.u64_at(8)), (1, 101));
        fs.clear();
        file.metadata().expect("fstat");
        assert!(fs.requests(op::GETATTR).iter().all(|request| request.u32_at(0) == 0));
        drop(file);
        fs.unmount();
    });
}

/// A served tree with a folder `d`, a file `d/a` in it, and whether it can look up `.` and `..`.
fn exported(features: u32) -> Fs {
    let fs = Setup::default()
        .tree(|tree| {
            let folder = tree.directory("d");
            let file = tree.make(folder, "a", libc::S_IFREG | 0o644);
            tree.set_content(file, b"inside");
            tree.features |= features;
        })
        .serve();
    fs.ready();
    fs
}

/// Names, attributes and pages that nobody uses are gone.
fn forget_all(fs: &Fs) {
    for _ in 0..5 {
        fs::write("/proc/sys/vm/drop_caches", "3").expect("drop_caches");
    }
    // One by one, or in a batch.
    while fs.count(op::FORGET) + fs.count(op::BATCH_FORGET) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_handle_has_node_and_generation() {
    in_world(|| {
        let fs = exported(0);
        let (outcome, handle, _) = handle_with(libc::AT_FDCWD, "/tmp/m/d/a", 0, 128);
        outcome.expect("name_to_handle_at");
        assert_eq!((handle.bytes, handle.kind), (12, 0x81));
        assert_eq!(handle.data[..12], [0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        let (outcome, handle, _) = handle_with(libc::AT_FDCWD, "/tmp/m/d/a", 0, 8);
        assert_eq!((outcome, handle.bytes), (Err(abi::Errno(libc::EOVERFLOW)), 12));
        fs.unmount();
    });
}

#[test]
fn a_handle_leads_to_a_file_that_is_known() {
    in_world(|| {
        let fs = exported(0);
        let held = fs::File::open("/tmp/m/d/a").expect("open");
        let (_, handle, _) = handle_with(libc::AT_FDCWD, "/tmp/m/d/a", 0, 128);
        let root = world::open(MOUNT, libc::O_RDONLY).expect("the mount");
        let mut text = String::new();
        open_handle(root.as_raw_fd(), &handle, libc::O_RDONLY).expect("open_by_handle_at").read_to_string(&mut text).expect("read");
        assert_eq!(text, "inside");
        let mut other = handle;
        other.data[8] = 1;
        assert_eq!(open_handle(root.as_raw_fd(), &other, libc::O_RDONLY).err(), Some(abi::Errno(libc::ESTALE)), "another generation");
        other = handle;
        other.data[4] = 99;
        assert_eq!(open_handle(root.as_raw_fd(), &other, libc::O_RDONLY).err(), Some(abi::Errno(libc::ESTALE)), "no such node");
        drop((root, held));
        fs.unmount();
    });
}

#[test]
fn a_handle_is_stale_once_the_node_is_forgotten() {
    in_world(|| {
        let fs = exported(0);
        let (_, handle, _) = handle_with(libc::AT_FDCWD, "/tmp/m/d/a", 0, 128);
        forget_all(&fs);
        let root = world::open(MOUNT, libc::O_RDONLY).expect("the mount");
        assert_eq!(open_handle(root.as_raw_fd(), &handle, libc::O_RDONLY).err(), Some(abi::Errno(libc::ESTALE)));
        drop(root);
        fs.unmount();
    });
}

#[test]
fn with_export_support_a_forgotten_node_is_looked_up_by_its_number() {
    in_world(|| {
        let fs = exported(feature::EXPORT_SUPPORT);
        let (_, handle, _) = handle_with(libc::AT_FDCWD, "/tmp/m/d/a", 0, 128);
        forget_all(&fs);
        fs.clear();
        let root = world::open(MOUNT, libc::O_RDONLY).expect("the mount");
        let mut text = String::new();
        open_handle(root.as_raw_fd(), &handle, libc::O_RDONLY).expect("open_by_handle_at").read_to_string(&mut text).expect("read");
        assert_eq!(text, "inside");
        let asked: Vec<(u64, Vec<u8>)> = fs.requests(op::LOOKUP).iter().map(|request| (request.node, request.name(0).to_vec())).collect();
        assert_eq!(asked, [(3, b".".to_vec())]);
        fs.tree(|tree| tree.files.remove(&3));
        drop(root);
        fs.unmount();
    });
}

#[test]
fn a_directory_found_by_its_handle_has_its_place_again() {
    in_world(|| {
        let fs = exported(feature::EXPORT_SUPPORT);
        let inner = fs.tree(|tree| tree.make(2, "inner", libc::S_IFDIR | 0o755));
        let (_, handle, _) = handle_with(libc::AT_FDCWD, "/tmp/m/d/inner", 0, 128);
        forget_all(&fs);
        fs.clear();
        let root = world::open(MOUNT, libc::O_RDONLY).expect("the mount");
        let found = open_handle(root.as_raw_fd(), &handle, libc::O_RDONLY | libc::O_DIRECTORY).expect("open_by_handle_at");
        let path = fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).expect("its path");
        assert_eq!(path.to_str(), Some("/tmp/m/d/inner"));
        assert!(fs.requests(op::LOOKUP).iter().any(|request| (request.node, request.name(0)) == (inner, b"..")));
        drop((found, root));
        fs.unmount();
    });
}
