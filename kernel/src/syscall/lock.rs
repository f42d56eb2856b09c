//! System calls: flock, and the lock commands of fcntl.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::lock::{self, LockCall, Mode, Owner, Range, RecordLock};
use crate::fs::{OpenFile, OpenFlags, internal};
use crate::mm::UserPointer;
use crate::task::current;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[Entry(sys::__NR_flock, "flock", flock)];

fn flock(arguments: &Arguments) -> Result<u64> {
    let operation = arguments[1] as u32;
    let mode = match operation & !sys::LOCK_NB {
        sys::LOCK_SH => Some(Mode::Read),
        sys::LOCK_EX => Some(Mode::Write),
        sys::LOCK_UN => None,
        _ => return Err(Errno::INVAL),
    };
    let file = internal::file_of(arguments[0] as i32)?;
    let owner = Owner::file(&file);
    let call = LockCall::Whole(owner, mode, operation & sys::LOCK_NB == 0);
    if let Some(answer) = file.ops.lock(&file, &call) {
        return answer.map(|_| 0);
    }
    match mode {
        Some(mode) => {
            let wait = operation & sys::LOCK_NB == 0;
            lock::lock_whole(&file.inode, owner, mode, current().process.pid, wait)?;
        }
        None => lock::unlock_whole(&file.inode, owner),
    }
    Ok(0)
}

/// `struct flock`: type and whence share the first word.
type RawLock = [u64; 4];

/// The lock commands of `fcntl(2)`; `None` for any other command.
pub(super) fn fcntl(file: &Arc<OpenFile>, command: u32, argument: u64) -> Option<Result<u64>> {
    let pointer = UserPointer::<RawLock>::new(argument);
    Some(match command {
        sys::F_GETLK => get_lock(file, pointer, false),
        sys::F_OFD_GETLK => get_lock(file, pointer, true),
        sys::F_SETLK => set_lock(file, pointer, false, false),
        sys::F_SETLKW => set_lock(file, pointer, false, true),
        sys::F_OFD_SETLK => set_lock(file, pointer, true, false),
        sys::F_OFD_SETLKW => set_lock(file, pointer, true, true),
        sys::F_GETLEASE => Ok(u64::from(sys::F_UNLCK)),
        // There are no leases: none can be taken, and none is there to be given up.
        sys::F_SETLEASE if argument as u32 == sys::F_UNLCK => Err(Errno::AGAIN),
        sys::F_SETLEASE => Err(Errno::INVAL),
        _ => return None,
    })
}

/// A lock as the program described it.
struct Request {
    kind: u32,
    range: Range,
    owner: Owner,
}

impl Request {
    fn decode(file: &Arc<OpenFile>, raw: RawLock, of_file: bool) -> Result<Self> {
        let (kind, whence) = (raw[0] as u16, (raw[0] >> 16) as u16);
        let base = match u32::from(whence) {
            sys::SEEK_SET => 0,
            sys::SEEK_CUR => *file.position.lock(),
            sys::SEEK_END => file.inode.ops.attributes(&file.inode)?.size_bytes,
            _ => return Err(Errno::INVAL),
        };
        let range = Range::new(base, raw[1] as i64, raw[2] as i64)?;
        if of_file && raw[3] as i32 != 0 {
            return Err(Errno::INVAL);
        }
        let owner = if of_file { Owner::file(file) } else { Owner::table(&current().files()) };
        Ok(Self { kind: u32::from(kind), range, owner })
    }

    /// `None` for `F_UNLCK`.
    fn lock(&self) -> Result<Option<RecordLock>> {
        let mode = match self.kind {
            sys::F_RDLCK => Mode::Read,
            sys::F_WRLCK => Mode::Write,
            sys::F_UNLCK => return Ok(None),
            _ => return Err(Errno::INVAL),
        };
        Ok(Some(RecordLock { owner: self.owner, mode, range: self.range, pid: current().process.pid }))
    }
}

fn get_lock(file: &Arc<OpenFile>, pointer: UserPointer<RawLock>, of_file: bool) -> Result<u64> {
    let raw = pointer.read()?;
    let request = Request::decode(file, raw, of_file)?;
    let found = match request.lock()? {
        Some(wanted) => match file.ops.lock(file, &LockCall::Query(wanted)) {
            Some(answer) => answer?,
            None => lock::conflicting(&file.inode, &wanted),
        },
        None if of_file => lock::held(&file.inode, request.owner, request.range),
        None => return Err(Errno::INVAL),
    };
    let Some(found) = found else {
        pointer.write([raw[0] & !0xffff | u64::from(sys::F_UNLCK), raw[1], raw[2], raw[3]])?;
        return Ok(0);
    };
    let kind = if found.mode == Mode::Write { sys::F_WRLCK } else { sys::F_RDLCK };
    let pid = if matches!(found.owner, Owner::File(_)) { u32::MAX } else { found.pid };
    // The whence that goes with it is SEEK_SET, which is 0.
    pointer.write([
        raw[0] & !0xffff_ffff | u64::from(kind),
        found.range.start,
        found.range.len(),
        raw[3] & !0xffff_ffff | u64::from(pid),
    ])?;
    Ok(0)
}

fn set_lock(file: &Arc<OpenFile>, pointer: UserPointer<RawLock>, of_file: bool, wait: bool) -> Result<u64> {
    let request = Request::decode(file, pointer.read()?, of_file)?;
    let flags = OpenFlags::from_bits_retain(file.flags.load(Ordering::Relaxed));
    match request.lock()? {
        Some(wanted) => {
            let allowed = if wanted.mode == Mode::Write { flags.writable() } else { flags.readable() };
            if !allowed {
                return Err(Errno::BADF);
            }
            match file.ops.lock(file, &LockCall::Take(wanted, wait)) {
                Some(answer) => drop(answer?),
                None => lock::lock_record(&file.inode, wanted, wait)?,
            }
        }
        None => match file.ops.lock(file, &LockCall::GiveUp(request.owner, request.range)) {
            Some(answer) => drop(answer?),
            None => lock::unlock_record(&file.inode, request.owner, request.range)?,
        },
    }
    Ok(0)
}
