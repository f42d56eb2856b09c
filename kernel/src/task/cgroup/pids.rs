//! The controller "pids": how many threads there may be in a group and below (`cgroup-v2.rst`, "PID"). Zombies count until they are reaped.
//!
//! The counts are kept for all groups at all times, so that enabling the controller has nothing to catch up with.

use super::notice::{EventFile, tell};
use super::{Cgroup, Limit};
use crate::errno::{Errno, Result};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// `pids.max` as a number that means "max".
const NO_LIMIT: u64 = u64::MAX;
/// The highest limit that can be set (`PID_MAX_LIMIT`).
pub const HIGHEST_LIMIT: u64 = 4_194_304;

/// Counters of a group; each counts what is below, too.
pub struct Pids {
    current: AtomicU64,
    peak: AtomicU64,
    max: AtomicU64,
    /// How often a fork failed because of this group's limit or one below; because of this group's alone.
    hits: AtomicU64,
    own_hits: AtomicU64,
}

impl Default for Pids {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { current: zero(), peak: zero(), max: AtomicU64::new(NO_LIMIT), hits: zero(), own_hits: zero() }
    }
}

impl Pids {
    /// `pids.current`.
    pub fn current(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    /// `pids.peak`.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// `pids.max`.
    pub fn max(&self) -> Limit {
        Some(self.max.load(Ordering::Relaxed)).filter(|max| *max != NO_LIMIT)
    }

    /// Sets `pids.max`. What is there already stays.
    pub fn set_max(&self, limit: Limit) {
        self.max.store(limit.unwrap_or(NO_LIMIT), Ordering::Relaxed);
    }

    /// The line `max` of `pids.events` and `pids.events.local`.
    pub fn hits(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.own_hits.load(Ordering::Relaxed))
    }

    /// The controller begins to govern the group, or ceases to.
    pub(super) fn reset(&self) {
        self.set_max(None);
        self.peak.store(self.current(), Ordering::Relaxed);
        self.hits.store(0, Ordering::Relaxed);
        self.own_hits.store(0, Ordering::Relaxed);
    }

    /// Counts a thread in `group` (whose counters these are) and above, limits or not.
    pub(super) fn charge(&self, group: &Cgroup) {
        for above in group.ancestors() {
            above.pids.current.fetch_add(1, Ordering::Relaxed);
        }
        Self::note_peak(group);
    }

    fn note_peak(group: &Cgroup) {
        for above in group.ancestors() {
            above.pids.peak.fetch_max(above.pids.current(), Ordering::Relaxed);
        }
    }

    /// Takes a thread out of the counts.
    pub(super) fn uncharge(&self, group: &Cgroup) {
        for above in group.ancestors() {
            above.pids.current.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts a thread to be made. `EAGAIN` at a limit of the group or of one above; then nothing is counted.
    pub(super) fn try_charge(&self, group: &Arc<Cgroup>) -> Result<()> {
        for above in group.ancestors() {
            above.pids.current.fetch_add(1, Ordering::Relaxed);
        }
        let over = |group: &&Arc<Cgroup>| group.pids.current() > group.pids.max.load(Ordering::Relaxed);
        let full = core::iter::successors(Some(group), |group| group.parent.as_ref()).find(over);
        let Some(full) = full else {
            Self::note_peak(group);
            return Ok(());
        };
        self.uncharge(group);
        full.pids.own_hits.fetch_add(1, Ordering::Relaxed);
        tell(full, EventFile::PidsLocal);
        let mut at = Some(full);
        while let Some(above) = at {
            above.pids.hits.fetch_add(1, Ordering::Relaxed);
            tell(above, EventFile::Pids);
            at = above.parent.as_ref();
        }
        Err(Errno::AGAIN)
    }
}
