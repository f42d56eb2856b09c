//! Who keeps a mount busy: what to tell a person whose `umount` said `EBUSY`.
//!
//! The kernel only says *that* a mount is in use. Who uses it stands in `/proc` (proc_pid_cwd(5), proc_pid_fdinfo(5),
//! proc_pid_mountinfo(5)): working directories, roots, programs being run, open files, mapped files, and mounts that lie
//! inside. Nothing here opens or stats a file of the mount itself, so that a dead FUSE server cannot make it hang.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

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

/// A line of `/proc/self/mountinfo`, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its id.
    pub id: u32,
    /// The id of the mount that it lies on.
    pub parent: u32,
    /// Where.
    pub point: PathBuf,
    /// The type, with its subtype.
    pub kind: String,
}

/// The mounts of this process's namespace, in the order of `mountinfo`.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn mounts() -> std::io::Result<Vec<Mount>> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?.lines().filter_map(mount_of_line).collect())
}

/// The topmost mount at a path, which must be absolute and without symlinks.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn mount_at(point: &Path) -> std::io::Result<Option<Mount>> {
    let mounts = mounts()?;
    let here = mounts.iter().filter(|mount| mount.point == point);
    // Of a stack, the one on which no other at the same place lies.
    Ok(here.clone().find(|mount| !here.clone().any(|other| other.parent == mount.id && other.id != mount.id)).cloned())
}

fn mount_of_line(line: &str) -> Option<Mount> {
    let fields: Vec<&str> = line.split(' ').collect();
    let separator = fields.iter().position(|field| *field == "-")?;
    Some(Mount {
        id: fields.first()?.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        point: PathBuf::from(unescaped(fields.get(4)?)),
        kind: unescaped(fields.get(separator + 1)?),
    })
}

/// Undoes the octal escapes of mountinfo: `\040` and its like.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Who holds the topmost mount at `point` (absolute, without symlinks): mounts inside, then processes by id. Processes of
/// other users are seen only by root. Nobody, when nothing is mounted there or the holder is gone already.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn of(point: &Path) -> std::io::Result<Vec<Holder>> {
    let Some(mount) = mount_at(point)? else { return Ok(Vec::new()) };
    let inside = mounts()?.into_iter().filter(|other| other.parent == mount.id && other.id != mount.id);
    let mut holders: Vec<Holder> = inside.map(|other| Holder::Mount(other.point)).collect();
    let mut pids: Vec<u32> = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        // A process that ends meanwhile holds nothing.
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let command = fs::read_to_string(folder.join("comm")).unwrap_or_default().trim_end().to_owned();
        let uses = uses_of(&folder, &mount);
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
    fn mountinfo_lines_are_read_with_their_escapes() {
        let line = r"36 35 0:31 / /mnt/a\040b\134c rw,nosuid shared:7 master:2 - fuse.hellofs hello rw,user_id=0,group_id=0";
        let mount = mount_of_line(line).expect("a good line");
        assert_eq!(mount, Mount { id: 36, parent: 35, point: r"/mnt/a b\c".into(), kind: "fuse.hellofs".into() });
        assert_eq!(mount_of_line("36 35 0:31 / /mnt rw"), None, "without the separator");
    }

    #[test]
    fn an_open_file_and_a_working_directory_are_found() {
        let here = std::env::current_dir().expect("a working directory");
        let mounts = mounts().expect("/proc is mounted");
        let around = mounts.iter().rev().filter(|mount| here.starts_with(&mount.point)).max_by_key(|mount| mount.point.as_os_str().len());
        let around = around.expect("a mount around the working directory");
        let holders = of(&around.point).expect("/proc is mounted");
        let mine = |holder: &Holder| matches!(holder, Holder::Process { pid, with: Use::WorkingDirectory(path), .. } if *pid == std::process::id() && *path == here);
        assert!(holders.iter().any(mine), "{holders:?}");
    }
}
