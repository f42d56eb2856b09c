//! Flags of mounts: bind remount, remount, and mount_setattr (chapters M, A17 and A19 to A22).

mod support;

use graft::flags::{MountFlags, PropagationType};
use graft::memory_vfs::MemoryVfs;
use graft::{AttributeChange, AttributeWords, Caller, RemountFlags, Rule};
use support::{Task, refused, world_with};

fn flags_of(task: &Task, path: &str) -> MountFlags {
    task.at(path, |world, place| world.forest.flags(place.mount)).unwrap()
}

fn change(set: MountFlags, clear: MountFlags) -> AttributeChange<MemoryVfs> {
    AttributeChange { clear, set, propagation: None, idmap: None }
}

/// M1: refusals of a bind remount. M6: a writer keeps a mount from becoming read-only.
#[test]
fn refused_remounts() {
    let task = world_with(&["a", "plain"]);
    refused(task.remount_bind("plain", MountFlags::empty(), true), Rule::RemountNotMountRoot);
    let mount = task.mount_tmpfs("A", "a").unwrap();
    task.world.read().forest.get_write_access(mount).unwrap();
    refused(task.remount_bind("a", MountFlags::RDONLY, true), Rule::RemountBusy);
    task.remount_bind("a", MountFlags::NODEV, true).unwrap();
    let read_only = change(MountFlags::RDONLY, MountFlags::empty());
    refused(task.set_attributes("a", &read_only, false), Rule::SetattrBusy);
    task.world.read().forest.put_write_access(mount);
    task.remount_bind("a", MountFlags::RDONLY, true).unwrap();
    // L14
    let refusal = task.world.read().forest.get_write_access(mount).unwrap_err();
    assert_eq!(refusal.rule, Rule::ReadOnlyMount);
    assert_eq!(task.world.read().forest.writer_count(mount), 0);
    task.chdir("a").unwrap();
    task.umount_lazily("/x/a").unwrap();
    refused(task.remount_bind(".", MountFlags::empty(), true), Rule::RemountElsewhere);
}

/// M2: what is not repeated is cleared. M3: but for the atime bits where none is named.
#[test]
fn flags_are_replaced() {
    let task = world_with(&["a", "b"]);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    task.mount_filesystem("tmpfs", "A", "a", flags).unwrap();
    task.bind("a", "b").unwrap();
    task.remount_bind("a", MountFlags::NOEXEC | MountFlags::RELATIME, true).unwrap();
    assert_eq!(flags_of(&task, "a"), MountFlags::NOEXEC | MountFlags::NOATIME);
    task.remount_bind("a", MountFlags::RELATIME | MountFlags::NODIRATIME, false).unwrap();
    assert_eq!(flags_of(&task, "a"), MountFlags::RELATIME | MountFlags::NODIRATIME);
    assert_eq!(flags_of(&task, "b"), flags, "M1: only this mount");
}

/// M4, M7: a remount of the superblock is checked before and completed after it; the event comes even without a change.
#[test]
fn the_halves_of_a_remount() {
    let task = world_with(&["a"]);
    let mount = task.mount_tmpfs("A", "a").unwrap();
    task.world.change(|world| {
        let target = world.walk(0, "/x/a").unwrap();
        let flags = RemountFlags { flags: MountFlags::NOSUID, keeps_atime: true };
        let state = &world.tasks[0];
        let caller = Caller { namespace: state.namespace, root: &state.root, credentials: &state.credentials };
        world.forest.check_remount(&caller, &target, flags).unwrap();
        let superblock = *world.forest.superblock(mount).unwrap();
        assert!(!world.forest.superblock_has_writers(&superblock));
        world.forest.get_write_access(mount).unwrap();
        assert!(world.forest.superblock_has_writers(&superblock));
        world.forest.put_write_access(mount);
        let before = world.forest.events(state.namespace);
        world.forest.commit_remount(&target, flags);
        world.forest.commit_remount(&target, flags);
        assert_eq!(world.forest.events(state.namespace), before.map(|events| events + 2));
    });
    assert_eq!(flags_of(&task, "a"), MountFlags::NOSUID | MountFlags::RELATIME);
}

/// A21: cleared, then set, then the propagation; with recursion all or nothing.
#[test]
fn attributes_of_a_tree() {
    let task = world_with(&["a"]);
    task.mount_filesystem("tmpfs", "A", "a", MountFlags::NODEV | MountFlags::RELATIME).unwrap();
    task.mkdir("a/m").unwrap();
    let below = task.mount_tmpfs("M", "a/m").unwrap();
    let both = AttributeChange {
        clear: MountFlags::NODEV | MountFlags::NOEXEC,
        set: MountFlags::RDONLY | MountFlags::NOEXEC,
        propagation: Some(PropagationType::Shared),
        idmap: None,
    };
    task.world.read().forest.get_write_access(below).unwrap();
    refused(task.set_attributes("a", &both, true), Rule::SetattrBusy);
    assert_eq!(task.table(), "a=A; a/m=M");
    assert_eq!(flags_of(&task, "a"), MountFlags::NODEV | MountFlags::RELATIME);
    task.world.read().forest.put_write_access(below);
    task.set_attributes("a", &both, true).unwrap();
    assert_eq!(task.table(), "a=A S1; a/m=M S2");
    for path in ["a", "a/m"] {
        assert_eq!(flags_of(&task, path), MountFlags::RDONLY | MountFlags::NOEXEC | MountFlags::RELATIME);
    }
    let one = AttributeChange { propagation: Some(PropagationType::Private), ..both };
    task.set_attributes("a", &one, false).unwrap();
    assert_eq!(task.table(), "a=A; a/m=M S2");
}

