//! The one forest of mounts, and what the rest of the kernel asks of it.
//!
//! `vfs` is the seam through which graft asks about dentries; `boot` makes the first mounts; the operations of the mount calls are in
//! `operations`. Lock order: the forest's lock is taken for moments only, never across anything that blocks, and never while a [`Path`]
//! is cloned or dropped.

mod boot;
mod detached;
pub mod namespace;
mod operations;
pub mod statmount;
mod vfs;

use crate::errno::{Errno, Result};
use crate::fs::{Dentry, Path, SuperBlock};
use crate::sync::{Lazy, RwLock};
use crate::task::WaitQueue;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;
use graft::flags::MountFlags;
use graft::views::PathEnd;
use graft::{MountId, NamespaceId, Place, Refusal};

pub use boot::{init, kernel_mount};
pub use detached::{clone_tree, decode_attributes, decode_change, mount_context, set_attributes, set_group};
pub use namespace::{enter_place, make_copy, release};
pub use operations::*;
pub use vfs::{KernelVfs, UserNamespaceHandle};

/// Every mount of the kernel.
pub type Forest = graft::Forest<KernelVfs>;

static FOREST: Lazy<RwLock<Forest>> = Lazy::new(|| RwLock::new(Forest::new(KernelVfs)));

/// Every mount of the kernel, behind its lock.
pub fn forest() -> &'static RwLock<Forest> {
    &FOREST
}

/// Who waits for events of mount tables (W12). One queue for all namespaces: who is woken for nothing looks and waits on.
static CHANGES: Lazy<Arc<WaitQueue>> = Lazy::new(|| Arc::new(WaitQueue::new()));

/// Is woken whenever mounts have changed.
pub fn changes() -> &'static Arc<WaitQueue> {
    &CHANGES
}

/// Runs one change of the forest with its lock held for writing, and tells who waits for changes.
fn change<T>(operation: impl FnOnce(&mut Forest) -> T) -> T {
    let result = operation(&mut forest().write());
    CHANGES.wake_all();
    result
}

/// A refusal as a system call returns it. The rule goes to the log, with the call that broke it.
pub fn refused(call: &'static str) -> impl Fn(Refusal) -> Errno {
    move |refusal| {
        log::debug!("{call} refused: {refusal}");
        Errno::from_code(refusal.errno.number())
    }
}

/// Adds a pin to a mount that the caller has pinned already.
#[inline]
pub fn pin(mount: MountId) {
    forest().read().pin(mount);
}

/// Gives a pin back; an unmounted mount goes with its last. `counts_as_use`: `MNT_EXPIRE` hears of it (U2).
#[inline]
pub fn unpin(mount: MountId, counts_as_use: bool) {
    let was_last = {
        let forest = forest().read();
        if counts_as_use { forest.unpin(mount) } else { forest.unpin_no_expire(mount) }
    };
    if was_last {
        let released = forest().write().reap(mount);
        drop(released);
    }
}

/// A place of the forest as a path, pinned. The caller holds the forest's lock.
fn pinned(forest: &Forest, place: Place<KernelVfs>) -> Path {
    forest.pin(place.mount);
    Path::from_pinned(place.mount, place.dentry)
}

/// A path as a place of the forest.
pub fn place(path: &Path) -> Place<KernelVfs> {
    Place::new(path.mount(), path.dentry().clone())
}

/// What is mounted at (mount, dentry), up to the top of the stack (L1).
pub fn cross(mount: MountId, dentry: &Arc<Dentry>) -> Option<Path> {
    let at = Place::new(mount, dentry.clone());
    let forest = forest().read();
    forest.cross(&at).map(|place| pinned(&forest, place))
}

/// A path raised to the top of the stack that stands at it (L3).
pub fn raised_to_top(path: Path) -> Path {
    cross(path.mount(), path.dentry()).unwrap_or(path)
}

/// What is above a path (L5).
pub enum Up {
    /// The path is not the root of its mount: its parent dentry.
    InMount,
    /// The path is the root of its mount, which sits here.
    Parent(Path),
    /// The path is the root of a mount that sits nowhere.
    Top,
}

/// Where `..` leads from a path.
pub fn follow_up(path: &Path) -> Up {
    let forest = forest().read();
    if forest.root(path.mount()).is_none_or(|root| root.key != path.dentry().key) {
        return Up::InMount;
    }
    match forest.follow_up(path.mount()) {
        Some(place) => Up::Parent(pinned(&forest, place)),
        None => Up::Top,
    }
}

