//! What a signal tells besides its number: `siginfo_t` (`sigaction(2)`).

use super::Signal;
use crate::errno::{Errno, Result};
use linux_raw_sys::general as sys;

/// Bytes of `siginfo_t`.
pub const INFO_LEN_BYTES: usize = 128;
/// Where the union of `siginfo_t` begins.
const UNION_OFFSET: usize = 16;

/// One signal as it is queued.
#[derive(Clone, Debug)]
pub struct SignalInfo {
    /// Its number.
    pub signal: Signal,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`.
    pub code: i32,
    /// The rest.
    pub detail: Detail,
}

/// The union of `siginfo_t`. Process numbers are as the receiver sees them.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Detail {
    /// `kill`, `tgkill`: who sent it. Uids as the receiver sees them.
    Sender { pid: u32, uid: u32 },
    /// `sigqueue`.
    Value { pid: u32, uid: u32, value: u64 },
    /// POSIX timers.
    Timer { id: i32, overruns: i32, value: u64 },
    /// SIGCHLD. Times in clock ticks.
    Child { pid: u32, uid: u32, status: i32, user_ticks: i64, system_ticks: i64 },
    /// Faults.
    Fault { address: u64 },
    /// SIGSYS: a system call that a filter refused.
    SystemCall { address: u64, number: u32, architecture: u32 },
    /// What `rt_sigqueueinfo` passed, byte for byte.
    Raw([u8; INFO_LEN_BYTES - UNION_OFFSET]),
}

impl SignalInfo {
    /// From the kernel (`SI_KERNEL`).
    pub fn from_kernel(signal: Signal) -> Self {
        Self { signal, errno: 0, code: sys::SI_KERNEL as i32, detail: Detail::Sender { pid: 0, uid: 0 } }
    }

    /// `SI_USER` without a sender that the receiver could see: what is left when the queue was full.
    pub fn bare(signal: Signal) -> Self {
        Self { signal, errno: 0, code: sys::SI_USER as i32, detail: Detail::Sender { pid: 0, uid: 0 } }
    }

    /// A fault at `address`.
    pub fn fault(signal: Signal, code: u32, address: u64) -> Self {
        Self { signal, errno: 0, code: code as i32, detail: Detail::Fault { address } }
    }

    /// As `siginfo_t`.
    pub fn encode(&self) -> [u8; INFO_LEN_BYTES] {
        let mut bytes = [0; INFO_LEN_BYTES];
        put(&mut bytes, 0, &self.signal.number().to_ne_bytes());
        put(&mut bytes, 4, &self.errno.to_ne_bytes());
        put(&mut bytes, 8, &self.code.to_ne_bytes());
        let union = &mut bytes[UNION_OFFSET..];
        match &self.detail {
            Detail::Sender { pid, uid } => {
                put(union, 0, &pid.to_ne_bytes());
                put(union, 4, &uid.to_ne_bytes());
            }
            Detail::Value { pid, uid, value } => {
                put(union, 0, &pid.to_ne_bytes());
                put(union, 4, &uid.to_ne_bytes());
                put(union, 8, &value.to_ne_bytes());
            }
            Detail::Timer { id, overruns, value } => {
                put(union, 0, &id.to_ne_bytes());
                put(union, 4, &overruns.to_ne_bytes());
                put(union, 8, &value.to_ne_bytes());
            }
            Detail::Child { pid, uid, status, user_ticks, system_ticks } => {
                put(union, 0, &pid.to_ne_bytes());
                put(union, 4, &uid.to_ne_bytes());
                put(union, 8, &status.to_ne_bytes());
                put(union, 16, &user_ticks.to_ne_bytes());
                put(union, 24, &system_ticks.to_ne_bytes());
            }
            Detail::Fault { address } => put(union, 0, &address.to_ne_bytes()),
            Detail::SystemCall { address, number, architecture } => {
                put(union, 0, &address.to_ne_bytes());
                put(union, 8, &number.to_ne_bytes());
                put(union, 12, &architecture.to_ne_bytes());
            }
            Detail::Raw(raw) => union.copy_from_slice(raw),
        }
        bytes
    }

    /// Whether the bytes that a program passed can be told: `E2BIG` if they say more than the kernel's part of `siginfo_t` holds, in a
    /// layout that the kernel does not know.
    pub fn check_layout(number: u32, bytes: &[u8; INFO_LEN_BYTES]) -> Result<()> {
        /// How many codes each signal's faults have, for those that have codes of their own; all others have those of SIGIO.
        const CODES: [(Signal, i32); 7] = [
            (Signal::ILL, 11),
            (Signal::FPE, 15),
            (Signal::SEGV, 10),
            (Signal::BUS, 5),
            (Signal::TRAP, 6),
            (Signal::CHLD, 6),
            (Signal::SYS, 2),
        ];
        /// Codes of SIGIO.
        const POLL_CODES: i32 = 6;
        /// What the kernel keeps of `siginfo_t`.
        const KEPT_BYTES: usize = 48;
        let code = i32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let own = CODES.iter().find(|(signal, _)| signal.number() == number).map_or(0, |(_, codes)| *codes);
        let known = match code {
            _ if code == sys::SI_KERNEL as i32 => true,
            1.. => code <= own.max(POLL_CODES),
            _ => code >= sys::SI_DETHREAD || code == sys::SI_ASYNCNL,
        };
        if known || bytes[KEPT_BYTES..].iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Errno::TOOBIG) }
    }

    /// What a program passed to `rt_sigqueueinfo`; `signal` is the call's argument and wins over the bytes.
    pub fn decode(signal: Signal, bytes: &[u8; INFO_LEN_BYTES]) -> Self {
        let word = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut raw = [0; INFO_LEN_BYTES - UNION_OFFSET];
        raw.copy_from_slice(&bytes[UNION_OFFSET..]);
        let detail = match word(8) {
            sys::SI_QUEUE => {
                let value = u64::from(word(24) as u32) | u64::from(word(28) as u32) << 32;
                Detail::Value { pid: word(16) as u32, uid: word(20) as u32, value }
            }
            _ => Detail::Raw(raw),
        };
        Self { signal, errno: word(4), code: word(8), detail }
    }
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}
