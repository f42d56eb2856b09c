//! Features of INIT that change what other requests say: privileges that a write takes away, mappings of direct files, the limit of
//! requests that nobody waits for.

use abi::{spawn, syscall};
use fuse::cases::{PAGE, cached, edit};
use fuse::server::in_world;
use fuse::wire::{Answer, feature, op, opened};
use fuse::{Fs, Setup};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const WRITE_KILL_SUIDGID: u32 = 1 << 2;
const OPEN_KILL_SUIDGID: u32 = 1 << 0;
const SETATTR_KILL_SUIDGID: u32 = 1 << 11;
const SETATTR_MODE: u32 = 1 << 0;
const SETATTR_SIZE: u32 = 1 << 3;

/// A file `a` with set-id bits that everybody may write, and these features and OPEN flags.
fn with_set_ids(features: u32, open_flags: u32) -> Fs {
    let fs = Setup::default()
        .options(",allow_other")
        .tree(|tree| {
            (tree.features, tree.open_flags) = (tree.features | features, open_flags);
            (tree.entry_valid, tree.attr_valid) = (1000, 1000);
            let node = tree.file("a", b"hello");
            tree.attr(node).mode = libc::S_IFREG | 0o6777;
        })
        .serve();
    fs.ready();
    fs
}

/// Does something as a user without privilege.
fn as_user(body: impl FnOnce()) {
    spawn(|| {
        syscall!(SYS_setgid, 1000).expect("setgid");
        syscall!(SYS_setuid, 1000).expect("setuid");
        body();
    })
    .join();
}

