//! Locks on files: fcntl's of processes, fcntl's of open files, and flock.

use std::fs::File;
use std::sync::atomic::Ordering::SeqCst;

use abi::child::{wait_until, wait_until_asleep};
use abi::world::touch;
use abi::{Outcome, assert_errno, in_mount_namespace, shared_words, signal, spawn, syscall};
use libc::{F_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK};
use libc::{LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN};

fn open() -> File {
    touch("file");
    File::options().read(true).write(true).open("file").expect("open")
}

fn request(kind: i32, start: i64, len: i64) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: start, l_len: len, l_pid: 0 }
}

fn lock(file: &File, command: i32, kind: i32, start: i64, len: i64) -> Outcome {
    let request = request(kind, start, len);
    syscall!(SYS_fcntl, file, command, &raw const request)
}

/// Who holds what against a write lock of the range: (type, start, length, process).
fn holder(file: &File, start: i64, len: i64) -> (i32, i64, i64, i32) {
    let mut request = request(F_WRLCK, start, len);
    syscall!(SYS_fcntl, file, F_GETLK, &raw mut request).expect("F_GETLK");
    (request.l_type.into(), request.l_start, request.l_len, request.l_pid)
}

#[test]
fn process_locks_conflict_between_processes_by_range_and_kind() {
    in_mount_namespace(|| {
        let file = open();
        lock(&file, F_SETLK, F_WRLCK, 10, 10).expect("F_SETLK");
        lock(&file, F_SETLK, F_RDLCK, 30, 10).expect("F_SETLK");
        let me = syscall!(SYS_getpid).expect("getpid") as i32;
        spawn(|| {
            assert_errno!(lock(&file, F_SETLK, F_RDLCK, 15, 1), EAGAIN);
            assert_errno!(lock(&file, F_SETLK, F_WRLCK, 30, 1), EAGAIN);
            lock(&file, F_SETLK, F_RDLCK, 30, 10).expect("readers share");
            lock(&file, F_SETLK, F_WRLCK, 20, 10).expect("what lies between is free");
            assert_eq!(holder(&file, 0, 0), (F_WRLCK, 10, 10, me));
            assert_eq!(holder(&file, 20, 5).0, F_UNLCK, "one's own do not count");
        })
        .join();
        lock(&file, F_SETLK, F_RDLCK, 10, 10).expect("one's own lock can be changed");
        spawn(|| lock(&file, F_SETLK, F_RDLCK, 15, 1).map(drop).expect("F_SETLK")).join();
    });
}

#[test]
fn unlocking_the_middle_splits_a_lock() {
    in_mount_namespace(|| {
        let file = open();
        lock(&file, F_SETLK, F_WRLCK, 0, 0).expect("to the end and beyond");
        lock(&file, F_SETLK, F_UNLCK, 100, 50).expect("F_UNLCK");
        let me = syscall!(SYS_getpid).expect("getpid") as i32;
        spawn(|| {
            assert_eq!(holder(&file, 0, 0), (F_WRLCK, 0, 100, me));
            assert_eq!(holder(&file, 100, 50).0, F_UNLCK);
            assert_eq!(holder(&file, 120, 0), (F_WRLCK, 150, 0, me));
        })
        .join();
    });
}

#[test]
fn process_locks_go_with_any_close_and_with_the_process() {
    in_mount_namespace(|| {
        let file = open();
        let free = |file: &File| {
            let words = shared_words();
            spawn(|| words[0].store(holder(file, 0, 0).0 as u32, SeqCst)).join();
            words[0].load(SeqCst) as i32 == F_UNLCK
        };
        lock(&file, F_SETLK, F_WRLCK, 0, 0).expect("F_SETLK");
        assert!(!free(&file));
        drop(File::open("file").expect("another open file"));
        assert!(free(&file), "closing any descriptor of the file gives the locks up");
        spawn(|| lock(&file, F_SETLK, F_WRLCK, 0, 0).map(drop).expect("F_SETLK")).join();
        assert!(free(&file));
        lock(&file, F_SETLK, F_WRLCK, 0, 0).expect("F_SETLK");
        spawn(|| assert_eq!(holder(&file, 0, 0).0, F_WRLCK)).join();
    });
}

