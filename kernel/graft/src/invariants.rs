//! What must hold of a forest between operations, as a check for tests; and when two forests are the same.
//!
//! The checks use nothing but the links themselves, so that a broken link is found by what it breaks.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use crate::forest::Forest;
use crate::ids::{GroupSlot, MountSlot, NamespaceSlot};
use crate::mount::State;
use crate::seam::Vfs;

/// Fails with a sentence unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($sentence:tt)*) => {
        if !$condition {
            return Err(format!($($sentence)*));
        }
    };
}

impl<V: Vfs> Forest<V> {
    /// Checks every invariant (O4 to O15), and says which does not hold.
    ///
    /// Cost: everything, several times. For tests: it allocates without asking.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut numbers = BTreeSet::new();
        let mut attached = 0;
        let mut dead = 0;
        for (slot, mount) in self.mounts.iter() {
            if mount.state.contains(State::DEAD) {
                dead += 1;
                continue;
            }
            ensure!(numbers.insert(mount.number), "O6: mount number {} twice", mount.number);
            ensure!(self.mount_numbers.contains(mount.number), "O6: number {} is not taken", mount.number);
            let found = self.find_unique(mount.unique_id) == Some(slot);
            ensure!(found, "X16: {slot:?} is not found by its unique id");
            attached += usize::from(mount.parent.is_some());
            self.check_place(slot)?;
            self.check_children(slot)?;
            self.check_propagation(slot)?;
            self.check_state(slot)?;
        }
        ensure!(self.unique_ids.len() == self.mounts.len() - dead, "X16: unique ids of mounts that are gone");
        ensure!(self.mount_numbers.in_use() == numbers.len(), "O6: numbers taken by no mount");
        self.check_groups()?;
        self.check_namespaces()?;
        self.check_tables(attached)
    }

    fn check_place(&self, slot: MountSlot<V>) -> Result<(), String> {
        let mount = &self.mounts[slot];
        ensure!(mount.parent.is_some() == mount.mountpoint.is_some(), "O3: {slot:?} is half attached");
        let Some(parent) = mount.parent else {
            return Ok(());
        };
        ensure!(self.children(parent).any(|child| child == slot), "O4: {slot:?} is no child of its parent");
        let depth = core::iter::successors(Some(slot), |&slot| self.mounts[slot].parent).take(self.mounts.len() + 1).count();
        ensure!(depth <= self.mounts.len(), "O2: {slot:?} is its own ancestor");
        let key = self.mountpoint_key(slot);
        let last = self.children(parent).filter(|&child| self.mountpoint_key(child) == key).last();
        let visible = key.and_then(|key| self.attached_at(parent, key));
        ensure!(visible == last, "O5: not the one attached last is visible where {slot:?} is");
        let first = key.and_then(|key| self.first_on_mountpoint(key));
        let mut on_dentry = core::iter::successors(first, |&slot| self.mounts[slot].next_on_mountpoint);
        ensure!(on_dentry.any(|other| other == slot), "L16: {slot:?} is not among those on its mountpoint");
        if let Some(mountpoint) = &mount.mountpoint {
            let is_inside = self.vfs.is_below(mountpoint, &self.mounts[parent].root);
            ensure!(is_inside || mount.namespace.is_none() || self.escaped(slot), "O3: {slot:?} is outside its parent");
        }
        Ok(())
    }

    /// Whether a rename took a mountpoint out of the parent's root (L7).
    fn escaped(&self, slot: MountSlot<V>) -> bool {
        let parent = self.mounts[slot].parent;
        parent.is_some_and(|parent| !self.vfs.is_superblock_root(&self.mounts[parent].root))
    }

    fn check_children(&self, slot: MountSlot<V>) -> Result<(), String> {
        let mut previous = None;
        for child in self.children(slot) {
            let entry = &self.mounts[child];
            ensure!(entry.parent == Some(slot), "O4: {child:?} is a child of {slot:?} and does not know");
            ensure!(entry.previous_sibling == previous, "O4: the siblings of {child:?} are mislinked");
            previous = Some(child);
        }
        ensure!(self.mounts[slot].last_child == previous, "O4: the last child of {slot:?} is another");
        let topper = self.attached_at(slot, self.root_key(slot));
        ensure!(self.mounts[slot].topper == topper, "O5: another mount stands on the root of {slot:?}");
        Ok(())
    }

    fn check_propagation(&self, slot: MountSlot<V>) -> Result<(), String> {
        let mount = &self.mounts[slot];
        ensure!(mount.group.is_some() == mount.next_peer.is_some(), "O8: {slot:?} is half in a ring");
        if let Some(next) = mount.next_peer {
            let next = &self.mounts[next];
            ensure!(next.previous_peer == Some(slot) && next.group == mount.group, "O8: ring broken at {slot:?}");
        }
        // A slave can be unbindable after all: MOVE_MOUNT_SET_GROUP clears the mark only of what becomes shared (A8).
        ensure!(!mount.is_unbindable() || !mount.is_shared(), "O11: {slot:?} is unbindable and shared");
        if let Some(master) = mount.master {
            ensure!(self.mounts[master].is_shared(), "O11: the master of {slot:?} is not shared");
            ensure!(self.slaves(master).any(|slave| slave == slot), "O9: {slot:?} is not in its master's list");
            let depth = core::iter::successors(Some(slot), |&slot| self.mounts[slot].master).take(self.mounts.len() + 1).count();
            ensure!(depth <= self.mounts.len(), "O11: {slot:?} is its own master");
        }
        let mut previous = None;
        for slave in self.slaves(slot) {
            let entry = &self.mounts[slave];
            ensure!(entry.master == Some(slot), "O9: {slave:?} is a slave of {slot:?} and does not know");
            ensure!(entry.previous_slave == previous, "O9: the slaves of {slot:?} are mislinked");
            previous = Some(slave);
        }
        ensure!(mount.last_slave == previous, "O9: the last slave of {slot:?} is another");
        Ok(())
    }

    fn check_state(&self, slot: MountSlot<V>) -> Result<(), String> {
        let mount = &self.mounts[slot];
        let transient = State::REMOVED | State::CANDIDATE;
        ensure!(!mount.state.intersects(transient), "{slot:?} still has marks of an operation");
        let unmounted = mount.state.contains(State::UNMOUNTED);
        let internal = mount.state.contains(State::INTERNAL);
        let situations = [mount.namespace.is_some(), unmounted, internal];
        ensure!(situations.into_iter().filter(|&is| is).count() == 1, "O14: {slot:?} is in {situations:?}");
        if mount.namespace.is_none() {
            ensure!(mount.group.is_none() && mount.master.is_none(), "U14: {slot:?} is outside and related");
        }
        let dangling = unmounted && mount.parent.is_none() && mount.pin_count() == 0;
        ensure!(!dangling, "O14: nothing keeps {slot:?}");
        if let Some(parent) = mount.parent {
            let same = self.mounts[parent].namespace == mount.namespace;
            ensure!(same, "O12: {slot:?} is in another namespace than its parent");
        }
        Ok(())
    }

    fn check_groups(&self) -> Result<(), String> {
        let mut numbers = BTreeSet::new();
        for (slot, group) in self.groups.iter() {
            ensure!(numbers.insert(group.number), "O7: group number {} twice", group.number);
            ensure!(self.group_numbers.contains(group.number - 1), "O7: group {} is not taken", group.number);
            ensure!(group.members > 0, "O11: group {} has no members", group.number);
            self.check_group(slot)?;
        }
        ensure!(self.group_numbers.in_use() == numbers.len(), "O7: numbers taken by no group");
        Ok(())
    }

    fn check_group(&self, slot: GroupSlot<V>) -> Result<(), String> {
        let group = &self.groups[slot];
        let master = self.master_group(group.first);
        for member in self.members(slot) {
            let entry = &self.mounts[member];
            ensure!(entry.group == Some(slot), "O8: {member:?} is in the ring of group {}", group.number);
            ensure!(self.master_group(member) == master, "O11: group {} has two masters", group.number);
        }
        let last = self.members(slot).last();
        let closed = last.is_some_and(|last| self.next_peer(last) == group.first);
        ensure!(closed, "O8: group {} has not the members it counts", group.number);
        let counted = self.mounts.iter().filter(|(_, mount)| mount.group == Some(slot)).count();
        ensure!(counted == group.members as usize, "O8: group {} counts wrong", group.number);
        Ok(())
    }

    fn check_namespaces(&self) -> Result<(), String> {
        for (slot, namespace) in self.namespaces.iter() {
            let Some(root) = namespace.root else {
                return Err(format!("O12: {slot:?} has no root"));
            };
            ensure!(self.mounts[root].namespace == Some(slot), "O12: the root of {slot:?} is elsewhere");
            ensure!(self.mounts[root].parent.is_none(), "O12: the root of {slot:?} is on something");
            let reachable: BTreeSet<u32> = self.tree(root).map(MountSlot::index).collect();
            self.check_orders(slot, &reachable)?;
            let members = self.mounts.iter().filter(|(_, mount)| mount.namespace == Some(slot)).count();
            ensure!(members == namespace.mount_count as usize, "O15: {slot:?} counts wrong");
            ensure!(members == reachable.len(), "O12: a mount of {slot:?} is not below its root");
        }
        Ok(())
    }

    fn check_orders(&self, slot: NamespaceSlot<V>, reachable: &BTreeSet<u32>) -> Result<(), String> {
        let namespace = &self.namespaces[slot];
        let (mut count, mut previous) = (0, None);
        for mount in core::iter::successors(namespace.first_joined, |&mount| self.mounts[mount].next_joined) {
            let entry = &self.mounts[mount];
            ensure!(reachable.contains(&mount.index()), "W6: {mount:?} is listed and not below the root");
            ensure!(entry.previous_joined == previous, "W6: {mount:?} is mislinked");
            let rises = previous.is_none_or(|previous| self.mounts[previous].joined < entry.joined);
            ensure!(rises, "W11: {mount:?} is out of order");
            previous = Some(mount);
            count += 1;
        }
        ensure!(count == namespace.mount_count && namespace.last_joined == previous, "W6: {slot:?} lists wrong");
        let (mut count, mut previous) = (0, None);
        for mount in core::iter::successors(namespace.first_by_id, |&mount| self.mounts[mount].next_by_id) {
            let entry = &self.mounts[mount];
            ensure!(entry.previous_by_id == previous, "X16: {mount:?} is mislinked");
            let rises = previous.is_none_or(|previous| self.mounts[previous].unique_id < entry.unique_id);
            ensure!(rises, "X16: {mount:?} is out of order");
            previous = Some(mount);
            count += 1;
        }
        ensure!(count == namespace.mount_count && namespace.last_by_id == previous, "X16: {slot:?} lists wrong");
        Ok(())
    }

    fn check_tables(&self, attached: usize) -> Result<(), String> {
        let on_mountpoints: usize = self
            .mountpoints
            .iter()
            .map(|&first| core::iter::successors(Some(first), |&slot| self.mounts[slot].next_on_mountpoint).count())
            .sum();
        ensure!(on_mountpoints == attached, "L16: {on_mountpoints} of {attached} mounts are on mountpoints");
        for &slot in &self.places {
            let key = self.mountpoint_key(slot);
            let parent = self.mounts[slot].parent;
            let found = parent.zip(key).and_then(|(parent, key)| self.attached_at(parent, key));
            ensure!(found == Some(slot), "O3: a place of {slot:?} that is not its own");
        }
        Ok(())
    }

    fn is_same_mount(&self, other: &Self, slot: MountSlot<V>) -> bool {
        let (mine, theirs) = (&self.mounts[slot], &other.mounts[slot]);
        let source = |mount: &crate::mount::Mount<V>| mount.source.as_ref().map(|source| source.as_ref().len());
        let links = |mount: &crate::mount::Mount<V>| {
            let tree = [mount.parent, mount.next_sibling, mount.previous_sibling, mount.first_child, mount.last_child];
            let rings = [mount.next_peer, mount.previous_peer, mount.master, mount.next_slave, mount.previous_slave];
            let lists = [mount.first_slave, mount.last_slave, mount.next_joined, mount.previous_joined, mount.next_by_id];
            (tree, rings, lists, mount.previous_by_id, mount.group, mount.namespace)
        };
        let facts = |mount: &crate::mount::Mount<V>| {
            let ids = (mount.number, mount.unique_id, mount.joined);
            let counters = (mount.pin_count(), mount.has_writers(), mount.idmap.is_some());
            (mount.flags, mount.locks, mount.state, ids, counters)
        };
        self.mounts.generation(slot) == other.mounts.generation(slot)
            && links(mine) == links(theirs)
            && facts(mine) == facts(theirs)
            && source(mine) == source(theirs)
            && self.root_key(slot) == other.root_key(slot)
            && self.mountpoint_key(slot) == other.mountpoint_key(slot)
            && self.vfs.superblock_key(&mine.superblock) == other.vfs.superblock_key(&theirs.superblock)
    }

    fn is_same_namespace(&self, other: &Self, slot: NamespaceSlot<V>) -> bool {
        let (mine, theirs) = (&self.namespaces[slot], &other.namespaces[slot]);
        let facts = |namespace: &crate::namespace::Namespace<V>| {
            let lists = [namespace.root, namespace.first_joined, namespace.last_joined, namespace.first_by_id];
            let counters = (namespace.mount_count, namespace.events, namespace.next_joined, namespace.sequence);
            (lists, namespace.last_by_id, counters)
        };
        self.namespaces.generation(slot) == other.namespaces.generation(slot) && facts(mine) == facts(theirs) && mine.owner == theirs.owner
    }
}

