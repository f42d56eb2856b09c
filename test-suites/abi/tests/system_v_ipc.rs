//! System V: shared memory, semaphores and message queues (sysvipc(7)). Each test has an ipc namespace of its own.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use abi::child::wait_until_asleep;
use abi::memory::PAGE;
use abi::namespace::{become_user, in_ipc_namespace, unshare};
use abi::world::{read, write};
use abi::{Outcome, assert_errno, signal, spawn, syscall};
use libc::{IPC_CREAT, IPC_EXCL, IPC_NOWAIT, IPC_PRIVATE, IPC_RMID, IPC_SET, IPC_STAT, SEM_UNDO, SIGUSR1};

const SHM_RDONLY: i32 = 0o10000;
const SHM_RND: i32 = 0o20000;
const SHM_REMAP: i32 = 0o40000;
const GETPID: i32 = 11;
const GETVAL: i32 = 12;
const GETALL: i32 = 13;
const GETNCNT: i32 = 14;
const GETZCNT: i32 = 15;
const SETVAL: i32 = 16;
const SETALL: i32 = 17;
const MSG_NOERROR: i32 = 0o10000;
const MSG_EXCEPT: i32 = 0o20000;
const MSG_COPY: i32 = 0o40000;

/// A structure of IPC_STAT as words of 32 bits: `ipc_perm` is the first twelve.
type Status = [u32; 32];

fn word(status: &Status, offset: usize) -> u64 {
    u64::from(status[offset / 4]) | u64::from(status[offset / 4 + 1]) << 32
}

fn shmget(key: i32, size: usize, flags: i32) -> Outcome<i32> {
    syscall!(SYS_shmget, key, size, flags).map(|id| id as i32)
}

fn shmat(id: i32, address: usize, flags: i32) -> Outcome {
    syscall!(SYS_shmat, id, address, flags)
}

fn shmdt(address: usize) -> Outcome {
    syscall!(SYS_shmdt, address)
}

fn shm_status(id: i32) -> Status {
    let mut status = Status::default();
    syscall!(SYS_shmctl, id, IPC_STAT, &raw mut status).expect("IPC_STAT");
    status
}

fn shm_remove(id: i32) -> Outcome {
    syscall!(SYS_shmctl, id, IPC_RMID, 0usize)
}

fn attachments(id: i32) -> u64 {
    word(&shm_status(id), 88)
}

/// The word at the beginning of a segment.
fn at(address: usize) -> &'static AtomicU32 {
    // SAFETY: the tests pass addresses of segments that stay attached while the word is used.
    unsafe { &*(address as *const AtomicU32) }
}

fn semget(key: i32, size: i32, flags: i32) -> Outcome<i32> {
    syscall!(SYS_semget, key, size, flags).map(|id| id as i32)
}

/// Semaphores of its own, with these values.
fn semaphores(values: &[u16]) -> i32 {
    let id = semget(IPC_PRIVATE, values.len() as i32, 0o600).expect("semget");
    syscall!(SYS_semctl, id, 0, SETALL, values.as_ptr()).expect("SETALL");
    id
}

fn values<const N: usize>(id: i32) -> [u16; N] {
    let mut values = [0; N];
    syscall!(SYS_semctl, id, 0, GETALL, values.as_mut_ptr()).expect("GETALL");
    values
}

fn semctl(id: i32, number: i32, command: i32, argument: usize) -> Outcome {
    syscall!(SYS_semctl, id, number, command, argument)
}

/// Operations: number, change, flags.
fn semop(id: i32, operations: &[(u16, i16, i32)]) -> Outcome {
    let raw: Vec<[u16; 3]> = operations.iter().map(|(number, change, flags)| [*number, *change as u16, *flags as u16]).collect();
    syscall!(SYS_semop, id, raw.as_ptr(), raw.len())
}

fn msgget(key: i32, flags: i32) -> Outcome<i32> {
    syscall!(SYS_msgget, key, flags).map(|id| id as i32)
}

fn msgsnd(id: i32, kind: i64, text: &str, flags: i32) -> Outcome {
    let message = [&kind.to_ne_bytes()[..], text.as_bytes()].concat();
    syscall!(SYS_msgsnd, id, message.as_ptr(), text.len(), flags)
}

