//! Signals: handlers and their information, masks, queues, alternate stacks, restarts, waiting for signals, default actions.

use std::io::Read;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use abi::child::{exit_now, wait_for, wait_until, wait_until_asleep};
use abi::{Pages, Status, assert_errno, fault, in_child, shared_words, signal, spawn, syscall};
use libc::{SIGALRM, SIGBUS, SIGCHLD, SIGCONT, SIGKILL, SIGPIPE, SIGSEGV, SIGSTOP, SIGTERM, SIGUSR1, SIGUSR2};

fn pid() -> i32 {
    syscall!(SYS_getpid).expect("getpid") as i32
}

/// Forks a process that runs `body`, waits until it sleeps in the kernel, and sends it `number`.
fn interrupt(number: i32, body: impl FnOnce()) {
    let words = shared_words();
    let child = spawn(|| {
        words[0].store(1, SeqCst);
        body();
    });
    wait_until("it started", || words[0].load(SeqCst) == 1);
    wait_until_asleep(child.pid());
    signal::send(child.pid(), number);
    child.join();
}

#[test]
fn a_handler_learns_who_sent_the_signal() {
    in_child(|| {
        signal::catch(SIGUSR1, 0);
        signal::send(pid(), SIGUSR1);
        assert_eq!(signal::count(SIGUSR1), 1);
        assert_eq!(signal::code(SIGUSR1), libc::SI_USER);
        assert_eq!(signal::sender(SIGUSR1), pid());
        signal::raise(SIGUSR1);
        assert_eq!(signal::code(SIGUSR1), libc::SI_TKILL);
        let me = pid();
        let child = spawn(|| signal::send(me, SIGUSR1));
        let sender = child.pid();
        child.join();
        assert_eq!(signal::sender(SIGUSR1), sender);
    });
}

#[test]
fn sigqueue_carries_a_value() {
    in_child(|| {
        signal::catch(SIGUSR2, 0);
        // SAFETY: sigqueue touches no memory of ours.
        let result = unsafe { libc::sigqueue(pid(), SIGUSR2, libc::sigval { sival_ptr: 0x1234_5678 as *mut _ }) };
        assert_eq!(result, 0);
        assert_eq!(signal::code(SIGUSR2), libc::SI_QUEUE);
        assert_eq!(signal::value(SIGUSR2), 0x1234_5678);
    });
}

#[test]
fn blocked_signals_stay_pending_and_come_when_unblocked() {
    in_child(|| {
        signal::catch(SIGUSR1, 0);
        signal::set_mask(&[SIGUSR1]);
        signal::send(pid(), SIGUSR1);
        signal::send(pid(), SIGUSR1);
        assert_eq!(signal::count(SIGUSR1), 0);
        assert_eq!(signal::pending(), signal::bits(&[SIGUSR1]));
        signal::set_mask(&[]);
        assert_eq!(signal::count(SIGUSR1), 1, "a standard signal is pending once");
        assert_eq!(signal::pending(), 0);
    });
}

#[test]
fn real_time_signals_queue_and_lower_numbers_come_first() {
    in_child(|| {
        let (low, high) = (libc::SIGRTMIN(), libc::SIGRTMIN() + 3);
        for number in [low, high] {
            // The other is blocked while one runs, so that they are handled one after the other.
            signal::catch_masking(number, 0, &[low, high]);
        }
        signal::set_mask(&[low, high]);
        for number in [high, low, high, low] {
            signal::send(pid(), number);
        }
        signal::set_mask(&[]);
        assert_eq!(signal::order(), [low, low, high, high]);
    });
}

