//! One mount (O2): what it shows, where it is attached, and its places in the forest's lists.
//!
//! All lists run through the mounts themselves, so that linking needs no memory and unlinking no search. Nothing
//! here links or unlinks: that is [`tree`](crate::tree), [`group`](crate::group) and [`namespace`](crate::namespace).

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bitflags::bitflags;

use crate::flags::{Locks, MountFlags};
use crate::ids::{GroupSlot, MountSlot, NamespaceSlot};
use crate::seam::Vfs;

bitflags! {
    /// What a mount is besides its flags.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct State: u16 {
        /// Not to be bound (O10).
        const UNBINDABLE = 0x1;
        /// Was taken out of its namespace, and lives on for its pins (O14).
        const UNMOUNTED = 0x2;
        /// Kernel-internal: in no namespace, never attachable (O14).
        const INTERNAL = 0x4;
        /// Another mount is attached at the same place (O5).
        const SHADOW_PAIR = 0x8;
        /// Expires by itself when unused: neither moved that way (V4) nor locked (K2).
        const EXPIRABLE = 0x10;
        /// Dead, and waiting for memory to be carried out.
        const DEAD = 0x20;
        /// A child is, or once was, locked to its place: without this, no child need be asked (K5).
        const HAD_LOCKED_CHILDREN = 0x100;
        /// Transient: in the set that is being unmounted (U9).
        const REMOVED = 0x40;
        /// Transient: a counterpart that may be unmounted with it (U10).
        const CANDIDATE = 0x80;
        /// Transient: a mount of that set whose receivers were all visited from another one of it (U10).
        const VISITED = 0x200;
        /// Transient: a counterpart of the mount that was asked for, which loses its lock (U11).
        const COUNTERPART = 0x400;
    }
}

/// A mount.
pub(crate) struct Mount<V: Vfs> {
    pub(crate) root: V::Dentry,
    /// The filesystem instance, which other mounts may share (O1).
    pub(crate) superblock: V::Superblock,
    pub(crate) source: Option<V::Source>,
    pub(crate) idmap: Option<V::IdMap>,

    /// Where it is attached (O3): both or neither.
    pub(crate) parent: Option<MountSlot<V>>,
    pub(crate) mountpoint: Option<V::Dentry>,
    /// What a lookup finds attached on this mount's own root (O5): the step up in a stack, without the table.
    pub(crate) topper: Option<MountSlot<V>>,
    /// Children in order of attachment (O4).
    pub(crate) first_child: Option<MountSlot<V>>,
    pub(crate) last_child: Option<MountSlot<V>>,
    pub(crate) next_sibling: Option<MountSlot<V>>,
    pub(crate) previous_sibling: Option<MountSlot<V>>,
    /// All mounts on the same mountpoint dentry, whatever their parent (L16, L17); the first is in the forest's table.
    pub(crate) next_on_mountpoint: Option<MountSlot<V>>,
    pub(crate) previous_on_mountpoint: Option<MountSlot<V>>,

    pub(crate) namespace: Option<NamespaceSlot<V>>,
    /// The namespace's mounts in order of joining (W6).
    pub(crate) next_joined: Option<MountSlot<V>>,
    pub(crate) previous_joined: Option<MountSlot<V>>,
    /// The namespace's mounts in order of their unique ids (X16).
    pub(crate) next_by_id: Option<MountSlot<V>>,
    pub(crate) previous_by_id: Option<MountSlot<V>>,
    /// Grows along the order of joining; a reader's cursor remembers it (W11).
    pub(crate) joined: u64,

    /// The peer group, a ring (O8): all three or none.
    pub(crate) group: Option<GroupSlot<V>>,
    pub(crate) next_peer: Option<MountSlot<V>>,
    pub(crate) previous_peer: Option<MountSlot<V>>,
    /// The mount recorded as master (O9), and the neighbours in its list of slaves.
    pub(crate) master: Option<MountSlot<V>>,
    pub(crate) next_slave: Option<MountSlot<V>>,
    pub(crate) previous_slave: Option<MountSlot<V>>,
    pub(crate) first_slave: Option<MountSlot<V>>,
    pub(crate) last_slave: Option<MountSlot<V>>,

