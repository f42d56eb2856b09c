//! System V's message queues, semaphores and shared memory (`sysvipc(7)`), and what an ipc namespace is (`ipc_namespaces(7)`).
//!
//! `table` finds objects by key and id and says who may do what; `messages`, `semaphores` and `shared_memory` are the three kinds;
//! `settings` is what `/proc/sys` tells and changes. POSIX message queues are files: `fs::mqueue`.

pub mod messages;
pub mod semaphores;
mod settings;
pub mod shared_memory;
mod table;
pub mod views;

pub use settings::{Setting, SettingFile, SettingsFile};
pub use table::{Access, Change, Header, Table, nowait};

use crate::errno::Errno;
use crate::task::namespace_count::NamespaceCount;
use crate::task::namespaces::{Kind, next_inode_number};
use crate::task::{SleepMutex, UserNamespace};
use alloc::sync::Arc;
use messages::MessageQueue;
use semaphores::SemaphoreSet;
use shared_memory::Segment;

/// An ipc namespace. POSIX message queues hang on it by its address ([`crate::fs::mqueue`]).
pub struct IpcNamespace {
    /// Whose privileges govern it.
    pub owner: Arc<UserNamespace>,
    /// For `/proc/PID/ns/ipc`.
    pub inode_number: u64,
    /// Message queues.
    pub messages: SleepMutex<Table<MessageQueue>>,
    /// Sets of semaphores.
    pub semaphores: SleepMutex<Table<SemaphoreSet>>,
    /// Segments of memory.
    pub shared_memory: SleepMutex<Table<Segment>>,
    settings: settings::Settings,
    _count: Option<NamespaceCount>,
}

impl IpcNamespace {
    /// An empty one. The initial one alone counts for nobody.
    pub fn new(owner: Arc<UserNamespace>, count: Option<NamespaceCount>) -> Self {
        Self {
            owner,
            inode_number: next_inode_number(Kind::Ipc, count.is_none()),
            messages: SleepMutex::new(Table::new()),
            semaphores: SleepMutex::new(Table::new()),
            shared_memory: SleepMutex::new(Table::new()),
            settings: settings::Settings::new(),
            _count: count,
        }
    }

    /// A setting now.
    pub fn setting(&self, name: Setting) -> u64 {
        self.settings.get(name)
    }
}

/// Now, in the seconds that the calls tell.
fn now_s() -> i64 {
    (crate::time::clock::realtime_ns() / i128::from(crate::time::clock::NS_PER_SECOND)) as i64
}

/// The end of a wait that goes on afterwards only if no handler ran.
fn not_restarted(end: Errno) -> Errno {
    if end == Errno::RESTARTSYS { Errno::RESTARTNOHAND } else { end }
}
