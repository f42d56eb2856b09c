//! The system calls that are measured, thin, and failing loudly: a row of a table must not come from a call that did nothing.

use std::ffi::{CString, c_int, c_long, c_void};
use std::io::{Error, Result};

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

/// Nanoseconds of the monotonic clock. Under `-icount shift=0` each is an instruction of the guest.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure outlives the call, which cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A child that enters a mount namespace of its own and waits; dropping ends it and waits for its end.
pub(crate) struct NamespaceHolder {
    pid: libc::pid_t,
}

impl NamespaceHolder {
    pub(crate) fn new() -> Result<Self> {
        let (mut reader, writer) = std::io::pipe()?;
        // SAFETY: the process has one thread; the child only makes system calls.
        let pid = check(c_long::from(unsafe { libc::fork() }))? as libc::pid_t;
        if pid == 0 {
            drop(reader);
            let entered = unshare_mounts().is_ok();
            let _ = std::io::Write::write_all(&mut { writer }, &[u8::from(entered)]);
            loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            }
        }
        drop(writer);
        let mut entered = [0];
        std::io::Read::read_exact(&mut reader, &mut entered)?;
        if entered == [1] { Ok(Self { pid }) } else { Err(Error::other("a child could not unshare its mount namespace")) }
    }
}

impl Drop for NamespaceHolder {
    fn drop(&mut self) {
        // SAFETY: the pid is a child of ours that has not been waited for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}
