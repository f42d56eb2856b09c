//! Making pages present: demand paging, copy on write, stack growth. And the accesses of the kernel to a program's pages.

use super::{Access, AddressSpace, Area, AreaBacking, AreaFlags, FaultError, Map, Protection, STACK_GUARD_BYTES};
use crate::arch::paging::{ACCESSED, DIRTY, NO_EXECUTE, PRESENT, USER, WRITABLE};
use crate::errno::{Errno, Result};
use crate::mm::frame::Purpose;
use crate::mm::page_table::{self, ANONYMOUS, ZERO_PAGE, page_start};
use crate::mm::{DIRECT_MAP_BASE, Frame, PAGE_SIZE_BYTES, USER_END};
use crate::sync::Once;
use crate::task::oom;
use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering;

type FaultResult<T = ()> = Result<T, FaultError>;

/// The page that all untouched anonymous memory reads from.
static ZEROS: Once<Option<Frame>> = Once::new();

impl AddressSpace {
    /// Makes the page at `address` present for `access`, or says which signal the program gets. Copy on write, stack growth,
    /// demand paging. `stack_limit_bytes` bounds growth.
    pub fn fault(&self, address: u64, access: Access, stack_limit_bytes: u64) -> FaultResult {
        self.stack_limit_bytes.store(stack_limit_bytes, Ordering::Relaxed);
        loop {
            let outcome = self.map.lock().fault(address, access, stack_limit_bytes);
            match outcome {
                Err(error) => self.prepare_again(address, error)?,
                Ok(()) => return Ok(()),
            }
        }
    }

    /// What can be done about a fault that was not served, without the map's lock: whoever dies to make room may need it, and so may the
    /// program that a page comes from. Gives the error back if nothing can.
    fn prepare_again(&self, address: u64, error: FaultError) -> FaultResult {
        match error {
            FaultError::OutOfMemory if oom::make_room() => Ok(()),
            FaultError::Absent => {
                let wanted = {
                    let map = self.map.lock();
                    let area = map.areas.find(address).ok_or(FaultError::NotMapped)?;
                    area.file().map(|file| (file.clone(), area.page_index(page_start(address))))
                };
                let (file, index) = wanted.ok_or(FaultError::NotMapped)?;
                file.pages().fetch(index)
            }
            error => Err(error),
        }
    }

    /// Calls `operate` with the bytes of the page of `address` from there to the page's end (at most `len_bytes`), made present for
    /// `access` if need be.
    pub(in crate::mm) fn with_page<T>(
        &self,
        address: u64,
        len_bytes: usize,
        access: Access,
        operate: impl FnOnce(*mut u8, usize) -> T,
    ) -> FaultResult<T> {
        if address >= USER_END {
            return Err(FaultError::NotMapped);
        }
        let needed = PRESENT | USER | if access == Access::Write { WRITABLE } else { 0 };
        let (map, entry) = loop {
            let mut map = self.map.lock();
            let entry = map.table.find(address).map_or(0, |entry| *entry);
            if entry & needed == needed {
                break (map, entry);
            }
            match map.fault(address, access, self.stack_limit_bytes.load(Ordering::Relaxed)) {
                Ok(()) => {
                    let entry = map.table.find(address).map_or(0, |entry| *entry);
                    break (map, entry);
                }
                Err(error) => {
                    drop(map);
                    self.prepare_again(address, error)?;
                }
            }
        };
        let offset = address as usize % PAGE_SIZE_BYTES;
        let chunk = len_bytes.min(PAGE_SIZE_BYTES - offset);
        let bytes = (DIRECT_MAP_BASE + (entry & crate::arch::paging::ADDRESS_MASK)) as *mut u8;
        // The lock is held while the bytes are used, so that the page stays.
        let outcome = operate(bytes.wrapping_add(offset), chunk);
        drop(map);
        Ok(outcome)
    }

    /// A reference to the page at `address`: what the program stores there later is seen through it. `EFAULT` if it cannot be read.
    pub fn lend_page(&self, address: u64) -> Result<Frame> {
        let lent = self.with_page(address, 1, Access::Read, |byte, _| {
            // The page table's own reference is copied, and stays the table's.
            let table_reference = ManuallyDrop::new(Frame::from_number(((byte as u64 - DIRECT_MAP_BASE) >> 12) as u32));
            Frame::clone(&table_reference)
        });
        lent.map_err(|_| Errno::FAULT)
    }
}

