//! User namespaces (`user_namespaces(7)`): id maps, owners, the tree of parents.

use alloc::sync::Arc;

/// A user namespace.
pub struct UserNamespace {
    /// The one that it was made in; `None` for the initial one.
    pub parent: Option<Arc<UserNamespace>>,
    /// Effective uid of its maker, as an id of the initial namespace.
    pub owner_uid: u32,
    /// Number for `/proc/PID/ns/user`.
    pub inode_number: u64,
}

impl UserNamespace {
    /// The one that the kernel booted with.
    pub fn initial() -> Arc<Self> {
        todo!()
    }
}
