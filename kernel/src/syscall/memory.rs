//! System calls: mmap, munmap, mprotect, mremap, madvise, msync, brk, mlock, mincore.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