fn msgrcv(id: i32, len: usize, kind: i64, flags: i32) -> Outcome<(i64, String)> {
    let mut message = [0u8; 128];
    let len = syscall!(SYS_msgrcv, id, message.as_mut_ptr(), len, kind, flags)?;
    let (kind, text) = message.split_first_chunk::<8>().expect("room");
    Ok((i64::from_ne_bytes(*kind), String::from_utf8_lossy(&text[..len]).into_owned()))
}

fn message(kind: i64, text: &str) -> Outcome<(i64, String)> {
    Ok((kind, text.to_owned()))
}

#[test]
fn sysv_keys_find_what_is_there() {
    in_ipc_namespace(|| {
        assert_errno!(shmget(7, 100, 0o600), ENOENT);
        let id = shmget(7, 100, IPC_CREAT | 0o600).expect("shmget");
        assert_eq!(shmget(7, 100, 0), Ok(id));
        assert_eq!(shmget(7, 0, IPC_CREAT | 0o600), Ok(id));
        assert_errno!(shmget(7, 100, IPC_CREAT | IPC_EXCL | 0o600), EEXIST);
        assert_errno!(shmget(7, 5000, 0), EINVAL);
        assert_errno!(shmget(8, 0, IPC_CREAT | 0o600), EINVAL);
        // Nobody finds a private one.
        assert_ne!(shmget(IPC_PRIVATE, 100, 0o600), shmget(IPC_PRIVATE, 100, 0o600));
        // The kinds have keys of their own.
        assert_errno!(semget(7, 1, 0), ENOENT);
        assert_errno!(msgget(7, 0), ENOENT);
        unshare(libc::CLONE_NEWIPC).expect("an ipc namespace");
        assert_errno!(shmget(7, 100, 0), ENOENT);
        assert_errno!(shmat(id, 0, 0), EINVAL);
    });
}

#[test]
fn sysv_ids_are_not_used_again_soon() {
    in_ipc_namespace(|| {
        let first = msgget(IPC_PRIVATE, 0o600).expect("msgget");
        syscall!(SYS_msgctl, first, IPC_RMID, 0usize).expect("IPC_RMID");
        let second = msgget(IPC_PRIVATE, 0o600).expect("msgget");
        assert_ne!(first, second);
        assert_errno!(syscall!(SYS_msgctl, first, IPC_RMID, 0usize), EINVAL);
        assert_errno!(syscall!(SYS_msgctl, -1, IPC_RMID, 0usize), EINVAL);
    });
}

#[test]
fn sysv_permissions_are_those_of_owner_group_and_others() {
    in_ipc_namespace(|| {
        let mine = shmget(1, 100, IPC_CREAT | 0o600).expect("shmget");
        let readable = shmget(2, 100, IPC_CREAT | 0o644).expect("shmget");
        let queue = msgget(3, IPC_CREAT | 0o622).expect("msgget");
        spawn(|| {
            become_user(1000);
            assert_errno!(shmget(1, 100, 0o400), EACCES);
            assert_eq!(shmget(1, 100, 0), Ok(mine));
            assert_errno!(shmat(mine, 0, SHM_RDONLY), EACCES);
            assert_errno!(shmat(readable, 0, 0), EACCES);
            shmat(readable, 0, SHM_RDONLY).expect("shmat");
            assert_errno!(shm_remove(readable), EPERM);
            msgsnd(queue, 1, "a", 0).expect("msgsnd");
            assert_errno!(msgrcv(queue, 10, 0, IPC_NOWAIT), EACCES);
            let mut status = Status::default();
            assert_errno!(syscall!(SYS_msgctl, queue, IPC_STAT, &raw mut status), EACCES);
        })
        .join();
        // IPC_SET gives it away.
        let mut status = shm_status(mine);
        (status[1], status[2], status[5]) = (1000, 1000, 0o640);
        syscall!(SYS_shmctl, mine, IPC_SET, &raw const status).expect("IPC_SET");
        spawn(|| {
            become_user(1000);
            shmat(mine, 0, 0).expect("shmat");
            let status = shm_status(mine);
            // Key, owner and group, maker and its group, permissions.
            assert_eq!(status[..6], [1, 1000, 1000, 0, 0, 0o640]);
            shm_remove(mine).expect("IPC_RMID");
        })
        .join();
    });
}

