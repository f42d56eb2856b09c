//! A thread: what the scheduler runs. Credentials, file tables and namespaces are each thread's own, as in Linux.

use crate::arch::UserContext;
use crate::fs::{FdTable, FsContext};
use crate::sync::SpinLock;
use crate::task::accounting::ThreadTimes;
use crate::task::cgroup::Cgroup;
use crate::task::cgroup::cpu::Times;
use crate::task::namespaces::{Kind, NamespaceHandle};
use crate::task::pid::Pid;
use crate::task::scheduler::{KernelSide, RunState, SchedulingPolicy};
use crate::task::seccomp::Seccomp;
use crate::task::signal::{PendingSignals, SignalSet};
use crate::task::{Credentials, Namespaces, Process, WaitQueue};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Bytes of a thread's name with its NUL (`TASK_COMM_LEN`).
pub const NAME_LEN_BYTES: usize = 16;

/// A thread of a process.
pub struct Thread {
    pub(in crate::task) this: Weak<Thread>,
    /// The process that it belongs to.
    pub process: Arc<Process>,
    /// Its identity: changes when another thread than the first calls `exec`.
    pid: SpinLock<Arc<Pid>>,
    credentials: SpinLock<Arc<Credentials>>,
    /// These three are let go of when the thread exits, before anybody can learn of its end.
    fs: SpinLock<Option<Arc<FsContext>>>,
    files: SpinLock<Option<Arc<FdTable>>>,
    namespaces: SpinLock<Option<Arc<Namespaces>>>,
    /// The control group that it is in, or was last in.
    cgroup: SpinLock<Arc<Cgroup>>,
    name: SpinLock<[u8; NAME_LEN_BYTES]>,
    /// Registers of user mode. Locked by the thread itself while it is in user mode, so never by others.
    pub(in crate::task) user_context: SpinLock<UserContext>,
    /// Kernel stack and saved registers.
    pub(in crate::task) kernel_side: KernelSide,
    pub(in crate::task) run_state: SpinLock<RunState>,
    pub(in crate::task) policy: SpinLock<SchedulingPolicy>,
    pub(in crate::task) signals: SpinLock<ThreadSignals>,
    /// The thread must end as soon as it can: its process ends, or another thread calls exec.
    pub(in crate::task) kill_requested: AtomicBool,
    /// It has begun to exit; nothing is delivered to it any more.
    pub(in crate::task) exiting: AtomicBool,
    /// It has begun to exit or has ended; of a first thread that waits for the others, `/proc` shows Z.
    pub(in crate::task) dead: AtomicBool,
    /// It is stopped (job control).
    pub(in crate::task) stopped: AtomicBool,
    /// What it had used when it came into its control group.
    pub(in crate::task) cgroup_base: SpinLock<Times>,
    /// Processor time that limits of control groups were charged for, and time that their weights were.
    pub(in crate::task) paid_ns: AtomicU64,
    pub(in crate::task) shared_ns: AtomicU64,
    /// Where it stands among its siblings when control groups are weighed.
    pub(in crate::task) virtual_ns: AtomicU64,
    /// The control group that its pages are charged to, if any is governed.
    pub(in crate::task) memory_group: SpinLock<Option<Arc<Cgroup>>>,
    /// The one that was full at its last charge, and how often it has waited for that.
    pub(in crate::task) memory_shortage: SpinLock<Option<Arc<Cgroup>>>,
    pub(in crate::task) memory_tries: AtomicU32,
    /// Which calls it may make.
    pub seccomp: Seccomp,
    /// What it must see to before it goes on in user mode (`return_work`).
    pub(in crate::task) return_work: AtomicU32,
    /// It stands still for its control group's sake, or as good as that.
    pub(in crate::task) frozen: AtomicBool,
    /// `rseq(2)`.
    pub(in crate::task) restartable: SpinLock<Option<super::rseq::Registration>>,
    /// `set_tid_address`: cleared and woken at the end.
    pub(in crate::task) clear_child_tid: AtomicU64,
    /// `CLONE_CHILD_SETTID`: where the child writes its number first of all.
    pub(in crate::task) set_child_tid: AtomicU64,
    /// The wait status that it ends with.
    pub(in crate::task) exit_status: AtomicI32,
    /// Head of the robust futex list.
    pub(in crate::task) robust_list: AtomicU64,
    /// Who made the process by `vfork` waits here until exec or exit.
    pub(in crate::task) vfork_done: SpinLock<Option<Arc<Completion>>>,
    /// How a call that was stopped half way goes on (`restart_syscall`).
    pub(in crate::task) restart: SpinLock<Option<super::run::RestartCall>>,
    pub(in crate::task) times: ThreadTimes,
    /// Nanoseconds of the monotonic clock.
    pub start_ns: u64,
    /// `PR_SET_PDEATHSIG` of the process's thread; 0 for none.
    pub(in crate::task) parent_death_signal: AtomicU32,
    /// `PR_SET_TIMERSLACK`, in nanoseconds.
    pub(in crate::task) timer_slack_ns: AtomicU64,
}

