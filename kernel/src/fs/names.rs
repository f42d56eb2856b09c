//! Calls that change directories: making, linking, removing and renaming files.

use crate::bpf;
use crate::errno::{Errno, Result};
use crate::fs::inotify::{self, Mask};
use crate::fs::mount::{self, WriteAccess};
use crate::fs::permission::{self, Access};
use crate::fs::walk::{self, Last, LastKind, LookupFlags};
use crate::fs::{Attributes, Dentry, FileType, Inode, Path};
use crate::task::{Capabilities, Credentials};
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as sys;

/// Whether something may be made in a directory: it must still be there, and the caller may write and search. The caller holds its lock.
pub fn require_creatable(directory: &Dentry, inode: &Inode, credentials: &Credentials) -> Result<()> {
    if directory.is_unhashed() {
        return Err(Errno::NOENT);
    }
    permission::check(inode, credentials, Access::WRITE | Access::EXECUTE)
}

/// What the caller's umask withholds; nothing for a thread that is about to end.
pub fn umask() -> u32 {
    crate::task::current().try_fs().map_or(0, |fs| fs.umask())
}

/// Owner, group and mode of something new: the mode without what the caller's umask withholds, unless a default list counts there or
/// the filesystem sees to that.
pub fn attributes_of_new(directory: &Inode, credentials: &Credentials, mode: u32, is_directory: bool) -> Result<Attributes> {
    let mut attributes = permission::new_file_attributes(directory, credentials, mode, is_directory)?;
    if !directory.ops.is_exempt_from_umask(directory)? {
        attributes.mode &= !umask();
    }
    Ok(attributes)
}

