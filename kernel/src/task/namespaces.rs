//! What a thread's view of the system is made of (`namespaces(7)`): `nsproxy` of Linux.

use crate::ipc::IpcNamespace;
use crate::net::NetworkNamespace;
use crate::sync::{Once, SpinLock};
use crate::task::UserNamespace;
use crate::task::cgroup::CgroupNamespace;
use crate::task::namespace_count::NamespaceCount;
use crate::task::pid::PidNamespace;
use crate::task::time_namespace::TimeNamespace;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general as sys;

/// The kinds of namespaces that Linux 6.6 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Mount,
    Uts,
    Ipc,
    User,
    Pid,
    Network,
    Cgroup,
    Time,
}

impl Kind {
    /// The name in `/proc/PID/ns`, and before the colon of what the link there reads as.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::User => "user",
            Self::Pid => "pid",
            Self::Network => "net",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The flag of `clone(2)`, `unshare(2)`, `setns(2)`.
    pub fn clone_flag(self) -> u32 {
        match self {
            Self::Mount => sys::CLONE_NEWNS,
            Self::Uts => sys::CLONE_NEWUTS,
            Self::Ipc => sys::CLONE_NEWIPC,
            Self::User => sys::CLONE_NEWUSER,
            Self::Pid => sys::CLONE_NEWPID,
            Self::Network => sys::CLONE_NEWNET,
            Self::Cgroup => sys::CLONE_NEWCGROUP,
            Self::Time => sys::CLONE_NEWTIME,
        }
    }

    /// The fixed number of the initial namespace, where Linux has one (`include/linux/proc_ns.h`).
    fn initial_inode_number(self) -> Option<u64> {
        Some(match self {
            Self::Ipc => 0xEFFF_FFFF,
            Self::Uts => 0xEFFF_FFFE,
            Self::User => 0xEFFF_FFFD,
            Self::Pid => 0xEFFF_FFFC,
            Self::Cgroup => 0xEFFF_FFFB,
            Self::Time => 0xEFFF_FFFA,
            Self::Mount | Self::Network => return None,
        })
    }
}

/// First number for namespaces without a fixed one (`PROC_DYNAMIC_FIRST`).
const DYNAMIC_FIRST: u64 = 0xF000_0000;
static NEXT_INODE_NUMBER: AtomicU64 = AtomicU64::new(DYNAMIC_FIRST);