#[test]
fn sigkill_and_sigstop_can_be_neither_caught_nor_blocked() {
    in_child(|| {
        for number in [SIGKILL, SIGSTOP] {
            let action = [libc::SIG_IGN, 0, 0, 0];
            assert_errno!(syscall!(SYS_rt_sigaction, number, action.as_ptr(), 0usize, 8), EINVAL);
        }
        signal::set_mask(&[SIGKILL, SIGSTOP, SIGUSR1]);
        assert_eq!(signal::mask(), signal::bits(&[SIGUSR1]));
        assert_errno!(syscall!(SYS_rt_sigaction, 0, 0usize, 0usize, 8), EINVAL);
        assert_errno!(syscall!(SYS_rt_sigaction, 65, 0usize, 0usize, 8), EINVAL);
        assert_errno!(syscall!(SYS_rt_sigaction, SIGUSR1, 0usize, 0usize, 4), EINVAL);
        assert_errno!(syscall!(SYS_rt_sigprocmask, 9, [0u64].as_ptr(), 0usize, 8), EINVAL);
    });
}

#[test]
fn the_handled_signal_is_blocked_in_its_handler_unless_sa_nodefer() {
    use std::sync::atomic::AtomicU64;
    static MASK: AtomicU64 = AtomicU64::new(0);
    extern "C" fn keep_mask(_signal: i32) {
        MASK.store(signal::mask(), SeqCst);
    }
    in_child(|| {
        let handler: extern "C" fn(i32) = keep_mask;
        signal::set_action(SIGUSR1, handler as usize, 0, &[SIGALRM]);
        signal::raise(SIGUSR1);
        assert_eq!(MASK.load(SeqCst), signal::bits(&[SIGUSR1, SIGALRM]));
        assert_eq!(signal::mask(), 0, "the mask comes back after the handler");
        signal::set_action(SIGUSR1, handler as usize, libc::SA_NODEFER, &[]);
        signal::raise(SIGUSR1);
        assert_eq!(MASK.load(SeqCst), 0);
    });
}

#[test]
fn sa_resethand_handles_once() {
    in_child(|| {
        let status = spawn(|| {
            signal::catch(SIGUSR1, libc::SA_RESETHAND);
            signal::raise(SIGUSR1);
            assert_eq!(signal::count(SIGUSR1), 1);
            signal::raise(SIGUSR1);
        })
        .status();
        assert_eq!(status, Status::Killed(SIGUSR1));
    });
}

#[test]
fn handlers_with_sa_onstack_run_on_the_alternate_stack() {
    in_child(|| {
        let stack = Pages::private(16);
        let alternate = libc::stack_t { ss_sp: stack.address() as *mut _, ss_flags: 0, ss_size: stack.len_bytes() };
        syscall!(SYS_sigaltstack, &raw const alternate, 0usize).expect("sigaltstack");
        let inside = |address: usize| (stack.address()..stack.address() + stack.len_bytes()).contains(&address);
        signal::catch(SIGUSR1, libc::SA_ONSTACK);
        signal::raise(SIGUSR1);
        assert!(inside(signal::stack_pointer(SIGUSR1)));
        signal::catch(SIGUSR2, 0);
        signal::raise(SIGUSR2);
        assert!(!inside(signal::stack_pointer(SIGUSR2)));
        let mut now = alternate;
        syscall!(SYS_sigaltstack, 0usize, &raw mut now).expect("sigaltstack");
        assert_eq!((now.ss_sp, now.ss_size, now.ss_flags), (alternate.ss_sp, alternate.ss_size, 0));
        let small = libc::stack_t { ss_size: 100, ..alternate };
        assert_errno!(syscall!(SYS_sigaltstack, &raw const small, 0usize), ENOMEM);
        let wrong = libc::stack_t { ss_flags: 0x40, ..alternate };
        assert_errno!(syscall!(SYS_sigaltstack, &raw const wrong, 0usize), EINVAL);
        let off = libc::stack_t { ss_flags: libc::SS_DISABLE, ..alternate };
        syscall!(SYS_sigaltstack, &raw const off, 0usize).expect("sigaltstack");
    });
}

