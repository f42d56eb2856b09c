//! `execve(2)`: another program takes the process over.
//!
//! First everything that can fail with an errno: the file, its headers, the interpreter, the arguments. Then the point of no return: the
//! other threads end, the old memory goes; a failure after it kills the process, as in Linux.

pub mod arguments;
pub mod image;
pub mod load;
pub mod privileges;
pub mod program;

use crate::arch::UserContext;
use crate::errno::{Errno, Result};
use crate::fs::walk::LookupFlags;
use crate::mm::AddressSpace;
use crate::task::cgroup::membership;
use crate::task::process::Image as ProcessImage;
use crate::task::signal::Signal;
use crate::task::thread::AlternateStack;
use crate::task::wait_queue::WaitMode;
use crate::task::{Process, Thread, current, exit, posix_timer};
use alloc::{format, sync::Arc, vec::Vec};
use arguments::Arguments;
use core::sync::atomic::Ordering;
use image::Image;
use linux_raw_sys::general as sys;
use load::{Binary, Identity, Loaded};
use program::Program;

/// How many interpreters of scripts may follow each other.
const MAX_SCRIPT_DEPTH: u32 = 5;
/// `ADDR_NO_RANDOMIZE` of `personality(2)`, and the bits that a privileged exec clears (`PER_CLEAR_ON_SETID`).
const NO_RANDOMIZE: u32 = 0x004_0000;
const CLEARED_WHEN_PRIVILEGED: u32 = 0x010_0000 | 0x020_0000 | 0x040_0000 | 0x004_0000 | 0x008_0000;

/// Which file to execute.
pub struct Target {
    /// Directory for a relative name.
    pub directory_fd: i32,
    /// The name as the program passed it.
    pub name: Vec<u8>,
    /// How it is looked up.
    pub flags: LookupFlags,
}

impl Target {
    /// What scripts, `AT_EXECFN` and the thread's name are told: the name, or the way by descriptor.
    fn shown_name(&self) -> Vec<u8> {
        if self.directory_fd == sys::AT_FDCWD || self.name.first() == Some(&b'/') {
            return self.name.clone();
        }
        let mut shown = format!("/dev/fd/{}", self.directory_fd).into_bytes();
        if !self.name.is_empty() {
            shown.push(b'/');
            shown.extend(&self.name);
        }
        shown
    }

    /// Whether the name will be gone when a script's interpreter looks for it: the descriptor is closed on exec.
    fn vanishes(&self) -> bool {
        let by_descriptor = self.directory_fd != sys::AT_FDCWD && self.name.first() != Some(&b'/');
        by_descriptor && current().files().close_on_exec(self.directory_fd).unwrap_or(false)
    }
}

/// Everything that stands ready at the point of no return.
struct Prepared {
    binary: Binary,
    interpreter: Option<Binary>,
    strings: Arguments,
    shown_name: Vec<u8>,
    outcome: privileges::Outcome,
    space: Arc<AddressSpace>,
}

/// Replaces the current process's program. On success the thread goes on in the new one.
pub fn execute(target: &Target, strings: Arguments) -> Result<()> {
    let prepared = prepare(target, strings)?;
    let thread = current();
    end_other_threads(&thread)?;
    if let Err(error) = take_over(&thread, prepared) {
        log::debug!("exec failed after the point of no return: {error:?}");
        exit::request_group_exit(&thread.process, Signal::SEGV.number() as i32);
    }
    Ok(())
}

fn prepare(target: &Target, mut strings: Arguments) -> Result<Prepared> {
    let shown_name = target.shown_name();
    let mut program = Program::open(target.directory_fd, &target.name, target.flags)?;
    let mut script_name = shown_name.clone();
    let mut depth = 0;
    while let Some((interpreter, argument)) = program.script_interpreter()? {
        if depth == 0 && target.vanishes() {
            return Err(Errno::NOENT);
        }
        depth += 1;
        if depth > MAX_SCRIPT_DEPTH {
            return Err(Errno::LOOP);
        }
        strings.prepend_interpreter(interpreter, argument, &script_name)?;
        script_name = interpreter.to_vec();
        program = Program::open(sys::AT_FDCWD, &script_name, LookupFlags::FOLLOW)?;
    }
    let image = Image::read(&program, Errno::NOEXEC)?;
    let interpreter = match image.interpreter(&program)? {
        None => None,
        Some(name) => {
            let program = Program::open(sys::AT_FDCWD, &name, LookupFlags::FOLLOW)?;
            if program.head_len < image::HEADER_LEN_BYTES {
                return Err(Errno::IO);
            }
            let image = Image::read(&program, Errno::LIBBAD)?;
            Some(Binary { program, image })
        }
    };
    let outcome = privileges::transform(&program, &current().credentials())?;
    let space = AddressSpace::new()?;
    Ok(Prepared { binary: Binary { program, image }, interpreter, strings, shown_name, outcome, space })
}

