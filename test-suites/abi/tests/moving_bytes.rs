//! Bytes moved inside the kernel: splice, tee, vmsplice, sendfile, copy_file_range.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use abi::{assert_errno, in_child, in_mount_namespace, syscall};
use libc::{O_NONBLOCK, SPLICE_F_NONBLOCK};

fn pipe(flags: i32) -> (File, File) {
    let mut ends = [0i32; 2];
    syscall!(SYS_pipe2, ends.as_mut_ptr(), flags).expect("pipe2");
    // SAFETY: both descriptors are new and owned by nobody else.
    unsafe { (OwnedFd::from_raw_fd(ends[0]).into(), OwnedFd::from_raw_fd(ends[1]).into()) }
}

fn file_of(name: &str, content: &[u8]) -> File {
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(name).expect("open");
    file.write_all(content).expect("write");
    file.seek(SeekFrom::Start(0)).expect("seek");
    file
}

fn all_of(file: &mut File) -> Vec<u8> {
    file.seek(SeekFrom::Start(0)).expect("seek");
    let mut content = Vec::new();
    file.read_to_end(&mut content).expect("read");
    content
}

fn some_of(mut source: impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let count = source.read(&mut bytes).expect("read");
    bytes.truncate(count);
    bytes
}

const NONE: usize = 0;

#[test]
fn splice_moves_a_file_into_a_pipe_and_out_again() {
    in_mount_namespace(|| {
        let mut source = file_of("a", b"hello world");
        let mut target = file_of("b", b"");
        let (reader, writer) = pipe(0);
        let mut offset = 6i64;
        assert_eq!(syscall!(SYS_splice, &source, &raw mut offset, &writer, NONE, 100, 0), Ok(5));
        assert_eq!(offset, 11);
        assert_eq!(source.stream_position().expect("position"), 0);
        assert_eq!(syscall!(SYS_splice, &source, NONE, &writer, NONE, 5, 0), Ok(5));
        assert_eq!(source.stream_position().expect("position"), 5);
        assert_eq!(syscall!(SYS_splice, &reader, NONE, &target, NONE, 7, 0), Ok(7));
        let mut offset = 20i64;
        assert_eq!(syscall!(SYS_splice, &reader, NONE, &target, &raw mut offset, 3, 0), Ok(3));
        assert_eq!(offset, 23);
        assert_eq!(all_of(&mut target), b"worldhe\0\0\0\0\0\0\0\0\0\0\0\0\0llo");
    });
}

#[test]
fn splice_between_pipes_and_its_refusals() {
    in_mount_namespace(|| {
        let (first_reader, mut first_writer) = pipe(0);
        let (second_reader, second_writer) = pipe(0);
        first_writer.write_all(b"abcdef").expect("write");
        assert_eq!(syscall!(SYS_splice, &first_reader, NONE, &second_writer, NONE, 4, 0), Ok(4));
        assert_eq!(some_of(&second_reader, 10), b"abcd");
        assert_eq!(some_of(&first_reader, 10), b"ef");
        assert_errno!(syscall!(SYS_splice, &first_reader, NONE, &second_writer, NONE, 4, SPLICE_F_NONBLOCK), EAGAIN);
        assert_errno!(syscall!(SYS_splice, &first_reader, NONE, &first_writer, NONE, 4, 0), EINVAL);
        let mut offset = 0i64;
        assert_errno!(syscall!(SYS_splice, &first_reader, &raw mut offset, &second_writer, NONE, 4, 0), ESPIPE);
        let file = file_of("a", b"x");
        assert_errno!(syscall!(SYS_splice, &file, NONE, &file, NONE, 4, 0), EINVAL);
        assert_errno!(syscall!(SYS_splice, &first_writer, NONE, &second_writer, NONE, 4, 0), EBADF);
        assert_errno!(syscall!(SYS_splice, &first_reader, NONE, &second_writer, NONE, 4, 0x100), EINVAL);
        let append = File::options().append(true).open("a").expect("open");
        assert_errno!(syscall!(SYS_splice, &first_reader, NONE, &append, NONE, 4, 0), EINVAL);
        drop(first_writer);
        assert_eq!(syscall!(SYS_splice, &first_reader, NONE, &second_writer, NONE, 4, 0), Ok(0));
    });
}

#[test]
fn tee_copies_and_leaves_the_bytes() {
    in_child(|| {
        let (first_reader, mut first_writer) = pipe(0);
        let (second_reader, second_writer) = pipe(0);
        first_writer.write_all(b"abcdef").expect("write");
        assert_eq!(syscall!(SYS_tee, &first_reader, &second_writer, 4, 0), Ok(4));
        assert_eq!(some_of(&second_reader, 10), b"abcd");
        assert_eq!(some_of(&first_reader, 10), b"abcdef");
        assert_errno!(syscall!(SYS_tee, &first_reader, &second_writer, 4, SPLICE_F_NONBLOCK), EAGAIN);
        assert_errno!(syscall!(SYS_tee, &first_reader, &first_writer, 4, 0), EINVAL);
    });
}

