//! Bringing a file to the upper layer before its first change: made whole in the directory for work, then moved to its place, so that
//! no moment shows half of it.

use super::marks::Mark;
use super::node::Node;
use super::options::Verity;
use super::{Overlay, real};
use crate::errno::{Errno, Result};
use crate::fs::acl;
use crate::fs::inode::AttributeChange;
use crate::fs::permission::Access;
use crate::fs::{Attributes, Dentry, FileType, Inode, OpenFile, OpenFlags, Path};
use crate::mm::IoBuffer;
use alloc::{sync::Arc, vec, vec::Vec};
use linux_raw_sys::general::SEEK_DATA;
use real::New;

/// How much is copied at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// What a write takes away.
const CAPABILITY: &[u8] = b"security.capability";

/// What comes along with the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Everything.
    All,
    /// Nothing: the file is about to be emptied.
    None,
    /// Nothing yet, with `metacopy=on`: it stays in the lower layer until somebody changes it.
    Later,
}

/// The dentry of a file in the upper layer, which it comes to if it is not there yet; so do the directories above it.
pub fn file(inode: &Arc<Inode>, content: Content) -> Result<Arc<Dentry>> {
    let node = Node::of(inode)?;
    let is_there = |node: &Node| node.upper().filter(|_| content == Content::Later || !node.real().lacks_content);
    if let Some(upper) = is_there(node) {
        name_indexed(inode, &upper)?;
        return Ok(upper);
    }
    let overlay = &node.overlay;
    overlay.upper()?;
    let _copying = overlay.copying.lock();
    if let Some(upper) = is_there(node) {
        return Ok(upper);
    }
    if let Some(upper) = node.upper() {
        bring_content(node, &upper, content)?;
        return Ok(upper);
    }
    let alias = node.alias(inode).ok_or(Errno::STALE)?;
    if alias.is_unlinked() {
        // The copy would get the name that a whiteout has.
        return Err(if alias.is_unhashed() { Errno::EXIST } else { Errno::NOENT });
    }
    // From the first directory that is up down to the file.
    let mut missing = vec![(alias, inode.clone())];
    let mut parent = loop {
        let parent = missing.last().and_then(|(dentry, _)| dentry.parent()).ok_or(Errno::STALE)?;
        let inode = real::inode_of(&parent)?;
        if let Some(upper) = Node::of(&inode)?.upper() {
            break upper;
        }
        missing.push((parent, inode));
    };
    while let Some((dentry, inode)) = missing.pop() {
        let content = if missing.is_empty() { content } else { Content::All };
        parent = copy_named(overlay, &parent, &dentry.name(), &inode, content)?;
    }
    Ok(parent)
}

