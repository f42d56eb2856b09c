//! Process numbers, per pid namespace (`pid_namespaces(7)`).
//!
//! A [`Pid`] is an identity with one number in its own namespace and in each namespace above. A thread, a process, a process group and a
//! session may all go by the same one. The numbers are free again once none of the four uses it any more.

use crate::errno::{Errno, Result};
use crate::sync::{Once, SpinLock};
use crate::task::namespace_count::NamespaceCount;
use crate::task::{Process, Thread, UserNamespace, WaitQueue};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::ops::Bound;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Numbers run from 1 to one below this (`/proc/sys/kernel/pid_max`).
static PID_MAX: AtomicU32 = AtomicU32::new(32768);
/// What `pid_max` may be set to (`proc(5)`): below are the numbers of the kernel's first threads, above no identity fits.
pub const PID_MAX_BOUNDS: core::ops::RangeInclusive<u32> = 301..=4_194_304;

/// One more than the highest number that is given out.
pub fn pid_max() -> u32 {
    PID_MAX.load(Ordering::Relaxed)
}

/// Changes [`pid_max`] to a value within [`PID_MAX_BOUNDS`]. Numbers above it that are in use stay.
pub fn set_pid_max(pid_max: u32) {
    PID_MAX.store(pid_max.clamp(*PID_MAX_BOUNDS.start(), *PID_MAX_BOUNDS.end()), Ordering::Relaxed);
}
/// Where the numbering goes on once it has come round.
const RESERVED: u32 = 300;
/// How deep namespaces nest (`pid_namespaces(7)`).
const MAX_LEVEL: usize = 32;

/// A pid namespace.
pub struct PidNamespace {
    /// 0 for the initial one.
    pub level: usize,
    /// The one that it was made in.
    pub parent: Option<Arc<PidNamespace>>,
    /// Whose privileges govern it.
    pub owner: Arc<UserNamespace>,
    /// For `/proc/PID/ns/pid`.
    pub inode_number: u64,
    numbers: SpinLock<Numbers>,
    _count: Option<NamespaceCount>,
    /// No new member: its init has exited, `fork` into it gives `ENOMEM`.
    dead: AtomicBool,
    /// Woken when a member is gone, for the init that waits for all others at its end.
    pub(in crate::task) departures: WaitQueue,
}

#[derive(Default)]
struct Numbers {
    last: u32,
    used: BTreeMap<u32, Arc<Pid>>,
}

static INITIAL: Once<Arc<PidNamespace>> = Once::new();

impl PidNamespace {
    /// The one that the kernel booted with.
    pub fn initial() -> Arc<Self> {
        INITIAL.call_once(|| Arc::new(Self::with(0, None, UserNamespace::initial(), None))).clone()
    }

    /// One below `parent`. `ENOSPC` when they nest too deeply.
    /// `EINVAL` when the user namespace that is to own it does not lie below that of the parent.
    pub fn new_below(parent: &Arc<Self>, owner: Arc<UserNamespace>, maker_uid: u32) -> Result<Arc<Self>> {
        if !owner.is_within(&parent.owner) {
            return Err(Errno::INVAL);
        }
        if parent.level >= MAX_LEVEL {
            return Err(Errno::NOSPC);
        }
        let count = NamespaceCount::take(super::namespaces::Kind::Pid, &owner, maker_uid)?;
        Ok(Arc::new(Self::with(parent.level + 1, Some(parent.clone()), owner, Some(count))))
    }

    fn with(level: usize, parent: Option<Arc<Self>>, owner: Arc<UserNamespace>, count: Option<NamespaceCount>) -> Self {
        Self {
            _count: count,
            level,
            parent,
            owner,
            inode_number: super::namespaces::next_inode_number(super::namespaces::Kind::Pid, level == 0),
            numbers: SpinLock::default(),
            dead: AtomicBool::new(false),
            departures: WaitQueue::new(),
        }
    }

