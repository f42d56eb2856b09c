//! The type `fuse`, with or without a subtype: a superblock for a connection, what statfs(2) and the mount tables show of it, its end.

use super::connection::Connection;
use super::control;
use super::device::Device;
use super::export;
use super::names;
use super::node::Node;
use super::options::Options;
use super::protocol::{Entry, Fields, Message, Opcode, ROOT_NODE};
use super::request::Question;
use super::terms::Terms;
use super::writeback;
use crate::errno::{Errno, Result};
use crate::fs::handle::FileHandle;
use crate::fs::superblock::{FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::{Attributes, Dentry, FileType, Inode, SuperBlock};
use crate::mm::PAGE_SIZE_BYTES;
use crate::sync::SpinLock;
use crate::task::current;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt::Write;

/// `FUSE_SUPER_MAGIC` of `statfs(2)`.
const MAGIC: u64 = 0x6573_5546;
/// What the length of a name is said to be while the server is not asked.
const NAME_MAX_BYTES: usize = 1024;

/// The type.
pub struct Fuse;

/// The type, for `fs::registry`.
pub static TYPE: Fuse = Fuse;

/// Superblocks by their connection's place in memory: a descriptor that is mounted again shows the same one.
static MOUNTED: SpinLock<BTreeMap<usize, Weak<SuperBlock>>> = SpinLock::new(BTreeMap::new());

/// The superblock of a connection.
pub fn mounted_on(connection: &Arc<Connection>) -> Option<Arc<SuperBlock>> {
    MOUNTED.lock().get(&Arc::as_ptr(connection).addr()).and_then(Weak::upgrade)
}

/// All superblocks.
pub fn mounted() -> Vec<Arc<SuperBlock>> {
    MOUNTED.lock().values().filter_map(Weak::upgrade).collect()
}

impl FileSystemType for Fuse {
    fn name(&self) -> &'static str {
        "fuse"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn has_subtype(&self) -> bool {
        true
    }

    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        Options::default().take(key, value, &current().credentials().user_namespace)
    }

    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let namespace = &request.credentials.user_namespace;
        let options = Options::take_all(&request.options, namespace)?;
        let (Some(fd), Some(root_mode)) = (options.fd, options.root_mode) else { return Err(Errno::INVAL) };
        let (Some(uid), Some(gid)) = (options.user_id, options.group_id) else { return Err(Errno::INVAL) };
        if request.subtype.is_some() && options.subtype.is_some() {
            return Err(Errno::INVAL);
        }
        let file = current().files().get(fd).map_err(|_| Errno::INVAL)?;
        let device = file.downcast::<Device>().ok_or(Errno::INVAL)?;
        if let Some(connection) = device.connection() {
            return mounted_on(&connection).filter(|mounted| mounted.is_active()).ok_or(Errno::NOTCONN);
        }
        if !Arc::ptr_eq(&file.credentials.user_namespace, namespace) {
            return Err(Errno::INVAL);
        }
        let terms = Terms {
            user_namespace: namespace.clone(),
            pid_namespace: current().pid().namespace().clone(),
            uid,
            gid,
            allow_other: options.allow_other,
            default_permissions: options.default_permissions,
            max_read_bytes: options.max_read_bytes.map(|bytes| bytes.max(PAGE_SIZE_BYTES as u32)),
        };
        let connection = Connection::new(terms);
        if !device.connect(&connection) {
            return Err(Errno::INVAL);
        }
        let subtype = request.subtype.clone().or(options.subtype);
        make(request.flags, namespace.clone(), subtype, connection, root_mode)
    }
}

fn make(
    flags: u32,
    owner: Arc<crate::task::UserNamespace>,
    subtype: Option<String>,
    connection: Arc<Connection>,
    root_mode: u32,
) -> Result<Arc<SuperBlock>> {
    let instance = Arc::new(Instance { connection: connection.clone(), nodes: SpinLock::new(BTreeMap::new()) });
    let superblock = SuperBlock::new(&TYPE, flags, owner, subtype, Arc::new(FuseSuper(instance.clone())));
    let file_type = FileType::from_mode(root_mode).ok_or(Errno::INVAL)?;
    let attributes = Attributes { accessed: 0, modified: 0, changed: 0, ..Attributes::new(root_mode, 0, 0) };
    let root = Node::make(&superblock, &instance, ROOT_NODE, 0, ROOT_NODE, file_type, 0, attributes);
    superblock.set_root(root.clone());
    if let (Some(node), Some(dentry)) = (root.downcast::<Node>(), superblock.root_dentry()) {
        node.set_place(&dentry);
    }
    MOUNTED.lock().insert(Arc::as_ptr(&connection).addr(), Arc::downgrade(&superblock));
    control::add(&superblock, &connection);
    Ok(superblock)
}

/// What the nodes of one mount share.
pub struct Instance {
    /// The server's end.
    pub connection: Arc<Connection>,
    /// Nodes that the kernel holds.
    nodes: SpinLock<BTreeMap<u64, Weak<Inode>>>,
}

impl Instance {
    /// The inode of a node that the kernel holds.
    pub fn find(&self, node: u64) -> Option<Arc<Inode>> {
        self.nodes.lock().get(&node).and_then(Weak::upgrade)
    }

