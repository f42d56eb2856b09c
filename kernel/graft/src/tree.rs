//! The tree of mounts: attaching, detaching, and finding what is attached where (O3 to O5).

use crate::forest::{Forest, hash_of};
use crate::ids::MountSlot;
use crate::mount::State;
use crate::seam::Vfs;

impl<V: Vfs> Forest<V> {
    /// The mount attached at (`parent`, dentry): the one attached last, where there are two (O5).
    #[inline]
    pub(crate) fn attached_at(&self, parent: MountSlot<V>, dentry_key: u64) -> Option<MountSlot<V>> {
        let hash = hash_of(u64::from(parent.index()), dentry_key);
        let is_it = |&slot: &MountSlot<V>| self.is_attached_at(slot, parent, dentry_key);
        self.places.find(hash, is_it).copied()
    }

    #[inline]
    fn is_attached_at(&self, mount: MountSlot<V>, parent: MountSlot<V>, dentry_key: u64) -> bool {
        let entry = &self.mounts[mount];
        entry.parent == Some(parent) && entry.mountpoint.as_ref().is_some_and(|dentry| self.vfs.dentry_key(dentry) == dentry_key)
    }

    /// The identity of the dentry that a mount is attached on.
    pub(crate) fn mountpoint_key(&self, mount: MountSlot<V>) -> Option<u64> {
        self.mounts[mount].mountpoint.as_ref().map(|dentry| self.vfs.dentry_key(dentry))
    }

    /// The identity of a mount's root dentry.
    pub(crate) fn root_key(&self, mount: MountSlot<V>) -> u64 {
        self.vfs.dentry_key(&self.mounts[mount].root)
    }

    /// The top of the stack that stands on a mount's root.
    #[inline]
    pub(crate) fn top_of(&self, mount: MountSlot<V>) -> MountSlot<V> {
        let mut top = mount;
        while let Some(next) = self.mounts[top].topper {
            top = next;
        }
        top
    }

    /// Whether a mount is a topper: attached exactly on the root dentry of its parent.
    pub(crate) fn is_topper(&self, mount: MountSlot<V>) -> bool {
        let parent = self.mounts[mount].parent;
        parent.is_some_and(|parent| self.mountpoint_key(mount) == Some(self.root_key(parent)))
    }

    /// Whether `mount` is `ancestor` or attached somewhere below it. Cost: the depth of `mount`.
    pub(crate) fn is_in_tree(&self, mount: MountSlot<V>, ancestor: MountSlot<V>) -> bool {
        let mut current = Some(mount);
        while let Some(slot) = current {
            if slot == ancestor {
                return true;
            }
            current = self.mounts[slot].parent;
        }
        false
    }

    /// The mount after `mount` in the pre-order walk of the tree of `top` (O4).
    pub(crate) fn next_in_tree(&self, mount: MountSlot<V>, top: MountSlot<V>) -> Option<MountSlot<V>> {
        self.mounts[mount].first_child.or_else(|| self.next_skipping(mount, top))
    }

    /// The mount after the whole subtree of `mount` in that walk.
    pub(crate) fn next_skipping(&self, mount: MountSlot<V>, top: MountSlot<V>) -> Option<MountSlot<V>> {
        let mut current = mount;
        while current != top {
            let entry = &self.mounts[current];
            if entry.next_sibling.is_some() {
                return entry.next_sibling;
            }
            current = entry.parent?;
        }
        None
    }

    /// The children of a mount in order of attachment.
    pub(crate) fn children(&self, mount: MountSlot<V>) -> impl Iterator<Item = MountSlot<V>> {
        core::iter::successors(self.mounts[mount].first_child, |&child| self.mounts[child].next_sibling)
    }

    /// The tree of a mount in pre-order.
    pub(crate) fn tree(&self, top: MountSlot<V>) -> impl Iterator<Item = MountSlot<V>> {
        core::iter::successors(Some(top), move |&mount| self.next_in_tree(mount, top))
    }

    /// Attaches a detached mount at the end of its new parent's children (O4). Room in both tables was reserved.
    pub(crate) fn attach(&mut self, mount: MountSlot<V>, parent: MountSlot<V>, mountpoint: V::Dentry) {
        let key = self.vfs.dentry_key(&mountpoint);
        if !self.link_on_mountpoint(mount, key) {
            self.vfs.mountpoint_changed(&mountpoint, true);
        }
        let entry = &mut self.mounts[mount];
        debug_assert!(entry.parent.is_none(), "an attached mount cannot be attached again");
        entry.parent = Some(parent);
        entry.mountpoint = Some(mountpoint);
        self.append_child(mount, parent);
        self.enter_place(mount, parent, key);
        if self.root_key(parent) == key {
            self.mounts[parent].topper = Some(mount);
        }
    }

