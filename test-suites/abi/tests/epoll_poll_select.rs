//! Waiting for many descriptors: poll, ppoll, select, pselect6, and epoll in its level, edge and one-shot forms.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use abi::child::wait_until_asleep;
use abi::{Outcome, assert_errno, in_child, signal, spawn, syscall};
use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT};
use libc::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT};

fn poll(fds: &mut [libc::pollfd], timeout_ms: i32) -> Outcome {
    syscall!(SYS_poll, fds.as_mut_ptr(), fds.len(), timeout_ms)
}

fn pollfd(fd: &impl AsRawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

/// One event set without waiting.
fn ready(fd: &impl AsRawFd, events: i16) -> i16 {
    let mut fds = [pollfd(fd, events)];
    poll(&mut fds, 0).expect("poll");
    fds[0].revents
}

/// An epoll instance.
struct Epoll(i32);

impl Epoll {
    fn new() -> Self {
        Epoll(syscall!(SYS_epoll_create1, libc::EPOLL_CLOEXEC).expect("epoll_create1") as i32)
    }

    fn control(&self, operation: i32, fd: i32, events: i32, data: u64) -> Outcome {
        let event = libc::epoll_event { events: events as u32, u64: data };
        syscall!(SYS_epoll_ctl, self.0, operation, fd, &raw const event)
    }

    fn add(&self, fd: &impl AsRawFd, events: i32, data: u64) {
        self.control(EPOLL_CTL_ADD, fd.as_raw_fd(), events, data).expect("EPOLL_CTL_ADD");
    }

    /// (data, events) of what is ready.
    fn wait(&self, timeout_ms: i32) -> Outcome<Vec<(u64, i32)>> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        let count = syscall!(SYS_epoll_wait, self.0, events.as_mut_ptr(), 8, timeout_ms)?;
        Ok(events[..count].iter().map(|event| (event.u64, event.events as i32)).collect())
    }
}

#[test]
fn poll_tells_what_pipes_are_ready_for() {
    in_child(|| {
        let (mut reader, mut writer) = std::io::pipe().expect("pipe");
        assert_eq!((ready(&reader, POLLIN), ready(&writer, POLLOUT)), (0, POLLOUT));
        writer.write_all(b"x").expect("write");
        assert_eq!(ready(&reader, POLLIN), POLLIN);
        assert_eq!(ready(&reader, POLLOUT), 0);
        drop(writer);
        assert_eq!(ready(&reader, POLLIN), POLLIN | POLLHUP);
        reader.read_exact(&mut [0]).expect("read");
        assert_eq!(ready(&reader, 0), POLLHUP, "told without being asked for");
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        assert_eq!(ready(&writer, POLLOUT), POLLOUT | POLLERR);
    });
}

#[test]
fn poll_skips_negative_descriptors_and_marks_closed_ones() {
    in_child(|| {
        let mut fds = [-1, 777, 0].map(|fd| libc::pollfd { fd, events: 0, revents: 99 });
        fds[2].fd = -5;
        assert_eq!(poll(&mut fds, 0), Ok(1));
        assert_eq!(fds.map(|fd| fd.revents), [0, POLLNVAL, 0]);
        let file = std::fs::File::open("/proc/self/exe").expect("open");
        assert_eq!(ready(&file, POLLIN | POLLOUT), POLLIN | POLLOUT, "files are always ready");
    });
}

#[test]
fn poll_waits_for_its_timeout_or_an_event() {
    in_child(|| {
        let (reader, writer) = std::io::pipe().expect("pipe");
        let start = Instant::now();
        assert_eq!(poll(&mut [pollfd(&reader, POLLIN)], 30), Ok(0));
        assert!(start.elapsed() >= Duration::from_millis(30));
        let waiter = spawn(|| {
            let mut fds = [pollfd(&reader, POLLIN)];
            assert_eq!((poll(&mut fds, -1), fds[0].revents), (Ok(1), POLLIN));
        });
        wait_until_asleep(waiter.pid());
        (&writer).write_all(b"x").expect("write");
        waiter.join();
        assert_eq!(poll(&mut [], 10), Ok(0), "a way to sleep");
    });
}

#[test]
fn ppoll_swaps_the_mask_while_it_waits() {
    in_child(|| {
        signal::catch(libc::SIGUSR1, 0);
        signal::set_mask(&[libc::SIGUSR1]);
        signal::raise(libc::SIGUSR1);
        let none = 0u64;
        assert_errno!(syscall!(SYS_ppoll, 0usize, 0, 0usize, &raw const none, 8), EINTR);
        assert_eq!(signal::count(libc::SIGUSR1), 1);
        assert_eq!(signal::mask(), signal::bits(&[libc::SIGUSR1]));
        let wrong = libc::timespec { tv_sec: 0, tv_nsec: -1 };
        assert_errno!(syscall!(SYS_ppoll, 0usize, 0, &raw const wrong, 0usize, 8), EINVAL);
        assert_errno!(syscall!(SYS_ppoll, 0usize, 0, 0usize, &raw const none, 4), EINVAL);
    });
}

