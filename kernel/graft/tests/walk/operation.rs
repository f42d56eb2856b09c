//! What a walk consists of: operations over a small world of paths, drawn by proptest or from a seed.

use crate::model::Kind;
use proptest::prelude::*;

/// Directories that every tmpfs of the walk is born with.
pub(crate) const DIRECTORIES: [&str; 4] = ["s", "t", "s/k", "u"];

/// Places that operations name. Those below a mountpoint exist because of [`DIRECTORIES`].
pub(crate) const PATHS: [&str; 18] = [
    "/x", "/x/s", "/x/t", "/x/u", "/x/s/k", "/x/s/s", "/x/s/t", "/x/t/s", "/x/t/t", "/x/t/s/k", "/x/s/s/k", "/x/u/s", "/x/u/t", "/x/s/s/t",
    ".", "s", "t", "..",
];

/// The most agents (each in a namespace of its own unless it shares its maker's).
pub(crate) const AGENTS: usize = 4;

/// One step of a walk. Paths are indices into [`PATHS`]; held descriptors are named by
/// their place in the list of those open.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    NewMount { agent: usize, path: usize },
    Bind { agent: usize, source: usize, target: usize, recursive: bool },
    Move { agent: usize, source: usize, target: usize, beneath: bool },
    ChangeType { agent: usize, path: usize, kind: Kind, recursive: bool },
    Umount { agent: usize, path: usize, lazy: bool },
    MakeDirectory { agent: usize, path: usize },
    RemoveDirectory { agent: usize, path: usize },
    PivotRoot { agent: usize, new_root: usize, put_old: usize },
    SetGroup { agent: usize, from: usize, to: usize },
    ChangeDirectory { agent: usize, path: usize },
    ChangeRoot { agent: usize, path: usize },
    Hold { agent: usize, path: usize },
    Release { held: usize },
    OpenTree { agent: usize, path: usize, recursive: bool },
    AttachTree { agent: usize, tree: usize, target: usize },
    CloseTree { tree: usize },
    Unshare { parent: usize, child: usize, new_owner: bool },
    Exit { agent: usize },
}

impl Operation {
    /// Who does it, if it is somebody's.
    pub(crate) fn agent_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::NewMount { agent, .. }
            | Self::Bind { agent, .. }
            | Self::Move { agent, .. }
            | Self::ChangeType { agent, .. }
            | Self::Umount { agent, .. }
            | Self::MakeDirectory { agent, .. }
            | Self::RemoveDirectory { agent, .. }
            | Self::PivotRoot { agent, .. }
            | Self::SetGroup { agent, .. }
            | Self::ChangeDirectory { agent, .. }
            | Self::ChangeRoot { agent, .. }
            | Self::Hold { agent, .. }
            | Self::OpenTree { agent, .. }
            | Self::AttachTree { agent, .. }
            | Self::Unshare { parent: agent, .. }
            | Self::Exit { agent } => Some(agent),
            Self::Release { .. } | Self::CloseTree { .. } => None,
        }
    }

    /// Any operation, the frequent ones of a container host more often.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let agent = 0..AGENTS;
        let path = 0..PATHS.len();
        let kind = prop_oneof![4 => Just(Kind::Shared), 3 => Just(Kind::Slave), 1 => Just(Kind::Private), 1 => Just(Kind::Unbindable)];
        let two = (agent.clone(), path.clone(), path.clone());
        let one = (agent.clone(), path.clone());
        prop_oneof![
            12 => one.clone().prop_map(|(agent, path)| Self::NewMount { agent, path }),
            10 => (two.clone(), any::<bool>()).prop_map(|((agent, source, target), recursive)| Self::Bind { agent, source, target, recursive }),
            6 => (two.clone(), prop::bool::weighted(0.3)).prop_map(|((agent, source, target), beneath)| Self::Move { agent, source, target, beneath }),
            14 => (one.clone(), kind, prop::bool::weighted(0.4)).prop_map(|((agent, path), kind, recursive)| Self::ChangeType { agent, path, kind, recursive }),
            12 => (one.clone(), any::<bool>()).prop_map(|((agent, path), lazy)| Self::Umount { agent, path, lazy }),
            1 => one.clone().prop_map(|(agent, path)| Self::MakeDirectory { agent, path }),
            2 => one.clone().prop_map(|(agent, path)| Self::RemoveDirectory { agent, path }),
            2 => two.clone().prop_map(|(agent, new_root, put_old)| Self::PivotRoot { agent, new_root, put_old }),
            2 => two.prop_map(|(agent, from, to)| Self::SetGroup { agent, from, to }),
            3 => one.clone().prop_map(|(agent, path)| Self::ChangeDirectory { agent, path }),
            1 => one.clone().prop_map(|(agent, path)| Self::ChangeRoot { agent, path }),
            1 => one.clone().prop_map(|(agent, path)| Self::Hold { agent, path }),
            1 => (0..4usize).prop_map(|held| Self::Release { held }),
            2 => (one.clone(), any::<bool>()).prop_map(|((agent, path), recursive)| Self::OpenTree { agent, path, recursive }),
            2 => (agent.clone(), 0..3usize, path.clone()).prop_map(|(agent, tree, target)| Self::AttachTree { agent, tree, target }),
            1 => (0..3usize).prop_map(|tree| Self::CloseTree { tree }),
            3 => (agent.clone(), agent.clone(), prop::bool::weighted(0.3)).prop_map(|(parent, child, new_owner)| Self::Unshare { parent, child, new_owner }),
            1 => agent.prop_map(|agent| Self::Exit { agent }),
        ]
    }
}
