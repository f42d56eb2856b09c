//! Load averages: how many threads wanted to run over the last 1, 5 and 15 minutes, as `getloadavg(3)` reads them.

use crate::sync::{Once, SpinLock};
use crate::task::scheduler;
use crate::time::{clock, timer};
use alloc::sync::Arc;

/// Linux looks every five seconds.
const INTERVAL_NS: u64 = 5_000_000_000;
/// Fixed point with 11 bits behind the point.
const ONE: u64 = 1 << 11;
/// exp(-5 s / 1, 5, 15 min) in fixed point.
const DECAYS: [u64; 3] = [1884, 2014, 2037];

static AVERAGES: SpinLock<[u64; 3]> = SpinLock::new([0; 3]);

/// The three averages, times a hundred.
pub(super) fn averages_hundredths() -> [u64; 3] {
    start();
    // Linux rounds to the nearest hundredth.
    AVERAGES.lock().map(|average| (average * 100 + ONE / 2) / ONE)
}

/// Begins to look. Called once at boot, and by the first reader at the latest.
pub fn start() {
    static STARTED: Once<()> = Once::new();
    STARTED.call_once(|| schedule(Arc::new(Sampler)));
}

fn schedule(sampler: Arc<Sampler>) {
    timer::add(clock::monotonic_ns() + INTERVAL_NS, sampler);
}

/// Threads that run or want to. The timer's handler runs in the place of a thread, which may have gone to sleep: then the processor
/// is idle.
fn active_threads() -> usize {
    let running = scheduler::try_current().is_some_and(|thread| scheduler::state_letter(&thread) == 'R');
    scheduler::runnable_threads() - 1 + usize::from(running)
}

struct Sampler;

impl timer::Timer for Sampler {
    fn expired(&self) {
        let active = active_threads() as u64 * ONE;
        for (average, decay) in AVERAGES.lock().iter_mut().zip(DECAYS) {
            *average = (*average * decay + active * (ONE - decay) + ONE / 2) / ONE;
        }
        schedule(Arc::new(Sampler));
    }
}