#[test]
fn a_write_asks_for_file_capabilities_first() {
    in_world(|| {
        let fs = cached(opened::KEEP_CACHE, 0, b"hello");
        let mut file = edit("/tmp/m/a");
        file.write_all(b"1").expect("write");
        file.write_all(b"2").expect("write");
        let asked = fs.requests(op::GETXATTR);
        assert_eq!(asked.len(), 2);
        assert_eq!((asked[0].name(8), asked[0].u32_at(0)), (&b"security.capability"[..], 0));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn a_server_without_extended_attributes_is_asked_for_capabilities_once() {
    in_world(|| {
        let fs = cached(opened::KEEP_CACHE, 0, b"hello");
        fs.fails(op::GETXATTR, libc::ENOSYS);
        let mut file = edit("/tmp/m/a");
        file.write_all(b"1").expect("write");
        file.write_all(b"2").expect("write");
        assert_eq!(fs.count(op::GETXATTR), 1);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn a_write_removes_file_capabilities() {
    in_world(|| {
        let fs = cached(opened::KEEP_CACHE, 0, b"hello");
        fs.tree(|tree| tree.files.get_mut(&2).expect("a").xattrs.insert(b"security.capability".to_vec(), vec![1; 20]));
        edit("/tmp/m/a").write_all(b"1").expect("write");
        assert_eq!(fs.last(op::REMOVEXATTR).name(0), b"security.capability");
        assert!(fs.tree(|tree| tree.files[&2].xattrs.is_empty()));
        fs.unmount();
    });
}

#[test]
fn direct_writes_ask_for_no_capabilities_and_leave_set_id_bits_to_the_server() {
    in_world(|| {
        let fs = with_set_ids(0, opened::DIRECT_IO);
        as_user(|| edit("/tmp/m/a").write_all(b"x").expect("write"));
        assert_eq!(fs.last(op::WRITE).u32_at(20) & WRITE_KILL_SUIDGID, WRITE_KILL_SUIDGID);
        assert_eq!((fs.count(op::GETXATTR), fs.count(op::SETATTR)), (0, 0));
        edit("/tmp/m/a").write_all(b"x").expect("write");
        assert_eq!(fs.last(op::WRITE).u32_at(20) & WRITE_KILL_SUIDGID, 0);
        fs.unmount();
    });
}

#[test]
fn with_killpriv_2_a_write_says_that_set_id_bits_go() {
    in_world(|| {
        let fs = with_set_ids(feature::HANDLE_KILLPRIV_V2, 0);
        as_user(|| edit("/tmp/m/a").write_all(b"x").expect("write"));
        assert_eq!(fs.last(op::WRITE).u32_at(20) & WRITE_KILL_SUIDGID, WRITE_KILL_SUIDGID);
        assert!(fs.requests(op::SETATTR).iter().all(|request| request.u32_at(0) & SETATTR_MODE == 0));
        edit("/tmp/m/a").write_all(b"x").expect("write");
        assert_eq!(fs.last(op::WRITE).u32_at(20) & WRITE_KILL_SUIDGID, 0);
        fs.unmount();
    });
}

#[test]
fn with_killpriv_2_a_truncation_says_so_too() {
    in_world(|| {
        let fs = with_set_ids(feature::HANDLE_KILLPRIV_V2, 0);
        as_user(|| edit("/tmp/m/a").set_len(3).expect("ftruncate"));
        let valid = fs.last(op::SETATTR).u32_at(0);
        assert_eq!(valid & (SETATTR_SIZE | SETATTR_KILL_SUIDGID | SETATTR_MODE), SETATTR_SIZE | SETATTR_KILL_SUIDGID);
        edit("/tmp/m/a").set_len(2).expect("ftruncate");
        assert_eq!(fs.last(op::SETATTR).u32_at(0) & SETATTR_KILL_SUIDGID, 0);
        fs.unmount();
    });
}

#[test]
fn with_killpriv_2_opening_with_truncation_says_so_too() {
    in_world(|| {
        let fs = with_set_ids(feature::HANDLE_KILLPRIV_V2 | feature::ATOMIC_O_TRUNC, 0);
        as_user(|| drop(OpenOptions::new().write(true).truncate(true).open("/tmp/m/a").expect("open")));
        assert_eq!(fs.last(op::OPEN).u32_at(4), OPEN_KILL_SUIDGID);
        as_user(|| drop(edit("/tmp/m/a")));
        assert_eq!(fs.last(op::OPEN).u32_at(4), 0);
        drop(OpenOptions::new().write(true).truncate(true).open("/tmp/m/a").expect("open"));
        assert_eq!(fs.last(op::OPEN).u32_at(4), 0);
        fs.unmount();
    });
}

#[test]
fn with_killpriv_2_capabilities_are_asked_for_once() {
    in_world(|| {
        let fs = cached(opened::KEEP_CACHE, feature::HANDLE_KILLPRIV_V2, b"hello");
        let mut file = edit("/tmp/m/a");
        file.write_all(b"1").expect("write");
        file.write_all(b"2").expect("write");
        assert_eq!(fs.count(op::GETXATTR), 1);
        drop(file);
        fs.unmount();
    });
}

#[test]
fn giving_a_file_away_leaves_set_id_bits_to_a_server_that_handles_them() {
    in_world(|| {
        let fs = with_set_ids(feature::HANDLE_KILLPRIV, 0);
        std::os::unix::fs::chown("/tmp/m/a", Some(5), None).expect("chown");
        assert_eq!(fs.last(op::SETATTR).u32_at(0) & SETATTR_MODE, 0);
        fs.unmount();
        let fs = with_set_ids(0, 0);
        std::os::unix::fs::chown("/tmp/m/a", Some(5), None).expect("chown");
        assert_eq!(fs.last(op::SETATTR).u32_at(0) & SETATTR_MODE, SETATTR_MODE);
        fs.unmount();
    });
}

/// A shared mapping of a file's first page.
fn map_shared(file: &File) -> Result<*mut u8, std::io::Error> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if address == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(address.cast()) }
}

#[test]
fn direct_files_can_be_mapped_and_shared_where_the_server_takes_it() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                (tree.features, tree.more_features) = (tree.features | feature::INIT_EXT, feature::DIRECT_IO_ALLOW_MMAP);
                (tree.minor, tree.open_flags) = (39, opened::DIRECT_IO);
                tree.file("a", &[b'a'; PAGE]);
            })
            .serve();
        fs.ready();
        let file = edit("/tmp/m/a");
        let page = map_shared(&file).expect("mmap");
        // SAFETY: the page is mapped for reading and writing.
        unsafe {
            assert_eq!(page.read_volatile(), b'a');
            page.write_volatile(b'b');
        }
        // read(2) goes to the server, and sees what was stored.
        let mut bytes = [0; 2];
        file.read_exact_at(&mut bytes, 0).expect("read");
        assert_eq!(bytes, *b"ba");
        // And the mapping sees what was written.
        (&file).seek(SeekFrom::Start(0)).expect("seek");
        (&file).write_all(b"c").expect("write");
        // SAFETY: as above.
        assert_eq!(unsafe { page.read_volatile() }, b'c');
        // SAFETY: the page was mapped above, and nobody uses it any more.
        unsafe { libc::munmap(page.cast(), PAGE) };
        drop(file);
        fs.unmount();
    });
}

