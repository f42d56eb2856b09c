//! Threads of one process and what they wait on: clone with CLONE_THREAD, TLS, futexes, robust lists, scheduling calls.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::time::{Duration, Instant};

use abi::child::{wait_until, wait_until_asleep};
use abi::{Outcome, assert_errno, in_child, shared_words, signal, spawn, syscall};

const PRIVATE: i32 = libc::FUTEX_PRIVATE_FLAG;

fn wait_on(word: &AtomicU32, expected: u32, private: i32) -> Outcome {
    syscall!(SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | private, expected, 0usize)
}

fn wake(word: &AtomicU32, count: i32, private: i32) -> Outcome {
    syscall!(SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | private, count)
}

fn thread_id() -> i32 {
    syscall!(SYS_gettid).expect("gettid") as i32
}

/// Wakes `word` until `expected` waiters were woken in all.
fn wake_until(word: &AtomicU32, expected: usize, private: i32) {
    let mut woken = 0;
    wait_until("all waiters are woken", || {
        woken += wake(word, 1, private).expect("wake");
        woken == expected
    });
}

#[test]
fn threads_share_the_process_id_and_have_ids_of_their_own() {
    in_child(|| {
        let pid = syscall!(SYS_getpid);
        assert_eq!(syscall!(SYS_gettid), pid, "the first thread's id is the process id");
        let other = std::thread::spawn(|| (syscall!(SYS_getpid), syscall!(SYS_gettid))).join().expect("a thread");
        assert_eq!(other.0, pid);
        assert_ne!(other.1, pid);
    });
}

#[test]
fn threads_share_descriptors_memory_and_working_directory() {
    in_child(|| {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                syscall!(SYS_dup3, 0, 90, 0).expect("dup3");
                std::env::set_current_dir("/proc").expect("chdir");
                word.store(5, SeqCst);
            });
        });
        assert_eq!(word.load(SeqCst), 5);
        assert!(syscall!(SYS_close, 90).is_ok());
        assert_eq!(std::env::current_dir().expect("cwd").to_str(), Some("/proc"));
    });
}

#[test]
fn each_thread_has_thread_local_storage_of_its_own() {
    thread_local!(static VALUE: std::cell::Cell<usize> = const { std::cell::Cell::new(1) });
    in_child(|| {
        let address = || VALUE.with(|value| std::ptr::from_ref(value) as usize);
        let addresses: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|number| {
                    scope.spawn(move || {
                        assert_eq!(VALUE.get(), 1);
                        VALUE.set(number);
                        for _ in 0..20 {
                            std::thread::yield_now();
                            assert_eq!(VALUE.get(), number);
                        }
                        address()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
        });
        assert!(!addresses.contains(&address()));
        assert_eq!(VALUE.get(), 1);
    });
}

#[test]
fn arch_prctl_tells_the_fs_base_and_refuses_kernel_addresses() {
    in_child(|| {
        let mut base = 0usize;
        const ARCH_SET_GS: i32 = 0x1001;
        const ARCH_SET_FS: i32 = 0x1002;
        const ARCH_GET_FS: i32 = 0x1003;
        const ARCH_GET_GS: i32 = 0x1004;
        syscall!(SYS_arch_prctl, ARCH_GET_FS, &raw mut base).expect("ARCH_GET_FS");
        // The x86-64 psABI keeps a pointer to itself at the thread pointer.
        // SAFETY: the thread control block is readable.
        assert_eq!(unsafe { std::ptr::read_volatile(base as *const usize) }, base);
        syscall!(SYS_arch_prctl, ARCH_SET_GS, 0x1234_5000usize).expect("ARCH_SET_GS");
        syscall!(SYS_arch_prctl, ARCH_GET_GS, &raw mut base).expect("ARCH_GET_GS");
        assert_eq!(base, 0x1234_5000);
        assert_errno!(syscall!(SYS_arch_prctl, ARCH_SET_FS, usize::MAX), EPERM);
        assert_errno!(syscall!(SYS_arch_prctl, 0x9999, 0), EINVAL);
    });
}

#[test]
fn futex_wait_returns_eagain_when_the_word_differs() {
    let word = AtomicU32::new(3);
    assert_errno!(wait_on(&word, 4, PRIVATE), EAGAIN);
    assert_errno!(wait_on(&word, 4, 0), EAGAIN);
}

#[test]
fn futex_wake_wakes_as_many_as_asked() {
    in_child(|| {
        let (word, woken) = (AtomicU32::new(0), AtomicU32::new(0));
        let threads: Vec<AtomicU32> = (0..4).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in &threads {
                let (word, woken) = (&word, &woken);
                scope.spawn(move || {
                    thread.store(thread_id() as u32, SeqCst);
                    wait_on(word, 0, PRIVATE).expect("wait");
                    woken.fetch_add(1, SeqCst);
                });
            }
            for thread in &threads {
                wait_until("it started", || thread.load(SeqCst) != 0);
                wait_until_asleep(thread.load(SeqCst) as i32);
            }
            assert_eq!(wake(&word, 1, PRIVATE), Ok(1));
            wait_until("one was woken", || woken.load(SeqCst) == 1);
            assert_eq!(wake(&word, i32::MAX, PRIVATE), Ok(3));
            wait_until("all were woken", || woken.load(SeqCst) == 4);
            assert_eq!(wake(&word, 1, PRIVATE), Ok(0));
        });
    });
}

