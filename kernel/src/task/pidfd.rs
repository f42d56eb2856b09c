//! Process descriptors (`pidfd_open(2)`): files that stand for a process and become readable when it has ended.

use crate::errno::{Errno, Result};
use crate::fs::fd_table::Fd;
use crate::fs::internal::anonymous_file;
use crate::fs::{FileOps, OpenFile, OpenFlags, PollEvents, PollTable};
use crate::mm::user::UserPointer;
use crate::task::pid::Pid;
use crate::task::{Process, current};
use alloc::sync::Arc;

/// What a pidfd refers to.
pub struct PidFd {
    /// The process (or thread) by its identity, which nobody else gets while the file is open.
    pub pid: Arc<Pid>,
}

impl FileOps for PidFd {
    fn seekable(&self) -> bool {
        false
    }

    fn pollable(&self) -> bool {
        true
    }

    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        table.watch(&self.pid.exits);
        if self.process().is_none_or(|process| process.is_zombie()) { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn describe(&self, _file: &OpenFile, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        let reader = current().pid();
        let number = self.process().map_or(-1, |_| i64::from(self.pid.number_in(reader.namespace())));
        writeln!(out, "Pid:\t{number}\nNSpid:\t{number}")
    }
}

impl PidFd {
    /// The process, until it is reaped.
    pub fn process(&self) -> Option<Arc<Process>> {
        self.pid.process()
    }
}

fn open_file(pid: &Arc<Pid>, nonblocking: bool) -> Result<Arc<OpenFile>> {
    let mut flags = OpenFlags::RDWR;
    flags.set(OpenFlags::NONBLOCK, nonblocking);
    anonymous_file("[pidfd]", Arc::new(PidFd { pid: pid.clone() }), flags)
}

/// `pidfd_open(2)`: a descriptor (always close-on-exec) for a process.
pub fn open(number: u32, nonblocking: bool) -> Result<Fd> {
    let pid = super::pid::find(number).ok_or(Errno::SRCH)?;
    if pid.process().is_none() {
        // A thread that does not lead its process.
        return Err(if pid.thread().is_some() { Errno::INVAL } else { Errno::SRCH });
    }
    insert(open_file(&pid, nonblocking)?)
}

fn insert(file: Arc<OpenFile>) -> Result<Fd> {
    let thread = current();
    thread.files().insert(file, true, 0, thread.process.descriptor_limit())
}

/// For `CLONE_PIDFD`: a descriptor in the caller's table, its number written to `to`.
pub(in crate::task) fn install(pid: &Arc<Pid>, nonblocking: bool, to: UserPointer<i32>) -> Result<()> {
    let fd = insert(open_file(pid, nonblocking)?)?;
    to.write(fd).inspect_err(|_| drop(current().files().remove(fd)))
}

/// The identity behind a pidfd: also a directory of `/proc/PID` would do in Linux's `pidfd_send_signal`. `EBADF` if it is none.
pub fn pid_of(fd: Fd) -> Result<Arc<Pid>> {
    let file = current().files().get(fd)?;
    file.downcast::<PidFd>().map(|pidfd| pidfd.pid.clone()).ok_or(Errno::BADF)
}

/// For `waitid(P_PIDFD)`: the identity, and whether the descriptor is non-blocking. `EBADF` if it is none.
pub fn for_wait(fd: Fd) -> Result<(Arc<Pid>, bool)> {
    let file = current().files().get(fd)?;
    let pid = file.downcast::<PidFd>().map(|pidfd| pidfd.pid.clone()).ok_or(Errno::BADF)?;
    Ok((pid, file.flags().contains(OpenFlags::NONBLOCK)))
}

/// `pidfd_getfd(2)`: a duplicate of the other process's descriptor `target`.
pub fn take_descriptor(fd: Fd, target: Fd) -> Result<Fd> {
    let process = pid_of(fd)?.process().ok_or(Errno::SRCH)?;
    let thread = process.live_thread().ok_or(Errno::SRCH)?;
    super::signal::permission::may_inspect(&thread)?;
    let file = thread.try_files().ok_or(Errno::SRCH)?.get(target)?;
    insert(file)
}
