//! System call: kcmp. Do two threads share something of the kernel's?

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::procfs::access;
use crate::fs::{OpenFile, epoll};
use crate::mm::UserPointer;
use crate::task::{Thread, pid};
use alloc::sync::Arc;
use core::cmp::Ordering;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[Entry(sys::__NR_kcmp, "kcmp", kcmp)];

/// What is compared (`kcmp(2)`).
const KCMP_FILE: u32 = 0;
const KCMP_VM: u32 = 1;
const KCMP_FILES: u32 = 2;
const KCMP_FS: u32 = 3;
const KCMP_SIGHAND: u32 = 4;
const KCMP_IO: u32 = 5;
const KCMP_SYSVSEM: u32 = 6;
const KCMP_EPOLL_TFD: u32 = 7;

/// 0 for the same, 1 and 2 for an order that is the same until the next boot.
fn order(first: usize, second: usize) -> u64 {
    match first.cmp(&second) {
        Ordering::Equal => 0,
        Ordering::Less => 1,
        Ordering::Greater => 2,
    }
}

fn address<T: ?Sized>(shared: Option<Arc<T>>) -> usize {
    shared.map_or(0, |shared| Arc::as_ptr(&shared).addr())
}

fn file(thread: &Thread, fd: u64) -> Result<Arc<OpenFile>> {
    let files = thread.try_files().ok_or(Errno::BADF)?;
    files.get(i32::try_from(fd).map_err(|_| Errno::BADF)?)
}

/// The file that an epoll watches: `struct kcmp_epoll_slot` names the epoll, the descriptor that was added, and which file of those
/// that were added with it.
fn watched(thread: &Thread, slot: u64) -> Result<usize> {
    let [epoll_fd, fd, which] = UserPointer::<[u32; 3]>::new(slot).read()?;
    let file = file(thread, epoll_fd.into())?;
    let epoll = epoll::of(&file).ok_or(Errno::INVAL)?;
    epoll.watched(fd as i32, which as usize).ok_or(Errno::NOENT)
}

fn kcmp(&[first, second, kind, first_argument, second_argument, ..]: &Arguments) -> Result<u64> {
    let (first, second) = (pid::find_thread(first as u32)?, pid::find_thread(second as u32)?);
    access::may_attach(&first)?;
    access::may_attach(&second)?;
    let both = |of: fn(&Thread) -> usize| Ok(order(of(&first), of(&second)));
    match kind as u32 {
        KCMP_FILE => Ok(order(address(Some(file(&first, first_argument)?)), address(Some(file(&second, second_argument)?)))),
        KCMP_VM => both(|thread| address(thread.process.address_space())),
        KCMP_FILES => both(|thread| address(thread.try_files())),
        KCMP_FS => both(|thread| address(thread.try_fs())),
        KCMP_SIGHAND => both(|thread| address(Some(thread.process.signal_actions()))),
        // The lists of SEM_UNDO are those of processes. Nobody has a context for i/o.
        KCMP_SYSVSEM => both(|thread| Arc::as_ptr(&thread.process).addr()),
        KCMP_IO => Ok(0),
        KCMP_EPOLL_TFD => Ok(order(address(Some(file(&first, first_argument)?)), watched(&second, second_argument)?)),
        _ => Err(Errno::INVAL),
    }
}
