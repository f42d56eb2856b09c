//! Making, linking, removing and renaming: what happens in the upper layer, so that lower names are hidden where they must be.

use super::copy_up::{self, Content};
use super::marks::Mark;
use super::node::{Lower, Node, Real};
use super::options::Redirects;
use super::work::remove_all;
use super::{Overlay, index, real};
use crate::errno::{Errno, Result};
use crate::fs::acl::{self, Inherited};
use crate::fs::inode::AttributeChange;
use crate::fs::names::umask;
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
        node.overlay.lower_has(&node.real(), self.name)
    }
}

/// What a directory of the upper layer has under a name: a dentry, negative if nothing, and whether it is a whiteout.
pub fn at(upper: &Arc<Dentry>, name: &[u8]) -> Result<(Arc<Dentry>, bool)> {
    let dentry = walk::look_up(upper, name)?;
    let is_whiteout = dentry.inode().is_some_and(|inode| real::is_whiteout(&inode));
    Ok((dentry, is_whiteout))
}

impl Overlay {
    /// Makes a directory of the upper layer hide what is below.
    fn make_opaque(&self, dentry: &Arc<Dentry>) -> Result<()> {
        self.set_mark(&real::inode_of(dentry)?, Mark::Opaque, b"y")
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
pub fn make(place: Place, new: &New, mut attributes: Attributes) -> Result<Arc<Inode>> {
    let node = place.node()?;
    let overlay = &node.overlay;
    let upper = place.upper()?;
    let (_, over_whiteout) = at(&upper, place.name)?;
    let is_directory = matches!(new, New::Directory);
    let made = if over_whiteout {
        let work = overlay.upper()?.work.clone();
        if place.directory.ops.effective_acl(place.directory, acl::Kind::Default)?.is_none() && !matches!(new, New::Symlink(_)) {
            // Where the upper layer would see to it, it does not in the directory for work.
            attributes.mode &= !umask();
        }
        let inherited = acl::inherit(place.directory, new.file_type(), &mut attributes)?;
        let temporary = real::make(work.dentry(), &overlay.temporary_name(), new, attributes.clone())?;
        let placed = give_inherited(&temporary, inherited, (!matches!(new, New::Symlink(_))).then_some(attributes.mode));
        let placed = placed.and_then(|()| if is_directory { overlay.make_opaque(&temporary).map_err(|_| Errno::IO) } else { Ok(()) });
        let placed = placed.and_then(|()| overlay.put(&temporary, &upper, place.name));
        if let Err(error) = placed {
            let _ = real::remove(work.dentry(), &temporary);
            return Err(error);
        }
        temporary
    } else {
        let made = real::make(&upper, place.name, new, attributes)?;
        if is_directory && node.real().is_merged() && !overlay.options.allows_offline_changes() {
            // Nothing lies below now; the mark spares looking, and keeps out what somebody may put there.
            let _ = overlay.make_opaque(&made);
        }
        made
    };
    Node::make(overlay, &place.directory.superblock, Real::new_upper(made))
}

/// A file that was not made in its directory gets there what it would have inherited, and this mode, if it has one.
fn give_inherited(made: &Arc<Dentry>, inherited: Inherited, mode: Option<u32>) -> Result<()> {
    let inode = real::inode_of(made)?;
    for (kind, acl) in [(acl::Kind::Access, inherited.access), (acl::Kind::Default, inherited.default)] {
        if acl.is_some() {
            real::set_acl(&inode, kind, acl)?;
        }
    }
    let differs = mode.is_some() && mode != Some(inode.ops.attributes(&inode)?.mode);
    if differs { real::set_attributes(&inode, &AttributeChange { mode, ..AttributeChange::default() }) } else { Ok(()) }
}

/// Gives a file another name.
pub fn link(place: Place, target: &Arc<Inode>) -> Result<()> {
    let links = index::before_names_change(target)?;
    let file = copy_up::file(target, Content::Later)?;
    let inode = real::inode_of(&file)?;
    let overlay = &place.node()?.overlay;
    let upper = place.upper()?;
    overlay.make_impure(&upper, &file)?;
    if Node::of(target)?.real().lacks_content {
        // The content is found from every name of the file only by its path from the top.
        overlay.redirect(target, &file, None)?;
    }
    let attributes = inode.ops.attributes(&inode)?;
    if at(&upper, place.name)?.1 {
        let temporary = real::make(overlay.upper()?.work.dentry(), &overlay.temporary_name(), &New::Link(&inode), attributes)?;
        overlay.put(&temporary, &upper, place.name)?;
    } else {
        real::make(&upper, place.name, &New::Link(&inode), attributes)?;
    }
    if file.is_unhashed() {
        // It had no name until now (`O_TMPFILE`): this is where it is.
        Node::of(target)?.came_up(target, walk::look_up(&upper, place.name)?, (false, false))?;
    }
    index::after_names_change(target, links, 1)?;
    refresh(target)
}

/// Takes a name away, a directory's if nothing is seen in it.
pub fn remove(place: Place, target: &Arc<Inode>) -> Result<()> {
    let node = Node::of(target)?;
    let overlay = &node.overlay;
    if target.file_type == FileType::Directory {
        require_removable(target)?;
    }
    let links = index::before_names_change(target)?;
    let upper = place.upper()?;
    if place.is_in_lower()? {
        overlay.white_out(&upper, place.name)?;
    } else {
        let (there, _) = at(&upper, place.name)?;
        let root = &overlay.upper()?.root;
        // A directory may hold whiteouts of what is not below it any more.
        remove_all(&root.at(there), &root.at(upper), &overlay.mounter)?;
    }
    index::after_names_change(target, links, -1)?;
    refresh(target)
}

/// Only what shows no entries can be removed: `ENOTEMPTY`. Linux makes a directory with whiteouts opaque before it goes: `EIO` where it
/// cannot.
fn require_removable(directory: &Arc<Inode>) -> Result<()> {
    let node = Node::of(directory)?;
    let (overlay, real) = (&node.overlay, node.real());
    if !overlay.entries(&real)?.is_empty() {
        return Err(Errno::NOTEMPTY);
    }
    let (Some(upper), false) = (&real.upper, overlay.can_mark()) else { return Ok(()) };
    let has_whiteouts = !real::list(overlay.upper()?.root.at(upper.clone()), &overlay.mounter)?.is_empty();
    if has_whiteouts { Err(Errno::IO) } else { Ok(()) }
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
        Some(victim) if victim.file_type == FileType::Directory => require_removable(victim)?,
        _ => {}
    }
    let file = copy_up::file(moved, Content::Later)?;
    if let Some(victim) = victim.filter(|_| exchanges) {
        copy_up::file(victim, Content::Later)?;
    }
    let replaced = victim.filter(|_| !exchanges);
    let links = replaced.map_or(Ok(None), index::before_names_change)?;
    let (from, to) = (old.upper()?, new.upper()?);
    // Of several names in the upper layer, this one.
    let file = overlay.upper_name(&file, &from, old.name)?;
    let old_shows = old.is_in_lower()?;
    prepare(overlay, moved, (old, new), &file)?;
    overlay.make_impure(&to, &file)?;
    if exchanges {
        let other = victim.ok_or(Errno::NOENT)?;
        let other_file = overlay.upper_name(&copy_up::file(other, Content::Later)?, &to, new.name)?;
        prepare(overlay, other, (new, old), &other_file)?;
        overlay.make_impure(&from, &other_file)?;
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
    if let Some(replaced) = replaced {
        index::after_names_change(replaced, links, -1)?;
    }
    victim.map_or(Ok(()), refresh)
}

/// Moves a file of the upper layer; a whiteout stays where a lower name would show.
fn move_away(from: &Arc<Dentry>, file: &Arc<Dentry>, to: &Arc<Dentry>, name: &[u8], shows: bool) -> Result<()> {
    real::rename(from, file, to, name, if shows { sys::RENAME_WHITEOUT } else { 0 })
}

/// Marks a file for its new place: where it comes from in the lower layers, or that nothing is below it there. `EXDEV` where a directory
/// cannot be marked so: programs copy it then.
fn prepare(overlay: &Overlay, moved: &Arc<Inode>, (old, new): (Place, Place), file: &Arc<Dentry>) -> Result<()> {
    let node = Node::of(moved)?;
    let real = node.real();
    let is_directory = moved.file_type == FileType::Directory;
    if real.lacks_content || (is_directory && real.is_in_lower()) {
        let stays = Arc::ptr_eq(old.directory, new.directory);
        return overlay.redirect(moved, file, stays.then_some(old.name));
    }
    if is_directory && new.node()?.real().is_merged() && !overlay.is_marked(&real::inode_of(file)?, Mark::Opaque)? {
        return overlay.make_opaque(file).map_err(|_| Errno::XDEV);
    }
    Ok(())
}

impl Overlay {
    /// Writes down where a file of the upper layer has its lower part: its old name, if it stays in its directory and that is enough, or
    /// its path from the top.
    fn redirect(&self, moved: &Inode, file: &Arc<Dentry>, old_name: Option<&[u8]>) -> Result<()> {
        let inode = real::inode_of(file)?;
        let lower = Node::of(moved)?.real().lowers.into_iter().next().ok_or(Errno::STALE)?;
        // Several names of a file may lie in several directories.
        let has_one_name = moved.file_type == FileType::Directory || {
            let lower = real::inode_of(&lower.dentry)?;
            lower.ops.attributes(&lower)?.links == 1
        };
        let old_name = old_name.filter(|_| has_one_name);
        let known = self.mark(&inode, Mark::Redirect)?;
        if known.is_some_and(|known| old_name.is_some() || known.first() == Some(&b'/')) {
            return Ok(());
        }
        let redirect = match old_name {
            Some(name) => name.to_vec(),
            None => self.path_of(&lower)?,
        };
        self.set_mark(&inode, Mark::Redirect, &redirect)
    }

    /// The path of a lower file from the top of its layer.
    fn path_of(&self, lower: &Lower) -> Result<Vec<u8>> {
        let top = self.layers.lowers.get(lower.layer).ok_or(Errno::STALE)?.path.dentry().clone();
        let mut names: Vec<Vec<u8>> = Vec::new();
        lower.dentry.visit_names(Some(&top), &mut |name| names.push(name.to_vec()));
        Ok(names.iter().rev().flat_map(|name| [b"/", name.as_slice()].concat()).collect())
    }

    /// A directory that is more than the upper layer's moves only with redirects: `EXDEV` tells programs to copy it.
    fn check_movable(&self, moved: &Inode) -> Result<()> {
        let is_lower = moved.file_type == FileType::Directory && Node::of(moved)?.real().is_in_lower();
        if is_lower && self.options.redirects != Redirects::On { Err(Errno::XDEV) } else { Ok(()) }
    }
}
