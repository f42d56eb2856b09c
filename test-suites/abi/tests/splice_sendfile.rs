//! Moving data between descriptors without reading it: splice, tee, vmsplice, sendfile, copy_file_range.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::FileExt;

use abi::world::{new_tmpfs, read, write};
use abi::{assert_errno, in_mount_namespace, syscall};

fn open(path: &str) -> File {
    File::options().read(true).write(true).create(true).truncate(false).open(path).expect("open")
}

fn pipe() -> (PipeReader, PipeWriter) {
    std::io::pipe().expect("pipe")
}

fn take(mut reader: &PipeReader, len: usize) -> String {
    let mut bytes = vec![0; len];
    reader.read_exact(&mut bytes).expect("read");
    String::from_utf8(bytes).expect("text")
}

#[test]
fn splice_moves_between_files_and_pipes() {
    in_mount_namespace(|| {
        write("source", "0123456789");
        let (source, target) = (open("source"), open("target"));
        let (reader, writer) = pipe();
        let mut offset = 3i64;
        assert_eq!(syscall!(SYS_splice, &source, &raw mut offset, &writer, 0usize, 4, 0), Ok(4));
        assert_eq!(offset, 7);
        assert_eq!(syscall!(SYS_lseek, &source, 0, libc::SEEK_CUR), Ok(0), "the file's own offset stays");
        assert_eq!(syscall!(SYS_splice, &reader, 0usize, &target, 0usize, 100, 0), Ok(4));
        assert_eq!(read("target"), "3456");
        assert_eq!(syscall!(SYS_splice, &source, 0usize, &writer, 0usize, 100, 0), Ok(10));
        assert_eq!(take(&reader, 10), "0123456789");
        assert_eq!(syscall!(SYS_splice, &source, 0usize, &writer, 0usize, 100, 0), Ok(0), "the end of the file");
    });
}

#[test]
fn splice_needs_a_pipe_and_no_offset_for_it() {
    in_mount_namespace(|| {
        write("source", "x");
        let (source, target) = (open("source"), open("target"));
        let (reader, writer) = pipe();
        let mut offset = 0i64;
        assert_errno!(syscall!(SYS_splice, &source, 0usize, &target, 0usize, 1, 0), EINVAL);
        assert_errno!(syscall!(SYS_splice, &reader, &raw mut offset, &target, 0usize, 1, 0), ESPIPE);
        assert_errno!(syscall!(SYS_splice, &source, 0usize, &writer, 0usize, 1, 0x100), EINVAL);
        assert_errno!(syscall!(SYS_splice, &reader, 0usize, &target, 0usize, 1, libc::SPLICE_F_NONBLOCK), EAGAIN);
        assert_errno!(syscall!(SYS_splice, &reader, 0usize, &writer, 0usize, 1, 0), EINVAL);
        assert_eq!(syscall!(SYS_splice, &source, 0usize, &writer, 0usize, 0, 0), Ok(0));
    });
}

#[test]
fn splice_between_pipes_keeps_order() {
    in_mount_namespace(|| {
        let ((first, mut into), (second, out)) = (pipe(), pipe());
        into.write_all(b"abcdef").expect("write");
        assert_eq!(syscall!(SYS_splice, &first, 0usize, &out, 0usize, 4, 0), Ok(4));
        assert_eq!((take(&second, 4).as_str(), take(&first, 2).as_str()), ("abcd", "ef"));
    });
}

#[test]
fn tee_copies_without_taking() {
    in_mount_namespace(|| {
        let ((first, mut into), (second, out)) = (pipe(), pipe());
        into.write_all(b"twice").expect("write");
        assert_eq!(syscall!(SYS_tee, &first, &out, 100, 0), Ok(5));
        assert_eq!((take(&second, 5).as_str(), take(&first, 5).as_str()), ("twice", "twice"));
        assert_errno!(syscall!(SYS_tee, &first, &out, 1, libc::SPLICE_F_NONBLOCK), EAGAIN);
        assert_errno!(syscall!(SYS_tee, &first, &into, 1, 0), EINVAL);
        assert_errno!(syscall!(SYS_tee, &first, &open("file"), 1, 0), EINVAL);
    });
}

#[test]
fn vmsplice_fills_a_pipe_from_memory() {
    in_mount_namespace(|| {
        let (reader, writer) = pipe();
        let parts = [b"from ".as_slice(), b"memory"];
        let vectors = parts.map(|part| libc::iovec { iov_base: part.as_ptr() as *mut _, iov_len: part.len() });
        assert_eq!(syscall!(SYS_vmsplice, &writer, vectors.as_ptr(), 2, 0), Ok(11));
        assert_eq!(take(&reader, 11), "from memory");
        assert_errno!(syscall!(SYS_vmsplice, &open("file"), vectors.as_ptr(), 2, 0), EBADF);
    });
}

