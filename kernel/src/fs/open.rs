//! Opening files: `open(2)`, `openat2(2)`, `O_PATH`, `O_TMPFILE`, and the opening of programs.

use crate::errno::{Errno, Result};
use crate::fs::inode::Inode;
use crate::fs::inotify::{self, Mask};
use crate::fs::mount::{self, WriteAccess};
use crate::fs::permission::{self, Access};
use crate::fs::walk::{self, Last, LastKind, LookupFlags, Resolve, Walk};
use crate::fs::{Dentry, FileOps, FileType, OpenFile, OpenFlags, Path, attributes, names};
use crate::task::Credentials;
use alloc::{format, sync::Arc};
use graft::flags::MountFlags;

/// What a file is opened with.
#[derive(Clone, Copy, Debug)]
pub struct OpenHow {
    /// `O_*`.
    pub flags: OpenFlags,
    /// Mode of a file that is made, before umask.
    pub mode: u32,
    /// `RESOLVE_*`.
    pub resolve: Resolve,
}

/// Flags that mean something beside `O_PATH`.
pub const PATH_FLAGS: OpenFlags = OpenFlags::PATH.union(OpenFlags::DIRECTORY).union(OpenFlags::NOFOLLOW).union(OpenFlags::CLOEXEC);

impl OpenHow {
    /// As `open(2)` takes them: unknown flags are ignored, and with `O_PATH` all that does not go with it.
    pub fn from_open(flags: u32, mode: u32) -> Self {
        let mut flags = OpenFlags::from_bits_truncate(flags);
        if flags.contains(OpenFlags::PATH) {
            flags &= PATH_FLAGS;
        } else {
            // Every 64-bit program opens so.
            flags |= OpenFlags::LARGEFILE;
        }
        let makes_file = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE);
        Self { flags, mode: if makes_file { mode & 0o7777 } else { 0 }, resolve: Resolve::empty() }
    }

    /// Refuses what does not go together: `EINVAL`; `EAGAIN` for `RESOLVE_CACHED` where something would change.
    fn checked(mut self) -> Result<Self> {
        let flags = self.flags;
        if flags.contains(OpenFlags::TMPFILE) {
            let complete = flags.contains(OpenFlags::DIRECTORY) && !flags.contains(OpenFlags::CREAT);
            if !complete || !flags.writable() {
                return Err(Errno::INVAL);
            }
        } else if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
            return Err(Errno::INVAL);
        }
        let changes = OpenFlags::TRUNC | OpenFlags::CREAT | OpenFlags::TMPFILE;
        if self.resolve.contains(Resolve::CACHED) && flags.intersects(changes) {
            return Err(Errno::AGAIN);
        }
        if flags.contains(OpenFlags::SYNC) {
            self.flags |= OpenFlags::DSYNC;
        }
        Ok(self)
    }

    /// What the caller must be allowed to do with an existing file. Truncation is writing; the access mode 3 asks for both.
    fn access(&self) -> Access {
        let mut access = match (self.flags.contains(OpenFlags::WRONLY), self.flags.contains(OpenFlags::RDWR)) {
            (false, false) => Access::READ,
            (true, false) => Access::WRITE,
            _ => Access::READ | Access::WRITE,
        };
        access.set(Access::WRITE, access.contains(Access::WRITE) || self.flags.contains(OpenFlags::TRUNC));
        access
    }
}

/// Opens a file by name for the current thread.
pub fn open(directory_fd: i32, name: &[u8], how: OpenHow) -> Result<Arc<OpenFile>> {
    let how = how.checked()?;
    let walk = Walk::begin_at(directory_fd, name, how.resolve, false)?;
    open_walked(walk, how)
}

/// Opens a file by name from a given place, for the kernel itself.
pub fn open_from(start: walk::Start, name: &[u8], how: OpenHow) -> Result<Arc<OpenFile>> {
    let how = how.checked()?;
    let walk = Walk::begin(start, name, how.resolve, false)?;
    open_walked(walk, how)
}

