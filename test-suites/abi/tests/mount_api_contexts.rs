//! fsopen, fsconfig, fsmount, fspick: the states of a context, its parameters, its messages.
//! Rule numbers are those of the specification of mount semantics.

use abi::mount_api::{
    CREATE, CREATE_EXCL, HERE, RECONFIGURE, SET_BINARY, SET_FD, SET_FLAG, SET_PATH, SET_STRING, attach, command, created_tmpfs, fsmount,
    fsopen, fspick, message, path_of, set_flag, set_string,
};
use abi::mountinfo::{at, is_mounted, table};
use abi::world::{c, mkdir, mkdirs, mount, new_tmpfs, touch};
use abi::{assert_errno, in_child, in_mount_namespace, syscall};

#[test]
fn a_filesystem_is_put_together_step_by_step() {
    in_mount_namespace(|| {
        mkdir("d");
        let context = fsopen("tmpfs").expect("fsopen");
        assert_errno!(fsmount(&context, 0), EINVAL); // Rule A17: not created yet
        set_string(&context, "source", "parts").expect("source");
        set_string(&context, "size", "64k").expect("size");
        set_flag(&context, "ro").expect("ro");
        assert_errno!(command(&context, RECONFIGURE), EBUSY); // Rules A12 and A14
        command(&context, CREATE).expect("create");
        assert_errno!(set_flag(&context, "rw"), EBUSY); // Rule A14: mountable, no parameters
        assert_errno!(command(&context, CREATE), EBUSY);
        let before = table();
        let tree = fsmount(&context, 2 | 0x10).expect("fsmount");
        assert_eq!(table(), before, "detached");
        assert_errno!(fsmount(&context, 0), EBUSY);
        attach(&tree, "d").expect("move_mount");
        let shown = at("/tmp/d");
        assert_eq!((shown.options.as_str(), shown.source.as_str()), ("rw,nosuid,noatime", "parts")); // Rule A17
        assert!(shown.super_options.starts_with("ro,size=64k"), "{}", shown.super_options);
        set_flag(&context, "rw").expect("parameters again"); // Rule A12
        command(&context, RECONFIGURE).expect("reconfigure");
        touch("d/file");
        command(&context, RECONFIGURE).expect("again");
    });
}

#[test]
fn a_type_is_opened_by_its_name() {
    in_mount_namespace(|| {
        // Rule A11.
        assert_errno!(fsopen("nosuchfs"), ENODEV);
        assert_errno!(fsopen(""), ENODEV);
        assert_errno!(fsopen("tmpfs.sub"), ENODEV);
        assert_errno!(fsopen(&"x".repeat(4096)), EINVAL);
        assert_errno!(fsopen(&"x".repeat(4095)), ENODEV);
        assert_errno!(syscall!(SYS_fsopen, 0usize, 0), EFAULT);
        assert_errno!(syscall!(SYS_fsopen, 0usize, 2), EINVAL);
        for bit in 1..32 {
            assert_errno!(syscall!(SYS_fsopen, c"tmpfs", 1u32 << bit), EINVAL);
        }
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(syscall!(SYS_fsopen, 0usize, 2), EPERM);
    });
}

#[test]
fn a_failed_context_stays_failed() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        let context = fspick("d", 0).expect("fspick");
        let _writer = std::fs::File::create("d/file").expect("a writer");
        set_flag(&context, "ro").expect("ro");
        assert_errno!(command(&context, RECONFIGURE), EBUSY);
        // Rule A12: nothing is possible any more.
        assert_errno!(set_flag(&context, "rw"), EBUSY);
        assert_errno!(command(&context, RECONFIGURE), EBUSY);
        assert_errno!(command(&context, CREATE), EBUSY);
        assert_errno!(fsmount(&context, 0), EBUSY);
        assert!(at("/tmp/d").super_options.starts_with("rw"));
    });
}

