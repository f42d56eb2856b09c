//! Circles of processes that wait for each other's record locks: `EDEADLK`.
//!
//! Only record locks of processes are followed. Whoever holds an open file description lock may be anybody who has a descriptor, so
//! nothing can be said of them (`fcntl_locking(2)`).

use super::Owner;
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use alloc::vec::Vec;

/// Who waits for whom. A process with several threads may be in it several times.
static WAITERS: SpinLock<Vec<(Owner, Owner)>> = SpinLock::new(Vec::new());

/// Links that are followed before giving up, as Linux does: a longer circle goes unseen.
const MAX_STEPS: usize = 10;

/// A wait that is being recorded.
pub(super) struct Waiting {
    owner: Owner,
}

impl Waiting {
    /// `EDEADLK` if `holder` (indirectly) waits for `owner`.
    pub(super) fn new(owner: Owner, holder: Owner) -> Result<Self> {
        let mut waiters = WAITERS.lock();
        check(&waiters, owner, holder)?;
        waiters.try_reserve(1).map_err(|_| Errno::NOLCK)?;
        waiters.push((owner, holder));
        Ok(Self { owner })
    }

    /// Another lock is in the way now.
    pub(super) fn now_for(&self, holder: Owner) -> Result<()> {
        let mut waiters = WAITERS.lock();
        check(&waiters, self.owner, holder)?;
        if let Some(entry) = waiters.iter_mut().find(|entry| entry.0 == self.owner) {
            entry.1 = holder;
        }
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiters = WAITERS.lock();
        if let Some(index) = waiters.iter().position(|entry| entry.0 == self.owner) {
            waiters.swap_remove(index);
        }
    }
}

fn check(waiters: &[(Owner, Owner)], owner: Owner, holder: Owner) -> Result<()> {
    if matches!(owner, Owner::File(_)) {
        return Ok(());
    }
    let mut next = holder;
    for _ in 0..MAX_STEPS {
        let Some((_, waits_for)) = waiters.iter().find(|entry| entry.0 == next) else { return Ok(()) };
        if *waits_for == owner {
            return Err(Errno::DEADLK);
        }
        next = *waits_for;
    }
    Ok(())
}
