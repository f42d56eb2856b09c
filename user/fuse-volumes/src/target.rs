//! A target below a root: found without leaving the root, and made where it is missing.
//!
//! The kernel does the finding: openat2(2) with `RESOLVE_BENEATH` fails with `EXDEV` where a symlink or `..` leads out of the
//! root, and there is no moment between looking and opening in which somebody could exchange a directory for a symlink.

use crate::journal::Journal;
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How much of a target is there.
#[derive(Debug)]
pub enum Found {
    /// All of it.
    Whole(OwnedFd),
    /// The directory that holds the first missing part, and the missing parts.
    Missing(OwnedFd, Vec<PathBuf>),
}

/// Opens a directory or file by name only, to be used as a starting point or a mount point.
///
/// # Errors
/// With the path.
pub fn open_path(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).with_context(|| format!("open(\"{}\", O_PATH)", path.display()))
}

fn open_below(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Looks for `target` (relative, as [`crate::BindMount`] has it) below `root`.
///
/// # Errors
/// When a symlink on the way leads out of the root, or a part of it is no directory.
pub fn find(root: impl AsFd, target: &Path) -> Result<Found> {
    let root = root.as_fd();
    let mut held = open_below(root, Path::new(".")).context("opening the root")?;
    let mut prefix = PathBuf::new();
    let mut components = target.components();
    while let Some(component) = components.next() {
        prefix.push(component);
        match open_below(root, &prefix) {
            Ok(found) => held = found,
            Err(Errno::NOENT) => {
                let missing = std::iter::once(component).chain(components).map(|component| PathBuf::from(component.as_os_str()));
                return Ok(Found::Missing(held, missing.collect()));
            }
            Err(Errno::XDEV) => {
                bail!("the target `{}` leaves the root: `{}` is a symlink that leads out of it", target.display(), prefix.display())
            }
            Err(Errno::NOTDIR) => bail!("the target `{}` cannot be: a part of `{}` is no directory", target.display(), prefix.display()),
            Err(error) => bail!("openat2(root, \"{}\", RESOLVE_BENEATH): {error}", prefix.display()),
        }
    }
    Ok(Found::Whole(held))
}

/// Whether an open file is a directory.
///
/// # Errors
/// When fstat fails.
pub fn is_directory(file: impl AsFd) -> Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file).context("fstat")?.st_mode) == FileType::Directory)
}

/// Refuses a target of another kind than its source: the kernel binds directories onto directories and files onto files.
///
/// # Errors
/// With both kinds.
pub fn check_kinds(target: &Path, target_is_directory: bool, source: &Path, source_is_directory: bool) -> Result<()> {
    let kind = |directory| if directory { "a directory" } else { "a file" };
    if target_is_directory != source_is_directory {
        let (one, other) = (kind(target_is_directory), kind(source_is_directory));
        bail!("the target `{}` is {one} and the source `{}` {other}: both must be of one kind", target.display(), source.display());
    }
    Ok(())
}

/// Opens `target`, making what is missing: directories with mode 0755, and at the end a directory or an empty file (0644).
/// What it makes goes into the journal first.
///
/// # Errors
/// As [`find`], and when something cannot be made.
pub fn open_or_make(root: impl AsFd, target: &Path, directory: bool, journal: &mut Journal) -> Result<OwnedFd> {
    let (mut held, missing) = match find(&root, target)? {
        Found::Whole(found) => return Ok(found),
        Found::Missing(held, missing) => (held, missing),
    };
    let mut made: PathBuf = target.components().take(target.components().count() - missing.len()).collect();
    for (index, name) in missing.iter().enumerate() {
        made.push(name);
        journal.made_file(&made)?;
        let path = || format!("making `{}` below the root", made.display());
        if directory || index + 1 < missing.len() {
            rustix::fs::mkdirat(&held, name, Mode::from_raw_mode(0o755)).with_context(path)?;
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&held, name, flags, Mode::from_raw_mode(0o644)).with_context(path)?;
        }
        held = rustix::fs::openat(&held, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).with_context(path)?;
    }
    Ok(held)
}

/// Takes away what [`open_or_make`] made, if it is as empty as it was then; somebody's files are never removed.
///
/// # Errors
/// When the root cannot be searched.
pub fn remove_made(root: impl AsFd, made: &Path) -> Result<()> {
    let (parent, name) = (made.parent().unwrap_or(Path::new("")), made.file_name().context("a path without a name")?);
    let parent = match find(&root, parent)? {
        Found::Whole(parent) => parent,
        // Somebody else took it away.
        Found::Missing(..) => return Ok(()),
    };
    let Ok(status) = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
    let removed = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR),
        FileType::RegularFile if status.st_size == 0 => rustix::fs::unlinkat(&parent, name, AtFlags::empty()),
        _ => return Ok(()),
    };
    match removed {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::NOENT) => Ok(()),
        Err(error) => bail!("removing `{}`, which was made for a bind: {error}", made.display()),
    }
}
