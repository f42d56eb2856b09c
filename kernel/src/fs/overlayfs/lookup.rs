//! Finding a name in the layers: the upper one first, then the lower ones of the directory, down to the first that hides the rest.

use super::marks::Mark;
use super::node::{Lower, Node, Real};
use super::options::Redirects;
use super::{Overlay, real};
use crate::errno::{Errno, Result};
use crate::fs::permission::{self, Access};
use crate::fs::walk;
use crate::fs::{Dentry, FileType, Inode, SuperBlock};
use alloc::{sync::Arc, vec::Vec};

/// What one layer has under a name.
enum Found {
    Nothing,
    /// A whiteout, or something else in the way: lower layers do not count.
    Barrier,
    /// A file of another type than directory.
    File(Arc<Dentry>, Arc<Inode>),
    Directory(Arc<Dentry>, Arc<Inode>),
}

/// What is known on the way down.
struct Search<'a> {
    overlay: &'a Overlay,
    /// Components, from the directory of each layer or from the layers' tops.
    names: Vec<Vec<u8>>,
    from_top: bool,
    found: Real,
    is_directory: bool,
    /// What was found last has attributes only: its content is further down.
    lacks_content: bool,
    is_redirected: bool,
    is_over: bool,
}

impl Overlay {
    /// The inode of the top.
    pub fn root(self: &Arc<Self>, superblock: &Arc<SuperBlock>) -> Result<Arc<Inode>> {
        let upper = self.layers.upper.as_ref().map(|upper| upper.root.dentry().clone());
        let lowers = self.layers.lowers.iter().enumerate().filter(|(_, lower)| !lower.is_data);
        let lowers = lowers.map(|(layer, lower)| Lower { layer, dentry: lower.path.dentry().clone() }).collect();
        Node::make(self, superblock, Real { upper, lowers, lacks_content: false, is_indexed: false })
    }

    /// What `name` in a directory of the overlay stands for; `None` if for nothing.
    pub fn find(&self, directory: &Real, name: &[u8]) -> Result<Option<Real>> {
        let mut search = Search {
            overlay: self,
            names: alloc::vec![name.to_vec()],
            from_top: false,
            found: Real { upper: None, lowers: Vec::new(), lacks_content: false, is_indexed: false },
            is_directory: false,
            lacks_content: false,
            is_redirected: false,
            is_over: false,
        };
        if let Some(upper) = &directory.upper {
            match self.look_at(upper, name)? {
                Found::Nothing => {}
                Found::Barrier => return Ok(None),
                Found::File(dentry, inode) => {
                    search.found.upper = Some(dentry);
                    search.enter_file(&inode)?;
                }
                Found::Directory(dentry, inode) => {
                    search.found.upper = Some(dentry);
                    search.enter_directory(&inode)?;
                }
            }
        }
        search.descend(directory)?;
        search.consult_index()?;
        let found = search.found;
        Ok(if found.upper.is_none() && found.lowers.is_empty() { None } else { Some(found) })
    }

    /// Whether lower layers have something under `name` in the directory: then its removal must leave a whiteout.
    pub fn lower_has(&self, directory: &Real, name: &[u8]) -> Result<bool> {
        for lower in &directory.lowers {
            match self.look_at(&lower.dentry, name)? {
                Found::Nothing => {}
                Found::Barrier => return Ok(false),
                Found::File(..) | Found::Directory(..) => return Ok(true),
            }
        }
        Ok(false)
    }

    fn look_at(&self, directory: &Arc<Dentry>, name: &[u8]) -> Result<Found> {
        let Some(inode) = directory.inode() else { return Ok(Found::Nothing) };
        permission::check(&inode, &self.mounter, Access::EXECUTE)?;
        let dentry = match walk::look_up(directory, name) {
            Ok(dentry) => dentry,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let Some(inode) = dentry.inode() else { return Ok(Found::Nothing) };
        if self.hides(&inode)? {
            return Ok(Found::Barrier);
        }
        if inode.file_type != FileType::Directory {
            return Ok(Found::File(dentry, inode));
        }
        if self.layers.is_trap(&dentry) { Err(Errno::LOOP) } else { Ok(Found::Directory(dentry, inode)) }
    }

    /// Whether a file of a layer says that its name is gone: a device 0:0, or an empty file with a mark.
    pub fn hides(&self, inode: &Arc<Inode>) -> Result<bool> {
        if inode.file_type != FileType::Regular {
            return Ok(real::is_whiteout(inode));
        }
        Ok(inode.ops.attributes(inode)?.size_bytes == 0 && self.is_marked(inode, Mark::Whiteout)?)
    }

    /// Whether a directory of a layer hides what is below it.
    fn is_opaque(&self, inode: &Arc<Inode>) -> Result<bool> {
        Ok(self.mark(inode, Mark::Opaque)?.as_deref() == Some(b"y"))
    }
}

impl Search<'_> {
    /// A directory was found: what it says of those below.
    fn enter_directory(&mut self, inode: &Arc<Inode>) -> Result<()> {
        self.is_directory = true;
        if self.overlay.is_opaque(inode)? {
            self.is_over = true;
            return Ok(());
        }
        self.take_redirect(inode)
    }

