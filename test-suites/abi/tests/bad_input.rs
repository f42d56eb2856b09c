//! What wrong arguments get: unmapped, read-only and kernel pointers, unknown flags, absurd sizes, memory that runs out.
//! The process goes on in every case, and nothing is half done.

use std::fs::File;

use abi::memory::PAGE;
use abi::raw::{call, registers};
use abi::world::{mkdir, names, touch, write};
use abi::{Errno, Outcome, Pages, Status, assert_errno, in_child, in_mount_namespace, signal, spawn, syscall};

/// Nothing is mapped there: the first page, the end of the user half, the kernel half, and what is no address at all.
const BAD_ADDRESSES: [usize; 4] = [0x10, 0x7fff_ffff_e000, 0xffff_8000_0000_0000, 0x8000_0000_0000_0000];

/// Stands for the bad address in a table of arguments.
const BAD: usize = usize::MAX - 100;

/// Makes each call with every bad address in the place of [`BAD`] and asserts `EFAULT`.
#[track_caller]
fn assert_all_efault(calls: &[(&str, i64, &[usize])]) {
    for &(name, number, arguments) in calls {
        for address in BAD_ADDRESSES {
            let words: Vec<usize> = arguments.iter().map(|&word| if word == BAD { address } else { word }).collect();
            // SAFETY: the pointers are unmapped on purpose; the process is a child of the harness.
            let outcome = unsafe { call(number, registers(&words)) };
            assert_eq!(outcome, Err(Errno(libc::EFAULT)), "{name} with {address:#x}");
        }
    }
}

fn text(string: &'static std::ffi::CStr) -> usize {
    string.as_ptr() as usize
}

const AT: usize = libc::AT_FDCWD as usize;

#[test]
fn bad_path_pointers_are_efault_in_every_call_that_takes_a_path() {
    in_mount_namespace(|| {
        let mut buffer = [0u8; 512];
        let buffer = buffer.as_mut_ptr() as usize;
        assert_all_efault(&[
            ("open", libc::SYS_open, &[BAD, 0]),
            ("openat", libc::SYS_openat, &[AT, BAD, 0]),
            ("creat", libc::SYS_creat, &[BAD, 0o600]),
            ("stat", libc::SYS_stat, &[BAD, buffer]),
            ("lstat", libc::SYS_lstat, &[BAD, buffer]),
            ("newfstatat", libc::SYS_newfstatat, &[AT, BAD, buffer, 0]),
            ("statx", libc::SYS_statx, &[AT, BAD, 0, 0x7ff, buffer]),
            ("statfs", libc::SYS_statfs, &[BAD, buffer]),
            ("access", libc::SYS_access, &[BAD, 0]),
            ("faccessat2", libc::SYS_faccessat2, &[AT, BAD, 0, 0]),
            ("chdir", libc::SYS_chdir, &[BAD]),
            ("chroot", libc::SYS_chroot, &[BAD]),
            ("mkdir", libc::SYS_mkdir, &[BAD, 0o700]),
            ("rmdir", libc::SYS_rmdir, &[BAD]),
            ("unlink", libc::SYS_unlink, &[BAD]),
            ("unlinkat", libc::SYS_unlinkat, &[AT, BAD, 0]),
            ("rename to", libc::SYS_rename, &[text(c"x"), BAD]),
            ("rename from", libc::SYS_rename, &[BAD, text(c"x")]),
            ("link", libc::SYS_link, &[BAD, text(c"x")]),
            ("symlink", libc::SYS_symlink, &[BAD, text(c"x")]),
            ("symlink at", libc::SYS_symlink, &[text(c"x"), BAD]),
            ("readlink", libc::SYS_readlink, &[BAD, buffer, 10]),
            ("chmod", libc::SYS_chmod, &[BAD, 0o600]),
            ("chown", libc::SYS_chown, &[BAD, 0, 0]),
            ("lchown", libc::SYS_lchown, &[BAD, 0, 0]),
            ("truncate", libc::SYS_truncate, &[BAD, 0]),
            ("mknod", libc::SYS_mknod, &[BAD, libc::S_IFIFO as usize, 0]),
            ("utimensat times", libc::SYS_utimensat, &[AT, text(c"."), BAD, 0]),
            ("setxattr", libc::SYS_setxattr, &[BAD, text(c"user.x"), buffer, 1, 0]),
            ("getxattr", libc::SYS_getxattr, &[BAD, text(c"user.x"), buffer, 1]),
            ("listxattr", libc::SYS_listxattr, &[BAD, buffer, 1]),
            ("mount", libc::SYS_mount, &[text(c"x"), BAD, text(c"tmpfs"), 0, 0]),
            ("umount2", libc::SYS_umount2, &[BAD, 0]),
            ("pivot_root", libc::SYS_pivot_root, &[BAD, text(c".")]),
            ("execve", libc::SYS_execve, &[BAD, 0, 0]),
            ("inotify_add_watch", libc::SYS_inotify_add_watch, &[inotify(), BAD, 1]),
        ]);
        assert_eq!(names("."), [] as [&str; 0], "nothing was made");
    });
}

