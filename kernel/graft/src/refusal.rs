//! Why an operation was refused: an errno and the rule of `semantics.md` behind it.

use core::fmt;

use crate::seam::OutOfMemory;

/// The errnos that mount rules end in, with Linux's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are errno(3)'s")]
pub enum Errno {
    EPERM = 1,
    ENOENT = 2,
    EAGAIN = 11,
    ENOMEM = 12,
    EBUSY = 16,
    ENOTDIR = 20,
    EINVAL = 22,
    ENOSPC = 28,
    EROFS = 30,
    ELOOP = 40,
    EOVERFLOW = 75,
}

impl Errno {
    /// The positive number that errno(3) lists.
    pub const fn number(self) -> i32 {
        self as i32
    }
}

/// What an operation answers instead of a result. The forest is then what it was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What the system call returns.
    pub errno: Errno,
    /// The rule that was broken.
    pub rule: Rule,
}

impl Refusal {
    /// The refusal that a rule asks for; logged at debug level.
    pub fn new(rule: Rule) -> Self {
        log::debug!(target: "graft", "{:?} by {rule}", rule.errno());
        Self { errno: rule.errno(), rule }
    }
}

impl From<OutOfMemory> for Refusal {
    fn from(_: OutOfMemory) -> Self {
        Self::new(Rule::OutOfMemory)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} by {}", self.errno, self.rule)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl core::error::Error for Refusal {}

/// Refuses by a rule unless a condition holds.
pub(crate) fn require(condition: bool, rule: Rule) -> Result<(), Refusal> {
    if condition { Ok(()) } else { Err(Refusal::new(rule)) }
}

/// Declares [`Rule`]: for each variant its numbers in `semantics.md`, its errno, and one sentence that is its text and its doc.
macro_rules! rules {
    ($($name:ident: $errno:ident, $number:literal, $text:literal;)*) => {
        /// A rule that an operation can break. Prints as its number in `semantics.md` and its text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $(#[doc = concat!($number, ": ", $text)] $name,)*
        }

        impl Rule {
            /// Every rule, in the order of this file.
            pub const ALL: &'static [Rule] = &[$(Rule::$name),*];

            /// The errno that breaking the rule gives.
            pub const fn errno(self) -> Errno {
                match self { $(Rule::$name => Errno::$errno,)* }
            }

            /// The rule's number in `semantics.md`; a part of a numbered list after a dot.
            pub const fn number(self) -> &'static str {
                match self { $(Rule::$name => $number,)* }
            }

            /// What the rule says, in one sentence.
            pub const fn text(self) -> &'static str {
                match self { $(Rule::$name => $text,)* }
            }
        }
    };
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.number(), self.text())
    }
}

