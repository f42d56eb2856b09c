//! Open regular files: reading and writing through the page cache or past it, mapping, flushing.

use super::cache;
use super::handle::{self, Handle};
use super::node::Node;
use super::pages::{self, FilePages};
use super::poll::PollPoint;
use super::protocol::{Features, Fields, Message, Opcode, OpenedFlags, READ_LOCK_OWNER, WRITE_KILL_SUIDGID, WRITE_LOCK_OWNER};
use super::request::Question;
use super::writeback;
use crate::errno::{Errno, Result};
use crate::fs::file::{self, FileMapping};
use crate::fs::lock::{LockCall, RecordLock};
use crate::fs::{FileOps, Inode, OpenFile, OpenFlags, PollEvents, PollTable, attributes};
use crate::mm::{Frame, IoBuffer, PAGE_SIZE_BYTES};
use crate::sync::SpinLock;
use crate::task::{Capabilities, current};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general as sys;

const PAGE: u64 = PAGE_SIZE_BYTES as u64;

/// An open regular file.
pub struct RegularFile {
    inode: Arc<Inode>,
    pub(super) handle: Arc<Handle>,
    /// Where reads and writes go on in a file that cannot be positioned.
    own_position: SpinLock<u64>,
    /// The page behind the last that was read: who goes on there reads the file from front to back.
    expected_page: AtomicU64,
    /// Made when somebody polls the file for the first time: hardly anybody does.
    poll_point: SpinLock<Option<Arc<PollPoint>>>,
}

/// Opens at the server.
pub fn open(node: &Node, inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    // What is on its way may not arrive after the file was emptied.
    let _turn = flags.contains(OpenFlags::TRUNC).then(|| writeback::turn(node));
    let handle = Handle::open(node, false, flags)?;
    Ok(with_handle(node, inode, handle))
}

/// An open file for what the server has opened already.
pub fn with_handle(node: &Node, inode: &Arc<Inode>, handle: Arc<Handle>) -> Arc<dyn FileOps> {
    if handle.was_truncated() {
        node.cache.set_len(inode, 0);
        inode.attributes.lock().size_bytes = 0;
        if node.owns_content(inode) {
            attributes::note_modified(inode);
            node.note_own_times(inode);
        }
        node.changed_here();
    } else if !handle.flags.contains(OpenedFlags::KEEP_CACHE) {
        node.cache.forget(inode, 0, u64::MAX);
    }
    if handle.open_flags.writable() {
        let mut writers = node.writers.lock();
        writers.retain(|writer| writer.strong_count() > 0);
        writers.push(Arc::downgrade(&handle));
    }
    Arc::new(RegularFile {
        inode: inode.clone(),
        handle,
        own_position: SpinLock::new(0),
        expected_page: AtomicU64::new(0),
        poll_point: SpinLock::new(None),
    })
}

/// `READ` of at most `len_bytes`.
pub(super) fn ask_read(node: &Node, handle: &Handle, offset: u64, len_bytes: usize, flags: OpenFlags) -> Result<Vec<u8>> {
    let body = Message::default().u64(handle.number).u64(offset).u32(len_bytes as u32).u32(READ_LOCK_OWNER);
    let body = body.u64(handle::current_owner()).u32(flags.bits()).u32(0);
    node.connection().call(Question::new(Opcode::Read, node.number, body).answer_up_to(len_bytes))
}

/// `WRITE` of what the caller writes now: how many bytes the server took. `strips`: it takes the set-id bits away.
fn ask_write(node: &Node, handle: &Handle, offset: u64, data: &[u8], flags: OpenFlags, strips: bool) -> Result<usize> {
    let write_flags = WRITE_LOCK_OWNER | if strips { WRITE_KILL_SUIDGID } else { 0 };
    let mut body = Message::default().u64(handle.number).u64(offset).u32(data.len() as u32).u32(write_flags);
    if node.connection().settings().minor >= 9 {
        body = body.u64(handle::current_owner()).u32(flags.bits()).u32(0);
    }
    let question = Question::new(Opcode::Write, node.number, body.data(data)?).answer(8);
    let answer = node.connection().call(question)?;
    handle::bounded(Fields(&answer).u32(), data.len())
}

/// Most bytes of one WRITE.
pub(super) fn write_limit(node: &Node) -> usize {
    let settings = node.connection().settings();
    if !settings.has(Features::BIG_WRITES) {
        return PAGE_SIZE_BYTES;
    }
    settings.max_write_bytes.min(settings.max_pages * PAGE_SIZE_BYTES)
}

