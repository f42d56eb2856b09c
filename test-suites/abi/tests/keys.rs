//! Keys that the kernel keeps: add_key, request_key, keyctl.

use std::ffi::CStr;

use abi::world::{c, read};
use abi::{Errno, Outcome, assert_errno, in_child, spawn, syscall};

const THREAD: i32 = -1;
const PROCESS: i32 = -2;
const SESSION: i32 = -3;
const USER: i32 = -4;
const USER_SESSION: i32 = -5;

const GET_KEYRING_ID: i32 = 0;
const JOIN_SESSION: i32 = 1;
const UPDATE: i32 = 2;
const REVOKE: i32 = 3;
const CHOWN: i32 = 4;
const SETPERM: i32 = 5;
const DESCRIBE: i32 = 6;
const CLEAR: i32 = 7;
const LINK: i32 = 8;
const UNLINK: i32 = 9;
const SEARCH: i32 = 10;
const READ: i32 = 11;
const SET_TIMEOUT: i32 = 15;
const INVALIDATE: i32 = 21;
const MOVE: i32 = 30;

/// Permission bytes of possessor and owner with everything.
const POSSESSOR_ALL: u32 = 0x3f00_0000;
const OWNER_ALL: u32 = 0x003f_0000;

fn add(kind: &CStr, name: &CStr, payload: &[u8], keyring: i32) -> Outcome<i32> {
    Ok(syscall!(SYS_add_key, kind, name, payload.as_ptr(), payload.len(), keyring)? as i32)
}

#[track_caller]
fn user(name: &CStr, payload: &[u8], keyring: i32) -> i32 {
    add(c"user", name, payload, keyring).unwrap_or_else(|error| panic!("add_key {name:?}: {error:?}"))
}

#[track_caller]
fn keyring(name: &CStr, inside: i32) -> i32 {
    add(c"keyring", name, b"", inside).unwrap_or_else(|error| panic!("keyring {name:?}: {error:?}"))
}

fn control(operation: i32, first: i32, second: i32, third: i32) -> Outcome<i32> {
    Ok(syscall!(SYS_keyctl, operation, first, second, third, 0)? as i32)
}

fn text(operation: i32, key: i32) -> Outcome<Vec<u8>> {
    let mut bytes = [0u8; 512];
    let len = syscall!(SYS_keyctl, operation, key, bytes.as_mut_ptr(), bytes.len())?;
    Ok(bytes[..len].to_vec())
}

fn describe(key: i32) -> String {
    let bytes = text(DESCRIBE, key).expect("KEYCTL_DESCRIBE");
    assert_eq!(bytes.last(), Some(&0));
    String::from_utf8(bytes[..bytes.len() - 1].to_vec()).expect("text")
}

fn members(keyring: i32) -> Vec<i32> {
    let bytes = text(READ, keyring).expect("KEYCTL_READ");
    bytes.chunks_exact(4).map(|number| i32::from_ne_bytes(number.try_into().expect("four bytes"))).collect()
}

fn search(keyring: i32, kind: &CStr, name: &CStr) -> Outcome<i32> {
    Ok(syscall!(SYS_keyctl, SEARCH, keyring, kind, name, 0)? as i32)
}

fn request(kind: &CStr, name: &CStr, destination: i32) -> Outcome<i32> {
    Ok(syscall!(SYS_request_key, kind, name, 0usize, destination)? as i32)
}

fn join(name: Option<&CStr>) -> Outcome<i32> {
    let name = name.map_or(std::ptr::null(), CStr::as_ptr);
    Ok(syscall!(SYS_keyctl, JOIN_SESSION, name)? as i32)
}

/// Runs `body` in a process with a session keyring of its own.
fn in_session(body: impl FnOnce()) {
    in_child(|| {
        join(None).expect("a session keyring");
        body();
    });
}

