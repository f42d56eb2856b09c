//! The pages of a file: filled from the server, and as mappings see them.

use super::cache;
use super::file::{ask_read, size_of};
use super::handle::Handle;
use super::node::Node;
use super::writeback;
use crate::errno::{Errno, Result};
use crate::fs::Inode;
use crate::mm::address_space::{FaultError, PageSource};
use crate::mm::{Frame, PAGE_SIZE_BYTES};
use alloc::sync::Arc;

const PAGE: u64 = PAGE_SIZE_BYTES as u64;

/// Reads pages from `first` on, `wanted` of them at most, as far as they are not kept and the file goes.
pub fn fill(node: &Node, inode: &Arc<Inode>, handle: &Handle, first: u64, wanted: u64) -> Result<()> {
    let settings = node.connection().settings();
    let most = (settings.readahead_bytes as u64 / PAGE).max(1).min(settings.max_pages as u64);
    let size = size_of(inode);
    let to_end = size.div_ceil(PAGE).saturating_sub(first).max(1);
    let limit = wanted.min(most).min(to_end);
    let pages = (1..limit).find(|offset| node.cache.contains(first + offset)).unwrap_or(limit);
    let len_bytes = (pages * PAGE) as usize;
    let bytes = ask_read(node, handle, first * PAGE, len_bytes, handle.open_flags)?;
    if bytes.len() < len_bytes {
        note_end(node, inode, first * PAGE + bytes.len() as u64, size);
    }
    for index in 0..pages {
        let frame = cache::new_page()?;
        let from = (index * PAGE) as usize;
        let part = bytes.get(from..bytes.len().min(from + PAGE_SIZE_BYTES)).unwrap_or_default();
        frame.write(0, part);
        node.cache.insert(first + index, frame);
    }
    Ok(())
}

/// The server has less than the size says: the file became shorter meanwhile. (With the writeback cache, the rest is a hole.)
fn note_end(node: &Node, inode: &Inode, end: u64, asked_size: u64) {
    if node.owns_content(inode) {
        return;
    }
    let mut attributes = inode.attributes.lock();
    if end < attributes.size_bytes && attributes.size_bytes == asked_size {
        attributes.size_bytes = end;
        drop(attributes);
        node.changed_here();
    }
}

/// The pages of a file for mappings, read through the open file that was mapped.
pub struct FilePages {
    /// The file.
    pub inode: Arc<Inode>,
    /// What it is read through.
    pub handle: Option<Arc<Handle>>,
}

/// Pages that nobody can read.
pub fn without_handle(inode: &Arc<Inode>) -> Arc<dyn PageSource> {
    Arc::new(FilePages { inode: inode.clone(), handle: None })
}

impl PageSource for FilePages {
    fn page(&self, index: u64, for_write: bool) -> core::result::Result<Frame, FaultError> {
        let node = self.inode.downcast::<Node>().ok_or(FaultError::Bus)?;
        if index >= size_of(&self.inode).div_ceil(PAGE) {
            return Err(FaultError::Bus);
        }
        let frame = if for_write { node.cache.get_for_write(index) } else { node.cache.get(index) };
        if for_write && frame.is_some() {
            writeback::mark(node, &self.inode);
        }
        frame.ok_or(FaultError::Absent)
    }

    fn fetch(&self, index: u64) -> core::result::Result<(), FaultError> {
        let (Some(node), Some(handle)) = (self.inode.downcast::<Node>(), &self.handle) else { return Err(FaultError::Bus) };
        let filled = node.require_good().and_then(|()| fill(node, &self.inode, handle, index, u64::MAX));
        filled.map_err(|error| match error {
            // The thread is ending, or memory has run out: the access is tried again, or never.
            Errno::INTR | Errno::NOMEM => FaultError::OutOfMemory,
            _ => FaultError::Bus,
        })
    }

    fn len_bytes(&self) -> u64 {
        size_of(&self.inode)
    }

    fn unmapped(&self) {
        if let Some(node) = self.inode.downcast::<Node>() {
            // fsync(2) will tell of an error.
            writeback::turn(node).write_all(&self.inode);
        }
    }

    fn write_back(&self) -> Result<()> {
        let node = self.inode.downcast::<Node>().ok_or(Errno::IO)?;
        writeback::write_back(node, &self.inode)
    }
}
