//! The directory for work: made anew for each mount, with what an overlay left there that ended in the middle of a change gone.

use super::Overlay;
use super::marks::Mark;
use super::options::{Options, Uuid};
use super::real::{self, New};
use crate::errno::{Errno, Result};
use crate::fs::acl;
use crate::fs::walk;
use crate::fs::{Attributes, Dentry, FileType, Path};
use crate::task::Credentials;
use alloc::sync::Arc;

/// What is made in the directory that was given.
const NAME: &[u8] = b"work";

/// `work` in the directory for work, empty. `EINVAL` where a volatile overlay left its mark: nobody knows what of it was written.
pub fn prepare(base: &Path, options: &Options, credentials: &Arc<Credentials>) -> Result<Path> {
    let old = walk::look_up(base.dentry(), NAME)?;
    if old.inode().is_some() {
        let old = base.at(old);
        if old.dentry().is_directory() && walk::look_up(old.dentry(), b"incompat")?.is_directory() {
            return Err(Errno::INVAL);
        }
        remove_all(&old, base, credentials)?;
    }
    let owned = |mode| Attributes::new(mode, credentials.filesystem_uid, credentials.filesystem_gid);
    let work = real::make(base.dentry(), NAME, &New::Directory, owned(0))?;
    take_acls_away(&work)?;
    if options.volatile {
        let incompatible = real::make(&work, b"incompat", &New::Directory, owned(0o700))?;
        let mark = real::make(&incompatible, b"volatile", &New::Directory, owned(0o700))?;
        real::make(&mark, b"dirty", &New::File(FileType::Regular, 0), owned(0o600))?;
    }
    Ok(base.at(work))
}

/// `index` beside it, which stays from mount to mount.
pub fn prepare_index(base: &Path, credentials: &Arc<Credentials>) -> Result<Path> {
    const NAME: &[u8] = b"index";
    let known = walk::look_up(base.dentry(), NAME)?;
    if known.is_directory() {
        return Ok(base.at(known));
    }
    let attributes = Attributes::new(0, credentials.filesystem_uid, credentials.filesystem_gid);
    let index = real::make(base.dentry(), NAME, &New::Directory, attributes)?;
    take_acls_away(&index)?;
    Ok(base.at(index))
}

/// What is made in a directory of the overlay's own inherits nothing there.
fn take_acls_away(directory: &Arc<Dentry>) -> Result<()> {
    let inode = real::inode_of(directory)?;
    if inode.ops.has_acls() {
        real::set_acl(&inode, acl::Kind::Default, None)?;
        real::set_acl(&inode, acl::Kind::Access, None)?;
    }
    Ok(())
}

/// Removes a file of a layer with all that is below it.
pub fn remove_all(place: &Path, parent: &Path, credentials: &Arc<Credentials>) -> Result<()> {
    // Each with its directory; what was found last goes first, so that directories are empty when their turn comes.
    let mut pending = alloc::vec![(parent.clone(), place.clone())];
    let mut index = 0;
    while let Some((_, here)) = pending.get(index) {
        let here = here.clone();
        index += 1;
        if here.dentry().is_directory() {
            for entry in real::list(here.clone(), credentials)? {
                let child = walk::look_up(here.dentry(), &entry.name)?;
                pending.push((here.clone(), here.at(child)));
            }
        }
    }
    pending.iter().rev().try_for_each(|(directory, file)| real::remove(directory.dentry(), file.dentry()))
}

impl Overlay {
    /// `uuid=auto` is on for a new upper layer, whose top gets a number; one that was used before without keeps none.
    pub fn settle_uuid(&mut self) -> Result<()> {
        let Some(upper) = &self.layers.upper else { return Ok(()) };
        if matches!(self.options.uuid, Uuid::Null | Uuid::Off) {
            return Ok(());
        }
        let top = real::inode_of(upper.root.dentry())?;
        let mut uuid = Uuid::On;
        if !self.is_marked(&top, Mark::Uuid)? {
            let mut number = [0; 16];
            crate::dev::random::fill(&mut number);
            let is_old = self.options.uuid == Uuid::Auto && self.is_marked(&top, Mark::Impure)?;
            if is_old || self.set_mark(&top, Mark::Uuid, &number).is_err() {
                uuid = Uuid::Null;
            }
        }
        self.options.uuid = uuid;
        Ok(())
    }
}
