//! Who may do what with a file: mode bits, access lists, capabilities, sticky directories (`path_resolution(7)`, `acl(5)`,
//! `capabilities(7)`).

use crate::bpf;
use crate::errno::{Errno, Result};
use crate::fs::acl;
use crate::fs::procfs::sysctl::files;
use crate::fs::walk::{self, LookupFlags, Start};
use crate::fs::{Attributes, FileType, Inode, mount};
use crate::task::{Capabilities, Credentials};
use alloc::sync::Arc;
use bitflags::bitflags;
use graft::flags::MountFlags;

bitflags! {
    /// What somebody wants to do: `R_OK`, `W_OK`, `X_OK` of `access(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u32 {
        /// Run a file, search a directory.
        const EXECUTE = 1;
        /// Change the content.
        const WRITE = 2;
        /// See the content.
        const READ = 4;
        /// Nothing is done yet: `access(2)` and `chdir(2)` ask. Only filesystems that decide for themselves make a difference.
        const ASKING = 8;
    }
}

/// Set-user-id of a mode.
pub const SET_UID: u32 = 0o4000;
/// Set-group-id of a mode.
pub const SET_GID: u32 = 0o2000;
/// The sticky bit of a mode.
pub const STICKY: u32 = 0o1000;
/// Execution by the group.
pub const GROUP_EXECUTE: u32 = 0o010;
/// All that a mode has for the group.
const GROUP_CLASS: u32 = 0o070;

/// Whether the credentials have a capability over a file: in their own user namespace, which must know the file's owner and group
/// (`user_namespaces(7)`).
pub fn capable_over(credentials: &Credentials, attributes: &Attributes, capability: Capabilities) -> bool {
    let namespace = &credentials.user_namespace;
    credentials.capable_in(capability, namespace)
        && namespace.uid_from_global(attributes.uid).is_some()
        && namespace.gid_from_global(attributes.gid).is_some()
}

/// Whether the credentials are the owner's, or may act as the owner (`CAP_FOWNER`).
pub fn is_owner_or_capable(credentials: &Credentials, attributes: &Attributes) -> bool {
    credentials.filesystem_uid == attributes.uid
        || (credentials.user_namespace.uid_from_global(attributes.uid).is_some()
            && credentials.capable_in(Capabilities::FOWNER, &credentials.user_namespace))
}

/// Checks the mode bits and capabilities, and that a read-only superblock is not written to. (The mount's own flag is checked where
/// the mount is known.) `EACCES`, or `EROFS`.
pub fn check(inode: &Inode, credentials: &Credentials, access: Access) -> Result<()> {
    let kept_on_disk = matches!(inode.file_type, FileType::Regular | FileType::Directory | FileType::Symlink);
    if access.contains(Access::WRITE) && kept_on_disk && inode.superblock.is_read_only() {
        return Err(Errno::ROFS);
    }
    match inode.ops.permission(inode, credentials, access.bits()) {
        Some(answer) => answer?,
        None => check_mode(inode, credentials, access - Access::ASKING)?,
    }
    bpf::device::check_open(inode.file_type, inode.device, access)
}

/// The part of [`check`] that looks at owner, mode, list and capabilities, for filesystems that add rules of their own.
pub fn check_mode(inode: &Inode, credentials: &Credentials, access: Access) -> Result<()> {
    let attributes = inode.ops.attributes(inode)?;
    let acl = acl_that_counts(inode, &attributes, credentials)?;
    let allows = match acl {
        Some(acl) => acl.allows(&attributes, credentials, access)?,
        None => mode_allows(&attributes, credentials, access),
    };
    if allows || capability_allows(inode.file_type, &attributes, credentials, access) { Ok(()) } else { Err(Errno::ACCES) }
}

/// The access list that decides in the mode's place: not about the owner, whose bits are in the mode, and none that leaves the group's
/// class nothing, which Linux does not look at.
fn acl_that_counts(inode: &Inode, attributes: &Attributes, credentials: &Credentials) -> Result<Option<Arc<acl::Acl>>> {
    if !inode.may_have_acl() || credentials.filesystem_uid == attributes.uid || attributes.mode & GROUP_CLASS == 0 {
        return Ok(None);
    }
    inode.ops.effective_acl(inode, acl::Kind::Access)
}

