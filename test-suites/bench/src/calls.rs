//! The system calls that are measured, thin, and failing loudly: a row of a table must not come from a call that did nothing.

use std::ffi::{CString, c_int, c_long, c_void};
use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, OwnedFd};

fn check(result: c_long) -> Result<c_long> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

pub(crate) fn mount(source: &str, target: &str, kind: &str, flags: u64) -> Result<()> {
    let (source, target, kind) = (c_string(source), c_string(target), c_string(kind));
    // SAFETY: all strings end in NUL and outlive the call; no data is passed.
    check(unsafe { c_long::from(libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null())) }).map(drop)
}

pub(crate) fn umount(target: &str, flags: c_int) -> Result<()> {
    let target = c_string(target);
    // SAFETY: the string ends in NUL and outlives the call.
    check(unsafe { c_long::from(libc::umount2(target.as_ptr(), flags)) }).map(drop)
}

pub(crate) fn unshare_mounts() -> Result<()> {
    // SAFETY: the process has one thread.
    check(unsafe { c_long::from(libc::unshare(libc::CLONE_NEWNS)) }).map(drop)
}

/// `getppid(2)`: the cheapest call that a C library does not answer by itself.
pub(crate) fn null_call() {
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

pub(crate) fn stat(path: &CString) -> Result<()> {
    // SAFETY: plain data, for which zeros are a value.
    let mut buffer: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the string ends in NUL, the buffer is the call's structure.
    check(unsafe { c_long::from(libc::stat(path.as_ptr(), &raw mut buffer)) }).map(drop)
}

/// Attributes that the file system fetches anew, whatever the kernel remembers.
pub(crate) fn stat_asking_the_server(file: &File) -> Result<()> {
    // SAFETY: plain data, for which zeros are a value.
    let mut buffer: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_FORCE_SYNC;
    // SAFETY: the string ends in NUL, the buffer is the call's structure.
    let result = unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_BASIC_STATS, &raw mut buffer) };
    check(c_long::from(result)).map(drop)
}

/// `struct mnt_id_req` (`statmount(2)`).
#[repr(C)]
pub(crate) struct MountIdRequest {
    pub size: u32,
    pub spare: u32,
    pub mount_id: u64,
    pub parameter: u64,
}

/// x86-64's numbers, which the libc crate may not have yet.
const SYS_STATMOUNT: c_long = 457;
const SYS_LISTMOUNT: c_long = 458;

pub(crate) fn statmount(mount_id: u64, mask: u64, buffer: &mut [u8]) -> Result<()> {
    let request = MountIdRequest { size: 24, spare: 0, mount_id, parameter: mask };
    let pointer: *mut c_void = buffer.as_mut_ptr().cast();
    // SAFETY: the request and the buffer outlive the call, with their sizes.
    check(unsafe { libc::syscall(SYS_STATMOUNT, &raw const request, pointer, buffer.len(), 0) }).map(drop)
}

/// How many ids were stored.
pub(crate) fn listmount(mount_id: u64, ids: &mut [u64]) -> Result<usize> {
    let request = MountIdRequest { size: 24, spare: 0, mount_id, parameter: 0 };
    // SAFETY: the request and the array outlive the call, with their sizes.
    check(unsafe { libc::syscall(SYS_LISTMOUNT, &raw const request, ids.as_mut_ptr(), ids.len(), 0) }).map(|count| count as usize)
}

/// A mount namespace that stays without a process in it, as long as this is open.
pub(crate) struct Namespace(OwnedFd);

impl Namespace {
    /// The one that the process is in.
    pub(crate) fn current() -> Result<Self> {
        Ok(Self(File::open("/proc/self/ns/mnt")?.into()))
    }

    /// Makes the process enter it.
    pub(crate) fn enter(&self) -> Result<()> {
        // SAFETY: the descriptor is open; the process has one thread.
        check(unsafe { c_long::from(libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNS)) }).map(drop)
    }
}

/// Lets the process have so many open files.
pub(crate) fn allow_open_files(count: usize) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: count as u64, rlim_max: count as u64 };
    // SAFETY: the structure outlives the call.
    check(unsafe { c_long::from(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)) }).map(drop)
}
