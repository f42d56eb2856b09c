//! The path walk: from a name to a place (`path_resolution(7)`, rules L1 to L14).
//!
//! A [`Walk`] holds what is left of the name. Symbolic links are spliced in front of it, so a walk is one loop without recursion.
//! Mounts are crossed through graft; no lock is held while a filesystem is asked. What needs no filesystem to be asked is skimmed
//! over (`walk_cached`); the loop here takes what is left.

use crate::errno::{Errno, Result};
use crate::fs::permission::{self, Access};
use crate::fs::{Dentry, FileType, Inode, Path, attributes, mount};
use crate::task::Credentials;
use alloc::{borrow::Cow, sync::Arc, vec::Vec};
use bitflags::bitflags;
use core::ops::Range;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

/// Most symbolic links that one walk follows.
const MAX_LINKS: u32 = 40;

bitflags! {
    /// How a whole name is resolved.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LookupFlags: u32 {
        /// Follow a symbolic link that the whole name leads to.
        const FOLLOW = 1;
        /// The name must lead to a directory (`ENOTDIR`).
        const DIRECTORY = 2;
        /// An empty name means the starting point (`AT_EMPTY_PATH`).
        const EMPTY_PATH = 4;
    }
}

bitflags! {
    /// `RESOLVE_*` of `openat2(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs)]
    pub struct Resolve: u64 {
        const NO_XDEV = sys::RESOLVE_NO_XDEV as u64;
        const NO_MAGICLINKS = sys::RESOLVE_NO_MAGICLINKS as u64;
        const NO_SYMLINKS = sys::RESOLVE_NO_SYMLINKS as u64;
        const BENEATH = sys::RESOLVE_BENEATH as u64;
        const IN_ROOT = sys::RESOLVE_IN_ROOT as u64;
        const CACHED = sys::RESOLVE_CACHED as u64;
    }
}

/// What the last component of a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastKind {
    /// An ordinary name.
    Normal,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// There is none: the name was empty, made of slashes, or a link led straight to the object.
    Root,
}

/// The last component of a name, not yet looked up.
#[derive(Clone, Debug)]
pub struct Last {
    /// The component; empty for [`LastKind::Root`].
    pub name: Vec<u8>,
    /// What it is.
    pub kind: LastKind,
    /// Slashes follow it: it must be a directory.
    pub trailing_slash: bool,
}

/// A component that stands in [`Walk::pending`].
pub(super) struct Component {
    pub name: Range<usize>,
    pub kind: LastKind,
    pub trailing_slash: bool,
}

/// The first component of `pending` at or behind `next`.
pub(super) fn component_at(pending: &[u8], next: usize) -> Option<Component> {
    let begin = next + pending[next..].iter().position(|&byte| byte != b'/')?;
    let rest = &pending[begin..];
    let len_bytes = memchr::memchr(b'/', rest).unwrap_or(rest.len());
    let kind = match &rest[..len_bytes] {
        b"." => LastKind::Dot,
        b".." => LastKind::DotDot,
        _ => LastKind::Normal,
    };
    let name = begin..begin + len_bytes;
    Some(Component { trailing_slash: name.end < pending.len(), name, kind })
}

/// What a walk may see and where it begins: taken from a thread, or put together by the kernel for itself.
#[derive(Clone)]
pub struct Start {
    /// Where `/` leads.
    pub root: Path,
    /// Where a relative name begins; `None` for the root.
    pub directory: Option<Path>,
    /// For whom.
    pub credentials: Arc<Credentials>,
}

impl Start {
    /// From the current thread: `directory_fd` is `AT_FDCWD` or a descriptor, which an absolute `name` does not need.
    pub fn of_current(directory_fd: i32, name: &[u8]) -> Result<Self> {
        Self::of_current_resolving(directory_fd, name, Resolve::empty())
    }

    fn of_current_resolving(directory_fd: i32, name: &[u8], resolve: Resolve) -> Result<Self> {
        let thread = crate::task::current();
        let (fs, credentials) = (thread.fs(), thread.credentials());
        let root = fs.root();
        let absolute = name.first() == Some(&b'/') && !resolve.contains(Resolve::IN_ROOT);
        if absolute {
            return Ok(Self { root, directory: None, credentials });
        }
        let directory = if directory_fd == sys::AT_FDCWD { fs.working_directory() } else { thread.files().get(directory_fd)?.path.clone() };
        if !name.is_empty() && !directory.dentry().is_directory() {
            return Err(Errno::NOTDIR);
        }
        Ok(Self { root, directory: Some(directory), credentials })
    }
}

