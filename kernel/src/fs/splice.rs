//! Moving bytes between files inside the kernel: `splice(2)`, `tee(2)`, `vmsplice(2)`, `sendfile(2)`, `copy_file_range(2)`.
//!
//! Bytes are copied, never pages handed over; programs cannot tell the difference. Anything that can be read can be spliced into a pipe,
//! and a pipe into anything that can be written.

use crate::errno::{Errno, Result};
use crate::fs::inotify::{self, Mask};
use crate::fs::pipe::{self, Pipe};
use crate::fs::{FileType, OpenFile, OpenFlags};
use crate::mm::IoBuffer;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The most that is copied at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where in a file to read or write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// At the file's own position, which moves along.
    Position,
    /// At an offset of the caller's.
    Offset(u64),
}

impl At {
    /// The offset for the call, `moved` bytes on.
    fn advance(&mut self, moved: usize) {
        if let Self::Offset(offset) = self {
            *offset += moved as u64;
        }
    }
}

fn chunk(len_bytes: usize) -> Result<Vec<u8>> {
    let len_bytes = len_bytes.min(CHUNK_BYTES);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len_bytes).map_err(|_| Errno::NOMEM)?;
    bytes.resize(len_bytes, 0);
    Ok(bytes)
}

/// Reads into kernel memory.
fn read_at(file: &OpenFile, bytes: &mut [u8], at: At) -> Result<usize> {
    let mut buffer = IoBuffer::kernel(bytes);
    match at {
        At::Offset(offset) => file.ops.read(file, &mut buffer, offset),
        At::Position if !file.ops.seekable() => file.ops.read(file, &mut buffer, 0),
        At::Position => {
            let mut position = file.position.lock();
            let moved = file.ops.read(file, &mut buffer, *position)?;
            *position += moved as u64;
            Ok(moved)
        }
    }
}

/// Writes from kernel memory.
fn write_at(file: &OpenFile, bytes: &[u8], at: At) -> Result<usize> {
    let mut buffer = IoBuffer::kernel_source(bytes);
    match at {
        At::Offset(mut offset) => file.ops.write(file, &mut buffer, &mut offset),
        At::Position if !file.ops.seekable() => file.ops.write(file, &mut buffer, &mut 0),
        At::Position => {
            let mut position = file.position.lock();
            let mut offset = *position;
            let moved = file.ops.write(file, &mut buffer, &mut offset)?;
            *position = offset + moved as u64;
            Ok(moved)
        }
    }
}

/// Moves the own position of a file that was read ahead of what could be used.
fn step_back(file: &OpenFile, bytes: usize) {
    let mut position = file.position.lock();
    *position = position.saturating_sub(bytes as u64);
}

/// `splice(2)`. The offsets have been checked to be given only for what is no pipe; they move along.
///
/// `EBADF` if the one cannot be read or the other not written; `EINVAL` if neither is a pipe, both are the same, or the target appends.
pub fn splice(
    source: &Arc<OpenFile>,
    source_at: &mut At,
    target: &Arc<OpenFile>,
    target_at: &mut At,
    len_bytes: usize,
    nonblocking: bool,
) -> Result<usize> {
    if !source.flags().readable() || !target.flags().writable() {
        return Err(Errno::BADF);
    }
    match (pipe::of(source), pipe::of(target)) {
        (Some(from), Some(to)) if Arc::ptr_eq(from, to) => Err(Errno::INVAL),
        (Some(from), Some(to)) => {
            let nonblocking = nonblocking || source.is_nonblocking() || target.is_nonblocking();
            move_between(from, to, len_bytes, nonblocking)
        }
        (Some(from), None) => {
            if target.flags().contains(OpenFlags::APPEND) {
                return Err(Errno::INVAL);
            }
            let moved = drain_into(from, target, target_at, len_bytes, nonblocking || source.is_nonblocking())?;
            inotify::transferred(target, moved, Mask::MODIFY);
            Ok(moved)
        }
        (None, Some(to)) => {
            let moved = fill_from(source, *source_at, to, len_bytes, nonblocking || target.is_nonblocking())?;
            source_at.advance(moved);
            inotify::transferred(source, moved, Mask::ACCESS);
            Ok(moved)
        }
        (None, None) => Err(Errno::INVAL),
    }
}

