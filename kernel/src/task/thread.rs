//! A thread: what the scheduler runs. Credentials are each thread's own, as in Linux.

use crate::fs::{FdTable, FsContext};
use crate::sync::SpinLock;
use crate::task::{Credentials, Namespaces, Process};
use alloc::sync::Arc;

/// A thread of a process.
pub struct Thread {
    /// Its number in the initial pid namespace.
    pub tid: u32,
    /// The process that it belongs to.
    pub process: Arc<Process>,
    /// Who it acts for.
    credentials: SpinLock<Arc<Credentials>>,
    fs: SpinLock<Arc<FsContext>>,
    files: SpinLock<Arc<FdTable>>,
    namespaces: SpinLock<Arc<Namespaces>>,
}

#[allow(missing_docs)]
impl Thread {
    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.lock().clone()
    }
    pub fn set_credentials(&self, credentials: Arc<Credentials>) {
        let old = core::mem::replace(&mut *self.credentials.lock(), credentials);
        drop(old);
    }
    pub fn fs(&self) -> Arc<FsContext> {
        self.fs.lock().clone()
    }
    pub fn files(&self) -> Arc<FdTable> {
        self.files.lock().clone()
    }
    pub fn namespaces(&self) -> Arc<Namespaces> {
        self.namespaces.lock().clone()
    }
}
