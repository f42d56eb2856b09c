//! Addresses of Internet sockets: `struct sockaddr_in` and `struct sockaddr_in6`.
//!
//! Inside, an IPv4 address is always one, also where a program of an IPv6 socket wrote it as `::ffff:a.b.c.d`.

use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use linux_raw_sys::net;

/// Bytes of `struct sockaddr_in`.
const V4_BYTES: usize = 16;
/// Bytes of `struct sockaddr_in6` without its scope (RFC 2133), which may be left out.
const V6_LEAST_BYTES: usize = 24;

/// An address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(super) struct Endpoint {
    pub address: IpAddr,
    pub port: u16,
}

/// The family that an address says it is of. `EINVAL` if it is too short for that.
pub(super) fn family_in(bytes: &[u8]) -> Result<u32> {
    bytes.first_chunk().map(|family| u32::from(u16::from_ne_bytes(*family))).ok_or(Errno::INVAL)
}

/// The unspecified address of a family.
pub(super) fn unspecified(family: u32) -> IpAddr {
    if family == net::AF_INET { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// An address for a socket of a family: `EINVAL` if it is too short, `EAFNOSUPPORT` if it is of another.
pub(super) fn decode(family: u32, bytes: &[u8]) -> Result<Endpoint> {
    let least = if family == net::AF_INET { V4_BYTES } else { V6_LEAST_BYTES };
    if bytes.len() < least {
        return Err(Errno::INVAL);
    }
    if family_in(bytes)? != family {
        return Err(Errno::AFNOSUPPORT);
    }
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let address = if family == net::AF_INET {
        IpAddr::V4(Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]))
    } else {
        let octets: [u8; 16] = bytes.get(8..24).and_then(|octets| octets.try_into().ok()).ok_or(Errno::INVAL)?;
        Ipv6Addr::from(octets).to_canonical()
    };
    Ok(Endpoint { address, port })
}

/// The address as a socket of a family shows it.
pub(super) fn encode(family: u32, endpoint: Endpoint) -> Vec<u8> {
    let mut bytes = (family as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&endpoint.port.to_be_bytes());
    match endpoint.address {
        IpAddr::V4(address) if family == net::AF_INET => {
            bytes.extend_from_slice(&address.octets());
            bytes.resize(V4_BYTES, 0);
        }
        address => {
            let address = match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            // No flow information in front, no scope behind.
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&address.octets());
            bytes.extend_from_slice(&[0; 4]);
        }
    }
    bytes
}
