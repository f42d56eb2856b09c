//! Modes and owners, and whom they let in.

use super::{kind, on};
use abi::world::{mkdir, read, touch, write};
use posix::{GIVEN, Kind, as_user, chmod, chown, fails, file_of, mkdir_of, mode, open, stat};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use std::fs;
use std::os::unix::fs::MetadataExt;

fn access(path: &str, wanted: rustix::fs::Access) -> rustix::io::Result<()> {
    rustix::fs::access(path, wanted)
}

fn give(path: &str, uid: Option<u32>, gid: Option<u32>) -> rustix::io::Result<()> {
    rustix::fs::chown(path, uid.map(Uid::from_raw), gid.map(Gid::from_raw))
}

#[test]
fn a_new_name_has_the_mode_asked_for_less_the_umask() {
    on(|| {
        for (umask, expected) in [(0o000, 0o777), (0o022, 0o755), (0o077, 0o700), (0o777, 0)] {
            rustix::process::umask(Mode::from_raw_mode(umask));
            let all = Mode::from_raw_mode(0o777);
            drop(rustix::fs::open("file", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, all).expect("open"));
            rustix::fs::mkdir("dir", all).expect("mkdir");
            rustix::fs::mknodat(rustix::fs::CWD, "fifo", FileType::Fifo, all, 0).expect("mknod");
            assert_eq!((mode("file"), mode("dir"), mode("fifo")), (expected, expected, expected), "umask {umask:o}");
            fs::remove_file("file").expect("unlink");
            fs::remove_file("fifo").expect("unlink");
            fs::remove_dir("dir").expect("rmdir");
        }
    });
}

#[test]
fn a_new_file_belongs_to_who_made_it() {
    on(|| {
        mkdir_of(1000, "d", 0o777);
        as_user(1001, || {
            write("d/file", "");
            mkdir("d/dir");
            std::os::unix::fs::symlink("x", "d/link").expect("symlink");
        });
        for name in ["d/file", "d/dir", "d/link"] {
            assert_eq!((stat(name).uid(), stat(name).gid()), (1001, 1001), "{name}");
        }
    });
}

#[test]
fn chmod_sets_all_twelve_bits() {
    on(|| {
        mkdir("dir");
        for bits in [0o7777, 0o4711, 0o2755, 0o1777, 0o644, 0] {
            for name in [GIVEN, "dir", "given-dir"] {
                chmod(name, bits).expect("chmod");
                assert_eq!(mode(name), bits, "{name}");
            }
        }
    });
}

#[test]
fn chmod_follows_a_symlink() {
    on(|| {
        chmod("given-link", 0o600).expect("chmod");
        assert_eq!((mode(GIVEN), mode("given-link")), (0o600, 0o777));
    });
}

#[test]
fn only_the_owner_changes_a_mode() {
    on(|| {
        file_of(1000, "file", 0o666);
        as_user(1001, || fails(chmod("file", 0o600), libc::EPERM));
        as_user(1000, || chmod("file", 0o640).expect("the owner"));
        assert_eq!(mode("file"), 0o640);
    });
}

#[test]
fn set_group_id_of_a_group_one_is_not_in_is_dropped() {
    on(|| {
        file_of(1000, "file", 0o644);
        chown("file", 1000, 1001);
        as_user(1000, || chmod("file", 0o2755).expect("the owner"));
        assert_eq!(mode("file"), 0o755);
        chmod("file", 0o2755).expect("root");
        assert_eq!(mode("file"), 0o2755);
    });
}

#[test]
fn writing_drops_the_set_id_bits() {
    on(|| {
        file_of(1000, "file", 0o6777);
        as_user(1001, || write("file", "x"));
        assert_eq!(mode("file"), 0o777);
        chmod("file", 0o6777).expect("chmod");
        as_user(1001, || rustix::fs::ftruncate(open("file", OFlags::WRONLY).expect("open"), 0).expect("ftruncate"));
        assert_eq!(mode("file"), 0o777);
    });
}

