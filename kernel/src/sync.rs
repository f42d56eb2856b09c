//! Locks. Kernel code runs with interrupts off and gives up the processor only where it blocks, so a spinning lock
//! must never be held across anything that can block: a wait queue, a [`crate::task::SleepMutex`], a copy from or to user memory
//! (it may fault a page in), an allocation of user pages. What must be held across such points is a `SleepMutex`.
//!
//! Order (take the outer first): address space → inode (`SleepMutex`) → forest → dentry tree → inode attributes →
//! process table → thread signals → tree of control groups → run queue → state of one control group → frames and heap. A lock that is
//! missing here is a leaf.

pub use spin::{Lazy, Mutex as SpinLock, Once, RwLock};
