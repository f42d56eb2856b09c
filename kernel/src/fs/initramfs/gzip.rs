//! Inflating a gzip member (RFC 1952) piece by piece.

use alloc::{boxed::Box, vec};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// The window of deflate, and the most that is handed on at once.
const WINDOW_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 10;
/// CRC and length behind the data.
const TRAILER_BYTES: usize = 8;
const METHOD_DEFLATE: u8 = 8;
const FLAG_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;

/// Inflates the member at the start of `bytes` and hands the content on in pieces. Returns the bytes of the member.
pub(super) fn inflate(bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> Result<(), &'static str>) -> Result<usize, &'static str> {
    let header = header_len(bytes).ok_or("broken gzip header")?;
    let mut window = vec![0u8; WINDOW_BYTES];
    let mut state = Box::<DecompressorOxide>::default();
    let mut checksum = !0u32;
    let (mut consumed, mut at, mut total) = (header, 0, 0u32);
    loop {
        let (status, taken, made) = decompress(&mut state, &bytes[consumed..], &mut window, at, 0);
        consumed += taken;
        let piece = &window[at..at + made];
        checksum = update_checksum(checksum, piece);
        total = total.wrapping_add(made as u32);
        sink(piece)?;
        at = (at + made) % WINDOW_BYTES;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => return Err("compressed data ends early"),
            _ => return Err("compressed data is broken"),
        }
    }
    let trailer = bytes.get(consumed..consumed + TRAILER_BYTES).ok_or("compressed data ends early")?;
    let word = |index: usize| u32::from_le_bytes([trailer[index], trailer[index + 1], trailer[index + 2], trailer[index + 3]]);
    if word(0) != !checksum {
        return Err("crc error");
    }
    if word(4) != total {
        return Err("length error");
    }
    Ok(consumed + TRAILER_BYTES)
}

/// The length of the header with its optional parts.
fn header_len(bytes: &[u8]) -> Option<usize> {
    if *bytes.get(2)? != METHOD_DEFLATE {
        return None;
    }
    let flags = *bytes.get(3)?;
    let mut len = HEADER_BYTES;
    if flags & FLAG_EXTRA != 0 {
        let extra = u16::from_le_bytes([*bytes.get(len)?, *bytes.get(len + 1)?]);
        len += 2 + usize::from(extra);
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            len += bytes.get(len..)?.iter().position(|&byte| byte == 0)? + 1;
        }
    }
    if flags & FLAG_CRC != 0 {
        len += 2;
    }
    (len <= bytes.len()).then_some(len)
}

/// CRC-32 as gzip uses it (polynomial 0xEDB88320, reflected), four bits at a time.
fn update_checksum(mut checksum: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = nibble_table();
    for &byte in bytes {
        checksum ^= u32::from(byte);
        checksum = TABLE[(checksum & 15) as usize] ^ (checksum >> 4);
        checksum = TABLE[(checksum & 15) as usize] ^ (checksum >> 4);
    }
    checksum
}

const fn nibble_table() -> [u32; 16] {
    let mut table = [0; 16];
    let mut index = 0;
    while index < 16 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 != 0 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}
