//! inotify: what a watch on a file or directory tells.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use abi::world::{c, mkdir, touch, write};
use abi::{Outcome, assert_errno, in_mount_namespace, syscall};
use libc::{
    IN_ALL_EVENTS, IN_ATTRIB, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_IGNORED, IN_ISDIR, IN_MASK_ADD,
    IN_MASK_CREATE, IN_MODIFY, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO, IN_NONBLOCK, IN_ONESHOT, IN_ONLYDIR, IN_OPEN,
};

fn inotify() -> File {
    let fd = syscall!(SYS_inotify_init1, IN_NONBLOCK).expect("inotify_init1");
    // SAFETY: the descriptor is new and owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }.into()
}

fn watch(inotify: &File, path: &str, mask: u32) -> Outcome<i32> {
    syscall!(SYS_inotify_add_watch, inotify, c(path).as_c_str(), mask).map(|number| number as i32)
}

#[derive(Debug, PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: String,
}

/// All events that wait.
fn events(inotify: &File) -> Vec<Event> {
    let mut bytes = vec![0u8; 16384];
    let len = match syscall!(SYS_read, inotify, bytes.as_mut_ptr(), bytes.len()) {
        Err(abi::Errno(libc::EAGAIN)) => 0,
        result => result.expect("read"),
    };
    let mut rest = &bytes[..len];
    let mut events = Vec::new();
    while !rest.is_empty() {
        let word = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().expect("four bytes"));
        let end = 16 + word(12) as usize;
        let name = rest[16..end].split(|byte| *byte == 0).next().unwrap_or_default();
        events.push(Event { watch: word(0) as i32, mask: word(4), cookie: word(8), name: String::from_utf8_lossy(name).into() });
        rest = &rest[end..];
    }
    events
}

/// The events as (mask, name).
fn told(inotify: &File) -> Vec<(u32, String)> {
    events(inotify).into_iter().map(|event| (event.mask, event.name)).collect()
}

fn pairs(expected: &[(u32, &str)]) -> Vec<(u32, String)> {
    expected.iter().map(|(mask, name)| (*mask, (*name).to_string())).collect()
}

#[test]
fn a_directory_tells_of_its_files() {
    in_mount_namespace(|| {
        mkdir("d");
        let inotify = inotify();
        watch(&inotify, "d", IN_ALL_EVENTS & !libc::IN_ACCESS).expect("watch");
        let mut file = File::create("d/f").expect("create");
        file.write_all(b"x").expect("write");
        drop(file);
        drop(File::open("d/f").expect("open"));
        std::fs::set_permissions("d/f", PermissionsExt::from_mode(0o600)).expect("chmod");
        std::fs::create_dir("d/e").expect("mkdir");
        std::fs::remove_dir("d/e").expect("rmdir");
        std::fs::remove_file("d/f").expect("unlink");
        let expected = [
            (IN_CREATE, "f"),
            (IN_OPEN, "f"),
            (IN_MODIFY, "f"),
            (IN_CLOSE_WRITE, "f"),
            (IN_OPEN, "f"),
            (IN_CLOSE_NOWRITE, "f"),
            (IN_ATTRIB, "f"),
            (IN_CREATE | IN_ISDIR, "e"),
            (IN_DELETE | IN_ISDIR, "e"),
            (IN_DELETE, "f"),
        ];
        assert_eq!(told(&inotify), pairs(&expected));
    });
}

#[test]
fn the_two_halves_of_a_move_have_one_cookie() {
    in_mount_namespace(|| {
        mkdir("a");
        mkdir("b");
        touch("a/f");
        let inotify = inotify();
        let first = watch(&inotify, "a", libc::IN_MOVE).expect("watch");
        let second = watch(&inotify, "b", libc::IN_MOVE).expect("watch");
        let third = watch(&inotify, "a/f", IN_MOVE_SELF).expect("watch");
        std::fs::rename("a/f", "b/g").expect("rename");
        let events = events(&inotify);
        assert_eq!(events.len(), 3, "{events:?}");
        let cookie = events[0].cookie;
        assert_ne!(cookie, 0);
        let event = |watch, mask, cookie, name: &str| Event { watch, mask, cookie, name: name.into() };
        assert_eq!(events[0], event(first, IN_MOVED_FROM, cookie, "f"));
        assert_eq!(events[1], event(second, IN_MOVED_TO, cookie, "g"));
        assert_eq!(events[2], event(third, IN_MOVE_SELF, 0, ""));
    });
}

