//! The flags word of mount(2): which operation it asks for, and with what (F4 to F6).

use crate::flags::{MountCallFlags, MountFlags, PropagationType};
use crate::refusal::{Refusal, Rule, require};
use crate::remount::RemountFlags;

/// The operation that mount(2) performs (F5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountCall {
    /// `MS_REMOUNT | MS_BIND`: [`Forest::remount_bind`](crate::Forest::remount_bind).
    RemountBind(RemountFlags),
    /// `MS_REMOUNT`: the flags for the mount; those for the superblock are in the word.
    Remount(RemountFlags),
    /// `MS_BIND`: [`Forest::bind`](crate::Forest::bind).
    Bind {
        /// `MS_REC`
        recursive: bool,
    },
    /// `MS_SHARED` and so on: [`Forest::change_type`](crate::Forest::change_type), unless the flags are refused there (C1).
    ChangeType {
        /// What to change to; the refusal stands behind all checks of the target.
        to: Result<PropagationType, Refusal>,
        /// `MS_REC`
        recursive: bool,
    },
    /// `MS_MOVE`: [`Forest::move_mount`](crate::Forest::move_mount).
    Move,
    /// A new mount: [`Forest::new_mount`](crate::Forest::new_mount) with these flags.
    New(MountFlags),
}

/// What the upper half of the word must be for the lower half to be all that counts (F4a).
const MAGIC: u64 = 0xC0ED_0000;
const MAGIC_MASK: u64 = 0xFFFF_0000;

impl MountCall {
    /// Decodes the flags word. Returns it, cleared of the magic number, with the operation.
    ///
    /// Errors: `MS_NOUSER` (F4b). Permission is asked between that and the dispatch, but nothing in the dispatch fails.
    pub fn decode(word: u64) -> Result<(MountCallFlags, Self), Refusal> {
        let word = if word & MAGIC_MASK == MAGIC { word & !MAGIC_MASK } else { word };
        let flags = MountCallFlags::from_bits_retain(word);
        require(!flags.contains(MountCallFlags::NOUSER), Rule::NoUser)?;
        Ok((flags, Self::dispatch(flags)))
    }

    /// F5: the first that matches.
    fn dispatch(flags: MountCallFlags) -> Self {
        use MountCallFlags as Flag;
        let types = Flag::SHARED | Flag::PRIVATE | Flag::SLAVE | Flag::UNBINDABLE;
        let recursive = flags.contains(Flag::REC);
        if flags.contains(Flag::REMOUNT | Flag::BIND) {
            Self::RemountBind(remount_flags(flags))
        } else if flags.contains(Flag::REMOUNT) {
            Self::Remount(remount_flags(flags))
        } else if flags.contains(Flag::BIND) {
            Self::Bind { recursive }
        } else if flags.intersects(types) {
            Self::ChangeType { to: propagation_type(flags), recursive }
        } else if flags.contains(Flag::MOVE) {
            Self::Move
        } else {
            Self::New(mount_flags(flags))
        }
    }
}

