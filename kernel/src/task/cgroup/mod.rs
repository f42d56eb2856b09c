//! Control groups, version 2 (`cgroups(7)`, Linux's `Documentation/admin-guide/cgroup-v2.rst`): one tree of groups, and every thread in
//! one of them.
//!
//! This file has the tree itself: making, removing and naming groups. `membership` is about who is in them, `domain` about threaded
//! groups, `control` about which controllers govern what; `pids`, `memory`, `cpu` and `freezer` each hold what one controller does,
//! `namespace` what a cgroup namespace shows. What programs see of it all is `fs::cgroupfs`.
//!
//! All that touches more than one group happens under one lock, [`TREE`], whose guard is a parameter of what needs it. It is a leaf but
//! for the state of the single groups; nothing is woken and nobody is told while it is held (see [`notice`]).

pub mod control;
pub mod cpu;
pub mod domain;
pub mod freezer;
pub mod membership;
pub mod memory;
pub mod namespace;
pub mod notice;
pub mod pids;
pub mod share;

use crate::bpf::device::Attachments;
use crate::errno::{Errno, Result};
use crate::fs::Inode;
use crate::sync::{Once, SpinLock};
use crate::task::Thread;
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use control::Controllers;
use core::sync::atomic::{AtomicU64, Ordering};
use notice::{EventFile, Events, Notices};

pub use namespace::CgroupNamespace;

/// What whoever holds [`TREE`] has in hand.
pub struct Tree(());

/// Held while the tree or membership changes, and while more than one group is looked at.
pub static TREE: SpinLock<Tree> = SpinLock::new(Tree(()));

/// Inode number of the root's directory, as in Linux.
const ROOT_ID: u64 = 1;
static NEXT_ID: AtomicU64 = AtomicU64::new(ROOT_ID + 1);
static ROOT: Once<Arc<Cgroup>> = Once::new();

/// A number for a group, or for a file of one: never given out twice.
pub fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// A group.
pub struct Cgroup {
    /// Inode number of its directory.
    pub id: u64,
    /// Depth below the root.
    pub level: u32,
    /// `None` for the root.
    pub parent: Option<Arc<Cgroup>>,
    /// The name in the parent.
    pub name: Vec<u8>,
    state: SpinLock<State>,
    /// What `poll` waits for.
    pub events: Events,
    /// The controller "pids".
    pub pids: pids::Pids,
    /// The controller "cpu".
    pub cpu: cpu::Cpu,
    /// The controller "memory".
    pub memory: memory::Memory,
    /// Programs that decide about devices.
    pub devices: Attachments,
    /// Its directory once somebody has seen it: watches and permissions of its files are there.
    directory: SpinLock<Weak<Inode>>,
}

/// What changes in a group. Looked at alone it needs no [`TREE`].
struct State {
    /// Removed. Members that are zombies may still refer to it.
    dead: bool,
    children: BTreeMap<Vec<u8>, Arc<Cgroup>>,
    /// Threads that have not ended, by address.
    members: BTreeMap<usize, Weak<Thread>>,
    /// Children on their way into it, which keep it from being removed.
    arriving: usize,
    /// Groups below it, and removed ones among them that zombies still refer to.
    descendants: u64,
    /// Children with a member in them or below.
    populated_domain_children: usize,
    populated_threaded_children: usize,
    threaded_children: usize,
    /// Belongs to the domain of a group above (`cgroup.type` "threaded").
    threaded: bool,
    /// `cgroup.subtree_control`.
    subtree_control: Controllers,
    /// `cgroup.max.depth` and `cgroup.max.descendants`.
    max_depth: Limit,
    max_descendants: Limit,
    freezer: freezer::State,
}

/// A limit that may be "max".
pub type Limit = Option<u64>;

impl State {
    fn new(parent_frozen: bool) -> Self {
        Self {
            dead: false,
            children: BTreeMap::new(),
            members: BTreeMap::new(),
            arriving: 0,
            descendants: 0,
            populated_domain_children: 0,
            populated_threaded_children: 0,
            threaded_children: 0,
            threaded: false,
            subtree_control: Controllers::empty(),
            max_depth: None,
            max_descendants: None,
            freezer: freezer::State::below(parent_frozen),
        }
    }

    fn is_populated(&self) -> bool {
        !self.members.is_empty() || self.populated_domain_children + self.populated_threaded_children > 0
    }
}

