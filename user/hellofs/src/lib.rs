//! A FUSE file system with one file, `hello`, mounted by mount(2) alone: no libfuse, no fusermount3.
//!
//! Three things make a FUSE mount, and each is a file here: a descriptor of `/dev/fuse` given to mount(2) ([`mount`]); a
//! program that answers what the kernel asks through it ([`file_system`]); and an orderly end ([`serve`], [`umount`]).

pub mod file_system;
pub mod mount;
pub mod serve;
pub mod umount;

use clap::Parser;
use std::path::PathBuf;

/// What the command line says.
#[derive(Debug, Clone, Parser)]
#[command(name = "hellofs", about = "Mounts a file system with one file, `hello`, and serves it until SIGINT or SIGTERM")]
pub struct Arguments {
    /// The directory to mount on (an existing one).
    pub directory: PathBuf,
    /// Let other users in too; without it only the user who mounts may look, not even root otherwise.
    #[arg(long)]
    pub allow_other: bool,
    /// Unmount what a hellofs left at DIRECTORY, for example one that was killed (its mount says ENOTCONN).
    #[arg(long, conflicts_with = "allow_other")]
    pub umount: bool,
    /// With --umount: detach the mount at once although it is busy; it ends with its last user.
    #[arg(long, requires = "umount")]
    pub lazy: bool,
}

/// Does what the arguments say, and returns when it is done: for a served file system, when that is unmounted.
///
/// # Errors
/// With the call, the path and what to do.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.umount {
        umount::clean_up(&arguments.directory, arguments.lazy)
    } else {
        serve::serve(&arguments.directory, arguments.allow_other)
    }
}
