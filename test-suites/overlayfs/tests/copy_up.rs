//! Copy-up: what brings a file to the upper layer, what comes along, and what is left when it fails.

use abi::assert_errno;
use abi::world::{exists, mkdir, mkdirs, mount, names, new_tmpfs, open, read, touch, write};
use overlayfs::{in_world, left_in, mounted, overlay, set_xattr, stat, xattr, xattrs};
use rustix::fs::{CWD, FallocateFlags};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::sync::{Arc, Barrier};

/// Whether doing that to a lower file brings it up.
#[track_caller]
fn comes_up(what: &str, act: impl FnOnce(&str)) -> bool {
    write("lower/file", "content");
    mounted("");
    act("m/file");
    let up = exists("upper/file");
    overlayfs::unmounted();
    for path in ["upper", "work"] {
        fs::remove_dir_all(path).unwrap_or_else(|error| panic!("{what}: {error}"));
        mkdir(path);
    }
    up
}

/// What is done with the file of a name.
type Deed = fn(&str);

#[test]
fn changes_bring_a_file_up() {
    in_world(|| {
        let changes: [(&str, Deed); 12] = [
            ("open for writing", |path| drop(OpenOptions::new().write(true).open(path).expect("open"))),
            ("open for both", |path| drop(OpenOptions::new().read(true).write(true).open(path).expect("open"))),
            ("open for appending", |path| drop(OpenOptions::new().append(true).open(path).expect("open"))),
            ("O_TRUNC for reading", |path| drop(open(path, libc::O_RDONLY | libc::O_TRUNC).expect("open"))),
            ("truncate", |path| _ = abi::syscall!(SYS_truncate, abi::world::c(path).as_c_str(), 3).expect("truncate")),
            ("chmod", |path| fs::set_permissions(path, Permissions::from_mode(0o600)).expect("chmod")),
            ("chown", |path| chown(path, Some(5), None).expect("chown")),
            ("utimes", |path| {
                let times = rustix::fs::Timestamps {
                    last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 2 },
                    last_modification: rustix::fs::Timespec { tv_sec: 3, tv_nsec: 4 },
                };
                rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::empty()).expect("utimensat");
            }),
            ("setxattr", |path| set_xattr(path, "user.x", b"1").expect("setxattr")),
            ("link", |path| fs::hard_link(path, "m/other").expect("link")),
            ("rename there and back", |path| {
                fs::rename(path, "m/other").expect("rename");
                fs::rename("m/other", path).expect("rename");
            }),
            ("fchmod of a file open for reading", |path| {
                fs::File::open(path).expect("open").set_permissions(Permissions::from_mode(0o600)).expect("fchmod");
            }),
        ];
        for (what, change) in changes {
            assert!(comes_up(what, change), "{what}");
        }
    });
}

#[test]
fn looking_leaves_a_file_where_it_is() {
    in_world(|| {
        let looks: [(&str, Deed); 6] = [
            ("read", |path| assert_eq!(read(path), "content")),
            ("stat", |path| _ = stat(path)),
            ("access", |path| _ = abi::world::access(path, libc::W_OK).expect("access")),
            ("O_PATH", |path| drop(open(path, libc::O_PATH).expect("open"))),
            ("removing an attribute that is not there", |path| {
                assert_errno!(rustix::fs::removexattr(path, "user.none"), ENODATA);
            }),
            ("a link over a name that is there", |path| {
                touch("m/there");
                assert_errno!(fs::hard_link(path, "m/there"), EEXIST);
            }),
        ];
        for (what, look) in looks {
            assert!(!comes_up(what, look), "{what}");
        }
    });
}

