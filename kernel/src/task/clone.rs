//! `fork(2)`, `vfork(2)`, `clone(2)`, `clone3(2)`.

use crate::errno::{Errno, Result};
use crate::mm::USER_END;
use crate::mm::user::UserPointer;
use crate::task::cgroup::Cgroup;
use crate::task::cgroup::freezer;
use crate::task::cgroup::membership::Arrival;
use crate::task::pid::{Pid, PidNamespace};
use crate::task::process::{Family, ProcessParts};
use crate::task::scheduler::{self, KernelSide};
use crate::task::signal::Signal;
use crate::task::thread::{AlternateStack, Completion, ThreadParts, ThreadSignals};
use crate::task::wait_queue::WaitMode;
use crate::task::{Capabilities, Credentials, Namespaces, Process, Thread, current, pidfd, unshare};
use crate::time::vdso;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

/// What a clone is asked for: the fields of `struct clone_args`, whichever call they came by.
#[derive(Clone, Default)]
#[allow(missing_docs)]
pub struct CloneRequest {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u32,
    /// The new stack pointer; 0 keeps the caller's.
    pub stack_pointer: u64,
    pub tls: u64,
    /// Innermost namespace first.
    pub set_tid: Vec<u32>,
    /// `CLONE_INTO_CGROUP`.
    pub cgroup: Option<Arc<Cgroup>>,
}

impl CloneRequest {
    fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }
}

const NEW_NAMESPACES: u32 = sys::CLONE_NEWNS
    | sys::CLONE_NEWCGROUP
    | sys::CLONE_NEWUTS
    | sys::CLONE_NEWIPC
    | sys::CLONE_NEWUSER
    | sys::CLONE_NEWPID
    | sys::CLONE_NEWNET
    | sys::CLONE_NEWTIME;

/// Makes a thread or process as asked: its number as the caller sees it. With `CLONE_VFORK` once it has called exec or ended.
pub fn clone(request: &CloneRequest) -> Result<u32> {
    let parent = current();
    check_flags(request, &parent)?;
    if parent.has_signal() {
        // A signal for the whole group must not miss the child.
        return Err(Errno::RESTARTNOINTR);
    }
    check_process_limit(&parent)?;
    let credentials = child_credentials(request, &parent)?;
    let (namespaces, fs) = child_view(request, &parent, &credentials)?;
    check_set_tid(request, &namespaces)?;
    let id = Pid::allocate(&namespaces.pid_for_children, &request.set_tid)?;
    let release = |_: &Errno| id.release_if_unused();
    let arrival = Arrival::prepare(request.cgroup.as_ref(), request.has(sys::CLONE_THREAD)).inspect_err(release)?;
    super::views::count_fork();
    let made = make_child(request, &parent, &id, credentials, namespaces, fs, arrival.group().clone());
    let child = made.inspect_err(release)?;
    if parent.must_end() {
        // Who kills a group must not miss a child that is on its way into it.
        release(&Errno::INTR);
        return Err(Errno::INTR);
    }
    finish(request, &child, &id, arrival)
}

/// The combinations that `clone(2)` refuses.
fn check_flags(request: &CloneRequest, parent: &Thread) -> Result<()> {
    let both = |a: u32, b: u32| request.has(a) && request.has(b);
    let without = |a: u32, b: u32| request.has(a) && !request.has(b);
    let refused = both(sys::CLONE_NEWNS, sys::CLONE_FS)
        || both(sys::CLONE_NEWUSER, sys::CLONE_FS)
        || without(sys::CLONE_THREAD, sys::CLONE_SIGHAND)
        || without(sys::CLONE_SIGHAND, sys::CLONE_VM)
        || both(sys::CLONE_THREAD, sys::CLONE_NEWUSER)
        || both(sys::CLONE_THREAD, sys::CLONE_NEWPID)
        || both(sys::CLONE_PIDFD, sys::CLONE_THREAD)
        || both(sys::CLONE_PIDFD, sys::CLONE_DETACHED)
        || (request.has(sys::CLONE_SIGHAND) && request.flags & sys::CLONE_CLEAR_SIGHAND != 0);
    // Siblings of a namespace's init would have no reaper.
    let sibling_of_init = request.has(sys::CLONE_PARENT) && parent.process.is_unkillable.load(Ordering::Relaxed);
    let enters_namespace = request.has(sys::CLONE_THREAD) && !Arc::ptr_eq(&parent.namespaces().pid_for_children, parent.pid().namespace());
    if refused || sibling_of_init || enters_namespace {
        return Err(Errno::INVAL);
    }
    if request.has(sys::CLONE_SETTLS) && request.tls >= USER_END {
        return Err(Errno::PERM);
    }
    Ok(())
}