    /// Whether this is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        let mut at = Some(self);
        while let Some(namespace) = at {
            if core::ptr::eq(namespace, other) {
                return true;
            }
            at = namespace.parent.as_deref();
        }
        false
    }

    /// The identity that goes by `number` here.
    pub fn find(&self, number: u32) -> Option<Arc<Pid>> {
        self.numbers.lock().used.get(&number).cloned()
    }

    /// Its first process, while it has one.
    pub fn init(&self) -> Option<Arc<Process>> {
        self.find(1)?.process()
    }

    /// The process with the lowest number from `number` on, and that number: how `/proc` and `kill(-1)` walk all processes.
    pub fn next_process(&self, number: u32) -> Option<(u32, Arc<Process>)> {
        let mut from = number;
        loop {
            let (number, pid) = {
                let numbers = self.numbers.lock();
                let (number, pid) = numbers.used.range((Bound::Included(from), Bound::Unbounded)).next()?;
                (*number, pid.clone())
            };
            if let Some(process) = pid.process() {
                return Some((number, process));
            }
            from = number + 1;
        }
    }

    /// All processes in it and below, in the order of their numbers.
    pub fn processes(&self) -> Vec<Arc<Process>> {
        let pids: Vec<Arc<Pid>> = self.numbers.lock().used.values().cloned().collect();
        pids.iter().filter_map(|pid| pid.process()).collect()
    }

    /// How many identities it has.
    pub fn len(&self) -> usize {
        self.numbers.lock().used.len()
    }

    /// The number given out last (`/proc/loadavg`).
    pub fn last_number(&self) -> u32 {
        self.numbers.lock().last
    }

    /// The next number given out is the first free one behind `number` (`/proc/sys/kernel/ns_last_pid`).
    pub fn set_last_number(&self, number: u32) {
        self.numbers.lock().last = number;
    }

    /// From now on `fork` into it fails.
    pub(in crate::task) fn close(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    fn pick(&self, wanted: Option<u32>) -> Result<u32> {
        let mut numbers = self.numbers.lock();
        if let Some(number) = wanted {
            return if numbers.used.contains_key(&number) { Err(Errno::EXIST) } else { Ok(number) };
        }
        let start = numbers.last + 1;
        let free = |mut range: core::ops::Range<u32>, used: &BTreeMap<u32, Arc<Pid>>| range.find(|n| !used.contains_key(n));
        let number = free(start..pid_max(), &numbers.used)
            .or_else(|| free(RESERVED.min(start)..start, &numbers.used))
            .or_else(|| free(1..RESERVED.min(start), &numbers.used))
            .ok_or(Errno::AGAIN)?;
        numbers.last = number;
        Ok(number)
    }
}

/// What goes by an identity.
#[derive(Default)]
struct Users {
    thread: Option<Weak<Thread>>,
    process: Option<Weak<Process>>,
    group: Vec<Weak<Process>>,
    session: Vec<Weak<Process>>,
}

/// An identity of a thread, process, process group or session.
pub struct Pid {
    /// Its number in each namespace, from the initial one down to its own.
    numbers: Vec<(Arc<PidNamespace>, u32)>,
    users: SpinLock<Users>,
    /// Woken when the process (or thread) behind it has ended: `poll` of a pidfd.
    pub exits: Arc<WaitQueue>,
}

impl Pid {
    /// A new identity in `namespace`. `wanted` are the numbers that `clone3`'s `set_tid` asks for, innermost first.
    /// `ENOMEM` when the namespace's init has exited, `EAGAIN` when all numbers are taken, `EEXIST` when a wanted one is.
    pub(in crate::task) fn allocate(namespace: &Arc<PidNamespace>, wanted: &[u32]) -> Result<Arc<Self>> {
        if namespace.dead.load(Ordering::Relaxed) {
            return Err(Errno::NOMEM);
        }
        let mut numbers = Vec::new();
        let mut at = Some(namespace.clone());
        let mut wanted = wanted.iter();
        while let Some(namespace) = at {
            let number = namespace.pick(wanted.next().copied())?;
            at = namespace.parent.clone();
            numbers.push((namespace, number));
        }
        numbers.reverse();
        let pid = Arc::new(Self { numbers, users: SpinLock::default(), exits: Arc::new(WaitQueue::new()) });
        for (namespace, number) in &pid.numbers {
            namespace.numbers.lock().used.insert(*number, pid.clone());
        }
        Ok(pid)
    }

    /// What the group and the session of the first process go by: the number 0, of the idle task, as on Linux. So init leads neither.
    pub(in crate::task) fn idle() -> Arc<Self> {
        let numbers = Vec::from([(PidNamespace::initial(), 0)]);
        Arc::new(Self { numbers, users: SpinLock::default(), exits: Arc::new(WaitQueue::new()) })
    }

    /// The namespace that it lives in.
    pub fn namespace(&self) -> &Arc<PidNamespace> {
        &self.numbers[self.numbers.len() - 1].0
    }

