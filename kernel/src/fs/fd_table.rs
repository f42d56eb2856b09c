//! Descriptors: numbers that lead to open files. Shared by `CLONE_FILES`.

use crate::errno::{Errno, Result};
use crate::fs::OpenFile;
use crate::sync::SpinLock;
use alloc::{sync::Arc, vec::Vec};

/// A descriptor number, as programs pass it.
pub type Fd = i32;

struct Slot {
    file: Arc<OpenFile>,
    close_on_exec: bool,
}

/// The table of a process. Files taken out are returned, to be dropped after the lock is released (a drop may block).
pub struct FdTable {
    slots: SpinLock<Vec<Option<Slot>>>,
}

#[allow(missing_docs, unused_variables)]
impl FdTable {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { slots: SpinLock::new(Vec::new()) })
    }
    /// The open file; `EBADF` if there is none.
    pub fn get(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        let slots = self.slots.lock();
        let slot = usize::try_from(fd).ok().and_then(|fd| slots.get(fd)).and_then(Option::as_ref);
        slot.map(|slot| slot.file.clone()).ok_or(Errno::BADF)
    }
    /// The lowest free number from `minimum` on; `EMFILE` at the caller's `RLIMIT_NOFILE` (`limit`).
    pub fn insert(&self, file: Arc<OpenFile>, close_on_exec: bool, minimum: Fd, limit: u64) -> Result<Fd> {
        todo!()
    }
    /// Puts `file` at `fd` (`dup2`), giving back what was there.
    pub fn replace(&self, fd: Fd, file: Arc<OpenFile>, close_on_exec: bool, limit: u64) -> Result<Option<Arc<OpenFile>>> {
        todo!()
    }
    pub fn remove(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        todo!()
    }
    pub fn close_on_exec(&self, fd: Fd) -> Result<bool> {
        todo!()
    }
    pub fn set_close_on_exec(&self, fd: Fd, value: bool) -> Result<()> {
        todo!()
    }
    /// A copy for fork.
    pub fn duplicate(&self) -> Result<Arc<Self>> {
        todo!()
    }
    /// Takes out what exec closes.
    pub fn take_close_on_exec(&self) -> Vec<Arc<OpenFile>> {
        todo!()
    }
    /// All open numbers, in order, for `/proc/PID/fd` and `close_range`.
    pub fn open_numbers(&self) -> Vec<Fd> {
        todo!()
    }
}