/// `RLIMIT_NPROC`, and the memory that the kernel keeps back.
fn check_process_limit(parent: &Thread) -> Result<()> {
    if crate::mm::frame::low() {
        return Err(Errno::NOMEM);
    }
    if PidNamespace::initial().len() as u64 >= max_threads() {
        return Err(Errno::AGAIN);
    }
    let limit = parent.process.limit(sys::RLIMIT_NPROC);
    let credentials = parent.credentials();
    let exempt = credentials.uid == 0 || credentials.capable(Capabilities::SYS_RESOURCE) || credentials.capable(Capabilities::SYS_ADMIN);
    if exempt || limit == super::rlimit::INFINITY || super::process::threads_of_user(credentials.uid) < limit {
        return Ok(());
    }
    Err(Errno::AGAIN)
}

/// How many threads there may be: their kernel stacks take at most a quarter of memory (`/proc/sys/kernel/threads-max`).
pub fn max_threads() -> u64 {
    let pages_of_stack = crate::arch::STACK_BYTES / crate::mm::PAGE_SIZE_BYTES as u64;
    (crate::mm::frame::statistics().total_pages / 4 / pages_of_stack).max(20)
}

fn child_credentials(request: &CloneRequest, parent: &Thread) -> Result<Arc<Credentials>> {
    let mut credentials = parent.credentials();
    let keyrings = &credentials.keyrings;
    if keyrings.thread.is_some() || keyrings.process.is_some() {
        let keyrings = keyrings.for_child(request.has(sys::CLONE_THREAD));
        credentials = Arc::new(Credentials { keyrings, ..Credentials::clone(&credentials) });
    }
    if !request.has(sys::CLONE_NEWUSER) {
        return Ok(credentials);
    }
    unshare::in_new_user_namespace(&credentials, parent)
}

type View = (Arc<Namespaces>, Arc<crate::fs::FsContext>);

fn child_view(request: &CloneRequest, parent: &Thread, credentials: &Arc<Credentials>) -> Result<View> {
    let old = parent.namespaces();
    let fs = if request.has(sys::CLONE_FS) { parent.fs() } else { parent.fs().duplicate() };
    let wanted = request.flags as u32 & NEW_NAMESPACES & !sys::CLONE_NEWUSER;
    let namespaces = if wanted == 0 { old } else { unshare::copy_namespaces(&old, wanted, credentials, &fs, parent)? };
    // Who shares the memory shares what clocks show in it, until its exec.
    let namespaces = if request.has(sys::CLONE_VM) { namespaces } else { namespaces.with_time_entered() };
    Ok((namespaces, fs))
}

/// `set_tid` of `clone3`: at most one number for each level, each in range, and the right to choose.
fn check_set_tid(request: &CloneRequest, namespaces: &Namespaces) -> Result<()> {
    if request.set_tid.is_empty() {
        return Ok(());
    }
    let namespace = &namespaces.pid_for_children;
    let valid = request.set_tid.len() <= namespace.level + 1
        && request.set_tid.iter().all(|number| (1..super::pid::pid_max()).contains(number))
        // The first process of a namespace is number 1.
        && (namespace.len() > 0 || request.set_tid[0] == 1);
    if !valid {
        return Err(Errno::INVAL);
    }
    let credentials = current().credentials();
    let mut at = Some(namespace);
    for _ in &request.set_tid {
        let Some(here) = at else { break };
        let allowed = credentials.capable_in(Capabilities::SYS_ADMIN, &here.owner)
            || credentials.capable_in(Capabilities::CHECKPOINT_RESTORE, &here.owner);
        if !allowed {
            return Err(Errno::PERM);
        }
        at = here.parent.as_ref();
    }
    Ok(())
}

fn make_child(
    request: &CloneRequest,
    parent: &Arc<Thread>,
    id: &Arc<Pid>,
    credentials: Arc<Credentials>,
    namespaces: Arc<Namespaces>,
    fs: Arc<crate::fs::FsContext>,
    cgroup: Arc<Cgroup>,
) -> Result<Arc<Thread>> {
    let files = if request.has(sys::CLONE_FILES) { parent.files() } else { parent.files().duplicate()? };
    let kernel_side = KernelSide::new()?;
    let process = if request.has(sys::CLONE_THREAD) { parent.process.clone() } else { make_process(request, parent, id)? };
    if !Arc::ptr_eq(&namespaces.time, &parent.namespaces().time)
        && let Some(space) = process.address_space()
    {
        vdso::enter(&space, &namespaces.time);
    }
    let mut user_context = parent.user_context.lock().clone();
    user_context.registers.rax = 0;
    if request.stack_pointer != 0 {
        user_context.rsp = request.stack_pointer;
    }
    if request.has(sys::CLONE_SETTLS) {
        user_context.fs_base = request.tls;
    }
    let shares_stack = !request.has(sys::CLONE_VM) || request.has(sys::CLONE_VFORK);
    let signals = {
        let own = parent.signals.lock();
        let alternate_stack = if shares_stack { own.alternate_stack } else { AlternateStack::default() };
        ThreadSignals { mask: own.saved_mask.unwrap_or(own.mask), alternate_stack, ..ThreadSignals::default() }
    };
    let policy = *parent.policy.lock();
    let child = Thread::new(ThreadParts {
        process,
        pid: id.clone(),
        credentials,
        fs: Some(fs),
        files: Some(files),
        namespaces: Some(namespaces),
        cgroup,
        name: parent.raw_name(),
        user_context,
        kernel_side,
        policy: policy.for_child(),
        signals,
        timer_slack_ns: parent.timer_slack_ns.load(Ordering::Relaxed),
    });
    child.seccomp.inherit(&parent.seccomp);
    if !request.has(sys::CLONE_VM) {
        *child.restartable.lock() = *parent.restartable.lock();
    }
    if request.has(sys::CLONE_CHILD_CLEARTID) {
        child.clear_child_tid.store(request.child_tid, Ordering::Relaxed);
    }
    if request.has(sys::CLONE_CHILD_SETTID) {
        child.set_child_tid.store(request.child_tid, Ordering::Relaxed);
    }
    Ok(child)
}