/// What a new name gets.
enum New<'a> {
    Node { file_type: FileType, mode: u32, device: u64 },
    Directory { mode: u32 },
    Symlink { target: &'a [u8] },
    Link { target: &'a Path },
}

/// Makes a new name. The order of errors is that of Linux: what is there already comes before a read-only filesystem.
fn create(directory_fd: i32, name: &[u8], new: &New<'_>) -> Result<Arc<Inode>> {
    let (parent, last) = walk::lookup_parent(directory_fd, name)?;
    if last.kind != LastKind::Normal {
        return Err(Errno::EXIST);
    }
    let access = WriteAccess::take(&parent);
    let directory = parent.inode().ok_or(Errno::NOENT)?;
    let _changes = directory.lock.lock();
    let dentry = walk::look_up_locked(parent.dentry(), &last.name)?;
    if dentry.inode().is_some() {
        return Err(Errno::EXIST);
    }
    if last.trailing_slash && !matches!(new, New::Directory { .. }) {
        return Err(Errno::NOENT);
    }
    let _access = access?;
    let inode = make(&parent, &directory, &last, new)?;
    dentry.instantiate(inode.clone());
    directory.ops.entered(&dentry);
    if matches!(new, New::Link { .. }) {
        inotify::inode_event(&inode, Mask::ATTRIB);
    }
    inotify::entry_event(&directory, &last.name, &inode, Mask::CREATE);
    Ok(inode)
}

fn make(parent: &Path, directory: &Arc<Inode>, last: &Last, new: &New<'_>) -> Result<Arc<Inode>> {
    let thread = crate::task::current();
    let credentials = thread.credentials();
    if let New::Link { target } = new
        && target.mount() != parent.mount()
    {
        return Err(Errno::XDEV);
    }
    if let New::Link { target } = new {
        permission::check_link(&*target.inode().ok_or(Errno::NOENT)?, &credentials)?;
    }
    require_creatable(parent.dentry(), directory, &credentials)?;
    let attributes = |mode: u32, is_directory| attributes_of_new(directory, &credentials, mode, is_directory);
    match *new {
        New::Node { file_type, mode, device } => {
            let is_device = matches!(file_type, FileType::CharDevice | FileType::BlockDevice);
            // A character device 0:0 is a whiteout, which anybody may make (Linux 5.8).
            let is_whiteout = file_type == FileType::CharDevice && device == 0;
            if is_device && !is_whiteout && !credentials.capable(Capabilities::MKNOD) {
                return Err(Errno::PERM);
            }
            if is_device && !is_whiteout {
                bpf::device::check_make_node(file_type, device)?;
            }
            directory.ops.create(directory, &last.name, file_type, attributes(mode, false)?, device)
        }
        New::Directory { mode } => directory.ops.make_directory(directory, &last.name, attributes(mode & 0o1777, true)?),
        New::Symlink { target } => {
            let attributes = permission::new_file_attributes(directory, &credentials, 0o777, false)?;
            directory.ops.make_symlink(directory, &last.name, target, attributes)
        }
        New::Link { target } => {
            let inode = target.inode().ok_or(Errno::NOENT)?;
            let attributes = inode.ops.attributes(&inode)?;
            let namespace = &credentials.user_namespace;
            let mapped = namespace.uid_from_global(attributes.uid).is_some() && namespace.gid_from_global(attributes.gid).is_some();
            if !mapped || inode.file_type == FileType::Directory {
                return Err(Errno::PERM);
            }
            if attributes.links == 0 && !inode.is_linkable() {
                return Err(Errno::NOENT);
            }
            directory.ops.link(directory, &last.name, &inode)?;
            Ok(inode)
        }
    }
}

/// `mknod(2)`. A type of 0 is a regular file; directories and links are not made so.
pub fn make_node(directory_fd: i32, name: &[u8], mode: u32, device: u64) -> Result<()> {
    let file_type = match FileType::from_mode(mode) {
        Some(FileType::Directory) => return Err(Errno::PERM),
        Some(FileType::Symlink) | None => return Err(Errno::INVAL),
        Some(file_type) => file_type,
    };
    let is_device = matches!(file_type, FileType::CharDevice | FileType::BlockDevice);
    let device = if is_device { device } else { 0 };
    create(directory_fd, name, &New::Node { file_type, mode: mode & 0o7777, device }).map(drop)
}

/// `mkdir(2)`.
pub fn make_directory(directory_fd: i32, name: &[u8], mode: u32) -> Result<()> {
    create(directory_fd, name, &New::Directory { mode }).map(drop)
}

/// `symlink(2)`: `ENOENT` for an empty target.
pub fn make_symlink(target: &[u8], directory_fd: i32, name: &[u8]) -> Result<()> {
    if target.is_empty() {
        return Err(Errno::NOENT);
    }
    create(directory_fd, name, &New::Symlink { target }).map(drop)
}

/// `linkat(2)`: gives the file `old_name` (followed as `flags` say) another name.
pub fn link(old_directory_fd: i32, old_name: &[u8], new_directory_fd: i32, new_name: &[u8], flags: LookupFlags) -> Result<()> {
    let target = walk::lookup(old_directory_fd, old_name, flags)?;
    create(new_directory_fd, new_name, &New::Link { target: &target }).map(drop)
}

/// The directory of a name and the dentry in it, for calls that take a name away. The locks are the caller's to take.
struct Removal {
    parent: Path,
    directory: Arc<Inode>,
    last: Last,
}

impl Removal {
    fn of(parent: Path, last: Last) -> Result<Self> {
        let directory = parent.inode().ok_or(Errno::NOENT)?;
        Ok(Self { parent, directory, last })
    }

    fn dentry(&self) -> Result<Arc<Dentry>> {
        walk::look_up_locked(self.parent.dentry(), &self.last.name)
    }

    /// Whether the caller may take the name away, and it is a directory or not as asked.
    fn check(&self, target: &Inode, wants_directory: bool, credentials: &Credentials) -> Result<()> {
        permission::check_delete(&self.directory, target, credentials)?;
        match (wants_directory, target.file_type == FileType::Directory) {
            (true, false) => Err(Errno::NOTDIR),
            (false, true) => Err(Errno::ISDIR),
            _ if self.parent.dentry().is_unhashed() => Err(Errno::NOENT),
            _ => Ok(()),
        }
    }
}

/// `unlink(2)`.
pub fn unlink(directory_fd: i32, name: &[u8]) -> Result<()> {
    unlink_from(walk::Start::of_current(directory_fd, name)?, name)
}

/// As [`unlink`], from a given place.
pub fn unlink_from(start: walk::Start, name: &[u8]) -> Result<()> {
    let (parent, last) = walk::lookup_parent_from(start, name)?;
    if last.kind != LastKind::Normal {
        return Err(Errno::ISDIR);
    }
    let _access = WriteAccess::take(&parent)?;
    let removal = Removal::of(parent, last)?;
    let changes = removal.directory.lock.lock();
    let dentry = removal.dentry()?;
    let target = dentry.inode().ok_or(Errno::NOENT)?;
    if removal.last.trailing_slash {
        return Err(if target.file_type == FileType::Directory { Errno::ISDIR } else { Errno::NOTDIR });
    }
    removal.check(&target, false, &crate::task::current().credentials())?;
    // L16.
    if mount::is_local_mountpoint(&dentry) {
        return Err(Errno::BUSY);
    }
    removal.directory.ops.unlink(&removal.directory, &removal.last.name, &target)?;
    dentry.unhash();
    drop(changes);
    mount::detach_mounts(&dentry);
    inotify::inode_event(&target, Mask::ATTRIB);
    // The end of the file itself is told before the end of its name, as Linux does.
    drop(dentry);
    inotify::entry_event(&removal.directory, &removal.last.name, &target, Mask::DELETE);
    Ok(())
}

/// `rmdir(2)` (rule L18 for the odd names).
pub fn remove_directory(directory_fd: i32, name: &[u8]) -> Result<()> {
    let (parent, last) = walk::lookup_parent(directory_fd, name)?;
    match last.kind {
        LastKind::Normal => {}
        LastKind::DotDot => return Err(Errno::NOTEMPTY),
        LastKind::Dot => return Err(Errno::INVAL),
        LastKind::Root => return Err(Errno::BUSY),
    }
    let _access = WriteAccess::take(&parent)?;
    let removal = Removal::of(parent, last)?;
    let changes = removal.directory.lock.lock();
    let dentry = removal.dentry()?;
    let target = dentry.inode().ok_or(Errno::NOENT)?;
    removal.check(&target, true, &crate::task::current().credentials())?;
    if mount::is_local_mountpoint(&dentry) {
        return Err(Errno::BUSY);
    }
    {
        // Nothing can be made in it while it goes.
        let _inside = target.lock.lock();
        removal.directory.ops.remove_directory(&removal.directory, &removal.last.name, &target)?;
        dentry.unhash();
    }
    drop(changes);
    mount::detach_mounts(&dentry);
    drop(dentry);
    inotify::entry_event(&removal.directory, &removal.last.name, &target, Mask::DELETE);
    Ok(())
}

/// `renameat2(2)`, the flags known to be `RENAME_*`. The order of errors is that of rule L15.
pub fn rename(old_fd: i32, old_name: &[u8], new_fd: i32, new_name: &[u8], flags: u32) -> Result<()> {
    let exchanges = flags & sys::RENAME_EXCHANGE != 0;
    let no_replace = flags & sys::RENAME_NOREPLACE != 0;
    if exchanges && flags & (sys::RENAME_NOREPLACE | sys::RENAME_WHITEOUT) != 0 {
        return Err(Errno::INVAL);
    }
    let (old_parent, old_last) = walk::lookup_parent(old_fd, old_name)?;
    let (new_parent, new_last) = walk::lookup_parent(new_fd, new_name)?;
    if old_parent.mount() != new_parent.mount() {
        return Err(Errno::XDEV);
    }
    if old_last.kind != LastKind::Normal {
        return Err(Errno::BUSY);
    }
    if new_last.kind != LastKind::Normal {
        return Err(if no_replace { Errno::EXIST } else { Errno::BUSY });
    }
    let _access = WriteAccess::take(&old_parent)?;
    let old = Removal::of(old_parent, old_last)?;
    let new = Removal::of(new_parent, new_last)?;
    let locks = lock_both(&old, &new);
    let dentries = (old.dentry()?, new.dentry()?);
    let (source, target) = (dentries.0.inode().ok_or(Errno::NOENT)?, dentries.1.inode());
    if no_replace && target.is_some() {
        return Err(Errno::EXIST);
    }
    let source_is_directory = source.file_type == FileType::Directory;
    let target_is_directory = target.as_ref().is_some_and(|target| target.file_type == FileType::Directory);
    if exchanges {
        target.as_ref().ok_or(Errno::NOENT)?;
        if !target_is_directory && new.last.trailing_slash {
            return Err(Errno::NOTDIR);
        }
    }
    if !source_is_directory && (old.last.trailing_slash || (!exchanges && new.last.trailing_slash)) {
        return Err(Errno::NOTDIR);
    }
    if new.parent.dentry().is_below(&dentries.0) {
        return Err(Errno::INVAL);
    }
    if old.parent.dentry().is_below(&dentries.1) {
        return Err(if exchanges { Errno::INVAL } else { Errno::NOTEMPTY });
    }
    if target.as_ref().is_some_and(|target| Arc::ptr_eq(target, &source)) {
        return Ok(());
    }
    check_rename(&old, &new, &source, target.as_ref(), exchanges)?;
    if mount::is_local_mountpoint(&dentries.0) || mount::is_local_mountpoint(&dentries.1) {
        return Err(Errno::BUSY);
    }
    let (from, to) = (&old.last.name, &new.last.name);
    old.directory.ops.rename(&old.directory, from, &source, &new.directory, to, target.as_ref(), flags)?;
    inotify::moved(&old.directory, from, &new.directory, to, &source);
    if exchanges {
        dentries.0.exchange(&dentries.1);
        if let Some(target) = &target {
            inotify::moved(&new.directory, to, &old.directory, from, target);
        }
        return Ok(());
    }
    if let Some(target) = &target {
        inotify::inode_event(target, Mask::ATTRIB);
    }
    // The victim, or the negative dentry of the new name, makes room.
    dentries.1.unhash();
    dentries.0.rename_to(new.parent.dentry(), to);
    drop(locks);
    mount::detach_mounts(&dentries.1);
    Ok(())
}

/// Permissions of a rename, as those of taking the one name away and making the other.
fn check_rename(old: &Removal, new: &Removal, source: &Inode, target: Option<&Arc<Inode>>, exchanges: bool) -> Result<()> {
    let credentials = crate::task::current().credentials();
    let is_directory = |inode: &Inode| inode.file_type == FileType::Directory;
    old.check(source, is_directory(source), &credentials)?;
    match target {
        None => require_creatable(new.parent.dentry(), &new.directory, &credentials)?,
        Some(target) if exchanges => new.check(target, is_directory(target), &credentials)?,
        Some(target) => new.check(target, is_directory(source), &credentials)?,
    }
    if Arc::ptr_eq(&old.directory, &new.directory) {
        return Ok(());
    }
    // A directory that moves gets another "..": that is writing to it.
    if is_directory(source) {
        permission::check(source, &credentials, Access::WRITE)?;
    }
    match target {
        Some(target) if exchanges && is_directory(target) => permission::check(target, &credentials, Access::WRITE),
        _ => Ok(()),
    }
}

/// Locks of a rename.
fn lock_both<'a>(old: &'a Removal, new: &'a Removal) -> Vec<crate::task::sleep_mutex::SleepGuard<'a, ()>> {
    lock_directories((old.parent.dentry(), &old.directory), (new.parent.dentry(), &new.directory))
}

/// Locks two directories, or one that is given twice: the ancestor's before the descendant's, otherwise in the order of addresses.
pub(in crate::fs) fn lock_directories<'a>(
    old: (&Arc<Dentry>, &'a Arc<Inode>),
    new: (&Arc<Dentry>, &'a Arc<Inode>),
) -> Vec<crate::task::sleep_mutex::SleepGuard<'a, ()>> {
    let mut guards = Vec::with_capacity(3);
    if Arc::ptr_eq(old.1, new.1) {
        guards.push(old.1.lock.lock());
        return guards;
    }
    guards.push(old.1.superblock.renames.lock());
    let new_first = old.0.is_below(new.0) || (!new.0.is_below(old.0) && Arc::as_ptr(new.1) < Arc::as_ptr(old.1));
    let (first, second) = if new_first { (new.1, old.1) } else { (old.1, new.1) };
    guards.push(first.lock.lock());
    guards.push(second.lock.lock());
    guards
}
