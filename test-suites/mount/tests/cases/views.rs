//! What `/proc/self/mounts` and `/proc/self/mountinfo` show, and when they tell a poller that they changed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use abi::guard::{Mounted, tmpfs_on, tmpfs_with};
use abi::mountinfo::{at, parse};
use abi::world::{mkdir, mount, mount_with_nulls, move_mount, read, umount};
use abi::{spawn, syscall};
use libc::{MS_NOEXEC, MS_RDONLY, MS_REMOUNT};
use mount::case;

/// Mount point, type and options of a line of `/proc/self/mounts`; panics if it has not the form of fstab(5).
fn mounts_line(line: &str) -> (String, String, String) {
    let fields: Vec<&str> = line.split(' ').collect();
    assert_eq!(fields.len(), 6, "{line:?}");
    assert!(fields[4..].iter().all(|number| number.parse::<u32>().is_ok()), "{line:?}");
    (fields[1].to_owned(), fields[2].to_owned(), fields[3].to_owned())
}

fn has_mode_123(options: &str) -> bool {
    options.split(',').any(|option| ["mode=0123", "mode=123"].contains(&option))
}

#[test]
fn mount_info() {
    case(|| {
        let _d = tmpfs_with("/tmp/d", MS_NOEXEC, "mode=0123");
        let lines: Vec<_> = read("/proc/self/mounts").lines().map(mounts_line).collect();
        let (_, kind, options) = lines.iter().find(|(point, _, _)| point == "/tmp/d").expect("a line for it");
        assert_eq!(kind, "tmpfs");
        assert!(has_mode_123(options), "{options}");
        assert!(options.split(',').any(|option| option == "noexec"), "{options}");
        let shown = at("/tmp/d");
        assert_eq!((shown.kind.as_str(), shown.root.as_str()), ("tmpfs", "/"));
        assert!(has_mode_123(&shown.super_options), "{shown:?}");
        assert!(shown.options.split(',').any(|option| option == "noexec"), "{shown:?}");
    });
}

#[test]
fn mount_proc() {
    case(|| {
        mkdir("d");
        mount_with_nulls(None, "/tmp/d", Some("proc"), 0, None).expect("mount");
        let shown = at("/tmp/d");
        assert_eq!((shown.kind.as_str(), shown.source.as_str()), ("proc", "none"));
        umount("/tmp/d", 0).expect("umount");
    });
}

/// An epoll instance that watches one file of `/proc` for changes.
struct Watch {
    epoll: usize,
    file: File,
}

impl Watch {
    fn new(path: &str) -> Self {
        let file = File::open(path).expect("open");
        let epoll = syscall!(SYS_epoll_create1, 0).expect("epoll_create1");
        let mut wanted = libc::epoll_event { events: (libc::EPOLLPRI | libc::EPOLLERR) as u32, u64: 7 };
        syscall!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, &file, &raw mut wanted).expect("epoll_ctl");
        Self { epoll, file }
    }

    /// How many events there are now; each must be one of those that were asked for.
    fn events(&self) -> usize {
        let mut found = [libc::epoll_event { events: 0, u64: 0 }; 4];
        let count = syscall!(SYS_epoll_wait, self.epoll, &raw mut found, 4, 0).expect("epoll_wait");
        for event in &found[..count] {
            let events = event.events;
            assert_ne!(events & (libc::EPOLLPRI | libc::EPOLLERR) as u32, 0, "{events:#x}");
        }
        count
    }

    /// One event, which asking for takes away.
    #[track_caller]
    fn assert_one_event(&self, after: &str) {
        assert_eq!(self.events(), 1, "after {after}");
        assert_eq!(self.events(), 0, "asked again after {after}");
    }
}

#[test]
fn poll_mount_info() {
    for path in ["/proc/self/mounts", "/proc/self/mountinfo"] {
        case(|| {
            mkdir("d");
            let watch = Watch::new(path);
            assert_eq!(watch.events(), 0, "nothing has happened");
            tmpfs_on("/tmp/d").forget();
            watch.assert_one_event("mount");
            mount("", "/tmp/d", "", MS_REMOUNT | MS_RDONLY, "").expect("remount");
            watch.assert_one_event("remount to read-only");
            mount("", "/tmp/d", "", MS_REMOUNT, "").expect("remount");
            watch.assert_one_event("remount to writable");
            umount("/tmp/d", 0).expect("umount");
            watch.assert_one_event("umount");

            let _parent = tmpfs_on("/tmp/p");
            watch.assert_one_event("the parent's mount");
            tmpfs_on("/tmp/p/from").forget();
            watch.assert_one_event("the mount to be moved");
            mkdir("p/to");
            assert_eq!(watch.events(), 0, "a directory is no mount");
            move_mount("/tmp/p/from", "/tmp/p/to").expect("move");
            let _to = Mounted::at("/tmp/p/to", 0);
            watch.assert_one_event("move");
        });
    }
}

#[test]
fn mount_info_after_unshare() {
    case(|| {
        mkdir("d");
        let mut watch = Watch::new("/proc/self/mountinfo");
        let (mut go, mut signal) = std::io::pipe().expect("pipe");
        let words = abi::shared_words();
        let child = spawn(|| {
            use std::sync::atomic::Ordering::SeqCst;
            syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
            words[0].store(1, SeqCst);
            go.read_exact(&mut [0]).expect("the parent's signal");
            assert_eq!(watch.events(), 1, "the opener's namespace changed");
            watch.file.seek(SeekFrom::Start(0)).expect("lseek");
            let mut text = String::new();
            watch.file.read_to_string(&mut text).expect("read");
            assert!(text.lines().any(|line| parse(line).mount_point == "/tmp/d"), "{text}");
            assert!(!abi::mountinfo::is_mounted("/tmp/d"), "not in the child's own namespace");
        });
        abi::child::wait_until("the child is in its namespace", || words[0].load(std::sync::atomic::Ordering::SeqCst) == 1);
        let _d = tmpfs_on("/tmp/d");
        signal.write_all(b"x").expect("write");
        child.join();
    });
}
