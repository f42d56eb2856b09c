//! Advisory locks that the server keeps: record locks with POSIX_LOCKS, those of `flock(2)` with FLOCK_LOCKS.

use super::handle::{Handle, owner_number};
use super::node::Node;
use super::protocol::{Features, Fields, LOCK_IS_FLOCK, Message, Opcode};
use super::request::Question;
use crate::errno::{Errno, Result};
use crate::fs::lock::{LockCall, Mode, Owner, Range, RecordLock};
use crate::task::current;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

fn number_of(owner: Owner) -> u64 {
    let (Owner::Table(address) | Owner::File(address)) = owner;
    owner_number(address)
}

fn kind_of(mode: Option<Mode>) -> u32 {
    match mode {
        Some(Mode::Read) => sys::F_RDLCK,
        Some(Mode::Write) => sys::F_WRLCK,
        None => sys::F_UNLCK,
    }
}

fn fields(handle: &Handle, owner: Owner, range: Range, mode: Option<Mode>, flags: u32) -> Message {
    // Who gives up need not be named.
    let pid = if mode.is_some() { current().process.pid } else { 0 };
    let body = Message::default().u64(handle.number).u64(number_of(owner)).u64(range.start).u64(range.end);
    body.u32(kind_of(mode)).u32(pid).u32(flags).u32(0)
}

/// Hands a call on; `None` if such locks are kept here.
pub fn lock(node: &Node, handle: &Handle, call: &LockCall) -> Option<Result<Option<RecordLock>>> {
    let feature = if matches!(call, LockCall::Whole(..)) { Features::FLOCK_LOCKS } else { Features::POSIX_LOCKS };
    if !node.connection().has(feature) {
        return None;
    }
    Some(match *call {
        LockCall::Query(wanted) => query(node, handle, wanted),
        LockCall::Take(wanted, wait) => ask(node, wait, fields(handle, wanted.owner, wanted.range, Some(wanted.mode), 0)),
        LockCall::GiveUp(owner, range) => ask(node, false, fields(handle, owner, range, None, 0)),
        LockCall::Whole(owner, mode, wait) => {
            // RELEASE gives it up, too.
            handle.flock_owner.store(number_of(owner), Ordering::Relaxed);
            ask(node, wait, fields(handle, owner, Range::WHOLE, mode, LOCK_IS_FLOCK))
        }
    })
}

fn ask(node: &Node, wait: bool, body: Message) -> Result<Option<RecordLock>> {
    let opcode = if wait { Opcode::SetLockWait } else { Opcode::SetLock };
    match node.connection().call(Question::new(opcode, node.number, body)) {
        Ok(_) => Ok(None),
        // Waiting for a lock goes on behind a handler that says so.
        Err(Errno::INTR) => Err(Errno::RESTARTSYS),
        Err(error) => Err(error),
    }
}

fn query(node: &Node, handle: &Handle, wanted: RecordLock) -> Result<Option<RecordLock>> {
    let body = fields(handle, wanted.owner, wanted.range, Some(wanted.mode), 0);
    let answer = node.connection().call(Question::new(Opcode::GetLock, node.number, body).answer(24))?;
    let mut fields = Fields(&answer);
    let (start, end, kind, pid) = (fields.u64(), fields.u64(), fields.u32(), fields.u32());
    let mode = match kind {
        sys::F_UNLCK => return Ok(None),
        sys::F_RDLCK => Mode::Read,
        sys::F_WRLCK => Mode::Write,
        _ => return Err(Errno::IO),
    };
    if start > Range::LAST || end > Range::LAST || end < start {
        return Err(Errno::IO);
    }
    Ok(Some(RecordLock { owner: Owner::Table(0), mode, range: Range { start, end }, pid }))
}