/// Whether a path still lies below the root of its mount: a rename may have moved it out (L7). Not asked of a mount of a whole
/// superblock.
pub fn is_connected(path: &Path) -> bool {
    let root = forest().read().root(path.mount()).cloned();
    root.is_none_or(|root| root.parent().is_none() || path.dentry().is_below(&root))
}

/// Whether a path is the root of its mount.
pub fn is_mount_root(path: &Path) -> bool {
    forest().read().root(path.mount()).is_some_and(|root| root.key == path.dentry().key)
}

/// The flags of a mount.
pub fn flags(mount: MountId) -> MountFlags {
    forest().read().flags(mount).unwrap_or_default()
}

/// The number of a mount that mountinfo, statx and fdinfo show.
pub fn number(mount: MountId) -> u32 {
    forest().read().mount_number(mount).unwrap_or(0)
}

/// The number of a mount that is never used again (X16).
pub fn unique_id(mount: MountId) -> u64 {
    forest().read().unique_id(mount).unwrap_or(0)
}

/// What `statfs(2)` tells of a mount and its superblock (W13).
pub fn statistics_flags(path: &Path) -> u64 {
    let superblock = superblock(path.mount()).map_or(0, |superblock| superblock.flags.load(Ordering::Relaxed));
    graft::views::statfs_bits(flags(path.mount()), graft::flags::SuperFlags::from_bits_truncate(superblock as _))
}

/// The superblock of a mount.
pub fn superblock(mount: MountId) -> Option<Arc<SuperBlock>> {
    forest().read().superblock(mount).map(|active| active.superblock().clone())
}

/// Whether nothing can be changed through a path: mount or superblock are read-only (M5).
pub fn is_read_only(path: &Path) -> bool {
    flags(path.mount()).contains(MountFlags::RDONLY) || superblock(path.mount()).is_some_and(|superblock| superblock.is_read_only())
}

/// Takes write access through a path's mount, for an operation or an open file: `EROFS`.
pub fn take_write_access(path: &Path) -> Result<()> {
    let forest = forest().read();
    let superblock_is_read_only = forest.superblock(path.mount()).is_some_and(|active| active.superblock().is_read_only());
    if superblock_is_read_only {
        return Err(Errno::ROFS);
    }
    forest.get_write_access(path.mount()).map_err(|refusal| Errno::from_code(refusal.errno.number()))
}

/// Gives back what [`take_write_access`] took.
pub fn release_write_access(mount: MountId) {
    forest().read().put_write_access(mount);
}

/// Write access for the time of one operation.
pub struct WriteAccess(MountId);

impl WriteAccess {
    /// `EROFS`.
    pub fn take(path: &Path) -> Result<Self> {
        take_write_access(path)?;
        Ok(Self(path.mount()))
    }
}

impl Drop for WriteAccess {
    fn drop(&mut self) {
        release_write_access(self.0);
    }
}

/// Whether a dentry is a mountpoint of the current thread's namespace (L16): then its name may not be taken away.
pub fn is_local_mountpoint(dentry: &Arc<Dentry>) -> bool {
    if dentry.mounted.load(Ordering::Relaxed) == 0 {
        return false;
    }
    let namespace = current_namespace();
    forest().read().is_mountpoint_in(dentry, namespace)
}

/// A dentry was removed or replaced: what other namespaces have mounted on it goes (L17).
pub fn detach_mounts(dentry: &Arc<Dentry>) {
    if dentry.mounted.load(Ordering::Relaxed) == 0 {
        return;
    }
    let released = change(|forest| forest.detach_mounts(dentry));
    drop(released);
}

/// The mount namespace of the current thread.
pub fn current_namespace() -> NamespaceId {
    crate::task::current().namespaces().mount.id
}

/// A path as its user sees it from `root`, and whether it can be reached from there (L8). Ends in ` (deleted)` if it was unlinked.
pub fn path_text(path: &Path, root: &Path) -> Result<(Vec<u8>, bool)> {
    if let Some(name) = path.dentry().superblock.upgrade().and_then(|superblock| superblock.ops.dentry_name(path.dentry())) {
        return Ok((name, true));
    }
    let (at, from) = (place(path), place(root));
    let mut text = Vec::new();
    let end = forest().read().append_path(&at, &from, &mut text).map_err(|_| Errno::NOMEM)?;
    let reachable = end == PathEnd::Root;
    if path.dentry().is_unhashed() {
        text.extend_from_slice(b" (deleted)");
    }
    Ok((text, reachable))
}
