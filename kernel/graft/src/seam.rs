//! The seam: all that graft asks of the kernel around it.
//!
//! A kernel implements [`Vfs`] once, over its own dentries; [`MemoryVfs`](crate::memory_vfs::MemoryVfs) implements it over a tree in
//! memory for tests and tools. Nothing here may sleep, take the forest's lock, or change the forest: the methods are
//! called with it held.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use crate::flags::{SuperFlags, SuperblockTraits};

/// Memory ran out. Always becomes `ENOMEM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl From<TryReserveError> for OutOfMemory {
    fn from(_: TryReserveError) -> Self {
        Self
    }
}

impl From<hashbrown::TryReserveError> for OutOfMemory {
    fn from(_: hashbrown::TryReserveError) -> Self {
        Self
    }
}

/// What a dentry's inode is, as far as mounts care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DentryKind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Other,
}

/// Whether a dentry is a file of nsfs (`/proc/PID/ns/*`), and of which kind (B1, N3, N14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceFile {
    /// No file of nsfs.
    No,
    /// A mount namespace's file; the namespace's sequence number.
    Mount {
        /// See [`Forest::sequence`](crate::Forest::sequence).
        sequence: u64,
    },
    /// Another kind of namespace's file.
    Other,
}

/// A device number as mountinfo shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// Where views write their lines: bytes, since names need not be UTF-8.
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory>;
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.try_reserve(bytes.len())?;
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// What graft must know of filesystems, credentials and memory.
///
/// A kernel's implementation is usually an empty struct; one with state serves tests, tracing
/// ([`Tracer`](crate::tracer::Tracer)) and fault injection ([`FaultInjector`](crate::fault::FaultInjector)).
pub trait Vfs {
    /// A counted handle on a name in a superblock's tree. Cloning must not allocate.
    type Dentry: Clone;
    /// A counted handle on a filesystem instance. Cloning must not allocate. The filesystem shuts down when the last is dropped (O17).
    type Superblock: Clone;
    /// A counted handle on a user namespace, compared by identity. Cloning must not allocate.
    type UserNamespace: Clone + PartialEq;
    /// A task's credentials, only ever passed back to this trait.
    type Credentials;
    /// The source string of a mount (F10), shared by its clones. Cloning must not allocate.
    type Source: Clone + AsRef<[u8]>;
    /// An id mapping (A22). Cloning must not allocate.
    type IdMap: Clone;

    /// The identity of a dentry: stable and unique while any handle on it lives.
    fn dentry_key(&self, dentry: &Self::Dentry) -> u64;

    /// What the dentry is.
    fn dentry_kind(&self, dentry: &Self::Dentry) -> DentryKind;

    /// Whether the dentry, or an ancestor of it, was removed (L19).
    fn is_unlinked(&self, dentry: &Self::Dentry) -> bool;

    /// Whether `dentry` is `ancestor` or lies below it in the same superblock.
    fn is_below(&self, dentry: &Self::Dentry, ancestor: &Self::Dentry) -> bool;

    /// Calls `visit` with each name from `dentry` up to `ancestor`, deepest first, without the name of `ancestor` itself.
    ///
    /// Without an `ancestor`, up to the superblock's root. Returns whether the ancestor was reached. The names of a removed
    /// dentry are those it had.
    fn visit_names(&self, dentry: &Self::Dentry, ancestor: Option<&Self::Dentry>, visit: &mut dyn FnMut(&[u8])) -> bool;

    /// Whether the dentry is the root of its superblock (N12, W7).
    fn is_superblock_root(&self, dentry: &Self::Dentry) -> bool;

    /// Whether the directory can never hold anything: such as `/proc/fs` mount stubs (N12).
    fn is_permanently_empty(&self, dentry: &Self::Dentry) -> bool {
        let _ = dentry;
        false
    }

    /// Whether the dentry is a namespace's file.
    fn namespace_file(&self, dentry: &Self::Dentry) -> NamespaceFile {
        let _ = dentry;
        NamespaceFile::No
    }

    /// Tells that the first mount was attached on a dentry, or that the last was taken off it, anywhere.
    ///
    /// A path walk need ask the forest only about dentries for which this was last called with `true`.
    fn mountpoint_changed(&self, dentry: &Self::Dentry, is_mountpoint: bool) {
        let _ = (dentry, is_mountpoint);
    }

    /// The identity of a superblock.
    fn superblock_key(&self, superblock: &Self::Superblock) -> u64;

    /// The identity of the filesystem type of a superblock (N12).
    fn filesystem_key(&self, superblock: &Self::Superblock) -> u64;

    /// The device number that stat(2) and mountinfo show.
    fn device(&self, superblock: &Self::Superblock) -> Device;

    /// The superblock's flags of now.
    fn super_flags(&self, superblock: &Self::Superblock) -> SuperFlags;

    /// What may and may not be done with mounts of this superblock.
    fn superblock_traits(&self, superblock: &Self::Superblock) -> SuperblockTraits {
        let _ = superblock;
        SuperblockTraits::empty()
    }

    /// Writes the type's name, with the subtype where there is one (`fuse.sshfs`).
    fn write_filesystem_type(&self, superblock: &Self::Superblock, sink: &mut dyn Sink) -> Result<(), OutOfMemory>;

    /// Writes the filesystem's own options, each with a comma before it, escaped.
    fn write_options(&self, superblock: &Self::Superblock, root: &Self::Dentry, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        let _ = (superblock, root, sink);
        Ok(())
    }

    /// Writes the filesystem's statistics for mountstats, with a space before them (W10).
    fn write_statistics(&self, superblock: &Self::Superblock, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        let _ = (superblock, sink);
        Ok(())
    }

    /// Writes what the filesystem shows in place of the root's path (W7), or returns `false` and writes nothing.
    fn write_root(&self, root: &Self::Dentry, sink: &mut dyn Sink) -> Result<bool, OutOfMemory> {
        let _ = (root, sink);
        Ok(false)
    }

    /// Whether the credentials have CAP_SYS_ADMIN over a user namespace.
    fn is_admin(&self, credentials: &Self::Credentials, over: &Self::UserNamespace) -> bool;

    /// Whether the credentials have CAP_SYS_ADMIN over the initial user namespace.
    fn is_initial_admin(&self, credentials: &Self::Credentials) -> bool;

    /// Whether the credentials have CAP_SYS_ADMIN over the owner of a superblock.
    fn is_superblock_admin(&self, credentials: &Self::Credentials, superblock: &Self::Superblock) -> bool;

    /// Whether this is the initial user namespace.
    fn is_initial_user_namespace(&self, user_namespace: &Self::UserNamespace) -> bool;

    /// Asks leave for an operation to take about so much memory for good. A kernel without such limits agrees.
    fn charge(&self, bytes: usize) -> Result<(), OutOfMemory> {
        let _ = bytes;
        Ok(())
    }

    /// Counts a mount namespace against `user.max_mnt_namespaces` of its owner (N1, O13). `false`: there are too many.
    fn charge_namespace(&self, owner: &Self::UserNamespace) -> bool {
        let _ = owner;
        true
    }

    /// Takes back a count of [`charge_namespace`](Self::charge_namespace).
    fn uncharge_namespace(&self, owner: &Self::UserNamespace) {
        let _ = owner;
    }
}
