//! The forest under test, driven as a kernel drives it: agents with root and working directory (pinned), open descriptors (pinned),
//! path walks by lookup steps.

use graft::flags::{MountFlags, PropagationType, UmountFlags};
use graft::memory_vfs::{DentryNumber, MemoryVfs, RootIn, SuperblockNumber, UserNamespace};
use graft::seam::DentryKind;
use graft::{Caller, Errno, Forest, MountId, NamespaceId, NewMount, Place, Refusal, Released, Situation, UmountOutcome};
use std::collections::BTreeMap;

type Here = Place<MemoryVfs>;
type Outcome<T = ()> = Result<T, Errno>;

pub(crate) struct SubjectAgent {
    pub(crate) namespace: NamespaceId,
    pub(crate) owner: u32,
    pub(crate) root: Here,
    pub(crate) working_directory: Here,
}

pub(crate) struct Subject {
    pub(crate) forest: Forest<MemoryVfs>,
    pub(crate) agents: BTreeMap<usize, SubjectAgent>,
    superblocks: Vec<SuperblockNumber>,
}

fn errno(refusal: Refusal) -> Errno {
    refusal.errno
}

impl Subject {
    /// Whether a slave is recorded under a mount of a detached tree. Nothing reaches it then (X9), which the model cannot tell: it knows
    /// sets of peers, not who of them a slave is recorded under.
    pub(crate) fn has_slaves_out_of_reach(&self) -> bool {
        let is_detached = |mount| matches!(self.forest.situation(mount), Some(Situation::Detached(_)));
        self.forest.mounts().filter_map(|mount| self.forest.master_mount(mount)).any(is_detached)
    }

    /// A namespace whose root mount is `source`, with agent 0 at its root.
    pub(crate) fn new(source: &str) -> Self {
        let mut subject = Self { forest: Forest::new(MemoryVfs::new()), agents: BTreeMap::new(), superblocks: Vec::new() };
        let mount = subject.new_superblock(source);
        let (namespace, root) = subject.forest.create_namespace(&UserNamespace(0), &mount).expect("an empty forest takes a namespace");
        let place = Place::new(root, mount.root);
        subject.add_agent(0, namespace, 0, place);
        subject
    }

    fn add_agent(&mut self, number: usize, namespace: NamespaceId, owner: u32, place: Here) {
        self.forest.pin(place.mount);
        self.forest.pin(place.mount);
        self.agents.insert(number, SubjectAgent { namespace, owner, root: place.clone(), working_directory: place });
    }

    fn new_superblock(&mut self, source: &str) -> NewMount<MemoryVfs> {
        let superblock = self.forest.vfs_mut().new_superblock("tmpfs");
        self.superblocks.push(superblock);
        let root = self.forest.vfs().root_of(superblock);
        NewMount { superblock, root, source: Some(source.as_bytes().into()), flags: MountFlags::RELATIME }
    }

    fn discard(&mut self, bag: Released<MemoryVfs>) {
        drop(bag);
    }

    /// The caller as the forest sees it: everything cloned, so that the forest can be changed.
    fn caller(&self, agent: usize) -> (NamespaceId, Here, RootIn) {
        let agent = &self.agents[&agent];
        (agent.namespace, agent.root.clone(), RootIn(UserNamespace(agent.owner)))
    }

    /// Moves a pin that an agent holds.
    fn repin(&mut self, old: MountId, new: MountId) {
        self.forest.pin(new);
        self.unpin(old);
    }

    pub(crate) fn unpin(&mut self, mount: MountId) {
        if self.forest.unpin(mount) {
            let bag = self.forest.reap(mount);
            self.discard(bag);
        }
    }

    pub(crate) fn lookup(&self, agent: usize, path: &str) -> Outcome<Here> {
        let agent = &self.agents[&agent];
        let mut place = if path.starts_with('/') { agent.root.clone() } else { agent.working_directory.clone() };
        for component in path.split('/').filter(|component| !matches!(*component, "" | ".")) {
            let next = if component == ".." {
                self.dot_dot(&agent.root, place)
            } else {
                let child = self.forest.vfs().lookup(place.dentry, component).ok_or(Errno::ENOENT)?;
                Place::new(place.mount, child)
            };
            place = self.forest.top_of_stack(&next);
        }
        Ok(place)
    }

