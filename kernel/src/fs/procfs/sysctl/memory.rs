//! `/proc/sys/vm`.

use super::Fixed;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Entry, Text, Variable};
use crate::fs::procfs::status::parse_number;
use crate::fs::{dentry, fuse};

pub(super) static ENTRIES: &[Entry] = &[
    Entry::variable("admin_reserve_kbytes", &Fixed("8192")),
    Entry::variable("dirty_background_ratio", &Fixed("10")),
    Entry::variable("dirty_expire_centisecs", &Fixed("3000")),
    Entry::variable("dirty_ratio", &Fixed("20")),
    Entry::variable("dirty_writeback_centisecs", &WritebackInterval),
    Entry::writable("drop_caches", |_, _| Ok(()), |_, bytes| drop_caches(bytes)).with_mode(0o200),
    Entry::variable("legacy_va_layout", &Fixed("0")),
    Entry::variable("max_map_count", &Fixed("65530")),
    Entry::variable("mmap_min_addr", &Fixed("65536")),
    Entry::variable("nr_hugepages", &Fixed("0")),
    Entry::variable("oom_dump_tasks", &Fixed("0")),
    Entry::variable("oom_kill_allocating_task", &Fixed("0")),
    Entry::variable("overcommit_memory", &Fixed("1")),
    Entry::variable("overcommit_ratio", &Fixed("50")),
    Entry::variable("page-cluster", &Fixed("3")),
    Entry::variable("panic_on_oom", &Fixed("0")),
    Entry::variable("swappiness", &Fixed("60")),
    Entry::variable("unprivileged_userfaultfd", &Fixed("0")),
    Entry::variable("user_reserve_kbytes", &Fixed("8192")),
    Entry::variable("vfs_cache_pressure", &Fixed("100")),
];

/// `dirty_writeback_centisecs`.
struct WritebackInterval;

impl Variable for WritebackInterval {
    fn show(&self, text: &mut Text) {
        fuse::INTERVAL_CENTISECS.show(text);
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        fuse::INTERVAL_CENTISECS.store(bytes)?;
        fuse::interval_changed();
        Ok(())
    }
}

/// `drop_caches`: clean pages of files that are kept elsewhere (1), names and inodes that nobody uses (2).
fn drop_caches(bytes: &[u8]) -> Result<()> {
    let what = parse_number(bytes)?;
    if !(1..=4).contains(&what) {
        return Err(Errno::INVAL);
    }
    if what & 1 != 0 {
        fuse::drop_clean_pages();
    }
    if what & 2 != 0 {
        dentry::forget_unused();
    }
    Ok(())
}
