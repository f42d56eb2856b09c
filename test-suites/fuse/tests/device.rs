//! `/dev/fuse` itself: what an open descriptor does before, while and after it is connected.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::thread;
use std::time::Duration;

use abi::world::{self, c, mkdir, mount, umount};
use abi::{Errno, assert_errno, syscall};
use fuse::cases::errno;
use fuse::server::{MOUNT, clone_device, clone_into, device, in_world, mount_device, read_request};
use fuse::wire::message;
use fuse::{Fs, Setup, op};

/// What poll(2) says at once.
fn poll(file: &File) -> i16 {
    let mut request = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN | libc::POLLOUT, revents: 0 };
    syscall!(SYS_poll, &raw mut request, 1, 0).expect("poll");
    request.revents
}

fn nonblocking() -> File {
    world::open("/dev/fuse", libc::O_RDWR | libc::O_NONBLOCK).expect("/dev/fuse")
}

fn read_into(device: &File, len: usize) -> std::io::Result<usize> {
    (&*device).read(&mut vec![0; len])
}

#[test]
fn it_is_the_character_device_10_229() {
    in_world(|| {
        let data = std::fs::metadata("/dev/fuse").expect("stat");
        assert!(data.file_type().is_char_device());
        assert_eq!((libc::major(data.rdev()), libc::minor(data.rdev())), (10, 229));
        assert!(world::read("/proc/misc").contains("229 fuse\n"));
    });
}

#[test]
fn filesystems_lists_fuse_and_fusectl() {
    in_world(|| {
        let list = world::read("/proc/filesystems");
        assert!(list.contains("nodev\tfuse\n") && list.contains("nodev\tfusectl\n"), "{list}");
    });
}

#[test]
fn an_unconnected_descriptor_can_neither_be_read_nor_written() {
    in_world(|| {
        let device = device();
        assert_eq!(errno(read_into(&device, 8192)), libc::EPERM);
        assert_eq!(errno((&device).write(&[0; 16])), libc::EPERM);
        let mut room = [0u8; 8192];
        let segment = [room.as_mut_ptr() as u64, 8192];
        assert_errno!(syscall!(SYS_readv, device.as_raw_fd(), segment.as_ptr(), 1), EPERM);
    });
}

#[test]
fn an_unconnected_descriptor_polls_as_an_error() {
    in_world(|| assert_eq!(poll(&device()), libc::POLLERR));
}

#[test]
fn it_has_no_position_and_no_pages() {
    in_world(|| {
        let device = device();
        assert_errno!(syscall!(SYS_lseek, device.as_raw_fd(), 0, 0), ESPIPE);
        let mapped = syscall!(SYS_mmap, 0, 4096, libc::PROT_READ, libc::MAP_SHARED, device.as_raw_fd(), 0);
        assert_eq!(mapped, Err(Errno(libc::ENODEV)));
    });
}

#[test]
fn an_unknown_ioctl_is_enotty() {
    in_world(|| assert_errno!(syscall!(SYS_ioctl, device().as_raw_fd(), 0x1234, 0), ENOTTY));
}

#[test]
fn clone_refuses_what_is_not_a_connected_device() {
    in_world(|| {
        let (clone, other) = (device(), device());
        assert_errno!(clone_into(&clone, -1), EINVAL);
        assert_errno!(clone_into(&clone, other.as_raw_fd()), EINVAL);
        let null = File::open("/dev/null").expect("null");
        assert_errno!(clone_into(&clone, null.as_raw_fd()), EINVAL);
    });
}

#[test]
fn a_fresh_mount_has_init_waiting() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        assert_eq!(poll(&device), libc::POLLIN | libc::POLLOUT);
        let init = read_request(&device).expect("INIT");
        assert_eq!((init.opcode, init.node, init.uid, init.gid, init.pid), (op::INIT, 0, 0, 0, 0));
        assert_eq!(init.unique % 2, 0);
        assert_eq!((init.u32_at(0), init.len as usize), (7, init.body.len() + 40));
        assert!(init.u32_at(4) >= 31);
        assert_eq!(poll(&device), libc::POLLOUT);
    });
}

#[test]
fn reading_with_nothing_to_read_is_eagain_if_it_may_not_block() {
    in_world(|| {
        let device = nonblocking();
        mount_device(&device, MOUNT, "").expect("mount");
        read_request(&device).expect("INIT");
        assert_eq!(errno(read_into(&device, 8192)), libc::EAGAIN);
    });
}

