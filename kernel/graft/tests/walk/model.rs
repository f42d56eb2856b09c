//! The reference model: what every operation on mounts does, written from the numbered rules of `semantics.md` and as plainly as
//! possible, sharing no code with `graft`. Peer groups are sets, a mount's master is a *group*, a propagated unmount is a greatest
//! fixpoint, and nothing is fast. It predicts the errno and the whole structure of every namespace.

mod operations;
mod propagation;

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

/// Which of the removed mounts stay on their removed parents (U15, U17).
#[derive(Clone, Copy)]
enum Parting {
    Apart,
    LockedStay,
    Together,
}

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
