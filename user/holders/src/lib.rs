//! Who keeps a mount busy: what to tell a person whose `umount` said `EBUSY`.
//!
//! The kernel only says *that* a mount is in use. Who uses it stands in `/proc` (proc_pid_cwd(5), proc_pid_fdinfo(5),
//! proc_pid_mountinfo(5)): working directories, roots, programs being run, open files, mapped files, and mounts that lie
//! inside. Nothing here opens or stats a file of the mount itself, so that a dead FUSE server cannot make it hang.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use support::{Mount, MountTable, Outcome, Said};

/// One use of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A process has something of it.
    Process {
        /// Its id, as this process's `/proc` shows it.
        pid: u32,
        /// The name of its program (`/proc/PID/comm`).
        command: String,
        /// What it has.
        with: Use,
    },
    /// Another mount lies inside.
    Mount(PathBuf),
}

/// What a process has of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// Its working directory.
    WorkingDirectory(PathBuf),
    /// Its root directory.
    Root(PathBuf),
    /// The program that it runs.
    Program(PathBuf),
    /// An open file, by number.
    OpenFile(u32, PathBuf),
    /// A file mapped into its memory.
    MappedFile(PathBuf),
}

impl fmt::Display for Holder {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command, with } => write!(to, "process {pid} ({command}) {with}"),
            Self::Mount(point) => write!(to, "a mount lies inside, at {}", point.display()),
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkingDirectory(path) => write!(to, "works in {}", path.display()),
            Self::Root(path) => write!(to, "has its root at {}", path.display()),
            Self::Program(path) => write!(to, "runs {}", path.display()),
            Self::OpenFile(number, path) => write!(to, "has {} open as file {number}", path.display()),
            Self::MappedFile(path) => write!(to, "has {} in its memory", path.display()),
        }
    }
}

/// Who holds the topmost mount at `point` (absolute, without symlinks): mounts inside, then processes by id. Processes of
/// other users are seen only by root. Nobody, when nothing is mounted there or the holder is gone already.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn of(point: &Path) -> Outcome<Vec<Holder>> {
    let table = MountTable::own()?;
    let Some(mount) = table.at(point) else { return Ok(Vec::new()) };
    let mut holders: Vec<Holder> = table.inside(mount).map(|other| Holder::Mount(other.point.clone())).collect();
    let proc = Path::new("/proc");
    let mut pids: Vec<u32> =
        fs::read_dir(proc).said("open", proc)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        // A process that ends meanwhile holds nothing.
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let command = fs::read_to_string(folder.join("comm")).unwrap_or_default().trim_end().to_owned();
        let uses = uses_of(&folder, mount);
        holders.extend(uses.into_iter().map(|with| Holder::Process { pid, command: command.clone(), with }));
    }
    Ok(holders)
}

fn uses_of(process: &Path, mount: &Mount) -> Vec<Use> {
    let below = |path: PathBuf| path.starts_with(&mount.point).then_some(path);
    let link = |name: &str| fs::read_link(process.join(name)).ok().and_then(below);
    let mut uses = Vec::new();
    uses.extend(link("cwd").map(Use::WorkingDirectory));
    // Everybody's root lies "below" a mount at /.
    uses.extend(link("root").filter(|path| path != Path::new("/")).map(Use::Root));
    uses.extend(link("exe").map(Use::Program));
    uses.extend(open_files(process, mount));
    let mapped = fs::read_to_string(process.join("maps")).unwrap_or_default();
    let mut files: Vec<PathBuf> =
        mapped.lines().filter_map(|line| below(PathBuf::from(line.splitn(6, ' ').nth(5)?.trim_start()))).collect();
    files.sort();
    files.dedup();
    uses.extend(files.into_iter().map(Use::MappedFile));
    uses
}

/// Open files tell the id of their mount themselves (`mnt_id` of fdinfo), which is right whatever the path looks like.
fn open_files(process: &Path, mount: &Mount) -> Vec<Use> {
    let Ok(entries) = fs::read_dir(process.join("fdinfo")) else { return Vec::new() };
    let mut files: Vec<Use> = entries
        .filter_map(|entry| {
            let number: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let information = fs::read_to_string(process.join(format!("fdinfo/{number}"))).ok()?;
            let id = information.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse::<u32>().ok()?;
            let path = fs::read_link(process.join(format!("fd/{number}"))).ok()?;
            (id == mount.id).then_some(Use::OpenFile(number, path))
        })
        .collect();
    files.sort_by_key(|file| if let Use::OpenFile(number, _) = file { *number } else { u32::MAX });
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_and_a_working_directory_are_found() {
        let here = std::env::current_dir().expect("a working directory");
        let table = MountTable::own().expect("/proc is mounted");
        let around = table.holding(&here).expect("a mount around the working directory");
        let holders = of(&around.point).expect("/proc is mounted");
        let mine = |holder: &Holder| matches!(holder, Holder::Process { pid, with: Use::WorkingDirectory(path), .. } if *pid == std::process::id() && *path == here);
        assert!(holders.iter().any(mine), "{holders:?}");
    }
}
