//! `madvise(2)`, `msync(2)`, `mincore(2)`: calls that go over all areas of a range, and say `ENOMEM` at the end if there were holes.

use super::{Access, AddressSpace, Area, AreaBacking, AreaFlags, FaultError, Map, Protection};
use crate::arch::paging::PRESENT;
use crate::errno::{Errno, Result};
use crate::mm::PAGE_SIZE_BYTES;
use crate::mm::page_table::{self, ANONYMOUS, ZERO_PAGE};
use alloc::vec::Vec;
use linux_raw_sys::general as sys;

/// What a piece of advice does, once it is known to be one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// Accepted, without effect here.
    Hint,
    DontNeed,
    DontNeedLocked,
    Free,
    Remove,
    Set(AreaFlags),
    Clear(AreaFlags),
    PopulateRead,
    PopulateWrite,
}

fn decode(advice: u32) -> Result<Advice> {
    Ok(match advice {
        sys::MADV_NORMAL | sys::MADV_RANDOM | sys::MADV_SEQUENTIAL | sys::MADV_WILLNEED | sys::MADV_COLD | sys::MADV_PAGEOUT => {
            Advice::Hint
        }
        sys::MADV_COLLAPSE => Advice::Hint,
        sys::MADV_DONTNEED => Advice::DontNeed,
        sys::MADV_DONTNEED_LOCKED => Advice::DontNeedLocked,
        sys::MADV_FREE => Advice::Free,
        sys::MADV_REMOVE => Advice::Remove,
        sys::MADV_DONTFORK => Advice::Set(AreaFlags::DONT_FORK),
        sys::MADV_DOFORK => Advice::Clear(AreaFlags::DONT_FORK),
        sys::MADV_WIPEONFORK => Advice::Set(AreaFlags::WIPE_ON_FORK),
        sys::MADV_KEEPONFORK => Advice::Clear(AreaFlags::WIPE_ON_FORK),
        sys::MADV_DONTDUMP => Advice::Set(AreaFlags::DONT_DUMP),
        sys::MADV_DODUMP => Advice::Clear(AreaFlags::DONT_DUMP),
        sys::MADV_HUGEPAGE => Advice::Set(AreaFlags::HUGE_PAGE),
        sys::MADV_NOHUGEPAGE => Advice::Set(AreaFlags::NO_HUGE_PAGE),
        sys::MADV_MERGEABLE => Advice::Set(AreaFlags::MERGEABLE),
        sys::MADV_UNMERGEABLE => Advice::Clear(AreaFlags::MERGEABLE),
        sys::MADV_POPULATE_READ => Advice::PopulateRead,
        sys::MADV_POPULATE_WRITE => Advice::PopulateWrite,
        _ => return Err(Errno::INVAL),
    })
}

impl AddressSpace {
    /// `madvise(2)`.
    pub fn advise(&self, address: u64, len_bytes: u64, advice: u32) -> Result<()> {
        let advice = decode(advice)?;
        let (start, end) = advice_range(address, len_bytes, Errno::INVAL)?;
        if start == end {
            return Ok(());
        }
        match advice {
            Advice::PopulateRead => return self.populate_range(start, end, Access::Read),
            Advice::PopulateWrite => return self.populate_range(start, end, Access::Write),
            _ => {}
        }
        let mut at = start;
        let mut holes = false;
        while at < end {
            let mut map = self.map.lock();
            let Some(area) = map.areas.find_or_next(at).filter(|area| area.start < end).cloned() else { break };
            holes |= area.start > at;
            let (from, to) = (area.start.max(at), area.end.min(end));
            if let (Advice::Remove, Some(file)) = (advice, area.file()) {
                check_remove(&area)?;
                drop(map);
                file.punch_hole(area.offset_bytes() + (from - area.start), to - from)?;
            } else {
                map.advise_area(&area, from, to, advice)?;
            }
            at = to;
        }
        if holes || at < end { Err(Errno::NOMEM) } else { Ok(()) }
    }

    /// `msync(2)`: files that are kept elsewhere get what was stored through shared mappings.
    pub fn sync(&self, address: u64, len_bytes: u64, flags: u32) -> Result<()> {
        let exclusive = sys::MS_ASYNC | sys::MS_SYNC;
        if flags & !(sys::MS_ASYNC | sys::MS_SYNC | sys::MS_INVALIDATE) != 0 || flags & exclusive == exclusive {
            return Err(Errno::INVAL);
        }
        let (start, end) = advice_range(address, len_bytes, Errno::NOMEM)?;
        let map = self.map.lock();
        let locked = |area: &Area| area.flags.contains(AreaFlags::LOCKED);
        if flags & sys::MS_INVALIDATE != 0 && map.areas.overlapping(start, end).any(locked) {
            return Err(Errno::BUSY);
        }
        let covered = map.areas.covers(start, end);
        let shared = map.areas.overlapping(start, end).filter(|area| area.is_shared());
        let files: Vec<_> = shared.filter_map(|area| area.file().cloned()).collect();
        drop(map);
        if flags & sys::MS_SYNC != 0 {
            for file in files {
                file.pages().write_back()?;
            }
        }
        if covered { Ok(()) } else { Err(Errno::NOMEM) }
    }