/// The flags of the mount alone (F6).
fn mount_flags(call: MountCallFlags) -> MountFlags {
    use MountCallFlags as Flag;
    let pairs = [
        (Flag::RDONLY, MountFlags::RDONLY),
        (Flag::NOSUID, MountFlags::NOSUID),
        (Flag::NODEV, MountFlags::NODEV),
        (Flag::NOEXEC, MountFlags::NOEXEC),
        (Flag::NODIRATIME, MountFlags::NODIRATIME),
        (Flag::NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
    ];
    let set = pairs.into_iter().filter(|&(asked, _)| call.contains(asked));
    let flags = set.fold(MountFlags::empty(), |flags, (_, flag)| flags | flag);
    if call.contains(Flag::STRICTATIME) {
        flags
    } else if call.contains(Flag::NOATIME) {
        flags | MountFlags::NOATIME
    } else {
        flags | MountFlags::RELATIME
    }
}

/// M2, M3.
fn remount_flags(call: MountCallFlags) -> RemountFlags {
    use MountCallFlags as Flag;
    let atime = Flag::NOATIME | Flag::NODIRATIME | Flag::RELATIME | Flag::STRICTATIME;
    RemountFlags { flags: mount_flags(call), keeps_atime: !call.intersects(atime) }
}

/// C1: exactly one type, and nothing besides but `MS_REC` and `MS_SILENT`.
fn propagation_type(call: MountCallFlags) -> Result<PropagationType, Refusal> {
    use MountCallFlags as Flag;
    match call.difference(Flag::REC | Flag::SILENT) {
        Flag::SHARED => Ok(PropagationType::Shared),
        Flag::SLAVE => Ok(PropagationType::Slave),
        Flag::PRIVATE => Ok(PropagationType::Private),
        Flag::UNBINDABLE => Ok(PropagationType::Unbindable),
        _ => Err(Refusal::new(Rule::ChangeTypeFlags)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(flags: MountCallFlags) -> MountCall {
        MountCall::decode(flags.bits()).unwrap().1
    }

    /// F4a
    #[test]
    fn the_magic_number_takes_the_high_flags_away() {
        let word = 0xC0ED_0000 | MountCallFlags::NOSUID.bits();
        let (flags, call) = MountCall::decode(word).unwrap();
        assert_eq!(flags, MountCallFlags::NOSUID);
        assert_eq!(call, MountCall::New(MountFlags::NOSUID | MountFlags::RELATIME));
    }

    /// F4b
    #[test]
    fn nouser_is_refused() {
        let refusal = MountCall::decode(MountCallFlags::NOUSER.bits()).unwrap_err();
        assert_eq!(refusal.rule, Rule::NoUser);
    }

    /// F5
    #[test]
    fn the_first_operation_that_matches_wins() {
        use MountCallFlags as Flag;
        assert_eq!(decode(Flag::BIND | Flag::SHARED), MountCall::Bind { recursive: false });
        assert_eq!(decode(Flag::BIND | Flag::MOVE | Flag::REC), MountCall::Bind { recursive: true });
        assert!(matches!(decode(Flag::REMOUNT | Flag::SHARED), MountCall::Remount(_)));
        assert!(matches!(decode(Flag::REMOUNT | Flag::BIND), MountCall::RemountBind(_)));
        assert!(matches!(decode(Flag::SHARED | Flag::MOVE), MountCall::ChangeType { to: Err(_), .. }));
        assert_eq!(decode(Flag::MOVE), MountCall::Move);
        let slave = MountCall::ChangeType { to: Ok(PropagationType::Slave), recursive: true };
        assert_eq!(decode(Flag::SLAVE | Flag::REC | Flag::SILENT), slave);
    }

    /// F6
    #[test]
    fn relatime_is_the_default_and_strictatime_wins() {
        use MountCallFlags as Flag;
        assert_eq!(decode(Flag::empty()), MountCall::New(MountFlags::RELATIME));
        assert_eq!(decode(Flag::NOATIME), MountCall::New(MountFlags::NOATIME));
        assert_eq!(decode(Flag::NOATIME | Flag::STRICTATIME), MountCall::New(MountFlags::empty()));
        let nodiratime = MountFlags::RELATIME | MountFlags::NODIRATIME;
        assert_eq!(decode(Flag::NODIRATIME), MountCall::New(nodiratime));
    }

    /// M3
    #[test]
    fn a_remount_without_atime_flags_keeps_them() {
        use MountCallFlags as Flag;
        let flags = RemountFlags { flags: MountFlags::RDONLY | MountFlags::RELATIME, keeps_atime: true };
        assert_eq!(decode(Flag::REMOUNT | Flag::BIND | Flag::RDONLY), MountCall::RemountBind(flags));
        let flags = RemountFlags { keeps_atime: false, ..flags };
        let asked = Flag::REMOUNT | Flag::BIND | Flag::RDONLY | Flag::RELATIME;
        assert_eq!(decode(asked), MountCall::RemountBind(flags));
    }
}
