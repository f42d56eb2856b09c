//! The type `fusectl`, for `/sys/fs/fuse/connections`: a directory for each connection, named by the minor of its device number.

use super::connection::Connection;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Content, GeneratedFile, Listing, Text, change_attributes, make_inode};
use crate::fs::inode::AttributeChange;
use crate::fs::superblock::{ActiveSuperBlock, FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps, split_device};
use crate::fs::{Dentry, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, SuperBlock};
use crate::mm::{IoBuffer, PAGE_SIZE_BYTES};
use crate::put_line;
use crate::sync::{Once, SpinLock};
use crate::task::{Capabilities, UserNamespace, current};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

/// `FUSE_CTL_SUPER_MAGIC`.
const MAGIC: u64 = 0x6573_5543;
const ROOT_NUMBER: u64 = 1;
/// What somebody without `CAP_SYS_ADMIN` may set a limit to.
const UNPRIVILEGED_LIMIT: u64 = 0xffff;

/// Connections of mounted file systems, by the minor of their device number.
static CONNECTIONS: SpinLock<BTreeMap<u32, Arc<Connection>>> = SpinLock::new(BTreeMap::new());

fn minor_of(superblock: &SuperBlock) -> u32 {
    split_device(superblock.device).1
}

/// A file system is mounted.
pub fn add(superblock: &SuperBlock, connection: &Arc<Connection>) {
    let old = CONNECTIONS.lock().insert(minor_of(superblock), connection.clone());
    drop(old);
}

/// Its last mount is gone.
pub fn remove(superblock: &SuperBlock) {
    let old = CONNECTIONS.lock().remove(&minor_of(superblock));
    drop(old);
}

fn find(name: &[u8]) -> Option<(u32, Arc<Connection>)> {
    let text = core::str::from_utf8(name).ok()?;
    let minor: u32 = text.parse().ok()?;
    let connection = CONNECTIONS.lock().get(&minor)?.clone();
    (format!("{minor}") == text).then_some((minor, connection))
}

/// The type.
pub struct FuseControl;

/// The type, for `fs::registry`.
pub static CONTROL_TYPE: FuseControl = FuseControl;

/// The one instance, held for the life of the kernel.
static INSTANCE: Once<ActiveSuperBlock> = Once::new();

impl FileSystemType for FuseControl {
    fn name(&self) -> &'static str {
        "fusectl"
    }

    fn check_option(&self, _key: &str, _value: Option<&[u8]>) -> Result<()> {
        Err(Errno::INVAL)
    }

    fn get_tree(&self, _request: &MountRequest) -> Result<Arc<SuperBlock>> {
        Ok(INSTANCE.call_once(make).superblock().clone())
    }
}

fn make() -> ActiveSuperBlock {
    let superblock = SuperBlock::new(&CONTROL_TYPE, 0, UserNamespace::initial(), None, Arc::new(ControlSuper));
    superblock.set_root(make_inode(&superblock, ROOT_NUMBER, FileType::Directory, 0o755, Arc::new(Top)));
    ActiveSuperBlock::new(superblock)
}

struct ControlSuper;

impl SuperBlockOps for ControlSuper {
    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        FileSystemStatistics {
            magic: MAGIC,
            block_size_bytes: PAGE_SIZE_BYTES as u64,
            name_max_bytes: 255,
            ..FileSystemStatistics::default()
        }
    }

    /// A number may be used for another connection by now.
    fn revalidate(&self, dentry: &Arc<Dentry>) -> bool {
        let Some(inode) = dentry.inode() else { return false };
        let held = inode.downcast::<ConnectionDirectory>().map(|directory| directory.minor);
        let file = inode.downcast::<ControlFile>().map(|file| (file.minor, &file.connection));
        let Some((minor, connection)) = held.zip(inode.downcast::<ConnectionDirectory>().map(|it| &it.connection)).or(file) else {
            return true;
        };
        CONNECTIONS.lock().get(&minor).is_some_and(|current| Arc::ptr_eq(current, connection))
    }

    fn caches_negative(&self) -> bool {
        false
    }

    fn keeps_dentries(&self) -> bool {
        false
    }
}

/// The directory of connections.
struct Top;

impl InodeOps for Top {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let (minor, connection) = find(name).ok_or(Errno::NOENT)?;
        let directory = Arc::new(ConnectionDirectory { minor, connection: connection.clone() });
        Ok(owned(make_inode(&dir.superblock, number_of(minor, 0), FileType::Directory, 0o500, directory), &connection))
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenTop))
    }
}