fn inotify() -> usize {
    syscall!(SYS_inotify_init1, 0).expect("inotify_init1")
}

#[test]
fn bad_data_pointers_are_efault_in_every_call_that_reads_or_writes_memory() {
    in_mount_namespace(|| {
        write("file", vec![1u8; 100]);
        let file = syscall!(SYS_open, c"file", libc::O_RDWR).expect("open");
        let directory = syscall!(SYS_open, c".", libc::O_RDONLY).expect("open");
        let mut pair = [0i32; 2];
        let kind = libc::SOCK_STREAM;
        syscall!(SYS_socketpair, libc::AF_UNIX, kind, 0, pair.as_mut_ptr()).expect("socketpair");
        let socket = pair[0] as usize;
        let epoll = syscall!(SYS_epoll_create1, 0).expect("epoll_create1");
        let timer = syscall!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0).expect("timerfd_create");
        syscall!(SYS_setgroups, 2, [1u32, 2].as_ptr()).expect("setgroups");
        let mut buffer = [0u8; 512];
        let buffer = buffer.as_mut_ptr() as usize;
        assert_all_efault(&[
            ("read", libc::SYS_read, &[file, BAD, 10]),
            ("write", libc::SYS_write, &[file, BAD, 10]),
            ("pread64", libc::SYS_pread64, &[file, BAD, 10, 0]),
            ("pwrite64", libc::SYS_pwrite64, &[file, BAD, 10, 0]),
            ("readv", libc::SYS_readv, &[file, BAD, 1]),
            ("writev", libc::SYS_writev, &[file, BAD, 1]),
            ("fstat", libc::SYS_fstat, &[file, BAD]),
            ("stat", libc::SYS_stat, &[text(c"file"), BAD]),
            ("statx", libc::SYS_statx, &[AT, text(c"file"), 0, 0x7ff, BAD]),
            ("fstatfs", libc::SYS_fstatfs, &[file, BAD]),
            ("getdents64", libc::SYS_getdents64, &[directory, BAD, 512]),
            ("readlink", libc::SYS_readlink, &[text(c"/proc/self"), BAD, 10]),
            ("getcwd", libc::SYS_getcwd, &[BAD, 100]),
            ("pipe2", libc::SYS_pipe2, &[BAD, 0]),
            ("poll", libc::SYS_poll, &[BAD, 1, 0]),
            ("select", libc::SYS_select, &[1, BAD, 0, 0, 0]),
            ("ppoll timeout", libc::SYS_ppoll, &[0, 0, BAD, 0, 8]),
            ("epoll_ctl", libc::SYS_epoll_ctl, &[epoll, 1, socket, BAD]),
            ("uname", libc::SYS_uname, &[BAD]),
            ("sysinfo", libc::SYS_sysinfo, &[BAD]),
            ("times", libc::SYS_times, &[BAD]),
            ("getrusage", libc::SYS_getrusage, &[0, BAD]),
            ("getrlimit", libc::SYS_getrlimit, &[libc::RLIMIT_NOFILE as usize, BAD]),
            ("setrlimit", libc::SYS_setrlimit, &[libc::RLIMIT_NOFILE as usize, BAD]),
            ("prlimit64", libc::SYS_prlimit64, &[0, libc::RLIMIT_NOFILE as usize, 0, BAD]),
            ("clock_gettime", libc::SYS_clock_gettime, &[1, BAD]),
            ("clock_nanosleep", libc::SYS_clock_nanosleep, &[1, 0, BAD, 0]),
            ("nanosleep", libc::SYS_nanosleep, &[BAD, 0]),
            ("gettimeofday", libc::SYS_gettimeofday, &[BAD, 0]),
            ("setitimer", libc::SYS_setitimer, &[0, BAD, 0]),
            ("getitimer", libc::SYS_getitimer, &[0, BAD]),
            ("timerfd_settime", libc::SYS_timerfd_settime, &[timer, 0, BAD, 0]),
            ("timer_create", libc::SYS_timer_create, &[1, 0, BAD]),
            ("rt_sigaction", libc::SYS_rt_sigaction, &[10, BAD, 0, 8]),
            ("rt_sigprocmask", libc::SYS_rt_sigprocmask, &[0, BAD, 0, 8]),
            ("rt_sigpending", libc::SYS_rt_sigpending, &[BAD, 8]),
            ("rt_sigsuspend", libc::SYS_rt_sigsuspend, &[BAD, 8]),
            ("rt_sigtimedwait", libc::SYS_rt_sigtimedwait, &[BAD, 0, 0, 8]),
            ("sigaltstack", libc::SYS_sigaltstack, &[BAD, 0]),
            ("signalfd4", libc::SYS_signalfd4, &[usize::MAX, BAD, 8, 0]),
            ("capget", libc::SYS_capget, &[BAD, buffer]),
            ("capset", libc::SYS_capset, &[BAD, buffer]),
            ("getgroups", libc::SYS_getgroups, &[65_536, BAD]),
            ("setgroups", libc::SYS_setgroups, &[2, BAD]),
            ("getresuid", libc::SYS_getresuid, &[BAD, buffer, buffer]),
            ("getrandom", libc::SYS_getrandom, &[BAD, 10, 0]),
            ("futex", libc::SYS_futex, &[BAD, 0, 0, 0]),
            ("get_robust_list", libc::SYS_get_robust_list, &[0, BAD, buffer]),
            ("sched_getaffinity", libc::SYS_sched_getaffinity, &[0, 128, BAD]),
            ("sched_setaffinity", libc::SYS_sched_setaffinity, &[0, 8, BAD]),
            ("memfd_create", libc::SYS_memfd_create, &[BAD, 0]),
            ("socketpair", libc::SYS_socketpair, &[1, 1, 0, BAD]),
            ("bind", libc::SYS_bind, &[socket, BAD, 16]),
            ("getsockname", libc::SYS_getsockname, &[socket, BAD, BAD]),
            ("setsockopt", libc::SYS_setsockopt, &[socket, libc::SOL_SOCKET as usize, libc::SO_PASSCRED as usize, BAD, 4]),
            ("sendto", libc::SYS_sendto, &[socket, BAD, 10, 0, 0, 0]),
            ("sendmsg", libc::SYS_sendmsg, &[socket, BAD, 0]),
            ("recvmsg", libc::SYS_recvmsg, &[socket, BAD, libc::MSG_DONTWAIT as usize]),
            ("fcntl lock", libc::SYS_fcntl, &[file, libc::F_SETLK as usize, BAD]),
            ("ioctl", libc::SYS_ioctl, &[socket, libc::FIONREAD as usize, BAD]),
            ("sendfile", libc::SYS_sendfile, &[file, file, BAD, 10]),
            ("clone3", libc::SYS_clone3, &[BAD, 64]),
            ("openat2", libc::SYS_openat2, &[AT, text(c"file"), BAD, 24]),
            ("prctl name", libc::SYS_prctl, &[libc::PR_SET_NAME as usize, BAD]),
            ("mincore", libc::SYS_mincore, &[buffer & !(PAGE - 1), PAGE, BAD]),
            ("sethostname", libc::SYS_sethostname, &[BAD, 5]),
        ]);
        assert_eq!(std::fs::metadata("file").expect("stat").len(), 100, "nothing was written");
        assert_eq!(std::fs::read("file").expect("read"), vec![1; 100]);
    });
}

