//! Clocks, sleeping, and timers that send signals: clock_gettime, nanosleep, clock_nanosleep, setitimer, alarm, timer_create.

use std::time::Duration;

use abi::child::wait_until;
use abi::{assert_errno, in_child, signal, spawn, syscall};
use libc::{CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME, CLOCK_THREAD_CPUTIME_ID, SIGALRM};

fn now(clock: i32) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    syscall!(SYS_clock_gettime, clock, &raw mut time).expect("clock_gettime");
    assert!((0..1_000_000_000).contains(&time.tv_nsec));
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}

fn timer_of(milliseconds: i64, every_milliseconds: i64) -> [libc::timeval; 2] {
    [every_milliseconds, milliseconds].map(|time| libc::timeval { tv_sec: 0, tv_usec: time * 1000 })
}

#[test]
fn monotonic_clocks_never_go_back() {
    for clock in [CLOCK_MONOTONIC, CLOCK_BOOTTIME, libc::CLOCK_MONOTONIC_RAW, libc::CLOCK_MONOTONIC_COARSE] {
        let mut last = now(clock);
        for _ in 0..200 {
            let next = now(clock);
            assert!(next >= last, "clock {clock}");
            last = next;
        }
    }
}

#[test]
fn the_real_time_is_past_2020_and_agrees_with_gettimeofday_and_time() {
    let clock = now(CLOCK_REALTIME).as_secs();
    let mut time = [0i64; 2];
    syscall!(SYS_gettimeofday, time.as_mut_ptr(), 0usize).expect("gettimeofday");
    let seconds = syscall!(SYS_time, 0usize).expect("time") as u64;
    assert!(clock > 1_577_836_800, "after the year 2020");
    assert!((time[0] as u64).abs_diff(clock) <= 1 && seconds.abs_diff(clock) <= 1);
    assert!((0..1_000_000).contains(&time[1]));
}

#[test]
fn clock_calls_refuse_unknown_clocks_and_bad_pointers() {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    assert_errno!(syscall!(SYS_clock_gettime, 99, &raw mut time), EINVAL);
    assert_errno!(syscall!(SYS_clock_gettime, CLOCK_MONOTONIC, 0x10usize), EFAULT);
    assert_errno!(syscall!(SYS_clock_getres, 99, &raw mut time), EINVAL);
    assert_eq!(syscall!(SYS_clock_getres, CLOCK_MONOTONIC, 0usize), Ok(0));
    assert_errno!(syscall!(SYS_clock_settime, CLOCK_MONOTONIC, &raw const time), EINVAL);
}

#[test]
fn nanosleep_sleeps_at_least_as_long_as_asked() {
    let start = now(CLOCK_MONOTONIC);
    let request = timespec(Duration::from_millis(30));
    assert_eq!(syscall!(SYS_nanosleep, &raw const request, 0usize), Ok(0));
    assert!(now(CLOCK_MONOTONIC) - start >= Duration::from_millis(30));
    let wrong = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    assert_errno!(syscall!(SYS_nanosleep, &raw const wrong, 0usize), EINVAL);
    let negative = libc::timespec { tv_sec: -1, tv_nsec: 0 };
    assert_errno!(syscall!(SYS_nanosleep, &raw const negative, 0usize), EINVAL);
    assert_errno!(syscall!(SYS_nanosleep, 0x10usize, 0usize), EFAULT);
}

/// Sleeps until `clock` shows `wanted`, and checks that it does then. However loaded the machine is, only a clock that was set meanwhile,
/// as against the monotonic one, may show less.
fn sleep_until(clock: i32, wanted: Duration) {
    let distance = || now(clock).as_nanos() as i128 - now(CLOCK_MONOTONIC).as_nanos() as i128;
    let before = distance();
    let deadline = timespec(wanted);
    assert_eq!(syscall!(SYS_clock_nanosleep, clock, libc::TIMER_ABSTIME, &raw const deadline, 0usize), Ok(0), "clock {clock}");
    let (shown, after) = (now(clock), distance());
    let set_back_ns = if clock == CLOCK_REALTIME { (before - after).max(0) as u64 } else { 0 };
    assert!(shown + Duration::from_nanos(set_back_ns) >= wanted, "clock {clock}: {shown:?} is before {wanted:?}");
}

