//! inotify(7): telling programs of changes of files and directories.

/// Who watches one inode.
#[derive(Default)]
pub struct Watches {}
