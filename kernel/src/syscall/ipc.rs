//! System calls: msgget, msgsnd, msgrcv, msgctl, semget, semop, semtimedop, semctl, shmget, shmat, shmdt, shmctl.

use super::memory::address_space_limit;
use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::internal;
use crate::ipc::messages::{self, Message, Wanted};
use crate::ipc::semaphores::{self, HIGHEST_VALUE, Operation};
use crate::ipc::{Access, Change, Header, IpcNamespace, Setting, nowait, shared_memory};
use crate::mm::UserPointer;
use crate::mm::user::write_bytes;
use crate::task::{Deadline, current};
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_msgget, "msgget", |a| messages::get(a[0] as i32, a[1] as u32).map(|id| id as u64)),
    Entry(sys::__NR_msgsnd, "msgsnd", msgsnd),
    Entry(sys::__NR_msgrcv, "msgrcv", msgrcv),
    Entry(sys::__NR_msgctl, "msgctl", msgctl),
    Entry(sys::__NR_semget, "semget", |a| semaphores::get(a[0] as i32, a[1] as i32, a[2] as u32).map(|id| id as u64)),
    Entry(sys::__NR_semop, "semop", |a| operate(a[0], a[1], a[2], None)),
    Entry(sys::__NR_semtimedop, "semtimedop", |a| operate(a[0], a[1], a[2], super::time::read_timeout(a[3])?)),
    Entry(sys::__NR_semctl, "semctl", semctl),
    Entry(sys::__NR_shmget, "shmget", |a| shared_memory::get(a[0] as i32, a[1], a[2] as u32).map(|id| id as u64)),
    Entry(sys::__NR_shmat, "shmat", |a| shared_memory::attach(a[0] as i32, a[1], a[2] as u32, address_space_limit())),
    Entry(sys::__NR_shmdt, "shmdt", |a| shared_memory::detach(a[0]).map(|()| 0)),
    Entry(sys::__NR_shmctl, "shmctl", shmctl),
];

/// Commands of the `…ctl` calls (`<sys/ipc.h>`, `<sys/msg.h>`, `<sys/sem.h>`, `<sys/shm.h>`).
const IPC_RMID: u32 = 0;
const IPC_SET: u32 = 1;
const IPC_STAT: u32 = 2;
const IPC_INFO: u32 = 3;
const MSG_STAT: u32 = 11;
const MSG_INFO: u32 = 12;
const MSG_STAT_ANY: u32 = 13;
const GETPID: u32 = 11;
const GETVAL: u32 = 12;
const GETALL: u32 = 13;
const GETNCNT: u32 = 14;
const GETZCNT: u32 = 15;
const SETVAL: u32 = 16;
const SETALL: u32 = 17;
const SEM_STAT: u32 = 18;
const SEM_INFO: u32 = 19;
const SEM_STAT_ANY: u32 = 20;
const SHM_LOCK: u32 = 11;
const SHM_UNLOCK: u32 = 12;
const SHM_STAT: u32 = 13;
const SHM_INFO: u32 = 14;
const SHM_STAT_ANY: u32 = 15;
/// Programs may say that they know the structures of 64 bits, which are the only ones here.
const IPC_64: u32 = 0x100;
/// `MSG_*` of `msgrcv`.
const MSG_NOERROR: u32 = 0o10000;
const MSG_EXCEPT: u32 = 0o20000;
const MSG_COPY: u32 = 0o40000;

fn namespace() -> Arc<IpcNamespace> {
    current().namespaces().ipc.clone()
}

/// A structure of the header and words after it.
fn with_header(header: &Header, words: &[u64]) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
    bytes
}

/// Two 32-bit numbers in a word.
fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// As much of a setting as an `int` holds.
fn as_int(value: u64) -> u32 {
    value.min(i32::MAX as u64) as u32
}

fn write_words(to: u64, words: &[u32]) -> Result<()> {
    UserPointer::<u32>::new(to).write_slice(words)
}

fn msgsnd(&[id, message, len_bytes, flags, ..]: &Arguments) -> Result<u64> {
    let kind = UserPointer::<i64>::new(message).read()?;
    let longest = messages::longest_message_bytes();
    let len_bytes = usize::try_from(len_bytes).ok().filter(|len| *len as u64 <= longest).ok_or(Errno::INVAL)?;
    if (id as i32) < 0 || kind < 1 {
        return Err(Errno::INVAL);
    }
    internal::check_memory()?;
    let bytes = UserPointer::<u8>::new(message.wrapping_add(8)).read_vec(len_bytes)?;
    messages::send(id as i32, Message { kind, bytes }, nowait(flags as u32)).map(|()| 0)
}

