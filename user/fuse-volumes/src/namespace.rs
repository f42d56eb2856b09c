//! A user and mount namespace of one's own: there, who has no privilege has enough of it to mount.

use anyhow::{Context, Result};
use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;
use std::fs;

/// Whether this process may mount where it is: it has CAP_SYS_ADMIN.
pub fn may_mount() -> bool {
    /// Its number in capabilities(7).
    const CAP_SYS_ADMIN: u32 = 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << CAP_SYS_ADMIN) != 0)
}

/// Enters new namespaces, in which this process keeps its user and group and may mount. Must be called before any thread is
/// started: unshare(2) refuses a process with several.
///
/// # Errors
/// When user namespaces are not to be had (`EPERM`, or `ENOSPC` at the limit of user.max_user_namespaces).
pub fn enter() -> Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: no other thread runs, and no file descriptors or memory are unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
        .context("unshare(CLONE_NEWUSER | CLONE_NEWNS); without namespaces there is --bind-mode user")?;
    // See user_namespaces(7): without privilege outside, a group map needs setgroups(2) to be given up first.
    fs::write("/proc/self/setgroups", "deny").context("writing /proc/self/setgroups")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).context("writing /proc/self/uid_map")?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).context("writing /proc/self/gid_map")?;
    // What the host mounts arrives; nothing from here gets out. The kernel has made it so already; this says so.
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).context("making / a slave")
}
