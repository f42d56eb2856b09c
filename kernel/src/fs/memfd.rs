//! memfd_create(2): files that live in memory and never had a name, and the seals that keep them from being changed.

use crate::errno::{Errno, Result};
use crate::fs::superblock::{FileSystemType, MountRequest};
use crate::fs::tmpfs::{self, Unnamed};
use crate::fs::{Dentry, FileOps, OpenFile, OpenFlags, Path, SuperBlock, mount};
use crate::sync::Once;
use crate::task::current;
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux_raw_sys::general as sys;

/// All seals of Linux 6.6.
const ALL_SEALS: u32 =
    sys::F_SEAL_SEAL | sys::F_SEAL_EXEC | sys::F_SEAL_SHRINK | sys::F_SEAL_GROW | sys::F_SEAL_WRITE | sys::F_SEAL_FUTURE_WRITE;
const EXECUTE_BITS: u32 = 0o111;

struct Home {
    superblock: Arc<SuperBlock>,
    root: Path,
}

/// The instance of tmpfs that holds these files.
fn home() -> Result<&'static Home> {
    static HOME: Once<Home> = Once::new();
    HOME.try_call_once(|| {
        let request = MountRequest {
            source: None,
            flags: 0,
            options: Vec::new(),
            subtype: None,
            credentials: current().credentials(),
            exclusive: false,
        };
        let superblock = Unnamed.get_tree(&request)?;
        let root = mount::kernel_mount(superblock.clone())?;
        Ok(Home { superblock, root })
    })
}

/// `memfd_create(2)`. Sealing is possible if asked for, or with `no_exec`, which makes a file that can never be executed.
pub fn create(name: &[u8], allow_sealing: bool, no_exec: bool) -> Result<Arc<OpenFile>> {
    let home = home()?;
    let (mode, seals) = match (no_exec, allow_sealing) {
        (true, _) => (0o666, sys::F_SEAL_EXEC),
        (false, true) => (0o777, 0),
        (false, false) => (0o777, sys::F_SEAL_SEAL),
    };
    let credentials = current().credentials();
    let (uid, gid) = (credentials.filesystem_uid, credentials.filesystem_gid);
    let inode = tmpfs::make_unnamed_file(&home.superblock, mode, uid, gid, seals)?;
    let shown_name = [b"memfd:", name].concat();
    let dentry = Dentry::new_unlinked(&home.superblock, home.root.dentry(), inode.clone(), shown_name);
    let path = home.root.at(dentry);
    let flags = OpenFlags::RDWR | OpenFlags::LARGEFILE;
    let ops: Arc<dyn FileOps> = inode.ops.open(&inode, &path, flags)?;
    Ok(OpenFile::new(path, inode, flags, credentials, ops))
}

/// `F_GET_SEALS`: `EINVAL` for files that cannot have any.
pub fn seals(file: &OpenFile) -> Result<u32> {
    tmpfs::content_of(&file.inode).map(|content| content.seals()).ok_or(Errno::INVAL)
}

/// `F_ADD_SEALS`: `EPERM` if the file is not open for writing or sealed against sealing, `EBUSY` for `F_SEAL_WRITE` while somebody has
/// it mapped shared and writable.
pub fn add_seals(file: &OpenFile, seals: u32) -> Result<()> {
    if !file.flags().writable() {
        return Err(Errno::PERM);
    }
    if seals & !ALL_SEALS != 0 {
        return Err(Errno::INVAL);
    }
    let content = tmpfs::content_of(&file.inode).ok_or(Errno::INVAL)?;
    // No write is half way while the seals change.
    let _changes = file.inode.lock.lock();
    if content.seals() & sys::F_SEAL_SEAL != 0 {
        return Err(Errno::PERM);
    }
    let freezes = seals & sys::F_SEAL_WRITE != 0 && content.seals() & sys::F_SEAL_WRITE == 0;
    if freezes && file.inode.mappings.has_writable_shared() {
        return Err(Errno::BUSY);
    }
    let executable = file.inode.attributes.lock().mode & EXECUTE_BITS != 0;
    let implied = if seals & sys::F_SEAL_EXEC != 0 && executable {
        sys::F_SEAL_SHRINK | sys::F_SEAL_GROW | sys::F_SEAL_WRITE | sys::F_SEAL_FUTURE_WRITE
    } else {
        0
    };
    content.add_seals(seals | implied);
    Ok(())
}
