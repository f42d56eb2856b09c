//! `mprotect(2)`, and the locking calls, which change areas without moving them.

use super::map::user_range;
use super::{AddressSpace, AreaFlags, Map, Protection};
use crate::arch::paging::{NO_EXECUTE, PRESENT, USER, WRITABLE};
use crate::errno::{Errno, Result};
use crate::mm::page_table::take_frame;

impl AddressSpace {
    /// `mprotect(2)`. As Linux does, areas in front of a hole or of a refusal are changed all the same.
    /// With `from_stack_end` (`PROT_GROWSDOWN`) the change reaches down to the end of the stack that `address` is in.
    pub fn protect(&self, address: u64, len_bytes: u64, protection: Protection, from_stack_end: bool) -> Result<()> {
        let (mut start, end) = user_range(address, len_bytes).map_err(|error| range_error(address, error))?;
        let mut map = self.map.lock();
        if from_stack_end {
            let area = map.areas.find(start).ok_or(Errno::NOMEM)?;
            if !area.flags.contains(AreaFlags::GROWS_DOWN) {
                return Err(Errno::INVAL);
            }
            start = area.start;
        }
        map.check_split(start, end)?;
        let mut at = start;
        while at < end {
            let area = map.areas.find(at).ok_or(Errno::NOMEM)?;
            if !area.max_protection.contains(protection) {
                return Err(Errno::ACCES);
            }
            let until = area.end.min(end);
            map.set_protection(at, until, protection);
            at = until;
        }
        Ok(())
    }

    /// `mlock(2)`, `munlock(2)`: marks areas, faulting pages in when locking. `ENOMEM` on holes.
    pub fn set_locked(&self, address: u64, len_bytes: u64, locked: bool, populate: bool) -> Result<()> {
        let offset = address % crate::mm::PAGE_SIZE_BYTES as u64;
        let (start, end) = user_range(address - offset, len_bytes.checked_add(offset).ok_or(Errno::INVAL)?)?;
        {
            let mut map = self.map.lock();
            if !map.areas.covers(start, end) {
                return Err(Errno::NOMEM);
            }
            map.set_locked(start, end, locked);
        }
        if locked && populate {
            self.populate(start, end - start);
        }
        Ok(())
    }

    /// `mlockall(2)`, `munlockall(2)`.
    pub fn set_all_locked(&self, current: Option<bool>, future: bool, populate: bool) {
        let mut ranges = alloc::vec::Vec::new();
        {
            let mut map = self.map.lock();
            map.lock_future = future;
            if let Some(locked) = current {
                ranges.extend(map.areas.iter().map(|area| (area.start, area.end)));
                for &(start, end) in &ranges {
                    map.set_locked(start, end, locked);
                }
            }
        }
        if current == Some(true) && populate {
            for (start, end) in ranges {
                self.populate(start, end - start);
            }
        }
    }
}

/// `mprotect` of a range that wraps or leaves user space: `EINVAL` for a misaligned start, else `ENOMEM` (as `mprotect(2)` lists).
fn range_error(address: u64, error: Errno) -> Errno {
    if address.is_multiple_of(crate::mm::PAGE_SIZE_BYTES as u64) { Errno::NOMEM } else { error }
}

impl Map {
    fn set_protection(&mut self, start: u64, end: u64, protection: Protection) {
        self.areas.update(start, end, |area| area.protection = protection);
        let (mut anonymous, mut file) = (0, 0);
        self.table.for_each(start, end, &mut |_, entry| {
            if protection.is_empty() && *entry & super::page_table::ANONYMOUS == 0 {
                // A file's page comes back by a fault.
                let old = core::mem::take(entry);
                super::count(old, &mut anonymous, &mut file);
                drop(take_frame(old));
                return;
            }
            // A page that may be stored to again faults first: whether it is shared is decided there.
            let mut value = *entry & !WRITABLE | PRESENT | USER | NO_EXECUTE;
            if protection.contains(Protection::EXEC) {
                value &= !NO_EXECUTE;
            }
            if protection.contains(Protection::WRITE) {
                value |= *entry & WRITABLE;
            }
            if protection.is_empty() {
                // Only the kernel could reach it; programs fault.
                value &= !USER;
            }
            *entry = value;
        });
        self.anonymous_pages -= anonymous;
        self.file_pages -= file;
        self.invalidate(start, end);
    }

    pub(super) fn set_locked(&mut self, start: u64, end: u64, locked: bool) {
        let mut change = 0_i64;
        self.areas.update(start, end, |area| {
            if area.flags.contains(AreaFlags::LOCKED) != locked {
                let bytes = (area.end - area.start) as i64;
                change += if locked { bytes } else { -bytes };
                area.flags.set(AreaFlags::LOCKED, locked);
            }
        });
        self.locked_bytes = self.locked_bytes.saturating_add_signed(change);
    }
}
