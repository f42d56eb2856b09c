//! System calls: open, make, link, rename and remove files by name.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::open::{self, OpenHow, PATH_FLAGS};
use crate::fs::walk::{LookupFlags, Resolve};
use crate::fs::{FileType, OpenFlags, attributes, io, names, walk};
use crate::mm::UserPointer;
use crate::mm::user::{self, read_path};
use crate::task::{Capabilities, current};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_open, "open", open),
    Entry(sys::__NR_openat, "openat", openat),
    Entry(sys::__NR_openat2, "openat2", openat2),
    Entry(sys::__NR_creat, "creat", creat),
    Entry(sys::__NR_mknod, "mknod", mknod),
    Entry(sys::__NR_mknodat, "mknodat", mknodat),
    Entry(sys::__NR_mkdir, "mkdir", mkdir),
    Entry(sys::__NR_mkdirat, "mkdirat", mkdirat),
    Entry(sys::__NR_rmdir, "rmdir", rmdir),
    Entry(sys::__NR_unlink, "unlink", unlink),
    Entry(sys::__NR_unlinkat, "unlinkat", unlinkat),
    Entry(sys::__NR_link, "link", link),
    Entry(sys::__NR_linkat, "linkat", linkat),
    Entry(sys::__NR_symlink, "symlink", symlink),
    Entry(sys::__NR_symlinkat, "symlinkat", symlinkat),
    Entry(sys::__NR_readlink, "readlink", readlink),
    Entry(sys::__NR_readlinkat, "readlinkat", readlinkat),
    Entry(sys::__NR_rename, "rename", rename),
    Entry(sys::__NR_renameat, "renameat", renameat),
    Entry(sys::__NR_renameat2, "renameat2", renameat2),
];

/// Bytes of `struct open_how` as Linux 5.6 had it.
const OPEN_HOW_BYTES: u64 = 24;

fn open_and_install(directory_fd: i32, name: u64, how: OpenHow) -> Result<u64> {
    let name = read_path(name)?;
    current().files().require_room(io::descriptor_limit())?;
    let file = open::open(directory_fd, &name, how)?;
    io::install(file, how.flags.contains(OpenFlags::CLOEXEC))
}

fn open(arguments: &Arguments) -> Result<u64> {
    let how = OpenHow::from_open(arguments[1] as u32, arguments[2] as u32);
    open_and_install(sys::AT_FDCWD, arguments[0], how)
}

fn openat(arguments: &Arguments) -> Result<u64> {
    let how = OpenHow::from_open(arguments[2] as u32, arguments[3] as u32);
    open_and_install(arguments[0] as i32, arguments[1], how)
}

fn creat(arguments: &Arguments) -> Result<u64> {
    let how = OpenHow::from_open(sys::O_CREAT | sys::O_WRONLY | sys::O_TRUNC, arguments[1] as u32);
    open_and_install(sys::AT_FDCWD, arguments[0], how)
}

/// `openat2(2)` refuses what the older calls ignore.
fn openat2(arguments: &Arguments) -> Result<u64> {
    let [flags, mode, resolve] = read_open_how(arguments[2], arguments[3])?;
    let flags = u32::try_from(flags).ok().and_then(OpenFlags::from_bits).ok_or(Errno::INVAL)?;
    let resolve =
        Resolve::from_bits(resolve).filter(|resolve| !resolve.contains(Resolve::BENEATH | Resolve::IN_ROOT)).ok_or(Errno::INVAL)?;
    let makes_file = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE);
    let mode_fits = if makes_file { mode & !0o7777 == 0 } else { mode == 0 };
    let path_fits = !flags.contains(OpenFlags::PATH) || PATH_FLAGS.contains(flags);
    if !mode_fits || !path_fits {
        return Err(Errno::INVAL);
    }
    let flags = if flags.contains(OpenFlags::PATH) { flags } else { flags | OpenFlags::LARGEFILE };
    open_and_install(arguments[0] as i32, arguments[1], OpenHow { flags, mode: mode as u32, resolve })
}

/// `EINVAL` for a structure that is too short, `E2BIG` for one that is longer than a page or says something in the part that is not known.
fn read_open_how(address: u64, size_bytes: u64) -> Result<[u64; 3]> {
    if size_bytes < OPEN_HOW_BYTES {
        return Err(Errno::INVAL);
    }
    super::require_zeros_beyond(address, OPEN_HOW_BYTES, size_bytes)?;
    UserPointer::<[u64; 3]>::new(address).read()
}

/// Devices come as a 32-bit number: minor 0–7, major 8–19, upper minor 20–31.
fn device(argument: u64) -> u64 {
    u64::from(argument as u32)
}

fn mknod(arguments: &Arguments) -> Result<u64> {
    names::make_node(sys::AT_FDCWD, &read_path(arguments[0])?, arguments[1] as u32, device(arguments[2])).map(|()| 0)
}

fn mknodat(arguments: &Arguments) -> Result<u64> {
    names::make_node(arguments[0] as i32, &read_path(arguments[1])?, arguments[2] as u32, device(arguments[3])).map(|()| 0)
}

fn mkdir(arguments: &Arguments) -> Result<u64> {
    names::make_directory(sys::AT_FDCWD, &read_path(arguments[0])?, arguments[1] as u32).map(|()| 0)
}

