//! Bind mounts of the kernel below a root: all of them or none, undone in reverse order.
//!
//! Each is prepared where nobody sees it (open_tree(2) with `OPEN_TREE_CLONE`), gets its options (mount_setattr(2)), and
//! only then is put in its place (move_mount(2)): there is no moment in which a read-only bind can be written to.

use crate::bind::{BindMount, BindOptions, Propagation, check_distinct};
use crate::journal::{Deed, Journal};
use crate::target::{Found, check_kinds, find, is_directory, open_or_make, open_path, remove_made};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The binds of one root, in place. [`Self::undo`] takes them away; so does dropping, which cannot complain.
#[derive(Debug)]
pub struct KernelBinds {
    root: PathBuf,
    journal: Journal,
}

/// Checks all binds against the files that are there, before anything is changed: sources exist, targets do not leave the
/// root and are of the kind of their sources. `lowers` are directories that show through where the root has nothing.
///
/// # Errors
/// With the first bind that cannot be, and why.
pub fn check(root: &Path, lowers: &[PathBuf], binds: &[BindMount]) -> Result<()> {
    check_distinct(binds)?;
    for (index, bind) in binds.iter().enumerate() {
        let source = open_path(&bind.source).with_context(|| format!("the source of `{}`", bind.target.display()))?;
        let source_is_directory = is_directory(&source)?;
        // A target inside an earlier one will be found in that one's source.
        let around = binds[..index].iter().filter_map(|earlier| Some((earlier, bind.target.strip_prefix(&earlier.target).ok()?)));
        let around = around.max_by_key(|(earlier, _)| earlier.target.components().count());
        let (places, rest) = match around {
            Some((earlier, rest)) => (vec![earlier.source.clone()], rest),
            None => (std::iter::once(root.to_owned()).chain(lowers.iter().cloned()).collect(), bind.target.as_path()),
        };
        for place in places {
            if let Found::Whole(target) = find(open_path(&place)?, rest)? {
                check_kinds(&bind.target, is_directory(target)?, &bind.source, source_is_directory)?;
                break;
            }
        }
    }
    Ok(())
}

impl KernelBinds {
    /// Undoes what the journal's former owner left, checks the binds, and makes them. A failure undoes what was made.
    ///
    /// # Errors
    /// With the bind, the call and the path. Nothing is left behind.
    pub fn make(root: &Path, lowers: &[PathBuf], binds: &[BindMount], mut journal: Journal) -> Result<Self> {
        clean_up(&mut journal).context("undoing what an earlier server left")?;
        check(root, lowers, binds)?;
        journal.enter(Deed::Root(root.to_owned()))?;
        let mut made = Self { root: root.to_owned(), journal };
        for bind in binds {
            if let Err(error) = made.add(bind) {
                let error = error.context(format!("binding `{}` to `{}`", bind.source.display(), bind.target.display()));
                return Err(match made.undo() {
                    Ok(()) => error,
                    Err(undoing) => error.context(format!("and undoing failed too: {undoing:#}")),
                });
            }
        }
        Ok(made)
    }

    fn add(&mut self, bind: &BindMount) -> Result<()> {
        let root = open_path(&self.root)?;
        let source = open_path(&bind.source)?;
        let directory = is_directory(&source)?;
        let target = open_or_make(&root, &bind.target, directory, &mut self.journal)?;
        check_kinds(&bind.target, is_directory(&target)?, &bind.source, directory)?;
        let tree = prepared(source.as_fd(), &bind.options)?;
        // The mount keeps its id when it moves to its place.
        self.journal.enter(Deed::Mounted(bind.target.clone(), mount_id(tree.as_fd())?))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&tree, "", &target, "", flags).context("move_mount(2)")
    }

    /// The journal, for what else is to be remembered.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Takes everything away, last made first.
    ///
    /// # Errors
    /// When something cannot be undone; it goes on with the rest, and the journal stays for the next start.
    pub fn undo(mut self) -> Result<()> {
        clean_up(&mut self.journal)?;
        std::mem::replace(&mut self.journal, Journal::in_memory()).close()
    }
}

impl Drop for KernelBinds {
    fn drop(&mut self) {
        // Without anybody to tell; what stays is in the journal for the next start.
        let _ = clean_up(&mut self.journal);
    }
}

