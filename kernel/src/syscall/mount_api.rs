//! System calls: the file-descriptor-based mount calls.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::mount::statmount::{self, Request};
use crate::fs::mount_context::{self, Command, Parameter};
use crate::fs::open;
use crate::fs::walk::{self, LookupFlags};
use crate::fs::{Path, io, mount};
use crate::mm::user::{self, read_c_string, read_path};
use crate::mm::{PAGE_SIZE_BYTES, UserPointer};
use crate::task::current;
use alloc::{string::String, vec, vec::Vec};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_open_tree, "open_tree", open_tree),
    Entry(sys::__NR_move_mount, "move_mount", move_mount),
    Entry(sys::__NR_fsopen, "fsopen", fsopen),
    Entry(sys::__NR_fsconfig, "fsconfig", fsconfig),
    Entry(sys::__NR_fsmount, "fsmount", fsmount),
    Entry(sys::__NR_fspick, "fspick", fspick),
    Entry(sys::__NR_mount_setattr, "mount_setattr", mount_setattr),
    Entry(sys::__NR_statmount, "statmount", statmount),
    Entry(sys::__NR_listmount, "listmount", listmount),
];

/// Longest key and string value of `fsconfig(2)`, with NUL (A13).
const PARAMETER_MAX_BYTES: usize = 256;
/// Longest binary value.
const BINARY_MAX_BYTES: i32 = 1024 * 1024;
/// Bytes of `struct mount_attr` as Linux 5.12 had it.
const MOUNT_ATTR_BYTES: u64 = 32;

/// Unique ids of mounts are above this, so that those of mountinfo are not taken for them.
const LAST_SMALL_ID: u64 = 1 << 31;

/// Rule A1: flags, then the privilege that cloning takes, then the name.
fn open_tree(arguments: &Arguments) -> Result<u64> {
    let flags = arguments[2] as u32;
    let known = sys::AT_EMPTY_PATH
        | sys::AT_NO_AUTOMOUNT
        | sys::AT_RECURSIVE
        | sys::AT_SYMLINK_NOFOLLOW
        | sys::OPEN_TREE_CLONE
        | sys::OPEN_TREE_CLOEXEC;
    let clones = flags & sys::OPEN_TREE_CLONE != 0;
    if flags & !known != 0 || (flags & sys::AT_RECURSIVE != 0 && !clones) {
        return Err(Errno::INVAL);
    }
    if clones {
        mount::require_admin("open_tree")?;
    }
    let source = look_up(arguments[0], arguments[1], flags)?;
    let file = if clones { mount::clone_tree(&source, flags & sys::AT_RECURSIVE != 0)? } else { open::path_descriptor(source, None)? };
    io::install(file, flags & sys::OPEN_TREE_CLOEXEC != 0)
}

/// A place by name and `AT_SYMLINK_NOFOLLOW`, `AT_EMPTY_PATH`.
fn look_up(directory_fd: u64, name: u64, flags: u32) -> Result<Path> {
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & sys::AT_SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY_PATH, flags & sys::AT_EMPTY_PATH != 0);
    walk::lookup(directory_fd as i32, &read_path(name)?, lookup)
}

fn move_mount(arguments: &Arguments) -> Result<u64> {
    mount::require_admin("move_mount")?;
    let flags = arguments[4] as u32;
    let has = |flag| flags & flag != 0;
    let (sets_group, beneath) = (has(sys::MOVE_MOUNT_SET_GROUP), has(sys::MOVE_MOUNT_BENEATH));
    if flags & !sys::MOVE_MOUNT__MASK != 0 || (sets_group && beneath) {
        return Err(Errno::INVAL);
    }
    let place = |directory_fd: u64, name: u64, follows: bool, may_be_empty: bool| {
        let mut lookup = LookupFlags::empty();
        lookup.set(LookupFlags::FOLLOW, follows);
        lookup.set(LookupFlags::EMPTY_PATH, may_be_empty);
        walk::lookup(directory_fd as i32, &read_path(name)?, lookup)
    };
    let from = place(arguments[0], arguments[1], has(sys::MOVE_MOUNT_F_SYMLINKS), has(sys::MOVE_MOUNT_F_EMPTY_PATH))?;
    let to = place(arguments[2], arguments[3], has(sys::MOVE_MOUNT_T_SYMLINKS), has(sys::MOVE_MOUNT_T_EMPTY_PATH))?;
    if sets_group { mount::set_group(&from, &to) } else { mount::move_mount(&from, &to, beneath) }.map(|()| 0)
}