/// Most bytes of one READ that goes past the cache.
fn direct_read_limit(node: &Node) -> usize {
    let settings = node.connection().settings();
    let most = settings.max_pages * PAGE_SIZE_BYTES;
    node.connection().terms.max_read_bytes.map_or(most, |bytes| most.min(bytes as usize))
}

pub(super) fn size_of(inode: &Inode) -> u64 {
    inode.attributes.lock().size_bytes
}

impl RegularFile {
    fn node(&self) -> Result<&Node> {
        let node = self.inode.downcast::<Node>().ok_or(Errno::IO)?;
        node.require_good().map(|()| node)
    }

    /// Whether the page cache is passed by.
    fn is_direct(&self, file: &OpenFile) -> bool {
        self.handle.flags.contains(OpenedFlags::DIRECT_IO) || file.flags().contains(OpenFlags::DIRECT)
    }

    fn is_stream(&self) -> bool {
        self.handle.flags.contains(OpenedFlags::STREAM)
    }

    fn is_unpositioned(&self) -> bool {
        self.handle.flags.intersects(OpenedFlags::STREAM | OpenedFlags::NONSEEKABLE)
    }

    /// Runs a transfer where the file is: generic code knows no position of files that cannot be positioned.
    fn at_own_position(&self, offset: &mut u64, step: impl FnOnce(&mut u64) -> Result<usize>) -> Result<usize> {
        if !self.is_unpositioned() || self.is_stream() {
            return step(offset);
        }
        let mut position = *self.own_position.lock();
        let moved = step(&mut position)?;
        *self.own_position.lock() = position + moved as u64;
        Ok(moved)
    }

    fn read_direct(&self, file: &OpenFile, node: &Node, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        let most = direct_read_limit(node);
        if node.connection().has(Features::DIRECT_IO_ALLOW_MMAP) {
            // Somebody may have stored through a mapping.
            writeback::write_back(node, &self.inode)?;
        }
        let mut total = 0;
        while buffer.remaining() > 0 {
            let wanted = buffer.remaining().min(most);
            let bytes = match ask_read(node, &self.handle, offset + total as u64, wanted, file.flags()) {
                Ok(bytes) => bytes,
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                break;
            }
            let moved = buffer.put(&bytes)?;
            total += moved;
            if bytes.len() < wanted || moved < bytes.len() {
                break;
            }
        }
        Ok(total)
    }

    fn read_cached(&self, node: &Node, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        let ends_beyond = offset.saturating_add(buffer.remaining() as u64) > size_of(&self.inode);
        if ends_beyond || node.connection().has(Features::AUTO_INVAL_DATA) {
            super::attributes::refresh(node, &self.inode, Some(&self.handle))?;
        }
        let mut page = [0; PAGE_SIZE_BYTES];
        let mut total = 0;
        while buffer.remaining() > 0 {
            let position = offset + total as u64;
            let within = (position % PAGE) as usize;
            let left = usize::try_from(size_of(&self.inode).saturating_sub(position)).unwrap_or(usize::MAX);
            let wanted = left.min(PAGE_SIZE_BYTES - within).min(buffer.remaining());
            if wanted == 0 {
                break;
            }
            let frame = match self.page_for_read(node, position / PAGE, buffer.remaining()) {
                Ok(frame) => frame,
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            };
            // Reading it may have shown that the file is shorter.
            let left = usize::try_from(size_of(&self.inode).saturating_sub(position)).unwrap_or(usize::MAX);
            let wanted = wanted.min(left);
            frame.read(within, &mut page[..wanted]);
            let moved = match buffer.put(&page[..wanted]) {
                Ok(moved) => moved,
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            };
            total += moved;
            if moved < wanted || wanted == 0 {
                break;
            }
        }
        Ok(total)
    }

    fn page_for_read(&self, node: &Node, index: u64, wanted_bytes: usize) -> Result<Frame> {
        let sequential = self.expected_page.swap(index + 1, Ordering::Relaxed) == index;
        loop {
            if let Some(frame) = node.cache.get(index) {
                return Ok(frame);
            }
            let needed = (wanted_bytes as u64).div_ceil(PAGE) + 1;
            pages::fill(node, &self.inode, &self.handle, index, if sequential { u64::MAX } else { needed })?;
        }
    }

