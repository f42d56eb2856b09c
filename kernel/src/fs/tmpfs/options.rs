//! The options of tmpfs and ramfs, as `mount(2)` and `fsconfig(2)` give them.

use crate::errno::{Errno, Result};
use crate::mm::{self, PAGE_SIZE_BYTES};
use crate::task::UserNamespace;
use alloc::{string::String, sync::Arc, vec::Vec};

/// Options that were given; `None` where one was not.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Options {
    pub max_pages: Option<u64>,
    pub max_inodes: Option<u64>,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub inode64: Option<bool>,
    pub no_swap: bool,
}

/// Half of memory: what an instance may hold unless it is told otherwise.
pub fn default_max_pages() -> u64 {
    mm::frame::statistics().total_pages / 2
}

impl Options {
    /// Takes one option of tmpfs. `EINVAL` for unknown names and bad values.
    pub fn take(&mut self, key: &str, value: Option<&[u8]>, namespace: &UserNamespace) -> Result<()> {
        let text = value.map(|value| core::str::from_utf8(value).map_err(|_| Errno::INVAL)).transpose()?;
        match (key, text) {
            ("size", Some(text)) => self.max_pages = Some(parse_size(text)?.div_ceil(PAGE_SIZE_BYTES as u64)),
            ("nr_blocks", Some(text)) => self.max_pages = Some(parse_count(text, i64::MAX as u64)?),
            ("nr_inodes", Some(text)) => self.max_inodes = Some(parse_count(text, u64::MAX / 1024)?),
            ("mode", Some(text)) => self.mode = Some(parse_mode(text)?),
            ("uid", Some(text)) => self.uid = Some(namespace.uid_to_global(parse_id(text)?).ok_or(Errno::INVAL)?),
            ("gid", Some(text)) => self.gid = Some(namespace.gid_to_global(parse_id(text)?).ok_or(Errno::INVAL)?),
            ("huge", Some("never")) | ("mpol", Some("default")) => {}
            ("inode64", None) => self.inode64 = Some(true),
            ("inode32", None) => self.inode64 = Some(false),
            ("noswap", None) => self.no_swap = true,
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// Takes all options of a request.
    pub fn take_all(options: &[(String, Option<Vec<u8>>)], namespace: &Arc<UserNamespace>) -> Result<Self> {
        let mut taken = Self::default();
        for (key, value) in options {
            taken.take(key, value.as_deref(), namespace)?;
        }
        Ok(taken)
    }

    /// Takes one option of ramfs, which ignores what it does not know.
    pub fn take_for_ramfs(&mut self, key: &str, value: Option<&[u8]>) -> Result<()> {
        if key == "mode" {
            let text = value.and_then(|value| core::str::from_utf8(value).ok()).ok_or(Errno::INVAL)?;
            self.mode = Some(parse_mode(text)?);
        }
        Ok(())
    }
}

fn parse_mode(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 8).map(|mode| mode & 0o7777).map_err(|_| Errno::INVAL)
}

fn parse_id(text: &str) -> Result<u32> {
    let (number, rest) = parse_number(text)?;
    if rest.is_empty() { u32::try_from(number).map_err(|_| Errno::INVAL) } else { Err(Errno::INVAL) }
}

/// Bytes: a number with a suffix, or a part of memory in percent.
fn parse_size(text: &str) -> Result<u64> {
    let (number, rest) = parse_with_suffix(text)?;
    match rest {
        "" => Ok(number),
        "%" => {
            let total_bytes = u128::from(mm::frame::statistics().total_pages) * PAGE_SIZE_BYTES as u128;
            u64::try_from(total_bytes * u128::from(number) / 100).map_err(|_| Errno::INVAL)
        }
        _ => Err(Errno::INVAL),
    }
}

fn parse_count(text: &str, max: u64) -> Result<u64> {
    let (number, rest) = parse_with_suffix(text)?;
    if rest.is_empty() && number <= max { Ok(number) } else { Err(Errno::INVAL) }
}

/// A number and one of the suffixes k, m, g, t, p, e; returns what follows.
fn parse_with_suffix(text: &str) -> Result<(u64, &str)> {
    let (number, rest) = parse_number(text)?;
    let power = rest.bytes().next().and_then(|byte| b"kmgtpe".iter().position(|suffix| *suffix == byte.to_ascii_lowercase()));
    match power {
        Some(power) => {
            let shifted = number.checked_shl(10 * (power as u32 + 1)).ok_or(Errno::INVAL)?;
            Ok((shifted, &rest[1..]))
        }
        None => Ok((number, rest)),
    }
}

/// A decimal number, hexadecimal behind `0x`, octal behind `0`; returns what follows.
fn parse_number(text: &str) -> Result<(u64, &str)> {
    let (radix, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'0'..=b'7', ..] => (8, &text[1..]),
        _ => (10, text),
    };
    let end = digits.find(|digit: char| !digit.is_digit(radix)).unwrap_or(digits.len());
    let number = u64::from_str_radix(&digits[..end], radix).map_err(|_| Errno::INVAL)?;
    Ok((number, &digits[end..]))
}
