//! What the server does not know yet: pages and times that only the kernel has. They go out when somebody asks (fsync, close, msync),
//! when they are too many, and by themselves every `dirty_writeback_centisecs`.
//!
//! One at a time writes a file back: it has the file's *turn*, until the server has answered all that was sent. So no older page
//! overtakes a newer one, and a truncation, which takes the turn as well, is never followed by what was cut off. Sending is one thing and
//! waiting another: sync(2) and the kernel's own thread send, and wait for no server.

use super::cache;
use super::file::{size_of, write_limit};
use super::names;
use super::node::Node;
use super::protocol::{Fields, Message, Opcode, WRITE_CACHE};
use super::request::Question;
use crate::errno::{Errno, Result};
use crate::fs::inode::AttributeChange;
use crate::fs::procfs::sysctl::Number;
use crate::fs::{Inode, SuperBlock};
use crate::mm::{PAGE_SIZE_BYTES, frame};
use crate::sync::SpinLock;
use crate::task::wait_queue::WaitMode;
use crate::task::{Deadline, WaitQueue, kernel_thread};
use crate::time::clock;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

const PAGE: u64 = PAGE_SIZE_BYTES as u64;
/// Most bytes of a file that are on their way at a time: they are in memory twice.
const MAX_SENT_BYTES: u64 = 16 << 20;
/// The share of memory that may be dirty before who writes more has to wait: that of a filesystem which Linux does not trust.
const DIRTY_SHARE: u64 = 100;
/// How soon the kernel's thread looks again for what it could not send.
const RETRY_NS: u64 = 100_000_000;

/// `/proc/sys/vm/dirty_writeback_centisecs`: 0 for never.
pub static INTERVAL_CENTISECS: Number = Number::new(500, 0, i32::MAX as i64);

/// Files with something to send, by their place in memory.
static LISTED: SpinLock<BTreeMap<usize, Weak<Inode>>> = SpinLock::new(BTreeMap::new());
/// Told when there is a first one, and when the interval changes.
static WORK: WaitQueue = WaitQueue::new();
static IS_STARTED: AtomicBool = AtomicBool::new(false);

/// How a file stands with its server.
#[derive(Default)]
pub struct Outgoing {
    state: SpinLock<State>,
    /// Told when the turn is free.
    free: WaitQueue,
}

#[derive(Default)]
struct State {
    /// Somebody has the turn.
    is_held: bool,
    /// Requests that were sent and not answered: they keep the turn.
    unanswered: usize,
    /// What went wrong first, and was told to nobody.
    error: Option<Errno>,
    /// See [`LISTED`].
    is_listed: bool,
}

/// Notes that a file has something to send.
pub fn mark(node: &Node, inode: &Arc<Inode>) {
    if core::mem::replace(&mut node.outgoing.state.lock().is_listed, true) {
        return;
    }
    LISTED.lock().insert(Arc::as_ptr(inode).addr(), Arc::downgrade(inode));
    if !IS_STARTED.swap(true, Ordering::Relaxed) && kernel_thread::spawn(*b"fuse-writeback\0\0", || send_now_and_then()).is_err() {
        // The next who writes tries again.
        IS_STARTED.store(false, Ordering::Relaxed);
    }
    WORK.wake_all();
}

fn unlist(node: &Node, inode: &Arc<Inode>) {
    if core::mem::take(&mut node.outgoing.state.lock().is_listed) {
        let _ = LISTED.lock().remove(&Arc::as_ptr(inode).addr());
    }
}

/// The interval has changed.
pub fn interval_changed() {
    WORK.wake_all();
}

/// What the kernel's thread does.
fn send_now_and_then() -> ! {
    let mut pause_ns = u64::MAX;
    loop {
        let interval = || (!LISTED.lock().is_empty()).then(|| INTERVAL_CENTISECS.get()).filter(|interval| *interval > 0);
        let Ok(interval) = WORK.wait_until(WaitMode::UNINTERRUPTIBLE, interval) else { continue };
        let interval_ns = interval as u64 * 10_000_000;
        let end = Deadline(clock::monotonic_ns().saturating_add(interval_ns.min(pause_ns)));
        let is_other = || (INTERVAL_CENTISECS.get() != interval).then_some(());
        if WORK.wait_until(WaitMode::UNINTERRUPTIBLE.until(Some(end)), is_other).is_ok() {
            continue;
        }
        send_listed(None, true);
        // What could not be sent is listed still, or again.
        pause_ns = if LISTED.lock().is_empty() { u64::MAX } else { RETRY_NS };
    }
}

