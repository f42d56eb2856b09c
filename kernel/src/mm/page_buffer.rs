//! A page of bytes that the kernel holds for programs: what lies in a pipe or a socket's queue.
//!
//! Such bytes are in frames, not in the heap, because there can be as many as memory holds, and the heap never gives frames back.
//! Unlike a [`Frame`] that programs may have mapped, the page of a buffer is nobody else's, so its bytes can be borrowed.

use crate::errno::Result;
use crate::mm::frame::Purpose;
use crate::mm::{Frame, PAGE_SIZE_BYTES};

/// Up to a page of bytes.
pub struct PageBuffer {
    /// Never cloned and never mapped: this handle is the only one.
    frame: Frame,
    len_bytes: usize,
}

impl PageBuffer {
    /// An empty one. `ENOMEM` when only the kernel's reserve is left.
    pub fn new() -> Result<Self> {
        Ok(Self { frame: Frame::alloc_charged_uninitialized(Purpose::Kernel)?, len_bytes: 0 })
    }

    /// The bytes in it.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the frame is kept by the handle and is the buffer's alone; the shared borrow of the buffer keeps it from being filled.
        // `len_bytes` is at most a page.
        unsafe { core::slice::from_raw_parts(self.frame.bytes(), self.len_bytes) }
    }

    /// Lets `fill` write to the free part of the page, up to `most` bytes of it; what it says that it wrote is added.
    pub fn append(&mut self, most: usize, fill: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<usize> {
        let room = most.min(PAGE_SIZE_BYTES - self.len_bytes);
        // SAFETY: as in `bytes`, with the borrow being exclusive; the part lies within the page. It may hold what the frame held before:
        // bytes, whatever they are, and nobody sees them but `fill`.
        let part = unsafe { core::slice::from_raw_parts_mut(self.frame.bytes().add(self.len_bytes), room) };
        let added = fill(part)?.min(room);
        self.len_bytes += added;
        Ok(added)
    }

    /// Forgets the bytes.
    pub fn clear(&mut self) {
        self.len_bytes = 0;
    }
}