#[test]
fn a_waiting_lock_is_granted_or_interrupted() {
    in_mount_namespace(|| {
        let file = open();
        lock(&file, F_SETLK, F_WRLCK, 0, 0).expect("F_SETLK");
        let waiter = spawn(|| lock(&file, F_SETLKW, F_WRLCK, 0, 0).map(drop).expect("F_SETLKW"));
        wait_until_asleep(waiter.pid());
        lock(&file, F_SETLK, F_UNLCK, 0, 0).expect("F_UNLCK");
        waiter.join();
        lock(&file, F_SETLK, F_WRLCK, 0, 0).expect("F_SETLK");
        let words = shared_words();
        let waiter = spawn(|| {
            signal::catch(libc::SIGUSR1, 0);
            words[0].store(1, SeqCst);
            assert_errno!(lock(&file, F_SETLKW, F_WRLCK, 0, 0), EINTR);
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(waiter.pid());
        signal::send(waiter.pid(), libc::SIGUSR1);
        waiter.join();
    });
}

#[test]
fn a_circle_of_waiters_is_edeadlk() {
    in_mount_namespace(|| {
        let file = open();
        lock(&file, F_SETLK, F_WRLCK, 0, 10).expect("F_SETLK");
        let words = shared_words();
        let other = spawn(|| {
            lock(&file, F_SETLK, F_WRLCK, 10, 10).expect("F_SETLK");
            words[0].store(1, SeqCst);
            lock(&file, F_SETLKW, F_WRLCK, 0, 10).expect("granted in the end");
        });
        wait_until("it holds its lock", || words[0].load(SeqCst) == 1);
        wait_until_asleep(other.pid());
        assert_errno!(lock(&file, F_SETLKW, F_WRLCK, 10, 10), EDEADLK);
        lock(&file, F_SETLK, F_UNLCK, 0, 10).expect("F_UNLCK");
        other.join();
    });
}

#[test]
fn open_file_locks_conflict_within_a_process_and_survive_fork() {
    in_mount_namespace(|| {
        let (one, two) = (open(), open());
        lock(&one, F_OFD_SETLK, F_WRLCK, 0, 0).expect("F_OFD_SETLK");
        assert_errno!(lock(&two, F_OFD_SETLK, F_RDLCK, 0, 1), EAGAIN);
        assert_errno!(lock(&two, F_SETLK, F_RDLCK, 0, 1), EAGAIN);
        spawn(|| lock(&one, F_OFD_SETLK, F_RDLCK, 0, 0).map(drop).expect("the same open file")).join();
        lock(&two, F_OFD_SETLK, F_RDLCK, 0, 1).expect("it is a read lock now");
        assert_eq!(holder(&open(), 0, 0).3, -1, "such locks have no process");
        drop(one);
        drop(open());
        lock(&two, F_OFD_SETLKW, F_WRLCK, 0, 0).expect("gone with their open file only");
        let mut with_process = request(F_WRLCK, 0, 0);
        with_process.l_pid = 1;
        assert_errno!(syscall!(SYS_fcntl, &two, F_OFD_SETLK, &raw const with_process), EINVAL);
    });
}

#[test]
fn lock_requests_are_checked() {
    in_mount_namespace(|| {
        let file = open();
        assert_errno!(lock(&file, F_SETLK, 9, 0, 0), EINVAL);
        assert_errno!(lock(&file, F_SETLK, F_WRLCK, -1, 10), EINVAL);
        let reader = File::open("file").expect("open");
        assert_errno!(lock(&reader, F_SETLK, F_WRLCK, 0, 0), EBADF);
        let writer = File::options().write(true).open("file").expect("open");
        assert_errno!(lock(&writer, F_SETLK, F_RDLCK, 0, 0), EBADF);
        assert_eq!(lock(&file, F_SETLK, F_WRLCK, 10, -5), Ok(0), "a negative length lies before the start");
        spawn(|| assert_eq!(holder(&file, 0, 0).1, 5)).join();
    });
}

#[test]
fn flock_belongs_to_the_open_file() {
    in_mount_namespace(|| {
        let (one, two) = (open(), open());
        let flock = |file: &File, operation: i32| syscall!(SYS_flock, file, operation);
        flock(&one, LOCK_SH).expect("flock");
        flock(&two, LOCK_SH).expect("flock");
        assert_errno!(flock(&two, LOCK_EX | LOCK_NB), EWOULDBLOCK);
        flock(&two, LOCK_UN).expect("flock");
        flock(&one, LOCK_EX).expect("raised");
        assert_errno!(flock(&two, LOCK_SH | LOCK_NB), EWOULDBLOCK);
        spawn(|| flock(&one, LOCK_UN).map(drop).expect("a forked copy is the same open file")).join();
        flock(&two, LOCK_EX | LOCK_NB).expect("flock");
        lock(&one, F_SETLK, F_WRLCK, 0, 0).expect("the two kinds do not see each other");
        assert_errno!(flock(&one, 0), EINVAL);
        let waiter = spawn(|| flock(&one, LOCK_EX).map(drop).expect("flock"));
        wait_until_asleep(waiter.pid());
        flock(&two, LOCK_UN).expect("flock");
        waiter.join();
    });
}
