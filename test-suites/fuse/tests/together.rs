//! FUSE among other mounts: in user namespaces, below overlayfs, with propagation, and with mounts of the server's own inside it.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread;
use std::time::Duration;

use abi::mountinfo::{at, is_mounted};
use abi::world::{self, bind, exists, make, mkdir, mkdirs, mount, names, rbind, read, umount};
use abi::{Status, assert_errno, spawn, syscall, user_namespace};
use fuse::cases::errno;
use fuse::server::{MOUNT, device, in_world, mount_device, read_request};
use fuse::wire::{Body, notify};
use fuse::{Answer, Fs, Setup, op};

fn files(tree: &mut fuse::tree::Tree) {
    tree.file("a", b"hello");
    let directory = tree.directory("d");
    let node = tree.make(directory, "inner", libc::S_IFREG | 0o644);
    tree.set_content(node, b"inside");
}

#[test]
fn it_is_the_lower_layer_of_an_overlay() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                (tree.entry_valid, tree.attr_valid) = (1000, 1000);
                files(tree);
            })
            .serve();
        fs.ready();
        mkdirs(&["/tmp/upper", "/tmp/work", "/tmp/merged"]);
        mount("overlay", "/tmp/merged", "overlay", 0, "lowerdir=/tmp/m,upperdir=/tmp/upper,workdir=/tmp/work").expect("overlay");
        assert_eq!((read("/tmp/merged/a"), read("/tmp/merged/d/inner")), ("hello".into(), "inside".into()));
        world::write("/tmp/merged/a", "changed");
        assert_eq!((read("/tmp/merged/a"), read("/tmp/m/a"), read("/tmp/upper/a")), ("changed".into(), "hello".into(), "changed".into()));
        fs::remove_file("/tmp/merged/d/inner").expect("unlink");
        assert!(!exists("/tmp/merged/d/inner") && exists("/tmp/m/d/inner"));
        umount("/tmp/merged", 0).expect("umount");
        drop(fs);
    });
}

#[test]
fn binds_of_its_directories_show_them() {
    in_world(|| {
        let fs = Fs::with(files);
        mkdir("/tmp/bound");
        bind("/tmp/m/d", "/tmp/bound").expect("bind");
        assert_eq!((names("/tmp/bound"), read("/tmp/bound/inner")), (vec!["inner".to_owned()], "inside".into()));
        assert_eq!(at("/tmp/bound").root, "/d");
        world::write("/tmp/bound/new", "made");
        assert_eq!(read("/tmp/m/d/new"), "made");
        umount("/tmp/bound", 0).expect("umount");
        fs.unmount();
    });
}

#[test]
fn mounts_inside_it_propagate() {
    in_world(|| {
        let fs = Fs::with(files);
        make(MOUNT, libc::MS_SHARED).expect("shared");
        mkdir("/tmp/peer");
        rbind(MOUNT, "/tmp/peer").expect("rbind");
        world::tmpfs("inner", "/tmp/m/d");
        assert!(is_mounted("/tmp/peer/d"));
        world::write("/tmp/peer/d/x", "there");
        assert_eq!(read("/tmp/m/d/x"), "there");
        umount("/tmp/m/d", 0).expect("umount");
        assert!(!is_mounted("/tmp/peer/d"));
        umount("/tmp/peer", 0).expect("umount");
        fs.unmount();
    });
}

#[test]
fn a_read_only_bind_sends_no_write() {
    in_world(|| {
        let fs = Fs::with(files);
        mkdir("/tmp/bound");
        bind(MOUNT, "/tmp/bound").expect("bind");
        mount("", "/tmp/bound", "", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY, "").expect("remount");
        assert_eq!(errno(fs::write("/tmp/bound/a", "x")), libc::EROFS);
        assert_eq!(errno(fs::remove_file("/tmp/bound/a")), libc::EROFS);
        assert_eq!((fs.count(op::WRITE), fs.count(op::UNLINK)), (0, 0));
        world::write("/tmp/m/a", "fine");
        umount("/tmp/bound", 0).expect("umount");
        fs.unmount();
    });
}

#[test]
fn the_server_itself_mounts_in_its_tree_while_it_serves() {
    in_world(|| {
        let fs = Fs::with(files);
        mkdirs(&["/tmp/source", "/tmp/source/sub"]);
        world::tmpfs("sub", "/tmp/source/sub");
        world::write("/tmp/source/sub/file", "far");
        mkdir("/tmp/m/target");
        mount("/tmp/source", "/tmp/m/target", "none", libc::MS_BIND | libc::MS_REC, "").expect("rbind");
        make("/tmp/m/target", libc::MS_SLAVE | libc::MS_REC).expect("slave");
        assert_eq!(read("/tmp/m/target/sub/file"), "far");
        assert_errno!(umount(MOUNT, 0), EBUSY);
        umount("/tmp/m/target", libc::MNT_DETACH).expect("detach");
        fs.unmount();
    });
}

#[test]
fn binds_in_a_dead_mount_go_on_resolving() {
    in_world(|| {
        let fs = Setup::default()
            .tree(|tree| {
                (tree.entry_valid, tree.attr_valid) = (1000, 1000);
                files(tree);
            })
            .serve();
        world::tmpfs("inner", "/tmp/m/d");
        world::write("/tmp/m/d/x", "alive");
        // Ends the connection, and cannot unmount.
        assert_errno!(umount(MOUNT, libc::MNT_FORCE), EBUSY);
        assert_eq!(errno(fs::read_dir(MOUNT)), libc::ENOTCONN);
        assert_eq!(read("/tmp/m/d/x"), "alive");
        umount("/tmp/m/d", 0).expect("the inner one");
        umount(MOUNT, 0).expect("the dead one");
        drop(fs);
    });
}