#[test]
fn shared_futexes_work_between_processes() {
    in_child(|| {
        let words = shared_words();
        let child = spawn(|| {
            wait_on(&words[0], 0, 0).expect("wait");
            words[1].store(1, SeqCst);
        });
        wait_until_asleep(child.pid());
        assert_eq!(wake(&words[0], 1, 0), Ok(1));
        child.join();
        assert_eq!(words[1].load(SeqCst), 1);
    });
}

#[test]
fn a_futex_in_a_file_mapping_is_one_futex_at_different_addresses() {
    in_child(|| {
        let file = rustix::fs::memfd_create("futex", rustix::fs::MemfdFlags::empty()).expect("memfd");
        rustix::fs::ftruncate(&file, 4096).expect("ftruncate");
        let here = abi::Pages::of_file(&file, 1);
        let child = spawn(|| {
            let there = abi::Pages::of_file(&file, 1);
            assert_ne!(there.address(), here.address());
            // SAFETY: a shared mapping of zeroes; atomics may be shared.
            let word = unsafe { &*(there.address() as *const AtomicU32) };
            wait_on(word, 0, 0).expect("wait");
        });
        // SAFETY: as above.
        let word = unsafe { &*(here.address() as *const AtomicU32) };
        wait_until_asleep(child.pid());
        wake_until(word, 1, 0);
        child.join();
    });
}

#[test]
fn futex_timeouts_are_relative_for_wait_and_absolute_for_bitset() {
    in_child(|| {
        let word = AtomicU32::new(0);
        let start = Instant::now();
        let timeout = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let result = syscall!(SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | PRIVATE, 0, &raw const timeout);
        assert_errno!(result, ETIMEDOUT);
        assert!(start.elapsed() >= Duration::from_millis(20));
        let mut deadline = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        syscall!(SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut deadline).expect("clock_gettime");
        deadline.tv_nsec += 20_000_000;
        if deadline.tv_nsec >= 1_000_000_000 {
            deadline.tv_sec += 1;
            deadline.tv_nsec -= 1_000_000_000;
        }
        let bitset_wait = libc::FUTEX_WAIT_BITSET | PRIVATE;
        let start = Instant::now();
        assert_errno!(syscall!(SYS_futex, word.as_ptr(), bitset_wait, 0, &raw const deadline, 0usize, u32::MAX), ETIMEDOUT);
        assert!(start.elapsed() >= Duration::from_millis(15));
        let past = libc::timespec { tv_sec: 0, tv_nsec: 1 };
        assert_errno!(syscall!(SYS_futex, word.as_ptr(), bitset_wait, 0, &raw const past, 0usize, u32::MAX), ETIMEDOUT);
    });
}