/// A name on its way to a place.
pub struct Walk<'name> {
    root: Path,
    /// Where it is; `None` for `root`, which costs no pin.
    pub(super) current: Option<Path>,
    /// What is left of the name, from `next` on.
    pub(super) pending: Cow<'name, [u8]>,
    pub(super) next: usize,
    links_followed: u32,
    must_be_directory: bool,
    pub(super) resolve: Resolve,
    pub(super) credentials: Arc<Credentials>,
}

impl<'name> Walk<'name> {
    /// Begins a walk. `ENOENT` for an empty name, unless `allow_empty`.
    pub fn begin(start: Start, name: &'name [u8], resolve: Resolve, allow_empty: bool) -> Result<Self> {
        if name.is_empty() && !allow_empty {
            return Err(Errno::NOENT);
        }
        let scoped = resolve.intersects(Resolve::BENEATH | Resolve::IN_ROOT);
        let absolute = name.first() == Some(&b'/');
        if absolute && resolve.contains(Resolve::BENEATH) {
            return Err(Errno::XDEV);
        }
        let root = match &start.directory {
            Some(directory) if scoped => directory.clone(),
            _ => start.root,
        };
        let current = start.directory.filter(|_| !absolute);
        Ok(Self {
            root,
            current,
            pending: Cow::Borrowed(name),
            next: 0,
            links_followed: 0,
            must_be_directory: false,
            resolve,
            credentials: start.credentials,
        })
    }

    /// Begins at a thread's place.
    pub fn begin_at(directory_fd: i32, name: &'name [u8], resolve: Resolve, allow_empty: bool) -> Result<Self> {
        Self::begin(Start::of_current_resolving(directory_fd, name, resolve)?, name, resolve, allow_empty)
    }

    /// Where the walk is.
    pub fn current(&self) -> &Path {
        self.current.as_ref().unwrap_or(&self.root)
    }

    /// Goes to another dentry of the same mount.
    fn step(&mut self, dentry: Arc<Dentry>) {
        match &mut self.current {
            Some(current) => drop(current.step(dentry)),
            None => self.current = Some(self.root.at(dentry)),
        }
    }

    /// For whom it walks.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// The place where the walk ended.
    pub fn into_place(self) -> Path {
        self.current.unwrap_or(self.root)
    }

    /// Walks up to the directory of the last component.
    pub fn walk_to_parent(&mut self) -> Result<Last> {
        loop {
            self.skim(false);
            let Some(component) = self.component_before_last()? else {
                return Ok(Last { name: Vec::new(), kind: LastKind::Root, trailing_slash: false });
            };
            if self.nothing_left() {
                self.must_be_directory |= component.trailing_slash;
                let name = self.pending[component.name].to_vec();
                return Ok(Last { name, kind: component.kind, trailing_slash: component.trailing_slash });
            }
            // What is not a directory is found out when its next component is looked up.
            self.take_component(component, true)?;
        }
    }

    /// The next component, which may be looked up here; `None` at the end of the name.
    fn component_before_last(&mut self) -> Result<Option<Component>> {
        let component = self.next_component();
        if component.is_some() {
            self.check_search()?;
        }
        Ok(component)
    }

    /// Walks to the end.
    pub fn walk_to_end(&mut self, follow: bool) -> Result<()> {
        loop {
            self.skim(true);
            let Some(component) = self.component_before_last()? else { break };
            let is_last = self.nothing_left();
            self.must_be_directory |= is_last && component.trailing_slash;
            let follow = follow || !is_last || component.trailing_slash;
            self.take_component(component, follow)?;
        }
        if self.must_be_directory && !self.current().dentry().is_directory() {
            return Err(Errno::NOTDIR);
        }
        Ok(())
    }

    /// Takes one component. Returns whether it was a symbolic link that now stands in front of what is left.
    pub fn take(&mut self, component: &Last, follow: bool) -> Result<bool> {
        let dentry = if component.kind == LastKind::Normal { Some(self.look_up(&component.name)?) } else { None };
        self.arrive(component.kind, dentry, follow)
    }

    /// As [`Self::take`], of a component that is still in `pending`.
    fn take_component(&mut self, component: Component, follow: bool) -> Result<bool> {
        let dentry = if component.kind == LastKind::Normal { Some(self.look_up(&self.pending[component.name])?) } else { None };
        self.arrive(component.kind, dentry, follow)
    }

    fn arrive(&mut self, kind: LastKind, dentry: Option<Arc<Dentry>>, follow: bool) -> Result<bool> {
        match dentry {
            Some(dentry) => self.enter(dentry, follow),
            None if kind == LastKind::DotDot => self.go_up().map(|()| false),
            None => Ok(false),
        }
    }

    fn nothing_left(&self) -> bool {
        self.pending[self.next..].iter().all(|&byte| byte == b'/')
    }

