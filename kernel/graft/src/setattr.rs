//! mount_setattr(2), and the attribute words that it shares with fsmount(2) (A17, A19 to A22).

use crate::caller::{Caller, Place};
use crate::flags::{MountFlags, PropagationType, SuperblockTraits};
use crate::forest::Forest;
use crate::ids::MountSlot;
use crate::mount::Mount;
use crate::refusal::{Refusal, Rule, require};
use crate::remount::allowed_by_locks;
use crate::seam::Vfs;

/// `MOUNT_ATTR__ATIME`: the field that holds one of relatime (0), noatime and strictatime.
const ATIME_FIELD: u64 = 0x70;
const ATIME_NOATIME: u64 = 0x10;
const ATIME_STRICTATIME: u64 = 0x20;
/// `MOUNT_ATTR_IDMAP`.
const IDMAP: u64 = 0x10_0000;
/// Attributes that are flags of their own.
const PLAIN: u64 = 0x20_008f;

/// What mount_setattr does to each mount.
pub struct AttributeChange<V: Vfs> {
    /// Cleared first (A21).
    pub clear: MountFlags,
    /// Then set.
    pub set: MountFlags,
    /// Then given.
    pub propagation: Option<PropagationType>,
    /// And the id mapping that the mounts get (A22).
    pub idmap: Option<V::IdMap>,
}

/// The attribute words of `struct mount_attr`, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeWords {
    /// See [`AttributeChange::clear`].
    pub clear: MountFlags,
    /// See [`AttributeChange::set`].
    pub set: MountFlags,
    /// See [`AttributeChange::propagation`].
    pub propagation: Option<PropagationType>,
    /// The call asks for an id mapping, whose descriptor the kernel looks at (A22).
    pub sets_idmap: bool,
}

impl AttributeWords {
    /// Decodes `attr_set`, `attr_clr` and `propagation`.
    ///
    /// Errors: A19, A20, A22 (the id mapping cannot be cleared), in that order.
    pub fn decode(attr_set: u64, attr_clr: u64, propagation: u64) -> Result<Self, Refusal> {
        let propagation = decode_propagation(propagation)?;
        let known = PLAIN | ATIME_FIELD | IDMAP;
        require((attr_set | attr_clr) & !known == 0, Rule::SetattrAttributes)?;
        let mut clear = plain_flags(attr_clr);
        let mut set = plain_flags(attr_set);
        if attr_clr & ATIME_FIELD != 0 {
            require(attr_clr & ATIME_FIELD == ATIME_FIELD, Rule::SetattrAtime)?;
            clear |= MountFlags::RELATIME | MountFlags::NOATIME;
            set |= atime_flags(attr_set).ok_or_else(|| Refusal::new(Rule::SetattrAtime))?;
        } else {
            require(attr_set & ATIME_FIELD == 0, Rule::SetattrAtime)?;
        }
        require(attr_clr & IDMAP == 0, Rule::IdmapCleared)?;
        Ok(Self { clear, set, propagation, sets_idmap: attr_set & IDMAP != 0 })
    }

    /// Decodes the attributes of fsmount (A17).
    pub fn decode_fsmount(attributes: u64) -> Result<MountFlags, Refusal> {
        require(attributes & !(PLAIN | ATIME_FIELD) == 0, Rule::FsmountAttributes)?;
        let atime = atime_flags(attributes).ok_or_else(|| Refusal::new(Rule::FsmountAttributes))?;
        Ok(plain_flags(attributes) | atime)
    }
}

/// The flags that are attributes of their own.
fn plain_flags(attributes: u64) -> MountFlags {
    MountFlags::from_bits_truncate((attributes & PLAIN) as u32)
}

fn atime_flags(attributes: u64) -> Option<MountFlags> {
    match attributes & ATIME_FIELD {
        0 => Some(MountFlags::RELATIME),
        ATIME_NOATIME => Some(MountFlags::NOATIME),
        ATIME_STRICTATIME => Some(MountFlags::empty()),
        _ => None,
    }
}

