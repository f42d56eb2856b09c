//! A task's mount calls: the vocabulary of the tests.

use graft::flags::{MountFlags, PropagationType, SuperblockTraits, UmountFlags};
use graft::memory_vfs::{MemoryVfs, UserNamespace};
use graft::{AttributeChange, Caller, DetachedTree, MountId, NewMount, RemountFlags, UmountOutcome};

use super::{Failure, Outcome, Place, Shared, TaskState, World, new_filesystem, source};

/// A task of the world.
#[derive(Clone)]
pub struct Task {
    pub world: Shared,
    pub index: usize,
}

/// Splits the borrow of a world into its forest and the caller that a task is.
macro_rules! caller {
    ($world:ident, $index:expr) => {{
        let task = &$world.tasks[$index];
        Caller { namespace: task.namespace, root: &task.root, credentials: &task.credentials }
    }};
}

impl Task {
    /// Mounts a new tmpfs.
    pub fn mount_tmpfs(&self, name: &str, target: &str) -> Outcome<MountId> {
        self.mount_filesystem("tmpfs", name, target, MountFlags::RELATIME)
    }

    /// Mounts a new filesystem of a type with flags.
    pub fn mount_filesystem(&self, filesystem: &str, name: &str, target: &str, flags: MountFlags) -> Outcome<MountId> {
        let traits = match filesystem {
            "proc" | "sysfs" => SuperblockTraits::MUST_BE_VISIBLE,
            "pipefs" => SuperblockTraits::NO_USER,
            _ => SuperblockTraits::ALLOWS_IDMAP,
        };
        self.world.change(|world| {
            let target = world.walk(self.index, target)?;
            let owner = world.tasks[self.index].credentials.0;
            let (superblock, root) = new_filesystem(world, filesystem, owner, traits);
            let new = NewMount { superblock, root, source: Some(source(name)), flags };
            Ok(world.forest.new_mount(&caller!(world, self.index), &new, &target)?)
        })
    }

    /// Mounts the superblock of the mount at `like` once more.
    pub fn mount_again(&self, like: &str, target: &str) -> Outcome<MountId> {
        self.world.change(|world| {
            let like = world.walk(self.index, like)?;
            let target = world.walk(self.index, target)?;
            let superblock = *world.forest.superblock(like.mount).unwrap();
            let root = world.forest.vfs().root_of(superblock);
            let new = NewMount { superblock, root, source: None, flags: MountFlags::RELATIME };
            Ok(world.forest.new_mount(&caller!(world, self.index), &new, &target)?)
        })
    }

    pub fn bind(&self, from: &str, to: &str) -> Outcome<MountId> {
        self.bind_with(from, to, false)
    }

    pub fn rbind(&self, from: &str, to: &str) -> Outcome<MountId> {
        self.bind_with(from, to, true)
    }

    fn bind_with(&self, from: &str, to: &str, recursive: bool) -> Outcome<MountId> {
        self.world.change(|world| {
            let target = world.walk(self.index, to)?;
            let source = world.walk(self.index, from)?;
            Ok(world.forest.bind(&caller!(world, self.index), &source, &target, recursive)?)
        })
    }

    pub fn move_mount(&self, from: &str, to: &str) -> Outcome {
        self.move_with(from, to, false)
    }

    pub fn move_beneath(&self, from: &str, to: &str) -> Outcome {
        self.move_with(from, to, true)
    }

    fn move_with(&self, from: &str, to: &str, beneath: bool) -> Outcome {
        self.world.change(|world| {
            let target = world.walk(self.index, to)?;
            let source = world.walk(self.index, from)?;
            drop(world.forest.move_mount(&caller!(world, self.index), &source, &target, beneath)?);
            Ok(())
        })
    }

    pub fn set_group(&self, from: &str, to: &str) -> Outcome {
        self.world.change(|world| {
            let from = world.walk(self.index, from)?;
            let to = world.walk(self.index, to)?;
            Ok(world.forest.set_group(&caller!(world, self.index), &from, &to)?)
        })
    }

    pub fn make(&self, target: &str, to: PropagationType, recursive: bool) -> Outcome {
        self.world.change(|world| {
            let target = world.walk(self.index, target)?;
            Ok(world.forest.change_type(&caller!(world, self.index), &target, to, recursive)?)
        })
    }

    pub fn make_shared(&self, target: &str) -> Outcome {
        self.make(target, PropagationType::Shared, false)
    }

