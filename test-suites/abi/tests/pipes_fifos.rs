//! Pipes and FIFOs: blocking, atomicity, capacity, end of file, opening, and the calls that only they know.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::atomic::Ordering::SeqCst;

use abi::child::{wait_until, wait_until_asleep};
use abi::{assert_errno, in_child, in_mount_namespace, shared_words, signal, spawn, syscall};
use libc::{O_CLOEXEC, O_DIRECT, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY};

/// `pipe2(2)` as files to read and to write.
fn pipe(flags: i32) -> (File, File) {
    let mut ends = [0i32; 2];
    syscall!(SYS_pipe2, ends.as_mut_ptr(), flags).expect("pipe2");
    // SAFETY: both descriptors are new and owned by nobody else.
    unsafe { (OwnedFd::from_raw_fd(ends[0]).into(), OwnedFd::from_raw_fd(ends[1]).into()) }
}

fn mkfifo(path: &str) {
    syscall!(SYS_mknod, abi::world::c(path).as_c_str(), libc::S_IFIFO | 0o600, 0).expect("mknod");
}

fn open(path: &str, flags: i32) -> std::io::Result<File> {
    let access = flags & libc::O_ACCMODE;
    let mut options = File::options();
    options.read(access != O_WRONLY).write(access != O_RDONLY).custom_flags(flags & !libc::O_ACCMODE).open(path)
}

fn read_some(file: &File, len: usize) -> abi::Outcome<Vec<u8>> {
    let mut bytes = vec![0; len];
    let got = syscall!(SYS_read, file, bytes.as_mut_ptr(), len)?;
    bytes.truncate(got);
    Ok(bytes)
}

#[test]
fn bytes_come_out_in_order_and_end_with_the_last_writer() {
    in_child(|| {
        let (reader, mut writer) = pipe(0);
        writer.write_all(b"hello ").expect("write");
        writer.write_all(b"world").expect("write");
        assert_eq!(read_some(&reader, 3), Ok(b"hel".to_vec()));
        let copy = writer.try_clone().expect("dup");
        drop(writer);
        assert_eq!(read_some(&reader, 100), Ok(b"lo world".to_vec()));
        drop(copy);
        assert_eq!(read_some(&reader, 100), Ok(Vec::new()));
    });
}

