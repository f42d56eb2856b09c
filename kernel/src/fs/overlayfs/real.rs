//! Files of the layers: finding, making, moving and removing them below an overlay, with the layers' own locks and caches.
//!
//! The caller of an overlay was checked against the overlay's files; what happens in the layers, happens in the name of who mounted it.

use crate::errno::{Errno, Result};
use crate::fs::acl::{self, Acl};
use crate::fs::inode::AttributeChange;
use crate::fs::names::lock_directories;
use crate::fs::open::{OpenHow, open_found};
use crate::fs::walk::{self, Resolve};
use crate::fs::{Attributes, Dentry, FileType, Inode, OpenFile, OpenFlags, Path};
use crate::task::Credentials;
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as sys;

/// What is to be made.
pub enum New<'a> {
    /// Anything but what follows, with its device number.
    File(FileType, u64),
    /// A directory.
    Directory,
    /// A symbolic link, with its text.
    Symlink(&'a [u8]),
    /// Another name of a file.
    Link(&'a Arc<Inode>),
}

impl New<'_> {
    /// The type of file that it makes.
    pub fn file_type(&self) -> FileType {
        match self {
            Self::File(file_type, _) => *file_type,
            Self::Directory => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::Link(target) => target.file_type,
        }
    }
}

/// Marks a name as gone: a character device 0:0.
pub const WHITEOUT: New<'static> = New::File(FileType::CharDevice, 0);

/// Whether a file of a layer says that its name is gone.
pub fn is_whiteout(inode: &Inode) -> bool {
    inode.file_type == FileType::CharDevice && inode.device == 0
}

/// The inode of a dentry that led somewhere a moment ago.
pub fn inode_of(dentry: &Dentry) -> Result<Arc<Inode>> {
    dentry.inode().ok_or(Errno::STALE)
}

/// Makes a file where there is none.
pub fn make(directory: &Arc<Dentry>, name: &[u8], new: &New, attributes: Attributes) -> Result<Arc<Dentry>> {
    let inode = inode_of(directory)?;
    let _changes = inode.lock.lock();
    let dentry = walk::look_up_locked(directory, name)?;
    if dentry.inode().is_some() {
        return Err(Errno::EXIST);
    }
    let made = match new {
        New::File(file_type, device) => inode.ops.create(&inode, name, *file_type, attributes, *device)?,
        New::Directory => inode.ops.make_directory(&inode, name, attributes)?,
        New::Symlink(target) => inode.ops.make_symlink(&inode, name, target, attributes)?,
        New::Link(target) => {
            inode.ops.link(&inode, name, target)?;
            (*target).clone()
        }
    };
    dentry.instantiate(made);
    inode.ops.entered(&dentry);
    Ok(dentry)
}

/// Removes a file, or an empty directory.
pub fn remove(directory: &Arc<Dentry>, dentry: &Arc<Dentry>) -> Result<()> {
    let inode = inode_of(directory)?;
    let _changes = inode.lock.lock();
    let target = inode_of(dentry)?;
    if target.file_type == FileType::Directory {
        inode.ops.remove_directory(&inode, &dentry.name(), &target)?;
    } else {
        inode.ops.unlink(&inode, &dentry.name(), &target)?;
    }
    dentry.unhash();
    Ok(())
}

/// Moves a file to another name, over whatever is there; the flags are those of `renameat2(2)`.
pub fn rename(from: &Arc<Dentry>, moved: &Arc<Dentry>, to: &Arc<Dentry>, name: &[u8], flags: u32) -> Result<()> {
    let (old_directory, new_directory) = (inode_of(from)?, inode_of(to)?);
    let _changes = lock_directories((from, &old_directory), (to, &new_directory));
    let inode = inode_of(moved)?;
    let target = walk::look_up_locked(to, name)?;
    let victim = target.inode();
    old_directory.ops.rename(&old_directory, &moved.name(), &inode, &new_directory, name, victim.as_ref(), flags)?;
    if flags & sys::RENAME_EXCHANGE != 0 {
        moved.exchange(&target);
    } else {
        target.unhash();
        moved.rename_to(to, name);
    }
    Ok(())
}

/// The value of an extended attribute; `None` if there is none, or the layer has no such thing.
pub fn xattr(inode: &Arc<Inode>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    match inode.ops.get_xattr(inode, name) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets an extended attribute.
pub fn set_xattr(inode: &Arc<Inode>, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
    let _changes = inode.lock.lock();
    inode.ops.set_xattr(inode, name, value, flags)
}

/// Gives a file a list, or takes it away. One that a server of a lower layer made up may be `EINVAL`.
pub fn set_acl(inode: &Arc<Inode>, kind: acl::Kind, acl: Option<Arc<Acl>>) -> Result<()> {
    acl.as_ref().map_or(Ok(()), |acl| acl.check_valid(&inode.superblock.owner))?;
    let _changes = inode.lock.lock();
    inode.ops.set_acl(inode, kind, acl)
}

/// Changes attributes.
pub fn set_attributes(inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
    let _changes = inode.lock.lock();
    inode.ops.set_attributes(inode, change)
}

/// Removes an extended attribute.
pub fn remove_xattr(inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
    let _changes = inode.lock.lock();
    inode.ops.remove_xattr(inode, name)
}

/// Opens a regular file or directory of a layer. What the caller may do was checked; the layers' access times are left alone.
pub fn open(place: Path, flags: OpenFlags, credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>> {
    let kept = OpenFlags::WRONLY
        | OpenFlags::RDWR
        | OpenFlags::APPEND
        | OpenFlags::NONBLOCK
        | OpenFlags::DIRECT
        | OpenFlags::DSYNC
        | OpenFlags::SYNC;
    let how = OpenHow { flags: (flags & kept) | OpenFlags::NOATIME | OpenFlags::LARGEFILE, mode: 0, resolve: Resolve::empty() };
    open_found(place, how, true, credentials.clone())
}

/// An entry of a directory.
pub struct Listed {
    /// Its name.
    pub name: Vec<u8>,
    /// The number of its file.
    pub number: u64,
    /// The type of its file.
    pub file_type: FileType,
}

/// All entries of a directory of a layer, without `.` and `..`. `ENOMEM` if they are too many to keep.
pub fn list(directory: Path, credentials: &Arc<Credentials>) -> Result<Vec<Listed>> {
    let file = open(directory, OpenFlags::empty(), credentials)?;
    let mut entries = Vec::new();
    let mut position = 0;
    loop {
        let (mut taken, mut out_of_memory) = (0, false);
        position = file.ops.read_directory(&file, position, &mut |name, number, file_type, _next| {
            taken += 1;
            if name != b"." && name != b".." {
                out_of_memory = entries.try_reserve(1).is_err();
                if !out_of_memory {
                    entries.push(Listed { name: name.to_vec(), number, file_type });
                }
            }
            !out_of_memory
        })?;
        if out_of_memory {
            return Err(Errno::NOMEM);
        }
        if taken == 0 {
            return Ok(entries);
        }
    }
}
