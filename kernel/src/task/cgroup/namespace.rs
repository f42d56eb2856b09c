//! Cgroup namespaces (`cgroup_namespaces(7)`): a group that looks like the root to those inside.

use super::Cgroup;
use crate::task::UserNamespace;
use crate::task::namespace_count::NamespaceCount;
use crate::task::namespaces::{Kind, next_inode_number};
use alloc::sync::Arc;

/// A cgroup namespace.
pub struct CgroupNamespace {
    /// Whose privileges govern it.
    pub owner: Arc<UserNamespace>,
    /// For `/proc/PID/ns/cgroup`.
    pub inode_number: u64,
    /// The group that is its root. Stays in memory when it is removed.
    pub root: Arc<Cgroup>,
    /// The one of the boot.
    pub is_initial: bool,
    _count: Option<NamespaceCount>,
}

impl CgroupNamespace {
    /// The one that the kernel booted with.
    pub fn initial() -> Self {
        Self::with(UserNamespace::initial(), Cgroup::root().clone(), None)
    }

    /// One whose root is the group that its maker is in.
    pub fn new(owner: Arc<UserNamespace>, root: Arc<Cgroup>, count: NamespaceCount) -> Self {
        Self::with(owner, root, Some(count))
    }

    fn with(owner: Arc<UserNamespace>, root: Arc<Cgroup>, count: Option<NamespaceCount>) -> Self {
        let initial = count.is_none();
        Self { owner, inode_number: next_inode_number(Kind::Cgroup, initial), root, is_initial: initial, _count: count }
    }
}
