//! The files at the top of procfs that tell about memory: meminfo, vmstat, zoneinfo, swaps.

use super::memory::PAGE_KIB;
use crate::errno::Result;
use crate::fs::OpenFile;
use crate::fs::fuse;
use crate::fs::generated::Text;
use crate::mm::frame::{self, MemoryStatistics};
use crate::task::pid::PidNamespace;
use crate::{put, put_line};
use alloc::string::String;

/// Pages mapped by programs: anonymous ones, and those of files.
fn mapped_pages() -> (u64, u64) {
    PidNamespace::initial().processes().iter().filter_map(|process| process.address_space()).fold((0, 0), |sum, space| {
        let (anonymous, file) = space.resident_pages();
        (sum.0 + anonymous, sum.1 + file)
    })
}

/// What programs could still get: free frames and nothing else, since file pages of tmpfs cannot be dropped.
fn available_pages(memory: &MemoryStatistics) -> u64 {
    memory.free_pages
}

pub(super) fn meminfo(_file: &OpenFile, text: &mut Text) -> Result<()> {
    let memory = frame::statistics();
    let (anonymous, file) = mapped_pages();
    let kib = |pages: u64| pages * PAGE_KIB;
    let rows = [
        ("MemTotal", kib(memory.total_pages)),
        ("MemFree", kib(memory.free_pages)),
        ("MemAvailable", kib(available_pages(&memory))),
        ("Buffers", 0),
        ("Cached", kib(memory.cached_pages)),
        ("SwapCached", 0),
        ("Active", kib(anonymous)),
        ("Inactive", kib(memory.cached_pages)),
        ("Active(anon)", kib(anonymous + memory.cached_pages)),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Zswap", 0),
        ("Zswapped", 0),
        ("Dirty", kib(fuse::dirty_pages())),
        ("Writeback", 0),
        ("AnonPages", kib(anonymous)),
        ("Mapped", kib(file)),
        ("Shmem", kib(memory.cached_pages)),
        ("KReclaimable", 0),
        ("Slab", kib(memory.heap_pages)),
        ("SReclaimable", 0),
        ("SUnreclaim", kib(memory.heap_pages)),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", kib(memory.total_pages / 2)),
        ("Committed_AS", kib(anonymous)),
        ("VmallocTotal", 34_359_738_367),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
        ("Percpu", 0),
    ];
    for (name, kib) in rows {
        let mut label = String::from(name);
        label.push(':');
        put_line!(text, "{label:<16}{kib:8} kB");
    }
    put_line!(text, "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0");
    put_line!(text, "Hugepagesize:       2048 kB\nHugetlb:               0 kB");
    Ok(())
}

pub(super) fn vmstat(_file: &OpenFile, text: &mut Text) -> Result<()> {
    let memory = frame::statistics();
    let (anonymous, file) = mapped_pages();
    let faults: u64 = PidNamespace::initial().processes().iter().map(|process| process.usage().minor_faults).sum();
    let rows = [
        ("nr_free_pages", memory.free_pages),
        ("nr_inactive_anon", 0),
        ("nr_active_anon", anonymous),
        ("nr_inactive_file", 0),
        ("nr_active_file", 0),
        ("nr_anon_pages", anonymous),
        ("nr_mapped", file),
        ("nr_file_pages", memory.cached_pages),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("nr_shmem", memory.cached_pages),
        ("nr_slab_reclaimable", 0),
        ("nr_slab_unreclaimable", memory.heap_pages),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgfault", faults),
        ("pgmajfault", 0),
        ("oom_kill", 0),
    ];
    for (name, value) in rows {
        put_line!(text, "{name} {value}");
    }
    Ok(())
}

pub(super) fn zoneinfo(_file: &OpenFile, text: &mut Text) -> Result<()> {
    let memory = frame::statistics();
    put_line!(text, "Node 0, zone   Normal");
    put_line!(text, "  pages free     {}", memory.free_pages);
    put_line!(text, "        spanned  {0}\n        present  {0}\n        managed  {0}", memory.total_pages);
    Ok(())
}

/// Free blocks by order: the buddy allocator's lists are not counted one by one; all that is free is shown as single pages.
pub(super) fn buddyinfo(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put!(text, "Node 0, zone   Normal {:6} ", frame::statistics().free_pages);
    for _ in 0..10 {
        put!(text, "{:6} ", 0);
    }
    put_line!(text, "");
    Ok(())
}

pub(super) fn swaps(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority");
    Ok(())
}
