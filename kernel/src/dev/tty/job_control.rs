//! Terminals and sessions: who may use a terminal, who gets its signals, whose controlling terminal it is (`credentials(7)`,
//! "Sessions", and POSIX.1 chapter 11). The only place here that talks to `task`.

use super::terminal::Terminal;
use crate::errno::{Errno, Result};
use crate::task::pid::{self, Pid};
use crate::task::session::{self, ControllingTerminal};
use crate::task::signal::{Signal, SignalInfo, send_to_group, send_to_process};
use crate::task::{Capabilities, Process, current};
use alloc::sync::Arc;
use core::any::Any;
use linux_raw_sys::general::{SIGCONT, SIGHUP, SIGTTIN};

/// The controlling terminal of the current process.
pub fn controlling_terminal() -> Option<Arc<Terminal>> {
    terminal_of(&current().process)
}

fn terminal_of(process: &Process) -> Option<Arc<Terminal>> {
    let terminal: Arc<dyn Any + Send + Sync> = process.terminal()?;
    terminal.downcast().ok()
}

/// Whether `terminal` is the current process's controlling terminal.
pub fn controls_current(terminal: &Arc<Terminal>) -> bool {
    controlling_terminal().is_some_and(|own| Arc::ptr_eq(&own, terminal))
}

/// Sends a signal from the kernel to a process group.
pub fn signal_group(group: &Arc<Pid>, signal: u32) {
    if let Ok(signal) = Signal::new(signal) {
        send_to_group(group, signal);
    }
}

/// Sends a signal to the leader of a session.
pub fn signal_leader(session: &Arc<Pid>, signal: u32) {
    if let (Some(leader), Ok(signal)) = (session.process(), Signal::new(signal)) {
        // A signal of the kernel that cannot be queued is lost, as on Linux.
        let _ = send_to_process(&leader, SignalInfo::from_kernel(signal));
    }
}

/// Whether the current process may read (`SIGTTIN`) or change (`SIGTTOU`) the terminal. One in the background is sent the signal, and the call
/// is to be made again; `EIO` for an orphaned group, whom nobody would wake again, and for a reader that does not want the signal.
pub fn check_change(terminal: &Arc<Terminal>, signal: u32) -> Result<()> {
    if !controls_current(terminal) {
        return Ok(());
    }
    let thread = current();
    let group = thread.process.group();
    match terminal.foreground() {
        Some(foreground) if !Arc::ptr_eq(&foreground, &group) => {}
        _ => return Ok(()),
    }
    let number = Signal::new(signal)?;
    let unwanted = thread.signal_sets().0.contains(number) || thread.process.signal_actions().get(number).is_ignore();
    if unwanted {
        return if signal == SIGTTIN { Err(Errno::IO) } else { Ok(()) };
    }
    if session::is_orphaned_group(&group) {
        return Err(Errno::IO);
    }
    signal_group(&group, signal);
    Err(Errno::RESTARTSYS)
}

fn is_session_leader(process: &Process) -> bool {
    Arc::ptr_eq(&process.session(), &process.id)
}

/// A session leader without a terminal opens one that controls no session: it becomes its own.
pub fn acquire_at_open(terminal: &Arc<Terminal>) {
    let process = &current().process;
    if is_session_leader(process) && process.terminal().is_none() && terminal.session().is_none() {
        take(terminal, process);
    }
}

/// `TIOCSCTTY`: `steal` takes it from another session. `EPERM` unless the caller leads a session without a terminal.
pub fn acquire(terminal: &Arc<Terminal>, readable: bool, steal: bool) -> Result<()> {
    let thread = current();
    let process = &thread.process;
    let leader = is_session_leader(process);
    let session = terminal.session();
    if leader && session.as_ref().is_some_and(|session| Arc::ptr_eq(session, &process.session())) {
        return Ok(());
    }
    if !leader || process.terminal().is_some() {
        return Err(Errno::PERM);
    }
    let administrator = thread.credentials().capable(Capabilities::SYS_ADMIN);
    if session.is_some() {
        if !(steal && administrator) {
            return Err(Errno::PERM);
        }
        terminal.release_session();
    }
    if !readable && !administrator {
        return Err(Errno::PERM);
    }
    take(terminal, process);
    Ok(())
}

fn take(terminal: &Arc<Terminal>, process: &Arc<Process>) {
    terminal.set_session(Some(process.session()), Some(process.group()));
    let controlling: Arc<dyn ControllingTerminal> = terminal.clone();
    session::set_controlling_terminal(&controlling);
}

/// `TIOCNOTTY`: the process has no controlling terminal any more; when a session leader does it, nobody in the session has, and the
/// foreground group hears of it.
pub fn give_up(terminal: &Arc<Terminal>) -> Result<()> {
    if !controls_current(terminal) {
        return Err(Errno::NOTTY);
    }
    let process = &current().process;
    if is_session_leader(process) {
        if let Some(group) = terminal.foreground() {
            signal_group(&group, SIGHUP);
            signal_group(&group, SIGCONT);
        }
        terminal.release_session();
    } else {
        process.forget_terminal();
    }
    Ok(())
}

/// No process of the session has the terminal as its controlling terminal any more.
pub fn forget_terminal(session: &Arc<Pid>, terminal: &Terminal) {
    let holds = |process: &Arc<Process>| terminal_of(process).is_some_and(|own| core::ptr::eq(&*own, terminal));
    if session.session_members().iter().any(holds) {
        session::clear_controlling_terminal(session);
    }
}

/// `TIOCSPGRP`, for a process that the terminal controls: the group must be one of its session.
pub fn set_foreground(terminal: &Arc<Terminal>, group_number: i32) -> Result<()> {
    let own_session = current().process.session();
    if !terminal.session().is_some_and(|session| Arc::ptr_eq(&session, &own_session)) {
        return Err(Errno::NOTTY);
    }
    let number = u32::try_from(group_number).map_err(|_| Errno::INVAL)?;
    let group = pid::find(number).ok_or(Errno::SRCH)?;
    let in_session = group.group_members().first().is_some_and(|member| Arc::ptr_eq(&member.session(), &own_session));
    if !in_session {
        return Err(if group.group_members().is_empty() { Errno::SRCH } else { Errno::PERM });
    }
    terminal.set_foreground(group);
    Ok(())
}
