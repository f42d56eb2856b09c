//! inotify: events of files and directories, moves with their cookies, and watches that end.

use std::ffi::CStr;

use abi::world::{mkdir, new_tmpfs, touch, umount, write};
use abi::{Outcome, assert_errno, in_mount_namespace, syscall};
use libc::{IN_ACCESS, IN_ATTRIB, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_IGNORED, IN_ISDIR};
use libc::{IN_MODIFY, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO, IN_ONESHOT, IN_ONLYDIR, IN_OPEN, IN_UNMOUNT};

/// (watch, mask, cookie, name)
type Event = (i32, u32, u32, String);

struct Inotify(usize);

impl Inotify {
    fn new() -> Self {
        Inotify(syscall!(SYS_inotify_init1, libc::IN_NONBLOCK | libc::IN_CLOEXEC).expect("inotify_init1"))
    }

    fn watch(&self, path: &CStr, mask: u32) -> Outcome<i32> {
        syscall!(SYS_inotify_add_watch, self.0, path, mask).map(|watch| watch as i32)
    }

    fn events(&self) -> Vec<Event> {
        let mut bytes = [0u8; 4096];
        let len = match syscall!(SYS_read, self.0, bytes.as_mut_ptr(), bytes.len()) {
            Err(abi::Errno(libc::EAGAIN)) => 0,
            other => other.expect("read"),
        };
        let mut events = Vec::new();
        let mut at = 0;
        while at < len {
            let word = |index: usize| u32::from_ne_bytes(bytes[at + 4 * index..][..4].try_into().expect("4 bytes"));
            let name_len = word(3) as usize;
            let name = &bytes[at + 16..][..name_len];
            let name: Vec<u8> = name.iter().copied().take_while(|&byte| byte != 0).collect();
            events.push((word(0) as i32, word(1), word(2), String::from_utf8(name).expect("text")));
            at += 16 + name_len;
        }
        events
    }

    /// Masks and names of the events.
    fn masks(&self) -> Vec<(u32, String)> {
        self.events().into_iter().map(|(_, mask, _, name)| (mask, name)).collect()
    }
}

fn named(mask: u32, name: &str) -> (u32, String) {
    (mask, name.to_string())
}

#[test]
fn a_directory_tells_what_happens_to_its_entries() {
    in_mount_namespace(|| {
        mkdir("d");
        let inotify = Inotify::new();
        inotify.watch(c"d", IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_OPEN).expect("watch");
        write("d/file", "x");
        let expected = [IN_CREATE, IN_OPEN, IN_MODIFY, IN_CLOSE_WRITE].map(|mask| named(mask, "file"));
        assert_eq!(inotify.masks(), expected);
        mkdir("d/inner");
        std::fs::remove_dir("d/inner").expect("rmdir");
        std::fs::remove_file("d/file").expect("unlink");
        let expected = [named(IN_CREATE | IN_ISDIR, "inner"), named(IN_DELETE | IN_ISDIR, "inner"), named(IN_DELETE, "file")];
        assert_eq!(inotify.masks(), expected);
    });
}

