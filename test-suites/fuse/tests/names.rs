//! Lookups and changes of names: what is asked, how long answers hold, what is counted.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};

use abi::world::{self, c, exists, mkdir, names, read, umount};
use abi::{Errno, assert_errno, syscall};
use fuse::cases::errno;
use fuse::server::{MOUNT, in_world};
use fuse::wire::feature;
use fuse::{Fs, Setup, op};

/// A file system whose answers hold for a long time.
fn lasting(change: impl FnOnce(&mut fuse::tree::Tree)) -> Fs {
    let fs = Setup::default()
        .tree(|tree| {
            (tree.entry_valid, tree.attr_valid) = (1000, 1000);
            change(tree);
        })
        .serve();
    fs.ready();
    fs
}

#[test]
fn a_lookup_is_asked_every_time_without_a_lifetime() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        fs.ready();
        for _ in 0..3 {
            fs::metadata("/tmp/m/a").expect("stat");
        }
        assert_eq!(fs.count(op::LOOKUP), 3);
        fs.unmount();
    });
}

#[test]
fn long_lifetimes_mean_no_request_at_all() {
    in_world(|| {
        let fs = lasting(|tree| _ = tree.file("a", b"hello"));
        for _ in 0..3 {
            fs::metadata("/tmp/m/a").expect("stat");
        }
        assert_eq!((fs.count(op::LOOKUP), fs.count(op::GETATTR)), (1, 0));
        fs.unmount();
    });
}

#[test]
fn attributes_without_a_lifetime_are_asked_for_each_time() {
    in_world(|| {
        let fs = lasting(|tree| {
            tree.attr_valid = 0;
            tree.file("a", b"hello");
        });
        for _ in 0..3 {
            fs::metadata("/tmp/m/a").expect("stat");
        }
        assert_eq!((fs.count(op::LOOKUP), fs.count(op::GETATTR)), (1, 3));
        fs.unmount();
    });
}

#[test]
fn statx_may_ask_anew_or_take_what_is_remembered() {
    in_world(|| {
        let fs = lasting(|tree| _ = tree.file("a", b"hello"));
        let asked = |flags: i32, mask: u32| {
            let mut words = [0u64; 32];
            fs.clear();
            syscall!(SYS_statx, libc::AT_FDCWD, c("/tmp/m/a").as_c_str(), flags, mask, words.as_mut_ptr()).expect("statx");
            (fs.count(op::GETATTR), words[5])
        };
        let (force, dont, basic) = (libc::AT_STATX_FORCE_SYNC, libc::AT_STATX_DONT_SYNC, libc::STATX_BASIC_STATS);
        assert_eq!(asked(0, basic), (0, 5));
        // Behind the kernel's back, which learns of it only when it asks.
        fs.tree(|tree| tree.attr(2).size = 7);
        assert_eq!(asked(0, basic), (0, 5));
        assert_eq!(asked(force, 0), (0, 5));
        assert_eq!(asked(force, basic), (1, 7));
        // From here on nothing holds that the server answers, and what is known of it is still asked for only when that is wanted.
        fs.tree(|tree| (tree.attr_valid, tree.attr(2).size) = (0, 9));
        assert_eq!(asked(force, basic), (1, 9));
        fs.tree(|tree| tree.attr(2).size = 11);
        assert_eq!(asked(dont, basic), (0, 9));
        assert_eq!(asked(0, basic), (1, 11));
        // newfstatat takes the same flags.
        let newfstatat = |flags: i32| {
            let mut words = [0u64; 18];
            fs.clear();
            syscall!(SYS_newfstatat, libc::AT_FDCWD, c("/tmp/m/a").as_c_str(), words.as_mut_ptr(), flags).expect("newfstatat");
            fs.count(op::GETATTR)
        };
        assert_eq!((newfstatat(dont), newfstatat(force), newfstatat(0)), (0, 1, 1));
        fs.unmount();
    });
}

