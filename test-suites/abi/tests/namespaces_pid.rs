//! Pid namespaces: numbers at every level, the init of a namespace, its end, and `/proc` of a namespace.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;

use abi::child::{exit_now, wait_end, wait_for, wait_until};
use abi::namespace::{link, parent, pid, pidfd, setns, spawn_init, status_line, unshare};
use abi::world::{mkdir, mount, names, read, write};
use abi::{Errno, Status, assert_errno, in_child, in_mount_namespace, shared_words, signal, spawn, syscall};
use libc::{CLONE_NEWPID, CLONE_NEWUTS};

fn kill(pid: i32, signal: i32) -> abi::Outcome {
    syscall!(SYS_kill, pid, signal)
}

#[test]
fn the_first_child_is_number_1_and_its_parent_0() {
    in_child(|| {
        let init = spawn_init(|| {
            assert_eq!((pid(), parent()), (1, 0));
            spawn(|| assert_eq!((pid(), parent()), (2, 1))).join();
            wait_until("nothing", || true);
        });
        init.join();
    });
}

#[test]
fn a_process_has_a_number_in_every_namespace_above() {
    in_child(|| {
        let words = shared_words();
        let init = spawn_init(|| {
            unshare(CLONE_NEWPID).expect("a namespace below");
            let inner = spawn(|| {
                assert_eq!((pid(), parent()), (1, 0));
                words[0].store(1, SeqCst);
                wait_until("it was looked at", || words[0].load(SeqCst) == 2);
            });
            assert_eq!(inner.pid(), 2, "the number in the parent's namespace");
            words[1].store(1, SeqCst);
            inner.join();
        });
        wait_until("both are there", || words[0].load(SeqCst) == 1 && words[1].load(SeqCst) == 1);
        assert_eq!(status_line(&init.pid().to_string(), "NSpid"), format!("{} 1", init.pid()));
        let children = read(&format!("/proc/{0}/task/{0}/children", init.pid()));
        let inner = children.trim();
        assert_eq!(status_line(inner, "NSpid"), format!("{inner} 2 1"));
        assert_eq!(status_line(inner, "NStgid"), format!("{inner} 2 1"));
        assert_eq!(status_line(inner, "PPid"), init.pid().to_string());
        words[0].store(2, SeqCst);
        init.join();
    });
}

#[test]
fn the_end_of_init_kills_everybody_and_closes_the_namespace() {
    in_child(|| {
        let words = shared_words();
        let init = spawn_init(|| {
            signal::ignore(libc::SIGCHLD);
            for _ in 0..3 {
                std::mem::forget(spawn(|| {
                    words[0].fetch_add(1, SeqCst);
                    spawn(|| {
                        loop {
                            std::thread::sleep(std::time::Duration::from_secs(1))
                        }
                    })
                    .join();
                }));
            }
            wait_until("all run", || words[0].load(SeqCst) == 3);
            exit_now(7);
        });
        let number = init.pid();
        let namespace = File::open(format!("/proc/{number}/ns/pid")).expect("open");
        let identity = link(&number.to_string(), "pid").expect("a link");
        assert_eq!(init.status(), Status::Exited(7));
        for name in names("/proc").iter().filter(|name| name.parse::<u32>().is_ok()) {
            assert_ne!(link(name, "pid").ok().as_ref(), Some(&identity), "process {name} is still in the namespace");
        }
        // SAFETY: the child, if there is one after all, ends at once.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            exit_now(0);
        }
        assert_eq!(pid, -1);
        assert_eq!(Errno::from(std::io::Error::last_os_error()), Errno(libc::ENOMEM));
        drop(namespace);
    });
}

#[test]
fn orphans_go_to_the_init_of_their_namespace() {
    in_child(|| {
        let words = shared_words();
        let init = spawn_init(|| {
            let middle = spawn(|| {
                std::mem::forget(spawn(|| {
                    syscall!(SYS_prctl, libc::PR_SET_PDEATHSIG, 0).expect("prctl");
                    words[0].store(1, SeqCst);
                    wait_until("the parent is gone", || parent() == 1);
                    exit_now(9);
                }));
                wait_until("it runs", || words[0].load(SeqCst) == 1);
                exit_now(0);
            });
            assert_eq!(middle.status(), Status::Exited(0));
            assert_eq!(wait_end(-1), Status::Exited(9), "init reaps what it did not make");
        });
        init.join();
    });
}

