//! What an operation gives up, to be dropped after the forest's lock is released.
//!
//! Dropping the last handle of a superblock shuts a filesystem down: that may sleep, and may ask the forest.

use alloc::vec::Vec;

use crate::seam::{OutOfMemory, Vfs};

/// Handles that the forest no longer needs.
#[must_use = "drop this after the forest's lock is released"]
pub struct Released<V: Vfs> {
    remains: Vec<Remains<V>>,
    user_namespace: Option<V::UserNamespace>,
}

/// One part of a bag; kept only to be dropped.
#[expect(dead_code, reason = "the fields are there to be dropped")]
pub(crate) enum Remains<V: Vfs> {
    Mount { root: V::Dentry, superblock: V::Superblock, source: Option<V::Source>, idmap: Option<V::IdMap> },
    Mountpoint(V::Dentry),
}

impl<V: Vfs> Released<V> {
    pub(crate) const fn new() -> Self {
        Self { remains: Vec::new(), user_namespace: None }
    }

    /// A bag that takes so many handles without failing.
    pub(crate) fn with_room(handles: usize) -> Result<Self, OutOfMemory> {
        let mut bag = Self::new();
        bag.remains.try_reserve_exact(handles)?;
        Ok(bag)
    }

    /// Whether one more handle goes in; asks for memory where there is no room.
    pub(crate) fn has_room(&mut self) -> bool {
        self.remains.try_reserve(1).is_ok()
    }

    /// Puts a handle in. The room was seen to before.
    pub(crate) fn put(&mut self, remains: Remains<V>) {
        debug_assert!(self.remains.len() < self.remains.capacity(), "the bag's room was not reserved");
        self.remains.push(remains);
    }

    pub(crate) fn put_user_namespace(&mut self, user_namespace: V::UserNamespace) {
        self.user_namespace = Some(user_namespace);
    }

    /// Takes over what another bag holds. Where memory is short the rest is dropped here.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        if self.remains.is_empty() {
            core::mem::swap(&mut self.remains, &mut other.remains);
        } else if self.remains.try_reserve(other.remains.len()).is_ok() {
            self.remains.append(&mut other.remains);
        }
        self.user_namespace = self.user_namespace.take().or(other.user_namespace);
    }

    /// How many mounts died.
    pub fn dead_mounts(&self) -> usize {
        self.remains.iter().filter(|remains| matches!(remains, Remains::Mount { .. })).count()
    }

    /// Whether there is nothing to drop.
    pub fn is_empty(&self) -> bool {
        self.remains.is_empty() && self.user_namespace.is_none()
    }
}

impl<V: Vfs> core::fmt::Debug for Released<V> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Released({} handles, {} dead mounts)", self.remains.len(), self.dead_mounts())
    }
}
