//! The property: whatever operations are done, in whatever order, `graft` and the reference model give the same errno and the same
//! structure, and the forest's invariants hold after every step. proptest draws the operations and shrinks what differs.
//!
//! `PROPTEST_CASES` sets how many walks are taken (`make walk` takes many).

mod model;
mod operation;
mod snapshot;
mod subject;

use graft::flags::PropagationType;
use graft::{Errno, MountId};
use model::{Failure, Kind, Model, MountIndex};
use operation::{AGENTS, DIRECTORIES, Operation, PATHS};
use proptest::prelude::*;
use snapshot::{MountView, Numbering, write_tree};
use subject::Subject;

/// Mounts at which a walk stops making more: copies of copies grow without bound.
const MOST_MOUNTS: usize = 60;

/// Both implementations, and the descriptors open on each.
struct Pair {
    model: Model,
    subject: Subject,
    held: Vec<(MountIndex, MountId)>,
    trees: Vec<(MountIndex, MountId)>,
    steps: usize,
    owners: usize,
}

impl Pair {
    /// A namespace with a root below the agents' own root, so that pivot_root works, and a directory `/x` with the walk's directories.
    fn new() -> Self {
        let mut pair =
            Self { model: Model::new("rootfs"), subject: Subject::new("rootfs"), held: Vec::new(), trees: Vec::new(), steps: 0, owners: 0 };
        let directories: Vec<String> =
            ["x".to_string()].into_iter().chain(DIRECTORIES.iter().map(|directory| format!("x/{directory}"))).collect();
        let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
        pair.model.new_mount(0, "/", "base", &directories).expect("the base can be mounted");
        pair.subject.new_mount(0, "/", "base", &directories).expect("the base can be mounted");
        let top = pair.model.top_of_stack(pair.model.agents[&0].root);
        let agent = pair.model.agents.get_mut(&0).expect("agent 0");
        (agent.root, agent.working_directory) = (top, top);
        let place = pair.subject.forest.top_of_stack(&pair.subject.agents[&0].root);
        for old in [pair.subject.agents[&0].root.mount, pair.subject.agents[&0].working_directory.mount] {
            pair.subject.forest.pin(place.mount);
            pair.subject.unpin(old);
        }
        let agent = pair.subject.agents.get_mut(&0).expect("agent 0");
        (agent.root, agent.working_directory) = (place.clone(), place);
        pair
    }

    /// Does one step on both; what differs, if anything does.
    fn step(&mut self, operation: Operation) -> Result<(), String> {
        let Some((expected, got)) = self.perform(operation) else { return Ok(()) };
        self.model.let_go();
        let comparable = |errno: Errno| format!("{errno:?}");
        let expected = expected.map_err(|failure| comparable(errno_of(failure)));
        let got = got.map_err(comparable);
        if expected != got {
            return Err(format!("{operation:?}: the model says {expected:?}, graft {got:?}"));
        }
        self.subject.forest.check_invariants().map_err(|broken| format!("{operation:?}: {broken}"))?;
        let (expected, got) = (self.model_text(), self.subject_text());
        if expected != got {
            return Err(format!("after {operation:?} the model has\n{expected}graft has\n{got}"));
        }
        Ok(())
    }

