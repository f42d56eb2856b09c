//! Process groups and sessions, controlling terminals (`credentials(7)`, `setsid(2)`, `setpgid(2)`).

use crate::errno::{Errno, Result};
use crate::task::pid::{self, Pid};
use crate::task::signal::{Signal, send_to_group};
use crate::task::{Process, current};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// A terminal as sessions see it: implemented by the terminals of `dev::tty`. The terminal itself keeps its session and its foreground
/// process group.
pub trait ControllingTerminal: core::any::Any + Send + Sync {
    /// The session's leader has ended or given it up: the terminal forgets the session; if `hang_up`, its foreground group gets SIGHUP and
    /// SIGCONT, and what is open stays usable no more.
    fn leave(&self, session: &Arc<Pid>, hang_up: bool);

    /// The device number (`tty_nr` of `/proc/PID/stat`).
    fn device(&self) -> u64;

    /// The foreground process group (`tpgid`).
    fn foreground_group(&self) -> Option<Arc<Pid>>;
}

/// `setsid(2)`: a new session and group with the caller as leader, without a terminal. `EPERM` if a group goes by its number already.
pub fn new_session() -> Result<u32> {
    let process = current().process.clone();
    let id = process.id.clone();
    let is_leader = Arc::ptr_eq(&process.session(), &id);
    if is_leader || !id.group_members().is_empty() {
        return Err(Errno::PERM);
    }
    set_session(&process, &id);
    set_group(&process, &id);
    let terminal = process.family.lock().terminal.take();
    drop(terminal);
    Ok(id.number())
}

fn set_session(process: &Arc<Process>, session: &Arc<Pid>) {
    let old = core::mem::replace(&mut process.family.lock().session, session.clone());
    session.join_session(process);
    old.leave_session(process);
}

fn set_group(process: &Arc<Process>, group: &Arc<Pid>) {
    let old = core::mem::replace(&mut process.family.lock().group, group.clone());
    group.join_group(process);
    old.leave_group(process);
}

/// `setpgid(2)`: 0 stands for the caller, and for the target's own number.
pub fn set_process_group(target: u32, group: u32) -> Result<()> {
    let me = current().process.clone();
    let target = if target == 0 { me.clone() } else { pid::find_process(target)? };
    if !Arc::ptr_eq(&target, &me) {
        let is_child = target.parent().is_some_and(|parent| Arc::ptr_eq(&parent, &me));
        if !is_child {
            return Err(Errno::SRCH);
        }
        if !Arc::ptr_eq(&target.session(), &me.session()) {
            return Err(Errno::PERM);
        }
        if target.has_executed.load(Ordering::Relaxed) {
            return Err(Errno::ACCES);
        }
    }
    if Arc::ptr_eq(&target.session(), &target.id) {
        return Err(Errno::PERM);
    }
    let group = if group == 0 { target.id.clone() } else { pid::find(group).ok_or(Errno::PERM)? };
    if !Arc::ptr_eq(&group, &target.id) {
        let in_session = group.group_members().iter().any(|member| Arc::ptr_eq(&member.session(), &me.session()));
        if !in_session {
            return Err(Errno::PERM);
        }
    }
    if !Arc::ptr_eq(&target.group(), &group) {
        set_group(&target, &group);
    }
    Ok(())
}

/// Whether no member of the group has a parent in another group of the same session: nobody is left to continue it. `ignored` is a
/// member that is ending.
fn is_orphaned_without(group: &Arc<Pid>, ignored: Option<&Arc<Process>>) -> bool {
    !group.group_members().iter().any(|member| {
        if ignored.is_some_and(|ignored| Arc::ptr_eq(ignored, member)) || member.is_zombie() {
            return false;
        }
        let Some(parent) = member.parent() else { return false };
        let by_init = parent.id.is_namespace_init() && parent.id.global_number() == 1;
        !by_init && !Arc::ptr_eq(&parent.group(), group) && Arc::ptr_eq(&parent.session(), &member.session())
    })
}

/// Whether the process group is orphaned.
pub fn is_orphaned_group(group: &Arc<Pid>) -> bool {
    is_orphaned_without(group, None)
}

/// `process` is ending: if that orphans `group`, and a member is stopped, all members get SIGHUP and SIGCONT (POSIX `_exit`).
pub(in crate::task) fn check_orphaned(group: &Arc<Pid>, process: &Arc<Process>, parent: Option<&Arc<Process>>) {
    // Only a parent in the same session and another group kept it from being orphaned.
    let Some(parent) = parent else { return };
    if Arc::ptr_eq(&parent.group(), group) || !Arc::ptr_eq(&parent.session(), &process.session()) {
        return;
    }
    let has_stopped = group.group_members().iter().any(|member| member.signals.lock().stop.is_stopped());
    if has_stopped && is_orphaned_without(group, Some(process)) {
        send_to_group(group, Signal::HUP);
        send_to_group(group, Signal::CONT);
    }
}

/// Makes `terminal` the controlling terminal of the current process's session (`TIOCSCTTY`, or an open by a session leader).
pub fn set_controlling_terminal(terminal: &Arc<dyn ControllingTerminal>) {
    let session = current().process.session();
    for member in session.session_members() {
        let old = member.family.lock().terminal.replace(terminal.clone());
        drop(old);
    }
}

/// Takes the terminal away from all processes of `session` (the terminal is hung up, or its leader gave it up by `TIOCNOTTY`).
pub fn clear_controlling_terminal(session: &Arc<Pid>) {
    for member in session.session_members() {
        let old = member.family.lock().terminal.take();
        drop(old);
    }
}

/// The session's leader ends (or gives the terminal up): the terminal is hung up and nobody in the session has it any more.
pub(in crate::task) fn leave_terminal(process: &Arc<Process>) {
    let session = process.session();
    if !Arc::ptr_eq(&session, &process.id) {
        return;
    }
    let terminal = process.family.lock().terminal.clone();
    if let Some(terminal) = terminal {
        terminal.leave(&session, true);
        clear_controlling_terminal(&session);
    }
}