#[test]
fn a_file_tells_access_attributes_and_its_end() {
    in_mount_namespace(|| {
        write("file", "content");
        let inotify = Inotify::new();
        inotify.watch(c"file", IN_ACCESS | IN_ATTRIB | IN_CLOSE_NOWRITE | IN_DELETE_SELF | IN_MOVE_SELF).expect("watch");
        assert_eq!(abi::world::read("file"), "content");
        let masks: Vec<u32> = inotify.masks().into_iter().map(|(mask, _)| mask).collect();
        assert_eq!((masks.first(), masks.last()), (Some(&IN_ACCESS), Some(&IN_CLOSE_NOWRITE)));
        std::fs::set_permissions("file", std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod");
        std::fs::rename("file", "moved").expect("rename");
        std::fs::remove_file("moved").expect("unlink");
        let expected = [IN_ATTRIB, IN_MOVE_SELF, IN_ATTRIB, IN_DELETE_SELF, IN_IGNORED].map(|mask| named(mask, ""));
        assert_eq!(inotify.masks(), expected);
    });
}

#[test]
fn the_two_halves_of_a_move_share_a_cookie() {
    in_mount_namespace(|| {
        mkdir("from");
        mkdir("to");
        touch("from/a");
        let inotify = Inotify::new();
        let from = inotify.watch(c"from", IN_MOVED_FROM).expect("watch");
        let to = inotify.watch(c"to", IN_MOVED_TO).expect("watch");
        std::fs::rename("from/a", "to/b").expect("rename");
        let events = inotify.events();
        let cookie = events[0].2;
        assert_ne!(cookie, 0);
        let expected = [(from, IN_MOVED_FROM, cookie, "a".to_string()), (to, IN_MOVED_TO, cookie, "b".to_string())];
        assert_eq!(events, expected);
    });
}

#[test]
fn equal_neighbours_are_merged_and_one_shot_watches_end() {
    in_mount_namespace(|| {
        touch("file");
        let inotify = Inotify::new();
        inotify.watch(c"file", IN_MODIFY).expect("watch");
        let file = std::fs::File::options().write(true).open("file").expect("open");
        for _ in 0..3 {
            assert_eq!(syscall!(SYS_write, &file, c"x".as_ptr(), 1), Ok(1));
        }
        assert_eq!(inotify.masks(), [named(IN_MODIFY, "")]);
        let once = Inotify::new();
        once.watch(c"file", IN_MODIFY | IN_ONESHOT).expect("watch");
        for _ in 0..2 {
            assert_eq!(syscall!(SYS_write, &file, c"x".as_ptr(), 1), Ok(1));
        }
        assert_eq!(once.masks(), [named(IN_MODIFY, ""), named(IN_IGNORED, "")]);
    });
}

#[test]
fn watches_are_per_inode_and_can_be_changed_and_removed() {
    in_mount_namespace(|| {
        touch("file");
        std::fs::hard_link("file", "other").expect("link");
        let inotify = Inotify::new();
        let watch = inotify.watch(c"file", IN_OPEN).expect("watch");
        assert_eq!(inotify.watch(c"other", IN_ATTRIB), Ok(watch), "the same inode");
        drop(std::fs::File::open("file").expect("open"));
        assert_eq!(inotify.masks(), []);
        assert_eq!(inotify.watch(c"file", IN_OPEN | libc::IN_MASK_ADD), Ok(watch));
        drop(std::fs::File::open("other").expect("open"));
        assert_eq!(inotify.masks(), [named(IN_OPEN, "")]);
        syscall!(SYS_inotify_rm_watch, inotify.0, watch).expect("inotify_rm_watch");
        assert_eq!(inotify.masks(), [named(IN_IGNORED, "")]);
        assert_errno!(syscall!(SYS_inotify_rm_watch, inotify.0, watch), EINVAL);
    });
}

#[test]
fn wrong_watches_are_refused() {
    in_mount_namespace(|| {
        touch("file");
        let inotify = Inotify::new();
        assert_errno!(inotify.watch(c"missing", IN_OPEN), ENOENT);
        assert_errno!(inotify.watch(c"file", 0), EINVAL);
        assert_errno!(inotify.watch(c"file", IN_OPEN | IN_ONLYDIR), ENOTDIR);
        inotify.watch(c"file", IN_OPEN).expect("watch");
        assert_errno!(inotify.watch(c"file", IN_OPEN | libc::IN_MASK_CREATE), EEXIST);
        assert_errno!(syscall!(SYS_inotify_add_watch, 0, c"file", IN_OPEN), EINVAL);
        drop(std::fs::File::open("file").expect("open"));
        assert_errno!(syscall!(SYS_read, inotify.0, [0u8; 8].as_mut_ptr(), 8), EINVAL);
        let mut available = 0i32;
        syscall!(SYS_ioctl, inotify.0, libc::FIONREAD, &raw mut available).expect("FIONREAD");
        assert_eq!(available, 16);
    });
}

#[test]
fn an_unmounted_filesystem_ends_its_watches() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        touch("d/file");
        let inotify = Inotify::new();
        inotify.watch(c"d/file", IN_OPEN).expect("watch");
        umount("d", 0).expect("a watch does not make it busy");
        assert_eq!(inotify.masks(), [named(IN_UNMOUNT, ""), named(IN_IGNORED, "")]);
    });
}
