//! System calls: clone, exec, exit, wait, ids, sessions, pidfds, arch_prctl.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::cgroupfs;
use crate::fs::walk::LookupFlags;
use crate::mm::USER_END;
use crate::mm::user::{self, UserPointer};
use crate::task::clone::{self, CloneRequest};
use crate::task::exec::{self, Target, arguments};
use crate::task::pid::{self, Pid};
use crate::task::signal::{self, Signal, SignalInfo};
use crate::task::wait::{self, Event, Selector, WaitOptions};
use crate::task::{current, exit, pidfd, rseq, run, session};
use alloc::{sync::Arc, vec, vec::Vec};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_fork, "fork", sys_fork),
    Entry(sys::__NR_vfork, "vfork", sys_vfork),
    Entry(sys::__NR_clone, "clone", sys_clone),
    Entry(sys::__NR_clone3, "clone3", sys_clone3),
    Entry(sys::__NR_execve, "execve", sys_execve),
    Entry(sys::__NR_execveat, "execveat", sys_execveat),
    Entry(sys::__NR_exit, "exit", sys_exit),
    Entry(sys::__NR_exit_group, "exit_group", sys_exit_group),
    Entry(sys::__NR_wait4, "wait4", sys_wait4),
    Entry(sys::__NR_waitid, "waitid", sys_waitid),
    Entry(sys::__NR_getpid, "getpid", sys_getpid),
    Entry(sys::__NR_gettid, "gettid", sys_gettid),
    Entry(sys::__NR_getppid, "getppid", sys_getppid),
    Entry(sys::__NR_getpgrp, "getpgrp", sys_getpgrp),
    Entry(sys::__NR_getpgid, "getpgid", sys_getpgid),
    Entry(sys::__NR_setpgid, "setpgid", sys_setpgid),
    Entry(sys::__NR_getsid, "getsid", sys_getsid),
    Entry(sys::__NR_setsid, "setsid", sys_setsid),
    Entry(sys::__NR_set_tid_address, "set_tid_address", sys_set_tid_address),
    Entry(sys::__NR_arch_prctl, "arch_prctl", sys_arch_prctl),
    Entry(sys::__NR_pidfd_open, "pidfd_open", sys_pidfd_open),
    Entry(sys::__NR_pidfd_send_signal, "pidfd_send_signal", sys_pidfd_send_signal),
    Entry(sys::__NR_pidfd_getfd, "pidfd_getfd", sys_pidfd_getfd),
    Entry(sys::__NR_rseq, "rseq", sys_rseq),
    Entry(sys::__NR_restart_syscall, "restart_syscall", sys_restart_syscall),
];

fn sys_fork(_: &Arguments) -> Result<u64> {
    let request = CloneRequest { exit_signal: Signal::CHLD.number(), ..CloneRequest::default() };
    clone::clone(&request).map(u64::from)
}

fn sys_vfork(_: &Arguments) -> Result<u64> {
    let flags = u64::from(sys::CLONE_VFORK | sys::CLONE_VM);
    let request = CloneRequest { flags, exit_signal: Signal::CHLD.number(), ..CloneRequest::default() };
    clone::clone(&request).map(u64::from)
}

fn sys_clone(&[flags, stack_pointer, parent_tid, child_tid, tls, _]: &Arguments) -> Result<u64> {
    let exit_signal = clone::legacy_exit_signal(flags);
    let flags = flags & 0xffff_ffff & !u64::from(sys::CSIGNAL);
    // The pidfd comes back where the parent's copy of the number would.
    if flags & u64::from(sys::CLONE_PIDFD) != 0 && flags & u64::from(sys::CLONE_PARENT_SETTID) != 0 {
        return Err(Errno::INVAL);
    }
    let request = CloneRequest {
        flags,
        pidfd: parent_tid,
        child_tid,
        parent_tid,
        exit_signal,
        stack_pointer,
        tls,
        set_tid: Vec::new(),
        cgroup: None,
    };
    clone::clone(&request).map(u64::from)
}

/// Words of `struct clone_args` in its newest version.
const CLONE_ARGS_WORDS: usize = sys::CLONE_ARGS_SIZE_VER2 as usize / 8;