#[test]
fn a_watch_goes_with_its_file_or_by_request() {
    in_mount_namespace(|| {
        touch("f");
        touch("g");
        let inotify = inotify();
        let first = watch(&inotify, "f", IN_DELETE_SELF).expect("watch");
        let second = watch(&inotify, "g", IN_DELETE_SELF).expect("watch");
        assert_ne!(first, second);
        std::fs::remove_file("f").expect("unlink");
        assert_eq!(told(&inotify), pairs(&[(IN_DELETE_SELF, ""), (IN_IGNORED, "")]));
        syscall!(SYS_inotify_rm_watch, &inotify, second).expect("rm_watch");
        assert_eq!(told(&inotify), pairs(&[(IN_IGNORED, "")]));
        assert_errno!(syscall!(SYS_inotify_rm_watch, &inotify, second), EINVAL);
        std::fs::remove_file("g").expect("unlink");
        assert_eq!(told(&inotify), []);
    });
}

#[test]
fn masks_are_replaced_added_to_or_made_once() {
    in_mount_namespace(|| {
        touch("f");
        let inotify = inotify();
        let number = watch(&inotify, "f", IN_OPEN).expect("watch");
        assert_eq!(watch(&inotify, "f", IN_MODIFY), Ok(number));
        drop(File::open("f").expect("open"));
        assert_eq!(told(&inotify), []);
        assert_eq!(watch(&inotify, "f", IN_OPEN | IN_MASK_ADD), Ok(number));
        write("f", "x");
        assert_eq!(told(&inotify), pairs(&[(IN_OPEN, ""), (IN_MODIFY, "")]));
        assert_errno!(watch(&inotify, "f", IN_OPEN | IN_MASK_CREATE), EEXIST);
        assert_errno!(watch(&inotify, "f", IN_OPEN | IN_ONLYDIR), ENOTDIR);
        assert_errno!(watch(&inotify, "f", 0), EINVAL);
        assert_errno!(watch(&inotify, "none", IN_OPEN), ENOENT);
        assert_errno!(watch(&File::open("f").expect("open"), "f", IN_OPEN), EINVAL);
    });
}

#[test]
fn a_one_shot_watch_tells_once() {
    in_mount_namespace(|| {
        touch("f");
        let inotify = inotify();
        watch(&inotify, "f", IN_OPEN | IN_ONESHOT).expect("watch");
        drop(File::open("f").expect("open"));
        drop(File::open("f").expect("open"));
        assert_eq!(told(&inotify), pairs(&[(IN_OPEN, ""), (IN_IGNORED, "")]));
    });
}

#[test]
fn equal_events_in_a_row_are_one_and_reads_need_room() {
    in_mount_namespace(|| {
        mkdir("d");
        let inotify = inotify();
        watch(&inotify, "d", IN_MODIFY).expect("watch");
        let mut file = File::create("d/name").expect("create");
        for _ in 0..3 {
            file.write_all(b"x").expect("write");
        }
        let mut len = 0i32;
        syscall!(SYS_ioctl, &inotify, libc::FIONREAD, &raw mut len).expect("FIONREAD");
        assert_eq!(len, 32);
        let mut request = libc::pollfd { fd: inotify.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        assert_eq!(syscall!(SYS_poll, &raw mut request, 1, 0), Ok(1));
        let mut short = [0u8; 16];
        assert_errno!(syscall!(SYS_read, &inotify, short.as_mut_ptr(), 16), EINVAL);
        assert_eq!(told(&inotify), pairs(&[(IN_MODIFY, "name")]));
        assert_eq!(told(&inotify), []);
    });
}
