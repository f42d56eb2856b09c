//! System calls: read, write, seek, sync, fcntl, ioctl, dup, close.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
