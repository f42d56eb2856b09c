//! Servers that lie, and users who may not: nothing here harms the kernel, and everything has its errno.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use abi::world::{self, read};
use abi::{assert_errno, spawn, syscall};
use fuse::cases::errno;
use fuse::server::{MOUNT, in_world};
use fuse::tree::Tree;
use fuse::wire::{Attr, Body, attr_out, dirent, entry_out, feature, message};
use fuse::{Answer, Fs, Setup, op};

fn one_file(tree: &mut Tree) {
    tree.file("a", b"hello");
}

/// A file system whose answers hold for a long time.
fn lasting() -> Fs {
    let fs = Setup::default()
        .tree(|tree| {
            (tree.entry_valid, tree.attr_valid) = (1000, 1000);
            one_file(tree);
        })
        .serve();
    fs.ready();
    fs
}

fn entry(node: u64, mode: u32, size: u64) -> Answer {
    let attr = Attr { ino: node, mode, size, nlink: 1, ..Attr::default() };
    Answer::Data(entry_out(node, 0, 0, 0, &attr))
}

/// Runs `body` as user and group 1000.
fn as_user(body: impl FnOnce()) {
    spawn(|| {
        syscall!(SYS_setgroups, 0, 0).expect("setgroups");
        syscall!(SYS_setgid, 1000).expect("setgid");
        syscall!(SYS_setuid, 1000).expect("setuid");
        body();
    })
    .join();
}

#[test]
fn a_body_of_the_wrong_size_is_eio() {
    in_world(|| {
        let fs = Fs::with(one_file);
        for len in [0, 1, 127, 129, 4096] {
            fs.on(op::LOOKUP, move |_| Answer::Data(vec![0; len]));
            assert_eq!(errno(fs::metadata("/tmp/m/a")), libc::EIO, "{len}");
        }
        fs.unmount();
    });
}

#[test]
fn an_entry_without_a_type_is_eio() {
    in_world(|| {
        let fs = Fs::with(one_file);
        for mode in [0, 0o644, 0o170_000 | 0o644, 0o030_000] {
            fs.on(op::LOOKUP, move |_| entry(9, mode, 0));
            assert_eq!(errno(fs::metadata("/tmp/m/a")), libc::EIO, "{mode:o}");
        }
        fs.unmount();
    });
}

#[test]
fn a_size_beyond_all_files_is_eio() {
    in_world(|| {
        let fs = Fs::with(one_file);
        fs.on(op::LOOKUP, |_| entry(9, libc::S_IFREG | 0o644, u64::MAX));
        assert_eq!(errno(fs::metadata("/tmp/m/a")), libc::EIO);
        fs.unmount();
    });
}

#[test]
fn the_root_below_itself_is_eio() {
    in_world(|| {
        let fs = Fs::with(one_file);
        fs.on(op::LOOKUP, |_| entry(1, libc::S_IFDIR | 0o755, 0));
        assert_eq!(errno(fs::metadata("/tmp/m/a")), libc::EIO);
        fs.unmount();
    });
}

#[test]
fn a_directory_inside_itself_is_eloop() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.directory("d"));
        fs.on(op::LOOKUP, |_| entry(2, libc::S_IFDIR | 0o755, 0));
        fs::metadata("/tmp/m/d").expect("stat");
        assert_eq!(errno(fs::metadata("/tmp/m/d/d")), libc::ELOOP);
        fs.unmount();
    });
}

#[test]
fn attributes_of_another_type_make_the_inode_bad() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                tree.entry_valid = 1000;
                one_file(tree);
            })
            .serve();
        let file = File::open("/tmp/m/a").expect("open");
        fs.on(op::GETATTR, |_| Answer::Data(attr_out(&Attr { mode: libc::S_IFDIR | 0o755, ..Attr::default() }, 0)));
        assert_eq!(errno(file.metadata()), libc::EIO);
        fs.clear();
        assert_eq!(errno(file.metadata()), libc::EIO);
        assert_eq!(fs.count(op::GETATTR), 0);
        drop(file);
        drop(fs);
    });
}

