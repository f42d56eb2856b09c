//! The reference model: what every operation on mounts does, written from the numbered rules of `semantics.md` and as plainly as
//! possible, sharing no code with `graft`. Peer groups are sets, a mount's master is a *group*, a propagated unmount is a greatest
//! fixpoint, and nothing is fast. It predicts the errno and the whole structure of every namespace.

use std::collections::BTreeMap;

pub(crate) type MountIndex = usize;
pub(crate) type DentryIndex = usize;
pub(crate) type GroupIndex = usize;
pub(crate) type NamespaceIndex = usize;
pub(crate) type Spot = (MountIndex, DentryIndex);

/// The errnos that the model tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    Inval,
    Busy,
    NoEnt,
    Loop,
    Perm,
    NotEmpty,
    Exist,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// The propagation types of mount(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Shared,
    Slave,
    Private,
    Unbindable,
}

#[derive(Clone, Debug)]
pub(crate) struct Dentry {
    pub(crate) parent: Option<DentryIndex>,
    pub(crate) name: String,
    pub(crate) children: BTreeMap<String, DentryIndex>,
    pub(crate) dead: bool,
    pub(crate) superblock: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) members: Vec<MountIndex>,
    pub(crate) master: Option<GroupIndex>,
}

#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    pub(crate) anonymous: bool,
    pub(crate) root: Option<MountIndex>,
    pub(crate) owner: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub(crate) superblock: usize,
    pub(crate) root: DentryIndex,
    pub(crate) source: String,
    pub(crate) parent: Option<MountIndex>,
    pub(crate) mountpoint: Option<DentryIndex>,
    pub(crate) children: Vec<MountIndex>,
    pub(crate) namespace: Option<NamespaceIndex>,
    pub(crate) group: Option<GroupIndex>,
    /// The master of a mount without a group; a member's master is its group's.
    plain_master: Option<GroupIndex>,
    pub(crate) unbindable: bool,
    pub(crate) locked: bool,
    pub(crate) holders: usize,
    /// Still part of a tree (attached, detached tree, or a copy being made).
    live: bool,
}

/// A process: where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) namespace: NamespaceIndex,
    pub(crate) root: Spot,
    pub(crate) working_directory: Spot,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) dentries: Vec<Dentry>,
    pub(crate) groups: Vec<Group>,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) agents: BTreeMap<usize, Agent>,
    superblocks: usize,
}

impl Model {
    /// One namespace whose root mount is `source`, with one agent (number 0) at its root.
    pub(crate) fn new(source: &str) -> Self {
        let mut model = Self::default();
        let root = model.new_superblock_mount(source);
        model.namespaces.push(Namespace { anonymous: false, root: Some(root), owner: 0 });
        model.mounts[root].namespace = Some(0);
        model.mounts[root].locked = true; // X18
        let spot = (root, model.mounts[root].root);
        model.agents.insert(0, Agent { namespace: 0, root: spot, working_directory: spot });
        model
    }

    // ---- dentries ----

    fn new_dentry(&mut self, parent: Option<DentryIndex>, name: &str, superblock: usize) -> DentryIndex {
        self.dentries.push(Dentry { parent, name: name.into(), children: BTreeMap::new(), dead: false, superblock });
        self.dentries.len() - 1
    }

    fn make_child(&mut self, parent: DentryIndex, name: &str) -> DentryIndex {
        let superblock = self.dentries[parent].superblock;
        let child = self.new_dentry(Some(parent), name, superblock);
        self.dentries[parent].children.insert(name.into(), child);
        child
    }

    fn under(&self, dentry: DentryIndex, ancestor: DentryIndex) -> bool {
        let mut at = Some(dentry);
        while let Some(dentry) = at {
            if dentry == ancestor {
                return true;
            }
            at = self.dentries[dentry].parent;
        }
        false
    }

    fn new_superblock_mount(&mut self, source: &str) -> MountIndex {
        let superblock = self.superblocks;
        self.superblocks += 1;
        let root = self.new_dentry(None, "", superblock);
        self.new_mount_object(superblock, root, source)
    }

