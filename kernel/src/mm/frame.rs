//! Physical frames with reference counts. A [`Frame`] is a handle: cloning counts up, dropping the last frees the frame.
//!
//! Single frames are all that the kernel ever needs (heap and kernel stacks are mapped frame by frame), so free frames form a stack,
//! linked through the table that holds the counts: taking and giving back is O(1) and nothing can fragment.

use crate::arch::start_info::BootInformation;
use crate::errno::{Errno, Result};
use crate::mm::{DIRECT_MAP_BASE, PAGE_SIZE_BYTES};
use crate::sync::{Once, SpinLock};
use crate::task::cgroup::memory;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Ends the list of free frames.
const NONE: u32 = u32::MAX;
/// The share of memory that programs cannot have: what the kernel heap and page tables may still grow into when programs have
/// taken all else.
const RESERVE_DIVISOR: u64 = 48;
const MIN_RESERVE_PAGES: u64 = 512;
const MAX_RESERVE_PAGES: u64 = 16384;

/// For each frame: its reference count while in use, the next free frame's number while free.
static COUNTS: Once<&'static [AtomicU32]> = Once::new();
/// For each frame: the control group that it is charged to and its purpose, 0 for none (see [`Frame::alloc_charged`]).
static CHARGES: Once<&'static [AtomicU32]> = Once::new();
static FREE: SpinLock<FreeList> = SpinLock::new(FreeList { first: NONE, count: 0 });
static TOTAL_PAGES: AtomicU64 = AtomicU64::new(0);
static RESERVE_PAGES: AtomicU64 = AtomicU64::new(0);
static CACHED_PAGES: AtomicU64 = AtomicU64::new(0);

struct FreeList {
    first: u32,
    count: u64,
}

/// What a page that is charged to a control group serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Purpose {
    /// A program's own.
    Anonymous,
    /// A file of tmpfs, and memory that programs share.
    Shared,
    PageTable,
    /// Anything else of the kernel.
    Kernel,
}

impl Purpose {
    /// How many there are.
    pub const COUNT: usize = 4;
    const ALL: [Self; Self::COUNT] = [Self::Anonymous, Self::Shared, Self::PageTable, Self::Kernel];
    const BITS: u32 = 2;
}

/// A counted reference to one physical page of 4 KiB.
///
/// Its bytes may be mapped writable into programs, so they are never borrowed: reads and writes copy.
#[derive(Debug)]
pub struct Frame {
    number: u32,
}

impl Frame {
    /// A fresh frame filled with zeros. `ENOMEM` when memory has run out (after the out-of-memory killer had its chance).
    pub fn alloc_zeroed() -> Result<Self> {
        let frame = Self::alloc_uninitialized()?;
        frame.zero(0, PAGE_SIZE_BYTES);
        Ok(frame)
    }

    /// The same, charged to the current thread's control group: `ENOMEM` also where that has reached its limit.
    pub fn alloc_charged(purpose: Purpose) -> Result<Self> {
        let frame = Self::alloc_charged_uninitialized(purpose)?;
        frame.zero(0, PAGE_SIZE_BYTES);
        Ok(frame)
    }

    /// A fresh frame with whatever was in it: the caller overwrites all of it.
    pub(in crate::mm) fn alloc_uninitialized() -> Result<Self> {
        take().map(|number| Self { number }).ok_or(Errno::NOMEM)
    }

    /// See [`Self::alloc_charged`] and [`Self::alloc_uninitialized`].
    pub(in crate::mm) fn alloc_charged_uninitialized(purpose: Purpose) -> Result<Self> {
        let owner = memory::charge(purpose)?;
        let frame = Self::alloc_uninitialized();
        if owner != 0 {
            match &frame {
                Ok(frame) => {
                    let charge = (owner as u32) << Purpose::BITS | purpose as u32;
                    charge_of(frame.number).store(charge, Ordering::Relaxed);
                }
                Err(_) => memory::uncharge(owner, purpose),
            }
        }
        frame
    }

