//! The system calls of a walk, raw: what is compared is the kernel's answer, so no library may stand between.

use std::ffi::{CString, c_int, c_long};

/// The errno of a call, 0 when it worked.
pub(crate) type Answer = i32;

pub(crate) fn answer(result: c_long) -> Result<c_long, Answer> {
    if result < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) } else { Ok(result) }
}

fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// The layout of `struct mount_attr` (`mount_setattr(2)`).
#[repr(C)]
#[derive(Default)]
pub(crate) struct MountAttributes {
    pub set: u64,
    pub clear: u64,
    pub propagation: u64,
    pub user_namespace_fd: u64,
}

pub(crate) fn mount(source: Option<&str>, target: &str, kind: Option<&str>, flags: u64) -> Result<c_long, Answer> {
    let (source, target, kind) = (source.map(c_string), c_string(target), kind.map(c_string));
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: all strings end in NUL and outlive the call; no data is passed.
    answer(unsafe { c_long::from(libc::mount(pointer(&source), target.as_ptr(), pointer(&kind), flags, std::ptr::null())) })
}

pub(crate) fn umount(target: &str, flags: c_int) -> Result<c_long, Answer> {
    let target = c_string(target);
    // SAFETY: the string ends in NUL and outlives the call.
    answer(unsafe { c_long::from(libc::umount2(target.as_ptr(), flags)) })
}

pub(crate) fn pivot_root(new_root: &str, put_old: &str) -> Result<c_long, Answer> {
    let (new_root, put_old) = (c_string(new_root), c_string(put_old));
    // SAFETY: both strings end in NUL and outlive the call.
    answer(unsafe { libc::syscall(libc::SYS_pivot_root, new_root.as_ptr(), put_old.as_ptr()) })
}

/// `open_tree(2)`; the descriptor.
pub(crate) fn open_tree(path: &str, flags: u32) -> Result<c_long, Answer> {
    let path = c_string(path);
    // SAFETY: the string ends in NUL and outlives the call.
    answer(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// `move_mount(2)`.
pub(crate) fn move_mount(from_fd: c_int, from: &str, to: &str, flags: u32) -> Result<c_long, Answer> {
    let (from, to) = (c_string(from), c_string(to));
    // SAFETY: both strings end in NUL and outlive the call.
    answer(unsafe { libc::syscall(libc::SYS_move_mount, from_fd, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) })
}

/// `mount_setattr(2)`.
pub(crate) fn mount_setattr(path: &str, flags: c_int, attributes: &MountAttributes) -> Result<c_long, Answer> {
    let path = c_string(path);
    let size = size_of::<MountAttributes>();
    // SAFETY: the string and the structure outlive the call, and the size is the structure's.
    answer(unsafe { libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, path.as_ptr(), flags, attributes, size) })
}

/// `open(2)` with O_PATH; the descriptor.
pub(crate) fn open_path(path: &str) -> Result<c_long, Answer> {
    let path = c_string(path);
    // SAFETY: the string ends in NUL and outlives the call.
    answer(unsafe { c_long::from(libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC)) })
}

/// `openat(2)` for reading; the descriptor.
pub(crate) fn open_at(directory: c_int, path: &str) -> Result<c_long, Answer> {
    let path = c_string(path);
    // SAFETY: the string ends in NUL and outlives the call.
    answer(unsafe { c_long::from(libc::openat(directory, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC)) })
}

pub(crate) fn close(fd: c_int) -> Result<c_long, Answer> {
    // SAFETY: closes a descriptor that this process opened itself and does not use again.
    answer(unsafe { c_long::from(libc::close(fd)) })
}

pub(crate) fn change_directory(path: &str) -> Result<c_long, Answer> {
    let path = c_string(path);
    // SAFETY: the string ends in NUL and outlives the call.
    answer(unsafe { c_long::from(libc::chdir(path.as_ptr())) })
}

pub(crate) fn change_root(path: &str) -> Result<c_long, Answer> {
    let path = c_string(path);
    // SAFETY: the string ends in NUL and outlives the call.
    answer(unsafe { c_long::from(libc::chroot(path.as_ptr())) })
}

pub(crate) fn make_directory(path: &str) -> Result<c_long, Answer> {
    let path = c_string(path);
    // SAFETY: the string ends in NUL and outlives the call.
    answer(unsafe { c_long::from(libc::mkdir(path.as_ptr(), 0o755)) })
}

pub(crate) fn remove_directory(path: &str) -> Result<c_long, Answer> {
    let path = c_string(path);
    // SAFETY: the string ends in NUL and outlives the call.
    answer(unsafe { c_long::from(libc::rmdir(path.as_ptr())) })
}

pub(crate) fn rename(from: &str, to: &str) -> Result<c_long, Answer> {
    let (from, to) = (c_string(from), c_string(to));
    // SAFETY: both strings end in NUL and outlive the call.
    answer(unsafe { c_long::from(libc::rename(from.as_ptr(), to.as_ptr())) })
}

pub(crate) fn unshare(flags: c_int) -> Result<c_long, Answer> {
    // SAFETY: changes only what the caller sees of the system; the process has one thread.
    answer(unsafe { c_long::from(libc::unshare(flags)) })
}

pub(crate) fn set_namespace(fd: c_int, kind: c_int) -> Result<c_long, Answer> {
    // SAFETY: as for `unshare`.
    answer(unsafe { c_long::from(libc::setns(fd, kind)) })
}

/// A child of the caller's own parent (`CLONE_PARENT`): 0 in the child, its pid in the caller.
pub(crate) fn fork_sibling() -> Result<c_long, Answer> {
    // SAFETY: without CLONE_VM this is fork(2); the process has one thread, so the child may go on with everything.
    answer(unsafe { libc::syscall(libc::SYS_clone, c_long::from(libc::CLONE_PARENT | libc::SIGCHLD), 0, 0, 0, 0) })
}

/// `stx_mnt_id` of what a path leads to (`statx(2)`).
pub(crate) fn mount_number(path: &str) -> Result<u64, Answer> {
    /// `STATX_MNT_ID`.
    const MOUNT_ID: libc::c_uint = 0x1000;
    let path = c_string(path);
    // SAFETY: plain data, for which zeros are a value.
    let mut buffer: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the string ends in NUL, the buffer is the call's structure.
    answer(unsafe { c_long::from(libc::statx(libc::AT_FDCWD, path.as_ptr(), 0, MOUNT_ID, &raw mut buffer)) })?;
    Ok(buffer.stx_mnt_id)
}