    /// All inodes that the kernel holds.
    pub fn inodes(&self) -> Vec<Arc<Inode>> {
        self.nodes.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Enters an inode as the one of its node.
    pub fn enter(&self, node: u64, inode: &Arc<Inode>) {
        let old = self.nodes.lock().insert(node, Arc::downgrade(inode));
        drop(old);
    }

    /// A node's inode goes, unless another has its place already.
    pub fn leave(&self, node: u64) {
        let mut nodes = self.nodes.lock();
        if nodes.get(&node).is_some_and(|inode| inode.strong_count() == 0) {
            nodes.remove(&node);
        }
    }

    /// The inode for an answered entry, whose lookup it counts. `EIO` for an entry that cannot be (type, size, the top again); the lookup
    /// is given back then.
    pub fn inode_of(self: &Arc<Self>, superblock: &Arc<SuperBlock>, entry: &Entry, asked_at_ns: u64) -> Result<Arc<Inode>> {
        let attributes = &entry.attributes;
        let file_type = FileType::from_mode(attributes.mode).filter(|_| attributes.mode & 0o170_000 != 0);
        let Some(file_type) = file_type.filter(|_| i64::try_from(attributes.size).is_ok() && entry.node != ROOT_NODE) else {
            log::warn!("fuse: a server answered with node {} of mode {:o}, size {}", entry.node, attributes.mode, attributes.size);
            if entry.node != ROOT_NODE {
                self.connection.forget(entry.node, 1);
            }
            return Err(Errno::IO);
        };
        if let Some(inode) = self.find(entry.node)
            && let Some(node) = inode.downcast::<Node>()
        {
            if inode.file_type == file_type && node.generation == entry.generation {
                node.count_lookup();
                node.update(&inode, attributes, entry.attributes_lifetime_ns, asked_at_ns);
                return Ok(inode);
            }
            // The number is used for another file now: the one before is gone.
            node.make_bad();
        }
        let known = names::to_attributes(attributes, &superblock.owner);
        let device = u64::from(attributes.device);
        let inode = Node::make(superblock, self, entry.node, entry.generation, attributes.ino, file_type, device, known);
        if let Some(node) = inode.downcast::<Node>() {
            node.count_lookup();
            node.update(&inode, attributes, entry.attributes_lifetime_ns, asked_at_ns);
        }
        Ok(inode)
    }
}

/// One mount as the generic code sees it.
pub struct FuseSuper(pub Arc<Instance>);

impl FuseSuper {
    fn ask_statistics(&self, node: u64) -> Result<FileSystemStatistics> {
        let question = Question::new(Opcode::StatFs, node, Message::default());
        let body = self.0.connection.call(question.answer(if self.0.connection.settings().minor < 4 { 48 } else { 80 }))?;
        let mut fields = Fields(&body);
        let [blocks, free, available, files, files_free] = core::array::from_fn(|_| fields.u64());
        let (block_size, name_len, fragment_size) = (fields.u32(), fields.u32(), fields.u32());
        Ok(FileSystemStatistics {
            magic: MAGIC,
            block_size_bytes: u64::from(block_size),
            blocks,
            blocks_free: free,
            blocks_available: available,
            files,
            files_free,
            name_max_bytes: u64::from(name_len),
            fragment_size_bytes: Some(u64::from(fragment_size)),
        })
    }
}

impl SuperBlockOps for FuseSuper {
    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        self.ask_statistics(ROOT_NODE).unwrap_or(FileSystemStatistics { magic: MAGIC, ..Default::default() })
    }

    /// Who may not use the mount learns nothing, and the server is not asked.
    fn statistics_at(&self, _superblock: &SuperBlock, place: &Dentry) -> Result<FileSystemStatistics> {
        if !self.0.connection.terms.allows(&current().credentials()) {
            return Ok(FileSystemStatistics { magic: MAGIC, ..Default::default() });
        }
        let node = place.inode().and_then(|inode| inode.downcast::<Node>().map(|node| node.number));
        self.ask_statistics(node.unwrap_or(ROOT_NODE))
    }

    /// Sends what the server does not know, and does not wait for it: it may be the server who asks.
    fn sync(&self, superblock: &SuperBlock) -> Result<()> {
        writeback::send_listed(Some(superblock), false);
        Ok(())
    }

    fn show_options(&self, superblock: &SuperBlock, out: &mut dyn Write) -> core::fmt::Result {
        let terms = &self.0.connection.terms;
        write!(out, ",user_id={}", superblock.owner.shown_uid(terms.uid))?;
        write!(out, ",group_id={}", superblock.owner.shown_gid(terms.gid))?;
        if self.0.connection.checks_modes() {
            out.write_str(",default_permissions")?;
        }
        if terms.allow_other {
            out.write_str(",allow_other")?;
        }
        match terms.max_read_bytes {
            Some(max_read) => write!(out, ",max_read={max_read}"),
            None => Ok(()),
        }
    }

    /// Options of a remount are known and change nothing.
    fn reconfigure(&self, _superblock: &Arc<SuperBlock>, _flags: u32, _options: &[(String, Option<Vec<u8>>)]) -> Result<()> {
        Ok(())
    }

    fn revalidate(&self, dentry: &Arc<Dentry>) -> bool {
        names::still_holds(&self.0, dentry)
    }

    fn may_lie(&self) -> bool {
        true
    }

    fn name_max_bytes(&self) -> usize {
        NAME_MAX_BYTES
    }

    fn encode_handle(&self, inode: &Arc<Inode>) -> Option<FileHandle> {
        export::encode(inode)
    }

    fn decode_handle(&self, superblock: &Arc<SuperBlock>, handle: &FileHandle) -> Result<Arc<Dentry>> {
        export::decode(self, superblock, handle)
    }

    fn abort(&self) {
        self.0.connection.end();
    }

    fn shut_down(&self, superblock: &SuperBlock) {
        for inode in writeback::listed(Some(superblock)) {
            if let Some(node) = inode.downcast::<Node>() {
                // An error has nobody left to be told to.
                let _ = writeback::write_back(node, &inode);
            }
        }
        control::remove(superblock);
        MOUNTED.lock().remove(&Arc::as_ptr(&self.0.connection).addr());
        self.0.connection.end();
    }
}
