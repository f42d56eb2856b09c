//! A process: what its threads share.

use crate::fs::OpenFile;
use crate::fs::open::Executable;
use crate::mm::AddressSpace;
use crate::sync::SpinLock;
use crate::task::accounting::ProcessTimes;
use crate::task::itimer::IntervalTimers;
use crate::task::pid::{Pid, PidNamespace};
use crate::task::posix_timer::PosixTimers;
use crate::task::rlimit::Limits;
use crate::task::session::ControllingTerminal;
use crate::task::signal::stop::StopState;
use crate::task::signal::{PendingSignals, SignalActions};
use crate::task::{Credentials, Thread, WaitQueue};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// A thread group.
pub struct Process {
    /// Its number in the initial pid namespace: the tid of its first thread.
    pub pid: u32,
    /// Its identity in all pid namespaces.
    pub id: Arc<Pid>,
    address_space: SpinLock<Option<Arc<AddressSpace>>>,
    pub(in crate::task) family: SpinLock<Family>,
    /// What each signal does. Replaced only by an exec that had the table shared.
    actions: SpinLock<Arc<SignalActions>>,
    pub(in crate::task) signals: SpinLock<SharedSignals>,
    /// Woken when a signal arrives for the process or one of its threads: signalfd.
    pub signal_arrivals: Arc<WaitQueue>,
    /// Woken when a child changes state: `wait4`.
    pub(in crate::task) child_events: WaitQueue,
    /// Threads that are stopped wait here for SIGCONT or SIGKILL.
    pub(in crate::task) stop_queue: WaitQueue,
    /// An exec waits here for the other threads to end.
    pub(in crate::task) thread_exits: WaitQueue,
    /// `prlimit(2)`.
    pub limits: SpinLock<Limits>,
    pub(in crate::task) times: SpinLock<ProcessTimes>,
    pub(in crate::task) interval_timers: SpinLock<IntervalTimers>,
    pub(in crate::task) posix_timers: SpinLock<PosixTimers>,
    image: SpinLock<Image>,
    /// Nanoseconds of the monotonic clock.
    pub start_ns: u64,
    /// The signal for the parent at the end; 0 for none, -1 for a process whose parent never set one.
    pub(in crate::task) exit_signal: AtomicI32,
    /// `PR_SET_DUMPABLE`: 0, 1 or 2.
    pub dumpable: AtomicU32,
    /// `/proc/PID/oom_score_adj`, -1000 to 1000.
    pub oom_score_adjustment: AtomicI32,
    /// `personality(2)`.
    pub personality: AtomicU32,
    /// `PR_SET_CHILD_SUBREAPER`.
    pub(in crate::task) is_subreaper: AtomicBool,
    /// It has called exec since it was forked: `setpgid` on it is `EACCES`.
    pub(in crate::task) has_executed: AtomicBool,
    /// A default action does not touch it: the init of a pid namespace.
    pub(in crate::task) is_unkillable: AtomicBool,
    /// `PR_SET_THP_DISABLE`.
    pub(in crate::task) no_huge_pages: AtomicBool,
}

/// What the process runs: for `/proc`.
#[derive(Clone, Default)]
pub struct Image {
    /// The program's file, which denies writers and pins its mount.
    pub executable: Option<Arc<Executable>>,
    /// Where argv's strings lie in its memory.
    pub arguments: (u64, u64),
    /// Where the environment's strings lie.
    pub environment: (u64, u64),
    /// The auxiliary vector (`/proc/PID/auxv`).
    pub auxiliary_vector: Vec<u64>,
    /// The initial stack pointer (field 28 of `/proc/PID/stat`).
    pub stack_start: u64,
}

/// Relations to other processes and threads.
pub(in crate::task) struct Family {
    pub parent: Weak<Process>,
    /// The thread that made it (`PR_SET_PDEATHSIG`).
    pub parent_thread: Weak<Thread>,
    pub children: Vec<Arc<Process>>,
    /// Threads that have not ended, and the first one until the process is reaped.
    pub threads: Vec<Arc<Thread>>,
    /// How many of them have not begun to exit.
    pub live_threads: usize,
    pub group: Arc<Pid>,
    pub session: Arc<Pid>,
    pub terminal: Option<Arc<dyn ControllingTerminal>>,
    /// The status for `wait4` once the process is a zombie.
    pub zombie: Option<i32>,
}

/// Signals for the process as a whole.
#[derive(Default)]
pub(in crate::task) struct SharedSignals {
    pub pending: PendingSignals,
    /// The process ends with this wait status.
    pub group_exit: Option<i32>,
    /// The thread that calls exec while the others are being ended.
    pub executing: Option<Weak<Thread>>,
    pub stop: StopState,
}

pub(in crate::task) struct ProcessParts {
    pub id: Arc<Pid>,
    pub address_space: Option<Arc<AddressSpace>>,
    pub actions: Arc<SignalActions>,
    pub limits: Limits,
    pub image: Image,
    pub family: Family,
    pub exit_signal: i32,
    pub dumpable: u32,
    pub oom_score_adjustment: i32,
    pub personality: u32,
    pub no_huge_pages: bool,
}

