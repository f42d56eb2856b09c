//! Flag sets, with the values of Linux's own interfaces where a system call carries them.

use bitflags::bitflags;

use crate::refusal::{Refusal, Rule};

bitflags! {
    /// The flags of one mount that its owner may set (F6), with the values of `MOUNT_ATTR_*` (A17).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct MountFlags: u32 {
        /// No writing through this mount.
        const RDONLY = 0x1;
        /// Set-id bits and file capabilities are ignored.
        const NOSUID = 0x2;
        /// Device nodes cannot be opened.
        const NODEV = 0x4;
        /// Nothing can be executed.
        const NOEXEC = 0x8;
        /// Access times are not updated.
        const NOATIME = 0x10;
        /// Access times of directories are not updated.
        const NODIRATIME = 0x80;
        /// Access times are updated when they are older than the other times. (Linux shows this bit by itself; in
        /// `MOUNT_ATTR_*` it is the absence of the others.)
        const RELATIME = 0x100;
        /// Symbolic links that lie on this mount are not followed.
        const NOSYMFOLLOW = 0x20_0000;
    }
}

impl MountFlags {
    /// The bits that M3 and the atime lock (K2) treat as one.
    pub const ATIME: Self = Self::NOATIME.union(Self::NODIRATIME).union(Self::RELATIME);
}

bitflags! {
    /// What a more privileged user namespace fixed on a mount (K1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Locks: u8 {
        /// The mount may not be taken away.
        const MOUNT = 0x1;
        /// `RDONLY` may not be cleared.
        const RDONLY = 0x2;
        /// `NOSUID` may not be cleared.
        const NOSUID = 0x4;
        /// `NODEV` may not be cleared.
        const NODEV = 0x8;
        /// `NOEXEC` may not be cleared.
        const NOEXEC = 0x10;
        /// The atime bits may not be changed.
        const ATIME = 0x20;
    }
}

bitflags! {
    /// Flags of a superblock that views show (W4, W9).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct SuperFlags: u32 {
        /// `ro`
        const RDONLY = 0x1;
        /// `sync`
        const SYNCHRONOUS = 0x10;
        /// `mand`
        const MANDLOCK = 0x40;
        /// `dirsync`
        const DIRSYNC = 0x80;
        /// `lazytime`
        const LAZYTIME = 0x200_0000;
    }
}

bitflags! {
    /// What a filesystem says of mounts of its superblocks.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct SuperblockTraits: u32 {
        /// Not mountable by users: pipes, sockets, nsfs (F9, B1). Files of it can be bound only where a rule says so.
        const NO_USER = 0x1;
        /// A new mount of it must show no more than is visible already (N12): proc, sysfs.
        const MUST_BE_VISIBLE = 0x2;
        /// Mounts of it can have an id mapping (A22).
        const ALLOWS_IDMAP = 0x4;
    }
}

bitflags! {
    /// The flags word of mount(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct MountCallFlags: u64 {
        /// `MS_RDONLY`
        const RDONLY = 1;
        /// `MS_NOSUID`
        const NOSUID = 2;
        /// `MS_NODEV`
        const NODEV = 4;
        /// `MS_NOEXEC`
        const NOEXEC = 8;
        /// `MS_SYNCHRONOUS`
        const SYNCHRONOUS = 16;
        /// `MS_REMOUNT`
        const REMOUNT = 32;
        /// `MS_MANDLOCK`
        const MANDLOCK = 64;
        /// `MS_DIRSYNC`
        const DIRSYNC = 128;
        /// `MS_NOSYMFOLLOW`
        const NOSYMFOLLOW = 256;
        /// `MS_NOATIME`
        const NOATIME = 1 << 10;
        /// `MS_NODIRATIME`
        const NODIRATIME = 1 << 11;
        /// `MS_BIND`
        const BIND = 1 << 12;
        /// `MS_MOVE`
        const MOVE = 1 << 13;
        /// `MS_REC`
        const REC = 1 << 14;
        /// `MS_SILENT`
        const SILENT = 1 << 15;
        /// `MS_POSIXACL`
        const POSIXACL = 1 << 16;
        /// `MS_UNBINDABLE`
        const UNBINDABLE = 1 << 17;
        /// `MS_PRIVATE`
        const PRIVATE = 1 << 18;
        /// `MS_SLAVE`
        const SLAVE = 1 << 19;
        /// `MS_SHARED`
        const SHARED = 1 << 20;
        /// `MS_RELATIME`
        const RELATIME = 1 << 21;
        /// `MS_KERNMOUNT`
        const KERNMOUNT = 1 << 22;
        /// `MS_I_VERSION`
        const I_VERSION = 1 << 23;
        /// `MS_STRICTATIME`
        const STRICTATIME = 1 << 24;
        /// `MS_LAZYTIME`
        const LAZYTIME = 1 << 25;
        /// `MS_NOUSER`
        const NOUSER = 1 << 31;
        // Other bits are carried and ignored, or refused by C1.
        const _ = !0;
    }
}

