//! Places in the tree as programs hold them, and a process's root, working directory and umask.

use crate::fs::Dentry;
use crate::sync::SpinLock;
use alloc::sync::Arc;

/// A mount and a dentry seen through it. Holds a pin on the mount (U7) while it lives.
pub struct Path {
    mount: graft::MountId,
    dentry: Arc<Dentry>,
}

impl Path {
    /// The mount.
    pub fn mount(&self) -> graft::MountId {
        self.mount
    }

    /// The dentry.
    pub fn dentry(&self) -> &Arc<Dentry> {
        &self.dentry
    }
}

/// `fs_struct`: shared by `CLONE_FS`.
pub struct FsContext {
    /// Root, working directory, umask. Take copies out; drop replaced paths after the lock is released.
    pub state: SpinLock<FsState>,
}

/// See [`FsContext`].
pub struct FsState {
    /// Where `/` leads.
    pub root: Path,
    /// Where relative names start.
    pub working_directory: Path,
    /// Mode bits withheld from new files.
    pub umask: u32,
}