#[allow(missing_docs)]
impl Process {
    pub(in crate::task) fn new(parts: ProcessParts) -> Arc<Self> {
        let is_unkillable = parts.id.is_namespace_init();
        Arc::new(Self {
            pid: parts.id.global_number(),
            id: parts.id,
            address_space: SpinLock::new(parts.address_space),
            family: SpinLock::new(parts.family),
            actions: SpinLock::new(parts.actions),
            signals: SpinLock::default(),
            signal_arrivals: Arc::default(),
            child_events: WaitQueue::new(),
            stop_queue: WaitQueue::new(),
            thread_exits: WaitQueue::new(),
            limits: SpinLock::new(parts.limits),
            times: SpinLock::default(),
            interval_timers: SpinLock::default(),
            posix_timers: SpinLock::default(),
            image: SpinLock::new(parts.image),
            start_ns: crate::time::clock::monotonic_ns(),
            exit_signal: AtomicI32::new(parts.exit_signal),
            dumpable: AtomicU32::new(parts.dumpable),
            oom_score_adjustment: AtomicI32::new(parts.oom_score_adjustment),
            personality: AtomicU32::new(parts.personality),
            is_subreaper: AtomicBool::new(false),
            has_executed: AtomicBool::new(false),
            is_unkillable: AtomicBool::new(is_unkillable),
            no_huge_pages: AtomicBool::new(parts.no_huge_pages),
        })
    }

    /// `None` once it has exited.
    pub fn address_space(&self) -> Option<Arc<AddressSpace>> {
        self.address_space.lock().clone()
    }

    pub(in crate::task) fn replace_address_space(&self, new: Option<Arc<AddressSpace>>) -> Option<Arc<AddressSpace>> {
        core::mem::replace(&mut *self.address_space.lock(), new)
    }

    /// Whether another process (a `vfork` parent or child) has the same memory.
    pub(in crate::task) fn shares_memory(&self) -> bool {
        self.address_space.lock().as_ref().is_some_and(|space| Arc::strong_count(space) > 1)
    }

    /// What it runs.
    pub fn image(&self) -> Image {
        self.image.lock().clone()
    }

    pub(in crate::task) fn replace_image(&self, image: Image) -> Image {
        core::mem::replace(&mut *self.image.lock(), image)
    }

    /// The file that it runs (`/proc/PID/exe`).
    pub fn executable(&self) -> Option<Arc<OpenFile>> {
        self.image.lock().executable.as_ref().map(|executable| executable.file.clone())
    }

    pub fn signal_actions(&self) -> Arc<SignalActions> {
        self.actions.lock().clone()
    }

    pub(in crate::task) fn replace_signal_actions(&self, actions: Arc<SignalActions>) {
        *self.actions.lock() = actions;
    }

    /// Its first thread, until it is reaped.
    pub fn leader(&self) -> Option<Arc<Thread>> {
        self.id.thread()
    }

    /// Its threads that have not ended, and the first one.
    pub fn threads(&self) -> Vec<Arc<Thread>> {
        self.family.lock().threads.clone()
    }

    /// A thread that can still be asked for its files, root and the like.
    pub fn live_thread(&self) -> Option<Arc<Thread>> {
        let threads = self.threads();
        threads.iter().find(|thread| !thread.exiting.load(Ordering::Relaxed)).cloned()
    }

    pub fn parent(&self) -> Option<Arc<Process>> {
        self.family.lock().parent.upgrade()
    }

    pub fn children(&self) -> Vec<Arc<Process>> {
        self.family.lock().children.clone()
    }

    /// The process group's identity.
    pub fn group(&self) -> Arc<Pid> {
        self.family.lock().group.clone()
    }

    /// The session's identity.
    pub fn session(&self) -> Arc<Pid> {
        self.family.lock().session.clone()
    }

    /// The controlling terminal, if the session has one.
    pub fn terminal(&self) -> Option<Arc<dyn ControllingTerminal>> {
        self.family.lock().terminal.clone()
    }

    /// Whether it has ended and waits to be reaped.
    pub fn is_zombie(&self) -> bool {
        self.family.lock().zombie.is_some()
    }

    /// The parent's number as a member of `namespace` sees it: 0 for one outside.
    pub fn parent_number(&self, namespace: &PidNamespace) -> u32 {
        self.parent().map_or(0, |parent| parent.id.number_in(namespace))
    }

    /// Credentials of its first thread, until it is reaped.
    pub fn credentials(&self) -> Option<Arc<Credentials>> {
        self.leader().map(|thread| thread.credentials())
    }
}

/// How many threads run with `uid` as real user (`RLIMIT_NPROC`). O(threads).
pub(in crate::task) fn threads_of_user(uid: u32) -> u64 {
    let processes = PidNamespace::initial().processes();
    let threads = processes.iter().flat_map(|process| process.threads());
    threads.filter(|thread| thread.credentials().uid == uid).count() as u64
}
