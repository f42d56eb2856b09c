//! System calls: reading directories, the working directory, root and umask.

use super::file_io::file;
use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::inotify::{self, Mask};
use crate::fs::permission::{self, Access};
use crate::fs::walk::{self, LookupFlags};
use crate::fs::{FileType, OpenFile, Path, attributes, mount};
use crate::mm::user::{self, read_path};
use crate::task::current;
use alloc::vec::Vec;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_getdents, "getdents", getdents),
    Entry(sys::__NR_getdents64, "getdents64", getdents64),
    Entry(sys::__NR_getcwd, "getcwd", getcwd),
    Entry(sys::__NR_chdir, "chdir", chdir),
    Entry(sys::__NR_fchdir, "fchdir", fchdir),
    Entry(sys::__NR_chroot, "chroot", chroot),
    Entry(sys::__NR_umask, "umask", umask),
];

/// Most bytes of entries that one call hands out: programs ask for 32 KiB.
const MAX_ENTRIES_BYTES: usize = 128 * 1024;

/// How an entry is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `struct linux_dirent`: the type is the last byte.
    Old,
    /// `struct linux_dirent64`: the type stands before the name.
    New,
}

impl Layout {
    /// Appends an entry. `false` if it does not fit into `room_bytes`.
    fn append(self, out: &mut Vec<u8>, room_bytes: usize, name: &[u8], inode: u64, kind: FileType, next: u64) -> bool {
        let start = out.len();
        // Inode, offset, length, type and NUL besides the name.
        let len = (8 + 8 + 2 + 1 + name.len() + 1).next_multiple_of(8);
        if room_bytes - start < len || out.try_reserve(len).is_err() {
            return false;
        }
        let kind = kind.directory_entry_type();
        out.extend_from_slice(&inode.to_ne_bytes());
        out.extend_from_slice(&next.to_ne_bytes());
        out.extend_from_slice(&(len as u16).to_ne_bytes());
        if self == Self::New {
            out.push(kind);
        }
        out.extend_from_slice(name);
        out.resize(start + len, 0);
        if self == Self::Old {
            out[start + len - 1] = kind;
        }
        true
    }
}

fn getdents(arguments: &Arguments) -> Result<u64> {
    read_entries(arguments, Layout::Old)
}

fn getdents64(arguments: &Arguments) -> Result<u64> {
    read_entries(arguments, Layout::New)
}

fn read_entries(arguments: &Arguments, layout: Layout) -> Result<u64> {
    let file = file(arguments[0])?;
    if file.inode.file_type != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    if file.path.dentry().is_unhashed() {
        return Err(Errno::NOENT);
    }
    let room_bytes = usize::try_from(arguments[2] as i32).unwrap_or(0).min(MAX_ENTRIES_BYTES);
    let mut position = file.position.lock();
    let (entries, next) = collect(&file, *position, room_bytes, layout)?;
    user::write_bytes(arguments[1], &entries)?;
    *position = next;
    attributes::touch_accessed_by(&file);
    inotify::file_event(file.path.dentry(), &file.inode, Mask::ACCESS);
    Ok(entries.len() as u64)
}

/// Entries from `position` on, and the position behind them. `EINVAL` if there is one and it does not fit.
fn collect(file: &OpenFile, position: u64, room_bytes: usize, layout: Layout) -> Result<(Vec<u8>, u64)> {
    let mut entries = Vec::new();
    let mut does_not_fit = false;
    let next = file.ops.read_directory(file, position, &mut |name, inode, kind, next| {
        let fits = layout.append(&mut entries, room_bytes, name, inode, kind, next);
        does_not_fit |= !fits;
        fits
    })?;
    if entries.is_empty() && does_not_fit { Err(Errno::INVAL) } else { Ok((entries, next)) }
}

fn getcwd(arguments: &Arguments) -> Result<u64> {
    let fs = current().fs();
    let (root, directory) = (fs.root(), fs.working_directory());
    if directory.dentry().is_unlinked() {
        return Err(Errno::NOENT);
    }
    let (mut text, reachable) = mount::path_text(&directory, &root)?;
    if !reachable {
        text.splice(0..0, *b"(unreachable)");
    }
    text.push(0);
    if (text.len() as u64) > arguments[1] {
        return Err(Errno::RANGE);
    }
    user::write_bytes(arguments[0], &text)?;
    Ok(text.len() as u64)
}

/// Makes a directory that the caller may search the working directory.
fn enter(place: Path) -> Result<u64> {
    let inode = place.inode().ok_or(Errno::NOENT)?;
    let thread = current();
    permission::check(&inode, &thread.credentials(), Access::EXECUTE | Access::ASKING)?;
    thread.fs().set_working_directory(place);
    Ok(0)
}

fn chdir(arguments: &Arguments) -> Result<u64> {
    enter(walk::lookup(sys::AT_FDCWD, &read_path(arguments[0])?, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?)
}

fn fchdir(arguments: &Arguments) -> Result<u64> {
    let place = current().files().get(arguments[0] as i32)?.path.clone();
    if !place.dentry().is_directory() {
        return Err(Errno::NOTDIR);
    }
    enter(place)
}

fn chroot(arguments: &Arguments) -> Result<u64> {
    mount::change_root(&read_path(arguments[0])?).map(|()| 0)
}

fn umask(arguments: &Arguments) -> Result<u64> {
    Ok(u64::from(current().fs().set_umask(arguments[0] as u32)))
}