fn sys_clone3(&[address, len_bytes, ..]: &Arguments) -> Result<u64> {
    if len_bytes > crate::mm::PAGE_SIZE_BYTES as u64 {
        return Err(Errno::TOOBIG);
    }
    if len_bytes < u64::from(sys::CLONE_ARGS_SIZE_VER0) {
        return Err(Errno::INVAL);
    }
    let mut bytes = vec![0; (len_bytes as usize).max(CLONE_ARGS_WORDS * 8)];
    let (known, beyond) = bytes.split_at_mut(CLONE_ARGS_WORDS * 8);
    // What this kernel does not know must be 0; that is looked at first.
    let readable = user::read_bytes_partial(address.wrapping_add(known.len() as u64), beyond);
    if beyond[..readable].iter().any(|byte| *byte != 0) {
        return Err(Errno::TOOBIG);
    }
    if readable < beyond.len() {
        return Err(Errno::FAULT);
    }
    let known_len = known.len().min(len_bytes as usize);
    user::read_bytes(address, &mut known[..known_len])?;
    let mut words = [0; CLONE_ARGS_WORDS];
    for (word, from) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = from.iter().rev().fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
    }
    clone::clone(&clone3_request(words, len_bytes)?).map(u64::from)
}

fn clone3_request(words: [u64; CLONE_ARGS_WORDS], len_bytes: u64) -> Result<CloneRequest> {
    let [flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_bytes, tls, set_tid, set_tid_len, cgroup] = words;
    let known = u64::from(u32::MAX) | sys::CLONE_CLEAR_SIGHAND | sys::CLONE_INTO_CGROUP;
    let refused = u64::from(sys::CLONE_DETACHED | (sys::CSIGNAL & !sys::CLONE_NEWTIME));
    let has = |flag: u32| flags & u64::from(flag) != 0;
    let threads_have_no_signal = (has(sys::CLONE_THREAD) || has(sys::CLONE_PARENT)) && exit_signal != 0;
    let half_a_stack = (stack == 0) != (stack_bytes == 0);
    if flags & !known != 0
        || flags & refused != 0
        || threads_have_no_signal
        || half_a_stack
        || !clone::is_exit_signal(exit_signal)
        || stack.checked_add(stack_bytes).is_none_or(|end| end > USER_END)
        || (set_tid == 0) != (set_tid_len == 0)
        || set_tid_len > 32
    {
        return Err(Errno::INVAL);
    }
    let into_cgroup = flags & sys::CLONE_INTO_CGROUP != 0;
    // The member is only there in the newest version of the structure.
    if into_cgroup && (cgroup > i32::MAX as u64 || len_bytes < u64::from(sys::CLONE_ARGS_SIZE_VER2)) {
        return Err(Errno::INVAL);
    }
    let set_tid = UserPointer::<u32>::new(set_tid).read_vec(set_tid_len as usize)?;
    let cgroup = if into_cgroup { Some(cgroupfs::group_of(&*current().files().get(cgroup as i32)?)?) } else { None };
    let stack_pointer = stack + stack_bytes;
    Ok(CloneRequest { flags, pidfd, child_tid, parent_tid, exit_signal: exit_signal as u32, stack_pointer, tls, set_tid, cgroup })
}

fn sys_execve(&[name, argv, envp, ..]: &Arguments) -> Result<u64> {
    let name = user::read_path(name)?;
    if name.is_empty() {
        return Err(Errno::NOENT);
    }
    let strings = arguments::Arguments::read(&current(), argv, envp)?;
    exec::execute(&Target { directory_fd: sys::AT_FDCWD, name, flags: LookupFlags::FOLLOW }, strings).map(|()| 0)
}

fn sys_execveat(&[fd, name, argv, envp, flags, _]: &Arguments) -> Result<u64> {
    let flags = flags as u32;
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & sys::AT_SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY_PATH, flags & sys::AT_EMPTY_PATH != 0);
    let name = user::read_path(name)?;
    if name.is_empty() && !lookup.contains(LookupFlags::EMPTY_PATH) {
        return Err(Errno::NOENT);
    }
    let strings = arguments::Arguments::read(&current(), argv, envp)?;
    if flags & !(sys::AT_EMPTY_PATH | sys::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::INVAL);
    }
    exec::execute(&Target { directory_fd: fd as i32, name, flags: lookup }, strings).map(|()| 0)
}

