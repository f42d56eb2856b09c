//! `cgroup.freeze`: threads that stand still. Linux's `Documentation/admin-guide/cgroup-v2.rst`.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use abi::cgroup::{Group, in_cgroups};
use abi::child::wait_until;
use abi::{Status, assert_errno, shared_words, spawn, syscall};

/// A process that counts in a word of shared memory, in a group.
fn counter(group: &Group, word: &'static std::sync::atomic::AtomicU32) -> abi::Child {
    let child = group.spawn(move || {
        loop {
            word.fetch_add(1, SeqCst);
            std::thread::yield_now();
        }
    });
    wait_until("it counts", || word.load(SeqCst) > 0);
    child
}

/// Whether the word changes within a while.
fn counts(word: &std::sync::atomic::AtomicU32) -> bool {
    let before = word.load(SeqCst);
    std::thread::sleep(Duration::from_millis(50));
    word.load(SeqCst) != before
}

#[test]
fn a_frozen_group_stands_still_and_goes_on_afterwards() {
    in_cgroups(|| {
        let group = Group::new("freeze");
        let words = shared_words();
        let child = counter(&group, &words[0]);
        assert_eq!(group.read("cgroup.freeze"), "0\n");
        group.write("cgroup.freeze", "1");
        wait_until("it is frozen", || group.has_event("frozen 1"));
        assert_eq!(group.read("cgroup.freeze"), "1\n");
        assert!(!counts(&words[0]));
        group.write("cgroup.freeze", "0");
        wait_until("it has thawed", || group.has_event("frozen 0"));
        wait_until("it counts again", || counts(&words[0]));
        drop(child);
    });
}

#[test]
fn other_values_are_refused() {
    in_cgroups(|| {
        let group = Group::new("values");
        assert_errno!(group.try_write("cgroup.freeze", "2"), ERANGE);
        assert_errno!(group.try_write("cgroup.freeze", "-1"), ERANGE);
        assert_errno!(group.try_write("cgroup.freeze", "yes"), EINVAL);
        assert!(group.has_event("frozen 0"));
        group.write("cgroup.freeze", "1");
        wait_until("an empty group is frozen at once", || group.has_event("frozen 1"));
    });
}

#[test]
fn freezing_reaches_the_groups_below() {
    in_cgroups(|| {
        let group = Group::new("below");
        let below = group.child("below");
        let words = shared_words();
        let child = counter(&below, &words[0]);
        group.write("cgroup.freeze", "1");
        wait_until("both are frozen", || group.has_event("frozen 1") && below.has_event("frozen 1"));
        assert_eq!(below.read("cgroup.freeze"), "0\n", "its own wish");
        below.write("cgroup.freeze", "0");
        assert!(!counts(&words[0]), "the group above still wants it");
        let later = below.child("later");
        wait_until("a new group is frozen", || later.has_event("frozen 1"));
        group.write("cgroup.freeze", "0");
        wait_until("it counts again", || counts(&words[0]));
        drop(child);
    });
}

#[test]
fn sleepers_freeze_and_their_sleep_goes_on() {
    in_cgroups(|| {
        let group = Group::new("sleep");
        let words = shared_words();
        let child = group.spawn(|| {
            words[0].store(1, SeqCst);
            std::thread::sleep(Duration::from_millis(300));
            let (reader, writer) = std::io::pipe().expect("pipe");
            let writing = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                std::io::Write::write(&mut &writer, b"x").expect("write");
            });
            assert_eq!(std::io::Read::read(&mut &reader, &mut [0; 4]).expect("read"), 1);
            writing.join().expect("the writer");
        });
        wait_until("it runs", || words[0].load(SeqCst) == 1);
        for _ in 0..5 {
            group.write("cgroup.freeze", "1");
            wait_until("it is frozen", || group.has_event("frozen 1"));
            std::thread::sleep(Duration::from_millis(30));
            group.write("cgroup.freeze", "0");
            std::thread::sleep(Duration::from_millis(30));
        }
        child.join();
    });
}

