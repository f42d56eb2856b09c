//! What the system calls itself (`uname(2)`, `/proc/version`).

/// `sysname`.
pub const OS_TYPE: &str = "Linux";
/// `release`: the Linux whose ABI this is, with our name behind it.
pub const OS_RELEASE: &str = "6.6.87-graft";
/// `version`.
pub const OS_VERSION: &str = "#1 Graft";
/// `machine`.
pub const MACHINE: &str = "x86_64";

/// `UNAME26` of `personality(2)`.
const UNAME26: u32 = 0x002_0000;

/// The release as a process of that personality is told it: programs that cannot count to 3 see 2.6.40 and up.
pub fn shown_release(personality: u32) -> &'static str {
    if personality & UNAME26 != 0 { "2.6.66-graft" } else { OS_RELEASE }
}