rules! {
    // Objects, and what is no rule of Linux but of memory.
    OutOfMemory: ENOMEM, "F15", "memory ran out";
    StaleMount: EINVAL, "O14", "the mount no longer exists";
    StaleNamespace: EINVAL, "O12", "the namespace no longer exists";
    TooManyNamespaces: ENOSPC, "O13", "the user has too many mount namespaces";
    TooManyMounts: ENOSPC, "O15", "a namespace would hold more than mount-max mounts";
    MountMaxTooSmall: EINVAL, "O15", "mount-max is at least 1";
    ReadOnlyMount: EROFS, "L14", "the mount is read-only";

    // mount(2).
    NoUser: EINVAL, "F4", "MS_NOUSER is not for callers";
    NotAdmin: EPERM, "F4", "the caller lacks CAP_SYS_ADMIN over its mount namespace";
    MountpointUnlinked: ENOENT, "F9", "the mountpoint was removed";
    TargetElsewhere: EINVAL, "F9", "the mount to be mounted on is not in the caller's namespace";
    SameFilesystem: EBUSY, "F9", "the same filesystem is mounted there already";
    RootIsSymlink: EINVAL, "F9", "the root of the new mount is a symbolic link";
    NotUserMountable: EINVAL, "F9", "the filesystem is not for users to mount";
    KindMismatch: ENOTDIR, "F9", "one of mountpoint and new root is a directory, the other is not";
    SourceUnlinked: ENOENT, "F14", "the root of what is attached was removed";
    TooRevealing: EPERM, "N12", "a new mount would show what the namespace hides";

    // Propagation types.
    ChangeNotMountRoot: EINVAL, "C1", "the target is not the root of a mount";
    ChangeTypeFlags: EINVAL, "C1", "exactly one propagation type, and MS_REC and MS_SILENT at most besides";
    ChangeNotMounted: EINVAL, "X6", "the mount is not mounted";
    ChangeNotAdmin: EPERM, "X6", "the caller lacks CAP_SYS_ADMIN over the mount's namespace";

    // Bind.
    BindNamespaceLoop: EINVAL, "N14", "a mount namespace's file can be bound only in an older namespace";
    BindUnbindable: EINVAL, "B1", "the source mount is unbindable";
    BindElsewhere: EINVAL, "B1", "the source mount is not in the caller's namespace";
    BindLockedChildren: EINVAL, "K5", "a locked mount covers part of the source, and only a recursive bind takes it along";
    BindUnbindableLocked: EPERM, "B3", "a mount in the source is unbindable and locked";

    // Move.
    MoveNotMounted: EINVAL, "V1.1", "the source is not mounted";
    MoveElsewhere: EINVAL, "V1.2", "the source mount is not in the caller's namespace";
    MoveNamespaceRoot: EINVAL, "V1.3", "the source is the root of a namespace";
    MoveLocked: EINVAL, "V1.4", "the source mount is locked";
    MoveNotMountRoot: EINVAL, "V1.5", "the source is not the root of a mount";
    MoveKindMismatch: EINVAL, "V1.6", "one of source and target is a directory, the other is not";
    MoveParentShared: EINVAL, "V1.7", "the mount that the source is on is shared";
    MoveUnbindable: EINVAL, "V1.8", "the target is shared and the source holds an unbindable mount";
    MoveNamespaceLoop: ELOOP, "V1.9", "the source holds the file of the caller's or an older mount namespace";
    MoveIntoItself: ELOOP, "V1.10", "the target is in the source";

    // Beneath.
    BeneathNoParent: EINVAL, "A9.1", "the mount to slip under is on nothing";
    BeneathNotMountRoot: EINVAL, "A9.2", "the target is not the root of a mount";
    BeneathLocked: EINVAL, "A9.3", "the mount to slip under is locked";
    BeneathSourceCovered: EINVAL, "A9.4", "something is mounted on the root of the source";
    BeneathProcessRoot: EINVAL, "A9.5", "the mount to slip under is the caller's root";
    BeneathNamespaceRoot: EINVAL, "A9.6", "the mount to slip under is on the namespace's root";
    BeneathDescendant: EINVAL, "A9.7", "the source is mounted on the mount to slip under";
    BeneathTargetReceives: EINVAL, "A9.8", "what is mounted below would be propagated onto the mount above";
    BeneathSourceReceives: EINVAL, "A9.9", "what is mounted below would be propagated onto itself";

    // Propagation.
    PropagateNamespaceFile: EINVAL, "P6", "a mount namespace's file cannot be propagated";

    // umount2.
    UmountFlags: EINVAL, "U1", "unknown flags";
    UmountNotMountRoot: EINVAL, "U1.1", "the target is not the root of a mount";
    UmountElsewhere: EINVAL, "U1.2", "the mount is not in the caller's namespace";
    UmountNamespaceRoot: EINVAL, "U5", "the mount is its namespace's root";
    UmountLocked: EINVAL, "U1.3", "the mount is locked";
    UmountForceNotAdmin: EPERM, "U1.4", "MNT_FORCE needs CAP_SYS_ADMIN in the initial user namespace";
    ExpireFlags: EINVAL, "U2", "MNT_EXPIRE is not for the caller's root, nor goes with MNT_FORCE or MNT_DETACH";
    ExpireBusy: EBUSY, "U2", "the mount to expire is in use";
    ExpireMarked: EAGAIN, "U2", "the mount is marked now and expires at the next call";
    UmountRootNotAdmin: EPERM, "U4", "making the root read-only needs CAP_SYS_ADMIN over its superblock";
    UmountBusy: EBUSY, "U7", "the mount is in use";
    UmountCopyBusy: EBUSY, "U8", "a propagated copy of the mount is in use";

    // pivot_root.
    PivotPutOldUnlinked: ENOENT, "R1", "put_old was removed";
    PivotPutOldShared: EINVAL, "R1.1", "the mount that put_old is on is shared";
    PivotNewParentShared: EINVAL, "R1.1", "the mount that new_root is mounted on is shared";
    PivotRootParentShared: EINVAL, "R1.1", "the mount that the root is mounted on is shared";
    PivotElsewhere: EINVAL, "R1.2", "the root or new_root is not in the caller's namespace";
    PivotLocked: EINVAL, "R1.3", "the mount of new_root is locked";
    PivotNewUnlinked: ENOENT, "R1.4", "new_root was removed";
    PivotOnRootMount: EBUSY, "R1.5", "new_root or put_old is on the root mount";
    PivotRootNotMountRoot: EINVAL, "R1.6", "the caller's root is not the root of a mount";
    PivotRootNoParent: EINVAL, "R1.6", "the root mount is on nothing";
    PivotNewNotMountRoot: EINVAL, "R1.7", "new_root is not the root of a mount that is mounted on another";
    PivotPutOldOutside: EINVAL, "R1.8", "put_old is not at or below new_root";
    PivotNewOutside: EINVAL, "R1.9", "new_root is not below the caller's root";

    // Namespaces.
    EnterNotAdmin: EPERM, "N10", "the caller lacks CAP_SYS_ADMIN over the namespace";

    // Remount.
    RemountElsewhere: EINVAL, "M1", "the mount is not in the caller's namespace";
    RemountNotMountRoot: EINVAL, "M1", "the target is not the root of a mount";
    RemountLockedFlags: EPERM, "K6", "a locked flag would be cleared";
    RemountBusy: EBUSY, "M1", "files are open for writing through the mount";
    RemountNotAdmin: EPERM, "K7", "the caller lacks CAP_SYS_ADMIN over the superblock";

    // The new mount API.
    MoveFlags: EINVAL, "A6", "unknown flags, or MOVE_MOUNT_SET_GROUP with MOVE_MOUNT_BENEATH";
    SetGroupNotMounted: EINVAL, "A8.1", "both mounts must be mounted";
    SetGroupNotAdmin: EPERM, "A8.2", "the caller lacks CAP_SYS_ADMIN over one of the mounts' namespaces";
    SetGroupNotMountRoot: EINVAL, "A8.3", "both paths must be roots of mounts";
    SetGroupOtherSuperblock: EINVAL, "A8.4", "the mounts are of different superblocks";
    SetGroupWider: EINVAL, "A8.5", "the root of the one is not at or below the root of the other";
    SetGroupLockedChildren: EINVAL, "A8.6", "a locked mount covers what the other mount shows";
    SetGroupNotPrivate: EINVAL, "A8.7", "the mount that joins is shared or a slave already";
    SetGroupPrivate: EINVAL, "A8.8", "the mount to join is neither shared nor a slave";
    SetattrPropagation: EINVAL, "A19", "at most one propagation type";
    SetattrAttributes: EINVAL, "A19", "unknown attributes";
    SetattrAtime: EINVAL, "A20", "the access time attributes are one field: cleared whole, then set to one value";
    SetattrNotMountRoot: EINVAL, "A19", "the target is not the root of a mount";
    SetattrElsewhere: EINVAL, "A19", "the mount is neither in the caller's namespace nor the root of a detached tree";
    SetattrLockedFlags: EPERM, "K6", "a locked attribute would be cleared";
    SetattrBusy: EBUSY, "A19", "files are open for writing through the mount";
    FsmountAttributes: EINVAL, "A17", "unknown attributes, or an access time attribute that is none";
    IdmapCleared: EINVAL, "A22", "an id mapping cannot be taken away";
    IdmapUnsupported: EINVAL, "A22", "the filesystem does not support id mappings";
    IdmapTwice: EPERM, "A22", "the mount has an id mapping already";
    IdmapNotAdmin: EPERM, "A22", "the caller lacks CAP_SYS_ADMIN over the superblock";
    IdmapAttached: EINVAL, "A22", "an id mapping is set on a mount of a detached tree only";
    IdmapBusy: EBUSY, "A22", "files are open for writing through the mount";

    // Views.
    NoSuchMount: ENOENT, "X16", "no mount of the namespace has this id";
    MountOutOfSight: EPERM, "X16", "the mount is not below the caller's root";
    ListedIdInvalid: EINVAL, "X16", "no mount can have this id";
}
