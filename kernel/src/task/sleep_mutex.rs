//! A lock that blocks its waiters, for what must be held across points that block (see `sync`).

use crate::task::wait_queue::{WaitMode, WaitQueue};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// Mutual exclusion whose holder may block.
pub struct SleepMutex<T> {
    held: AtomicBool,
    waiters: WaitQueue,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through a guard, and `held` admits one guard at a time.
unsafe impl<T: Send> Sync for SleepMutex<T> {}

impl<T> SleepMutex<T> {
    /// An open lock.
    pub const fn new(value: T) -> Self {
        Self { held: AtomicBool::new(false), waiters: WaitQueue::new(), value: UnsafeCell::new(value) }
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
        // The guard is made only if it is to be: dropping one opens the lock.
        (!self.held.swap(true, Ordering::SeqCst)).then(|| SleepGuard { mutex: self })
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
        // In one order with a waiter that registers and then tries once more: one of the two sees the other.
        self.mutex.held.store(false, Ordering::SeqCst);
        self.mutex.waiters.wake_one();
    }
}
