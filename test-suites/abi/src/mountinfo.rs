//! The mount table as `/proc/self/mountinfo` shows it.

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    /// Unique id of the mount.
    pub id: u32,
    /// Id of the mount it is attached on; its own for the namespace's root.
    pub parent: u32,
    /// `major:minor` of the filesystem.
    pub device: String,
    /// Path of the mount's root inside its filesystem.
    pub root: String,
    /// Path relative to the reader's root, escaped as shown.
    pub mount_point: String,
    /// Options of the mount.
    pub options: String,
    /// Peer group.
    pub shared: Option<u32>,
    /// Group that it is a slave of.
    pub master: Option<u32>,
    /// Nearest group above with a member in sight.
    pub propagate_from: Option<u32>,
    /// Whether it carries the mark.
    pub unbindable: bool,
    /// Filesystem type.
    pub kind: String,
    /// What was given as source.
    pub source: String,
    /// Options of the superblock.
    pub super_options: String,
}

/// Parses one line; panics if it has not the form that proc_pid_mountinfo(5) gives.
pub fn parse(line: &str) -> MountInfo {
    let (front, back) = line.split_once(" - ").unwrap_or_else(|| panic!("no separator in {line:?}"));
    let front: Vec<&str> = front.split(' ').collect();
    let back: Vec<&str> = back.split(' ').collect();
    assert!(front.len() >= 6 && back.len() == 3, "fields of {line:?}");
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("a number in {line:?}"));
    let tag = |name: &str| front[6..].iter().find_map(|field| field.strip_prefix(name)).map(number);
    for field in &front[6..] {
        let known = ["shared:", "master:", "propagate_from:"].iter().any(|tag| field.starts_with(tag));
        assert!(known || *field == "unbindable", "optional field {field:?} of {line:?}");
    }
    MountInfo {
        id: number(front[0]),
        parent: number(front[1]),
        device: front[2].to_string(),
        root: front[3].to_string(),
        mount_point: front[4].to_string(),
        options: front[5].to_string(),
        shared: tag("shared:"),
        master: tag("master:"),
        propagate_from: tag("propagate_from:"),
        unbindable: front[6..].contains(&"unbindable"),
        kind: back[0].to_string(),
        source: back[1].to_string(),
        super_options: back[2].to_string(),
    }
}

/// The caller's mount table, in the order shown.
pub fn table() -> Vec<MountInfo> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    text.lines().map(parse).collect()
}

/// The mounts at exactly this path, bottom of the stack first.
pub fn all_at(mount_point: &str) -> Vec<MountInfo> {
    table().into_iter().filter(|mount| mount.mount_point == mount_point).collect()
}

/// The only mount at this path.
#[track_caller]
pub fn at(mount_point: &str) -> MountInfo {
    let mut found = all_at(mount_point);
    assert_eq!(found.len(), 1, "mounts at {mount_point}: {found:?}");
    found.remove(0)
}

/// The mount that was put last on this path.
#[track_caller]
pub fn top_at(mount_point: &str) -> MountInfo {
    all_at(mount_point).pop().unwrap_or_else(|| panic!("no mount at {mount_point}"))
}

/// Whether anything is mounted at this path.
pub fn is_mounted(mount_point: &str) -> bool {
    !all_at(mount_point).is_empty()
}

/// The mount points below `prefix`, as they are listed.
pub fn points_below(prefix: &str) -> Vec<String> {
    let below = format!("{prefix}/");
    table().into_iter().map(|mount| mount.mount_point).filter(|point| point.starts_with(&below)).collect()
}
