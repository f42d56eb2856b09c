//! The controller "memory". Linux's `Documentation/admin-guide/cgroup-v2.rst`, "Memory".

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use abi::cgroup::{Group, in_cgroups};
use abi::child::wait_until;
use abi::memory::PAGE;
use abi::{Pages, Status, assert_errno, shared_words, syscall};

const MIB: usize = 1 << 20;

/// Private memory whose every page was written.
fn touched(bytes: usize) -> Pages {
    let pages = Pages::private(bytes / PAGE);
    for page in 0..bytes / PAGE {
        pages.set(page * PAGE, 1);
    }
    pages
}

#[test]
fn what_a_program_touches_is_charged_to_its_group() {
    in_cgroups(|| {
        let group = Group::with_controllers("charge", "+memory");
        assert_eq!(group.number("memory.current"), 0);
        let words = shared_words();
        let child = group.spawn(|| {
            let untouched = Pages::private(64 * MIB / PAGE);
            let memory = touched(8 * MIB);
            words[0].store(1, SeqCst);
            wait_until("it was measured", || words[1].load(SeqCst) == 1);
            drop((untouched, memory));
            words[0].store(2, SeqCst);
            wait_until("it was measured again", || words[1].load(SeqCst) == 2);
        });
        wait_until("it is touched", || words[0].load(SeqCst) == 1);
        let used = group.number("memory.current") as usize;
        assert!((8 * MIB..24 * MIB).contains(&used), "{used}");
        assert!(group.value("memory.stat", "anon") as usize >= 8 * MIB);
        words[1].store(1, SeqCst);
        wait_until("it is given back", || words[0].load(SeqCst) == 2);
        wait_until("it is uncharged", || (group.number("memory.current") as usize) < used - 7 * MIB);
        assert!(group.number("memory.peak") as usize >= used);
        words[1].store(2, SeqCst);
        child.join();
    });
}

#[test]
fn files_of_tmpfs_are_charged_to_who_writes_them() {
    in_cgroups(|| {
        let group = Group::with_controllers("tmpfs", "+memory");
        group.spawn(|| std::fs::write("/tmp/file", vec![1; 4 * MIB]).expect("write")).join();
        wait_until("only the file is left", || (group.number("memory.current") as usize) < 8 * MIB);
        assert!(group.number("memory.current") as usize >= 4 * MIB);
        assert!(group.value("memory.stat", "shmem") as usize >= 4 * MIB);
        std::fs::remove_file("/tmp/file").expect("unlink");
        wait_until("it is uncharged", || (group.number("memory.current") as usize) < 2 * MIB);
    });
}

#[test]
fn beyond_the_limit_somebody_in_the_group_is_killed() {
    in_cgroups(|| {
        let group = Group::with_controllers("max", "+memory");
        group.write("memory.max", "16M");
        group.write("memory.swap.max", "0");
        assert_eq!(group.number("memory.max") as usize, 16 * MIB);
        let child = group.spawn(|| drop(touched(64 * MIB)));
        assert_eq!(child.status(), Status::Killed(libc::SIGKILL));
        assert!(group.value("memory.events", "oom_kill") >= 1, "{}", group.read("memory.events"));
        assert!(group.value("memory.events", "oom") >= 1);
        assert!(group.value("memory.events", "max") >= 1);
        assert!(group.number("memory.peak") as usize <= 17 * MIB);
        // Within the limit there is no harm.
        group.spawn(|| drop(touched(4 * MIB))).join();
    });
}

#[test]
fn a_file_that_grows_beyond_the_limit_kills_too() {
    in_cgroups(|| {
        let group = Group::with_controllers("file", "+memory");
        group.write("memory.max", "8M");
        group.write("memory.swap.max", "0");
        let child = group.spawn(|| {
            let _ = std::fs::write("/tmp/large", vec![1; MIB]);
            let mut file = std::fs::File::options().append(true).open("/tmp/large").expect("open");
            for _ in 0..32 {
                std::io::Write::write_all(&mut file, &vec![1; MIB]).expect("write");
            }
        });
        assert_eq!(child.status(), Status::Killed(libc::SIGKILL));
        assert!(group.value("memory.events", "oom_kill") >= 1);
        std::fs::remove_file("/tmp/large").expect("unlink");
    });
}

#[test]
fn a_limit_above_counts_for_the_groups_below() {
    in_cgroups(|| {
        let group = Group::with_controllers("above", "+memory");
        group.write("cgroup.subtree_control", "+memory");
        group.write("memory.max", "16M");
        group.write("memory.swap.max", "0");
        let below = group.child("below");
        let child = below.spawn(|| drop(touched(64 * MIB)));
        assert_eq!(child.status(), Status::Killed(libc::SIGKILL));
        assert_eq!(group.value("memory.events.local", "oom_kill"), 0);
        assert_eq!(below.value("memory.events", "oom_kill"), 1);
        assert_eq!(group.value("memory.events", "oom_kill"), 1, "what happens below is counted above");
    });
}