    /// Another file was found: only a metacopy lets the search go on, for its content.
    fn enter_file(&mut self, inode: &Arc<Inode>) -> Result<()> {
        let is_first = self.found.lowers.len() + usize::from(self.found.upper.is_some()) <= 1;
        self.lacks_content = inode.file_type == FileType::Regular && self.overlay.is_marked(inode, Mark::Metacopy)?;
        self.found.lacks_content |= is_first && self.lacks_content;
        if self.lacks_content && !self.overlay.options.metacopy {
            return Err(Errno::PERM);
        }
        self.is_over = !self.lacks_content;
        if self.lacks_content { self.take_redirect(inode) } else { Ok(()) }
    }

    /// `EINVAL` for a redirect that is neither a name nor a path from the top, `EACCES` for one that would climb.
    fn take_redirect(&mut self, inode: &Arc<Inode>) -> Result<()> {
        let Some(redirect) = self.overlay.mark(inode, Mark::Redirect)? else { return Ok(()) };
        let from_top = redirect.first() == Some(&b'/');
        let path = redirect.strip_prefix(b"/").unwrap_or(&redirect);
        let names: Vec<Vec<u8>> = path.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect();
        if names.iter().any(Vec::is_empty) || (!from_top && names.len() != 1) {
            return Err(Errno::INVAL);
        }
        if names.iter().any(|name| name == b"." || name == b"..") {
            return Err(Errno::ACCES);
        }
        if !from_top && self.from_top {
            // A name in the directory that the redirect from the top led to.
            self.names.pop();
            self.names.extend(names);
        } else {
            (self.names, self.from_top) = (names, from_top);
        }
        self.is_redirected = true;
        Ok(())
    }

    /// Asks the lower layers in their order. A redirect from the top asks those, too, that the directory itself is not in.
    fn descend(&mut self, directory: &Real) -> Result<()> {
        let overlay = self.overlay;
        for (layer, top) in overlay.layers.lowers.iter().enumerate() {
            let is_wanted = !top.is_data || (self.lacks_content && self.from_top);
            let start = if self.from_top {
                Some(top.path.dentry().clone())
            } else {
                directory.lowers.iter().find(|lower| lower.layer == layer).map(|lower| lower.dentry.clone())
            };
            let (Some(start), false, true) = (start, self.is_over, is_wanted) else { continue };
            if self.is_redirected && overlay.options.redirects == Redirects::NoFollow {
                return Err(Errno::PERM);
            }
            match self.look_along(&start)? {
                Found::Nothing => {}
                Found::Directory(dentry, inode) if !self.lacks_content => {
                    self.found.lowers.push(Lower { layer, dentry });
                    self.enter_directory(&inode)?;
                }
                Found::File(dentry, inode) if !self.is_directory => {
                    self.found.lowers.push(Lower { layer, dentry });
                    self.enter_file(&inode)?;
                }
                _ => break,
            }
        }
        // Attributes whose content is nowhere.
        if self.lacks_content { Err(Errno::IO) } else { Ok(()) }
    }

    /// What came up by another name counts by this one, too; what was made from a lower file knows that file.
    fn consult_index(&mut self) -> Result<()> {
        let (overlay, found) = (self.overlay, &mut self.found);
        if !overlay.options.index {
            return Ok(());
        }
        if self.is_directory {
            if let (Some(_), Some(lower)) = (&found.upper, found.lowers.first()) {
                found.is_indexed = overlay.index_entry(&real::inode_of(&lower.dentry)?)?.is_some();
            }
            return Ok(());
        }
        match (&found.upper, found.lowers.first()) {
            (None, Some(lower)) => {
                found.upper = overlay.indexed_copy(lower)?;
                found.is_indexed = found.upper.is_some();
                if let Some(inode) = found.upper.as_ref().and_then(|upper| upper.inode()) {
                    found.lacks_content = overlay.is_marked(&inode, Mark::Metacopy)?;
                }
            }
            (Some(upper), lower) => {
                let origin = overlay.indexed_origin(&real::inode_of(upper)?)?;
                found.is_indexed = origin.is_some();
                found.lowers.extend(origin.filter(|_| lower.is_none()));
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Looks at one layer, component by component.
    fn look_along(&mut self, start: &Arc<Dentry>) -> Result<Found> {
        let mut at = start.clone();
        let Some((last, leading)) = self.names.split_last() else { return Err(Errno::STALE) };
        for name in leading {
            match self.overlay.look_at(&at, name)? {
                Found::Directory(dentry, inode) => {
                    // Its layer's part of the way hides those further down.
                    self.is_over |= self.overlay.is_opaque(&inode)?;
                    at = dentry;
                }
                Found::Nothing => return Ok(Found::Nothing),
                _ => return Ok(Found::Barrier),
            }
        }
        self.overlay.look_at(&at, last)
    }
}