    pub(crate) flags: MountFlags,
    pub(crate) locks: Locks,
    pub(crate) state: State,
    /// What mountinfo shows (O6).
    pub(crate) number: u32,
    /// What statx and statmount show (X16).
    pub(crate) unique_id: u64,

    pub(crate) pins: AtomicU32,
    pub(crate) writers: AtomicU32,
    /// Set by one MNT_EXPIRE, cleared by any use (U2).
    pub(crate) expiry_mark: AtomicBool,

    /// The epoch of the last walk that met the mount; meaningless between operations, as are the next two.
    pub(crate) mark: u32,
    /// The next mount of a list that an operation makes for itself.
    pub(crate) chain: Option<MountSlot<V>>,
    /// A mount that an operation keeps with this one.
    pub(crate) scratch: Option<MountSlot<V>>,
}

/// What a new mount or clone starts from.
pub(crate) struct Blank<V: Vfs> {
    pub(crate) root: V::Dentry,
    pub(crate) superblock: V::Superblock,
    pub(crate) source: Option<V::Source>,
    pub(crate) idmap: Option<V::IdMap>,
    pub(crate) flags: MountFlags,
    pub(crate) locks: Locks,
    pub(crate) state: State,
}

impl<V: Vfs> Mount<V> {
    /// A mount that is linked to nothing.
    pub(crate) fn new(blank: Blank<V>, number: u32, unique_id: u64) -> Self {
        Self {
            root: blank.root,
            superblock: blank.superblock,
            source: blank.source,
            idmap: blank.idmap,
            parent: None,
            mountpoint: None,
            topper: None,
            first_child: None,
            last_child: None,
            next_sibling: None,
            previous_sibling: None,
            next_on_mountpoint: None,
            previous_on_mountpoint: None,
            namespace: None,
            next_joined: None,
            previous_joined: None,
            next_by_id: None,
            previous_by_id: None,
            joined: 0,
            group: None,
            next_peer: None,
            previous_peer: None,
            master: None,
            next_slave: None,
            previous_slave: None,
            first_slave: None,
            last_slave: None,
            flags: blank.flags,
            locks: blank.locks,
            state: blank.state,
            number,
            unique_id,
            pins: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            expiry_mark: AtomicBool::new(false),
            mark: 0,
            chain: None,
            scratch: None,
        }
    }

    /// What a clone of this mount with another root starts from: flags, locks, source and id mapping are inherited (B2, K2, N2);
    /// where there are no locks, as in a namespace that was never handed over, there are none in the clone (K9).
    pub(crate) fn blank(&self, root: V::Dentry) -> Blank<V> {
        Blank {
            root,
            superblock: self.superblock.clone(),
            source: self.source.clone(),
            idmap: self.idmap.clone(),
            flags: self.flags,
            locks: self.locks,
            state: self.state & State::UNBINDABLE,
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.group.is_some()
    }

    pub(crate) fn is_unbindable(&self) -> bool {
        self.state.contains(State::UNBINDABLE)
    }

    pub(crate) fn is_mount_locked(&self) -> bool {
        self.locks.contains(Locks::MOUNT)
    }

    pub(crate) fn pin_count(&self) -> u32 {
        self.pins.load(Ordering::Acquire)
    }

    /// Whether files are open for writing through the mount (M6).
    pub(crate) fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }
}

impl<V: Vfs> Clone for Mount<V> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            superblock: self.superblock.clone(),
            source: self.source.clone(),
            idmap: self.idmap.clone(),
            mountpoint: self.mountpoint.clone(),
            pins: AtomicU32::new(self.pin_count()),
            writers: AtomicU32::new(self.writers.load(Ordering::Acquire)),
            expiry_mark: AtomicBool::new(self.expiry_mark.load(Ordering::Acquire)),
            ..*self
        }
    }
}
