//! Making processes and waiting for them: fork, vfork, clone, clone3, wait4, waitid, orphans, groups, sessions, prctl.

use std::sync::atomic::Ordering::SeqCst;

use abi::child::{exit_now, state_of, wait_end, wait_for, wait_until, wait_until_asleep};
use abi::{Pages, Status, assert_errno, in_child, shared_words, signal, spawn, syscall};

/// `struct clone_args` of clone3(2), as far as Linux 5.3 had it.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

fn pid() -> i32 {
    syscall!(SYS_getpid).expect("getpid") as i32
}

fn parent() -> i32 {
    syscall!(SYS_getppid).expect("getppid") as i32
}

#[test]
fn fork_gives_the_child_a_copy_of_private_memory() {
    in_child(|| {
        let page = Pages::private(1);
        page.set(0, 1);
        spawn(|| {
            assert_eq!(page.get(0), 1);
            page.set(0, 2);
            assert_eq!(page.get(0), 2);
        })
        .join();
        assert_eq!(page.get(0), 1);
    });
}

#[test]
fn fork_keeps_writes_of_the_parent_from_the_child() {
    in_child(|| {
        let page = Pages::private(2);
        let words = shared_words();
        page.set(4096, 7);
        let child = spawn(|| {
            wait_until("the parent wrote", || words[0].load(SeqCst) == 1);
            assert_eq!(page.get(4096), 7);
            assert_eq!(page.get(0), 0);
        });
        page.set(4096, 8);
        page.set(0, 9);
        words[0].store(1, SeqCst);
        child.join();
    });
}

#[test]
fn shared_anonymous_memory_is_one_memory_after_fork() {
    in_child(|| {
        let page = Pages::shared(1);
        spawn(|| page.set(10, 42)).join();
        assert_eq!(page.get(10), 42);
    });
}

#[test]
fn grandchildren_of_forks_see_copies_of_copies() {
    in_child(|| {
        let page = Pages::private(1);
        page.set(0, 1);
        spawn(|| {
            page.set(0, 2);
            spawn(|| {
                assert_eq!(page.get(0), 2);
                page.set(0, 3);
            })
            .join();
            assert_eq!(page.get(0), 2);
        })
        .join();
        assert_eq!(page.get(0), 1);
    });
}

#[test]
fn vfork_suspends_the_parent_until_exec_or_exit() {
    in_child(|| {
        let words = shared_words();
        let flags = libc::CLONE_VFORK | libc::SIGCHLD;
        // Without CLONE_VM, so that the child runs on its own copy of this stack.
        let child = syscall!(SYS_clone, flags, 0usize, 0usize, 0usize, 0usize).expect("clone");
        if child == 0 {
            std::thread::sleep(std::time::Duration::from_millis(50));
            words[0].store(1, SeqCst);
            exit_now(4);
        }
        assert_eq!(words[0].load(SeqCst), 1, "the parent ran before the child's exit");
        assert_eq!(wait_end(child as i32), Status::Exited(4));
    });
}

#[test]
fn clone3_makes_a_process_and_stores_its_id_where_asked() {
    in_child(|| {
        let (mut parent_tid, mut child_tid) = (0i32, 0i32);
        let flags = libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID;
        let arguments = CloneArguments {
            flags: flags as u64,
            parent_tid: &raw mut parent_tid as u64,
            child_tid: &raw mut child_tid as u64,
            exit_signal: libc::SIGCHLD as u64,
            ..Default::default()
        };
        let child = syscall!(SYS_clone3, &raw const arguments, size_of::<CloneArguments>()).expect("clone3");
        if child == 0 {
            // SAFETY: the kernel wrote to this variable behind the compiler's back.
            let seen = unsafe { std::ptr::read_volatile(&raw const child_tid) };
            exit_now(if seen == pid() { 0 } else { 1 });
        }
        // SAFETY: as above.
        let stored = unsafe { [&raw const parent_tid, &raw const child_tid].map(|word| std::ptr::read_volatile(word)) };
        assert_eq!(stored, [child as i32, 0], "the parent's copy of the child's word is untouched");
        assert_eq!(wait_end(child as i32), Status::Exited(0));
    });
}

