//! System calls: flock.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
