//! What an instance of tmpfs may hold: pages and inodes, to the page (`tmpfs(5)`: `size`, `nr_blocks`, `nr_inodes`).

use crate::errno::{Errno, Result};
use crate::mm::frame;
use crate::sync::SpinLock;

/// What one inode counts against the space for inodes, in bytes; extended attributes count there too.
const INODE_COST_BYTES: u64 = 1024;

/// Limits and what is used of them. A limit of 0 means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    max_pages: u64,
    used_pages: u64,
    max_inodes: u64,
    used_inode_bytes: u64,
}

/// The accounts of one instance.
pub struct Accounts {
    state: SpinLock<State>,
}

/// What `statfs(2)` and the options show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Usage {
    pub max_pages: u64,
    pub used_pages: u64,
    pub max_inodes: u64,
    pub free_inodes: u64,
}

impl Accounts {
    /// Empty accounts with these limits.
    pub fn new(max_pages: u64, max_inodes: u64) -> Self {
        Self { state: SpinLock::new(State { max_pages, used_pages: 0, max_inodes, used_inode_bytes: 0 }) }
    }

    /// Takes pages, all or none: `ENOSPC`.
    pub fn take_pages(&self, pages: u64) -> Result<()> {
        let mut state = self.state.lock();
        if state.max_pages != 0 && pages > state.max_pages.saturating_sub(state.used_pages) {
            return Err(Errno::NOSPC);
        }
        state.used_pages += pages;
        frame::count_cached(pages as i64);
        Ok(())
    }

    /// Gives pages back.
    pub fn give_back_pages(&self, pages: u64) {
        self.state.lock().used_pages -= pages;
        frame::count_cached(-(pages as i64));
    }

    /// Takes room for a new inode, or for another name of one: `ENOSPC`.
    pub fn take_inode(&self) -> Result<()> {
        self.take_inode_bytes(INODE_COST_BYTES)
    }

    /// Gives the room of [`Self::take_inode`] back.
    pub fn give_back_inode(&self) {
        self.give_back_inode_bytes(INODE_COST_BYTES);
    }

    /// Takes room in the space for inodes: `ENOSPC`.
    pub fn take_inode_bytes(&self, bytes: u64) -> Result<()> {
        let mut state = self.state.lock();
        let space = state.max_inodes.saturating_mul(INODE_COST_BYTES);
        if state.max_inodes != 0 && bytes > space.saturating_sub(state.used_inode_bytes) {
            return Err(Errno::NOSPC);
        }
        state.used_inode_bytes += bytes;
        Ok(())
    }

    /// Gives room back.
    pub fn give_back_inode_bytes(&self, bytes: u64) {
        self.state.lock().used_inode_bytes -= bytes;
    }

    /// Changes the limits (remount), as long as what is used fits and a limit neither comes nor goes: `EINVAL`.
    pub fn change_limits(&self, max_pages: Option<u64>, max_inodes: Option<u64>) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(pages) = max_pages.filter(|&pages| pages != 0)
            && (state.max_pages == 0 || pages < state.used_pages)
        {
            return Err(Errno::INVAL);
        }
        if let Some(inodes) = max_inodes.filter(|&inodes| inodes != 0)
            && (state.max_inodes == 0 || inodes.saturating_mul(INODE_COST_BYTES) < state.used_inode_bytes)
        {
            return Err(Errno::INVAL);
        }
        state.max_pages = max_pages.unwrap_or(state.max_pages);
        state.max_inodes = max_inodes.unwrap_or(state.max_inodes);
        Ok(())
    }

    /// The numbers now.
    pub fn usage(&self) -> Usage {
        let state = *self.state.lock();
        let free_bytes = state.max_inodes.saturating_mul(INODE_COST_BYTES).saturating_sub(state.used_inode_bytes);
        Usage {
            max_pages: state.max_pages,
            used_pages: state.used_pages,
            max_inodes: state.max_inodes,
            free_inodes: free_bytes / INODE_COST_BYTES,
        }
    }
}