/// What stands for a connection belongs to who mounted it.
fn owned(inode: Arc<Inode>, connection: &Connection) -> Arc<Inode> {
    {
        let mut attributes = inode.attributes.lock();
        attributes.uid = connection.terms.uid;
        attributes.gid = connection.terms.gid;
    }
    inode
}

fn number_of(minor: u32, index: usize) -> u64 {
    2 + u64::from(minor) * (FILES.len() as u64 + 1) + index as u64
}

struct OpenTop;

impl FileOps for OpenTop {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let minors: Vec<u32> = CONNECTIONS.lock().keys().copied().collect();
        let mut listing = Listing::new(file, position, emit);
        for minor in minors {
            listing.entry_at(2 + u64::from(minor), format!("{minor}").as_bytes(), number_of(minor, 0), FileType::Directory);
        }
        Ok(listing.position)
    }
}

/// What can be done with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Waiting,
    Abort,
    MaxBackground,
    CongestionThreshold,
}

const FILES: [(&str, Kind, u32); 4] = [
    ("waiting", Kind::Waiting, 0o400),
    ("abort", Kind::Abort, 0o200),
    ("max_background", Kind::MaxBackground, 0o600),
    ("congestion_threshold", Kind::CongestionThreshold, 0o600),
];

struct ConnectionDirectory {
    minor: u32,
    connection: Arc<Connection>,
}

impl InodeOps for ConnectionDirectory {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let found = FILES.iter().position(|(known, ..)| known.as_bytes() == name).ok_or(Errno::NOENT)?;
        let (_, kind, mode) = FILES[found];
        let file = Arc::new(ControlFile { minor: self.minor, connection: self.connection.clone(), kind });
        let inode = make_inode(&dir.superblock, number_of(self.minor, found + 1), FileType::Regular, mode, file);
        Ok(owned(inode, &self.connection))
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenConnection { minor: self.minor }))
    }
}

struct OpenConnection {
    minor: u32,
}

impl FileOps for OpenConnection {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let mut listing = Listing::new(file, position, emit);
        for (index, (name, ..)) in FILES.iter().enumerate() {
            listing.entry(name.as_bytes(), number_of(self.minor, index + 1), FileType::Regular);
        }
        Ok(listing.position)
    }
}

struct ControlFile {
    minor: u32,
    connection: Arc<Connection>,
    kind: Kind,
}

impl InodeOps for ControlFile {
    /// `O_TRUNC` is no error.
    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        if change.size_bytes.is_some() { change_attributes(inode, change) } else { Err(Errno::PERM) }
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(GeneratedFile::open(Arc::new(Control { connection: self.connection.clone(), kind: self.kind })))
    }
}

struct Control {
    connection: Arc<Connection>,
    kind: Kind,
}

impl Control {
    fn limit(&self) -> Option<&AtomicU32> {
        match self.kind {
            Kind::MaxBackground => Some(&self.connection.max_background),
            Kind::CongestionThreshold => Some(&self.connection.congestion_threshold),
            Kind::Waiting | Kind::Abort => None,
        }
    }
}

impl Content for Control {
    fn generate(&self, _file: &OpenFile) -> Result<Vec<u8>> {
        let mut text = Text::default();
        match (self.kind, self.limit()) {
            (Kind::Waiting, _) => put_line!(text, "{}", self.connection.calls()),
            (_, Some(limit)) => put_line!(text, "{}", limit.load(Ordering::Relaxed)),
            (_, None) => return Err(Errno::INVAL),
        }
        text.finish()
    }

    fn store(&self, _file: &OpenFile, bytes: &[u8]) -> Result<()> {
        if self.kind == Kind::Abort {
            self.connection.abort();
            return Ok(());
        }
        let limit = self.limit().ok_or(Errno::INVAL)?;
        let text = core::str::from_utf8(bytes.trim_ascii_end()).map_err(|_| Errno::INVAL)?;
        let value: u64 = text.parse().map_err(|_| Errno::INVAL)?;
        let most = if current().credentials().capable(Capabilities::SYS_ADMIN) { u64::from(u32::MAX) } else { UNPRIVILEGED_LIMIT };
        if value > most {
            return Err(Errno::INVAL);
        }
        limit.store(value as u32, Ordering::Relaxed);
        self.connection.send_held_back();
        Ok(())
    }
}
