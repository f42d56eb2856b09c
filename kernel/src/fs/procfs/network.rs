//! `net` of a task: the network namespace that the task is in, as `proc(5)` tells it. The texts are made by `net::tables`.

use super::process::owned_attributes;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Content, GeneratedFile, Listing, Text, make_inode};
use crate::fs::inode::AttributeChange;
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path};
use crate::mm::IoBuffer;
use crate::net::NetworkNamespace;
use crate::net::tables::{FILES, Table};
use crate::task::pid::Pid;
use alloc::{sync::Arc, vec::Vec};

/// `net`.
pub(super) struct NetDirectory {
    /// The task.
    pub id: Arc<Pid>,
}

/// The namespace that a task is in; none while it exits.
fn namespace_of(id: &Pid) -> Option<Arc<NetworkNamespace>> {
    Some(id.thread()?.try_namespaces()?.network.clone())
}

/// A number for a file that is the same for all tasks of a namespace.
fn inode_number(namespace: &NetworkNamespace, index: usize) -> u64 {
    /// Above the numbers of tasks' files, whose high half is a pid.
    const BASE: u64 = 1 << 56;
    BASE | namespace.cookie << 8 | index as u64
}

impl InodeOps for NetDirectory {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let namespace = namespace_of(&self.id).ok_or(Errno::NOENT)?;
        let index = FILES.iter().position(|table| table.name.as_bytes() == name).ok_or(Errno::NOENT)?;
        let number = inode_number(&namespace, index);
        let table = &FILES[index];
        let file = NetFile { id: self.id.clone(), namespace, table };
        Ok(make_inode(&dir.superblock, number, FileType::Regular, table.mode, Arc::new(file)))
    }

    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        owned_attributes(&self.id, inode)
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenNet { id: self.id.clone() }))
    }
}

struct OpenNet {
    id: Arc<Pid>,
}

impl FileOps for OpenNet {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let namespace = namespace_of(&self.id).ok_or(Errno::NOENT)?;
        let mut listing = Listing::new(file, position, emit);
        for (index, table) in FILES.iter().enumerate() {
            listing.entry(table.name.as_bytes(), inode_number(&namespace, index), FileType::Regular);
        }
        Ok(listing.position)
    }
}

/// A file of the directory, of the namespace that the task was in when it was looked up.
pub(super) struct NetFile {
    id: Arc<Pid>,
    namespace: Arc<NetworkNamespace>,
    table: &'static Table,
}

impl NetFile {
    /// Whether the task is still in the namespace, so that a name may lead here again.
    pub(super) fn is_current(&self) -> bool {
        namespace_of(&self.id).is_some_and(|namespace| Arc::ptr_eq(&namespace, &self.namespace))
    }
}

impl InodeOps for NetFile {
    /// The files belong to the root user of the namespace's owner, where it has one.
    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        let mut attributes = inode.attributes.lock().clone();
        attributes.uid = self.namespace.owner.uid_to_global(0).unwrap_or(0);
        attributes.gid = self.namespace.owner.gid_to_global(0).unwrap_or(0);
        Ok(attributes)
    }

    fn set_attributes(&self, _inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        if change.mode.is_some() || change.uid.is_some() || change.gid.is_some() { Err(Errno::PERM) } else { Ok(()) }
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(GeneratedFile::open(Arc::new(NetContent { namespace: self.namespace.clone(), table: self.table })))
    }
}

struct NetContent {
    namespace: Arc<NetworkNamespace>,
    table: &'static Table,
}

impl Content for NetContent {
    fn generate(&self, _file: &OpenFile) -> Result<Vec<u8>> {
        let mut text = Text::default();
        (self.table.show)(&self.namespace, &mut text);
        text.finish()
    }
}
