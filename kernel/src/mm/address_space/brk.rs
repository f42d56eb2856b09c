//! `brk(2)`: the heap that grows behind the program's data.

use super::map::page_length;
use super::{AddressSpace, Area, AreaBacking, AreaFlags, MAX_AREAS, Map, Protection, STACK_GUARD_BYTES};
use crate::mm::USER_END;

impl AddressSpace {
    /// Where exec put the break's start.
    pub fn init_break(&self, address: u64) {
        let mut map = self.map.lock();
        map.break_start = address;
        map.break_end = address;
    }

    /// `brk(2)`: the new (or unchanged) break. `limit_bytes` is what `RLIMIT_DATA` and `RLIMIT_AS` leave for the heap.
    pub fn set_break(&self, address: u64, limit_bytes: u64) -> u64 {
        let mut removed = alloc::vec::Vec::new();
        let result = {
            let mut map = self.map.lock();
            map.set_break(self, address, limit_bytes, &mut removed).unwrap_or(map.break_end)
        };
        self.release(removed);
        result
    }

    /// Where the break started and where it is (`/proc/PID/stat`).
    pub fn break_range(&self) -> (u64, u64) {
        let map = self.map.lock();
        (map.break_start, map.break_end)
    }
}

impl Map {
    /// `None` where the break stays.
    fn set_break(&mut self, space: &AddressSpace, address: u64, limit_bytes: u64, removed: &mut alloc::vec::Vec<Area>) -> Option<u64> {
        if address < self.break_start || address >= USER_END || address - self.break_start > limit_bytes {
            return None;
        }
        let old_end = page_length(self.break_end).ok()?;
        let new_end = page_length(address).ok()?;
        if new_end < old_end {
            removed.extend(self.remove_range(new_end, old_end));
        } else if new_end > old_end {
            let next = self.areas.find_or_next(old_end);
            let room = next.is_none_or(|next| {
                let guard = if next.flags.contains(AreaFlags::GROWS_DOWN) { STACK_GUARD_BYTES } else { 0 };
                new_end.saturating_add(guard) <= next.start
            });
            if !room || self.areas.len() >= MAX_AREAS || crate::mm::frame::low() {
                return None;
            }
            let mut flags = AreaFlags::empty();
            flags.set(AreaFlags::LOCKED, self.lock_future);
            let area = Area {
                start: old_end,
                end: new_end,
                protection: Protection::READ | Protection::WRITE,
                max_protection: Protection::all(),
                flags,
                backing: AreaBacking::Anonymous,
            };
            self.add_area(space, area);
        }
        self.break_end = address;
        Some(address)
    }
}
