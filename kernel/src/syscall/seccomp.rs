//! System call: seccomp.

use super::{Arguments, Entry};
use crate::errno::Result;
use crate::task::seccomp::install;
use linux_raw_sys::general as sys;

pub(super) const TABLE: &[Entry] = &[Entry(sys::__NR_seccomp, "seccomp", sys_seccomp)];

fn sys_seccomp(&[operation, flags, argument, ..]: &Arguments) -> Result<u64> {
    install::seccomp(operation as u32, flags as u32, argument)
}
