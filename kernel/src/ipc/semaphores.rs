//! Sets of semaphores (`semget(2)`, `semop(2)`, `semctl(2)`).
//!
//! The operations of a call happen all at once or not at all; who cannot go on waits, and tries again whenever something has changed.
//! What a process did with `SEM_UNDO` is undone at its end.

use super::table::{Access, Change, Header, Object, Request};
use super::{IpcNamespace, Setting, now_s};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::pid::Pid;
use crate::task::wait_queue::{WaitMode, interrupted};
use crate::task::{Deadline, Process, WaitQueue, current};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The highest value (`SEMVMX`), and what may be undone (`SEMAEM`).
pub const HIGHEST_VALUE: i32 = 32767;
/// `SEM_UNDO` of an operation.
const SEM_UNDO: u16 = 0o10000;

/// One operation of `semop(2)`.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Which semaphore of the set.
    pub number: u16,
    /// Added; 0 waits for 0.
    pub change: i16,
    /// `IPC_NOWAIT`, `SEM_UNDO`.
    pub flags: u16,
}

#[derive(Clone, Default)]
struct Semaphore {
    value: i32,
    /// Who changed it last.
    last: Option<Arc<Pid>>,
}

/// What a waiting call waits for.
#[derive(Clone, Copy)]
struct Waiter {
    token: u64,
    number: u16,
    for_zero: bool,
}

struct State {
    semaphores: Vec<Semaphore>,
    waiting: Vec<Waiter>,
    next_token: u64,
    /// What is to be added at the end of a process, by the address of the process, which lives until then.
    undo: BTreeMap<usize, Vec<i32>>,
    operated_s: i64,
    removed: bool,
}

/// A set.
pub struct SemaphoreSet {
    header: SpinLock<Header>,
    /// How many there are in it.
    pub size: usize,
    state: SpinLock<State>,
    changed: WaitQueue,
}

impl Object for SemaphoreSet {
    fn header(&self) -> &SpinLock<Header> {
        &self.header
    }
}

/// What `IPC_STAT` and `/proc/sysvipc/sem` tell.
#[allow(missing_docs)]
pub struct Status {
    pub header: Header,
    pub size: u64,
    pub operated_s: i64,
}

/// How many lists of things to undo there are in the whole system: without one the end of a process need not look for its own.
static UNDO_LISTS: AtomicUsize = AtomicUsize::new(0);

fn address_of(process: &Arc<Process>) -> usize {
    Arc::as_ptr(process).addr()
}

/// Why operations cannot happen now.
enum Blocked {
    /// They never can.
    Refused(Errno),
    /// This one has to wait.
    By(Operation),
}

impl State {
    /// Does all of the operations or none.
    fn attempt(&mut self, operations: &[Operation], process: &Arc<Process>) -> core::result::Result<(), Blocked> {
        let owner = address_of(process);
        let none = alloc::vec![0; self.semaphores.len()];
        let mut values: BTreeMap<u16, i32> = BTreeMap::new();
        let mut undo = self.undo.get(&owner).unwrap_or(&none).clone();
        for operation in operations {
            let number = usize::from(operation.number);
            let value = values.entry(operation.number).or_insert(self.semaphores[number].value);
            let change = i32::from(operation.change);
            if (change == 0 && *value != 0) || *value + change < 0 {
                return Err(Blocked::By(*operation));
            }
            if *value + change > HIGHEST_VALUE {
                return Err(Blocked::Refused(Errno::RANGE));
            }
            *value += change;
            if operation.flags & SEM_UNDO != 0 {
                undo[number] -= change;
                if !(-HIGHEST_VALUE - 1..=HIGHEST_VALUE).contains(&undo[number]) {
                    return Err(Blocked::Refused(Errno::RANGE));
                }
            }
        }
        for (number, value) in values {
            self.semaphores[usize::from(number)] = Semaphore { value, last: Some(process.id.clone()) };
        }
        if operations.iter().any(|operation| operation.flags & SEM_UNDO != 0) && self.undo.insert(owner, undo).is_none() {
            UNDO_LISTS.fetch_add(1, Ordering::Relaxed);
        }
        self.operated_s = now_s();
        Ok(())
    }

    /// Notes what a waiting call waits for now.
    fn note_waiter(&mut self, token: u64, operation: Operation) {
        let waiter = Waiter { token, number: operation.number, for_zero: operation.change == 0 };
        match self.waiting.iter_mut().find(|waiter| waiter.token == token) {
            Some(known) => *known = waiter,
            None => self.waiting.push(waiter),
        }
    }

