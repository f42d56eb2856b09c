//! Waiting for something to happen, and waking who waits.

use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Somebody who wants to hear of events: a blocked thread, or an epoll item.
pub trait Wake: Send + Sync {
    /// Something changed. Must not block, and must not take a lock that the waker may hold.
    fn wake(&self);

    /// A waiter that counts against `wake_one` (a blocked thread); watchers such as epoll items are always told.
    fn exclusive(&self) -> bool {
        false
    }
}

/// Until when a wait lasts: nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub u64);

/// How a wait ends besides its condition.
#[derive(Clone, Copy, Debug)]
pub struct WaitMode {
    /// A signal ends the wait.
    pub interruptible: bool,
    /// A fatal signal ends it (when not interruptible).
    pub killable: bool,
    /// Gives up then.
    pub deadline: Option<Deadline>,
}

impl WaitMode {
    /// A signal ends it.
    pub const INTERRUPTIBLE: Self = Self { interruptible: true, killable: true, deadline: None };
    /// Only a fatal signal ends it.
    pub const KILLABLE: Self = Self { interruptible: false, killable: true, deadline: None };
    /// Nothing ends it.
    pub const UNINTERRUPTIBLE: Self = Self { interruptible: false, killable: false, deadline: None };

    /// The same with a deadline.
    pub const fn until(self, deadline: Option<Deadline>) -> Self {
        Self { deadline, ..self }
    }
}

/// Who waits for one thing.
#[derive(Default)]
pub struct WaitQueue {
    waiters: SpinLock<Vec<Arc<dyn Wake>>>,
    /// How many there are: that there is nobody to wake is known without the lock.
    count: AtomicUsize,
}

/// Waiters to be woken without the queue's lock. Few need no memory.
struct Taken {
    few: [Option<Arc<dyn Wake>>; 4],
    more: Vec<Arc<dyn Wake>>,
}

impl Taken {
    fn of<'a>(waiters: impl Iterator<Item = &'a Arc<dyn Wake>>) -> Self {
        let mut taken = Self { few: [const { None }; 4], more: Vec::new() };
        for (index, waiter) in waiters.enumerate() {
            match taken.few.get_mut(index) {
                Some(place) => *place = Some(waiter.clone()),
                None => taken.more.push(waiter.clone()),
            }
        }
        taken
    }

    fn wake(self) {
        self.few.into_iter().flatten().chain(self.more).for_each(|waiter| waiter.wake());
    }
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { waiters: SpinLock::new(Vec::new()), count: AtomicUsize::new(0) }
    }

    /// Adds a waiter (at the end).
    pub fn register(&self, waiter: &Arc<dyn Wake>) {
        self.waiters.lock().push(waiter.clone());
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes a waiter out, if it is there.
    pub fn unregister(&self, waiter: &Arc<dyn Wake>) {
        let mut waiters = self.waiters.lock();
        if let Some(index) = waiters.iter().position(|w| Arc::ptr_eq(w, waiter)) {
            waiters.remove(index);
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether nobody waits. Who registers before looking at what it waits for is seen by whoever changed that before asking here.
    fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Wakes everybody.
    pub fn wake_all(&self) {
        if self.is_empty() {
            return;
        }
        let taken = Taken::of(self.waiters.lock().iter());
        taken.wake();
    }

    /// Wakes the watchers and the first exclusive waiter, which goes to the end of the queue: the next call wakes another, even if the
    /// first one has not run yet.
    #[inline]
    pub fn wake_one(&self) {
        if !self.is_empty() {
            self.wake_first();
        }
    }

    fn wake_first(&self) {
        let taken = {
            let mut waiters = self.waiters.lock();
            let first = waiters.iter().position(|waiter| waiter.exclusive());
            let is_woken = |(index, waiter): &(usize, &Arc<dyn Wake>)| Some(*index) == first || !waiter.exclusive();
            let taken = Taken::of(waiters.iter().enumerate().filter(is_woken).map(|(_, waiter)| waiter));
            if let Some(first) = first {
                let woken = waiters.remove(first);
                waiters.push(woken);
            }
            taken
        };
        taken.wake();
    }

    /// Blocks the current thread until `condition` gives a value. `EINTR`-like ends come as `RESTARTSYS`, a deadline as `TIMEDOUT`.
    /// The condition runs without any lock of the queue held.
    pub fn wait_until<T>(&self, mode: WaitMode, condition: impl FnMut() -> Option<T>) -> Result<T> {
        wait_on(&[self], mode, condition)
    }
}

/// Blocks the current thread on several queues at once.
pub fn wait_on<T>(queues: &[&WaitQueue], mode: WaitMode, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    if let Some(value) = condition() {
        return Ok(value);
    }
    let waiter: Arc<dyn Wake> = crate::task::scheduler::current_waiter();
    for queue in queues {
        queue.register(&waiter);
    }
    let result = loop {
        crate::task::scheduler::prepare_to_block(mode);
        if let Some(value) = condition() {
            break Ok(value);
        }
        if let Err(end) = crate::task::scheduler::block(mode) {
            // The condition may have come true at the same time: it wins.
            break condition().ok_or(end);
        }
    };
    crate::task::scheduler::finish_blocking();
    for queue in queues {
        queue.unregister(&waiter);
    }
    result
}

/// The errno that ends an interrupted wait when there was a deadline to keep: not restartable with the same timeout.
pub fn interrupted(error: Errno) -> Errno {
    if error == Errno::RESTARTSYS { Errno::INTR } else { error }
}
