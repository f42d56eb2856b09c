//! The kernel heap: the global allocator (the crate `talc`), growing frame by frame in an address range of its own.

use crate::arch::paging::{self, KERNEL_AREA_BASE};
use crate::mm::{PAGE_SIZE_BYTES, frame};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use talc::TalcLock;
use talc::base::{Talc, binning::Binning};
use talc::source::Source;

/// The heap's addresses: the lower half of the kernel area.
const HEAP_BASE: u64 = KERNEL_AREA_BASE;
const HEAP_MAX_BYTES: u64 = 255 << 30;
/// It grows by at least so much at a time.
const MIN_GROWTH_BYTES: u64 = 256 * 1024;

static PAGES: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static HEAP: TalcLock<spin::mutex::SpinMutex<()>, Growth> = TalcLock::new(Growth { end: None });

/// Frames given to the heap.
pub(in crate::mm) fn pages() -> u64 {
    PAGES.load(Ordering::Relaxed)
}

/// Maps more frames at the heap's end whenever it is full.
#[derive(Debug)]
struct Growth {
    end: Option<NonNull<u8>>,
}

// SAFETY: the pointer is a mark in the heap, which all processors share.
unsafe impl Send for Growth {}

// SAFETY: `acquire` uses frames and page tables only, neither of which allocates from the heap.
unsafe impl Source for Growth {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let wanted = (layout.size() as u64).checked_add(layout.align() as u64 + 2 * PAGE_SIZE_BYTES as u64).ok_or(())?;
        let mapped = PAGES.load(Ordering::Relaxed) * PAGE_SIZE_BYTES as u64;
        let growth = wanted.max(MIN_GROWTH_BYTES).next_multiple_of(PAGE_SIZE_BYTES as u64);
        if growth > HEAP_MAX_BYTES - mapped {
            return Err(());
        }
        let start = HEAP_BASE + mapped;
        let got = map(start, growth);
        if got == 0 {
            return Err(());
        }
        PAGES.fetch_add(got / PAGE_SIZE_BYTES as u64, Ordering::Relaxed);
        let new_end = (start + got) as *mut u8;
        // SAFETY: the pages from the old end to the new one were just mapped and belong to the heap alone.
        talc.source.end = unsafe {
            match talc.source.end {
                Some(end) => Some(talc.extend(end, new_end)),
                None => talc.claim(start as *mut u8, got as usize),
            }
        };
        // A part of what was wanted will not do for this request, but is there for smaller ones.
        if got >= wanted { Ok(()) } else { Err(()) }
    }
}

/// Maps as many bytes from `start` on as there are frames for; a request that cannot be served whole takes nothing.
fn map(start: u64, len_bytes: u64) -> u64 {
    if len_bytes / PAGE_SIZE_BYTES as u64 >= frame::statistics_free_pages() {
        return 0;
    }
    let mut mapped = 0;
    while mapped < len_bytes {
        let Some(number) = frame::take_from_reserve() else { break };
        if paging::map_kernel_page(start + mapped, number).is_err() {
            break;
        }
        mapped += PAGE_SIZE_BYTES as u64;
    }
    mapped
}