    fn new_mount_object(&mut self, superblock: usize, root: DentryIndex, source: &str) -> MountIndex {
        self.mounts.push(Mount {
            superblock,
            root,
            source: source.into(),
            parent: None,
            mountpoint: None,
            children: Vec::new(),
            namespace: None,
            group: None,
            plain_master: None,
            unbindable: false,
            locked: false,
            holders: 0,
            live: true,
        });
        self.mounts.len() - 1
    }

    // ---- peer groups (chapter 4) ----

    pub(crate) fn master(&self, mount: MountIndex) -> Option<GroupIndex> {
        match self.mounts[mount].group {
            Some(group) => self.groups[group].master,
            None => self.mounts[mount].plain_master,
        }
    }

    fn new_group(&mut self, master: Option<GroupIndex>) -> GroupIndex {
        self.groups.push(Group { members: Vec::new(), master });
        self.groups.len() - 1
    }

    fn join(&mut self, mount: MountIndex, group: GroupIndex) {
        self.mounts[mount].group = Some(group);
        self.mounts[mount].plain_master = None;
        self.groups[group].members.push(mount);
    }

    /// C5. Gives the group that the mount would be a slave of afterwards.
    fn leave(&mut self, mount: MountIndex) -> Option<GroupIndex> {
        let Some(group) = self.mounts[mount].group.take() else { return self.mounts[mount].plain_master };
        self.groups[group].members.retain(|&member| member != mount);
        if !self.groups[group].members.is_empty() {
            return Some(group);
        }
        let heir = self.groups[group].master;
        for slave in self.mounts.iter_mut().filter(|slave| slave.live && slave.plain_master == Some(group)) {
            slave.plain_master = heir;
        }
        for slaves in self.groups.iter_mut().filter(|slaves| slaves.master == Some(group)) {
            slaves.master = heir;
        }
        heir
    }

    fn change(&mut self, mount: MountIndex, kind: Kind) {
        match kind {
            Kind::Shared => {
                if self.mounts[mount].group.is_none() {
                    let group = self.new_group(self.mounts[mount].plain_master);
                    self.join(mount, group);
                }
                self.mounts[mount].unbindable = false;
            }
            Kind::Slave => {
                let master = self.leave(mount);
                self.mounts[mount].plain_master = master;
            }
            Kind::Private | Kind::Unbindable => {
                self.leave(mount);
                self.mounts[mount].plain_master = None;
                self.mounts[mount].unbindable = kind == Kind::Unbindable;
            }
        }
    }

    // ---- trees ----

    /// The mount and everything mounted below it, in pre-order (O4).
    pub(crate) fn tree(&self, top: MountIndex) -> Vec<MountIndex> {
        let mut all = vec![top];
        for &child in &self.mounts[top].children {
            all.extend(self.tree(child));
        }
        all
    }

    /// What lookup finds at (mount, dentry): the mount attached there last (O5).
    pub(crate) fn at(&self, mount: MountIndex, dentry: DentryIndex) -> Option<MountIndex> {
        self.mounts[mount].children.iter().rev().copied().find(|&child| self.mounts[child].mountpoint == Some(dentry))
    }

    fn attach(&mut self, mount: MountIndex, parent: MountIndex, dentry: DentryIndex) {
        self.mounts[mount].parent = Some(parent);
        self.mounts[mount].mountpoint = Some(dentry);
        self.mounts[parent].children.push(mount);
    }

    fn detach(&mut self, mount: MountIndex) {
        if let Some(parent) = self.mounts[mount].parent.take() {
            self.mounts[parent].children.retain(|&child| child != mount);
        }
        self.mounts[mount].mountpoint = None;
    }

    fn is_at_or_below(&self, mount: MountIndex, ancestor: MountIndex) -> bool {
        let mut at = Some(mount);
        while let Some(mount) = at {
            if mount == ancestor {
                return true;
            }
            at = self.mounts[mount].parent;
        }
        false
    }

    fn clone_joining(&mut self, mount: MountIndex, root: DentryIndex) -> MountIndex {
        let old = self.mounts[mount].clone();
        let copy = self.new_mount_object(old.superblock, root, &old.source);
        self.mounts[copy].unbindable = old.unbindable;
        self.mounts[copy].locked = old.locked;
        match old.group {
            Some(group) => self.join(copy, group),
            None => self.mounts[copy].plain_master = old.plain_master,
        }
        copy
    }

