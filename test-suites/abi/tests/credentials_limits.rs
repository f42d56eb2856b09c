//! User and group ids, capabilities, permissions that follow from them, umask, and resource limits.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use abi::world::{exists, mkdir, read, touch, write};
use abi::{Outcome, Status, assert_errno, in_child, in_mount_namespace, signal, spawn, syscall};

/// Version 3 of the capability calls' header.
const VERSION: u32 = 0x2008_0522;
const CAP_CHOWN: u32 = 0;
const CAP_SETUID: u32 = 7;
const CAP_SYS_ADMIN: u32 = 21;

/// Effective, permitted and inheritable sets of the calling thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Capabilities {
    effective: u64,
    permitted: u64,
    inheritable: u64,
}

fn capabilities() -> Capabilities {
    let header = [VERSION, 0];
    let mut data = [0u32; 6];
    syscall!(SYS_capget, header.as_ptr(), data.as_mut_ptr()).expect("capget");
    let set = |index: usize| u64::from(data[index]) | u64::from(data[index + 3]) << 32;
    Capabilities { effective: set(0), permitted: set(1), inheritable: set(2) }
}

fn set_capabilities(sets: Capabilities) -> Outcome {
    let header = [VERSION, 0];
    let words = [sets.effective, sets.permitted, sets.inheritable];
    let data: Vec<u32> = words.iter().map(|&set| set as u32).chain(words.iter().map(|&set| (set >> 32) as u32)).collect();
    syscall!(SYS_capset, header.as_ptr(), data.as_ptr())
}

fn become_user(id: u32) {
    syscall!(SYS_setgroups, 0, 0usize).expect("setgroups");
    syscall!(SYS_setresgid, id, id, id).expect("setresgid");
    syscall!(SYS_setresuid, id, id, id).expect("setresuid");
}

fn user_ids() -> [u32; 3] {
    let mut ids = [0u32; 3];
    let [real, effective, saved] = &mut ids;
    syscall!(SYS_getresuid, &raw mut *real, &raw mut *effective, &raw mut *saved).expect("getresuid");
    ids
}

fn limit(resource: u32) -> [u64; 2] {
    let mut limit = [0u64; 2];
    syscall!(SYS_prlimit64, 0, resource, 0usize, limit.as_mut_ptr()).expect("prlimit64");
    limit
}

fn set_limit(resource: u32, soft: u64, hard: u64) -> Outcome {
    syscall!(SYS_prlimit64, 0, resource, [soft, hard].as_ptr(), 0usize)
}

#[test]
fn setresuid_changes_single_ids_and_minus_one_keeps() {
    in_child(|| {
        syscall!(SYS_setresuid, 1, 2, 3).expect("setresuid");
        assert_eq!(user_ids(), [1, 2, 3]);
        syscall!(SYS_setresuid, u32::MAX, 3, u32::MAX).expect("one of its own ids");
        assert_eq!(user_ids(), [1, 3, 3]);
        assert_errno!(syscall!(SYS_setresuid, 9, u32::MAX, u32::MAX), EPERM);
        syscall!(SYS_setuid, 1).expect("setuid");
        assert_eq!(user_ids(), [1, 1, 3], "without privilege only the effective id changes");
        assert_errno!(syscall!(SYS_setuid, 2), EPERM);
    });
}

#[test]
fn setuid_of_root_sets_all_three_ids_for_good() {
    in_child(|| {
        syscall!(SYS_setuid, 1000).expect("setuid");
        assert_eq!(user_ids(), [1000, 1000, 1000]);
        assert_errno!(syscall!(SYS_setuid, 0), EPERM);
        assert_eq!(syscall!(SYS_setgid, 0), Ok(0), "the group it has already");
    });
}

#[test]
fn setreuid_and_setregid_move_the_saved_id() {
    in_child(|| {
        syscall!(SYS_setregid, 5, 6).expect("setregid");
        let mut ids = [0u32; 3];
        let [real, effective, saved] = &mut ids;
        syscall!(SYS_getresgid, &raw mut *real, &raw mut *effective, &raw mut *saved).expect("getresgid");
        assert_eq!(ids, [5, 6, 6]);
        syscall!(SYS_setreuid, u32::MAX, 1000).expect("setreuid");
        assert_eq!(user_ids(), [0, 1000, 1000]);
        syscall!(SYS_setreuid, 1000, 0).expect("back through the real id");
        assert_eq!(user_ids(), [1000, 0, 0]);
    });
}

