//! umount2, and mounts that go because their mountpoint did (chapter U, L16, L17).

mod support;

use graft::flags::{PropagationType, UmountFlags};
use graft::memory_vfs::{RootIn, UserNamespace};
use graft::{Rule, Situation};
use support::{Task, refused, world_with};

/// `/x/a` shared with `/x/b` as its slave, both with directories `m` and `m/k` inside where something is mounted on `m`.
fn master_and_slave() -> Task {
    let task = world_with(&["a", "b"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.make_shared("a").unwrap();
    task.bind("a", "b").unwrap();
    task.make_slave("b").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    task.mkdir("a/m/k").unwrap();
    task
}

/// U1: refusals, each by its rule. U5: the namespace's root stays, lazily or not.
#[test]
fn refusals() {
    let task = world_with(&["a", "plain"]);
    refused(task.umount("plain"), Rule::UmountNotMountRoot);
    refused(task.umount("/"), Rule::UmountNamespaceRoot);
    refused(task.umount_lazily("/"), Rule::UmountNamespaceRoot);
    task.mount_tmpfs("A", "a").unwrap();
    task.chdir("a").unwrap();
    refused(task.umount("/x/a"), Rule::UmountBusy);
    task.umount_lazily("/x/a").unwrap();
    refused(task.umount("."), Rule::UmountElsewhere);
    task.chdir("/x").unwrap();

    task.mount_tmpfs("A", "a").unwrap();
    let lesser = task.unshare_user(3);
    refused(lesser.umount("/x/a"), Rule::UmountLocked);
    lesser.mount_tmpfs("T", "/x/plain").unwrap();
    // X10: as in 6.6, FORCE asks for rights in the initial user namespace.
    refused(lesser.umount_with("/x/plain", UmountFlags::FORCE).map(drop), Rule::UmountForceNotAdmin);
    lesser.umount("/x/plain").unwrap();
    task.umount_with("/x/a", UmountFlags::FORCE).unwrap();
}

/// U7: children and references of every kind keep a mount from a plain umount.
#[test]
fn busy() {
    let task = world_with(&["a"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.hold("a/m").unwrap();
    refused(task.umount("a"), Rule::UmountBusy);
    task.release();
    task.mount_tmpfs("M", "a/m").unwrap();
    refused(task.umount("a"), Rule::UmountBusy);
    task.umount("a/m").unwrap();
    task.umount("a").unwrap();
}

/// U8: a copy in use is judged if it has no children but a topper, and ignored otherwise (U12).
#[test]
fn busy_copies() {
    let task = master_and_slave();
    task.hold("b/m").unwrap();
    refused(task.umount("a/m"), Rule::UmountCopyBusy);
    task.mount_tmpfs("TOP", "b/m").unwrap();
    refused(task.umount("a/m"), Rule::UmountCopyBusy);
    task.umount("b/m").unwrap();
    task.mount_tmpfs("K", "b/m/k").unwrap();
    task.umount("a/m").unwrap();
    assert_eq!(task.table(), "a=A S1; b=A M1; b/m=M; b/m/k=K");
}

/// U2: an unused mount is marked first and goes at the second call, unless it was used between.
#[test]
fn expiry() {
    let task = world_with(&["a"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    let expire = |flags| task.umount_with("a", UmountFlags::EXPIRE | flags).map(drop);
    refused(expire(UmountFlags::DETACH), Rule::ExpireFlags);
    refused(expire(UmountFlags::FORCE), Rule::ExpireFlags);
    task.hold("a").unwrap();
    refused(expire(UmountFlags::empty()), Rule::ExpireBusy);
    task.release();
    refused(expire(UmountFlags::empty()), Rule::ExpireMarked);
    task.hold("a/m").unwrap();
    task.release();
    refused(expire(UmountFlags::empty()), Rule::ExpireMarked);
    expire(UmountFlags::empty()).unwrap();
    assert_eq!(task.table(), "");
    task.chroot("/x").unwrap();
    refused(task.umount_with("/", UmountFlags::EXPIRE).map(drop), Rule::ExpireFlags);
}

/// U4: the process root is not unmounted but made read-only, before any busy check, by who may; lazily it goes.
#[test]
fn the_process_root() {
    let task = world_with(&["a"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.chroot("a").unwrap();
    task.chdir("/").unwrap();
    assert_eq!(task.umount_with("/", UmountFlags::empty()), Ok(true));
    task.umount_lazily("/").unwrap();
    let root = task.world.read().tasks[0].root.mount;
    assert_eq!(task.world.read().forest.situation(root), Some(Situation::Unmounted));

    let task = world_with(&["a"]);
    let lesser = task.unshare_user(3);
    task.make_shared("/x").unwrap();
    lesser.bind("/x/a", "/x/a").unwrap();
    lesser.chroot("/x/a").unwrap();
    refused(lesser.umount_with("/", UmountFlags::empty()).map(drop), Rule::UmountRootNotAdmin);
}

/// U10, U11: a locked copy goes with its parent, and as the counterpart of the target (K5), but not else.
#[test]
fn locked_copies() {
    let task = world_with(&["a"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    task.make("a", PropagationType::Shared, true).unwrap();
    let lesser = task.unshare_user(3);
    refused(lesser.umount("/x/a/m"), Rule::UmountLocked);
    task.umount("a/m").unwrap();
    assert_eq!(task.tables(), "[A] a=A S1; [B] a=A M1");
}

/// U13: a survivor slides down to where the removed stack was attached; U18, W12: each namespace that lost a mount hears of it.
#[test]
fn survivors_and_events() {
    let task = master_and_slave();
    task.mount_tmpfs("TOP", "b/m").unwrap();
    let other = task.unshare();
    let events = |index: usize| {
        let world = task.world.read();
        world.forest.events(world.tasks[index].namespace).unwrap()
    };
    let (mine, theirs) = (events(0), events(1));
    task.umount("a/m").unwrap();
    assert!(events(0) > mine && events(1) > theirs);
    assert_eq!(task.tables(), "[A] a=A S1; b=A M1; b/m=TOP; [B] a=A S1; b=A M1; b/m=TOP");
    other.exit();
}

/// U14, U15: lazily unmounted mounts come apart, have no group, and live for who holds them; O16: the way back is gone.
#[test]
fn a_held_tree_comes_apart() {
    let task = master_and_slave();
    task.make("a", PropagationType::Private, true).unwrap();
    task.chdir("a").unwrap();
    task.hold("/x/a/m").unwrap();
    task.umount_lazily("/x/a").unwrap();
    assert_eq!(task.at("./m", |world, place| world.forest.situation(place.mount)), Some(Situation::Unmounted));
    assert_eq!(task.list("./m"), [""; 0], "the directory under the mount");
    assert_eq!(task.mount_at(".."), task.mount_at("."), "nothing is above");
    assert_eq!(task.mountinfo().lines().count(), 4, "the root, /x, and the slave with its copy");
    let living = task.world.read().forest.mounts().count();
    task.release();
    task.chdir("/").unwrap();
    assert_eq!(task.world.read().forest.mounts().count(), living - 2);
}

/// U15: a lazy umount keeps locked children on their removed parent: nothing under them is revealed.
#[test]
fn locked_children_stay_connected() {
    let task = master_and_slave();
    task.make("/x", PropagationType::Private, true).unwrap();
    task.mount_tmpfs("K", "a/m/k").unwrap();
    let lesser = task.unshare_user(3);
    lesser.rbind("/x/a", "/x/b").unwrap();
    lesser.chdir("/x/b").unwrap();
    lesser.umount_lazily("/x/b").unwrap();
    let shown = lesser.at("./m/k", |world, place| world.forest.situation(place.mount));
    assert_eq!(shown, Some(Situation::Unmounted));
    assert_ne!(lesser.mount_at("./m"), lesser.mount_at("."), "still covered");
    lesser.chdir("/x").unwrap();
}

/// U17, L17: a name removed in one namespace takes the mounts on it in others, with their trees, connected, not propagated.
#[test]
fn a_removed_mountpoint() {
    let task = world_with(&["a", "b"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/s").unwrap();
    let other = task.unshare();
    other.mount_tmpfs("S", "/x/a/s").unwrap();
    other.mkdir("/x/a/s/k").unwrap();
    other.mount_tmpfs("K", "/x/a/s/k").unwrap();
    other.chdir("/x/a/s").unwrap();
    task.rmdir("a/s").unwrap();
    assert_eq!(task.tables(), "[A] a=A; [B] a=A");
    assert_ne!(other.mount_at("./k"), other.mount_at("."), "K is still connected to S");
    other.chdir("/").unwrap();
    assert_eq!(task.world.read().forest.mounts().count(), 6);
}

/// L16: in one's own namespace a mountpoint cannot be removed or renamed over, through whichever mount.
#[test]
fn a_mountpoint_of_ones_own() {
    let task = world_with(&["a/s", "b", "other"]);
    task.bind("a", "b").unwrap();
    task.mount_tmpfs("S", "a/s").unwrap();
    for attempt in [task.rmdir("a/s"), task.rmdir("b/s"), task.rename("b/s", "b/t"), task.rename("other", "a/s")] {
        assert_ne!(attempt, Ok(()));
    }
    assert_eq!(task.rmdir("b/s").unwrap_err().errno, "EBUSY");
    // A renamed ancestor takes the mount along.
    task.rename("a", "z").unwrap();
    assert_eq!(task.table(), "b=base:/z; z/s=S");
}

/// U3, U6: the checks that precede a filesystem's abort hook can be asked for alone.
#[test]
fn the_checks_alone() {
    let task = world_with(&["a"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.hold("a").unwrap();
    let world = task.world.read();
    let state = &world.tasks[0];
    let caller = graft::Caller { namespace: state.namespace, root: &state.root, credentials: &state.credentials };
    let target = world.walk(0, "/x/a").unwrap();
    assert_eq!(world.forest.check_umount(&caller, &target, UmountFlags::FORCE), Ok(()));
    let lesser = RootIn(UserNamespace(9));
    let caller = graft::Caller { credentials: &lesser, ..caller };
    let refusal = world.forest.check_umount(&caller, &target, UmountFlags::FORCE).unwrap_err();
    assert_eq!(refusal.rule, Rule::NotAdmin);
}

/// U9, U10, U12: a lazily unmounted tree takes the counterparts of all its mounts, but what has other children stays.
#[test]
fn a_tree_and_its_counterparts() {
    let task = master_and_slave();
    task.mount_tmpfs("K", "a/m/k").unwrap();
    task.mkdir("a/m/l").unwrap();
    task.mount_tmpfs("L", "b/m/l").unwrap();
    task.umount_lazily("a/m").unwrap();
    assert_eq!(task.table(), "a=A S1; b=A M1; b/m=M; b/m/l=L");
}