    fn forget_undo(&mut self, number: Option<usize>) {
        for list in self.undo.values_mut() {
            match number {
                Some(number) => list[number] = 0,
                None => list.fill(0),
            }
        }
    }
}

impl SemaphoreSet {
    /// All there is to know of it as a whole.
    pub fn status(&self) -> Status {
        let header = self.header.lock().clone();
        Status { header, size: self.size as u64, operated_s: self.state.lock().operated_s }
    }
}

impl Drop for SemaphoreSet {
    fn drop(&mut self) {
        UNDO_LISTS.fetch_sub(self.state.lock().undo.len(), Ordering::Relaxed);
    }
}

fn namespace() -> Arc<IpcNamespace> {
    current().namespaces().ipc.clone()
}

/// `semget(2)`.
pub fn get(key: i32, size: i32, flags: u32) -> Result<i32> {
    let namespace = namespace();
    let size = u64::try_from(size).ok().filter(|size| *size <= namespace.setting(Setting::Semmsl)).ok_or(Errno::INVAL)? as usize;
    let request = Request { key, flags, most: namespace.setting(Setting::Semmni) };
    let fits = |set: &SemaphoreSet| if size > set.size { Err(Errno::INVAL) } else { Ok(()) };
    let mut table = namespace.semaphores.lock();
    table.get(&namespace, request, fits, |table, header| {
        if size == 0 {
            return Err(Errno::INVAL);
        }
        let used: usize = table.all().map(|set| set.size).sum();
        if (used + size) as u64 > namespace.setting(Setting::Semmns) {
            return Err(Errno::NOSPC);
        }
        let state = State {
            semaphores: alloc::vec![Semaphore::default(); size],
            waiting: Vec::new(),
            next_token: 0,
            undo: BTreeMap::new(),
            operated_s: 0,
            removed: false,
        };
        Ok(SemaphoreSet { header: SpinLock::new(header), size, state: SpinLock::new(state), changed: WaitQueue::new() })
    })
}

fn find(id: i32) -> Result<(Arc<IpcNamespace>, Arc<SemaphoreSet>)> {
    let namespace = namespace();
    let set = namespace.semaphores.lock().find(id)?;
    Ok((namespace, set))
}

/// `semop(2)`, `semtimedop(2)`: `EAGAIN` when they cannot happen at once and one says `IPC_NOWAIT`, or not in time.
pub fn operate(id: i32, operations: &[Operation], deadline: Option<Deadline>) -> Result<()> {
    let (namespace, set) = find(id)?;
    if operations.iter().any(|operation| usize::from(operation.number) >= set.size) {
        return Err(Errno::FBIG);
    }
    let changes = operations.iter().any(|operation| operation.change != 0);
    set.header.lock().check(&namespace, if changes { Access::Write } else { Access::Read })?;
    let process = current().process.clone();
    let token = {
        let mut state = set.state.lock();
        state.next_token += 1;
        state.next_token
    };
    let attempt = || {
        let mut state = set.state.lock();
        if state.removed {
            return Some(Err(Errno::IDRM));
        }
        match state.attempt(operations, &process) {
            Ok(()) => Some(Ok(())),
            Err(Blocked::Refused(errno)) => Some(Err(errno)),
            Err(Blocked::By(operation)) if super::table::nowait(operation.flags.into()) => Some(Err(Errno::AGAIN)),
            Err(Blocked::By(operation)) => {
                state.note_waiter(token, operation);
                None
            }
        }
    };
    let ended = set.changed.wait_until(WaitMode::INTERRUPTIBLE.until(deadline), attempt);
    set.state.lock().waiting.retain(|waiter| waiter.token != token);
    let done = ended.unwrap_or_else(|end| Err(if end == Errno::TIMEDOUT { Errno::AGAIN } else { interrupted(end) }));
    if done.is_ok() && changes {
        set.changed.wake_all();
    }
    done
}

/// Who waits on a semaphore: for it to grow (`GETNCNT`), or for 0 (`GETZCNT`).
pub fn waiters(id: i32, number: i32, for_zero: bool) -> Result<u64> {
    with_one(id, number, |state, number| {
        state.waiting.iter().filter(|waiter| usize::from(waiter.number) == number && waiter.for_zero == for_zero).count() as u64
    })
}

/// A semaphore's value (`GETVAL`).
pub fn value(id: i32, number: i32) -> Result<u64> {
    with_one(id, number, |state, number| state.semaphores[number].value as u64)
}

