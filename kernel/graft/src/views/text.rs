//! Small pieces of text: decimal numbers and escaped names.

use crate::seam::{OutOfMemory, Sink};

/// Which bytes are to be escaped: a table, since each byte of each line is asked for.
pub(crate) struct EscapeSet([bool; 256]);

impl EscapeSet {
    const fn of(bytes: &[u8]) -> Self {
        let mut table = [false; 256];
        let mut index = 0;
        while index < bytes.len() {
            table[bytes[index] as usize] = true;
            index += 1;
        }
        Self(table)
    }
}

/// What mountpoints and roots escape (W8).
pub(crate) static IN_PATHS: EscapeSet = EscapeSet::of(b" \t\n\\");
/// What sources and types escape (W8).
pub(crate) static IN_NAMES: EscapeSet = EscapeSet::of(b" \t\n\\#");

/// Writes a number in decimal.
pub(crate) fn put_number(sink: &mut dyn Sink, number: u64) -> Result<(), OutOfMemory> {
    let mut digits = [0; MOST_DIGITS];
    let start = write_digits(&mut digits, MOST_DIGITS, number);
    sink.put(&digits[start..])
}

/// Writes numbers in decimal, each with the byte that follows it.
pub(crate) fn put_fields<const N: usize>(sink: &mut dyn Sink, fields: [(u32, u8); N]) -> Result<(), OutOfMemory> {
    let mut text = [[0; MOST_DIGITS]; N];
    let text = text.as_flattened_mut();
    let mut start = text.len();
    for (number, separator) in fields.into_iter().rev() {
        text[start - 1] = separator;
        start = write_digits(text, start - 1, number.into());
    }
    sink.put(&text[start..])
}

/// The digits of the largest `u64`.
const MOST_DIGITS: usize = 20;

/// Writes a number so that it ends at `end`. Returns where it begins.
fn write_digits(text: &mut [u8], end: usize, number: u64) -> usize {
    let mut start = end;
    let mut rest = number;
    loop {
        start -= 1;
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return start;
        }
    }
}

/// Writes bytes, those of a set as backslash and three octal digits (W8).
pub(crate) fn put_escaped(sink: &mut dyn Sink, bytes: &[u8], set: &EscapeSet) -> Result<(), OutOfMemory> {
    let mut rest = bytes;
    while let Some(index) = rest.iter().position(|&byte| set.0[usize::from(byte)]) {
        let byte = rest[index];
        sink.put(&rest[..index])?;
        sink.put(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)])?;
        rest = &rest[index + 1..];
    }
    sink.put(rest)
}

/// A sink that escapes what goes through it.
pub(crate) struct Escaping<'a> {
    pub(crate) sink: &'a mut dyn Sink,
    pub(crate) set: &'static EscapeSet,
}

impl Sink for Escaping<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        put_escaped(self.sink, bytes, self.set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn numbers_and_escapes() {
        let mut text = Vec::new();
        put_number(&mut text, 0).unwrap();
        put_fields(&mut text, [(17, b':'), (u32::MAX, b' ')]).unwrap();
        put_escaped(&mut text, b" a#b\\", &IN_PATHS).unwrap();
        put_number(&mut text, u64::MAX).unwrap();
        put_escaped(&mut text, b"#\n", &IN_NAMES).unwrap();
        assert_eq!(text, b"017:4294967295 \\040a#b\\13418446744073709551615\\043\\012");
    }
}
