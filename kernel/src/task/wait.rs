//! `wait4(2)` and `waitid(2)`, and how a parent hears of its children (SIGCHLD).

use crate::errno::{Errno, Result};
use crate::task::accounting::{TICK_NS, Usage};
use crate::task::pid::Pid;
use crate::task::signal::send::uid_for;
use crate::task::signal::{Detail, Signal, SignalInfo, send_to_process};
use crate::task::wait_queue::WaitMode;
use crate::task::{Process, current, exit};
use alloc::sync::Arc;
use bitflags::bitflags;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

bitflags! {
    /// `W…` of `wait4(2)` and `waitid(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs)]
    pub struct WaitOptions: u32 {
        const NOHANG = sys::WNOHANG;
        const STOPPED = sys::WSTOPPED;
        const EXITED = sys::WEXITED;
        const CONTINUED = sys::WCONTINUED;
        const NOWAIT = sys::WNOWAIT;
        const NOTHREAD = sys::__WNOTHREAD;
        const ALL = sys::__WALL;
        const CLONE = sys::__WCLONE;
    }
}

/// Which children.
#[derive(Clone)]
#[allow(missing_docs)]
pub enum Selector {
    Any,
    Child(Arc<Pid>),
    Group(Arc<Pid>),
    /// A number that nobody has: no child can match.
    Nobody,
}

/// What became of a child.
pub struct Event {
    /// The child's number as the caller sees it.
    pub pid: u32,
    /// Its real uid, likewise.
    pub uid: u32,
    /// `CLD_…`.
    pub code: u32,
    /// The exit code or signal (`si_status`).
    pub status: i32,
    /// As `wait4` gives it.
    pub wait_status: i32,
    /// What it and its children used.
    pub usage: Usage,
}

/// Waits for a change of a child. `None` if there is none now (`WNOHANG`); `ECHILD` without such a child.
pub fn wait(selector: &Selector, options: WaitOptions) -> Result<Option<Event>> {
    let process = current().process.clone();
    let outcome = process.child_events.wait_until(WaitMode::INTERRUPTIBLE, || match look(&process, selector, options) {
        Ok(Some(event)) => Some(Ok(Some(event))),
        Ok(None) if options.contains(WaitOptions::NOHANG) => Some(Ok(None)),
        Ok(None) => None,
        Err(error) => Some(Err(error)),
    });
    outcome?
}

fn look(process: &Arc<Process>, selector: &Selector, options: WaitOptions) -> Result<Option<Event>> {
    let me = current();
    let mut found = false;
    for child in process.children() {
        if !is_selected(&child, selector, options) {
            continue;
        }
        if options.contains(WaitOptions::NOTHREAD) && !core::ptr::eq(child.family.lock().parent_thread.as_ptr(), Arc::as_ptr(&me)) {
            continue;
        }
        found = true;
        if let Some(event) = event_of(&child, options) {
            return Ok(Some(event));
        }
    }
    if found { Ok(None) } else { Err(Errno::CHILD) }
}

fn is_selected(child: &Arc<Process>, selector: &Selector, options: WaitOptions) -> bool {
    let matches = match selector {
        Selector::Any => true,
        Selector::Child(pid) => Arc::ptr_eq(pid, &child.id),
        Selector::Group(pid) => Arc::ptr_eq(pid, &child.group()),
        Selector::Nobody => false,
    };
    let is_clone = child.exit_signal.load(Ordering::Relaxed) != Signal::CHLD.number() as i32;
    matches && (options.contains(WaitOptions::ALL) || is_clone == options.contains(WaitOptions::CLONE))
}

fn event_of(child: &Arc<Process>, options: WaitOptions) -> Option<Event> {
    let keep = options.contains(WaitOptions::NOWAIT);
    let zombie = child.family.lock().zombie;
    if let Some(status) = zombie {
        if !options.contains(WaitOptions::EXITED) {
            return None;
        }
        let (code, shown) = exit_code(status);
        let event = make_event(child, code, shown, status);
        if !keep {
            exit::reap(child);
        }
        return Some(event);
    }
    let mut signals = child.signals.lock();
    if let Some(signal) = signals.stop.stop_event.filter(|_| options.contains(WaitOptions::STOPPED)) {
        if !keep {
            signals.stop.stop_event = None;
        }
        drop(signals);
        let number = signal.number() as i32;
        return Some(make_event(child, sys::CLD_STOPPED, number, number << 8 | 0x7f));
    }
    if signals.stop.continue_event && options.contains(WaitOptions::CONTINUED) {
        if !keep {
            signals.stop.continue_event = false;
        }
        drop(signals);
        return Some(make_event(child, sys::CLD_CONTINUED, Signal::CONT.number() as i32, 0xffff));
    }
    None
}

/// `si_code` and `si_status` for the status of an ended process.
pub(in crate::task) fn exit_code(status: i32) -> (u32, i32) {
    match status & 0x7f {
        0 => (sys::CLD_EXITED, status >> 8 & 0xff),
        signal if status & 0x80 != 0 => (sys::CLD_DUMPED, signal),
        signal => (sys::CLD_KILLED, signal),
    }
}

fn make_event(child: &Arc<Process>, code: u32, status: i32, wait_status: i32) -> Event {
    let mut usage = child.usage();
    usage.add(&child.children_usage());
    let uid = child.credentials().map_or(0, |theirs| current().credentials().user_namespace.shown_uid(theirs.uid));
    Event { pid: child.id.number(), uid, code, status, wait_status, usage }
}

/// Tells a process's parent that it has stopped, continued or ended: wakes `wait4`, and sends the signal.
///
/// Gives whether nobody will wait for an ended process, so that it must reap itself (`SIG_IGN` or `SA_NOCLDWAIT` for SIGCHLD).
pub(in crate::task) fn notify_parent(process: &Arc<Process>, code: u32, status: i32) -> bool {
    let Some(parent) = process.parent() else { return true };
    let ended = !matches!(code, sys::CLD_STOPPED | sys::CLD_CONTINUED);
    let number = if ended { process.exit_signal.load(Ordering::Relaxed) } else { Signal::CHLD.number() as i32 };
    let mut unwanted = false;
    if let Ok(signal) = Signal::new(number as u32) {
        let mut send = true;
        if signal == Signal::CHLD {
            let action = parent.signal_actions().get(Signal::CHLD);
            if ended {
                unwanted = action.is_ignore() || action.has(sys::SA_NOCLDWAIT);
                send = !action.is_ignore();
            } else {
                send = !action.is_ignore() && !action.has(sys::SA_NOCLDSTOP);
            }
        }
        if send {
            let _ = send_to_process(&parent, child_info(process, &parent, signal, code, status));
        }
    }
    parent.child_events.wake_all();
    unwanted
}

fn child_info(process: &Arc<Process>, parent: &Process, signal: Signal, code: u32, status: i32) -> SignalInfo {
    let usage = process.usage();
    let detail = Detail::Child {
        pid: process.id.number_in(parent.id.namespace()),
        uid: process.credentials().map_or(0, |credentials| uid_for(&credentials, parent)),
        status,
        user_ticks: (usage.user_ns / TICK_NS) as i64,
        system_ticks: (usage.system_ns / TICK_NS) as i64,
    };
    SignalInfo { signal, errno: 0, code: code as i32, detail }
}
