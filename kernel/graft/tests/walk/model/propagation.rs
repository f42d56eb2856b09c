//! The model: what an attach or an unmount does elsewhere (chapters 7 and 8).

use super::*;

impl Model {
    // ---- propagation of an attach (chapter 7) ----

    /// P1: (receiver, its group, its master when it has no group), without `destination` itself.
    pub(super) fn receivers(&self, destination: MountIndex) -> Vec<(MountIndex, Option<GroupIndex>, Option<GroupIndex>)> {
        let mut found = Vec::new();
        if let Some(group) = self.mounts[destination].group {
            self.receivers_of_group(group, destination, &mut found);
        }
        found
    }

    pub(super) fn receivers_of_group(
        &self,
        group: GroupIndex,
        destination: MountIndex,
        found: &mut Vec<(MountIndex, Option<GroupIndex>, Option<GroupIndex>)>,
    ) {
        for &member in &self.groups[group].members {
            if member != destination {
                found.push((member, Some(group), None));
            }
        }
        for (index, mount) in self.mounts.iter().enumerate() {
            let listed = mount.live && mount.namespace.is_some();
            if listed && mount.group.is_none() && mount.plain_master == Some(group) {
                found.push((index, None, Some(group)));
            }
        }
        for slaves in 0..self.groups.len() {
            if self.groups[slaves].master == Some(group) && !self.groups[slaves].members.is_empty() {
                self.receivers_of_group(slaves, destination, found);
            }
        }
    }

    /// Copies of `source` for every receiver of `destination` (P2 to P5), each with its receiver, not yet attached.
    pub(super) fn make_copies(
        &mut self,
        source: MountIndex,
        destination: MountIndex,
        dentry: DentryIndex,
    ) -> Outcome<Vec<(MountIndex, MountIndex)>> {
        let Some(destination_group) = self.mounts[destination].group else { return Ok(Vec::new()) };
        let receivers = self.receivers(destination);
        let originals = self.tree(source);
        for &mount in &originals {
            self.change(mount, Kind::Shared);
        }
        // Receiving group → for each mount of the source tree, the group that its copies join.
        let mut made: BTreeMap<GroupIndex, BTreeMap<MountIndex, GroupIndex>> = BTreeMap::new();
        made.insert(destination_group, originals.iter().map(|&m| (m, self.mounts[m].group.expect("just shared"))).collect());
        let mut copies = Vec::new();
        for (receiver, group, master) in receivers {
            let Some(namespace) = self.mounts[receiver].namespace else { continue };
            if self.namespaces[namespace].anonymous || !self.under(dentry, self.mounts[receiver].root) {
                continue;
            }
            let copy = if let Some(known) = group.and_then(|group| made.get(&group).cloned()) {
                self.copy_tree(source, self.mounts[source].root, false, &mut |model, old, root| {
                    let copy = model.bare_copy(old, root);
                    model.join(copy, known[&old]);
                    copy
                })?
            } else {
                let mut upper = group.map_or(master, |group| self.groups[group].master).expect("a receiver below has a master");
                while !made.contains_key(&upper) {
                    upper = self.groups[upper].master.expect("the destination's group is above every receiver");
                }
                let masters = made[&upper].clone();
                let mut fresh = BTreeMap::new();
                let copy = self.copy_tree(source, self.mounts[source].root, false, &mut |model, old, root| {
                    let copy = model.bare_copy(old, root);
                    if group.is_some() {
                        let new = model.new_group(Some(masters[&old]));
                        fresh.insert(old, new);
                        model.join(copy, new);
                    } else {
                        model.mounts[copy].plain_master = Some(masters[&old]);
                    }
                    copy
                })?;
                if let Some(group) = group {
                    made.insert(group, fresh);
                }
                copy
            };
            copies.push((copy, receiver));
        }
        Ok(copies)
    }

    pub(super) fn bare_copy(&mut self, old: MountIndex, root: DentryIndex) -> MountIndex {
        let Mount { superblock, source, locked, .. } = self.mounts[old].clone();
        let copy = self.new_mount_object(superblock, root, &source);
        self.mounts[copy].locked = locked;
        copy
    }

    pub(super) fn enter_namespace(&mut self, top: MountIndex, namespace: Option<NamespaceIndex>) {
        for mount in self.tree(top) {
            self.mounts[mount].namespace = namespace;
        }
    }

    pub(super) fn attach_recursive(
        &mut self,
        agent: usize,
        source: MountIndex,
        (destination, dentry): Spot,
        moving: bool,
        beneath: Option<MountIndex>,
    ) -> Outcome {
        if self.dentries[self.mounts[source].root].dead {
            return Err(Failure::NoEnt); // F14
        }
        let caller_owner = self.namespaces[self.agents[&agent].namespace].owner;
        let copies = self.make_copies(source, destination, dentry)?;
        if moving {
            self.detach(source);
        }
        let namespace = self.mounts[destination].namespace;
        match beneath {
            Some(top) => {
                self.detach(top);
                self.enter_namespace(source, namespace);
                self.attach(source, destination, dentry);
                self.attach(top, source, self.mounts[source].root);
            }
            None => {
                self.enter_namespace(source, namespace);
                self.attach(source, destination, dentry);
            }
        }
        for (copy, receiver) in copies.into_iter().rev() {
            let covered = self.at(receiver, dentry);
            let namespace = self.mounts[receiver].namespace.expect("receivers are in a namespace");
            self.enter_namespace(copy, Some(namespace));
            self.mounts[copy].locked = false;
            if self.namespaces[namespace].owner != caller_owner {
                for mount in self.tree(copy).into_iter().skip(1) {
                    self.mounts[mount].locked = true; // K4
                }
            }
            if let Some(covered) = covered {
                self.detach(covered);
                self.attach(copy, receiver, dentry);
                self.attach(covered, copy, self.mounts[copy].root); // P8
            } else {
                self.attach(copy, receiver, dentry);
            }
        }
        Ok(())
    }

