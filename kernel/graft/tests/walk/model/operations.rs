//! The model: the system calls.

use super::*;

/// The operations, as one agent calls them.
impl Model {
    pub(crate) fn new_mount(&mut self, agent: usize, path: &str, source: &str, directories: &[&str]) -> Outcome {
        let place = self.place(agent, self.lookup(agent, path)?)?;
        if !self.in_own_namespace(agent, place.0) {
            return Err(Failure::Inval);
        }
        let mount = self.new_superblock_mount(source);
        for directory in directories {
            let mut at = self.mounts[mount].root;
            for name in directory.split('/') {
                at = match self.dentries[at].children.get(name) {
                    Some(&child) => child,
                    None => self.make_child(at, name),
                };
            }
        }
        self.attach_recursive(agent, mount, place, false, None)
    }

    /// B1, A2: the copy that bind and open_tree make.
    pub(super) fn copy_for_bind(&mut self, agent: usize, (mount, dentry): Spot, recursive: bool) -> Outcome<MountIndex> {
        if self.mounts[mount].unbindable || !self.in_own_namespace(agent, mount) {
            return Err(Failure::Inval);
        }
        if !recursive && self.has_locked_child_below(mount, dentry) {
            return Err(Failure::Inval);
        }
        let copy = if recursive {
            self.copy_tree(mount, dentry, false, &mut |model, old, root| model.clone_joining(old, root))?
        } else {
            self.clone_joining(mount, dentry)
        };
        self.mounts[copy].locked = false;
        Ok(copy)
    }

    pub(super) fn has_locked_child_below(&self, mount: MountIndex, dentry: DentryIndex) -> bool {
        self.mounts[mount].children.iter().any(|&child| {
            let Mount { locked, mountpoint, .. } = self.mounts[child];
            locked && mountpoint.is_some_and(|mountpoint| self.under(mountpoint, dentry))
        })
    }

    pub(crate) fn bind(&mut self, agent: usize, source: &str, target: &str, recursive: bool) -> Outcome {
        let target = self.lookup(agent, target)?;
        let source = self.lookup(agent, source)?;
        let place = self.place(agent, target)?;
        if !self.in_own_namespace(agent, place.0) {
            return Err(Failure::Inval);
        }
        let copy = self.copy_for_bind(agent, source, recursive)?;
        let attached = self.attach_recursive(agent, copy, place, false, None);
        if attached.is_err() {
            self.discard_tree(copy);
        }
        attached
    }

    pub(crate) fn move_mount(&mut self, agent: usize, source: &str, target: &str, beneath: bool) -> Outcome {
        let target_spot = self.lookup(agent, target);
        let source_spot = self.lookup(agent, source);
        // mount(MS_MOVE) looks the target up first, move_mount the source (X12).
        let (source, target) = if beneath {
            let s = source_spot?;
            (s, target_spot?)
        } else {
            let t = target_spot?;
            (source_spot?, t)
        };
        self.move_to(agent, source, target, beneath)
    }

    /// Attaches a detached tree made by [`Model::open_tree`].
    pub(crate) fn attach_detached(&mut self, agent: usize, tree: MountIndex, target: &str) -> Outcome {
        let target = self.lookup(agent, target)?;
        self.move_to(agent, (tree, self.mounts[tree].root), target, false)
    }

