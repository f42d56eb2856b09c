//! The quick part of a path walk: components that the cache knows, in filesystems that live in memory.
//!
//! Nothing blocks there, so that the forest's lock is held over many components at once, and only the place where they end is pinned.
//! Whatever is out of the ordinary (a name that is not cached, a link, `..`, a filesystem that must be asked, a right that does not
//! come from the mode bits) ends it: the walk goes on in its own loop from there, which also finds the errors.

use crate::fs::walk::{Component, LastKind, Walk, component_at};
use crate::fs::{Dentry, FileType, Path, mount, permission};
use crate::task::Credentials;
use alloc::sync::Arc;
use arrayvec::ArrayVec;
use core::sync::atomic::Ordering;

/// Most components that are taken under one hold of the forest's lock.
const MOST_STEPS: usize = 8;

impl Walk<'_> {
    /// Takes components as long as that is easy. `with_last`: the last one of the name too, unless slashes follow it.
    ///
    /// Cost: two table lookups for each component, three where something is mounted.
    pub(super) fn skim(&mut self, with_last: bool) {
        while self.resolve.is_empty() && self.skim_some(with_last) {}
    }

    /// As many components as one hold of the lock allows. Returns whether there may be more.
    fn skim_some(&mut self, with_last: bool) -> bool {
        if !is_immediate(self.current().dentry()) {
            return false;
        }
        // Dropped after the lock: each may be the last reference.
        let mut passed = ArrayVec::<Arc<Dentry>, MOST_STEPS>::new();
        let _before: (Option<Path>, Option<Arc<Dentry>>);
        let _end: Arc<Dentry>;
        let forest = mount::forest().read();
        let mut mount = self.current().mount();
        while !passed.is_full() {
            let directory = passed.last().unwrap_or(self.current().dentry());
            let Some(component) = self.easy_component(with_last) else { break };
            let Some(child) = step(directory, &self.pending[component.name.clone()], &self.credentials) else { break };
            let crossed = if child.mounted.load(Ordering::Relaxed) == 0 { None } else { forest.cross_onto(mount, child.key) };
            let child = match crossed {
                Some((above, root)) => {
                    mount = above;
                    root.clone()
                }
                None => child,
            };
            let is_end = child.inode.lock().as_ref().is_none_or(|inode| inode.file_type == FileType::Symlink);
            if is_end {
                _end = child;
                break;
            }
            passed.push(child);
            self.next = component.name.end;
        }
        let is_full = passed.is_full();
        let Some(end) = passed.pop() else { return false };
        _before = match &mut self.current {
            Some(current) if current.mount() == mount => (None, Some(current.step(end))),
            current => {
                forest.pin(mount);
                (current.replace(Path::from_pinned(mount, end)), None)
            }
        };
        is_full
    }

    /// The next component, if it is an ordinary name that may be taken here.
    fn easy_component(&self, with_last: bool) -> Option<Component> {
        let component = component_at(&self.pending, self.next)?;
        let more_follows = || self.pending[component.name.end..].iter().any(|&byte| byte != b'/');
        let is_easy = component.kind == LastKind::Normal && (with_last && !component.trailing_slash || more_follows());
        is_easy.then_some(component)
    }
}

/// Whether `directory` is of a filesystem that need not be asked.
fn is_immediate(directory: &Dentry) -> bool {
    directory.inode.lock().as_ref().is_some_and(|inode| inode.superblock.ops.is_immediate())
}

/// The cached child of a directory that everybody of this class may search.
#[inline(always)]
fn step(directory: &Dentry, name: &[u8], credentials: &Credentials) -> Option<Arc<Dentry>> {
    {
        let inode = directory.inode.lock();
        let inode = inode.as_ref().filter(|inode| inode.file_type == FileType::Directory && inode.superblock.ops.is_immediate())?;
        if inode.may_have_acl() || !permission::mode_allows(&inode.attributes.lock(), credentials, permission::Access::EXECUTE) {
            return None;
        }
    }
    directory.cached_child(name)
}
