//! A process: what its threads share.

use crate::mm::AddressSpace;
use crate::sync::SpinLock;
use alloc::sync::Arc;

/// A thread group.
pub struct Process {
    /// Its number in the initial pid namespace: the tid of its first thread.
    pub pid: u32,
    address_space: SpinLock<Option<Arc<AddressSpace>>>,
}

#[allow(missing_docs)]
impl Process {
    /// `None` once it has exited.
    pub fn address_space(&self) -> Option<Arc<AddressSpace>> {
        self.address_space.lock().clone()
    }
}
