//! User namespaces (`user_namespaces(7)`): id maps, owners, the tree of parents.

use crate::errno::{Errno, Result};
use crate::keys::UserKeyrings;
use crate::sync::{Once, SpinLock};
use crate::task::namespace_count::{Counts, NamespaceCount};
use crate::task::namespaces::{Kind, next_inode_number};
use crate::task::{Capabilities, Credentials};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt::Write;

/// The id that stands for one without a mapping (`/proc/sys/kernel/overflowuid`).
pub const OVERFLOW_ID: u32 = 65534;
/// Most lines that a map may have.
const MAX_EXTENTS: usize = 340;
/// How deep user namespaces nest (`user_namespaces(7)`).
const MAX_LEVEL: u32 = 32;

/// Which of the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MapKind {
    Users,
    Groups,
    /// Project ids of quotas, which nothing here has; the map can be set and read.
    Projects,
}

/// One line of a map.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// First id inside the namespace.
    inside: u32,
    /// First id of the initial namespace that it stands for.
    global: u32,
    /// How many.
    count: u32,
}

struct Maps {
    users: Vec<Extent>,
    groups: Vec<Extent>,
    projects: Vec<Extent>,
    setgroups_allowed: bool,
}

impl Maps {
    fn of(&self, kind: MapKind) -> &Vec<Extent> {
        match kind {
            MapKind::Users => &self.users,
            MapKind::Groups => &self.groups,
            MapKind::Projects => &self.projects,
        }
    }
}

/// A user namespace.
pub struct UserNamespace {
    /// The one that it was made in; `None` for the initial one.
    pub parent: Option<Arc<UserNamespace>>,
    /// Depth below the initial one.
    pub level: u32,
    /// Effective uid of its maker, as an id of the initial namespace.
    pub owner_uid: u32,
    /// Number for `/proc/PID/ns/user`.
    pub inode_number: u64,
    /// Its maker had `CAP_SETFCAP`, without which id 0 of the parent may not be mapped.
    maker_had_setfcap: bool,
    maps: SpinLock<Maps>,
    /// Namespaces of its users.
    pub(in crate::task) counts: Counts,
    /// Keyrings of its users.
    pub user_keyrings: UserKeyrings,
    _count: Option<NamespaceCount>,
}

static INITIAL: Once<Arc<UserNamespace>> = Once::new();

impl UserNamespace {
    /// The one that the kernel booted with.
    pub fn initial() -> Arc<Self> {
        let identity = || Vec::from([Extent { inside: 0, global: 0, count: u32::MAX }]);
        let make = || {
            Arc::new(Self {
                parent: None,
                level: 0,
                owner_uid: 0,
                inode_number: next_inode_number(Kind::User, true),
                maker_had_setfcap: true,
                maps: SpinLock::new(Maps { users: identity(), groups: identity(), projects: identity(), setgroups_allowed: true }),
                counts: Counts::new(),
                user_keyrings: UserKeyrings::default(),
                _count: None,
            })
        };
        INITIAL.call_once(make).clone()
    }

    /// One below that of `maker`. `ENOSPC` (`EUSERS` before Linux 4.9) when they nest too deeply, `EPERM` when the maker's own ids have no mapping.
    pub fn new_below(maker: &Credentials) -> Result<Arc<Self>> {
        let parent = &maker.user_namespace;
        if parent.level > MAX_LEVEL {
            return Err(Errno::NOSPC);
        }
        let count = NamespaceCount::take(Kind::User, parent, maker.effective_uid)?;
        let mapped = parent.uid_from_global(maker.effective_uid).is_some() && parent.gid_from_global(maker.effective_gid).is_some();
        if !mapped {
            return Err(Errno::PERM);
        }
        let setgroups_allowed = parent.maps.lock().setgroups_allowed;
        Ok(Arc::new(Self {
            parent: Some(parent.clone()),
            level: parent.level + 1,
            owner_uid: maker.effective_uid,
            inode_number: next_inode_number(Kind::User, false),
            maker_had_setfcap: maker.effective.contains(Capabilities::SETFCAP),
            maps: SpinLock::new(Maps { users: Vec::new(), groups: Vec::new(), projects: Vec::new(), setgroups_allowed }),
            counts: Counts::new(),
            user_keyrings: UserKeyrings::default(),
            _count: Some(count),
        }))
    }

    /// Whether it is the initial one.
    pub fn is_initial(&self) -> bool {
        self.parent.is_none()
    }

