//! Filesystem types and instances.

use crate::errno::{Errno, Result};
use crate::fs::handle::FileHandle;
use crate::fs::{Dentry, Inode};
use crate::sync::SpinLock;
use crate::task::{Credentials, SleepMutex, UserNamespace};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::any::Any;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

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

    /// Whether a comma in `mount(2)`'s data string is part of a value when a backslash stands before it (overlayfs).
    fn escapes_commas(&self) -> bool {
        false
    }

    /// Whether a remount may come with options of the filesystem. If not, `mount(2)` does not hear them, right or wrong, and `fsconfig`
    /// refuses them (overlayfs).
    fn has_remount_options(&self) -> bool {
        true
    }

    /// As [`Self::check_option`], for one that depends on those `before` it.
    fn check_next_option(&self, before: &[(String, Option<Vec<u8>>)], key: &str, value: Option<&[u8]>) -> Result<()> {
        let _ = before;
        self.check_option(key, value)
    }

    /// Checks one option as `fsconfig` gives it (and as `mount(2)`'s data string splits into): `EINVAL` for unknown or bad ones.
    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()>;

    /// Makes (or finds, O17) the superblock for the options, all of which passed `check_option`.
    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>>;

    /// What a new mount of an instance shows: its top, or for who sees less a directory in it.
    fn top(&self, superblock: &SuperBlock) -> Result<Arc<Dentry>> {
        superblock.root_dentry().ok_or(Errno::NODEV)
    }
}

/// What a mount of a filesystem is asked for.
pub struct MountRequest {
    /// The source string; `None` is NULL.
    #[expect(dead_code, reason = "filesystems on devices read it")]
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
    /// Unique for the life of the kernel.
    pub key: u64,
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
    /// The top directory (or file). It, its inode and the instance hold each other until the instance shuts down.
    pub root: SpinLock<Option<Arc<Dentry>>>,
    /// Held while a file moves from one directory to another: then no directory above another changes.
    pub renames: SleepMutex<()>,
    /// Files open for writing and files unlinked while open, for M4 (EBUSY on remount read-only) beyond graft's count per mount.
    pub unlinked_open: AtomicU32,
    /// Dentries of it that only the cache may keep (`dentry::RECENT`): with none there is nothing to look for when it shuts down.
    pub(in crate::fs) kept_dentries: AtomicU32,
    /// The filesystem's part.
    pub ops: Arc<dyn SuperBlockOps>,
    /// Mounts of it (and what else holds it active): it shuts down when the last goes.
    active: AtomicU32,
    /// What `device` is the number of, if it was taken from the pool.
    _anonymous: Option<AnonymousDevice>,
}

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

/// Which minors of major 0 are taken, a bit each: filesystems without a device get the lowest free one.
static ANONYMOUS_MINORS: SpinLock<Vec<u64>> = SpinLock::new(Vec::new());

/// A device number of its own, of major 0, for as long as the value lives.
pub struct AnonymousDevice(u32);

impl AnonymousDevice {
    /// The lowest free one.
    pub fn take() -> Self {
        Self(take_anonymous_minor())
    }

    /// As `stat(2)` shows it.
    pub fn number(&self) -> u64 {
        make_device(0, self.0)
    }
}

impl Drop for AnonymousDevice {
    fn drop(&mut self) {
        give_back_anonymous_minor(self.0);
    }
}

fn take_anonymous_minor() -> u32 {
    let mut taken = ANONYMOUS_MINORS.lock();
    if taken.is_empty() {
        // Minor 0 of major 0 stands for no device.
        taken.push(1);
    }
    let index = taken.iter().position(|word| *word != u64::MAX).unwrap_or_else(|| {
        taken.push(0);
        taken.len() - 1
    });
    let bit = taken[index].trailing_ones();
    taken[index] |= 1 << bit;
    index as u32 * 64 + bit
}

fn give_back_anonymous_minor(minor: u32) {
    if let Some(word) = ANONYMOUS_MINORS.lock().get_mut(minor as usize / 64) {
        *word &= !(1 << (minor % 64));
    }
}

impl SuperBlock {
    /// An instance without a device, and without a root yet ([`Self::set_root`]).
    pub fn new(
        file_system: &'static dyn FileSystemType,
        flags: u32,
        owner: Arc<UserNamespace>,
        subtype: Option<String>,
        ops: Arc<dyn SuperBlockOps>,
    ) -> Arc<Self> {
        Self::new_on(file_system, flags, owner, subtype, ops, None)
    }

    /// An instance on a block device, whose number it takes (`None`: as [`Self::new`]).
    pub fn new_on(
        file_system: &'static dyn FileSystemType,
        flags: u32,
        owner: Arc<UserNamespace>,
        subtype: Option<String>,
        ops: Arc<dyn SuperBlockOps>,
        block_device: Option<u64>,
    ) -> Arc<Self> {
        let anonymous = if block_device.is_some() { None } else { Some(AnonymousDevice::take()) };
        Arc::new(Self {
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            device: block_device.unwrap_or_else(|| anonymous.as_ref().map_or(0, AnonymousDevice::number)),
            file_system,
            subtype,
            flags: AtomicU32::new(flags),
            owner,
            root: SpinLock::new(None),
            renames: SleepMutex::new(()),
            unlinked_open: AtomicU32::new(0),
            kept_dentries: AtomicU32::new(0),
            ops,
            active: AtomicU32::new(0),
            _anonymous: anonymous,
        })
    }

