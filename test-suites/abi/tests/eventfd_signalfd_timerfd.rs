//! Descriptors that count events, carry signals, and tell time.

use std::time::{Duration, Instant};

use abi::child::{wait_until, wait_until_asleep};
use abi::{Outcome, assert_errno, in_child, signal, spawn, syscall};
use libc::{CLOCK_MONOTONIC, EFD_NONBLOCK, EFD_SEMAPHORE, POLLIN, POLLOUT, SIGUSR1, SIGUSR2, TFD_NONBLOCK};

fn eventfd(initial: u32, flags: i32) -> i32 {
    syscall!(SYS_eventfd2, initial, flags).expect("eventfd2") as i32
}

fn read_count(fd: i32) -> Outcome<u64> {
    let mut count = 0u64;
    let len = syscall!(SYS_read, fd, &raw mut count, 8)?;
    assert_eq!(len, 8);
    Ok(count)
}

fn add(fd: i32, count: u64) -> Outcome {
    syscall!(SYS_write, fd, &raw const count, 8)
}

fn ready(fd: i32) -> i16 {
    let mut poll = libc::pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
    syscall!(SYS_poll, &raw mut poll, 1, 0).expect("poll");
    poll.revents
}

fn set_timer(fd: i32, first_ms: i64, every_ms: i64) {
    let times = [every_ms, first_ms].map(|ms| libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 });
    syscall!(SYS_timerfd_settime, fd, 0, times.as_ptr(), 0usize).expect("timerfd_settime");
}

/// Reads one `signalfd_siginfo` and gives signal, code, sender and the integer sent along.
fn read_signal(fd: i32) -> Outcome<(i32, i32, i32, i32)> {
    let mut info = [0i32; 32];
    let len = syscall!(SYS_read, fd, info.as_mut_ptr(), 128)?;
    assert_eq!(len, 128);
    Ok((info[0], info[2], info[3], info[11]))
}

#[test]
fn an_eventfd_adds_up_and_empties_at_once() {
    in_child(|| {
        let fd = eventfd(3, EFD_NONBLOCK);
        add(fd, 4).expect("write");
        assert_eq!(read_count(fd), Ok(7));
        assert_errno!(read_count(fd), EAGAIN);
        add(fd, u64::MAX - 1).expect("the largest count");
        assert_errno!(add(fd, 1), EAGAIN);
        assert_errno!(add(fd, u64::MAX), EINVAL);
        assert_eq!(ready(fd), POLLIN);
        assert_eq!(read_count(fd), Ok(u64::MAX - 1));
        assert_eq!(ready(fd), POLLOUT);
        assert_errno!(syscall!(SYS_read, fd, [0u8; 4].as_mut_ptr(), 4), EINVAL);
        assert_errno!(syscall!(SYS_write, fd, [0u8; 4].as_ptr(), 4), EINVAL);
    });
}

#[test]
fn a_semaphore_eventfd_counts_down_by_one() {
    in_child(|| {
        let fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
        assert_eq!([read_count(fd), read_count(fd)], [Ok(1), Ok(1)]);
        assert_errno!(read_count(fd), EAGAIN);
    });
}

#[test]
fn an_eventfd_wakes_a_reader_in_another_process() {
    in_child(|| {
        let fd = eventfd(0, 0);
        let reader = spawn(|| assert_eq!(read_count(fd), Ok(5)));
        wait_until_asleep(reader.pid());
        add(fd, 5).expect("write");
        reader.join();
    });
}

#[test]
fn a_signalfd_reads_blocked_signals_with_their_information() {
    in_child(|| {
        signal::set_mask(&[SIGUSR1, SIGUSR2]);
        let set = signal::bits(&[SIGUSR1]);
        let fd = syscall!(SYS_signalfd4, -1, &raw const set, 8, libc::SFD_NONBLOCK).expect("signalfd4") as i32;
        assert_errno!(read_signal(fd), EAGAIN);
        let me = syscall!(SYS_getpid).expect("getpid") as i32;
        signal::send(me, SIGUSR1);
        signal::send(me, SIGUSR2);
        assert_eq!(ready(fd), POLLIN);
        assert_eq!(read_signal(fd), Ok((SIGUSR1, libc::SI_USER, me, 0)));
        assert_errno!(read_signal(fd), EAGAIN);
        assert_eq!(signal::pending(), signal::bits(&[SIGUSR2]));
        let both = signal::bits(&[SIGUSR1, SIGUSR2]);
        assert_eq!(syscall!(SYS_signalfd4, fd, &raw const both, 8, 0), Ok(fd as usize));
        assert_eq!(read_signal(fd).map(|found| found.0), Ok(SIGUSR2));
        // SAFETY: sigqueue touches no memory of ours.
        unsafe { libc::sigqueue(me, SIGUSR1, libc::sigval { sival_ptr: 42 as *mut _ }) };
        assert_eq!(read_signal(fd), Ok((SIGUSR1, libc::SI_QUEUE, me, 42)));
        assert_errno!(syscall!(SYS_read, fd, [0u8; 64].as_mut_ptr(), 64), EINVAL);
        assert_errno!(syscall!(SYS_signalfd4, 0, &raw const both, 8, 0), EINVAL);
        assert_errno!(syscall!(SYS_signalfd4, -1, &raw const both, 4, 0), EINVAL);
    });
}

