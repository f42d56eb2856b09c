//! Device files: the memory devices, random numbers, nodes made by mknod, the RAM disk, and what nodev mounts refuse.

use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::sync::atomic::Ordering::SeqCst;

use abi::world::{c, mkdir, mount, write};
use abi::{Outcome, Pages, assert_errno, in_mount_namespace, shared_words, spawn, syscall};

fn mknod(path: &str, mode: u32, major: u32, minor: u32) -> Outcome {
    syscall!(SYS_mknod, c(path).as_c_str(), mode, libc::makedev(major, minor))
}

fn open(path: &str) -> File {
    File::options().read(true).write(true).open(path).unwrap_or_else(|error| panic!("opening {path}: {error}"))
}

#[test]
fn standard_devices_have_their_numbers() {
    for (name, major, minor) in [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)] {
        let data = std::fs::metadata(format!("/dev/{name}")).expect(name);
        assert!(data.file_type().is_char_device(), "{name}");
        assert_eq!(data.rdev(), libc::makedev(major, minor), "{name}");
    }
    for name in ["ptmx", "console"] {
        assert!(std::fs::metadata(format!("/dev/{name}")).is_ok(), "{name}");
    }
}

#[test]
fn null_swallows_everything_and_gives_nothing() {
    in_mount_namespace(|| {
        let null = open("/dev/null");
        let mut bytes = [7u8; 100];
        assert_eq!(syscall!(SYS_write, &null, bytes.as_ptr(), 100), Ok(100));
        assert_eq!(syscall!(SYS_read, &null, bytes.as_mut_ptr(), 100), Ok(0));
        assert_eq!(syscall!(SYS_lseek, &null, 1000, libc::SEEK_SET), Ok(0));
        assert_eq!(bytes, [7; 100]);
        assert_errno!(syscall!(SYS_ftruncate, &null, 0), EINVAL);
        write("/dev/null", "O_TRUNC and O_CREAT are fine");
        assert_errno!(syscall!(SYS_mmap, 0usize, 4096, libc::PROT_READ, libc::MAP_PRIVATE, &null, 0), ENODEV);
    });
}

#[test]
fn zero_gives_zeroes_and_memory() {
    in_mount_namespace(|| {
        let zero = open("/dev/zero");
        let mut bytes = vec![7u8; 10_000];
        assert_eq!(syscall!(SYS_read, &zero, bytes.as_mut_ptr(), bytes.len()), Ok(10_000));
        assert!(bytes.iter().all(|&byte| byte == 0));
        assert_eq!(syscall!(SYS_write, &zero, bytes.as_ptr(), 5), Ok(5));
        let fd = std::os::fd::AsRawFd::as_raw_fd(&zero);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let private = Pages::map(1, protection, libc::MAP_PRIVATE, fd, 0).expect("mmap");
        let shared = Pages::map(1, protection, libc::MAP_SHARED, fd, 0).expect("mmap");
        spawn(|| {
            private.set(0, 1);
            shared.set(0, 1);
        })
        .join();
        assert_eq!((private.get(0), shared.get(0)), (0, 1));
    });
}

#[test]
fn full_is_never_written() {
    let full = open("/dev/full");
    let mut bytes = [7u8; 10];
    assert_errno!(syscall!(SYS_write, &full, bytes.as_ptr(), 10), ENOSPC);
    assert_eq!(syscall!(SYS_read, &full, bytes.as_mut_ptr(), 10), Ok(10));
    assert_eq!(bytes, [0; 10]);
}

