//! The names of a directory of tmpfs, with offsets that stay what they are while other entries come and go.
//!
//! A listing begins with the entry that came last, as Linux does it: what is made meanwhile is not met, and what was met can be removed.

use crate::fs::Inode;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

/// What an entry adds to the size of its directory, as tmpfs of Linux shows it.
pub const ENTRY_SIZE_BYTES: u64 = 20;
/// Where the entries begin: 0 and 1 are `.` and `..`.
pub const FIRST_OFFSET: u64 = 2;
/// Behind the last entry.
pub const END_OFFSET: u64 = i32::MAX as u64;
/// The offset of the first entry that is made.
const LOWEST_OFFSET: u64 = 3;

struct Entry {
    inode: Arc<Inode>,
    offset: u64,
}

/// The entries of one directory.
pub struct Entries {
    by_name: BTreeMap<Arc<[u8]>, Entry>,
    by_offset: BTreeMap<u64, Arc<[u8]>>,
    next_offset: u64,
}

impl Default for Entries {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), by_offset: BTreeMap::new(), next_offset: LOWEST_OFFSET }
    }
}

impl Entries {
    /// The file of a name.
    pub fn get(&self, name: &[u8]) -> Option<Arc<Inode>> {
        self.by_name.get(name).map(|entry| entry.inode.clone())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Enters a name as the newest. What it named before is given back, to be dropped without a lock.
    pub fn insert(&mut self, name: &[u8], inode: Arc<Inode>) -> Option<Arc<Inode>> {
        let old = self.remove(name);
        let name: Arc<[u8]> = Arc::from(name);
        let offset = self.next_offset;
        self.next_offset += 1;
        self.by_offset.insert(offset, name.clone());
        self.by_name.insert(name, Entry { inode, offset });
        old
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Inode>> {
        let entry = self.by_name.remove(name)?;
        self.by_offset.remove(&entry.offset);
        Some(entry.inode)
    }

    /// The entry at `offset`, or the newest of those that are older: where it stands, its name, its file. [`FIRST_OFFSET`] means the
    /// newest of all.
    pub fn at_or_before(&self, offset: u64) -> Option<(u64, Arc<[u8]>, Arc<Inode>)> {
        let limit = match offset {
            FIRST_OFFSET => u64::MAX,
            END_OFFSET => 0,
            offset => offset,
        };
        let (&offset, name) = self.by_offset.range(..=limit).next_back()?;
        let entry = self.by_name.get(name)?;
        Some((offset, name.clone(), entry.inode.clone()))
    }

    /// The offset of the entry that follows the one at `offset` in a listing.
    pub fn after(&self, offset: u64) -> u64 {
        self.by_offset.range(..offset).next_back().map_or(END_OFFSET, |(&older, _)| older)
    }

    /// Takes all files out.
    pub fn take_all(&mut self) -> Vec<Arc<Inode>> {
        self.by_offset.clear();
        core::mem::take(&mut self.by_name).into_values().map(|entry| entry.inode).collect()
    }
}
