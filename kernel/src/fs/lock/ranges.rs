//! The record locks of one file: who has which bytes, with overlaps cut and neighbours joined as `fcntl_locking(2)` says.

use super::{Mode, Owner, RecordLock};
use crate::errno::{Errno, Result};
use alloc::vec::Vec;

/// Bytes from `start` to `end`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// Last byte; [`Range::LAST`] is "to the end of the file, however long it becomes".
    pub end: u64,
}

impl Range {
    /// The greatest file position.
    pub const LAST: u64 = i64::MAX as u64;
    /// Every byte.
    pub const WHOLE: Self = Self { start: 0, end: Self::LAST };

    /// From `l_start` (already relative to the file's beginning, as `base` tells) and `l_len`. `EINVAL` before the beginning,
    /// `EOVERFLOW` past the greatest position.
    pub fn new(base: u64, start: i64, len: i64) -> Result<Self> {
        let base = i64::try_from(base).map_err(|_| Errno::OVERFLOW)?;
        let start = base.checked_add(start).ok_or(Errno::OVERFLOW)?;
        let (start, end) = match len {
            0 => (start, i64::MAX),
            1.. => (start, start.checked_add(len - 1).ok_or(Errno::OVERFLOW)?),
            _ => (start.checked_add(len).ok_or(Errno::INVAL)?, start.checked_sub(1).ok_or(Errno::INVAL)?),
        };
        let start = u64::try_from(start).map_err(|_| Errno::INVAL)?;
        let end = u64::try_from(end).map_err(|_| Errno::INVAL)?;
        Ok(Self { start, end })
    }

    /// `l_len` for `F_GETLK`.
    pub fn len(self) -> u64 {
        if self.end == Self::LAST { 0 } else { self.end - self.start + 1 }
    }

    fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// Overlaps or touches.
    fn joins(self, other: Self) -> bool {
        self.start <= other.end.saturating_add(1) && other.start <= self.end.saturating_add(1)
    }
}

/// Ordered by start; the locks of one owner never overlap.
#[derive(Default)]
pub(super) struct RecordLocks {
    locks: Vec<RecordLock>,
}

impl RecordLocks {
    pub(super) fn len(&self) -> usize {
        self.locks.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RecordLock> {
        self.locks.iter()
    }

    /// The first lock of another owner that excludes `wanted`.
    pub(super) fn conflicting(&self, wanted: &RecordLock) -> Option<RecordLock> {
        let excludes = |lock: &&RecordLock| {
            lock.owner != wanted.owner && lock.range.overlaps(wanted.range) && (lock.mode == Mode::Write || wanted.mode == Mode::Write)
        };
        self.locks.iter().filter(excludes).min_by_key(|lock| lock.range.start).copied()
    }

    /// The owner's first lock in the range.
    pub(super) fn held(&self, owner: Owner, range: Range) -> Option<RecordLock> {
        self.locks.iter().find(|lock| lock.owner == owner && lock.range.overlaps(range)).copied()
    }

    /// Enters a lock: replaces what the owner has of those bytes, joins neighbours of the same mode.
    pub(super) fn set(&mut self, wanted: RecordLock) -> Result<()> {
        self.clear(wanted.owner, wanted.range)?;
        self.locks.try_reserve(1).map_err(|_| Errno::NOLCK)?;
        let mut joined = wanted;
        self.locks.retain(|lock| {
            let joins = lock.owner == wanted.owner && lock.mode == wanted.mode && lock.range.joins(joined.range);
            if joins {
                joined.range.start = joined.range.start.min(lock.range.start);
                joined.range.end = joined.range.end.max(lock.range.end);
            }
            !joins
        });
        let place = self.locks.partition_point(|lock| lock.range.start < joined.range.start);
        self.locks.insert(place, joined);
        Ok(())
    }

    /// Takes the owner's locks off the range; one may fall into two parts. `ENOLCK` if there is no memory for the second.
    pub(super) fn clear(&mut self, owner: Owner, range: Range) -> Result<()> {
        self.locks.try_reserve(1).map_err(|_| Errno::NOLCK)?;
        let mut second_part = None;
        self.locks.retain_mut(|lock| {
            if lock.owner != owner || !lock.range.overlaps(range) {
                return true;
            }
            let after = (lock.range.end > range.end).then(|| Range { start: range.end + 1, end: lock.range.end });
            let before = range.start.checked_sub(1).filter(|end| *end >= lock.range.start && lock.range.start < range.start);
            match (before, after) {
                (Some(end), after) => {
                    second_part = after.map(|range| RecordLock { range, ..*lock }).or(second_part);
                    lock.range.end = end;
                    true
                }
                (None, Some(after)) => {
                    lock.range = after;
                    true
                }
                (None, None) => false,
            }
        });
        if let Some(part) = second_part {
            let place = self.locks.partition_point(|lock| lock.range.start < part.range.start);
            self.locks.insert(place, part);
        }
        self.locks.sort_by_key(|lock| lock.range.start);
        Ok(())
    }

    pub(super) fn drop_owner(&mut self, owner: Owner) {
        self.locks.retain(|lock| lock.owner != owner);
    }
}
