//! What a thread has to see to before it goes on in user mode, besides signals. One flag word, 0 for most threads at most times: that test
//! is all that it costs them.

use crate::task::Thread;
use crate::task::cgroup::{cpu, freezer, memory};
use crate::task::signal::deliver;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Its control group is to stand still.
pub const FREEZE: u32 = 1;
/// A control group above it has a limit of processor time. Stays set.
pub const PAY_FOR_TIME: u32 = 1 << 1;
/// Its pages are charged to a control group. Stays set, and asks for nothing here.
pub const PAY_FOR_MEMORY: u32 = 1 << 2;
/// It has gone beyond `memory.high`.
pub const OVER_MEMORY_HIGH: u32 = 1 << 3;

/// Sees to everything that is set. The thread may have to end afterwards.
pub(in crate::task) fn see_to(thread: &Arc<Thread>) {
    let work = thread.return_work.load(Ordering::Relaxed);
    if work & OVER_MEMORY_HIGH != 0 {
        memory::throttle(thread);
    }
    if work & PAY_FOR_TIME != 0 {
        cpu::pay(thread);
    }
    if work & FREEZE != 0 {
        freezer::stop_here(thread);
        // What was sent meanwhile.
        deliver::deliver(thread, None);
    }
}
