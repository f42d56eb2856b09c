//! x86-64: boot, traps, system call entry, context switch, page tables. All assembly is here.
//!
//! Interrupts are off in the kernel except while it idles (`idle`): a program is interrupted onto the trap area of its own
//! [`UserContext`], the idle loop is assembly that keeps nothing below its stack pointer. So no interrupt ever pushes onto a stack
//! on which the prebuilt `core` may be using its red zone.

mod boot;
mod runtime;

pub use boot::BOOT_STACK_BYTES;