fn make_process(request: &CloneRequest, parent: &Arc<Thread>, id: &Arc<Pid>) -> Result<Arc<Process>> {
    let mother = &parent.process;
    let space = mother.address_space().ok_or(Errno::NOMEM)?;
    let space = if request.has(sys::CLONE_VM) { space } else { space.fork()? };
    let actions = mother.signal_actions();
    let actions = match () {
        () if request.has(sys::CLONE_SIGHAND) => actions,
        () if request.flags & sys::CLONE_CLEAR_SIGHAND != 0 => actions.cleared(),
        () => actions.duplicate(),
    };
    let (group, session, terminal) = {
        let family = mother.family.lock();
        (family.group.clone(), family.session.clone(), family.terminal.clone())
    };
    let as_sibling = request.has(sys::CLONE_PARENT);
    let (parent_process, parent_thread, exit_signal) = if as_sibling {
        let family = mother.family.lock();
        (family.parent.clone(), family.parent_thread.clone(), mother.exit_signal.load(Ordering::Relaxed))
    } else {
        (Arc::downgrade(mother), Arc::downgrade(parent), request.exit_signal as i32)
    };
    let limits = *mother.limits.lock();
    Ok(Process::new(ProcessParts {
        id: id.clone(),
        address_space: Some(space),
        actions,
        limits,
        image: mother.image(),
        family: Family {
            parent: parent_process,
            parent_thread,
            children: Vec::new(),
            threads: Vec::new(),
            live_threads: 0,
            group,
            session,
            terminal,
            zombie: None,
        },
        exit_signal,
        dumpable: mother.dumpable.load(Ordering::Relaxed),
        oom_score_adjustment: mother.oom_score_adjustment.load(Ordering::Relaxed),
        personality: mother.personality.load(Ordering::Relaxed),
        no_huge_pages: mother.no_huge_pages.load(Ordering::Relaxed),
    }))
}

/// From here on nothing fails but what the caller asked to be told: the child is linked in, its numbers are told, it starts.
fn finish(request: &CloneRequest, child: &Arc<Thread>, id: &Arc<Pid>, arrival: Arrival) -> Result<u32> {
    let number = id.number();
    if request.has(sys::CLONE_PIDFD) {
        pidfd::install(id, false, UserPointer::new(request.pidfd)).inspect_err(|_| id.release_if_unused())?;
    }
    if request.has(sys::CLONE_PARENT_SETTID) {
        // An address that cannot be written is the caller's loss, as in Linux.
        let _ = UserPointer::<u32>::new(request.parent_tid).write(number);
    }
    let done = request.has(sys::CLONE_VFORK).then(Arc::<Completion>::default);
    *child.vfork_done.lock() = done.clone();
    link(child, id);
    arrival.enter(child);
    scheduler::launch(child, first_steps);
    if let Some(done) = done {
        // Only its own end lets the parent go on earlier; the child then runs on by itself.
        let _ = freezer::while_frozen(&current(), || done.wait(WaitMode::KILLABLE));
    }
    Ok(number)
}

/// Makes the thread known by its number, and a new process a child of its parent.
pub(in crate::task) fn link(child: &Arc<Thread>, id: &Arc<Pid>) {
    let process = &child.process;
    {
        let mut family = process.family.lock();
        family.threads.push(child.clone());
        family.live_threads += 1;
    }
    id.set_thread(Some(child));
    if !Arc::ptr_eq(id, &process.id) {
        return;
    }
    id.set_process(Some(process));
    process.group().join_group(process);
    process.session().join_session(process);
    if let Some(parent) = process.parent() {
        parent.family.lock().children.push(process.clone());
    }
}

/// What a child does in its own memory before it goes to user mode.
fn first_steps() {
    let thread = current();
    let address = thread.set_child_tid.load(Ordering::Relaxed);
    if address != 0 {
        let _ = UserPointer::<u32>::new(address).write(thread.pid().number());
    }
}

/// The legacy call's signal: the low byte of the flags.
pub fn legacy_exit_signal(flags: u64) -> u32 {
    (flags & u64::from(sys::CSIGNAL)) as u32
}

/// Whether `number` may be the signal of `clone3` at a child's end: 0 or a signal.
pub fn is_exit_signal(number: u64) -> bool {
    number <= Signal::COUNT as u64
}
