//! File handles: names of files that outlive paths and descriptors (`name_to_handle_at(2)`, `open_by_handle_at(2)`).
//!
//! A filesystem makes and finds them by two methods of [`SuperBlockOps`](crate::fs::superblock::SuperBlockOps); one that has neither can
//! still give out handles that only identify (`AT_HANDLE_FID`).

use crate::errno::{Errno, Result};
use crate::fs::open::{self, OpenHow};
use crate::fs::{Inode, OpenFile, Path};
use crate::task::{Capabilities, current};
use alloc::{sync::Arc, vec::Vec};

/// Most bytes that a handle may have (`MAX_HANDLE_SZ`).
pub const MAX_HANDLE_BYTES: u32 = 128;
/// `handle_type` of what is no handle: the caller's room was too small (`FILEID_INVALID`).
pub const INVALID_TYPE: i32 = 0xff;
/// `FILEID_INO64_GEN`: inode number and generation.
pub const INODE_64_TYPE: i32 = 0x81;
/// `FILEID_INO32_GEN`, the type that tmpfs gives to generation and 64-bit inode number.
pub const INODE_32_TYPE: i32 = 1;

/// What follows `handle_bytes` in a `struct file_handle`. Only the filesystem that made it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHandle {
    /// `handle_type`.
    pub handle_type: i32,
    /// `f_handle`: a multiple of 4 bytes, at most [`MAX_HANDLE_BYTES`].
    pub bytes: Vec<u8>,
}

impl FileHandle {
    /// A handle made of 32-bit words, as all filesystems of Linux make theirs.
    pub fn from_words(handle_type: i32, words: &[u32]) -> Self {
        Self { handle_type, bytes: words.iter().flat_map(|word| word.to_ne_bytes()).collect() }
    }

    /// The whole words of the handle.
    pub fn words(&self) -> Vec<u32> {
        self.bytes.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]])).collect()
    }
}

/// The handle of a file. `identifying`: it need not lead back to the file (`AT_HANDLE_FID`). `EOPNOTSUPP`.
pub fn encode(inode: &Arc<Inode>, identifying: bool) -> Result<FileHandle> {
    if let Some(handle) = inode.superblock.ops.encode_handle(inode) {
        return Ok(handle);
    }
    if !identifying {
        return Err(Errno::OPNOTSUPP);
    }
    let words = [inode.number as u32, (inode.number >> 32) as u32, 0];
    Ok(FileHandle::from_words(INODE_64_TYPE, &words))
}

/// Opens the file of a handle as seen through the mount of `root`. `EPERM` without `CAP_DAC_READ_SEARCH` over the machine; `ESTALE` for a
/// handle that leads nowhere.
pub fn open(root: &Path, handle: &FileHandle, how: OpenHow) -> Result<Arc<OpenFile>> {
    let superblock = root.inode().ok_or(Errno::STALE)?.superblock.clone();
    let found = superblock.ops.decode_handle(&superblock, handle);
    let dentry = found.map_err(|error| if error == Errno::NOMEM { error } else { Errno::STALE })?;
    open::open_unnamed_place(root.at(dentry), how)
}

/// Whether the current thread may open by handle at all: no directory on the way is asked for permission.
pub fn may_decode() -> Result<()> {
    if current().credentials().capable(Capabilities::DAC_READ_SEARCH) { Ok(()) } else { Err(Errno::PERM) }
}
