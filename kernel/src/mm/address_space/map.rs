//! `mmap(2)` and `munmap(2)`.

use super::{
    AddressSpace, Area, AreaBacking, AreaFlags, Backing, LOW_TOP, MAP_BOTTOM, MAP_TOP, MAX_AREAS, Map, MapRequest, MappedFile,
    STACK_GUARD_BYTES, SharedMemory,
};
use crate::errno::{Errno, Result};
use crate::mm::address_space::Access;
use crate::mm::page_table::page_start;
use crate::mm::{PAGE_SIZE_BYTES, USER_END};
use alloc::sync::Arc;
use alloc::vec::Vec;

impl AddressSpace {
    /// `mmap(2)`: the address chosen. Checks `RLIMIT_AS`/`RLIMIT_DATA` passed in by the caller through `limit_bytes`.
    pub fn map(&self, request: MapRequest, limit_bytes: u64) -> Result<u64> {
        let len_bytes = page_length(request.len_bytes)?;
        if request.len_bytes == 0 {
            return Err(Errno::INVAL);
        }
        let mut removed = Vec::new();
        let start = {
            let mut map = self.map.lock();
            let start = map.choose_address(&request, len_bytes)?;
            let end = start + len_bytes;
            if map.areas.len() >= MAX_AREAS {
                return Err(Errno::NOMEM);
            }
            let replaced = map.mapped_within(start, end);
            if (map.mapped_bytes - replaced).saturating_add(len_bytes) > limit_bytes {
                return Err(Errno::NOMEM);
            }
            if replaced > 0 {
                removed = map.remove_range(start, end);
            }
            let mut flags = AreaFlags::empty();
            flags.set(AreaFlags::GROWS_DOWN, request.grows_down);
            flags.set(AreaFlags::LOCKED, map.lock_future);
            let area = Area {
                start,
                end,
                protection: request.protection,
                max_protection: request.max_protection,
                flags,
                backing: area_backing(request.backing, len_bytes),
            };
            map.add_area(self, area);
            start
        };
        self.release(removed);
        if request.populate {
            self.populate(start, len_bytes);
        }
        Ok(start)
    }

    /// `munmap(2)`.
    pub fn unmap(&self, address: u64, len_bytes: u64) -> Result<()> {
        let (start, end) = user_range(address, len_bytes)?;
        if start == end {
            return Err(Errno::INVAL);
        }
        let removed = {
            let mut map = self.map.lock();
            map.check_split(start, end)?;
            map.remove_range(start, end)
        };
        self.release(removed);
        Ok(())
    }

    /// Puts another file behind all areas of one: what was seen of the old one is gone.
    pub fn replace_file(&self, old: &Arc<dyn MappedFile>, new: &Arc<dyn MappedFile>) {
        let mut removed = Vec::new();
        {
            let mut map = self.map.lock();
            let is_old = |area: &&Area| area.file().is_some_and(|file| file.identity() == old.identity());
            let areas: Vec<Area> = map.areas.iter().filter(is_old).cloned().collect();
            for area in areas {
                let AreaBacking::File { offset_bytes, shared, .. } = area.backing else { continue };
                removed.extend(map.remove_range(area.start, area.end));
                let backing = AreaBacking::File { file: new.clone(), offset_bytes, shared };
                map.add_area(self, Area { backing, ..area });
            }
        }
        self.release(removed);
    }

    /// Drops areas that were taken out, after the lock: the last hold on a file may block.
    pub(super) fn release(&self, removed: Vec<Area>) {
        for area in removed {
            if let Some(file) = area.file() {
                if area.is_shared() {
                    file.pages().unmapped();
                }
                file.mappings().remove(self, area.pages());
            }
        }
    }

    /// Faults everything in as far as it goes (`MAP_POPULATE`, `MADV_POPULATE_*` tell errors, this one does not).
    pub(super) fn populate(&self, start: u64, len_bytes: u64) {
        for page in (start..start + len_bytes).step_by(PAGE_SIZE_BYTES) {
            let write = self.with_page(page, 1, Access::Write, |_, _| ());
            if write.is_err() && self.with_page(page, 1, Access::Read, |_, _| ()).is_err() {
                return;
            }
        }
    }
}

