//! Processes of a test's own. What goes wrong in one comes back to the harness as the panic message it had there.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// How long a child may take before it counts as hung. Tests take milliseconds; an emulated processor makes them seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a process ended or paused, from a wait status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Called exit with this code.
    Exited(i32),
    /// Was killed by this signal.
    Killed(i32),
    /// Was stopped by this signal.
    Stopped(i32),
    /// Was continued by `SIGCONT`.
    Continued,
}

impl Status {
    /// Decodes what `wait4` stored.
    pub fn from_raw(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Status::Exited(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Status::Killed(libc::WTERMSIG(status))
        } else if libc::WIFSTOPPED(status) {
            Status::Stopped(libc::WSTOPSIG(status))
        } else {
            Status::Continued
        }
    }
}

/// `wait4` on `pid` with `options`; `None` if `WNOHANG` found nothing.
pub fn wait_for(pid: i32, options: i32) -> crate::Outcome<Option<(i32, Status)>> {
    let mut status = 0i32;
    let found = loop {
        match crate::syscall!(SYS_wait4, pid, &raw mut status, options, 0usize) {
            Err(crate::Errno(libc::EINTR)) => {}
            other => break other?,
        }
    };
    Ok((found != 0).then(|| (found as i32, Status::from_raw(status))))
}

/// Waits for `pid` to end and gives how.
pub fn wait_end(pid: i32) -> Status {
    wait_for(pid, 0).expect("a child to wait for").expect("a status").1
}

static FORKED: AtomicBool = AtomicBool::new(false);
static FIRST_PANIC: Mutex<Option<String>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// In a forked process a panic is kept for the report instead of printed: the harness's output capture is the parent's.
fn keep_panics_of_children() {
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !FORKED.load(Ordering::Relaxed) {
                return usual(panic);
            }
            let message = panic.payload().downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| panic.payload().downcast_ref::<&str>().copied()).unwrap_or("a panic");
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            if let Ok(mut first) = FIRST_PANIC.lock() {
                first.get_or_insert_with(|| format!("{message} (at {place})"));
            }
        }));
    });
}

/// A forked process that runs one closure.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    report: OwnedFd,
    reaped: bool,
}

/// Forks a process that runs `body` and exits with 0, or reports the panic. It dies with its parent.
pub fn spawn(body: impl FnOnce()) -> Child {
    keep_panics_of_children();
    let (report, reporter) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    // SAFETY: libc's fork leaves the allocator usable in the child; the child runs only `body` and never returns.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        drop(report);
        run_as_child(body, reporter);
    }
    Child { pid, report, reaped: false }
}

/// Runs `body` in a forked process with default signal dispositions and no descriptors but 0, 1 and 2, and hands its panic on.
pub fn in_child(body: impl FnOnce()) {
    spawn(|| {
        crate::signal::reset();
        close_inherited();
        body();
    })
    .join();
}

/// Says something past the harness, which keeps what a test that passes prints: above all that it found nothing to test.
pub fn tell(text: &str) {
    let line = format!("{text}\n");
    let _ = crate::syscall!(SYS_write, 2, line.as_ptr(), line.len());
}

/// Ends the process at once.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: exit_group touches no memory.
    unsafe { libc::_exit(code) }
}

/// The number of the report pipe, which [`close_inherited`] must spare.
static REPORTER: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

/// Closes what other tests' threads had open when this process was forked, so that their pipes and files are not held by it.
fn close_inherited() {
    let kept = REPORTER.load(Ordering::Relaxed) as u32;
    for (first, last) in [(3, kept.saturating_sub(1)), (kept + 1, u32::MAX)] {
        if first <= last {
            let _ = crate::syscall!(SYS_close_range, first, last, 0);
        }
    }
}

fn run_as_child(body: impl FnOnce(), reporter: OwnedFd) -> ! {
    FORKED.store(true, Ordering::Relaxed);
    // High, out of the way of tests that count descriptors from the lowest free one.
    // SAFETY: fcntl duplicates a descriptor; the result, if valid, is owned by nobody else.
    let reporter = unsafe {
        let high = libc::fcntl(reporter.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 200);
        if high < 0 { reporter } else { OwnedFd::from_raw_fd(high) }
    };
    REPORTER.store(reporter.as_raw_fd(), Ordering::Relaxed);
    let _ = crate::syscall!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    let message = match outcome {
        Ok(()) => String::new(),
        Err(_) => {
            let kept = FIRST_PANIC.lock().ok().and_then(|mut first| first.take());
            kept.unwrap_or_else(|| "a panic without a message".to_string())
        }
    };
    let mut frame = (message.len() as u32).to_le_bytes().to_vec();
    frame.extend(message.as_bytes());
    let failed = std::fs::File::from(reporter).write_all(&frame).is_err() || !message.is_empty();
    exit_now(if failed { 101 } else { 0 })
}

impl Child {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for it to end and panics if its closure did, or if it did not end by itself.
    pub fn join(mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut ended = None;
        while ended.is_none() && !self.report_is_there(Duration::from_millis(20)) {
            ended = wait_for(self.pid, libc::WNOHANG).ok().flatten();
            assert!(Instant::now() < deadline, "the child process hangs");
        }
        let message = self.read_report();
        let status = ended.map_or_else(|| self.reap(deadline), |(_, status)| status);
        self.reaped = true;
        match message {
            Some(message) if message.is_empty() => assert_eq!(status, Status::Exited(0), "the child after its closure"),
            Some(message) => panic!("{message}"),
            None => panic!("the child ended before its closure did: {status:?}"),
        }
    }

    /// Waits for it to end, in whatever way, and gives how.
    pub fn status(mut self) -> Status {
        let status = self.reap(Instant::now() + PATIENCE);
        self.reaped = true;
        status
    }

    fn reap(&self, deadline: Instant) -> Status {
        loop {
            match wait_for(self.pid, libc::WNOHANG) {
                Ok(Some((_, status))) => return status,
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                // Its parent ignores SIGCHLD or has waited for it already.
                Err(_) => return Status::Exited(0),
            }
            assert!(Instant::now() < deadline, "the child process hangs");
        }
    }

    fn report_is_there(&self, timeout: Duration) -> bool {
        let mut poll = libc::pollfd { fd: self.report.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        matches!(crate::syscall!(SYS_poll, &raw mut poll, 1, timeout.as_millis() as u64), Ok(1))
    }

    fn read_report(&mut self) -> Option<String> {
        if !self.report_is_there(Duration::ZERO) {
            return None;
        }
        let mut pipe = std::fs::File::from(self.report.try_clone().ok()?);
        let mut len = [0; 4];
        pipe.read_exact(&mut len).ok()?;
        let mut message = vec![0; u32::from_le_bytes(len) as usize];
        pipe.read_exact(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message).into_owned())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = crate::syscall!(SYS_kill, self.pid, libc::SIGKILL);
            let _ = wait_for(self.pid, 0);
        }
    }
}

/// Waits until `condition` holds, a few seconds at most; `what` names it in the failure.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the process or thread `id` sleeps in the kernel, as `/proc` shows it.
#[track_caller]
pub fn wait_until_asleep(id: i32) {
    wait_until("it sleeps", || state_of(id) == Some('S'));
}

/// The state letter of `/proc/<id>/stat`.
pub fn state_of(id: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