#[test]
fn segv_tells_unmapped_from_forbidden_and_where() {
    in_child(|| {
        let pages = Pages::private(2);
        syscall!(SYS_mprotect, pages.page(1), 4096, libc::PROT_READ).expect("mprotect");
        let fault_at = |address, code| fault::Fault { signal: SIGSEGV, code, address };
        let forbidden = pages.page(1) + 5;
        assert_eq!(fault::write(forbidden, 1), Err(fault_at(forbidden, fault::SEGV_ACCERR)));
        assert_eq!(fault::read(forbidden), Ok(0));
        assert_eq!(fault::read(0x10), Err(fault_at(0x10, fault::SEGV_MAPERR)));
        syscall!(SYS_munmap, pages.page(1), 4096).expect("munmap");
        assert_eq!(fault::read(forbidden), Err(fault_at(forbidden, fault::SEGV_MAPERR)));
        assert_eq!(fault::write(forbidden, 1), Err(fault_at(forbidden, fault::SEGV_MAPERR)));
    });
}

#[test]
fn kernel_addresses_are_unreadable_and_noncanonical_ones_fault_without_address() {
    in_child(|| {
        let kernel = 0xffff_ffff_8100_0000usize;
        let fault = fault::read(kernel).expect_err("a fault");
        assert_eq!((fault.signal, fault.address), (SIGSEGV, kernel));
        let fault = fault::read(0x8000_0000_0000_0000).expect_err("a general protection fault");
        // SI_KERNEL with address 0: the processor does not tell the address.
        assert_eq!((fault.signal, fault.code, fault.address), (SIGSEGV, 0x80, 0));
    });
}

#[test]
fn data_pages_cannot_be_executed() {
    in_child(|| {
        let page = Pages::private(1);
        page.set(0, 0xc3);
        let fault = fault::execute(page.address()).expect_err("no execution");
        let expected = fault::Fault { signal: SIGSEGV, code: fault::SEGV_ACCERR, address: page.address() };
        assert_eq!(fault, expected);
        syscall!(SYS_mprotect, page.address(), 4096, libc::PROT_READ | libc::PROT_EXEC).expect("mprotect");
        assert!(fault::execute(page.address()).is_ok());
    });
}

#[test]
fn processor_exceptions_become_their_signals() {
    in_child(|| {
        let page = Pages::private(1);
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        syscall!(SYS_mprotect, page.address(), 4096, protection).expect("mprotect");
        let run = |code: &[u8]| {
            code.iter().enumerate().for_each(|(offset, &byte)| page.set(offset, byte));
            fault::execute(page.address()).expect_err("an exception")
        };
        // ud2
        let undefined = run(&[0x0f, 0x0b]);
        assert_eq!((undefined.signal, undefined.code, undefined.address), (libc::SIGILL, 2, page.address()), "ILL_ILLOPN");
        // xor eax, eax; div al
        let division = run(&[0x31, 0xc0, 0xf6, 0xf0]);
        assert_eq!((division.signal, division.code, division.address), (libc::SIGFPE, 1, page.address() + 2), "FPE_INTDIV");
        // int3
        let breakpoint = run(&[0xcc]);
        assert_eq!((breakpoint.signal, breakpoint.code), (libc::SIGTRAP, 0x80), "SI_KERNEL");
        // hlt is privileged
        let privileged = run(&[0xf4]);
        assert_eq!((privileged.signal, privileged.code), (SIGSEGV, 0x80), "SI_KERNEL");
    });
}

#[test]
fn a_blocked_fault_kills_and_an_ignored_one_too() {
    in_child(|| {
        let status = spawn(|| {
            signal::set_mask(&[SIGSEGV]);
            // SAFETY: meant to fault.
            unsafe { std::ptr::read_volatile(0x10 as *const u8) };
        })
        .status();
        assert_eq!(status, Status::Killed(SIGSEGV));
        let status = spawn(|| {
            signal::ignore(SIGSEGV);
            // SAFETY: meant to fault.
            unsafe { std::ptr::read_volatile(0x10 as *const u8) };
        })
        .status();
        assert_eq!(status, Status::Killed(SIGSEGV));
    });
}

