//! seccomp(2): strict mode, filters, what each action does, and listeners.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;

use abi::child::wait_until;
use abi::world::read;
use abi::{Outcome, Status, assert_errno, in_child, shared_words, spawn, syscall};
use libc::{
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_LOG, SECCOMP_RET_TRACE,
    SECCOMP_RET_TRAP, SECCOMP_RET_USER_NOTIF,
};

const SET_MODE_STRICT: u32 = 0;
const SET_MODE_FILTER: u32 = 1;
const GET_ACTION_AVAIL: u32 = 2;
const GET_NOTIF_SIZES: u32 = 3;
const TSYNC: u32 = 1;
const LOG: u32 = 2;
const NEW_LISTENER: u32 = 8;
const TSYNC_ESRCH: u32 = 16;

/// One instruction of classic BPF.
#[derive(Clone, Copy)]
#[repr(C)]
struct Insn {
    code: u16,
    if_true: u8,
    if_false: u8,
    constant: u32,
}

const fn insn(code: u16, if_true: u8, if_false: u8, constant: u32) -> Insn {
    Insn { code, if_true, if_false, constant }
}

/// `A = data[offset]`
const fn load(offset: u32) -> Insn {
    insn(0x20, 0, 0, offset)
}

const fn ret(verdict: u32) -> Insn {
    insn(0x06, 0, 0, verdict)
}

/// `if A == constant` the next instruction, else skip so many.
const fn unless(constant: u32, skip: u8) -> Insn {
    insn(0x15, 0, skip, constant)
}

#[repr(C)]
struct Program {
    count: u16,
    instructions: *const Insn,
}

/// A filter with one verdict for one call; all others are allowed.
fn verdict_for(call: i64, verdict: u32) -> Vec<Insn> {
    vec![load(0), unless(call as u32, 1), ret(verdict), ret(SECCOMP_RET_ALLOW)]
}

fn try_filter(instructions: &[Insn], flags: u32) -> Outcome {
    let program = Program { count: instructions.len() as u16, instructions: instructions.as_ptr() };
    syscall!(SYS_seccomp, SET_MODE_FILTER, flags, &raw const program)
}

fn no_new_privileges() {
    syscall!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).expect("no_new_privs");
}

#[track_caller]
fn filter(instructions: &[Insn]) {
    no_new_privileges();
    try_filter(instructions, 0).expect("a filter");
}

/// The value of a line of /proc/self/status.
fn status(key: &str) -> String {
    let text = read("/proc/thread-self/status");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
    line.unwrap_or_else(|| panic!("no {key}")).to_owned()
}

#[test]
fn a_filter_answers_with_an_errno() {
    in_child(|| {
        filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_ERRNO | libc::ESTALE as u32));
        assert_errno!(syscall!(SYS_getppid), ESTALE);
        assert!(syscall!(SYS_getpid).is_ok());
        // The greatest errno is 4095; and 0 is success.
        filter(&verdict_for(libc::SYS_getpgrp, SECCOMP_RET_ERRNO | 0xffff));
        assert_eq!(syscall!(SYS_getpgrp).expect_err("an errno").0, 4095);
        filter(&verdict_for(libc::SYS_getuid, SECCOMP_RET_ERRNO));
        assert_eq!(syscall!(SYS_getuid), Ok(0));
    });
}

#[test]
fn status_shows_mode_and_number_of_filters() {
    in_child(|| {
        assert_eq!((status("Seccomp"), status("Seccomp_filters")), ("0".into(), "0".into()));
        assert_eq!(syscall!(SYS_prctl, libc::PR_GET_SECCOMP, 0, 0, 0, 0), Ok(0));
        filter(&[ret(SECCOMP_RET_ALLOW)]);
        filter(&[ret(SECCOMP_RET_ALLOW)]);
        assert_eq!((status("Seccomp"), status("Seccomp_filters")), ("2".into(), "2".into()));
        assert_eq!(syscall!(SYS_prctl, libc::PR_GET_SECCOMP, 0, 0, 0, 0), Ok(2));
    });
}

#[test]
fn filters_need_no_new_privileges_or_privilege() {
    in_child(|| {
        spawn(|| {
            try_filter(&[ret(SECCOMP_RET_ALLOW)], 0).expect("root needs nothing");
        })
        .join();
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(try_filter(&[ret(SECCOMP_RET_ALLOW)], 0), EACCES);
        no_new_privileges();
        try_filter(&[ret(SECCOMP_RET_ALLOW)], 0).expect("a filter");
    });
}