/// A19: where attributes can be set, and who may clear what (K6).
#[test]
fn refused_attributes() {
    let task = world_with(&["a", "plain"]);
    let nodev = change(MountFlags::NODEV, MountFlags::empty());
    refused(task.set_attributes("plain", &nodev, false), Rule::SetattrNotMountRoot);
    task.mount_filesystem("tmpfs", "A", "a", MountFlags::NODEV | MountFlags::RELATIME).unwrap();
    let lesser = task.unshare_user(3);
    let clears = change(MountFlags::empty(), MountFlags::NODEV);
    refused(lesser.set_attributes("/x/a", &clears, false), Rule::SetattrLockedFlags);
    task.chdir("a").unwrap();
    task.umount_lazily("/x/a").unwrap();
    refused(task.set_attributes(".", &nodev, false), Rule::SetattrElsewhere);
}

/// A22: an id mapping goes onto a mount of a detached tree, once, and stays with its clones (B2, P7).
#[test]
fn id_mappings() {
    let task = world_with(&["a", "b", "none"]);
    task.mount_tmpfs("A", "a").unwrap();
    let mapped = || AttributeChange { idmap: Some(7), ..change(MountFlags::empty(), MountFlags::empty()) };
    refused(task.set_attributes("a", &mapped(), false), Rule::IdmapAttached);
    let in_tree = |file: &str| {
        let place = task.world.read().tree_place(file);
        task.world.change(|world| world.set_cwd(0, place));
        task.set_attributes(".", &mapped(), false)
    };
    let tree = task.open_tree("a", false, "F").unwrap();
    task.world.read().forest.get_write_access(tree.root).unwrap();
    refused(in_tree("F"), Rule::IdmapBusy);
    task.world.read().forest.put_write_access(tree.root);
    in_tree("F").unwrap();
    refused(in_tree("F"), Rule::IdmapTwice);
    task.attach("F", "/x/b").unwrap();
    assert!(task.mountinfo().lines().last().unwrap().contains("relatime,idmapped - tmpfs A"));

    task.mount_filesystem("proc", "P", "/x/none", MountFlags::empty()).unwrap();
    task.open_tree("/x/none", false, "G").unwrap();
    refused(in_tree("G"), Rule::IdmapUnsupported);
    let lesser = task.unshare_user(3);
    lesser.open_tree("/x/a", false, "H").unwrap();
    let place = task.world.read().tree_place("H");
    task.world.change(|world| world.set_cwd(lesser.index, place));
    refused(lesser.set_attributes(".", &mapped(), false), Rule::IdmapNotAdmin);
}

/// A17, A19, A20: the words of `struct mount_attr`.
#[test]
fn attribute_words() {
    let rule = |set, clear, propagation| AttributeWords::decode(set, clear, propagation).unwrap_err().rule;
    assert_eq!(rule(0x40_0000, 0, 0), Rule::SetattrAttributes);
    assert_eq!(rule(0, 0, 3 << 18), Rule::SetattrPropagation);
    assert_eq!(rule(0, 0, 1), Rule::SetattrPropagation);
    assert_eq!(rule(0x10, 0, 0), Rule::SetattrAtime);
    assert_eq!(rule(0, 0x10, 0), Rule::SetattrAtime);
    assert_eq!(rule(0x30, 0x70, 0), Rule::SetattrAtime);
    assert_eq!(rule(0, 0x10_0000, 0), Rule::IdmapCleared);
    let words = AttributeWords::decode(0x10_0000 | 0x20 | 0x80, 0x70 | 0x1, 1 << 19).unwrap();
    assert_eq!(words.set, MountFlags::NODIRATIME);
    assert_eq!(words.clear, MountFlags::RDONLY | MountFlags::NOATIME | MountFlags::RELATIME);
    assert_eq!(words.propagation, Some(PropagationType::Slave));
    assert!(words.sets_idmap);

    let fsmount = AttributeWords::decode_fsmount;
    assert_eq!(fsmount(0).unwrap(), MountFlags::RELATIME);
    assert_eq!(fsmount(0x20_0001 | 0x10).unwrap(), MountFlags::RDONLY | MountFlags::NOSYMFOLLOW | MountFlags::NOATIME);
    assert_eq!(fsmount(0x10_0000).unwrap_err().rule, Rule::FsmountAttributes);
    assert_eq!(fsmount(0x30).unwrap_err().rule, Rule::FsmountAttributes);
}
