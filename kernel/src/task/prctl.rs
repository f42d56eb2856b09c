//! `prctl(2)`: what a thread can set and ask about itself.

use crate::errno::{Errno, Result};
use crate::mm::user::{self, UserPointer};
use crate::task::credentials::securebits;
use crate::task::seccomp;
use crate::task::signal::Signal;
use crate::task::thread::NAME_LEN_BYTES;
use crate::task::{Thread, capability, current};
use core::sync::atomic::Ordering;
use linux_raw_sys::prctl as pr;

/// Timer slack of a thread that asks for 0.
const DEFAULT_SLACK_NS: u64 = 50_000;

/// `prctl(option, …)`. `EINVAL` for an option that is not there, and for arguments that must be 0 and are not.
pub fn prctl(option: u32, arguments: [u64; 4]) -> Result<u64> {
    let thread = current();
    let [value, second, third, fourth] = arguments;
    let rest_is_zero = second == 0 && third == 0 && fourth == 0;
    match option {
        pr::PR_SET_NAME => set_name(&thread, value)?,
        pr::PR_GET_NAME => UserPointer::<[u8; NAME_LEN_BYTES]>::new(value).write(thread.raw_name())?,
        pr::PR_SET_PDEATHSIG => {
            let signal = Signal::or_none(u32::try_from(value).map_err(|_| Errno::INVAL)?)?;
            thread.parent_death_signal.store(signal.map_or(0, Signal::number), Ordering::Relaxed);
        }
        pr::PR_GET_PDEATHSIG => UserPointer::new(value).write(thread.parent_death_signal.load(Ordering::Relaxed))?,
        pr::PR_GET_DUMPABLE => return Ok(u64::from(thread.process.dumpable.load(Ordering::Relaxed))),
        pr::PR_SET_DUMPABLE if value <= 1 => thread.process.dumpable.store(value as u32, Ordering::Relaxed),
        pr::PR_GET_KEEPCAPS => return Ok(u64::from(thread.credentials().securebits & securebits::KEEP_CAPS != 0)),
        pr::PR_SET_KEEPCAPS => capability::set_keep_capabilities(value)?,
        pr::PR_CAPBSET_READ => return capability::in_bounding_set(value).map(u64::from),
        pr::PR_CAPBSET_DROP => capability::drop_from_bounding_set(value)?,
        pr::PR_GET_SECUREBITS => return Ok(u64::from(thread.credentials().securebits)),
        pr::PR_SET_SECUREBITS => capability::set_securebits(value)?,
        pr::PR_CAP_AMBIENT => return ambient(arguments),
        pr::PR_SET_NO_NEW_PRIVS if value == 1 && rest_is_zero => capability::set_no_new_privileges(),
        pr::PR_GET_NO_NEW_PRIVS if value == 0 && rest_is_zero => return Ok(u64::from(thread.credentials().no_new_privileges)),
        pr::PR_SET_CHILD_SUBREAPER => thread.process.is_subreaper.store(value != 0, Ordering::Relaxed),
        pr::PR_GET_CHILD_SUBREAPER => {
            UserPointer::new(value).write(u32::from(thread.process.is_subreaper.load(Ordering::Relaxed)))?;
        }
        pr::PR_SET_THP_DISABLE if third == 0 && fourth == 0 && second == 0 => {
            thread.process.no_huge_pages.store(value != 0, Ordering::Relaxed);
        }
        pr::PR_GET_THP_DISABLE if value == 0 && rest_is_zero => {
            return Ok(u64::from(thread.process.no_huge_pages.load(Ordering::Relaxed)));
        }
        pr::PR_SET_TIMERSLACK => {
            let slack_ns = if value as i64 <= 0 { DEFAULT_SLACK_NS } else { value };
            thread.timer_slack_ns.store(slack_ns, Ordering::Relaxed);
        }
        pr::PR_GET_TIMERSLACK => return Ok(thread.timer_slack_ns.load(Ordering::Relaxed)),
        pr::PR_GET_TID_ADDRESS => {
            UserPointer::new(value).write(thread.clear_child_tid.load(Ordering::Relaxed))?;
        }
        pr::PR_GET_TIMING => return Ok(u64::from(pr::PR_TIMING_STATISTICAL)),
        pr::PR_SET_TIMING if value == u64::from(pr::PR_TIMING_STATISTICAL) => {}
        pr::PR_GET_TSC => UserPointer::new(value).write(pr::PR_TSC_ENABLE)?,
        pr::PR_SET_TSC if value == u64::from(pr::PR_TSC_ENABLE) => {}
        // There are no performance counters to stop or start.
        pr::PR_TASK_PERF_EVENTS_DISABLE | pr::PR_TASK_PERF_EVENTS_ENABLE => {}
        pr::PR_GET_SECCOMP => return Ok(u64::from(thread.seccomp.mode())),
        pr::PR_SET_SECCOMP => return seccomp::install::set_mode(value, second),
        // Names of anonymous areas are a matter of a build option of Linux; without it: EINVAL.
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

fn set_name(thread: &Thread, address: u64) -> Result<()> {
    let mut name = [0; NAME_LEN_BYTES - 1];
    let readable = user::read_bytes_partial(address, &mut name);
    let ends = name[..readable].contains(&0);
    if !ends && readable < name.len() {
        return Err(Errno::FAULT);
    }
    thread.set_name(&name);
    Ok(())
}

fn ambient([operation, number, third, fourth]: [u64; 4]) -> Result<u64> {
    if third != 0 || fourth != 0 {
        return Err(Errno::INVAL);
    }
    match u32::try_from(operation) {
        Ok(pr::PR_CAP_AMBIENT_CLEAR_ALL) if number == 0 => capability::clear_ambient(),
        Ok(pr::PR_CAP_AMBIENT_IS_SET) => return capability::is_ambient(number).map(u64::from),
        Ok(pr::PR_CAP_AMBIENT_RAISE) => capability::raise_ambient(number)?,
        Ok(pr::PR_CAP_AMBIENT_LOWER) => capability::lower_ambient(number)?,
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}
