//! `poll(2)` on files: asked of the server, which says later by a notification that something has changed.

use super::connection::Connection;
use super::handle::Handle;
use super::node::Node;
use super::protocol::{Fields, Message, Opcode, POLL_SCHEDULE_NOTIFY};
use super::request::Question;
use crate::fs::{PollEvents, PollTable};
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::time::clock;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};

/// For how long an answer is believed. Who waits looks twice before he sleeps: the second look must not ask, as asking is waiting, too.
const BELIEVED_NS: u64 = 10_000_000;

/// Where who polls a file waits.
pub struct PollPoint {
    /// The kernel's number of the open file.
    number: u64,
    queue: Arc<WaitQueue>,
    /// The last answer and until when it is believed.
    answer: SpinLock<Option<(PollEvents, u64)>>,
}

/// The files of a connection that are polled.
#[derive(Default)]
pub struct PollPoints {
    points: SpinLock<BTreeMap<u64, Weak<PollPoint>>>,
    last: AtomicU64,
}

impl PollPoints {
    /// For one open file. O(files that are polled).
    pub fn add(&self) -> Arc<PollPoint> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let point = Arc::new(PollPoint { number, queue: Arc::new(WaitQueue::new()), answer: SpinLock::new(None) });
        let mut points = self.points.lock();
        points.retain(|_, point| point.strong_count() > 0);
        points.insert(number, Arc::downgrade(&point));
        point
    }

    /// The server says that a file's readiness has changed. One that it does not know is no error.
    pub fn changed(&self, number: u64) {
        let point = self.points.lock().get(&number).and_then(Weak::upgrade);
        if let Some(point) = point {
            *point.answer.lock() = None;
            point.queue.wake_all();
        }
    }
}

impl PollPoint {
    /// Readiness now. A server that cannot say is always ready; one that fails has an error.
    pub fn poll(&self, connection: &Connection, node: &Node, handle: &Handle, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.queue);
        let now_ns = clock::monotonic_ns();
        if let Some((events, until_ns)) = *self.answer.lock()
            && now_ns < until_ns
        {
            return events;
        }
        let wanted = PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::PRI | PollEvents::RDBAND | PollEvents::WRBAND;
        let body = Message::default().u64(handle.number).u64(self.number).u32(POLL_SCHEDULE_NOTIFY).u32(wanted.bits());
        let events = match connection.call_optional(Question::new(Opcode::Poll, node.number, body).answer(8)) {
            Ok(None) => PollEvents::READABLE | PollEvents::WRITABLE,
            Ok(Some(answer)) => PollEvents::from_bits_truncate(Fields(&answer).u32()),
            Err(_) => PollEvents::ERR,
        };
        *self.answer.lock() = Some((events, clock::monotonic_ns().saturating_add(BELIEVED_NS)));
        events
    }
}
