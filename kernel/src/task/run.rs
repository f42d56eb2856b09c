//! The life of a thread: into user mode, out with a trap, signals, and back.

use crate::arch::Trap;
use crate::errno::{Errno, Result};
use crate::mm::USER_END;
use crate::mm::address_space::{Access, FaultError};
use crate::syscall;
use crate::task::seccomp::{self, CallData, Decision};
use crate::task::signal::{self, Signal, SignalInfo};
use crate::task::{Thread, current, exit, return_work, rseq, scheduler};
use crate::time::timer;
use alloc::boxed::Box;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

/// How an interrupted call goes on when `restart_syscall(2)` is made for it.
pub struct RestartCall(Box<dyn FnOnce() -> Result<u64> + Send>);

/// Notes how the current call is to go on after a stop, and gives the error to return: `RESTART_BLOCK`.
pub fn restart_with(call: impl FnOnce() -> Result<u64> + Send + 'static) -> Errno {
    let old = current().restart.lock().replace(RestartCall(Box::new(call)));
    drop(old);
    Errno::RESTART_BLOCK
}

/// `restart_syscall(2)`: `EINTR` when there is nothing to go on with.
pub fn restart() -> Result<u64> {
    let call = current().restart.lock().take();
    call.map_or(Err(Errno::INTR), |call| (call.0)())
}

/// Runs the current thread until it ends.
pub(in crate::task) fn run() -> ! {
    let thread = current();
    loop {
        // Once for each way to user mode: work may ask to be done again the next time.
        if thread.return_work.load(Ordering::Relaxed) != 0 && !thread.must_end() {
            return_work::see_to(&thread);
        }
        if thread.must_end() {
            break;
        }
        turn(&thread);
    }
    // No reference to the thread may be on this stack from here on: nobody would drop it.
    drop(thread);
    exit::finish_current()
}

/// Once into user mode and back, and what is due then. The clock is read twice: what comes after the second time counts as the
/// program's.
fn turn(thread: &Thread) {
    let trap = thread.user_context.lock().run();
    scheduler::charge_user(thread);
    let switches = scheduler::switches();
    let mut call = None;
    match trap {
        Trap::Syscall => call = system_call(thread),
        Trap::Fault { vector, error, address } => fault(thread, vector, error, address),
        Trap::Interrupt(_) => {}
    }
    let now_ns = scheduler::charge_system(thread);
    // A thread that only makes calls is interrupted at the end of its slice at the latest, so nothing is missed.
    let slice_ended = timer::slice_ended(now_ns);
    if slice_ended || trap != Trap::Syscall {
        super::itimer::check_processor_time(thread);
    }
    signal::deliver::deliver(thread, call);
    if slice_ended {
        scheduler::preempt();
    }
    if switches != scheduler::switches() {
        rseq::interrupted(thread);
    }
}

/// Runs a call. Gives its number if it ended in one of the restart codes, for signal delivery to decide on.
fn system_call(thread: &Thread) -> Option<u64> {
    let (number, arguments) = {
        let context = thread.user_context.lock();
        let r = &context.registers;
        (r.rax, [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9])
    };
    let result = if thread.seccomp.is_on() {
        let instruction_pointer = thread.user_context.lock().rip;
        match seccomp::check(&current(), &CallData { number: number as u32, instruction_pointer, arguments }) {
            Decision::Make => syscall::dispatch(number, &arguments),
            Decision::Answer(answer) => answer,
            Decision::Skip => return None,
        }
    } else {
        syscall::dispatch(number, &arguments)
    };
    if number == u64::from(sys::__NR_rt_sigreturn) {
        // All registers are the frame's now, `rax` too.
        return None;
    }
    let interrupted =
        matches!(result, Err(Errno::INTR | Errno::RESTARTSYS | Errno::RESTARTNOINTR | Errno::RESTARTNOHAND | Errno::RESTART_BLOCK));
    if !interrupted {
        signal::restore_mask(thread);
    }
    let value = result.unwrap_or_else(Errno::as_return_value);
    thread.user_context.lock().registers.rax = value;
    (interrupted && result != Err(Errno::INTR)).then_some(number)
}

/// Page faults are served; what cannot be served, and all other exceptions, become signals.
fn fault(thread: &Thread, vector: u8, error: u64, address: u64) {
    // Whether something is mapped in the kernel's half is nobody's business: it always looks as if (Linux's `set_signal_archinfo`).
    let hidden = vector == PAGE_FAULT && address >= USER_END;
    let error = error | if hidden { ERROR_PRESENT } else { 0 };
    thread.signals.lock().last_fault = signal::FaultRecord { vector: u64::from(vector), error, address };
    let info = if vector == PAGE_FAULT { page_fault(thread, error, address) } else { Some(exception(thread, vector)) };
    if let Some(info) = info {
        log_fatal(thread, &info, vector, error, address);
        signal::send::force(info);
    }
}