#[test]
fn supplementary_groups_are_set_listed_and_inherited() {
    in_child(|| {
        let groups = [10u32, 20, 30];
        syscall!(SYS_setgroups, 3, groups.as_ptr()).expect("setgroups");
        spawn(|| {
            let mut list = [0u32; 8];
            assert_eq!(syscall!(SYS_getgroups, 0, 0usize), Ok(3));
            assert_eq!(syscall!(SYS_getgroups, 8, list.as_mut_ptr()), Ok(3));
            assert_eq!(list[..3], groups);
            assert_errno!(syscall!(SYS_getgroups, 2, list.as_mut_ptr()), EINVAL);
            become_user(1000);
            assert_errno!(syscall!(SYS_setgroups, 3, groups.as_ptr()), EPERM);
        })
        .join();
        assert_errno!(syscall!(SYS_setgroups, 65_537, groups.as_ptr()), EINVAL);
    });
}

#[test]
fn leaving_root_clears_capabilities_unless_kept() {
    in_child(|| {
        let full = capabilities();
        assert!(full.effective & (1 << CAP_SYS_ADMIN) != 0 && full.permitted & (1 << CAP_SETUID) != 0);
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_eq!((capabilities().effective, capabilities().permitted), (0, 0));
        })
        .join();
        spawn(|| {
            syscall!(SYS_prctl, libc::PR_SET_KEEPCAPS, 1).expect("prctl");
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_eq!((capabilities().effective, capabilities().permitted), (0, full.permitted));
            let raised = Capabilities { effective: 1 << CAP_CHOWN, ..capabilities() };
            set_capabilities(raised).expect("raised from the permitted set");
            assert_eq!(capabilities(), raised);
        })
        .join();
        spawn(|| {
            syscall!(SYS_setresuid, 0, 1000, 0).expect("setresuid");
            assert_eq!((capabilities().effective, capabilities().permitted), (0, full.permitted));
            syscall!(SYS_setresuid, 0, 0, 0).expect("setresuid");
            assert_eq!(capabilities().effective, full.permitted, "and back");
        })
        .join();
    });
}

#[test]
fn capset_cannot_gain_what_is_not_permitted() {
    in_child(|| {
        let full = capabilities();
        let without = Capabilities { permitted: full.permitted & !(1 << CAP_CHOWN), effective: 0, inheritable: 0 };
        set_capabilities(without).expect("dropping");
        assert_errno!(set_capabilities(Capabilities { permitted: full.permitted, ..without }), EPERM);
        assert_errno!(set_capabilities(Capabilities { effective: 1 << CAP_CHOWN, ..without }), EPERM);
        let bad_header = [0x1234u32, 0];
        assert_errno!(syscall!(SYS_capget, bad_header.as_ptr(), [0u32; 6].as_mut_ptr()), EINVAL);
        assert_eq!(bad_header[1], 0);
        let stranger = [VERSION, 0x3fff_fff0];
        assert_errno!(syscall!(SYS_capget, stranger.as_ptr(), [0u32; 6].as_mut_ptr()), ESRCH);
        assert_errno!(syscall!(SYS_capset, [VERSION, 1].as_ptr(), [0u32; 6].as_ptr()), EPERM);
    });
}

#[test]
fn capabilities_are_each_threads_own() {
    in_child(|| {
        let full = capabilities();
        std::thread::spawn(move || {
            set_capabilities(Capabilities { effective: 0, ..full }).expect("capset");
            assert_errno!(syscall!(SYS_sethostname, c"x", 1), EPERM);
            assert_errno!(abi::world::mount("x", "/tmp", "tmpfs", 0, ""), EPERM); // Rule F4
        })
        .join()
        .expect("a thread");
        assert_eq!(capabilities(), full);
    });
}

