//! The mounts of a process, read from its `mountinfo` (proc_pid_mountinfo(5)).

use crate::failure::{Outcome, Said};
use std::path::{Path, PathBuf};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The number of the mount.
    pub id: u32,
    /// The number of the mount that it lies on.
    pub parent: u32,
    /// Where it is, as the process sees it.
    pub point: PathBuf,
    /// Options of the mount: `rw`, `nosuid`…
    pub options: Vec<String>,
    /// Whether it belongs to a peer group.
    pub shared: bool,
    /// Whether it receives from one.
    pub slave: bool,
    /// The type of its file system, with its subtype.
    pub kind: String,
    /// What is mounted, in words.
    pub source: String,
}

/// The mounts of a process, in the order of the kernel: what lies on top of another mount comes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountTable {
    mounts: Vec<Mount>,
}

impl MountTable {
    /// The table of the calling thread, which may have a namespace of its own.
    pub fn own() -> Outcome<Self> {
        Self::read(Path::new("/proc/thread-self/mountinfo"))
    }

    /// The table in a file of `/proc`.
    pub fn read(file: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(file).said("open", file)?;
        Ok(Self { mounts: text.lines().filter_map(parse).collect() })
    }

    /// The mount that is seen at exactly this path: the topmost one.
    pub fn at(&self, point: &Path) -> Option<&Mount> {
        let here = self.mounts.iter().filter(|mount| mount.point == point);
        // Of a stack, the one that no other at the same place lies on.
        here.clone().find(|mount| !here.clone().any(|other| other.parent == mount.id && other.id != mount.id))
    }

    /// The mount that holds a path.
    pub fn holding(&self, path: &Path) -> Option<&Mount> {
        let holding = self.mounts.iter().filter(|mount| path.starts_with(&mount.point));
        holding.max_by_key(|mount| depth(&mount.point)).and_then(|mount| self.at(&mount.point))
    }

    /// The mounts that lie on a mount.
    pub fn inside<'a>(&'a self, mount: &'a Mount) -> impl Iterator<Item = &'a Mount> {
        self.mounts.iter().filter(|other| other.parent == mount.id && other.id != mount.id)
    }

    /// The mounts at and below a path, so ordered that each comes after those that it lies on.
    pub fn below(&self, path: &Path) -> Vec<&Mount> {
        let mut below: Vec<&Mount> = self.mounts.iter().filter(|mount| mount.point.starts_with(path)).collect();
        below.sort_by_key(|mount| (depth(&mount.point), self.height(mount)));
        below
    }

    /// How many mounts a mount has under it at the same place.
    fn height(&self, mount: &Mount) -> usize {
        let under = |mount: &Mount| {
            let (parent, id) = (mount.parent, mount.id);
            self.mounts.iter().find(|other| other.id == parent && other.id != id && other.point == mount.point)
        };
        std::iter::successors(under(mount), |mount| under(mount)).count()
    }
}

fn depth(point: &Path) -> usize {
    point.components().count()
}

/// Reads a row: `36 35 98:0 /root /point rw,noatime shared:1 master:2 - ext4 /dev/x rw,errors=continue`.
fn parse(row: &str) -> Option<Mount> {
    let (front, back) = row.split_once(" - ")?;
    let front: Vec<&str> = front.split(' ').collect();
    let [id, parent, _device, _root, point, options, tags @ ..] = front.as_slice() else { return None };
    let mut back = back.split(' ');
    Some(Mount {
        id: id.parse().ok()?,
        parent: parent.parse().ok()?,
        point: PathBuf::from(unescape(point)),
        options: options.split(',').map(str::to_owned).collect(),
        shared: tags.iter().any(|tag| tag.starts_with("shared:")),
        slave: tags.iter().any(|tag| tag.starts_with("master:")),
        kind: back.next().map(unescape)?,
        source: back.next().map(unescape)?,
    })
}

/// Blanks, tabs, newlines and backslashes stand in the table as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    // The backslash comes last: what it gives must not be read again.
    escapes.iter().fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&str]) -> MountTable {
        MountTable { mounts: rows.iter().map(|row| parse(row).unwrap()).collect() }
    }

    #[test]
    fn a_row_is_read() {
        let row = "36 35 98:0 /mnt1 /mnt2\\040x rw,noatime shared:7 master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue";
        let mount = parse(row).unwrap();
        assert_eq!((mount.id, mount.point.as_path(), mount.kind.as_str()), (36, Path::new("/mnt2 x"), "ext3"));
        assert_eq!((mount.shared, mount.slave, mount.options.as_slice()), (true, true, ["rw".to_owned(), "noatime".to_owned()].as_slice()));
    }

    #[test]
    fn the_topmost_and_the_nearest_are_found() {
        let table = table(&[
            "1 1 0:1 / / rw - rootfs rootfs rw",
            "2 1 0:2 / /a rw - tmpfs one rw",
            "3 2 0:3 / /a/b rw - tmpfs deep rw",
            "4 2 0:4 / /a rw - tmpfs two rw",
        ]);
        assert_eq!(table.at(Path::new("/a")).unwrap().source, "two");
        assert_eq!(table.at(Path::new("/a/c")), None);
        assert_eq!(table.holding(Path::new("/a/c")).unwrap().source, "two");
        assert_eq!(table.holding(Path::new("/ab")).unwrap().source, "rootfs");
        let below: Vec<u32> = table.below(Path::new("/a")).iter().map(|mount| mount.id).collect();
        assert_eq!(below, [2, 4, 3]);
        assert_eq!(table.inside(table.at(Path::new("/")).unwrap()).count(), 1);
    }
}
