//! POSIX message queues: mq_overview(7), as files and through calls of their own. Each test has an ipc namespace of its own.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use abi::child::{wait_until, wait_until_asleep};
use abi::namespace::{become_user, in_ipc_namespace, unshare};
use abi::world::{exists, mount, names, read, write};
use abi::{Outcome, assert_errno, in_mount_namespace, shared_words, signal, spawn, syscall};
use libc::{O_CREAT, O_EXCL, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, SIGUSR1};

/// `struct mq_attr`: flags, messages, bytes of a message, messages there are; four reserved.
type Attributes = [i64; 8];

fn size(messages: i64, bytes: i64) -> Attributes {
    [0, messages, bytes, 0, 0, 0, 0, 0]
}

/// The call takes names without the leading slash, which the library takes off.
fn open(name: &str, flags: i32, mode: u32, attributes: Option<Attributes>) -> Outcome<OwnedFd> {
    let name = CString::new(name).expect("a name");
    let attributes = attributes.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let fd = syscall!(SYS_mq_open, name.as_ptr(), flags, mode, attributes)?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn make(name: &str, messages: i64) -> OwnedFd {
    open(name, O_RDWR | O_CREAT | O_EXCL, 0o600, Some(size(messages, 16))).expect("mq_open")
}

fn unlink(name: &str) -> Outcome {
    let name = CString::new(name).expect("a name");
    syscall!(SYS_mq_unlink, name.as_ptr())
}

fn send(queue: &OwnedFd, text: &str, priority: u32) -> Outcome {
    syscall!(SYS_mq_timedsend, queue.as_raw_fd(), text.as_ptr(), text.len(), priority, 0usize)
}

fn receive_until(queue: &OwnedFd, deadline: *const libc::timespec) -> Outcome<(String, u32)> {
    let mut bytes = [0u8; 64];
    let mut priority = 99u32;
    let len = syscall!(SYS_mq_timedreceive, queue.as_raw_fd(), bytes.as_mut_ptr(), bytes.len(), &raw mut priority, deadline)?;
    Ok((String::from_utf8_lossy(&bytes[..len]).into_owned(), priority))
}

fn receive(queue: &OwnedFd) -> Outcome<(String, u32)> {
    receive_until(queue, std::ptr::null())
}

fn attributes(queue: &OwnedFd) -> Attributes {
    let mut found = Attributes::default();
    syscall!(SYS_mq_getsetattr, queue.as_raw_fd(), 0usize, &raw mut found).expect("mq_getsetattr");
    found
}

fn set_flags(queue: &OwnedFd, flags: i32) -> Outcome {
    let new: Attributes = [i64::from(flags), 77, 77, 77, 0, 0, 0, 0];
    syscall!(SYS_mq_getsetattr, queue.as_raw_fd(), &raw const new, 0usize)
}

/// `struct sigevent`: value, signal, how, and room.
fn notify(queue: &OwnedFd, event: Option<(u64, i32, i32)>) -> Outcome {
    match event {
        None => syscall!(SYS_mq_notify, queue.as_raw_fd(), 0usize),
        Some((value, signal, how)) => {
            let mut words = [0u64; 8];
            words[0] = value;
            words[1] = u64::from(signal as u32) | u64::from(how as u32) << 32;
            syscall!(SYS_mq_notify, queue.as_raw_fd(), words.as_ptr())
        }
    }
}

fn ready(queue: &OwnedFd) -> i16 {
    let mut poll = libc::pollfd { fd: queue.as_raw_fd(), events: libc::POLLIN | libc::POLLOUT, revents: 0 };
    syscall!(SYS_poll, &raw mut poll, 1, 0).expect("poll");
    poll.revents
}

#[test]
fn mq_messages_come_by_priority_and_then_by_age() {
    in_ipc_namespace(|| {
        let queue = make("q", 8);
        for (text, priority) in [("a", 1), ("b", 7), ("c", 1), ("", 7), ("e", 32767)] {
            send(&queue, text, priority).expect("mq_timedsend");
        }
        let found: Vec<_> = (0..5).map(|_| receive(&queue).expect("mq_timedreceive")).collect();
        let found: Vec<_> = found.iter().map(|(text, priority)| (text.as_str(), *priority)).collect();
        assert_eq!(found, [("e", 32767), ("b", 7), ("", 7), ("a", 1), ("c", 1)]);
    });
}

#[test]
fn mq_names_flags_and_sizes_are_checked() {
    in_ipc_namespace(|| {
        for (name, errno) in [("", libc::ENOENT), ("a/b", libc::EACCES), ("/a", libc::EACCES), (".", libc::EACCES), ("..", libc::EACCES)] {
            assert_eq!(open(name, O_RDWR | O_CREAT, 0o600, None).map(drop), Err(abi::Errno(errno)), "{name:?}");
        }
        assert_errno!(open(&"n".repeat(256), O_RDWR | O_CREAT, 0o600, None).map(drop), ENAMETOOLONG);
        assert_errno!(open("q", O_RDWR, 0, None).map(drop), ENOENT);
        assert_errno!(unlink("q"), ENOENT);
        for wrong in [size(0, 16), size(-1, 16), size(1, 0), size(65537, 16), size(1, (16 << 20) + 1)] {
            assert_errno!(open("q", O_RDWR | O_CREAT, 0o600, Some(wrong)).map(drop), EINVAL);
        }
        drop(make("q", 3));
        assert_errno!(open("q", O_RDWR | O_CREAT | O_EXCL, 0o600, None).map(drop), EEXIST);
        assert_errno!(open("q", O_WRONLY | O_RDWR, 0, None).map(drop), EINVAL);
        // The size is that of its making, whatever who opens it says.
        let queue = open("q", O_RDWR | O_CREAT, 0o600, Some(size(9, 9))).expect("the same");
        assert_eq!(attributes(&queue), [0, 3, 16, 0, 0, 0, 0, 0]);
        assert_eq!(syscall!(SYS_fcntl, queue.as_raw_fd(), libc::F_GETFD), Ok(libc::FD_CLOEXEC as usize));
        assert_eq!(attributes(&open("usual", O_RDWR | O_CREAT, 0o600, None).expect("mq_open"))[1..3], [10, 8192]);
    });
}

#[test]
fn mq_what_is_too_long_or_not_open_for_it_is_refused() {
    in_ipc_namespace(|| {
        let queue = make("q", 2);
        assert_errno!(send(&queue, "seventeen letters", 0), EMSGSIZE);
        assert_errno!(send(&queue, "a", 32768), EINVAL);
        assert_errno!(syscall!(SYS_mq_timedsend, queue.as_raw_fd(), 8usize, 4, 0, 0usize), EFAULT);
        let mut short = [0u8; 15];
        assert_errno!(syscall!(SYS_mq_timedreceive, queue.as_raw_fd(), short.as_mut_ptr(), short.len(), 0usize, 0usize), EMSGSIZE);
        let reader = open("q", O_RDONLY, 0, None).expect("a reader");
        let writer = open("q", O_WRONLY, 0, None).expect("a writer");
        assert_errno!(send(&reader, "a", 0), EBADF);
        assert_errno!(receive(&writer), EBADF);
        send(&writer, "a", 0).expect("mq_timedsend");
        assert_eq!(receive(&reader), Ok(("a".to_owned(), 0)));
        let file = std::fs::File::open("/proc/self/status").expect("a file");
        assert_errno!(send(&file.into(), "a", 0), EBADF);
    });
}

#[test]
fn mq_full_and_empty_queues_block_unless_told_otherwise() {
    in_ipc_namespace(|| {
        let queue = make("q", 1);
        set_flags(&queue, O_NONBLOCK).expect("mq_getsetattr");
        assert_errno!(set_flags(&queue, O_NONBLOCK | 1), EINVAL);
        assert_eq!(attributes(&queue)[0], i64::from(O_NONBLOCK));
        assert_errno!(receive(&queue), EAGAIN);
        send(&queue, "a", 0).expect("mq_timedsend");
        assert_errno!(send(&queue, "b", 0), EAGAIN);
        set_flags(&queue, 0).expect("mq_getsetattr");
        // A sender waits for room; what it sends comes behind.
        let sender = spawn(|| send(&queue, "b", 5).map(drop).expect("mq_timedsend"));
        wait_until_asleep(sender.pid());
        assert_eq!(receive(&queue), Ok(("a".to_owned(), 0)));
        sender.join();
        assert_eq!(receive(&queue), Ok(("b".to_owned(), 5)));
        // A receiver waits for a message.
        let receiver = spawn(|| assert_eq!(receive(&queue), Ok(("c".to_owned(), 2))));
        wait_until_asleep(receiver.pid());
        send(&queue, "c", 2).expect("mq_timedsend");
        receiver.join();
        assert_eq!(attributes(&queue)[3], 0);
    });
}

#[test]
fn mq_waits_end_at_a_point_of_the_clock() {
    in_ipc_namespace(|| {
        let queue = make("q", 1);
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        syscall!(SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut now).expect("clock_gettime");
        let past = libc::timespec { tv_sec: 1, tv_nsec: 0 };
        assert_errno!(receive_until(&queue, &past), ETIMEDOUT);
        let started = Instant::now();
        let nanoseconds = now.tv_nsec + 200_000_000;
        let soon = libc::timespec { tv_sec: now.tv_sec + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000 };
        assert_errno!(receive_until(&queue, &soon), ETIMEDOUT);
        assert!(started.elapsed() > Duration::from_millis(100));
        assert_errno!(receive_until(&queue, &libc::timespec { tv_sec: 1, tv_nsec: 1_000_000_000 }), EINVAL);
        // What need not wait does not look at the time; but the time must be one.
        send(&queue, "a", 0).expect("mq_timedsend");
        assert_errno!(syscall!(SYS_mq_timedsend, queue.as_raw_fd(), "b".as_ptr(), 1, 0, &raw const past), ETIMEDOUT);
        assert_eq!(receive_until(&queue, &past), Ok(("a".to_owned(), 0)));
    });
}

#[test]
fn mq_a_signal_interrupts_a_wait() {
    in_ipc_namespace(|| {
        let queue = make("q", 1);
        let receiver = spawn(|| {
            signal::catch(SIGUSR1, 0);
            assert_errno!(receive(&queue), EINTR);
        });
        wait_until_asleep(receiver.pid());
        signal::send(receiver.pid(), SIGUSR1);
        receiver.join();
        // Whoever gave up takes no message along.
        send(&queue, "a", 0).expect("mq_timedsend");
        assert_eq!(receive(&queue), Ok(("a".to_owned(), 0)));
    });
}

#[test]
fn mq_poll_tells_what_would_not_block() {
    in_ipc_namespace(|| {
        let queue = make("q", 2);
        assert_eq!(ready(&queue), libc::POLLOUT);
        send(&queue, "a", 0).expect("mq_timedsend");
        assert_eq!(ready(&queue), libc::POLLIN | libc::POLLOUT);
        send(&queue, "b", 0).expect("mq_timedsend");
        assert_eq!(ready(&queue), libc::POLLIN);
        let epoll = syscall!(SYS_epoll_create1, 0).expect("epoll_create1");
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 5 };
        syscall!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, queue.as_raw_fd(), &raw mut event).expect("epoll_ctl");
        assert_eq!(syscall!(SYS_epoll_wait, epoll, &raw mut event, 1, 0), Ok(1));
    });
}

