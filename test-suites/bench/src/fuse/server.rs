//! The server: shows what is below a directory, with no lifetimes, so that the kernel asks about everything.

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, Session,
    SessionACL, WriteFlags,
};
use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// Mounts on `directory` and serves what is in `below` until it is unmounted. Says `mounted` when others may come.
pub(crate) fn serve(below: &str, directory: &str) -> Result<()> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let options = CString::new(format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd()))?;
    let directory = CString::new(directory)?;
    // SAFETY: all strings end in NUL and outlive the call.
    let mounted = unsafe { libc::mount(c"bench".as_ptr(), directory.as_ptr(), c"fuse".as_ptr(), 0, options.as_ptr().cast()) };
    if mounted != 0 {
        return Err(Error::last_os_error());
    }
    println!("mounted");
    let passthrough = Passthrough { root: below.into(), shared: Mutex::default() };
    Session::from_fd(passthrough, device.into(), SessionACL::All, Config::default())?.run()
}

struct Passthrough {
    root: PathBuf,
    shared: Mutex<Shared>,
}

/// Where nodes are and what is open; both by the numbers that the kernel has.
#[derive(Default)]
struct Shared {
    paths: HashMap<u64, PathBuf>,
    open: HashMap<u64, Open>,
    last_handle: u64,
}

enum Open {
    File(File),
    Directory(Vec<Entry>),
}

struct Entry {
    name: OsString,
    attributes: FileAttr,
}

fn attributes(metadata: &Metadata) -> FileAttr {
    let time = |seconds: i64, nanoseconds: i64| UNIX_EPOCH + Duration::new(seconds as u64, nanoseconds as u32);
    FileAttr {
        ino: INodeNo(metadata.ino()),
        size: metadata.size(),
        blocks: metadata.blocks(),
        atime: time(metadata.atime(), metadata.atime_nsec()),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        crtime: UNIX_EPOCH,
        kind: FileType::from_std(metadata.file_type()).unwrap_or(FileType::RegularFile),
        perm: metadata.mode() as u16 & 0o7777,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Passthrough {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, node: INodeNo) -> Result<PathBuf> {
        if node == INodeNo::ROOT {
            return Ok(self.root.clone());
        }
        self.shared().paths.get(&node.0).cloned().ok_or_else(|| Error::from_raw_os_error(libc::ESTALE))
    }

    fn find(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr> {
        let path = self.path(parent)?.join(name);
        let attributes = attributes(&path.symlink_metadata()?);
        self.shared().paths.entry(attributes.ino.0).or_insert(path);
        Ok(attributes)
    }

    fn enter(&self, open: Open) -> FileHandle {
        let mut shared = self.shared();
        shared.last_handle += 1;
        let handle = shared.last_handle;
        shared.open.insert(handle, open);
        FileHandle(handle)
    }

    fn list(&self, path: &Path) -> Result<Vec<Entry>> {
        let entries = std::fs::read_dir(path)?.map(|entry| {
            let entry = entry?;
            Ok(Entry { name: entry.file_name(), attributes: attributes(&entry.metadata()?) })
        });
        entries.collect()
    }

    fn with_file<T>(&self, handle: FileHandle, transfer: impl FnOnce(&File) -> Result<T>) -> Result<T> {
        match self.shared().open.get(&handle.0) {
            Some(Open::File(file)) => transfer(file),
            _ => Err(Error::from_raw_os_error(libc::EBADF)),
        }
    }

    /// Hands entries from an offset on to `add`, with the offset behind each, until it has no room.
    fn each_entry(&self, handle: FileHandle, offset: u64, mut add: impl FnMut(&Entry, u64) -> bool) {
        if let Some(Open::Directory(entries)) = self.shared().open.get(&handle.0) {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            for (next, entry) in (1..).zip(entries).skip(from) {
                if add(entry, next) {
                    break;
                }
            }
        }
    }
}

impl Filesystem for Passthrough {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> Result<()> {
        // As libfuse's high level does.
        let wanted = InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_READDIRPLUS_AUTO | InitFlags::FUSE_AUTO_INVAL_DATA;
        config.add_capabilities(wanted).map_err(|missing| Error::other(format!("the kernel lacks {missing:?}")))
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(parent, name) {
            Ok(attributes) => reply.entry(&Duration::ZERO, &attributes, Generation(0)),
            Err(error) => reply.error(Errno::from(error)),
        }
    }

    fn getattr(&self, _request: &Request, node: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.path(node).and_then(|path| path.symlink_metadata()) {
            Ok(metadata) => reply.attr(&Duration::ZERO, &FileAttr { ino: node, ..attributes(&metadata) }),
            Err(error) => reply.error(Errno::from(error)),
        }
    }

    fn open(&self, _request: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let writes = flags.0 & libc::O_ACCMODE != libc::O_RDONLY;
        match self.path(node).and_then(|path| OpenOptions::new().read(true).write(writes).open(path)) {
            Ok(file) => reply.opened(self.enter(Open::File(file)), FopenFlags::empty()),
            Err(error) => reply.error(Errno::from(error)),
        }
    }

    fn read(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut data = vec![0; size as usize];
        match self.with_file(handle, |file| file.read_at(&mut data, offset)) {
            Ok(len) => reply.data(&data[..len]),
            Err(error) => reply.error(Errno::from(error)),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.with_file(handle, |file| file.write_at(data, offset)) {
            Ok(len) => reply.written(len as u32),
            Err(error) => reply.error(Errno::from(error)),
        }
    }

    fn flush(&self, _request: &Request, _node: INodeNo, _handle: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.shared().open.remove(&handle.0);
        reply.ok();
    }

    fn opendir(&self, _request: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.path(node).and_then(|path| self.list(&path)) {
            Ok(entries) => reply.opened(self.enter(Open::Directory(entries)), FopenFlags::empty()),
            Err(error) => reply.error(Errno::from(error)),
        }
    }

    fn readdir(&self, _request: &Request, _node: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.each_entry(handle, offset, |entry, next| reply.add(entry.attributes.ino, next, entry.attributes.kind, &entry.name));
        reply.ok();
    }

    fn readdirplus(&self, _request: &Request, _node: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        self.each_entry(handle, offset, |entry, next| {
            reply.add(entry.attributes.ino, next, &entry.name, &Duration::ZERO, &entry.attributes, Generation(0))
        });
        reply.ok();
    }

    fn releasedir(&self, _request: &Request, _node: INodeNo, handle: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.shared().open.remove(&handle.0);
        reply.ok();
    }
}
