//! devpts: the slaves of pseudoterminals as files (`pts(4)`). Each mount is an instance of its own, with numbers from 0 and a `ptmx`.

use crate::dev::registry::{PTY_SLAVE_MAJOR, TTY_AUXILIARY_MAJOR, make_device};
use crate::dev::tty::pty::Pair;
use crate::errno::{Errno, Result};
use crate::fs::generated::Listing;
use crate::fs::inode::AttributeChange;
use crate::fs::open::{self, OpenHow};
use crate::fs::procfs::sysctl::Number;
use crate::fs::superblock::{FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::walk::{self, LookupFlags, Resolve, Start};
use crate::fs::{Attributes, Dentry, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, SuperBlock};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use crate::task::current;
use alloc::{
    collections::BTreeMap,
    format,
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::fmt::Write;
use core::sync::atomic::{AtomicUsize, Ordering};
use linux_raw_sys::general::DEVPTS_SUPER_MAGIC;

const ROOT_NUMBER: u64 = 1;
const MULTIPLEXER_NUMBER: u64 = 2;
/// Inode number of slave 0.
const FIRST_SLAVE_NUMBER: u64 = 3;
/// `NR_UNIX98_PTY_MAX`: most slaves of an instance.
const INDEX_LIMIT: u32 = 1 << 20;
const DEFAULT_SLAVE_MODE: u32 = 0o600;
/// The node's minor number under [`TTY_AUXILIARY_MAJOR`].
const MULTIPLEXER_MINOR: u32 = 2;

/// `/proc/sys/kernel/pty/max`: most pseudoterminals of all instances.
pub static MAX_TERMINALS: Number = Number::new(4096, 0, INDEX_LIMIT as i64);
/// `/proc/sys/kernel/pty/reserve`: of them kept for the instances of the first mount namespace.
pub static RESERVED_TERMINALS: Number = Number::new(1024, 0, INDEX_LIMIT as i64);
static TERMINALS: AtomicUsize = AtomicUsize::new(0);

/// `/proc/sys/kernel/pty/nr`: how many there are.
pub fn terminals() -> usize {
    TERMINALS.load(Ordering::Relaxed)
}

/// Mount options (Linux's `Documentation/filesystems/devpts.rst`).
#[derive(Clone)]
struct Options {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
    multiplexer_mode: u32,
    max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { uid: None, gid: None, mode: DEFAULT_SLAVE_MODE, multiplexer_mode: 0, max: INDEX_LIMIT }
    }
}

impl Options {
    fn set(&mut self, key: &str, value: Option<&[u8]>) -> Result<()> {
        let text = value.map(|value| core::str::from_utf8(value).map_err(|_| Errno::INVAL)).transpose()?;
        let mode = |text: &str| u32::from_str_radix(text, 8).map(|mode| mode & 0o7777).map_err(|_| Errno::INVAL);
        let number = |text: &str| text.parse::<u32>().map_err(|_| Errno::INVAL);
        let namespace = current().credentials().user_namespace.clone();
        match (key, text) {
            // Every mount is a new instance since Linux 4.7.
            ("newinstance", None) => {}
            ("uid", Some(text)) => self.uid = Some(namespace.uid_to_global(number(text)?).ok_or(Errno::INVAL)?),
            ("gid", Some(text)) => self.gid = Some(namespace.gid_to_global(number(text)?).ok_or(Errno::INVAL)?),
            ("mode", Some(text)) => self.mode = mode(text)?,
            ("ptmxmode", Some(text)) => self.multiplexer_mode = mode(text)?,
            ("max", Some(text)) => self.max = Some(number(text)?).filter(|max| *max <= INDEX_LIMIT).ok_or(Errno::INVAL)?,
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }
}

/// The type "devpts".
pub struct DevPts;

/// The type, for `fs::registry`.
pub static TYPE: DevPts = DevPts;

impl FileSystemType for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        Options::default().set(key, value)
    }

    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let mut options = Options::default();
        for (key, value) in &request.options {
            options.set(key, value.as_deref())?;
        }
        let owner = request.credentials.user_namespace.clone();
        let (uid, gid) = (request.credentials.filesystem_uid, request.credentials.filesystem_gid);
        let instance = Arc::new(Instance {
            multiplexer_mode: options.multiplexer_mode,
            options: SpinLock::new(options),
            has_reserve: owner.parent.is_none(),
            slaves: SpinLock::new(BTreeMap::new()),
            superblock: SpinLock::new(Weak::new()),
            multiplexer: SpinLock::new(None),
        });
        let superblock = SuperBlock::new(&TYPE, request.flags, owner, None, Arc::new(DevPtsSuper(instance.clone())));
        let mut attributes = Attributes::new(0o755, uid, gid);
        attributes.links = 2;
        let top = Inode::new(&superblock, ROOT_NUMBER, FileType::Directory, 0, attributes, Arc::new(Top(instance.clone())));
        superblock.set_root(top);
        let attributes = Attributes::new(instance.multiplexer_mode, uid, gid);
        let device = make_device(TTY_AUXILIARY_MAJOR, MULTIPLEXER_MINOR);
        let multiplexer = Inode::new(&superblock, MULTIPLEXER_NUMBER, FileType::CharDevice, device, attributes, Arc::new(DeviceNode));
        *instance.multiplexer.lock() = Some(multiplexer);
        *instance.superblock.lock() = Arc::downgrade(&superblock);
        Ok(superblock)
    }
}

