//! The inodes of tmpfs: what each kind of file holds, and what happens when names come and go.

use super::accounting::Accounts;
use super::directory::{ENTRY_SIZE_BYTES, Entries};
use super::file::{Content, Pages};
use super::open::{DirectoryFile, RegularFile};
use crate::errno::{Errno, Result};
use crate::fs::acl::{self, Acl, Kept};
use crate::fs::inode::AttributeChange;
use crate::fs::{Attributes, FileOps, FileType, Inode, InodeOps, OpenFlags, Path, SuperBlock, pipe};
use crate::mm::PAGE_SIZE_BYTES;
use crate::mm::address_space::PageSource;
use crate::sync::SpinLock;
use crate::task::current;
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general as sys;

/// Symbolic links with at least so many bytes take a page.
const LONG_TARGET_BYTES: usize = 128;
/// What one extended attribute counts besides its name and value.
const XATTR_COST_BYTES: u64 = 48;

/// What the inodes of one instance share.
pub struct Instance {
    /// The accounts.
    pub accounts: Arc<Accounts>,
    /// Files have no access lists.
    is_ramfs: bool,
    next_number: AtomicU64,
    /// The inodes that handles were given out for, by number.
    pub(super) handles: SpinLock<BTreeMap<u64, Weak<Inode>>>,
}

impl Instance {
    /// An instance with these limits (0: none).
    pub fn new(max_pages: u64, max_inodes: u64, is_ramfs: bool) -> Arc<Self> {
        let accounts = Arc::new(Accounts::new(max_pages, max_inodes));
        Arc::new(Self { accounts, is_ramfs, next_number: AtomicU64::new(1), handles: SpinLock::default() })
    }

    /// Makes a file that has no name yet. `ENOSPC` when there are too many.
    pub fn make(
        self: &Arc<Self>,
        superblock: &Arc<SuperBlock>,
        file_type: FileType,
        mut attributes: Attributes,
        device: u64,
        target: Option<&[u8]>,
    ) -> Result<Arc<Inode>> {
        self.accounts.take_inode()?;
        let body = match self.make_body(file_type, target) {
            Ok(body) => body,
            Err(error) => {
                self.accounts.give_back_inode();
                return Err(error);
            }
        };
        match file_type {
            FileType::Directory => {
                attributes.links = 2;
                attributes.size_bytes = 2 * ENTRY_SIZE_BYTES;
            }
            FileType::Symlink => attributes.size_bytes = target.map_or(0, |target| target.len() as u64),
            _ => {}
        }
        attributes.created = Some(attributes.accessed);
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let node = Arc::new(Node {
            instance: self.clone(),
            number,
            body,
            names: SpinLock::default(),
            xattrs: SpinLock::default(),
            acls: Kept::default(),
        });
        Ok(Inode::new(superblock, number, file_type, device, attributes, node))
    }

    fn make_body(&self, file_type: FileType, target: Option<&[u8]>) -> Result<Body> {
        Ok(match (file_type, target) {
            (FileType::Directory, _) => Body::Directory(SpinLock::new(Entries::default())),
            // A file made by name cannot be sealed: F_SEAL_SEAL is on it from the start.
            (FileType::Regular, _) => Body::Regular(Content::new(self.accounts.clone(), sys::F_SEAL_SEAL)),
            (FileType::Symlink, Some(target)) => {
                let long = target.len() >= LONG_TARGET_BYTES;
                if long {
                    self.accounts.take_pages(1)?;
                }
                Body::Symlink { target: target.to_vec(), long }
            }
            _ => Body::Special,
        })
    }
}

/// What a file of tmpfs holds besides its attributes.
pub struct Node {
    instance: Arc<Instance>,
    number: u64,
    body: Body,
    /// Where it is entered: directory and name.
    names: SpinLock<Vec<(Weak<Inode>, Vec<u8>)>>,
    xattrs: SpinLock<BTreeMap<Vec<u8>, Vec<u8>>>,
    acls: Kept,
}

enum Body {
    Directory(SpinLock<Entries>),
    Regular(Arc<Content>),
    Symlink {
        target: Vec<u8>,
        long: bool,
    },
    /// Devices, FIFOs, sockets: nothing but attributes.
    Special,
}

/// Adds to or takes from the size of a directory, and notes that it changed.
fn entries_changed(directory: &Inode, added_entries: i64) {
    let now = crate::time::clock::realtime_ns();
    let mut attributes = directory.attributes.lock();
    attributes.size_bytes = attributes.size_bytes.saturating_add_signed(added_entries * ENTRY_SIZE_BYTES as i64);
    attributes.modified = now;
    attributes.changed = now;
}

fn note_change(inode: &Inode) {
    inode.attributes.lock().changed = crate::time::clock::realtime_ns();
}

