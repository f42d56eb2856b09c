//! On the way back to user mode: takes the signals that are ready and does what the process wants done with each.

use super::{Disposition, Signal, SignalInfo, SignalSet, frame, stop};
use crate::errno::Errno;
use crate::task::{Thread, exit, rseq, session};
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

/// Length of the `syscall` instruction: how far a restarted call steps back.
const SYSCALL_LEN_BYTES: u64 = 2;

/// Delivers everything that is ready. `call` is the number of the system call that a restart code ended.
pub(in crate::task) fn deliver(thread: &Thread, mut call: Option<u64>) {
    if call.is_none() && nothing_is_due(thread) {
        return;
    }
    while !thread.must_end() {
        stop::stop_if_requested(thread);
        let Some(info) = next_signal(thread) else { break };
        let signal = info.signal;
        let actions = thread.process.signal_actions();
        let action = actions.get(signal);
        match action.disposition(signal) {
            Disposition::Handler => {
                if action.has(sys::SA_RESETHAND) {
                    actions.reset(signal);
                }
                settle_call(thread, call.take(), Some(action.has(sys::SA_RESTART)));
                rseq::interrupted(thread);
                if frame::push(thread, &info, &action).is_err() {
                    frame_failed(signal);
                }
            }
            Disposition::Ignore | Disposition::Continue => {}
            // Only ancestors may do this to the init of a namespace, with the two signals that nobody can refuse.
            _ if thread.process.is_unkillable.load(Ordering::Relaxed) && !SignalSet::UNBLOCKABLE.contains(signal) => {}
            Disposition::Stop => {
                // The terminal's stop signals do nothing to an orphaned group, which nobody could continue.
                if signal == Signal::STOP || !session::is_orphaned_group(&thread.process.group()) {
                    stop::request_stop(&thread.process, signal);
                }
            }
            Disposition::Terminate | Disposition::CoreDump => {
                exit::request_group_exit(&thread.process, signal.number() as i32);
            }
        }
    }
    settle_call(thread, call, None);
    if !thread.must_end() {
        super::restore_mask(thread);
    }
}

/// Whether [`deliver`] has nothing to do, as after nearly every call: no stop, no signal that is let in, no mask to put back.
fn nothing_is_due(thread: &Thread) -> bool {
    let own = thread.signals.lock();
    let shared = thread.process.signals.lock();
    let wanted = SignalSet(!own.mask.0);
    own.saved_mask.is_none() && !shared.stop.is_requested() && own.pending.next(wanted).is_none() && shared.pending.next(wanted).is_none()
}

/// The frame could not be written: the thread gets SIGSEGV, and dies of it if that was the signal.
fn frame_failed(signal: Signal) {
    let thread = crate::task::current();
    if signal == Signal::SEGV {
        thread.process.signal_actions().reset(Signal::SEGV);
    }
    super::send::force(SignalInfo::from_kernel(Signal::SEGV));
}

/// Takes the next signal for `thread`: synchronous ones, its own, then the process's.
fn next_signal(thread: &Thread) -> Option<SignalInfo> {
    take_selected(thread, |mask| SignalSet(!mask.0))
}

/// Takes the next pending signal of `wanted`, the thread's own first.
pub(in crate::task) fn take(thread: &Thread, wanted: SignalSet) -> Option<SignalInfo> {
    take_selected(thread, |_| wanted)
}

/// `select` makes the wanted set from the thread's mask.
fn take_selected(thread: &Thread, select: impl FnOnce(SignalSet) -> SignalSet) -> Option<SignalInfo> {
    let mut own = thread.signals.lock();
    let wanted = select(own.mask);
    let mut shared = thread.process.signals.lock();
    let info = if let Some(signal) = own.pending.next(wanted) {
        own.pending.take(signal)
    } else {
        let signal = shared.pending.next(wanted)?;
        shared.pending.take(signal)
    };
    drop(shared);
    drop(own);
    Some(crate::task::posix_timer::taken(&thread.process, info))
}

/// What a program finds after an interrupted call (`signal(7)`): `handler_restarts` tells whether a handler runs and has `SA_RESTART`.
fn settle_call(thread: &Thread, call: Option<u64>, handler_restarts: Option<bool>) {
    let Some(number) = call else { return };
    let mut context = thread.user_context.lock();
    let code = Errno::from_code(-(context.registers.rax as i64) as i32);
    let again = match (code, handler_restarts) {
        (Errno::RESTART_BLOCK, None) => Some(u64::from(sys::__NR_restart_syscall)),
        (Errno::RESTARTNOINTR, _) | (_, None) | (Errno::RESTARTSYS, Some(true)) => Some(number),
        _ => None,
    };
    match again {
        Some(number) => {
            context.registers.rax = number;
            context.rip = context.rip.wrapping_sub(SYSCALL_LEN_BYTES);
        }
        None => context.registers.rax = Errno::INTR.as_return_value(),
    }
}
