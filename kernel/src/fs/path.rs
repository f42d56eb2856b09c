//! Places in the tree as programs hold them, and a process's root, working directory and umask.

use crate::fs::{Dentry, Inode, mount};
use crate::sync::SpinLock;
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicU64, Ordering};

/// A mount and a dentry seen through it. Holds a pin on the mount (U7) while it lives.
///
/// Cloning and dropping take the forest's lock for a moment: neither may happen while it is held.
pub struct Path {
    mount: graft::MountId,
    dentry: Arc<Dentry>,
    /// Its end does not count as a use of the mount.
    leaves_no_trace: bool,
}

impl Path {
    /// The place `dentry` in `mount`. The caller knows that the mount is there: it holds another path in it, or the forest's lock
    /// was held when the pin was taken ([`mount::pin_locked`]).
    pub(in crate::fs) fn from_pinned(mount: graft::MountId, dentry: Arc<Dentry>) -> Self {
        Self { mount, dentry, leaves_no_trace: false }
    }

    /// Another dentry of the same mount.
    pub fn at(&self, dentry: Arc<Dentry>) -> Self {
        mount::pin(self.mount);
        Self { mount: self.mount, dentry, leaves_no_trace: false }
    }

    /// Goes to another dentry of the same mount; gives back the one before.
    pub(in crate::fs) fn step(&mut self, dentry: Arc<Dentry>) -> Arc<Dentry> {
        core::mem::replace(&mut self.dentry, dentry)
    }

    /// Drops the path without that counting as a use of the mount: the path of `umount2` itself (U2).
    pub(in crate::fs) fn release_without_use(self) {
        let mut path = self;
        path.leaves_no_trace = true;
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
        mount::unpin(self.mount, !self.leaves_no_trace);
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
    /// For the table of all contexts.
    number: u64,
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

/// All contexts, for `pivot_root(2)`, which changes the roots of others (R4).
static CONTEXTS: SpinLock<BTreeMap<u64, Weak<FsContext>>> = SpinLock::new(BTreeMap::new());
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

impl FsContext {
    /// A context with both places at `root`.
    pub fn new(root: Path, umask: u32) -> Arc<Self> {
        let working_directory = root.clone();
        Self::from_state(FsState { root, working_directory, umask })
    }

    /// A copy for `fork` without `CLONE_FS`.
    pub fn duplicate(&self) -> Arc<Self> {
        let state = self.state.lock().clone();
        Self::from_state(state)
    }

    fn from_state(state: FsState) -> Arc<Self> {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let context = Arc::new(Self { number, state: SpinLock::new(state) });
        CONTEXTS.lock().insert(number, Arc::downgrade(&context));
        context
    }

    /// Lets every root and working directory that is exactly `old` be `new` (R4).
    pub(in crate::fs) fn replace_everywhere((old_mount, old_dentry): (graft::MountId, &Dentry), new: &Path) {
        let is_old = |path: &Path| path.mount == old_mount && path.dentry.key == old_dentry.key;
        let contexts: Vec<Arc<Self>> = CONTEXTS.lock().values().filter_map(Weak::upgrade).collect();
        for context in contexts {
            let (at_root, in_directory) = {
                let state = context.state.lock();
                (is_old(&state.root), is_old(&state.working_directory))
            };
            if at_root {
                context.set_root(new.clone());
            }
            if in_directory {
                context.set_working_directory(new.clone());
            }
        }
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

impl Drop for FsContext {
    fn drop(&mut self) {
        CONTEXTS.lock().remove(&self.number);
    }
}