    /// Whether this is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        let mut at = Some(self);
        while let Some(namespace) = at {
            if core::ptr::eq(namespace, other) {
                return true;
            }
            at = namespace.parent.as_deref();
        }
        false
    }

    /// The initial namespace's id for `uid` of this one; `None` if it has no mapping.
    pub fn uid_to_global(&self, uid: u32) -> Option<u32> {
        to_global(&self.maps.lock().users, uid)
    }

    /// See [`Self::uid_to_global`].
    pub fn gid_to_global(&self, gid: u32) -> Option<u32> {
        to_global(&self.maps.lock().groups, gid)
    }

    /// This namespace's id for `uid` of the initial one; `None` if it has no mapping.
    pub fn uid_from_global(&self, uid: u32) -> Option<u32> {
        from_global(&self.maps.lock().users, uid)
    }

    /// See [`Self::uid_from_global`].
    pub fn gid_from_global(&self, gid: u32) -> Option<u32> {
        from_global(&self.maps.lock().groups, gid)
    }

    /// What `stat` and `getuid` show for a uid of the initial namespace.
    pub fn shown_uid(&self, uid: u32) -> u32 {
        self.uid_from_global(uid).unwrap_or(OVERFLOW_ID)
    }

    /// What `stat` and `getgid` show for a gid of the initial namespace.
    pub fn shown_gid(&self, gid: u32) -> u32 {
        self.gid_from_global(gid).unwrap_or(OVERFLOW_ID)
    }

    /// Whether `setgroups(2)` may be called in it: a gid map is there and setgroups is not denied.
    pub fn may_setgroups(&self) -> bool {
        let maps = self.maps.lock();
        maps.setgroups_allowed && !maps.groups.is_empty()
    }

    /// `/proc/PID/setgroups`.
    pub fn setgroups_text(&self) -> &'static str {
        if self.maps.lock().setgroups_allowed { "allow\n" } else { "deny\n" }
    }

    /// A write to `/proc/PID/setgroups` by a process with `writer`'s credentials.
    pub fn write_setgroups(self: &Arc<Self>, text: &[u8], writer: &Credentials) -> Result<()> {
        if !writer.capable_in(Capabilities::SYS_ADMIN, self) {
            return Err(Errno::ACCES);
        }
        let allow = match text.trim_ascii_end() {
            b"allow" => true,
            b"deny" => false,
            _ => return Err(Errno::INVAL),
        };
        let mut maps = self.maps.lock();
        // "allow" cannot undo "deny", and "deny" is too late once the gid map stands.
        if (allow && !maps.setgroups_allowed) || (!allow && !maps.groups.is_empty()) {
            return Err(Errno::PERM);
        }
        maps.setgroups_allowed = allow;
        Ok(())
    }

    /// `/proc/PID/uid_map` or `gid_map` as a process of `reader` sees it.
    pub fn show_map(self: &Arc<Self>, kind: MapKind, reader: &Arc<Self>) -> String {
        // A reader in the namespace itself sees the ids of the parent.
        let seen_from = match &self.parent {
            Some(parent) if Arc::ptr_eq(self, reader) => parent,
            _ => reader,
        };
        let extents = self.maps.lock().of(kind).clone();
        let mut text = String::new();
        for extent in extents {
            // A mapping that the reader cannot express is shown as (uid_t)-1.
            let outside = from_global(seen_from.maps.lock().of(kind), extent.global).unwrap_or(u32::MAX);
            let _ = writeln!(text, "{:>10} {:>10} {:>10}", extent.inside, outside, extent.count);
        }
        text
    }

    /// A write to `/proc/PID/uid_map` or `gid_map`: once, by a process in the namespace or its parent.
    ///
    /// `opener` are the credentials that opened the file, `writer` those of the writing thread. Errors as in `user_namespaces(7)`, "Defining user and group ID mappings".
    pub fn write_map(self: &Arc<Self>, kind: MapKind, text: &[u8], opener: &Credentials, writer: &Credentials) -> Result<()> {
        let parent = self.parent.as_ref().ok_or(Errno::PERM)?;
        let in_reach = Arc::ptr_eq(&writer.user_namespace, self) || Arc::ptr_eq(&writer.user_namespace, parent);
        if !in_reach {
            return Err(Errno::PERM);
        }
        if text.len() >= crate::mm::PAGE_SIZE_BYTES {
            return Err(Errno::INVAL);
        }
        let occupied = !self.maps.lock().of(kind).is_empty();
        let governs = kind == MapKind::Projects || writer.capable_in(Capabilities::SYS_ADMIN, self);
        if occupied || !governs {
            return Err(Errno::PERM);
        }
        let mut extents = parse_map(text)?;
        self.check_right_to_map(kind, &extents, parent, opener, writer)?;
        for extent in &mut extents {
            extent.global = range_to_global(parent, kind, extent.global, extent.count).ok_or(Errno::PERM)?;
        }
        let mut maps = self.maps.lock();
        *match kind {
            MapKind::Users => &mut maps.users,
            MapKind::Groups => &mut maps.groups,
            MapKind::Projects => &mut maps.projects,
        } = extents;
        Ok(())
    }

    /// Rules 5 of the manual: one's own id, or `CAP_SETUID`/`CAP_SETGID` over the parent, of writer and opener both.
    fn check_right_to_map(
        self: &Arc<Self>,
        kind: MapKind,
        extents: &[Extent],
        parent: &Arc<Self>,
        opener: &Credentials,
        writer: &Credentials,
    ) -> Result<()> {
        let maps_root = kind == MapKind::Users && extents.iter().any(|extent| extent.global == 0);
        if maps_root {
            let allowed = if Arc::ptr_eq(&opener.user_namespace, self) {
                self.maker_had_setfcap
            } else {
                opener.capable_in(Capabilities::SETFCAP, parent)
            };
            if !allowed {
                return Err(Errno::PERM);
            }
        }
        if let [Extent { global, count: 1, .. }] = *extents
            && self.owner_uid == opener.effective_uid
        {
            let own = match kind {
                MapKind::Users => parent.uid_to_global(global) == Some(opener.effective_uid),
                MapKind::Groups => !self.maps.lock().setgroups_allowed && parent.gid_to_global(global) == Some(opener.effective_gid),
                MapKind::Projects => true,
            };
            if own {
                return Ok(());
            }
        }
        let needed = match kind {
            MapKind::Users => Capabilities::SETUID,
            MapKind::Groups => Capabilities::SETGID,
            MapKind::Projects => return Ok(()),
        };
        let privileged = writer.capable_in(needed, parent) && opener.capable_in(needed, parent);
        if privileged { Ok(()) } else { Err(Errno::PERM) }
    }
}

