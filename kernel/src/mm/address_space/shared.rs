//! Zero-filled memory that programs share over `fork` (`MAP_SHARED|MAP_ANONYMOUS`).

use super::FaultError;
use crate::mm::Frame;
use crate::mm::frame::Purpose;
use crate::sync::SpinLock;
use alloc::collections::BTreeMap;

/// The pages, made when first touched. As many as were mapped at first: what `mremap` puts behind them is past the end.
pub struct SharedMemory {
    len_pages: u64,
    pages: SpinLock<BTreeMap<u64, Frame>>,
}

impl SharedMemory {
    /// So many pages of zeros.
    pub(super) const fn new(len_pages: u64) -> Self {
        Self { len_pages, pages: SpinLock::new(BTreeMap::new()) }
    }

    /// The page with this index.
    pub(super) fn page(&self, index: u64) -> Result<Frame, FaultError> {
        if index >= self.len_pages {
            return Err(FaultError::Bus);
        }
        let mut pages = self.pages.lock();
        if let Some(frame) = pages.get(&index) {
            return Ok(frame.clone());
        }
        let frame = Frame::alloc_charged(Purpose::Shared).map_err(|_| FaultError::OutOfMemory)?;
        pages.insert(index, frame.clone());
        Ok(frame)
    }

    /// Frees pages (`MADV_REMOVE`): they read as zeros afterwards.
    pub(super) fn remove(&self, first: u64, count: u64) {
        let mut pages = self.pages.lock();
        let mut rest = pages.split_off(&first);
        let mut after = rest.split_off(&first.saturating_add(count));
        pages.append(&mut after);
        drop(pages);
        drop(rest);
    }
}