#[test]
fn enoent_is_not_remembered_but_a_negative_entry_is() {
    in_world(|| {
        let fs = lasting(|_| {});
        for _ in 0..2 {
            assert_eq!(errno(fs::metadata("/tmp/m/x")), libc::ENOENT);
        }
        assert_eq!(fs.count(op::LOOKUP), 2);
        fs.tree(|tree| tree.negative_valid = 1000);
        for _ in 0..3 {
            assert_eq!(errno(fs::metadata("/tmp/m/y")), libc::ENOENT);
        }
        assert_eq!(fs.count(op::LOOKUP), 3);
        fs.unmount();
    });
}

#[test]
fn errors_of_lookup_pass_unchanged() {
    in_world(|| {
        let fs = Fs::new();
        for error in [libc::EIO, libc::EACCES, libc::ENOMEM, libc::ESTALE, 300] {
            fs.fails(op::LOOKUP, error);
            if error != libc::ESTALE {
                assert_eq!(errno(fs::metadata("/tmp/m/a")), error);
            }
        }
        fs.unmount();
    });
}

#[test]
fn stat_shows_what_the_server_says() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            let node = tree.file("a", b"hello");
            let attr = tree.attr(node);
            (attr.uid, attr.gid, attr.nlink, attr.times, attr.ino) = (7, 8, 9, [100, 200, 300], 4711);
            attr.nanoseconds = [1, 2, 3];
            attr.mode = libc::S_IFREG | 0o4751;
        });
        let data = fs::metadata("/tmp/m/a").expect("stat");
        assert_eq!((data.mode(), data.uid(), data.gid(), data.nlink()), (libc::S_IFREG | 0o4751, 7, 8, 9));
        assert_eq!((data.size(), data.ino(), data.blocks()), (5, 4711, 1));
        assert_eq!((data.atime(), data.mtime(), data.ctime(), data.ctime_nsec()), (100, 200, 300, 3));
        fs.unmount();
    });
}

#[test]
fn every_lookup_is_given_back_by_forget() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            for name in ["a", "b", "c"] {
                tree.file(name, b"x");
            }
        });
        for name in ["a", "b", "c", "a", "a"] {
            fs::metadata(format!("/tmp/m/{name}")).expect("stat");
        }
        let lookups = fs.count(op::LOOKUP) as u64;
        fs::write("/proc/sys/vm/drop_caches", "3").expect("drop_caches");
        let forgotten = || {
            let one = |request: &fuse::Request| request.u64_at(0);
            let batch =
                |request: &fuse::Request| (0..request.u32_at(0) as usize).map(|index| request.u64_at(8 + index * 16 + 8)).sum::<u64>();
            fs.requests(op::FORGET).iter().map(one).sum::<u64>() + fs.requests(op::BATCH_FORGET).iter().map(batch).sum::<u64>()
        };
        abi::child::wait_until("all lookups are given back", || forgotten() == lookups);
        fs.unmount();
    });
}

#[test]
fn forgets_that_wait_together_go_together() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            for index in 0..20 {
                tree.file(&format!("file{index}"), b"x");
            }
        });
        for index in 0..20 {
            fs::metadata(format!("/tmp/m/file{index}")).expect("stat");
        }
        // The server's one thread is held until the kernel has forgotten all of them.
        let (release, held) = std::sync::mpsc::channel::<()>();
        fs.on(op::STATFS, move |_| {
            held.recv().expect("the end of the wait");
            fuse::Answer::AsTree
        });
        let asker = std::thread::spawn(|| {
            let mut words = [0u64; 15];
            syscall!(SYS_statfs, c(MOUNT).as_c_str(), words.as_mut_ptr()).expect("statfs");
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
        fs::write("/proc/sys/vm/drop_caches", "3").expect("drop_caches");
        release.send(()).expect("the server");
        asker.join().expect("the one who asks");
        fs.wait_for(op::BATCH_FORGET, 1);
        let largest = fs.requests(op::BATCH_FORGET).iter().map(|request| request.u32_at(0)).max();
        assert!(largest > Some(10), "{largest:?} in one request");
        fs.unmount();
    });
}

