//! The Graft kernel: Linux's ABI on x86-64 around the mount subsystem [`graft`].
#![no_std]
#![no_main]

extern crate alloc;

mod arch;
mod dev;
mod errno;
mod fs;
mod mm;
mod sync;
mod syscall;
mod task;
mod time;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