    pub fn make_slave(&self, target: &str) -> Outcome {
        self.make(target, PropagationType::Slave, false)
    }

    pub fn make_private(&self, target: &str) -> Outcome {
        self.make(target, PropagationType::Private, false)
    }

    pub fn make_unbindable(&self, target: &str) -> Outcome {
        self.make(target, PropagationType::Unbindable, false)
    }

    pub fn umount(&self, target: &str) -> Outcome {
        self.umount_with(target, UmountFlags::empty()).map(|_| ())
    }

    pub fn umount_lazily(&self, target: &str) -> Outcome {
        self.umount_with(target, UmountFlags::DETACH).map(|_| ())
    }

    /// Returns whether the kernel would remount the root read-only instead (U4).
    pub fn umount_with(&self, target: &str, flags: UmountFlags) -> Outcome<bool> {
        self.world.change(|world| {
            let target = world.walk(self.index, target)?;
            // L3: the one lookup that crosses once more at its end.
            let target = world.forest.top_of_stack(&target);
            world.pin(&target);
            let outcome = world.forest.umount(&caller!(world, self.index), &target, flags, 1);
            if world.forest.unpin_no_expire(target.mount) {
                drop(world.forest.reap(target.mount));
            }
            match outcome? {
                UmountOutcome::Unmounted(released) => {
                    world.let_go(released);
                    Ok(false)
                }
                UmountOutcome::RemountRootReadOnly(_) => Ok(true),
            }
        })
    }

    pub fn pivot_root(&self, new_root: &str, put_old: &str) -> Outcome {
        self.world.change(|world| {
            let new_root = world.walk_directory(self.index, new_root)?;
            let put_old = world.walk_directory(self.index, put_old)?;
            let pivot = world.forest.pivot_root(&caller!(world, self.index), &new_root, &put_old)?;
            let is_old = |place: &Place| place.mount == pivot.old_root.mount && place.dentry == pivot.old_root.dentry;
            // R4: every task, of whatever namespace.
            for index in 0..world.tasks.len() {
                if is_old(&world.tasks[index].root) {
                    world.set_root(index, pivot.new_root.clone());
                }
                if is_old(&world.tasks[index].cwd) {
                    world.set_cwd(index, pivot.new_root.clone());
                }
            }
            world.let_go(pivot.released);
            Ok(())
        })
    }

    pub fn remount_bind(&self, target: &str, flags: MountFlags, keeps_atime: bool) -> Outcome {
        self.world.change(|world| {
            let target = world.walk(self.index, target)?;
            let flags = RemountFlags { flags, keeps_atime };
            Ok(world.forest.remount_bind(&caller!(world, self.index), &target, flags)?)
        })
    }

    pub fn set_attributes(&self, target: &str, change: &AttributeChange<MemoryVfs>, recursive: bool) -> Outcome {
        self.world.change(|world| {
            let target = world.walk(self.index, target)?;
            Ok(world.forest.set_attributes(&caller!(world, self.index), &target, change, recursive)?)
        })
    }

    /// open_tree(OPEN_TREE_CLONE), held open under a name.
    pub fn open_tree(&self, source: &str, recursive: bool, file: &str) -> Outcome<DetachedTree> {
        self.world.change(|world| {
            let source = world.walk(self.index, source)?;
            let tree = world.forest.open_tree(&caller!(world, self.index), &source, recursive)?;
            world.forest.pin(tree.root);
            world.trees.insert(file.to_string(), tree.root);
            Ok(tree)
        })
    }

    /// fsmount of a new filesystem, held open under a name.
    pub fn fsmount(&self, filesystem: &str, flags: MountFlags, file: &str) -> Outcome<DetachedTree> {
        self.world.change(|world| {
            let traits = SuperblockTraits::ALLOWS_IDMAP;
            let (superblock, root) = new_filesystem(world, filesystem, UserNamespace(0), traits);
            let new = NewMount { superblock, root, source: Some(source(filesystem)), flags };
            let tree = world.forest.fsmount(&caller!(world, self.index), &new)?;
            world.forest.pin(tree.root);
            world.trees.insert(file.to_string(), tree.root);
            Ok(tree)
        })
    }

    /// move_mount of a held detached tree.
    pub fn attach(&self, file: &str, target: &str) -> Outcome {
        self.world.change(|world| {
            let target = world.walk(self.index, target)?;
            let source = world.tree_place(file);
            drop(world.forest.move_mount(&caller!(world, self.index), &source, &target, false)?);
            Ok(())
        })
    }

