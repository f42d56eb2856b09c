//! Attaching a tree, with its propagation (chapter P): what new mounts, binds, moves and detached trees have in common.
//!
//! The plan lists, without changing anything, who gets a copy and how it will relate to the others; the commit makes the
//! copies and links everything.

use alloc::vec::Vec;

use crate::clone_tree::{Node, Tree};
use crate::flags::Locks;
use crate::forest::{Forest, Needs};
use crate::ids::{MountSlot, NamespaceSlot};
use crate::receivers::{Receiver, Receivers};
use crate::refusal::{Refusal, Rule, require};
use crate::seam::{OutOfMemory, Vfs};

/// Where a tree goes.
pub(crate) struct Destination<V: Vfs> {
    /// The mount attached on.
    pub(crate) parent: MountSlot<V>,
    /// The dentry of it.
    pub(crate) mountpoint: V::Dentry,
    /// The mount to slip under (A10).
    pub(crate) beneath: Option<MountSlot<V>>,
}

/// How a copy relates to the others: entries are those of the table of P14, entry 0 being the source.
#[derive(Clone, Copy)]
enum Kinship {
    /// A peer of the copies of this entry (P4.1).
    Peer { entry: usize },
    /// The first of a new group that receives from the copies of `master` (P4.2).
    FirstOfGroup { entry: usize, master: usize },
    /// A plain slave of the copies of this entry (P4.3).
    Slave { master: usize },
}

struct PlannedCopy<V: Vfs> {
    receiver: MountSlot<V>,
    kinship: Kinship,
}

/// A propagation that can be committed.
pub(crate) struct Propagation<V: Vfs> {
    is_shared: bool,
    copies: Vec<PlannedCopy<V>>,
    /// For each entry the position in `mounts` of the tree copied last (O8, O9).
    latest: Vec<usize>,
    /// Room for the source's mounts and those of all copies, one tree after the other.
    mounts: Vec<MountSlot<V>>,
}

/// What a tree will need, known before it exists.
pub(crate) struct Survey<'a, V: Vfs> {
    pub(crate) root: &'a V::Dentry,
    /// Its mounts.
    pub(crate) mounts: usize,
    /// Those without a group.
    pub(crate) ungrouped: usize,
    /// Those that a propagated copy contains.
    pub(crate) copied: usize,
    /// Whether it is new to the namespace, and counts (O15).
    pub(crate) is_counted: bool,
    /// How many of its mounts are still to be made.
    pub(crate) to_be_made: usize,
}

impl<'a, V: Vfs> Survey<'a, V> {
    pub(crate) fn of(forest: &Forest<V>, tree: &'a Tree<V>, is_counted: bool, to_be_made: usize) -> Self {
        let ungrouped = |node: &&Node<V>| !forest.mounts[node.mount].is_shared();
        Self {
            root: &tree.root,
            mounts: tree.nodes.len(),
            ungrouped: tree.nodes.iter().filter(ungrouped).count(),
            copied: tree.copied,
            is_counted,
            to_be_made,
        }
    }
}

impl<V: Vfs> Forest<V> {
    /// Plans the attachment and reserves all that it will take: F14, O15, P6, in that order.
    ///
    /// Cost: the receivers of the destination; memory for each that gets a copy.
    pub(crate) fn plan_attach(&mut self, survey: &Survey<'_, V>, destination: &Destination<V>) -> Result<Propagation<V>, Refusal> {
        require(!self.vfs.is_unlinked(survey.root), Rule::SourceUnlinked)?;
        let pending_epoch = self.next_epoch();
        if survey.is_counted
            && let Some(namespace) = self.mounts[destination.parent].namespace
        {
            self.count_pending(namespace, survey.mounts, pending_epoch)?;
        }
        let is_shared = self.mounts[destination.parent].is_shared();
        let mut plan = Propagation { is_shared, copies: Vec::new(), latest: Vec::new(), mounts: Vec::new() };
        let mut new_groups = 0;
        if is_shared {
            let entries = self.plan_copies(survey, destination, pending_epoch, &mut plan)?;
            new_groups = survey.ungrouped + survey.copied * (entries - 1);
        }
        let copies = plan.copies.len();
        if copies > 0 {
            let listed = survey.copied * (copies + 1);
            plan.mounts.try_reserve_exact(listed).map_err(OutOfMemory::from)?;
        }
        self.reserve(Needs {
            mounts: survey.to_be_made + survey.copied * copies,
            groups: new_groups,
            namespaces: 0,
            // The tree's own mounts, its copies', and what each copy may be tucked under.
            attachments: survey.mounts + 1 + (survey.copied + 1) * copies,
        })?;
        Ok(plan)
    }