/// Whether two forests are the same in all that any operation or view can tell; capacities and marks are not looked at.
impl<V: Vfs> PartialEq for Forest<V> {
    fn eq(&self, other: &Self) -> bool {
        let group = |forest: &Self, slot: GroupSlot<V>| {
            let entry = &forest.groups[slot];
            (forest.groups.generation(slot), entry.number, entry.members, entry.first)
        };
        fn same_slots<T>(mine: &crate::arena::Arena<T>, theirs: &crate::arena::Arena<T>) -> bool {
            mine.iter().map(|(slot, _)| slot).eq(theirs.iter().map(|(slot, _)| slot))
        }
        same_slots(&self.mounts, &other.mounts)
            && same_slots(&self.groups, &other.groups)
            && same_slots(&self.namespaces, &other.namespaces)
            && self.mounts.iter().all(|(slot, _)| self.is_same_mount(other, slot))
            && self.groups.iter().all(|(slot, _)| group(self, slot) == group(other, slot))
            && self.namespaces.iter().all(|(slot, _)| self.is_same_namespace(other, slot))
            && (self.next_unique_id, self.next_sequence, self.mount_max) == (other.next_unique_id, other.next_sequence, other.mount_max)
            && self.mount_numbers == other.mount_numbers
            && self.group_numbers == other.group_numbers
    }
}

/// Prints the mounts as a tree, a line each: number, slot, flags, group and master.
impl<V: Vfs> core::fmt::Debug for Forest<V> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (slot, namespace) in self.namespaces.iter() {
            writeln!(formatter, "namespace {slot:?} (sequence {}):", namespace.sequence)?;
            let Some(root) = namespace.root else { continue };
            for mount in self.tree(root) {
                let entry = &self.mounts[mount];
                let depth = core::iter::successors(entry.parent, |&parent| self.mounts[parent].parent).count();
                let group = |group: Option<GroupSlot<V>>| group.map(|group| self.groups[group].number);
                let (shared, master) = (group(entry.group), group(self.master_group(mount)));
                write!(formatter, "{:indent$}{} {mount:?}", "", entry.number, indent = 2 + 2 * depth)?;
                write!(formatter, " on {:?}", self.mountpoint_key(mount))?;
                writeln!(formatter, " shared {shared:?} master {master:?} {:?} {:?}", entry.locks, entry.state)?;
            }
        }
        Ok(())
    }
}
