//! The forest: every mount, peer group and namespace of a kernel, and the tables that find them.

use hashbrown::HashTable;

use crate::arena::Arena;
use crate::caller::{Caller, NewMount, Place};
use crate::flags::Locks;
use crate::group::Group;
use crate::ids::{GroupId, MountId, MountSlot, NamespaceId, NamespaceSlot};
use crate::mount::{Blank, Mount, State};
use crate::namespace::Namespace;
use crate::numbers::Numbers;
use crate::refusal::{Refusal, Rule, require};
use crate::seam::{OutOfMemory, Vfs};
use crate::tree::{mountpoint_hash, place_hash};

/// The default of `fs.mount-max` (O15).
const DEFAULT_MOUNT_MAX: u32 = 100_000;

/// Unique ids start above every number of the old kind (X16).
pub(crate) const FIRST_UNIQUE_ID: u64 = (1 << 31) + 1;

/// Every mount, peer group and namespace of a kernel, as plain data.
///
/// A kernel keeps one, in a read-write lock: what only reads takes `&self`, what changes takes `&mut self`. Pins and write
/// access are atomic counters, so that a path can be cloned under the read lock. See the [crate's front page](crate).
pub struct Forest<V: Vfs> {
    pub(crate) vfs: V,
    pub(crate) mounts: Arena<Mount<V>>,
    pub(crate) groups: Arena<Group<V>>,
    pub(crate) namespaces: Arena<Namespace<V>>,
    /// The visible mount at each (parent, mountpoint dentry).
    pub(crate) places: HashTable<MountSlot<V>>,
    /// The first of the mounts on each mountpoint dentry.
    pub(crate) mountpoints: HashTable<MountSlot<V>>,
    pub(crate) unique_ids: HashTable<MountSlot<V>>,
    pub(crate) mount_numbers: Numbers,
    pub(crate) group_numbers: Numbers,
    pub(crate) next_unique_id: u64,
    pub(crate) next_sequence: u64,
    pub(crate) mount_max: u32,
    epoch: u32,
    /// Dead mounts for whose handles no bag had room.
    pub(crate) graveyard: Option<MountSlot<V>>,
}

/// What an operation is about to add.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    pub(crate) mounts: usize,
    pub(crate) groups: usize,
    pub(crate) namespaces: usize,
    /// Attachments, of new mounts and of those that change place.
    pub(crate) attachments: usize,
}

impl<V: Vfs> Forest<V> {
    /// A forest without mounts.
    pub fn new(vfs: V) -> Self {
        Self {
            vfs,
            mounts: Arena::new(),
            groups: Arena::new(),
            namespaces: Arena::new(),
            places: HashTable::new(),
            mountpoints: HashTable::new(),
            unique_ids: HashTable::new(),
            mount_numbers: Numbers::default(),
            group_numbers: Numbers::default(),
            next_unique_id: FIRST_UNIQUE_ID,
            next_sequence: 1,
            mount_max: DEFAULT_MOUNT_MAX,
            epoch: 0,
            graveyard: None,
        }
    }

    /// The kernel's side of the seam.
    pub fn vfs(&self) -> &V {
        &self.vfs
    }

    /// The kernel's side of the seam, to be changed: for adapters with state.
    pub fn vfs_mut(&mut self) -> &mut V {
        &mut self.vfs
    }

    /// `fs.mount-max` (O15).
    pub fn mount_max(&self) -> u32 {
        self.mount_max
    }

    /// Sets `fs.mount-max` (O15).
    pub fn set_mount_max(&mut self, mount_max: u32) -> Result<(), Refusal> {
        require(mount_max > 0, Rule::MountMaxTooSmall)?;
        self.mount_max = mount_max;
        Ok(())
    }

