//! Processes in a user and mount namespace of their own, as a container without privileges has.

use std::sync::atomic::Ordering::SeqCst;

use crate::child::{spawn, wait_until};
use crate::shared_words;
use crate::world::write;

/// Forks a process that unshares its user and mount namespace and maps its ids to 0; when it has done so `parent` runs here,
/// and when that is through `child` runs there. Panics if either does.
pub fn in_user_namespace(parent: impl FnOnce(), child: impl FnOnce()) {
    let words = shared_words();
    let forked = spawn(|| {
        enter();
        words[0].store(1, SeqCst);
        wait_until("the parent is through", || words[1].load(SeqCst) == 1);
        child();
    });
    wait_until("the namespaces are there", || words[0].load(SeqCst) == 1);
    parent();
    words[1].store(1, SeqCst);
    forked.join();
}

/// Moves the process to a new user and mount namespace where it is root. user_namespaces(7).
pub fn enter() {
    // SAFETY: they only read the caller's credentials.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    crate::syscall!(SYS_unshare, libc::CLONE_NEWNS | libc::CLONE_NEWUSER).expect("unshare");
    write("/proc/self/uid_map", format!("0 {user} 1"));
    write("/proc/self/setgroups", "deny");
    write("/proc/self/gid_map", format!("0 {group} 1"));
    crate::syscall!(SYS_setuid, 0).expect("setuid");
    crate::syscall!(SYS_setgid, 0).expect("setgid");
}
