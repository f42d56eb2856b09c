//! File handles (`nfs_export=on`): the handle of the lower file, for what came from there and is indexed if it came up, or that of the
//! upper file, for what was made above. They lead back to a dentry of the overlay, by a name if one is known.

use super::node::{Lower, Node, Real};
use super::{Overlay, origin, real};
use crate::errno::{Errno, Result};
use crate::fs::handle::FileHandle;
use crate::fs::{Dentry, FileType, Inode, SuperBlock, walk};
use alloc::{sync::Arc, vec::Vec};

/// `OVL_FILEID_V1`.
const HANDLE_TYPE: i32 = 0xf8;
/// Bytes before the handle of the layer, so that its identifier lies on a word.
const PADDING_BYTES: usize = 3;

/// The handle of a file of the overlay.
pub fn encode(inode: &Inode) -> Option<FileHandle> {
    let real = Node::of(inode).ok()?.real();
    let is_root = inode.superblock.root_dentry().is_some_and(|root| root.inode().is_some_and(|top| core::ptr::eq(&*top, inode)));
    let by_upper = real.upper.as_ref().filter(|_| is_root || real.lowers.is_empty() || !real.is_indexed);
    let handle = match by_upper {
        Some(upper) => origin::encode(&upper.inode()?, true)?,
        None => origin::encode(&real.lowers.first()?.dentry.inode()?, false)?,
    };
    let mut bytes = alloc::vec![0; PADDING_BYTES];
    bytes.extend(handle);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Some(FileHandle { handle_type: HANDLE_TYPE, bytes })
}

/// The file of a handle. `ESTALE` if it is gone.
pub fn decode(overlay: &Arc<Overlay>, superblock: &Arc<SuperBlock>, handle: &FileHandle) -> Result<Arc<Dentry>> {
    let inner = handle.bytes.get(PADDING_BYTES..).filter(|_| handle.handle_type == HANDLE_TYPE).ok_or(Errno::STALE)?;
    if origin::is_of_upper(inner) {
        let upper = overlay.decode_upper(inner)?.ok_or(Errno::STALE)?;
        return overlay.found_above(superblock, &upper);
    }
    let lower = overlay.decode_lower(inner)?.ok_or(Errno::STALE)?;
    let inode = real::inode_of(&lower.dentry)?;
    match overlay.index_entry(&inode)? {
        Some(entry) => overlay.found_in_index(superblock, lower, &entry),
        None => overlay.found_below(superblock, lower),
    }
}

impl Overlay {
    /// The overlay's dentry for one of the upper layer.
    fn found_above(self: &Arc<Self>, superblock: &Arc<SuperBlock>, upper: &Arc<Dentry>) -> Result<Arc<Dentry>> {
        let top = self.upper()?.root.dentry().clone();
        if upper.is_unlinked() {
            return self.found_open(superblock, upper);
        }
        self.by_path(superblock, upper, &top)
    }

    /// For a file without a name: only who has it open keeps it.
    fn found_open(self: &Arc<Self>, superblock: &Arc<SuperBlock>, upper: &Arc<Dentry>) -> Result<Arc<Dentry>> {
        let known = upper.inode().and_then(|inode| self.known(&inode)).ok_or(Errno::STALE)?;
        nameless(superblock, known)
    }

    /// What became of an indexed file.
    fn found_in_index(self: &Arc<Self>, superblock: &Arc<SuperBlock>, lower: Lower, entry: &Arc<Dentry>) -> Result<Arc<Dentry>> {
        let inode = real::inode_of(entry)?;
        if real::is_whiteout(&inode) {
            return Err(Errno::STALE);
        }
        if inode.file_type == FileType::Directory {
            let target = self.mark(&inode, super::marks::Mark::Upper)?.ok_or(Errno::STALE)?;
            let upper = self.decode_upper(&target)?.ok_or(Errno::STALE)?;
            return self.found_above(superblock, &upper);
        }
        let real = Real { upper: Some(entry.clone()), lowers: alloc::vec![lower], lacks_content: false, is_indexed: true };
        let inode = Node::make(self, superblock, real)?;
        let alias = Node::of(&inode)?.alias(&inode).filter(|alias| !alias.is_unlinked());
        alias.map_or_else(|| nameless(superblock, inode), Ok)
    }

    /// A file that is still where it was in its lower layer.
    fn found_below(self: &Arc<Self>, superblock: &Arc<SuperBlock>, lower: Lower) -> Result<Arc<Dentry>> {
        let top = self.layers.lowers.get(lower.layer).ok_or(Errno::STALE)?.path.dentry().clone();
        if let Ok(found) = self.by_path(superblock, &lower.dentry, &top) {
            return Ok(found);
        }
        // Its name is hidden, or another file has it: whoever has it open keeps it.
        let known = lower.dentry.inode().and_then(|inode| self.known(&inode)).ok_or(Errno::STALE)?;
        nameless(superblock, known)
    }

    /// Looks a layer's file up by its path from the layer's top. `ESTALE` if the overlay has something else there.
    fn by_path(&self, superblock: &Arc<SuperBlock>, file: &Arc<Dentry>, top: &Arc<Dentry>) -> Result<Arc<Dentry>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        if !file.visit_names(Some(top), &mut |name| names.push(name.to_vec())) {
            return Err(Errno::STALE);
        }
        let mut found = superblock.root_dentry().ok_or(Errno::STALE)?;
        for name in names.iter().rev() {
            found = walk::look_up(&found, name)?;
        }
        let real = Node::of(&*found.inode().ok_or(Errno::STALE)?)?.real();
        let wanted = real::inode_of(file)?;
        let parts = real.upper.iter().chain(real.lowers.iter().map(|lower| &lower.dentry));
        let is_part = parts.filter_map(|part| part.inode()).any(|inode| Arc::ptr_eq(&inode, &wanted));
        if is_part { Ok(found) } else { Err(Errno::STALE) }
    }
}

/// A dentry for a file whose name is not known.
fn nameless(superblock: &Arc<SuperBlock>, inode: Arc<Inode>) -> Result<Arc<Dentry>> {
    let root = superblock.root_dentry().ok_or(Errno::STALE)?;
    Ok(Dentry::new_unlinked(superblock, &root, inode, b"/".to_vec()))
}
