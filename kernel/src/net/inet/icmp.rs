//! ICMP and ICMPv6 echo (RFC 792, RFC 4443): checksums, what a ping socket's request gets filled in, and the answers to requests.

use super::address::Endpoint;
use super::datagram::Packet;
use super::protocol;
use crate::errno::{Errno, Result};
use crate::net::NetworkNamespace;
use alloc::vec::Vec;
use core::net::IpAddr;

/// Bytes of the header: type, code, checksum, identifier, sequence number.
pub(super) const HEADER_BYTES: usize = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// The checksum of the Internet over several parts, each of an even length but the last (RFC 1071).
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !(sum as u16)
}

/// Enters the checksum of an ICMP message of IPv4.
fn put_checksum_v4(bytes: &mut [u8]) {
    bytes[2..4].fill(0);
    let sum = checksum(&[bytes]);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// Enters the checksum of an ICMPv6 message, which covers the addresses, too (RFC 8200, 8.1).
pub(super) fn put_checksum_v6(bytes: &mut [u8], source: IpAddr, destination: IpAddr) {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (source, destination) else { return };
    if bytes.len() < 4 {
        return;
    }
    bytes[2..4].fill(0);
    let length = (bytes.len() as u32).to_be_bytes();
    let tail = [0, 0, 0, protocol::ICMP_V6 as u8];
    let sum = checksum(&[&source.octets(), &destination.octets(), &length, &tail, bytes]);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// Completes what a ping socket sends: its identifier and the checksum. `EINVAL` for anything but an echo request.
pub(super) fn complete_request(bytes: &mut [u8], source: Endpoint, destination: IpAddr) -> Result<()> {
    let request = if destination.is_ipv4() { ECHO_REQUEST } else { ECHO_REQUEST_V6 };
    if bytes.len() < HEADER_BYTES || bytes[0] != request || bytes[1] != 0 {
        return Err(Errno::INVAL);
    }
    bytes[4..6].copy_from_slice(&source.port.to_be_bytes());
    if destination.is_ipv4() {
        put_checksum_v4(bytes)
    } else {
        put_checksum_v6(bytes, source.address, destination)
    }
    Ok(())
}

/// The identifier of an echo reply; `None` for other packets.
pub(super) fn reply_identifier(packet: &Packet, bytes: &[u8]) -> Option<u16> {
    let kind = *bytes.first()?;
    let is_reply = matches!((packet.protocol, kind), (protocol::ICMP, ECHO_REPLY) | (protocol::ICMP_V6, ECHO_REPLY_V6));
    if !is_reply || bytes.len() < HEADER_BYTES {
        return None;
    }
    Some(u16::from_be_bytes([bytes[4], bytes[5]]))
}

/// The answer to an echo request, unless requests are to be ignored.
pub(super) fn answer(network: &NetworkNamespace, packet: &Packet, bytes: &[u8]) -> Option<(Packet, Vec<u8>)> {
    let kind = *bytes.first()?;
    let (reply, setting) = match (packet.protocol, kind) {
        (protocol::ICMP, ECHO_REQUEST) => (ECHO_REPLY, "ipv4/icmp_echo_ignore_all"),
        (protocol::ICMP_V6, ECHO_REQUEST_V6) => (ECHO_REPLY_V6, "ipv6/icmp/echo_ignore_all"),
        _ => return None,
    };
    if bytes.len() < HEADER_BYTES || network.settings.number(setting) != 0 {
        return None;
    }
    let mut answer = Vec::new();
    answer.try_reserve_exact(bytes.len()).ok()?;
    answer.extend_from_slice(bytes);
    answer[0] = reply;
    let packet = Packet { source: packet.destination, destination: packet.source, ..*packet };
    if packet.destination.is_ipv4() {
        put_checksum_v4(&mut answer)
    } else {
        put_checksum_v6(&mut answer, packet.source, packet.destination)
    }
    Some((packet, answer))
}
