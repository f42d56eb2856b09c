//! System calls: pipes, and moving bytes between files inside the kernel (splice, tee, vmsplice, sendfile, copy_file_range).

use super::socket::read_segments;
use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::splice::{self, At};
use crate::fs::{OpenFile, OpenFlags, internal, pipe};
use crate::mm::UserPointer;
use crate::task::current;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_pipe, "pipe", pipe),
    Entry(sys::__NR_pipe2, "pipe2", pipe2),
    Entry(sys::__NR_splice, "splice", splice),
    Entry(sys::__NR_tee, "tee", tee),
    Entry(sys::__NR_vmsplice, "vmsplice", vmsplice),
    Entry(sys::__NR_sendfile, "sendfile", sendfile),
    Entry(sys::__NR_copy_file_range, "copy_file_range", copy_file_range),
];

/// Bytes that one call moves at most (`read(2)`).
const TRANSFER_MAX_BYTES: u64 = 0x7fff_f000;
/// What `splice`, `tee` and `vmsplice` know (`splice(2)`).
const SPLICE_FLAGS: u64 = (sys::SPLICE_F_MOVE | sys::SPLICE_F_NONBLOCK | sys::SPLICE_F_MORE | sys::SPLICE_F_GIFT) as u64;

fn pipe(arguments: &Arguments) -> Result<u64> {
    make_pipe(arguments[0], OpenFlags::empty())
}

fn pipe2(arguments: &Arguments) -> Result<u64> {
    let allowed = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT;
    let flags = OpenFlags::from_bits(arguments[1] as u32).filter(|flags| allowed.contains(*flags)).ok_or(Errno::INVAL)?;
    make_pipe(arguments[0], flags)
}

fn make_pipe(descriptors: u64, flags: OpenFlags) -> Result<u64> {
    let (reader, writer) = pipe::create(flags.difference(OpenFlags::CLOEXEC))?;
    let (reader_fd, writer_fd) = internal::install_pair(reader, writer, flags.contains(OpenFlags::CLOEXEC))?;
    let written = UserPointer::<[i32; 2]>::new(descriptors).write([reader_fd, writer_fd]);
    if let Err(error) = written {
        // The program never learns the numbers.
        let files = current().files();
        drop((files.remove(reader_fd), files.remove(writer_fd)));
        return Err(error);
    }
    Ok(0)
}

/// An offset that the call takes from memory and leaves there, moved on; `None` is NULL.
struct OffsetArgument(Option<(UserPointer<i64>, u64)>);

impl OffsetArgument {
    /// `EINVAL` if it is negative.
    fn read(address: u64) -> Result<Self> {
        let Some(pointer) = UserPointer::<i64>::new(address).non_null() else { return Ok(Self(None)) };
        let offset = u64::try_from(pointer.read()?).map_err(|_| Errno::INVAL)?;
        Ok(Self(Some((pointer, offset))))
    }

    fn at(&self) -> At {
        self.0.as_ref().map_or(At::Position, |(_, offset)| At::Offset(*offset))
    }

    /// Tells the program where the call has come to.
    fn write(&self, at: At) -> Result<()> {
        match (&self.0, at) {
            (Some((pointer, _)), At::Offset(offset)) => pointer.write(offset as i64),
            _ => Ok(()),
        }
    }
}

fn length(len_bytes: u64) -> usize {
    len_bytes.min(TRANSFER_MAX_BYTES) as usize
}

/// `ESPIPE` for an offset into a pipe, `EINVAL` for one into another file without positions.
fn check_offset(file: &OpenFile, address: u64) -> Result<()> {
    match (address, pipe::of(file)) {
        (0, _) => Ok(()),
        (_, Some(_)) => Err(Errno::SPIPE),
        _ if !file.ops.seekable() => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

fn splice(arguments: &Arguments) -> Result<u64> {
    let [source_fd, source_offset, target_fd, target_offset, len_bytes, flags] = *arguments;
    if len_bytes == 0 {
        return Ok(0);
    }
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    let source = internal::file_of(source_fd as i32)?;
    let target = internal::file_of(target_fd as i32)?;
    check_offset(&source, source_offset)?;
    check_offset(&target, target_offset)?;
    let (from, to) = (OffsetArgument::read(source_offset)?, OffsetArgument::read(target_offset)?);
    let (mut from_at, mut to_at) = (from.at(), to.at());
    let nonblocking = flags & u64::from(sys::SPLICE_F_NONBLOCK) != 0;
    let moved = splice::splice(&source, &mut from_at, &target, &mut to_at, length(len_bytes), nonblocking)?;
    from.write(from_at)?;
    to.write(to_at)?;
    Ok(moved as u64)
}

fn tee(arguments: &Arguments) -> Result<u64> {
    let [source_fd, target_fd, len_bytes, flags, ..] = *arguments;
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    if len_bytes == 0 {
        return Ok(0);
    }
    let source = internal::file_of(source_fd as i32)?;
    let target = internal::file_of(target_fd as i32)?;
    let nonblocking = flags & u64::from(sys::SPLICE_F_NONBLOCK) != 0;
    splice::tee(&source, &target, length(len_bytes), nonblocking).map(|copied| copied as u64)
}

fn vmsplice(arguments: &Arguments) -> Result<u64> {
    let [fd, segments, count, flags, ..] = *arguments;
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    let file = internal::file_of(fd as i32)?;
    let segments = read_segments(segments, count).map_err(|error| if error == Errno::MSGSIZE { Errno::INVAL } else { error })?;
    let nonblocking = flags & u64::from(sys::SPLICE_F_NONBLOCK) != 0;
    splice::vmsplice(&file, &segments, nonblocking).map(|moved| moved as u64)
}

fn sendfile(arguments: &Arguments) -> Result<u64> {
    let [target_fd, source_fd, offset, len_bytes, ..] = *arguments;
    let start = OffsetArgument::read(offset)?;
    let source = internal::file_of(source_fd as i32)?;
    if !source.flags().readable() {
        return Err(Errno::BADF);
    }
    if offset != 0 && !source.ops.seekable() {
        return Err(Errno::SPIPE);
    }
    let target = internal::file_of(target_fd as i32)?;
    let mut at = start.at();
    let sent = splice::send_file(&target, &source, &mut at, length(len_bytes))?;
    start.write(at)?;
    Ok(sent as u64)
}

fn copy_file_range(arguments: &Arguments) -> Result<u64> {
    let [source_fd, source_offset, target_fd, target_offset, len_bytes, flags] = *arguments;
    let source = internal::file_of(source_fd as i32)?;
    let target = internal::file_of(target_fd as i32)?;
    let (from, to) = (OffsetArgument::read(source_offset)?, OffsetArgument::read(target_offset)?);
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    let (mut from_at, mut to_at) = (from.at(), to.at());
    let copied = splice::copy_file_range(&source, &mut from_at, &target, &mut to_at, length(len_bytes))?;
    from.write(from_at)?;
    to.write(to_at)?;
    Ok(copied as u64)
}
