//! Device numbers and what opens behind them: the two tables (character, block) that opening a device node looks in.
//!
//! The drivers themselves know nothing of names: those are `fs::devtmpfs`'s, which reads [`NODES`].

use crate::dev::{kmsg_device, memory, ramdisk, random, tty};
use crate::errno::{Errno, Result};
pub use crate::fs::superblock::make_device;
use crate::fs::superblock::split_device;
use crate::fs::{FileOps, FileType, OpenFlags, Path, fuse};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::fmt::Write;

/// Opens a device: what `open(2)` of a node with this number gives.
type Opener = fn(device: u64, path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>>;

/// A driver's claim on a range of minor numbers of one major number.
struct Driver {
    major: u32,
    first_minor: u32,
    /// How many minors from `first_minor` on.
    minors: u32,
    open: Opener,
}

const fn driver(major: u32, first_minor: u32, minors: u32, open: Opener) -> Driver {
    Driver { major, first_minor, minors, open }
}

/// Numbers of Linux's device list (`Documentation/admin-guide/devices.txt`).
const CHARACTER_DRIVERS: &[Driver] = &[
    driver(MEMORY_MAJOR, 3, 1, memory::open_null),
    driver(MEMORY_MAJOR, 5, 1, memory::open_zero),
    driver(MEMORY_MAJOR, 7, 1, memory::open_full),
    driver(MEMORY_MAJOR, 8, 2, random::open),
    driver(MEMORY_MAJOR, 11, 1, kmsg_device::open),
    driver(TTY_MAJOR, SERIAL_FIRST_MINOR, 1, tty::open_serial),
    driver(TTY_AUXILIARY_MAJOR, 0, 1, tty::open_controlling),
    driver(TTY_AUXILIARY_MAJOR, 1, 1, tty::open_console),
    driver(TTY_AUXILIARY_MAJOR, 2, 1, tty::open_multiplexer),
    driver(MISC_MAJOR, FUSE_MINOR, 1, fuse::open_device),
    driver(PTY_SLAVE_MAJOR, 0, 1 << 20, tty::open_pty_slave),
];

const BLOCK_DRIVERS: &[Driver] = &[driver(RAMDISK_MAJOR, 0, 256, ramdisk::open)];

/// `mem`: null, zero, full, random, urandom, kmsg.
pub const MEMORY_MAJOR: u32 = 1;
/// Serial lines and virtual terminals.
pub const TTY_MAJOR: u32 = 4;
/// The first serial line's minor under [`TTY_MAJOR`].
pub const SERIAL_FIRST_MINOR: u32 = 64;
/// tty, console, ptmx.
pub const TTY_AUXILIARY_MAJOR: u32 = 5;
/// Devices that have no major number of their own.
pub const MISC_MAJOR: u32 = 10;
/// `/dev/fuse` under [`MISC_MAJOR`].
pub const FUSE_MINOR: u32 = 229;
/// Unix98 pseudoterminals, slave side.
pub const PTY_SLAVE_MAJOR: u32 = 136;
/// RAM disks (block).
pub const RAMDISK_MAJOR: u32 = 1;

/// The major number (`major(3)`).
pub fn major(device: u64) -> u32 {
    split_device(device).0
}

/// The minor number (`minor(3)`).
pub fn minor(device: u64) -> u32 {
    split_device(device).1
}

/// Opens the device behind a node. `ENXIO` if no driver has the number.
pub fn open(file_type: FileType, device: u64, path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    let drivers = match file_type {
        FileType::CharDevice => CHARACTER_DRIVERS,
        FileType::BlockDevice => BLOCK_DRIVERS,
        _ => return Err(Errno::NXIO),
    };
    let (major, minor) = (major(device), minor(device));
    let claims = |driver: &&Driver| driver.major == major && minor.wrapping_sub(driver.first_minor) < driver.minors;
    let driver = drivers.iter().find(claims).ok_or(Errno::NXIO)?;
    (driver.open)(device, path, flags)
}

/// A device that is always there.
pub struct Node {
    /// Name in devtmpfs.
    pub name: String,
    /// Character or block.
    pub file_type: FileType,
    /// In `makedev(3)` encoding.
    pub device: u64,
    /// Permission bits of the node.
    pub mode: u32,
}

/// All devices that have a node in devtmpfs, with Linux's modes.
pub fn nodes() -> Vec<Node> {
    let character = |name: &str, major, minor, mode| Node {
        name: String::from(name),
        file_type: FileType::CharDevice,
        device: make_device(major, minor),
        mode,
    };
    let mut nodes = Vec::from([
        character("console", TTY_AUXILIARY_MAJOR, 1, 0o600),
        character("fuse", MISC_MAJOR, FUSE_MINOR, 0o600),
        character("full", MEMORY_MAJOR, 7, 0o666),
        character("kmsg", MEMORY_MAJOR, 11, 0o644),
        character("null", MEMORY_MAJOR, 3, 0o666),
        character("ptmx", TTY_AUXILIARY_MAJOR, 2, 0o666),
        character("random", MEMORY_MAJOR, 8, 0o666),
        character("tty", TTY_AUXILIARY_MAJOR, 0, 0o666),
        character("ttyS0", TTY_MAJOR, SERIAL_FIRST_MINOR, 0o600),
        character("urandom", MEMORY_MAJOR, 9, 0o666),
        character("zero", MEMORY_MAJOR, 5, 0o666),
    ]);
    nodes.extend((0..ramdisk::count()).map(|index| Node {
        name: format!("ram{index}"),
        file_type: FileType::BlockDevice,
        device: make_device(RAMDISK_MAJOR, index),
        mode: 0o600,
    }));
    nodes
}

/// `/proc/misc`: the minor numbers in use under [`MISC_MAJOR`].
pub fn list_misc(out: &mut dyn Write) -> core::fmt::Result {
    writeln!(out, "{FUSE_MINOR:3} fuse")
}

/// `/proc/devices`: the major numbers in use.
pub fn list_devices(out: &mut dyn Write) -> core::fmt::Result {
    out.write_str("Character devices:\n")?;
    let named = [
        (MEMORY_MAJOR, "mem"),
        (TTY_MAJOR, "ttyS"),
        (TTY_AUXILIARY_MAJOR, "/dev/tty"),
        (TTY_AUXILIARY_MAJOR, "/dev/console"),
        (TTY_AUXILIARY_MAJOR, "/dev/ptmx"),
        (MISC_MAJOR, "misc"),
        (128, "ptm"),
        (PTY_SLAVE_MAJOR, "pts"),
    ];
    for (major, name) in named {
        writeln!(out, "{major:3} {name}")?;
    }
    out.write_str("\nBlock devices:\n")?;
    writeln!(out, "{RAMDISK_MAJOR:3} ramdisk")
}
