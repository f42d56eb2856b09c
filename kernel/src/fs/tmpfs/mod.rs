//! tmpfs, ramfs and the rootfs: files that live in memory (`tmpfs(5)`).
//!
//! `accounting` counts pages and inodes, `options` reads what a mount asks for, `node` is an inode, `directory` its names, `file` its
//! pages, `open` what descriptors do, `handle` finds files by `open_by_handle_at(2)`.

mod accounting;
mod directory;
mod file;
mod handle;
mod node;
mod open;
mod options;

use crate::errno::{Errno, Result};
use crate::fs::handle::FileHandle;
use crate::fs::superblock::{FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::{Attributes, Dentry, FileType, Inode, SuperBlock};
use crate::mm::PAGE_SIZE_BYTES;
use crate::task::UserNamespace;
use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt::Write;
use node::Instance;
use options::Options;

pub use file::Content;
pub use node::Node;

/// `TMPFS_MAGIC` of `statfs(2)`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// `RAMFS_MAGIC` of `statfs(2)`.
const RAMFS_MAGIC: u64 = 0x8584_58f6;
/// What the top of an instance of tmpfs gets.
const DEFAULT_MODE: u32 = 0o1777;
/// What the top of an instance of ramfs gets.
const RAMFS_DEFAULT_MODE: u32 = 0o755;

/// `tmpfs`.
pub struct Tmpfs;
/// `ramfs`: tmpfs without limits, and almost without options.
pub struct Ramfs;
/// `rootfs`: the tmpfs that the initramfs is unpacked into. Programs cannot mount it.
pub struct Rootfs;
/// The instance behind `memfd_create(2)` and other files that never have a name.
pub struct Unnamed;

impl FileSystemType for Tmpfs {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        Options::default().take(key, value, &caller_namespace())
    }

    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let options = Options::take_all(&request.options, &request.credentials.user_namespace)?;
        make_tmpfs(
            self_type(self.name()),
            request.flags,
            &options,
            request.credentials.user_namespace.clone(),
            [request.credentials.filesystem_uid, request.credentials.filesystem_gid],
        )
    }
}

impl FileSystemType for Ramfs {
    fn name(&self) -> &'static str {
        "ramfs"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        Options::default().take_for_ramfs(key, value)
    }

    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let mut options = Options::default();
        for (key, value) in &request.options {
            options.take_for_ramfs(key, value.as_deref())?;
        }
        let shown = Shown { mode: options.mode.unwrap_or(RAMFS_DEFAULT_MODE), is_ramfs: true, ..Shown::default() };
        let owner = [request.credentials.filesystem_uid, request.credentials.filesystem_gid];
        make(self_type(self.name()), request.flags, request.credentials.user_namespace.clone(), 0, 0, shown, owner)
    }
}

impl FileSystemType for Rootfs {
    fn name(&self) -> &'static str {
        "rootfs"
    }

    /// A remount takes what the tables show of it.
    fn check_option(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        Tmpfs.check_option(key, value)
    }

    fn get_tree(&self, _request: &MountRequest) -> Result<Arc<SuperBlock>> {
        make_tmpfs(&Rootfs, 0, &Options::default(), UserNamespace::initial(), [0, 0])
    }
}

impl FileSystemType for Unnamed {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn check_option(&self, _key: &str, _value: Option<&[u8]>) -> Result<()> {
        Err(Errno::INVAL)
    }

    fn get_tree(&self, _request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let shown = Shown { mode: DEFAULT_MODE, kernel_internal: true, ..Shown::default() };
        make(&Unnamed, 0, UserNamespace::initial(), 0, 0, shown, [0, 0])
    }
}

/// A type's one value, which lives as long as the kernel.
fn self_type(name: &str) -> &'static dyn FileSystemType {
    if name == "ramfs" { &Ramfs } else { &Tmpfs }
}

/// The user namespace in which ids of options are meant.
fn caller_namespace() -> Arc<UserNamespace> {
    crate::task::current().credentials().user_namespace.clone()
}

/// What `show_options` compares with.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    mode: u32,
    uid: u32,
    gid: u32,
    default_max_pages: u64,
    default_max_inodes: u64,
    inode32: bool,
    no_swap: bool,
    is_ramfs: bool,
    kernel_internal: bool,
}

/// One instance as the generic code sees it.
pub struct TmpfsSuper {
    instance: Arc<Instance>,
    shown: Shown,
}

fn make_tmpfs(
    file_system: &'static dyn FileSystemType,
    flags: u32,
    options: &Options,
    owner_namespace: Arc<UserNamespace>,
    maker: [u32; 2],
) -> Result<Arc<SuperBlock>> {
    let default = options::default_max_pages();
    let owner = [options.uid.unwrap_or(maker[0]), options.gid.unwrap_or(maker[1])];
    let shown = Shown {
        mode: options.mode.unwrap_or(DEFAULT_MODE),
        uid: owner[0],
        gid: owner[1],
        default_max_pages: default,
        default_max_inodes: default,
        inode32: options.inode64 == Some(false),
        no_swap: options.no_swap,
        ..Shown::default()
    };
    let (pages, inodes) = (options.max_pages.unwrap_or(default), options.max_inodes.unwrap_or(default));
    make(file_system, flags, owner_namespace, pages, inodes, shown, owner)
}

