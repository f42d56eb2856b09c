//! System calls: names and numbers of the system, the log, random bytes, reboot.

use super::{Arguments, Entry};
use crate::arch::power;
use crate::dev::kmsg;
use crate::errno::{Errno, Result};
use crate::mm::user;
use crate::mm::{PAGE_SIZE_BYTES, USER_END, frame};
use crate::task::pid::PidNamespace;
use crate::task::time_namespace::{self, OffsetClock};
use crate::task::wait_queue::WaitMode;
use crate::task::{Capabilities, current, load, uts};
use crate::time::clock::{self, NS_PER_SECOND};
use alloc::format;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;
use linux_raw_sys::system::{new_utsname, sysinfo};

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_uname, "uname", sys_uname),
    Entry(sys::__NR_sysinfo, "sysinfo", sys_sysinfo),
    Entry(sys::__NR_getrandom, "getrandom", sys_getrandom),
    Entry(sys::__NR_syslog, "syslog", sys_syslog),
    Entry(sys::__NR_reboot, "reboot", sys_reboot),
    Entry(sys::__NR_personality, "personality", sys_personality),
];

/// Bytes of each field of `struct new_utsname`.
const UTS_FIELD_BYTES: usize = size_of::<new_utsname>() / 6;

fn sys_uname(&[address, ..]: &Arguments) -> Result<u64> {
    let names = current().namespaces().uts.names.lock().clone();
    let release = uts::shown_release(current().process.personality.load(Ordering::Relaxed));
    let fields: [&[u8]; 6] =
        [uts::OS_TYPE.as_bytes(), &names.host, release.as_bytes(), uts::OS_VERSION.as_bytes(), uts::MACHINE.as_bytes(), &names.domain];
    let mut bytes = [0u8; size_of::<new_utsname>()];
    for (slot, field) in bytes.chunks_exact_mut(UTS_FIELD_BYTES).zip(fields) {
        for (to, from) in slot.iter_mut().take(UTS_FIELD_BYTES - 1).zip(field) {
            *to = *from;
        }
    }
    user::write_bytes(address, &bytes)?;
    Ok(0)
}

fn sys_sysinfo(&[address, ..]: &Arguments) -> Result<u64> {
    let memory = frame::statistics();
    let loads = load::averages_16_bit();
    let processes = PidNamespace::initial().len() as u16;
    let total_bytes = |pages: u64| pages * PAGE_SIZE_BYTES as u64;
    // Fields of `struct sysinfo` on 64 bits: uptime, 3 loads, 6 sizes in bytes, processes, 2 sizes of high memory, the unit.
    let mut bytes = [0u8; size_of::<sysinfo>()];
    let words = [
        time_namespace::shown_ns(OffsetClock::BootTime, clock::monotonic_ns()).div_ceil(NS_PER_SECOND),
        loads[0],
        loads[1],
        loads[2],
        total_bytes(memory.total_pages),
        total_bytes(memory.free_pages),
        total_bytes(memory.cached_pages),
        0,
        0,
        0,
    ];
    for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_ne_bytes());
    }
    bytes[80..82].copy_from_slice(&processes.to_ne_bytes());
    bytes[104..108].copy_from_slice(&1u32.to_ne_bytes());
    user::write_bytes(address, &bytes)?;
    Ok(0)
}

/// Most bytes that one call gives (`getrandom(2)`).
const MAX_RANDOM_BYTES: u64 = 33_554_431;

