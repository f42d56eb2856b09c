//! `seccomp(2)`, and what `prctl(2)` has of it: entering strict mode, adding filters, asking what there is.

use super::filters::{Chain, MAX_CHAIN_INSTRUCTIONS};
use super::notify::{self, Listener};
use super::program::{INSTRUCTION_BYTES, MAX_INSTRUCTIONS, Program};
use crate::errno::{Errno, Result};
use crate::mm::UserPointer;
use crate::task::{Capabilities, Credentials, Thread, current};
use alloc::sync::Arc;
use bitflags::bitflags;
use core::sync::atomic::Ordering;
use linux_raw_sys::ptrace as abi;

bitflags! {
    /// `SECCOMP_FILTER_FLAG_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct FilterFlags: u32 {
        /// All threads of the process get the filter.
        const TSYNC = abi::SECCOMP_FILTER_FLAG_TSYNC;
        const LOG = abi::SECCOMP_FILTER_FLAG_LOG;
        /// Speculation is not mitigated here anyhow.
        const SPEC_ALLOW = abi::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        const NEW_LISTENER = abi::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        const TSYNC_ESRCH = abi::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
        /// Who waits for a listener that has seen the call can be killed, but not interrupted.
        const WAIT_KILLABLE_RECV = abi::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
}

/// The actions that there are.
const ACTIONS: [u32; 8] = [
    abi::SECCOMP_RET_KILL_PROCESS,
    abi::SECCOMP_RET_KILL_THREAD,
    abi::SECCOMP_RET_TRAP,
    abi::SECCOMP_RET_ERRNO,
    abi::SECCOMP_RET_USER_NOTIF,
    abi::SECCOMP_RET_TRACE,
    abi::SECCOMP_RET_LOG,
    abi::SECCOMP_RET_ALLOW,
];

/// `seccomp(operation, flags, argument)`.
pub fn seccomp(operation: u32, flags: u32, argument: u64) -> Result<u64> {
    match operation {
        abi::SECCOMP_SET_MODE_STRICT if flags == 0 && argument == 0 => set_strict(),
        abi::SECCOMP_SET_MODE_FILTER => add_filter(flags, argument),
        abi::SECCOMP_GET_ACTION_AVAIL if flags == 0 => {
            let action = UserPointer::<u32>::new(argument).read()?;
            if ACTIONS.contains(&action) { Ok(0) } else { Err(Errno::OPNOTSUPP) }
        }
        abi::SECCOMP_GET_NOTIF_SIZES if flags == 0 => UserPointer::new(argument).write(notify::SIZES_BYTES).map(|()| 0),
        _ => Err(Errno::INVAL),
    }
}

/// `prctl(PR_SET_SECCOMP, mode, filter)`.
pub fn set_mode(mode: u64, filter: u64) -> Result<u64> {
    match u32::try_from(mode) {
        Ok(abi::SECCOMP_MODE_STRICT) => set_strict(),
        Ok(abi::SECCOMP_MODE_FILTER) => add_filter(0, filter),
        _ => Err(Errno::INVAL),
    }
}

/// Whether the thread may go to `mode`: only from none, or from the same.
fn check_mode(thread: &Thread, mode: u32) -> Result<()> {
    let now = thread.seccomp.mode.load(Ordering::Relaxed);
    if now == abi::SECCOMP_MODE_DISABLED || now == mode { Ok(()) } else { Err(Errno::INVAL) }
}

fn set_strict() -> Result<u64> {
    let thread = current();
    check_mode(&thread, abi::SECCOMP_MODE_STRICT)?;
    thread.seccomp.mode.store(abi::SECCOMP_MODE_STRICT, Ordering::Relaxed);
    Ok(0)
}

fn read_program(address: u64) -> Result<Program> {
    // `struct sock_fprog`: the count in the first two bytes, the address in the second word.
    let [count, filter] = UserPointer::<[u64; 2]>::new(address).read()?;
    let count = usize::from(count as u16);
    if count == 0 || count > MAX_INSTRUCTIONS {
        return Err(Errno::INVAL);
    }
    let credentials = current().credentials();
    // Else a program that gains privileges at exec could be misled.
    if !credentials.no_new_privileges && !credentials.capable_in(Capabilities::SYS_ADMIN, &credentials.user_namespace) {
        return Err(Errno::ACCES);
    }
    Program::new(&UserPointer::<u8>::new(filter).read_vec(count * INSTRUCTION_BYTES)?)
}

