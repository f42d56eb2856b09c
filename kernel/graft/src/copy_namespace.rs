//! Copying, entering and ending mount namespaces (chapter N).

use crate::caller::Place;
use crate::clone_tree::{Relation, Taking};
use crate::flags::Locks;
use crate::forest::{Forest, Needs};
use crate::ids::{MountId, MountSlot, NamespaceId, NamespaceSlot};
use crate::mount::State;
use crate::refusal::{Refusal, Rule, require};
use crate::released::Released;
use crate::seam::Vfs;
use crate::umount::Parting;

/// A new namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceCopy {
    /// The namespace, pinned once for the task that asked.
    pub namespace: NamespaceId,
    /// For each mount asked about the mount that is its copy: a place on it becomes the same dentry of the copy (N6). `None` where
    /// it was not copied: the place stays as it is.
    pub copies: [Option<MountId>; 2],
}

impl<V: Vfs> Forest<V> {
    /// Copies a namespace for CLONE_NEWNS, from its root mount down, in pre-order (N2, N7), unbindable mounts too (X2). The right to it is the kernel's to check (N1).
    ///
    /// `owner` is the user namespace of the new one; where it is another, the copies are locked and only receive (N5). Else they
    /// are alike in everything (N4, N15), locks too (K3).
    /// `translate` names the mounts of the task's root and working directory.
    ///
    /// Errors: O13 (ENOSPC), ENOMEM. Cost: the mounts of the namespace.
    pub fn copy_namespace(
        &mut self,
        namespace: NamespaceId,
        owner: &V::UserNamespace,
        translate: [MountId; 2],
    ) -> Result<NamespaceCopy, Refusal> {
        let original = self.resolve_namespace(namespace)?;
        let Some(top) = self.namespaces[original].root else {
            return Err(Refusal::new(Rule::StaleNamespace));
        };
        require(self.vfs.charge_namespace(owner), Rule::TooManyNamespaces)?;
        let relation = if self.namespaces[original].owner == *owner { Relation::Alike } else { Relation::LessPrivileged };
        match self.copy_tree_of_namespace(top, owner, relation, translate) {
            Ok(copy) => Ok(copy),
            Err(refusal) => {
                self.vfs.uncharge_namespace(owner);
                Err(refusal)
            }
        }
    }

    fn copy_tree_of_namespace(
        &mut self,
        top: MountSlot<V>,
        owner: &V::UserNamespace,
        relation: Relation,
        translate: [MountId; 2],
    ) -> Result<NamespaceCopy, Refusal> {
        let root = self.mounts[top].root.clone();
        let mut tree = self.list_tree(top, &root, Taking::ForNamespace)?;
        let mounts = tree.nodes.len();
        self.reserve(Needs { mounts, namespaces: 1, attachments: mounts, ..Needs::default() })?;
        let originals = translate.map(|mount| self.find(mount));
        let positions = originals.map(|original| tree.nodes.iter().position(|node| Some(node.mount) == original));

        let namespace = self.insert_namespace(owner, false);
        self.clone_listed(&mut tree, relation, State::EXPIRABLE);
        self.namespaces[namespace].root = Some(tree.nodes[0].mount);
        for node in &tree.nodes {
            if relation == Relation::LessPrivileged {
                self.lock_mount(node.mount, node.mount != tree.nodes[0].mount);
            }
            self.join_namespace(node.mount, namespace);
        }
        // X18: the root of a namespace counts as locked, like the first mount of all.
        self.mounts[tree.nodes[0].mount].locks |= Locks::MOUNT;
        self.pin_namespace_slot(namespace);
        let copies = positions.map(|position| position.map(|position| self.mount_id(tree.nodes[position].mount)));
        Ok(NamespaceCopy { namespace: self.namespace_id(namespace), copies })
    }

    /// Where setns puts the root and working directory of a task (N10): the top of the stack at the namespace's root mount.
    pub fn namespace_entry(&self, namespace: NamespaceId) -> Option<Place<V>> {
        let root = self.namespaces[namespace.find(&self.namespaces)?].root?;
        Some(self.root_place(self.top_of(root)))
    }

    /// The part of the right to setns that the forest knows (N10): CAP_SYS_ADMIN over the owner of the namespace.
    pub fn may_enter(&self, credentials: &V::Credentials, namespace: NamespaceId) -> Result<(), Refusal> {
        let slot = self.resolve_namespace(namespace)?;
        require(self.vfs.is_admin(credentials, &self.namespaces[slot].owner), Rule::EnterNotAdmin)
    }

    /// Ends a namespace that has no pins left: its tree is unmounted without propagation (N9, U19). Does nothing while it is pinned.
    ///
    /// Cost: its mounts and their slaves.
    pub fn release_namespace(&mut self, namespace: NamespaceId) -> Released<V> {
        let Some(slot) = namespace.find(&self.namespaces) else {
            return Released::new();
        };
        let space = &self.namespaces[slot];
        if space.is_anonymous() || self.namespace_pin_count(namespace) > 0 {
            return Released::new();
        }
        let mut bag = match space.root {
            Some(root) => self.umount_alone(root, Parting::LockedStayConnected),
            None => Released::new(),
        };
        self.end_namespace(slot, &mut bag);
        bag
    }

    /// Takes an empty namespace out of the forest.
    pub(crate) fn end_namespace(&mut self, namespace: NamespaceSlot<V>, bag: &mut Released<V>) {
        if let Some(ended) = self.namespaces.remove(namespace) {
            debug_assert_eq!(ended.mount_count, 0, "a namespace ended with mounts in it");
            self.vfs.uncharge_namespace(&ended.owner);
            bag.put_user_namespace(ended.owner);
        }
    }
}
