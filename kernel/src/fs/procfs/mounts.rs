//! `mounts`, `mountinfo`, `mountstats`: the task's mount namespace, seen from its root.

use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFlags, views};
use crate::task::Thread;
use alloc::sync::Arc;
use graft::views::Table;

/// Opens `mounts`.
pub(super) fn open_mounts(thread: &Arc<Thread>, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    open(thread, Table::Mounts)
}

/// Opens `mountinfo`.
pub(super) fn open_mountinfo(thread: &Arc<Thread>, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    open(thread, Table::Mountinfo)
}

/// Opens `mountstats`.
pub(super) fn open_mountstats(thread: &Arc<Thread>, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    open(thread, Table::Mountstats)
}

/// The namespace and the root are those at the time of the open, whatever the task does later. `EINVAL` for a task that has ended.
fn open(thread: &Arc<Thread>, table: Table) -> Result<Arc<dyn FileOps>> {
    let namespace = thread.try_namespaces().ok_or(Errno::INVAL)?.mount.clone();
    let root = thread.try_fs().ok_or(Errno::NOENT)?.root();
    Ok(views::open(namespace, root, table))
}