#[test]
fn results_are_not_written_to_read_only_memory() {
    in_mount_namespace(|| {
        write("file", "content");
        let file = File::open("file").expect("open");
        let page = Pages::private(1);
        syscall!(SYS_mprotect, page.address(), PAGE, libc::PROT_READ).expect("mprotect");
        assert_errno!(syscall!(SYS_read, &file, page.address(), 4), EFAULT);
        assert_errno!(syscall!(SYS_fstat, &file, page.address()), EFAULT);
        assert_errno!(syscall!(SYS_uname, page.address()), EFAULT);
        assert_errno!(syscall!(SYS_clock_gettime, 1, page.address()), EFAULT);
        assert_eq!(page.get(0), 0);
        let mut byte = [0u8];
        assert_eq!(syscall!(SYS_read, &file, byte.as_mut_ptr(), 1), Ok(1));
        assert_eq!(byte, *b"c", "the failed read took nothing");
    });
}

#[test]
fn strings_and_buffers_may_end_at_the_last_mapped_byte() {
    in_mount_namespace(|| {
        let pages = Pages::private(2);
        syscall!(SYS_munmap, pages.page(1), PAGE).expect("munmap");
        let end = pages.page(1);
        for (offset, byte) in [(5, b'f'), (4, b'i'), (3, b'l'), (2, b'e'), (1, 0)] {
            pages.set(PAGE - offset, byte);
        }
        assert_errno!(syscall!(SYS_open, end - 5, libc::O_RDONLY), ENOENT);
        touch("file");
        assert!(syscall!(SYS_open, end - 5, libc::O_RDONLY).is_ok());
        pages.set(PAGE - 1, b'x');
        assert_errno!(syscall!(SYS_open, end - 5, libc::O_RDONLY), EFAULT);
        let zero = File::open("/dev/zero").expect("open");
        assert_eq!(syscall!(SYS_read, &zero, end - 100, 100), Ok(100));
        let (_reader, writer) = std::io::pipe().expect("pipe");
        assert_eq!(syscall!(SYS_write, &writer, end - 100, 100), Ok(100));
    });
}