/// What a thread has of signals for itself.
#[derive(Default)]
pub struct ThreadSignals {
    /// Blocked signals.
    pub mask: SignalSet,
    /// The mask to come back to after `sigsuspend` and its kin.
    pub saved_mask: Option<SignalSet>,
    /// Signals sent to this thread alone.
    pub pending: PendingSignals,
    /// `sigaltstack(2)`.
    pub alternate_stack: AlternateStack,
    /// The last fault, for the frame of whatever signal comes next.
    pub(in crate::task) last_fault: super::signal::FaultRecord,
    /// What the thread waits for in `rt_sigtimedwait`: such signals wake it although they are blocked.
    pub(in crate::task) waited_for: SignalSet,
}

/// `stack_t`.
#[derive(Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct AlternateStack {
    pub base: u64,
    pub len_bytes: u64,
    /// `SS_AUTODISARM` only.
    pub flags: u32,
}

/// Something that happens once.
#[derive(Default)]
pub struct Completion {
    done: AtomicBool,
    waiters: WaitQueue,
}

impl Completion {
    /// It has happened.
    pub fn complete(&self) {
        self.done.store(true, Ordering::Release);
        self.waiters.wake_all();
    }

    /// Waits for it as `mode` says.
    pub fn wait(&self, mode: super::wait_queue::WaitMode) -> crate::errno::Result<()> {
        self.waiters.wait_until(mode, || self.done.load(Ordering::Acquire).then_some(()))
    }
}

/// What a new thread begins with.
pub(in crate::task) struct ThreadParts {
    pub process: Arc<Process>,
    pub pid: Arc<Pid>,
    pub credentials: Arc<Credentials>,
    /// These three are missing in threads of the kernel.
    pub fs: Option<Arc<FsContext>>,
    pub files: Option<Arc<FdTable>>,
    pub namespaces: Option<Arc<Namespaces>>,
    pub cgroup: Arc<Cgroup>,
    pub name: [u8; NAME_LEN_BYTES],
    pub user_context: UserContext,
    pub kernel_side: KernelSide,
    pub policy: SchedulingPolicy,
    pub signals: ThreadSignals,
    pub timer_slack_ns: u64,
}

