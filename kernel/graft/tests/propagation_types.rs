//! Changing propagation types: the table of C3, who inherits slaves, and what is refused (chapter C).

mod support;

use graft::Rule;
use graft::flags::PropagationType::{self, Private, Shared, Slave, Unbindable};
use support::{Task, refused, world_with};

/// A mount at `/x/m` of each kind that a row of C3 names.
fn mount_of_kind(kind: &str) -> Task {
    let task = world_with(&["m", "peer", "master"]);
    let is_slave = kind.starts_with("slave");
    if is_slave {
        task.mount_tmpfs("T", "master").unwrap();
        task.make_shared("master").unwrap();
        task.bind("master", "m").unwrap();
        task.make_slave("m").unwrap();
    } else {
        task.mount_tmpfs("T", "m").unwrap();
    }
    if kind.contains("shared") {
        task.make_shared("m").unwrap();
    }
    if kind.contains("peers") {
        task.bind("m", "peer").unwrap();
    }
    if kind == "unbindable" {
        task.make_unbindable("m").unwrap();
    }
    task
}

/// C3, C5, C6, O10, O11: every row and column. What the mount is afterwards, and its peer where it has one.
#[test]
fn the_table_of_transitions() {
    let rows: [(&str, [&str; 4]); 7] = [
        ("private", ["m=T S1", "m=T", "m=T", "m=T unbindable"]),
        ("shared peers", ["m=T S1; peer=T S1", "m=T M1; peer=T S1", "m=T; peer=T S1", "m=T unbindable; peer=T S1"]),
        ("shared", ["m=T S1", "m=T", "m=T", "m=T unbindable"]),
        ("slave", ["m=T S1 M2; master=T S2", "m=T M1; master=T S1", "m=T; master=T S1", "m=T unbindable; master=T S1"]),
        (
            "slave shared peers",
            [
                "m=T S1 M2; master=T S2; peer=T S1 M2",
                "m=T M1; master=T S2; peer=T S1 M2",
                "m=T; master=T S1; peer=T S2 M1",
                "m=T unbindable; master=T S1; peer=T S2 M1",
            ],
        ),
        ("slave shared", ["m=T S1 M2; master=T S2", "m=T M1; master=T S1", "m=T; master=T S1", "m=T unbindable; master=T S1"]),
        ("unbindable", ["m=T S1", "m=T unbindable", "m=T", "m=T unbindable"]),
    ];
    for (kind, outcomes) in rows {
        for (to, expected) in [Shared, Slave, Private, Unbindable].into_iter().zip(outcomes) {
            let task = mount_of_kind(kind);
            task.make("m", to, false).unwrap();
            assert_eq!(task.table(), expected, "{kind} to {to:?}");
        }
    }
}

/// C5: the slaves of a leaving mount stay with its group while that lasts, then go to the group's master, then go free.
#[test]
fn slaves_are_handed_on() {
    let task = world_with(&["a", "b", "c", "d"]);
    task.mount_tmpfs("T", "a").unwrap();
    task.make_shared("a").unwrap();
    task.bind("a", "b").unwrap();
    task.bind("a", "c").unwrap();
    task.make_slave("c").unwrap();
    task.bind("c", "d").unwrap();
    task.make_shared("c").unwrap();
    task.make_shared("d").unwrap();
    assert_eq!(task.table(), "a=T S1; b=T S1; c=T S2 M1; d=T S3 M1");
    task.make_private("a").unwrap();
    assert_eq!(task.table(), "a=T; b=T S1; c=T S2 M1; d=T S3 M1");
    task.make_private("b").unwrap();
    assert_eq!(task.table(), "a=T; b=T; c=T S2; d=T S3");
}

/// C5: a peer with the same root inherits before one that merely comes next (X9 lets it be seen).
#[test]
fn the_heir_has_the_same_root() {
    let task = world_with(&["a", "b", "c", "s"]);
    task.mount_tmpfs("T", "a").unwrap();
    task.mkdir("a/d").unwrap();
    task.make_shared("a").unwrap();
    task.bind("a", "b").unwrap();
    task.bind("a/d", "c").unwrap();
    // The ring is a, c, b: c comes next, b has the root of a.
    task.make_slave("a").unwrap();
    let (a, b) = (task.mount_at("a"), task.mount_at("b"));
    assert_eq!(task.world.read().forest.master_mount(a), Some(b));
}