    /// Makes a namespace with a first mount, as at boot (O12). The namespace comes pinned once, for the first task.
    pub fn create_namespace(&mut self, owner: &V::UserNamespace, rootfs: &NewMount<V>) -> Result<(NamespaceId, MountId), Refusal> {
        self.reserve(Needs { mounts: 1, namespaces: 1, ..Needs::default() })?;
        require(self.vfs.charge_namespace(owner), Rule::TooManyNamespaces)?;
        let namespace = self.insert_namespace(owner, false);
        let blank = Blank { locks: Locks::MOUNT, ..new_mount_blank(rootfs) };
        let mount = self.insert_mount(blank);
        self.join_namespace(mount, namespace);
        self.namespaces[namespace].root = Some(mount);
        self.pin_namespace_slot(namespace);
        Ok((self.namespace_id(namespace), self.mount_id(mount)))
    }

    /// Makes a mount that is in no namespace and can never be attached (O14): for pipes, sockets, nsfs, memfd.
    pub fn kern_mount(&mut self, new: &NewMount<V>) -> Result<MountId, Refusal> {
        self.reserve(Needs { mounts: 1, ..Needs::default() })?;
        let blank = Blank { state: State::INTERNAL, ..new_mount_blank(new) };
        let mount = self.insert_mount(blank);
        Ok(self.mount_id(mount))
    }

    /// Asks for the memory that a commit will take, so that it cannot fail (F15).
    pub(crate) fn reserve(&mut self, needs: Needs) -> Result<(), OutOfMemory> {
        let bytes = self.mounts.shortfall_bytes(needs.mounts)
            + self.groups.shortfall_bytes(needs.groups)
            + self.namespaces.shortfall_bytes(needs.namespaces);
        self.vfs.charge(bytes)?;
        self.mounts.reserve(needs.mounts)?;
        self.groups.reserve(needs.groups)?;
        self.namespaces.reserve(needs.namespaces)?;
        self.mount_numbers.reserve(needs.mounts)?;
        self.group_numbers.reserve(needs.groups)?;
        let (mounts, vfs) = (&self.mounts, &self.vfs);
        self.unique_ids.try_reserve(needs.mounts, |&slot| hash_of(mounts[slot].unique_id, 0))?;
        self.places.try_reserve(needs.attachments, |&slot| place_hash(mounts, vfs, slot))?;
        self.mountpoints.try_reserve(needs.attachments, |&slot| mountpoint_hash(mounts, vfs, slot))?;
        Ok(())
    }

    /// Puts a mount into the arena, with its numbers (O6, X17: from 0 on). Room was reserved.
    pub(crate) fn insert_mount(&mut self, blank: Blank<V>) -> MountSlot<V> {
        let number = self.mount_numbers.take();
        let unique_id = self.next_unique_id;
        self.next_unique_id += 1;
        let slot = self.mounts.insert(Mount::new(blank, number, unique_id));
        let mounts = &self.mounts;
        self.unique_ids.insert_unique(hash_of(unique_id, 0), slot, |&slot| hash_of(mounts[slot].unique_id, 0));
        slot
    }

    /// Puts an empty namespace into the arena (O12, O13). Room was reserved, and the owner charged.
    pub(crate) fn insert_namespace(&mut self, owner: &V::UserNamespace, anonymous: bool) -> NamespaceSlot<V> {
        let sequence = if anonymous { 0 } else { self.next_sequence };
        self.next_sequence += u64::from(!anonymous);
        self.namespaces.insert(Namespace::new(owner.clone(), sequence))
    }

    /// A number that marks what a walk has met. Marks of earlier walks are never equal to it.
    pub(crate) fn next_epoch(&mut self) -> u32 {
        if self.epoch == u32::MAX {
            self.mounts.values_mut().for_each(|mount| mount.mark = 0);
            self.groups.values_mut().for_each(|group| group.mark = 0);
            self.namespaces.values_mut().for_each(|namespace| namespace.pending_mark = 0);
            self.epoch = 0;
        }
        self.epoch += 1;
        self.epoch
    }