/// One devpts.
pub struct Instance {
    multiplexer_mode: u32,
    options: SpinLock<Options>,
    /// May use what is reserved for the host.
    has_reserve: bool,
    slaves: SpinLock<BTreeMap<u32, Slave>>,
    superblock: SpinLock<Weak<SuperBlock>>,
    multiplexer: SpinLock<Option<Arc<Inode>>>,
}

struct Slave {
    pair: Arc<Pair>,
    inode: Arc<Inode>,
}

impl Instance {
    /// The pseudoterminal with this number.
    pub fn pair(&self, index: u32) -> Option<Arc<Pair>> {
        self.slaves.lock().get(&index).map(|slave| slave.pair.clone())
    }

    /// A new pseudoterminal with the lowest free number. `ENOSPC` at the limits.
    pub fn allocate(self: &Arc<Self>) -> Result<Arc<Pair>> {
        let superblock = self.superblock.lock().upgrade().ok_or(Errno::NODEV)?;
        let reserve = if self.has_reserve { 0 } else { RESERVED_TERMINALS.get() };
        if terminals() as i64 >= MAX_TERMINALS.get() - reserve {
            return Err(Errno::NOSPC);
        }
        let options = self.options.lock().clone();
        let credentials = current().credentials();
        let uid = options.uid.unwrap_or(credentials.filesystem_uid);
        let gid = options.gid.unwrap_or(credentials.filesystem_gid);
        let mut slaves = self.slaves.lock();
        let index = (0..options.max).find(|index| !slaves.contains_key(index)).ok_or(Errno::NOSPC)?;
        let pair = Pair::new(index, self);
        let attributes = Attributes::new(options.mode, uid, gid);
        let device = make_device(PTY_SLAVE_MAJOR, index);
        let number = FIRST_SLAVE_NUMBER + u64::from(index);
        let inode = Inode::new(&superblock, number, FileType::CharDevice, device, attributes, Arc::new(DeviceNode));
        slaves.insert(index, Slave { pair: pair.clone(), inode });
        TERMINALS.fetch_add(1, Ordering::Relaxed);
        Ok(pair)
    }

