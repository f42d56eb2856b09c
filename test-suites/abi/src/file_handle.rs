//! `name_to_handle_at(2)` and `open_by_handle_at(2)`.

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::world::c;
use crate::{Outcome, syscall};

/// Linux 6.5: a handle that only identifies.
pub const AT_HANDLE_FID: i32 = 0x200;

/// `struct file_handle` with all the room that there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Handle {
    /// How many bytes of `data` count; before the call, how many there is room for.
    pub bytes: u32,
    /// Who made it, and how.
    pub kind: i32,
    /// The handle.
    pub data: [u8; 128],
}

/// An empty handle that says it has room for so many bytes.
pub fn room(bytes: u32) -> Handle {
    Handle { bytes, kind: 0, data: [0; 128] }
}

/// `name_to_handle_at` with room for so many bytes: the outcome, the handle, and the mount's number.
pub fn handle_with(directory: i32, path: &str, flags: i32, bytes: u32) -> (Outcome, Handle, u64) {
    let mut handle = room(bytes);
    let mut mount = 0u64;
    let outcome = syscall!(SYS_name_to_handle_at, directory, c(path).as_c_str(), &raw mut handle, &raw mut mount, flags);
    (outcome, handle, mount)
}

/// `open_by_handle_at` on the mount of a descriptor.
pub fn open_handle(mount: i32, handle: &Handle, flags: i32) -> Outcome<File> {
    let fd = syscall!(SYS_open_by_handle_at, mount, &raw const *handle, flags)?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }.into())
}