#[test]
fn unlink_forgets_the_node() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"x"));
        fs::remove_file("/tmp/m/a").expect("unlink");
        assert_eq!(fs.last(op::UNLINK).name(0), b"a");
        fs.wait_for(op::FORGET, 1);
        assert_eq!(fs.last(op::FORGET).node, 2);
        fs.unmount();
    });
}

#[test]
fn create_opens_in_the_same_step() {
    in_world(|| {
        let fs = Fs::new();
        let options = OpenOptions::new().write(true).create_new(true).mode(0o640).open("/tmp/m/new").expect("create");
        assert_eq!((fs.count(op::CREATE), fs.count(op::OPEN), fs.count(op::LOOKUP)), (1, 0, 1));
        let create = fs.last(op::CREATE);
        assert_eq!(create.u32_at(4), libc::S_IFREG | 0o640);
        assert_eq!(create.u32_at(8), 0o022);
        drop(options);
        fs.wait_for(op::RELEASE, 1);
        fs.unmount();
    });
}

#[test]
fn without_create_mknod_and_open_do_it() {
    in_world(|| {
        let fs = Fs::new();
        fs.fails(op::CREATE, libc::ENOSYS);
        for name in ["one", "two"] {
            File::create(format!("/tmp/m/{name}")).expect("create");
        }
        assert_eq!((fs.count(op::CREATE), fs.count(op::MKNOD), fs.count(op::OPEN)), (1, 2, 2));
        fs.unmount();
    });
}

#[test]
fn the_umask_is_applied_here_unless_the_server_takes_it() {
    in_world(|| {
        let fs = Fs::new();
        mkdir("/tmp/m/d");
        assert_eq!((fs.last(op::MKDIR).u32_at(0), fs.last(op::MKDIR).u32_at(4)), (0o755, 0o022));
        fs.unmount();
        let fs = Setup::default().tree(|tree| tree.features |= feature::DONT_MASK).serve();
        mkdir("/tmp/m/d");
        assert_eq!((fs.last(op::MKDIR).u32_at(0), fs.last(op::MKDIR).u32_at(4)), (0o777, 0o022));
        fs.unmount();
    });
}

#[test]
fn directories_are_made_and_removed() {
    in_world(|| {
        let fs = Fs::new();
        mkdir("/tmp/m/d");
        world::touch("/tmp/m/d/file");
        assert_eq!(errno(fs::remove_dir("/tmp/m/d")), libc::ENOTEMPTY);
        fs::remove_file("/tmp/m/d/file").expect("unlink");
        fs::remove_dir("/tmp/m/d").expect("rmdir");
        assert_eq!(names(MOUNT), [] as [&str; 0]);
        fs.unmount();
    });
}

#[test]
fn nodes_of_all_kinds_are_made() {
    in_world(|| {
        let fs = Fs::new();
        world::mknod("/tmp/m/fifo", libc::S_IFIFO | 0o600, 0).expect("a fifo");
        world::mknod("/tmp/m/null", libc::S_IFCHR | 0o666, libc::makedev(1, 3)).expect("a device");
        world::mknod("/tmp/m/socket", libc::S_IFSOCK | 0o600, 0).expect("a socket");
        assert!(fs::metadata("/tmp/m/fifo").expect("stat").file_type().is_fifo());
        assert!(fs::metadata("/tmp/m/socket").expect("stat").file_type().is_socket());
        let data = fs::metadata("/tmp/m/null").expect("stat");
        assert_eq!((data.file_type().is_char_device(), data.rdev()), (true, libc::makedev(1, 3)));
        fs::write("/tmp/m/null", "gone").expect("the device behind the node");
        fs.unmount();
    });
}

