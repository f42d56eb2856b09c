//! Attributes of files: times as reads and writes change them, and `chmod`, `chown`, `utimensat`, `truncate` with their rules.

use crate::errno::{Errno, Result};
use crate::fs::inode::{AttributeChange, Timestamp};
use crate::fs::inotify::{self, Mask};
use crate::fs::mount::{self, WriteAccess};
use crate::fs::permission::{self, Access, GROUP_EXECUTE, SET_GID, SET_UID};
use crate::fs::{Attributes, Dentry, FileType, Inode, OpenFile, OpenFlags, Path, file, file_capabilities};
use crate::task::{Capabilities, Credentials};
use crate::time::clock;
use alloc::sync::Arc;
use graft::flags::MountFlags;

/// relatime updates an access time that is a day old, whatever the other times are (`mount(8)`).
const RELATIME_LIMIT_NS: i128 = 24 * 60 * 60 * 1_000_000_000;

/// A file was read through `path`: its access time changes as the mount's options say. Never an error.
pub fn touch_accessed(path: &Path, inode: &Inode) {
    let flags = mount::flags(path.mount());
    let is_directory = inode.file_type == FileType::Directory;
    let off = flags.intersects(MountFlags::NOATIME | MountFlags::RDONLY)
        || (is_directory && flags.contains(MountFlags::NODIRATIME))
        || inode.superblock.is_read_only();
    if off {
        return;
    }
    let now = clock::realtime_ns();
    let mut attributes = inode.attributes.lock();
    let stale = attributes.accessed <= attributes.modified
        || attributes.accessed <= attributes.changed
        || now - attributes.accessed >= RELATIME_LIMIT_NS;
    if stale || !flags.contains(MountFlags::RELATIME) {
        attributes.accessed = now;
    }
}

/// A file was read through an open file, which `O_NOATIME` may exempt.
pub fn touch_accessed_by(file: &OpenFile) {
    if !file.flags().contains(OpenFlags::NOATIME) {
        touch_accessed(&file.path, &file.inode);
    }
}

/// The content changed.
pub fn note_modified(inode: &Inode) {
    let now = clock::realtime_ns();
    let mut attributes = inode.attributes.lock();
    attributes.modified = now;
    attributes.changed = now;
}

/// What comes before every write to a file: times, and set-id bits that the writer may not keep.
pub fn before_write(file: &OpenFile) -> Result<()> {
    if let Some(mode) = mode_after_write(&file.inode, &crate::task::current().credentials())? {
        file.inode.ops.set_attributes(&file.inode, &AttributeChange { mode: Some(mode), ..AttributeChange::default() })?;
    }
    drop_file_capabilities(&file.inode)?;
    note_modified(&file.inode);
    Ok(())
}

/// A file that is written, cut or given away loses its capabilities, whoever does it (`capabilities(7)`). The caller holds its lock.
/// For files whose attributes lie in memory; others see to it themselves, or are asked to.
pub fn drop_file_capabilities(inode: &Arc<Inode>) -> Result<()> {
    if inode.file_type == FileType::Regular {
        inode.ops.ask_to_drop_capabilities(inode);
    }
    let is_kept_here = inode.file_type == FileType::Regular && inode.superblock.ops.is_immediate();
    if is_kept_here && inode.ops.get_xattr(inode, file_capabilities::NAME).is_ok() {
        inode.ops.remove_xattr(inode, file_capabilities::NAME)
    } else {
        Ok(())
    }
}

/// The mode without the set-id bits that a write takes away; `None` if it stays. A writer with `CAP_FSETID` keeps them.
fn mode_after_write(inode: &Inode, credentials: &Credentials) -> Result<Option<u32>> {
    let mode = inode.attributes.lock().mode;
    let has_set_ids = mode & SET_UID != 0 || mode & (SET_GID | GROUP_EXECUTE) == SET_GID | GROUP_EXECUTE;
    if inode.file_type != FileType::Regular || !has_set_ids || credentials.capable(Capabilities::FSETID) {
        return Ok(None);
    }
    let attributes = inode.ops.attributes(inode)?;
    Ok(Some(permission::without_set_ids(&attributes, credentials)))
}

/// Works out one change with the inode's lock and write access held: the attributes now, and who asks, to what is to change.
fn change(path: &Path, decide: impl FnOnce(&Attributes, &Credentials, &Arc<Inode>) -> Result<AttributeChange>) -> Result<()> {
    let inode = path.inode().ok_or(Errno::NOENT)?;
    let _access = WriteAccess::take(path)?;
    change_held(path.dentry(), &inode, decide)
}

fn change_held(
    dentry: &Dentry,
    inode: &Arc<Inode>,
    decide: impl FnOnce(&Attributes, &Credentials, &Arc<Inode>) -> Result<AttributeChange>,
) -> Result<()> {
    let credentials = crate::task::current().credentials();
    let _changes = inode.lock.lock();
    let attributes = inode.ops.attributes(inode)?;
    let mut change = decide(&attributes, &credentials, inode)?;
    change.changed = Some(clock::realtime_ns());
    inode.ops.set_attributes(inode, &change)?;
    if change.size_bytes.is_some() || change.uid.is_some() || change.gid.is_some() {
        drop_file_capabilities(inode)?;
    }
    inotify::file_event(dentry, inode, event_of(&change));
    Ok(())
}