#[test]
fn shm_is_seen_by_all_who_attach_it() {
    in_ipc_namespace(|| {
        let id = shmget(IPC_PRIVATE, 3 * PAGE + 1, 0o600).expect("shmget");
        let address = shmat(id, 0, 0).expect("shmat");
        at(address).store(7, SeqCst);
        at(address + 3 * PAGE).store(8, SeqCst);
        spawn(|| {
            let again = shmat(id, 0, 0).expect("shmat");
            assert_ne!(again, address);
            assert_eq!((at(again).load(SeqCst), at(again + 3 * PAGE).load(SeqCst)), (7, 8));
            at(again).store(9, SeqCst);
        })
        .join();
        assert_eq!(at(address).load(SeqCst), 9);
        let status = shm_status(id);
        assert_eq!(word(&status, 48), 3 * PAGE as u64 + 1);
        assert_eq!(status[20], std::process::id());
        assert!(word(&status, 56) > 0 && word(&status, 72) > 0);
    });
}

#[test]
fn shm_counts_attachments_over_fork_exec_and_detach() {
    in_ipc_namespace(|| {
        let id = shmget(IPC_PRIVATE, PAGE, 0o600).expect("shmget");
        assert_eq!(attachments(id), 0);
        let [first, second] = [shmat(id, 0, 0).expect("shmat"), shmat(id, 0, SHM_RDONLY).expect("shmat")];
        assert_eq!(attachments(id), 2);
        spawn(|| {
            assert_eq!(attachments(id), 4);
            shmdt(first).expect("shmdt");
            assert_eq!(attachments(id), 3);
        })
        .join();
        assert_eq!(attachments(id), 2);
        shmdt(first).expect("shmdt");
        assert_errno!(shmdt(first), EINVAL);
        assert_errno!(shmdt(second + 1), EINVAL);
        assert_eq!(attachments(id), 1);
        // An unmapped part is no attachment any more.
        syscall!(SYS_munmap, second, PAGE).expect("munmap");
        assert_eq!(attachments(id), 0);
    });
}

#[test]
fn shm_goes_with_its_last_attachment_once_it_is_removed() {
    in_ipc_namespace(|| {
        let id = shmget(5, PAGE, IPC_CREAT | 0o600).expect("shmget");
        let address = shmat(id, 0, 0).expect("shmat");
        shm_remove(id).expect("IPC_RMID");
        // It has no key any more; SHM_DEST is in its mode.
        assert_errno!(shmget(5, PAGE, 0), ENOENT);
        let status = shm_status(id);
        assert_eq!((status[0], status[5]), (0, 0o1600));
        at(address).store(1, SeqCst);
        spawn(|| assert_eq!(at(shmat(id, 0, 0).expect("shmat")).load(SeqCst), 1)).join();
        shmdt(address).expect("shmdt");
        assert_errno!(shmat(id, 0, 0), EINVAL);
        // At once, if nobody has it.
        let id = shmget(5, PAGE, IPC_CREAT | 0o600).expect("shmget");
        shm_remove(id).expect("IPC_RMID");
        assert_errno!(shmat(id, 0, 0), EINVAL);
        // And with the end of a process.
        let id = shmget(5, PAGE, IPC_CREAT | 0o600).expect("shmget");
        spawn(|| {
            shmat(id, 0, 0).expect("shmat");
            shm_remove(id).expect("IPC_RMID");
        })
        .join();
        assert_errno!(shmat(id, 0, 0), EINVAL);
    });
}