/// Pipe to pipe: once something can be read and something written, as much as can be without waiting.
fn move_between(from: &Pipe, to: &Pipe, len_bytes: usize, nonblocking: bool) -> Result<usize> {
    if !from.wait_readable(nonblocking)? {
        return Ok(0);
    }
    to.wait_writable(nonblocking)?;
    from.drain(len_bytes, &mut |bytes| match to.write(&mut IoBuffer::kernel_source(bytes), true, false) {
        // Full: what was moved so far is what the call moves.
        Err(Errno::AGAIN) => Ok(0),
        result => result,
    })
}

/// Pipe to file: waits for the first bytes, then takes what is there.
fn drain_into(from: &Pipe, target: &OpenFile, at: &mut At, len_bytes: usize, nonblocking: bool) -> Result<usize> {
    if !from.wait_readable(nonblocking)? {
        return Ok(0);
    }
    if target.ops.takes_whole_splices() {
        return drain_whole(from, target, len_bytes);
    }
    from.drain(len_bytes, &mut |bytes| {
        let written = write_at(target, bytes, *at)?;
        at.advance(written);
        Ok(written)
    })
}

/// Pipe to a file that takes its bytes in one piece: `EINVAL` if there are fewer.
fn drain_whole(from: &Pipe, target: &OpenFile, len_bytes: usize) -> Result<usize> {
    if from.unread_bytes() < len_bytes {
        return Err(Errno::INVAL);
    }
    let mut unit = Vec::new();
    unit.try_reserve_exact(len_bytes).map_err(|_| Errno::NOMEM)?;
    from.drain(len_bytes, &mut |bytes| {
        unit.extend_from_slice(bytes);
        Ok(bytes.len())
    })?;
    target.ops.splice_write(target, &unit).unwrap_or(Err(Errno::INVAL))
}

/// File to pipe: waits for room, then reads once as much as there is room for.
fn fill_from(source: &OpenFile, at: At, to: &Pipe, len_bytes: usize, nonblocking: bool) -> Result<usize> {
    if matches!(source.inode.file_type, FileType::Directory) {
        return Err(Errno::INVAL);
    }
    to.wait_writable(nonblocking)?;
    if let Some(unit) = source.ops.splice_read(source, len_bytes) {
        return to.write(&mut IoBuffer::kernel_source(&unit?), false, false);
    }
    let mut bytes = chunk(len_bytes.min(to.room_bytes()))?;
    let count = read_at(source, &mut bytes, at)?;
    let read = bytes.get(..count).unwrap_or_default();
    // There was room; should somebody have taken it meanwhile, the rest waits for its turn rather than getting lost.
    to.write(&mut IoBuffer::kernel_source(read), false, false)
}

/// `tee(2)`: `EINVAL` unless both are pipes, and different ones.
pub fn tee(source: &OpenFile, target: &OpenFile, len_bytes: usize, nonblocking: bool) -> Result<usize> {
    if !source.flags().readable() || !target.flags().writable() {
        return Err(Errno::BADF);
    }
    let (Some(from), Some(to)) = (pipe::of(source), pipe::of(target)) else { return Err(Errno::INVAL) };
    if Arc::ptr_eq(from, to) {
        return Err(Errno::INVAL);
    }
    let nonblocking = nonblocking || source.is_nonblocking() || target.is_nonblocking();
    if !from.wait_readable(nonblocking)? {
        return Ok(0);
    }
    to.wait_writable(nonblocking)?;
    from.copy_to(to, len_bytes)
}

/// `vmsplice(2)`: user memory into a pipe, or out of it, as the descriptor is open for. `EBADF` if it is no pipe.
pub fn vmsplice(file: &OpenFile, segments: &[(u64, usize)], nonblocking: bool) -> Result<usize> {
    let pipe = pipe::of(file).ok_or(Errno::BADF)?;
    let nonblocking = nonblocking || file.is_nonblocking();
    // By reference: libfuse corrects the length in a header that it has lent already.
    if file.flags().writable() { pipe.lend(segments, nonblocking) } else { pipe.read(&mut IoBuffer::user(segments), nonblocking) }
}

