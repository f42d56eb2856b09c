//! `ns-tool mount` as its parent sees it: run as root inside a guest.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ns-tool");
const POINT: &str = "/mnt/test_mount";

fn own_mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap()
}

#[test]
fn the_output_has_the_mount_and_its_type() {
    let output = Command::new(PROGRAM).arg("mount").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("tmpfs") && text.contains(POINT) && text.contains("type tmpfs (rw,nosuid,nodev"), "{text}");
    assert!(text.contains("is what it was before, and does not have /mnt/test_mount"), "{text}");
}

#[test]
fn the_parent_s_table_never_has_the_mount() {
    let existed = Path::new("/mnt").exists();
    let before = own_mounts();
    assert!(!before.contains(POINT));
    let mut child = Command::new(PROGRAM)
        .args(["mount", "--keep"])
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shell = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    // While the shell runs in the namespace, the mount is there and not here.
    shell.write_all(b"grep -c /mnt/test_mount /proc/self/mounts; echo text > /mnt/test_mount/file; echo ready\n").unwrap();
    let shown: Vec<String> = lines.by_ref().take_while(|line| line != "ready").collect();
    assert_eq!(shown.last().map(String::as_str), Some("1"), "{shown:?}");
    assert_eq!(own_mounts(), before);
    assert!(!Path::new(POINT).join("file").exists());
    shell.write_all(b"exit 3\n").unwrap();
    drop(shell);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(own_mounts(), before);
    assert!(!Path::new(POINT).exists() && Path::new("/mnt").exists() == existed, "the folder is left");
}

#[test]
fn a_failure_names_call_path_errno_and_what_to_do() {
    // Nobody but root may make a mount namespace.
    use std::os::unix::process::CommandExt;
    let output = Command::new(PROGRAM).arg("mount").uid(65534).gid(65534).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(words.starts_with("ns-tool: unshare(CLONE_NEWNS): EPERM ") && words.contains("run it as root"), "{words}");
}
