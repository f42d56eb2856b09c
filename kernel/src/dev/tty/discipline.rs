//! The line discipline: what becomes of each byte that arrives at a terminal and of each byte that a program writes to it.
//!
//! A plain state machine without locks, waiting or devices: bytes go in, and what must happen outside (echo to send, a signal for the foreground
//! group) comes out as [`Effects`]. `termios(3)` is the description; where it leaves things open, this follows Linux's N_TTY.

use super::termios::Termios;
use alloc::{collections::VecDeque, vec::Vec};
use linux_raw_sys::general::*;

/// Bytes of input that are kept (`N_TTY_BUF_SIZE` less the slot that tells full from empty).
const INPUT_LIMIT: usize = 4095;
const TAB_WIDTH: usize = 8;
const BELL: u8 = 7;

/// One byte of input.
#[derive(Clone, Copy)]
struct Unit {
    byte: u8,
    end: LineEnd,
}

/// Whether a byte ends a line of canonical input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    No,
    /// The byte belongs to the line (newline, VEOL).
    Included,
    /// The byte is the end-of-file character: it ends the line and is not delivered.
    EndOfFile,
}

/// What the terminal must do after input.
#[derive(Default)]
pub struct Effects {
    /// Bytes to send, already processed for output.
    pub echo: Vec<u8>,
    /// A signal for the foreground process group.
    pub signal: Option<u32>,
    /// Output that has not left yet is to be thrown away (a signal without `NOFLSH`).
    pub flush_output: bool,
    /// Input was thrown away (packet mode tells the master).
    pub flushed_input: bool,
    /// Output was stopped or started by a control character.
    pub flow_changed: bool,
}

/// The state of one terminal's line discipline.
pub struct Discipline {
    termios: Termios,
    input: VecDeque<Unit>,
    /// How many units at the front belong to ended lines (canonical mode).
    committed: usize,
    /// The next byte is taken literally (`VLNEXT` was typed).
    literal_next: bool,
    /// Where the cursor is, as far as output tells.
    column: usize,
    /// Where it was when the line being typed began: erasing tabs needs it.
    line_column: usize,
    /// Erased characters are being shown between backslash and slash (`ECHOPRT`).
    erasing: bool,
    /// Output is held (`VSTOP`, `tcflow`).
    stopped: bool,
    /// Echo that came while output was held.
    held_echo: Vec<u8>,
}

impl Discipline {
    /// A discipline without input.
    pub fn new(termios: Termios) -> Self {
        Self {
            termios,
            input: VecDeque::new(),
            committed: 0,
            literal_next: false,
            column: 0,
            line_column: 0,
            erasing: false,
            stopped: false,
            held_echo: Vec::new(),
        }
    }

    /// The settings.
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings. What was typed so far becomes one line when canonical input is switched on, and plain bytes when it is
    /// switched off. Output that was held runs again when `IXON` goes.
    pub fn set_termios(&mut self, termios: Termios) {
        let canonical = termios.local(ICANON);
        if canonical != self.termios.local(ICANON) {
            self.literal_next = false;
            self.erasing = false;
            self.committed = 0;
            for unit in &mut self.input {
                unit.end = LineEnd::No;
            }
            if let (true, Some(last)) = (canonical, self.input.back_mut()) {
                last.end = LineEnd::Included;
                self.committed = self.input.len();
            }
        }
        if self.termios.input(IXON) && !termios.input(IXON) {
            self.stopped = false;
        }
        self.termios = termios;
    }

    /// Whether output is held.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Holds output or lets it run (`tcflow(3)`); gives the echo that waited.
    pub fn set_stopped(&mut self, stopped: bool) -> Vec<u8> {
        self.stopped = stopped;
        if stopped { Vec::new() } else { core::mem::take(&mut self.held_echo) }
    }

