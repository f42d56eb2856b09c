//! What `/proc/PID/maps`, `smaps` and `statm` show.

use super::{AddressSpace, AreaFlags, MappedFile, Protection};
use alloc::sync::Arc;

/// An area as `/proc/PID/maps` shows it.
#[allow(missing_docs)]
pub struct AreaView<'a> {
    pub start: u64,
    pub end: u64,
    pub protection: Protection,
    pub shared: bool,
    pub offset_bytes: u64,
    pub file: Option<&'a Arc<dyn MappedFile>>,
    /// `[heap]`, `[stack]`, … or empty.
    pub label: &'static str,
    pub resident_pages: u64,
    /// Of these, the program's own (`Anonymous:` of smaps).
    pub anonymous_pages: u64,
    /// Of these, those that no other program has (`Private_*` of smaps).
    pub unshared_pages: u64,
    /// `mlock(2)`.
    pub locked: bool,
}

impl AddressSpace {
    /// One call for each area, in address order, for `/proc/PID/maps`, `smaps`, and the totals of `statm`.
    pub fn for_each_area(&self, each: &mut dyn FnMut(&AreaView<'_>)) {
        let map = self.map.lock();
        for area in map.areas.iter() {
            let kinds = map.page_kinds(area.start, area.end);
            let in_heap = area.file().is_none() && !area.is_shared() && area.start < map.break_end && area.end > map.break_start;
            let label = match () {
                () if area.flags.contains(AreaFlags::GROWS_DOWN) => "[stack]",
                () if in_heap => "[heap]",
                () => area.file().map_or("", |file| file.label()),
            };
            each(&AreaView {
                start: area.start,
                end: area.end,
                protection: area.protection,
                shared: area.is_shared(),
                offset_bytes: area.offset_bytes(),
                file: area.file(),
                label,
                resident_pages: kinds.resident,
                anonymous_pages: kinds.anonymous,
                unshared_pages: kinds.unshared,
                locked: area.flags.contains(AreaFlags::LOCKED),
            });
        }
    }
}