#[test]
fn shm_addresses_are_rounded_and_taken_only_when_asked() {
    in_ipc_namespace(|| {
        let id = shmget(IPC_PRIVATE, 2 * PAGE, 0o600).expect("shmget");
        let address = shmat(id, 0, 0).expect("shmat");
        shmdt(address).expect("shmdt");
        assert_errno!(shmat(id, address + 5, 0), EINVAL);
        assert_eq!(shmat(id, address + 5, SHM_RND), Ok(address));
        assert_errno!(shmat(id, address + PAGE, 0), EINVAL);
        assert_eq!(shmat(id, address + PAGE, SHM_REMAP), Ok(address + PAGE));
        assert_errno!(shmat(id, 0, SHM_REMAP), EINVAL);
        at(address).store(1, SeqCst);
        assert_eq!(at(address + PAGE).load(SeqCst), 1);
        // What is left of the first goes alone.
        shmdt(address).expect("shmdt");
        assert_eq!(at(address + PAGE).load(SeqCst), 1);
        assert_eq!(attachments(id), 1);
    });
}

#[test]
fn shm_read_only_attachments_cannot_be_written() {
    in_ipc_namespace(|| {
        let id = shmget(IPC_PRIVATE, PAGE, 0o600).expect("shmget");
        let address = shmat(id, 0, SHM_RDONLY).expect("shmat");
        let writer = spawn(|| at(address).store(1, SeqCst));
        assert_eq!(writer.status(), abi::Status::Killed(libc::SIGSEGV));
        assert_errno!(syscall!(SYS_mprotect, address, PAGE, libc::PROT_READ | libc::PROT_WRITE), EACCES);
    });
}

#[test]
fn shm_is_named_in_maps_and_listed_in_proc() {
    in_ipc_namespace(|| {
        let id = shmget(0x1234, 2 * PAGE, IPC_CREAT | 0o640).expect("shmget");
        let address = shmat(id, 0, 0).expect("shmat");
        let maps = read("/proc/self/maps");
        let line = maps.lines().find(|line| line.starts_with(&format!("{address:x}-"))).expect("a line");
        assert!(line.contains(" rw-s ") && line.ends_with("/SYSV00001234 (deleted)"), "{line}");
        let table = read("/proc/sysvipc/shm");
        let fields: Vec<&str> = table.lines().nth(1).expect("a segment").split_whitespace().collect();
        let pid = std::process::id().to_string();
        assert_eq!(fields[..7], ["4660", &id.to_string(), "640", "8192", &pid, &pid, "1"]);
        let header: Vec<&str> = table.lines().next().expect("a header").split_whitespace().collect();
        assert_eq!((fields.len(), header.len()), (16, 16));
    });
}

#[test]
fn shm_limits_hold() {
    in_ipc_namespace(|| {
        write("/proc/sys/kernel/shmmax", "8192");
        assert_errno!(shmget(1, 8193, IPC_CREAT | 0o600), EINVAL);
        write("/proc/sys/kernel/shmall", "3");
        shmget(1, 8192, IPC_CREAT | 0o600).expect("shmget");
        assert_errno!(shmget(2, 8192, IPC_CREAT | 0o600), ENOSPC);
        write("/proc/sys/kernel/shmmni", "2");
        shmget(2, 1, IPC_CREAT | 0o600).expect("shmget");
        write("/proc/sys/kernel/shmall", "300");
        assert_errno!(shmget(3, 1, IPC_CREAT | 0o600), ENOSPC);
        let mut limits = [0u64; 9];
        assert_eq!(syscall!(SYS_shmctl, 0, 3, limits.as_mut_ptr()), Ok(1));
        assert_eq!(limits[..5], [8192, 1, 2, 2, 300]);
    });
}

#[test]
fn sem_operations_happen_together_or_not_at_all() {
    in_ipc_namespace(|| {
        let id = semaphores(&[3, 0, 5]);
        semop(id, &[(0, -2, 0), (1, 4, 0), (2, 0x10, 0)]).expect("semop");
        assert_eq!(values(id), [1, 4, 21]);
        assert_errno!(semop(id, &[(1, -1, 0), (0, -2, IPC_NOWAIT)]), EAGAIN);
        assert_errno!(semop(id, &[(1, 1, 0), (2, 0, IPC_NOWAIT)]), EAGAIN);
        assert_errno!(semop(id, &[(0, 1, 0), (2, 32767, 0)]), ERANGE);
        assert_eq!(values(id), [1, 4, 21]);
        // One after the other on the same.
        semop(id, &[(0, -1, 0), (0, 0, 0), (0, 9, 0)]).expect("semop");
        assert_eq!(values(id), [9, 4, 21]);
        assert_errno!(semop(id, &[(3, 1, 0)]), EFBIG);
        assert_errno!(semop(id, &[]), EINVAL);
        assert_errno!(semop(id, &vec![(0, 0, IPC_NOWAIT); 501]), E2BIG);
        assert_errno!(semop(id + 1, &[(0, 1, 0)]), EINVAL);
    });
}

