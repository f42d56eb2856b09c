//! Files without a name: the kernel's own filesystems (pipefs, sockfs, anon_inodefs), which no program can mount, and the open
//! files on them. `readlink` of `/proc/PID/fd/N` shows them as `pipe:[n]`, `socket:[n]`, `anon_inode:[eventpoll]`.

use crate::errno::{Errno, Result};
use crate::fs::fd_table::Fd;
use crate::fs::generated::change_attributes;
use crate::fs::inode::{AttributeChange, Attributes};
use crate::fs::superblock::{FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::{Dentry, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, SuperBlock, mount, pipe};
use crate::mm::{IoBuffer, PAGE_SIZE_BYTES, frame};
use crate::sync::Once;
use crate::task::{UserNamespace, current};
use alloc::{format, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general::{ANON_INODE_FS_MAGIC, PIPEFS_MAGIC, SOCKFS_MAGIC};

/// How the names of a kernel filesystem's files are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// `pipe:[17]`, `socket:[18]`: by the inode's number.
    Numbered(&'static str),
    /// `anon_inode:[eventfd]`: by what the file is.
    Named(&'static str),
}

/// A filesystem that only the kernel mounts.
pub struct InternalFileSystem {
    name: &'static str,
    naming: Naming,
    magic: u64,
}

impl FileSystemType for InternalFileSystem {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check_option(&self, _key: &str, _value: Option<&[u8]>) -> Result<()> {
        Err(Errno::INVAL)
    }

    // mount(2) of a filesystem with SB_NOUSER is EINVAL.
    fn get_tree(&self, _request: &MountRequest) -> Result<Arc<SuperBlock>> {
        Err(Errno::INVAL)
    }
}

static PIPEFS_TYPE: InternalFileSystem =
    InternalFileSystem { name: "pipefs", naming: Naming::Numbered("pipe"), magic: PIPEFS_MAGIC as u64 };
static SOCKFS_TYPE: InternalFileSystem =
    InternalFileSystem { name: "sockfs", naming: Naming::Numbered("socket"), magic: SOCKFS_MAGIC as u64 };
static ANON_INODEFS_TYPE: InternalFileSystem =
    InternalFileSystem { name: "anon_inodefs", naming: Naming::Named("anon_inode:"), magic: ANON_INODE_FS_MAGIC as u64 };

/// The mounted instance of a kernel filesystem.
pub struct Instance {
    superblock: Arc<SuperBlock>,
    root: Path,
}

/// The instances. They are made at the first use, which is when there is a process to use them.
static PIPEFS: Once<Instance> = Once::new();
static SOCKFS: Once<Instance> = Once::new();
static ANON_INODEFS: Once<Instance> = Once::new();

/// Where pipes are.
pub fn pipefs() -> Result<&'static Instance> {
    PIPEFS.try_call_once(|| Instance::new(&PIPEFS_TYPE))
}

/// Where sockets are.
pub fn sockfs() -> Result<&'static Instance> {
    SOCKFS.try_call_once(|| Instance::new(&SOCKFS_TYPE))
}

fn anon_inodefs() -> Result<&'static Instance> {
    ANON_INODEFS.try_call_once(|| Instance::new(&ANON_INODEFS_TYPE))
}

/// Linux numbers the inodes of all its internal filesystems from one counter.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

impl Instance {
    fn new(file_system: &'static InternalFileSystem) -> Result<Self> {
        let ops = Arc::new(InternalSuperBlock { naming: file_system.naming, magic: file_system.magic });
        let superblock = SuperBlock::new(file_system, 0, UserNamespace::initial(), None, ops);
        let root = make_inode(&superblock, FileType::Directory, Attributes::new(0o600, 0, 0), Arc::new(BareInode));
        superblock.set_root(root);
        let root = mount::kernel_mount(superblock.clone())?;
        Ok(Self { superblock, root })
    }

    /// An open file of an inode on the filesystem; `name` is what a named file is called. The caller has seen that there is memory
    /// ([`check_memory`]).
    pub fn open(&self, inode: &Arc<Inode>, name: &[u8], ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<OpenFile> {
        let dentry = Dentry::new_root(&self.superblock, inode.clone(), name);
        OpenFile::new(self.root.at(dentry), inode.clone(), flags, current().credentials(), ops)
    }
}

fn make_inode(superblock: &Arc<SuperBlock>, file_type: FileType, attributes: Attributes, ops: Arc<dyn InodeOps>) -> Arc<Inode> {
    Inode::new(superblock, NEXT_NUMBER.fetch_add(1, Ordering::Relaxed), file_type, 0, attributes, ops)
}

struct InternalSuperBlock {
    naming: Naming,
    magic: u64,
}

impl SuperBlockOps for InternalSuperBlock {
    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        let block_size_bytes = PAGE_SIZE_BYTES as u64;
        FileSystemStatistics { magic: self.magic, block_size_bytes, name_max_bytes: 255, ..FileSystemStatistics::default() }
    }

