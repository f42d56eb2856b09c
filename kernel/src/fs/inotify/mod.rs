//! inotify(7): telling programs of changes of files and directories.
//!
//! What the filesystem code calls, after the change and without spinning locks held:
//! - [`file_event`] when a file was opened, read, written, closed, or its attributes changed;
//! - [`entry_event`] when a name was made in a directory or taken away, [`moved`] when one was moved;
//! - [`inode_event`] when a file has another number of names, [`deleted`] when it has none and nobody uses it by one;
//! - [`unmounted`] when a filesystem shuts down.
//!
//! While nobody watches anything, each costs one load. `queue` holds the events of an instance until they are read.

mod queue;

use crate::errno::{Errno, Result};
use crate::fs::{Dentry, FileOps, FileType, Inode, OpenFile, OpenFlags, PollEvents, PollTable, SuperBlock, internal};
use crate::mm::{IoBuffer, UserPointer};
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::task::wait_queue::WaitMode;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use bitflags::bitflags;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use linux_raw_sys::general as sys;
use linux_raw_sys::ioctl::FIONREAD;

pub use queue::Event;
use queue::EventQueue;

bitflags! {
    /// What happened, and how to watch (`IN_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs)]
    pub struct Mask: u32 {
        const ACCESS = sys::IN_ACCESS;
        const MODIFY = sys::IN_MODIFY;
        const ATTRIB = sys::IN_ATTRIB;
        const CLOSE_WRITE = sys::IN_CLOSE_WRITE;
        const CLOSE_NOWRITE = sys::IN_CLOSE_NOWRITE;
        const OPEN = sys::IN_OPEN;
        const MOVED_FROM = sys::IN_MOVED_FROM;
        const MOVED_TO = sys::IN_MOVED_TO;
        const CREATE = sys::IN_CREATE;
        const DELETE = sys::IN_DELETE;
        const DELETE_SELF = sys::IN_DELETE_SELF;
        const MOVE_SELF = sys::IN_MOVE_SELF;
        const UNMOUNT = sys::IN_UNMOUNT;
        const OVERFLOW = sys::IN_Q_OVERFLOW;
        const IGNORED = sys::IN_IGNORED;
        const ONLYDIR = sys::IN_ONLYDIR;
        const DONT_FOLLOW = sys::IN_DONT_FOLLOW;
        const EXCL_UNLINK = sys::IN_EXCL_UNLINK;
        const MASK_CREATE = sys::IN_MASK_CREATE;
        const MASK_ADD = sys::IN_MASK_ADD;
        const ISDIR = sys::IN_ISDIR;
        const ONESHOT = sys::IN_ONESHOT;
    }
}

impl Mask {
    /// What a watch may ask for.
    const EVENTS: Self = Self::from_bits_truncate(sys::IN_ALL_EVENTS);
    /// What a watch keeps of its mask.
    const KEPT: Self = Self::EVENTS.union(Self::EXCL_UNLINK).union(Self::ONESHOT);
    /// Told whether asked for or not.
    const ALWAYS: Self = Self::UNMOUNT.union(Self::IGNORED);
}

/// `/proc/sys/fs/inotify/max_user_instances`, counted for the whole system.
const MAX_INSTANCES: usize = 128;
/// `/proc/sys/fs/inotify/max_user_watches`, likewise.
const MAX_WATCHES: usize = 65536;

static INSTANCES: AtomicUsize = AtomicUsize::new(0);
static WATCHES: AtomicUsize = AtomicUsize::new(0);

/// One watch of one instance on one inode.
struct Watch {
    instance: Weak<Inotify>,
    descriptor: i32,
    /// Keeps the inode in memory: a watch is on the file, not on a name.
    inode: Arc<Inode>,
    mask: AtomicU32,
}

impl Watch {
    fn mask(&self) -> Mask {
        Mask::from_bits_truncate(self.mask.load(Ordering::Relaxed))
    }

    /// Tells the instance, if the watch asks for it; a one-shot watch goes.
    fn tell(&self, mask: Mask, name: &[u8], cookie: u32) {
        let wanted = self.mask();
        if !(wanted | Mask::ALWAYS).intersects(mask) {
            return;
        }
        let Some(instance) = self.instance.upgrade() else { return };
        instance.push(Event { watch: self.descriptor, mask, cookie, name: name.to_vec() });
        if wanted.contains(Mask::ONESHOT) && !mask.intersects(Mask::ALWAYS) {
            let _ = instance.remove(self.descriptor);
        }
    }

