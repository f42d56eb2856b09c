//! Access control lists: a server that takes POSIX_ACL has the kernel go by them, others have them handed on.

use abi::acl::{self, ACCESS, DEFAULT, value};
use abi::user::as_user;
use abi::user_namespace::in_user_namespace;
use abi::world::{self, mkdir};
use abi::{assert_errno, syscall};
use fuse::server::in_world;
use fuse::wire::{Body, feature, notify, op};
use fuse::{Answer, Fs, Setup};
use std::fs;

const LIST: &str = "u::rw- u:1000:rw- g::--- m::rw- o::---";
const KILL_SGID: u32 = 1 << 0;
const A: &str = "/tmp/m/a";

/// Serves one file `a` and one directory `d` of user and group 5, which others may not use, with these features and long lifetimes.
fn serve(features: u32) -> Fs {
    let fs = Setup::default()
        .options(",allow_other")
        .tree(|tree| {
            (tree.entry_valid, tree.attr_valid) = (1000, 1000);
            tree.features |= features;
            let nodes = [(tree.file("a", b"hello"), 0o660), (tree.directory("d"), 0o770)];
            for (node, mode) in nodes {
                let attr = tree.attr(node);
                (attr.uid, attr.gid, attr.mode) = (5, 5, attr.mode & libc::S_IFMT | mode);
            }
        })
        .serve();
    fs.ready();
    let _ = (fs::metadata(A), fs::metadata("/tmp/m/d"));
    fs.clear();
    fs
}

/// As [`serve`], with POSIX_ACL, and a list for the file.
fn serve_list(list: &str) -> Fs {
    let fs = serve(feature::POSIX_ACL);
    give(&fs, "a", ACCESS, list);
    fs
}

/// Gives a file in the root a list, as somebody on the server's side would.
fn give(fs: &Fs, name: &str, attribute: &str, list: &str) {
    fs.tree(|tree| {
        let node = tree.find(1, name).expect("the name");
        tree.files.get_mut(&node).expect("the node").xattrs.insert(attribute.as_bytes().to_vec(), value(list));
    });
}

/// Whether a user may read `a`.
#[track_caller]
fn reads(id: u32, expected: Result<(), i32>) {
    as_user(id, || assert_eq!(world::open(A, libc::O_RDONLY).map(drop), expected.map_err(abi::Errno)));
}

/// Makes root the owner of `a`, and the kernel know.
fn own_a(fs: &Fs) {
    fs.tree(|tree| (tree.attr(2).uid, tree.attr(2).gid) = (0, 0));
    let _ = fs.notify(notify::INVAL_INODE, &Body::default().u64(2).u64(u64::MAX).u64(0).0);
    fs::metadata(A).expect("stat");
}

/// How often a list of a node was asked for.
fn asked(fs: &Fs, node: u64, attribute: &str) -> usize {
    fs.requests(op::GETXATTR).iter().filter(|request| request.node == node && request.name(8) == attribute.as_bytes()).count()
}

/// How often the access list of `a` was asked for.
fn asked_a(fs: &Fs) -> usize {
    asked(fs, fs.tree(|tree| tree.find(1, "a").expect("a")), ACCESS)
}

#[test]
fn taking_lists_has_the_kernel_check_modes_too() {
    in_world(|| {
        let fs = serve(feature::POSIX_ACL);
        reads(1000, Err(libc::EACCES));
        assert_eq!((fs.count(op::OPEN), fs.count(op::ACCESS)), (0, 0));
        let table = world::read("/proc/self/mountinfo");
        let line = table.lines().find(|line| line.contains(" /tmp/m ")).expect("the mount");
        assert!(line.ends_with(",default_permissions,allow_other"), "{line}");
        fs.unmount();
    });
}

