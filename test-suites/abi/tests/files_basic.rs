//! Regular files: open flags, reading and writing at offsets, sparse files, truncation, fallocate, times, descriptors.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};

use abi::world::{mkdir, mount, read, touch, write};
use abi::{Outcome, assert_errno, in_child, in_mount_namespace, spawn, syscall};
use libc::{O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR, O_TMPFILE, O_TRUNC, O_WRONLY};

/// `open(2)` as a file to read, write and close.
fn open(path: &str, flags: i32, mode: u32) -> std::io::Result<File> {
    let mut options = File::options();
    let access = flags & libc::O_ACCMODE;
    options.read(access != O_WRONLY).write(access != O_RDONLY).mode(mode);
    // The standard library refuses O_CREAT without write access, the kernel does not.
    options.custom_flags(flags & !libc::O_ACCMODE);
    options.open(path)
}

fn lseek(file: &File, offset: i64, whence: i32) -> Outcome {
    syscall!(SYS_lseek, file, offset, whence)
}

/// Blocks of 512 bytes that the file takes.
fn blocks(path: &str) -> u64 {
    std::fs::metadata(path).expect("stat").blocks()
}

#[test]
fn open_creates_truncates_and_refuses_as_flags_say() {
    in_mount_namespace(|| {
        assert_errno!(open("file", O_RDONLY, 0), ENOENT);
        open("file", O_RDWR | O_CREAT | O_EXCL, 0o640).expect("a new file");
        assert_eq!(std::fs::metadata("file").expect("stat").mode(), libc::S_IFREG | 0o640);
        assert_errno!(open("file", O_RDWR | O_CREAT | O_EXCL, 0o640), EEXIST);
        write("file", "content");
        open("file", O_RDWR | O_CREAT, 0o777).expect("there already");
        assert_eq!(read("file"), "content");
        open("file", O_RDONLY | O_TRUNC, 0).expect("truncated even for reading");
        assert_eq!(read("file"), "");
        mkdir("directory");
        assert_errno!(open("directory", O_RDWR, 0), EISDIR);
        assert_errno!(open("directory", O_RDONLY | O_CREAT, 0o600), EISDIR);
        assert_errno!(open("file", O_RDONLY | O_DIRECTORY, 0), ENOTDIR);
        assert_errno!(open("file/", O_RDONLY, 0), ENOTDIR);
        assert_errno!(open("missing/", O_WRONLY | O_CREAT, 0o600), EISDIR);
        assert_errno!(open("directory", O_RDONLY | O_CREAT | O_DIRECTORY, 0o600), EINVAL);
    });
}

#[test]
fn o_creat_follows_dangling_links_unless_excl_or_nofollow() {
    in_mount_namespace(|| {
        std::os::unix::fs::symlink("target", "link").expect("symlink");
        assert_errno!(open("link", O_WRONLY | O_CREAT | O_EXCL, 0o600), EEXIST);
        assert_errno!(open("link", O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600), ELOOP);
        open("link", O_WRONLY | O_CREAT, 0o600).expect("through the link");
        assert!(std::fs::symlink_metadata("target").expect("stat").is_file());
    });
}

#[test]
fn a_new_file_is_open_whatever_its_mode() {
    in_mount_namespace(|| {
        std::fs::set_permissions(".", std::fs::Permissions::from_mode(0o777)).expect("chmod");
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            let file = open("file", O_RDWR | O_CREAT | O_EXCL, 0).expect("a new file");
            file.write_all_at(b"x", 0).expect("write");
            assert_errno!(open("file", O_RDONLY, 0), EACCES);
        })
        .join();
    });
}

#[test]
fn reads_and_writes_move_one_offset_and_p_variants_do_not() {
    in_mount_namespace(|| {
        let file = open("file", O_RDWR | O_CREAT, 0o600).expect("open");
        assert_eq!(syscall!(SYS_write, &file, c"hello world".as_ptr(), 11), Ok(11));
        assert_eq!(lseek(&file, 0, libc::SEEK_CUR), Ok(11));
        assert_eq!(lseek(&file, -5, libc::SEEK_END), Ok(6));
        let mut bytes = [0; 20];
        assert_eq!(syscall!(SYS_read, &file, bytes.as_mut_ptr(), 20), Ok(5));
        assert_eq!(&bytes[..5], b"world");
        assert_eq!(syscall!(SYS_read, &file, bytes.as_mut_ptr(), 20), Ok(0));
        assert_eq!(file.read_at(&mut bytes, 4).expect("pread"), 7);
        assert_eq!(file.write_at(b"J", 0).expect("pwrite"), 1);
        assert_eq!(lseek(&file, 0, libc::SEEK_CUR), Ok(11));
        assert_errno!(lseek(&file, -1, libc::SEEK_SET), EINVAL);
        assert_errno!(lseek(&file, 0, 9), EINVAL);
        assert_errno!(syscall!(SYS_pread64, &file, bytes.as_mut_ptr(), 1, -1), EINVAL);
        assert_eq!(read("file"), "Jello world");
    });
}

