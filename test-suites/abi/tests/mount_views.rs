//! How mounts are shown: mountinfo, mounts and mountstats, their escapes and reach, and polling them for changes.
//! Rule numbers are those of the specification of mount semantics.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use abi::mountinfo::{at, parse, table, top_at};
use abi::world::{bind, make, mkdir, mkdirs, mount, move_mount, new_tmpfs, read, tmpfs, umount};
use abi::{assert_errno, in_mount_namespace, shared_words, spawn, syscall};
use libc::{MNT_DETACH, MS_BIND, MS_NODEV, MS_RDONLY, MS_REMOUNT, MS_SHARED, POLLERR, POLLIN, POLLPRI};

#[test]
fn mountinfo_lines_have_their_fields() {
    in_mount_namespace(|| {
        mkdir("d");
        mount("the-source", "/tmp/d", "tmpfs", MS_NODEV, "mode=0123,size=1m").expect("mount");
        let shown = at("/tmp/d");
        assert_eq!((shown.kind.as_str(), shown.source.as_str(), shown.root.as_str()), ("tmpfs", "the-source", "/"));
        assert_eq!(shown.options, "rw,nodev,relatime"); // Rule W4
        assert_eq!(shown.parent, top_at("/tmp").id);
        let options: Vec<&str> = shown.super_options.split(',').collect();
        assert_eq!(options[..2], ["rw", "size=1024k"]);
        assert!(options.contains(&"mode=123"));
        let ids: std::collections::HashSet<u32> = table().iter().map(|mount| mount.id).collect();
        assert_eq!(ids.len(), table().len());
    });
}

#[test]
fn special_characters_are_escaped() {
    in_mount_namespace(|| {
        let name = "/tmp/a b\tc\nd\\e#f";
        mkdir(name);
        mount("so urce#\n", name, "tmpfs", 0, "").expect("mount");
        let shown = table().pop().expect("a mount");
        assert_eq!(shown.mount_point, "/tmp/a\\040b\\011c\\012d\\134e#f"); // Rule W8
        assert_eq!(shown.source, "so\\040urce\\043\\012");
        mkdir("sp ace");
        bind("/tmp/sp ace", "/tmp/sp ace").expect("bind");
        assert_eq!(table().pop().expect("a mount").root, "/sp\\040ace");
        assert!(read("/proc/self/mounts").contains("/tmp/a\\040b\\011c\\012d\\134e#f"));
    });
}

#[test]
fn an_empty_source_is_an_empty_field() {
    in_mount_namespace(|| {
        mkdir("d");
        mount("", "/tmp/d", "tmpfs", 0, "").expect("mount");
        assert_eq!(at("/tmp/d").source, ""); // Rule F10
    });
}

#[test]
fn mounts_shows_six_fields_with_joined_options() {
    in_mount_namespace(|| {
        mkdir("d");
        mount("source", "/tmp/d", "tmpfs", MS_NODEV, "size=64k").expect("mount");
        let line = |file: &str| read(file).lines().find(|line| line.contains(" /tmp/d ")).map(str::to_string).expect("its line");
        let fields: Vec<String> = line("/proc/self/mounts").split(' ').map(str::to_string).collect();
        assert_eq!(fields.len(), 6);
        assert_eq!([&fields[0], &fields[1], &fields[2], &fields[4], &fields[5]], ["source", "/tmp/d", "tmpfs", "0", "0"]);
        assert!(fields[3].starts_with("rw,nodev,relatime,size=64k"), "{}", fields[3]); // Rule W9
        mount("", "/tmp/d", "", MS_REMOUNT | MS_BIND | MS_RDONLY, "").expect("remount");
        assert!(line("/proc/mounts").split(' ').nth(3).is_some_and(|options| options.starts_with("ro,")));
        assert_eq!(line("/proc/self/mountstats"), "device source mounted on /tmp/d with fstype tmpfs"); // Rule W10
    });
}

#[test]
fn new_mounts_are_listed_at_the_end_and_moves_keep_their_place() {
    in_mount_namespace(|| {
        for name in ["a", "b", "c"] {
            new_tmpfs(&format!("/tmp/{name}"));
        }
        mkdir("moved");
        let last = |count: usize| {
            let table = table();
            table[table.len() - count..].iter().map(|mount| mount.mount_point.clone()).collect::<Vec<_>>()
        };
        assert_eq!(last(3), ["/tmp/a", "/tmp/b", "/tmp/c"]); // Rule W6
        move_mount("/tmp/b", "/tmp/moved").expect("move");
        assert_eq!(last(3), ["/tmp/a", "/tmp/moved", "/tmp/c"]);
        umount("/tmp/a", 0).expect("umount");
        assert_eq!(last(2), ["/tmp/moved", "/tmp/c"]);
    });
}

#[test]
fn only_what_the_readers_root_reaches_is_listed() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/root");
        mkdirs(&["root/proc", "root/inner"]);
        bind("/proc", "/tmp/root/proc").expect("bind");
        tmpfs("inner", "/tmp/root/inner");
        new_tmpfs("/tmp/outside");
        spawn(|| {
            syscall!(SYS_chroot, c"/tmp/root").expect("chroot");
            std::env::set_current_dir("/").expect("chdir");
            let points: Vec<String> = table().into_iter().map(|mount| mount.mount_point).collect();
            assert_eq!(points, ["/", "/proc", "/inner"]); // Rule W2
        })
        .join();
        mkdir("plain");
        mkdirs(&["plain/proc"]);
        bind("/proc", "/tmp/plain/proc").expect("bind");
        spawn(|| {
            syscall!(SYS_chroot, c"/tmp/plain").expect("chroot");
            std::env::set_current_dir("/").expect("chdir");
            let points: Vec<String> = table().into_iter().map(|mount| mount.mount_point).collect();
            assert_eq!(points, ["/proc"], "the root itself is no mount");
        })
        .join();
    });
}