    pub(super) fn move_to(&mut self, agent: usize, (old, dentry): Spot, target: Spot, beneath: bool) -> Outcome {
        let (place, top) = if beneath {
            let (top, _) = self.top_of_stack(target);
            let place = match (self.mounts[top].parent, self.mounts[top].mountpoint) {
                (Some(parent), Some(mountpoint)) => (parent, mountpoint),
                _ => (top, self.mounts[top].root),
            };
            (place, Some(top))
        } else {
            (self.place(agent, target)?, None)
        };
        let attached = self.mounts[old].parent.is_some();
        let old_root = self.mounts[old].root;
        let refuse = |refused: bool| if refused { Err(Failure::Inval) } else { Ok(()) };
        refuse(!self.in_own_namespace(agent, top.unwrap_or(place.0)))?;
        let Some(namespace) = self.mounts[old].namespace else { return Err(Failure::Inval) };
        refuse(attached && !self.in_own_namespace(agent, old))?;
        refuse(!attached && !self.namespaces[namespace].anonymous)?;
        refuse(self.mounts[old].locked || dentry != old_root)?;
        refuse(self.mounts[old].parent.is_some_and(|parent| self.mounts[parent].group.is_some()))?;
        if let Some(top) = top {
            self.check_beneath(agent, old, top, self.top_of_stack(target).1, place)?;
        }
        let unbindable_inside = self.tree(old).into_iter().any(|mount| self.mounts[mount].unbindable);
        refuse(self.mounts[place.0].group.is_some() && unbindable_inside)?;
        if self.is_at_or_below(place.0, old) {
            return Err(Failure::Loop);
        }
        self.attach_recursive(agent, old, place, attached, top)
    }

    /// A9.
    pub(super) fn check_beneath(&self, agent: usize, old: MountIndex, top: MountIndex, top_dentry: DentryIndex, place: Spot) -> Outcome {
        let agent = &self.agents[&agent];
        let namespace_root = self.namespaces[agent.namespace].root;
        let refused = self.mounts[top].parent.is_none()
            || top_dentry != self.mounts[top].root
            || self.mounts[top].locked
            || self.at(old, self.mounts[old].root).is_some()
            || top == agent.root.0
            || self.mounts[top].parent == namespace_root
            || self.is_at_or_below(old, top)
            || self.would_receive_on_root(place, top)
            || self.would_receive_on_root(place, old);
        if refused { Err(Failure::Inval) } else { Ok(()) }
    }

    pub(super) fn would_receive_on_root(&self, (from, dentry): Spot, to: MountIndex) -> bool {
        let Some(group) = self.mounts[from].group else { return false };
        if self.mounts[to].namespace.is_none_or(|namespace| self.namespaces[namespace].anonymous) || self.mounts[to].root != dentry {
            return false;
        }
        let mut at = self.mounts[to].group.or(self.mounts[to].plain_master);
        while let Some(above) = at {
            if above == group {
                return true;
            }
            at = self.groups[above].master;
        }
        false
    }

    pub(crate) fn change_type(&mut self, agent: usize, path: &str, kind: Kind, recursive: bool) -> Outcome {
        let (mount, dentry) = self.lookup(agent, path)?;
        if dentry != self.mounts[mount].root || self.mounts[mount].namespace.is_none() {
            return Err(Failure::Inval); // C1, X6
        }
        for mount in if recursive { self.tree(mount) } else { vec![mount] } {
            self.change(mount, kind);
        }
        Ok(())
    }

    pub(crate) fn umount(&mut self, agent: usize, path: &str, lazy: bool) -> Outcome {
        let (mount, dentry) = self.top_of_stack(self.lookup(agent, path)?); // L3
        let namespace_root = self.namespaces[self.agents[&agent].namespace].root;
        if dentry != self.mounts[mount].root
            || !self.in_own_namespace(agent, mount)
            || self.mounts[mount].locked
            || namespace_root == Some(mount)
        {
            return Err(Failure::Inval); // U1, U5
        }
        if !lazy && self.busy(mount) {
            return Err(Failure::Busy);
        }
        self.unmount_tree(mount, true, if lazy { Parting::LockedStay } else { Parting::Apart });
        Ok(())
    }

    pub(crate) fn make_directory(&mut self, agent: usize, path: &str) -> Outcome {
        let (parent, name) = split(path);
        let (_, dentry) = self.lookup(agent, parent)?;
        if self.dentries[dentry].dead {
            return Err(Failure::NoEnt);
        }
        if self.dentries[dentry].children.contains_key(name) {
            return Err(Failure::Exist);
        }
        self.make_child(dentry, name);
        Ok(())
    }

