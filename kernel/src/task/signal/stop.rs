//! Job control: processes that are stopped and continued.

use super::{Signal, SignalSet};
use crate::task::cgroup::freezer;
use crate::task::wait_queue::WaitMode;
use crate::task::{Process, Thread, current, wait};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

/// Where a process stands between running and stopped.
#[derive(Default)]
pub(in crate::task) struct StopState {
    /// All its threads are to stop, for this signal.
    requested: Option<Signal>,
    /// How many have.
    stopped_threads: usize,
    /// The last one has, and the parent was told.
    complete: bool,
    /// A stop that `wait4(WUNTRACED)` has not reported.
    pub stop_event: Option<Signal>,
    /// A continuation that `wait4(WCONTINUED)` has not reported.
    pub continue_event: bool,
}

impl StopState {
    /// Whether threads are to stop, or have.
    pub(in crate::task) fn is_requested(&self) -> bool {
        self.requested.is_some()
    }

    /// Whether all have.
    pub(in crate::task) fn is_stopped(&self) -> bool {
        self.complete
    }

    pub(in crate::task) fn clear(&mut self) {
        self.requested = None;
        self.complete = false;
    }
}

impl Thread {
    /// Whether it is stopped now.
    pub fn signals_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// A stop signal takes away a SIGCONT that waits and the other way round, and SIGCONT continues the process however it is handled
/// (`signal(7)`; POSIX 2.4.1).
pub(super) fn note_opposites(process: &Arc<Process>, signal: Signal) {
    if SignalSet::STOPPING.contains(signal) {
        discard(process, SignalSet::of(&[Signal::CONT]));
    } else if signal == Signal::CONT {
        discard(process, SignalSet::STOPPING);
        continue_process(process);
    }
}

fn discard(process: &Arc<Process>, gone: SignalSet) {
    process.signals.lock().pending.discard(gone);
    for thread in process.threads() {
        thread.signals.lock().pending.discard(gone);
    }
}

fn continue_process(process: &Arc<Process>) {
    let was_stopped = {
        let mut signals = process.signals.lock();
        if !signals.stop.is_requested() {
            return;
        }
        let was_stopped = signals.stop.complete;
        signals.stop.clear();
        signals.stop.stop_event = None;
        signals.stop.continue_event = was_stopped;
        was_stopped
    };
    process.stop_queue.wake_all();
    if was_stopped {
        wait::notify_parent(process, sys::CLD_CONTINUED, Signal::CONT.number() as i32);
    }
}

/// The default action of a stop signal: from now on all threads of the process stop.
pub(super) fn request_stop(process: &Arc<Process>, signal: Signal) {
    {
        let mut signals = process.signals.lock();
        if signals.group_exit.is_some() || signals.stop.is_requested() {
            return;
        }
        signals.stop.requested = Some(signal);
    }
    for thread in process.threads() {
        crate::task::scheduler::wake_for_signal(&thread, false);
    }
}

/// Stops the current thread until SIGCONT or its end, if its process is to stop.
pub(super) fn stop_if_requested(thread: &Thread) {
    let process = &thread.process;
    {
        let mut signals = process.signals.lock();
        if !signals.stop.is_requested() {
            return;
        }
        signals.stop.stopped_threads += 1;
    }
    thread.stopped.store(true, Ordering::Relaxed);
    note_stopped(process);
    let continued = || {
        let requested = process.signals.lock().stop.is_requested();
        (!requested).then_some(())
    };
    let _ = freezer::while_frozen(&current(), || process.stop_queue.wait_until(WaitMode::KILLABLE, continued));
    thread.stopped.store(false, Ordering::Relaxed);
    process.signals.lock().stop.stopped_threads -= 1;
}

/// Completes the stop once the last thread that could run has stopped or ended.
pub(in crate::task) fn note_stopped(process: &Arc<Process>) {
    let live_threads = process.family.lock().live_threads;
    let signal = {
        let mut signals = process.signals.lock();
        let stop = &mut signals.stop;
        let Some(signal) = stop.requested else { return };
        if stop.complete || stop.stopped_threads < live_threads || live_threads == 0 {
            return;
        }
        stop.complete = true;
        stop.stop_event = Some(signal);
        stop.continue_event = false;
        signal
    };
    wait::notify_parent(process, sys::CLD_STOPPED, signal.number() as i32);
}
