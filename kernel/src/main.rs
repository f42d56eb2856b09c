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

/// Where `arch::boot` arrives, in long mode on the boot stack, with the physical address of the PVH start info.
extern "C" fn main(start_info: u64) -> ! {
    dev::serial::init();
    dev::serial::write_bytes(b"hello\n");
    let _ = start_info;
    loop {}
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
