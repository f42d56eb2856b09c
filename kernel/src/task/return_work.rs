//! What a thread has to see to before it goes on in user mode, besides signals. One flag word, 0 for most threads at most times: that test
//! is all that it costs them.

use crate::task::Thread;
use crate::task::cgroup::freezer;
use crate::task::signal::deliver;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Its control group is to stand still.
pub const FREEZE: u32 = 1;

/// Sees to everything that is set. The thread may have to end afterwards.
pub(in crate::task) fn see_to(thread: &Arc<Thread>) {
    let work = thread.return_work.load(Ordering::Relaxed);
    if work & FREEZE != 0 {
        freezer::stop_here(thread);
    }
    // What was sent meanwhile.
    deliver::deliver(thread, None);
}