    /// Copies out of the page. Panics if `offset + bytes.len()` passes the page (a kernel bug).
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        check_range(offset, bytes.len());
        // SAFETY: the range lies in the frame, which this handle keeps; `bytes` is the kernel's own.
        unsafe { core::ptr::copy_nonoverlapping(self.bytes().add(offset), bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Copies into the page.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        check_range(offset, bytes.len());
        // SAFETY: as in `read`.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes().add(offset), bytes.len()) };
    }

    /// What is in the page, for what programs may only read.
    ///
    /// # Safety
    /// The page holds a `T`, which is no larger than a page and is changed through atomics only.
    pub unsafe fn content<T>(&self) -> &T {
        // SAFETY: the caller's promise; the page is aligned for everything that fits, and this handle keeps it.
        unsafe { &*self.bytes().cast::<T>() }
    }

    /// Fills a part of the page with zeros.
    pub fn zero(&self, offset: usize, len_bytes: usize) {
        check_range(offset, len_bytes);
        // SAFETY: as in `read`.
        unsafe { core::ptr::write_bytes(self.bytes().add(offset), 0, len_bytes) };
    }

    /// A fresh frame with the same content for a program (copy on write), charged to the current thread's control group.
    pub fn duplicate(&self) -> Result<Self> {
        let copy = Self::alloc_charged_uninitialized(Purpose::Anonymous)?;
        // SAFETY: two frames, each kept by a handle, and different ones.
        unsafe { core::ptr::copy_nonoverlapping(self.bytes(), copy.bytes(), PAGE_SIZE_BYTES) };
        Ok(copy)
    }

    /// How many handles and page-table entries refer to the frame.
    pub fn references(&self) -> u32 {
        count_of(self.number).load(Ordering::Acquire)
    }

    /// The physical address of the page's first byte.
    pub fn physical_address(&self) -> u64 {
        u64::from(self.number) << 12
    }

    /// Gives the reference away as a number (to a page-table entry).
    pub(in crate::mm) fn into_number(self) -> u32 {
        let number = self.number;
        core::mem::forget(self);
        number
    }

    /// Takes back what [`Self::into_number`] gave away.
    pub(in crate::mm) fn from_number(number: u32) -> Self {
        Self { number }
    }

    /// The page in the direct map.
    pub(in crate::mm) fn bytes(&self) -> *mut u8 {
        (DIRECT_MAP_BASE + self.physical_address()) as *mut u8
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        count_of(self.number).fetch_add(1, Ordering::Relaxed);
        Self { number: self.number }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        release(self.number);
    }
}

fn check_range(offset: usize, len_bytes: usize) {
    assert!(offset <= PAGE_SIZE_BYTES && len_bytes <= PAGE_SIZE_BYTES - offset, "bytes {offset}+{len_bytes} are not in one page");
}

fn count_of(number: u32) -> &'static AtomicU32 {
    let counts = COUNTS.get().unwrap_or_else(|| panic!("frames are not set up yet"));
    &counts[number as usize]
}

/// Takes a free frame for a program or its tables, leaving the kernel's reserve.
pub(crate) fn take() -> Option<u32> {
    take_leaving(RESERVE_PAGES.load(Ordering::Relaxed))
}

/// Takes a free frame even from the reserve: for the kernel heap.
pub(crate) fn take_from_reserve() -> Option<u32> {
    let number = take_leaving(0)?;
    // Tables of the kernel must be empty.
    Frame { number }.zero_and_forget();
    Some(number)
}

impl Frame {
    fn zero_and_forget(self) {
        self.zero(0, PAGE_SIZE_BYTES);
        core::mem::forget(self);
    }
}

fn take_leaving(pages: u64) -> Option<u32> {
    let mut free = FREE.lock();
    if free.count <= pages {
        return None;
    }
    let number = free.first;
    let count = count_of(number);
    free.first = count.load(Ordering::Relaxed);
    free.count -= 1;
    count.store(1, Ordering::Relaxed);
    Some(number)
}

/// Counts one reference down, freeing the frame with the last.
pub(crate) fn release(number: u32) {
    let count = count_of(number);
    if count.fetch_sub(1, Ordering::AcqRel) == 1 {
        put_back(number);
    }
}

/// What the frame is charged to.
fn charge_of(number: u32) -> &'static AtomicU32 {
    let charges = CHARGES.get().unwrap_or_else(|| panic!("frames are not set up yet"));
    &charges[number as usize]
}

fn put_back(number: u32) {
    if memory::any_owned() {
        let charge = charge_of(number).swap(0, Ordering::Relaxed);
        if charge != 0 {
            memory::uncharge((charge >> Purpose::BITS) as usize, Purpose::ALL[(charge as usize) % Purpose::COUNT]);
        }
    }
    let mut free = FREE.lock();
    count_of(number).store(free.first, Ordering::Relaxed);
    free.first = number;
    free.count += 1;
}

/// Whether the reserve is all that is left: calls that would make kernel objects for a program give `ENOMEM` now.
pub fn low() -> bool {
    FREE.lock().count <= RESERVE_PAGES.load(Ordering::Relaxed)
}

/// Free frames, the reserve included.
pub(in crate::mm) fn statistics_free_pages() -> u64 {
    FREE.lock().count
}

/// Counts pages of files in or out of [`MemoryStatistics::cached_pages`] (for filesystems that keep their files in frames).
pub fn count_cached(change: i64) {
    CACHED_PAGES.fetch_add(change as u64, Ordering::Relaxed);
}

