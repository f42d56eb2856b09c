//! Whom an open file's SIGIO is for (`F_SETOWN` of `fcntl(2)`): an identity, not a number, so that each reader is told its own.

use crate::errno::{Errno, Result};
use crate::task::pid::{self, Pid};
use alloc::sync::Arc;

/// What the identity stands for (`F_OWNER_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OwnerKind {
    Thread,
    Process,
    Group,
}

/// The owner of an open file.
#[derive(Clone)]
pub struct Owner {
    kind: OwnerKind,
    pid: Arc<Pid>,
}

impl Owner {
    /// From a number of the current thread's pid namespace; `None` for 0. `ESRCH` if nobody has it.
    pub fn from_number(kind: OwnerKind, number: i32) -> Result<Option<Self>> {
        if number == 0 {
            return Ok(None);
        }
        let number = u32::try_from(number).map_err(|_| Errno::SRCH)?;
        let pid = pid::find(number).ok_or(Errno::SRCH)?;
        Ok(Some(Self { kind, pid }))
    }

    /// What it stands for.
    pub fn kind(&self) -> OwnerKind {
        self.kind
    }

    /// Its number as the current thread sees it; 0 if it is gone or out of sight.
    pub fn number(&self) -> i32 {
        let is_there = match self.kind {
            OwnerKind::Thread => self.pid.thread().is_some(),
            OwnerKind::Process => self.pid.process().is_some(),
            OwnerKind::Group => !self.pid.group_members().is_empty(),
        };
        if is_there { self.pid.number() as i32 } else { 0 }
    }
}
