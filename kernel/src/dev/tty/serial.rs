//! The terminal on the serial line: `/dev/ttyS0`, which is also the console.

use super::terminal::{Kind, Output, Terminal};
use super::termios::Termios;
use crate::dev::registry::{SERIAL_FIRST_MINOR, TTY_MAJOR, make_device};
use crate::dev::serial;
use crate::sync::Once;
use alloc::sync::Arc;
use linux_raw_sys::general::{B9600, CLOCAL, CREAD, CS8, HUPCL};

static TERMINAL: Once<Arc<Terminal>> = Once::new();

/// The terminal on the first serial line.
pub fn terminal() -> &'static Arc<Terminal> {
    TERMINAL.call_once(|| {
        let device = make_device(TTY_MAJOR, SERIAL_FIRST_MINOR);
        // What Linux sets for `console=ttyS0` without options.
        let termios = Termios::standard(B9600 | CS8 | CREAD | HUPCL | CLOCAL, 9600);
        Arc::new(Terminal::new(device, Kind::Serial, termios, Arc::new(Line)))
    })
}

/// Lets what arrives on the line go to the terminal. Once, at boot.
pub fn attach() {
    serial::set_receiver(|byte| terminal().receive(byte));
}

/// Sends at once, waiting for the hardware: output never queues.
struct Line;

impl Output for Line {
    fn room(&self) -> usize {
        4096
    }

    fn send(&self, bytes: &[u8]) {
        serial::write_bytes(bytes);
    }

    fn pending(&self) -> usize {
        0
    }

    fn flush(&self) {}

    fn notify(&self, _event: u32) {}
}
