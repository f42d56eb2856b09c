//! Ends of threads and processes.
//!
//! A thread never ends in the middle of kernel code: it is asked to (`kill_requested`), and does it on its way back to user mode, in
//! [`finish_current`]. Descriptors, memory and namespaces are given up *before* the process becomes a zombie: when `wait4` returns, a
//! mount that a child kept busy is free.

use crate::errno::{Errno, Result};
use crate::ipc;
use crate::mm::user::UserPointer;
use crate::task::cgroup::membership;
use crate::task::pid::PidNamespace;
use crate::task::signal::{Signal, SignalInfo, send_to_process, stop};
use crate::task::wait_queue::WaitMode;
use crate::task::{Process, Thread, current, futex, itimer, posix_timer, scheduler, session, wait};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;

/// `exit(2)` of the system call: ends the calling thread once it is back in [`super::run`].
pub fn exit_thread(code: i32) {
    end_thread(&current(), (code & 0xff) << 8);
}

/// Ends the current thread alone, with this wait status, once it is back in [`super::run`].
pub(in crate::task) fn end_thread(thread: &Thread, status: i32) {
    thread.exit_status.store(status, Ordering::Relaxed);
    thread.kill_requested.store(true, Ordering::Relaxed);
}

/// `exit_group(2)`: ends all threads of the process.
pub fn exit_group(code: i32) {
    request_group_exit(&current().process, (code & 0xff) << 8);
}

/// All threads of the process are to end; `status` is what `wait4` will give. The first request counts.
pub fn request_group_exit(process: &Arc<Process>, status: i32) {
    {
        let mut signals = process.signals.lock();
        if signals.group_exit.is_some() {
            return;
        }
        signals.group_exit = Some(status);
        signals.stop.clear();
    }
    for thread in process.threads() {
        request_end(&thread, status);
    }
    process.stop_queue.wake_all();
}

/// Asks one thread to end, as an exec by another thread does.
pub(in crate::task) fn request_end(thread: &Arc<Thread>, status: i32) {
    if thread.exiting.load(Ordering::Relaxed) {
        return;
    }
    thread.exit_status.store(status, Ordering::Relaxed);
    thread.kill_requested.store(true, Ordering::Relaxed);
    scheduler::wake_for_signal(thread, true);
}

/// Ends the current thread. Called where its stack holds no reference that somebody would have to drop.
pub(in crate::task) fn finish_current() -> ! {
    finish(&current());
    scheduler::end_current()
}

fn finish(thread: &Arc<Thread>) {
    let process = &thread.process;
    thread.exiting.store(true, Ordering::Relaxed);
    let last = {
        let mut family = process.family.lock();
        family.live_threads -= 1;
        family.live_threads == 0
    };
    if last {
        refuse_to_lose_init(process);
        itimer::cancel_all(process);
        posix_timer::delete_all(process);
    }
    release_memory(thread, last);
    drop(thread.replace_files(None));
    drop(thread.replace_fs(None));
    if last {
        session::leave_terminal(process);
        ipc::semaphores::undo_all(process, &thread.namespaces().ipc);
    }
    drop(thread.replace_namespaces(None));
    membership::leave(thread);
    send_parent_death_signals(thread);
    if last {
        if process.id.is_namespace_init() {
            end_namespace(process);
        }
        give_children_away(process);
        let parent = process.parent();
        session::check_orphaned(&process.group(), process, parent.as_ref());
    } else {
        stop::note_stopped(process);
    }
    leave_process(thread, last);
}

/// The end of the first process is the end of the system.
fn refuse_to_lose_init(process: &Arc<Process>) {
    if process.pid == 1 {
        let status = final_status(process);
        panic!("Attempted to kill init! exitcode={status:#010x}");
    }
}

/// The status of a process whose threads have all ended: that of the request to end, or of its first thread.
fn final_status(process: &Process) -> i32 {
    let requested = process.signals.lock().group_exit;
    let own = || process.leader().map_or(0, |leader| leader.exit_status.load(Ordering::Relaxed));
    requested.unwrap_or_else(own)
}

/// What other threads and a `vfork` parent wait for, and the memory itself with the last thread. Also what exec does with the old memory.
pub(in crate::task) fn release_user_side(thread: &Thread) {
    futex::exit_robust_list(thread);
    let address = thread.clear_child_tid.swap(0, Ordering::Relaxed);
    if address != 0 && thread.process.address_space().is_some() {
        let _ = UserPointer::<u32>::new(address).write(0);
        futex::wake_at(address, 1);
    }
}

/// A `vfork` parent may go on.
pub(in crate::task) fn complete_vfork(thread: &Thread) {
    let done = thread.vfork_done.lock().take();
    if let Some(done) = done {
        done.complete();
    }
}

fn release_memory(thread: &Thread, last: bool) {
    release_user_side(thread);
    let process = &thread.process;
    let pages = process.resident_pages();
    {
        let mut times = process.times.lock();
        times.peak_resident_pages = times.peak_resident_pages.max(pages);
    }
    if last {
        drop(process.replace_address_space(None));
        drop(process.replace_image(crate::task::process::Image::default()));
    }
    complete_vfork(thread);
}

/// `PR_SET_PDEATHSIG`: children hear of the end of the thread that made them.
fn send_parent_death_signals(thread: &Arc<Thread>) {
    for child in thread.process.children() {
        let made_by_it = core::ptr::eq(child.family.lock().parent_thread.as_ptr(), Arc::as_ptr(thread));
        let Some(leader) = child.leader().filter(|_| made_by_it) else { continue };
        if let Ok(signal) = Signal::new(leader.parent_death_signal.load(Ordering::Relaxed)) {
            let info = SignalInfo::from_current(signal, linux_raw_sys::general::SI_USER as i32, &child);
            let _ = send_to_process(&child, info);
        }
    }
}

