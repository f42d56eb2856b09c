//! What the crate's operations cost by themselves, in instructions: `cargo bench -p graft`, or `make bench-crate`. Needs valgrind.
//!
//! Without arguments this program runs itself under callgrind, once for each operation and size, and prints a table of instructions for
//! one mount. `operations NAME SIZE` is one such run: only [`measured`] is counted, so that nothing of the preparation is. The counts are
//! the same on every run and every machine with the same compiler, and are shown, not judged: `tests/costs.rs` holds the costs to their
//! bounds by counting steps.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use graft::flags::{MountFlags, PropagationType, UmountFlags};
use graft::memory_vfs::{DentryNumber, MemoryVfs, RootIn, UserNamespace};
use graft::seam::DentryKind;
use graft::views::{ListStart, Table};
use graft::{Caller, Forest, MountId, NamespaceId, NewMount, Place};

const ADMIN: RootIn = RootIn(UserNamespace(0));
const SIZES: [usize; 4] = [10, 100, 1000, 10_000];

/// A forest of one namespace: mounts on the directories of its root, as many as the size.
struct World {
    forest: Forest<MemoryVfs>,
    namespace: NamespaceId,
    root: Place<MemoryVfs>,
    directories: Vec<DentryNumber>,
}

impl World {
    /// `size` directories to mount on, one to copy to and one to be free.
    fn new(size: usize) -> Self {
        let mut vfs = MemoryVfs::new();
        let superblock = vfs.new_superblock("tmpfs");
        let root = vfs.root_of(superblock);
        let directories = (0..size + 2).map(|number| vfs.create(root, &format!("d{number}"), DentryKind::Directory).unwrap()).collect();
        let new = NewMount { superblock, root, source: None, flags: MountFlags::RELATIME };
        let mut forest = Forest::new(vfs);
        let (namespace, mount) = forest.create_namespace(&UserNamespace(0), &new).unwrap();
        forest.set_mount_max(u32::MAX).unwrap();
        Self { forest, namespace, root: Place::new(mount, root), directories }
    }

    /// A place in the first mount.
    fn at(&self, dentry: DentryNumber) -> Place<MemoryVfs> {
        Place::new(self.root.mount, dentry)
    }

    fn bind(&mut self, source: &Place<MemoryVfs>, target: &Place<MemoryVfs>, recursive: bool) -> MountId {
        let root = self.root.clone();
        let caller = Caller { namespace: self.namespace, root: &root, credentials: &ADMIN };
        self.forest.bind(&caller, source, target, recursive).unwrap()
    }

    fn build(&mut self, size: usize) {
        for index in 0..size {
            let directory = self.at(self.directories[index]);
            self.bind(&directory, &directory, false);
        }
    }

    fn change_type(&mut self, mount: MountId, to: PropagationType) {
        let root = self.root.clone();
        let caller = Caller { namespace: self.namespace, root: &root, credentials: &ADMIN };
        let target = Place::new(mount, *self.forest.root(mount).unwrap());
        self.forest.change_type(&caller, &target, to, true).unwrap();
    }

    fn umount(&mut self, mount: MountId) {
        let root = self.root.clone();
        let caller = Caller { namespace: self.namespace, root: &root, credentials: &ADMIN };
        let target = Place::new(mount, *self.forest.root(mount).unwrap());
        drop(self.forest.umount(&caller, &target, UmountFlags::DETACH, 0).unwrap());
    }

    /// Binds the whole tree to the directory that is kept for it.
    fn copy_tree(&mut self) -> MountId {
        let (root, to) = (self.root.clone(), self.at(self.directories[self.directories.len() - 1]));
        self.bind(&root, &to, true)
    }
}

/// The only function whose instructions, and those of all it calls, are counted.
#[inline(never)]
fn measured<T>(operation: impl FnOnce() -> T) -> T {
    black_box(operation())
}

type Operation = fn(&mut World, usize);