#[test]
fn vmsplice_lends_memory_which_may_change_until_it_is_read() {
    in_mount_namespace(|| {
        let (reader, writer) = pipe();
        let mut text = *b"length 000, ";
        let vector = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
        assert_eq!(syscall!(SYS_vmsplice, &writer, &raw const vector, 1, 0), Ok(12));
        assert_eq!(syscall!(SYS_write, &writer, c"body", 4), Ok(4));
        std::hint::black_box(&mut text)[7..10].copy_from_slice(b"123");
        assert_eq!(take(&reader, 16), "length 123, body");
    });
}

#[test]
fn sendfile_copies_from_a_file_to_anything() {
    in_mount_namespace(|| {
        write("source", "0123456789");
        let source = open("source");
        let (reader, writer) = pipe();
        let mut offset = 8i64;
        assert_eq!(syscall!(SYS_sendfile, &writer, &source, &raw mut offset, 100), Ok(2));
        assert_eq!((offset, take(&reader, 2).as_str()), (10, "89"));
        let target = open("target");
        assert_eq!(syscall!(SYS_sendfile, &target, &source, 0usize, 5), Ok(5));
        assert_eq!(syscall!(SYS_lseek, &source, 0, libc::SEEK_CUR), Ok(5));
        assert_eq!(read("target"), "01234");
        let (one, two) = std::os::unix::net::UnixStream::pair().expect("socketpair");
        assert_eq!(syscall!(SYS_sendfile, &one, &source, 0usize, 100), Ok(5));
        let mut bytes = [0; 5];
        (&two).read_exact(&mut bytes).expect("read");
        assert_eq!(&bytes, b"56789");
        assert_errno!(syscall!(SYS_sendfile, &File::open("target").expect("open"), &source, 0usize, 1), EBADF);
        let mut negative = -1i64;
        assert_errno!(syscall!(SYS_sendfile, &target, &source, &raw mut negative, 1), EINVAL);
    });
}

#[test]
fn copy_file_range_copies_between_files_with_offsets() {
    in_mount_namespace(|| {
        write("source", "0123456789");
        write("target", "abcdefghij");
        let (source, target) = (open("source"), open("target"));
        let (mut from, mut to) = (2i64, 5i64);
        let copied = syscall!(SYS_copy_file_range, &source, &raw mut from, &target, &raw mut to, 3, 0);
        assert_eq!((copied, from, to), (Ok(3), 5, 8));
        assert_eq!(read("target"), "abcde234ij");
        assert_eq!(syscall!(SYS_copy_file_range, &source, 0usize, &target, 0usize, 100, 0), Ok(10));
        assert_eq!(syscall!(SYS_copy_file_range, &source, 0usize, &target, 0usize, 100, 0), Ok(0));
        assert_eq!(read("target"), "0123456789");
        new_tmpfs("/tmp/d");
        let other = open("d/file");
        from = 0;
        let between = syscall!(SYS_copy_file_range, &source, &raw mut from, &other, 0usize, 10, 0);
        assert_errno!(between, EXDEV);
    });
}

#[test]
fn copy_file_range_refuses_what_is_not_a_plain_file() {
    in_mount_namespace(|| {
        write("file", "0123456789");
        let file = open("file");
        let (reader, writer) = pipe();
        assert_errno!(syscall!(SYS_copy_file_range, &file, 0usize, &writer, 0usize, 1, 0), EINVAL);
        assert_errno!(syscall!(SYS_copy_file_range, &reader, 0usize, &file, 0usize, 1, 0), EINVAL);
        let directory = File::open(".").expect("open");
        assert_errno!(syscall!(SYS_copy_file_range, &directory, 0usize, &file, 0usize, 1, 0), EISDIR);
        assert_errno!(syscall!(SYS_copy_file_range, &file, 0usize, &file, 0usize, 1, 1), EINVAL);
        let (mut from, mut to) = (0i64, 3i64);
        let overlapping = syscall!(SYS_copy_file_range, &file, &raw mut from, &file, &raw mut to, 5, 0);
        assert_errno!(overlapping, EINVAL);
        let reading = File::open("file").expect("open");
        assert_errno!(syscall!(SYS_copy_file_range, &file, 0usize, &reading, 0usize, 1, 0), EBADF);
    });
}

#[test]
fn what_sendfile_copied_does_not_change_with_its_source() {
    in_mount_namespace(|| {
        let content = vec![b'a'; 4096];
        write("source", &content);
        let source = open("source");
        let target = open("target");
        assert_eq!(syscall!(SYS_sendfile, &target, &source, 0usize, 4096), Ok(4096));
        source.write_all_at(b"b", 0).expect("write");
        assert!(std::fs::read("target").expect("read") == content, "the copy is a copy");
    });
}
