//! Open files of an overlay and what else programs do with a tree: locks, watches, execution, statistics.

use abi::world::{mkdir, mkdirs, new_tmpfs, open, read, touch, write};
use abi::{Errno, assert_errno, syscall};
use overlayfs::{in_world, mounted, overlay, stat};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::process::Command;

#[test]
fn statistics_are_the_upper_layers() {
    in_world(|| {
        new_tmpfs("other");
        abi::world::mount("", "other", "", libc::MS_REMOUNT, "size=3m,nr_inodes=77").expect("remount");
        mkdirs(&["other/upper", "other/work"]);
        overlay("lowerdir=lower,upperdir=other/upper,workdir=other/work").expect("mount");
        let (seen, below) = (rustix::fs::statfs("m").expect("statfs"), rustix::fs::statfs("other").expect("statfs"));
        assert_eq!(seen.f_type, 0x794c_7630);
        assert_eq!((seen.f_blocks, seen.f_bfree, seen.f_files), (below.f_blocks, below.f_bfree, below.f_files));
        assert_eq!((seen.f_bsize, seen.f_namelen), (below.f_bsize, 255));
    });
}

#[test]
fn programs_run_from_an_overlay() {
    in_world(|| {
        fs::copy("/proc/self/exe", "lower/program").expect("copy");
        fs::set_permissions("lower/program", Permissions::from_mode(0o755)).expect("chmod");
        mounted("");
        let run = || Command::new("/tmp/m/program").args(["--list", "--format", "terse"]).output().expect("run");
        assert!(run().status.success());
        assert!(!abi::world::exists("upper/program"));
        fs::set_permissions("m/program", Permissions::from_mode(0o711)).expect("chmod");
        let output = run();
        assert!(String::from_utf8_lossy(&output.stdout).contains("programs_run_from_an_overlay"));
    });
}

#[test]
fn a_running_program_cannot_be_written() {
    in_world(|| {
        fs::copy("/bin/busybox", "lower/sleep").expect("copy");
        fs::set_permissions("lower/sleep", Permissions::from_mode(0o755)).expect("chmod");
        mounted("");
        let mut child = Command::new("/tmp/m/sleep").arg("60").spawn().expect("run");
        let outcome = OpenOptions::new().write(true).open("m/sleep");
        let exe = fs::read_link(format!("/proc/{}/exe", child.id())).expect("exe");
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert_errno!(outcome, ETXTBSY);
        assert_eq!(exe.to_str(), Some("/tmp/m/sleep"));
        OpenOptions::new().write(true).open("m/sleep").expect("after its end");
    });
}

#[test]
fn locks_hold_while_a_file_comes_up() {
    in_world(|| {
        write("lower/file", "x");
        mounted("");
        let first = fs::File::open("m/file").expect("open");
        first.lock_shared().expect("flock");
        write("m/file", "changed");
        let second = OpenOptions::new().read(true).write(true).open("m/file").expect("open");
        assert!(matches!(second.try_lock(), Err(fs::TryLockError::WouldBlock)));
        first.unlock().expect("unlock");
        second.try_lock().expect("free now");
    });
}

#[test]
fn watches_see_changes_made_through_the_overlay() {
    in_world(|| {
        mkdir("lower/d");
        write("lower/d/file", "x");
        mounted("");
        let watch = syscall!(SYS_inotify_init1, libc::IN_NONBLOCK).expect("inotify");
        syscall!(SYS_inotify_add_watch, watch, c"m/d", libc::IN_MODIFY | libc::IN_DELETE | libc::IN_CREATE).expect("watch");
        OpenOptions::new().append(true).open("m/d/file").expect("open").write_all(b"y").expect("write");
        touch("m/d/new");
        fs::remove_file("m/d/file").expect("unlink");
        let mut bytes = [0u8; 1024];
        let len = syscall!(SYS_read, watch, bytes.as_mut_ptr(), bytes.len()).expect("events");
        let mut masks = Vec::new();
        let mut at = 0;
        while at < len {
            let word = |index: usize| u32::from_ne_bytes(bytes[at + 4 * index..][..4].try_into().expect("four bytes"));
            masks.push(word(1));
            at += 16 + word(3) as usize;
        }
        assert_eq!(masks, [libc::IN_MODIFY, libc::IN_CREATE, libc::IN_DELETE]);
    });
}

#[test]
fn reading_touches_the_access_time_of_upper_files_only() {
    in_world(|| {
        for layer in ["lower", "upper"] {
            let path = format!("{layer}/{layer}");
            write(&path, "x");
            let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
            OpenOptions::new().write(true).open(&path).expect("open").set_times(fs::FileTimes::new().set_accessed(old)).expect("times");
        }
        mounted("");
        assert_eq!((read("m/lower"), read("m/upper")), ("x".into(), "x".into()));
        assert_eq!(stat("lower/lower").atime(), 1000);
        assert_ne!(stat("upper/upper").atime(), 1000);
    });
}