#[test]
fn giving_away_drops_the_set_id_bits() {
    on(|| {
        file_of(1000, "file", 0o6755);
        chown("file", 1001, 1001);
        assert_eq!(mode("file"), 0o755);
        // Without x for the group the bit means something else (mandatory locking, once), and stays.
        chmod("file", 0o2745).expect("chmod");
        chown("file", 1000, 1000);
        assert_eq!(mode("file"), 0o2745);
        mkdir_of(1000, "dir", 0o2755);
        chown("dir", 1001, 1001);
        assert_eq!(mode("dir"), 0o2755, "directories keep theirs");
    });
}

#[test]
fn only_root_gives_files_away() {
    on(|| {
        file_of(1000, "file", 0o644);
        as_user(1000, || {
            fails(give("file", Some(1001), None), libc::EPERM);
            fails(give("file", None, Some(1001)), libc::EPERM);
            give("file", Some(1000), Some(1000)).expect("nothing changes");
        });
        as_user(1001, || fails(give("file", None, Some(1001)), libc::EPERM));
        give("file", Some(1001), None).expect("root");
        assert_eq!((stat("file").uid(), stat("file").gid()), (1001, 1000));
        give("file", None, Some(7)).expect("root");
        assert_eq!((stat("file").uid(), stat("file").gid()), (1001, 7));
    });
}

#[test]
fn chown_follows_a_symlink_and_lchown_does_not() {
    on(|| {
        give("given-link", Some(1000), Some(1001)).expect("chown");
        assert_eq!((stat(GIVEN).uid(), stat("given-link").uid()), (1000, 0));
        chown("given-link", 12, 34);
        assert_eq!((stat(GIVEN).uid(), stat("given-link").uid(), stat("given-link").gid()), (1000, 12, 34));
    });
}

#[test]
fn owner_group_and_others_have_three_bits_each() {
    on(|| {
        file_of(1000, "file", 0o640);
        chown("file", 1000, 1001);
        as_user(1000, || drop(open("file", OFlags::RDWR).expect("the owner")));
        as_user(1001, || {
            assert_eq!(read("file"), "content");
            fails(open("file", OFlags::WRONLY), libc::EACCES);
        });
        as_user(1002, || fails(open("file", OFlags::RDONLY), libc::EACCES));
        // The first that fits decides, though others would be let in.
        chmod("file", 0o046).expect("chmod");
        as_user(1000, || fails(open("file", OFlags::RDONLY), libc::EACCES));
        as_user(1001, || fails(open("file", OFlags::WRONLY), libc::EACCES));
        as_user(1002, || drop(open("file", OFlags::RDWR).expect("others")));
    });
}

#[test]
fn a_directorys_bits_are_listing_changing_and_searching() {
    on(|| {
        mkdir_of(1000, "d", 0o755);
        file_of(1000, "d/file", 0o644);
        let in_d = |bits: u32, look: fn()| {
            chmod("d", bits).expect("chmod");
            as_user(1000, look);
        };
        in_d(0o600, || {
            fails(fs::metadata("d/file"), libc::EACCES);
            fails(open("d/new", OFlags::CREATE | OFlags::WRONLY), libc::EACCES);
        });
        in_d(0o300, || {
            fails(fs::read_dir("d"), libc::EACCES);
            assert_eq!(read("d/file"), "content");
            touch("d/new");
        });
        in_d(0o500, || {
            assert_eq!(abi::world::names("d"), ["file", "new"]);
            fails(fs::remove_file("d/file"), libc::EACCES);
            fails(fs::create_dir("d/dir"), libc::EACCES);
            fails(fs::rename("d/file", "d/moved"), libc::EACCES);
            fails(fs::hard_link("d/file", "d/second"), libc::EACCES);
        });
    });
}

