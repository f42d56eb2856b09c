//! Where binds are in the tree of names: a tree of the targets' components, and which of its nodes known directories are.

use asyncfuse::Inode;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The targets, as a tree of their components.
pub struct Points {
    nodes: Vec<Node>,
    /// Which node a directory that the kernel knows is, and how often the kernel looked it up.
    known: Mutex<HashMap<Inode, (usize, u64)>>,
}

#[derive(Default)]
struct Node {
    children: HashMap<OsString, usize>,
    bind: Option<usize>,
}

/// What a name is.
pub enum At {
    /// The target of this bind.
    Bind(usize),
    /// A directory on the way to one.
    Towards(usize),
}

/// Those that are never forgotten: the root, and the roots of binds.
const FOR_EVER: u64 = u64::MAX;

impl Points {
    /// No binds: only the root is known.
    pub fn new() -> Self {
        Self { nodes: vec![Node::default()], known: Mutex::new(HashMap::from([(super::ROOT, (0, FOR_EVER))])) }
    }

    /// Adds a target; `root` is the number of what is found there.
    pub fn add(&mut self, target: &Path, bind: usize, root: Inode) {
        let mut at = 0;
        for component in target {
            let next = self.nodes.len();
            at = *self.nodes[at].children.entry(component.to_owned()).or_insert(next);
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].bind = Some(bind);
        self.known().insert(root, (at, FOR_EVER));
    }

    /// What a name in a directory is, as far as binds are concerned.
    pub fn child(&self, parent: Inode, name: &OsStr) -> Option<At> {
        let (node, _) = *self.known().get(&parent)?;
        let child = *self.nodes[node].children.get(name)?;
        Some(self.nodes[child].bind.map_or(At::Towards(child), At::Bind))
    }

    /// A directory on the way to a bind was looked up.
    pub fn remember(&self, inode: Inode, node: usize) {
        let mut known = self.known();
        let (_, count) = known.entry(inode).or_insert((node, 0));
        *count = count.saturating_add(1);
    }

    /// The kernel forgot so many lookups.
    pub fn forget(&self, inode: Inode, lookups: u64) {
        let mut known = self.known();
        if let Some((_, count)) = known.get_mut(&inode).filter(|(_, count)| *count != FOR_EVER) {
            *count = count.saturating_sub(lookups);
            if *count == 0 {
                known.remove(&inode);
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Inode, (usize, u64)>> {
        // Each change is one step: a thread that panicked left nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