/// Opens a place that was found without a name (`open_by_handle_at(2)`): permissions are checked as for a name that leads there.
pub fn open_unnamed_place(place: Path, how: OpenHow) -> Result<Arc<OpenFile>> {
    let credentials = crate::task::current().credentials();
    let start = walk::Start { root: place, directory: None, credentials };
    open_walked(Walk::begin(start, b"", Resolve::empty(), true)?, how.checked()?)
}

fn open_walked(mut walk: Walk<'_>, how: OpenHow) -> Result<Arc<OpenFile>> {
    let follows = !how.flags.contains(OpenFlags::NOFOLLOW);
    if how.flags.contains(OpenFlags::TMPFILE) {
        walk.walk_to_end(follows)?;
        return open_unnamed(&walk, how);
    }
    let made = if how.flags.contains(OpenFlags::CREAT) {
        find_or_create(&mut walk, how)?
    } else {
        walk.walk_to_end(follows)?;
        Made::No
    };
    let credentials = walk.credentials().clone();
    let place = walk.into_place();
    if how.flags.contains(OpenFlags::DIRECTORY) && !place.dentry().is_directory() {
        return Err(Errno::NOTDIR);
    }
    if how.flags.contains(OpenFlags::PATH) {
        return open_path_only(place, how.flags, credentials);
    }
    let created = !matches!(made, Made::No);
    open_place(place, how, created, credentials, if let Made::Opened(ops) = made { Some(ops) } else { None })
}

/// Whether `O_CREAT` made the file, and opened it in the same step.
enum Made {
    No,
    Yes,
    Opened(Arc<dyn FileOps>),
}

/// `O_CREAT`: walks to the file, or makes it.
fn find_or_create(walk: &mut Walk<'_>, how: OpenHow) -> Result<Made> {
    let exclusive = how.flags.contains(OpenFlags::EXCL);
    let follows = !exclusive && !how.flags.contains(OpenFlags::NOFOLLOW);
    loop {
        let last = walk.walk_to_parent()?;
        if last.kind != LastKind::Normal {
            walk.take(&last, false)?;
            return if exclusive { Err(Errno::EXIST) } else { Ok(Made::No) };
        }
        if last.trailing_slash {
            return Err(Errno::ISDIR);
        }
        match create_or_existing(walk, &last, how)? {
            Found::Made(made) => return Ok(made),
            Found::Existing(_) if exclusive => return Err(Errno::EXIST),
            Found::Existing(dentry) => {
                let directory = walk.current().inode().ok_or(Errno::NOENT)?;
                if !walk.enter(dentry, follows)? {
                    let found = walk.current().inode().ok_or(Errno::NOENT)?;
                    permission::check_create_in_sticky(&directory, &found, walk.credentials())?;
                    return Ok(Made::No);
                }
            }
        }
    }
}

/// What the last component of a name with `O_CREAT` led to.
enum Found {
    Existing(Arc<Dentry>),
    Made(Made),
}

/// The existing dentry of the last component; or makes the file and goes there.
fn create_or_existing(walk: &mut Walk<'_>, last: &Last, how: OpenHow) -> Result<Found> {
    let mut dentry = walk.look_up(&last.name)?;
    if dentry.inode().is_some() {
        return Ok(Found::Existing(dentry));
    }
    let parent = walk.current().clone();
    // A file that is there can be opened although nothing can be made: only then does EROFS count (L14).
    let access = WriteAccess::take(&parent);
    let directory = parent.inode().ok_or(Errno::NOENT)?;
    let changes = directory.lock.lock();
    // What was found a moment ago is not asked for again, unless somebody was here in between.
    if dentry.is_unhashed() || dentry.inode().is_some() {
        dentry = walk::look_up_locked(parent.dentry(), &last.name)?;
    }
    if dentry.inode().is_some() {
        return Ok(Found::Existing(dentry));
    }
    let _access = access?;
    let credentials = walk.credentials().clone();
    names::require_creatable(parent.dentry(), &directory, &credentials)?;
    let attributes = names::attributes_of_new(&directory, &credentials, how.mode, false)?;
    let created = directory.ops.create_and_open(&directory, &last.name, attributes, how.flags);
    // Where nothing can be made at all, opening says so in other words than mknod(2) does.
    let (inode, ops) =
        created.map_err(|error| if error == Errno::PERM && !directory.ops.decides_itself() { Errno::ACCES } else { error })?;
    dentry.instantiate(inode.clone());
    directory.ops.entered(&dentry);
    drop(changes);
    inotify::entry_event(&directory, &last.name, &inode, Mask::CREATE);
    walk.enter(dentry, false)?;
    Ok(Found::Made(ops.map_or(Made::Yes, Made::Opened)))
}

