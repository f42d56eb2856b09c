//! Peer groups, masters and slaves (O8 to O11), and how mounts come to and leave them (C3 to C8).
//!
//! *Shared* (a group) and *slave* (a master) are two facts of a mount, each with its list: the ring of peers, and the list
//! of slaves of the one mount that is recorded as master.

use crate::forest::Forest;
use crate::ids::{GroupSlot, MountSlot};
use crate::seam::Vfs;

/// How many peers are asked for one with the same root before just the next one inherits (C5). Bounds the cost of leaving
/// a group; beyond it only the order in which later mounts are propagated can differ.
const HEIR_SEARCH_LIMIT: u32 = 1_000;

/// A peer group: the number that programs see, and a way into the ring of its members.
pub(crate) struct Group<V: Vfs> {
    /// What mountinfo shows (O7).
    pub(crate) number: u32,
    /// Some member.
    pub(crate) first: MountSlot<V>,
    pub(crate) members: u32,
    /// The epoch of the last walk that met the group; the next two mean something only in it.
    pub(crate) mark: u32,
    /// The member by which a walk entered, or the mount that inherits the group's slaves.
    pub(crate) scratch: Option<MountSlot<V>>,
    /// The entry of a propagation's table of copies that serves the group (P14).
    pub(crate) copies: u32,
}

impl<V: Vfs> Clone for Group<V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

/// What becomes of a mount that leaves its group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It becomes a slave of its former group, or keeps receiving from its master (C3, column slave).
    ToSlave,
    /// It neither sends nor receives any more (C3, column private; U14).
    Alone,
}

impl<V: Vfs> Forest<V> {
    /// The group that a mount receives from.
    pub(crate) fn master_group(&self, mount: MountSlot<V>) -> Option<GroupSlot<V>> {
        self.mounts[mount].master.and_then(|master| self.mounts[master].group)
    }

    /// The member after `mount` in its ring; itself where it is alone or in no group.
    pub(crate) fn next_peer(&self, mount: MountSlot<V>) -> MountSlot<V> {
        self.mounts[mount].next_peer.unwrap_or(mount)
    }

    /// The members of a group, in ring order from some member on.
    pub(crate) fn members(&self, group: GroupSlot<V>) -> impl Iterator<Item = MountSlot<V>> {
        let entry = &self.groups[group];
        core::iter::successors(Some(entry.first), |&member| Some(self.next_peer(member))).take(entry.members as usize)
    }

    /// The slaves that record this mount as their master, in list order (O9).
    pub(crate) fn slaves(&self, mount: MountSlot<V>) -> impl Iterator<Item = MountSlot<V>> {
        core::iter::successors(self.mounts[mount].first_slave, |&slave| self.mounts[slave].next_slave)
    }

    /// Makes a mount shared that is not: a new group with it as sole member (C3). Room for a group was reserved.
    pub(crate) fn found_group(&mut self, mount: MountSlot<V>) {
        let number = self.group_numbers.take() + 1;
        let group = Group { number, first: mount, members: 1, mark: 0, scratch: None, copies: 0 };
        let group = self.groups.insert(group);
        let entry = &mut self.mounts[mount];
        entry.state -= crate::mount::State::UNBINDABLE;
        entry.group = Some(group);
        entry.next_peer = Some(mount);
        entry.previous_peer = Some(mount);
    }

    /// Puts a mount into the group of `peer`, right after it (O8).
    pub(crate) fn join_group(&mut self, mount: MountSlot<V>, peer: MountSlot<V>) {
        let Some(group) = self.mounts[peer].group else {
            return;
        };
        let next = self.next_peer(peer);
        self.groups[group].members += 1;
        self.mounts[peer].next_peer = Some(mount);
        self.mounts[next].previous_peer = Some(mount);
        let entry = &mut self.mounts[mount];
        entry.state -= crate::mount::State::UNBINDABLE;
        entry.group = Some(group);
        entry.next_peer = Some(next);
        entry.previous_peer = Some(peer);
    }

    fn leave_ring(&mut self, mount: MountSlot<V>) {
        let entry = &mut self.mounts[mount];
        let (next, previous) = (entry.next_peer.take(), entry.previous_peer.take());
        let (Some(group), Some(next), Some(previous)) = (entry.group.take(), next, previous) else {
            return;
        };
        self.groups[group].members -= 1;
        if self.groups[group].members == 0 {
            self.group_numbers.give_back(self.groups[group].number - 1);
            self.groups.remove(group);
            return;
        }
        self.mounts[previous].next_peer = Some(next);
        self.mounts[next].previous_peer = Some(previous);
        self.groups[group].first = next;
    }

    /// Makes a mount without master a slave, first in the list of `master` (O9).
    pub(crate) fn enslave_first(&mut self, mount: MountSlot<V>, master: MountSlot<V>) {
        let next = self.mounts[master].first_slave.replace(mount);
        match next {
            Some(next) => self.mounts[next].previous_slave = Some(mount),
            None => self.mounts[master].last_slave = Some(mount),
        }
        let entry = &mut self.mounts[mount];
        entry.master = Some(master);
        entry.next_slave = next;
    }

    /// Makes a mount without master a slave of the master of `sibling`, right after it (O9, X13).
    pub(crate) fn enslave_after(&mut self, mount: MountSlot<V>, sibling: MountSlot<V>) {
        let Some(master) = self.mounts[sibling].master else {
            return;
        };
        let next = self.mounts[sibling].next_slave.replace(mount);
        match next {
            Some(next) => self.mounts[next].previous_slave = Some(mount),
            None => self.mounts[master].last_slave = Some(mount),
        }
        let entry = &mut self.mounts[mount];
        entry.master = Some(master);
        entry.previous_slave = Some(sibling);
        entry.next_slave = next;
    }

