//! Linux 6.6 mount semantics as a library.
#![no_std]
#![forbid(unsafe_code)]

/// A mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MountId(u64);

/// A mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceId(u64);