#[test]
fn mq_a_signal_tells_of_the_first_message_once() {
    in_ipc_namespace(|| {
        let queue = make("q", 4);
        signal::catch(SIGUSR1, libc::SA_SIGINFO);
        notify(&queue, Some((1234, SIGUSR1, libc::SIGEV_SIGNAL))).expect("mq_notify");
        assert_errno!(notify(&queue, Some((1, SIGUSR1, libc::SIGEV_SIGNAL))), EBUSY);
        spawn(|| {
            assert_errno!(notify(&queue, Some((1, SIGUSR1, libc::SIGEV_SIGNAL))), EBUSY);
            // Somebody else's is not taken away.
            notify(&queue, None).expect("mq_notify");
            // Descriptors are closed at the end of a process, which takes away its own alone.
        })
        .join();
        let sender = spawn(|| send(&queue, "a", 0).map(drop).expect("mq_timedsend"));
        let pid = sender.pid();
        sender.join();
        wait_until("the signal", || signal::count(SIGUSR1) == 1);
        // SI_MESGQ.
        assert_eq!((signal::code(SIGUSR1), signal::value(SIGUSR1), signal::sender(SIGUSR1)), (-3, 1234, pid));
        send(&queue, "b", 0).expect("mq_timedsend");
        (0..2).for_each(|_| assert!(receive(&queue).is_ok()));
        send(&queue, "c", 0).expect("mq_timedsend");
        assert_eq!(signal::count(SIGUSR1), 1);
        // The queue is not empty: the next message is no news.
        notify(&queue, Some((1, SIGUSR1, libc::SIGEV_SIGNAL))).expect("mq_notify");
        send(&queue, "d", 0).expect("mq_timedsend");
        assert_eq!(signal::count(SIGUSR1), 1);
    });
}

