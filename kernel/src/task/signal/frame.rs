//! The frame that a handler runs on, as Linux lays it out on x86-64 (`struct rt_sigframe`), and the way back (`sigreturn(2)`).

use super::info::INFO_LEN_BYTES;
use super::{Action, SignalInfo, SignalSet};
use crate::arch::{FLOATING_POINT_BYTES, FloatingPoint, LEGACY_STATE_BYTES, STATE_COMPONENTS, UserContext, saves_extended_state};
use crate::errno::{Errno, Result};
use crate::mm::user;
use crate::task::Thread;
use crate::task::thread::{AlternateStack, ThreadSignals};
use linux_raw_sys::general as sys;

/// What lies below the stack pointer belongs to the interrupted function (System V ABI).
const RED_ZONE_BYTES: u64 = 128;
/// `uc_flags`: the saved `ss` is right, and to be restored strictly.
const CONTEXT_FLAGS: u64 = 0x2 | 0x4;
/// `uc_flags`: the FPU state is XSAVE's (`UC_FP_XSTATE`).
const EXTENDED_STATE_FLAG: u64 = 0x1;
/// Where FXSAVE's area leaves room for software: `struct _fpx_sw_bytes` tells how much state follows.
const SOFTWARE_OFFSET: usize = 464;
/// Begins `_fpx_sw_bytes` (`FP_XSTATE_MAGIC1`).
const EXTENDED_STATE_BEGIN: u32 = 0x4650_5853;
/// Stands behind the extended state (`FP_XSTATE_MAGIC2`).
const EXTENDED_STATE_END: u32 = 0x4650_5845;
/// The extended state with the mark behind it.
const FLOATING_POINT_LEN_BYTES: usize = FLOATING_POINT_BYTES + 4;

/// Words of `struct ucontext`: flags, link, stack (3), `struct sigcontext` (32), mask.
const CONTEXT_WORDS: usize = 38;
const STACK_WORD: usize = 2;
const MACHINE_WORD: usize = 5;
const MASK_WORD: usize = 37;
/// Words of `struct sigcontext` behind the registers: segments, error, trap, old mask, CR2, pointer to the FPU state.
const SEGMENTS_WORD: usize = MACHINE_WORD + 18;
const FLOATING_POINT_WORD: usize = MACHINE_WORD + 23;
/// Return address, `ucontext`, `siginfo`.
const FRAME_LEN_BYTES: usize = 8 + CONTEXT_WORDS * 8 + INFO_LEN_BYTES;

const USER_CODE_SELECTOR: u64 = 0x33;
const USER_STACK_SELECTOR: u64 = 0x2b;
/// Direction, trap and resume flag: clear when a handler starts.
const FLAGS_CLEARED: u64 = 0x400 | 0x100 | 0x1_0000;

/// Bytes that a frame takes at most: `AT_MINSIGSTKSZ`.
pub const MIN_STACK_BYTES: u64 = (FRAME_LEN_BYTES + FLOATING_POINT_LEN_BYTES + 64 + 16 + RED_ZONE_BYTES as usize) as u64;

/// Makes the thread go on in the handler of `info`'s signal. An error means that the stack cannot take the frame.
pub(super) fn push(thread: &Thread, info: &SignalInfo, action: &Action) -> Result<()> {
    if !action.has(sys::SA_RESTORER) {
        // The kernel offers no code to return to on x86-64.
        return Err(Errno::FAULT);
    }
    let (old_mask, stack, fault) = {
        let signals = thread.signals.lock();
        (signals.saved_mask.unwrap_or(signals.mask), signals.alternate_stack, signals.last_fault)
    };
    let context = thread.user_context.lock().clone();
    let (fpu_address, frame_address) = place(&context, &stack, action.has(sys::SA_ONSTACK))?;

    let mut words = [0u64; CONTEXT_WORDS];
    words[0] = CONTEXT_FLAGS | if saves_extended_state() { EXTENDED_STATE_FLAG } else { 0 };
    put_stack(&mut words, &stack, context.rsp);
    put_machine(&mut words[MACHINE_WORD..], &context);
    words[SEGMENTS_WORD] = USER_CODE_SELECTOR | USER_STACK_SELECTOR << 48;
    words[SEGMENTS_WORD + 1] = fault.error;
    words[SEGMENTS_WORD + 2] = fault.vector;
    words[SEGMENTS_WORD + 3] = old_mask.0;
    words[SEGMENTS_WORD + 4] = fault.address;
    words[FLOATING_POINT_WORD] = fpu_address;
    words[MASK_WORD] = old_mask.0;

    let mut bytes = [0u8; FRAME_LEN_BYTES];
    bytes[..8].copy_from_slice(&action.restorer.to_ne_bytes());
    for (at, word) in bytes[8..].chunks_exact_mut(8).zip(words) {
        at.copy_from_slice(&word.to_ne_bytes());
    }
    let info_offset = 8 + CONTEXT_WORDS * 8;
    bytes[info_offset..].copy_from_slice(&info.encode());
    write_floating_point(fpu_address, &context.floating_point)?;
    user::write_bytes(frame_address, &bytes)?;

    let mut running = thread.user_context.lock();
    running.registers.rdi = u64::from(info.signal.number());
    running.registers.rsi = frame_address + info_offset as u64;
    running.registers.rdx = frame_address + 8;
    running.registers.rax = 0;
    running.rip = action.handler;
    running.rsp = frame_address;
    running.rflags &= !FLAGS_CLEARED;
    running.floating_point = FloatingPoint::new();
    drop(running);
    block_for_handler(&mut thread.signals.lock(), info, action, &stack);
    Ok(())
}

