//! What programs read: paths (L8), the tables in `/proc` (chapter W), listmount and statmount (X16).

mod support;

use graft::flags::{MountFlags, PropagationType, SuperFlags};
use graft::memory_vfs::{RootIn, UserNamespace};
use graft::views::{Cursor, ListStart, PathEnd, Table};
use graft::{Caller, Rule};
use support::{Task, world_with};

/// W3, W4, W7: every field of mountinfo. O12: the root's parent is itself.
#[test]
fn mountinfo() {
    let task = world_with(&["a", "b"]);
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let atime = MountFlags::NOATIME | MountFlags::NODIRATIME | MountFlags::NOSYMFOLLOW;
    task.mount_filesystem("tmpfs", "A", "a", flags | atime).unwrap();
    task.mkdir("a/d").unwrap();
    task.make_shared("a").unwrap();
    task.bind("a/d", "b").unwrap();
    task.make_slave("b").unwrap();
    task.make_unbindable("/x").unwrap();
    let superblock = task.at("a", |world, place| *world.forest.superblock(place.mount).unwrap());
    let super_flags = SuperFlags::SYNCHRONOUS | SuperFlags::LAZYTIME;
    task.world.change(|world| world.forest.vfs_mut().set_super_flags(superblock, super_flags));
    let options = "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";
    assert_eq!(
        task.mountinfo(),
        format!(
            "0 0 0:1 / / rw,relatime - rootfs rootfs rw\n\
             1 0 0:2 / /x rw,relatime unbindable - tmpfs base rw\n\
             2 1 0:3 / /x/a {options} shared:1 - tmpfs A rw,sync,lazytime\n\
             3 1 0:3 /d /x/b {options} master:1 - tmpfs A rw,sync,lazytime\n"
        )
    );
}

/// W9, W10, M5: the other two tables; read-only is what either level says.
#[test]
fn mounts_and_mountstats() {
    let task = world_with(&["a"]);
    task.mount_again("/x", "a").unwrap();
    let superblock = task.at("a", |world, place| *world.forest.superblock(place.mount).unwrap());
    let super_flags = SuperFlags::RDONLY | SuperFlags::DIRSYNC | SuperFlags::MANDLOCK;
    task.world.change(|world| world.forest.vfs_mut().set_super_flags(superblock, super_flags));
    assert_eq!(
        task.view(Table::Mounts),
        "rootfs / rootfs rw,relatime 0 0\n\
         base /x tmpfs ro,dirsync,mand,relatime 0 0\n\
         none /x/a tmpfs ro,dirsync,mand,relatime 0 0\n"
    );
    assert_eq!(
        task.view(Table::Mountstats),
        "device rootfs mounted on / with fstype rootfs\n\
         device base mounted on /x with fstype tmpfs\n\
         no device mounted on /x/a with fstype tmpfs\n"
    );
}

/// W8, F10: escapes, and an empty source.
#[test]
fn escapes() {
    let task = world_with(&["a b\\#", "e"]);
    task.mount_tmpfs("s#1\n", "a b\\#").unwrap();
    task.mount_tmpfs("", "e").unwrap();
    let text = task.mountinfo();
    let lines: Vec<&str> = text.lines().skip(2).collect();
    assert_eq!(lines[0], "2 1 0:3 / /x/a\\040b\\134# rw,relatime - tmpfs s\\0431\\012 rw");
    assert_eq!(lines[1], "3 1 0:4 / /x/e rw,relatime - tmpfs  rw");
}

/// W2: what a chrooted reader sees, and one whose root is unmounted.
#[test]
fn the_readers_root() {
    let task = world_with(&["a/in", "b"]);
    task.mount_tmpfs("IN", "a/in").unwrap();
    task.mount_tmpfs("B", "b").unwrap();
    task.chroot("a").unwrap();
    assert_eq!(task.mountinfo(), "2 1 0:3 / /in rw,relatime - tmpfs IN rw\n");
    task.chroot("in").unwrap_err();
    task.chroot("/in").unwrap();
    task.umount_lazily("/").unwrap();
    assert_eq!(task.mountinfo(), "");
}

