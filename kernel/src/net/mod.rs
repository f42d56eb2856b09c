//! Networking: network namespaces, each with a loopback device, and the two families that belong to it, netlink and the Internet.
//!
//! There is no other device than `lo`, so no packet is ever lost, reordered or late. That is why the transport protocols here hand
//! bytes from one socket to the other instead of making segments of them: what a program can see of TCP over a loopback are the states of
//! sockets (backlogs, resets, ports in TIME-WAIT), not its timers and windows, and general stacks model the latter but not the former.
//!
//! `namespace` is what a namespace holds, `loopback` its device with addresses, `routes` where packets go, `settings` the values of
//! `/proc/sys/net`. The sockets themselves stand behind `fs::socket::SocketOps`.

pub mod inet;
pub mod ioctl;
pub mod loopback;
pub mod namespace;
pub mod netlink;
pub mod routes;
pub mod settings;
pub mod tables;

pub use loopback::{Address, Event, Loopback};
pub use namespace::NetworkNamespace;

use alloc::sync::Arc;

/// The network namespace of the current thread.
pub fn current() -> Arc<NetworkNamespace> {
    crate::task::current().namespaces().network.clone()
}