    // ---- unmounting (chapter 8) ----

    /// U10 and U11: what goes besides `victims`.
    pub(super) fn propagated_removals(&self, victims: &[MountIndex]) -> Vec<MountIndex> {
        let mut set: Vec<MountIndex> = Vec::new();
        for &victim in victims {
            let (Some(parent), Some(mountpoint)) = (self.mounts[victim].parent, self.mounts[victim].mountpoint) else { continue };
            for (receiver, _, _) in self.receivers(parent) {
                if let Some(candidate) = self.at(receiver, mountpoint)
                    && !victims.contains(&candidate)
                    && !set.contains(&candidate)
                {
                    set.push(candidate);
                }
            }
        }
        loop {
            let kept: Vec<_> = set.iter().copied().filter(|&candidate| self.may_go(candidate, &set, victims)).collect();
            if kept.len() == set.len() {
                return set;
            }
            set = kept;
        }
    }

    pub(super) fn may_go(&self, candidate: MountIndex, set: &[MountIndex], victims: &[MountIndex]) -> bool {
        let Mount { locked, parent, mountpoint, root, ref children, .. } = self.mounts[candidate];
        let goes = |mount: &MountIndex| set.contains(mount) || victims.contains(mount);
        if locked {
            let parent = parent.expect("candidates are attached");
            if !goes(&parent) || (!victims.contains(&parent) && mountpoint == Some(self.mounts[parent].root)) {
                return false;
            }
        }
        children.iter().all(|child| goes(child) || self.mounts[*child].mountpoint == Some(root))
    }

    /// U9 to U15. `parting` tells which of the removed mounts stay on their removed parents.
    pub(super) fn unmount_tree(&mut self, top: MountIndex, propagate: bool, parting: Parting) {
        if let (true, Some(parent), Some(mountpoint)) = (propagate, self.mounts[top].parent, self.mounts[top].mountpoint) {
            for (receiver, _, _) in self.receivers(parent) {
                if let Some(counterpart) = self.at(receiver, mountpoint) {
                    self.mounts[counterpart].locked = false;
                }
            }
        }
        let victims = self.tree(top);
        let extra = if propagate { self.propagated_removals(&victims) } else { Vec::new() };
        let gone: Vec<_> = victims.iter().chain(&extra).copied().collect();
        for &removed in &extra {
            for survivor in self.mounts[removed].children.clone().into_iter().filter(|child| !gone.contains(child)) {
                let (mut parent, mut dentry) = (self.mounts[removed].parent, self.mounts[removed].mountpoint);
                while let Some(up) = parent.filter(|up| gone.contains(up)) {
                    (parent, dentry) = (self.mounts[up].parent, self.mounts[up].mountpoint);
                }
                self.detach(survivor);
                self.attach(survivor, parent.expect("a survivor has a parent"), dentry.expect("and a mountpoint")); // U13
            }
        }
        for &mount in &gone {
            self.mounts[mount].namespace = None;
        }
        for &mount in &gone {
            self.discard(mount);
        }
        for &mount in &gone {
            let on_removed = self.mounts[mount].parent.is_some_and(|parent| !self.mounts[parent].live);
            let stays = match parting {
                Parting::Apart => false,
                Parting::LockedStay => self.mounts[mount].locked,
                Parting::Together => true,
            };
            if !(on_removed && stays) {
                self.detach(mount);
            }
        }
    }

    /// What stayed on a removed mount is let go when nobody holds that mount any more.
    pub(crate) fn let_go(&mut self) {
        let ended = |model: &Self, mount: &MountIndex| {
            let Mount { live, parent, ref children, .. } = model.mounts[*mount];
            !live && parent.is_none() && !children.is_empty() && model.holders(*mount) == 0
        };
        while let Some(mount) = (0..self.mounts.len()).find(|mount| ended(self, mount)) {
            for child in self.mounts[mount].children.clone() {
                self.detach(child);
            }
        }
    }

    pub(super) fn holders(&self, mount: MountIndex) -> usize {
        let agents = self.agents.values().map(|agent| usize::from(agent.root.0 == mount) + usize::from(agent.working_directory.0 == mount));
        self.mounts[mount].holders + agents.sum::<usize>()
    }

    /// U7 and U8.
    pub(super) fn busy(&self, mount: MountIndex) -> bool {
        let Mount { parent, mountpoint, ref children, .. } = self.mounts[mount];
        if !children.is_empty() || self.holders(mount) > 0 {
            return true;
        }
        let (Some(parent), Some(mountpoint)) = (parent, mountpoint) else { return false };
        self.receivers(parent).into_iter().filter_map(|(receiver, _, _)| self.at(receiver, mountpoint)).any(|counterpart| {
            let Mount { root, ref children, .. } = self.mounts[counterpart];
            let ignored = match children[..] {
                [] => false,
                [only] => self.mounts[only].mountpoint != Some(root),
                _ => true,
            };
            !ignored && self.holders(counterpart) > 0
        })
    }
}
