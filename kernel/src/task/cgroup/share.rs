//! Who is next when groups are governed by `cpu.weight`: at each level of the tree the group, or the thread, that has had the least.
//!
//! While no group is governed the scheduler's queue is first come, first served, and nothing here is called.

use super::Cgroup;
use super::cpu::{self, DEFAULT_WEIGHT};
use crate::task::Thread;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How much a group or thread that has slept is ahead of the others when it comes back.
const WAKE_CREDIT_NS: u64 = 4_000_000;

/// The longest time that is charged at once.
const MAX_CHARGE_NS: u64 = 100_000_000;

/// How many groups hand the controller on.
static GOVERNED: AtomicUsize = AtomicUsize::new(0);

/// Whether any group is governed.
pub(in crate::task) fn is_on() -> bool {
    GOVERNED.load(Ordering::Relaxed) != 0
}

/// A group has begun to hand the controller on, or has ceased to.
pub(super) fn count(governs: bool) {
    if governs {
        GOVERNED.fetch_add(1, Ordering::Relaxed);
    } else {
        GOVERNED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What stands for a thread below a group: a group one level down, or the thread itself.
enum Entity<'a> {
    Group(&'a Cgroup),
    Thread(&'a Thread),
}

impl Entity<'_> {
    fn virtual_ns(&self) -> u64 {
        match self {
            Self::Group(group) => group.cpu.virtual_ns.load(Ordering::Relaxed),
            Self::Thread(thread) => thread.virtual_ns.load(Ordering::Relaxed),
        }
    }

    fn set_virtual_ns(&self, virtual_ns: u64) {
        match self {
            Self::Group(group) => group.cpu.virtual_ns.store(virtual_ns, Ordering::Relaxed),
            Self::Thread(thread) => thread.virtual_ns.store(virtual_ns, Ordering::Relaxed),
        }
    }
}

/// What stands for a member of `group` below `node`. Groups that are not governed do not count: their members stand beside each other.
fn entity_below<'a>(node: &Cgroup, group: &'a Cgroup, thread: &'a Thread) -> Entity<'a> {
    let mut below = Entity::Thread(thread);
    for above in group.ancestors().take_while(|above| !core::ptr::eq(*above, node)) {
        if cpu::governs(above) {
            below = Entity::Group(above);
        }
    }
    below
}

/// The place in the queue of the thread that is next.
///
/// Cost: O(threads in the queue × depth of their groups), at each level.
pub(in crate::task) fn next(queue: &VecDeque<Arc<Thread>>) -> usize {
    if queue.len() < 2 {
        return 0;
    }
    let groups: alloc::vec::Vec<Arc<Cgroup>> = queue.iter().map(|thread| thread.cgroup()).collect();
    let mut node: &Cgroup = Cgroup::root();
    loop {
        let floor_ns = node.cpu.floor_ns.load(Ordering::Relaxed);
        let mut best: Option<(u64, usize)> = None;
        for (index, (thread, group)) in queue.iter().zip(&groups).enumerate() {
            if group.is_within(node) {
                let virtual_ns = entity_below(node, group, thread).virtual_ns().max(floor_ns.saturating_sub(WAKE_CREDIT_NS));
                if best.is_none_or(|(least, _)| virtual_ns < least) {
                    best = Some((virtual_ns, index));
                }
            }
        }
        let Some((virtual_ns, index)) = best else { return 0 };
        let entity = entity_below(node, &groups[index], &queue[index]);
        entity.set_virtual_ns(virtual_ns);
        node.cpu.floor_ns.fetch_max(virtual_ns, Ordering::Relaxed);
        match entity {
            Entity::Thread(_) => return index,
            Entity::Group(group) => node = group,
        }
    }
}

/// Charges a thread that gives the processor away, and the governed groups above it. `slice_ns` and `default_slice_ns` say how its nice
/// value weighs.
pub(in crate::task) fn charge(thread: &Thread, slice_ns: u64, default_slice_ns: u64) {
    let total_ns = thread.total_ns();
    // What was before anything was weighed does not count.
    let used_ns = total_ns.saturating_sub(thread.shared_ns.swap(total_ns, Ordering::Relaxed)).min(MAX_CHARGE_NS);
    thread.virtual_ns.fetch_add(used_ns * default_slice_ns / slice_ns.max(1), Ordering::Relaxed);
    for group in thread.cgroup().ancestors().filter(|group| cpu::governs(group)) {
        group.cpu.virtual_ns.fetch_add(used_ns * DEFAULT_WEIGHT / group.cpu.weight().max(1), Ordering::Relaxed);
    }
}