#[test]
fn a_signalfd_tells_the_end_of_children() {
    in_child(|| {
        signal::set_mask(&[libc::SIGCHLD]);
        let set = signal::bits(&[libc::SIGCHLD]);
        let fd = syscall!(SYS_signalfd4, -1, &raw const set, 8, 0).expect("signalfd4") as i32;
        let child = spawn(|| abi::child::exit_now(9));
        let mut info = [0i32; 32];
        assert_eq!(syscall!(SYS_read, fd, info.as_mut_ptr(), 128), Ok(128));
        assert_eq!((info[0], info[2], info[3], info[10]), (libc::SIGCHLD, libc::CLD_EXITED, child.pid(), 9));
        assert_eq!(child.status(), abi::Status::Exited(9));
    });
}

#[test]
fn a_timerfd_counts_expirations() {
    in_child(|| {
        let fd = syscall!(SYS_timerfd_create, CLOCK_MONOTONIC, TFD_NONBLOCK).expect("timerfd_create") as i32;
        assert_errno!(read_count(fd), EAGAIN);
        set_timer(fd, 5, 5);
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(ready(fd), POLLIN);
        assert!(read_count(fd).is_ok_and(|count| count >= 7));
        set_timer(fd, 0, 0);
        std::thread::sleep(Duration::from_millis(10));
        assert_errno!(read_count(fd), EAGAIN);
        assert_errno!(syscall!(SYS_write, fd, [0u64].as_ptr(), 8), EINVAL);
    });
}

#[test]
fn a_timerfd_reader_sleeps_until_the_time() {
    in_child(|| {
        let fd = syscall!(SYS_timerfd_create, CLOCK_MONOTONIC, 0).expect("timerfd_create") as i32;
        let start = Instant::now();
        set_timer(fd, 25, 0);
        assert_eq!(read_count(fd), Ok(1));
        assert!(start.elapsed() >= Duration::from_millis(25));
    });
}

#[test]
fn timerfd_gettime_tells_what_is_left_and_absolute_times_work() {
    in_child(|| {
        let fd = syscall!(SYS_timerfd_create, libc::CLOCK_REALTIME, TFD_NONBLOCK).expect("timerfd_create") as i32;
        let start = Instant::now();
        set_timer(fd, 100_000, 7_000);
        let mut left = [libc::timespec { tv_sec: 0, tv_nsec: 0 }; 2];
        syscall!(SYS_timerfd_gettime, fd, left.as_mut_ptr()).expect("timerfd_gettime");
        let passed = start.elapsed();
        assert_eq!((left[0].tv_sec, left[0].tv_nsec), (7, 0));
        let first = Duration::new(left[1].tv_sec as u64, left[1].tv_nsec as u32);
        let asked = Duration::from_secs(100);
        assert!(first <= asked && first + passed >= asked, "{first:?} of {asked:?} after {passed:?}");
        let past = [libc::timespec { tv_sec: 0, tv_nsec: 0 }, libc::timespec { tv_sec: 1, tv_nsec: 0 }];
        let mut old = left;
        syscall!(SYS_timerfd_settime, fd, libc::TFD_TIMER_ABSTIME, past.as_ptr(), old.as_mut_ptr()).expect("timerfd_settime");
        assert_eq!(old[0].tv_sec, 7, "the old setting");
        // A time that has passed expires at once: with the next interrupt, which a loaded machine may deliver late.
        wait_until("it expires", || ready(fd) == POLLIN);
        assert_eq!(read_count(fd), Ok(1));
        let wrong = [libc::timespec { tv_sec: 0, tv_nsec: 0 }, libc::timespec { tv_sec: 0, tv_nsec: -1 }];
        assert_errno!(syscall!(SYS_timerfd_settime, fd, 0, wrong.as_ptr(), 0usize), EINVAL);
        assert_errno!(syscall!(SYS_timerfd_settime, 0, 0, past.as_ptr(), 0usize), EINVAL);
    });
}
