//! signalfd(2): signals that are read from a descriptor.
//!
//! The descriptor reads the signals of whoever reads it, as on Linux: of the reading thread and its process.

use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable, internal};
use crate::mm::IoBuffer;
use crate::sync::SpinLock;
use crate::task::current;
use crate::task::signal::{self, Detail, SignalInfo, SignalSet};
use crate::task::wait_queue::WaitMode;
use alloc::sync::Arc;

/// Bytes of `struct signalfd_siginfo`.
const INFO_BYTES: usize = 128;

/// A set of signals to read.
pub struct SignalFd {
    wanted: SpinLock<SignalSet>,
}

/// `signalfd4(2)` with -1: a new descriptor.
pub fn create(wanted: SignalSet, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    let ops = Arc::new(SignalFd { wanted: SpinLock::new(wanted.minus(SignalSet::UNBLOCKABLE)) });
    internal::anonymous_file("[signalfd]", ops, flags | OpenFlags::RDWR)
}

/// `signalfd4(2)` with a descriptor: changes its set. `EINVAL` if it is no signalfd.
pub fn change(file: &OpenFile, wanted: SignalSet) -> Result<()> {
    let signalfd = file.downcast::<SignalFd>().ok_or(Errno::INVAL)?;
    *signalfd.wanted.lock() = wanted.minus(SignalSet::UNBLOCKABLE);
    // Who waits already may find something now.
    current().process.signal_arrivals.wake_all();
    Ok(())
}

impl SignalFd {
    fn wanted(&self) -> SignalSet {
        *self.wanted.lock()
    }
}

impl FileOps for SignalFd {
    fn read(&self, file: &OpenFile, buffer: &mut IoBuffer<'_>, _offset: u64) -> Result<usize> {
        if buffer.remaining() < INFO_BYTES {
            return Err(Errno::INVAL);
        }
        let first = match signal::take_pending(self.wanted()) {
            Some(info) => info,
            None if file.is_nonblocking() => return Err(Errno::AGAIN),
            None => current().process.signal_arrivals.wait_until(WaitMode::INTERRUPTIBLE, || signal::take_pending(self.wanted()))?,
        };
        let mut moved = buffer.put_all(&encode(&first))?;
        while buffer.remaining() >= INFO_BYTES
            && let Some(info) = signal::take_pending(self.wanted())
        {
            match buffer.put_all(&encode(&info)) {
                Ok(count) => moved += count,
                Err(_) => break,
            }
        }
        Ok(moved)
    }

    fn seekable(&self) -> bool {
        false
    }

    // Not an error as with pipes, but nothing happens.
    fn seek(&self, _file: &OpenFile, position: u64, _offset: i64, _whence: u32) -> Option<Result<u64>> {
        Some(Ok(position))
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&current().process.signal_arrivals);
        let mut events = PollEvents::empty();
        events.set(PollEvents::IN, !signal::pending_of_current().intersection(self.wanted()).is_empty());
        events
    }

    fn describe(&self, _file: &OpenFile, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        writeln!(out, "sigmask:\t{:016x}", self.wanted().0)
    }
}

/// As `struct signalfd_siginfo`.
fn encode(info: &SignalInfo) -> [u8; INFO_BYTES] {
    let mut bytes = [0; INFO_BYTES];
    let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
    put(0, &info.signal.number().to_ne_bytes());
    put(4, &info.errno.to_ne_bytes());
    put(8, &info.code.to_ne_bytes());
    let mut sender = |pid: u32, uid: u32| {
        put(12, &pid.to_ne_bytes());
        put(16, &uid.to_ne_bytes());
    };
    match &info.detail {
        Detail::Sender { pid, uid } => sender(*pid, *uid),
        Detail::Value { pid, uid, value } => {
            sender(*pid, *uid);
            put(44, &(*value as u32).to_ne_bytes());
            put(48, &value.to_ne_bytes());
        }
        Detail::Timer { id, overruns, value } => {
            put(24, &id.to_ne_bytes());
            put(32, &overruns.to_ne_bytes());
            put(44, &(*value as u32).to_ne_bytes());
            put(48, &value.to_ne_bytes());
        }
        Detail::Child { pid, uid, status, user_ticks, system_ticks } => {
            sender(*pid, *uid);
            put(40, &status.to_ne_bytes());
            put(56, &user_ticks.to_ne_bytes());
            put(64, &system_ticks.to_ne_bytes());
        }
        Detail::Fault { address } => put(72, &address.to_ne_bytes()),
        Detail::SystemCall { address, number, architecture } => {
            put(84, &number.to_ne_bytes());
            put(88, &address.to_ne_bytes());
            put(96, &architecture.to_ne_bytes());
        }
        Detail::Raw(raw) => {
            put(12, &raw[0..8]);
            put(44, &raw[8..12]);
            put(48, &raw[8..16]);
        }
    }
    bytes
}