/// All other threads of the process end; the caller takes over the first one's number. `EAGAIN` if the process is ending itself.
fn end_other_threads(thread: &Arc<Thread>) -> Result<()> {
    let process = &thread.process;
    {
        let mut signals = process.signals.lock();
        if signals.group_exit.is_some() || signals.executing.is_some() {
            return Err(Errno::AGAIN);
        }
        signals.executing = Some(Arc::downgrade(thread));
    }
    let others = |all: Vec<Arc<Thread>>| all.into_iter().filter(|other| !Arc::ptr_eq(other, thread));
    for other in others(process.threads()) {
        exit::request_end(&other, Signal::KILL.number() as i32);
    }
    process.stop_queue.wake_all();
    let alone = || others(process.threads()).all(|other| other.dead.load(Ordering::Relaxed)).then_some(());
    let waited = process.thread_exits.wait_until(WaitMode::KILLABLE, alone);
    process.signals.lock().executing = None;
    waited.map_err(|_| Errno::AGAIN)?;
    if !thread.is_leader() {
        become_leader(thread);
    }
    Ok(())
}

fn become_leader(thread: &Arc<Thread>) {
    let process = &thread.process;
    let old_leader = process.leader();
    process.family.lock().threads.retain(|other| Arc::ptr_eq(other, thread));
    if let Some(old_leader) = &old_leader {
        membership::release(old_leader);
    }
    drop(old_leader);
    let old_pid = thread.set_pid(process.id.clone());
    process.id.set_thread(Some(thread));
    old_pid.set_thread(None);
    process.exit_signal.store(Signal::CHLD.number() as i32, Ordering::Relaxed);
}

/// Behind the point of no return.
fn take_over(thread: &Arc<Thread>, prepared: Prepared) -> Result<()> {
    let Prepared { binary, interpreter, strings, shown_name, outcome, space } = prepared;
    let process = &thread.process;
    give_up_old_program(thread, space.clone());
    let namespaces = thread.namespaces();
    drop(thread.replace_namespaces(Some(namespaces.with_time_entered())));
    let privileged = outcome.secure;
    if privileged {
        process.personality.fetch_and(!CLEARED_WHEN_PRIVILEGED, Ordering::Relaxed);
    }
    let randomize = process.personality.load(Ordering::Relaxed) & NO_RANDOMIZE == 0;
    let loaded = load::load(&space, &binary, interpreter.as_ref(), &strings, &shown_name, &identity(&outcome), randomize)?;
    set_identity(thread, outcome);
    let base_name = shown_name.rsplit(|byte| *byte == b'/').next().unwrap_or(&shown_name);
    thread.set_name(base_name);
    start(thread, &binary, loaded);
    Ok(())
}

fn identity(outcome: &privileges::Outcome) -> Identity {
    let credentials = &outcome.credentials;
    let namespace = &credentials.user_namespace;
    Identity {
        uid: namespace.shown_uid(credentials.uid),
        effective_uid: namespace.shown_uid(credentials.effective_uid),
        gid: namespace.shown_gid(credentials.gid),
        effective_gid: namespace.shown_gid(credentials.effective_gid),
        secure: outcome.secure,
    }
}

/// The old memory, handlers, timers and what is to be closed go.
fn give_up_old_program(thread: &Arc<Thread>, space: Arc<AddressSpace>) {
    let process = &thread.process;
    exit::release_user_side(thread);
    thread.robust_list.store(0, Ordering::Relaxed);
    *thread.restartable.lock() = None;
    let old = process.replace_address_space(Some(space.clone()));
    space.activate();
    drop(old);
    exit::complete_vfork(thread);
    posix_timer::delete_all(process);
    let actions = process.signal_actions();
    // One reference here, one in the process: more means that CLONE_SIGHAND shares it.
    if Arc::strong_count(&actions) > 2 {
        process.replace_signal_actions(actions.cleared());
    } else {
        actions.reset_handlers();
    }
    thread.signals.lock().alternate_stack = AlternateStack::default();
    close_files(thread);
    process.has_executed.store(true, Ordering::Relaxed);
    drop(process.replace_image(ProcessImage::default()));
}

fn close_files(thread: &Thread) {
    let files = thread.files();
    if Arc::strong_count(&files) > 2
        && let Ok(own) = files.duplicate()
    {
        drop(thread.replace_files(Some(own)));
    }
    drop(files);
    let files = thread.files();
    for file in files.take_close_on_exec() {
        let _ = file.descriptor_closed();
    }
}

fn set_identity(thread: &Thread, outcome: privileges::Outcome) {
    let process: &Process = &thread.process;
    let differs =
        outcome.credentials.uid != outcome.credentials.effective_uid || outcome.credentials.gid != outcome.credentials.effective_gid;
    process.dumpable.store(if outcome.changed_ids || differs { 0 } else { 1 }, Ordering::Relaxed);
    if outcome.changed_ids || outcome.secure {
        thread.parent_death_signal.store(0, Ordering::Relaxed);
    }
    thread.set_credentials(Arc::new(outcome.credentials));
}

fn start(thread: &Thread, binary: &Binary, loaded: Loaded) {
    let image = ProcessImage {
        executable: Some(binary.program.executable.clone()),
        arguments: loaded.arguments,
        environment: loaded.environment,
        auxiliary_vector: loaded.auxiliary_vector,
        stack_start: loaded.stack_pointer,
    };
    drop(thread.process.replace_image(image));
    *thread.user_context.lock() = UserContext::new(loaded.start, loaded.stack_pointer);
}
