//! memfd_create(2): files that live in memory and never had a name. (Seals are in `seals`.)

use crate::errno::Result;
use crate::fs::superblock::{FileSystemType, MountRequest};
use crate::fs::tmpfs::{self, Unnamed};
use crate::fs::{Dentry, FileOps, Inode, OpenFile, OpenFlags, Path, SuperBlock, mount};
use crate::sync::Once;
use crate::task::current;
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux_raw_sys::general as sys;

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
    let (mode, seals) = match (no_exec, allow_sealing) {
        (true, _) => (0o666, sys::F_SEAL_EXEC),
        (false, true) => (0o777, 0),
        (false, false) => (0o777, sys::F_SEAL_SEAL),
    };
    let shown_name = [b"memfd:", name].concat();
    let (inode, path) = make_unnamed(&shown_name, mode, seals)?;
    let flags = OpenFlags::RDWR | OpenFlags::LARGEFILE;
    let ops: Arc<dyn FileOps> = inode.ops.open(&inode, &path, flags)?;
    Ok(OpenFile::new(path, inode, flags, current().credentials(), ops))
}

/// A file of the calling thread's that is shown with this name and can be found by none, and its place.
pub fn make_unnamed(shown_name: &[u8], mode: u32, seals: u32) -> Result<(Arc<Inode>, Path)> {
    let home = home()?;
    let credentials = current().credentials();
    let (uid, gid) = (credentials.filesystem_uid, credentials.filesystem_gid);
    let inode = tmpfs::make_unnamed_file(&home.superblock, mode, uid, gid, seals)?;
    let dentry = Dentry::new_unlinked(&home.superblock, home.root.dentry(), inode.clone(), shown_name.to_vec());
    Ok((inode, home.root.at(dentry)))
}
