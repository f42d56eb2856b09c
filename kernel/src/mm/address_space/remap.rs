//! `mremap(2)`: growing, shrinking and moving areas. Pages move by their table entries, without a copy.

use super::map::page_length;
use super::{AddressSpace, Area, AreaFlags, MAP_BOTTOM, MAP_TOP, MAX_AREAS, Map, STACK_GUARD_BYTES};
use crate::arch::paging::PRESENT;
use crate::errno::{Errno, Result};
use crate::mm::page_table;
use crate::mm::{PAGE_SIZE_BYTES, USER_END};
use alloc::vec::Vec;
use linux_raw_sys::general::{MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE};

/// What is to be moved where.
#[derive(Clone, Copy)]
struct Move {
    from: u64,
    old_len_bytes: u64,
    to: u64,
    new_len_bytes: u64,
    /// `MREMAP_DONTUNMAP`, or an old length of 0: the old area stays.
    keep_old: bool,
}

impl AddressSpace {
    /// `mremap(2)`: where the area is now. `limit_bytes` is `RLIMIT_AS`.
    pub fn remap(
        &self,
        old_address: u64,
        old_len_bytes: u64,
        new_len_bytes: u64,
        flags: u32,
        new_address: u64,
        limit_bytes: u64,
    ) -> Result<u64> {
        let (fixed, may_move, keep) = (flags & MREMAP_FIXED != 0, flags & MREMAP_MAYMOVE != 0, flags & MREMAP_DONTUNMAP != 0);
        if flags & !(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP) != 0
            || fixed && !may_move
            || keep && (!may_move || old_len_bytes != new_len_bytes)
            || !old_address.is_multiple_of(PAGE_SIZE_BYTES as u64)
        {
            return Err(Errno::INVAL);
        }
        // A length that wraps around becomes 0 here, as in Linux.
        let old_len_bytes = page_length(old_len_bytes).unwrap_or(0);
        let new_len_bytes = page_length(new_len_bytes).unwrap_or(0);
        if new_len_bytes == 0 {
            return Err(Errno::INVAL);
        }
        let mut removed = Vec::new();
        let result = {
            let mut map = self.map.lock();
            let wanted = Move { from: old_address, old_len_bytes, to: new_address, new_len_bytes, keep_old: keep };
            if map.areas.find(old_address).is_none() {
                Err(Errno::FAULT)
            } else if fixed || keep {
                map.remap_to(self, wanted, fixed, limit_bytes, &mut removed)
            } else {
                map.remap_in_place(self, wanted, may_move, limit_bytes, &mut removed)
            }
        };
        self.release(removed);
        let address = result?;
        if new_len_bytes > old_len_bytes && self.is_locked(address) {
            self.populate(address, new_len_bytes);
        }
        Ok(address)
    }

    fn is_locked(&self, address: u64) -> bool {
        self.map.lock().areas.find(address).is_some_and(|area| area.flags.contains(AreaFlags::LOCKED))
    }
}

impl Map {
    /// Without `MREMAP_FIXED`: shrinks, grows where it is, or moves to where there is room.
    fn remap_in_place(
        &mut self,
        space: &AddressSpace,
        wanted: Move,
        may_move: bool,
        limit_bytes: u64,
        removed: &mut Vec<Area>,
    ) -> Result<u64> {
        let Move { from, old_len_bytes, new_len_bytes, .. } = wanted;
        if old_len_bytes >= new_len_bytes {
            if old_len_bytes > new_len_bytes {
                let end = from.checked_add(old_len_bytes).filter(|end| *end <= USER_END).ok_or(Errno::INVAL)?;
                self.check_split(from + new_len_bytes, end)?;
                removed.extend(self.remove_range(from + new_len_bytes, end));
            }
            return Ok(from);
        }
        let area = self.check_resize(wanted, limit_bytes)?;
        if from + old_len_bytes == area.end && self.grow_in_place(space, &area, from + new_len_bytes) {
            return Ok(from);
        }
        if !may_move {
            return Err(Errno::NOMEM);
        }
        let to = self.areas.find_gap(new_len_bytes, MAP_BOTTOM, MAP_TOP, STACK_GUARD_BYTES).ok_or(Errno::NOMEM)?;
        self.move_area(space, &area, Move { to, keep_old: old_len_bytes == 0, ..wanted }, removed)
    }