#[test]
fn filters_are_inherited_and_stay_at_exec() {
    in_child(|| {
        filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_ERRNO | libc::ESTALE as u32));
        spawn(|| assert_errno!(syscall!(SYS_getppid), ESTALE)).join();
        std::thread::spawn(|| assert_errno!(syscall!(SYS_getppid), ESTALE)).join().expect("the thread");
        let output = std::process::Command::new("/bin/busybox").args(["grep", "-c", "Seccomp:.2", "/proc/self/status"]).output();
        assert_eq!(output.expect("exec").stdout, b"1\n");
    });
}

#[test]
fn all_filters_are_asked_and_the_strictest_counts() {
    in_child(|| {
        filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_ERRNO | 11));
        filter(&[ret(SECCOMP_RET_ALLOW)]);
        assert_errno!(syscall!(SYS_getppid), EAGAIN);
        filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_ERRNO | 12));
        assert_errno!(syscall!(SYS_getppid), ENOMEM);
        filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_TRACE));
        assert_errno!(syscall!(SYS_getppid), ENOMEM);
        let child = spawn(|| {
            filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_KILL_PROCESS));
            let _ = syscall!(SYS_getppid);
        });
        assert_eq!(child.status(), Status::Killed(libc::SIGSYS));
    });
}

#[test]
fn the_filter_sees_number_architecture_arguments_and_place() {
    in_child(|| {
        // Allowed if everything is as it should be: the architecture, the halves of two arguments, a place above 4096.
        let program = [
            load(0),
            unless(libc::SYS_getpriority as u32, 11),
            load(4),
            unless(0xC000_003E, 9),
            load(16),
            unless(0x5566_7788, 7),
            load(20),
            unless(0x1122_3344, 5),
            load(24),
            unless(7, 3),
            load(8),
            insn(0x35, 0, 1, 4096),
            ret(SECCOMP_RET_ERRNO | 77),
            ret(SECCOMP_RET_ALLOW),
        ];
        filter(&program);
        assert_eq!(syscall!(SYS_getpriority, 0x1122_3344_5566_7788_usize, 7).expect_err("it matches").0, 77);
        assert_ne!(syscall!(SYS_getpriority, 0x1122_3344_5566_7788_usize, 8).expect_err("no such kind").0, 77);
    });
}

#[test]
fn killing_ends_the_process() {
    in_child(|| {
        let child = spawn(|| {
            filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_KILL_PROCESS));
            let _ = std::thread::spawn(|| syscall!(SYS_getppid)).join();
        });
        assert_eq!(child.status(), Status::Killed(libc::SIGSYS));
        let child = spawn(|| {
            filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_KILL_THREAD));
            let _ = syscall!(SYS_getppid);
        });
        assert_eq!(child.status(), Status::Killed(libc::SIGSYS), "its only thread");
        let child = spawn(|| {
            // What is no action kills.
            filter(&verdict_for(libc::SYS_getppid, 0x1234_0000));
            let _ = syscall!(SYS_getppid);
        });
        assert_eq!(child.status(), Status::Killed(libc::SIGSYS));
    });
}

#[test]
fn killing_a_thread_leaves_the_others() {
    in_child(|| {
        let words = shared_words();
        let child = spawn(|| {
            filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_KILL_THREAD));
            std::thread::spawn(|| {
                words[0].store(syscall!(SYS_gettid).expect("gettid") as u32, SeqCst);
                let _ = syscall!(SYS_getppid);
                words[1].store(1, SeqCst);
            });
            wait_until("the thread has begun", || words[0].load(SeqCst) != 0);
            let thread = format!("/proc/self/task/{}", words[0].load(SeqCst));
            wait_until("the thread is gone", || !abi::world::exists(&thread));
            assert_eq!(words[1].load(SeqCst), 0);
        });
        child.join();
    });
}

static CAUGHT: [std::sync::atomic::AtomicU64; 5] = [const { std::sync::atomic::AtomicU64::new(0) }; 5];

