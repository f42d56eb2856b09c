//! System calls: futex, robust lists.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