fn mkdirat(arguments: &Arguments) -> Result<u64> {
    names::make_directory(arguments[0] as i32, &read_path(arguments[1])?, arguments[2] as u32).map(|()| 0)
}

fn rmdir(arguments: &Arguments) -> Result<u64> {
    names::remove_directory(sys::AT_FDCWD, &read_path(arguments[0])?).map(|()| 0)
}

fn unlink(arguments: &Arguments) -> Result<u64> {
    names::unlink(sys::AT_FDCWD, &read_path(arguments[0])?).map(|()| 0)
}

fn unlinkat(arguments: &Arguments) -> Result<u64> {
    let flags = arguments[2] as u32;
    if flags & !sys::AT_REMOVEDIR != 0 {
        return Err(Errno::INVAL);
    }
    let (directory_fd, name) = (arguments[0] as i32, read_path(arguments[1])?);
    if flags & sys::AT_REMOVEDIR != 0 {
        names::remove_directory(directory_fd, &name).map(|()| 0)
    } else {
        names::unlink(directory_fd, &name).map(|()| 0)
    }
}

fn link(arguments: &Arguments) -> Result<u64> {
    let (old, new) = (read_path(arguments[0])?, read_path(arguments[1])?);
    names::link(sys::AT_FDCWD, &old, sys::AT_FDCWD, &new, LookupFlags::empty()).map(|()| 0)
}

fn linkat(arguments: &Arguments) -> Result<u64> {
    let flags = arguments[4] as u32;
    if flags & !(sys::AT_SYMLINK_FOLLOW | sys::AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    let mut lookup = LookupFlags::empty();
    // Only the mighty may name a file by its descriptor alone (open(2), O_TMPFILE).
    if flags & sys::AT_EMPTY_PATH != 0 && current().credentials().capable(Capabilities::DAC_READ_SEARCH) {
        lookup |= LookupFlags::EMPTY_PATH;
    }
    lookup.set(LookupFlags::FOLLOW, flags & sys::AT_SYMLINK_FOLLOW != 0);
    let (old, new) = (read_path(arguments[1])?, read_path(arguments[3])?);
    names::link(arguments[0] as i32, &old, arguments[2] as i32, &new, lookup).map(|()| 0)
}

fn symlink(arguments: &Arguments) -> Result<u64> {
    let (target, name) = (read_path(arguments[0])?, read_path(arguments[1])?);
    names::make_symlink(&target, sys::AT_FDCWD, &name).map(|()| 0)
}

fn symlinkat(arguments: &Arguments) -> Result<u64> {
    let (target, name) = (read_path(arguments[0])?, read_path(arguments[2])?);
    names::make_symlink(&target, arguments[1] as i32, &name).map(|()| 0)
}

fn readlink(arguments: &Arguments) -> Result<u64> {
    read_link(sys::AT_FDCWD, arguments[0], arguments[1], arguments[2])
}

fn readlinkat(arguments: &Arguments) -> Result<u64> {
    read_link(arguments[0] as i32, arguments[1], arguments[2], arguments[3])
}

fn read_link(directory_fd: i32, name: u64, buffer: u64, size_bytes: u64) -> Result<u64> {
    let size = usize::try_from(size_bytes as i32).ok().filter(|&size| size > 0).ok_or(Errno::INVAL)?;
    let name = read_path(name)?;
    let place = walk::lookup(directory_fd, &name, LookupFlags::EMPTY_PATH)?;
    let inode = place.inode().ok_or(Errno::NOENT)?;
    // A descriptor of something else than a link, named by nothing, is as if it were not there.
    let not_a_link = if name.is_empty() { Errno::NOENT } else { Errno::INVAL };
    // Not a question for the file system: the server of a FUSE mount answers it as it likes.
    if inode.file_type != FileType::Symlink {
        return Err(not_a_link);
    }
    let target = inode.ops.read_link(&inode)?;
    attributes::touch_accessed(&place, &inode);
    let shown = &target[..target.len().min(size)];
    user::write_bytes(buffer, shown)?;
    Ok(shown.len() as u64)
}

fn rename(arguments: &Arguments) -> Result<u64> {
    let (old, new) = (read_path(arguments[0])?, read_path(arguments[1])?);
    names::rename(sys::AT_FDCWD, &old, sys::AT_FDCWD, &new, 0).map(|()| 0)
}

fn renameat(arguments: &Arguments) -> Result<u64> {
    let (old, new) = (read_path(arguments[1])?, read_path(arguments[3])?);
    names::rename(arguments[0] as i32, &old, arguments[2] as i32, &new, 0).map(|()| 0)
}

fn renameat2(arguments: &Arguments) -> Result<u64> {
    let flags = arguments[4] as u32;
    let (old, new) = (read_path(arguments[1])?, read_path(arguments[3])?);
    if flags & !(sys::RENAME_NOREPLACE | sys::RENAME_EXCHANGE | sys::RENAME_WHITEOUT) != 0 {
        return Err(Errno::INVAL);
    }
    names::rename(arguments[0] as i32, &old, arguments[2] as i32, &new, flags).map(|()| 0)
}
