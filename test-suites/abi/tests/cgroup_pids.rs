//! The controller "pids". Linux's `Documentation/admin-guide/cgroup-v2.rst`, "PID".

use std::sync::atomic::Ordering::SeqCst;

use abi::cgroup::{Group, in_cgroups};
use abi::child::wait_until;
use abi::{assert_errno, shared_words, spawn, syscall};

#[test]
fn a_fork_beyond_the_limit_is_refused_and_counted() {
    in_cgroups(|| {
        let group = Group::with_controllers("max", "+pids");
        assert_eq!(group.read("pids.max"), "max\n");
        group.write("pids.max", "2");
        assert_eq!(group.read("pids.max"), "2\n");
        group
            .spawn(|| {
                assert_eq!(group.number("pids.current"), 1);
                let first = spawn(|| std::thread::sleep(std::time::Duration::from_secs(100)));
                assert_eq!(group.number("pids.current"), 2);
                // SAFETY: the call is refused.
                let refused = unsafe { libc::fork() };
                assert_eq!((refused, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EAGAIN)));
                assert!(std::thread::Builder::new().spawn(|| {}).is_err(), "threads count, too");
                drop(first);
                spawn(|| {}).join();
            })
            .join();
        assert_eq!(group.value("pids.events", "max"), 2);
        wait_until("nobody is left", || group.number("pids.current") == 0);
        assert_eq!(group.number("pids.peak"), 2);
    });
}

#[test]
fn a_limit_above_counts_for_the_groups_below() {
    in_cgroups(|| {
        let group = Group::with_controllers("above", "+pids");
        group.write("cgroup.subtree_control", "+pids");
        let below = group.child("below");
        group.write("pids.max", "1");
        below
            .spawn(|| {
                // SAFETY: the call is refused.
                assert_eq!(unsafe { libc::fork() }, -1);
            })
            .join();
        assert_eq!(group.value("pids.events", "max"), 1);
        assert_eq!(below.value("pids.events", "max"), 0);
    });
}

#[test]
fn moving_is_never_refused_for_the_limit() {
    in_cgroups(|| {
        let group = Group::with_controllers("moved", "+pids");
        group.write("pids.max", "0");
        let child = group.sleeper();
        assert_eq!(group.number("pids.current"), 1);
        drop(child);
    });
}

#[test]
fn zombies_count_until_they_are_reaped() {
    in_cgroups(|| {
        let group = Group::with_controllers("zombie", "+pids");
        let child = group.sleeper();
        syscall!(SYS_kill, child.pid(), libc::SIGKILL).expect("kill");
        wait_until("it is a zombie", || abi::child::state_of(child.pid()) == Some('Z'));
        assert_eq!(group.number("pids.current"), 1);
        child.status();
        wait_until("it is reaped", || group.number("pids.current") == 0);
    });
}

#[test]
fn threads_count_each() {
    in_cgroups(|| {
        let group = Group::with_controllers("threads", "+pids");
        let words = shared_words();
        let child = group.spawn(|| {
            let thread = std::thread::spawn(|| wait_until("the test is through", || words[1].load(SeqCst) == 1));
            words[0].store(1, SeqCst);
            thread.join().expect("the thread");
        });
        wait_until("the thread runs", || words[0].load(SeqCst) == 1 && group.number("pids.current") == 2);
        words[1].store(1, SeqCst);
        child.join();
        wait_until("they are gone", || group.number("pids.current") == 0);
    });
}

#[test]
fn what_is_no_limit_is_refused() {
    in_cgroups(|| {
        let group = Group::with_controllers("values", "+pids");
        assert_errno!(group.try_write("pids.max", "-1"), EINVAL);
        assert_errno!(group.try_write("pids.max", "many"), EINVAL);
        assert_errno!(group.try_write("pids.max", "99999999999"), EINVAL);
        group.write("pids.max", "0");
        group.write("pids.max", "max");
        assert_eq!(group.read("pids.max"), "max\n");
    });
}

#[test]
fn enabling_counts_who_is_there_already() {
    in_cgroups(|| {
        let group = Group::with_controllers("late", "+pids");
        let below = group.child("below");
        let child = below.sleeper();
        group.write("cgroup.subtree_control", "+pids");
        assert_eq!(below.number("pids.current"), 1);
        assert_eq!(group.number("pids.current"), 1);
        drop(child);
    });
}

#[test]
fn poll_tells_of_a_refused_fork() {
    in_cgroups(|| {
        let group = Group::with_controllers("poll", "+pids");
        group.write("pids.max", "1");
        let mut file = abi::world::open(&group.file("pids.events"), libc::O_RDONLY).expect("open");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut file, &mut text).expect("read");
        group
            .spawn(|| {
                // SAFETY: the call is refused.
                assert_eq!(unsafe { libc::fork() }, -1);
            })
            .join();
        let mut entry = libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&file), events: libc::POLLPRI, revents: 0 };
        assert_eq!(syscall!(SYS_poll, &raw mut entry, 1, 5000), Ok(1));
        assert_ne!(entry.revents & libc::POLLPRI, 0);
    });
}
