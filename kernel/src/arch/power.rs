//! Ending the machine: restart, power off, halt, and how a panic ends QEMU.

use super::acpi_tables;
use x86_64::instructions::port::Port;

/// QEMU's pvpanic device (docs/specs/pvpanic.rst) and its bit "panicked".
const PVPANIC_PORT: u16 = 0x505;
const PVPANIC_PANICKED: u8 = 1;
/// Where `-device isa-debug-exit,iobase=0xf4` listens; QEMU then exits with `value * 2 + 1`.
const DEBUG_EXIT_PORT: u16 = 0xf4;
const DEBUG_EXIT_PANIC: u32 = 0x31;

/// What a read of a port gives where no device answers.
const NO_DEVICE: u8 = 0xff;

/// Restarts the machine (`reboot(2)` `LINUX_REBOOT_CMD_RESTART`); with `-no-reboot` QEMU ends.
pub fn restart() -> ! {
    // SAFETY: the machine is given up.
    unsafe {
        // The PCI host's reset register, then the keyboard controller's line.
        Port::<u8>::new(0xcf9).write(0x02);
        Port::<u8>::new(0xcf9).write(0x06);
        Port::<u8>::new(0x64).write(0xfe);
        // Last, a fault that cannot be delivered: the processor shuts down and the board resets it.
        let empty = x86_64::structures::DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
        x86_64::instructions::tables::lidt(&empty);
        core::arch::asm!("int3", options(noreturn));
    }
}

/// Powers off through ACPI (state S5); stops if there is no such thing.
pub fn power_off() -> ! {
    match acpi_tables::power_off_command() {
        Some((port, value)) => {
            // SAFETY: ACPI names the register and the value.
            unsafe { Port::<u16>::new(port).write(value) };
        }
        None => log::error!("this machine has no ACPI power-off"),
    }
    stop()
}

/// Ends the machine for `LINUX_REBOOT_CMD_HALT`. A board would be left for somebody to switch it off; nobody does that for a virtual
/// machine, which would stay behind without ever running again. So this one switches itself off.
pub fn halt() -> ! {
    power_off()
}

fn stop() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// Tells QEMU that the guest panicked, by each device that may be there, and resets the machine.
pub(super) fn exit_after_panic() -> ! {
    // SAFETY: ports of devices that exist to be told this, if a read shows that they are there.
    unsafe {
        let mut pvpanic = Port::<u8>::new(PVPANIC_PORT);
        if pvpanic.read() != NO_DEVICE {
            pvpanic.write(PVPANIC_PANICKED);
        }
        Port::<u32>::new(DEBUG_EXIT_PORT).write(DEBUG_EXIT_PANIC);
    }
    restart()
}
