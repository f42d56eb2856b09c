//! Threaded groups: where threads of one process may be in different groups (`cgroup-v2.rst`, "Threads").
//!
//! A domain is a group that processes belong to as a whole. A threaded group belongs to the domain of the nearest group above that is
//! not threaded; that one's type is then "domain threaded".

use super::control::Controllers;
use super::{Cgroup, TREE, Tree};
use crate::errno::{Errno, Result};
use alloc::sync::Arc;

impl Cgroup {
    /// Whether it belongs to the domain of a group above.
    pub fn is_threaded(&self) -> bool {
        self.state.lock().threaded
    }

    /// The group whose processes it and its like share: itself unless it is threaded.
    pub fn domain(&self) -> &Self {
        self.ancestors().find(|group| !group.is_threaded()).unwrap_or(self)
    }

    /// Whether there are members in it, not counting those below.
    pub fn has_members(&self) -> bool {
        !self.state.lock().members.is_empty()
    }

    /// Whether threaded groups may be made below it.
    pub(super) fn can_be_thread_root(&self) -> bool {
        if self.is_root() {
            return true;
        }
        let state = self.state.lock();
        !state.threaded && state.populated_domain_children == 0 && Controllers::THREADED.contains(state.subtree_control)
    }

    /// Whether it is the domain of threaded groups.
    pub(super) fn is_thread_root(&self) -> bool {
        let state = self.state.lock();
        let competes = !state.members.is_empty() && state.subtree_control.intersects(Controllers::THREADED);
        !state.threaded && (state.threaded_children > 0 || competes)
    }

    /// Whether processes may be in it. Not if a group above is threaded, or has threaded groups: its type is then "domain invalid".
    pub(super) fn is_valid_domain(&self) -> bool {
        let above_fit = || self.ancestors().skip(1).all(|above| above.is_root() || !(above.is_thread_root() || above.is_threaded()));
        !self.is_threaded() && above_fit()
    }

    /// `cgroup.type`.
    pub fn type_name(&self) -> &'static str {
        match () {
            () if self.is_threaded() => "threaded",
            () if !self.is_valid_domain() => "domain invalid",
            () if self.is_thread_root() => "domain threaded",
            () => "domain",
        }
    }

    /// `cgroup.type` is set to "threaded", which cannot be undone. `EOPNOTSUPP` where it has members or hands on controllers of domains,
    /// or where the domain above cannot have threaded groups.
    pub fn make_threaded(self: &Arc<Self>) -> Result<()> {
        let _tree = TREE.lock();
        self.require_live()?;
        if self.is_threaded() {
            return Ok(());
        }
        let parent = self.parent.as_ref().ok_or(Errno::OPNOTSUPP)?;
        let fits = {
            let state = self.state.lock();
            !state.is_populated() && Controllers::THREADED.contains(state.subtree_control)
        };
        let domain = parent.domain();
        if !fits || !domain.is_valid_domain() || !domain.can_be_thread_root() {
            return Err(Errno::OPNOTSUPP);
        }
        self.state.lock().threaded = true;
        parent.state.lock().threaded_children += 1;
        Ok(())
    }

    /// It and the threaded groups below that share its domain.
    pub(super) fn with_threaded_subtree(self: &Arc<Self>, tree: &Tree) -> alloc::vec::Vec<Arc<Self>> {
        let mut all = self.subtree(tree);
        all.retain(|group| core::ptr::eq(group.domain(), &**self));
        all
    }
}
