//! System calls: mount, umount2, pivot_root, the new mount API.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
