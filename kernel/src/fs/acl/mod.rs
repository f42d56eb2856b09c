//! Access control lists (`acl(5)`): rights for named users and groups besides the owner, the owning group and others.
//!
//! This file is a list and what follows from it: whom it lets in, which mode it shows, what a new file inherits. `wire` is the form in
//! which programs and FUSE servers see it, `calls` are the system calls' rules, `kept` is where filesystems in memory keep theirs.

mod calls;
mod kept;
mod wire;

pub use calls::{get, mode_after_set, remove, set};
pub use kept::{Inherited, Kept, inherit};

use crate::errno::{Errno, Result};
use crate::fs::Attributes;
use crate::fs::permission::Access;
use crate::task::{Credentials, UserNamespace};
use alloc::vec::Vec;

/// The two lists that a file can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who may do what with the file.
    Access,
    /// Of a directory: what files that are made in it begin with.
    Default,
}

impl Kind {
    /// The extended attribute that stands for the list (`xattr(7)`).
    pub fn name(self) -> &'static [u8] {
        match self {
            Self::Access => b"system.posix_acl_access",
            Self::Default => b"system.posix_acl_default",
        }
    }

    /// The list that an extended attribute stands for, if it stands for one.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        [Self::Access, Self::Default].into_iter().find(|kind| kind.name() == name)
    }
}

/// Whom an entry is about. Ids are those of the initial user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The file's owner.
    Owner,
    /// Another user.
    User(u32),
    /// The file's group.
    OwningGroup,
    /// Another group.
    Group(u32),
    /// Nobody: the most that other users and all groups get.
    Mask,
    /// Everybody else.
    Others,
}

/// One line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whom it is about.
    pub who: Who,
    /// Read 4, write 2, execute 1; other bits only in lists that nobody looked through yet.
    pub permissions: u32,
}

/// A list. Only [`Self::check_valid`] says that it is one that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub struct Acl {
    entries: Vec<Entry>,
}

const ALL: u32 = 0o7;
const CLASSES: u32 = 0o777;
/// Where a mode has the bits of the three classes: owner, group, others.
const SHIFTS: [u32; 3] = [6, 3, 0];

impl Acl {
    /// `EINVAL` unless the entries come in their order, each of the first kinds once, with a mask where there are named users or groups,
    /// and the filesystem's namespace knows these.
    pub fn check_valid(&self, owner: &UserNamespace) -> Result<()> {
        // How far the order has come: an entry may follow one of its own rank only if it is a named one.
        let mut next_rank = 0;
        let mut needs_mask = false;
        for entry in &self.entries {
            let (rank, named) = match entry.who {
                Who::Owner => (0, false),
                Who::User(_) => (1, true),
                Who::OwningGroup => (2, false),
                Who::Group(_) => (3, true),
                Who::Mask => (4, false),
                Who::Others => (5, false),
            };
            let is_known = match entry.who {
                Who::User(uid) => owner.uid_from_global(uid).is_some(),
                Who::Group(gid) => owner.gid_from_global(gid).is_some(),
                _ => true,
            };
            needs_mask = (needs_mask || named) && entry.who != Who::Mask;
            // The owner and the group cannot be passed over.
            let skips_one_that_must_be = (next_rank == 0 && rank > 0) || (next_rank <= 2 && rank > 2);
            if entry.permissions & !ALL != 0 || rank < next_rank || skips_one_that_must_be || !is_known {
                return Err(Errno::INVAL);
            }
            if entry.who == Who::Others && needs_mask {
                return Err(Errno::INVAL);
            }
            next_rank = if named { rank } else { rank + 1 };
        }
        if next_rank == 6 { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// Whether the list lets somebody do something with a file: the first entry that is about them decides, of groups the first that
    /// suffices. `EIO` for a list without an end.
    pub fn allows(&self, attributes: &Attributes, credentials: &Credentials, access: Access) -> Result<bool> {
        let grants = |permissions: u32| Access::from_bits_truncate(permissions & ALL).contains(access);
        let mut is_in_a_group = false;
        for entry in &self.entries {
            let is_member = match entry.who {
                Who::Owner if credentials.filesystem_uid == attributes.uid => return Ok(grants(entry.permissions)),
                Who::User(uid) if credentials.filesystem_uid == uid => return Ok(grants(entry.permissions & self.mask())),
                Who::OwningGroup => credentials.in_group(attributes.gid),
                Who::Group(gid) => credentials.in_group(gid),
                Who::Others => return Ok(!is_in_a_group && grants(entry.permissions)),
                Who::Owner | Who::User(_) | Who::Mask => false,
            };
            is_in_a_group |= is_member;
            if is_member && grants(entry.permissions) {
                return Ok(grants(entry.permissions & self.mask()));
            }
        }
        Err(Errno::IO)
    }

    fn mask(&self) -> u32 {
        self.entries.iter().find(|entry| entry.who == Who::Mask).map_or(ALL, |entry| entry.permissions)
    }

    /// Whether a mode says as much: no named users and groups, no mask.
    pub fn is_minimal(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.who, Who::Owner | Who::OwningGroup | Who::Others))
    }

    /// `mode` with the bits of the three classes as the list has them; the group's are the mask's, where there is one.
    pub fn mode(&self, mode: u32) -> Result<u32> {
        let classes = self.classes()?.into_iter().zip(SHIFTS);
        Ok(classes.fold(mode & !CLASSES, |mode, (index, shift)| mode | (self.entries[index].permissions & ALL) << shift))
    }

    /// The list after `chmod(2)`.
    pub fn with_mode(&self, mode: u32) -> Result<Self> {
        let mut changed = self.try_clone()?;
        for (index, shift) in self.classes()?.into_iter().zip(SHIFTS) {
            changed.entries[index].permissions = mode >> shift & ALL;
        }
        Ok(changed)
    }

    /// What a file that is made with `mode` gets of its directory's default list: no more than both allow.
    pub fn limited_to(&self, mode: u32) -> Result<Self> {
        let mut limited = self.try_clone()?;
        for (index, shift) in self.classes()?.into_iter().zip(SHIFTS) {
            limited.entries[index].permissions &= mode >> shift & ALL;
        }
        Ok(limited)
    }

    /// Where the entries of the mode's three classes are. `EIO` if one is missing.
    fn classes(&self) -> Result<[usize; 3]> {
        let position = |who: Who| self.entries.iter().position(|entry| entry.who == who);
        let group = position(Who::Mask).or_else(|| position(Who::OwningGroup));
        let (Some(owner), Some(group), Some(others)) = (position(Who::Owner), group, position(Who::Others)) else {
            return Err(Errno::IO);
        };
        Ok([owner, group, others])
    }

    fn try_clone(&self) -> Result<Self> {
        let mut entries = Vec::new();
        entries.try_reserve_exact(self.entries.len()).map_err(|_| Errno::NOMEM)?;
        entries.extend_from_slice(&self.entries);
        Ok(Self { entries })
    }
}
