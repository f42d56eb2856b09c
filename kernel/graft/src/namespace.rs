//! Mount namespaces (O12), anonymous ones too (O13): their root, their mounts in two orders, their counters.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::forest::Forest;
use crate::ids::{MountSlot, NamespaceSlot};
use crate::seam::Vfs;

/// A mount namespace.
pub(crate) struct Namespace<V: Vfs> {
    pub(crate) root: Option<MountSlot<V>>,
    pub(crate) owner: V::UserNamespace,
    /// Order of creation; 0 for an anonymous namespace (O13).
    pub(crate) sequence: u64,
    pub(crate) mount_count: u32,
    /// Raised by whatever W12 lists.
    pub(crate) events: u64,
    pub(crate) first_joined: Option<MountSlot<V>>,
    pub(crate) last_joined: Option<MountSlot<V>>,
    pub(crate) next_joined: u64,
    pub(crate) first_by_id: Option<MountSlot<V>>,
    pub(crate) last_by_id: Option<MountSlot<V>>,
    /// Tasks, namespace files and open views that keep it (N8).
    pub(crate) pins: AtomicU32,
    /// Mounts that the operation under way would add (O15), if `pending_mark` is its epoch.
    pub(crate) pending: u32,
    pub(crate) pending_mark: u32,
}

impl<V: Vfs> Namespace<V> {
    pub(crate) fn new(owner: V::UserNamespace, sequence: u64) -> Self {
        Self {
            root: None,
            owner,
            sequence,
            mount_count: 0,
            events: 0,
            first_joined: None,
            last_joined: None,
            next_joined: 0,
            first_by_id: None,
            last_by_id: None,
            pins: AtomicU32::new(0),
            pending: 0,
            pending_mark: 0,
        }
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.sequence == 0
    }
}

impl<V: Vfs> Clone for Namespace<V> {
    fn clone(&self) -> Self {
        Self { owner: self.owner.clone(), pins: AtomicU32::new(self.pins.load(Ordering::Acquire)), ..*self }
    }
}

impl<V: Vfs> Forest<V> {
    /// Puts a mount at the end of a namespace's order (W6).
    pub(crate) fn join_namespace(&mut self, mount: MountSlot<V>, namespace: NamespaceSlot<V>) {
        self.insert_by_id(mount, namespace);
        self.append_joined(mount, namespace);
    }

    /// As [`join_namespace`](Self::join_namespace), for a mount that is in the order of ids already.
    pub(crate) fn append_joined(&mut self, mount: MountSlot<V>, namespace: NamespaceSlot<V>) {
        let space = &mut self.namespaces[namespace];
        let previous = space.last_joined.replace(mount);
        let joined = space.next_joined;
        space.next_joined += 1;
        space.mount_count += 1;
        match previous {
            Some(previous) => self.mounts[previous].next_joined = Some(mount),
            None => space.first_joined = Some(mount),
        }
        let entry = &mut self.mounts[mount];
        entry.namespace = Some(namespace);
        entry.previous_joined = previous;
        entry.joined = joined;
    }

    /// Takes a mount out of its namespace's lists.
    pub(crate) fn leave_namespace(&mut self, mount: MountSlot<V>) {
        let entry = &mut self.mounts[mount];
        let Some(namespace) = entry.namespace.take() else {
            return;
        };
        let (previous, next) = (entry.previous_joined.take(), entry.next_joined.take());
        let (previous_by_id, next_by_id) = (entry.previous_by_id.take(), entry.next_by_id.take());
        let space = &mut self.namespaces[namespace];
        space.mount_count -= 1;
        match previous {
            Some(previous) => self.mounts[previous].next_joined = next,
            None => space.first_joined = next,
        }
        match next {
            Some(next) => self.mounts[next].previous_joined = previous,
            None => space.last_joined = previous,
        }
        match previous_by_id {
            Some(previous) => self.mounts[previous].next_by_id = next_by_id,
            None => space.first_by_id = next_by_id,
        }
        match next_by_id {
            Some(next) => self.mounts[next].previous_by_id = previous_by_id,
            None => space.last_by_id = previous_by_id,
        }
    }

    /// Links a mount into the order of unique ids.
    ///
    /// Cost: one step for each mount of the namespace that is younger: none for a new mount, few for a detached tree.
    pub(crate) fn insert_by_id(&mut self, mount: MountSlot<V>, namespace: NamespaceSlot<V>) {
        let unique_id = self.mounts[mount].unique_id;
        let mut next = None;
        let mut previous = self.namespaces[namespace].last_by_id;
        while let Some(candidate) = previous
            && self.mounts[candidate].unique_id > unique_id
        {
            next = previous;
            previous = self.mounts[candidate].previous_by_id;
        }
        match previous {
            Some(previous) => self.mounts[previous].next_by_id = Some(mount),
            None => self.namespaces[namespace].first_by_id = Some(mount),
        }
        match next {
            Some(next) => self.mounts[next].previous_by_id = Some(mount),
            None => self.namespaces[namespace].last_by_id = Some(mount),
        }
        let entry = &mut self.mounts[mount];
        entry.previous_by_id = previous;
        entry.next_by_id = next;
    }

    /// Raises the event of W12.
    pub(crate) fn touch(&mut self, namespace: NamespaceSlot<V>) {
        self.namespaces[namespace].events += 1;
    }
}
