//! Detached trees: open_tree(OPEN_TREE_CLONE) and fsmount (A2, A3, A17). Each has an anonymous namespace of its own (O13).
//!
//! They are attached by [`Forest::move_mount`] and taken apart by [`Forest::dissolve`].

use crate::caller::{Caller, NewMount, Place};
use crate::forest::{Forest, Needs, new_mount_blank};
use crate::ids::{MountId, NamespaceId, NamespaceSlot};
use crate::refusal::{Refusal, Rule, require};
use crate::seam::Vfs;

/// A tree that is attached nowhere. The kernel opens an `O_PATH` file on its root and pins that; the last close of the file calls
/// [`Forest::dissolve`] (A5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetachedTree {
    /// Its first mount.
    pub root: MountId,
    /// Its anonymous namespace, which ends when the tree is attached or dissolved.
    pub namespace: NamespaceId,
}

impl<V: Vfs> Forest<V> {
    /// open_tree(OPEN_TREE_CLONE): clones what a bind of `source` would (A2).
    ///
    /// Errors: F4 (which the kernel asks before its lookup), O13, B1, in that order. Cost: the mounts cloned.
    pub fn open_tree(&mut self, caller: &Caller<'_, V>, source: &Place<V>, recursive: bool) -> Result<DetachedTree, Refusal> {
        self.require_admin(caller)?;
        let namespace = self.resolve_namespace(caller.namespace)?;
        self.with_anonymous_charge(namespace, |forest, owner| {
            let original = forest.resolve(source.mount)?;
            let mut tree = forest.list_bindable(original, &source.dentry, recursive, namespace)?;
            let mounts = tree.nodes.len();
            forest.reserve(Needs { mounts, namespaces: 1, attachments: mounts, ..Needs::default() })?;

            forest.clone_bindable(&mut tree);
            let anonymous = forest.insert_namespace(owner, true);
            forest.namespaces[anonymous].root = Some(tree.nodes[0].mount);
            for node in &tree.nodes {
                forest.join_namespace(node.mount, anonymous);
            }
            Ok(forest.detached_tree(anonymous, tree.nodes[0].mount))
        })
    }

    /// fsmount: a detached, private mount of a filesystem, with exactly the flags given (A17).
    ///
    /// Errors: F4, N12, O13, in that order.
    pub fn fsmount(&mut self, caller: &Caller<'_, V>, new: &NewMount<V>) -> Result<DetachedTree, Refusal> {
        self.require_admin(caller)?;
        let namespace = self.resolve_namespace(caller.namespace)?;
        let locks = self.require_visible(namespace, new)?;
        self.with_anonymous_charge(namespace, |forest, owner| {
            forest.reserve(Needs { mounts: 1, namespaces: 1, ..Needs::default() })?;

            let mut blank = new_mount_blank(new);
            blank.locks = locks;
            let mount = forest.insert_mount(blank);
            let anonymous = forest.insert_namespace(owner, true);
            forest.namespaces[anonymous].root = Some(mount);
            forest.join_namespace(mount, anonymous);
            Ok(forest.detached_tree(anonymous, mount))
        })
    }

    /// Counts an anonymous namespace against its owner, who is the creator's (O13), for an operation that may still be refused.
    fn with_anonymous_charge(
        &mut self,
        creator: NamespaceSlot<V>,
        make: impl FnOnce(&mut Self, &V::UserNamespace) -> Result<DetachedTree, Refusal>,
    ) -> Result<DetachedTree, Refusal> {
        let owner = self.namespaces[creator].owner.clone();
        require(self.vfs.charge_namespace(&owner), Rule::TooManyNamespaces)?;
        let made = make(self, &owner);
        if made.is_err() {
            self.vfs.uncharge_namespace(&owner);
        }
        made
    }

    fn detached_tree(&self, namespace: NamespaceSlot<V>, root: crate::ids::MountSlot<V>) -> DetachedTree {
        DetachedTree { root: self.mount_id(root), namespace: self.namespace_id(namespace) }
    }
}
