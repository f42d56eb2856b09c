//! What the crate's front page promises of costs: memory of a mount, and operations whose cost does not grow with what they
//! do not touch. Work is counted in questions asked through the seam, which every step of a walk asks.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use graft::flags::{MountFlags, PropagationType, UmountFlags};
use graft::memory_vfs::{DentryNumber, MemoryVfs, RootIn, UserNamespace};
use graft::seam::DentryKind;
use graft::tracer::{Traced, Tracer};
use graft::{Caller, Forest, MountId, NamespaceId, NewMount, UmountOutcome, Vfs};

const ADMIN: RootIn = RootIn(UserNamespace(0));

/// A forest of one namespace over one filesystem with so many directories in its root.
struct Plain<V: Vfs> {
    forest: Forest<V>,
    namespace: NamespaceId,
    root: graft::Place<V>,
    directories: Vec<DentryNumber>,
}

type Question = Box<dyn Fn(Traced)>;

fn directories(vfs: &mut MemoryVfs, count: usize) -> (NewMount<MemoryVfs>, Vec<DentryNumber>) {
    let superblock = vfs.new_superblock("tmpfs");
    let root = vfs.root_of(superblock);
    let make = |number: usize| vfs.create(root, &format!("d{number}"), DentryKind::Directory).unwrap();
    let directories = (0..count).map(make).collect();
    (NewMount { superblock, root, source: None, flags: MountFlags::RELATIME }, directories)
}

fn plain(count: usize) -> Plain<MemoryVfs> {
    let mut vfs = MemoryVfs::new();
    let (new, directories) = directories(&mut vfs, count);
    let mut forest = Forest::new(vfs);
    let (namespace, mount) = forest.create_namespace(&UserNamespace(0), &new).unwrap();
    Plain { forest, namespace, root: graft::Place::new(mount, new.root), directories }
}

/// The same, with a counter of questions.
fn counted(count: usize) -> (Plain<Tracer<MemoryVfs, Question>>, Rc<Cell<u64>>) {
    let mut vfs = MemoryVfs::new();
    let (new, directories) = directories(&mut vfs, count);
    let questions = Rc::new(Cell::new(0));
    let counter = Rc::clone(&questions);
    let count_question: Question = Box::new(move |_| counter.set(counter.get() + 1));
    let mut forest = Forest::new(Tracer::new(vfs, count_question));
    let new = NewMount { superblock: new.superblock, root: new.root, source: None, flags: new.flags };
    let (namespace, mount) = forest.create_namespace(&UserNamespace(0), &new).unwrap();
    let root = graft::Place::new(mount, new.root);
    (Plain { forest, namespace, root, directories }, questions)
}

impl<V> Plain<V>
where
    V: Vfs<Dentry = DentryNumber, Superblock = graft::memory_vfs::SuperblockNumber, UserNamespace = UserNamespace, Credentials = RootIn>,
{
    fn caller(&self) -> (NamespaceId, graft::Place<V>) {
        (self.namespace, self.root.clone())
    }

    fn bind(&mut self, from: DentryNumber, to: (MountId, DentryNumber)) -> MountId {
        let (namespace, root) = self.caller();
        let caller = Caller { namespace, root: &root, credentials: &ADMIN };
        let source = graft::Place::new(root.mount, from);
        self.forest.bind(&caller, &source, &graft::Place::new(to.0, to.1), false).unwrap()
    }

    fn make(&mut self, mount: MountId, to: PropagationType, recursive: bool) {
        let (namespace, root) = self.caller();
        let caller = Caller { namespace, root: &root, credentials: &ADMIN };
        let target = graft::Place::new(mount, *self.forest.root(mount).unwrap());
        self.forest.change_type(&caller, &target, to, recursive).unwrap();
    }

    fn umount(&mut self, mount: MountId) {
        let (namespace, root) = self.caller();
        let caller = Caller { namespace, root: &root, credentials: &ADMIN };
        let target = graft::Place::new(mount, *self.forest.root(mount).unwrap());
        let outcome = self.forest.umount(&caller, &target, UmountFlags::DETACH, 0).unwrap();
        assert!(matches!(outcome, UmountOutcome::Unmounted(_)));
    }
}

#[test]
fn a_mount_takes_at_most_256_bytes() {
    const MOUNTS: usize = 20_000;
    let mut plain = plain(MOUNTS);
    let root = plain.root.mount;
    plain.forest.set_mount_max(u32::MAX).unwrap();
    for index in 0..MOUNTS {
        let directory = plain.directories[index];
        let mount = plain.bind(directory, (root, directory));
        plain.make(mount, PropagationType::Shared, false);
    }
    let per_mount = plain.forest.footprint_bytes() / MOUNTS;
    println!("{per_mount} bytes a mount, each in a group of its own");
    assert!(per_mount <= 256, "{per_mount} bytes a mount");
}

type Counted = Plain<Tracer<MemoryVfs, Question>>;

