//! The netlink sockets of a network namespace: who has which port id, and who listens to which group.

use super::NetlinkSocket;
use crate::errno::{Errno, Result};
use crate::fs::generated::Text;
use crate::net::NetworkNamespace;
use crate::put_line;
use crate::sync::SpinLock;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

/// All sockets, bound or not.
#[derive(Default)]
pub struct Ports {
    sockets: SpinLock<Vec<Weak<NetlinkSocket>>>,
    next_automatic: AtomicU32,
}

impl Ports {
    pub(super) fn note(&self, socket: &Arc<NetlinkSocket>) {
        self.sockets.lock().push(Arc::downgrade(socket));
    }

    pub(super) fn forget(&self, socket: &NetlinkSocket) {
        self.sockets.lock().retain(|other| !core::ptr::eq(other.as_ptr(), socket) && other.strong_count() > 0);
    }

    fn all(&self) -> Vec<Arc<NetlinkSocket>> {
        self.sockets.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// The socket of a protocol with a port id.
    pub(super) fn find(&self, protocol: u32, port: u32) -> Option<Arc<NetlinkSocket>> {
        self.all().into_iter().find(|socket| socket.protocol.number == protocol && socket.state.lock().port == Some(port))
    }

    /// Who listens to a group.
    pub(super) fn listeners(&self, protocol: u32, group: u32) -> Vec<Arc<NetlinkSocket>> {
        let listens = |socket: &Arc<NetlinkSocket>| {
            socket.protocol.number == protocol && socket.state.lock().groups & 1_u64.checked_shl(group.wrapping_sub(1)).unwrap_or(0) != 0
        };
        self.all().into_iter().filter(listens).collect()
    }

    /// Gives a socket a port id: `EADDRINUSE` if another has it.
    pub(super) fn bind(&self, socket: &NetlinkSocket, port: u32) -> Result<()> {
        if self.find(socket.protocol.number, port).is_some() {
            return Err(Errno::ADDRINUSE);
        }
        socket.state.lock().port = Some(port);
        Ok(())
    }

    /// Gives a socket the port id of its process, or one that looks negative.
    pub(super) fn bind_automatically(&self, socket: &NetlinkSocket, process: u32) -> Result<()> {
        /// The greatest of the numbers to choose from, as Linux begins: -4097.
        const FIRST: u32 = (-4097_i32) as u32;
        const TRIES: u32 = 1 << 20;
        let mut port = process;
        for _ in 0..TRIES {
            match self.bind(socket, port) {
                Err(Errno::ADDRINUSE) => port = FIRST - self.next_automatic.fetch_add(1, Ordering::Relaxed) % TRIES,
                result => return result,
            }
        }
        Err(Errno::ADDRINUSE)
    }
}

/// The lines of `/proc/net/netlink`, without its heading.
pub fn list(network: &NetworkNamespace, text: &mut Text) {
    for socket in network.netlink.all() {
        let (port, groups, queued_bytes, drops) = {
            let state = socket.state.lock();
            (state.port.unwrap_or(0), state.groups as u32, state.queued_bytes, state.drops)
        };
        let (protocol, inode) = (socket.protocol.number, socket.inode_number.load(Ordering::Relaxed));
        put_line!(
            text,
            "{:016x} {protocol:<3} {port:<10} {groups:08x} {queued_bytes:<8} {:<8} {:<5} {:<8} {drops:<8} {inode:<8}",
            0,
            0,
            0,
            2
        );
    }
}
