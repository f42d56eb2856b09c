//! hellofs from start to end: what is seen through the mount, who may look, and how it goes away.

use abi::child::{exit_now, wait_until};
use abi::mountinfo;
use abi::world::{in_mount_namespace, mkdir, read, umount, write};
use abi::{Child, Status, signal, spawn};
use clap::Parser;
use hellofs::Arguments;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// See capabilities(7).
const CAP_SYS_ADMIN: u32 = 21;

/// A test's world: a mount namespace with a tmpfs on /tmp and an empty directory in it.
fn in_world(body: impl FnOnce()) {
    in_mount_namespace(|| {
        mkdir("/tmp/hello");
        body();
    });
}

/// Runs the program with these arguments, in this process: its status is 0 or 1, its complaint goes to a file.
fn program(arguments: &[&str]) -> i32 {
    let arguments = Arguments::try_parse_from(["hellofs"].iter().chain(arguments)).expect("good arguments");
    match hellofs::run(&arguments) {
        Ok(()) => 0,
        Err(error) => {
            write("/tmp/complaint", format!("{error:#}"));
            1
        }
    }
}

fn complaint() -> String {
    read("/tmp/complaint")
}

/// Starts a server on /tmp/hello and waits until it answers.
fn server(arguments: &[&str]) -> Child {
    let child = spawn(|| exit_now(program(arguments)));
    wait_until("the file system answers", || mountinfo::is_mounted("/tmp/hello") && Path::new("/tmp/hello/hello").exists());
    child
}

/// Sees a server end without a complaint.
fn ends_well(child: Child) {
    assert_eq!(child.status(), Status::Exited(0));
}

/// Ends a server by a signal and sees it end well.
fn end(child: Child, by: i32) {
    signal::send(child.pid(), by);
    ends_well(child);
    assert!(!mountinfo::is_mounted("/tmp/hello"), "the mount is gone with its server");
}

#[test]
fn the_file_holds_the_five_bytes_hello() {
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        assert_eq!(read("/tmp/hello/hello"), "hello");
        let file = fs::metadata("/tmp/hello/hello").expect("stat");
        assert_eq!((file.len(), file.permissions().mode()), (5, 0o100_644));
        assert_eq!((file.atime(), file.mtime(), file.ctime()), (0, 0, 0));
        assert_eq!(abi::world::names("/tmp/hello"), ["hello"]);
        end(child, libc::SIGTERM);
    });
}

#[test]
fn parts_of_the_file_are_read_by_offset() {
    use std::os::unix::fs::FileExt;
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        let file = fs::File::open("/tmp/hello/hello").expect("open");
        let mut part = [0; 3];
        assert_eq!((file.read_at(&mut part, 1).expect("pread"), &part), (3, b"ell"));
        assert_eq!((file.read_at(&mut part, 4).expect("pread"), part[0]), (1, b'o'));
        assert_eq!(file.read_at(&mut part, 5).expect("pread"), 0);
        assert_eq!(file.read_at(&mut part, 1 << 40).expect("pread"), 0);
        drop(file);
        end(child, libc::SIGTERM);
    });
}

#[test]
fn it_cannot_be_changed() {
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        assert_eq!(fs::write("/tmp/hello/new", "").expect_err("nothing can be made").raw_os_error(), Some(libc::ENOSYS));
        assert_eq!(fs::remove_file("/tmp/hello/hello").expect_err("nothing can be removed").raw_os_error(), Some(libc::ENOSYS));
        assert_eq!(fs::metadata("/tmp/hello/other").expect_err("no such file").raw_os_error(), Some(libc::ENOENT));
        assert_eq!(read("/tmp/hello/hello"), "hello");
        end(child, libc::SIGTERM);
    });
}

#[test]
fn the_mount_shows_its_type_source_and_options() {
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        let line = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let line = line.lines().find(|line| line.contains(" /tmp/hello ")).expect("its line");
        assert!(line.contains("rw,nosuid,nodev,relatime"), "{line}");
        assert!(line.ends_with("- fuse.hellofs hello rw,user_id=0,group_id=0"), "{line}");
        end(child, libc::SIGTERM);
        let child = server(&["--allow-other", "/tmp/hello"]);
        let line = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert!(line.contains("- fuse.hellofs hello rw,user_id=0,group_id=0,allow_other\n"), "{line}");
        end(child, libc::SIGTERM);
    });
}

/// What user 1000 gets who opens the file.
fn as_other_user() -> Option<i32> {
    let child = spawn(|| {
        become_another_user();
        exit_now(fs::read("/tmp/hello/hello").map_or_else(|error| error.raw_os_error().unwrap_or(255), |_| 0));
    });
    match child.status() {
        Status::Exited(code) => Some(code),
        _ => None,
    }
}

/// Becomes user and group 1000 for good.
fn become_another_user() {
    // SAFETY: the calls take numbers only.
    let changed = unsafe { (libc::setresgid(1000, 1000, 1000), libc::setresuid(1000, 1000, 1000)) };
    assert_eq!(changed, (0, 0));
}