const PAGE_FAULT: u8 = 14;
/// Bits of a page fault's error code (Intel SDM volume 3, 4.7).
const ERROR_PRESENT: u64 = 1;
const ERROR_WRITE: u64 = 1 << 1;
const ERROR_USER: u64 = 1 << 2;
const ERROR_FETCH: u64 = 1 << 4;

fn page_fault(thread: &Thread, error: u64, address: u64) -> Option<SignalInfo> {
    let access = match error {
        _ if error & ERROR_FETCH != 0 => Access::Execute,
        _ if error & ERROR_WRITE != 0 => Access::Write,
        _ => Access::Read,
    };
    thread.times.count_fault();
    if error & ERROR_USER == 0 {
        // The processor itself looked something up for the program (a descriptor, or QEMU's far return its stack) where only the kernel
        // may. Making the page present would not help.
        return Some(SignalInfo::fault(Signal::SEGV, sys::SEGV_MAPERR, address));
    }
    let space = thread.process.address_space()?;
    match space.fault(address, access, thread.process.stack_limit_bytes()) {
        Ok(()) => None,
        Err(FaultError::NotMapped) => Some(SignalInfo::fault(Signal::SEGV, sys::SEGV_MAPERR, address)),
        Err(FaultError::NotAllowed) => Some(SignalInfo::fault(Signal::SEGV, sys::SEGV_ACCERR, address)),
        Err(FaultError::Bus | FaultError::Absent) => Some(SignalInfo::fault(Signal::BUS, sys::BUS_ADRERR, address)),
        // The killer was called and could not help: the thread ends, or the instruction is tried again.
        Err(FaultError::OutOfMemory) => None,
    }
}

fn exception(thread: &Thread, vector: u8) -> SignalInfo {
    let (rip, status) = {
        let context = thread.user_context.lock();
        let bytes = &context.floating_point.0;
        let x87 = u32::from(bytes[2]) & !u32::from(bytes[0]) & 0x3f;
        let mxcsr = u32::from_ne_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
        (context.rip, if vector == 16 { x87 } else { mxcsr & !(mxcsr >> 7) & 0x3f })
    };
    match vector {
        0 => SignalInfo::fault(Signal::FPE, sys::FPE_INTDIV, rip),
        1 => SignalInfo::fault(Signal::TRAP, sys::TRAP_TRACE, rip),
        3 => SignalInfo::from_kernel(Signal::TRAP),
        6 => SignalInfo::fault(Signal::ILL, sys::ILL_ILLOPN, rip),
        11 | 12 => SignalInfo::from_kernel(Signal::BUS),
        16 | 19 => SignalInfo::fault(Signal::FPE, floating_point_code(status), rip),
        17 => SignalInfo::fault(Signal::BUS, sys::BUS_ADRALN, 0),
        _ => SignalInfo::from_kernel(Signal::SEGV),
    }
}

/// From the unmasked exception bits of x87's status word or MXCSR, which have the same order.
fn floating_point_code(bits: u32) -> u32 {
    match bits {
        _ if bits & 0x01 != 0 => sys::FPE_FLTINV,
        _ if bits & 0x04 != 0 => sys::FPE_FLTDIV,
        _ if bits & 0x08 != 0 => sys::FPE_FLTOVF,
        _ if bits & 0x12 != 0 => sys::FPE_FLTUND,
        _ if bits & 0x20 != 0 => sys::FPE_FLTRES,
        _ => 0,
    }
}

/// A line in the log for a fault that nobody handles, as Linux's `show_unhandled_signals`.
fn log_fatal(thread: &Thread, info: &SignalInfo, vector: u8, error: u64, address: u64) {
    let action = thread.process.signal_actions().get(info.signal);
    if !action.is_default() && !action.is_ignore() {
        return;
    }
    let (rip, rsp) = {
        let context = thread.user_context.lock();
        (context.rip, context.rsp)
    };
    let name = thread.name();
    let name = alloc::string::String::from_utf8_lossy(&name);
    let (tid, number) = (thread.tid(), info.signal.number());
    if vector == PAGE_FAULT {
        log::info!("{name}[{tid}]: segfault at {address:x} ip {rip:x} sp {rsp:x} error {error:x} (signal {number})");
    } else {
        log::info!("{name}[{tid}]: trap {vector} ip {rip:x} sp {rsp:x} error {error:x} (signal {number})");
    }
}