bitflags! {
    /// The flags of umount2(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct UmountFlags: u32 {
        /// `MNT_FORCE`
        const FORCE = 1;
        /// `MNT_DETACH`
        const DETACH = 2;
        /// `MNT_EXPIRE`
        const EXPIRE = 4;
        /// `UMOUNT_NOFOLLOW`
        const NOFOLLOW = 8;
    }
}

bitflags! {
    /// The flags of move_mount(2) (A6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct MoveMountFlags: u32 {
        /// `MOVE_MOUNT_F_SYMLINKS`
        const F_SYMLINKS = 0x1;
        /// `MOVE_MOUNT_F_AUTOMOUNTS`
        const F_AUTOMOUNTS = 0x2;
        /// `MOVE_MOUNT_F_EMPTY_PATH`
        const F_EMPTY_PATH = 0x4;
        /// `MOVE_MOUNT_T_SYMLINKS`
        const T_SYMLINKS = 0x10;
        /// `MOVE_MOUNT_T_AUTOMOUNTS`
        const T_AUTOMOUNTS = 0x20;
        /// `MOVE_MOUNT_T_EMPTY_PATH`
        const T_EMPTY_PATH = 0x40;
        /// `MOVE_MOUNT_SET_GROUP`
        const SET_GROUP = 0x100;
        /// `MOVE_MOUNT_BENEATH`
        const BENEATH = 0x200;
    }
}

impl UmountFlags {
    /// The flags of a raw argument; unknown bits are refused (U1).
    pub fn decode(raw: u32) -> Result<Self, Refusal> {
        Self::from_bits(raw).ok_or_else(|| Refusal::new(Rule::UmountFlags))
    }
}

impl MoveMountFlags {
    /// The flags of a raw argument; unknown bits, and two ways to move at once, are refused (A6).
    pub fn decode(raw: u32) -> Result<Self, Refusal> {
        let both = Self::SET_GROUP | Self::BENEATH;
        Self::from_bits(raw).filter(|flags| !flags.contains(both)).ok_or_else(|| Refusal::new(Rule::MoveFlags))
    }
}

/// The type that mount(2) and mount_setattr(2) give a mount (C3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PropagationType {
    /// In a peer group.
    Shared,
    /// Receives from its former group, or keeps its master.
    Slave,
    /// Neither.
    Private,
    /// Private, and not to be bound.
    Unbindable,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// U1, A6
    #[test]
    fn unknown_bits_are_refused() {
        assert_eq!(UmountFlags::decode(0xf).unwrap(), UmountFlags::all());
        assert_eq!(UmountFlags::decode(0x10).unwrap_err().rule, Rule::UmountFlags);
        assert_eq!(MoveMountFlags::decode(0x177).unwrap(), MoveMountFlags::all() - MoveMountFlags::BENEATH);
        for refused in [0x8, 0x80, 0x400, 0x300] {
            assert_eq!(MoveMountFlags::decode(refused).unwrap_err().rule, Rule::MoveFlags);
        }
    }
}
