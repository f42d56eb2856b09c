//! The program, run by root in a guest: each test in a mount namespace of its own, with a root file system of busybox on a tmpfs.

use abi::in_mount_namespace;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_container");

/// Makes the root file system, and runs the test beside it. `/tmp` is shared, as on a host.
fn with_rootfs(test: impl FnOnce()) {
    in_mount_namespace(|| {
        // The guest's root is its initramfs, which cannot be pivoted away from, as it lies on no other mount; a copy of it does.
        fs::create_dir("/tmp/host").unwrap();
        abi::world::mount("/", "/tmp/host", "", libc::MS_BIND | libc::MS_REC, "").unwrap();
        std::os::unix::fs::chroot("/tmp/host").unwrap();
        std::env::set_current_dir("/tmp").unwrap();
        fs::create_dir_all("/tmp/root/bin").unwrap();
        fs::create_dir("/tmp/root/proc").unwrap();
        fs::copy("/bin/busybox", "/tmp/root/bin/busybox").unwrap();
        std::os::unix::fs::symlink("busybox", "/tmp/root/bin/sh").unwrap();
        abi::world::make("/tmp", libc::MS_SHARED).unwrap();
        test();
    });
}

fn command(options: &[&str], script: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("run").args(options).args(["/tmp/root", "sh", "-c", script]);
    command
}

fn run(options: &[&str], script: &str) -> Output {
    command(options, script).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The mounts of this namespace: none of the runtime's may ever be among them.
fn table() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// What lies in the root file system: no mount point that was made may be left.
fn root_folder() -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir("/tmp/root").unwrap().map(|entry| text(entry.unwrap().file_name().as_encoded_bytes())).collect();
    names.sort();
    names
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(15), "never came true: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kill(child: &Child, signal: i32) {
    abi::syscall!(SYS_kill, child.id(), signal).unwrap();
}

#[test]
fn the_command_s_output_and_status_come_back() {
    with_rootfs(|| {
        let output = run(&[], "echo $$; busybox hostname; busybox ls /; exit 7");
        assert_eq!(text(&output.stdout), "1\ncontainer\nbin\nproc\n", "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(7));
    });
}

#[test]
fn a_volume_is_written_by_both_sides_and_never_seen_on_the_host() {
    with_rootfs(|| {
        let before = table();
        fs::create_dir("/tmp/volume").unwrap();
        let script =
            "echo inside > /data/inside; until [ -e /data/host ]; do busybox usleep 20000; done; busybox cat /data/host > /data/answer";
        let mut child = command(&["-v", "/tmp/volume:/data"], script).spawn().unwrap();
        eventually("the container's file", || fs::read_to_string("/tmp/volume/inside").is_ok_and(|text| text == "inside\n"));
        assert_eq!(table(), before);
        fs::write("/tmp/volume/new", "from the host").unwrap();
        fs::rename("/tmp/volume/new", "/tmp/volume/host").unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(fs::read_to_string("/tmp/volume/answer").unwrap(), "from the host");
        assert_eq!((table(), root_folder()), (before, vec!["bin".to_owned(), "proc".to_owned()]));
    });
}

#[test]
fn a_read_only_volume_refuses_the_container() {
    with_rootfs(|| {
        let output = run(&["-v", "/tmp/volume:/data:ro"], "echo x > /data/file");
        assert!(text(&output.stderr).contains("Read-only file system"), "{}", text(&output.stderr));
        assert_eq!(fs::read_dir("/tmp/volume").unwrap().count(), 0);
    });
}

#[test]
fn the_host_s_later_mounts_reach_rslave_and_not_rprivate() {
    with_rootfs(|| {
        abi::world::new_tmpfs("/tmp/volume");
        abi::world::make("/tmp/volume", libc::MS_SHARED).unwrap();
        let script = "echo ready > /slave/ready; until [ -e /slave/later/file ]; do busybox usleep 20000; done; busybox ls /private/later";
        let child = command(&["-v", "/tmp/volume:/slave:rslave", "-v", "/tmp/volume:/private"], script)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        eventually("the container's file", || Path::new("/tmp/volume/ready").exists());
        abi::world::new_tmpfs("/tmp/volume/later");
        fs::write("/tmp/volume/later/file", "").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(text(&output.stdout), "", "the private volume shows the mount's content");
    });
}

#[test]
fn a_container_s_mount_reaches_the_host_through_rshared_alone() {
    with_rootfs(|| {
        abi::world::new_tmpfs("/tmp/volume");
        abi::world::make("/tmp/volume", libc::MS_SHARED).unwrap();
        for (option, seen) in [("rslave", false), ("rshared", true)] {
            fs::create_dir_all("/tmp/volume/inner").unwrap();
            let output = run(&["-v", &format!("/tmp/volume:/data:{option}")], "busybox mount -t tmpfs inner /data/inner");
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert_eq!(table().contains("/tmp/volume/inner"), seen, "{option}");
        }
    });
}

#[test]
fn killed_or_terminated_it_leaves_nothing() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGKILL] {
        with_rootfs(|| {
            let before = table();
            let mut child =
                command(&["-v", "/tmp/volume:/data"], "echo $$ > /data/ready; while :; do busybox sleep 1; done").spawn().unwrap();
            eventually("the container's file", || Path::new("/tmp/volume/ready").exists());
            assert_eq!(root_folder(), ["bin", "data", "proc"]);
            kill(&child, signal);
            let status = child.wait().unwrap();
            if signal != libc::SIGKILL {
                assert_eq!(status.code(), Some(128 + signal));
            }
            eventually("the mount point is gone", || root_folder() == ["bin", "proc"]);
            assert_eq!(table(), before);
        });
    }
}

#[test]
fn a_failure_half_way_leaves_nothing() {
    with_rootfs(|| {
        let before = table();
        fs::write("/tmp/root/file", "").unwrap();
        let output = run(&["-v", "/tmp/one:/one", "-v", "/tmp/two:/file"], "true");
        let words = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            words.starts_with("container: mount(/tmp/two): ENOTDIR ") && words.contains("a file can only be mounted on a file"),
            "{words}"
        );
        assert_eq!((table(), root_folder()), (before.clone(), ["bin", "file", "proc"].map(str::to_owned).to_vec()));
        // A command that is not there fails after the volumes are mounted.
        let output = Command::new(PROGRAM).args(["run", "-v", "/tmp/one:/one", "/tmp/root", "/no/such/program"]).output().unwrap();
        let words = text(&output.stderr);
        assert!(words.contains("execve(/no/such/program): ENOENT"), "{words}");
        assert_eq!((table(), root_folder().len()), (before, 3));
    });
}

#[test]
fn what_is_no_volume_is_told() {
    let output = Command::new(PROGRAM).args(["run", "-v", "data", "/", "true"]).output().unwrap();
    assert!(text(&output.stderr).contains("a volume is host:container"), "{}", text(&output.stderr));
}