    /// L16, L17.
    pub(crate) fn remove_directory(&mut self, agent: usize, path: &str) -> Outcome {
        let (parent, name) = split(path);
        let (_, dentry) = self.lookup(agent, parent)?;
        let victim = *self.dentries[dentry].children.get(name).ok_or(Failure::NoEnt)?;
        let own = self.agents[&agent].namespace;
        let here = |mount: &Mount| mount.mountpoint == Some(victim);
        if self.mounts.iter().any(|mount| here(mount) && mount.namespace == Some(own)) {
            return Err(Failure::Busy);
        }
        if !self.dentries[victim].children.is_empty() {
            return Err(Failure::NotEmpty);
        }
        while let Some(mount) = self.mounts.iter().position(here) {
            if self.mounts[mount].live {
                self.unmount_tree(mount, false, Parting::Together); // U17
            }
            // It may still be on its removed parent.
            self.detach(mount);
        }
        self.dentries[dentry].children.remove(name);
        self.dentries[victim].dead = true;
        Ok(())
    }

    /// R1 to R5.
    pub(crate) fn pivot_root(&mut self, agent: usize, new_root: &str, put_old: &str) -> Outcome {
        let (new, new_dentry) = self.lookup(agent, new_root)?;
        let put = self.place(agent, self.lookup(agent, put_old)?)?;
        let root = self.agents[&agent].root;
        let parent_or_self = |mount: MountIndex| self.mounts[mount].parent.unwrap_or(mount);
        let shared = |mount: MountIndex| self.mounts[mount].group.is_some();
        let refuse = |refused: bool, failure: Failure| if refused { Err(failure) } else { Ok(()) };
        refuse(shared(put.0) || shared(parent_or_self(new)) || shared(parent_or_self(root.0)), Failure::Inval)?;
        refuse(!self.in_own_namespace(agent, root.0) || !self.in_own_namespace(agent, new), Failure::Inval)?;
        refuse(self.mounts[new].locked, Failure::Inval)?;
        refuse(self.dentries[new_dentry].dead, Failure::NoEnt)?;
        refuse(new == root.0 || put.0 == root.0, Failure::Busy)?;
        let (Some(root_parent), Some(root_mountpoint)) = (self.mounts[root.0].parent, self.mounts[root.0].mountpoint) else {
            return Err(Failure::Inval);
        };
        refuse(root.1 != self.mounts[root.0].root, Failure::Inval)?;
        refuse(new_dentry != self.mounts[new].root || self.mounts[new].parent.is_none(), Failure::Inval)?;
        refuse(!self.reachable(put, (new, new_dentry)) || !self.reachable((new, new_dentry), root), Failure::Inval)?;
        if self.mounts[root.0].locked {
            self.mounts[new].locked = true;
            self.mounts[root.0].locked = false;
        }
        self.detach(new);
        self.detach(root.0);
        self.attach(root.0, put.0, put.1);
        self.attach(new, root_parent, root_mountpoint);
        for agent in self.agents.values_mut() {
            for spot in [&mut agent.root, &mut agent.working_directory] {
                if *spot == root {
                    *spot = (new, new_dentry);
                }
            }
        }
        Ok(())
    }

    pub(super) fn reachable(&self, (mut mount, mut dentry): Spot, root: Spot) -> bool {
        while mount != root.0 {
            match (self.mounts[mount].parent, self.mounts[mount].mountpoint) {
                (Some(parent), Some(mountpoint)) => (mount, dentry) = (parent, mountpoint),
                _ => return false,
            }
        }
        self.under(dentry, root.1)
    }

