//! `smaps` and `smaps_rollup`: what each area costs.

use super::memory::{NAME_COLUMN, PAGE_KIB, for_each_area, put_area};
use super::process::View;
use super::status::parse_number;
use crate::errno::{Errno, Result};
use crate::fs::generated::Text;
use crate::mm::address_space::{AreaView, Protection};
use crate::{put, put_line};
use alloc::string::String;

/// Sums over areas, in KiB. A page counts as private if this is its only place in any program, and as dirty if the area is writable.
#[derive(Default)]
struct Costs {
    resident: u64,
    shared_clean: u64,
    shared_dirty: u64,
    private_clean: u64,
    private_dirty: u64,
    anonymous: u64,
    locked: u64,
}

impl Costs {
    fn add(&mut self, area: &AreaView<'_>) {
        let kib = area.resident_pages * PAGE_KIB;
        let writable = area.protection.contains(Protection::WRITE);
        let private_kib = area.unshared_pages * PAGE_KIB;
        self.resident += kib;
        let (private, shared) =
            if writable { (&mut self.private_dirty, &mut self.shared_dirty) } else { (&mut self.private_clean, &mut self.shared_clean) };
        *private += private_kib;
        *shared += kib - private_kib;
        self.anonymous += area.anonymous_pages * PAGE_KIB;
        self.locked += if area.locked { kib } else { 0 };
    }

    /// The rows; the sums over all areas also tell the parts of Pss.
    fn put(&self, text: &mut Text, with_parts: bool) {
        put_row(text, "Rss", self.resident);
        put_row(text, "Pss", self.resident);
        put_row(text, "Pss_Dirty", self.shared_dirty + self.private_dirty);
        if with_parts {
            put_row(text, "Pss_Anon", self.anonymous);
            put_row(text, "Pss_File", self.resident - self.anonymous);
            put_row(text, "Pss_Shmem", 0);
        }
        let rows = [
            ("Shared_Clean", self.shared_clean),
            ("Shared_Dirty", self.shared_dirty),
            ("Private_Clean", self.private_clean),
            ("Private_Dirty", self.private_dirty),
            ("Referenced", self.resident),
            ("Anonymous", self.anonymous),
            ("KSM", 0),
            ("LazyFree", 0),
            ("AnonHugePages", 0),
            ("ShmemPmdMapped", 0),
            ("FilePmdMapped", 0),
            ("Shared_Hugetlb", 0),
            ("Private_Hugetlb", 0),
            ("Swap", 0),
            ("SwapPss", 0),
            ("Locked", self.locked),
        ];
        for (name, kib) in rows {
            put_row(text, name, kib);
        }
    }
}

fn put_row(text: &mut Text, name: &str, kib: u64) {
    let mut label = String::from(name);
    label.push(':');
    put_line!(text, "{label:<16}{kib:8} kB");
}

/// `smaps`.
pub(super) fn smaps(view: &View<'_>, text: &mut Text) -> Result<()> {
    for_each_area(view, &mut |area| {
        put_area(area, text);
        put_row(text, "Size", (area.end - area.start) / 1024);
        put_row(text, "KernelPageSize", PAGE_KIB);
        put_row(text, "MMUPageSize", PAGE_KIB);
        let mut costs = Costs::default();
        costs.add(area);
        costs.put(text, false);
        put_line!(text, "THPeligible:           0");
        put!(text, "VmFlags:");
        for (protection, flag) in [(Protection::READ, "rd"), (Protection::WRITE, "wr"), (Protection::EXEC, "ex")] {
            if area.protection.contains(protection) {
                put!(text, " {flag}");
            }
        }
        put!(text, "{} mr mw me", if area.shared { " sh" } else { "" });
        put!(text, "{}", if area.label == "[stack]" { " gd" } else { "" });
        let accounted = !area.shared && area.protection.contains(Protection::WRITE);
        put_line!(text, "{} sd ", if accounted { " ac" } else { "" });
    });
    Ok(())
}

/// `smaps_rollup`.
pub(super) fn rollup(view: &View<'_>, text: &mut Text) -> Result<()> {
    let mut costs = Costs::default();
    let mut range = (u64::MAX, 0);
    for_each_area(view, &mut |area| {
        costs.add(area);
        range = (range.0.min(area.start), range.1.max(area.end));
    });
    if range.1 == 0 {
        return Err(Errno::SRCH);
    }
    put!(text, "{:08x}-{:08x} ---p 00000000 00:00 0 ", range.0, range.1);
    text.pad_to(NAME_COLUMN);
    put_line!(text, "[rollup]");
    costs.put(text, true);
    Ok(())
}

/// `clear_refs`: references are not tracked, so there is nothing to clear; the value is checked as in `proc(5)`.
pub(super) fn clear_references(_view: &View<'_>, bytes: &[u8]) -> Result<()> {
    if (1..=5).contains(&parse_number(bytes)?) { Ok(()) } else { Err(Errno::INVAL) }
}
