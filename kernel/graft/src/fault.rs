//! An adapter that makes memory, or a user's namespaces, run out at a chosen moment.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::seam::{OutOfMemory, Vfs};

/// Never: the count that no request reaches.
const NEVER: u32 = u32::MAX;

/// Passes everything on to another [`Vfs`], but refuses a request for memory or for a namespace when told to.
#[derive(Debug)]
pub struct FaultInjector<V> {
    inner: V,
    requests_to_grant: AtomicU32,
}

impl<V: Vfs> FaultInjector<V> {
    /// An injector in front of `inner` that refuses nothing yet.
    pub fn new(inner: V) -> Self {
        Self { inner, requests_to_grant: AtomicU32::new(NEVER) }
    }

    /// Grants so many requests more, then refuses all that follow.
    pub fn refuse_after(&self, requests: u32) {
        self.requests_to_grant.store(requests.min(NEVER - 1), Ordering::Relaxed);
    }

    /// Refuses nothing any more.
    pub fn refuse_nothing(&self) {
        self.requests_to_grant.store(NEVER, Ordering::Relaxed);
    }

    /// What is behind the injector.
    pub fn inner_mut(&mut self) -> &mut V {
        &mut self.inner
    }

    fn grants(&self) -> bool {
        let spend = |left: u32| match left {
            NEVER => Some(NEVER),
            0 => None,
            left => Some(left - 1),
        };
        self.requests_to_grant.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }

    fn asked(&self, _question: &'static str) {}
}

impl<V: Clone> Clone for FaultInjector<V> {
    fn clone(&self) -> Self {
        let requests_to_grant = AtomicU32::new(self.requests_to_grant.load(Ordering::Relaxed));
        Self { inner: self.inner.clone(), requests_to_grant }
    }
}

impl<V: Vfs> Vfs for FaultInjector<V> {
    crate::adapter::pass_on!();

    fn mountpoint_changed(&self, dentry: &V::Dentry, is_mountpoint: bool) {
        self.inner.mountpoint_changed(dentry, is_mountpoint);
    }

    fn charge(&self, bytes: usize) -> Result<(), OutOfMemory> {
        if self.grants() { self.inner.charge(bytes) } else { Err(OutOfMemory) }
    }

    fn charge_namespace(&self, owner: &V::UserNamespace) -> bool {
        self.grants() && self.inner.charge_namespace(owner)
    }

    fn uncharge_namespace(&self, owner: &V::UserNamespace) {
        self.inner.uncharge_namespace(owner);
    }
}
