//! The content of a regular file (and of a long symbolic link) of tmpfs: pages by index, holes between them.
//!
//! Pages are shared with whoever maps the file; every page that exists is charged to the instance, holes are free.

use super::accounting::Accounts;
use crate::errno::{Errno, Result};
use crate::fs::Inode;
use crate::mm::address_space::{FaultError, PageSource};
use crate::mm::frame::Purpose;
use crate::mm::{Frame, IoBuffer, PAGE_SIZE_BYTES};
use crate::sync::SpinLock;
use crate::task::oom;
use alloc::{collections::BTreeMap, sync::Arc, vec, vec::Vec};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const PAGE: u64 = PAGE_SIZE_BYTES as u64;

/// A page that exists.
struct Page {
    frame: Frame,
    /// Written or mapped: data. What `fallocate` made is a hole for `lseek(2)` until then.
    is_data: bool,
}

/// The pages of a file and its length.
pub struct Content {
    accounts: Arc<Accounts>,
    pages: SpinLock<BTreeMap<u64, Page>>,
    len_bytes: AtomicU64,
    /// `F_SEAL_*` of `fcntl(2)`.
    seals: AtomicU32,
}

impl Content {
    /// An empty file.
    pub fn new(accounts: Arc<Accounts>, seals: u32) -> Arc<Self> {
        Arc::new(Self { accounts, pages: SpinLock::new(BTreeMap::new()), len_bytes: AtomicU64::new(0), seals: AtomicU32::new(seals) })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len_bytes.load(Ordering::Acquire)
    }

    /// Pages that exist.
    pub fn page_count(&self) -> u64 {
        self.pages.lock().len() as u64
    }

    /// The seals now.
    pub fn seals(&self) -> u32 {
        self.seals.load(Ordering::Acquire)
    }

    /// Puts these seals in the place of what a new file has.
    pub fn set_seals(&self, seals: u32) {
        self.seals.store(seals, Ordering::Release);
    }

    /// Adds seals.
    pub fn add_seals(&self, seals: u32) {
        self.seals.fetch_or(seals, Ordering::AcqRel);
    }

    /// The page at `index`, made and charged if it is a hole, and data from now on. `ENOSPC`, `ENOMEM`.
    pub fn page_or_make(&self, index: u64) -> Result<Frame> {
        self.make_page(index, true)
    }

    /// The same where the caller can wait for somebody of its control group to make room.
    fn page_for_writing(&self, index: u64) -> Result<Frame> {
        loop {
            match self.page_or_make(index) {
                Err(Errno::NOMEM) if oom::make_room_in_group() => {}
                outcome => return outcome,
            }
        }
    }

    fn make_page(&self, index: u64, is_data: bool) -> Result<Frame> {
        if let Some(page) = self.pages.lock().get_mut(&index) {
            page.is_data |= is_data;
            return Ok(page.frame.clone());
        }
        self.accounts.take_pages(1)?;
        let fresh = Frame::alloc_charged(Purpose::Shared).inspect_err(|_| self.accounts.give_back_pages(1))?;
        let mut pages = self.pages.lock();
        if let Some(page) = pages.get_mut(&index) {
            page.is_data |= is_data;
            let frame = page.frame.clone();
            drop(pages);
            self.accounts.give_back_pages(1);
            return Ok(frame);
        }
        pages.insert(index, Page { frame: fresh.clone(), is_data });
        Ok(fresh)
    }

    /// The page at `index`, unless it is a hole.
    pub fn existing_page(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get(&index).map(|page| page.frame.clone())
    }

    /// Moves bytes from the file to `buffer`. Holes read as zeros and stay holes.
    pub fn read(&self, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        let mut page = vec![0; PAGE_SIZE_BYTES];
        let mut position = offset;
        let mut total = 0;
        while buffer.remaining() > 0 {
            let within = (position % PAGE) as usize;
            let available = self.len().saturating_sub(position).min(PAGE - within as u64) as usize;
            let wanted = available.min(buffer.remaining());
            if wanted == 0 {
                break;
            }
            match self.existing_page(position / PAGE) {
                Some(frame) => frame.read(within, &mut page[..wanted]),
                None => page[..wanted].fill(0),
            }
            let moved = match buffer.put(&page[..wanted]) {
                Ok(moved) => moved,
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            };
            total += moved;
            position += moved as u64;
            if moved < wanted {
                break;
            }
        }
        Ok(total)
    }