    #[inline]
    pub(crate) fn mount_id(&self, slot: MountSlot<V>) -> MountId {
        MountId::of(&self.mounts, slot)
    }

    pub(crate) fn group_id(&self, slot: crate::ids::GroupSlot<V>) -> GroupId {
        GroupId::of(&self.groups, slot)
    }

    pub(crate) fn namespace_id(&self, slot: NamespaceSlot<V>) -> NamespaceId {
        NamespaceId::of(&self.namespaces, slot)
    }

    /// The mount of an id, if it lives. A dead one that only waits to be carried out does not.
    #[inline]
    pub(crate) fn find(&self, mount: MountId) -> Option<MountSlot<V>> {
        mount.find(&self.mounts).filter(|&slot| !self.mounts[slot].state.contains(State::DEAD))
    }

    /// As [`Self::find`], the mount itself.
    #[inline]
    pub(crate) fn find_mount(&self, mount: MountId) -> Option<&Mount<V>> {
        mount.get(&self.mounts).filter(|entry| !entry.state.contains(State::DEAD))
    }

    pub(crate) fn resolve(&self, mount: MountId) -> Result<MountSlot<V>, Refusal> {
        self.find(mount).ok_or_else(|| Refusal::new(Rule::StaleMount))
    }

    pub(crate) fn resolve_namespace(&self, namespace: NamespaceId) -> Result<NamespaceSlot<V>, Refusal> {
        namespace.find(&self.namespaces).ok_or_else(|| Refusal::new(Rule::StaleNamespace))
    }

    /// Whether the caller may change its mount namespace at all (F4): CAP_SYS_ADMIN over its owner.
    pub fn require_admin(&self, caller: &Caller<'_, V>) -> Result<(), Refusal> {
        let namespace = self.resolve_namespace(caller.namespace)?;
        require(self.vfs.is_admin(caller.credentials, &self.namespaces[namespace].owner), Rule::NotAdmin)
    }

    /// Whether a place is the root of its mount.
    pub(crate) fn is_mount_root(&self, place: &Place<V>, mount: MountSlot<V>) -> bool {
        self.vfs.dentry_key(&place.dentry) == self.root_key(mount)
    }

    /// Bytes of memory that the forest holds, all tables counted, dentries and superblocks not.
    pub fn footprint_bytes(&self) -> usize {
        let table = |table: &HashTable<MountSlot<V>>| table.allocation_size();
        self.mounts.footprint_bytes()
            + self.groups.footprint_bytes()
            + self.namespaces.footprint_bytes()
            + table(&self.places)
            + table(&self.mountpoints)
            + table(&self.unique_ids)
            + self.mount_numbers.footprint_bytes()
            + self.group_numbers.footprint_bytes()
    }
}

impl<V: Vfs + Clone> Clone for Forest<V> {
    fn clone(&self) -> Self {
        Self {
            vfs: self.vfs.clone(),
            mounts: self.mounts.clone(),
            groups: self.groups.clone(),
            namespaces: self.namespaces.clone(),
            places: self.places.clone(),
            mountpoints: self.mountpoints.clone(),
            unique_ids: self.unique_ids.clone(),
            mount_numbers: self.mount_numbers.clone(),
            group_numbers: self.group_numbers.clone(),
            ..*self
        }
    }
}

pub(crate) fn new_mount_blank<V: Vfs>(new: &NewMount<V>) -> Blank<V> {
    Blank {
        root: new.root.clone(),
        superblock: new.superblock.clone(),
        source: new.source.clone(),
        idmap: None,
        flags: new.flags,
        locks: Locks::empty(),
        state: State::empty(),
    }
}

/// Mixes two numbers into a hash whose high and low bits both depend on all of theirs.
#[inline]
pub(crate) fn hash_of(first: u64, second: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (second ^ first.rotate_left(32)).wrapping_mul(ODD);
    (mixed ^ (mixed >> 32)).wrapping_mul(ODD).rotate_right(17)
}