#[test]
fn vectors_are_read_and_written_in_order() {
    in_mount_namespace(|| {
        let file = open("file", O_RDWR | O_CREAT, 0o600).expect("open");
        let parts: [&[u8]; 3] = [b"one", b"", b"two"];
        let vectors = parts.map(|part| libc::iovec { iov_base: part.as_ptr() as *mut _, iov_len: part.len() });
        assert_eq!(syscall!(SYS_writev, &file, vectors.as_ptr(), 3), Ok(6));
        let mut into = [[0u8; 2]; 3];
        let vectors = into.each_mut().map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: 2 });
        assert_eq!(syscall!(SYS_preadv, &file, vectors.as_ptr(), 3, 1, 0), Ok(5));
        assert_eq!(into, [*b"ne", *b"tw", *b"o\0"]);
        assert_errno!(syscall!(SYS_writev, &file, vectors.as_ptr(), 1025), EINVAL);
        assert_errno!(syscall!(SYS_writev, &file, vectors.as_ptr(), -1), EINVAL);
        assert_eq!(syscall!(SYS_writev, &file, vectors.as_ptr(), 0), Ok(0));
        let negative = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: usize::MAX }];
        assert_errno!(syscall!(SYS_readv, &file, negative.as_ptr(), 1), EINVAL);
    });
}

#[test]
fn o_append_writes_at_the_end_wherever_the_offset_is() {
    in_mount_namespace(|| {
        write("file", "abc");
        let file = open("file", O_RDWR | O_APPEND, 0).expect("open");
        lseek(&file, 0, libc::SEEK_SET).expect("lseek");
        assert_eq!(syscall!(SYS_write, &file, c"d".as_ptr(), 1), Ok(1));
        assert_eq!(lseek(&file, 0, libc::SEEK_CUR), Ok(4));
        assert_eq!(file.write_at(b"e", 0).expect("pwrite"), 1);
        assert_eq!(read("file"), "abcde", "on Linux pwrite appends too");
    });
}

#[test]
fn the_access_mode_is_checked_before_anything_else() {
    in_mount_namespace(|| {
        write("file", "abc");
        let mut byte = [0u8];
        let writer = open("file", O_WRONLY, 0).expect("open");
        assert_errno!(syscall!(SYS_read, &writer, byte.as_mut_ptr(), 1), EBADF);
        let reader = open("file", O_RDONLY, 0).expect("open");
        assert_errno!(syscall!(SYS_write, &reader, byte.as_ptr(), 1), EBADF);
        assert_errno!(syscall!(SYS_ftruncate, &reader, 0), EINVAL);
        assert_errno!(syscall!(SYS_fallocate, &reader, 0, 0, 10), EBADF);
        assert_errno!(syscall!(SYS_read, 999, byte.as_mut_ptr(), 1), EBADF);
        mkdir("directory");
        let directory = open("directory", O_RDONLY, 0).expect("open");
        assert_errno!(syscall!(SYS_read, &directory, byte.as_mut_ptr(), 1), EISDIR);
    });
}

#[test]
fn o_path_descriptors_name_but_do_not_open() {
    in_mount_namespace(|| {
        write("file", "abc");
        std::os::unix::fs::symlink("file", "link").expect("symlink");
        std::fs::set_permissions("file", std::fs::Permissions::from_mode(0o000)).expect("chmod");
        let mut byte = [0u8];
        let path = open("file", O_PATH, 0).expect("open");
        assert_errno!(syscall!(SYS_read, &path, byte.as_mut_ptr(), 1), EBADF);
        assert_errno!(syscall!(SYS_fchmod, &path, 0o600), EBADF);
        assert_errno!(syscall!(SYS_ioctl, &path, libc::FIONREAD, 0usize), EBADF);
        assert_errno!(syscall!(SYS_fgetxattr, &path, c"user.x", 0usize, 0), EBADF);
        assert_eq!(path.metadata().expect("fstat").len(), 3);
        assert_eq!(syscall!(SYS_fcntl, &path, libc::F_GETFL).expect("flags") as i32 & O_PATH, O_PATH);
        let link = open("link", O_PATH | O_NOFOLLOW, 0).expect("open");
        assert!(link.metadata().expect("fstat").is_symlink());
        let mut target = [0u8; 16];
        assert_eq!(syscall!(SYS_readlinkat, &link, c"", target.as_mut_ptr(), 16), Ok(4));
        let reopened = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&path));
        assert_eq!(read(&reopened), "abc", "root reads through the magic link");
        std::fs::set_permissions(&reopened, std::fs::Permissions::from_mode(0o600)).expect("chmod through it");
        assert_eq!(path.metadata().expect("fstat").mode() & 0o777, 0o600);
    });
}

