//! An open end of a pipe or FIFO: counts as a reader, a writer or both while it lives.

use super::{FifoPipe, Pipe};
use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable};
use crate::mm::{IoBuffer, UserPointer};
use crate::task::wait_queue::WaitMode;
use crate::time::clock;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::ioctl::FIONREAD;

/// What the descriptors of one open of a pipe do.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// How many writers had come when a nonblocking reader opened a FIFO without writers: there is no hang-up until one has been
    /// there. 0 otherwise.
    writers_before: u64,
    /// Keeps the FIFO's pipe the pipe of its inode.
    _fifo: Option<Arc<FifoPipe>>,
}

impl PipeEnd {
    /// An end of an unnamed pipe: never waits. (Reopening one through `/proc/self/fd` does not either.)
    pub(in crate::fs) fn open(pipe: &Arc<Pipe>, flags: OpenFlags) -> Arc<Self> {
        Arc::new(Self::count(pipe, flags, None))
    }

    /// An end of a FIFO, with its rules for waiting.
    pub(super) fn open_of_fifo(pipe: &Arc<Pipe>, flags: OpenFlags, fifo: Arc<FifoPipe>) -> Result<Arc<Self>> {
        let nonblocking = flags.contains(OpenFlags::NONBLOCK);
        let before = pipe.state();
        if flags.writable() && !flags.readable() && nonblocking && before.readers == 0 {
            return Err(Errno::NXIO);
        }
        // Counted from here on; an interrupted wait drops the end, which uncounts it.
        let mut end = Self::count(pipe, flags, Some(fifo));
        if end.reads && !end.writes && before.writers == 0 {
            if nonblocking {
                end.writers_before = before.write_opens;
            } else {
                pipe.readers_queue
                    .wait_until(WaitMode::INTERRUPTIBLE, || (pipe.state().write_opens != before.write_opens).then_some(()))?;
            }
        } else if end.writes && !end.reads && before.readers == 0 {
            pipe.writers_queue.wait_until(WaitMode::INTERRUPTIBLE, || (pipe.state().read_opens != before.read_opens).then_some(()))?;
        }
        Ok(Arc::new(end))
    }

    fn count(pipe: &Arc<Pipe>, flags: OpenFlags, fifo: Option<Arc<FifoPipe>>) -> Self {
        let (reads, writes) = (flags.readable(), flags.writable());
        let mut state = pipe.state.lock();
        state.readers += usize::from(reads);
        state.read_opens += u64::from(reads);
        state.writers += usize::from(writes);
        state.write_opens += u64::from(writes);
        drop(state);
        pipe.readers_queue.wake_all();
        pipe.writers_queue.wake_all();
        Self { pipe: pipe.clone(), reads, writes, writers_before: 0, _fifo: fifo }
    }

    /// The pipe.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.readers -= usize::from(self.reads);
        state.writers -= usize::from(self.writes);
        drop(state);
        self.pipe.readers_queue.wake_all();
        self.pipe.writers_queue.wake_all();
    }
}

impl FileOps for PipeEnd {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        self.pipe.read(buffer, file.is_nonblocking())
    }

    fn write(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: &mut u64) -> Result<usize> {
        let packets = OpenFlags::from_bits_retain(file.flags.load(Ordering::Relaxed)).contains(OpenFlags::DIRECT);
        let written = self.pipe.write(buffer, file.is_nonblocking(), packets)?;
        let now = clock::realtime_ns();
        let mut attributes = file.inode.attributes.lock();
        attributes.modified = now;
        attributes.changed = now;
        Ok(written)
    }

    fn seekable(&self) -> bool {
        false
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        match (self.reads, self.writes) {
            (true, false) => table.watch(&self.pipe.readers_queue),
            (false, true) => table.watch(&self.pipe.writers_queue),
            // Never hangs up: it is a partner to itself.
            _ => {
                table.watch_for(&self.pipe.readers_queue, PollEvents::READABLE);
                table.watch_for(&self.pipe.writers_queue, PollEvents::WRITABLE);
            }
        }
        let state = self.pipe.state();
        let mut events = PollEvents::empty();
        if self.reads {
            events.set(PollEvents::READABLE, state.used_slots > 0);
            events.set(PollEvents::HUP, state.writers == 0 && state.write_opens != self.writers_before);
        }
        if self.writes {
            events.set(PollEvents::WRITABLE, !state.is_full());
            events.set(PollEvents::ERR, state.readers == 0);
        }
        events
    }

    fn ioctl(&self, _file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        if request != FIONREAD {
            return Err(Errno::NOTTY);
        }
        let unread_bytes = i32::try_from(self.pipe.unread_bytes()).unwrap_or(i32::MAX);
        UserPointer::<i32>::new(argument).write(unread_bytes).map(|()| 0)
    }
}
