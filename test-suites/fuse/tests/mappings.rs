//! Pages of files in programs: mappings, programs that run from FUSE, and the writeback cache.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use abi::{Errno, spawn, syscall};
use fuse::cases::{PAGE, cached, edit, errno, pattern};
use fuse::server::in_world;
use fuse::wire::{Body, feature, notify, opened};
use fuse::{Setup, op};

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
fn a_mount_is_free_as_soon_as_its_programs_have_ended() {
    in_world(|| {
        let program = fs::read("/bin/busybox").expect("busybox");
        for _ in 0..30 {
            let fs = Setup::default()
                .tree(|tree| {
                    let node = tree.file("true", &program);
                    tree.attr(node).mode |= 0o111;
                    (tree.entry_valid, tree.attr_valid) = (1000, 1000);
                })
                .serve();
            assert!(std::process::Command::new("/tmp/m/true").status().expect("exec").success());
            let input = File::open("/tmp/m/true").expect("open");
            let status =
                std::process::Command::new("/bin/busybox").arg("sha256sum").stdin(input).stdout(std::process::Stdio::null()).status();
            assert!(status.expect("exec").success());
            // Not busy: what has been waited for holds nothing any more.
            fs.unmount();
        }
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