#[test]
fn unknown_flags_are_refused() {
    in_mount_namespace(|| {
        touch("file");
        let mut space = [0u64; 64];
        let space = space.as_mut_ptr();
        let einval: [(&str, Outcome); 26] = [
            ("pipe2", syscall!(SYS_pipe2, space, 0x40)),
            ("eventfd2", syscall!(SYS_eventfd2, 0, 0x40)),
            ("epoll_create1", syscall!(SYS_epoll_create1, 0x40)),
            ("epoll_create", syscall!(SYS_epoll_create, 0)),
            ("timerfd_create", syscall!(SYS_timerfd_create, 1, 0x40)),
            ("timerfd_create clock", syscall!(SYS_timerfd_create, 99, 0)),
            ("inotify_init1", syscall!(SYS_inotify_init1, 0x40)),
            ("memfd_create", syscall!(SYS_memfd_create, c"x", 0x4000_0000)),
            ("dup3", syscall!(SYS_dup3, 0, 50, 0x40)),
            ("unlinkat", syscall!(SYS_unlinkat, AT, c"file", 0x40)),
            ("linkat", syscall!(SYS_linkat, AT, c"file", AT, c"x", 0x40)),
            ("renameat2", syscall!(SYS_renameat2, AT, c"file", AT, c"x", 0x40)),
            ("fchownat", syscall!(SYS_fchownat, AT, c"file", 0, 0, 0x40)),
            ("newfstatat", syscall!(SYS_newfstatat, AT, c"file", space, 0x40)),
            ("statx flags", syscall!(SYS_statx, AT, c"file", 0x40, 0x7ff, space)),
            ("statx mask", syscall!(SYS_statx, AT, c"file", 0, 0x8000_0000u32, space)),
            ("utimensat", syscall!(SYS_utimensat, AT, c"file", 0usize, 0x40)),
            ("umount2", syscall!(SYS_umount2, c"/tmp", 0x40)),
            ("unshare", syscall!(SYS_unshare, 0x1)),
            ("clone", syscall!(SYS_clone, libc::CLONE_THREAD, 0, 0, 0, 0)),
            ("wait4", syscall!(SYS_wait4, -1, 0usize, 0x100, 0usize)),
            ("waitid", syscall!(SYS_waitid, libc::P_ALL, 0, space, 0x100, 0usize)),
            ("getrandom", syscall!(SYS_getrandom, space, 8, 0x40)),
            ("msync", syscall!(SYS_msync, 0usize, 0, 0x40)),
            ("close_range", syscall!(SYS_close_range, 100, 200, 0x40)),
            ("prctl", syscall!(SYS_prctl, 0x5555_5555, 0, 0, 0, 0)),
        ];
        for (name, outcome) in einval {
            assert_eq!(outcome, Err(Errno(libc::EINVAL)), "{name}");
        }
        assert_eq!(names("."), ["file"]);
    });
}

