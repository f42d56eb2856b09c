//! Descriptors for events: eventfd, timerfd, signalfd.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use abi::child::{wait_until, wait_until_asleep};
use abi::{Outcome, assert_errno, in_child, shared_words, signal, spawn, syscall};
use libc::{CLOCK_MONOTONIC, CLOCK_REALTIME, EFD_NONBLOCK, EFD_SEMAPHORE, SIGCHLD, SIGUSR1, SIGUSR2};

fn owned(fd: usize) -> File {
    // SAFETY: the descriptor is new and owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }.into()
}

fn eventfd(initial: u32, flags: i32) -> File {
    owned(syscall!(SYS_eventfd2, initial, flags).expect("eventfd2"))
}

fn take(file: &File) -> Outcome<u64> {
    let mut value = 0u64;
    syscall!(SYS_read, file, &raw mut value, 8)?;
    Ok(value)
}

fn add(file: &File, value: u64) -> Outcome {
    syscall!(SYS_write, file, &raw const value, 8)
}

fn events(file: &File) -> i16 {
    let mut request = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN | libc::POLLOUT, revents: 0 };
    syscall!(SYS_poll, &raw mut request, 1, 0).expect("poll");
    request.revents
}

#[test]
fn an_eventfd_sums_what_is_written_and_is_emptied_by_a_read() {
    in_child(|| {
        let file = eventfd(3, EFD_NONBLOCK);
        assert_eq!(add(&file, 4), Ok(8));
        assert_eq!(take(&file), Ok(7));
        assert_errno!(take(&file), EAGAIN);
        assert_errno!(add(&file, u64::MAX), EINVAL);
        let mut short = 0u32;
        assert_errno!(syscall!(SYS_read, &file, &raw mut short, 4), EINVAL);
        assert_errno!(syscall!(SYS_write, &file, &raw const short, 4), EINVAL);
        // There is no position, but seeking is not an error.
        assert_eq!(syscall!(SYS_lseek, &file, 5, libc::SEEK_SET), Ok(0));
        assert_errno!(syscall!(SYS_pread64, &file, &raw mut short, 4, 0), ESPIPE);
    });
}

#[test]
fn a_semaphore_eventfd_gives_one_at_a_time() {
    in_child(|| {
        let file = eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE);
        assert_eq!(take(&file), Ok(1));
        assert_eq!(take(&file), Ok(1));
        assert_errno!(take(&file), EAGAIN);
    });
}

#[test]
fn a_full_eventfd_cannot_be_written_until_it_is_read() {
    in_child(|| {
        let file = eventfd(0, EFD_NONBLOCK);
        assert_eq!(events(&file), libc::POLLOUT);
        assert_eq!(add(&file, u64::MAX - 1), Ok(8));
        assert_eq!(events(&file), libc::POLLIN);
        assert_errno!(add(&file, 1), EAGAIN);
        assert_eq!(take(&file), Ok(u64::MAX - 1));
        assert_eq!(events(&file), libc::POLLOUT);
    });
}

