//! The terminal calls of `ioctl(2)` (`ioctl_tty(2)`), for terminals and for the masters of pseudoterminals.

use super::job_control;
use super::terminal::{Kind, Terminal};
use super::termios::Termios;
use crate::errno::{Errno, Result};
use crate::mm::UserPointer;
use crate::task::{Capabilities, current};
use alloc::sync::Arc;
use linux_raw_sys::general::*;
use linux_raw_sys::ioctl::*;

/// Through which end a call comes. Settings are those of the terminal either way; the calls about sessions differ.
pub enum Side<'a> {
    /// The terminal itself.
    Slave {
        /// The terminal.
        terminal: &'a Arc<Terminal>,
        /// The descriptor allows reading.
        readable: bool,
    },
    /// The master of the pseudoterminal whose slave is given.
    Master(&'a Arc<Terminal>),
}

impl Side<'_> {
    fn terminal(&self) -> &Arc<Terminal> {
        match self {
            Self::Slave { terminal, .. } => terminal,
            Self::Master(terminal) => terminal,
        }
    }

    /// A background process that changes the terminal is stopped by SIGTTOU; through the master nobody is in the background.
    fn check_change(&self) -> Result<()> {
        match self {
            Self::Slave { terminal, .. } => job_control::check_change(terminal, SIGTTOU),
            Self::Master(_) => Ok(()),
        }
    }

    /// Calls about the session are for those whom the terminal controls; a master may ask too.
    fn require_controlling(&self) -> Result<()> {
        match self {
            Self::Slave { terminal, .. } if !job_control::controls_current(terminal) => Err(Errno::NOTTY),
            _ => Ok(()),
        }
    }
}

/// Serves a call. `ENOTTY` for what is no terminal's call.
pub fn terminal_ioctl(side: &Side<'_>, request: u32, argument: u64) -> Result<usize> {
    match request {
        TCGETS => side.terminal().termios().write(argument)?,
        TCGETS2 => side.terminal().termios().write2(argument)?,
        TCSETS | TCSETSW | TCSETSF | TCSETS2 | TCSETSW2 | TCSETSF2 => set_termios(side, request, argument)?,
        TIOCGWINSZ => UserPointer::<winsize>::new(argument).write(side.terminal().window())?,
        TIOCSWINSZ => side.terminal().set_window(UserPointer::<winsize>::new(argument).read()?),
        TCFLSH => flush(side, argument)?,
        TCXONC => flow(side, argument)?,
        TCSBRK | TCSBRKP => {
            side.check_change()?;
            side.terminal().drain()?;
        }
        TIOCSBRK | TIOCCBRK => side.check_change()?,
        FIONREAD => UserPointer::<i32>::new(argument).write(side.terminal().available() as i32)?,
        TIOCOUTQ => UserPointer::<i32>::new(argument).write(side.terminal().output_pending() as i32)?,
        TIOCSTI => simulate_input(side, argument)?,
        TIOCEXCL => side.terminal().set_exclusive(true),
        TIOCNXCL => side.terminal().set_exclusive(false),
        TIOCGEXCL => UserPointer::<i32>::new(argument).write(side.terminal().exclusive().into())?,
        TIOCGETD => UserPointer::<u32>::new(argument).write(0)?,
        TIOCSETD => require(UserPointer::<u32>::new(argument).read()? == 0, Errno::INVAL)?,
        TIOCGDEV => UserPointer::<u32>::new(argument).write(side.terminal().device as u32)?,
        TIOCVHANGUP => {
            require(current().credentials().capable(Capabilities::SYS_ADMIN), Errno::PERM)?;
            side.terminal().hang_up();
        }
        TIOCMGET | TIOCMSET | TIOCMBIS | TIOCMBIC => modem_lines(side, request, argument)?,
        TIOCGSOFTCAR => {
            let local = side.terminal().termios().0.c_cflag & CLOCAL != 0;
            UserPointer::<i32>::new(argument).write(local.into())?;
        }
        TIOCSCTTY | TIOCNOTTY | TIOCGPGRP | TIOCSPGRP | TIOCGSID => return session_ioctl(side, request, argument),
        _ => return Err(Errno::NOTTY),
    }
    Ok(0)
}

