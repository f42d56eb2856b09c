//! Readiness: what `poll`, `select`, `epoll` ask of a file, and how they hear of changes.

use crate::task::wait_queue::{WaitQueue, Wake};
use alloc::{sync::Arc, vec::Vec};
use bitflags::bitflags;

bitflags! {
    /// `POLL*` of `poll(2)`, the same bits as `EPOLL*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PollEvents: u32 {
        #[allow(missing_docs)]
        const IN = 0x1;
        #[allow(missing_docs)]
        const PRI = 0x2;
        #[allow(missing_docs)]
        const OUT = 0x4;
        #[allow(missing_docs)]
        const ERR = 0x8;
        #[allow(missing_docs)]
        const HUP = 0x10;
        #[allow(missing_docs)]
        const NVAL = 0x20;
        #[allow(missing_docs)]
        const RDNORM = 0x40;
        #[allow(missing_docs)]
        const RDBAND = 0x80;
        #[allow(missing_docs)]
        const WRNORM = 0x100;
        #[allow(missing_docs)]
        const WRBAND = 0x200;
        #[allow(missing_docs)]
        const MSG = 0x400;
        #[allow(missing_docs)]
        const RDHUP = 0x2000;
    }
}

impl PollEvents {
    /// Readable, in both of its names.
    pub const READABLE: Self = Self::IN.union(Self::RDNORM);
    /// Writable, in both of its names.
    pub const WRITABLE: Self = Self::OUT.union(Self::WRNORM);
}

/// Collects the wait queues that a file's readiness depends on. A file's `poll` first calls [`PollTable::watch`] on each queue,
/// then computes its events, so that no wake-up is lost between the two. It must not block.
pub struct PollTable<'a> {
    waker: Option<&'a Arc<dyn Wake>>,
    interest: PollEvents,
    watched: Vec<Arc<WaitQueue>>,
}

impl<'a> PollTable<'a> {
    /// A table that registers `waker` with each queue.
    pub fn registering(waker: &'a Arc<dyn Wake>) -> Self {
        Self::registering_for(waker, PollEvents::all())
    }

    /// A table that registers `waker` with the queues that tell of `interest`, and with those that tell of anything.
    pub fn registering_for(waker: &'a Arc<dyn Wake>, interest: PollEvents) -> Self {
        Self { waker: Some(waker), interest, watched: Vec::new() }
    }

    /// A table for asking only.
    pub fn asking() -> Self {
        Self { waker: None, interest: PollEvents::empty(), watched: Vec::new() }
    }

    /// Changes what the watcher wants, for one that asks several files.
    pub fn set_interest(&mut self, interest: PollEvents) {
        self.interest = interest;
    }

    /// Registers with `queue`, whatever the watcher is interested in.
    pub fn watch(&mut self, queue: &Arc<WaitQueue>) {
        if let Some(waker) = self.waker {
            queue.register(waker);
            self.watched.push(queue.clone());
        }
    }

    /// Registers with `queue` if it tells of something that the watcher wants: an edge-triggered epoll item for reading
    /// must not hear of room for writing. A queue named here must also be woken for errors and hang-ups.
    pub fn watch_for(&mut self, queue: &Arc<WaitQueue>, events: PollEvents) {
        if self.interest.intersects(events) {
            self.watch(queue);
        }
    }

    /// The queues registered with, for taking the waker out again (`WaitQueue::unregister`).
    pub fn into_watched(self) -> Vec<Arc<WaitQueue>> {
        self.watched
    }
}