/// Runs `act` on worlds of growing size and requires that the questions it asks per unit do not grow.
fn require_linear(name: &str, act: impl Fn(&mut Counted, usize, &dyn Fn() -> u64) -> u64) {
    let per_unit = [20, 200, 2_000].map(|size| {
        let (mut world, questions) = counted(size + 2);
        world.forest.set_mount_max(u32::MAX).unwrap();
        let asked = act(&mut world, size, &|| questions.get());
        asked as f64 / size as f64
    });
    println!("{name}: {per_unit:.1?} questions a unit");
    assert!(per_unit[2] <= per_unit[0] * 1.2 + 1.0, "{name} is not linear: {per_unit:?}");
}

/// Mounts so many children on the root, each of them shared where asked. Returns them.
fn children(world: &mut Counted, count: usize, shared: bool) -> Vec<MountId> {
    let root = world.root.mount;
    (0..count)
        .map(|index| {
            let directory = world.directories[index];
            let mount = world.bind(directory, (root, directory));
            if shared {
                world.make(mount, PropagationType::Shared, false);
            }
            mount
        })
        .collect()
}

/// Makes one directory's mount and binds it at so many others: peers, made slaves where asked. Returns the first.
fn relatives(world: &mut Counted, count: usize, slaves: bool) -> (MountId, DentryNumber) {
    let root = world.root.mount;
    let directory = world.directories[count];
    let first = world.bind(directory, (root, directory));
    world.make(first, PropagationType::Shared, false);
    for index in 0..count {
        let (namespace, root_place) = world.caller();
        let caller = Caller { namespace, root: &root_place, credentials: &ADMIN };
        let source = graft::Place::new(first, directory);
        let target = graft::Place::new(root, world.directories[index]);
        let mount = world.forest.bind(&caller, &source, &target, false).unwrap();
        if slaves {
            world.make(mount, PropagationType::Slave, false);
        }
    }
    (first, directory)
}

#[test]
fn what_is_not_touched_costs_nothing() {
    for size in [10, 1_000] {
        let (mut world, questions) = counted(size + 1);
        children(&mut world, size, false);
        let (root, directory) = (world.root.mount, world.directories[size]);
        let before = questions.get();
        let mount = world.bind(directory, (root, directory));
        world.umount(mount);
        let asked = questions.get() - before;
        println!("bind and umount beside {size} mounts: {asked} questions");
        assert!(asked < 100, "{asked} questions");
    }
}

#[test]
fn a_namespace_is_copied_and_ended_in_linear_time() {
    require_linear("copy and end a namespace", |world, size, asked| {
        children(world, size, true);
        let before = asked();
        let copy = world.forest.copy_namespace(world.namespace, &UserNamespace(0), [world.root.mount; 2]).unwrap();
        assert!(world.forest.unpin_namespace(copy.namespace));
        drop(world.forest.release_namespace(copy.namespace));
        asked() - before
    });
}

#[test]
fn a_recursive_bind_and_its_end_are_linear() {
    require_linear("recursive bind and lazy umount", |world, size, asked| {
        children(world, size, false);
        let directory = world.directories[size];
        let before = asked();
        let (namespace, root) = world.caller();
        let caller = Caller { namespace, root: &root, credentials: &ADMIN };
        let target = graft::Place::new(root.mount, directory);
        let mount = world.forest.bind(&caller, &root, &target, true).unwrap();
        world.umount(mount);
        asked() - before
    });
}

#[test]
fn recursive_type_changes_are_linear() {
    for to in [PropagationType::Slave, PropagationType::Private] {
        require_linear(&format!("recursive change from shared to {to:?}"), |world, size, asked| {
            children(world, size, false);
            let root = world.root.mount;
            let before = asked();
            world.make(root, PropagationType::Shared, true);
            world.make(root, to, true);
            asked() - before
        });
    }
}

/// All mounts are of one group, with different roots and slaves: the case in which leaving is dearest (C5).
#[test]
fn a_whole_group_leaves_in_linear_time() {
    for to in [PropagationType::Slave, PropagationType::Private] {
        require_linear(&format!("a group of distinct roots becomes {to:?}"), |world, size, asked| {
            let root = world.root.mount;
            world.make(root, PropagationType::Shared, false);
            let copy = world.forest.copy_namespace(world.namespace, &UserNamespace(0), [root; 2]).unwrap();
            let other_root = copy.copies[0].unwrap();
            world.make(other_root, PropagationType::Slave, false);
            children(world, size, false);
            let before = asked();
            world.make(root, to, true);
            asked() - before
        });
    }
}

#[test]
fn propagation_is_linear_in_receivers() {
    for (slaves, name) in [(false, "peers"), (true, "slaves")] {
        require_linear(&format!("mount into and umount from {name}"), |world, size, asked| {
            let (first, directory) = relatives(world, size, slaves);
            let before = asked();
            let mount = world.bind(world.directories[0], (first, directory));
            world.umount(mount);
            asked() - before
        });
    }
}

#[test]
fn a_table_is_read_in_linear_time() {
    use graft::views::{Cursor, Table};
    require_linear("mountinfo", |world, size, asked| {
        children(world, size, true);
        let before = asked();
        let (namespace, root) = world.caller();
        let mut cursor = Cursor::default();
        let mut line = Vec::new();
        let mut lines = 0;
        while world.forest.write_next_line(Table::Mountinfo, namespace, &root, &mut cursor, &mut line).unwrap() {
            line.clear();
            lines += 1;
        }
        assert_eq!(lines, size + 1);
        asked() - before
    });
}
