//! epoll(7): a set of watched files, and the list of those that have something to tell.
//!
//! An item registers itself with the wait queues of its file. A wake-up puts it on the ready list, nothing else; `epoll_wait` asks the
//! files on that list and no others. `nesting` keeps epolls that watch epolls from going in circles.

mod item;
mod nesting;

use crate::errno::{Errno, Result};
use crate::fs::fd_table::Fd;
use crate::fs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable, internal};
use crate::sync::SpinLock;
use crate::task::wait_queue::{Deadline, WaitMode};
use crate::task::{SleepMutex, WaitQueue};
use crate::time::clock;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use bitflags::bitflags;
use linux_raw_sys::general as sys;

use item::Item;

/// `/proc/sys/fs/epoll/max_user_watches` for the whole system: an item costs about 160 bytes here.
const MAX_ITEMS: usize = 1 << 18;

bitflags! {
    /// How an item behaves, beside the events that it waits for (`epoll_ctl(2)`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Behaviour: u32 {
        /// Told once for each change, not as long as it lasts.
        const EDGE_TRIGGERED = sys::EPOLLET;
        /// Told once, then off until `EPOLL_CTL_MOD`.
        const ONE_SHOT = sys::EPOLLONESHOT;
        /// Keeps the system awake: nothing to do here.
        const WAKE_UP = sys::EPOLLWAKEUP;
        /// Only one of several epolls that watch the file is woken.
        const EXCLUSIVE = sys::EPOLLEXCLUSIVE;
    }
}

/// What `EPOLLEXCLUSIVE` may be combined with.
const EXCLUSIVE_OK: u32 =
    sys::EPOLLIN | sys::EPOLLOUT | sys::EPOLLERR | sys::EPOLLHUP | sys::EPOLLWAKEUP | sys::EPOLLET | sys::EPOLLEXCLUSIVE;

/// `struct epoll_event`: what to wait for or what was found, and the program's own number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// `EPOLL*`.
    pub events: u32,
    /// Given back as it is.
    pub data: u64,
}

/// What `epoll_ctl(2)` is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `EPOLL_CTL_ADD`.
    Add(Event),
    /// `EPOLL_CTL_MOD`.
    Modify(Event),
    /// `EPOLL_CTL_DEL`.
    Delete,
}

/// An item is the descriptor number *and* the open file behind it at the time (`epoll(7)`, question 1). The address stays the file's
/// own while the item lives, because the item's weak handle keeps it from being used again.
type ItemKey = (Fd, usize);

/// The set.
pub struct Epoll {
    /// All items. Held while files are asked, too, so that a change of an item does not cross a wait.
    items: SleepMutex<BTreeMap<ItemKey, Arc<Item>>>,
    ready: SpinLock<VecDeque<Arc<Item>>>,
    /// Threads in `epoll_wait`.
    waiters: WaitQueue,
    /// Those who poll the epoll itself.
    pollers: Arc<WaitQueue>,
    /// Epolls that watch this one.
    parents: SpinLock<Vec<Weak<Epoll>>>,
}

/// What the descriptor of an epoll refers to.
pub struct EpollFile(Arc<Epoll>);

/// `epoll_create1(2)`.
pub fn create() -> Result<Arc<OpenFile>> {
    let epoll = Epoll {
        items: SleepMutex::new(BTreeMap::new()),
        ready: SpinLock::new(VecDeque::new()),
        waiters: WaitQueue::new(),
        pollers: Arc::new(WaitQueue::new()),
        parents: SpinLock::new(Vec::new()),
    };
    internal::anonymous_file("[eventpoll]", Arc::new(EpollFile(Arc::new(epoll))), OpenFlags::RDWR)
}

/// The epoll behind an open file.
pub fn of(file: &OpenFile) -> Option<&Arc<Epoll>> {
    file.downcast::<EpollFile>().map(|file| &file.0)
}

/// `epoll_ctl(2)`. `EPERM` for files that cannot be polled, `EINVAL` for what is no epoll, for itself and for wrong uses of
/// `EPOLLEXCLUSIVE`, `ELOOP` for circles, then `EEXIST` and `ENOENT`.
pub fn control(epoll_file: &OpenFile, fd: Fd, target: &Arc<OpenFile>, change: Change) -> Result<()> {
    if !target.ops.pollable() {
        return Err(Errno::PERM);
    }
    let epoll = of(epoll_file).ok_or(Errno::INVAL)?;
    let inner = of(target);
    if inner.is_some_and(|inner| Arc::ptr_eq(inner, epoll)) {
        return Err(Errno::INVAL);
    }
    match change {
        Change::Add(event) => {
            let exclusive = event.events & sys::EPOLLEXCLUSIVE != 0;
            if exclusive && (inner.is_some() || event.events & !EXCLUSIVE_OK != 0) {
                return Err(Errno::INVAL);
            }
            let _no_other_nesting = inner.map(|inner| nesting::check(epoll, inner)).transpose()?;
            epoll.add(fd, target, event)
        }
        Change::Modify(event) if event.events & sys::EPOLLEXCLUSIVE != 0 => Err(Errno::INVAL),
        Change::Modify(event) => epoll.modify(fd, target, event),
        Change::Delete => epoll.delete(fd, target),
    }
}

fn key(fd: Fd, file: &Arc<OpenFile>) -> ItemKey {
    (fd, Arc::as_ptr(file).addr())
}

impl Epoll {
    /// The address of the open file that was added as `fd`; of several the one at the place `which`.
    pub fn watched(&self, fd: Fd, which: usize) -> Option<usize> {
        self.items.lock().keys().filter(|(added, _)| *added == fd).nth(which).map(|(_, file)| *file)
    }

