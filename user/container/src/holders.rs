//! Who keeps a mount busy: the processes whose working directory, root, open files or mapped files lie in it, as `/proc` shows them.
//! Other than the rest of this package this is no mechanism of the kernel, only a search, so that EBUSY comes with a name.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A process that uses something in a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub process: u32,
    /// Its name.
    pub name: String,
    /// What it does with what: `works in /x`.
    pub holds: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "process {} ({}) {}", self.process, self.name, self.holds)
    }
}

/// The processes of this mount namespace that use something at or below a mount point.
///
/// Processes of other namespaces cannot make our unmounting fail: they have copies of the mount.
pub fn holders(point: &Path) -> Vec<Holder> {
    let namespace = fs::read_link("/proc/thread-self/ns/mnt").ok();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = numbers.filter(|process| fs::read_link(format!("/proc/{process}/ns/mnt")).ok() == namespace);
    ours.filter_map(|process| holder(process, point)).collect()
}

fn holder(process: u32, point: &Path) -> Option<Holder> {
    let folder = PathBuf::from(format!("/proc/{process}"));
    let (verb, path) = links(&folder).into_iter().find(|(_, path)| path.starts_with(point))?;
    let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
    Some(Holder { process, name: name.trim_end().to_owned(), holds: format!("{verb} {}", path.display()) })
}

/// What a process uses. What it does not let us see (or has ended meanwhile) is left out.
fn links(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let mut links = Vec::new();
    for (verb, name) in [("works in", "cwd"), ("has its root at", "root"), ("runs", "exe")] {
        links.extend(fs::read_link(folder.join(name)).map(|path| (verb, path)));
    }
    for entry in fs::read_dir(folder.join("fd")).into_iter().flatten().flatten() {
        links.extend(fs::read_link(entry.path()).map(|path| ("has open", path)));
    }
    // address, rights, offset, device, inode, and a path where a file is mapped.
    let maps = fs::read_to_string(folder.join("maps")).unwrap_or_default();
    let files = maps.lines().filter_map(|row| row.split_whitespace().nth(5)).filter(|path| path.starts_with('/'));
    links.extend(files.map(|path| ("maps", PathBuf::from(path))));
    links
}
