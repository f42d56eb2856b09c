//! A stand-in that `fs::file` uses still.
#![allow(missing_docs)]

pub fn send_signal_to_current(signal: u32) {
    use crate::task::{current, signal};
    if let Ok(signal) = signal::Signal::new(signal) {
        let _ = signal::send_to_thread(&current(), signal::SignalInfo::from_kernel(signal));
    }
}
/// For inotify: read permission on what is found; `ENOTDIR` with `only_directory`.
pub fn lookup_to_watch(name: u64, follow: bool, only_directory: bool) -> Result<Path> {
    todo!()
}