    /// Its number in the initial namespace.
    pub fn global_number(&self) -> u32 {
        self.numbers[0].1
    }

    /// Its number as seen from `namespace`; 0 if it cannot be seen from there.
    pub fn number_in(&self, namespace: &PidNamespace) -> u32 {
        match self.numbers.get(namespace.level) {
            Some((here, number)) if core::ptr::eq(&**here, namespace) => *number,
            _ => 0,
        }
    }

    /// Its number as the current thread sees it; 0 if it does not.
    pub fn number(&self) -> u32 {
        self.number_in(super::current().pid().namespace())
    }

    /// Its numbers from the outermost namespace that `namespace` is to the innermost (`NSpid` of `/proc/PID/status`).
    pub fn numbers_from(&self, namespace: &PidNamespace) -> Vec<u32> {
        self.numbers.iter().skip(namespace.level).map(|(_, number)| *number).collect()
    }

    /// Whether it is the init of its namespace.
    pub fn is_namespace_init(&self) -> bool {
        self.numbers[self.numbers.len() - 1].1 == 1
    }

    /// The thread that goes by it.
    pub fn thread(&self) -> Option<Arc<Thread>> {
        self.users.lock().thread.as_ref().and_then(Weak::upgrade)
    }

    /// The process that goes by it.
    pub fn process(&self) -> Option<Arc<Process>> {
        self.users.lock().process.as_ref().and_then(Weak::upgrade)
    }

    /// The members of the process group, in the order in which they joined.
    pub fn group_members(&self) -> Vec<Arc<Process>> {
        self.users.lock().group.iter().filter_map(Weak::upgrade).collect()
    }

    /// The members of the session.
    pub fn session_members(&self) -> Vec<Arc<Process>> {
        self.users.lock().session.iter().filter_map(Weak::upgrade).collect()
    }

    pub(in crate::task) fn set_thread(&self, thread: Option<&Arc<Thread>>) {
        self.users.lock().thread = thread.map(Arc::downgrade);
        self.release_if_unused();
    }

    pub(in crate::task) fn set_process(&self, process: Option<&Arc<Process>>) {
        self.users.lock().process = process.map(Arc::downgrade);
        self.release_if_unused();
    }

    pub(in crate::task) fn join_group(&self, process: &Arc<Process>) {
        self.users.lock().group.push(Arc::downgrade(process));
    }

    pub(in crate::task) fn leave_group(&self, process: &Arc<Process>) {
        self.users.lock().group.retain(|member| !core::ptr::eq(member.as_ptr(), Arc::as_ptr(process)));
        self.release_if_unused();
    }

    pub(in crate::task) fn join_session(&self, process: &Arc<Process>) {
        self.users.lock().session.push(Arc::downgrade(process));
    }

    pub(in crate::task) fn leave_session(&self, process: &Arc<Process>) {
        self.users.lock().session.retain(|member| !core::ptr::eq(member.as_ptr(), Arc::as_ptr(process)));
        self.release_if_unused();
    }

    /// Gives the numbers of an identity back that nothing came to use (a `fork` that failed half way).
    pub(in crate::task) fn release_if_unused(&self) {
        {
            let users = self.users.lock();
            if users.thread.is_some() || users.process.is_some() || !users.group.is_empty() || !users.session.is_empty() {
                return;
            }
        }
        for (namespace, number) in &self.numbers {
            let freed = {
                let mut numbers = namespace.numbers.lock();
                let mine = numbers.used.get(number).is_some_and(|pid| core::ptr::eq(&**pid, self));
                if mine { numbers.used.remove(number) } else { None }
            };
            drop(freed);
            namespace.departures.wake_all();
        }
    }
}

/// The identity with `number` in the current thread's pid namespace.
pub fn find(number: u32) -> Option<Arc<Pid>> {
    super::current().pid().namespace().find(number)
}

/// The process with `number` in the current thread's pid namespace. `ESRCH` if there is none.
pub fn find_process(number: u32) -> Result<Arc<Process>> {
    find(number).and_then(|pid| pid.process()).ok_or(Errno::SRCH)
}

/// The thread with `number` in the current thread's pid namespace. `ESRCH` if there is none.
pub fn find_thread(number: u32) -> Result<Arc<Thread>> {
    find(number).and_then(|pid| pid.thread()).ok_or(Errno::SRCH)
}
