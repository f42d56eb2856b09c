//! The file-descriptor-based mount calls: open_tree, move_mount, fsmount, mount_setattr (A).

use super::{KernelVfs, UserNamespaceHandle, as_caller, change, forest, new_mount_of, place, refused};
use crate::errno::{Errno, Result};
use crate::fs::mount_context::MountContext;
use crate::fs::{FileOps, OpenFile, Path, open};
use crate::task::namespaces::NamespaceHandle;
use crate::task::{Capabilities, current};
use alloc::sync::Arc;
use graft::flags::MountFlags;
use graft::{AttributeChange, AttributeWords, DetachedTree, MountId};

/// What the descriptor of a detached tree is besides a path: its last close takes the tree apart, unless it was attached (A5).
struct TreeDescriptor {
    root: MountId,
}

impl FileOps for TreeDescriptor {
    fn seekable(&self) -> bool {
        false
    }

    fn release(&self, _file: &OpenFile) {
        let released = change(|forest| forest.dissolve(self.root));
        drop(released);
    }
}

/// An `O_PATH` file for the root of a detached tree.
fn descriptor(tree: &DetachedTree) -> Result<Arc<OpenFile>> {
    let root = {
        let forest = forest().read();
        let dentry = forest.root(tree.root).cloned().ok_or(Errno::NOENT)?;
        super::pinned(&forest, graft::Place::new(tree.root, dentry))
    };
    open::path_descriptor(root, Some(Arc::new(TreeDescriptor { root: tree.root })))
}

/// `open_tree(OPEN_TREE_CLONE)` (A2).
pub fn clone_tree(source: &Path, recursive: bool) -> Result<Arc<OpenFile>> {
    let from = place(source);
    let tree = as_caller(|caller| change(|forest| forest.open_tree(caller, &from, recursive))).map_err(refused("open_tree"))?;
    descriptor(&tree)
}

/// `fsmount(2)` (A17). `attributes` are `MOUNT_ATTR_*`, decoded.
pub fn mount_context(context: &MountContext, flags: MountFlags) -> Result<Arc<OpenFile>> {
    context.mount(|superblock, source| {
        let new = new_mount_of(superblock, source, flags)?;
        let tree = as_caller(|caller| change(|forest| forest.fsmount(caller, &new))).map_err(refused("fsmount"))?;
        descriptor(&tree)
    })
}

/// `MOUNT_ATTR_*` of `fsmount(2)`: `EINVAL` (A17).
pub fn decode_attributes(attributes: u64) -> Result<MountFlags> {
    AttributeWords::decode_fsmount(attributes).map_err(refused("fsmount"))
}

/// `MOVE_MOUNT_SET_GROUP` (A8).
pub fn set_group(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (place(from), place(to));
    as_caller(|caller| change(|forest| forest.set_group(caller, &from, &to))).map_err(refused("move_mount"))
}

/// What `mount_setattr(2)` asks for, decoded as far as it can be without a place (A19, A20, A22).
pub fn decode_change(set: u64, clear: u64, propagation: u64, user_namespace_fd: u64) -> Result<AttributeChange<KernelVfs>> {
    let words = AttributeWords::decode(set, clear, propagation).map_err(refused("mount_setattr"))?;
    let idmap = if words.sets_idmap { Some(id_mapping(user_namespace_fd)?) } else { None };
    Ok(AttributeChange { clear: words.clear, set: words.set, propagation: words.propagation, idmap })
}

/// The user namespace of an id mapping: not the first one, and one that the caller governs (A22).
fn id_mapping(fd: u64) -> Result<UserNamespaceHandle> {
    let fd = i32::try_from(fd).map_err(|_| Errno::INVAL)?;
    let thread = current();
    let file = thread.files().get(fd)?;
    let Some(NamespaceHandle::User(namespace)) = file.ops.namespace() else { return Err(Errno::INVAL) };
    if namespace.is_initial() || !thread.credentials().capable_in(Capabilities::SYS_ADMIN, &namespace) {
        return Err(Errno::PERM);
    }
    Ok(UserNamespaceHandle(namespace))
}

/// `mount_setattr(2)`, once a place is found (A19 to A22).
pub fn set_attributes(target: &Path, wanted: &AttributeChange<KernelVfs>, recursive: bool) -> Result<()> {
    let at = place(target);
    as_caller(|caller| change(|forest| forest.set_attributes(caller, &at, wanted, recursive))).map_err(refused("mount_setattr"))
}
