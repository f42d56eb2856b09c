//! Who gets a copy of what is mounted, and how the copies are related (chapter P); binds onto shared mounts (B5 to B7).

mod support;

use graft::Situation;
use support::{Task, world_with};

/// `/x/a` shared, with a directory `m`, and at each further path a bind of the one before, made as its letter says:
/// `p`eer, `s`lave, shared and slave (`b`oth).
fn chain(kinds: &[(&str, &str, char)]) -> Task {
    let mut directories = vec!["a"];
    directories.extend(kinds.iter().map(|kind| kind.1));
    let task = world_with(&directories);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir_all("/x/a/m").unwrap_or_else(|_| task.mkdir("a/m").unwrap());
    task.make_shared("a").unwrap();
    for &(from, to, kind) in kinds {
        task.bind(from, to).unwrap();
        if kind != 'p' {
            task.make_slave(to).unwrap();
        }
        if kind == 'b' {
            task.make_shared(to).unwrap();
        }
    }
    task
}

/// P1: peers, slaves, and slaves of slaves receive; masters do not.
#[test]
fn receivers() {
    let task = chain(&[("a", "b", 'p'), ("b", "c", 'b'), ("c", "d", 's')]);
    task.mount_tmpfs("M", "c/m").unwrap();
    assert_eq!(task.table(), "a=A S1; b=A S1; c=A S2 M1; c/m=M S3; d=A M2; d/m=M M3");
    task.mount_tmpfs("N", "b/m").unwrap();
    assert_eq!(
        task.table(),
        "a=A S1; a/m=N S4; b=A S1; b/m=N S4; c=A S2 M1; c/m=N S5 M4; ^c/m=M S3; \
         d=A M2; d/m=N M5; ^d/m=M M3"
    );
}

/// P2: receivers that do not show the mountpoint, or are in detached trees, get nothing. O3: places are pairs.
#[test]
fn who_gets_no_copy() {
    let task = chain(&[("a", "b", 'p')]);
    task.mkdir_all("/x/a/d/e").unwrap_or_else(|_| {
        task.mkdir("a/d").unwrap();
        task.mkdir("a/d/e").unwrap();
    });
    task.mkdir("narrow").unwrap();
    task.bind("a/d", "narrow").unwrap();
    let tree = task.open_tree("a", false, "F").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    assert_eq!(task.table(), "a=A S1; a/m=M S2; b=A S1; b/m=M S2; narrow=A:/d S1");
    let world = task.world.read();
    assert_eq!(world.forest.children_of(tree.root).count(), 0);
    assert!(matches!(world.forest.situation(tree.root), Some(Situation::Detached(_))));
}

/// P3, P5: a shared destination makes the whole source shared, even where no one receives.
#[test]
fn the_source_becomes_shared() {
    let task = chain(&[]);
    task.mkdir("src").unwrap();
    task.mount_tmpfs("S", "src").unwrap();
    task.mkdir("src/k").unwrap();
    task.mount_tmpfs("K", "src/k").unwrap();
    task.rbind("src", "a/m").unwrap();
    assert_eq!(task.table(), "a=A S1; a/m=S S2; a/m/k=K S3; src=S; src/k=K");
}

/// P4, P14: the relation of copies to the nearest ancestor that has one, over levels that have none.
#[test]
fn relations_skip_levels_without_copies() {
    let task = chain(&[("a", "b", 'b'), ("b", "c", 'b'), ("c", "d", 's')]);
    task.mkdir("a/d").unwrap();
    // The middle group is left with a member that shows only /d.
    task.mkdir("bd").unwrap();
    task.bind("b/d", "bd").unwrap();
    task.umount("b").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    assert_eq!(task.table(), "a=A S1; a/m=M S2; bd=A:/d S3 M1; c=A S4 M3; c/m=M S5 M2; d=A M4; d/m=M M5");
}

/// P4: further members of a slave group join the group of the first one's copy.
#[test]
fn members_of_a_slave_group() {
    let task = chain(&[("a", "b", 'b'), ("b", "c", 'p'), ("c", "d", 's')]);
    task.mount_tmpfs("M", "a/m").unwrap();
    assert_eq!(task.table(), "a=A S1; a/m=M S2; b=A S3 M1; b/m=M S4 M2; c=A S3 M1; c/m=M S4 M2; d=A M3; d/m=M M4");
}

