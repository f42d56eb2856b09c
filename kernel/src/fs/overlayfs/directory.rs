//! Open directories: what all layers list, each name once, without what whiteouts hide.

use super::Overlay;
use super::marks::Mark;
use super::node::{Node, Real};
use super::real::{self, Listed};
use crate::errno::{Errno, Result};
use crate::fs::{FileOps, FileType, Inode, OpenFile, Path, walk};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

/// An open directory of the overlay: its entries as they were when the listing began.
pub struct MergedDirectory {
    entries: SpinLock<Option<Arc<Vec<Listed>>>>,
}

impl MergedDirectory {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self { entries: SpinLock::new(None) }
    }
}

impl Overlay {
    /// The entries of a directory, those of upper layers first.
    pub fn entries(&self, directory: &Real) -> Result<Vec<Listed>> {
        let upper = directory.upper.iter().map(|dentry| Ok((0, self.upper()?.root.at(dentry.clone()))));
        let lowers = directory.lowers.iter().map(|lower| {
            let layer = self.layers.lowers.get(lower.layer).ok_or(Errno::STALE)?;
            Ok((layer.file_system, layer.path.at(lower.dentry.clone())))
        });
        let places = upper.chain(lowers).collect::<Result<Vec<(usize, Path)>>>()?;
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut entries = Vec::new();
        for (file_system, place) in &places {
            let top = real::inode_of(place.dentry())?;
            let has_marked_whiteouts = self.mark(&top, Mark::Opaque)?.as_deref() == Some(b"x");
            for mut entry in real::list(place.clone(), &self.mounter)? {
                if !seen.insert(entry.name.clone()) {
                    continue;
                }
                let may_hide = entry.file_type == FileType::CharDevice || (has_marked_whiteouts && entry.file_type == FileType::Regular);
                if may_hide && self.is_hidden(place, &entry)? {
                    continue;
                }
                let shown = self.mapped_number(*file_system, entry.number, entry.file_type == FileType::Directory);
                entry.number = shown.map_or(entry.number, |(_, number)| number);
                entries.try_reserve(1).map_err(|_| Errno::NOMEM)?;
                entries.push(entry);
            }
        }
        self.number_by_origin(directory, &mut entries)?;
        Ok(entries)
    }

    fn is_hidden(&self, place: &Path, entry: &Listed) -> Result<bool> {
        let child = walk::look_up(place.dentry(), &entry.name)?;
        child.inode().map_or(Ok(false), |inode| self.hides(&inode))
    }

    /// In a directory of the upper layer that something was copied to, entries have the numbers of what they were copied from.
    fn number_by_origin(&self, directory: &Real, entries: &mut [Listed]) -> Result<()> {
        let Some(upper) = &directory.upper else { return Ok(()) };
        if !directory.is_in_lower() && !self.is_marked(&real::inode_of(upper)?, Mark::Impure)? {
            return Ok(());
        }
        for entry in entries {
            let found = walk::look_up(upper, &entry.name)?;
            if found.inode().is_none() || (entry.file_type == FileType::Directory && !self.maps_directories()) {
                continue;
            }
            // What cannot be looked up keeps the number that its layer lists.
            if let Ok(Some(real)) = self.find(directory, &entry.name) {
                entry.number = self.identity(&real)?.1;
            }
        }
        Ok(())
    }
}

impl FileOps for MergedDirectory {
    fn read(&self, _file: &OpenFile, _buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::ISDIR)
    }

    fn seek(&self, _file: &OpenFile, position: u64, offset: i64, whence: u32) -> Option<Result<u64>> {
        Some(crate::fs::io::seek_directory(position, offset, whence))
    }

    fn read_directory(&self, file: &OpenFile, position: u64, emit: &mut dyn FnMut(&[u8], u64, FileType, u64) -> bool) -> Result<u64> {
        let node = Node::of(&file.inode)?;
        let kept = self.entries.lock().clone();
        let entries = match kept.filter(|_| position != 0) {
            Some(entries) => entries,
            None => {
                let entries = Arc::new(node.overlay.entries(&node.real())?);
                let old = self.entries.lock().replace(entries.clone());
                drop(old);
                entries
            }
        };
        let own = shown_number(&file.inode);
        let dentry = file.path.dentry();
        let mut position = position;
        for (dots, name) in [(0, &b"."[..]), (1, b"..")] {
            if position == dots {
                let parent = dentry.parent().and_then(|parent| parent.inode()).filter(|_| dots == 1);
                if !emit(name, parent.map_or(own, |parent| shown_number(&parent)), FileType::Directory, dots + 1) {
                    return Ok(position);
                }
                position = dots + 1;
            }
        }
        let first = usize::try_from(position - 2).unwrap_or(usize::MAX);
        for entry in entries.iter().skip(first) {
            // A file that is known has its number for as long as it is, wherever it lies by now.
            let known = dentry.cached_child(&entry.name).and_then(|child| child.inode()).map(|inode| shown_number(&inode));
            let number = known.unwrap_or(entry.number);
            if !emit(&entry.name, number, entry.file_type, position + 1) {
                return Ok(position);
            }
            position += 1;
        }
        Ok(position)
    }

    fn sync(&self, _file: &OpenFile, _data_only: bool) -> Result<()> {
        Ok(())
    }
}

fn shown_number(inode: &Inode) -> u64 {
    inode.ops.shown_identity(inode).1
}
