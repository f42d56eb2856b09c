//! `ns-tool mount` shows what a mount namespace is: it makes one, mounts a tmpfs in it, and shows that its own mount table has the
//! mount and that its parent's has not. It leaves nothing behind.
//!
//! The same with tools: `unshare -m --propagation private sh -c 'mount -t tmpfs … /mnt/test_mount; findmnt'`.

use clap::{Parser, Subcommand};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::getppid;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use support::{MountTable, Outcome, Said};

/// Where the tmpfs goes.
const POINT: &str = "/mnt/test_mount";

#[derive(Parser)]
#[command(name = "ns-tool", about = "Shows what namespaces are", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Mount a tmpfs at /mnt/test_mount in a mount namespace of its own, show it, and take it away again.
    Mount {
        /// Leave a shell in the namespace before the mount is taken away.
        #[arg(long)]
        keep: bool,
    },
}

fn main() -> ExitCode {
    let Task::Mount { keep } = Arguments::parse().command;
    match show_mount_namespace(keep) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("ns-tool: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The lesson, step by step; the shell's status where one was kept.
fn show_mount_namespace(keep: bool) -> Outcome<u8> {
    let parent_before = table_of_parent()?;

    // SAFETY: only `UnshareFlags::FILES` can make descriptors invalid, and it is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.said("unshare", Path::new("CLONE_NEWNS"))?;
    // The new namespace began as a copy of the old, and shared mounts of the two are still peers: what is mounted below one of them
    // would appear in the other. Private mounts have no peers.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).said("mount", Path::new("/"))?;

    let point = MountedPoint::make(Path::new(POINT))?;
    let status = show(&point, &parent_before).and_then(|()| if keep { shell() } else { Ok(0) });
    // Whatever came out: the mount and the folder go.
    let taken = point.take_away();
    let status = status?;
    taken?;
    println!("{POINT} is taken away again.");
    Ok(status)
}

/// Shows this namespace's own table, and holds the parent's against what it was.
fn show(point: &MountedPoint, parent_before: &str) -> Outcome {
    let own = MountTable::own()?;
    println!("The mount table of this namespace has:");
    if let Some(mount) = own.at(&point.path) {
        println!("  {} on {} type {} ({})", mount.source, mount.point.display(), mount.kind, mount.options.join(","));
    }
    let parent_now = table_of_parent()?;
    let words = if parent_now == parent_before { "is what it was before" } else { "has changed, by somebody else's doing" };
    let has = if parent_now.contains(POINT) { "has" } else { "does not have" };
    println!("The mount table of the parent, process {}, {words}, and {has} {POINT}.", parent());
    Ok(())
}

/// A shell in the namespace, for a person who wants to look around.
fn shell() -> Outcome<u8> {
    let program = std::env::var_os("SHELL").map_or_else(|| PathBuf::from("/bin/sh"), PathBuf::from);
    println!("A shell in the namespace; `exit` ends it, and the mount with it.");
    let status = Command::new(&program).status().said("execve", &program)?;
    Ok(code(status))
}

/// A process' status as a shell gives it on: 128 and the number of the signal that killed it.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

fn parent() -> i32 {
    getppid().map_or(0, |process| process.as_raw_nonzero().get())
}

/// The parent's mounts as `/proc` shows them.
fn table_of_parent() -> Outcome<String> {
    let file = PathBuf::from(format!("/proc/{}/mounts", parent()));
    fs::read_to_string(&file).said("open", &file)
}

/// A folder with a tmpfs on it.
struct MountedPoint {
    path: PathBuf,
    /// Which folders had to be made, the outermost first.
    made: Vec<PathBuf>,
}

impl MountedPoint {
    /// Makes the folder, and those above it that are missing, and mounts the tmpfs.
    fn make(path: &Path) -> Outcome<Self> {
        let missing = path.ancestors().take_while(|folder| !folder.exists());
        let mut made: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        made.reverse();
        let mut point = Self { path: path.to_path_buf(), made: Vec::new() };
        let mounted = made.into_iter().try_for_each(|folder| {
            fs::create_dir(&folder).said("mkdir", &folder)?;
            point.made.push(folder);
            Ok(())
        });
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let mounted = mounted.and_then(|()| mount("tmpfs", path, "tmpfs", flags, None).said("mount", path));
        match mounted {
            Ok(()) => Ok(point),
            Err(failure) => {
                // The first failure is the one to tell.
                let _ = point.remove_folders();
                Err(failure)
            }
        }
    }

    /// Unmounts it, and removes the folders that were made.
    fn take_away(self) -> Outcome {
        unmount(&self.path, UnmountFlags::empty()).said("umount", &self.path)?;
        self.remove_folders()
    }

    fn remove_folders(&self) -> Outcome {
        self.made.iter().rev().try_for_each(|folder| fs::remove_dir(folder).said("rmdir", folder))
    }
}
