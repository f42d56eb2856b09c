//! Stand-ins for functions of other parts until they are merged: clocks, signals, mounts of internal filesystems.
#![allow(missing_docs, unused_variables)]

use crate::errno::Result;
use crate::fs::Path;

pub fn send_signal_to_current(signal: u32) {
    todo!()
}
pub fn descriptor_limit() -> u64 {
    todo!()
}
pub fn set_temporary_mask(mask: u64) {
    todo!()
}
/// The call returns `RESTART_BLOCK`; `restart_syscall(2)` then runs this.
pub fn set_restart(restart: alloc::boxed::Box<dyn FnOnce() -> Result<u64> + Send>) {
    todo!()
}
pub use crate::fs::socket::message::UserCredentials;
/// As the current thread's namespaces show them.
pub fn shown_credentials(credentials: UserCredentials) -> UserCredentials {
    credentials
}
/// From the current thread's namespaces; `EINVAL` for ids that are not mapped, `ESRCH` for a pid that is not there.
pub fn meant_credentials(credentials: UserCredentials) -> Result<UserCredentials> {
    Ok(credentials)
}
/// `mknod` of a socket: mode is `0777 & !umask`; the place made. `EEXIST` if there is something.
pub fn make_socket_node(name: &[u8]) -> Result<Path> {
    todo!()
}
/// Follows symbolic links.
pub fn lookup(name: &[u8]) -> Result<Path> {
    todo!()
}
pub fn check_may_write(path: &Path) -> Result<()> {
    todo!()
}
/// For inotify: read permission on what is found; `ENOTDIR` with `only_directory`.
pub fn lookup_to_watch(name: u64, follow: bool, only_directory: bool) -> Result<Path> {
    todo!()
}
