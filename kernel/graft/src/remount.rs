//! Remounting: the flags of one mount (chapter M), checked against its locks (K6).

use crate::caller::{Caller, Place};
use crate::flags::{Locks, MountFlags};
use crate::forest::Forest;
use crate::ids::MountSlot;
use crate::mount::Mount;
use crate::refusal::{Refusal, Rule, require};
use crate::seam::Vfs;

/// The flags that a remount gives one mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemountFlags {
    /// Exactly these: what is not here is cleared (M2).
    pub flags: MountFlags,
    /// The call named none of the atime flags: the mount keeps its own (M3).
    pub keeps_atime: bool,
}

impl<V: Vfs> Forest<V> {
    /// MS_REMOUNT | MS_BIND: changes the flags of one mount.
    ///
    /// Errors: F4, M1 in its order.
    pub fn remount_bind(&mut self, caller: &Caller<'_, V>, target: &Place<V>, flags: RemountFlags) -> Result<(), Refusal> {
        self.check_remount(caller, target, flags)?;
        let mount = self.resolve(target.mount)?;
        let entry = &self.mounts[mount];
        let becomes_read_only = flags.flags.contains(MountFlags::RDONLY) && !entry.flags.contains(MountFlags::RDONLY);
        require(!(becomes_read_only && entry.has_writers()), Rule::RemountBusy)?;
        self.set_flags(mount, resulting_flags(entry, flags));
        Ok(())
    }

    /// MS_REMOUNT: the checks before the filesystem sees its options (M1, M4). The kernel then parses them, checks
    /// [`may_remount_superblock`](Self::may_remount_superblock), changes the superblock, and calls
    /// [`commit_remount`](Self::commit_remount).
    pub fn check_remount(&self, caller: &Caller<'_, V>, target: &Place<V>, flags: RemountFlags) -> Result<(), Refusal> {
        self.require_admin(caller)?;
        let namespace = self.resolve_namespace(caller.namespace)?;
        let mount = self.resolve(target.mount)?;
        let entry = &self.mounts[mount];
        require(entry.namespace == Some(namespace), Rule::RemountElsewhere)?;
        require(self.is_mount_root(target, mount), Rule::RemountNotMountRoot)?;
        require(allowed_by_locks(entry, resulting_flags(entry, flags)), Rule::RemountLockedFlags)
    }

    /// Whether the credentials may change the superblock of a mount at all (M4, K7). A read-only superblock makes all its mounts
    /// read-only, whatever their own flag (M5).
    pub fn may_remount_superblock(&self, credentials: &V::Credentials, target: &Place<V>) -> Result<(), Refusal> {
        let mount = self.resolve(target.mount)?;
        let superblock = &self.mounts[mount].superblock;
        require(self.vfs.is_superblock_admin(credentials, superblock), Rule::RemountNotAdmin)
    }

    /// MS_REMOUNT, once the superblock has changed: gives the mount its flags and raises the event (M4, M7).
    pub fn commit_remount(&mut self, target: &Place<V>, flags: RemountFlags) {
        if let Some(mount) = self.find(target.mount) {
            self.set_flags(mount, resulting_flags(&self.mounts[mount], flags));
        }
    }

    fn set_flags(&mut self, mount: MountSlot<V>, flags: MountFlags) {
        self.mounts[mount].flags = flags;
        if let Some(namespace) = self.mounts[mount].namespace {
            self.touch(namespace);
        }
    }
}

fn resulting_flags<V: Vfs>(mount: &Mount<V>, wanted: RemountFlags) -> MountFlags {
    if wanted.keeps_atime { (wanted.flags - MountFlags::ATIME) | (mount.flags & MountFlags::ATIME) } else { wanted.flags }
}

/// Whether a mount's locks allow these flags: locked ones may not be cleared, locked atime bits not changed (K6).
pub(crate) fn allowed_by_locks<V: Vfs>(mount: &Mount<V>, flags: MountFlags) -> bool {
    let pairs = [
        (Locks::RDONLY, MountFlags::RDONLY),
        (Locks::NOSUID, MountFlags::NOSUID),
        (Locks::NODEV, MountFlags::NODEV),
        (Locks::NOEXEC, MountFlags::NOEXEC),
    ];
    let none_cleared = pairs.into_iter().all(|(lock, flag)| !mount.locks.contains(lock) || flags.contains(flag));
    let same_atime = mount.flags & MountFlags::ATIME == flags & MountFlags::ATIME;
    none_cleared && (same_atime || !mount.locks.contains(Locks::ATIME))
}
