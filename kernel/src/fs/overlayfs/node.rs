//! A file of the overlay: which files of layers it stands for, and what is asked of the topmost of them.

use super::change::{self, Place};
use super::copy_up::{self, Content};
use super::directory::MergedDirectory;
use super::file::OverlayFile;
use super::{Overlay, real};
use crate::errno::{Errno, Result};
use crate::fs::acl::{self, Acl};
use crate::fs::inode::AttributeChange;
use crate::fs::permission::{self, Access};
use crate::fs::stat::StatRequest;
use crate::fs::{Attributes, Dentry, FileOps, FileType, Inode, InodeOps, OpenFlags, Path, SuperBlock, attributes, pipe};
use crate::mm::PAGE_SIZE_BYTES;
use crate::mm::address_space::PageSource;
use crate::sync::SpinLock;
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};

/// A file in a lower layer.
#[derive(Clone)]
pub struct Lower {
    /// Which layer, from the top.
    pub layer: usize,
    /// The file.
    pub dentry: Arc<Dentry>,
}

/// The files of layers behind one file of the overlay.
#[derive(Clone)]
pub struct Real {
    /// In the upper layer.
    pub upper: Option<Arc<Dentry>>,
    /// In lower layers: several only for directories, and for files whose content is apart from their attributes.
    pub lowers: Vec<Lower>,
    /// The topmost has attributes only: the content is in the last of `lowers`.
    pub lacks_content: bool,
    /// The file has an entry in the index, which all its names lead to.
    pub is_indexed: bool,
}

impl Real {
    /// A file of the upper layer alone.
    pub fn new_upper(upper: Arc<Dentry>) -> Self {
        Self { upper: Some(upper), lowers: Vec::new(), lacks_content: false, is_indexed: false }
    }

    /// The one whose attributes count.
    pub fn top(&self) -> Result<&Arc<Dentry>> {
        self.upper.as_ref().or(self.lowers.first().map(|lower| &lower.dentry)).ok_or(Errno::STALE)
    }

    /// Whether a directory shows several layers.
    pub fn is_merged(&self) -> bool {
        self.lowers.len() + usize::from(self.upper.is_some()) > 1
    }

    /// Whether it is more than the upper layer's alone.
    pub fn is_in_lower(&self) -> bool {
        !self.lowers.is_empty()
    }
}

/// The overlay's part of an inode.
pub struct Node {
    /// The overlay.
    pub overlay: Arc<Overlay>,
    real: SpinLock<Real>,
    /// `st_dev` (`None`: the overlay's) and `st_ino`.
    identity: SpinLock<(Option<u64>, u64)>,
    /// A dentry of the overlay that leads here: where a copy belongs.
    alias: SpinLock<Weak<Dentry>>,
}

impl Node {
    /// The inode for files of layers: the same one for all names of a file.
    pub fn make(overlay: &Arc<Overlay>, superblock: &Arc<SuperBlock>, real: Real) -> Result<Arc<Inode>> {
        let top = real::inode_of(real.top()?)?;
        let attributes = top.ops.attributes(&top)?;
        // Without an index the copy-up of a lower file with several names parts it from the others.
        let shares = top.file_type != FileType::Directory && (real.upper.is_some() || attributes.links == 1 || overlay.options.index);
        let key = Arc::as_ptr(&top).addr();
        if shares {
            let known = overlay.inodes.lock().get(&key).and_then(Weak::upgrade);
            // A lower file that was copied up has another file behind it now.
            if let Some(known) = known
                && known.downcast::<Self>().is_some_and(|node| node.real_inode().is_ok_and(|inode| Arc::ptr_eq(&inode, &top)))
            {
                return Ok(known);
            }
        }
        let identity = overlay.identity(&real)?;
        let node = Self {
            overlay: overlay.clone(),
            real: SpinLock::new(real),
            identity: SpinLock::new(identity),
            alias: SpinLock::new(Weak::new()),
        };
        let inode = Inode::new(superblock, identity.1, top.file_type, top.device, attributes, Arc::new(node));
        // The layer's file knows.
        inode.set_may_have_acl(true);
        if shares {
            overlay.remember(key, &inode);
        }
        Ok(inode)
    }

