//! The pages of a file on their way: filled from the server, written back to it, and as mappings see them.

use super::cache;
use super::file::{Written, ask_read, ask_write, size_of, write_limit};
use super::handle::Handle;
use super::node::Node;
use crate::errno::{Errno, Result};
use crate::fs::{Inode, OpenFlags};
use crate::mm::address_space::{FaultError, PageSource};
use crate::mm::{Frame, PAGE_SIZE_BYTES};
use alloc::sync::Arc;
use alloc::vec::Vec;

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

/// Writes all dirty pages. The first error is told when all was tried.
pub fn write_back(node: &Node, inode: &Arc<Inode>) -> Result<()> {
    let mut result = Ok(());
    let mut from = 0;
    while let Some(first) = node.cache.next_dirty(from) {
        let most = (write_limit(node) as u64 / PAGE).max(1);
        let end = (first + 1..first + most).find(|&index| !node.cache.is_dirty(index)).unwrap_or(first + most);
        let written = write_back_run(node, inode, first, end);
        result = result.and(written);
        from = end;
    }
    result
}

fn write_back_run(node: &Node, inode: &Arc<Inode>, first: u64, end: u64) -> Result<()> {
    // The next store through a mapping faults, and makes the page dirty again.
    inode.mappings.forget(first, end - first, false);
    let size = size_of(inode);
    let mut data = Vec::new();
    data.try_reserve_exact(((end - first) * PAGE) as usize).map_err(|_| Errno::NOMEM)?;
    for index in first..end {
        let Some(frame) = node.cache.clean(index) else { break };
        let start = data.len();
        data.resize(start + PAGE_SIZE_BYTES, 0);
        frame.read(0, &mut data[start..]);
    }
    let left = usize::try_from(size.saturating_sub(first * PAGE)).unwrap_or(usize::MAX);
    data.truncate(left);
    if data.is_empty() {
        return Ok(());
    }
    let handle = node.writer().ok_or(Errno::IO)?;
    let written = ask_write(node, &handle, first * PAGE, &data, OpenFlags::empty(), Written::Earlier)?;
    if written == data.len() { Ok(()) } else { Err(Errno::IO) }
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

    fn write_back(&self) -> Result<()> {
        let node = self.inode.downcast::<Node>().ok_or(Errno::IO)?;
        node.write_back(&self.inode)
    }
}