#[test]
fn a_buffer_of_less_than_8192_bytes_is_refused_and_loses_nothing() {
    in_world(|| {
        let device = nonblocking();
        mount_device(&device, MOUNT, "").expect("mount");
        assert_eq!(errno(read_into(&device, 8191)), libc::EINVAL);
        assert_eq!(read_into(&device, 8192).expect("INIT"), read_len());
    });
}

/// The length of INIT here.
fn read_len() -> usize {
    104
}

#[test]
fn after_init_a_buffer_must_hold_a_whole_write() {
    in_world(|| {
        let device = nonblocking();
        mount_device(&device, MOUNT, "").expect("mount");
        let init = read_request(&device).expect("INIT");
        (&device).write_all(&message(init.unique, 0, &fuse::tree::Tree::default().init())).expect("the answer");
        assert_eq!(errno(read_into(&device, 65615)), libc::EINVAL);
        assert_eq!(errno(read_into(&device, 65616)), libc::EAGAIN);
    });
}

#[test]
fn readv_and_writev_spread_one_message() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        let (mut head, mut rest) = ([0u8; 40], vec![0u8; 9000]);
        let parts = [[head.as_mut_ptr() as u64, 40], [rest.as_mut_ptr() as u64, 9000]];
        let len = syscall!(SYS_readv, device.as_raw_fd(), parts.as_ptr(), 2).expect("readv");
        assert_eq!(u32::from_le_bytes(head[..4].try_into().expect("4")) as u64, len as u64);
        let unique = u64::from_le_bytes(head[8..16].try_into().expect("8"));
        let answer = message(unique, 0, &fuse::tree::Tree::default().init());
        let parts = [[answer.as_ptr() as u64, 16], [answer[16..].as_ptr() as u64, 64]];
        assert_eq!(syscall!(SYS_writev, device.as_raw_fd(), parts.as_ptr(), 2), Ok(80));
    });
}

#[test]
fn malformed_answers_are_einval_and_unknown_ones_enoent() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        let init = read_request(&device).expect("INIT");
        let write = |bytes: &[u8]| (&device).write(bytes).map_err(|error| error.raw_os_error().expect("errno"));
        assert_eq!(write(&[0; 15]), Err(libc::EINVAL));
        let mut wrong_len = message(init.unique, 0, &[0; 64]);
        wrong_len[0] = 79;
        assert_eq!(write(&wrong_len), Err(libc::EINVAL));
        assert_eq!(write(&message(init.unique, 1, &[])), Err(libc::EINVAL));
        assert_eq!(write(&message(init.unique, -512, &[])), Err(libc::EINVAL));
        assert_eq!(write(&message(init.unique + 1000, 0, &[])), Err(libc::ENOENT));
        assert_eq!(write(&message(init.unique, 0, &fuse::tree::Tree::default().init())), Ok(80));
        assert_eq!(write(&message(init.unique, 0, &fuse::tree::Tree::default().init())), Err(libc::ENOENT));
    });
}

#[test]
fn splice_takes_one_whole_request() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        let mut ends = [0i32; 2];
        syscall!(SYS_pipe2, ends.as_mut_ptr(), 0).expect("a pipe");
        let _ = syscall!(SYS_fcntl, ends[1], libc::F_SETPIPE_SZ, 1_048_576);
        let len = syscall!(SYS_splice, device.as_raw_fd(), 0, ends[1], 0, 1_052_672, 0).expect("splice");
        let mut bytes = vec![0u8; 9000];
        assert_eq!(syscall!(SYS_read, ends[0], bytes.as_mut_ptr(), bytes.len()), Ok(len));
        let init = fuse::Request::parse(&bytes[..len as usize]);
        assert_eq!((init.opcode, init.len as u64), (op::INIT, len as u64));
        let answer = message(init.unique, 0, &fuse::tree::Tree::default().init());
        assert_eq!(syscall!(SYS_write, ends[1], answer.as_ptr(), answer.len()), Ok(80));
        assert_eq!(syscall!(SYS_splice, ends[0], 0, device.as_raw_fd(), 0, 80, 0), Ok(80));
    });
}

