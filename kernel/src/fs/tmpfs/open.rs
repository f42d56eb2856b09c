//! Open files and directories of tmpfs.

use super::directory::{END_OFFSET, FIRST_OFFSET};
use super::file::Content;
use super::node::Node;
use crate::errno::{Errno, Result};
use crate::fs::{FileOps, FileType, OpenFile, OpenFlags, attributes, file};
use crate::mm::IoBuffer;
use alloc::sync::Arc;
use linux_raw_sys::general as sys;

/// An open regular file.
pub struct RegularFile {
    /// What it holds.
    pub content: Arc<Content>,
}

impl RegularFile {
    fn check_seals(&self, end: u64) -> Result<()> {
        let seals = self.content.seals();
        let frozen = seals & (sys::F_SEAL_WRITE | sys::F_SEAL_FUTURE_WRITE) != 0;
        let grows = seals & sys::F_SEAL_GROW != 0 && end > self.content.len();
        if frozen || grows { Err(Errno::PERM) } else { Ok(()) }
    }
}

impl FileOps for RegularFile {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        let count = self.content.read(buffer, offset)?;
        attributes::touch_accessed_by(file);
        Ok(count)
    }

    fn write(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: &mut u64) -> Result<usize> {
        let _changes = file.inode.lock.lock();
        if file.flags().contains(OpenFlags::APPEND) {
            *offset = self.content.len();
        }
        let allowed_bytes = file::writable_len(*offset, buffer.remaining())?;
        if allowed_bytes == 0 {
            return Ok(0);
        }
        self.check_seals(offset.saturating_add(allowed_bytes as u64))?;
        attributes::before_write(file)?;
        self.content.write(buffer, *offset, allowed_bytes)
    }

    fn seek(&self, _file: &OpenFile, _position: u64, offset: i64, whence: u32) -> Option<Result<u64>> {
        if whence != sys::SEEK_DATA && whence != sys::SEEK_HOLE {
            return None;
        }
        let found = u64::try_from(offset).ok().and_then(|offset| self.content.seek(offset, whence == sys::SEEK_DATA));
        Some(found.ok_or(Errno::NXIO))
    }

    fn sync(&self, _file: &OpenFile, _data_only: bool) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, file: &OpenFile, mode: u32, offset: u64, len_bytes: u64) -> Result<()> {
        if mode & !(sys::FALLOC_FL_KEEP_SIZE | sys::FALLOC_FL_PUNCH_HOLE) != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let _changes = file.inode.lock.lock();
        let end = offset.checked_add(len_bytes).ok_or(Errno::FBIG)?;
        if mode & sys::FALLOC_FL_PUNCH_HOLE != 0 {
            if self.content.seals() & (sys::F_SEAL_WRITE | sys::F_SEAL_FUTURE_WRITE) != 0 {
                return Err(Errno::PERM);
            }
            self.content.punch_hole(&file.inode, offset, end);
            attributes::note_modified(&file.inode);
            return Ok(());
        }
        let keeps_size = mode & sys::FALLOC_FL_KEEP_SIZE != 0;
        file::writable_len(end - 1, 1)?;
        if self.content.seals() & sys::F_SEAL_GROW != 0 && end > self.content.len() {
            return Err(Errno::PERM);
        }
        self.content.allocate(offset, end)?;
        if !keeps_size {
            self.content.grow_to(end);
        }
        attributes::note_modified(&file.inode);
        Ok(())
    }
}

/// Entries of a listing that are taken under one lock.
const LISTED_AT_ONCE: usize = 64;

/// An open directory.
pub struct DirectoryFile;

impl FileOps for DirectoryFile {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn seek(&self, _file: &OpenFile, position: u64, offset: i64, whence: u32) -> Option<Result<u64>> {
        Some(crate::fs::io::seek_directory(position, offset, whence))
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let node = file.inode.downcast::<Node>().ok_or(Errno::NOTDIR)?;
        let mut position = position;
        if position == 0 {
            if !emit(b".", file.inode.number, FileType::Directory, 1) {
                return Ok(position);
            }
            position = 1;
        }
        if position == 1 {
            let parent = file.path.dentry().parent().and_then(|parent| parent.inode());
            let number = parent.map_or(file.inode.number, |parent| parent.number);
            let newest = node.entries()?.lock().newest();
            if !emit(b"..", number, FileType::Directory, newest) {
                return Ok(position);
            }
            position = FIRST_OFFSET;
        }
        while position != END_OFFSET {
            let (listed, behind) = node.entries()?.lock().list(position, LISTED_AT_ONCE);
            let following = listed.iter().skip(1).map(|entry| entry.offset).chain([behind]);
            for (entry, next) in listed.iter().zip(following) {
                if !emit(&entry.name, entry.number, entry.file_type, next) {
                    return Ok(entry.offset);
                }
            }
            position = behind;
        }
        Ok(END_OFFSET)
    }

    fn sync(&self, _file: &OpenFile, _data_only: bool) -> Result<()> {
        Ok(())
    }
}
