//! An adapter that shows what a forest asks and tells its kernel.

use crate::seam::{OutOfMemory, Vfs};

/// One call through the seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traced {
    /// A question, by the name of its method.
    Asked(&'static str),
    /// A dentry became a mountpoint, or is none any more.
    MountpointChanged {
        /// The identity of the dentry.
        dentry_key: u64,
        /// Whether it is one now.
        is_mountpoint: bool,
    },
    /// Memory was asked for.
    Charged {
        /// About how much.
        bytes: usize,
    },
    /// A namespace was counted, or counted no more.
    NamespaceCharged {
        /// Whether it was counted.
        is_charged: bool,
    },
}

/// Passes everything on to another [`Vfs`], and shows it to a function first.
#[derive(Clone, Debug)]
pub struct Tracer<V, F> {
    inner: V,
    show: F,
}

impl<V: Vfs, F: Fn(Traced)> Tracer<V, F> {
    /// A tracer in front of `inner`.
    pub fn new(inner: V, show: F) -> Self {
        Self { inner, show }
    }

    /// What is behind the tracer.
    pub fn inner_mut(&mut self) -> &mut V {
        &mut self.inner
    }

    fn asked(&self, question: &'static str) {
        (self.show)(Traced::Asked(question));
    }
}

impl<V: Vfs, F: Fn(Traced)> Vfs for Tracer<V, F> {
    crate::adapter::pass_on!();

    fn mountpoint_changed(&self, dentry: &V::Dentry, is_mountpoint: bool) {
        let dentry_key = self.inner.dentry_key(dentry);
        (self.show)(Traced::MountpointChanged { dentry_key, is_mountpoint });
        self.inner.mountpoint_changed(dentry, is_mountpoint);
    }

    fn charge(&self, bytes: usize) -> Result<(), OutOfMemory> {
        (self.show)(Traced::Charged { bytes });
        self.inner.charge(bytes)
    }

    fn charge_namespace(&self, owner: &V::UserNamespace) -> bool {
        let is_charged = self.inner.charge_namespace(owner);
        (self.show)(Traced::NamespaceCharged { is_charged });
        is_charged
    }

    fn uncharge_namespace(&self, owner: &V::UserNamespace) {
        (self.show)(Traced::NamespaceCharged { is_charged: false });
        self.inner.uncharge_namespace(owner);
    }
}
