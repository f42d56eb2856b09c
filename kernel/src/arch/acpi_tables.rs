//! What is taken from ACPI: how to power off.

use super::start_info;
use crate::mm::DIRECT_MAP_BASE;
use acpi::fadt::Fadt;
use acpi::{AcpiHandler, AcpiTables, PhysicalMapping};
use core::ptr::NonNull;

/// Reads tables through the direct map.
#[derive(Clone)]
struct DirectMap;

impl AcpiHandler for DirectMap {
    unsafe fn map_physical_region<T>(&self, physical_address: usize, size: usize) -> PhysicalMapping<Self, T> {
        let address = (DIRECT_MAP_BASE as usize + physical_address) as *mut T;
        // SAFETY: the direct map is never at address 0, and covers every table below 16 GiB.
        unsafe { PhysicalMapping::new(physical_address, NonNull::new_unchecked(address), size, size, Self) }
    }

    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}
}

/// The sleep-enable bit of the PM1 control register; the sleep type sits in bits 10 to 12 (ACPI 6.5, 4.8.3.2.1).
const SLEEP_ENABLE: u16 = 1 << 13;

/// The port and the value that switch the machine off.
pub(super) fn power_off_command() -> Option<(u16, u16)> {
    let rsdp = start_info::information().rsdp;
    if rsdp == 0 {
        return None;
    }
    // SAFETY: the loader names the root pointer; the direct map covers it.
    let tables = unsafe { AcpiTables::from_rsdp(DirectMap, rsdp as usize) }.ok()?;
    let port = tables.find_table::<Fadt>().ok()?.pm1a_control_block().ok()?.address;
    let dsdt = tables.dsdt().ok()?;
    // SAFETY: ACPI names the table's place and length.
    let code = unsafe { core::slice::from_raw_parts((DIRECT_MAP_BASE + dsdt.address as u64) as *const u8, dsdt.length as usize) };
    Some((u16::try_from(port).ok()?, sleep_type_off(code)? << 10 | SLEEP_ENABLE))
}

/// The first element of the package `\_S5` in the bytecode: `NameOp "_S5_" PackageOp PkgLength NumElements Element…`
/// (ACPI 6.5, 20.2). An element is `ZeroOp`, `OneOp` or `BytePrefix` and a byte.
fn sleep_type_off(code: &[u8]) -> Option<u16> {
    let at = code.windows(6).position(|w| &w[..4] == b"_S5_" && w[4] == 0x12)?;
    let rest = code.get(at + 5..)?;
    let length_bytes = 1 + usize::from(rest.first()? >> 6);
    match *rest.get(length_bytes + 1..)? {
        [0x0a, value, ..] => Some(u16::from(value)),
        [value @ (0 | 1), ..] => Some(u16::from(value)),
        _ => None,
    }
}