#[test]
fn unknown_system_calls_are_enosys() {
    in_child(|| {
        for number in [1000, 0x1_0000, -1, i64::MAX] {
            // SAFETY: there is no such call.
            assert_eq!(unsafe { call(number, registers(&[])) }, Err(Errno(libc::ENOSYS)), "{number}");
        }
    });
}

#[test]
fn calls_on_closed_and_absurd_descriptors_are_ebadf() {
    in_child(|| {
        let mut space = [0u64; 64];
        let space = space.as_mut_ptr();
        for fd in [77, -1, i32::MAX, i32::MIN] {
            let outcomes: [(&str, Outcome); 16] = [
                ("read", syscall!(SYS_read, fd, space, 1)),
                ("write", syscall!(SYS_write, fd, space, 1)),
                ("close", syscall!(SYS_close, fd)),
                ("fstat", syscall!(SYS_fstat, fd, space)),
                ("lseek", syscall!(SYS_lseek, fd, 0, 0)),
                ("dup", syscall!(SYS_dup, fd)),
                ("fcntl", syscall!(SYS_fcntl, fd, libc::F_GETFL)),
                ("ioctl", syscall!(SYS_ioctl, fd, 0, 0)),
                ("fchdir", syscall!(SYS_fchdir, fd)),
                ("fsync", syscall!(SYS_fsync, fd)),
                ("ftruncate", syscall!(SYS_ftruncate, fd, 0)),
                ("getdents64", syscall!(SYS_getdents64, fd, space, 512)),
                ("epoll_wait", syscall!(SYS_epoll_wait, fd, space, 1, 0)),
                ("sendto", syscall!(SYS_sendto, fd, space, 1, 0, 0usize, 0)),
                ("timerfd_gettime", syscall!(SYS_timerfd_gettime, fd, space)),
                ("flock", syscall!(SYS_flock, fd, libc::LOCK_SH)),
            ];
            for (name, outcome) in outcomes {
                assert_eq!(outcome, Err(Errno(libc::EBADF)), "{name} of {fd}");
            }
        }
    });
}

