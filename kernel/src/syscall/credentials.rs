//! System calls: user and group ids, capabilities, prctl.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::mm::user::UserPointer;
use crate::task::capability::{self, Sets};
use crate::task::{Capabilities, Credentials, current, identity, prctl};
use alloc::vec::Vec;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_getuid, "getuid", |_| shown(|c| c.user_namespace.shown_uid(c.uid))),
    Entry(sys::__NR_geteuid, "geteuid", |_| shown(|c| c.user_namespace.shown_uid(c.effective_uid))),
    Entry(sys::__NR_getgid, "getgid", |_| shown(|c| c.user_namespace.shown_gid(c.gid))),
    Entry(sys::__NR_getegid, "getegid", |_| shown(|c| c.user_namespace.shown_gid(c.effective_gid))),
    Entry(sys::__NR_getresuid, "getresuid", sys_getresuid),
    Entry(sys::__NR_getresgid, "getresgid", sys_getresgid),
    Entry(sys::__NR_setuid, "setuid", |a| identity::set_uid(a[0] as u32).map(|()| 0)),
    Entry(sys::__NR_setgid, "setgid", |a| identity::set_gid(a[0] as u32).map(|()| 0)),
    Entry(sys::__NR_setreuid, "setreuid", |a| identity::set_real_effective_uid(a[0] as u32, a[1] as u32).map(|()| 0)),
    Entry(sys::__NR_setregid, "setregid", |a| identity::set_real_effective_gid(a[0] as u32, a[1] as u32).map(|()| 0)),
    Entry(sys::__NR_setresuid, "setresuid", |a| identity::set_all_uids([a[0], a[1], a[2]].map(|id| id as u32)).map(|()| 0)),
    Entry(sys::__NR_setresgid, "setresgid", |a| identity::set_all_gids([a[0], a[1], a[2]].map(|id| id as u32)).map(|()| 0)),
    Entry(sys::__NR_setfsuid, "setfsuid", |a| Ok(u64::from(identity::set_filesystem_uid(a[0] as u32)))),
    Entry(sys::__NR_setfsgid, "setfsgid", |a| Ok(u64::from(identity::set_filesystem_gid(a[0] as u32)))),
    Entry(sys::__NR_getgroups, "getgroups", sys_getgroups),
    Entry(sys::__NR_setgroups, "setgroups", sys_setgroups),
    Entry(sys::__NR_capget, "capget", sys_capget),
    Entry(sys::__NR_capset, "capset", sys_capset),
    Entry(sys::__NR_prctl, "prctl", sys_prctl),
];

fn shown(of: impl FnOnce(&Credentials) -> u32) -> Result<u64> {
    Ok(u64::from(of(&current().credentials())))
}

fn write_ids(addresses: &[u64], ids: [u32; 3]) -> Result<u64> {
    for (address, id) in addresses.iter().zip(ids) {
        UserPointer::new(*address).write(id)?;
    }
    Ok(0)
}

fn sys_getresuid(arguments: &Arguments) -> Result<u64> {
    let credentials = current().credentials();
    let ids = [credentials.uid, credentials.effective_uid, credentials.saved_uid];
    write_ids(&arguments[..3], ids.map(|id| credentials.user_namespace.shown_uid(id)))
}

fn sys_getresgid(arguments: &Arguments) -> Result<u64> {
    let credentials = current().credentials();
    let ids = [credentials.gid, credentials.effective_gid, credentials.saved_gid];
    write_ids(&arguments[..3], ids.map(|id| credentials.user_namespace.shown_gid(id)))
}

fn sys_getgroups(&[len, list, ..]: &Arguments) -> Result<u64> {
    let credentials = current().credentials();
    let groups: Vec<u32> = credentials.groups.iter().map(|gid| credentials.user_namespace.shown_gid(*gid)).collect();
    let len = usize::try_from(len as i32).map_err(|_| Errno::INVAL)?;
    if len != 0 {
        if len < groups.len() {
            return Err(Errno::INVAL);
        }
        UserPointer::new(list).write_slice(&groups)?;
    }
    Ok(groups.len() as u64)
}

fn sys_setgroups(&[len, list, ..]: &Arguments) -> Result<u64> {
    let len = u64::from(len as u32);
    identity::may_set_groups(len)?;
    identity::set_groups(UserPointer::new(list).read_vec(len as usize)?).map(|()| 0)
}

/// How many 32-bit words each set has in a version of the interface; an unknown version is answered with the newest one.
fn words_of_version(header: UserPointer<[u32; 2]>) -> Result<(usize, i32)> {
    let [version, pid] = header.read()?;
    match version {
        sys::_LINUX_CAPABILITY_VERSION_1 => Ok((1, pid as i32)),
        sys::_LINUX_CAPABILITY_VERSION_2 | sys::_LINUX_CAPABILITY_VERSION_3 => Ok((2, pid as i32)),
        _ => {
            UserPointer::new(header.address()).write(sys::_LINUX_CAPABILITY_VERSION_3)?;
            Err(Errno::INVAL)
        }
    }
}

fn sys_capget(&[header, data, ..]: &Arguments) -> Result<u64> {
    let (words, pid) = match words_of_version(UserPointer::new(header)) {
        // With NULL for the data this is the way to ask for the version.
        Err(Errno::INVAL) if data == 0 => return Ok(0),
        other => other?,
    };
    let sets = capability::get(pid)?;
    if data == 0 {
        return Ok(0);
    }
    for word in 0..words {
        let part = |set: Capabilities| (set.bits() >> (32 * word)) as u32;
        let entry = [part(sets.effective), part(sets.permitted), part(sets.inheritable)];
        UserPointer::<[u32; 3]>::new(data).at(word).write(entry)?;
    }
    Ok(0)
}

fn sys_capset(&[header, data, ..]: &Arguments) -> Result<u64> {
    let (words, pid) = words_of_version(UserPointer::new(header))?;
    let mut bits = [0u64; 3];
    for word in 0..words {
        let entry = UserPointer::<[u32; 3]>::new(data).at(word).read()?;
        for (set, part) in bits.iter_mut().zip(entry) {
            *set |= u64::from(part) << (32 * word);
        }
    }
    let [effective, permitted, inheritable] = bits.map(Capabilities::from_bits_truncate);
    capability::set(pid, Sets { effective, permitted, inheritable }).map(|()| 0)
}

fn sys_prctl(&[option, second, third, fourth, fifth, _]: &Arguments) -> Result<u64> {
    prctl::prctl(option as u32, [second, third, fourth, fifth])
}
