//! Pipes and FIFOs (`pipe(7)`, `fifo(7)`): the pipe itself, how it is read and written, how a FIFO is opened.
//! `ring` holds the bytes; `end` is what an open file of a pipe does.

mod end;
mod ring;

use crate::errno::{Errno, Result};
use crate::fs::{Inode, OpenFile, OpenFlags, internal};
use crate::mm::{IoBuffer, PAGE_SIZE_BYTES, user};
use crate::sync::{Lazy, SpinLock};
use crate::task::signal::{self, Signal};
use crate::task::wait_queue::WaitMode;
use crate::task::{Capabilities, Credentials, SleepMutex, WaitQueue};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

pub use end::PipeEnd;
use ring::Ring;

/// Slots of a new pipe: 64 KiB (`pipe(7)`, "Pipe capacity").
const DEFAULT_SLOTS: usize = 16;
/// `/proc/sys/fs/pipe-max-size`: what `F_SETPIPE_SZ` allows without `CAP_SYS_RESOURCE`.
pub const MAX_SIZE_BYTES: usize = 1 << 20;

/// A pipe, shared by its ends.
pub struct Pipe {
    /// The bytes. A sleeping lock, as copies to and from programs are made under it.
    ring: SleepMutex<Ring>,
    state: SpinLock<State>,
    /// Told when there is something to read, and when the last writer goes.
    readers_queue: Arc<WaitQueue>,
    /// Told when there is room, and when the last reader goes.
    writers_queue: Arc<WaitQueue>,
}

/// What readiness and the opening of FIFOs depend on.
#[derive(Clone, Copy, Default)]
struct State {
    readers: usize,
    writers: usize,
    /// How often the pipe has been opened for reading and for writing: an open that waits for a partner must not miss one that
    /// came and went.
    read_opens: u64,
    write_opens: u64,
    used_slots: usize,
    capacity_slots: usize,
}

impl State {
    fn is_full(&self) -> bool {
        self.used_slots >= self.capacity_slots
    }
}

