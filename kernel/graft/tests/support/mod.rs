//! A world to test in: a forest over an in-memory tree, tasks with roots and working directories, and a path walk.
//!
//! It plays the kernel's part as Linux does (chapter L): it walks paths, pins what tasks hold, moves roots after pivot_root,
//! and takes mounts off names that are removed. After every call it checks the forest's invariants.
#![allow(dead_code, unreachable_pub, reason = "each test file compiles its own copy and uses a part of it")]

mod files;
pub mod script;
mod state;
mod task;

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use graft::flags::{MountFlags, SuperblockTraits};
use graft::memory_vfs::{DentryNumber, MemoryVfs, RootIn, SuperblockNumber, UserNamespace};
use graft::{Forest, GroupId, MountId, NamespaceId, NewMount, Released};

pub use task::Task;

pub type Place = graft::Place<MemoryVfs>;

/// Why a call failed: an errno's name, and the rule where graft refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub errno: &'static str,
    pub rule: Option<graft::Rule>,
}

impl Failure {
    pub fn of_kernel(errno: &'static str) -> Self {
        Self { errno, rule: None }
    }
}

impl From<graft::Refusal> for Failure {
    fn from(refusal: graft::Refusal) -> Self {
        use graft::Errno::*;
        let errno = match refusal.errno {
            EPERM => "EPERM",
            ENOENT => "ENOENT",
            EAGAIN => "EAGAIN",
            ENOMEM => "ENOMEM",
            EBUSY => "EBUSY",
            ENOTDIR => "ENOTDIR",
            EINVAL => "EINVAL",
            ENOSPC => "ENOSPC",
            EROFS => "EROFS",
            ELOOP => "ELOOP",
            EOVERFLOW => "EOVERFLOW",
        };
        Self { errno, rule: Some(refusal.rule) }
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.rule {
            Some(rule) => write!(formatter, "{} ({rule})", self.errno),
            None => formatter.write_str(self.errno),
        }
    }
}

pub type Outcome<T = ()> = Result<T, Failure>;

/// One task: what the kernel keeps of it that has to do with mounts.
pub struct TaskState {
    pub name: String,
    pub namespace: NamespaceId,
    pub root: Place,
    pub cwd: Place,
    pub credentials: RootIn,
    pub is_gone: bool,
}

/// What all tasks share.
pub struct World {
    pub forest: Forest<MemoryVfs>,
    pub tasks: Vec<TaskState>,
    /// Files opened with `O_PATH`, by `hold`.
    pub held: Vec<Place>,
    /// Files of detached trees.
    pub trees: BTreeMap<String, MountId>,
    /// The labels that groups got in order of appearance.
    pub labels: Vec<GroupId>,
}

/// A handle on the world.
#[derive(Clone)]
pub struct Shared(pub Rc<RefCell<World>>);

/// Makes the setting of the spec's examples: a namespace whose `/x` is a private tmpfs called `base`.
pub fn new_world() -> Task {
    let mut vfs = MemoryVfs::new();
    let superblock = vfs.new_superblock("rootfs");
    let root = vfs.root_of(superblock);
    let mut forest = Forest::new(vfs);
    let rootfs = NewMount { superblock, root, source: Some(source("rootfs")), flags: MountFlags::RELATIME };
    let (namespace, mount) = forest.create_namespace(&UserNamespace(0), &rootfs).unwrap();
    let place = Place::new(mount, root);
    forest.pin(mount);
    forest.pin(mount);
    let task = TaskState {
        name: "A".to_string(),
        namespace,
        root: place.clone(),
        cwd: place,
        credentials: RootIn(UserNamespace(0)),
        is_gone: false,
    };
    let world = World { forest, tasks: vec![task], held: Vec::new(), trees: BTreeMap::new(), labels: Vec::new() };
    let task = Task { world: Shared(Rc::new(RefCell::new(world))), index: 0 };
    task.mkdir("/x").unwrap();
    task.mount_tmpfs("base", "/x").unwrap();
    task.chdir("/x").unwrap();
    task
}

pub fn source(name: &str) -> std::sync::Arc<[u8]> {
    name.as_bytes().into()
}

/// A filesystem and its root, to be mounted.
pub fn new_filesystem(
    world: &mut World,
    filesystem: &str,
    owner: UserNamespace,
    traits: SuperblockTraits,
) -> (SuperblockNumber, DentryNumber) {
    let vfs = world.forest.vfs_mut();
    let superblock = vfs.new_superblock_owned(filesystem, owner, traits);
    (superblock, vfs.root_of(superblock))
}

impl Shared {
    pub fn read(&self) -> Ref<'_, World> {
        self.0.borrow()
    }

    /// Runs a change of the world, then drops what it gave up, then checks the invariants.
    pub fn change<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let result = act(&mut self.0.borrow_mut());
        if let Err(broken) = self.0.borrow().forest.check_invariants() {
            panic!("broken invariant: {broken}\n{:?}", self.0.borrow().forest);
        }
        result
    }
}

impl World {
    pub fn pin(&self, place: &Place) {
        self.forest.pin(place.mount);
    }

    pub fn unpin(&mut self, place: &Place) {
        if self.forest.unpin(place.mount) {
            drop(self.forest.reap(place.mount));
        }
    }

    /// Drops what an operation gave up.
    pub fn let_go(&mut self, released: Released<MemoryVfs>) {
        drop(released);
    }
}

/// Requires that a call was refused by this very rule.
#[track_caller]
pub fn refused<T>(outcome: Outcome<T>, rule: graft::Rule) {
    match outcome {
        Ok(_) => panic!("not refused by {rule}"),
        Err(failure) => assert_eq!(failure.rule, Some(rule), "{failure:?}"),
    }
}

/// A world with some directories below its working directory `/x`.
pub fn world_with(directories: &[&str]) -> Task {
    let task = new_world();
    for directory in directories {
        task.mkdir_all(&format!("/x/{directory}")).unwrap();
    }
    task
}