fn to_global(extents: &[Extent], id: u32) -> Option<u32> {
    let extent = extents.iter().find(|e| id.checked_sub(e.inside).is_some_and(|offset| offset < e.count))?;
    Some(extent.global + (id - extent.inside))
}

fn from_global(extents: &[Extent], id: u32) -> Option<u32> {
    let extent = extents.iter().find(|e| id.checked_sub(e.global).is_some_and(|offset| offset < e.count))?;
    Some(extent.inside + (id - extent.global))
}

/// The whole range must lie in one extent of the parent.
fn range_to_global(parent: &UserNamespace, kind: MapKind, first: u32, count: u32) -> Option<u32> {
    let maps = parent.maps.lock();
    let extents = maps.of(kind);
    let last = first.checked_add(count - 1)?;
    let within = |e: &&Extent| first >= e.inside && u64::from(last) < u64::from(e.inside) + u64::from(e.count);
    let extent = extents.iter().find(within)?;
    Some(extent.global + (first - extent.inside))
}

fn parse_map(text: &[u8]) -> Result<Vec<Extent>> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::INVAL)?;
    let mut extents: Vec<Extent> = Vec::new();
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        let mut fields = line.split_ascii_whitespace().map(|field| field.parse::<u32>().map_err(|_| Errno::INVAL));
        let mut next = || fields.next().unwrap_or(Err(Errno::INVAL));
        let extent = Extent { inside: next()?, global: next()?, count: next()? };
        if fields.next().is_some() || !is_sound(&extent) || extents.iter().any(|other| overlap(other, &extent)) {
            return Err(Errno::INVAL);
        }
        if extents.len() == MAX_EXTENTS {
            return Err(Errno::INVAL);
        }
        extents.push(extent);
    }
    Ok(extents)
}

/// Ids and their sums stay below (uid_t)-1, and the range is not empty.
fn is_sound(extent: &Extent) -> bool {
    let fits = |first: u32| first != u32::MAX && first.checked_add(extent.count).is_some();
    extent.count != 0 && fits(extent.inside) && fits(extent.global)
}

fn overlap(a: &Extent, b: &Extent) -> bool {
    let meet = |x: u32, y: u32| x < y + b.count && y < x + a.count;
    meet(a.inside, b.inside) || meet(a.global, b.global)
}
