//! Life and death: INIT, servers that die or hang, the ways to unmount, fusectl.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread;
use std::time::Duration;

use abi::child::wait_until;
use abi::mountinfo::is_mounted;
use abi::world::{self, bind, mkdir, mount, move_mount, read, umount};
use abi::{Status, assert_errno, signal, spawn};
use fuse::cases::errno;
use fuse::server::{MOUNT, device, in_world, mount_device, read_request};
use fuse::wire::{Body, message};
use fuse::{Answer, Fs, Setup, op};
use libc::{MNT_DETACH, MNT_FORCE};

/// A server in a process of its own.
fn forked_server() -> abi::Child {
    let child = spawn(|| {
        let _fs = Setup::default()
            .tree(|tree| {
                (tree.entry_valid, tree.attr_valid) = (1000, 1000);
                tree.file("a", b"hello");
                tree.directory("d");
            })
            .serve();
        thread::sleep(Duration::from_secs(10));
    });
    wait_until("the server answers", || fs::metadata("/tmp/m/a").is_ok());
    child
}

#[test]
fn mount_returns_before_init_is_answered_and_umount_works_then() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        umount(MOUNT, 0).expect("umount");
    });
}

#[test]
fn who_waits_for_init_can_be_killed() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        let waiting = spawn(|| drop(fs::metadata("/tmp/m/a")));
        thread::sleep(Duration::from_millis(100));
        signal::send(waiting.pid(), libc::SIGTERM);
        assert_eq!(waiting.status(), Status::Killed(libc::SIGTERM));
        // Only INIT was ever there to be read.
        assert_eq!(read_request(&device).expect("INIT").opcode, op::INIT);
    });
}

#[test]
fn another_major_version_or_an_error_refuses_the_connection() {
    in_world(|| {
        for answer in [Answer::Data(Body::default().u32(8).u32(0).bytes(&[0; 56]).0), Answer::Error(libc::EIO)] {
            let fs = Setup::default().on(op::INIT, move |_| answer.clone()).serve();
            assert_eq!(errno(std::fs::metadata("/tmp/m/a")), libc::ECONNREFUSED);
            fs.unmount();
        }
    });
}

#[test]
fn minors_12_23_31_and_99_work() {
    in_world(|| {
        for minor in [12, 23, 31, 99] {
            let fs = Setup::default()
                .tree(|tree| {
                    tree.minor = minor;
                    tree.file("a", b"hello");
                })
                .serve();
            assert_eq!(read("/tmp/m/a"), "hello");
            fs.unmount();
        }
    });
}

#[test]
fn an_init_answer_of_24_bytes_is_taken() {
    in_world(|| {
        let short = |tree: &mut fuse::tree::Tree| {
            tree.minor = 19;
            tree.file("a", b"hello");
        };
        let fs = Setup::default()
            .tree(short)
            .on(op::INIT, |_| Answer::Data(Body::default().u32(7).u32(19).u32(131_072).u32(1).u32(0).u32(131_072).0))
            .serve();
        assert_eq!(read("/tmp/m/a"), "hello");
        fs.unmount();
    });
}

#[test]
fn uniques_are_even_and_grow() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        read("/tmp/m/a");
        let uniques: Vec<u64> = [op::INIT, op::LOOKUP, op::OPEN, op::READ].iter().map(|opcode| fs.last(*opcode).unique).collect();
        assert!(uniques.iter().all(|unique| unique % 2 == 0) && uniques.is_sorted(), "{uniques:?}");
    });
}

#[test]
fn a_request_carries_the_ids_of_its_caller() {
    in_world(|| {
        let fs = Setup::default().options(",allow_other").serve();
        fs.ready();
        let child = spawn(|| {
            abi::syscall!(SYS_setgid, 1001).expect("setgid");
            abi::syscall!(SYS_setuid, 1000).expect("setuid");
            let _ = fs::metadata("/tmp/m/x");
        });
        let pid = child.pid();
        child.join();
        let lookup = fs.last(op::LOOKUP);
        assert_eq!((lookup.uid, lookup.gid, lookup.pid), (1000, 1001, pid as u32));
    });
}

#[test]
fn a_killed_server_leaves_enotconn() {
    in_world(|| {
        let server = forked_server();
        let open = File::open("/tmp/m/a").expect("open");
        signal::send(server.pid(), libc::SIGKILL);
        server.status();
        wait_until("the connection ends", || errno_of(|| fs::metadata("/tmp/m/b").map(drop)) == libc::ENOTCONN);
        assert_eq!(errno(fs::read_dir(MOUNT)), libc::ENOTCONN);
        assert_errno!(umount(MOUNT, 0), EBUSY);
        drop(open);
        umount(MOUNT, 0).expect("umount");
        assert!(!is_mounted(MOUNT));
    });
}