fn session_ioctl(side: &Side<'_>, request: u32, argument: u64) -> Result<usize> {
    let number = UserPointer::<i32>::new(argument);
    match (request, side) {
        (TIOCSCTTY, Side::Slave { terminal, readable }) => job_control::acquire(terminal, *readable, argument == 1)?,
        (TIOCNOTTY, Side::Slave { terminal, .. }) => job_control::give_up(terminal)?,
        (TIOCGPGRP, _) => {
            side.require_controlling()?;
            let group = side.terminal().foreground();
            number.write(group.map_or(0, |group| group.number()) as i32)?;
        }
        (TIOCSPGRP, _) => {
            // In the background this stops the caller; an orphan is told that the terminal is not its.
            side.check_change().map_err(|error| if error == Errno::IO { Errno::NOTTY } else { error })?;
            require(job_control::controls_current(side.terminal()), Errno::NOTTY)?;
            job_control::set_foreground(side.terminal(), number.read()?)?;
        }
        (TIOCGSID, _) => {
            side.require_controlling()?;
            let session = side.terminal().session().ok_or(Errno::NOTTY)?;
            number.write(session.number() as i32)?;
        }
        _ => return Err(Errno::NOTTY),
    }
    Ok(0)
}

fn set_termios(side: &Side<'_>, request: u32, argument: u64) -> Result<()> {
    side.check_change()?;
    let terminal = side.terminal();
    let termios = match request {
        TCSETS2 | TCSETSW2 | TCSETSF2 => Termios::read2(argument)?,
        _ => Termios::read(argument, &terminal.termios())?,
    };
    if matches!(request, TCSETSW | TCSETSW2 | TCSETSF | TCSETSF2) {
        terminal.drain()?;
    }
    terminal.set_termios(termios, matches!(request, TCSETSF | TCSETSF2));
    Ok(())
}

fn flush(side: &Side<'_>, queue: u64) -> Result<()> {
    side.check_change()?;
    match u32::try_from(queue) {
        Ok(TCIFLUSH) => side.terminal().flush(true, false),
        Ok(TCOFLUSH) => side.terminal().flush(false, true),
        Ok(TCIOFLUSH) => side.terminal().flush(true, true),
        _ => return Err(Errno::INVAL),
    }
    Ok(())
}

fn flow(side: &Side<'_>, action: u64) -> Result<()> {
    side.check_change()?;
    match u32::try_from(action) {
        Ok(TCOOFF) => side.terminal().set_stopped(true),
        Ok(TCOON) => side.terminal().set_stopped(false),
        Ok(TCIOFF) => side.terminal().send_flow_character(VSTOP),
        Ok(TCION) => side.terminal().send_flow_character(VSTART),
        _ => return Err(Errno::INVAL),
    }
    Ok(())
}

/// `TIOCSTI`: a byte as if typed, on one's own terminal or by the administrator.
fn simulate_input(side: &Side<'_>, argument: u64) -> Result<()> {
    let own = matches!(side, Side::Slave { terminal, .. } if job_control::controls_current(terminal));
    require(own || current().credentials().capable(Capabilities::SYS_ADMIN), Errno::PERM)?;
    let byte = UserPointer::<u8>::new(argument).read()?;
    side.terminal().receive(byte);
    Ok(())
}

/// A serial line without a modem: everything is always ready.
fn modem_lines(side: &Side<'_>, request: u32, argument: u64) -> Result<()> {
    const TIOCM_CAR: u32 = 0x40;
    const TIOCM_DSR: u32 = 0x100;
    if side.terminal().kind == Kind::Pty {
        return Err(Errno::NOTTY);
    }
    let lines = UserPointer::<u32>::new(argument);
    match request {
        TIOCMGET => lines.write(TIOCM_DTR | TIOCM_RTS | TIOCM_CTS | TIOCM_CAR | TIOCM_DSR),
        _ => lines.read().map(drop),
    }
}

fn require(condition: bool, error: Errno) -> Result<()> {
    if condition { Ok(()) } else { Err(error) }
}
