//! Telling who waits for changes of a group's files: `poll` with `POLLPRI`, and inotify's `IN_MODIFY` (`cgroup-v2.rst`, "[Un]populated
//! Notification").
//!
//! What changed is collected while the tree's lock is held, and told after.

use super::Cgroup;
use crate::task::WaitQueue;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

/// A file that tells when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum EventFile {
    Cgroup,
    Pids,
    PidsLocal,
    Memory,
    MemoryLocal,
}

impl EventFile {
    const COUNT: usize = 5;

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup.events",
            Self::Pids => "pids.events",
            Self::PidsLocal => "pids.events.local",
            Self::Memory => "memory.events",
            Self::MemoryLocal => "memory.events.local",
        }
    }
}

/// How often each file of a group has changed, and who waits for that.
#[derive(Default)]
pub struct Events {
    counts: [AtomicU64; EventFile::COUNT],
    queue: Arc<WaitQueue>,
}

impl Events {
    /// How often the file has changed.
    pub fn count(&self, file: EventFile) -> u64 {
        self.counts[file as usize].load(Ordering::Acquire)
    }

    /// Woken at every change.
    pub fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }
}

/// What has changed and is to be told once no lock is held.
#[derive(Default)]
#[must_use]
pub struct Notices(Vec<(Arc<Cgroup>, EventFile)>);

impl Notices {
    /// Adds a change.
    pub fn push(&mut self, group: Arc<Cgroup>, file: EventFile) {
        self.0.push((group, file));
    }

    /// Tells all of them.
    pub fn send(self) {
        for (group, file) in self.0 {
            tell(&group, file);
        }
    }
}

/// Tells one change at once.
pub fn tell(group: &Arc<Cgroup>, file: EventFile) {
    group.events.counts[file as usize].fetch_add(1, Ordering::AcqRel);
    group.events.queue.wake_all();
    crate::fs::cgroupfs::modified(group, file.name());
}
