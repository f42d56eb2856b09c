//! The options that every socket has (`socket(7)`, "Socket options").

use super::SocketOps;
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::{Capabilities, Deadline, current};
use crate::time::clock;
use alloc::vec::Vec;
use linux_raw_sys::net;

/// `/proc/sys/net/core/wmem_default`, and `wmem_max`, which bounds `SO_SNDBUF` before it is doubled.
const BUFFER_DEFAULT_BYTES: u32 = 212_992;
/// The least that `SO_SNDBUF` and `SO_RCVBUF` come to.
const SEND_BUFFER_MIN_BYTES: u32 = 4608;
const RECEIVE_BUFFER_MIN_BYTES: u32 = 2304;

/// See the file's first line.
#[derive(Default)]
pub struct Options {
    values: SpinLock<Values>,
}

#[derive(Clone, Copy)]
struct Values {
    send_buffer_bytes: u32,
    receive_buffer_bytes: u32,
    /// `None`: for ever.
    send_timeout_ns: Option<u64>,
    receive_timeout_ns: Option<u64>,
    pass_credentials: bool,
    receive_low_water: i32,
    priority: i32,
    linger: [i32; 2],
    /// On and off, by name.
    switches: u64,
    /// `SO_MARK`.
    mark: u32,
    /// `SO_BINDTODEVICE`: there is one device, and a socket bound to it is no different.
    device: [u8; 16],
}

impl Default for Values {
    fn default() -> Self {
        Self {
            send_buffer_bytes: BUFFER_DEFAULT_BYTES,
            receive_buffer_bytes: BUFFER_DEFAULT_BYTES,
            send_timeout_ns: None,
            receive_timeout_ns: None,
            pass_credentials: false,
            receive_low_water: 1,
            priority: 0,
            linger: [0; 2],
            switches: 0,
            mark: 0,
            device: [0; 16],
        }
    }
}

/// Options that are on or off.
const SWITCHES: [u32; 9] = [
    net::SO_DEBUG,
    net::SO_REUSEADDR,
    net::SO_DONTROUTE,
    net::SO_BROADCAST,
    net::SO_KEEPALIVE,
    net::SO_OOBINLINE,
    net::SO_TIMESTAMP_OLD,
    net::SO_REUSEPORT,
    net::SO_RXQ_OVFL,
];

impl Options {
    fn values(&self) -> Values {
        *self.values.lock()
    }

    /// With buffers of other sizes than usual.
    pub fn with_buffers(send_bytes: u32, receive_bytes: u32) -> Self {
        let values = Values { send_buffer_bytes: send_bytes, receive_buffer_bytes: receive_bytes, ..Values::default() };
        Self { values: SpinLock::new(values) }
    }

    /// The same options, for a connection that was made by a listener.
    pub fn inherit(&self) -> Self {
        Self { values: SpinLock::new(self.values()) }
    }

    /// Whether one of the options that are on or off is on.
    pub fn is_on(&self, name: u32) -> bool {
        switch_bit(name).is_ok_and(|bit| self.values().switches & bit != 0)
    }

    /// `SO_LINGER` with no time: closing means a reset.
    pub fn resets_on_close(&self) -> bool {
        let [on, seconds] = self.values().linger;
        on != 0 && seconds == 0
    }

    /// `SO_SNDBUF`.
    pub fn send_buffer_bytes(&self) -> usize {
        self.values().send_buffer_bytes as usize
    }

    /// `SO_RCVBUF`.
    pub fn receive_buffer_bytes(&self) -> usize {
        self.values().receive_buffer_bytes as usize
    }

    /// `SO_PASSCRED`.
    pub fn passes_credentials(&self) -> bool {
        self.values().pass_credentials
    }

    /// Until when a send that starts now may block.
    pub fn send_deadline(&self) -> Option<Deadline> {
        self.values().send_timeout_ns.map(|timeout_ns| Deadline(clock::monotonic_ns().saturating_add(timeout_ns)))
    }

