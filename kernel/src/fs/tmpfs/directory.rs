//! The names of a directory of tmpfs, with offsets that stay what they are while other entries come and go.
//!
//! A listing begins with the entry that came last, as Linux does it: what is made meanwhile is not met, and what was met can be removed.

use crate::fs::{FileType, Inode};
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

/// What a listing shows of an entry.
pub struct Listed {
    /// Where it stands.
    pub offset: u64,
    /// Its name.
    pub name: Arc<[u8]>,
    /// The number of its file.
    pub number: u64,
    /// The type of its file.
    pub file_type: FileType,
}

/// The entries of one directory.
pub struct Entries {
    by_name: BTreeMap<Arc<[u8]>, Entry>,
    by_offset: BTreeMap<u64, (Arc<[u8]>, Arc<Inode>)>,
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
        self.by_offset.insert(offset, (name.clone(), inode.clone()));
        self.by_name.insert(name, Entry { inode, offset });
        old
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Inode>> {
        let entry = self.by_name.remove(name)?;
        self.by_offset.remove(&entry.offset);
        Some(entry.inode)
    }

    /// Where the newest entry stands.
    pub fn newest(&self) -> u64 {
        self.by_offset.keys().next_back().copied().unwrap_or(END_OFFSET)
    }

    /// The entry at `offset`, or the newest of those that are older, and what follows it, `count` entries at most. [`FIRST_OFFSET`]
    /// means the newest of all. The second value is the offset of the entry behind the last one.
    pub fn list(&self, offset: u64, count: usize) -> (Vec<Listed>, u64) {
        let limit = match offset {
            FIRST_OFFSET => u64::MAX,
            END_OFFSET => 0,
            offset => offset,
        };
        let mut older = self.by_offset.range(..=limit).rev();
        let listed = older.by_ref().take(count).map(|(&offset, (name, inode))| Listed {
            offset,
            name: name.clone(),
            number: inode.number,
            file_type: inode.file_type,
        });
        let listed = listed.collect();
        (listed, older.next().map_or(END_OFFSET, |(&offset, _)| offset))
    }

    /// Takes all files out.
    pub fn take_all(&mut self) -> Vec<Arc<Inode>> {
        self.by_offset.clear();
        core::mem::take(&mut self.by_name).into_values().map(|entry| entry.inode).collect()
    }
}
