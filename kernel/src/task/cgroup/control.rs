//! Which controllers govern which groups: `cgroup.controllers`, `cgroup.subtree_control` (`cgroup-v2.rst`, "Controlling Controllers").

use super::{Cgroup, TREE, Tree, share};
use crate::errno::{Errno, Result};
use alloc::sync::Arc;
use bitflags::bitflags;

bitflags! {
    /// Controllers. One that could not enforce what it accepts is not among them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Controllers: u32 {
        /// How the processor is shared.
        const CPU = 1;
        /// How many pages there may be.
        const MEMORY = 1 << 1;
        /// How many threads there may be.
        const PIDS = 1 << 2;
    }
}

impl Controllers {
    /// Those that can govern threads of one process in different groups.
    pub const THREADED: Self = Self::CPU.union(Self::PIDS);

    /// With their names, in the order in which Linux lists them.
    const NAMES: [(Self, &'static str); 3] = [(Self::CPU, "cpu"), (Self::MEMORY, "memory"), (Self::PIDS, "pids")];

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(controller, _)| *controller)
    }

    /// The names of those in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(controller, _)| self.contains(*controller)).map(|(_, name)| name)
    }
}

impl Cgroup {
    /// `cgroup.controllers`: those that govern the group, and that it may hand on. All in the root; elsewhere what the parent hands on.
    pub fn controllers(&self) -> Controllers {
        let Some(parent) = &self.parent else { return Controllers::all() };
        let handed_on = parent.state.lock().subtree_control;
        if self.state.lock().threaded { handed_on & Controllers::THREADED } else { handed_on }
    }

    /// `cgroup.subtree_control`.
    pub fn subtree_control(&self) -> Controllers {
        self.state.lock().subtree_control
    }

    /// A write to `cgroup.subtree_control`: `enable` and `disable` have no controller in common.
    ///
    /// `ENOENT` for a controller that the group does not have, `EBUSY` while a group below still hands on what is to be disabled, and for
    /// members that would compete with the groups below ("no internal processes"); `EOPNOTSUPP` for domain controllers among threads.
    pub fn change_subtree_control(self: &Arc<Self>, enable: Controllers, disable: Controllers) -> Result<()> {
        let mut tree = TREE.lock();
        self.require_live()?;
        let now = self.subtree_control();
        let enable = enable - now;
        let disable = disable & now;
        if !self.controllers().contains(enable) {
            return Err(Errno::NOENT);
        }
        if self.children().iter().any(|child| child.subtree_control().intersects(disable)) {
            return Err(Errno::BUSY);
        }
        self.check_enabling(&tree, enable)?;
        self.state.lock().subtree_control = (now | enable) - disable;
        if (enable | disable).contains(Controllers::CPU) {
            share::count(enable.contains(Controllers::CPU));
        }
        for child in self.children() {
            child.controllers_changed(&mut tree, enable, disable);
        }
        Ok(())
    }

    /// Whether `enable` may be handed on to the groups below.
    fn check_enabling(&self, _tree: &Tree, enable: Controllers) -> Result<()> {
        if enable.is_empty() || self.is_root() {
            return Ok(());
        }
        let among_threads = self.is_threaded();
        if Controllers::THREADED.contains(enable) {
            if among_threads || self.can_be_thread_root() {
                return Ok(());
            }
        } else if among_threads || self.is_thread_root() {
            return Err(Errno::OPNOTSUPP);
        }
        if self.has_members() { Err(Errno::BUSY) } else { Ok(()) }
    }

    /// The parent hands on more or fewer controllers: what is new begins without limits.
    fn controllers_changed(self: &Arc<Self>, tree: &mut Tree, enabled: Controllers, disabled: Controllers) {
        let changed = enabled | disabled;
        if changed.contains(Controllers::PIDS) {
            self.pids.reset();
        }
        if changed.contains(Controllers::CPU) {
            self.cpu.reset();
            self.limits_changed(tree);
        }
        if changed.contains(Controllers::MEMORY) {
            self.memory.reset();
            self.memory_governor_changed(tree);
        }
    }
}