extern "C" fn on_sigsys(_: i32, info: *const libc::siginfo_t, context: *mut libc::ucontext_t) {
    // SAFETY: the kernel passes valid structures; the union's part for SIGSYS begins behind three ints and padding.
    unsafe {
        let words = info.cast::<i32>();
        CAUGHT[0].store((*info).si_code as u64, SeqCst);
        CAUGHT[1].store(*words.add(1) as u64, SeqCst);
        CAUGHT[2].store(*words.add(6) as u64, SeqCst);
        CAUGHT[3].store(u64::from(*words.add(7) as u32), SeqCst);
        CAUGHT[4].store((*context).uc_mcontext.gregs[libc::REG_RAX as usize] as u64, SeqCst);
        (*context).uc_mcontext.gregs[libc::REG_RAX as usize] = 4711;
    }
}

#[test]
fn a_trap_is_a_signal_that_tells_of_the_call() {
    in_child(|| {
        abi::signal::set_action(libc::SIGSYS, on_sigsys as *const () as usize, libc::SA_SIGINFO, &[]);
        filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_TRAP | 42));
        assert_eq!(syscall!(SYS_getppid), Ok(4711), "what the handler put there");
        let caught = CAUGHT.each_ref().map(|word| word.load(SeqCst));
        assert_eq!(caught, [1, 42, libc::SYS_getppid as u64, 0xC000_003E, libc::SYS_getppid as u64]);
        let child = spawn(|| {
            abi::signal::set_mask(&[libc::SIGSYS]);
            let _ = syscall!(SYS_getppid);
        });
        assert_eq!(child.status(), Status::Killed(libc::SIGSYS), "it cannot be blocked");
    });
}

#[test]
fn tracing_without_a_tracer_is_no_call_and_logging_is_one() {
    in_child(|| {
        filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_TRACE | 1));
        assert_errno!(syscall!(SYS_getppid), ENOSYS);
        filter(&verdict_for(libc::SYS_getpgrp, SECCOMP_RET_LOG));
        assert!(syscall!(SYS_getpgrp).is_ok());
        assert_errno!(try_filter(&[ret(SECCOMP_RET_ALLOW)], 0x8000), EINVAL);
        try_filter(&[ret(SECCOMP_RET_ALLOW)], LOG).expect("a filter that logs");
    });
}

#[test]
fn strict_mode_knows_four_calls() {
    in_child(|| {
        let child = spawn(|| {
            let (reader, writer) = std::io::pipe().expect("pipe");
            assert_errno!(syscall!(SYS_seccomp, SET_MODE_STRICT, 1, 0usize), EINVAL);
            syscall!(SYS_seccomp, SET_MODE_STRICT, 0, 0usize).expect("strict");
            let _ = syscall!(SYS_write, &writer, b"x".as_ptr(), 1);
            let mut byte = [0u8];
            let got = syscall!(SYS_read, &reader, byte.as_mut_ptr(), 1);
            let _ = syscall!(SYS_exit, if got == Ok(1) && byte == *b"x" { 33 } else { 1 });
        });
        assert_eq!(child.status(), Status::Exited(33));
        let child = spawn(|| {
            syscall!(SYS_prctl, libc::PR_SET_SECCOMP, 1, 0, 0, 0).expect("strict");
            let _ = syscall!(SYS_getpid);
        });
        assert_eq!(child.status(), Status::Killed(libc::SIGKILL));
    });
}

#[test]
fn modes_do_not_mix() {
    in_child(|| {
        filter(&[ret(SECCOMP_RET_ALLOW)]);
        assert_errno!(syscall!(SYS_seccomp, SET_MODE_STRICT, 0, 0usize), EINVAL);
        assert_errno!(syscall!(SYS_prctl, libc::PR_SET_SECCOMP, 1, 0, 0, 0), EINVAL);
        assert_errno!(syscall!(SYS_prctl, libc::PR_SET_SECCOMP, 3, 0, 0, 0), EINVAL);
        assert_errno!(syscall!(SYS_seccomp, 99, 0, 0usize), EINVAL);
        let program = Program { count: 1, instructions: &raw const ALLOW };
        syscall!(SYS_prctl, libc::PR_SET_SECCOMP, 2, &raw const program, 0, 0).expect("by prctl");
        assert_eq!(status("Seccomp_filters"), "2");
    });
}

static ALLOW: Insn = ret(SECCOMP_RET_ALLOW);

