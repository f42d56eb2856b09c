//! wait4 and waitid.