#[test]
fn symbolic_links_are_followed_and_can_be_cached() {
    in_world(|| {
        let fs = lasting(|tree| {
            tree.file("a", b"hello");
            tree.symlink("link", "a");
            tree.features |= feature::CACHE_SYMLINKS;
        });
        symlink("a", "/tmp/m/other").expect("symlink");
        assert_eq!((read("/tmp/m/link"), read("/tmp/m/other")), ("hello".into(), "hello".into()));
        fs.clear();
        for _ in 0..3 {
            assert_eq!(fs::read_link("/tmp/m/link").expect("readlink").to_str(), Some("a"));
        }
        assert_eq!(fs.count(op::READLINK), 0);
        fs.unmount();
    });
}

#[test]
fn readlink_is_asked_each_time_otherwise() {
    in_world(|| {
        let fs = lasting(|tree| _ = tree.symlink("link", "a"));
        for _ in 0..3 {
            fs::read_link("/tmp/m/link").expect("readlink");
        }
        assert_eq!(fs.count(op::READLINK), 3);
        fs.unmount();
    });
}

#[test]
fn hard_links_share_the_node() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        fs::hard_link("/tmp/m/a", "/tmp/m/b").expect("link");
        let (one, two) = (fs::metadata("/tmp/m/a").expect("stat"), fs::metadata("/tmp/m/b").expect("stat"));
        assert_eq!((one.ino(), one.nlink()), (two.ino(), 2));
        fs.fails(op::LINK, libc::ENOSYS);
        assert_eq!(errno(fs::hard_link("/tmp/m/a", "/tmp/m/c")), libc::EPERM);
        fs.unmount();
    });
}

#[test]
fn renames_move_replace_and_exchange() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            tree.file("a", b"one");
            tree.file("b", b"two");
            tree.directory("d");
        });
        fs::rename("/tmp/m/a", "/tmp/m/d/a").expect("rename");
        assert_eq!((exists("/tmp/m/a"), read("/tmp/m/d/a")), (false, "one".into()));
        fs::rename("/tmp/m/b", "/tmp/m/d/a").expect("replace");
        assert_eq!(read("/tmp/m/d/a"), "two");
        world::write("/tmp/m/c", "three");
        let rename2 = |from: &str, to: &str, flags: u32| {
            syscall!(SYS_renameat2, libc::AT_FDCWD, c(from).as_c_str(), libc::AT_FDCWD, c(to).as_c_str(), flags)
        };
        rename2("/tmp/m/c", "/tmp/m/d/a", libc::RENAME_EXCHANGE).expect("exchange");
        assert_eq!((read("/tmp/m/c"), read("/tmp/m/d/a")), ("two".into(), "three".into()));
        assert_errno!(rename2("/tmp/m/c", "/tmp/m/d/a", libc::RENAME_NOREPLACE), EEXIST);
        fs.fails(op::RENAME2, libc::ENOSYS);
        assert_errno!(rename2("/tmp/m/c", "/tmp/m/d/a", libc::RENAME_EXCHANGE), EINVAL);
        fs.unmount();
    });
}

#[test]
fn enosys_for_names_passes_unchanged() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b""));
        for opcode in [op::MKDIR, op::UNLINK, op::SYMLINK, op::RENAME] {
            fs.fails(opcode, libc::ENOSYS);
        }
        assert_eq!(errno(fs::create_dir("/tmp/m/d")), libc::ENOSYS);
        assert_eq!(errno(fs::remove_file("/tmp/m/a")), libc::ENOSYS);
        assert_eq!(errno(symlink("x", "/tmp/m/l")), libc::ENOSYS);
        assert_eq!(errno(fs::rename("/tmp/m/a", "/tmp/m/b")), libc::ENOSYS);
        fs.unmount();
    });
}

