//! System calls: unshare, setns, host and domain name.

use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::mm::user;
use crate::task::{Capabilities, current, pidfd, unshare};
use alloc::{vec, vec::Vec};
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[
    Entry(sys::__NR_unshare, "unshare", |a| unshare::unshare(a[0]).map(|()| 0)),
    Entry(sys::__NR_setns, "setns", sys_setns),
    Entry(sys::__NR_sethostname, "sethostname", sys_sethostname),
    Entry(sys::__NR_setdomainname, "setdomainname", sys_setdomainname),
];

/// Most bytes of either name (`__NEW_UTS_LEN`).
const NAME_LEN_BYTES: usize = 64;

fn sys_setns(&[fd, kind, ..]: &Arguments) -> Result<u64> {
    let file = current().files().get(fd as i32)?;
    if let Some(pidfd) = file.downcast::<pidfd::PidFd>() {
        let target = pidfd.process().and_then(|process| process.live_thread()).ok_or(Errno::SRCH)?;
        return unshare::enter_those_of(&target, kind as u32).map(|()| 0);
    }
    let namespace = file.ops.namespace().ok_or(Errno::INVAL)?;
    unshare::enter(&namespace, kind as u32).map(|()| 0)
}

fn read_name(address: u64, len: u64) -> Result<Vec<u8>> {
    let namespaces = current().namespaces();
    if !current().credentials().capable_in(Capabilities::SYS_ADMIN, &namespaces.uts.owner) {
        return Err(Errno::PERM);
    }
    let len = usize::try_from(len as i32).ok().filter(|len| *len <= NAME_LEN_BYTES).ok_or(Errno::INVAL)?;
    let mut name = vec![0; len];
    user::read_bytes(address, &mut name)?;
    Ok(name)
}

fn sys_sethostname(&[address, len, ..]: &Arguments) -> Result<u64> {
    let name = read_name(address, len)?;
    current().namespaces().uts.names.lock().host = name;
    Ok(0)
}

fn sys_setdomainname(&[address, len, ..]: &Arguments) -> Result<u64> {
    let name = read_name(address, len)?;
    current().namespaces().uts.names.lock().domain = name;
    Ok(0)
}
