//! How a datagram finds its receivers.

use super::super::address::Endpoint;
use super::super::common::Way;
use super::super::{icmp, options, protocol};
use super::{Datagram, DatagramSocket, Kind};
use crate::errno::{Errno, Result};
use crate::fs::socket::{Body, MessageFlags, Outgoing};
use crate::mm::IoBuffer;
use crate::net::NetworkNamespace;
use crate::time::clock;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use linux_raw_sys::net;

/// What IPv4 and UDP leave of 65535 bytes.
const UDP_MAX_BYTES: usize = 65507;
/// Bytes of an IPv4 header without options.
const HEADER_BYTES: usize = 20;

impl DatagramSocket {
    /// Where a message goes: to the address that the call names, or to the socket's peer. `EDESTADDRREQ` without either.
    fn target(&self, message: &Outgoing<'_, '_>) -> Result<Endpoint> {
        let Some(address) = message.address else {
            return self.state.lock().remote.ok_or(Errno::DESTADDRREQ);
        };
        let remote = self.common.destination(self.decode_remote(address)?);
        if self.kind == Kind::Udp && remote.port == 0 {
            return Err(Errno::INVAL);
        }
        Ok(remote)
    }

    /// Sends a message, whole or not at all.
    pub(super) fn send_message(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        if message.flags.contains(MessageFlags::OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        let len_bytes = message.data.remaining();
        if len_bytes > UDP_MAX_BYTES {
            return Err(Errno::MSGSIZE);
        }
        {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            if state.shutdown.send {
                drop(state);
                return Err(self.broken_pipe(message.flags));
            }
        }
        let remote = self.target(message)?;
        let local = self.state.lock().local;
        let way = self.common.way(local.address, remote.address)?;
        if matches!(way, Way::Everybody(_)) && !self.common.options.is_on(net::SO_BROADCAST) {
            return Err(Errno::ACCES);
        }
        if self.kind == Kind::Ping && len_bytes < icmp::HEADER_BYTES {
            return Err(Errno::INVAL);
        }
        self.bind_automatically()?;
        if matches!(way, Way::Down(_)) {
            return Err(Errno::NETDOWN);
        }
        let source = Endpoint { address: way.source(), port: self.state.lock().local.port };
        self.common.count(len_bytes);
        match self.kind {
            Kind::Udp => self.send_udp(message, len_bytes, source, remote, way)?,
            Kind::Ping | Kind::Raw => self.send_packet(message, len_bytes, source, remote, way)?,
        }
        Ok(len_bytes)
    }

    fn broken_pipe(&self, flags: MessageFlags) -> Errno {
        if !flags.contains(MessageFlags::NOSIGNAL) {
            crate::task::signal::send_to_current(crate::task::signal::Signal::PIPE);
        }
        Errno::PIPE
    }

    fn datagram(&self, body: Body, source: Endpoint, destination: Endpoint) -> Arc<Datagram> {
        let is_v4 = destination.address.is_ipv4();
        let (ttl, tos) = (self.common.ip.ttl(is_v4), self.common.ip.tos(is_v4));
        Arc::new(Datagram { body, source, destination, ttl, tos, sent_ns: clock::realtime_ns() })
    }

    fn send_udp(&self, message: &mut Outgoing<'_, '_>, len_bytes: usize, source: Endpoint, remote: Endpoint, way: Way) -> Result<()> {
        let body = Body::take(message.data, len_bytes)?;
        if body.len_bytes() != len_bytes {
            return Err(Errno::FAULT);
        }
        let datagram = self.datagram(body, source, remote);
        let scored = self.table().at(remote.port).into_iter().filter_map(|socket| Some((socket.score(source, remote)?, socket)));
        match way {
            Way::Everybody(_) => scored.for_each(|(_, socket)| socket.enqueue(datagram.clone())),
            // Of several that fit equally, the last bound.
            Way::Here(_) => match scored.max_by_key(|(score, _)| *score) {
                Some((_, socket)) => socket.enqueue(datagram),
                None => self.unreachable(remote),
            },
            Way::Lost(_) | Way::Down(_) => {}
        }
        Ok(())
    }

    /// Nobody is bound to the port: ICMP tells the sender, if it has said that it talks to this one alone, or asks for errors.
    fn unreachable(&self, remote: Endpoint) {
        let mut state = self.state.lock();
        if state.remote == Some(remote) {
            state.error = Some(Errno::CONNREFUSED);
            drop(state);
            self.readable.wake_all();
        }
    }

    /// Ping and raw sockets: what the caller gave is the packet, but for what the kernel fills in.
    fn send_packet(&self, message: &mut Outgoing<'_, '_>, len_bytes: usize, source: Endpoint, remote: Endpoint, way: Way) -> Result<()> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len_bytes).map_err(|_| Errno::NOBUFS)?;
        bytes.resize(len_bytes, 0);
        if message.data.take(&mut bytes)? != len_bytes {
            return Err(Errno::FAULT);
        }
        let is_v4 = remote.address.is_ipv4();
        let mut protocol = self.protocol;
        if self.kind == Kind::Ping {
            icmp::complete_request(&mut bytes, source, remote.address)?;
        } else if is_v4 && (self.common.ip.is_on(options::IP, net::IP_HDRINCL) || protocol == protocol::RAW) {
            let header_bytes = bytes.first().map_or(0, |first| usize::from(first & 0xf) * 4);
            if header_bytes < HEADER_BYTES || bytes.len() < header_bytes {
                return Err(Errno::INVAL);
            }
            protocol = u32::from(bytes[9]);
            bytes.drain(..header_bytes);
        } else if protocol == protocol::ICMP_V6 {
            icmp::put_checksum_v6(&mut bytes, source.address, remote.address);
        }
        if !matches!(way, Way::Here(_)) {
            return Ok(());
        }
        let packet = Packet {
            protocol,
            source: source.address,
            destination: remote.address,
            ttl: self.common.ip.ttl(is_v4),
            tos: self.common.ip.tos(is_v4),
        };
        deliver(&self.common.network, &packet, &bytes);
        Ok(())
    }
}

