//! How bytes go from one Unix socket to the other.

use super::address::{self, Name};
use super::in_flight::Flight;
use super::packet::{Charge, Packet};
use super::{Kind, Phase, UnixSocket};
use crate::errno::{Errno, Result};
use crate::fs::socket::message::UserCredentials;
use crate::fs::socket::{Body, Incoming, MessageFlags, Outgoing, wait_for};
use crate::task::signal::{self, Signal};
use alloc::sync::Arc;

/// The most that one packet of a stream holds.
const STREAM_PART_BYTES: usize = 16 * 1024;
/// What a datagram must leave free of the send buffer.
const PACKET_RESERVE_BYTES: usize = 32;

impl UnixSocket {
    /// Whether the send buffer has room and `SHUT_WR` was not said; waits for room.
    fn wait_for_send_room(&self, flags: MessageFlags) -> Result<()> {
        let deadline = self.options.send_deadline();
        wait_for(&self.writable, flags.contains(MessageFlags::DONTWAIT), deadline, || {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Some(Err(error));
            }
            if state.shutdown.send {
                return Some(Err(Errno::PIPE));
            }
            drop(state);
            self.has_send_room().then_some(Ok(()))
        })?
    }

    fn packet(&self, to: &UnixSocket, body: Body, message: &Outgoing<'_, '_>, flight: Flight) -> Result<Arc<Packet>> {
        let told = self.options.passes_credentials() || to.options.passes_credentials();
        let credentials = message.credentials.clone().or_else(|| told.then(UserCredentials::of_current));
        let address = self.state.lock().address.clone();
        let charge = Charge::new(&self.strong()?, body.len_bytes());
        Ok(Packet::new(body, address, credentials, flight, charge))
    }

    /// Sends all, part by part. `EPIPE` with SIGPIPE (unless `MSG_NOSIGNAL`) when the connection has ended.
    pub(super) fn send_stream(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        let (connected, ended) = {
            let state = self.state.lock();
            (state.phase == Phase::Connected, state.shutdown.send)
        };
        if message.address.is_some() {
            return Err(if connected { Errno::ISCONN } else { Errno::OPNOTSUPP });
        }
        if !connected {
            return Err(Errno::NOTCONN);
        }
        let mut sent = 0;
        let mut result = if ended { Err(Errno::PIPE) } else { Ok(()) };
        while result.is_ok() && message.data.remaining() > 0 {
            match self.send_part(message) {
                Ok(count) => sent += count,
                Err(error) => result = Err(error),
            }
        }
        match result {
            _ if sent > 0 => Ok(sent),
            Err(Errno::PIPE) => {
                if !message.flags.contains(MessageFlags::NOSIGNAL) {
                    signal::send_to_current(Signal::PIPE);
                }
                Err(Errno::PIPE)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(0),
        }
    }

    fn send_part(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        self.wait_for_send_room(message.flags)?;
        let peer = self.peer().ok_or(Errno::PIPE)?;
        // Files go with the first part; if it cannot be sent, they are given up with the message.
        let flight = Flight::depart(core::mem::take(&mut message.files))?;
        let body = Body::take(message.data, STREAM_PART_BYTES)?;
        let count = body.len_bytes();
        let packet = self.packet(&peer, body, message, flight)?;
        let mut state = peer.state.lock();
        if state.dead || state.shutdown.receive {
            return Err(Errno::PIPE);
        }
        state.packets.push_back(packet);
        drop(state);
        peer.readable.wake_all();
        Ok(count)
    }

    /// Whether a datagram may be put into `other`'s queue now. Of two that are connected to each other, only the send buffer limits.
    pub(super) fn may_queue(&self, other: &UnixSocket) -> bool {
        let state = other.state.lock();
        let mutual = state.peer.as_ref().is_some_and(|peer| core::ptr::eq(peer.as_ptr(), self));
        mutual || core::ptr::eq(other, self) || state.packets.len() <= other.waiting_datagrams
    }

    /// Sends a datagram or a seqpacket record: whole or not at all.
    pub(super) fn send_packet(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        if self.kind == Kind::SequencedPacket && self.state.lock().phase != Phase::Connected {
            return Err(Errno::NOTCONN);
        }
        // Seqpackets have their way already: an address is passed over.
        let address = message.address.filter(|_| self.kind == Kind::Datagram);
        let name = address.map(Name::parse).transpose()?;
        if matches!(name, Some(Name::Automatic)) {
            return Err(Errno::INVAL);
        }
        if name.is_none() && self.state.lock().peer.is_none() {
            return Err(Errno::NOTCONN);
        }
        self.bind_for_credentials()?;
        let len_bytes = message.data.remaining();
        if len_bytes > self.options.send_buffer_bytes().saturating_sub(PACKET_RESERVE_BYTES) {
            return Err(Errno::MSGSIZE);
        }
        self.wait_for_send_room(message.flags)?;
        let body = Body::take(message.data, len_bytes)?;
        if body.len_bytes() != len_bytes {
            return Err(Errno::FAULT);
        }
        let flight = Flight::depart(core::mem::take(&mut message.files))?;
        let other = match &name {
            Some(name) => address::find(self, name)?,
            None => self.peer().ok_or_else(|| self.lost_peer())?,
        };
        let packet = self.packet(&other, body, message, flight)?;
        self.deliver(&other, packet, message.flags)?;
        Ok(len_bytes)
    }

    /// The peer has gone: a datagram socket is unconnected from then on.
    fn lost_peer(&self) -> Errno {
        if self.kind == Kind::SequencedPacket {
            return Errno::PIPE;
        }
        self.state.lock().peer = None;
        Errno::CONNREFUSED
    }

    fn deliver(&self, other: &Arc<UnixSocket>, packet: Arc<Packet>, flags: MessageFlags) -> Result<()> {
        let deadline = self.options.send_deadline();
        loop {
            if self.kind == Kind::Datagram && !self.may_send_to(other) {
                return Err(Errno::PERM);
            }
            {
                let state = other.state.lock();
                if state.dead {
                    drop(state);
                    return Err(self.lost_peer());
                }
                if state.shutdown.receive {
                    return Err(Errno::PIPE);
                }
            }
            if self.may_queue(other) {
                other.state.lock().packets.push_back(packet);
                other.readable.wake_all();
                return Ok(());
            }
            wait_for(&other.room, flags.contains(MessageFlags::DONTWAIT), deadline, || {
                let gone = {
                    let state = other.state.lock();
                    state.dead || state.shutdown.receive
                };
                (gone || self.may_queue(other)).then_some(())
            })?;
        }
    }

    /// Receives a datagram or a record; what does not fit is lost, and `MSG_TRUNC` tells.
    pub(super) fn receive_packet(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        if self.kind == Kind::SequencedPacket && self.state.lock().phase != Phase::Connected {
            return Err(Errno::NOTCONN);
        }
        let nonblocking = message.flags.contains(MessageFlags::DONTWAIT);
        let peek = message.flags.contains(MessageFlags::PEEK);
        let received = wait_for(&self.readable, nonblocking, self.options.receive_deadline(), || {
            let mut state = self.state.lock();
            let packet = if peek { state.packets.front().cloned() } else { state.packets.pop_front() };
            match packet {
                Some(packet) => Some(Ok(Some(packet))),
                None => match state.error.take() {
                    Some(error) => Some(Err(error)),
                    // Datagrams: the end of file is told to those who may wait.
                    None if state.shutdown.receive && !(nonblocking && self.kind == Kind::Datagram) => Some(Ok(None)),
                    None => None,
                },
            }
        });
        let Some(packet) = received?? else { return Ok(0) };
        if !peek {
            self.room.wake_all();
        }
        let len_bytes = packet.unread_bytes();
        let copied = packet.copy_to(message.data)?;
        if copied < len_bytes {
            message.out_flags |= MessageFlags::TRUNC;
        }
        if self.kind == Kind::SequencedPacket {
            message.out_flags |= MessageFlags::EOR;
        }
        self.fill_in(message, &packet);
        message.files = if peek { packet.files() } else { packet.take_files() };
        Ok(if message.flags.contains(MessageFlags::TRUNC) { len_bytes } else { copied })
    }

    /// Who sent it.
    fn fill_in(&self, message: &mut Incoming<'_, '_>, packet: &Packet) {
        message.address = packet.address.as_ref().map(|address| address.encode()).unwrap_or_default();
        if self.options.passes_credentials() {
            message.credentials = Some(packet.credentials.clone().unwrap_or(UserCredentials::NOBODY));
        }
    }

    /// Receives bytes of a stream: what is there, or with `MSG_WAITALL` as many as asked for. A message with descriptors ends a receive,
    /// and bytes of different senders do not come together if the socket asks for credentials.
    pub(super) fn receive_stream(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        if self.state.lock().phase != Phase::Connected {
            return Err(Errno::INVAL);
        }
        let wanted = message.data.remaining();
        let target = if message.flags.contains(MessageFlags::WAITALL) { wanted } else { wanted.min(1) };
        let nonblocking = message.flags.contains(MessageFlags::DONTWAIT);
        let deadline = self.options.receive_deadline();
        let mut received = 0;
        loop {
            let part = self.receive_now(message, &mut received);
            match part {
                Err(error) if received == 0 => return Err(error),
                Err(_) | Ok(true) => return Ok(received),
                Ok(false) if received >= target => return Ok(received),
                Ok(false) => {}
            }
            let more = wait_for(&self.readable, nonblocking, deadline, || {
                let mut state = self.state.lock();
                if !state.packets.is_empty() {
                    return Some(Ok(true));
                }
                match state.error.take() {
                    Some(error) => Some(Err(error)),
                    None => state.shutdown.receive.then_some(Ok(false)),
                }
            });
            match more {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(received),
                Ok(Err(_)) | Err(_) if received > 0 => return Ok(received),
                Ok(Err(error)) | Err(error) => return Err(error),
            }
        }
    }

    /// Takes what is there, counting it in `received`. `true`: the call ends here.
    fn receive_now(&self, message: &mut Incoming<'_, '_>, received: &mut usize) -> Result<bool> {
        let _alone = self.reading.lock();
        let peek = message.flags.contains(MessageFlags::PEEK);
        // Which packet is next: with MSG_PEEK those that were looked at stay in front.
        let mut index = 0;
        loop {
            if message.data.remaining() == 0 && *received > 0 {
                return Ok(true);
            }
            let Some(packet) = self.state.lock().packets.get(index).cloned() else { return Ok(peek && *received > 0) };
            if *received > 0 && self.options.passes_credentials() {
                let same = message.credentials == Some(packet.credentials.clone().unwrap_or(UserCredentials::NOBODY));
                if !same {
                    return Ok(true);
                }
            }
            let copied = packet.copy_to(message.data)?;
            *received += copied;
            self.fill_in(message, &packet);
            let has_files = packet.has_files();
            if peek {
                if has_files {
                    message.files = packet.files();
                }
                index += 1;
            } else {
                message.files.extend(packet.take_files());
                if packet.advance(copied) {
                    let finished = self.state.lock().packets.pop_front();
                    drop(finished);
                }
            }
            if has_files || message.data.remaining() == 0 {
                return Ok(true);
            }
        }
    }
}