/// `O_TMPFILE`: a file in the directory's filesystem that has no name. `linkat(2)` may give it one, unless `O_EXCL`.
fn open_unnamed(walk: &Walk<'_>, how: OpenHow) -> Result<Arc<OpenFile>> {
    let directory_path = walk.current();
    let directory = directory_path.inode().filter(|inode| inode.file_type == FileType::Directory).ok_or(Errno::NOTDIR)?;
    let _access = WriteAccess::take(directory_path)?;
    let credentials = walk.credentials().clone();
    permission::check(&directory, &credentials, Access::WRITE | Access::EXECUTE)?;
    let attributes = names::attributes_of_new(&directory, &credentials, how.mode, false)?;
    let (inode, ops) = directory.ops.make_unnamed_and_open(&directory, attributes, how.flags)?;
    if !how.flags.contains(OpenFlags::EXCL) {
        inode.set_linkable();
    }
    let name = format!("#{}", inode.number).into_bytes();
    let dentry = Dentry::new_unlinked(&inode.superblock.clone(), directory_path.dentry(), inode, name);
    open_place(directory_path.at(dentry), how, true, credentials, ops)
}

fn open_path_only(place: Path, flags: OpenFlags, credentials: Arc<Credentials>) -> Result<Arc<OpenFile>> {
    let inode = place.inode().ok_or(Errno::NOENT)?;
    Ok(OpenFile::new(place, inode, flags, credentials, Arc::new(PathOnly)))
}

/// An `O_PATH` descriptor for a place that was found already (`open_tree`, `fsmount`).
pub fn path_descriptor(place: Path, ops: Option<Arc<dyn FileOps>>) -> Result<Arc<OpenFile>> {
    let inode = place.inode().ok_or(Errno::NOENT)?;
    let credentials = crate::task::current().credentials();
    Ok(OpenFile::new(place, inode, OpenFlags::PATH, credentials, ops.unwrap_or_else(|| Arc::new(PathOnly))))
}

/// What an `O_PATH` descriptor can do: nothing; the calls answer `EBADF` before they ask.
struct PathOnly;

impl FileOps for PathOnly {
    fn seekable(&self) -> bool {
        false
    }
}

/// Opens what a walk found, permissions checked (`created`: a file made just now is its maker's whatever its mode says).
pub fn open_found(place: Path, how: OpenHow, created: bool, credentials: Arc<Credentials>) -> Result<Arc<OpenFile>> {
    open_place(place, how, created, credentials, None)
}