    /// The master is closed: the slave's name goes.
    pub fn remove(&self, index: u32) {
        let removed = self.slaves.lock().remove(&index);
        if removed.is_some() {
            TERMINALS.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn find(&self, name: &[u8]) -> Option<Arc<Inode>> {
        if name == b"ptmx" {
            return self.multiplexer.lock().clone();
        }
        let text = core::str::from_utf8(name).ok()?;
        let index: u32 = text.parse().ok()?;
        let canonical = format!("{index}") == text;
        if canonical { self.slaves.lock().get(&index).map(|slave| slave.inode.clone()) } else { None }
    }
}

struct DevPtsSuper(Arc<Instance>);

impl SuperBlockOps for DevPtsSuper {
    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        FileSystemStatistics {
            magic: u64::from(DEVPTS_SUPER_MAGIC),
            block_size_bytes: crate::mm::PAGE_SIZE_BYTES as u64,
            name_max_bytes: 255,
            ..Default::default()
        }
    }

    fn block_size_bytes(&self) -> u32 {
        1024
    }

    fn show_options(&self, _superblock: &SuperBlock, out: &mut dyn Write) -> core::fmt::Result {
        let options = self.0.options.lock().clone();
        let namespace = current().credentials().user_namespace.clone();
        if let Some(uid) = options.uid {
            write!(out, ",uid={}", namespace.shown_uid(uid))?;
        }
        if let Some(gid) = options.gid {
            write!(out, ",gid={}", namespace.shown_gid(gid))?;
        }
        write!(out, ",mode={:03o},ptmxmode={:03o}", options.mode, options.multiplexer_mode)?;
        if options.max < INDEX_LIMIT {
            write!(out, ",max={}", options.max)?;
        }
        Ok(())
    }

    /// Options that are not given go back to their defaults, as in Linux.
    fn reconfigure(&self, _superblock: &Arc<SuperBlock>, _flags: u32, options: &[(String, Option<Vec<u8>>)]) -> Result<()> {
        let mut new = Options::default();
        for (key, value) in options {
            new.set(key, value.as_deref())?;
        }
        let multiplexer = self.0.multiplexer.lock().clone();
        if let Some(inode) = multiplexer {
            inode.attributes.lock().mode = new.multiplexer_mode;
        }
        *self.0.options.lock() = new;
        Ok(())
    }

    /// Holds as long as the name leads to the same terminal.
    fn revalidate(&self, dentry: &Arc<Dentry>) -> bool {
        match (dentry.inode(), self.0.find(&dentry.name())) {
            (Some(cached), Some(current)) => Arc::ptr_eq(&cached, &current),
            _ => false,
        }
    }

    fn caches_negative(&self) -> bool {
        false
    }

    fn keeps_dentries(&self) -> bool {
        false
    }

    /// The inodes hold the superblock, so they go first.
    fn shut_down(&self, _superblock: &SuperBlock) {
        let multiplexer = self.0.multiplexer.lock().take();
        let slaves = core::mem::take(&mut *self.0.slaves.lock());
        TERMINALS.fetch_sub(slaves.len(), Ordering::Relaxed);
        drop((multiplexer, slaves));
    }
}

/// The directory.
struct Top(Arc<Instance>);

impl InodeOps for Top {
    fn lookup(&self, _dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        self.0.find(name).ok_or(Errno::NOENT)
    }

    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change.apply_to(&mut inode.attributes.lock());
        Ok(())
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenTop(self.0.clone())))
    }
}

struct OpenTop(Arc<Instance>);

impl FileOps for OpenTop {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let indices: Vec<u32> = self.0.slaves.lock().keys().copied().collect();
        let mut listing = Listing::new(file, position, emit);
        listing.entry(b"ptmx", MULTIPLEXER_NUMBER, FileType::CharDevice);
        for index in indices {
            let number = FIRST_SLAVE_NUMBER + u64::from(index);
            listing.entry_at(number, format!("{index}").as_bytes(), number, FileType::CharDevice);
        }
        Ok(listing.position)
    }
}

/// A node: opening it is the device registry's matter.
struct DeviceNode;

impl InodeOps for DeviceNode {
    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change.apply_to(&mut inode.attributes.lock());
        Ok(())
    }
}

/// The devpts that a place lies in.
pub fn instance_of(path: &Path) -> Option<Arc<Instance>> {
    let superblock = path.dentry().superblock.upgrade()?;
    superblock.downcast::<DevPtsSuper>().map(|devpts| devpts.0.clone())
}

/// The devpts of a `ptmx` node: the one that it lies in, or the one mounted on `pts` beside it. `ENODEV` if there is none.
pub fn instance_for_multiplexer(path: &Path) -> Result<Arc<Instance>> {
    instance_of(&top_for_multiplexer(path)?).ok_or(Errno::NODEV)
}

fn top_for_multiplexer(path: &Path) -> Result<Path> {
    let parent = path.at(path.dentry().parent().ok_or(Errno::NODEV)?);
    if instance_of(path).is_some() {
        return Ok(parent);
    }
    let start = Start { root: current().fs().root(), directory: Some(parent), credentials: current().credentials() };
    let top = walk::lookup_from(start, b"pts", LookupFlags::DIRECTORY | LookupFlags::FOLLOW)?;
    let is_top = instance_of(&top).is_some() && top.dentry().parent().is_none();
    if is_top { Ok(top) } else { Err(Errno::NODEV) }
}

/// A descriptor of the slave that belongs to an open master, found through the master's own devpts.
pub fn open_peer(master: &OpenFile, pair: &Arc<Pair>, flags: OpenFlags) -> Result<usize> {
    let top = top_for_multiplexer(&master.path)?;
    let thread = current();
    let start = Start { root: top, directory: None, credentials: thread.credentials() };
    let how = OpenHow { flags, mode: 0, resolve: Resolve::empty() };
    let file = open::open_from(start, format!("{}", pair.index).as_bytes(), how)?;
    let limit = thread.process.descriptor_limit();
    let descriptor = thread.files().insert(file, flags.contains(OpenFlags::CLOEXEC), 0, limit)?;
    Ok(descriptor as usize)
}