#[test]
fn a_list_lets_in_and_keeps_out() {
    in_world(|| {
        let fs = serve_list("u::rw- u:1000:rw- u:1001:--- g::--- m::rw- o::---");
        reads(1000, Ok(()));
        let request = fs.last(op::GETXATTR);
        assert_eq!((request.name(8), request.u32_at(0), request.u32_at(4)), (ACCESS.as_bytes(), 4096, 0));
        reads(1001, Err(libc::EACCES));
        reads(1002, Err(libc::EACCES));
        fs.unmount();
    });
}

#[test]
fn a_directory_is_searched_by_its_list() {
    in_world(|| {
        let fs = serve(feature::POSIX_ACL);
        fs.tree(|tree| {
            let node = tree.find(1, "d").expect("d");
            tree.make(node, "file", libc::S_IFREG | 0o644);
        });
        give(&fs, "d", ACCESS, "u::rwx u:1000:--x g::--- m::--x o::---");
        as_user(1000, || assert_eq!(world::read("/tmp/m/d/file"), ""));
        as_user(1001, || assert_errno!(world::open("/tmp/m/d/file", libc::O_RDONLY), EACCES));
        fs.unmount();
    });
}

#[test]
fn a_list_that_was_asked_for_is_remembered() {
    in_world(|| {
        let fs = serve_list(LIST);
        for _ in 0..3 {
            reads(1000, Ok(()));
        }
        acl::is(A, ACCESS, Some(LIST));
        assert_eq!(asked_a(&fs), 1);
        fs.unmount();
    });
}

#[test]
fn that_there_is_none_is_remembered_too() {
    in_world(|| {
        let fs = serve(feature::POSIX_ACL);
        for _ in 0..3 {
            acl::is("/tmp/m/d", DEFAULT, None);
            acl::is(A, ACCESS, None);
        }
        assert_eq!((asked(&fs, 3, DEFAULT), asked_a(&fs)), (1, 1));
        fs.unmount();
    });
}

#[test]
fn the_lists_of_the_top_are_never_remembered() {
    in_world(|| {
        let fs = serve(feature::POSIX_ACL);
        for _ in 0..3 {
            acl::is("/tmp/m", ACCESS, None);
        }
        assert_eq!(asked(&fs, 1, ACCESS), 3);
        fs.unmount();
    });
}

#[test]
fn the_owner_and_an_empty_group_class_need_no_list() {
    in_world(|| {
        let fs = serve_list(LIST);
        reads(5, Ok(()));
        assert_eq!(asked_a(&fs), 0);
        fs.tree(|tree| tree.attr(2).mode = libc::S_IFREG | 0o604);
        fs.notify(notify::INVAL_INODE, &Body::default().u64(2).u64(u64::MAX).u64(0).0).expect("the notification");
        reads(1000, Ok(()));
        assert_eq!(asked_a(&fs), 0);
        fs.unmount();
    });
}

#[test]
fn what_changes_a_file_has_its_list_asked_for_again() {
    in_world(|| {
        let fs = serve_list(LIST);
        let asks_again = |what: &str, change: &dyn Fn()| {
            acl::is(A, ACCESS, Some(LIST));
            fs.clear();
            change();
            acl::is(A, ACCESS, Some(LIST));
            assert_eq!(asked_a(&fs), 1, "{what}");
        };
        asks_again("chmod", &|| fs::set_permissions(A, std::os::unix::fs::PermissionsExt::from_mode(0o660)).expect("chmod"));
        asks_again("chown", &|| std::os::unix::fs::chown(A, Some(5), None).expect("chown"));
        asks_again("setxattr", &|| acl::set(A, ACCESS, LIST).expect("setxattr"));
        asks_again("a notification", &|| {
            fs.notify(notify::INVAL_INODE, &Body::default().u64(2).u64(u64::MAX).u64(0).0).map(drop).expect("the notification");
        });
        fs.unmount();
    });
}

