//! The kernel's part that is about names: the path walk (L1 to L6), and making, removing and renaming names (L16, L17).

use graft::memory_vfs::DentryNumber;
use graft::seam::{DentryKind, Vfs};

use super::{Failure, Outcome, Place, Task, World};

impl World {
    /// Walks a path. Crosses after each component, not at the start (L1, L2).
    pub fn walk(&self, index: usize, path: &str) -> Outcome<Place> {
        let task = &self.tasks[index];
        let mut place = if path.starts_with('/') { task.root.clone() } else { task.cwd.clone() };
        for component in path.split('/') {
            place = match component {
                "" | "." => continue,
                ".." => self.walk_up(&task.root, place),
                name => self.walk_down(&place, name)?,
            };
            place = self.forest.top_of_stack(&place);
        }
        Ok(place)
    }

    pub fn walk_directory(&self, index: usize, path: &str) -> Outcome<Place> {
        let place = self.walk(index, path)?;
        match self.forest.vfs().dentry_kind(&place.dentry) {
            DentryKind::Directory => Ok(place),
            _ => Err(Failure::of_kernel("ENOTDIR")),
        }
    }

    fn walk_down(&self, place: &Place, name: &str) -> Outcome<Place> {
        let vfs = self.forest.vfs();
        if vfs.dentry_kind(&place.dentry) != DentryKind::Directory {
            return Err(Failure::of_kernel("ENOTDIR"));
        }
        let dentry = vfs.lookup(place.dentry, name).ok_or(Failure::of_kernel("ENOENT"))?;
        Ok(Place::new(place.mount, dentry))
    }

    /// L5
    fn walk_up(&self, root: &Place, mut place: Place) -> Place {
        loop {
            if place.mount == root.mount && place.dentry == root.dentry {
                return place;
            }
            if self.forest.root(place.mount) != Some(&place.dentry) {
                let parent = self.forest.vfs().parent_of(place.dentry);
                return Place::new(place.mount, parent.unwrap_or(place.dentry));
            }
            match self.forest.follow_up(place.mount) {
                Some(above) => place = above,
                None => return place,
            }
        }
    }

    /// The directory of a path and its last name.
    fn walk_to_parent<'a>(&self, index: usize, path: &'a str) -> Outcome<(Place, &'a str)> {
        let (directory, name) = match path.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((directory, name)) => (directory, name),
            None => (".", path),
        };
        Ok((self.walk(index, directory)?, name))
    }

    /// L16: a mountpoint of the task's own namespace cannot be removed or renamed.
    fn require_no_mountpoint(&self, index: usize, dentry: DentryNumber) -> Outcome {
        match self.forest.is_mountpoint_in(&dentry, self.tasks[index].namespace) {
            true => Err(Failure::of_kernel("EBUSY")),
            false => Ok(()),
        }
    }

    fn remove(&mut self, dentry: DentryNumber) {
        self.forest.vfs_mut().unlink(dentry);
        // L17
        drop(self.forest.detach_mounts(&dentry));
    }
}

impl Task {
    pub fn mkdir(&self, path: &str) -> Outcome {
        self.create(path, DentryKind::Directory)
    }

    /// Makes a directory and those above it that are missing.
    pub fn mkdir_all(&self, path: &str) -> Outcome {
        for (end, _) in path.match_indices('/').filter(|&(end, _)| end > 0) {
            match self.mkdir(&path[..end]) {
                Err(failure) if failure.errno != "EEXIST" => return Err(failure),
                _ => {}
            }
        }
        self.mkdir(path)
    }

    pub fn touch(&self, path: &str) -> Outcome {
        self.create(path, DentryKind::Other)
    }

    pub fn create(&self, path: &str, kind: DentryKind) -> Outcome {
        self.world.change(|world| {
            let (directory, name) = world.walk_to_parent(self.index, path)?;
            let vfs = world.forest.vfs_mut();
            if vfs.lookup(directory.dentry, name).is_some() {
                return Err(Failure::of_kernel("EEXIST"));
            }
            vfs.create(directory.dentry, name, kind).ok_or(Failure::of_kernel("ENOENT"))?;
            Ok(())
        })
    }

    pub fn rmdir(&self, path: &str) -> Outcome {
        self.world.change(|world| {
            let (directory, name) = world.walk_to_parent(self.index, path)?;
            let dentry = world.walk_down(&directory, name)?.dentry;
            world.require_no_mountpoint(self.index, dentry)?;
            if !world.forest.vfs().is_empty(dentry) {
                return Err(Failure::of_kernel("ENOTEMPTY"));
            }
            world.remove(dentry);
            Ok(())
        })
    }

    pub fn rename(&self, from: &str, to: &str) -> Outcome {
        self.world.change(|world| {
            let (old_directory, old_name) = world.walk_to_parent(self.index, from)?;
            let (new_directory, new_name) = world.walk_to_parent(self.index, to)?;
            if old_directory.mount != new_directory.mount {
                return Err(Failure::of_kernel("EXDEV"));
            }
            let dentry = world.walk_down(&old_directory, old_name)?.dentry;
            world.require_no_mountpoint(self.index, dentry)?;
            if let Some(victim) = world.forest.vfs().lookup(new_directory.dentry, new_name) {
                world.require_no_mountpoint(self.index, victim)?;
                world.remove(victim);
            }
            world.forest.vfs_mut().rename(dentry, new_directory.dentry, new_name);
            Ok(())
        })
    }

    /// The names in a directory, as the walk sees it.
    pub fn list(&self, path: &str) -> Vec<String> {
        self.at(path, |world, place| world.forest.vfs().names(place.dentry).map(str::to_string).collect())
    }
}