    /// Parses the next component; `next` then stands right behind it, at the slashes that follow.
    fn next_component(&mut self) -> Option<Component> {
        let component = component_at(&self.pending, self.next)?;
        self.next = component.name.end;
        Some(component)
    }

    /// A component is about to be looked up here: it must be a directory that may be searched.
    fn check_search(&self) -> Result<()> {
        let inode = self.current().inode().ok_or(Errno::NOENT)?;
        if inode.file_type != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        permission::check(&inode, &self.credentials, Access::EXECUTE)
    }

    /// The dentry of a name in the current directory, negative if there is no such file.
    pub fn look_up(&self, name: &[u8]) -> Result<Arc<Dentry>> {
        let is_known = |dentry: Arc<Dentry>| dentry.inode().is_some();
        if self.resolve.contains(Resolve::CACHED) && !self.current().dentry().cached_child(name).is_some_and(is_known) {
            return Err(Errno::AGAIN);
        }
        look_up(self.current().dentry(), name)
    }

    /// Goes to `dentry` of the current directory: crosses what is mounted on it, follows it if it is a link and `follow` says so.
    /// `ENOENT` if it is negative. Returns whether a link was followed.
    pub fn enter(&mut self, dentry: Arc<Dentry>, follow: bool) -> Result<bool> {
        let crossed = if dentry.mounted.load(Ordering::Relaxed) == 0 { None } else { mount::cross(self.current().mount(), &dentry) };
        if crossed.is_some() && self.resolve.contains(Resolve::NO_XDEV) {
            return Err(Errno::XDEV);
        }
        let end = crossed.as_ref().map_or(&dentry, |place| place.dentry());
        let inode = end.inode().ok_or(Errno::NOENT)?;
        if inode.file_type == FileType::Symlink && follow {
            let link = crossed.unwrap_or_else(|| self.current().at(dentry));
            self.follow_link(&link, &inode)?;
            return Ok(true);
        }
        match crossed {
            Some(place) => self.current = Some(place),
            None => self.step(dentry),
        }
        Ok(false)
    }

    fn follow_link(&mut self, link: &Path, inode: &Arc<Inode>) -> Result<()> {
        if self.links_followed >= MAX_LINKS || self.resolve.contains(Resolve::NO_SYMLINKS) {
            return Err(Errno::LOOP);
        }
        self.links_followed += 1;
        // L12: what counts is the mount that the link lies on.
        if mount::flags(link.mount()).contains(graft::flags::MountFlags::NOSYMFOLLOW) {
            return Err(Errno::LOOP);
        }
        if self.pending[self.next..].iter().all(|byte| *byte == b'/') {
            let directory = self.current().inode().ok_or(Errno::NOENT)?;
            permission::check_follow(&directory, inode, &self.credentials)?;
        }
        attributes::touch_accessed(link, inode);
        if let Some(target) = inode.ops.magic_link(inode) {
            return self.jump(target?);
        }
        let target = inode.ops.read_link(inode)?;
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        if target.first() == Some(&b'/') {
            self.jump_to_root()?;
        }
        self.splice(target)
    }

    /// A magic link leads to the object itself, whatever its name.
    fn jump(&mut self, target: Path) -> Result<()> {
        if self.resolve.contains(Resolve::NO_MAGICLINKS) {
            return Err(Errno::LOOP);
        }
        if self.resolve.contains(Resolve::NO_XDEV) && target.mount() != self.current().mount() {
            return Err(Errno::XDEV);
        }
        if self.resolve.intersects(Resolve::BENEATH | Resolve::IN_ROOT) {
            return Err(Errno::XDEV);
        }
        self.current = Some(target);
        self.splice(Vec::new())
    }

    fn jump_to_root(&mut self) -> Result<()> {
        let leaves_mount = self.resolve.contains(Resolve::NO_XDEV) && self.current().mount() != self.root.mount();
        if self.resolve.contains(Resolve::BENEATH) || leaves_mount {
            return Err(Errno::XDEV);
        }
        self.current = None;
        Ok(())
    }

    /// Puts a link's text in front of what is left, which begins with a slash or is empty.
    fn splice(&mut self, mut text: Vec<u8>) -> Result<()> {
        let rest = &self.pending[self.next..];
        text.try_reserve(rest.len()).map_err(|_| Errno::NOMEM)?;
        text.extend_from_slice(rest);
        self.pending = Cow::Owned(text);
        self.next = 0;
        Ok(())
    }

