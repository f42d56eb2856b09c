//! mqueue: the POSIX message queues of an ipc namespace as files of one directory (`mq_overview(7)`, "Mounting the message queue
//! filesystem"). The instance belongs to the namespace, and all its mounts show the same queues.
//!
//! Here is the filesystem; `queue` is a queue with its messages, `calls` what `mq_open(2)` and the like do.

mod calls;
mod queue;

pub use calls::{open, queue_of, unlink};
pub use queue::{COOKIE_BYTES, Message, Notice, Queue, Size};

use crate::errno::{Errno, Result};
use crate::fs::generated::Listing;
use crate::fs::inode::AttributeChange;
use crate::fs::superblock::{ActiveSuperBlock, FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, PollEvents, PollTable, SuperBlock, mount};
use crate::ipc::{IpcNamespace, Setting};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use crate::task::{Capabilities, Credentials, current};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general as sys;

/// `MQUEUE_MAGIC` (`statfs(2)`).
const MAGIC: u64 = 0x1980_0202;
/// What an entry adds to the size of the directory, in which `.` and `..` count.
const ENTRY_SIZE_BYTES: u64 = 20;
/// The size that a queue shows: that of the text in it.
const QUEUE_SIZE_BYTES: u64 = 80;
const ROOT_NUMBER: u64 = 1;
const ROOT_MODE: u32 = 0o1777;
/// The longest queue and the longest message that even `CAP_SYS_RESOURCE` may make (`HARD_MSGMAX`, `HARD_MSGSIZEMAX`).
const HARD_MAX_MESSAGES: u64 = 65536;
const HARD_MAX_MESSAGE_BYTES: u64 = 16 << 20;
/// How many priorities there are (`MQ_PRIO_MAX`).
pub const PRIORITIES: u32 = 32768;
/// What a message and a priority count for `RLIMIT_MSGQUEUE` beside the bytes (`mq_overview(7)`; getrlimit(2)).
const MESSAGE_OVERHEAD_BYTES: u64 = 48;
const PRIORITY_OVERHEAD_BYTES: u64 = 48;

/// The type "mqueue".
pub struct MessageQueues;

/// The type, for `fs::registry`.
pub static TYPE: MessageQueues = MessageQueues;

/// The queues of a namespace, and a mount of them that only the kernel has, for queues that are opened by name.
struct Instance {
    namespace: Weak<IpcNamespace>,
    superblock: ActiveSuperBlock,
    root: Path,
}

impl Drop for Instance {
    fn drop(&mut self) {
        let released = mount::forest().write().kern_unmount(self.root.mount());
        drop(released);
    }
}

/// The instances: each is held for as long as its namespace is there, mounted or not. Those of namespaces that have ended go when the
/// next one comes.
static INSTANCES: SpinLock<Vec<Instance>> = SpinLock::new(Vec::new());

/// The superblock of a namespace, and its root on the kernel's own mount.
fn instance_of(namespace: &Arc<IpcNamespace>) -> Result<(Arc<SuperBlock>, Path)> {
    let known = |instances: &[Instance]| {
        let known = instances.iter().find(|known| core::ptr::eq(known.namespace.as_ptr(), &raw const **namespace));
        known.map(|known| (known.superblock.superblock().clone(), known.root.clone()))
    };
    if let Some(found) = known(&INSTANCES.lock()) {
        return Ok(found);
    }
    let superblock = new_instance(namespace);
    let root = mount::kernel_mount(superblock.clone())?;
    let new = Instance { namespace: Arc::downgrade(namespace), superblock: ActiveSuperBlock::new(superblock), root };
    let mut instances = INSTANCES.lock();
    let ended: Vec<_> = instances.extract_if(.., |known| known.namespace.strong_count() == 0).collect();
    // Somebody else may have been faster.
    let found = known(&instances);
    let (found, superfluous) = match found {
        Some(found) => (found, Some(new)),
        None => {
            let found = (new.superblock.superblock().clone(), new.root.clone());
            instances.push(new);
            (found, None)
        }
    };
    drop(instances);
    // Their shutting down takes locks.
    drop((ended, superfluous));
    Ok(found)
}

impl FileSystemType for MessageQueues {
    fn name(&self) -> &'static str {
        "mqueue"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn check_option(&self, _key: &str, _value: Option<&[u8]>) -> Result<()> {
        Err(Errno::INVAL)
    }

