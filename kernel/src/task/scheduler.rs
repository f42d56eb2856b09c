//! Which thread runs: run queue, blocking, waking, preemption of user mode.

use crate::errno::Result;
use crate::task::Thread;
use crate::task::wait_queue::{WaitMode, Wake};
use alloc::sync::Arc;

/// The running thread.
pub fn current() -> Arc<Thread> {
    todo!()
}

/// The running thread as something to be woken.
pub fn current_waiter() -> Arc<dyn Wake> {
    todo!()
}

/// From here on a wake-up of the current thread is remembered until [`block`].
pub fn prepare_to_block(_mode: WaitMode) {
    todo!()
}

/// Gives the processor away until woken. `RESTARTSYS` on a signal (as `mode` allows), `TIMEDOUT` at the deadline.
pub fn block(_mode: WaitMode) -> Result<()> {
    todo!()
}

/// Back to running, whatever [`prepare_to_block`] had noted.
pub fn finish_blocking() {
    todo!()
}

/// Lets others run (`sched_yield`, the end of a time slice).
pub fn yield_now() {
    todo!()
}
