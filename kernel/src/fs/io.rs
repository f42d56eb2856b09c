//! Reading, writing and seeking open files, and descriptors: what is the same for all kinds of files.

use crate::errno::{Errno, Result};
use crate::fs::inotify::{self, Mask};
use crate::fs::{FileType, OpenFile, OpenFlags};
use crate::mm::{IoBuffer, PAGE_SIZE_BYTES};
use crate::task::current;
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as sys;

/// Most bytes that one call moves (`MAX_RW_COUNT`): the longest `int`, whole pages.
pub const MAX_TRANSFER_BYTES: usize = i32::MAX as usize & !(PAGE_SIZE_BYTES - 1);

/// Where a transfer happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// At the file's position, which moves.
    AtPosition,
    /// Here; the position stays.
    At(u64),
}

impl Transfer {
    /// At an offset from a program: `EINVAL` if it is negative.
    pub fn at(offset: i64) -> Result<Self> {
        u64::try_from(offset).map(Self::At).map_err(|_| Errno::INVAL)
    }
}

/// `iovec`s as segments of a buffer: together at most [`MAX_TRANSFER_BYTES`], the rest is cut. `EINVAL` for a length that is negative,
/// `EFAULT` for a place that no program has.
pub fn bounded_segments(raw: Vec<[u64; 2]>) -> Result<Vec<(u64, usize)>> {
    let mut room = MAX_TRANSFER_BYTES;
    let mut segments = Vec::new();
    segments.try_reserve_exact(raw.len()).map_err(|_| Errno::NOMEM)?;
    for [address, len] in raw {
        if len > i64::MAX as u64 {
            return Err(Errno::INVAL);
        }
        let end = address.checked_add(len).ok_or(Errno::FAULT)?;
        // `access_ok` of Linux 6.6 looks at the sign bit only; what else cannot be reached, the copy finds.
        if end > i64::MAX as u64 {
            return Err(Errno::FAULT);
        }
        let len = usize::try_from(len).map_or(room, |len| len.min(room));
        room -= len;
        segments.push((address, len));
    }
    Ok(segments)
}

/// Which of the `RWF_*` flags do something here. The others are hints.
fn check_flags(file: &OpenFile, flags: u32, writes: bool) -> Result<()> {
    let known = sys::RWF_HIPRI | sys::RWF_DSYNC | sys::RWF_SYNC | sys::RWF_NOWAIT | sys::RWF_APPEND;
    if flags & !known != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    if flags & sys::RWF_NOWAIT != 0 && (writes || !file.ops.seekable()) {
        return Err(Errno::OPNOTSUPP);
    }
    Ok(())
}

/// Reads into the program's segments.
pub fn read(file: &OpenFile, segments: &[(u64, usize)], at: Transfer, flags: u32) -> Result<u64> {
    if !file.flags().readable() {
        return Err(Errno::BADF);
    }
    check_flags(file, flags, false)?;
    let mut buffer = IoBuffer::user(segments);
    let count = transfer(file, at, |file, offset| {
        if buffer.remaining() == 0 && file.inode.file_type == FileType::Regular {
            return Ok(0);
        }
        require_room_for(buffer.remaining(), *offset)?;
        file.ops.read(file, &mut buffer, *offset).inspect(|count| *offset = offset.saturating_add(*count as u64))
    })?;
    if count > 0 {
        inotify::file_event(file.path.dentry(), &file.inode, Mask::ACCESS);
    }
    Ok(count)
}

/// Writes from the program's segments. After it the file is as safe as `O_SYNC` asks.
pub fn write(file: &OpenFile, segments: &[(u64, usize)], at: Transfer, flags: u32) -> Result<u64> {
    if !file.flags().writable() {
        return Err(Errno::BADF);
    }
    check_flags(file, flags, true)?;
    let mut buffer = IoBuffer::user(segments);
    let appends = flags & sys::RWF_APPEND != 0;
    let count = transfer(file, at, |file, offset| {
        if buffer.remaining() == 0 && file.inode.file_type == FileType::Regular {
            return Ok(0);
        }
        require_room_for(buffer.remaining(), *offset)?;
        if appends {
            *offset = file.inode.ops.attributes(&file.inode)?.size_bytes;
        }
        file.ops.write(file, &mut buffer, offset).inspect(|count| *offset = offset.saturating_add(*count as u64))
    })?;
    if count > 0 {
        inotify::file_event(file.path.dentry(), &file.inode, Mask::MODIFY);
    }
    if count > 0 && file.flags().intersects(OpenFlags::SYNC | OpenFlags::DSYNC) && file.ops.seekable() {
        file.ops.sync(file, !file.flags().contains(OpenFlags::SYNC))?;
    }
    Ok(count)
}

