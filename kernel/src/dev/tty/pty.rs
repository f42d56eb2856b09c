//! Pseudoterminals (`pty(7)`): the master's side. The slave is an ordinary terminal whose output the master reads.

use super::ioctl;
use super::terminal::{Kind, Output, Terminal};
use super::termios::Termios;
use crate::dev::registry::{PTY_SLAVE_MAJOR, make_device};
use crate::errno::{Errno, Result};
use crate::fs::devpts::Instance;
use crate::fs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable};
use crate::mm::{IoBuffer, UserPointer};
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::task::wait_queue::WaitMode;
use alloc::{
    collections::VecDeque,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general::*;
use linux_raw_sys::ioctl::*;

/// Bytes that wait for the master to be read before the slave's writers block.
const OUTPUT_LIMIT: usize = 65536;
const SPEED_BAUD: u32 = 38400;

/// What a slave starts with, also after a hangup.
pub fn slave_termios() -> Termios {
    Termios::standard(B38400 | CS8 | CREAD, SPEED_BAUD)
}

/// A master and its slave.
pub struct Pair {
    /// The number below `/dev/pts`.
    pub index: u32,
    /// The slave.
    pub slave: Arc<Terminal>,
    line: Arc<Line>,
    /// The devpts that has the slave's node.
    instance: Weak<Instance>,
    /// The slave cannot be opened yet (`unlockpt(3)`).
    locked: AtomicBool,
}

/// The bytes between slave and master.
struct Line {
    state: SpinLock<LineState>,
    master_readers: Arc<WaitQueue>,
    /// Set once the slave exists.
    slave: SpinLock<Weak<Terminal>>,
}

#[derive(Default)]
struct LineState {
    to_master: VecDeque<u8>,
    master_closed: bool,
    /// The slave was open and is not any more: the master reads EIO.
    slave_closed: bool,
    packet_mode: bool,
    /// `TIOCPKT_*` events that the master has not read.
    packet_events: u32,
}

impl Line {
    fn wake_slave(&self) {
        let slave = self.slave.lock().upgrade();
        if let Some(slave) = slave {
            slave.writers.wake_all();
        }
    }
}

impl Output for Line {
    fn room(&self) -> usize {
        let state = self.state.lock();
        if state.master_closed { 0 } else { OUTPUT_LIMIT.saturating_sub(state.to_master.len()) }
    }

    fn send(&self, bytes: &[u8]) {
        {
            let mut state = self.state.lock();
            if state.master_closed {
                return;
            }
            let room = (OUTPUT_LIMIT + 4096).saturating_sub(state.to_master.len());
            let bytes = &bytes[..bytes.len().min(room)];
            // Where there is no memory for them they are lost, as on Linux.
            if state.to_master.try_reserve(bytes.len()).is_ok() {
                state.to_master.extend(bytes);
            }
        }
        self.master_readers.wake_all();
    }

    /// What waits for the master counts as sent, as on Linux: `tcdrain(3)` on a slave never waits for a reader.
    fn pending(&self) -> usize {
        0
    }

    fn flush(&self) {
        self.state.lock().to_master.clear();
    }

    fn notify(&self, event: u32) {
        {
            let mut state = self.state.lock();
            if !state.packet_mode {
                return;
            }
            let opposite = match event {
                TIOCPKT_STOP => TIOCPKT_START,
                TIOCPKT_START => TIOCPKT_STOP,
                TIOCPKT_NOSTOP => TIOCPKT_DOSTOP,
                TIOCPKT_DOSTOP => TIOCPKT_NOSTOP,
                _ => 0,
            };
            state.packet_events = (state.packet_events & !opposite) | event;
        }
        self.master_readers.wake_all();
    }

    fn disconnected(&self) -> bool {
        self.state.lock().master_closed
    }

    /// The master can read again.
    fn opened(&self) {
        self.state.lock().slave_closed = false;
    }

    fn closed(&self) {
        self.state.lock().slave_closed = true;
        self.master_readers.wake_all();
    }
}

impl Pair {
    /// A new pair with `index`, whose slave lives in `instance`. The slave is locked.
    pub fn new(index: u32, instance: &Arc<Instance>) -> Arc<Self> {
        let line =
            Arc::new(Line { state: SpinLock::default(), master_readers: Arc::new(WaitQueue::new()), slave: SpinLock::new(Weak::new()) });
        let device = make_device(PTY_SLAVE_MAJOR, index);
        let slave = Arc::new(Terminal::new(device, Kind::Pty, slave_termios(), line.clone()));
        *line.slave.lock() = Arc::downgrade(&slave);
        Arc::new(Self { index, slave, line, instance: Arc::downgrade(instance), locked: AtomicBool::new(true) })
    }

    /// The slave is being opened: `EIO` while locked or when the master is gone.
    pub fn check_slave_open(&self) -> Result<()> {
        if self.locked.load(Ordering::Relaxed) || self.line.state.lock().master_closed { Err(Errno::IO) } else { Ok(()) }
    }
}

/// The file that opening `/dev/ptmx` gives.
pub struct Master {
    /// The pair that was made for it.
    pub pair: Arc<Pair>,
}

impl FileOps for Master {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        let nonblocking = file.flags.load(Ordering::Relaxed) & OpenFlags::NONBLOCK.bits() != 0;
        if buffer.remaining() == 0 {
            return Ok(0);
        }
        let limit = buffer.remaining().min(4096);
        let attempt = || {
            let mut state = self.pair.line.state.lock();
            if state.packet_mode && state.packet_events != 0 {
                let events = core::mem::take(&mut state.packet_events);
                return Some(Ok(Vec::from([events as u8])));
            }
            if !state.to_master.is_empty() {
                let prefix = usize::from(state.packet_mode);
                let mut bytes = Vec::with_capacity(limit);
                bytes.extend(core::iter::repeat_n(TIOCPKT_DATA as u8, prefix));
                let count = state.to_master.len().min(limit - prefix);
                bytes.extend(state.to_master.drain(..count));
                return Some(Ok(bytes));
            }
            if state.slave_closed {
                return Some(Err(Errno::IO));
            }
            nonblocking.then_some(Err(Errno::AGAIN))
        };
        let bytes = self.pair.line.master_readers.wait_until(WaitMode::INTERRUPTIBLE, attempt)??;
        self.pair.line.wake_slave();
        buffer.put(&bytes)
    }

    /// What the master writes is the slave's input: the slave's readers take it.
    fn write(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        let nonblocking = file.flags.load(Ordering::Relaxed) & OpenFlags::NONBLOCK.bits() != 0;
        let slave = &self.pair.slave;
        let before = buffer.done();
        let mut block = [0u8; 256];
        while buffer.remaining() > 0 {
            let room = || match slave.input_room() {
                _ if self.pair.line.state.lock().slave_closed => Some(Err(Errno::IO)),
                0 => nonblocking.then_some(Err(Errno::AGAIN)),
                room => Some(Ok(room)),
            };
            let step = slave.writers.wait_until(WaitMode::INTERRUPTIBLE, room).flatten().and_then(|room| {
                let taken = buffer.take(&mut block[..room.min(256)])?;
                slave.receive_all(&block[..taken]);
                Ok(taken)
            });
            match step {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if buffer.done() == before => return Err(error),
                Err(_) => break,
            }
        }
        Ok(buffer.done() - before)
    }

    fn seekable(&self) -> bool {
        false
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.pair.line.master_readers);
        table.watch(&self.pair.slave.writers);
        let room = self.pair.slave.input_room();
        let state = self.pair.line.state.lock();
        let mut events = PollEvents::empty();
        if !state.to_master.is_empty() {
            events |= PollEvents::READABLE;
        }
        if state.packet_mode && state.packet_events != 0 {
            events |= PollEvents::PRI | PollEvents::READABLE;
        }
        if state.slave_closed {
            events |= PollEvents::HUP;
        }
        if room > 0 {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn pollable(&self) -> bool {
        true
    }

    fn ioctl(&self, file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        let number = UserPointer::<u32>::new(argument);
        match request {
            TIOCGPTN => number.write(self.pair.index)?,
            TIOCSPTLCK => self.pair.locked.store(number.read()? != 0, Ordering::Relaxed),
            TIOCGPTLCK => number.write(self.pair.locked.load(Ordering::Relaxed).into())?,
            TIOCPKT => {
                let enabled = number.read()? != 0;
                let mut state = self.pair.line.state.lock();
                if enabled && !state.packet_mode {
                    state.packet_events = 0;
                }
                state.packet_mode = enabled;
            }
            TIOCGPKT => {
                let enabled = self.pair.line.state.lock().packet_mode;
                number.write(enabled.into())?;
            }
            TIOCSIG => return self.signal_foreground(argument),
            TIOCGPTPEER => return super::open_peer(file, &self.pair, argument as u32),
            FIONREAD => {
                let pending = self.pair.line.state.lock().to_master.len();
                number.write(pending as u32)?;
            }
            TIOCOUTQ => number.write(0)?,
            _ => return ioctl::terminal_ioctl(&ioctl::Side::Master(&self.pair.slave), request, argument),
        }
        Ok(0)
    }

    /// The master goes away: the slave is hung up, its node disappears.
    fn release(&self, _file: &OpenFile) {
        {
            let mut state = self.pair.line.state.lock();
            state.master_closed = true;
            state.to_master.clear();
        }
        if let Some(instance) = self.pair.instance.upgrade() {
            instance.remove(self.pair.index);
        }
        self.pair.slave.hang_up();
    }

    fn describe(&self, _file: &OpenFile, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        writeln!(out, "tty-index:\t{}", self.pair.index)
    }
}

impl Master {
    /// `TIOCSIG`: a signal that the master's side of a remote login passes on.
    fn signal_foreground(&self, argument: u64) -> Result<usize> {
        let signal = u32::try_from(argument).map_err(|_| Errno::INVAL)?;
        if ![SIGINT, SIGQUIT, SIGTSTP].contains(&signal) {
            return Err(Errno::INVAL);
        }
        if let Some(group) = self.pair.slave.foreground() {
            super::job_control::signal_group(&group, signal);
        }
        Ok(0)
    }
}
