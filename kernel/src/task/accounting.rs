//! Processor time that threads and processes have used (`times(2)`, `getrusage(2)`).

use crate::task::{Process, Thread};
use core::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds in a clock tick as programs see them (`sysconf(_SC_CLK_TCK)` is 100).
pub const TICK_NS: u64 = 10_000_000;

/// Of a thread.
#[derive(Default)]
pub struct ThreadTimes {
    user_ns: AtomicU64,
    system_ns: AtomicU64,
    voluntary_switches: AtomicU64,
    involuntary_switches: AtomicU64,
    minor_faults: AtomicU64,
}

impl ThreadTimes {
    pub(in crate::task) fn add_user(&self, ns: u64) {
        self.user_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(in crate::task) fn add_system(&self, ns: u64) {
        self.system_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(in crate::task) fn count_switch(&self, voluntary: bool) {
        let counter = if voluntary { &self.voluntary_switches } else { &self.involuntary_switches };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::task) fn count_fault(&self) {
        self.minor_faults.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::task) fn total_ns(&self) -> u64 {
        self.user_ns.load(Ordering::Relaxed) + self.system_ns.load(Ordering::Relaxed)
    }

    fn usage(&self) -> Usage {
        Usage {
            user_ns: self.user_ns.load(Ordering::Relaxed),
            system_ns: self.system_ns.load(Ordering::Relaxed),
            voluntary_switches: self.voluntary_switches.load(Ordering::Relaxed),
            involuntary_switches: self.involuntary_switches.load(Ordering::Relaxed),
            minor_faults: self.minor_faults.load(Ordering::Relaxed),
            peak_resident_pages: 0,
        }
    }
}

/// What was used, by whomever.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Usage {
    pub user_ns: u64,
    pub system_ns: u64,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
    pub minor_faults: u64,
    pub peak_resident_pages: u64,
}

impl Usage {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.minor_faults += other.minor_faults;
        self.peak_resident_pages = self.peak_resident_pages.max(other.peak_resident_pages);
    }

    /// User and system time.
    pub fn total_ns(&self) -> u64 {
        self.user_ns + self.system_ns
    }
}

/// Of a process, beside its live threads.
#[derive(Default)]
pub(in crate::task) struct ProcessTimes {
    /// Threads that have ended.
    pub ended_threads: Usage,
    /// Children that were waited for, with theirs.
    pub reaped_children: Usage,
    /// Most pages that were ever resident, as far as it was looked at.
    pub peak_resident_pages: u64,
}

impl Thread {
    /// What this thread has used. Of the running one up to now.
    pub fn usage(&self) -> Usage {
        if super::scheduler::try_current().is_some_and(|current| core::ptr::eq(&*current, self)) {
            super::scheduler::charge_system(self);
        }
        self.times.usage()
    }
}

impl Process {
    /// What all its threads have used. May block.
    pub fn usage(&self) -> Usage {
        let mut usage = self.usage_without_memory();
        usage.peak_resident_pages = usage.peak_resident_pages.max(self.resident_pages());
        usage
    }

    /// As [`Self::usage`], without looking at the pages that are resident now; does not block.
    pub fn usage_without_memory(&self) -> Usage {
        let mut usage = Usage::default();
        for thread in self.threads() {
            // A first thread that has ended is still in the list, but its time was moved over.
            if !thread.dead.load(Ordering::Relaxed) {
                usage.add(&thread.usage());
            }
        }
        let times = self.times.lock();
        usage.add(&times.ended_threads);
        usage.peak_resident_pages = times.peak_resident_pages;
        usage
    }

    /// What the children that it waited for used.
    pub fn children_usage(&self) -> Usage {
        self.times.lock().reaped_children
    }

    /// Pages of its memory that are present.
    pub fn resident_pages(&self) -> u64 {
        self.address_space().map_or(0, |space| {
            let (anonymous, file) = space.resident_pages();
            anonymous + file
        })
    }
}
