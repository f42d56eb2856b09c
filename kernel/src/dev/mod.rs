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
