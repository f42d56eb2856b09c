//! The memory devices null, zero and full (`null(4)`, `full(4)`).

use crate::errno::{Errno, Result};
use crate::fs::file::FileMapping;
use crate::fs::{FileOps, OpenFile, OpenFlags, Path};
use crate::mm::{IoBuffer, PAGE_SIZE_BYTES};
use alloc::sync::Arc;

/// Opens `/dev/null`.
pub fn open_null(_device: u64, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    Ok(Arc::new(Null))
}

/// Opens `/dev/zero`.
pub fn open_zero(_device: u64, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    Ok(Arc::new(Zero))
}

/// Opens `/dev/full`.
pub fn open_full(_device: u64, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    Ok(Arc::new(Full))
}

/// Empty to read, swallows what is written.
struct Null;

impl FileOps for Null {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Ok(0)
    }

    /// The bytes are not even looked at: writing from an unmapped address works, as on Linux.
    fn write(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        Ok(buffer.remaining())
    }

    fn seek(&self, _file: &OpenFile, _position: u64, _offset: i64, _whence: u32) -> Option<Result<u64>> {
        Some(Ok(0))
    }
}

/// Endless zeros; swallows what is written; a mapping of it is anonymous memory.
struct Zero;

impl FileOps for Zero {
    fn read(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        put_zeros(buffer)
    }

    fn write(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        Ok(buffer.remaining())
    }

    fn seek(&self, _file: &OpenFile, _position: u64, _offset: i64, _whence: u32) -> Option<Result<u64>> {
        Some(Ok(0))
    }

    fn mapping(&self, _file: &OpenFile) -> Option<FileMapping> {
        Some(FileMapping::Anonymous)
    }
}

/// Endless zeros; always full to write.
struct Full;

impl FileOps for Full {
    fn read(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        put_zeros(buffer)
    }

    fn write(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        Err(Errno::NOSPC)
    }

    fn seek(&self, _file: &OpenFile, _position: u64, _offset: i64, _whence: u32) -> Option<Result<u64>> {
        Some(Ok(0))
    }
}

fn put_zeros(buffer: &mut IoBuffer<'_>) -> Result<usize> {
    static ZEROS: [u8; PAGE_SIZE_BYTES] = [0; PAGE_SIZE_BYTES];
    let before = buffer.done();
    while buffer.remaining() > 0 {
        let wanted = buffer.remaining().min(ZEROS.len());
        match buffer.put(&ZEROS[..wanted]) {
            Ok(stored) if stored == wanted => {}
            // Memory ended within the buffer: what was stored counts.
            Ok(_) => break,
            Err(error) if buffer.done() == before => return Err(error),
            Err(_) => break,
        }
    }
    Ok(buffer.done() - before)
}
