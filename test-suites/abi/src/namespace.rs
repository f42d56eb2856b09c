//! Namespaces of a test's own, beyond the mount namespace of [`crate::world`].

use std::os::fd::OwnedFd;

use crate::raw::Argument;
use crate::world::read;
use crate::{Child, Outcome, spawn, syscall};

/// `CLONE_NEWTIME`, for unshare, setns and clone3 only.
pub const CLONE_NEWTIME: i32 = 0x80;

/// `unshare(2)`.
pub fn unshare(flags: i32) -> Outcome {
    syscall!(SYS_unshare, flags)
}

/// `setns(2)`.
pub fn setns(file: impl Argument, kind: i32) -> Outcome {
    syscall!(SYS_setns, file, kind)
}

/// Runs `body` in a process with an ipc namespace of its own.
#[track_caller]
pub fn in_ipc_namespace(body: impl FnOnce()) {
    crate::in_child(|| {
        unshare(libc::CLONE_NEWIPC).expect("an ipc namespace");
        body();
    });
}

/// Makes the process one of a user without privileges, with that group alone.
#[track_caller]
pub fn become_user(id: u32) {
    syscall!(SYS_setgroups, 0, 0usize).expect("setgroups");
    syscall!(SYS_setresgid, id, id, id).expect("setresgid");
    syscall!(SYS_setresuid, id, id, id).expect("setresuid");
}

/// Forks a process that runs `body` as the init of a new pid namespace. The caller's further children go there, too.
#[track_caller]
pub fn spawn_init(body: impl FnOnce()) -> Child {
    unshare(libc::CLONE_NEWPID).expect("a pid namespace");
    spawn(body)
}

/// `getpid(2)`, not what a library remembers.
pub fn pid() -> i32 {
    syscall!(SYS_getpid).expect("getpid") as i32
}

/// `getppid(2)`.
pub fn parent() -> i32 {
    syscall!(SYS_getppid).expect("getppid") as i32
}

/// A pidfd of `pid`.
pub fn pidfd(pid: i32) -> Outcome<OwnedFd> {
    let fd = syscall!(SYS_pidfd_open, pid, 0)?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd as i32) })
}

/// What `/proc/<process>/ns/<name>` reads.
pub fn link(process: &str, name: &str) -> Outcome<String> {
    let text = std::fs::read_link(format!("/proc/{process}/ns/{name}"))?;
    Ok(text.into_os_string().into_string().expect("text"))
}

/// The line of `/proc/<process>/status` that begins with `key:`, without it.
#[track_caller]
pub fn status_line(process: &str, key: &str) -> String {
    let text = read(&format!("/proc/{process}/status"));
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).split_whitespace().collect::<Vec<_>>().join(" ")
}
