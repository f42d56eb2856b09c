//! Putting layers together: which files of which layers a name of the overlay stands for.

use super::node::{Lower, Node, Real};
use super::options::Redirects;
use super::{Overlay, real};
use crate::errno::{Errno, Result};
use crate::fs::permission::{self, Access};
use crate::fs::walk;
use crate::fs::{Dentry, FileType, Inode, SuperBlock};
use alloc::{sync::Arc, vec::Vec};

impl Overlay {
    /// The inode of the top.
    pub fn root(self: &Arc<Self>, superblock: &Arc<SuperBlock>) -> Result<Arc<Inode>> {
        let upper = self.layers.upper.as_ref().map(|upper| upper.root.dentry().clone());
        let lowers = self.layers.lowers.iter().enumerate();
        let lowers = lowers.map(|(layer, path)| Lower { layer, dentry: path.dentry().clone() }).collect();
        Node::make(self, superblock, Real { upper, lowers })
    }

    /// What `name` in a directory of the overlay stands for; `None` if for nothing.
    pub fn find(&self, directory: &Real, name: &[u8]) -> Result<Option<Real>> {
        let mut found = Real { upper: None, lowers: Vec::new() };
        let mut redirect = None;
        if let Some(upper) = &directory.upper {
            match self.child(upper, name)? {
                Child::Nothing => {}
                Child::Whiteout => return Ok(None),
                Child::Found { dentry, inode, ends } => {
                    redirect = self.redirect_of(&inode)?;
                    found.upper = Some(dentry);
                    if ends && redirect.is_none() {
                        return Ok(Some(found));
                    }
                }
            }
        }
        match redirect {
            Some(path) if path.first() == Some(&b'/') => self.find_redirected(&path, &mut found)?,
            redirect => self.find_lower(directory, redirect.as_deref().unwrap_or(name), &mut found)?,
        }
        Ok(if found.upper.is_none() && found.lowers.is_empty() { None } else { Some(found) })
    }

    /// Adds what lower layers have: directories under directories, or one file if there is nothing above it.
    fn find_lower(&self, directory: &Real, name: &[u8], found: &mut Real) -> Result<()> {
        for Lower { layer, dentry } in &directory.lowers {
            match self.child(dentry, name)? {
                Child::Nothing => {}
                Child::Whiteout => break,
                Child::Found { dentry, inode, ends } => {
                    let is_first = found.upper.is_none() && found.lowers.is_empty();
                    if inode.file_type != FileType::Directory && !is_first {
                        break;
                    }
                    found.lowers.push(Lower { layer: *layer, dentry });
                    if ends {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds what lower layers have at a path from their tops: where a directory was before it was renamed.
    fn find_redirected(&self, path: &[u8], found: &mut Real) -> Result<()> {
        let root = self.layers.lowers.iter().enumerate().map(|(layer, path)| Lower { layer, dentry: path.dentry().clone() });
        let mut here = Real { upper: None, lowers: root.collect() };
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let mut next = Real { upper: None, lowers: Vec::new() };
            self.find_lower(&here, name, &mut next)?;
            here = next;
        }
        let directories = here.lowers.into_iter().filter(|lower| lower.dentry.is_directory());
        found.lowers.extend(directories);
        Ok(())
    }

    /// What one layer has under a name.
    fn child(&self, directory: &Arc<Dentry>, name: &[u8]) -> Result<Child> {
        let Some(inode) = directory.inode() else { return Ok(Child::Nothing) };
        permission::check(&inode, &self.mounter, Access::EXECUTE)?;
        let dentry = match walk::look_up(directory, name) {
            Ok(dentry) => dentry,
            Err(Errno::NOENT) => return Ok(Child::Nothing),
            Err(error) => return Err(error),
        };
        let Some(inode) = dentry.inode() else { return Ok(Child::Nothing) };
        if real::is_whiteout(&inode) {
            return Ok(Child::Whiteout);
        }
        let ends = inode.file_type != FileType::Directory || self.is_opaque(&inode)?;
        Ok(Child::Found { dentry, inode, ends })
    }

    /// Whether a directory of a layer hides what is below it.
    pub fn is_opaque(&self, inode: &Arc<Inode>) -> Result<bool> {
        Ok(real::xattr(inode, &self.mark("opaque"))?.as_deref() == Some(b"y"))
    }

    /// Where a directory of the upper layer was in the lower ones, if it was renamed and that counts.
    fn redirect_of(&self, inode: &Arc<Inode>) -> Result<Option<Vec<u8>>> {
        if inode.file_type != FileType::Directory || self.options.redirects() == Redirects::NoFollow {
            return Ok(None);
        }
        let value = real::xattr(inode, &self.mark("redirect"))?;
        let is_sound = |value: &[u8]| !value.is_empty() && (value[0] == b'/' || !value.contains(&b'/'));
        Ok(value.filter(|value| is_sound(value)))
    }
}

enum Child {
    Nothing,
    Whiteout,
    /// `ends`: what is below it in further layers does not show.
    Found {
        dentry: Arc<Dentry>,
        inode: Arc<Inode>,
        ends: bool,
    },
}
