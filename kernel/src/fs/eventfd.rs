//! eventfd(2): a counter that wakes.

use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable, internal};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::task::wait_queue::WaitMode;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// A read or a write moves one counter.
const COUNTER_BYTES: usize = 8;

/// The counter behind an eventfd.
pub struct EventFd {
    /// Never `u64::MAX` but after an overflow by the kernel itself, which nothing here does.
    count: SpinLock<u64>,
    semaphore: bool,
    /// Number shown in fdinfo.
    number: u64,
    readers: Arc<WaitQueue>,
    writers: Arc<WaitQueue>,
}

/// `eventfd2(2)`; `flags` is `O_NONBLOCK` or nothing.
pub fn create(initial: u32, semaphore: bool, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);
    let ops = Arc::new(EventFd {
        count: SpinLock::new(u64::from(initial)),
        semaphore,
        number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
        readers: Arc::new(WaitQueue::new()),
        writers: Arc::new(WaitQueue::new()),
    });
    internal::anonymous_file("[eventfd]", ops, flags | OpenFlags::RDWR)
}

impl EventFd {
    fn take(&self) -> Option<u64> {
        let mut count = self.count.lock();
        let taken = if self.semaphore { (*count).min(1) } else { *count };
        *count -= taken;
        (taken > 0).then_some(taken)
    }

    fn add(&self, value: u64) -> Option<()> {
        let mut count = self.count.lock();
        if u64::MAX - *count <= value {
            return None;
        }
        *count += value;
        Some(())
    }
}

/// Tries at once; waits for `queue` if that fails and the file may block.
fn attempt<T>(file: &OpenFile, queue: &WaitQueue, mut operation: impl FnMut() -> Option<T>) -> Result<T> {
    match operation() {
        Some(value) => Ok(value),
        None if file.is_nonblocking() => Err(Errno::AGAIN),
        None => queue.wait_until(WaitMode::INTERRUPTIBLE, operation),
    }
}

impl FileOps for EventFd {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        if buffer.remaining() < COUNTER_BYTES {
            return Err(Errno::INVAL);
        }
        let value = attempt(file, &self.readers, || self.take())?;
        self.writers.wake_all();
        buffer.put_all(&value.to_ne_bytes())
    }

    fn write(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        if buffer.remaining() < COUNTER_BYTES {
            return Err(Errno::INVAL);
        }
        let mut bytes = [0; COUNTER_BYTES];
        buffer.take_all(&mut bytes)?;
        let value = u64::from_ne_bytes(bytes);
        if value == u64::MAX {
            return Err(Errno::INVAL);
        }
        attempt(file, &self.writers, || self.add(value))?;
        self.readers.wake_all();
        Ok(COUNTER_BYTES)
    }

    fn seekable(&self) -> bool {
        false
    }

    // Not an error as with pipes, but nothing happens.
    fn seek(&self, _file: &OpenFile, position: u64, _offset: i64, _whence: u32) -> Option<Result<u64>> {
        Some(Ok(position))
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        table.watch_for(&self.readers, PollEvents::READABLE);
        table.watch_for(&self.writers, PollEvents::WRITABLE);
        let count = *self.count.lock();
        let mut events = PollEvents::empty();
        events.set(PollEvents::IN, count > 0);
        events.set(PollEvents::OUT, count < u64::MAX - 1);
        events.set(PollEvents::ERR, count == u64::MAX);
        events
    }

    fn describe(&self, _file: &OpenFile, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        writeln!(out, "eventfd-count: {:16x}", *self.count.lock())?;
        writeln!(out, "eventfd-id: {}", self.number)?;
        writeln!(out, "eventfd-semaphore: {}", u32::from(self.semaphore))
    }
}