#[test]
fn the_bounding_and_ambient_sets_follow_prctl() {
    in_child(|| {
        assert_eq!(syscall!(SYS_prctl, libc::PR_CAPBSET_READ, CAP_CHOWN), Ok(1));
        syscall!(SYS_prctl, libc::PR_CAPBSET_DROP, CAP_CHOWN).expect("drop");
        assert_eq!(syscall!(SYS_prctl, libc::PR_CAPBSET_READ, CAP_CHOWN), Ok(0));
        assert_errno!(syscall!(SYS_prctl, libc::PR_CAPBSET_READ, 99), EINVAL);
        let ambient = |operation: i32| syscall!(SYS_prctl, libc::PR_CAP_AMBIENT, operation, CAP_SYS_ADMIN, 0, 0);
        assert_eq!(ambient(libc::PR_CAP_AMBIENT_IS_SET), Ok(0));
        assert_errno!(ambient(libc::PR_CAP_AMBIENT_RAISE), EPERM);
        set_capabilities(Capabilities { inheritable: 1 << CAP_SYS_ADMIN, ..capabilities() }).expect("capset");
        assert_eq!(ambient(libc::PR_CAP_AMBIENT_RAISE), Ok(0));
        assert_eq!(ambient(libc::PR_CAP_AMBIENT_IS_SET), Ok(1));
        let status = read("/proc/self/status");
        assert!(status.contains(&format!("CapAmb:\t{:016x}", 1u64 << CAP_SYS_ADMIN)));
    });
}

#[test]
fn exec_as_an_ordinary_user_loses_all_but_ambient_capabilities() {
    in_mount_namespace(|| {
        // exit_group(sethostname("", 0) != 0 ? 1 : 0): xor edi, edi; xor esi, esi; mov eax, sethostname; syscall
        let mut code = vec![0x31, 0xff, 0x31, 0xf6, 0xb8, libc::SYS_sethostname as u8, 0, 0, 0, 0x0f, 0x05];
        code.extend([0x89, 0xc7, 0xf7, 0xdf, 0xb8, libc::SYS_exit_group as u8, 0, 0, 0, 0x0f, 0x05]); // mov edi, eax; neg edi
        abi::elf::Elf::with_code(&code).install("program");
        syscall!(SYS_unshare, libc::CLONE_NEWUTS).expect("unshare");
        assert_eq!(abi::elf::run("/tmp/program", &[]), Status::Exited(0));
        syscall!(SYS_prctl, libc::PR_SET_KEEPCAPS, 1).expect("prctl");
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        set_capabilities(Capabilities { effective: 1 << CAP_SYS_ADMIN, ..capabilities() }).expect("capset");
        assert_eq!(abi::elf::run("/tmp/program", &[]), Status::Exited(libc::EPERM));
        set_capabilities(Capabilities { inheritable: 1 << CAP_SYS_ADMIN, ..capabilities() }).expect("capset");
        let raise = libc::PR_CAP_AMBIENT_RAISE;
        syscall!(SYS_prctl, libc::PR_CAP_AMBIENT, raise, CAP_SYS_ADMIN, 0, 0).expect("ambient");
        assert_eq!(abi::elf::run("/tmp/program", &[]), Status::Exited(0));
    });
}

#[test]
fn file_permissions_choose_owner_group_or_others() {
    in_mount_namespace(|| {
        write("file", "x");
        chown("file", Some(1000), Some(2000)).expect("chown");
        let set_mode = |mode| std::fs::set_permissions("file", std::fs::Permissions::from_mode(mode)).expect("chmod");
        let can_read_as = |user: u32, group: u32| {
            spawn(move || {
                syscall!(SYS_setgroups, 0, 0usize).expect("setgroups");
                syscall!(SYS_setresgid, group, group, group).expect("setresgid");
                syscall!(SYS_setresuid, user, user, user).expect("setresuid");
                abi::child::exit_now(std::fs::read("file").map_or_else(|error| error.raw_os_error().unwrap_or(0), |_| 0));
            })
            .status()
        };
        set_mode(0o077);
        assert_eq!(can_read_as(1000, 2000), Status::Exited(libc::EACCES), "the owner's bits count for the owner");
        assert_eq!(can_read_as(1001, 2000), Status::Exited(0));
        set_mode(0o707);
        assert_eq!(can_read_as(1001, 2000), Status::Exited(libc::EACCES), "the group's bits count for the group");
        assert_eq!(can_read_as(1001, 2001), Status::Exited(0));
        set_mode(0);
        assert_eq!(can_read_as(1000, 2000), Status::Exited(libc::EACCES));
        assert_eq!(std::fs::read("file").expect("root may read"), b"x");
    });
}

