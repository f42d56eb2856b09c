//! `mounts`, `mountinfo`, `mountstats`: the task's mount namespace, seen from its root.

use super::access;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Content, GeneratedFile};
use crate::fs::{FileOps, OpenFile, OpenFlags, Path, mount};
use crate::task::Thread;
use crate::task::namespaces::MountNamespace;
use alloc::{sync::Arc, vec::Vec};
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
    access::require_read(thread)?;
    let namespace = thread.try_namespaces().ok_or(Errno::INVAL)?.mount.clone();
    let root = thread.try_fs().ok_or(Errno::NOENT)?.root();
    Ok(GeneratedFile::new(Arc::new(MountTable { namespace, root, table })))
}

struct MountTable {
    namespace: Arc<MountNamespace>,
    root: Path,
    table: Table,
}

impl Content for MountTable {
    fn generate(&self, _file: &OpenFile) -> Result<Vec<u8>> {
        let root = mount::place(&self.root);
        let mut text = Vec::new();
        let forest = mount::forest().read();
        forest.write_table(self.table, self.namespace.id, &root, &mut text).map_err(|_| Errno::NOMEM)?;
        Ok(text)
    }
}