    fn write_direct(&self, file: &OpenFile, node: &Node, buffer: &mut IoBuffer<'_>, offset: u64, allowed: usize) -> Result<usize> {
        let settings = node.connection().settings();
        if settings.has(Features::DIRECT_IO_ALLOW_MMAP) {
            writeback::write_back(node, &self.inode)?;
        }
        let most = settings.max_write_bytes.min(settings.max_pages * PAGE_SIZE_BYTES);
        let total = self.write_through(file, node, buffer, offset, allowed, most)?;
        node.cache.forget(&self.inode, offset / PAGE, (total as u64).div_ceil(PAGE) + 1);
        Ok(total)
    }

    /// Sends what is written at once, in pieces of at most `most` bytes, and keeps what the pages here know true.
    fn write_through(
        &self,
        file: &OpenFile,
        node: &Node,
        buffer: &mut IoBuffer<'_>,
        offset: u64,
        allowed: usize,
        most: usize,
    ) -> Result<usize> {
        let mut data = Vec::new();
        let mut total = 0;
        let told = self.is_direct(file) || node.connection().has(Features::HANDLE_KILLPRIV_V2);
        let strips = told && !current().credentials().capable(Capabilities::FSETID);
        while total < allowed {
            let position = offset + total as u64;
            // Pieces end at page borders.
            let wanted = (allowed - total).min(most - (position % PAGE) as usize % most);
            data.try_reserve(wanted.saturating_sub(data.len())).map_err(|_| Errno::NOMEM)?;
            data.resize(wanted, 0);
            let step = buffer.take(&mut data).and_then(|taken| {
                let written = ask_write(node, &self.handle, position, &data[..taken], file.flags(), strips)?;
                self.wrote(node, position, &data[..written])?;
                Ok((taken, written))
            });
            let (taken, written) = match step {
                Ok(counts) => counts,
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            };
            total += written;
            if written < taken || taken < wanted {
                break;
            }
        }
        Ok(total)
    }

    /// The server has taken `data` at `position`: the pages here hold it, too, and the file is at least so long.
    fn wrote(&self, node: &Node, position: u64, data: &[u8]) -> Result<()> {
        let direct = self.handle.flags.contains(OpenedFlags::DIRECT_IO);
        let mut done = 0;
        while done < data.len() {
            let at = position + done as u64;
            let within = (at % PAGE) as usize;
            let part = (data.len() - done).min(PAGE_SIZE_BYTES - within);
            let frame = match node.cache.get(at / PAGE) {
                // A whole page is known now.
                None if part == PAGE_SIZE_BYTES && !direct => {
                    let fresh = cache::new_page()?;
                    node.cache.insert(at / PAGE, fresh);
                    node.cache.get(at / PAGE)
                }
                frame => frame,
            };
            if let Some(frame) = frame {
                frame.write(within, &data[done..done + part]);
            }
            done += part;
        }
        {
            let mut attributes = self.inode.attributes.lock();
            attributes.size_bytes = attributes.size_bytes.max(position + data.len() as u64);
        }
        node.changed_here();
        Ok(())
    }

    /// Writes into pages only; they go to the server later.
    fn write_later(&self, node: &Node, buffer: &mut IoBuffer<'_>, offset: u64, allowed: usize) -> Result<usize> {
        let mut bytes = [0; PAGE_SIZE_BYTES];
        let mut total = 0;
        while total < allowed {
            let position = offset + total as u64;
            let within = (position % PAGE) as usize;
            let wanted = (PAGE_SIZE_BYTES - within).min(allowed - total);
            let step = buffer.take(&mut bytes[..wanted]).and_then(|taken| {
                let frame = self.page_for_write(node, position / PAGE, within, taken)?;
                frame.write(within, &bytes[..taken]);
                Ok(taken)
            });
            let moved = match step {
                Ok(moved) => moved,
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            };
            total += moved;
            let mut attributes = self.inode.attributes.lock();
            attributes.size_bytes = attributes.size_bytes.max(position + moved as u64);
            drop(attributes);
            writeback::balance(node, &self.inode);
            if moved < wanted {
                break;
            }
        }
        node.note_own_times(&self.inode);
        Ok(total)
    }

    /// The page that `len_bytes` at `within` are written to, dirty: what the write does not cover is read first.
    fn page_for_write(&self, node: &Node, index: u64, within: usize, len_bytes: usize) -> Result<Frame> {
        let known_end = size_of(&self.inode);
        let covers =
            len_bytes == PAGE_SIZE_BYTES || index * PAGE >= known_end || (within == 0 && index * PAGE + len_bytes as u64 >= known_end);
        loop {
            if let Some(frame) = node.cache.get_for_write(index) {
                return Ok(frame);
            }
            if covers {
                node.cache.insert_dirty(index, cache::new_page()?);
            } else {
                let reader = self.reader(node)?;
                pages::fill(node, &self.inode, &reader, index, 1)?;
            }
        }
    }