#[test]
fn o_tmpfile_makes_a_nameless_file_that_linkat_can_name() {
    in_mount_namespace(|| {
        let file = open(".", O_TMPFILE | O_RDWR, 0o640).expect("O_TMPFILE");
        assert_eq!(abi::world::names("."), [] as [&str; 0]);
        assert_eq!(file.metadata().expect("fstat").nlink(), 0);
        file.write_all_at(b"abc", 0).expect("write");
        let at = libc::AT_FDCWD;
        assert_eq!(syscall!(SYS_linkat, &file, c"", at, c"named", libc::AT_EMPTY_PATH), Ok(0));
        assert_eq!(read("named"), "abc");
        assert_eq!(file.metadata().expect("fstat").nlink(), 1);
        let sealed = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0o640).expect("O_TMPFILE");
        assert_errno!(syscall!(SYS_linkat, &sealed, c"", at, c"other", libc::AT_EMPTY_PATH), ENOENT);
        assert_errno!(open(".", O_TMPFILE | O_RDONLY, 0o640), EINVAL);
        assert_errno!(open("named", O_TMPFILE | O_RDWR, 0o640), ENOTDIR);
    });
}

#[test]
fn o_tmpfile_is_linked_through_proc_too() {
    in_mount_namespace(|| {
        let file = open(".", O_TMPFILE | O_RDWR, 0o600).expect("O_TMPFILE");
        let magic = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let magic = abi::world::c(&magic);
        let at = libc::AT_FDCWD;
        assert_eq!(syscall!(SYS_linkat, at, magic.as_c_str(), at, c"named", libc::AT_SYMLINK_FOLLOW), Ok(0));
        assert!(abi::world::exists("named"));
    });
}

#[test]
fn holes_read_as_zeroes_and_take_no_space() {
    in_mount_namespace(|| {
        let file = open("file", O_RDWR | O_CREAT, 0o600).expect("open");
        file.write_all_at(b"x", 1 << 20).expect("write");
        assert_eq!(file.metadata().expect("fstat").len(), (1 << 20) + 1);
        assert_eq!(blocks("file"), 8, "one page");
        let mut bytes = [9; 100];
        file.read_exact_at(&mut bytes, 5000).expect("read");
        assert_eq!(bytes, [0; 100]);
        file.set_len(1 << 40).expect("ftruncate");
        assert_eq!(blocks("file"), 8);
        assert_eq!(file.metadata().expect("fstat").len(), 1 << 40);
    });
}

#[test]
fn seek_data_and_seek_hole_find_the_borders() {
    in_mount_namespace(|| {
        let file = open("file", O_RDWR | O_CREAT, 0o600).expect("open");
        file.write_all_at(b"x", 5 * 4096).expect("write");
        file.set_len(10 * 4096).expect("ftruncate");
        assert_eq!(lseek(&file, 0, libc::SEEK_DATA), Ok(5 * 4096));
        assert_eq!(lseek(&file, 0, libc::SEEK_HOLE), Ok(0));
        assert_eq!(lseek(&file, 5 * 4096 + 7, libc::SEEK_HOLE), Ok(6 * 4096));
        assert_eq!(lseek(&file, 5 * 4096 + 7, libc::SEEK_DATA), Ok(5 * 4096 + 7));
        assert_errno!(lseek(&file, 6 * 4096, libc::SEEK_DATA), ENXIO);
        assert_errno!(lseek(&file, 10 * 4096, libc::SEEK_HOLE), ENXIO);
    });
}

