//! tmpfs counts pages and inodes exactly: its size and nr_inodes options, short writes, ENOSPC, SIGBUS, statfs, remount.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use abi::memory::PAGE;
use abi::world::{c, mkdir, mount, touch, umount, write};
use abi::{Outcome, Pages, assert_errno, fault, in_mount_namespace, syscall};

/// Mounts a tmpfs with these options on `d` and opens the new file `d/file`.
fn file_on(options: &str) -> File {
    mkdir("d");
    mount("d", "/tmp/d", "tmpfs", 0, options).expect("mount");
    File::options().read(true).write(true).create_new(true).open("d/file").expect("a file")
}

fn allocate(file: &File, len_bytes: i64) -> Outcome {
    syscall!(SYS_fallocate, file, 0, 0, len_bytes)
}

fn len(file: &File) -> u64 {
    file.metadata().expect("fstat").len()
}

/// Total and free blocks, total and free inodes.
fn space(path: &str) -> [u64; 4] {
    // SAFETY: statfs is plain data.
    let mut space: libc::statfs = unsafe { std::mem::zeroed() };
    syscall!(SYS_statfs, c(path).as_c_str(), &raw mut space).expect("statfs");
    [space.f_blocks, space.f_bfree, space.f_files, space.f_ffree]
}

#[test]
fn the_size_is_rounded_up_to_pages() {
    in_mount_namespace(|| {
        let file = file_on("size=2048");
        assert_eq!(allocate(&file, 4096), Ok(0));
        assert_errno!(allocate(&file, 4097), ENOSPC);
        assert_eq!(len(&file), 4096);
        assert_eq!(space("d")[..2], [1, 0]);
    });
}

#[test]
fn nr_blocks_counts_pages_and_suffixes_multiply() {
    in_mount_namespace(|| {
        let file = file_on("nr_blocks=1");
        assert_eq!(allocate(&file, 4096), Ok(0));
        assert_errno!(allocate(&file, 4097), ENOSPC);
        drop(file);
        umount("d", 0).expect("umount");
        for (options, pages) in [("size=1m", 256), ("size=64k", 16), ("nr_blocks=1k", 1024), ("size=1g", 262_144)] {
            mount("d", "/tmp/d", "tmpfs", 0, options).expect("mount");
            assert_eq!(space("d")[0], pages, "{options}");
            umount("d", 0).expect("umount");
        }
    });
}

#[test]
fn fallocate_is_all_or_nothing() {
    in_mount_namespace(|| {
        let file = file_on("size=8192");
        assert_errno!(allocate(&file, 8193), ENOSPC);
        assert_eq!(len(&file), 0);
        assert_eq!(space("d")[1], 2, "nothing stays allocated");
        assert_eq!(allocate(&file, 8192), Ok(0));
        assert_errno!(allocate(&file, 8193), ENOSPC);
        assert_eq!(len(&file), 8192);
    });
}

#[test]
fn space_is_charged_by_the_page_not_by_the_byte() {
    in_mount_namespace(|| {
        drop(file_on("size=40960"));
        for number in 0..10 {
            let file = File::create(format!("d/{number}")).expect("create");
            assert_eq!(allocate(&file, 100), Ok(0));
        }
        let last = File::create("d/last").expect("a name costs nothing");
        assert_errno!(allocate(&last, 1), ENOSPC);
        std::fs::remove_file("d/0").expect("unlink");
        assert_eq!(allocate(&last, 1), Ok(0));
    });
}

#[test]
fn growth_by_truncate_is_free_and_shrinking_gives_back() {
    in_mount_namespace(|| {
        let file = file_on("size=4096");
        assert_eq!(allocate(&file, 4096), Ok(0));
        file.set_len(4097).expect("a hole costs nothing");
        file.set_len(0).expect("ftruncate");
        assert_eq!(space("d")[1], 1);
        assert_eq!(allocate(&file, 4096), Ok(0));
    });
}