#[test]
fn select_reports_in_its_sets() {
    in_child(|| {
        let (reader, writer) = std::io::pipe().expect("pipe");
        let bit = |fd: &dyn AsRawFd| 1u64 << fd.as_raw_fd();
        assert!(reader.as_raw_fd() < 60 && writer.as_raw_fd() < 60);
        let select = |read: u64, write: u64, timeout_ms: i64| {
            let (mut read, mut write) = ([read, 0], [write, 0]);
            let mut timeout = libc::timeval { tv_sec: 0, tv_usec: timeout_ms * 1000 };
            let count = syscall!(SYS_select, 64, read.as_mut_ptr(), write.as_mut_ptr(), 0usize, &raw mut timeout);
            count.map(|count| (count, read[0], write[0]))
        };
        assert_eq!(select(bit(&reader), bit(&writer), 1000), Ok((1, 0, bit(&writer))));
        assert_eq!(select(bit(&reader), 0, 10), Ok((0, 0, 0)));
        (&writer).write_all(b"x").expect("write");
        assert_eq!(select(bit(&reader), bit(&writer), 0), Ok((2, bit(&reader), bit(&writer))));
        assert_errno!(select(1 << 62, 0, 0), EBADF);
        assert_errno!(syscall!(SYS_select, -1, 0usize, 0usize, 0usize, 0usize), EINVAL);
        let negative = libc::timeval { tv_sec: -1, tv_usec: 0 };
        assert_errno!(syscall!(SYS_select, 0, 0usize, 0usize, 0usize, &raw const negative), EINVAL);
    });
}

#[test]
fn pselect_ends_with_a_signal_of_its_mask() {
    in_child(|| {
        signal::catch(libc::SIGUSR1, 0);
        signal::set_mask(&[libc::SIGUSR1]);
        signal::raise(libc::SIGUSR1);
        let none = 0u64;
        let argument = [&raw const none as usize, 8];
        assert_errno!(syscall!(SYS_pselect6, 0, 0usize, 0usize, 0usize, 0usize, argument.as_ptr()), EINTR);
        assert_eq!(signal::count(libc::SIGUSR1), 1);
    });
}

#[test]
fn level_triggered_epoll_tells_again_and_again() {
    in_child(|| {
        let (mut reader, mut writer) = std::io::pipe().expect("pipe");
        let epoll = Epoll::new();
        epoll.add(&reader, EPOLLIN, 7);
        assert_eq!(epoll.wait(0), Ok(vec![]));
        writer.write_all(b"ab").expect("write");
        for _ in 0..2 {
            assert_eq!(epoll.wait(0), Ok(vec![(7, EPOLLIN)]));
        }
        reader.read_exact(&mut [0; 2]).expect("read");
        assert_eq!(epoll.wait(0), Ok(vec![]));
        drop(writer);
        assert_eq!(epoll.wait(0), Ok(vec![(7, EPOLLHUP)]));
    });
}

#[test]
fn edge_triggered_epoll_tells_each_arrival_once() {
    in_child(|| {
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        let epoll = Epoll::new();
        epoll.add(&reader, EPOLLIN | EPOLLET, 1);
        writer.write_all(b"a").expect("write");
        assert_eq!(epoll.wait(0), Ok(vec![(1, EPOLLIN)]));
        assert_eq!(epoll.wait(0), Ok(vec![]));
        writer.write_all(b"b").expect("write");
        assert_eq!(epoll.wait(0), Ok(vec![(1, EPOLLIN)]), "new data, though the old was not read");
        assert_eq!(epoll.wait(0), Ok(vec![]));
    });
}

#[test]
fn one_shot_epoll_is_silent_until_rearmed() {
    in_child(|| {
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        let epoll = Epoll::new();
        epoll.add(&reader, EPOLLIN | EPOLLONESHOT, 1);
        writer.write_all(b"a").expect("write");
        assert_eq!(epoll.wait(0), Ok(vec![(1, EPOLLIN)]));
        writer.write_all(b"b").expect("write");
        assert_eq!(epoll.wait(0), Ok(vec![]));
        epoll.control(EPOLL_CTL_MOD, reader.as_raw_fd(), EPOLLIN | EPOLLONESHOT, 2).expect("EPOLL_CTL_MOD");
        assert_eq!(epoll.wait(0), Ok(vec![(2, EPOLLIN)]));
    });
}