/// What inotify(7) calls a change.
fn event_of(change: &AttributeChange) -> Mask {
    let mut mask = Mask::empty();
    mask.set(Mask::MODIFY, change.size_bytes.is_some());
    let by_owner = change.size_bytes.is_none() && change.mode.is_some() || change.uid.is_some() || change.gid.is_some();
    match (change.accessed, change.modified) {
        _ if by_owner => mask |= Mask::ATTRIB,
        (Some(_), Some(_)) => mask |= Mask::ATTRIB,
        (Some(_), None) => mask |= Mask::ACCESS,
        (None, Some(_)) => mask |= Mask::MODIFY,
        (None, None) => {}
    }
    mask
}

/// `chmod(2)`: by the owner or with `CAP_FOWNER`. Somebody outside the file's group cannot set its set-group-id bit.
pub fn change_mode(path: &Path, mode: u32) -> Result<()> {
    change(path, |attributes, credentials, inode| {
        if inode.file_type == FileType::Symlink {
            return Err(Errno::OPNOTSUPP);
        }
        if !inode.ops.decides_itself() && !permission::is_owner_or_capable(credentials, attributes) {
            return Err(Errno::PERM);
        }
        let keeps = inode.ops.decides_itself() || permission::keeps_set_group_id(attributes, credentials);
        let mode = if keeps { mode } else { mode & !SET_GID };
        Ok(AttributeChange { mode: Some(mode & 0o7777), ..AttributeChange::default() })
    })
}

/// `chown(2)`, with ids of the initial user namespace. The owner needs `CAP_CHOWN` to give the file away; the group may be any of the
/// owner's own. Set-id bits of files go, whoever asks.
pub fn change_owner(path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    change(path, |attributes, credentials, inode| {
        let is_owner = credentials.filesystem_uid == attributes.uid;
        let may_give = permission::capable_over(credentials, attributes, Capabilities::CHOWN);
        let keeps_owner = uid.is_none_or(|uid| is_owner && uid == attributes.uid);
        let takes_own_group = gid.is_none_or(|gid| is_owner && (gid == attributes.gid || credentials.in_group(gid)));
        let allowed = inode.ops.decides_itself() || may_give || (keeps_owner && takes_own_group);
        if !allowed {
            return Err(Errno::PERM);
        }
        let loses_set_ids = inode.file_type != FileType::Directory && attributes.mode & (SET_UID | SET_GID) != 0;
        let mode = loses_set_ids.then(|| permission::without_set_ids(attributes, credentials));
        Ok(AttributeChange { mode, uid, gid, ..AttributeChange::default() })
    })
}

/// One of the two times that `utimensat(2)` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTime {
    /// Stays (`UTIME_OMIT`).
    Omit,
    /// The time of the call (`UTIME_NOW`).
    Now,
    /// This time.
    At(Timestamp),
}

/// `utimensat(2)`. Setting both to now needs write permission or ownership, anything else ownership.
pub fn change_times(path: &Path, accessed: NewTime, modified: NewTime) -> Result<()> {
    if accessed == NewTime::Omit && modified == NewTime::Omit {
        return Ok(());
    }
    let now = clock::realtime_ns();
    let resolve = |time| match time {
        NewTime::Omit => None,
        NewTime::Now => Some(now),
        NewTime::At(time) => Some(time),
    };
    change(path, |attributes, credentials, inode| {
        if !inode.ops.decides_itself() && !permission::is_owner_or_capable(credentials, attributes) {
            if accessed != NewTime::Now || modified != NewTime::Now {
                return Err(Errno::PERM);
            }
            permission::check(inode, credentials, Access::WRITE)?;
        }
        Ok(AttributeChange { accessed: resolve(accessed), modified: resolve(modified), ..AttributeChange::default() })
    })
}

/// `truncate(2)` by name.
pub fn truncate(path: &Path, len_bytes: u64) -> Result<()> {
    let inode = path.inode().ok_or(Errno::NOENT)?;
    match inode.file_type {
        FileType::Regular => {}
        FileType::Directory => return Err(Errno::ISDIR),
        _ => return Err(Errno::INVAL),
    }
    let _access = WriteAccess::take(path)?;
    permission::check(&inode, &crate::task::current().credentials(), Access::WRITE)?;
    inode.take_write_access()?;
    let result = set_len(path.dentry(), &inode, len_bytes, None);
    inode.release_write_access();
    result
}

/// `ftruncate(2)`: the file is open for writing.
pub fn truncate_open(file: &OpenFile, len_bytes: u64) -> Result<()> {
    if !file.flags().writable() || file.inode.file_type != FileType::Regular {
        return Err(Errno::INVAL);
    }
    set_len(file.path.dentry(), &file.inode, len_bytes, file.ops.handle())
}

/// Changes the length, as `truncate` and `O_TRUNC` do; the caller has write access. `handle`: of the open file that asks.
pub fn set_len(dentry: &Dentry, inode: &Arc<Inode>, len_bytes: u64, handle: Option<u64>) -> Result<()> {
    if len_bytes > inode.ops.attributes(inode)?.size_bytes {
        file::check_len(len_bytes)?;
    }
    change_held(dentry, inode, |attributes, credentials, _| {
        let has_set_ids = attributes.mode & SET_UID != 0 || attributes.mode & (SET_GID | GROUP_EXECUTE) == SET_GID | GROUP_EXECUTE;
        let strips = has_set_ids && !credentials.capable(Capabilities::FSETID);
        let mode = strips.then(|| permission::without_set_ids(attributes, credentials));
        let modified = Some(clock::realtime_ns());
        Ok(AttributeChange { mode, modified, size_bytes: Some(len_bytes), handle, ..AttributeChange::default() })
    })
}