#[test]
fn root_may_all_but_run_what_nobody_may() {
    on(|| {
        file_of(1000, "file", 0);
        assert_eq!(read("file"), "content");
        access("file", rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK).expect("root");
        fails(access("file", rustix::fs::Access::EXEC_OK), libc::EACCES);
        fails(std::process::Command::new("./file").status(), libc::EACCES);
        chmod("file", 0o001).expect("chmod");
        access("file", rustix::fs::Access::EXEC_OK).expect("one x bit is enough");
    });
}

#[test]
fn access_answers_for_the_real_user() {
    on(|| {
        use rustix::fs::Access;
        file_of(1000, "file", 0o640);
        as_user(1000, || {
            access("file", Access::READ_OK | Access::WRITE_OK).expect("the owner");
            fails(access("file", Access::EXEC_OK), libc::EACCES);
        });
        as_user(1001, || {
            access("file", Access::EXISTS).expect("it is there");
            fails(access("file", Access::READ_OK), libc::EACCES);
            fails(access("missing", Access::EXISTS), libc::ENOENT);
        });
    });
}

#[test]
fn a_set_group_id_directory_hands_its_group_on() {
    on(|| {
        mkdir("d");
        chown("d", 0, 1001);
        chmod("d", 0o2777).expect("chmod");
        as_user(1000, || {
            touch("d/file");
            mkdir("d/dir");
        });
        // fuse-overlayfs gives what is made to the caller and the caller's group, whatever the directory's bit says.
        let (group, bits) = if kind() == Kind::FuseOverlayfs { (1000, 0o755) } else { (1001, 0o2755) };
        assert_eq!((stat("d/file").uid(), stat("d/file").gid(), mode("d/file")), (1000, group, 0o644));
        assert_eq!((stat("d/dir").uid(), stat("d/dir").gid(), mode("d/dir")), (1000, group, bits));
    });
}

#[test]
fn in_a_sticky_directory_one_removes_only_ones_own() {
    on(|| {
        mkdir("d");
        chmod("d", 0o1777).expect("chmod");
        for name in ["d/file", "d/moved"] {
            file_of(1000, name, 0o666);
        }
        mkdir_of(1000, "d/dir", 0o777);
        file_of(1001, "d/other", 0o666);
        as_user(1001, || {
            fails(fs::remove_file("d/file"), libc::EPERM);
            fails(fs::remove_dir("d/dir"), libc::EPERM);
            fails(fs::rename("d/file", "d/new"), libc::EPERM);
            fails(fs::rename("d/other", "d/file"), libc::EPERM);
            fs::rename("d/other", "d/mine").expect("one's own");
            fs::remove_file("d/mine").expect("one's own");
        });
        as_user(1000, || {
            fs::remove_file("d/file").expect("one's own");
            fs::rename("d/moved", "d/again").expect("one's own");
        });
        fs::remove_file("d/again").expect("root");
    });
}

#[test]
fn the_owner_of_a_sticky_directory_removes_all() {
    on(|| {
        mkdir_of(1000, "d", 0o1777);
        file_of(1001, "d/file", 0o600);
        as_user(1000, || fs::remove_file("d/file").expect("the directory's owner"));
    });
}

#[test]
fn a_mode_is_changed_through_a_descriptor_of_a_file_without_a_name() {
    on(|| {
        let file = open("file", OFlags::CREATE | OFlags::RDWR).expect("open");
        fs::remove_file("file").expect("unlink");
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600)).expect("fchmod");
        assert_eq!(file.metadata().expect("fstat").mode() & 0o7777, 0o600);
        rustix::fs::fchown(&file, Some(Uid::from_raw(5)), None).expect("fchown");
        assert_eq!(file.metadata().expect("fstat").uid(), 5);
        fails(rustix::fs::chownat(rustix::fs::CWD, "file", None, None, AtFlags::empty()), libc::ENOENT);
    });
}
