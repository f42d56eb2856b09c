//! What `pivot_root` must do: one test for each of the 19 cases that gVisor's `pivot_root.cc` has, under the case's name in
//! snake case. What works is in `tests/cases/changes.rs`, what is refused in `tests/cases/refusals.rs`; this library has what both need.
//!
//! Nothing is skipped for want of a capability: without root a case fails.

use abi::guard::tmpfs_on;
use abi::syscall;
use abi::world::{c, mkdir};

/// Where the root of the cases lies.
pub const ROOT: &str = "/tmp/r";

/// Makes a tmpfs at [`ROOT`], one on its `n`, and the directory `n/o`: what a `pivot_root("/n", "/n/o")` needs.
pub fn make_roots() {
    tmpfs_on(ROOT).forget();
    tmpfs_on("/tmp/r/n").forget();
    mkdir("/tmp/r/n/o");
}

/// `chroot`; the working directory stays where it is.
#[track_caller]
pub fn chroot(path: &str) {
    syscall!(SYS_chroot, c(path).as_c_str()).unwrap_or_else(|error| panic!("chroot {path}: {error:?}"));
}

/// Forks a process with [`ROOT`] as its root that runs `body`, and waits for it.
pub fn in_root(body: impl FnOnce()) {
    abi::spawn(|| {
        chroot(ROOT);
        body();
    })
    .join();
}