#[test]
fn vmsplice_goes_both_ways() {
    in_child(|| {
        let (reader, writer) = pipe(O_NONBLOCK);
        let (mut first, mut second) = (*b"one", *b"two!");
        let segments = [
            libc::iovec { iov_base: first.as_mut_ptr().cast(), iov_len: 3 },
            libc::iovec { iov_base: second.as_mut_ptr().cast(), iov_len: 4 },
        ];
        assert_eq!(syscall!(SYS_vmsplice, &writer, segments.as_ptr(), 2, 0), Ok(7));
        let mut back = [0u8; 10];
        let segment = libc::iovec { iov_base: back.as_mut_ptr().cast(), iov_len: 10 };
        assert_eq!(syscall!(SYS_vmsplice, &reader, &raw const segment, 1, 0), Ok(7));
        assert_eq!(&back[..7], b"onetwo!");
        let null = File::open("/dev/null").expect("open");
        assert_errno!(syscall!(SYS_vmsplice, &null, &raw const segment, 1, 0), EBADF);
    });
}

#[test]
fn sendfile_to_a_socket_a_pipe_and_a_file() {
    in_mount_namespace(|| {
        let content: Vec<u8> = (0..100_000u32).map(|index| (index % 251) as u8).collect();
        let mut source = file_of("a", &content);
        let mut target = file_of("b", b"");
        assert_eq!(syscall!(SYS_sendfile, &target, &source, NONE, 200_000), Ok(100_000));
        assert_eq!(all_of(&mut target), content);
        assert_eq!(source.stream_position().expect("position"), 100_000);
        let mut offset = 10i64;
        let (socket, peer) = UnixStream::pair().expect("socketpair");
        assert_eq!(syscall!(SYS_sendfile, &socket, &source, &raw mut offset, 20), Ok(20));
        assert_eq!(offset, 30);
        assert_eq!(some_of(&peer, 100), content[10..30]);
        let (reader, writer) = pipe(0);
        assert_eq!(syscall!(SYS_sendfile, &writer, &source, &raw mut offset, 5), Ok(5));
        assert_eq!(some_of(&reader, 100), content[30..35]);
        assert_eq!(source.stream_position().expect("position"), 100_000);
    });
}

#[test]
fn sendfile_refuses_wrong_files() {
    in_mount_namespace(|| {
        let source = file_of("a", b"abc");
        let (reader, writer) = pipe(0);
        let mut offset = 0i64;
        assert_errno!(syscall!(SYS_sendfile, &source, &reader, &raw mut offset, 3), ESPIPE);
        assert_errno!(syscall!(SYS_sendfile, &source, &writer, NONE, 3), EBADF);
        assert_errno!(syscall!(SYS_sendfile, &reader, &source, NONE, 3), EBADF);
        let append = File::options().append(true).open("a").expect("open");
        assert_errno!(syscall!(SYS_sendfile, &append, &source, NONE, 3), EINVAL);
        let mut negative = -1i64;
        assert_errno!(syscall!(SYS_sendfile, &writer, &source, &raw mut negative, 3), EINVAL);
    });
}

#[test]
fn copy_file_range_copies_between_files() {
    in_mount_namespace(|| {
        let mut source = file_of("a", b"hello world");
        let mut target = file_of("b", b"................");
        let (mut from, mut to) = (6i64, 3i64);
        assert_eq!(syscall!(SYS_copy_file_range, &source, &raw mut from, &target, &raw mut to, 100, 0), Ok(5));
        assert_eq!((from, to), (11, 8));
        assert_eq!(all_of(&mut target), b"...world........");
        source.seek(SeekFrom::Start(0)).expect("seek");
        target.seek(SeekFrom::Start(10)).expect("seek");
        assert_eq!(syscall!(SYS_copy_file_range, &source, NONE, &target, NONE, 5, 0), Ok(5));
        assert_eq!(source.stream_position().expect("position"), 5);
        assert_eq!(target.stream_position().expect("position"), 15);
        assert_eq!(all_of(&mut target), b"...world..hello.");
        let mut end = 11i64;
        assert_eq!(syscall!(SYS_copy_file_range, &source, &raw mut end, &target, NONE, 5, 0), Ok(0));
    });
}

#[test]
fn copy_file_range_refuses_overlaps_pipes_and_directories() {
    in_mount_namespace(|| {
        let file = file_of("a", b"hello world");
        let (mut from, mut to) = (0i64, 3i64);
        assert_errno!(syscall!(SYS_copy_file_range, &file, &raw mut from, &file, &raw mut to, 5, 0), EINVAL);
        let mut beyond = 20i64;
        assert_eq!(syscall!(SYS_copy_file_range, &file, &raw mut from, &file, &raw mut beyond, 5, 0), Ok(5));
        let (reader, writer) = pipe(0);
        assert_errno!(syscall!(SYS_copy_file_range, &reader, NONE, &file, NONE, 5, 0), EINVAL);
        assert_errno!(syscall!(SYS_copy_file_range, &file, NONE, &writer, NONE, 5, 0), EINVAL);
        assert_errno!(syscall!(SYS_copy_file_range, &file, NONE, &file, NONE, 5, 1), EINVAL);
        let directory = File::open(".").expect("open");
        assert_errno!(syscall!(SYS_copy_file_range, &directory, NONE, &file, NONE, 5, 0), EISDIR);
        let append = File::options().append(true).open("a").expect("open");
        assert_errno!(syscall!(SYS_copy_file_range, &file, NONE, &append, NONE, 5, 0), EBADF);
    });
}
