//! System calls: pipe, splice, tee, vmsplice, sendfile, copy_file_range.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
