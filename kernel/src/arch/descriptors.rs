//! Segments, the task state segment with its interrupt stacks, and the interrupt descriptor table.

use super::trap;
use crate::sync::{Once, SpinLock};
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::segmentation::SegmentSelector;
use x86_64::structures::gdt::{Descriptor, DescriptorFlags, GlobalDescriptorTable};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, structures::idt::Entry};

/// Selectors have Linux's values: programs see them in signal frames.
pub(super) const KERNEL_CODE: u16 = 0x10;
pub(super) const KERNEL_DATA: u16 = 0x18;
/// `SYSRET` wants the user's code selector 8 above the data selector (STAR).
pub(super) const USER_DATA: u16 = 0x2b;
pub(super) const USER_CODE: u16 = 0x33;

/// Interrupt stacks (IST slots) of faults that may come while the stack pointer cannot be trusted.
const DOUBLE_FAULT_STACK: u16 = 0;
const NMI_STACK: u16 = 1;
const DEBUG_STACK: u16 = 2;
const MACHINE_CHECK_STACK: u16 = 3;
const INTERRUPT_STACK_BYTES: usize = 16 * 1024;

#[repr(align(16))]
struct InterruptStack {
    _bytes: [u8; INTERRUPT_STACK_BYTES],
}

static mut INTERRUPT_STACKS: [InterruptStack; 4] = [const { InterruptStack { _bytes: [0; INTERRUPT_STACK_BYTES] } }; 4];

/// Read by the processor at each trap from user mode; `rsp0` changes with each entry into user mode.
pub(super) static mut TASK_STATE: TaskStateSegment = TaskStateSegment::new();

static SEGMENTS: Once<GlobalDescriptorTable<10>> = Once::new();
static GATES: SpinLock<InterruptDescriptorTable> = SpinLock::new(InterruptDescriptorTable::new());

/// Loads all tables.
pub(super) fn init() {
    // SAFETY: runs once, at boot, before anything else looks at the task state.
    let task_state: &'static TaskStateSegment = unsafe {
        let state = &raw mut TASK_STATE;
        let stacks = &raw mut INTERRUPT_STACKS;
        for slot in 0..4 {
            let bottom = (&raw mut (*stacks)[slot]) as u64;
            (*state).interrupt_stack_table[slot] = VirtAddr::new(bottom + INTERRUPT_STACK_BYTES as u64);
        }
        // No I/O permission map within the limit: user mode may use no port.
        &*state
    };
    let segments = SEGMENTS.call_once(|| {
        let mut table = GlobalDescriptorTable::empty();
        table.append(Descriptor::UserSegment(0));
        table.append(Descriptor::kernel_code_segment());
        table.append(Descriptor::kernel_data_segment());
        // 0x20 would be the 32-bit code segment: there are no 32-bit programs, so a far jump there faults.
        table.append(Descriptor::UserSegment(0));
        table.append(Descriptor::UserSegment(DescriptorFlags::USER_DATA.bits()));
        table.append(Descriptor::UserSegment(DescriptorFlags::USER_CODE64.bits()));
        table.append(Descriptor::tss_segment(task_state));
        table
    });
    segments.load();
    // SAFETY: the selectors name the descriptors appended above, in that order.
    unsafe {
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        SS::set_reg(SegmentSelector(KERNEL_DATA));
        load_tss(SegmentSelector(0x38));
    }
    load_gates();
}

fn load_gates() {
    let mut gates = GATES.lock();
    let address = |vector: usize| VirtAddr::new(trap::stub_address(vector));
    macro_rules! exceptions {
        ($($vector:literal $field:ident),* $(,)?) => {
            // SAFETY: the stubs save the state and never return into a handler that the crate's types expect.
            $(unsafe { gates.$field.set_handler_addr(address($vector)); })*
        };
    }
    exceptions!(
        0 divide_error, 4 overflow, 5 bound_range_exceeded, 6 invalid_opcode, 7 device_not_available, 10 invalid_tss,
        11 segment_not_present, 12 stack_segment_fault, 13 general_protection_fault, 14 page_fault, 16 x87_floating_point,
        17 alignment_check, 19 simd_floating_point, 20 virtualization,
    );
    // SAFETY: as above; these four get stacks of their own.
    unsafe {
        gates.debug.set_handler_addr(address(1)).set_stack_index(DEBUG_STACK);
        gates.non_maskable_interrupt.set_handler_addr(address(2)).set_stack_index(NMI_STACK);
        gates.double_fault.set_handler_addr(address(8)).set_stack_index(DOUBLE_FAULT_STACK);
        gates.machine_check.set_handler_addr(address(18)).set_stack_index(MACHINE_CHECK_STACK);
        // `int3` and `into` are the two that programs may raise themselves; all else of `int n` is #GP, as on Linux.
        gates.breakpoint.set_handler_addr(address(3)).set_privilege_level(PrivilegeLevel::Ring3);
        gates.overflow.set_handler_addr(address(4)).set_privilege_level(PrivilegeLevel::Ring3);
    }
    for vector in trap::FIRST_INTERRUPT..=trap::LAST_INTERRUPT {
        let mut gate = Entry::missing();
        // SAFETY: as above.
        unsafe { gate.set_handler_addr(address(usize::from(vector))) };
        gates[vector] = gate;
    }
    // SAFETY: the table is static.
    unsafe { gates.load_unsafe() };
}
