//! What `mq_open(2)` and `mq_unlink(2)` do, and which queue a descriptor is of.

use super::{OpenQueue, Queue, Top, instance_of};
use crate::errno::{Errno, Result};
use crate::fs::inotify::{self, Mask};
use crate::fs::mount::WriteAccess;
use crate::fs::open::{OpenHow, open_found};
use crate::fs::walk::{self, Resolve, Start};
use crate::fs::{Dentry, OpenFile, OpenFlags, Path, names, permission};
use crate::task::current;
use alloc::sync::Arc;

/// Longest name of a queue in bytes, without a leading slash.
const NAME_MAX_BYTES: usize = 255;

/// The root of the queues that the calling thread sees.
fn root() -> Result<Path> {
    Ok(instance_of(&current().namespaces().ipc)?.1)
}

/// Queues lie in one directory: a name is one component.
fn check_name(name: &[u8]) -> Result<()> {
    match name {
        b"" => Err(Errno::NOENT),
        _ if name.len() > NAME_MAX_BYTES => Err(Errno::NAMETOOLONG),
        b"." | b".." => Err(Errno::ACCES),
        _ if name.contains(&b'/') => Err(Errno::ACCES),
        _ => Ok(()),
    }
}

/// `mq_open(2)`. `size`: messages and bytes of a message, for a queue that is made.
pub fn open(name: &[u8], flags: OpenFlags, mode: u32, size: Option<[i64; 2]>) -> Result<Arc<OpenFile>> {
    check_name(name)?;
    let root = root()?;
    let credentials = current().credentials();
    let directory = root.inode().ok_or(Errno::NOENT)?;
    permission::check(&directory, &credentials, permission::Access::EXECUTE)?;
    let (dentry, created) = find_or_make(&root, name, flags, mode, size)?;
    if !created && flags.contains(OpenFlags::WRONLY | OpenFlags::RDWR) {
        return Err(Errno::INVAL);
    }
    let kept = OpenFlags::WRONLY | OpenFlags::RDWR | OpenFlags::NONBLOCK;
    let how = OpenHow { flags: (flags & kept) | OpenFlags::LARGEFILE, mode: 0, resolve: Resolve::empty() };
    open_found(root.at(dentry), how, created, credentials)
}

/// The queue of a name, and whether it was made.
fn find_or_make(root: &Path, name: &[u8], flags: OpenFlags, mode: u32, size: Option<[i64; 2]>) -> Result<(Arc<Dentry>, bool)> {
    let directory = root.inode().ok_or(Errno::NOENT)?;
    let access = WriteAccess::take(root);
    let _changes = directory.lock.lock();
    let dentry = walk::look_up_locked(root.dentry(), name)?;
    if dentry.inode().is_some() {
        return if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) { Err(Errno::EXIST) } else { Ok((dentry, false)) };
    }
    if !flags.contains(OpenFlags::CREAT) {
        return Err(Errno::NOENT);
    }
    let _access = access?;
    let credentials = current().credentials();
    names::require_creatable(root.dentry(), &directory, &credentials)?;
    let attributes = names::attributes_of_new(&directory, &credentials, mode & 0o7777, false)?;
    let top = directory.downcast::<Top>().ok_or(Errno::NOTDIR)?;
    let inode = top.add(&directory, name, attributes, size)?;
    dentry.instantiate(inode.clone());
    inotify::entry_event(&directory, name, &inode, Mask::CREATE);
    Ok((dentry, true))
}

/// `mq_unlink(2)`.
pub fn unlink(name: &[u8]) -> Result<()> {
    check_name(name)?;
    let root = root()?;
    let start = Start { root, directory: None, credentials: current().credentials() };
    names::unlink_from(start, name)
}

/// The queue behind a descriptor; `EBADF` if it is none.
pub fn queue_of(file: &OpenFile) -> Result<&Arc<Queue>> {
    file.downcast::<OpenQueue>().map(|open| &open.queue).ok_or(Errno::BADF)
}