fn become_user(id: u32) {
    syscall!(SYS_setgroups, 0, 0usize).expect("setgroups");
    syscall!(SYS_setresgid, id, id, id).expect("setresgid");
    syscall!(SYS_setresuid, id, id, id).expect("setresuid");
}

#[test]
fn a_key_is_added_read_updated_and_described() {
    in_session(|| {
        let key = user(c"name", b"secret", SESSION);
        assert!(key > 2);
        assert_eq!(text(READ, key), Ok(b"secret".to_vec()));
        assert_eq!(describe(key), "user;0;0;3f010000;name");
        assert_eq!(user(c"name", b"other", SESSION), key, "the same name changes the key");
        assert_eq!(text(READ, key), Ok(b"other".to_vec()));
        assert_eq!(syscall!(SYS_keyctl, UPDATE, key, c"third", 5), Ok(0));
        assert_eq!(text(READ, key), Ok(b"third".to_vec()));
        let mut small = [7u8; 3];
        assert_eq!(syscall!(SYS_keyctl, READ, key, small.as_mut_ptr(), 3), Ok(5));
        assert_eq!(small, [7; 3], "what does not fit is not copied");
        assert_eq!(syscall!(SYS_keyctl, READ, key, 0usize, 0), Ok(5));
    });
}

#[test]
fn wrong_types_names_and_payloads_are_refused() {
    in_session(|| {
        assert_errno!(add(c"nonsense", c"name", b"x", SESSION), ENODEV);
        assert_errno!(add(c".user", c"name", b"x", SESSION), EPERM);
        assert_errno!(add(c"", c"name", b"x", SESSION), EINVAL);
        assert_errno!(add(c"user", c"", b"x", SESSION), EINVAL);
        assert_errno!(add(c"user", c"name", b"", SESSION), EINVAL);
        assert_errno!(add(c"user", c"name", &[0; 32768], SESSION), EINVAL);
        assert!(add(c"user", c"name", &[0; 32767], SESSION).is_ok());
        assert_errno!(add(c"keyring", c"name", b"x", SESSION), EINVAL);
        assert_errno!(add(c"keyring", c".name", b"", SESSION), EPERM);
        assert_errno!(add(c"logon", c"noprefix", b"x", SESSION), EINVAL);
        assert_errno!(add(c"logon", c":name", b"x", SESSION), EINVAL);
        assert!(add(c"logon", c"pre:name", b"x", SESSION).is_ok());
        assert_errno!(add(c"user", c"name", b"x", 0), EINVAL);
        assert_errno!(add(c"user", c"name", b"x", -6), EINVAL);
        assert_errno!(add(c"user", c"name", b"x", -100), EINVAL);
        assert_errno!(add(c"user", c"name", b"x", i32::MAX), ENOKEY);
        let key = user(c"name", b"x", SESSION);
        assert_errno!(add(c"user", c"name", b"x", key), ENOTDIR);
        assert_errno!(syscall!(SYS_add_key, c"user", c"name", 16usize, 4, SESSION), EFAULT);
        assert_errno!(control(999, 0, 0, 0), EOPNOTSUPP);
    });
}

#[test]
fn a_logon_key_cannot_be_read() {
    in_session(|| {
        let key = add(c"logon", c"pre:name", b"secret", SESSION).expect("add_key");
        assert_eq!(describe(key), "logon;0;0;3d010000;pre:name");
        assert_errno!(text(READ, key), EOPNOTSUPP);
        assert_eq!(request(c"logon", c"pre:name", 0), Ok(key));
    });
}

#[test]
fn a_session_keyring_is_joined_and_inherited() {
    in_session(|| {
        let session = control(GET_KEYRING_ID, SESSION, 0, 0).expect("the session's");
        assert_eq!(describe(session), "keyring;0;0;3f030000;_ses");
        let key = user(c"name", b"x", SESSION);
        assert_eq!(members(session), [key]);
        spawn(|| {
            assert_eq!(control(GET_KEYRING_ID, SESSION, 0, 0), Ok(session), "a child has the same");
            let own = join(None).expect("an own one");
            assert_ne!(own, session);
            assert_errno!(request(c"user", c"name", 0), ENOKEY);
        })
        .join();
        assert_eq!(request(c"user", c"name", 0), Ok(key));
    });
}

