//! Places in the tree as programs hold them, and a process's root, working directory and umask.

use crate::fs::{Dentry, Inode, mount};
use crate::sync::SpinLock;
use alloc::sync::Arc;

/// A mount and a dentry seen through it. Holds a pin on the mount (U7) while it lives.
///
/// Cloning and dropping take the forest's lock for a moment: neither may happen while it is held.
pub struct Path {
    mount: graft::MountId,
    dentry: Arc<Dentry>,
}

impl Path {
    /// The place `dentry` in `mount`. The caller knows that the mount is there: it holds another path in it, or the forest's lock
    /// was held when the pin was taken ([`mount::pin_locked`]).
    pub(in crate::fs) fn from_pinned(mount: graft::MountId, dentry: Arc<Dentry>) -> Self {
        Self { mount, dentry }
    }

    /// Another dentry of the same mount.
    pub fn at(&self, dentry: Arc<Dentry>) -> Self {
        mount::pin(self.mount);
        Self { mount: self.mount, dentry }
    }

    /// Goes to another dentry of the same mount; gives back the one before.
    pub(in crate::fs) fn step(&mut self, dentry: Arc<Dentry>) -> Arc<Dentry> {
        core::mem::replace(&mut self.dentry, dentry)
    }

    /// The mount.
    pub fn mount(&self) -> graft::MountId {
        self.mount
    }

    /// The dentry.
    pub fn dentry(&self) -> &Arc<Dentry> {
        &self.dentry
    }

    /// The file behind it; `None` if it is negative.
    pub fn inode(&self) -> Option<Arc<Inode>> {
        self.dentry.inode()
    }
}

impl Clone for Path {
    fn clone(&self) -> Self {
        self.at(self.dentry.clone())
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        mount::unpin(self.mount);
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.mount == other.mount && self.dentry.key == other.dentry.key
    }
}

impl Eq for Path {}

/// `fs_struct`: shared by `CLONE_FS`.
pub struct FsContext {
    /// Root, working directory, umask. Take copies out; drop replaced paths after the lock is released.
    pub state: SpinLock<FsState>,
}

/// See [`FsContext`].
#[derive(Clone)]
pub struct FsState {
    /// Where `/` leads.
    pub root: Path,
    /// Where relative names start.
    pub working_directory: Path,
    /// Mode bits withheld from new files.
    pub umask: u32,
}

impl FsContext {
    /// A context with both places at `root`.
    pub fn new(root: Path, umask: u32) -> Arc<Self> {
        let working_directory = root.clone();
        Arc::new(Self { state: SpinLock::new(FsState { root, working_directory, umask }) })
    }

    /// A copy for `fork` without `CLONE_FS`.
    pub fn duplicate(&self) -> Arc<Self> {
        let state = self.state.lock().clone();
        Arc::new(Self { state: SpinLock::new(state) })
    }

    /// The root now.
    pub fn root(&self) -> Path {
        self.state.lock().root.clone()
    }

    /// The working directory now.
    pub fn working_directory(&self) -> Path {
        self.state.lock().working_directory.clone()
    }

    /// The umask now.
    pub fn umask(&self) -> u32 {
        self.state.lock().umask
    }

    /// `chroot(2)`: the working directory stays.
    pub fn set_root(&self, root: Path) {
        let old = core::mem::replace(&mut self.state.lock().root, root);
        drop(old);
    }

    /// `chdir(2)`.
    pub fn set_working_directory(&self, directory: Path) {
        let old = core::mem::replace(&mut self.state.lock().working_directory, directory);
        drop(old);
    }

    /// `umask(2)`: the one before.
    pub fn set_umask(&self, umask: u32) -> u32 {
        core::mem::replace(&mut self.state.lock().umask, umask & 0o777)
    }
}
