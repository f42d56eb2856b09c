//! Making, linking, removing and renaming: what happens in the upper layer, so that lower names are hidden where they must be.

use super::copy_up::{self, Content};
use super::layers::remove_all;
use super::node::{Node, Real};
use super::options::Redirects;
use super::{Overlay, real};
use crate::errno::{Errno, Result};
use crate::fs::permission::Access;
use crate::fs::{Attributes, Dentry, FileType, Inode, walk};
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as sys;
use real::New;

/// A name in a directory of the overlay.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The directory.
    pub directory: &'a Arc<Inode>,
    /// The name.
    pub name: &'a [u8],
}

impl Place<'_> {
    fn node(&self) -> Result<&Node> {
        Node::of(self.directory)
    }

    /// The directory in the upper layer, which the mounter must be able to change.
    fn upper(&self) -> Result<Arc<Dentry>> {
        let upper = copy_up::directory(self.directory)?;
        self.node()?.check_below(Access::WRITE | Access::EXECUTE)?;
        Ok(upper)
    }

    /// Whether lower layers have something under the name that would show if the upper one had nothing.
    fn is_in_lower(&self) -> Result<bool> {
        let node = self.node()?;
        let below = Real { upper: None, lowers: node.real().lowers };
        Ok(below.is_in_lower() && node.overlay.find(&below, self.name)?.is_some())
    }
}

/// What the upper layer has under a name: a dentry, negative if nothing, and whether it is a whiteout.
fn at(upper: &Arc<Dentry>, name: &[u8]) -> Result<(Arc<Dentry>, bool)> {
    let dentry = walk::look_up(upper, name)?;
    let is_whiteout = dentry.inode().is_some_and(|inode| real::is_whiteout(&inode));
    Ok((dentry, is_whiteout))
}

impl Overlay {
    /// Makes a directory of the upper layer hide what is below. `EIO` where marks cannot be set.
    fn make_opaque(&self, dentry: &Arc<Dentry>) -> Result<()> {
        if !self.can_mark() {
            return Err(Errno::IO);
        }
        real::set_xattr(&real::inode_of(dentry)?, &self.mark("opaque"), b"y", 0)
    }

    /// Puts a file from the directory for work in its place. A whiteout that is there changes places with it, and goes.
    fn put(&self, temporary: &Arc<Dentry>, upper: &Arc<Dentry>, name: &[u8]) -> Result<()> {
        let work = self.upper()?.work.clone();
        let (there, is_whiteout) = at(upper, name)?;
        if !is_whiteout {
            return real::rename(work.dentry(), temporary, upper, name, 0);
        }
        real::rename(work.dentry(), temporary, upper, name, sys::RENAME_EXCHANGE)?;
        real::remove(work.dentry(), &there)
    }

    /// Hides a lower name: a whiteout takes the place of what the upper layer has there, which goes.
    fn white_out(&self, upper: &Arc<Dentry>, name: &[u8]) -> Result<()> {
        let work = self.upper()?.work.clone();
        let attributes = Attributes::new(0, self.mounter.filesystem_uid, self.mounter.filesystem_gid);
        let whiteout = real::make(work.dentry(), &self.temporary_name(), &real::WHITEOUT, attributes)?;
        let (there, _) = at(upper, name)?;
        if there.inode().is_none() {
            return real::rename(work.dentry(), &whiteout, upper, name, 0);
        }
        real::rename(work.dentry(), &whiteout, upper, name, sys::RENAME_EXCHANGE)?;
        remove_all(&work.at(there), &work, &self.mounter)
    }
}

/// Makes a file.
pub fn make(place: Place, new: &New, attributes: Attributes) -> Result<Arc<Inode>> {
    let node = place.node()?;
    let overlay = &node.overlay;
    let upper = place.upper()?;
    let (_, over_whiteout) = at(&upper, place.name)?;
    let is_directory = matches!(new, New::Directory);
    let hides = is_directory && (over_whiteout || node.real().is_in_lower());
    let made = if over_whiteout || hides {
        let work = overlay.upper()?.work.clone();
        let temporary = real::make(work.dentry(), &overlay.temporary_name(), new, attributes)?;
        let placed = if hides { overlay.make_opaque(&temporary) } else { Ok(()) };
        let placed = placed.and_then(|()| overlay.put(&temporary, &upper, place.name));
        if let Err(error) = placed {
            let _ = real::remove(work.dentry(), &temporary);
            return Err(error);
        }
        temporary
    } else {
        real::make(&upper, place.name, new, attributes)?
    };
    Node::make(overlay, &place.directory.superblock, Real { upper: Some(made), lowers: Vec::new() })
}

/// Gives a file another name.
pub fn link(place: Place, target: &Arc<Inode>) -> Result<()> {
    let file = copy_up::file(target, Content::All)?;
    let inode = real::inode_of(&file)?;
    let overlay = &place.node()?.overlay;
    let upper = place.upper()?;
    let attributes = inode.ops.attributes(&inode)?;
    if at(&upper, place.name)?.1 {
        let temporary = real::make(overlay.upper()?.work.dentry(), &overlay.temporary_name(), &New::Link(&inode), attributes)?;
        overlay.put(&temporary, &upper, place.name)?;
    } else {
        real::make(&upper, place.name, &New::Link(&inode), attributes)?;
    }
    if file.is_unhashed() {
        // It had no name until now (`O_TMPFILE`): this is where it is.
        Node::of(target)?.came_up(target, walk::look_up(&upper, place.name)?);
    }
    refresh(target)
}

