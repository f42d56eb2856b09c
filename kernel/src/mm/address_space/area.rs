//! Areas: stretches of a program's addresses with one kind of content and rights, and the ordered set of them.

use super::{AreaFlags, MappedFile, Protection, SharedMemory};
use crate::mm::PAGE_SIZE_BYTES;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What stands behind an area, counted from the area's start.
#[derive(Clone)]
pub(super) enum AreaBacking {
    Anonymous,
    Shared { memory: Arc<SharedMemory>, first_page: u64 },
    File { file: Arc<dyn MappedFile>, offset_bytes: u64, shared: bool },
}

/// One area.
#[derive(Clone)]
pub(super) struct Area {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) protection: Protection,
    pub(super) max_protection: Protection,
    pub(super) flags: AreaFlags,
    pub(super) backing: AreaBacking,
}

impl Area {
    /// Pages of the area.
    pub(super) fn pages(&self) -> u64 {
        (self.end - self.start) / PAGE_SIZE_BYTES as u64
    }

    /// Whether stores reach others.
    pub(super) fn is_shared(&self) -> bool {
        match &self.backing {
            AreaBacking::Anonymous => false,
            AreaBacking::Shared { .. } => true,
            AreaBacking::File { shared, .. } => *shared,
        }
    }

    /// The file behind it.
    pub(super) fn file(&self) -> Option<&Arc<dyn MappedFile>> {
        match &self.backing {
            AreaBacking::File { file, .. } => Some(file),
            _ => None,
        }
    }

    /// The index, in its file or shared memory, of the page at `address`.
    pub(super) fn page_index(&self, address: u64) -> u64 {
        let within = (address - self.start) / PAGE_SIZE_BYTES as u64;
        match &self.backing {
            AreaBacking::Anonymous => within,
            AreaBacking::Shared { first_page, .. } => first_page + within,
            AreaBacking::File { offset_bytes, .. } => offset_bytes / PAGE_SIZE_BYTES as u64 + within,
        }
    }

    /// Where the area begins in its file, in bytes; 0 if there is none.
    pub(super) fn offset_bytes(&self) -> u64 {
        match &self.backing {
            AreaBacking::File { offset_bytes, .. } => *offset_bytes,
            _ => 0,
        }
    }

    /// Moves the start up (or down) to `start`, the content staying where it is.
    pub(super) fn move_start(&mut self, start: u64) {
        let pages = (start.wrapping_sub(self.start) as i64) / PAGE_SIZE_BYTES as i64;
        match &mut self.backing {
            AreaBacking::Anonymous => {}
            AreaBacking::Shared { first_page, .. } => *first_page = first_page.wrapping_add_signed(pages),
            AreaBacking::File { offset_bytes, .. } => {
                *offset_bytes = offset_bytes.wrapping_add_signed(pages * PAGE_SIZE_BYTES as i64);
            }
        }
        self.start = start;
    }

    /// Whether `next`, which begins where this one ends, continues it in every respect.
    fn continues_into(&self, next: &Self) -> bool {
        let same = self.end == next.start
            && self.protection == next.protection
            && self.max_protection == next.max_protection
            && self.flags == next.flags;
        same && match (&self.backing, &next.backing) {
            (AreaBacking::Anonymous, AreaBacking::Anonymous) => true,
            (AreaBacking::Shared { memory, .. }, AreaBacking::Shared { memory: other, first_page }) => {
                Arc::ptr_eq(memory, other) && self.page_index(self.end) == *first_page
            }
            (AreaBacking::File { file, offset_bytes, shared }, AreaBacking::File { file: other, offset_bytes: at, shared: also }) => {
                file.identity() == other.identity() && shared == also && offset_bytes + (self.end - self.start) == *at
            }
            _ => false,
        }
    }
}

/// The areas of a program, ordered and disjoint.
pub(super) struct Areas {
    tree: BTreeMap<u64, Area>,
    /// Gaps at or above this address are at most `largest_skipped` bytes long: where a search for more may start.
    search_from: u64,
    largest_skipped: u64,
}

