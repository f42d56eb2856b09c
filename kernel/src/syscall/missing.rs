//! The names of the system calls of Linux 6.6 that are not here, for the log.

use linux_raw_sys::general as sys;

macro_rules! names {
    ($($name:ident = $constant:ident),* $(,)?) => { &[$((sys::$constant, stringify!($name))),*] };
}

/// Number and name. Those that Linux itself answers with `ENOSYS` (`unimplemented(2)`) have no name.
const NAMES: &[(u32, &str)] = names! {
    ptrace = __NR_ptrace, uselib = __NR_uselib, sysfs = __NR_sysfs, vhangup = __NR_vhangup, modify_ldt = __NR_modify_ldt,
    acct = __NR_acct, swapon = __NR_swapon, swapoff = __NR_swapoff, iopl = __NR_iopl, ioperm = __NR_ioperm,
    init_module = __NR_init_module, delete_module = __NR_delete_module, quotactl = __NR_quotactl, io_setup = __NR_io_setup,
    io_destroy = __NR_io_destroy, io_getevents = __NR_io_getevents, io_submit = __NR_io_submit, io_cancel = __NR_io_cancel,
    remap_file_pages = __NR_remap_file_pages, mbind = __NR_mbind, set_mempolicy = __NR_set_mempolicy,
    get_mempolicy = __NR_get_mempolicy, kexec_load = __NR_kexec_load, migrate_pages = __NR_migrate_pages,
    move_pages = __NR_move_pages, perf_event_open = __NR_perf_event_open, fanotify_init = __NR_fanotify_init,
    fanotify_mark = __NR_fanotify_mark, finit_module = __NR_finit_module, kexec_file_load = __NR_kexec_file_load,
    userfaultfd = __NR_userfaultfd, pkey_mprotect = __NR_pkey_mprotect, pkey_alloc = __NR_pkey_alloc, pkey_free = __NR_pkey_free,
    io_pgetevents = __NR_io_pgetevents, io_uring_setup = __NR_io_uring_setup, io_uring_enter = __NR_io_uring_enter,
    io_uring_register = __NR_io_uring_register, process_madvise = __NR_process_madvise, quotactl_fd = __NR_quotactl_fd,
    landlock_create_ruleset = __NR_landlock_create_ruleset, landlock_add_rule = __NR_landlock_add_rule,
    landlock_restrict_self = __NR_landlock_restrict_self, memfd_secret = __NR_memfd_secret,
    process_mrelease = __NR_process_mrelease, futex_waitv = __NR_futex_waitv,
    set_mempolicy_home_node = __NR_set_mempolicy_home_node,
};

/// The name of a call that Linux has and this kernel has not.
pub fn name(number: u64) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| u64::from(*known) == number).map(|(_, name)| *name)
}
