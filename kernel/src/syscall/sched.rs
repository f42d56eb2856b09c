//! System calls: scheduling, affinity, priorities, rseq.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
