//! Advisory locks: record locks of processes and of open files, and flock.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;

use abi::child::{wait_until, wait_until_asleep};
use abi::{Outcome, assert_errno, in_mount_namespace, shared_words, signal, spawn, syscall};
use libc::{F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_RDLCK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN};

fn open() -> File {
    File::options().read(true).write(true).create(true).truncate(false).open("file").expect("open")
}

/// `struct flock`, and what `fcntl` left in it.
fn record(file: &File, command: i32, kind: i32, start: i64, len: i64) -> Outcome<libc::flock> {
    let mut lock = libc::flock { l_type: kind as i16, l_whence: 0, l_start: start, l_len: len, l_pid: 0 };
    syscall!(SYS_fcntl, file, command, &raw mut lock)?;
    Ok(lock)
}

fn set(file: &File, kind: i32, start: i64, len: i64) -> Outcome<()> {
    record(file, F_SETLK, kind, start, len).map(drop)
}

/// What another process finds in the way of a write lock, as (type, start, len).
fn found(start: i64, len: i64) -> (i32, i64, i64) {
    let words = shared_words();
    spawn(|| {
        let lock = record(&open(), F_GETLK, F_WRLCK, start, len).expect("F_GETLK");
        words[0].store(lock.l_type as u32, SeqCst);
        words[1].store(lock.l_start as u32, SeqCst);
        words[2].store(lock.l_len as u32, SeqCst);
    })
    .join();
    let word = |index: usize| i64::from(words[index].load(SeqCst));
    (word(0) as i32, word(1), word(2))
}

#[test]
fn record_locks_of_another_process_are_in_the_way() {
    in_mount_namespace(|| {
        let file = open();
        set(&file, F_RDLCK, 10, 10).expect("lock");
        let own = std::process::id() as i32;
        spawn(|| {
            let file = open();
            set(&file, F_RDLCK, 0, 0).expect("shared");
            set(&file, F_UNLCK, 0, 0).expect("unlock");
            assert_errno!(set(&file, F_WRLCK, 19, 1), EAGAIN);
            set(&file, F_WRLCK, 20, 0).expect("beside it");
            let lock = record(&file, F_GETLK, F_WRLCK, 0, 0).expect("F_GETLK");
            assert_eq!((lock.l_type as i32, lock.l_start, lock.l_len, lock.l_pid), (F_RDLCK, 10, 10, own));
        })
        .join();
        // The child's went with it.
        set(&file, F_WRLCK, 0, 0).expect("lock");
    });
}

#[test]
fn record_locks_are_split_and_joined() {
    in_mount_namespace(|| {
        let file = open();
        set(&file, F_WRLCK, 0, 30).expect("lock");
        set(&file, F_UNLCK, 10, 10).expect("unlock");
        assert_eq!(found(0, 10), (F_WRLCK, 0, 10));
        assert_eq!(found(10, 10).0, F_UNLCK);
        assert_eq!(found(15, 0), (F_WRLCK, 20, 10));
        set(&file, F_RDLCK, 25, 5).expect("to shared");
        assert_eq!(found(22, 0), (F_WRLCK, 20, 5));
        assert_eq!(found(25, 0), (F_RDLCK, 25, 5));
        set(&file, F_WRLCK, 5, 30).expect("lock");
        assert_eq!(found(0, 0), (F_WRLCK, 0, 35));
        set(&file, F_WRLCK, 35, 0).expect("lock");
        assert_eq!(found(100, 1), (F_WRLCK, 0, 0));
    });
}

#[test]
fn ranges_count_from_where_whence_says() {
    in_mount_namespace(|| {
        let file = open();
        file.set_len(100).expect("length");
        let with = |whence: i32, start: i64, len: i64| {
            let mut lock = libc::flock { l_type: F_WRLCK as i16, l_whence: whence as i16, l_start: start, l_len: len, l_pid: 0 };
            syscall!(SYS_fcntl, &file, F_SETLK, &raw mut lock)
        };
        with(libc::SEEK_END, -10, 5).expect("from the end");
        assert_eq!(found(0, 0), (F_WRLCK, 90, 5));
        with(libc::SEEK_SET, 50, -10).expect("backwards");
        assert_eq!(found(0, 0), (F_WRLCK, 40, 10));
        assert_errno!(with(libc::SEEK_SET, -1, 5), EINVAL);
        assert_errno!(with(libc::SEEK_SET, 5, -6), EINVAL);
        assert_errno!(with(libc::SEEK_SET, i64::MAX, 2), EOVERFLOW);
        assert_errno!(with(7, 0, 1), EINVAL);
        assert_errno!(set(&file, 9, 0, 1), EINVAL);
    });
}

#[test]
fn closing_any_descriptor_of_the_file_drops_the_process_locks() {
    in_mount_namespace(|| {
        let file = open();
        set(&file, F_WRLCK, 0, 0).expect("lock");
        drop(open());
        assert_eq!(found(0, 0).0, F_UNLCK);
    });
}

#[test]
fn a_lock_needs_the_access_that_it_is_for() {
    in_mount_namespace(|| {
        drop(open());
        let reader = File::open("file").expect("open");
        assert_errno!(set(&reader, F_WRLCK, 0, 0), EBADF);
        set(&reader, F_RDLCK, 0, 0).expect("read lock");
        let writer = File::options().write(true).open("file").expect("open");
        assert_errno!(set(&writer, F_RDLCK, 0, 0), EBADF);
    });
}

