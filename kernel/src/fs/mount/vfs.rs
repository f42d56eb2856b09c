//! The seam: how graft sees the kernel's dentries, superblocks and credentials.

use crate::fs::generated::TableDirectory;
use crate::fs::superblock::{ActiveSuperBlock, split_device};
use crate::fs::{Dentry, FileType, nsfs};
use crate::task::namespace_count;
use crate::task::namespaces::Kind;
use crate::task::{Capabilities, Credentials, UserNamespace};
use alloc::{sync::Arc, vec::Vec};
use core::fmt::Write;
use core::sync::atomic::Ordering;
use graft::flags::{SuperFlags, SuperblockTraits};
use graft::seam::{DentryKind, Device, NamespaceFile, OutOfMemory, Sink};

/// The kernel as graft sees it. It has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct KernelVfs;

/// A user namespace, compared by identity.
#[derive(Clone)]
pub struct UserNamespaceHandle(pub Arc<UserNamespace>);

impl PartialEq for UserNamespaceHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl graft::Vfs for KernelVfs {
    type Dentry = Arc<Dentry>;
    type Superblock = ActiveSuperBlock;
    type UserNamespace = UserNamespaceHandle;
    type Credentials = Credentials;
    type Source = Arc<[u8]>;
    type IdMap = UserNamespaceHandle;

    fn dentry_key(&self, dentry: &Self::Dentry) -> u64 {
        dentry.key
    }

    fn dentry_kind(&self, dentry: &Self::Dentry) -> DentryKind {
        match dentry.inode().map(|inode| inode.file_type) {
            Some(FileType::Directory) => DentryKind::Directory,
            Some(FileType::Symlink) => DentryKind::Symlink,
            _ => DentryKind::Other,
        }
    }

    fn is_unlinked(&self, dentry: &Self::Dentry) -> bool {
        dentry.is_unlinked()
    }

    fn is_below(&self, dentry: &Self::Dentry, ancestor: &Self::Dentry) -> bool {
        dentry.is_below(ancestor)
    }

    fn visit_names(&self, dentry: &Self::Dentry, ancestor: Option<&Self::Dentry>, visit: &mut dyn FnMut(&[u8])) -> bool {
        dentry.visit_names(ancestor.map(|ancestor| &**ancestor), visit)
    }

    fn is_superblock_root(&self, dentry: &Self::Dentry) -> bool {
        dentry.parent().is_none()
    }

    fn is_permanently_empty(&self, dentry: &Self::Dentry) -> bool {
        dentry.inode().is_some_and(|inode| inode.downcast::<TableDirectory>().is_some_and(|directory| directory.is_mount_point))
    }

    fn namespace_file(&self, dentry: &Self::Dentry) -> NamespaceFile {
        nsfs::namespace_file(dentry)
    }

    fn mountpoint_changed(&self, dentry: &Self::Dentry, is_mountpoint: bool) {
        dentry.mounted.store(u32::from(is_mountpoint), Ordering::Relaxed);
    }

    fn superblock_key(&self, superblock: &Self::Superblock) -> u64 {
        superblock.superblock().key
    }

    fn filesystem_key(&self, superblock: &Self::Superblock) -> u64 {
        // The types themselves have no size, so that their addresses need not differ; their names do.
        superblock.superblock().file_system.name().as_ptr().addr() as u64
    }

    fn device(&self, superblock: &Self::Superblock) -> Device {
        let (major, minor) = split_device(superblock.superblock().device);
        Device { major, minor }
    }

    fn super_flags(&self, superblock: &Self::Superblock) -> SuperFlags {
        SuperFlags::from_bits_truncate(superblock.superblock().flags.load(Ordering::Relaxed))
    }

    fn superblock_traits(&self, superblock: &Self::Superblock) -> SuperblockTraits {
        let superblock = superblock.superblock();
        let mut traits = SuperblockTraits::empty();
        traits.set(SuperblockTraits::NO_USER, superblock.ops.kernel_internal());
        traits.set(SuperblockTraits::MUST_BE_VISIBLE, matches!(superblock.file_system.name(), "proc" | "sysfs"));
        traits
    }

    fn write_filesystem_type(&self, superblock: &Self::Superblock, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        let superblock = superblock.superblock();
        sink.put(superblock.file_system.name().as_bytes())?;
        match &superblock.subtype {
            Some(subtype) => {
                sink.put(b".")?;
                sink.put(subtype.as_bytes())
            }
            None => Ok(()),
        }
    }

    fn write_options(&self, superblock: &Self::Superblock, _root: &Self::Dentry, sink: &mut dyn Sink) -> Result<(), OutOfMemory> {
        let superblock = superblock.superblock();
        let mut writer = SinkWriter(sink);
        superblock.ops.show_options(superblock, &mut writer).map_err(|_| OutOfMemory)
    }

    fn write_root(&self, root: &Self::Dentry, sink: &mut dyn Sink) -> Result<bool, OutOfMemory> {
        let name: Option<Vec<u8>> = root.superblock.upgrade().and_then(|superblock| superblock.ops.shown_root(root));
        match name {
            Some(name) => sink.put(&name).map(|()| true),
            None => Ok(false),
        }
    }

    fn is_admin(&self, credentials: &Self::Credentials, over: &Self::UserNamespace) -> bool {
        credentials.capable_in(Capabilities::SYS_ADMIN, &over.0)
    }

    fn is_initial_admin(&self, credentials: &Self::Credentials) -> bool {
        credentials.capable(Capabilities::SYS_ADMIN)
    }

    fn is_superblock_admin(&self, credentials: &Self::Credentials, superblock: &Self::Superblock) -> bool {
        credentials.capable_in(Capabilities::SYS_ADMIN, &superblock.superblock().owner)
    }

    /// Linux counts for each user of the namespace; graft does not ask who makes one, so here all of them count together.
    fn charge_namespace(&self, owner: &Self::UserNamespace) -> bool {
        namespace_count::charge(Kind::Mount, &owner.0, namespace_count::ALL_USERS).is_ok()
    }

    fn uncharge_namespace(&self, owner: &Self::UserNamespace) {
        namespace_count::uncharge(Kind::Mount, &owner.0, namespace_count::ALL_USERS);
    }

    fn is_initial_user_namespace(&self, user_namespace: &Self::UserNamespace) -> bool {
        user_namespace.0.parent.is_none()
    }
}

/// A sink for bytes as a place to format text into.
struct SinkWriter<'a>(&'a mut dyn Sink);

impl Write for SinkWriter<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.put(text.as_bytes()).map_err(|_| core::fmt::Error)
    }
}