    /// Closes the file of a detached tree (A5).
    pub fn close_tree(&self, file: &str) {
        self.world.change(|world| {
            let place = world.tree_place(file);
            world.trees.remove(file);
            drop(world.forest.dissolve(place.mount));
            world.unpin(&place);
        });
    }

    /// Starts a second task, in a copy of the namespace.
    pub fn unshare(&self) -> Task {
        let owner = self.world.read().tasks[self.index].credentials.0;
        self.unshare_into(owner)
    }

    /// As [`unshare`](Self::unshare), in a new user namespace.
    pub fn unshare_user(&self, owner: u32) -> Task {
        self.unshare_into(UserNamespace(owner))
    }

    fn unshare_into(&self, owner: UserNamespace) -> Task {
        let index = self.world.change(|world| {
            let parent = &world.tasks[self.index];
            let (namespace, root, cwd) = (parent.namespace, parent.root.clone(), parent.cwd.clone());
            let copy = world.forest.copy_namespace(namespace, &owner, [root.mount, cwd.mount]).unwrap();
            let [root_copy, cwd_copy] = copy.copies;
            let task = TaskState {
                name: char::from(b'A' + world.tasks.len() as u8).to_string(),
                namespace: copy.namespace,
                root: Place::new(root_copy.unwrap_or(root.mount), root.dentry),
                cwd: Place::new(cwd_copy.unwrap_or(cwd.mount), cwd.dentry),
                credentials: graft::memory_vfs::RootIn(owner),
                is_gone: false,
            };
            world.pin(&task.root);
            world.pin(&task.cwd);
            world.tasks.push(task);
            world.tasks.len() - 1
        });
        Task { world: self.world.clone(), index }
    }

    /// Ends the task, and its namespace if no one else is in it (N9).
    pub fn exit(&self) {
        self.world.change(|world| {
            let task = &mut world.tasks[self.index];
            task.is_gone = true;
            let (namespace, root, cwd) = (task.namespace, task.root.clone(), task.cwd.clone());
            world.unpin(&root);
            world.unpin(&cwd);
            if world.forest.unpin_namespace(namespace) {
                drop(world.forest.release_namespace(namespace));
            }
        });
    }

    pub fn chdir(&self, path: &str) -> Outcome {
        self.world.change(|world| {
            let place = world.walk_directory(self.index, path)?;
            world.set_cwd(self.index, place);
            Ok(())
        })
    }

    pub fn chroot(&self, path: &str) -> Outcome {
        self.world.change(|world| {
            let place = world.walk_directory(self.index, path)?;
            world.set_root(self.index, place);
            Ok(())
        })
    }

    /// Opens a file with `O_PATH` and keeps it.
    pub fn hold(&self, path: &str) -> Outcome {
        self.world.change(|world| {
            let place = world.walk(self.index, path)?;
            world.pin(&place);
            world.held.push(place);
            Ok(())
        })
    }

    /// Closes all that was held.
    pub fn release(&self) {
        self.world.change(|world| {
            for place in core::mem::take(&mut world.held) {
                world.unpin(&place);
            }
        });
    }

    /// Runs a question about a path.
    pub fn at<T>(&self, path: &str, ask: impl FnOnce(&World, &Place) -> T) -> T {
        let world = self.world.read();
        let place = world.walk(self.index, path).unwrap();
        ask(&world, &place)
    }

    /// The mount that a path ends on.
    pub fn mount_at(&self, path: &str) -> MountId {
        self.at(path, |_, place| place.mount)
    }
}

impl World {
    pub fn tree_place(&self, file: &str) -> Place {
        let mount = self.trees[file];
        Place::new(mount, *self.forest.root(mount).expect("a held mount lives"))
    }

    pub fn set_root(&mut self, index: usize, place: Place) {
        self.pin(&place);
        let old = core::mem::replace(&mut self.tasks[index].root, place);
        self.unpin(&old);
    }

    pub fn set_cwd(&mut self, index: usize, place: Place) {
        self.pin(&place);
        let old = core::mem::replace(&mut self.tasks[index].cwd, place);
        self.unpin(&old);
    }

    pub fn failure(errno: &'static str) -> Failure {
        Failure::of_kernel(errno)
    }
}