impl Map {
    fn choose_address(&mut self, request: &MapRequest, len_bytes: u64) -> Result<u64> {
        let top = if request.low { LOW_TOP } else { MAP_TOP };
        if len_bytes > USER_END {
            return Err(Errno::NOMEM);
        }
        if request.fixed || request.no_replace {
            let start = request.address;
            if !start.is_multiple_of(PAGE_SIZE_BYTES as u64) {
                return Err(Errno::INVAL);
            }
            if start > USER_END - len_bytes {
                return Err(Errno::NOMEM);
            }
            if request.no_replace && self.areas.overlapping(start, start + len_bytes).next().is_some() {
                return Err(Errno::EXIST);
            }
            return Ok(start);
        }
        let hint = page_start(request.address);
        let fits = hint >= MAP_BOTTOM && hint <= USER_END - len_bytes && (!request.low || hint + len_bytes <= top);
        if fits && self.is_free_with_guard(hint, hint + len_bytes) {
            return Ok(hint);
        }
        let found = self.areas.find_gap(len_bytes, MAP_BOTTOM, top, STACK_GUARD_BYTES);
        // Everything below is full: what lies above is better than nothing.
        let found = found.or_else(|| (!request.low).then(|| self.areas.find_gap(len_bytes, MAP_BOTTOM, USER_END, STACK_GUARD_BYTES))?);
        found.ok_or(Errno::NOMEM)
    }

    fn is_free_with_guard(&self, start: u64, end: u64) -> bool {
        self.areas.find_or_next(start).is_none_or(|next| {
            let guard = if next.flags.contains(AreaFlags::GROWS_DOWN) { STACK_GUARD_BYTES } else { 0 };
            end.saturating_add(guard) <= next.start
        })
    }

    /// Bytes mapped between `start` and `end`.
    pub(super) fn mapped_within(&self, start: u64, end: u64) -> u64 {
        self.areas.overlapping(start, end).map(|area| area.end.min(end) - area.start.max(start)).sum()
    }

    /// Puts an area where nothing is, and tells its file.
    pub(super) fn add_area(&mut self, space: &AddressSpace, area: Area) {
        self.mapped_bytes += area.end - area.start;
        if area.flags.contains(AreaFlags::LOCKED) {
            self.locked_bytes += area.end - area.start;
        }
        if let Some(file) = area.file() {
            file.mappings().add(space, area.pages());
        }
        self.areas.insert(area);
    }

    /// `ENOMEM` if taking out the range would split one area too many.
    pub(super) fn check_split(&self, start: u64, end: u64) -> Result<()> {
        let splits = self.areas.find(start).is_some_and(|area| area.start < start && area.end > end);
        if splits && self.areas.len() >= MAX_AREAS { Err(Errno::NOMEM) } else { Ok(()) }
    }

    /// Unmaps everything between `start` and `end`; the areas are for [`AddressSpace::release`].
    pub(super) fn remove_range(&mut self, start: u64, end: u64) -> Vec<Area> {
        let removed = self.areas.remove(start, end);
        for area in &removed {
            self.forget_pages(area.start, area.end);
            self.mapped_bytes -= area.end - area.start;
            if area.flags.contains(AreaFlags::LOCKED) {
                self.locked_bytes -= area.end - area.start;
            }
        }
        if !removed.is_empty() {
            let floor = self.areas.previous(start).map_or(0, |area| area.end);
            let ceiling = self.areas.find_or_next(end).map_or(1 << 47, |area| area.start);
            self.table.free_tables(start, end, floor, ceiling);
            self.invalidate(start, end);
        }
        removed
    }
}

fn area_backing(backing: Backing, len_bytes: u64) -> AreaBacking {
    match backing {
        Backing::Anonymous => AreaBacking::Anonymous,
        Backing::SharedAnonymous => {
            AreaBacking::Shared { memory: Arc::new(SharedMemory::new(len_bytes / PAGE_SIZE_BYTES as u64)), first_page: 0 }
        }
        Backing::File { file, offset_bytes, shared } => AreaBacking::File { file, offset_bytes, shared },
    }
}

/// A length rounded up to pages; `ENOMEM` if that overflows.
pub(super) fn page_length(len_bytes: u64) -> Result<u64> {
    len_bytes.checked_next_multiple_of(PAGE_SIZE_BYTES as u64).ok_or(Errno::NOMEM)
}

/// A page-aligned range of user addresses from what a program passed; `EINVAL` if it is not one.
pub(super) fn user_range(address: u64, len_bytes: u64) -> Result<(u64, u64)> {
    let len_bytes = page_length(len_bytes).map_err(|_| Errno::INVAL)?;
    if !address.is_multiple_of(PAGE_SIZE_BYTES as u64) || len_bytes > USER_END || address > USER_END - len_bytes {
        return Err(Errno::INVAL);
    }
    Ok((address, address + len_bytes))
}
