//! System calls: poll, ppoll, select, pselect.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