/// Runs one transfer at the offset that `at` gives, and moves the position where it is used. The position's lock keeps reads and
/// writes through one description apart (`read(2)`, POSIX's rule for threads).
fn transfer(file: &OpenFile, at: Transfer, step: impl FnOnce(&OpenFile, &mut u64) -> Result<usize>) -> Result<u64> {
    match at {
        Transfer::At(offset) => {
            if !file.ops.seekable() {
                return Err(Errno::SPIPE);
            }
            let mut offset = offset;
            step(file, &mut offset).map(|count| count as u64)
        }
        Transfer::AtPosition if !file.ops.seekable() => step(file, &mut 0).map(|count| count as u64),
        Transfer::AtPosition => {
            let mut position = file.position.lock();
            let mut offset = *position;
            let count = step(file, &mut offset)?;
            *position = offset;
            Ok(count as u64)
        }
    }
}

/// A transfer may not go beyond the highest offset there is.
fn require_room_for(len: usize, offset: u64) -> Result<()> {
    let end = offset.checked_add(len as u64).filter(|&end| i64::try_from(end).is_ok());
    end.map(|_| ()).ok_or(Errno::INVAL)
}

/// `lseek(2)`.
pub fn seek(file: &OpenFile, offset: i64, whence: u32) -> Result<u64> {
    if whence > sys::SEEK_HOLE {
        return Err(Errno::INVAL);
    }
    if !file.ops.seekable() {
        // Event descriptors have no position either, but take the call.
        return file.ops.seek(file, 0, offset, whence).unwrap_or(Err(Errno::SPIPE));
    }
    let mut position = file.position.lock();
    let target = match file.ops.seek(file, *position, offset, whence) {
        Some(answer) => answer?,
        None => generic_seek(file, *position, offset, whence)?,
    };
    if i64::try_from(target).is_err() {
        return Err(Errno::INVAL);
    }
    *position = target;
    Ok(target)
}

/// Relative to start, position or end. A file without holes is data up to its end.
fn generic_seek(file: &OpenFile, position: u64, offset: i64, whence: u32) -> Result<u64> {
    let size = || file.inode.ops.attributes(&file.inode).map(|attributes| attributes.size_bytes);
    let base = match whence {
        sys::SEEK_SET => 0,
        sys::SEEK_CUR => position,
        sys::SEEK_END => size()?,
        _ => {
            let (size, offset) = (size()?, u64::try_from(offset).map_err(|_| Errno::NXIO)?);
            return match (offset < size, whence) {
                (false, _) => Err(Errno::NXIO),
                (true, sys::SEEK_DATA) => Ok(offset),
                (true, _) => Ok(size),
            };
        }
    };
    let base = i64::try_from(base).map_err(|_| Errno::OVERFLOW)?;
    // A sum that wraps is negative for Linux too, and refused as such.
    u64::try_from(base.wrapping_add(offset)).map_err(|_| Errno::INVAL)
}

/// `lseek(2)` in a directory whose positions are cookies: from its start or from here, never from an end. `EINVAL`.
pub fn seek_directory(position: u64, offset: i64, whence: u32) -> Result<u64> {
    let target = match whence {
        sys::SEEK_SET => Some(offset),
        sys::SEEK_CUR => (position as i64).checked_add(offset),
        _ => None,
    };
    target.and_then(|target| u64::try_from(target).ok()).ok_or(Errno::INVAL)
}

