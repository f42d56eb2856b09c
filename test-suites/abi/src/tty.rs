//! Pseudo-terminals.

use std::fs::File;
use std::os::fd::AsRawFd;

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// The side of the terminal emulator.
    pub master: File,
    /// The side of the programs.
    pub slave: File,
    /// `/dev/pts/N`.
    pub path: String,
}

impl Pty {
    /// Opens a new pair without making it anyone's controlling terminal.
    pub fn open() -> Self {
        let open = |path: &str| {
            use std::os::unix::fs::OpenOptionsExt;
            let mut options = File::options();
            options.read(true).write(true).custom_flags(libc::O_NOCTTY);
            options.open(path).unwrap_or_else(|error| panic!("opening {path}: {error}"))
        };
        let master = open("/dev/ptmx");
        let unlocked = 0i32;
        let mut number = 0u32;
        crate::syscall!(SYS_ioctl, &master, libc::TIOCSPTLCK, &raw const unlocked).expect("unlocking the pair");
        crate::syscall!(SYS_ioctl, &master, libc::TIOCGPTN, &raw mut number).expect("its number");
        let path = format!("/dev/pts/{number}");
        let slave = open(&path);
        Self { master, slave, path }
    }

    /// Makes the slave the controlling terminal of a new session of this process.
    pub fn lead_session(&self) {
        crate::syscall!(SYS_setsid).expect("setsid");
        crate::syscall!(SYS_ioctl, &self.slave, libc::TIOCSCTTY, 0).expect("TIOCSCTTY");
    }

    /// Changes the terminal's modes.
    pub fn change_modes(&self, change: impl FnOnce(&mut libc::termios)) {
        // SAFETY: termios is plain data, and both calls get a valid descriptor and pointer.
        unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(self.slave.as_raw_fd(), &mut modes), 0);
            change(&mut modes);
            assert_eq!(libc::tcsetattr(self.slave.as_raw_fd(), libc::TCSANOW, &modes), 0);
        }
    }

    /// The foreground process group of the terminal.
    pub fn foreground(&self) -> crate::Outcome<i32> {
        let mut group = 0i32;
        crate::syscall!(SYS_ioctl, &self.slave, libc::TIOCGPGRP, &raw mut group)?;
        Ok(group)
    }

    /// Makes `group` the foreground process group.
    pub fn set_foreground(&self, group: i32) -> crate::Outcome {
        crate::syscall!(SYS_ioctl, &self.slave, libc::TIOCSPGRP, &raw const group)
    }
}