#[test]
fn a_name_that_is_looked_up_again_takes_the_lists_with_it() {
    in_world(|| {
        let fs = serve_list(LIST);
        acl::is(A, ACCESS, Some(LIST));
        fs.tree(|tree| tree.entry_valid = 0);
        let name = Body::default().u64(1).u32(1).u32(0).bytes(b"a\0").0;
        fs.notify(notify::INVAL_ENTRY, &name).expect("the notification");
        fs.clear();
        // Without its only name the file was forgotten; from then on each lookup asks whether the name still holds.
        for _ in 0..3 {
            acl::is(A, ACCESS, Some(LIST));
        }
        assert_eq!((fs.count(op::LOOKUP), asked_a(&fs)), (3, 3));
        fs.unmount();
    });
}

#[test]
fn listing_with_attributes_takes_the_lists_with_it() {
    in_world(|| {
        let fs = serve(feature::POSIX_ACL | feature::DO_READDIRPLUS);
        give(&fs, "a", ACCESS, LIST);
        acl::is(A, ACCESS, Some(LIST));
        assert_eq!(world::names("/tmp/m"), ["a", "d"]);
        assert!(fs.count(op::READDIRPLUS) > 0);
        acl::is(A, ACCESS, Some(LIST));
        assert_eq!(asked_a(&fs), 2);
        fs.unmount();
    });
}

#[test]
fn attributes_that_are_asked_for_again_take_the_lists_with_them() {
    in_world(|| {
        let fs = serve_list(LIST);
        fs.tree(|tree| tree.attr_valid = 0);
        let _ = fs.notify(notify::INVAL_INODE, &Body::default().u64(2).u64(u64::MAX).u64(0).0);
        reads(1000, Ok(()));
        fs.clear();
        reads(1000, Ok(()));
        assert_eq!((fs.count(op::GETATTR), asked_a(&fs)), (1, 1));
        give(&fs, "a", ACCESS, "u::rw- u:1000:--- g::--- m::rw- o::---");
        reads(1000, Err(libc::EACCES));
        fs.unmount();
    });
}

#[test]
fn without_posix_acl_lists_are_handed_on() {
    in_world(|| {
        let fs = serve(0);
        give(&fs, "a", ACCESS, "u::--- u:1000:--- g::--- m::--- o::---");
        for _ in 0..2 {
            acl::is(A, ACCESS, Some("u::--- u:1000:--- g::--- m::--- o::---"));
        }
        assert_eq!(asked_a(&fs), 2);
        fs.clear();
        reads(1000, Ok(()));
        assert_eq!(fs.count(op::GETXATTR), 0);
        acl::set(A, ACCESS, LIST).expect("setxattr");
        let request = fs.last(op::SETXATTR);
        assert_eq!((request.u32_at(0) as usize, request.u32_at(4)), (value(LIST).len(), 0));
        assert_eq!((request.name(8), &request.body[8 + ACCESS.len() + 1..]), (ACCESS.as_bytes(), &value(LIST)[..]));
        acl::remove(A, ACCESS).expect("removexattr");
        assert_eq!(fs.last(op::REMOVEXATTR).name(0), ACCESS.as_bytes());
        fs.unmount();
    });
}

#[test]
fn names_of_other_kinds_are_handed_on() {
    in_world(|| {
        let fs = serve(0);
        for name in ["system.other", "made.up", "nothing"] {
            acl::set(A, name, LIST).expect(name);
            assert_eq!(fs.last(op::SETXATTR).name(8), name.as_bytes());
            acl::is(A, name, Some(LIST));
            acl::remove(A, name).expect(name);
        }
        fs.unmount();
    });
}

#[test]
fn who_is_not_the_owner_sets_no_list_whatever_the_server_thinks() {
    in_world(|| {
        for features in [0, feature::POSIX_ACL] {
            let fs = serve(features);
            as_user(1000, || {
                assert_errno!(acl::set(A, ACCESS, LIST), EPERM);
                assert_errno!(acl::remove(A, ACCESS), EPERM);
            });
            assert_errno!(acl::set(A, ACCESS, "u::rw-"), EINVAL);
            assert_errno!(acl::set(A, DEFAULT, LIST), EACCES);
            assert_eq!((fs.count(op::SETXATTR), fs.count(op::REMOVEXATTR)), (0, 0));
            fs.unmount();
        }
    });
}