fn add_links(inode: &Inode, added: i32) {
    let links = inode.attributes.lock().links;
    inode.set_links(links.saturating_add_signed(added));
}

impl Node {
    /// The content, if it is a regular file.
    pub fn content(&self) -> Option<&Arc<Content>> {
        if let Body::Regular(content) = &self.body { Some(content) } else { None }
    }

    /// The entries, if it is a directory.
    pub fn entries(&self) -> Result<&SpinLock<Entries>> {
        if let Body::Directory(entries) = &self.body { Ok(entries) } else { Err(Errno::NOTDIR) }
    }

    /// The first of its names, with the directory that has it; `None` for a file without a name.
    pub fn first_name(&self) -> Option<(Arc<Inode>, Vec<u8>)> {
        let (directory, name) = self.names.lock().first().cloned()?;
        Some((directory.upgrade()?, name))
    }

    /// Enters a name into this directory. What it named before is given back, to be dropped without a lock.
    fn enter_name(&self, directory: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<Option<Arc<Inode>>> {
        if let Some(node) = target.downcast::<Self>() {
            node.names.lock().push((Arc::downgrade(directory), name.to_vec()));
        }
        let replaced = self.entries()?.lock().insert(name, target.clone());
        Ok(replaced.inspect(|replaced| Self::forget_name(replaced, directory, name)))
    }

    /// Takes a name out of this directory.
    fn take_name(&self, directory: &Arc<Inode>, name: &[u8]) -> Result<Option<Arc<Inode>>> {
        let removed = self.entries()?.lock().remove(name);
        Ok(removed.inspect(|removed| Self::forget_name(removed, directory, name)))
    }

    fn forget_name(target: &Inode, directory: &Arc<Inode>, name: &[u8]) {
        let Some(node) = target.downcast::<Self>() else { return };
        let mut names = node.names.lock();
        if let Some(index) = names.iter().position(|(of, known)| of.as_ptr() == Arc::as_ptr(directory) && known == name) {
            names.remove(index);
        }
    }

    /// Makes a file with what it inherits of this directory's default list.
    fn make_inheriting(
        &self,
        directory: &Arc<Inode>,
        file_type: FileType,
        mut attributes: Attributes,
        device: u64,
        target: Option<&[u8]>,
    ) -> Result<Arc<Inode>> {
        let inherited = acl::inherit(directory, file_type, &mut attributes)?;
        let inode = self.instance.make(&directory.superblock, file_type, attributes, device, target)?;
        if let Some(node) = inode.downcast::<Self>() {
            node.keep_acl(&inode, acl::Kind::Access, inherited.access);
            node.keep_acl(&inode, acl::Kind::Default, inherited.default);
        }
        Ok(inode)
    }

    fn keep_acl(&self, inode: &Inode, kind: acl::Kind, acl: Option<Arc<Acl>>) {
        if kind == acl::Kind::Access {
            inode.set_may_have_acl(acl.is_some());
        }
        self.acls.replace(kind, acl);
    }

    /// Makes a file and enters its name.
    fn make_named(
        &self,
        directory: &Arc<Inode>,
        name: &[u8],
        file_type: FileType,
        attributes: Attributes,
        device: u64,
        target: Option<&[u8]>,
    ) -> Result<Arc<Inode>> {
        self.entries()?;
        let inode = self.make_inheriting(directory, file_type, attributes, device, target)?;
        let replaced = self.enter_name(directory, name, &inode)?;
        debug_assert!(replaced.is_none(), "the generic code creates only names that are not there");
        entries_changed(directory, 1);
        if file_type == FileType::Directory {
            add_links(directory, 1);
        }
        Ok(inode)
    }

    /// What a file loses with one of its names.
    fn drop_name(&self, directory: &Inode, target: &Inode) {
        if target.file_type == FileType::Directory {
            target.set_links(0);
            add_links(directory, -1);
        } else {
            if target.attributes.lock().links > 1 {
                self.instance.accounts.give_back_inode();
            }
            add_links(target, -1);
        }
        note_change(target);
    }

    fn require_empty(inode: &Inode) -> Result<()> {
        let node = inode.downcast::<Self>().ok_or(Errno::XDEV)?;
        match &node.body {
            Body::Directory(entries) if !entries.lock().is_empty() => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }

    fn exchange(
        &self,
        old_dir: &Arc<Inode>,
        old_name: &[u8],
        moved: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        other: &Arc<Inode>,
    ) -> Result<()> {
        let new_node = new_dir.downcast::<Self>().ok_or(Errno::XDEV)?;
        let first = self.enter_name(old_dir, old_name, other)?;
        let second = new_node.enter_name(new_dir, new_name, moved)?;
        drop((first, second));
        let is_directory = |inode: &Inode| i32::from(inode.file_type == FileType::Directory);
        let shift = is_directory(moved) - is_directory(other);
        if old_dir.number != new_dir.number && shift != 0 {
            add_links(old_dir, -shift);
            add_links(new_dir, shift);
        }
        entries_changed(old_dir, 0);
        entries_changed(new_dir, 0);
        note_change(moved);
        note_change(other);
        Ok(())
    }

    fn xattr_cost(&self, name: &[u8], value: &[u8]) -> u64 {
        if name.starts_with(b"user.") { XATTR_COST_BYTES + name.len() as u64 + value.len() as u64 } else { 0 }
    }
}

impl InodeOps for Node {
    fn lookup(&self, _directory: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        self.entries()?.lock().get(name).ok_or(Errno::NOENT)
    }

    fn create(&self, dir: &Arc<Inode>, name: &[u8], file_type: FileType, attributes: Attributes, device: u64) -> Result<Arc<Inode>> {
        self.make_named(dir, name, file_type, attributes, device, None)
    }

    fn make_directory(&self, dir: &Arc<Inode>, name: &[u8], attributes: Attributes) -> Result<Arc<Inode>> {
        self.make_named(dir, name, FileType::Directory, attributes, 0, None)
    }

    fn make_symlink(&self, dir: &Arc<Inode>, name: &[u8], target: &[u8], attributes: Attributes) -> Result<Arc<Inode>> {
        self.make_named(dir, name, FileType::Symlink, attributes, 0, Some(target))
    }

    fn make_unnamed(&self, dir: &Arc<Inode>, attributes: Attributes) -> Result<Arc<Inode>> {
        let inode = self.make_inheriting(dir, FileType::Regular, attributes, 0, None)?;
        inode.set_links(0);
        Ok(inode)
    }

    fn link(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        // Another name takes room as a file does; the first name of an unnamed file does not: the file has its room.
        let links = target.attributes.lock().links;
        if links > 0 {
            self.instance.accounts.take_inode()?;
        }
        let replaced = self.enter_name(dir, name, target)?;
        drop(replaced);
        target.set_links(links + 1);
        note_change(target);
        entries_changed(dir, 1);
        Ok(())
    }

    fn unlink(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        let removed = self.take_name(dir, name)?;
        self.drop_name(dir, target);
        entries_changed(dir, -1);
        drop(removed);
        Ok(())
    }

    fn remove_directory(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        Self::require_empty(target)?;
        self.unlink(dir, name, target)
    }

    fn rename(
        &self,
        old_dir: &Arc<Inode>,
        old_name: &[u8],
        moved: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        victim: Option<&Arc<Inode>>,
        flags: u32,
    ) -> Result<()> {
        if let (Some(other), true) = (victim, flags & sys::RENAME_EXCHANGE != 0) {
            return self.exchange(old_dir, old_name, moved, new_dir, new_name, other);
        }
        let new_node = new_dir.downcast::<Self>().ok_or(Errno::XDEV)?;
        if let Some(victim) = victim {
            Self::require_empty(victim)?;
        }
        let whiteout = if flags & sys::RENAME_WHITEOUT != 0 {
            let owner = moved.attributes.lock().clone();
            let attributes = Attributes::new(0, owner.uid, owner.gid);
            Some(self.instance.make(&old_dir.superblock, FileType::CharDevice, attributes, 0, None)?)
        } else {
            None
        };
        let left_behind = whiteout.is_some();
        let taken = match whiteout {
            Some(whiteout) => self.enter_name(old_dir, old_name, &whiteout)?,
            None => self.take_name(old_dir, old_name)?,
        };
        let replaced = new_node.enter_name(new_dir, new_name, moved)?;
        if let Some(victim) = victim {
            self.drop_name(new_dir, victim);
        }
        if moved.file_type == FileType::Directory && old_dir.number != new_dir.number {
            add_links(old_dir, -1);
            add_links(new_dir, 1);
        }
        entries_changed(old_dir, if left_behind { 0 } else { -1 });
        entries_changed(new_dir, if victim.is_some() { 0 } else { 1 });
        note_change(moved);
        drop((taken, replaced));
        Ok(())
    }

    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Vec<u8>> {
        if let Body::Symlink { target, .. } = &self.body { Ok(target.clone()) } else { Err(Errno::INVAL) }
    }

    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        let mut attributes = inode.attributes.lock().clone();
        match &self.body {
            Body::Regular(content) => {
                attributes.size_bytes = content.len();
                attributes.blocks = content.page_count() * (PAGE_SIZE_BYTES as u64 / 512);
            }
            Body::Symlink { long: true, .. } => attributes.blocks = PAGE_SIZE_BYTES as u64 / 512,
            _ => {}
        }
        Ok(attributes)
    }

    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        if let (Some(size), Some(content)) = (change.size_bytes, self.content()) {
            let seals = content.seals();
            let old = content.len();
            let sealed = (size < old && seals & sys::F_SEAL_SHRINK != 0) || (size > old && seals & sys::F_SEAL_GROW != 0);
            if sealed {
                return Err(Errno::PERM);
            }
            content.set_len(inode, size);
        }
        if let (Some(mode), Some(acl)) = (change.mode, self.acls.get(acl::Kind::Access)) {
            self.acls.replace(acl::Kind::Access, Some(Arc::new(acl.with_mode(mode)?)));
        }
        change.apply_to(&mut inode.attributes.lock());
        Ok(())
    }