    /// Until when a receive that starts now may block.
    pub fn receive_deadline(&self) -> Option<Deadline> {
        self.values().receive_timeout_ns.map(|timeout_ns| Deadline(clock::monotonic_ns().saturating_add(timeout_ns)))
    }

    fn change(&self, change: impl FnOnce(&mut Values)) -> Result<()> {
        change(&mut self.values.lock());
        Ok(())
    }
}

/// `getsockopt(2)` at `SOL_SOCKET`: the value's bytes. `ENOPROTOOPT` for unknown names.
pub fn get(socket: &dyn SocketOps, name: u32) -> Result<Vec<u8>> {
    let values = socket.options().values();
    let number = match name {
        net::SO_TYPE => socket.socket_type() as i32,
        net::SO_DOMAIN => socket.domain() as i32,
        net::SO_PROTOCOL => socket.protocol() as i32,
        net::SO_ERROR => socket.take_error().map_or(0, Errno::code),
        net::SO_ACCEPTCONN => i32::from(socket.is_listening()),
        net::SO_SNDBUF => values.send_buffer_bytes as i32,
        net::SO_RCVBUF => values.receive_buffer_bytes as i32,
        net::SO_PASSCRED => i32::from(values.pass_credentials),
        net::SO_RCVLOWAT => values.receive_low_water,
        net::SO_SNDLOWAT => 1,
        net::SO_PRIORITY => values.priority,
        net::SO_PEERCRED => {
            return Ok(match socket.peer_credentials() {
                Some(credentials) => credentials.encode().to_vec(),
                None => [0, u32::MAX, u32::MAX].iter().flat_map(|id| id.to_ne_bytes()).collect(),
            });
        }
        net::SO_MARK => values.mark as i32,
        net::SO_BINDTODEVICE => {
            let name = values.device.split(|byte| *byte == 0).next().unwrap_or_default();
            return Ok(if name.is_empty() { Vec::new() } else { [name, b"\0"].concat() });
        }
        net::SO_NETNS_COOKIE => return Ok(socket.network().cookie.to_ne_bytes().to_vec()),
        net::SO_LINGER => return Ok(values.linger.iter().flat_map(|part| part.to_ne_bytes()).collect()),
        net::SO_SNDTIMEO_OLD | net::SO_SNDTIMEO_NEW => return Ok(encode_timeout(values.send_timeout_ns)),
        net::SO_RCVTIMEO_OLD | net::SO_RCVTIMEO_NEW => return Ok(encode_timeout(values.receive_timeout_ns)),
        name => i32::from(values.switches & switch_bit(name)? != 0),
    };
    Ok(number.to_ne_bytes().to_vec())
}

