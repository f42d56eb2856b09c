//! Futexes that are locks with an owner (`FUTEX_LOCK_PI`, `FUTEX_UNLOCK_PI`, `FUTEX_TRYLOCK_PI`). The word holds the owner's number and
//! whether others wait. There is nothing to inherit: the run queue gives everybody the same.

use super::{Key, MATCH_ANY, Waiter, dequeue, enqueue, take, update};
use crate::errno::{Errno, Result};
use crate::mm::user::UserPointer;
use crate::task::wait_queue::{Deadline, WaitMode};
use crate::task::{current, pid};
use linux_raw_sys::general as sys;

/// Takes the lock at `address`, waiting for it unless `try_only`. `EDEADLK` if the caller has it, `ESRCH` if its owner is gone.
pub fn lock(address: u64, private: bool, deadline: Option<Deadline>, try_only: bool) -> Result<u64> {
    let key = Key::of(address, private)?;
    let me = current().pid().number();
    if attempt(address, me)? {
        return Ok(0);
    }
    if try_only {
        return Err(Errno::AGAIN);
    }
    let waiter = Waiter::new(key, MATCH_ANY);
    enqueue(&waiter);
    // The owner may have let go before this waiter was seen.
    if attempt(address, me).inspect_err(|_| dequeue(&waiter))? {
        dequeue(&waiter);
        return Ok(0);
    }
    let waited = waiter.queue.wait_until(WaitMode::INTERRUPTIBLE.until(deadline), || waiter.is_woken().then_some(()));
    dequeue(&waiter);
    // Who unlocks has put this thread's number into the word.
    waited.map(|()| 0).map_err(|error| if error == Errno::RESTARTSYS { Errno::RESTARTNOINTR } else { error })
}

/// Takes a free lock, or notes in the word that somebody waits.
fn attempt(address: u64, me: u32) -> Result<bool> {
    let mut taken = Ok(false);
    update(address, |old| {
        let owner = old & sys::FUTEX_TID_MASK;
        match owner {
            0 => {
                taken = Ok(true);
                Some(old & (sys::FUTEX_OWNER_DIED | sys::FUTEX_WAITERS) | me)
            }
            _ if owner == me => {
                taken = Err(Errno::DEADLK);
                None
            }
            _ if pid::find(owner).is_none() => {
                taken = Err(Errno::SRCH);
                None
            }
            _ => Some(old | sys::FUTEX_WAITERS),
        }
    })?;
    taken
}

/// Hands the lock to who has waited longest, or leaves it free. `EPERM` if the caller does not have it.
pub fn unlock(address: u64, private: bool) -> Result<u64> {
    let me = current().pid().number();
    if UserPointer::<u32>::new(address).read()? & sys::FUTEX_TID_MASK != me {
        return Err(Errno::PERM);
    }
    let key = Key::of(address, private)?;
    let next = take(key, 1, MATCH_ANY).pop_front();
    let more = super::WAITERS.lock().contains_key(&key);
    let waiters = if more { sys::FUTEX_WAITERS } else { 0 };
    update(address, |_| Some(next.as_ref().map_or(0, |next| next.tid | waiters)))?;
    if let Some(next) = next {
        next.wake();
    }
    Ok(0)
}