    /// `MREMAP_FIXED` and `MREMAP_DONTUNMAP`.
    fn remap_to(&mut self, space: &AddressSpace, mut wanted: Move, fixed: bool, limit_bytes: u64, removed: &mut Vec<Area>) -> Result<u64> {
        let Move { from, to, new_len_bytes, .. } = wanted;
        let page = PAGE_SIZE_BYTES as u64;
        if to % page != 0 || new_len_bytes > USER_END || to > USER_END - new_len_bytes {
            return Err(Errno::INVAL);
        }
        if from.saturating_add(wanted.old_len_bytes) > to && to + new_len_bytes > from {
            return Err(Errno::INVAL);
        }
        if self.areas.len() + 2 >= MAX_AREAS {
            return Err(Errno::NOMEM);
        }
        if fixed {
            removed.extend(self.remove_range(to, to + new_len_bytes));
        }
        if wanted.old_len_bytes > new_len_bytes {
            let end = from.checked_add(wanted.old_len_bytes).filter(|end| *end <= USER_END).ok_or(Errno::INVAL)?;
            removed.extend(self.remove_range(from + new_len_bytes, end));
            wanted.old_len_bytes = new_len_bytes;
        }
        let area = self.check_resize(wanted, limit_bytes)?;
        if !fixed {
            let free = to >= MAP_BOTTOM && self.areas.overlapping(to, to + new_len_bytes).next().is_none();
            if !free {
                wanted.to = self.areas.find_gap(new_len_bytes, MAP_BOTTOM, MAP_TOP, STACK_GUARD_BYTES).ok_or(Errno::NOMEM)?;
            }
        }
        wanted.keep_old |= wanted.old_len_bytes == 0;
        self.move_area(space, &area, wanted, removed)
    }

    /// The area to be moved or grown, if it may be (`vma_to_resize` of Linux).
    fn check_resize(&self, wanted: Move, limit_bytes: u64) -> Result<Area> {
        let area = self.areas.find(wanted.from).ok_or(Errno::FAULT)?;
        if wanted.old_len_bytes == 0 && !area.is_shared() {
            return Err(Errno::INVAL);
        }
        if wanted.old_len_bytes > area.end - wanted.from {
            return Err(Errno::FAULT);
        }
        let first_page = area.page_index(wanted.from);
        if first_page.checked_add(wanted.new_len_bytes / PAGE_SIZE_BYTES as u64).is_none() {
            return Err(Errno::INVAL);
        }
        let added = if wanted.keep_old { wanted.new_len_bytes } else { wanted.new_len_bytes - wanted.old_len_bytes };
        if self.mapped_bytes.saturating_add(added) > limit_bytes || wanted.new_len_bytes > USER_END {
            return Err(Errno::NOMEM);
        }
        Ok(area.clone())
    }

    fn grow_in_place(&mut self, space: &AddressSpace, area: &Area, end: u64) -> bool {
        let room = end <= USER_END && self.areas.find_or_next(area.end).is_none_or(|next| end <= next.start);
        if room {
            let mut more = area.clone();
            more.move_start(area.end);
            more.end = end;
            self.add_area(space, more);
        }
        room
    }

    /// Moves an area's addresses and pages. Nothing is at the new place.
    fn move_area(&mut self, space: &AddressSpace, area: &Area, wanted: Move, removed: &mut Vec<Area>) -> Result<u64> {
        let Move { from, old_len_bytes, to, new_len_bytes, keep_old } = wanted;
        if self.areas.len() + 2 >= MAX_AREAS {
            return Err(Errno::NOMEM);
        }
        self.move_pages(from, to, old_len_bytes)?;
        let mut moved = area.clone();
        moved.move_start(from);
        moved.start = to;
        moved.end = to + new_len_bytes;
        // Before the old place goes: tables are freed up to the neighbouring areas, and this one may be such a neighbour.
        self.add_area(space, moved);
        if !keep_old {
            removed.extend(self.remove_range(from, from + old_len_bytes));
        } else if old_len_bytes > 0 {
            // The lock went with the pages (`mremap(2)`, MREMAP_DONTUNMAP).
            self.set_locked(from, from + old_len_bytes, false);
        }
        self.invalidate(from, from + old_len_bytes);
        Ok(to)
    }

    /// Moves table entries; puts them back if a table cannot be had.
    fn move_pages(&mut self, from: u64, to: u64, len_bytes: u64) -> Result<()> {
        let mut result = Ok(());
        let table = &self.table;
        table.for_each(from, from + len_bytes, &mut |address, entry| {
            if result.is_err() {
                return;
            }
            match table.find_or_create(to + (address - from)) {
                Ok(slot) => *slot = core::mem::take(entry),
                Err(error) => result = Err(error),
            }
        });
        if result.is_err() {
            table.for_each(to, to + len_bytes, &mut |address, entry| {
                let value = core::mem::take(entry);
                match table.find(from + (address - to)) {
                    Some(slot) => *slot = value,
                    // Its table was there when the entry was moved, and nothing frees it meanwhile.
                    None => drop((value & PRESENT != 0).then(|| page_table::take_frame(value))),
                }
            });
        }
        result
    }
}