#[test]
fn futex_bitsets_choose_whom_to_wake() {
    in_child(|| {
        let (word, woken) = (AtomicU32::new(0), AtomicU32::new(0));
        let threads = [AtomicU32::new(0), AtomicU32::new(0)];
        std::thread::scope(|scope| {
            for (index, thread) in threads.iter().enumerate() {
                let (word, woken) = (&word, &woken);
                scope.spawn(move || {
                    thread.store(thread_id() as u32, SeqCst);
                    let bits = 1u32 << index;
                    let operation = libc::FUTEX_WAIT_BITSET | PRIVATE;
                    syscall!(SYS_futex, word.as_ptr(), operation, 0, 0usize, 0usize, bits).expect("wait");
                    woken.fetch_or(bits, SeqCst);
                });
            }
            for thread in &threads {
                wait_until("it started", || thread.load(SeqCst) != 0);
                wait_until_asleep(thread.load(SeqCst) as i32);
            }
            let wake = |bits: u32| syscall!(SYS_futex, word.as_ptr(), libc::FUTEX_WAKE_BITSET | PRIVATE, i32::MAX, 0usize, 0usize, bits);
            assert_eq!(wake(4), Ok(0));
            assert_eq!(wake(2), Ok(1));
            wait_until("the second was woken", || woken.load(SeqCst) == 2);
            assert_eq!(wake(3), Ok(1));
            wait_until("both were woken", || woken.load(SeqCst) == 3);
            assert_errno!(wake(0), EINVAL);
        });
    });
}

#[test]
fn futex_requeue_moves_waiters_to_another_word() {
    in_child(|| {
        let (first, second, woken) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let ids = [AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0)];
        std::thread::scope(|scope| {
            for id in &ids {
                let (first, woken) = (&first, &woken);
                scope.spawn(move || {
                    id.store(thread_id() as u32, SeqCst);
                    wait_on(first, 0, PRIVATE).expect("wait");
                    woken.fetch_add(1, SeqCst);
                });
            }
            for id in &ids {
                wait_until("it started", || id.load(SeqCst) != 0);
                wait_until_asleep(id.load(SeqCst) as i32);
            }
            let requeue = |expected: u32| {
                let operation = libc::FUTEX_CMP_REQUEUE | PRIVATE;
                syscall!(SYS_futex, first.as_ptr(), operation, 1, 1usize, second.as_ptr(), expected)
            };
            assert_errno!(requeue(9), EAGAIN);
            assert_eq!(requeue(0), Ok(2), "one woken and one moved");
            wait_until("one was woken", || woken.load(SeqCst) == 1);
            assert_eq!(wake(&second, 9, PRIVATE), Ok(1));
            assert_eq!(wake(&first, 9, PRIVATE), Ok(1));
            wait_until("all were woken", || woken.load(SeqCst) == 3);
        });
    });
}

#[test]
fn futex_refuses_bad_words_and_operations() {
    in_child(|| {
        let words = [0u32; 2];
        let misaligned = words.as_ptr() as usize + 1;
        assert_errno!(syscall!(SYS_futex, misaligned, libc::FUTEX_WAIT, 0, 0usize), EINVAL);
        assert_errno!(syscall!(SYS_futex, 0x1000usize, libc::FUTEX_WAIT, 0, 0usize), EFAULT);
        assert_errno!(syscall!(SYS_futex, 0xffff_8000_0000_0000usize, libc::FUTEX_WAIT, 0, 0usize), EFAULT);
        assert_errno!(syscall!(SYS_futex, words.as_ptr(), 99, 0, 0usize), ENOSYS);
        let timeout = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
        assert_errno!(syscall!(SYS_futex, words.as_ptr(), libc::FUTEX_WAIT, 0, &raw const timeout), EINVAL);
        assert_errno!(syscall!(SYS_futex, words.as_ptr(), libc::FUTEX_WAIT, 0, 0x1000usize), EFAULT);
    });
}

