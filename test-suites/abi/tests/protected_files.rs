//! What keeps users from being led astray by files of others: `protected_symlinks` and its like (proc_sys_fs(5)), and file
//! capabilities (capabilities(7)). The settings are the system's, so that one test after the other has them.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::sync::{Mutex, MutexGuard};

use abi::namespace::become_user;
use abi::user_namespace::in_user_namespace;
use abi::world::{c, mkdir, open, read, touch, write};
use abi::{Outcome, assert_errno, in_mount_namespace, spawn, syscall};
use libc::{O_CREAT, O_RDONLY, O_RDWR, O_WRONLY};

static SETTINGS: Mutex<()> = Mutex::new(());

/// Sets one, and sets it back when the test is over.
struct Setting(String, &'static str, #[allow(dead_code)] MutexGuard<'static, ()>);

impl Setting {
    fn new(name: &'static str, value: &str) -> Self {
        let guard = SETTINGS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = format!("/proc/sys/fs/{name}");
        let before = read(&path).trim().to_owned();
        write(&path, value);
        Self(before, name, guard)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        write(&format!("/proc/sys/fs/{}", self.1), &self.0);
    }
}

fn mode(path: &str, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

fn owned(path: &str, uid: u32) {
    chown(path, Some(uid), Some(uid)).expect("chown");
}

fn own_link(path: &str, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).expect("lchown");
}

/// Runs `body` as a user without privileges.
fn as_user(uid: u32, body: impl FnOnce()) {
    spawn(|| {
        become_user(uid);
        body();
    })
    .join();
}

fn link(old: &str, new: &str) -> Outcome {
    syscall!(SYS_linkat, libc::AT_FDCWD, c(old).as_ptr(), libc::AT_FDCWD, c(new).as_ptr(), 0)
}

/// A directory as /tmp is.
fn sticky(path: &str, permissions: u32) {
    mkdir(path);
    mode(path, 0o1000 | permissions);
}

#[test]
fn protected_links_of_others_in_sticky_directories_are_not_followed() {
    let setting = Setting::new("protected_symlinks", "1");
    in_mount_namespace(|| {
        sticky("all", 0o777);
        sticky("few", 0o775);
        write("target", "text");
        mkdir("folder");
        write("folder/file", "text");
        for (name, uid) in [("all/theirs", 2000), ("all/own", 1000), ("all/root", 0), ("few/theirs", 2000)] {
            symlink("/tmp/target", name).expect("symlink");
            own_link(name, uid);
        }
        symlink("/tmp/folder", "all/through").expect("symlink");
        own_link("all/through", 2000);
        as_user(1000, || {
            assert_errno!(open("all/theirs", O_RDONLY).map(drop), EACCES);
            assert_errno!(open("all/through/", O_RDONLY).map(drop), EACCES);
            for name in ["all/own", "all/root", "few/theirs", "all/through/file"] {
                assert_eq!(read(name), "text", "{name}");
            }
            // Reading the link is no following.
            assert_eq!(std::fs::read_link("all/theirs").expect("readlink").to_str(), Some("/tmp/target"));
        });
        // Root, too, is led astray.
        assert_errno!(open("all/theirs", O_RDONLY).map(drop), EACCES);
    });
    drop(setting);
    let _setting = Setting::new("protected_symlinks", "0");
    in_mount_namespace(|| {
        sticky("all", 0o777);
        write("target", "text");
        symlink("/tmp/target", "all/theirs").expect("symlink");
        own_link("all/theirs", 2000);
        as_user(1000, || assert_eq!(read("all/theirs"), "text"));
    });
}

#[test]
fn protected_files_of_others_get_no_names() {
    let _setting = Setting::new("protected_hardlinks", "1");
    in_mount_namespace(|| {
        mkdir("here");
        mode("here", 0o777);
        for (name, permissions) in
            [("unreadable", 0o622), ("open", 0o666), ("privileged", 0o4777), ("group", 0o2777), ("mandatory", 0o2767)]
        {
            touch(name);
            mode(name, permissions);
        }
        touch("own");
        owned("own", 1000);
        mode("own", 0);
        syscall!(SYS_mknodat, libc::AT_FDCWD, c"fifo", libc::S_IFIFO | 0o666, 0).expect("mknod");
        mode("fifo", 0o666);
        as_user(1000, || {
            for name in ["unreadable", "privileged", "group", "fifo"] {
                assert_errno!(link(name, &format!("here/{name}")), EPERM);
            }
            for name in ["open", "own", "mandatory"] {
                link(name, &format!("here/{name}")).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            }
        });
        link("unreadable", "here/unreadable").expect("root may");
    });
}

