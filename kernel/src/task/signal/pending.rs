//! Signals that have arrived and wait to be taken: one set and queue for each thread, one that the threads of a process share.

use super::{Signal, SignalInfo, SignalSet};
use alloc::collections::VecDeque;

/// See the file's first line. A standard signal is there at most once, real-time signals queue in order of arrival.
#[derive(Default)]
pub struct PendingSignals {
    set: SignalSet,
    queue: VecDeque<SignalInfo>,
}

impl PendingSignals {
    /// Which are there.
    pub fn set(&self) -> SignalSet {
        self.set
    }

    /// How many queue entries there are (`RLIMIT_SIGPENDING`, `SigQ`).
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Adds a signal. `with_info` is false when the limit is reached: only the bit is set then.
    pub(super) fn push(&mut self, info: SignalInfo, with_info: bool) {
        self.set = self.set.with(info.signal);
        if with_info {
            self.queue.push_back(info);
        }
    }

    /// Takes out `signal` with what it tells.
    pub(super) fn take(&mut self, signal: Signal) -> SignalInfo {
        let found = self.queue.iter().position(|info| info.signal == signal).and_then(|index| self.queue.remove(index));
        if !self.queue.iter().any(|info| info.signal == signal) {
            self.set = self.set.without(signal);
        }
        found.unwrap_or_else(|| SignalInfo::bare(signal))
    }

    /// The next signal of `wanted`: synchronous ones first, then by number.
    pub(super) fn next(&self, wanted: SignalSet) -> Option<Signal> {
        let ready = self.set.intersection(wanted);
        ready.intersection(SignalSet::SYNCHRONOUS).first().or_else(|| ready.first())
    }

    /// Forgets all signals of `gone`.
    pub(in crate::task) fn discard(&mut self, gone: SignalSet) {
        self.set = self.set.minus(gone);
        self.queue.retain(|info| !gone.contains(info.signal));
    }

    /// Whether a signal of that timer waits.
    pub(in crate::task) fn has_timer(&self, signal: Signal, timer: i32) -> bool {
        self.queue.iter().any(|info| info.signal == signal && matches!(info.detail, super::Detail::Timer { id, .. } if id == timer))
    }
}
