//! The dentry cache: names, and which inode each leads to.

use crate::fs::{Inode, SuperBlock};
use crate::sync::SpinLock;
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicBool, AtomicU32};

/// A name in a superblock's tree. Negative while it has no inode. Moves with `rename`.
pub struct Dentry {
    /// Unique for the life of the kernel: graft's key for the dentry.
    pub key: u64,
    /// The filesystem instance.
    pub superblock: Weak<SuperBlock>,
    pub(in crate::fs) place: SpinLock<DentryPlace>,
    pub(in crate::fs) inode: SpinLock<Option<Arc<Inode>>>,
    pub(in crate::fs) children: SpinLock<BTreeMap<Vec<u8>, Weak<Dentry>>>,
    /// Removed from its directory.
    pub(in crate::fs) unhashed: AtomicBool,
    /// How many mounts (in all namespaces) sit on it; 0 lets the walk skip graft.
    pub mounted: AtomicU32,
}

pub(in crate::fs) struct DentryPlace {
    pub parent: Option<Arc<Dentry>>,
    pub name: Vec<u8>,
}

impl Dentry {
    /// The inode; `None` for a negative dentry.
    pub fn inode(&self) -> Option<Arc<Inode>> {
        self.inode.lock().clone()
    }

    /// The directory it is in; `None` for the root of the superblock.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    /// Its name now.
    pub fn name(&self) -> Vec<u8> {
        self.place.lock().name.clone()
    }
}
