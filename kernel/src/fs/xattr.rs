//! Extended attributes (`xattr(7)`): names, namespaces and who may do what; the filesystems keep the values.

use crate::errno::{Errno, Result};
use crate::fs::inotify::{self, Mask};
use crate::fs::mount::WriteAccess;
use crate::fs::permission::{self, Access, STICKY};
use crate::fs::{FileType, Inode, Path, acl, file_capabilities};
use crate::task::{Capabilities, Credentials, current};
use alloc::{sync::Arc, vec::Vec};

/// Longest name in bytes.
pub const NAME_MAX_BYTES: usize = 255;
/// Longest value in bytes.
pub const VALUE_MAX_BYTES: usize = 65536;

/// Checks the namespace of a name and the caller's rights over it. `None`: the attribute is as if it were not there.
fn check_name(inode: &Inode, name: &[u8], writes: bool, credentials: &Credentials) -> Result<Option<()>> {
    if name.starts_with(b"security.") || name.starts_with(b"system.") {
        return Ok(Some(()));
    }
    if name.starts_with(b"trusted.") {
        return match (credentials.capable(Capabilities::SYS_ADMIN), writes) {
            (true, _) => Ok(Some(())),
            (false, true) => Err(Errno::PERM),
            (false, false) => Ok(None),
        };
    }
    if name.starts_with(b"user.") {
        if !matches!(inode.file_type, FileType::Regular | FileType::Directory) {
            return if writes { Err(Errno::PERM) } else { Ok(None) };
        }
        let attributes = inode.ops.attributes(inode)?;
        let sticky = inode.file_type == FileType::Directory && attributes.mode & STICKY != 0;
        if sticky && writes && !permission::is_owner_or_capable(credentials, &attributes) {
            return Err(Errno::PERM);
        }
    }
    let access = if writes { Access::WRITE } else { Access::READ };
    permission::check(inode, credentials, access)?;
    Ok(Some(()))
}

/// The namespaces that filesystems here keep. `EOPNOTSUPP` for others, `EINVAL` for a namespace without a name in it; some leave all
/// names to somebody else.
fn check_namespace(inode: &Inode, name: &[u8]) -> Result<()> {
    if inode.ops.takes_any_xattr() {
        return Ok(());
    }
    let known = [&b"user."[..], b"trusted.", b"security."].into_iter().find(|prefix| name.starts_with(prefix));
    match known {
        Some(prefix) if prefix.len() == name.len() => Err(Errno::INVAL),
        Some(_) => Ok(()),
        None => Err(Errno::OPNOTSUPP),
    }
}

/// What only certain privileges may write besides: `security.*` needs `CAP_SYS_ADMIN`, file capabilities `CAP_SETFCAP`.
fn check_security(inode: &Inode, name: &[u8], credentials: &Credentials) -> Result<()> {
    if !name.starts_with(b"security.") {
        return Ok(());
    }
    let allowed = if name == file_capabilities::NAME {
        permission::capable_over(credentials, &inode.ops.attributes(inode)?, Capabilities::SETFCAP)
    } else {
        credentials.capable_in(Capabilities::SYS_ADMIN, &inode.superblock.owner)
    };
    if allowed { Ok(()) } else { Err(Errno::PERM) }
}

/// `getxattr(2)`: the value.
pub fn get(inode: &Arc<Inode>, name: &[u8]) -> Result<Vec<u8>> {
    if let Some(kind) = acl::Kind::of_name(name) {
        return acl::get(inode, kind);
    }
    check_name(inode, name, false, &current().credentials())?.ok_or(Errno::NODATA)?;
    check_namespace(inode, name)?;
    let value = inode.ops.get_xattr(inode, name)?;
    if name == file_capabilities::NAME && !value.is_empty() { file_capabilities::read(inode, &value) } else { Ok(value) }
}

/// `setxattr(2)`.
pub fn set(path: &Path, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
    if let Some(kind) = acl::Kind::of_name(name) {
        return acl::set(path, kind, value);
    }
    let inode = path.inode().ok_or(Errno::NOENT)?;
    let _access = WriteAccess::take(path)?;
    let _changes = inode.lock.lock();
    let credentials = current().credentials();
    let converted =
        if name == file_capabilities::NAME && !value.is_empty() { Some(file_capabilities::written(&inode, value)?) } else { None };
    check_name(&inode, name, true, &credentials)?;
    check_security(&inode, name, &credentials)?;
    check_namespace(&inode, name)?;
    inode.ops.set_xattr(&inode, name, converted.as_deref().unwrap_or(value), flags)?;
    inotify::file_event(path.dentry(), &inode, Mask::ATTRIB);
    Ok(())
}

/// `removexattr(2)`.
pub fn remove(path: &Path, name: &[u8]) -> Result<()> {
    if let Some(kind) = acl::Kind::of_name(name) {
        return acl::remove(path, kind);
    }
    let inode = path.inode().ok_or(Errno::NOENT)?;
    let _access = WriteAccess::take(path)?;
    let _changes = inode.lock.lock();
    let credentials = current().credentials();
    check_name(&inode, name, true, &credentials)?;
    check_security(&inode, name, &credentials)?;
    check_namespace(&inode, name)?;
    inode.ops.remove_xattr(&inode, name)?;
    inotify::file_event(path.dentry(), &inode, Mask::ATTRIB);
    Ok(())
}

/// `listxattr(2)`: the names, each with a NUL behind it. `trusted.*` shows itself only to `CAP_SYS_ADMIN`.
pub fn list(inode: &Arc<Inode>) -> Result<Vec<u8>> {
    let sees_trusted = current().credentials().capable(Capabilities::SYS_ADMIN);
    let names = inode.ops.list_xattrs(inode)?;
    let mut text = Vec::new();
    for name in names.iter().filter(|name| sees_trusted || !name.starts_with(b"trusted.")) {
        text.try_reserve(name.len() + 1).map_err(|_| Errno::NOMEM)?;
        text.extend_from_slice(name);
        text.push(0);
    }
    Ok(text)
}