    fn open(&self, inode: &Arc<Inode>, _path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        match &self.body {
            Body::Directory(_) => Ok(Arc::new(DirectoryFile)),
            Body::Regular(content) => Ok(Arc::new(RegularFile { content: content.clone() })),
            Body::Special if inode.file_type == FileType::Fifo => pipe::open_fifo(inode, flags),
            Body::Symlink { .. } | Body::Special => Err(Errno::NXIO),
        }
    }

    fn pages(&self, _inode: &Arc<Inode>) -> Option<Arc<dyn PageSource>> {
        let content = self.content()?.clone();
        Some(Arc::new(Pages { content }))
    }

    fn get_xattr(&self, _inode: &Arc<Inode>, name: &[u8]) -> Result<Vec<u8>> {
        self.xattrs.lock().get(name).cloned().ok_or(Errno::NODATA)
    }

    fn set_xattr(&self, inode: &Arc<Inode>, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        let old_cost = {
            let xattrs = self.xattrs.lock();
            let old = xattrs.get(name);
            if old.is_some() && flags & sys::XATTR_CREATE != 0 {
                return Err(Errno::EXIST);
            }
            if old.is_none() && flags & sys::XATTR_REPLACE != 0 {
                return Err(Errno::NODATA);
            }
            old.map_or(0, |old| self.xattr_cost(name, old))
        };
        self.instance.accounts.take_inode_bytes(self.xattr_cost(name, value))?;
        self.instance.accounts.give_back_inode_bytes(old_cost);
        self.xattrs.lock().insert(name.to_vec(), value.to_vec());
        note_change(inode);
        Ok(())
    }