/// As [`open_found`]; with `opened` the filesystem has opened the file already.
fn open_place(
    place: Path,
    how: OpenHow,
    created: bool,
    credentials: Arc<Credentials>,
    opened: Option<Arc<dyn FileOps>>,
) -> Result<Arc<OpenFile>> {
    let inode = place.inode().ok_or(Errno::NOENT)?;
    if how.flags.contains(OpenFlags::CREAT) && inode.file_type == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    let truncates = !created && how.flags.contains(OpenFlags::TRUNC) && inode.file_type == FileType::Regular;
    let _access = if truncates { Some(WriteAccess::take(&place)?) } else { None };
    if !created {
        check_open(&place, &inode, how, &credentials)?;
    }
    let special = matches!(inode.file_type, FileType::Fifo | FileType::CharDevice | FileType::BlockDevice | FileType::Socket);
    let takes_write_access = how.flags.writable() && !special;
    if takes_write_access {
        inode.take_write_access()?;
        mount::take_write_access(&place).inspect_err(|_| inode.release_write_access())?;
    }
    let mut file = OpenFile::with_access(place, inode, how.flags, credentials, Arc::new(PathOnly), takes_write_access);
    // Until the filesystem has opened it, the file gives back only the write access when it goes.
    file.ops = match opened {
        Some(ops) => ops,
        None => open_operations(&file, how.flags)?,
    };
    if how.flags.contains(OpenFlags::DIRECT) && !file.can_be_direct() {
        return Err(Errno::INVAL);
    }
    let file = Arc::new(file);
    inotify::file_event(file.path.dentry(), &file.inode, Mask::OPEN);
    if truncates && !file.ops.truncated_by_opening() {
        if !takes_write_access {
            file.inode.take_write_access()?;
        }
        let result = attributes::set_len(file.path.dentry(), &file.inode, 0, file.ops.handle());
        if !takes_write_access {
            file.inode.release_write_access();
        }
        result?;
    }
    Ok(file)
}

fn open_operations(file: &OpenFile, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    let inode = &file.inode;
    match inode.file_type {
        FileType::CharDevice | FileType::BlockDevice => crate::dev::registry::open(inode.file_type, inode.device, &file.path, flags),
        _ => inode.ops.open(inode, &file.path, flags),
    }
}

/// May the caller open it so? The order is that of `may_open` in `open(2)`'s errors.
fn check_open(place: &Path, inode: &Arc<Inode>, how: OpenHow, credentials: &Credentials) -> Result<()> {
    let access = how.access();
    match inode.file_type {
        FileType::Symlink => return Err(Errno::LOOP),
        FileType::Directory if access.contains(Access::WRITE) => return Err(Errno::ISDIR),
        FileType::CharDevice | FileType::BlockDevice if !devices_open_here(place) => return Err(Errno::ACCES),
        _ => {}
    }
    permission::check(inode, credentials, access)?;
    if how.flags.contains(OpenFlags::NOATIME) && !permission::is_owner_or_capable(credentials, &inode.ops.attributes(inode)?) {
        return Err(Errno::PERM);
    }
    Ok(())
}

/// Device nodes are dead on `nodev` mounts, and on filesystems that another user namespace than the first one mounted.
pub fn devices_open_here(place: &Path) -> bool {
    let owned_by_initial = mount::superblock(place.mount()).is_some_and(|superblock| superblock.owner.parent.is_none());
    owned_by_initial && !mount::flags(place.mount()).contains(MountFlags::NODEV)
}

/// A file opened to be run. While it lives nobody can open the file for writing (`ETXTBSY`).
pub struct Executable {
    /// The file, open for reading.
    pub file: Arc<OpenFile>,
}

impl Drop for Executable {
    fn drop(&mut self) {
        self.file.inode.allow_write_access();
    }
}

/// Opens a program by name: a regular file that may be executed, on a mount where programs run (L13). `EACCES`, `ETXTBSY`, `ELOOP`.
pub fn open_executable(directory_fd: i32, name: &[u8], flags: LookupFlags) -> Result<Executable> {
    let place = walk::lookup(directory_fd, name, flags)?;
    open_executable_found(place, crate::task::current().credentials())
}

/// As [`open_executable`], for a place that was found already.
pub fn open_executable_found(place: Path, credentials: Arc<Credentials>) -> Result<Executable> {
    let inode = place.inode().ok_or(Errno::NOENT)?;
    if inode.file_type == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    if inode.file_type != FileType::Regular || mount::flags(place.mount()).contains(MountFlags::NOEXEC) {
        return Err(Errno::ACCES);
    }
    permission::check(&inode, &credentials, Access::EXECUTE)?;
    inode.deny_write_access()?;
    let how = OpenHow { flags: OpenFlags::empty(), mode: 0, resolve: Resolve::empty() };
    match open_found(place, how, true, credentials) {
        Ok(file) => Ok(Executable { file }),
        Err(error) => {
            inode.allow_write_access();
            Err(error)
        }
    }
}
