//! The rarer calls on files: locks, seeking, allocation, copying, ioctl, poll; and many clients at once.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;

use abi::world::{self, c, read};
use abi::{assert_errno, spawn, syscall};
use fuse::cases::{cached, edit, errno, pattern};
use fuse::server::{MOUNT, in_world};
use fuse::wire::{Body, feature, notify, opened};
use fuse::{Answer, Fs, Setup, op};

fn record_lock(file: &File, command: i32, kind: i32) -> abi::Outcome {
    let lock = libc::flock { l_type: kind as i16, l_whence: 0, l_start: 0, l_len: 10, l_pid: 0 };
    syscall!(SYS_fcntl, file.as_raw_fd(), command, &raw const lock)
}

#[test]
fn fsync_and_fdatasync_say_which() {
    in_world(|| {
        let fs = cached(0, 0, b"");
        let file = edit("/tmp/m/a");
        file.sync_all().expect("fsync");
        assert_eq!(fs.last(op::FSYNC).u32_at(8), 0);
        file.sync_data().expect("fdatasync");
        assert_eq!(fs.last(op::FSYNC).u32_at(8), 1);
        File::open(MOUNT).expect("open").sync_all().expect("fsync of a directory");
        assert_eq!(fs.count(op::FSYNCDIR), 1);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn seeking_to_the_end_asks_and_holes_are_generic_without_lseek() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let mut file = edit("/tmp/m/a");
        fs.tree(|tree| tree.set_content(2, b"hello world"));
        assert_eq!(file.seek(SeekFrom::End(0)).expect("seek"), 11);
        let seek = |offset: i64, whence: i32| syscall!(SYS_lseek, file.as_raw_fd(), offset, whence);
        assert_eq!((seek(3, libc::SEEK_DATA), seek(3, libc::SEEK_HOLE)), (Ok(3), Ok(11)));
        assert_errno!(seek(11, libc::SEEK_DATA), ENXIO);
        assert_eq!(fs.count(op::LSEEK), 1);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn lseek_is_the_servers_if_it_has_it() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        fs.on(op::LSEEK, |_| Answer::Data(Body::default().u64(4).0));
        let file = edit("/tmp/m/a");
        assert_eq!(syscall!(SYS_lseek, file.as_raw_fd(), 1, libc::SEEK_DATA), Ok(4));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn fallocate_goes_through_or_is_eopnotsupp() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let file = edit("/tmp/m/a");
        let allocate = || syscall!(SYS_fallocate, file.as_raw_fd(), 0, 0, 100);
        assert_errno!(allocate(), EOPNOTSUPP);
        assert_errno!(allocate(), EOPNOTSUPP);
        assert_eq!(fs.count(op::FALLOCATE), 1);
        drop(file);
        fs.unmount();
        let fs = Setup::default().tree(|tree| _ = tree.file("a", b"")).on(op::FALLOCATE, |_| Answer::Data(Vec::new())).serve();
        let file = edit("/tmp/m/a");
        syscall!(SYS_fallocate, file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 5, 100).expect("fallocate");
        let request = fs.last(op::FALLOCATE);
        assert_eq!((request.u64_at(8), request.u64_at(16), request.u32_at(24)), (5, 100, libc::FALLOC_FL_KEEP_SIZE as u32));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn copy_file_range_is_asked_and_done_here_without_it() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            tree.file("a", b"hello world");
            tree.file("b", b"");
        });
        let (from, to) = (edit("/tmp/m/a"), edit("/tmp/m/b"));
        let copy = |len: usize| syscall!(SYS_copy_file_range, from.as_raw_fd(), 0, to.as_raw_fd(), 0, len, 0);
        assert_eq!(copy(5), Ok(5));
        assert_eq!((fs.count(op::COPY_FILE_RANGE), read("/tmp/m/b")), (1, "hello".into()));
        drop((from, to));
        fs.unmount();
    });
}