    /// The node behind an inode of an overlay.
    pub fn of(inode: &Inode) -> Result<&Self> {
        inode.downcast::<Self>().ok_or(Errno::XDEV)
    }

    /// The files of layers, now.
    pub fn real(&self) -> Real {
        self.real.lock().clone()
    }

    /// The inode whose attributes count.
    pub fn real_inode(&self) -> Result<Arc<Inode>> {
        real::inode_of(self.real().top()?)
    }

    /// The dentry in the upper layer, if there is one.
    pub fn upper(&self) -> Option<Arc<Dentry>> {
        self.real.lock().upper.clone()
    }

    /// It is in the upper layer from now on; `lacks_content`: with its attributes only; `is_indexed`: with an entry in the index.
    pub fn came_up(&self, inode: &Arc<Inode>, upper: Arc<Dentry>, (lacks_content, is_indexed): (bool, bool)) -> Result<()> {
        if let Some(top) = upper.inode().filter(|top| top.file_type != FileType::Directory) {
            self.overlay.remember(Arc::as_ptr(&top).addr(), inode);
        }
        let real = {
            let mut real = self.real.lock();
            let old = real.upper.replace(upper);
            (real.lacks_content, real.is_indexed) = (lacks_content, is_indexed);
            (real.clone(), old)
        };
        if inode.file_type != FileType::Directory {
            *self.identity.lock() = self.overlay.identity(&real.0)?;
        }
        Ok(())
    }

    /// The content is in the upper layer from now on, too.
    pub fn content_came_up(&self) {
        self.real.lock().lacks_content = false;
    }

    /// A dentry that leads here.
    pub fn alias(&self, inode: &Inode) -> Option<Arc<Dentry>> {
        let alias = self.alias.lock().upgrade();
        alias.or_else(|| inode.superblock.root_dentry().filter(|root| root.inode().is_some_and(|top| core::ptr::eq(&*top, inode))))
    }

    /// The file that has the content as a place on its layer's mount.
    pub fn content_place(&self) -> Result<Path> {
        let real = self.real();
        match (&real.upper, real.lacks_content) {
            (Some(upper), false) => Ok(self.overlay.upper()?.root.at(upper.clone())),
            (_, true) => self.overlay.lower_place(real.lowers.last().ok_or(Errno::STALE)?),
            _ => self.overlay.lower_place(real.lowers.first().ok_or(Errno::STALE)?),
        }
    }

    /// What the mounter may not do below, the overlay cannot do either.
    pub fn check_below(&self, access: Access) -> Result<()> {
        permission::check(&*self.real_inode()?, &self.overlay.mounter, access)
    }
}

impl Overlay {
    /// `st_dev` (`None`: the overlay's) and `st_ino`. A copied file keeps those of what it was copied from, a merged directory those of
    /// its uppermost lower part.
    pub fn identity(&self, real: &Real) -> Result<(Option<u64>, u64)> {
        let top = real::inode_of(real.top()?)?;
        let is_directory = top.file_type == FileType::Directory;
        if is_directory && !self.maps_directories() {
            return Ok((None, self.own_number()));
        }
        let origin = match (&real.upper, real.lowers.first()) {
            (None, lower) => lower.cloned(),
            (Some(_), Some(lower)) => Some(lower.clone()),
            (Some(_), None) if is_directory => None,
            (Some(_), None) => self.origin_of(&top)?,
        };
        // Of a file with several names below, each copy is a file of its own.
        let is_unique = |lower: &Lower| -> Result<bool> {
            let inode = real::inode_of(&lower.dentry)?;
            Ok(is_directory || real.upper.is_none() || real.is_indexed || inode.ops.attributes(&inode)?.links == 1)
        };
        let (file_system, number) = match origin {
            Some(lower) if is_unique(&lower)? => self.number_of_lower(&lower)?,
            _ => self.number_of_upper(&top),
        };
        Ok(self.mapped_number(file_system, number, is_directory).unwrap_or_else(|| (None, self.own_number())))
    }

