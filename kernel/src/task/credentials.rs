//! Who a thread acts for: ids and capabilities (`credentials(7)`, `capabilities(7)`).

use crate::keys::CredentialKeyrings;
use crate::task::UserNamespace;
use alloc::{sync::Arc, vec::Vec};
use bitflags::bitflags;

bitflags! {
    /// A capability set; the bit of a capability is `1 << CAP_…`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs)]
    pub struct Capabilities: u64 {
        const CHOWN = 1 << 0;
        const DAC_OVERRIDE = 1 << 1;
        const DAC_READ_SEARCH = 1 << 2;
        const FOWNER = 1 << 3;
        const FSETID = 1 << 4;
        const KILL = 1 << 5;
        const SETGID = 1 << 6;
        const SETUID = 1 << 7;
        const SETPCAP = 1 << 8;
        const LINUX_IMMUTABLE = 1 << 9;
        const NET_BIND_SERVICE = 1 << 10;
        const NET_BROADCAST = 1 << 11;
        const NET_ADMIN = 1 << 12;
        const NET_RAW = 1 << 13;
        const IPC_LOCK = 1 << 14;
        const IPC_OWNER = 1 << 15;
        const SYS_MODULE = 1 << 16;
        const SYS_RAWIO = 1 << 17;
        const SYS_CHROOT = 1 << 18;
        const SYS_PTRACE = 1 << 19;
        const SYS_PACCT = 1 << 20;
        const SYS_ADMIN = 1 << 21;
        const SYS_BOOT = 1 << 22;
        const SYS_NICE = 1 << 23;
        const SYS_RESOURCE = 1 << 24;
        const SYS_TIME = 1 << 25;
        const SYS_TTY_CONFIG = 1 << 26;
        const MKNOD = 1 << 27;
        const LEASE = 1 << 28;
        const AUDIT_WRITE = 1 << 29;
        const AUDIT_CONTROL = 1 << 30;
        const SETFCAP = 1 << 31;
        const MAC_OVERRIDE = 1 << 32;
        const MAC_ADMIN = 1 << 33;
        const SYSLOG = 1 << 34;
        const WAKE_ALARM = 1 << 35;
        const BLOCK_SUSPEND = 1 << 36;
        const AUDIT_READ = 1 << 37;
        const PERFMON = 1 << 38;
        const BPF = 1 << 39;
        const CHECKPOINT_RESTORE = 1 << 40;
    }
}

/// Bits of [`Credentials::securebits`] (`capabilities(7)`, "The securebits flags"); each has a lock in the next higher bit.
pub mod securebits {
    /// None of them.
    pub const DEFAULT: u32 = 0;
    /// `SECBIT_NOROOT`: uid 0 means nothing for capabilities at exec.
    pub const NOROOT: u32 = 1 << 0;
    /// `SECBIT_NO_SETUID_FIXUP`: changes of uids leave the sets alone.
    pub const NO_SETUID_FIXUP: u32 = 1 << 2;
    /// `SECBIT_KEEP_CAPS`: permitted capabilities stay when the last uid 0 goes.
    pub const KEEP_CAPS: u32 = 1 << 4;
    /// `SECBIT_NO_CAP_AMBIENT_RAISE`.
    pub const NO_AMBIENT_RAISE: u32 = 1 << 6;
    /// The bits themselves, without their locks.
    pub const ALL: u32 = NOROOT | NO_SETUID_FIXUP | KEEP_CAPS | NO_AMBIENT_RAISE;
    /// The locks.
    pub const LOCKS: u32 = ALL << 1;
}

/// Immutable: a change makes a new one (`prepare_creds` of Linux). Ids are those of the initial user namespace.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub effective_uid: u32,
    pub effective_gid: u32,
    pub saved_uid: u32,
    pub saved_gid: u32,
    pub filesystem_uid: u32,
    pub filesystem_gid: u32,
    /// Supplementary groups, sorted.
    pub groups: Vec<u32>,
    pub permitted: Capabilities,
    pub effective: Capabilities,
    pub inheritable: Capabilities,
    pub bounding: Capabilities,
    pub ambient: Capabilities,
    pub securebits: u32,
    pub no_new_privileges: bool,
    pub user_namespace: Arc<UserNamespace>,
    pub keyrings: CredentialKeyrings,
}

impl Credentials {
    /// Those of the first process: root with everything.
    pub fn initial() -> Self {
        Self {
            uid: 0,
            gid: 0,
            effective_uid: 0,
            effective_gid: 0,
            saved_uid: 0,
            saved_gid: 0,
            filesystem_uid: 0,
            filesystem_gid: 0,
            groups: Vec::new(),
            permitted: Capabilities::all(),
            effective: Capabilities::all(),
            inheritable: Capabilities::empty(),
            bounding: Capabilities::all(),
            ambient: Capabilities::empty(),
            securebits: 0,
            no_new_privileges: false,
            user_namespace: UserNamespace::initial(),
            keyrings: CredentialKeyrings::default(),
        }
    }

    /// Has the effective capability over its own user namespace… and `target` is that, or a descendant of it, or is owned by it
    /// (`user_namespaces(7)`, "Capabilities").
    pub fn capable_in(&self, capability: Capabilities, target: &Arc<UserNamespace>) -> bool {
        let own = &self.user_namespace;
        let mut at = target;
        loop {
            if Arc::ptr_eq(at, own) {
                return self.effective.contains(capability);
            }
            let Some(parent) = &at.parent else { return false };
            if at.level <= own.level {
                return false;
            }
            if Arc::ptr_eq(parent, own) && at.owner_uid == self.effective_uid {
                return true;
            }
            at = parent;
        }
    }

    /// Has the capability over the initial user namespace.
    pub fn capable(&self, capability: Capabilities) -> bool {
        self.user_namespace.is_initial() && self.effective.contains(capability)
    }

    /// Whether the group is the filesystem gid or among the supplementary ones.
    pub fn in_group(&self, gid: u32) -> bool {
        self.filesystem_gid == gid || self.groups.binary_search(&gid).is_ok()
    }

    /// Whether the group is the effective gid or among the supplementary ones.
    pub fn in_effective_group(&self, gid: u32) -> bool {
        self.effective_gid == gid || self.groups.binary_search(&gid).is_ok()
    }
}