#[test]
fn clone3_refuses_wrong_sizes_and_flags() {
    let size = size_of::<CloneArguments>();
    let arguments = CloneArguments { flags: 1 << 40, ..Default::default() };
    assert_errno!(syscall!(SYS_clone3, &raw const arguments, size), EINVAL);
    assert_errno!(syscall!(SYS_clone3, &raw const arguments, 8), EINVAL);
    assert_errno!(syscall!(SYS_clone3, &raw const arguments, 1 << 20), E2BIG);
    assert_errno!(syscall!(SYS_clone3, 0usize, size), EFAULT);
    let thread_alone = CloneArguments { flags: libc::CLONE_THREAD as u64, ..Default::default() };
    assert_errno!(syscall!(SYS_clone3, &raw const thread_alone, size), EINVAL);
    let sighand_alone = CloneArguments { flags: libc::CLONE_SIGHAND as u64, ..Default::default() };
    assert_errno!(syscall!(SYS_clone3, &raw const sighand_alone, size), EINVAL);
    let signal_out_of_range = CloneArguments { exit_signal: 65, ..Default::default() };
    assert_errno!(syscall!(SYS_clone3, &raw const signal_out_of_range, size), EINVAL);
    let namespace_and_fs = CloneArguments { flags: (libc::CLONE_NEWNS | libc::CLONE_FS) as u64, ..Default::default() };
    assert_errno!(syscall!(SYS_clone3, &raw const namespace_and_fs, size), EINVAL);
}

#[test]
fn clone_with_clone_files_shares_the_descriptor_table() {
    in_child(|| {
        let child = syscall!(SYS_clone, libc::CLONE_FILES | libc::SIGCHLD, 0, 0, 0, 0).expect("clone");
        if child == 0 {
            let made = syscall!(SYS_dup3, 0, 77, libc::O_CLOEXEC);
            exit_now(i32::from(made != Ok(77)));
        }
        assert_eq!(wait_end(child as i32), Status::Exited(0));
        assert!(syscall!(SYS_fcntl, 77, libc::F_GETFD).is_ok(), "descriptor 77 is there in the parent too");
        spawn(|| {
            syscall!(SYS_close, 77).expect("close");
        })
        .join();
        assert!(syscall!(SYS_fcntl, 77, libc::F_GETFD).is_ok(), "a fork has a table of its own");
    });
}

#[test]
fn clone_with_clone_fs_shares_umask_and_working_directory() {
    in_child(|| {
        let child = syscall!(SYS_clone, libc::CLONE_FS | libc::SIGCHLD, 0, 0, 0, 0).expect("clone");
        if child == 0 {
            let _ = syscall!(SYS_umask, 0o171);
            exit_now(i32::from(std::env::set_current_dir("/proc").is_err()));
        }
        assert_eq!(wait_end(child as i32), Status::Exited(0));
        assert_eq!(syscall!(SYS_umask, 0o022), Ok(0o171));
        assert_eq!(std::env::current_dir().expect("cwd").to_str(), Some("/proc"));
    });
}

#[test]
fn clone_parent_makes_a_sibling() {
    in_child(|| {
        let words = shared_words();
        let me = pid();
        spawn(|| {
            let sibling = syscall!(SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0).expect("clone");
            if sibling == 0 {
                words[1].store(parent() as u32, SeqCst);
                exit_now(6);
            }
            words[0].store(sibling as u32, SeqCst);
            assert_errno!(wait_for(sibling as i32, 0), ECHILD);
        })
        .join();
        let sibling = words[0].load(SeqCst) as i32;
        assert_eq!(wait_end(sibling), Status::Exited(6));
        assert_eq!(words[1].load(SeqCst) as i32, me);
    });
}

#[test]
fn wait_status_tells_exit_code_and_killing_signal() {
    in_child(|| {
        assert_eq!(spawn(|| exit_now(0x1ff)).status(), Status::Exited(0xff));
        for number in [libc::SIGKILL, libc::SIGTERM, libc::SIGUSR1, libc::SIGALRM, 34, 64] {
            let status = spawn(|| signal::raise(number)).status();
            assert_eq!(status, Status::Killed(number));
        }
    });
}

