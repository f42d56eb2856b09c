//! Namespaces: copies, ends, entering, what less privileged ones may do (chapters N and K), and visibility (N12).

mod support;

use graft::flags::{Locks, MountFlags, PropagationType};
use graft::memory_vfs::{RootIn, UserNamespace};
use graft::{Refusal, Rule};
use support::{Task, refused, world_with};

/// One mount of each propagation state.
fn one_of_each() -> Task {
    let task = world_with(&["private", "shared", "slave", "both", "unbindable"]);
    task.mount_tmpfs("P", "private").unwrap();
    task.mount_tmpfs("S", "shared").unwrap();
    task.make_shared("shared").unwrap();
    for path in ["slave", "both"] {
        task.bind("shared", path).unwrap();
        task.make_slave(path).unwrap();
    }
    task.make_shared("both").unwrap();
    task.mount_tmpfs("U", "unbindable").unwrap();
    task.make_unbindable("unbindable").unwrap();
    task
}

/// N2, N4, X2: a copy for the same user is alike in everything, unbindable mounts too.
#[test]
fn a_copy_for_the_same_user() {
    let task = one_of_each();
    let copy = task.unshare();
    let expected = "both=S S1 M2; private=P; shared=S S2; slave=S M2; unbindable=U unbindable";
    assert_eq!(task.table(), expected);
    assert_eq!(copy.table(), expected);
}

/// N5, K2, N15: a copy for another user only receives, and is locked.
#[test]
fn a_copy_for_another_user() {
    let task = one_of_each();
    let copy = task.unshare_user(3);
    assert_eq!(
        task.tables(),
        "[A] both=S S1 M2; private=P; shared=S S2; slave=S M2; unbindable=U unbindable; \
         [B] both=S M1; private=P; shared=S M2; slave=S M2; unbindable=U unbindable"
    );
    let locks = copy.at("/x/private", |world, place| world.forest.locks(place.mount)).unwrap();
    assert_eq!(locks, Locks::MOUNT | Locks::ATIME);
}

/// N1, N6, N7: root and working directory move to the copies; a place that was not copied stays. New numbers ascend in pre-order.
#[test]
fn places_in_a_copy() {
    let task = world_with(&["b", "a"]);
    for path in ["b", "a"] {
        task.mount_tmpfs("T", path).unwrap();
    }
    task.mkdir("b/m").unwrap();
    task.mount_tmpfs("M", "b/m").unwrap();
    task.chdir("a").unwrap();
    let copy = task.unshare();
    let world = task.world.read();
    assert_eq!(world.tasks[1].cwd.dentry, world.tasks[0].cwd.dentry);
    assert!(world.forest.is_in_namespace(world.tasks[1].cwd.mount, world.tasks[1].namespace));
    drop(world);
    task.umount_lazily(".").unwrap();
    let outside = task.unshare();
    let world = task.world.read();
    assert_eq!(world.tasks[2].cwd.mount, world.tasks[0].cwd.mount, "it was unmounted: no copy");
    drop(world);
    let text = copy.mountinfo();
    let rows: Vec<(u32, &str)> = text
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[0].parse().unwrap(), fields[4])
        })
        .collect();
    assert!(rows.is_sorted(), "{rows:?}");
    let paths: Vec<&str> = rows.iter().map(|row| row.1).collect();
    assert_eq!(paths, ["/", "/x", "/x/b", "/x/b/m", "/x/a"]);
    outside.exit();
}

/// N1, O13: a user has so many namespaces.
#[test]
fn too_many() {
    let task = world_with(&[]);
    task.world.change(|world| {
        world.forest.vfs_mut().max_mount_namespaces = Some(1);
        let (namespace, root) = (world.tasks[0].namespace, world.tasks[0].root.mount);
        let refusal = world.forest.copy_namespace(namespace, &UserNamespace(0), [root; 2]).unwrap_err();
        assert_eq!(refusal.rule, Rule::TooManyNamespaces);
        world.forest.copy_namespace(namespace, &UserNamespace(1), [root; 2]).unwrap();
    });
}

