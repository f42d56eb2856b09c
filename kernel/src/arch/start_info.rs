//! What the loader tells: the PVH start info (`hvm_start_info` of Xen's `arch-x86/hvm/start_info.h`), copied before anything can
//! overwrite it.

use crate::mm::DIRECT_MAP_BASE;
use crate::sync::Once;

const MAGIC: u32 = 0x336e_c578;
/// Entries of the memory map that are kept.
const MAX_REGIONS: usize = 64;
/// Longest command line, its NUL included, as Linux has it on x86.
const MAX_COMMAND_LINE_BYTES: usize = 2048;

#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
struct Module {
    address: u64,
    len_bytes: u64,
    command_line: u64,
    reserved: u64,
}

/// A stretch of physical addresses.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub len_bytes: u64,
    kind: u32,
    reserved: u32,
}

impl Region {
    /// `XEN_HVM_MEMMAP_TYPE_RAM`: memory that nobody else uses.
    pub fn is_usable(&self) -> bool {
        self.kind == 1
    }
}

/// The start info, kept.
pub struct BootInformation {
    regions: [Region; MAX_REGIONS],
    region_count: usize,
    command_line: [u8; MAX_COMMAND_LINE_BYTES],
    command_line_len: usize,
    /// Physical address and length of the initramfs; the length is 0 if there is none.
    pub initramfs: (u64, u64),
    /// Physical address of ACPI's root pointer; 0 if the loader gave none.
    pub rsdp: u64,
}

impl BootInformation {
    /// The memory map.
    pub fn regions(&self) -> &[Region] {
        &self.regions[..self.region_count]
    }

    /// The command line.
    pub fn command_line(&self) -> &[u8] {
        &self.command_line[..self.command_line_len]
    }
}

static INFORMATION: Once<BootInformation> = Once::new();

/// What [`read`] found.
pub fn information() -> &'static BootInformation {
    INFORMATION.get().unwrap_or_else(|| panic!("the start info is not read yet"))
}

/// Reads the start info at the physical address that the loader passed. The direct map covers it.
pub(super) fn read(physical: u64) {
    // SAFETY: the boot protocol puts a start info there, and everything that it points to is memory in the direct map.
    INFORMATION.call_once(|| unsafe {
        let info = &*pointer::<StartInfo>(physical);
        assert!(info.magic == MAGIC, "not started by a PVH loader (magic {:#x})", info.magic);
        let mut kept = BootInformation {
            regions: [Region::default(); MAX_REGIONS],
            region_count: 0,
            command_line: [0; MAX_COMMAND_LINE_BYTES],
            command_line_len: 0,
            initramfs: (0, 0),
            rsdp: info.rsdp,
        };
        if info.version >= 1 && info.memory_map != 0 {
            kept.region_count = (info.memory_map_entries as usize).min(MAX_REGIONS);
            for index in 0..kept.region_count {
                kept.regions[index] = pointer::<Region>(info.memory_map).add(index).read_unaligned();
            }
        }
        if info.command_line != 0 {
            let text = pointer::<u8>(info.command_line);
            while kept.command_line_len < MAX_COMMAND_LINE_BYTES - 1 && *text.add(kept.command_line_len) != 0 {
                kept.command_line[kept.command_line_len] = *text.add(kept.command_line_len);
                kept.command_line_len += 1;
            }
        }
        if info.modules > 0 {
            let module = &*pointer::<Module>(info.module_list);
            kept.initramfs = (module.address, module.len_bytes);
        }
        kept
    });
}

fn pointer<T>(physical: u64) -> *const T {
    (DIRECT_MAP_BASE + physical) as *const T
}
