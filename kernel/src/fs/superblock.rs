//! Filesystem types and instances.

use crate::errno::{Errno, Result};
use crate::fs::{Dentry, Inode};
use crate::sync::SpinLock;
use crate::task::{Credentials, UserNamespace};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::any::Any;
use core::sync::atomic::AtomicU32;

/// A filesystem type as `/proc/filesystems` lists it.
pub trait FileSystemType: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Needs a block device ("nodev" is shown otherwise).
    fn needs_device(&self) -> bool {
        false
    }

    /// May be mounted in a user namespace other than the initial one (N13).
    fn user_mountable(&self) -> bool {
        false
    }

    /// Accepts `type.subtype` (F7).
    fn has_subtype(&self) -> bool {
        false
    }

    /// Checks one option as `fsconfig` gives it (and as `mount(2)`'s data string splits into): `EINVAL` for unknown or bad ones.
    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()>;

    /// Makes (or finds, O17) the superblock for the options, all of which passed `check_option`.
    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>>;
}

/// What a mount of a filesystem is asked for.
pub struct MountRequest {
    /// The source string; `None` is NULL.
    pub source: Option<Vec<u8>>,
    /// Superblock flags, `SB_*` = `MS_*` (F6).
    pub flags: u32,
    /// Options in order: key, and value if there was one.
    pub options: Vec<(String, Option<Vec<u8>>)>,
    /// Subtype behind the dot, if any.
    pub subtype: Option<String>,
    /// Who mounts.
    pub credentials: Arc<Credentials>,
    /// `fsconfig(FSCONFIG_CMD_CREATE_EXCL)`: `EBUSY` if an existing superblock would be reused.
    pub exclusive: bool,
}

/// One filesystem instance (O1).
pub struct SuperBlock {
    /// `st_dev`, and MAJ:MIN of mountinfo, in `makedev(3)` encoding.
    pub device: u64,
    /// The type.
    pub file_system: &'static dyn FileSystemType,
    /// Subtype, shown as `type.subtype`.
    pub subtype: Option<String>,
    /// `SB_*` flags (read-only, sync, …).
    pub flags: AtomicU32,
    /// Whose privileges govern it.
    pub owner: Arc<UserNamespace>,
    /// The top directory (or file).
    pub root: SpinLock<Option<Arc<Dentry>>>,
    /// Files open for writing and files unlinked while open, for M4 (EBUSY on remount read-only) beyond graft's count per mount.
    pub unlinked_open: AtomicU32,
    /// The filesystem's part.
    pub ops: Arc<dyn SuperBlockOps>,
}

/// What `statfs(2)` shows.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct FileSystemStatistics {
    pub magic: u64,
    pub block_size_bytes: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
    pub name_max_bytes: u64,
}

/// What a filesystem does as a whole.
#[allow(unused_variables)]
pub trait SuperBlockOps: Any + Send + Sync {
    /// `statfs(2)`.
    fn statistics(&self, superblock: &SuperBlock) -> FileSystemStatistics;

    /// Options for mountinfo and mounts, each with its comma in front: `,size=64k,mode=755`.
    fn show_options(&self, superblock: &SuperBlock, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        Ok(())
    }

    /// Remount (M4): options as in `get_tree`, all checked. Changes them or fails without a change.
    fn reconfigure(&self, superblock: &Arc<SuperBlock>, flags: u32, options: &[(String, Option<Vec<u8>>)]) -> Result<()> {
        if options.is_empty() { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// A cached dentry is about to be used: whether it still holds (`false`: look the name up again). procfs, FUSE.
    fn revalidate(&self, dentry: &Arc<Dentry>) -> bool {
        true
    }

    /// Whether lookups that found nothing may be remembered.
    fn caches_negative(&self) -> bool {
        true
    }

    /// A dentry's path for ROOT in mountinfo and for readlink of `/proc/PID/fd/N` where it is not made of names (`net:[4026…]`, `pipe:[17]`, `/memfd:x`).
    fn dentry_name(&self, dentry: &Dentry) -> Option<Vec<u8>> {
        None
    }

    /// `umount -f` (U3).
    fn abort(&self) {}

    /// The last mount and reference are gone.
    fn shut_down(&self, superblock: &SuperBlock) {}
}

/// What hands out inodes for `Arc<Inode>`-less callers: the root inode of the superblock.
pub fn root_inode(superblock: &SuperBlock) -> Option<Arc<Inode>> {
    superblock.root.lock().as_ref().and_then(|root| root.inode())
}
