//! POSIX timers (`timer_create(2)`).

use crate::task::Process;
use crate::task::signal::SignalInfo;
use alloc::sync::Arc;

/// The timers of a process.
#[derive(Default)]
pub(in crate::task) struct PosixTimers {}

/// Exec and exit take all timers away.
pub(in crate::task) fn delete_all(_process: &Arc<Process>) {}

/// A timer's signal is being taken: the timer counts its overruns and goes on. `None` if the timer has been deleted meanwhile.
pub(in crate::task) fn taken(_process: &Arc<Process>, info: SignalInfo) -> Option<SignalInfo> {
    Some(info)
}
