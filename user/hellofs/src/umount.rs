//! The end of a mount: by its own server, or by somebody else when the server is dead.

use crate::mount::{TYPE, absolute};
use anyhow::{Result, bail};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::path::Path;
use support::MountTable;

/// Unmounts `directory` (absolute). A busy mount stays, and the error says who holds it and how to go on; with `lazy` it is
/// detached at once and ends with its last user.
///
/// # Errors
/// With the call and what to do.
pub fn umount(directory: &Path, lazy: bool) -> Result<()> {
    let flags = UnmountFlags::NOFOLLOW | if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    let path = directory.display();
    match rustix::mount::unmount(directory, flags) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => bail!("umount2(\"{path}\", UMOUNT_NOFOLLOW): {}{}", Errno::BUSY, busy_advice(directory)),
        Err(Errno::PERM) => bail!("umount2(\"{path}\", UMOUNT_NOFOLLOW): {}; it needs CAP_SYS_ADMIN: try it as root", Errno::PERM),
        Err(error) => bail!("umount2(\"{path}\", UMOUNT_NOFOLLOW): {error}"),
    }
}

/// Who holds a busy mount, a line each, and the ways on.
fn busy_advice(directory: &Path) -> String {
    let path = directory.display();
    let holders = holders::of(directory).unwrap_or_default();
    let mut advice = String::new();
    for holder in &holders {
        advice += &format!("\n  {holder}");
    }
    if holders.is_empty() {
        advice += "\n  no user of it can be seen from here: it may be another user's process, or in another namespace";
    }
    advice + &format!("\n  end these and try again, or let it end with its last user: hellofs --umount --lazy {path}")
}

/// `hellofs --umount`: takes away what a hellofs left at `directory`; never another file system.
///
/// # Errors
/// When no hellofs is mounted there, or [`umount`] fails.
pub fn clean_up(directory: &Path, lazy: bool) -> Result<()> {
    let directory = absolute(directory)?;
    let path = directory.display();
    match MountTable::own()?.at(&directory) {
        None => bail!("nothing is mounted on {path}; `findmnt -t {TYPE}` lists what is"),
        Some(mount) if mount.kind != TYPE => bail!("{path} has a mount of type {}, not {TYPE}: `umount {path}` is for it", mount.kind),
        Some(_) => {}
    }
    umount(&directory, lazy)?;
    println!("hellofs: unmounted {path}{}", if lazy { "; it ends with its last user" } else { "" });
    Ok(())
}