fn wanted(kind: i64, flags: u32) -> Result<Wanted> {
    if flags & MSG_COPY != 0 {
        // The type is a place, and there is nothing to wait for.
        if flags & MSG_EXCEPT != 0 || !nowait(flags) {
            return Err(Errno::INVAL);
        }
        return Ok(usize::try_from(kind).map_or(Wanted::CopyAt(usize::MAX), Wanted::CopyAt));
    }
    Ok(match kind {
        0 => Wanted::First,
        1.. if flags & MSG_EXCEPT != 0 => Wanted::OtherThan(kind),
        1.. => Wanted::Kind(kind),
        _ => Wanted::LowestUpTo(kind.checked_neg().unwrap_or(i64::MAX)),
    })
}

fn msgrcv(&[id, buffer, len_bytes, kind, flags, ..]: &Arguments) -> Result<u64> {
    let flags = flags as u32;
    if (id as i32) < 0 || (len_bytes as i64) < 0 {
        return Err(Errno::INVAL);
    }
    let most_bytes = len_bytes as usize;
    let wanted = wanted(kind as i64, flags)?;
    let message = messages::receive(id as i32, wanted, most_bytes, flags & MSG_NOERROR != 0, nowait(flags))?;
    let len_bytes = message.bytes.len().min(most_bytes);
    UserPointer::<i64>::new(buffer).write(message.kind)?;
    write_bytes(buffer.wrapping_add(8), &message.bytes[..len_bytes])?;
    Ok(len_bytes as u64)
}

fn msgctl(&[id, command, buffer, ..]: &Arguments) -> Result<u64> {
    let (id, command) = (id as i32, command as u32 & !IPC_64);
    if id < 0 {
        return Err(Errno::INVAL);
    }
    match command {
        IPC_RMID => messages::remove(id).map(|()| 0),
        IPC_SET => {
            let most_bytes = UserPointer::<u64>::new(buffer.wrapping_add(88)).read()?;
            messages::set(id, Change::read(buffer)?, most_bytes).map(|()| 0)
        }
        IPC_STAT | MSG_STAT | MSG_STAT_ANY => {
            let (id, status) = messages::status(id, command != IPC_STAT, command == MSG_STAT_ANY)?;
            let processes = pair(status.last_sender, status.last_receiver);
            let times = [status.sent_s, status.received_s, status.header.changed_s].map(|time| time as u64);
            let [sent, received, changed] = times;
            let words = [sent, received, changed, status.bytes, status.messages, status.most_bytes, processes, 0, 0];
            write_bytes(buffer, &with_header(&status.header, &words))?;
            Ok(if command == IPC_STAT { 0 } else { id as u64 })
        }
        IPC_INFO | MSG_INFO => message_limits(command, buffer),
        _ => Err(Errno::INVAL),
    }
}

/// `struct msginfo`.
fn message_limits(command: u32, buffer: u64) -> Result<u64> {
    let namespace = namespace();
    let setting = |name| as_int(namespace.setting(name));
    let table = namespace.messages.lock();
    // For IPC_INFO fixed numbers that say nothing any more (`msgctl(2)`).
    let [pool, map, total] = if command == MSG_INFO {
        let all: Vec<_> = table.all().map(|queue| queue.status()).collect();
        let sum = |of: fn(&messages::Status) -> u64| as_int(all.iter().map(of).sum());
        [table.len() as u32, sum(|queue| queue.messages), sum(|queue| queue.bytes)]
    } else {
        [512_000, 16384, 16384]
    };
    let last_used = table.last_used();
    drop(table);
    let [max, most_bytes, queues] = [Setting::Msgmax, Setting::Msgmnb, Setting::Msgmni].map(setting);
    write_words(buffer, &[pool, map, max, most_bytes, queues, 16, total, 0xffff])?;
    Ok(last_used)
}

fn operate(id: u64, operations: u64, count: u64, deadline: Option<Deadline>) -> Result<u64> {
    let (id, count) = (id as i32, count as u32);
    if count < 1 || id < 0 {
        return Err(Errno::INVAL);
    }
    if u64::from(count) > namespace().setting(Setting::Semopm) {
        return Err(Errno::TOOBIG);
    }
    let raw: Vec<[u16; 3]> = UserPointer::new(operations).read_vec(count as usize)?;
    let operations: Vec<Operation> =
        raw.into_iter().map(|[number, change, flags]| Operation { number, change: change as i16, flags }).collect();
    semaphores::operate(id, &operations, deadline).map(|()| 0)
}

