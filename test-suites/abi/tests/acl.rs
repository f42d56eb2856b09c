//! Access control lists: what the calls that set them have to do with privileges, user namespaces, descriptors, and file systems that
//! have none. What they mean is in the suite `posix`.

use abi::acl::{self, ACCESS, DEFAULT, value};
use abi::world::{mkdir, mount, read, touch};
use abi::{assert_errno, capability, in_mount_namespace, spawn, syscall};
use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

const LIST: &str = "u::rw- u:1000:r-- g::r-- m::rw- o::r--";
/// Acts as the owner of others' files.
const CAP_FOWNER: u32 = 3;
/// Keeps set-id bits where others lose them.
const CAP_FSETID: u32 = 4;
const NAME: &std::ffi::CStr = c"system.posix_acl_access";

#[test]
fn file_systems_without_lists_say_so() {
    in_mount_namespace(|| {
        mkdir("point");
        for (kind, path) in [("proc", "point/version"), ("sysfs", "point/kernel"), ("devpts", "point/ptmx"), ("ramfs", "point")] {
            mount("", "point", kind, 0, "").expect(kind);
            for attribute in [ACCESS, DEFAULT] {
                assert_errno!(acl::get(path, attribute), EOPNOTSUPP);
                assert_errno!(acl::set(path, attribute, LIST), EOPNOTSUPP);
                assert_errno!(acl::remove(path, attribute), EOPNOTSUPP);
            }
            // A value that is none is noticed before.
            assert_errno!(acl::set_value(path, ACCESS, b"x"), EINVAL);
            abi::world::umount("point", 0).expect("umount");
        }
    });
}

#[test]
fn there_are_no_other_attributes_of_that_kind() {
    in_mount_namespace(|| {
        touch("file");
        for name in ["system.posix_acl", "system.posix_acl_access2", "system.x"] {
            assert_errno!(acl::get("file", name), EOPNOTSUPP);
            assert_errno!(acl::set("file", name, LIST), EOPNOTSUPP);
            assert_errno!(acl::remove("file", name), EOPNOTSUPP);
        }
    });
}

#[test]
fn mount_tables_say_nothing_of_lists() {
    in_mount_namespace(|| {
        mkdir("point");
        mount("x", "point", "tmpfs", 0, "").expect("a tmpfs");
        acl::set("point", DEFAULT, LIST).expect("setxattr");
        assert!(read("/proc/self/mounts").lines().any(|line| line.starts_with("x /tmp/point tmpfs rw,relatime")));
        assert!(!read("/proc/self/mountinfo").contains("acl"));
        for option in ["acl", "noacl", "posixacl"] {
            assert_errno!(mount("x", "point", "tmpfs", 0, option), EINVAL);
        }
    });
}

#[test]
fn files_without_a_name_have_lists_too() {
    in_mount_namespace(|| {
        let fd = syscall!(SYS_memfd_create, c"x", 0).expect("memfd_create");
        syscall!(SYS_fsetxattr, fd, NAME, value(LIST).as_ptr(), value(LIST).len(), 0).expect("fsetxattr");
        acl::is(&format!("/proc/self/fd/{fd}"), ACCESS, Some(LIST));
        syscall!(SYS_fremovexattr, fd, NAME).expect("fremovexattr");
        acl::is(&format!("/proc/self/fd/{fd}"), ACCESS, None);
    });
}

#[test]
fn a_descriptor_will_do_unless_it_is_only_a_path() {
    in_mount_namespace(|| {
        touch("file");
        let set = |file: &File| syscall!(SYS_fsetxattr, file, NAME, value(LIST).as_ptr(), value(LIST).len(), 0);
        set(&File::open("file").expect("open")).expect("open for reading is enough");
        acl::is("file", ACCESS, Some(LIST));
        let path = abi::world::open("file", libc::O_PATH).expect("open");
        assert_errno!(set(&path), EBADF);
        assert_errno!(syscall!(SYS_fgetxattr, &path, NAME, 0usize, 0), EBADF);
        assert_errno!(syscall!(SYS_fremovexattr, &path, NAME), EBADF);
    });
}

#[test]
fn sizes_names_and_flags_are_checked_first() {
    in_mount_namespace(|| {
        touch("file");
        let list = value(LIST);
        let set = |address: usize, len: usize, flags: i32| syscall!(SYS_setxattr, c"file", NAME, address, len, flags);
        assert_errno!(set(list.as_ptr().addr(), 65_537, 0), E2BIG);
        assert_errno!(set(list.as_ptr().addr(), list.len(), 4), EINVAL);
        assert_errno!(set(0x10, list.len(), 0), EFAULT);
        assert_errno!(syscall!(SYS_getxattr, c"missing", NAME, 0usize, 0), ENOENT);
        acl::is("file", ACCESS, None);
        // As long as a value can be: entries of eight bytes behind four.
        let named: Vec<u8> = (0..8000).flat_map(|id| acl::line(2, 4, id)).collect();
        let long = [&value("u::rw-")[..], &named, &value("g::r-- m::r-- o::---")[4..]].concat();
        acl::set_value("file", ACCESS, &long).expect("setxattr");
        let mut read = vec![0_u8; 65_536];
        assert_eq!(syscall!(SYS_getxattr, c"file", NAME, read.as_mut_ptr(), read.len()), Ok(long.len()));
        assert_eq!(read[..long.len()], long);
    });
}

#[test]
fn cap_fowner_and_cap_fsetid_are_what_it_takes() {
    in_mount_namespace(|| {
        touch("file");
        chown("file", Some(1000), Some(1000)).expect("chown");
        std::fs::set_permissions("file", Permissions::from_mode(0o2755)).expect("chmod");
        spawn(|| {
            capability::set_effective(CAP_FSETID, false).expect("capset");
            acl::set("file", ACCESS, LIST).expect("with CAP_FOWNER");
        })
        .join();
        assert_eq!(std::fs::metadata("file").expect("stat").permissions().mode() & 0o7777, 0o664);
        spawn(|| {
            capability::set_effective(CAP_FOWNER, false).expect("capset");
            assert_errno!(acl::set("file", ACCESS, LIST), EPERM);
            assert_errno!(acl::remove("file", ACCESS), EPERM);
        })
        .join();
    });
}

#[test]
fn watchers_are_told_of_an_attribute() {
    in_mount_namespace(|| {
        touch("file");
        let watch = syscall!(SYS_inotify_init1, libc::IN_NONBLOCK).expect("inotify_init1");
        syscall!(SYS_inotify_add_watch, watch, c"file", libc::IN_ALL_EVENTS).expect("a watch");
        let events = || {
            let mut buffer = [0_u8; 256];
            let len = syscall!(SYS_read, watch, buffer.as_mut_ptr(), buffer.len()).unwrap_or(0);
            buffer[..len].chunks(16).map(|event| u32::from_ne_bytes(event[4..8].try_into().expect("four bytes"))).collect::<Vec<_>>()
        };
        acl::set("file", ACCESS, LIST).expect("setxattr");
        assert_eq!(events(), [libc::IN_ATTRIB]);
        acl::remove("file", ACCESS).expect("removexattr");
        assert_eq!(events(), [libc::IN_ATTRIB]);
        assert_errno!(acl::set("file", DEFAULT, LIST), EACCES);
        assert_eq!(events(), []);
    });
}
