//! Marks: the extended attributes that overlayfs keeps for itself in the layers, and how it hides them from programs.
//!
//! Their prefix is `trusted.overlay.`, with `userxattr` `user.overlay.`. What a program sets under that prefix gets a second `overlay.` in
//! the layer, so that an overlay in an overlay can keep its own.

use super::{Overlay, real};
use crate::errno::{Errno, Result};
use crate::fs::{FileType, Inode};
use crate::task::Capabilities;
use alloc::{sync::Arc, vec::Vec};

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// On a directory, `y`: nothing of lower layers shows through; `x`: attributes make whiteouts in it.
    Opaque,
    /// The name or path that the file has in lower layers.
    Redirect,
    /// The file that this one was copied from.
    Origin,
    /// On a directory: something was copied into it, so that numbers of its entries are not the layer's.
    Impure,
    /// On the top: the number of the overlay.
    Uuid,
    /// On an empty file: it hides the name.
    Whiteout,
    /// The content is still in a lower layer.
    Metacopy,
    /// On the index and its entries for directories: the directory of the upper layer.
    Upper,
    /// How many names an indexed file has in the overlay, as a difference to what the upper layer counts.
    Nlink,
}

const ESCAPE: &[u8] = b"overlay.";

impl Mark {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Opaque => b"opaque",
            Self::Redirect => b"redirect",
            Self::Origin => b"origin",
            Self::Impure => b"impure",
            Self::Uuid => b"uuid",
            Self::Whiteout => b"whiteout",
            Self::Metacopy => b"metacopy",
            Self::Upper => b"upper",
            Self::Nlink => b"nlink",
        }
    }
}

impl Overlay {
    fn mark_prefix(&self) -> &'static [u8] {
        if self.options.user_marks { b"user.overlay." } else { b"trusted.overlay." }
    }

    /// The value of a mark of a layer's file.
    pub fn mark(&self, inode: &Arc<Inode>, mark: Mark) -> Result<Option<Vec<u8>>> {
        real::xattr(inode, &[self.mark_prefix(), mark.name()].concat())
    }

    /// Whether a layer's file has a mark.
    pub fn is_marked(&self, inode: &Arc<Inode>, mark: Mark) -> Result<bool> {
        Ok(self.mark(inode, mark)?.is_some())
    }

    /// Sets a mark. `EPERM` where the mounter may not (`xattr(7)`): those of the trusted kind need privilege in the first user namespace.
    pub fn set_mark(&self, inode: &Arc<Inode>, mark: Mark, value: &[u8]) -> Result<()> {
        let allowed = if self.options.user_marks {
            matches!(inode.file_type, FileType::Regular | FileType::Directory)
        } else {
            self.mounter.capable(Capabilities::SYS_ADMIN)
        };
        if allowed { real::set_xattr(inode, &[self.mark_prefix(), mark.name()].concat(), value, 0) } else { Err(Errno::PERM) }
    }

    /// Takes a mark away, if it is there.
    pub fn remove_mark(&self, inode: &Arc<Inode>, mark: Mark) -> Result<()> {
        match real::remove_xattr(inode, &[self.mark_prefix(), mark.name()].concat()) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            outcome => outcome,
        }
    }

    /// What the attribute that a program calls `name` is called in a layer.
    pub fn name_in_layer(&self, name: &[u8]) -> Vec<u8> {
        match name.strip_prefix(self.mark_prefix()) {
            Some(rest) => [self.mark_prefix(), ESCAPE, rest].concat(),
            None => name.to_vec(),
        }
    }

    /// What programs call the attribute `name` of a layer; `None` for marks.
    pub fn shown_name(&self, name: &[u8]) -> Option<Vec<u8>> {
        match name.strip_prefix(self.mark_prefix()) {
            None => Some(name.to_vec()),
            Some(rest) => rest.strip_prefix(ESCAPE).map(|rest| [self.mark_prefix(), rest].concat()),
        }
    }
}
