//! futex(2): threads wait for a word in memory to change, and wake each other.
//!
//! A waiter queues first and looks at the word then, so that a wake-up between the two is not lost. Words in shared mappings are found by
//! their page, others by address space and address.

pub mod priority;
pub mod robust;

pub use robust::exit_robust_list;

use crate::errno::{Errno, Result};
use crate::mm::address_space::{Access, PageIdentity};
use crate::mm::user::UserPointer;
use crate::mm::{AddressSpace, PAGE_SIZE_BYTES, USER_END};
use crate::sync::SpinLock;
use crate::task::wait_queue::{Deadline, WaitMode, WaitQueue};
use crate::task::{current, run};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general as sys;

/// `FUTEX_BITSET_MATCH_ANY`.
pub const MATCH_ANY: u32 = sys::FUTEX_BITSET_MATCH_ANY;

/// What a futex is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The address space (by its own address, good while a waiter is in it) and the word's address.
    Private(usize, u64),
    /// The page and the word's place in it.
    Shared(PageIdentity, u64),
}

impl Key {
    /// The futex at `address` of the current process. `EINVAL` if misaligned, `EFAULT` outside of user memory or (for one that may be
    /// shared) where nothing can be read.
    pub fn of(address: u64, private: bool) -> Result<Self> {
        if !address.is_multiple_of(4) {
            return Err(Errno::INVAL);
        }
        if address >= USER_END {
            return Err(Errno::FAULT);
        }
        let space = current().process.address_space().ok_or(Errno::FAULT)?;
        if !private {
            UserPointer::<u32>::new(address).read()?;
            if let Some(page) = space.shared_page(address) {
                return Ok(Self::Shared(page, address % PAGE_SIZE_BYTES as u64));
            }
        }
        Ok(Self::Private(Arc::as_ptr(&space) as usize, address))
    }
}

struct Waiter {
    /// Where it waits; changed by a requeue.
    key: SpinLock<Key>,
    bitset: u32,
    /// For locks with priority inheritance: who waits.
    tid: u32,
    woken: AtomicBool,
    queue: WaitQueue,
}

impl Waiter {
    fn new(key: Key, bitset: u32) -> Arc<Self> {
        let tid = current().pid().number();
        Arc::new(Self { key: SpinLock::new(key), bitset, tid, woken: AtomicBool::new(false), queue: WaitQueue::new() })
    }

    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.queue.wake_all();
    }

    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }
}

static WAITERS: SpinLock<BTreeMap<Key, VecDeque<Arc<Waiter>>>> = SpinLock::new(BTreeMap::new());

fn enqueue(waiter: &Arc<Waiter>) {
    let key = *waiter.key.lock();
    WAITERS.lock().entry(key).or_default().push_back(waiter.clone());
}

fn dequeue(waiter: &Arc<Waiter>) {
    let mut all = WAITERS.lock();
    let key = *waiter.key.lock();
    if let Some(queue) = all.get_mut(&key) {
        queue.retain(|other| !Arc::ptr_eq(other, waiter));
        if queue.is_empty() {
            all.remove(&key);
        }
    }
}

/// Takes up to `count` waiters out whose bitsets meet `bitset`.
fn take(key: Key, count: usize, bitset: u32) -> VecDeque<Arc<Waiter>> {
    let mut all = WAITERS.lock();
    let mut taken = VecDeque::new();
    let Some(queue) = all.get_mut(&key) else { return taken };
    let mut index = 0;
    while index < queue.len() && taken.len() < count {
        if queue[index].bitset & bitset == 0 {
            index += 1;
        } else if let Some(waiter) = queue.remove(index) {
            taken.push_back(waiter);
        }
    }
    if queue.is_empty() {
        all.remove(&key);
    }
    taken
}

/// `FUTEX_WAIT` and `FUTEX_WAIT_BITSET`: `EAGAIN` if the word is not `expected`, `ETIMEDOUT` at the deadline.
pub fn wait(address: u64, private: bool, expected: u32, bitset: u32, deadline: Option<Deadline>) -> Result<u64> {
    if bitset == 0 {
        return Err(Errno::INVAL);
    }
    let waiter = Waiter::new(Key::of(address, private)?, bitset);
    enqueue(&waiter);
    let value = UserPointer::<u32>::new(address).read();
    if value != Ok(expected) {
        dequeue(&waiter);
        // Somebody who was chosen to be woken may not say that nothing happened.
        return if waiter.is_woken() { Ok(0) } else { Err(value.err().unwrap_or(Errno::AGAIN)) };
    }
    let waited = waiter.queue.wait_until(WaitMode::INTERRUPTIBLE.until(deadline), || waiter.is_woken().then_some(()));
    dequeue(&waiter);
    match waited {
        Ok(()) => Ok(0),
        Err(Errno::RESTARTSYS) if deadline.is_some() => Err(run::restart_with(move || wait(address, private, expected, bitset, deadline))),
        Err(error) => Err(error),
    }
}

/// `FUTEX_WAKE` and `FUTEX_WAKE_BITSET`: how many were woken.
pub fn wake(address: u64, private: bool, count: u32, bitset: u32) -> Result<u64> {
    if bitset == 0 {
        return Err(Errno::INVAL);
    }
    Ok(wake_key(Key::of(address, private)?, count, bitset))
}

