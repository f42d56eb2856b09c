//! A structure as text, so that two implementations can be held side by side and a difference can be read: every namespace and every
//! detached tree, mounts in pre-order with siblings sorted by mountpoint, groups renumbered in order of appearance.

use std::collections::BTreeMap;
use std::fmt::Write;

/// One mount as both sides describe it.
pub(crate) struct MountView<M, G> {
    pub(crate) children: Vec<(String, M)>,
    pub(crate) source: String,
    pub(crate) root: String,
    pub(crate) group: Option<G>,
    pub(crate) master: Option<G>,
    pub(crate) unbindable: bool,
    pub(crate) locked: bool,
}

/// Gives small numbers to groups in order of appearance.
pub(crate) struct Numbering<G> {
    known: BTreeMap<G, usize>,
}

impl<G: Ord + Copy> Numbering<G> {
    pub(crate) fn new() -> Self {
        Self { known: BTreeMap::new() }
    }

    fn number(&mut self, group: G) -> usize {
        let next = self.known.len() + 1;
        *self.known.entry(group).or_insert(next)
    }
}

/// Writes the tree below `top` with indentation; `view` describes a mount, children in order of attachment.
pub(crate) fn write_tree<M: Copy, G: Ord + Copy>(
    out: &mut String,
    numbering: &mut Numbering<G>,
    top: M,
    view: &impl Fn(M) -> MountView<M, G>,
) {
    let mut work = vec![(top, "/".to_string(), 0usize)];
    while let Some((mount, mountpoint, depth)) = work.pop() {
        let MountView { mut children, source, root, group, master, unbindable, locked, .. } = view(mount);
        let _ = write!(out, "{:indent$}{mountpoint} {source}:{root}", "", indent = depth * 2);
        if let Some(group) = group {
            let _ = write!(out, " S{}", numbering.number(group));
        }
        if let Some(master) = master {
            let _ = write!(out, " M{}", numbering.number(master));
        }
        out.push_str(if unbindable { " unbindable" } else { "" });
        out.push_str(if locked { " locked" } else { "" });
        out.push('\n');
        // A stable sort: of two mounts on one place (O5) the order of attachment decides.
        children.sort_by(|a, b| a.0.cmp(&b.0));
        work.extend(children.into_iter().rev().map(|(mountpoint, child)| (child, mountpoint, depth + 1)));
    }
}
