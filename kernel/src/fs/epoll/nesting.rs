//! Epolls that watch epolls: no circles, and chains short enough that a wake-up can follow them on one kernel stack.

use super::{Epoll, of};
use crate::errno::{Errno, Result};
use crate::task::SleepMutex;
use crate::task::sleep_mutex::SleepGuard;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// The longest chain of epolls (`epoll_ctl(2)`, ELOOP).
const MAX_CHAIN: usize = 5;

/// Held while one epoll is put into another: the check must hold until the link is there.
static NESTING: SleepMutex<()> = SleepMutex::new(());

/// `ELOOP` if `outer` watching `inner` would close a circle or make too long a chain. The guard keeps other links from being made.
pub(super) fn check(outer: &Arc<Epoll>, inner: &Arc<Epoll>) -> Result<SleepGuard<'static, ()>> {
    let guard = NESTING.lock();
    let below = depth_below(inner, outer, 1)?;
    let above = height_above(outer, 1);
    if above + below > MAX_CHAIN { Err(Errno::LOOP) } else { Ok(guard) }
}

/// Epolls in the longest chain from `epoll` downwards, itself included; `ELOOP` if `sought` is in it.
fn depth_below(epoll: &Arc<Epoll>, sought: &Arc<Epoll>, depth: usize) -> Result<usize> {
    if Arc::ptr_eq(epoll, sought) || depth > MAX_CHAIN {
        return Err(Errno::LOOP);
    }
    let watched: Vec<_> = epoll.items.lock().values().filter_map(|item| item.file()).collect();
    let mut deepest = 1;
    for file in &watched {
        if let Some(inner) = of(file) {
            deepest = deepest.max(1 + depth_below(inner, sought, depth + 1)?);
        }
    }
    Ok(deepest)
}

/// Epolls in the longest chain from `epoll` upwards, itself included.
fn height_above(epoll: &Arc<Epoll>, height: usize) -> usize {
    if height > MAX_CHAIN {
        return 1;
    }
    let parents: Vec<Arc<Epoll>> = {
        let mut parents = epoll.parents.lock();
        parents.retain(|parent| parent.strong_count() > 0);
        parents.iter().filter_map(Weak::upgrade).collect()
    };
    // A parent that has let go of the epoll since only makes the answer too careful.
    let watches = |parent: &&Arc<Epoll>| {
        let items: Vec<_> = parent.items.lock().values().filter_map(|item| item.file()).collect();
        items.iter().any(|file| of(file).is_some_and(|inner| Arc::ptr_eq(inner, epoll)))
    };
    1 + parents.iter().filter(watches).map(|parent| height_above(parent, height + 1)).max().unwrap_or(0)
}
