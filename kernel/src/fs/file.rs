//! Open file descriptions (`open(2)`): what descriptors refer to.

use crate::errno::{Errno, Result};
use crate::fs::inotify::{self, Mask};
use crate::fs::{FileType, Inode, Path, PollEvents, PollTable, lock, mount};
use crate::mm::IoBuffer;
use crate::mm::address_space::{MappedFile, Mappings, PageSource};
use crate::sync::SpinLock;
use crate::task::signal::{self, Signal, SignalInfo};
use crate::task::{Credentials, SleepMutex};
use alloc::{sync::Arc, vec::Vec};
use bitflags::bitflags;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

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

    /// Whether writes are allowed. The access mode 3 of `open(2)` (both bits) allows neither.
    pub fn writable(self) -> bool {
        !self.contains(Self::PATH) && self.contains(Self::WRONLY) != self.contains(Self::RDWR)
    }

    /// What `F_GETFL` shows: all but the flags that mean something only while opening.
    pub fn status(self) -> Self {
        self - (Self::CREAT | Self::EXCL | Self::NOCTTY | Self::TRUNC | Self::CLOEXEC)
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
    pub owner: SpinLock<Option<super::owner::Owner>>,
    /// The signal for it instead of SIGIO (`F_SETSIG`); 0 for SIGIO.
    pub signal: AtomicU32,
    /// Write access on the mount is held (M6).
    pub(in crate::fs) holds_write_access: bool,
}

impl OpenFile {
    /// A description of an object that is open already: what `pipe`, `socket`, `eventfd` and the like hand out. It holds no write
    /// access on its mount; opening by name (`fs::open`) takes that.
    pub fn new(path: Path, inode: Arc<Inode>, flags: OpenFlags, credentials: Arc<Credentials>, ops: Arc<dyn FileOps>) -> Arc<Self> {
        Arc::new(Self::with_access(path, inode, flags, credentials, ops, false))
    }

    /// As [`Self::new`]; with `holds_write_access` it gives back, at its end, write access on mount and inode.
    pub(in crate::fs) fn with_access(
        path: Path,
        inode: Arc<Inode>,
        flags: OpenFlags,
        credentials: Arc<Credentials>,
        ops: Arc<dyn FileOps>,
        holds_write_access: bool,
    ) -> Self {
        Self {
            path,
            inode,
            flags: AtomicU32::new(flags.status().bits()),
            position: SleepMutex::new(0),
            credentials,
            ops,
            owner: SpinLock::new(None),
            signal: AtomicU32::new(0),
            holds_write_access,
        }
    }

    /// The file as the type that the filesystem made it, for ioctls, epoll, sockets….
    pub fn downcast<T: FileOps>(&self) -> Option<&T> {
        (&*self.ops as &dyn Any).downcast_ref()
    }

    /// The status flags now.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Changes the status flags (`F_SETFL`, `FIONBIO`).
    pub fn change_flags(&self, clear: OpenFlags, set: OpenFlags) {
        let change = |bits| Some((bits & !clear.bits()) | set.bits());
        let _ = self.flags.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// Whether it was opened with `O_PATH`: it names a place and nothing more (`EBADF` for everything else).
    pub fn is_path_only(&self) -> bool {
        self.flags().contains(OpenFlags::PATH)
    }

    /// Whether `O_DIRECT` goes with it: files with pages, and block devices.
    pub fn can_be_direct(&self) -> bool {
        match self.inode.file_type {
            FileType::BlockDevice => true,
            FileType::Regular => self.inode.ops.pages(&self.inode).is_some(),
            _ => false,
        }
    }

    /// Whether operations must not block.
    pub fn is_nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }

    /// A descriptor of the file was taken out of a table: `flush` of the filesystem. (The table sees to the record locks.)
    pub fn descriptor_closed(&self) -> Result<()> {
        if self.is_path_only() { Ok(()) } else { self.ops.flush(self) }
    }

    /// The file as something that can be mapped; `ENODEV` if it cannot. Holding the description keeps the mount busy (U7).
    pub fn mapped(self: &Arc<Self>) -> Result<Arc<dyn MappedFile>> {
        let pages = match self.ops.mapping(self) {
            Some(FileMapping::Pages(pages)) => Some(pages),
            Some(FileMapping::Anonymous) => None,
            None => self.inode.ops.pages(&self.inode),
        };
        let pages = pages.ok_or(Errno::NODEV)?;
        Ok(Arc::new(MappedOpenFile { file: self.clone(), pages }))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if !self.is_path_only() {
            lock::release_file(self);
            let closed = if self.flags().writable() { Mask::CLOSE_WRITE } else { Mask::CLOSE_NOWRITE };
            inotify::file_event(self.path.dentry(), &self.inode, closed);
        }
        self.ops.clone().release(self);
        if self.holds_write_access {
            self.inode.release_write_access();
            mount::release_write_access(self.path.mount());
        }
    }
}