#[test]
fn negative_and_huge_lengths_are_refused_or_cut() {
    in_mount_namespace(|| {
        write("file", "abc");
        let file = File::options().read(true).write(true).open("file").expect("open");
        let mut byte = [0u8; 8];
        assert_errno!(syscall!(SYS_ftruncate, &file, -1), EINVAL);
        assert_eq!(syscall!(SYS_read, &file, byte.as_mut_ptr(), 0x7fff_0000), Ok(3), "as much as there is");
        assert_errno!(syscall!(SYS_poll, 0usize, u32::MAX, 0), EINVAL);
        assert_errno!(syscall!(SYS_getgroups, -1, byte.as_mut_ptr()), EINVAL);
        assert_errno!(syscall!(SYS_setgroups, -1, byte.as_ptr()), EINVAL);
        assert_errno!(syscall!(SYS_sethostname, c"x", -1), EINVAL);
        assert_errno!(syscall!(SYS_sethostname, c"x", 65), EINVAL);
        assert_errno!(syscall!(SYS_getdents64, &file, byte.as_mut_ptr(), 8), ENOTDIR);
    });
}

#[test]
fn a_fault_in_a_signal_frame_kills_instead_of_looping() {
    in_child(|| {
        let status = spawn(|| {
            signal::catch(libc::SIGUSR1, libc::SA_ONSTACK);
            let stack = Pages::private(4);
            let alternate = libc::stack_t { ss_sp: stack.address() as *mut _, ss_flags: 0, ss_size: stack.len_bytes() };
            syscall!(SYS_sigaltstack, &raw const alternate, 0usize).expect("sigaltstack");
            syscall!(SYS_mprotect, stack.address(), stack.len_bytes(), libc::PROT_NONE).expect("mprotect");
            signal::raise(libc::SIGUSR1);
        })
        .status();
        assert_eq!(status, Status::Killed(libc::SIGSEGV));
    });
}

#[test]
fn a_forged_signal_frame_cannot_gain_privilege_or_hurt() {
    in_child(|| {
        // rt_sigreturn with a stack of nonsense: the process dies of it.
        for pattern in [0u64, u64::MAX, 0xffff_8000_0000_0000] {
            let status = spawn(|| {
                let page = Pages::private(1);
                for word in 0..PAGE / 8 {
                    (0..8).for_each(|byte| page.set(word * 8 + byte, (pattern >> (8 * byte)) as u8));
                }
                // SAFETY: never returns; the process is expected to die.
                unsafe {
                    std::arch::asm!("mov rsp, {stack}", "mov eax, 15", "syscall", "ud2", stack = in(reg) page.address() + 512,
                        options(noreturn));
                }
            })
            .status();
            assert_eq!(status, Status::Killed(libc::SIGSEGV), "{pattern:#x}");
        }
    });
}

#[test]
fn the_direction_flag_and_other_flags_do_not_disturb_system_calls() {
    in_child(|| {
        let mut name = [0u8; 390];
        let result: i64;
        // SAFETY: uname writes to the buffer; the flags are restored.
        unsafe {
            std::arch::asm!(
                "std", "syscall", "cld",
                inlateout("rax") libc::SYS_uname => result, in("rdi") name.as_mut_ptr(), lateout("rcx") _, lateout("r11") _,
            );
        }
        assert_eq!(result, 0);
        assert_eq!(&name[..6], b"Linux\0");
    });
}

