//! Terminals: line discipline, job control, the serial console, pseudoterminals (`tty(4)`, `pty(7)`).
//!
//! Bytes flow `serial`/`pty` → [`terminal`] → [`discipline`] and back; programs come in through [`file`] and [`ioctl`]; everything
//! about sessions is in [`job_control`].

pub mod discipline;
pub mod file;
pub mod ioctl;
pub mod job_control;
pub mod pty;
pub mod serial;
pub mod terminal;
pub mod termios;

use crate::dev::registry::minor;
use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFile, OpenFlags, Path, devpts};
use alloc::sync::Arc;
use file::TerminalFile;

/// Opens `/dev/ttyS0`.
pub fn open_serial(_device: u64, _path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    TerminalFile::open(serial::terminal().clone(), flags, false, true)
}

/// Opens `/dev/console`: the serial line, which so becomes nobody's controlling terminal.
pub fn open_console(_device: u64, _path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    TerminalFile::open(serial::terminal().clone(), flags, true, false)
}

/// Opens `/dev/tty`, the caller's controlling terminal. `ENXIO` if it has none.
pub fn open_controlling(_device: u64, _path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    let terminal = job_control::controlling_terminal().ok_or(Errno::NXIO)?;
    TerminalFile::open(terminal, flags, false, false)
}

/// Opens `/dev/pts/N`. `EIO` for a node outside a devpts, and while the slave is locked.
pub fn open_pty_slave(device: u64, path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    let instance = devpts::instance_of(path).ok_or(Errno::IO)?;
    let pair = instance.pair(minor(device)).ok_or(Errno::IO)?;
    pair.check_slave_open()?;
    TerminalFile::open(pair.slave.clone(), flags, false, true)
}

/// Opens `/dev/ptmx` or the `ptmx` of a devpts: a new pseudoterminal, of which this file is the master.
pub fn open_multiplexer(_device: u64, path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    let instance = devpts::instance_for_multiplexer(path)?;
    let pair = instance.allocate()?;
    Ok(Arc::new(pty::Master { pair }))
}

/// `TIOCGPTPEER`: a descriptor of the slave, opened with `flags`, whatever its node's name leads to in the caller's namespace.
pub fn open_peer(master: &OpenFile, pair: &Arc<pty::Pair>, flags: u32) -> Result<usize> {
    pair.check_slave_open()?;
    devpts::open_peer(master, pair, OpenFlags::from_bits_retain(flags))
}