    /// Tells why the watch ends, and ends it.
    fn end(&self, mask: Mask) {
        self.tell(mask, b"", 0);
        if let Some(instance) = self.instance.upgrade() {
            let _ = instance.remove(self.descriptor);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Every watch, for when a filesystem shuts down.
static ALL_WATCHES: SpinLock<Vec<Weak<Watch>>> = SpinLock::new(Vec::new());

fn note_watch(watch: &Arc<Watch>) {
    let mut all = ALL_WATCHES.lock();
    if all.len().is_power_of_two() {
        all.retain(|watch| watch.strong_count() > 0);
    }
    all.push(Arc::downgrade(watch));
}

/// Who watches one inode.
#[derive(Default)]
pub struct Watches {
    list: SpinLock<Vec<Weak<Watch>>>,
}

impl Watches {
    fn all(&self) -> Vec<Arc<Watch>> {
        self.list.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn forget(&self, gone: &Arc<Watch>) {
        self.list.lock().retain(|watch| !core::ptr::eq(watch.as_ptr(), Arc::as_ptr(gone)));
    }
}

/// An instance: its watches and the events that wait to be read.
pub struct Inotify {
    this: Weak<Inotify>,
    watches: SpinLock<BTreeMap<i32, Arc<Watch>>>,
    next_descriptor: AtomicU32,
    events: SpinLock<EventQueue>,
    queue: Arc<WaitQueue>,
}

/// What the descriptor of an instance refers to.
pub struct InotifyFile(Arc<Inotify>);

/// `inotify_init1(2)`. `EMFILE` when there are too many.
pub fn create(flags: OpenFlags) -> Result<Arc<OpenFile>> {
    if INSTANCES.fetch_add(1, Ordering::Relaxed) >= MAX_INSTANCES {
        INSTANCES.fetch_sub(1, Ordering::Relaxed);
        return Err(Errno::MFILE);
    }
    let instance = Arc::new_cyclic(|this| Inotify {
        this: this.clone(),
        watches: SpinLock::new(BTreeMap::new()),
        next_descriptor: AtomicU32::new(1),
        events: SpinLock::new(EventQueue::default()),
        queue: Arc::new(WaitQueue::new()),
    });
    internal::anonymous_file("inotify", Arc::new(InotifyFile(instance)), flags)
}

/// The instance behind an open file; `EINVAL` if it is none.
pub fn of(file: &OpenFile) -> Result<&Arc<Inotify>> {
    file.downcast::<InotifyFile>().map(|file| &file.0).ok_or(Errno::INVAL)
}

impl Inotify {
    /// `inotify_add_watch(2)`: the watch's number. The mask has been checked; a watch of the instance on the inode that is there already
    /// is changed, or with `IN_MASK_CREATE` `EEXIST`. `ENOSPC` when there are too many.
    pub fn add(&self, inode: &Arc<Inode>, mask: Mask) -> Result<i32> {
        let kept = mask & Mask::KEPT;
        let existing = self.watches.lock().values().find(|watch| Arc::ptr_eq(&watch.inode, inode)).cloned();
        if let Some(watch) = existing {
            if mask.contains(Mask::MASK_CREATE) {
                return Err(Errno::EXIST);
            }
            let base = if mask.contains(Mask::MASK_ADD) { watch.mask() } else { Mask::empty() };
            watch.mask.store((base | kept).bits(), Ordering::Relaxed);
            return Ok(watch.descriptor);
        }
        internal::check_memory()?;
        if WATCHES.fetch_add(1, Ordering::Relaxed) >= MAX_WATCHES {
            WATCHES.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::NOSPC);
        }
        // Numbers are not used again until they have been through all (inotify(7)).
        let descriptor = self.next_descriptor.fetch_add(1, Ordering::Relaxed) as i32 & i32::MAX;
        let watch = Arc::new(Watch { instance: self.this.clone(), descriptor, inode: inode.clone(), mask: AtomicU32::new(kept.bits()) });
        inode.watches.list.lock().push(Arc::downgrade(&watch));
        note_watch(&watch);
        self.watches.lock().insert(descriptor, watch);
        Ok(descriptor)
    }

    /// `inotify_rm_watch(2)`: `EINVAL` if there is no such watch. `IN_IGNORED` tells that it has gone.
    pub fn remove(&self, descriptor: i32) -> Result<()> {
        let watch = self.watches.lock().remove(&descriptor).ok_or(Errno::INVAL)?;
        watch.inode.watches.forget(&watch);
        self.push(Event { watch: descriptor, mask: Mask::IGNORED, cookie: 0, name: Vec::new() });
        Ok(())
    }

    fn push(&self, event: Event) {
        self.events.lock().push(event);
        self.queue.wake_all();
    }

    /// Moves whole events to `buffer` as far as they fit. `None`: there is none. `EINVAL` if not even the first fits.
    fn read_now(&self, buffer: &mut IoBuffer<'_>) -> Option<Result<usize>> {
        let mut moved = 0;
        loop {
            let next = self.events.lock().pop_if_fits(buffer.remaining());
            match next {
                queue::Next::None if moved == 0 => return None,
                queue::Next::TooLong if moved == 0 => return Some(Err(Errno::INVAL)),
                queue::Next::None | queue::Next::TooLong => return Some(Ok(moved)),
                queue::Next::Event(bytes) => match buffer.put_all(&bytes) {
                    Ok(count) => moved += count,
                    Err(error) if moved == 0 => return Some(Err(error)),
                    Err(_) => return Some(Ok(moved)),
                },
            }
        }
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        for watch in core::mem::take(self.watches.get_mut()).into_values() {
            watch.inode.watches.forget(&watch);
        }
        INSTANCES.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FileOps for InotifyFile {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        match self.0.read_now(buffer) {
            Some(result) => result,
            None if file.is_nonblocking() => Err(Errno::AGAIN),
            None => loop {
                self.0.queue.wait_until(WaitMode::INTERRUPTIBLE, || (!self.0.events.lock().is_empty()).then_some(()))?;
                if let Some(result) = self.0.read_now(buffer) {
                    return result;
                }
            },
        }
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
        table.watch(&self.0.queue);
        if self.0.events.lock().is_empty() { PollEvents::empty() } else { PollEvents::READABLE }
    }

    fn ioctl(&self, _file: &OpenFile, request: u32, argument: u64) -> Result<usize> {
        if request != FIONREAD {
            return Err(Errno::NOTTY);
        }
        let len_bytes = i32::try_from(self.0.events.lock().len_bytes()).unwrap_or(i32::MAX);
        UserPointer::<i32>::new(argument).write(len_bytes).map(|()| 0)
    }

    fn describe(&self, _file: &OpenFile, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        let watches: Vec<Arc<Watch>> = self.0.watches.lock().values().cloned().collect();
        for watch in watches {
            let (number, device) = (watch.inode.number, watch.inode.superblock.device);
            writeln!(
                out,
                "inotify wd:{:x} ino:{number:x} sdev:{device:x} mask:{:x} ignored_mask:0",
                watch.descriptor,
                watch.mask().bits()
            )?;
        }
        Ok(())
    }
}

fn nobody_watches() -> bool {
    WATCHES.load(Ordering::Relaxed) == 0
}

fn directory_mark(inode: &Inode) -> Mask {
    if inode.file_type == FileType::Directory { Mask::ISDIR } else { Mask::empty() }
}

fn tell(inode: &Inode, mask: Mask, name: &[u8], cookie: u32) {
    for watch in inode.watches.all() {
        watch.tell(mask, name, cookie);
    }
}

/// Something was done to a file: its own watches are told, and with the file's name those of its directory.
pub fn file_event(dentry: &Dentry, inode: &Inode, mask: Mask) {
    if nobody_watches() {
        return;
    }
    let mask = mask | directory_mark(inode);
    if let Some(directory) = dentry.parent().and_then(|parent| parent.inode()) {
        let name = dentry.name();
        let unlinked = dentry.is_unhashed();
        for watch in directory.watches.all() {
            if !(unlinked && watch.mask().contains(Mask::EXCL_UNLINK)) {
                watch.tell(mask, &name, 0);
            }
        }
    }
    tell(inode, mask, b"", 0);
}

/// Something was done to a file that its directory does not hear of: the number of its names changed (`IN_ATTRIB`).
pub fn inode_event(inode: &Inode, mask: Mask) {
    if nobody_watches() {
        return;
    }
    tell(inode, mask | directory_mark(inode), b"", 0);
}

/// A name was made in a directory (`IN_CREATE`) or taken away (`IN_DELETE`).
pub fn entry_event(directory: &Inode, name: &[u8], target: &Inode, mask: Mask) {
    if nobody_watches() {
        return;
    }
    tell(directory, mask | directory_mark(target), name, 0);
}

/// Bytes were read from an open file (`IN_ACCESS`) or written to it (`IN_MODIFY`).
pub fn transferred(file: &OpenFile, count: usize, mask: Mask) {
    if count > 0 {
        file_event(file.path.dentry(), &file.inode, mask);
    }
}

/// A name was moved. Both directories are told with one cookie, the file itself without.
pub fn moved(old_directory: &Inode, old_name: &[u8], new_directory: &Inode, new_name: &[u8], target: &Inode) {
    static NEXT_COOKIE: AtomicU32 = AtomicU32::new(1);
    if nobody_watches() {
        return;
    }
    let cookie = NEXT_COOKIE.fetch_add(1, Ordering::Relaxed);
    let mark = directory_mark(target);
    tell(old_directory, Mask::MOVED_FROM | mark, old_name, cookie);
    tell(new_directory, Mask::MOVED_TO | mark, new_name, cookie);
    tell(target, Mask::MOVE_SELF, b"", 0);
}

/// A file has lost its last name and its last user by that name: its watches are told, and end.
pub fn deleted(inode: &Inode) {
    end_watches(inode, Mask::DELETE_SELF);
}

/// The filesystem shuts down.
pub fn unmounted(superblock: &SuperBlock) {
    if nobody_watches() {
        return;
    }
    let watches: Vec<Arc<Watch>> = ALL_WATCHES.lock().iter().filter_map(Weak::upgrade).collect();
    for watch in watches.iter().filter(|watch| core::ptr::eq(Arc::as_ptr(&watch.inode.superblock), superblock)) {
        watch.end(Mask::UNMOUNT);
    }
}

fn end_watches(inode: &Inode, mask: Mask) {
    if nobody_watches() {
        return;
    }
    for watch in inode.watches.all() {
        watch.end(mask);
    }
}