#[test]
fn bad_programs_are_refused() {
    in_child(|| {
        no_new_privileges();
        let refused = |what: &str, program: &[Insn]| {
            let error = try_filter(program, 0).expect_err(what);
            assert_eq!(error.0, libc::EINVAL, "{what}");
        };
        refused("nothing", &[]);
        refused("too much", &vec![ret(SECCOMP_RET_ALLOW); 4097]);
        refused("no end", &[load(0)]);
        refused("past the data", &[load(64), ret(0)]);
        refused("between words", &[load(2), ret(0)]);
        refused("a byte of a packet", &[insn(0x30, 0, 0, 0), ret(0)]);
        refused("past the packet's index", &[insn(0x40, 0, 0, 0), ret(0)]);
        refused("a jump too far", &[insn(0x05, 0, 0, 1), ret(0)]);
        refused("a branch too far", &[insn(0x15, 1, 0, 0), ret(0)]);
        refused("division by zero", &[insn(0x34, 0, 0, 0), ret(0)]);
        refused("a remainder", &[insn(0x94, 0, 0, 3), ret(0)]);
        refused("a shift too far", &[insn(0x64, 0, 0, 32), ret(0)]);
        refused("memory that is not there", &[insn(0x02, 0, 0, 16), ret(0)]);
        refused("memory that was not written", &[insn(0x60, 0, 0, 0), ret(0)]);
        refused("memory written on one path only", &[load(0), unless(1, 1), insn(0x02, 0, 0, 3), insn(0x60, 0, 0, 3), ret(0)]);
        refused("an unknown code", &[insn(0xff, 0, 0, 0), ret(0)]);
        assert_errno!(syscall!(SYS_seccomp, SET_MODE_FILTER, 0, 0usize), EFAULT);
        let elsewhere = Program { count: 1, instructions: std::ptr::dangling() };
        assert_errno!(syscall!(SYS_seccomp, SET_MODE_FILTER, 0, &raw const elsewhere), EFAULT);
    });
}

#[test]
fn the_machine_computes() {
    in_child(|| {
        let number = libc::SYS_getppid as u32;
        // ((6 * 7 - 2) / 4 | 1) ^ 0xf, shifted left by X = 2 and kept in memory: 16.
        let program = [
            load(0),
            unless(number, 15),
            insn(0x00, 0, 0, 6),
            insn(0x24, 0, 0, 7),
            insn(0x14, 0, 0, 2),
            insn(0x34, 0, 0, 4),
            insn(0x44, 0, 0, 1),
            insn(0xa4, 0, 0, 0xf),
            insn(0x01, 0, 0, 2),
            insn(0x6c, 0, 0, 0),
            insn(0x02, 0, 0, 5),
            insn(0x80, 0, 0, 0),
            insn(0x07, 0, 0, 0),
            insn(0x60, 0, 0, 5),
            insn(0x44, 0, 0, SECCOMP_RET_ERRNO),
            insn(0x16, 0, 0, 0),
            ret(SECCOMP_RET_ALLOW),
            ret(SECCOMP_RET_ALLOW),
        ];
        filter(&program);
        assert_eq!(syscall!(SYS_getppid).expect_err("an errno").0, 16);
        // Division by an index that is zero ends the program with the verdict 0.
        let child = spawn(|| {
            filter(&[load(0), unless(number, 2), insn(0x01, 0, 0, 0), insn(0x3c, 0, 0, 0), ret(SECCOMP_RET_ALLOW)]);
            let _ = syscall!(SYS_getppid);
        });
        assert_eq!(child.status(), Status::Killed(libc::SIGSYS));
    });
}

#[test]
fn filters_together_have_a_limit() {
    in_child(|| {
        no_new_privileges();
        let long = vec![ret(SECCOMP_RET_ALLOW); 4096];
        let added = (0..20).take_while(|_| try_filter(&long, 0).is_ok()).count();
        // Linux counts what it translates them to.
        assert!((3..=7).contains(&added), "{added}");
        assert_errno!(try_filter(&long, 0), ENOMEM);
        try_filter(&[ret(SECCOMP_RET_ALLOW)], 0).expect("a short one has room");
    });
}

