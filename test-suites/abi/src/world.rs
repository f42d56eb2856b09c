//! The place that a test works in: a namespace of its own with a fresh tmpfs, and short forms of the mount calls.

use std::ffi::CString;

use crate::Outcome;

/// A C string of `text`.
pub fn c(text: &str) -> CString {
    CString::new(text).expect("no NUL inside")
}

/// Runs `body` in a forked process whose mount namespace is private and whose working directory is a fresh tmpfs on `/tmp`.
pub fn in_mount_namespace(body: impl FnOnce()) {
    crate::in_child(|| {
        crate::syscall!(SYS_unshare, libc::CLONE_NEWNS).expect("a mount namespace");
        make("/", libc::MS_PRIVATE | libc::MS_REC).expect("a private tree");
        mount("world", "/tmp", "tmpfs", 0, "mode=755").expect("a tmpfs");
        std::env::set_current_dir("/tmp").expect("/tmp");
        body();
    });
}

/// `mount(2)`.
pub fn mount(source: &str, target: &str, kind: &str, flags: u64, data: &str) -> Outcome {
    crate::syscall!(SYS_mount, c(source).as_c_str(), c(target).as_c_str(), c(kind).as_c_str(), flags, c(data).as_c_str())
}

/// `mount(2)` where a `None` is passed as a null pointer.
pub fn mount_with_nulls(source: Option<&str>, target: &str, kind: Option<&str>, flags: u64, data: Option<&str>) -> Outcome {
    let [source, kind, data] = [source, kind, data].map(|text| text.map(c));
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    crate::syscall!(SYS_mount, pointer(&source), c(target).as_c_str(), pointer(&kind), flags, pointer(&data))
}

/// `open(2)` with these flags; a new file has mode 777.
pub fn open(path: &str, flags: i32) -> Outcome<std::fs::File> {
    let flags = rustix::fs::OFlags::from_bits_retain(flags as u32);
    Ok(rustix::fs::open(path, flags, rustix::fs::Mode::from(0o777))?.into())
}

/// `access(2)`.
pub fn access(path: &str, wanted: i32) -> Outcome {
    crate::syscall!(SYS_access, c(path).as_c_str(), wanted)
}

/// `mknod(2)`.
pub fn mknod(path: &str, mode: u32, device: u64) -> Outcome {
    crate::syscall!(SYS_mknod, c(path).as_c_str(), mode, device)
}

/// Mounts a tmpfs named `source` on `target`.
#[track_caller]
pub fn tmpfs(source: &str, target: &str) {
    mount(source, target, "tmpfs", 0, "").unwrap_or_else(|error| panic!("a tmpfs on {target}: {error:?}"));
}

/// Makes the directory and mounts a tmpfs named like it there.
#[track_caller]
pub fn new_tmpfs(target: &str) {
    mkdir(target);
    tmpfs(target.rsplit('/').next().unwrap_or(target), target);
}

/// Binds one mount.
pub fn bind(source: &str, target: &str) -> Outcome {
    mount(source, target, "", libc::MS_BIND, "")
}

/// Binds a mount with what is mounted below.
pub fn rbind(source: &str, target: &str) -> Outcome {
    mount(source, target, "", libc::MS_BIND | libc::MS_REC, "")
}

/// Moves a mount.
pub fn move_mount(source: &str, target: &str) -> Outcome {
    mount(source, target, "", libc::MS_MOVE, "")
}

/// Changes the propagation type to `kind` (`MS_SHARED`, …, perhaps with `MS_REC`).
pub fn make(target: &str, kind: u64) -> Outcome {
    mount("", target, "", kind, "")
}

/// `umount2` with `flags`.
pub fn umount(target: &str, flags: i32) -> Outcome {
    crate::syscall!(SYS_umount2, c(target).as_c_str(), flags)
}

/// `pivot_root`.
pub fn pivot_root(new_root: &str, put_old: &str) -> Outcome {
    crate::syscall!(SYS_pivot_root, c(new_root).as_c_str(), c(put_old).as_c_str())
}

/// Makes a directory, with mode 755.
#[track_caller]
pub fn mkdir(path: &str) {
    std::fs::create_dir(path).unwrap_or_else(|error| panic!("mkdir {path}: {error}"));
}

/// Makes several directories, their parents first.
#[track_caller]
pub fn mkdirs(paths: &[&str]) {
    for path in paths {
        mkdir(path);
    }
}

/// Makes an empty file or empties it.
#[track_caller]
pub fn touch(path: &str) {
    write(path, "");
}

/// Writes a whole file.
#[track_caller]
pub fn write(path: &str, content: impl AsRef<[u8]>) {
    std::fs::write(path, content).unwrap_or_else(|error| panic!("writing {path}: {error}"));
}

/// Reads a whole file as text.
#[track_caller]
pub fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {path}: {error}"))
}

/// Major and minor number of the kernel's release: some versions of Linux differ where a rule says so.
#[track_caller]
pub fn kernel_release() -> (u32, u32) {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release.split('.').map(|number| number.parse().expect("a number"));
    (numbers.next().expect("a major number"), numbers.next().expect("a minor number"))
}

/// Whether the path leads to something.
pub fn exists(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// `st_dev` and `st_ino`: which file it is.
#[track_caller]
pub fn identity(path: &str) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let data = std::fs::metadata(path).unwrap_or_else(|error| panic!("stat {path}: {error}"));
    (data.dev(), data.ino())
}

/// The names in a directory, sorted.
#[track_caller]
pub fn names(path: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("listing {path}: {error}"));
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}