#[test]
fn a_named_session_is_shared_once_it_may_be_searched() {
    in_session(|| {
        let first = join(Some(c"_ses.abi-test")).expect("a named one");
        assert_eq!(describe(first), "keyring;0;0;3f130000;_ses.abi-test");
        let second = join(Some(c"_ses.abi-test")).expect("another");
        assert_ne!(first, second, "it may not be searched by those without it");
        control(SETPERM, second, (POSSESSOR_ALL | OWNER_ALL) as i32, 0).expect("as runc does");
        spawn(|| {
            join(None).expect("somewhere else");
            assert_eq!(join(Some(c"_ses.abi-test")), Ok(second));
        })
        .join();
        assert_errno!(join(Some(c".hidden")), EPERM);
    });
}

#[test]
fn thread_and_process_keyrings_are_made_on_demand_and_not_inherited() {
    in_session(|| {
        assert_errno!(control(GET_KEYRING_ID, THREAD, 0, 0), ENOKEY);
        assert_errno!(control(GET_KEYRING_ID, PROCESS, 0, 0), ENOKEY);
        let thread = control(GET_KEYRING_ID, THREAD, 1, 0).expect("made");
        let process = control(GET_KEYRING_ID, PROCESS, 1, 0).expect("made");
        assert_eq!(describe(thread), "keyring;0;0;3f010000;_tid");
        assert_eq!(describe(process), "keyring;0;0;3f010000;_pid");
        user(c"of-thread", b"x", THREAD);
        let of_process = user(c"of-process", b"x", PROCESS);
        assert!(request(c"user", c"of-thread", 0).is_ok());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert_errno!(request(c"user", c"of-thread", 0), ENOKEY);
                assert_eq!(request(c"user", c"of-process", 0), Ok(of_process));
            });
        });
        spawn(|| {
            assert_errno!(control(GET_KEYRING_ID, THREAD, 0, 0), ENOKEY);
            assert_errno!(control(GET_KEYRING_ID, PROCESS, 0, 0), ENOKEY);
        })
        .join();
    });
}

#[test]
fn user_keyrings_belong_to_the_user() {
    in_session(|| {
        let own = control(GET_KEYRING_ID, USER, 0, 0).expect("the user's");
        let session = control(GET_KEYRING_ID, USER_SESSION, 0, 0).expect("the user's session");
        assert_eq!(describe(own), "keyring;0;65534;1f3f0000;_uid.0");
        assert_eq!(describe(session), "keyring;0;65534;1f3f0000;_uid_ses.0");
        assert!(members(session).contains(&own));
        spawn(|| {
            become_user(4711);
            let theirs = control(GET_KEYRING_ID, USER, 0, 0).expect("the user's");
            assert_ne!(theirs, own);
            assert_eq!(describe(theirs), "keyring;4711;65534;1f3f0000;_uid.4711");
            assert_errno!(text(DESCRIBE, own), EACCES);
        })
        .join();
    });
}

#[test]
fn permissions_bind_possessor_owner_and_others() {
    in_session(|| {
        let key = user(c"name", b"x", SESSION);
        control(SETPERM, key, 0x0101_0000, 0).expect("view only");
        assert_eq!(describe(key), "user;0;0;01010000;name");
        assert_errno!(control(SETPERM, key, 0x3f3f_0000, 0), EACCES);
        assert_errno!(text(READ, key), EACCES);
        assert_errno!(syscall!(SYS_keyctl, UPDATE, key, c"y", 1), EACCES);
        assert_errno!(control(LINK, key, USER, 0), EACCES);
        assert_errno!(control(SETPERM, SESSION, 0x4000_0000, 0), EINVAL);
        let other = user(c"other", b"x", SESSION);
        control(SETPERM, other, (POSSESSOR_ALL | OWNER_ALL) as i32 | 0x0103, 0).expect("setperm");
        spawn(|| {
            join(None).expect("another session");
            assert_eq!(text(READ, other), Ok(b"x".to_vec()), "the owner without possessing it");
            become_user(1000);
            assert_eq!(text(READ, other), Ok(b"x".to_vec()), "others may");
            assert_errno!(syscall!(SYS_keyctl, UPDATE, other, c"y", 1), EACCES);
            assert_errno!(control(SETPERM, other, 0, 0), EACCES);
        })
        .join();
    });
}