#[test]
fn truncation_zeroes_what_is_cut_and_grown_again() {
    in_mount_namespace(|| {
        let file = open("file", O_RDWR | O_CREAT, 0o600).expect("open");
        file.write_all_at(&[7; 8192], 0).expect("write");
        file.set_len(100).expect("ftruncate");
        file.set_len(5000).expect("ftruncate");
        let mut bytes = [9; 5000];
        file.read_exact_at(&mut bytes, 0).expect("read");
        assert!(bytes[..100].iter().all(|&byte| byte == 7) && bytes[100..].iter().all(|&byte| byte == 0));
        assert_eq!(blocks("file"), 8);
        assert_eq!(syscall!(SYS_truncate, c"file", 3), Ok(0));
        assert_errno!(syscall!(SYS_truncate, c"file", -1), EINVAL);
        assert_errno!(syscall!(SYS_truncate, c".", 0), EISDIR);
        assert_errno!(syscall!(SYS_truncate, c"missing", 0), ENOENT);
        assert_eq!(std::fs::metadata("file").expect("stat").len(), 3);
    });
}

#[test]
fn fallocate_allocates_keeps_size_and_punches_holes() {
    in_mount_namespace(|| {
        let file = open("file", O_RDWR | O_CREAT, 0o600).expect("open");
        let fallocate = |mode: i32, offset: i64, len: i64| syscall!(SYS_fallocate, &file, mode, offset, len);
        let len = || file.metadata().expect("fstat").len();
        assert_eq!(fallocate(0, 4096, 4096), Ok(0));
        assert_eq!((len(), blocks("file")), (8192, 8));
        assert_eq!(fallocate(libc::FALLOC_FL_KEEP_SIZE, 8192, 8192), Ok(0));
        assert_eq!((len(), blocks("file")), (8192, 24));
        file.write_all_at(&[5; 4096], 4096).expect("write");
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        assert_eq!(fallocate(punch, 4096 + 10, 20), Ok(0));
        let mut bytes = [9; 40];
        file.read_exact_at(&mut bytes, 4096).expect("read");
        assert!(bytes[..10].iter().all(|&byte| byte == 5) && bytes[10..30].iter().all(|&byte| byte == 0) && bytes[30] == 5);
        assert_eq!(fallocate(punch, 4096, 4096), Ok(0));
        assert_eq!((len(), blocks("file")), (8192, 16));
        assert_errno!(fallocate(0, -1, 10), EINVAL);
        assert_errno!(fallocate(0, 0, 0), EINVAL);
        assert_errno!(fallocate(libc::FALLOC_FL_PUNCH_HOLE, 0, 10), EOPNOTSUPP);
        assert_errno!(fallocate(libc::FALLOC_FL_COLLAPSE_RANGE, 0, 4096), EOPNOTSUPP);
        assert_errno!(fallocate(0, i64::MAX - 1, 10), EFBIG);
        let (reader, writer) = std::io::pipe().expect("pipe");
        assert_errno!(syscall!(SYS_fallocate, &writer, 0, 0, 10), ESPIPE);
        drop(reader);
    });
}

#[test]
fn dup_shares_the_offset_and_flags_but_not_cloexec() {
    in_mount_namespace(|| {
        let file = open("file", O_RDWR | O_CREAT | libc::O_CLOEXEC, 0o600).expect("open");
        let copy = syscall!(SYS_dup, &file).expect("dup");
        assert_eq!(syscall!(SYS_write, copy, c"abc".as_ptr(), 3), Ok(3));
        assert_eq!(lseek(&file, 0, libc::SEEK_CUR), Ok(3));
        assert_eq!(syscall!(SYS_fcntl, copy, libc::F_GETFD), Ok(0));
        assert_eq!(syscall!(SYS_fcntl, &file, libc::F_GETFD), Ok(libc::FD_CLOEXEC as usize));
        syscall!(SYS_fcntl, copy, libc::F_SETFL, O_APPEND).expect("F_SETFL");
        assert_eq!(syscall!(SYS_fcntl, &file, libc::F_GETFL).expect("F_GETFL") as i32 & O_APPEND, O_APPEND);
        assert_errno!(syscall!(SYS_dup3, &file, copy, 1), EINVAL);
        assert_errno!(syscall!(SYS_dup3, copy, copy, 0), EINVAL);
        assert_eq!(syscall!(SYS_dup2, copy, copy), Ok(copy));
        assert_eq!(syscall!(SYS_fcntl, &file, libc::F_DUPFD_CLOEXEC, 50), Ok(50));
        assert_eq!(syscall!(SYS_fcntl, 50, libc::F_GETFD), Ok(libc::FD_CLOEXEC as usize));
        spawn(|| lseek(&file, 77, libc::SEEK_SET).map(drop).expect("lseek")).join();
        assert_eq!(lseek(&file, 0, libc::SEEK_CUR), Ok(77), "fork shares the open file");
    });
}