    /// A handle that can read: the own one, unless it was opened for writing only.
    fn reader(&self, node: &Node) -> Result<Arc<Handle>> {
        if self.handle.open_flags.readable() {
            return Ok(self.handle.clone());
        }
        let writers: Vec<Arc<Handle>> = node.writers.lock().iter().filter_map(alloc::sync::Weak::upgrade).collect();
        Ok(writers.into_iter().find(|writer| writer.open_flags.readable()).unwrap_or_else(|| self.handle.clone()))
    }

    fn write_held(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: &mut u64) -> Result<usize> {
        let node = self.node()?;
        let _changes = self.inode.lock.lock();
        let later = node.owns_content(&self.inode) && !self.is_direct(file);
        if file.flags().contains(OpenFlags::APPEND) {
            *offset = size_of(&self.inode);
        }
        let allowed = file::writable_len(*offset, buffer.remaining())?;
        if allowed == 0 && buffer.remaining() == 0 {
            return Ok(0);
        }
        let settings = node.connection().settings();
        if self.is_direct(file) {
            // The WRITE says what the server is to take away.
            attributes::note_modified(&self.inode);
        } else if settings.features.intersects(Features::HANDLE_KILLPRIV | Features::HANDLE_KILLPRIV_V2) {
            attributes::drop_file_capabilities(&self.inode)?;
            attributes::note_modified(&self.inode);
        } else {
            attributes::before_write(file)?;
        }
        if later {
            self.write_later(node, buffer, *offset, allowed)
        } else if self.is_direct(file) {
            self.write_direct(file, node, buffer, *offset, allowed)
        } else {
            self.write_through(file, node, buffer, *offset, allowed, write_limit(node))
        }
    }
}

impl FileOps for RegularFile {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        let node = self.node()?;
        let mut offset = offset;
        self.at_own_position(&mut offset, |offset| {
            if self.is_direct(file) { self.read_direct(file, node, buffer, *offset) } else { self.read_cached(node, buffer, *offset) }
        })
    }

    fn write(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: &mut u64) -> Result<usize> {
        self.at_own_position(offset, |offset| self.write_held(file, buffer, offset))
    }

    fn seekable(&self) -> bool {
        !self.is_unpositioned()
    }

    fn seek(&self, _file: &OpenFile, _position: u64, offset: i64, whence: u32) -> Option<Result<u64>> {
        if self.is_unpositioned() {
            return None;
        }
        let node = match self.node() {
            Ok(node) => node,
            Err(error) => return Some(Err(error)),
        };
        match whence {
            sys::SEEK_END => super::attributes::refresh(node, &self.inode, Some(&self.handle)).err().map(Err),
            sys::SEEK_DATA | sys::SEEK_HOLE => self.ask_seek(node, offset, whence).transpose(),
            _ => None,
        }
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        match self.node() {
            Ok(node) => {
                let point = self.poll_point.lock().get_or_insert_with(|| node.connection().polls.add()).clone();
                point.poll(node.connection(), node, &self.handle, table)
            }
            Err(_) => PollEvents::ERR,
        }
    }

    fn ioctl(&self, file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        super::ioctl::ioctl(file, self.node()?, &self.handle, false, request, argument)
    }

    fn mapping(&self, _file: &OpenFile) -> Option<FileMapping> {
        Some(FileMapping::Pages(Arc::new(FilePages { inode: self.inode.clone(), handle: Some(self.handle.clone()) })))
    }

    fn check_mapping(&self, shared: bool) -> Result<()> {
        let node = self.node()?;
        if self.handle.flags.contains(OpenedFlags::DIRECT_IO) {
            if shared && !node.connection().has(Features::DIRECT_IO_ALLOW_MMAP) {
                return Err(Errno::NODEV);
            }
            node.cache.forget(&self.inode, 0, u64::MAX);
        }
        Ok(())
    }

    fn sync(&self, _file: &OpenFile, data_only: bool) -> Result<()> {
        writeback::write_back(self.node()?, &self.inode)?;
        self.handle.sync(data_only)
    }

    fn allocate(&self, _file: &OpenFile, mode: u32, offset: u64, len_bytes: u64) -> Result<()> {
        if mode & !(sys::FALLOC_FL_KEEP_SIZE | sys::FALLOC_FL_PUNCH_HOLE | sys::FALLOC_FL_ZERO_RANGE) != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let node = self.node()?;
        let _changes = self.inode.lock.lock();
        writeback::write_back(node, &self.inode)?;
        let end = offset.checked_add(len_bytes).ok_or(Errno::FBIG)?;
        let grows = mode & sys::FALLOC_FL_KEEP_SIZE == 0;
        if grows {
            file::check_len(end)?;
        }
        let body = Message::default().u64(self.handle.number).u64(offset).u64(len_bytes).u32(mode).u32(0);
        node.connection().call_optional(Question::new(Opcode::Allocate, node.number, body))?.ok_or(Errno::OPNOTSUPP)?;
        if mode & (sys::FALLOC_FL_PUNCH_HOLE | sys::FALLOC_FL_ZERO_RANGE) != 0 {
            node.cache.forget(&self.inode, offset / PAGE, len_bytes.div_ceil(PAGE) + 1);
        }
        if grows {
            let mut attributes = self.inode.attributes.lock();
            attributes.size_bytes = attributes.size_bytes.max(end);
        }
        attributes::note_modified(&self.inode);
        node.changed_here();
        Ok(())
    }

    fn flush(&self, _file: &OpenFile) -> Result<()> {
        let node = self.node()?;
        if self.handle.flags.contains(OpenedFlags::NOFLUSH) && !node.owns_content(&self.inode) {
            return Ok(());
        }
        writeback::write_back(node, &self.inode).map_err(|error| if error == Errno::NOSPC { error } else { Errno::IO })?;
        self.handle.flush(handle::current_owner())
    }

    fn lock(&self, _file: &OpenFile, call: &LockCall) -> Option<Result<Option<RecordLock>>> {
        match self.node() {
            Ok(node) => super::locks::lock(node, &self.handle, call),
            Err(error) => Some(Err(error)),
        }
    }

    fn copy_range(&self, offset: u64, target: &OpenFile, target_offset: u64, len_bytes: usize) -> Option<Result<usize>> {
        let other = target.downcast::<Self>()?;
        self.ask_copy(offset, other, target_offset, len_bytes).transpose()
    }

    fn handle(&self) -> Option<u64> {
        Some(self.handle.number)
    }

    fn truncated_by_opening(&self) -> bool {
        self.handle.was_truncated()
    }

    fn release(&self, _file: &OpenFile) {
        if let Ok(node) = self.node()
            && self.handle.open_flags.writable()
        {
            // Stores through a mapping that outlived the descriptor. close(2) told of what could be told.
            let _ = writeback::write_back(node, &self.inode);
        }
    }
}