/// The class that counts is the first that fits: owner, group, others.
pub(in crate::fs) fn mode_allows(attributes: &Attributes, credentials: &Credentials, access: Access) -> bool {
    let bits = if credentials.filesystem_uid == attributes.uid {
        attributes.mode >> 6
    } else if credentials.in_group(attributes.gid) {
        attributes.mode >> 3
    } else {
        attributes.mode
    };
    Access::from_bits_truncate(bits & 0o7).contains(access)
}

/// `CAP_DAC_READ_SEARCH` reads files and reads and searches directories; `CAP_DAC_OVERRIDE` does all, but runs only what somebody may run.
fn capability_allows(file_type: FileType, attributes: &Attributes, credentials: &Credentials, access: Access) -> bool {
    let has = |capability| capable_over(credentials, attributes, capability);
    if file_type == FileType::Directory {
        return (!access.contains(Access::WRITE) && has(Capabilities::DAC_READ_SEARCH)) || has(Capabilities::DAC_OVERRIDE);
    }
    let only_reads = access == Access::READ;
    let runs_what_nobody_may = access.contains(Access::EXECUTE) && attributes.mode & 0o111 == 0;
    (only_reads && has(Capabilities::DAC_READ_SEARCH)) || (!runs_what_nobody_may && has(Capabilities::DAC_OVERRIDE))
}

/// Whether an entry of `directory` may be taken away: write and search permission, and in a sticky directory only by the owner of the
/// entry or of the directory, or with `CAP_FOWNER`. `EPERM` for the sticky rule.
pub fn check_delete(directory: &Inode, entry: &Inode, credentials: &Credentials) -> Result<()> {
    check(directory, credentials, Access::WRITE | Access::EXECUTE)?;
    let directory_attributes = directory.ops.attributes(directory)?;
    if directory_attributes.mode & STICKY == 0 {
        return Ok(());
    }
    let entry_attributes = entry.ops.attributes(entry)?;
    let own = [entry_attributes.uid, directory_attributes.uid].contains(&credentials.filesystem_uid);
    if own || capable_over(credentials, &entry_attributes, Capabilities::FOWNER) { Ok(()) } else { Err(Errno::PERM) }
}

/// Owner, group and mode of a new file: the group of a set-group-id directory passes to what is made in it, and directories pass the
/// bit on. A set-group-id executable by somebody outside the group loses the bit.
pub fn new_file_attributes(directory: &Inode, credentials: &Credentials, mode: u32, is_directory: bool) -> Result<Attributes> {
    let parent = directory.ops.attributes(directory)?;
    // The filesystem must be able to name the owner; the caller's own namespace need not (`user_namespaces(7)`).
    let namespace = &directory.superblock.owner;
    let known =
        namespace.uid_from_global(credentials.filesystem_uid).is_some() && namespace.gid_from_global(credentials.filesystem_gid).is_some();
    if !known {
        return Err(Errno::OVERFLOW);
    }
    let mut attributes = Attributes::new(mode, credentials.filesystem_uid, credentials.filesystem_gid);
    if parent.mode & SET_GID != 0 {
        attributes.gid = parent.gid;
        if is_directory {
            attributes.mode |= SET_GID;
        } else if attributes.mode & (SET_GID | GROUP_EXECUTE) == SET_GID | GROUP_EXECUTE
            && !credentials.in_group(parent.gid)
            && !capable_over(credentials, &parent, Capabilities::FSETID)
        {
            attributes.mode &= !SET_GID;
        }
    }
    Ok(attributes)
}

/// Whether a change by these credentials leaves a file its set-group-id bit: by a member of its group, or with `CAP_FSETID`.
pub fn keeps_set_group_id(attributes: &Attributes, credentials: &Credentials) -> bool {
    credentials.in_group(attributes.gid) || capable_over(credentials, attributes, Capabilities::FSETID)
}

/// The mode after a write or a change of owner by somebody without `CAP_FSETID`: set-user-id goes, set-group-id goes where the group may
/// execute. (Without group execution the bit once meant mandatory locks; it goes if the caller is not in the group.)
pub fn without_set_ids(attributes: &Attributes, credentials: &Credentials) -> u32 {
    let mut mode = attributes.mode & !SET_UID;
    let group_bit_counts = attributes.mode & GROUP_EXECUTE != 0 || !keeps_set_group_id(attributes, credentials);
    if group_bit_counts {
        mode &= !SET_GID;
    }
    mode
}

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITE: u32 = 0o020;

