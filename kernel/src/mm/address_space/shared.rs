//! Zero-filled memory that programs share over `fork` (`MAP_SHARED|MAP_ANONYMOUS`).

use super::FaultError;
use crate::mm::Frame;
use crate::sync::SpinLock;
use alloc::collections::BTreeMap;

/// The pages, made when first touched.
#[derive(Default)]
pub struct SharedMemory {
    pages: SpinLock<BTreeMap<u64, Frame>>,
}

impl SharedMemory {
    /// The page with this index.
    pub(super) fn page(&self, index: u64) -> Result<Frame, FaultError> {
        let mut pages = self.pages.lock();
        if let Some(frame) = pages.get(&index) {
            return Ok(frame.clone());
        }
        let frame = Frame::alloc_zeroed().map_err(|_| FaultError::OutOfMemory)?;
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