impl Pipe {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ring: SleepMutex::new(Ring::new(DEFAULT_SLOTS)),
            state: SpinLock::new(State { capacity_slots: DEFAULT_SLOTS, ..State::default() }),
            readers_queue: Arc::new(WaitQueue::new()),
            writers_queue: Arc::new(WaitQueue::new()),
        })
    }

    fn state(&self) -> State {
        *self.state.lock()
    }

    /// Lets `poll` and waiters see what the ring has come to. Called before the ring is unlocked.
    fn publish(&self, ring: &Ring) {
        let mut state = self.state.lock();
        state.used_slots = ring.used_slots();
        state.capacity_slots = ring.capacity_slots();
    }

    /// `read(2)`: 0 at the end of file, `EAGAIN` if it would block and may not.
    pub fn read(&self, target: &mut IoBuffer<'_>, nonblocking: bool) -> Result<usize> {
        if target.remaining() == 0 {
            return Ok(0);
        }
        loop {
            let moved = self.read_now(target)?;
            if moved > 0 {
                return Ok(moved);
            }
            if self.state().writers == 0 {
                return Ok(0);
            }
            if nonblocking {
                return Err(Errno::AGAIN);
            }
            self.readers_queue.wait_until(WaitMode::INTERRUPTIBLE, || {
                let state = self.state();
                (state.used_slots > 0 || state.writers == 0).then_some(())
            })?;
        }
    }

    /// Takes what is there.
    fn read_now(&self, target: &mut IoBuffer<'_>) -> Result<usize> {
        let mut ring = self.ring.lock();
        let mut moved = 0;
        let mut result = Ok(());
        while target.remaining() > 0 && !ring.is_empty() {
            match ring.consume(target) {
                Ok((bytes, ends)) => {
                    moved += bytes;
                    if ends || bytes == 0 {
                        break;
                    }
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.publish(&ring);
        drop(ring);
        if moved > 0 {
            self.writers_queue.wake_all();
            return Ok(moved);
        }
        result.map(|()| 0)
    }

    /// `write(2)`. Up to `PIPE_BUF` bytes go in at once or not at all; longer writes may be cut by other writers. `EPIPE` and SIGPIPE
    /// without readers.
    pub fn write(&self, source: &mut IoBuffer<'_>, nonblocking: bool, packets: bool) -> Result<usize> {
        if source.remaining() == 0 {
            return Ok(0);
        }
        let mut moved = 0;
        let end = loop {
            match self.write_now(source, moved == 0, packets, &mut moved) {
                Err(error) => break Err(error),
                Ok(()) if source.remaining() == 0 => break Ok(()),
                Ok(()) if nonblocking => break Err(Errno::AGAIN),
                Ok(()) => {}
            }
            let room = self.writers_queue.wait_until(WaitMode::INTERRUPTIBLE, || {
                let state = self.state();
                (!state.is_full() || state.readers == 0).then_some(())
            });
            if let Err(error) = room {
                break Err(error);
            }
        };
        match end {
            Err(Errno::PIPE) => {
                signal::send_to_current(Signal::PIPE);
                if moved > 0 { Ok(moved) } else { Err(Errno::PIPE) }
            }
            Err(error) if moved == 0 => Err(error),
            _ => Ok(moved),
        }
    }

    /// Lends the pipe the current program's memory: as much as fits once there is room, by reference, a slot for each page.
    pub fn lend(&self, segments: &[(u64, usize)], nonblocking: bool) -> Result<usize> {
        let mut moved = 0;
        for &(address, len_bytes) in segments {
            let mut done = 0;
            while done < len_bytes {
                let at = address.wrapping_add(done as u64);
                let offset = at as usize % PAGE_SIZE_BYTES;
                let part = (len_bytes - done).min(PAGE_SIZE_BYTES - offset);
                match self.lend_part(at, offset, part, nonblocking || moved > 0) {
                    Ok(()) => (done, moved) = (done + part, moved + part),
                    Err(error) if moved == 0 => return Err(error),
                    Err(_) => return Ok(moved),
                }
            }
        }
        Ok(moved)
    }

    fn lend_part(&self, address: u64, offset: usize, len_bytes: usize, nonblocking: bool) -> Result<()> {
        let frame = user::lend_page(address)?;
        loop {
            self.wait_writable(nonblocking)?;
            let mut ring = self.ring.lock();
            // Another writer may have taken the room meanwhile.
            if !ring.is_full() {
                ring.lend(frame, offset, len_bytes);
                self.publish(&ring);
                drop(ring);
                self.readers_queue.wake_all();
                return Ok(());
            }
        }
    }

    /// Puts in what fits, counting it in `moved`.
    fn write_now(&self, source: &mut IoBuffer<'_>, first: bool, packets: bool, moved: &mut usize) -> Result<()> {
        let mut ring = self.ring.lock();
        let before = *moved;
        let mut result = Ok(());
        if self.state().readers == 0 {
            return Err(Errno::PIPE);
        }
        if first && !packets {
            match ring.merge(source) {
                Ok(bytes) => *moved += bytes,
                Err(error) => result = Err(error),
            }
        }
        while result.is_ok() && source.remaining() > 0 && !ring.is_full() {
            match ring.append(source, packets) {
                Ok(bytes) => *moved += bytes,
                Err(error) => result = Err(error),
            }
        }
        self.publish(&ring);
        drop(ring);
        if *moved > before {
            self.readers_queue.wake_all();
        }
        result
    }

    /// Hands what is there to `take`, slot by slot, up to `len_bytes`, until it uses less than it gets. The pipe is locked meanwhile, as
    /// `take` may use a part only and the rest must stay. Does not wait for bytes.
    pub fn drain(&self, len_bytes: usize, take: &mut dyn FnMut(&[u8]) -> Result<usize>) -> Result<usize> {
        let mut ring = self.ring.lock();
        let mut drained = 0;
        let mut result = Ok(());
        while drained < len_bytes && !ring.is_empty() {
            match ring.consume_with(len_bytes - drained, take) {
                Ok(0) => break,
                Ok(used) => drained += used,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.publish(&ring);
        drop(ring);
        if drained > 0 {
            self.writers_queue.wake_all();
            return Ok(drained);
        }
        result.map(|()| 0)
    }

    /// Copies up to `len_bytes` bytes to `target` and leaves them where they are (`tee(2)`). Does not wait.
    pub fn copy_to(&self, target: &Pipe, len_bytes: usize) -> Result<usize> {
        let slots = self.snapshot(len_bytes)?;
        let mut copied = 0;
        for (bytes, packet) in &slots {
            match target.write(&mut IoBuffer::kernel_source(bytes), true, *packet) {
                Ok(count) => copied += count,
                Err(_) if copied > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(copied)
    }

    /// The first `len_bytes` unread bytes, slot by slot.
    fn snapshot(&self, len_bytes: usize) -> Result<Vec<(Vec<u8>, bool)>> {
        let mut slots = Vec::new();
        let mut left = len_bytes;
        let mut result = Ok(());
        let peeked = self.ring.lock().peek(&mut |bytes, packet| {
            let part = &bytes[..bytes.len().min(left)];
            left -= part.len();
            let mut copy = Vec::new();
            if copy.try_reserve_exact(part.len()).is_err() {
                result = Err(Errno::NOMEM);
                return false;
            }
            copy.extend_from_slice(part);
            slots.push((copy, packet));
            left > 0
        });
        peeked.and(result).map(|()| slots)
    }

    /// Blocks until there is something to read or nobody who could write it (`splice(2)` between two pipes).
    pub fn wait_readable(&self, nonblocking: bool) -> Result<bool> {
        let ready = || {
            let state = self.state();
            (state.used_slots > 0 || state.writers == 0).then_some(state.used_slots > 0)
        };
        match (ready(), nonblocking) {
            (Some(data), _) => Ok(data),
            (None, true) => Err(Errno::AGAIN),
            (None, false) => self.readers_queue.wait_until(WaitMode::INTERRUPTIBLE, ready),
        }
    }

    /// Blocks until a write would make progress; `EPIPE` and SIGPIPE without readers.
    pub fn wait_writable(&self, nonblocking: bool) -> Result<()> {
        let ready = || {
            let state = self.state();
            (!state.is_full() || state.readers == 0).then_some(state.readers > 0)
        };
        let has_readers = match (ready(), nonblocking) {
            (Some(has_readers), _) => has_readers,
            (None, true) => return Err(Errno::AGAIN),
            (None, false) => self.writers_queue.wait_until(WaitMode::INTERRUPTIBLE, ready)?,
        };
        if !has_readers {
            signal::send_to_current(Signal::PIPE);
            return Err(Errno::PIPE);
        }
        Ok(())
    }

    /// Bytes that fit into the free slots now.
    pub fn room_bytes(&self) -> usize {
        let state = self.state();
        state.capacity_slots.saturating_sub(state.used_slots) * PAGE_SIZE_BYTES
    }

    /// Unread bytes (`FIONREAD`).
    pub fn unread_bytes(&self) -> usize {
        self.ring.lock().unread_bytes()
    }

    /// `F_GETPIPE_SZ`.
    pub fn size_bytes(&self) -> usize {
        self.state().capacity_slots * PAGE_SIZE_BYTES
    }

    /// `F_SETPIPE_SZ`: rounds up to a power of two of pages, returns the new size. `EPERM` beyond the limit without
    /// `CAP_SYS_RESOURCE`, `EBUSY` if more is in use.
    pub fn set_size(&self, size_bytes: u64, credentials: &Credentials) -> Result<usize> {
        if size_bytes == 0 || size_bytes > 1 << 31 {
            return Err(Errno::INVAL);
        }
        let size_bytes = (size_bytes as usize).max(PAGE_SIZE_BYTES).next_power_of_two();
        if size_bytes > self.size_bytes() && size_bytes > MAX_SIZE_BYTES && !credentials.capable(Capabilities::SYS_RESOURCE) {
            return Err(Errno::PERM);
        }
        let mut ring = self.ring.lock();
        ring.resize(size_bytes / PAGE_SIZE_BYTES)?;
        self.publish(&ring);
        drop(ring);
        self.writers_queue.wake_all();
        Ok(size_bytes)
    }
}

/// The pipe behind an open file; `None` for any other file.
pub fn of(file: &OpenFile) -> Option<&Arc<Pipe>> {
    file.downcast::<PipeEnd>().map(PipeEnd::pipe)
}

/// `pipe2(2)`: the end to read from and the end to write to. `flags` are `O_NONBLOCK` and `O_DIRECT`.
pub fn create(flags: OpenFlags) -> Result<(Arc<OpenFile>, Arc<OpenFile>)> {
    let pipe = Pipe::new();
    let inode = internal::pipe_inode(pipe.clone())?;
    let pipefs = internal::pipefs()?;
    let open = |access: OpenFlags| pipefs.open(&inode, b"", PipeEnd::open(&pipe, access), access | flags);
    Ok((open(OpenFlags::empty()), open(OpenFlags::WRONLY)))
}

/// Pipes of FIFOs that are open somewhere, by their inode's address: the pipe keeps the inode, so the address stays its own.
static FIFOS: Lazy<SpinLock<BTreeMap<usize, Weak<FifoPipe>>>> = Lazy::new(|| SpinLock::new(BTreeMap::new()));

/// The pipe of a FIFO while the FIFO is open.
pub(super) struct FifoPipe {
    pipe: Arc<Pipe>,
    inode: Arc<Inode>,
}

impl Drop for FifoPipe {
    fn drop(&mut self) {
        let key = Arc::as_ptr(&self.inode).addr();
        let mut fifos = FIFOS.lock();
        // Another open may have put a new pipe there already.
        if fifos.get(&key).is_some_and(|pipe| pipe.strong_count() == 0) {
            fifos.remove(&key);
        }
    }
}

/// Opens a FIFO (`fifo(7)`): waits for the other side unless `O_NONBLOCK`; `ENXIO` for a nonblocking writer without a reader.
/// Filesystems that have FIFOs call it from `InodeOps::open`.
pub fn open_fifo(inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<dyn crate::fs::FileOps>> {
    let fifo = {
        let key = Arc::as_ptr(inode).addr();
        let mut fifos = FIFOS.lock();
        match fifos.get(&key).and_then(Weak::upgrade) {
            Some(fifo) => fifo,
            None => {
                let fifo = Arc::new(FifoPipe { pipe: Pipe::new(), inode: inode.clone() });
                fifos.insert(key, Arc::downgrade(&fifo));
                fifo
            }
        }
    };
    let pipe = fifo.pipe.clone();
    Ok(PipeEnd::open_of_fifo(&pipe, flags, fifo)?)
}
