//! securebits: what user 0 means for capabilities (capabilities(7), "The securebits flags").

use abi::namespace::status_line;
use abi::{Outcome, assert_errno, in_child, spawn, syscall};
use libc::{PR_GET_SECUREBITS, PR_SET_KEEPCAPS, PR_SET_SECUREBITS};

const NOROOT: u32 = 1;
const NOROOT_LOCKED: u32 = 1 << 1;
const NO_SETUID_FIXUP: u32 = 1 << 2;
const KEEP_CAPS: u32 = 1 << 4;
const KEEP_CAPS_LOCKED: u32 = 1 << 5;
const NO_CAP_AMBIENT_RAISE: u32 = 1 << 6;

fn set(bits: u32) -> Outcome {
    syscall!(SYS_prctl, PR_SET_SECUREBITS, bits, 0, 0, 0)
}

fn bits() -> Outcome {
    syscall!(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0)
}

/// A set of the calling process.
fn capabilities(key: &str) -> u64 {
    u64::from_str_radix(&status_line("self", key), 16).expect("a number")
}

/// What a program that is run has of a set.
fn after_exec(key: &str) -> u64 {
    let output = std::process::Command::new("/bin/busybox").args(["cat", "/proc/self/status"]).output().expect("busybox");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("a line").trim();
    u64::from_str_radix(line, 16).expect("a number")
}

fn become_user(id: u32) {
    syscall!(SYS_setresuid, id, id, id).expect("setresuid");
}

#[test]
fn securebits_are_told_set_and_inherited() {
    in_child(|| {
        assert_eq!(bits(), Ok(0));
        set(NOROOT | NO_SETUID_FIXUP).expect("PR_SET_SECUREBITS");
        assert_eq!(bits(), Ok(5));
        spawn(|| assert_eq!(bits(), Ok(5))).join();
        set(0).expect("PR_SET_SECUREBITS");
        assert_errno!(set(1 << 8), EPERM);
    });
}

#[test]
fn securebits_that_are_locked_stay() {
    in_child(|| {
        set(NOROOT | NOROOT_LOCKED).expect("PR_SET_SECUREBITS");
        assert_errno!(set(NOROOT), EPERM);
        assert_errno!(set(NOROOT_LOCKED), EPERM);
        set(NOROOT | NOROOT_LOCKED | KEEP_CAPS_LOCKED).expect("more");
        assert_errno!(syscall!(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0), EPERM);
    });
}

#[test]
fn securebits_take_a_capability() {
    in_child(|| {
        become_user(1000);
        assert_errno!(set(NOROOT), EPERM);
        // Keeping capabilities is everybody's own affair.
        syscall!(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0).expect("PR_SET_KEEPCAPS");
        assert_eq!(bits(), Ok(KEEP_CAPS as usize));
    });
}

#[test]
fn securebits_noroot_makes_user_0_a_user_at_exec() {
    in_child(|| {
        assert_ne!(after_exec("CapEff"), 0);
        set(NOROOT).expect("PR_SET_SECUREBITS");
        assert_ne!(capabilities("CapEff"), 0);
        assert_eq!((after_exec("CapEff"), after_exec("CapPrm")), (0, 0));
    });
}

#[test]
fn securebits_keep_the_sets_over_changes_of_user() {
    in_child(|| {
        let before = capabilities("CapPrm");
        spawn(|| {
            set(NO_SETUID_FIXUP).expect("PR_SET_SECUREBITS");
            become_user(1000);
            assert_eq!((capabilities("CapPrm"), capabilities("CapEff")), (before, before));
        })
        .join();
        spawn(|| {
            set(KEEP_CAPS).expect("PR_SET_SECUREBITS");
            become_user(1000);
            assert_eq!((capabilities("CapPrm"), capabilities("CapEff")), (before, 0));
        })
        .join();
        become_user(1000);
        assert_eq!(capabilities("CapPrm"), 0);
    });
}

#[test]
fn securebits_forbid_raising_ambient_capabilities() {
    in_child(|| {
        const RAISE: i32 = 2;
        const NET_RAW: u32 = 13;
        let header = [0x2008_0522u32, 0];
        let all = [[u32::MAX; 3], [0x1ff; 3]];
        syscall!(SYS_capset, header.as_ptr(), all.as_ptr()).expect("capset");
        let raise = || syscall!(SYS_prctl, libc::PR_CAP_AMBIENT, RAISE, NET_RAW, 0, 0);
        raise().expect("PR_CAP_AMBIENT_RAISE");
        set(NO_CAP_AMBIENT_RAISE).expect("PR_SET_SECUREBITS");
        assert_errno!(raise(), EPERM);
        assert_eq!(capabilities("CapAmb"), 1 << NET_RAW);
    });
}
