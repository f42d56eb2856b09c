//! `/proc/sys/user`: how many namespaces a user may have (`namespaces(7)`).

use super::Fixed;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Entry, Text, Variable};
use crate::fs::mount;
use crate::fs::procfs::status::parse_number;
use crate::fs::procfs::user_limits::threads_max;
use crate::put_line;

pub(super) static ENTRIES: &[Entry] = &[
    Entry::variable("max_cgroup_namespaces", &NamespaceMax),
    Entry::variable("max_inotify_instances", &Fixed("128")),
    Entry::variable("max_inotify_watches", &Fixed("65536")),
    Entry::variable("max_ipc_namespaces", &NamespaceMax),
    Entry::variable("max_mnt_namespaces", &MountNamespaceMax),
    Entry::variable("max_net_namespaces", &NamespaceMax),
    Entry::variable("max_pid_namespaces", &NamespaceMax),
    Entry::variable("max_time_namespaces", &NamespaceMax),
    Entry::variable("max_user_namespaces", &NamespaceMax),
    Entry::variable("max_uts_namespaces", &NamespaceMax),
];

/// Half the threads that there may be, Linux's default.
struct NamespaceMax;

impl Variable for NamespaceMax {
    fn show(&self, text: &mut Text) {
        put_line!(text, "{}", threads_max() / 2);
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        if parse_number(bytes)? == threads_max() / 2 { Ok(()) } else { Err(Errno::INVAL) }
    }
}

/// Mount namespaces, detached mount trees with theirs.
struct MountNamespaceMax;

impl Variable for MountNamespaceMax {
    fn show(&self, text: &mut Text) {
        put_line!(text, "{}", mount::namespace::maximum());
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let maximum = parse_number(bytes)?;
        if !(0..=i64::from(i32::MAX)).contains(&maximum) {
            return Err(Errno::INVAL);
        }
        mount::namespace::set_maximum(maximum);
        Ok(())
    }
}