#[test]
fn writes_at_the_limit_are_short_and_then_enospc() {
    in_mount_namespace(|| {
        let file = file_on("size=12288");
        let bytes = [1u8; 5000];
        let write = |len: usize| syscall!(SYS_write, &file, bytes.as_ptr(), len);
        syscall!(SYS_lseek, &file, 4096, libc::SEEK_SET).expect("lseek");
        assert_eq!([4, 1, 4091].map(write), [Ok(4), Ok(1), Ok(4091)]);
        assert_eq!([1, 4097].map(write), [Ok(1), Ok(4097)]);
        assert_eq!(write(4097), Ok(4094), "page 0 is a hole, so three pages are in use now");
        assert_errno!(write(1), ENOSPC);
        assert_errno!(file.write_at(b"x", 0), ENOSPC);
        assert_eq!(file.write_at(b"x", 5000).expect("what is there can be overwritten"), 1);
    });
}

#[test]
fn directories_hard_links_and_short_symlinks_cost_no_page() {
    in_mount_namespace(|| {
        let file = file_on("size=4096");
        mkdir("d/directory");
        std::fs::hard_link("d/file", "d/link").expect("link");
        symlink("x".repeat(127), "d/short").expect("symlink");
        assert_eq!(space("d")[1], 1);
        assert_eq!(allocate(&file, 4096), Ok(0));
        std::fs::remove_file("d/file").expect("unlink");
        assert_eq!(space("d")[1], 0, "the other link keeps it");
        drop(file);
        std::fs::remove_file("d/link").expect("unlink");
        assert_eq!(space("d")[1], 1);
    });
}

#[test]
fn symlinks_of_128_bytes_cost_a_page() {
    in_mount_namespace(|| {
        drop(file_on("size=4096"));
        symlink("x".repeat(128), "d/one").expect("symlink");
        assert_errno!(symlink("x".repeat(128), "d/two"), ENOSPC);
        symlink("x".repeat(127), "d/three").expect("symlink");
        std::fs::remove_file("d/one").expect("unlink");
        assert_eq!(space("d")[1], 1);
    });
}

#[test]
fn an_unlinked_open_file_keeps_its_pages_until_closed() {
    in_mount_namespace(|| {
        let file = file_on("size=4096");
        assert_eq!(allocate(&file, 4096), Ok(0));
        std::fs::remove_file("d/file").expect("unlink");
        let other = File::create("d/other").expect("create");
        assert_errno!(allocate(&other, 1), ENOSPC);
        file.set_len(8192).expect("ftruncate");
        drop(file);
        assert_eq!(allocate(&other, 1), Ok(0));
    });
}

#[test]
fn faults_on_holes_charge_pages_and_sigbus_when_full() {
    in_mount_namespace(|| {
        let file = file_on("size=4096");
        file.set_len(8192).expect("ftruncate");
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        let pages = Pages::map(2, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0).expect("mmap");
        assert_eq!(fault::read(pages.page(0)), Ok(0));
        assert_eq!(space("d")[1], 0, "reading a hole through a mapping allocates it");
        let fault = fault::read(pages.page(1)).expect_err("no page is left");
        assert_eq!((fault.signal, fault.code, fault.address), (libc::SIGBUS, fault::BUS_ADRERR, pages.page(1)));
        let mut byte = [9];
        assert_eq!(file.read_at(&mut byte, 4096).expect("read"), 1, "reading a hole by read does not");
        assert_eq!(byte, [0]);
        let zero = File::open("/dev/zero").expect("open");
        let shared = Pages::of_file(&file, 2);
        assert_errno!(syscall!(SYS_read, &zero, shared.page(1), 1), EFAULT);
    });
}

#[test]
fn punching_holes_gives_pages_back() {
    in_mount_namespace(|| {
        let file = file_on("size=16384");
        assert_eq!(allocate(&file, 16384), Ok(0));
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        assert_eq!(syscall!(SYS_fallocate, &file, punch, 100, 2 * PAGE), Ok(0));
        assert_eq!(space("d")[1], 1, "only whole pages go");
        assert_eq!(syscall!(SYS_fallocate, &file, punch, 0, 3 * PAGE), Ok(0));
        assert_eq!(space("d")[1], 3);
        assert_eq!(file.metadata().expect("fstat").blocks(), 8);
    });
}