/// `sendfile(2)`. `EINVAL` if the target appends, or if the source is not a file with positions (unless the target is a pipe).
pub fn send_file(target: &Arc<OpenFile>, source: &Arc<OpenFile>, at: &mut At, len_bytes: usize) -> Result<usize> {
    if !source.flags().readable() || !target.flags().writable() {
        return Err(Errno::BADF);
    }
    if target.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::INVAL);
    }
    if let Some(to) = pipe::of(target) {
        let moved = fill_from(source, *at, to, len_bytes, target.is_nonblocking())?;
        at.advance(moved);
        inotify::transferred(source, moved, Mask::ACCESS);
        return Ok(moved);
    }
    if !matches!(source.inode.file_type, FileType::Regular | FileType::BlockDevice) {
        return Err(Errno::INVAL);
    }
    copy(source, at, target, &mut At::Position, len_bytes)
}

/// Copies until `len_bytes` are copied, the source ends, or the target takes less than it gets.
fn copy(source: &OpenFile, source_at: &mut At, target: &OpenFile, target_at: &mut At, len_bytes: usize) -> Result<usize> {
    let mut bytes = chunk(len_bytes)?;
    let mut copied = 0;
    while copied < len_bytes {
        let wanted = bytes.len().min(len_bytes - copied);
        let step = read_at(source, &mut bytes[..wanted], *source_at).and_then(|count| {
            if count == 0 {
                return Ok((0, 0));
            }
            let written = write_at(target, &bytes[..count], *target_at);
            if *source_at == At::Position {
                step_back(source, count - written.unwrap_or(0));
            }
            Ok((count, written?))
        });
        match step {
            Ok((count, written)) => {
                copied += written;
                source_at.advance(written);
                target_at.advance(written);
                if written < count || count == 0 {
                    break;
                }
            }
            Err(_) if copied > 0 => break,
            Err(error) => return Err(error),
        }
    }
    inotify::transferred(source, copied, Mask::ACCESS);
    inotify::transferred(target, copied, Mask::MODIFY);
    Ok(copied)
}

/// `copy_file_range(2)`: between regular files of one filesystem. `EISDIR`, `EINVAL` for other files and for overlapping ranges of one file,
/// `EBADF` for wrong access modes and `O_APPEND`, `EXDEV` across filesystems, `EOVERFLOW`.
pub fn copy_file_range(
    source: &Arc<OpenFile>,
    source_at: &mut At,
    target: &Arc<OpenFile>,
    target_at: &mut At,
    len_bytes: usize,
) -> Result<usize> {
    for file in [source, target] {
        match file.inode.file_type {
            FileType::Directory => return Err(Errno::ISDIR),
            FileType::Regular => {}
            _ => return Err(Errno::INVAL),
        }
    }
    let appends = target.flags().contains(OpenFlags::APPEND);
    if !source.flags().readable() || !target.flags().writable() || appends {
        return Err(Errno::BADF);
    }
    if !Arc::ptr_eq(&source.inode.superblock, &target.inode.superblock) {
        return Err(Errno::XDEV);
    }
    let (from, to) = (offset_of(source, *source_at), offset_of(target, *target_at));
    let (Some(_), Some(_)) = (end_of(from, len_bytes), end_of(to, len_bytes)) else { return Err(Errno::OVERFLOW) };
    let size_bytes = source.inode.ops.attributes(&source.inode)?.size_bytes;
    let len_bytes = usize::try_from(size_bytes.saturating_sub(from)).unwrap_or(usize::MAX).min(len_bytes);
    let overlaps = from < to.saturating_add(len_bytes as u64) && to < from.saturating_add(len_bytes as u64);
    if Arc::ptr_eq(&source.inode, &target.inode) && overlaps {
        return Err(Errno::INVAL);
    }
    if len_bytes == 0 {
        return Ok(0);
    }
    match source.ops.copy_range(from, target, to, len_bytes) {
        Some(copied) => {
            let copied = copied?;
            move_on(source, source_at, copied);
            move_on(target, target_at, copied);
            Ok(copied)
        }
        None => copy(source, source_at, target, target_at, len_bytes),
    }
}

/// Steps over bytes that were moved.
fn move_on(file: &OpenFile, at: &mut At, bytes: usize) {
    at.advance(bytes);
    if *at == At::Position {
        *file.position.lock() += bytes as u64;
    }
}

fn offset_of(file: &OpenFile, at: At) -> u64 {
    match at {
        At::Offset(offset) => offset,
        At::Position => *file.position.lock(),
    }
}

fn end_of(offset: u64, len_bytes: usize) -> Option<u64> {
    offset.checked_add(len_bytes as u64).filter(|end| *end <= i64::MAX as u64)
}
