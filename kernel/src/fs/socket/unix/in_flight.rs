//! Descriptors under way in `SCM_RIGHTS` messages: how many, and what nobody can reach any more.
//!
//! A socket that lies in its own receive queue, or two that lie in each other's, keep themselves alive though no program can receive
//! them. As in Linux, whenever a socket is closed while sockets are under way, those that are held by messages only, and only by
//! messages of sockets of which the same is true, have their queues emptied.

use super::UnixSocket;
use crate::errno::{Errno, Result};
use crate::fs::{OpenFile, socket};
use crate::sync::{Lazy, SpinLock};
use crate::task::{Capabilities, current};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};

/// Messages that carry sockets whose queues carry sockets…: Linux allows four levels.
const MAX_LEVELS: usize = 4;

/// Files of one message, counted while they fly.
#[derive(Default)]
pub(super) struct Flight {
    files: Vec<Arc<OpenFile>>,
    sender_uid: u32,
}

/// How often each file of a Unix socket is under way, by the file's address.
static SOCKETS: Lazy<SpinLock<BTreeMap<usize, Aloft>>> = Lazy::new(|| SpinLock::new(BTreeMap::new()));
/// How many files each user has under way.
static USERS: Lazy<SpinLock<BTreeMap<u32, usize>>> = Lazy::new(|| SpinLock::new(BTreeMap::new()));

struct Aloft {
    file: Weak<OpenFile>,
    messages: usize,
}

fn key(file: &Arc<OpenFile>) -> usize {
    Arc::as_ptr(file).addr()
}

fn unix_socket(file: &OpenFile) -> Option<&UnixSocket> {
    let ops = socket::of(file).ok()?;
    (&**ops as &dyn Any).downcast_ref()
}

impl Flight {
    /// Lets files take off. `ETOOMANYREFS` if the sender has more under way than it may have open (unless it is privileged), or if they
    /// are nested too deeply.
    pub(super) fn depart(files: Vec<Arc<OpenFile>>) -> Result<Self> {
        if files.is_empty() {
            return Ok(Self::default());
        }
        let credentials = current().credentials();
        let sender_uid = credentials.uid;
        let privileged = credentials.capable(Capabilities::SYS_RESOURCE) || credentials.capable(Capabilities::SYS_ADMIN);
        let limit = current().process.descriptor_limit();
        if !privileged && USERS.lock().get(&sender_uid).is_some_and(|count| *count as u64 > limit) {
            return Err(Errno::TOOMANYREFS);
        }
        if levels(&files) > MAX_LEVELS {
            return Err(Errno::TOOMANYREFS);
        }
        *USERS.lock().entry(sender_uid).or_insert(0) += files.len();
        let mut sockets = SOCKETS.lock();
        for file in files.iter().filter(|file| unix_socket(file).is_some()) {
            sockets.entry(key(file)).or_insert_with(|| Aloft { file: Arc::downgrade(file), messages: 0 }).messages += 1;
        }
        drop(sockets);
        Ok(Self { files, sender_uid })
    }

    pub(super) fn files(&self) -> &[Arc<OpenFile>] {
        &self.files
    }

    /// The files arrive, or are given up.
    pub(super) fn land(mut self) -> Vec<Arc<OpenFile>> {
        self.uncount();
        core::mem::take(&mut self.files)
    }

    fn uncount(&mut self) {
        if self.files.is_empty() {
            return;
        }
        let mut users = USERS.lock();
        if let Some(count) = users.get_mut(&self.sender_uid) {
            *count = count.saturating_sub(self.files.len());
        }
        users.retain(|_, count| *count > 0);
        drop(users);
        let mut sockets = SOCKETS.lock();
        for file in self.files.iter().filter(|file| unix_socket(file).is_some()) {
            if let Some(aloft) = sockets.get_mut(&key(file)) {
                aloft.messages -= 1;
                if aloft.messages == 0 {
                    sockets.remove(&key(file));
                }
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.uncount();
        bury(core::mem::take(&mut self.files));
    }
}

/// How deep the sockets nest that can be reached through the receive queues of `files`, themselves the first level.
fn levels(files: &[Arc<OpenFile>]) -> usize {
    let mut seen = BTreeSet::new();
    let mut level = files.to_vec();
    let mut depth = 0;
    loop {
        level.retain(|file| unix_socket(file).is_some() && seen.insert(key(file)));
        if level.is_empty() || depth > MAX_LEVELS {
            return depth;
        }
        depth += 1;
        level = level.iter().filter_map(|file| unix_socket(file)).flat_map(UnixSocket::queued_files).collect();
    }
}

/// Files given up. Closing one may give up others: they are closed one after the other, not one inside the other, so that a long chain
/// does not exhaust the kernel's stack.
fn bury(files: Vec<Arc<OpenFile>>) {
    static WAITING: SpinLock<Vec<Arc<OpenFile>>> = SpinLock::new(Vec::new());
    static AT_WORK: AtomicBool = AtomicBool::new(false);
    if files.is_empty() {
        return;
    }
    WAITING.lock().extend(files);
    if AT_WORK.swap(true, Ordering::AcqRel) {
        return;
    }
    loop {
        let next = WAITING.lock().pop();
        match next {
            Some(file) => drop(file),
            None => break,
        }
    }
    AT_WORK.store(false, Ordering::Release);
}

/// Looks for sockets under way that nobody can receive any more, and empties their queues. Called when a socket has been closed.
pub(super) fn collect_garbage() {
    if SOCKETS.lock().is_empty() {
        return;
    }
    let aloft: Vec<(Arc<OpenFile>, usize)> = {
        let sockets = SOCKETS.lock();
        sockets.values().filter_map(|aloft| Some((aloft.file.upgrade()?, aloft.messages))).collect()
    };
    // Only messages refer to it: all handles but the one just made are in messages.
    let mut candidates: BTreeMap<usize, (Arc<OpenFile>, usize)> = aloft
        .into_iter()
        .filter(|(file, messages)| Arc::strong_count(file) - 1 == *messages)
        .map(|(file, messages)| (key(&file), (file, messages)))
        .collect();
    let inner: BTreeMap<usize, Vec<usize>> =
        candidates.iter().map(|(address, (file, _))| (*address, unix_socket(file).map(queued_addresses).unwrap_or_default())).collect();
    // A message of a candidate does not count as a way to reach what is in it.
    for address in inner.values().flatten() {
        if let Some((_, messages)) = candidates.get_mut(address) {
            *messages = messages.saturating_sub(1);
        }
    }
    // What a message elsewhere holds can be received, and whatever is in its queue.
    let mut reachable: Vec<usize> = candidates.iter().filter(|(_, (_, messages))| *messages > 0).map(|(address, _)| *address).collect();
    while let Some(address) = reachable.pop() {
        if candidates.remove(&address).is_some() {
            reachable.extend(inner.get(&address).into_iter().flatten().copied());
        }
    }
    let garbage: Vec<_> = candidates.values().filter_map(|(file, _)| unix_socket(file).map(UnixSocket::take_queue)).collect();
    drop(garbage);
}

fn queued_addresses(socket: &UnixSocket) -> Vec<usize> {
    socket.queued_files().iter().map(key).collect()
}