    fn perform(&mut self, mut operation: Operation) -> Option<(Result<(), Failure>, Result<(), Errno>)> {
        use Operation as O;
        self.steps += 1;
        let crowded = self.subject.forest.mounts().count() > MOST_MOUNTS;
        if let Some(agent) = operation.agent_mut() {
            // An agent that is not there leaves the step to one that is, or most steps would come to nothing.
            let there: Vec<usize> = (0..AGENTS).filter(|agent| self.model.agents.contains_key(agent)).collect();
            *agent = there[*agent % there.len()];
        }
        let (model, subject) = (&mut self.model, &mut self.subject);
        let propagates =
            matches!(operation, O::NewMount { .. } | O::Bind { .. } | O::Move { .. } | O::AttachTree { .. } | O::Umount { .. });
        if propagates && subject.has_slaves_out_of_reach() {
            return None;
        }
        Some(match operation {
            O::NewMount { .. } | O::Bind { .. } | O::Move { .. } | O::OpenTree { .. } | O::AttachTree { .. } | O::Unshare { .. }
                if crowded =>
            {
                return None;
            }
            O::NewMount { agent, path } => {
                let source = format!("t{}", self.steps);
                let path = PATHS[path];
                (model.new_mount(agent, path, &source, &DIRECTORIES), subject.new_mount(agent, path, &source, &DIRECTORIES))
            }
            O::Bind { agent, source, target, recursive } => {
                let (source, target) = (PATHS[source], PATHS[target]);
                (model.bind(agent, source, target, recursive), subject.bind(agent, source, target, recursive))
            }
            O::Move { agent, source, target, beneath } => {
                let (source, target) = (PATHS[source], PATHS[target]);
                (model.move_mount(agent, source, target, beneath), subject.move_mount(agent, source, target, beneath))
            }
            O::ChangeType { agent, path, kind, recursive } => {
                let path = PATHS[path];
                (model.change_type(agent, path, kind, recursive), subject.change_type(agent, path, propagation(kind), recursive))
            }
            O::Umount { agent, path, lazy } => {
                let path = PATHS[path];
                // U4 makes the caller's root read-only instead; superblock flags are no part of the structure.
                let top = model.lookup(agent, path).map(|spot| model.top_of_stack(spot).0).ok();
                if !lazy && top == Some(model.agents[&agent].root.0) {
                    return None;
                }
                (model.umount(agent, path, lazy), subject.umount(agent, path, lazy))
            }
            O::MakeDirectory { agent, path } if names_an_entry(PATHS[path]) => {
                (model.make_directory(agent, PATHS[path]), subject.make_directory(agent, PATHS[path]))
            }
            O::RemoveDirectory { agent, path } if names_an_entry(PATHS[path]) => {
                (model.remove_directory(agent, PATHS[path]), subject.remove_directory(agent, PATHS[path]))
            }
            O::MakeDirectory { .. } | O::RemoveDirectory { .. } => return None,
            O::PivotRoot { agent, new_root, put_old } => {
                let (new_root, put_old) = (PATHS[new_root], PATHS[put_old]);
                (model.pivot_root(agent, new_root, put_old), subject.pivot_root(agent, new_root, put_old))
            }
            O::SetGroup { agent, from, to } => {
                let (from, to) = (PATHS[from], PATHS[to]);
                (model.set_group(agent, from, to), subject.set_group(agent, from, to))
            }
            O::ChangeDirectory { agent, path } => {
                let spot = model.lookup(agent, PATHS[path]);
                let moved = spot.map(|spot| model.agents.get_mut(&agent).expect("checked above").working_directory = spot);
                (moved, subject.change_directory(agent, PATHS[path]))
            }
            O::ChangeRoot { agent, path } => {
                let spot = model.lookup(agent, PATHS[path]);
                let moved = spot.map(|spot| model.agents.get_mut(&agent).expect("checked above").root = spot);
                (moved, subject.change_root(agent, PATHS[path]))
            }
            O::Hold { agent, path } => {
                let opened = (model.hold(agent, PATHS[path]), subject.hold(agent, PATHS[path]));
                keep(opened, &mut self.held)
            }
            O::Release { held } => {
                if held >= self.held.len() {
                    return None;
                }
                let (of_model, of_subject) = self.held.remove(held);
                model.release(of_model);
                subject.unpin(of_subject);
                (Ok(()), Ok(()))
            }
            O::OpenTree { agent, path, recursive } => {
                let opened = (model.open_tree(agent, PATHS[path], recursive), subject.open_tree(agent, PATHS[path], recursive));
                keep(opened, &mut self.trees)
            }
            O::AttachTree { agent, tree, target } => {
                let &(of_model, of_subject) = self.trees.get(tree)?;
                let target = PATHS[target];
                (model.attach_detached(agent, of_model, target), subject.attach_detached(agent, of_subject, target))
            }
            O::CloseTree { tree } => {
                if tree >= self.trees.len() {
                    return None;
                }
                let (of_model, of_subject) = self.trees.remove(tree);
                model.close_tree(of_model);
                subject.close_tree(of_subject);
                (Ok(()), Ok(()))
            }
            O::Unshare { parent, child, new_owner } => {
                if model.agents.contains_key(&child) {
                    return None;
                }
                let mut owner = model.namespaces[model.agents[&parent].namespace].owner;
                if new_owner {
                    self.owners += 1;
                    owner = self.owners;
                }
                model.unshare(parent, child, owner);
                subject.unshare(parent, child, u32::try_from(owner).expect("few owners"));
                (Ok(()), Ok(()))
            }
            O::Exit { agent } => {
                if model.agents.len() == 1 {
                    return None;
                }
                model.exit(agent);
                subject.exit(agent);
                (Ok(()), Ok(()))
            }
        })
    }

