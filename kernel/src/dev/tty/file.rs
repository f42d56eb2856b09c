//! An open terminal: what a descriptor of `/dev/ttyS0`, `/dev/console`, `/dev/tty` or `/dev/pts/N` does.

use super::ioctl::{self, Side};
use super::job_control;
use super::terminal::{Generation, Terminal};
use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable};
use crate::mm::IoBuffer;
use crate::task::{Capabilities, current};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::general::{SIGTTIN, SIGTTOU, TOSTOP};

/// An open terminal.
pub struct TerminalFile {
    terminal: Arc<Terminal>,
    generation: Generation,
    /// Opened as `/dev/console`: exempt from job control and from hangups.
    is_console: bool,
}

impl TerminalFile {
    /// Opens `terminal`. Unless `O_NOCTTY` forbids it, it becomes the controlling terminal of a session leader that has none.
    pub fn open(terminal: Arc<Terminal>, flags: OpenFlags, is_console: bool, may_control: bool) -> Result<Arc<dyn FileOps>> {
        let generation = terminal.open(current().credentials().capable(Capabilities::SYS_ADMIN))?;
        if may_control && !flags.contains(OpenFlags::NOCTTY) && flags.readable() {
            job_control::acquire_at_open(&terminal);
        }
        Ok(Arc::new(Self { terminal, generation, is_console }))
    }

    fn hung_up(&self) -> bool {
        !self.is_console && self.terminal.hung_up(self.generation)
    }
}

impl FileOps for TerminalFile {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        if self.hung_up() || buffer.remaining() == 0 {
            return Ok(0);
        }
        let check = || {
            if self.hung_up() {
                return Ok(true);
            }
            if !self.is_console {
                job_control::check_change(&self.terminal, SIGTTIN)?;
            }
            Ok(false)
        };
        self.terminal.read(buffer, is_nonblocking(file), &check)
    }

    fn write(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        let check = || {
            if self.hung_up() {
                return Err(Errno::IO);
            }
            if !self.is_console && self.terminal.termios().local(TOSTOP) {
                job_control::check_change(&self.terminal, SIGTTOU)?;
            }
            Ok(())
        };
        check()?;
        self.terminal.write(buffer, is_nonblocking(file), &check)
    }

    fn seekable(&self) -> bool {
        false
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        self.terminal.poll((!self.is_console).then_some(self.generation), table)
    }

    fn pollable(&self) -> bool {
        true
    }

    fn ioctl(&self, file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        if self.hung_up() {
            return Err(if request == linux_raw_sys::ioctl::TIOCSPGRP { Errno::NOTTY } else { Errno::IO });
        }
        let flags = OpenFlags::from_bits_retain(file.flags.load(Ordering::Relaxed));
        ioctl::terminal_ioctl(&Side::Slave { terminal: &self.terminal, readable: flags.readable() }, request, argument)
    }

    fn release(&self, _file: &OpenFile) {
        self.terminal.close();
    }
}

fn is_nonblocking(file: &OpenFile) -> bool {
    file.flags.load(Ordering::Relaxed) & OpenFlags::NONBLOCK.bits() != 0
}