impl Cgroup {
    /// The group that everything begins in.
    pub fn root() -> &'static Arc<Self> {
        ROOT.call_once(|| Arc::new(Self::make(ROOT_ID, None, Vec::new(), false)))
    }

    fn make(id: u64, parent: Option<Arc<Self>>, name: Vec<u8>, parent_frozen: bool) -> Self {
        Self {
            id,
            level: parent.as_ref().map_or(0, |parent| parent.level + 1),
            parent,
            name,
            state: SpinLock::new(State::new(parent_frozen)),
            events: Events::default(),
            pids: pids::Pids::default(),
            cpu: cpu::Cpu::default(),
            memory: memory::Memory::default(),
            devices: Attachments::default(),
            directory: SpinLock::new(Weak::new()),
        }
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// Whether it was removed.
    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    /// `ENODEV` for one that was removed.
    pub fn require_live(&self) -> Result<()> {
        if self.is_dead() { Err(Errno::NODEV) } else { Ok(()) }
    }

    /// It and the groups above it, from the inside out.
    pub fn ancestors(&self) -> impl Iterator<Item = &Self> {
        core::iter::successors(Some(self), |group| group.parent.as_deref())
    }

    /// Whether it is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.ancestors().any(|group| core::ptr::eq(group, other))
    }

    /// The lowest group that holds both.
    pub fn common_ancestor<'a>(&'a self, other: &Self) -> &'a Self {
        self.ancestors().find(|group| other.is_within(group)).unwrap_or(self)
    }

    /// The groups right below it, by name.
    pub fn children(&self) -> Vec<Arc<Self>> {
        self.state.lock().children.values().cloned().collect()
    }

    /// It and all groups below, each after the one above it.
    pub fn subtree(self: &Arc<Self>, _tree: &Tree) -> Vec<Arc<Self>> {
        let mut all = Vec::from([self.clone()]);
        let mut next = 0;
        while let Some(group) = all.get(next) {
            let children = group.children();
            all.extend(children);
            next += 1;
        }
        all
    }

    /// The path from `root` (of a cgroup namespace), with `..` where it does not lie below.
    pub fn path_from(&self, root: &Self) -> Vec<u8> {
        let common = self.common_ancestor(root);
        let mut path = Vec::new();
        for _ in common.level..root.level {
            path.extend_from_slice(b"/..");
        }
        let names: Vec<&[u8]> = self.ancestors().take_while(|group| !core::ptr::eq(*group, common)).map(|group| &*group.name).collect();
        for name in names.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }

    /// Makes a group below. `ENODEV` below a removed one, `EAGAIN` where a limit of depth or number is reached, `EINVAL` for a name with
    /// a newline (`/proc/PID/cgroup` could not show it).
    pub fn create(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Self>> {
        if name.contains(&b'\n') {
            return Err(Errno::INVAL);
        }
        let mut notices = Notices::default();
        let mut tree = TREE.lock();
        self.require_live()?;
        self.check_limits()?;
        let parent_frozen = self.state.lock().freezer.is_effective();
        let group = Arc::new(Self::make(next_id(), Some(self.clone()), name.to_vec(), parent_frozen));
        self.state.lock().children.insert(name.to_vec(), group.clone());
        for above in self.ancestors() {
            above.state.lock().descendants += 1;
        }
        freezer::update(&mut tree, &group, &mut notices);
        drop(tree);
        notices.send();
        Ok(group)
    }

    /// `cgroup.max.descendants` and `cgroup.max.depth` of it and all above.
    fn check_limits(&self) -> Result<()> {
        for (level, above) in (1..).zip(self.ancestors()) {
            let state = above.state.lock();
            let full = state.max_descendants.is_some_and(|max| state.descendants >= max);
            if full || state.max_depth.is_some_and(|max| level > max) {
                return Err(Errno::AGAIN);
            }
        }
        Ok(())
    }

    /// Removes it: `EBUSY` while there is a live member or a group below.
    pub fn remove(self: &Arc<Self>) -> Result<()> {
        let mut notices = Notices::default();
        let mut tree = TREE.lock();
        let Some(parent) = &self.parent else { return Err(Errno::BUSY) };
        {
            let mut state = self.state.lock();
            if state.dead {
                return Err(Errno::NODEV);
            }
            if state.is_populated() || !state.children.is_empty() || state.arriving > 0 {
                return Err(Errno::BUSY);
            }
            state.dead = true;
            if state.threaded {
                parent.state.lock().threaded_children -= 1;
            }
        }
        freezer::forget_child(&mut tree, self, &mut notices);
        let removed = parent.state.lock().children.remove(&self.name);
        for above in parent.ancestors() {
            above.state.lock().descendants -= 1;
        }
        drop(tree);
        drop(removed);
        parent.cpu.add_ended(self.cpu.ended());
        if self.subtree_control().contains(Controllers::CPU) {
            share::count(false);
        }
        self.devices.clear();
        memory::forget_if_unused(self);
        notices.send();
        Ok(())
    }

    /// How many groups lie below, for `cgroup.stat`.
    pub fn descendants(&self) -> u64 {
        self.state.lock().descendants
    }

    /// `cgroup.max.depth` and `cgroup.max.descendants`.
    pub fn size_limits(&self) -> (Limit, Limit) {
        let state = self.state.lock();
        (state.max_depth, state.max_descendants)
    }

    /// Sets `cgroup.max.depth`.
    pub fn set_max_depth(&self, limit: Limit) {
        self.state.lock().max_depth = limit;
    }

    /// Sets `cgroup.max.descendants`.
    pub fn set_max_descendants(&self, limit: Limit) {
        self.state.lock().max_descendants = limit;
    }

    /// Its directory, if anybody has one open or cached.
    pub fn directory(&self) -> Option<Arc<Inode>> {
        self.directory.lock().upgrade()
    }

    /// See [`Self::directory`].
    pub fn set_directory(&self, inode: &Arc<Inode>) {
        *self.directory.lock() = Arc::downgrade(inode);
    }

    /// Notes that one of the files that `poll` can wait for has changed.
    fn changed(self: &Arc<Self>, file: EventFile, notices: &mut Notices) {
        notices.push(self.clone(), file);
    }
}