#[test]
fn mode_owner_times_and_attributes_come_along() {
    in_world(|| {
        write("lower/file", "content");
        chown("lower/file", Some(1234), Some(5678)).expect("chown");
        fs::set_permissions("lower/file", Permissions::from_mode(0o4751)).expect("chmod");
        let attributes: [(&str, &[u8]); 4] =
            [("user.one", b"1"), ("trusted.two", b"\0\xff"), ("security.three", b""), ("user.long", &[b'x'; 1000])];
        attributes.iter().for_each(|(name, value)| set_xattr("lower/file", name, value).expect("setxattr"));
        let file = OpenOptions::new().write(true).open("lower/file").expect("open");
        let time = |seconds: u64| std::time::UNIX_EPOCH + std::time::Duration::new(seconds, 123_456_789);
        file.set_times(fs::FileTimes::new().set_accessed(time(1_000_000)).set_modified(time(2_000_000))).expect("times");
        drop(file);
        mounted("");
        set_xattr("m/file", "user.new", b"n").expect("setxattr");
        let data = stat("upper/file");
        assert_eq!((data.mode(), data.uid(), data.gid()), (libc::S_IFREG | 0o4751, 1234, 5678));
        assert_eq!((data.mtime(), data.mtime_nsec()), (2_000_000, 123_456_789));
        assert_eq!((data.atime(), data.atime_nsec()), (1_000_000, 123_456_789));
        for (name, value) in attributes {
            assert_eq!(xattr("upper/file", name), Ok(value.to_vec()), "{name}");
        }
        assert_eq!(xattrs("m/file"), ["security.three", "trusted.two", "user.long", "user.new", "user.one"]);
        assert_eq!(read("upper/file"), "content");
        assert_eq!(stat("lower/file").mode(), libc::S_IFREG | 0o4751);
        assert_errno!(xattr("lower/file", "user.new"), ENODATA);
    });
}

#[test]
fn capabilities_come_along_until_the_file_is_written() {
    in_world(|| {
        /// `VFS_CAP_REVISION_2` with the effective bit, and CAP_NET_RAW. capabilities(7).
        const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        write("lower/file", "x");
        set_xattr("lower/file", "security.capability", &CAPABILITY).expect("setxattr");
        mounted("");
        fs::set_permissions("m/file", Permissions::from_mode(0o711)).expect("chmod");
        assert_eq!(xattr("upper/file", "security.capability"), Ok(CAPABILITY.to_vec()));
        assert_eq!(xattr("m/file", "security.capability"), Ok(CAPABILITY.to_vec()));
        let mut file = OpenOptions::new().append(true).open("m/file").expect("open");
        file.write_all(b"y").expect("write");
        assert_errno!(xattr("m/file", "security.capability"), ENODATA);
    });
}

#[test]
fn writing_takes_set_id_bits_away() {
    in_world(|| {
        write("lower/file", "x");
        fs::set_permissions("lower/file", Permissions::from_mode(0o6777)).expect("chmod");
        mounted("");
        abi::spawn(|| {
            abi::syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            OpenOptions::new().append(true).open("m/file").expect("open").write_all(b"y").expect("write");
        })
        .join();
        assert_eq!(stat("m/file").mode() & 0o7777, 0o777);
        assert_eq!(stat("lower/file").mode() & 0o7777, 0o6777);
    });
}

#[test]
fn directories_above_come_up_with_their_attributes() {
    in_world(|| {
        mkdirs(&["lower/a", "lower/a/b", "lower/a/b/c"]);
        fs::set_permissions("lower/a", Permissions::from_mode(0o2711)).expect("chmod");
        chown("lower/a/b", Some(7), Some(8)).expect("chown");
        set_xattr("lower/a/b", "user.x", b"1").expect("setxattr");
        touch("lower/a/b/c/file");
        touch("lower/a/b/sibling");
        mounted("");
        let times = stat("m/a/b");
        write("m/a/b/c/file", "x");
        assert_eq!(stat("upper/a").mode() & 0o7777, 0o2711);
        assert_eq!((stat("upper/a/b").uid(), stat("upper/a/b").gid()), (7, 8));
        assert_eq!(xattr("upper/a/b", "user.x"), Ok(b"1".to_vec()));
        let after = stat("m/a/b");
        assert_eq!((after.mtime(), after.mtime_nsec()), (times.mtime(), times.mtime_nsec()));
        assert_eq!(names("upper/a/b"), ["c"], "only what is on the way");
    });
}

