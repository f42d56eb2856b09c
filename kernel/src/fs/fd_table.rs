//! Descriptors: numbers that lead to open files. Shared by `CLONE_FILES`.

use crate::errno::{Errno, Result};
use crate::fs::{OpenFile, lock};
use crate::sync::SpinLock;
use alloc::{sync::Arc, vec::Vec};

/// A descriptor number, as programs pass it.
pub type Fd = i32;

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    close_on_exec: bool,
}

/// The table of a process. Files taken out are returned, to be dropped after the lock is released (a drop may block).
pub struct FdTable {
    slots: SpinLock<Vec<Option<Slot>>>,
}

impl FdTable {
    /// An empty table.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { slots: SpinLock::new(Vec::new()) })
    }

    /// The open file; `EBADF` if there is none.
    pub fn get(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        self.with_slot(fd, |slot| slot.file.clone())
    }

    /// The lowest free number from `minimum` on; `EMFILE` at the caller's `RLIMIT_NOFILE` (`limit`).
    pub fn insert(&self, file: Arc<OpenFile>, close_on_exec: bool, minimum: Fd, limit: u64) -> Result<Fd> {
        let mut slots = self.slots.lock();
        let minimum = usize::try_from(minimum).map_err(|_| Errno::INVAL)?;
        let free = slots.iter().skip(minimum).position(Option::is_none).map_or(slots.len().max(minimum), |index| minimum + index);
        let number = number_below(free, limit).ok_or(Errno::MFILE)?;
        grow_to(&mut slots, free + 1)?;
        slots[free] = Some(Slot { file, close_on_exec });
        Ok(number)
    }

    /// Whether there is a free number below `limit`: `EMFILE`. A call that makes things asks before it makes them.
    pub fn require_room(&self, limit: u64) -> Result<()> {
        let slots = self.slots.lock();
        let free = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        number_below(free, limit).map(|_| ()).ok_or(Errno::MFILE)
    }

    /// Puts `file` at `fd` (`dup2`), giving back what was there. `EBADF` at or above `limit`.
    pub fn replace(&self, fd: Fd, file: Arc<OpenFile>, close_on_exec: bool, limit: u64) -> Result<Option<Arc<OpenFile>>> {
        let index = usize::try_from(fd).map_err(|_| Errno::BADF)?;
        number_below(index, limit).ok_or(Errno::BADF)?;
        let mut slots = self.slots.lock();
        if slots.len() <= index {
            grow_to(&mut slots, index + 1)?;
        }
        Ok(slots[index].replace(Slot { file, close_on_exec }).map(|slot| slot.file))
    }

    /// Takes a file out without closing it. `EBADF` if there is none.
    pub fn remove(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        let index = usize::try_from(fd).map_err(|_| Errno::BADF)?;
        let taken = self.slots.lock().get_mut(index).and_then(Option::take);
        taken.map(|slot| slot.file).ok_or(Errno::BADF)
    }

    /// `close(2)`: the descriptor is gone whatever the filesystem answers.
    pub fn close(&self, fd: Fd) -> Result<()> {
        let file = self.remove(fd)?;
        let result = file.descriptor_closed();
        lock::close_descriptor(&file.inode, self);
        result
    }

    /// Whether exec closes it.
    pub fn close_on_exec(&self, fd: Fd) -> Result<bool> {
        self.with_slot(fd, |slot| slot.close_on_exec)
    }

    /// `FD_CLOEXEC`.
    pub fn set_close_on_exec(&self, fd: Fd, value: bool) -> Result<()> {
        self.with_slot(fd, |slot| slot.close_on_exec = value)
    }

    /// A copy for fork.
    pub fn duplicate(&self) -> Result<Arc<Self>> {
        let slots = self.slots.lock();
        let mut copy = Vec::new();
        copy.try_reserve_exact(slots.len()).map_err(|_| Errno::NOMEM)?;
        copy.extend(slots.iter().cloned());
        Ok(Arc::new(Self { slots: SpinLock::new(copy) }))
    }

    /// Takes out what exec closes. The caller tells each with [`OpenFile::descriptor_closed`].
    pub fn take_close_on_exec(&self) -> Vec<Arc<OpenFile>> {
        let closing: Vec<_> = {
            let mut slots = self.slots.lock();
            let closing = slots.iter_mut().filter(|slot| slot.as_ref().is_some_and(|slot| slot.close_on_exec));
            closing.filter_map(Option::take).map(|slot| slot.file).collect()
        };
        closing.iter().for_each(|file| lock::close_descriptor(&file.inode, self));
        closing
    }

    /// All open numbers, in order, for `/proc/PID/fd` and `close_range`.
    pub fn open_numbers(&self) -> Vec<Fd> {
        let slots = self.slots.lock();
        slots.iter().enumerate().filter(|(_, slot)| slot.is_some()).map(|(index, _)| index as Fd).collect()
    }

    fn with_slot<T>(&self, fd: Fd, use_slot: impl FnOnce(&mut Slot) -> T) -> Result<T> {
        let mut slots = self.slots.lock();
        let slot = usize::try_from(fd).ok().and_then(|fd| slots.get_mut(fd)).and_then(Option::as_mut);
        slot.map(use_slot).ok_or(Errno::BADF)
    }
}

/// The number as a program sees it, if it is below `limit`.
fn number_below(index: usize, limit: u64) -> Option<Fd> {
    let number = Fd::try_from(index).ok()?;
    ((index as u64) < limit).then_some(number)
}

fn grow_to(slots: &mut Vec<Option<Slot>>, len: usize) -> Result<()> {
    if slots.len() < len {
        slots.try_reserve(len - slots.len()).map_err(|_| Errno::MFILE)?;
        slots.resize_with(len, || None);
    }
    Ok(())
}

impl Drop for FdTable {
    /// The last thread that used the table is gone: its files are closed as `close(2)` would.
    fn drop(&mut self) {
        for slot in core::mem::take(self.slots.get_mut()).into_iter().flatten() {
            lock::close_descriptor(&slot.file.inode, self);
            // Nobody is there to be told of an error.
            let _ = slot.file.descriptor_closed();
        }
    }
}
