//! How bytes go from one TCP socket to the other.

use super::{Phase, Segment, TcpSocket};
use crate::errno::{Errno, Result};
use crate::fs::socket::{Body, Incoming, MessageFlags, Outgoing, wait_for};
use crate::task::signal::{self, Signal};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The most that one segment holds.
const SEGMENT_BYTES: usize = 16 * 1024;

impl TcpSocket {
    /// Sends all, part by part. `EPIPE` with SIGPIPE (unless `MSG_NOSIGNAL`) without a connection to send to.
    pub(super) fn send_bytes(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        let mut sent = 0;
        let result = loop {
            match self.send_part(message) {
                Ok(count) => sent += count,
                Err(error) => break Err(error),
            }
            if message.data.remaining() == 0 {
                break Ok(sent);
            }
        };
        match result {
            Err(_) if sent > 0 => Ok(sent),
            Err(Errno::PIPE) => {
                if !message.flags.contains(MessageFlags::NOSIGNAL) {
                    signal::send_to_current(Signal::PIPE);
                }
                Err(Errno::PIPE)
            }
            result => result,
        }
    }

    /// The peer, as soon as it has room; `None` for one that is gone.
    fn wait_for_room(&self, flags: MessageFlags) -> Result<Option<Arc<TcpSocket>>> {
        let deadline = self.common.options.send_deadline();
        wait_for(&self.writable, flags.contains(MessageFlags::DONTWAIT), deadline, || {
            let peer = {
                let mut state = self.state.lock();
                if let Some(error) = state.error.take() {
                    return Some(Err(error));
                }
                match state.phase {
                    Phase::Connecting => return None,
                    Phase::Connected if !state.shutdown.send => {}
                    _ => return Some(Err(Errno::PIPE)),
                }
                state.peer.as_ref().and_then(alloc::sync::Weak::upgrade)
            };
            match peer {
                Some(peer) if peer.room_for(self) > 0 => Some(Ok(Some(peer))),
                Some(_) => None,
                None => Some(Ok(None)),
            }
        })?
    }

    fn send_part(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        let peer = self.wait_for_room(message.flags)?;
        let body = Body::take(message.data, SEGMENT_BYTES)?;
        let count = body.len_bytes();
        if count == 0 {
            return Ok(0);
        }
        self.common.count(count);
        let Some(peer) = peer.filter(|peer| !peer.state.lock().dead) else {
            // Data at a closed socket: the answer is a reset, which the next call learns of.
            self.receive_reset();
            return Ok(count);
        };
        let mut state = peer.state.lock();
        state.queued_bytes += count;
        state.segments.push_back(Arc::new(Segment { body, read: AtomicUsize::new(0) }));
        drop(state);
        peer.readable.wake_all();
        Ok(count)
    }

    /// Receives what is there, or with `MSG_WAITALL` as much as asked for. With `MSG_TRUNC` the bytes are thrown away.
    pub(super) fn receive_bytes(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::INVAL);
        }
        if message.flags.contains(MessageFlags::ERRQUEUE) {
            // Nothing is ever put there.
            return Err(Errno::AGAIN);
        }
        let wanted = message.data.remaining();
        let target = if message.flags.contains(MessageFlags::WAITALL) { wanted } else { wanted.min(1) };
        let nonblocking = message.flags.contains(MessageFlags::DONTWAIT);
        let deadline = self.common.options.receive_deadline();
        let mut received = 0;
        loop {
            match self.receive_now(message, wanted, &mut received) {
                Err(error) if received == 0 => return Err(error),
                Err(_) => return Ok(received),
                Ok(()) => {}
            }
            if received > 0 {
                self.tell_sender();
            }
            if received >= target && (received > 0 || wanted == 0) {
                return Ok(received);
            }
            let more = wait_for(&self.readable, nonblocking, deadline, || self.has_more(message.flags, received));
            match more {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(received),
                Ok(Err(_)) | Err(_) if received > 0 => return Ok(received),
                Ok(Err(error)) | Err(error) => return Err(error),
            }
        }
    }

    /// Whether there is something to go on with; `Some(false)` at the end of the stream.
    fn has_more(&self, flags: MessageFlags, received: usize) -> Option<Result<bool>> {
        let mut state = self.state.lock();
        // What was peeked at is still there.
        let passed = if flags.contains(MessageFlags::PEEK) { received } else { 0 };
        if state.queued_bytes > passed {
            return Some(Ok(true));
        }
        if let Some(error) = state.error.take() {
            return Some(Err(error));
        }
        if state.shutdown.receive {
            return Some(Ok(false));
        }
        match state.phase {
            Phase::Connected | Phase::Connecting => None,
            Phase::Closed if state.had_connection => Some(Ok(false)),
            Phase::Closed | Phase::Listening { .. } => Some(Err(Errno::NOTCONN)),
        }
    }

    /// There is room in the queue: the peer may go on.
    fn tell_sender(&self) {
        if let Some(peer) = self.peer() {
            peer.writable.wake_all();
        }
    }

    /// Takes what is there, counting it in `received`.
    fn receive_now(&self, message: &mut Incoming<'_, '_>, wanted: usize, received: &mut usize) -> Result<()> {
        let _alone = self.reading.lock();
        let peek = message.flags.contains(MessageFlags::PEEK);
        let discard = message.flags.contains(MessageFlags::TRUNC);
        // Which segment is next: with MSG_PEEK those that were looked at stay in front.
        let mut passed = if peek { *received } else { 0 };
        let mut index = 0;
        while *received < wanted {
            let Some(segment) = self.state.lock().segments.get(index).cloned() else { break };
            let unread = segment.unread_bytes();
            if passed >= unread {
                passed -= unread;
                index += 1;
                continue;
            }
            let start = segment.read.load(Ordering::Relaxed) + passed;
            let taken = if discard { (wanted - *received).min(unread - passed) } else { segment.body.copy_to(start, message.data)? };
            *received += taken;
            if peek {
                index += 1;
                passed = 0;
                continue;
            }
            segment.read.fetch_add(taken, Ordering::Relaxed);
            let is_empty = segment.unread_bytes() == 0;
            let finished = {
                let mut state = self.state.lock();
                state.queued_bytes -= taken.min(state.queued_bytes);
                if is_empty { state.segments.pop_front() } else { None }
            };
            drop(finished);
        }
        Ok(())
    }
}