fn wake_key(key: Key, count: u32, bitset: u32) -> u64 {
    // Linux wakes one even for a count of 0 or less.
    let count = usize::try_from(count as i32).unwrap_or(0).max(1);
    let taken = take(key, count, bitset);
    taken.iter().for_each(|waiter| waiter.wake());
    taken.len() as u64
}

/// Wakes waiters at an address of the current process, whichever way they wait: at a thread's end.
pub fn wake_at(address: u64, count: u32) {
    for private in [false, true] {
        if let Ok(key) = Key::of(address, private)
            && wake_key(key, count, MATCH_ANY) > 0
        {
            break;
        }
    }
}

/// `FUTEX_REQUEUE`, `FUTEX_CMP_REQUEUE`: wakes `wake_count` waiters and lets up to `move_count` others wait at `to`. `EAGAIN` if the word
/// is not `expected`.
pub fn requeue(from: u64, to: u64, private: bool, wake_count: u32, move_count: u32, expected: Option<u32>) -> Result<u64> {
    if (wake_count as i32) < 0 || (move_count as i32) < 0 {
        return Err(Errno::INVAL);
    }
    let (from_key, to_key) = (Key::of(from, private)?, Key::of(to, private)?);
    if let Some(expected) = expected
        && UserPointer::<u32>::new(from).read()? != expected
    {
        return Err(Errno::AGAIN);
    }
    let woken = take(from_key, wake_count as usize, MATCH_ANY);
    let moved = take(from_key, move_count as usize, MATCH_ANY);
    let count = woken.len() + if expected.is_some() { moved.len() } else { 0 };
    woken.iter().for_each(|waiter| waiter.wake());
    for waiter in moved {
        *waiter.key.lock() = to_key;
        enqueue(&waiter);
    }
    Ok(count as u64)
}

/// `FUTEX_WAKE_OP`: changes the word at `other` as `operation` encodes, wakes waiters at `address`, and those at `other` if its old value
/// compares as the operation says.
pub fn wake_op(address: u64, other: u64, private: bool, count: u32, other_count: u32, operation: u32) -> Result<u64> {
    let (key, other_key) = (Key::of(address, private)?, Key::of(other, private)?);
    let operation = Operation::decode(operation)?;
    let old = update(other, |old| Some(operation.apply(old)))?;
    let mut woken = wake_key(key, count, MATCH_ANY);
    if operation.compares(old) {
        woken += wake_key(other_key, other_count, MATCH_ANY);
    }
    Ok(woken)
}

/// `FUTEX_OP(op, oparg, cmp, cmparg)`, taken apart.
struct Operation {
    operation: u32,
    argument: u32,
    comparison: u32,
    compared: i32,
}

impl Operation {
    fn decode(encoded: u32) -> Result<Self> {
        /// Fields of 12 bits are signed.
        fn extend(field: u32) -> i32 {
            (field << 20) as i32 >> 20
        }
        let shifted = encoded >> 28 & sys::FUTEX_OP_OPARG_SHIFT != 0;
        let argument = extend(encoded >> 12 & 0xfff);
        let argument = if shifted { 1u32.wrapping_shl(argument as u32) } else { argument as u32 };
        let (operation, comparison) = (encoded >> 28 & 7, encoded >> 24 & 0xf);
        if operation > sys::FUTEX_OP_XOR || comparison > sys::FUTEX_OP_CMP_GE {
            return Err(Errno::NOSYS);
        }
        Ok(Self { operation, argument, comparison, compared: extend(encoded & 0xfff) })
    }

    fn apply(&self, old: u32) -> u32 {
        match self.operation {
            sys::FUTEX_OP_SET => self.argument,
            sys::FUTEX_OP_ADD => old.wrapping_add(self.argument),
            sys::FUTEX_OP_OR => old | self.argument,
            sys::FUTEX_OP_ANDN => old & !self.argument,
            _ => old ^ self.argument,
        }
    }

    fn compares(&self, old: u32) -> bool {
        let old = old as i32;
        match self.comparison {
            sys::FUTEX_OP_CMP_EQ => old == self.compared,
            sys::FUTEX_OP_CMP_NE => old != self.compared,
            sys::FUTEX_OP_CMP_LT => old < self.compared,
            sys::FUTEX_OP_CMP_LE => old <= self.compared,
            sys::FUTEX_OP_CMP_GT => old > self.compared,
            _ => old >= self.compared,
        }
    }
}

/// Changes a word as if at once, unless `change` gives `None`; gives the old value.
///
/// The page is made writable first: after that neither the read nor the write blocks, and nothing else runs in between.
fn update(address: u64, change: impl FnOnce(u32) -> Option<u32>) -> Result<u32> {
    let thread = current();
    let space: Arc<AddressSpace> = thread.process.address_space().ok_or(Errno::FAULT)?;
    space.fault(address, Access::Write, thread.process.stack_limit_bytes()).map_err(|_| Errno::FAULT)?;
    let pointer = UserPointer::<u32>::new(address);
    let old = pointer.read()?;
    if let Some(new) = change(old) {
        pointer.write(new)?;
    }
    Ok(old)
}
