//! System calls: signals.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
