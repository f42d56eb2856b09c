//! A node: an inode as the server knows it, with what the kernel remembers of it and for how long.

use super::acl::{self, KnownAcls};
use super::attributes;
use super::cache::Cache;
use super::connection::Connection;
use super::directory::OpenDirectory;
use super::file;
use super::handle::Handle;
use super::mount::Instance;
use super::names;
use super::pages;
use super::protocol::{Features, NodeAttributes, Opcode, ROOT_NODE};
use super::writeback::{self, Outgoing};
use crate::errno::{Errno, Result};
use crate::fs::acl::{Acl, Kind};
use crate::fs::inode::{AttributeChange, MadeFile};
use crate::fs::permission::{self, Access};
use crate::fs::stat::{Stat, StatRequest};
use crate::fs::{Attributes, Dentry, FileOps, FileType, Inode, InodeOps, OpenFlags, Path, SuperBlock, file_capabilities, pipe};
use crate::mm::address_space::PageSource;
use crate::sync::SpinLock;
use crate::task::{Credentials, current};
use crate::time::clock;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the top of the file.
pub struct Node {
    /// The server's number.
    pub number: u64,
    /// Tells two files apart that had the number one after the other.
    pub generation: u64,
    /// The mount.
    pub instance: Arc<Instance>,
    /// Lookups that were answered with it: what FORGET gives back.
    lookups: AtomicU64,
    /// Contradicted itself: nothing is asked about it any more.
    bad: AtomicBool,
    pub(super) state: SpinLock<NodeState>,
    /// Pages of a regular file.
    pub cache: Cache,
    /// What was not written back yet.
    pub outgoing: Outgoing,
    /// Open files through which pages can be written back.
    pub writers: SpinLock<Vec<Weak<Handle>>>,
}

#[derive(Default)]
pub(super) struct NodeState {
    /// Until when the attributes hold, in nanoseconds of the monotonic clock.
    valid_until_ns: u64,
    /// When they were last changed from here: an older answer knows less.
    changed_at_ns: u64,
    /// How long the last name holds that this directory answered for, and another inode than asked for.
    pub(super) answered: Option<(u64, Option<Arc<Inode>>)>,
    /// Names of this directory were looked up since it was last listed.
    pub(super) looked_up: bool,
    /// The text of a symbolic link, with CACHE_SYMLINKS.
    pub(super) target: Option<Vec<u8>>,
    /// Times that only the kernel knows (writeback cache).
    times_are_ours: bool,
    /// The birth time was asked for: it is as it is.
    pub(super) has_asked_for_birth: bool,
    /// The file has no `security.capability`, as far as is known (HANDLE_KILLPRIV_V2).
    has_no_capabilities: bool,
    /// Lists that were asked for (POSIX_ACL).
    pub(super) acls: KnownAcls,
    /// Where the file was found last.
    place: Weak<Dentry>,
}

impl Node {
    /// An inode for a node that the kernel does not hold yet.
    #[expect(clippy::too_many_arguments, reason = "what an inode is made of")]
    pub fn make(
        superblock: &Arc<SuperBlock>,
        instance: &Arc<Instance>,
        number: u64,
        generation: u64,
        shown_number: u64,
        file_type: FileType,
        device: u64,
        attributes: Attributes,
    ) -> Arc<Inode> {
        let node = Arc::new(Self {
            number,
            generation,
            instance: instance.clone(),
            lookups: AtomicU64::new(0),
            bad: AtomicBool::new(false),
            state: SpinLock::new(NodeState::default()),
            cache: Cache::default(),
            outgoing: Outgoing::default(),
            writers: SpinLock::new(Vec::new()),
        });
        let inode = Inode::new(superblock, shown_number, file_type, device, attributes, node);
        // The top is there before the server says what it takes.
        inode.set_may_have_acl(number == ROOT_NODE || acl::are_taken(&instance.connection));
        instance.enter(number, &inode);
        inode
    }

    /// Where the file was found last in the tree.
    pub fn place(&self) -> Option<Arc<Dentry>> {
        self.state.lock().place.upgrade()
    }