#[test]
fn wait4_reports_stops_and_continues_when_asked() {
    in_child(|| {
        let child = spawn(|| {
            loop {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        signal::send(child.pid(), libc::SIGSTOP);
        let stopped = wait_for(child.pid(), libc::WUNTRACED).expect("wait4");
        assert_eq!(stopped, Some((child.pid(), Status::Stopped(libc::SIGSTOP))));
        assert_eq!(state_of(child.pid()), Some('T'));
        assert_eq!(wait_for(child.pid(), libc::WUNTRACED | libc::WNOHANG), Ok(None), "a stop is told once");
        signal::send(child.pid(), libc::SIGCONT);
        assert_eq!(wait_for(child.pid(), libc::WCONTINUED), Ok(Some((child.pid(), Status::Continued))));
        signal::send(child.pid(), libc::SIGKILL);
        assert_eq!(wait_for(child.pid(), 0), Ok(Some((child.pid(), Status::Killed(libc::SIGKILL)))));
    });
}

#[test]
fn wait4_without_children_is_echild_and_with_unknown_options_einval() {
    in_child(|| {
        assert_errno!(wait_for(-1, 0), ECHILD);
        assert_errno!(wait_for(-1, libc::WNOHANG), ECHILD);
        assert_errno!(wait_for(-1, 0x100), EINVAL);
        assert_errno!(wait_for(pid(), 0), ECHILD);
        let child = spawn(|| exit_now(0));
        assert_errno!(wait_for(-child.pid(), 0), ECHILD);
        assert_eq!(child.status(), Status::Exited(0));
    });
}

#[test]
fn wait4_chooses_by_process_group() {
    in_child(|| {
        let first = spawn(|| exit_now(1));
        let second = spawn(|| {
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            exit_now(2);
        });
        wait_until("it left the group", || {
            syscall!(SYS_getpgid, second.pid()) == Ok(second.pid() as usize) || state_of(second.pid()) == Some('Z')
        });
        let of_group = wait_for(-second.pid(), 0).expect("wait4");
        assert_eq!(of_group, Some((second.pid(), Status::Exited(2))));
        assert_eq!(wait_for(0, 0), Ok(Some((first.pid(), Status::Exited(1)))));
        assert_errno!(wait_for(-1, 0), ECHILD);
    });
}

#[test]
fn waitid_fills_siginfo_and_wnowait_leaves_the_zombie() {
    in_child(|| {
        let child = spawn(|| exit_now(33));
        let wait = |options: i32| {
            // SAFETY: siginfo_t is plain data; the accessors read what waitid filled in.
            unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                let result = syscall!(SYS_waitid, libc::P_PID, child.pid(), &raw mut info, options, 0usize);
                result.map(|_| (info.si_signo, info.si_code, info.si_pid(), info.si_status(), info.si_uid()))
            }
        };
        let expected = (libc::SIGCHLD, libc::CLD_EXITED, child.pid(), 33, 0);
        assert_eq!(wait(libc::WEXITED | libc::WNOWAIT), Ok(expected));
        assert_eq!(state_of(child.pid()), Some('Z'));
        assert_eq!(wait(libc::WEXITED), Ok(expected));
        assert_errno!(wait(libc::WEXITED), ECHILD);
        assert_errno!(wait(0), EINVAL);
        assert_errno!(wait(libc::WNOHANG), EINVAL);
    });
}

#[test]
fn waitid_tells_kills_and_stops_by_code() {
    in_child(|| {
        let child = spawn(|| {
            loop {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let wait = |options: i32| {
            // SAFETY: as in the test above.
            unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                syscall!(SYS_waitid, libc::P_ALL, 0, &raw mut info, options, 0usize).expect("waitid");
                (info.si_code, info.si_pid(), info.si_status())
            }
        };
        assert_eq!(wait(libc::WEXITED | libc::WNOHANG).1, 0, "si_pid 0 says that nothing was there");
        signal::send(child.pid(), libc::SIGSTOP);
        assert_eq!(wait(libc::WSTOPPED), (libc::CLD_STOPPED, child.pid(), libc::SIGSTOP));
        signal::send(child.pid(), libc::SIGCONT);
        assert_eq!(wait(libc::WCONTINUED), (libc::CLD_CONTINUED, child.pid(), libc::SIGCONT));
        signal::send(child.pid(), libc::SIGTERM);
        assert_eq!(wait(libc::WEXITED), (libc::CLD_KILLED, child.pid(), libc::SIGTERM));
    });
}

#[test]
fn an_ignored_sigchld_reaps_by_itself() {
    in_child(|| {
        signal::ignore(libc::SIGCHLD);
        let child = spawn(|| {});
        assert_errno!(wait_for(child.pid(), 0), ECHILD);
        signal::set_action(libc::SIGCHLD, libc::SIG_DFL, libc::SA_NOCLDWAIT, &[]);
        let child = spawn(|| {});
        assert_errno!(wait_for(child.pid(), 0), ECHILD);
    });
}

#[test]
fn a_dying_child_sends_sigchld_with_its_status() {
    in_child(|| {
        signal::catch(libc::SIGCHLD, 0);
        let child = spawn(|| exit_now(3));
        wait_until("SIGCHLD came", || signal::count(libc::SIGCHLD) == 1);
        assert_eq!(signal::code(libc::SIGCHLD), libc::CLD_EXITED);
        assert_eq!(signal::sender(libc::SIGCHLD), child.pid());
        assert_eq!(child.status(), Status::Exited(3));
    });
}

#[test]
fn orphans_go_to_the_nearest_subreaper() {
    in_child(|| {
        syscall!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).expect("prctl");
        let words = shared_words();
        let me = pid();
        let middle = spawn(|| {
            let orphan = syscall!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0).expect("clone");
            if orphan == 0 {
                wait_until("the parent died", || parent() == me);
                exit_now(9);
            }
            words[0].store(orphan as u32, SeqCst);
        });
        middle.join();
        let orphan = words[0].load(SeqCst) as i32;
        assert_eq!(wait_end(orphan), Status::Exited(9));
    });
}

#[test]
fn the_parent_death_signal_comes_when_the_parent_dies() {
    in_child(|| {
        syscall!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).expect("prctl");
        let words = shared_words();
        let middle = spawn(|| {
            let orphan = syscall!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0).expect("clone");
            if orphan == 0 {
                syscall!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGUSR2).expect("prctl");
                let mut stored = 0i32;
                syscall!(SYS_prctl, libc::PR_GET_PDEATHSIG, &raw mut stored).expect("prctl");
                words[1].store(stored as u32, SeqCst);
                loop {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
            words[0].store(orphan as u32, SeqCst);
            wait_until("the orphan is ready", || words[1].load(SeqCst) == libc::SIGUSR2 as u32);
        });
        middle.join();
        assert_eq!(wait_end(words[0].load(SeqCst) as i32), Status::Killed(libc::SIGUSR2));
    });
}

#[test]
fn process_groups_follow_setpgid_and_setsid() {
    in_child(|| {
        let group = syscall!(SYS_getpgid, 0).expect("getpgid");
        let session = syscall!(SYS_getsid, 0).expect("getsid");
        let child = spawn(|| {
            assert_eq!(syscall!(SYS_getpgid, 0), Ok(group), "inherited");
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            assert_eq!(syscall!(SYS_getpgid, 0), Ok(pid() as usize));
            assert_eq!(syscall!(SYS_getsid, 0), Ok(session));
            assert_errno!(syscall!(SYS_setsid), EPERM);
        });
        child.join();
        spawn(|| {
            assert_eq!(syscall!(SYS_setsid), Ok(pid() as usize));
            assert_eq!(syscall!(SYS_getsid, 0), Ok(pid() as usize));
            assert_eq!(syscall!(SYS_getpgid, 0), Ok(pid() as usize));
            assert_errno!(syscall!(SYS_setpgid, 0, 0), EPERM);
            assert_errno!(syscall!(SYS_setpgid, 0, parent()), EPERM);
        })
        .join();
    });
}

#[test]
fn setpgid_has_the_errors_of_its_manual() {
    in_child(|| {
        let child = spawn(|| {
            loop {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        syscall!(SYS_setpgid, child.pid(), child.pid()).expect("a parent may move its child");
        assert_eq!(syscall!(SYS_getpgid, child.pid()), Ok(child.pid() as usize));
        assert_errno!(syscall!(SYS_setpgid, child.pid(), -1), EINVAL);
        assert_errno!(syscall!(SYS_setpgid, parent(), 0), ESRCH);
        assert_errno!(syscall!(SYS_setpgid, child.pid(), 0x3fff_fff0), EPERM);
        assert_errno!(syscall!(SYS_getpgid, 0x3fff_fff0), ESRCH);
        assert_errno!(syscall!(SYS_getsid, 0x3fff_fff0), ESRCH);
    });
}

#[test]
fn a_parent_may_not_move_its_child_after_exec() {
    abi::in_mount_namespace(|| {
        abi::elf::Elf::pausing().install("pauser");
        let child = spawn(|| {
            let _ = abi::elf::execve("/tmp/pauser", &[]);
        });
        let comm = format!("/proc/{}/comm", child.pid());
        wait_until("it executes the program", || std::fs::read_to_string(&comm).is_ok_and(|name| name == "pauser\n"));
        assert_errno!(syscall!(SYS_setpgid, child.pid(), child.pid()), EACCES);
    });
}

#[test]
fn prctl_name_is_the_comm_of_proc_and_cut_at_15() {
    in_child(|| {
        syscall!(SYS_prctl, libc::PR_SET_NAME, c"a name that is too long".as_ptr()).expect("prctl");
        let mut name = [0u8; 16];
        syscall!(SYS_prctl, libc::PR_GET_NAME, name.as_mut_ptr()).expect("prctl");
        assert_eq!(&name, b"a name that is \0");
        assert_eq!(abi::world::read("/proc/self/comm"), "a name that is \n");
        let child = spawn(|| assert_eq!(abi::world::read("/proc/self/comm"), "a name that is \n"));
        child.join();
    });
}

#[test]
fn prctl_flags_are_kept_and_wrong_ones_refused() {
    in_child(|| {
        assert_eq!(syscall!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), Ok(0));
        syscall!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).expect("prctl");
        assert_eq!(syscall!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), Ok(1));
        assert_errno!(syscall!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
        spawn(|| assert_eq!(syscall!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), Ok(1))).join();
        syscall!(SYS_prctl, libc::PR_SET_DUMPABLE, 0).expect("prctl");
        assert_eq!(syscall!(SYS_prctl, libc::PR_GET_DUMPABLE), Ok(0));
        assert_errno!(syscall!(SYS_prctl, libc::PR_SET_DUMPABLE, 7), EINVAL);
        assert_errno!(syscall!(SYS_prctl, libc::PR_SET_PDEATHSIG, 65), EINVAL);
        assert_errno!(syscall!(SYS_prctl, 0x7777), EINVAL);
    });
}

#[test]
fn kill_finds_processes_groups_and_nobody() {
    in_child(|| {
        assert_errno!(syscall!(SYS_kill, 0x3fff_fff0, 0), ESRCH);
        assert_errno!(syscall!(SYS_kill, pid(), 65), EINVAL);
        let child = spawn(|| {
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            spawn(|| {
                loop {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            })
            .join();
        });
        wait_until("it leads a group", || syscall!(SYS_getpgid, child.pid()) == Ok(child.pid() as usize));
        wait_until_asleep(child.pid());
        assert_eq!(syscall!(SYS_kill, child.pid(), 0), Ok(0));
        assert_eq!(syscall!(SYS_kill, -child.pid(), 0), Ok(0));
        syscall!(SYS_kill, -child.pid(), libc::SIGTERM).expect("the whole group");
        let group = child.pid();
        assert_eq!(child.status(), Status::Killed(libc::SIGTERM));
        wait_until("the group is gone", || syscall!(SYS_kill, -group, 0) == Err(abi::Errno(libc::ESRCH)));
    });
}

#[test]
fn pidfd_tells_the_end_of_a_process() {
    in_child(|| {
        let words = shared_words();
        let child = spawn(|| wait_until("let go", || words[0].load(SeqCst) == 1));
        let fd = syscall!(SYS_pidfd_open, child.pid(), 0).expect("pidfd_open");
        let mut poll = libc::pollfd { fd: fd as i32, events: libc::POLLIN, revents: 0 };
        assert_eq!(syscall!(SYS_poll, &raw mut poll, 1, 0), Ok(0));
        assert_eq!(syscall!(SYS_pidfd_send_signal, fd, 0, 0usize, 0), Ok(0));
        words[0].store(1, SeqCst);
        assert_eq!(syscall!(SYS_poll, &raw mut poll, 1, 10_000), Ok(1));
        assert_eq!(poll.revents, libc::POLLIN);
        child.join();
        assert_errno!(syscall!(SYS_pidfd_send_signal, fd, 0, 0usize, 0), ESRCH);
    });
}

#[test]
fn exit_group_ends_every_thread() {
    in_child(|| {
        let status = spawn(|| {
            std::thread::spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                exit_now(17);
            });
            loop {
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        })
        .status();
        assert_eq!(status, Status::Exited(17));
    });
}

#[test]
fn uname_says_linux_6() {
    let name = rustix::system::uname();
    assert_eq!(name.sysname(), c"Linux");
    assert_eq!(name.machine(), c"x86_64");
    assert!(name.release().to_str().expect("text").starts_with("6."), "{:?}", name.release());
}