#[test]
fn directories_are_listed_in_the_servers_order() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            for index in 0..500 {
                tree.file(&format!("file{index:03}"), b"");
            }
        });
        let listed = names(MOUNT);
        assert_eq!((listed.len(), listed[0].as_str(), listed[499].as_str()), (500, "file000", "file499"));
        assert_eq!(fs.count(op::READDIRPLUS), 0);
        fs.unmount();
    });
}

#[test]
fn readdirplus_saves_the_lookups() {
    in_world(|| {
        let fs = lasting(|tree| {
            tree.features |= feature::DO_READDIRPLUS;
            for index in 0..30 {
                tree.file(&format!("file{index:02}"), b"");
            }
        });
        for name in names(MOUNT) {
            fs::metadata(format!("/tmp/m/{name}")).expect("stat");
        }
        assert!(fs.count(op::READDIRPLUS) > 0);
        assert_eq!((fs.count(op::READDIR), fs.count(op::LOOKUP)), (0, 0));
        fs.unmount();
    });
}

#[test]
fn with_auto_readdirplus_goes_on_only_while_names_are_looked_up() {
    const FILES: usize = 600;
    in_world(|| {
        let fs = lasting(|tree| {
            tree.features |= feature::DO_READDIRPLUS | feature::READDIRPLUS_AUTO;
            // Long enough for several requests of any size that a kernel may ask for.
            for index in 0..FILES {
                tree.file(&format!("{index:0200}"), b"");
            }
        });
        assert_eq!(names(MOUNT).len(), FILES);
        assert_eq!(fs.count(op::READDIRPLUS), 1);
        assert!(fs.count(op::READDIR) > 0);
        fs.unmount();
    });
}

#[test]
fn an_open_directory_is_released() {
    in_world(|| {
        let fs = Fs::new();
        drop(names(MOUNT));
        fs.wait_for(op::RELEASEDIR, 1);
        assert_eq!(fs.last(op::RELEASEDIR).u64_at(0), fs.last(op::READDIR).u64_at(0));
        fs.unmount();
    });
}

#[test]
fn attributes_are_changed_by_setattr() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        fs::set_permissions("/tmp/m/a", fs::Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!((fs.last(op::SETATTR).u32_at(0) & 0xf, fs.last(op::SETATTR).u32_at(68)), (1, libc::S_IFREG | 0o600));
        std::os::unix::fs::chown("/tmp/m/a", Some(5), Some(6)).expect("chown");
        let data = fs::metadata("/tmp/m/a").expect("stat");
        assert_eq!((data.mode() & 0o777, data.uid(), data.gid()), (0o600, 5, 6));
        let times = [[11i64, 12], [13, 14]];
        syscall!(SYS_utimensat, libc::AT_FDCWD, c("/tmp/m/a").as_c_str(), times.as_ptr(), 0).expect("utimensat");
        let data = fs::metadata("/tmp/m/a").expect("stat");
        assert_eq!((data.atime(), data.atime_nsec(), data.mtime(), data.mtime_nsec()), (11, 12, 13, 14));
        fs.unmount();
    });
}

#[test]
fn truncation_names_the_open_file_if_there_is_one() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello world"));
        syscall!(SYS_truncate, c("/tmp/m/a").as_c_str(), 5).expect("truncate");
        assert_eq!(fs.last(op::SETATTR).u32_at(0) & (fuse::wire::set::SIZE | fuse::wire::set::FH), fuse::wire::set::SIZE);
        assert_eq!(read("/tmp/m/a"), "hello");
        let open = OpenOptions::new().write(true).open("/tmp/m/a").expect("open");
        open.set_len(2).expect("ftruncate");
        let request = fs.last(op::SETATTR);
        assert_eq!(request.u32_at(0) & fuse::wire::set::FH, fuse::wire::set::FH);
        assert_eq!(request.u64_at(16), 2);
        drop(open);
        assert_eq!(read("/tmp/m/a"), "he");
        fs.unmount();
    });
}

