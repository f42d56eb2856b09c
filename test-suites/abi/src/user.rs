//! Processes of users without privilege.

use crate::{signal, spawn, syscall};

/// Runs `body` as a user and a group of that number, in the same working directory.
#[track_caller]
pub fn as_user(id: u32, body: impl FnOnce()) {
    in_groups(id, &[], body);
}

/// As [`as_user`], in more groups.
#[track_caller]
pub fn in_groups(id: u32, groups: &[u32], body: impl FnOnce()) {
    spawn(move || {
        signal::reset();
        syscall!(SYS_setgroups, groups.len(), groups.as_ptr()).expect("other groups");
        syscall!(SYS_setresgid, id, id, id).expect("another group");
        syscall!(SYS_setresuid, id, id, id).expect("another user");
        body();
    })
    .join();
}
