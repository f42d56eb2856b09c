//! System calls: read, write, seek, sync, dup, close. (`fcntl` and `ioctl` are in `file_control`.)

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::io::{self, Transfer};
use crate::fs::{OpenFile, attributes, fuse, walk};
use crate::mm::user::UserPointer;
use crate::task::current;
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_read, "read", read),
    Entry(sys::__NR_write, "write", write),
    Entry(sys::__NR_pread64, "pread64", pread),
    Entry(sys::__NR_pwrite64, "pwrite64", pwrite),
    Entry(sys::__NR_readv, "readv", readv),
    Entry(sys::__NR_writev, "writev", writev),
    Entry(sys::__NR_preadv, "preadv", preadv),
    Entry(sys::__NR_pwritev, "pwritev", pwritev),
    Entry(sys::__NR_preadv2, "preadv2", preadv2),
    Entry(sys::__NR_pwritev2, "pwritev2", pwritev2),
    Entry(sys::__NR_lseek, "lseek", lseek),
    Entry(sys::__NR_close, "close", close),
    Entry(sys::__NR_close_range, "close_range", close_range),
    Entry(sys::__NR_dup, "dup", dup),
    Entry(sys::__NR_dup2, "dup2", dup2),
    Entry(sys::__NR_dup3, "dup3", dup3),
    Entry(sys::__NR_fsync, "fsync", fsync),
    Entry(sys::__NR_fdatasync, "fdatasync", fdatasync),
    Entry(sys::__NR_sync, "sync", sync_all),
    Entry(sys::__NR_syncfs, "syncfs", syncfs),
    Entry(sys::__NR_sync_file_range, "sync_file_range", sync_file_range),
    Entry(sys::__NR_readahead, "readahead", readahead),
    Entry(sys::__NR_fadvise64, "fadvise64", fadvise),
    Entry(sys::__NR_truncate, "truncate", truncate),
    Entry(sys::__NR_ftruncate, "ftruncate", ftruncate),
    Entry(sys::__NR_fallocate, "fallocate", fallocate),
];

/// `close_range(2)`'s flags (`linux/close_range.h`).
const CLOSE_RANGE_UNSHARE: u32 = 1 << 1;
const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;

/// The open file of a descriptor; `EBADF` also for `O_PATH` ones.
pub(super) fn file(fd: u64) -> Result<Arc<OpenFile>> {
    let file = current().files().get(fd as i32)?;
    if file.is_path_only() { Err(Errno::BADF) } else { Ok(file) }
}

/// The `iovec`s of a call: at most `UIO_MAXIOV`, `EINVAL` for a negative length.
fn segments(address: u64, count: u64) -> Result<Vec<(u64, usize)>> {
    let count = usize::try_from(count).ok().filter(|&count| count <= sys::UIO_MAXIOV as usize).ok_or(Errno::INVAL)?;
    let raw = UserPointer::<[u64; 2]>::new(address).read_vec(count)?;
    io::bounded_segments(raw)
}

fn one_segment(arguments: &Arguments) -> Result<Vec<(u64, usize)>> {
    io::bounded_segments(Vec::from([[arguments[1], arguments[2]]]))
}

fn read(arguments: &Arguments) -> Result<u64> {
    let file = file(arguments[0])?;
    io::read(&file, &one_segment(arguments)?, Transfer::AtPosition, 0)
}

fn write(arguments: &Arguments) -> Result<u64> {
    let file = file(arguments[0])?;
    io::write(&file, &one_segment(arguments)?, Transfer::AtPosition, 0)
}

fn pread(arguments: &Arguments) -> Result<u64> {
    let at = Transfer::at(arguments[3] as i64)?;
    let file = file(arguments[0])?;
    io::read(&file, &one_segment(arguments)?, at, 0)
}

fn pwrite(arguments: &Arguments) -> Result<u64> {
    let at = Transfer::at(arguments[3] as i64)?;
    let file = file(arguments[0])?;
    io::write(&file, &one_segment(arguments)?, at, 0)
}

fn readv(arguments: &Arguments) -> Result<u64> {
    let file = file(arguments[0])?;
    io::read(&file, &segments(arguments[1], arguments[2])?, Transfer::AtPosition, 0)
}

fn writev(arguments: &Arguments) -> Result<u64> {
    let file = file(arguments[0])?;
    io::write(&file, &segments(arguments[1], arguments[2])?, Transfer::AtPosition, 0)
}

fn preadv(arguments: &Arguments) -> Result<u64> {
    let at = Transfer::at(arguments[3] as i64)?;
    let file = file(arguments[0])?;
    io::read(&file, &segments(arguments[1], arguments[2])?, at, 0)
}

fn pwritev(arguments: &Arguments) -> Result<u64> {
    let at = Transfer::at(arguments[3] as i64)?;
    let file = file(arguments[0])?;
    io::write(&file, &segments(arguments[1], arguments[2])?, at, 0)
}

/// An offset of -1 means the file's position.
fn offset_or_position(offset: u64) -> Result<Transfer> {
    if offset as i64 == -1 { Ok(Transfer::AtPosition) } else { Transfer::at(offset as i64) }
}