    /// Throws all input away (`TCIFLUSH`).
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.committed = 0;
        self.literal_next = false;
        self.erasing = false;
    }

    /// Bytes that a read would get now (`FIONREAD`): whole lines only in canonical mode.
    pub fn available(&self) -> usize {
        if !self.termios.local(ICANON) {
            return self.input.len();
        }
        self.input.iter().take(self.committed).filter(|unit| unit.end != LineEnd::EndOfFile).count()
    }

    /// Whether a read has something to return, an end of file included; `minimum` bytes count in raw mode.
    pub fn readable(&self, minimum: usize) -> bool {
        if self.termios.local(ICANON) { self.committed > 0 } else { self.input.len() >= minimum.max(1) }
    }

    /// How many more bytes may arrive before the sender should wait. A full line without an end must take more: its end would
    /// never come otherwise (what is too much is dropped).
    pub fn room(&self) -> usize {
        let left = INPUT_LIMIT.saturating_sub(self.input.len());
        if left == 0 && self.termios.local(ICANON) && self.committed == 0 { 1 } else { left }
    }

    /// Takes bytes for a read. In canonical mode at most one line, and `true` when the line's end was reached.
    pub fn take(&mut self, bytes: &mut [u8]) -> (usize, bool) {
        let canonical = self.termios.local(ICANON);
        let mut taken = 0;
        while let Some(unit) = self.input.front().copied() {
            if canonical && self.committed == 0 {
                break;
            }
            // An end of file right behind a full buffer belongs to this read, or the next would see an end that is none.
            if taken == bytes.len() && !(canonical && unit.end == LineEnd::EndOfFile && taken > 0) {
                break;
            }
            self.input.pop_front();
            self.committed = self.committed.saturating_sub(1);
            if canonical && unit.end == LineEnd::EndOfFile {
                return (taken, true);
            }
            bytes[taken] = unit.byte;
            taken += 1;
            if canonical && unit.end == LineEnd::Included {
                return (taken, true);
            }
        }
        (taken, false)
    }

    /// A byte arrives.
    pub fn receive(&mut self, byte: u8, effects: &mut Effects) {
        let mut byte = byte;
        if self.termios.input(ISTRIP) {
            byte &= 0x7f;
        }
        if self.termios.input(IUCLC) && self.termios.local(IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if self.termios.local(EXTPROC) {
            return self.store(byte, LineEnd::No, effects);
        }
        if core::mem::take(&mut self.literal_next) {
            return self.ordinary(byte, effects);
        }
        if self.flow_character(byte, effects) || self.signal_character(byte, effects) {
            return;
        }
        if self.stopped && self.termios.input(IXON) && self.termios.input(IXANY) {
            self.resume(effects);
        }
        match byte {
            b'\r' if self.termios.input(IGNCR) => return,
            b'\r' if self.termios.input(ICRNL) => byte = b'\n',
            b'\n' if self.termios.input(INLCR) => byte = b'\r',
            _ => {}
        }
        if self.termios.local(ICANON) && self.canonical_character(byte, effects) {
            return;
        }
        self.ordinary(byte, effects);
    }

    fn flow_character(&mut self, byte: u8, effects: &mut Effects) -> bool {
        if !self.termios.input(IXON) {
            return false;
        }
        if self.termios.is(byte, VSTART) {
            self.resume(effects);
            true
        } else if self.termios.is(byte, VSTOP) {
            self.stopped = true;
            effects.flow_changed = true;
            true
        } else {
            false
        }
    }

    fn resume(&mut self, effects: &mut Effects) {
        effects.flow_changed |= self.stopped;
        let held = self.set_stopped(false);
        effects.echo.extend(held);
    }

    fn signal_character(&mut self, byte: u8, effects: &mut Effects) -> bool {
        if !self.termios.local(ISIG) {
            return false;
        }
        let signals = [(VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP)];
        let Some((_, signal)) = signals.into_iter().find(|(slot, _)| self.termios.is(byte, *slot)) else { return false };
        if !self.termios.local(NOFLSH) {
            self.flush_input();
            self.held_echo.clear();
            effects.flush_output = true;
            effects.flushed_input = true;
        }
        effects.signal = Some(signal);
        if self.termios.input(IXON) {
            self.resume(effects);
        }
        if self.termios.local(ECHO) {
            self.echo(byte, effects);
        }
        true
    }

    /// Editing and line ends. `false`: an ordinary character.
    fn canonical_character(&mut self, byte: u8, effects: &mut Effects) -> bool {
        let extended = self.termios.local(IEXTEN);
        let echo = self.termios.local(ECHO);
        if self.termios.is(byte, VERASE) {
            self.erase(Erase::Character, effects);
        } else if self.termios.is(byte, VKILL) {
            self.kill(effects);
        } else if extended && self.termios.is(byte, VWERASE) {
            self.erase(Erase::Word, effects);
        } else if extended && self.termios.is(byte, VLNEXT) {
            self.literal_next = true;
            if echo {
                self.finish_erasing(effects);
                if self.termios.local(ECHOCTL) {
                    self.emit_echo(b"^\x08", effects);
                }
            }
        } else if extended && echo && self.termios.is(byte, VREPRINT) {
            self.reprint(byte, effects);
        } else if byte == b'\n' {
            if echo || self.termios.local(ECHONL) {
                self.finish_erasing(effects);
                self.echo_raw(b'\n', effects);
            }
            self.store(byte, LineEnd::Included, effects);
        } else if self.termios.is(byte, VEOF) {
            self.store(byte, LineEnd::EndOfFile, effects);
        } else if self.termios.is(byte, VEOL) || (extended && self.termios.is(byte, VEOL2)) {
            if echo {
                self.echo(byte, effects);
            }
            self.store(byte, LineEnd::Included, effects);
        } else {
            return false;
        }
        true
    }

    fn ordinary(&mut self, byte: u8, effects: &mut Effects) {
        if self.termios.local(ECHO) {
            if self.input.len() == self.committed {
                self.line_column = self.column;
            }
            self.finish_erasing(effects);
            if byte == b'\n' {
                self.echo_raw(byte, effects);
            } else {
                self.echo(byte, effects);
            }
        }
        // With PARMRK a genuine 0xff is doubled, so that it cannot be taken for a mark.
        if byte == 0xff && self.termios.input(PARMRK) {
            self.store(byte, LineEnd::No, effects);
        }
        self.store(byte, LineEnd::No, effects);
    }

    fn store(&mut self, byte: u8, end: LineEnd, effects: &mut Effects) {
        // The end of a line always finds its place: one slot is kept for it.
        let limit = if end == LineEnd::No && self.termios.local(ICANON) { INPUT_LIMIT - 1 } else { INPUT_LIMIT };
        if self.input.len() >= limit {
            if self.termios.input(IMAXBEL) {
                effects.echo.push(BELL);
            }
            return;
        }
        self.input.push_back(Unit { byte, end });
        if end != LineEnd::No {
            self.committed = self.input.len();
        }
    }

    fn kill(&mut self, effects: &mut Effects) {
        let visually = self.termios.local(ECHO) && self.termios.local(ECHOK) && self.termios.local(ECHOKE) && self.termios.local(ECHOE);
        if visually {
            return self.erase(Erase::Line, effects);
        }
        if self.input.len() == self.committed {
            return;
        }
        self.input.truncate(self.committed);
        if self.termios.local(ECHO) {
            self.finish_erasing(effects);
            self.echo(self.termios.character(VKILL), effects);
            if self.termios.local(ECHOK) {
                self.echo_raw(b'\n', effects);
            }
        }
    }

    fn erase(&mut self, what: Erase, effects: &mut Effects) {
        let mut seen_word = false;
        while self.input.len() > self.committed {
            let (first, length) = self.last_character();
            let in_word = first.is_ascii_alphanumeric() || first == b'_' || first >= 0x80;
            if what == Erase::Word && seen_word && !in_word {
                break;
            }
            seen_word |= in_word;
            let erased: Vec<u8> = self.input.drain(self.input.len() - length..).map(|unit| unit.byte).collect();
            if self.termios.local(ECHO) {
                self.show_erased(first, &erased, what, effects);
            }
            if what == Erase::Character {
                break;
            }
        }
        if self.input.len() == self.committed {
            self.finish_erasing(effects);
        }
    }

    /// The first byte and the length of the character typed last: of UTF-8 (`IUTF8`) all its bytes.
    fn last_character(&self) -> (u8, usize) {
        let typed = self.input.len() - self.committed;
        let byte_at = |back: usize| self.input.get(self.input.len() - back).map_or(0, |unit| unit.byte);
        let mut length = 1;
        if self.termios.input(IUTF8) {
            while length < typed && is_continuation(byte_at(length)) {
                length += 1;
            }
        }
        (byte_at(length), length)
    }

    fn show_erased(&mut self, first: u8, erased: &[u8], what: Erase, effects: &mut Effects) {
        if self.termios.local(ECHOPRT) {
            if !core::mem::replace(&mut self.erasing, true) {
                self.emit_echo(b"\\", effects);
            }
            for &byte in erased {
                self.echo(byte, effects);
            }
        } else if what == Erase::Character && !self.termios.local(ECHOE) {
            self.echo(self.termios.character(VERASE), effects);
        } else if first == b'\t' {
            let columns = self.tab_columns();
            for _ in 0..columns {
                self.emit_echo(b"\x08", effects);
            }
            self.column = self.column.saturating_sub(columns);
        } else {
            let control = first.is_ascii_control();
            let columns = match (control, self.termios.local(ECHOCTL)) {
                (true, true) => 2,
                (true, false) => 0,
                (false, _) => 1,
            };
            for _ in 0..columns {
                self.emit_echo(b"\x08 \x08", effects);
                self.column = self.column.saturating_sub(1);
            }
        }
    }

    /// How wide the tab was that followed what is left of the line.
    fn tab_columns(&self) -> usize {
        let mut width = 0;
        let mut after_tab = false;
        for unit in self.input.iter().skip(self.committed).rev() {
            match unit.byte {
                b'\t' => {
                    after_tab = true;
                    break;
                }
                byte if byte.is_ascii_control() => width += if self.termios.local(ECHOCTL) { 2 } else { 0 },
                byte if self.termios.input(IUTF8) && is_continuation(byte) => {}
                _ => width += 1,
            }
        }
        if !after_tab {
            width += self.line_column;
        }
        TAB_WIDTH - width % TAB_WIDTH
    }

    fn reprint(&mut self, byte: u8, effects: &mut Effects) {
        self.finish_erasing(effects);
        self.echo(byte, effects);
        self.echo_raw(b'\n', effects);
        let line: Vec<u8> = self.input.iter().skip(self.committed).map(|unit| unit.byte).collect();
        self.line_column = self.column;
        for byte in line {
            self.echo(byte, effects);
        }
    }

    fn finish_erasing(&mut self, effects: &mut Effects) {
        if core::mem::take(&mut self.erasing) {
            self.emit_echo(b"/", effects);
        }
    }

    /// Echoes a character, control characters as `^X` with `ECHOCTL`.
    fn echo(&mut self, byte: u8, effects: &mut Effects) {
        if self.termios.local(ECHOCTL) && byte.is_ascii_control() && byte != b'\t' {
            self.column += 2;
            self.emit_echo(&[b'^', byte ^ 0x40], effects);
        } else {
            self.echo_raw(byte, effects);
        }
    }

    fn echo_raw(&mut self, byte: u8, effects: &mut Effects) {
        let mut out = Vec::new();
        self.process_output(byte, &mut out);
        self.emit_echo(&out, effects);
    }

    fn emit_echo(&mut self, bytes: &[u8], effects: &mut Effects) {
        if !self.stopped {
            effects.echo.extend_from_slice(bytes);
        } else if self.held_echo.len() < INPUT_LIMIT {
            self.held_echo.extend_from_slice(bytes);
        }
    }

    /// What one byte becomes on its way out (`OPOST` and the flags under it).
    pub fn process_output(&mut self, byte: u8, out: &mut Vec<u8>) {
        if !self.termios.output(OPOST) {
            return out.push(byte);
        }
        let mut byte = byte;
        match byte {
            b'\n' => {
                if self.termios.output(ONLCR) {
                    self.column = 0;
                    out.push(b'\r');
                } else if self.termios.output(ONLRET) {
                    self.column = 0;
                }
            }
            b'\r' => {
                if self.termios.output(ONOCR) && self.column == 0 {
                    return;
                }
                if self.termios.output(OCRNL) {
                    byte = b'\n';
                    if self.termios.output(ONLRET) {
                        self.column = 0;
                    }
                } else {
                    self.column = 0;
                }
            }
            b'\t' => {
                let spaces = TAB_WIDTH - self.column % TAB_WIDTH;
                self.column += spaces;
                if self.termios.0.c_oflag & TABDLY == XTABS {
                    out.extend(core::iter::repeat_n(b' ', spaces));
                    return;
                }
            }
            0x08 => self.column = self.column.saturating_sub(1),
            _ if byte.is_ascii_control() => {}
            _ => {
                if self.termios.output(OLCUC) {
                    byte = byte.to_ascii_uppercase();
                }
                if !(self.termios.input(IUTF8) && is_continuation(byte)) {
                    self.column += 1;
                }
            }
        }
        out.push(byte);
    }
}

/// How much an editing character takes back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Erase {
    Character,
    Word,
    Line,
}

/// Whether a byte continues a UTF-8 character.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}
