//! Which page an address stands for, whoever maps it: futexes that processes share are found by it.

use super::AddressSpace;
use super::area::AreaBacking;
use alloc::sync::Arc;

/// A page of a file or of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageIdentity {
    /// The file's registry of mappings, or the shared memory, as an address that is its own while it lives.
    source: usize,
    /// The page's index in it.
    index: u64,
}

impl AddressSpace {
    /// The page that a shared mapping has at `address`; `None` for private memory and where nothing is mapped. O(log areas).
    pub fn shared_page(&self, address: u64) -> Option<PageIdentity> {
        let map = self.map.lock();
        let area = map.areas.find(address)?;
        let source = match &area.backing {
            AreaBacking::Shared { memory, .. } => Arc::as_ptr(memory) as usize,
            AreaBacking::File { file, shared: true, .. } => core::ptr::from_ref(file.mappings()) as usize,
            AreaBacking::Anonymous | AreaBacking::File { .. } => return None,
        };
        Some(PageIdentity { source, index: area.page_index(address) })
    }
}