/// Sends what all mounts have to send (`sync(2)`, which tells of no error).
pub fn sync_all() {
    send_listed(None, false);
}

/// Sends what the files of a mount have to send, or those of all mounts, and waits for no answer. `sparingly`: not to servers that have
/// enough to do.
pub fn send_listed(of: Option<&SuperBlock>, sparingly: bool) {
    for inode in listed(of) {
        if let Some(node) = inode.downcast::<Node>()
            && !(sparingly && node.connection().is_congested())
        {
            send(node, &inode);
        }
    }
}

/// The files of a mount with something to send, or of all.
pub fn listed(of: Option<&SuperBlock>) -> Vec<Arc<Inode>> {
    let all: Vec<Arc<Inode>> = {
        let mut listed = LISTED.lock();
        listed.retain(|_, inode| inode.strong_count() > 0);
        listed.values().filter_map(Weak::upgrade).collect()
    };
    let is_wanted = |inode: &Arc<Inode>| of.is_none_or(|superblock| core::ptr::eq(&*inode.superblock, superblock));
    all.into_iter().filter(is_wanted).collect()
}

/// Sends what a file has to send, unless somebody does already.
fn send(node: &Node, inode: &Arc<Inode>) {
    let turn = {
        let mut state = node.outgoing.state.lock();
        if state.is_held || state.unanswered > 0 {
            return;
        }
        state.is_held = true;
        Turn(node)
    };
    unlist(node, inode);
    if turn.send(inode, 0).is_some() {
        mark(node, inode);
    }
    if let Some(change) = node.take_own_times(inode)
        && let Ok(question) = names::change_question(node, inode, &change)
    {
        // Nobody is left to be told of an error.
        let _ = node.connection().post(question.anonymous().answered_to(Box::new(drop)));
    }
}

/// Who has it is the only one who sends a file's pages.
pub struct Turn<'a>(&'a Node);

/// Waits for a file's turn. (That a server answers late or never is its callers' fate, as it is on Linux.)
pub fn turn(node: &Node) -> Turn<'_> {
    let take = || {
        let mut state = node.outgoing.state.lock();
        let is_free = !state.is_held && state.unanswered == 0;
        state.is_held |= is_free;
        is_free.then_some(())
    };
    let _ = node.outgoing.free.wait_until(WaitMode::UNINTERRUPTIBLE, take);
    Turn(node)
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.outgoing.state.lock().is_held = false;
        self.0.outgoing.free.wake_all();
    }
}

impl Turn<'_> {
    /// Sends all dirty pages and waits for the answers. Errors are kept for [`take_error`].
    pub fn write_all(&self, inode: &Arc<Inode>) {
        unlist(self.0, inode);
        let mut from = 0;
        while let Some(next) = self.send(inode, from) {
            self.wait_for_answers();
            from = next;
        }
        self.wait_for_answers();
    }

    fn wait_for_answers(&self) {
        let outgoing = &self.0.outgoing;
        let answered = || (outgoing.state.lock().unanswered == 0).then_some(());
        let _ = outgoing.free.wait_until(WaitMode::UNINTERRUPTIBLE, answered);
    }

    /// Sends dirty pages from an index on: where to go on, if they are too many for one time.
    fn send(&self, inode: &Arc<Inode>, from: u64) -> Option<u64> {
        let node = self.0;
        let most = (write_limit(node) as u64 / PAGE).max(1);
        let mut at = from;
        let mut left = MAX_SENT_BYTES / PAGE;
        while let Some(first) = node.cache.next_dirty(at) {
            if left == 0 {
                return Some(first);
            }
            let end = (first + 1..first + most.min(left)).find(|&index| !node.cache.is_dirty(index)).unwrap_or(first + most.min(left));
            if let Err(error) = send_run(node, inode, first..end) {
                note_error(node, error);
            }
            left -= end - first;
            at = end;
        }
        None
    }
}

