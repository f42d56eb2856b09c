//! Binds (chapter B), moves (V), detached trees (A2 to A8), and mounts slipped beneath others (A9, A10).

mod support;

use graft::flags::{Locks, MountFlags, SuperblockTraits};
use graft::seam::NamespaceFile;
use graft::{Rule, Situation};
use support::{Task, refused, world_with};

/// Puts files of mount namespaces into `/x`: `own` of the first namespace, `younger` of one made after it.
fn with_namespace_files(directories: &[&str]) -> Task {
    let task = world_with(directories);
    task.world.change(|world| {
        let directory = world.walk(0, "/x").unwrap().dentry;
        let own = world.forest.sequence(world.tasks[0].namespace).unwrap();
        let files = [
            ("own", NamespaceFile::Mount { sequence: own }),
            ("younger", NamespaceFile::Mount { sequence: own + 1 }),
            ("net", NamespaceFile::Other),
        ];
        for (name, file) in files {
            world.forest.vfs_mut().create_namespace_file(directory, name, file).unwrap();
        }
    });
    for file in ["on_a", "on_b"] {
        task.touch(file).unwrap();
    }
    task
}

/// B2: the clone has the source's flags and source string, whatever mount is asked for; its root is the dentry given.
#[test]
fn a_bind_is_a_clone() {
    let task = world_with(&["a", "b"]);
    task.mount_filesystem("tmpfs", "A", "a", MountFlags::NODEV | MountFlags::NOATIME).unwrap();
    task.mkdir("a/d").unwrap();
    task.bind("a/d", "b").unwrap();
    assert_eq!(task.table(), "a=A; b=A:/d");
    let flags = task.at("b", |world, place| world.forest.flags(place.mount));
    assert_eq!(flags, Some(MountFlags::NODEV | MountFlags::NOATIME));
}

/// B3: recursion takes what is at or below the dentry, and leaves unbindable mounts and what is on them.
#[test]
fn what_a_recursive_bind_takes() {
    let task = world_with(&["t/d/in", "t/out", "b"]);
    task.bind("t", "t").unwrap();
    for path in ["t/d/in", "t/out"] {
        task.mount_tmpfs("M", path).unwrap();
    }
    task.rbind("t/d", "b").unwrap();
    assert_eq!(task.table(), "b=base:/t/d; b/in=M; t=base:/t; t/d/in=M; t/out=M");
    task.umount_lazily("b").unwrap();
    task.make_unbindable("t/d/in").unwrap();
    task.rbind("t", "b").unwrap();
    assert_eq!(task.table(), "b=base:/t; b/out=M; t=base:/t; t/d/in=M unbindable; t/out=M");
}

/// B1: refusals of binds, each by its rule.
#[test]
fn refused_binds() {
    let task = with_namespace_files(&["u", "gone", "b"]);
    refused(task.bind("own", "on_a"), Rule::BindNamespaceLoop);
    task.mount_tmpfs("U", "u").unwrap();
    task.make_unbindable("u").unwrap();
    refused(task.bind("u", "b"), Rule::BindUnbindable);
    refused(task.bind("u", "on_a"), Rule::BindUnbindable);
    refused(task.bind("b", "on_a"), Rule::KindMismatch);
    task.chdir("gone").unwrap();
    task.rmdir("/x/gone").unwrap();
    refused(task.bind("/x/b", "."), Rule::MountpointUnlinked);
    refused(task.bind(".", "/x/b"), Rule::SourceUnlinked);
    task.open_tree("/x/b", false, "F").unwrap();
    task.world.change(|world| {
        let place = world.tree_place("F");
        world.set_cwd(0, place);
    });
    refused(task.bind(".", "/x/b"), Rule::BindElsewhere);
    refused(task.bind("/x/b", "."), Rule::TargetElsewhere);
    refused(task.open_tree(".", false, "G"), Rule::BindElsewhere);
    refused(task.umount("."), Rule::UmountElsewhere);
}

/// N14, P6: a younger namespace's file can be bound, but not where it would be propagated. Others propagate.
#[test]
fn namespace_files() {
    let task = with_namespace_files(&["p", "q"]);
    task.bind("younger", "on_a").unwrap();
    assert_eq!(task.table(), "on_a=base:/younger");
    task.mount_tmpfs("P", "p").unwrap();
    task.touch("p/f").unwrap();
    task.make_shared("p").unwrap();
    task.bind("younger", "p/f").unwrap();
    task.umount("p/f").unwrap();
    task.bind("p", "q").unwrap();
    refused(task.bind("younger", "p/f"), Rule::PropagateNamespaceFile);
    task.bind("net", "p/f").unwrap();
    assert!(task.table().contains("q/f=base:/net"));
}