    fn has_acls(&self) -> bool {
        !self.instance.is_ramfs
    }

    fn acl(&self, _inode: &Inode, kind: acl::Kind) -> Result<Option<Arc<Acl>>> {
        Ok(self.acls.get(kind))
    }

    fn set_acl(&self, inode: &Arc<Inode>, kind: acl::Kind, acl: Option<Arc<Acl>>) -> Result<()> {
        let credentials = current().credentials();
        let mut kept = acl;
        if kind == acl::Kind::Access {
            let attributes = inode.attributes.lock().clone();
            let mode = acl::mode_after_set(&attributes, &credentials, kept.as_deref())?;
            inode.attributes.lock().mode = mode;
            kept = kept.filter(|acl| !acl.is_minimal());
        }
        self.keep_acl(inode, kind, kept);
        note_change(inode);
        Ok(())
    }

    fn list_xattrs(&self, _inode: &Arc<Inode>) -> Result<Vec<Vec<u8>>> {
        let mut names: Vec<Vec<u8>> = self.acls.kinds().map(|kind| kind.name().to_vec()).collect();
        names.extend(self.xattrs.lock().keys().cloned());
        Ok(names)
    }

    fn remove_xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
        let old = self.xattrs.lock().remove(name).ok_or(Errno::NODATA)?;
        self.instance.accounts.give_back_inode_bytes(self.xattr_cost(name, &old));
        note_change(inode);
        Ok(())
    }

    fn counts_unlinked(&self) -> bool {
        true
    }

    fn evict(&self, _inode: &Inode) {
        let user_bytes: u64 = self.xattrs.lock().iter().map(|(name, value)| self.xattr_cost(name, value)).sum();
        self.instance.accounts.give_back_inode_bytes(user_bytes);
        self.instance.accounts.give_back_inode();
        if let Body::Symlink { long: true, .. } = self.body {
            self.instance.accounts.give_back_pages(1);
        }
    }
}

impl Drop for Node {
    /// A tree that goes as a whole (its instance shuts down) goes file by file, not directory inside directory.
    fn drop(&mut self) {
        self.instance.handles.lock().remove(&self.number);
        let Body::Directory(entries) = &mut self.body else { return };
        let mut pending = entries.get_mut().take_all();
        while let Some(inode) = pending.pop() {
            let Some(last) = Arc::into_inner(inode) else { continue };
            if let Some(Body::Directory(entries)) = last.downcast::<Self>().map(|node| &node.body) {
                pending.append(&mut entries.lock().take_all());
            }
        }
    }
}