    /// `..` (L5 to L7).
    fn go_up(&mut self) -> Result<()> {
        let start_mount = self.current().mount();
        let mut stays = false;
        loop {
            if self.current.as_ref().is_none_or(|current| *current == self.root) {
                stays = true;
                break;
            }
            match mount::follow_up(self.current()) {
                mount::Up::InMount => break,
                mount::Up::Parent(place) => self.current = Some(place),
                mount::Up::Top => {
                    stays = true;
                    break;
                }
            }
        }
        if stays {
            if self.resolve.contains(Resolve::BENEATH) {
                return Err(Errno::XDEV);
            }
        } else if let Some(parent) = self.current().dentry().parent() {
            if !mount::is_connected(self.current()) {
                return Err(Errno::NOENT);
            }
            self.step(parent);
        }
        if self.current().mount() != start_mount && self.resolve.contains(Resolve::NO_XDEV) {
            return Err(Errno::XDEV);
        }
        let dentry = self.current().dentry().clone();
        self.enter(dentry, false).map(|_| ())
    }
}

/// The dentry of `name` in `directory`, negative if there is no such file. Takes the directory's lock if the cache does not know.
pub fn look_up(directory: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
    let inode = directory.inode().ok_or(Errno::NOENT)?;
    if let Some(dentry) = cached(directory, &inode, name)? {
        return Ok(dentry);
    }
    let _changes = inode.lock.lock();
    look_up_locked(directory, name)
}

/// As [`look_up`], for a caller that holds the directory's lock.
pub fn look_up_locked(directory: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
    let inode = directory.inode().ok_or(Errno::NOENT)?;
    if let Some(dentry) = cached(directory, &inode, name)? {
        return Ok(dentry);
    }
    if directory.is_unhashed() {
        return Err(Errno::NOENT);
    }
    let superblock = &inode.superblock;
    let found = match inode.ops.lookup(&inode, name) {
        Ok(found) => Some(found),
        Err(Errno::NOENT) if superblock.ops.has_free_names() => None,
        Err(error) => return Err(error),
    };
    if let Some(found) = &found
        && found.file_type == FileType::Directory
        && superblock.ops.may_lie()
    {
        directory.require_no_loop(found)?;
    }
    let keeps = if found.is_some() { superblock.ops.keeps_dentries() } else { superblock.ops.caches_negative() };
    let dentry = directory.add_child(superblock, name, found, keeps);
    inode.ops.entered(&dentry);
    Ok(dentry)
}

/// What the cache has, if the filesystem still stands by it.
fn cached(directory: &Arc<Dentry>, inode: &Arc<Inode>, name: &[u8]) -> Result<Option<Arc<Dentry>>> {
    if name.len() > inode.superblock.ops.name_max_bytes() {
        return Err(Errno::NAMETOOLONG);
    }
    let Some(dentry) = directory.cached_child(name) else { return Ok(None) };
    if inode.superblock.ops.revalidate(&dentry) {
        return Ok(Some(dentry));
    }
    // A mountpoint keeps its dentry: what is mounted there hides what changed.
    if dentry.mounted.load(Ordering::Relaxed) != 0 {
        return Ok(Some(dentry));
    }
    dentry.unhash();
    Ok(None)
}

/// Resolves a whole name for the current thread.
pub fn lookup(directory_fd: i32, name: &[u8], flags: LookupFlags) -> Result<Path> {
    let walk = Walk::begin_at(directory_fd, name, Resolve::empty(), flags.contains(LookupFlags::EMPTY_PATH))?;
    finish(walk, flags)
}

/// Resolves a whole name from a given place, for the kernel itself.
pub fn lookup_from(start: Start, name: &[u8], flags: LookupFlags) -> Result<Path> {
    let walk = Walk::begin(start, name, Resolve::empty(), flags.contains(LookupFlags::EMPTY_PATH))?;
    finish(walk, flags)
}

fn finish(mut walk: Walk, flags: LookupFlags) -> Result<Path> {
    walk.walk_to_end(flags.contains(LookupFlags::FOLLOW))?;
    let place = walk.into_place();
    if flags.contains(LookupFlags::DIRECTORY) && !place.dentry().is_directory() {
        return Err(Errno::NOTDIR);
    }
    Ok(place)
}

/// Resolves the directory of a name's last component for the current thread.
pub fn lookup_parent(directory_fd: i32, name: &[u8]) -> Result<(Path, Last)> {
    end_at_parent(Walk::begin_at(directory_fd, name, Resolve::empty(), false)?)
}

/// As [`lookup_parent`], from a given place.
pub fn lookup_parent_from(start: Start, name: &[u8]) -> Result<(Path, Last)> {
    end_at_parent(Walk::begin(start, name, Resolve::empty(), false)?)
}

fn end_at_parent(mut walk: Walk) -> Result<(Path, Last)> {
    let last = walk.walk_to_parent()?;
    Ok((walk.into_place(), last))
}