#[test]
fn data_and_holes_are_found() {
    in_world(|| {
        let file = fs::File::create("lower/file").expect("create");
        file.set_len(1 << 20).expect("truncate");
        file.write_all_at(b"x", 512 << 10).expect("write");
        mounted("");
        for is_lower in [true, false] {
            let file = fs::File::open("m/file").expect("open");
            let find = |whence: i32, offset: i64| syscall!(SYS_lseek, &file, offset, whence);
            assert_eq!(find(libc::SEEK_DATA, 0), Ok(512 << 10));
            // A copy may be less sparse behind its data.
            let hole = find(libc::SEEK_HOLE, 512 << 10).expect("a hole");
            assert!(hole == (512 << 10) + 4096 || (!is_lower && hole <= 1 << 20), "{hole}");
            assert_eq!(find(libc::SEEK_DATA, 1 << 20), Err(Errno(libc::ENXIO)));
            drop(file);
            fs::set_permissions("m/file", Permissions::from_mode(0o600)).expect("chmod");
        }
    });
}

#[test]
fn appending_and_truncating_work_on_open_files() {
    in_world(|| {
        write("lower/file", "one");
        mounted("");
        let mut file = OpenOptions::new().append(true).read(true).open("m/file").expect("open");
        file.write_all(b"two").expect("write");
        assert_eq!(read("m/file"), "onetwo");
        file.set_len(2).expect("ftruncate");
        file.write_all(b"!").expect("write");
        assert_eq!(read("m/file"), "on!");
        let flags = rustix::fs::fcntl_getfl(&file).expect("fcntl");
        rustix::fs::fcntl_setfl(&file, flags - rustix::fs::OFlags::APPEND).expect("fcntl");
        file.write_all_at(b"X", 0).expect("pwrite");
        assert_eq!(read("m/file"), "Xn!");
    });
}

#[test]
fn fifos_connect_through_the_overlay_only() {
    in_world(|| {
        abi::world::mknod("lower/fifo", libc::S_IFIFO | 0o600, 0).expect("mkfifo");
        mounted("");
        let mut both = OpenOptions::new().read(true).write(true).open("m/fifo").expect("open");
        both.write_all(b"abc").expect("write");
        let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("m/fifo").expect("open");
        let mut text = [0; 3];
        reader.read_exact(&mut text).expect("read");
        assert_eq!(&text, b"abc");
        assert!(!abi::world::exists("upper/fifo"));
        assert_errno!(open("lower/fifo", libc::O_WRONLY | libc::O_NONBLOCK), ENXIO);
    });
}

#[test]
fn sockets_are_found_by_their_overlay_name() {
    in_world(|| {
        mounted("");
        let listener = std::os::unix::net::UnixListener::bind("m/socket").expect("bind");
        let mut client = std::os::unix::net::UnixStream::connect("m/socket").expect("connect");
        client.write_all(b"hello").expect("write");
        let mut text = [0; 5];
        listener.accept().expect("accept").0.read_exact(&mut text).expect("read");
        assert_eq!(&text, b"hello");
    });
}

#[test]
fn a_shared_mapping_writes_to_the_upper_file() {
    in_world(|| {
        fs::write("lower/file", vec![b'a'; 8192]).expect("write");
        mounted("");
        let file = OpenOptions::new().read(true).write(true).open("m/file").expect("open");
        let pages = abi::Pages::of_file(&file, 2);
        pages.set(5000, b'z');
        let mut byte = [0];
        file.read_exact_at(&mut byte, 5000).expect("read");
        assert_eq!(byte, *b"z");
        assert_eq!(fs::read("upper/file").expect("read")[5000], b'z');
        assert_eq!(fs::read("lower/file").expect("read")[5000], b'a');
        let maps = read("/proc/self/maps");
        let line = maps.lines().find(|line| line.ends_with("/tmp/m/file")).expect("the mapping has the overlay's name");
        assert!(line.contains("rw-s"), "{line}");
    });
}

#[test]
fn copies_between_files_of_an_overlay_work() {
    in_world(|| {
        fs::write("lower/from", vec![b'q'; 100_000]).expect("write");
        mounted("");
        let (from, to) = (fs::File::open("m/from").expect("open"), fs::File::create("m/to").expect("create"));
        assert_eq!(syscall!(SYS_copy_file_range, &from, 0usize, &to, 0usize, 100_000, 0), Ok(100_000));
        let again = fs::File::create("m/again").expect("create");
        assert_eq!(syscall!(SYS_sendfile, &again, &fs::File::open("m/to").expect("open"), 0usize, 10), Ok(10));
        assert_eq!(fs::read("m/to").expect("read").len(), 100_000);
        assert!(!abi::world::exists("upper/from"));
    });
}