    /// Copies the tree at (top, root); `relate` makes one copy. Unbindable mounts are pruned unless `keep_unbindable` (B3, N2).
    fn copy_tree(
        &mut self,
        top: MountIndex,
        root: DentryIndex,
        keep_unbindable: bool,
        relate: &mut dyn FnMut(&mut Self, MountIndex, DentryIndex) -> MountIndex,
    ) -> Outcome<MountIndex> {
        if self.mounts[top].unbindable && !keep_unbindable {
            return Err(Failure::Inval);
        }
        let copy = relate(self, top, root);
        let mut made = vec![copy];
        let mut work: Vec<(MountIndex, MountIndex)> = vec![(top, copy)];
        while let Some((old, new)) = work.pop() {
            for child in self.mounts[old].children.clone() {
                let mountpoint = self.mounts[child].mountpoint.expect("children have mountpoints");
                if old == top && !self.under(mountpoint, root) {
                    continue;
                }
                if self.mounts[child].unbindable && !keep_unbindable {
                    if self.mounts[child].locked {
                        for mount in made {
                            self.discard(mount);
                        }
                        return Err(Failure::Perm);
                    }
                    continue;
                }
                let child_copy = relate(self, child, self.mounts[child].root);
                made.push(child_copy);
                self.attach(child_copy, new, mountpoint);
                work.push((child, child_copy));
            }
        }
        Ok(copy)
    }

    fn discard(&mut self, mount: MountIndex) {
        self.leave(mount);
        self.mounts[mount].plain_master = None;
        self.mounts[mount].live = false;
    }

    fn discard_tree(&mut self, top: MountIndex) {
        for mount in self.tree(top) {
            self.discard(mount);
        }
    }

    // ---- propagation of an attach (chapter 7) ----

    /// P1: (receiver, its group, its master when it has no group), without `destination` itself.
    fn receivers(&self, destination: MountIndex) -> Vec<(MountIndex, Option<GroupIndex>, Option<GroupIndex>)> {
        let mut found = Vec::new();
        if let Some(group) = self.mounts[destination].group {
            self.receivers_of_group(group, destination, &mut found);
        }
        found
    }

