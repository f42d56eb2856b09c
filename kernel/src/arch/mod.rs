//! x86-64: boot, traps, system call entry, context switch, page tables. All assembly is here.
//!
//! Interrupts are off in the kernel except while it idles ([`idle`]): a program is interrupted onto the trap area of its own
//! [`UserContext`], the idle loop is assembly that keeps nothing below its stack pointer. So no interrupt ever pushes onto a stack
//! on which the prebuilt `core` may be using its red zone.

mod acpi_tables;
mod boot;
pub mod command_line;
mod descriptors;
pub mod interrupts;
pub mod paging;
mod panic;
pub mod power;
mod runtime;
mod stack;
pub mod start_info;
mod switch;
mod trap;

pub use stack::{KernelStack, STACK_BYTES};
pub use switch::{KernelContext, switch};
pub use trap::{FLOATING_POINT_BYTES, FloatingPoint, LEGACY_STATE_BYTES, STATE_COMPONENTS, Trap, UserContext, idle, saves_extended_state};

/// The first part of the start: everything that needs no heap. `start_info` is what the loader passed.
pub fn init_early(start_info: u64) {
    descriptors::init();
    trap::init();
    // The boot tables' direct map reaches 1 GiB; the final one reaches all memory that the start info may point to.
    paging::init();
    start_info::read(start_info);
}

/// The second part, with frames and heap in place: interrupt controllers.
pub fn init_devices() {
    paging::note_unreachable(start_info::information());
    interrupts::init();
}
