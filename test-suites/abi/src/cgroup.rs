//! Control groups for tests: a mount of the hierarchy in a private place, and groups that are emptied and removed again.

use std::os::fd::AsRawFd;

use crate::child::wait_until;
use crate::world::{mkdir, mount, names, read};
use crate::{Child, Outcome, in_mount_namespace, spawn};

/// Where [`in_cgroups`] mounts the hierarchy.
pub const ROOT: &str = "/tmp/cg";

/// The options of every mount here: the last one counts for the whole system, and tests run side by side.
pub const OPTIONS: &str = "nsdelegate,memory_recursiveprot";

/// Runs `body` in a mount namespace of its own that has the hierarchy at [`ROOT`].
pub fn in_cgroups(body: impl FnOnce()) {
    in_mount_namespace(|| {
        mkdir(ROOT);
        mount("cgroup", ROOT, "cgroup2", 0, OPTIONS).expect("the hierarchy");
        body();
        let _ = try_write(&format!("{ROOT}/cgroup.procs"), "0");
    });
}

/// A group that goes when it is dropped: its processes are killed, the groups below removed.
#[derive(Debug)]
pub struct Group {
    /// Its directory.
    pub path: String,
}

impl Group {
    /// A group right below the root, with a name of this process's own.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let path = format!("{ROOT}/{name}-{}", std::process::id());
        mkdir(&path);
        Self { path }
    }

    /// The same, with controllers that the root hands on.
    #[track_caller]
    pub fn with_controllers(name: &str, controllers: &str) -> Self {
        enable(ROOT, controllers);
        Self::new(name)
    }

    /// Makes a group below; it goes with this one.
    #[track_caller]
    pub fn child(&self, name: &str) -> Self {
        let path = self.file(name);
        mkdir(&path);
        Self { path }
    }

    /// The path of a file or of a group in it.
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// What stands in a file.
    #[track_caller]
    pub fn read(&self, file: &str) -> String {
        read(&self.file(file))
    }

    /// A number in a file that holds nothing else.
    #[track_caller]
    pub fn number(&self, file: &str) -> u64 {
        let text = self.read(file);
        text.trim().parse().unwrap_or_else(|error| panic!("{file} has {text:?}: {error}"))
    }

    /// The number behind `key` in a file of such lines.
    #[track_caller]
    pub fn value(&self, file: &str, key: &str) -> u64 {
        let text = self.read(file);
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {key} in {text:?}")).parse().expect("a number")
    }

    /// Writes into a file in one call.
    pub fn try_write(&self, file: &str, text: &str) -> Outcome {
        try_write(&self.file(file), text)
    }

    /// The same where it must succeed.
    #[track_caller]
    pub fn write(&self, file: &str, text: &str) {
        self.try_write(file, text).unwrap_or_else(|error| panic!("{text:?} into {file}: {error:?}"));
    }

    /// Moves the calling process into it.
    #[track_caller]
    pub fn enter(&self) {
        self.write("cgroup.procs", "0");
    }

    /// Forks a process that runs `body` in it.
    pub fn spawn(&self, body: impl FnOnce()) -> Child {
        spawn(|| {
            self.enter();
            body();
        })
    }

    /// Forks a process that waits in it until it is killed, and waits until it is there.
    #[track_caller]
    pub fn sleeper(&self) -> Child {
        let child = self.spawn(|| {
            loop {
                std::thread::sleep(std::time::Duration::from_secs(100));
            }
        });
        wait_until("the sleeper is in its group", || self.processes().contains(&child.pid()));
        child
    }

    /// The processes in it.
    #[track_caller]
    pub fn processes(&self) -> Vec<i32> {
        self.read("cgroup.procs").lines().map(|line| line.parse().expect("a number")).collect()
    }

    /// Whether `cgroup.events` has this line.
    #[track_caller]
    pub fn has_event(&self, line: &str) -> bool {
        self.read("cgroup.events").lines().any(|known| known == line)
    }

    /// Removes it.
    pub fn try_remove(&self) -> Outcome {
        crate::syscall!(SYS_rmdir, crate::world::c(&self.path).as_c_str())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !crate::world::exists(&self.path) {
            return;
        }
        // The process itself may be in it, or below.
        let _ = try_write(&format!("{ROOT}/cgroup.procs"), "0");
        let _ = self.try_write("cgroup.kill", "1");
        let _ = self.try_write("cgroup.freeze", "0");
        for name in names(&self.path) {
            let below = self.file(&name);
            if std::fs::symlink_metadata(&below).is_ok_and(|data| data.is_dir()) {
                drop(Group { path: below });
            }
        }
        // Whoever was killed needs a moment.
        for _ in 0..2000 {
            if self.try_remove().is_ok() || !crate::world::exists(&self.path) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        if !std::thread::panicking() {
            panic!("{} cannot be removed: {:?}", self.path, self.try_remove());
        }
    }
}

/// Writes into a file in one call.
pub fn try_write(path: &str, text: &str) -> Outcome {
    let file = crate::world::open(path, libc::O_WRONLY)?;
    crate::syscall!(SYS_write, file.as_raw_fd(), text.as_ptr(), text.len())
}

/// Lets the groups below `path` have controllers (`+pids`).
#[track_caller]
pub fn enable(path: &str, controllers: &str) {
    let file = format!("{path}/cgroup.subtree_control");
    try_write(&file, controllers).unwrap_or_else(|error| panic!("{controllers} in {path}: {error:?}"));
}

/// The line of the one hierarchy in `/proc/<id>/cgroup`, behind `0::`.
#[track_caller]
pub fn membership(id: &str) -> String {
    let text = read(&format!("/proc/{id}/cgroup"));
    let line = text.lines().find_map(|line| line.strip_prefix("0::"));
    line.unwrap_or_else(|| panic!("{text:?}")).to_owned()
}
