//! A terminal: the line discipline with the lock around it, who waits for it, the output below it, the session above it.
//!
//! Serial lines and pseudoterminals differ only in their [`Output`]. What programs do with a terminal through a descriptor is in `file`
//! and `ioctl`; who may do it, and who gets signals, in `job_control`.

use super::discipline::{Discipline, Effects};
use super::job_control;
use super::termios::{DISABLED, Termios};
use crate::errno::{Errno, Result};
use crate::fs::{PollEvents, PollTable};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::task::pid::Pid;
use crate::task::session::ControllingTerminal;
use crate::task::wait_queue::{Deadline, WaitMode, wait_on};
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general::*;

/// Where a terminal's output goes.
pub trait Output: Send + Sync {
    /// Bytes that can be sent now.
    fn room(&self) -> usize;

    /// Sends bytes, at most [`Output::room`] of them unless they are echo, which may be cut.
    fn send(&self, bytes: &[u8]);

    /// Bytes sent that the other side has not taken yet (`TIOCOUTQ`).
    fn pending(&self) -> usize;

    /// Throws away what has not been taken yet.
    fn flush(&self);

    /// Tells the other side about a change (packet mode): `TIOCPKT_*` bits.
    fn notify(&self, event: u32);

    /// Whether the other side is gone: writes fail.
    fn disconnected(&self) -> bool {
        false
    }

    /// A program opened the terminal.
    fn opened(&self) {}

    /// The last file open on the terminal was closed.
    fn closed(&self) {}
}

/// What kind of terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A serial line.
    Serial,
    /// The slave side of a pseudoterminal.
    Pty,
}

/// One terminal.
pub struct Terminal {
    /// Its device number, in `makedev(3)` encoding (field 7 of `/proc/PID/stat`).
    pub device: u64,
    /// Serial or pseudoterminal.
    pub kind: Kind,
    output: Arc<dyn Output>,
    state: SpinLock<State>,
    /// Woken by input and by changes of state.
    pub readers: Arc<WaitQueue>,
    /// Woken when output can go on.
    pub writers: Arc<WaitQueue>,
}

struct State {
    discipline: Discipline,
    window: winsize,
    session: Option<Arc<Pid>>,
    foreground: Option<Arc<Pid>>,
    exclusive: bool,
    /// How often it was hung up: files opened before a hangup are dead.
    hangups: u64,
    opened: usize,
}

/// A program's claim on a terminal: an open file of it is dead once the terminal was hung up after the opening.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

