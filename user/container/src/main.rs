//! `container run [-v host:container[:ro][:rshared|rslave|rprivate]]… rootfs command…`: runs a command in a root file system of its
//! own, with volumes. The library beside this file says how volumes are done; here is who does it, and what remains if it is killed.
//!
//! Three processes take part. The *runtime* is the one that was started: it mounts the volumes in a namespace of its own, waits for
//! the command and takes the volumes away. The *container* is its child: it takes a copy of the namespace, changes its root and
//! becomes the command; it dies with the runtime. The *sweeper* stays behind on the host: it waits until the runtime ends, however it
//! ends, and removes the mount points that were made and are still there.

use clap::{Parser, Subcommand};
use container::{MountedVolume, Volume, WhenBusy, isolate, missing_mount_points, setup_container_volumes, unmount_volume};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use support::{Outcome, Said};

/// This program, for the processes that it starts.
const OURSELVES: &str = "/proc/self/exe";

#[derive(Parser)]
#[command(name = "container", about = "Runs a command in a root file system of its own, with volumes", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run a command in a root file system.
    Run {
        /// A volume: host:container[:ro][:rshared|rslave|rprivate]
        #[arg(short, value_name = "VOLUME")]
        volume: Vec<Volume>,
        /// Detach volumes that are still in use at the end, instead of only saying who uses them.
        #[arg(long)]
        lazy: bool,
        /// The folder with the root file system.
        rootfs: PathBuf,
        /// The command, and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// The container's process: changes its root and becomes the command.
    #[command(hide = true)]
    Enter { rootfs: PathBuf, command: Vec<OsString> },
    /// The sweeper: reads paths to its input's end, then removes them.
    #[command(hide = true)]
    Sweep,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Task::Run { volume, lazy, rootfs, command } => run(&volume, lazy, &rootfs, &command),
        Task::Enter { rootfs, command } => enter(&rootfs, &command),
        Task::Sweep => {
            sweep();
            Ok(0)
        }
    };
    result.map_or_else(
        |failure| {
            eprintln!("container: {failure}");
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}

/// The runtime: the command's status, after all is taken away again.
fn run(volumes: &[Volume], lazy: bool, rootfs: &Path, command: &[OsString]) -> Outcome<u8> {
    let rootfs = fs::canonicalize(rootfs).said("realpath", rootfs)?;
    // From here on nothing may end us without cleaning up but SIGKILL, and for that there is the sweeper.
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM]).said("rt_sigaction", Path::new("SIGTERM"))?;
    let sweeper = Sweeper::start(&rootfs, volumes)?;
    let status = run_in_namespace(volumes, lazy, &rootfs, command, &mut signals);
    sweeper.finish()?;
    status
}

fn run_in_namespace(volumes: &[Volume], lazy: bool, rootfs: &Path, command: &[OsString], signals: &mut Signals) -> Outcome<u8> {
    isolate::leave_the_host(rootfs)?;
    let mounted = setup_container_volumes(rootfs, volumes)?;
    let status = start(rootfs, command).and_then(|child| wait(child, signals));
    let unmounted = take_away(&mounted, if lazy { WhenBusy::Detach } else { WhenBusy::Tell });
    let status = status?;
    unmounted?;
    Ok(status)
}

/// Starts the container's process.
fn start(rootfs: &Path, command: &[OsString]) -> Outcome<Child> {
    isolate::separate_children()?;
    Command::new(OURSELVES).arg("enter").arg(rootfs).arg("--").args(command).spawn().said("execve", Path::new(OURSELVES))
}

/// The container's process: the first of its pid namespace. It comes back only if something fails.
fn enter(rootfs: &Path, command: &[OsString]) -> Outcome<u8> {
    // It must not outlive a runtime that is killed.
    set_parent_process_death_signal(Some(Signal::KILL)).said("prctl", Path::new("PR_SET_PDEATHSIG"))?;
    isolate::enter(rootfs)?;
    let (program, arguments) = command.split_first().map_or((OsStr::new(""), command), |(program, rest)| (program.as_os_str(), rest));
    let error = Command::new(program).args(arguments).env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin").exec();
    Err(error).said("execve", Path::new(program))
}

/// Waits for the container. A signal that would end us ends it, and so us a moment later.
fn wait(mut child: Child, signals: &mut Signals) -> Outcome<u8> {
    let program = Path::new(OURSELVES);
    let mut ended_by = None;
    for signal in signals.forever() {
        if signal != SIGCHLD {
            ended_by = Some(signal);
            child.kill().said("kill", program)?;
        }
        if let Some(status) = child.try_wait().said("wait4", program)? {
            return Ok(ended_by.map_or_else(|| code(status), |signal| u8::try_from(128 + signal).unwrap_or(1)));
        }
    }
    Ok(1)
}

/// A process' status as a shell gives it on: 128 and the number of the signal that killed it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Unmounts all volumes, the last first; one that fails does not keep the others.
fn take_away(mounted: &[MountedVolume], when_busy: WhenBusy) -> Outcome {
    let outcomes: Vec<Outcome> = mounted.iter().rev().map(|volume| unmount_volume(volume, when_busy)).collect();
    outcomes.into_iter().collect()
}

/// The runtime's hold on the sweeper: its input, whose end is the sign that the runtime has ended.
struct Sweeper {
    child: Child,
}

impl Sweeper {
    /// Starts it, and tells it what is going to be made.
    fn start(rootfs: &Path, volumes: &[Volume]) -> Outcome<Self> {
        let program = Path::new(OURSELVES);
        let mut child = Command::new(OURSELVES)
            .arg("sweep")
            .stdin(Stdio::piped())
            // A Ctrl-C at the terminal is for the runtime.
            .process_group(0)
            .spawn()
            .said("execve", program)?;
        let mut input = child.stdin.take();
        for volume in volumes {
            for path in missing_mount_points(rootfs, volume)? {
                if let Some(input) = &mut input {
                    input.write_all(path.as_os_str().as_bytes()).and_then(|()| input.write_all(b"\0")).said("write", program)?;
                }
            }
        }
        child.stdin = input;
        Ok(Self { child })
    }

    /// Lets it do its work, and waits for it.
    fn finish(mut self) -> Outcome {
        drop(self.child.stdin.take());
        self.child.wait().said("wait4", Path::new(OURSELVES)).map(drop)
    }
}

/// The sweeper: what it was told of and is still there when the runtime is gone, goes. A folder that is not empty stays: somebody
/// put something there.
fn sweep() {
    let paths: Vec<PathBuf> = std::io::stdin().lock().split(0).map_while(Result::ok).map(|path| OsString::from_vec(path).into()).collect();
    for path in paths.iter().rev() {
        // A mount point for a file is an empty file.
        let _ = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir(path),
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => fs::remove_file(path),
            _ => Ok(()),
        };
    }
}