#[test]
fn other_users_are_let_in_only_when_asked() {
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        assert_eq!(as_other_user(), Some(libc::EACCES));
        end(child, libc::SIGTERM);
        let child = server(&["/tmp/hello", "--allow-other"]);
        assert_eq!(as_other_user(), Some(0));
        end(child, libc::SIGTERM);
    });
}

#[test]
fn both_signals_unmount() {
    in_world(|| {
        for by in [libc::SIGINT, libc::SIGTERM] {
            end(server(&["/tmp/hello"]), by);
        }
    });
}

#[test]
fn umount_by_somebody_else_ends_the_server() {
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        umount("/tmp/hello", 0).expect("it is not busy");
        ends_well(child);
    });
}

#[test]
fn a_busy_mount_goes_on_and_the_second_signal_ends_it() {
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        let file = fs::File::open("/tmp/hello/hello").expect("open");
        signal::send(child.pid(), libc::SIGTERM);
        // The server says no in its own time: it is asleep again when it has.
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(read("/tmp/hello/hello"), "hello", "it goes on serving");
        drop(file);
        end(child, libc::SIGTERM);
    });
}

#[test]
fn who_holds_a_busy_mount_is_told() {
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        let file = fs::File::open("/tmp/hello/hello").expect("open");
        assert_eq!(program(&["--umount", "/tmp/hello"]), 1);
        let told = complaint();
        let me = std::process::id();
        assert!(told.contains(&format!("process {me} (")) && told.contains("has /tmp/hello/hello open as file"), "{told}");
        assert!(told.contains("--lazy /tmp/hello"), "how to go on: {told}");
        drop(file);
        std::env::set_current_dir("/tmp/hello").expect("chdir");
        assert_eq!(program(&["--umount", "/tmp/hello"]), 1);
        assert!(complaint().contains("works in /tmp/hello"), "{}", complaint());
        std::env::set_current_dir("/").expect("chdir");
        assert_eq!(program(&["--umount", "/tmp/hello"]), 0);
        ends_well(child);
    });
}

#[test]
fn a_mount_inside_is_told_too() {
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        write("/tmp/other", "other");
        abi::world::bind("/tmp/other", "/tmp/hello/hello").expect("bind onto the file");
        assert_eq!(program(&["--umount", "/tmp/hello"]), 1);
        assert!(complaint().contains("a mount lies inside, at /tmp/hello/hello"), "{}", complaint());
        umount("/tmp/hello/hello", 0).expect("umount");
        end(child, libc::SIGTERM);
    });
}

#[test]
fn a_dead_servers_mount_is_cleaned_up() {
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        signal::send(child.pid(), libc::SIGKILL);
        child.status();
        assert_eq!(fs::metadata("/tmp/hello").expect_err("nobody answers").raw_os_error(), Some(libc::ENOTCONN));
        assert_eq!(program(&["/tmp/hello"]), 1);
        assert!(complaint().contains("hellofs --umount"), "{}", complaint());
        assert_eq!(program(&["--umount", "/tmp/hello"]), 0);
        assert!(!mountinfo::is_mounted("/tmp/hello"));
    });
}

#[test]
fn a_lazy_clean_up_works_while_busy() {
    in_world(|| {
        let child = server(&["/tmp/hello"]);
        let file = fs::File::open("/tmp/hello/hello").expect("open");
        assert_eq!(program(&["--umount", "--lazy", "/tmp/hello"]), 0);
        assert!(!mountinfo::is_mounted("/tmp/hello"));
        drop(file);
        ends_well(child);
    });
}

#[test]
fn clean_up_takes_only_its_own() {
    in_world(|| {
        assert_eq!(program(&["--umount", "/tmp/hello"]), 1);
        assert!(complaint().contains("nothing is mounted on /tmp/hello"), "{}", complaint());
        assert_eq!(program(&["--umount", "/tmp"]), 1);
        assert!(complaint().contains("type tmpfs"), "{}", complaint());
        assert!(mountinfo::is_mounted("/tmp"));
    });
}

#[test]
fn a_bad_target_is_told_with_call_and_path() {
    in_world(|| {
        assert_eq!(program(&["/tmp/missing"]), 1);
        let told = complaint();
        assert!(
            told.contains("mount(\"hello\", \"/tmp/missing\", \"fuse.hellofs\"") && told.contains("make the directory first"),
            "{told}"
        );
        write("/tmp/file", "");
        assert_eq!(program(&["/tmp/file"]), 1);
        assert!(complaint().contains("only a directory"), "{}", complaint());
        abi::capability::set_effective(CAP_SYS_ADMIN, false).expect("capset");
        assert_eq!(program(&["/tmp/hello"]), 1);
        assert!(complaint().contains("CAP_SYS_ADMIN"), "{}", complaint());
    });
}
