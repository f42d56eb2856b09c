//! Terminals and job control: pseudo-terminal pairs, line discipline, sessions, foreground groups, stop and hang-up signals.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use abi::child::{wait_for, wait_until, wait_until_asleep};
use abi::tty::Pty;
use abi::{Outcome, Status, assert_errno, in_child, shared_words, signal, spawn, syscall};
use libc::{ECHO, ICANON, ISIG, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH};

fn pid() -> i32 {
    syscall!(SYS_getpid).expect("getpid") as i32
}

fn send(file: &File, bytes: &[u8]) {
    assert_eq!(syscall!(SYS_write, file, bytes.as_ptr(), bytes.len()), Ok(bytes.len()));
}

fn receive(file: &File) -> Outcome<String> {
    let mut bytes = [0u8; 256];
    let len = syscall!(SYS_read, file, bytes.as_mut_ptr(), bytes.len())?;
    Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

/// Runs `body` as the leader of a session whose controlling terminal is a new pair.
fn in_session(body: impl FnOnce(&Pty)) {
    in_child(|| {
        let pty = Pty::open();
        spawn(|| {
            pty.lead_session();
            body(&pty);
        })
        .join();
    });
}

#[test]
fn what_one_end_writes_the_other_reads() {
    in_child(|| {
        let pty = Pty::open();
        send(&pty.master, b"line\n");
        assert_eq!(receive(&pty.slave), Ok("line\n".to_string()));
        assert_eq!(receive(&pty.master), Ok("line\r\n".to_string()), "the echo");
        send(&pty.slave, b"answer\n");
        assert_eq!(receive(&pty.master), Ok("answer\r\n".to_string()), "newlines leave as carriage return and newline");
    });
}

#[test]
fn canonical_input_is_edited_and_handed_over_by_the_line() {
    in_child(|| {
        let pty = Pty::open();
        pty.change_modes(|modes| modes.c_lflag &= !ECHO);
        syscall!(SYS_fcntl, &pty.slave, libc::F_SETFL, libc::O_NONBLOCK).expect("F_SETFL");
        send(&pty.master, b"abc");
        assert_errno!(receive(&pty.slave), EAGAIN);
        send(&pty.master, b"\x7fd\n"); // erase
        assert_eq!(receive(&pty.slave), Ok("abd\n".to_string()));
        send(&pty.master, b"gone\x15kept\r"); // kill the line; carriage return reads as newline
        assert_eq!(receive(&pty.slave), Ok("kept\n".to_string()));
        send(&pty.master, b"no newline\x04"); // end of file hands over what is there
        assert_eq!(receive(&pty.slave), Ok("no newline".to_string()));
        send(&pty.master, b"\x04");
        assert_eq!(receive(&pty.slave), Ok(String::new()));
        send(&pty.master, b"one\ntwo\n");
        assert_eq!(receive(&pty.slave), Ok("one\n".to_string()), "one line at a time");
        assert_eq!(receive(&pty.slave), Ok("two\n".to_string()));
    });
}

#[test]
fn raw_input_is_handed_over_as_it_comes() {
    in_child(|| {
        let pty = Pty::open();
        // SAFETY: cfmakeraw only changes the structure.
        pty.change_modes(|modes| unsafe { libc::cfmakeraw(modes) });
        send(&pty.master, b"a\x03\r\x7f");
        assert_eq!(receive(&pty.slave), Ok("a\x03\r\x7f".to_string()));
        send(&pty.slave, b"x\ny");
        assert_eq!(receive(&pty.master), Ok("x\ny".to_string()), "no echo, no changed newlines");
    });
}

#[test]
fn modes_are_told_as_they_were_set() {
    in_child(|| {
        let pty = Pty::open();
        pty.change_modes(|modes| {
            assert!(modes.c_lflag & ICANON != 0 && modes.c_lflag & ISIG != 0 && modes.c_oflag & libc::OPOST != 0);
            assert_eq!((modes.c_cc[libc::VINTR], modes.c_cc[libc::VEOF], modes.c_cc[libc::VSUSP]), (3, 4, 26));
            modes.c_lflag &= !(ICANON | ECHO);
            modes.c_cc[libc::VMIN] = 3;
        });
        pty.change_modes(|modes| {
            assert_eq!(modes.c_lflag & (ICANON | ECHO), 0);
            assert_eq!(modes.c_cc[libc::VMIN], 3);
        });
        let pipe = std::io::pipe().expect("pipe").0;
        assert_errno!(syscall!(SYS_ioctl, &pipe, libc::TCGETS, [0u8; 64].as_mut_ptr()), ENOTTY);
    });
}

#[test]
fn window_sizes_are_kept_and_changes_send_sigwinch() {
    in_session(|pty| {
        signal::catch(SIGWINCH, 0);
        let size = [24u16, 80, 0, 0];
        syscall!(SYS_ioctl, &pty.master, libc::TIOCSWINSZ, size.as_ptr()).expect("TIOCSWINSZ");
        wait_until("SIGWINCH came", || signal::count(SIGWINCH) == 1);
        let mut told = [0u16; 4];
        syscall!(SYS_ioctl, &pty.slave, libc::TIOCGWINSZ, told.as_mut_ptr()).expect("TIOCGWINSZ");
        assert_eq!(told, size);
        syscall!(SYS_ioctl, &pty.slave, libc::TIOCSWINSZ, size.as_ptr()).expect("TIOCSWINSZ");
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(signal::count(SIGWINCH), 1, "no change, no signal");
    });
}

#[test]
fn setsid_leaves_the_terminal_and_tiocsctty_takes_one() {
    in_child(|| {
        let pty = Pty::open();
        spawn(|| {
            syscall!(SYS_setsid).expect("setsid");
            assert_errno!(File::open("/dev/tty"), ENXIO);
            assert_errno!(pty.foreground(), ENOTTY);
            syscall!(SYS_ioctl, &pty.slave, libc::TIOCSCTTY, 0).expect("TIOCSCTTY");
            assert!(File::open("/dev/tty").is_ok());
            assert_eq!(pty.foreground(), Ok(pid()));
            let mut session = 0i32;
            syscall!(SYS_ioctl, &pty.slave, libc::TIOCGSID, &raw mut session).expect("TIOCGSID");
            assert_eq!(session, pid());
            let terminal = abi::world::read("/proc/self/stat");
            let number = terminal.rsplit_once(") ").expect("stat").1.split(' ').nth(4).map(str::to_string);
            assert!(number.is_some_and(|number| number != "0"), "tty_nr in stat");
            spawn(|| {
                syscall!(SYS_setsid).expect("setsid");
                assert_errno!(syscall!(SYS_ioctl, &pty.slave, libc::TIOCSCTTY, 0), EPERM);
            })
            .join();
        })
        .join();
    });
}

#[test]
fn opening_a_terminal_makes_it_controlling_for_a_session_leader() {
    in_child(|| {
        let pty = Pty::open();
        spawn(|| {
            syscall!(SYS_setsid).expect("setsid");
            let _slave = File::options().read(true).write(true).open(&pty.path).expect("open");
            assert_eq!(pty.foreground(), Ok(pid()));
        })
        .join();
    });
}

#[test]
fn interrupt_characters_signal_the_foreground_group() {
    in_session(|pty| {
        signal::catch(SIGINT, 0);
        signal::catch(SIGQUIT, 0);
        let words = shared_words();
        let foreground = spawn(|| {
            signal::reset();
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            words[0].store(1, SeqCst);
            loop {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        wait_until("it leads a group", || words[0].load(SeqCst) == 1);
        send(&pty.master, b"\x03");
        wait_until("SIGINT came", || signal::count(SIGINT) == 1);
        assert_eq!(signal::code(SIGINT), 0x80, "SI_KERNEL");
        assert_eq!(wait_for(foreground.pid(), libc::WNOHANG), Ok(None), "the background is not meant");
        signal::ignore(SIGTTOU);
        pty.set_foreground(foreground.pid()).expect("tcsetpgrp");
        send(&pty.master, b"\x1c");
        syscall!(SYS_setrlimit, libc::RLIMIT_CORE, [0u64, 0].as_ptr()).expect("setrlimit");
        assert_eq!(foreground.status(), Status::Killed(SIGQUIT));
        assert_eq!(signal::count(SIGQUIT), 0);
    });
}

#[test]
fn without_isig_the_characters_are_data() {
    in_session(|pty| {
        signal::catch(SIGINT, 0);
        pty.change_modes(|modes| modes.c_lflag &= !(ISIG | ECHO));
        send(&pty.master, b"\x03\n");
        assert_eq!(receive(&pty.slave), Ok("\x03\n".to_string()));
        assert_eq!(signal::count(SIGINT), 0);
    });
}

#[test]
fn the_suspend_character_stops_and_the_shell_continues() {
    in_session(|pty| {
        signal::ignore(SIGTTOU);
        signal::ignore(SIGTSTP);
        let job = spawn(|| {
            signal::default(SIGTSTP);
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            loop {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        wait_until("it leads a group", || syscall!(SYS_getpgid, job.pid()) == Ok(job.pid() as usize));
        pty.set_foreground(job.pid()).expect("tcsetpgrp");
        send(&pty.master, b"\x1a");
        assert_eq!(wait_for(job.pid(), libc::WUNTRACED), Ok(Some((job.pid(), Status::Stopped(SIGTSTP)))));
        pty.set_foreground(pid()).expect("tcsetpgrp");
        signal::send(-job.pid(), SIGCONT);
        assert_eq!(wait_for(job.pid(), libc::WCONTINUED), Ok(Some((job.pid(), Status::Continued))));
    });
}

#[test]
fn a_background_reader_is_stopped_by_sigttin() {
    in_session(|pty| {
        let job = spawn(|| {
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            assert_eq!(receive(&pty.slave), Ok("later\n".to_string()));
        });
        assert_eq!(wait_for(job.pid(), libc::WUNTRACED), Ok(Some((job.pid(), Status::Stopped(SIGTTIN)))));
        signal::ignore(SIGTTOU);
        pty.set_foreground(job.pid()).expect("tcsetpgrp");
        send(&pty.master, b"later\n");
        signal::send(job.pid(), SIGCONT);
        job.join();
    });
}

#[test]
fn a_background_reader_that_ignores_sigttin_gets_eio() {
    in_session(|pty| {
        spawn(|| {
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            signal::ignore(SIGTTIN);
            assert_errno!(receive(&pty.slave), EIO);
        })
        .join();
    });
}

#[test]
fn background_writers_are_stopped_only_with_tostop() {
    in_session(|pty| {
        spawn(|| {
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            send(&pty.slave, b"free to write\n");
        })
        .join();
        assert_eq!(receive(&pty.master), Ok("free to write\r\n".to_string()));
        pty.change_modes(|modes| modes.c_lflag |= libc::TOSTOP);
        let job = spawn(|| {
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            send(&pty.slave, b"x");
        });
        assert_eq!(wait_for(job.pid(), libc::WUNTRACED), Ok(Some((job.pid(), Status::Stopped(SIGTTOU)))));
        spawn(|| {
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            signal::ignore(SIGTTOU);
            send(&pty.slave, b"allowed");
        })
        .join();
        assert_eq!(receive(&pty.master), Ok("allowed".to_string()));
    });
}

#[test]
fn changing_the_foreground_from_the_background_is_sigttou() {
    in_session(|pty| {
        let job = spawn(|| {
            syscall!(SYS_setpgid, 0, 0).expect("setpgid");
            let _ = pty.set_foreground(pid());
        });
        assert_eq!(wait_for(job.pid(), libc::WUNTRACED), Ok(Some((job.pid(), Status::Stopped(SIGTTOU)))));
        assert_errno!(pty.set_foreground(0x3fff_fff0), ESRCH);
        let words = shared_words();
        let outsider = spawn(|| {
            syscall!(SYS_setsid).expect("setsid");
            words[0].store(1, SeqCst);
            syscall!(SYS_pause).expect_err("EINTR");
        });
        wait_until("it left the session", || words[0].load(SeqCst) == 1);
        assert_errno!(pty.set_foreground(outsider.pid()), EPERM);
    });
}

#[test]
fn the_end_of_a_session_leader_hangs_the_foreground_up() {
    in_child(|| {
        syscall!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).expect("prctl");
        let pty = Pty::open();
        let words = shared_words();
        spawn(|| {
            pty.lead_session();
            let member = syscall!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0).expect("clone");
            if member == 0 {
                words[0].store(pid() as u32, SeqCst);
                loop {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            wait_until("the member runs", || words[0].load(SeqCst) != 0);
        })
        .join();
        assert_eq!(abi::child::wait_end(words[0].load(SeqCst) as i32), Status::Killed(SIGHUP));
    });
}

#[test]
fn a_closed_master_ends_reads_and_hangs_up() {
    in_child(|| {
        let Pty { master, slave, .. } = Pty::open();
        drop(master);
        assert_eq!(receive(&slave), Ok(String::new()));
        assert_errno!(syscall!(SYS_write, &slave, c"x".as_ptr(), 1), EIO);
        let mut poll = libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&slave), events: libc::POLLIN, revents: 0 };
        assert_eq!(syscall!(SYS_poll, &raw mut poll, 1, 0), Ok(1));
        assert!(poll.revents & libc::POLLHUP != 0);
    });
}

#[test]
fn a_closed_slave_is_eio_on_the_master_until_reopened() {
    in_child(|| {
        let Pty { mut master, slave, path } = Pty::open();
        drop(slave);
        assert_errno!(receive(&master), EIO);
        let slave = File::options().read(true).write(true).open(&path).expect("open");
        (&slave).write_all(b"again").expect("write");
        let mut bytes = [0; 5];
        master.read_exact(&mut bytes).expect("read");
        assert_eq!(&bytes, b"again");
    });
}

#[test]
fn a_locked_pair_cannot_be_opened() {
    in_child(|| {
        let master = File::options().read(true).write(true).open("/dev/ptmx").expect("open");
        let mut number = 0u32;
        syscall!(SYS_ioctl, &master, libc::TIOCGPTN, &raw mut number).expect("TIOCGPTN");
        assert_errno!(File::open(format!("/dev/pts/{number}")), EIO);
        let unlocked = 0i32;
        syscall!(SYS_ioctl, &master, libc::TIOCSPTLCK, &raw const unlocked).expect("TIOCSPTLCK");
        let path = abi::world::c(&format!("/dev/pts/{number}"));
        assert!(syscall!(SYS_open, path.as_c_str(), libc::O_RDWR | libc::O_NOCTTY).is_ok());
        drop(master);
        wait_until("the name is gone", || !abi::world::exists(&format!("/dev/pts/{number}")));
    });
}

#[test]
fn orphaned_groups_that_are_stopped_are_hung_up_and_continued() {
    in_child(|| {
        syscall!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).expect("prctl");
        let words = shared_words();
        spawn(|| {
            // Its parent is the last link of the member's group to their session.
            syscall!(SYS_setsid).expect("setsid");
            let member = syscall!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0).expect("clone");
            if member == 0 {
                syscall!(SYS_setpgid, 0, 0).expect("setpgid");
                words[0].store(pid() as u32, SeqCst);
                signal::raise(libc::SIGSTOP);
                abi::child::exit_now(1);
            }
            wait_until("it stopped", || abi::child::state_of(member as i32) == Some('T'));
        })
        .join();
        let member = words[0].load(SeqCst) as i32;
        assert_eq!(abi::child::wait_end(member), Status::Killed(SIGHUP));
    });
}

#[test]
fn readers_of_a_terminal_sleep_and_are_interrupted() {
    in_child(|| {
        let pty = Pty::open();
        let words = shared_words();
        let child = spawn(|| {
            signal::catch(libc::SIGUSR1, 0);
            words[0].store(1, SeqCst);
            assert_errno!(receive(&pty.slave), EINTR);
        });
        wait_until("it started", || words[0].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        signal::send(child.pid(), libc::SIGUSR1);
        child.join();
    });
}