fn block_for_handler(signals: &mut ThreadSignals, info: &SignalInfo, action: &Action, stack: &AlternateStack) {
    signals.saved_mask = None;
    let mut mask = signals.mask.union(action.mask);
    if !action.has(sys::SA_NODEFER) {
        mask = mask.with(info.signal);
    }
    signals.mask = mask.minus(SignalSet::UNBLOCKABLE);
    if stack.flags & SS_AUTODISARM != 0 {
        signals.alternate_stack = AlternateStack::default();
    }
}

/// `SS_AUTODISARM` of `sigaltstack(2)`.
pub(in crate::task) const SS_AUTODISARM: u32 = sys::SS_AUTODISARM;

/// Where the FPU state and the frame go. `EFAULT` if the alternate stack is too small.
fn place(context: &UserContext, stack: &AlternateStack, wants_alternate: bool) -> Result<(u64, u64)> {
    let mut sp = context.rsp.wrapping_sub(RED_ZONE_BYTES);
    let nested = stack.is_current(context.rsp);
    let enters = wants_alternate && stack.len_bytes != 0 && !stack.is_current(sp);
    if enters {
        sp = stack.base.wrapping_add(stack.len_bytes);
    }
    let fpu_address = sp.wrapping_sub(FLOATING_POINT_LEN_BYTES as u64) & !63;
    // As after a call: the address is a multiple of 16, less the return address.
    let frame_address = (fpu_address.wrapping_sub(FRAME_LEN_BYTES as u64) & !15).wrapping_sub(8);
    if (nested || enters) && !stack.holds(frame_address) {
        return Err(Errno::FAULT);
    }
    Ok((fpu_address, frame_address))
}

impl AlternateStack {
    /// Whether `sp` lies on it.
    pub(in crate::task) fn holds(&self, sp: u64) -> bool {
        sp > self.base && sp - self.base <= self.len_bytes
    }

    /// Whether a thread with that stack pointer runs on it. One that disarms itself is never "in use".
    pub(in crate::task) fn is_current(&self, sp: u64) -> bool {
        self.flags & SS_AUTODISARM == 0 && self.holds(sp)
    }

    /// `ss_flags` as `sigaltstack` and the frame tell them.
    pub(in crate::task) fn shown_flags(&self, sp: u64) -> u32 {
        let state = match () {
            () if self.len_bytes == 0 => sys::SS_DISABLE,
            () if self.is_current(sp) => sys::SS_ONSTACK,
            () => 0,
        };
        state | self.flags
    }
}

fn put_stack(words: &mut [u64; CONTEXT_WORDS], stack: &AlternateStack, sp: u64) {
    words[STACK_WORD] = stack.base;
    words[STACK_WORD + 1] = u64::from(stack.shown_flags(sp));
    words[STACK_WORD + 2] = stack.len_bytes;
}

/// The order of registers in `struct sigcontext`.
fn put_machine(words: &mut [u64], context: &UserContext) {
    let r = &context.registers;
    let registers = [
        r.r8,
        r.r9,
        r.r10,
        r.r11,
        r.r12,
        r.r13,
        r.r14,
        r.r15,
        r.rdi,
        r.rsi,
        r.rbp,
        r.rbx,
        r.rdx,
        r.rax,
        r.rcx,
        context.rsp,
        context.rip,
        context.rflags,
    ];
    words[..registers.len()].copy_from_slice(&registers);
}

fn take_machine(words: &[u64; CONTEXT_WORDS], context: &mut UserContext) {
    let r = &mut context.registers;
    let slots = [
        &mut r.r8,
        &mut r.r9,
        &mut r.r10,
        &mut r.r11,
        &mut r.r12,
        &mut r.r13,
        &mut r.r14,
        &mut r.r15,
        &mut r.rdi,
        &mut r.rsi,
        &mut r.rbp,
        &mut r.rbx,
        &mut r.rdx,
        &mut r.rax,
        &mut r.rcx,
        &mut context.rsp,
        &mut context.rip,
        &mut context.rflags,
    ];
    for (slot, word) in slots.into_iter().zip(&words[MACHINE_WORD..]) {
        *slot = *word;
    }
}