#[test]
fn directories_need_search_permission_and_write_permission_for_changes() {
    in_mount_namespace(|| {
        mkdir("closed");
        touch("closed/file");
        mkdir("fixed");
        touch("fixed/file");
        std::fs::set_permissions("closed", std::fs::Permissions::from_mode(0o744)).expect("chmod");
        spawn(|| {
            become_user(1000);
            assert_errno!(std::fs::metadata("closed/file"), EACCES);
            assert_eq!(abi::world::names("closed"), ["file"], "reading names needs no search permission");
            assert!(exists("fixed/file"));
            assert_errno!(std::fs::remove_file("fixed/file"), EACCES);
            assert_errno!(std::fs::write("fixed/new", ""), EACCES);
            assert_errno!(std::fs::rename("fixed/file", "fixed/other"), EACCES);
            assert_errno!(std::fs::create_dir("fixed/new"), EACCES);
        })
        .join();
    });
}

#[test]
fn only_owners_and_root_change_modes_and_owners() {
    in_mount_namespace(|| {
        touch("mine");
        touch("theirs");
        chown("mine", Some(1000), Some(1000)).expect("chown");
        spawn(|| {
            syscall!(SYS_setgroups, 1, [3000u32].as_ptr()).expect("setgroups");
            syscall!(SYS_setresgid, 1000, 1000, 1000).expect("setresgid");
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            std::fs::set_permissions("mine", std::fs::Permissions::from_mode(0o600)).expect("chmod");
            assert_errno!(std::fs::set_permissions("theirs", std::fs::Permissions::from_mode(0o600)), EPERM);
            assert_errno!(chown("mine", Some(0), None), EPERM);
            assert_errno!(chown("mine", None, Some(0)), EPERM);
            chown("mine", None, Some(3000)).expect("a group of one's own");
        })
        .join();
        assert_eq!(std::fs::metadata("mine").expect("stat").gid(), 3000);
    });
}

#[test]
fn chown_and_writing_clear_set_id_bits() {
    in_mount_namespace(|| {
        let mode = || std::fs::metadata("file").expect("stat").mode() & 0o7777;
        let set_mode = |mode| std::fs::set_permissions("file", std::fs::Permissions::from_mode(mode)).expect("chmod");
        touch("file");
        set_mode(0o6755);
        chown("file", Some(1000), Some(1000)).expect("chown");
        assert_eq!(mode(), 0o755);
        set_mode(0o6777);
        spawn(|| {
            become_user(2000);
            write("file", "x");
        })
        .join();
        assert_eq!(mode(), 0o777);
        set_mode(0o6777);
        write("file", "root's writing keeps them");
        assert_eq!(mode(), 0o6777);
        spawn(|| {
            become_user(1000);
            std::fs::set_permissions("file", std::fs::Permissions::from_mode(0o2755)).expect("chmod");
        })
        .join();
        assert_eq!(mode(), 0o2755, "its group is one's own");
    });
}

#[test]
fn umask_masks_new_files_directories_and_nodes() {
    in_mount_namespace(|| {
        assert_eq!(syscall!(SYS_umask, 0o027), Ok(0o022));
        syscall!(SYS_open, c"file", libc::O_CREAT | libc::O_WRONLY, 0o777).expect("open");
        syscall!(SYS_mkdir, c"directory", 0o1777).expect("mkdir");
        syscall!(SYS_mknod, c"fifo", libc::S_IFIFO | 0o666, 0).expect("mknod");
        let mode = |path: &str| std::fs::metadata(path).expect("stat").mode() & 0o7777;
        assert_eq!([mode("file"), mode("directory"), mode("fifo")], [0o750, 0o1750, 0o640]);
        assert_eq!(syscall!(SYS_umask, 0o7777), Ok(0o027));
        assert_eq!(syscall!(SYS_umask, 0), Ok(0o777), "only permission bits are kept");
    });
}

