//! System calls: clocks, sleeps, timers.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