fn errno_of(call: impl FnOnce() -> std::io::Result<()>) -> i32 {
    call().err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

#[test]
fn who_waits_when_the_server_dies_gets_econnaborted() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        let init = read_request(&device).expect("INIT");
        let caller = thread::spawn(|| errno(fs::metadata("/tmp/m/a")));
        std::io::Write::write_all(&mut &device, &message(init.unique, 0, &fuse::tree::Tree::default().init())).expect("INIT's answer");
        assert_eq!(read_request(&device).expect("LOOKUP").opcode, op::LOOKUP);
        drop(device);
        assert_eq!(caller.join().expect("the caller"), libc::ECONNABORTED);
        assert_eq!(errno(fs::metadata("/tmp/m/a")), libc::ENOTCONN);
    });
}

#[test]
fn umount_is_ebusy_while_a_file_or_directory_is_in_use() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            tree.file("a", b"hello");
            tree.directory("d");
        });
        let open = File::open("/tmp/m/a").expect("open");
        assert_errno!(umount(MOUNT, 0), EBUSY);
        drop(open);
        std::env::set_current_dir("/tmp/m/d").expect("chdir");
        assert_errno!(umount(MOUNT, 0), EBUSY);
        std::env::set_current_dir("/").expect("chdir");
        world::tmpfs("inner", "/tmp/m/d");
        assert_errno!(umount(MOUNT, 0), EBUSY);
        umount("/tmp/m/d", 0).expect("the inner one");
        fs.unmount();
    });
}

#[test]
fn a_lazy_umount_lets_open_files_go_on() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let mut open = File::open("/tmp/m/a").expect("open");
        umount(MOUNT, MNT_DETACH).expect("umount -l");
        assert!(!is_mounted(MOUNT));
        let mut text = String::new();
        open.read_to_string(&mut text).expect("reading on");
        assert_eq!(text, "hello");
        drop(open);
        drop(fs);
    });
}

#[test]
fn a_forced_umount_ends_the_connection() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let open = File::open("/tmp/m/a").expect("open");
        assert_errno!(umount(MOUNT, MNT_FORCE), EBUSY);
        assert_eq!(errno(fs::metadata("/tmp/m/a")), libc::ENOTCONN);
        drop(open);
        umount(MOUNT, MNT_FORCE).expect("umount -f");
        drop(fs);
    });
}

#[test]
fn a_forced_umount_frees_who_waits() {
    in_world(|| {
        let fs = Setup::default().on(op::LOOKUP, |_| Answer::Never).serve();
        let caller = thread::spawn(|| errno(fs::metadata("/tmp/m/a")));
        fs.wait_for(op::LOOKUP, 1);
        let _ = umount(MOUNT, MNT_FORCE);
        assert_eq!(caller.join().expect("the caller"), libc::ECONNABORTED);
    });
}

#[test]
fn a_bind_keeps_the_connection() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            tree.directory("d");
            tree.file("a", b"hello");
        });
        mkdir("/tmp/other");
        bind(MOUNT, "/tmp/other").expect("bind");
        umount(MOUNT, 0).expect("the first mount");
        assert_eq!(read("/tmp/other/a"), "hello");
        umount("/tmp/other", 0).expect("the last mount");
        drop(fs);
    });
}

#[test]
fn it_can_be_moved_and_carry_file_binds() {
    in_world(|| {
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        mkdir("/tmp/other");
        move_mount(MOUNT, "/tmp/other").expect("move");
        world::write("/tmp/covered", "below");
        bind("/tmp/other/a", "/tmp/covered").expect("a file bind from it");
        assert_eq!(read("/tmp/covered"), "hello");
        umount("/tmp/covered", 0).expect("umount");
        world::write("/tmp/host", "host");
        bind("/tmp/host", "/tmp/other/a").expect("a file bind onto it");
        assert_eq!(read("/tmp/other/a"), "host");
        umount("/tmp/other/a", 0).expect("umount");
        umount("/tmp/other", 0).expect("umount");
        drop(fs);
    });
}

#[test]
fn a_fatal_signal_withdraws_a_request_that_was_not_read() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        let init = read_request(&device).expect("INIT");
        std::io::Write::write_all(&mut &device, &message(init.unique, 0, &fuse::tree::Tree::default().init())).expect("INIT's answer");
        let caller = spawn(|| drop(fs::metadata("/tmp/m/a")));
        thread::sleep(Duration::from_millis(100));
        signal::send(caller.pid(), libc::SIGKILL);
        assert_eq!(caller.status(), Status::Killed(libc::SIGKILL));
        let other = thread::spawn(|| errno(fs::metadata("/tmp/m/b")));
        let next = read_request(&device).expect("a request");
        assert_eq!((next.opcode, next.name(0)), (op::LOOKUP, &b"b"[..]));
        std::io::Write::write_all(&mut &device, &message(next.unique, -libc::ENOENT, &[])).expect("the answer");
        assert_eq!(other.join().expect("the other"), libc::ENOENT);
    });
}

