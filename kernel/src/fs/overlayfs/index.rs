//! The index (`index=on`): a directory beside that for work with a name for each file that came up and can be reached in several ways,
//! made of the handle of the lower file. So hard links of a lower layer stay together when one of them comes up, and, with
//! `nfs_export=on`, which indexes everything, handles lead to what became of a file.
//!
//! A file's entry is another name of the upper file; a directory's entry is an empty directory with a mark that leads to the upper one.
//! How many names an indexed file has in the overlay, those count that nobody brought up, too, stands in a mark of the upper file.

use super::change::at;
use super::marks::Mark;
use super::node::{Lower, Node};
use super::real::{self, New};
use super::{Overlay, origin};
use crate::errno::{Errno, Result};
use crate::fs::walk;
use crate::fs::{Attributes, Dentry, FileType, Inode, Path};
use alloc::string::String;
use alloc::{format, sync::Arc, vec::Vec};
use core::fmt::Write;
use linux_raw_sys::general as sys;

/// The name of a lower file's entry: its handle in hexadecimal digits. `None` where the file system has no handles.
fn entry_name(lower: &Arc<Inode>) -> Option<Vec<u8>> {
    let mut name = String::new();
    for byte in origin::encode(lower, false)? {
        let _ = write!(name, "{byte:02x}");
    }
    Some(name.into_bytes())
}

impl Overlay {
    /// Settles whether there is an index: it takes handles of all layers, and marks. The upper layer is told which lower one it belongs
    /// to, and the index which upper one: `ESTALE` if they belong to others.
    pub fn settle_index(&mut self) -> Result<()> {
        // Without an upper layer nothing comes up.
        self.options.index &= self.layers.upper.is_some();
        let has_handles = |path: &Path| path.inode().is_some_and(|inode| inode.superblock.ops.encode_handle(&inode).is_some());
        let layers = &self.layers;
        let upper_has = layers.upper.as_ref().is_none_or(|upper| upper.index.is_some() && has_handles(&upper.root) && self.can_mark());
        if !upper_has || !layers.lowers.iter().all(|lower| has_handles(&lower.path)) {
            (self.options.index, self.options.nfs_export) = (false, false);
        }
        let (Some(upper), true) = (&layers.upper, self.options.index) else { return Ok(()) };
        let (Some(index), Some(lower)) = (&upper.index, layers.lowers.first()) else { return Ok(()) };
        let (root, lower) = (real::inode_of(upper.root.dentry())?, real::inode_of(lower.path.dentry())?);
        self.verify(&root, Mark::Origin, origin::encode(&lower, false))?;
        self.verify(&real::inode_of(index.dentry())?, Mark::Upper, origin::encode(&root, true))
    }

    /// A mark must have this value, or gets it if it is not there.
    fn verify(&self, inode: &Arc<Inode>, mark: Mark, value: Option<Vec<u8>>) -> Result<()> {
        let value = value.ok_or(Errno::STALE)?;
        match self.mark(inode, mark)? {
            Some(known) if known == value => Ok(()),
            Some(_) => Err(Errno::STALE),
            None => self.set_mark(inode, mark, &value),
        }
    }

    fn index(&self) -> Result<&Path> {
        self.upper()?.index.as_ref().ok_or(Errno::NOENT)
    }

    /// Whether a lower file gets an entry when it comes up.
    pub fn needs_index(&self, lower: &Arc<Inode>) -> Result<bool> {
        if !self.options.index || self.layers.upper.is_none() {
            return Ok(false);
        }
        let has_names = || Ok(lower.file_type != FileType::Directory && lower.ops.attributes(lower)?.links > 1);
        if self.options.nfs_export { Ok(true) } else { has_names() }
    }

    /// The entry of a lower file, if there is one.
    pub fn index_entry(&self, lower: &Arc<Inode>) -> Result<Option<Arc<Dentry>>> {
        let (true, Some(name)) = (self.options.index && self.layers.upper.is_some(), entry_name(lower)) else { return Ok(None) };
        let entry = walk::look_up(self.index()?.dentry(), &name)?;
        Ok(entry.inode().is_some().then_some(entry))
    }

    /// What a lower file that nobody has brought up by this name came up as by another one.
    pub fn indexed_copy(&self, lower: &Lower) -> Result<Option<Arc<Dentry>>> {
        let inode = real::inode_of(&lower.dentry)?;
        let entry = if self.needs_index(&inode)? { self.index_entry(&inode)? } else { None };
        Ok(entry.filter(|entry| entry.inode().is_some_and(|found| found.file_type == inode.file_type && !real::is_whiteout(&found))))
    }

    /// The lower file that a file of the upper layer is the indexed copy of.
    pub fn indexed_origin(&self, upper: &Arc<Inode>) -> Result<Option<Lower>> {
        let (true, Some(lower)) = (self.options.index, self.origin_of(upper)?) else { return Ok(None) };
        let entry = self.index_entry(&real::inode_of(&lower.dentry)?)?;
        let is_its = entry.and_then(|entry| entry.inode()).is_some_and(|found| Arc::ptr_eq(&found, upper));
        Ok(is_its.then_some(lower))
    }