#[test]
fn fsconfig_checks_its_arguments_before_the_context() {
    in_mount_namespace(|| {
        let context = fsopen("tmpfs").expect("fsopen");
        let plain = std::fs::File::open("/tmp").expect("open");
        let fsconfig = |what: u32, key: usize, value: usize, auxiliary: i32| syscall!(SYS_fsconfig, &context, what, key, value, auxiliary);
        let text = c"key".as_ptr() as usize;
        // Rule A13.
        assert_errno!(syscall!(SYS_fsconfig, -1, CREATE, 0usize, 0usize, 0), EINVAL);
        for unknown in [9, 10, 100, 0x8000_0000, u32::MAX] {
            assert_errno!(syscall!(SYS_fsconfig, 900, unknown, 0usize, 0usize, 0), EOPNOTSUPP);
        }
        let misfits = [
            (SET_FLAG, 0, 0, 0),
            (SET_FLAG, text, text, 0),
            (SET_FLAG, text, 0, 1),
            (SET_STRING, 0, text, 0),
            (SET_STRING, text, 0, 0),
            (SET_STRING, text, text, 1),
            (SET_BINARY, text, text, 0),
            (SET_BINARY, text, text, -1),
            (SET_BINARY, text, text, (1 << 20) + 1),
            (SET_BINARY, text, 0, 1),
            (SET_PATH, text, text, -1),
            (SET_PATH, text, 0, 0),
            (SET_PATH + 1, text, text, -2),
            (SET_FD, text, 0, -1),
            (SET_FD, text, text, 0),
            (CREATE, text, 0, 0),
            (CREATE, 0, text, 0),
            (CREATE, 0, 0, 1),
            (CREATE_EXCL, 0, 0, 1),
            (RECONFIGURE, 0, 0, -1),
        ];
        for (what, key, value, auxiliary) in misfits {
            assert_errno!(fsconfig(what, key, value, auxiliary), EINVAL);
        }
        assert_errno!(syscall!(SYS_fsconfig, 900, CREATE, 0usize, 0usize, 0), EBADF);
        assert_errno!(syscall!(SYS_fsconfig, &plain, CREATE, 0usize, 0usize, 0), EINVAL);
        assert_errno!(fsconfig(SET_FLAG, 8, 0, 0), EFAULT);
        assert_errno!(fsconfig(SET_STRING, text, 8, 0), EFAULT);
        assert_errno!(fsconfig(SET_BINARY, text, 8, 16), EFAULT);
        assert_errno!(fsconfig(SET_FD, text, 0, 900), EBADF);
        assert_errno!(set_flag(&context, &"k".repeat(256)), EINVAL);
        command(&context, CREATE).expect("no failed parameter spoils the context");
    });
}

#[test]
fn parameters_at_and_over_their_longest_and_over_a_page() {
    in_mount_namespace(|| {
        let before = table();
        for (len, is_taken) in [(255, true), (256, false), (4095, false), (4096, false), (4097, false), (70_000, false)] {
            let context = fsopen("tmpfs").expect("fsopen");
            // Rules A13 and A15: at most 255 characters.
            assert_eq!(set_string(&context, "source", &"s".repeat(len)).is_ok(), is_taken, "{len} characters");
            assert_errno!(set_flag(&context, &"k".repeat(len)), EINVAL);
        }
        assert_eq!(table(), before);
    });
}

#[test]
fn words_that_every_filesystem_understands() {
    in_mount_namespace(|| {
        let context = fsopen("tmpfs").expect("fsopen");
        // Rule A15: whatever the type of the value.
        set_string(&context, "sync", "whatever").expect("sync");
        for word in ["ro", "rw", "sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"] {
            set_flag(&context, word).unwrap_or_else(|error| panic!("{word}: {error:?}"));
        }
        for word in ["nosuid", "nodev", "noexec", "noatime", "relatime", "bind", "xyz", ""] {
            assert_errno!(set_flag(&context, word), EINVAL);
        }
        set_string(&context, "source", "one").expect("source");
        assert_errno!(set_string(&context, "source", "two"), EINVAL);
        set_flag(&context, "dirsync").expect("dirsync");
        command(&context, CREATE).expect("create");
        let tree = fsmount(&context, 0).expect("fsmount");
        mkdir("d");
        attach(&tree, "d").expect("attach");
        assert!(at("/tmp/d").super_options.starts_with("rw,dirsync"), "{}", at("/tmp/d").super_options);
        assert_eq!(at("/tmp/d").source, "one");
    });
}

#[test]
fn messages_are_read_one_by_one_and_the_oldest_are_dropped() {
    in_mount_namespace(|| {
        let context = fsopen("tmpfs").expect("fsopen");
        assert_errno!(message(&context, 100), ENODATA); // Rule A16
        for number in 0..10 {
            assert_errno!(set_flag(&context, &format!("unknown{number}")), EINVAL);
        }
        assert_errno!(message(&context, 5), EMSGSIZE);
        // In rule X14 we follow 6.12: the message is kept.
        for number in 2..10 {
            assert_eq!(message(&context, 100), Ok(format!("e tmpfs: Unknown parameter 'unknown{number}'\n")));
        }
        assert_errno!(message(&context, 100), ENODATA);
    });
}