#[test]
fn a_number_that_becomes_another_file_spoils_the_old_one() {
    in_world(|| {
        let fs = Fs::with(one_file);
        let file = File::open("/tmp/m/a").expect("open");
        fs.tree(|tree| tree.files.get_mut(&2).expect("the node").generation = 1);
        fs::metadata("/tmp/m/a").expect("the new file");
        assert_eq!(errno(file.metadata()), libc::EIO);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn more_data_than_asked_for_is_eio_and_less_is_the_end() {
    in_world(|| {
        let fs = lasting();
        fs.on(op::READ, |request| Answer::Data(vec![7; request.u32_at(16) as usize + 1]));
        assert_eq!(errno(fs::read("/tmp/m/a")), libc::EIO);
        fs.on(op::READ, |_| Answer::Data(b"he".to_vec()));
        assert_eq!(read("/tmp/m/a"), "he");
        fs.unmount();
    });
}

#[test]
fn a_write_that_took_more_than_it_was_given_is_eio() {
    in_world(|| {
        let fs = lasting();
        fs.on(op::WRITE, |request| Answer::Data(Body::default().u32(request.u32_at(16) + 1).u32(0).0));
        assert_eq!(errno(fs::write("/tmp/m/a", "hello")), libc::EIO);
        fs.unmount();
    });
}

#[test]
fn names_that_cannot_be_are_eio() {
    in_world(|| {
        let fs = Fs::with(one_file);
        for name in [&b"a/b"[..], b"", &[b'x'; 1025]] {
            let bytes = dirent(5, 1, 8, name);
            fs.on(op::READDIR, move |_| Answer::Data(bytes.clone()));
            let mut listed = fs::read_dir(MOUNT).expect("open");
            assert_eq!(errno(listed.next().expect("an entry or an error")), libc::EIO);
        }
        fs.unmount();
    });
}

#[test]
fn a_directory_cut_in_the_middle_of_an_entry_ends_there() {
    in_world(|| {
        let fs = Fs::with(one_file);
        fs.on(op::READDIR, |request| {
            let mut bytes = dirent(5, 1, 8, b"whole");
            bytes.extend(&dirent(6, 2, 8, b"cut off")[..20]);
            Answer::Data(if request.u64_at(8) == 0 { bytes } else { Vec::new() })
        });
        assert_eq!(world::names(MOUNT), ["whole"]);
        fs.unmount();
    });
}

#[test]
fn a_created_file_of_another_kind_is_eio() {
    in_world(|| {
        let fs = Fs::new();
        fs.on(op::MKDIR, |_| entry(9, libc::S_IFREG | 0o644, 0));
        assert_eq!(errno(fs::create_dir("/tmp/m/d")), libc::EIO);
        fs.on(op::MKDIR, |_| entry(0, libc::S_IFDIR | 0o755, 0));
        assert_eq!(errno(fs::create_dir("/tmp/m/e")), libc::EIO);
        fs.unmount();
    });
}

#[test]
fn a_list_of_attributes_that_is_none_is_eio() {
    in_world(|| {
        let fs = Fs::with(one_file);
        fs.on(op::LISTXATTR, |_| Answer::Data(b"user.a\0user.b".to_vec()));
        let mut room = [0u8; 64];
        assert_errno!(syscall!(SYS_listxattr, world::c("/tmp/m/a").as_c_str(), room.as_mut_ptr(), room.len()), EIO);
        fs.unmount();
    });
}

#[test]
fn answering_twice_is_enoent_for_the_server() {
    in_world(|| {
        let fs = Fs::with(one_file);
        fs::metadata("/tmp/m/a").expect("stat");
        let lookup = fs.last(op::LOOKUP);
        let again = fs.answer(lookup.unique, 0, &[0; 128]);
        assert_eq!(errno(again), libc::ENOENT);
        fs.unmount();
    });
}

#[test]
fn raw_garbage_is_refused_and_the_request_lives_on() {
    in_world(|| {
        let fs = Fs::with(one_file);
        fs.ready();
        fs.on(op::LOOKUP, |_| Answer::Raw(vec![0xff; 100]));
        let caller = std::thread::spawn(|| fs::metadata("/tmp/m/a").map(|data| data.len()));
        fs.wait_for(op::LOOKUP, 1);
        std::thread::sleep(std::time::Duration::from_millis(50));
        let lookup = fs.last(op::LOOKUP);
        let good = fs.tree(|tree| tree.entry(2));
        std::io::Write::write_all(&mut &*fs.device, &message(lookup.unique, 0, &good)).expect("the answer");
        assert_eq!(caller.join().expect("the caller").expect("stat"), 5);
        fs.unmount();
    });
}

#[test]
fn without_allow_other_only_the_owner_may() {
    in_world(|| {
        let fs = Fs::with(one_file);
        fs.ready();
        as_user(|| {
            assert_eq!(errno(fs::metadata("/tmp/m/a")), libc::EACCES);
            assert_eq!(errno(fs::metadata(MOUNT)), libc::EACCES);
            assert_eq!(errno(fs::read_dir(MOUNT)), libc::EACCES);
            assert_errno!(world::access(MOUNT, libc::R_OK), EACCES);
            assert_eq!(errno(std::env::set_current_dir(MOUNT)), libc::EACCES);
        });
        assert_eq!((fs.count(op::LOOKUP), fs.count(op::GETATTR), fs.count(op::OPENDIR)), (0, 0, 0));
        fs.unmount();
    });
}

#[test]
fn the_owner_is_who_has_all_the_owners_ids() {
    in_world(|| {
        let fs = Fs::with(one_file);
        fs.ready();
        for place in 0..3 {
            let ids: [u32; 3] = std::array::from_fn(|index| if index == place { 1000 } else { 0 });
            let [real, effective, saved] = ids;
            for call in [libc::SYS_setresuid, libc::SYS_setresgid] {
                spawn(move || {
                    // SAFETY: the calls have no pointers.
                    assert_eq!(unsafe { libc::syscall(call, real, effective, saved) }, 0);
                    assert_eq!(errno(fs::metadata("/tmp/m/a")), libc::EACCES, "{ids:?}");
                })
                .join();
            }
        }
        assert_eq!(fs.count(op::LOOKUP), 0);
        fs::metadata("/tmp/m/a").expect("stat");
        fs.unmount();
    });
}

#[test]
fn even_root_may_not_use_a_users_mount() {
    in_world(|| {
        let device = fuse::server::device();
        let data = format!("fd={},rootmode=40000,user_id=1000,group_id=1000", std::os::fd::AsRawFd::as_raw_fd(&device));
        world::mount("server", MOUNT, "fuse", 0, &data).expect("mount");
        assert_eq!(errno(fs::metadata("/tmp/m/a")), libc::EACCES);
        world::umount(MOUNT, 0).expect("umount");
    });
}

#[test]
fn statfs_of_somebody_elses_mount_is_all_zero() {
    in_world(|| {
        let fs = Fs::new();
        fs.ready();
        as_user(|| {
            let mut words = [7u64; 15];
            syscall!(SYS_statfs, world::c(MOUNT).as_c_str(), words.as_mut_ptr()).expect("statfs");
            assert_eq!((words[0], words[2], words[5]), (0x6573_5546, 0, 0));
        });
        assert_eq!(fs.count(op::STATFS), 0);
        fs.unmount();
    });
}

#[test]
fn with_allow_other_the_server_decides() {
    in_world(|| {
        let fs = Setup::default()
            .options(",allow_other")
            .tree(|tree| {
                let node = tree.file("a", b"hello");
                tree.attr(node).mode = libc::S_IFREG | 0o600;
            })
            .serve();
        as_user(|| assert_eq!(read("/tmp/m/a"), "hello"));
        fs.fails(op::ACCESS, libc::EACCES);
        as_user(|| assert_errno!(world::access("/tmp/m/a", libc::R_OK), EACCES));
        assert_eq!(fs.last(op::ACCESS).u32_at(0), libc::R_OK as u32);
        fs.unmount();
    });
}

#[test]
fn with_default_permissions_the_kernel_decides() {
    in_world(|| {
        let fs = Setup::default()
            .options(",allow_other,default_permissions")
            .tree(|tree| {
                let node = tree.file("a", b"hello");
                tree.attr(node).mode = libc::S_IFREG | 0o600;
            })
            .serve();
        assert_eq!(read("/tmp/m/a"), "hello");
        as_user(|| {
            assert_eq!(errno(fs::read("/tmp/m/a")), libc::EACCES);
            assert_errno!(world::access("/tmp/m/a", libc::R_OK), EACCES);
            assert_eq!(errno(fs::remove_file("/tmp/m/a")), libc::EACCES);
            assert_eq!(errno(fs::set_permissions("/tmp/m/a", std::os::unix::fs::PermissionsExt::from_mode(0o777))), libc::EPERM);
        });
        assert_eq!((fs.count(op::ACCESS), fs.count(op::UNLINK), fs.count(op::SETATTR)), (0, 0, 0));
        fs.unmount();
    });
}

#[test]
fn access_is_asked_once_if_it_is_missing() {
    in_world(|| {
        let fs = Fs::with(one_file);
        fs.fails(op::ACCESS, libc::ENOSYS);
        for _ in 0..3 {
            world::access("/tmp/m/a", libc::W_OK).expect("access");
        }
        assert_eq!(fs.count(op::ACCESS), 1);
        fs.unmount();
    });
}

#[test]
fn chdir_asks_access() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.directory("d"));
        fs.fails(op::ACCESS, libc::EACCES);
        assert_eq!(errno(std::env::set_current_dir("/tmp/m/d")), libc::EACCES);
        assert_eq!(fs.last(op::ACCESS).u32_at(0), libc::X_OK as u32);
        fs.unmount();
    });
}