/// Who changed it last (`GETPID`).
pub fn last_process(id: i32, number: i32) -> Result<u64> {
    let pids = current().pid().namespace().clone();
    with_one(id, number, |state, number| state.semaphores[number].last.as_ref().map_or(0, |pid| u64::from(pid.number_in(&pids))))
}

fn with_one<T>(id: i32, number: i32, answer: impl FnOnce(&State, usize) -> T) -> Result<T> {
    let (namespace, set) = find(id)?;
    set.header.lock().check(&namespace, Access::Read)?;
    let number = usize::try_from(number).ok().filter(|number| *number < set.size).ok_or(Errno::INVAL)?;
    let state = set.state.lock();
    Ok(answer(&state, number))
}

/// `SETVAL`.
pub fn set_value(id: i32, number: i32, value: i32) -> Result<()> {
    if !(0..=HIGHEST_VALUE).contains(&value) {
        return Err(Errno::RANGE);
    }
    let (namespace, set) = find(id)?;
    let number = usize::try_from(number).ok().filter(|number| *number < set.size).ok_or(Errno::INVAL)?;
    set.header.lock().check(&namespace, Access::Write)?;
    let last = Some(current().process.id.clone());
    {
        let mut state = set.state.lock();
        state.forget_undo(Some(number));
        state.semaphores[number] = Semaphore { value, last };
    }
    set.header.lock().changed_s = now_s();
    set.changed.wake_all();
    Ok(())
}

/// How many semaphores there are in a set that the caller may `access`, for the calls with an array.
pub fn size(id: i32, access: Access) -> Result<usize> {
    let (namespace, set) = find(id)?;
    set.header.lock().check(&namespace, access)?;
    Ok(set.size)
}

/// `GETALL`.
pub fn values(id: i32) -> Result<Vec<u16>> {
    let (_, set) = find(id)?;
    let state = set.state.lock();
    Ok(state.semaphores.iter().map(|semaphore| semaphore.value as u16).collect())
}

/// `SETALL`.
pub fn set_values(id: i32, values: &[u16]) -> Result<()> {
    if values.iter().any(|value| i32::from(*value) > HIGHEST_VALUE) {
        return Err(Errno::RANGE);
    }
    let (_, set) = find(id)?;
    let last = current().process.id.clone();
    {
        let mut state = set.state.lock();
        state.forget_undo(None);
        for (semaphore, value) in state.semaphores.iter_mut().zip(values) {
            *semaphore = Semaphore { value: i32::from(*value), last: Some(last.clone()) };
        }
    }
    set.header.lock().changed_s = now_s();
    set.changed.wake_all();
    Ok(())
}

/// `IPC_STAT`, and `SEM_STAT`: the id, and what there is to know. `SEM_STAT_ANY` asks nobody (`unasked`).
pub fn status(number: i32, by_place: bool, unasked: bool) -> Result<(i32, Status)> {
    let namespace = namespace();
    let found = namespace.semaphores.lock().look_at(&namespace, number, by_place, unasked);
    found.map(|(id, set)| (id, set.status()))
}

/// `IPC_RMID`: who waits hears of it.
pub fn remove(id: i32) -> Result<()> {
    let namespace = namespace();
    let set = namespace.semaphores.lock().take(&namespace, id)?;
    set.state.lock().removed = true;
    set.changed.wake_all();
    Ok(())
}

/// `IPC_SET`.
pub fn set(id: i32, change: Change) -> Result<()> {
    let namespace = namespace();
    namespace.semaphores.lock().change(&namespace, id, change).map(drop)
}

/// The end of a process, or of its stay in a namespace: what it did with `SEM_UNDO` is undone, as far as values allow.
pub fn undo_all(process: &Arc<Process>, namespace: &IpcNamespace) {
    if UNDO_LISTS.load(Ordering::Relaxed) == 0 {
        return;
    }
    let sets: Vec<Arc<SemaphoreSet>> = namespace.semaphores.lock().all().cloned().collect();
    for set in sets {
        {
            let mut state = set.state.lock();
            let Some(undo) = state.undo.remove(&address_of(process)) else { continue };
            UNDO_LISTS.fetch_sub(1, Ordering::Relaxed);
            for (semaphore, change) in state.semaphores.iter_mut().zip(undo).filter(|(_, change)| *change != 0) {
                let value = (semaphore.value + change).clamp(0, HIGHEST_VALUE);
                *semaphore = Semaphore { value, last: Some(process.id.clone()) };
            }
            state.operated_s = now_s();
        }
        set.changed.wake_all();
    }
}
