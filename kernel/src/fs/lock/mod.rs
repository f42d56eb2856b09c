//! Advisory locks on files: POSIX record locks and open file description locks (`fcntl_locking(2)`), `flock(2)`.
//!
//! Record locks belong to a descriptor table (a process), the other two to an open file description. POSIX and open file description
//! locks exclude each other; `flock` knows nothing of either. `ranges` does the arithmetic of a file's record locks, `deadlock` looks
//! for circles of waiters.
//!
//! Calls that others make: [`close_descriptor`] whenever a descriptor is taken out of a table (its file's record locks of that table
//! go, whatever other descriptors there are), [`release_file`] when an open file description ends, [`list`] for `/proc/locks`.

mod deadlock;
mod ranges;

use crate::errno::{Errno, Result};
use crate::fs::{FdTable, Inode, OpenFile, internal};
use crate::sync::{Lazy, SpinLock};
use crate::task::WaitQueue;
use crate::task::wait_queue::WaitMode;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

pub use ranges::Range;
use ranges::RecordLocks;

/// Whose lock it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A descriptor table, by its address.
    Table(usize),
    /// An open file description, by its address.
    File(usize),
}

impl Owner {
    /// For POSIX record locks.
    pub fn table(files: &FdTable) -> Self {
        Self::Table(core::ptr::from_ref(files).addr())
    }

    /// For open file description locks and `flock`.
    pub fn file(file: &OpenFile) -> Self {
        Self::File(core::ptr::from_ref(file).addr())
    }
}

/// Shared or exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// `F_RDLCK`, `LOCK_SH`.
    Read,
    /// `F_WRLCK`, `LOCK_EX`.
    Write,
}

/// A record lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordLock {
    /// Who holds it.
    pub owner: Owner,
    /// How.
    pub mode: Mode,
    /// Of which bytes.
    pub range: Range,
    /// The process that took it.
    pub pid: u32,
}

/// What is asked of a filesystem whose locks are kept elsewhere ([`FileOps::lock`](crate::fs::FileOps::lock)).
#[derive(Clone, Copy, Debug)]
pub enum LockCall {
    /// Which lock is in the way of this one?
    Query(RecordLock),
    /// Take it; wait for it or not.
    Take(RecordLock, bool),
    /// Give up what the owner has of the range.
    GiveUp(Owner, Range),
    /// `flock(2)`: `None` gives up; wait or not.
    Whole(Owner, Option<Mode>, bool),
}

struct WholeFileLock {
    owner: Owner,
    mode: Mode,
    pid: u32,
}

/// The locks that are held on one inode.
#[derive(Default)]
pub struct FileLocks {
    state: SpinLock<State>,
    /// Told when a lock goes or shrinks.
    released: WaitQueue,
}

#[derive(Default)]
struct State {
    records: RecordLocks,
    whole: Vec<WholeFileLock>,
}

/// Inodes that have or had locks, for `/proc/locks`, by address.
static LOCKED_INODES: Lazy<SpinLock<BTreeMap<usize, Weak<Inode>>>> = Lazy::new(|| SpinLock::new(BTreeMap::new()));

fn note_inode(inode: &Arc<Inode>) {
    let mut inodes = LOCKED_INODES.lock();
    if inodes.len().is_power_of_two() {
        inodes.retain(|_, inode| inode.strong_count() > 0);
    }
    inodes.insert(Arc::as_ptr(inode).addr(), Arc::downgrade(inode));
}

/// `F_GETLK`: a lock that would be in the way of `wanted`.
pub fn conflicting(inode: &Inode, wanted: &RecordLock) -> Option<RecordLock> {
    inode.locks.state.lock().records.conflicting(wanted)
}

/// `F_OFD_GETLK` with `F_UNLCK`: a lock of the owner itself in the range.
pub fn held(inode: &Inode, owner: Owner, range: Range) -> Option<RecordLock> {
    inode.locks.state.lock().records.held(owner, range)
}

/// `F_SETLK`, `F_SETLKW` for a lock. `EAGAIN` if another's is in the way and `wait` is false; `EDEADLK` if waiting would never end;
/// `ENOLCK` if there are too many.
pub fn lock_record(inode: &Arc<Inode>, wanted: RecordLock, wait: bool) -> Result<()> {
    internal::check_memory().map_err(|_| Errno::NOLCK)?;
    note_inode(inode);
    let attempt = || -> core::result::Result<Result<()>, Owner> {
        let mut state = inode.locks.state.lock();
        match state.records.conflicting(&wanted) {
            Some(other) => Err(other.owner),
            None => Ok(state.records.set(wanted)),
        }
    };
    let result = match attempt() {
        Ok(result) => result,
        Err(_) if !wait => return Err(Errno::AGAIN),
        Err(holder) => wait_for_record(inode, wanted.owner, holder, attempt)?,
    };
    // A write lock that became a read lock lets others in.
    inode.locks.released.wake_all();
    result
}

