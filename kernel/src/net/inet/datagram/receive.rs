//! How a datagram gets from a socket's queue to the program.

use super::super::{options, protocol};
use super::{Datagram, DatagramSocket};
use crate::errno::{Errno, Result};
use crate::fs::socket::{Incoming, MessageFlags, wait_for};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use linux_raw_sys::net;

/// What a queued datagram counts for beside its bytes.
const OVERHEAD_BYTES: usize = 768;

impl Datagram {
    fn cost_bytes(&self) -> usize {
        self.body.len_bytes() + OVERHEAD_BYTES
    }
}

impl DatagramSocket {
    /// Puts a datagram into the queue, or loses it if there is no room.
    pub(super) fn enqueue(&self, datagram: Arc<Datagram>) {
        let cost_bytes = datagram.cost_bytes();
        let mut state = self.state.lock();
        if state.dead || state.queued_bytes + cost_bytes > self.common.options.receive_buffer_bytes() && !state.queue.is_empty() {
            state.drops += 1;
            return;
        }
        state.queued_bytes += cost_bytes;
        state.queue.push_back(datagram);
        drop(state);
        self.readable.wake_all();
    }

    /// Receives a datagram; what does not fit is lost, and `MSG_TRUNC` tells.
    pub(super) fn receive_message(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        if message.flags.contains(MessageFlags::ERRQUEUE) {
            // What went wrong is told by errno alone: the queue of errors is always empty.
            return Err(Errno::AGAIN);
        }
        let nonblocking = message.flags.contains(MessageFlags::DONTWAIT);
        let peek = message.flags.contains(MessageFlags::PEEK);
        if message.flags.contains(MessageFlags::OOB) && self.kind != super::Kind::Udp {
            return Err(Errno::OPNOTSUPP);
        }
        let received = wait_for(&self.readable, nonblocking, self.common.options.receive_deadline(), || {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Some(Err(error));
            }
            let datagram = if peek { state.queue.front().cloned() } else { state.queue.pop_front() };
            match datagram {
                Some(datagram) => {
                    if !peek {
                        state.queued_bytes -= datagram.cost_bytes();
                    }
                    Some(Ok(Some(datagram)))
                }
                None => state.shutdown.receive.then_some(Ok(None)),
            }
        });
        let Some(datagram) = received?? else { return Ok(0) };
        let len_bytes = datagram.body.len_bytes();
        let copied = if message.data.remaining() == 0 { 0 } else { datagram.body.copy_to(0, message.data)? };
        if copied < len_bytes {
            message.out_flags |= MessageFlags::TRUNC;
        }
        message.address = self.common.encode(datagram.source);
        self.add_control(message, &datagram);
        Ok(if message.flags.contains(MessageFlags::TRUNC) { len_bytes } else { copied })
    }

    /// What the program wants to know beside the bytes (`cmsg(3)`).
    fn add_control(&self, message: &mut Incoming<'_, '_>, datagram: &Datagram) {
        let ip = &self.common.ip;
        if self.common.options.is_on(net::SO_TIMESTAMP_OLD) {
            let us = datagram.sent_ns / 1000;
            let time = [(us / 1_000_000) as i64, (us % 1_000_000) as i64];
            message.add_control(net::SOL_SOCKET, net::SO_TIMESTAMP_OLD, time.iter().flat_map(|part| part.to_ne_bytes()).collect());
        }
        let mut number = |level, name, asked: u32, value: u8| {
            if ip.is_on(level, asked) {
                message.add_control(level, name, i32::from(value).to_ne_bytes().to_vec());
            }
        };
        match datagram.destination.address {
            IpAddr::V4(_) => {
                number(options::IP, net::IP_TTL, net::IP_RECVTTL, datagram.ttl);
                if ip.is_on(options::IP, net::IP_RECVTOS) {
                    message.add_control(options::IP, net::IP_TOS, alloc::vec![datagram.tos]);
                }
            }
            IpAddr::V6(_) => {
                number(protocol::IPV6, net::IPV6_HOPLIMIT, net::IPV6_RECVHOPLIMIT, datagram.ttl);
                number(protocol::IPV6, net::IPV6_2292HOPLIMIT, net::IPV6_2292HOPLIMIT, datagram.ttl);
                number(protocol::IPV6, net::IPV6_TCLASS, net::IPV6_RECVTCLASS, datagram.tos);
            }
        }
        self.add_packet_information(message, datagram);
    }

    /// `IP_PKTINFO` and `IPV6_PKTINFO`: the device, and the address that the packet was for.
    fn add_packet_information(&self, message: &mut Incoming<'_, '_>, datagram: &Datagram) {
        let index = crate::net::loopback::INDEX.to_ne_bytes();
        let ip = &self.common.ip;
        // RFC 3542, and by another number RFC 2292.
        for (asked, name) in [(net::IPV6_RECVPKTINFO, net::IPV6_PKTINFO), (net::IPV6_2292PKTINFO, net::IPV6_2292PKTINFO)] {
            if self.common.is_v6() && ip.is_on(protocol::IPV6, asked) {
                let address = match datagram.destination.address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                message.add_control(protocol::IPV6, name, [&address.octets()[..], &index].concat());
            }
        }
        if let IpAddr::V4(address) = datagram.destination.address
            && ip.is_on(options::IP, net::IP_PKTINFO)
        {
            let information: Vec<u8> = [&index[..], &address.octets(), &address.octets()].concat();
            message.add_control(options::IP, net::IP_PKTINFO, information);
        }
    }
}
