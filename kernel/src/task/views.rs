//! What `/proc` asks of threads and processes and nobody else does.

use crate::task::signal::SignalSet;
use crate::task::{Process, Thread};
use core::sync::atomic::{AtomicU64, Ordering};

static FORKS: AtomicU64 = AtomicU64::new(0);

/// How many processes and threads were ever made (`processes` of `/proc/stat`).
pub fn forks() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// One more was made.
pub(in crate::task) fn count_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

impl Thread {
    /// Field 19 of `/proc/PID/stat`: -20 to 19.
    pub fn nice(&self) -> i32 {
        self.policy.lock().nice
    }

    /// Field 40 of `/proc/PID/stat`: 1 to 99, 0 for an ordinary thread.
    pub fn real_time_priority(&self) -> i32 {
        self.policy.lock().priority
    }

    /// Field 41 of `/proc/PID/stat`: `SCHED_OTHER` and so on.
    pub fn policy_number(&self) -> u32 {
        self.policy.lock().policy
    }

    /// `/proc/PID/timerslack_ns`.
    pub fn timer_slack_ns(&self) -> u64 {
        self.timer_slack_ns.load(Ordering::Relaxed)
    }

    /// A write to `/proc/PID/timerslack_ns`.
    pub fn set_timer_slack_ns(&self, slack_ns: u64) {
        self.timer_slack_ns.store(slack_ns, Ordering::Relaxed);
    }
}

impl Process {
    /// Field 38 of `/proc/PID/stat`: the signal for the parent at the end.
    pub fn shown_exit_signal(&self) -> i32 {
        self.exit_signal.load(Ordering::Relaxed)
    }

    /// Field 52 of `/proc/PID/stat`: the status for `wait4`; 0 while the process lives.
    pub fn wait_status(&self) -> i32 {
        self.family.lock().zombie.unwrap_or(0)
    }

    /// `ShdPnd` of `/proc/PID/status`, and how many signals are queued for the process and its threads (`SigQ`).
    pub fn pending_signals(&self) -> (SignalSet, usize) {
        let of_threads: usize = self.threads().iter().map(|thread| thread.signals.lock().pending.queued()).sum();
        let signals = self.signals.lock();
        (signals.pending.set(), signals.pending.queued() + of_threads)
    }

    /// `TIOCNOTTY` of a process that does not lead its session: it alone has no controlling terminal any more.
    pub fn forget_terminal(&self) {
        let old = self.family.lock().terminal.take();
        drop(old);
    }
}