/// A copy of the mount(s) at `source`, in no namespace yet, with its options.
fn prepared(source: BorrowedFd<'_>, options: &BindOptions) -> Result<OwnedFd> {
    let recursive = if options.recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH | recursive;
    let tree = rustix::mount::open_tree(source, "", flags).map_err(|error| {
        let advice = match error {
            Errno::PERM => "; it needs CAP_SYS_ADMIN: as root, or with --bind-mode namespace or user",
            Errno::INVAL => "; in a user namespace a source with mounts below it can only be bound with all of them: add the option `rec`",
            _ => "",
        };
        anyhow::anyhow!("open_tree(2): {error}{advice}")
    })?;
    let chosen = [
        (options.read_only, libc::MOUNT_ATTR_RDONLY),
        (options.nosuid, libc::MOUNT_ATTR_NOSUID),
        (options.nodev, libc::MOUNT_ATTR_NODEV),
        (options.noexec, libc::MOUNT_ATTR_NOEXEC),
    ];
    let set = chosen.iter().filter(|(wanted, _)| *wanted).fold(0, |set, (_, attribute)| set | attribute);
    if set != 0 {
        change(&tree, set, 0, true).context("mount_setattr(2) of the bind's flags")?;
    }
    let kind = match options.propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Shared => libc::MS_SHARED,
    };
    change(&tree, 0, kind, options.propagation_recursive).context("mount_setattr(2) of the bind's propagation")?;
    Ok(tree)
}

/// mount_setattr(2), which rustix does not have.
fn change(tree: &OwnedFd, set: u64, propagation: u64, recursive: bool) -> std::io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a string, and the structure lives as long as the call and has the size that is told.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), c"".as_ptr(), flags, &raw const attributes, size_of::<libc::mount_attr>())
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn mount_id(file: BorrowedFd<'_>) -> Result<u64> {
    Ok(rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).context("statx(2) of a mount")?.stx_mnt_id)
}

/// Undoes all deeds of a journal, last first, as far as they are still there, and empties it.
///
/// # Errors
/// With the first deed that could not be undone; the others are tried all the same, and the journal keeps them.
pub fn clean_up(journal: &mut Journal) -> Result<()> {
    let deeds = journal.deeds().to_vec();
    let Some(root) = deeds.iter().find_map(|deed| if let Deed::Root(root) = deed { Some(root.clone()) } else { None }) else {
        return journal.clear();
    };
    let mut first_error = None;
    for deed in deeds.iter().rev() {
        if let Err(error) = undo_deed(&root, deed) {
            first_error.get_or_insert(error);
        }
    }
    match first_error {
        None => journal.clear(),
        Some(error) => Err(error),
    }
}

fn undo_deed(root: &Path, deed: &Deed) -> Result<()> {
    match deed {
        Deed::Root(_) => Ok(()),
        Deed::MadeFile(path) => open_path(root).map_or(Ok(()), |root| remove_made(root, path)),
        Deed::Mounted(path, id) => detach(root, path, *id),
        Deed::Served(mountpoint) => detach_dead(mountpoint),
    }
}

/// Detaches the mount at `path` below the root if it is the one that was made.
fn detach(root: &Path, path: &Path, id: u64) -> Result<()> {
    let Ok(root) = open_path(root) else { return Ok(()) };
    let Found::Whole(found) = find(root, path)? else { return Ok(()) };
    if mount_id(found.as_fd())? != id {
        return Ok(());
    }
    // The descriptor names the very mount, whatever happens to the path meanwhile.
    let place = format!("/proc/self/fd/{}", found.as_raw_fd());
    rustix::mount::unmount(place, UnmountFlags::DETACH).with_context(|| format!("umount2(\"{}\", MNT_DETACH)", path.display()))
}

/// Takes away a FUSE mount whose server is dead; a living one is left alone.
fn detach_dead(mountpoint: &Path) -> Result<()> {
    match rustix::fs::statfs(mountpoint) {
        Err(Errno::NOTCONN | Errno::CONNABORTED) => match rustix::mount::unmount(mountpoint, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        {
            Ok(()) => Ok(()),
            Err(error) => {
                bail!("umount2(\"{}\", MNT_DETACH) of a dead server's mount: {error}; try `fusermount3 -uz {0}`", mountpoint.display())
            }
        },
        _ => Ok(()),
    }
}
