//! Flags as numbers, as statmount and statfs give them.

use super::record::MountRecord;
use crate::flags::{MountCallFlags, MountFlags, SuperFlags};
use crate::seam::Vfs;

/// `MOUNT_ATTR_STRICTATIME`: in `MOUNT_ATTR_*` relatime is the absence of the others.
const ATTR_STRICTATIME: u64 = 0x20;
/// `MOUNT_ATTR_IDMAP`.
const ATTR_IDMAP: u64 = 0x10_0000;

impl<V: Vfs> MountRecord<'_, V> {
    /// `mnt_attr` of statmount: `MOUNT_ATTR_*` (X16).
    pub fn attribute_bits(&self) -> u64 {
        let mut bits = u64::from((self.flags - MountFlags::RELATIME).bits());
        if !self.flags.intersects(MountFlags::RELATIME | MountFlags::NOATIME) {
            bits |= ATTR_STRICTATIME;
        }
        if self.is_idmapped { bits | ATTR_IDMAP } else { bits }
    }

    /// `mnt_propagation` of statmount: `MS_SHARED` and so on; `MS_PRIVATE` where there is nothing else (X16).
    pub fn propagation_bits(&self) -> u64 {
        let facts = [
            (self.shared.is_some(), MountCallFlags::SHARED),
            (self.master.is_some(), MountCallFlags::SLAVE),
            (self.is_unbindable, MountCallFlags::UNBINDABLE),
        ];
        let held = facts.into_iter().filter(|&(holds, _)| holds);
        let bits = held.fold(MountCallFlags::empty(), |bits, (_, bit)| bits | bit);
        if bits.is_empty() { MountCallFlags::PRIVATE.bits() } else { bits.bits() }
    }
}

/// `f_flags` of statfs, but for the filesystem's own (W13).
pub fn statfs_bits(mount: MountFlags, superblock: SuperFlags) -> u64 {
    let of_mount = [
        (MountFlags::RDONLY, 0x1),
        (MountFlags::NOSUID, 0x2),
        (MountFlags::NODEV, 0x4),
        (MountFlags::NOEXEC, 0x8),
        (MountFlags::NOATIME, 0x400),
        (MountFlags::NODIRATIME, 0x800),
        (MountFlags::RELATIME, 0x1000),
        (MountFlags::NOSYMFOLLOW, 0x2000),
    ];
    let of_superblock = [(SuperFlags::RDONLY, 0x1), (SuperFlags::SYNCHRONOUS, 0x10), (SuperFlags::MANDLOCK, 0x40)];
    let mount_bits = of_mount.into_iter().filter(|&(flag, _)| mount.contains(flag)).map(|(_, bit)| bit);
    let superblock_bits = of_superblock.into_iter().filter(|&(flag, _)| superblock.contains(flag)).map(|(_, bit)| bit);
    mount_bits.chain(superblock_bits).fold(0, |bits, bit| bits | bit)
}