/// `protected_symlinks` (`proc_sys_fs(5)`): `EACCES` for a link at the end of a name that somebody else put into a directory where
/// everybody may put something.
pub fn check_follow(directory: &Inode, link: &Inode, credentials: &Credentials) -> Result<()> {
    if files::PROTECTED_SYMLINKS.get() == 0 {
        return Ok(());
    }
    let link = link.ops.attributes(link)?;
    let directory = directory.ops.attributes(directory)?;
    let open_to_all = directory.mode & (STICKY | OTHERS_WRITE) == STICKY | OTHERS_WRITE;
    let trusted = [credentials.filesystem_uid, directory.uid].contains(&link.uid);
    if open_to_all && !trusted { Err(Errno::ACCES) } else { Ok(()) }
}

/// `protected_hardlinks`: `EPERM` for a file of others that gives privileges, is special, or may not be read and written.
pub fn check_link(inode: &Inode, credentials: &Credentials) -> Result<()> {
    if files::PROTECTED_HARDLINKS.get() == 0 {
        return Ok(());
    }
    let attributes = inode.ops.attributes(inode)?;
    let gives_privileges = attributes.mode & SET_UID != 0 || attributes.mode & (SET_GID | GROUP_EXECUTE) == SET_GID | GROUP_EXECUTE;
    let safe =
        || inode.file_type == FileType::Regular && !gives_privileges && check(inode, credentials, Access::READ | Access::WRITE).is_ok();
    if safe() || is_owner_or_capable(credentials, &attributes) { Ok(()) } else { Err(Errno::PERM) }
}

/// `protected_regular` and `protected_fifos`: `EACCES` for a file of others that is opened where it would have been made, in a sticky
/// directory where others may make files.
pub fn check_create_in_sticky(directory: &Inode, inode: &Inode, credentials: &Credentials) -> Result<()> {
    let directory = directory.ops.attributes(directory)?;
    let level = match inode.file_type {
        FileType::Directory | FileType::Symlink => return Ok(()),
        FileType::Regular => files::PROTECTED_REGULAR.get(),
        FileType::Fifo => files::PROTECTED_FIFOS.get(),
        // There is no setting for the other kinds: all may not.
        _ => 1,
    };
    if directory.mode & STICKY == 0 || level == 0 {
        return Ok(());
    }
    let owner = inode.ops.attributes(inode)?.uid;
    let trusted = [credentials.filesystem_uid, directory.uid].contains(&owner);
    let open_to_others = directory.mode & OTHERS_WRITE != 0 || (directory.mode & GROUP_WRITE != 0 && level >= 2);
    if open_to_others && !trusted { Err(Errno::ACCES) } else { Ok(()) }
}

/// The credentials as `access(2)` sees them: the real ids, and capabilities as the real user has them.
pub fn with_real_ids(credentials: &Credentials) -> Credentials {
    let mut real = credentials.clone();
    real.filesystem_uid = credentials.uid;
    real.filesystem_gid = credentials.gid;
    if credentials.securebits & NO_SETUID_FIXUP != 0 {
        return real;
    }
    let is_root = credentials.user_namespace.uid_from_global(credentials.uid) == Some(0);
    real.effective = if is_root { credentials.permitted } else { Capabilities::empty() };
    real
}

/// `SECBIT_NO_SETUID_FIXUP` (`capabilities(7)`): ids do not govern capabilities.
const NO_SETUID_FIXUP: u32 = 1 << 2;

/// `faccessat2(2)`: may the caller do this with the file? `effective`: as who it acts, not as who started it.
pub fn check_access(directory_fd: i32, name: &[u8], flags: LookupFlags, access: Access, effective: bool) -> Result<()> {
    let mut start = Start::of_current(directory_fd, name)?;
    if !effective {
        start.credentials = Arc::new(with_real_ids(&start.credentials));
    }
    let credentials = start.credentials.clone();
    let place = walk::lookup_from(start, name, flags)?;
    let inode = place.inode().ok_or(Errno::NOENT)?;
    if access.is_empty() {
        return Ok(());
    }
    let runs_regular = access.contains(Access::EXECUTE) && inode.file_type == FileType::Regular;
    if runs_regular && mount::flags(place.mount()).contains(MountFlags::NOEXEC) {
        return Err(Errno::ACCES);
    }
    check(&inode, &credentials, access | Access::ASKING)?;
    let kept_on_disk = matches!(inode.file_type, FileType::Regular | FileType::Directory | FileType::Symlink);
    if access.contains(Access::WRITE) && kept_on_disk && mount::is_read_only(&place) { Err(Errno::ROFS) } else { Ok(()) }
}
