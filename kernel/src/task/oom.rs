//! The out-of-memory killer: memory has run out, so somebody has to go.

use crate::task::Process;
use crate::task::cgroup::memory;
use crate::task::pid::PidNamespace;
use crate::task::signal::{Signal, SignalInfo, send_to_process};
use crate::task::wait_queue::{Deadline, WaitMode, WaitQueue};
use crate::time::clock;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// `/proc/PID/oom_score_adj` that exempts a process.
const NEVER: i32 = -1000;

/// How long a page that is not to be had is waited for, while somebody dies.
const PATIENCE_NS: u64 = 1_000_000;
/// How often that is done before the caller is told that there is no memory: who dies may wait for a lock that the caller holds.
const MAX_TRIES: u64 = 2000;

static TRIES: AtomicU64 = AtomicU64::new(0);

/// Memory has run out: sees to it that somebody dies, and waits a moment. Gives whether it is worth to try again: not if the caller is
/// dying itself. Called without a lock that a dying process needs.
pub fn make_room() -> bool {
    let Some(thread) = super::scheduler::try_current() else { return false };
    if let Some(group) = memory::take_shortage(&thread) {
        return memory::make_room(&group, &thread);
    }
    if thread.must_end() || TRIES.fetch_add(1, Ordering::Relaxed) > MAX_TRIES {
        TRIES.store(0, Ordering::Relaxed);
        return false;
    }
    crate::fs::fuse::drop_clean_pages();
    if crate::mm::frame::low() {
        kill_largest();
    }
    let moment = Deadline(clock::monotonic_ns() + PATIENCE_NS);
    let _ = WaitQueue::new().wait_until(WaitMode::KILLABLE.until(Some(moment)), || None::<()>);
    !thread.must_end()
}

/// The part of [`make_room`] for a control group that is full: whether that was why a page was not to be had, and trying again is worth it.
pub fn make_room_in_group() -> bool {
    let Some(thread) = super::scheduler::try_current() else { return false };
    memory::take_shortage(&thread).is_some_and(|group| memory::make_room(&group, &thread))
}

/// Kills the process whose end gives back most memory, weighed by `oom_score_adj`, and says so. Gives whether there was one.
///
/// While one that was chosen before is still ending, nobody else is.
pub fn kill_largest() -> bool {
    let total_pages = crate::mm::frame::statistics().total_pages as i64;
    let mut worst: Option<(i64, Arc<Process>)> = None;
    for process in PidNamespace::initial().processes() {
        if process.pid == 1 || process.address_space().is_none() {
            continue;
        }
        if process.signals.lock().group_exit.is_some() {
            return true;
        }
        let Some(points) = badness(&process, total_pages) else { continue };
        if worst.as_ref().is_none_or(|(most, _)| points > *most) {
            worst = Some((points, process));
        }
    }
    let Some((_, victim)) = worst else {
        panic!("System is deadlocked on memory: nobody is left to be killed");
    };
    TRIES.store(0, Ordering::Relaxed);
    kill(&victim, "Out of memory");
    true
}

/// Pages that the end of the process gives back, plus its adjustment in thousandths of all memory. `None` for one that is exempt.
pub fn badness(process: &Process, total_pages: i64) -> Option<i64> {
    let adjustment = process.oom_score_adjustment.load(Ordering::Relaxed);
    if adjustment == NEVER {
        return None;
    }
    Some(process.resident_pages() as i64 + i64::from(adjustment) * total_pages / 1000)
}

/// Kills a process and says why.
pub(in crate::task) fn kill(victim: &Arc<Process>, why: &str) {
    announce(victim, why);
    let _ = send_to_process(victim, SignalInfo::from_kernel(Signal::KILL));
}

fn announce(victim: &Process, why: &str) {
    let name = victim.leader().map(|leader| leader.name()).unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    let (anonymous, file) = victim.address_space().map_or((0, 0), |space| space.resident_pages());
    let uid = victim.credentials().map_or(0, |credentials| credentials.uid);
    log::error!(
        "{why}: Killed process {} ({name}) anon-rss:{}kB, file-rss:{}kB, UID:{uid} oom_score_adj:{}",
        victim.pid,
        anonymous * 4,
        file * 4,
        victim.oom_score_adjustment.load(Ordering::Relaxed)
    );
}