#[test]
fn a_user_namespace_may_mount_and_shows_its_own_ids() {
    in_world(|| {
        // Nobody has done what udev does.
        fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).expect("chmod");
        spawn(|| {
            syscall!(SYS_setgroups, 0, 0).expect("setgroups");
            syscall!(SYS_setresgid, 1000, 1000, 1000).expect("setgid");
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setuid");
            syscall!(SYS_prctl, libc::PR_SET_DUMPABLE, 1).expect("dumpable");
            user_namespace::enter();
            let fs = Setup::default().tree(files).serve();
            assert_eq!(read("/tmp/m/a"), "hello");
            let open = fs.last(op::OPEN);
            assert_eq!((open.uid, open.gid), (0, 0));
            let table = world::read("/proc/self/mountinfo");
            let line = table.lines().find(|line| line.contains(MOUNT)).expect("the line");
            assert!(line.contains("user_id=0,group_id=0"), "{line}");
            assert_eq!(fs::metadata("/tmp/m/a").expect("stat").uid(), 0);
            fs.unmount();
        })
        .join();
    });
}

#[test]
fn ids_without_a_mapping_are_einval() {
    in_world(|| {
        spawn(|| {
            user_namespace::enter();
            let device = device();
            assert_errno!(mount_device(&device, MOUNT, ",user_id=5"), EINVAL);
            assert_errno!(mount_device(&device, MOUNT, ",group_id=5"), EINVAL);
        })
        .join();
    });
}

#[test]
fn a_descriptor_of_another_user_namespace_cannot_be_mounted() {
    in_world(|| {
        let device = device();
        spawn(move || {
            user_namespace::enter();
            assert_errno!(mount_device(&device, MOUNT, ""), EINVAL);
        })
        .join();
    });
}

#[test]
fn who_faults_when_the_server_dies_gets_sigbus() {
    in_world(|| {
        let fs = Setup::default().tree(files).on(op::READ, |_| Answer::Never).serve();
        fs.ready();
        let child = spawn(|| {
            let file = File::open("/tmp/m/a").expect("open");
            let address = syscall!(SYS_mmap, 0, 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0).expect("mmap");
            // SAFETY: the mapping is there; that its page is not is what is tried.
            std::hint::black_box(unsafe { (address as *const u8).read_volatile() });
        });
        fs.wait_for(op::READ, 1);
        let _ = umount(MOUNT, libc::MNT_FORCE);
        assert_eq!(child.status(), Status::Killed(libc::SIGBUS));
        drop(fs);
    });
}

#[test]
fn a_write_of_memory_that_is_a_mapping_of_the_same_file() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", &[b'x'; 8192]));
        let file = fs::OpenOptions::new().read(true).write(true).open("/tmp/m/a").expect("open");
        let address = syscall!(SYS_mmap, 0, 8192, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0).expect("mmap");
        let written = syscall!(SYS_pwrite64, file.as_raw_fd(), address, 4096, 4096);
        assert_eq!(written, Ok(4096));
        syscall!(SYS_munmap, address, 8192).expect("munmap");
        drop(file);
        assert_eq!(fs.tree(|tree| tree.content(2)), [b'x'; 8192]);
        fs.unmount();
    });
}

#[test]
fn renaming_under_a_caller_that_waits_loses_nothing() {
    in_world(|| {
        let fs = Fs::with(files);
        fs.on(op::RENAME, |_| {
            thread::sleep(Duration::from_millis(50));
            Answer::AsTree
        });
        let renamer = thread::spawn(|| fs::rename("/tmp/m/a", "/tmp/m/d/a"));
        let looker = thread::spawn(|| (0..20).map(|_| names("/tmp/m/d").len()).max());
        renamer.join().expect("the renamer").expect("rename");
        looker.join().expect("the looker");
        assert_eq!(names("/tmp/m/d"), ["a", "inner"]);
        fs.unmount();
    });
}

#[test]
fn an_expired_entry_keeps_open_files_usable() {
    in_world(|| {
        let fs = Fs::with(files);
        let file = File::open("/tmp/m/d/inner").expect("open");
        fs.notify(notify::INVAL_ENTRY, &Body::default().u64(1).u32(1).u32(0).bytes(b"d\0").0).expect("notify");
        let mut bytes = [0; 6];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).expect("pread");
        assert_eq!((&bytes, read("/tmp/m/d/inner")), (b"inside", "inside".into()));
        drop(file);
        fs.unmount();
    });
}

#[test]
fn a_killed_caller_of_a_blocked_init_leaves_the_server_alone() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        let caller = spawn(|| drop(fs::read_dir(MOUNT)));
        thread::sleep(Duration::from_millis(50));
        abi::signal::send(caller.pid(), libc::SIGKILL);
        assert_eq!(caller.status(), Status::Killed(libc::SIGKILL));
        assert_eq!(read_request(&device).expect("INIT").opcode, op::INIT);
        umount(MOUNT, 0).expect("umount");
    });
}

#[test]
fn each_mount_has_a_device_number_of_its_own() {
    in_world(|| {
        let one = Fs::with(files);
        mkdir("/tmp/n");
        let mut setup = Setup::default().tree(files);
        setup.target = "/tmp/n";
        let two = setup.serve();
        let (first, second) = (fs::metadata("/tmp/m/a").expect("stat").dev(), fs::metadata("/tmp/n/a").expect("stat").dev());
        assert_ne!(first, second);
        assert_eq!((libc::major(first), libc::major(second)), (0, 0));
        two.unmount();
        one.unmount();
    });
}