/// Each prepares what it needs, and does one operation on `size` mounts in [`measured`].
const OPERATIONS: &[(&str, Operation)] = &[
    ("build-tree-by-bind", |world, size| measured(|| world.build(size))),
    ("rbind", |world, size| {
        world.build(size);
        measured(|| world.copy_tree());
    }),
    ("lazy-umount", |world, size| {
        world.build(size);
        let copy = world.copy_tree();
        measured(|| world.umount(copy));
    }),
    ("recursive-shared", |world, size| {
        world.build(size);
        let top = world.root.mount;
        measured(|| world.change_type(top, PropagationType::Shared));
    }),
    ("recursive-private", |world, size| {
        world.build(size);
        let top = world.root.mount;
        world.change_type(top, PropagationType::Shared);
        measured(|| world.change_type(top, PropagationType::Private));
    }),
    ("new-namespace", |world, size| {
        world.build(size);
        let of = world.namespace;
        measured(|| world.forest.copy_namespace(of, &UserNamespace(0), [world.root.mount; 2]).unwrap());
    }),
    ("end-of-namespace", |world, size| {
        world.build(size);
        let copy = world.forest.copy_namespace(world.namespace, &UserNamespace(0), [world.root.mount; 2]).unwrap().namespace;
        assert!(world.forest.unpin_namespace(copy));
        measured(|| drop(world.forest.release_namespace(copy)));
    }),
    ("mountinfo", |world, size| {
        world.build(size);
        let mut text = Vec::new();
        measured(|| world.forest.write_table(Table::Mountinfo, world.namespace, &world.root, &mut text).unwrap());
    }),
    ("listmount", |world, size| {
        world.build(size);
        let mut ids = vec![0; size + 1];
        let root = world.root.clone();
        let caller = Caller { namespace: world.namespace, root: &root, credentials: &ADMIN };
        let listed = measured(|| world.forest.list_mounts(&caller, world.namespace, &root, ListStart::Root, 0, &mut ids));
        assert!(listed.unwrap() >= size);
    }),
    ("mount-into-peers", |world, size| {
        let place = with_peers(world, size);
        measured(|| world.bind(&place, &place, false));
    }),
    ("umount-from-peers", |world, size| {
        let place = with_peers(world, size);
        let mount = world.bind(&place, &place, false);
        measured(|| world.umount(mount));
    }),
];

/// Makes a shared mount with `size` peers; gives its top, for what they all receive.
fn with_peers(world: &mut World, size: usize) -> Place<MemoryVfs> {
    let directory = world.at(world.directories[size]);
    let first = world.bind(&directory, &directory, false);
    world.change_type(first, PropagationType::Shared);
    let shared = Place::new(first, directory.dentry);
    for index in 0..size {
        let target = world.at(world.directories[index]);
        world.bind(&shared, &target, false);
    }
    shared
}

/// Passes everything on to the system's allocator, and counts the bytes that are held.
struct Counting;

static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every request is passed on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What the forest takes from the allocator for each mount of `size`, each in a group of its own; all tables with their room to grow.
fn bytes_of_a_mount(size: usize) -> usize {
    let mut world = World::new(size);
    let before = HELD_BYTES.load(Ordering::Relaxed);
    world.build(size);
    world.change_type(world.root.mount, PropagationType::Shared);
    (HELD_BYTES.load(Ordering::Relaxed) - before) / size
}

/// Runs one operation under callgrind. Gives the instructions in [`measured`], for each unit.
fn count(name: &str, size: usize) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*operations::measured*"]);
    let output = command.arg(program).args([name, &size.to_string()]).output().map_err(|error| format!("valgrind: {error}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    let collected = messages.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse::<u64>().ok());
    collected.filter(|_| output.status.success()).map(|total| total / size as u64).ok_or_else(|| messages.into_owned())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [name, size] = &arguments[..] {
        let size = size.parse().expect("a size");
        let operation = OPERATIONS.iter().find(|(known, _)| known == name).expect("an operation").1;
        return operation(&mut World::new(size), size);
    }
    println!("| instructions a mount | {} |\n|---|{}", SIZES.map(|size| size.to_string()).join(" | "), "---:|".repeat(SIZES.len()));
    for (name, _) in OPERATIONS {
        let cells = SIZES.map(|size| count(name, size).unwrap_or_else(|problem| panic!("{name} at {size}: {problem}")).to_string());
        println!("| {name} | {} |", cells.join(" | "));
    }
    println!("| bytes of memory | {} |", SIZES.map(|size| bytes_of_a_mount(size).to_string()).join(" | "));
}
