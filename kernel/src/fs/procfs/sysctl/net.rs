//! `/proc/sys/net`.

use super::Fixed;
use crate::fs::generated::Entry;

pub(super) static ENTRIES: &[Entry] =
    &[Entry::directory("core", CORE), Entry::directory("unix", &[Entry::variable("max_dgram_qlen", &Fixed("10"))])];

static CORE: &[Entry] = &[
    Entry::variable("netdev_max_backlog", &Fixed("1000")),
    Entry::variable("rmem_default", &Fixed("212992")),
    Entry::variable("rmem_max", &Fixed("212992")),
    Entry::variable("somaxconn", &Fixed("4096")),
    Entry::variable("wmem_default", &Fixed("212992")),
    Entry::variable("wmem_max", &Fixed("212992")),
];
