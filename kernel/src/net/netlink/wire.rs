//! Netlink messages as they lie in memory (`netlink(7)`): a header, a fixed part, attributes. All numbers are in the processor's order.

use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use linux_raw_sys::netlink;

/// Bytes of `struct nlmsghdr`.
pub const HEADER_BYTES: usize = size_of::<netlink::nlmsghdr>();
/// Bytes of `struct nlattr`.
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// `NLA_TYPE_MASK`: the type without its two flags.
const TYPE_MASK: u16 = 0x3fff;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// Messages and attributes begin at multiples of four.
pub fn align(len_bytes: usize) -> usize {
    len_bytes.next_multiple_of(4)
}

/// `struct nlmsghdr`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Header {
    pub len_bytes: usize,
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
}

impl Header {
    /// The header at the front; `None` if there is none, or its length does not fit.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes);
        let half = |at: usize| bytes.get(at..at + 2).and_then(|half| half.try_into().ok()).map(u16::from_ne_bytes);
        let header = Self { len_bytes: word(0)? as usize, kind: half(4)?, flags: half(6)?, sequence: word(8)? };
        (HEADER_BYTES..=bytes.len()).contains(&header.len_bytes).then_some(header)
    }

    /// Whether one of the flags is there.
    pub fn has(&self, flags: u32) -> bool {
        u32::from(self.flags) & flags != 0
    }
}

/// A message that is being made.
pub struct Message(Vec<u8>);

impl Message {
    /// A message with its header; the length follows at the end.
    pub fn new(kind: u16, flags: u16, sequence: u32, port: u32) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&port.to_ne_bytes());
        Self(bytes)
    }

    /// Appends raw bytes: the fixed part.
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.0.resize(align(self.0.len()), 0);
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u32, value: &[u8]) {
        self.pad();
        let len_bytes = (ATTRIBUTE_HEADER_BYTES + value.len()) as u16;
        self.0.extend_from_slice(&len_bytes.to_ne_bytes());
        self.0.extend_from_slice(&(kind as u16).to_ne_bytes());
        self.0.extend_from_slice(value);
        self.pad();
    }

    /// Appends a number.
    pub fn number(&mut self, kind: u32, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Appends a string with its NUL.
    pub fn text(&mut self, kind: u32, value: &[u8]) {
        self.attribute(kind, &[value, b"\0"].concat());
    }

    /// Appends an attribute that holds others; `flagged` marks it as such, as newer parts of Linux do.
    pub fn nested(&mut self, kind: u32, flagged: bool, fill: impl FnOnce(&mut Self)) {
        self.attribute(kind | if flagged { u32::from(NESTED) } else { 0 }, &[]);
        let start = self.0.len() - ATTRIBUTE_HEADER_BYTES;
        fill(self);
        let len_bytes = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&len_bytes.to_ne_bytes());
    }

    /// The whole message, with its length.
    pub fn finish(mut self) -> Vec<u8> {
        let len_bytes = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len_bytes.to_ne_bytes());
        self.0
    }
}

/// The attributes of a message.
#[derive(Clone, Copy)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Those behind a fixed part of so many bytes. `EINVAL` if the message is shorter.
    pub fn behind(payload: &'a [u8], fixed_bytes: usize) -> Result<Self> {
        if payload.len() < fixed_bytes {
            return Err(Errno::INVAL);
        }
        Ok(Self(payload.get(align(fixed_bytes)..).unwrap_or_default()))
    }

    /// Type and value of each. Ends where the bytes make no sense.
    pub fn iter(self) -> impl Iterator<Item = (u32, &'a [u8])> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let len_bytes = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
            let kind = u16::from_ne_bytes([*rest.get(2)?, *rest.get(3)?]);
            let value = rest.get(ATTRIBUTE_HEADER_BYTES..len_bytes)?;
            rest = rest.get(align(len_bytes)..).unwrap_or_default();
            Some((u32::from(kind & TYPE_MASK), value))
        })
    }

    /// The value of the last attribute of a type, which is the one that counts.
    pub fn get(self, kind: u32) -> Option<&'a [u8]> {
        self.iter().filter(|(found, _)| *found == kind).last().map(|(_, value)| value)
    }

    /// A number. `ERANGE` if it is too short.
    pub fn number(self, kind: u32) -> Result<Option<u32>> {
        let Some(value) = self.get(kind) else { return Ok(None) };
        value.first_chunk().map(|bytes| Some(u32::from_ne_bytes(*bytes))).ok_or(Errno::RANGE)
    }

    /// A string, up to its NUL.
    pub fn text(self, kind: u32) -> Option<&'a [u8]> {
        self.get(kind).map(|value| value.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    /// The attributes inside another.
    pub fn inside(self, kind: u32) -> Option<Self> {
        self.get(kind).map(Self)
    }
}
