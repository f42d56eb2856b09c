//! Pages of a file whose home is with the server: filled by READ, dirty ones written back by WRITE, clean ones dropped at any time.

use super::mount;
use super::node::Node;
use crate::errno::Result;
use crate::fs::Inode;
use crate::mm::{Frame, PAGE_SIZE_BYTES, frame};
use crate::sync::SpinLock;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

const PAGE: u64 = PAGE_SIZE_BYTES as u64;
/// The share of memory that pages of all files here may take.
const SHARE: u64 = 2;

/// Pages that are kept now, of all files.
static KEPT: AtomicU64 = AtomicU64::new(0);
/// Dirty pages, of all files.
static DIRTY: AtomicU64 = AtomicU64::new(0);

struct Page {
    frame: Frame,
    dirty: bool,
    /// On its way to the server: what the server would answer now may be older.
    is_sent: bool,
}

impl Page {
    /// Notes whether it is dirty, in the count too.
    fn set_dirty(&mut self, dirty: bool) {
        if self.dirty != dirty {
            self.dirty = dirty;
            DIRTY.fetch_add(if dirty { 1 } else { u64::MAX }, Ordering::Relaxed);
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.set_dirty(false);
    }
}

/// How many pages the server of some file does not know yet (`Dirty` of `/proc/meminfo`).
pub fn dirty_pages() -> u64 {
    DIRTY.load(Ordering::Relaxed)
}

/// The pages of one file.
#[derive(Default)]
pub struct Cache {
    pages: SpinLock<BTreeMap<u64, Page>>,
}

/// A fresh page of zeros; clean pages make room if there is none.
pub fn new_page() -> Result<Frame> {
    if KEPT.load(Ordering::Relaxed) > frame::statistics().total_pages / SHARE || frame::low() {
        drop_clean_pages();
    }
    Frame::alloc_zeroed()
}

impl Cache {
    /// The page at `index`, if it is kept.
    pub fn get(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get(&index).map(|page| page.frame.clone())
    }

    /// As [`Self::get`], for somebody who will store to it.
    pub fn get_for_write(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get_mut(&index).map(|page| {
            page.set_dirty(true);
            page.frame.clone()
        })
    }

    /// Whether the page is kept.
    pub fn contains(&self, index: u64) -> bool {
        self.pages.lock().contains_key(&index)
    }

    /// Keeps a page, unless there is one already, which may know more.
    pub fn insert(&self, index: u64, frame: Frame) {
        let mut pages = self.pages.lock();
        if let alloc::collections::btree_map::Entry::Vacant(place) = pages.entry(index) {
            place.insert(Page { frame, dirty: false, is_sent: false });
            count(1);
        }
    }

    /// Keeps `frame` as a dirty page, or makes the one that is there dirty.
    pub fn insert_dirty(&self, index: u64, frame: Frame) {
        self.insert(index, frame);
        if let Some(page) = self.pages.lock().get_mut(&index) {
            page.set_dirty(true);
        }
    }

    /// The first dirty page from `from` on.
    pub fn next_dirty(&self, from: u64) -> Option<u64> {
        self.pages.lock().range(from..).find(|(_, page)| page.dirty).map(|(index, _)| *index)
    }

    /// Whether the page is dirty.
    pub fn is_dirty(&self, index: u64) -> bool {
        self.pages.lock().get(&index).is_some_and(|page| page.dirty)
    }

    /// Makes a page clean: what is in it is about to be sent, and it stays until [`Self::arrived`] says that it was.
    pub fn clean(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get_mut(&index).map(|page| {
            page.set_dirty(false);
            page.is_sent = true;
            page.frame.clone()
        })
    }

    /// The server has pages that were sent, or never will.
    pub fn arrived(&self, indices: Range<u64>) {
        for (_, page) in self.pages.lock().range_mut(indices) {
            page.is_sent = false;
        }
    }

    /// Drops clean pages: they are fetched anew when somebody looks.
    pub fn forget(&self, inode: &Inode, first: u64, count_pages: u64) {
        if self.pages.lock().is_empty() {
            return;
        }
        inode.mappings.forget(first, count_pages, false);
        let end = first.saturating_add(count_pages);
        let stale: Vec<u64> =
            self.pages.lock().range(first..end).filter(|(_, page)| !page.dirty && !page.is_sent).map(|(index, _)| *index).collect();
        self.remove(&stale);
    }

    /// The file has another length now: what lies beyond is gone.
    pub fn set_len(&self, inode: &Inode, len_bytes: u64) {
        let first_gone = len_bytes.div_ceil(PAGE);
        let gone: Vec<u64> = self.pages.lock().range(first_gone..).map(|(index, _)| *index).collect();
        inode.mappings.forget(first_gone, u64::MAX - first_gone, true);
        self.remove(&gone);
        let within = (len_bytes % PAGE) as usize;
        if within > 0
            && let Some(frame) = self.get(len_bytes / PAGE)
        {
            frame.zero(within, PAGE_SIZE_BYTES - within);
        }
    }

    fn remove(&self, indices: &[u64]) {
        let mut removed = Vec::new();
        {
            let mut pages = self.pages.lock();
            removed.extend(indices.iter().filter_map(|index| pages.remove(index)));
        }
        count(-(removed.len() as i64));
    }

    /// Drops clean pages that no program has mapped.
    fn drop_unused(&self) {
        let unused: Vec<u64> = {
            let pages = self.pages.lock();
            let is_unused = |page: &Page| !page.dirty && !page.is_sent && page.frame.references() == 1;
            pages.iter().filter(|(_, page)| is_unused(page)).map(|(index, _)| *index).collect()
        };
        self.remove(&unused);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        count(-(self.pages.get_mut().len() as i64));
    }
}

fn count(change: i64) {
    KEPT.fetch_add(change as u64, Ordering::Relaxed);
    frame::count_cached(change);
}

/// Drops all clean pages that no program has mapped: memory is wanted (`drop_caches`, or there is none left).
pub fn drop_clean_pages() {
    for superblock in mount::mounted() {
        let Some(fuse) = superblock.downcast::<mount::FuseSuper>() else { continue };
        for inode in fuse.0.inodes() {
            if let Some(node) = inode.downcast::<Node>() {
                node.cache.drop_unused();
            }
        }
    }
}
