//! The bytes of a packet that waits in a socket's queue.

use crate::errno::{Errno, Result};
use crate::fs::internal;
use crate::mm::{IoBuffer, PAGE_SIZE_BYTES, PageBuffer};
use alloc::{vec, vec::Vec};

/// Up to so many bytes lie in the heap, more in pages.
const SMALL_BYTES: usize = 128;

/// The bytes of a packet. Small ones do not take up a page.
pub enum Body {
    /// In the heap.
    Small(Vec<u8>),
    /// In pages.
    Pages(Vec<PageBuffer>),
}

impl Body {
    /// Takes up to `most` bytes of `source`. `ENOBUFS` if there is no memory for them.
    pub fn take(source: &mut IoBuffer<'_>, most: usize) -> Result<Self> {
        let wanted = most.min(source.remaining());
        if wanted <= SMALL_BYTES {
            internal::check_memory().map_err(|_| Errno::NOBUFS)?;
            let mut bytes = vec![0; wanted];
            let taken = source.take(&mut bytes)?;
            bytes.truncate(taken);
            return Ok(Self::Small(bytes));
        }
        let mut pages = Vec::new();
        pages.try_reserve_exact(wanted.div_ceil(PAGE_SIZE_BYTES)).map_err(|_| Errno::NOBUFS)?;
        let mut left = wanted;
        while left > 0 {
            let mut page = PageBuffer::new().map_err(|_| Errno::NOBUFS)?;
            match page.append(left, |room| source.take(room)) {
                Ok(0) => break,
                Ok(count) => left -= count,
                Err(error) if pages.is_empty() => return Err(error),
                Err(_) => break,
            }
            pages.push(page);
        }
        Ok(Self::Pages(pages))
    }

    /// How many they are.
    pub fn len_bytes(&self) -> usize {
        self.parts().map(<[u8]>::len).sum()
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let (small, pages) = match self {
            Self::Small(bytes) => (Some(&bytes[..]), &[][..]),
            Self::Pages(pages) => (None, &pages[..]),
        };
        small.into_iter().chain(pages.iter().map(PageBuffer::bytes))
    }

    /// Copies the bytes behind the first `skip`, as far as there is room.
    pub fn copy_to(&self, mut skip: usize, target: &mut IoBuffer<'_>) -> Result<usize> {
        let mut copied = 0;
        for part in self.parts() {
            let unread = part.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            match target.put(unread) {
                Ok(count) => copied += count,
                Err(error) if copied == 0 => return Err(error),
                Err(_) => break,
            }
            if target.remaining() == 0 {
                break;
            }
        }
        Ok(copied)
    }
}
