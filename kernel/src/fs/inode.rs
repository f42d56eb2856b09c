//! Inodes: files apart from their names.

use crate::errno::{Errno, Result};
use crate::fs::acl::{self, Acl};
use crate::fs::stat::{Stat, StatRequest};
use crate::fs::{Dentry, FileOps, OpenFlags, Path, SuperBlock};
use crate::mm::address_space::PageSource;
use crate::sync::SpinLock;
use crate::task::{Credentials, SleepMutex};
use alloc::{sync::Arc, vec::Vec};
use core::any::Any;
use core::sync::atomic::Ordering;

/// What kind of file (`S_IFMT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FileType {
    /// No type at all: what `stat` shows of eventfds, epolls and their like, which share an inode without one.
    Untyped = 0o00,
    Fifo = 0o01,
    CharDevice = 0o02,
    Directory = 0o04,
    BlockDevice = 0o06,
    Regular = 0o10,
    Symlink = 0o12,
    Socket = 0o14,
}

impl FileType {
    /// The `S_IF…` bits of a mode.
    pub fn mode_bits(self) -> u32 {
        (self as u32) << 12
    }

    /// The `d_type` of a directory entry: the same number as the mode's upper bits.
    pub fn directory_entry_type(self) -> u8 {
        self as u8
    }

    /// From a mode; 0 means a regular file (`mknod(2)`).
    pub fn from_mode(mode: u32) -> Option<Self> {
        Some(match (mode >> 12) & 0o17 {
            0o00 | 0o10 => Self::Regular,
            0o01 => Self::Fifo,
            0o02 => Self::CharDevice,
            0o04 => Self::Directory,
            0o06 => Self::BlockDevice,
            0o12 => Self::Symlink,
            0o14 => Self::Socket,
            _ => return None,
        })
    }
}

/// Nanoseconds since 1970.
pub type Timestamp = i128;

/// What `stat` shows and `chmod`, `chown`, `utimensat` change.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// Permission bits with set-id and sticky, without the type.
    pub mode: u32,
    /// Owner, as an id of the initial user namespace.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// Names.
    pub links: u32,
    /// Length in bytes.
    pub size_bytes: u64,
    /// 512-byte blocks in use.
    pub blocks: u64,
    /// Last access.
    pub accessed: Timestamp,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last change of the attributes.
    pub changed: Timestamp,
    /// Birth (`statx`), where the filesystem keeps it.
    pub created: Option<Timestamp>,
    /// `st_blksize` where it is not the filesystem's ([`SuperBlockOps::block_size_bytes`](super::superblock::SuperBlockOps)); else 0.
    pub block_size_bytes: u32,
}

/// A change of attributes; `None` leaves one alone. The generic code has checked permissions and worked out set-id clearing.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct AttributeChange {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size_bytes: Option<u64>,
    pub accessed: Option<Timestamp>,
    pub modified: Option<Timestamp>,
    pub changed: Option<Timestamp>,
    /// The filesystem's number of the open file that asks ([`FileOps::handle`]), if one does.
    pub handle: Option<u64>,
}

impl Attributes {
    /// Those of a new file: all times are now, nothing in it.
    pub fn new(mode: u32, uid: u32, gid: u32) -> Self {
        let now = crate::time::clock::realtime_ns();
        Self {
            mode: mode & 0o7777,
            uid,
            gid,
            links: 1,
            size_bytes: 0,
            blocks: 0,
            accessed: now,
            modified: now,
            changed: now,
            created: None,
            block_size_bytes: 0,
        }
    }
}

impl AttributeChange {
    /// Enters all but the size into `attributes`.
    pub fn apply_to(&self, attributes: &mut Attributes) {
        attributes.mode = self.mode.unwrap_or(attributes.mode);
        attributes.uid = self.uid.unwrap_or(attributes.uid);
        attributes.gid = self.gid.unwrap_or(attributes.gid);
        attributes.accessed = self.accessed.unwrap_or(attributes.accessed);
        attributes.modified = self.modified.unwrap_or(attributes.modified);
        attributes.changed = self.changed.unwrap_or(attributes.changed);
    }
}

