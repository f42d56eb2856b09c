//! Handles of tmpfs: generation, then the inode's number in two words. Every inode knows its names, so a handle finds its way back to a
//! place in the tree although no dentry of it may be cached.

use super::node::{Instance, Node};
use crate::errno::{Errno, Result};
use crate::fs::handle::{FileHandle, INODE_32_TYPE};
use crate::fs::{Dentry, Inode, SuperBlock, walk};
use alloc::{format, sync::Arc, vec::Vec};

/// Numbers are never used twice in an instance, so the generation need only tell instances apart.
fn generation(superblock: &SuperBlock) -> u32 {
    superblock.key as u32
}

/// The handle of `inode`, which can be found by it from now on.
pub fn encode(instance: &Instance, inode: &Arc<Inode>) -> FileHandle {
    instance.handles.lock().insert(inode.number, Arc::downgrade(inode));
    let words = [generation(&inode.superblock), inode.number as u32, (inode.number >> 32) as u32];
    FileHandle::from_words(INODE_32_TYPE, &words)
}

/// The file of a handle. `ESTALE` if it is gone.
pub fn decode(instance: &Instance, superblock: &Arc<SuperBlock>, handle: &FileHandle) -> Result<Arc<Dentry>> {
    let words = handle.words();
    let [made_for, low, high, ..] = words[..] else { return Err(Errno::STALE) };
    if made_for != generation(superblock) {
        return Err(Errno::STALE);
    }
    let number = u64::from(low) | u64::from(high) << 32;
    let known = instance.handles.lock().get(&number).cloned();
    let inode = known.and_then(|inode| inode.upgrade()).ok_or(Errno::STALE)?;
    place_of(superblock, &inode)
}

/// A dentry of the inode: that of its first name, or one without a name.
fn place_of(superblock: &Arc<SuperBlock>, inode: &Arc<Inode>) -> Result<Arc<Dentry>> {
    let root = superblock.root_dentry().ok_or(Errno::STALE)?;
    let top = root.inode().ok_or(Errno::STALE)?;
    let mut names = Vec::new();
    let mut at = inode.clone();
    while at.number != top.number {
        let Some((directory, name)) = at.downcast::<Node>().and_then(Node::first_name) else {
            let name = format!("#{}", inode.number).into_bytes();
            return Ok(Dentry::new_unlinked(superblock, &root, inode.clone(), name));
        };
        names.push(name);
        at = directory;
    }
    let mut dentry = root;
    for name in names.iter().rev() {
        dentry = walk::look_up(&dentry, name)?;
    }
    // A rename may have come between.
    if dentry.inode().is_some_and(|found| Arc::ptr_eq(&found, inode)) { Ok(dentry) } else { Err(Errno::STALE) }
}