#[test]
fn protected_files_are_not_opened_where_they_would_be_made() {
    let setting = Setting::new("protected_regular", "1");
    let make = || {
        for (folder, permissions) in [("all", 0o777), ("group", 0o775)] {
            sticky(folder, permissions);
            owned(folder, 3000);
            mode(folder, 0o1000 | permissions);
            for (name, uid) in [("theirs", 2000), ("own", 1000), ("directory_s", 3000)] {
                let path = format!("{folder}/{name}");
                touch(&path);
                owned(&path, uid);
                mode(&path, 0o666);
            }
        }
    };
    in_mount_namespace(|| {
        make();
        as_user(1000, || {
            assert_errno!(open("all/theirs", O_WRONLY | O_CREAT).map(drop), EACCES);
            open("all/theirs", O_WRONLY).expect("without O_CREAT");
            for name in ["all/own", "all/directory_s", "group/theirs"] {
                open(name, O_WRONLY | O_CREAT).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            }
        });
    });
    write("/proc/sys/fs/protected_regular", "2");
    in_mount_namespace(|| {
        make();
        as_user(1000, || assert_errno!(open("group/theirs", O_WRONLY | O_CREAT).map(drop), EACCES));
    });
    drop(setting);
    let _setting = Setting::new("protected_fifos", "1");
    in_mount_namespace(|| {
        sticky("all", 0o777);
        syscall!(SYS_mknodat, libc::AT_FDCWD, c"all/fifo", libc::S_IFIFO | 0o666, 0).expect("mknod");
        owned("all/fifo", 2000);
        mode("all/fifo", 0o666);
        as_user(1000, || {
            assert_errno!(open("all/fifo", O_RDWR | O_CREAT).map(drop), EACCES);
            open("all/fifo", O_RDWR).expect("without O_CREAT");
        });
        assert!(std::fs::write("/proc/sys/fs/protected_fifos", "3").is_err());
    });
}

/// `security.capability`: revision and flags, permitted and inheritable, low words and high; in version 3 the root.
fn value(magic: u32, permitted: u32, root: Option<u32>) -> Vec<u8> {
    [magic, permitted, 0, 0, 0].into_iter().chain(root).flat_map(u32::to_le_bytes).collect()
}

const VERSION_2: u32 = 0x0200_0000;
const VERSION_3: u32 = 0x0300_0000;
const EFFECTIVE: u32 = 1;
const NET_RAW: u32 = 1 << 13;

fn set_capabilities(path: &str, value: &[u8]) -> Outcome {
    syscall!(SYS_setxattr, c(path).as_ptr(), c"security.capability", value.as_ptr(), value.len(), 0)
}

fn capabilities(path: &str) -> Outcome<Vec<u8>> {
    let mut value = vec![0u8; 64];
    let len = syscall!(SYS_getxattr, c(path).as_ptr(), c"security.capability", value.as_mut_ptr(), value.len())?;
    value.truncate(len);
    Ok(value)
}

#[test]
fn file_capabilities_have_two_versions() {
    in_mount_namespace(|| {
        touch("file");
        let plain = value(VERSION_2 | EFFECTIVE, NET_RAW, None);
        set_capabilities("file", &plain).expect("setxattr");
        assert_eq!(capabilities("file"), Ok(plain));
        let wrong = [value(VERSION_2, 0, Some(0)), value(VERSION_3, 0, None), value(0x0400_0000, 0, None), vec![1, 2, 3]];
        for wrong in wrong {
            assert_errno!(set_capabilities("file", &wrong), EINVAL);
        }
        // Another root than one's own is kept and shown.
        let other = value(VERSION_3, NET_RAW, Some(1000));
        set_capabilities("file", &other).expect("setxattr");
        assert_eq!(capabilities("file"), Ok(other));
        // One's own root is told by version 2.
        set_capabilities("file", &value(VERSION_3 | EFFECTIVE, NET_RAW, Some(0))).expect("setxattr");
        assert_eq!(capabilities("file"), Ok(value(VERSION_2 | EFFECTIVE, NET_RAW, None)));
        owned("file", 1000);
        as_user(1000, || assert_errno!(set_capabilities("file", &value(VERSION_2, NET_RAW, None)), EPERM));
    });
}