/// A file apart from its names. One in memory for each file of a superblock while it is in use.
pub struct Inode {
    /// The filesystem instance.
    pub superblock: Arc<SuperBlock>,
    /// Unique in the superblock.
    pub number: u64,
    /// Never changes.
    pub file_type: FileType,
    /// For device nodes: `makedev(3)` encoded as `stat` shows it.
    pub device: u64,
    /// The attributes; filesystems that compute them override [`InodeOps::attributes`].
    pub attributes: SpinLock<Attributes>,
    /// Serialises changes of a directory's names, and writes and truncations of a file.
    pub lock: SleepMutex<()>,
    /// The filesystem's part.
    pub ops: Arc<dyn InodeOps>,
    /// POSIX, OFD and flock locks, leases (`fs::lock`).
    pub locks: crate::fs::lock::FileLocks,
    /// inotify watches (`fs::inotify`).
    pub watches: crate::fs::inotify::Watches,
    /// Programs that have pages of this file mapped; told about truncation.
    pub mappings: crate::mm::address_space::Mappings,
    /// Has no name but may be given one (`O_TMPFILE` without `O_EXCL`).
    linkable: core::sync::atomic::AtomicBool,
    /// See [`Self::may_have_acl`].
    may_have_acl: core::sync::atomic::AtomicBool,
    /// Executing (denies writers, `ETXTBSY`) when negative, writers when positive.
    pub writers: core::sync::atomic::AtomicI32,
}

impl Inode {
    /// A file of `superblock`. The filesystem keeps it, or a way to make it again, where its `lookup` finds it.
    pub fn new(
        superblock: &Arc<SuperBlock>,
        number: u64,
        file_type: FileType,
        device: u64,
        attributes: Attributes,
        ops: Arc<dyn InodeOps>,
    ) -> Arc<Self> {
        Arc::new(Self {
            superblock: superblock.clone(),
            number,
            file_type,
            device,
            attributes: SpinLock::new(attributes),
            lock: SleepMutex::new(()),
            ops,
            locks: Default::default(),
            watches: Default::default(),
            mappings: Default::default(),
            linkable: core::sync::atomic::AtomicBool::new(false),
            may_have_acl: core::sync::atomic::AtomicBool::new(false),
            writers: core::sync::atomic::AtomicI32::new(0),
        })
    }