#[test]
fn setxattr_ext_has_a_longer_form() {
    in_world(|| {
        let fs = serve(feature::SETXATTR_EXT);
        syscall!(SYS_setxattr, c"/tmp/m/a", c"user.x", c"value".as_ptr(), 5, libc::XATTR_CREATE).expect("setxattr");
        let request = fs.last(op::SETXATTR);
        let fields = [0, 4, 8, 12].map(|offset| request.u32_at(offset));
        assert_eq!(fields, [5, libc::XATTR_CREATE as u32, 0, 0]);
        assert_eq!((request.name(16), &request.body[16 + 7..]), (&b"user.x"[..], &b"value"[..]));
        // Only with POSIX_ACL has the kernel a say about set-group-id.
        acl::set(A, ACCESS, LIST).expect("setxattr");
        assert_eq!(fs.last(op::SETXATTR).u32_at(8), 0);
        fs.unmount();
    });
}

#[test]
fn a_list_of_somebody_outside_the_group_takes_set_group_id_away() {
    in_world(|| {
        let fs = serve(feature::POSIX_ACL | feature::SETXATTR_EXT);
        acl::set(A, ACCESS, LIST).expect("root");
        assert_eq!(fs.last(op::SETXATTR).u32_at(8), 0);
        as_user(5, || acl::set(A, ACCESS, LIST).expect("the owner"));
        assert_eq!(fs.last(op::SETXATTR).u32_at(8), 0);
        std::os::unix::fs::chown(A, None, Some(6)).expect("chown");
        as_user(5, || acl::set(A, ACCESS, LIST).expect("the owner"));
        assert_eq!(fs.last(op::SETXATTR).u32_at(8), KILL_SGID);
        // There is no such thing in the short form.
        fs.unmount();
        let fs = serve(feature::POSIX_ACL);
        acl::set(A, ACCESS, LIST).expect("root");
        assert_eq!(fs.last(op::SETXATTR).name(8), ACCESS.as_bytes());
        fs.unmount();
    });
}

#[test]
fn setting_a_list_has_the_attributes_asked_for_again() {
    in_world(|| {
        let fs = serve(feature::POSIX_ACL);
        acl::set(A, ACCESS, LIST).expect("setxattr");
        fs.tree(|tree| tree.attr(2).mode = libc::S_IFREG | 0o640);
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(A).expect("stat").permissions()) & 0o777, 0o640);
        assert_eq!(fs.count(op::GETATTR), 1);
        fs.unmount();
    });
}

#[test]
fn an_error_of_the_server_is_the_answer_of_the_check() {
    in_world(|| {
        let fs = serve(feature::POSIX_ACL);
        for (answer, expected) in [(libc::EIO, libc::EIO), (libc::EOPNOTSUPP, libc::EOPNOTSUPP), (libc::ERANGE, libc::E2BIG)] {
            fs.fails(op::GETXATTR, answer);
            reads(1000, Err(expected));
            assert_eq!(acl::get(A, ACCESS), Err(abi::Errno(expected)));
        }
        fs.on(op::GETXATTR, |_| Answer::Data(b"nonsense".to_vec()));
        reads(1000, Err(libc::EOPNOTSUPP));
        fs.on(op::GETXATTR, |_| Answer::Data(vec![2, 0, 0, 0, 1]));
        reads(1000, Err(libc::EINVAL));
        // A list without an end says nothing.
        fs.on(op::GETXATTR, |_| Answer::Data(value("u::rw- g::rw-")));
        reads(1000, Err(libc::EIO));
        fs.unmount();
    });
}