#[test]
fn no_more_requests_that_nobody_waits_for_than_the_server_takes() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                (tree.entry_valid, tree.attr_valid, tree.max_background) = (1000, 1000, 1);
                tree.file("a", b"hello");
            })
            .serve();
        fs.ready();
        let held = Arc::new(AtomicBool::new(true));
        let hook = held.clone();
        // The first is not answered for now.
        fs.on(op::RELEASE, move |_| if hook.swap(false, Ordering::Relaxed) { Answer::Never } else { Answer::AsTree });
        drop(File::open("/tmp/m/a").expect("open"));
        fs.wait_for(op::RELEASE, 1);
        drop(File::open("/tmp/m/a").expect("open"));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(fs.count(op::RELEASE), 1);
        // What somebody waits for goes on.
        let opened = File::open("/tmp/m/a").expect("open");
        fs.answer(fs.last(op::RELEASE).unique, 0, &[]).expect("the answer");
        fs.wait_for(op::RELEASE, 2);
        drop(opened);
        fs.wait_for(op::RELEASE, 3);
        fs.unmount();
    });
}

/// A directory `d` that everybody may write, of group 500.
fn of_another_group(more_features: u32) -> Fs {
    let fs = Setup::default()
        .options(",allow_other")
        .tree(|tree| {
            let folder = tree.directory("d");
            *tree.attr(folder) = fuse::wire::Attr { mode: libc::S_IFDIR | 0o777, gid: 500, ..tree.attr(folder).clone() };
            (tree.features, tree.more_features) = (tree.features | feature::INIT_EXT, more_features);
        })
        .serve();
    fs.ready();
    fs
}

/// Makes files of all kinds in `d`, as a member of these groups.
fn make_all(groups: &[u32]) {
    spawn(|| {
        syscall!(SYS_setgroups, groups.len(), groups.as_ptr()).expect("setgroups");
        syscall!(SYS_setgid, 1000).expect("setgid");
        syscall!(SYS_setuid, 1000).expect("setuid");
        std::fs::create_dir("/tmp/m/d/folder").expect("mkdir");
        std::os::unix::fs::symlink("target", "/tmp/m/d/link").expect("symlink");
        File::create("/tmp/m/d/file").expect("create");
        abi::world::mknod("/tmp/m/d/pipe", libc::S_IFIFO | 0o600, 0).expect("mknod");
    })
    .join();
}

const MAKING: [u32; 4] = [op::MKDIR, op::SYMLINK, op::CREATE, op::MKNOD];

#[test]
fn who_makes_files_tells_that_he_is_in_the_group_of_the_directory() {
    in_world(|| {
        let fs = of_another_group(feature::CREATE_SUPP_GROUP);
        make_all(&[400, 500, 600]);
        for opcode in MAKING {
            let asked = fs.last(opcode);
            // Size, type FUSE_EXT_GROUPS, one group, padding.
            let fields: Vec<u32> = asked.extension().chunks(4).map(|word| u32::from_le_bytes(word.try_into().expect("a word"))).collect();
            assert_eq!(fields, [16, 32, 1, 500], "operation {opcode}");
            assert_eq!(asked.len as usize, 40 + asked.body.len());
        }
        assert_eq!(fs.last(op::MKDIR).name(8), b"folder");
        std::fs::hard_link("/tmp/m/d/file", "/tmp/m/d/hard").expect("link");
        assert_eq!(fs.last(op::LINK).extension_bytes, 0);
        fs.unmount();
    });
}

#[test]
fn who_is_not_in_the_group_or_has_it_as_his_own_tells_nothing() {
    in_world(|| {
        let fs = of_another_group(feature::CREATE_SUPP_GROUP);
        make_all(&[400, 600]);
        assert!(MAKING.iter().all(|&opcode| fs.last(opcode).extension_bytes == 0));
        fs.tree(|tree| tree.attr(2).gid = 1000);
        std::fs::create_dir("/tmp/m/e").expect("mkdir");
        assert_eq!(fs.last(op::MKDIR).extension_bytes, 0);
        fs.unmount();
    });
}

#[test]
fn groups_are_not_told_to_who_did_not_ask() {
    in_world(|| {
        let fs = of_another_group(0);
        make_all(&[500]);
        assert!(MAKING.iter().all(|&opcode| fs.last(opcode).extension_bytes == 0));
        fs.unmount();
    });
}
