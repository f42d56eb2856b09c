//! System calls: extended attributes.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::walk::{self, LookupFlags};
use crate::fs::{Path, xattr};
use crate::mm::user::{self, read_c_string, read_path};
use alloc::{vec, vec::Vec};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_setxattr, "setxattr", |a| set(&followed(a[0])?, a)),
    Entry(sys::__NR_lsetxattr, "lsetxattr", |a| set(&not_followed(a[0])?, a)),
    Entry(sys::__NR_fsetxattr, "fsetxattr", |a| set(&opened(a[0])?, a)),
    Entry(sys::__NR_getxattr, "getxattr", |a| get(&followed(a[0])?, a)),
    Entry(sys::__NR_lgetxattr, "lgetxattr", |a| get(&not_followed(a[0])?, a)),
    Entry(sys::__NR_fgetxattr, "fgetxattr", |a| get(&opened(a[0])?, a)),
    Entry(sys::__NR_listxattr, "listxattr", |a| list(&followed(a[0])?, a)),
    Entry(sys::__NR_llistxattr, "llistxattr", |a| list(&not_followed(a[0])?, a)),
    Entry(sys::__NR_flistxattr, "flistxattr", |a| list(&opened(a[0])?, a)),
    Entry(sys::__NR_removexattr, "removexattr", |a| remove(&followed(a[0])?, a)),
    Entry(sys::__NR_lremovexattr, "lremovexattr", |a| remove(&not_followed(a[0])?, a)),
    Entry(sys::__NR_fremovexattr, "fremovexattr", |a| remove(&opened(a[0])?, a)),
];

fn followed(name: u64) -> Result<Path> {
    walk::lookup(sys::AT_FDCWD, &read_path(name)?, LookupFlags::FOLLOW)
}

fn not_followed(name: u64) -> Result<Path> {
    walk::lookup(sys::AT_FDCWD, &read_path(name)?, LookupFlags::empty())
}

fn opened(fd: u64) -> Result<Path> {
    Ok(super::file_io::file(fd)?.path.clone())
}

/// An attribute's name: `ERANGE` if it is empty or too long.
fn read_name(address: u64) -> Result<Vec<u8>> {
    let name = read_c_string(address, xattr::NAME_MAX_BYTES + 1, Errno::RANGE)?;
    if name.is_empty() { Err(Errno::RANGE) } else { Ok(name) }
}

fn set(place: &Path, arguments: &Arguments) -> Result<u64> {
    let flags = arguments[4] as u32;
    if flags & !(sys::XATTR_CREATE | sys::XATTR_REPLACE) != 0 {
        return Err(Errno::INVAL);
    }
    let name = read_name(arguments[1])?;
    let len = usize::try_from(arguments[3]).ok().filter(|&len| len <= xattr::VALUE_MAX_BYTES).ok_or(Errno::TOOBIG)?;
    let mut value = vec![0; len];
    user::read_bytes(arguments[2], &mut value)?;
    xattr::set(place, &name, &value, flags).map(|()| 0)
}

fn get(place: &Path, arguments: &Arguments) -> Result<u64> {
    let name = read_name(arguments[1])?;
    let inode = place.inode().ok_or(Errno::NOENT)?;
    answer(&xattr::get(&inode, &name)?, arguments[2], arguments[3])
}

fn list(place: &Path, arguments: &Arguments) -> Result<u64> {
    let inode = place.inode().ok_or(Errno::NOENT)?;
    answer(&xattr::list(&inode)?, arguments[1], arguments[2])
}

fn remove(place: &Path, arguments: &Arguments) -> Result<u64> {
    xattr::remove(place, &read_name(arguments[1])?).map(|()| 0)
}

/// Stores an answer. A size of 0 asks for its length only; `ERANGE` if it does not fit.
fn answer(bytes: &[u8], address: u64, size_bytes: u64) -> Result<u64> {
    if size_bytes != 0 {
        if (bytes.len() as u64) > size_bytes {
            return Err(Errno::RANGE);
        }
        user::write_bytes(address, bytes)?;
    }
    Ok(bytes.len() as u64)
}
