//! The kernel's half of every address space: direct map, kernel image, and the area in which the heap and kernel stacks are mapped
//! frame by frame. All of it hangs below three entries of the root table, which every program's root table shares.

use super::start_info::BootInformation;
use crate::errno::{Errno, Result};
use crate::mm::{DIRECT_MAP_BASE, KERNEL_BASE, frame};
use crate::sync::SpinLock;
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags, Cr4, Cr4Flags};
use x86_64::structures::paging::PhysFrame;

/// Entry bits (Intel SDM vol. 3, 4.5).
pub const PRESENT: u64 = 1;
/// Stores allowed.
pub const WRITABLE: u64 = 1 << 1;
/// User mode allowed.
pub const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
/// Set by the processor at the first use.
pub const ACCESSED: u64 = 1 << 5;
/// Set by the processor at the first store.
pub const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
/// No instruction fetch.
pub const NO_EXECUTE: u64 = 1 << 63;
/// The frame's address in an entry.
pub const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;

/// Memory that the direct map can reach: 16 GiB.
pub const MAX_PHYSICAL: u64 = (DIRECT_DIRECTORIES as u64) << 30;
const DIRECT_DIRECTORIES: usize = 16;
/// Where heap and stacks are mapped: one entry of the root table, 512 GiB.
pub const KERNEL_AREA_BASE: u64 = 0xffff_c900_0000_0000;
const LARGE_PAGE: u64 = 2 << 20;

/// One table of 512 entries.
#[repr(align(4096))]
struct Table([u64; 512]);

impl Table {
    const EMPTY: Self = Self([0; 512]);
}

struct KernelTables {
    root: Table,
    direct_pointers: Table,
    direct_directories: [Table; DIRECT_DIRECTORIES],
    image_pointers: Table,
    image_directory: Table,
    area_pointers: Table,
}

static mut TABLES: KernelTables = KernelTables {
    root: Table::EMPTY,
    direct_pointers: Table::EMPTY,
    direct_directories: [Table::EMPTY; DIRECT_DIRECTORIES],
    image_pointers: Table::EMPTY,
    image_directory: Table::EMPTY,
    area_pointers: Table::EMPTY,
};

/// Held while the tables of the kernel area change.
static AREA_LOCK: SpinLock<()> = SpinLock::new(());

unsafe extern "C" {
    static kernel_text_end: u8;
    static kernel_rodata_end: u8;
    static kernel_end: u8;
}

/// The physical address of something in the kernel image.
pub fn image_physical<T>(object: *const T) -> u64 {
    object as u64 - KERNEL_BASE
}

/// The first physical address behind the kernel image.
pub fn image_end() -> u64 {
    image_physical(&raw const kernel_end)
}

/// Whether an address lies in the kernel's code.
pub(super) fn is_code(address: u64) -> bool {
    (KERNEL_BASE + LARGE_PAGE..&raw const kernel_text_end as u64).contains(&address)
}

/// Builds the final tables and loads them; turns on SMEP and SMAP where the processor has them.
pub(super) fn init() {
    // SAFETY: runs once at boot; nobody else refers to the tables.
    let tables = unsafe {
        let tables = &raw mut TABLES;
        &mut *tables
    };
    for (index, directory) in tables.direct_directories.iter_mut().enumerate() {
        for (page, entry) in directory.0.iter_mut().enumerate() {
            let physical = ((index as u64) << 30) + page as u64 * LARGE_PAGE;
            // The controllers' registers below 4 GiB are not to be cached.
            let device = if (0xfec0_0000..0xff00_0000).contains(&physical) { CACHE_DISABLE | WRITE_THROUGH } else { 0 };
            *entry = physical | PRESENT | WRITABLE | LARGE | GLOBAL | NO_EXECUTE | device;
        }
        tables.direct_pointers.0[index] = image_physical(directory) | PRESENT | WRITABLE;
    }
    let rights = [
        (image_physical(&raw const kernel_text_end), 0),
        (image_physical(&raw const kernel_rodata_end), NO_EXECUTE),
        (image_end(), NO_EXECUTE | WRITABLE),
    ];
    // The image begins at 2 MiB; the first 2 MiB of this view stay empty.
    let mut physical = LARGE_PAGE;
    for (end, bits) in rights {
        while physical < end {
            tables.image_directory.0[(physical / LARGE_PAGE) as usize] = physical | PRESENT | LARGE | GLOBAL | bits;
            physical += LARGE_PAGE;
        }
    }
    tables.image_pointers.0[510] = image_physical(&tables.image_directory) | PRESENT | WRITABLE;
    tables.root.0[root_index(DIRECT_MAP_BASE)] = image_physical(&tables.direct_pointers) | PRESENT | WRITABLE;
    tables.root.0[root_index(KERNEL_BASE)] = image_physical(&tables.image_pointers) | PRESENT | WRITABLE;
    tables.root.0[root_index(KERNEL_AREA_BASE)] = image_physical(&tables.area_pointers) | PRESENT | WRITABLE;
    load_root(kernel_root());
    enable_protection();
}