    /// A8.
    pub(crate) fn set_group(&mut self, agent: usize, from: &str, to: &str) -> Outcome {
        let (from, from_dentry) = self.lookup(agent, from)?;
        let (to, to_dentry) = self.lookup(agent, to)?;
        let (source, target) = (self.mounts[from].clone(), self.mounts[to].clone());
        let refused = source.namespace.is_none()
            || target.namespace.is_none()
            || from_dentry != source.root
            || to_dentry != target.root
            || source.superblock != target.superblock
            || !self.under(target.root, source.root)
            || self.has_locked_child_below(from, target.root)
            || target.group.is_some()
            || target.plain_master.is_some()
            || (source.group.is_none() && source.plain_master.is_none());
        if refused {
            return Err(Failure::Inval);
        }
        match source.group {
            Some(group) => {
                self.join(to, group);
                self.mounts[to].unbindable = false;
            }
            None => self.mounts[to].plain_master = source.plain_master,
        }
        Ok(())
    }

    pub(crate) fn open_tree(&mut self, agent: usize, path: &str, recursive: bool) -> Outcome<MountIndex> {
        let copy = self.copy_for_bind(agent, self.lookup(agent, path)?, recursive)?;
        let owner = self.namespaces[self.agents[&agent].namespace].owner;
        self.namespaces.push(Namespace { anonymous: true, root: Some(copy), owner });
        self.enter_namespace(copy, Some(self.namespaces.len() - 1));
        self.mounts[copy].holders += 1;
        Ok(copy)
    }

    /// A5: the last descriptor of a detached tree is closed.
    pub(crate) fn close_tree(&mut self, tree: MountIndex) {
        self.mounts[tree].holders -= 1;
        let anonymous = self.mounts[tree].namespace.is_some_and(|namespace| self.namespaces[namespace].anonymous);
        if anonymous && self.mounts[tree].parent.is_none() {
            self.unmount_tree(tree, false, Parting::Together);
        }
    }

    /// An O_PATH descriptor on the mount at `path`.
    pub(crate) fn hold(&mut self, agent: usize, path: &str) -> Outcome<MountIndex> {
        let (mount, _) = self.lookup(agent, path)?;
        self.mounts[mount].holders += 1;
        Ok(mount)
    }

    pub(crate) fn release(&mut self, mount: MountIndex) {
        self.mounts[mount].holders -= 1;
    }

    /// N2 to N6: `child` starts in a copy of `parent`'s namespace, owned by user namespace `owner`.
    pub(crate) fn unshare(&mut self, parent: usize, child: usize, owner: usize) {
        let old_namespace = self.agents[&parent].namespace;
        let crosses = self.namespaces[old_namespace].owner != owner;
        let top = self.namespaces[old_namespace].root.expect("a namespace has a root");
        let copied = self.copy_tree(top, self.mounts[top].root, true, &mut |model, old, root| {
            if !crosses {
                return model.clone_joining(old, root);
            }
            let copy = model.bare_copy(old, root);
            model.mounts[copy].unbindable = model.mounts[old].unbindable;
            model.mounts[copy].locked = true;
            model.mounts[copy].plain_master = model.mounts[old].group.or(model.mounts[old].plain_master);
            copy
        });
        let copy = copied.expect("a namespace copy prunes nothing");
        self.namespaces.push(Namespace { anonymous: false, root: Some(copy), owner });
        let namespace = self.namespaces.len() - 1;
        self.enter_namespace(copy, Some(namespace));
        let root = self.top_of_stack((copy, self.mounts[copy].root));
        self.agents.insert(child, Agent { namespace, root, working_directory: root });
    }

    /// N9.
    pub(crate) fn exit(&mut self, agent: usize) {
        let Some(gone) = self.agents.remove(&agent) else { return };
        if !self.agents.values().any(|other| other.namespace == gone.namespace)
            && let Some(root) = self.namespaces[gone.namespace].root.take()
        {
            self.unmount_tree(root, false, Parting::LockedStay);
        }
    }
}

fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => (".", path),
    }
}