fn sys_getrandom(&[address, len_bytes, flags, ..]: &Arguments) -> Result<u64> {
    let flags = flags as u32;
    let known = sys::GRND_NONBLOCK | sys::GRND_RANDOM | sys::GRND_INSECURE;
    let contradictory = flags & sys::GRND_INSECURE != 0 && flags & sys::GRND_RANDOM != 0;
    if flags & !known != 0 || contradictory {
        return Err(Errno::INVAL);
    }
    if address.checked_add(len_bytes).is_none_or(|end| end > USER_END) {
        return Err(Errno::FAULT);
    }
    let len_bytes = len_bytes.min(MAX_RANDOM_BYTES);
    let mut done = 0;
    let mut piece = [0; 256];
    while done < len_bytes {
        let count = (len_bytes - done).min(piece.len() as u64) as usize;
        crate::dev::random::fill(&mut piece[..count]);
        match user::write_bytes(address.wrapping_add(done), &piece[..count]) {
            Ok(()) => done += count as u64,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
        if current().has_signal() && done < len_bytes {
            break;
        }
    }
    Ok(done)
}

/// The actions of `syslog(2)`.
mod action {
    pub(super) const CLOSE: u32 = 0;
    pub(super) const OPEN: u32 = 1;
    pub(super) const READ: u32 = 2;
    pub(super) const READ_ALL: u32 = 3;
    pub(super) const READ_CLEAR: u32 = 4;
    pub(super) const CLEAR: u32 = 5;
    pub(super) const CONSOLE_OFF: u32 = 6;
    pub(super) const CONSOLE_ON: u32 = 7;
    pub(super) const CONSOLE_LEVEL: u32 = 8;
    pub(super) const SIZE_UNREAD: u32 = 9;
    pub(super) const SIZE_BUFFER: u32 = 10;
}

/// What `SYSLOG_ACTION_SIZE_BUFFER` says.
const LOG_BUFFER_BYTES: u64 = 1 << 17;
/// Console levels that "off" and "on" set.
const CONSOLE_LEVEL_MIN: u8 = 1;
const CONSOLE_LEVEL_DEFAULT: u8 = 7;

fn sys_syslog(&[kind, address, len, ..]: &Arguments) -> Result<u64> {
    let kind = kind as u32;
    let free_for_all = matches!(kind, action::READ_ALL | action::SIZE_BUFFER);
    let credentials = current().credentials();
    if !free_for_all && !credentials.capable(Capabilities::SYSLOG) && !credentials.capable(Capabilities::SYS_ADMIN) {
        return Err(Errno::PERM);
    }
    match kind {
        action::CLOSE | action::OPEN => Ok(0),
        action::READ | action::READ_ALL | action::READ_CLEAR => {
            let len = usize::try_from(len as i32).map_err(|_| Errno::INVAL)?;
            if address == 0 {
                return Err(Errno::INVAL);
            }
            if kind == action::READ { read_log(address, len) } else { read_whole_log(address, len, kind == action::READ_CLEAR) }
        }
        action::CLEAR => {
            kmsg::clear();
            Ok(0)
        }
        action::CONSOLE_OFF => set_console_level(CONSOLE_LEVEL_MIN),
        action::CONSOLE_ON => set_console_level(CONSOLE_LEVEL_DEFAULT),
        action::CONSOLE_LEVEL if (1..=8).contains(&(len as i32)) => set_console_level(len as u8),
        action::SIZE_UNREAD => Ok(unread_bytes()),
        action::SIZE_BUFFER => Ok(LOG_BUFFER_BYTES),
        _ => Err(Errno::INVAL),
    }
}

fn set_console_level(level: u8) -> Result<u64> {
    kmsg::set_console_level(level);
    Ok(0)
}

/// A record as `dmesg` reads it: `<level>[seconds.microseconds] text`.
fn line_of(record: &kmsg::Record) -> alloc::string::String {
    let priority = u32::from(record.facility) << 3 | u32::from(record.level);
    let (seconds, microseconds) = (record.time_ns / NS_PER_SECOND, record.time_ns / 1000 % 1_000_000);
    format!("<{priority}>[{seconds:>5}.{microseconds:06}] {}\n", record.text)
}

/// `SYSLOG_ACTION_READ`: what was not read so, waiting for something.
fn read_log(address: u64, len: usize) -> Result<u64> {
    let mut done = 0;
    if len == 0 {
        return Ok(0);
    }
    let first = || kmsg::record_from(kmsg::read_sequence(None));
    kmsg::readers().wait_until(WaitMode::INTERRUPTIBLE, || first().map(|_| ()))?;
    while let Some(record) = first() {
        let line = line_of(&record);
        if done + line.len() > len {
            break;
        }
        user::write_bytes(address + done as u64, line.as_bytes())?;
        done += line.len();
        kmsg::read_sequence(Some(record.sequence + 1));
    }
    Ok(done as u64)
}

/// `SYSLOG_ACTION_READ_ALL`: the newest messages that fit.
fn read_whole_log(address: u64, len: usize, clear: bool) -> Result<u64> {
    let start = kmsg::clear_sequence();
    let mut lines = alloc::collections::VecDeque::new();
    let mut total = 0;
    let mut sequence = start;
    while let Some(record) = kmsg::record_from(sequence) {
        sequence = record.sequence + 1;
        let line = line_of(&record);
        total += line.len();
        lines.push_back(line);
        while total > len {
            let Some(oldest) = lines.pop_front() else { break };
            total -= oldest.len();
        }
    }
    let mut done = 0;
    for line in lines {
        user::write_bytes(address + done as u64, line.as_bytes())?;
        done += line.len();
    }
    if clear {
        kmsg::clear();
    }
    Ok(done as u64)
}

fn unread_bytes() -> u64 {
    let mut sequence = kmsg::read_sequence(None);
    let mut total = 0;
    while let Some(record) = kmsg::record_from(sequence) {
        total += line_of(&record).len() as u64;
        sequence = record.sequence + 1;
    }
    total
}

fn sys_reboot(&[magic, magic2, command, argument, ..]: &Arguments) -> Result<u64> {
    let namespace = current().pid().namespace().clone();
    if !current().credentials().capable_in(Capabilities::SYS_BOOT, &namespace.owner) {
        return Err(Errno::PERM);
    }
    let second = [sys::LINUX_REBOOT_MAGIC2, sys::LINUX_REBOOT_MAGIC2A, sys::LINUX_REBOOT_MAGIC2B, sys::LINUX_REBOOT_MAGIC2C];
    if magic as u32 != sys::LINUX_REBOOT_MAGIC1 || !second.contains(&(magic2 as u32)) {
        return Err(Errno::INVAL);
    }
    let command = command as u32;
    if namespace.level > 0 {
        return crate::task::exit::end_namespace_by_reboot(&namespace, command).map(|()| 0);
    }
    match command {
        sys::LINUX_REBOOT_CMD_CAD_ON | sys::LINUX_REBOOT_CMD_CAD_OFF => Ok(0),
        sys::LINUX_REBOOT_CMD_RESTART => {
            log::warn!("reboot: Restarting system");
            power::restart()
        }
        sys::LINUX_REBOOT_CMD_RESTART2 => {
            let text = user::read_c_string(argument, 256, Errno::INVAL)?;
            log::warn!("reboot: Restarting system with command '{}'", alloc::string::String::from_utf8_lossy(&text));
            power::restart()
        }
        sys::LINUX_REBOOT_CMD_POWER_OFF => {
            log::warn!("reboot: Power down");
            power::power_off()
        }
        sys::LINUX_REBOOT_CMD_HALT => {
            log::warn!("reboot: System halted");
            power::halt()
        }
        // Neither kexec nor suspend to disk.
        _ => Err(Errno::INVAL),
    }
}

/// Asks without setting.
const PERSONALITY_QUERY: u32 = 0xffff_ffff;

fn sys_personality(&[persona, ..]: &Arguments) -> Result<u64> {
    let process = current().process.clone();
    let persona = persona as u32;
    let old = process.personality.load(Ordering::Relaxed);
    if persona != PERSONALITY_QUERY {
        process.personality.store(persona, Ordering::Relaxed);
    }
    Ok(u64::from(old))
}