/// P6: a tree that holds such a file is propagated without it. B3: a recursive bind itself keeps it.
#[test]
fn namespace_files_are_left_out_of_copies() {
    let task = with_namespace_files(&["t", "p/s", "q"]);
    task.bind("t", "t").unwrap();
    task.touch("t/f").unwrap();
    task.bind("younger", "t/f").unwrap();
    task.bind("p", "p").unwrap();
    task.make_shared("p").unwrap();
    task.bind("p", "q").unwrap();
    task.rbind("t", "p/s").unwrap();
    assert!(task.table().contains("p/s/f=base:/younger"), "{}", task.table());
    assert!(task.table().contains("q/s=base:/t"));
    assert!(!task.table().contains("q/s/f"));
}

/// V1: refusals of moves, each by its rule.
#[test]
fn refused_moves() {
    let task = with_namespace_files(&["a", "b", "s"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir_all("a/m").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    refused(task.move_mount("b", "a"), Rule::MoveNotMountRoot);
    refused(task.move_mount("a", "on_a"), Rule::MoveKindMismatch);
    refused(task.move_mount("a", "a/m"), Rule::MoveIntoItself);
    refused(task.move_mount("a", "a"), Rule::MoveIntoItself);
    refused(task.move_mount("/", "b"), Rule::MoveNamespaceRoot);
    task.make_shared("a").unwrap();
    refused(task.move_mount("a/m", "b"), Rule::MoveParentShared);
    task.mount_tmpfs("S", "s").unwrap();
    task.make_unbindable("s").unwrap();
    refused(task.move_mount("s", "a"), Rule::MoveUnbindable);
    // V1, N14: a tree that holds the file of the own namespace, as a younger one can give it.
    task.world.change(|world| {
        let directory = world.walk(0, "/x/s").unwrap().dentry;
        let own = NamespaceFile::Mount { sequence: 1 };
        world.forest.vfs_mut().create_namespace_file(directory, "f", own).unwrap();
    });
    refused(task.move_mount("s", "a"), Rule::MoveUnbindable);
    task.chdir("s").unwrap();
    task.umount_lazily("/x/s").unwrap();
    refused(task.move_mount(".", "/x/b"), Rule::MoveNotMounted);
}

/// V1: ELOOP for a tree that holds the file of a namespace that is not younger than the mover's.
#[test]
fn a_namespace_cannot_hide_itself() {
    let task = with_namespace_files(&["t", "b"]);
    task.bind("t", "t").unwrap();
    task.touch("t/f").unwrap();
    task.bind("younger", "t/f").unwrap();
    let younger = task.unshare();
    // N3 left the file out of the copy; a detached tree can still carry it over.
    task.open_tree("t", true, "F").unwrap();
    refused(younger.attach("F", "/x/b"), Rule::MoveNamespaceLoop);
    task.attach("F", "b").unwrap();
    assert_eq!(task.table(), "b=base:/t; b/f=base:/younger; t=base:/t; t/f=base:/younger");
}

/// V2: a moved tree keeps groups, masters and marks, and becomes shared where its place is. V3: copies elsewhere stay.
#[test]
fn what_a_move_keeps() {
    let task = world_with(&["a", "b", "p", "q"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.make_shared("a").unwrap();
    task.bind("a", "b").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    task.make_private("a").unwrap();
    task.mount_tmpfs("P", "p").unwrap();
    task.mkdir("p/t").unwrap();
    task.make_shared("p").unwrap();
    task.bind("p", "q").unwrap();
    task.move_mount("a/m", "p/t").unwrap();
    assert_eq!(task.table(), "a=A; b=A S1; b/m=M S2; p=P S3; p/t=M S2; q=P S3; q/t=M S2");
}

/// A3, O13: a detached tree is in an anonymous namespace of its own. A5: it can be attached once, or dissolved.
#[test]
fn a_detached_tree() {
    let task = world_with(&["a", "b", "c"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    let tree = task.open_tree("a", true, "F").unwrap();
    {
        let world = task.world.read();
        assert_eq!(world.forest.situation(tree.root), Some(Situation::Detached(tree.namespace)));
        assert_eq!(world.forest.sequence(tree.namespace), Some(0));
        assert_eq!(world.forest.mount_count(tree.namespace), Some(2));
    }
    task.attach("F", "b").unwrap();
    assert_eq!(task.table(), "a=A; a/m=M; b=A; b/m=M");
    assert_eq!(task.world.read().forest.sequence(tree.namespace), None);
    task.attach("F", "c").unwrap();
    assert_eq!(task.table(), "a=A; a/m=M; c=A; c/m=M", "now it is an ordinary mount, moved by V");
    task.close_tree("F");
    assert_eq!(task.table(), "a=A; a/m=M; c=A; c/m=M");
    let tree = task.open_tree("a", true, "G").unwrap();
    task.close_tree("G");
    assert_eq!(task.world.read().forest.situation(tree.root), None);
}

/// A4: what cannot be done inside a detached tree, and what can.
#[test]
fn inside_a_detached_tree() {
    let task = world_with(&["a", "b"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    task.open_tree("a", true, "F").unwrap();
    task.world.change(|world| {
        let place = world.tree_place("F");
        world.set_cwd(0, place);
    });
    refused(task.mount_tmpfs("T", "./m"), Rule::TargetElsewhere);
    refused(task.umount("./m"), Rule::UmountElsewhere);
    refused(task.move_mount("./m", "/x/b"), Rule::MoveElsewhere);
    refused(task.remount_bind("./m", MountFlags::RDONLY, true), Rule::RemountElsewhere);
    task.make_shared(".").unwrap();
    task.make_shared("./m").unwrap();
    task.chdir("/x").unwrap();
    task.attach("F", "b").unwrap();
    assert_eq!(task.table(), "a=A; a/m=M; b=A S1; b/m=M S2");
}

/// O13: anonymous namespaces count against the user's limit.
#[test]
fn too_many_namespaces() {
    let task = world_with(&["a"]);
    task.world.change(|world| world.forest.vfs_mut().max_mount_namespaces = Some(2));
    task.open_tree("a", false, "F").unwrap();
    refused(task.open_tree("a", false, "G"), Rule::TooManyNamespaces);
    refused(task.fsmount("tmpfs", MountFlags::empty(), "G"), Rule::TooManyNamespaces);
    task.close_tree("F");
    task.fsmount("tmpfs", MountFlags::NOEXEC, "G").unwrap();
    // A17: private, with exactly these flags.
    let mount = task.world.read().trees["G"];
    assert_eq!(task.world.read().forest.flags(mount), Some(MountFlags::NOEXEC));
    assert_eq!(task.world.read().forest.group(mount), None);
}

/// A7, O15: an attached detached tree is new to the namespace and counted.
#[test]
fn an_attached_tree_counts() {
    let task = world_with(&["a"]);
    task.fsmount("tmpfs", MountFlags::empty(), "F").unwrap();
    task.world.change(|world| world.forest.set_mount_max(2)).unwrap();
    refused(task.attach("F", "a"), Rule::TooManyMounts);
    task.world.change(|world| world.forest.set_mount_max(3)).unwrap();
    task.attach("F", "a").unwrap();
}

/// A8: joining a group, and every reason against it.
#[test]
fn set_group() {
    let task = world_with(&["a", "b", "c", "plain", "slave"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/d").unwrap();
    task.bind("a/d", "b").unwrap();
    refused(task.set_group("a", "b"), Rule::SetGroupPrivate);
    task.make_shared("a").unwrap();
    refused(task.set_group("a", "plain"), Rule::SetGroupNotMountRoot);
    task.mount_tmpfs("C", "c").unwrap();
    refused(task.set_group("a", "c"), Rule::SetGroupOtherSuperblock);
    task.make_unbindable("b").unwrap();
    task.set_group("a", "b").unwrap();
    assert_eq!(task.table(), "a=A S1; b=A:/d S1; c=C");
    refused(task.set_group("a", "b"), Rule::SetGroupNotPrivate);
    task.make_private("a").unwrap();
    refused(task.set_group("b", "a"), Rule::SetGroupWider);
    // From a slave: only its master. The mark of an unbindable mount then stays.
    task.bind("b", "slave").unwrap();
    task.make_slave("slave").unwrap();
    task.bind("b", "c").unwrap();
    task.make_unbindable("c").unwrap();
    task.set_group("slave", "c").unwrap();
    assert_eq!(task.table(), "a=A; b=A:/d S1; c=C; ^c=A:/d M1 unbindable; slave=A:/d M1");
}

/// A8: both must be mounted, in namespaces that the caller has rights over, and no lock may stand between.
#[test]
fn set_group_across_rights() {
    let task = world_with(&["a", "b"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/d").unwrap();
    task.make_shared("a").unwrap();
    task.bind("a/d", "b").unwrap();
    task.make_private("b").unwrap();
    task.mount_tmpfs("ON", "a/d").unwrap();
    task.world.change(|world| {
        let mount = world.walk(0, "/x/a").unwrap().mount;
        assert_eq!(world.forest.locks(mount), Some(Locks::empty()));
    });
    let lesser = task.unshare_user(3);
    refused(lesser.set_group("/x/a", "/x/b"), Rule::SetGroupLockedChildren);
    let outside = task.world.read().tasks[0].root.clone();
    task.world.change(|world| world.set_root(1, outside));
    refused(lesser.set_group("/x/a", "/x/b"), Rule::SetGroupNotAdmin);
    task.chdir("b").unwrap();
    task.umount_lazily("/x/b").unwrap();
    refused(task.set_group("/x/a", "."), Rule::SetGroupNotMounted);
}

/// A10: what is slipped beneath carries what was there; receivers get a copy beneath as usual.
#[test]
fn beneath() {
    let task = world_with(&["p", "q", "n"]);
    task.mount_tmpfs("P", "p").unwrap();
    task.mkdir("p/m").unwrap();
    task.make_shared("p").unwrap();
    task.bind("p", "q").unwrap();
    task.mount_tmpfs("TOP", "p/m").unwrap();
    task.mount_tmpfs("N", "n").unwrap();
    task.move_beneath("n", "p/m").unwrap();
    assert_eq!(task.table(), "p=P S1; p/m=N S2; ^p/m=TOP S3; q=P S1; q/m=N S2; ^q/m=TOP S3");
}

/// A9: refusals, each by its rule.
#[test]
fn refused_beneath() {
    let task = world_with(&["p", "n", "self"]);
    task.mount_tmpfs("N", "n").unwrap();
    refused(task.move_beneath("n", "/"), Rule::BeneathNoParent);
    refused(task.move_beneath("n", "self"), Rule::BeneathNotMountRoot);
    refused(task.move_beneath("n", "/x"), Rule::BeneathNamespaceRoot);
    task.mount_tmpfs("P", "p").unwrap();
    task.chdir("n").unwrap();
    task.mount_tmpfs("ON", "/x/n").unwrap();
    refused(task.move_beneath(".", "/x/p"), Rule::BeneathSourceCovered);
    task.umount("/x/n").unwrap();
    task.chdir("/x").unwrap();
    task.mkdir("p/m").unwrap();
    task.mount_tmpfs("M", "p/m").unwrap();
    refused(task.move_beneath("p/m", "p"), Rule::BeneathDescendant);
    task.chroot("p").unwrap();
    task.chdir("/").unwrap();
    refused(task.move_beneath("m", "."), Rule::BeneathProcessRoot);
}

/// A9: the place is where the mount above is mounted, not what the path names; one without a parent counts as mounted on its root.
#[test]
fn beneath_an_unmounted_mount() {
    let task = world_with(&["p", "n"]);
    task.mount_tmpfs("N", "n").unwrap();
    task.mount_tmpfs("P", "p").unwrap();
    task.mkdir("p/d").unwrap();
    task.chdir("p/d").unwrap();
    task.umount_lazily("/x/p").unwrap();
    task.rmdir("../d").unwrap();
    refused(task.move_beneath("/x/n", "."), Rule::TargetElsewhere);
}

/// A9: nothing may be slipped beneath a mount that receives on its own root from the mount below.
#[test]
fn beneath_a_receiver() {
    let task = world_with(&["self", "n"]);
    task.mount_tmpfs("S", "self").unwrap();
    task.make_shared("self").unwrap();
    task.bind("self", "self").unwrap();
    task.mount_tmpfs("N", "n").unwrap();
    refused(task.move_beneath("n", "self"), Rule::BeneathTargetReceives);
    // The source is a peer of what it would be mounted on, at its very root.
    let task = world_with(&["s", "t"]);
    task.mount_tmpfs("S", "s").unwrap();
    task.chdir("s").unwrap();
    task.mount_tmpfs("ON", "/x/s").unwrap();
    task.make_shared(".").unwrap();
    task.bind(".", "/x/t").unwrap();
    refused(task.move_beneath("/x/t", "/x/s"), Rule::BeneathSourceReceives);
}

/// N12, A22: traits of superblocks are asked where they count.
#[test]
fn an_unmountable_filesystem_can_not_be_bound_either() {
    let task = world_with(&["a", "b"]);
    task.world.change(|world| {
        let target = world.walk(0, "/x/a").unwrap();
        let (superblock, root) = support::new_filesystem(world, "pipefs", graft::memory_vfs::UserNamespace(0), SuperblockTraits::NO_USER);
        let new = graft::NewMount { superblock, root, source: None, flags: MountFlags::empty() };
        let task = &world.tasks[0];
        let caller = graft::Caller { namespace: task.namespace, root: &task.root, credentials: &task.credentials };
        let refusal = world.forest.new_mount(&caller, &new, &target).unwrap_err();
        assert_eq!(refusal.rule, Rule::NotUserMountable);
    });
}
