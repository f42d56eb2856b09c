//! tmpfs counts its pages exactly: what is charged, what is free of charge, and what happens at the limit.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};

use abi::guard::{Mounted, tmpfs_with};
use abi::memory::PAGE;
use abi::world::{mkdir, mount, open};
use abi::{Outcome, Pages, Status, assert_errno, syscall};
use libc::{O_CREAT, O_RDWR};
use mount::case;

/// A tmpfs with these options on `/tmp/d`, and a new file on it.
fn file_on_tmpfs(options: &str) -> (Mounted, File) {
    let mounted = tmpfs_with("/tmp/d", 0, options);
    (mounted, open("/tmp/d/file", O_CREAT | O_RDWR).expect("open"))
}

fn allocate(file: &File, len_bytes: u64) -> Outcome {
    syscall!(SYS_fallocate, file, 0, 0, len_bytes)
}

/// How many pages of the tmpfs on `/tmp/d` are free.
fn free_pages() -> u64 {
    rustix::fs::statfs("/tmp/d").expect("statfs").f_bfree as u64
}

fn size(file: &File) -> u64 {
    file.metadata().expect("fstat").size()
}

/// One page may be allocated, and not a byte more.
fn assert_one_page_is_free(file: &File) {
    assert_eq!(size(file), 0);
    allocate(file, 4096).expect("fallocate of a page");
    assert_eq!(size(file), 4096);
    assert_errno!(allocate(file, 4097), ENOSPC);
    assert_eq!(size(file), 4096);
}

#[test]
fn tmpfs_size_round_up_single_page_size() {
    case(|| {
        let (_mounted, file) = file_on_tmpfs("size=2048");
        assert_one_page_is_free(&file);
        drop(file);
    });
}

#[test]
fn tmpfs_nr_blocks_allocation() {
    case(|| {
        let (_mounted, file) = file_on_tmpfs("nr_blocks=1");
        assert_one_page_is_free(&file);
        drop(file);
    });
}

#[test]
fn tmpfs_size_allocation_multiple_pages() {
    case(|| {
        let (_mounted, file) = file_on_tmpfs("size=8192");
        assert_errno!(allocate(&file, 8193), ENOSPC);
        assert_eq!((size(&file), free_pages()), (0, 2), "all or nothing");
        allocate(&file, 8192).expect("fallocate");
        assert_errno!(allocate(&file, 8193), ENOSPC);
        assert_eq!((size(&file), free_pages()), (8192, 0));
        drop(file);
    });
}

#[test]
fn tmpfs_size_more_than_single_pg_sz_multiple_files() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", 0, "size=40960");
        for number in 0..10 {
            let file = open(&format!("/tmp/d/{number}"), O_CREAT | O_RDWR).expect("open");
            allocate(&file, 100).expect("fallocate");
            assert_eq!(size(&file), 100);
        }
        let last = open("/tmp/d/last", O_CREAT | O_RDWR).expect("a name costs nothing");
        assert_errno!(allocate(&last, 4096), ENOSPC);
        drop(last);
    });
}

#[test]
fn tmpfs_size_ftruncate() {
    case(|| {
        let (_mounted, file) = file_on_tmpfs("size=4096");
        allocate(&file, 4096).expect("fallocate");
        assert_eq!(size(&file), 4096);
        file.set_len(4097).expect("a hole costs nothing");
        assert_eq!(size(&file), 4097);
        file.set_len(0).expect("ftruncate");
        assert_eq!((size(&file), free_pages()), (0, 1));
        allocate(&file, 4096).expect("the page was freed");
        assert_eq!(size(&file), 4096);
        drop(file);
    });
}

#[test]
fn tmpfs_directory_alloc_check() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", 0, "size=4096");
        mkdir("d/sub");
        let file = open("/tmp/d/sub/file", O_CREAT | O_RDWR).expect("open");
        assert_one_page_is_free(&file);
        drop(file);
    });
}

