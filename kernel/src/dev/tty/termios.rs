//! Terminal settings (`termios(3)`) as the kernel keeps them, and their wire formats.

use crate::errno::Result;
use crate::mm::UserPointer;
use crate::mm::user::Pod;
use linux_raw_sys::general::*;

/// A control character slot that is switched off (`_POSIX_VDISABLE`).
pub const DISABLED: u8 = 0;

// SAFETY: four 32-bit flags, one byte, nineteen bytes: 36 bytes of integers without padding.
unsafe impl Pod for termios {}
// SAFETY: `termios` and two 32-bit numbers: 44 bytes of integers without padding.
unsafe impl Pod for termios2 {}
// SAFETY: four 16-bit numbers.
unsafe impl Pod for winsize {}

/// The settings of a terminal.
#[derive(Clone, Copy)]
pub struct Termios(pub termios2);

impl Termios {
    /// What a terminal starts with (`tty_std_termios` of Linux), with these control flags and this speed.
    pub fn standard(control: u32, speed_baud: u32) -> Self {
        let mut characters = [DISABLED; NCCS as usize];
        let control_key = |letter: u8| letter & 0x1f;
        for (slot, character) in [
            (VINTR, control_key(b'C')),
            (VQUIT, control_key(b'\\')),
            (VERASE, 0x7f),
            (VKILL, control_key(b'U')),
            (VEOF, control_key(b'D')),
            (VMIN, 1),
            (VSTART, control_key(b'Q')),
            (VSTOP, control_key(b'S')),
            (VSUSP, control_key(b'Z')),
            (VREPRINT, control_key(b'R')),
            (VDISCARD, control_key(b'O')),
            (VWERASE, control_key(b'W')),
            (VLNEXT, control_key(b'V')),
        ] {
            characters[slot as usize] = character;
        }
        Self(termios2 {
            c_iflag: ICRNL | IXON,
            c_oflag: OPOST | ONLCR,
            c_cflag: control,
            c_lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            c_line: 0,
            c_cc: characters,
            c_ispeed: speed_baud,
            c_ospeed: speed_baud,
        })
    }

    /// An input mode flag.
    pub fn input(&self, flag: u32) -> bool {
        self.0.c_iflag & flag != 0
    }

    /// An output mode flag.
    pub fn output(&self, flag: u32) -> bool {
        self.0.c_oflag & flag != 0
    }

    /// A local mode flag.
    pub fn local(&self, flag: u32) -> bool {
        self.0.c_lflag & flag != 0
    }

    /// The character in a slot (`VINTR`…).
    pub fn character(&self, slot: u32) -> u8 {
        self.0.c_cc.get(slot as usize).copied().unwrap_or(DISABLED)
    }

    /// Whether `byte` is the (enabled) control character of the slot.
    pub fn is(&self, byte: u8, slot: u32) -> bool {
        byte != DISABLED && byte == self.character(slot)
    }

    /// Reads a `struct termios`; the speeds follow from the flags.
    pub fn read(address: u64, current: &Self) -> Result<Self> {
        let given = UserPointer::<termios>::new(address).read()?;
        let speed_baud = speed_of_flags(given.c_cflag).unwrap_or(current.0.c_ospeed);
        Ok(Self(termios2 {
            c_iflag: given.c_iflag,
            c_oflag: given.c_oflag,
            c_cflag: given.c_cflag,
            c_lflag: given.c_lflag,
            c_line: given.c_line,
            c_cc: given.c_cc,
            c_ispeed: speed_baud,
            c_ospeed: speed_baud,
        }))
    }

    /// Reads a `struct termios2`: with `BOTHER` its own speeds count, else those of the flags.
    pub fn read2(address: u64) -> Result<Self> {
        let mut given = UserPointer::<termios2>::new(address).read()?;
        if let Some(speed_baud) = speed_of_flags(given.c_cflag) {
            given.c_ispeed = speed_baud;
            given.c_ospeed = speed_baud;
        }
        Ok(Self(given))
    }

    /// Writes a `struct termios`.
    pub fn write(&self, address: u64) -> Result<()> {
        let Self(settings) = self;
        UserPointer::<termios>::new(address).write(termios {
            c_iflag: settings.c_iflag,
            c_oflag: settings.c_oflag,
            c_cflag: settings.c_cflag,
            c_lflag: settings.c_lflag,
            c_line: settings.c_line,
            c_cc: settings.c_cc,
        })
    }

    /// Writes a `struct termios2`.
    pub fn write2(&self, address: u64) -> Result<()> {
        UserPointer::<termios2>::new(address).write(self.0)
    }
}

/// Baud of the `B…` constants; `None` for `BOTHER`.
fn speed_of_flags(control: u32) -> Option<u32> {
    const SLOW: [u32; 16] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
    const FAST: [u32; 15] = [
        57600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000, 3_000_000,
        3_500_000, 4_000_000,
    ];
    let index = (control & 0xf) as usize;
    match control & CBAUDEX {
        0 => SLOW.get(index).copied(),
        _ => index.checked_sub(1).and_then(|index| FAST.get(index)).copied(),
    }
}
