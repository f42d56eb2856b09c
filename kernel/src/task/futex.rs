//! futex(2).