#[test]
fn random_devices_and_getrandom_give_different_bytes() {
    let mut seen = std::collections::HashSet::new();
    for path in ["/dev/urandom", "/dev/random", "/dev/urandom"] {
        let mut bytes = [0u8; 32];
        open(path).read_exact_at(&mut bytes, 0).expect("read");
        assert!(seen.insert(bytes), "{path}");
    }
    for flags in [0, libc::GRND_NONBLOCK, libc::GRND_RANDOM] {
        let mut bytes = [0u8; 32];
        assert_eq!(syscall!(SYS_getrandom, bytes.as_mut_ptr(), 32, flags), Ok(32));
        assert!(seen.insert(bytes));
    }
    assert_errno!(syscall!(SYS_getrandom, [0u8; 4].as_mut_ptr(), 4, 0x100), EINVAL);
    assert_errno!(syscall!(SYS_getrandom, 0x10usize, 4, 0), EFAULT);
    assert_eq!(syscall!(SYS_write, &open("/dev/urandom"), c"seed".as_ptr(), 4), Ok(4));
}

#[test]
fn mknod_makes_nodes_that_lead_to_the_driver() {
    in_mount_namespace(|| {
        mknod("zero", libc::S_IFCHR | 0o666, 1, 5).expect("mknod");
        let data = std::fs::metadata("zero").expect("stat");
        assert_eq!((data.mode(), data.rdev()), (libc::S_IFCHR | 0o644, libc::makedev(1, 5)));
        let mut bytes = [7u8; 4];
        open("zero").read_exact_at(&mut bytes, 0).expect("read");
        assert_eq!(bytes, [0; 4]);
        mknod("regular", libc::S_IFREG | 0o600, 0, 0).expect("mknod");
        mknod("plain", 0o600, 0, 0).expect("type 0 is a regular file");
        assert!(std::fs::metadata("plain").expect("stat").is_file() && std::fs::metadata("regular").expect("stat").is_file());
        mknod("socket", libc::S_IFSOCK | 0o600, 0, 0).expect("mknod");
        assert_errno!(File::open("socket"), ENXIO);
        assert_errno!(mknod("directory", libc::S_IFDIR | 0o700, 0, 0), EPERM);
        assert_errno!(mknod("what", 0o050_000 | 0o700, 0, 0), EINVAL);
        assert_errno!(mknod("zero", libc::S_IFCHR | 0o600, 1, 5), EEXIST);
    });
}

#[test]
fn nodes_without_driver_are_enxio() {
    in_mount_namespace(|| {
        mknod("char", libc::S_IFCHR | 0o600, 250, 77).expect("mknod");
        mknod("block", libc::S_IFBLK | 0o600, 250, 77).expect("mknod");
        assert_errno!(File::open("char"), ENXIO);
        assert_errno!(File::open("block"), ENXIO);
        assert!(std::fs::metadata("block").expect("stat").file_type().is_block_device());
    });
}

#[test]
fn only_the_privileged_make_device_nodes() {
    in_mount_namespace(|| {
        mkdir("d");
        std::fs::set_permissions("d", std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("chmod");
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(mknod("d/null", libc::S_IFCHR | 0o666, 1, 3), EPERM);
            mknod("d/fifo", libc::S_IFIFO | 0o666, 0, 0).expect("a FIFO is for everyone");
            mknod("d/whiteout", libc::S_IFCHR | 0o666, 0, 0).expect("device 0:0 is for everyone");
        })
        .join();
    });
}

#[test]
fn nodev_mounts_open_no_devices() {
    in_mount_namespace(|| {
        mkdir("d");
        mount("d", "/tmp/d", "tmpfs", libc::MS_NODEV, "").expect("mount");
        mknod("d/null", libc::S_IFCHR | 0o666, 1, 3).expect("a node may be made");
        assert_errno!(File::open("d/null"), EACCES); // Rule L13
        assert!(syscall!(SYS_open, c"d/null", libc::O_PATH).is_ok());
        mknod("d/fifo", libc::S_IFIFO | 0o666, 0, 0).expect("mknod");
        assert!(syscall!(SYS_open, c"d/fifo", libc::O_RDONLY | libc::O_NONBLOCK).is_ok(), "a FIFO is no device");
    });
}