/// Takes a name away, a directory's if nothing is seen in it.
pub fn remove(place: Place, target: &Arc<Inode>) -> Result<()> {
    let node = Node::of(target)?;
    let overlay = &node.overlay;
    if target.file_type == FileType::Directory {
        require_empty(target)?;
    }
    let upper = place.upper()?;
    if place.is_in_lower()? {
        overlay.white_out(&upper, place.name)?;
    } else {
        let (there, _) = at(&upper, place.name)?;
        let root = &overlay.upper()?.root;
        // A directory may hold whiteouts of what is not below it any more.
        remove_all(&root.at(there), &root.at(upper), &overlay.mounter)?;
    }
    refresh(target)
}

fn require_empty(directory: &Arc<Inode>) -> Result<()> {
    let node = Node::of(directory)?;
    if node.overlay.entries(&node.real())?.is_empty() { Ok(()) } else { Err(Errno::NOTEMPTY) }
}

/// The attributes of a file as they are now, for those who keep them.
fn refresh(inode: &Arc<Inode>) -> Result<()> {
    inode.ops.attributes(inode).map(|_| ())
}

/// Renames, or lets two files change places.
pub fn rename(old: Place, moved: &Arc<Inode>, new: Place, victim: Option<&Arc<Inode>>, flags: u32) -> Result<()> {
    if flags & !(sys::RENAME_EXCHANGE | sys::RENAME_NOREPLACE) != 0 {
        return Err(Errno::INVAL);
    }
    let exchanges = flags & sys::RENAME_EXCHANGE != 0;
    let overlay = &Node::of(moved)?.overlay;
    overlay.check_movable(moved)?;
    match victim {
        Some(victim) if exchanges => overlay.check_movable(victim)?,
        Some(victim) if victim.file_type == FileType::Directory => require_empty(victim)?,
        _ => {}
    }
    let file = copy_up::file(moved, Content::All)?;
    if let Some(victim) = victim.filter(|_| exchanges) {
        copy_up::file(victim, Content::All)?;
    }
    let (from, to) = (old.upper()?, new.upper()?);
    let (old_shows, new_shows) = (old.is_in_lower()?, new.is_in_lower()?);
    prepare(overlay, moved, old, &file, new_shows)?;
    if exchanges {
        let other = victim.ok_or(Errno::NOENT)?;
        let other_file = copy_up::file(other, Content::All)?;
        prepare(overlay, other, new, &other_file, old_shows)?;
        return real::rename(&from, &file, &to, new.name, sys::RENAME_EXCHANGE);
    }
    let (there, is_whiteout) = at(&to, new.name)?;
    if let Some(inode) = there.inode()
        && (is_whiteout || inode.file_type == FileType::Directory)
    {
        // A whiteout, or an empty directory with whiteouts in it, is nothing to the overlay, but in the way below.
        let work = overlay.upper()?.work.clone();
        let name = overlay.temporary_name();
        real::rename(&to, &there, work.dentry(), &name, 0)?;
        if let Err(error) = move_away(&from, &file, &to, new.name, old_shows) {
            let _ = real::rename(work.dentry(), &there, &to, new.name, 0);
            return Err(error);
        }
        remove_all(&work.at(there), &work, &overlay.mounter)?;
    } else {
        move_away(&from, &file, &to, new.name, old_shows)?;
    }
    victim.map_or(Ok(()), refresh)
}

/// Moves a file of the upper layer; a whiteout stays where a lower name would show.
fn move_away(from: &Arc<Dentry>, file: &Arc<Dentry>, to: &Arc<Dentry>, name: &[u8], shows: bool) -> Result<()> {
    real::rename(from, file, to, name, if shows { sys::RENAME_WHITEOUT } else { 0 })
}

/// Marks a directory for its new place: where it comes from in the lower layers, or that nothing is below it there.
fn prepare(overlay: &Overlay, moved: &Arc<Inode>, old: Place, file: &Arc<Dentry>, new_shows: bool) -> Result<()> {
    if moved.file_type != FileType::Directory {
        return Ok(());
    }
    let node = Node::of(moved)?;
    if node.real().is_in_lower() {
        let redirect = redirect_to(old)?;
        return real::set_xattr(&real::inode_of(file)?, &overlay.mark("redirect"), &redirect, 0);
    }
    if new_shows { overlay.make_opaque(file) } else { Ok(()) }
}

/// Where a directory is in the lower layers, as a path from their tops: that of its parent there, and its name.
fn redirect_to(old: Place) -> Result<Vec<u8>> {
    let mut path = Vec::new();
    let parent = old.node()?.real().lowers.into_iter().next().ok_or(Errno::STALE)?;
    let top = old.node()?.overlay.layers.lowers.get(parent.layer).ok_or(Errno::STALE)?.dentry().clone();
    let mut names: Vec<Vec<u8>> = Vec::new();
    parent.dentry.visit_names(Some(&top), &mut |name| names.push(name.to_vec()));
    for name in names.iter().rev().map(Vec::as_slice).chain([old.name]) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    Ok(path)
}

impl Overlay {
    /// A directory that is more than the upper layer's moves only with redirects: `EXDEV` tells programs to copy it.
    fn check_movable(&self, moved: &Inode) -> Result<()> {
        let is_lower = moved.file_type == FileType::Directory && Node::of(moved)?.real().is_in_lower();
        if is_lower && self.options.redirects() != Redirects::On { Err(Errno::XDEV) } else { Ok(()) }
    }
}
