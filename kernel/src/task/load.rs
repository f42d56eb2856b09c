//! Load averages (`/proc/loadavg`, `sysinfo(2)`): how many threads ran or wanted to, averaged over 1, 5 and 15 minutes.

use crate::sync::SpinLock;
use crate::task::scheduler;
use crate::time::clock;

/// How often a sample is taken.
const INTERVAL_NS: u64 = 5_000_000_000;
/// Fixed-point 1, and how much of an average survives one interval: 2^11 / e^(5 s / n min), the factors of Linux's documentation.
const ONE: u64 = 1 << 11;
const DECAY: [u64; 3] = [1884, 2014, 2037];
/// Catching up on more idle intervals than this makes no difference.
const MAX_CATCH_UP: u64 = 1000;

struct Averages {
    next_ns: u64,
    values: [u64; 3],
}

static AVERAGES: SpinLock<Averages> = SpinLock::new(Averages { next_ns: INTERVAL_NS, values: [0; 3] });

/// Takes the samples that are due. Called now and then while threads run, and before the averages are read.
pub(in crate::task) fn sample() {
    let now = clock::monotonic_ns();
    let mut averages = AVERAGES.lock();
    if now < averages.next_ns {
        return;
    }
    let intervals = ((now - averages.next_ns) / INTERVAL_NS + 1).min(MAX_CATCH_UP);
    let active = scheduler::runnable_threads() as u64 * ONE;
    for index in 0..intervals {
        // What ran during intervals that nobody looked at was nothing.
        let load = if index + 1 == intervals { active } else { 0 };
        for (value, decay) in averages.values.iter_mut().zip(DECAY) {
            *value = (*value * decay + load * (ONE - decay)) / ONE;
        }
    }
    averages.next_ns = now - (now - averages.next_ns) % INTERVAL_NS + INTERVAL_NS;
}

/// The three averages in hundredths.
pub fn averages_hundredths() -> [u64; 3] {
    sample();
    AVERAGES.lock().values.map(|value| (value * 100 + ONE / 2) / ONE)
}

/// The three averages with 16 fractional bits, as `sysinfo(2)` gives them.
pub fn averages_16_bit() -> [u64; 3] {
    sample();
    AVERAGES.lock().values.map(|value| value << (16 - 11))
}