/// C8: making a plain slave a slave again moves it to the head of its master's list; O9 has the order.
#[test]
fn slave_order() {
    let task = world_with(&["a", "b", "c"]);
    task.mount_tmpfs("T", "a").unwrap();
    task.make_shared("a").unwrap();
    for path in ["b", "c"] {
        task.bind("a", path).unwrap();
        task.make_slave(path).unwrap();
    }
    let slaves = || {
        let master = task.mount_at("a");
        task.world.read().forest.slaves_of(master).collect::<Vec<_>>()
    };
    let (b, c) = (task.mount_at("b"), task.mount_at("c"));
    assert_eq!(slaves(), [c, b]);
    task.make_slave("b").unwrap();
    assert_eq!(slaves(), [b, c]);
}

/// O8: a clone joins right after the mount that it was cloned from.
#[test]
fn ring_order() {
    let task = world_with(&["a", "b", "c", "d"]);
    task.mount_tmpfs("T", "a").unwrap();
    task.make_shared("a").unwrap();
    for (from, to) in [("a", "b"), ("a", "c"), ("b", "d")] {
        task.bind(from, to).unwrap();
    }
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|path| task.mount_at(path));
    let world = task.world.read();
    let ring: Vec<_> = world.forest.group_members(world.forest.group(a).unwrap()).collect();
    let start = ring.iter().position(|&member| member == a).unwrap();
    let from_a: Vec<_> = ring.iter().cycle().skip(start).take(4).copied().collect();
    assert_eq!(from_a, [a, c, b, d]);
}

/// C4: a recursive change reaches every mount, in pre-order, whatever it was before.
#[test]
fn recursive_changes() {
    let task = world_with(&["a"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir_all("a/b/c").unwrap();
    task.mount_tmpfs("B", "a/b").unwrap();
    task.mkdir("a/b/c").unwrap();
    task.mount_tmpfs("C", "a/b/c").unwrap();
    task.make_unbindable("a/b").unwrap();
    let rec = |to: PropagationType| task.make("a", to, true).unwrap();
    rec(Shared);
    assert_eq!(task.table(), "a=A S1; a/b=B S2; a/b/c=C S3");
    let other = task.unshare();
    rec(Slave);
    assert_eq!(task.tables(), "[A] a=A M1; a/b=B M2; a/b/c=C M3; [B] a=A S1; a/b=B S2; a/b/c=C S3");
    rec(Unbindable);
    assert_eq!(task.table(), "a=A unbindable; a/b=B unbindable; a/b/c=C unbindable");
    other.exit();
    rec(Private);
    assert_eq!(task.table(), "a=A; a/b=B; a/b/c=C");
}

/// C4: peers in one tree that all become slaves: the last of a group that has no master is private, and so are all.
#[test]
fn a_group_that_leaves_as_a_whole() {
    for recursive_to in [Slave, Private] {
        let task = world_with(&["a", "b", "c"]);
        task.mount_tmpfs("T", "a").unwrap();
        task.make_shared("a").unwrap();
        task.bind("a", "b").unwrap();
        task.bind("a", "c").unwrap();
        task.make("/x", recursive_to, true).unwrap();
        assert_eq!(task.table(), "a=T; b=T; c=T");
    }
}

/// C1: the target must be a mount's root. C2, X6: mounted, and in a namespace that the caller has rights over.
#[test]
fn refusals() {
    let task = world_with(&["a", "plain"]);
    refused(task.make_shared("plain"), Rule::ChangeNotMountRoot);
    task.mount_tmpfs("A", "a").unwrap();
    task.chdir("a").unwrap();
    task.umount_lazily("/x/a").unwrap();
    refused(task.make_shared("."), Rule::ChangeNotMounted);

    // A task of a lesser user namespace whose root is still in the first namespace (C2).
    let other = task.unshare_user(5);
    let outside = task.world.read().tasks[0].root.clone();
    task.world.change(|world| world.set_root(1, outside));
    refused(other.make_private("/"), Rule::ChangeNotAdmin);
}

/// C7: no event, unlike a mount (W12).
#[test]
fn a_type_change_raises_no_event() {
    let task = world_with(&["a"]);
    let events = || {
        let world = task.world.read();
        world.forest.events(world.tasks[0].namespace).unwrap()
    };
    let before = events();
    task.mount_tmpfs("A", "a").unwrap();
    assert!(events() > before);
    let before = events();
    task.make_shared("a").unwrap();
    task.make("/x", Slave, true).unwrap();
    assert_eq!(events(), before);
}
