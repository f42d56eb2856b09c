//! Bringing a file to the upper layer before its first change: made whole in the directory for work, then moved to its place, so that
//! no moment shows half of it.

use super::node::Node;
use super::{Overlay, real};
use crate::errno::{Errno, Result};
use crate::fs::inode::AttributeChange;
use crate::fs::permission::Access;
use crate::fs::{Attributes, Dentry, FileType, Inode, OpenFile, OpenFlags, Path};
use crate::mm::IoBuffer;
use alloc::{sync::Arc, vec, vec::Vec};
use real::New;

/// How much is copied at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// What comes along with the attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Everything.
    All,
    /// Nothing: the file is about to be emptied.
    None,
}

/// The dentry of a file in the upper layer, which it comes to if it is not there yet; so do the directories above it.
pub fn file(inode: &Arc<Inode>, content: Content) -> Result<Arc<Dentry>> {
    let node = Node::of(inode)?;
    if let Some(upper) = node.upper() {
        return Ok(upper);
    }
    let overlay = &node.overlay;
    overlay.upper()?;
    let _copying = overlay.copying.lock();
    if let Some(upper) = node.upper() {
        return Ok(upper);
    }
    let alias = node.alias(inode).ok_or(Errno::STALE)?;
    if alias.is_unlinked() {
        return copy_unnamed(overlay, inode, content);
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

/// The dentry of a directory in the upper layer.
pub fn directory(inode: &Arc<Inode>) -> Result<Arc<Dentry>> {
    file(inode, Content::All)
}

/// A copy that has no name yet, and its attributes as they were.
fn copy_to_work(overlay: &Overlay, inode: &Arc<Inode>, content: Content) -> Result<(Arc<Dentry>, Arc<Inode>)> {
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
    let filled = fill(overlay, node, &from, &work.at(copy.clone()), &attributes, content);
    if let Err(error) = filled {
        // The first error is the one to tell.
        let _ = real::remove(work.dentry(), &copy);
        return Err(error);
    }
    Ok((copy, from))
}

/// Content, extended attributes, and last, because the others change them, attributes.
fn fill(overlay: &Overlay, node: &Node, from: &Arc<Inode>, to: &Path, attributes: &Attributes, content: Content) -> Result<()> {
    let copy = real::inode_of(to.dentry())?;
    for name in from.ops.list_xattrs(from)? {
        if !name.starts_with(overlay.mark_prefix().as_bytes()) {
            let value = from.ops.get_xattr(from, &name)?;
            match real::set_xattr(&copy, &name, &value, 0) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
    }
    if from.file_type == FileType::Regular && content == Content::All {
        let source = real::open(node.place()?, OpenFlags::empty(), &overlay.mounter)?;
        let target = real::open(to.clone(), OpenFlags::WRONLY, &overlay.mounter)?;
        copy_content(&source, &target)?;
    }
    let change = AttributeChange {
        mode: (from.file_type != FileType::Symlink).then_some(attributes.mode),
        uid: Some(attributes.uid),
        gid: Some(attributes.gid),
        accessed: Some(attributes.accessed),
        modified: Some(attributes.modified),
        ..AttributeChange::default()
    };
    let _changes = copy.lock.lock();
    copy.ops.set_attributes(&copy, &change)
}

fn copy_content(source: &OpenFile, target: &OpenFile) -> Result<()> {
    let mut chunk = Vec::new();
    chunk.try_reserve_exact(CHUNK_BYTES).map_err(|_| Errno::NOMEM)?;
    chunk.resize(CHUNK_BYTES, 0);
    let mut offset = 0;
    loop {
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
    let (copy, _from) = copy_to_work(overlay, inode, content)?;
    let directory = real::inode_of(parent)?;
    let before = directory.ops.attributes(&directory)?;
    let work = overlay.upper()?.work.clone();
    if let Err(error) = real::rename(work.dentry(), &copy, parent, name, 0) {
        let _ = real::remove(work.dentry(), &copy);
        return Err(error);
    }
    let times = AttributeChange { accessed: Some(before.accessed), modified: Some(before.modified), ..AttributeChange::default() };
    {
        let _changes = directory.lock.lock();
        directory.ops.set_attributes(&directory, &times)?;
    }
    Node::of(inode)?.came_up(inode, copy.clone());
    Ok(copy)
}

/// Copies a file whose name is gone.
fn copy_unnamed(overlay: &Overlay, inode: &Arc<Inode>, content: Content) -> Result<Arc<Dentry>> {
    let (copy, _from) = copy_to_work(overlay, inode, content)?;
    real::remove(overlay.upper()?.work.dentry(), &copy)?;
    Node::of(inode)?.came_up(inode, copy.clone());
    Ok(copy)
}