/// The init of a pid namespace ends: everybody in it is killed, and it goes last (`pid_namespaces(7)`).
fn end_namespace(process: &Arc<Process>) {
    let namespace = process.id.namespace();
    namespace.close();
    for member in namespace.processes() {
        if !Arc::ptr_eq(&member, process) {
            let _ = send_to_process(&member, SignalInfo::from_kernel(Signal::KILL));
        }
    }
    let alone = || {
        for child in process.children() {
            if child.is_zombie() {
                reap(&child);
            }
        }
        // What is left are its own threads: their numbers go when they have ended, all but this one's by now.
        let others = namespace.processes().iter().any(|member| !Arc::ptr_eq(member, process));
        (!others).then_some(())
    };
    let _ = crate::task::wait_queue::wait_on(&[&namespace.departures, &process.child_events], WaitMode::UNINTERRUPTIBLE, alone);
}

/// `reboot(2)` in a pid namespace below the first: its init ends as if by SIGHUP (restart) or SIGINT (halt, power off), which its parent
/// sees (`pid_namespaces(7)`).
pub fn end_namespace_by_reboot(namespace: &PidNamespace, command: u32) -> Result<()> {
    let signal = match command {
        sys::LINUX_REBOOT_CMD_RESTART | sys::LINUX_REBOOT_CMD_RESTART2 => Signal::HUP,
        sys::LINUX_REBOOT_CMD_POWER_OFF | sys::LINUX_REBOOT_CMD_HALT => Signal::INT,
        _ => return Err(Errno::INVAL),
    };
    let init = namespace.init().ok_or(Errno::SRCH)?;
    request_group_exit(&init, signal.number() as i32);
    Ok(())
}

/// Children go to the nearest ancestor that is a subreaper, or to the namespace's init.
fn give_children_away(process: &Arc<Process>) {
    let children = core::mem::take(&mut process.family.lock().children);
    if children.is_empty() {
        return;
    }
    let reaper = find_reaper(process);
    for child in children {
        let Some(reaper) = &reaper else { continue };
        {
            let mut family = child.family.lock();
            family.parent = Arc::downgrade(reaper);
            family.parent_thread = reaper.leader().map_or_else(Default::default, |leader| Arc::downgrade(&leader));
        }
        reaper.family.lock().children.push(child.clone());
        let zombie = child.family.lock().zombie;
        child.exit_signal.store(Signal::CHLD.number() as i32, Ordering::Relaxed);
        if let Some(status) = zombie {
            let (code, shown) = wait::exit_code(status);
            if wait::notify_parent(&child, code, shown) {
                reap(&child);
            }
        }
        session::check_orphaned(&child.group(), &child, Some(process));
    }
}

fn find_reaper(process: &Arc<Process>) -> Option<Arc<Process>> {
    let namespace = process.id.namespace();
    let mut at = process.parent();
    while let Some(ancestor) = at {
        // A subreaper outside of the namespace does not count.
        if !Arc::ptr_eq(ancestor.id.namespace(), namespace) {
            break;
        }
        let live = ancestor.family.lock().live_threads > 0;
        if ancestor.is_subreaper.load(Ordering::Relaxed) && live {
            return Some(ancestor);
        }
        at = ancestor.parent();
    }
    let init = namespace.init().filter(|init| !Arc::ptr_eq(init, process));
    // The init of a namespace ends: whoever is left (nobody, after `end_namespace`) goes to the parent namespace's.
    init.or_else(|| namespace.parent.as_ref().and_then(|parent| parent.init()))
}

/// The thread's numbers and its place among the threads; with the last one the process becomes a zombie.
fn leave_process(thread: &Arc<Thread>, last: bool) {
    let process = thread.process.clone();
    scheduler::charge_system(thread);
    process.times.lock().ended_threads.add(&thread.usage());
    thread.dead.store(true, Ordering::Relaxed);
    let pid = thread.pid();
    pid.exits.wake_all();
    if !thread.is_leader() {
        process.family.lock().threads.retain(|other| !Arc::ptr_eq(other, thread));
        pid.set_thread(None);
        membership::release(thread);
    }
    process.thread_exits.wake_all();
    if !last {
        return;
    }
    let status = final_status(&process);
    process.family.lock().zombie = Some(status);
    process.id.exits.wake_all();
    let (code, shown) = wait::exit_code(status);
    if wait::notify_parent(&process, code, shown) {
        reap(&process);
    }
}

/// The last trace of a zombie goes: its numbers, its place in the family. What it used is charged to the parent.
pub(in crate::task) fn reap(process: &Arc<Process>) {
    let mut usage = process.usage();
    usage.add(&process.children_usage());
    if let Some(parent) = process.parent() {
        let mut family = parent.family.lock();
        let Some(index) = family.children.iter().position(|child| Arc::ptr_eq(child, process)) else { return };
        let child = family.children.remove(index);
        drop(family);
        drop(child);
        parent.times.lock().reaped_children.add(&usage);
    }
    let (group, session, threads, terminal) = {
        let mut family = process.family.lock();
        (family.group.clone(), family.session.clone(), core::mem::take(&mut family.threads), family.terminal.take())
    };
    drop(terminal);
    group.leave_group(process);
    session.leave_session(process);
    process.id.set_thread(None);
    process.id.set_process(None);
    threads.iter().for_each(|thread| membership::release(thread));
    drop(threads);
}