#[test]
fn mq_who_waits_gets_the_message_before_who_is_notified() {
    in_ipc_namespace(|| {
        let queue = make("q", 4);
        signal::catch(SIGUSR1, libc::SA_SIGINFO);
        notify(&queue, Some((1, SIGUSR1, libc::SIGEV_SIGNAL))).expect("mq_notify");
        let receiver = spawn(|| assert_eq!(receive(&queue), Ok(("a".to_owned(), 0))));
        wait_until_asleep(receiver.pid());
        send(&queue, "a", 0).expect("mq_timedsend");
        receiver.join();
        assert_eq!(signal::count(SIGUSR1), 0);
        send(&queue, "b", 0).expect("mq_timedsend");
        wait_until("the signal", || signal::count(SIGUSR1) == 1);
    });
}

#[test]
fn mq_notifications_are_taken_back_and_end_with_the_descriptor() {
    in_ipc_namespace(|| {
        let queue = make("q", 4);
        for wrong in [(1, 65, libc::SIGEV_SIGNAL), (1, SIGUSR1, 77)] {
            assert_errno!(notify(&queue, Some(wrong)), EINVAL);
        }
        notify(&queue, Some((1, SIGUSR1, libc::SIGEV_NONE))).expect("mq_notify");
        notify(&queue, None).expect("mq_notify");
        let other = open("q", O_RDONLY, 0, None).expect("mq_open");
        notify(&other, Some((1, SIGUSR1, libc::SIGEV_NONE))).expect("mq_notify");
        assert_errno!(notify(&queue, Some((1, SIGUSR1, libc::SIGEV_NONE))), EBUSY);
        drop(other);
        notify(&queue, Some((1, SIGUSR1, libc::SIGEV_NONE))).expect("mq_notify");
    });
}

