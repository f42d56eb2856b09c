//! Waiting for files: what `poll(2)` and `select(2)` share, and each of the two.

use crate::errno::{Errno, Result};
use crate::fs::fd_table::Fd;
use crate::fs::{OpenFile, PollEvents, PollTable, internal};
use crate::task::current;
use crate::task::scheduler;
use crate::task::wait_queue::{Deadline, WaitMode, Wake};
use crate::time::clock;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};

/// Wakes a thread that waits for files. Unlike the thread itself it is not exclusive: who only looks at a file must not use up
/// the wake-up of one who takes something from it. It remembers having been called, as asking a file may itself have to wait.
struct PollWaker {
    thread: Arc<dyn Wake>,
    called: AtomicBool,
}

impl Wake for PollWaker {
    fn wake(&self) {
        self.called.store(true, Ordering::Release);
        self.thread.wake();
    }
}

/// Asks `scan` until it gives a value; blocks between, woken by the files that the first `scan` asked. `None` at the deadline, a
/// restart code on a signal.
pub fn wait_for_files<T>(deadline: Option<Deadline>, mut scan: impl FnMut(&mut PollTable<'_>) -> Option<T>) -> Result<Option<T>> {
    if let Some(value) = scan(&mut PollTable::asking()) {
        return Ok(Some(value));
    }
    if deadline.is_some_and(|deadline| deadline.0 <= clock::monotonic_ns()) {
        return Ok(None);
    }
    let waker = Arc::new(PollWaker { thread: scheduler::current_waiter(), called: AtomicBool::new(false) });
    let as_wake: Arc<dyn Wake> = waker.clone();
    let mut table = PollTable::registering(&as_wake);
    let first = scan(&mut table);
    let watched = table.into_watched();
    let result = match first {
        Some(value) => Ok(Some(value)),
        None => block_until(WaitMode::INTERRUPTIBLE.until(deadline), &waker, || scan(&mut PollTable::asking())),
    };
    for queue in &watched {
        queue.unregister(&as_wake);
    }
    result
}

fn block_until<T>(mode: WaitMode, waker: &PollWaker, mut scan: impl FnMut() -> Option<T>) -> Result<Option<T>> {
    loop {
        scheduler::prepare_to_block(mode);
        // A wake-up between the last scan and here is not slept over.
        let end = if waker.called.swap(false, Ordering::AcqRel) { Ok(()) } else { scheduler::block(mode) };
        scheduler::finish_blocking();
        waker.called.store(false, Ordering::Release);
        match (scan(), end) {
            (Some(value), _) => return Ok(Some(value)),
            (None, Ok(())) => {}
            (None, Err(Errno::TIMEDOUT)) => return Ok(None),
            (None, Err(error)) => return Err(error),
        }
    }
}

/// One line of `poll(2)`'s array.
pub struct PollRequest {
    /// The file; `None` if the number is not open.
    pub file: Option<Arc<OpenFile>>,
    /// Negative numbers are passed over.
    pub ignored: bool,
    /// What the program wants to hear of.
    pub interest: PollEvents,
    /// What there is.
    pub events: PollEvents,
}

impl PollRequest {
    /// The request for a descriptor of the calling process.
    pub fn new(fd: Fd, interest: PollEvents) -> Self {
        Self { file: internal::file_of(fd).ok(), ignored: fd < 0, interest, events: PollEvents::empty() }
    }

    fn ask(&mut self, table: &mut PollTable<'_>) {
        self.events = match &self.file {
            _ if self.ignored => PollEvents::empty(),
            None => PollEvents::NVAL,
            Some(file) => {
                let wanted = self.interest | PollEvents::ERR | PollEvents::HUP;
                table.set_interest(wanted);
                file.ops.poll(file, table) & wanted
            }
        };
    }
}

/// `poll(2)`: fills in `events`, returns how many lines have some.
pub fn poll(requests: &mut [PollRequest], deadline: Option<Deadline>) -> Result<usize> {
    let ready = wait_for_files(deadline, |table| {
        let mut ready = 0;
        for request in requests.iter_mut() {
            request.ask(table);
            ready += usize::from(!request.events.is_empty());
        }
        (ready > 0).then_some(ready)
    })?;
    Ok(ready.unwrap_or(0))
}

/// Descriptor bits of `select(2)`, 64 to a word.
pub type FdSet = Vec<u64>;

/// The sets of `select(2)`: to read, to write, exceptional. `None` for NULL.
pub type FdSets = [Option<FdSet>; 3];

/// What makes a descriptor's bit in each of the sets true (`select(2)`, "Correspondence between select() and poll() notifications").
const SET_EVENTS: [PollEvents; 3] = [
    PollEvents::READABLE.union(PollEvents::RDBAND).union(PollEvents::HUP).union(PollEvents::ERR),
    PollEvents::WRITABLE.union(PollEvents::WRBAND).union(PollEvents::ERR),
    PollEvents::PRI,
];

/// `select(2)`: leaves the bits of what is ready and returns their number. `EBADF` if a bit's descriptor is not open.
pub fn select(sets: &mut FdSets, count: usize, deadline: Option<Deadline>) -> Result<usize> {
    let wanted = watched_files(sets, count)?;
    let mut found = wanted.iter().map(|_| [false; 3]).collect::<Vec<_>>();
    let ready = wait_for_files(deadline, |table| {
        let mut ready = 0;
        for ((_, file, in_sets), found) in wanted.iter().zip(&mut found) {
            let interest = (0..3).filter(|set| in_sets[*set]).fold(PollEvents::ERR | PollEvents::HUP, |all, set| all | SET_EVENTS[set]);
            table.set_interest(interest);
            let events = file.ops.poll(file, table);
            for set in 0..3 {
                found[set] = in_sets[set] && events.intersects(SET_EVENTS[set]);
                ready += usize::from(found[set]);
            }
        }
        (ready > 0).then_some(ready)
    })?;
    for set in sets.iter_mut().flatten() {
        set.fill(0);
    }
    for ((fd, ..), found) in wanted.iter().zip(&found) {
        for (set, _) in sets.iter_mut().zip(found).filter(|(_, found)| **found) {
            if let Some(word) = set.as_mut().and_then(|set| set.get_mut(fd / 64)) {
                *word |= 1 << (fd % 64);
            }
        }
    }
    Ok(ready.unwrap_or(0))
}

type Watched = (usize, Arc<OpenFile>, [bool; 3]);

fn watched_files(sets: &FdSets, count: usize) -> Result<Vec<Watched>> {
    let has =
        |set: &Option<FdSet>, fd: usize| set.as_ref().and_then(|set| set.get(fd / 64)).is_some_and(|word| word & (1 << (fd % 64)) != 0);
    let mut watched = Vec::new();
    for fd in 0..count {
        let in_sets = [has(&sets[0], fd), has(&sets[1], fd), has(&sets[2], fd)];
        if in_sets.contains(&true) {
            let file = Fd::try_from(fd).map_err(|_| Errno::BADF).and_then(internal::file_of)?;
            watched.push((fd, file, in_sets));
        }
    }
    Ok(watched)
}

/// How many descriptors `select` looks at: bits past the end of the caller's descriptor table are not looked at. The table's size is
/// what Linux would have: 64, then powers of two from 128 on.
pub fn looked_at(requested: usize) -> usize {
    let last = current().files().open_numbers().last().map_or(0, |fd| *fd as usize);
    let table = if last < 64 { 64 } else { (last / 128 + 1).next_power_of_two() * 128 };
    requested.min(table)
}