impl RegularFile {
    /// `COPY_FILE_RANGE`: `None` if the server has none, or not for these two.
    fn ask_copy(&self, offset: u64, other: &Self, target_offset: u64, len_bytes: usize) -> Result<Option<usize>> {
        let (node, target) = (self.node()?, other.node()?);
        writeback::write_back(node, &self.inode)?;
        writeback::write_back(target, &other.inode)?;
        let _changes = other.inode.lock.lock();
        let body = Message::default().u64(self.handle.number).u64(offset).u64(target.number).u64(other.handle.number);
        let body = body.u64(target_offset).u64(len_bytes as u64).u64(0);
        let question = Question::new(Opcode::CopyFileRange, node.number, body).answer(8);
        let answer = match node.connection().call_optional(question) {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(Errno::OPNOTSUPP | Errno::XDEV) => return Ok(None),
            Err(error) => return Err(error),
        };
        let copied = handle::bounded(Fields(&answer).u32(), len_bytes)?;
        target.cache.forget(&other.inode, target_offset / PAGE, (copied as u64).div_ceil(PAGE) + 1);
        {
            let mut attributes = other.inode.attributes.lock();
            attributes.size_bytes = attributes.size_bytes.max(target_offset + copied as u64);
        }
        target.changed_here();
        Ok(Some(copied))
    }

    /// `LSEEK`: `None` if the server has none, and the file counts as one piece of data.
    fn ask_seek(&self, node: &Node, offset: i64, whence: u32) -> Result<Option<u64>> {
        writeback::write_back(node, &self.inode)?;
        if node.connection().lacks(Opcode::Seek) {
            return super::attributes::refresh(node, &self.inode, Some(&self.handle)).map(|()| None);
        }
        let body = Message::default().u64(self.handle.number).u64(offset as u64).u32(whence).u32(0);
        match node.connection().call_optional(Question::new(Opcode::Seek, node.number, body).answer(8))? {
            Some(answer) => Ok(Some(Fields(&answer).u64())),
            None => super::attributes::refresh(node, &self.inode, Some(&self.handle)).map(|()| None),
        }
    }
}