#[test]
fn tmpfs_symlink_alloc_check() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", 0, "size=4096");
        let link = |name: &str, len_bytes: usize| symlink("a".repeat(len_bytes), format!("/tmp/d/{name}"));
        link("free1", 127).expect("a short target is part of the inode");
        link("page1", 128).expect("the only page");
        assert_errno!(link("page2", 128), ENOSPC);
        link("free2", 127).expect("still free of charge");
        std::fs::remove_file("d/free1").expect("unlink");
        std::fs::remove_file("d/page1").expect("unlink");
        std::fs::remove_file("d/free2").expect("unlink");
    });
}

#[test]
fn tmpfs_symlink_unalloc_check() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", 0, "size=4096");
        let target = "a".repeat(128);
        symlink(&target, "d/foo1").expect("symlink");
        let file = open("/tmp/d/foo1", O_CREAT | O_RDWR).expect("creates what the link names");
        assert!(std::fs::symlink_metadata(format!("d/{target}")).expect("stat").is_file());
        assert_errno!(allocate(&file, 4096), ENOSPC);
        std::fs::remove_file("d/foo1").expect("unlink");
        allocate(&file, 4096).expect("the link's page was freed");
        assert_eq!(size(&file), 4096);
        drop(file);
    });
}

#[test]
fn tmpfs_hard_link_alloc_check() {
    case(|| {
        let (_mounted, file) = file_on_tmpfs("size=4096");
        std::fs::hard_link("d/file", "d/link").expect("link");
        assert_one_page_is_free(&file);
        drop(file);
        std::fs::remove_file("d/file").expect("unlink");
        std::fs::remove_file("d/link").expect("unlink");
    });
}

#[test]
fn tmpfs_empty_size_alloc_check() {
    case(|| {
        mkdir("d");
        assert_errno!(mount("", "/tmp/d", "tmpfs", 0, "size"), EINVAL);
    });
}

#[test]
fn tmpfs_unlink_regular_file_alloc_check() {
    case(|| {
        let (_mounted, file) = file_on_tmpfs("size=4096");
        std::fs::remove_file("d/file").expect("unlink");
        file.set_len(8192).expect("ftruncate of an unlinked file");
        assert_eq!(size(&file), 8192);
        drop(file);
    });
}

/// Writes `len_bytes` bytes in one call.
fn write_bytes(mut file: &File, len_bytes: usize) -> std::io::Result<usize> {
    file.write(&vec![b'x'; len_bytes])
}

#[test]
fn tmpfs_size_partial_write_single_page() {
    case(|| {
        let (_mounted, mut file) = file_on_tmpfs("size=4096");
        file.seek(SeekFrom::Start(4094)).expect("lseek");
        assert_eq!(write_bytes(&file, 4).expect("a short write"), 2);
        assert_errno!(write_bytes(&file, 4), ENOSPC);
        assert_eq!(size(&file), 4096);
        drop(file);
    });
}

#[test]
fn tmpfs_size_partial_write_multiple_pages() {
    case(|| {
        let (_mounted, mut file) = file_on_tmpfs("size=12288");
        // The first page stays a hole, which is not charged.
        file.seek(SeekFrom::Start(4096)).expect("lseek");
        let mut end = 4096;
        for (asked, written) in [(4, 4), (1, 1), (4091, 4091), (1, 1), (4097, 4097), (4097, 4094)] {
            assert_eq!(write_bytes(&file, asked).expect("write"), written, "of {asked} at {end}");
            end += written;
            assert_eq!(size(&file), end as u64);
        }
        assert_errno!(write_bytes(&file, 1), ENOSPC);
        drop(file);
    });
}

#[test]
fn tmpfs_size_mmap() {
    case(|| {
        let (_mounted, file) = file_on_tmpfs("size=4096");
        file.set_len(8192).expect("ftruncate");
        let mapped = Pages::map(2, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0).expect("mmap");
        assert_eq!(mapped.get(0), 0, "reading a hole allocates the only page");
        let touching = abi::spawn(|| {
            mapped.get(PAGE);
        });
        assert_eq!(touching.status(), Status::Killed(libc::SIGBUS));
        drop((mapped, file));
    });
}
