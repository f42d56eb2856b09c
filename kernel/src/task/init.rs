//! The first process: from the kernel's command line to a running init, as Linux looks for it.

use crate::arch::{UserContext, command_line};
use crate::errno::{Errno, Result};
use crate::fs::open::{OpenHow, open};
use crate::fs::walk::LookupFlags;
use crate::fs::{FdTable, FsContext, OpenFlags, Path};
use crate::mm::AddressSpace;
use crate::task::cgroup::{Cgroup, membership};
use crate::task::exec::arguments::{Arguments, Strings};
use crate::task::exec::{self, Target};
use crate::task::namespaces::MountNamespace;
use crate::task::pid::{Pid, PidNamespace};
use crate::task::process::{Family, Image, ProcessParts};
use crate::task::rlimit::Limits;
use crate::task::scheduler::{self, KernelSide, SchedulingPolicy};
use crate::task::signal::SignalActions;
use crate::task::thread::{ThreadParts, ThreadSignals};
use crate::task::{Credentials, Namespaces, Process, Thread, clone, current};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use linux_raw_sys::general as sys;

/// What is tried when nothing is asked for and the initramfs has no `/init`.
const FALLBACKS: [&[u8]; 4] = [b"/sbin/init", b"/etc/init", b"/bin/init", b"/bin/sh"];
/// umask of the first process.
const UMASK: u32 = 0o022;
/// Timer slack of every thread that did not choose another, in nanoseconds.
const TIMER_SLACK_NS: u64 = 50_000;

/// Makes process 1 in the boot's mount namespace and leaves the boot for it. `prepare` runs first in it, as a thread of the kernel's:
/// it unpacks the initramfs.
pub fn start(root: Path, mounts: Arc<MountNamespace>, prepare: fn()) -> ! {
    let thread = make_first(root, mounts).unwrap_or_else(|error| panic!("no memory for the first process: {error:?}"));
    PREPARE.call_once(|| prepare);
    scheduler::launch(&thread, become_init);
    drop(thread);
    scheduler::start()
}

static PREPARE: crate::sync::Once<fn()> = crate::sync::Once::new();

fn make_first(root: Path, mounts: Arc<MountNamespace>) -> Result<Arc<Thread>> {
    let id = Pid::allocate(&PidNamespace::initial(), &[])?;
    let idle = Pid::idle();
    let process = Process::new(ProcessParts {
        id: id.clone(),
        address_space: Some(AddressSpace::new()?),
        actions: SignalActions::new(),
        limits: Limits::initial(),
        image: Image::default(),
        family: Family {
            parent: Weak::new(),
            parent_thread: Weak::new(),
            children: Vec::new(),
            threads: Vec::new(),
            live_threads: 0,
            group: idle.clone(),
            session: idle,
            terminal: None,
            zombie: None,
        },
        exit_signal: 0,
        dumpable: 1,
        oom_score_adjustment: 0,
        personality: 0,
        no_huge_pages: false,
    });
    let thread = Thread::new(ThreadParts {
        process,
        pid: id.clone(),
        credentials: Arc::new(Credentials::initial()),
        fs: Some(FsContext::new(root, UMASK)),
        files: Some(FdTable::new()),
        namespaces: Some(Namespaces::initial(mounts)),
        cgroup: Cgroup::root().clone(),
        name: *b"swapper/0\0\0\0\0\0\0\0",
        user_context: UserContext::new(0, 0),
        kernel_side: KernelSide::new()?,
        policy: SchedulingPolicy::DEFAULT,
        signals: ThreadSignals::default(),
        timer_slack_ns: TIMER_SLACK_NS,
    });
    membership::enter_root(&thread);
    clone::link(&thread, &id);
    Ok(thread)
}

/// First in process 1: afterwards the thread goes to user mode as init.
fn become_init() {
    if let Some(prepare) = PREPARE.get() {
        prepare();
    }
    open_console();
    let line = command_line::command_line();
    let ramdisk_init = line.ramdisk_init.as_deref().unwrap_or(b"/init");
    if exists(ramdisk_init) && try_run(ramdisk_init) {
        return;
    }
    if let Some(init) = &line.init {
        if let Err(error) = run(init) {
            panic!("Requested init {} failed (error {}).", text(init), -error.code());
        }
        return;
    }
    if !FALLBACKS.iter().any(|candidate| try_run(candidate)) {
        panic!("No working init found.  Try passing init= option to kernel.");
    }
}

fn exists(name: &[u8]) -> bool {
    let there = crate::fs::walk::lookup(sys::AT_FDCWD, name, LookupFlags::FOLLOW).is_ok();
    if !there {
        log::warn!("check access for rdinit={} failed: -2, ignoring", text(name));
    }
    there
}

/// Executes `name`, saying why if it is there and cannot be.
fn try_run(name: &[u8]) -> bool {
    match run(name) {
        Ok(()) => true,
        Err(Errno::NOENT) => false,
        Err(error) => {
            log::error!("Starting init: {} exists but couldn't execute it (error {})", text(name), -error.code());
            false
        }
    }
}

/// `/dev/console` is descriptors 0, 1 and 2.
fn open_console() {
    let opened = open(sys::AT_FDCWD, b"/dev/console", OpenHow::from_open(OpenFlags::RDWR.bits(), 0));
    let Ok(file) = opened else {
        log::error!("Warning: unable to open an initial console.");
        return;
    };
    let thread = current();
    for _ in 0..3 {
        let _ = thread.files().insert(file.clone(), false, 0, thread.process.descriptor_limit());
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Executes `name` with what the command line leaves for init: its words as arguments, its `key=value`s as environment.
fn run(name: &[u8]) -> Result<()> {
    let line = command_line::command_line();
    let mut arguments: Strings = Vec::from([name.to_vec()]);
    arguments.extend(line.init_arguments.iter().map(|word| word.to_vec()));
    let mut environment: Strings = Vec::from([b"HOME=/".to_vec(), b"TERM=linux".to_vec()]);
    for setting in &line.init_environment {
        let key = setting.split(|byte| *byte == b'=').next().unwrap_or_default();
        environment.retain(|old| old.split(|byte| *byte == b'=').next() != Some(key));
        environment.push(setting.to_vec());
    }
    log::info!("Run {} as init process", text(name));
    let strings = Arguments::from_kernel(&current(), arguments, environment);
    exec::execute(&Target { directory_fd: sys::AT_FDCWD, name: name.to_vec(), flags: LookupFlags::FOLLOW }, strings)
}
