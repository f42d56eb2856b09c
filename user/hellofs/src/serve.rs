//! The life of the server: mount, answer, and at SIGINT or SIGTERM unmount, unless somebody is still inside.

use crate::file_system::{CONTENT, Hello, NAME};
use crate::{mount, umount};
use anyhow::{Context, Result};
use fuser::{Config, Session, SessionACL};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

/// What the main thread waits for.
enum Event {
    /// The kernel ended the connection: the file system is unmounted.
    Ended(std::io::Result<()>),
    /// Somebody wants it to end.
    Signal(i32),
}

/// Mounts on `directory` and serves until the file system is unmounted, by a signal or by `umount`.
///
/// # Errors
/// When it cannot be mounted, or the kernel breaks off the connection.
pub fn serve(directory: &Path, allow_other: bool) -> Result<()> {
    let directory = mount::absolute(directory)?;
    let (events, inbox) = mpsc::channel();
    // Before the mount, so that no signal finds it without a way to end.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("sigaction")?;
    let signal_events = events.clone();
    thread::spawn(move || signals.forever().all(|signal| signal_events.send(Event::Signal(signal)).is_ok()));

    let device = mount::mount(&directory, allow_other)?;
    println!("hellofs: mounted on {}: {NAME} holds {} bytes; Ctrl-C unmounts", directory.display(), CONTENT.len());
    let file_system = Hello { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
    // Who may look is the kernel's business (`allow_other`); what it lets through is answered.
    thread::spawn(move || {
        let served = Session::from_fd(file_system, device, SessionACL::All, Config::default()).and_then(Session::run);
        // The main thread may have gone first; then nobody needs to know.
        let _ = events.send(Event::Ended(served));
    });

    loop {
        match inbox.recv().context("the threads of the server are gone")? {
            Event::Ended(served) => {
                println!("hellofs: unmounted from {}", directory.display());
                return served.context("serving /dev/fuse");
            }
            Event::Signal(signal) => {
                let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                println!("hellofs: {name}: unmounting {}", directory.display());
                // Busy: it goes on serving, for those who are inside need answers.
                if let Err(error) = umount::umount(&directory, false) {
                    eprintln!("hellofs: {error:#}");
                }
            }
        }
    }
}
