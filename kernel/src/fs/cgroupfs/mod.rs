//! `cgroup2`: control groups as directories and files (`cgroups(7)`). All mounts show one instance; a mount made in a cgroup namespace
//! shows that namespace's root and what is below.
//!
//! `directory` makes and removes groups, `files` and `limits` are what stands in each directory, `input` reads what programs write. The groups
//! themselves are in `task::cgroup`.

mod directory;
mod files;
mod input;
mod limits;
mod table;

use crate::errno::{Errno, Result};
use crate::fs::inotify::{self, Mask};
use crate::fs::permission::{self, Access};
use crate::fs::superblock::{ActiveSuperBlock, FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::{Attributes, Dentry, Inode, OpenFile, SuperBlock, walk};
use crate::sync::Once;
use crate::task::cgroup::Cgroup;
use crate::task::{Capabilities, Credentials, UserNamespace, current};
use alloc::{string::String, sync::Arc, vec::Vec};
use bitflags::bitflags;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};
use directory::Directory;
use linux_raw_sys::general::CGROUP2_SUPER_MAGIC;

/// The type "cgroup2".
pub struct CgroupFs;

/// The type, for `fs::registry`.
pub static TYPE: CgroupFs = CgroupFs;

/// The one instance, held for the life of the kernel.
static INSTANCE: Once<ActiveSuperBlock> = Once::new();

bitflags! {
    /// Mount options: they hold for the whole tree, and the last mount of the initial cgroup namespace sets them.
    #[derive(Clone, Copy)]
    struct Options: u32 {
        /// Cgroup namespaces are boundaries of delegation.
        const NSDELEGATE = 1;
        /// Kept and shown: membership changes are cheap anyhow.
        const FAVORDYNMODS = 1 << 1;
        /// `memory.events` counts what happens in the group itself only.
        const MEMORY_LOCALEVENTS = 1 << 2;
        /// Kept and shown: memory is not reclaimed, so all of it is protected.
        const MEMORY_RECURSIVEPROT = 1 << 3;
    }
}

impl Options {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::NSDELEGATE, "nsdelegate"),
        (Self::FAVORDYNMODS, "favordynmods"),
        (Self::MEMORY_LOCALEVENTS, "memory_localevents"),
        (Self::MEMORY_RECURSIVEPROT, "memory_recursiveprot"),
    ];

    fn named(key: &str, value: Option<&[u8]>) -> Result<Self> {
        if value.is_some() {
            return Err(Errno::INVAL);
        }
        Self::NAMES.iter().find(|(_, name)| *name == key).map(|(option, _)| *option).ok_or(Errno::INVAL)
    }

    fn now() -> Self {
        Self::from_bits_truncate(OPTIONS.load(Ordering::Relaxed))
    }
}

static OPTIONS: AtomicU32 = AtomicU32::new(0);

/// Takes over what a mount or remount asks for, if it comes from the initial cgroup namespace.
fn apply_options(options: &[(String, Option<Vec<u8>>)]) -> Result<()> {
    let mut wanted = Options::empty();
    for (key, value) in options {
        wanted |= Options::named(key, value.as_deref())?;
    }
    if current().namespaces().cgroup.is_initial {
        OPTIONS.store(wanted.bits(), Ordering::Relaxed);
    }
    Ok(())
}

/// Whether cgroup namespaces are boundaries of delegation (`nsdelegate`).
pub fn delegates_to_namespaces() -> bool {
    Options::now().contains(Options::NSDELEGATE)
}

/// Whether `memory.events` counts what happens in the group itself only.
pub fn counts_local_memory_events() -> bool {
    Options::now().contains(Options::MEMORY_LOCALEVENTS)
}