fn semctl(&[id, number, command, argument, ..]: &Arguments) -> Result<u64> {
    let (id, number, command) = (id as i32, number as i32, command as u32 & !IPC_64);
    if id < 0 {
        return Err(Errno::INVAL);
    }
    match command {
        IPC_RMID => semaphores::remove(id).map(|()| 0),
        IPC_SET => semaphores::set(id, Change::read(argument)?).map(|()| 0),
        GETVAL => semaphores::value(id, number),
        GETPID => semaphores::last_process(id, number),
        GETNCNT | GETZCNT => semaphores::waiters(id, number, command == GETZCNT),
        SETVAL => semaphores::set_value(id, number, argument as i32).map(|()| 0),
        GETALL => {
            semaphores::size(id, Access::Read)?;
            UserPointer::new(argument).write_slice(&semaphores::values(id)?).map(|()| 0)
        }
        SETALL => {
            let values: Vec<u16> = UserPointer::new(argument).read_vec(semaphores::size(id, Access::Write)?)?;
            semaphores::set_values(id, &values).map(|()| 0)
        }
        IPC_STAT | SEM_STAT | SEM_STAT_ANY => {
            let (id, status) = semaphores::status(id, command != IPC_STAT, command == SEM_STAT_ANY)?;
            let (operated, changed) = (status.operated_s as u64, status.header.changed_s as u64);
            write_bytes(argument, &with_header(&status.header, &[operated, 0, changed, 0, status.size, 0, 0]))?;
            Ok(if command == IPC_STAT { 0 } else { id as u64 })
        }
        IPC_INFO | SEM_INFO => semaphore_limits(command, argument),
        _ => Err(Errno::INVAL),
    }
}

/// `struct seminfo`.
fn semaphore_limits(command: u32, buffer: u64) -> Result<u64> {
    let namespace = namespace();
    let setting = |name| as_int(namespace.setting(name));
    let [size, all, operations, sets] = [Setting::Semmsl, Setting::Semmns, Setting::Semopm, Setting::Semmni].map(setting);
    let table = namespace.semaphores.lock();
    let used: usize = table.all().map(|set| set.size).sum();
    let (in_use, in_all) = if command == SEM_INFO { (table.len() as u32, used as u32) } else { (20, HIGHEST_VALUE as u32) };
    let last_used = table.last_used();
    drop(table);
    write_words(buffer, &[all, sets, all, all, size, operations, operations, in_use, HIGHEST_VALUE as u32, in_all])?;
    Ok(last_used)
}

fn shmctl(&[id, command, buffer, ..]: &Arguments) -> Result<u64> {
    let (id, command) = (id as i32, command as u32 & !IPC_64);
    if id < 0 {
        return Err(Errno::INVAL);
    }
    match command {
        IPC_RMID => shared_memory::remove(id).map(|()| 0),
        IPC_SET => shared_memory::set(id, Change::read(buffer)?).map(|()| 0),
        SHM_LOCK | SHM_UNLOCK => shared_memory::set_locked(id, command == SHM_LOCK).map(|()| 0),
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            let (id, status) = shared_memory::status(id, command != IPC_STAT, command == SHM_STAT_ANY)?;
            let times = [status.attached_s, status.detached_s, status.header.changed_s].map(|time| time as u64);
            let [attached, detached, changed] = times;
            let processes = pair(status.maker, status.last);
            let words = [status.size_bytes, attached, detached, changed, processes, status.attachments, 0, 0];
            write_bytes(buffer, &with_header(&status.header, &words))?;
            Ok(if command == IPC_STAT { 0 } else { id as u64 })
        }
        IPC_INFO => {
            let namespace = namespace();
            let [most, count, all] = [Setting::Shmmax, Setting::Shmmni, Setting::Shmall].map(|name| namespace.setting(name));
            // The least size is 1, and as many may be attached as there may be.
            UserPointer::new(buffer).write_slice(&[most, 1, count, count, all, 0, 0, 0, 0])?;
            Ok(namespace.shared_memory.lock().last_used())
        }
        SHM_INFO => {
            let namespace = namespace();
            let segments: Vec<_> = namespace.shared_memory.lock().all().cloned().collect();
            let pages = |bytes: u64| bytes.div_ceil(crate::mm::PAGE_SIZE_BYTES as u64);
            let all: Vec<_> = segments.iter().map(|segment| segment.status()).collect();
            let total = all.iter().map(|segment| pages(segment.size_bytes)).sum();
            let resident = all.iter().map(|segment| pages(segment.resident_bytes)).sum();
            UserPointer::new(buffer).write_slice(&[segments.len() as u64, total, resident, 0, 0, 0])?;
            Ok(namespace.shared_memory.lock().last_used())
        }
        _ => Err(Errno::INVAL),
    }
}