fn decode_propagation(word: u64) -> Result<Option<PropagationType>, Refusal> {
    use crate::flags::MountCallFlags as Flag;
    match Flag::from_bits_retain(word) {
        flags if flags.is_empty() => Ok(None),
        Flag::SHARED => Ok(Some(PropagationType::Shared)),
        Flag::SLAVE => Ok(Some(PropagationType::Slave)),
        Flag::PRIVATE => Ok(Some(PropagationType::Private)),
        Flag::UNBINDABLE => Ok(Some(PropagationType::Unbindable)),
        _ => Err(Refusal::new(Rule::SetattrPropagation)),
    }
}

impl<V: Vfs> Forest<V> {
    /// Changes the attributes of a mount, or where `recursive` of its whole tree: all or nothing (A21).
    ///
    /// Errors: F4, A19, K6, A22, in that order for each mount. Cost: the mounts of the tree and their slaves.
    pub fn set_attributes(
        &mut self,
        caller: &Caller<'_, V>,
        target: &Place<V>,
        change: &AttributeChange<V>,
        recursive: bool,
    ) -> Result<(), Refusal> {
        self.require_admin(caller)?;
        let namespace = self.resolve_namespace(caller.namespace)?;
        let top = self.resolve(target.mount)?;
        require(self.is_mount_root(target, top), Rule::SetattrNotMountRoot)?;
        let entry = &self.mounts[top];
        let is_detached_root = entry.parent.is_none() && entry.namespace.is_some_and(|slot| self.namespaces[slot].is_anonymous());
        let is_ours = entry.namespace == Some(namespace);
        require(is_ours || is_detached_root, Rule::SetattrElsewhere)?;
        let extent = if recursive { usize::MAX } else { 1 };
        for mount in self.tree(top).take(extent) {
            self.require_changeable(caller, mount, change)?;
        }
        if let Some(propagation) = change.propagation {
            self.reserve_for_type(top, propagation, recursive)?;
        }

        let mut next = Some(top);
        while let Some(mount) = next {
            let entry = &mut self.mounts[mount];
            entry.flags = changed_flags(entry, change);
            entry.idmap = entry.idmap.take().or_else(|| change.idmap.clone());
            next = if recursive { self.next_in_tree(mount, top) } else { None };
        }
        if let Some(propagation) = change.propagation {
            self.set_type(top, propagation, recursive);
        }
        if let Some(namespace) = self.mounts[top].namespace {
            self.touch(namespace);
        }
        Ok(())
    }

    fn require_changeable(&self, caller: &Caller<'_, V>, mount: MountSlot<V>, change: &AttributeChange<V>) -> Result<(), Refusal> {
        let entry = &self.mounts[mount];
        require(allowed_by_locks(entry, changed_flags(entry, change)), Rule::SetattrLockedFlags)?;
        let becomes_read_only = change.set.contains(MountFlags::RDONLY) && !entry.flags.contains(MountFlags::RDONLY);
        if change.idmap.is_some() {
            let traits = self.vfs.superblock_traits(&entry.superblock);
            require(traits.contains(SuperblockTraits::ALLOWS_IDMAP), Rule::IdmapUnsupported)?;
            require(entry.idmap.is_none(), Rule::IdmapTwice)?;
            let is_admin = self.vfs.is_superblock_admin(caller.credentials, &entry.superblock);
            require(is_admin, Rule::IdmapNotAdmin)?;
            let detached = entry.namespace.is_some_and(|slot| self.namespaces[slot].is_anonymous());
            require(detached, Rule::IdmapAttached)?;
            require(!entry.has_writers(), Rule::IdmapBusy)?;
        }
        require(!(becomes_read_only && entry.has_writers()), Rule::SetattrBusy)
    }
}

fn changed_flags<V: Vfs>(mount: &Mount<V>, change: &AttributeChange<V>) -> MountFlags {
    (mount.flags - change.clear) | change.set
}