#[test]
fn a_group_can_be_killed_as_a_whole() {
    in_cgroups(|| {
        let group = Group::with_controllers("whole", "+memory");
        assert_eq!(group.read("memory.oom.group"), "0\n");
        group.write("memory.oom.group", "1");
        assert_errno!(group.try_write("memory.oom.group", "2"), EINVAL);
        group.write("memory.max", "16M");
        group.write("memory.swap.max", "0");
        let bystander = group.sleeper();
        let child = group.spawn(|| drop(touched(64 * MIB)));
        assert_eq!(child.status(), Status::Killed(libc::SIGKILL));
        assert_eq!(bystander.status(), Status::Killed(libc::SIGKILL));
        assert_eq!(group.value("memory.events", "oom_group_kill"), 1);
    });
}

#[test]
fn the_high_mark_slows_down() {
    in_cgroups(|| {
        let group = Group::with_controllers("high", "+memory");
        group.write("memory.high", "4M");
        group.write("memory.swap.max", "0");
        let words = shared_words();
        let child = group.spawn(|| {
            let memory = touched(64 * MIB);
            words[0].store(1, SeqCst);
            drop(memory);
        });
        wait_until("the mark is passed", || group.value("memory.events", "high") >= 1);
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(words[0].load(SeqCst), 0, "it is held back");
        assert_eq!(group.value("memory.events", "oom_kill"), 0);
        drop(child);
    });
}

#[test]
fn a_limit_below_what_is_used_is_enforced_at_once() {
    in_cgroups(|| {
        let group = Group::with_controllers("shrink", "+memory");
        group.write("memory.swap.max", "0");
        let words = shared_words();
        let child = group.spawn(|| {
            let memory = touched(16 * MIB);
            words[0].store(1, SeqCst);
            std::thread::sleep(Duration::from_secs(100));
            drop(memory);
        });
        wait_until("it is touched", || words[0].load(SeqCst) == 1);
        group.write("memory.max", "4M");
        assert_eq!(child.status(), Status::Killed(libc::SIGKILL));
        wait_until("it is uncharged", || (group.number("memory.current") as usize) < 4 * MIB);
    });
}

#[test]
fn limits_are_sizes() {
    in_cgroups(|| {
        let group = Group::with_controllers("sizes", "+memory");
        for file in ["memory.max", "memory.high", "memory.low", "memory.min", "memory.swap.max"] {
            let initial = if matches!(file, "memory.low" | "memory.min") { "0\n" } else { "max\n" };
            assert_eq!(group.read(file), initial, "{file}");
            group.write(file, "1G");
            assert_eq!(group.read(file), "1073741824\n", "{file}");
            group.write(file, "1000000");
            assert_eq!(group.read(file), "999424\n", "{file}: whole pages");
            group.write(file, "max");
            assert_eq!(group.read(file), "max\n", "{file}");
            assert_errno!(group.try_write(file, "lots"), EINVAL);
        }
        assert_eq!(group.number("memory.swap.current"), 0);
    });
}

#[test]
fn charges_stay_when_the_process_moves_and_when_the_group_goes() {
    in_cgroups(|| {
        let (one, two) = (Group::with_controllers("one", "+memory"), Group::new("two"));
        let words = shared_words();
        let child = one.spawn(|| {
            let memory = touched(8 * MIB);
            words[0].store(1, SeqCst);
            wait_until("it was measured", || words[1].load(SeqCst) == 1);
            drop(memory);
            let more = touched(4 * MIB);
            words[0].store(2, SeqCst);
            wait_until("it was measured again", || words[1].load(SeqCst) == 2);
            drop(more);
        });
        wait_until("it is touched", || words[0].load(SeqCst) == 1);
        two.write("cgroup.procs", &child.pid().to_string());
        assert!(one.number("memory.current") as usize >= 8 * MIB);
        assert!((two.number("memory.current") as usize) < 4 * MIB);
        one.try_remove().expect("rmdir of a group that still has pages");
        words[1].store(1, SeqCst);
        wait_until("more is touched", || words[0].load(SeqCst) == 2);
        assert!(two.number("memory.current") as usize >= 4 * MIB);
        words[1].store(2, SeqCst);
        child.join();
    });
}

#[test]
fn poll_tells_of_a_kill() {
    in_cgroups(|| {
        let group = Group::with_controllers("poll", "+memory");
        group.write("memory.max", "8M");
        group.write("memory.swap.max", "0");
        let mut file = abi::world::open(&group.file("memory.events"), libc::O_RDONLY).expect("open");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut file, &mut text).expect("read");
        let child = group.spawn(|| drop(touched(64 * MIB)));
        let mut entry = libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&file), events: libc::POLLPRI, revents: 0 };
        assert_eq!(syscall!(SYS_poll, &raw mut entry, 1, 10_000), Ok(1));
        assert_eq!(child.status(), Status::Killed(libc::SIGKILL));
    });
}
