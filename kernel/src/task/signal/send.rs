//! Sending: is the signal wanted at all, where does it queue, whom does it wake.

use super::{Detail, Disposition, Signal, SignalInfo, SignalSet};
use crate::errno::{Errno, Result};
use crate::task::pid::Pid;
use crate::task::scheduler::wake_for_signal;
use crate::task::user_namespace::OVERFLOW_ID;
use crate::task::{Process, Thread, current, return_work};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

impl SignalInfo {
    /// From the current thread by `kill` (`SI_USER`) or `tgkill` (`SI_TKILL`), told in the receiver's numbers.
    pub fn from_current(signal: Signal, code: i32, receiver: &Process) -> Self {
        let sender = current();
        let uid = uid_for(&sender.credentials(), receiver);
        let pid = sender.process.id.number_in(receiver.id.namespace());
        Self { signal, errno: 0, code, detail: Detail::Sender { pid, uid } }
    }
}

/// The real uid of `credentials` as `receiver` sees it.
pub(in crate::task) fn uid_for(credentials: &crate::task::Credentials, receiver: &Process) -> u32 {
    receiver.credentials().map_or(OVERFLOW_ID, |theirs| theirs.user_namespace.shown_uid(credentials.uid))
}

/// Queues a signal for a process; any of its threads that does not block it may take it.
///
/// Permission has been checked. `EAGAIN` when a real-time signal's queue is full (`RLIMIT_SIGPENDING`).
pub fn send_to_process(target: &Arc<Process>, info: SignalInfo) -> Result<()> {
    send(target, None, info)
}

/// Queues a signal for one thread.
pub fn send_to_thread(target: &Arc<Thread>, info: SignalInfo) -> Result<()> {
    send(&target.process, Some(target), info)
}

/// Sends a signal of the kernel to every process of a group (SIGINT from the terminal, SIGHUP of an orphaned group…).
pub fn send_to_group(group: &Pid, signal: Signal) {
    for member in group.group_members() {
        let _ = send_to_process(&member, SignalInfo::from_kernel(signal));
    }
}

/// Sends the current thread a signal for what it just did, as `kill` by itself would (SIGPIPE of a write, SIGXFSZ of one that is too long).
pub fn send_to_current(signal: Signal) {
    let thread = current();
    let _ = send_to_thread(&thread, SignalInfo::from_current(signal, sys::SI_USER as i32, &thread.process));
}

/// A fault of the current thread: cannot be blocked or ignored; if it is, the process dies of it (`force_sig_info`).
pub fn force(info: SignalInfo) {
    let thread = current();
    let signal = info.signal;
    {
        let actions = thread.process.signal_actions();
        let mut signals = thread.signals.lock();
        let blocked = signals.mask.contains(signal);
        if blocked || actions.get(signal).is_ignore() {
            actions.reset(signal);
            signals.mask = signals.mask.without(signal);
        }
        let unkillable = &thread.process.is_unkillable;
        if actions.get(signal).is_default() {
            // Not even the init of a namespace lives on after a fault.
            unkillable.store(false, Ordering::Relaxed);
        }
    }
    let _ = send_to_thread(&thread, info);
}

fn send(process: &Arc<Process>, thread: Option<&Arc<Thread>>, info: SignalInfo) -> Result<()> {
    let signal = info.signal;
    super::stop::note_opposites(process, signal);
    if process.is_zombie() || !is_wanted(process, thread, &info) {
        return Ok(());
    }
    enqueue(process, thread, info)?;
    tell(process, thread, signal);
    Ok(())
}