#[test]
fn a_clone_serves_the_same_connection() {
    in_world(|| {
        let fs = Setup::default().tree(|tree| _ = tree.file("a", b"hello")).threads(3).serve();
        for _ in 0..9 {
            assert_eq!(world::read("/tmp/m/a"), "hello");
        }
        fs.unmount();
    });
}

#[test]
fn an_answer_must_come_through_the_device_that_gave_the_request() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        let clone = clone_device(&device);
        let init = read_request(&device).expect("INIT");
        let answer = message(init.unique, 0, &fuse::tree::Tree::default().init());
        assert_eq!(errno((&clone).write(&answer)), libc::ENOENT);
        assert_eq!((&device).write(&answer).expect("the answer"), 80);
    });
}

#[test]
fn a_connected_descriptor_cannot_be_mounted_at_the_same_place_again() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        assert_errno!(mount_device(&device, MOUNT, ""), EBUSY);
        umount(MOUNT, 0).expect("umount");
        assert_errno!(mount_device(&device, MOUNT, ""), ENOTCONN);
    });
}

#[test]
fn after_umount_the_server_reads_enodev() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        umount(MOUNT, 0).expect("umount");
        assert_eq!(errno(read_into(&device, 8192)), libc::ENODEV);
        assert_eq!(errno((&device).write(&message(2, 0, &[]))), libc::ENOENT);
        assert_eq!(poll(&device), libc::POLLERR);
    });
}

#[test]
fn umount_wakes_a_blocked_reader() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        read_request(&device).expect("INIT");
        let reader = device.try_clone().expect("dup");
        let thread = thread::spawn(move || errno(read_into(&reader, 8192)));
        thread::sleep(Duration::from_millis(50));
        umount(MOUNT, 0).expect("umount");
        assert_eq!(thread.join().expect("the reader"), libc::ENODEV);
    });
}

#[test]
fn epoll_tells_of_requests() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, "").expect("mount");
        let epoll = syscall!(SYS_epoll_create1, 0).expect("epoll") as i32;
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
        syscall!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, device.as_raw_fd(), &raw mut event).expect("epoll_ctl");
        assert_eq!(syscall!(SYS_epoll_wait, epoll, &raw mut event, 1, 0), Ok(1));
        read_request(&device).expect("INIT");
        assert_eq!(syscall!(SYS_epoll_wait, epoll, &raw mut event, 1, 0), Ok(0));
    });
}

#[test]
fn a_node_made_by_mknod_is_the_device_too() {
    in_world(|| {
        world::mknod("/tmp/fuse", libc::S_IFCHR | 0o600, libc::makedev(10, 229)).expect("mknod");
        let device = world::open("/tmp/fuse", libc::O_RDWR).expect("open");
        assert_eq!(errno(read_into(&device, 8192)), libc::EPERM);
        assert_eq!(std::fs::metadata("/tmp/fuse").expect("stat").permissions().mode() & 0o777, 0o600);
    });
}

/// `mount(2)` with a whole data string.
fn mount_data(data: &str) -> abi::Outcome {
    mount("server", MOUNT, "fuse", 0, data)
}

#[test]
fn the_required_options_are_required() {
    in_world(|| {
        let device = device();
        let fd = device.as_raw_fd();
        for data in [
            "rootmode=40000,user_id=0,group_id=0".to_owned(),
            format!("fd={fd},user_id=0,group_id=0"),
            format!("fd={fd},rootmode=40000,group_id=0"),
            format!("fd={fd},rootmode=40000,user_id=0"),
        ] {
            assert_eq!(mount_data(&data), Err(Errno(libc::EINVAL)), "{data}");
        }
        mount_data(&format!(",fd={fd},,rootmode=040000,user_id=0,group_id=0,")).expect("empty items are skipped");
    });
}

#[test]
fn bad_and_unknown_options_are_einval() {
    in_world(|| {
        let device = device();
        for more in [
            ",fsname=x",
            ",allow_root",
            ",nonempty",
            ",noexec",
            ",context=x",
            ",blksize=512",
            ",allow_other=1",
            ",default_permissions=1",
            ",max_read=x",
            ",user_id=-1",
            ",user_id=4294967295",
            ",group_id=x",
            ",rootmode=8",
            ",rootmode=644",
            ",fd=x",
            ",fd=-1",
        ] {
            assert_eq!(mount_device(&device, MOUNT, more), Err(Errno(libc::EINVAL)), "{more}");
        }
    });
}