/// Adds a filter: 0, the listener's descriptor, or with `TSYNC` the number of a thread that cannot follow.
fn add_filter(flags: u32, address: u64) -> Result<u64> {
    let flags = FilterFlags::from_bits(flags).ok_or(Errno::INVAL)?;
    let ambiguous = flags.contains(FilterFlags::TSYNC | FilterFlags::NEW_LISTENER) && !flags.contains(FilterFlags::TSYNC_ESRCH);
    let without_listener = flags.contains(FilterFlags::WAIT_KILLABLE_RECV) && !flags.contains(FilterFlags::NEW_LISTENER);
    if ambiguous || without_listener {
        return Err(Errno::INVAL);
    }
    let program = read_program(address)?;
    let thread = current();
    let wants_listener = flags.contains(FilterFlags::NEW_LISTENER);
    let listener = wants_listener.then(|| Listener::new(flags.contains(FilterFlags::WAIT_KILLABLE_RECV)));
    let file = listener.as_ref().map(|listener| notify::open(listener.clone())).transpose()?;
    check_mode(&thread, abi::SECCOMP_MODE_FILTER)?;
    let older = thread.seccomp.chain();
    if wants_listener && older.as_ref().is_some_and(|chain| chain.has_listener()) {
        return Err(Errno::BUSY);
    }
    if program.cost() + older.as_ref().map_or(0, |chain| chain.cost()) > MAX_CHAIN_INSTRUCTIONS {
        return Err(Errno::NOMEM);
    }
    if flags.contains(FilterFlags::TSYNC)
        && let Some(stranger) = thread_that_cannot_follow(&thread)
    {
        let with_errno = flags.contains(FilterFlags::TSYNC_ESRCH);
        return if with_errno { Err(Errno::SRCH) } else { Ok(u64::from(stranger.pid().number_in(thread.pid().namespace()))) };
    }
    let descriptor = match file {
        Some(file) => crate::fs::internal::install(file, true)?,
        None => 0,
    };
    let chain = Chain::new(older, program, flags.contains(FilterFlags::LOG), listener);
    adopt(&thread, &chain);
    if flags.contains(FilterFlags::TSYNC) {
        others(&thread).for_each(|other| follow(&other, &chain, &thread.credentials()));
    }
    Ok(descriptor)
}

fn adopt(thread: &Thread, chain: &Arc<Chain>) {
    let old = thread.seccomp.chain.lock().replace(chain.clone());
    thread.seccomp.mode.store(abi::SECCOMP_MODE_FILTER, Ordering::Relaxed);
    drop(old);
}

fn others(thread: &Arc<Thread>) -> impl Iterator<Item = Arc<Thread>> {
    let threads = thread.process.threads();
    let own = thread.clone();
    threads.into_iter().filter(move |other| !Arc::ptr_eq(other, &own) && !other.exiting.load(Ordering::Relaxed))
}

/// A thread with filters that the caller does not have, or in strict mode.
fn thread_that_cannot_follow(thread: &Arc<Thread>) -> Option<Arc<Thread>> {
    let own = thread.seccomp.chain();
    others(thread).find(|other| match (other.seccomp.mode.load(Ordering::Relaxed), other.seccomp.chain()) {
        (abi::SECCOMP_MODE_DISABLED, _) => false,
        (abi::SECCOMP_MODE_FILTER, Some(theirs)) => !own.as_ref().is_some_and(|own| theirs.is_within(own)),
        (abi::SECCOMP_MODE_FILTER, None) => false,
        _ => true,
    })
}

/// Another thread gets the caller's filters; and if that may gain no privileges, so may this one not.
fn follow(other: &Thread, chain: &Arc<Chain>, caller: &Credentials) {
    if caller.no_new_privileges && !other.credentials().no_new_privileges {
        let credentials = Credentials { no_new_privileges: true, ..Credentials::clone(&other.credentials()) };
        other.set_credentials(Arc::new(credentials));
    }
    adopt(other, chain);
}
