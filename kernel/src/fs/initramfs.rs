//! Unpacks the initramfs into the rootfs: `newc` archives (`cpio(5)`), plain or gzipped, one behind the other, with zeros between.
//!
//! The parser is our own: `cpio_reader` wants the whole archive as one slice, names in UTF-8, and trusts the lengths in headers; the
//! crate `cpio` needs std. This one takes a stream (a gzipped archive is never whole in memory) and believes nothing.

mod archive;
mod gzip;
mod unpack;

use crate::errno::Result;
use crate::fs::walk::Start;
use archive::Archive;
use unpack::Unpacker;

/// What may follow one archive: more archives, or zeros as padding.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Unpacks all archives in `bytes` below `start.root`. What is broken is said in the log; what came before it stays.
pub fn unpack(bytes: &[u8], start: &Start) {
    if let Err(reason) = unpack_all(bytes, start) {
        log::error!("Initramfs unpacking failed: {reason}");
    }
}

fn unpack_all(bytes: &[u8], start: &Start) -> Result<(), &'static str> {
    let mut archive = Archive::new(Unpacker::new(start.clone()));
    let mut rest = bytes;
    while !rest.is_empty() {
        rest = if rest.starts_with(&GZIP_MAGIC) {
            let used = gzip::inflate(rest, &mut |chunk| archive.feed(chunk))?;
            archive.end_of_member()?;
            &rest[used..]
        } else if rest[0] == 0 {
            &rest[rest.iter().position(|&byte| byte != 0).unwrap_or(rest.len())..]
        } else if rest[0] == b'0' {
            let used = archive.feed_plain(rest)?;
            &rest[used..]
        } else {
            return Err("invalid magic at start of compressed archive");
        };
    }
    archive.finish()
}

/// What Linux's built-in archive holds, for an initramfs that brings less: `/dev`, `/dev/console`, `/root`.
pub fn make_default_nodes(start: &Start) -> Result<()> {
    Unpacker::new(start.clone()).default_nodes()
}
