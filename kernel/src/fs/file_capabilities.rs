//! `security.capability`: the capabilities of a file (`capabilities(7)`, "File capability extended attribute versioning").
//!
//! A file keeps version 2, which counts for everybody below the namespace of its filesystem, or version 3, which names the user whose
//! namespaces it counts in. Programs in a user namespace write version 2 and get what is kept as version 3 with their own root; they
//! read that as version 2 again.

use crate::errno::{Errno, Result};
use crate::fs::{Inode, permission};
use crate::task::{Capabilities, Credentials, UserNamespace, current};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The attribute.
pub const NAME: &[u8] = b"security.capability";

const REVISION_MASK: u32 = 0xff00_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const EFFECTIVE: u32 = 1;

/// What the attribute says; nothing by default.
#[derive(Clone)]
pub struct FileCapabilities {
    /// The permitted set.
    pub permitted: Capabilities,
    /// The inheritable set.
    pub inheritable: Capabilities,
    /// Whether the permitted ones are effective at once.
    pub effective: bool,
    /// The sets as they are kept.
    words: [u32; 4],
    /// The root that version 3 names, as an id of the namespace that it was written in or is kept for.
    root: Option<u32>,
}

impl Default for FileCapabilities {
    fn default() -> Self {
        let none = Capabilities::empty();
        Self { permitted: none, inheritable: none, effective: false, words: [0; 4], root: None }
    }
}

impl FileCapabilities {
    /// `EINVAL` for anything else than the two versions.
    fn decode(value: &[u8]) -> Result<Self> {
        let (words, []) = value.as_chunks::<4>() else { return Err(Errno::INVAL) };
        let words: Vec<u32> = words.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let (magic, sets, root) = match *words {
            [magic, a, b, c, d] if magic & REVISION_MASK == REVISION_2 => (magic, [a, b, c, d], None),
            [magic, a, b, c, d, root] if magic & REVISION_MASK == REVISION_3 => (magic, [a, b, c, d], Some(root)),
            _ => return Err(Errno::INVAL),
        };
        let set = |low: u32, high: u32| Capabilities::from_bits_truncate(u64::from(high) << 32 | u64::from(low));
        let [permitted_low, inheritable_low, permitted_high, inheritable_high] = sets;
        Ok(Self {
            permitted: set(permitted_low, permitted_high),
            inheritable: set(inheritable_low, inheritable_high),
            effective: magic & EFFECTIVE != 0,
            words: sets,
            root,
        })
    }

    fn encode(&self, root: Option<u32>) -> Vec<u8> {
        let revision = if root.is_some() { REVISION_3 } else { REVISION_2 };
        let magic = revision | if self.effective { EFFECTIVE } else { 0 };
        let words = core::iter::once(magic).chain(self.words).chain(root);
        words.flat_map(u32::to_le_bytes).collect()
    }
}

/// Whether a user is root in a namespace or in one above it.
fn is_root_of(namespace: &Arc<UserNamespace>, uid: u32) -> bool {
    let mut namespace = Some(namespace);
    while let Some(here) = namespace {
        if here.uid_from_global(uid) == Some(0) {
            return true;
        }
        namespace = here.parent.as_ref();
    }
    false
}

/// The capabilities of a file that count for these credentials.
pub fn of(inode: &Arc<Inode>, credentials: &Credentials) -> Result<Option<FileCapabilities>> {
    let value = match inode.ops.get_xattr(inode, NAME) {
        Ok(value) => value,
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = FileCapabilities::decode(&value)?;
    let root = inode.superblock.owner.uid_to_global(found.root.unwrap_or(0));
    Ok(root.filter(|root| is_root_of(&credentials.user_namespace, *root)).map(|_| found))
}

/// What is kept of a value that the caller writes. `EPERM` without `CAP_SETFCAP` over the file.
pub fn written(inode: &Inode, value: &[u8]) -> Result<Vec<u8>> {
    let new = FileCapabilities::decode(value)?;
    let credentials = current().credentials();
    if !permission::capable_over(&credentials, &inode.ops.attributes(inode)?, Capabilities::SETFCAP) {
        return Err(Errno::PERM);
    }
    let owner = &inode.superblock.owner;
    if new.root.is_none() && credentials.capable_in(Capabilities::SETFCAP, owner) {
        return Ok(value.to_vec());
    }
    let root = credentials.user_namespace.uid_to_global(new.root.unwrap_or(0)).and_then(|root| owner.uid_from_global(root));
    root.map(|root| new.encode(Some(root))).ok_or(Errno::INVAL)
}

/// What the caller reads of a value that is kept. `EOVERFLOW` if its root is nobody here.
pub fn read(inode: &Inode, value: &[u8]) -> Result<Vec<u8>> {
    let found = FileCapabilities::decode(value)?;
    let root = inode.superblock.owner.uid_to_global(found.root.unwrap_or(0)).ok_or(Errno::OVERFLOW)?;
    let namespace = &current().credentials().user_namespace;
    match namespace.uid_from_global(root) {
        Some(shown) if shown != 0 => Ok(found.encode(Some(shown))),
        _ if is_root_of(namespace, root) => Ok(found.encode(None)),
        _ => Err(Errno::OVERFLOW),
    }
}