#[test]
fn a_waiting_lock_comes_when_the_other_goes() {
    in_mount_namespace(|| {
        let file = open();
        set(&file, F_WRLCK, 0, 0).expect("lock");
        let words = shared_words();
        let child = spawn(|| {
            let file = open();
            words[0].store(1, SeqCst);
            record(&file, F_SETLKW, F_WRLCK, 0, 0).expect("F_SETLKW");
            assert_eq!(words[1].load(SeqCst), 1);
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        words[1].store(1, SeqCst);
        set(&file, F_UNLCK, 0, 0).expect("unlock");
        child.join();
    });
}

#[test]
fn a_signal_ends_a_wait_for_a_lock() {
    in_mount_namespace(|| {
        let file = open();
        set(&file, F_WRLCK, 0, 0).expect("lock");
        let words = shared_words();
        let child = spawn(|| {
            signal::catch(libc::SIGUSR1, 0);
            let file = open();
            words[0].store(1, SeqCst);
            assert_errno!(record(&file, F_SETLKW, F_RDLCK, 0, 0), EINTR);
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        signal::send(child.pid(), libc::SIGUSR1);
        child.join();
    });
}

#[test]
fn two_that_would_wait_for_each_other_are_told() {
    in_mount_namespace(|| {
        let file = open();
        set(&file, F_WRLCK, 0, 1).expect("lock");
        let words = shared_words();
        let child = spawn(|| {
            let file = open();
            set(&file, F_WRLCK, 1, 1).expect("lock");
            words[0].store(1, SeqCst);
            record(&file, F_SETLKW, F_WRLCK, 0, 1).expect("comes in the end");
        });
        wait_until("it has its lock", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        assert_errno!(record(&file, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
        set(&file, F_UNLCK, 0, 1).expect("unlock");
        child.join();
    });
}

#[test]
fn locks_of_an_open_file_hold_against_the_same_process() {
    in_mount_namespace(|| {
        let (first, second) = (open(), open());
        record(&first, F_OFD_SETLK, F_WRLCK, 0, 10).expect("lock");
        assert_errno!(record(&second, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
        assert_errno!(set(&second, F_WRLCK, 9, 1), EAGAIN);
        let lock = record(&second, F_OFD_GETLK, F_RDLCK, 0, 0).expect("F_OFD_GETLK");
        assert_eq!((lock.l_type as i32, lock.l_start, lock.l_len, lock.l_pid), (F_WRLCK, 0, 10, -1));
        // Another descriptor of the same open file is the same owner, and closing one of two changes nothing.
        let copy = first.try_clone().expect("dup");
        record(&copy, F_OFD_SETLK, F_WRLCK, 0, 20).expect("lock");
        drop(copy);
        assert_errno!(record(&second, F_OFD_SETLK, F_RDLCK, 15, 1), EAGAIN);
        drop(first);
        record(&second, F_OFD_SETLK, F_WRLCK, 0, 0).expect("lock");
        let mut lock = libc::flock { l_type: F_RDLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 5 };
        assert_errno!(syscall!(SYS_fcntl, &second, F_OFD_SETLK, &raw mut lock), EINVAL);
    });
}

#[test]
fn flock_is_of_the_open_file_and_knows_nothing_of_record_locks() {
    in_mount_namespace(|| {
        let (first, second) = (open(), open());
        let flock = |file: &File, operation: i32| syscall!(SYS_flock, file, operation);
        flock(&first, LOCK_SH).expect("shared");
        flock(&second, LOCK_SH | LOCK_NB).expect("shared");
        assert_errno!(flock(&second, LOCK_EX | LOCK_NB), EWOULDBLOCK);
        flock(&first, LOCK_UN).expect("unlock");
        flock(&second, LOCK_EX | LOCK_NB).expect("exclusive");
        assert_errno!(flock(&first, LOCK_SH | LOCK_NB), EWOULDBLOCK);
        set(&first, F_WRLCK, 0, 0).expect("record lock");
        let copy = second.try_clone().expect("dup");
        drop(second);
        assert_errno!(flock(&first, LOCK_SH | LOCK_NB), EWOULDBLOCK);
        flock(&copy, LOCK_UN).expect("unlock");
        flock(&first, LOCK_EX | LOCK_NB).expect("exclusive");
        assert_errno!(flock(&first, 0), EINVAL);
        assert_errno!(syscall!(SYS_flock, -1, LOCK_SH), EBADF);
    });
}

#[test]
fn a_waiting_flock_comes_when_the_other_goes() {
    in_mount_namespace(|| {
        let file = open();
        syscall!(SYS_flock, &file, LOCK_EX).expect("lock");
        let words = shared_words();
        let child = spawn(|| {
            let other = open();
            words[0].store(1, SeqCst);
            syscall!(SYS_flock, &other, LOCK_SH).expect("shared");
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        // The child has a copy of this descriptor: only the explicit unlock lets it on.
        syscall!(SYS_flock, &file, LOCK_UN).expect("unlock");
        child.join();
    });
}

#[test]
fn locks_are_listed_in_proc() {
    in_mount_namespace(|| {
        let file = open();
        set(&file, F_WRLCK, 5, 10).expect("lock");
        syscall!(SYS_flock, &file, LOCK_SH).expect("lock");
        let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
        syscall!(SYS_fstat, file.as_raw_fd(), stat.as_mut_ptr()).expect("fstat");
        // SAFETY: zero is a value of every field, and the call has filled it.
        let inode = unsafe { stat.assume_init() }.st_ino;
        let own = std::process::id();
        let text = std::fs::read_to_string("/proc/locks").expect("/proc/locks");
        let lines: Vec<String> = text.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect();
        let has = |start: &str, end: &str| lines.iter().any(|line| line.starts_with(start) && line.ends_with(end));
        assert!(has(&format!("POSIX ADVISORY WRITE {own} "), &format!(":{inode} 5 14")), "{text}");
        assert!(has(&format!("FLOCK ADVISORY READ {own} "), &format!(":{inode} 0 EOF")), "{text}");
    });
}
