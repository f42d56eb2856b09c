//! System calls: getdents64.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
