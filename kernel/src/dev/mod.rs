//! Devices: the serial console, terminals, memory devices, random numbers, the RAM disk.

pub mod console;
pub mod kmsg;
pub mod kmsg_device;
pub mod memory;
pub mod ramdisk;
pub mod random;
pub mod registry;
pub mod serial;
pub mod tty;

use crate::fs::{devpts, devtmpfs, procfs, registry as file_systems, sysfs};

/// Connects what needs the rest of the kernel: the console's terminal with its line, the filesystems that show devices and processes.
/// Once, at boot, when interrupts and timers work.
pub fn init() {
    tty::serial::attach();
    file_systems::register(&procfs::TYPE);
    file_systems::register(&sysfs::TYPE);
    file_systems::register(&devtmpfs::TYPE);
    file_systems::register(&devpts::TYPE);
}