impl FileSystemType for CgroupFs {
    fn name(&self) -> &'static str {
        "cgroup2"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        Options::named(key, value).map(drop)
    }

    /// A mount shows a cgroup namespace: it needs power over that.
    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let owner = current().namespaces().cgroup.owner.clone();
        if !request.credentials.capable_in(Capabilities::SYS_ADMIN, &owner) {
            return Err(Errno::PERM);
        }
        apply_options(&request.options)?;
        Ok(INSTANCE.call_once(make).superblock().clone())
    }

    fn top(&self, superblock: &SuperBlock) -> Result<Arc<Dentry>> {
        let root = current().namespaces().cgroup.root.clone();
        let mut names: Vec<&[u8]> = root.ancestors().filter(|group| !group.is_root()).map(|group| &*group.name).collect();
        let mut at = superblock.root_dentry().ok_or(Errno::NODEV)?;
        while let Some(name) = names.pop() {
            at = walk::look_up(&at, name)?;
            at.inode().ok_or(Errno::NOENT)?;
        }
        Ok(at)
    }
}

fn make() -> ActiveSuperBlock {
    let superblock = SuperBlock::new(&TYPE, 0, UserNamespace::initial(), None, Arc::new(CgroupSuper));
    let top = Directory::make(&superblock, Cgroup::root(), Attributes::new(0o755, 0, 0));
    superblock.set_root(top);
    ActiveSuperBlock::new(superblock)
}

struct CgroupSuper;

impl SuperBlockOps for CgroupSuper {
    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        FileSystemStatistics {
            magic: u64::from(CGROUP2_SUPER_MAGIC),
            block_size_bytes: crate::mm::PAGE_SIZE_BYTES as u64,
            name_max_bytes: 255,
            ..Default::default()
        }
    }

    fn show_options(&self, _superblock: &SuperBlock, out: &mut dyn Write) -> core::fmt::Result {
        let options = Options::now();
        Options::NAMES.iter().filter(|(option, _)| options.contains(*option)).try_for_each(|(_, name)| write!(out, ",{name}"))
    }

    fn reconfigure(&self, _superblock: &Arc<SuperBlock>, _flags: u32, options: &[(String, Option<Vec<u8>>)]) -> Result<()> {
        apply_options(options)
    }

    /// Files of controllers come and go.
    fn revalidate(&self, dentry: &Arc<Dentry>) -> bool {
        dentry.inode().is_none_or(|inode| files::is_there(&inode))
    }

    fn caches_negative(&self) -> bool {
        false
    }

    /// Seen from the reader's cgroup namespace, `/..` for what lies outside.
    fn shown_root(&self, dentry: &Dentry) -> Option<Vec<u8>> {
        let inode = dentry.inode()?;
        let group = &inode.downcast::<Directory>()?.group;
        Some(group.path_from(&current().namespaces().cgroup.root))
    }
}

/// The group whose directory is open. `EBADF` if it is not one, `ENOENT` if it was removed.
pub fn group_of(file: &OpenFile) -> Result<Arc<Cgroup>> {
    let directory = file.inode.downcast::<Directory>().ok_or(Errno::BADF)?;
    if directory.group.is_dead() { Err(Errno::NOENT) } else { Ok(directory.group.clone()) }
}

/// Whether the credentials allow `access` to the group's `cgroup.procs`: who may write that of the lowest group above two may move
/// processes between them (`cgroup-v2.rst`, "Delegation Containment").
pub fn check_procs_access(group: &Cgroup, credentials: &Credentials, access: Access) -> Result<()> {
    let inode: Arc<Inode> = group.directory().ok_or(Errno::NODEV)?;
    let directory = inode.downcast::<Directory>().ok_or(Errno::NODEV)?;
    let file = directory.file(&inode, files::PROCS)?;
    permission::check(&file, credentials, access)
}

/// A file of the group has changed: who watches it or its directory hears of it.
pub fn modified(group: &Cgroup, name: &str) {
    let Some(inode) = group.directory() else { return };
    let Some(file) = inode.downcast::<Directory>().and_then(|directory| directory.known_file(name)) else { return };
    inotify::entry_event(&inode, name.as_bytes(), &file, Mask::MODIFY);
    inotify::inode_event(&file, Mask::MODIFY);
}
