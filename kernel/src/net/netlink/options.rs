//! The `SOL_NETLINK` options (`netlink(7)`, "Socket options").

use super::NetlinkSocket;
use crate::errno::{Errno, Result};
use crate::task::Capabilities;
use alloc::vec::Vec;
use bitflags::bitflags;
use linux_raw_sys::netlink;

/// `SOL_NETLINK`, which linux-raw-sys lacks (`netlink(7)`).
pub(super) const LEVEL: u32 = 270;

bitflags! {
    /// The options that are on or off, as bits of their numbers.
    #[derive(Clone, Copy, Default, PartialEq, Eq)]
    pub(super) struct Switches: u32 {
        const PKTINFO = 1 << netlink::NETLINK_PKTINFO;
        const BROADCAST_ERROR = 1 << netlink::NETLINK_BROADCAST_ERROR;
        const NO_ENOBUFS = 1 << netlink::NETLINK_NO_ENOBUFS;
        const LISTEN_ALL_NSID = 1 << netlink::NETLINK_LISTEN_ALL_NSID;
        const CAP_ACK = 1 << netlink::NETLINK_CAP_ACK;
        const EXT_ACK = 1 << netlink::NETLINK_EXT_ACK;
        const GET_STRICT_CHK = 1 << netlink::NETLINK_GET_STRICT_CHK;
    }
}

fn switch(name: u32) -> Result<Switches> {
    1_u32.checked_shl(name).and_then(Switches::from_bits).ok_or(Errno::NOPROTOOPT)
}

impl NetlinkSocket {
    /// Whether headers of dump requests are taken at their word (`NETLINK_GET_STRICT_CHK`).
    pub(super) fn is_strict(&self) -> bool {
        self.state.lock().switches.contains(Switches::GET_STRICT_CHK)
    }

    pub(super) fn get_netlink_option(&self, name: u32) -> Result<Vec<u8>> {
        let state = self.state.lock();
        if name == netlink::NETLINK_LIST_MEMBERSHIPS {
            let groups = state.groups.to_ne_bytes();
            let words = self.protocol.groups.div_ceil(32) as usize;
            return Ok(groups[..(words * 4).min(groups.len())].to_vec());
        }
        Ok(i32::from(state.switches.contains(switch(name)?)).to_ne_bytes().to_vec())
    }

    pub(super) fn set_netlink_option(&self, name: u32, value: &[u8]) -> Result<()> {
        let number = value.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        if matches!(name, netlink::NETLINK_ADD_MEMBERSHIP | netlink::NETLINK_DROP_MEMBERSHIP) {
            return self.change_membership(number, name == netlink::NETLINK_ADD_MEMBERSHIP);
        }
        let switch = switch(name)?;
        if switch == Switches::LISTEN_ALL_NSID {
            self.network.require(Capabilities::NET_BROADCAST)?;
        }
        self.state.lock().switches.set(switch, number != 0);
        Ok(())
    }

    /// `EINVAL` for groups that the protocol has not.
    fn change_membership(&self, group: u32, joins: bool) -> Result<()> {
        self.require(self.protocol.open_to_listeners)?;
        if group == 0 || group > self.protocol.groups {
            return Err(Errno::INVAL);
        }
        self.bind_automatically()?;
        let mut state = self.state.lock();
        let bit = 1 << (group - 1);
        state.groups = if joins { state.groups | bit } else { state.groups & !bit };
        Ok(())
    }
}
