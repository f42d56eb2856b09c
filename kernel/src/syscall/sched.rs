//! System calls: scheduling, priorities, affinity, resource limits and usage.

use super::Entry;
use crate::errno::Result;
use crate::mm::user::UserPointer;
use crate::task::accounting::Usage;

pub(super) const TABLE: &[Entry] = &[];

/// Writes a `struct rusage`: two times, then fourteen counts.
pub(super) fn write_usage(address: u64, usage: &Usage) -> Result<()> {
    let time = |ns: u64| [(ns / 1_000_000_000) as i64, (ns / 1000 % 1_000_000) as i64];
    let mut words = [0i64; 18];
    words[..2].copy_from_slice(&time(usage.user_ns));
    words[2..4].copy_from_slice(&time(usage.system_ns));
    // ru_maxrss is in KiB.
    words[4] = (usage.peak_resident_pages * 4) as i64;
    words[8] = usage.minor_faults as i64;
    words[16] = usage.voluntary_switches as i64;
    words[17] = usage.involuntary_switches as i64;
    UserPointer::<[i64; 18]>::new(address).write(words)
}