#[test]
fn extended_attributes_go_through() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b""));
        let (path, name) = (c("/tmp/m/a"), c("user.colour"));
        let mut room = [0u8; 64];
        let get = |room: &mut [u8]| syscall!(SYS_getxattr, path.as_c_str(), name.as_c_str(), room.as_mut_ptr(), room.len());
        assert_eq!(get(&mut room), Err(Errno(libc::ENODATA)));
        syscall!(SYS_setxattr, path.as_c_str(), name.as_c_str(), b"red".as_ptr(), 3, 0).expect("setxattr");
        assert_eq!((get(&mut room), &room[..3]), (Ok(3), &b"red"[..]));
        assert_eq!(get(&mut []), Ok(3));
        assert_errno!(get(&mut [0; 2]), ERANGE);
        let len = syscall!(SYS_listxattr, path.as_c_str(), room.as_mut_ptr(), room.len()).expect("listxattr");
        assert_eq!(&room[..len as usize], b"user.colour\0");
        syscall!(SYS_removexattr, path.as_c_str(), name.as_c_str()).expect("removexattr");
        assert_errno!(get(&mut room), ENODATA);
        fs.unmount();
    });
}

#[test]
fn a_server_without_extended_attributes_is_asked_once() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b""));
        fs.fails(op::GETXATTR, libc::ENOSYS);
        let (path, name) = (c("/tmp/m/a"), c("user.colour"));
        for _ in 0..3 {
            assert_errno!(syscall!(SYS_getxattr, path.as_c_str(), name.as_c_str(), 0, 0), EOPNOTSUPP);
        }
        assert_eq!(fs.count(op::GETXATTR), 1);
        fs.unmount();
    });
}

#[test]
fn o_tmpfile_is_tmpfile_or_eopnotsupp() {
    in_world(|| {
        let fs = Fs::new();
        for _ in 0..2 {
            assert_errno!(world::open(MOUNT, libc::O_TMPFILE | libc::O_RDWR), EOPNOTSUPP);
        }
        assert_eq!(fs.count(op::TMPFILE), 1);
        fs.unmount();
    });
}

#[test]
fn a_read_only_mount_sends_no_change() {
    in_world(|| {
        let fs = Setup::default().flags(libc::MS_RDONLY).tree(|tree| _ = tree.file("a", b"x")).serve();
        assert_eq!(errno(File::create("/tmp/m/new")), libc::EROFS);
        assert_eq!(errno(fs::write("/tmp/m/a", "y")), libc::EROFS);
        assert_eq!(errno(fs::remove_file("/tmp/m/a")), libc::EROFS);
        assert_eq!(errno(fs::set_permissions("/tmp/m/a", fs::Permissions::from_mode(0o600))), libc::EROFS);
        assert_eq!(errno(fs::create_dir("/tmp/m/d")), libc::EROFS);
        for opcode in [op::CREATE, op::WRITE, op::UNLINK, op::SETATTR, op::MKDIR] {
            assert_eq!(fs.count(opcode), 0);
        }
        fs.unmount();
    });
}

#[test]
fn names_of_up_to_1024_bytes_reach_the_server() {
    in_world(|| {
        let fs = Fs::new();
        let long = format!("/tmp/m/{}", "x".repeat(1024));
        assert_eq!(errno(fs::metadata(&long)), libc::ENOENT);
        assert_eq!(fs.last(op::LOOKUP).name(0).len(), 1024);
        assert_eq!(errno(fs::metadata(format!("{long}x"))), libc::ENAMETOOLONG);
        fs.unmount();
    });
}

#[test]
fn a_file_can_be_the_root() {
    in_world(|| {
        world::write("/tmp/file", "below");
        let device = fuse::server::device();
        let data = format!("fd={},rootmode=100000,user_id=0,group_id=0", std::os::fd::AsRawFd::as_raw_fd(&device));
        world::mount("server", "/tmp/file", "fuse", 0, &data).expect("mount");
        umount("/tmp/file", 0).expect("umount");
        assert_eq!(read("/tmp/file"), "below");
    });
}
