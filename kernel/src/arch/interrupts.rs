//! Device interrupts: the local APIC with its timer, the I/O APIC for the serial line, and who handles which vector.

use super::trap::{FIRST_INTERRUPT, LAST_INTERRUPT};
use crate::mm::DIRECT_MAP_BASE;
use crate::sync::{Once, SpinLock};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use x2apic::ioapic::{IoApic, IrqFlags, IrqMode};
use x2apic::lapic::{LocalApic, LocalApicBuilder, TimerDivide, TimerMode};
use x86_64::instructions::port::Port;

/// The APIC timer's vector.
pub const TIMER_VECTOR: u8 = FIRST_INTERRUPT;
/// COM1's vector.
pub const SERIAL_VECTOR: u8 = FIRST_INTERRUPT + 4;
const ERROR_VECTOR: u8 = LAST_INTERRUPT - 1;
const SPURIOUS_VECTOR: u8 = LAST_INTERRUPT;
/// COM1's line at the interrupt controller.
const SERIAL_LINE: u8 = 4;
/// Where PC-compatible machines have the I/O APIC (and QEMU's `pc` has its only one).
const IO_APIC_BASE: u64 = 0xfec0_0000;
const LOCAL_APIC_BASE: u64 = 0xfee0_0000;

/// The crate marks its type as bound to a processor; there is one, and the lock orders its users.
struct Apic(LocalApic);

// SAFETY: the registers behind it are memory of the only processor.
unsafe impl Send for Apic {}

static LOCAL_APIC: Once<SpinLock<Apic>> = Once::new();
/// How often each vector was taken, for `/proc/interrupts`.
static COUNTS: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];
static HANDLERS: [AtomicUsize; 16] = [const { AtomicUsize::new(0) }; 16];

/// Masks the old controllers, sets the APICs up, routes the serial line.
pub(super) fn init() {
    mask_legacy_controllers();
    let mut apic = LocalApicBuilder::new()
        .timer_vector(usize::from(TIMER_VECTOR))
        .error_vector(usize::from(ERROR_VECTOR))
        .spurious_vector(usize::from(SPURIOUS_VECTOR))
        .timer_mode(TimerMode::OneShot)
        .timer_divide(TimerDivide::Div1)
        .timer_initial(0)
        .set_xapic_base(DIRECT_MAP_BASE + LOCAL_APIC_BASE)
        .build()
        .unwrap_or_else(|error| panic!("local APIC: {error}"));
    // SAFETY: the registers are mapped, uncached, in the direct map; the vectors have gates.
    unsafe { apic.enable() };
    LOCAL_APIC.call_once(|| SpinLock::new(Apic(apic)));
    // SAFETY: as above.
    unsafe {
        let mut io_apic = IoApic::new(DIRECT_MAP_BASE + IO_APIC_BASE);
        io_apic.init(FIRST_INTERRUPT);
        let mut entry = io_apic.table_entry(SERIAL_LINE);
        entry.set_mode(IrqMode::Fixed);
        entry.set_flags(IrqFlags::empty());
        entry.set_vector(SERIAL_VECTOR);
        entry.set_dest(0);
        io_apic.set_table_entry(SERIAL_LINE, entry);
        io_apic.enable_irq(SERIAL_LINE);
    }
}

/// The two 8259s stay silent.
fn mask_legacy_controllers() {
    // SAFETY: the mask registers of the interrupt controllers, which only this file touches.
    unsafe {
        Port::<u8>::new(0x21).write(0xff);
        Port::<u8>::new(0xa1).write(0xff);
    }
}

/// From now on `handler` runs for interrupts of `vector`, with interrupts off; it must not block.
pub fn set_handler(vector: u8, handler: fn()) {
    HANDLERS[usize::from(vector - FIRST_INTERRUPT)].store(handler as usize, Ordering::Release);
}

/// How often interrupts of `vector` were taken.
pub fn count(vector: u8) -> u64 {
    COUNTS.get(usize::from(vector.wrapping_sub(FIRST_INTERRUPT))).map_or(0, |count| count.load(Ordering::Relaxed))
}

/// Runs the handler of `vector` and tells the controller.
pub(super) fn handle(vector: u8) {
    let index = usize::from(vector.wrapping_sub(FIRST_INTERRUPT));
    if let Some(count) = COUNTS.get(index) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    let handler = HANDLERS.get(index).map_or(0, |h| h.load(Ordering::Acquire));
    if handler != 0 {
        // SAFETY: only `set_handler` stores here, a function of this type.
        let handler: fn() = unsafe { core::mem::transmute(handler) };
        handler();
    }
    if vector != SPURIOUS_VECTOR {
        // SAFETY: one interrupt was delivered, one is ended.
        with_apic(|apic| unsafe { apic.end_of_interrupt() });
    }
}

/// Arms the timer to fire once after `ticks` of its clock, or stops it with 0.
pub fn set_timer_ticks(ticks: u32) {
    // SAFETY: the register is this processor's own.
    with_apic(|apic| unsafe { apic.set_timer_initial(ticks) });
}

/// What is left of the timer's count.
pub fn timer_ticks_left() -> u32 {
    // SAFETY: the register is this processor's own.
    with_apic(|apic| unsafe { apic.timer_current() })
}

/// Lets the timer's interrupt through.
pub fn enable_timer() {
    // SAFETY: the register is this processor's own; the vector has a gate.
    with_apic(|apic| unsafe { apic.enable_timer() });
}

fn with_apic<T>(operate: impl FnOnce(&mut LocalApic) -> T) -> T {
    let apic = LOCAL_APIC.get().unwrap_or_else(|| panic!("the local APIC is not set up"));
    operate(&mut apic.lock().0)
}