#[test]
fn an_ioctl_carries_what_its_number_says() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b""));
        let file = edit("/tmp/m/a");
        // _IOWR('x', 1, u32)
        let number = 0xc004_7801u32;
        let mut value = 41u32;
        fs.on(op::IOCTL, |request| {
            let given = request.u32_at(32);
            Answer::Data(Body::default().u32(7).u32(0).u32(0).u32(0).u32(given + 1).0)
        });
        assert_eq!(syscall!(SYS_ioctl, file.as_raw_fd(), number, &raw mut value), Ok(7));
        assert_eq!(value, 42);
        fs.fails(op::IOCTL, libc::ENOSYS);
        assert_errno!(syscall!(SYS_ioctl, file.as_raw_fd(), number, &raw mut value), ENOTTY);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn poll_is_the_servers_and_ready_without_it() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b""));
        let file = edit("/tmp/m/a");
        let poll = |timeout: i32| {
            let mut request = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            (syscall!(SYS_poll, &raw mut request, 1, timeout).expect("poll"), request.revents)
        };
        fs.on(op::POLL, |_| Answer::Data(Body::default().u32(0).u32(0).0));
        assert_eq!(poll(0), (0, 0));
        fs.fails(op::POLL, libc::ENOSYS);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(poll(0), (1, libc::POLLIN));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn a_poll_notification_wakes_who_waits() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b""));
        let ready = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let state = ready.clone();
        fs.on(op::POLL, move |_| Answer::Data(Body::default().u32(state.load(std::sync::atomic::Ordering::Relaxed)).u32(0).0));
        let file = edit("/tmp/m/a");
        let fd = file.as_raw_fd();
        let waiter = thread::spawn(move || {
            let mut request = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            syscall!(SYS_poll, &raw mut request, 1, 5000)
        });
        fs.wait_for(op::POLL, 1);
        thread::sleep(std::time::Duration::from_millis(50));
        ready.store(libc::POLLIN as u32, std::sync::atomic::Ordering::Relaxed);
        let handle = fs.last(op::POLL).u64_at(8);
        fs.notify(notify::POLL, &Body::default().u64(handle).0).expect("notify");
        assert_eq!(waiter.join().expect("the waiter"), Ok(1));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn a_file_may_have_no_position() {
    in_world(|| {
        let fs = cached(opened::NONSEEKABLE | opened::DIRECT_IO, 0, b"hello");
        let mut file = File::open("/tmp/m/a").expect("open");
        assert_errno!(syscall!(SYS_lseek, file.as_raw_fd(), 0, libc::SEEK_SET), ESPIPE);
        assert_eq!(errno(file.read_at(&mut [0; 2], 0)), libc::ESPIPE);
        let (mut one, mut two) = ([0; 2], [0; 3]);
        file.read_exact(&mut one).expect("read");
        file.read_exact(&mut two).expect("read");
        assert_eq!((&one, &two), (b"he", b"llo"));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn locks_are_kept_here_unless_the_server_takes_them() {
    in_world(|| {
        let fs = cached(0, 0, b"hello");
        let file = edit("/tmp/m/a");
        record_lock(&file, libc::F_SETLK, libc::F_WRLCK).expect("a lock");
        let child = spawn(|| assert_errno!(record_lock(&edit("/tmp/m/a"), libc::F_SETLK, libc::F_WRLCK), EAGAIN));
        child.join();
        assert_eq!((fs.count(op::SETLK), fs.count(op::GETLK)), (0, 0));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn posix_locks_go_to_a_server_that_takes_them() {
    in_world(|| {
        let fs = cached(0, feature::POSIX_LOCKS, b"hello");
        fs.on(
            op::SETLK,
            |request| if request.u32_at(32) == libc::F_WRLCK as u32 { Answer::Error(libc::EAGAIN) } else { Answer::Data(Vec::new()) },
        );
        let file = edit("/tmp/m/a");
        record_lock(&file, libc::F_SETLK, libc::F_RDLCK).expect("a read lock");
        assert_errno!(record_lock(&file, libc::F_SETLK, libc::F_WRLCK), EAGAIN);
        let request = fs.last(op::SETLK);
        assert_eq!((request.u64_at(16), request.u64_at(24), request.u32_at(36)), (0, 9, std::process::id()));
        fs.on(op::GETLK, |_| Answer::Data(Body::default().u64(2).u64(5).u32(libc::F_WRLCK as u32).u32(77).0));
        let mut lock = libc::flock { l_type: libc::F_RDLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        syscall!(SYS_fcntl, file.as_raw_fd(), libc::F_GETLK, &raw mut lock).expect("F_GETLK");
        assert_eq!((lock.l_type, lock.l_start, lock.l_len), (libc::F_WRLCK as i16, 2, 4));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn flock_goes_to_a_server_that_takes_it() {
    in_world(|| {
        let fs = cached(0, feature::FLOCK_LOCKS, b"hello");
        fs.on(op::SETLK, |_| Answer::Data(Vec::new()));
        let file = edit("/tmp/m/a");
        syscall!(SYS_flock, file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB).expect("flock");
        let request = fs.last(op::SETLK);
        assert_eq!((request.u32_at(32), request.u32_at(40)), (libc::F_WRLCK as u32, 1));
        drop(file);
        fs.wait_for(op::RELEASE, 1);
        assert_eq!(fs.last(op::RELEASE).u32_at(12) & 2, 2);
        fs.unmount();
    });
}

#[test]
fn setuid_bits_go_with_a_write_of_somebody_else() {
    in_world(|| {
        let fs = Setup::default()
            .options(",allow_other")
            .tree(|tree| {
                let node = tree.file("a", b"hello");
                tree.attr(node).mode = libc::S_IFREG | 0o6777;
            })
            .serve();
        fs.ready();
        spawn(|| {
            syscall!(SYS_setgid, 1000).expect("setgid");
            syscall!(SYS_setuid, 1000).expect("setuid");
            edit("/tmp/m/a").write_all(b"x").expect("write");
        })
        .join();
        assert_eq!(fs.tree(|tree| tree.attr(2).mode) & 0o6000, 0);
        fs.unmount();
    });
}

#[test]
fn sixteen_clients_and_four_server_threads_agree_on_every_byte() {
    in_world(|| {
        let sum = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        let fs = Setup::default()
            .threads(4)
            .tree(|tree| {
                for index in 0..16 {
                    tree.file(&format!("in{index}"), &pattern(20_000 + index * 997));
                }
            })
            .serve();
        let clients: Vec<_> = (0..16usize)
            .map(|index| {
                spawn(move || {
                    for round in 0..6 {
                        let content = fs::read(format!("/tmp/m/in{}", (index + round) % 16)).expect("read");
                        let expected = pattern(20_000 + (index + round) % 16 * 997);
                        assert_eq!(sum(&content), sum(&expected));
                        let own = format!("/tmp/m/out{index}");
                        fs::write(&own, &content).expect("write");
                        assert_eq!(sum(&fs::read(&own).expect("read")), sum(&expected));
                        fs::rename(&own, format!("/tmp/m/kept{index}-{round}")).expect("rename");
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(abi::Child::join);
        assert_eq!(world::names(MOUNT).len(), 16 + 16 * 6);
        fs.unmount();
    });
}

#[test]
fn statx_and_c_strings_agree() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let mut words = [0u64; 32];
        syscall!(SYS_statx, libc::AT_FDCWD, c("/tmp/m/a").as_c_str(), 0, 0x7ff, words.as_mut_ptr()).expect("statx");
        assert_eq!(words[5], 5);
        fs.unmount();
    });
}
