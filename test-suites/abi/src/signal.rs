//! Signal handlers that count and remember, masks, and dispositions.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

/// What the handler remembers of the last delivery of each signal.
#[derive(Debug)]
struct Record {
    count: AtomicU32,
    code: AtomicI32,
    sender: AtomicI32,
    value: AtomicUsize,
    stack_pointer: AtomicUsize,
}

static RECORDS: [Record; 65] = [const {
    Record {
        count: AtomicU32::new(0),
        code: AtomicI32::new(0),
        sender: AtomicI32::new(0),
        value: AtomicUsize::new(0),
        stack_pointer: AtomicUsize::new(0),
    }
}; 65];

/// The order in which signals were delivered, first in the low byte.
static ORDER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

extern "C" fn record(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let on_stack = 0u8;
    let record = &RECORDS[signal as usize];
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo_t.
    unsafe {
        record.code.store((*info).si_code, Ordering::Relaxed);
        record.sender.store((*info).si_pid(), Ordering::Relaxed);
        record.value.store((*info).si_value().sival_ptr as usize, Ordering::Relaxed);
    }
    record.stack_pointer.store(&raw const on_stack as usize, Ordering::Relaxed);
    let before = ORDER.load(Ordering::Relaxed);
    let used_bytes = (u64::BITS - before.leading_zeros()).div_ceil(8);
    ORDER.store(before | ((signal as u64) << (8 * used_bytes.min(7))), Ordering::Relaxed);
    record.count.fetch_add(1, Ordering::Relaxed);
}

/// Handles `signal` by counting it, with these `SA_` flags.
pub fn catch(signal: i32, flags: i32) {
    catch_masking(signal, flags, &[]);
}

/// As [`catch`], with `masked` blocked while the handler runs.
pub fn catch_masking(signal: i32, flags: i32, masked: &[i32]) {
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = record;
    set_action(signal, handler as usize, flags | libc::SA_SIGINFO, masked);
}

/// `sigaction` with a handler address, or `SIG_DFL` or `SIG_IGN`.
pub fn set_action(signal: i32, handler: usize, flags: i32, masked: &[i32]) {
    // SAFETY: an all-zero sigaction is valid, and the handlers used are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        action.sa_mask = set_of(masked);
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0, "sigaction of {signal}");
    }
}

/// Gives `signal` its default action.
pub fn default(signal: i32) {
    set_action(signal, libc::SIG_DFL, 0, &[]);
}

/// Ignores `signal`.
pub fn ignore(signal: i32) {
    set_action(signal, libc::SIG_IGN, 0, &[]);
}

/// Defaults for every signal and an empty mask: what a program starts with from an ordinary shell.
pub fn reset() {
    // By number, because the C library keeps 32 and 33 to itself; SIGKILL and SIGSTOP refuse, and have their defaults anyway.
    let action = [0u64; 4];
    for signal in 1..=64 {
        let _ = crate::syscall!(SYS_rt_sigaction, signal, action.as_ptr(), 0usize, 8);
    }
    set_mask(&[]);
}

/// A signal set with these members.
pub fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigset_t is plain data that sigemptyset initialises.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for &signal in signals {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}

/// The kernel's form of a signal set: one bit for each signal, from signal 1.
pub fn bits(signals: &[i32]) -> u64 {
    signals.iter().fold(0, |bits, signal| bits | 1 << (signal - 1))
}

/// Blocks exactly `signals` in this thread.
pub fn set_mask(signals: &[i32]) {
    let bits = bits(signals);
    crate::syscall!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const bits, 0usize, 8).expect("sigprocmask");
}

/// The signals blocked in this thread.
pub fn mask() -> u64 {
    let mut bits = 0u64;
    crate::syscall!(SYS_rt_sigprocmask, libc::SIG_BLOCK, 0usize, &raw mut bits, 8).expect("sigprocmask");
    bits
}

/// The signals pending for this thread or its process.
pub fn pending() -> u64 {
    let mut bits = 0u64;
    crate::syscall!(SYS_rt_sigpending, &raw mut bits, 8).expect("sigpending");
    bits
}

/// How often the handler ran for `signal`.
pub fn count(signal: i32) -> u32 {
    RECORDS[signal as usize].count.load(Ordering::Relaxed)
}

/// `si_code` of its last delivery.
pub fn code(signal: i32) -> i32 {
    RECORDS[signal as usize].code.load(Ordering::Relaxed)
}

/// `si_pid` of its last delivery.
pub fn sender(signal: i32) -> i32 {
    RECORDS[signal as usize].sender.load(Ordering::Relaxed)
}

/// `si_value` of its last delivery.
pub fn value(signal: i32) -> usize {
    RECORDS[signal as usize].value.load(Ordering::Relaxed)
}

/// An address on the stack that the handler last ran on.
pub fn stack_pointer(signal: i32) -> usize {
    RECORDS[signal as usize].stack_pointer.load(Ordering::Relaxed)
}

/// The signals delivered since the start, in order, eight at most.
pub fn order() -> Vec<i32> {
    let order = ORDER.load(Ordering::Relaxed);
    (0..8).map(|place| (order >> (8 * place)) as i32 & 0xff).take_while(|&signal| signal != 0).collect()
}

/// Sends `signal` to process `pid`.
pub fn send(pid: i32, signal: i32) {
    crate::syscall!(SYS_kill, pid, signal).expect("kill");
}

/// Sends `signal` to this thread.
pub fn raise(signal: i32) {
    let thread = crate::syscall!(SYS_gettid).expect("gettid");
    let process = crate::syscall!(SYS_getpid).expect("getpid");
    crate::syscall!(SYS_tgkill, process, thread, signal).expect("tgkill");
}