#[test]
fn a_user_may_not_umount() {
    in_world(|| {
        let fs = Fs::new();
        as_user(|| assert_errno!(world::umount(MOUNT, 0), EPERM));
        fs.unmount();
    });
}

#[test]
fn features_that_were_not_offered_are_ignored() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                tree.features |= feature::BIG_WRITES | 1 << 31 | 1 << 26 | 1 << 27 | 1 << 2;
                one_file(tree);
            })
            .serve();
        assert_eq!(read("/tmp/m/a"), "hello");
        fs.unmount();
    });
}

#[test]
fn a_max_write_of_100_counts_as_a_page() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                tree.max_write = 100;
                one_file(tree);
            })
            .serve();
        fs::write("/tmp/m/a", [5u8; 5000]).expect("write");
        assert_eq!(fs.tree(|tree| tree.content(2)), [5u8; 5000]);
        assert!(fs.requests(op::WRITE).iter().all(|request| request.u32_at(16) <= 4096));
        fs.unmount();
    });
}

#[test]
fn directories_list_types_and_numbers_as_the_server_says() {
    in_world(|| {
        let fs = Fs::new();
        fs.on(op::READDIR, |request| Answer::Data(if request.u64_at(8) == 0 { dirent(4711, 1, 8, b"x") } else { Vec::new() }));
        let entry = fs::read_dir(MOUNT).expect("open").next().expect("one").expect("an entry");
        assert_eq!((std::os::unix::fs::DirEntryExt::ino(&entry), entry.file_type().expect("type").is_file()), (4711, true));
        drop(entry);
        assert_eq!(fs::metadata(MOUNT).expect("stat").ino(), 1);
        fs.unmount();
    });
}
