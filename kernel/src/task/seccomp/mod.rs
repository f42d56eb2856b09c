//! seccomp (`seccomp(2)`): which system calls a thread may make. Strict mode knows four; filters are programs of classic BPF that see the
//! call's number and arguments, and say what becomes of it.
//!
//! `program` is one filter program, `filters` the chain that a thread has gathered, `install` how it gets longer, `notify` the listener
//! that decides on behalf of others. This file decides about a call. A thread without any pays one test of a flag (`task::run`).

pub mod filters;
pub mod install;
pub mod notify;
pub mod program;

use crate::errno::Errno;
use crate::sync::SpinLock;
use crate::task::signal::{Detail, Signal, SignalInfo, send};
use crate::task::{Thread, exit};
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use filters::Chain;
use linux_raw_sys::general as sys;
use linux_raw_sys::ptrace as abi;

/// What a filter sees: `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
pub struct CallData {
    /// The number, as in the register's lower half.
    pub number: u32,
    /// Where the call was made (behind the instruction).
    pub instruction_pointer: u64,
    /// The six argument registers.
    pub arguments: [u64; 6],
}

/// Bytes of [`CallData`] as filters and listeners see it.
pub const CALL_DATA_BYTES: usize = 64;

impl CallData {
    /// As `struct seccomp_data`: number, architecture, instruction pointer, arguments.
    pub fn encode(&self) -> [u8; CALL_DATA_BYTES] {
        let mut bytes = [0; CALL_DATA_BYTES];
        bytes[..4].copy_from_slice(&self.number.to_ne_bytes());
        bytes[4..8].copy_from_slice(&abi::AUDIT_ARCH_X86_64.to_ne_bytes());
        let words = core::iter::once(self.instruction_pointer).chain(self.arguments);
        for (place, word) in bytes[8..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

/// A thread's state.
#[derive(Default)]
pub struct Seccomp {
    /// `SECCOMP_MODE_*`, or [`DEAD`]: read at every call.
    mode: AtomicU32,
    chain: SpinLock<Option<Arc<Chain>>>,
}

/// The mode of a thread that was killed and makes another call before it ends.
const DEAD: u32 = 3;

impl Seccomp {
    /// What a new thread begins with: what its maker has.
    pub(in crate::task) fn inherit(&self, maker: &Self) {
        let chain = maker.chain.lock().clone();
        *self.chain.lock() = chain;
        self.mode.store(maker.mode.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether calls are to be checked.
    pub(in crate::task) fn is_on(&self) -> bool {
        self.mode.load(Ordering::Relaxed) != abi::SECCOMP_MODE_DISABLED
    }

    /// `Seccomp` of `/proc/PID/status`, and `PR_GET_SECCOMP`.
    pub fn mode(&self) -> u32 {
        self.mode.load(Ordering::Relaxed).min(abi::SECCOMP_MODE_FILTER)
    }

    /// `Seccomp_filters` of `/proc/PID/status`.
    pub fn filter_count(&self) -> usize {
        self.chain().map_or(0, |chain| chain.count())
    }

    fn chain(&self) -> Option<Arc<Chain>> {
        self.chain.lock().clone()
    }
}

/// What becomes of a call.
pub(in crate::task) enum Decision {
    /// It is made.
    Make,
    /// It is not; the program finds this.
    Answer(Result<u64, Errno>),
    /// It is not, and the registers stay what they are.
    Skip,
}

/// The four calls of strict mode.
const STRICT_CALLS: [u32; 4] = [sys::__NR_read, sys::__NR_write, sys::__NR_exit, sys::__NR_rt_sigreturn];

/// Decides about a call that the current thread is about to make.
pub(in crate::task) fn check(thread: &Arc<Thread>, call: &CallData) -> Decision {
    match thread.seccomp.mode.load(Ordering::Relaxed) {
        abi::SECCOMP_MODE_DISABLED => Decision::Make,
        abi::SECCOMP_MODE_FILTER => match thread.seccomp.chain() {
            Some(chain) => ask(thread, &chain, call),
            None => Decision::Make,
        },
        abi::SECCOMP_MODE_STRICT if STRICT_CALLS.contains(&call.number) => Decision::Make,
        _ => {
            thread.seccomp.mode.store(DEAD, Ordering::Relaxed);
            log_call(thread, call, Signal::KILL.number(), abi::SECCOMP_RET_KILL_THREAD);
            exit::end_thread(thread, Signal::KILL.number() as i32);
            Decision::Skip
        }
    }
}

/// Asks the filters, and does what the one says that forbids most.
fn ask(thread: &Arc<Thread>, chain: &Arc<Chain>, call: &CallData) -> Decision {
    let (verdict, decider) = chain.run(call);
    let data = verdict & abi::SECCOMP_RET_DATA;
    match verdict & abi::SECCOMP_RET_ACTION_FULL {
        abi::SECCOMP_RET_ALLOW => Decision::Make,
        abi::SECCOMP_RET_LOG => {
            log_call(thread, call, 0, abi::SECCOMP_RET_LOG);
            Decision::Make
        }
        // Nobody traces here: as without a tracer.
        abi::SECCOMP_RET_TRACE => Decision::Answer(Err(Errno::NOSYS)),
        abi::SECCOMP_RET_USER_NOTIF => notify::ask(thread, decider, call),
        abi::SECCOMP_RET_ERRNO => {
            if decider.logs {
                log_call(thread, call, 0, abi::SECCOMP_RET_ERRNO);
            }
            Decision::Answer(if data == 0 { Ok(0) } else { Err(Errno::from_code(data.min(MAX_ERRNO) as i32)) })
        }
        abi::SECCOMP_RET_TRAP => {
            if decider.logs {
                log_call(thread, call, Signal::SYS.number(), abi::SECCOMP_RET_TRAP);
            }
            send::force(signal_info(call, data));
            Decision::Skip
        }
        action => {
            kill(thread, call, action);
            Decision::Skip
        }
    }
}

/// The highest number that the kernel gives as an errno.
const MAX_ERRNO: u32 = 4095;

/// SIGSYS as a filter sends it.
fn signal_info(call: &CallData, data: u32) -> SignalInfo {
    SignalInfo {
        signal: Signal::SYS,
        errno: data as i32,
        code: sys::SYS_SECCOMP as i32,
        detail: Detail::SystemCall { address: call.instruction_pointer, number: call.number, architecture: abi::AUDIT_ARCH_X86_64 },
    }
}

/// `SECCOMP_RET_KILL_THREAD` ends the thread, anything else (also what is no action) the process, as SIGSYS would.
fn kill(thread: &Arc<Thread>, call: &CallData, action: u32) {
    thread.seccomp.mode.store(DEAD, Ordering::Relaxed);
    log_call(thread, call, Signal::SYS.number(), action);
    let status = Signal::SYS.number() as i32;
    let alone = thread.process.threads().len() == 1;
    if action == abi::SECCOMP_RET_KILL_THREAD && !alone {
        exit::end_thread(thread, status);
    } else {
        exit::request_group_exit(&thread.process, status);
    }
}

/// The line that the audit log would have.
fn log_call(thread: &Thread, call: &CallData, signal: u32, action: u32) {
    let name = thread.name();
    let name = String::from_utf8_lossy(&name);
    let (pid, uid) = (thread.process.pid, thread.credentials().uid);
    log::info!(
        "audit: type={} uid={uid} pid={pid} comm=\"{name}\" sig={signal} arch={:x} syscall={} compat=0 ip={:#x} code={action:#x}",
        abi::AUDIT_SECCOMP,
        abi::AUDIT_ARCH_X86_64,
        call.number,
        call.instruction_pointer
    );
}
