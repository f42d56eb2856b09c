//! Lists of filesystems that keep them in memory, and what a new file inherits.

use super::{Acl, Kind};
use crate::errno::Result;
use crate::fs::{Attributes, FileType, Inode};
use crate::sync::SpinLock;
use alloc::sync::Arc;

/// The two lists of a file.
#[derive(Default)]
pub struct Kept {
    lists: SpinLock<[Option<Arc<Acl>>; 2]>,
}

impl Kept {
    /// One of them, if the file has it.
    pub fn get(&self, kind: Kind) -> Option<Arc<Acl>> {
        self.lists.lock()[kind as usize].clone()
    }

    /// Puts one in the other's place.
    pub fn replace(&self, kind: Kind, acl: Option<Arc<Acl>>) {
        let old = core::mem::replace(&mut self.lists.lock()[kind as usize], acl);
        drop(old);
    }

    /// Those that are there.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<'_> {
        [Kind::Access, Kind::Default].into_iter().filter(|kind| self.get(*kind).is_some())
    }
}

/// What a new file gets of its directory's default list.
#[derive(Default)]
pub struct Inherited {
    /// Its access list, unless its mode says as much.
    pub access: Option<Arc<Acl>>,
    /// A directory hands the default list on.
    pub default: Option<Arc<Acl>>,
}

/// Works out what a file inherits that is made in `directory` with `attributes`, whose mode then allows no more than the list does.
pub fn inherit(directory: &Inode, file_type: FileType, attributes: &mut Attributes) -> Result<Inherited> {
    if file_type == FileType::Symlink {
        return Ok(Inherited::default());
    }
    let Some(default) = directory.ops.effective_acl(directory, Kind::Default)? else { return Ok(Inherited::default()) };
    let access = default.limited_to(attributes.mode)?;
    attributes.mode = access.mode(attributes.mode)?;
    let is_directory = file_type == FileType::Directory;
    Ok(Inherited { access: (!access.is_minimal()).then(|| Arc::new(access)), default: is_directory.then_some(default) })
}