#[test]
fn keyrings_link_and_unlink_keys_and_refuse_cycles() {
    in_session(|| {
        let outer = keyring(c"outer", SESSION);
        let inner = keyring(c"inner", outer);
        let key = user(c"name", b"x", inner);
        assert_eq!(members(outer), [inner]);
        assert_eq!(search(outer, c"user", c"name"), Ok(key));
        assert_errno!(search(outer, c"user", c"missing"), ENOKEY);
        assert_errno!(search(key, c"user", c"name"), ENOTDIR);
        assert_errno!(control(LINK, outer, inner, 0), EDEADLK);
        assert_errno!(control(LINK, outer, outer, 0), EDEADLK);
        assert_errno!(control(LINK, key, key, 0), ENOTDIR);
        control(LINK, key, outer, 0).expect("link");
        assert_eq!(members(outer).len(), 2);
        control(UNLINK, key, inner, 0).expect("unlink");
        assert_errno!(control(UNLINK, key, inner, 0), ENOENT);
        assert_eq!(members(inner), []);
        control(CLEAR, outer, 0, 0).expect("clear");
        assert_eq!(members(outer), []);
        abi::child::wait_until("nothing holds it any more", || text(DESCRIBE, key) == Err(Errno(libc::ENOKEY)));
        assert_errno!(control(CLEAR, 1, 0, 0), ENOKEY);
    });
}

#[test]
fn a_keyring_of_the_same_name_takes_the_place_of_the_old() {
    in_session(|| {
        let first = keyring(c"ring", SESSION);
        let second = keyring(c"ring", SESSION);
        assert_ne!(first, second);
        assert_eq!(members(SESSION), [second]);
    });
}

#[test]
fn revoked_expired_and_invalidated_keys_say_so() {
    in_session(|| {
        let key = user(c"revoked", b"x", SESSION);
        control(REVOKE, key, 0, 0).expect("revoke");
        assert_errno!(text(READ, key), EKEYREVOKED);
        assert_errno!(request(c"user", c"revoked", 0), EKEYREVOKED);
        assert_errno!(text(DESCRIBE, key), EKEYREVOKED);
        control(UNLINK, key, SESSION, 0).expect("it can be taken away");
        let again = user(c"revoked", b"y", SESSION);
        assert_ne!(again, key, "a new one takes its place");
        let short = user(c"short", b"x", SESSION);
        control(SET_TIMEOUT, short, 1, 0).expect("timeout");
        abi::child::wait_until("it expires", || text(READ, short) == Err(Errno(libc::EKEYEXPIRED)));
        let gone = user(c"gone", b"x", SESSION);
        control(INVALIDATE, gone, 0, 0).expect("invalidate");
        assert_errno!(text(READ, gone), ENOKEY);
        abi::child::wait_until("it is taken out", || request(c"user", c"gone", 0) == Err(Errno(libc::ENOKEY)));
    });
}

#[test]
fn requests_search_thread_process_session_and_link() {
    in_session(|| {
        let of_session = user(c"name", b"session", SESSION);
        assert_eq!(request(c"user", c"name", 0), Ok(of_session));
        let of_process = user(c"name", b"process", PROCESS);
        assert_eq!(request(c"user", c"name", 0), Ok(of_process));
        let of_thread = user(c"name", b"thread", THREAD);
        assert_eq!(request(c"user", c"name", 0), Ok(of_thread));
        let ring = keyring(c"ring", SESSION);
        assert_eq!(request(c"user", c"name", ring), Ok(of_thread));
        assert_eq!(members(ring), [of_thread]);
        assert_errno!(request(c"user", c"missing", 0), ENOKEY);
        assert_errno!(request(c"nonsense", c"name", 0), ENOKEY);
    });
}