/// A file that came up by another name gets the one that it is changed by in the upper layer, too.
fn name_indexed(inode: &Arc<Inode>, upper: &Arc<Dentry>) -> Result<()> {
    let node = Node::of(inode)?;
    if inode.file_type == FileType::Directory || !node.real().is_indexed {
        return Ok(());
    }
    let Some(alias) = node.alias(inode).filter(|alias| !alias.is_unlinked()) else { return Ok(()) };
    let parent = directory(&real::inode_of(&*alias.parent().ok_or(Errno::STALE)?)?)?;
    let _copying = node.overlay.copying.lock();
    match node.overlay.upper_name(upper, &parent, &alias.name()) {
        // Somebody renamed or removed it meanwhile.
        Err(Errno::EXIST) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Brings the content of a file whose attributes came up before.
fn bring_content(node: &Node, upper: &Arc<Dentry>, content: Content) -> Result<()> {
    let overlay = &node.overlay;
    let inode = real::inode_of(upper)?;
    let before = inode.ops.attributes(&inode)?;
    let capability = real::xattr(&inode, CAPABILITY)?;
    if content == Content::All {
        let source = real::open(node.content_place()?, OpenFlags::empty(), &overlay.mounter)?;
        let target = real::open(overlay.upper()?.root.at(upper.clone()), OpenFlags::WRONLY, &overlay.mounter)?;
        copy_content(&source, &target)?;
    } else {
        let emptied = AttributeChange { size_bytes: Some(0), ..AttributeChange::default() };
        real::set_attributes(&inode, &emptied)?;
    }
    // Copying is no writing: capabilities stay, and so do the times.
    capability.map_or(Ok(()), |value| real::set_xattr(&inode, CAPABILITY, &value, 0))?;
    real::set_attributes(&inode, &times_of(&before))?;
    overlay.remove_mark(&inode, Mark::Metacopy)?;
    node.content_came_up();
    Ok(())
}

fn times_of(attributes: &Attributes) -> AttributeChange {
    AttributeChange { accessed: Some(attributes.accessed), modified: Some(attributes.modified), ..AttributeChange::default() }
}

/// The dentry of a directory in the upper layer.
pub fn directory(inode: &Arc<Inode>) -> Result<Arc<Dentry>> {
    file(inode, Content::All)
}

/// Whether the content of a file stays below when its attributes come up.
fn waits(overlay: &Overlay, inode: &Inode, content: Content) -> bool {
    content == Content::Later
        && overlay.options.metacopy
        && overlay.options.verity != Verity::Require
        && inode.file_type == FileType::Regular
}

/// A copy that has no name yet.
fn copy_to_work(overlay: &Overlay, inode: &Arc<Inode>, content: Content) -> Result<Arc<Dentry>> {
    let node = Node::of(inode)?;
    node.check_below(if inode.file_type == FileType::Symlink { Access::empty() } else { Access::READ })?;
    let (from, work) = (node.real_inode()?, overlay.upper()?.work.clone());
    let attributes = from.ops.attributes(&from)?;
    let target = if inode.file_type == FileType::Symlink { from.ops.read_link(&from)? } else { Vec::new() };
    let new = match inode.file_type {
        FileType::Directory => New::Directory,
        FileType::Symlink => New::Symlink(&target),
        file_type => New::File(file_type, from.device),
    };
    let made = Attributes::new(attributes.mode, attributes.uid, attributes.gid);
    let copy = real::make(work.dentry(), &overlay.temporary_name(), &new, made)?;
    let filled = fill(node, &from, &work.at(copy.clone()), &attributes, content);
    if let Err(error) = filled {
        // The first error is the one to tell.
        let _ = real::remove(work.dentry(), &copy);
        return Err(error);
    }
    Ok(copy)
}

/// Content, extended attributes, and last, because the others change them, attributes.
fn fill(node: &Node, from: &Arc<Inode>, to: &Path, attributes: &Attributes, content: Content) -> Result<()> {
    let overlay = &node.overlay;
    let copy = real::inode_of(to.dentry())?;
    // Of a file with several names each copy is a file of its own.
    if from.file_type == FileType::Directory || attributes.links == 1 || overlay.needs_index(from)? {
        overlay.remember_origin(&copy, from);
    }
    let is_regular = from.file_type == FileType::Regular;
    if waits(overlay, from, content) {
        overlay.set_mark(&copy, Mark::Metacopy, b"")?;
    } else if is_regular && content != Content::None {
        let source = real::open(node.content_place()?, OpenFlags::empty(), &overlay.mounter)?;
        let target = real::open(to.clone(), OpenFlags::WRONLY, &overlay.mounter)?;
        copy_content(&source, &target)?;
    }
    if is_regular && content != Content::None {
        // What ends with a hole has its length only so.
        real::set_attributes(&copy, &AttributeChange { size_bytes: Some(attributes.size_bytes), ..AttributeChange::default() })?;
    }
    // Not before: writing takes capabilities away.
    copy_xattrs(overlay, from, &copy)?;
    let change = AttributeChange {
        mode: (from.file_type != FileType::Symlink).then_some(attributes.mode),
        uid: Some(attributes.uid),
        gid: Some(attributes.gid),
        ..times_of(attributes)
    };
    real::set_attributes(&copy, &change)
}

fn copy_xattrs(overlay: &Overlay, from: &Arc<Inode>, copy: &Arc<Inode>) -> Result<()> {
    for name in from.ops.list_xattrs(from)? {
        if let Some(kind) = acl::Kind::of_name(&name) {
            copy_acl(kind, from, copy)?;
        } else if overlay.shown_name(&name).is_some() {
            let value = from.ops.get_xattr(from, &name)?;
            match real::set_xattr(copy, &name, &value, 0) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// What cannot be copied of attributes may stay behind, but not a list: without it others get in.
fn copy_acl(kind: acl::Kind, from: &Arc<Inode>, copy: &Arc<Inode>) -> Result<()> {
    match from.ops.acl(from, kind) {
        Ok(Some(acl)) => real::set_acl(copy, kind, Some(acl)),
        Ok(None) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Copies what is data; holes stay holes.
fn copy_content(source: &OpenFile, target: &OpenFile) -> Result<()> {
    let mut chunk = Vec::new();
    chunk.try_reserve_exact(CHUNK_BYTES).map_err(|_| Errno::NOMEM)?;
    chunk.resize(CHUNK_BYTES, 0);
    let mut offset = 0;
    loop {
        match source.ops.seek(source, offset, i64::try_from(offset).map_err(|_| Errno::FBIG)?, SEEK_DATA) {
            Some(Ok(data)) => offset = data,
            Some(Err(Errno::NXIO)) => return Ok(()),
            _ => {}
        }
        let count = source.ops.read(source, &mut IoBuffer::kernel(&mut chunk), offset)?;
        if count == 0 {
            return Ok(());
        }
        let mut written = 0;
        while written < count {
            let mut at = offset + written as u64;
            let now = target.ops.write(target, &mut IoBuffer::kernel_source(&chunk[written..count]), &mut at)?;
            if now == 0 {
                return Err(Errno::IO);
            }
            written += now;
        }
        offset += count as u64;
    }
}

/// Copies a file to its name in a directory of the upper layer, whose times stay as they were.
fn copy_named(overlay: &Overlay, parent: &Arc<Dentry>, name: &[u8], inode: &Arc<Inode>, content: Content) -> Result<Arc<Dentry>> {
    let waits = waits(overlay, inode, content);
    let copy = copy_to_work(overlay, inode, content)?;
    let directory = real::inode_of(parent)?;
    let before = directory.ops.attributes(&directory)?;
    let work = overlay.upper()?.work.clone();
    overlay.make_impure(parent, &copy)?;
    let from = Node::of(inode)?.real_inode()?;
    let is_indexed = overlay.needs_index(&from)?;
    let is_directory = inode.file_type == FileType::Directory;
    let placed = if is_indexed && !is_directory {
        overlay.place_indexed(&from, &copy, parent, name)
    } else {
        real::rename(work.dentry(), &copy, parent, name, 0).map(|()| copy.clone())
    };
    let placed = placed.inspect_err(|_| {
        // The first error is the one to tell.
        let _ = real::remove(work.dentry(), &copy);
    })?;
    if is_indexed && is_directory {
        overlay.index_directory(&from, &placed)?;
    }
    real::set_attributes(&directory, &times_of(&before))?;
    Node::of(inode)?.came_up(inode, placed.clone(), (waits, is_indexed))?;
    Ok(placed)
}

impl Overlay {
    /// Marks a directory of the upper layer that a file with an origin comes to: numbers of its entries are not the layer's.
    pub fn make_impure(&self, directory: &Arc<Dentry>, file: &Arc<Dentry>) -> Result<()> {
        let (directory, file) = (real::inode_of(directory)?, real::inode_of(file)?);
        if self.is_marked(&file, Mark::Origin)? && !self.is_marked(&directory, Mark::Impure)? {
            self.set_mark(&directory, Mark::Impure, b"y")?;
        }
        Ok(())
    }
}
