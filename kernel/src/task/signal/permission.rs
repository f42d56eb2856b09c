//! Who may signal whom (`kill(2)`).

use super::{Signal, SignalInfo};
use crate::errno::{Errno, Result};
use crate::task::{Capabilities, Process, Thread, current};
use alloc::sync::Arc;

/// Whether the current thread may send `signal` to `target`: same user, `CAP_KILL`, or SIGCONT within the session.
pub fn may_signal(target: &Thread, signal: Option<Signal>) -> Result<()> {
    let sender = current();
    if Arc::ptr_eq(&sender.process, &target.process) {
        return Ok(());
    }
    let mine = sender.credentials();
    let theirs = target.credentials();
    let same_user = [mine.effective_uid, mine.uid].iter().any(|id| *id == theirs.saved_uid || *id == theirs.uid);
    if same_user || mine.capable_in(Capabilities::KILL, &theirs.user_namespace) {
        return Ok(());
    }
    let same_session = || Arc::ptr_eq(&sender.process.session(), &target.process.session());
    if signal == Some(Signal::CONT) && same_session() { Ok(()) } else { Err(Errno::PERM) }
}

/// Like [`may_signal`], for a process.
pub fn may_signal_process(target: &Arc<Process>, signal: Option<Signal>) -> Result<()> {
    // A zombie's first thread is there until it is reaped.
    may_signal(&*target.leader().ok_or(Errno::SRCH)?, signal)
}

/// `rt_sigqueueinfo(2)`: only to oneself (the number that names the caller's process) may a process claim that a signal comes from the
/// kernel, `kill` or `tgkill`.
pub fn may_claim(info: &SignalInfo, target: i32) -> Result<()> {
    let claims_other_origin = info.code >= 0 || info.code == linux_raw_sys::general::SI_TKILL;
    let to_itself = i64::from(current().process.id.number()) == i64::from(target);
    if claims_other_origin && !to_itself { Err(Errno::PERM) } else { Ok(()) }
}

/// Whether the current thread may look into `target` (`PTRACE_MODE_READ`): same user and no privileges hidden, or `CAP_SYS_PTRACE`.
pub fn may_inspect(target: &Thread) -> Result<()> {
    let me = current();
    if Arc::ptr_eq(&me.process, &target.process) {
        return Ok(());
    }
    let (mine, theirs) = (me.credentials(), target.credentials());
    let same_user = [theirs.uid, theirs.effective_uid, theirs.saved_uid].iter().all(|id| *id == mine.filesystem_uid)
        && [theirs.gid, theirs.effective_gid, theirs.saved_gid].iter().all(|id| *id == mine.filesystem_gid);
    let dumpable = target.process.dumpable.load(core::sync::atomic::Ordering::Relaxed) == 1;
    let privileged = mine.capable_in(Capabilities::SYS_PTRACE, &theirs.user_namespace);
    if (same_user && dumpable) || privileged { Ok(()) } else { Err(Errno::PERM) }
}