    /// Lists the copies in P10 order. Returns how many entries the table of P14 has.
    fn plan_copies(
        &mut self,
        survey: &Survey<'_, V>,
        destination: &Destination<V>,
        pending_epoch: u32,
        plan: &mut Propagation<V>,
    ) -> Result<usize, Refusal> {
        // The group whose members' copies each entry lists.
        let mut owners = Vec::new();
        let origin_group = self.mounts[destination.parent].group;
        owners.try_reserve(1).map_err(OutOfMemory::from)?;
        owners.push(origin_group);
        if let Some(group) = origin_group {
            self.groups[group].copies = 0;
        }
        // P3, V5: who receives, and as what, is settled before the source becomes shared and before anything is made.
        let mut receivers = Receivers::of(self, destination.parent);
        while let Some(receiver) = receivers.next(self) {
            let above = match self.master_group(receiver.mount) {
                Some(group) => self.groups[group].copies as usize,
                None => 0,
            };
            if receiver.is_first_of_group
                && let Some(group) = receiver.group
            {
                // Until a member gets a copy, its slaves look to the nearest ancestor that has one (P4).
                self.groups[group].copies = above as u32;
            }
            let Some(namespace) = self.receiving_namespace(&receiver, &destination.mountpoint) else {
                continue;
            };
            require(!self.is_mount_namespace_file(survey.root), Rule::PropagateNamespaceFile)?;
            let kinship = match receiver.group {
                None => Kinship::Slave { master: above },
                Some(group) => {
                    let entry = self.groups[group].copies as usize;
                    if owners.get(entry) == Some(&Some(group)) {
                        Kinship::Peer { entry }
                    } else {
                        owners.try_reserve(1).map_err(OutOfMemory::from)?;
                        owners.push(Some(group));
                        self.groups[group].copies = (owners.len() - 1) as u32;
                        Kinship::FirstOfGroup { entry: owners.len() - 1, master: entry }
                    }
                }
            };
            self.count_pending(namespace, survey.copied, pending_epoch)?;
            plan.copies.try_reserve(1).map_err(OutOfMemory::from)?;
            plan.copies.push(PlannedCopy { receiver: receiver.mount, kinship });
        }
        plan.latest.try_reserve_exact(owners.len()).map_err(OutOfMemory::from)?;
        plan.latest.resize(owners.len(), 0);
        Ok(owners.len())
    }

    /// The namespace in which a receiver gets a copy, if it gets one (P2): not in a detached tree, nor outside the mount's root.
    fn receiving_namespace(&self, receiver: &Receiver<V>, mountpoint: &V::Dentry) -> Option<NamespaceSlot<V>> {
        let entry = &self.mounts[receiver.mount];
        let namespace = entry.namespace.filter(|&slot| !self.namespaces[slot].is_anonymous())?;
        self.vfs.is_below(mountpoint, &entry.root).then_some(namespace)
    }

    /// Counts mounts that the operation will add to a namespace against mount-max (O15, P12).
    pub(crate) fn count_pending(&mut self, namespace: NamespaceSlot<V>, mounts: usize, epoch: u32) -> Result<(), Refusal> {
        let mount_max = self.mount_max as usize;
        let entry = &mut self.namespaces[namespace];
        let pending = if entry.pending_mark == epoch { entry.pending as usize } else { 0 };
        require(entry.mount_count as usize + pending + mounts <= mount_max, Rule::TooManyMounts)?;
        entry.pending_mark = epoch;
        entry.pending = (pending + mounts) as u32;
        Ok(())
    }

    /// Attaches the tree, and a copy at each receiver. Cannot fail. Returns the dentry that a moved tree was on.
    ///
    /// `caller` is the namespace of the one who mounts: copies in namespaces of other owners are locked (P13).
    pub(crate) fn commit_attach(
        &mut self,
        tree: &Tree<V>,
        destination: Destination<V>,
        mut plan: Propagation<V>,
        caller: NamespaceSlot<V>,
    ) -> Option<V::Dentry> {
        let top = tree.nodes[0].mount;
        if plan.is_shared {
            // P5: this happens even where no one receives.
            for node in &tree.nodes {
                if !self.mounts[node.mount].is_shared() {
                    self.found_group(node.mount);
                }
            }
        }
        if !plan.copies.is_empty() {
            let is_copied = |node: &&Node<V>| node.position_in_copies.is_some();
            plan.mounts.extend(tree.nodes.iter().filter(is_copied).map(|node| node.mount));
        }
        for index in 0..plan.copies.len() {
            self.make_copy(tree, &mut plan, index);
        }
        let left = self.detach(top);
        let mountpoint = destination.mountpoint.clone();
        self.attach_top(top, destination);
        self.enlist(tree, &plan);
        for index in (0..plan.copies.len()).rev() {
            // P11, X1: the copies are attached in the reverse of the order in which they were made.
            let mounts = &plan.mounts[(index + 1) * tree.copied..(index + 2) * tree.copied];
            self.attach_copy(mounts, plan.copies[index].receiver, &mountpoint, caller);
        }
        left
    }

