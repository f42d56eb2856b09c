//! A program's page table: the 4-level tree that the processor walks (Intel SDM vol. 3, 4.5), reached through the direct map.
//!
//! A present entry of the lowest level owns one reference to its frame. Whoever changes entries holds the address space's lock and
//! forgets stale translations.

use crate::arch::paging::{self, ADDRESS_MASK, PRESENT, USER, WRITABLE};
use crate::errno::Result;
use crate::mm::frame::Purpose;
use crate::mm::{DIRECT_MAP_BASE, Frame, PAGE_SIZE_BYTES};

/// Software bit: the page is the program's own (zero-filled or copied), not a file's.
pub(in crate::mm) const ANONYMOUS: u64 = 1 << 9;
/// Software bit: the shared page of zeros, not counted as resident.
pub(in crate::mm) const ZERO_PAGE: u64 = 1 << 10;

const ENTRIES: usize = 512;
/// Address bits below each level's index, from the root down.
const SHIFTS: [u32; 4] = [39, 30, 21, 12];

/// The tree. Dropping it frees the tables; the pages must be gone before.
pub(in crate::mm) struct PageTable {
    root: Frame,
}

impl PageTable {
    /// A table with the kernel's half only.
    pub(in crate::mm) fn new() -> Result<Self> {
        let root = Frame::alloc_charged(Purpose::PageTable)?;
        for (index, entry) in paging::kernel_root_entries() {
            root.write(index * 8, &entry.to_ne_bytes());
        }
        Ok(Self { root })
    }

    /// The root's physical address.
    pub(in crate::mm) fn root(&self) -> u64 {
        self.root.physical_address()
    }

    /// The lowest-level entry for a user address, if there is a table for it.
    pub(in crate::mm) fn find(&self, address: u64) -> Option<&mut u64> {
        let mut table = self.root();
        for shift in &SHIFTS[..3] {
            let entry = read_entry(table, index(address, *shift));
            if entry & PRESENT == 0 {
                return None;
            }
            table = entry & ADDRESS_MASK;
        }
        Some(entry_at(table, index(address, 12)))
    }

    /// The lowest-level entry for a user address, with tables made on the way. `ENOMEM` if there is no frame for one.
    pub(in crate::mm) fn find_or_create(&self, address: u64) -> Result<&mut u64> {
        let mut table = self.root();
        for shift in &SHIFTS[..3] {
            let entry = entry_at(table, index(address, *shift));
            if *entry & PRESENT == 0 {
                *entry = Frame::alloc_charged(Purpose::PageTable)?.into_number_address() | PRESENT | WRITABLE | USER;
            }
            table = *entry & ADDRESS_MASK;
        }
        Ok(entry_at(table, index(address, 12)))
    }

    /// Calls `visit` with each entry in use from `start` to `end`. Skips what has no tables: O(tables and pages in the range).
    pub(in crate::mm) fn for_each(&self, start: u64, end: u64, visit: &mut dyn FnMut(u64, &mut u64)) {
        visit_level(self.root(), 0, 0, start, end, visit);
    }

    /// Frees the tables that served `start` to `end` and lie between `floor` and `ceiling`, where nothing is mapped any more.
    pub(in crate::mm) fn free_tables(&self, start: u64, end: u64, floor: u64, ceiling: u64) {
        free_level(self.root(), 0, 0, &Span { start, end, floor, ceiling });
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        let end = 1 << 47;
        self.free_tables(0, end, 0, end);
    }
}

impl Frame {
    /// Gives the reference to a page-table entry: the bits that name the frame.
    pub(in crate::mm) fn into_number_address(self) -> u64 {
        u64::from(self.into_number()) << 12
    }
}

/// The frame that an entry owns, taken out of it.
pub(in crate::mm) fn take_frame(entry: u64) -> Frame {
    Frame::from_number(((entry & ADDRESS_MASK) >> 12) as u32)
}

/// Another reference to the frame that an entry owns.
pub(in crate::mm) fn share_frame(entry: u64) -> Frame {
    let frame = core::mem::ManuallyDrop::new(take_frame(entry));
    Frame::clone(&frame)
}

fn index(address: u64, shift: u32) -> usize {
    (address >> shift) as usize & (ENTRIES - 1)
}

fn entry_at<'a>(table: u64, index: usize) -> &'a mut u64 {
    debug_assert!(index < ENTRIES);
    // SAFETY: `table` is a frame of this tree, 512 entries in the direct map; the address space's lock makes the access exclusive but
    // for the processor, which sets accessed and dirty bits only.
    unsafe { &mut *((DIRECT_MAP_BASE + table) as *mut u64).add(index) }
}

fn read_entry(table: u64, index: usize) -> u64 {
    *entry_at(table, index)
}

fn visit_level(table: u64, level: usize, base: u64, start: u64, end: u64, visit: &mut dyn FnMut(u64, &mut u64)) {
    let shift = SHIFTS[level];
    let first = start.max(base).saturating_sub(base) >> shift;
    for number in first as usize..ENTRIES {
        let address = base + ((number as u64) << shift);
        if address >= end {
            return;
        }
        let entry = entry_at(table, number);
        if *entry & PRESENT == 0 {
            continue;
        }
        if level == 3 {
            visit(address, entry);
        } else {
            visit_level(*entry & ADDRESS_MASK, level + 1, address, start, end, visit);
        }
    }
}

struct Span {
    start: u64,
    end: u64,
    floor: u64,
    ceiling: u64,
}

fn free_level(table: u64, level: usize, base: u64, span: &Span) {
    let shift = SHIFTS[level];
    let first = span.start.max(base).saturating_sub(base) >> shift;
    // Only the lower half of the root is a program's.
    let entries = if level == 0 { ENTRIES / 2 } else { ENTRIES };
    for number in first as usize..entries {
        let address = base + ((number as u64) << shift);
        if address >= span.end {
            return;
        }
        let entry = entry_at(table, number);
        if *entry & PRESENT == 0 {
            continue;
        }
        if level < 2 {
            free_level(*entry & ADDRESS_MASK, level + 1, address, span);
        }
        if address >= span.floor && address + (1 << shift) <= span.ceiling {
            drop(take_frame(core::mem::take(entry)));
        }
    }
}

/// Rounds an address down to its page.
pub(in crate::mm) fn page_start(address: u64) -> u64 {
    address & !(PAGE_SIZE_BYTES as u64 - 1)
}
