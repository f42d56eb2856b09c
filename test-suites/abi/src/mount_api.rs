//! Short forms of the descriptor-based mount calls, and the numbers of them that the C library does not name.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::world::c;
use crate::{Errno, Outcome};

/// The working directory, where a call takes a descriptor.
pub const HERE: i32 = libc::AT_FDCWD;
/// `OPEN_TREE_CLONE`.
pub const CLONE: u32 = 1;
/// `AT_RECURSIVE`.
pub const RECURSIVE: u32 = 0x8000;
/// `AT_EMPTY_PATH`.
pub const EMPTY_PATH: u32 = 0x1000;
/// `AT_SYMLINK_NOFOLLOW`.
pub const NO_FOLLOW: u32 = 0x100;
/// `MOVE_MOUNT_F_EMPTY_PATH`.
pub const FROM_EMPTY: u32 = 4;
/// `MOVE_MOUNT_T_EMPTY_PATH`.
pub const TO_EMPTY: u32 = 0x40;
/// `MOVE_MOUNT_SET_GROUP`.
pub const SET_GROUP: u32 = 0x100;
/// `MOVE_MOUNT_BENEATH`.
pub const BENEATH: u32 = 0x200;
/// `FSCONFIG_SET_FLAG`.
pub const SET_FLAG: u32 = 0;
/// `FSCONFIG_SET_STRING`.
pub const SET_STRING: u32 = 1;
/// `FSCONFIG_SET_BINARY`.
pub const SET_BINARY: u32 = 2;
/// `FSCONFIG_SET_PATH`.
pub const SET_PATH: u32 = 3;
/// `FSCONFIG_SET_FD`.
pub const SET_FD: u32 = 5;
/// `FSCONFIG_CMD_CREATE`.
pub const CREATE: u32 = 6;
/// `FSCONFIG_CMD_RECONFIGURE`.
pub const RECONFIGURE: u32 = 7;
/// `FSCONFIG_CMD_CREATE_EXCL`.
pub const CREATE_EXCL: u32 = 8;

fn owned(outcome: Outcome) -> Outcome<OwnedFd> {
    // SAFETY: the call has just given this descriptor, and nobody else knows it.
    outcome.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// `open_tree` from the working directory.
pub fn open_tree(path: &str, flags: u32) -> Outcome<OwnedFd> {
    owned(crate::syscall!(SYS_open_tree, HERE, c(path).as_c_str(), flags))
}

/// `move_mount` of a place by name to a place by name.
pub fn move_mount(from: &str, to: &str, flags: u32) -> Outcome {
    crate::syscall!(SYS_move_mount, HERE, c(from).as_c_str(), HERE, c(to).as_c_str(), flags)
}

/// Attaches the tree behind a descriptor.
pub fn attach(tree: &OwnedFd, to: &str) -> Outcome {
    crate::syscall!(SYS_move_mount, tree, c"", HERE, c(to).as_c_str(), FROM_EMPTY)
}

/// `fsopen`.
pub fn fsopen(kind: &str) -> Outcome<OwnedFd> {
    owned(crate::syscall!(SYS_fsopen, c(kind).as_c_str(), 0))
}

/// `fspick` from the working directory.
pub fn fspick(path: &str, flags: u32) -> Outcome<OwnedFd> {
    owned(crate::syscall!(SYS_fspick, HERE, c(path).as_c_str(), flags))
}

/// `fsconfig` with a key and a string.
pub fn set_string(context: &OwnedFd, key: &str, value: &str) -> Outcome {
    crate::syscall!(SYS_fsconfig, context, SET_STRING, c(key).as_c_str(), c(value).as_c_str(), 0)
}

/// `fsconfig` with a key alone.
pub fn set_flag(context: &OwnedFd, key: &str) -> Outcome {
    crate::syscall!(SYS_fsconfig, context, SET_FLAG, c(key).as_c_str(), 0usize, 0)
}

/// `fsconfig` with a command.
pub fn command(context: &OwnedFd, command: u32) -> Outcome {
    crate::syscall!(SYS_fsconfig, context, command, 0usize, 0usize, 0)
}

/// `fsmount`.
pub fn fsmount(context: &OwnedFd, attributes: u32) -> Outcome<OwnedFd> {
    owned(crate::syscall!(SYS_fsmount, context, 0, attributes))
}

/// A context for a tmpfs whose superblock has been made.
#[track_caller]
pub fn created_tmpfs(source: &str) -> OwnedFd {
    let context = fsopen("tmpfs").expect("fsopen");
    set_string(&context, "source", source).expect("source");
    command(&context, CREATE).expect("create");
    context
}

/// The next message of a context, with `room` bytes for it.
pub fn message(context: &OwnedFd, room: usize) -> Outcome<String> {
    let mut buffer = vec![0u8; room];
    let len = crate::syscall!(SYS_read, context, buffer.as_mut_ptr(), room)?;
    buffer.truncate(len);
    String::from_utf8(buffer).map_err(|_| Errno(libc::EILSEQ))
}

/// `struct mount_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes {
    /// Flags to set.
    pub set: u64,
    /// Flags to clear.
    pub clear: u64,
    /// Propagation type, or 0.
    pub propagation: u64,
    /// The user namespace of `MOUNT_ATTR_IDMAP`.
    pub user_namespace: u64,
}

/// `mount_setattr` from the working directory.
pub fn set_attributes(path: &str, flags: u32, attributes: Attributes) -> Outcome {
    crate::syscall!(SYS_mount_setattr, HERE, c(path).as_c_str(), flags, &raw const attributes, size_of::<Attributes>())
}

/// Where a descriptor's tree can be reached by name.
pub fn path_of(tree: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", tree.as_raw_fd())
}
