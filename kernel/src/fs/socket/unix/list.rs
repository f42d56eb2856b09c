//! All Unix sockets, for `/proc/net/unix` (`proc(5)`).

use super::{Phase, UnixSocket};
use crate::fs::socket::SocketOps;
use crate::net::NetworkNamespace;
use crate::sync::SpinLock;
use alloc::sync::{Arc, Weak};
use alloc::{string::String, vec::Vec};
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

static ALL: SpinLock<Vec<Weak<UnixSocket>>> = SpinLock::new(Vec::new());

/// A new socket is there.
pub(super) fn note(socket: &Arc<UnixSocket>) {
    let mut all = ALL.lock();
    if all.len().is_power_of_two() {
        all.retain(|socket| socket.strong_count() > 0);
    }
    all.push(Arc::downgrade(socket));
}

/// Writes the lines of a namespace's sockets, without the table's heading.
pub fn list(network: &NetworkNamespace, out: &mut dyn Write) -> fmt::Result {
    /// `SO_ACCEPTCON` of the flags column, and the states of the next but one.
    const LISTENS: u32 = 0x10000;
    const UNCONNECTED: u32 = 1;
    const CONNECTED: u32 = 3;
    let sockets: Vec<Arc<UnixSocket>> = ALL.lock().iter().filter_map(Weak::upgrade).collect();
    for socket in sockets {
        let (phase, has_peer, address, dead) = {
            let state = socket.state.lock();
            (state.phase, state.peer.is_some(), state.address.clone(), state.dead)
        };
        if dead || !core::ptr::eq(&*socket.network, network) {
            continue;
        }
        let flags = if matches!(phase, Phase::Listening { .. }) { LISTENS } else { 0 };
        let state = if phase == Phase::Connected { CONNECTED } else { UNCONNECTED };
        let references = if has_peer { 3 } else { 2 };
        let inode = socket.inode_number.load(Ordering::Relaxed);
        // Where the kernel has the socket is no program's business: the address is 0, as for those who may not see it on Linux.
        write!(out, "{:016x}: {references:08X} {:08X} {flags:08X} {:04X} {state:02X} {inode:5}", 0, 0, socket.socket_type())?;
        match address {
            Some(address) => writeln!(out, " {}", String::from_utf8_lossy(&address.shown()))?,
            None => out.write_str("\n")?,
        }
    }
    Ok(())
}
