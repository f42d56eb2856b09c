//! Open file descriptions (`open(2)`): what descriptors refer to.

use crate::errno::{Errno, Result};
use crate::fs::{Inode, Path, PollEvents, PollTable};
use crate::mm::IoBuffer;
use crate::task::{Credentials, SleepMutex};
use alloc::sync::Arc;
use bitflags::bitflags;
use core::any::Any;
use core::sync::atomic::AtomicU32;

bitflags! {
    /// `O_*` of `open(2)` on x86-64.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs)]
    pub struct OpenFlags: u32 {
        const WRONLY = 0o1;
        const RDWR = 0o2;
        const CREAT = 0o100;
        const EXCL = 0o200;
        const NOCTTY = 0o400;
        const TRUNC = 0o1000;
        const APPEND = 0o2000;
        const NONBLOCK = 0o4000;
        const DSYNC = 0o10000;
        const ASYNC = 0o20000;
        const DIRECT = 0o40000;
        const LARGEFILE = 0o100000;
        const DIRECTORY = 0o200000;
        const NOFOLLOW = 0o400000;
        const NOATIME = 0o1000000;
        const CLOEXEC = 0o2000000;
        const SYNC = 0o4000000;
        const PATH = 0o10000000;
        const TMPFILE = 0o20000000;
    }
}

impl OpenFlags {
    /// Whether reads are allowed (O_RDONLY or O_RDWR, not O_PATH).
    pub fn readable(self) -> bool {
        !self.contains(Self::PATH) && !self.contains(Self::WRONLY)
    }

    /// Whether writes are allowed.
    pub fn writable(self) -> bool {
        !self.contains(Self::PATH) && self.intersects(Self::WRONLY | Self::RDWR)
    }
}

/// An open file description: shared by duplicated and inherited descriptors.
///
/// Dropping the last handle releases locks, the mount's pin and write access, and calls [`FileOps::release`].
pub struct OpenFile {
    /// The object itself: mount and dentry. Files without a name (pipes, sockets) sit on kernel-internal mounts.
    pub path: Path,
    /// The inode, held beside the dentry because an unlinked or revalidated dentry may change.
    pub inode: Arc<Inode>,
    /// Status flags (`F_GETFL`), changed by `F_SETFL`.
    pub flags: AtomicU32,
    /// The file position, and the lock that serialises reads and writes that use it.
    pub position: SleepMutex<u64>,
    /// Whose credentials opened it.
    pub credentials: Arc<Credentials>,
    /// What reads, writes, seeks…
    pub ops: Arc<dyn FileOps>,
    /// The owner for SIGIO (`F_SETOWN`), not delivered unless `O_ASYNC`.
    pub owner: AtomicU32,
    /// Write access on the mount is held (M6).
    pub(in crate::fs) holds_write_access: bool,
}

impl OpenFile {
    /// The file as the type that the filesystem made it, for ioctls, epoll, sockets….
    pub fn downcast<T: FileOps>(&self) -> Option<&T> {
        (&*self.ops as &dyn Any).downcast_ref()
    }
}

/// What a kind of file does. Defaults are what Linux answers for a file without the operation.
#[allow(unused_variables)]
pub trait FileOps: Any + Send + Sync {
    /// Moves bytes to `buffer` from `offset` (ignored by streams). Returns the count, 0 at the end. Blocks unless `O_NONBLOCK`.
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        Err(Errno::INVAL)
    }

    /// Moves bytes from `buffer` to `offset`. For `O_APPEND` the implementation picks the end under the inode's lock and reports it
    /// through `offset`.
    fn write(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: &mut u64) -> Result<usize> {
        Err(Errno::INVAL)
    }

    /// Whether the file has positions (`lseek`, `pread`): streams answer `ESPIPE`.
    fn seekable(&self) -> bool {
        true
    }

    /// `lseek(2)` beyond what the generic code does (SEEK_DATA, SEEK_HOLE, directories). `None`: the generic rule.
    fn seek(&self, file: &OpenFile, position: u64, offset: i64, whence: u32) -> Option<Result<u64>> {
        None
    }

    /// Readiness now, after registering with `table`.
    fn poll(&self, file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        PollEvents::READABLE | PollEvents::WRITABLE
    }

    /// Whether epoll may watch it: `false` gives `EPERM` (regular files, directories).
    fn pollable(&self) -> bool {
        false
    }

    /// `ioctl(2)`. `ENOTTY` for what it does not know.
    fn ioctl(&self, file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        Err(Errno::NOTTY)
    }

    /// Hands directory entries to `emit` from the cookie `position` on, until `emit` says stop; returns the next position.
    /// `emit(name, inode number, type, next cookie) -> keep going`.
    fn read_directory(
        &self,
        file: &OpenFile,
        position: u64,
        emit: &mut dyn FnMut(&[u8], u64, crate::fs::FileType, u64) -> bool,
    ) -> Result<u64> {
        Err(Errno::NOTDIR)
    }

    /// What `mmap(2)` puts behind a mapping, for files whose memory is not the inode's (devices). `None`: `InodeOps::pages`.
    fn mapping(&self, file: &OpenFile) -> Option<FileMapping> {
        None
    }

    /// `fsync(2)`, `fdatasync(2)`.
    fn sync(&self, file: &OpenFile, data_only: bool) -> Result<()> {
        Err(Errno::INVAL)
    }

    /// `fallocate(2)`.
    fn allocate(&self, file: &OpenFile, mode: u32, offset: u64, len_bytes: u64) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// A descriptor of the file is being closed (`flush` of FUSE; the locks of POSIX are dropped by the generic code).
    fn flush(&self, file: &OpenFile) -> Result<()> {
        Ok(())
    }

    /// The last reference is gone.
    fn release(&self, file: &OpenFile) {}

    /// `/proc/PID/fdinfo/N` beyond pos, flags, mnt_id, ino.
    fn describe(&self, file: &OpenFile, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        Ok(())
    }
}

/// What stands behind a mapping of a device ([`FileOps::mapping`]).
pub enum FileMapping {
    /// Memory of the mapping's own (`/dev/zero`): `Backing::Anonymous` or `SharedAnonymous`, the offset ignored.
    Anonymous,
    /// The device's own pages.
    Pages(Arc<dyn crate::mm::address_space::PageSource>),
}