impl Terminal {
    /// A terminal over `output`.
    pub fn new(device: u64, kind: Kind, termios: Termios, output: Arc<dyn Output>) -> Self {
        Self {
            device,
            kind,
            output,
            state: SpinLock::new(State {
                discipline: Discipline::new(termios),
                window: winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 },
                session: None,
                foreground: None,
                exclusive: false,
                hangups: 0,
                opened: 0,
            }),
            readers: Arc::new(WaitQueue::new()),
            writers: Arc::new(WaitQueue::new()),
        }
    }

    // Opening and closing.

    /// Counts an opening. `EBUSY` while the terminal is exclusive (`privileged` overrides it).
    pub fn open(&self, privileged: bool) -> Result<Generation> {
        let mut state = self.state.lock();
        if state.exclusive && !privileged {
            return Err(Errno::BUSY);
        }
        state.opened += 1;
        let generation = Generation(state.hangups);
        drop(state);
        self.output.opened();
        Ok(generation)
    }

    /// Counts a closing; the last one also ends exclusive mode and the session's hold on the terminal.
    pub fn close(&self) {
        let last = {
            let mut state = self.state.lock();
            state.opened = state.opened.saturating_sub(1);
            if state.opened == 0 {
                state.exclusive = false;
            }
            state.opened == 0
        };
        if last {
            self.output.closed();
            self.release_session();
        }
    }

    /// Whether a file opened at `generation` has been hung up.
    pub fn hung_up(&self, generation: Generation) -> bool {
        self.state.lock().hangups != generation.0
    }

    /// `TIOCEXCL`, `TIOCNXCL`.
    pub fn set_exclusive(&self, exclusive: bool) {
        self.state.lock().exclusive = exclusive;
    }

    /// `TIOCGEXCL`.
    pub fn exclusive(&self) -> bool {
        self.state.lock().exclusive
    }

    // Input.

    /// A byte arrives. Called from interrupt handling too: never blocks.
    pub fn receive(&self, byte: u8) {
        self.receive_all(&[byte]);
    }

    /// Bytes arrive.
    pub fn receive_all(&self, bytes: &[u8]) {
        for &byte in bytes {
            let mut effects = Effects::default();
            let foreground = {
                let mut state = self.state.lock();
                state.discipline.receive(byte, &mut effects);
                state.foreground.clone()
            };
            self.apply(effects, foreground);
        }
        self.readers.wake_all();
    }

    fn apply(&self, effects: Effects, foreground: Option<Arc<Pid>>) {
        if effects.flush_output {
            self.output.flush();
            self.output.notify(TIOCPKT_FLUSHWRITE);
        }
        if effects.flushed_input {
            self.output.notify(TIOCPKT_FLUSHREAD);
        }
        if effects.flow_changed {
            self.output.notify(if self.stopped() { TIOCPKT_STOP } else { TIOCPKT_START });
            self.writers.wake_all();
        }
        if !effects.echo.is_empty() {
            self.output.send(&effects.echo);
        }
        if let (Some(signal), Some(group)) = (effects.signal, foreground) {
            job_control::signal_group(&group, signal);
        }
    }

    /// How many bytes may arrive now.
    pub fn input_room(&self) -> usize {
        self.state.lock().discipline.room()
    }

    /// Bytes that a read would get (`FIONREAD`).
    pub fn available(&self) -> usize {
        self.state.lock().discipline.available()
    }

    /// Reads as the settings tell: a line, or `VMIN` bytes within `VTIME`. `check` is asked before each attempt: an error ends the read,
    /// `true` (hung up) is the end of the file.
    pub fn read(&self, buffer: &mut IoBuffer<'_>, nonblocking: bool, check: &dyn Fn() -> Result<bool>) -> Result<usize> {
        if self.termios().local(ICANON) { self.read_line(buffer, nonblocking, check) } else { self.read_raw(buffer, nonblocking, check) }
    }

    fn read_line(&self, buffer: &mut IoBuffer<'_>, nonblocking: bool, check: &dyn Fn() -> Result<bool>) -> Result<usize> {
        let mut line = Vec::new();
        line.try_reserve_exact(buffer.remaining().min(4096)).map_err(|_| Errno::NOMEM)?;
        line.resize(buffer.remaining().min(4096), 0);
        let attempt = || match check() {
            Err(error) => Some(Err(error)),
            Ok(true) => Some(Ok((0, true))),
            Ok(false) => {
                let taken = {
                    let mut state = self.state.lock();
                    state.discipline.readable(1).then(|| state.discipline.take(&mut line))
                };
                taken.map(Ok).or(nonblocking.then_some(Err(Errno::AGAIN)))
            }
        };
        let (taken, _) = self.readers.wait_until(WaitMode::INTERRUPTIBLE, attempt)??;
        self.writers.wake_all();
        buffer.put(&line[..taken])
    }

    fn read_raw(&self, buffer: &mut IoBuffer<'_>, nonblocking: bool, check: &dyn Fn() -> Result<bool>) -> Result<usize> {
        let before = buffer.done();
        let (minimum, tenths) = {
            let termios = self.termios();
            (usize::from(termios.character(VMIN)), u64::from(termios.character(VTIME)))
        };
        let wanted = minimum.clamp(1, buffer.remaining().max(1));
        let mut deadline = match (minimum, tenths) {
            (0, tenths) => Some(deadline_after(tenths)),
            _ => None,
        };
        let mut block = [0u8; 256];
        while buffer.remaining() > 0 {
            let limit = buffer.remaining().min(block.len());
            let got = buffer.done() - before;
            let attempt = || match check() {
                Err(error) => Some(Err(error)),
                Ok(true) => Some(Ok(0)),
                Ok(false) => match self.state.lock().discipline.take(&mut block[..limit]).0 {
                    0 if nonblocking => Some(Err(Errno::AGAIN)),
                    0 if got >= wanted => Some(Ok(0)),
                    0 => None,
                    taken => Some(Ok(taken)),
                },
            };
            match self.readers.wait_until(WaitMode::INTERRUPTIBLE.until(deadline), attempt).flatten() {
                Ok(0) => break,
                Ok(taken) => {
                    buffer.put(&block[..taken])?;
                    if minimum > 0 && tenths > 0 {
                        deadline = Some(deadline_after(tenths));
                    }
                }
                Err(Errno::TIMEDOUT) => break,
                Err(Errno::AGAIN) if minimum == 0 && tenths == 0 && !nonblocking => break,
                Err(error) if got == 0 => return Err(error),
                Err(_) => break,
            }
        }
        self.writers.wake_all();
        Ok(buffer.done() - before)
    }

    // Output.

    /// Writes with output processing. Blocks while output is held or the other side is full. `check` is asked before each attempt.
    pub fn write(&self, buffer: &mut IoBuffer<'_>, nonblocking: bool, check: &dyn Fn() -> Result<()>) -> Result<usize> {
        let before = buffer.done();
        let mut block = [0u8; 512];
        while buffer.remaining() > 0 {
            let step = self.wait_for_room(nonblocking, check).and_then(|room| {
                // Processing may make more of a byte: a tab gives up to eight.
                let limit = (room / 8).clamp(1, block.len()).min(buffer.remaining());
                let taken = buffer.take(&mut block[..limit])?;
                let mut out = Vec::with_capacity(taken + taken / 8 + 8);
                {
                    let mut state = self.state.lock();
                    block[..taken].iter().for_each(|&byte| state.discipline.process_output(byte, &mut out));
                }
                self.output.send(&out);
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

    fn wait_for_room(&self, nonblocking: bool, check: &dyn Fn() -> Result<()>) -> Result<usize> {
        let attempt = || match check() {
            Err(error) => Some(Err(error)),
            Ok(()) if self.output.disconnected() => Some(Err(Errno::IO)),
            Ok(()) => match if self.stopped() { 0 } else { self.output.room() } {
                0 => nonblocking.then_some(Err(Errno::AGAIN)),
                room => Some(Ok(room)),
            },
        };
        self.writers.wait_until(WaitMode::INTERRUPTIBLE, attempt)?
    }

    /// Waits until the other side has taken everything (`tcdrain(3)`).
    pub fn drain(&self) -> Result<()> {
        let drained = || (self.output.pending() == 0 || self.output.disconnected()).then_some(());
        wait_on(&[&self.writers], WaitMode::INTERRUPTIBLE, drained)
    }

    /// Bytes sent that were not taken yet (`TIOCOUTQ`).
    pub fn output_pending(&self) -> usize {
        self.output.pending()
    }

    /// Whether output is held.
    pub fn stopped(&self) -> bool {
        self.state.lock().discipline.stopped()
    }

    /// `TCOOFF`, `TCOON` of `tcflow(3)`.
    pub fn set_stopped(&self, stopped: bool) {
        let (changed, held) = {
            let mut state = self.state.lock();
            (state.discipline.stopped() != stopped, state.discipline.set_stopped(stopped))
        };
        if changed {
            self.output.notify(if stopped { TIOCPKT_STOP } else { TIOCPKT_START });
            self.output.send(&held);
            self.writers.wake_all();
        }
    }

    /// `TCIOFF`, `TCION`: asks the other side to stop or go on by sending it the character.
    pub fn send_flow_character(&self, slot: u32) {
        let character = self.termios().character(slot);
        if character != DISABLED {
            self.output.send(&[character]);
        }
    }

    /// `tcflush(3)`: `TCIFLUSH`, `TCOFLUSH`, `TCIOFLUSH`.
    pub fn flush(&self, input: bool, output: bool) {
        if input {
            self.state.lock().discipline.flush_input();
            self.output.notify(TIOCPKT_FLUSHREAD);
        }
        if output {
            self.output.flush();
            self.output.notify(TIOCPKT_FLUSHWRITE);
        }
        self.writers.wake_all();
    }

    // Settings.

    /// The settings.
    pub fn termios(&self) -> Termios {
        *self.state.lock().discipline.termios()
    }

    /// Changes the settings; `flush` throws input away first (`TCSAFLUSH`).
    pub fn set_termios(&self, termios: Termios, flush: bool) {
        let (old, new) = {
            let mut state = self.state.lock();
            if flush {
                state.discipline.flush_input();
            }
            let old = *state.discipline.termios();
            state.discipline.set_termios(termios);
            (old, termios)
        };
        let obeys_flow = |settings: &Termios| settings.input(IXON) && settings.is(0x11, VSTART) && settings.is(0x13, VSTOP);
        if obeys_flow(&old) != obeys_flow(&new) {
            self.output.notify(if obeys_flow(&new) { TIOCPKT_DOSTOP } else { TIOCPKT_NOSTOP });
        }
        if new.local(EXTPROC) || old.local(EXTPROC) {
            self.output.notify(TIOCPKT_IOCTL);
        }
        self.readers.wake_all();
        self.writers.wake_all();
    }

    /// The window's size.
    pub fn window(&self) -> winsize {
        self.state.lock().window
    }

    /// Sets the window's size; the foreground group hears of a change.
    pub fn set_window(&self, window: winsize) {
        let foreground = {
            let mut state = self.state.lock();
            let same = state.window.ws_row == window.ws_row
                && state.window.ws_col == window.ws_col
                && state.window.ws_xpixel == window.ws_xpixel
                && state.window.ws_ypixel == window.ws_ypixel;
            if same {
                return;
            }
            state.window = window;
            state.foreground.clone()
        };
        if let Some(group) = foreground {
            job_control::signal_group(&group, SIGWINCH);
        }
    }

    // Readiness.

    /// Readiness of a file opened at `generation`.
    pub fn poll(&self, generation: Option<Generation>, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.readers);
        table.watch(&self.writers);
        let mut events = PollEvents::empty();
        let room = self.output.room();
        let state = self.state.lock();
        if generation.is_some_and(|generation| generation.0 != state.hangups) {
            return PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::ERR | PollEvents::HUP;
        }
        let termios = state.discipline.termios();
        let minimum = if termios.character(VTIME) == 0 { usize::from(termios.character(VMIN)) } else { 1 };
        if state.discipline.readable(minimum) {
            events |= PollEvents::READABLE;
        }
        if !state.discipline.stopped() && room > 0 {
            events |= PollEvents::WRITABLE;
        }
        if self.output.disconnected() {
            events |= PollEvents::HUP;
        }
        events
    }

    // Sessions.

    /// The session that it controls.
    pub fn session(&self) -> Option<Arc<Pid>> {
        self.state.lock().session.clone()
    }

    /// The foreground process group.
    pub fn foreground(&self) -> Option<Arc<Pid>> {
        self.state.lock().foreground.clone()
    }

    /// Becomes the terminal of a session, whose leader's group is in the foreground first.
    pub fn set_session(&self, session: Option<Arc<Pid>>, foreground: Option<Arc<Pid>>) {
        let old = {
            let mut state = self.state.lock();
            (core::mem::replace(&mut state.session, session), core::mem::replace(&mut state.foreground, foreground))
        };
        drop(old);
    }

    /// `tcsetpgrp(3)`, all checks done.
    pub fn set_foreground(&self, group: Arc<Pid>) {
        let old = self.state.lock().foreground.replace(group);
        drop(old);
    }

    /// Takes the terminal from its session: no process has it as controlling terminal any more.
    pub fn release_session(&self) {
        let session = self.session();
        self.set_session(None, None);
        if let Some(session) = session {
            job_control::forget_terminal(&session, self);
        }
    }

    /// The line is gone (`vhangup(2)`, the master closed, the session leader exited): everybody who has it open reads the end of file and
    /// fails to write; the session's leader and the foreground group get SIGHUP and SIGCONT.
    pub fn hang_up(&self) {
        let (session, foreground) = {
            let mut state = self.state.lock();
            state.hangups += 1;
            state.exclusive = false;
            state.discipline.flush_input();
            let restored = if self.kind == Kind::Pty { super::pty::slave_termios() } else { *state.discipline.termios() };
            state.discipline.set_termios(restored);
            (state.session.clone(), state.foreground.clone())
        };
        if let Some(session) = &session {
            job_control::signal_leader(session, SIGHUP);
            job_control::signal_leader(session, SIGCONT);
        }
        if let Some(group) = &foreground {
            job_control::signal_group(group, SIGHUP);
            job_control::signal_group(group, SIGCONT);
        }
        self.release_session();
        self.readers.wake_all();
        self.writers.wake_all();
    }
}

impl ControllingTerminal for Terminal {
    /// At the end of its session's leader a serial line is hung up; of a pseudoterminal only the foreground group hears (`disassociate_ctty`
    /// of Linux): its line ends with its master.
    fn leave(&self, session: &Arc<Pid>, hang_up: bool) {
        if !self.session().is_some_and(|own| Arc::ptr_eq(&own, session)) {
            return;
        }
        if hang_up && self.kind == Kind::Serial {
            return self.hang_up();
        }
        let foreground = self.foreground();
        self.set_session(None, None);
        if let Some(group) = foreground {
            job_control::signal_group(&group, SIGHUP);
            if !hang_up {
                job_control::signal_group(&group, SIGCONT);
            }
        }
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn foreground_group(&self) -> Option<Arc<Pid>> {
        self.foreground()
    }
}

/// So many tenths of a second from now (`VTIME`).
fn deadline_after(tenths: u64) -> Deadline {
    Deadline(crate::time::clock::monotonic_ns().saturating_add(tenths * 100_000_000))
}
