//! Physical frames with reference counts. A [`Frame`] is a handle: cloning counts up, dropping the last frees the frame.

use crate::errno::Result;

/// A counted reference to one physical page of 4 KiB.
///
/// Its bytes may be mapped writable into programs, so they are never borrowed: reads and writes copy.
pub struct Frame {
    number: u32,
}

impl Frame {
    /// A fresh frame filled with zeros. `ENOMEM` when memory has run out (after the out-of-memory killer had its chance).
    pub fn alloc_zeroed() -> Result<Self> {
        todo!()
    }

    /// Copies out of the page. Panics if `offset + bytes.len()` passes the page (a kernel bug).
    pub fn read(&self, _offset: usize, _bytes: &mut [u8]) {
        todo!()
    }

    /// Copies into the page.
    pub fn write(&self, _offset: usize, _bytes: &[u8]) {
        todo!()
    }

    /// Fills a part of the page with zeros.
    pub fn zero(&self, _offset: usize, _len_bytes: usize) {
        todo!()
    }

    /// A fresh frame with the same content (copy on write).
    pub fn duplicate(&self) -> Result<Self> {
        todo!()
    }

    /// How many handles and page-table entries refer to the frame.
    pub fn references(&self) -> u32 {
        todo!()
    }

    /// The physical address of the page's first byte.
    pub fn physical_address(&self) -> u64 {
        u64::from(self.number) << 12
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        todo!()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {}
}

/// How much memory there is, in pages.
#[derive(Clone, Copy, Debug)]
pub struct MemoryStatistics {
    /// Frames that the kernel manages.
    pub total_pages: u64,
    /// Frames that are free.
    pub free_pages: u64,
    /// Frames that hold file contents.
    pub cached_pages: u64,
    /// Frames given to the kernel heap.
    pub heap_pages: u64,
}

/// The numbers for `/proc/meminfo` and `sysinfo(2)`.
pub fn statistics() -> MemoryStatistics {
    todo!()
}