fn wait_for_record(
    inode: &Inode,
    owner: Owner,
    holder: Owner,
    attempt: impl Fn() -> core::result::Result<Result<()>, Owner>,
) -> Result<Result<()>> {
    let waiting = deadlock::Waiting::new(owner, holder)?;
    inode.locks.released.wait_until(WaitMode::INTERRUPTIBLE, || match attempt() {
        Ok(result) => Some(Ok(result)),
        // Whoever is in the way by now may wait for us in turn.
        Err(holder) => waiting.now_for(holder).err().map(Err),
    })?
}

/// `F_UNLCK`.
pub fn unlock_record(inode: &Inode, owner: Owner, range: Range) -> Result<()> {
    let result = inode.locks.state.lock().records.clear(owner, range);
    inode.locks.released.wake_all();
    result
}

/// `flock(2)`: a lock that the description has already is changed, which gives others a chance between.
pub fn lock_whole(inode: &Arc<Inode>, owner: Owner, mode: Mode, pid: u32, wait: bool) -> Result<()> {
    internal::check_memory().map_err(|_| Errno::NOLCK)?;
    note_inode(inode);
    let attempt = || -> Option<Result<()>> {
        let mut state = inode.locks.state.lock();
        if state.whole.iter().any(|lock| lock.owner == owner && lock.mode == mode) {
            return Some(Ok(()));
        }
        state.whole.retain(|lock| lock.owner != owner);
        if state.whole.iter().any(|lock| lock.mode == Mode::Write || mode == Mode::Write) {
            return None;
        }
        if state.whole.try_reserve(1).is_err() {
            return Some(Err(Errno::NOLCK));
        }
        state.whole.push(WholeFileLock { owner, mode, pid });
        Some(Ok(()))
    };
    let result = match attempt() {
        Some(result) => result,
        None => {
            // The lock that was there before the change is gone now.
            inode.locks.released.wake_all();
            if !wait {
                return Err(Errno::AGAIN);
            }
            inode.locks.released.wait_until(WaitMode::INTERRUPTIBLE, attempt)?
        }
    };
    inode.locks.released.wake_all();
    result
}

/// `flock(2)` with `LOCK_UN`.
pub fn unlock_whole(inode: &Inode, owner: Owner) {
    inode.locks.state.lock().whole.retain(|lock| lock.owner != owner);
    inode.locks.released.wake_all();
}

/// A descriptor for the inode was closed in `files`: all record locks that the table holds on it go.
pub fn close_descriptor(inode: &Inode, files: &FdTable) {
    drop_all(inode, Owner::table(files));
}

/// The open file description ends.
pub fn release_file(file: &OpenFile) {
    drop_all(&file.inode, Owner::file(file));
}

fn drop_all(inode: &Inode, owner: Owner) {
    let mut state = inode.locks.state.lock();
    let before = state.records.len() + state.whole.len();
    state.records.drop_owner(owner);
    state.whole.retain(|lock| lock.owner != owner);
    let after = state.records.len() + state.whole.len();
    drop(state);
    if after != before {
        inode.locks.released.wake_all();
    }
}

/// Writes the lines of `/proc/locks` (`proc(5)`).
pub fn list(out: &mut dyn core::fmt::Write) -> core::fmt::Result {
    let inodes: Vec<Arc<Inode>> = LOCKED_INODES.lock().values().filter_map(Weak::upgrade).collect();
    let mut number = 0;
    for inode in inodes {
        let (records, whole): (Vec<RecordLock>, Vec<(Mode, u32)>) = {
            let state = inode.locks.state.lock();
            (state.records.iter().copied().collect(), state.whole.iter().map(|lock| (lock.mode, lock.pid)).collect())
        };
        let mut line = |kind: &str, mode: Mode, pid: i64, range: Range| -> core::fmt::Result {
            number += 1;
            let mode = if mode == Mode::Write { "WRITE" } else { "READ" };
            let device = inode.superblock.device;
            let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
            write!(out, "{number}: {kind:6} ADVISORY  {mode} {pid} {major:02x}:{minor:02x}:{} {} ", inode.number, range.start)?;
            if range.end == Range::LAST { out.write_str("EOF\n") } else { writeln!(out, "{}", range.end) }
        };
        for (mode, pid) in whole {
            line("FLOCK", mode, i64::from(pid), Range::WHOLE)?;
        }
        for lock in records {
            match lock.owner {
                Owner::Table(_) => line("POSIX", lock.mode, i64::from(lock.pid), lock.range)?,
                Owner::File(_) => line("OFDLCK", lock.mode, -1, lock.range)?,
            }
        }
    }
    Ok(())
}
