//! Threads of the kernel's own: work that may block and that no program asked for.
//!
//! They are in no table of processes: no pid, nothing in `/proc`, no signals. They hold no directory, descriptor, namespace or memory of
//! programs, so nothing is ever busy because of them.

use crate::arch::UserContext;
use crate::errno::Result;
use crate::task::cgroup::Cgroup;
use crate::task::pid::Pid;
use crate::task::process::{Family, Image, ProcessParts};
use crate::task::rlimit::Limits;
use crate::task::scheduler::{self, KernelSide, SchedulingPolicy};
use crate::task::signal::SignalActions;
use crate::task::thread::{NAME_LEN_BYTES, ThreadParts, ThreadSignals};
use crate::task::{Credentials, Process, Thread};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// Starts a thread that does `work`, which must not return. `ENOMEM`.
pub fn spawn(name: [u8; NAME_LEN_BYTES], work: fn()) -> Result<()> {
    let kernel_side = KernelSide::new()?;
    let idle = Pid::idle();
    let process = Process::new(ProcessParts {
        id: idle.clone(),
        address_space: None,
        actions: SignalActions::new(),
        limits: Limits::initial(),
        image: Image::default(),
        family: Family {
            parent: Weak::new(),
            parent_thread: Weak::new(),
            children: Vec::new(),
            threads: Vec::new(),
            live_threads: 1,
            group: idle.clone(),
            session: idle.clone(),
            terminal: None,
            zombie: None,
        },
        exit_signal: 0,
        dumpable: 0,
        oom_score_adjustment: 0,
        personality: 0,
        no_huge_pages: false,
    });
    let thread = Thread::new(ThreadParts {
        process,
        pid: idle,
        credentials: Arc::new(Credentials::initial()),
        fs: None,
        files: None,
        namespaces: None,
        cgroup: Cgroup::root().clone(),
        name,
        user_context: UserContext::new(0, 0),
        kernel_side,
        policy: SchedulingPolicy::DEFAULT,
        signals: ThreadSignals::default(),
        timer_slack_ns: 0,
    });
    scheduler::launch(&thread, work);
    Ok(())
}