    /// Takes a mount off its place and returns the dentry that it was on.
    pub(crate) fn detach(&mut self, mount: MountSlot<V>) -> Option<V::Dentry> {
        let key = self.mountpoint_key(mount)?;
        let parent = self.mounts[mount].parent?;
        self.leave_place(mount, parent, key);
        if self.mounts[parent].topper == Some(mount) {
            self.mounts[parent].topper = self.attached_at(parent, key);
        }
        self.remove_child(mount, parent);
        let last = self.unlink_on_mountpoint(mount, key);
        let entry = &mut self.mounts[mount];
        entry.parent = None;
        let mountpoint = entry.mountpoint.take()?;
        if last {
            self.vfs.mountpoint_changed(&mountpoint, false);
        }
        Some(mountpoint)
    }

    /// Puts a detached mount in the place of an attached one, so that no walk can find the place empty (O16).
    pub(crate) fn replace(&mut self, old: MountSlot<V>, new: MountSlot<V>) {
        let (Some(parent), Some(key)) = (self.mounts[old].parent, self.mountpoint_key(old)) else {
            return;
        };
        if self.mounts[old].state.contains(State::SHADOW_PAIR) {
            let Some(mountpoint) = self.mounts[old].mountpoint.clone() else {
                return;
            };
            self.attach(new, parent, mountpoint);
            // The clone just attached keeps the dentry alive: this handle is not the last.
            drop(self.detach(old));
            return;
        }
        let hash = hash_of(u64::from(parent.index()), key);
        if let Some(place) = self.places.find_mut(hash, |&slot| slot == old) {
            *place = new;
        }
        if self.mounts[parent].topper == Some(old) {
            self.mounts[parent].topper = Some(new);
        }
        self.remove_child(old, parent);
        self.replace_on_mountpoint(old, new, key);
        let mountpoint = self.mounts[old].mountpoint.take();
        self.mounts[old].parent = None;
        let entry = &mut self.mounts[new];
        entry.parent = Some(parent);
        entry.mountpoint = mountpoint;
        self.append_child(new, parent);
    }

    fn append_child(&mut self, mount: MountSlot<V>, parent: MountSlot<V>) {
        let previous = self.mounts[parent].last_child.replace(mount);
        match previous {
            Some(previous) => self.mounts[previous].next_sibling = Some(mount),
            None => self.mounts[parent].first_child = Some(mount),
        }
        self.mounts[mount].previous_sibling = previous;
        if self.mounts[mount].is_mount_locked() {
            self.mounts[parent].state |= State::HAD_LOCKED_CHILDREN;
        }
    }

    fn remove_child(&mut self, mount: MountSlot<V>, parent: MountSlot<V>) {
        let entry = &mut self.mounts[mount];
        let (previous, next) = (entry.previous_sibling.take(), entry.next_sibling.take());
        match previous {
            Some(previous) => self.mounts[previous].next_sibling = next,
            None => self.mounts[parent].first_child = next,
        }
        match next {
            Some(next) => self.mounts[next].previous_sibling = previous,
            None => self.mounts[parent].last_child = previous,
        }
    }

    /// Makes `mount` what a lookup finds at the place. What was found before stays attached, as the other of a shadow pair.
    fn enter_place(&mut self, mount: MountSlot<V>, parent: MountSlot<V>, key: u64) {
        let hash = hash_of(u64::from(parent.index()), key);
        let (mounts, vfs) = (&mut self.mounts, &self.vfs);
        let is_it = |&slot: &MountSlot<V>| {
            let entry = &mounts[slot];
            entry.parent == Some(parent) && entry.mountpoint.as_ref().is_some_and(|at| vfs.dentry_key(at) == key)
        };
        if let Some(place) = self.places.find_mut(hash, is_it) {
            let covered = core::mem::replace(place, mount);
            mounts[covered].state |= State::SHADOW_PAIR;
            mounts[mount].state |= State::SHADOW_PAIR;
        } else {
            let rehash = |&slot: &MountSlot<V>| place_hash(mounts, vfs, slot);
            self.places.insert_unique(hash, mount, rehash);
        }
    }

    /// Undoes [`enter_place`](Self::enter_place); the other of a shadow pair becomes visible (O5).
    fn leave_place(&mut self, mount: MountSlot<V>, parent: MountSlot<V>, key: u64) {
        let hash = hash_of(u64::from(parent.index()), key);
        let was_in_pair = self.mounts[mount].state.contains(State::SHADOW_PAIR);
        let heir = if was_in_pair { self.settle_pair(mount, parent, key) } else { None };
        if let Ok(found) = self.places.find_entry(hash, |&slot| slot == mount) {
            match heir {
                Some(heir) => *found.into_mut() = heir,
                None => drop(found.remove()),
            }
        }
    }