impl Map {
    pub(super) fn fault(&mut self, address: u64, access: Access, stack_limit_bytes: u64) -> FaultResult {
        if address >= USER_END {
            return Err(FaultError::NotMapped);
        }
        if self.areas.find(address).is_none() {
            self.grow_stack(address, stack_limit_bytes)?;
        }
        let area = self.areas.find(address).ok_or(FaultError::NotMapped)?;
        let allowed = match access {
            // The processor has no pages that can be stored to or run but not loaded from.
            Access::Read => !area.protection.is_empty(),
            Access::Write => area.protection.contains(Protection::WRITE),
            Access::Execute => area.protection.contains(Protection::EXEC),
        };
        if !allowed {
            return Err(FaultError::NotAllowed);
        }
        let area = area.clone();
        self.make_present(&area, page_start(address), access == Access::Write)
    }

    /// Fills or upgrades the entry of a page that `area` allows to be used so.
    fn make_present(&mut self, area: &Area, page: u64, write: bool) -> FaultResult {
        let old = self.table.find(page).map_or(0, |entry| *entry);
        if old & PRESENT != 0 && (!write || old & WRITABLE != 0) {
            // Another thread was here first, or the processor remembers less than the table says.
            self.invalidate(page, page + PAGE_SIZE_BYTES as u64);
            return Ok(());
        }
        let rights = entry_rights(area.protection);
        let (frame, bits) = match &area.backing {
            _ if old & PRESENT != 0 && !area.is_shared() => self.break_sharing(old)?,
            AreaBacking::Anonymous if write => {
                let frame = Frame::alloc_charged(Purpose::Anonymous).map_err(|_| FaultError::OutOfMemory)?;
                (frame, ANONYMOUS | WRITABLE)
            }
            AreaBacking::Anonymous => (zeros()?, ANONYMOUS | ZERO_PAGE),
            AreaBacking::Shared { memory, .. } => (memory.page(area.page_index(page))?, WRITABLE),
            AreaBacking::File { file, shared, .. } => {
                let source = file.pages();
                let index = area.page_index(page);
                let frame = source.page(index, write && *shared)?;
                match (write, *shared) {
                    // The first store through a read-mapped page faults again, so that the file learns of it.
                    (true, true) => (frame, WRITABLE),
                    (false, _) => (frame, 0),
                    (true, false) => (frame.duplicate().map_err(|_| FaultError::OutOfMemory)?, ANONYMOUS | WRITABLE),
                }
            }
        };
        let writable = if area.protection.contains(Protection::WRITE) { bits & WRITABLE } else { 0 };
        let dirty = if write { DIRTY } else { 0 };
        let value = frame.into_number_address() | rights | bits & !WRITABLE | writable | ACCESSED | dirty;
        self.install(page, value).map_err(|_| {
            drop(page_table::take_frame(value));
            FaultError::OutOfMemory
        })
    }

    /// A private page that may be stored to: the one that is there if nobody else has it, else a copy.
    fn break_sharing(&self, old: u64) -> FaultResult<(Frame, u64)> {
        let current = page_table::share_frame(old);
        let copy = match () {
            () if old & ZERO_PAGE != 0 => Frame::alloc_charged(Purpose::Anonymous),
            // The entry's reference and the one just taken.
            () if old & ANONYMOUS != 0 && current.references() == 2 => Ok(current),
            () => current.duplicate(),
        };
        Ok((copy.map_err(|_| FaultError::OutOfMemory)?, ANONYMOUS | WRITABLE))
    }

    /// Extends the stack whose lower end is above `address`, if the limit and the guard allow it.
    fn grow_stack(&mut self, address: u64, limit_bytes: u64) -> FaultResult {
        let page = page_start(address);
        let stack = self.areas.find_or_next(address).ok_or(FaultError::NotMapped)?;
        if !stack.flags.contains(AreaFlags::GROWS_DOWN) || stack.end - page > limit_bytes {
            return Err(FaultError::NotMapped);
        }
        let start = stack.start;
        let guarded = |below: &Area| {
            !below.protection.is_empty()
                && !below.flags.contains(AreaFlags::GROWS_DOWN)
                && page < below.end.saturating_add(STACK_GUARD_BYTES)
        };
        if self.areas.previous(page).is_some_and(guarded) {
            return Err(FaultError::NotMapped);
        }
        self.areas.grow_down(start, page);
        self.mapped_bytes += start - page;
        Ok(())
    }
}

/// The entry bits for a protection, without [`WRITABLE`], which depends on sharing too.
pub(super) fn entry_rights(protection: Protection) -> u64 {
    // A page without any right is never entered (`fault` refuses it).
    PRESENT | USER | if protection.contains(Protection::EXEC) { 0 } else { NO_EXECUTE }
}

fn zeros() -> FaultResult<Frame> {
    ZEROS.call_once(|| Frame::alloc_zeroed().ok()).clone().ok_or(FaultError::OutOfMemory)
}