    /// The overlay's inode for a layer's file, if it is in use.
    pub fn known(&self, below: &Arc<Inode>) -> Option<Arc<Inode>> {
        self.inodes.lock().get(&Arc::as_ptr(below).addr()).and_then(Weak::upgrade)
    }

    fn remember(&self, key: usize, inode: &Arc<Inode>) {
        /// From so many on, those that are gone are looked for.
        const CROWD: usize = 1024;
        let mut inodes = self.inodes.lock();
        if inodes.len() >= CROWD && inodes.len().is_power_of_two() {
            inodes.retain(|_, inode| inode.strong_count() > 0);
        }
        inodes.insert(key, Arc::downgrade(inode));
    }
}

impl InodeOps for Node {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let real = self.overlay.find(&self.real(), name)?.ok_or(Errno::NOENT)?;
        Self::make(&self.overlay, &dir.superblock, real)
    }

    fn entered(&self, dentry: &Arc<Dentry>) {
        if let Some(inode) = dentry.inode()
            && let Some(node) = inode.downcast::<Self>()
        {
            *node.alias.lock() = Arc::downgrade(dentry);
        }
    }

    fn create(&self, dir: &Arc<Inode>, name: &[u8], file_type: FileType, attributes: Attributes, device: u64) -> Result<Arc<Inode>> {
        if file_type == FileType::CharDevice && device == 0 {
            // That would be a whiteout.
            return Err(Errno::PERM);
        }
        change::make(Place { directory: dir, name }, &real::New::File(file_type, device), attributes)
    }

    fn make_directory(&self, dir: &Arc<Inode>, name: &[u8], attributes: Attributes) -> Result<Arc<Inode>> {
        change::make(Place { directory: dir, name }, &real::New::Directory, attributes)
    }

    fn make_symlink(&self, dir: &Arc<Inode>, name: &[u8], target: &[u8], attributes: Attributes) -> Result<Arc<Inode>> {
        change::make(Place { directory: dir, name }, &real::New::Symlink(target), attributes)
    }

    fn make_unnamed(&self, dir: &Arc<Inode>, attributes: Attributes) -> Result<Arc<Inode>> {
        let parent = copy_up::directory(dir)?;
        let inode = real::inode_of(&parent)?;
        let made = inode.ops.make_unnamed(&inode, attributes)?;
        let upper = Dentry::new_unlinked(&inode.superblock, &parent, made, self.overlay.temporary_name());
        Self::make(&self.overlay, &dir.superblock, Real::new_upper(upper))
    }

    fn link(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        change::link(Place { directory: dir, name }, target)
    }

    fn unlink(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        change::remove(Place { directory: dir, name }, target)
    }

    fn remove_directory(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        change::remove(Place { directory: dir, name }, target)
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
        change::rename(Place { directory: old_dir, name: old_name }, moved, Place { directory: new_dir, name: new_name }, victim, flags)
    }

    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Vec<u8>> {
        let below = self.real_inode()?;
        below.ops.read_link(&below)
    }

    fn refresh(&self, inode: &Inode, request: StatRequest) -> Result<()> {
        let below = self.real_inode()?;
        below.ops.refresh(&below, request)?;
        self.attributes(inode).map(|_| ())
    }

    fn attributes(&self, inode: &Inode) -> Result<Attributes> {
        let below = self.real_inode()?;
        let mut attributes = below.ops.attributes(&below)?;
        let real = self.real();
        if inode.file_type == FileType::Directory && real.is_merged() {
            // Nobody counts the directories of several layers.
            attributes.links = 1;
        }
        if real.is_indexed && inode.file_type != FileType::Directory {
            attributes.links = self.overlay.links_of_indexed(&below)?;
        }
        if let Some(content) = real.lowers.last().filter(|_| real.lacks_content) {
            let content = real::inode_of(&content.dentry)?;
            attributes.blocks = content.ops.attributes(&content)?.blocks;
        }
        inode.attributes.lock().clone_from(&attributes);
        Ok(attributes)
    }

    fn shown_identity(&self, inode: &Inode) -> (u64, u64) {
        let (device, number) = *self.identity.lock();
        (device.unwrap_or(inode.superblock.device), number)
    }

    fn set_attributes(&self, inode: &Arc<Inode>, change: &AttributeChange) -> Result<()> {
        let content = match change.size_bytes {
            None => Content::Later,
            Some(0) => Content::None,
            Some(_) => Content::All,
        };
        let upper = copy_up::file(inode, content)?;
        let below = real::inode_of(&upper)?;
        real::set_attributes(&below, change)?;
        if change.size_bytes.is_some() || change.uid.is_some() || change.gid.is_some() {
            let _changes = below.lock.lock();
            attributes::drop_file_capabilities(&below)?;
        }
        if let Some(size) = change.size_bytes {
            // Mappings were made of this inode's file: what lies behind its end goes out of programs.
            let first_gone = size.div_ceil(PAGE_SIZE_BYTES as u64);
            inode.mappings.forget(first_gone, u64::MAX - first_gone, true);
        }
        self.attributes(inode).map(|_| ())
    }

    fn open(&self, inode: &Arc<Inode>, _path: &Path, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        match inode.file_type {
            FileType::Directory => {
                self.check_below(Access::READ)?;
                Ok(Arc::new(MergedDirectory::new()))
            }
            FileType::Regular => Ok(Arc::new(OverlayFile::open(inode, flags)?)),
            FileType::Fifo => pipe::open_fifo(inode, flags),
            _ => Err(Errno::NXIO),
        }
    }

    fn pages(&self, _inode: &Arc<Inode>) -> Option<Arc<dyn PageSource>> {
        let below = self.content_place().ok()?.inode()?;
        below.ops.pages(&below)
    }

    fn get_xattr(&self, _inode: &Arc<Inode>, name: &[u8]) -> Result<Vec<u8>> {
        let below = self.real_inode()?;
        below.ops.get_xattr(&below, &self.overlay.name_in_layer(name))
    }

    fn set_xattr(&self, inode: &Arc<Inode>, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        let upper = copy_up::file(inode, Content::Later)?;
        real::set_xattr(&real::inode_of(&upper)?, &self.overlay.name_in_layer(name), value, flags)?;
        self.attributes(inode).map(|_| ())
    }

    fn has_acls(&self) -> bool {
        true
    }

    fn acl(&self, _inode: &Inode, kind: acl::Kind) -> Result<Option<Arc<Acl>>> {
        let below = self.real_inode()?;
        if below.ops.has_acls() { below.ops.acl(&below, kind) } else { Ok(None) }
    }

    fn effective_acl(&self, _inode: &Inode, kind: acl::Kind) -> Result<Option<Arc<Acl>>> {
        let below = self.real_inode()?;
        if kind == acl::Kind::Access && !below.may_have_acl() { Ok(None) } else { below.ops.effective_acl(&below, kind) }
    }

    fn is_exempt_from_umask(&self, _directory: &Inode) -> Result<bool> {
        let below = self.real_inode()?;
        below.ops.is_exempt_from_umask(&below)
    }

    fn set_acl(&self, inode: &Arc<Inode>, kind: acl::Kind, acl: Option<Arc<Acl>>) -> Result<()> {
        let work = real::inode_of(self.overlay.upper()?.work.dentry())?;
        if !work.ops.has_acls() || !self.real_inode()?.ops.has_acls() {
            return Err(Errno::OPNOTSUPP);
        }
        if acl.is_none() && self.upper().is_none() {
            // What is not there is not worth a copy.
            self.acl(inode, kind)?.ok_or(Errno::NODATA)?;
        }
        let upper = copy_up::file(inode, Content::Later)?;
        real::set_acl(&real::inode_of(&upper)?, kind, acl)?;
        self.attributes(inode).map(|_| ())
    }

    fn list_xattrs(&self, _inode: &Arc<Inode>) -> Result<Vec<Vec<u8>>> {
        let below = self.real_inode()?;
        let names = below.ops.list_xattrs(&below)?;
        Ok(names.iter().filter_map(|name| self.overlay.shown_name(name)).collect())
    }

    fn remove_xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
        // What is not there is not worth a copy.
        self.get_xattr(inode, name)?;
        let upper = copy_up::file(inode, Content::Later)?;
        real::remove_xattr(&real::inode_of(&upper)?, &self.overlay.name_in_layer(name))
    }
}
