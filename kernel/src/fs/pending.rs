//! A stand-in that `fs::file` uses still.
#![allow(missing_docs)]

pub fn send_signal_to_current(signal: u32) {
    use crate::task::{current, signal};
    if let Ok(signal) = signal::Signal::new(signal) {
        let _ = signal::send_to_thread(&current(), signal::SignalInfo::from_kernel(signal));
    }
}
/// For inotify: read permission on what is found; `ENOTDIR` with `only_directory`.
pub fn lookup_to_watch(name: u64, follow: bool, only_directory: bool) -> crate::errno::Result<crate::fs::Path> {
    use crate::fs::permission::{self, Access};
    use crate::fs::walk::{self, LookupFlags};
    let name = crate::mm::user::read_path(name)?;
    let mut flags = LookupFlags::empty();
    flags.set(LookupFlags::FOLLOW, follow);
    flags.set(LookupFlags::DIRECTORY, only_directory);
    let path = walk::lookup(linux_raw_sys::general::AT_FDCWD, &name, flags)?;
    if let Some(inode) = path.dentry().inode() {
        permission::check(&inode, &crate::task::current().credentials(), Access::READ)?;
    }
    Ok(path)
}