#[test]
fn an_existing_superblock_is_not_created_exclusively() {
    in_mount_namespace(|| {
        let context = fsopen("sysfs").expect("fsopen");
        mkdir("d");
        mount("s", "d", "sysfs", 0, "").expect("a first one");
        assert_errno!(command(&context, CREATE_EXCL), EBUSY); // Rule A15
        assert_errno!(command(&context, CREATE), EBUSY);
        let tmpfs = fsopen("tmpfs").expect("fsopen");
        command(&tmpfs, CREATE_EXCL).expect("a new one");
    });
}

#[test]
fn picking_takes_the_root_of_a_mount() {
    in_mount_namespace(|| {
        new_tmpfs("/tmp/d");
        mkdir("d/inner");
        std::os::unix::fs::symlink("d", "link").expect("symlink");
        // Rule A18.
        fspick("link", 0).expect("followed");
        assert_errno!(fspick("link", 2), EINVAL);
        assert_errno!(fspick("d/inner", 0), EINVAL);
        assert_errno!(fspick("missing", 0), ENOENT);
        assert_errno!(fspick("", 0), ENOENT);
        let directory = std::fs::File::open("d").expect("open");
        syscall!(SYS_fspick, &directory, c"", 8).expect("an empty path");
        assert_errno!(syscall!(SYS_fspick, 900, c"d", 0), EBADF);
        for bit in 4..32 {
            assert_errno!(syscall!(SYS_fspick, HERE, c"d", 1u32 << bit), EINVAL);
        }
        let context = fspick("d", 0).expect("fspick");
        assert_errno!(command(&context, CREATE), EBUSY);
        assert_errno!(fsmount(&context, 0), EBUSY);
        let detached = fsmount(&created_tmpfs("x"), 0).expect("fsmount");
        fspick(&path_of(&detached), 0).expect("in no namespace");
        syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
        assert_errno!(fspick("missing", 0x10), EPERM);
    });
}

#[test]
fn fsmount_checks_flags_and_attributes() {
    in_mount_namespace(|| {
        let context = created_tmpfs("x");
        let call = |flags: u32, attributes: u32| syscall!(SYS_fsmount, &context, flags, attributes);
        // Rule A17.
        for bit in 1..32 {
            assert_errno!(call(1 << bit, 0), EINVAL);
        }
        for bit in (8..21).chain([20]).chain(22..32) {
            assert_errno!(call(0, 1 << bit), EINVAL);
        }
        for atime in [0x30, 0x40, 0x50, 0x60, 0x70] {
            assert_errno!(call(0, atime), EINVAL);
        }
        assert_errno!(syscall!(SYS_fsmount, 900, 2, 0), EINVAL);
        assert_errno!(syscall!(SYS_fsmount, 900, 0, 0), EBADF);
        let plain = std::fs::File::open("/tmp").expect("open");
        assert_errno!(syscall!(SYS_fsmount, &plain, 0, 0), EINVAL);
        let tree = fsmount(&context, 1 | 2 | 4 | 8 | 0x20 | 0x80 | 0x20_0000).expect("every attribute");
        mkdirs(&["d"]);
        attach(&tree, "d").expect("attach");
        assert_eq!(at("/tmp/d").options, "ro,nosuid,nodev,noexec,nodiratime,nosymfollow");
    });
}

#[test]
fn a_tree_nobody_attached_goes_with_its_descriptor() {
    in_mount_namespace(|| {
        mkdir("d");
        let tree = fsmount(&created_tmpfs("x"), 0).expect("fsmount");
        touch(&format!("{}/file", path_of(&tree)));
        let again = std::fs::File::open(path_of(&tree)).expect("reopened");
        drop(tree); // Rule A5
        assert_errno!(syscall!(SYS_move_mount, &again, c"", HERE, c("d").as_c_str(), 4), EINVAL);
        assert!(!is_mounted("/tmp/d"));
    });
}

#[test]
fn what_a_user_namespace_may_mount() {
    in_child(|| {
        syscall!(SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWNS).expect("unshare");
        // Rule N13: these are for everybody, if the namespace that they show is the caller's.
        for kind in ["tmpfs", "ramfs", "devpts"] {
            mount("x", "/tmp", kind, 0, "").unwrap_or_else(|error| panic!("{kind}: {error:?}"));
        }
        for kind in ["devtmpfs", "proc", "sysfs"] {
            assert_errno!(mount("x", "/tmp", kind, 0, ""), EPERM);
        }
        let context = fsopen("devtmpfs").expect("fsopen");
        assert_errno!(command(&context, CREATE), EPERM); // Rule A14
    });
}