    /// Makes one copy of the source tree, as kin of the copies made before (P4, P7).
    fn make_copy(&mut self, tree: &Tree<V>, plan: &mut Propagation<V>, index: usize) {
        let kinship = plan.copies[index].kinship;
        let model = match kinship {
            Kinship::Peer { entry } => plan.latest[entry],
            Kinship::FirstOfGroup { master, .. } | Kinship::Slave { master } => plan.latest[master],
        };
        let start = plan.mounts.len();
        for node in &tree.nodes {
            let Some(position) = node.position_in_copies else {
                continue;
            };
            let original = plan.mounts[model + position];
            let entry = &self.mounts[original];
            let is_slave = entry.master.is_some();
            let blank = entry.blank(entry.root.clone());
            let mountpoint = if position == 0 { None } else { entry.mountpoint.clone() };
            let copy = self.insert_mount(blank);
            match kinship {
                Kinship::Peer { .. } => {
                    self.join_group(copy, original);
                    if is_slave {
                        self.enslave_after(copy, original);
                    }
                }
                Kinship::FirstOfGroup { .. } => {
                    self.found_group(copy);
                    self.enslave_first(copy, original);
                }
                Kinship::Slave { .. } => self.enslave_first(copy, original),
            }
            let parent = tree.nodes[node.parent].position_in_copies;
            if let (Some(mountpoint), Some(parent)) = (mountpoint, parent) {
                self.attach(copy, plan.mounts[start + parent], mountpoint);
            }
            plan.mounts.push(copy);
        }
        if let Kinship::Peer { entry } | Kinship::FirstOfGroup { entry, .. } = kinship {
            plan.latest[entry] = start;
        }
    }

    fn attach_top(&mut self, top: MountSlot<V>, destination: Destination<V>) {
        match destination.beneath {
            Some(upper) => {
                let root = self.mounts[top].root.clone();
                self.replace(upper, top);
                self.attach(upper, top, root);
            }
            None => self.attach(top, destination.parent, destination.mountpoint),
        }
    }

    /// Takes the source tree into the namespace it now belongs to, and links source and copies by their ids, in order of creation
    /// so that each link is one step.
    fn enlist(&mut self, tree: &Tree<V>, plan: &Propagation<V>) {
        let top = tree.nodes[0].mount;
        let Some(parent) = self.mounts[top].parent else {
            return;
        };
        let Some(namespace) = self.mounts[parent].namespace else {
            return;
        };
        if self.mounts[top].namespace != Some(namespace) {
            for node in &tree.nodes {
                self.leave_namespace(node.mount);
                self.join_namespace(node.mount, namespace);
            }
        }
        self.touch(namespace);
        for (index, copy) in plan.copies.iter().enumerate() {
            let Some(namespace) = self.mounts[copy.receiver].namespace else {
                continue;
            };
            for position in (index + 1) * tree.copied..(index + 2) * tree.copied {
                self.insert_by_id(plan.mounts[position], namespace);
            }
        }
    }

    /// Attaches one copy, beneath what the receiver has there already (P8). Where the copy's root is covered itself, the two are a
    /// shadow pair (P9, X4). What is covered is not locked (K8, X11).
    fn attach_copy(&mut self, mounts: &[MountSlot<V>], receiver: MountSlot<V>, mountpoint: &V::Dentry, caller: NamespaceSlot<V>) {
        let (Some(&copy), Some(namespace)) = (mounts.first(), self.mounts[receiver].namespace) else {
            return;
        };
        match self.attached_at(receiver, self.vfs.dentry_key(mountpoint)) {
            Some(present) => {
                let root = self.mounts[copy].root.clone();
                self.replace(present, copy);
                self.attach(present, copy, root);
            }
            None => self.attach(copy, receiver, mountpoint.clone()),
        }
        if self.namespaces[namespace].owner != self.namespaces[caller].owner {
            for &mount in mounts {
                self.lock_mount(mount, mount != copy);
            }
        }
        self.mounts[copy].locks -= Locks::MOUNT;
        for &mount in mounts {
            self.append_joined(mount, namespace);
        }
        self.touch(namespace);
    }
}