#[test]
fn nr_inodes_bounds_files_of_every_kind() {
    in_mount_namespace(|| {
        drop(file_on("nr_inodes=5"));
        assert_eq!(space("d")[2..], [5, 3], "the root and the file");
        mkdir("d/directory");
        symlink("x", "d/link").expect("symlink");
        syscall!(SYS_mknod, c"d/fifo", libc::S_IFIFO | 0o600, 0).expect("mknod");
        assert_eq!(space("d")[3], 0);
        assert_errno!(File::create("d/more"), ENOSPC);
        assert_errno!(std::fs::create_dir("d/more"), ENOSPC);
        assert_errno!(symlink("x", "d/more"), ENOSPC);
        assert_errno!(syscall!(SYS_open, c"d", libc::O_TMPFILE | libc::O_RDWR, 0o600), ENOSPC);
        assert_errno!(std::fs::hard_link("d/file", "d/more"), ENOSPC);
        std::fs::remove_file("d/link").expect("unlink");
        std::fs::hard_link("d/file", "d/more").expect("a link counts like an inode");
        assert_eq!(space("d")[3], 0);
        std::fs::rename("d/file", "d/renamed").expect("rename needs none");
    });
}

#[test]
fn bad_options_are_einval_and_mount_nothing() {
    in_mount_namespace(|| {
        mkdir("d");
        let bad = ["size", "size=", "size=x", "size=10q", "mode=9", "mode=", "uid=x", "nr_inodes=x", "nosuid", "unknown", "unknown=1"];
        for options in bad {
            assert_errno!(mount("d", "/tmp/d", "tmpfs", 0, options), EINVAL); // Rule F7
            assert!(!abi::mountinfo::is_mounted("/tmp/d"), "{options}");
        }
    });
}

#[test]
fn mode_uid_and_gid_are_those_of_the_root() {
    in_mount_namespace(|| {
        mkdir("d");
        mount("d", "/tmp/d", "tmpfs", 0, "mode=1750,uid=12,gid=34").expect("mount");
        let data = std::fs::metadata("d").expect("stat");
        assert_eq!((data.mode(), data.uid(), data.gid()), (libc::S_IFDIR | 0o1750, 12, 34));
        let options = abi::mountinfo::at("/tmp/d").super_options;
        for option in ["mode=1750", "uid=12", "gid=34"] {
            assert!(options.split(',').any(|shown| shown == option), "{option} in {options}");
        }
        umount("d", 0).expect("umount");
        mount("d", "/tmp/d", "tmpfs", 0, "").expect("mount");
        assert_eq!(std::fs::metadata("d").expect("stat").mode(), libc::S_IFDIR | 0o1777, "the default");
    });
}

#[test]
fn remount_changes_the_size_but_not_below_what_is_used() {
    in_mount_namespace(|| {
        let file = file_on("size=8k");
        assert_eq!(allocate(&file, 8192), Ok(0));
        let remount = |options: &str| mount("", "/tmp/d", "", libc::MS_REMOUNT, options);
        remount("size=16k").expect("larger");
        assert_eq!(space("d")[..2], [4, 2]);
        assert_errno!(remount("size=4k"), EINVAL);
        assert_eq!(space("d")[0], 4);
        remount("nr_inodes=2").expect("as many as there are");
        assert_errno!(remount("nr_inodes=1"), EINVAL);
        assert_errno!(remount("unknown"), EINVAL);
        remount("mode=700").expect("accepted");
    });
}

#[test]
fn statfs_tells_type_and_sizes() {
    in_mount_namespace(|| {
        write("file", vec![1; 10 * PAGE]);
        // SAFETY: statfs is plain data.
        let mut space: libc::statfs = unsafe { std::mem::zeroed() };
        syscall!(SYS_statfs, c"file", &raw mut space).expect("statfs");
        assert_eq!((space.f_type, space.f_bsize, space.f_namelen), (libc::TMPFS_MAGIC, 4096, 255));
        assert!(space.f_bavail == space.f_bfree && space.f_blocks - space.f_bfree == 10);
    });
}

#[test]
fn size_zero_means_no_limit() {
    in_mount_namespace(|| {
        let file = file_on("size=0,nr_inodes=0");
        assert_eq!(allocate(&file, 1 << 20), Ok(0));
        assert_eq!(space("d"), [0; 4]);
        touch("d/other");
    });
}

#[test]
fn shared_anonymous_memory_and_memfds_are_not_charged_to_a_mount() {
    in_mount_namespace(|| {
        let before = space(".");
        let pages = Pages::shared(20);
        (0..20).for_each(|page| pages.set(page * PAGE, 1));
        let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::empty()).expect("memfd");
        rustix::fs::ftruncate(&file, 1 << 20).expect("ftruncate");
        assert_eq!(space("."), before);
    });
}
