//! Robust locks (`get_robust_list(2)`): a thread that ends while it holds some marks them and wakes who waits.

use super::{Key, MATCH_ANY, update, wake_key};
use crate::errno::{Errno, Result};
use crate::mm::user::UserPointer;
use crate::task::{Thread, pid, signal};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

/// `sizeof(struct robust_list_head)`: next, offset of the word from an entry, the entry that is being worked on.
pub const HEAD_LEN_BYTES: u64 = size_of::<sys::robust_list_head>() as u64;
/// Most entries that are looked at: the list may run in a circle.
const MAX_ENTRIES: u32 = 2048;
/// The lowest bit of an entry's address tells a lock with priority inheritance.
const PRIORITY_BIT: u64 = 1;

/// `set_robust_list(2)`.
pub fn set_list(thread: &Thread, head: u64, len_bytes: u64) -> Result<()> {
    if len_bytes != HEAD_LEN_BYTES {
        return Err(Errno::INVAL);
    }
    thread.robust_list.store(head, Ordering::Relaxed);
    Ok(())
}

/// `get_robust_list(2)`: 0 is the caller.
pub fn list_of(number: u32) -> Result<u64> {
    let thread: Arc<Thread> = if number == 0 { crate::task::current() } else { pid::find_thread(number)? };
    signal::permission::may_inspect(&thread)?;
    Ok(thread.robust_list.load(Ordering::Relaxed))
}

/// The end of `thread` (the current one): walks its list.
pub fn exit_robust_list(thread: &Thread) {
    let head = thread.robust_list.swap(0, Ordering::Relaxed);
    if head != 0 {
        // An unreadable list is the program's loss.
        let _ = walk(head, thread.pid().number());
    }
}

fn walk(head: u64, tid: u32) -> Result<()> {
    let [first, offset, pending] = UserPointer::<[u64; 3]>::new(head).read()?;
    let mut entry = first;
    for _ in 0..MAX_ENTRIES {
        let address = entry & !PRIORITY_BIT;
        if address == head {
            break;
        }
        let next = UserPointer::<u64>::new(address).read();
        if address != pending & !PRIORITY_BIT {
            let _ = release(address.wrapping_add(offset), tid, entry & PRIORITY_BIT != 0, false);
        }
        entry = next?;
    }
    if pending != 0 {
        let address = (pending & !PRIORITY_BIT).wrapping_add(offset);
        let _ = release(address, tid, pending & PRIORITY_BIT != 0, true);
    }
    Ok(())
}

/// Marks a lock whose owner has died, and wakes one waiter.
fn release(address: u64, tid: u32, inherits: bool, pending: bool) -> Result<()> {
    let mut wake = false;
    update(address, |old| {
        if pending && !inherits && old == 0 {
            // It had unlocked, but not yet woken the next.
            wake = true;
            return None;
        }
        if old & sys::FUTEX_TID_MASK != tid {
            return None;
        }
        wake = !inherits && old & sys::FUTEX_WAITERS != 0;
        Some(old & sys::FUTEX_WAITERS | sys::FUTEX_OWNER_DIED)
    })?;
    if inherits {
        // Who waits next becomes the owner.
        let next = super::take(Key::of(address, false)?, 1, MATCH_ANY).pop_front();
        if let Some(next) = next {
            update(address, |old| Some(old & !sys::FUTEX_TID_MASK | next.tid))?;
            next.wake();
        }
    } else if wake {
        wake_key(Key::of(address, false)?, 1, MATCH_ANY);
    }
    Ok(())
}