#[test]
fn holes_stay_holes() {
    in_world(|| {
        const LEN: u64 = 8 << 20;
        let file = fs::File::create("lower/sparse").expect("create");
        file.set_len(LEN).expect("truncate");
        file.write_all_at(b"middle", LEN / 2).expect("write");
        mounted("");
        touch("m/other");
        OpenOptions::new().append(true).open("m/sparse").expect("open").write_all(b"end").expect("write");
        let data = stat("upper/sparse");
        assert_eq!(data.len(), LEN + 3);
        assert!(data.blocks() * 512 < LEN / 4, "{} blocks", data.blocks());
        let mut middle = [0; 6];
        fs::File::open("m/sparse").expect("open").read_exact_at(&mut middle, LEN / 2).expect("read");
        assert_eq!(&middle, b"middle");
    });
}

#[test]
fn special_files_come_up_as_what_they_are() {
    in_world(|| {
        abi::world::mknod("lower/fifo", libc::S_IFIFO | 0o640, 0).expect("mkfifo");
        abi::world::mknod("lower/null", libc::S_IFCHR | 0o666, rustix::fs::makedev(1, 3)).expect("mknod");
        abi::world::mknod("lower/socket", libc::S_IFSOCK | 0o600, 0).expect("mknod");
        symlink("target", "lower/link").expect("symlink");
        mounted("");
        for name in ["fifo", "null", "socket", "link"] {
            lchown(format!("m/{name}"), Some(9), Some(9)).expect("lchown");
            assert_eq!(stat(&format!("upper/{name}")).uid(), 9, "{name}");
            assert_eq!(stat(&format!("upper/{name}")).mode(), stat(&format!("lower/{name}")).mode(), "{name}");
        }
        assert!(stat("upper/fifo").file_type().is_fifo());
        assert_eq!(stat("upper/null").rdev(), rustix::fs::makedev(1, 3));
        assert_eq!(fs::read_link("m/link").expect("readlink").to_str(), Some("target"));
    });
}

#[test]
fn emptying_copies_no_content() {
    in_world(|| {
        fs::write("lower/file", vec![b'x'; 4 << 20]).expect("write");
        new_tmpfs("small");
        mount("", "small", "", libc::MS_REMOUNT, "size=1m").expect("remount");
        mkdirs(&["small/upper", "small/work"]);
        overlay("lowerdir=lower,upperdir=small/upper,workdir=small/work").expect("mount");
        write("m/file", "little");
        assert_eq!(read("m/file"), "little");
    });
}

#[test]
fn no_room_above_leaves_nothing_behind() {
    in_world(|| {
        mkdir("lower/d");
        fs::write("lower/d/big", vec![b'x'; 4 << 20]).expect("write");
        write("lower/d/small", "s");
        new_tmpfs("small");
        mount("", "small", "", libc::MS_REMOUNT, "size=1m").expect("remount");
        mkdirs(&["small/upper", "small/work"]);
        overlay("lowerdir=lower,upperdir=small/upper,workdir=small/work").expect("mount");
        assert_errno!(OpenOptions::new().append(true).open("m/d/big"), ENOSPC);
        assert_errno!(fs::set_permissions("m/d/big", Permissions::from_mode(0o600)), ENOSPC);
        assert!(!exists("small/upper/d/big"));
        assert_eq!(left_in("small/work/work"), [""; 0]);
        assert_eq!(stat("m/d/big").len(), 4 << 20);
        write("m/d/small", "there is room for this");
        assert_eq!(read("m/d/small"), "there is room for this");
    });
}

