//! The page that programs read the time from: what turns the time-stamp counter into nanoseconds. The kernel and the code of the vDSO
//! are both compiled with this file.

use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

/// Times are `(cycles * multiplier) >> SHIFT`.
pub const SHIFT: u32 = 32;

/// The page's content; the rest of it is zeros. A page of zeros says that the kernel has to be asked.
#[repr(C)]
#[derive(Default)]
pub struct ClockPage {
    /// Odd while the kernel writes.
    sequence: AtomicU32,
    /// The counter's value at time 0 of the monotonic clock.
    start_cycles: AtomicU64,
    /// Nanoseconds per cycle, times 2^32; 0 if the kernel has to be asked.
    multiplier: AtomicU64,
    /// Nanoseconds between that and 1970.
    realtime_offset_ns: AtomicI64,
}

/// What the page says at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// See [`ClockPage`].
    pub start_cycles: u64,
    /// Likewise.
    pub multiplier: u64,
    /// Likewise.
    pub realtime_offset_ns: i64,
}

impl ClockPage {
    /// All of it as it was at one moment.
    #[cfg(vdso)]
    #[inline]
    pub fn read(&self) -> Clock {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            let clock = Clock {
                start_cycles: self.start_cycles.load(Ordering::Relaxed),
                multiplier: self.multiplier.load(Ordering::Relaxed),
                realtime_offset_ns: self.realtime_offset_ns.load(Ordering::Relaxed),
            };
            core::sync::atomic::fence(Ordering::Acquire);
            if before & 1 == 0 && before == self.sequence.load(Ordering::Relaxed) {
                return clock;
            }
            core::hint::spin_loop();
        }
    }

    /// Replaces it. One writer at a time.
    #[cfg(not(vdso))]
    pub fn write(&self, clock: Clock) {
        self.sequence.fetch_add(1, Ordering::Relaxed);
        core::sync::atomic::fence(Ordering::Release);
        self.start_cycles.store(clock.start_cycles, Ordering::Relaxed);
        self.multiplier.store(clock.multiplier, Ordering::Relaxed);
        self.realtime_offset_ns.store(clock.realtime_offset_ns, Ordering::Relaxed);
        self.sequence.fetch_add(1, Ordering::Release);
    }
}

impl Clock {
    /// The monotonic clock when the counter shows `cycles`.
    #[inline]
    pub fn monotonic_ns(&self, cycles: u64) -> u64 {
        let since_start = cycles.saturating_sub(self.start_cycles);
        ((u128::from(since_start) * u128::from(self.multiplier)) >> SHIFT) as u64
    }
}