#[test]
fn synchronised_filters_reach_all_threads() {
    in_child(|| {
        no_new_privileges();
        let words = shared_words();
        let thread = std::thread::spawn(move || {
            words[0].store(1, SeqCst);
            wait_until("the filter is there", || words[1].load(SeqCst) == 1);
            assert_errno!(syscall!(SYS_getppid), ESTALE);
            assert_eq!(syscall!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), Ok(1));
        });
        wait_until("it runs", || words[0].load(SeqCst) == 1);
        assert_eq!(try_filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_ERRNO | libc::ESTALE as u32), TSYNC), Ok(0));
        words[1].store(1, SeqCst);
        thread.join().expect("the thread");
    });
}

#[test]
fn a_thread_with_filters_of_its_own_cannot_be_synchronised() {
    in_child(|| {
        no_new_privileges();
        let words = shared_words();
        let thread = std::thread::spawn(move || {
            try_filter(&[ret(SECCOMP_RET_ALLOW)], 0).expect("its own filter");
            words[0].store(syscall!(SYS_gettid).expect("gettid") as u32, SeqCst);
            wait_until("the test is through", || words[1].load(SeqCst) == 1);
        });
        wait_until("it runs", || words[0].load(SeqCst) != 0);
        assert_eq!(try_filter(&[ret(SECCOMP_RET_ALLOW)], TSYNC), Ok(words[0].load(SeqCst) as usize));
        assert_errno!(try_filter(&[ret(SECCOMP_RET_ALLOW)], TSYNC | TSYNC_ESRCH), ESRCH);
        assert_eq!(status("Seccomp_filters"), "0");
        words[1].store(1, SeqCst);
        thread.join().expect("the thread");
    });
}

#[test]
fn actions_and_sizes_can_be_asked_for() {
    in_child(|| {
        for action in [
            SECCOMP_RET_KILL_PROCESS,
            SECCOMP_RET_KILL_THREAD,
            SECCOMP_RET_TRAP,
            SECCOMP_RET_ERRNO,
            SECCOMP_RET_USER_NOTIF,
            SECCOMP_RET_TRACE,
            SECCOMP_RET_LOG,
            SECCOMP_RET_ALLOW,
        ] {
            syscall!(SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action).expect("an action");
        }
        assert_errno!(syscall!(SYS_seccomp, GET_ACTION_AVAIL, 0, std::ptr::from_ref(&0x1234_0000u32)), EOPNOTSUPP);
        assert_errno!(syscall!(SYS_seccomp, GET_ACTION_AVAIL, 1, std::ptr::from_ref(&SECCOMP_RET_ALLOW)), EINVAL);
        assert_errno!(syscall!(SYS_seccomp, GET_ACTION_AVAIL, 0, 0usize), EFAULT);
        let mut sizes = [0u16; 3];
        syscall!(SYS_seccomp, GET_NOTIF_SIZES, 0, sizes.as_mut_ptr()).expect("sizes");
        assert_eq!(sizes, [80, 24, 64]);
        let names = read("/proc/sys/kernel/seccomp/actions_avail");
        assert_eq!(names, "kill_process kill_thread trap errno user_notif trace log allow\n");
    });
}

const RECV: u32 = 0xc050_2100;
const SEND: u32 = 0xc018_2101;
const ID_VALID: u32 = 0x4008_2102;
const ADDFD: u32 = 0x4018_2103;

#[derive(Default)]
#[repr(C)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    architecture: u32,
    place: u64,
    arguments: [u64; 6],
}

#[derive(Default)]
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// Forks a process that is governed by a listener for `call`, runs `body` in it; gives it and the listener.
fn listen(call: i64, body: impl FnOnce()) -> (abi::Child, OwnedFd) {
    no_new_privileges();
    let words = shared_words();
    let child = spawn(|| {
        let listener = try_filter(&verdict_for(call, SECCOMP_RET_USER_NOTIF), NEW_LISTENER).expect("a listener");
        words[0].store(listener as u32, SeqCst);
        wait_until("somebody listens", || words[1].load(SeqCst) == 1);
        let _ = syscall!(SYS_close, listener);
        body();
    });
    wait_until("the listener is there", || words[0].load(SeqCst) != 0);
    let pidfd = syscall!(SYS_pidfd_open, child.pid(), 0).expect("pidfd_open");
    let listener = syscall!(SYS_pidfd_getfd, pidfd, words[0].load(SeqCst), 0).expect("pidfd_getfd");
    words[1].store(1, SeqCst);
    // SAFETY: the descriptor is new and owned by nobody else.
    (child, unsafe { OwnedFd::from_raw_fd(listener as i32) })
}

