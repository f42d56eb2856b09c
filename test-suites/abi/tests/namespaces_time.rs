//! Time namespaces: clocks since boot that show another time inside.

use std::fs::File;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use abi::child::wait_until;
use abi::namespace::{CLONE_NEWTIME, link, setns, unshare};
use abi::world::{read, write};
use abi::{Errno, Outcome, assert_errno, in_child, shared_words, spawn, syscall};

fn clock(number: i32) -> i64 {
    let mut time = [0i64; 2];
    syscall!(SYS_clock_gettime, number, time.as_mut_ptr()).expect("clock_gettime");
    time[0]
}

fn try_offsets(text: &str) -> Outcome<()> {
    Ok(std::fs::write("/proc/self/timens_offsets", text)?)
}

fn fields(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_string).collect()
}

#[test]
fn children_see_shifted_clocks_and_the_maker_does_not() {
    in_child(|| {
        unshare(CLONE_NEWTIME).expect("a time namespace");
        write("/proc/self/timens_offsets", "monotonic 100000 0\nboottime 500000 0\n");
        assert_eq!(fields(&read("/proc/self/timens_offsets")), ["monotonic", "100000", "0", "boottime", "500000", "0"]);
        let before = [clock(libc::CLOCK_MONOTONIC), clock(libc::CLOCK_BOOTTIME), clock(libc::CLOCK_REALTIME)];
        assert!(before[0] < 100_000);
        spawn(|| {
            assert!((100_000..100_060).contains(&(clock(libc::CLOCK_MONOTONIC) - before[0])));
            assert!((100_000..100_060).contains(&(clock(libc::CLOCK_MONOTONIC_COARSE) - before[0])));
            // It is not steered, and so a little behind or ahead.
            assert!((99_990..100_060).contains(&(clock(libc::CLOCK_MONOTONIC_RAW) - before[0])));
            assert!((500_000..500_060).contains(&(clock(libc::CLOCK_BOOTTIME) - before[1])));
            assert!((0..60).contains(&(clock(libc::CLOCK_REALTIME) - before[2])));
            let up: f64 = read("/proc/uptime").split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
            assert!(up >= 500_000.0, "uptime is {up}");
        })
        .join();
        assert!(clock(libc::CLOCK_MONOTONIC) - before[0] < 60);
    });
}

#[test]
fn negative_offsets_may_not_go_below_zero() {
    in_child(|| {
        unshare(CLONE_NEWTIME).expect("unshare");
        assert_errno!(try_offsets("monotonic -100000 0"), ERANGE);
        assert_errno!(try_offsets("monotonic 9223372036 0"), ERANGE);
        assert_errno!(try_offsets("monotonic 0 1000000000"), EINVAL);
        assert_errno!(try_offsets("realtime 0 0"), EINVAL);
        assert_errno!(try_offsets("monotonic 5"), EINVAL);
        try_offsets("1 7 5").expect("the clock's number will do");
        try_offsets("boottime 3 0").expect("each by itself");
        assert_eq!(fields(&read("/proc/self/timens_offsets")), ["monotonic", "7", "5", "boottime", "3", "0"]);
    });
}

#[test]
fn offsets_are_fixed_once_somebody_is_inside() {
    in_child(|| {
        assert_errno!(try_offsets("monotonic 5 0"), EACCES);
        unshare(CLONE_NEWTIME).expect("unshare");
        try_offsets("monotonic 5 0").expect("nobody is inside");
        spawn(|| ()).join();
        assert_errno!(try_offsets("monotonic 6 0"), EACCES);
        unshare(CLONE_NEWTIME).expect("another");
        try_offsets("monotonic 6 0").expect("nobody is inside");
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_eq!(Err(Errno(libc::EACCES)), try_offsets("monotonic 6 0"), "not even to open");
        })
        .join();
    });
}

#[test]
fn links_tell_the_namespace_and_that_of_children() {
    in_child(|| {
        let own = link("self", "time").expect("a link");
        assert_eq!(link("self", "time_for_children"), Ok(own.clone()));
        unshare(CLONE_NEWTIME).expect("unshare");
        let next = link("self", "time_for_children").expect("a link");
        assert_eq!(link("self", "time"), Ok(own.clone()));
        assert_ne!(next, own);
        spawn(|| {
            assert_eq!(link("self", "time"), Ok(next.clone()));
            assert_eq!(link("self", "time_for_children"), Ok(next.clone()));
        })
        .join();
    });
}

#[test]
fn setns_enters_alone() {
    in_child(|| {
        let words = shared_words();
        let helper = spawn(|| {
            unshare(CLONE_NEWTIME).expect("unshare");
            write("/proc/self/timens_offsets", "monotonic 777000 0");
            spawn(|| {
                words[0].store(abi::namespace::pid() as u32, SeqCst);
                wait_until("it was entered", || words[1].load(SeqCst) == 1);
            })
            .join();
        });
        wait_until("it is there", || words[0].load(SeqCst) != 0);
        let file = File::open(format!("/proc/{}/ns/time", words[0].load(SeqCst))).expect("open");
        std::thread::scope(|scope| {
            scope.spawn(|| assert_errno!(setns(&file, CLONE_NEWTIME), EUSERS));
        });
        wait_until("the thread is gone", || setns(&file, CLONE_NEWTIME).is_ok());
        assert!(clock(libc::CLOCK_MONOTONIC) >= 777_000, "at once");
        words[1].store(1, SeqCst);
        helper.join();
    });
}

#[test]
fn absolute_times_are_meant_as_shown() {
    in_child(|| {
        unshare(CLONE_NEWTIME).expect("unshare");
        write("/proc/self/timens_offsets", "monotonic 100000 0\nboottime 200000 0");
        spawn(|| {
            let begin = Instant::now();
            let until = [clock(libc::CLOCK_MONOTONIC) + 1, 0];
            syscall!(SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, until.as_ptr(), 0usize).expect("sleep");
            assert!(clock(libc::CLOCK_MONOTONIC) >= until[0]);
            let timer = syscall!(SYS_timerfd_create, libc::CLOCK_BOOTTIME, 0).expect("timerfd_create");
            let setting = [0, 0, clock(libc::CLOCK_BOOTTIME) + 1, 0];
            syscall!(SYS_timerfd_settime, timer, libc::TFD_TIMER_ABSTIME, setting.as_ptr(), 0usize).expect("settime");
            let mut ticks = 0u64;
            syscall!(SYS_read, timer, &raw mut ticks, 8).expect("read");
            assert!(clock(libc::CLOCK_BOOTTIME) >= setting[2]);
            let word = 0u32;
            let wait_bitset = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
            let until = [clock(libc::CLOCK_MONOTONIC) + 1, 0];
            assert_errno!(syscall!(SYS_futex, &raw const word, wait_bitset, 0, until.as_ptr(), 0usize, u32::MAX), ETIMEDOUT);
            assert!(clock(libc::CLOCK_MONOTONIC) >= until[0]);
            assert!(begin.elapsed() < Duration::from_secs(15), "none waited for the shift");
        })
        .join();
    });
}

#[test]
fn making_one_takes_privilege() {
    in_child(|| {
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(unshare(CLONE_NEWTIME), EPERM);
        unshare(CLONE_NEWTIME | libc::CLONE_NEWUSER).expect("with a user namespace of its own");
    });
}
