//! MS_BIND (chapter B), and the clone that open_tree makes by the same rules (A2).

use crate::attach::Survey;
use crate::caller::{Caller, Place};
use crate::clone_tree::{Relation, Taking, Tree};
use crate::flags::Locks;
use crate::forest::Forest;
use crate::ids::{MountId, MountSlot, NamespaceSlot};
use crate::mount::State;
use crate::refusal::{Refusal, Rule, require};
use crate::seam::{NamespaceFile, Vfs};

impl<V: Vfs> Forest<V> {
    /// Binds `source`, a dentry of any mount of the caller's namespace, at `target`; with all that is mounted below it where
    /// `recursive`.
    ///
    /// The clone has the source's type (B5) and flags (B2). Binding a mount inside itself or onto itself ends, since only mounts that
    /// were there before receive (B6, B7); a removed root is refused (B8).
    ///
    /// Errors: F4, B1, F14, O15, P6, in that order. Cost: the mounts copied, times one plus the receivers.
    pub fn bind(&mut self, caller: &Caller<'_, V>, source: &Place<V>, target: &Place<V>, recursive: bool) -> Result<MountId, Refusal> {
        self.require_admin(caller)?;
        let namespace = self.resolve_namespace(caller.namespace)?;
        let original = self.resolve(source.mount)?;
        require(!self.is_own_or_older_namespace(&source.dentry, namespace), Rule::BindNamespaceLoop)?;
        let destination = self.mountable_place(namespace, target)?;
        let mut tree = self.list_bindable(original, &source.dentry, recursive, namespace)?;
        let superblock = &self.mounts[original].superblock;
        self.require_graftable(superblock, &source.dentry, &destination.mountpoint)?;
        let survey = Survey::of(self, &tree, true, tree.nodes.len());
        let plan = self.plan_attach(&survey, &destination)?;

        self.clone_bindable(&mut tree);
        let top = tree.nodes[0].mount;
        self.commit_attach(&tree, destination, plan, namespace);
        Ok(self.mount_id(top))
    }

    /// Lists what a bind of this source would clone, if it may (B1, B3).
    pub(crate) fn list_bindable(
        &self,
        original: MountSlot<V>,
        dentry: &V::Dentry,
        recursive: bool,
        namespace: NamespaceSlot<V>,
    ) -> Result<Tree<V>, Refusal> {
        let entry = &self.mounts[original];
        require(!entry.is_unbindable(), Rule::BindUnbindable)?;
        let is_namespace_file = self.vfs.namespace_file(dentry) != NamespaceFile::No;
        require(entry.namespace == Some(namespace) || is_namespace_file, Rule::BindElsewhere)?;
        require(recursive || !self.has_locked_children(original, dentry), Rule::BindLockedChildren)?;
        self.list_tree(original, dentry, if recursive { Taking::Bindable } else { Taking::OnlyRoot })
    }

    /// Makes the clones that [`list_bindable`](Self::list_bindable) listed. The first loses its lock (B4).
    pub(crate) fn clone_bindable(&mut self, tree: &mut Tree<V>) {
        self.clone_listed(tree, Relation::Alike, State::empty());
        self.mounts[tree.nodes[0].mount].locks -= Locks::MOUNT;
    }

    /// Whether a mount locked to its place is on `mount`, at or below the dentry (K5). Cost: the mount's children, if any was ever
    /// locked; else none.
    pub(crate) fn has_locked_children(&self, mount: MountSlot<V>, dentry: &V::Dentry) -> bool {
        let may_have = self.mounts[mount].state.contains(State::HAD_LOCKED_CHILDREN);
        may_have
            && self.children(mount).any(|child| {
                let child = &self.mounts[child];
                child.is_mount_locked() && child.mountpoint.as_ref().is_some_and(|at| self.vfs.is_below(at, dentry))
            })
    }

    /// Whether a dentry is the file of this mount namespace, or of one that is not younger (N14).
    pub(crate) fn is_own_or_older_namespace(&self, dentry: &V::Dentry, namespace: NamespaceSlot<V>) -> bool {
        match self.vfs.namespace_file(dentry) {
            NamespaceFile::Mount { sequence } => sequence <= self.namespaces[namespace].sequence,
            NamespaceFile::Other | NamespaceFile::No => false,
        }
    }
}