#[test]
fn address_space_that_runs_out_is_enomem() {
    in_child(|| {
        let statm = abi::world::read("/proc/self/statm");
        let used_pages: u64 = statm.split(' ').next().expect("a field").parse().expect("pages");
        let limit_bytes = used_pages * 4096 + (64 << 20);
        syscall!(SYS_setrlimit, libc::RLIMIT_AS, [limit_bytes, limit_bytes].as_ptr()).expect("setrlimit");
        let mut mapped = 0;
        let refusal = loop {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            match syscall!(SYS_mmap, 0usize, 1 << 20, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) {
                Ok(_) => mapped += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refusal, Errno(libc::ENOMEM));
        assert!((60..=64).contains(&mapped), "{mapped} MiB");
    });
}

#[test]
fn the_number_of_mappings_has_a_limit() {
    in_child(|| {
        // Alternating protections, so that no two neighbours can be one mapping.
        let reserved = 140_000 * PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let address = syscall!(SYS_mmap, 0usize, reserved, libc::PROT_NONE, flags, -1, 0).expect("mmap");
        let refusal = (0..70_000)
            .find_map(|pair| syscall!(SYS_mprotect, address + 2 * pair * PAGE, PAGE, libc::PROT_READ).err().map(|error| (pair, error)));
        let (pair, error) = refusal.expect("a limit");
        assert_eq!(error, Errno(libc::ENOMEM));
        // 65530 by default, one page and one gap for each pair.
        assert!((30_000..35_000).contains(&pair), "{pair}");
        syscall!(SYS_munmap, address, reserved).expect("munmap");
    });
}

/// The largest process is killed, or it sees `ENOMEM`; either way the others go on.
#[test]
fn a_process_that_eats_all_memory_is_stopped_and_the_others_live() {
    in_child(|| {
        let meminfo = abi::world::read("/proc/meminfo");
        let total: usize = meminfo.split_whitespace().nth(1).expect("MemTotal").parse().expect("kB");
        // Where memory is plentiful the same is done to a limit, so that the test stays small.
        let budget_bytes = 700 << 20;
        let child = spawn(|| {
            abi::world::write("/proc/self/oom_score_adj", "1000");
            if total * 1024 > budget_bytes {
                let limit = [budget_bytes as u64; 2];
                syscall!(SYS_setrlimit, libc::RLIMIT_AS, limit.as_ptr()).expect("setrlimit");
            }
            loop {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
                let protection = libc::PROT_READ | libc::PROT_WRITE;
                match syscall!(SYS_mmap, 0usize, 4 << 20, protection, flags, -1, 0) {
                    Ok(address) => (0..1024).for_each(|page| {
                        // SAFETY: memory that was just mapped and that nothing refers to.
                        unsafe { std::ptr::write_volatile((address + page * PAGE) as *mut u8, 1) };
                    }),
                    Err(error) => abi::child::exit_now(error.0),
                }
            }
        });
        let status = child.status();
        assert!([Status::Killed(libc::SIGKILL), Status::Exited(libc::ENOMEM)].contains(&status), "{status:?}");
        let pages = Pages::private(100);
        (0..100).for_each(|page| pages.set(page * PAGE, 1));
    });
}

#[test]
fn a_half_failed_vector_keeps_what_was_transferred() {
    in_mount_namespace(|| {
        mkdir("d");
        let file = File::options().read(true).write(true).create_new(true).open("d/file").expect("open");
        let good = [b'a'; 10];
        let vectors =
            [libc::iovec { iov_base: good.as_ptr() as *mut _, iov_len: 10 }, libc::iovec { iov_base: 0x10 as *mut _, iov_len: 10 }];
        assert_eq!(syscall!(SYS_writev, &file, vectors.as_ptr(), 2), Ok(10));
        assert_eq!(std::fs::read("d/file").expect("read"), good);
        let pages = Pages::private(2);
        syscall!(SYS_munmap, pages.page(1), PAGE).expect("munmap");
        let written = syscall!(SYS_write, &file, pages.page(1) - 10, 20);
        assert_eq!(written, Ok(10), "up to the hole");
        assert_eq!(std::fs::metadata("d/file").expect("stat").len(), 20);
    });
}
