//! System calls: mount, umount2, pivot_root.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::mount::{self, MountCall};
use crate::mm::PAGE_SIZE_BYTES;
use crate::mm::user::{self, read_c_string, read_path};
use alloc::{vec, vec::Vec};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_mount, "mount", mount_call),
    Entry(sys::__NR_umount2, "umount2", umount2),
    Entry(sys::__NR_pivot_root, "pivot_root", pivot_root),
];

/// A string that may be NULL; at most 4095 characters, else `EINVAL` (rule F2).
fn optional_string(address: u64) -> Result<Option<Vec<u8>>> {
    if address == 0 { Ok(None) } else { read_c_string(address, PAGE_SIZE_BYTES, Errno::INVAL).map(Some) }
}

/// The data of `mount(2)`: up to a page, cut where memory ends, and at its first NUL (F2).
fn read_data(address: u64) -> Result<Vec<u8>> {
    if address == 0 {
        return Ok(Vec::new());
    }
    let mut data = vec![0; PAGE_SIZE_BYTES];
    let read = user::read_bytes_partial(address, &mut data);
    if read == 0 {
        return Err(Errno::FAULT);
    }
    let kept = data[..read.min(PAGE_SIZE_BYTES - 1)].iter().position(|&byte| byte == 0).unwrap_or(read.min(PAGE_SIZE_BYTES - 1));
    data.truncate(kept);
    Ok(data)
}

/// Rule F1: the type, the source and the data are copied before the target is looked up.
fn mount_call(arguments: &Arguments) -> Result<u64> {
    let file_system = optional_string(arguments[2])?;
    let source = optional_string(arguments[0])?;
    let data = read_data(arguments[4])?;
    let target = read_path(arguments[1])?;
    mount::mount(&MountCall { source, target, file_system, flags: arguments[3], data }).map(|()| 0)
}

fn umount2(arguments: &Arguments) -> Result<u64> {
    // U1: unknown flags come before the name.
    mount::check_umount_flags(arguments[1] as u32)?;
    mount::umount(&read_path(arguments[0])?, arguments[1] as u32).map(|()| 0)
}

/// R1: privilege comes before the names.
fn pivot_root(arguments: &Arguments) -> Result<u64> {
    mount::require_admin("pivot_root")?;
    mount::pivot_root(&read_path(arguments[0])?, &read_path(arguments[1])?).map(|()| 0)
}
