//! System calls: file handles.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::handle::{self, FileHandle, INVALID_TYPE, MAX_HANDLE_BYTES};
use crate::fs::open::OpenHow;
use crate::fs::walk::{self, LookupFlags};
use crate::fs::{OpenFlags, Path, io, mount};
use crate::mm::UserPointer;
use crate::mm::user::{self, read_path};
use crate::task::current;
use alloc::vec;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_name_to_handle_at, "name_to_handle_at", name_to_handle_at),
    Entry(sys::__NR_open_by_handle_at, "open_by_handle_at", open_by_handle_at),
];

/// `handle_bytes` and `handle_type` in front of the handle (`struct file_handle`).
const HEADER_BYTES: u64 = 8;

fn name_to_handle_at(&[directory, name, structure, mount_id, flags, ..]: &Arguments) -> Result<u64> {
    let flags = flags as u32;
    let known = sys::AT_SYMLINK_FOLLOW | sys::AT_EMPTY_PATH | sys::AT_HANDLE_FID | sys::AT_HANDLE_MNT_ID_UNIQUE;
    if flags & !known != 0 {
        return Err(Errno::INVAL);
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & sys::AT_SYMLINK_FOLLOW != 0);
    lookup.set(LookupFlags::EMPTY_PATH, flags & sys::AT_EMPTY_PATH != 0);
    let place = walk::lookup(directory as i32, &read_path(name)?, lookup)?;
    let inode = place.inode().ok_or(Errno::NOENT)?;
    // A filesystem without handles says so before the caller's structure is looked at.
    let found = handle::encode(&inode, flags & sys::AT_HANDLE_FID != 0)?;
    let room = UserPointer::<u32>::new(structure).read()?;
    if room > MAX_HANDLE_BYTES {
        return Err(Errno::INVAL);
    }
    if flags & sys::AT_HANDLE_MNT_ID_UNIQUE != 0 {
        UserPointer::new(mount_id).write(mount::unique_id(place.mount()))?;
    } else {
        UserPointer::new(mount_id).write(mount::number(place.mount()))?;
    }
    write_handle(structure, room, &found)
}

/// `EOVERFLOW` where it does not fit, the needed size then told.
fn write_handle(structure: u64, room: u32, found: &FileHandle) -> Result<u64> {
    let needed = found.bytes.len() as u32;
    let header = UserPointer::<[i32; 2]>::new(structure);
    if needed > room & !3 {
        header.write([needed as i32, INVALID_TYPE])?;
        return Err(Errno::OVERFLOW);
    }
    header.write([needed as i32, found.handle_type])?;
    user::write_bytes(structure.wrapping_add(HEADER_BYTES), &found.bytes).map(|()| 0)
}

fn open_by_handle_at(&[mount_fd, structure, flags, ..]: &Arguments) -> Result<u64> {
    let root = mount_of(mount_fd)?;
    handle::may_decode()?;
    let [handle_bytes, handle_type] = UserPointer::<[u32; 2]>::new(structure).read()?;
    if handle_bytes == 0 || handle_bytes > MAX_HANDLE_BYTES {
        return Err(Errno::INVAL);
    }
    let mut bytes = vec![0; handle_bytes as usize];
    user::read_bytes(structure.wrapping_add(HEADER_BYTES), &mut bytes)?;
    let wanted = FileHandle { handle_type: handle_type as i32, bytes };
    let how = OpenHow::from_open(flags as u32, 0);
    current().files().require_room(io::descriptor_limit())?;
    let file = handle::open(&root, &wanted, how)?;
    io::install(file, how.flags.contains(OpenFlags::CLOEXEC))
}

/// Any place in the mount in which the handle is looked up.
fn mount_of(fd: u64) -> Result<Path> {
    if fd as i32 == sys::AT_FDCWD {
        return Ok(current().fs().working_directory());
    }
    Ok(super::file_io::file(fd)?.path.clone())
}