    fn dot_dot(&self, root: &Here, mut place: Here) -> Here {
        loop {
            if place.mount == root.mount && place.dentry == root.dentry {
                return place;
            }
            if self.forest.root(place.mount) != Some(&place.dentry) {
                let parent = self.forest.vfs().parent_of(place.dentry).expect("not the root of its mount");
                return Place::new(place.mount, parent);
            }
            match self.forest.follow_up(place.mount) {
                Some(up) => place = up,
                None => return place,
            }
        }
    }

    pub(crate) fn new_mount(&mut self, agent: usize, path: &str, source: &str, directories: &[&str]) -> Outcome {
        let target = self.lookup(agent, path)?;
        let new = self.new_superblock(source);
        let (namespace, root, credentials) = self.caller(agent);
        let caller = Caller { namespace, root: &root, credentials: &credentials };
        self.forest.new_mount(&caller, &new, &target).map_err(errno)?;
        for directory in directories {
            let mut at = new.root;
            for name in directory.split('/') {
                at = match self.forest.vfs().lookup(at, name) {
                    Some(child) => child,
                    None => self.forest.vfs_mut().create(at, name, DentryKind::Directory).expect("a fresh name"),
                };
            }
        }
        Ok(())
    }

    pub(crate) fn bind(&mut self, agent: usize, source: &str, target: &str, recursive: bool) -> Outcome {
        let target = self.lookup(agent, target)?;
        let source = self.lookup(agent, source)?;
        let (namespace, root, credentials) = self.caller(agent);
        let caller = Caller { namespace, root: &root, credentials: &credentials };
        self.forest.bind(&caller, &source, &target, recursive).map(drop).map_err(errno)
    }

    pub(crate) fn move_mount(&mut self, agent: usize, source: &str, target: &str, beneath: bool) -> Outcome {
        let (first, second) = if beneath { (source, target) } else { (target, source) };
        let (first, second) = (self.lookup(agent, first)?, self.lookup(agent, second)?);
        let (source, target) = if beneath { (first, second) } else { (second, first) };
        self.move_place(agent, &source, &target, beneath)
    }

    pub(crate) fn attach_detached(&mut self, agent: usize, tree: MountId, target: &str) -> Outcome {
        let target = self.lookup(agent, target)?;
        let root = *self.forest.root(tree).ok_or(Errno::EINVAL)?;
        self.move_place(agent, &Place::new(tree, root), &target, false)
    }

    fn move_place(&mut self, agent: usize, source: &Here, target: &Here, beneath: bool) -> Outcome {
        let (namespace, root, credentials) = self.caller(agent);
        let caller = Caller { namespace, root: &root, credentials: &credentials };
        let bag = self.forest.move_mount(&caller, source, target, beneath).map_err(errno)?;
        self.discard(bag);
        Ok(())
    }

    pub(crate) fn change_type(&mut self, agent: usize, path: &str, kind: PropagationType, recursive: bool) -> Outcome {
        let target = self.lookup(agent, path)?;
        let (namespace, root, credentials) = self.caller(agent);
        let caller = Caller { namespace, root: &root, credentials: &credentials };
        self.forest.change_type(&caller, &target, kind, recursive).map_err(errno)
    }

    pub(crate) fn umount(&mut self, agent: usize, path: &str, lazy: bool) -> Outcome {
        let target = self.forest.top_of_stack(&self.lookup(agent, path)?); // L3
        let (namespace, root, credentials) = self.caller(agent);
        let caller = Caller { namespace, root: &root, credentials: &credentials };
        let flags = if lazy { UmountFlags::DETACH } else { UmountFlags::empty() };
        match self.forest.umount(&caller, &target, flags, 0).map_err(errno)? {
            UmountOutcome::Unmounted(bag) => self.discard(bag),
            // U4: the caller's root becomes read-only, which the walk does not follow.
            UmountOutcome::RemountRootReadOnly(_) => {}
        }
        Ok(())
    }

    pub(crate) fn make_directory(&mut self, agent: usize, path: &str) -> Outcome {
        let (parent, name) = split(path);
        let parent = self.lookup(agent, parent)?;
        if graft::Vfs::is_unlinked(self.forest.vfs(), &parent.dentry) {
            return Err(Errno::ENOENT);
        }
        self.forest.vfs_mut().create(parent.dentry, name, DentryKind::Directory).map(drop).ok_or(Errno::EBUSY)
    }

