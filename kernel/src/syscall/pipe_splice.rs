//! System calls: pipes, and moving bytes between files inside the kernel (splice, tee, vmsplice, sendfile, copy_file_range).

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::{OpenFlags, internal, pipe};
use crate::mm::UserPointer;
use crate::task::current;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[Entry(sys::__NR_pipe, "pipe", pipe), Entry(sys::__NR_pipe2, "pipe2", pipe2)];

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
