//! devtmpfs: a tmpfs that has a node for every device from the start. All mounts show one and the same instance (O17).

use crate::dev::registry;
use crate::errno::Result;
use crate::fs::superblock::{ActiveSuperBlock, FileSystemType, MountRequest};
use crate::fs::{Attributes, SuperBlock, tmpfs};
use crate::sync::Once;
use alloc::sync::Arc;

/// The type "devtmpfs".
pub struct DevTmpfs;

/// The type, for `fs::registry`.
pub static TYPE: DevTmpfs = DevTmpfs;

/// The one instance, held for the life of the kernel whether it is mounted or not.
static INSTANCE: Once<ActiveSuperBlock> = Once::new();

impl FileSystemType for DevTmpfs {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }

    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        tmpfs::Tmpfs.check_option(key, value)
    }

    /// Options change the instance that is there, for all its mounts.
    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let superblock = INSTANCE.try_call_once(make)?.superblock().clone();
        if !request.options.is_empty() {
            superblock.ops.reconfigure(&superblock, request.flags, &request.options)?;
        }
        Ok(superblock)
    }
}

fn make() -> Result<ActiveSuperBlock> {
    let superblock = tmpfs::make_device_instance(&TYPE)?;
    let top = superblock.root_dentry().and_then(|root| root.inode());
    if let Some(top) = top {
        for node in registry::nodes() {
            let attributes = Attributes::new(node.mode, 0, 0);
            top.ops.create(&top, node.name.as_bytes(), node.file_type, attributes, node.device)?;
        }
    }
    Ok(ActiveSuperBlock::new(superblock))
}