    /// Takes a mount out of its master's list.
    pub(crate) fn leave_master(&mut self, mount: MountSlot<V>) {
        let entry = &mut self.mounts[mount];
        let Some(master) = entry.master.take() else {
            return;
        };
        let (previous, next) = (entry.previous_slave.take(), entry.next_slave.take());
        match previous {
            Some(previous) => self.mounts[previous].next_slave = next,
            None => self.mounts[master].first_slave = next,
        }
        match next {
            Some(next) => self.mounts[next].previous_slave = previous,
            None => self.mounts[master].last_slave = previous,
        }
    }

    /// Hands all slaves of `from` to `to`, at the end of its list (C5), or sets them free.
    fn bequeath_slaves(&mut self, from: MountSlot<V>, to: Option<MountSlot<V>>) {
        let Some(first) = self.mounts[from].first_slave.take() else {
            return;
        };
        let last = self.mounts[from].last_slave.take();
        let mut current = Some(first);
        while let Some(slave) = current {
            let entry = &mut self.mounts[slave];
            current = entry.next_slave;
            entry.master = to;
            if to.is_none() {
                entry.next_slave = None;
                entry.previous_slave = None;
            }
        }
        let Some(to) = to else { return };
        let before = self.mounts[to].last_slave;
        self.mounts[to].last_slave = last;
        self.mounts[first].previous_slave = before;
        match before {
            Some(before) => self.mounts[before].next_slave = Some(first),
            None => self.mounts[to].first_slave = Some(first),
        }
    }

    /// Takes all mounts of a chain out of their groups (C5). The result is that of one after the other.
    ///
    /// Who inherits is settled for the whole chain at once, so that a slave is handed on once however many masters go.
    /// Cost: the mounts of the chain, their slaves, and the rings of groups that end with them.
    pub(crate) fn leave_groups(&mut self, chain: Option<MountSlot<V>>, leaving: Leaving) {
        if core::iter::successors(chain, |&mount| self.mounts[mount].chain).any(|mount| self.has_heir(mount, leaving)) {
            self.settle_heirs(chain, leaving);
        }
        let mut current = chain;
        while let Some(mount) = current {
            current = self.mounts[mount].chain;
            match leaving {
                Leaving::Alone => self.leave_master(mount),
                Leaving::ToSlave => {
                    // C8: a plain slave only moves to the head of its master's list.
                    let entry = &self.mounts[mount];
                    let master = if entry.is_shared() { entry.scratch } else { entry.master };
                    self.leave_master(mount);
                    if let Some(master) = master {
                        self.enslave_first(mount, master);
                    }
                }
            }
            self.leave_ring(mount);
        }
    }

    /// Whether something of a leaving mount goes to another: its slaves, or, when it becomes a slave, the choice of its master.
    fn has_heir(&self, mount: MountSlot<V>, leaving: Leaving) -> bool {
        let entry = &self.mounts[mount];
        entry.first_slave.is_some() || (leaving == Leaving::ToSlave && entry.is_shared())
    }

    /// Finds the heirs of the mounts of a chain, notes each with its mount, and hands the slaves on.
    fn settle_heirs(&mut self, chain: Option<MountSlot<V>>, leaving: Leaving) {
        let epoch = self.next_epoch();
        let mut current = chain;
        while let Some(mount) = current {
            self.mounts[mount].mark = epoch;
            current = self.mounts[mount].chain;
        }
        let mut current = chain;
        while let Some(mount) = current {
            current = self.mounts[mount].chain;
            if self.has_heir(mount, leaving) {
                let heir = self.heir(mount, epoch);
                self.mounts[mount].scratch = heir;
            }
        }
        let mut current = chain;
        while let Some(mount) = current {
            current = self.mounts[mount].chain;
            if self.mounts[mount].first_slave.is_some() {
                let heir = self.mounts[mount].scratch;
                self.bequeath_slaves(mount, heir);
            }
        }
    }

    /// The mount that a leaving mount's slaves go to (C5, C6): a peer that stays, else one in the group's master group, and so on.
    fn heir(&mut self, mount: MountSlot<V>, epoch: u32) -> Option<MountSlot<V>> {
        let mut leaver = mount;
        loop {
            if let Some(peer) = self.staying_peer(leaver, epoch) {
                return Some(peer);
            }
            let master = self.mounts[leaver].master?;
            if self.mounts[master].mark != epoch {
                return Some(master);
            }
            leaver = master;
        }
    }

    /// The next peer that stays and has the same root, else simply one that stays.
    fn staying_peer(&mut self, leaver: MountSlot<V>, epoch: u32) -> Option<MountSlot<V>> {
        let group = self.mounts[leaver].group?;
        let root = self.root_key(leaver);
        let mut next_staying = None;
        let mut peer = self.next_peer(leaver);
        let mut looked_at = 0;
        while peer != leaver && looked_at < HEIR_SEARCH_LIMIT {
            if self.mounts[peer].mark != epoch {
                if self.root_key(peer) == root {
                    return Some(peer);
                }
                next_staying = next_staying.or(Some(peer));
            }
            peer = self.next_peer(peer);
            looked_at += 1;
        }
        if next_staying.is_some() || peer == leaver {
            return next_staying;
        }
        // A long run of leaving peers: one walk round the ring answers for all of them.
        if self.groups[group].mark != epoch {
            let staying = self.members(group).find(|&member| self.mounts[member].mark != epoch);
            let entry = &mut self.groups[group];
            entry.mark = epoch;
            entry.scratch = staying;
        }
        self.groups[group].scratch
    }
}
