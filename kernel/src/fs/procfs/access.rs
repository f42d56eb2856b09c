//! Who may look into a process: Linux's `ptrace_may_access` (`ptrace(2)`, "Ptrace access mode checking").

use crate::errno::{Errno, Result};
use crate::task::{Capabilities, Thread, current};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// `SUID_DUMP_USER` of `prctl(2)`, `PR_SET_DUMPABLE`.
const DUMPABLE: u32 = 1;

/// `PTRACE_MODE_READ_FSCREDS` by the current thread. `EPERM` if not.
pub(super) fn may_read(target: &Arc<Thread>) -> Result<()> {
    let own = current().credentials();
    may_access(target, own.filesystem_uid, own.filesystem_gid)
}

/// `PTRACE_MODE_ATTACH_REALCREDS` by the current thread, as `process_vm_readv(2)` asks. `EPERM` if not.
pub(crate) fn may_attach(target: &Arc<Thread>) -> Result<()> {
    let own = current().credentials();
    may_access(target, own.uid, own.gid)
}

fn may_access(target: &Arc<Thread>, uid: u32, gid: u32) -> Result<()> {
    let caller = current();
    if Arc::ptr_eq(&caller.process, &target.process) {
        return Ok(());
    }
    let (own, theirs) = (caller.credentials(), target.credentials());
    let same_ids = [theirs.uid, theirs.effective_uid, theirs.saved_uid].iter().all(|id| *id == uid)
        && [theirs.gid, theirs.effective_gid, theirs.saved_gid].iter().all(|id| *id == gid);
    let may_trace = own.capable_in(Capabilities::SYS_PTRACE, &theirs.user_namespace);
    let dumpable = target.process.dumpable.load(Ordering::Relaxed) == DUMPABLE;
    if !(may_trace || same_ids && dumpable) {
        return Err(Errno::PERM);
    }
    // Who cannot do what the target may do must not borrow its powers (`cap_ptrace_access_check`).
    let same_namespace = Arc::ptr_eq(&own.user_namespace, &theirs.user_namespace);
    let no_more_powerful = same_namespace && own.effective.contains(theirs.permitted);
    if no_more_powerful || may_trace { Ok(()) } else { Err(Errno::PERM) }
}

/// The same as the calls on files of `/proc/PID` answer it: `EACCES`.
pub(super) fn require_read(target: &Arc<Thread>) -> Result<()> {
    may_read(target).map_err(|_| Errno::ACCES)
}
