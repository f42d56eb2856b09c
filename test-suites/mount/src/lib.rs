//! What `mount` and `umount2` must do: one test for each of the 105 cases that gVisor's `mount.cc` has, under the case's name
//! in snake case. The tests are below `tests/cases`, in a module for each subject.
//!
//! Nothing is skipped for want of a capability: without root a case fails.

use std::sync::RwLock;

/// Peer group numbers are one pool for the whole system, so a case that counts on the lowest free one runs alone.
static GROUP_NUMBERS: RwLock<()> = RwLock::new(());

/// Runs a case in a process and private mount namespace of its own, with a fresh tmpfs on `/tmp` as working directory.
pub fn case(body: impl FnOnce()) {
    let _others_may_run = GROUP_NUMBERS.read();
    abi::in_mount_namespace(body);
}

/// Runs a case like [`case`] while no other runs in this process.
pub fn case_alone(body: impl FnOnce()) {
    let _no_other_runs = GROUP_NUMBERS.write();
    abi::in_mount_namespace(body);
}
