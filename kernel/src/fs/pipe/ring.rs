//! What is in a pipe: a queue of page-sized slots, as Linux counts them. A pipe is full when its slots are used up, however
//! little each holds; this is what programs see through `O_NONBLOCK`, `FIONREAD` and `poll`.

use crate::errno::{Errno, Result};
use crate::mm::{Frame, IoBuffer, PAGE_SIZE_BYTES, PageBuffer};
use alloc::collections::VecDeque;

/// One slot.
struct Slot {
    content: Content,
    /// Where the unread bytes begin.
    start: usize,
    /// Written in packet mode (`O_DIRECT`): read alone, the rest of it thrown away, and never appended to.
    packet: bool,
}

/// Where a slot's bytes are.
enum Content {
    /// In a page of the pipe's own.
    Own(PageBuffer),
    /// In a program's page (`vmsplice(2)`), which may change them until they are first looked at.
    Lent { frame: Frame, offset: usize, len_bytes: usize },
}

impl Slot {
    fn unread_bytes(&self) -> usize {
        let len_bytes = match &self.content {
            Content::Own(page) => page.bytes().len(),
            Content::Lent { len_bytes, .. } => *len_bytes,
        };
        len_bytes.saturating_sub(self.start)
    }

    /// The unread bytes; those of a lent page are copied now. `ENOMEM` if there is no page for that.
    fn unread(&mut self) -> Result<&[u8]> {
        if let Content::Lent { frame, offset, len_bytes } = &self.content {
            let mut page = PageBuffer::new()?;
            page.append(*len_bytes, |room| {
                frame.read(*offset, room);
                Ok(room.len())
            })?;
            self.content = Content::Own(page);
        }
        match &self.content {
            Content::Own(page) => Ok(page.bytes().get(self.start..).unwrap_or_default()),
            Content::Lent { .. } => Ok(&[]),
        }
    }
}

/// The queue of slots.
pub(super) struct Ring {
    slots: VecDeque<Slot>,
    capacity_slots: usize,
    /// An emptied page kept for the next write: a pipe that is read as fast as it is written allocates nothing.
    spare: Option<PageBuffer>,
}

impl Ring {
    pub(super) fn new(capacity_slots: usize) -> Self {
        Self { slots: VecDeque::new(), capacity_slots, spare: None }
    }

    pub(super) fn used_slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn capacity_slots(&self) -> usize {
        self.capacity_slots
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= self.capacity_slots
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Unread bytes (`FIONREAD`).
    pub(super) fn unread_bytes(&self) -> usize {
        self.slots.iter().map(Slot::unread_bytes).sum()
    }

    /// Changes the capacity. `EBUSY` if more slots are in use.
    pub(super) fn resize(&mut self, capacity_slots: usize) -> Result<()> {
        if self.slots.len() > capacity_slots {
            return Err(Errno::BUSY);
        }
        self.capacity_slots = capacity_slots;
        Ok(())
    }

    /// Appends the odd end of a write to the last slot if the whole of it fits there. Returns the bytes taken: all or none, so that
    /// small writes stay atomic.
    pub(super) fn merge(&mut self, source: &mut IoBuffer<'_>) -> Result<usize> {
        let odd_bytes = source.remaining() % PAGE_SIZE_BYTES;
        let Some(last) = self.slots.back_mut() else { return Ok(0) };
        let Content::Own(page) = &mut last.content else { return Ok(0) };
        if odd_bytes == 0 || last.packet || page.bytes().len() + odd_bytes > PAGE_SIZE_BYTES {
            return Ok(0);
        }
        page.append(odd_bytes, |room| source.take(room))
    }

    /// Fills one more slot from `source`. The caller has seen that the ring is not full.
    pub(super) fn append(&mut self, source: &mut IoBuffer<'_>, packet: bool) -> Result<usize> {
        let mut page = match self.spare.take() {
            Some(page) => page,
            None => PageBuffer::new()?,
        };
        let taken = page.append(source.remaining(), |room| source.take(room));
        match taken {
            Ok(1..) => self.slots.push_back(Slot { content: Content::Own(page), start: 0, packet }),
            _ => self.keep_spare(page),
        }
        taken
    }

    /// One more slot, for a part of a program's page. The caller has seen that the ring is not full.
    pub(super) fn lend(&mut self, frame: Frame, offset: usize, len_bytes: usize) {
        self.slots.push_back(Slot { content: Content::Lent { frame, offset, len_bytes }, start: 0, packet: false });
    }

    /// Moves bytes of the first slot to `target`. Returns how many, and whether the read must end here (a packet ends a read).
    pub(super) fn consume(&mut self, target: &mut IoBuffer<'_>) -> Result<(usize, bool)> {
        let Some(first) = self.slots.front_mut() else { return Ok((0, true)) };
        let moved = target.put(first.unread()?)?;
        first.start += moved;
        let ends = first.packet;
        if ends || first.unread_bytes() == 0 {
            self.pop();
        }
        Ok((moved, ends))
    }

    /// Hands the first slot's unread bytes to `take`, which says how many it has used.
    pub(super) fn consume_with(&mut self, most: usize, take: &mut dyn FnMut(&[u8]) -> Result<usize>) -> Result<usize> {
        let Some(first) = self.slots.front_mut() else { return Ok(0) };
        let unread = first.unread()?;
        let used = take(&unread[..unread.len().min(most)])?;
        first.start += used;
        if first.unread_bytes() == 0 {
            self.pop();
        }
        Ok(used)
    }

    /// Copies without consuming, for `tee(2)`: the bytes of each slot from the front on, with its packet mark, until `each` says stop.
    pub(super) fn peek(&mut self, each: &mut dyn FnMut(&[u8], bool) -> bool) -> Result<()> {
        for slot in &mut self.slots {
            let packet = slot.packet;
            if !each(slot.unread()?, packet) {
                break;
            }
        }
        Ok(())
    }

    fn pop(&mut self) {
        if let Some(Slot { content: Content::Own(page), .. }) = self.slots.pop_front() {
            self.keep_spare(page);
        }
    }

    fn keep_spare(&mut self, mut page: PageBuffer) {
        page.clear();
        self.spare.get_or_insert(page);
    }
}
