//! From nothing to a root directory with the initramfs in it.

use crate::arch::start_info;
use crate::fs::mount;
use crate::fs::walk::Start;
use crate::fs::{Path, devpts, devtmpfs, initramfs, procfs, registry, sysfs, tmpfs};
use crate::mm::frame;
use crate::task::namespaces::MountNamespace;
use crate::task::{Credentials, current};
use alloc::sync::Arc;

/// Registers the filesystem types and mounts the rootfs. Gives the root and the mount namespace for the first process.
pub fn init() -> (Path, Arc<MountNamespace>) {
    registry::register(&sysfs::TYPE);
    registry::register(&tmpfs::Tmpfs);
    registry::register(&devtmpfs::TYPE);
    registry::register(&procfs::TYPE);
    registry::register(&tmpfs::Ramfs);
    registry::register(&devpts::TYPE);
    mount::init(Arc::new(Credentials::initial())).unwrap_or_else(|error| panic!("the rootfs cannot be mounted: {error:?}"))
}

/// Unpacks the initramfs. Runs in the first process, before it becomes init.
pub fn unpack_initramfs() {
    let thread = current();
    let root = thread.fs().root();
    let start = Start { root: root.clone(), directory: root, credentials: thread.credentials() };
    let information = start_info::information();
    if let Err(error) = initramfs::make_default_nodes(&start) {
        log::error!("rootfs: the default nodes cannot be made: {error:?}");
    }
    initramfs::unpack(frame::initramfs(information), &start);
    // SAFETY: the archive was only borrowed by the call above, and the first process runs this once.
    unsafe { frame::free_initramfs(information) };
}