    /// Directories of the model's EEXIST and ENOTEMPTY are `EBUSY` here: graft has no errno for what only a filesystem says.
    pub(crate) fn remove_directory(&mut self, agent: usize, path: &str) -> Outcome {
        let (parent, name) = split(path);
        let parent = self.lookup(agent, parent)?;
        let victim: DentryNumber = self.forest.vfs().lookup(parent.dentry, name).ok_or(Errno::ENOENT)?;
        if self.forest.is_mountpoint_in(&victim, self.agents[&agent].namespace) || !self.forest.vfs().is_empty(victim) {
            return Err(Errno::EBUSY);
        }
        self.forest.vfs_mut().unlink(victim);
        let bag = self.forest.detach_mounts(&victim);
        self.discard(bag);
        Ok(())
    }

    pub(crate) fn pivot_root(&mut self, agent: usize, new_root: &str, put_old: &str) -> Outcome {
        let (new_root, put_old) = (self.lookup(agent, new_root)?, self.lookup(agent, put_old)?);
        let (namespace, root, credentials) = self.caller(agent);
        let caller = Caller { namespace, root: &root, credentials: &credentials };
        let pivot = self.forest.pivot_root(&caller, &new_root, &put_old).map_err(errno)?;
        let is_old = |place: &Here| place.mount == pivot.old_root.mount && place.dentry == pivot.old_root.dentry;
        let numbers: Vec<usize> = self.agents.keys().copied().collect();
        for number in numbers {
            if is_old(&self.agents[&number].root) {
                self.repin(pivot.old_root.mount, pivot.new_root.mount);
                self.agent(number).root = pivot.new_root.clone();
            }
            if is_old(&self.agents[&number].working_directory) {
                self.repin(pivot.old_root.mount, pivot.new_root.mount);
                self.agent(number).working_directory = pivot.new_root.clone();
            }
        }
        self.discard(pivot.released);
        Ok(())
    }

    fn agent(&mut self, number: usize) -> &mut SubjectAgent {
        self.agents.get_mut(&number).expect("the walk names agents that are there")
    }

    pub(crate) fn set_group(&mut self, agent: usize, from: &str, to: &str) -> Outcome {
        let (from, to) = (self.lookup(agent, from)?, self.lookup(agent, to)?);
        let (namespace, root, credentials) = self.caller(agent);
        let caller = Caller { namespace, root: &root, credentials: &credentials };
        self.forest.set_group(&caller, &from, &to).map_err(errno)
    }

    pub(crate) fn change_directory(&mut self, agent: usize, path: &str) -> Outcome {
        let place = self.lookup(agent, path)?;
        self.repin(self.agents[&agent].working_directory.mount, place.mount);
        self.agent(agent).working_directory = place;
        Ok(())
    }

    pub(crate) fn change_root(&mut self, agent: usize, path: &str) -> Outcome {
        let place = self.lookup(agent, path)?;
        self.repin(self.agents[&agent].root.mount, place.mount);
        self.agent(agent).root = place;
        Ok(())
    }

    pub(crate) fn hold(&mut self, agent: usize, path: &str) -> Outcome<MountId> {
        let mount = self.lookup(agent, path)?.mount;
        self.forest.pin(mount);
        Ok(mount)
    }

    pub(crate) fn open_tree(&mut self, agent: usize, path: &str, recursive: bool) -> Outcome<MountId> {
        let source = self.lookup(agent, path)?;
        let (namespace, root, credentials) = self.caller(agent);
        let caller = Caller { namespace, root: &root, credentials: &credentials };
        let tree = self.forest.open_tree(&caller, &source, recursive).map_err(errno)?;
        self.forest.pin(tree.root);
        Ok(tree.root)
    }

    pub(crate) fn close_tree(&mut self, tree: MountId) {
        let bag = self.forest.dissolve(tree);
        self.discard(bag);
        self.unpin(tree);
    }

    pub(crate) fn unshare(&mut self, parent: usize, child: usize, owner: u32) {
        let agent = &self.agents[&parent];
        let (namespace, mounts) = (agent.namespace, [agent.root.mount, agent.working_directory.mount]);
        let copy = self.forest.copy_namespace(namespace, &UserNamespace(owner), mounts).expect("a namespace can be copied");
        let entry = self.forest.namespace_entry(copy.namespace).expect("a namespace has a root");
        self.add_agent(child, copy.namespace, owner, entry);
    }

    pub(crate) fn exit(&mut self, agent: usize) {
        let Some(gone) = self.agents.remove(&agent) else { return };
        self.unpin(gone.root.mount);
        self.unpin(gone.working_directory.mount);
        if self.forest.unpin_namespace(gone.namespace) {
            let bag = self.forest.release_namespace(gone.namespace);
            self.discard(bag);
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
