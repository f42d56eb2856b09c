//! Plan, then commit: every operation, with the allocator failing at the n-th request for every n, either does all or leaves
//! the forest exactly as it was (F15). What must never fail does its work without any memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use graft::flags::{MountFlags, PropagationType, SuperblockTraits, UmountFlags};
use graft::memory_vfs::{DentryNumber, MemoryVfs, RootIn, UserNamespace};
use graft::seam::DentryKind;
use graft::views::Table;
use graft::{AttributeChange, Caller, Forest, MountId, NamespaceId, NewMount, Refusal, Rule, UmountOutcome};

type Place = graft::Place<MemoryVfs>;

const ADMIN: RootIn = RootIn(UserNamespace(0));
/// Mounts in the tree that is copied: enough for every table to have to grow.
const TREE: usize = 150;

/// The system's allocator, which refuses once this thread has used up its requests.
struct Failing;

thread_local! {
    static REQUESTS_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

fn is_granted() -> bool {
    REQUESTS_LEFT.with(|left| {
        let granted = left.get() > 0;
        left.set(left.get().saturating_sub(u64::from(left.get() != u64::MAX)));
        granted
    })
}

// SAFETY: every request is passed on to the system's allocator unchanged, or answered with null, as `GlobalAlloc` allows.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_granted() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !is_granted() {
            return std::ptr::null_mut();
        }
        // SAFETY: the pointer came from `System`, with this layout; the new size is the caller's promise.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Runs something with so many allocations granted.
fn with_allocations<T>(granted: u64, act: impl FnOnce() -> T) -> T {
    REQUESTS_LEFT.with(|left| left.set(granted));
    let result = act();
    REQUESTS_LEFT.with(|left| left.set(u64::MAX));
    result
}

/// A namespace with a shared tree, a peer and a slave of it, and a private tree of [`TREE`] mounts.
#[derive(Clone)]
struct World {
    forest: Forest<MemoryVfs>,
    namespace: NamespaceId,
    root: Place,
    shared: Place,
    private: Place,
    peer: Place,
    detached: Place,
}

impl World {
    fn new() -> Self {
        let mut vfs = MemoryVfs::new();
        let superblock = vfs.new_superblock("tmpfs");
        let root = vfs.root_of(superblock);
        let names = ["shared", "peer", "slave", "private", "spot"];
        let spots = names.map(|name| vfs.create(root, name, DentryKind::Directory).unwrap());
        let mut deep = Vec::new();
        for number in 0..TREE {
            deep.push(vfs.create(spots[3], &format!("d{number}"), DentryKind::Directory).unwrap());
        }
        vfs.create(root, "m", DentryKind::Directory).unwrap();
        let new = NewMount { superblock, root, source: None, flags: MountFlags::RELATIME };
        let mut forest = Forest::new(vfs);
        let (namespace, rootfs) = forest.create_namespace(&UserNamespace(0), &new).unwrap();
        let root = Place::new(rootfs, root);
        let mut world =
            Self { forest, namespace, root: root.clone(), shared: root.clone(), private: root.clone(), peer: root.clone(), detached: root };
        world.populate(spots, &deep);
        world
    }

    fn populate(&mut self, spots: [DentryNumber; 5], deep: &[DentryNumber]) {
        let [shared, peer, slave, private, _] = spots;
        let on_root = |dentry| Place::new(self.root.mount, dentry);
        let (shared, peer, slave, private) = (on_root(shared), on_root(peer), on_root(slave), on_root(private));
        let root = self.root.clone();
        self.shared = self.bind(&root, &shared);
        self.make(&self.shared.clone(), PropagationType::Shared);
        self.peer = self.bind(&self.shared.clone(), &peer);
        let slave = self.bind(&self.shared.clone(), &slave);
        self.make(&slave, PropagationType::Slave);
        self.private = self.bind(&private, &private);
        for &directory in deep {
            let spot = Place::new(self.private.mount, directory);
            self.bind(&spot, &spot);
        }
        let caller = caller(&self.root, self.namespace);
        let tree = self.forest.open_tree(&caller, &self.private, true).unwrap();
        self.detached = Place::new(tree.root, *self.forest.root(tree.root).unwrap());
        self.forest.pin(tree.root);
    }

    fn bind(&mut self, source: &Place, target: &Place) -> Place {
        let caller = caller(&self.root, self.namespace);
        let mount = self.forest.bind(&caller, source, target, false).unwrap();
        Place::new(mount, *self.forest.root(mount).unwrap())
    }

