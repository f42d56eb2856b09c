//! How a file of a group is described.

use crate::errno::Result;
use crate::fs::OpenFile;
use crate::fs::generated::Text;
use crate::task::cgroup::control::Controllers;
use crate::task::cgroup::notice::EventFile;
use crate::task::cgroup::{Cgroup, CgroupNamespace};
use alloc::sync::Arc;

/// Makes a file's text.
pub type Reader = fn(&Arc<Cgroup>, &mut Text) -> Result<()>;
/// Takes what was written, without blanks around it.
pub type Writer = fn(&Arc<Cgroup>, &str, &Opener<'_>) -> Result<()>;

/// Who opened a file: its rights count when something is written, not those of who writes.
pub struct Opener<'a> {
    /// The open file.
    pub file: &'a OpenFile,
    /// The cgroup namespace at that time.
    pub namespace: &'a CgroupNamespace,
}

/// In which groups a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In all.
    Everywhere,
    /// In all but the root.
    NotInRoot,
}

/// A file of a group.
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// In which groups it is.
    pub place: Place,
    /// The controller that must govern the group; none for the files of the core.
    pub controller: Controllers,
    /// Its text; `None` for one that can only be written.
    pub read: Option<Reader>,
    /// What a write does; `None` for one that can only be read.
    pub write: Option<Writer>,
    /// May be written in the root of a cgroup namespace from within, although that is a boundary of delegation.
    pub delegatable: bool,
    /// It tells who polls it of changes.
    pub events: Option<EventFile>,
}

impl File {
    /// A file of the core, in all groups.
    pub const fn core(name: &'static str, read: Reader) -> Self {
        Self {
            name,
            mode: 0o444,
            place: Place::Everywhere,
            controller: Controllers::empty(),
            read: Some(read),
            write: None,
            delegatable: false,
            events: None,
        }
    }

    /// A file of a controller, in all groups but the root.
    pub const fn of(controller: Controllers, name: &'static str, read: Reader) -> Self {
        Self { controller, place: Place::NotInRoot, ..Self::core(name, read) }
    }

    /// The same, and it can be written.
    pub const fn writable(self, write: Writer) -> Self {
        Self { mode: 0o644, write: Some(write), ..self }
    }

    /// The same, and not in the root.
    pub const fn not_in_root(self) -> Self {
        Self { place: Place::NotInRoot, ..self }
    }

    /// The same for one that can only be written.
    pub const fn write_only(self) -> Self {
        Self { mode: 0o200, read: None, ..self }
    }

    /// The same for one that may be written in the root of a namespace.
    pub const fn delegatable(self) -> Self {
        Self { delegatable: true, ..self }
    }

    /// The same for one that tells of changes.
    pub const fn with_events(self, events: EventFile) -> Self {
        Self { events: Some(events), ..self }
    }
}
