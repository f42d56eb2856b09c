//! System calls: uname, sysinfo, reboot, getrandom, syslog, rlimits, sethostname.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