#[test]
fn an_open_file_shows_the_namespace_of_its_opener() {
    in_mount_namespace(|| {
        let mut mounts = File::open("/proc/self/mountinfo").expect("open");
        mkdir("d");
        spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
            tmpfs("theirs", "/tmp/d");
            let mut text = String::new();
            mounts.read_to_string(&mut text).expect("read");
            assert!(!text.contains(" /tmp/d "), "bound at open"); // Rule W1
        })
        .join();
        tmpfs("ours", "/tmp/d");
        mounts.rewind().expect("seek");
        let mut text = String::new();
        mounts.read_to_string(&mut text).expect("read");
        assert!(text.contains(" /tmp/d "));
    });
}

#[test]
fn small_reads_show_each_line_whole_and_once() {
    in_mount_namespace(|| {
        (0..20).for_each(|number| new_tmpfs(&format!("/tmp/mount{number:02}")));
        let mut mounts = File::open("/proc/self/mountinfo").expect("open");
        let mut text = Vec::new();
        let mut bytes = [0; 37];
        loop {
            let len = mounts.read(&mut bytes).expect("read");
            if len == 0 {
                break;
            }
            text.extend(&bytes[..len]);
        }
        let text = String::from_utf8(text).expect("text");
        let lines: Vec<_> = text.lines().map(parse).collect();
        assert_eq!(lines, table()); // Rule W11
    });
}

#[test]
fn poll_on_mounts_and_mountinfo_tells_changes_once() {
    in_mount_namespace(|| {
        mkdirs(&["d", "e"]);
        for file in ["/proc/self/mountinfo", "/proc/self/mounts"] {
            let mounts = File::open(file).expect("open");
            let changed = || {
                let mut poll = libc::pollfd { fd: mounts.as_raw_fd(), events: POLLPRI, revents: 0 };
                syscall!(SYS_poll, &raw mut poll, 1, 0).expect("poll");
                poll.revents == POLLPRI | POLLERR
            };
            assert!(!changed());
            tmpfs("x", "/tmp/d");
            assert!(changed() && !changed(), "the poll itself takes the event"); // Rule W12
            mount("", "/tmp/d", "", MS_REMOUNT | MS_BIND, "").expect("remount");
            assert!(changed(), "even a remount that changes nothing"); // Rule M7
            make("/tmp/d", MS_SHARED).expect("shared");
            make("/tmp/d", libc::MS_PRIVATE).expect("private");
            assert!(!changed(), "type changes are not told"); // Rule C7
            move_mount("/tmp/d", "/tmp/e").expect("move");
            assert!(changed());
            assert_errno!(bind("/tmp/missing", "/tmp/d"), ENOENT);
            assert!(!changed());
            spawn(|| {
                syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
                tmpfs("theirs", "/tmp/d");
            })
            .join();
            assert!(!changed(), "other namespaces are not told");
            umount("/tmp/e", MNT_DETACH).expect("umount");
            assert!(changed());
        }
    });
}

#[test]
fn epoll_reports_a_change_in_another_process() {
    in_mount_namespace(|| {
        mkdir("d");
        let mounts = File::open("/proc/self/mountinfo").expect("open");
        let epoll = syscall!(SYS_epoll_create1, 0).expect("epoll_create1");
        let interest = libc::epoll_event { events: libc::EPOLLPRI as u32, u64: 5 };
        syscall!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, &mounts, &raw const interest).expect("epoll_ctl");
        let wait = |timeout_ms: i32| {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            syscall!(SYS_epoll_wait, epoll, &raw mut event, 1, timeout_ms)
        };
        assert_eq!(wait(0), Ok(0));
        let other = spawn(|| tmpfs("x", "/tmp/d"));
        assert_eq!(wait(10_000), Ok(1));
        other.join();
        assert_eq!(wait(0), Ok(0));
    });
}

#[test]
fn polling_for_input_is_always_ready() {
    in_mount_namespace(|| {
        let mounts = File::open("/proc/self/mounts").expect("open");
        let mut poll = libc::pollfd { fd: mounts.as_raw_fd(), events: POLLIN, revents: 0 };
        assert_eq!(syscall!(SYS_poll, &raw mut poll, 1, 0), Ok(1));
        assert_eq!(poll.revents, POLLIN);
    });
}

#[test]
fn the_tables_of_another_process_are_those_of_its_namespace() {
    in_mount_namespace(|| {
        mkdir("d");
        let words = shared_words();
        let other = spawn(|| {
            syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("unshare");
            tmpfs("theirs", "/tmp/d");
            words[0].store(1, std::sync::atomic::Ordering::SeqCst);
            syscall!(SYS_pause).expect_err("EINTR");
        });
        abi::child::wait_until("it mounted", || words[0].load(std::sync::atomic::Ordering::SeqCst) == 1);
        assert!(read(&format!("/proc/{}/mountinfo", other.pid())).contains(" - tmpfs theirs "));
        assert!(read(&format!("/proc/{}/mounts", other.pid())).contains("theirs /tmp/d tmpfs "));
        assert!(!read("/proc/self/mounts").contains("theirs"));
    });
}
