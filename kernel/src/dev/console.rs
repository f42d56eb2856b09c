//! `/dev/console` and the kernel log on the serial line.

use crate::dev::serial;
use core::fmt::{self, Write};

/// Shows a message of the kernel log on the serial line, as Linux's console does: `[    0.123456] text`.
pub fn show(time_ns: u64, message: fmt::Arguments<'_>) {
    let (seconds, microseconds) = (time_ns / 1_000_000_000, time_ns / 1000 % 1_000_000);
    // The line takes everything.
    let _ = writeln!(Line, "[{seconds:5}.{microseconds:06}] {message}");
}

/// The serial line with a carriage return before each newline, as terminals want it.
struct Line;

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, part) in text.split('\n').enumerate() {
            if index > 0 {
                serial::write_bytes(b"\r\n");
            }
            serial::write_bytes(part.as_bytes());
        }
        Ok(())
    }
}