    fn add(self: &Arc<Self>, fd: Fd, target: &Arc<OpenFile>, event: Event) -> Result<()> {
        let item = {
            let mut items = self.items.lock();
            // Now and then, so that it costs little for each: items of files that were closed since.
            if items.len().is_power_of_two() {
                items.retain(|_, item| item.is_alive() || !item.retire());
            }
            if items.contains_key(&key(fd, target)) {
                return Err(Errno::EXIST);
            }
            let item = Item::new(self, fd, target, event)?;
            items.insert(key(fd, target), item.clone());
            item
        };
        if let Some(inner) = of(target) {
            inner.parents.lock().push(Arc::downgrade(self));
        }
        self.start(&item, target);
        Ok(())
    }

    fn modify(self: &Arc<Self>, fd: Fd, target: &Arc<OpenFile>, event: Event) -> Result<()> {
        let item = self.items.lock().get(&key(fd, target)).cloned().ok_or(Errno::NOENT)?;
        if item.behaviour().contains(Behaviour::EXCLUSIVE) {
            return Err(Errno::INVAL);
        }
        item.set_event(event);
        self.start(&item, target);
        Ok(())
    }

    fn delete(&self, fd: Fd, target: &Arc<OpenFile>) -> Result<()> {
        let item = self.items.lock().remove(&key(fd, target)).ok_or(Errno::NOENT)?;
        item.retire();
        self.ready.lock().retain(|ready| !Arc::ptr_eq(ready, &item));
        Ok(())
    }

    /// Registers the item anew and puts it on the ready list if its file has something to tell already.
    fn start(&self, item: &Arc<Item>, file: &OpenFile) {
        if !item.watch(file).is_empty() {
            self.note_ready(item);
        }
    }

    /// Puts an item on the ready list, if it is not there, and wakes who waits.
    fn note_ready(&self, item: &Arc<Item>) {
        if item.queue_up() {
            self.ready.lock().push_back(item.clone());
        }
        self.waiters.wake_one();
        self.pollers.wake_all();
    }

    /// Whether anything on the ready list really is ready.
    fn has_events(&self) -> bool {
        let ready: Vec<Arc<Item>> = self.ready.lock().iter().cloned().collect();
        ready.iter().any(|item| item.ask().is_some_and(|events| events != 0))
    }

    /// Hands up to `most` events to `deliver`, which may fail (`EFAULT`): the item is then ready still.
    fn collect(&self, most: usize, deliver: &mut dyn FnMut(usize, Event) -> Result<()>) -> Result<usize> {
        let mut items = self.items.lock();
        let mut taken = core::mem::take(&mut *self.ready.lock());
        let mut again = VecDeque::new();
        let mut delivered = 0;
        let mut result = Ok(());
        while delivered < most
            && let Some(item) = taken.pop_front()
        {
            item.leave_queue();
            let Some(events) = item.ask() else {
                item.retire();
                items.remove(&item.key());
                continue;
            };
            if events == 0 {
                continue;
            }
            if let Err(error) = deliver(delivered, Event { events, data: item.data() }) {
                taken.push_front(item);
                result = Err(error);
                break;
            }
            delivered += 1;
            let behaviour = item.behaviour();
            if behaviour.contains(Behaviour::ONE_SHOT) {
                item.switch_off();
            } else if !behaviour.contains(Behaviour::EDGE_TRIGGERED) {
                again.push_back(item);
            }
        }
        self.put_back(taken, again);
        drop(items);
        if !self.ready.lock().is_empty() {
            self.waiters.wake_one();
        }
        match result {
            Err(error) if delivered == 0 => Err(error),
            _ => Ok(delivered),
        }
    }

    /// After a round: what was not looked at comes first, then what became ready meanwhile, then what stays ready.
    fn put_back(&self, not_seen: VecDeque<Arc<Item>>, again: VecDeque<Arc<Item>>) {
        let mut ready = self.ready.lock();
        let fresh = core::mem::take(&mut *ready);
        for item in not_seen {
            item.queue_up();
            ready.push_back(item);
        }
        ready.extend(fresh);
        for item in again {
            if item.queue_up() {
                ready.push_back(item);
            }
        }
    }

    /// `epoll_wait(2)`: waits for the first event, then takes up to `most`. `EINTR` on a signal.
    pub fn wait(&self, most: usize, deadline: Option<Deadline>, deliver: &mut dyn FnMut(usize, Event) -> Result<()>) -> Result<usize> {
        loop {
            let delivered = self.collect(most, deliver)?;
            // Asking only is never interrupted.
            if delivered > 0 || deadline.is_some_and(|deadline| deadline.0 <= clock::monotonic_ns()) {
                return Ok(delivered);
            }
            let some = || (!self.ready.lock().is_empty()).then_some(());
            match self.waiters.wait_until(WaitMode::INTERRUPTIBLE.until(deadline), some) {
                Ok(()) => {}
                Err(Errno::TIMEDOUT) => return Ok(0),
                // Never restarted (`signal(7)`).
                Err(_) => return Err(Errno::INTR),
            }
        }
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        for item in core::mem::take(self.items.get_mut()).into_values() {
            item.retire();
        }
    }
}

impl FileOps for EpollFile {
    fn seekable(&self) -> bool {
        false
    }

    // Not an error as with pipes, but nothing happens.
    fn seek(&self, _file: &OpenFile, position: u64, _offset: i64, _whence: u32) -> Option<Result<u64>> {
        Some(Ok(position))
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.0.pollers);
        if self.0.has_events() { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn describe(&self, _file: &OpenFile, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        let items: Vec<Arc<Item>> = self.0.items.lock().values().cloned().collect();
        items.iter().try_for_each(|item| item.describe(out))
    }
}