/// How much memory there is, in pages.
#[derive(Clone, Copy, Debug)]
pub struct MemoryStatistics {
    /// Frames that the kernel manages.
    pub total_pages: u64,
    /// Frames that are free.
    pub free_pages: u64,
    /// Frames that hold file contents.
    pub cached_pages: u64,
    /// Frames given to the kernel heap.
    pub heap_pages: u64,
}

/// The numbers for `/proc/meminfo` and `sysinfo(2)`.
pub fn statistics() -> MemoryStatistics {
    MemoryStatistics {
        total_pages: TOTAL_PAGES.load(Ordering::Relaxed),
        free_pages: FREE.lock().count,
        cached_pages: CACHED_PAGES.load(Ordering::Relaxed),
        heap_pages: crate::mm::heap::pages(),
    }
}

/// Takes over all memory that the loader says is usable, but the first MiB (the loader's and the firmware's data), the kernel image
/// and the initramfs. Called once, before the heap.
pub fn init(information: &BootInformation) {
    let image_end = crate::arch::paging::image_end();
    let (initramfs, initramfs_bytes) = information.initramfs;
    let limit = crate::arch::paging::MAX_PHYSICAL;
    let page = PAGE_SIZE_BYTES as u64;
    let usable = || {
        information.regions().iter().filter(|region| region.is_usable()).map(|region| {
            let start = region.start.max(image_end).next_multiple_of(page);
            (start, (region.start.saturating_add(region.len_bytes)).min(limit) / page * page)
        })
    };
    let top = usable().map(|(_, end)| end).max().unwrap_or(0);
    let table_bytes = (top / page * 4).next_multiple_of(page);
    // The counts, and behind them the charges.
    let counts_bytes = 2 * table_bytes;
    let overlaps_initramfs = |start: u64, end: u64| start < initramfs + initramfs_bytes && initramfs < end;
    let counts_at = usable()
        .flat_map(|(start, end)| [(start, end), ((initramfs + initramfs_bytes).next_multiple_of(page).max(start), end)])
        .find(|&(start, end)| start + counts_bytes <= end && !overlaps_initramfs(start, start + counts_bytes))
        .unwrap_or_else(|| panic!("no room for the frame table ({counts_bytes} bytes)"))
        .0;
    let table = |at: u64| {
        let pointer = (DIRECT_MAP_BASE + at) as *mut AtomicU32;
        // SAFETY: usable memory that nothing else occupies, in the direct map; zeroed before it is read.
        unsafe {
            core::ptr::write_bytes(pointer, 0, (top / page) as usize);
            core::slice::from_raw_parts(pointer.cast_const(), (top / page) as usize)
        }
    };
    COUNTS.call_once(|| table(counts_at));
    CHARGES.call_once(|| table(counts_at + table_bytes));
    for (start, end) in usable() {
        for number in (start / page..end / page).rev() {
            let address = number * page;
            let in_counts = (counts_at..counts_at + counts_bytes).contains(&address);
            if !in_counts && !overlaps_initramfs(address, address + page) {
                put_back(number as u32);
            }
        }
    }
    let total = FREE.lock().count;
    TOTAL_PAGES.store(total, Ordering::Relaxed);
    RESERVE_PAGES.store((total / RESERVE_DIVISOR).clamp(MIN_RESERVE_PAGES, MAX_RESERVE_PAGES), Ordering::Relaxed);
}

/// The initramfs as the loader left it.
pub fn initramfs(information: &'static BootInformation) -> &'static [u8] {
    let (start, len_bytes) = information.initramfs;
    if len_bytes == 0 || start + len_bytes > crate::arch::paging::MAX_PHYSICAL {
        return &[];
    }
    // SAFETY: `init` kept these frames out of the free ones, and only `free_initramfs` changes that.
    unsafe { core::slice::from_raw_parts((DIRECT_MAP_BASE + start) as *const u8, len_bytes as usize) }
}

/// Frees the memory of the initramfs once it is unpacked.
///
/// # Safety
/// Nothing refers to what [`initramfs`] gave any more, and this is called once.
pub unsafe fn free_initramfs(information: &BootInformation) {
    let (start, len_bytes) = information.initramfs;
    let page = PAGE_SIZE_BYTES as u64;
    let counts = COUNTS.get().map_or(0, |counts| counts.len() as u64);
    let mut freed = 0;
    for number in start.div_ceil(page)..((start + len_bytes) / page).min(counts) {
        put_back(number as u32);
        freed += 1;
    }
    TOTAL_PAGES.fetch_add(freed, Ordering::Relaxed);
}