/// What a library does for `SIGEV_THREAD`: a cookie is sent to a netlink socket, where a thread waits for it.
#[test]
fn mq_a_cookie_is_sent_to_a_socket() {
    in_ipc_namespace(|| {
        let queue = make("q", 4);
        let socket = syscall!(SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0).expect("socket") as i32;
        let cookie = [7u8; 32];
        let address = cookie.as_ptr().addr() as u64;
        assert_errno!(notify(&queue, Some((address, queue.as_raw_fd(), libc::SIGEV_THREAD))), ENOTSOCK);
        notify(&queue, Some((address, socket, libc::SIGEV_THREAD))).expect("mq_notify");
        send(&queue, "a", 0).expect("mq_timedsend");
        let mut found = [0u8; 64];
        assert_eq!(syscall!(SYS_recvfrom, socket, found.as_mut_ptr(), 64, 0, 0usize, 0usize), Ok(32));
        assert_eq!((&found[..31], found[31]), (&cookie[..31], 1));
        // Taking it back is told, too.
        receive(&queue).expect("mq_timedreceive");
        notify(&queue, Some((address, socket, libc::SIGEV_THREAD))).expect("mq_notify");
        notify(&queue, None).expect("mq_notify");
        assert_eq!(syscall!(SYS_recvfrom, socket, found.as_mut_ptr(), 64, 0, 0usize, 0usize), Ok(32));
        assert_eq!(found[31], 2);
    });
}

#[test]
fn mq_queues_are_files_of_their_namespace() {
    in_mount_namespace(|| {
        unshare(libc::CLONE_NEWIPC).expect("an ipc namespace");
        abi::world::mkdir("/tmp/q");
        mount("mqueue", "/tmp/q", "mqueue", 0, "").expect("mount");
        let queue = make("first", 4);
        assert_eq!(names("/tmp/q"), ["first"]);
        send(&queue, "12345", 0).expect("mq_timedsend");
        assert_eq!(read("/tmp/q/first"), "QSIZE:5          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n");
        notify(&queue, Some((1, SIGUSR1, libc::SIGEV_SIGNAL))).expect("mq_notify");
        let pid = std::process::id();
        assert_eq!(read("/tmp/q/first"), format!("QSIZE:5          NOTIFY:0     SIGNO:{SIGUSR1:<5} NOTIFY_PID:{pid:<6}\n"));
        // What is made as a file is a queue of the usual size.
        abi::world::touch("/tmp/q/second");
        let second = open("second", O_RDWR, 0, None).expect("mq_open");
        assert_eq!(attributes(&second)[1..3], [10, 8192]);
        // A descriptor of the file is one of the queue.
        let file = abi::world::open("/tmp/q/first", O_RDWR).expect("open");
        assert_eq!(receive(&file.into()), Ok(("12345".to_owned(), 0)));
        unlink("first").expect("mq_unlink");
        assert!(!exists("/tmp/q/first"));
        // It lives as long as it is open.
        send(&queue, "a", 0).expect("mq_timedsend");
        assert_eq!(receive(&queue), Ok(("a".to_owned(), 0)));
        unshare(libc::CLONE_NEWIPC).expect("an ipc namespace");
        assert_errno!(open("second", O_RDWR, 0, None).map(drop), ENOENT);
        assert!(exists("/tmp/q/second"));
    });
}

