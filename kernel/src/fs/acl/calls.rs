//! `getxattr(2)`, `setxattr(2)` and `removexattr(2)` of the two attributes that stand for lists: who may, and in which order they fail.

use super::{Acl, Kind};
use crate::errno::{Errno, Result};
use crate::fs::inotify::{self, Mask};
use crate::fs::mount::WriteAccess;
use crate::fs::permission::{self, SET_GID};
use crate::fs::{Attributes, FileType, Inode, Path};
use crate::task::{Credentials, current};
use alloc::{sync::Arc, vec::Vec};

/// Reads a list, as everybody may who gets to the file. `ENODATA` where there is none.
pub fn get(inode: &Arc<Inode>, kind: Kind) -> Result<Vec<u8>> {
    require_acls(inode)?;
    let acl = inode.ops.acl(inode, kind)?.ok_or(Errno::NODATA)?;
    acl.encode(&current().credentials().user_namespace)
}

/// Replaces a list, whether there was one or not: the call's flags do not count. A value without entries removes it.
pub fn set(path: &Path, kind: Kind, value: &[u8]) -> Result<()> {
    let inode = path.inode().ok_or(Errno::NOENT)?;
    let _access = WriteAccess::take(path)?;
    let acl = if value.is_empty() { None } else { Acl::decode(value, &current().credentials().user_namespace)? };
    replace(path, &inode, kind, acl)
}

/// Removes a list. One that is not there is no error.
pub fn remove(path: &Path, kind: Kind) -> Result<()> {
    let inode = path.inode().ok_or(Errno::NOENT)?;
    let _access = WriteAccess::take(path)?;
    replace(path, &inode, kind, None)
}

fn replace(path: &Path, inode: &Arc<Inode>, kind: Kind, acl: Option<Acl>) -> Result<()> {
    let _changes = inode.lock.lock();
    require_acls(inode)?;
    if kind == Kind::Default && inode.file_type != FileType::Directory {
        if acl.is_some() {
            return Err(Errno::ACCES);
        }
    } else {
        if !permission::is_owner_or_capable(&current().credentials(), &inode.ops.attributes(inode)?) {
            return Err(Errno::PERM);
        }
        acl.as_ref().map_or(Ok(()), |acl| acl.check_valid(&inode.superblock.owner))?;
        inode.ops.set_acl(inode, kind, acl.map(Arc::new))?;
    }
    inotify::file_event(path.dentry(), inode, Mask::ATTRIB);
    Ok(())
}

/// `EOPNOTSUPP` for symbolic links, and where files have no lists.
fn require_acls(inode: &Inode) -> Result<()> {
    if inode.ops.has_acls() && inode.file_type != FileType::Symlink { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

/// The mode of a file that gets this access list, for filesystems that keep modes themselves. Somebody outside the file's group cannot
/// keep its set-group-id bit so.
pub fn mode_after_set(attributes: &Attributes, credentials: &Credentials, acl: Option<&Acl>) -> Result<u32> {
    let mode = acl.map_or(Ok(attributes.mode), |acl| acl.mode(attributes.mode))?;
    Ok(if permission::keeps_set_group_id(attributes, credentials) { mode } else { mode & !SET_GID })
}