#[test]
fn sem_values_are_read_and_set() {
    in_ipc_namespace(|| {
        assert_errno!(semget(1, 0, IPC_CREAT | 0o600), EINVAL);
        assert_errno!(semget(1, 32001, IPC_CREAT | 0o600), EINVAL);
        let id = semget(1, 2, IPC_CREAT | 0o600).expect("semget");
        assert_eq!(values(id), [0, 0]);
        assert_eq!(semget(1, 1, 0), Ok(id));
        assert_errno!(semget(1, 3, 0), EINVAL);
        semctl(id, 1, SETVAL, 9).expect("SETVAL");
        assert_eq!([semctl(id, 0, GETVAL, 0), semctl(id, 1, GETVAL, 0)], [Ok(0), Ok(9)]);
        assert_eq!(semctl(id, 1, GETPID, 0), Ok(std::process::id() as usize));
        assert_errno!(semctl(id, 1, SETVAL, 32768), ERANGE);
        assert_errno!(semctl(id, 1, SETVAL, usize::MAX), ERANGE);
        assert_errno!(semctl(id, 2, GETVAL, 0), EINVAL);
        assert_errno!(semctl(id, 0, SETALL, [1u16, 32768].as_ptr().addr()), ERANGE);
        let child = spawn(|| drop_count(semop(id, &[(0, 1, 0)])));
        let pid = child.pid();
        child.join();
        assert_eq!(semctl(id, 0, GETPID, 0), Ok(pid as usize));
        let mut status = Status::default();
        semctl(id, 0, IPC_STAT, (&raw mut status).addr()).expect("IPC_STAT");
        assert_eq!(word(&status, 80), 2);
        assert!(word(&status, 48) > 0);
    });
}

fn drop_count(outcome: Outcome) {
    outcome.expect("a call that goes well");
}

#[test]
fn sem_waiters_are_counted_and_go_on() {
    in_ipc_namespace(|| {
        let id = semaphores(&[0, 1]);
        let grows = spawn(|| drop_count(semop(id, &[(0, -2, 0)])));
        let zero = spawn(|| drop_count(semop(id, &[(1, 0, 0)])));
        wait_until_asleep(grows.pid());
        wait_until_asleep(zero.pid());
        assert_eq!([GETNCNT, GETZCNT].map(|command| semctl(id, 0, command, 0)), [Ok(1), Ok(0)]);
        assert_eq!([GETNCNT, GETZCNT].map(|command| semctl(id, 1, command, 0)), [Ok(0), Ok(1)]);
        semop(id, &[(0, 1, 0)]).expect("semop");
        assert_eq!(semctl(id, 0, GETNCNT, 0), Ok(1));
        semop(id, &[(0, 1, 0), (1, -1, 0)]).expect("semop");
        grows.join();
        zero.join();
        assert_eq!(values(id), [0, 0]);
        assert_eq!([semctl(id, 0, GETNCNT, 0), semctl(id, 1, GETZCNT, 0)], [Ok(0), Ok(0)]);
    });
}

