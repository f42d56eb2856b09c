//! Times: which call changes which, and how they are set.

use super::on;
use abi::world::{mkdir, read, touch, write};
use posix::{GIVEN, as_user, chmod, fails, file_of, mkdir_of, open, stat};
use rustix::fs::{AtFlags, CWD, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

type Time = (i64, i64);

fn set(path: &str, accessed: Time, modified: Time) -> rustix::io::Result<()> {
    let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time(accessed), last_modification: time(modified) };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

#[track_caller]
fn accessed(path: &str) -> Time {
    (stat(path).atime(), stat(path).atime_nsec())
}

#[track_caller]
fn modified(path: &str) -> Time {
    (stat(path).mtime(), stat(path).mtime_nsec())
}

#[track_caller]
fn changed(path: &str) -> Time {
    (stat(path).ctime(), stat(path).ctime_nsec())
}

/// Long enough for the clock of files, which goes by ticks, to move on; longer than attributes are remembered, too.
fn wait() {
    std::thread::sleep(Duration::from_millis(15));
}

/// Runs an action and says whether the modification time, and whether the change time of a path moved.
#[track_caller]
fn moved(path: &str, action: impl FnOnce()) -> (bool, bool) {
    let before = (modified(path), changed(path));
    wait();
    action();
    (modified(path) > before.0, changed(path) > before.1)
}

#[test]
fn times_are_set_to_the_nanosecond() {
    on(|| {
        mkdir("dir");
        for name in [GIVEN, "dir", "given-dir", "given-link"] {
            set(name, (1_000_000_001, 123_456_789), (1_234_567_890, 999_999_999)).expect("utimensat");
            assert_eq!(accessed(name), (1_000_000_001, 123_456_789), "{name}");
            assert_eq!(modified(name), (1_234_567_890, 999_999_999), "{name}");
        }
        assert_eq!(read(GIVEN), "given\n");
    });
}

#[test]
fn times_lie_before_1970_and_after_2038() {
    on(|| {
        touch("file");
        for seconds in [-1_000_000, 0, 1 << 31, 1 << 33] {
            set("file", (seconds, 1), (seconds, 2)).expect("utimensat");
            assert_eq!((accessed("file"), modified("file")), ((seconds, 1), (seconds, 2)));
        }
    });
}

#[test]
fn one_of_the_times_can_be_left_alone() {
    on(|| {
        set(GIVEN, (10, 1), (20, 2)).expect("utimensat");
        set(GIVEN, (0, UTIME_OMIT), (30, 3)).expect("utimensat");
        assert_eq!((accessed(GIVEN), modified(GIVEN)), ((10, 1), (30, 3)));
        set(GIVEN, (40, 4), (0, UTIME_OMIT)).expect("utimensat");
        assert_eq!((accessed(GIVEN), modified(GIVEN)), ((40, 4), (30, 3)));
        let before = changed(GIVEN);
        wait();
        set(GIVEN, (0, UTIME_OMIT), (0, UTIME_OMIT)).expect("utimensat");
        assert_eq!(changed(GIVEN), before, "nothing was changed");
    });
}

#[test]
fn a_time_can_be_set_to_now() {
    on(|| {
        set(GIVEN, (10, 1), (20, 2)).expect("utimensat");
        touch("mark");
        set(GIVEN, (0, UTIME_NOW), (0, UTIME_NOW)).expect("utimensat");
        assert!(modified(GIVEN) >= modified("mark") && accessed(GIVEN) >= modified("mark"));
    });
}

#[test]
fn nanoseconds_that_are_none_are_refused() {
    on(|| {
        fails(set(GIVEN, (0, 1_000_000_000), (0, 0)), libc::EINVAL);
        fails(set(GIVEN, (0, 0), (0, -5)), libc::EINVAL);
        fails(set("missing", (0, 0), (0, 0)), libc::ENOENT);
    });
}

#[test]
fn who_may_write_sets_times_to_now_and_only_the_owner_to_others() {
    on(|| {
        file_of(1000, "file", 0o666);
        as_user(1001, || {
            fails(set("file", (1, 0), (1, 0)), libc::EPERM);
            set("file", (0, UTIME_NOW), (0, UTIME_NOW)).expect("who may write");
        });
        chmod("file", 0o644).expect("chmod");
        as_user(1001, || fails(set("file", (0, UTIME_NOW), (0, UTIME_NOW)), libc::EACCES));
        as_user(1000, || set("file", (1, 0), (1, 0)).expect("the owner"));
    });
}

#[test]
fn writing_changes_both_times() {
    on(|| {
        touch("file");
        let file = open("file", OFlags::WRONLY).expect("open");
        let now = moved("file", || {
            rustix::io::write(&file, b"text").expect("write");
            rustix::fs::fsync(&file).expect("fsync");
        });
        assert_eq!(now, (true, true));
        assert_eq!(moved("file", || rustix::fs::ftruncate(&file, 2).expect("ftruncate")), (true, true));
        drop(file);
        assert_eq!(moved("file", || drop(open("file", OFlags::WRONLY | OFlags::TRUNC).expect("open"))), (true, true));
    });
}

#[test]
fn setting_a_mode_or_an_owner_or_a_link_changes_only_the_change_time() {
    on(|| {
        write("file", "text");
        assert_eq!(moved("file", || chmod("file", 0o600).expect("chmod")), (false, true));
        assert_eq!(moved("file", || posix::chown("file", 1, 1)), (false, true));
        assert_eq!(moved("file", || fs::hard_link("file", "second").expect("link")), (false, true));
        assert_eq!(moved("file", || fs::remove_file("second").expect("unlink")), (false, true));
        assert_eq!(moved("file", || drop(read("file"))), (false, false));
    });
}

#[test]
fn a_directory_changes_with_its_names() {
    on(|| {
        mkdir_of(0, "d", 0o755);
        for change in [
            || touch("d/file"),
            || fs::rename("d/file", "d/other").expect("rename"),
            || fs::hard_link("d/other", "d/file").expect("link"),
            || fs::remove_file("d/file").expect("unlink"),
            || mkdir("d/dir"),
            || fs::remove_dir("d/dir").expect("rmdir"),
            || std::os::unix::fs::symlink("x", "d/link").expect("symlink"),
        ] {
            assert_eq!(moved("d", change), (true, true));
        }
        assert_eq!(moved("d", || write("d/other", "text")), (false, false), "what is in a file is not the directory's");
    });
}
