//! What a thread's view of the system is made of (`namespaces(7)`): `nsproxy` of Linux.

use alloc::sync::Arc;

/// The namespaces of a thread. Immutable: `unshare` and `setns` make a new one.
#[derive(Clone)]
pub struct Namespaces {
    /// Mounts: a pinned namespace of graft's forest.
    pub mount: Arc<MountNamespace>,
}

/// A pinned mount namespace. Dropping the last handle tears the namespace down (N8, N9).
pub struct MountNamespace {
    /// In graft's forest.
    pub id: graft::NamespaceId,
}
