//! null, zero, full.