/// Rule A11, in its order.
fn fsopen(arguments: &Arguments) -> Result<u64> {
    mount::require_admin("fsopen")?;
    let flags = arguments[1] as u32;
    if flags & !sys::FSOPEN_CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    let name = read_c_string(arguments[0], PAGE_SIZE_BYTES, Errno::INVAL)?;
    io::install(mount_context::open(&name)?, flags & sys::FSOPEN_CLOEXEC != 0)
}

/// The checks of rule A13 come before everything else, the descriptor's after the command's.
fn fsconfig(arguments: &Arguments) -> Result<u64> {
    use sys::fsconfig_command as command_of;
    let (fd, command, key, value, auxiliary) = (arguments[0] as i32, arguments[1] as u32, arguments[2], arguments[3], arguments[4] as i32);
    if fd < 0 {
        return Err(Errno::INVAL);
    }
    let is = |wanted: command_of| command == wanted as u32;
    let is_command =
        is(command_of::FSCONFIG_CMD_CREATE) || is(command_of::FSCONFIG_CMD_CREATE_EXCL) || is(command_of::FSCONFIG_CMD_RECONFIGURE);
    let fits = if is(command_of::FSCONFIG_SET_FLAG) {
        key != 0 && value == 0 && auxiliary == 0
    } else if is(command_of::FSCONFIG_SET_STRING) {
        key != 0 && value != 0 && auxiliary == 0
    } else if is(command_of::FSCONFIG_SET_BINARY) {
        key != 0 && value != 0 && (1..=BINARY_MAX_BYTES).contains(&auxiliary)
    } else if is(command_of::FSCONFIG_SET_PATH) || is(command_of::FSCONFIG_SET_PATH_EMPTY) {
        key != 0 && value != 0 && (auxiliary == sys::AT_FDCWD || auxiliary >= 0)
    } else if is(command_of::FSCONFIG_SET_FD) {
        key != 0 && value == 0 && auxiliary >= 0
    } else if is_command {
        key == 0 && value == 0 && auxiliary == 0
    } else {
        return Err(Errno::OPNOTSUPP);
    };
    if !fits {
        return Err(Errno::INVAL);
    }
    let file = current().files().get(fd)?;
    let context = mount_context::of(&file)?;
    if is_command {
        let command = if is(command_of::FSCONFIG_CMD_RECONFIGURE) {
            Command::Reconfigure
        } else {
            Command::Create { exclusive: is(command_of::FSCONFIG_CMD_CREATE_EXCL) }
        };
        return context.command(command).map(|()| 0);
    }
    let key = String::from_utf8(read_c_string(key, PARAMETER_MAX_BYTES, Errno::INVAL)?).map_err(|_| Errno::INVAL)?;
    let parameter = if is(command_of::FSCONFIG_SET_FLAG) {
        Parameter::Flag
    } else if is(command_of::FSCONFIG_SET_STRING) {
        Parameter::String(read_c_string(value, PARAMETER_MAX_BYTES, Errno::INVAL)?)
    } else if is(command_of::FSCONFIG_SET_FD) {
        current().files().get(auxiliary)?;
        Parameter::Other
    } else if is(command_of::FSCONFIG_SET_BINARY) {
        let mut bytes: Vec<u8> = vec![0; auxiliary as usize];
        user::read_bytes(value, &mut bytes)?;
        Parameter::Other
    } else {
        read_path(value)?;
        Parameter::Other
    };
    context.set_parameter(&key, &parameter).map(|()| 0)
}

fn fsmount(arguments: &Arguments) -> Result<u64> {
    mount::require_admin("fsmount")?;
    let flags = arguments[1] as u32;
    if flags & !sys::FSMOUNT_CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    let mount_flags = mount::decode_attributes(u64::from(arguments[2] as u32))?;
    let file = current().files().get(arguments[0] as i32)?;
    let mounted = mount::mount_context(mount_context::of(&file)?, mount_flags)?;
    io::install(mounted, flags & sys::FSMOUNT_CLOEXEC != 0)
}