#[test]
fn epoll_ctl_has_the_errors_of_its_manual() {
    in_child(|| {
        let (reader, _writer) = std::io::pipe().expect("pipe");
        let epoll = Epoll::new();
        let fd = reader.as_raw_fd();
        assert_errno!(epoll.control(EPOLL_CTL_MOD, fd, EPOLLIN, 0), ENOENT);
        assert_errno!(epoll.control(EPOLL_CTL_DEL, fd, 0, 0), ENOENT);
        epoll.add(&reader, EPOLLIN, 0);
        assert_errno!(epoll.control(EPOLL_CTL_ADD, fd, EPOLLIN, 0), EEXIST);
        assert_errno!(epoll.control(EPOLL_CTL_ADD, epoll.0, EPOLLIN, 0), EINVAL);
        assert_errno!(epoll.control(EPOLL_CTL_ADD, 777, EPOLLIN, 0), EBADF);
        assert_errno!(epoll.control(9, fd, EPOLLIN, 0), EINVAL);
        let file = std::fs::File::open("/proc/self/exe").expect("open");
        assert_errno!(epoll.control(EPOLL_CTL_ADD, file.as_raw_fd(), EPOLLIN, 0), EPERM);
        assert_errno!(syscall!(SYS_epoll_wait, epoll.0, [0u64; 4].as_mut_ptr(), 0, 0), EINVAL);
        assert_errno!(syscall!(SYS_epoll_wait, fd, [0u64; 4].as_mut_ptr(), 1, 0), EINVAL);
        epoll.control(EPOLL_CTL_DEL, fd, 0, 0).expect("EPOLL_CTL_DEL");
    });
}

#[test]
fn epoll_instances_nest_but_not_in_a_circle() {
    in_child(|| {
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        let (inner, outer) = (Epoll::new(), Epoll::new());
        inner.add(&reader, EPOLLIN, 1);
        outer.control(EPOLL_CTL_ADD, inner.0, EPOLLIN, 2).expect("nested");
        assert_errno!(inner.control(EPOLL_CTL_ADD, outer.0, EPOLLIN, 3), ELOOP);
        assert_eq!(outer.wait(0), Ok(vec![]));
        writer.write_all(b"x").expect("write");
        assert_eq!(outer.wait(0), Ok(vec![(2, EPOLLIN)]));
        assert_eq!(ready(&inner.0, POLLIN), POLLIN);
    });
}

#[test]
fn closing_the_last_descriptor_leaves_the_set() {
    in_child(|| {
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        let epoll = Epoll::new();
        epoll.add(&reader, EPOLLIN, 1);
        let copy = reader.try_clone().expect("dup");
        writer.write_all(b"x").expect("write");
        drop(reader);
        assert_eq!(epoll.wait(0), Ok(vec![(1, EPOLLIN)]), "the open file lives on in the copy");
        drop(copy);
        assert_eq!(epoll.wait(0), Ok(vec![]));
    });
}

#[test]
fn epoll_wakes_sleepers_and_times_out() {
    in_child(|| {
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        let epoll = Epoll::new();
        epoll.add(&reader, EPOLLIN, 1);
        epoll.add(&writer, EPOLLOUT | EPOLLET, 2);
        assert_eq!(epoll.wait(1000), Ok(vec![(2, EPOLLOUT)]));
        let start = Instant::now();
        assert_eq!(epoll.wait(20), Ok(vec![]));
        assert!(start.elapsed() >= Duration::from_millis(20));
        let waiter = spawn(|| assert_eq!(epoll.wait(-1), Ok(vec![(1, EPOLLIN)])));
        wait_until_asleep(waiter.pid());
        writer.write_all(b"x").expect("write");
        waiter.join();
    });
}

#[test]
fn epoll_pwait_takes_a_mask_and_many_events_share_the_turns() {
    in_child(|| {
        let pipes: Vec<_> = (0..6).map(|_| std::io::pipe().expect("pipe")).collect();
        let epoll = Epoll::new();
        for (number, (reader, writer)) in pipes.iter().enumerate() {
            epoll.add(reader, EPOLLIN, number as u64);
            let mut writer = writer;
            writer.write_all(b"x").expect("write");
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let mut events = [libc::epoll_event { events: 0, u64: 0 }; 2];
            let count = syscall!(SYS_epoll_pwait, epoll.0, events.as_mut_ptr(), 2, 0, 0usize, 8).expect("epoll_pwait");
            assert_eq!(count, 2);
            seen.extend(events.iter().map(|event| event.u64));
        }
        assert_eq!(seen.len(), 6, "nobody is starved");
        signal::catch(libc::SIGUSR1, 0);
        signal::set_mask(&[libc::SIGUSR1]);
        signal::raise(libc::SIGUSR1);
        let (none, empty) = (0u64, Epoll::new());
        let mut event = [0u64; 2];
        assert_errno!(syscall!(SYS_epoll_pwait, empty.0, event.as_mut_ptr(), 1, -1, &raw const none, 8), EINTR);
    });
}

#[test]
fn sockets_report_half_and_whole_hang_ups() {
    in_child(|| {
        let (one, two) = std::os::unix::net::UnixStream::pair().expect("socketpair");
        assert_eq!(ready(&one, POLLIN | POLLOUT), POLLOUT);
        two.shutdown(std::net::Shutdown::Write).expect("shutdown");
        assert_eq!(ready(&one, POLLIN | POLLOUT | libc::POLLRDHUP), POLLIN | POLLOUT | libc::POLLRDHUP);
        drop(two);
        assert_eq!(ready(&one, POLLIN) & (POLLIN | POLLHUP), POLLIN | POLLHUP);
    });
}