#[test]
fn a_subreaper_outside_does_not_take_orphans_from_inside() {
    in_child(|| {
        syscall!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1).expect("prctl");
        let words = shared_words();
        let init = spawn_init(|| {
            let reaper = spawn(|| {
                syscall!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1).expect("prctl");
                spawn(|| {
                    std::mem::forget(spawn(|| {
                        syscall!(SYS_prctl, libc::PR_SET_PDEATHSIG, 0).expect("prctl");
                        words[0].store(1, SeqCst);
                        wait_until("the parent is gone", || parent() == 2);
                        exit_now(5);
                    }));
                    wait_until("it runs", || words[0].load(SeqCst) == 1);
                })
                .join();
                assert_eq!(wait_end(-1), Status::Exited(5));
            });
            reaper.join();
        });
        init.join();
    });
}

#[test]
fn init_takes_no_signal_that_it_has_no_handler_for() {
    in_child(|| {
        let words = shared_words();
        let init = spawn_init(|| {
            spawn(|| {
                for number in [libc::SIGTERM, libc::SIGKILL, libc::SIGSTOP, libc::SIGINT, libc::SIGQUIT] {
                    kill(1, number).expect("kill finds init");
                }
            })
            .join();
            kill(pid(), libc::SIGKILL).expect("not even by itself");
            words[0].store(1, SeqCst);
            wait_until("the outside has tried", || words[0].load(SeqCst) == 2);
            signal::catch(libc::SIGTERM, 0);
            words[0].store(3, SeqCst);
            wait_until("a handled signal comes", || signal::count(libc::SIGTERM) == 1);
            words[0].store(4, SeqCst);
            loop {
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
        });
        wait_until("it lives", || words[0].load(SeqCst) == 1);
        kill(init.pid(), libc::SIGTERM).expect("kill");
        kill(init.pid(), libc::SIGUSR1).expect("kill");
        words[0].store(2, SeqCst);
        wait_until("it has a handler", || words[0].load(SeqCst) == 3);
        kill(init.pid(), libc::SIGTERM).expect("kill");
        wait_until("it took it", || words[0].load(SeqCst) == 4);
        kill(init.pid(), libc::SIGSTOP).expect("from above");
        assert_eq!(wait_for(init.pid(), libc::WUNTRACED), Ok(Some((init.pid(), Status::Stopped(libc::SIGSTOP)))));
        kill(init.pid(), libc::SIGKILL).expect("from above");
        assert_eq!(init.status(), Status::Killed(libc::SIGKILL));
    });
}

#[test]
fn kill_minus_one_and_unknown_numbers_stay_inside() {
    in_child(|| {
        let outside = pid();
        let bystander = spawn(|| {
            loop {
                std::thread::sleep(std::time::Duration::from_secs(1))
            }
        });
        let bystander_number = bystander.pid();
        spawn_init(|| {
            assert_errno!(kill(outside.max(1000), 0), ESRCH);
            assert_errno!(kill(bystander_number.max(1000), libc::SIGKILL), ESRCH);
            let other = spawn(|| {
                loop {
                    std::thread::sleep(std::time::Duration::from_secs(1))
                }
            });
            kill(-1, libc::SIGKILL).expect("there is one");
            assert_eq!(other.status(), Status::Killed(libc::SIGKILL));
            assert_errno!(kill(-1, 0), ESRCH);
        })
        .join();
        assert_eq!(kill(bystander.pid(), 0), Ok(0), "nobody outside was hit");
    });
}

#[test]
fn siginfo_tells_the_number_that_the_receiver_sees() {
    in_child(|| {
        let words = shared_words();
        let init = spawn_init(|| {
            let child = spawn(|| {
                signal::catch(libc::SIGUSR1, 0);
                kill(pid(), libc::SIGUSR1).expect("kill");
                assert_eq!(signal::sender(libc::SIGUSR1), 2);
            });
            assert_eq!(child.pid(), 2);
            child.join();
            signal::catch(libc::SIGUSR1, 0);
            words[0].store(1, SeqCst);
            wait_until("a signal comes", || signal::count(libc::SIGUSR1) == 1);
            assert_eq!(signal::sender(libc::SIGUSR1), 0, "who sent it cannot be seen");
        });
        wait_until("it has a handler", || words[0].load(SeqCst) == 1);
        kill(init.pid(), libc::SIGUSR1).expect("kill");
        init.join();
    });
}

#[test]
fn credentials_over_a_socket_are_translated() {
    in_child(|| {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mut on = 1i32;
        syscall!(SYS_setsockopt, &ours, libc::SOL_SOCKET, libc::SO_PASSCRED, &raw mut on, 4).expect("setsockopt");
        syscall!(SYS_setsockopt, &theirs, libc::SOL_SOCKET, libc::SO_PASSCRED, &raw mut on, 4).expect("setsockopt");
        let init = spawn_init(|| {
            syscall!(SYS_write, &theirs, c"x", 1).expect("write");
            assert_eq!(received_pid(&theirs), 0, "who sent it cannot be seen");
        });
        assert_eq!(received_pid(&ours), init.pid());
        syscall!(SYS_write, &ours, c"y", 1).expect("write");
        init.join();
    });
}

/// Receives one byte and gives the sender's number from the credentials that come along.
fn received_pid(socket: &std::os::unix::net::UnixStream) -> i32 {
    let mut byte = 0u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut control = [0u64; 8];
    // SAFETY: zeros are an empty header.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    syscall!(SYS_recvmsg, socket, &raw mut header, 0).expect("recvmsg");
    // cmsghdr is length, level, type; then come pid, uid, gid.
    assert_eq!(control[1] >> 32, libc::SCM_CREDENTIALS as u64);
    control[2] as i32
}

#[test]
fn the_owner_of_a_file_is_told_in_the_readers_numbers() {
    in_child(|| {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let outside = pid();
        syscall!(SYS_fcntl, &ours, libc::F_SETOWN, outside).expect("F_SETOWN");
        spawn_init(|| {
            assert_eq!(syscall!(SYS_fcntl, &ours, libc::F_GETOWN), Ok(0), "outside of what can be seen");
            syscall!(SYS_fcntl, &ours, libc::F_SETOWN, 1).expect("F_SETOWN");
            assert_eq!(syscall!(SYS_fcntl, &ours, libc::F_GETOWN), Ok(1));
        })
        .join();
    });
}

#[test]
fn proc_shows_the_namespace_of_who_mounted_it() {
    in_mount_namespace(|| {
        mkdir("proc");
        let outside = pid().to_string();
        spawn_init(|| {
            mount("proc", "proc", "proc", 0, "").expect("mount");
            spawn(|| {
                let numbers: Vec<String> = names("proc").into_iter().filter(|name| name.parse::<u32>().is_ok()).collect();
                assert_eq!(numbers, ["1", "2"]);
                assert_eq!(std::fs::read_link("proc/self").expect("self").to_str(), Some("2"));
                assert_eq!(std::fs::read_link("proc/thread-self").expect("thread-self").to_str(), Some("2/task/2"));
                assert!(read("proc/1/stat").starts_with("1 ("));
                let outer = std::fs::read_link("/proc/self").expect("the other proc").into_os_string().into_string();
                assert_ne!(outer.as_deref(), Ok("2"), "the older mount keeps its own view");
            })
            .join();
        })
        .join();
        assert!(!abi::world::exists(&format!("proc/{outside}")), "who mounted before is not in it");
        assert!(std::fs::read_link("proc/self").is_err());
    });
}

#[test]
fn pid_for_children_is_shown_once_it_has_an_init() {
    in_child(|| {
        let own = link("self", "pid").expect("a link");
        assert_eq!(link("self", "pid_for_children"), Ok(own.clone()));
        unshare(CLONE_NEWPID).expect("unshare");
        assert_errno!(link("self", "pid_for_children"), ENOENT);
        assert_eq!(link("self", "pid"), Ok(own.clone()), "the own one stays");
        let words = shared_words();
        let init = spawn(|| wait_until("it was seen", || words[0].load(SeqCst) == 1));
        let theirs = link(&init.pid().to_string(), "pid").expect("a link");
        assert_eq!(link("self", "pid_for_children"), Ok(theirs.clone()));
        assert_ne!(theirs, own);
        words[0].store(1, SeqCst);
        init.join();
    });
}

#[test]
fn after_unshare_neither_threads_nor_another_namespace() {
    in_child(|| {
        unshare(CLONE_NEWPID).expect("unshare");
        assert_errno!(unshare(CLONE_NEWPID), EINVAL);
        let thread = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_FS;
        assert_errno!(syscall!(SYS_clone, thread, 0usize, 0usize, 0usize, 0usize), EINVAL);
        let words = shared_words();
        let init = spawn(|| wait_until("the second was there", || words[0].load(SeqCst) == 1));
        spawn(|| assert_eq!((pid(), parent()), (2, 0), "the second child is no init")).join();
        words[0].store(1, SeqCst);
        init.join();
    });
}

#[test]
fn setns_moves_children_into_a_namespace_below_and_not_above() {
    in_child(|| {
        let words = shared_words();
        let outer = File::open("/proc/self/ns/pid").expect("open");
        let helper = spawn(|| {
            let init = spawn_init(|| {
                words[0].store(1, SeqCst);
                wait_until("it was entered", || words[0].load(SeqCst) == 2);
                assert_errno!(setns(&outer, CLONE_NEWPID), EINVAL);
            });
            words[1].store(init.pid() as u32, SeqCst);
            init.join();
        });
        wait_until("it is there", || words[0].load(SeqCst) == 1 && words[1].load(SeqCst) != 0);
        let inner = File::open(format!("/proc/{}/ns/pid", words[1].load(SeqCst))).expect("open");
        assert_errno!(setns(&inner, CLONE_NEWUTS), EINVAL);
        let own = pid();
        setns(&inner, CLONE_NEWPID).expect("setns");
        assert_eq!(pid(), own);
        spawn(|| assert_eq!((pid(), parent()), (2, 0))).join();
        setns(&outer, 0).expect("back home: the own namespace is allowed");
        spawn(|| assert_eq!(parent(), own)).join();
        words[0].store(2, SeqCst);
        helper.join();
    });
}

#[test]
fn a_pidfd_enters_several_namespaces_at_once() {
    in_child(|| {
        let words = shared_words();
        let helper = spawn(|| {
            unshare(CLONE_NEWUTS).expect("unshare");
            syscall!(SYS_sethostname, c"inside", 6).expect("sethostname");
            let init = spawn_init(|| wait_until("it was entered", || words[0].load(SeqCst) == 2));
            words[1].store(init.pid() as u32, SeqCst);
            init.join();
        });
        wait_until("it is there", || words[1].load(SeqCst) != 0);
        let target = pidfd(words[1].load(SeqCst) as i32).expect("pidfd_open");
        assert_errno!(setns(&target, 0), EINVAL);
        assert_errno!(setns(&target, CLONE_NEWUTS | libc::CLONE_FILES), EINVAL);
        setns(&target, CLONE_NEWUTS | CLONE_NEWPID).expect("both at once");
        let host = rustix::system::uname();
        assert_eq!(host.nodename().to_str(), Ok("inside"));
        spawn(|| assert_eq!(parent(), 0)).join();
        words[0].store(2, SeqCst);
        helper.join();
        assert_errno!(setns(&target, CLONE_NEWUTS), ESRCH);
        let file = File::open("/dev/null").expect("open");
        assert_errno!(setns(&file, CLONE_NEWUTS), EINVAL);
        assert_errno!(setns(999, CLONE_NEWUTS), EBADF);
        assert!(file.as_raw_fd() >= 0);
    });
}

#[test]
fn namespaces_nest_32_deep() {
    in_child(|| {
        let words = shared_words();
        descend(0, &words[0]);
        // The first namespace of the machine is level 0.
        assert_eq!(words[0].load(SeqCst), 32);
    });
}

/// Goes down until unshare says no, and stores how often it said yes.
fn descend(depth: u32, reached: &'static std::sync::atomic::AtomicU32) {
    match unshare(CLONE_NEWPID) {
        Ok(_) => spawn(|| descend(depth + 1, reached)).join(),
        Err(error) => {
            assert_eq!(error, Errno(libc::ENOSPC));
            reached.store(depth, SeqCst);
        }
    }
}

#[test]
fn ns_last_pid_chooses_the_next_number() {
    in_child(|| {
        spawn_init(|| {
            write("/proc/sys/kernel/ns_last_pid", "99");
            let child = spawn(|| assert_eq!(pid(), 100));
            assert_eq!(child.pid(), 100);
            child.join();
            assert_eq!(read("/proc/sys/kernel/ns_last_pid"), "100\n");
            assert_eq!(
                abi::Outcome::Err(Errno(libc::EINVAL)),
                std::fs::write("/proc/sys/kernel/ns_last_pid", "-1").map(|()| 0).map_err(Errno::from)
            );
            spawn(|| {
                syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
                assert_errno!(std::fs::write("/proc/sys/kernel/ns_last_pid", "5"), EPERM);
            })
            .join();
        })
        .join();
    });
}

#[test]
fn clone3_takes_numbers_for_several_levels() {
    in_child(|| {
        spawn_init(|| {
            let numbers = [77i32];
            let child = clone3_with(&numbers).expect("a chosen number");
            if child == 0 {
                exit_now(if pid() == 77 { 0 } else { 1 });
            }
            assert_eq!(child, 77);
            assert_eq!(wait_end(77), Status::Exited(0));
            assert_errno!(clone3_with(&[1]), EEXIST);
            assert_errno!(clone3_with(&[0]), EINVAL);
            assert_errno!(clone3_with(&[-5]), EINVAL);
            assert_errno!(clone3_with(&[5, 6, 7, 8, 9]), EINVAL);
        })
        .join();
    });
}

/// `clone3` like fork, with `set_tid`.
fn clone3_with(numbers: &[i32]) -> abi::Outcome {
    let mut arguments = [0u64; 11];
    arguments[4] = libc::SIGCHLD as u64;
    arguments[8] = numbers.as_ptr() as u64;
    arguments[9] = numbers.len() as u64;
    syscall!(SYS_clone3, arguments.as_ptr(), size_of_val(&arguments))
}

#[test]
fn hidepid_hides_other_users_and_subset_the_system() {
    in_mount_namespace(|| {
        mkdir("hidden");
        mkdir("plain");
        mkdir("subset");
        mount("proc", "hidden", "proc", 0, "hidepid=2").expect("mount");
        mount("proc", "plain", "proc", 0, "hidepid=1").expect("mount");
        mount("proc", "subset", "proc", 0, "subset=pid").expect("mount");
        let root = pid().to_string();
        assert!(!abi::world::exists("subset/cpuinfo"));
        assert!(!names("subset").contains(&"sys".to_string()));
        assert!(abi::world::exists(&format!("subset/{root}")));
        spawn(|| {
            // The group that sees everything is 0 unless `gid=` names another.
            syscall!(SYS_setgroups, 0, 0usize).expect("setgroups");
            syscall!(SYS_setresgid, 1000, 1000, 1000).expect("setresgid");
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            let own = pid().to_string();
            assert!(names("hidden").contains(&own) && !names("hidden").contains(&root));
            assert_errno!(std::fs::metadata(format!("hidden/{root}")), ENOENT);
            assert!(names("plain").contains(&root));
            assert_errno!(std::fs::read(format!("plain/{root}/stat")), EPERM);
            assert!(std::fs::read(format!("plain/{own}/stat")).is_ok());
        })
        .join();
        assert_errno!(mount("proc", "plain", "proc", 0, "hidepid=9"), EINVAL);
        assert_errno!(mount("proc", "plain", "proc", 0, "subset=all"), EINVAL);
    });
}

#[test]
fn reboot_in_a_namespace_ends_its_init() {
    in_child(|| {
        let init = spawn_init(|| {
            let _ = syscall!(SYS_reboot, 0xfee1_deadu32, 672_274_793, 0x4321_fedc, 0usize);
            exit_now(3);
        });
        assert_eq!(init.status(), Status::Killed(libc::SIGINT), "power off");
    });
}