/// One WRITE of neighbouring pages. An error if it could not be sent: the pages are clean all the same, as after one that the server
/// refused.
fn send_run(node: &Node, inode: &Arc<Inode>, run: Range<u64>) -> Result<()> {
    let frames: Vec<_> = run.clone().map_while(|index| node.cache.clean(index)).collect();
    // Only now: a store before is in what is copied below, one from here on makes the page dirty again.
    inode.mappings.forget(run.start, run.end - run.start, false);
    let sent = copy(inode, &run, &frames).and_then(|data| post(node, inode, run.clone(), &data));
    if sent.is_err() {
        node.cache.arrived(run);
    }
    sent
}

/// What the frames hold, as far as the file goes.
fn copy(inode: &Inode, run: &Range<u64>, frames: &[frame::Frame]) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    data.try_reserve_exact(frames.len() * PAGE_SIZE_BYTES).map_err(|_| Errno::NOMEM)?;
    for frame in frames {
        let start = data.len();
        data.resize(start + PAGE_SIZE_BYTES, 0);
        frame.read(0, &mut data[start..]);
    }
    let left = usize::try_from(size_of(inode).saturating_sub(run.start * PAGE)).unwrap_or(usize::MAX);
    data.truncate(left);
    Ok(data)
}

fn post(node: &Node, inode: &Arc<Inode>, run: Range<u64>, data: &[u8]) -> Result<()> {
    if data.is_empty() {
        node.cache.arrived(run);
        return Ok(());
    }
    let handle = node.writer().ok_or(Errno::IO)?;
    let (len_bytes, offset) = (data.len(), run.start * PAGE);
    let mut body = Message::default().u64(handle.number).u64(offset).u32(len_bytes as u32).u32(WRITE_CACHE);
    if node.connection().settings().minor >= 9 {
        body = body.u64(0).u32(0).u32(0);
    }
    let question = Question::new(Opcode::Write, node.number, body.data(data)?).answer(8).anonymous();
    let written = inode.clone();
    let question = question.answered_to(Box::new(move |result| {
        answered(&written, run, len_bytes, result);
        // RELEASE comes after what was written through it.
        drop(handle);
    }));
    node.outgoing.state.lock().unanswered += 1;
    node.connection().post(question).inspect_err(|_| node.outgoing.state.lock().unanswered -= 1)
}

/// The server has answered a WRITE, or never will.
fn answered(inode: &Inode, run: Range<u64>, len_bytes: usize, result: Result<Vec<u8>>) {
    let Some(node) = inode.downcast::<Node>() else { return };
    node.cache.arrived(run);
    match result.map(|body| Fields(&body).u32() as usize) {
        Ok(taken) if taken == len_bytes => {}
        Ok(_) => note_error(node, Errno::IO),
        Err(error) => note_error(node, error),
    }
    let is_last = {
        let mut state = node.outgoing.state.lock();
        state.unanswered -= 1;
        state.unanswered == 0
    };
    if is_last {
        node.outgoing.free.wake_all();
    }
}

fn note_error(node: &Node, error: Errno) {
    log::debug!("fuse: pages of node {} were not written: {error:?}", node.number);
    node.outgoing.state.lock().error.get_or_insert(error);
}

/// What went wrong since somebody was told last.
pub fn take_error(node: &Node) -> Result<()> {
    node.outgoing.state.lock().error.take().map_or(Ok(()), Err)
}

/// Sends all that a file has to send, and waits for the answers. An error is told once.
pub fn write_back(node: &Node, inode: &Arc<Inode>) -> Result<()> {
    turn(node).write_all(inode);
    let times = node.take_own_times(inode).map_or(Ok(()), |change: AttributeChange| names::ask_change(node, inode, &change));
    take_error(node).and(times)
}

/// Somebody has written into pages: where too many are dirty, his are written back before he goes on.
pub fn balance(node: &Node, inode: &Arc<Inode>) {
    if cache::dirty_pages() > frame::statistics().total_pages / DIRTY_SHARE {
        send_listed(None, true);
        turn(node).write_all(inode);
    }
}