#[test]
fn fd_must_be_an_open_device() {
    in_world(|| {
        let null = File::open("/dev/null").expect("null");
        assert_errno!(mount_device(&null, MOUNT, ""), EINVAL);
        let path = world::open("/dev/fuse", libc::O_PATH).expect("O_PATH");
        assert_errno!(mount_device(&path, MOUNT, ""), EINVAL);
        assert_errno!(mount_data("fd=900,rootmode=40000,user_id=0,group_id=0"), EINVAL);
    });
}

#[test]
fn the_roots_type_must_be_that_of_the_target() {
    in_world(|| {
        let device = device();
        world::touch("/tmp/file");
        assert_errno!(mount_device(&device, "/tmp/file", ""), ENOTDIR);
        let device = fuse::server::device();
        let data = format!("fd={},rootmode=100000,user_id=0,group_id=0", device.as_raw_fd());
        assert_errno!(mount_data(&data), ENOTDIR);
        let device = fuse::server::device();
        let data = format!("fd={},rootmode=100000,user_id=0,group_id=0", device.as_raw_fd());
        mount("server", "/tmp/file", "fuse", 0, &data).expect("a file on a file");
    });
}

#[test]
fn subtypes_may_have_dots_but_not_be_empty() {
    in_world(|| {
        let device = device();
        assert_errno!(fuse::server::mount_kind(&device, MOUNT, "fuse.", 0, ""), EINVAL);
        assert_errno!(fuse::server::mount_kind(&device, MOUNT, "fusexx", 0, ""), ENODEV);
        fuse::server::mount_kind(&device, MOUNT, "fuse.a.b", 0, "").expect("mount");
        assert_eq!(abi::mountinfo::at(MOUNT).kind, "fuse.a.b");
    });
}

#[test]
fn the_mount_table_shows_ids_and_what_was_given() {
    in_world(|| {
        let device = device();
        mount_device(&device, MOUNT, ",max_read=8192,allow_other,default_permissions").expect("mount");
        let table = world::read("/proc/self/mountinfo");
        let line = table.lines().find(|line| line.contains(MOUNT)).expect("the line");
        assert!(line.ends_with("- fuse server rw,user_id=0,group_id=0,default_permissions,allow_other,max_read=8192"), "{line}");
    });
}

#[test]
fn a_descriptor_opened_for_reading_can_be_mounted() {
    in_world(|| {
        let device = world::open("/dev/fuse", libc::O_RDONLY).expect("open");
        mount_device(&device, MOUNT, "").expect("mount");
        read_request(&device).expect("INIT");
    });
}

#[test]
fn without_privilege_mounting_is_eperm() {
    in_world(|| {
        let device = device();
        abi::spawn(move || {
            syscall!(SYS_setuid, 1000).expect("setuid");
            assert_errno!(mount_device(&device, MOUNT, ""), EPERM);
        })
        .join();
    });
}

#[test]
fn fsopen_makes_a_mount_of_strings() {
    in_world(|| {
        let device = device();
        let context = syscall!(SYS_fsopen, c("fuse").as_c_str(), 0).expect("fsopen") as i32;
        let set = |key: &str, value: &str| syscall!(SYS_fsconfig, context, 1, c(key).as_c_str(), c(value).as_c_str(), 0);
        set("fd", &device.as_raw_fd().to_string()).expect("fd");
        set("rootmode", "40000").expect("rootmode");
        set("user_id", "0").expect("user_id");
        set("group_id", "0").expect("group_id");
        assert_errno!(set("nonsense", "1"), EINVAL);
        syscall!(SYS_fsconfig, context, 6, 0, 0, 0).expect("create");
        let mounted = syscall!(SYS_fsmount, context, 0, 0).expect("fsmount") as i32;
        mkdir("/tmp/other");
        syscall!(SYS_move_mount, mounted, c("").as_c_str(), libc::AT_FDCWD, c("/tmp/other").as_c_str(), 4).expect("move_mount");
        assert_eq!(abi::mountinfo::at("/tmp/other").kind, "fuse");
        assert_eq!(read_request(&device).expect("INIT").opcode, op::INIT);
    });
}

#[test]
fn a_dropped_fs_ends_its_server() {
    in_world(|| {
        let fs = Fs::new();
        fs.ready();
        drop(fs);
        assert!(!abi::mountinfo::is_mounted(MOUNT));
    });
}
