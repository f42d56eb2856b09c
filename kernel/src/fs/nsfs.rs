//! nsfs: the files behind `/proc/PID/ns/*`. A namespace has one file, however it is reached, and an open or mounted file keeps it alive.

use crate::errno::{Errno, Result};
use crate::fs::superblock::{FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::{Attributes, Dentry, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, SuperBlock, io, mount, open};
use crate::mm::{PAGE_SIZE_BYTES, UserPointer};
use crate::sync::{Once, SpinLock};
use crate::task::namespaces::{Kind, NamespaceHandle};
use crate::task::{UserNamespace, current};
use alloc::{
    collections::BTreeMap,
    format,
    sync::{Arc, Weak},
    vec::Vec,
};
use graft::seam::NamespaceFile;

/// `NSFS_MAGIC` of `statfs(2)` (`linux/magic.h`).
const NSFS_MAGIC: u64 = 0x6e73_6673;
// The requests of ioctl_ns(2): `_IO(0xb7, n)`.
const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_PARENT: u32 = 0xb702;
const NS_GET_NSTYPE: u32 = 0xb703;
const NS_GET_OWNER_UID: u32 = 0xb704;

struct NsFs;

impl FileSystemType for NsFs {
    fn name(&self) -> &'static str {
        "nsfs"
    }

    fn check_option(&self, _key: &str, _value: Option<&[u8]>) -> Result<()> {
        Err(Errno::INVAL)
    }

    fn get_tree(&self, _request: &MountRequest) -> Result<Arc<SuperBlock>> {
        Err(Errno::INVAL)
    }
}

struct NsFsSuper;

impl SuperBlockOps for NsFsSuper {
    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        let block_size_bytes = PAGE_SIZE_BYTES as u64;
        FileSystemStatistics { magic: NSFS_MAGIC, block_size_bytes, name_max_bytes: 255, ..FileSystemStatistics::default() }
    }

    fn dentry_name(&self, dentry: &Dentry) -> Option<Vec<u8>> {
        let inode = dentry.inode()?;
        let file = inode.downcast::<NamespaceInode>()?;
        Some(format!("{}:[{}]", file.handle.kind().name(), inode.number).into_bytes())
    }
}

struct Instance {
    superblock: Arc<SuperBlock>,
    root: Path,
}

static INSTANCE: Once<Instance> = Once::new();
/// The file of each namespace that has one in use, by its number.
static FILES: SpinLock<BTreeMap<u64, Weak<Dentry>>> = SpinLock::new(BTreeMap::new());

struct TopDirectory;

impl InodeOps for TopDirectory {}

fn instance() -> Result<&'static Instance> {
    INSTANCE.try_call_once(|| {
        let superblock = SuperBlock::new(&NsFs, 0, UserNamespace::initial(), None, Arc::new(NsFsSuper));
        let top = Inode::new(&superblock, 1, FileType::Directory, 0, Attributes::new(0o555, 0, 0), Arc::new(TopDirectory));
        superblock.set_root(top);
        let root = mount::kernel_mount(superblock.clone())?;
        Ok(Instance { superblock, root })
    })
}

/// The inode of a namespace's file.
struct NamespaceInode {
    handle: NamespaceHandle,
    /// Of a mount namespace: its place in the order of creation (N14).
    sequence: u64,
}

impl InodeOps for NamespaceInode {
    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(NamespaceFileOps { handle: self.handle.clone() }))
    }
}

impl Drop for NamespaceInode {
    fn drop(&mut self) {
        let mut files = FILES.lock();
        let number = self.handle.inode_number();
        if files.get(&number).is_some_and(|dentry| dentry.strong_count() == 0) {
            files.remove(&number);
        }
    }
}

/// The file of a namespace.
pub fn place(handle: NamespaceHandle) -> Result<Path> {
    let instance = instance()?;
    let number = handle.inode_number();
    let known = FILES.lock().get(&number).and_then(Weak::upgrade);
    if let Some(dentry) = known {
        return Ok(instance.root.at(dentry));
    }
    let sequence = match &handle {
        NamespaceHandle::Mount(namespace) => mount::forest().read().sequence(namespace.id).unwrap_or(0),
        _ => 0,
    };
    let node = Arc::new(NamespaceInode { handle, sequence });
    let inode = Inode::new(&instance.superblock, number, FileType::Regular, 0, Attributes::new(0o444, 0, 0), node);
    let dentry = Dentry::new_root(&instance.superblock, inode, b"");
    FILES.lock().insert(number, Arc::downgrade(&dentry));
    Ok(instance.root.at(dentry))
}

/// Whether a dentry is a namespace's file, for graft. Asked with the forest's lock held.
pub fn namespace_file(dentry: &Dentry) -> NamespaceFile {
    let Some(inode) = dentry.inode() else { return NamespaceFile::No };
    match inode.downcast::<NamespaceInode>() {
        Some(file) if file.handle.kind() == Kind::Mount => NamespaceFile::Mount { sequence: file.sequence },
        Some(_) => NamespaceFile::Other,
        None => NamespaceFile::No,
    }
}

/// An open namespace's file.
struct NamespaceFileOps {
    handle: NamespaceHandle,
}

impl NamespaceFileOps {
    /// A descriptor for a namespace that this one belongs to. `EPERM` if it lies above the caller's own user namespace.
    fn open_related(related: NamespaceHandle, governed_by: &UserNamespace) -> Result<usize> {
        if !governed_by.is_within(&current().credentials().user_namespace) {
            return Err(Errno::PERM);
        }
        let how = open::OpenHow { flags: OpenFlags::empty(), mode: 0, resolve: crate::fs::walk::Resolve::empty() };
        let file = open::open_found(place(related)?, how, true, current().credentials())?;
        io::install(file, true).map(|fd| fd as usize)
    }

    fn open_parent(&self) -> Result<usize> {
        if !matches!(self.handle, NamespaceHandle::User(_) | NamespaceHandle::Pid(_)) {
            return Err(Errno::INVAL);
        }
        let parent = self.handle.parent().ok_or(Errno::PERM)?;
        let governed_by = match &parent {
            NamespaceHandle::User(namespace) => Some(namespace.clone()),
            other => other.owner(),
        };
        Self::open_related(parent, &*governed_by.ok_or(Errno::PERM)?)
    }
}

impl FileOps for NamespaceFileOps {
    fn ioctl(&self, _file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        match request {
            NS_GET_USERNS => {
                let owner = self.handle.owner().ok_or(Errno::PERM)?;
                Self::open_related(NamespaceHandle::User(owner.clone()), &owner)
            }
            NS_GET_PARENT => self.open_parent(),
            NS_GET_NSTYPE => Ok(self.handle.kind().clone_flag() as usize),
            NS_GET_OWNER_UID => {
                let NamespaceHandle::User(namespace) = &self.handle else { return Err(Errno::INVAL) };
                let uid = current().credentials().user_namespace.shown_uid(namespace.owner_uid);
                UserPointer::<u32>::new(argument).write(uid).map(|()| 0)
            }
            _ => Err(Errno::NOTTY),
        }
    }

    fn namespace(&self) -> Option<NamespaceHandle> {
        Some(self.handle.clone())
    }
}
