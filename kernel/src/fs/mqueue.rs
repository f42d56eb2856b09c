//! mqueue: the POSIX message queues of an ipc namespace as files of one directory (`mq_overview(7)`, "Mounting the message queue
//! filesystem"). The instance belongs to the namespace, and all its mounts show the same queues.
//!
//! Queues can be made, shown, given permissions and removed here. Messages go through calls of their own (`mq_open(2)` and the like),
//! which this kernel does not have, so that every queue is empty.

use crate::errno::{Errno, Result};
use crate::fs::generated::{Content, GeneratedFile, Listing};
use crate::fs::inode::AttributeChange;
use crate::fs::superblock::{ActiveSuperBlock, FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFile, OpenFlags, Path, SuperBlock};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use crate::task::namespaces::PlainNamespace;
use crate::task::{Capabilities, current};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// `MQUEUE_MAGIC` (`statfs(2)`).
const MAGIC: u64 = 0x1980_0202;
/// What an entry adds to the size of the directory, in which `.` and `..` count.
const ENTRY_SIZE_BYTES: u64 = 20;
/// The size that a queue shows: that of the text in it.
const QUEUE_SIZE_BYTES: u64 = 80;
const ROOT_NUMBER: u64 = 1;
const ROOT_MODE: u32 = 0o1777;
/// `/proc/sys/fs/mqueue/queues_max` as it is at boot: beyond it only with `CAP_SYS_RESOURCE`.
const QUEUES_MAX: usize = 256;

/// The type "mqueue".
pub struct MessageQueues;

/// The type, for `fs::registry`.
pub static TYPE: MessageQueues = MessageQueues;

/// The instances: each is held for as long as its namespace is there, mounted or not. Those of namespaces that have ended go when the
/// next one comes.
static INSTANCES: SpinLock<Vec<(Weak<PlainNamespace>, ActiveSuperBlock)>> = SpinLock::new(Vec::new());

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
        let mut instances = INSTANCES.lock();
        let ended: Vec<_> = instances.extract_if(.., |(namespace, _)| namespace.strong_count() == 0).collect();
        let known = instances.iter().find(|(known, _)| core::ptr::eq(known.as_ptr(), &raw const *namespace));
        let known = known.map(|(_, instance)| instance.superblock().clone());
        let superblock = match known {
            Some(_) if request.exclusive => Err(Errno::BUSY),
            Some(superblock) => Ok(superblock),
            None => {
                let superblock = new_instance(&namespace);
                instances.push((Arc::downgrade(&namespace), ActiveSuperBlock::new(superblock.clone())));
                Ok(superblock)
            }
        };
        drop(instances);
        // Their shutting down takes locks.
        drop(ended);
        superblock
    }
}

fn new_instance(namespace: &Arc<PlainNamespace>) -> Arc<SuperBlock> {
    let superblock = SuperBlock::new(&TYPE, 0, namespace.owner.clone(), None, Arc::new(MessageQueuesSuper));
    // The directory belongs to the root of the namespace's owner.
    let root = |id: Option<u32>| id.unwrap_or_default();
    let (uid, gid) = (root(namespace.owner.uid_to_global(0)), root(namespace.owner.gid_to_global(0)));
    let mut attributes = Attributes::new(ROOT_MODE, uid, gid);
    attributes.links = 2;
    attributes.size_bytes = 2 * ENTRY_SIZE_BYTES;
    let top = Arc::new(Top { queues: SpinLock::new(BTreeMap::new()), next_number: AtomicU64::new(ROOT_NUMBER + 1) });
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
    queues: SpinLock<BTreeMap<Vec<u8>, Arc<Inode>>>,
    next_number: AtomicU64,
}

impl Top {
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

    /// A new queue. Nothing else can be made here.
    fn create(&self, dir: &Arc<Inode>, name: &[u8], file_type: FileType, attributes: Attributes, _device: u64) -> Result<Arc<Inode>> {
        if file_type != FileType::Regular {
            return Err(Errno::PERM);
        }
        let credentials = current().credentials();
        if self.queues.lock().len() >= QUEUES_MAX && !credentials.capable_in(Capabilities::SYS_RESOURCE, &dir.superblock.owner) {
            return Err(Errno::NOSPC);
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let attributes = Attributes { size_bytes: QUEUE_SIZE_BYTES, ..attributes };
        let inode = Inode::new(&dir.superblock, number, FileType::Regular, 0, attributes, Arc::new(Queue));
        self.queues.lock().insert(name.to_vec(), inode.clone());
        self.show_size(dir);
        Ok(inode)
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

/// A queue.
struct Queue;

impl InodeOps for Queue {
    /// The size is not a length: truncation leaves it alone.
    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        change.apply_to(&mut inode.attributes.lock());
        Ok(())
    }

    fn open(&self, _inode: &Arc<Inode>, _path: &Path, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(GeneratedFile::open(Arc::new(Status)))
    }

    fn counts_unlinked(&self) -> bool {
        true
    }
}

/// What reading a queue's file gives: bytes in the queue, and who is to be notified (`mq_overview(7)`).
struct Status;

impl Content for Status {
    fn generate(&self, _file: &OpenFile) -> Result<Vec<u8>> {
        Ok(b"QSIZE:0          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n".to_vec())
    }
}
