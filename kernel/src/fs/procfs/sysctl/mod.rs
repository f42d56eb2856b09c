//! `/proc/sys` (`sysctl(8)`): what can be asked and set of the kernel while it runs.
//!
//! A file whose value the kernel acts on is a [`Number`], or a pair of functions; what is fixed here although Linux lets it be changed is a
//! [`Fixed`], which refuses other values instead of pretending.

pub mod files;
pub mod kernel;
mod memory;
pub(super) mod net;
mod user;

use super::status::parse_number;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Entry, Text, Variable};
use crate::put_line;
use core::sync::atomic::{AtomicI64, Ordering};

/// The top of the tree.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::directory("debug", &[]),
    Entry::directory("dev", &[]),
    Entry::directory("fs", files::ENTRIES),
    Entry::directory("kernel", kernel::ENTRIES),
    Entry::made("net", net::directory),
    Entry::directory("user", user::ENTRIES),
    Entry::directory("vm", memory::ENTRIES),
];

/// A number within bounds that the kernel reads where it matters.
pub struct Number {
    value: AtomicI64,
    minimum: i64,
    maximum: i64,
}

impl Number {
    /// A number with its value at boot and its bounds, both included.
    pub const fn new(value: i64, minimum: i64, maximum: i64) -> Self {
        Self { value: AtomicI64::new(value), minimum, maximum }
    }

    /// The value now.
    pub fn get(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }
}

impl Variable for Number {
    fn show(&self, text: &mut Text) {
        put_line!(text, "{}", self.get());
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let value = parse_number(bytes)?;
        if !(self.minimum..=self.maximum).contains(&value) {
            return Err(Errno::INVAL);
        }
        self.value.store(value, Ordering::Relaxed);
        Ok(())
    }
}

/// A value that this kernel does not change. Writing the value that it has is no error, so that a configuration that asks for it
/// goes through.
pub(super) struct Fixed(pub &'static str);

impl Variable for Fixed {
    fn show(&self, text: &mut Text) {
        put_line!(text, "{}", self.0);
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let same = bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if same.eq(self.0.split_ascii_whitespace().map(str::as_bytes)) { Ok(()) } else { Err(Errno::INVAL) }
    }
}

/// Text up to its first newline, for names.
fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == b'\n' || *byte == 0).next().unwrap_or_default()
}