#[test]
fn sem_waits_end_by_time_signal_and_removal() {
    in_ipc_namespace(|| {
        let id = semaphores(&[0]);
        let started = Instant::now();
        let timeout = libc::timespec { tv_sec: 0, tv_nsec: 150_000_000 };
        let operation = [0u16, -1i16 as u16, 0];
        assert_errno!(syscall!(SYS_semtimedop, id, operation.as_ptr(), 1, &raw const timeout), EAGAIN);
        assert!(started.elapsed() >= Duration::from_millis(150));
        let wrong = libc::timespec { tv_sec: -1, tv_nsec: 0 };
        assert_errno!(syscall!(SYS_semtimedop, id, operation.as_ptr(), 1, &raw const wrong), EINVAL);
        let interrupted = spawn(|| {
            signal::catch(SIGUSR1, libc::SA_RESTART);
            assert_errno!(semop(id, &[(0, -1, 0)]), EINTR);
        });
        wait_until_asleep(interrupted.pid());
        signal::send(interrupted.pid(), SIGUSR1);
        interrupted.join();
        let waiter = spawn(|| assert_errno!(semop(id, &[(0, -1, 0)]), EIDRM));
        wait_until_asleep(waiter.pid());
        semctl(id, 0, IPC_RMID, 0).expect("IPC_RMID");
        waiter.join();
        assert_errno!(semop(id, &[(0, 1, 0)]), EINVAL);
    });
}

#[test]
fn sem_undo_happens_at_the_end_of_a_process() {
    in_ipc_namespace(|| {
        let id = semaphores(&[5, 0]);
        spawn(|| {
            semop(id, &[(0, -4, SEM_UNDO), (1, 3, SEM_UNDO)]).expect("semop");
            semop(id, &[(0, 1, SEM_UNDO), (1, 1, 0)]).expect("semop");
            assert_eq!(values(id), [2, 4]);
            // A child has nothing to undo.
            spawn(|| ()).join();
            assert_eq!(values(id), [2, 4]);
        })
        .join();
        assert_eq!(values(id), [5, 1]);
        // Setting a value forgets what was to be undone; and nothing goes below 0.
        spawn(|| {
            semop(id, &[(0, 3, SEM_UNDO), (1, 3, SEM_UNDO)]).expect("semop");
            semctl(id, 0, SETVAL, 1).expect("SETVAL");
            semop(id, &[(1, -3, 0)]).expect("semop");
        })
        .join();
        assert_eq!(values(id), [1, 0]);
    });
}

#[test]
fn sem_undo_wakes_who_waits() {
    in_ipc_namespace(|| {
        let id = semaphores(&[1]);
        let holder = spawn(|| {
            semop(id, &[(0, -1, SEM_UNDO)]).expect("semop");
            syscall!(SYS_pause).unwrap_or_default();
        });
        wait_until_asleep(holder.pid());
        let waiter = spawn(|| drop_count(semop(id, &[(0, -1, 0)])));
        wait_until_asleep(waiter.pid());
        signal::send(holder.pid(), libc::SIGKILL);
        waiter.join();
        assert_eq!(holder.status(), abi::Status::Killed(libc::SIGKILL));
    });
}

#[test]
fn msg_types_choose_what_is_received() {
    in_ipc_namespace(|| {
        let id = msgget(IPC_PRIVATE, 0o600).expect("msgget");
        for (kind, text) in [(5, "a"), (3, "b"), (5, "c"), (9, "d"), (3, "e"), (4, "")] {
            msgsnd(id, kind, text, 0).expect("msgsnd");
        }
        assert_eq!(msgrcv(id, 10, 5, 0), message(5, "a"));
        assert_eq!(msgrcv(id, 10, -4, 0), message(3, "b"));
        assert_eq!(msgrcv(id, 10, 5, MSG_EXCEPT), message(9, "d"));
        assert_eq!(msgrcv(id, 10, 1, MSG_COPY | IPC_NOWAIT), message(3, "e"));
        assert_eq!(msgrcv(id, 10, 0, 0), message(5, "c"));
        assert_eq!(msgrcv(id, 10, 0, 0), message(3, "e"));
        assert_errno!(msgrcv(id, 10, 8, IPC_NOWAIT), ENOMSG);
        assert_errno!(msgrcv(id, 10, 7, MSG_COPY | IPC_NOWAIT), ENOMSG);
        assert_errno!(msgrcv(id, 10, 0, MSG_COPY), EINVAL);
        assert_eq!(msgrcv(id, 0, 0, 0), message(4, ""));
    });
}