#[test]
fn a_server_without_extended_attributes_has_no_lists() {
    in_world(|| {
        let fs = serve(feature::POSIX_ACL);
        for operation in [op::GETXATTR, op::SETXATTR, op::REMOVEXATTR] {
            fs.fails(operation, libc::ENOSYS);
        }
        reads(1000, Err(libc::EACCES));
        reads(1000, Err(libc::EACCES));
        acl::is("/tmp/m/d", DEFAULT, None);
        assert_eq!(fs.count(op::GETXATTR), 1);
        assert_errno!(acl::set(A, ACCESS, LIST), EOPNOTSUPP);
        assert_errno!(acl::set(A, ACCESS, LIST), EOPNOTSUPP);
        assert_eq!(fs.count(op::SETXATTR), 1);
        fs.unmount();
    });
}

#[test]
fn a_list_is_removed_where_it_is_kept() {
    in_world(|| {
        let fs = serve_list(LIST);
        acl::remove(A, ACCESS).expect("removexattr");
        assert_errno!(acl::remove(A, ACCESS), ENODATA);
        assert_eq!(fs.count(op::REMOVEXATTR), 2);
        fs.fails(op::REMOVEXATTR, libc::EIO);
        assert_errno!(acl::remove(A, ACCESS), EIO);
        fs.unmount();
    });
}

#[test]
fn a_list_must_fit_a_page() {
    in_world(|| {
        let fs = serve(feature::POSIX_ACL);
        let long = |users: u32| {
            let named: Vec<u8> = (0..users).flat_map(|id| acl::line(2, 4, id)).collect();
            [&value("u::rw-")[..], &named, &value("g::r-- m::r-- o::---")[4..]].concat()
        };
        let fits = (4096 - 4) / 8 - 4;
        acl::set_value(A, ACCESS, &long(fits)).expect("4092 bytes");
        assert_errno!(acl::set_value(A, ACCESS, &long(fits + 1)), E2BIG);
        assert_eq!(fs.count(op::SETXATTR), 1);
        fs.unmount();
    });
}

#[test]
fn the_umask_counts_whatever_default_list_there_is() {
    in_world(|| {
        for (features, mode) in [(feature::POSIX_ACL, 0o755), (feature::POSIX_ACL | feature::DONT_MASK, 0o777)] {
            let fs = serve(features);
            give(&fs, "d", DEFAULT, "u::rwx u:1000:rwx g::rwx m::rwx o::rwx");
            mkdir("/tmp/m/d/new");
            assert_eq!((fs.last(op::MKDIR).u32_at(0), fs.last(op::MKDIR).u32_at(4)), (mode, 0o022));
            assert_eq!(fs.requests(op::SETXATTR).len(), 0, "the server sees to what is inherited");
            fs.unmount();
        }
    });
}

#[test]
fn ids_are_those_of_the_mounts_user_namespace() {
    in_world(|| {
        in_user_namespace(
            || {},
            || {
                let fs = serve(feature::POSIX_ACL);
                own_a(&fs);
                let own = "u::rw- u:0:rw- g::--- m::rw- o::---";
                acl::set(A, ACCESS, own).expect("setxattr");
                let request = fs.last(op::SETXATTR);
                assert_eq!(&request.body[8 + ACCESS.len() + 1..], value(own));
                assert_errno!(acl::set(A, ACCESS, LIST), EINVAL);
                // The server cannot name who is nobody here either.
                give(&fs, "a", ACCESS, LIST);
                assert_errno!(acl::get(A, ACCESS), EINVAL);
                fs.unmount();
                // Without POSIX_ACL nobody would know whose ids a list has.
                let fs = serve(0);
                own_a(&fs);
                assert_errno!(acl::get(A, ACCESS), EOPNOTSUPP);
                assert_errno!(acl::set(A, ACCESS, own), EOPNOTSUPP);
                assert_eq!((fs.count(op::GETXATTR), fs.count(op::SETXATTR)), (0, 0));
                fs.unmount();
            },
        );
    });
}
