//! What the system calls on signals do: actions, masks, alternate stacks, `kill` and its kin.

use super::{Action, Disposition, Signal, SignalInfo, SignalSet, frame, permission, send_to_process, send_to_thread};
use crate::errno::{Errno, Result};
use crate::task::pid::{self, PidNamespace};
use crate::task::{Process, Thread, current};
use alloc::sync::Arc;
use linux_raw_sys::general as sys;

/// `sigaction(2)`: the action before. `EINVAL` for a change of SIGKILL or SIGSTOP.
pub fn set_action(signal: Signal, new: Option<Action>) -> Result<Action> {
    let process = current().process.clone();
    let actions = process.signal_actions();
    let Some(new) = new else { return Ok(actions.get(signal)) };
    if SignalSet::UNBLOCKABLE.contains(signal) {
        return Err(Errno::INVAL);
    }
    let old = actions.set(signal, new);
    if new.disposition(signal) == Disposition::Ignore {
        // POSIX: what is ignored from now on is not pending any more, blocked or not.
        let gone = SignalSet::of(&[signal]);
        process.signals.lock().pending.discard(gone);
        for thread in process.threads() {
            thread.signals.lock().pending.discard(gone);
        }
    }
    Ok(old)
}

/// `sigprocmask(2)`: sets the calling thread's mask.
pub fn set_mask(mask: SignalSet) {
    current().signals.lock().mask = mask.minus(SignalSet::UNBLOCKABLE);
}

/// `sigaltstack(2)` with `stack_t` as three words; gives the one before.
pub fn set_alternate_stack(new: Option<[u64; 3]>) -> Result<[u64; 3]> {
    let thread = current();
    let sp = thread.user_context.lock().rsp;
    let mut signals = thread.signals.lock();
    let old = signals.alternate_stack;
    let before = [old.base, u64::from(old.shown_flags(sp)), old.len_bytes];
    if let Some([base, flags, len_bytes]) = new {
        frame::set_alternate_stack(&mut signals, base, flags as u32, len_bytes, sp)?;
    }
    Ok(before)
}

/// `kill(2)`: a process, a group (negative), the own group (0), or everybody that may be signalled (-1).
pub fn kill(target: i32, number: u32) -> Result<()> {
    let me = current();
    match target {
        i32::MIN => Err(Errno::SRCH),
        1.. => kill_process(&pid::find_process(target as u32).map_err(|_| Errno::SRCH)?, number),
        0 => kill_all(me.process.group().group_members(), number),
        -1 => {
            let own: &PidNamespace = &me.pid().namespace().clone();
            let mut all = own.processes();
            all.retain(|process| process.id.number_in(own) > 1 && !Arc::ptr_eq(process, &me.process));
            kill_all(all, number)
        }
        group => {
            let group = pid::find(group.unsigned_abs()).ok_or(Errno::SRCH)?;
            kill_all(group.group_members(), number)
        }
    }
}

fn kill_process(process: &Arc<Process>, number: u32) -> Result<()> {
    let signal = Signal::or_none(number)?;
    permission::may_signal_process(process, signal)?;
    let Some(signal) = signal else { return Ok(()) };
    send_to_process(process, SignalInfo::from_current(signal, sys::SI_USER as i32, process))
}

/// Success if one of them got it; else the last error. `ESRCH` if there is nobody.
fn kill_all(processes: alloc::vec::Vec<Arc<Process>>, number: u32) -> Result<()> {
    let mut outcome = Err(Errno::SRCH);
    for process in processes {
        match kill_process(&process, number) {
            Ok(()) => outcome = Ok(()),
            Err(error) if outcome.is_err() => outcome = Err(error),
            Err(_) => {}
        }
    }
    outcome
}

/// The thread `target` of process `group`, for `tgkill(2)`.
pub fn thread_in_group(group: i32, target: i32) -> Result<Arc<Thread>> {
    if group <= 0 || target <= 0 {
        return Err(Errno::INVAL);
    }
    let thread = pid::find_thread(target as u32)?;
    if thread.process.id.number() == group as u32 { Ok(thread) } else { Err(Errno::SRCH) }
}

/// `tkill(2)` and `tgkill(2)`.
pub fn kill_thread(thread: Arc<Thread>, number: u32) -> Result<()> {
    let signal = Signal::or_none(number)?;
    permission::may_signal(&thread, signal)?;
    let Some(signal) = signal else { return Ok(()) };
    send_to_thread(&thread, SignalInfo::from_current(signal, sys::SI_TKILL, &thread.process))
}