#[test]
fn devices_and_fifos_are_written_on_read_only_mounts() {
    in_mount_namespace(|| {
        mkdir("d");
        mount("d", "/tmp/d", "tmpfs", 0, "").expect("mount");
        mknod("d/null", libc::S_IFCHR | 0o666, 1, 3).expect("mknod");
        write("d/file", "x");
        mount("", "/tmp/d", "", libc::MS_REMOUNT | libc::MS_RDONLY, "").expect("remount");
        let null = File::options().write(true).open("d/null").expect("open");
        assert_eq!(syscall!(SYS_write, &null, c"x".as_ptr(), 1), Ok(1));
        assert_errno!(File::options().write(true).open("d/file"), EROFS); // Rule L14
        assert_errno!(syscall!(SYS_access, c"d/file", libc::W_OK), EROFS);
    });
}

#[test]
fn the_controlling_terminal_is_enxio_without_one() {
    in_mount_namespace(|| {
        spawn(|| {
            syscall!(SYS_setsid).expect("setsid");
            assert_errno!(File::open("/dev/tty"), ENXIO);
        })
        .join();
    });
}

#[test]
fn ioctls_that_a_device_does_not_know_are_enotty() {
    let null = open("/dev/null");
    assert_errno!(syscall!(SYS_ioctl, &null, libc::TCGETS, [0u8; 64].as_mut_ptr()), ENOTTY);
    assert_errno!(syscall!(SYS_ioctl, &null, 0x1234_5678, 0usize), ENOTTY);
    let file = File::open("/proc/version").expect("open");
    assert_errno!(syscall!(SYS_ioctl, &file, libc::TIOCGWINSZ, [0u8; 8].as_mut_ptr()), ENOTTY);
}

/// The RAM disk is a module on some kernels; where the node is absent there is nothing to tell but that.
#[test]
fn a_ram_disk_is_a_block_device_with_the_size_it_was_given() {
    in_mount_namespace(|| {
        if !abi::world::exists("/dev/ram0") {
            mknod("ram0", libc::S_IFBLK | 0o600, 1, 0).expect("mknod");
            assert!(std::fs::metadata("ram0").expect("stat").file_type().is_block_device());
            return;
        }
        let disk = open("/dev/ram0");
        let mut len_bytes = 0u64;
        const BLKGETSIZE64: u64 = 0x8008_1272;
        syscall!(SYS_ioctl, &disk, BLKGETSIZE64, &raw mut len_bytes).expect("BLKGETSIZE64");
        assert!(len_bytes > 0 && len_bytes.is_multiple_of(512));
        assert_eq!(syscall!(SYS_lseek, &disk, 0, libc::SEEK_END), Ok(len_bytes as usize));
        disk.write_all_at(b"block device", 5000).expect("write");
        let mut bytes = [0; 12];
        open("/dev/ram0").read_exact_at(&mut bytes, 5000).expect("read");
        assert_eq!(&bytes, b"block device");
        assert_eq!(disk.read_at(&mut bytes, len_bytes).expect("the end"), 0);
        assert_errno!(disk.write_at(b"x", len_bytes), ENOSPC);
        mknod("copy", libc::S_IFBLK | 0o600, 1, 0).expect("mknod");
        open("copy").read_exact_at(&mut bytes, 5000).expect("read");
        assert_eq!(&bytes, b"block device", "another node of the same device");
    });
}

#[test]
fn a_bound_device_node_is_that_device() {
    in_mount_namespace(|| {
        abi::world::touch("null");
        abi::world::bind("/dev/null", "/tmp/null").expect("bind");
        mount("", "/tmp/null", "", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY, "").expect("remount");
        let words = shared_words();
        spawn(|| {
            words[0].store(syscall!(SYS_write, &open("null"), c"abcdef".as_ptr(), 6).expect("write") as u32, SeqCst);
        })
        .join();
        assert_eq!(words[0].load(SeqCst), 6);
    });
}
