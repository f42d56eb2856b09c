//! Events that wait to be read.

use super::Mask;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// `/proc/sys/fs/inotify/max_queued_events`.
const MAX_EVENTS: usize = 16384;
/// Names are padded to a multiple of the event's own size.
const NAME_ALIGN_BYTES: usize = 16;
const HEADER_BYTES: usize = 16;

/// `struct inotify_event`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The watch; -1 for an overflow.
    pub watch: i32,
    /// What happened.
    pub mask: Mask,
    /// Holds the two halves of a move together.
    pub cookie: u32,
    /// The name in a watched directory; empty for the watched file itself.
    pub name: Vec<u8>,
}

impl Event {
    fn name_bytes(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(NAME_ALIGN_BYTES) }
    }

    fn len_bytes(&self) -> usize {
        HEADER_BYTES + self.name_bytes()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len_bytes());
        bytes.extend_from_slice(&self.watch.to_ne_bytes());
        bytes.extend_from_slice(&self.mask.bits().to_ne_bytes());
        bytes.extend_from_slice(&self.cookie.to_ne_bytes());
        bytes.extend_from_slice(&(self.name_bytes() as u32).to_ne_bytes());
        bytes.extend_from_slice(&self.name);
        bytes.resize(self.len_bytes(), 0);
        bytes
    }
}

/// What [`EventQueue::pop_if_fits`] finds.
pub(super) enum Next {
    /// The first event, encoded; it has left the queue.
    Event(Vec<u8>),
    /// The first event does not fit.
    TooLong,
    /// There is none.
    None,
}

/// First in, first out.
#[derive(Default)]
pub(super) struct EventQueue {
    events: VecDeque<Event>,
}

impl EventQueue {
    /// Adds an event, unless it equals the last one, which is enough. When the queue is full, one overflow event says so.
    pub(super) fn push(&mut self, event: Event) {
        if self.events.back() == Some(&event) {
            return;
        }
        match self.events.len() {
            MAX_EVENTS.. => {}
            len if len == MAX_EVENTS - 1 => {
                self.events.push_back(Event { watch: -1, mask: Mask::OVERFLOW, cookie: 0, name: Vec::new() });
            }
            _ => self.events.push_back(event),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Bytes that reading all would give (`FIONREAD`).
    pub(super) fn len_bytes(&self) -> usize {
        self.events.iter().map(Event::len_bytes).sum()
    }

    pub(super) fn pop_if_fits(&mut self, room_bytes: usize) -> Next {
        match self.events.front().map(Event::len_bytes) {
            None => Next::None,
            Some(len_bytes) if len_bytes > room_bytes => Next::TooLong,
            Some(_) => self.events.pop_front().map_or(Next::None, |event| Next::Event(event.encode())),
        }
    }
}