#[test]
fn clock_nanosleep_takes_absolute_times() {
    for clock in [CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME] {
        sleep_until(clock, now(clock) + Duration::from_millis(20));
        // Taken for a duration, this would not end before the test's patience does.
        sleep_until(clock, now(clock));
        sleep_until(clock, Duration::from_secs(1));
    }
    let short = timespec(Duration::from_millis(1));
    assert_errno!(syscall!(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &raw const short, 0usize), EOPNOTSUPP);
}

#[test]
fn processor_time_runs_while_computing_and_stands_while_sleeping() {
    in_child(|| {
        let clocks = [CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID];
        let before = clocks.map(now);
        std::thread::sleep(Duration::from_millis(60));
        let asleep = clocks.map(now);
        for (before, after) in before.iter().zip(asleep) {
            assert!(after - *before < Duration::from_millis(40));
        }
        wait_until("10 ms were used", || {
            (0..10_000u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
            clocks.iter().zip(asleep).all(|(&clock, before)| now(clock) - before >= Duration::from_millis(10))
        });
    });
}

#[test]
fn setitimer_sends_sigalrm_again_and_again() {
    in_child(|| {
        signal::catch(SIGALRM, 0);
        let timer = timer_of(5, 5);
        syscall!(SYS_setitimer, libc::ITIMER_REAL, timer.as_ptr(), 0usize).expect("setitimer");
        wait_until("it came three times", || signal::count(SIGALRM) >= 3);
        let mut old = timer_of(0, 0);
        let off = timer_of(0, 0);
        syscall!(SYS_setitimer, libc::ITIMER_REAL, off.as_ptr(), old.as_mut_ptr()).expect("setitimer");
        assert_eq!(old[0].tv_usec, 5000, "the interval it had");
        let count = signal::count(SIGALRM);
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(signal::count(SIGALRM), count);
        assert_eq!(signal::code(SIGALRM), 0x80, "SI_KERNEL");
        assert_errno!(syscall!(SYS_setitimer, 9, timer.as_ptr(), 0usize), EINVAL);
    });
}

#[test]
fn getitimer_tells_what_is_left_and_fork_does_not_copy_it() {
    in_child(|| {
        let timer = [libc::timeval { tv_sec: 0, tv_usec: 0 }, libc::timeval { tv_sec: 100, tv_usec: 0 }];
        syscall!(SYS_setitimer, libc::ITIMER_REAL, timer.as_ptr(), 0usize).expect("setitimer");
        let mut left = timer_of(0, 0);
        syscall!(SYS_getitimer, libc::ITIMER_REAL, left.as_mut_ptr()).expect("getitimer");
        assert!((90..=100).contains(&left[1].tv_sec));
        spawn(|| {
            let mut left = timer_of(1, 1);
            syscall!(SYS_getitimer, libc::ITIMER_REAL, left.as_mut_ptr()).expect("getitimer");
            assert_eq!((left[1].tv_sec, left[1].tv_usec), (0, 0));
        })
        .join();
    });
}

#[test]
fn alarm_returns_the_seconds_that_were_left() {
    in_child(|| {
        assert_eq!(syscall!(SYS_alarm, 100), Ok(0));
        let left = syscall!(SYS_alarm, 0).expect("alarm");
        assert!((90..=100).contains(&left));
        assert_eq!(syscall!(SYS_alarm, 0), Ok(0));
    });
}

#[test]
fn virtual_timers_count_only_used_time() {
    in_child(|| {
        signal::catch(libc::SIGVTALRM, 0);
        signal::catch(libc::SIGPROF, 0);
        let timer = timer_of(20, 0);
        syscall!(SYS_setitimer, libc::ITIMER_VIRTUAL, timer.as_ptr(), 0usize).expect("setitimer");
        syscall!(SYS_setitimer, libc::ITIMER_PROF, timer.as_ptr(), 0usize).expect("setitimer");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!((signal::count(libc::SIGVTALRM), signal::count(libc::SIGPROF)), (0, 0));
        let start = now(CLOCK_MONOTONIC);
        while signal::count(libc::SIGVTALRM) == 0 || signal::count(libc::SIGPROF) == 0 {
            (0..10_000u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
            assert!(now(CLOCK_MONOTONIC) - start < Duration::from_secs(10), "the timers never fired");
        }
    });
}

#[test]
fn posix_timers_signal_with_their_value_and_count_overruns() {
    in_child(|| {
        signal::catch(libc::SIGUSR1, 0);
        // SAFETY: sigevent is plain data.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGUSR1;
        event.sigev_value = libc::sigval { sival_ptr: 0x77 as *mut _ };
        let mut timer = 0i32;
        syscall!(SYS_timer_create, CLOCK_MONOTONIC, &raw mut event, &raw mut timer).expect("timer_create");
        let times = [timespec(Duration::from_millis(4)), timespec(Duration::from_millis(4))];
        signal::set_mask(&[libc::SIGUSR1]);
        syscall!(SYS_timer_settime, timer, 0, times.as_ptr(), 0usize).expect("timer_settime");
        std::thread::sleep(Duration::from_millis(40));
        signal::set_mask(&[]);
        assert_eq!((signal::code(libc::SIGUSR1), signal::value(libc::SIGUSR1)), (libc::SI_TIMER, 0x77));
        let overruns = syscall!(SYS_timer_getoverrun, timer).expect("timer_getoverrun");
        assert!(overruns >= 3 || signal::count(libc::SIGUSR1) > 1, "{overruns} overruns");
        let mut left = times;
        syscall!(SYS_timer_gettime, timer, left.as_mut_ptr()).expect("timer_gettime");
        assert_eq!(left[0].tv_nsec, 4_000_000);
        syscall!(SYS_timer_delete, timer).expect("timer_delete");
        assert_errno!(syscall!(SYS_timer_delete, timer), EINVAL);
    });
}

#[test]
fn times_and_getrusage_count_children_after_they_were_waited_for() {
    in_child(|| {
        let used_by_children = || {
            // SAFETY: rusage is plain data that getrusage fills in.
            let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
            syscall!(SYS_getrusage, libc::RUSAGE_CHILDREN, &raw mut usage).expect("getrusage");
            (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
        };
        assert_eq!(used_by_children(), 0);
        spawn(|| {
            wait_until("30 ms were used", || {
                (0..10_000u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
                now(CLOCK_PROCESS_CPUTIME_ID) >= Duration::from_millis(30)
            });
        })
        .join();
        assert!(used_by_children() > 0);
        assert_errno!(syscall!(SYS_getrusage, 7, [0u64; 32].as_mut_ptr()), EINVAL);
        assert!(syscall!(SYS_times, [0u64; 4].as_mut_ptr()).is_ok());
    });
}

#[test]
fn sysinfo_and_proc_uptime_tell_the_same_time() {
    // SAFETY: sysinfo is plain data.
    let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
    syscall!(SYS_sysinfo, &raw mut info).expect("sysinfo");
    let uptime = abi::world::read("/proc/uptime");
    let seconds: f64 = uptime.split(' ').next().expect("a field").parse().expect("a number");
    assert!((seconds - info.uptime as f64).abs() < 3.0);
    assert!(info.totalram > 0 && info.freeram <= info.totalram && info.mem_unit >= 1);
    assert!(now(CLOCK_BOOTTIME).as_secs().abs_diff(info.uptime as u64) <= 2);
}