/// Stores the FPU state; with XSAVE, what tells of it in the part left to software, and the mark behind it.
fn write_floating_point(address: u64, state: &FloatingPoint) -> Result<()> {
    if !saves_extended_state() {
        return user::write_bytes(address, &state.0[..LEGACY_STATE_BYTES]);
    }
    let mut bytes = [0u8; FLOATING_POINT_LEN_BYTES];
    bytes[..FLOATING_POINT_BYTES].copy_from_slice(&state.0);
    let software = &mut bytes[SOFTWARE_OFFSET..LEGACY_STATE_BYTES];
    software.fill(0);
    software[..4].copy_from_slice(&EXTENDED_STATE_BEGIN.to_ne_bytes());
    software[4..8].copy_from_slice(&(FLOATING_POINT_LEN_BYTES as u32).to_ne_bytes());
    software[8..16].copy_from_slice(&STATE_COMPONENTS.to_ne_bytes());
    software[16..20].copy_from_slice(&(FLOATING_POINT_BYTES as u32).to_ne_bytes());
    bytes[FLOATING_POINT_BYTES..].copy_from_slice(&EXTENDED_STATE_END.to_ne_bytes());
    user::write_bytes(address, &bytes)
}

/// Takes the FPU state back: whole if both marks are there, else the legacy part, the rest as at the start of a program.
fn read_floating_point(address: u64) -> Result<FloatingPoint> {
    let mut state = FloatingPoint::new();
    user::read_bytes(address, &mut state.0[..LEGACY_STATE_BYTES])?;
    let begins = state.0[SOFTWARE_OFFSET..SOFTWARE_OFFSET + 4] == EXTENDED_STATE_BEGIN.to_ne_bytes();
    if saves_extended_state() && begins {
        let mut bytes = [0u8; FLOATING_POINT_LEN_BYTES];
        user::read_bytes(address, &mut bytes)?;
        if bytes[FLOATING_POINT_BYTES..] == EXTENDED_STATE_END.to_ne_bytes() {
            state.0.copy_from_slice(&bytes[..FLOATING_POINT_BYTES]);
        }
    }
    Ok(state)
}

/// `rt_sigreturn(2)`: all registers, the mask and the alternate stack come back from the frame. Whatever it holds is harmless: bad values
/// become faults of the program. An error means that the frame cannot be read, and SIGSEGV.
pub fn pop(thread: &Thread) -> Result<()> {
    let frame_address = thread.user_context.lock().rsp.wrapping_sub(8);
    let mut bytes = [0u8; CONTEXT_WORDS * 8];
    user::read_bytes(frame_address.wrapping_add(8), &mut bytes)?;
    let mut words = [0u64; CONTEXT_WORDS];
    for (word, from) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = from.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    let floating_point = match words[FLOATING_POINT_WORD] {
        0 => FloatingPoint::new(),
        address => read_floating_point(address)?,
    };
    let sp = {
        let mut context = thread.user_context.lock();
        take_machine(&words, &mut context);
        context.floating_point = floating_point;
        context.rsp
    };
    let mut signals = thread.signals.lock();
    signals.mask = SignalSet(words[MASK_WORD]).minus(SignalSet::UNBLOCKABLE);
    // Errors are not told: the frame's stack may be the one in use (Linux's `restore_altstack`).
    let [base, flags, len_bytes] = [words[STACK_WORD], words[STACK_WORD + 1], words[STACK_WORD + 2]];
    let _ = set_alternate_stack(&mut signals, base, flags as u32, len_bytes, sp);
    Ok(())
}

/// `sigaltstack(2)`, the part that sets. `EPERM` while running on it, `EINVAL` for unknown flags, `ENOMEM` if too small.
pub(in crate::task) fn set_alternate_stack(signals: &mut ThreadSignals, base: u64, flags: u32, len_bytes: u64, sp: u64) -> Result<()> {
    if signals.alternate_stack.is_current(sp) {
        return Err(Errno::PERM);
    }
    let mode = flags & !SS_AUTODISARM;
    if mode != sys::SS_DISABLE && mode != sys::SS_ONSTACK && mode != 0 {
        return Err(Errno::INVAL);
    }
    if mode == sys::SS_DISABLE {
        signals.alternate_stack = AlternateStack { flags: flags & SS_AUTODISARM, ..AlternateStack::default() };
        return Ok(());
    }
    if len_bytes < u64::from(sys::MINSIGSTKSZ) {
        return Err(Errno::NOMEM);
    }
    signals.alternate_stack = AlternateStack { base, len_bytes, flags: flags & SS_AUTODISARM };
    Ok(())
}