#[test]
fn many_at_once_make_one_copy() {
    in_world(|| {
        const THREADS: usize = 8;
        const LEN: usize = 256 << 10;
        mkdir("lower/d");
        fs::write("lower/d/file", vec![b'.'; LEN]).expect("write");
        mounted("");
        let start = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let start = start.clone();
                std::thread::spawn(move || {
                    start.wait();
                    let file = OpenOptions::new().write(true).open("m/d/file").expect("open");
                    file.write_all_at(&[b'0' + number as u8; 100], (number * 1000) as u64).expect("write");
                    file.metadata().expect("fstat").ino()
                })
            })
            .collect();
        let numbers: Vec<u64> = threads.into_iter().map(|thread| thread.join().expect("a thread")).collect();
        assert!(numbers.iter().all(|number| *number == numbers[0]));
        let content = fs::read("m/d/file").expect("read");
        assert_eq!(content.len(), LEN);
        for number in 0..THREADS {
            assert!(content[number * 1000..][..100].iter().all(|byte| *byte == b'0' + number as u8), "thread {number}");
        }
        assert_eq!(left_in("work/work"), [""; 0]);
    });
}

#[test]
fn a_file_open_for_reading_sees_what_is_written_later() {
    in_world(|| {
        write("lower/file", "before");
        mounted("");
        let mut reader = fs::File::open("m/file").expect("open");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "before");
        write("m/file", "after it came up");
        reader.seek(SeekFrom::Start(0)).expect("seek");
        text.clear();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "after it came up");
    });
}

#[test]
fn a_mapping_of_a_lower_file_stays_with_it() {
    in_world(|| {
        fs::write("lower/file", vec![b'a'; 4096]).expect("write");
        mounted("");
        let reader = fs::File::open("m/file").expect("open");
        let map = |file: &fs::File, kind| {
            use std::os::fd::AsRawFd;
            abi::Pages::map(1, libc::PROT_READ, kind, file.as_raw_fd(), 0).expect("mmap")
        };
        let (shared, private) = (map(&reader, libc::MAP_SHARED), map(&reader, libc::MAP_PRIVATE));
        assert_eq!((shared.get(0), private.get(0)), (b'a', b'a'));
        let writer = OpenOptions::new().read(true).write(true).open("m/file").expect("open");
        writer.write_all_at(b"b", 0).expect("write");
        assert_eq!((shared.get(0), private.get(0)), (b'a', b'a'), "a mapping knows the file that it was made of");
        assert_eq!(map(&reader, libc::MAP_SHARED).get(0), b'a', "so does a descriptor");
        let written = abi::Pages::of_file(&writer, 1);
        written.set(1, b'c');
        let mut two = [0; 2];
        reader.read_exact_at(&mut two, 0).expect("read");
        assert_eq!(&two, b"bc");
    });
}

#[test]
fn a_lower_file_without_a_name_can_only_be_read() {
    in_world(|| {
        write("lower/file", "content");
        mounted("");
        let file = fs::File::open("m/file").expect("open");
        fs::remove_file("m/file").expect("unlink");
        // A copy would get the name that the whiteout has.
        assert_errno!(file.set_permissions(Permissions::from_mode(0o600)), EEXIST);
        let mut text = String::new();
        (&file).read_to_string(&mut text).expect("read");
        assert_eq!(text, "content");
        assert_eq!(stat("lower/file").mode() & 0o777, 0o644);
        assert!(!exists("m/file"));
    });
}

#[test]
fn room_can_be_taken_and_given_back() {
    in_world(|| {
        write("lower/file", "content");
        mounted("");
        let file = OpenOptions::new().read(true).write(true).open("m/file").expect("open");
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 1 << 20).expect("fallocate");
        assert_eq!(stat("m/file").len(), 1 << 20);
        assert!(stat("upper/file").blocks() >= 2048);
        rustix::fs::fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 1 << 20).expect("punch");
        assert_eq!(stat("upper/file").blocks(), 0);
        file.sync_all().expect("fsync");
    });
}

#[test]
fn who_may_not_write_brings_nothing_up() {
    in_world(|| {
        write("lower/file", "content");
        mounted("");
        abi::spawn(|| {
            abi::syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(OpenOptions::new().write(true).open("m/file"), EACCES);
            assert_errno!(fs::set_permissions("m/file", Permissions::from_mode(0o777)), EPERM);
            assert_errno!(fs::remove_file("m/file"), EACCES);
            assert_errno!(fs::write("m/new", ""), EACCES);
        })
        .join();
        assert_eq!(names("upper"), [""; 0]);
    });
}
