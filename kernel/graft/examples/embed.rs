//! The smallest kernel that mounts: a forest over a tree in memory, a task, and a path walk.
//!
//! `cargo run -p graft --example embed` makes a bind under a shared mount that reaches another namespace, and one under a
//! private mount that does not, and prints the mount tables of both.

use std::sync::Arc;

use graft::flags::{MountFlags, PropagationType};
use graft::memory_vfs::{MemoryVfs, RootIn, UserNamespace};
use graft::seam::DentryKind;
use graft::views::Table;
use graft::{Caller, Forest, NamespaceId, NewMount, Refusal};

type Place = graft::Place<MemoryVfs>;

/// A task: its namespace, root directory and rights.
struct Task {
    namespace: NamespaceId,
    root: Place,
    credentials: RootIn,
}

impl Task {
    fn caller(&self) -> Caller<'_, MemoryVfs> {
        Caller { namespace: self.namespace, root: &self.root, credentials: &self.credentials }
    }
}

/// A kernel keeps the forest in a read-write lock; this one has a single thread.
struct Kernel {
    forest: Forest<MemoryVfs>,
}

impl Kernel {
    /// Boots: a root filesystem, and a first task in a first namespace.
    fn boot() -> Result<(Self, Task), Refusal> {
        let mut forest = Forest::new(MemoryVfs::new());
        let rootfs = new_filesystem(&mut forest, "rootfs");
        let (namespace, mount) = forest.create_namespace(&UserNamespace(0), &rootfs)?;
        // Whatever holds a place pins its mount: here the task's root directory.
        forest.pin(mount);
        let root = Place::new(mount, rootfs.root);
        Ok((Self { forest }, Task { namespace, root, credentials: RootIn(UserNamespace(0)) }))
    }

    /// Walks an absolute path: names are the filesystem's, crossing mounts is the forest's.
    fn walk(&self, task: &Task, path: &str) -> Place {
        let mut place = task.root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let vfs = self.forest.vfs();
            let dentry = vfs.lookup(place.dentry, name).expect("it exists");
            place = self.forest.top_of_stack(&Place::new(place.mount, dentry));
        }
        place
    }

    fn mkdir(&mut self, task: &Task, directory: &str, name: &str) {
        let directory = self.walk(task, directory).dentry;
        let vfs = self.forest.vfs_mut();
        vfs.create(directory, name, DentryKind::Directory);
    }

    fn mount(&mut self, task: &Task, target: &str) -> Result<(), Refusal> {
        let target = self.walk(task, target);
        let tmpfs = new_filesystem(&mut self.forest, "tmpfs");
        self.forest.new_mount(&task.caller(), &tmpfs, &target)?;
        Ok(())
    }

    fn bind(&mut self, task: &Task, source: &str, target: &str) -> Result<(), Refusal> {
        let (source, target) = (self.walk(task, source), self.walk(task, target));
        self.forest.bind(&task.caller(), &source, &target, false)?;
        Ok(())
    }

    /// unshare(CLONE_NEWNS): the new task's root is the copy of the old one's (N6).
    fn unshare(&mut self, task: &Task) -> Result<Task, Refusal> {
        let (forest, asked) = (&mut self.forest, [task.root.mount; 2]);
        let copy = forest.copy_namespace(task.namespace, &UserNamespace(0), asked)?;
        let mount = copy.copies[0].unwrap_or(task.root.mount);
        self.forest.pin(mount);
        let root = Place::new(mount, task.root.dentry);
        Ok(Task { namespace: copy.namespace, root, credentials: task.credentials })
    }

    fn print_mountinfo(&self, title: &str, task: &Task) {
        let (forest, mut text) = (&self.forest, Vec::new());
        let table = forest.write_table(Table::Mountinfo, task.namespace, &task.root, &mut text);
        table.expect("there is memory");
        println!("{title}:\n{}", String::from_utf8_lossy(&text));
    }
}

fn new_filesystem(forest: &mut Forest<MemoryVfs>, filesystem: &str) -> NewMount<MemoryVfs> {
    let vfs = forest.vfs_mut();
    let superblock = vfs.new_superblock(filesystem);
    let root = vfs.root_of(superblock);
    let source = Some(Arc::from(filesystem.as_bytes()));
    NewMount { superblock, root, source, flags: MountFlags::RELATIME }
}

fn main() -> Result<(), Refusal> {
    let (mut kernel, init) = Kernel::boot()?;
    for name in ["run", "srv", "data"] {
        kernel.mkdir(&init, "/", name);
    }
    kernel.mount(&init, "/run")?;
    kernel.mkdir(&init, "/run", "disk");
    let run = kernel.walk(&init, "/run");
    kernel.forest.change_type(&init.caller(), &run, PropagationType::Shared, false)?;

    let container = kernel.unshare(&init)?;
    kernel.bind(&init, "/data", "/run/disk")?;
    kernel.bind(&init, "/data", "/srv")?;
    kernel.print_mountinfo("init", &init);
    kernel.print_mountinfo("container: /run/disk came, /srv did not", &container);

    // A refusal names the errno and the rule: the namespace's root cannot be moved.
    let (root, target) = (kernel.walk(&init, "/"), kernel.walk(&init, "/srv"));
    if let Err(refusal) = kernel.forest.move_mount(&init.caller(), &root, &target, false) {
        println!("moving / to /srv: {refusal}");
    }
    Ok(())
}