#[test]
fn msg_lengths_are_checked() {
    in_ipc_namespace(|| {
        let id = msgget(IPC_PRIVATE, 0o600).expect("msgget");
        for (kind, len) in [(0, 1), (-1, 1), (1, 8193)] {
            assert_errno!(msgsnd(id, kind, &"x".repeat(len), 0), EINVAL);
        }
        msgsnd(id, 1, "long enough", 0).expect("msgsnd");
        assert_errno!(msgrcv(id, 4, 0, 0), E2BIG);
        assert_eq!(msgrcv(id, 4, 0, MSG_NOERROR), message(1, "long"));
        assert_errno!(msgrcv(id, 4, 0, IPC_NOWAIT), ENOMSG);
        assert_errno!(syscall!(SYS_msgsnd, id, 8usize, 4, 0), EFAULT);
    });
}

#[test]
fn msg_full_and_empty_queues_block() {
    in_ipc_namespace(|| {
        let id = msgget(IPC_PRIVATE, 0o600).expect("msgget");
        let mut status = Status::default();
        syscall!(SYS_msgctl, id, IPC_STAT, &raw mut status).expect("IPC_STAT");
        assert_eq!(word(&status, 88), 16384);
        // Four bytes fit into it from now on.
        status[22] = 4;
        syscall!(SYS_msgctl, id, IPC_SET, &raw const status).expect("IPC_SET");
        msgsnd(id, 1, "abc", 0).expect("msgsnd");
        assert_errno!(msgsnd(id, 1, "de", IPC_NOWAIT), EAGAIN);
        let sender = spawn(|| drop_count(msgsnd(id, 2, "de", 0)));
        wait_until_asleep(sender.pid());
        assert_eq!(msgrcv(id, 10, 0, 0), message(1, "abc"));
        sender.join();
        assert_eq!(msgrcv(id, 10, 0, 0), message(2, "de"));
        let receiver = spawn(|| assert_eq!(msgrcv(id, 10, 7, 0), message(7, "z")));
        wait_until_asleep(receiver.pid());
        msgsnd(id, 6, "y", 0).expect("msgsnd");
        msgsnd(id, 7, "z", 0).expect("msgsnd");
        receiver.join();
        syscall!(SYS_msgctl, id, IPC_STAT, &raw mut status).expect("IPC_STAT");
        // Bytes and messages in it.
        assert_eq!([word(&status, 72), word(&status, 80)], [1, 1]);
    });
}

#[test]
fn msg_waits_end_by_signal_and_removal() {
    in_ipc_namespace(|| {
        let id = msgget(IPC_PRIVATE, 0o600).expect("msgget");
        let interrupted = spawn(|| {
            signal::catch(SIGUSR1, libc::SA_RESTART);
            assert_errno!(msgrcv(id, 10, 0, 0), EINTR);
        });
        wait_until_asleep(interrupted.pid());
        signal::send(interrupted.pid(), SIGUSR1);
        interrupted.join();
        let waiter = spawn(|| assert_errno!(msgrcv(id, 10, 0, 0), EIDRM));
        wait_until_asleep(waiter.pid());
        syscall!(SYS_msgctl, id, IPC_RMID, 0usize).expect("IPC_RMID");
        waiter.join();
    });
}

#[test]
fn sysv_tables_of_queues_and_semaphores() {
    in_ipc_namespace(|| {
        let queue = msgget(0x11, IPC_CREAT | 0o620).expect("msgget");
        msgsnd(queue, 1, "abc", 0).expect("msgsnd");
        let set = semget(0x22, 3, IPC_CREAT | 0o604).expect("semget");
        let fields = |path: &str, count: usize| -> Vec<String> {
            let table = read(path);
            let [header, line] = [0, 1].map(|index| table.lines().nth(index).expect("a line").split_whitespace().collect::<Vec<_>>());
            assert_eq!((header.len(), line.len()), (count, count));
            line.into_iter().map(str::to_owned).collect()
        };
        let pid = std::process::id().to_string();
        assert_eq!(fields("/proc/sysvipc/msg", 14)[..7], ["17", &queue.to_string(), "620", "3", "1", &pid, "0"]);
        assert_eq!(fields("/proc/sysvipc/sem", 10)[..4], ["34", &set.to_string(), "604", "3"]);
        assert_eq!(read("/proc/sys/kernel/sem").split_whitespace().collect::<Vec<_>>(), ["32000", "1024000000", "500", "32000"]);
    });
}