#[test]
fn a_signal_interrupts_a_futex_wait() {
    in_child(|| {
        let words = shared_words();
        let child = spawn(|| {
            signal::catch(libc::SIGUSR1, 0);
            words[1].store(1, SeqCst);
            assert_errno!(wait_on(&words[0], 0, 0), EINTR);
        });
        wait_until("it is ready", || words[1].load(SeqCst) == 1);
        wait_until_asleep(child.pid());
        signal::send(child.pid(), libc::SIGUSR1);
        child.join();
    });
}

#[test]
fn a_robust_futex_is_marked_when_its_owner_dies() {
    /// One lock in a robust list: the list link, then the futex word.
    #[repr(C)]
    struct Lock {
        next: usize,
        word: AtomicU32,
    }
    in_child(|| {
        let page = abi::Pages::shared(1);
        let lock_address = page.address() + 64;
        // SAFETY: inside the page; atomics may be shared between processes.
        let word = unsafe { &(*(lock_address as *const Lock)).word };
        spawn(|| {
            // The list head: first entry, offset of the word from the link, pending operation.
            let head = page.address() as *mut [usize; 3];
            // SAFETY: both lie inside the page and no reference points to them.
            unsafe {
                head.write([lock_address, size_of::<usize>(), 0]);
                (*(lock_address as *mut Lock)).next = head as usize;
            }
            syscall!(SYS_set_robust_list, head, 24).expect("set_robust_list");
            word.store(thread_id() as u32, SeqCst);
        })
        .join();
        const OWNER_DIED: u32 = 0x4000_0000;
        assert_eq!(word.load(SeqCst) & OWNER_DIED, OWNER_DIED);
        assert_eq!(word.load(SeqCst) & 0x3fff_ffff, 0, "the owner's id is gone");
        assert_errno!(syscall!(SYS_set_robust_list, page.address(), 23), EINVAL);
    });
}

#[test]
fn the_clear_tid_word_is_zeroed_and_woken_at_exit() {
    in_child(|| {
        let words = shared_words();
        words[0].store(77, SeqCst);
        // Ends without the C library's knowledge, so it is never joined.
        drop(std::thread::spawn(|| {
            assert_eq!(syscall!(SYS_set_tid_address, words[0].as_ptr()), Ok(thread_id() as usize));
            words[1].store(thread_id() as u32, SeqCst);
            wait_until("the other says so", || words[2].load(SeqCst) == 1);
            let _ = syscall!(SYS_exit, 0);
        }));
        wait_until("it started", || words[1].load(SeqCst) != 0);
        words[2].store(1, SeqCst);
        while words[0].load(SeqCst) == 77 {
            let _ = wait_on(&words[0], 77, 0);
        }
        assert_eq!(words[0].load(SeqCst), 0);
        let thread = words[1].load(SeqCst);
        wait_until("the thread is gone", || !std::path::Path::new(&format!("/proc/self/task/{thread}")).exists());
    });
}

#[test]
fn many_threads_count_under_one_lock() {
    in_child(|| {
        let total = std::sync::Mutex::new(0);
        let peak = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mut total = total.lock().expect("lock");
                        *total += 1;
                        peak.fetch_max(*total, SeqCst);
                        std::thread::yield_now();
                    }
                });
            }
        });
        assert_eq!(*total.lock().expect("lock"), 600);
        assert_eq!(peak.load(SeqCst), 600);
    });
}