    fn make(&mut self, target: &Place, to: PropagationType) {
        let caller = caller(&self.root, self.namespace);
        self.forest.change_type(&caller, target, to, false).unwrap();
    }

    /// A directory `name` of the filesystem, seen through a mount.
    fn spot(&self, mount: MountId, name: &str) -> Place {
        Place::new(mount, self.forest.vfs().lookup(self.root.dentry, name).unwrap())
    }
}

fn caller(root: &Place, namespace: NamespaceId) -> Caller<'_, MemoryVfs> {
    Caller { namespace, root, credentials: &ADMIN }
}

/// Runs an operation with 0, 1, 2, … allocations granted, until it succeeds. Each refusal must be for memory and change nothing.
fn all_or_nothing<T>(prepare: impl Fn(&mut World), operation: impl Fn(&mut World, &Caller<'_, MemoryVfs>) -> Result<T, Refusal>) {
    let mut prepared = World::new();
    prepare(&mut prepared);
    for granted in 0.. {
        let mut world = prepared.clone();
        let root = world.root.clone();
        let namespace = world.namespace;
        let outcome = with_allocations(granted, || operation(&mut world, &caller(&root, namespace)).map(drop));
        world.forest.check_invariants().unwrap_or_else(|broken| panic!("{granted} allocations: {broken}"));
        match outcome {
            Ok(()) => {
                println!("{granted} allocations suffice");
                assert!(granted > 0, "the test does not reach an allocation");
                return;
            }
            Err(refusal) => {
                assert_eq!(refusal.rule, Rule::OutOfMemory, "with {granted} allocations");
                assert!(world.forest == prepared.forest, "{granted} allocations: the refusal left a trace");
            }
        }
        assert!(granted < 1_000, "the operation never succeeds");
    }
}

#[test]
fn new_mount() {
    all_or_nothing(
        |world| {
            world.forest.vfs_mut().new_superblock_owned("tmpfs", UserNamespace(0), SuperblockTraits::empty());
        },
        |world, caller| {
            let superblock = *world.forest.superblock(world.root.mount).unwrap();
            let spot = world.spot(world.shared.mount, "m");
            let new = NewMount { superblock, root: world.root.dentry, source: None, flags: MountFlags::RDONLY };
            world.forest.new_mount(caller, &new, &spot)
        },
    );
}

#[test]
fn recursive_bind_to_a_shared_mount() {
    all_or_nothing(
        |_| (),
        |world, caller| {
            let (source, target) = (world.private.clone(), world.spot(world.shared.mount, "m"));
            world.forest.bind(caller, &source, &target, true)
        },
    );
}

#[test]
fn move_to_a_shared_mount() {
    all_or_nothing(
        |_| (),
        |world, caller| {
            let (source, target) = (world.private.clone(), world.spot(world.shared.mount, "m"));
            world.forest.move_mount(caller, &source, &target, false)
        },
    );
}

#[test]
fn move_beneath() {
    all_or_nothing(
        |world| {
            let spot = world.spot(world.shared.mount, "m");
            let root = world.root.clone();
            world.bind(&root, &spot);
        },
        |world, caller| {
            let (source, target) = (world.private.clone(), world.spot(world.shared.mount, "m"));
            world.forest.move_mount(caller, &source, &target, true)
        },
    );
}

#[test]
fn attach_a_detached_tree() {
    all_or_nothing(
        |_| (),
        |world, caller| {
            let (source, target) = (world.detached.clone(), world.spot(world.shared.mount, "m"));
            world.forest.move_mount(caller, &source, &target, false)
        },
    );
}

#[test]
fn make_a_tree_shared() {
    all_or_nothing(
        |_| (),
        |world, caller| {
            let target = world.private.clone();
            world.forest.change_type(caller, &target, PropagationType::Shared, true)
        },
    );
}

#[test]
fn copy_a_namespace() {
    all_or_nothing(|_| (), |world, _| world.forest.copy_namespace(world.namespace, &UserNamespace(0), [world.root.mount; 2]));
}

#[test]
fn clone_a_tree() {
    all_or_nothing(
        |_| (),
        |world, caller| {
            let source = world.private.clone();
            world.forest.open_tree(caller, &source, true)
        },
    );
}

#[test]
fn mount_detached() {
    all_or_nothing(
        // Fills the arena's chunk, so that one more mount needs another.
        |world| {
            while world.forest.mounts().count() % 64 != 0 {
                world.bind(&world.root.clone(), &world.spot(world.root.mount, "spot"));
            }
        },
        |world, caller| {
            let superblock = *world.forest.superblock(world.root.mount).unwrap();
            let new = NewMount { superblock, root: world.root.dentry, source: None, flags: MountFlags::empty() };
            world.forest.fsmount(caller, &new)
        },
    );
}

#[test]
fn set_attributes_and_propagation() {
    all_or_nothing(
        |_| (),
        |world, caller| {
            let target = world.private.clone();
            let change = AttributeChange {
                clear: MountFlags::empty(),
                set: MountFlags::NODEV,
                propagation: Some(PropagationType::Shared),
                idmap: None,
            };
            world.forest.set_attributes(caller, &target, &change, true)
        },
    );
}

#[test]
fn pivot_root() {
    all_or_nothing(
        |world| {
            let spot = world.spot(world.root.mount, "spot");
            world.root = world.bind(&world.root.clone(), &world.root.clone());
            let spot = Place::new(world.root.mount, spot.dentry);
            world.private = world.bind(&world.root.clone(), &spot);
        },
        |world, caller| {
            let new_root = world.private.clone();
            let put_old = world.spot(new_root.mount, "m");
            world.forest.pivot_root(caller, &new_root, &put_old)
        },
    );
}

#[test]
fn a_table_in_proc() {
    all_or_nothing(
        |_| (),
        |world, _| {
            let mut text = Vec::new();
            let written = world.forest.write_table(Table::Mountinfo, world.namespace, &world.root, &mut text);
            written.map_err(Refusal::from)
        },
    );
}

/// Survivors that change place may need memory (U13); all else of umount does not.
#[test]
fn umount_with_a_survivor() {
    let mut world = World::new();
    let spot = world.spot(world.shared.mount, "m");
    let root = world.root.clone();
    let lower = world.bind(&root, &spot);
    let upper_spot = world.spot(world.peer.mount, "m");
    let top = world.forest.top_of_stack(&upper_spot);
    world.make(&top, PropagationType::Private);
    let upper = world.bind(&root, &top);
    let without_memory = with_allocations(0, || {
        let caller = Caller { namespace: world.namespace, root: &root, credentials: &ADMIN };
        world.forest.umount(&caller, &lower, UmountFlags::empty(), 0)
    });
    match without_memory {
        Ok(UmountOutcome::Unmounted(_)) => {
            assert_eq!(world.forest.parent(upper.mount), Some(world.peer.mount), "the survivor slid down");
        }
        Ok(UmountOutcome::RemountRootReadOnly(_)) => panic!("not the root"),
        Err(refusal) => assert_eq!(refusal.rule, Rule::OutOfMemory),
    }
    world.forest.check_invariants().unwrap();
}

/// A tree of mounts, a namespace and a detached tree go without a single allocation, and their handles come with a later bag.
#[test]
fn what_must_not_fail_needs_no_memory() {
    let mut world = World::new();
    let copy = world.forest.copy_namespace(world.namespace, &UserNamespace(0), [world.root.mount; 2]).unwrap();
    assert!(world.forest.unpin_namespace(copy.namespace));
    let living = world.forest.mounts().count();
    with_allocations(0, || {
        drop(world.forest.release_namespace(copy.namespace));
        drop(world.forest.dissolve(world.detached.mount));
        assert!(world.forest.unpin(world.detached.mount));
        drop(world.forest.reap(world.detached.mount));
        let caller = Caller { namespace: world.namespace, root: &world.root, credentials: &ADMIN };
        let outcome = world.forest.umount(&caller, &world.private, UmountFlags::DETACH, 0);
        assert!(matches!(outcome, Ok(UmountOutcome::Unmounted(_))));
    });
    world.forest.check_invariants().unwrap();
    let gone = living - world.forest.mounts().count();
    assert_eq!(gone, 3 * (TREE + 1) + 4, "the namespace, the detached tree and the private tree");
    let spot = world.forest.vfs().lookup(world.root.dentry, "spot").unwrap();
    assert_eq!(world.forest.detach_mounts(&spot).dead_mounts(), gone, "the dead were kept for a bag with room");
    world.forest.check_invariants().unwrap();
}