/// A number for a new namespace's file in nsfs. `initial` tells that it is the one of the boot.
pub fn next_inode_number(kind: Kind, initial: bool) -> u64 {
    let fixed = if initial { kind.initial_inode_number() } else { None };
    fixed.unwrap_or_else(|| NEXT_INODE_NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// The namespaces of a thread. Immutable: `unshare` and `setns` make a new one.
#[derive(Clone)]
pub struct Namespaces {
    /// Mounts: a pinned namespace of graft's forest.
    pub mount: Arc<MountNamespace>,
    /// Host and domain name.
    pub uts: Arc<UtsNamespace>,
    /// What System V calls by keys, and POSIX message queues.
    pub ipc: Arc<IpcNamespace>,
    /// Network devices and sockets.
    pub network: Arc<NetworkNamespace>,
    /// The root of the cgroup view.
    pub cgroup: Arc<CgroupNamespace>,
    /// Clock offsets.
    pub time: Arc<TimeNamespace>,
    /// Where children are made; a thread enters it with its next exec.
    pub time_for_children: Arc<TimeNamespace>,
    /// Where children are made; the thread's own is that of its pid.
    pub pid_for_children: Arc<PidNamespace>,
}

impl Namespaces {
    /// Those of the first process, around the boot's mount namespace.
    pub fn initial(mount: Arc<MountNamespace>) -> Arc<Self> {
        Arc::new(Self {
            mount,
            uts: UtsNamespace::initial(),
            ipc: Arc::new(IpcNamespace::new(UserNamespace::initial(), None)),
            cgroup: Arc::new(CgroupNamespace::initial()),
            network: NetworkNamespace::initial(),
            time: TimeNamespace::initial(),
            time_for_children: TimeNamespace::initial(),
            pid_for_children: PidNamespace::initial(),
        })
    }

    /// As [`Self::time_for_children`] for a process that begins or execs: it is in that namespace now.
    pub(in crate::task) fn with_time_entered(self: &Arc<Self>) -> Arc<Self> {
        if Arc::ptr_eq(&self.time, &self.time_for_children) {
            return self.clone();
        }
        self.time_for_children.freeze();
        Arc::new(Self { time: self.time_for_children.clone(), ..Self::clone(self) })
    }
}

/// A pinned mount namespace. Dropping the last handle tears the namespace down (N8, N9).
pub struct MountNamespace {
    /// In graft's forest.
    pub id: graft::NamespaceId,
    /// Whose privileges govern it.
    pub owner: Arc<UserNamespace>,
    /// For `/proc/PID/ns/mnt`.
    pub inode_number: u64,
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        crate::fs::mount::release(self.id);
    }
}

/// The names that `uname(2)` tells and `sethostname(2)`, `setdomainname(2)` change.
pub struct UtsNamespace {
    /// Whose privileges govern it.
    pub owner: Arc<UserNamespace>,
    /// For `/proc/PID/ns/uts`.
    pub inode_number: u64,
    /// Host name, then NIS domain name, at most 64 bytes each.
    pub names: SpinLock<UtsNames>,
    _count: Option<NamespaceCount>,
}

/// See [`UtsNamespace`].
#[derive(Clone)]
#[allow(missing_docs)]
pub struct UtsNames {
    pub host: Vec<u8>,
    pub domain: Vec<u8>,
}

static INITIAL_UTS: Once<Arc<UtsNamespace>> = Once::new();

impl UtsNamespace {
    /// The one that the kernel booted with: both names are Linux's `(none)`.
    pub fn initial() -> Arc<Self> {
        let make = || {
            Arc::new(Self {
                owner: UserNamespace::initial(),
                inode_number: next_inode_number(Kind::Uts, true),
                names: SpinLock::new(UtsNames { host: b"(none)".to_vec(), domain: b"(none)".to_vec() }),
                _count: None,
            })
        };
        INITIAL_UTS.call_once(make).clone()
    }

    /// A copy with the same names.
    pub fn copy(&self, owner: Arc<UserNamespace>, count: NamespaceCount) -> Arc<Self> {
        let names = SpinLock::new(self.names.lock().clone());
        Arc::new(Self { owner, inode_number: next_inode_number(Kind::Uts, false), names, _count: Some(count) })
    }
}

/// A handle to any namespace: what a file of nsfs stands for, and what `setns` enters.
#[derive(Clone)]
#[allow(missing_docs)]
pub enum NamespaceHandle {
    Mount(Arc<MountNamespace>),
    Uts(Arc<UtsNamespace>),
    User(Arc<UserNamespace>),
    Pid(Arc<PidNamespace>),
    Cgroup(Arc<CgroupNamespace>),
    Network(Arc<NetworkNamespace>),
    Time(Arc<TimeNamespace>),
    Ipc(Arc<IpcNamespace>),
}

impl NamespaceHandle {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Mount(_) => Kind::Mount,
            Self::Uts(_) => Kind::Uts,
            Self::User(_) => Kind::User,
            Self::Pid(_) => Kind::Pid,
            Self::Cgroup(_) => Kind::Cgroup,
            Self::Network(_) => Kind::Network,
            Self::Time(_) => Kind::Time,
            Self::Ipc(_) => Kind::Ipc,
        }
    }

    /// The number of its file.
    pub fn inode_number(&self) -> u64 {
        match self {
            Self::Mount(namespace) => namespace.inode_number,
            Self::Uts(namespace) => namespace.inode_number,
            Self::User(namespace) => namespace.inode_number,
            Self::Pid(namespace) => namespace.inode_number,
            Self::Cgroup(namespace) => namespace.inode_number,
            Self::Network(namespace) => namespace.inode_number,
            Self::Time(namespace) => namespace.inode_number,
            Self::Ipc(namespace) => namespace.inode_number,
        }
    }

    /// The user namespace that owns it (`NS_GET_USERNS` of `ioctl_ns(2)`): for a user namespace its parent.
    pub fn owner(&self) -> Option<Arc<UserNamespace>> {
        Some(match self {
            Self::Mount(namespace) => namespace.owner.clone(),
            Self::Uts(namespace) => namespace.owner.clone(),
            Self::User(namespace) => return namespace.parent.clone(),
            Self::Pid(namespace) => namespace.owner.clone(),
            Self::Cgroup(namespace) => namespace.owner.clone(),
            Self::Network(namespace) => namespace.owner.clone(),
            Self::Time(namespace) => namespace.owner.clone(),
            Self::Ipc(namespace) => namespace.owner.clone(),
        })
    }

    /// The parent of a hierarchical namespace (`NS_GET_PARENT`).
    pub fn parent(&self) -> Option<Self> {
        match self {
            Self::User(namespace) => namespace.parent.clone().map(Self::User),
            Self::Pid(namespace) => namespace.parent.clone().map(Self::Pid),
            _ => None,
        }
    }
}