#[test]
fn limits_are_told_changed_and_inherited() {
    in_child(|| {
        set_limit(libc::RLIMIT_NOFILE, 100, 200).expect("prlimit64");
        assert_eq!(limit(libc::RLIMIT_NOFILE), [100, 200]);
        spawn(|| assert_eq!(limit(libc::RLIMIT_NOFILE), [100, 200])).join();
        assert_errno!(set_limit(libc::RLIMIT_NOFILE, 300, 200), EINVAL);
        assert_errno!(set_limit(99, 1, 1), EINVAL);
        become_user(1000);
        set_limit(libc::RLIMIT_NOFILE, 200, 200).expect("up to the hard limit");
        assert_errno!(set_limit(libc::RLIMIT_NOFILE, 200, 201), EPERM);
        set_limit(libc::RLIMIT_NOFILE, 50, 60).expect("down");
        assert_errno!(set_limit(libc::RLIMIT_NOFILE, 50, 61), EPERM);
        assert!(read("/proc/self/limits").lines().any(|line| line.starts_with("Max open files") && line.contains("50")));
    });
}

#[test]
fn rlimit_nofile_bounds_descriptors() {
    in_child(|| {
        set_limit(libc::RLIMIT_NOFILE, 10, 10).expect("prlimit64");
        let mut opened = Vec::new();
        let refusal = loop {
            match std::fs::File::open("/dev/null") {
                Ok(file) => opened.push(file),
                Err(error) => break error,
            }
        };
        assert_eq!(refusal.raw_os_error(), Some(libc::EMFILE));
        assert_eq!(opened.len(), 7, "3 to 9");
        assert_errno!(syscall!(SYS_dup, 0), EMFILE);
        assert_errno!(syscall!(SYS_fcntl, 0, libc::F_DUPFD, 10), EINVAL);
        assert_errno!(syscall!(SYS_dup2, 0, 10), EBADF);
        assert_errno!(syscall!(SYS_pipe, [0i32; 2].as_mut_ptr()), EMFILE);
        assert_errno!(syscall!(SYS_eventfd2, 0, 0), EMFILE);
        opened.pop();
        assert_errno!(syscall!(SYS_pipe, [0i32; 2].as_mut_ptr()), EMFILE);
        assert_eq!(syscall!(SYS_dup, 0), Ok(9), "a failed pipe took none");
    });
}

#[test]
fn rlimit_fsize_bounds_files_with_sigxfsz() {
    in_mount_namespace(|| {
        set_limit(libc::RLIMIT_FSIZE, 1000, 1000).expect("prlimit64");
        signal::catch(libc::SIGXFSZ, 0);
        touch("file");
        let file = std::fs::File::options().write(true).open("file").expect("open");
        let bytes = [1u8; 900];
        assert_eq!(syscall!(SYS_write, &file, bytes.as_ptr(), 900), Ok(900));
        assert_eq!(syscall!(SYS_write, &file, bytes.as_ptr(), 900), Ok(100), "cut at the limit");
        assert_errno!(syscall!(SYS_write, &file, bytes.as_ptr(), 900), EFBIG);
        assert_eq!(signal::count(libc::SIGXFSZ), 1);
        assert_errno!(syscall!(SYS_ftruncate, &file, 1001), EFBIG);
        assert_eq!(signal::count(libc::SIGXFSZ), 2);
    });
}

#[test]
fn rlimit_nproc_bounds_the_processes_of_a_user() {
    in_child(|| {
        become_user(45_678);
        set_limit(libc::RLIMIT_NPROC, 3, 3).expect("prlimit64");
        let children: Vec<_> = (0..2).map(|_| spawn(|| std::thread::sleep(std::time::Duration::from_secs(20)))).collect();
        assert_errno!(syscall!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0), EAGAIN);
        drop(children);
        spawn(|| {}).join();
    });
}

#[test]
fn access_uses_the_real_ids_and_faccessat2_the_effective_ones() {
    in_mount_namespace(|| {
        touch("file");
        std::fs::set_permissions("file", std::fs::Permissions::from_mode(0o600)).expect("chmod");
        assert_errno!(syscall!(SYS_access, c"file", libc::X_OK), EACCES);
        syscall!(SYS_setresuid, 1000, 0, 0).expect("setresuid");
        assert_errno!(syscall!(SYS_access, c"file", libc::R_OK), EACCES);
        assert_eq!(syscall!(SYS_faccessat2, libc::AT_FDCWD, c"file", libc::R_OK, libc::AT_EACCESS), Ok(0));
        assert_eq!(syscall!(SYS_access, c"file", libc::F_OK), Ok(0));
        assert_errno!(syscall!(SYS_access, c"file", 8), EINVAL);
        assert_errno!(syscall!(SYS_faccessat2, libc::AT_FDCWD, c"file", libc::R_OK, 1), EINVAL);
    });
}