    fn model_text(&self) -> String {
        let mut out = String::new();
        let mut numbering = Numbering::new();
        let view = |mount: MountIndex| {
            let entry = &self.model.mounts[mount];
            let place = |dentry: Option<usize>| dentry.map(|dentry| self.model_path(dentry)).unwrap_or_default();
            MountView {
                children: entry.children.iter().map(|&child| (place(self.model.mounts[child].mountpoint), child)).collect(),
                source: entry.source.clone(),
                root: self.model_path(entry.root),
                group: entry.group,
                master: self.model.master(mount),
                unbindable: entry.unbindable,
                locked: entry.locked,
            }
        };
        for (number, agent) in &self.model.agents {
            out.push_str(&format!("agent {number}\n"));
            if let Some(root) = self.model.namespaces[agent.namespace].root {
                write_tree(&mut out, &mut numbering, root, &view);
            }
        }
        for &(tree, _) in &self.trees {
            out.push_str("tree\n");
            write_tree(&mut out, &mut numbering, tree, &view);
        }
        out
    }

    fn model_path(&self, dentry: usize) -> String {
        let mut names = Vec::new();
        let mut at = dentry;
        while let Some(parent) = self.model.dentries[at].parent {
            names.push(self.model.dentries[at].name.as_str());
            at = parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }

    fn subject_text(&self) -> String {
        let forest = &self.subject.forest;
        let mut out = String::new();
        let mut numbering = Numbering::new();
        let path = |dentry: &graft::memory_vfs::DentryNumber| {
            let mut names = Vec::new();
            graft::Vfs::visit_names(forest.vfs(), dentry, None, &mut |name| names.push(String::from_utf8_lossy(name).into_owned()));
            names.reverse();
            format!("/{}", names.join("/"))
        };
        let view = |mount: MountId| MountView {
            children: forest.children_of(mount).map(|child| (forest.mountpoint(child).map(path).unwrap_or_default(), child)).collect(),
            source: forest.source(mount).map(|source| String::from_utf8_lossy(source).into_owned()).unwrap_or_default(),
            root: forest.root(mount).map(path).unwrap_or_default(),
            group: forest.group(mount),
            master: forest.master(mount),
            unbindable: forest.is_unbindable(mount),
            locked: forest.locks(mount).is_some_and(|locks| locks.contains(graft::flags::Locks::MOUNT)),
        };
        for (number, agent) in &self.subject.agents {
            out.push_str(&format!("agent {number}\n"));
            if let Some(root) = forest.namespace_root(agent.namespace) {
                write_tree(&mut out, &mut numbering, root, &view);
            }
        }
        for &(_, tree) in &self.trees {
            out.push_str("tree\n");
            write_tree(&mut out, &mut numbering, tree, &view);
        }
        out
    }
}

/// Remembers what both opened, if both did.
fn keep<M, S>(opened: (Result<M, Failure>, Result<S, Errno>), list: &mut Vec<(M, S)>) -> (Result<(), Failure>, Result<(), Errno>) {
    match opened {
        (Ok(of_model), Ok(of_subject)) => {
            list.push((of_model, of_subject));
            (Ok(()), Ok(()))
        }
        (of_model, of_subject) => (of_model.map(drop), of_subject.map(drop)),
    }
}

fn names_an_entry(path: &str) -> bool {
    !matches!(path, "." | "..")
}

fn propagation(kind: Kind) -> PropagationType {
    match kind {
        Kind::Shared => PropagationType::Shared,
        Kind::Slave => PropagationType::Slave,
        Kind::Private => PropagationType::Private,
        Kind::Unbindable => PropagationType::Unbindable,
    }
}

fn errno_of(failure: Failure) -> Errno {
    match failure {
        Failure::Inval => Errno::EINVAL,
        Failure::NoEnt => Errno::ENOENT,
        Failure::Loop => Errno::ELOOP,
        Failure::Perm => Errno::EPERM,
        // What only a filesystem says has no errno in graft; the subject answers EBUSY for it.
        Failure::Busy | Failure::NotEmpty | Failure::Exist => Errno::EBUSY,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1500),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn graft_and_the_model_agree_on_every_step(operations in prop::collection::vec(Operation::any(), 1..160)) {
        let mut pair = Pair::new();
        for operation in operations {
            if let Err(difference) = pair.step(operation) {
                return Err(TestCaseError::fail(difference));
            }
        }
    }
}