fn enable_protection() {
    let features = core::arch::x86_64::__cpuid_count(7, 0).ebx;
    let mut wanted = Cr4Flags::empty();
    wanted.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features & (1 << 7) != 0);
    wanted.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features & (1 << 20) != 0);
    // SAFETY: the kernel neither runs nor touches user pages by user addresses.
    unsafe { Cr4::update(|flags| flags.insert(wanted)) };
}

fn root_index(address: u64) -> usize {
    (address >> 39) as usize & 511
}

/// The root table without any program: physical address.
pub fn kernel_root() -> u64 {
    // SAFETY: only the address is taken.
    image_physical(unsafe { &raw const TABLES.root })
}

/// The kernel's entries of a root table, to be copied into each program's: index and value.
pub fn kernel_root_entries() -> [(usize, u64); 3] {
    [DIRECT_MAP_BASE, KERNEL_BASE, KERNEL_AREA_BASE].map(|base| {
        let index = root_index(base);
        // SAFETY: the root table does not change after boot.
        (index, unsafe { TABLES.root.0[index] })
    })
}

/// Makes the processor use the root table at this physical address.
pub fn load_root(physical: u64) {
    // SAFETY: the caller's table has the kernel's entries, so that nothing the kernel uses goes away.
    unsafe { Cr3::write(PhysFrame::containing_address(PhysAddr::new(physical)), Cr3Flags::empty()) };
}

/// Forgets what the processor remembers of one page.
pub fn invalidate_page(address: u64) {
    // SAFETY: dropping a cached translation is always sound. (The crate's call refuses non-canonical addresses, so the instruction itself.)
    unsafe { core::arch::asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Forgets every translation of the program that is loaded.
pub fn invalidate_all() {
    let (frame, flags) = Cr3::read();
    // SAFETY: the same table again.
    unsafe { Cr3::write(frame, flags) };
}

/// Maps one frame, of which the caller gives up a reference, writable at `address` in the kernel area. `ENOMEM` if there is no frame for a
/// table (the reference then is given up too).
pub fn map_kernel_page(address: u64, frame_number: u32) -> Result<()> {
    let _guard = AREA_LOCK.lock();
    let Some(entry) = area_entry(address, true) else {
        frame::release(frame_number);
        return Err(Errno::NOMEM);
    };
    // SAFETY: `area_entry` gives an entry of a table that is only changed under the lock.
    unsafe { entry.write_volatile(u64::from(frame_number) << 12 | PRESENT | WRITABLE | GLOBAL | NO_EXECUTE) };
    Ok(())
}

/// Takes away what [`map_kernel_page`] mapped and frees the frame.
pub fn unmap_kernel_page(address: u64) {
    let _guard = AREA_LOCK.lock();
    let Some(entry) = area_entry(address, false) else { return };
    // SAFETY: as above.
    let old = unsafe { entry.replace(0) };
    invalidate_page(address);
    if old & PRESENT != 0 {
        frame::release(((old & ADDRESS_MASK) >> 12) as u32);
    }
}

/// The lowest-level entry for an address in the kernel area, with tables made on the way if `create`.
fn area_entry(address: u64, create: bool) -> Option<*mut u64> {
    debug_assert!(root_index(address) == root_index(KERNEL_AREA_BASE));
    // SAFETY: the area's tables are walked and changed under the caller's lock only; frames of tables are reached by the direct map.
    unsafe {
        let mut table = &raw mut TABLES.area_pointers.0 as *mut u64;
        for shift in [30, 21] {
            let entry = table.add((address >> shift) as usize & 511);
            if *entry & PRESENT == 0 {
                if !create {
                    return None;
                }
                let number = frame::take_from_reserve()?;
                *entry = u64::from(number) << 12 | PRESENT | WRITABLE;
            }
            table = (DIRECT_MAP_BASE + (*entry & ADDRESS_MASK)) as *mut u64;
        }
        Some(table.add((address >> 12) as usize & 511))
    }
}

/// Whether all usable memory that the loader names can be reached; what lies above [`MAX_PHYSICAL`] is left unused.
pub(super) fn note_unreachable(information: &BootInformation) {
    for region in information.regions() {
        if region.is_usable() && region.start + region.len_bytes > MAX_PHYSICAL {
            log::warn!("memory above {} GiB is not used", MAX_PHYSICAL >> 30);
        }
    }
}