#[allow(missing_docs)]
impl Thread {
    pub(in crate::task) fn new(parts: ThreadParts) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            process: parts.process,
            pid: SpinLock::new(parts.pid),
            credentials: SpinLock::new(parts.credentials),
            fs: SpinLock::new(parts.fs),
            files: SpinLock::new(parts.files),
            namespaces: SpinLock::new(parts.namespaces),
            cgroup: SpinLock::new(parts.cgroup),
            name: SpinLock::new(parts.name),
            user_context: SpinLock::new(parts.user_context),
            kernel_side: parts.kernel_side,
            run_state: SpinLock::default(),
            policy: SpinLock::new(parts.policy),
            signals: SpinLock::new(parts.signals),
            kill_requested: AtomicBool::new(false),
            exiting: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            cgroup_base: SpinLock::default(),
            paid_ns: AtomicU64::new(0),
            shared_ns: AtomicU64::new(0),
            virtual_ns: AtomicU64::new(0),
            memory_group: SpinLock::new(None),
            memory_shortage: SpinLock::new(None),
            memory_tries: AtomicU32::new(0),
            seccomp: Seccomp::default(),
            return_work: AtomicU32::new(0),
            frozen: AtomicBool::new(false),
            restartable: SpinLock::new(None),
            clear_child_tid: AtomicU64::new(0),
            set_child_tid: AtomicU64::new(0),
            exit_status: AtomicI32::new(0),
            robust_list: AtomicU64::new(0),
            vfork_done: SpinLock::new(None),
            restart: SpinLock::new(None),
            times: ThreadTimes::default(),
            start_ns: crate::time::clock::monotonic_ns(),
            parent_death_signal: AtomicU32::new(0),
            timer_slack_ns: AtomicU64::new(parts.timer_slack_ns),
        })
    }

    /// Looks at or changes the registers of user mode: the thread's own, and not while it runs there.
    pub fn with_user_context<T>(&self, operate: impl FnOnce(&mut UserContext) -> T) -> T {
        operate(&mut self.user_context.lock())
    }

    /// `set_tid_address(2)`.
    pub fn set_clear_child_tid(&self, address: u64) {
        self.clear_child_tid.store(address, Ordering::Relaxed);
    }

    /// Its identity.
    pub fn pid(&self) -> Arc<Pid> {
        self.pid.lock().clone()
    }

    pub(in crate::task) fn set_pid(&self, pid: Arc<Pid>) -> Arc<Pid> {
        core::mem::replace(&mut *self.pid.lock(), pid)
    }

    /// Its number in the initial pid namespace.
    pub fn tid(&self) -> u32 {
        self.pid.lock().global_number()
    }

    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.lock().clone()
    }

    pub fn set_credentials(&self, credentials: Arc<Credentials>) {
        let old = core::mem::replace(&mut *self.credentials.lock(), credentials);
        drop(old);
    }

    /// Root, working directory, umask. Only for the current thread, which has them; of another ask [`Self::try_fs`].
    pub fn fs(&self) -> Arc<FsContext> {
        self.try_fs().expect("a running thread has its FsContext")
    }

    /// `None` once the thread has begun to exit.
    pub fn try_fs(&self) -> Option<Arc<FsContext>> {
        self.fs.lock().clone()
    }

    /// Descriptors. Only for the current thread, which has them; of another ask [`Self::try_files`].
    pub fn files(&self) -> Arc<FdTable> {
        self.try_files().expect("a running thread has its FdTable")
    }

    /// `None` once the thread has begun to exit.
    pub fn try_files(&self) -> Option<Arc<FdTable>> {
        self.files.lock().clone()
    }

    /// Only for the current thread, which has them; of another ask [`Self::try_namespaces`].
    pub fn namespaces(&self) -> Arc<Namespaces> {
        self.try_namespaces().expect("a running thread has its Namespaces")
    }

    /// `None` once the thread has begun to exit.
    pub fn try_namespaces(&self) -> Option<Arc<Namespaces>> {
        self.namespaces.lock().clone()
    }

    /// The old one is given back to be dropped where no lock is held.
    pub(in crate::task) fn replace_fs(&self, fs: Option<Arc<FsContext>>) -> Option<Arc<FsContext>> {
        core::mem::replace(&mut *self.fs.lock(), fs)
    }

    /// See [`Self::replace_fs`].
    pub fn replace_files(&self, files: Option<Arc<FdTable>>) -> Option<Arc<FdTable>> {
        core::mem::replace(&mut *self.files.lock(), files)
    }

    /// See [`Self::replace_fs`].
    pub(in crate::task) fn replace_namespaces(&self, namespaces: Option<Arc<Namespaces>>) -> Option<Arc<Namespaces>> {
        core::mem::replace(&mut *self.namespaces.lock(), namespaces)
    }

    /// Its control group; of a zombie the last one.
    pub fn cgroup(&self) -> Arc<Cgroup> {
        self.cgroup.lock().clone()
    }

    /// Processor time that it was charged for so far.
    pub(in crate::task) fn total_ns(&self) -> u64 {
        self.times.total_ns()
    }

    /// The old one is given back to be dropped where no lock is held.
    pub(in crate::task) fn set_cgroup(&self, cgroup: Arc<Cgroup>) -> Arc<Cgroup> {
        core::mem::replace(&mut *self.cgroup.lock(), cgroup)
    }

    /// The name (`/proc/PID/comm`), without NUL.
    pub fn name(&self) -> alloc::vec::Vec<u8> {
        let name = *self.name.lock();
        name.iter().copied().take_while(|byte| *byte != 0).collect()
    }

    pub(in crate::task) fn raw_name(&self) -> [u8; NAME_LEN_BYTES] {
        *self.name.lock()
    }

    /// Takes the first 15 bytes up to a NUL.
    pub fn set_name(&self, name: &[u8]) {
        let mut bytes = [0; NAME_LEN_BYTES];
        let wanted = name.iter().take(NAME_LEN_BYTES - 1).take_while(|byte| **byte != 0);
        for (to, from) in bytes.iter_mut().zip(wanted) {
            *to = *from;
        }
        *self.name.lock() = bytes;
    }

    /// Whether it is the first thread of its process.
    pub fn is_leader(&self) -> bool {
        Arc::ptr_eq(&*self.pid.lock(), &self.process.id)
    }

    /// One of its namespaces, for `/proc/PID/ns` and `setns` with a pidfd. `None` once it has begun to exit.
    pub fn namespace(&self, kind: Kind) -> Option<NamespaceHandle> {
        match kind {
            Kind::User => self.try_namespaces().map(|_| NamespaceHandle::User(self.credentials().user_namespace.clone())),
            Kind::Pid => self.try_namespaces().map(|_| NamespaceHandle::Pid(self.pid().namespace().clone())),
            Kind::Mount => self.try_namespaces().map(|all| NamespaceHandle::Mount(all.mount.clone())),
            Kind::Uts => self.try_namespaces().map(|all| NamespaceHandle::Uts(all.uts.clone())),
            Kind::Ipc => self.try_namespaces().map(|all| NamespaceHandle::Ipc(all.ipc.clone())),
            Kind::Cgroup => self.try_namespaces().map(|all| NamespaceHandle::Cgroup(all.cgroup.clone())),
            Kind::Network => self.try_namespaces().map(|all| NamespaceHandle::Network(all.network.clone())),
            Kind::Time => self.try_namespaces().map(|all| NamespaceHandle::Time(all.time.clone())),
        }
    }

    /// The blocked signals (`SigBlk`), and those that wait for this thread alone (`SigPnd`).
    pub fn signal_sets(&self) -> (SignalSet, SignalSet) {
        let signals = self.signals.lock();
        (signals.mask, signals.pending.set())
    }
}