#[test]
fn condition_variables_with_timeouts_end() {
    in_child(|| {
        let lock = std::sync::Mutex::new(());
        let condition = std::sync::Condvar::new();
        let guard = lock.lock().expect("lock");
        let start = Instant::now();
        let (_guard, result) = condition.wait_timeout(guard, Duration::from_millis(15)).expect("wait");
        assert!(result.timed_out() || start.elapsed() < Duration::from_millis(15));
    });
}

#[test]
fn user_mode_is_preempted() {
    in_child(|| {
        let words = shared_words();
        let spinners: Vec<_> = (0..3)
            .map(|index| {
                spawn(move || {
                    // No system call in here: only the timer can take the processor away.
                    while words[9].load(SeqCst) == 0 {
                        words[index].fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        wait_until("all of them ran", || (0..3).all(|index| words[index].load(SeqCst) > 1000));
        words[9].store(1, SeqCst);
        spinners.into_iter().for_each(abi::Child::join);
    });
}

#[test]
fn scheduling_calls_answer_as_go_and_glibc_expect() {
    in_child(|| {
        let mut cpus = [0u64; 16];
        let len_bytes = syscall!(SYS_sched_getaffinity, 0, 128, cpus.as_mut_ptr()).expect("sched_getaffinity");
        assert!(len_bytes >= 8 && len_bytes.is_multiple_of(8));
        assert!(cpus[0] != 0);
        syscall!(SYS_sched_setaffinity, 0, 8, cpus.as_ptr()).expect("sched_setaffinity");
        let none = 0u64;
        assert_errno!(syscall!(SYS_sched_setaffinity, 0, 8, &raw const none), EINVAL);
        assert_errno!(syscall!(SYS_sched_getaffinity, 0, 3, cpus.as_mut_ptr()), EINVAL);
        assert_errno!(syscall!(SYS_sched_getaffinity, 0x3fff_fff0, 128, cpus.as_mut_ptr()), ESRCH);
        assert_eq!(syscall!(SYS_sched_getscheduler, 0), Ok(0), "SCHED_OTHER");
        assert_eq!(syscall!(SYS_sched_get_priority_max, libc::SCHED_FIFO), Ok(99));
        assert_eq!(syscall!(SYS_sched_get_priority_min, libc::SCHED_OTHER), Ok(0));
        assert_errno!(syscall!(SYS_sched_get_priority_max, 99), EINVAL);
        assert_eq!(syscall!(SYS_sched_yield), Ok(0));
        let mut cpu = u32::MAX;
        syscall!(SYS_getcpu, &raw mut cpu, 0usize, 0usize).expect("getcpu");
        assert!(cpus[cpu as usize / 64] & (1 << (cpu % 64)) != 0);
    });
}

#[test]
fn nice_values_are_kept_and_inherited() {
    in_child(|| {
        // The system call returns 20 - nice.
        assert_eq!(syscall!(SYS_getpriority, libc::PRIO_PROCESS, 0), Ok(20));
        syscall!(SYS_setpriority, libc::PRIO_PROCESS, 0, 5).expect("setpriority");
        assert_eq!(syscall!(SYS_getpriority, libc::PRIO_PROCESS, 0), Ok(15));
        spawn(|| assert_eq!(syscall!(SYS_getpriority, libc::PRIO_PROCESS, 0), Ok(15))).join();
        syscall!(SYS_setpriority, libc::PRIO_PROCESS, 0, 100).expect("setpriority");
        assert_eq!(syscall!(SYS_getpriority, libc::PRIO_PROCESS, 0), Ok(1), "cut to 19");
        assert_errno!(syscall!(SYS_getpriority, 9, 0), EINVAL);
        assert_errno!(syscall!(SYS_getpriority, libc::PRIO_PROCESS, 0x3fff_fff0), ESRCH);
    });
}

#[test]
fn credentials_are_each_threads_own() {
    in_child(|| {
        std::thread::spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_eq!(syscall!(SYS_getuid), Ok(1000));
        })
        .join()
        .expect("a thread");
        assert_eq!(syscall!(SYS_getuid), Ok(0));
    });
}
