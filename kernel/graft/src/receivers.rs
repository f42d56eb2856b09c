//! Who receives what is mounted on, or unmounted from, a mount (P1), in Linux's order (P10).

use crate::forest::Forest;
use crate::ids::{GroupSlot, MountSlot};
use crate::seam::Vfs;

/// One receiver.
pub(crate) struct Receiver<V: Vfs> {
    pub(crate) mount: MountSlot<V>,
    /// The peer group as whose member it is reached; none for a plain slave.
    pub(crate) group: Option<GroupSlot<V>>,
    /// Whether it is the first that is met of a group of slaves.
    pub(crate) is_first_of_group: bool,
}

/// A walk over the receivers of a mount. It allocates nothing, keeps its way in the groups it passes, and meets each
/// receiver once. No other walk, and no change of groups, may come between its steps.
pub(crate) struct Receivers<V: Vfs> {
    origin_group: Option<GroupSlot<V>>,
    epoch: u32,
    position: Position<V>,
}

enum Position<V: Vfs> {
    /// This member of a group was met; the next one is next.
    Member(MountSlot<V>),
    /// Among the slaves that record `owner` as their master; `next` is next.
    Slaves {
        owner: MountSlot<V>,
        next: Option<MountSlot<V>>,
    },
    End,
}

impl<V: Vfs> Receivers<V> {
    pub(crate) fn of(forest: &mut Forest<V>, origin: MountSlot<V>) -> Self {
        let Some(group) = forest.mounts[origin].group else {
            return Self { origin_group: None, epoch: 0, position: Position::End };
        };
        let epoch = forest.next_epoch();
        forest.enter_group(group, origin, epoch);
        Self { origin_group: Some(group), epoch, position: Position::Member(origin) }
    }

    /// The next receiver.
    pub(crate) fn next(&mut self, forest: &mut Forest<V>) -> Option<Receiver<V>> {
        loop {
            match self.position {
                Position::Member(member) => {
                    let group = forest.mounts[member].group?;
                    let first = forest.groups[group].scratch?;
                    let mount = forest.next_peer(member);
                    if mount == first {
                        self.position = forest.slaves_reached(first);
                    } else {
                        self.position = Position::Member(mount);
                        return Some(Receiver { mount, group: Some(group), is_first_of_group: false });
                    }
                }
                Position::Slaves { owner, next: Some(slave) } => {
                    let next = forest.mounts[slave].next_slave;
                    let group = forest.mounts[slave].group;
                    match group {
                        Some(group) if forest.groups[group].mark == self.epoch => {
                            self.position = Position::Slaves { owner, next };
                        }
                        Some(group) => {
                            forest.enter_group(group, slave, self.epoch);
                            self.position = Position::Member(slave);
                            return Some(Receiver { mount: slave, group: Some(group), is_first_of_group: true });
                        }
                        None => {
                            self.position = Position::Slaves { owner, next };
                            return Some(Receiver { mount: slave, group: None, is_first_of_group: false });
                        }
                    }
                }
                Position::Slaves { owner, next: None } => self.position = self.after_slaves_of(forest, owner)?,
                Position::End => return None,
            }
        }
    }

    /// Where the walk goes on after the last slave of `owner`: to the slaves of the next member of its group, and after the last
    /// member back to where the group was met.
    fn after_slaves_of(&self, forest: &Forest<V>, owner: MountSlot<V>) -> Option<Position<V>> {
        let group = forest.mounts[owner].group?;
        let first = forest.groups[group].scratch?;
        let next_owner = forest.next_peer(owner);
        if next_owner != first {
            return Some(forest.slaves_reached(next_owner));
        }
        if Some(group) == self.origin_group {
            return Some(Position::End);
        }
        let entry = &forest.mounts[first];
        Some(Position::Slaves { owner: entry.master?, next: entry.next_slave })
    }
}

impl<V: Vfs> Forest<V> {
    fn enter_group(&mut self, group: GroupSlot<V>, first: MountSlot<V>, epoch: u32) {
        let entry = &mut self.groups[group];
        entry.mark = epoch;
        entry.scratch = Some(first);
    }

    /// The slaves of a mount, unless it is in a detached tree: those are not reached (X9).
    fn slaves_reached(&self, owner: MountSlot<V>) -> Position<V> {
        let entry = &self.mounts[owner];
        let in_real_namespace = || entry.namespace.is_some_and(|slot| !self.namespaces[slot].is_anonymous());
        Position::Slaves { owner, next: entry.first_slave.filter(|_| in_real_namespace()) }
    }
}
