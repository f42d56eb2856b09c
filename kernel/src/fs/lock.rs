//! Advisory locks on files: POSIX record locks, open file description locks, `flock`.

/// The locks that are held on one inode.
#[derive(Default)]
pub struct FileLocks {}