    /// The instance of the caller's ipc namespace. `EPERM` without `CAP_SYS_ADMIN` in the user namespace that owns it.
    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let namespace = current().namespaces().ipc.clone();
        if !request.credentials.capable_in(Capabilities::SYS_ADMIN, &namespace.owner) {
            return Err(Errno::PERM);
        }
        // The kernel's own mount was there first.
        if request.exclusive {
            return Err(Errno::BUSY);
        }
        Ok(instance_of(&namespace)?.0)
    }
}

fn new_instance(namespace: &Arc<IpcNamespace>) -> Arc<SuperBlock> {
    let superblock = SuperBlock::new(&TYPE, 0, namespace.owner.clone(), None, Arc::new(MessageQueuesSuper));
    // The directory belongs to the root of the namespace's owner.
    let root = |id: Option<u32>| id.unwrap_or_default();
    let (uid, gid) = (root(namespace.owner.uid_to_global(0)), root(namespace.owner.gid_to_global(0)));
    let mut attributes = Attributes::new(ROOT_MODE, uid, gid);
    attributes.links = 2;
    attributes.size_bytes = 2 * ENTRY_SIZE_BYTES;
    let top = Arc::new(Top {
        namespace: Arc::downgrade(namespace),
        queues: SpinLock::new(BTreeMap::new()),
        next_number: AtomicU64::new(ROOT_NUMBER + 1),
    });
    superblock.set_root(Inode::new(&superblock, ROOT_NUMBER, FileType::Directory, 0, attributes, top));
    superblock
}

struct MessageQueuesSuper;

impl SuperBlockOps for MessageQueuesSuper {
    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        FileSystemStatistics {
            magic: MAGIC,
            block_size_bytes: crate::mm::PAGE_SIZE_BYTES as u64,
            name_max_bytes: 255,
            ..Default::default()
        }
    }

    /// The inodes hold the superblock, so they go first.
    fn shut_down(&self, superblock: &SuperBlock) {
        let root = superblock.root_dentry().and_then(|root| root.inode());
        if let Some(top) = root.as_ref().and_then(|inode| inode.downcast::<Top>()) {
            let queues = core::mem::take(&mut *top.queues.lock());
            drop(queues);
        }
    }
}

/// The directory.
struct Top {
    namespace: Weak<IpcNamespace>,
    queues: SpinLock<BTreeMap<Vec<u8>, Arc<Inode>>>,
    next_number: AtomicU64,
}

impl Top {
    /// A new queue. `size`: as `mq_open(2)` was told, or the usual.
    fn add(&self, dir: &Arc<Inode>, name: &[u8], attributes: Attributes, size: Option<[i64; 2]>) -> Result<Arc<Inode>> {
        let credentials = current().credentials();
        let namespace = self.namespace.upgrade().ok_or(Errno::NOENT)?;
        let privileged = credentials.capable_in(Capabilities::SYS_RESOURCE, &namespace.owner);
        if self.queues.lock().len() as u64 >= namespace.setting(Setting::QueuesMax) && !privileged {
            return Err(Errno::NOSPC);
        }
        let size = checked_size(&namespace, size, privileged)?;
        let charge = Charge::take(size, &credentials)?;
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let attributes = Attributes { size_bytes: QUEUE_SIZE_BYTES, ..attributes };
        let ops = Arc::new(QueueFile { queue: Arc::new(Queue::new(size)), _charge: charge });
        let inode = Inode::new(&dir.superblock, number, FileType::Regular, 0, attributes, ops);
        self.queues.lock().insert(name.to_vec(), inode.clone());
        self.show_size(dir);
        Ok(inode)
    }

    fn show_size(&self, directory: &Inode) {
        let entries = self.queues.lock().len() as u64;
        let now = crate::time::clock::realtime_ns();
        let mut attributes = directory.attributes.lock();
        attributes.size_bytes = (2 + entries) * ENTRY_SIZE_BYTES;
        (attributes.modified, attributes.changed, attributes.accessed) = (now, now, now);
    }
}

impl InodeOps for Top {
    fn lookup(&self, _dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        self.queues.lock().get(name).cloned().ok_or(Errno::NOENT)
    }

    /// A new queue of the usual size. Nothing else can be made here.
    fn create(&self, dir: &Arc<Inode>, name: &[u8], file_type: FileType, attributes: Attributes, _device: u64) -> Result<Arc<Inode>> {
        if file_type != FileType::Regular {
            return Err(Errno::PERM);
        }
        self.add(dir, name, attributes, None)
    }

    fn unlink(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        let removed = self.queues.lock().remove(name);
        self.show_size(dir);
        target.set_links(0);
        drop(removed);
        Ok(())
    }

    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change.apply_to(&mut inode.attributes.lock());
        Ok(())
    }

    fn open(&self, inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenTop(inode.clone())))
    }
}

