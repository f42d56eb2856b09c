//! What lies in a socket's receive queue.

use super::UnixSocket;
use super::address::Address;
use super::in_flight::Flight;
use crate::errno::Result;
use crate::fs::OpenFile;
use crate::fs::socket::Body;
use crate::fs::socket::message::UserCredentials;
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// What a packet costs its sender's buffer beyond its bytes: about what Linux's bookkeeping comes to.
const OVERHEAD_BYTES: usize = 512;
/// The least that the bytes of a packet count for.
const LEAST_BYTES: usize = 256;

/// A datagram, or the part of a stream that one call sent.
pub(super) struct Packet {
    body: Body,
    /// How many of the bytes were read (streams only).
    read: AtomicUsize,
    /// The sender's name.
    pub(super) address: Option<Arc<Address>>,
    /// The sender, if one of the two sockets asked for it or the sender said it.
    pub(super) credentials: Option<UserCredentials>,
    files: SpinLock<Flight>,
    _charge: Charge,
}

impl Packet {
    pub(super) fn new(
        body: Body,
        address: Option<Arc<Address>>,
        credentials: Option<UserCredentials>,
        files: Flight,
        charge: Charge,
    ) -> Arc<Self> {
        Arc::new(Self { body, read: AtomicUsize::new(0), address, credentials, files: SpinLock::new(files), _charge: charge })
    }

    /// Bytes not read yet.
    pub(super) fn unread_bytes(&self) -> usize {
        self.body.len_bytes() - self.read.load(Ordering::Relaxed)
    }

    /// Copies what was not read yet, as far as there is room. It still counts as unread.
    pub(super) fn copy_to(&self, target: &mut IoBuffer<'_>) -> Result<usize> {
        self.body.copy_to(self.read.load(Ordering::Relaxed), target)
    }

    /// Counts bytes as read; says whether all are.
    pub(super) fn advance(&self, count: usize) -> bool {
        self.read.fetch_add(count, Ordering::Relaxed) + count >= self.body.len_bytes()
    }

    /// Takes the files out, which land thereby.
    pub(super) fn take_files(&self) -> Vec<Arc<OpenFile>> {
        let flight = core::mem::take(&mut *self.files.lock());
        flight.land()
    }

    /// The files, which fly on (`MSG_PEEK`, the search for garbage).
    pub(super) fn files(&self) -> Vec<Arc<OpenFile>> {
        self.files.lock().files().to_vec()
    }

    pub(super) fn has_files(&self) -> bool {
        !self.files.lock().files().is_empty()
    }
}

/// Room taken up in the sender's buffer until the packet is gone.
pub(super) struct Charge {
    sender: Weak<UnixSocket>,
    bytes: usize,
}

impl Charge {
    /// The caller has seen that there is room; a packet may overdraw, as on Linux.
    pub(super) fn new(sender: &Arc<UnixSocket>, len_bytes: usize) -> Self {
        let bytes = len_bytes.max(LEAST_BYTES) + OVERHEAD_BYTES;
        sender.charged_bytes.fetch_add(bytes, Ordering::AcqRel);
        Self { sender: Arc::downgrade(sender), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.upgrade() {
            sender.charged_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
            sender.writable.wake_all();
        }
    }
}
