//! `mremap(2)`.