    /// The mount that is visible at a place once `mount` is gone; alone there, it is no longer one of a pair.
    /// Cost: the parent's children. Shadow pairs are rare.
    fn settle_pair(&mut self, mount: MountSlot<V>, parent: MountSlot<V>, key: u64) -> Option<MountSlot<V>> {
        self.mounts[mount].state -= State::SHADOW_PAIR;
        let mut others = 0;
        let mut heir = None;
        let mut child = self.mounts[parent].first_child;
        while let Some(slot) = child {
            if slot != mount && self.mountpoint_key(slot) == Some(key) {
                heir = Some(slot);
                others += 1;
            }
            child = self.mounts[slot].next_sibling;
        }
        if let (Some(heir), 1) = (heir, others) {
            self.mounts[heir].state -= State::SHADOW_PAIR;
        }
        heir
    }

    /// The first of all mounts on a dentry; the others follow by `next_on_mountpoint`.
    pub(crate) fn first_on_mountpoint(&self, dentry_key: u64) -> Option<MountSlot<V>> {
        let is_it = |&slot: &MountSlot<V>| self.mountpoint_key(slot) == Some(dentry_key);
        self.mountpoints.find(hash_of(dentry_key, 0), is_it).copied()
    }

    /// Adds a mount to those on a dentry. Returns whether there was one before.
    fn link_on_mountpoint(&mut self, mount: MountSlot<V>, key: u64) -> bool {
        let Some(first) = self.first_on_mountpoint(key) else {
            let (mounts, vfs) = (&self.mounts, &self.vfs);
            let rehash = |&slot: &MountSlot<V>| mountpoint_hash(mounts, vfs, slot);
            self.mountpoints.insert_unique(hash_of(key, 0), mount, rehash);
            return false;
        };
        let second = self.mounts[first].next_on_mountpoint.replace(mount);
        if let Some(second) = second {
            self.mounts[second].previous_on_mountpoint = Some(mount);
        }
        let entry = &mut self.mounts[mount];
        entry.previous_on_mountpoint = Some(first);
        entry.next_on_mountpoint = second;
        true
    }

    /// Takes a mount from those on a dentry. Returns whether it was the last.
    fn unlink_on_mountpoint(&mut self, mount: MountSlot<V>, key: u64) -> bool {
        let entry = &mut self.mounts[mount];
        let (previous, next) = (entry.previous_on_mountpoint.take(), entry.next_on_mountpoint.take());
        if let Some(next) = next {
            self.mounts[next].previous_on_mountpoint = previous;
        }
        if let Some(previous) = previous {
            self.mounts[previous].next_on_mountpoint = next;
            return false;
        }
        if let Ok(found) = self.mountpoints.find_entry(hash_of(key, 0), |&slot| slot == mount) {
            match next {
                Some(next) => *found.into_mut() = next,
                None => drop(found.remove()),
            }
        }
        next.is_none()
    }

    fn replace_on_mountpoint(&mut self, old: MountSlot<V>, new: MountSlot<V>, key: u64) {
        let entry = &mut self.mounts[old];
        let (previous, next) = (entry.previous_on_mountpoint.take(), entry.next_on_mountpoint.take());
        match previous {
            Some(previous) => self.mounts[previous].next_on_mountpoint = Some(new),
            None => {
                if let Some(first) = self.mountpoints.find_mut(hash_of(key, 0), |&slot| slot == old) {
                    *first = new;
                }
            }
        }
        if let Some(next) = next {
            self.mounts[next].previous_on_mountpoint = Some(new);
        }
        let entry = &mut self.mounts[new];
        entry.previous_on_mountpoint = previous;
        entry.next_on_mountpoint = next;
    }
}

/// The hash under which an attached mount is in the table of places.
pub(crate) fn place_hash<V: Vfs>(mounts: &crate::arena::Arena<crate::mount::Mount<V>>, vfs: &V, mount: MountSlot<V>) -> u64 {
    let entry = &mounts[mount];
    match (&entry.mountpoint, entry.parent) {
        (Some(mountpoint), Some(parent)) => hash_of(u64::from(parent.index()), vfs.dentry_key(mountpoint)),
        _ => 0,
    }
}

/// The hash under which a mount is in the table of mountpoints.
pub(crate) fn mountpoint_hash<V: Vfs>(mounts: &crate::arena::Arena<crate::mount::Mount<V>>, vfs: &V, mount: MountSlot<V>) -> u64 {
    match &mounts[mount].mountpoint {
        Some(mountpoint) => hash_of(vfs.dentry_key(mountpoint), 0),
        None => 0,
    }
}
