//! Pins and write access: the counters that tell whether a mount or namespace is in use (O14, U7, M6, N8).
//!
//! Every path, open file, working directory and root of the kernel pins its mount; every task, namespace file and open view
//! its namespace. Pinning takes the read lock only. A mount that was unmounted dies with its last pin.

use core::sync::atomic::Ordering;

use crate::flags::MountFlags;
use crate::forest::Forest;
use crate::ids::{MountId, MountSlot, NamespaceId, NamespaceSlot};
use crate::mount::{Mount, State};
use crate::refusal::{Refusal, Rule, require};
use crate::released::{Released, Remains};
use crate::seam::Vfs;

impl<V: Vfs> Forest<V> {
    /// Adds a pin. The caller holds a pin already, or found the mount under this same lock.
    #[inline]
    pub fn pin(&self, mount: MountId) {
        if let Some(entry) = self.find_mount(mount) {
            entry.pins.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Gives a pin back, and clears the mark of MNT_EXPIRE (U2).
    ///
    /// Returns whether it was the last pin of an unmounted mount: the caller then calls [`reap`](Self::reap).
    #[must_use = "the last unpin of an unmounted mount asks for `reap`"]
    #[inline]
    pub fn unpin(&self, mount: MountId) -> bool {
        let Some(entry) = self.find_mount(mount) else {
            return false;
        };
        // Read first: the mark is hardly ever set, and a write would take the line from other processors.
        if entry.expiry_mark.load(Ordering::Relaxed) {
            entry.expiry_mark.store(false, Ordering::Relaxed);
        }
        give_back_pin(entry)
    }

    /// As [`unpin`](Self::unpin), but leaves the mark of MNT_EXPIRE: for the pin that umount2 itself took (U2).
    #[must_use = "the last unpin of an unmounted mount asks for `reap`"]
    pub fn unpin_no_expire(&self, mount: MountId) -> bool {
        self.find_mount(mount).is_some_and(give_back_pin)
    }

    /// How many pins a mount has.
    pub fn pin_count(&self, mount: MountId) -> u32 {
        self.find_mount(mount).map_or(0, Mount::pin_count)
    }

    /// Lets an unmounted mount go that has no pins left, and what was still connected to it (U15, O6). Else does nothing.
    pub fn reap(&mut self, mount: MountId) -> Released<V> {
        let mut bag = Released::new();
        self.sweep(&mut bag);
        if let Some(slot) = self.find(mount) {
            self.reap_slot(slot, &mut bag);
        }
        bag
    }

    /// Takes a kernel-internal mount out of use. It dies now, or with its last pin.
    pub fn kern_unmount(&mut self, mount: MountId) -> Released<V> {
        let mut bag = Released::new();
        self.sweep(&mut bag);
        if let Some(slot) = self.find(mount)
            && self.mounts[slot].state.contains(State::INTERNAL)
        {
            self.mounts[slot].state = State::UNMOUNTED;
            self.reap_slot(slot, &mut bag);
        }
        bag
    }

    /// Asks for write access through a mount (L14, M6). The superblock's own flag is the kernel's to check.
    pub fn get_write_access(&self, mount: MountId) -> Result<(), Refusal> {
        let slot = self.resolve(mount)?;
        let entry = &self.mounts[slot];
        require(!entry.flags.contains(MountFlags::RDONLY), Rule::ReadOnlyMount)?;
        entry.writers.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Gives write access back.
    pub fn put_write_access(&self, mount: MountId) {
        if let Some(slot) = self.find(mount) {
            let before = self.mounts[slot].writers.fetch_sub(1, Ordering::AcqRel);
            debug_assert!(before > 0, "write access was given back more often than taken");
        }
    }

    /// How many hold write access through a mount (M6).
    pub fn writer_count(&self, mount: MountId) -> u32 {
        self.find(mount).map_or(0, |slot| self.mounts[slot].writers.load(Ordering::Acquire))
    }

    /// Whether anyone holds write access through any mount of a superblock (M4). Cost: all mounts.
    pub fn superblock_has_writers(&self, superblock: &V::Superblock) -> bool {
        let key = self.vfs.superblock_key(superblock);
        self.mounts.iter().any(|(_, mount)| mount.has_writers() && self.vfs.superblock_key(&mount.superblock) == key)
    }

    /// Adds a pin on a namespace (N8).
    pub fn pin_namespace(&self, namespace: NamespaceId) {
        if let Some(slot) = namespace.find(&self.namespaces) {
            self.pin_namespace_slot(slot);
        }
    }

    pub(crate) fn pin_namespace_slot(&self, namespace: NamespaceSlot<V>) {
        self.namespaces[namespace].pins.fetch_add(1, Ordering::AcqRel);
    }

    /// Gives a pin on a namespace back. Returns whether it was the last: the caller then calls
    /// [`release_namespace`](Self::release_namespace).
    #[must_use = "the last unpin of a namespace asks for `release_namespace`"]
    pub fn unpin_namespace(&self, namespace: NamespaceId) -> bool {
        let Some(slot) = namespace.find(&self.namespaces) else {
            return false;
        };
        let before = self.namespaces[slot].pins.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "a namespace was unpinned more often than pinned");
        before == 1
    }

    /// How many pins a namespace has.
    pub fn namespace_pin_count(&self, namespace: NamespaceId) -> u32 {
        let slot = namespace.find(&self.namespaces);
        slot.map_or(0, |slot| self.namespaces[slot].pins.load(Ordering::Acquire))
    }

    /// Lets a mount go if nothing keeps it, with those connected to it that nothing else keeps. Iterative: a chain of
    /// connected mounts may be as deep as the forest.
    pub(crate) fn reap_slot(&mut self, mount: MountSlot<V>, bag: &mut Released<V>) {
        let mut dying = if self.is_reapable(mount) { Some(mount) } else { None };
        if let Some(first) = dying {
            self.mounts[first].chain = None;
        }
        while let Some(slot) = dying {
            dying = self.mounts[slot].chain;
            while let Some(child) = self.mounts[slot].first_child {
                if let Some(mountpoint) = self.detach(child) {
                    self.give_up_mountpoint(mountpoint, bag);
                }
                if self.is_reapable(child) {
                    self.mounts[child].chain = dying;
                    dying = Some(child);
                }
            }
            self.bury(slot, bag);
        }
    }

    fn is_reapable(&self, mount: MountSlot<V>) -> bool {
        let entry = &self.mounts[mount];
        entry.pin_count() == 0 && is_unmounted_alone(entry)
    }

    /// Puts a mountpoint's handle into the bag. Without memory for it the handle is dropped here: the kernel then only has the
    /// end of a dentry happen under the lock.
    pub(crate) fn give_up_mountpoint(&mut self, mountpoint: V::Dentry, bag: &mut Released<V>) {
        if bag.has_room() {
            bag.put(Remains::Mountpoint(mountpoint));
        }
    }

    /// Ends a mount that is linked to nothing: its numbers are free at once (O6), its handles go into the bag.
    fn bury(&mut self, mount: MountSlot<V>, bag: &mut Released<V>) {
        let entry = &mut self.mounts[mount];
        entry.state = State::DEAD;
        let (number, unique_id) = (entry.number, entry.unique_id);
        self.mount_numbers.give_back(number);
        let hash = crate::forest::hash_of(unique_id, 0);
        if let Ok(found) = self.unique_ids.find_entry(hash, |&slot| slot == mount) {
            found.remove();
        }
        if bag.has_room() {
            self.carry_out(mount, bag);
        } else {
            self.mounts[mount].chain = self.graveyard;
            self.graveyard = Some(mount);
        }
    }

    /// Carries out the dead for whom an earlier bag had no room.
    pub(crate) fn sweep(&mut self, bag: &mut Released<V>) {
        while let Some(mount) = self.graveyard {
            if !bag.has_room() {
                return;
            }
            self.graveyard = self.mounts[mount].chain;
            self.carry_out(mount, bag);
        }
    }

    fn carry_out(&mut self, mount: MountSlot<V>, bag: &mut Released<V>) {
        if let Some(dead) = self.mounts.remove(mount) {
            let Mount { root, superblock, source, idmap, .. } = dead;
            bag.put(Remains::Mount { root, superblock, source, idmap });
        }
    }
}

/// Whether it was the last pin of an unmounted mount.
fn give_back_pin<V: Vfs>(entry: &Mount<V>) -> bool {
    let before = entry.pins.fetch_sub(1, Ordering::AcqRel);
    debug_assert!(before > 0, "a mount was unpinned more often than pinned");
    before == 1 && is_unmounted_alone(entry)
}

/// Whether a mount lives by its pins alone.
fn is_unmounted_alone<V: Vfs>(entry: &Mount<V>) -> bool {
    entry.state.contains(State::UNMOUNTED) && entry.parent.is_none()
}