    /// `mincore(2)`: a byte for each page, 1 if it is in memory. `ENOMEM` if part of the range is not mapped.
    pub fn residency(&self, start: u64, pages: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(pages).map_err(|_| Errno::NOMEM)?;
        let map = self.map.lock();
        for number in 0..pages as u64 {
            let address = start + number * PAGE_SIZE_BYTES as u64;
            let area = map.areas.find(address).ok_or(Errno::NOMEM)?;
            let entered = map.table.find(address).is_some_and(|entry| *entry & PRESENT != 0);
            // All file contents are in memory.
            let in_file =
                area.file().is_some_and(|file| area.page_index(address) < file.pages().len_bytes().div_ceil(PAGE_SIZE_BYTES as u64));
            bytes.push(u8::from(entered || in_file));
        }
        Ok(bytes)
    }

    fn populate_range(&self, start: u64, end: u64, access: Access) -> Result<()> {
        let right = if access == Access::Write { Protection::WRITE } else { Protection::READ };
        for page in (start..end).step_by(PAGE_SIZE_BYTES) {
            if self.map.lock().areas.find(page).is_some_and(|area| !area.protection.contains(right)) {
                return Err(Errno::INVAL);
            }
            self.with_page(page, 1, access, |_, _| ()).map_err(|error| match error {
                FaultError::NotMapped | FaultError::OutOfMemory => Errno::NOMEM,
                // An area without the right: EINVAL; a page that cannot be had: EFAULT (`madvise(2)`).
                FaultError::NotAllowed => Errno::INVAL,
                FaultError::Bus | FaultError::Absent => Errno::FAULT,
            })?;
        }
        Ok(())
    }
}

/// The range of a call on many areas. `too_long` is the errno of one that wraps around; one that leaves user space has holes.
fn advice_range(address: u64, len_bytes: u64, too_long: Errno) -> Result<(u64, u64)> {
    if !address.is_multiple_of(PAGE_SIZE_BYTES as u64) {
        return Err(Errno::INVAL);
    }
    let len_bytes = len_bytes.checked_next_multiple_of(PAGE_SIZE_BYTES as u64).ok_or(too_long)?;
    let end = address.checked_add(len_bytes).ok_or(too_long)?;
    Ok((address, end))
}

/// Whether `MADV_REMOVE` may free what is behind the area: shared and writable, not locked.
fn check_remove(area: &Area) -> Result<()> {
    if area.flags.contains(AreaFlags::LOCKED) || matches!(area.backing, AreaBacking::Anonymous) {
        return Err(Errno::INVAL);
    }
    let writable = area.is_shared() && area.protection.contains(Protection::WRITE);
    if writable { Ok(()) } else { Err(Errno::ACCES) }
}

impl Map {
    fn advise_area(&mut self, area: &Area, start: u64, end: u64, advice: Advice) -> Result<()> {
        let anonymous = matches!(area.backing, AreaBacking::Anonymous);
        let locked = area.flags.contains(AreaFlags::LOCKED);
        match advice {
            Advice::DontNeed | Advice::Free if locked => return Err(Errno::INVAL),
            Advice::Free if !anonymous => return Err(Errno::INVAL),
            // Freed at once is within what MADV_FREE allows.
            Advice::DontNeed | Advice::DontNeedLocked | Advice::Free => self.drop_pages(start, end),
            Advice::Remove => self.remove_pages(area, start, end)?,
            Advice::Set(AreaFlags::WIPE_ON_FORK) if !anonymous => return Err(Errno::INVAL),
            // Shared memory is never merged (`ksm_madvise` of Linux passes it over).
            Advice::Set(AreaFlags::MERGEABLE) if area.is_shared() => {}
            Advice::Set(flag) => self.areas.update(start, end, |area| area.flags.insert(flag)),
            Advice::Clear(flag) => self.areas.update(start, end, |area| area.flags.remove(flag)),
            Advice::Hint | Advice::PopulateRead | Advice::PopulateWrite => {}
        }
        Ok(())
    }

    fn drop_pages(&mut self, start: u64, end: u64) {
        self.forget_pages(start, end);
        self.invalidate(start, end);
    }

    /// `MADV_REMOVE` of shared anonymous memory. (A file's pages belong to its filesystem.)
    fn remove_pages(&mut self, area: &Area, start: u64, end: u64) -> Result<()> {
        check_remove(area)?;
        if let AreaBacking::Shared { memory, .. } = &area.backing {
            memory.remove(area.page_index(start), (end - start) / PAGE_SIZE_BYTES as u64);
            self.drop_pages(start, end);
        }
        Ok(())
    }

    /// Pages of the program's own, and of files, between `start` and `end`, and how many of them no other program has.
    pub(super) fn page_kinds(&self, start: u64, end: u64) -> PageKinds {
        let mut kinds = PageKinds::default();
        self.table.for_each(start, end, &mut |_, entry| {
            if *entry & ZERO_PAGE != 0 {
                return;
            }
            kinds.resident += 1;
            kinds.anonymous += u64::from(*entry & ANONYMOUS != 0);
            // The entry, the reference for looking, and for pages of files and shared memory that of their owner.
            let own_references = if *entry & ANONYMOUS != 0 { 2 } else { 3 };
            kinds.unshared += u64::from(page_table::share_frame(*entry).references() <= own_references);
        });
        kinds
    }
}

/// What `smaps` tells of an area's pages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PageKinds {
    pub(super) resident: u64,
    pub(super) anonymous: u64,
    pub(super) unshared: u64,
}