fn preadv2(arguments: &Arguments) -> Result<u64> {
    let at = offset_or_position(arguments[3])?;
    let file = file(arguments[0])?;
    io::read(&file, &segments(arguments[1], arguments[2])?, at, arguments[5] as u32)
}

fn pwritev2(arguments: &Arguments) -> Result<u64> {
    let at = offset_or_position(arguments[3])?;
    let file = file(arguments[0])?;
    io::write(&file, &segments(arguments[1], arguments[2])?, at, arguments[5] as u32)
}

fn lseek(arguments: &Arguments) -> Result<u64> {
    io::seek(&*file(arguments[0])?, arguments[1] as i64, arguments[2] as u32)
}

fn close(arguments: &Arguments) -> Result<u64> {
    let result = current().files().close(arguments[0] as i32);
    // The descriptor is gone: a program that would call again might close another's (close(2), "Dealing with error returns").
    match result {
        Err(Errno::RESTARTSYS | Errno::RESTARTNOINTR | Errno::RESTARTNOHAND | Errno::RESTART_BLOCK) => Err(Errno::INTR),
        result => result.map(|()| 0),
    }
}

fn close_range(arguments: &Arguments) -> Result<u64> {
    let (first, last, flags) = (arguments[0] as u32, arguments[1] as u32, arguments[2] as u32);
    if flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 || first > last {
        return Err(Errno::INVAL);
    }
    io::close_range(first, last, flags & CLOSE_RANGE_UNSHARE != 0, flags & CLOSE_RANGE_CLOEXEC != 0).map(|()| 0)
}

fn dup(arguments: &Arguments) -> Result<u64> {
    io::duplicate(arguments[0] as i32, 0, false)
}

fn dup2(arguments: &Arguments) -> Result<u64> {
    let (old, new) = (arguments[0] as i32, arguments[1] as i32);
    if old == new {
        return current().files().get(old).map(|_| old as u64);
    }
    io::duplicate_to(old, new, false)
}

fn dup3(arguments: &Arguments) -> Result<u64> {
    let (old, new, flags) = (arguments[0] as i32, arguments[1] as i32, arguments[2] as u32);
    if flags & !sys::O_CLOEXEC != 0 || old == new {
        return Err(Errno::INVAL);
    }
    io::duplicate_to(old, new, flags & sys::O_CLOEXEC != 0)
}

fn fsync(arguments: &Arguments) -> Result<u64> {
    let file = file(arguments[0])?;
    file.ops.sync(&file, false).map(|()| 0)
}

fn fdatasync(arguments: &Arguments) -> Result<u64> {
    let file = file(arguments[0])?;
    file.ops.sync(&file, true).map(|()| 0)
}

fn syncfs(arguments: &Arguments) -> Result<u64> {
    let file = file(arguments[0])?;
    file.inode.superblock.ops.sync(&file.inode.superblock).map(|()| 0)
}

/// `sync(2)` cannot fail.
fn sync_all(_arguments: &Arguments) -> Result<u64> {
    fuse::sync_all();
    Ok(0)
}

fn sync_file_range(arguments: &Arguments) -> Result<u64> {
    let (offset, len) = (arguments[1] as i64, arguments[2] as i64);
    let file = file(arguments[0])?;
    let known = sys::SYNC_FILE_RANGE_WAIT_BEFORE | sys::SYNC_FILE_RANGE_WRITE | sys::SYNC_FILE_RANGE_WAIT_AFTER;
    let in_range = offset >= 0 && len >= 0 && offset.checked_add(len).is_some();
    if arguments[3] as u32 & !known != 0 || !in_range {
        return Err(Errno::INVAL);
    }
    if file.ops.seekable() { Ok(0) } else { Err(Errno::SPIPE) }
}

fn readahead(arguments: &Arguments) -> Result<u64> {
    let file = file(arguments[0])?;
    io::require_pages(&file).map(|()| 0)
}

fn fadvise(arguments: &Arguments) -> Result<u64> {
    let file = file(arguments[0])?;
    if !file.ops.seekable() {
        return Err(Errno::SPIPE);
    }
    let known = arguments[3] as u32 <= sys::POSIX_FADV_NOREUSE;
    if known && arguments[2] as i64 >= 0 { Ok(0) } else { Err(Errno::INVAL) }
}

fn truncate(arguments: &Arguments) -> Result<u64> {
    let len = u64::try_from(arguments[1] as i64).map_err(|_| Errno::INVAL)?;
    let name = crate::mm::user::read_path(arguments[0])?;
    let place = walk::lookup(sys::AT_FDCWD, &name, walk::LookupFlags::FOLLOW)?;
    attributes::truncate(&place, len).map(|()| 0)
}

fn ftruncate(arguments: &Arguments) -> Result<u64> {
    let len = u64::try_from(arguments[1] as i64).map_err(|_| Errno::INVAL)?;
    attributes::truncate_open(&*file(arguments[0])?, len).map(|()| 0)
}

fn fallocate(arguments: &Arguments) -> Result<u64> {
    let file = file(arguments[0])?;
    io::allocate(&file, arguments[1] as u32, arguments[2] as i64, arguments[3] as i64).map(|()| 0)
}
