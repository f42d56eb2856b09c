//! System calls: clocks, sleeps, timers.

use super::Entry;
use crate::errno::{Errno, Result};
use crate::mm::user::UserPointer;
use crate::task::Deadline;
use crate::time::clock::{self, NS_PER_SECOND};

pub(super) const TABLE: &[Entry] = &[];

/// A `struct timespec` as nanoseconds. `EINVAL` for a negative or unnormalised one. Beyond what 64 bits hold it is for ever.
pub(super) fn read_timespec(address: u64) -> Result<u64> {
    let [seconds, nanoseconds] = UserPointer::<[i64; 2]>::new(address).read()?;
    if seconds < 0 || !(0..NS_PER_SECOND as i64).contains(&nanoseconds) {
        return Err(Errno::INVAL);
    }
    Ok((seconds as u64).saturating_mul(NS_PER_SECOND).saturating_add(nanoseconds as u64))
}

/// An optional relative timeout as a deadline: NULL waits for ever.
pub(super) fn read_timeout(address: u64) -> Result<Option<Deadline>> {
    if address == 0 {
        return Ok(None);
    }
    let duration_ns = read_timespec(address)?;
    Ok(Some(Deadline(clock::monotonic_ns().saturating_add(duration_ns))))
}