    /// Moves bytes from `buffer` into the file, which grows. Stops short where the instance is full; an error only if nothing was
    /// written. The caller holds the inode's lock; at most `max_bytes` are taken.
    pub fn write(&self, buffer: &mut IoBuffer<'_>, offset: u64, max_bytes: usize) -> Result<usize> {
        let mut bytes = vec![0; PAGE_SIZE_BYTES];
        let mut position = offset;
        let mut total = 0;
        while total < max_bytes {
            let within = (position % PAGE) as usize;
            let wanted = (PAGE_SIZE_BYTES - within).min(max_bytes - total);
            let step = self.page_for_writing(position / PAGE).and_then(|frame| {
                let taken = buffer.take(&mut bytes[..wanted])?;
                frame.write(within, &bytes[..taken]);
                Ok(taken)
            });
            let moved = match step {
                Ok(moved) => moved,
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            };
            total += moved;
            position += moved as u64;
            self.len_bytes.fetch_max(position, Ordering::AcqRel);
            if moved < wanted {
                break;
            }
        }
        Ok(total)
    }

    /// `truncate(2)`: what lies beyond is gone, also from mappings; growing leaves a hole.
    pub fn set_len(&self, inode: &Inode, len_bytes: u64) {
        let old = self.len_bytes.swap(len_bytes, Ordering::AcqRel);
        if len_bytes >= old {
            return;
        }
        let first_gone = len_bytes.div_ceil(PAGE);
        inode.mappings.forget(first_gone, u64::MAX - first_gone, true);
        self.free_pages(first_gone, u64::MAX);
        self.zero_part(len_bytes, len_bytes.next_multiple_of(PAGE));
    }

    /// `FALLOC_FL_PUNCH_HOLE`: whole pages become holes, parts of pages zeros.
    pub fn punch_hole(&self, inode: &Inode, start: u64, end: u64) {
        let (first_whole, end_whole) = (start.div_ceil(PAGE), end / PAGE);
        if first_whole < end_whole {
            inode.mappings.forget(first_whole, end_whole - first_whole, false);
            self.free_pages(first_whole, end_whole);
        }
        if start / PAGE == end / PAGE {
            self.zero_part(start, end);
        } else {
            self.zero_part(start, start.next_multiple_of(PAGE));
            self.zero_part(end / PAGE * PAGE, end);
        }
    }

    /// Makes all pages of a range exist, or none of those that did not.
    pub fn allocate(&self, start: u64, end: u64) -> Result<()> {
        let mut made = Vec::new();
        for index in start / PAGE..end.div_ceil(PAGE) {
            if self.existing_page(index).is_some() {
                continue;
            }
            let result = made.try_reserve(1).map_err(|_| Errno::NOMEM).and_then(|()| self.make_page(index, false));
            match result {
                Ok(_) => made.push(index),
                Err(error) => {
                    made.into_iter().for_each(|index| self.free_pages(index, index + 1));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Lengthens the file without touching its pages.
    pub fn grow_to(&self, len_bytes: u64) {
        self.len_bytes.fetch_max(len_bytes, Ordering::AcqRel);
    }

    /// `SEEK_DATA` and `SEEK_HOLE`: the first position from `offset` on that is in a page, or in none. `None` past the end.
    pub fn seek(&self, offset: u64, data: bool) -> Option<u64> {
        let len = self.len();
        if offset >= len {
            return None;
        }
        let pages = self.pages.lock();
        let first = offset / PAGE;
        if data {
            let (&index, _) = pages.range(first..).find(|(_, page)| page.is_data)?;
            let position = offset.max(index * PAGE);
            return (position < len).then_some(position);
        }
        let mut hole = first;
        for (&index, page) in pages.range(first..) {
            if index != hole || !page.is_data {
                break;
            }
            hole += 1;
        }
        Some(offset.max(hole * PAGE).min(len))
    }

    /// Frees the pages from `first` up to `end` (exclusive).
    fn free_pages(&self, first: u64, end: u64) {
        let freed = {
            let mut pages = self.pages.lock();
            let mut freed = pages.split_off(&first);
            let mut kept = if end == u64::MAX { BTreeMap::new() } else { freed.split_off(&end) };
            pages.append(&mut kept);
            freed
        };
        self.accounts.give_back_pages(freed.len() as u64);
    }

    /// Zeroes a range that lies within one page, if the page exists.
    fn zero_part(&self, start: u64, end: u64) {
        if start < end
            && let Some(frame) = self.existing_page(start / PAGE)
        {
            frame.zero((start % PAGE) as usize, (end - start) as usize);
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.accounts.give_back_pages(self.pages.get_mut().len() as u64);
    }
}

/// A file's pages as mappings see them.
pub struct Pages {
    /// The content.
    pub content: Arc<Content>,
}

impl PageSource for Pages {
    /// A touched hole is charged, even if it is only read.
    fn page(&self, index: u64, _for_write: bool) -> core::result::Result<Frame, FaultError> {
        if index >= self.content.len().div_ceil(PAGE) {
            return Err(FaultError::Bus);
        }
        self.content.page_or_make(index).map_err(|error| if error == Errno::NOMEM { FaultError::OutOfMemory } else { FaultError::Bus })
    }

    fn len_bytes(&self) -> u64 {
        self.content.len()
    }
}
