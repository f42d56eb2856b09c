//! What open directories list: their names are read from the layer once, and each is looked up when it is handed out.
//!
//! libfuse-fs itself reads and looks up all that is left of a directory for each request, of which the kernel takes a page: for
//! 10,000 names that is two million lookups, most of which nobody ever gives back.

use asyncfuse::Inode;
use asyncfuse::raw::reply::{DirectoryEntry, DirectoryEntryPlus};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open directory: its number, and the handle.
pub type Open = (Inode, u64);

/// The names of a directory in the order in which they are handed out.
pub struct Names {
    entries: Vec<DirectoryEntry>,
    /// The index behind each offset.
    behind: HashMap<i64, usize>,
}

struct Listing {
    names: Arc<Names>,
    /// Looked up, and not handed out for want of room: its index, and what was found.
    left_over: Option<(usize, DirectoryEntryPlus)>,
}

/// The listings of all open directories.
#[derive(Default)]
pub struct Listings(Mutex<HashMap<Open, Listing>>);

impl Names {
    /// All from an index on.
    pub fn from(&self, index: usize) -> &[DirectoryEntry] {
        self.entries.get(index..).unwrap_or_default()
    }
}

impl Listings {
    /// The names of a directory, and the index of the one behind `offset`; `None`: they must be read (again).
    pub fn behind(&self, open: Open, offset: i64) -> Option<(Arc<Names>, usize)> {
        // Offset 0 begins anew: rewinddir(3) shows what is there by then.
        let names = self.listings().get(&open).filter(|_| offset != 0)?.names.clone();
        let index = *names.behind.get(&offset)?;
        Some((names, index))
    }

    /// Takes names that were read. The second is what the former listing had left over.
    pub fn enter(&self, open: Open, entries: Vec<DirectoryEntry>) -> (Arc<Names>, Option<DirectoryEntryPlus>) {
        let behind = entries.iter().zip(1..).map(|(entry, next)| (entry.offset, next)).collect();
        let names = Arc::new(Names { entries, behind });
        let former = self.listings().insert(open, Listing { names: names.clone(), left_over: None });
        (names, former.and_then(|former| former.left_over).map(|(_, entry)| entry))
    }

    /// What was left over, and its index.
    pub fn take_left_over(&self, open: Open) -> Option<(usize, DirectoryEntryPlus)> {
        self.listings().get_mut(&open)?.left_over.take()
    }

    /// Notes what will be left over unless the next is asked for.
    pub fn set_left_over(&self, open: Open, index: usize, entry: DirectoryEntryPlus) {
        if let Some(listing) = self.listings().get_mut(&open) {
            listing.left_over = Some((index, entry));
        }
    }

    /// The directory is closed. Returns what was left over.
    pub fn close(&self, open: Open) -> Option<DirectoryEntryPlus> {
        self.listings().remove(&open)?.left_over.map(|(_, entry)| entry)
    }

    fn listings(&self) -> MutexGuard<'_, HashMap<Open, Listing>> {
        // Each change is one step: a thread that panicked left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
