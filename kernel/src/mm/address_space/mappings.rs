//! Which programs map pages of a file: truncation and hole punching take the pages out of them.

use super::{AddressSpace, AreaBacking, Protection};
use crate::mm::PAGE_SIZE_BYTES;
use crate::mm::page_table::{self, ANONYMOUS};
use crate::sync::SpinLock;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// Which address spaces map pages of an inode (each inode has one).
#[derive(Default)]
pub struct Mappings {
    /// By the address space's place in memory: itself, and how many pages of its areas are the file's (which splitting and joining of
    /// areas does not change).
    spaces: SpinLock<BTreeMap<usize, (Weak<AddressSpace>, u64)>>,
}

impl Mappings {
    /// `space` maps so many pages more of the file.
    pub(super) fn add(&self, space: &AddressSpace, pages: u64) {
        let mut spaces = self.spaces.lock();
        let entry = spaces.entry(core::ptr::from_ref(space) as usize).or_insert_with(|| (space.me.clone(), 0));
        entry.1 += pages;
    }

    /// `space` maps so many pages less.
    pub(super) fn remove(&self, space: *const AddressSpace, pages: u64) {
        let mut spaces = self.spaces.lock();
        if let Some(entry) = spaces.get_mut(&(space as usize)) {
            entry.1 = entry.1.saturating_sub(pages);
            if entry.1 == 0 {
                spaces.remove(&(space as usize));
            }
        }
    }

    /// Whether some program can write to the file through a shared mapping (`F_SEAL_WRITE` may not be set then).
    pub fn has_writable_shared(&self) -> bool {
        let spaces: Vec<Arc<AddressSpace>> = self.spaces.lock().values().filter_map(|(space, _)| space.upgrade()).collect();
        spaces.iter().any(|space| space.maps_shared_writable(self))
    }

    /// Takes the pages from `first_page` on out of every program that maps them (truncation, hole punching): the next touch faults
    /// anew. `private_too` also drops private copies (truncation does, hole punching does not).
    pub fn forget(&self, first_page: u64, pages: u64, private_too: bool) {
        let spaces: Vec<Arc<AddressSpace>> = self.spaces.lock().values().filter_map(|(space, _)| space.upgrade()).collect();
        for space in spaces {
            space.forget_file(self, first_page, pages, private_too);
        }
    }
}

impl AddressSpace {
    fn maps_shared_writable(&self, mappings: &Mappings) -> bool {
        self.map.lock().areas.iter().any(|area| {
            let of_file = matches!(&area.backing, AreaBacking::File { file, .. } if core::ptr::eq(file.mappings(), mappings));
            of_file && area.is_shared() && area.max_protection.contains(Protection::WRITE)
        })
    }

    fn forget_file(&self, mappings: &Mappings, first_page: u64, pages: u64, private_too: bool) {
        let mut map = self.map.lock();
        let mut ranges = Vec::new();
        for area in map.areas.iter() {
            let AreaBacking::File { file, .. } = &area.backing else { continue };
            if !core::ptr::eq(file.mappings(), mappings) {
                continue;
            }
            let area_first = area.page_index(area.start);
            let from = first_page.max(area_first) - area_first;
            let to = first_page.saturating_add(pages).min(area_first + area.pages()).saturating_sub(area_first);
            if from < to {
                let page = PAGE_SIZE_BYTES as u64;
                ranges.push((area.start + from * page, area.start + to * page));
            }
        }
        for (start, end) in ranges {
            let (mut anonymous, mut file) = (0, 0);
            map.table.for_each(start, end, &mut |_, entry| {
                if private_too || *entry & ANONYMOUS == 0 {
                    let old = core::mem::take(entry);
                    super::count(old, &mut anonymous, &mut file);
                    drop(page_table::take_frame(old));
                }
            });
            map.anonymous_pages -= anonymous;
            map.file_pages -= file;
            map.invalidate(start, end);
        }
    }
}
