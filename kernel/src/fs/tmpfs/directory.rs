//! The names of a directory of tmpfs, with offsets that stay what they are while other entries come and go.

use crate::fs::Inode;
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

/// What an entry adds to the size of its directory, as tmpfs of Linux shows it.
pub const ENTRY_SIZE_BYTES: u64 = 20;
/// Offsets 0 and 1 are `.` and `..`.
const FIRST_OFFSET: u64 = 2;

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
        Self { by_name: BTreeMap::new(), by_offset: BTreeMap::new(), next_offset: FIRST_OFFSET }
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

    /// Enters a name at the end. What it named before is given back, to be dropped without a lock.
    pub fn insert(&mut self, name: &[u8], inode: Arc<Inode>) -> Option<Arc<Inode>> {
        let old = self.remove(name);
        let name: Arc<[u8]> = Arc::from(name);
        let offset = self.next_offset;
        self.next_offset += 1;
        self.by_offset.insert(offset, name.clone());
        self.by_name.insert(name, Entry { inode, offset });
        old
    }

    /// Lets a name lead to another file, at the same offset. Gives the old one back.
    pub fn replace(&mut self, name: &[u8], inode: Arc<Inode>) -> Option<Arc<Inode>> {
        self.by_name.get_mut(name).map(|entry| core::mem::replace(&mut entry.inode, inode))
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Inode>> {
        let entry = self.by_name.remove(name)?;
        self.by_offset.remove(&entry.offset);
        Some(entry.inode)
    }

    /// The first entry at or after `offset`: where it stands, its name, its file.
    pub fn at_or_after(&self, offset: u64) -> Option<(u64, Arc<[u8]>, Arc<Inode>)> {
        let (&offset, name) = self.by_offset.range(offset.max(FIRST_OFFSET)..).next()?;
        let entry = self.by_name.get(name)?;
        Some((offset, name.clone(), entry.inode.clone()))
    }

    /// Takes all files out.
    pub fn take_all(&mut self) -> Vec<Arc<Inode>> {
        self.by_offset.clear();
        core::mem::take(&mut self.by_name).into_values().map(|entry| entry.inode).collect()
    }
}
