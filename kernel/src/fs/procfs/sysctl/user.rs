//! `/proc/sys/user`: how many namespaces a user may have (`namespaces(7)`). Each user namespace has limits of its own.

use super::Fixed;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Entry, Text, Variable};
use crate::fs::procfs::status::parse_number;
use crate::put_line;
use crate::task::namespaces::Kind;
use crate::task::{Capabilities, Credentials, current, namespace_count};

pub(super) static ENTRIES: &[Entry] = &[
    limit("max_cgroup_namespaces", &Maximum(Kind::Cgroup)),
    Entry::variable("max_inotify_instances", &Fixed("128")),
    Entry::variable("max_inotify_watches", &Fixed("65536")),
    limit("max_ipc_namespaces", &Maximum(Kind::Ipc)),
    limit("max_mnt_namespaces", &Maximum(Kind::Mount)),
    limit("max_net_namespaces", &Maximum(Kind::Network)),
    limit("max_pid_namespaces", &Maximum(Kind::Pid)),
    limit("max_time_namespaces", &Maximum(Kind::Time)),
    limit("max_user_namespaces", &Maximum(Kind::User)),
    limit("max_uts_namespaces", &Maximum(Kind::Uts)),
];

const fn limit(name: &'static str, maximum: &'static Maximum) -> Entry {
    Entry::variable(name, maximum).governed_by(may_change)
}

/// `CAP_SYS_RESOURCE` in the user namespace that the values are for.
fn may_change(credentials: &Credentials) -> bool {
    credentials.capable_in(Capabilities::SYS_RESOURCE, &credentials.user_namespace)
}

/// The limit for one kind of namespaces in the reader's user namespace.
struct Maximum(Kind);

impl Variable for Maximum {
    fn show(&self, text: &mut Text) {
        put_line!(text, "{}", namespace_count::maximum(&current().credentials().user_namespace, self.0));
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let maximum = parse_number(bytes)?;
        if !(0..=i64::from(i32::MAX)).contains(&maximum) {
            return Err(Errno::INVAL);
        }
        namespace_count::set_maximum(&current().credentials().user_namespace, self.0, maximum);
        Ok(())
    }
}
