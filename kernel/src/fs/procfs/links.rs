//! The links of a task that lead to objects instead of names: cwd, root, exe, fd/N, ns/*.

use super::access;
use super::process::{NumberGroup, Scope, change_task_attributes, number, owned_attributes};
use crate::errno::{Errno, Result};
use crate::fs::generated::{Listing, make_inode};
use crate::fs::inode::AttributeChange;
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, mount, nsfs};
use crate::mm::IoBuffer;
use crate::task::Thread;
use crate::task::namespaces::{Kind, NamespaceHandle};
use crate::task::pid::Pid;
use alloc::{format, sync::Arc, vec::Vec};

/// How a place reads for the current thread: its name from the thread's root, or the like (`proc(5)`).
pub(super) fn path_text(path: &Path) -> Result<Vec<u8>> {
    let root = crate::task::current().fs().root();
    Ok(mount::path_text(path, &root)?.0)
}

fn accessible_thread(id: &Pid) -> Result<Arc<Thread>> {
    let thread = id.thread().ok_or(Errno::NOENT)?;
    access::require_read(&thread)?;
    Ok(thread)
}

/// Which place a link of the task's directory leads to.
#[derive(Clone, Copy)]
pub(super) enum Place {
    WorkingDirectory,
    Root,
    Executable,
}

/// cwd, root, exe.
pub(super) struct PlaceLink {
    pub id: Arc<Pid>,
    pub place: Place,
}

impl PlaceLink {
    fn target(&self) -> Result<Path> {
        let thread = accessible_thread(&self.id)?;
        match self.place {
            Place::WorkingDirectory => thread.try_fs().map(|fs| fs.working_directory()),
            Place::Root => thread.try_fs().map(|fs| fs.root()),
            Place::Executable => thread.process.executable().map(|file| file.path.clone()),
        }
        .ok_or(Errno::NOENT)
    }
}

impl InodeOps for PlaceLink {
    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        owned_attributes(&self.id, inode)
    }

    fn set_attributes(&self, _inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_task_attributes(change)
    }

    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Vec<u8>> {
        path_text(&self.target()?)
    }

    fn magic_link(&self, _inode: &Arc<Inode>) -> Option<Result<Path>> {
        Some(self.target())
    }
}

/// fd/N.
pub(super) struct DescriptorLink {
    pub id: Arc<Pid>,
    pub descriptor: i32,
}

impl DescriptorLink {
    fn file(&self) -> Result<Arc<OpenFile>> {
        let thread = self.id.thread().ok_or(Errno::NOENT)?;
        let files = thread.try_files().ok_or(Errno::NOENT)?;
        files.get(self.descriptor).map_err(|_| Errno::NOENT)
    }

    /// Whether the number is still open.
    pub(super) fn is_open(&self) -> bool {
        self.file().is_ok()
    }

    fn target(&self) -> Result<Path> {
        accessible_thread(&self.id)?;
        Ok(self.file()?.path.clone())
    }
}

impl InodeOps for DescriptorLink {
    /// The permission bits tell how the file is open: for reading, writing.
    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        let mut attributes = owned_attributes(&self.id, inode)?;
        if let Ok(file) = self.file() {
            let flags = file.flags();
            let (read, write) = (flags.readable(), flags.writable());
            attributes.mode = if read { 0o500 } else { 0 } | if write { 0o300 } else { 0 };
            // The length that Linux shows, whatever the target is.
            attributes.size_bytes = 64;
        }
        Ok(attributes)
    }

    fn set_attributes(&self, _inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_task_attributes(change)
    }

    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Vec<u8>> {
        path_text(&self.target()?)
    }

    fn magic_link(&self, _inode: &Arc<Inode>) -> Option<Result<Path>> {
        Some(self.target())
    }
}

/// Names in `ns`, in the order in which Linux lists them.
const NAMESPACES: [(&str, Kind, bool); 10] = [
    ("net", Kind::Network, false),
    ("uts", Kind::Uts, false),
    ("ipc", Kind::Ipc, false),
    ("pid", Kind::Pid, false),
    ("pid_for_children", Kind::Pid, true),
    ("user", Kind::User, false),
    ("mnt", Kind::Mount, false),
    ("cgroup", Kind::Cgroup, false),
    ("time", Kind::Time, false),
    ("time_for_children", Kind::Time, true),
];

/// `ns`.
pub(super) struct NamespaceDirectory {
    pub id: Arc<Pid>,
    pub scope: Scope,
}

impl InodeOps for NamespaceDirectory {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        self.id.thread().ok_or(Errno::NOENT)?;
        let index = NAMESPACES.iter().position(|(known, ..)| known.as_bytes() == name).ok_or(Errno::NOENT)?;
        let (_, kind, for_children) = NAMESPACES[index];
        let number = number(&self.id, self.scope, NumberGroup::Namespaces, index as u64);
        let link = Arc::new(NamespaceLink { id: self.id.clone(), kind, for_children });
        Ok(make_inode(&dir.superblock, number, FileType::Symlink, 0o777, link))
    }

    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        owned_attributes(&self.id, inode)
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenNamespaces { id: self.id.clone(), scope: self.scope }))
    }
}

struct OpenNamespaces {
    id: Arc<Pid>,
    scope: Scope,
}

impl FileOps for OpenNamespaces {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        self.id.thread().ok_or(Errno::NOENT)?;
        let mut listing = Listing::new(file, position, emit);
        for (index, (name, ..)) in NAMESPACES.iter().enumerate() {
            let number = number(&self.id, self.scope, NumberGroup::Namespaces, index as u64);
            listing.entry(name.as_bytes(), number, FileType::Symlink);
        }
        Ok(listing.position)
    }
}

/// ns/KIND.
struct NamespaceLink {
    id: Arc<Pid>,
    kind: Kind,
    for_children: bool,
}

impl NamespaceLink {
    fn target(&self) -> Result<NamespaceHandle> {
        let thread = accessible_thread(&self.id)?;
        if self.kind == Kind::Pid && self.for_children {
            let namespace = thread.try_namespaces().map(|all| all.pid_for_children.clone());
            // One that nobody was born in cannot be entered, so it is not shown.
            return namespace.filter(|namespace| namespace.last_number() > 0).map(NamespaceHandle::Pid).ok_or(Errno::NOENT);
        }
        if self.kind == Kind::Time && self.for_children {
            return thread.try_namespaces().map(|all| NamespaceHandle::Time(all.time_for_children.clone())).ok_or(Errno::NOENT);
        }
        thread.namespace(self.kind).ok_or(Errno::NOENT)
    }
}

impl InodeOps for NamespaceLink {
    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        owned_attributes(&self.id, inode)
    }

    fn set_attributes(&self, _inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_task_attributes(change)
    }

    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Vec<u8>> {
        let handle = self.target()?;
        Ok(format!("{}:[{}]", handle.kind().name(), handle.inode_number()).into_bytes())
    }

    fn magic_link(&self, _inode: &Arc<Inode>) -> Option<Result<Path>> {
        Some(self.target().and_then(nsfs::place))
    }
}