impl Areas {
    pub(super) const fn new() -> Self {
        Self { tree: BTreeMap::new(), search_from: u64::MAX, largest_skipped: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.tree.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Area> {
        self.tree.values()
    }

    /// The area that contains `address`.
    pub(super) fn find(&self, address: u64) -> Option<&Area> {
        self.tree.range(..=address).next_back().map(|(_, area)| area).filter(|area| address < area.end)
    }

    /// The first area that ends above `address`.
    pub(super) fn find_or_next(&self, address: u64) -> Option<&Area> {
        self.find(address).or_else(|| self.tree.range(address..).next().map(|(_, area)| area))
    }

    /// The last area that ends at or below `address`.
    pub(super) fn previous(&self, address: u64) -> Option<&Area> {
        self.tree.range(..address).next_back().map(|(_, area)| area)
    }

    /// Areas that have a part between `start` and `end`.
    pub(super) fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Area> {
        let first = self.find(start).map_or(start, |area| area.start);
        self.tree.range(first..end.max(first)).map(|(_, area)| area)
    }

    /// Whether there is no hole between `start` and `end`.
    pub(super) fn covers(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for area in self.overlapping(start, end) {
            if area.start > at {
                return false;
            }
            at = area.end;
        }
        at >= end
    }

    /// Puts an area where there is none, joining it with equal neighbours.
    pub(super) fn insert(&mut self, mut area: Area) {
        if let Some(before) = self.previous(area.start).filter(|before| before.continues_into(&area)) {
            let key = before.start;
            if let Some(mut before) = self.tree.remove(&key) {
                before.end = area.end;
                area = before;
            }
        }
        if let Some(after) = self.tree.get(&area.end).filter(|after| area.continues_into(after)) {
            let key = after.start;
            if let Some(after) = self.tree.remove(&key) {
                area.end = after.end;
            }
        }
        self.tree.insert(area.start, area);
    }

    /// Takes out everything between `start` and `end`, splitting areas at the borders. What comes out covers the range, in order.
    pub(super) fn remove(&mut self, start: u64, end: u64) -> Vec<Area> {
        self.split(start);
        self.split(end);
        let keys: Vec<u64> = self.tree.range(start..end).map(|(key, _)| *key).collect();
        let removed = keys.iter().filter_map(|key| self.tree.remove(key)).collect();
        let gap_end = self.tree.range(end..).next().map_or(u64::MAX, |(key, _)| *key);
        self.search_from = self.search_from.max(gap_end);
        removed
    }

    /// Makes an area border of `at`.
    fn split(&mut self, at: u64) {
        let Some(area) = self.find(at).filter(|area| area.start < at) else { return };
        let mut upper = area.clone();
        let key = area.start;
        upper.move_start(at);
        if let Some(lower) = self.tree.get_mut(&key) {
            lower.end = at;
        }
        self.tree.insert(at, upper);
    }

    /// Changes each area between `start` and `end`, splitting at the borders and joining what becomes equal.
    pub(super) fn update(&mut self, start: u64, end: u64, mut change: impl FnMut(&mut Area)) {
        for mut area in self.remove(start, end) {
            change(&mut area);
            self.insert(area);
        }
    }

    /// Grows the area that starts at `old_start` downwards.
    pub(super) fn grow_down(&mut self, old_start: u64, new_start: u64) {
        if let Some(mut area) = self.tree.remove(&old_start) {
            area.move_start(new_start);
            self.tree.insert(new_start, area);
        }
    }

    /// The highest gap of `len_bytes` that ends at or below `top` and begins at or above `bottom`; above a stack a guard stays free.
    pub(super) fn find_gap(&mut self, len_bytes: u64, bottom: u64, top: u64, stack_guard_bytes: u64) -> Option<u64> {
        let cached = len_bytes > self.largest_skipped && self.search_from <= top;
        let mut gap_end = if cached { self.search_from } else { top };
        let mut largest = if cached { self.largest_skipped } else { 0 };
        for (_, area) in self.tree.range(..gap_end).rev() {
            let gap_start = area.end.max(bottom);
            if gap_end.saturating_sub(gap_start) >= len_bytes {
                break;
            }
            largest = largest.max(gap_end.saturating_sub(gap_start));
            let guard = if area.flags.contains(AreaFlags::GROWS_DOWN) { stack_guard_bytes } else { 0 };
            gap_end = gap_end.min(area.start.saturating_sub(guard));
            if gap_end < bottom {
                break;
            }
        }
        let start = gap_end.checked_sub(len_bytes).filter(|start| *start >= bottom)?;
        self.search_from = gap_end;
        self.largest_skipped = largest;
        Some(start)
    }

    /// Takes out everything.
    pub(super) fn clear(&mut self) -> BTreeMap<u64, Area> {
        core::mem::take(&mut self.tree)
    }
}