#[test]
fn reads_restart_with_sa_restart_and_end_with_eintr_without() {
    in_child(|| {
        interrupt(SIGUSR1, || {
            signal::catch(SIGUSR1, 0);
            let (reader, _writer) = std::io::pipe().expect("pipe");
            assert_errno!(syscall!(SYS_read, &reader, [0u8; 1].as_mut_ptr(), 1), EINTR);
            assert_eq!(signal::count(SIGUSR1), 1);
        });
        let words = shared_words();
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let child = spawn(|| {
            signal::catch(SIGUSR1, libc::SA_RESTART);
            words[0].store(1, SeqCst);
            let mut byte = [0];
            let read = syscall!(SYS_read, &reader, byte.as_mut_ptr(), 1);
            assert_eq!((read, byte[0], signal::count(SIGUSR1)), (Ok(1), b'x', 1));
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        signal::send(child.pid(), SIGUSR1);
        std::thread::sleep(Duration::from_millis(10));
        wait_until_asleep(child.pid());
        std::io::Write::write_all(&mut &writer, b"x").expect("write");
        child.join();
        drop(writer);
        let mut rest = Vec::new();
        assert_eq!(reader.read_to_end(&mut rest).expect("read"), 0);
    });
}

#[test]
fn pause_poll_and_nanosleep_end_with_eintr_even_with_sa_restart() {
    in_child(|| {
        let pause = || syscall!(SYS_pause);
        let poll = || syscall!(SYS_poll, 0usize, 0, 10_000);
        let sleep = || {
            let request = libc::timespec { tv_sec: 10, tv_nsec: 0 };
            let mut remaining = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let result = syscall!(SYS_nanosleep, &raw const request, &raw mut remaining);
            assert!((8..10).contains(&remaining.tv_sec), "the remaining time is told");
            result
        };
        let calls: [&dyn Fn() -> abi::Outcome; 3] = [&pause, &poll, &sleep];
        for call in calls {
            interrupt(SIGUSR1, || {
                signal::catch(SIGUSR1, libc::SA_RESTART);
                assert_errno!(call(), EINTR);
            });
        }
    });
}

#[test]
fn wait4_restarts_with_sa_restart() {
    in_child(|| {
        let words = shared_words();
        let child = spawn(|| {
            let grandchild = spawn(|| wait_until("let go", || words[1].load(SeqCst) == 1));
            signal::catch(SIGUSR1, libc::SA_RESTART);
            words[0].store(1, SeqCst);
            let mut status = 0i32;
            assert_eq!(syscall!(SYS_wait4, grandchild.pid(), &raw mut status, 0, 0usize), Ok(grandchild.pid() as usize));
            assert_eq!(signal::count(SIGUSR1), 1);
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        signal::send(child.pid(), SIGUSR1);
        std::thread::sleep(Duration::from_millis(10));
        words[1].store(1, SeqCst);
        child.join();
    });
}

#[test]
fn stopping_and_continuing_does_not_disturb_a_sleep() {
    in_child(|| {
        let words = shared_words();
        let child = spawn(|| {
            words[0].store(1, SeqCst);
            let request = libc::timespec { tv_sec: 0, tv_nsec: 150_000_000 };
            assert_eq!(syscall!(SYS_nanosleep, &raw const request, 0usize), Ok(0));
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        signal::send(child.pid(), SIGSTOP);
        assert_eq!(wait_for(child.pid(), libc::WUNTRACED), Ok(Some((child.pid(), Status::Stopped(SIGSTOP)))));
        signal::send(child.pid(), SIGCONT);
        child.join();
    });
}

#[test]
fn sigtimedwait_takes_a_pending_signal_with_its_information() {
    in_child(|| {
        signal::catch(SIGUSR1, 0);
        signal::set_mask(&[SIGUSR1]);
        let set = signal::bits(&[SIGUSR1]);
        // SAFETY: siginfo_t is plain data.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let short = libc::timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        let mut take = || syscall!(SYS_rt_sigtimedwait, &raw const set, &raw mut info, &raw const short, 8);
        assert_errno!(take(), EAGAIN);
        signal::send(pid(), SIGUSR1);
        assert_eq!(take(), Ok(SIGUSR1 as usize));
        assert_errno!(take(), EAGAIN);
        assert_eq!((info.si_signo, info.si_code), (SIGUSR1, libc::SI_USER));
        assert_eq!(signal::count(SIGUSR1), 0, "the handler did not run");
        let wrong = libc::timespec { tv_sec: 0, tv_nsec: -1 };
        assert_errno!(syscall!(SYS_rt_sigtimedwait, &raw const set, 0usize, &raw const wrong, 8), EINVAL);
    });
}

#[test]
fn sigtimedwait_without_timeout_sleeps_until_the_signal_comes() {
    in_child(|| {
        signal::set_mask(&[SIGUSR2]);
        interrupt(SIGUSR2, || {
            let set = signal::bits(&[SIGUSR2]);
            assert_eq!(syscall!(SYS_rt_sigtimedwait, &raw const set, 0usize, 0usize, 8), Ok(SIGUSR2 as usize));
        });
        // Another signal that is handled ends the wait.
        interrupt(SIGUSR1, || {
            signal::catch(SIGUSR1, libc::SA_RESTART);
            let set = signal::bits(&[SIGUSR2]);
            assert_errno!(syscall!(SYS_rt_sigtimedwait, &raw const set, 0usize, 0usize, 8), EINTR);
        });
    });
}

#[test]
fn sigsuspend_swaps_the_mask_while_it_waits() {
    in_child(|| {
        signal::catch(SIGUSR1, 0);
        signal::catch(SIGUSR2, 0);
        signal::set_mask(&[SIGUSR1, SIGUSR2]);
        signal::send(pid(), SIGUSR1);
        signal::send(pid(), SIGUSR2);
        let during = signal::bits(&[SIGUSR2]);
        assert_errno!(syscall!(SYS_rt_sigsuspend, &raw const during, 8), EINTR);
        assert_eq!((signal::count(SIGUSR1), signal::count(SIGUSR2)), (1, 0));
        assert_eq!(signal::mask(), signal::bits(&[SIGUSR1, SIGUSR2]));
        assert_eq!(signal::pending(), signal::bits(&[SIGUSR2]));
    });
}

#[test]
fn tgkill_reaches_one_thread_and_checks_its_group() {
    in_child(|| {
        signal::set_mask(&[SIGUSR1]);
        let me = pid();
        std::thread::spawn(move || {
            let thread = syscall!(SYS_gettid).expect("gettid");
            syscall!(SYS_tgkill, me, thread, SIGUSR1).expect("tgkill");
            assert_eq!(signal::pending(), signal::bits(&[SIGUSR1]));
        })
        .join()
        .expect("a thread");
        assert_eq!(signal::pending(), 0, "pending for the other thread, which is gone");
        assert_errno!(syscall!(SYS_tgkill, me, 0x3fff_fff0, 0), ESRCH);
        assert_errno!(syscall!(SYS_tgkill, 0, me, 0), EINVAL);
        assert_errno!(syscall!(SYS_tgkill, me, -1, 0), EINVAL);
        assert_errno!(syscall!(SYS_tgkill, 0x3fff_fff0, me, 0), ESRCH);
    });
}

#[test]
fn a_process_signal_goes_to_a_thread_that_does_not_block_it() {
    in_child(|| {
        signal::catch(SIGUSR1, 0);
        let words = shared_words();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                words[0].store(1, SeqCst);
                wait_until("the signal came", || signal::count(SIGUSR1) == 1);
            });
            signal::set_mask(&[SIGUSR1]);
            wait_until("the thread runs", || words[0].load(SeqCst) == 1);
            signal::send(pid(), SIGUSR1);
        });
        assert_eq!(signal::count(SIGUSR1), 1);
    });
}

#[test]
fn default_actions_terminate_ignore_and_stop() {
    in_child(|| {
        for number in [libc::SIGHUP, libc::SIGINT, SIGALRM, SIGPIPE, SIGTERM, libc::SIGIO, libc::SIGVTALRM] {
            assert_eq!(spawn(|| signal::raise(number)).status(), Status::Killed(number));
        }
        for number in [SIGCHLD, libc::SIGURG, libc::SIGWINCH, SIGCONT] {
            spawn(|| signal::raise(number)).join();
        }
        for number in [libc::SIGQUIT, libc::SIGABRT, SIGBUS, SIGSEGV, libc::SIGSYS, libc::SIGXCPU] {
            syscall!(SYS_setrlimit, libc::RLIMIT_CORE, [0u64, 0].as_ptr()).expect("setrlimit");
            assert_eq!(spawn(|| signal::raise(number)).status(), Status::Killed(number));
        }
        let child = spawn(|| signal::raise(SIGSTOP));
        assert_eq!(wait_for(child.pid(), libc::WUNTRACED), Ok(Some((child.pid(), Status::Stopped(SIGSTOP)))));
        signal::send(child.pid(), SIGCONT);
        child.join();
    });
}

#[test]
fn a_stopped_process_holds_signals_until_continued_but_sigkill_ends_it() {
    in_child(|| {
        let child = spawn(|| {
            signal::raise(SIGSTOP);
            exit_now(1);
        });
        wait_for(child.pid(), libc::WUNTRACED).expect("stopped");
        signal::send(child.pid(), SIGTERM);
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(wait_for(child.pid(), libc::WNOHANG), Ok(None));
        signal::send(child.pid(), SIGCONT);
        assert_eq!(child.status(), Status::Killed(SIGTERM));
        let child = spawn(|| signal::raise(SIGSTOP));
        wait_for(child.pid(), libc::WUNTRACED).expect("stopped");
        signal::send(child.pid(), SIGKILL);
        assert_eq!(child.status(), Status::Killed(SIGKILL));
    });
}

#[test]
fn ignoring_a_pending_signal_discards_it() {
    in_child(|| {
        signal::set_mask(&[SIGUSR1]);
        signal::send(pid(), SIGUSR1);
        signal::ignore(SIGUSR1);
        assert_eq!(signal::pending(), 0);
        signal::default(SIGUSR1);
        signal::set_mask(&[]);
    });
}

#[test]
fn fork_copies_handlers_and_mask_but_not_pending_signals() {
    in_child(|| {
        signal::catch(SIGUSR1, 0);
        signal::set_mask(&[SIGUSR1, SIGUSR2]);
        signal::send(pid(), SIGUSR2);
        spawn(|| {
            assert_eq!(signal::mask(), signal::bits(&[SIGUSR1, SIGUSR2]));
            assert_eq!(signal::pending(), 0);
            signal::set_mask(&[]);
            signal::raise(SIGUSR1);
            assert_eq!(signal::count(SIGUSR1), 1);
        })
        .join();
        assert_eq!(signal::pending(), signal::bits(&[SIGUSR2]));
    });
}

#[test]
fn writing_to_a_pipe_without_readers_raises_sigpipe() {
    in_child(|| {
        signal::catch(SIGPIPE, 0);
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        assert_errno!(syscall!(SYS_write, &writer, c"x".as_ptr(), 1), EPIPE);
        assert_eq!(signal::count(SIGPIPE), 1);
        let status = spawn(|| {
            signal::default(SIGPIPE);
            let _ = syscall!(SYS_write, &writer, c"x".as_ptr(), 1);
        })
        .status();
        assert_eq!(status, Status::Killed(SIGPIPE));
    });
}

#[test]
fn an_unprivileged_process_may_signal_only_its_own() {
    in_child(|| {
        let child = spawn(|| {
            loop {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(syscall!(SYS_kill, child.pid(), 0), EPERM);
            assert_errno!(syscall!(SYS_kill, child.pid(), SIGTERM), EPERM);
            assert_eq!(syscall!(SYS_kill, pid(), 0), Ok(0));
        })
        .join();
        assert_eq!(wait_for(child.pid(), libc::WNOHANG), Ok(None));
    });
}

#[test]
fn vector_registers_survive_signal_handlers_and_preemption() {
    use std::sync::atomic::AtomicU32;
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn clobber(_signal: i32) {
        // SAFETY: the registers are declared as clobbered.
        unsafe {
            std::arch::asm!("pxor xmm6, xmm6", "pcmpeqd xmm7, xmm7", "fninit", out("xmm6") _, out("xmm7") _, out("st(0)") _,
                out("st(1)") _, out("st(2)") _, out("st(3)") _, out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _);
        }
        HANDLED.fetch_add(1, SeqCst);
    }
    in_child(|| {
        let handler: extern "C" fn(i32) = clobber;
        signal::set_action(SIGALRM, handler as usize, libc::SA_RESTART, &[]);
        let every = libc::timeval { tv_sec: 0, tv_usec: 2_000 };
        let timer = [every, every];
        let words = shared_words();
        let rival = spawn(|| {
            while words[0].load(SeqCst) == 0 {
                // SAFETY: as above.
                unsafe { std::arch::asm!("pcmpeqd xmm6, xmm6", "pxor xmm7, xmm7", out("xmm6") _, out("xmm7") _) };
            }
        });
        syscall!(SYS_setitimer, libc::ITIMER_REAL, timer.as_ptr(), 0usize).expect("setitimer");
        wait_until("five handlers ran", || {
            let (mut low, mut high): (u64, u64);
            // SAFETY: the loop only counts down and compares what stays in registers; all are declared.
            unsafe {
                std::arch::asm!(
                    "movq xmm6, {pattern}", "movq xmm7, {other}", "2:", "dec {count}", "jnz 2b", "movq {low}, xmm6", "movq {high}, xmm7",
                    pattern = in(reg) 0x0123_4567_89ab_cdefu64, other = in(reg) 0xfedc_ba98_7654_3210u64,
                    count = inout(reg) 200_000u64 => _, low = out(reg) low, high = out(reg) high, out("xmm6") _, out("xmm7") _,
                );
            }
            assert_eq!((low, high), (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210));
            low = HANDLED.load(SeqCst).into();
            high = 5;
            low >= high
        });
        words[0].store(1, SeqCst);
        rival.join();
    });
}

#[test]
fn signals_survive_exec_as_ignored_or_default() {
    abi::in_mount_namespace(|| {
        // kill(getpid(), SIGUSR1); exit_group(5)
        let mut code = vec![0xb8, libc::SYS_getpid as u8, 0, 0, 0, 0x0f, 0x05, 0x89, 0xc7, 0xbe, SIGUSR1 as u8, 0, 0, 0];
        code.extend([0xb8, libc::SYS_kill as u8, 0, 0, 0, 0x0f, 0x05]);
        code.extend(abi::elf::exit_code(5));
        abi::elf::Elf::with_code(&code).install("killer");
        signal::catch(SIGUSR1, 0);
        assert_eq!(abi::elf::run("/tmp/killer", &[]), Status::Killed(SIGUSR1), "a handler becomes the default");
        signal::ignore(SIGUSR1);
        assert_eq!(abi::elf::run("/tmp/killer", &[]), Status::Exited(5), "ignored stays ignored");
        signal::default(SIGUSR1);
        signal::set_mask(&[SIGUSR1]);
        assert_eq!(abi::elf::run("/tmp/killer", &[]), Status::Exited(5), "the mask stays");
    });
}
