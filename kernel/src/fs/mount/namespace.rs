//! Mount namespaces as tasks hold them: copies at `CLONE_NEWNS`, entry by `setns`, the end with the last handle.

use super::{Path, UserNamespaceHandle, forest, pinned, refused};
use crate::errno::{Errno, Result};
use crate::fs::FsContext;
use crate::task::UserNamespace;
use crate::task::namespaces::{Kind, MountNamespace, next_inode_number};
use alloc::sync::Arc;
use graft::NamespaceId;

/// Copies a namespace for `CLONE_NEWNS` (N1 to N7), and moves `context`, which nobody else uses yet, into the copy (N6).
pub fn make_copy(of: &MountNamespace, owner: Arc<UserNamespace>, context: &FsContext) -> Result<Arc<MountNamespace>> {
    let (root, working_directory) = (context.root(), context.working_directory());
    let handle = UserNamespaceHandle(owner.clone());
    let mut forest = forest().write();
    let copy = forest.copy_namespace(of.id, &handle, [root.mount(), working_directory.mount()]).map_err(refused("unshare"))?;
    let translate =
        |path: &Path, copy: Option<graft::MountId>| copy.map(|mount| pinned(&forest, graft::Place::new(mount, path.dentry().clone())));
    let (new_root, new_directory) = (translate(&root, copy.copies[0]), translate(&working_directory, copy.copies[1]));
    drop(forest);
    if let Some(root) = new_root {
        context.set_root(root);
    }
    if let Some(directory) = new_directory {
        context.set_working_directory(directory);
    }
    Ok(Arc::new(MountNamespace { id: copy.namespace, owner, inode_number: next_inode_number(Kind::Mount, false) }))
}

/// Where `setns` puts root and working directory (N10).
pub fn enter_place(namespace: &MountNamespace) -> Result<Path> {
    let forest = forest().read();
    let place = forest.namespace_entry(namespace.id).ok_or(Errno::INVAL)?;
    Ok(pinned(&forest, place))
}

/// The last handle on a namespace is gone: its mounts go (N8, N9).
pub fn release(namespace: NamespaceId) {
    let was_last = forest().read().unpin_namespace(namespace);
    if was_last {
        let released = super::change(|forest| forest.release_namespace(namespace));
        drop(released);
    }
}