#[test]
fn a_reader_of_an_empty_eventfd_sleeps_until_it_is_written() {
    in_child(|| {
        let file = eventfd(0, 0);
        let words = shared_words();
        let child = spawn(|| {
            words[0].store(1, SeqCst);
            assert_eq!(take(&file), Ok(9));
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        add(&file, 9).expect("write");
        child.join();
    });
}

#[test]
fn event_descriptors_have_no_type_and_are_named_in_proc() {
    in_child(|| {
        let file = eventfd(0, 0);
        let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("readlink");
        assert_eq!(name.to_str(), Some("anon_inode:[eventfd]"));
        let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
        syscall!(SYS_fstat, &file, stat.as_mut_ptr()).expect("fstat");
        // SAFETY: zero is a value of every field, and the call has filled it.
        assert_eq!(unsafe { stat.assume_init() }.st_mode, 0o600);
    });
}

fn timerfd(clock: i32, flags: i32) -> File {
    owned(syscall!(SYS_timerfd_create, clock, flags).expect("timerfd_create"))
}

fn setting(interval: Duration, value: Duration) -> [i64; 4] {
    let parts = |time: Duration| [time.as_secs() as i64, i64::from(time.subsec_nanos())];
    let ([a, b], [c, d]) = (parts(interval), parts(value));
    [a, b, c, d]
}

fn set_timer(file: &File, flags: i32, setting: [i64; 4]) -> Outcome<[i64; 4]> {
    let mut old = [0i64; 4];
    syscall!(SYS_timerfd_settime, file, flags, setting.as_ptr(), old.as_mut_ptr())?;
    Ok(old)
}

const NEVER: Duration = Duration::ZERO;

#[test]
fn a_timerfd_expires_once_or_again_and_again() {
    in_child(|| {
        let file = timerfd(CLOCK_MONOTONIC, 0);
        let start = Instant::now();
        set_timer(&file, 0, setting(NEVER, Duration::from_millis(30))).expect("settime");
        assert_eq!(events(&file), 0);
        assert_eq!(take(&file), Ok(1));
        assert!(start.elapsed() >= Duration::from_millis(30), "{:?}", start.elapsed());
        set_timer(&file, 0, setting(Duration::from_millis(10), Duration::from_millis(10))).expect("settime");
        std::thread::sleep(Duration::from_millis(55));
        let expired = take(&file).expect("read");
        assert!(expired >= 5, "{expired}");
        assert!(take(&file).expect("read") >= 1);
        let old = set_timer(&file, 0, setting(NEVER, NEVER)).expect("settime");
        assert_eq!(old[..2], [0, 10_000_000]);
        assert!(old[2] == 0 && (1..=10_000_000).contains(&old[3]), "{old:?}");
        let mut left = [9i64; 4];
        syscall!(SYS_timerfd_gettime, &file, left.as_mut_ptr()).expect("gettime");
        assert_eq!(left, [0; 4]);
    });
}

#[test]
fn an_absolute_time_that_has_passed_expires_at_once() {
    in_child(|| {
        for clock in [CLOCK_MONOTONIC, CLOCK_REALTIME] {
            let file = timerfd(clock, libc::TFD_NONBLOCK);
            assert_errno!(take(&file), EAGAIN);
            set_timer(&file, libc::TFD_TIMER_ABSTIME, [0, 0, 0, 1]).expect("settime");
            wait_until("it expired", || events(&file) & libc::POLLIN != 0);
            assert_eq!(take(&file), Ok(1));
            assert_errno!(take(&file), EAGAIN);
        }
    });
}

#[test]
fn a_timerfd_refuses_what_is_no_time_or_no_clock() {
    in_child(|| {
        let file = timerfd(CLOCK_MONOTONIC, 0);
        assert_errno!(set_timer(&file, 0, [0, 0, 0, 1_000_000_000]), EINVAL);
        assert_errno!(set_timer(&file, 0, [-1, 0, 0, 1]), EINVAL);
        assert_errno!(set_timer(&file, 8, [0, 0, 0, 1]), EINVAL);
        assert_errno!(set_timer(&eventfd(0, 0), 0, [0, 0, 0, 1]), EINVAL);
        assert_errno!(syscall!(SYS_timerfd_create, 77, 0), EINVAL);
        assert_errno!(syscall!(SYS_timerfd_create, CLOCK_MONOTONIC, 1), EINVAL);
        assert_errno!(syscall!(SYS_timerfd_settime, &file, 0, 8usize, 0usize), EFAULT);
    });
}

fn signalfd(fd: i32, signals: &[i32], flags: i32) -> Outcome {
    let mask = signal::bits(signals);
    syscall!(SYS_signalfd4, fd, &raw const mask, 8, flags)
}

fn read_signals(file: &File, count: usize) -> Outcome<Vec<libc::signalfd_siginfo>> {
    let mut infos = Vec::<libc::signalfd_siginfo>::with_capacity(count);
    let len_bytes = syscall!(SYS_read, file, infos.as_mut_ptr(), count * 128)?;
    // SAFETY: so many were written.
    unsafe { infos.set_len(len_bytes / 128) };
    Ok(infos)
}

#[test]
fn a_signalfd_gives_blocked_signals_with_their_senders() {
    in_child(|| {
        signal::set_mask(&[SIGUSR1, SIGUSR2]);
        let file = owned(signalfd(-1, &[SIGUSR1, SIGUSR2], libc::SFD_NONBLOCK).expect("signalfd4"));
        assert_errno!(read_signals(&file, 1), EAGAIN);
        assert_eq!(events(&file), 0);
        let own = std::process::id() as i32;
        signal::send(own, SIGUSR2);
        signal::send(own, SIGUSR1);
        assert_eq!(events(&file), libc::POLLIN);
        let infos = read_signals(&file, 4).expect("read");
        let numbers: Vec<_> = infos.iter().map(|info| info.ssi_signo as i32).collect();
        assert_eq!(numbers, [SIGUSR1, SIGUSR2]);
        assert!(infos.iter().all(|info| info.ssi_pid == own as u32 && info.ssi_code == libc::SI_USER));
        assert_eq!(signal::pending(), 0);
        let mut short = [0u8; 127];
        assert_errno!(syscall!(SYS_read, &file, short.as_mut_ptr(), 127), EINVAL);
    });
}

#[test]
fn a_signalfd_tells_of_a_child_that_ended() {
    in_child(|| {
        signal::set_mask(&[SIGCHLD]);
        let file = owned(signalfd(-1, &[SIGCHLD], 0).expect("signalfd4"));
        let child = spawn(|| abi::child::exit_now(7));
        let pid = child.pid();
        let infos = read_signals(&file, 1).expect("read");
        assert_eq!((infos[0].ssi_signo as i32, infos[0].ssi_pid as i32, infos[0].ssi_status), (SIGCHLD, pid, 7));
        assert_eq!(infos[0].ssi_code, libc::CLD_EXITED);
        assert_eq!(child.status(), abi::Status::Exited(7));
    });
}

#[test]
fn the_set_of_a_signalfd_can_be_changed() {
    in_child(|| {
        signal::set_mask(&[SIGUSR1, SIGUSR2]);
        let file = owned(signalfd(-1, &[SIGUSR1], libc::SFD_NONBLOCK).expect("signalfd4"));
        signal::raise(SIGUSR2);
        assert_errno!(read_signals(&file, 1), EAGAIN);
        let same = signalfd(file.as_raw_fd(), &[SIGUSR2], 0).expect("signalfd4");
        assert_eq!(same as i32, file.as_raw_fd());
        assert_eq!(read_signals(&file, 1).expect("read")[0].ssi_signo as i32, SIGUSR2);
        assert_errno!(signalfd(eventfd(0, 0).as_raw_fd(), &[SIGUSR2], 0), EINVAL);
        let mask = 0u64;
        assert_errno!(syscall!(SYS_signalfd4, -1, &raw const mask, 4, 0), EINVAL);
        assert_errno!(syscall!(SYS_signalfd4, -1, &raw const mask, 8, 1), EINVAL);
    });
}
