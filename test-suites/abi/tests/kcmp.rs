//! kcmp(2): what two threads share.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;

use abi::child::wait_until_asleep;
use abi::{Outcome, assert_errno, in_child, signal, spawn, syscall};

const FILE: i32 = 0;
const SHARED: [(i32, &str); 5] = [(1, "memory"), (2, "descriptors"), (3, "directory and root"), (4, "signal actions"), (6, "undo lists")];
const EPOLL: i32 = 7;

fn kcmp(first: i32, second: i32, kind: i32, first_argument: usize, second_argument: usize) -> Outcome {
    syscall!(SYS_kcmp, first, second, kind, first_argument, second_argument)
}

fn own() -> i32 {
    std::process::id() as i32
}

fn files(first: &impl AsRawFd, second: &impl AsRawFd) -> Outcome {
    kcmp(own(), own(), FILE, first.as_raw_fd() as usize, second.as_raw_fd() as usize)
}

#[test]
fn kcmp_tells_descriptors_of_one_file_from_others() {
    in_child(|| {
        let [first, again] = [(); 2].map(|()| std::fs::File::open("/proc/self/status").expect("open"));
        let duplicate = first.try_clone().expect("dup");
        assert_eq!(files(&first, &duplicate), Ok(0));
        let (one, other) = (files(&first, &again).expect("kcmp"), files(&again, &first).expect("kcmp"));
        // An order: one is less, the other greater.
        assert_eq!(one + other, 3);
        assert_errno!(kcmp(own(), own(), FILE, 900, 901), EBADF);
        assert_errno!(kcmp(own(), own(), 99, 0, 0), EINVAL);
        assert_errno!(kcmp(own(), 999_999, FILE, 0, 0), ESRCH);
    });
}

#[test]
fn kcmp_threads_share_and_forked_processes_do_not() {
    in_child(|| {
        let thread = thread::spawn(|| {
            let id = syscall!(SYS_gettid).expect("gettid") as i32;
            for (kind, what) in SHARED {
                assert_eq!(kcmp(own(), id, kind, 0, 0), Ok(0), "{what}");
            }
        });
        thread.join().expect("a thread");
        let child = spawn(|| _ = syscall!(SYS_pause));
        wait_until_asleep(child.pid());
        for (kind, what) in &SHARED[..4] {
            assert_ne!(kcmp(own(), child.pid(), *kind, 0, 0), Ok(0), "{what}");
        }
        // A descriptor that was inherited is still the same file.
        assert_eq!(kcmp(own(), child.pid(), FILE, 1, 1), Ok(0));
        signal::send(child.pid(), libc::SIGKILL);
        child.status();
    });
}

#[test]
fn kcmp_finds_the_file_that_an_epoll_watches() {
    in_child(|| {
        // SAFETY: the descriptors are new and owned by nobody else.
        let new = |fd: usize| unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let epoll = new(syscall!(SYS_epoll_create1, 0).expect("epoll_create1"));
        let [watched, other] = [(); 2].map(|()| new(syscall!(SYS_eventfd2, 0, 0).expect("eventfd2")));
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        syscall!(SYS_epoll_ctl, epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, watched.as_raw_fd(), &raw mut event).expect("epoll_ctl");
        let slot = |fd: i32, which: u32| [epoll.as_raw_fd() as u32, fd as u32, which];
        let compare = |file: &OwnedFd, slot: [u32; 3]| kcmp(own(), own(), EPOLL, file.as_raw_fd() as usize, slot.as_ptr().addr());
        assert_eq!(compare(&watched, slot(watched.as_raw_fd(), 0)), Ok(0));
        assert_ne!(compare(&other, slot(watched.as_raw_fd(), 0)), Ok(0));
        assert_errno!(compare(&watched, slot(watched.as_raw_fd(), 1)), ENOENT);
        assert_errno!(compare(&watched, slot(other.as_raw_fd(), 0)), ENOENT);
    });
}

#[test]
fn kcmp_asks_for_the_right_to_look() {
    in_child(|| {
        let init = 1;
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(kcmp(own(), init, 1, 0, 0), EPERM);
    });
}
