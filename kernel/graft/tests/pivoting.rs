//! pivot_root: every refusal in order, and its effect (chapter R).

mod support;

use graft::Rule;
use graft::flags::PropagationType;
use support::{Task, refused, world_with};

/// A task whose root is a tmpfs stacked on the namespace's root, with a tmpfs `new` in it that has a directory `old`.
fn ready_to_pivot() -> Task {
    let task = world_with(&[]);
    task.mount_tmpfs("ROOT", "/").unwrap();
    task.chroot("/..").unwrap();
    task.chdir("/").unwrap();
    task.mkdir("/new").unwrap();
    task.mkdir("/dir").unwrap();
    task.mount_tmpfs("NEW", "/new").unwrap();
    task.mkdir("/new/old").unwrap();
    task
}

/// The mountpoints that the task sees, with their sources.
fn seen(task: &Task) -> Vec<String> {
    let text = task.mountinfo();
    let fields = |line: &str| -> Vec<String> { line.split(' ').map(str::to_string).collect() };
    text.lines()
        .map(fields)
        .map(|fields| {
            let dash = fields.iter().position(|field| field == "-").unwrap();
            format!("{} {}", fields[4], fields[dash + 2])
        })
        .collect()
}

/// R3, R4, R7: the roots change places; tasks at the old root move to the new one, others stay; the order is kept.
#[test]
fn the_roots_change_places() {
    let task = ready_to_pivot();
    let other = task.unshare();
    let bystander = task.world.read().tasks[1].root.clone();
    task.pivot_root("/new", "/new/old").unwrap();
    assert_eq!(seen(&task), ["/old ROOT", "/ NEW"]);
    assert_eq!(seen(&other), ["/ ROOT", "/new NEW"], "another namespace has other mounts");
    let world = task.world.read();
    assert_eq!(world.tasks[0].root.mount, world.tasks[0].cwd.mount);
    assert_eq!(world.tasks[1].root.mount, bystander.mount);
}

/// R4: only who is exactly at the old root is moved.
#[test]
fn who_is_elsewhere_stays() {
    let task = ready_to_pivot();
    task.chdir("/dir").unwrap();
    let before = task.world.read().tasks[0].cwd.mount;
    task.pivot_root("/new", "/new/old").unwrap();
    assert_eq!(task.world.read().tasks[0].cwd.mount, before);
}

/// R5: `pivot_root(".", ".")` stacks the old root on the new one, and a lazy umount of `.` takes it off.
#[test]
fn without_a_directory_for_the_old_root() {
    let task = ready_to_pivot();
    task.chdir("/new").unwrap();
    task.pivot_root(".", ".").unwrap();
    assert_eq!(seen(&task), ["/ ROOT", "/ NEW"]);
    assert_eq!(task.list("/"), ["old"], "L2: the root itself is not crossed");
    assert_eq!(task.list("/.."), ["dir", "new"], "but the way up is");
    task.umount_lazily(".").unwrap();
    assert_eq!(seen(&task), ["/ NEW"]);
}

/// R6: put_old may be a mountpoint already; the old root goes on top.
#[test]
fn put_old_is_a_mountpoint() {
    let task = ready_to_pivot();
    task.mount_tmpfs("COVER", "/new/old").unwrap();
    task.pivot_root("/new", "/new/old").unwrap();
    assert_eq!(seen(&task), ["/old ROOT", "/ NEW", "/old COVER"]);
    assert_eq!(task.list("/old"), ["dir", "new"]);
}

/// R1.1: nothing involved may be shared. R2: the new root itself may, where put_old is on another mount.
#[test]
fn shared_mounts() {
    let task = ready_to_pivot();
    task.make_shared("/new").unwrap();
    refused(task.pivot_root("/new", "/new/old"), Rule::PivotPutOldShared);
    task.mount_tmpfs("COVER", "/new/old").unwrap();
    task.make_private("/new/old").unwrap();
    task.pivot_root("/new", "/new/old").unwrap();

    let task = ready_to_pivot();
    task.make_shared("/").unwrap();
    refused(task.pivot_root("/new", "/new/old"), Rule::PivotNewParentShared);
    task.make_slave("/").unwrap();
    task.pivot_root("/new", "/new/old").unwrap();

    let task = ready_to_pivot();
    task.world.change(|world| {
        // The mount under the root mount, which no path of the task reaches.
        let root = world.tasks[0].root.mount;
        let under = world.forest.parent(root).unwrap();
        let place = graft::Place::new(under, *world.forest.root(under).unwrap());
        let state = &world.tasks[0];
        let caller = graft::Caller { namespace: state.namespace, root: &state.root, credentials: &state.credentials };
        world.forest.change_type(&caller, &place, PropagationType::Shared, false).unwrap();
    });
    refused(task.pivot_root("/new", "/new/old"), Rule::PivotRootParentShared);
}