    /// Moves a copy from the directory for work to the index, and gives it its name in the upper layer.
    pub fn place_indexed(&self, lower: &Arc<Inode>, copy: &Arc<Dentry>, parent: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
        let (index, work) = (self.index()?.clone(), self.upper()?.work.clone());
        let entry = entry_name(lower).ok_or(Errno::STALE)?;
        let (inode, below) = (real::inode_of(copy)?, lower.ops.attributes(lower)?);
        // Two names so far: the entry and the one that it is about to get.
        self.set_mark(&inode, Mark::Nlink, format!("U{:+}", i64::from(below.links) - 2).as_bytes())?;
        real::rename(work.dentry(), copy, index.dentry(), &entry, 0)?;
        real::make(parent, name, &New::Link(&inode), below)
    }

    /// Makes the entry of a directory that came up.
    pub fn index_directory(&self, lower: &Arc<Inode>, upper: &Arc<Dentry>) -> Result<()> {
        let (index, work) = (self.index()?.clone(), self.upper()?.work.clone());
        let entry = entry_name(lower).ok_or(Errno::STALE)?;
        let target = origin::encode(&real::inode_of(upper)?, true).ok_or(Errno::STALE)?;
        let attributes = Attributes::new(0, self.mounter.filesystem_uid, self.mounter.filesystem_gid);
        let made = real::make(work.dentry(), &self.temporary_name(), &New::Directory, attributes)?;
        let placed = self.set_mark(&real::inode_of(&made)?, Mark::Upper, &target);
        let placed = placed.and_then(|()| real::rename(work.dentry(), &made, index.dentry(), &entry, 0));
        if placed.is_err() {
            real::remove(work.dentry(), &made)?;
        }
        placed
    }

    /// The entry of a file goes that has no name any more. For handles a whiteout stays: they are stale from now on.
    pub fn leave_index(&self, lower: &Arc<Inode>) -> Result<()> {
        let Some(entry) = self.index_entry(lower)? else { return Ok(()) };
        let index = self.index()?.clone();
        if !self.options.nfs_export {
            return real::remove(index.dentry(), &entry);
        }
        let work = self.upper()?.work.clone();
        let attributes = Attributes::new(0, self.mounter.filesystem_uid, self.mounter.filesystem_gid);
        let whiteout = real::make(work.dentry(), &self.temporary_name(), &real::WHITEOUT, attributes)?;
        real::rename(work.dentry(), &whiteout, index.dentry(), &entry.name(), sys::RENAME_EXCHANGE)?;
        real::remove(work.dentry(), &entry)
    }

    /// How many names an indexed file has in the overlay.
    pub fn links_of_indexed(&self, upper: &Arc<Inode>) -> Result<u32> {
        let own = upper.ops.attributes(upper)?.links;
        let mark = self.mark(upper, Mark::Nlink)?.unwrap_or_default();
        let more = mark.strip_prefix(b"U").and_then(|more| core::str::from_utf8(more).ok()?.parse::<i64>().ok());
        let links = more.and_then(|more| i64::from(own).checked_add(more)?.try_into().ok());
        Ok(links.unwrap_or(own))
    }

    /// The dentry in the upper layer of a file by one of its names. An indexed file has it there from now on, if it came up by another.
    pub fn upper_name(&self, file: &Arc<Dentry>, directory: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
        let inode = real::inode_of(file)?;
        let (there, _) = at(directory, name)?;
        if there.inode().is_some_and(|found| Arc::ptr_eq(&found, &inode)) {
            return Ok(there);
        }
        if inode.file_type == FileType::Directory || !self.options.index {
            return Err(Errno::STALE);
        }
        let attributes = inode.ops.attributes(&inode)?;
        let links = self.links_of_indexed(&inode)?;
        let made = real::make(directory, name, &New::Link(&inode), attributes)?;
        self.make_impure(directory, &made)?;
        self.keep_links(&inode, links)?;
        Ok(made)
    }

    /// Writes down how many names an indexed file has in the overlay.
    fn keep_links(&self, upper: &Arc<Inode>, links: u32) -> Result<()> {
        let own = upper.ops.attributes(upper)?.links;
        self.set_mark(upper, Mark::Nlink, format!("U{:+}", i64::from(links) - i64::from(own)).as_bytes())
    }
}

/// Before a name of a file goes or comes: an indexed file comes up, for the number of its names is kept in the copy.
pub fn before_names_change(target: &Arc<Inode>) -> Result<Option<u32>> {
    let node = Node::of(target)?;
    let overlay = &node.overlay;
    let real = node.real();
    let Some(lower) = real.lowers.first().filter(|_| target.file_type != FileType::Directory) else { return Ok(None) };
    let comes_up = real.upper.is_none() && overlay.needs_index(&real::inode_of(&lower.dentry)?)?;
    if !real.is_indexed && !comes_up {
        return Ok(None);
    }
    let upper = super::copy_up::file(target, super::copy_up::Content::Later)?;
    overlay.links_of_indexed(&real::inode_of(&upper)?).map(Some)
}

/// After a name of a file went (`-1`) or came: `before` is what [`before_names_change`] gave. The last name takes the entry along.
pub fn after_names_change(target: &Arc<Inode>, before: Option<u32>, change: i32) -> Result<()> {
    let node = Node::of(target)?;
    let overlay = &node.overlay;
    let real = node.real();
    if let (Some(before), Some(upper)) = (before, &real.upper) {
        let links = before.saturating_add_signed(change);
        overlay.keep_links(&real::inode_of(upper)?, links)?;
    }
    let is_last = match before {
        Some(before) => before.saturating_add_signed(change) == 0,
        None => change < 0 && target.file_type == FileType::Directory && overlay.options.nfs_export,
    };
    match real.lowers.first() {
        Some(lower) if is_last => overlay.leave_index(&real::inode_of(&lower.dentry)?),
        _ => Ok(()),
    }
}
