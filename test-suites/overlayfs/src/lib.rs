//! The place that tests of overlayfs work in, and short words for what they do to layers and ask of them.
//!
//! Each test runs in a process and a mount namespace of its own, with a fresh tmpfs as working directory. [`in_world`] makes two lower
//! layers, an upper one, a directory for work and a mount point there; the paths of tests are relative to that.

use abi::world::{mkdirs, mknod, mount, umount};
use abi::{Errno, Outcome};
use rustix::fs::XattrFlags;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Directories that [`in_world`] makes.
const DIRECTORIES: [&str; 5] = ["lower", "lower2", "upper", "work", "m"];

/// Runs a test in a world of its own.
pub fn in_world(body: impl FnOnce()) {
    abi::in_mount_namespace(|| {
        mkdirs(&DIRECTORIES);
        body();
    });
}

/// Mounts an overlay on `m` with this option string.
pub fn overlay(data: &str) -> Outcome {
    mount("overlay", "m", "overlay", 0, data)
}

/// Mounts an overlay of `lower` and `upper` on `m`; `more` stands behind the layers, with its comma in front.
#[track_caller]
pub fn mounted(more: &str) {
    let outcome = overlay(&format!("lowerdir=lower,upperdir=upper,workdir=work{more}"));
    outcome.unwrap_or_else(|error| panic!("an overlay with {more:?}: {error:?}"));
}

/// Mounts an overlay of `lower` over `lower2`, and `upper`.
#[track_caller]
pub fn mounted_on_two(more: &str) {
    let outcome = overlay(&format!("lowerdir=lower:lower2,upperdir=upper,workdir=work{more}"));
    outcome.unwrap_or_else(|error| panic!("an overlay of three layers with {more:?}: {error:?}"));
}

/// Mounts an overlay of `lower` over `lower2` that cannot be written to.
#[track_caller]
pub fn mounted_read_only(more: &str) {
    let outcome = overlay(&format!("lowerdir=lower:lower2{more}"));
    outcome.unwrap_or_else(|error| panic!("a read-only overlay with {more:?}: {error:?}"));
}

/// Unmounts `m`.
#[track_caller]
pub fn unmounted() {
    umount("m", 0).unwrap_or_else(|error| panic!("umount: {error:?}"));
}

/// Unmounts and mounts again, so that nothing is remembered.
#[track_caller]
pub fn again(more: &str) {
    unmounted();
    mounted(more);
}

/// The options of the superblock that mountinfo shows for `m`, without `rw` or `ro` in front.
#[track_caller]
pub fn shown_options() -> String {
    let options = abi::mountinfo::top_at("/tmp/m").super_options;
    options.split_once(',').map(|(_, rest)| rest.to_owned()).unwrap_or_default()
}

/// Makes a whiteout.
#[track_caller]
pub fn whiteout(path: &str) {
    mknod(path, libc::S_IFCHR, 0).unwrap_or_else(|error| panic!("a whiteout {path}: {error:?}"));
}

/// Whether the path is a whiteout.
pub fn is_whiteout(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_char_device() && data.rdev() == 0)
}

/// What is in a directory for work or an index but for whiteouts: Linux keeps one there to make links of.
#[track_caller]
pub fn left_in(path: &str) -> Vec<String> {
    abi::world::names(path).into_iter().filter(|name| !(name.starts_with('#') && is_whiteout(&format!("{path}/{name}")))).collect()
}

/// The value of an extended attribute.
pub fn xattr(path: &str, name: &str) -> Outcome<Vec<u8>> {
    let mut value = vec![0u8; 4096];
    let len = rustix::fs::lgetxattr(path, name, &mut value[..])?;
    value.truncate(len);
    Ok(value)
}

/// Whether a file has an extended attribute.
#[track_caller]
pub fn has_xattr(path: &str, name: &str) -> bool {
    match xattr(path, name) {
        Ok(_) => true,
        Err(Errno(libc::ENODATA)) => false,
        Err(error) => panic!("{name} of {path}: {error:?}"),
    }
}

/// Sets an extended attribute.
pub fn set_xattr(path: &str, name: &str, value: &[u8]) -> Outcome<()> {
    Ok(rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())?)
}

/// The names of the extended attributes, sorted.
#[track_caller]
pub fn xattrs(path: &str) -> Vec<String> {
    let mut names = vec![0u8; 4096];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or_else(|error| panic!("listxattr {path}: {error:?}"));
    let text = String::from_utf8(names[..len].to_vec()).expect("text");
    let mut names: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
    names.sort();
    names
}

/// `st_dev`, `st_ino`, `st_nlink` and the rest, of a link itself.
#[track_caller]
pub fn stat(path: &str) -> fs::Metadata {
    fs::symlink_metadata(path).unwrap_or_else(|error| panic!("stat {path}: {error}"))
}

/// `renameat2(2)`.
pub fn rename(from: &str, to: &str, flags: u32) -> Outcome<()> {
    let here = rustix::fs::CWD;
    Ok(rustix::fs::renameat_with(here, from, here, to, rustix::fs::RenameFlags::from_bits_retain(flags))?)
}

/// `RENAME_NOREPLACE`.
pub const NO_REPLACE: u32 = 1;
/// `RENAME_EXCHANGE`.
pub const EXCHANGE: u32 = 2;
/// `RENAME_WHITEOUT`.
pub const WHITEOUT: u32 = 4;