#[test]
fn close_range_closes_or_marks_a_range() {
    in_child(|| {
        for fd in 20..26 {
            syscall!(SYS_dup3, 0, fd, 0).expect("dup3");
        }
        assert_eq!(syscall!(SYS_close_range, 21, 23, 0), Ok(0));
        let open = |fd: i32| syscall!(SYS_fcntl, fd, libc::F_GETFD);
        assert_eq!([20, 24, 25].map(open), [Ok(0); 3]);
        assert_errno!(open(22), EBADF);
        let cloexec = libc::CLOSE_RANGE_CLOEXEC;
        assert_eq!(syscall!(SYS_close_range, 24, u32::MAX, cloexec), Ok(0));
        assert_eq!([20, 24, 25].map(open), [Ok(0), Ok(1), Ok(1)]);
        assert_errno!(syscall!(SYS_close_range, 9, 8, 0), EINVAL);
        assert_errno!(syscall!(SYS_close_range, 8, 9, 0x100), EINVAL);
    });
}

#[test]
fn times_are_set_exactly_and_now_and_omit_mean_what_they_say() {
    in_mount_namespace(|| {
        touch("file");
        let set = |times: [(i64, i64); 2]| {
            let times = times.map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
            syscall!(SYS_utimensat, libc::AT_FDCWD, c"file", times.as_ptr(), 0)
        };
        let times = || {
            let data = std::fs::metadata("file").expect("stat");
            [(data.atime(), data.atime_nsec()), (data.mtime(), data.mtime_nsec())]
        };
        set([(1000, 123_456_789), (-5, 1)]).expect("utimensat");
        assert_eq!(times(), [(1000, 123_456_789), (-5, 1)]);
        set([(0, libc::UTIME_OMIT), (7, 8)]).expect("utimensat");
        assert_eq!(times(), [(1000, 123_456_789), (7, 8)]);
        set([(0, libc::UTIME_NOW), (0, libc::UTIME_OMIT)]).expect("utimensat");
        assert!(times()[0].0 > 1_577_836_800 && times()[1] == (7, 8));
        assert_errno!(set([(0, 1_000_000_000), (0, 0)]), EINVAL);
        assert_errno!(syscall!(SYS_utimensat, libc::AT_FDCWD, c"missing", 0usize, 0), ENOENT);
        assert_errno!(syscall!(SYS_utimensat, libc::AT_FDCWD, c"file", 0usize, 0x1000_0000), EINVAL);
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(set([(1, 1), (1, 1)]), EPERM);
            assert_errno!(syscall!(SYS_utimensat, libc::AT_FDCWD, c"file", 0usize, 0), EACCES);
        })
        .join();
    });
}