#[test]
fn file_capabilities_of_a_user_namespace_are_those_of_its_root() {
    in_mount_namespace(|| {
        touch("file");
        owned("file", 1000);
        touch("root_s");
        set_capabilities("root_s", &value(VERSION_2, NET_RAW, None)).expect("setxattr");
        touch("foreign");
        set_capabilities("foreign", &value(VERSION_3, NET_RAW, Some(4000))).expect("setxattr");
        let inside = value(VERSION_2 | EFFECTIVE, NET_RAW, None);
        as_user(1000, || {
            // Who has changed its user owns its files in /proc only if it may be looked into.
            syscall!(SYS_prctl, libc::PR_SET_DUMPABLE, 1).expect("prctl");
            in_user_namespace(
                || (),
                || {
                    set_capabilities("/tmp/file", &inside).expect("version 2");
                    assert_eq!(capabilities("/tmp/file"), Ok(inside.clone()));
                    // It comes from above.
                    assert_eq!(capabilities("/tmp/root_s"), Ok(value(VERSION_2, NET_RAW, None)));
                    assert_errno!(capabilities("/tmp/foreign"), EOVERFLOW);
                    assert_errno!(set_capabilities("/tmp/file", &value(VERSION_3, NET_RAW, Some(7))), EINVAL);
                },
            );
        });
        // Outside it is told whose root is meant.
        assert_eq!(capabilities("file"), Ok(value(VERSION_3 | EFFECTIVE, NET_RAW, Some(1000))));
    });
}

/// What a program has that runs as a user.
fn permitted_of(path: &str) -> u64 {
    let child = std::process::Command::new(path).arg("/proc/self/status").output();
    let text = String::from_utf8(child.expect("a program").stdout).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("CapPrm:")).expect("a line");
    u64::from_str_radix(line.trim(), 16).expect("a number")
}

#[test]
fn file_capabilities_are_given_to_who_runs_the_file() {
    in_mount_namespace(|| {
        std::fs::copy("/bin/busybox", "cat").expect("a copy");
        mode("cat", 0o755);
        mode("/tmp", 0o755);
        set_capabilities("cat", &value(VERSION_2 | EFFECTIVE, NET_RAW, None)).expect("setxattr");
        as_user(1000, || assert_eq!(permitted_of("/tmp/cat"), u64::from(NET_RAW)));
        // Of a namespace that the user is not in they count for nothing.
        set_capabilities("cat", &value(VERSION_3 | EFFECTIVE, NET_RAW, Some(1000))).expect("setxattr");
        as_user(1000, || assert_eq!(permitted_of("/tmp/cat"), 0));
    });
}

#[test]
fn file_capabilities_go_when_the_file_changes() {
    in_mount_namespace(|| {
        let plain = value(VERSION_2, NET_RAW, None);
        let again = |what: &str| {
            set_capabilities("file", &plain).expect("setxattr");
            assert_eq!(capabilities("file").as_deref(), Ok(&plain[..]), "before {what}");
        };
        touch("file");
        again("writing");
        write("file", "text");
        assert_errno!(capabilities("file"), ENODATA);
        again("truncating");
        syscall!(SYS_truncate, c"file", 2).expect("truncate");
        assert_errno!(capabilities("file"), ENODATA);
        again("chown");
        owned("file", 5);
        assert_errno!(capabilities("file"), ENODATA);
        again("chmod");
        mode("file", 0o600);
        assert_eq!(capabilities("file"), Ok(plain.clone()));
    });
}
