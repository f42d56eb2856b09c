//! How many namespaces of each kind a user may have (`namespaces(7)`, "The /proc/sys/user directory").
//!
//! A namespace counts for its maker in the user namespace that it belongs to, and in each user namespace above for whoever made the one
//! below. So nobody gets more by nesting.

use crate::errno::{Errno, Result};
use crate::sync::SpinLock;
use crate::task::UserNamespace;
use crate::task::namespaces::Kind;
use alloc::{collections::BTreeMap, sync::Arc};
use core::sync::atomic::{AtomicI64, Ordering};

/// Stands for all users of a user namespace together: graft counts mount namespaces without asking who made them.
pub const ALL_USERS: u32 = u32::MAX;

const KINDS: usize = 8;

/// What a user namespace allows, and how much of it is used.
pub(in crate::task) struct Counts {
    /// Negative: never set.
    maxima: [AtomicI64; KINDS],
    used: SpinLock<BTreeMap<(u32, u8), i64>>,
}

impl Counts {
    /// Nothing used. What was never set is `default_maximum` (see [`maximum`]).
    pub(in crate::task) fn new() -> Self {
        Self { maxima: [const { AtomicI64::new(-1) }; KINDS], used: SpinLock::new(BTreeMap::new()) }
    }

    fn take(&self, kind: Kind, uid: u32, maximum: i64) -> bool {
        let mut used = self.used.lock();
        let count = used.entry((uid, kind as u8)).or_insert(0);
        if *count >= maximum {
            return false;
        }
        *count += 1;
        true
    }

    fn give_back(&self, kind: Kind, uid: u32) {
        let mut used = self.used.lock();
        if let Some(count) = used.get_mut(&(uid, kind as u8)) {
            *count -= 1;
            if *count == 0 {
                used.remove(&(uid, kind as u8));
            }
        }
    }
}

/// The most namespaces of `kind` that each user of `namespace` may have: in the first namespace half the threads that there may be, in
/// others no limit, until it is set.
pub fn maximum(namespace: &UserNamespace, kind: Kind) -> i64 {
    let set = namespace.counts.maxima[kind as usize].load(Ordering::Relaxed);
    match () {
        () if set >= 0 => set,
        () if namespace.is_initial() => crate::fs::procfs::user_limits::threads_max() / 2,
        () => i64::from(i32::MAX),
    }
}

/// Sets [`maximum`].
pub fn set_maximum(namespace: &UserNamespace, kind: Kind, maximum: i64) {
    namespace.counts.maxima[kind as usize].store(maximum, Ordering::Relaxed);
}

/// Counts one in `namespace` and all above. `ENOSPC` where there are too many already.
pub fn charge(kind: Kind, namespace: &UserNamespace, uid: u32) -> Result<()> {
    let (mut at, mut user) = (namespace, uid);
    loop {
        if !at.counts.take(kind, user, maximum(at, kind)) {
            give_back_up_to(kind, namespace, uid, Some(at));
            return Err(Errno::NOSPC);
        }
        let Some(parent) = &at.parent else { return Ok(()) };
        (user, at) = (at.owner_uid, parent);
    }
}

/// Counts back what [`charge`] counted.
pub fn uncharge(kind: Kind, namespace: &UserNamespace, uid: u32) {
    give_back_up_to(kind, namespace, uid, None);
}

fn give_back_up_to(kind: Kind, namespace: &UserNamespace, uid: u32, end: Option<&UserNamespace>) {
    let (mut at, mut user) = (namespace, uid);
    while !end.is_some_and(|end| core::ptr::eq(end, at)) {
        at.counts.give_back(kind, user);
        let Some(parent) = &at.parent else { return };
        (user, at) = (at.owner_uid, parent);
    }
}

/// One namespace, counted while it lives.
pub struct NamespaceCount {
    kind: Kind,
    namespace: Arc<UserNamespace>,
    uid: u32,
}

impl NamespaceCount {
    /// A namespace of `kind` that `uid` makes and `owner` will own. `ENOSPC`.
    pub fn take(kind: Kind, owner: &Arc<UserNamespace>, uid: u32) -> Result<Self> {
        charge(kind, owner, uid)?;
        Ok(Self { kind, namespace: owner.clone(), uid })
    }
}

impl Drop for NamespaceCount {
    fn drop(&mut self) {
        uncharge(self.kind, &self.namespace, self.uid);
    }
}
