//! The end of the kernel: says where and what, and does what `panic=` asks for.

use super::{command_line, power};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Frames of a backtrace that are printed at most.
const MAX_FRAMES: usize = 24;

static PANICKING: AtomicBool = AtomicBool::new(false);
static FAULT_RBP: AtomicU64 = AtomicU64::new(0);
static FAULT_RIP: AtomicU64 = AtomicU64::new(0);

/// A fault in the kernel tells where its code was, so that the backtrace starts there and not in the handler.
pub(super) fn set_backtrace_start(rbp: u64, rip: u64) {
    FAULT_RBP.store(rbp, Ordering::Relaxed);
    FAULT_RIP.store(rip, Ordering::Relaxed);
}

#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    if PANICKING.swap(true, Ordering::Relaxed) {
        // A panic while panicking: nothing can be trusted, not even printing.
        power::exit_after_panic();
    }
    crate::dev::kmsg::enter_panic();
    match information.location() {
        Some(location) => log::error!("Kernel panic - not syncing: {} at {location}", information.message()),
        None => log::error!("Kernel panic - not syncing: {}", information.message()),
    }
    backtrace();
    log::error!("---[ end Kernel panic - not syncing: {} ]---", information.message());
    end()
}

/// Prints the return addresses that lie on the stack (`addr2line -e target/graft-kernel` names them). The kernel keeps no frame
/// pointers, so these are all words of the stack that point into its code: the true callers and some that were left over.
fn backtrace() {
    let mut word = FAULT_RIP.load(Ordering::Relaxed);
    if word != 0 {
        log::error!("  at {word:#x}");
    }
    let rsp: u64;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
    let mut printed = 0;
    let mut address = rsp & !7;
    while printed < MAX_FRAMES && super::stack::same_stack(rsp, address) {
        // SAFETY: the address lies on the mapped stack that this code runs on.
        word = unsafe { (address as *const u64).read_volatile() };
        if super::paging::is_code(word) {
            log::error!("  {word:#x}");
            printed += 1;
        }
        address += 8;
    }
}

/// `panic=N` (kernel-parameters.txt): 0 waits for ever, a positive number reboots after as many seconds, a negative one at once.
fn end() -> ! {
    match command_line::panic_timeout_seconds() {
        0 => loop {
            x86_64::instructions::hlt();
        },
        seconds if seconds > 0 => {
            log::error!("Rebooting in {seconds} seconds..");
            crate::time::clock::spin_ns(u64::from(seconds.unsigned_abs()) * 1_000_000_000);
        }
        _ => {}
    }
    power::exit_after_panic()
}