fn sys_exit(&[code, ..]: &Arguments) -> Result<u64> {
    exit::exit_thread(code as i32);
    Ok(0)
}

fn sys_exit_group(&[code, ..]: &Arguments) -> Result<u64> {
    exit::exit_group(code as i32);
    Ok(0)
}

fn sys_wait4(&[which, status, options, usage, ..]: &Arguments) -> Result<u64> {
    let known =
        WaitOptions::NOHANG | WaitOptions::STOPPED | WaitOptions::CONTINUED | WaitOptions::NOTHREAD | WaitOptions::CLONE | WaitOptions::ALL;
    let options = WaitOptions::from_bits(options as u32).filter(|options| known.contains(*options)).ok_or(Errno::INVAL)?;
    let selector = match which as i32 {
        i32::MIN => return Err(Errno::SRCH),
        -1 => Selector::Any,
        0 => Selector::Group(current().process.group()),
        number @ 1.. => selector_of(pid::find(number as u32), Selector::Child),
        group => selector_of(pid::find(group.unsigned_abs()), Selector::Group),
    };
    let Some(event) = wait::wait(&selector, options | WaitOptions::EXITED)? else { return Ok(0) };
    if status != 0 {
        UserPointer::<i32>::new(status).write(event.wait_status)?;
    }
    write_usage(usage, &event)?;
    Ok(u64::from(event.pid))
}

fn selector_of(pid: Option<Arc<Pid>>, make: fn(Arc<Pid>) -> Selector) -> Selector {
    pid.map_or(Selector::Nobody, make)
}

fn write_usage(address: u64, event: &Event) -> Result<()> {
    if address == 0 { Ok(()) } else { super::sched::write_usage(address, &event.usage) }
}

fn sys_waitid(&[kind, id, info, options, usage, _]: &Arguments) -> Result<u64> {
    let event = wait_for(kind as u32, id as i32, options as u32);
    if let Ok(Some(event)) = &event {
        write_usage(usage, event)?;
    }
    if info != 0 {
        // The fields of `siginfo_t` that waitid fills; all 0 when there was nothing, or an error.
        let words =
            event.as_ref().ok().and_then(Option::as_ref).map_or([0; 6], |event| {
                [Signal::CHLD.number() as i32, 0, event.code as i32, event.pid as i32, event.uid as i32, event.status]
            });
        UserPointer::<[i32; 3]>::new(info).write([words[0], words[1], words[2]])?;
        UserPointer::<[i32; 3]>::new(info.wrapping_add(16)).write([words[3], words[4], words[5]])?;
    }
    event.map(|_| 0)
}

fn wait_for(kind: u32, number: i32, options: u32) -> Result<Option<Event>> {
    let mut options = WaitOptions::from_bits(options).ok_or(Errno::INVAL)?;
    if !options.intersects(WaitOptions::EXITED | WaitOptions::STOPPED | WaitOptions::CONTINUED) {
        return Err(Errno::INVAL);
    }
    let mut nonblocking = false;
    let selector = match kind {
        sys::P_ALL => Selector::Any,
        sys::P_PID if number > 0 => selector_of(pid::find(number as u32), Selector::Child),
        sys::P_PGID if number > 0 => selector_of(pid::find(number as u32), Selector::Group),
        sys::P_PGID if number == 0 => Selector::Group(current().process.group()),
        sys::P_PIDFD if number >= 0 => {
            let (pid, is_nonblocking) = pidfd::for_wait(number)?;
            nonblocking = is_nonblocking && !options.contains(WaitOptions::NOHANG);
            options.set(WaitOptions::NOHANG, options.contains(WaitOptions::NOHANG) || nonblocking);
            Selector::Child(pid)
        }
        _ => return Err(Errno::INVAL),
    };
    match wait::wait(&selector, options)? {
        None if nonblocking => Err(Errno::AGAIN),
        event => Ok(event),
    }
}

fn sys_getpid(_: &Arguments) -> Result<u64> {
    Ok(u64::from(current().process.id.number()))
}

fn sys_gettid(_: &Arguments) -> Result<u64> {
    Ok(u64::from(current().pid().number()))
}

fn sys_getppid(_: &Arguments) -> Result<u64> {
    let thread = current();
    Ok(u64::from(thread.process.parent_number(thread.pid().namespace())))
}