/// P7: copies have the flags of their source; P8: they go beneath what a receiver has there.
#[test]
fn copies_are_tucked() {
    use graft::flags::MountFlags;
    let task = chain(&[("a", "b", 's')]);
    task.mount_tmpfs("OLD", "b/m").unwrap();
    task.hold("b/m").unwrap();
    let flags = MountFlags::NODEV | MountFlags::NOATIME;
    task.mount_filesystem("tmpfs", "NEW", "a/m", flags).unwrap();
    assert_eq!(task.table(), "a=A S1; a/m=NEW S2; b=A M1; b/m=NEW M2; ^b/m=OLD");
    let top = task.mount_at("b/m");
    let world = task.world.read();
    let copy = world.forest.parent(top).unwrap();
    assert_eq!(world.forest.flags(copy), Some(flags));
}

/// P10: groups are numbered in the order of copying: the source, then slave groups from the top down.
#[test]
fn the_order_of_copies() {
    let task = chain(&[("a", "b", 'b'), ("b", "c", 'b'), ("a", "d", 'b')]);
    task.mount_tmpfs("M", "a/m").unwrap();
    let shared = |path: &str| {
        task.at(path, |world, place| world.forest.group(place.mount).and_then(|group| world.forest.group_number(group)).unwrap())
    };
    // d was made a slave last and heads the list of a; b and its slave c follow.
    assert!(shared("a/m") < shared("d/m") && shared("d/m") < shared("b/m") && shared("b/m") < shared("c/m"));
}

/// V5: a moved slave of its destination's group receives a copy inside itself, by the type that it had before. V4 and W6 aside.
#[test]
fn a_moved_mount_can_receive() {
    let task = chain(&[("a", "b", 's')]);
    task.move_mount("b", "a/m").unwrap();
    assert_eq!(task.table(), "a=A S1; a/m=A S2 M1; a/m/m=A M2");
}

/// B5: what a bind is, by its source, on places that are shared and that are not.
#[test]
fn the_matrix_of_binds() {
    // Whether the bind is shared on a plain place, whether it is in its source's group, whether it has a master.
    let rows = [("private", false, false, false), ("shared", true, true, false), ("slave", false, false, true), ("both", true, true, true)];
    for (kind, is_shared_anyway, joins, has_master) in rows {
        for on_shared in [false, true] {
            let task = world_with(&["master", "src", "dest"]);
            task.mount_tmpfs("T", "master").unwrap();
            if has_master {
                task.make_shared("master").unwrap();
            }
            task.bind("master", "src").unwrap();
            if has_master {
                task.make_slave("src").unwrap();
            }
            if joins {
                task.make_shared("src").unwrap();
            }
            task.mount_tmpfs("DEST", "dest").unwrap();
            task.mkdir("dest/d").unwrap();
            if on_shared {
                task.make_shared("dest").unwrap();
            }
            let (source, bind) = (task.mount_at("src"), task.bind("src", "dest/d").unwrap());
            let world = task.world.read();
            let group = world.forest.group(bind);
            assert_eq!(group.is_some(), is_shared_anyway || on_shared, "{kind} on shared: {on_shared}");
            assert_eq!(group.is_some() && group == world.forest.group(source), joins, "{kind}");
            assert_eq!(world.forest.master(bind), world.forest.master(source), "{kind}");
            assert_eq!(world.forest.master(bind).is_some(), has_master, "{kind}");
        }
    }
}

/// B6, B7: binds inside themselves end; a second bind of a shared mount onto itself makes two new mounts.
#[test]
fn binds_onto_themselves() {
    let task = chain(&[]);
    task.bind("a", "a/m").unwrap();
    assert_eq!(task.table(), "a=A S1; a/m=A S1");
    task.umount("a/m").unwrap();
    task.bind("a", "a").unwrap();
    task.bind("a", "a").unwrap();
    assert_eq!(task.table(), "a=A S1; ^a=A S1; ^^a=A S1; ^^^a=A S1");
}

/// U16, C2: files of an unmounted mount stay usable, but nothing can be made of it. L19: nor of removed directories.
#[test]
fn an_unmounted_mount() {
    let task = chain(&[]);
    task.chdir("a").unwrap();
    task.umount_lazily("/x/a").unwrap();
    task.mkdir("./usable").unwrap();
    for attempt in [
        task.mount_tmpfs("T", "./m").map(drop),
        task.bind("/x", "./m").map(drop),
        task.bind(".", "/x/a").map(drop),
        task.move_mount(".", "/x/a"),
        task.open_tree(".", false, "F").map(drop),
        task.make_shared("."),
    ] {
        assert_eq!(attempt.unwrap_err().errno, "EINVAL");
    }
    task.chdir("/x").unwrap();
    task.mkdir_all("/x/up/down").unwrap();
    task.chdir("up/down").unwrap();
    task.rmdir("/x/up/down").unwrap();
    task.rmdir("/x/up").unwrap();
    assert_eq!(task.mount_tmpfs("T", ".").unwrap_err().errno, "ENOENT");
}
