//! One watched file of an epoll.

use super::{Behaviour, Epoll, Event, ItemKey, MAX_ITEMS};
use crate::errno::{Errno, Result};
use crate::fs::fd_table::Fd;
use crate::fs::{OpenFile, PollEvents, PollTable, internal};
use crate::sync::SpinLock;
use crate::task::{WaitQueue, Wake};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Items of all epolls.
static ITEMS: AtomicUsize = AtomicUsize::new(0);

/// See the file's first line. It does not keep the file open: when the last descriptor goes, the item is dead.
pub(super) struct Item {
    epoll: Weak<Epoll>,
    fd: Fd,
    file: Weak<OpenFile>,
    this: Weak<Item>,
    state: SpinLock<State>,
    /// On the ready list, or about to be put there.
    queued: AtomicBool,
    retired: AtomicBool,
}

struct State {
    /// What is waited for; empty while a one-shot item is off.
    interest: PollEvents,
    behaviour: Behaviour,
    data: u64,
    queues: Vec<Arc<WaitQueue>>,
}

impl Item {
    /// `ENOSPC` when there are too many.
    pub(super) fn new(epoll: &Arc<Epoll>, fd: Fd, file: &Arc<OpenFile>, event: Event) -> Result<Arc<Self>> {
        internal::check_memory()?;
        if ITEMS.fetch_add(1, Ordering::Relaxed) >= MAX_ITEMS {
            ITEMS.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::NOSPC);
        }
        let item = Arc::new_cyclic(|this| Self {
            epoll: Arc::downgrade(epoll),
            fd,
            file: Arc::downgrade(file),
            this: this.clone(),
            state: SpinLock::new(State { interest: PollEvents::empty(), behaviour: Behaviour::empty(), data: 0, queues: Vec::new() }),
            queued: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        });
        item.set_event(event);
        Ok(item)
    }

    /// Errors and hang-ups are always told.
    pub(super) fn set_event(&self, event: Event) {
        let mut state = self.state.lock();
        state.interest = PollEvents::from_bits_truncate(event.events) | PollEvents::ERR | PollEvents::HUP;
        state.behaviour = Behaviour::from_bits_truncate(event.events);
        state.data = event.data;
    }

    pub(super) fn behaviour(&self) -> Behaviour {
        self.state.lock().behaviour
    }

    pub(super) fn data(&self) -> u64 {
        self.state.lock().data
    }

    /// A one-shot item has told its event.
    pub(super) fn switch_off(&self) {
        self.state.lock().interest = PollEvents::empty();
    }

    /// Where the epoll has it.
    pub(super) fn key(&self) -> ItemKey {
        (self.fd, self.file.as_ptr().addr())
    }

    /// Whether the file is open still.
    pub(super) fn is_alive(&self) -> bool {
        self.file.strong_count() > 0
    }

    /// The watched file, if it is open still.
    pub(super) fn file(&self) -> Option<Arc<OpenFile>> {
        self.file.upgrade()
    }

    /// (Re-)registers with the queues that tell of the item's events; returns the events that are there.
    pub(super) fn watch(&self, file: &OpenFile) -> PollEvents {
        self.unwatch();
        let Some(this) = self.this.upgrade() else { return PollEvents::empty() };
        let as_wake: Arc<dyn Wake> = this;
        let interest = self.state.lock().interest;
        let mut table = PollTable::registering_for(&as_wake, interest);
        let events = file.ops.poll(file, &mut table) & interest;
        self.state.lock().queues = table.into_watched();
        events
    }

    fn unwatch(&self) {
        let queues = core::mem::take(&mut self.state.lock().queues);
        let Some(this) = self.this.upgrade() else { return };
        let as_wake: Arc<dyn Wake> = this;
        for queue in queues {
            queue.unregister(&as_wake);
        }
    }

    /// The item leaves its epoll. Returns `true`, for use in filters.
    pub(super) fn retire(&self) -> bool {
        self.retired.store(true, Ordering::Release);
        self.unwatch();
        true
    }

    /// What of the interest is there now; `None` if the file has gone.
    pub(super) fn ask(&self) -> Option<u32> {
        let file = self.file()?;
        let interest = self.state.lock().interest;
        if interest.is_empty() || self.retired.load(Ordering::Acquire) {
            return Some(0);
        }
        Some((file.ops.poll(&file, &mut PollTable::asking()) & interest).bits())
    }

    /// Marks the item as queued; `false` if it was.
    pub(super) fn queue_up(&self) -> bool {
        !self.queued.swap(true, Ordering::AcqRel)
    }

    /// Taken off the ready list: from here on a wake-up queues it again.
    pub(super) fn leave_queue(&self) {
        self.queued.store(false, Ordering::Release);
    }

    /// The item's line of `/proc/PID/fdinfo/N`.
    pub(super) fn describe(&self, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        let Some(file) = self.file() else { return Ok(()) };
        let (events, data) = {
            let state = self.state.lock();
            (state.interest.bits() | state.behaviour.bits(), state.data)
        };
        writeln!(
            out,
            "tfd: {:8} events: {events:8x} data: {data:16x}  pos:{} ino:{:x} sdev:{:x}",
            self.fd,
            file.position.try_lock().map_or(0, |position| *position),
            file.inode.number,
            file.inode.superblock.device
        )
    }
}

impl Wake for Item {
    fn wake(&self) {
        if self.retired.load(Ordering::Acquire) || self.state.lock().interest.is_empty() {
            return;
        }
        if let (Some(epoll), Some(this)) = (self.epoll.upgrade(), self.this.upgrade()) {
            epoll.note_ready(&this);
        }
    }

    fn exclusive(&self) -> bool {
        self.behaviour().contains(Behaviour::EXCLUSIVE)
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        ITEMS.fetch_sub(1, Ordering::Relaxed);
    }
}