    fn kernel_internal(&self) -> bool {
        true
    }

    fn dentry_name(&self, dentry: &Dentry) -> Option<Vec<u8>> {
        match self.naming {
            Naming::Numbered(kind) => Some(format!("{kind}:[{}]", dentry.inode()?.number).into_bytes()),
            Naming::Named(prefix) => Some([prefix.as_bytes(), &dentry.name()].concat()),
        }
    }
}

/// The inode of an unnamed pipe: opening it again (through `/proc/PID/fd`) gives another end.
struct PipeInode {
    pipe: Arc<pipe::Pipe>,
}

impl InodeOps for PipeInode {
    fn open(&self, _inode: &Arc<Inode>, _path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(pipe::PipeEnd::open(&self.pipe, flags))
    }

    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_attributes(inode, change)
    }
}

/// The inode of a socket: opening it again is `ENXIO`.
struct SocketInode;

impl InodeOps for SocketInode {
    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change_attributes(inode, change)
    }
}

/// An inode with nothing behind it: opening it again is `ENXIO`, as for anonymous inodes on Linux.
struct BareInode;

impl InodeOps for BareInode {}

/// `ENOMEM` while only the reserve is left: what programs can have any number of is not made from it.
pub fn check_memory() -> Result<()> {
    if frame::low() { Err(Errno::NOMEM) } else { Ok(()) }
}

/// Attributes of a file that the current thread makes.
fn own_attributes(mode: u32) -> Attributes {
    let credentials = current().credentials();
    Attributes::new(mode, credentials.filesystem_uid, credentials.filesystem_gid)
}

/// The inode of a new pipe.
pub fn pipe_inode(pipe: Arc<pipe::Pipe>) -> Result<Arc<Inode>> {
    check_memory()?;
    Ok(make_inode(&pipefs()?.superblock, FileType::Fifo, own_attributes(0o600), Arc::new(PipeInode { pipe })))
}

/// An open file for a new socket.
pub fn socket_file(ops: Arc<dyn FileOps>, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    check_memory()?;
    let sockfs = sockfs()?;
    let inode = make_inode(&sockfs.superblock, FileType::Socket, own_attributes(0o777), Arc::new(SocketInode));
    Ok(sockfs.open(&inode, b"", ops, flags))
}

/// An open file that is nothing but its operations, such as an eventfd; `name` is `[eventfd]`.
pub fn anonymous_file(name: &str, ops: Arc<dyn FileOps>, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    /// All share one inode, mode 0600 without a type.
    static INODE: Once<Arc<Inode>> = Once::new();
    check_memory()?;
    let instance = anon_inodefs()?;
    let inode = INODE.call_once(|| make_inode(&instance.superblock, FileType::Untyped, Attributes::new(0o600, 0, 0), Arc::new(BareInode)));
    Ok(instance.open(inode, name.as_bytes(), ops, flags))
}

/// `EMFILE` if the calling process has no room for another descriptor, for calls that would lose something otherwise.
pub fn check_room() -> Result<()> {
    let thread = current();
    let open = thread.files().open_numbers().len() as u64;
    if open >= thread.process.descriptor_limit() { Err(Errno::MFILE) } else { Ok(()) }
}

/// Gives an open file the lowest free descriptor of the calling process.
pub fn install(file: Arc<OpenFile>, close_on_exec: bool) -> Result<u64> {
    let fd = current().files().insert(file, close_on_exec, 0, current().process.descriptor_limit())?;
    Ok(fd as u64)
}

/// Gives both files a descriptor or neither (`pipe2`, `socketpair`).
pub fn install_pair(first: Arc<OpenFile>, second: Arc<OpenFile>, close_on_exec: bool) -> Result<(i32, i32)> {
    let files = current().files();
    let limit = current().process.descriptor_limit();
    let first_fd = files.insert(first, close_on_exec, 0, limit)?;
    match files.insert(second, close_on_exec, 0, limit) {
        Ok(second_fd) => Ok((first_fd, second_fd)),
        Err(error) => {
            drop(files.remove(first_fd));
            Err(error)
        }
    }
}

impl IoBuffer<'_> {
    /// Puts a whole structure into the buffer. The caller has seen that it is long enough; `EFAULT` if not all of it could be stored.
    pub fn put_all(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.put(bytes)? == bytes.len() { Ok(bytes.len()) } else { Err(Errno::FAULT) }
    }

    /// Takes a whole structure out of the buffer; else as [`Self::put_all`].
    pub fn take_all(&mut self, bytes: &mut [u8]) -> Result<()> {
        if self.take(bytes)? == bytes.len() { Ok(()) } else { Err(Errno::FAULT) }
    }
}

/// The open file of a descriptor of the calling process, for everything but the calls that work on places: `EBADF` also for
/// `O_PATH` descriptors.
pub fn file_of(fd: Fd) -> Result<Arc<OpenFile>> {
    let file = current().files().get(fd)?;
    if file.is_path_only() { Err(Errno::BADF) } else { Ok(file) }
}
