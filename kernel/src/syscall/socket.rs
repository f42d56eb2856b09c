//! System calls: socket calls.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
