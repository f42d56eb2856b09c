//! Who asks, and for which places: the arguments that operations share.

use crate::flags::MountFlags;
use crate::ids::{MountId, NamespaceId};
use crate::seam::Vfs;

/// A place in the forest: a dentry as seen through a mount (O3). A path walk ends at one.
pub struct Place<V: Vfs> {
    /// The mount.
    pub mount: MountId,
    /// A dentry at or below the mount's root.
    pub dentry: V::Dentry,
}

impl<V: Vfs> Place<V> {
    /// A place.
    pub fn new(mount: MountId, dentry: V::Dentry) -> Self {
        Self { mount, dentry }
    }
}

impl<V: Vfs> Clone for Place<V> {
    fn clone(&self) -> Self {
        Self { mount: self.mount, dentry: self.dentry.clone() }
    }
}

impl<V: Vfs> core::fmt::Debug for Place<V>
where
    V::Dentry: core::fmt::Debug,
{
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{:?}:{:?}", self.mount, self.dentry)
    }
}

/// The task that asks.
pub struct Caller<'a, V: Vfs> {
    /// Its mount namespace.
    pub namespace: NamespaceId,
    /// Its root directory.
    pub root: &'a Place<V>,
    /// Its credentials.
    pub credentials: &'a V::Credentials,
}

impl<V: Vfs> Clone for Caller<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: Vfs> Copy for Caller<'_, V> {}

/// A filesystem about to be mounted. Borrowed by operations, so that a refused one drops nothing under the lock.
pub struct NewMount<V: Vfs> {
    /// The filesystem instance.
    pub superblock: V::Superblock,
    /// The dentry that the mount shows as its root.
    pub root: V::Dentry,
    /// The source string (F10); `None` shows as `none`.
    pub source: Option<V::Source>,
    /// The flags of the mount alone (F6).
    pub flags: MountFlags,
}
