//! System calls: actions, masks, sending, waiting, alternate stacks, sigreturn.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::mm::user::UserPointer;
use crate::task::current;
use crate::task::pid;
use crate::task::signal::info::INFO_LEN_BYTES;
use crate::task::signal::{self, Action, Signal, SignalInfo, SignalSet, calls, frame, permission, wait};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_rt_sigaction, "rt_sigaction", sys_rt_sigaction),
    Entry(sys::__NR_rt_sigprocmask, "rt_sigprocmask", sys_rt_sigprocmask),
    Entry(sys::__NR_rt_sigpending, "rt_sigpending", sys_rt_sigpending),
    Entry(sys::__NR_rt_sigsuspend, "rt_sigsuspend", sys_rt_sigsuspend),
    Entry(sys::__NR_rt_sigtimedwait, "rt_sigtimedwait", sys_rt_sigtimedwait),
    Entry(sys::__NR_rt_sigqueueinfo, "rt_sigqueueinfo", sys_rt_sigqueueinfo),
    Entry(sys::__NR_rt_tgsigqueueinfo, "rt_tgsigqueueinfo", sys_rt_tgsigqueueinfo),
    Entry(sys::__NR_rt_sigreturn, "rt_sigreturn", sys_rt_sigreturn),
    Entry(sys::__NR_sigaltstack, "sigaltstack", sys_sigaltstack),
    Entry(sys::__NR_pause, "pause", sys_pause),
    Entry(sys::__NR_kill, "kill", sys_kill),
    Entry(sys::__NR_tkill, "tkill", sys_tkill),
    Entry(sys::__NR_tgkill, "tgkill", sys_tgkill),
];

/// `sizeof(sigset_t)` of the kernel; another size is `EINVAL`.
const SET_LEN_BYTES: u64 = 8;

fn check_set_len(len_bytes: u64) -> Result<()> {
    if len_bytes == SET_LEN_BYTES { Ok(()) } else { Err(Errno::INVAL) }
}

fn read_set(address: u64) -> Result<SignalSet> {
    UserPointer::<u64>::new(address).read().map(SignalSet)
}

fn sys_rt_sigaction(&[number, new, old, len_bytes, ..]: &Arguments) -> Result<u64> {
    check_set_len(len_bytes)?;
    let signal = Signal::new(number as u32);
    let new = UserPointer::<[u64; 4]>::new(new).non_null().map(UserPointer::read).transpose()?.map(Action::from_words);
    let signal = signal?;
    let before = calls::set_action(signal, new)?;
    if let Some(old) = UserPointer::<[u64; 4]>::new(old).non_null() {
        old.write(before.to_words())?;
    }
    Ok(0)
}

fn sys_rt_sigprocmask(&[how, set, old, len_bytes, ..]: &Arguments) -> Result<u64> {
    check_set_len(len_bytes)?;
    let before = current().signal_sets().0;
    if let Some(set) = UserPointer::<u64>::new(set).non_null() {
        let set = SignalSet(set.read()?);
        let mask = match how as u32 {
            sys::SIG_BLOCK => before.union(set),
            sys::SIG_UNBLOCK => before.minus(set),
            sys::SIG_SETMASK => set,
            _ => return Err(Errno::INVAL),
        };
        calls::set_mask(mask);
    }
    if let Some(old) = UserPointer::<u64>::new(old).non_null() {
        old.write(before.0)?;
    }
    Ok(0)
}

fn sys_rt_sigpending(&[set, len_bytes, ..]: &Arguments) -> Result<u64> {
    if len_bytes > SET_LEN_BYTES {
        return Err(Errno::INVAL);
    }
    let pending = wait::pending_of_current().intersection(current().signal_sets().0);
    crate::mm::user::write_bytes(set, &pending.0.to_ne_bytes()[..len_bytes as usize])?;
    Ok(0)
}

fn sys_rt_sigsuspend(&[set, len_bytes, ..]: &Arguments) -> Result<u64> {
    check_set_len(len_bytes)?;
    signal::set_temporary_mask(read_set(set)?);
    Err(wait::pause())
}

fn sys_rt_sigtimedwait(&[set, info, timeout, len_bytes, ..]: &Arguments) -> Result<u64> {
    check_set_len(len_bytes)?;
    let wanted = read_set(set)?;
    let deadline = super::time::read_timeout(timeout)?;
    let taken = wait::timed_wait(wanted, deadline)?;
    if let Some(info) = UserPointer::<[u8; INFO_LEN_BYTES]>::new(info).non_null() {
        info.write(taken.encode())?;
    }
    Ok(u64::from(taken.signal.number()))
}

/// Reads a `siginfo_t` for the process `target`. What only the kernel may say is refused before the signal is looked at.
fn read_info(number: u64, info: u64, target: i32) -> Result<(Option<Signal>, SignalInfo)> {
    let bytes = UserPointer::<[u8; INFO_LEN_BYTES]>::new(info).read()?;
    SignalInfo::check_layout(number as u32, &bytes)?;
    let info = SignalInfo::decode(Signal::new(number as u32).unwrap_or(Signal::HUP), &bytes);
    permission::may_claim(&info, target)?;
    Ok((Signal::or_none(number as u32)?, info))
}

fn sys_rt_sigqueueinfo(&[target, number, info, ..]: &Arguments) -> Result<u64> {
    let (signal, info) = read_info(number, info, target as i32)?;
    let process = pid::find_process(target as u32)?;
    permission::may_signal_process(&process, signal)?;
    if signal.is_some() {
        signal::send_to_process(&process, info)?;
    }
    Ok(0)
}

fn sys_rt_tgsigqueueinfo(&[group, target, number, info, ..]: &Arguments) -> Result<u64> {
    if group as i32 <= 0 || target as i32 <= 0 {
        return Err(Errno::INVAL);
    }
    let (signal, info) = read_info(number, info, target as i32)?;
    let thread = calls::thread_in_group(group as i32, target as i32)?;
    permission::may_signal(&thread, signal)?;
    if signal.is_some() {
        signal::send_to_thread(&thread, info)?;
    }
    Ok(0)
}

fn sys_rt_sigreturn(_: &Arguments) -> Result<u64> {
    if frame::pop(&current()).is_err() {
        signal::send::force(SignalInfo::from_kernel(Signal::SEGV));
    }
    Ok(0)
}

/// `stack_t`: pointer, flags, size.
type StackWords = [u64; 3];

fn sys_sigaltstack(&[new, old, ..]: &Arguments) -> Result<u64> {
    let new = UserPointer::<StackWords>::new(new).non_null().map(UserPointer::read).transpose()?;
    let before = calls::set_alternate_stack(new)?;
    if let Some(old) = UserPointer::<StackWords>::new(old).non_null() {
        old.write(before)?;
    }
    Ok(0)
}

fn sys_pause(_: &Arguments) -> Result<u64> {
    Err(wait::pause())
}

fn sys_kill(&[target, number, ..]: &Arguments) -> Result<u64> {
    calls::kill(target as i32, number as u32).map(|()| 0)
}

fn sys_tkill(&[target, number, ..]: &Arguments) -> Result<u64> {
    if target as i32 <= 0 {
        return Err(Errno::INVAL);
    }
    calls::kill_thread(pid::find_thread(target as u32)?, number as u32).map(|()| 0)
}

fn sys_tgkill(&[group, target, number, ..]: &Arguments) -> Result<u64> {
    calls::kill_thread(calls::thread_in_group(group as i32, target as i32)?, number as u32).map(|()| 0)
}
