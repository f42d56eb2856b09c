//! `madvise(2)`, `msync(2)`, `mincore(2)`.
