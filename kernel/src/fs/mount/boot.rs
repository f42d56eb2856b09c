//! The first mounts: the rootfs, and those of the kernel itself.

use super::{UserNamespaceHandle, forest, refused};
use crate::errno::{Errno, Result};
use crate::fs::superblock::{ActiveSuperBlock, FileSystemType, MountRequest};
use crate::fs::tmpfs::Rootfs;
use crate::fs::{Path, SuperBlock};
use crate::task::namespaces::{Kind, MountNamespace, next_inode_number};
use crate::task::{Credentials, UserNamespace};
use alloc::{sync::Arc, vec::Vec};
use graft::NewMount;
use graft::flags::MountFlags;

/// Makes the rootfs and the first mount namespace, with id equal to parent id (O12). Gives the root and the namespace for the first
/// process.
pub fn init(credentials: Arc<Credentials>) -> Result<(Path, Arc<MountNamespace>)> {
    let request =
        MountRequest { source: Some(b"rootfs".to_vec()), flags: 0, options: Vec::new(), subtype: None, credentials, exclusive: false };
    let superblock = Rootfs.get_tree(&request)?;
    let root = superblock.root_dentry().ok_or(Errno::NODEV)?;
    let new = NewMount {
        superblock: ActiveSuperBlock::new(superblock),
        root: root.clone(),
        source: Some(Arc::from(&b"rootfs"[..])),
        // The kernel's own mounts have no flags, not even relatime.
        flags: MountFlags::empty(),
    };
    let owner = UserNamespace::initial();
    let handle = UserNamespaceHandle(owner.clone());
    let mut forest = forest().write();
    let (id, mount) = forest.create_namespace(&handle, &new).map_err(refused("boot"))?;
    forest.pin(mount);
    drop(forest);
    let namespace = MountNamespace { id, owner, inode_number: next_inode_number(Kind::Mount, true) };
    Ok((Path::from_pinned(mount, root), Arc::new(namespace)))
}

/// Mounts a filesystem of the kernel's own where no program sees it (O14): for pipes, sockets, nsfs, memfd. Gives its root.
pub fn kernel_mount(superblock: Arc<SuperBlock>) -> Result<Path> {
    let root = superblock.root_dentry().ok_or(Errno::NODEV)?;
    let source = Arc::from(superblock.file_system.name().as_bytes());
    let new =
        NewMount { superblock: ActiveSuperBlock::new(superblock), root: root.clone(), source: Some(source), flags: MountFlags::empty() };
    let mut forest = forest().write();
    let mount = forest.kern_mount(&new).map_err(refused("kernel mount"))?;
    forest.pin(mount);
    drop(forest);
    Ok(Path::from_pinned(mount, root))
}