/// `fallocate(2)`: the checks that do not depend on the filesystem.
pub fn allocate(file: &OpenFile, mode: u32, offset: i64, len: i64) -> Result<()> {
    if offset < 0 || len <= 0 {
        return Err(Errno::INVAL);
    }
    let known = sys::FALLOC_FL_KEEP_SIZE
        | sys::FALLOC_FL_PUNCH_HOLE
        | sys::FALLOC_FL_COLLAPSE_RANGE
        | sys::FALLOC_FL_ZERO_RANGE
        | sys::FALLOC_FL_INSERT_RANGE
        | sys::FALLOC_FL_UNSHARE_RANGE;
    let has = |flag| mode & flag != 0;
    if mode & !known != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    if has(sys::FALLOC_FL_PUNCH_HOLE) && (has(sys::FALLOC_FL_ZERO_RANGE) || !has(sys::FALLOC_FL_KEEP_SIZE)) {
        return Err(Errno::OPNOTSUPP);
    }
    let alone = [sys::FALLOC_FL_COLLAPSE_RANGE, sys::FALLOC_FL_INSERT_RANGE];
    if alone.into_iter().any(|flag| has(flag) && mode != flag) {
        return Err(Errno::INVAL);
    }
    if !file.flags().writable() {
        return Err(Errno::BADF);
    }
    match file.inode.file_type {
        FileType::Fifo => return Err(Errno::SPIPE),
        FileType::Directory => return Err(Errno::ISDIR),
        FileType::Regular | FileType::BlockDevice => {}
        _ => return Err(Errno::NODEV),
    }
    if offset.checked_add(len).is_none() {
        return Err(Errno::FBIG);
    }
    file.ops.allocate(file, mode, offset as u64, len as u64)?;
    inotify::file_event(file.path.dentry(), &file.inode, Mask::MODIFY);
    Ok(())
}

/// `readahead(2)` is for files with pages that were opened for reading.
pub fn require_pages(file: &OpenFile) -> Result<()> {
    if !file.flags().readable() {
        return Err(Errno::BADF);
    }
    let has_pages = matches!(file.inode.file_type, FileType::Regular | FileType::BlockDevice);
    if has_pages { Ok(()) } else { Err(Errno::INVAL) }
}

/// The caller's limit on descriptors.
pub fn descriptor_limit() -> u64 {
    current().process.limit(sys::RLIMIT_NOFILE)
}

/// Gives an open file the lowest free descriptor of the caller.
pub fn install(file: Arc<OpenFile>, close_on_exec: bool) -> Result<u64> {
    let fd = current().files().insert(file, close_on_exec, 0, descriptor_limit())?;
    Ok(fd as u64)
}

/// `dup(2)` and `F_DUPFD`: another descriptor, from `minimum` on.
pub fn duplicate(fd: i32, minimum: i32, close_on_exec: bool) -> Result<u64> {
    let files = current().files();
    let file = files.get(fd)?;
    files.insert(file, close_on_exec, minimum, descriptor_limit()).map(|fd| fd as u64)
}

/// `dup2(2)` between different numbers: what was at `new` is closed.
pub fn duplicate_to(old: i32, new: i32, close_on_exec: bool) -> Result<u64> {
    let files = current().files();
    let file = files.get(old)?;
    let replaced = files.replace(new, file, close_on_exec, descriptor_limit())?;
    if let Some(replaced) = replaced {
        crate::fs::lock::close_descriptor(&replaced.inode, &files);
        // dup2(2) tells nobody of errors that closing brings up.
        let _ = replaced.descriptor_closed();
    }
    Ok(new as u64)
}

/// `close_range(2)`.
pub fn close_range(first: u32, last: u32, unshare: bool, set_close_on_exec: bool) -> Result<()> {
    let thread = current();
    if unshare {
        let own = thread.files().duplicate()?;
        drop(thread.replace_files(Some(own)));
    }
    let files = thread.files();
    let range = files.open_numbers().into_iter().filter(|&fd| (first..=last).contains(&(fd as u32)));
    for fd in range {
        // Another thread may have closed it meanwhile.
        let _ = if set_close_on_exec { files.set_close_on_exec(fd, true) } else { files.close(fd) };
    }
    Ok(())
}