#[test]
fn a_frozen_process_can_be_killed() {
    in_cgroups(|| {
        let group = Group::new("kill");
        let children = [group.sleeper(), group.sleeper()];
        group.write("cgroup.freeze", "1");
        wait_until("it is frozen", || group.has_event("frozen 1"));
        syscall!(SYS_kill, children[0].pid(), libc::SIGKILL).expect("kill");
        wait_until("it is gone", || group.processes() == [children[1].pid()]);
        assert!(group.has_event("frozen 1"));
        group.write("cgroup.kill", "1");
        for child in children {
            assert_eq!(child.status(), Status::Killed(libc::SIGKILL));
        }
    });
}

#[test]
fn who_comes_into_a_frozen_group_freezes_and_who_leaves_thaws() {
    in_cgroups(|| {
        let (frozen, other) = (Group::new("frozen"), Group::new("other"));
        frozen.write("cgroup.freeze", "1");
        let words = shared_words();
        let child = counter(&other, &words[0]);
        frozen.write("cgroup.procs", &child.pid().to_string());
        wait_until("it stands still", || !counts(&words[0]));
        wait_until("the group is frozen", || frozen.has_event("frozen 1"));
        other.write("cgroup.procs", &child.pid().to_string());
        wait_until("it counts again", || counts(&words[0]));
        assert!(frozen.has_event("frozen 1") && other.has_event("frozen 0"));
        drop(child);
    });
}

#[test]
fn signals_wait_until_the_group_thaws() {
    in_cgroups(|| {
        let group = Group::new("signal");
        let words = shared_words();
        let child = group.spawn(|| {
            abi::signal::set_mask(&[libc::SIGUSR1]);
            words[0].store(1, SeqCst);
            let wanted = abi::signal::bits(&[libc::SIGUSR1]);
            // Being frozen ends the call with EINTR.
            while syscall!(SYS_rt_sigtimedwait, &raw const wanted, 0usize, 0usize, 8) != Ok(libc::SIGUSR1 as usize) {}
            words[1].store(1, SeqCst);
        });
        wait_until("it waits", || words[0].load(SeqCst) == 1);
        group.write("cgroup.freeze", "1");
        wait_until("it is frozen", || group.has_event("frozen 1"));
        syscall!(SYS_kill, child.pid(), libc::SIGUSR1).expect("kill");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(words[1].load(SeqCst), 0);
        assert!(group.has_event("frozen 1"));
        group.write("cgroup.freeze", "0");
        wait_until("it has the signal", || words[1].load(SeqCst) == 1);
        child.join();
    });
}

#[test]
fn a_stopped_process_counts_as_frozen() {
    in_cgroups(|| {
        let group = Group::new("stopped");
        let child = group.sleeper();
        syscall!(SYS_kill, child.pid(), libc::SIGSTOP).expect("kill");
        wait_until("it is stopped", || abi::child::state_of(child.pid()) == Some('T'));
        group.write("cgroup.freeze", "1");
        wait_until("it is frozen", || group.has_event("frozen 1"));
        syscall!(SYS_kill, child.pid(), libc::SIGCONT).expect("kill");
        std::thread::sleep(Duration::from_millis(30));
        wait_until("it is still frozen", || group.has_event("frozen 1"));
        group.write("cgroup.freeze", "0");
        wait_until("it sleeps", || abi::child::state_of(child.pid()) == Some('S'));
    });
}

#[test]
fn a_parent_that_waits_for_its_vfork_child_counts_as_frozen() {
    in_cgroups(|| {
        let group = Group::new("vfork");
        let words = shared_words();
        let child = spawn(|| {
            group.enter();
            let wait_for_go = || {
                words[0].store(1, SeqCst);
                while words[1].load(SeqCst) == 0 {
                    std::thread::yield_now();
                }
            };
            // SAFETY: the child only calls `wait_for_go`, which touches shared memory, and ends.
            let made = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0) };
            if made == 0 {
                wait_for_go();
                abi::child::exit_now(0);
            }
            assert_eq!(abi::child::wait_end(made as i32), Status::Exited(0));
        });
        wait_until("the child runs", || words[0].load(SeqCst) == 1);
        group.write("cgroup.freeze", "1");
        wait_until("both are frozen", || group.has_event("frozen 1"));
        words[1].store(1, SeqCst);
        group.write("cgroup.freeze", "0");
        child.join();
    });
}
