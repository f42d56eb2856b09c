//! overlayfs: directories over each other as one tree (`Documentation/filesystems/overlayfs` of Linux says what is seen).
//!
//! A file of the overlay is a [`node::Node`]: the dentry in the upper layer, if it is there, and those in lower layers that show
//! through. `lookup` puts them together, `copy_up` brings a file to the upper layer before its first change, `change` makes, moves and
//! removes names with whiteouts, `file` and `directory` are what is open. `real` works in the layers, `layers` holds them, `work` has the
//! directory where changes are prepared. `marks` are the overlay's own extended attributes, `origin` is the one that keeps a file's
//! number; `index` finds files that came up by another name, `export` makes handles of that; `options` and `shown` are what a mount asks for.

mod change;
mod copy_up;
mod directory;
mod export;
mod file;
mod index;
mod layers;
mod lookup;
mod marks;
mod node;
mod options;
mod origin;
mod real;
mod shown;
mod work;

use crate::errno::{Errno, Result};
use crate::fs::handle::FileHandle;
use crate::fs::superblock::{FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::{Dentry, Inode, SuperBlock};
use crate::sync::SpinLock;
use crate::task::{Capabilities, Credentials, SleepMutex};
use alloc::{
    collections::BTreeMap,
    format,
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};
use layers::Layers;
use options::{Options, Redirects};

/// `OVERLAYFS_SUPER_MAGIC` of `statfs(2)`.
const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// `overlay`.
pub struct OverlayFs;

/// Its one value.
pub static TYPE: OverlayFs = OverlayFs;

impl FileSystemType for OverlayFs {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn escapes_commas(&self) -> bool {
        true
    }

    fn has_remount_options(&self) -> bool {
        false
    }

    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        Options::default().take(key, value)
    }

    fn check_next_option(&self, before: &[(String, Option<Vec<u8>>)], key: &str, value: Option<&[u8]>) -> Result<()> {
        Options::check_next(before, key, value)
    }

    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let mut options = Options::default();
        for (key, value) in &request.options {
            options.take(key, value.as_deref())?;
        }
        options.settle()?;
        let layers = Layers::open(&mut options, &request.credentials)?;
        let read_only = if layers.upper.is_none() { linux_raw_sys::general::MS_RDONLY } else { 0 };
        let mut overlay = Overlay {
            options,
            layers,
            mounter: request.credentials.clone(),
            copying: SleepMutex::new(()),
            inodes: SpinLock::new(BTreeMap::new()),
            next_temporary: AtomicU64::new(0),
            next_number: AtomicU64::new(1),
        };
        overlay.settle_features()?;
        let overlay = Arc::new(overlay);
        let ops = Arc::new(OverlaySuper { overlay: overlay.clone() });
        let superblock = SuperBlock::new(&TYPE, request.flags | read_only, request.credentials.user_namespace.clone(), None, ops);
        superblock.set_root(overlay.root(&superblock)?);
        Ok(superblock)
    }
}

/// What all files of one overlay share.
pub struct Overlay {
    options: Options,
    layers: Layers,
    /// In whose name the layers are read and changed.
    mounter: Arc<Credentials>,
    /// Held while a file comes to the upper layer.
    copying: SleepMutex<()>,
    /// The overlay's inodes of files that have several names, by the layers' inodes.
    inodes: SpinLock<BTreeMap<usize, Weak<Inode>>>,
    next_temporary: AtomicU64,
    /// For directories that cannot show a number of their layer.
    next_number: AtomicU64,
}

impl Overlay {
    /// A name in the directory for work that nothing has.
    fn temporary_name(&self) -> Vec<u8> {
        format!("#{:x}", self.next_temporary.fetch_add(1, Ordering::Relaxed)).into_bytes()
    }

    /// A number that no file of the overlay has.
    fn own_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether marks of this mount can be set in its upper layer.
    fn can_mark(&self) -> bool {
        self.options.user_marks || self.mounter.capable(Capabilities::SYS_ADMIN)
    }

    /// Features that lean on what the layers can do fall back, as on Linux: without marks there are neither redirects nor metacopies.
    fn settle_features(&mut self) -> Result<()> {
        if self.layers.upper.is_some() && !self.can_mark() {
            (self.options.redirects, self.options.metacopy) = (Redirects::NoFollow, false);
        }
        self.settle_uuid()?;
        self.settle_index()
    }
}

/// One overlay as the generic code sees it.
pub struct OverlaySuper {
    overlay: Arc<Overlay>,
}

impl SuperBlockOps for OverlaySuper {
    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        let layers = &self.overlay.layers;
        let top = layers.upper.as_ref().map(|upper| &upper.root).or(layers.lowers.first().map(|lower| &lower.path));
        let below = top.and_then(|top| top.inode()).map(|inode| inode.superblock.ops.statistics(&inode.superblock));
        FileSystemStatistics { magic: OVERLAY_MAGIC, ..below.unwrap_or_default() }
    }

    fn sync(&self, _superblock: &SuperBlock) -> Result<()> {
        let upper = self.overlay.layers.upper.as_ref().and_then(|upper| upper.root.inode());
        upper.map_or(Ok(()), |inode| inode.superblock.ops.sync(&inode.superblock))
    }

    fn encode_handle(&self, inode: &Arc<Inode>) -> Option<FileHandle> {
        if self.overlay.options.nfs_export { export::encode(inode) } else { None }
    }

    fn decode_handle(&self, superblock: &Arc<SuperBlock>, handle: &FileHandle) -> Result<Arc<Dentry>> {
        if self.overlay.options.nfs_export { export::decode(&self.overlay, superblock, handle) } else { Err(Errno::STALE) }
    }

    fn show_options(&self, _superblock: &SuperBlock, out: &mut dyn Write) -> core::fmt::Result {
        self.overlay.options.show(self.overlay.layers.is_one_file_system(), out)
    }

    fn reconfigure(&self, _superblock: &Arc<SuperBlock>, flags: u32, _options: &[(String, Option<Vec<u8>>)]) -> Result<()> {
        // Layers stay as they are: a remount changes nothing but the flags, and without an upper layer nothing can be written.
        let writable = flags & linux_raw_sys::general::MS_RDONLY == 0;
        if writable && self.overlay.layers.upper.is_none() { Err(Errno::ROFS) } else { Ok(()) }
    }

    fn shut_down(&self, _superblock: &SuperBlock) {
        self.overlay.layers.close();
    }
}
