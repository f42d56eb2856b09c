//! Waiting for signals: `rt_sigtimedwait(2)`, `rt_sigsuspend(2)`, `pause(2)`, and what signalfd takes.

use super::{SignalInfo, SignalSet, deliver};
use crate::errno::{Errno, Result};
use crate::task::current;
use crate::task::wait_queue::{Deadline, WaitMode, WaitQueue};

/// Takes a pending signal of `wanted` that is meant for the current thread, as a read of a signalfd does.
pub fn take_pending(wanted: SignalSet) -> Option<SignalInfo> {
    deliver::take(&current(), wanted)
}

/// All signals that are pending for the current thread, blocked or not.
pub fn pending_of_current() -> SignalSet {
    let thread = current();
    let own = thread.signals.lock().pending.set();
    let shared = thread.process.signals.lock().pending.set();
    own.union(shared)
}

/// `rt_sigtimedwait(2)`: takes a signal of `wanted`, waiting for one. `EAGAIN` when the time is up, `EINTR` on another signal.
pub fn timed_wait(wanted: SignalSet, deadline: Option<Deadline>) -> Result<SignalInfo> {
    let wanted = wanted.minus(SignalSet::UNBLOCKABLE);
    if let Some(info) = take_pending(wanted) {
        return Ok(info);
    }
    let thread = current();
    thread.signals.lock().waited_for = wanted;
    let waited = thread.process.signal_arrivals.wait_until(WaitMode::INTERRUPTIBLE.until(deadline), || take_pending(wanted));
    thread.signals.lock().waited_for = SignalSet::EMPTY;
    waited.map_err(|error| if error == Errno::TIMEDOUT { Errno::AGAIN } else { Errno::INTR })
}

/// `pause(2)`, and `rt_sigsuspend(2)` once the mask is set: returns only when a signal has come.
pub fn pause() -> Errno {
    let nothing = WaitQueue::new();
    let _ = nothing.wait_until(WaitMode::INTERRUPTIBLE, || None::<()>);
    Errno::RESTARTNOHAND
}