fn sys_getpgrp(_: &Arguments) -> Result<u64> {
    Ok(u64::from(current().process.group().number()))
}

fn sys_getpgid(&[number, ..]: &Arguments) -> Result<u64> {
    let process = if number as i32 == 0 { current().process.clone() } else { pid::find_process(number as u32)? };
    Ok(u64::from(process.group().number()))
}

fn sys_setpgid(&[target, group, ..]: &Arguments) -> Result<u64> {
    if (group as i32) < 0 {
        return Err(Errno::INVAL);
    }
    if (target as i32) < 0 {
        return Err(Errno::SRCH);
    }
    session::set_process_group(target as u32, group as u32).map(|()| 0)
}

fn sys_getsid(&[number, ..]: &Arguments) -> Result<u64> {
    let process = if number as i32 == 0 { current().process.clone() } else { pid::find_process(number as u32)? };
    Ok(u64::from(process.session().number()))
}

fn sys_setsid(_: &Arguments) -> Result<u64> {
    session::new_session().map(u64::from)
}

fn sys_set_tid_address(&[address, ..]: &Arguments) -> Result<u64> {
    let thread = current();
    thread.set_clear_child_tid(address);
    Ok(u64::from(thread.pid().number()))
}

/// Codes of `arch_prctl(2)` that `linux_raw_sys` lacks.
const ARCH_SET_GS: u32 = 0x1001;
const ARCH_GET_FS: u32 = 0x1003;
const ARCH_GET_GS: u32 = 0x1004;

fn sys_arch_prctl(&[code, address, ..]: &Arguments) -> Result<u64> {
    let thread = current();
    match code as u32 {
        sys::ARCH_SET_FS | ARCH_SET_GS if address >= USER_END => return Err(Errno::PERM),
        sys::ARCH_SET_FS => thread.with_user_context(|context| context.fs_base = address),
        ARCH_SET_GS => thread.with_user_context(|context| context.gs_base = address),
        ARCH_GET_FS => UserPointer::new(address).write(thread.with_user_context(|context| context.fs_base))?,
        ARCH_GET_GS => UserPointer::new(address).write(thread.with_user_context(|context| context.gs_base))?,
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

fn sys_pidfd_open(&[number, flags, ..]: &Arguments) -> Result<u64> {
    if flags as u32 & !sys::O_NONBLOCK != 0 || number as i32 <= 0 {
        return Err(Errno::INVAL);
    }
    pidfd::open(number as u32, flags as u32 & sys::O_NONBLOCK != 0).map(|fd| fd as u64)
}

fn sys_pidfd_send_signal(&[fd, number, info, flags, ..]: &Arguments) -> Result<u64> {
    if flags as u32 != 0 {
        return Err(Errno::INVAL);
    }
    let pid = pidfd::pid_of(fd as i32)?;
    let process = pid.process().ok_or(Errno::SRCH)?;
    let info = if info == 0 { None } else { Some(UserPointer::<[u8; 128]>::new(info).read()?) };
    let signal = Signal::or_none(number as u32)?;
    if let (Some(bytes), Some(signal)) = (&info, signal) {
        let info = SignalInfo::decode(signal, bytes);
        if u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) != signal.number() {
            return Err(Errno::INVAL);
        }
        signal::permission::may_claim(&info, process.id.number() as i32)?;
        signal::permission::may_signal_process(&process, Some(signal))?;
        return signal::send_to_process(&process, info).map(|()| 0);
    }
    signal::permission::may_signal_process(&process, signal)?;
    let Some(signal) = signal else { return Ok(0) };
    let info = SignalInfo::from_current(signal, sys::SI_USER as i32, &process);
    signal::send_to_process(&process, info).map(|()| 0)
}

fn sys_pidfd_getfd(&[fd, target, flags, ..]: &Arguments) -> Result<u64> {
    if flags as u32 != 0 {
        return Err(Errno::INVAL);
    }
    pidfd::take_descriptor(fd as i32, target as i32).map(|fd| fd as u64)
}

fn sys_rseq(&[area, len_bytes, flags, signature, ..]: &Arguments) -> Result<u64> {
    rseq::register(area, len_bytes as u32, flags as u32, signature as u32).map(|()| 0)
}

fn sys_restart_syscall(_: &Arguments) -> Result<u64> {
    run::restart()
}