struct OpenTop(Arc<Inode>);

impl FileOps for OpenTop {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let top = self.0.downcast::<Top>().ok_or(Errno::NOTDIR)?;
        let mut queues: Vec<(u64, Vec<u8>)> = top.queues.lock().iter().map(|(name, inode)| (inode.number, name.clone())).collect();
        // Numbers only grow, so a listing that goes on meets what is left where it stands.
        queues.sort_unstable();
        let mut listing = Listing::new(file, position, emit);
        for (number, name) in queues {
            listing.entry_at(number, &name, number, FileType::Regular);
        }
        Ok(listing.position)
    }
}

/// How large a queue is to be: `EINVAL` beyond what the namespace allows, or for the privileged the kernel.
fn checked_size(namespace: &IpcNamespace, wanted: Option<[i64; 2]>, privileged: bool) -> Result<Size> {
    let setting = |name| namespace.setting(name);
    let (messages, bytes) = match wanted {
        Some([messages, bytes]) => (u64::try_from(messages).map_err(|_| Errno::INVAL)?, u64::try_from(bytes).map_err(|_| Errno::INVAL)?),
        None => (
            setting(Setting::MessagesMax).min(setting(Setting::MessagesDefault)),
            setting(Setting::MessageBytesMax).min(setting(Setting::MessageBytesDefault)),
        ),
    };
    let (most_messages, most_bytes) = if privileged {
        (HARD_MAX_MESSAGES, HARD_MAX_MESSAGE_BYTES)
    } else {
        (setting(Setting::MessagesMax), setting(Setting::MessageBytesMax))
    };
    if !(1..=most_messages).contains(&messages) || !(1..=most_bytes).contains(&bytes) {
        return Err(Errno::INVAL);
    }
    Ok(Size { max_messages: messages as usize, max_message_bytes: bytes as usize })
}

/// What a queue counts for its maker (`RLIMIT_MSGQUEUE` of `getrlimit(2)`).
struct Charge {
    uid: u32,
    bytes: u64,
}

static CHARGED: SpinLock<BTreeMap<u32, u64>> = SpinLock::new(BTreeMap::new());

impl Charge {
    /// `EMFILE` beyond the limit.
    fn take(size: Size, credentials: &Credentials) -> Result<Self> {
        let messages = size.max_messages as u64;
        let overhead = messages * MESSAGE_OVERHEAD_BYTES + messages.min(u64::from(PRIORITIES)) * PRIORITY_OVERHEAD_BYTES;
        let bytes = overhead + messages * size.max_message_bytes as u64;
        let limit = current().process.limit(sys::RLIMIT_MSGQUEUE);
        let mut charged = CHARGED.lock();
        let sum = charged.entry(credentials.uid).or_default();
        if sum.saturating_add(bytes) > limit {
            return Err(Errno::MFILE);
        }
        *sum += bytes;
        Ok(Self { uid: credentials.uid, bytes })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut charged = CHARGED.lock();
        if let Some(sum) = charged.get_mut(&self.uid) {
            *sum -= self.bytes;
            if *sum == 0 {
                charged.remove(&self.uid);
            }
        }
    }
}

/// A queue as a file.
struct QueueFile {
    queue: Arc<Queue>,
    _charge: Charge,
}

impl InodeOps for QueueFile {
    /// The size is not a length: truncation leaves it alone.
    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change.apply_to(&mut inode.attributes.lock());
        Ok(())
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenQueue { queue: self.queue.clone() }))
    }

    fn counts_unlinked(&self) -> bool {
        true
    }
}

/// A queue that is open, by `mq_open(2)` or by its name in the filesystem.
pub struct OpenQueue {
    queue: Arc<Queue>,
}

impl FileOps for OpenQueue {
    /// How many bytes there are, and who is to be notified (`mq_overview(7)`).
    fn read(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        let status = self.queue.status();
        let rest = usize::try_from(offset).ok().and_then(|offset| status.get(offset..)).unwrap_or_default();
        buffer.put(rest)
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        table.watch_for(&self.queue.readable, PollEvents::READABLE);
        table.watch_for(&self.queue.writable, PollEvents::WRITABLE);
        let messages = self.queue.messages();
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, messages > 0);
        events.set(PollEvents::WRITABLE, messages < self.queue.size.max_messages);
        events
    }

    /// A process that closes the queue is not told any more.
    fn flush(&self, _file: &OpenFile) -> Result<()> {
        self.queue.forget_notification();
        Ok(())
    }
}
