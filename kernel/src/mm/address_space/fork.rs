//! The copy of an address space that `fork(2)` makes.

use super::{AddressSpace, Area, AreaFlags, Areas, Map};
use crate::arch::paging::WRITABLE;
use crate::errno::Result;
use crate::mm::page_table::{ANONYMOUS, PageTable, ZERO_PAGE, share_frame};
use alloc::sync::Arc;

impl AddressSpace {
    /// The copy for `fork`: private pages are shared copy-on-write, `MADV_DONTFORK`/`WIPEONFORK` honoured.
    ///
    /// Cost: O(areas + pages that the program has of its own); pages of files and of shared memory come by faults.
    pub fn fork(&self) -> Result<Arc<Self>> {
        let table = PageTable::new()?;
        let map = self.map.lock();
        let copy = Map {
            areas: Areas::new(),
            table,
            break_start: map.break_start,
            break_end: map.break_end,
            mapped_bytes: 0,
            locked_bytes: 0,
            anonymous_pages: 0,
            file_pages: 0,
            lock_future: false,
        };
        let child = Self::with_map(copy);
        if self.membarrier_registered() {
            child.set_membarrier_registered();
        }
        let mut failure = Ok(());
        {
            let mut copy = child.map.lock();
            for area in map.areas.iter().filter(|area| !area.flags.contains(AreaFlags::DONT_FORK)) {
                let mut inherited = area.clone();
                // Locks are not inherited (mlock(2)).
                inherited.flags.remove(AreaFlags::LOCKED);
                copy.add_area(&child, inherited);
                if !area.is_shared() && !area.flags.contains(AreaFlags::WIPE_ON_FORK) {
                    failure = map.share_pages(&mut copy, area);
                }
                if failure.is_err() {
                    break;
                }
            }
        }
        // Pages of this program lost their write permission.
        map.invalidate(0, crate::mm::USER_END);
        failure.map(|()| child)
    }
}

impl Map {
    /// Puts the area's own pages into `copy`'s table too, write-protected in both.
    fn share_pages(&self, copy: &mut Self, area: &Area) -> Result<()> {
        let mut result = Ok(());
        let mut pages = 0;
        self.table.for_each(area.start, area.end, &mut |address, entry| {
            if *entry & ANONYMOUS == 0 || *entry & ZERO_PAGE != 0 || result.is_err() {
                return;
            }
            match copy.table.find_or_create(address) {
                Ok(slot) => {
                    *entry &= !WRITABLE;
                    core::mem::forget(share_frame(*entry));
                    *slot = *entry;
                    pages += 1;
                }
                Err(error) => result = Err(error),
            }
        });
        copy.anonymous_pages += pages;
        result
    }
}
