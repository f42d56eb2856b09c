//! Which file a file of the upper layer was copied from: it keeps that one's number, also when the overlay is mounted again.
//!
//! The mark holds a file handle with a header, as Linux lays it out (`struct ovl_fb`): version, magic, length of all, flags, type of the
//! handle, sixteen bytes that tell file systems apart, and the handle itself.

use super::marks::Mark;
use super::node::Lower;
use super::{Overlay, real};
use crate::errno::Result;
use crate::fs::handle::FileHandle;
use crate::fs::{Inode, SuperBlock};
use alloc::{sync::Arc, vec::Vec};

const VERSION: u8 = 0;
const MAGIC: u8 = 0xfb;
const UUID_BYTES: usize = 16;
const HEADER_BYTES: usize = 5 + UUID_BYTES;

/// File systems here have no number that outlives them; their key is never used again.
fn uuid_of(superblock: &SuperBlock) -> [u8; UUID_BYTES] {
    (u128::from(superblock.key)).to_le_bytes()
}

/// The value for a file of a layer; `None` where the file system has no handles.
fn encode(inode: &Arc<Inode>) -> Option<Vec<u8>> {
    let handle = inode.superblock.ops.encode_handle(inode)?;
    let len = u8::try_from(HEADER_BYTES + handle.bytes.len()).ok()?;
    let header = [VERSION, MAGIC, len, 0, handle.handle_type as u8];
    Some([&header[..], &uuid_of(&inode.superblock), &handle.bytes].concat())
}

/// Its parts: the file system and the handle.
fn parse(value: &[u8]) -> Option<(&[u8], FileHandle)> {
    let &[VERSION, MAGIC, len, _flags, handle_type] = value.get(..5)? else { return None };
    let (uuid, bytes) = value.get(5..)?.split_at_checked(UUID_BYTES)?;
    (usize::from(len) == value.len()).then(|| (uuid, FileHandle { handle_type: i32::from(handle_type), bytes: bytes.to_vec() }))
}

impl Overlay {
    /// Lets `upper` remember that it is a copy of `lower`. Only its number is lost where that cannot be written down.
    pub fn remember_origin(&self, upper: &Arc<Inode>, lower: &Arc<Inode>) {
        if let Some(value) = encode(lower) {
            let _ = self.set_mark(upper, Mark::Origin, &value);
        }
    }

    /// The file of a lower layer that `upper` was copied from, if it is still there.
    pub fn origin_of(&self, upper: &Arc<Inode>) -> Result<Option<Lower>> {
        let Some(value) = self.mark(upper, Mark::Origin)? else { return Ok(None) };
        let Some((uuid, handle)) = parse(&value) else { return Ok(None) };
        for (layer, lower) in self.layers.lowers.iter().enumerate() {
            let superblock = &real::inode_of(lower.path.dentry())?.superblock;
            if uuid_of(superblock) == *uuid {
                let found = superblock.ops.decode_handle(superblock, &handle).ok();
                let is_same_type = |inode: Arc<Inode>| inode.file_type == upper.file_type;
                return Ok(found.filter(|found| found.inode().is_some_and(is_same_type)).map(|dentry| Lower { layer, dentry }));
            }
        }
        Ok(None)
    }
}