    /// Sets the number of names, and keeps count of the files that have none but are still in use (M4).
    pub fn set_links(&self, links: u32) {
        let before = core::mem::replace(&mut self.attributes.lock().links, links);
        match (before, links) {
            (0, 1..) => self.superblock.unlinked_open.fetch_sub(1, Ordering::Relaxed),
            (1.., 0) => self.superblock.unlinked_open.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// Lets `linkat(2)` name a file that has no name.
    pub fn set_linkable(&self) {
        self.linkable.store(true, Ordering::Relaxed);
    }

    /// See [`Self::set_linkable`].
    pub fn is_linkable(&self) -> bool {
        self.linkable.load(Ordering::Relaxed)
    }

    /// Whether a permission check must look for an access list ([`InodeOps::effective_acl`]): otherwise the mode says all.
    pub fn may_have_acl(&self) -> bool {
        self.may_have_acl.load(Ordering::Relaxed)
    }

    /// See [`Self::may_have_acl`].
    pub fn set_may_have_acl(&self, may_have: bool) {
        self.may_have_acl.store(may_have, Ordering::Relaxed);
    }

    /// Takes write access for an open file: `ETXTBSY` while the file is being executed.
    pub fn take_write_access(&self) -> Result<()> {
        let taken = self.writers.fetch_update(Ordering::AcqRel, Ordering::Acquire, |writers| (writers >= 0).then_some(writers + 1));
        taken.map(|_| ()).map_err(|_| Errno::TXTBSY)
    }

    /// Gives back what [`Self::take_write_access`] took.
    pub fn release_write_access(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Keeps writers out while the file is executed: `ETXTBSY` if there are any.
    pub fn deny_write_access(&self) -> Result<()> {
        let denied = self.writers.fetch_update(Ordering::AcqRel, Ordering::Acquire, |writers| (writers <= 0).then_some(writers - 1));
        denied.map(|_| ()).map_err(|_| Errno::TXTBSY)
    }

    /// Gives back what [`Self::deny_write_access`] took.
    pub fn allow_write_access(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    /// The filesystem's own type behind the inode.
    pub fn downcast<T: InodeOps>(&self) -> Option<&T> {
        (&*self.ops as &dyn Any).downcast_ref()
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        if self.attributes.get_mut().links == 0 && self.ops.counts_unlinked() {
            self.superblock.unlinked_open.fetch_sub(1, Ordering::Relaxed);
            self.ops.clone().evict(self);
        }
    }
}

/// A file that was made, and its operations if it was opened in the same step.
pub type MadeFile = (Arc<Inode>, Option<Arc<dyn FileOps>>);

/// What a filesystem does for its inodes. The generic code calls with permissions checked, mount write access held and, for everything
/// that changes a directory, with the directory's `lock` held (both directories' in `rename`, ancestors first).
/// Methods may block. Defaults are what Linux answers for a filesystem without the operation.
#[allow(unused_variables)]
pub trait InodeOps: Any + Send + Sync {
    /// Finds `name`. `ENOENT` if there is none.
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        Err(Errno::NOTDIR)
    }

    /// Makes a file of any type but a directory or link. The umask is off the mode, owner and set-gid inheritance are worked out in `attributes`.
    fn create(&self, dir: &Arc<Inode>, name: &[u8], file_type: FileType, attributes: Attributes, device: u64) -> Result<Arc<Inode>> {
        Err(Errno::PERM)
    }

    /// Makes a directory.
    fn make_directory(&self, dir: &Arc<Inode>, name: &[u8], attributes: Attributes) -> Result<Arc<Inode>> {
        Err(Errno::PERM)
    }

    /// Makes a symbolic link.
    fn make_symlink(&self, dir: &Arc<Inode>, name: &[u8], target: &[u8], attributes: Attributes) -> Result<Arc<Inode>> {
        Err(Errno::PERM)
    }

    /// Makes a file without a name (`O_TMPFILE`).
    fn make_unnamed(&self, dir: &Arc<Inode>, attributes: Attributes) -> Result<Arc<Inode>> {
        Err(Errno::OPNOTSUPP)
    }

    /// `open(2)` with `O_TMPFILE`: as [`Self::make_unnamed`], opened in the same step if the filesystem does that.
    fn make_unnamed_and_open(&self, dir: &Arc<Inode>, attributes: Attributes, flags: OpenFlags) -> Result<MadeFile> {
        self.make_unnamed(dir, attributes).map(|inode| (inode, None))
    }

    /// Gives `target` another name.
    fn link(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        Err(Errno::PERM)
    }

    /// Takes a name away from `target`, which is not a directory.
    fn unlink(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        Err(Errno::PERM)
    }

    /// Removes an empty directory: `ENOTEMPTY` otherwise.
    fn remove_directory(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        Err(Errno::PERM)
    }

    /// `renameat2(2)`: flags are `RENAME_*`; `victim` is what `new_name` names now.
    #[allow(clippy::too_many_arguments)]
    fn rename(
        &self,
        old_dir: &Arc<Inode>,
        old_name: &[u8],
        moved: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        victim: Option<&Arc<Inode>>,
        flags: u32,
    ) -> Result<()> {
        Err(Errno::PERM)
    }

    /// The text of a symbolic link.
    fn read_link(&self, inode: &Arc<Inode>) -> Result<Vec<u8>> {
        Err(Errno::INVAL)
    }

    /// For magic links (`/proc/PID/fd/N`, `root`, `cwd`, `exe`, `ns/*`): the object itself.
    fn magic_link(&self, inode: &Arc<Inode>) -> Option<Result<Path>> {
        None
    }

    /// `open(2)` of a name that is not there: makes a regular file as [`Self::create`] does, and opens it if the filesystem does both
    /// in one step (`None`: it is opened afterwards).
    fn create_and_open(&self, dir: &Arc<Inode>, name: &[u8], attributes: Attributes, flags: OpenFlags) -> Result<MadeFile> {
        self.create(dir, name, FileType::Regular, attributes, 0).map(|inode| (inode, None))
    }

    /// A name that this directory answered for (or one it just made) has its dentry now. The directory's lock is held.
    fn entered(&self, dentry: &Arc<Dentry>) {}

    /// Brings [`Self::attributes`] up to date where they are kept elsewhere.
    fn refresh(&self, inode: &Inode, request: StatRequest) -> Result<()> {
        Ok(())
    }

    /// What `statx(2)` shows. (`stat(2)` takes [`Self::refresh`] and [`Self::attributes`] as they are.)
    fn stat(&self, inode: &Inode, request: StatRequest) -> Result<Stat> {
        self.refresh(inode, request)?;
        self.attributes(inode).map(|attributes| Stat::of(attributes, request))
    }

    /// Whether somebody else than the kernel decides who may change attributes: then changes are only asked for.
    fn decides_itself(&self) -> bool {
        false
    }

    /// Whether the umask is not to be taken off the mode of what is made in a directory: a default list counts in its place (`acl(5)`),
    /// or the filesystem sees to it.
    fn is_exempt_from_umask(&self, directory: &Inode) -> Result<bool> {
        self.effective_acl(directory, acl::Kind::Default).map(|default| default.is_some())
    }

    /// Attributes now.
    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        Ok(inode.attributes.lock().clone())
    }

    /// `st_dev` and `st_ino`, where they are not those of the superblock and the inode (overlayfs shows those of its layers).
    fn shown_identity(&self, inode: &Inode) -> (u64, u64) {
        (inode.superblock.device, inode.number)
    }

    /// Changes attributes (size: truncate or extend).
    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        Err(Errno::PERM)
    }

    /// Replaces the permission check by mode bits (FUSE, procfs). `None`: the generic check. `mask` is R_OK|W_OK|X_OK.
    fn permission(&self, inode: &Inode, credentials: &Credentials, mask: u32) -> Option<Result<()>> {
        None
    }

    /// Opens: the operations of the open file. Blocks for FIFOs. Device nodes are opened by the generic code.
    fn open(&self, inode: &Arc<Inode>, path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Err(Errno::NXIO)
    }

    /// The pages for mappings; `None`: `mmap` gives `ENODEV`.
    fn pages(&self, inode: &Arc<Inode>) -> Option<Arc<dyn PageSource>> {
        None
    }

    /// `getxattr(2)`: the value. `ENODATA` if there is none, `EOPNOTSUPP` where the namespace is not supported.
    fn get_xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::OPNOTSUPP)
    }

    /// A regular file is about to lose its capabilities, and who keeps them elsewhere is to be asked (FUSE).
    fn ask_to_drop_capabilities(&self, inode: &Arc<Inode>) {}

    /// `setxattr(2)`: flags are `XATTR_CREATE`, `XATTR_REPLACE`.
    fn set_xattr(&self, inode: &Arc<Inode>, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// Whether files here can have access control lists at all (symbolic links never have). They are no extended attributes to
    /// [`Self::get_xattr`] and its like, but [`Self::list_xattrs`] names them.
    fn has_acls(&self) -> bool {
        false
    }

    /// A list as programs see it; `None`: there is none.
    fn acl(&self, inode: &Inode, kind: acl::Kind) -> Result<Option<Arc<Acl>>> {
        Err(Errno::OPNOTSUPP)
    }

    /// A list that the kernel itself goes by. For the access list of an inode only asked where [`Inode::may_have_acl`].
    fn effective_acl(&self, inode: &Inode, kind: acl::Kind) -> Result<Option<Arc<Acl>>> {
        if self.has_acls() { self.acl(inode, kind) } else { Ok(None) }
    }

    /// Replaces or removes a list, which is valid and from somebody who may. The mode follows an access list, and is all that is kept of
    /// one that says no more. The inode's lock is held.
    fn set_acl(&self, inode: &Arc<Inode>, kind: acl::Kind, acl: Option<Arc<Acl>>) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// Whether attributes may have any name, not only those of the namespaces that the kernel knows.
    fn takes_any_xattr(&self) -> bool {
        false
    }

    /// `listxattr(2)`: all names.
    fn list_xattrs(&self, inode: &Arc<Inode>) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    /// `removexattr(2)`.
    fn remove_xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// Whether the filesystem keeps the number of names through [`Inode::set_links`].
    fn counts_unlinked(&self) -> bool {
        false
    }

    /// The last name and the last open file are gone (`links` is 0 and the inode is being dropped).
    fn evict(&self, inode: &Inode) {}
}