#[test]
fn mq_permissions_are_those_of_files() {
    in_ipc_namespace(|| {
        syscall!(SYS_umask, 0).expect("umask");
        drop(open("mine", O_RDWR | O_CREAT, 0o600, None).expect("mq_open"));
        drop(open("readable", O_RDWR | O_CREAT, 0o644, None).expect("mq_open"));
        become_user(1000);
        assert_errno!(open("mine", O_RDONLY, 0, None).map(drop), EACCES);
        assert_errno!(open("readable", O_WRONLY, 0, None).map(drop), EACCES);
        drop(open("readable", O_RDONLY, 0, None).expect("mq_open"));
        // The directory is sticky.
        assert_errno!(unlink("readable"), EPERM);
        drop(open("own", O_RDWR | O_CREAT, 0o600, None).expect("mq_open"));
        unlink("own").expect("mq_unlink");
    });
}

#[test]
fn mq_limits_are_those_of_namespace_and_user() {
    in_ipc_namespace(|| {
        let folder = "/proc/sys/fs/mqueue";
        assert_eq!(read(&format!("{folder}/msg_max")), "10\n");
        write(&format!("{folder}/queues_max"), "3");
        write(&format!("{folder}/msg_max"), "20");
        assert!(std::fs::write(format!("{folder}/msg_max"), "65537").is_err());
        spawn(|| {
            become_user(1234);
            drop(open("a", O_RDWR | O_CREAT, 0o600, Some(size(20, 16))).expect("mq_open"));
            assert_errno!(open("b", O_RDWR | O_CREAT, 0o600, Some(size(21, 16))).map(drop), EINVAL);
            // A little more than two queues of the usual size go into the limit.
            let usual = 10 * (8192 + 48 + 48) as u64;
            let limit = [usual + usual / 2, 800_000];
            syscall!(SYS_setrlimit, libc::RLIMIT_MSGQUEUE, limit.as_ptr()).expect("setrlimit");
            drop(open("c", O_RDWR | O_CREAT, 0o600, None).expect("mq_open"));
            assert_errno!(open("d", O_RDWR | O_CREAT, 0o600, None).map(drop), EMFILE);
            unlink("c").expect("mq_unlink");
            drop(open("d", O_RDWR | O_CREAT, 0o600, None).expect("mq_open"));
            drop(open("e", O_RDWR | O_CREAT, 0o600, Some(size(1, 1))).expect("mq_open"));
            assert_errno!(open("f", O_RDWR | O_CREAT, 0o600, Some(size(1, 1))).map(drop), ENOSPC);
        })
        .join();
        // Who has CAP_SYS_RESOURCE goes beyond.
        drop(open("g", O_RDWR | O_CREAT, 0o600, Some(size(100, 16))).expect("mq_open"));
    });
}

#[test]
fn mq_many_senders_and_receivers_lose_nothing() {
    in_ipc_namespace(|| {
        let queue = make("q", 3);
        let words = shared_words();
        let senders: Vec<_> = (0..3u32).map(|number| spawn(move || (0..40).for_each(|_| send_number(number + 1)))).collect();
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                spawn(|| {
                    for _ in 0..60 {
                        let (text, _) = receive(&queue).expect("mq_timedreceive");
                        words[0].fetch_add(text.parse().expect("a number"), SeqCst);
                    }
                })
            })
            .collect();
        senders.into_iter().chain(receivers).for_each(abi::Child::join);
        assert_eq!((words[0].load(SeqCst), attributes(&queue)[3]), (40 * (1 + 2 + 3), 0));
    });
}

fn send_number(number: u32) {
    let queue = open("q", O_WRONLY, 0, None).expect("mq_open");
    send(&queue, &number.to_string(), number).expect("mq_timedsend");
}