#[test]
fn a_reader_sleeps_until_there_is_something() {
    in_child(|| {
        let (reader, mut writer) = pipe(0);
        let words = shared_words();
        let child = spawn(|| {
            words[0].store(1, SeqCst);
            assert_eq!(read_some(&reader, 10), Ok(b"x".to_vec()));
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        writer.write_all(b"x").expect("write");
        child.join();
    });
}

#[test]
fn a_full_pipe_holds_the_writer_and_nonblock_is_eagain() {
    in_child(|| {
        let (reader, writer) = pipe(O_NONBLOCK);
        assert_errno!(read_some(&reader, 1), EAGAIN);
        let block = [7u8; 4096];
        let mut written = 0;
        let refusal = loop {
            match syscall!(SYS_write, &writer, block.as_ptr(), 4096) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        assert_eq!((refusal.0, written), (libc::EAGAIN, 65_536), "16 pages");
        let mut available = 0i32;
        syscall!(SYS_ioctl, &reader, libc::FIONREAD, &raw mut available).expect("FIONREAD");
        assert_eq!(available, 65_536);
        syscall!(SYS_fcntl, &writer, libc::F_SETFL, 0).expect("F_SETFL");
        let child = spawn(|| assert_eq!(syscall!(SYS_write, &writer, block.as_ptr(), 4096), Ok(4096)));
        wait_until_asleep(child.pid());
        assert_eq!(read_some(&reader, 4096).map(|bytes| bytes.len()), Ok(4096));
        child.join();
    });
}

#[test]
fn nonblocking_writes_up_to_pipe_buf_are_all_or_nothing() {
    in_child(|| {
        let (reader, writer) = pipe(O_NONBLOCK);
        let bytes = vec![1u8; 65_536];
        assert_eq!(syscall!(SYS_write, &writer, bytes.as_ptr(), 65_000), Ok(65_000));
        assert_errno!(syscall!(SYS_write, &writer, bytes.as_ptr(), 4096), EAGAIN);
        assert_eq!(syscall!(SYS_write, &writer, bytes.as_ptr(), 500), Ok(500), "what still fits in the last page");
        assert_eq!(read_some(&reader, 8192).map(|bytes| bytes.len()), Ok(8192));
        assert_eq!(syscall!(SYS_write, &writer, bytes.as_ptr(), 65_536), Ok(8192), "larger ones are cut");
    });
}

#[test]
fn writes_of_several_processes_do_not_mix() {
    in_child(|| {
        let (mut reader, writer) = pipe(0);
        let writers: Vec<_> = (0..4u8)
            .map(|number| {
                let writer = &writer;
                spawn(move || {
                    let record = [number; 1000];
                    for _ in 0..30 {
                        assert_eq!(syscall!(SYS_write, writer, record.as_ptr(), 1000), Ok(1000));
                    }
                })
            })
            .collect();
        drop(writer);
        let mut records = Vec::new();
        let mut record = [0u8; 1000];
        while reader.read_exact(&mut record).is_ok() {
            assert!(record.iter().all(|&byte| byte == record[0]), "a record in one piece");
            records.push(record[0]);
        }
        assert_eq!(records.len(), 120);
        writers.into_iter().for_each(abi::Child::join);
    });
}

#[test]
fn a_blocked_writer_gets_epipe_when_the_reader_goes() {
    in_child(|| {
        let (reader, writer) = pipe(0);
        let bytes = vec![0u8; 200_000];
        let words = shared_words();
        let child = spawn(|| {
            drop(reader.try_clone().expect("dup"));
            signal::ignore(libc::SIGPIPE);
            syscall!(SYS_close, reader.as_raw_fd()).expect("close");
            words[0].store(1, SeqCst);
            assert_eq!(syscall!(SYS_write, &writer, bytes.as_ptr(), bytes.len()), Ok(65_536), "what went in before");
            assert_errno!(syscall!(SYS_write, &writer, bytes.as_ptr(), 1), EPIPE);
            abi::child::exit_now(5);
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        drop(reader);
        assert_eq!(child.status(), abi::Status::Exited(5));
    });
}

#[test]
fn the_capacity_can_be_changed() {
    in_child(|| {
        let (_reader, writer) = pipe(O_NONBLOCK);
        assert_eq!(syscall!(SYS_fcntl, &writer, libc::F_GETPIPE_SZ), Ok(65_536));
        assert_eq!(syscall!(SYS_fcntl, &writer, libc::F_SETPIPE_SZ, 5000), Ok(8192));
        let bytes = vec![0u8; 10_000];
        assert_eq!(syscall!(SYS_write, &writer, bytes.as_ptr(), 10_000), Ok(8192));
        assert_errno!(syscall!(SYS_fcntl, &writer, libc::F_SETPIPE_SZ, 4096), EBUSY);
        assert_eq!(syscall!(SYS_fcntl, &writer, libc::F_SETPIPE_SZ, 131_072), Ok(131_072));
        assert_errno!(syscall!(SYS_fcntl, &writer, libc::F_SETPIPE_SZ, 0x8000_0001u32), EINVAL);
        let file = File::open("/proc/version").expect("open");
        assert_errno!(syscall!(SYS_fcntl, &file, libc::F_GETPIPE_SZ), EBADF);
    });
}

#[test]
fn packet_mode_keeps_the_borders_of_writes() {
    in_child(|| {
        let (reader, mut writer) = pipe(O_DIRECT);
        writer.write_all(b"first").expect("write");
        writer.write_all(b"second").expect("write");
        assert_eq!(read_some(&reader, 100), Ok(b"first".to_vec()));
        assert_eq!(read_some(&reader, 3), Ok(b"sec".to_vec()), "the rest of a packet is lost");
        drop(writer);
        assert_eq!(read_some(&reader, 100), Ok(Vec::new()));
    });
}

#[test]
fn pipe2_refuses_unknown_flags_and_sets_cloexec() {
    in_child(|| {
        let mut ends = [0i32; 2];
        assert_errno!(syscall!(SYS_pipe2, ends.as_mut_ptr(), 1), EINVAL);
        assert_errno!(syscall!(SYS_pipe2, 0x10usize, 0), EFAULT);
        let (reader, writer) = pipe(O_CLOEXEC | O_NONBLOCK);
        for end in [&reader, &writer] {
            assert_eq!(syscall!(SYS_fcntl, end, libc::F_GETFD), Ok(libc::FD_CLOEXEC as usize));
            assert_eq!(syscall!(SYS_fcntl, end, libc::F_GETFL).expect("F_GETFL") as i32 & O_NONBLOCK, O_NONBLOCK);
        }
        assert_eq!(reader.metadata().expect("fstat").mode(), libc::S_IFIFO | 0o600);
        assert_errno!(syscall!(SYS_write, &reader, c"x".as_ptr(), 1), EBADF);
        assert_errno!(syscall!(SYS_read, &writer, ends.as_mut_ptr(), 1), EBADF);
    });
}

#[test]
fn opening_a_fifo_waits_for_the_other_end() {
    in_mount_namespace(|| {
        mkfifo("fifo");
        let words = shared_words();
        let child = spawn(|| {
            let mut writer = open("fifo", O_WRONLY).expect("open");
            words[0].store(1, SeqCst);
            writer.write_all(b"through").expect("write");
        });
        wait_until_asleep(child.pid());
        assert_eq!(words[0].load(SeqCst), 0);
        let mut reader = open("fifo", O_RDONLY).expect("open");
        let mut content = String::new();
        reader.read_to_string(&mut content).expect("read");
        assert_eq!(content, "through");
        child.join();
    });
}

#[test]
fn nonblocking_opens_of_fifos_do_not_wait() {
    in_mount_namespace(|| {
        mkfifo("fifo");
        assert_errno!(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
        let reader = open("fifo", O_RDONLY | O_NONBLOCK).expect("open");
        assert_eq!(read_some(&reader, 1), Ok(Vec::new()), "no writer yet: end of file");
        let mut writer = open("fifo", O_WRONLY | O_NONBLOCK).expect("open");
        assert_errno!(read_some(&reader, 1), EAGAIN);
        writer.write_all(b"ab").expect("write");
        assert_eq!(read_some(&reader, 9), Ok(b"ab".to_vec()));
        drop(writer);
        assert_eq!(read_some(&reader, 1), Ok(Vec::new()));
        let both = open("fifo", O_RDWR).expect("read and write never waits");
        assert_errno!(read_some(&reader, 1), EAGAIN);
        drop(both);
    });
}

#[test]
fn a_fifo_is_one_pipe_under_every_name_and_mount() {
    in_mount_namespace(|| {
        abi::world::mkdirs(&["d", "e"]);
        mkfifo("d/fifo");
        std::fs::hard_link("d/fifo", "d/other").expect("link");
        abi::world::bind("/tmp/d", "/tmp/e").expect("bind");
        let reader = open("d/fifo", O_RDONLY | O_NONBLOCK).expect("open");
        let mut writer = open("e/other", O_WRONLY | O_NONBLOCK).expect("open");
        std::fs::remove_file("d/fifo").expect("unlink");
        writer.write_all(b"same").expect("write");
        assert_eq!(read_some(&reader, 9), Ok(b"same".to_vec()));
        assert_eq!(std::fs::metadata("d/other").expect("stat").len(), 0);
    });
}

#[test]
fn a_signal_interrupts_opening_a_fifo() {
    in_mount_namespace(|| {
        mkfifo("fifo");
        let words = shared_words();
        let child = spawn(|| {
            signal::catch(libc::SIGUSR1, 0);
            words[0].store(1, SeqCst);
            assert_errno!(syscall!(SYS_open, c"fifo", O_RDONLY), EINTR);
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        signal::send(child.pid(), libc::SIGUSR1);
        child.join();
    });
}

#[test]
fn a_pipe_of_processes_carries_much_data() {
    in_child(|| {
        let (mut first_out, first_in) = pipe(0);
        let (mut second_out, second_in) = pipe(0);
        let len = 500_000usize;
        let producer = spawn(|| {
            let bytes: Vec<u8> = (0..len).map(|number| number as u8).collect();
            (&first_in).write_all(&bytes).expect("write");
        });
        let filter = spawn(|| {
            syscall!(SYS_close, first_in.as_raw_fd()).expect("close");
            let mut bytes = Vec::new();
            (&first_out).read_to_end(&mut bytes).expect("read");
            bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            (&second_in).write_all(&bytes).expect("write");
        });
        drop((first_in, second_in));
        let mut bytes = Vec::new();
        second_out.read_to_end(&mut bytes).expect("read");
        assert_eq!(bytes.len(), len);
        assert!(bytes.iter().enumerate().all(|(number, &byte)| byte == (number as u8).wrapping_add(1)));
        producer.join();
        filter.join();
        assert_eq!(first_out.read(&mut [0; 1]).expect("read"), 0);
    });
}

#[test]
fn the_ends_of_pipes_and_sockets_have_owners_and_modes_that_change() {
    in_child(|| {
        // runc gives a container's pipes to its user.
        let (out, _in) = pipe(0);
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().expect("socketpair");
        for fd in [out.as_raw_fd(), socket.as_raw_fd()] {
            syscall!(SYS_fchown, fd, 1000, 1001).expect("fchown");
            syscall!(SYS_fchmod, fd, 0o640).expect("fchmod");
            let status = std::fs::metadata(format!("/proc/self/fd/{fd}")).expect("stat");
            assert_eq!((status.uid(), status.gid(), status.mode() & 0o7777), (1000, 1001, 0o640));
        }
    });
}