    /// See [`Self::place`].
    pub fn set_place(&self, dentry: &Arc<Dentry>) {
        self.state.lock().place = Arc::downgrade(dentry);
    }

    /// The server's end.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.instance.connection
    }

    /// One more lookup led here.
    pub fn count_lookup(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on everything is `EIO`.
    pub fn make_bad(&self) {
        self.bad.store(true, Ordering::Relaxed);
    }

    /// `EIO` for a node that contradicted itself.
    pub fn require_good(&self) -> Result<()> {
        if self.bad.load(Ordering::Relaxed) { Err(Errno::IO) } else { Ok(()) }
    }

    /// Whether the attributes still hold.
    pub fn is_current(&self) -> bool {
        clock::monotonic_ns() < self.state.lock().valid_until_ns
    }

    /// The attributes are to be asked for again.
    pub fn expire(&self) {
        self.state.lock().valid_until_ns = 0;
    }

    /// They were changed from here, and are to be asked for again.
    pub fn changed_here(&self) {
        let mut state = self.state.lock();
        state.valid_until_ns = 0;
        state.changed_at_ns = clock::monotonic_ns();
    }

    /// Whether size and times of a file are the kernel's (writeback cache).
    pub fn owns_content(&self, inode: &Inode) -> bool {
        inode.file_type == FileType::Regular && self.connection().has(Features::WRITEBACK_CACHE)
    }

    /// Notes that the kernel changed times that the server does not know.
    pub fn note_own_times(&self, inode: &Arc<Inode>) {
        self.state.lock().times_are_ours = true;
        writeback::mark(self, inode);
    }

    /// [`Self::changed_here`], by something that changes the change time: where that is the kernel's, the server is not asked for it.
    pub fn note_changed(&self, inode: &Arc<Inode>) {
        if self.owns_content(inode) {
            inode.attributes.lock().changed = clock::realtime_ns();
            self.note_own_times(inode);
        }
        self.changed_here();
    }

    /// Takes attributes that the server answered to a question asked at `asked_at_ns`.
    pub fn update(&self, inode: &Inode, answered: &NodeAttributes, lifetime_ns: u64, asked_at_ns: u64) {
        let mut new = names::to_attributes(answered, &inode.superblock.owner);
        let owns_content = self.owns_content(inode);
        let old = {
            let mut attributes = inode.attributes.lock();
            let mut state = self.state.lock();
            if state.changed_at_ns > asked_at_ns {
                // The answer may be from before the change.
                state.valid_until_ns = 0;
                return;
            }
            let is_first = state.changed_at_ns == 0;
            // Whoever changed something there may have given it capabilities.
            state.has_no_capabilities = false;
            state.valid_until_ns = clock::monotonic_ns().saturating_add(lifetime_ns);
            state.changed_at_ns = state.changed_at_ns.max(1);
            if owns_content && !is_first {
                (new.size_bytes, new.modified, new.changed) = (attributes.size_bytes, attributes.modified, attributes.changed);
            }
            new.created = attributes.created;
            let old = core::mem::replace(&mut *attributes, new.clone());
            if is_first { new.clone() } else { old }
        };
        if inode.file_type == FileType::Regular && !owns_content {
            self.content_may_have_changed(inode, &old, &new);
        }
    }

    /// Drops pages that a change on the server's side made stale.
    fn content_may_have_changed(&self, inode: &Inode, old: &Attributes, new: &Attributes) {
        let settings = self.connection().settings();
        let resized = old.size_bytes != new.size_bytes;
        if resized {
            self.cache.set_len(inode, new.size_bytes);
        }
        let stale = (resized && !settings.has(Features::EXPLICIT_INVAL_DATA))
            || (settings.has(Features::AUTO_INVAL_DATA) && old.modified != new.modified);
        if stale {
            self.cache.forget(inode, 0, u64::MAX);
        }
    }

    /// `EACCES` for who may not use the mount.
    pub(super) fn require_allowed(&self) -> Result<()> {
        if self.connection().terms.allows(&current().credentials()) { Ok(()) } else { Err(Errno::ACCES) }
    }

    /// An open file of the node that can write, for pages that are written later.
    pub fn writer(&self) -> Option<Arc<Handle>> {
        self.writers.lock().iter().find_map(Weak::upgrade)
    }

    /// The times that the server does not know, which it is told of now.
    pub(super) fn take_own_times(&self, inode: &Inode) -> Option<AttributeChange> {
        if !core::mem::take(&mut self.state.lock().times_are_ours) {
            return None;
        }
        let attributes = inode.attributes.lock();
        Some(AttributeChange { modified: Some(attributes.modified), changed: Some(attributes.changed), ..AttributeChange::default() })
    }

    /// The check that the kernel makes: by mode bits as they are known, and once more as they are now.
    fn check_mode_twice(&self, inode: &Inode, credentials: &Credentials, access: Access) -> Result<()> {
        let was_current = self.is_current();
        if was_current && !inode.may_have_acl() && permission::mode_allows(&inode.attributes.lock(), credentials, access) {
            return Ok(());
        }
        attributes::refresh(self, inode, None)?;
        match permission::check_mode(inode, credentials, access) {
            Err(Errno::ACCES) if was_current => {
                attributes::ask(self, inode, None)?;
                permission::check_mode(inode, credentials, access)
            }
            result => result,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.instance.leave(self.number);
        let lookups = *self.lookups.get_mut();
        if lookups > 0 {
            self.instance.connection.forget(self.number, lookups);
        }
    }
}

impl InodeOps for Node {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        names::lookup(self, dir, name)
    }

    fn create(&self, dir: &Arc<Inode>, name: &[u8], file_type: FileType, attributes: Attributes, device: u64) -> Result<Arc<Inode>> {
        names::make_node(self, dir, name, file_type, &attributes, device)
    }

    fn create_and_open(&self, dir: &Arc<Inode>, name: &[u8], attributes: Attributes, flags: OpenFlags) -> Result<MadeFile> {
        names::create_and_open(self, dir, name, &attributes, flags)
    }

    fn make_directory(&self, dir: &Arc<Inode>, name: &[u8], attributes: Attributes) -> Result<Arc<Inode>> {
        names::make_directory(self, dir, name, &attributes)
    }

    fn make_symlink(&self, dir: &Arc<Inode>, name: &[u8], target: &[u8], _attributes: Attributes) -> Result<Arc<Inode>> {
        names::make_symlink(self, dir, name, target)
    }

    fn make_unnamed_and_open(&self, dir: &Arc<Inode>, attributes: Attributes, flags: OpenFlags) -> Result<MadeFile> {
        names::make_unnamed(self, dir, &attributes, flags)
    }

    fn link(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        names::link(self, dir, name, target)
    }

    fn unlink(&self, _dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        names::remove(self, Opcode::Unlink, name, target)
    }

    fn remove_directory(&self, _dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        names::remove(self, Opcode::RemoveDirectory, name, target)
    }

    fn rename(
        &self,
        _old_dir: &Arc<Inode>,
        old_name: &[u8],
        moved: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        victim: Option<&Arc<Inode>>,
        flags: u32,
    ) -> Result<()> {
        names::rename(self, old_name, moved, new_dir, new_name, victim, flags)
    }

    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Vec<u8>> {
        names::read_link(self)
    }

    fn entered(&self, dentry: &Arc<Dentry>) {
        let answered = self.state.lock().answered.take();
        if let Some((valid_until_ns, other)) = answered {
            dentry.valid_until_ns.store(valid_until_ns, Ordering::Relaxed);
            if let Some(inode) = other {
                dentry.instantiate(inode);
            }
        }
        if let Some(inode) = dentry.inode()
            && let Some(node) = inode.downcast::<Self>()
        {
            node.set_place(dentry);
        }
    }

    fn refresh(&self, inode: &Inode, request: StatRequest) -> Result<()> {
        attributes::freshen(self, inode, request).map(drop)
    }

    fn stat(&self, inode: &Inode, request: StatRequest) -> Result<Stat> {
        attributes::stat(self, inode, request)
    }

    fn decides_itself(&self) -> bool {
        !self.connection().checks_modes()
    }

    /// Whatever the directory has for a default list, which is the server's to apply.
    fn is_exempt_from_umask(&self, _directory: &Inode) -> Result<bool> {
        Ok(self.connection().has(Features::DONT_MASK))
    }

    fn has_acls(&self) -> bool {
        true
    }

    fn acl(&self, inode: &Inode, kind: Kind) -> Result<Option<Arc<Acl>>> {
        acl::get(self, inode, kind)
    }

    fn effective_acl(&self, inode: &Inode, kind: Kind) -> Result<Option<Arc<Acl>>> {
        if acl::are_taken(self.connection()) { acl::get(self, inode, kind) } else { Ok(None) }
    }

    fn set_acl(&self, inode: &Arc<Inode>, kind: Kind, acl: Option<Arc<Acl>>) -> Result<()> {
        acl::set(self, inode, kind, acl)
    }

    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        self.require_allowed()?;
        names::set_attributes(self, inode, change)
    }

    fn permission(&self, inode: &Inode, credentials: &Credentials, mask: u32) -> Option<Result<()>> {
        let access = Access::from_bits_truncate(mask);
        if let Err(error) = self.require_good() {
            return Some(Err(error));
        }
        if !self.connection().terms.allows(credentials) {
            return Some(Err(Errno::ACCES));
        }
        let wanted = access - Access::ASKING;
        if self.connection().checks_modes() {
            return Some(self.check_mode_twice(inode, credentials, wanted));
        }
        if access.contains(Access::ASKING) {
            return Some(names::ask_access(self, wanted));
        }
        let runs = wanted.contains(Access::EXECUTE) && inode.file_type == FileType::Regular;
        if !runs {
            return Some(Ok(()));
        }
        // Nobody runs what nobody may.
        let runnable = attributes::refresh(self, inode, None).map(|()| inode.attributes.lock().mode & 0o111 != 0);
        Some(runnable.and_then(|runnable| if runnable { Ok(()) } else { Err(Errno::ACCES) }))
    }

    fn open(&self, inode: &Arc<Inode>, _path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        self.require_good()?;
        match inode.file_type {
            FileType::Fifo => pipe::open_fifo(inode, flags),
            FileType::Regular => file::open(self, inode, flags),
            FileType::Directory => OpenDirectory::open(self, inode, flags),
            _ => Err(Errno::NXIO),
        }
    }

    fn pages(&self, inode: &Arc<Inode>) -> Option<Arc<dyn PageSource>> {
        // Pages are read through an open file; this only says that there can be some (`O_DIRECT`).
        (inode.file_type == FileType::Regular).then(|| pages::without_handle(inode))
    }

    fn get_xattr(&self, _inode: &Arc<Inode>, name: &[u8]) -> Result<Vec<u8>> {
        self.require_allowed()?;
        names::get_xattr(self, name)
    }

    /// Asked before every write, as Linux asks; a server with HANDLE_KILLPRIV_V2 is believed until the attributes come anew.
    fn ask_to_drop_capabilities(&self, inode: &Arc<Inode>) {
        if self.state.lock().has_no_capabilities {
            return;
        }
        match names::xattr_len(self, file_capabilities::NAME) {
            // The server decides what becomes of the write.
            Ok(len_bytes) if len_bytes > 0 => _ = names::remove_xattr(self, inode, file_capabilities::NAME),
            _ => self.state.lock().has_no_capabilities = self.connection().has(Features::HANDLE_KILLPRIV_V2),
        }
    }

    fn set_xattr(&self, inode: &Arc<Inode>, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        self.require_allowed()?;
        self.state.lock().has_no_capabilities = false;
        names::set_xattr(self, inode, name, value, flags)
    }

    fn takes_any_xattr(&self) -> bool {
        true
    }

    fn list_xattrs(&self, _inode: &Arc<Inode>) -> Result<Vec<Vec<u8>>> {
        self.require_allowed()?;
        names::list_xattrs(self)
    }

    fn remove_xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
        self.require_allowed()?;
        names::remove_xattr(self, inode, name)
    }
}