/// Ignored signals are dropped at once, unless blocked (the action may have changed by the time of delivery) or waited for.
fn is_wanted(process: &Arc<Process>, thread: Option<&Arc<Thread>>, info: &SignalInfo) -> bool {
    let signal = info.signal;
    let receiver = thread.cloned().or_else(|| process.leader());
    let blocked = receiver.is_some_and(|thread| {
        let signals = thread.signals.lock();
        signals.mask.contains(signal) || signals.saved_mask.is_some_and(|mask| mask.contains(signal))
    });
    let action = process.signal_actions().get(signal);
    if process.is_unkillable.load(Ordering::Relaxed) && action.is_default() {
        // The init of a namespace: only its ancestors may kill or stop it, by SIGKILL and SIGSTOP.
        let from_ancestor = match info.detail {
            Detail::Sender { pid: 0, .. } => process.id.namespace().level > 0,
            _ => false,
        };
        let forced = SignalSet::UNBLOCKABLE.contains(signal) && from_ancestor;
        let waits = blocked && !SignalSet::UNBLOCKABLE.contains(signal);
        if !forced && !waits {
            return false;
        }
    }
    blocked || action.disposition(signal) != Disposition::Ignore
}

fn enqueue(process: &Arc<Process>, thread: Option<&Arc<Thread>>, info: SignalInfo) -> Result<()> {
    let signal = info.signal;
    let limit = process.limit(sys::RLIMIT_SIGPENDING) as usize;
    let from_queueing_call = info.code < 0 && info.code != sys::SI_TKILL;
    let mut own = thread.map(|thread| thread.signals.lock());
    let mut shared = if own.is_none() { Some(process.signals.lock()) } else { None };
    let pending = match (&mut own, &mut shared) {
        (Some(own), _) => &mut own.pending,
        (None, Some(shared)) => &mut shared.pending,
        (None, None) => return Err(Errno::SRCH),
    };
    if !signal.is_real_time() && pending.set().contains(signal) {
        return Ok(());
    }
    let room = pending.queued() < limit;
    if !room && signal.is_real_time() && from_queueing_call {
        return Err(Errno::AGAIN);
    }
    // Signals of the kernel and of `kill` arrive even when the queue is full, with less to tell.
    pending.push(info, room || !signal.is_real_time());
    Ok(())
}

/// Wakes whoever should take the signal now; a fatal one ends the whole process at once, as Linux's `complete_signal`.
fn tell(process: &Arc<Process>, thread: Option<&Arc<Thread>>, signal: Signal) {
    let receiver = match thread {
        Some(thread) => Some(thread.clone()).filter(|thread| wants(thread, signal)),
        None => process.threads().into_iter().find(|thread| wants(thread, signal)),
    };
    if let Some(receiver) = receiver {
        let action = process.signal_actions().get(signal);
        let fatal = signal == Signal::KILL || action.disposition(signal) == Disposition::Terminate;
        let waited_for = receiver.signals.lock().waited_for.contains(signal);
        if fatal && !waited_for {
            crate::task::exit::request_group_exit(process, signal.number() as i32);
        } else {
            wake_for_signal(&receiver, false);
        }
    }
    process.signal_arrivals.wake_all();
}

fn wants(thread: &Arc<Thread>, signal: Signal) -> bool {
    if thread.exiting.load(Ordering::Relaxed) {
        return false;
    }
    if thread.stopped.load(Ordering::Relaxed) && signal != Signal::KILL {
        // It waits until the process is continued.
        return false;
    }
    let signals = thread.signals.lock();
    SignalSet::UNBLOCKABLE.contains(signal) || !signals.mask.contains(signal) || signals.waited_for.contains(signal)
}

impl Thread {
    /// Whether something is there that the thread must see to before it goes on in user mode: a signal that it does not block, a stop, its end.
    pub fn has_signal(&self) -> bool {
        if self.must_end() || self.has_to_freeze() {
            return true;
        }
        let own = self.signals.lock();
        let shared = self.process.signals.lock();
        let ready = own.pending.set().union(shared.pending.set()).minus(own.mask);
        let waited = own.pending.set().union(shared.pending.set()).intersection(own.waited_for);
        !ready.is_empty() || !waited.is_empty() || shared.stop.is_requested()
    }

    /// Whether its control group wants it to stand still, and it does not yet.
    fn has_to_freeze(&self) -> bool {
        self.return_work.load(Ordering::Relaxed) & return_work::FREEZE != 0 && !self.frozen.load(Ordering::Relaxed)
    }

    /// Whether the thread must end as soon as it can.
    pub fn must_end(&self) -> bool {
        self.kill_requested.load(Ordering::Relaxed)
    }
}
