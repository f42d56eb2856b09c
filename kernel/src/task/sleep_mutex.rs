//! A lock that blocks its waiters, for what must be held across points that block (see `sync`).

use crate::sync::SpinLock;
use crate::task::wait_queue::{WaitMode, WaitQueue};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

/// Mutual exclusion whose holder may block.
pub struct SleepMutex<T> {
    held: SpinLock<bool>,
    waiters: WaitQueue,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through a guard, and `held` admits one guard at a time.
unsafe impl<T: Send> Sync for SleepMutex<T> {}

impl<T> SleepMutex<T> {
    /// An open lock.
    pub const fn new(value: T) -> Self {
        Self { held: SpinLock::new(false), waiters: WaitQueue::new(), value: UnsafeCell::new(value) }
    }

    /// Takes the lock, blocking (uninterruptibly) while another thread has it.
    pub fn lock(&self) -> SleepGuard<'_, T> {
        if let Some(guard) = self.try_lock() {
            return guard;
        }
        let taken = self.waiters.wait_until(WaitMode::UNINTERRUPTIBLE, || self.try_lock());
        taken.unwrap_or_else(|_| unreachable!("an uninterruptible wait without a deadline ends only with its condition"))
    }

    /// Takes the lock if it is open.
    pub fn try_lock(&self) -> Option<SleepGuard<'_, T>> {
        let mut held = self.held.lock();
        // Made only if it is to be: dropping a guard opens the lock.
        (!core::mem::replace(&mut *held, true)).then(|| SleepGuard { mutex: self })
    }

    /// The value, when nobody else can have the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// The lock, held.
pub struct SleepGuard<'a, T> {
    mutex: &'a SleepMutex<T>,
}

impl<T> Deref for SleepGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard is the only one (`held`).
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for SleepGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only one (`held`).
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for SleepGuard<'_, T> {
    fn drop(&mut self) {
        *self.mutex.held.lock() = false;
        self.mutex.waiters.wake_one();
    }
}