#[test]
fn a_signal_sends_interrupt_and_the_call_ends_with_the_answer() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        let init = read_request(&device).expect("INIT");
        let write = |bytes: &[u8]| std::io::Write::write_all(&mut &device, bytes).expect("an answer");
        write(&message(init.unique, 0, &fuse::tree::Tree::default().init()));
        let caller = spawn(|| drop(fs::metadata("/tmp/m/a")));
        let lookup = read_request(&device).expect("LOOKUP");
        signal::send(caller.pid(), libc::SIGTERM);
        let interrupt = read_request(&device).expect("INTERRUPT");
        assert_eq!((interrupt.opcode, interrupt.unique, interrupt.u64_at(0)), (op::INTERRUPT, lookup.unique | 1, lookup.unique));
        write(&message(lookup.unique, -libc::EINTR, &[]));
        assert_eq!(caller.status(), Status::Killed(libc::SIGTERM));
    });
}

#[test]
fn while_one_caller_waits_another_is_served() {
    in_world(|| {
        let fs = Fs::with(|tree| {
            tree.file("slow", b"");
            tree.file("a", b"hello");
        });
        fs.on(op::OPEN, |request| if request.node == 2 { Answer::Never } else { Answer::AsTree });
        let slow = thread::spawn(|| errno(File::open("/tmp/m/slow")));
        fs.wait_for(op::OPEN, 1);
        assert_eq!(read("/tmp/m/a"), "hello");
        let open = fs.requests(op::OPEN)[0].clone();
        fs.answer(open.unique, -libc::EACCES, &[]).expect("the late answer");
        assert_eq!(slow.join().expect("the slow one"), libc::EACCES);
        fs.unmount();
    });
}

/// The directory of the connection in fusectl.
fn control() -> String {
    let minor = libc::minor(fs::metadata(MOUNT).expect("stat").dev());
    format!("/tmp/control/{minor}")
}

fn mount_control() {
    mkdir("/tmp/control");
    mount("none", "/tmp/control", "fusectl", 0, "").expect("fusectl");
}

#[test]
fn fusectl_has_a_directory_for_each_connection() {
    in_world(|| {
        mount_control();
        let fs = Fs::new();
        let directory = control();
        let mode = |name: &str| fs::metadata(format!("{directory}/{name}")).expect("stat").permissions().mode() & 0o777;
        assert_eq!(mode(""), 0o500);
        assert_eq!([mode("waiting"), mode("abort"), mode("max_background"), mode("congestion_threshold")], [0o400, 0o200, 0o600, 0o600]);
        assert_eq!(read(&format!("{directory}/waiting")), "0\n");
        assert_eq!(read(&format!("{directory}/max_background")), "12\n");
        world::write(&format!("{directory}/max_background"), "20");
        assert_eq!(read(&format!("{directory}/max_background")), "20\n");
        fs.unmount();
        assert!(!world::exists(&directory));
    });
}

#[test]
fn who_raises_the_limit_in_fusectl_lets_more_requests_out() {
    in_world(|| {
        mount_control();
        let fs = Setup::default()
            .tree(|tree| {
                (tree.entry_valid, tree.attr_valid, tree.max_background) = (1000, 1000, 1);
                tree.file("a", b"hello");
            })
            .on(op::RELEASE, |_| Answer::Never)
            .serve();
        fs.ready();
        let open_and_close = || drop(fs::File::open("/tmp/m/a").expect("open"));
        open_and_close();
        fs.wait_for(op::RELEASE, 1);
        open_and_close();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(fs.count(op::RELEASE), 1);
        world::write(&format!("{}/max_background", control()), "3");
        // Linux looks at the limit when the next request comes.
        open_and_close();
        fs.wait_for(op::RELEASE, 3);
        open_and_close();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(fs.count(op::RELEASE), 3);
        drop(fs);
    });
}

#[test]
fn abort_in_fusectl_ends_the_connection() {
    in_world(|| {
        mount_control();
        let fs = Fs::with(|tree| _ = tree.file("a", b"hello"));
        let mut open = File::open("/tmp/m/a").expect("open");
        let directory = control();
        world::write(&format!("{directory}/abort"), "1");
        assert_eq!(errno(fs::metadata("/tmp/m/b")), libc::ENOTCONN);
        assert!(open.read(&mut [0; 4]).is_err());
        assert!(is_mounted(MOUNT));
        drop(open);
        drop(fs);
    });
}

#[test]
fn statfs_passes_the_servers_numbers_on() {
    in_world(|| {
        let fs = Fs::new();
        let mut words = [0u64; 15];
        abi::syscall!(SYS_statfs, world::c(MOUNT).as_c_str(), words.as_mut_ptr()).expect("statfs");
        assert_eq!(words[0], 0x6573_5546);
        assert_eq!(words[1..7], [512, 1000, 600, 500, 90, 80]);
        assert_eq!((words[8], words[9]), (200, 1024));
        fs.unmount();
    });
}