fn make(
    file_system: &'static dyn FileSystemType,
    flags: u32,
    owner_namespace: Arc<UserNamespace>,
    max_pages: u64,
    max_inodes: u64,
    shown: Shown,
    [uid, gid]: [u32; 2],
) -> Result<Arc<SuperBlock>> {
    let instance = Instance::new(max_pages, max_inodes, shown.is_ramfs);
    let superblock = SuperBlock::new(file_system, flags, owner_namespace, None, Arc::new(TmpfsSuper { instance: instance.clone(), shown }));
    let root = instance.make(&superblock, FileType::Directory, Attributes::new(shown.mode, uid, gid), 0, None)?;
    superblock.set_root(root);
    Ok(superblock)
}

/// An instance for devtmpfs: with the limits of a tmpfs, its top writable for root only.
pub fn make_device_instance(file_system: &'static dyn FileSystemType) -> Result<Arc<SuperBlock>> {
    let options = Options { mode: Some(0o755), ..Options::default() };
    make_tmpfs(file_system, 0, &options, UserNamespace::initial(), [0, 0])
}

/// A regular file without a name and without limits on an instance of [`Unnamed`] (`memfd_create(2)`), with these seals.
pub fn make_unnamed_file(superblock: &Arc<SuperBlock>, mode: u32, uid: u32, gid: u32, seals: u32) -> Result<Arc<Inode>> {
    let tmpfs = superblock.downcast::<TmpfsSuper>().ok_or(Errno::INVAL)?;
    let inode = tmpfs.instance.make(superblock, FileType::Regular, Attributes::new(mode, uid, gid), 0, None)?;
    inode.set_links(0);
    if let Some(content) = content_of(&inode) {
        content.set_seals(seals);
    }
    Ok(inode)
}

/// The content of a regular file of tmpfs: for seals, and for whoever moves pages.
pub fn content_of(inode: &Inode) -> Option<&Arc<Content>> {
    inode.downcast::<Node>().and_then(Node::content)
}

impl SuperBlockOps for TmpfsSuper {
    fn is_immediate(&self) -> bool {
        true
    }

    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        let usage = self.instance.accounts.usage();
        let free = usage.max_pages.saturating_sub(usage.used_pages);
        FileSystemStatistics {
            magic: if self.shown.is_ramfs { RAMFS_MAGIC } else { TMPFS_MAGIC },
            block_size_bytes: PAGE_SIZE_BYTES as u64,
            blocks: usage.max_pages,
            blocks_free: free,
            blocks_available: free,
            files: usage.max_inodes,
            files_free: usage.free_inodes,
            name_max_bytes: 255,
            fragment_size_bytes: None,
        }
    }

    fn show_options(&self, superblock: &SuperBlock, out: &mut dyn Write) -> core::fmt::Result {
        let shown = &self.shown;
        if shown.is_ramfs {
            return if shown.mode == RAMFS_DEFAULT_MODE { Ok(()) } else { write!(out, ",mode={:o}", shown.mode) };
        }
        let usage = self.instance.accounts.usage();
        if usage.max_pages != shown.default_max_pages {
            write!(out, ",size={}k", usage.max_pages * (PAGE_SIZE_BYTES as u64 / 1024))?;
        }
        if usage.max_inodes != shown.default_max_inodes {
            write!(out, ",nr_inodes={}", usage.max_inodes)?;
        }
        if shown.mode != DEFAULT_MODE {
            write!(out, ",mode={:03o}", shown.mode)?;
        }
        if shown.uid != 0 {
            write!(out, ",uid={}", superblock.owner.shown_uid(shown.uid))?;
        }
        if shown.gid != 0 {
            write!(out, ",gid={}", superblock.owner.shown_gid(shown.gid))?;
        }
        out.write_str(if shown.inode32 { ",inode32" } else { ",inode64" })?;
        if shown.no_swap { out.write_str(",noswap") } else { Ok(()) }
    }

    /// Limits change; mode and owner of the top do not (they are for the first mount), nor does what is not mentioned.
    fn reconfigure(&self, superblock: &Arc<SuperBlock>, _flags: u32, options: &[(String, Option<Vec<u8>>)]) -> Result<()> {
        if self.shown.is_ramfs {
            return Ok(());
        }
        let options = Options::take_all(options, &superblock.owner)?;
        self.instance.accounts.change_limits(options.max_pages, options.max_inodes)
    }

    fn encode_handle(&self, inode: &Arc<Inode>) -> Option<FileHandle> {
        (!self.shown.is_ramfs).then(|| handle::encode(&self.instance, inode))
    }

    fn decode_handle(&self, superblock: &Arc<SuperBlock>, handle: &FileHandle) -> Result<Arc<Dentry>> {
        if self.shown.is_ramfs { Err(Errno::STALE) } else { handle::decode(&self.instance, superblock, handle) }
    }

    fn kernel_internal(&self) -> bool {
        self.shown.kernel_internal
    }
}
