//! File handles: node and generation. They lead to a node that the kernel still holds; to others only where the server can look up `.`
//! and `..` of a node by its number (EXPORT_SUPPORT), and then a directory's way to the top is found again, as Linux finds it.

use super::directory;
use super::mount::FuseSuper;
use super::names;
use super::node::Node;
use super::protocol::{Entry, Features, ROOT_NODE};
use crate::errno::{Errno, Result};
use crate::fs::handle::{FileHandle, INODE_64_TYPE};
use crate::fs::{Dentry, FileType, Inode, SuperBlock, walk};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The deepest directory whose way up is searched: a server may say that two directories lie in each other.
const MAX_DEPTH: usize = 256;

/// The handle of an inode: the node's number, upper half first, and its generation.
pub fn encode(inode: &Inode) -> Option<FileHandle> {
    let node = inode.downcast::<Node>()?;
    let words = [(node.number >> 32) as u32, node.number as u32, node.generation as u32];
    Some(FileHandle::from_words(INODE_64_TYPE, &words))
}

/// The file of a handle. `ESTALE` if the server has it no more, or nobody can ask for it.
pub fn decode(fuse: &FuseSuper, superblock: &Arc<SuperBlock>, handle: &FileHandle) -> Result<Arc<Dentry>> {
    let [high, low, generation, ..] = handle.words()[..] else { return Err(Errno::STALE) };
    let number = u64::from(high) << 32 | u64::from(low);
    let inode = match fuse.0.find(number) {
        Some(inode) => inode,
        None if number == 0 => return Err(Errno::STALE),
        None => look_up_by_number(fuse, superblock, number, b".")?,
    };
    let node = inode.downcast::<Node>().ok_or(Errno::STALE)?;
    if node.number != number || node.generation as u32 != generation {
        return Err(Errno::STALE);
    }
    if inode.file_type == FileType::Directory {
        return place_of_directory(fuse, superblock, inode);
    }
    let named = node.place().filter(|dentry| !dentry.is_unlinked());
    named.map_or_else(|| nameless(superblock, inode.clone(), number), Ok)
}

/// `.` or `..` of a node.
fn look_up_by_number(fuse: &FuseSuper, superblock: &Arc<SuperBlock>, number: u64, name: &[u8]) -> Result<Arc<Inode>> {
    if !fuse.0.connection.has(Features::EXPORT_SUPPORT) {
        return Err(Errno::STALE);
    }
    let (entry, asked_at_ns): (Entry, u64) = names::ask_entry(&fuse.0, number, name)?;
    match entry.node {
        0 => Err(Errno::STALE),
        // Lookups of the top are not counted.
        ROOT_NODE => superblock.root_dentry().and_then(|root| root.inode()).ok_or(Errno::STALE),
        _ => fuse.0.inode_of(superblock, &entry, asked_at_ns),
    }
}

/// The dentry of a directory, with all those above it.
fn place_of_directory(fuse: &FuseSuper, superblock: &Arc<SuperBlock>, inode: Arc<Inode>) -> Result<Arc<Dentry>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut at = inode.clone();
    let mut dentry = loop {
        let node = at.downcast::<Node>().ok_or(Errno::STALE)?;
        if let Some(place) = node.place().filter(|place| !place.is_unlinked()) {
            break place;
        }
        if names.len() == MAX_DEPTH {
            log::warn!("fuse: node {} lies deeper than {MAX_DEPTH} directories", node.number);
            return Err(Errno::STALE);
        }
        let parent = look_up_by_number(fuse, superblock, node.number, b"..")?;
        names.push(directory::name_of(parent.downcast::<Node>().ok_or(Errno::STALE)?, at.number)?);
        at = parent;
    };
    for name in names.iter().rev() {
        dentry = walk::look_up(&dentry, name)?;
    }
    if dentry.inode().is_some_and(|found| Arc::ptr_eq(&found, &inode)) { Ok(dentry) } else { Err(Errno::STALE) }
}

/// A dentry for a file whose name is not known.
fn nameless(superblock: &Arc<SuperBlock>, inode: Arc<Inode>, number: u64) -> Result<Arc<Dentry>> {
    let root = superblock.root_dentry().ok_or(Errno::STALE)?;
    Ok(Dentry::new_unlinked(superblock, &root, inode, format!("#{number}").into_bytes()))
}