/// What the IP header of a packet says.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub(in crate::net::inet) struct Packet {
    pub protocol: u32,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
    pub tos: u8,
}

/// The IPv4 header of a packet with so many bytes behind it (RFC 791).
fn ipv4_header(packet: &Packet, len_bytes: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[0] = 0x45;
    header[1] = packet.tos;
    header[2..4].copy_from_slice(&((HEADER_BYTES + len_bytes) as u16).to_be_bytes());
    // Not to be fragmented.
    header[6] = 0x40;
    header[8] = packet.ttl;
    header[9] = packet.protocol as u8;
    if let (IpAddr::V4(source), IpAddr::V4(destination)) = (packet.source, packet.destination) {
        header[12..16].copy_from_slice(&source.octets());
        header[16..20].copy_from_slice(&destination.octets());
    }
    let sum = icmp::checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// A packet arrives: raw sockets get copies, and ICMP's go where they belong.
fn deliver(network: &NetworkNamespace, packet: &Packet, bytes: &[u8]) {
    let is_v4 = packet.destination.is_ipv4();
    let source = Endpoint { address: packet.source, port: 0 };
    let destination = Endpoint { address: packet.destination, port: 0 };
    let make = |bytes: &[u8]| {
        // A packet for which there is no memory is lost, as packets are.
        let body = Body::take(&mut IoBuffer::kernel_source(bytes), bytes.len()).ok()?;
        Some(Arc::new(Datagram { body, source, destination, ttl: packet.ttl, tos: packet.tos, sent_ns: clock::realtime_ns() }))
    };
    for socket in network.inet.raw.all() {
        let wants = socket.protocol == packet.protocol && socket.common.is_v6() != is_v4 && socket.score(source, destination).is_some();
        let is_filtered = bytes.first().is_some_and(|kind| match packet.protocol {
            protocol::ICMP => *kind < 32 && socket.common.ip.icmp_filter() >> kind & 1 != 0,
            protocol::ICMP_V6 => socket.common.ip.is_filtered_v6(*kind),
            _ => false,
        });
        if wants && !is_filtered {
            let whole = if is_v4 { [&ipv4_header(packet, bytes.len())[..], bytes].concat() } else { bytes.to_vec() };
            if let Some(datagram) = make(&whole) {
                socket.enqueue(datagram);
            }
        }
    }
    if let Some(identifier) = icmp::reply_identifier(packet, bytes) {
        let fits = |socket: &Arc<DatagramSocket>| socket.common.is_v6() != is_v4 && socket.score(source, destination).is_some();
        if let (Some(socket), Some(datagram)) = (network.inet.ping.at(identifier).into_iter().find(fits), make(bytes)) {
            socket.enqueue(datagram);
        }
    }
    if let Some((packet, reply)) = icmp::answer(network, packet, bytes) {
        network.loopback.lock().count(reply.len() + HEADER_BYTES);
        deliver(network, &packet, &reply);
    }
}