/// W5: the group that a slave's mounts come from, as far as it can be seen.
#[test]
fn propagate_from() {
    let task = world_with(&["a", "b", "c"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.make_shared("a").unwrap();
    for (from, to) in [("a", "b"), ("b", "c")] {
        task.bind(from, to).unwrap();
        task.make_slave(to).unwrap();
        task.make_shared(to).unwrap();
    }
    task.make("c", PropagationType::Slave, false).unwrap();
    let other = task.unshare();
    other.umount("/x/b").unwrap();
    assert_eq!(task.table(), "a=A S1; b=A S2 M1; c=A M2");
    assert_eq!(other.table(), "a=A S1; c=A M2 from1");
    other.umount("/x/a").unwrap();
    assert_eq!(other.table(), "c=A M2");
}

/// Reads line by line, as a program with a small buffer does.
fn read_some(task: &Task, cursor: &mut Cursor, lines: usize) -> Vec<String> {
    let world = task.world.read();
    let state = &world.tasks[task.index];
    let mut read = Vec::new();
    for _ in 0..lines {
        let mut line = Vec::new();
        let table = Table::Mounts;
        if !world.forest.write_next_line(table, state.namespace, &state.root, cursor, &mut line).unwrap() {
            break;
        }
        let line = String::from_utf8(line).unwrap();
        read.push(line.split(' ').next().unwrap().to_string());
    }
    read
}

/// W6: the order of joining, which a move does not change. W11: a reader interrupted by changes.
#[test]
fn a_reader_among_changes() {
    let task = world_with(&["a", "b", "c", "d"]);
    for (name, path) in [("A", "a"), ("B", "b"), ("C", "c")] {
        task.mount_tmpfs(name, path).unwrap();
    }
    let mut cursor = Cursor::default();
    assert_eq!(read_some(&task, &mut cursor, 3), ["rootfs", "base", "A"]);
    task.umount("b").unwrap();
    task.umount("a").unwrap();
    task.mount_tmpfs("D", "d").unwrap();
    task.move_mount("c", "a").unwrap();
    assert_eq!(read_some(&task, &mut cursor, 9), ["C", "D"]);
    task.mount_tmpfs("E", "b").unwrap();
    assert_eq!(read_some(&task, &mut cursor, 9), ["E"], "what comes at the end is still read");
    assert_eq!(read_some(&task, &mut cursor, 9), [""; 0]);
    assert_eq!(read_some(&task, &mut Cursor::default(), 9), ["rootfs", "base", "C", "D", "E"]);
}

/// P11: copies join in the reverse of the order in which they were made.
#[test]
fn copies_are_listed_in_reverse() {
    let task = world_with(&["a", "b", "c"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/m").unwrap();
    task.make_shared("a").unwrap();
    task.bind("a", "b").unwrap();
    task.bind("b", "c").unwrap();
    task.mount_tmpfs("M", "a/m").unwrap();
    let text = task.mountinfo();
    let paths: Vec<&str> = text.lines().skip(5).map(|line| line.split(' ').nth(4).unwrap()).collect();
    assert_eq!(paths, ["/x/a/m", "/x/c/m", "/x/b/m"]);
}

/// L8: how far a path leads.
#[test]
fn paths() {
    let task = world_with(&["a", "jail/in"]);
    task.mount_tmpfs("A", "a").unwrap();
    task.mkdir("a/d").unwrap();
    let path_of = |place: &support::Place, root: &str| {
        task.at(root, |world, root| {
            let mut path = Vec::new();
            let end = world.forest.append_path(place, root, &mut path).unwrap();
            (String::from_utf8(path).unwrap(), end)
        })
    };
    let directory = task.at("a/d", |_, place| place.clone());
    assert_eq!(path_of(&directory, "/"), ("/x/a/d".to_string(), PathEnd::Root));
    assert_eq!(path_of(&directory, "a/d"), ("/".to_string(), PathEnd::Root));
    assert_eq!(path_of(&directory, "jail"), ("/x/a/d".to_string(), PathEnd::NamespaceRoot));
    task.hold("a/d").unwrap();
    task.umount_lazily("a").unwrap();
    assert_eq!(path_of(&directory, "/"), ("/d".to_string(), PathEnd::Detached));
    // L7: a rename takes a directory out of what a bind shows.
    task.bind("jail", "a").unwrap();
    let inside = task.at("a/in", |_, place| place.clone());
    task.rename("jail/in", "out").unwrap();
    assert_eq!(path_of(&inside, "/").1, PathEnd::Escaped);
}

/// X16: ids of mounts below a root or a mount, in pieces, whatever is unmounted between.
#[test]
fn listmount() {
    let task = world_with(&["a", "b"]);
    task.fsmount("tmpfs", MountFlags::empty(), "F").unwrap();
    for (name, path) in [("A", "a"), ("B", "b")] {
        task.mount_tmpfs(name, path).unwrap();
    }
    task.mkdir("a/m").unwrap();
    task.attach("F", "a/m").unwrap();
    let id = |path: &str| task.at(path, |world, place| world.forest.unique_id(place.mount).unwrap());
    let list = |start, after, room: usize| {
        let world = task.world.read();
        let state = &world.tasks[0];
        let caller = Caller { namespace: state.namespace, root: &state.root, credentials: &state.credentials };
        let mut ids = vec![0; room];
        let root = &state.root;
        let count = world.forest.list_mounts(&caller, state.namespace, root, start, after, &mut ids)?;
        ids.truncate(count);
        Ok::<_, graft::Refusal>(ids)
    };
    let (root, x, a, b, m) = (id("/"), id("/x"), id("a"), id("b"), id("a/m"));
    assert!(root >= 1 << 31);
    assert_eq!(list(ListStart::Root, 0, 9).unwrap(), [root, x, m, a, b], "a detached tree keeps its ids");
    assert_eq!(list(ListStart::Root, x, 2).unwrap(), [m, a]);
    assert_eq!(list(ListStart::Mount(a), 0, 9).unwrap(), [m]);
    task.close_tree("F");
    task.umount("a/m").unwrap();
    assert_eq!(list(ListStart::Root, m, 9).unwrap(), [a, b], "the id to go on from is gone");
    assert_eq!(list(ListStart::Mount(m), 0, 9).unwrap_err().rule, Rule::NoSuchMount);
    assert_eq!(list(ListStart::Mount(5), 0, 9).unwrap_err().rule, Rule::ListedIdInvalid);
}

/// X16: who may know of a mount that is not below its root.
#[test]
fn statmount() {
    let task = world_with(&["a", "jail"]);
    task.mount_tmpfs("A", "a").unwrap();
    let world = task.world.read();
    let state = &world.tasks[0];
    let mount = world.walk(0, "a").unwrap().mount;
    let unique_id = world.forest.unique_id(mount).unwrap();
    let find = |root: &support::Place, user| {
        let credentials = RootIn(UserNamespace(user));
        world.forest.visible_mount(&credentials, state.namespace, root, unique_id)
    };
    assert_eq!(find(&state.root, 9), Ok(mount));
    let jail = world.walk(0, "jail").unwrap();
    assert_eq!(find(&jail, 0), Ok(mount));
    assert_eq!(find(&jail, 9).unwrap_err().rule, Rule::MountOutOfSight);
    let record = world.forest.record(mount, &state.root).unwrap();
    assert_eq!((record.number, record.parent_number, record.unique_id), (2, 1, unique_id));
    assert_eq!(world.forest.mount_of_unique_id(unique_id), Some(mount));
}

/// W12: what raises the event that poll reports.
#[test]
fn events() {
    let task = world_with(&["a", "b", "c"]);
    let raised = |act: &dyn Fn() -> support::Outcome| {
        let count = || {
            let world = task.world.read();
            world.forest.events(world.tasks[0].namespace).unwrap()
        };
        let before = count();
        let outcome = act();
        (outcome.is_ok(), count() > before)
    };
    assert_eq!(raised(&|| task.mount_tmpfs("A", "a").map(drop)), (true, true));
    assert_eq!(raised(&|| task.bind("a", "b").map(drop)), (true, true));
    assert_eq!(raised(&|| task.move_mount("b", "c")), (true, true));
    assert_eq!(raised(&|| task.remount_bind("c", MountFlags::RELATIME, true)), (true, true));
    assert_eq!(raised(&|| task.umount("c")), (true, true));
    assert_eq!(raised(&|| task.make_shared("a")), (true, false));
    assert_eq!(raised(&|| task.move_mount("a", "a")), (false, false));
    assert_eq!(raised(&|| task.open_tree("a", false, "F").map(drop)), (true, false));
    let other = task.unshare();
    assert_eq!(raised(&|| other.mount_tmpfs("T", "/x/b").map(drop)), (true, false));
    let change = graft::AttributeChange {
        clear: MountFlags::empty(),
        set: MountFlags::empty(),
        propagation: Some(PropagationType::Private),
        idmap: None,
    };
    assert_eq!(raised(&|| task.set_attributes("a", &change, false)), (true, true));
}

/// W13, X16: flags as numbers. O1: two mounts of one superblock have the flags of their own, and share the superblock's.
#[test]
fn flags_as_numbers() {
    let task = world_with(&["a", "b"]);
    task.mount_filesystem("tmpfs", "A", "a", MountFlags::NODEV).unwrap();
    task.make_shared("a").unwrap();
    task.bind("a", "b").unwrap();
    task.make_slave("b").unwrap();
    task.remount_bind("b", MountFlags::RDONLY | MountFlags::NOATIME, false).unwrap();
    let bits = |path: &str| {
        task.at(path, |world, place| {
            let record = world.forest.record(place.mount, &world.tasks[0].root).unwrap();
            (record.attribute_bits(), record.propagation_bits())
        })
    };
    assert_eq!(bits("a"), (0x4 | 0x20, 1 << 20));
    assert_eq!(bits("b"), (0x1 | 0x10, 1 << 19));
    assert_eq!(bits("/x"), (0, 1 << 18));
    let flags = MountFlags::RDONLY | MountFlags::RELATIME | MountFlags::NOSYMFOLLOW;
    let super_flags = SuperFlags::RDONLY | SuperFlags::SYNCHRONOUS | SuperFlags::LAZYTIME;
    assert_eq!(graft::views::statfs_bits(flags, super_flags), 0x1 | 0x1000 | 0x2000 | 0x10);
}
