//! Network namespaces (`network_namespaces(7)`).

use super::settings::Settings;
use super::{Event, Loopback, inet, netlink};
use crate::errno::{Errno, Result};
use crate::sync::{Once, SpinLock};
use crate::task::namespace_count::NamespaceCount;
use crate::task::namespaces::{Kind, next_inode_number};
use crate::task::{Capabilities, UserNamespace, current};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// What a thread sees of the network, and where its sockets live.
pub struct NetworkNamespace {
    /// Whose privileges govern it.
    pub owner: Arc<UserNamespace>,
    /// For `/proc/PID/ns/net`.
    pub inode_number: u64,
    /// `SO_NETNS_COOKIE`: never used twice.
    pub cookie: u64,
    /// Whether it is the one of the boot.
    pub is_initial: bool,
    /// The one device. A leaf lock.
    pub loopback: SpinLock<Loopback>,
    /// `/proc/sys/net`.
    pub settings: Settings,
    /// Internet sockets.
    pub inet: inet::Tables,
    /// Netlink sockets.
    pub netlink: netlink::Ports,
    _count: Option<NamespaceCount>,
}

static INITIAL: Once<Arc<NetworkNamespace>> = Once::new();

impl NetworkNamespace {
    /// The one that the kernel booted with.
    pub fn initial() -> Arc<Self> {
        INITIAL.call_once(|| Self::make(UserNamespace::initial(), None)).clone()
    }

    /// A fresh one: its loopback is down.
    pub fn new(owner: Arc<UserNamespace>, count: NamespaceCount) -> Arc<Self> {
        Self::make(owner, Some(count))
    }

    fn make(owner: Arc<UserNamespace>, count: Option<NamespaceCount>) -> Arc<Self> {
        let is_initial = count.is_none();
        static NEXT_COOKIE: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            owner,
            inode_number: next_inode_number(Kind::Network, is_initial),
            cookie: NEXT_COOKIE.fetch_add(1, Ordering::Relaxed),
            is_initial,
            loopback: SpinLock::new(Loopback::new()),
            settings: Settings::default(),
            inet: inet::Tables::default(),
            netlink: netlink::Ports::default(),
            _count: count,
        })
    }

    /// `EPERM` unless the current thread has `capability` over the namespace.
    pub fn require(&self, capability: Capabilities) -> Result<()> {
        if current().credentials().capable_in(capability, &self.owner) { Ok(()) } else { Err(Errno::PERM) }
    }

    /// Changes the device and tells those who listen what came of it.
    pub fn change<T>(&self, change: impl FnOnce(&mut Loopback, &mut Vec<Event>) -> Result<T>) -> Result<T> {
        let mut events = Vec::new();
        let result = change(&mut self.loopback.lock(), &mut events);
        for event in &events {
            netlink::tell(self, event);
        }
        result
    }
}