/// Rule A18, in its order.
fn fspick(arguments: &Arguments) -> Result<u64> {
    mount::require_admin("fspick")?;
    let flags = arguments[2] as u32;
    let known = sys::FSPICK_CLOEXEC | sys::FSPICK_SYMLINK_NOFOLLOW | sys::FSPICK_NO_AUTOMOUNT | sys::FSPICK_EMPTY_PATH;
    if flags & !known != 0 {
        return Err(Errno::INVAL);
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & sys::FSPICK_SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY_PATH, flags & sys::FSPICK_EMPTY_PATH != 0);
    let place = walk::lookup(arguments[0] as i32, &read_path(arguments[1])?, lookup)?;
    io::install(mount_context::pick(&place)?, flags & sys::FSPICK_CLOEXEC != 0)
}

/// A19, in its order.
fn mount_setattr(arguments: &Arguments) -> Result<u64> {
    let (flags, size_bytes) = (arguments[2] as u32, arguments[4]);
    let known = sys::AT_EMPTY_PATH | sys::AT_RECURSIVE | sys::AT_SYMLINK_NOFOLLOW | sys::AT_NO_AUTOMOUNT;
    if flags & !known != 0 {
        return Err(Errno::INVAL);
    }
    if size_bytes > PAGE_SIZE_BYTES as u64 {
        return Err(Errno::TOOBIG);
    }
    if size_bytes < MOUNT_ATTR_BYTES {
        return Err(Errno::INVAL);
    }
    mount::require_admin("mount_setattr")?;
    super::require_zeros_beyond(arguments[3], MOUNT_ATTR_BYTES, size_bytes)?;
    let [set, clear, propagation, user_namespace_fd] = UserPointer::<[u64; 4]>::new(arguments[3]).read()?;
    if (set, clear, propagation) == (0, 0, 0) {
        return Ok(0);
    }
    let change = mount::decode_change(set, clear, propagation, user_namespace_fd)?;
    let place = look_up(arguments[0], arguments[1], flags)?;
    mount::set_attributes(&place, &change, flags & sys::AT_RECURSIVE != 0).map(|()| 0)
}

/// A request of statmount and listmount: with or without the namespace at its end.
fn read_request(address: u64) -> Result<Request> {
    let size_bytes = UserPointer::<u32>::new(address).read()?;
    if size_bytes < sys::MNT_ID_REQ_SIZE_VER0 {
        return Err(Errno::INVAL);
    }
    super::require_zeros_beyond(address, u64::from(sys::MNT_ID_REQ_SIZE_VER1), u64::from(size_bytes))?;
    let [size_and_spare, mount, parameter, namespace] = if size_bytes >= sys::MNT_ID_REQ_SIZE_VER1 {
        UserPointer::<[u64; 4]>::new(address).read()?
    } else {
        let [size_and_spare, mount, parameter] = UserPointer::<[u64; 3]>::new(address).read()?;
        [size_and_spare, mount, parameter, 0]
    };
    let spare = size_and_spare >> u32::BITS;
    if spare != 0 || mount <= LAST_SMALL_ID { Err(Errno::INVAL) } else { Ok(Request { mount, parameter, namespace }) }
}

fn statmount(arguments: &Arguments) -> Result<u64> {
    let (buffer, size_bytes, flags) = (arguments[1], arguments[2], arguments[3]);
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    let answer = statmount::describe(&read_request(arguments[0])?)?;
    let has_strings = answer.len() > statmount::HEADER_BYTES;
    let kept = usize::try_from(size_bytes).map_or(answer.len(), |size| size.min(answer.len()));
    if has_strings && kept < answer.len() {
        return Err(Errno::OVERFLOW);
    }
    user::write_bytes(buffer, &answer[..kept]).map(|()| 0)
}

fn listmount(arguments: &Arguments) -> Result<u64> {
    let flags = arguments[3] as u32;
    if flags & !sys::LISTMOUNT_REVERSE != 0 {
        return Err(Errno::INVAL);
    }
    let count = usize::try_from(arguments[2]).map_err(|_| Errno::OVERFLOW)?;
    let request = read_request(arguments[0])?;
    if (1..=LAST_SMALL_ID).contains(&request.parameter) {
        return Err(Errno::INVAL);
    }
    let ids = statmount::list(&request, count, flags & sys::LISTMOUNT_REVERSE != 0)?;
    UserPointer::<u64>::new(arguments[1]).write_slice(&ids)?;
    Ok(ids.len() as u64)
}