#[test]
fn a_key_moves_between_keyrings() {
    in_session(|| {
        let (from, into) = (keyring(c"from", SESSION), keyring(c"into", SESSION));
        let key = user(c"name", b"x", from);
        assert_eq!(syscall!(SYS_keyctl, MOVE, key, from, into, 0), Ok(0));
        assert_eq!((members(from), members(into)), (vec![], vec![key]));
        assert_errno!(syscall!(SYS_keyctl, MOVE, key, from, into, 0), ENOENT);
        let other = user(c"name", b"y", from);
        assert_errno!(syscall!(SYS_keyctl, MOVE, other, from, into, 1), EEXIST);
        assert_errno!(syscall!(SYS_keyctl, MOVE, other, from, into, 2), EINVAL);
        assert_eq!(syscall!(SYS_keyctl, MOVE, other, from, into, 0), Ok(0));
        assert_eq!(members(into), [other]);
    });
}

#[test]
fn owners_change_only_by_privilege() {
    in_session(|| {
        let key = user(c"name", b"x", SESSION);
        control(CHOWN, key, 1000, 2000).expect("chown");
        assert_eq!(describe(key), "user;1000;2000;3f010000;name");
        control(CHOWN, key, -1, 5).expect("only the group");
        assert_eq!(describe(key), "user;1000;5;3f010000;name");
        spawn(|| {
            become_user(1000);
            join(None).expect("a session");
            let own = user(c"mine", b"x", SESSION);
            assert_errno!(control(CHOWN, own, 0, -1), EACCES);
            assert_errno!(control(CHOWN, own, -1, 0), EACCES);
            control(CHOWN, own, 1000, 1000).expect("what it is already");
        })
        .join();
    });
}

#[test]
fn a_user_has_a_quota() {
    in_child(|| {
        become_user(4712);
        join(None).expect("a session");
        let line = || read("/proc/key-users").lines().find(|line| line.trim_start().starts_with("4712:")).map(str::to_string);
        let before = line().expect("a line");
        assert!(before.contains("/200 ") && before.ends_with("/20000"), "{before}");
        let error = (0..300).find_map(|index| add(c"user", &c(&format!("key{index}")), b"x", SESSION).err());
        assert_eq!(error, Some(Errno(libc::EDQUOT)));
        control(CLEAR, SESSION, 0, 0).expect("clear");
        abi::child::wait_until("they are counted back", || add(c"user", c"big", &[0; 15000], SESSION).is_ok());
        assert_errno!(add(c"user", c"bigger", &[0; 15000], SESSION), EDQUOT);
    });
}

#[test]
fn proc_keys_lists_what_may_be_viewed() {
    in_session(|| {
        let key = user(c"abi-listed", b"12345", SESSION);
        let ring = keyring(c"abi-ring", SESSION);
        let text = read("/proc/keys");
        let line = |number: i32| text.lines().find(|line| line.starts_with(&format!("{number:08x} "))).map(str::to_string);
        let fields = |line: String| line.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        let shown = fields(line(key).expect("the key"));
        assert_eq!(shown[1], "I--Q---");
        assert_eq!(shown[3..], ["perm", "3f010000", "0", "0", "user", "abi-listed:", "5"]);
        let shown = fields(line(ring).expect("the keyring"));
        assert_eq!(shown[3..], ["perm", "3f010000", "0", "0", "keyring", "abi-ring:", "empty"]);
        control(SETPERM, key, 0, 0).expect("nothing at all");
        assert!(!read("/proc/keys").contains("abi-listed"));
    });
}
