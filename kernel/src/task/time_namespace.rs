//! Time namespaces (`time_namespaces(7)`): clocks since boot that show another time to those inside.

use crate::errno::{Errno, Result};
use crate::sync::{Once, SpinLock};
use crate::task::namespace_count::NamespaceCount;
use crate::task::namespaces::{Kind, next_inode_number};
use crate::task::{Deadline, UserNamespace, current};
use crate::time::clock::{self, NS_PER_SECOND};
use alloc::sync::Arc;

/// The longest time that a clock may show, half of what Linux's `ktime_t` holds, in seconds.
const MAX_SECONDS: i64 = i64::MAX / NS_PER_SECOND as i64 / 2;

/// Which clock an offset is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OffsetClock {
    Monotonic,
    BootTime,
}

/// Nanoseconds that are added to what the machine's clocks show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Offsets {
    pub monotonic_ns: i64,
    pub boot_time_ns: i64,
}

impl Offsets {
    /// That of one clock.
    pub fn of(&self, clock: OffsetClock) -> i64 {
        match clock {
            OffsetClock::Monotonic => self.monotonic_ns,
            OffsetClock::BootTime => self.boot_time_ns,
        }
    }
}

/// A time namespace.
pub struct TimeNamespace {
    /// Whose privileges govern it.
    pub owner: Arc<UserNamespace>,
    /// For `/proc/PID/ns/time`.
    pub inode_number: u64,
    state: SpinLock<State>,
    _count: Option<NamespaceCount>,
}

#[derive(Clone, Copy, Default)]
struct State {
    offsets: Offsets,
    /// Somebody is inside: the offsets stay what they are.
    frozen: bool,
}

static INITIAL: Once<Arc<TimeNamespace>> = Once::new();

impl TimeNamespace {
    /// The one that the kernel booted with: no offsets, for ever.
    pub fn initial() -> Arc<Self> {
        let make = || {
            let state = State { frozen: true, ..State::default() };
            let inode_number = next_inode_number(Kind::Time, true);
            Arc::new(Self { owner: UserNamespace::initial(), inode_number, state: SpinLock::new(state), _count: None })
        };
        INITIAL.call_once(make).clone()
    }

    /// A new one with the same offsets, which can be changed until somebody enters.
    pub fn copy(&self, owner: Arc<UserNamespace>, count: NamespaceCount) -> Arc<Self> {
        let state = State { offsets: self.offsets(), frozen: false };
        Arc::new(Self { owner, inode_number: next_inode_number(Kind::Time, false), state: SpinLock::new(state), _count: Some(count) })
    }

    /// The offsets now.
    pub fn offsets(&self) -> Offsets {
        self.state.lock().offsets
    }

    /// Somebody enters.
    pub fn freeze(&self) {
        self.state.lock().frozen = true;
    }

    /// Sets offsets, all or none. `ERANGE` for one that would let a clock show a time before 0 or far ahead, `EACCES` once somebody is inside.
    pub fn set_offsets(&self, wanted: &[(OffsetClock, i64, i64)]) -> Result<()> {
        let second = i128::from(NS_PER_SECOND);
        for &(_, seconds, nanoseconds) in wanted {
            let shown_ns = i128::from(clock::monotonic_ns()) + i128::from(seconds) * second + i128::from(nanoseconds);
            if !(0..i128::from(MAX_SECONDS + 1) * second).contains(&shown_ns) {
                return Err(Errno::RANGE);
            }
        }
        let mut state = self.state.lock();
        if state.frozen {
            return Err(Errno::ACCES);
        }
        for &(clock, seconds, nanoseconds) in wanted {
            let offset_ns = seconds.saturating_mul(NS_PER_SECOND as i64).saturating_add(nanoseconds);
            match clock {
                OffsetClock::Monotonic => state.offsets.monotonic_ns = offset_ns,
                OffsetClock::BootTime => state.offsets.boot_time_ns = offset_ns,
            }
        }
        Ok(())
    }
}

/// The offset of `clock` for the current thread, in nanoseconds.
pub fn offset_ns(clock: OffsetClock) -> i64 {
    current().namespaces().time.offsets().of(clock)
}

/// What the current thread is shown of a moment of the machine's clock.
pub fn shown_ns(clock: OffsetClock, machine_ns: u64) -> u64 {
    machine_ns.saturating_add_signed(offset_ns(clock))
}

/// The moment on the machine's clock that the current thread means.
pub fn deadline(clock: OffsetClock, shown_ns: u64) -> Deadline {
    Deadline(shown_ns.saturating_sub_signed(offset_ns(clock)))
}
