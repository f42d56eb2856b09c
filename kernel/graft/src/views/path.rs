//! The path of a place as seen from a root directory (L8).

use alloc::vec::Vec;

use crate::caller::Place;
use crate::forest::Forest;
use crate::ids::MountSlot;
use crate::seam::{OutOfMemory, Vfs};

/// How a walk from a place up to a root ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathEnd {
    /// At the root: the path is what a program with that root can use.
    Root,
    /// At the top of the place's namespace: the place cannot be reached from the root.
    NamespaceRoot,
    /// At the top of a detached or unmounted tree.
    Detached,
    /// A rename took the place out of what its mount shows (L7).
    Escaped,
}

/// A path that grows from its end: bytes in reverse.
struct Backwards<'a> {
    bytes: &'a mut Vec<u8>,
    failed: bool,
}

impl Backwards<'_> {
    fn prepend(&mut self, name: &[u8]) {
        if self.failed || self.bytes.try_reserve(name.len() + 1).is_err() {
            self.failed = true;
            return;
        }
        self.bytes.extend(name.iter().rev());
        self.bytes.push(b'/');
    }
}

impl<V: Vfs> Forest<V> {
    /// Appends the path of a place to `path`, from `root` on, or from where the walk ended. `/` for the end itself.
    ///
    /// Cost: the depth of the place in names and mounts.
    pub fn append_path(&self, place: &Place<V>, root: &Place<V>, path: &mut Vec<u8>) -> Result<PathEnd, OutOfMemory> {
        let Some(mount) = self.find(place.mount) else {
            return Ok(PathEnd::Detached);
        };
        self.append_path_of(mount, &place.dentry, self.find(root.mount), &root.dentry, path)
    }

    pub(crate) fn append_path_of(
        &self,
        mount: MountSlot<V>,
        dentry: &V::Dentry,
        root_mount: Option<MountSlot<V>>,
        root: &V::Dentry,
        path: &mut Vec<u8>,
    ) -> Result<PathEnd, OutOfMemory> {
        let start = path.len();
        let mut backwards = Backwards { bytes: path, failed: false };
        let end = self.walk_up(mount, dentry, root_mount, root, &mut |name| backwards.prepend(name));
        if backwards.failed {
            path.truncate(start);
            return Err(OutOfMemory);
        }
        if path.len() == start {
            path.try_reserve(1)?;
            path.push(b'/');
        }
        path[start..].reverse();
        Ok(end)
    }

    /// Visits the names on the way up, deepest first.
    fn walk_up(
        &self,
        mount: MountSlot<V>,
        dentry: &V::Dentry,
        root_mount: Option<MountSlot<V>>,
        root: &V::Dentry,
        visit: &mut dyn FnMut(&[u8]),
    ) -> PathEnd {
        let (mut mount, mut dentry) = (mount, dentry);
        loop {
            if Some(mount) == root_mount && self.vfs.is_below(dentry, root) {
                self.vfs.visit_names(dentry, Some(root), visit);
                return PathEnd::Root;
            }
            let entry = &self.mounts[mount];
            if !self.vfs.visit_names(dentry, Some(&entry.root), visit) {
                return PathEnd::Escaped;
            }
            match (entry.parent, &entry.mountpoint) {
                (Some(parent), Some(mountpoint)) => (mount, dentry) = (parent, mountpoint),
                _ => {
                    let in_real_namespace = entry.namespace.is_some_and(|slot| !self.namespaces[slot].is_anonymous());
                    return if in_real_namespace { PathEnd::NamespaceRoot } else { PathEnd::Detached };
                }
            }
        }
    }
}
