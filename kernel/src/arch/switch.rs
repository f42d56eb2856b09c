//! Switching between threads in the kernel: each has a stack, and while it does not run, the registers that a call preserves lie on it.

use core::arch::global_asm;

/// Where a thread that does not run left off.
#[derive(Debug, Default)]
#[repr(C)]
pub struct KernelContext {
    rsp: u64,
}

impl KernelContext {
    /// A thread that has not run yet: it will call `entry(argument)` on the stack that ends at `stack_top` (a multiple of 16).
    pub fn new(stack_top: u64, entry: extern "C" fn(usize) -> !, argument: usize) -> Self {
        // What `switch_context` pops: r15 r14 r13 r12 rbp rbx, then the return address; above it zeros that
        // end backtraces: two, so that the stack is at a multiple of 16 where `first_entry` calls.
        let frame = [0, 0, entry as usize as u64, argument as u64, 0, 0, first_entry as *const () as u64, 0, 0];
        let rsp = stack_top - size_of_val(&frame) as u64;
        // SAFETY: the top of a fresh stack, which nobody uses yet.
        unsafe { (rsp as *mut [u64; 9]).write(frame) };
        Self { rsp }
    }
}

unsafe extern "C" {
    fn switch_context(from: *mut KernelContext, to: *const KernelContext);
    fn first_entry();
}

/// Leaves the running thread, whose state goes to `from`, and takes up `to`. Returns when somebody switches back.
///
/// # Safety
/// `to` is a context that `new` made or that an earlier switch filled, not running anywhere, its stack still mapped; both pointers stay
/// valid until the thread of `from` is taken up again. No guard of a spinning lock is held.
pub unsafe fn switch(from: *mut KernelContext, to: *const KernelContext) {
    // SAFETY: the caller's.
    unsafe { switch_context(from, to) }
}

global_asm!(
    "switch_context:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rdi], rsp",
    "mov rsp, [rsi]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    // A new thread: entry in r13, argument in r12 (see `KernelContext::new`).
    "first_entry:",
    "mov rdi, r12",
    "xor ebp, ebp",
    "call r13",
    "ud2",
);