    /// Whether mounts, or the like, hold it already.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire) != 0
    }

    /// Gives the instance its top.
    pub fn set_root(self: &Arc<Self>, inode: Arc<Inode>) {
        let root = Dentry::new_root(self, inode, b"/");
        let old = self.root.lock().replace(root);
        drop(old);
    }

    /// The top; `None` once it has shut down.
    pub fn root_dentry(&self) -> Option<Arc<Dentry>> {
        self.root.lock().clone()
    }

    /// Whether changes are refused (`EROFS`).
    pub fn is_read_only(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & linux_raw_sys::general::MS_RDONLY != 0
    }

    /// The filesystem's own type behind the instance.
    pub fn downcast<T: SuperBlockOps>(&self) -> Option<&T> {
        (&*self.ops as &dyn Any).downcast_ref()
    }
}

/// A device number in the encoding that `stat(2)` shows for small numbers: minor 0–7, major 8–19, upper minor 20–31, upper major 44…
pub fn make_device(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
}

/// Major and minor of a device number.
pub fn split_device(device: u64) -> (u32, u32) {
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & 0xffff_ff00);
    (major as u32, minor as u32)
}

/// A handle that keeps an instance active: each mount has one. The filesystem shuts down with the last (O17).
pub struct ActiveSuperBlock(Arc<SuperBlock>);

impl ActiveSuperBlock {
    /// Makes an instance active, or more so.
    pub fn new(superblock: Arc<SuperBlock>) -> Self {
        superblock.active.fetch_add(1, Ordering::Relaxed);
        Self(superblock)
    }

    /// The instance.
    pub fn superblock(&self) -> &Arc<SuperBlock> {
        &self.0
    }
}

impl Clone for ActiveSuperBlock {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl Drop for ActiveSuperBlock {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            super::inotify::unmounted(&self.0);
            self.0.ops.shut_down(&self.0);
            let root = self.0.root.lock().take();
            super::dentry::forget_superblock(&self.0);
            drop(root);
        }
    }
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
    /// `f_frsize` where it is not the block size.
    pub fragment_size_bytes: Option<u64>,
}

/// What a filesystem does as a whole.
#[allow(unused_variables)]
pub trait SuperBlockOps: Any + Send + Sync {
    /// `statfs(2)`.
    fn statistics(&self, superblock: &SuperBlock) -> FileSystemStatistics;

    /// `statfs(2)` of a place in it, where finding out may fail.
    fn statistics_at(&self, superblock: &SuperBlock, place: &Dentry) -> Result<FileSystemStatistics> {
        Ok(self.statistics(superblock))
    }

    /// Writes back what is kept in memory only (`sync(2)`, `syncfs(2)`).
    fn sync(&self, superblock: &SuperBlock) -> Result<()> {
        Ok(())
    }

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

    /// Whether a walk need not ask it: what is cached holds, attributes of directories lie in the inode, and mode bits alone decide who
    /// may search those that have no access list. (What they do not allow, [`InodeOps::permission`](crate::fs::InodeOps::permission) is
    /// asked about.)
    fn is_immediate(&self) -> bool {
        false
    }

    /// Whether a name that leads nowhere can be given to a new file. procfs says no: nothing can be made in it, and asking for that is
    /// `ENOENT`, whatever the permissions.
    fn has_free_names(&self) -> bool {
        true
    }

    /// Whether lookups that found nothing may be remembered.
    fn caches_negative(&self) -> bool {
        true
    }

    /// Whether the cache may keep dentries that nobody uses. procfs says no: they would hold what the files stand for.
    fn keeps_dentries(&self) -> bool {
        true
    }

    /// Whether what it says of its tree comes from a program, which may contradict itself.
    fn may_lie(&self) -> bool {
        false
    }

    /// `st_blksize` of files that say nothing else ([`Attributes::block_size_bytes`](super::Attributes)).
    fn block_size_bytes(&self) -> u32 {
        crate::mm::PAGE_SIZE_BYTES as u32
    }

    /// The longest name in bytes (`ENAMETOOLONG` beyond).
    fn name_max_bytes(&self) -> usize {
        255
    }

    /// Whether programs may mount it and mount on it: pipes, sockets and the like say no (`SB_NOUSER`).
    fn kernel_internal(&self) -> bool {
        false
    }

    /// A dentry's path for ROOT in mountinfo and for readlink of `/proc/PID/fd/N` where it is not made of names (`net:[4026…]`, `pipe:[17]`, `/memfd:x`).
    fn dentry_name(&self, dentry: &Dentry) -> Option<Vec<u8>> {
        None
    }

    /// Like [`Self::dentry_name`], for ROOT in mountinfo alone: where that depends on who looks.
    fn shown_root(&self, dentry: &Dentry) -> Option<Vec<u8>> {
        self.dentry_name(dentry)
    }

    /// The handle of a file, by which [`Self::decode_handle`] finds it again (`name_to_handle_at(2)`). `None`: the filesystem has none.
    fn encode_handle(&self, inode: &Arc<Inode>) -> Option<FileHandle> {
        None
    }

    /// The file of a handle that [`Self::encode_handle`] once made, or that a program made up: in its place in the tree, or as a dentry
    /// without a parent. `ESTALE` if there is no such file.
    fn decode_handle(&self, superblock: &Arc<SuperBlock>, handle: &FileHandle) -> Result<Arc<Dentry>> {
        Err(Errno::STALE)
    }

    /// `umount -f` (U3).
    fn abort(&self) {}

    /// The last mount and reference are gone.
    fn shut_down(&self, superblock: &SuperBlock) {}
}