/// An open file behind an area of memory.
pub struct MappedOpenFile {
    /// The description that was mapped.
    pub file: Arc<OpenFile>,
    pages: Arc<dyn PageSource>,
}

impl MappedFile for MappedOpenFile {
    fn pages(&self) -> &Arc<dyn PageSource> {
        &self.pages
    }

    fn mappings(&self) -> &Mappings {
        &self.file.inode.mappings
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(&self.file).addr()
    }

    fn punch_hole(&self, offset_bytes: u64, len_bytes: u64) -> Result<()> {
        let mode = linux_raw_sys::general::FALLOC_FL_PUNCH_HOLE | linux_raw_sys::general::FALLOC_FL_KEEP_SIZE;
        self.file.ops.allocate(&self.file, mode, offset_bytes, len_bytes)
    }
}

/// The open file behind an area.
pub fn open_file_behind(file: &Arc<dyn MappedFile>) -> Option<&Arc<OpenFile>> {
    (&**file as &dyn Any).downcast_ref::<MappedOpenFile>().map(|mapped| &mapped.file)
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
    /// `emit(name, inode number, type, next cookie) -> keep going`; an entry that is answered with `false` was not taken.
    #[expect(clippy::type_complexity, reason = "one closure with four plain arguments, described above")]
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

    /// Advisory locks, for a filesystem that keeps them elsewhere: the lock in the way, for a query. `None`: they are kept here.
    fn lock(&self, file: &OpenFile, call: &lock::LockCall) -> Option<Result<Option<lock::RecordLock>>> {
        None
    }

    /// `copy_file_range(2)` to another file of the same filesystem, without the bytes coming by. `None`: the generic copy.
    fn copy_range(&self, offset: u64, target: &OpenFile, target_offset: u64, len_bytes: usize) -> Option<Result<usize>> {
        None
    }

    /// The filesystem's own number of the open file, for changes of attributes through it.
    fn handle(&self) -> Option<u64> {
        None
    }

    /// Whether opening with `O_TRUNC` has emptied the file already.
    fn truncated_by_opening(&self) -> bool {
        false
    }

    /// Whether the file may be mapped so: `ENODEV` where only private mappings work.
    fn check_mapping(&self, shared: bool) -> Result<()> {
        Ok(())
    }

    /// `splice(2)` into a pipe for files whose reads cannot be cut (`/dev/fuse`): one unit of at most `len_bytes`. `None`: as a read.
    fn splice_read(&self, file: &OpenFile, len_bytes: usize) -> Option<Result<Vec<u8>>> {
        None
    }

    /// `splice(2)` from a pipe for files whose writes cannot be cut: all of `bytes`. `None`: as writes, page by page.
    fn splice_write(&self, file: &OpenFile, bytes: &[u8]) -> Option<Result<usize>> {
        None
    }

    /// Whether [`Self::splice_write`] is there.
    fn takes_whole_splices(&self) -> bool {
        false
    }

    /// The last reference is gone.
    fn release(&self, file: &OpenFile) {}

    /// The namespace that the file stands for (nsfs), for `setns(2)`.
    fn namespace(&self) -> Option<crate::task::namespaces::NamespaceHandle> {
        None
    }

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
    Pages(Arc<dyn PageSource>),
}

/// Longest file in bytes (`MAX_LFS_FILESIZE`).
const MAX_FILE_BYTES: u64 = i64::MAX as u64;

/// How many of `wanted` bytes the caller may write at `offset`: up to its `RLIMIT_FSIZE` and the longest file there can be. At the
/// limit `EFBIG`, with SIGXFSZ for the one that is the caller's own.
pub fn writable_len(offset: u64, wanted: usize) -> Result<usize> {
    if wanted == 0 {
        return Ok(0);
    }
    let limit = crate::task::current().process.limit(linux_raw_sys::general::RLIMIT_FSIZE);
    if offset >= limit {
        signal::send_to_thread(&crate::task::current(), SignalInfo::from_kernel(Signal::XFSZ))?;
        return Err(Errno::FBIG);
    }
    if offset >= MAX_FILE_BYTES {
        return Err(Errno::FBIG);
    }
    let room = limit.min(MAX_FILE_BYTES) - offset;
    Ok(usize::try_from(room).map_or(wanted, |room| room.min(wanted)))
}

/// Whether the caller may make a file so long: `EFBIG` as in [`writable_len`].
pub fn check_len(len_bytes: u64) -> Result<()> {
    match len_bytes.checked_sub(1) {
        None => Ok(()),
        Some(_) if len_bytes > MAX_FILE_BYTES => Err(Errno::FBIG),
        Some(last) => writable_len(last, 1).map(|_| ()),
    }
}
