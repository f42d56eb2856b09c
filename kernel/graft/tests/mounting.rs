//! New mounts: where they may go, their numbers, and mount-max (chapters O and F).

mod support;

use graft::flags::{MountFlags, PropagationType};
use graft::seam::DentryKind;
use graft::{Rule, Situation};
use support::{new_world, refused, world_with};

/// F9, L4: the target is raised to the top of its stack, also a covered working directory.
#[test]
fn a_second_mount_goes_on_top_of_the_first() {
    let task = world_with(&["a"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.chdir("a").unwrap();
    task.mount_tmpfs("B", "/x/a").unwrap();
    task.mount_tmpfs("C", ".").unwrap();
    assert_eq!(task.table(), "a=A; ^a=B; ^^a=C");
}

/// F9, F16: errors of the place, each by its rule.
#[test]
fn places_that_cannot_be_mounted_on() {
    let task = world_with(&["a", "gone"]);
    task.touch("file").unwrap();
    refused(task.mount_tmpfs("T", "file"), Rule::KindMismatch);
    task.chdir("gone").unwrap();
    task.rmdir("/x/gone").unwrap();
    refused(task.mount_tmpfs("T", "."), Rule::MountpointUnlinked);
    task.chdir("/x").unwrap();
    refused(task.mount_filesystem("pipefs", "p", "a", MountFlags::empty()), Rule::NotUserMountable);
    assert_eq!(task.table(), "");
}

/// F9: the same superblock at the same root is EBUSY; O17: elsewhere it is fine.
#[test]
fn one_filesystem_twice() {
    let task = world_with(&["a", "b"]);
    task.mount_tmpfs("A", "a").unwrap();
    refused(task.mount_again("a", "a"), Rule::SameFilesystem);
    task.mount_again("a", "b").unwrap();
    assert_eq!(task.table(), "a=A; b=none");
}

/// F9: a mount that is not, or no longer, in the caller's namespace (U16, X7).
#[test]
fn a_place_outside_the_namespace() {
    let task = world_with(&["a"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.chdir("a").unwrap();
    task.umount_lazily("/x/a").unwrap();
    refused(task.mount_tmpfs("M", "./m"), Rule::TargetElsewhere);
    assert_eq!(task.at(".", |world, place| world.forest.situation(place.mount)), Some(Situation::Unmounted));
}

/// F9: a symbolic link can be no new mount's root, but a detached clone of it can be attached (O2, A5).
#[test]
fn a_symbolic_link_as_root() {
    let task = world_with(&["d"]);
    task.create("link", DentryKind::Symlink).unwrap();
    task.touch("file").unwrap();
    task.open_tree("link", false, "F").unwrap();
    refused(task.attach("F", "d"), Rule::MoveKindMismatch);
    task.attach("F", "file").unwrap();
    assert_eq!(task.table(), "file=base:/link");
}

/// F11, P5: a new mount is private, or shared where its place is. F12: its flags are its own. F13: read-only places will do.
#[test]
fn what_a_new_mount_is() {
    let task = world_with(&["a", "b"]);
    task.mount_filesystem("tmpfs", "A", "a", MountFlags::RDONLY | MountFlags::NOSUID).unwrap();
    task.mount_tmpfs("B", "b").unwrap();
    task.make_shared("a").unwrap();
    task.mount_tmpfs("C", "a").unwrap();
    assert_eq!(task.table(), "a=A S1; ^a=C S2; b=B");
    let flags = task.at("a", |world, place| world.forest.flags(place.mount));
    assert_eq!(flags, Some(MountFlags::RELATIME));
}

/// F10: the source string is shown as given; F14: a removed directory can be the root of nothing.
#[test]
fn a_removed_source() {
    let task = world_with(&["a", "b"]);
    task.bind("a", "b").unwrap();
    task.rmdir("a").unwrap();
    assert_eq!(task.table(), "b=base:/a//deleted");
    // B8: the bind is usable, but neither a mountpoint nor a source.
    refused(task.mount_tmpfs("T", "b"), Rule::MountpointUnlinked);
    task.mkdir("c").unwrap();
    refused(task.bind("b", "c"), Rule::SourceUnlinked);
}

/// O6: the smallest free number, which a held mount keeps. O7: the same for groups, which end with their last member.
#[test]
fn numbers_are_the_smallest_free_ones() {
    let task = world_with(&["a", "b", "c"]);
    let number = |path: &str| task.at(path, |world, place| world.forest.mount_number(place.mount).unwrap());
    for (name, path) in [("A", "a"), ("B", "b")] {
        task.mount_tmpfs(name, path).unwrap();
        task.make_shared(path).unwrap();
    }
    assert_eq!((number("/"), number("/x"), number("a"), number("b")), (0, 1, 2, 3));
    task.umount("a").unwrap();
    task.mount_tmpfs("C", "c").unwrap();
    assert_eq!(number("c"), 2);
    task.make_shared("c").unwrap();
    assert!(task.mountinfo().contains("shared:1 - tmpfs C"), "the ended group's number is free");

    task.hold("c").unwrap();
    task.umount_lazily("c").unwrap();
    task.mount_tmpfs("A", "a").unwrap();
    assert_eq!(number("a"), 4, "2 belongs to the mount that is held");
    task.make_shared("a").unwrap();
    assert!(task.mountinfo().contains("shared:1 - tmpfs A"), "a held mount has no group");
    task.release();
    task.mount_tmpfs("C", "c").unwrap();
    assert_eq!(number("c"), 2);
}

/// O15, P12: mount-max counts each namespace's own mounts, copies too, and refuses all or nothing. F15: without a trace.
#[test]
fn mount_max() {
    let task = world_with(&["a", "b", "c"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.make_shared("a").unwrap();
    task.bind("a", "b").unwrap();
    let before = task.table();
    let set = |limit| task.world.change(|world| world.forest.set_mount_max(limit));
    // The root, /x, a, b: a mount on a and its copy on b would make six.
    set(5).unwrap();
    refused(task.mount_tmpfs("M", "a/m"), Rule::TooManyMounts);
    assert_eq!(task.table(), before);
    assert_eq!(set(0).unwrap_err().rule, Rule::MountMaxTooSmall);
    // A namespace copy and a move are not counted.
    set(4).unwrap();
    let other = task.unshare();
    task.make("/x", PropagationType::Private, true).unwrap();
    task.move_mount("b", "c").unwrap();
    other.exit();
    set(6).unwrap();
    task.make_shared("a").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    assert_eq!(task.table(), "a=A S2; a/m=M S3; c=A");
}

/// O5, P9: of a shadow pair the one attached last is visible, and the other when that one goes.
#[test]
fn a_shadow_pair() {
    let task = world_with(&["a", "b", "src"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.make_shared("a").unwrap();
    task.bind("a", "b").unwrap();
    task.make_slave("b").unwrap();
    task.mount_tmpfs("OLD", "b/m").unwrap();
    task.mount_tmpfs("LOW", "src").unwrap();
    task.chdir("src").unwrap();
    task.mount_tmpfs("HIGH", "/x/src").unwrap();
    task.open_tree(".", true, "F").unwrap();
    task.attach("F", "/x/a/m").unwrap();
    let shown = |path: &str| task.at(path, |world, place| String::from_utf8(world.forest.source(place.mount).unwrap().to_vec()).unwrap());
    assert_eq!(shown("/x/b/m"), "OLD");
    task.umount("/x/b/m").unwrap();
    assert_eq!(shown("/x/b/m"), "HIGH");
}

/// F4, O14: a caller without rights over its namespace is refused before anything else.
#[test]
fn a_caller_without_rights() {
    let task = new_world();
    let other = task.unshare_user(7);
    other.mount_tmpfs("T", "/x").unwrap();
    task.world.change(|world| world.tasks[1].credentials = graft::memory_vfs::RootIn(graft::memory_vfs::UserNamespace(8)));
    refused(other.mount_tmpfs("T", "/x"), Rule::NotAdmin);
    refused(other.umount("/x"), Rule::NotAdmin);
    refused(other.pivot_root("/x", "/x"), Rule::NotAdmin);
}

/// O14: a kernel-internal mount is in no namespace, and lives from its making to its last pin.
#[test]
fn a_kernel_internal_mount() {
    let task = new_world();
    task.world.change(|world| {
        let superblock = world.forest.vfs_mut().new_superblock("sockfs");
        let root = world.forest.vfs().root_of(superblock);
        let new = graft::NewMount { superblock, root, source: None, flags: MountFlags::empty() };
        let mount = world.forest.kern_mount(&new).unwrap();
        assert_eq!(world.forest.situation(mount), Some(Situation::Internal));
        world.forest.pin(mount);
        assert!(world.forest.kern_unmount(mount).is_empty());
        assert!(world.forest.unpin(mount));
        assert_eq!(world.forest.reap(mount).dead_mounts(), 1);
        assert_eq!(world.forest.situation(mount), None);
    });
}

/// F9: nothing whose root is a symbolic link can be mounted. O14, O12: ids of what is gone are refused.
#[test]
fn what_is_refused_whatever_the_place() {
    let task = world_with(&["a"]);
    task.create("link", DentryKind::Symlink).unwrap();
    task.world.change(|world| {
        let (target, link) = (world.walk(0, "/x/a").unwrap(), world.walk(0, "/x/link").unwrap());
        let superblock = *world.forest.superblock(link.mount).unwrap();
        let new = graft::NewMount { superblock, root: link.dentry, source: None, flags: MountFlags::empty() };
        let state = &world.tasks[0];
        let caller = graft::Caller { namespace: state.namespace, root: &state.root, credentials: &state.credentials };
        let refusal = world.forest.new_mount(&caller, &new, &target).unwrap_err();
        assert_eq!(refusal.rule, Rule::RootIsSymlink);
    });
    let gone = task.mount_tmpfs("A", "a").unwrap();
    task.umount("a").unwrap();
    let mut world = task.world.0.borrow_mut();
    assert_eq!(world.forest.get_write_access(gone).unwrap_err().rule, Rule::StaleMount);
    let namespace = world.tasks[0].namespace;
    let copy = world.forest.copy_namespace(namespace, &graft::memory_vfs::UserNamespace(0), [gone; 2]);
    let copy = copy.unwrap();
    assert_eq!(copy.copies, [None; 2]);
    assert!(world.forest.unpin_namespace(copy.namespace));
    drop(world.forest.release_namespace(copy.namespace));
    let refusal = world.forest.may_enter(&graft::memory_vfs::RootIn(graft::memory_vfs::UserNamespace(0)), copy.namespace);
    assert_eq!(refusal.unwrap_err().rule, Rule::StaleNamespace);
}