/// `setsockopt(2)` at `SOL_SOCKET`. `EINVAL` for short values, `ENOPROTOOPT` for unknown names and those that can only be read.
pub fn set(socket: &dyn SocketOps, name: u32, value: &[u8]) -> Result<()> {
    let options = socket.options();
    if name == net::SO_BINDTODEVICE {
        return bind_to_device(socket, value);
    }
    let number = value.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes).ok_or(Errno::INVAL)?;
    let allowed_bytes = (number as u32).min(BUFFER_DEFAULT_BYTES);
    let forced_bytes = number.max(0) as u32;
    match name {
        net::SO_SNDBUF => options.change(|values| values.send_buffer_bytes = (allowed_bytes * 2).max(SEND_BUFFER_MIN_BYTES)),
        net::SO_RCVBUF => options.change(|values| values.receive_buffer_bytes = (allowed_bytes * 2).max(RECEIVE_BUFFER_MIN_BYTES)),
        net::SO_SNDBUFFORCE | net::SO_RCVBUFFORCE if !current().credentials().capable(Capabilities::NET_ADMIN) => Err(Errno::PERM),
        net::SO_SNDBUFFORCE => options.change(|values| values.send_buffer_bytes = doubled(forced_bytes).max(SEND_BUFFER_MIN_BYTES)),
        net::SO_RCVBUFFORCE => options.change(|values| values.receive_buffer_bytes = doubled(forced_bytes).max(RECEIVE_BUFFER_MIN_BYTES)),
        net::SO_PASSCRED => options.change(|values| values.pass_credentials = number != 0),
        net::SO_RCVLOWAT => options.change(|values| values.receive_low_water = number.max(1)),
        net::SO_PRIORITY if (0..=6).contains(&number) || current().credentials().capable(Capabilities::NET_ADMIN) => {
            options.change(|values| values.priority = number)
        }
        net::SO_PRIORITY => Err(Errno::PERM),
        net::SO_MARK => {
            socket.network().require(Capabilities::NET_ADMIN).or_else(|_| socket.network().require(Capabilities::NET_RAW))?;
            options.change(|values| values.mark = number as u32)
        }
        net::SO_LINGER => {
            let seconds = value.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes).ok_or(Errno::INVAL)?;
            options.change(|values| values.linger = [i32::from(number != 0), seconds])
        }
        net::SO_SNDTIMEO_OLD | net::SO_SNDTIMEO_NEW => {
            let timeout_ns = decode_timeout(value)?;
            options.change(|values| values.send_timeout_ns = timeout_ns)
        }
        net::SO_RCVTIMEO_OLD | net::SO_RCVTIMEO_NEW => {
            let timeout_ns = decode_timeout(value)?;
            options.change(|values| values.receive_timeout_ns = timeout_ns)
        }
        name => {
            let bit = switch_bit(name)?;
            options.change(|values| values.switches = if number != 0 { values.switches | bit } else { values.switches & !bit })
        }
    }
}

/// `SO_BINDTODEVICE`: a name, or nothing to undo it. `ENODEV` for a device that is not there, `EPERM` to leave one without `CAP_NET_RAW`.
fn bind_to_device(socket: &dyn SocketOps, value: &[u8]) -> Result<()> {
    let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
    let bound = socket.options().values().device[0] != 0;
    if bound {
        socket.network().require(Capabilities::NET_RAW)?;
    }
    if !name.is_empty() && name != socket.network().loopback.lock().name {
        return Err(Errno::NODEV);
    }
    let mut device = [0; 16];
    device[..name.len()].copy_from_slice(name);
    socket.options().change(|values| values.device = device)
}

/// The kernel takes twice what is asked for, for its own bookkeeping; `SO_SNDBUFFORCE` has no limit but the number's size.
fn doubled(bytes: u32) -> u32 {
    bytes.min(i32::MAX as u32 / 2) * 2
}

fn switch_bit(name: u32) -> Result<u64> {
    SWITCHES.iter().position(|switch| *switch == name).map(|index| 1 << index).ok_or(Errno::NOPROTOOPT)
}

const NS_PER_S: u64 = 1_000_000_000;
const US_PER_S: i64 = 1_000_000;

/// `struct timeval`; zero is no timeout.
fn encode_timeout(timeout_ns: Option<u64>) -> Vec<u8> {
    let timeout_ns = timeout_ns.unwrap_or(0);
    let parts = [timeout_ns / NS_PER_S, timeout_ns % NS_PER_S / 1000];
    parts.iter().flat_map(|part| part.to_ne_bytes()).collect()
}

/// `EDOM` for microseconds out of range; negative seconds mean "do not wait".
fn decode_timeout(value: &[u8]) -> Result<Option<u64>> {
    let part = |from: usize| value.get(from..from + 8).and_then(|bytes| bytes.try_into().ok()).map(i64::from_ne_bytes).ok_or(Errno::INVAL);
    let (seconds, microseconds) = (part(0)?, part(8)?);
    if !(0..US_PER_S).contains(&microseconds) {
        return Err(Errno::DOM);
    }
    let Ok(seconds) = u64::try_from(seconds) else { return Ok(Some(0)) };
    let timeout_ns = seconds.saturating_mul(NS_PER_S).saturating_add(microseconds as u64 * 1000);
    Ok((timeout_ns > 0).then_some(timeout_ns))
}