fn receive(listener: &OwnedFd) -> Notification {
    let mut notification = Notification::default();
    syscall!(SYS_ioctl, listener, RECV, &raw mut notification).expect("a notification");
    notification
}

fn respond(listener: &OwnedFd, response: &Response) -> Outcome {
    syscall!(SYS_ioctl, listener, SEND, std::ptr::from_ref(response))
}

#[test]
fn a_listener_decides_about_calls() {
    in_child(|| {
        let (child, listener) = listen(libc::SYS_getppid, || {
            assert_eq!(syscall!(SYS_getppid, 5, 6), Ok(4711));
            assert_errno!(syscall!(SYS_getppid), ESTALE);
            assert!(syscall!(SYS_getppid).is_ok() && syscall!(SYS_getppid).is_ok());
        });
        let call = receive(&listener);
        assert_eq!((call.pid as i32, call.number, call.architecture), (child.pid(), libc::SYS_getppid as i32, 0xC000_003E));
        assert_eq!(call.arguments[..2], [5, 6]);
        syscall!(SYS_ioctl, &listener, ID_VALID, &raw const call.id).expect("it waits");
        assert_errno!(respond(&listener, &Response { id: call.id, value: 1, flags: 1, ..Response::default() }), EINVAL);
        respond(&listener, &Response { id: call.id, value: 4711, ..Response::default() }).expect("an answer");
        assert_errno!(syscall!(SYS_ioctl, &listener, ID_VALID, std::ptr::from_ref(&0u64)), ENOENT);
        let call = receive(&listener);
        respond(&listener, &Response { id: call.id, error: -libc::ESTALE, ..Response::default() }).expect("an errno");
        assert_errno!(respond(&listener, &Response { id: 12345, ..Response::default() }), ENOENT);
        for _ in 0..2 {
            let call = receive(&listener);
            respond(&listener, &Response { id: call.id, flags: 1, ..Response::default() }).expect("let it through");
        }
        child.join();
    });
}

#[test]
fn a_listener_can_be_polled_and_without_one_the_call_is_missing() {
    in_child(|| {
        let (child, listener) = listen(libc::SYS_getppid, || assert_errno!(syscall!(SYS_getppid), ENOSYS));
        let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        assert_eq!(syscall!(SYS_poll, &raw mut poll, 1, 5000), Ok(1));
        assert_eq!(poll.revents, libc::POLLIN);
        drop(listener);
        child.join();
    });
}

#[test]
fn a_listener_can_hand_over_a_file() {
    in_child(|| {
        let (reader, writer) = std::io::pipe().expect("pipe");
        let (child, listener) = listen(libc::SYS_getppid, || {
            let file = syscall!(SYS_getppid).expect("a descriptor");
            syscall!(SYS_write, file, b"x".as_ptr(), 1).expect("write");
        });
        let call = receive(&listener);
        #[repr(C)]
        struct AddDescriptor {
            id: u64,
            flags: u32,
            source: u32,
            target: u32,
            target_flags: u32,
        }
        let added = AddDescriptor { id: call.id, flags: 0, source: writer.as_raw_fd() as u32, target: 0, target_flags: 0 };
        let number = syscall!(SYS_ioctl, &listener, ADDFD, &raw const added).expect("a descriptor");
        respond(&listener, &Response { id: call.id, value: number as i64, ..Response::default() }).expect("an answer");
        let mut byte = [0];
        std::io::Read::read_exact(&mut &reader, &mut byte).expect("read");
        assert_eq!(byte, *b"x");
        child.join();
    });
}

#[test]
fn there_is_one_listener() {
    in_child(|| {
        no_new_privileges();
        let fd = try_filter(&verdict_for(libc::SYS_getppid, SECCOMP_RET_USER_NOTIF), NEW_LISTENER).expect("a listener");
        assert_eq!(syscall!(SYS_fcntl, fd, libc::F_GETFD), Ok(libc::FD_CLOEXEC as usize));
        assert_errno!(try_filter(&[ret(SECCOMP_RET_ALLOW)], NEW_LISTENER), EBUSY);
        assert_errno!(try_filter(&[ret(SECCOMP_RET_ALLOW)], NEW_LISTENER | TSYNC), EINVAL);
        assert_errno!(try_filter(&[ret(SECCOMP_RET_ALLOW)], 0x20), EINVAL);
    });
}
