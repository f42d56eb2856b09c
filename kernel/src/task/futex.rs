//! futex(2).

use crate::task::Thread;

pub(in crate::task) fn exit_robust_list(_thread: &Thread) {}

pub(in crate::task) fn wake_at(_address: u64, _count: u32) {}