/// R1: the other refusals, in their order.
#[test]
fn refusals() {
    let task = ready_to_pivot();
    task.touch("/file").unwrap();
    assert_eq!(task.pivot_root("/file", "/new").unwrap_err().errno, "ENOTDIR");
    assert_eq!(task.pivot_root("/nothing", "/new").unwrap_err().errno, "ENOENT");
    // R1.5, R2: a directory of the root mount.
    refused(task.pivot_root("/dir", "/dir"), Rule::PivotOnRootMount);
    refused(task.pivot_root("/new", "/dir"), Rule::PivotOnRootMount);
    // R1.7: a directory of another mount.
    refused(task.pivot_root("/new/old", "/new/old"), Rule::PivotNewNotMountRoot);
    // R1.8: put_old is elsewhere.
    task.mount_tmpfs("ELSE", "/dir").unwrap();
    refused(task.pivot_root("/new", "/dir"), Rule::PivotPutOldOutside);
    // R1.4 and R1: removed directories.
    task.mkdir("/new/gone").unwrap();
    task.chdir("/new/gone").unwrap();
    task.rmdir("/new/gone").unwrap();
    refused(task.pivot_root(".", "/new/old"), Rule::PivotNewUnlinked);
    refused(task.pivot_root("/new", "."), Rule::PivotPutOldUnlinked);
    task.chdir("/").unwrap();
    // R1.6: chrooted into a plain directory.
    let chrooted = ready_to_pivot();
    chrooted.mkdir("/dir/in").unwrap();
    chrooted.bind("/new", "/dir/in").unwrap();
    chrooted.chroot("/dir").unwrap();
    refused(chrooted.pivot_root("/in", "/in/old"), Rule::PivotRootNotMountRoot);
    // R1.6: the namespace's root mount itself.
    let bare = world_with(&["new/old"]);
    bare.mount_tmpfs("NEW", "new").unwrap();
    bare.mkdir("new/old").unwrap();
    refused(bare.pivot_root("new", "new/old"), Rule::PivotRootNoParent);
}

/// R1.9: new_root is a mount of the namespace that is not below the task's root. R1.3: the namespace's own root counts
/// as locked (X18).
#[test]
fn a_new_root_outside_the_root() {
    let task = ready_to_pivot();
    task.chdir("/new").unwrap();
    task.mount_tmpfs("JAIL", "/dir").unwrap();
    task.chroot("/dir").unwrap();
    refused(task.pivot_root(".", "./old"), Rule::PivotNewOutside);
    task.world.change(|world| {
        let root = world.forest.namespace_root(world.tasks[0].namespace).unwrap();
        let place = graft::Place::new(root, *world.forest.root(root).unwrap());
        world.set_cwd(0, place);
    });
    refused(task.pivot_root(".", "./x"), Rule::PivotLocked);
}

/// R1.2, R1.3: mounts of another namespace, and locked ones. R3: a locked old root hands its lock on.
#[test]
fn locks() {
    let task = ready_to_pivot();
    let lesser = task.unshare_user(3);
    refused(lesser.pivot_root("/new", "/new/old"), Rule::PivotLocked);
    lesser.bind("/new", "/dir").unwrap();
    lesser.pivot_root("/dir", "/dir/old").unwrap();
    refused(lesser.umount_lazily("/"), Rule::UmountLocked);
    lesser.umount_lazily("/old").unwrap();

    let outside = task.world.read().tasks[0].root.clone();
    lesser.world.change(|world| world.set_root(1, outside));
    refused(lesser.pivot_root("/new", "/new/old"), Rule::PivotElsewhere);
}