/// N8, N9, U19: a namespace ends with its last pin; nothing is propagated, but slaves elsewhere are handed on.
#[test]
fn the_end_of_a_namespace() {
    let task = world_with(&["a"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.make_shared("a").unwrap();
    let other = task.unshare();
    other.mount_tmpfs("M", "/x/a/m").unwrap();
    task.make_slave("a").unwrap();
    let namespace = task.world.read().tasks[1].namespace;
    task.world.read().forest.pin_namespace(namespace);
    other.exit();
    assert_eq!(task.table(), "a=A M1; a/m=M S2", "an open file keeps it");
    task.world.change(|world| {
        assert_eq!(world.forest.namespace_pin_count(namespace), 1);
        assert!(world.forest.release_namespace(namespace).is_empty(), "not while it is pinned");
        assert!(world.forest.unpin_namespace(namespace));
        assert!(!world.forest.release_namespace(namespace).is_empty());
    });
    assert_eq!(task.table(), "a=A; a/m=M S2");
    assert_eq!(task.world.read().forest.vfs().charged_namespaces(UserNamespace(0)), 1);
}

/// N10: setns needs rights over the namespace, and leads to the top of the stack at its root.
#[test]
fn entering() {
    let task = world_with(&[]);
    let lesser = task.unshare_user(3);
    lesser.mount_tmpfs("TOP", "/").unwrap();
    let world = task.world.read();
    let (own, theirs) = (world.tasks[0].namespace, world.tasks[1].namespace);
    let entry = world.forest.namespace_entry(theirs).unwrap();
    assert_eq!(world.forest.source(entry.mount).unwrap().as_ref(), b"TOP");
    let credentials = world.tasks[1].credentials;
    assert_eq!(world.forest.may_enter(&credentials, theirs), Ok(()));
    let refusal: Refusal = world.forest.may_enter(&credentials, own).unwrap_err();
    assert_eq!(refusal.rule, Rule::EnterNotAdmin);
    assert_eq!(world.forest.namespace_owner(theirs), Some(&UserNamespace(3)));
}

/// O12, N14: namespaces are numbered by age.
#[test]
fn sequence_numbers_grow() {
    let task = world_with(&[]);
    let (one, two) = (task.unshare(), task.unshare());
    let world = task.world.read();
    let sequence = |task: &Task| world.forest.sequence(world.tasks[task.index].namespace).unwrap();
    assert!(sequence(&task) < sequence(&one) && sequence(&one) < sequence(&two));
    assert!(world.forest.sequence(world.tasks[0].namespace) > Some(0));
}

/// K1, K5: what a mount's lock refuses, and what it allows.
#[test]
fn the_lock_of_a_mount() {
    let task = world_with(&["a", "b"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    task.make_unbindable("a/m").unwrap();
    let lesser = task.unshare_user(3);
    refused(lesser.umount_lazily("/x/a"), Rule::UmountLocked);
    refused(lesser.move_mount("/x/a", "/x/b"), Rule::MoveLocked);
    lesser.mount_tmpfs("T", "/x/b").unwrap();
    refused(lesser.move_beneath("/x/b", "/x/a"), Rule::BeneathLocked);
    refused(lesser.bind("/x/a", "/x/b"), Rule::BindLockedChildren);
    refused(lesser.open_tree("/x/a", false, "F"), Rule::BindLockedChildren);
    refused(lesser.rbind("/x/a", "/x/b"), Rule::BindUnbindableLocked);
    lesser.bind("/x/a/m", "/x/b").unwrap_err();
    lesser.make("/x/a/m", PropagationType::Private, false).unwrap();
    // B4: the clone's root is not locked, what is on it stays so.
    lesser.rbind("/x/a", "/x/b").unwrap();
    refused(lesser.umount("/x/b/m"), Rule::UmountLocked);
    lesser.umount_lazily("/x/b").unwrap();
    // Mounting over it and taking that away again is allowed.
    lesser.mount_tmpfs("OVER", "/x/a/m").unwrap();
    lesser.umount("/x/a/m").unwrap();
}

/// K3: a further copy for the same user has the same locks. K9: a privileged namespace's own clones have none.
#[test]
fn locks_are_copied() {
    let task = world_with(&["a", "b"]);
    task.mount_tmpfs("A", "a").unwrap();
    let lesser = task.unshare_user(3);
    let again = lesser.unshare();
    refused(again.umount("/x/a"), Rule::UmountLocked);
    task.bind("a", "b").unwrap();
    let locks = task.at("b", |world, place| world.forest.locks(place.mount));
    assert_eq!(locks, Some(Locks::empty()));
}

/// K4, P13: a tree that is propagated to a less privileged namespace can be taken away as a whole, not in parts.
/// K8, X11: what it is tucked under is not locked.
#[test]
fn a_propagated_tree_is_locked_but_for_its_root() {
    let task = world_with(&["a", "src"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.make_shared("a").unwrap();
    task.mount_filesystem("tmpfs", "S", "src", MountFlags::NODEV | MountFlags::RELATIME).unwrap();
    task.mkdir("src/k").unwrap();
    task.mount_tmpfs("K", "src/k").unwrap();
    let lesser = task.unshare_user(3);
    lesser.mount_tmpfs("COVER", "/x/a/m").unwrap();
    task.rbind("src", "a/m").unwrap();
    lesser.umount("/x/a/m").unwrap();
    refused(lesser.umount("/x/a/m/k"), Rule::UmountLocked);
    let cleared = lesser.remount_bind("/x/a/m", MountFlags::RELATIME, true);
    refused(cleared, Rule::RemountLockedFlags);
    lesser.umount_lazily("/x/a/m").unwrap();
    assert_eq!(lesser.table(), "a=A M1; src=S; src/k=K");
}

/// K6: locked flags cannot be cleared, atime not changed; more flags can come, and go again.
#[test]
fn locked_flags() {
    let task = world_with(&["a"]);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    task.mount_filesystem("tmpfs", "A", "a", flags | MountFlags::RELATIME).unwrap();
    let lesser = task.unshare_user(3);
    let remount = |flags| lesser.remount_bind("/x/a", flags, true);
    for flag in flags.iter() {
        refused(remount(flags - flag), Rule::RemountLockedFlags);
    }
    refused(lesser.remount_bind("/x/a", flags | MountFlags::NOATIME, false), Rule::RemountLockedFlags);
    remount(flags | MountFlags::NOSYMFOLLOW).unwrap();
    remount(flags).unwrap();
    let shown = lesser.at("/x/a", |world, place| world.forest.flags(place.mount));
    assert_eq!(shown, Some(flags | MountFlags::RELATIME));
}

/// N12: proc may be mounted by a lesser user only where all of it can be seen already; its locks are inherited.
#[test]
fn visibility() {
    let task = world_with(&["proc", "p2"]);
    let proc_flags = MountFlags::RELATIME;
    let mount_proc = |task: &Task, flags| task.mount_filesystem("proc", "proc", "/x/p2", flags);
    let lesser = task.unshare_user(3);
    refused(mount_proc(&lesser, proc_flags), Rule::TooRevealing);
    lesser.exit();

    task.mount_filesystem("proc", "proc", "proc", proc_flags).unwrap();
    task.mkdir("proc/sys").unwrap();
    task.mkdir("proc/empty").unwrap();
    let empty = task.at("proc/empty", |_, place| place.dentry);
    task.world.change(|world| world.forest.vfs_mut().set_permanently_empty(empty));
    task.mount_tmpfs("ON", "proc/empty").unwrap();
    let lesser = task.unshare_user(4);
    mount_proc(&lesser, proc_flags).unwrap();
    let locks = lesser.at("/x/p2", |world, place| world.forest.locks(place.mount));
    assert_eq!(locks, Some(Locks::ATIME));
    lesser.umount("/x/p2").unwrap();
    refused(mount_proc(&lesser, MountFlags::NOATIME), Rule::TooRevealing);
    lesser.exit();

    // A locked mount on something that is not empty hides it.
    task.mount_tmpfs("HIDES", "proc/sys").unwrap();
    let lesser = task.unshare_user(5);
    refused(mount_proc(&lesser, proc_flags), Rule::TooRevealing);
    lesser.exit();
    task.umount("proc/sys").unwrap();

    // A read-only one is weaker than a writable one would be; the initial user namespace is not asked.
    task.remount_bind("proc", MountFlags::RDONLY | MountFlags::RELATIME, false).unwrap();
    let lesser = task.unshare_user(6);
    refused(mount_proc(&lesser, proc_flags), Rule::TooRevealing);
    mount_proc(&lesser, proc_flags | MountFlags::RDONLY).unwrap();
    mount_proc(&task, proc_flags).unwrap();
}

/// K7: the superblock of another user namespace cannot be remounted; types of locked mounts can be changed.
#[test]
fn anothers_superblock() {
    let task = world_with(&["a"]);
    task.mount_tmpfs("A", "a").unwrap();
    let lesser = task.unshare_user(3);
    let allowed =
        |credentials| task.at("a", |world, place| world.forest.may_remount_superblock(&credentials, place).map_err(|refusal| refusal.rule));
    assert_eq!(allowed(RootIn(UserNamespace(0))), Ok(()));
    assert_eq!(allowed(RootIn(UserNamespace(3))), Err(Rule::RemountNotAdmin));
    lesser.make_shared("/x/a").unwrap();
}