#[test]
fn changes_of_content_and_metadata_move_their_own_times() {
    in_mount_namespace(|| {
        let past = [libc::timespec { tv_sec: 1000, tv_nsec: 0 }; 2];
        touch("file");
        let data = || std::fs::metadata("file").expect("stat");
        let reset = || syscall!(SYS_utimensat, libc::AT_FDCWD, c"file", past.as_ptr(), 0).expect("utimensat");
        reset();
        assert!(data().ctime() > 1000, "the change time cannot be set");
        std::fs::set_permissions("file", std::fs::Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(data().mtime(), 1000);
        open("file", O_WRONLY, 0).expect("open").write_all_at(b"x", 0).expect("write");
        assert!(data().mtime() > 1000 && data().atime() == 1000);
        reset();
        open("file", O_RDWR, 0).expect("open").set_len(0).expect("ftruncate");
        assert!(data().mtime() > 1000);
    });
}

/// Whether a read through a mount with these flags moves the access time, for a file whose access time is `age` old.
fn access_time_moves(flags: u64, atime: i64, mtime: i64) -> bool {
    mkdir("d");
    mount("d", "/tmp/d", "tmpfs", flags, "").expect("mount");
    write("d/file", "abc");
    let times = [atime, mtime].map(|tv_sec| libc::timespec { tv_sec, tv_nsec: 0 });
    syscall!(SYS_utimensat, libc::AT_FDCWD, c"d/file", times.as_ptr(), 0).expect("utimensat");
    assert_eq!(read("d/file"), "abc");
    let moved = std::fs::metadata("d/file").expect("stat").atime() != atime;
    abi::world::umount("d", 0).expect("umount");
    std::fs::remove_dir("d").expect("rmdir");
    moved
}

#[test]
fn access_times_follow_the_mount() {
    in_mount_namespace(|| {
        // 2100: later than any change time. The rule of relatime: older than the modification, than the change, or a day.
        let future = 4_102_444_800;
        assert!(access_time_moves(libc::MS_RELATIME, 1000, 2000));
        assert!(!access_time_moves(libc::MS_RELATIME, future, 2000));
        assert!(!access_time_moves(libc::MS_NOATIME, 1000, 2000));
        assert!(access_time_moves(libc::MS_STRICTATIME, future, 2000));
        assert!(access_time_moves(libc::MS_STRICTATIME | libc::MS_NOATIME, future, 2000)); // Rule F6
    });
}

#[test]
fn o_noatime_is_for_owners_and_root() {
    in_mount_namespace(|| {
        write("file", "x");
        let past = [libc::timespec { tv_sec: 1000, tv_nsec: 0 }; 2];
        syscall!(SYS_utimensat, libc::AT_FDCWD, c"file", past.as_ptr(), 0).expect("utimensat");
        let file = open("file", O_RDONLY | libc::O_NOATIME, 0).expect("open");
        file.read_exact_at(&mut [0], 0).expect("read");
        assert_eq!(file.metadata().expect("fstat").atime(), 1000);
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(open("file", O_RDONLY | libc::O_NOATIME, 0), EPERM);
        })
        .join();
    });
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    in_mount_namespace(|| {
        let file = open("file", O_RDWR | O_CREAT, 0o600).expect("open");
        std::fs::remove_file("file").expect("unlink");
        file.write_all_at(b"still here", 0).expect("write");
        assert_eq!(file.metadata().expect("fstat").nlink(), 0);
        let magic = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert_eq!(std::fs::read_link(&magic).expect("readlink").to_str(), Some("/tmp/file (deleted)"));
        assert_eq!(read(&magic), "still here");
        touch("file");
        assert_eq!(read("file"), "");
    });
}

#[test]
fn descriptor_numbers_are_the_lowest_free() {
    in_child(|| {
        let first = syscall!(SYS_dup, 0).expect("dup");
        let second = syscall!(SYS_dup, 0).expect("dup");
        assert_eq!(second, first + 1);
        syscall!(SYS_close, first).expect("close");
        assert_errno!(syscall!(SYS_close, first), EBADF);
        assert_eq!(syscall!(SYS_dup, 0), Ok(first));
        assert_errno!(syscall!(SYS_close, -1), EBADF);
    });
}

#[test]
fn fsync_and_its_kin_succeed_on_files_and_fail_on_pipes() {
    in_mount_namespace(|| {
        let file = open("file", O_RDWR | O_CREAT, 0o600).expect("open");
        assert_eq!(syscall!(SYS_fsync, &file), Ok(0));
        assert_eq!(syscall!(SYS_fdatasync, &file), Ok(0));
        assert_eq!(syscall!(SYS_syncfs, &file), Ok(0));
        assert_eq!(syscall!(SYS_sync), Ok(0));
        let (_reader, writer) = std::io::pipe().expect("pipe");
        assert_errno!(syscall!(SYS_fsync, &writer), EINVAL);
        assert_errno!(syscall!(SYS_lseek, &writer, 0, 0), ESPIPE);
        assert_errno!(syscall!(SYS_pwrite64, &writer, c"x".as_ptr(), 1, 0), ESPIPE);
        assert_eq!(syscall!(SYS_fadvise64, &file, 0, 0, libc::POSIX_FADV_DONTNEED), Ok(0));
        assert_errno!(syscall!(SYS_fadvise64, &writer, 0, 0, libc::POSIX_FADV_DONTNEED), ESPIPE);
        assert_errno!(syscall!(SYS_fadvise64, &file, 0, 0, 99), EINVAL);
    });
}

#[test]
fn a_large_file_is_written_and_read_back_whole() {
    in_mount_namespace(|| {
        let content: Vec<u8> = (0..1_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        write("file", &content);
        assert!(std::fs::read("file").expect("read") == content);
        let file = open("file", O_RDWR, 0).expect("open");
        let mut middle = vec![0; 10_000];
        file.read_exact_at(&mut middle, 499_999).expect("read");
        assert!(middle == content[499_999..509_999]);
        assert_eq!(blocks("file"), 1_000_000u64.div_ceil(4096) * 8);
    });
}
