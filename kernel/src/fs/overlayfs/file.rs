//! Open regular files: the layer's own, opened below. A file that was opened for reading follows when the file comes to the upper layer.

use super::copy_up::{self, Content};
use super::node::Node;
use super::real;
use crate::errno::Result;
use crate::fs::file::FileMapping;
use crate::fs::permission::Access;
use crate::fs::{FileOps, Inode, OpenFile, OpenFlags, attributes};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use alloc::sync::Arc;

/// An open regular file of the overlay.
pub struct OverlayFile {
    /// What was opened: mappings are made of that.
    opened: Arc<OpenFile>,
    below: SpinLock<Arc<OpenFile>>,
}

impl OverlayFile {
    /// Opens a file; for writing it must be in the upper layer.
    pub fn open(inode: &Arc<Inode>, flags: OpenFlags) -> Result<Self> {
        let node = Node::of(inode)?;
        let mut access = Access::empty();
        access.set(Access::READ, flags.readable());
        access.set(Access::WRITE, flags.writable());
        if flags.writable() || flags.contains(OpenFlags::TRUNC) {
            copy_up::file(inode, if flags.contains(OpenFlags::TRUNC) { Content::None } else { Content::All })?;
        }
        node.check_below(access)?;
        let opened = real::open(node.content_place()?, flags, &node.overlay.mounter)?;
        Ok(Self { below: SpinLock::new(opened.clone()), opened })
    }

    /// The layer's open file: that of the upper layer once the file has come there.
    fn below(&self, file: &OpenFile) -> Result<Arc<OpenFile>> {
        let below = self.below.lock().clone();
        let node = Node::of(&file.inode)?;
        let flags = file.flags();
        let place = node.content_place()?;
        if place.inode().is_some_and(|inode| Arc::ptr_eq(&inode, &below.inode)) {
            let changing = OpenFlags::APPEND | OpenFlags::NONBLOCK | OpenFlags::DIRECT;
            below.change_flags(changing, flags & changing);
            return Ok(below);
        }
        let opened = real::open(place, flags, &node.overlay.mounter)?;
        let old = core::mem::replace(&mut *self.below.lock(), opened.clone());
        drop(old);
        Ok(opened)
    }
}

impl FileOps for OverlayFile {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        let below = self.below(file)?;
        let count = below.ops.read(&below, buffer, offset)?;
        // Lower layers are never written to, not even a time.
        if !file.flags().contains(OpenFlags::NOATIME) && Node::of(&file.inode)?.upper().is_some() {
            attributes::touch_accessed(&file.path, &below.inode);
        }
        Ok(count)
    }

    fn write(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: &mut u64) -> Result<usize> {
        let below = self.below(file)?;
        below.ops.write(&below, buffer, offset)
    }

    fn seek(&self, file: &OpenFile, position: u64, offset: i64, whence: u32) -> Option<Result<u64>> {
        match self.below(file) {
            Ok(below) => below.ops.seek(&below, position, offset, whence),
            Err(error) => Some(Err(error)),
        }
    }

    fn mapping(&self, _file: &OpenFile) -> Option<FileMapping> {
        // A mapping stays with the file that was opened, wherever that goes.
        let below = &self.opened;
        below.ops.mapping(below).or_else(|| below.inode.ops.pages(&below.inode).map(FileMapping::Pages))
    }

    fn sync(&self, file: &OpenFile, data_only: bool) -> Result<()> {
        let below = self.below(file)?;
        below.ops.sync(&below, data_only)
    }

    fn allocate(&self, file: &OpenFile, mode: u32, offset: u64, len_bytes: u64) -> Result<()> {
        let below = self.below(file)?;
        below.ops.allocate(&below, mode, offset, len_bytes)
    }

    fn flush(&self, file: &OpenFile) -> Result<()> {
        let below = self.below(file)?;
        below.ops.flush(&below)
    }
}
