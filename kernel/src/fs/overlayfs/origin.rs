//! Which file a file of the upper layer was copied from: it keeps that one's number, also when the overlay is mounted again.
//!
//! The mark holds a file handle with a header, as Linux lays it out (`struct ovl_fb`): version, magic, length of all, flags, type of the
//! handle, sixteen bytes that tell file systems apart, and the handle itself.

use super::marks::Mark;
use super::node::Lower;
use super::{Overlay, real};
use crate::errno::Result;
use crate::fs::handle::FileHandle;
use crate::fs::{Dentry, Inode, SuperBlock};
use alloc::{sync::Arc, vec::Vec};

const VERSION: u8 = 0;
const MAGIC: u8 = 0xfb;
const UUID_BYTES: usize = 16;
const HEADER_BYTES: usize = 5 + UUID_BYTES;
/// The flag of a file of the upper layer.
const OF_UPPER: u8 = 1 << 2;

/// File systems here have no number that outlives them; their key is never used again.
fn uuid_of(superblock: &SuperBlock) -> [u8; UUID_BYTES] {
    (u128::from(superblock.key)).to_le_bytes()
}

/// The value for a file of a layer, the upper or a lower one; `None` where the file system has no handles.
pub fn encode(inode: &Arc<Inode>, is_upper: bool) -> Option<Vec<u8>> {
    let handle = inode.superblock.ops.encode_handle(inode)?;
    let len = u8::try_from(HEADER_BYTES + handle.bytes.len()).ok()?;
    let header = [VERSION, MAGIC, len, if is_upper { OF_UPPER } else { 0 }, handle.handle_type as u8];
    Some([&header[..], &uuid_of(&inode.superblock), &handle.bytes].concat())
}

/// Whether a value is of a file of the upper layer.
pub fn is_of_upper(value: &[u8]) -> bool {
    value.get(3).is_some_and(|flags| flags & OF_UPPER != 0)
}

/// Its parts: the file system and the handle. Zeros may follow.
fn parse(value: &[u8]) -> Option<(&[u8], FileHandle)> {
    let &[VERSION, MAGIC, len, _flags, handle_type] = value.get(..5)? else { return None };
    let (uuid, bytes) = value.get(..usize::from(len))?.get(5..)?.split_at_checked(UUID_BYTES)?;
    Some((uuid, FileHandle { handle_type: i32::from(handle_type), bytes: bytes.to_vec() }))
}

impl Overlay {
    /// Lets `upper` remember that it is a copy of `lower`. Only its number is lost where that cannot be written down.
    pub fn remember_origin(&self, upper: &Arc<Inode>, lower: &Arc<Inode>) {
        if let Some(value) = encode(lower, false) {
            let _ = self.set_mark(upper, Mark::Origin, &value);
        }
    }

    /// The file of a lower layer that `upper` was copied from, if it is still there.
    pub fn origin_of(&self, upper: &Arc<Inode>) -> Result<Option<Lower>> {
        let Some(value) = self.mark(upper, Mark::Origin)? else { return Ok(None) };
        let found = self.decode_lower(&value)?;
        Ok(found.filter(|lower| lower.dentry.inode().is_some_and(|inode| inode.file_type == upper.file_type)))
    }

    /// The file of a lower layer that a value stands for.
    pub fn decode_lower(&self, value: &[u8]) -> Result<Option<Lower>> {
        let Some((uuid, handle)) = parse(value) else { return Ok(None) };
        for (layer, lower) in self.layers.lowers.iter().enumerate() {
            let superblock = &real::inode_of(lower.path.dentry())?.superblock;
            if uuid_of(superblock) != *uuid {
                continue;
            }
            let Ok(dentry) = superblock.ops.decode_handle(superblock, &handle) else { return Ok(None) };
            // Several layers may lie on one file system.
            if dentry.is_below(lower.path.dentry()) {
                return Ok(Some(Lower { layer, dentry }));
            }
        }
        Ok(None)
    }

    /// The file of the upper layer that a value stands for.
    pub fn decode_upper(&self, value: &[u8]) -> Result<Option<Arc<Dentry>>> {
        let Some((uuid, handle)) = parse(value) else { return Ok(None) };
        let superblock = &real::inode_of(self.upper()?.root.dentry())?.superblock;
        if uuid_of(superblock) != *uuid {
            return Ok(None);
        }
        Ok(superblock.ops.decode_handle(superblock, &handle).ok())
    }
}