    fn receivers_of_group(
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
    fn make_copies(&mut self, source: MountIndex, destination: MountIndex, dentry: DentryIndex) -> Outcome<Vec<(MountIndex, MountIndex)>> {
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

    fn bare_copy(&mut self, old: MountIndex, root: DentryIndex) -> MountIndex {
        let Mount { superblock, source, locked, .. } = self.mounts[old].clone();
        let copy = self.new_mount_object(superblock, root, &source);
        self.mounts[copy].locked = locked;
        copy
    }

    fn enter_namespace(&mut self, top: MountIndex, namespace: Option<NamespaceIndex>) {
        for mount in self.tree(top) {
            self.mounts[mount].namespace = namespace;
        }
    }

    fn attach_recursive(
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
    fn propagated_removals(&self, victims: &[MountIndex]) -> Vec<MountIndex> {
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

    fn may_go(&self, candidate: MountIndex, set: &[MountIndex], victims: &[MountIndex]) -> bool {
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

    fn unmount_tree(&mut self, top: MountIndex, propagate: bool) {
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
            self.detach(mount);
        }
    }

    fn holders(&self, mount: MountIndex) -> usize {
        let agents = self.agents.values().map(|agent| usize::from(agent.root.0 == mount) + usize::from(agent.working_directory.0 == mount));
        self.mounts[mount].holders + agents.sum::<usize>()
    }

    /// U7 and U8.
    fn busy(&self, mount: MountIndex) -> bool {
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

    // ---- lookup (chapter 2) ----

    /// L1: the top of the stack at a place.
    pub(crate) fn top_of_stack(&self, (mut mount, mut dentry): Spot) -> Spot {
        while let Some(child) = self.at(mount, dentry) {
            (mount, dentry) = (child, self.mounts[child].root);
        }
        (mount, dentry)
    }

    pub(crate) fn lookup(&self, agent: usize, path: &str) -> Outcome<Spot> {
        let agent = &self.agents[&agent];
        let mut spot = if path.starts_with('/') { agent.root } else { agent.working_directory };
        for component in path.split('/').filter(|component| !matches!(*component, "" | ".")) {
            spot = if component == ".." {
                self.top_of_stack(self.dot_dot(agent.root, spot))
            } else {
                let child = *self.dentries[spot.1].children.get(component).ok_or(Failure::NoEnt)?;
                self.top_of_stack((spot.0, child))
            };
        }
        Ok(spot)
    }

    /// L5.
    fn dot_dot(&self, root: Spot, (mut mount, mut dentry): Spot) -> Spot {
        loop {
            if (mount, dentry) == root {
                return (mount, dentry);
            }
            if dentry != self.mounts[mount].root {
                return (mount, self.dentries[dentry].parent.expect("not the root of its mount"));
            }
            match (self.mounts[mount].parent, self.mounts[mount].mountpoint) {
                (Some(parent), Some(mountpoint)) => (mount, dentry) = (parent, mountpoint),
                _ => return (mount, dentry),
            }
        }
    }

    /// F9: the place to mount on.
    fn place(&self, agent: usize, spot: Spot) -> Outcome<Spot> {
        let (mount, dentry) = self.top_of_stack(spot);
        if self.dentries[dentry].dead {
            return Err(Failure::NoEnt);
        }
        let _ = agent;
        Ok((mount, dentry))
    }

    fn in_own_namespace(&self, agent: usize, mount: MountIndex) -> bool {
        self.mounts[mount].namespace == Some(self.agents[&agent].namespace)
    }
}

/// The operations, as one agent calls them.
impl Model {
    pub(crate) fn new_mount(&mut self, agent: usize, path: &str, source: &str, directories: &[&str]) -> Outcome {
        let place = self.place(agent, self.lookup(agent, path)?)?;
        if !self.in_own_namespace(agent, place.0) {
            return Err(Failure::Inval);
        }
        let mount = self.new_superblock_mount(source);
        for directory in directories {
            let mut at = self.mounts[mount].root;
            for name in directory.split('/') {
                at = match self.dentries[at].children.get(name) {
                    Some(&child) => child,
                    None => self.make_child(at, name),
                };
            }
        }
        self.attach_recursive(agent, mount, place, false, None)
    }

    /// B1, A2: the copy that bind and open_tree make.
    fn copy_for_bind(&mut self, agent: usize, (mount, dentry): Spot, recursive: bool) -> Outcome<MountIndex> {
        if self.mounts[mount].unbindable || !self.in_own_namespace(agent, mount) {
            return Err(Failure::Inval);
        }
        if !recursive && self.has_locked_child_below(mount, dentry) {
            return Err(Failure::Inval);
        }
        let copy = if recursive {
            self.copy_tree(mount, dentry, false, &mut |model, old, root| model.clone_joining(old, root))?
        } else {
            self.clone_joining(mount, dentry)
        };
        self.mounts[copy].locked = false;
        Ok(copy)
    }

    fn has_locked_child_below(&self, mount: MountIndex, dentry: DentryIndex) -> bool {
        self.mounts[mount].children.iter().any(|&child| {
            let Mount { locked, mountpoint, .. } = self.mounts[child];
            locked && mountpoint.is_some_and(|mountpoint| self.under(mountpoint, dentry))
        })
    }

    pub(crate) fn bind(&mut self, agent: usize, source: &str, target: &str, recursive: bool) -> Outcome {
        let target = self.lookup(agent, target)?;
        let source = self.lookup(agent, source)?;
        let place = self.place(agent, target)?;
        if !self.in_own_namespace(agent, place.0) {
            return Err(Failure::Inval);
        }
        let copy = self.copy_for_bind(agent, source, recursive)?;
        let attached = self.attach_recursive(agent, copy, place, false, None);
        if attached.is_err() {
            self.discard_tree(copy);
        }
        attached
    }

    pub(crate) fn move_mount(&mut self, agent: usize, source: &str, target: &str, beneath: bool) -> Outcome {
        let target_spot = self.lookup(agent, target);
        let source_spot = self.lookup(agent, source);
        // mount(MS_MOVE) looks the target up first, move_mount the source (X12).
        let (source, target) = if beneath {
            let s = source_spot?;
            (s, target_spot?)
        } else {
            let t = target_spot?;
            (source_spot?, t)
        };
        self.move_to(agent, source, target, beneath)
    }

    /// Attaches a detached tree made by [`Model::open_tree`].
    pub(crate) fn attach_detached(&mut self, agent: usize, tree: MountIndex, target: &str) -> Outcome {
        let target = self.lookup(agent, target)?;
        self.move_to(agent, (tree, self.mounts[tree].root), target, false)
    }

    fn move_to(&mut self, agent: usize, (old, dentry): Spot, target: Spot, beneath: bool) -> Outcome {
        let (place, top) = if beneath {
            let (top, _) = self.top_of_stack(target);
            let place = match (self.mounts[top].parent, self.mounts[top].mountpoint) {
                (Some(parent), Some(mountpoint)) => (parent, mountpoint),
                _ => (top, self.mounts[top].root),
            };
            (place, Some(top))
        } else {
            (self.place(agent, target)?, None)
        };
        let attached = self.mounts[old].parent.is_some();
        let old_root = self.mounts[old].root;
        let refuse = |refused: bool| if refused { Err(Failure::Inval) } else { Ok(()) };
        refuse(!self.in_own_namespace(agent, top.unwrap_or(place.0)))?;
        let Some(namespace) = self.mounts[old].namespace else { return Err(Failure::Inval) };
        refuse(attached && !self.in_own_namespace(agent, old))?;
        refuse(!attached && !self.namespaces[namespace].anonymous)?;
        refuse(self.mounts[old].locked || dentry != old_root)?;
        refuse(self.mounts[old].parent.is_some_and(|parent| self.mounts[parent].group.is_some()))?;
        if let Some(top) = top {
            self.check_beneath(agent, old, top, self.top_of_stack(target).1, place)?;
        }
        let unbindable_inside = self.tree(old).into_iter().any(|mount| self.mounts[mount].unbindable);
        refuse(self.mounts[place.0].group.is_some() && unbindable_inside)?;
        if self.is_at_or_below(place.0, old) {
            return Err(Failure::Loop);
        }
        self.attach_recursive(agent, old, place, attached, top)
    }

    /// A9.
    fn check_beneath(&self, agent: usize, old: MountIndex, top: MountIndex, top_dentry: DentryIndex, place: Spot) -> Outcome {
        let agent = &self.agents[&agent];
        let namespace_root = self.namespaces[agent.namespace].root;
        let refused = self.mounts[top].parent.is_none()
            || top_dentry != self.mounts[top].root
            || self.mounts[top].locked
            || self.at(old, self.mounts[old].root).is_some()
            || top == agent.root.0
            || self.mounts[top].parent == namespace_root
            || self.is_at_or_below(old, top)
            || self.would_receive_on_root(place, top)
            || self.would_receive_on_root(place, old);
        if refused { Err(Failure::Inval) } else { Ok(()) }
    }

    fn would_receive_on_root(&self, (from, dentry): Spot, to: MountIndex) -> bool {
        let Some(group) = self.mounts[from].group else { return false };
        if self.mounts[to].namespace.is_none_or(|namespace| self.namespaces[namespace].anonymous) || self.mounts[to].root != dentry {
            return false;
        }
        let mut at = self.mounts[to].group.or(self.mounts[to].plain_master);
        while let Some(above) = at {
            if above == group {
                return true;
            }
            at = self.groups[above].master;
        }
        false
    }

    pub(crate) fn change_type(&mut self, agent: usize, path: &str, kind: Kind, recursive: bool) -> Outcome {
        let (mount, dentry) = self.lookup(agent, path)?;
        if dentry != self.mounts[mount].root || self.mounts[mount].namespace.is_none() {
            return Err(Failure::Inval); // C1, X6
        }
        for mount in if recursive { self.tree(mount) } else { vec![mount] } {
            self.change(mount, kind);
        }
        Ok(())
    }

    pub(crate) fn umount(&mut self, agent: usize, path: &str, lazy: bool) -> Outcome {
        let (mount, dentry) = self.top_of_stack(self.lookup(agent, path)?); // L3
        let namespace_root = self.namespaces[self.agents[&agent].namespace].root;
        if dentry != self.mounts[mount].root
            || !self.in_own_namespace(agent, mount)
            || self.mounts[mount].locked
            || namespace_root == Some(mount)
        {
            return Err(Failure::Inval); // U1, U5
        }
        if !lazy && self.busy(mount) {
            return Err(Failure::Busy);
        }
        self.unmount_tree(mount, true);
        Ok(())
    }

    pub(crate) fn make_directory(&mut self, agent: usize, path: &str) -> Outcome {
        let (parent, name) = split(path);
        let (_, dentry) = self.lookup(agent, parent)?;
        if self.dentries[dentry].dead {
            return Err(Failure::NoEnt);
        }
        if self.dentries[dentry].children.contains_key(name) {
            return Err(Failure::Exist);
        }
        self.make_child(dentry, name);
        Ok(())
    }

    /// L16, L17.
    pub(crate) fn remove_directory(&mut self, agent: usize, path: &str) -> Outcome {
        let (parent, name) = split(path);
        let (_, dentry) = self.lookup(agent, parent)?;
        let victim = *self.dentries[dentry].children.get(name).ok_or(Failure::NoEnt)?;
        let own = self.agents[&agent].namespace;
        let here = |mount: &Mount| mount.live && mount.mountpoint == Some(victim);
        if self.mounts.iter().any(|mount| here(mount) && mount.namespace == Some(own)) {
            return Err(Failure::Busy);
        }
        if !self.dentries[victim].children.is_empty() {
            return Err(Failure::NotEmpty);
        }
        while let Some(mount) = self.mounts.iter().position(here) {
            self.unmount_tree(mount, false);
        }
        self.dentries[dentry].children.remove(name);
        self.dentries[victim].dead = true;
        Ok(())
    }

    /// R1 to R5.
    pub(crate) fn pivot_root(&mut self, agent: usize, new_root: &str, put_old: &str) -> Outcome {
        let (new, new_dentry) = self.lookup(agent, new_root)?;
        let put = self.place(agent, self.lookup(agent, put_old)?)?;
        let root = self.agents[&agent].root;
        let parent_or_self = |mount: MountIndex| self.mounts[mount].parent.unwrap_or(mount);
        let shared = |mount: MountIndex| self.mounts[mount].group.is_some();
        let refuse = |refused: bool, failure: Failure| if refused { Err(failure) } else { Ok(()) };
        refuse(shared(put.0) || shared(parent_or_self(new)) || shared(parent_or_self(root.0)), Failure::Inval)?;
        refuse(!self.in_own_namespace(agent, root.0) || !self.in_own_namespace(agent, new), Failure::Inval)?;
        refuse(self.mounts[new].locked, Failure::Inval)?;
        refuse(self.dentries[new_dentry].dead, Failure::NoEnt)?;
        refuse(new == root.0 || put.0 == root.0, Failure::Busy)?;
        let (Some(root_parent), Some(root_mountpoint)) = (self.mounts[root.0].parent, self.mounts[root.0].mountpoint) else {
            return Err(Failure::Inval);
        };
        refuse(root.1 != self.mounts[root.0].root, Failure::Inval)?;
        refuse(new_dentry != self.mounts[new].root || self.mounts[new].parent.is_none(), Failure::Inval)?;
        refuse(!self.reachable(put, (new, new_dentry)) || !self.reachable((new, new_dentry), root), Failure::Inval)?;
        if self.mounts[root.0].locked {
            self.mounts[new].locked = true;
            self.mounts[root.0].locked = false;
        }
        self.detach(new);
        self.detach(root.0);
        self.attach(root.0, put.0, put.1);
        self.attach(new, root_parent, root_mountpoint);
        for agent in self.agents.values_mut() {
            for spot in [&mut agent.root, &mut agent.working_directory] {
                if *spot == root {
                    *spot = (new, new_dentry);
                }
            }
        }
        Ok(())
    }

    fn reachable(&self, (mut mount, mut dentry): Spot, root: Spot) -> bool {
        while mount != root.0 {
            match (self.mounts[mount].parent, self.mounts[mount].mountpoint) {
                (Some(parent), Some(mountpoint)) => (mount, dentry) = (parent, mountpoint),
                _ => return false,
            }
        }
        self.under(dentry, root.1)
    }

    /// A8.
    pub(crate) fn set_group(&mut self, agent: usize, from: &str, to: &str) -> Outcome {
        let (from, from_dentry) = self.lookup(agent, from)?;
        let (to, to_dentry) = self.lookup(agent, to)?;
        let (source, target) = (self.mounts[from].clone(), self.mounts[to].clone());
        let refused = source.namespace.is_none()
            || target.namespace.is_none()
            || from_dentry != source.root
            || to_dentry != target.root
            || source.superblock != target.superblock
            || !self.under(target.root, source.root)
            || self.has_locked_child_below(from, target.root)
            || target.group.is_some()
            || target.plain_master.is_some()
            || (source.group.is_none() && source.plain_master.is_none());
        if refused {
            return Err(Failure::Inval);
        }
        match source.group {
            Some(group) => {
                self.join(to, group);
                self.mounts[to].unbindable = false;
            }
            None => self.mounts[to].plain_master = source.plain_master,
        }
        Ok(())
    }

    pub(crate) fn open_tree(&mut self, agent: usize, path: &str, recursive: bool) -> Outcome<MountIndex> {
        let copy = self.copy_for_bind(agent, self.lookup(agent, path)?, recursive)?;
        let owner = self.namespaces[self.agents[&agent].namespace].owner;
        self.namespaces.push(Namespace { anonymous: true, root: Some(copy), owner });
        self.enter_namespace(copy, Some(self.namespaces.len() - 1));
        self.mounts[copy].holders += 1;
        Ok(copy)
    }

    /// A5: the last descriptor of a detached tree is closed.
    pub(crate) fn close_tree(&mut self, tree: MountIndex) {
        self.mounts[tree].holders -= 1;
        let anonymous = self.mounts[tree].namespace.is_some_and(|namespace| self.namespaces[namespace].anonymous);
        if anonymous && self.mounts[tree].parent.is_none() {
            self.unmount_tree(tree, false);
        }
    }

    /// An O_PATH descriptor on the mount at `path`.
    pub(crate) fn hold(&mut self, agent: usize, path: &str) -> Outcome<MountIndex> {
        let (mount, _) = self.lookup(agent, path)?;
        self.mounts[mount].holders += 1;
        Ok(mount)
    }

    pub(crate) fn release(&mut self, mount: MountIndex) {
        self.mounts[mount].holders -= 1;
    }

    /// N2 to N6: `child` starts in a copy of `parent`'s namespace, owned by user namespace `owner`.
    pub(crate) fn unshare(&mut self, parent: usize, child: usize, owner: usize) {
        let old_namespace = self.agents[&parent].namespace;
        let crosses = self.namespaces[old_namespace].owner != owner;
        let top = self.namespaces[old_namespace].root.expect("a namespace has a root");
        let copied = self.copy_tree(top, self.mounts[top].root, true, &mut |model, old, root| {
            if !crosses {
                return model.clone_joining(old, root);
            }
            let copy = model.bare_copy(old, root);
            model.mounts[copy].unbindable = model.mounts[old].unbindable;
            model.mounts[copy].locked = true;
            model.mounts[copy].plain_master = model.mounts[old].group.or(model.mounts[old].plain_master);
            copy
        });
        let copy = copied.expect("a namespace copy prunes nothing");
        self.namespaces.push(Namespace { anonymous: false, root: Some(copy), owner });
        let namespace = self.namespaces.len() - 1;
        self.enter_namespace(copy, Some(namespace));
        let root = self.top_of_stack((copy, self.mounts[copy].root));
        self.agents.insert(child, Agent { namespace, root, working_directory: root });
    }

    /// N9.
    pub(crate) fn exit(&mut self, agent: usize) {
        let Some(gone) = self.agents.remove(&agent) else { return };
        if !self.agents.values().any(|other| other.namespace == gone.namespace)
            && let Some(root) = self.namespaces[gone.namespace].root.take()
        {
            self.unmount_tree(root, false);
        }
    }
}

fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => (".", path),
    }
}
